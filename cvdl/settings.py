"""What every notebook asks of the machine: profile, budget, device, seed, and where data is."""

import os
import random
from pathlib import Path

from cvdl.errors import DataNotFound, InvalidInput

PROFILES = ("quick", "laptop", "gpu")
ROOT = Path(__file__).resolve().parent.parent


def profile():
    """The size to run at: CVDL_PROFILE if set, else "gpu" where CUDA is there, else "laptop"."""
    name = os.environ.get("CVDL_PROFILE", "").lower()
    if not name:
        return "gpu" if device().type == "cuda" else "laptop"
    if name not in PROFILES:
        raise InvalidInput(
            f"CVDL_PROFILE is {name!r}, which is no profile; there are {', '.join(PROFILES)}. Start the course with "
            "another, `CVDL_PROFILE=quick make lab`, or in this notebook run `%env CVDL_PROFILE=quick` first."
        )
    return name


def budget(*, quick, laptop, gpu):
    """Pick the value for the present profile: `steps = budget(quick=50, laptop=2000, gpu=2000)`."""
    return {"quick": quick, "laptop": laptop, "gpu": gpu}[profile()]


def device():
    """The `torch.device` to compute on: CUDA if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed(n=0):
    """Seed Python, NumPy and torch, so that the same cell gives the same numbers twice.

    Returns a CPU `torch.Generator` with the same seed, for code that takes one.  CVDL_SEED, a whole
    number, is added to n: with it one runs a notebook again by other dice.
    """
    import numpy
    import torch

    try:
        n += int(os.environ.get("CVDL_SEED") or 0)
    except ValueError:
        raise InvalidInput(
            f"CVDL_SEED is {os.environ['CVDL_SEED']!r}; it has to be a whole number. Correct or unset it."
        ) from None

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not repeatable without
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    random.seed(n)
    numpy.random.seed(n)
    torch.manual_seed(n)
    return torch.Generator().manual_seed(n)


def data_path(*parts):
    """Path of a shipped data file, or of the data folder itself if no part is given.

    The folder is CVDL_DATA if that is set, else `data/` next to the library in a clone of the repository, or the copy
    of it inside an installed package.  Raises DataNotFound, a CourseError, if there is no such file or folder.
    """
    chosen, cloned = os.environ.get("CVDL_DATA"), (ROOT / "pyproject.toml").exists()
    folder = Path(chosen or (ROOT / "data" if cloned else Path(__file__).with_name("shipped")))
    path = folder.joinpath(*parts)
    if path.exists():
        return path
    missing = (
        f"The course's data file {'/'.join(parts)} is not in {folder}."
        if parts
        else f"The course's data folder {folder} does not exist."
    )
    if chosen:
        advice = (
            "CVDL_DATA names that folder: set it to the folder `data` of a complete copy of the course, or unset it."
        )
    elif cloned:
        advice = (
            f"It comes with the repository: run `git checkout -- data` in {ROOT}, or set CVDL_DATA to the folder `data` "
            "of a complete copy."
        )
    else:
        advice = (
            "This installation of cvdl is incomplete: install it again, or set CVDL_DATA to the folder `data` of the "
            "course's repository."
        )
    raise DataNotFound(f"{missing} {advice}")
