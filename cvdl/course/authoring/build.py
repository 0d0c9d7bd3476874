"""Build two notebooks from each master: `python -m cvdl.course.authoring.build [NN …] [--check] [--stale no]`.

solutions/NN_name.py becomes solutions/NN_name.ipynb, executed, and notebooks/NN_name.ipynb, with stubs
instead of answers and without outputs.
"""

import json
import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from cvdl.course.authoring import dependencies
from cvdl.course.authoring.leaks import answer_lines, leaks, refuse_answers
from cvdl.course.authoring.source import badge, broken, read_master
from cvdl.course.exercises.chapters import find
from cvdl.errors import CourseError
from cvdl.settings import ROOT


def _notebook(cells):
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata.kernelspec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    nb.metadata.language_info = {"name": "python"}
    return nb


def _grading(c):
    """nbgrader's metadata, version 3: the answer is editable; the check is locked and carries the points."""
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
    """The students' notebook; `solution` is the executed one, whose outputs show what to expect."""
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
    """A Markdown cell with the text and the images that the answer produces."""
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

# Run in the kernel before and after the notebook, to record what its outputs depend on.
_RECORD = "from cvdl.course.authoring.dependencies import Recorder as _Recorder; _recorder = _Recorder()"
_REPORT = "import json as _json; print(_json.dumps(_recorder.report()))"

# A progress bar as tqdm leaves it: "\rRNN: 100%|████| 150/150 [02:32<00:00, 1.02s/it]\n".
BAR = re.compile(r"(?:^|\r|(?<=\n))[^\r\n]*\d+%\|[^\r\n]*\|[^\r\n]*\[[^\r\n]*\](?:\r?\n)?")


