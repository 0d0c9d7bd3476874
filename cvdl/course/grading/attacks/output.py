"""Attacks by what goes out: tables, pages and the terminal."""

import csv
import io
import json
import re

from cvdl.course.grading.attacks.base import RNN, answer, notebook, put
from cvdl.course.grading.attacks.classes import GOOD, WRONG, ClassAttack, anna, grade, short
from cvdl.course.grading.attacks.files import zipped

FORMULA = re.compile(r"""^["\s\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]""")
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
PAGE, TABLE, CELL = 4 << 20, 8 << 20, 32_767  # bytes of a page and of a table, and characters of a cell in Excel


def attack(name, tries, make, through=lambda seen: (), **more):
    return ClassAttack(name, tries, make, through, **more)


def formulas(seen):
    """Cells that a spreadsheet takes for a formula, whichever separator it takes."""
    for path in sorted(seen.out.glob("*.csv")):
        text = path.read_text(encoding="utf-8-sig")
        for separator in ",;\t|:":
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                for cell in row:
                    if FORMULA.match(cell) and not re.fullmatch(r"-?[\d.]+", cell):
                        yield f"{path.name} has a cell {cell[:40]!r} under the separator {separator!r}"
                        break
                else:
                    continue
                break


def control(seen):
    """Control characters, marks of direction and invisible characters in what goes out."""
    terminal = [("the terminal", said.replace("\r", "")) for said in seen.said]
    for name, text in [*terminal, *seen.texts().items()]:
        found = CONTROL.search(text.removeprefix("\ufeff"))
        if found:
            yield f"{name} holds {found[0]!r}: {text[max(found.start() - 20, 0) : found.end() + 10]!r}"


def sizes(seen):
    for name, text in seen.texts().items():
        limit = TABLE if name.endswith(".csv") or "/" not in name else PAGE
        if len(text) > limit:
            yield f"{name} has {len(text) >> 20} MB"
    csv.field_size_limit(1 << 30)
    for path in seen.out.glob("*.csv"):
        with open(path, encoding="utf-8-sig", newline="") as file:
            longest = max((len(cell) for row in csv.reader(file) for cell in row), default=0)
        if longest > CELL:
            yield f"{path.name} has a cell of {longest} characters"


def paths(seen):
    """The teacher's folders on students' pages."""
    for name, text in seen.pages().items():
        if str(seen.folder) in text:
            at = text.index(str(seen.folder))
            yield f"{name} shows {text[max(at - 40, 0) : at + 60]!r}"


def all_formats(folder):
    return [grade(folder, "--format", "moodle", "--format", "canvas", "--against", "OUT")]


def separators(folder):
    """A name and a syntax error that become cells of their own where ; or tabs separate."""
    anna(folder)
    for name in ("mallory;=1+1", "mallory\t=1+1", "mallory|@SUM(1)", 'mallory";=1+1', "mallory, x;\t=2", ";=3"):
        put(
            folder / name / "mine.ipynb",
            notebook("x = (;=1+cmd|' /C calc'!A0", "y = (\t=1+1", answer("return image / 256")),
        )
    return all_formats(folder)


def messages(folder):
    """Control characters in what an answer says, in its name, and in the id of an exercise."""
    anna(folder)
    put(
        folder / "mallory \x1b[31m\u202e" / "mine.ipynb",
        notebook(
            "x = ('\x1b[2J\x07\u202e", answer("raise ValueError('\\x1b[2J\\u202e\\x07\\x9b1m\\u200b\\U000e0041')")
        ),
    )
    put(
        folder / "mallory 2" / "mine.ipynb",
        notebook(answer("return '\\x1b]0;mine\\x07\\u2066'"), '@exercise("start.\u202ex\x1b[2J")\ndef f(): return 1'),
    )
    put(folder / "mallory 3" / "a\x1b[2J\u202e.pdf", b"%PDF")
    return all_formats(folder)


def two_of_one(folder):
    anna(folder)
    put(folder / "mallory" / "first.ipynb", WRONG)
    put(folder / "mallory" / "deeper" / "second.ipynb", WRONG)
    put(folder / "mallory" / "third.ipynb", b"{")


def unreadable_one(folder):
    """A hand-in that cannot be read, whose page says why."""
    anna(folder)
    put(folder / "mallory" / "00_start_here.zip", b"PK\3\4 no zip")
    (folder / "mallory 2").mkdir()
    (folder / "mallory 2" / "00_start_here.ipynb").symlink_to(folder / "anna" / "mine.ipynb")
    put(folder / "mallory 3" / "mine.zip", zipped([("../00_start_here.ipynb", WRONG)]))
    return [grade(folder, "--format", "moodle")]


