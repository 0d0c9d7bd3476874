"""Tables of marks: what `cvdl grade` writes for nbgrader, Moodle, Canvas and spreadsheets.

A hand-in that was not judged has no mark: its cells are empty and do not count in sums.
"""

import csv
import io
import json
import re
import unicodedata
from collections import Counter

from cvdl.course.grading.names import first_edition, shown
from cvdl.course.grading.results import UNJUDGED, save
from cvdl.errors import CourseError

FORMATS = ("moodle", "canvas")
# Columns of nbgrader's own `nbgrader export` (its CsvExportPlugin).
NBGRADER = "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score max_score"
# Columns of the grading worksheet of Moodle's assignments; its import reads Identifier, Grade, Last modified (grade)
# and the feedback.
MOODLE = (
    "Identifier,Full name,Email address,Status,Grade,Maximum grade,Grade can be changed,"
    "Last modified (submission),Last modified (grade),Feedback comments"
)
CANVAS = "Student,ID,SIS User ID,SIS Login ID,Section"
TEAM = re.compile(
    r"\d|\b(?:team|group|default group|gruppe|groupe|équipe|equipe|equipo|grupo|gruppo|squadra|skupina|tutorium"
    r"|zespół|groep|ryhmä|grupp)\b",
    re.I,
)
# What a spreadsheet treats as a formula: at the beginning, or after a possible separator or quotation mark.
FORMULA = re.compile(r"(^|[,;|\"'\t\r\n])([\s\x00-\x1f]*)(?=[=+\-@＝＋－＠﹢﹣﹦﹫])")
CELL = 30_000  # characters; Excel takes 32,767


class Class:
    """The hand-ins of a class, by student and notebook.

    results: list of dicts as cvdl.course.grading.results reads them; run: the content of OUT/run.json.  These of its items are used
    if present: `dues`, {notebook: time}; `notebooks`, {notebook: {exercise: points}}; `asked_for`, the notebooks for which
    students can count as missing; and `names`, a list.
    """

    def __init__(self, results, run=None):
        run = run or {}
        results = [r if "platform" in r else r | first_edition(r["file"]) for r in results]
        self.dues = run.get("dues", {})
        self.names = set(run.get("names", ()))  # on the list of students, folded
        self.by = {(r["student"], r["notebook"]): r for r in results}
        self.students = sorted({r["student"] for r in results}, key=str.casefold)
        self.points = {}
        for r in sorted(results, key=lambda r: r["notebook"]):
            self.points.setdefault(r["notebook"], {}).update({e["id"]: e["points"] for e in r["exercises"]})
        self.points = {name: run.get("notebooks", {}).get(name, own) for name, own in self.points.items() if own}
        self.notebooks = list(self.points)
        self.asked_for = set(run.get("asked_for", self.notebooks))

    def __iter__(self):
        """(student, notebook, result or None) for every student and notebook, then results that belong to no notebook."""
        for student in self.students:
            for notebook in self.notebooks:
                if notebook in self.asked_for or (student, notebook) in self.by:
                    yield student, notebook, self.by.get((student, notebook))
        yield from ((s, n, r) for (s, n), r in self.by.items() if n not in self.points)

    def of(self, student):
        """All results of a student."""
        return [r for (s, _), r in self.by.items() if s == student]

    def is_person(self, student, number):
        """Is this the name of one person, as Moodle writes it, rather than that of a team?

        Decided by the list of students, if there is one; otherwise a person's name has at least two words, no digits, and
        no word for a team.
        """
        student = student.removesuffix(f" ({number})")  # which distinguishes two students with the same name
        if self.names:
            return folded(student) in self.names
        return student == f"Participant {number}" or (len(student.split()) > 1 and not TEAM.search(student))

    def judged(self, notebook):
        """The judged hand-ins of one notebook."""
        return [r for (_, n), r in self.by.items() if n == notebook and status(r) in ("handed in", "late")]

    def maximum(self, notebook):
        return sum(self.points.get(notebook, {}).values())


