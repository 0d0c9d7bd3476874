"""What notebooks take is measured, and README tells it as it was measured."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from cvdl.errors import CourseError
from cvdl.settings import PROFILES, ROOT
from tests import RUNAWAY
from tests.notebooks import measure

README = (ROOT / "README.md").read_text(encoding="utf-8")
TIMES = json.loads(measure.TIMES.read_text(encoding="utf-8"))


def write(path, *sources):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources]), path)
    return path


def run(*arguments, **environment):
    command = [sys.executable, "-m", "tests.notebooks.measure", "run", *map(str, arguments)]
    environment = os.environ | {"PYTEST_ADDOPTS": ""} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=RUNAWAY)


# A stand-in for torch on a GPU.
FAKE = (
    "import os, sys, types; peak = [0]; torch = types.ModuleType('torch');"
    "torch.cuda = types.SimpleNamespace(max_memory_reserved=lambda: peak[0]); sys.modules['torch'] = torch"
)


def test_notebooks_are_measured_and_kept(tmp_path):
    write(tmp_path / "01_good.ipynb", FAKE, "print(os.environ['CVDL_PROFILE']); peak[0] = 3_210_000_000", "peak[0] = 0")
    write(tmp_path / "02_bad.ipynb", "print(1)", "1 / 0")
    result = run("gpu", tmp_path, "--device", "cpu", "--out", tmp_path / "out")
    assert result.returncode == 1, result.stdout + result.stderr
    good, bad = json.loads((tmp_path / "out/measured.json").read_text())
    assert (good["notebook"], good["profile"], good["passed"]) == ("01_good", "gpu", True)
    assert good["seconds"] >= 0 and good["cpu"] > 0 and 0 < good["gb"] < 1
    assert good["gpu_gb"] == 3.21, "the greatest number counts"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", good["date"]) and "cores" in good["machine"]
    assert not bad["passed"]
    table = (tmp_path / "out/table.md").read_text()
    assert re.search(r"^\| 01_good \| .* \| 3.2 GB \| 20 % \| passed \|$", table, re.M)
    assert "**failed**" in table and table in result.stdout
    executed = nbformat.read(tmp_path / "out/01_good.ipynb", 4)
    assert executed.cells[1].outputs[0].text == "gpu\n"
    assert nbformat.read(tmp_path / "out/02_bad.ipynb", 4).cells[1].outputs[0].ename == "ZeroDivisionError"


def test_without_a_gpu_it_says_so(tmp_path):
    path = write(tmp_path / "a.ipynb", "1")
    result = run("gpu", path, "--out", tmp_path / "out", CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 1 and "no CUDA GPU" in result.stderr and not (tmp_path / "out").exists()
    assert "no profile" in run("tablet", path).stderr
    assert "There is no" in run("quick", tmp_path / "b.ipynb").stderr


def row(notebook="01_a", profile="laptop", **changes):
    return {"notebook": notebook, "profile": profile, "date": "2026-01-02", "machine": "2 cores"} | {
        "seconds": 100.0,
        "cpu": 90.0,
        "gb": 1.26,
        "gpu_gb": 0,
        "passed": True,
        **changes,
    }


TEXT = "before\n<!-- times -->\n\n| 1 | A | 2 h | old |\n| 2 | B | 1 h | old |\n<!-- end of times -->\nafter\n"


def test_a_table_is_rewritten():
    text = measure.rewritten(TEXT, [row(), row("01_a", "gpu", seconds=50, gpu_gb=3.2)])
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| 1 | A | 2 h | – | 2 min, 1.3 GB | 50 s, 1.3 GB, GPU 3.2 GB |\n| 2 | B | 1 h | – | – | – |\n" in text
    assert "- `laptop` on 2 cores, 2026-01-02 (1)\n" in text
    assert measure.rewritten(text, [row(), row("01_a", "gpu", seconds=50, gpu_gb=3.2)]) == text
    with pytest.raises(CourseError, match="lacks the marks"):
        measure.rewritten("no marks", [])


def test_newer_numbers_replace_older_ones_unless_the_run_failed():
    old = [row(), row("02_b")]
    new = [row(seconds=7), row("02_b", seconds=7, passed=False), row("03_c", "quick")]
    assert measure.merged(old, new) == [row(seconds=7), row("02_b"), row("03_c", "quick")]


def test_readme_tells_what_was_measured():
    assert measure.rewritten(README, TIMES) == README, "run: python -m tests.notebooks.measure readme"
    for m in TIMES:
        assert m.keys() >= row().keys() - {"cpu"} and m["profile"] in PROFILES and m["seconds"] > 0 and m["passed"]


def test_every_notebook_is_in_the_readme():
    listed = {int(n) for n in re.findall(r"^\| (\d+) \|", measure.MARKED.search(README)[0], re.M)}
    assert listed == {int(p.name[:2]) for p in (ROOT / "notebooks").glob("*.ipynb")}
