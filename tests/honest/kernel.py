"""A student's kernel, and the grader's work on the same notebooks, each as a program of its own.

`python -m tests.honest.kernel student < notebooks.json` runs the cells of each notebook in IPython, in an empty folder,
and prints what `check` said last: {notebook: {exercise: [state, points]}}.  `… grader` prints the same as the grader has
it, without the jail.  notebooks.json: {name: cells}.
"""

import json
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from cvdl.course.exercises import api, chapters
from cvdl.course.grading import loading
from cvdl.course.grading.extraction import extract
from cvdl.course.grading.sandbox import worker
from cvdl.course.workspace import submit


class Shell(InteractiveShell):
    """IPython without a terminal or a window."""

    def enable_gui(self, gui=None):
        pass


def as_student(cells):
    """Run the cells as a kernel does -> {exercise: [state, points]} as `check` said last."""
    Shell.clear_instance()
    shell, said = Shell.instance(config=Config({"HistoryManager": {"enabled": False}})), {}
    for memory in (api._attempts, api._scores):
        memory.clear()
    for source in cells:
        shell.run_cell(source.encode("utf-8", "replace").decode())  # as a browser sends it
        said |= {id: [s.state, s.earned] for id, s in api._scores.items()}
    return said


def as_grader(cells):
    """Cut out and judge -> {exercise: [state, points]} of what is answered."""
    found, said = extract(notebook(cells)), {}
    chapter = next(iter(found.definitions), "rnn.").partition(".")[0]
    loader = loading.Loader(found, loading.course_of(loading.stems()[chapter]))
    for spec in chapters.chapter(chapter).values():
        row = submit.row(spec, loader)
        if row["state"] not in ("missing", "not attempted"):
            said[spec.id] = [row["state"], row["earned"]]
    return said


def notebook(cells):
    """The bytes of a notebook of these cells."""
    cells = [{"cell_type": "code", "source": c, "metadata": {}, "outputs": []} for c in cells]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def main():
    role = {"student": as_student, "grader": as_grader}[sys.argv[1]]
    notebooks, said, path = json.load(sys.stdin), {}, list(sys.path)
    if sys.argv[1] == "grader":
        worker.quiet()
    home = os.getcwd()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        for name, cells in notebooks.items():
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                sys.path[:] = [*path, folder]
                said[name] = role(cells)
                os.chdir(home)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
