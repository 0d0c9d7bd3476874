"""What every notebook asks of the machine, and what importing the course costs."""

import random
import subprocess
import sys

import numpy
import pytest
import torch

import cvdl
from cvdl import errors, settings
from cvdl.errors import CourseError, DataNotFound
from cvdl.train import publish


def run(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", settings.PROFILES)
def test_profile_is_what_the_variable_says(monkeypatch, name):
    monkeypatch.setenv("CVDL_PROFILE", name)
    assert cvdl.profile() == name
    assert cvdl.budget(quick="quick", laptop="laptop", gpu="gpu") == name


@pytest.mark.parametrize("kind, name", [("cpu", "laptop"), ("cuda", "gpu")])
def test_profile_without_variable(monkeypatch, kind, name):
    monkeypatch.setenv("CVDL_PROFILE", "")
    monkeypatch.setattr(settings, "device", lambda: torch.device(kind))
    assert cvdl.profile() == name


def test_profile_in_any_case(monkeypatch):
    monkeypatch.setenv("CVDL_PROFILE", "Quick")
    assert cvdl.profile() == "quick"


@pytest.mark.parametrize("name", ["fast", "cpu", " "])
def test_unknown_profile(monkeypatch, name):
    monkeypatch.setenv("CVDL_PROFILE", name)
    with pytest.raises(CourseError, match="quick, laptop, gpu"):
        cvdl.budget(quick=1, laptop=2, gpu=3)


def test_device_can_compute():
    assert torch.ones(2, device=cvdl.device()).sum() == 2


def numbers(generator):
    return [random.random(), numpy.random.rand(), torch.rand(()).item(), torch.rand((), generator=generator).item()]


def test_seed_twice_gives_the_same_numbers():
    once = numbers(cvdl.seed(3))
    assert numbers(cvdl.seed(3)) == once
    assert not set(numbers(cvdl.seed(4))) & set(once)


def test_data_path(monkeypatch, tmp_path):
    assert cvdl.data_path("README.md").is_file()
    (tmp_path / "a").touch()
    monkeypatch.setenv("CVDL_DATA", str(tmp_path))
    assert cvdl.data_path("a") == tmp_path / "a"


def test_data_path_missing():
    with pytest.raises(DataNotFound, match=r"text/none\.tsv is not in .*git checkout -- data"):
        cvdl.data_path("text", "none.tsv")


def test_without_a_data_folder(monkeypatch, tmp_path):
    """As in a wheel that was damaged: it is not a clone of the repository, and its copy of data/ is gone."""
    monkeypatch.delenv("CVDL_DATA", raising=False)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "__file__", str(tmp_path / "cvdl/settings.py"))
    with pytest.raises(
        DataNotFound, match=f"data folder {tmp_path}/cvdl/shipped does not exist.*set CVDL_DATA"
    ) as error:
        cvdl.data_path()
    assert "git checkout" not in str(error.value)
    assert cvdl.zoo.names() == cvdl.zoo.runs() == []
    for ask in (cvdl.zoo.load, cvdl.zoo.card):
        with pytest.raises(CourseError, match=r"data folder .* does not exist"):
            ask("spynet")
    assert "empty" in publish.table()

    monkeypatch.setenv("CVDL_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataNotFound, match=r"elsewhere does not exist\. CVDL_DATA names that folder"):
        cvdl.data_path()


@pytest.mark.parametrize(
    "kind, builtin",
    [
        (errors.InvalidInput, ValueError),
        (errors.NotFinite, ValueError),
        (errors.MissingDependency, ImportError),
        (errors.DataNotFound, FileNotFoundError),
        (errors.TrainingDiverged, RuntimeError),
        (errors.WriteFailed, OSError),
    ],
)
def test_errors_are_told_apart_by_type(kind, builtin):
    assert issubclass(kind, CourseError) and issubclass(kind, builtin)
    assert str(kind("Do this.")) == "Do this." and kind("Do this.")._render_traceback_()[0].endswith(": Do this.")
    others = {ValueError, ImportError, OSError, RuntimeError} - set(kind.__mro__)
    assert not any(issubclass(kind, other) for other in others) and len(others) == 3


def test_course_error_in_ipython_is_one_paragraph():
    """As a kernel shows it: the paragraph, and no traceback."""
    out = run(
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import cvdl.errors\n"
        "InteractiveShell.instance(colors='NoColor').run_cell("
        "'from cvdl.errors import CourseError\\n\\ndef f():\\n    raise CourseError(\"Do this.\")\\n\\nf()')"
    )
    assert out.strip() == "CourseError: Do this."


def test_import_is_lazy():
    """So `import cvdl` costs next to nothing, and a command only what it needs itself."""
    loaded = "{name.partition('.')[0] for name in sys.modules}"
    out = run(
        f"import sys; before = {loaded}\n"
        f"import cvdl; print(*{loaded} - before - sys.stdlib_module_names)\n"
        f"import cvdl.cli.app; print(*{loaded} & {{'torch', 'matplotlib', 'numpy', 'IPython'}})"
    )
    assert out == "cvdl\n\n"


def test_import_without_jupyter():
    out = run(
        "import sys\n"
        "sys.modules |= dict.fromkeys(['IPython', 'ipywidgets', 'ipykernel', 'jupyterlab', 'nbformat'])\n"
        "from cvdl import *\n"
        "import cvdl; cvdl.start()\n"
        "print('torchvision' in sys.modules)"  # its import takes longer than that of all else
    )
    assert out.startswith(f"cvdl {cvdl.__version__}") and out.endswith("\nFalse\n")


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cvdl.nothing  # noqa: B018


def test_another_seed_from_outside(monkeypatch):
    seeded = torch.rand(3, generator=settings.seed(5))
    monkeypatch.setenv("CVDL_SEED", "2")
    assert torch.equal(seeded, torch.rand(3, generator=settings.seed(3)))
    monkeypatch.setenv("CVDL_SEED", "two")
    with pytest.raises(CourseError, match="whole number"):
        settings.seed(0)
