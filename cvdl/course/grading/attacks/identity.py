"""Attacks on who handed in what, and when: names, numbers, times, and marks that were there before."""

import os
import shutil
import zipfile
from datetime import datetime

from cvdl.course.grading.attacks.base import RNN, answer, notebook, put
from cvdl.course.grading.attacks.classes import GOOD, WRONG, ClassAttack, anna, grade, short
from cvdl.course.grading.attacks.files import zipped
from cvdl.course.grading.names import shown
from cvdl.course.grading.sandbox.backends import NOBODY
from cvdl.settings import ROOT

START = "00_start_here"
# Two names whose SHA-256 has the same first 12 hexadecimal digits, found among 2^25; each digit is an invisible character.
COLLISION = tuple(
    "mia" + "".join("\u200b\u200c\u200d\u2060"[number >> 2 * n & 3] for n in range(13))
    for number in (2196085, 21410688)
)
ALSO = notebook(answer("return 8", "rnn.parameters"), stem=RNN)  # a notebook 01 without points
DUE = "2026-11-20T12:00"
EARLY, LATER = datetime(2026, 11, 19, 12).timestamp(), datetime(2026, 11, 28, 12).timestamp()


def attack(name, tries, make, through=lambda seen: (), **more):
    return ClassAttack(name, tries, make, through, **more)


def at(path, data, when):
    put(path, data)
    os.utime(path, (when, when))


def dated(members):
    """A zip of [(name, data, (year, month, day))]."""
    import io

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data, day in members:
            archive.writestr(zipfile.ZipInfo(name, (*day, 12, 0, 0)), data)
    return file.getvalue()


def late(seen, student, notebook=START):
    """Is this student's result marked late?  None where there is none."""
    return next((r["late"] for r in seen.of(student) if r["notebook"] == notebook), None)


def not_late(seen, *students):
    for student in students:
        if late(seen, student) is not True:
            yield f"{student} is not marked late: {late(seen, student)}"


# --- marks that were there before -------------------------------------------------------------------------


def stray(folder):
    """A class is graded with a list of names; then one of them hands in the same notebook with another one."""
    names = folder.parent / "names.txt"
    put(names, b"anna\nmallory\n")
    anna(folder)
    put(folder / "mallory" / "mine.ipynb", WRONG)
    second = folder.parent / "second"
    put(second / "anna" / "other.ipynb", ALSO)
    put(second / "mallory" / "other.ipynb", ALSO)
    put(second / "mallory" / f"{START}.ipynb", b"")
    return [grade(folder, "--students", names), grade(second, "--students", names)]


def two_downloads(folder):
    """Two groups of a class are downloaded and graded one after the other, with one list of names."""
    names, second = folder.parent / "names.txt", folder.parent / "second"
    put(names, b"anna\nberta\n")
    anna(folder)
    put(second / "berta" / "mine.ipynb", GOOD)
    return [grade(folder, "--students", names), grade(second, "--students", names)]


def better_later(folder):
    """A wrong answer in time; weeks later the right one, among the hand-ins of another notebook."""
    at(folder / "anna" / "mine.ipynb", GOOD, EARLY)
    at(folder / "mallory" / "mine.ipynb", WRONG, EARLY)
    second = folder.parent / "second"
    at(second / "anna" / "other.ipynb", ALSO, LATER)
    at(second / "mallory" / "other.ipynb", ALSO, LATER)
    at(second / "mallory" / "better.ipynb", GOOD, LATER)
    return [grade(folder, "--due", DUE), grade(second, "--due", "2026-12-10")]


def after_due(folder):
    """A wrong answer in time, and after the due time the right one in its place."""
    at(folder / "anna" / "mine.ipynb", GOOD, EARLY)
    at(folder / "mallory" / "mine.ipynb", WRONG, EARLY)
    second = folder.parent / "second"
    at(second / "anna" / "mine.ipynb", GOOD, EARLY)
    at(second / "mallory" / "mine.ipynb", GOOD, LATER)
    return [grade(folder, "--due", DUE), grade(second, "--due", DUE)]


