"""The published flow sets: where each has to lie, how large it is, its terms, and where to get it.

    SETS["sintel-clean"].page                  # its owner's page
    find(SETS["sintel-clean"], "train")        # the folder that holds the folder Sintel, or an error that says what to do

Sets are searched in CVDL_SETS, by default the folder `sets` beside the library, then among the real samples.  Sizes and
numbers of pairs are what owners' pages, papers and several others' code agree on; «not verified» marks the rest.
"""

import os
from pathlib import Path
from typing import NamedTuple

from cvdl.errors import DataNotFound
from cvdl.settings import ROOT


class File(NamedTuple):
    """An archive that its owner gives by a plain link, without registration."""

    url: str
    sha256: str | None  # None: the owner publishes none; the first download records it


class Set(NamedTuple):
    """A published set.  Where torchvision knows it, `folder` and `needs` are as torchvision has them."""

    name: str  # for open_pairs and `cvdl data`
    title: str
    folder: str  # below CVDL_SETS
    needs: dict  # split -> folders and files, below `folder`, that it cannot do without
    pairs: dict  # split -> number of pairs in the whole set, or None where that is not known for sure
    size: str  # of the download
    terms: str
    page: str
    how: str  # what to fetch and where to put it; {} stands for the path of `folder`
    masks: tuple = ()  # folders that are used where they are
    files: tuple = ()  # what `cvdl data get` fetches


FREIBURG = "research only"
LMB = "https://lmb.informatik.uni-freiburg.de"
KITTI = "CC BY-NC-SA 3.0"
MIDDLEBURY = "https://vision.middlebury.edu/flow/data"


def _things(kind):
    return Set(
        f"flyingthings3d-{kind}",
        f"FlyingThings3D, {kind} pass",
        "FlyingThings3D",
        {split: (f"frames_{kind}pass/{split.upper()}", f"optical_flow/{split.upper()}") for split in ("train", "test")},
        {"train": 40_302, "test": 7_866},  # left camera, both directions
        "37 + 311 GB" if kind == "clean" else "about 37 (not verified) + 311 GB",
        FREIBURG,
        f"{LMB}/resources/datasets/SceneFlowDatasets.en.html",
        f"Fetch «RGB images ({kind}pass)» as PNG, not WebP, and «Optical flow», of FlyingThings3D, and unpack both into "
        "{}. The flow is the larger part; unpacked it takes about 670 GB.",
    )


def _sintel(kind):
    return Set(
        f"sintel-{kind}",
        f"MPI Sintel, {kind} pass",
        "Sintel",
        {"train": (f"training/{kind}", "training/flow"), "test": (f"test/{kind}",)},
        {"train": 1_041, "test": 552},
        "5.3 GB",
        "see its page",
        "http://sintel.is.tue.mpg.de",
        "Fetch MPI-Sintel-complete.zip and unpack it into {}. It holds all passes, and the masks of occluded and of "
        "invalid pixels.",
        masks=("training/occlusions", "training/invalid"),
    )


