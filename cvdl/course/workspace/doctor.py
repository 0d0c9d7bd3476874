"""`cvdl doctor`: what the course runs on, and what to do where something is missing."""

import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import cvdl
from cvdl import settings
from cvdl.course.notebook.feedback import Feedback
from cvdl.errors import CourseError

GB = 1e9
NEEDED = {"memory": 2 * GB, "disk": 1 * GB}  # what one notebook takes at most, and some room for its files
README_ROW = re.compile(r"^\| `([^`]+)` .*\| (\d+) \| `\w{64}` \|$", re.M)  # path and bytes


def doctor():
    """Look everything over -> Feedback, whose state is "wrong" if there is a problem."""
    rows, problems, notes = [], [], []
    for look in (packages, machine, memory, disk, profile, data, real_data, extras):
        for name, found, problem, note in look():
            rows.append((name, found))
            problems += [problem] if problem else []
            notes += [note] if note else []
    count = len(problems)
    headline = f"{count} problem{'s' * (count > 1)} found" if problems else "The course can run here"
    lines = [*(f"Problem: {p}" for p in problems), *(f"Note: {n}" for n in notes)]
    return Feedback("wrong" if problems else "right", headline, lines, rows)


# Each looks at one thing and yields rows: (name, what was found, the problem if any, a note if any).


def packages():
    python = platform.python_version()
    try:
        ours = metadata.metadata("cvdl")
    except metadata.PackageNotFoundError:
        yield "Python", python, None, None
        note = (
            f"cvdl is not installed, so the versions it needs are not known: run `pip install -e .` in {settings.ROOT}."
        )
        yield "cvdl", f"{cvdl.__version__}, in {settings.ROOT}", None, note
        return
    wanted = SpecifierSet(ours["Requires-Python"])
    problem = f"Python {python} is not {wanted}: make an environment with one that is, and install cvdl there."
    yield "Python", f"{python}, {sys.executable}", None if python in wanted else problem, None
    yield "cvdl", f"{cvdl.__version__}, in {settings.ROOT}", None, None
    for requirement in requirements():
        if requirement.marker is None:
            found, fits = installed(requirement)
            problem = f'{requirement} is needed, and found was {found}: run `pip install "{requirement}"`.'
            yield requirement.name, found, None if fits else problem, None


def requirements():
    return [Requirement(r) for r in metadata.requires("cvdl") or ()]


def installed(requirement):
    """-> (version or "none", does it fit)"""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "none", False
    return version, requirement.specifier.contains(version, prereleases=True)


def machine():
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of its own does not load
        what = f"torch does not import ({error}): run `pip install --force-reinstall torch torchvision`."
        yield "device", "unknown", what, None
        return
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    if settings.device().type == "cuda":
        free, total = torch.cuda.mem_get_info()
        yield "device", f"{torch.cuda.get_device_name()}, {free / GB:.1f} of {total / GB:.1f} GB free", None, None
        yield "CPU", threads, None, None
    else:
        note = (
            "This machine has an NVIDIA driver, but its torch cannot use it. The course runs on the CPU; for the GPU, "
            "install the torch that pytorch.org recommends for your driver."
        )
        yield "device", f"CPU, {threads}", None, note if shutil.which("nvidia-smi") else None


def memory():
    try:
        import psutil
    except ImportError:
        yield "memory", "unknown", None, "To see the free memory, run `pip install psutil`."
        return
    m = psutil.virtual_memory()
    yield room("memory", m.available, m.total, "close other programs, or shut down kernels that are no longer used")


def disk():
    d = shutil.disk_usage(settings.ROOT)
    yield room("disk", d.free, d.total, f"delete something on the disk of {settings.ROOT}")


def room(name, free, total, remedy):
    needed = NEEDED[name]
    problem = f"Only {free / GB:.1f} GB of {name} are free, and a notebook may take {needed / GB:.0f}: {remedy}."
    return name, f"{free / GB:.1f} of {total / GB:.1f} GB free", problem if free < needed else None, None


def profile():
    try:
        yield "profile", settings.profile(), None, None
    except CourseError as error:
        yield "profile", repr(os.environ["CVDL_PROFILE"]), str(error), None
    except (ImportError, OSError):  # of torch: told by machine()
        yield "profile", "unknown", None, None


def data():
    """Every file that data/README.md lists is there, in its size."""
    try:
        readme = settings.data_path("README.md")
    except CourseError as error:
        yield "data", "none", str(error), None
        return
    folder = readme.parent
    sizes = {path: int(size) for path, size in README_ROW.findall(readme.read_text(encoding="utf-8"))}
    bad = [p for p, size in sizes.items() if not (folder / p).is_file() or (folder / p).stat().st_size != size]
    problem = (
        f"In {folder}, {', '.join(bad)} {'is' if len(bad) == 1 else 'are'} missing or damaged: "
        "run `git checkout -- data` in the repository."
    )
    yield "data", f"{len(sizes) - len(bad)} of {len(sizes)} files, in {folder}", problem if bad else None, None


def real_data():
    folder = os.environ.get("CVDL_REAL", str(settings.ROOT.parent / "shared" / "real"))
    there = bool(folder) and Path(folder).is_dir()
    problem = f"CVDL_REAL names {folder}, which is no folder: correct it, or unset it to go on with rendered pairs."
    wrong = "CVDL_REAL" in os.environ and folder and not there
    if there or wrong:
        yield "real data", folder if there else "missing", problem if wrong else None, None


def extras():
    try:
        names = metadata.metadata("cvdl").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return
    for extra in names:
        if extra == "assets":  # for whoever keeps the course
            continue
        wanted = [r for r in requirements() if r.marker and r.marker.evaluate({"extra": extra})]
        missing = [r.name for r in wanted if not installed(r)[1]]
        how = f'without {", ".join(missing)}; `pip install -e ".[{extra}]"` adds it'
        yield f"extra {extra}", how if missing else "complete", None, None