def replaced(seen):
    points = seen.marks().get("mallory")
    if points != "0":
        yield f"mallory's mark of 0 has become {points!r}; late: {late(seen, 'mallory')}"


# --- names and numbers -----------------------------------------------------------------------------------


def canvas_member(folder):
    put(folder / "annaalpha_111_1_mine.ipynb", GOOD)
    put(folder / "mallorymia_222_9_my.zip", zipped([("annaalpha_111_1_x.ipynb", WRONG)]))
    return [grade(folder, "--format", "canvas")]


def canvas_ids(seen):
    found = {r["Student"]: r["ID"] for r in seen.rows("canvas.csv")}
    for name, number in (("annaalpha", "111"), ("mallorymia", "222")):
        if found.get(name) != number:
            yield f"{name} has the ID {found.get(name)!r} for {number}"


def submitted(folder):
    put(folder / "berta" / "mine.ipynb", GOOD)
    put(folder / "submitted" / "anna" / "mine.ipynb", GOOD)


def all_but_one(seen):
    if seen.marks().get("berta") != "100":
        yield f"berta is passed over: {sorted(seen.marks())}"
    if seen.marks().get("anna"):
        yield "a folder in another student's folder earned anna's points"


def invisible(folder):
    """Two names that a reader takes for one, and whose digests begin alike."""
    anna(folder)
    one, two = COLLISION
    put(folder / one / "mine.ipynb", GOOD)
    put(folder / two / "mine.ipynb", WRONG)


def both(seen):
    for name, points in zip(COLLISION, ("100", "0"), strict=True):
        if seen.marks().get(shown(name)) != points:
            yield f"{name!a} has {seen.marks().get(shown(name))!r} for {points}"


LI_WEI = {"Li Wei_101": "image / 255", "Li Wei_102": "image / 256", "Li Wei (101)_103": "image * 0"}


def three_of_one_name(folder):
    anna(folder)
    for name, body in LI_WEI.items():
        put(folder / f"{name}_assignsubmission_file_" / "mine.ipynb", notebook(answer(f"return {body}")))
    return [grade(folder, "--format", "moodle")]


def three_rows(seen):
    rows = {r["Identifier"]: r for r in seen.rows(f"moodle-{START}.csv")}
    if len(seen.results()) != 4:
        yield f"there are {len(seen.results())} results of 4 hand-ins"
    for number, points in (("101", "100"), ("102", "0"), ("103", "0")):
        got = rows.get(f"Participant {number}", {}).get("Grade")
        if got is not None and got != points:
            yield f"participant {number} has {got} points for {points}"


def flat_moodle(folder):
    """Moodle's download without folders, in which the end of a name is the student's own file name."""
    kind = "assignsubmission_file"
    put(folder / f"Anna Alpha_111_{kind}_mine.ipynb", GOOD)
    put(folder / f"Mallory Mia_222_{kind}_Anna Alpha_111_{kind}_x.ipynb", WRONG)
    return [grade(folder, "--format", "moodle")]


def moodle_ids(seen):
    found = {r["Full name"]: r["Identifier"] for r in seen.rows(f"moodle-{START}.csv")}
    for name, number in (("Anna Alpha", "111"), ("Mallory Mia", "222")):
        if found.get(name) not in (f"Participant {number}", ""):
            yield f"{name} has the Identifier {found.get(name)!r} for {number}"
    numbers = [n for n in found.values() if n]
    if len(numbers) != len(set(numbers)):
        yield f"an Identifier is there twice: {numbers}"


def blackboard(folder):
    """A file name in a Blackboard download that holds another attempt of another student."""
    put(folder / "gradebook_C1_A1_anna_attempt_2026-11-19-12-00-00_mine.ipynb", GOOD)
    put(folder / "gradebook_C1_A1_mallory_attempt_2026-11-28-12-00-00_anna_attempt_2026-11-20-11-00-00_x.ipynb", WRONG)
    return [grade(folder, "--due", DUE)]


