"""The plugin measures notebooks without failing them for it, and fails the run for one that does nothing."""

import os
import re
import subprocess
import sys

import nbformat
import pytest

from cvdl.settings import ROOT
from tests import RUNAWAY

# More than the budget of `quick` allows, in the plugin's eyes: the budgets are made small for these tests.
BUDGETS = "from tests.notebooks import plugin; plugin.SECONDS['quick'], plugin.GB['quick'] = 1, 0.3"
GOOD = ["import time", "print(1)"]
HUNGRY = ["x = bytearray(400_000_000); x[::4096] = x[::4096]; print(len(x))", "del x"]
SLOW = ["import time; begin = time.process_time()", "while time.process_time() < begin + 2: pass", "print(1)"]


def write(folder, **notebooks):
    for name, cells in notebooks.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title")])
        nb.cells += [nbformat.v4.new_code_cell(source) for source in cells]
        nbformat.write(nb, folder / f"{name}.ipynb")


def run(folder, *options):
    program = f"{BUDGETS}; import pytest, sys; sys.exit(pytest.main(sys.argv[1:], plugins=[plugin]))"
    command = [sys.executable, "-c", program, "-p", "no:cacheprovider"]
    command += ["--nbval-lax", "--nbval-current-env", f"--rootdir={folder}", *options, str(folder)]
    environment = os.environ | {"CVDL_PROFILE": "quick", "PYTEST_ADDOPTS": ""}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=RUNAWAY)
    table = {
        line.split(".ipynb")[0]: line.split()[1:]
        for line in result.stdout.splitlines()
        if re.match(r"\w+\.ipynb( +[\d.]+){4}( +(time|memory))*$", line)
    }
    return result, table


def closing(result):
    """pytest's own closing line, which has to be the last one."""
    line = result.stdout.splitlines()[-1]
    assert re.match(r"=+ .* in [\d.]+s .*=+$", line), result.stdout
    return line


def test_what_fails_and_what_is_only_reported(tmp_path):
    notebooks = {"good": GOOD, "hungry": HUNGRY, "slow": SLOW, "empty": [], "silent": ["x = 1"]}
    notebooks |= {"skipped": ["# NBVAL_SKIP\n1"], "broken": [*GOOD, "1 / 0"], "dead": [*GOOD, "import os; os._exit(1)"]}
    write(tmp_path, **notebooks)
    result, table = run(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert table.keys() == notebooks.keys()
    failed = dict(re.findall(r"^(\w+)\.ipynb ([a-z].*)$", result.stdout, re.M))
    assert failed.keys() == {"empty", "silent", "skipped"}
    assert "no code cell" in failed["empty"] and "no code cell" in failed["skipped"]
    assert "showed nothing" in failed["silent"]
    assert "5 failed, 12 passed, 1 skipped" in closing(result)  # those three, the broken cell and the dead kernel's
    cells, seconds, cpu, gb = map(float, table["good"])
    assert cells == 2 and seconds >= 0 and cpu > 0 and 0.01 < gb < 0.3
    assert table["slow"][4:] == ["time"] and float(table["slow"][2]) > 2
    assert table["hungry"][4:][-1:] == ["memory"] and float(table["hungry"][3]) > 0.4
    assert "Budget in the profile quick: 1 CPU seconds and 0.3 GB." in result.stdout


@pytest.mark.long
def test_with_workers_and_with_nothing_to_run(tmp_path):
    result, table = run(tmp_path)
    assert result.returncode == 5 and not table
    write(tmp_path, good=GOOD, slow=SLOW)
    result, table = run(tmp_path, "-p", "xdist", "-p", "tests.notebooks.plugin", "-n2", "--dist=loadfile")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 passed" in closing(result) and "failed" not in closing(result)
    assert table.keys() == {"good", "slow"}