def folded(name):
    """The name for comparison: the same letters may be encoded differently, as in zips from macOS."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def earned(result):
    """Points of a hand-in, or "" if it was not judged."""
    return sum(e["earned"] for e in result["exercises"]) if result["judged"] else ""


def status(result):
    """The status of a hand-in: "missing", "not judged", "late", or "handed in"."""
    if result is None or not result["file"]:
        return "missing"
    if not result["judged"]:
        return "not judged"
    return "late" if result["late"] else "handed in"


def mark(exercise):
    """A cell: the points, or the state that explains why there are none."""
    return exercise["state"] if exercise["state"] in ("missing", "not attempted", UNJUDGED) else exercise["earned"]


def in_part(result):
    """Was a hand-in judged except for some exercises, which a person must look at?"""
    return any(e["state"] == UNJUDGED for e in result["exercises"])


def remarks(result):
    told = [*([result["problem"]] if result["problem"] else []), *result["notes"]]
    return "; ".join([text.removesuffix(".") for text in told[:-1]] + told[-1:])


# --- the tables: each is a list of rows, of which the first is the header ------------------------------------------


def nbgrader_table(klass):
    rows = [NBGRADER.split()]
    for student, notebook, result in klass:
        points = 0 if result is None else earned(result)
        when = (result and result["submitted"]) or ""
        penalty = "" if points == "" else 0
        of = klass.maximum(notebook)
        rows.append([notebook, klass.dues.get(notebook) or "", when, student, "", "", "", points, penalty, points, of])
    return rows


def exercise_table(klass):
    """A row for each student; for each notebook its status, its exercises, its points and remarks."""
    rows = [["student"]]
    for notebook, exercises in klass.points.items():
        titles = [f"{id} (of {points})" for id, points in exercises.items()]
        rows[0] += [notebook, *titles, f"{notebook}: points (of {klass.maximum(notebook)})", f"{notebook}: remarks"]
    rows[0].append("handed in, too")
    others = {s: remarks(r) for s, n, r in klass if n not in klass.points}
    for student in klass.students:
        row = [student]
        for notebook, exercises in klass.points.items():
            result = klass.by.get((student, notebook))
            there, asked = status(result) != "missing", result or notebook in klass.asked_for
            known = there and (result["judged"] or in_part(result))
            marks = {e["id"]: mark(e) for e in result["exercises"]} if known else {}
            row += [status(result) if asked else "", *(marks.get(id, "") for id in exercises)]
            row += [earned(result), remarks(result)] if there else ["", ""]
        rows.append([*row, others.get(student, "")])
    return rows


def moodle_table(klass, notebook):
    """Moodle numbers participants, and puts the number into the folder name of each downloaded hand-in.

    A team's folder has the team's number, which may also be the number of an unrelated participant, so rows that appear
    to be teams get no Identifier.
    """
    rows = [MOODLE.split(",")]
    results = {student: klass.by.get((student, notebook)) for student in klass.students}
    numbers = unambiguous({s: r["number"] for s, r in results.items() if r and r["platform"] == "moodle"})
    for student, result in results.items():
        number = numbers.get(student, "")
        identifier = f"Participant {number}" if number and klass.is_person(student, number) else ""
        state, points, when, comment = "No submission", "", "", ""
        if status(result) != "missing":
            state = "Submitted for grading" + (" - late" if result["late"] else "")
            points, when = earned(result), result["submitted"] or ""
        if points != "":
            comment = "; ".join(f"{e['id']}: {e['earned']} of {e['points']}, {e['state']}" for e in result["exercises"])
        rows.append([identifier, student, "", state, points, klass.maximum(notebook), "Yes", when, "", comment])
    return rows


def unambiguous(numbers):
    """{student: number}, without numbers that several students share, since marks would go to only one of them."""
    count = Counter(numbers.values())
    return {student: number for student, number in numbers.items() if count[number] == 1}


def canvas_table(klass):
    """Canvas numbers students, and puts the number into the file name of each hand-in: name_[LATE_]STUDENT_FILE_…

    File names in anonymous assignments have no number: anon_CODE_FILE_…
    """
    rows = [[*CANVAS.split(","), *klass.notebooks]]
    rows.append(["    Points Possible", "", "", "", "", *(klass.maximum(n) for n in klass.notebooks)])
    found = {s: {r["number"] for r in klass.of(s) if r["platform"] == "canvas"} - {""} for s in klass.students}
    numbers = unambiguous({student: of.pop() for student, of in found.items() if len(of) == 1})
    for student in klass.students:
        own = [klass.by.get((student, n)) for n in klass.notebooks]
        marks = ["" if status(r) == "missing" else earned(r) for r in own]
        rows.append([student, numbers.get(student, ""), "", "", "", *marks])
    return rows


# --- writing --------------------------------------------------------------------------------------------


def harmless(cell):
    """Text with invisible characters shown and a ' before what a spreadsheet would treat as a formula; numbers are kept."""
    return FORMULA.sub(r"\1\2'", shown(cell, most=CELL)) if isinstance(cell, str) else cell


def as_csv(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def known(formats):
    """Raises CourseError for a format that is not in FORMATS."""
    if unknown := set(formats) - set(FORMATS):
        raise CourseError(f"There is no format {', '.join(sorted(unknown))}; choose {' or '.join(FORMATS)}.")


def publish(results, out, formats=(), unwritten=None):
    """Write all tables and pages of graded hand-ins to the folder `out` -> list of lines for the teacher.

    results: list of dicts as cvdl.course.grading.results reads them; formats: from FORMATS, for uploading marks; unwritten: list to
    which a line is added for each page that could not be written.  Raises CourseError for an unknown format, or if a table
    cannot be written.
    """
    from cvdl.course.grading import reports

    known(formats)
    path = out / "run.json"
    klass = Class(results, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
    save(out / "grades.csv", as_csv(nbgrader_table(klass)))
    # Excel reads a file as UTF-8 only if it begins with a byte order mark, which confuses programs: only this file has it.
    save(out / "exercises.csv", as_csv(exercise_table(klass)), encoding="utf-8-sig")
    said = [f"Marks: {out / 'grades.csv'}, {out / 'exercises.csv'}"]
    tables = {}
    if "moodle" in formats:
        tables |= {f"moodle-{n}.csv": moodle_table(klass, n) for n in klass.notebooks if n in klass.asked_for}
    if "canvas" in formats:
        tables["canvas.csv"] = canvas_table(klass)
    for name, rows in tables.items():
        save(out / name, as_csv(rows))
        said.append(f"To upload: {out / name}")
        place = rows[0].index("Identifier" if name.startswith("moodle") else "ID")
        name_at = rows[0].index("Full name" if name.startswith("moodle") else "Student")
        if unknown := [r[name_at] for r in rows[1:] if not r[place] and r[0].strip() != "Points Possible"]:
            some = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
            said.append(
                f"Rows without {rows[0][place]}: {len(unknown)} ({some}). It is taken from the file names in {name[:6].capitalize()}'s "
                f"download; copy what is missing from {name[:6].capitalize()}'s own list."
            )
    return said + reports.write(klass, out, [] if unwritten is None else unwritten)