SETS = {
    each.name: each
    for each in (
        Set(
            "flyingchairs",
            "FlyingChairs",
            "FlyingChairs",
            {split: ("data", "FlyingChairs_train_val.txt") for split in ("train", "val")},
            {"train": 22_232, "val": 640},
            "31 GB",
            FREIBURG,
            f"{LMB}/resources/datasets/FlyingChairs.en.html",
            "Fetch FlyingChairs.zip, unpack it (63 GB), and rename its folder FlyingChairs_release to {}. Put "
            "FlyingChairs_train_val.txt, the «train-validation split» of the same page, into it. Without that file, the "
            "pairs can be read as a folder: {}/data.",
        ),
        _things("clean"),
        _things("final"),
        Set(
            "chairssdhom",
            "ChairsSDHom",
            "ChairsSDHom",
            {split: tuple(f"data/{split}/{part}" for part in ("t0", "t1", "flow")) for split in ("train", "test")},
            {"train": 20_965, "test": 703},
            "51 GB (not verified)",
            FREIBURG,
            f"{LMB}/resources/datasets/FlyingChairs.en.html",
            "Fetch ChairsSDHom.tar.gz and unpack it, so that its folder becomes {}.",
        ),
        _sintel("clean"),
        _sintel("final"),
        Set(
            "middlebury",
            "Middlebury",
            "Middlebury",
            {"train": ("other-data", "other-gt-flow"), "test": ("eval-data",)},
            {"train": 8, "test": 12},
            "about 45 MB (not verified)",
            "see its page",
            f"{MIDDLEBURY}/",
            "Fetch other-color-allframes.zip and other-gt-flow.zip, and for the test split eval-color-allframes.zip, and "
            "unpack them into {}.",
            files=tuple(
                File(f"{MIDDLEBURY}/comp/zip/{archive}.zip", None)
                for archive in ("other-color-allframes", "other-gt-flow")
            ),
        ),
        Set(
            "kitti2012",
            "KITTI 2012",
            "KittiFlow2012",
            {"train": ("training/colored_0", "training/flow_occ"), "test": ("testing/colored_0",)},
            {"train": 194, "test": 195},
            "2.0 GB",
            KITTI,
            "https://www.cvlibs.net/datasets/kitti/eval_stereo_flow.php?benchmark=flow",
            "Register there, fetch data_stereo_flow.zip and unpack it into {}.",
            masks=("training/flow_noc",),
        ),
        Set(
            "kitti2015",
            "KITTI 2015",
            "KittiFlow",
            {"train": ("training/image_2", "training/flow_occ"), "test": ("testing/image_2",)},
            {"train": 200, "test": 200},
            "1.7 GB",
            KITTI,
            "https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php?benchmark=flow",
            "Register there, fetch data_scene_flow.zip and unpack it into {}.",
            masks=("training/flow_noc",),
        ),
        Set(
            "hd1k",
            "HD1K",
            "hd1k",
            {"train": ("hd1k_input/image_2", "hd1k_flow_gt/flow_occ"), "test": ("hd1k_challenge/image_2",)},
            {"train": None, "test": None},
            "about 8 GB",
            "see its page",
            "http://hci-benchmark.iwr.uni-heidelberg.de/",
            "Ask for it there; links come by mail. Fetch hd1k_input.zip and hd1k_flow_gt.zip, for the test split "
            "hd1k_challenge.zip, and unpack them into {}.",
        ),
    )
}


def sets_folder():
    """Where a student's sets lie: CVDL_SETS if set, else the folder `sets` beside the library."""
    return Path(os.environ.get("CVDL_SETS") or ROOT / "sets").expanduser()


def real_folder(part="flow"):
    """Where real samples lie: `flow` or `gestures` below CVDL_REAL, by default ../shared/real beside the checkout.

    None where CVDL_REAL is set empty, or there is no such folder.
    """
    folder = os.environ.get("CVDL_REAL", str(ROOT.parent / "shared" / "real"))
    folder = Path(folder).expanduser() / part if folder else None
    return folder if folder and folder.is_dir() else None


def absent(entry, split, root):
    """What a split needs and `root` lacks, as paths."""
    return [path for part in entry.needs[split] if not (path := Path(root) / entry.folder / part).exists()]


def find(entry, split, root=None):
    """The folder that holds the set's folder: `root`, or if not given, CVDL_SETS or the folder of real samples.

    Raises CourseError where the set is not there or lacks a part: what is missing, where to get it, how large it is.
    """
    top = Path(root).expanduser() if root else sets_folder()
    samples = None if root else real_folder()
    for place in filter(None, (top, samples)):
        if not absent(entry, split, place):
            return place
    if (top / entry.folder).is_dir():
        lacks = ", ".join(str(path.relative_to(top / entry.folder)) for path in absent(entry, split, top))
        raise incomplete(entry, top, f"It lacks {lacks}.")
    raise DataNotFound(
        f"{entry.title} is not here: there is no folder {top / entry.folder}. {get(entry, top)} If you have it elsewhere, "
        f"set CVDL_SETS to the folder that holds {entry.folder}."
    )


def incomplete(entry, root, what):
    """An error for a set of which a part is missing: `what` says in a sentence which."""
    return DataNotFound(f"{entry.title} in {root / entry.folder} is not whole. {what} {get(entry, root)}")


def get(entry, root):
    """Where to get a set, how large it is, and where to put it, in some sentences."""
    command = f" `cvdl data get {entry.name}` does so." if entry.files else ""
    how = entry.how.replace("{}", str(Path(root) / entry.folder))
    return f"Get it from {entry.page}. Download: {entry.size}. Terms: {entry.terms}. {how}{command}"