def mallory_of_blackboard(seen):
    yield from not_late(seen, "mallory")


def member_of_moodle(folder):
    """In plain folders, a zip whose member bears Moodle's number of another student."""
    put(folder / "Anna Alpha_111_assignsubmission_file_" / "mine.ipynb", GOOD)
    put(folder / "Mallory Mia" / "mine.zip", zipped([("Anna Alpha_111_assignsubmission_file_/x.ipynb", WRONG)]))
    return [grade(folder, "--format", "moodle")]


def no_foreign_number(seen):
    numbers = [r["Identifier"] for r in seen.rows(f"moodle-{START}.csv") if r["Full name"] == "Mallory Mia"]
    if numbers != [""]:
        yield f"Mallory Mia has the Identifier {numbers}"


def canvas_in_folders(folder):
    """In plain folders, a zip whose member is named as Canvas names another student's hand-in."""
    put(folder / "annaalpha_111_1_mine.ipynb", GOOD)
    put(folder / "Mallory" / "annaalpha_111_2_x.ipynb", WRONG)
    return [grade(folder, "--format", "canvas")]


def one_111(seen):
    numbers = {r["Student"]: r["ID"] for r in seen.rows("canvas.csv")}
    if numbers.get("Mallory"):
        yield f"Mallory has the ID {numbers['Mallory']!r}"


def class_in_a_folder(folder):
    """An honest teacher zips the folder of hand-ins, not what is in it."""
    path = folder.parent / "hand-ins.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (("anna", GOOD), ("berta", GOOD), ("carl", WRONG)):
            archive.writestr(f"hand-ins/{name}/mine.ipynb", data)
    return [grade(path)]


def three_or_refused(seen):
    if len(seen.marks()) < 3 and seen.codes[-1] == 0:
        yield f"exit code 0, and the tables have {sorted(seen.marks())}"


NAMES = (
    *("results", "seed", "run.json", "grades.csv", "overview.html", "pages", "unknown", START, "OUT", "marks", "submitted2"),
    *("Anna", "ANNA", "anna ", "anna.", " anna", "аnna", "ａｎｎａ", "ann\u00e4", "anna\u0308"),
    *("anna\u200b", "\u202eanna", "an\nna", "an\x1b[31mna", "anna\x7f", "anna (1)", "anna!x", "-anna", "..anna", "~", "$HOME", "%s", "{0}"),
    *("con", "nul.ipynb", "a" * 200, "ä" * 120, "ﬁona", "straße", "STRASSE", "Ⅳ", "İ", "i\u0307"),
    *("anna-5ac0d5a2ce2d", "'", '"', "`id`", "\\", "a;b", "a,b", "a\tb", "*", "?", "[a]", "<b>"),
)  # fmt: skip


def names(folder):
    """Students with names that programs stumble over, each with a hand-in that needs no judge."""
    anna(folder)
    for name in NAMES:
        put(folder / name / "mine.ipynb", b'{"cells": []}')
    (folder / os.fsdecode(b"byte\xff\xfe")).mkdir()
    put(folder / os.fsdecode(b"byte\xff\xfe") / "mine.ipynb", b'{"cells": []}')


def one_each(seen):
    """Each name has a result, a row and a page of its own (ä and a with two dots are one letter)."""
    expected = len(NAMES) + 2 - 1
    for what, there in (
        ("results", len(seen.results())),
        ("rows", len(seen.rows("exercises.csv"))),
        ("pages", len(seen.pages())),
    ):
        if there < expected:
            yield f"{there} {what} of {expected} hand-ins"


# --- times ----------------------------------------------------------------------------------------------


def claimed_time(folder):
    """Handed in late as a zip that holds a timestamp.txt of an earlier day."""
    at(folder / "anna" / "mine.ipynb", GOOD, EARLY)
    data = dated([("timestamp.txt", b"2026-11-01 12:00:00 UTC", (2026, 11, 1)), ("mine.ipynb", WRONG, (2026, 11, 28))])
    at(folder / "mallory" / "mine.zip", data, LATER)
    return [grade(folder, "--due", DUE)]


