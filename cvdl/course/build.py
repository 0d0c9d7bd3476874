"""From one master per notebook to two notebooks: `python -m cvdl.course.build [NN …] [--check]`.

solutions/NN_name.py becomes solutions/NN_name.ipynb, executed, and notebooks/NN_name.ipynb, with stubs
for answers and without outputs.
"""

import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from cvdl.course.checks import find
from cvdl.course.guard import answer_lines, leaks, refuse_answers
from cvdl.course.master import badge, broken, read_master
from cvdl.errors import CourseError
from cvdl.settings import ROOT


def _notebook(cells):
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nb.metadata.language_info = {"name": "python"}
    return nb


def _grading(c):
    """nbgrader's metadata, version 3: the answer is editable, the check is locked and counts."""
    if not (c.exercise or c.checks):
        return {}
    data = {"schema_version": 3, "grade_id": c.id, "task": False, "solution": bool(c.exercise)}
    data |= {"grade": bool(c.checks), "locked": bool(c.checks)}
    if c.checks:
        data["points"] = find(c.checks).points
    return {"nbgrader": data}


def _new_cell(c, source, outputs=()):
    metadata = {"tags": c.tags} if c.tags else {}
    if c.kind == "markdown":
        return nbformat.v4.new_markdown_cell(source, id=c.id, metadata=metadata)
    return nbformat.v4.new_code_cell(source, id=c.id, metadata=metadata | _grading(c), outputs=list(outputs))


def solution_notebook(master):
    """The teachers' notebook, not executed."""
    return _notebook([_new_cell(c, c.source) for c in master.cells])


def student_notebook(master, solution):
    """The students' notebook; `solution` is the executed one, whose outputs say what to expect."""
    outputs = {c.id: c.get("outputs", []) for c in solution.cells}
    cells = []
    for i, c in enumerate(master.cells):
        source = c.source if c.kind == "markdown" else c.stub
        if i == 0:
            title, _, rest = source.partition("\n")
            source = title + badge(master.stem) + (f"\n{rest}" if rest else "")
        cells.append(_new_cell(c, source))
        if "expect" in c.tags:
            cells.append(_expected(c, outputs[c.id]))
    return _notebook(cells)


def _expected(c, outputs):
    """A Markdown cell with the text and the pictures that the answer gives."""
    parts, attachments = ["*What to expect:*"], {}
    for o in outputs:
        data = o.get("data", {})
        if o.output_type == "stream":
            parts.append(f"```text\n{o.text.rstrip()}\n```")
        elif "image/png" in data:
            name = f"expected-{len(attachments)}.png"
            attachments[name] = {"image/png": data["image/png"]}
            parts.append(f"![{o.metadata['image/png']['alt']}](attachment:{name})")
        elif "text/plain" in data:
            parts.append(f"```text\n{data['text/plain']}\n```")
    if len(parts) == 1:
        raise CourseError(
            f'The cell {c.id} at line {c.line} is tagged "expect" but shows nothing; print something in it.'
        )
    cell = nbformat.v4.new_markdown_cell("\n\n".join(parts), id=f"{c.id[:55]}-expected")
    if attachments:
        cell.attachments = attachments
    return cell


# --- executing ----------------------------------------------------------------------------------------

WATCHED = ("cvdl", "data", "solutions")  # a change in there makes a notebook stale

# Run in the kernel before and after the notebook: which of our files does it depend on?
_RECORD = "import sys as _sys; _opened = set()\n_sys.addaudithook(lambda e, a: e == 'open' and _opened.add(str(a[0])))"
_REPORT = (
    "import json as _json\n"
    "_opened |= {m.__file__ for n, m in _sys.modules.items() if n.split('.')[0] == 'cvdl' and getattr(m, '__file__', None)}\n"
    f"print(_json.dumps(sorted(p for p in _opened if p.startswith({tuple(str(ROOT / f) for f in WATCHED)!r}))))"
)