def execute(master):
    """Run the master's notebook from top to bottom in the laptop profile -> notebook with outputs."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    nb, sources = solution_notebook(master), dependencies.snapshot()
    hidden = [nbformat.v4.new_code_cell(s) for s in (_RECORD, _REPORT)]
    nb.cells = [hidden[0], *nb.cells, hidden[1]]
    os.environ |= {"CVDL_PROFILE": "laptop", "CVDL_REAL": ""}  # so that no figure shows private data
    started = []  # indices of cells; the last one is running
    with typer.progressbar(length=len(nb.cells), label=master.stem, file=sys.stderr) as bar:
        client = NotebookClient(
            nb,
            timeout=1200,
            kernel_name="python3",
            coalesce_streams=True,
            record_timing=False,
            resources={"metadata": {"path": str(master.path.parent)}},
            on_cell_execute=lambda cell_index, **_: started.append(cell_index),
            on_cell_executed=lambda **_: bar.update(1),
        )
        try:
            client.execute()
        except (CellExecutionError, DeadKernelError, CellTimeoutError) as error:
            cell = master.cells[min(max(started[-1] - 1, 0), len(master.cells) - 1)]  # minus the hidden first cell
            raise _failed(master, cell, error) from None
    report = json.loads(hidden[1].outputs[0].text)
    nb.cells = json.loads(json.dumps(nb.cells[1:-1]).replace(str(ROOT), "~/cvdl"), object_hook=nbformat.from_dict)
    for c, cell in zip(master.cells, nb.cells, strict=True):
        if cell.cell_type != "code":
            continue
        cell.execution_count = None if cell.execution_count is None else cell.execution_count - 1
        cell.outputs = [output for output in cell.outputs if _without_bars(output)]
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = cell.execution_count
            if "image/png" in output.get("data", {}) and not output.metadata.get("image/png", {}).get("alt"):
                raise broken(master, c, 1, "a figure without alternative text: use cvdl.show(figure, alt)")
    nb.metadata.cvdl = {
        "profile": "laptop",
        "code": digest(master),
        "sources": dependencies.digests(report, code_of(master), sources),
    }
    return nb


def _without_bars(output):
    """Remove progress bars from an output -> whether anything is left."""
    if output.output_type != "stream":
        return True
    output.text = BAR.sub("", output.text)
    return bool(output.text)


def code_of(master):
    return [c.source for c in master.cells if c.kind == "code"]


def digest(master):
    """Digest of the code cells; Markdown cells do not count."""
    return dependencies.digest("\0".join(code_of(master)).encode())


def _failed(master, cell, error):
    """What went wrong in a cell: an exception; or the kernel died, for example out of memory; or the time is up."""
    if not hasattr(error, "ename"):
        return broken(master, cell, 1, f"{error}. Nothing was written.")
    text = re.sub(r"\x1b\[[\d;]*m", "", str(error))
    lines = re.findall(r"Cell In\[\d+\], line (\d+)", text) or ["1"]
    return broken(master, cell, int(lines[-1]), f"{error.ename}: {error.evalue}")


def read_solution(master):
    """The executed notebook of a master, or None if there is none yet."""
    if not master.solution.exists():
        return None
    try:
        return nbformat.read(master.solution, 4)
    except Exception as error:  # nbformat's are of many kinds
        raise CourseError(
            f"{master.solution} is not a notebook ({str(error)[:80]}). Delete it and run `make build`."
        ) from None


def outdated(master, solution):
    """Why the outputs of the executed notebook may be out of date, or None."""
    if solution is None:
        return "was never executed"
    known = solution.metadata.get("cvdl", {})
    if "code" not in known:
        return "has no record of what its outputs depend on"
    if known["code"] != digest(master):
        return f"was executed with other code than {master.path.name} has now"
    changes = list(dependencies.changed(known["sources"]))
    return f"is older than {', '.join(changes[:3])}{' …' if len(changes) > 3 else ''}" if changes else None


def with_outputs(master, old):
    """The teachers' notebook with the master's cells and the outputs that `old` has for them.

    Where the code is the same, its cells are matched in order: their ids depend on the headings above them.
    """
    nb = solution_notebook(master)
    nb.metadata = old.metadata
    code, known = ([c for c in book.cells if c.cell_type == "code"] for book in (nb, old))
    if [c.source for c in code] != [c.source for c in known]:
        by_id = {c.id: c for c in known}
        code = [c for c in code if c.id in by_id]
        known = [by_id[c.id] for c in code]
    for cell, executed in zip(code, known, strict=True):
        cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    return nb


def check_built(masters, folder=None):
    """What is wrong with the built notebooks -> (problems, warnings), one line each; executes nothing.

    folder: the masters' folder, if `masters` is complete; then every students' notebook must have a master in it.
    """
    problems, warnings = [], []
    for master in masters:
        solution = read_solution(master)
        if solution is None:
            problems.append(f"{master.solution} is missing: run `make build`")
            continue
        if master.solution.read_text(encoding="utf-8") != written(with_outputs(master, solution)):
            problems.append(f"{master.solution} does not have the cells of {master.path.name}: run `make build`")
            continue
        if why := outdated(master, solution):
            warnings.append(f"{master.solution} {why}: `make build` executes it")
        if not master.student.exists():
            problems.append(f"{master.student} is missing: run `make build`")
        elif master.student.read_text(encoding="utf-8") != written(student_notebook(master, solution)):
            problems.append(f"{master.student} is not what its master gives: run `make build`")
    secrets = [s for m in masters for s in answer_lines(m)]
    built = {m.student for m in masters if m.student.exists()}
    for path in sorted(folder.parent.glob("notebooks/*.ipynb")) if folder else ():
        if path not in built:
            problems.append(f"{path} has no master {folder.name}/{path.stem}.py")
            built.add(path)
    problems += [f"{path} shows a line of an answer: {s!r}" for path in sorted(built) for s in leaks(path, secrets)]
    return problems, warnings


def written(nb):
    """A notebook as the text of its file."""
    return nbformat.writes(nb) + "\n"


# --- command ------------------------------------------------------------------------------------------


def build(master, stale="execute"):
    """Write both notebooks of one master, executing it only if its outputs could change.

    stale: "execute"; "no" to keep old outputs, if there are any; "all" to execute in any case.
    """
    refuse_answers(master.student)
    old = read_solution(master)
    why = "was requested" if stale == "all" else outdated(master, old)
    if why and (stale != "no" or old is None):
        print(f"{master.stem} {why}: executing it", file=sys.stderr)
        solution = execute(master)
    else:
        solution = with_outputs(master, old)
        if why:
            print(f"{master.stem} {why}: not executed", file=sys.stderr)
    student = student_notebook(master, solution)
    for nb, path in ((solution, master.solution), (student, master.student)):
        path.parent.mkdir(exist_ok=True)
        text = written(nb)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if found := leaks(master.student, answer_lines(master)):
        raise CourseError(f"{master.student} shows a line of an answer: {found[0]!r}. Reword the text or the answer.")


class Stale(StrEnum):
    """What to do about outputs that may be out of date."""

    execute = "execute"
    no = "no"
    all = "all"


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Notebooks to build, e.g. 01 [default: all].")] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Write and execute nothing. Fail if a notebook differs from its master or shows an answer; "
            "warn if outputs are older than the code.",
        ),
    ] = False,
    stale: Annotated[
        Stale,
        typer.Option(
            help="What to do about outputs that are out of date. execute: execute those notebooks; no: leave the old "
            "outputs; all: execute every notebook."
        ),
    ] = Stale.execute,
    folder: Annotated[Path, typer.Option(help="Folder of the masters.")] = ROOT / "solutions",
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
            problems, warnings = check_built(masters, None if names else folder)
            for warning in warnings:
                print(f"warning: {warning}", file=sys.stderr)
            print("\n".join(problems) or f"{len(masters)} notebooks match their masters and leak nothing.")
            raise typer.Exit(bool(problems))
        for master in masters:
            build(master, stale)
    except CourseError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