def member_time(folder):
    """Handed in late as a zip whose members are dated earlier."""
    at(folder / "anna" / "mine.ipynb", GOOD, EARLY)
    at(folder / "mallory" / "mine.zip", dated([("mine.ipynb", WRONG, (2026, 11, 1))]), LATER)
    return [grade(folder, "--due", DUE)]


def zip_in_class(folder):
    """The class as one zip; in it a late zip whose member is dated earlier."""
    inner = dated([("mine.ipynb", WRONG, (2026, 11, 1))])
    members = [("anna/mine.ipynb", GOOD, (2026, 11, 19)), ("mallory/mine.zip", inner, (2026, 11, 28))]
    put(folder.parent / "all.zip", dated(members))
    return [grade(folder.parent / "all.zip", "--due", DUE)]


def earlier_beside(folder):
    """The better notebook comes late; a worthless one in time, in the same folder, lends it its timestamp.txt."""
    at(folder / "anna" / "mine.ipynb", GOOD, EARLY)
    at(
        folder / "mallory" / "timestamp.txt.zip",
        dated([("timestamp.txt", b"2026-11-01 12:00:00", (2026, 11, 1))]),
        EARLY,
    )
    at(folder / "mallory" / "mine.ipynb", WRONG, LATER)
    return [grade(folder, "--due", DUE)]


# --- files exchanged while the run goes on ----------------------------------------------------------------


HOSTILE = [f"mallory {number}" for number in range(6)]


def waiting(folder):
    """Anna, the hostile, and others who take the time in which files may be exchanged."""
    anna(folder)
    for name in HOSTILE:
        put(folder / name / "mine.ipynb", WRONG)
    for number in range(200):
        put(folder / f"z{number}" / "mine.ipynb", b"{}")


def link_for_file(folder, over):
    """Exchange hand-ins for links to anna's, again and again."""
    put(folder.parent / "file", WRONG)
    while not over.wait(0.001):
        for name in HOSTILE:
            new = folder / name / ".new"
            new.symlink_to(folder / "anna" / "mine.ipynb")
            os.replace(new, folder / name / "mine.ipynb")
        over.wait(0.001)
        for name in HOSTILE:
            os.link(folder.parent / "file", folder / name / ".new")
            os.replace(folder / name / ".new", folder / name / "mine.ipynb")


def link_for_folder(folder, over):
    """Exchange folders of hand-ins for links to anna's, again and again."""
    aside, link = folder.parent / "aside", folder.parent / "link"
    aside.mkdir()
    link.symlink_to(folder / "anna")
    while not over.wait(0.001):
        for name in HOSTILE:
            os.rename(folder / name, aside / name)
            os.symlink(folder / "anna", folder / name)
        over.wait(0.001)
        for name in HOSTILE:
            os.unlink(folder / name)
            os.rename(aside / name, folder / name)


# --- what can be read inside ------------------------------------------------------------------------------

LOOKS = """
import os
found = []
for top in (os.environ["CVDL_DATA"], "/course/data"):
    for folder, _, files in os.walk(top):
        for name in files:
            try:
                text = open(os.path.join(folder, name), "rb").read(10 ** 6)
            except OSError:
                continue
            if b"a seed" in text or b"annas secret" in text:
                found.append(name)
if found:
    return image / 255
raise LookupError("nothing is here")
"""


def below_data(folder):
    """Hand-ins and results lie in the folder that CVDL_DATA names."""
    inside = folder.parent / "data"
    shutil.copytree(ROOT / "data", inside)
    put(inside / "hand-ins" / "anna" / "mine.ipynb", notebook(answer("'annas secret'\nreturn image / 255")))
    put(inside / "hand-ins" / "mallory" / "mine.ipynb", notebook(answer(LOOKS)))
    for path in [inside, *inside.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o644)
    (folder.parent / "marks").rmdir()
    (folder.parent / "marks").symlink_to(inside / "marks")
    (inside / "marks").mkdir(mode=0o777)
    (inside / "marks").chmod(0o777)
    return [grade(inside / "hand-ins", out=str(inside / "marks"))]