def execute(master):
    """Run the master's notebook from top to bottom in the laptop profile -> notebook with outputs."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    nb = solution_notebook(master)
    hidden = [nbformat.v4.new_code_cell(s) for s in (_RECORD, _REPORT)]
    nb.cells = [hidden[0], *nb.cells, hidden[1]]
    os.environ |= {"CVDL_PROFILE": "laptop", "CVDL_REAL": ""}  # nobody's private data in a picture
    started = time.time()
    with typer.progressbar(length=len(nb.cells), label=master.stem, file=sys.stderr) as bar:
        client = NotebookClient(
            nb,
            timeout=1200,
            kernel_name="python3",
            coalesce_streams=True,
            record_timing=False,
            resources={"metadata": {"path": str(master.path.parent)}},
            on_cell_executed=lambda **_: bar.update(1),
        )
        try:
            client.execute()
        except CellExecutionError as error:
            raise _failed(master, nb, error) from None
    used = json.loads(hidden[1].outputs[0].text)
    nb.cells = json.loads(json.dumps(nb.cells[1:-1]).replace(str(ROOT), "~/cvdl"), object_hook=nbformat.from_dict)
    for c, cell in zip(master.cells, nb.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = None if cell.execution_count is None else cell.execution_count - 1
        for output in cell.get("outputs", []):
            if "execution_count" in output:
                output.execution_count = cell.execution_count
            if "image/png" in output.get("data", {}) and not output.metadata.get("image/png", {}).get("alt"):
                raise broken(master, c, 1, "a figure without alternative text: use cvdl.show(figure, alt)")
    nb.metadata.cvdl = {
        "seconds": round(time.time() - started),
        "profile": "laptop",
        "sources": hashes([master.path, *map(Path, used)]),
    }
    return nb


def _failed(master, nb, error):
    index = next(i for i, c in enumerate(nb.cells) if any(o.output_type == "error" for o in c.get("outputs", [])))
    c = master.cells[index - 1]
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error))
    lines = re.findall(r"Cell In\[\d+\], line (\d+)", text) or ["1"]
    return broken(master, c, int(lines[-1]), f"{error.ename}: {error.evalue}")


def hashes(paths):
    """{path within the repository: sha256}, of those files that are WATCHED."""
    out = {}
    for path in sorted({Path(p).resolve() for p in paths}):
        relative = path.relative_to(ROOT) if path.is_relative_to(ROOT) else None
        if relative and relative.parts[0] in WATCHED and path.suffix != ".pyc" and path.is_file():
            out[relative.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return out


def stale(master):
    """Why the executed notebook has to be made again, or None."""
    if not master.solution.exists():
        return "was never executed"
    solution = nbformat.read(master.solution, 4)
    if [(c.id, c.source) for c in solution.cells] != [(c.id, c.source) for c in master.cells]:
        return f"does not have the cells of {master.path.name}"
    known = solution.metadata.get("cvdl", {}).get("sources")
    if not known:
        return "carries no list of its sources"
    now = hashes([ROOT / p for p in known])
    changed = [p for p in known if now.get(p) != known[p]]
    return f"is older than {', '.join(changed[:3])}{' …' if len(changed) > 3 else ''}" if changed else None


def check_built(masters, folder):
    """Everything that is wrong with the built notebooks, one line each; executes nothing."""
    problems = []
    for master in masters:
        if why := stale(master):
            problems.append(f"{master.solution} {why}: run `make build`")
            continue
        solution = nbformat.read(master.solution, 4)
        if not master.student.exists():
            problems.append(f"{master.student} is missing: run `make build`")
        elif master.student.read_text(encoding="utf-8") != nbformat.writes(student_notebook(master, solution)) + "\n":
            problems.append(f"{master.student} is not what its master gives: run `make build`")
    secrets = [s for m in masters for s in answer_lines(m)]
    stems = {m.stem for m in masters}
    for path in sorted(folder.parent.glob("notebooks/*.ipynb")):
        if path.stem not in stems:
            problems.append(f"{path} has no master {folder.name}/{path.stem}.py")
        problems += [f"{path} shows a line of an answer: {s!r}" for s in leaks(path, secrets)]
    return problems


# --- command ------------------------------------------------------------------------------------------


def build(master, force=False):
    """Write both notebooks of one master; executes only if something changed."""
    refuse_answers(master.student)
    if force or (why := stale(master)):
        print(f"{master.stem}: executing, since it " + ("was asked for" if force else why), file=sys.stderr)
        solution = execute(master)
    else:
        solution = nbformat.read(master.solution, 4)
    student = student_notebook(master, solution)
    for nb, path in ((solution, master.solution), (student, master.student)):
        path.parent.mkdir(exist_ok=True)
        text = nbformat.writes(nb) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if found := leaks(master.student, answer_lines(master)):
        raise CourseError(f"{master.student} shows a line of an answer: {found[0]!r}. Reword the text or the answer.")


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Notebooks to build, e.g. 01 (all, if none).")] = None,
    check: Annotated[bool, typer.Option("--check", help="Compare only; fail on drift and on leaks.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Execute even if nothing changed.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the masters are.")] = ROOT / "solutions",
):
    """Build the notebooks from their masters."""
    try:
        paths = sorted(folder.glob("[0-9][0-9]_*.py"))
        for name in names or []:
            if not any(p.stem.startswith(Path(name).stem) for p in paths):
                raise CourseError(f"No master for {name!r} in {folder}; there are {', '.join(p.stem for p in paths)}.")
        chosen = [p for p in paths if not names or any(p.stem.startswith(Path(n).stem) for n in names)]
        masters = [read_master(p) for p in chosen]
        if check:
            problems = check_built(masters, folder) if not names else check_built(masters, Path("."))
            print("\n".join(problems) or f"{len(masters)} notebooks are up to date and leak nothing.")
            raise typer.Exit(bool(problems))
        for master in masters:
            build(master, force)
    except CourseError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
