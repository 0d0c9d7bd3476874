"""What a student uploads: the saved notebook, looked over and without outputs.

As a program, `python -m cvdl.course.workspace.submit`, it scores the notebook on its standard input, one exercise a line: the
student's own code, in a process of its own, so that nothing it does stops the command.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tqdm import tqdm

from cvdl.course.exercises import api, chapters, scoring
from cvdl.course.grading.extraction import extract
from cvdl.course.grading.loading import Loader, course_of
from cvdl.course.grading.sandbox import worker
from cvdl.course.notebook.cells import notebook_of, unmarked
from cvdl.course.notebook.chapters import chapter_of, stems
from cvdl.course.notebook.feedback import Feedback
from cvdl.course.workspace import lab
from cvdl.errors import CourseError
from cvdl.files import replacing
from cvdl.settings import ROOT

STARTING, PATIENCE = 600, 120  # seconds to import torch, and for one exercise, after which Python is stopped
FOLDER = "handin"  # in work/, or beside the notebook
TRACKED = ("notebooks", "solutions")  # folders of the course that git tracks: nothing is written there
MARK = "cvdl_handin"  # in the notebook's metadata: this file may be written over
SLACK = timedelta(seconds=5)  # between running a cell and saving it


def submit(notebook, work, out=None):
    """Check, score and pack a saved notebook -> Feedback; writes the file to upload.

    notebook: its number, "01", or its file; work: the folder of the student's copies; out: file to write, by default
    handin/NAME.ipynb beside the notebook, or in WORK if that is one of the course's own folders.  Raises CourseError where there is nothing to hand in; then no file is written.
    """
    path = chosen(notebook, work)
    data = path.read_bytes()
    try:
        found = extract(data)
    except CourseError as error:
        raise CourseError(f"{path} is {error}. Open it in JupyterLab, and save it there.") from None
    chapter = chapter_of(data)
    if chapter not in chapters.chapters():
        raise CourseError(f"{path} contains no exercise of this course. Name another: cvdl submit 01")
    if lab.digest(path) == lab.read_record(path.parent).get(path.name):
        raise CourseError(
            f"{path} is as it was delivered: there is nothing of yours in it. Save it first, with Ctrl-S in JupyterLab, "
            "then run this again."
        )
    tracked = any(path.is_relative_to((ROOT / folder).resolve()) for folder in TRACKED)
    target = out or (work.resolve() if tracked else path.parent) / FOLDER / f"{lab.family(path.name)}.ipynb"
    writable(target)
    specs = list(chapters.chapter(chapter).values())
    rows = scored(data, specs)
    content = stripped(data)
    with replacing(target, "Name another file: --out FILE") as beside:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
    return told(path, target, specs, rows, found.notes)


def chosen(notebook, work):
    """The file that is meant.  Raises CourseError if there is none."""
    if notebook.endswith(".ipynb"):
        if not Path(notebook).is_file():
            raise CourseError(f"There is no file {notebook}. Give the number, as in `cvdl submit 01`, or its path.")
        return Path(notebook).resolve()
    there = sorted(p for p in work.glob("[0-9][0-9]_*.ipynb") if p.stem == lab.family(p.name))
    for path in there:
        if notebook.zfill(2) == path.name[:2] or notebook == path.stem:
            return path.resolve()
    if Path(notebook).exists() or Path(notebook).suffix:
        kind = "a folder" if Path(notebook).is_dir() else "not a notebook, whose name ends in .ipynb"
        raise CourseError(f"{notebook} is {kind}. Give the number of a notebook, as in `cvdl submit 01`, or its path.")
    names = ", ".join(p.name for p in there) or "none at all"
    raise CourseError(
        f"There is no notebook {notebook!r} in {work}; there {'is' if len(there) < 2 else 'are'} {names}. Give the number, as in "
        "`cvdl submit 01`, or the path; `make lab` adds missing notebooks."
    )


def writable(target):
    """Raises CourseError if a file of another kind would be overwritten."""
    if target.suffix != ".ipynb":
        raise CourseError(f"{target} must end in .ipynb, because you hand in a notebook.")
    if target.exists():
        try:
            ours = MARK in json.loads(target.read_bytes())["metadata"]
        except (OSError, ValueError, TypeError, KeyError):
            ours = False
        if not ours:
            raise CourseError(
                f"{target} is not an earlier hand-in, so it was not overwritten. Name another file: --out FILE"
            )


def stripped(data):
    """The bytes of a notebook without outputs, which may be large and are not graded."""
    notebook = notebook_of(data)
    metadata = notebook.get("metadata")
    notebook["metadata"] = (metadata if isinstance(metadata, dict) else {}) | {MARK: 1}
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]:
        if cell.get("cell_type") == "code":
            cell |= {"outputs": [], "execution_count": None}
    # a lone surrogate becomes \udxxx, which is what JSON writes for it
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


# --- scoring --------------------------------------------------------------------------------------------


def scored(data, specs):
    """What `check` reports on each exercise -> {id: {state, earned, why}}, for all that were reached.

    The process is stopped if it says nothing for PATIENCE seconds; a first, empty line says that it has started.
    """
    command = [sys.executable, "-m", "cvdl.course.workspace.submit"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,  # Ctrl-C is for this process alone, which ends the other
    )
    threading.Thread(target=feed, args=(process.stdin, data), daemon=True).start()
    rows, patience = {}, STARTING
    with process, tqdm(total=len(specs), desc="Exercises", leave=False, disable=None) as bar:
        try:
            while line := line_of(process, patience):
                patience, row = PATIENCE, json.loads(line)
                rows |= row
                bar.update(len(row))
        finally:
            process.kill()
    return rows


def line_of(process, patience):
    """The next line that a process writes, or b"" if it ends before, or is stopped after so many seconds."""
    timer = threading.Timer(patience, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    return line if line.endswith(b"\n") else b""


def feed(pipe, data):
    try:
        with pipe:
            pipe.write(data)
    except OSError:
        pass  # it has ended, which shows in what is missing


def main():
    replies = os.fdopen(os.dup(1), "wb")
    data = sys.stdin.buffer.read()
    worker.mute()
    worker.quiet()
    found, chapter = extract(data), chapter_of(data)
    answer(replies, {})
    with tempfile.TemporaryDirectory(
        ignore_cleanup_errors=True
    ) as folder:  # other files in its folder are not handed in
        os.chdir(folder)
        sys.path.append(folder)
        loader = Loader(found, course_of(stems().get(chapter)))
        unmarked_here = unmarked(data, loader.course["functions"])
        for spec in chapters.chapter(chapter).values():
            answer(replies, {spec.id: row(spec, loader, unmarked_here.get(spec.id))})
        os.chdir(os.path.dirname(folder))


def answer(replies, message):
    replies.write(json.dumps(message).encode() + b"\n")
    replies.flush()


def row(spec, loader, missing_because=None):
    """State and points of one exercise, with the seed of `check`, and why it is not right."""
    found = loader.found
    if spec.id in found.broken:
        return {"state": "cannot be read", "earned": 0, "why": found.broken[spec.id]}
    if spec.id in found.unread:
        return {"state": "cannot be read", "earned": 0, "why": found.unread[spec.id]}
    if spec.id not in found.definitions:
        return {"state": "missing", "earned": 0} | ({"why": missing_because} if missing_because else {})
    if not found.answered(spec.id):
        return {"state": "not attempted", "earned": 0}
    try:
        tried = []
        for way in range(loader.ways(spec.id)):
            tried.append(scored_in(spec, loader, way))
            if tried[-1][0].state == "right":
                break
    except scoring.CourseFault:
        return {"state": "not judged, because of a fault in the course: see check", "earned": 0}
    score, lacks = max(tried, key=lambda t: (t[0].earned, not t[1]))
    if lacks and score.state != "right":
        why = f"for grading it needs {lacks}, which is not part of this notebook"
        return {"state": "cannot be judged", "earned": 0, "why": why}
    wrong = next((c for c in score.cases if c.earned < c.points), None)
    why = " ".join(filter(None, [f"{wrong.name}: {wrong.message}.", score.hint])) if wrong else ""
    return {"state": score.state, "earned": score.earned, "why": why}


def scored_in(spec, loader, way):
    """The Score of an exercise that is loaded in one of its ways, and what that lacked."""
    loaded = []
    lacks = []

    def call(*args, weights=None):
        if not loaded:
            loaded.append(loader.load(spec.id, way))
        lacks.append(loaded[0].lacks)
        if loaded[0].failure:
            raise loaded[0].failure
        try:
            return api.caller(spec.id, loaded[0].function)(*args, weights=weights)
        except scoring.CallFailed as failure:
            lacks.append(loader.lacking(failure))  # after what was lacking when it was loaded
            raise

    return scoring.score(spec, call), next(filter(None, lacks), "")


# --- what is told ---------------------------------------------------------------------------------------


def told(path, target, specs, rows, notes):
    """The Feedback of a finished hand-in."""
    table, earned, total = [], sum(r["earned"] for r in rows.values()), sum(s.points for s in specs)
    for spec in specs:
        row = rows.get(spec.id, {"state": "not scored: Python crashed or took too long", "earned": 0})
        table.append((spec.id, f"{row['earned']}/{spec.points}", row["state"]))
    by = {
        state: [s.id for s in specs if rows.get(s.id, {}).get("state") == state and not rows[s.id].get("why")]
        for state in ("not attempted", "missing")
    }
    lines = ["These are the points of `check`. Grading uses other random numbers."]
    lines += [
        f"Why {s.id} {verb(rows[s.id]['state'])}: {rows[s.id]['why']}" for s in specs if rows.get(s.id, {}).get("why")
    ]
    if by["not attempted"]:
        lines.append(f"Not answered: {', '.join(by['not attempted'])}")
    if by["missing"]:
        lines.append(
            f"Missing: {', '.join(by['missing'])}. Was the cell deleted? Copy it from notebooks/{lab.family(path.name)}.ipynb."
        )
    lines += notes
    if newer := sorted(p.name for p in path.parent.glob(f"{path.stem}.new*.ipynb")):
        lines.append(f"There is also {', '.join(newer)}; to hand that in: cvdl submit {path.with_name(newer[-1])}")
    saved = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    lines.append(f"{path.name} was saved at {saved.astimezone():%Y-%m-%d %H:%M}; later changes are not handed in.")
    if (at := at_work(path)) and at > saved + SLACK:
        lines.append(
            f"Careful: its kernel was at work at {at.astimezone():%H:%M:%S}, after that. Save first (Ctrl-S in JupyterLab), then run "
            "this again."
        )
    lines.append(f"To upload: {target} ({target.stat().st_size / 1000:.0f} kB, without outputs)")
    return Feedback("right" if earned == total else "open", f"{path.stem}: {earned} of {total} points", lines, table)


def verb(state):
    return state if state.startswith("cannot") else f"is {state}"


def at_work(path):
    """When the notebook's kernel was last at work, as the user's own Jupyter servers say, or None."""
    try:
        from jupyter_server.serverapp import list_running_servers

        servers = list(list_running_servers())
    except Exception:  # no Jupyter here: Colab, VS Code
        return None
    times = []
    for server in servers:
        try:
            request = urllib.request.Request(f"{server['url']}api/sessions")
            request.add_header("Authorization", f"token {server['token']}")
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=3) as reply:
                sessions = json.load(reply)
            times += [
                datetime.fromisoformat(s["kernel"]["last_activity"])
                for s in sessions
                if Path(server["root_dir"], s["path"]).resolve() == path
            ]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return max(times, default=None)


if __name__ == "__main__":
    main()