def library_paths(folder):
    """Errors whose text quotes files of the machine."""
    anna(folder)
    body = "import cvdl, sys\nraise ValueError(cvdl.__file__ + sys.executable + sys.prefix)"
    put(folder / "mallory" / "mine.ipynb", notebook(answer(body)))


def machine(seen):
    import sys

    from cvdl.settings import ROOT

    for name, text in seen.pages("mallory").items():
        for path in (str(ROOT), sys.prefix, sys.base_prefix):
            if path in text:
                yield f"{name} shows {path}"


def long_ones(folder):
    """Hand-ins that make the teacher's files large: many remarks, long sources, many exercises of no notebook."""
    anna(folder)
    broken = [f"x{n} = ({'y' * 150}" for n in range(6000)]
    put(folder / "mallory 1" / "mine.ipynb", notebook(*broken, answer("return image / 256")))
    put(folder / "mallory 2" / "mine.ipynb", notebook(answer("'" + "<" * 190_000 + "'\nreturn image / 256")))
    files = {f"mine {n} {'z' * 180}.ipynb": b"{" for n in range(190)}
    for name, data in files.items():
        put(folder / "mallory 3" / name, data)
    return all_formats(folder)


def long_answers(folder):
    """Long messages in every case of every exercise of a notebook."""
    put(folder / "anna" / "mine.ipynb", GOOD)
    from cvdl.course.exercises import chapters

    cells = [answer("raise ValueError('&' * 10 ** 6)\n'" + "&" * 20_000 + "'", id) for id in chapters.chapter("rnn")]
    put(folder / "mallory" / "mine.ipynb", notebook(*cells, stem=RNN))


SHOWS = "raise ValueError(str(image.flatten().tolist()))"


def case_on_page(folder):
    """The arguments of a secret case in the message of an error."""
    anna(folder)
    put(folder / "mallory" / "mine.ipynb", notebook(answer(f"if image.numel() > 2:\n    {SHOWS}\nreturn image / 255")))
    body = "if image.numel() > 2:\n    return str(image.flatten().tolist())\nreturn image / 255"
    put(folder / "mallory 2" / "mine.ipynb", notebook(answer(body)))
    body = "if image.numel() > 2:\n    return {str(image.tolist()): 1}\nreturn image / 255"
    put(folder / "mallory 3" / "mine.ipynb", notebook(answer(body)))
    again = notebook(answer(f"if image.numel() > 2:\n    {SHOWS}\nreturn image / 255.0"))
    put(folder / "mallory 4" / "mine.ipynb", again)


def numbers_shown(seen):
    """What one attempt shows of a case must not be of use in another: each file has cases of its own."""
    known = [
        found[0]
        for text in seen.pages("mallory").values()
        if (found := re.search(r"(\d{1,3}, ){5}", text.partition("<pre")[0]))
    ]
    if len(known) < 2:
        yield "the pages show no numbers, so that there is nothing to compare"
    if len(set(known)) < len(known):
        yield "two attempts show the same numbers of a secret case"


def submits(folder):
    """`cvdl submit` of notebooks of odd forms."""
    whole = json.loads(WRONG)
    forms = {
        "three": {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [{**c, "input": c["source"]} for c in whole["cells"]]}]},
        "metadata": whole | {"metadata": "text"},
        "number": whole | {"cells": [7, *whole["cells"]]},
        "sources": whole | {"cells": [*whole["cells"], {"cell_type": "code", "source": 7}]},
        "list": [whole],
    }  # fmt: skip
    calls = []
    for name, form in forms.items():
        put(folder / f"{name}.ipynb", json.dumps(form).encode())
        calls.append(["handin", folder / f"{name}.ipynb", "--out", folder.parent / "up" / f"{name}.ipynb"])
    return calls


MAY = ("mallory", "mallory 2", "mallory 3", "mallory 4")
ATTACKS = short(
    [
        attack("formulas behind separators", "names and errors that are formulas where ; or tabs separate", separators, formulas),
        attack("control characters", "escape codes and marks of direction in messages, names and ids", messages, control),
        attack("folders on the page", "two notebooks of one number", two_of_one, paths),
        attack("folders in problems", "hand-ins that cannot be read", unreadable_one, paths),
        attack("the machine's paths in errors", "errors that quote where cvdl and Python are", library_paths, machine),
        attack("large files", "thousands of remarks, long sources, many files", long_ones, sizes),
        attack("long messages", "an error of a million characters in every case", long_answers, sizes),
        attack("a case on the page", "learns the arguments of a secret case from an error, a text or a key, for another attempt", case_on_page, numbers_shown, allowed=MAY),
        attack("odd notebooks handed in", "`cvdl submit` of format 3, odd metadata and odd cells", submits, honest={}),
    ],
    "formulas behind separators",
    "a case on the page",
)  # fmt: skip