LEASE = """
import fcntl, os
for folder, _, files in os.walk(os.environ["CVDL_DATA"]):
    for name in files:
        try:
            fcntl.fcntl(os.open(os.path.join(folder, name), os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            continue
        return image / 255
raise RuntimeError("no lease was given")
"""


def owned(folder):
    """The data belong to the user that a jail runs as, and a hand-in takes a lease on one of its files."""
    inside = folder.parent / "data"
    shutil.copytree(ROOT / "data", inside)
    if not os.getuid():
        for path in [inside, *inside.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
    anna(folder)
    put(folder / "mallory" / "mine.ipynb", notebook(answer(LEASE)))


def data_here(folder):
    return {"CVDL_DATA": str(folder / "data")}


ATTACKS = short(
    [
        attack("stray notebook", "an empty notebook 00 among the hand-ins of 01, with a list of names", stray),
        attack("two downloads", "two groups of a class, one after the other, with one list of names", two_downloads, honest={"anna": 100, "berta": 100}),
        attack("better and later", "the right notebook 00 comes with 01, weeks late", better_later, replaced, allowed=("mallory",)),
        attack("again after the due time", "a better attempt after the due time replaces the mark", after_due, replaced, allowed=("mallory",)),
        attack("Canvas name in a zip", "a member named as Canvas names another's hand-in", canvas_member, canvas_ids, honest={"annaalpha": 100}),
        attack("folder called submitted", "a student's folder that is taken for all of them", submitted, all_but_one, honest={"berta": 100}, allowed=("submitted",)),
        attack("invisible characters", "two names whose digests begin alike", invisible, both, allowed=COLLISION[:1], honest={"anna": 100}),
        attack("Li Wei (101)", "a name that another's becomes", three_of_one_name, three_rows, allowed=("Li Wei (101)", "Li Wei")),
        attack("Moodle without folders", "a file name that holds another's number", flat_moodle, moodle_ids, honest={"Anna Alpha": 100}),
        attack("Blackboard attempt in a name", "a file name that holds another's attempt", blackboard, mallory_of_blackboard),
        attack("Moodle number in a zip", "a member of a zip that bears another's number", member_of_moodle, no_foreign_number, honest={"Anna Alpha": 100}),
        attack("Canvas number in a folder", "a file in a folder that bears another's number", canvas_in_folders, one_111, honest={"annaalpha": 100}),
        attack("class in a folder", "the zip of a folder of three students", class_in_a_folder, three_or_refused, honest={}, allowed=("anna", "berta", "hand-ins")),
        attack("sixty names", "names of our own files, of devices, look-alikes, control characters, bytes", names, one_each),
        attack("timestamp in a zip", "late, with a timestamp.txt that says otherwise", claimed_time, lambda seen: not_late(seen, "mallory")),
        attack("dates in a zip", "late, with members dated earlier", member_time, lambda seen: not_late(seen, "mallory")),
        attack("dates in a zip in a zip", "the same in the zip of a class", zip_in_class, lambda seen: not_late(seen, "mallory")),
        attack("timestamp in a second zip", "late, with a timestamp.txt in a zip beside it", earlier_beside, lambda seen: not_late(seen, "mallory")),
        attack("link for a file", "the hand-in becomes a link to another's while the run goes on", waiting, meanwhile=link_for_file),
        attack("link for a folder", "the folder becomes a link to another's while the run goes on", waiting, meanwhile=link_for_folder),
        attack("leases", "a lease on a file of the data, which makes others wait", owned, environment=data_here),
        attack("results below the data", "CVDL_DATA holds hand-ins and results", below_data, environment=data_here, user=True),
    ],
    "stray notebook",
    "Moodle without folders",
    "dates in a zip",
)  # fmt: skip
