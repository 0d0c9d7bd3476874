"""The course on Colab, as far as that can be tried elsewhere."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from cvdl.course import master
from cvdl.settings import ROOT
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


def test_the_two_files_for_pip(tmp_path):
    freeze, pins, requirements = (tmp_path / n for n in ("freeze", "pins", "requirements"))
    freeze.write_text(FREEZE)
    with pytest.raises(SystemExit, match="needs typer"):
        colab.main(freeze, pins, requirements)
    rest = ("matplotlib==3.10.0", "ipywidgets==7.7.1", "tqdm==4.67.1", "safetensors==0.6.2", "typer==0.19.2")
    freeze.write_text(FREEZE + "\n".join(rest) + "\n")
    colab.main(freeze, pins, requirements)
    assert {"torch", "typer", "ipykernel"} <= set(requirements.read_text().split())
    assert {"torch==2.9.0", "typer==0.19.2"} <= set(pins.read_text().split())


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
    for name in ("pyproject.toml", "README.md", "LICENSE"):
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
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Colab runs Linux")
def test_the_bootstrap_cell(machine, repository, tmp_path, monkeypatch):
    python, packages = machine
    before = {p.name: p.readlink() for p in packages.iterdir()}
    address = {"repository": f"file://{tmp_path}/course", "tag": "v1"}
    monkeypatch.setattr(master, "course_settings", lambda: address)
    cell = master.bootstrap()
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
