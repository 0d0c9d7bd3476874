"""Reading a master, solutions/NN_name.py in jupytext's percent format: cells, exercises, stubs.

Cell tags in a master: "bootstrap" (an empty cell, filled in here) and "expect" (its output is shown to
students under the exercise before it).
"""

import ast
import re
import textwrap
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from cvdl.course.exercises.api import is_stub
from cvdl.course.exercises.chapters import find
from cvdl.errors import CourseError
from cvdl.settings import ROOT

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
MARKER = re.compile(r"^# %%", re.M)
CALL = re.compile(r"""^(@exercise|check)\(\s*["']([\w.]+)["']""", re.M)


@dataclass
class Cell:
    """One cell of a master; `line` is its first line's number there."""

    kind: str
    source: str
    line: int
    tags: list[str]
    id: str = ""
    exercise: str | None = None  # id, if the exercise is defined here
    checks: str | None = None  # id, if it is checked here
    stub: str = ""  # the source for students


@dataclass
class Master:
    path: Path
    cells: list[Cell] = field(default_factory=list)

    @property
    def stem(self):
        return self.path.stem

    @property
    def solution(self):
        return self.path.with_suffix(".ipynb")

    @property
    def student(self):
        return self.path.parent.parent / "notebooks" / f"{self.stem}.ipynb"


def read_master(path):
    """Parse and check one master.  Raises CourseError with file, cell and line."""
    import jupytext

    text = path.read_text(encoding="utf-8")
    lines = [text.count("\n", 0, m.end()) + 2 for m in MARKER.finditer(text)]
    cells = jupytext.reads(text, fmt="py:percent").cells
    if len(cells) != len(lines):
        raise CourseError(f"{path}: {len(lines)} `# %%` lines but {len(cells)} cells; text must follow a `# %%` line.")
    master = Master(path)
    section, number, ids = "top", 0, set()
    for cell, line in zip(cells, lines, strict=True):
        c = Cell(cell.cell_type, cell.source, line, list(cell.metadata.get("tags", [])))
        if heading := re.match(r"#{1,3} +(.+)", c.source) if c.kind == "markdown" else None:
            section, number = re.sub(r"\W+", "-", heading[1].lower()).strip("-")[:40], 0
        if "bootstrap" in c.tags:
            c.source = bootstrap()
        if c.kind == "code":
            _read_code(master, c)
        number += 1
        name = c.exercise or (c.checks and f"{c.checks}-check") or f"{section}-{number}"
        c.id = re.sub(r"[^\w-]", "-", name, flags=re.ASCII)[:64]
        if c.id in ids:
            raise broken(master, c, 1, f"a second cell with the id {c.id!r}; give its section another heading")
        ids.add(c.id)
        master.cells.append(c)
    _check_order(master)
    return master


def _read_code(master, c):
    try:
        tree = ast.parse(c.source)
    except SyntaxError as error:
        raise broken(master, c, error.lineno or 1, f"SyntaxError: {error.msg}") from None
    calls = {kind: id for kind, id in CALL.findall(c.source)}
    c.exercise, c.checks = calls.get("@exercise"), calls.get("check")
    c.stub = c.source
    if BEGIN in c.source or END in c.source:
        c.stub = _stub(master, c)
    if not c.exercise:
        return
    definition = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.decorator_list)
    line = definition.decorator_list[0].lineno
    try:
        spec = find(c.exercise)
    except CourseError as error:
        raise broken(master, c, line, str(error)) from None
    if BEGIN not in c.source:
        raise broken(master, c, line, f"the exercise {c.exercise} has no {BEGIN}")
    names = [a.arg for a in definition.args.args]
    expected = list(spec.library.__code__.co_varnames[: spec.library.__code__.co_argcount])
    if names != expected:
        raise broken(master, c, definition.lineno, f"parameters {names}, but the library's are {expected}")
    if not holds_stub(c.stub):
        raise broken(master, c, line, "without its answer the function is not a stub: leave nothing but the docstring")


