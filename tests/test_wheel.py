"""The package works alone: from a wheel, somewhere else, without Jupyter, matplotlib and a clone."""

import os
import shutil
import subprocess
import sys

import pytest

from cvdl.settings import ROOT

ABSENT = "IPython", "ipywidgets", "jupyterlab", "matplotlib", "skimage", "lightning"
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))\n"
LIBRARY = """
import cvdl, torch
from cvdl.flow import read_flow, write_flow
from cvdl.flow.data.chairs import Chairs
from cvdl.gesture import Recogniser
assert cvdl.__file__.startswith(sys.argv[1]), cvdl.__file__
pairs = Chairs(size=(64, 96)).pairs([0])
flow = cvdl.zoo.load("spynet")(pairs.image1, pairs.image2)
assert flow.shape == (1, 2, 64, 96) and cvdl.zoo.card("spynet")["net"] == "SPyNet"
assert cvdl.flow.flow_to_image(flow).shape == (1, 3, 64, 96)
write_flow("a.flo", flow[0])
assert torch.equal(read_flow("a.flo")[0], flow[0])
rows = Recogniser.load("gesture").recognise(torch.zeros(3, 120, 160, 3, dtype=torch.uint8), fps=10)
assert rows.shape == (3, len(Recogniser.classes))
"""
COMMAND = "sys.argv = ['cvdl', *sys.argv[1:]]; import runpy; runpy.run_module('cvdl', run_name='__main__')"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run code with the installed package, elsewhere -> the finished process."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "build", "work", "sets", "runs.*", "*.egg-info", "notebooks", "solutions")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run([*pip, *built], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CVDL_")}

    def of(code, *arguments):
        command = [sys.executable, "-c", WITHOUT + code, *map(str, arguments)]
        environment["PYTHONPATH"] = str(folder / "site")
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    of.site = folder / "site"
    return of


@pytest.mark.long
def test_the_library(run):
    done = run(LIBRARY, run.site)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_the_command(run):
    done = run(COMMAND, "eval", "spynet", "--pairs", "chairs", "--limit", "1")
    assert done.returncode == 0 and "spynet" in done.stdout, done.stdout + done.stderr


@pytest.mark.long
def test_attacks_and_programs_of_the_repository_stay_out(run):
    inside = {str(p.relative_to(run.site)) for p in run.site.rglob("*")}
    assert "cvdl/shipped/weights/spynet.safetensors" in inside and "cvdl/py.typed" in inside
    assert not any("attacks" in path or path.startswith(("cvdl/shipped/make", "data", "tests")) for path in inside)
