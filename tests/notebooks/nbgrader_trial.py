"""A built notebook in nbgrader: `python -m tests.notebooks.nbgrader_trial [NN]`, for whoever grades with nbgrader.

In a folder that is thrown away afterwards, this installs nbgrader from the package index (all else is taken from the
environment that runs it), makes a course of one notebook, autogrades one hand-in with all answers right, one with
every second answer right and one without answers, in the quick profile, and prints the table. Exit code 0 only if
the marks are what they have to be.
"""

import csv
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from cvdl.settings import ROOT

# The built notebook has its stubs already; nbgrader's own would replace the whole cell, docstring and all.
CONFIG = """
c = get_config()
c.CourseDirectory.course_id = "cvdl"
c.ClearSolutions.enabled = False
c.ExecutePreprocessor.timeout = 300
"""


def environment(folder):
    """Python of a new environment in `folder` with nbgrader, over the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    (packages / "this.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "nbgrader"], check=True)
    return python


def answers(solution):
    """{cell id: source} of the exercises in an executed master."""
    cells = nbformat.read(solution, 4).cells
    return {c.id: c.source for c in cells if c.cell_type == "code" and c.source.lstrip().startswith("@exercise")}


def hand_in(notebook, chosen, target):
    """Write the students' notebook with the chosen answers, {cell id: source}."""
    nb = nbformat.read(notebook, 4)
    for cell in nb.cells:
        cell.source = chosen.get(cell.id, cell.source)
    target.parent.mkdir(parents=True)
    nbformat.write(nb, target)


def main(number: Annotated[str, typer.Argument(help="Number of the notebook.")] = "01"):
    """Autograde three hand-ins of a built notebook with nbgrader, and print the table."""
    notebook = next(ROOT.glob(f"notebooks/{number}_*.ipynb"), None)
    if not notebook or not (ROOT / "solutions" / notebook.name).exists():
        sys.exit(f"There is no notebook {number} with its answers in solutions/: this is for teachers.")
    right = answers(ROOT / "solutions" / notebook.name)
    half = dict(list(right.items())[::2])
    students = {"right": right, "half": half, "empty": {}}
    points = {c.metadata.nbgrader.grade_id.removesuffix("-check"): c.metadata.nbgrader.points for c in checks(notebook)}
    want = {name: sum(points[id] for id in chosen) for name, chosen in students.items()}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        python = environment(scratch / "env")
        course = scratch / "course"
        (course / "source" / number).mkdir(parents=True)
        (course / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
        (course / "source" / number / notebook.name).write_bytes(notebook.read_bytes())

        settings = {"CVDL_PROFILE": "quick", "CVDL_REAL": "", "PYTHONPATH": str(ROOT)}
        settings["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"  # it calls alembic by its name

        def nbgrader(*arguments):
            command = [python, "-m", "nbgrader", *arguments]
            done = subprocess.run(command, cwd=course, env=os.environ | settings, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"nbgrader {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
            return done.stdout

        print(f"nbgrader {nbgrader('--version').split()[-1]}, notebook {notebook.stem}, quick profile")
        nbgrader("generate_assignment", number)
        seconds = {}
        for student, chosen in students.items():
            released = course / "release" / number / notebook.name
            hand_in(released, chosen, course / "submitted" / student / number / notebook.name)
            start = time.perf_counter()
            nbgrader("autograde", number, "--student", student, "--create")
            seconds[student] = time.perf_counter() - start
        nbgrader("export")
        with open(course / "grades.csv", encoding="utf-8", newline="") as file:
            got = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    print("| hand-in | answers | points by nbgrader | points expected | seconds |\n|---|---|---|---|---|")
    for name, chosen in students.items():
        print(f"| {name} | {len(chosen)} of {len(right)} | {got[name]:g} | {want[name]:g} | {seconds[name]:.0f} |")
    if got != want:
        sys.exit("The marks are not what they have to be.")


def checks(notebook):
    """The cells of a built notebook that count."""
    return [c for c in nbformat.read(notebook, 4).cells if c.metadata.get("nbgrader", {}).get("grade")]


if __name__ == "__main__":
    typer.run(main)
