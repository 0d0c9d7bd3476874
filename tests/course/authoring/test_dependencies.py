"""What the outputs of a notebook depend on: the code that ran and the constants that it used, and no more."""

import json
import subprocess
import sys
import textwrap

import pytest

from cvdl.course.authoring import dependencies
from cvdl.settings import ROOT

MODULE = '''"""A module."""

import math

SIZE = 3  # pixels
OTHER = 4
HALF = SIZE / 2
register = []


def run(x):
    """Doc."""
    return helper(x) + HALF


def helper(x):
    # a comment
    return [x for _ in range(1)][0]


def unused(x):
    return OTHER


class Net:
    """Doc."""

    width = OTHER

    def forward(self):
        return 1

    def backward(self):
        return 2


table = {"a": lambda x: x}
register.append(1)
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with one module in place of cvdl."""
    code = tmp_path / "toylib"
    code.mkdir()
    (code / "__init__.py").write_text("")
    (code / "a.py").write_text(MODULE)
    (code / "b.py").write_text("SIZE = 5\n\n\ndef far():\n    return 1\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "numbers.txt").write_text("1 2 3")
    for name, value in (("ROOT", tmp_path), ("CODE", code), ("DATA", tmp_path / "data")):
        monkeypatch.setattr(dependencies, name, value)
    return tmp_path


def record(root, cell):
    """Run the cell in a process of its own, under a Recorder -> what its outputs depend on."""
    program = f"""
import json, sys
from pathlib import Path
sys.path[:0] = [{str(root)!r}, {str(ROOT)!r}]
from cvdl.course.authoring import dependencies
dependencies.CODE, dependencies.DATA = Path({str(root / "toylib")!r}), Path({str(root / "data")!r})
recorder = dependencies.Recorder()
""" + textwrap.dedent(cell)
    program += "\nprint(json.dumps(recorder.report()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return dependencies.digests(json.loads(done.stdout.splitlines()[-1]), [cell], dependencies.snapshot())


RUN = "from toylib import a, b\na.run(1)"


def test_functions_that_ran_and_constants_that_they_use(package):
    found = record(package, RUN)
    assert found["toylib/a.py"].keys() == {"run", "helper", "HALF", "SIZE", dependencies.REST, "register"}
    assert found["toylib/b.py"].keys() == {"SIZE"}  # names are not resolved: either SIZE may be meant


@pytest.mark.parametrize(
    "cell, used",
    [
        ("from toylib.a import Net\nNet().forward()", {"Net", "Net.forward", "OTHER"}),
        ("from toylib.a import table\ntable['a'](1)", {"table"}),
        ("from toylib import a\nimport threading\nt = threading.Thread(target=a.helper, args=[1]); t.start(); t.join()", {"helper"}),
        ("import toylib.a", set()),
        ("from toylib.a import OTHER", {"OTHER"}),
    ],
    ids=["a class", "a lambda", "a thread", "nothing", "a constant"],
)  # fmt: skip
def test_what_counts(package, cell, used):
    assert record(package, cell).get("toylib/a.py", {}).keys() - {dependencies.REST, "register"} == used


def test_data_files_that_were_opened(package):
    assert "data/numbers.txt" in record(package, f"open({str(package / 'data/numbers.txt')!r}).read()")


@pytest.mark.parametrize(
    "old, new",
    [
        ('"""Doc."""\n    return helper', '"""Another doc."""\n    return helper'),
        ("# a comment", "# another comment"),
        ("# pixels", "# texels"),
        ("    return OTHER\n", "    return -OTHER\n"),
        ("OTHER = 4", "OTHER = 5"),
        ("        return 2", "        return 3"),
        ("\n\n\ndef helper", "\n\n\n\n\ndef helper"),
        ('"""A module."""', ""),
        ("import math\n", "import math\nimport sys\n"),
    ],
)
def test_a_change_of_anything_else_changes_nothing(package, old, new):
    recorded = record(package, RUN)
    edit(package, old, new)
    assert list(dependencies.changed(recorded)) == []


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("+ HALF", "- HALF", "run in toylib/a.py"),
        ("HALF = SIZE / 2", "HALF = SIZE / 3", "HALF in toylib/a.py"),
        ("SIZE = 3", "SIZE = 4", "SIZE in toylib/a.py"),
        ("for _ in range(1)", "for _ in range(2)", "helper in toylib/a.py"),
        ("def helper(x):", "@wrapped\ndef helper(x):", "helper in toylib/a.py"),
        ("def helper(x):", "def helped(x):", "helper in toylib/a.py"),
        ("register.append(1)", "register.append(2)", f"{dependencies.REST} in toylib/a.py"),
    ],
)
def test_a_change_of_what_was_used_is_told(package, old, new, told):
    recorded = record(package, RUN)
    edit(package, old, new)
    assert list(dependencies.changed(recorded)) == [told]


def test_what_is_gone_has_changed(package):
    recorded = record(package, f"open({str(package / 'data/numbers.txt')!r})")
    (package / "data/numbers.txt").write_text("1 2 4")
    assert list(dependencies.changed(recorded)) == ["data/numbers.txt"]
    (package / "data/numbers.txt").unlink()
    assert list(dependencies.changed(recorded)) == ["data/numbers.txt"]


def edit(package, old, new):
    path = package / "toylib" / "a.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
