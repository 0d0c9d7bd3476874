"""The course on Colab, as far as that can be tried elsewhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
import typer

from cvdl.course.authoring import source
from cvdl.errors import CourseError
from cvdl.settings import ROOT
from tests import RUNAWAY
from tests.notebooks import colab

FREEZE = """\
# Do not modify this file directly
absl-py==1.4.0
google-colab @ file:///colabtools/dist/google_colab-1.0.0.tar.gz#sha256=07bc
ipykernel==6.17.1
ipython==7.34.0
numpy==2.0.2
Pillow==11.3.0
scikit-image==0.25.2
torch @ https://download.pytorch.org/whl/cu126/torch-2.9.0%2Bcu126-cp312-cp312-manylinux_2_28_x86_64.whl#sha256=b1e7
torchvision==0.24.0+cu126
triton==3.5.0.post1
"""


def test_colabs_list_is_understood():
    assert colab.versions(FREEZE) == {
        "absl-py": "1.4.0",
        "ipykernel": "6.17.1",
        "ipython": "7.34.0",
        "numpy": "2.0.2",
        "pillow": "11.3.0",
        "scikit-image": "0.25.2",
        "torch": "2.9.0",
        "torchvision": "0.24.0",
        "triton": "3.5.0.post1",
    }


def test_what_colab_lacks_is_told():
    found = colab.versions(FREEZE)
    assert colab.unfit(["torch>=2.9", "scikit_image>=0.22", "pillow"], found) == []
    assert colab.unfit(["torch>=2.10", "typer>=0.12"], found) == [
        "The course needs torch>=2.10, and Colab has 2.9.0.",
        "The course needs typer>=0.12, and Colab has none.",
    ]


def test_what_pip_is_told():
    with pytest.raises(CourseError, match="needs typer"):
        colab.for_pip(FREEZE)
    rest = ("matplotlib==3.10.0", "ipywidgets==7.7.1", "tqdm==4.67.1", "safetensors==0.6.2", "typer==0.19.2")
    constraints, names = colab.for_pip(FREEZE + "\n".join(rest))
    assert {"torch", "typer", "ipykernel"} <= set(names) and "absl-py" not in names
    assert {"torch==2.9.0", "typer==0.19.2", "absl-py==1.4.0"} <= set(constraints.split())


def test_the_list_that_is_recorded_here_will_do():
    constraints, names = colab.for_pip(colab.KNOWN.read_text(encoding="utf-8"))
    assert {f"{name}==" for name in names} <= {line.partition("==")[0] + "==" for line in constraints.split()}


# --- the bootstrap cell -------------------------------------------------------------------------------

NOT_ON_COLAB = ("cvdl", "__editable__", "jupyterlab", "jupytext", "lightning", "nbval")


@pytest.fixture
def machine(tmp_path):
    """An environment with the packages of this one that Colab has, too: -> (its Python, its packages' folder)."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (there,) = (tmp_path / "env").glob("lib/python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.suffix != ".pth" and not path.name.startswith(NOT_ON_COLAB):
            (there / path.name).symlink_to(path)
    pip = tmp_path / "env/bin/pip"
    pip.write_text(f'#!/bin/sh\nexec "{tmp_path}/env/bin/python" -m pip "$@"\n')
    pip.chmod(0o755)
    (tmp_path / "content").mkdir()  # Colab's working folder
    return tmp_path / "env/bin/python", there


@pytest.fixture
def repository(tmp_path):
    """The course in a git repository of its own, with a part of its data."""
    folder = tmp_path / "away"
    for name in ("cvdl", "data/text"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q", "-b", "v1"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


SESSION = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def run():
    result = shell.run_cell(os.environ["BOOTSTRAP"])
    print("RESULT", type(result.error_in_exec).__name__, flush=True)
"""
LOOK = """
import cvdl
print("COURSE", cvdl.__file__, cvdl.data_path("text").is_dir())
"""


def session(python, folder, cell, code):
    """What a fresh kernel prints."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_CONSTRAINT", "CVDL_DATA")}
    environment |= {"BOOTSTRAP": cell, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [python, "-c", SESSION + code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUNAWAY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Colab runs Linux")
def test_the_bootstrap_cell(machine, repository, tmp_path):
    python, packages = machine
    before = {p.name: p.readlink() for p in packages.iterdir()}
    address = {"repository": f"file://{tmp_path}/course", "tag": "v1"}
    cell = source.bootstrap(address)
    # without network it says what to do; run again in the same kernel when it is back, it works; and once more
    first = session(
        python,
        tmp_path / "content",
        cell,
        f"run()\nos.rename({str(repository)!r}, {str(tmp_path / 'course')!r})\nrun()\nrun()" + LOOK,
    )
    results = [line.split()[1] for line in first.splitlines() if line.startswith("RESULT")]
    assert results == ["ModuleNotFoundError", "NoneType", "NoneType"], first
    said = [line for line in first.splitlines() if line.startswith("The course could not be fetched. Is the network")]
    assert len(said) == 1 and "Run this cell again" in said[0]
    assert f"COURSE {tmp_path}/content/cvdl-course/cvdl/__init__.py True" in first
    # in a new kernel it needs no network, and finds the data
    (tmp_path / "course").rename(tmp_path / "gone")
    second = session(python, tmp_path / "content", cell, "run()" + LOOK)
    assert "RESULT NoneType" in second and "fetched" not in second
    assert f"COURSE {tmp_path}/content/cvdl-course/cvdl/__init__.py True" in second
    # torch and numpy, like all the rest, are what they were
    after = {p.name: p.readlink() for p in packages.iterdir() if p.is_symlink()}
    assert after == before and {"torch", "numpy"} <= after.keys()
    assert all("cvdl" in p.name for p in packages.iterdir() if not p.is_symlink() and p.name != "__pycache__")


# --- notebooks ----------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Colab runs Linux")
def test_a_notebook_is_tried(machine, repository, tmp_path, monkeypatch):
    """The first has only what it should have; the second asks for more, and fails the run."""
    python, _ = machine
    subprocess.run([python, "-m", "ipykernel", "install", "--prefix", tmp_path / "env"], check=True)
    publish = colab.publish
    monkeypatch.setattr(colab, "environment", lambda *_: python)
    monkeypatch.setattr(colab, "publish", lambda folder, tag: publish(folder, tag, repository))
    paths = []
    for name, code in (("01_a", "import torch, cvdl"), ("02_b", "import nbval")):
        look = (
            f"import sys; assert sys.prefix == {str(tmp_path / 'env')!r} and '/content/cvdl-course/' in cvdl.__file__"
        )
        cells = [nbformat.v4.new_code_cell(c) for c in ("import cvdl", f"{code}\n{look}")]
        cells[0].metadata.tags = ["bootstrap"]
        paths.append(tmp_path / f"{name}.ipynb")
        nbformat.write(nbformat.v4.new_notebook(cells=cells), paths[-1])
    with pytest.raises(typer.Exit) as ended:
        colab.main(paths, out=tmp_path / "out")
    assert ended.value.exit_code == 1
    measured = json.loads((tmp_path / "out/results/measured.json").read_text())
    assert [(m["notebook"], m["passed"]) for m in measured] == [("01_a", True), ("02_b", False)]
    # a first cell that says nothing is noticed
    monkeypatch.setattr(source, "bootstrap", lambda course: "import cvdl")
    with pytest.raises(typer.Exit) as ended:
        colab.main(paths[:1], out=tmp_path / "out")
    assert ended.value.exit_code == 1


def test_an_environment_is_made_once(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(colab, "call", lambda *command, **_: done.append(list(map(str, command[1:4]))))
    freeze, folder = colab.KNOWN.read_text(encoding="utf-8"), tmp_path / "env"
    folder.mkdir()
    for text in (freeze, freeze, freeze.replace("numpy==2.0.2", "numpy==2.1.0")):
        assert colab.environment(folder, sys.executable, text) == folder / "bin/python"
    made = [["-m", "venv", "--clear"], ["-m", "pip", "install"], ["-m", "ipykernel", "install"]]
    assert done == [*made, emptied := ["-m", "pip", "uninstall"], emptied, *made, emptied]
