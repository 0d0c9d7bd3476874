"""The plugin lets a proper notebook pass, and fails the run for one that does nothing or too much."""

import os
import re
import subprocess
import sys

import nbformat
import pytest

from cvdl.settings import ROOT

FAST = ["import time", "time.sleep(0.1)"]
HUNGRY = ["x = bytearray(300_000_000); x[::4096] = x[::4096]; import time; time.sleep(0.1)", "del x"]


def write(folder, **notebooks):
    for name, cells in notebooks.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title")])
        nb.cells += [nbformat.v4.new_code_cell(source) for source in cells]
        nbformat.write(nb, folder / f"{name}.ipynb")


def run(folder, *options):
    command = [sys.executable, "-m", "pytest", "-p", "tests.notebooks.plugin", "-p", "no:cacheprovider"]
    command += ["--nbval-lax", "--nbval-current-env", f"--rootdir={folder}", *options, str(folder)]
    environment = os.environ | {"CVDL_PROFILE": "quick", "PYTEST_ADDOPTS": ""}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)
    table = {
        line.split(".ipynb")[0]: [float(v) for v in line.split()[1:]]
        for line in result.stdout.splitlines()
        if re.match(r"\w+\.ipynb( +[\d.]+){5}$", line)
    }
    return result, table


def closing(result):
    """pytest's own closing line, which has to be the last one."""
    line = result.stdout.splitlines()[-1]
    assert re.match(r"=+ .* in [\d.]+s .*=+$", line), result.stdout
    return line


@pytest.mark.parametrize("workers", [[], ["-n2", "--dist=loadfile"]], ids=["one process", "xdist"])
def test_a_proper_notebook_passes(tmp_path, workers):
    write(tmp_path, fast=FAST)
    result, table = run(tmp_path, *workers)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in closing(result) and "failed" not in closing(result)
    cells, seconds, seconds_budget, gb, gb_budget = table["fast"]
    assert (cells, seconds_budget, gb_budget) == (2, 90, 2)
    assert 0.1 <= seconds < 10
    assert 0.01 < gb < 1


def test_others_fail(tmp_path):
    write(
        tmp_path,
        empty=[],
        fast=FAST,
        hungry=HUNGRY,
        idle=["1"],
        skipped=["# NBVAL_SKIP\n1"],
        slow=["import time", "time.sleep(3.5)"],
    )
    result, table = run(tmp_path, "-o", "notebook_seconds=3", "-o", "notebook_gb=0.3", "-n2", "--dist=loadfile")
    assert result.returncode == 1
    assert "5 failed, 7 passed, 1 skipped" in closing(result)
    failed = dict(re.findall(r"^(\w+)\.ipynb ([a-z].*)$", result.stdout, re.M))
    assert table["empty"][0] == table["skipped"][0] == 0
    assert failed.keys() == {"empty", "hungry", "idle", "skipped", "slow"} == table.keys() - {"fast"}
    assert "no code cell" in failed["empty"] and "no code cell" in failed["skipped"]
    assert "does nothing" in failed["idle"]
    assert "may take 3" in failed["slow"] and "may hold 0.3" in failed["hungry"]


def test_a_failing_cell_fails_as_ever(tmp_path):
    write(tmp_path, broken=[*FAST, "1 / 0"], dead=[*FAST, "import os; os._exit(1)"])
    result, table = run(tmp_path, "--nbval-cell-timeout=1")
    assert result.returncode == 1
    assert "2 failed, 4 passed" in closing(result)
    assert table.keys() == {"broken", "dead"}


def test_no_notebooks_at_all(tmp_path):
    result, table = run(tmp_path)
    assert result.returncode == 5 and not table