def holds_stub(source):
    """Is there an exercise function in this code whose answer is still missing?"""
    nodes = ast.walk(ast.parse(source))
    return any(isinstance(n, ast.FunctionDef) and n.decorator_list and is_stub(n.body) for n in nodes)


def _stub(master, c):
    """The cell without its answers: `...` for each, or a dict to fill in."""
    out, answer, inside = [], [], False
    for n, line in enumerate(c.source.splitlines(), 1):
        mark = line.strip()
        if mark in (BEGIN, END) and (mark == BEGIN) == inside:
            raise broken(master, c, n, f"{mark} without its partner")
        if mark == BEGIN:
            inside, answer = True, []
        elif mark == END:
            inside = False
            indent = line[: len(line) - len(line.lstrip())]
            out += [indent + s for s in _hole(answer)]
        else:
            (answer if inside else out).append(line)
    if inside:
        raise broken(master, c, len(c.source.splitlines()), f"{BEGIN} without its partner")
    return "\n".join(out)


def _hole(answer):
    body = ast.parse(textwrap.dedent("\n".join(answer)).replace("return", "_ =", 1)).body
    if len(body) == 1 and isinstance(body[0], ast.Assign) and isinstance(body[0].value, ast.Dict):
        return ["return {", *(f"    {ast.literal_eval(k)!r}: ...,".replace("'", '"') for k in body[0].value.keys), "}"]
    return ["..."]


def _check_order(master):
    """Each exercise is followed by its check and, if its kind is code, by one cell tagged "expect"."""
    starts = [i for i, c in enumerate(master.cells) if c.exercise]
    for start, end in zip(starts, [*starts[1:], len(master.cells)], strict=False):
        c, rest = master.cells[start], master.cells[start + 1 : end]
        if sum(r.checks == c.exercise for r in rest) != 1:
            raise broken(master, c, 1, f'the exercise {c.exercise} is not followed by one check("{c.exercise}")')
        expects = sum("expect" in r.tags for r in rest)
        if expects != (find(c.exercise).kind == "code"):
            raise broken(
                master, c, 1, f'{expects} cells tagged "expect" after {c.exercise}; kind code has one, answer none'
            )


def broken(master, c, line, what):
    number = len(master.cells) + 1 if c not in master.cells else master.cells.index(c) + 1
    return CourseError(f"{master.path}: cell {number}, line {c.line + line - 1}: {what}")


def course_settings():
    """The table [tool.course] of pyproject.toml: repository and tag that Colab fetches."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["course"]


def bootstrap(course=None):
    """The first code cell, at most three lines; fetches the course only where it is missing (Colab).

    Installed editable, the course finds its data after a restart, too. Until then only sys.path knows it, and Python
    would remember from a first try without network that the folder is not there.
    """
    course = course or course_settings()
    clone = f"git clone -q --depth 1 -b {course['tag']} {course['repository']} cvdl-course"
    say = "The course could not be fetched. Is the network there? Run this cell again; it goes on where it stopped."
    fetch = (
        'import importlib.util, sys\nif not importlib.util.find_spec("cvdl"): get_ipython().system('
        f"'(test -d cvdl-course || {clone}) && pip install -q --no-deps -e ./cvdl-course || echo \"{say}\"'); "
        'sys.path.insert(0, "cvdl-course"); importlib.invalidate_caches()\n'
    )
    return (fetch if course["repository"] else "") + "import cvdl; cvdl.start()"


def badge(stem):
    course = course_settings()
    if not course["repository"]:
        return ""
    path = course["repository"].removeprefix("https://github.com/") + f"/blob/{course['tag']}/notebooks/{stem}.ipynb"
    base = "https://colab.research.google.com"
    return f"\n\n[![Open in Colab]({base}/assets/colab-badge.svg)]({base}/github/{path})"
