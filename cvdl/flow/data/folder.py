"""A folder of image pairs, or of a sequence, with or without flow.

In each folder below the one that is named, the first of these that fits all its pictures says what makes a pair:

| pictures                               | name of the pair | flow                           |
|----------------------------------------|------------------|--------------------------------|
| frame10.png, frame11.png               | the folder's     | flow10.flo                     |
| 00001_img1.ppm, 00001_img2.ppm, …      | 00001            | 00001_flow.flo, 00001_img1.flo |
| 000000_10.png, 000000_11.png, …        | 000000           | 000000_flow.flo, 000000_10.flo |
| cat_1.png, cat_2.png, …                | cat              | cat_flow.flo, cat_1.flo        |
| any others, sorted: 1 and 2, 2 and 3 … | the first's      | a.flo, a_flow.flo for a.png    |

Instead of .flo there may be .pfm, and .png in KITTI's 16 bits where the name has `flow` in it.  With flow10.flo there,
frames besides 10 and 11 are left out; next to _img1 and _img2, pictures of other names.
"""

import re
from pathlib import Path

from cvdl.errors import InvalidInput
from cvdl.flow.data.sample import Files

PICTURES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
FLOWS = (".flo", ".pfm", ".png")
NAMED = (("_img1", "_img2"), ("_10", "_11"), ("_1", "_2"))  # ends of the names of a pair


def folder_files(folder, step=1):
    """The Files of all pairs in `folder` and below, in the order of their names.

    step: frames from the first to the second, in a sequence.
    Raises CourseError where there is no pair, and for a pair that lacks a picture.
    """
    folder = Path(folder)
    files = []
    for place in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        if not any(part.startswith(".") for part in place.relative_to(folder).parts):
            files += _pairs_in(place, folder, step)
    if not files:
        raise InvalidInput(
            f"{folder} holds no pair of pictures. It may hold NAME_img1.png and NAME_img2.png, frame10.png and "
            f"frame11.png, NAME_1.png and NAME_2.png, or at least {step + 1} pictures of a sequence ({', '.join(PICTURES)})."
        )
    return files


def _pairs_in(place, folder, step):
    there = [path for path in place.iterdir() if path.is_file() and not path.name.startswith(".")]
    images = sorted((path for path in there if path.suffix.lower() in PICTURES and not _is_flow(path)), key=_natural)
    where = place.relative_to(folder).as_posix()
    prefix = "" if where == "." else f"{where}/"

    frames = {path.stem: path for path in images}
    if {"frame10", "frame11"} <= set(frames) and (len(images) == 2 or _flow(place, "flow10")):
        name = place.name if where == "." else where
        return [Files(name, frames["frame10"], frames["frame11"], _flow(place, "flow10"))]

    for ends in NAMED:
        named = [path for path in images if path.stem.endswith(ends)]
        if named and (len(named) == len(images) or ends is NAMED[0]):
            return _named(named, place, prefix, *ends)
    return [
        Files(f"{prefix}{first.stem}", first, second, _flow(place, first.stem, f"{first.stem}_flow"))
        for first, second in zip(images[::step], images[step::step], strict=False)
    ]


def _named(images, place, prefix, *ends):
    """images: all of them end in one of the two ends"""
    firsts, seconds = (
        {path.stem.removesuffix(end): path for path in images if path.stem.endswith(end)} for end in ends
    )
    for name in sorted(firsts.keys() ^ seconds.keys()):
        here, end = (firsts[name], ends[1]) if name in firsts else (seconds[name], ends[0])
        raise InvalidInput(
            f"{here} has no partner: {place / name}{end}{here.suffix} is missing. Fetch it, or remove the one."
        )
    return [
        Files(f"{prefix}{name}", firsts[name], seconds[name], _flow(place, f"{name}_flow", firsts[name].stem))
        for name in sorted(firsts)
    ]


def _flow(place, *stems):
    """The first flow file of one of these names, or None.  A .png is a flow only if its name says so."""
    for stem in stems:
        for ending in FLOWS:
            path = place / f"{stem}{ending}"
            if path.is_file() and (ending != ".png" or _is_flow(path)):
                return path
    return None


def _is_flow(path):
    return path.stem == "flow10" or path.stem.endswith("_flow")


def _natural(path):
    """A key that sorts frame2 before frame10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", path.name))]
