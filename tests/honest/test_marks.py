"""What `check` accepted in a student's notebook earns the same points in grading, exercise by exercise."""

import json
import os
import subprocess
import sys

import pytest

from cvdl.course.grading import grade
from cvdl.settings import ROOT
from tests.course.conftest import backend  # noqa: F401
from tests.honest.kernel import notebook
from tests.honest.styles import SETUP, STYLES

NOTEBOOKS = {name: [SETUP, *cells] for name, cells in STYLES.items()}
STEM = "01_rnn_from_scratch"
IN_JAIL = ("a method added by a decorator", "by way of IPython", "a module that a cell writes", "a fresh stub below")


FAST = [*list(STYLES)[::3], "a helper that is a number later", "another cell has a syntax error"]


def fast_or_long(fast):
    return [name if name in fast else pytest.param(name, marks=pytest.mark.long) for name in STYLES]


def said_by(role, request):
    names = {
        i.callspec.params["name"] for i in request.session.items if i.path == request.path and hasattr(i, "callspec")
    }
    notebooks = {name: NOTEBOOKS[name] for name in names}
    program = [sys.executable, "-m", "tests.honest.kernel", role]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        program, input=json.dumps(notebooks).encode(), capture_output=True, env=environment, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def checked(request):
    """What `check` said last in each notebook: {notebook: {exercise: [state, points]}}."""
    return said_by("student", request)


@pytest.fixture(scope="module")
def graded(request):
    return said_by("grader", request)


def test_the_collection_is_large():
    assert len(STYLES) >= 80 and set(FAST) | set(IN_JAIL) <= set(STYLES) and len(FAST) >= 25


@pytest.mark.long
def test_most_of_the_collection_is_right(checked):
    right = [name for name, said in checked.items() if any(state == "right" for state, _ in said.values())]
    assert len(right) >= 40, set(STYLES) - set(right)


@pytest.mark.parametrize("name", fast_or_long(FAST))
def test_as_check(name, checked, graded):
    assert graded[name] == checked[name]


@pytest.mark.parametrize("name", fast_or_long(IN_JAIL))
def test_as_check_in_the_jail(name, checked, backend):  # noqa: F811
    result = grade.judge_bytes(notebook(NOTEBOOKS[name]), STEM, 0, backend)
    assert result["judged"], result["problem"]
    rows = {r["id"]: [r["state"], r["earned"]] for r in result["exercises"]}
    expected = dict.fromkeys(rows, None) | checked[name]
    assert {id: row for id, row in rows.items() if row[0] not in ("missing", "not attempted")} == checked[name], (
        expected
    )
