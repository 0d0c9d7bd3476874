"""What `check` accepted in a student's notebook earns the same points in grading, exercise by exercise."""

import json
import os
import subprocess
import sys

import pytest

from cvdl.course import grade
from cvdl.settings import ROOT
from tests.course.conftest import backend  # noqa: F401
from tests.honest.kernel import notebook
from tests.honest.styles import SETUP, STYLES

NOTEBOOKS = {name: [SETUP, *cells] for name, cells in STYLES.items()}
STEM = "01_rnn_from_scratch"
IN_JAIL = ("a method added by a decorator", "by way of IPython", "a module that a cell writes", "a fresh stub below")


def said_by(role):
    program = [sys.executable, "-m", "tests.honest.kernel", role]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        program, input=json.dumps(NOTEBOOKS).encode(), capture_output=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def checked():
    """What `check` said last in each notebook: {notebook: {exercise: [state, points]}}."""
    return said_by("student")


@pytest.fixture(scope="module")
def graded():
    return said_by("grader")


def test_the_collection_is_large_and_honest(checked):
    assert len(STYLES) >= 40
    right = [name for name, said in checked.items() if any(state == "right" for state, _ in said.values())]
    assert len(right) >= 40, set(STYLES) - set(right)


@pytest.mark.parametrize("name", STYLES)
def test_as_check(name, checked, graded):
    assert graded[name] == checked[name]


@pytest.mark.parametrize("name", [n if n in IN_JAIL else pytest.param(n, marks=pytest.mark.long) for n in STYLES])
def test_as_check_in_the_jail(name, checked, backend):  # noqa: F811
    result = grade.judge_bytes(notebook(NOTEBOOKS[name]), STEM, 0, backend)
    assert result["judged"], result["problem"]
    rows = {r["id"]: [r["state"], r["earned"]] for r in result["exercises"]}
    expected = dict.fromkeys(rows, None) | checked[name]
    assert {id: row for id, row in rows.items() if row[0] not in ("missing", "not attempted")} == checked[name], (
        expected
    )
