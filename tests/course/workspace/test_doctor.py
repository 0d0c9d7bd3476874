"""The doctor finds a healthy course healthy, and says what to do about each illness."""

import os
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from cvdl import settings
from cvdl.course.notebook.feedback import Feedback
from cvdl.course.workspace import doctor


@pytest.fixture(autouse=True)
def usual(monkeypatch, tmp_path):
    """A complete data folder, no settings, and room enough, whatever machine this is."""
    for name in ("CVDL_PROFILE", "CVDL_REAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CVDL_DATA", str(tmp_path))
    monkeypatch.setattr(doctor, "NEEDED", {"memory": 0, "disk": 0})
    (tmp_path / "README.md").write_text(f"| `text/a.tsv` | what | 3 | `{'0' * 64}` |\n")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/a.tsv").write_text("abc")
    return tmp_path


def problem():
    """The only problem found."""
    card = doctor.doctor()
    (line,) = [line for line in card.lines if line.startswith("Problem: ")]
    assert card.state == "wrong" and card.headline == "1 problem found"
    return line


def test_healthy():
    card = doctor.doctor()
    assert isinstance(card, Feedback) and card.state == "right", card
    found = dict(card.rows)
    assert found["torch"] == metadata.version("torch")
    assert found["profile"] in settings.PROFILES
    assert found["data"].startswith("1 of 1 files")
    assert {"Python", "cvdl", "device", "memory", "disk", "extra lab"} <= set(found)
    assert "<table" in card._repr_html_() and found["torch"] in repr(card)


def test_wrong_profile(monkeypatch):
    monkeypatch.setenv("CVDL_PROFILE", "huge")
    assert "'huge'" in problem() and "quick, laptop, gpu" in problem()


def test_no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("CVDL_DATA", str(tmp_path / "nowhere"))
    assert "CVDL_DATA names that folder" in problem()


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_text("abcd")], ids=["missing", "size"])
def test_damaged_data(usual, damage):
    damage(usual / "text/a.tsv")
    assert "text/a.tsv is missing or damaged" in problem() and "git checkout" in problem()


def test_package_out_of_range(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.1.0" if name == "torch" else real(name))
    assert "found was 2.1.0" in problem() and 'pip install "torch>=2.9"' in problem()


def test_package_missing(monkeypatch):
    real = metadata.version

    def version(name):
        if name in ("tqdm", "lightning"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert 'pip install "tqdm' in problem()  # and lightning, being optional, is none
    assert dict(doctor.doctor().rows)["extra train"] == 'without lightning; `pip install -e ".[train]"` adds it'


def test_local_and_early_versions_fit(monkeypatch):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "3.0.0a1+cpu" if name == "torch" else real(name))
    assert doctor.doctor().state == "right"


def test_python_out_of_range(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.10.2")
    assert "Python 3.10.2 is not" in problem()


def test_torch_does_not_import(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch does not import" in problem() and "pip install" in problem()


def test_gpu_and_its_memory(monkeypatch):
    monkeypatch.setattr(settings, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (12e9, 16e9))
    found = dict(doctor.doctor().rows)
    assert found["device"] == "Some GPU, 12.0 of 16.0 GB free" and found["profile"] == "gpu"


def test_cvdl_not_installed(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    card = doctor.doctor()
    assert card.state == "right" and any("pip install -e ." in line for line in card.lines)


@pytest.mark.parametrize("name", ["memory", "disk"])
def test_no_room(monkeypatch, name):
    monkeypatch.setitem(doctor.NEEDED, name, 1e18)
    assert f"GB of {name} are free" in problem()


def test_real_data(monkeypatch, tmp_path):
    monkeypatch.setenv("CVDL_REAL", "")
    assert "real data" not in dict(doctor.doctor().rows)
    monkeypatch.setenv("CVDL_REAL", str(tmp_path))
    assert dict(doctor.doctor().rows)["real data"] == str(tmp_path)
    monkeypatch.setenv("CVDL_REAL", str(tmp_path / "nowhere"))
    assert "CVDL_REAL names" in problem()


def test_needs_no_jupyter():
    code = (
        "import sys; sys.modules |= dict.fromkeys(['IPython', 'ipywidgets', 'jupyterlab', 'psutil']);"
        "from cvdl.course.workspace.doctor import doctor; doctor(); assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
