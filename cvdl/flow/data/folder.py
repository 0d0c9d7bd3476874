"""A folder of image pairs, or of sequences, with or without flow.

In each folder below the one that is named, the first of these patterns that fits all its pictures decides which of them form pairs:

| pictures                               | name of the pair | flow                            |
|----------------------------------------|------------------|---------------------------------|
| frame10.png, frame11.png               | the folder's     | flow10.flo                      |
| 00001_img1.ppm, 00001_img2.ppm, …      | 00001            | 00001_flow.flo, 00001_img1.flo  |
| 0img0.ppm, 0img1.ppm, …                | 0                | 0_flow.flo, 0flow.flo, 0img0.flo|
| 000000_10.png, 000000_11.png, …        | 000000           | 000000_flow.flo, 000000_10.flo  |
| cat_1.png, cat_2.png, …                | cat              | cat_flow.flo, cat_1.flo         |
| sequences: 1 and 2, 2 and 3 …          | the first's      | a.flo, a_flow.flo for a.png     |

Names that differ only in their last number are a sequence: 000000_00.png … and 000001_00.png … are two sequences, and
no pair combines frames of both.  If a folder contains only two pictures, they are a pair, whatever they are called.

Instead of .flo there may be .pfm, and .png in KITTI's 16 bits where the name has `flow` in it.  With flow10.flo there,
frames besides 10 and 11 are left out; next to _img1 and _img2, pictures of other names.  Where there are other
pictures, masks and visualisations are left out: a_mask.png, a_occ.png, a_flow_viz.png, folders such as occlusions.

Published datasets can be named by path, completely or in part: the layouts of KITTI, HD1K, Sintel, Middlebury,
FlyingThings3D and ChairsSDHom are known.  In these, the flow is in a folder next to that of the pictures (PARALLEL).

Extensions and the fixed parts of names may be in upper case, and accents may be composed or not.
"""

import os
import re
import unicodedata
import warnings
from pathlib import Path

from cvdl.errors import CourseWarning, InvalidInput
from cvdl.flow.data.sample import Files

PICTURES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".gif", ".mjpeg", ".wmv", ".3gp")
FLOWS = (".flo", ".pfm", ".png")
NAMED = (("_img1", "_img2"), ("img0", "img1"), ("img1", "img2"), ("_10", "_11"), ("_1", "_2"))  # ends of a pair's names

# Published layouts: a folder of pictures, and where the flow of PICTURES/rest lies: relative to the folder's parent, with
# {rest} the folders in between and {stem} the picture's name.  The first that exists counts.
PARALLEL = {
    "clean": ("flow/{rest}/{stem}.flo",),  # Sintel
    "final": ("flow/{rest}/{stem}.flo",),
    "albedo": ("flow/{rest}/{stem}.flo",),
    "image_2": (
        "flow_occ/{stem}.png",
        "../hd1k_flow_gt/flow_occ/{stem}.png",
        "flow_noc/{stem}.png",
    ),  # KITTI 2015, HD1K
    "colored_0": ("flow_occ/{stem}.png", "flow_noc/{stem}.png"),  # KITTI 2012
    "image_0": ("flow_occ/{stem}.png", "flow_noc/{stem}.png"),
    "other-data": ("other-gt-flow/{rest}/{flow}.flo",),  # Middlebury
    "frames_cleanpass": ("optical_flow/{above}/into_future/{last}/OpticalFlowIntoFuture_{stem}_{side}.pfm",),
    "frames_finalpass": ("optical_flow/{above}/into_future/{last}/OpticalFlowIntoFuture_{stem}_{side}.pfm",),
    "t0": ("flow/{stem}.pfm",),  # ChairsSDHom
}
# In these layouts, and in your own folders: annotations of pictures, or the same scene from another camera.
BESIDE = re.compile(
    r"(flow|disp|viz_flow|viz_disp)(_(occ|noc|viz|vis|code|gt|png))?(_[01])?|occlusions?(_\w+)?|occ|invalid|outofframe|"
    r"masks?|obj_map|(depth|disparities)(_viz)?|other-gt-flow|motion_boundaries|segmentation|optical_flow|flow_uncertainty"
)
SECOND_CAMERA = {"image_3": "image_2", "image_1": "image_0", "colored_1": "colored_0"}
# Words in a picture's name that mean the same.
ANNOTATION = re.compile(r"(?<![a-z])(mask|occ|occlusions?|occluded|invalid|valid|flow|viz|vis|disp|depth)(?![a-z])")


def folder_files(folder, step=1):
    """The Files of all pairs in `folder` and below, in the order of their names.

    step: frames from the first to the second, in a sequence.

    Warns (CourseWarning) about flow files that belong to no pair, and about pictures that are left out because of their
    names.  Raises InvalidInput if there is no pair, and for a pair that lacks a picture.
    """
    folder = Path(folder)
    files, left_out = [], []
    places, passed = _places(folder)
    for place in places:
        files += _pairs_in(place, folder, step, left_out)
    if not files:
        videos = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEOS and _seen(path)]
        hint = f" It contains videos: name one of them, such as {videos[0]}." if videos else ""
        if passed:
            hint += (
                f" Folders of masks and flow were skipped, such as {passed[0]}; name such a folder directly to read it."
            )
        raise InvalidInput(
            f"{folder} contains no pair of pictures.{hint} It can contain NAME_img1.png and NAME_img2.png, frame10.png and "
            f"frame11.png, NAME_1.png and NAME_2.png, or at least {step + 1} pictures of a sequence ({', '.join(PICTURES)})."
        )
    if left_out:
        _warn(
            f"{len(left_out)} pictures in {folder} are left out because their names look like masks or visualisations, "
            f"such as {left_out[0].relative_to(folder)}. If one is a frame, rename it."
        )
    _warn_of_unused_flow(folder, files)
    return files


def single_video(folder):
    """The video in a folder that holds one, or an animated WebP or APNG, and no other picture; else None."""
    there = [path for path in Path(folder).iterdir() if path.is_file() and _seen(path)]
    videos = [path for path in there if path.suffix.lower() in VIDEOS]
    pictures = [path for path in there if path.suffix.lower() in PICTURES]
    if len(videos) == 1 and not pictures:
        return videos[0]
    return pictures[0] if len(pictures) == 1 and not videos else None


def _places(folder):
    """The folder and those below it in which to look for pictures, sorted; and those that are skipped."""
    places, passed = [], []
    for place in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        parts = place.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        if any(BESIDE.fullmatch(part.casefold()) for part in parts):
            passed.append(place)
            continue
        if parts and (first := SECOND_CAMERA.get(place.name.casefold())) and (place.parent / first).is_dir():
            continue
        places.append(place)
    return places, passed


def _seen(path):
    return not path.name.startswith(".")


def _pairs_in(place, folder, step, left_out):
    there = [path for path in place.iterdir() if path.is_file() and _seen(path)]
    images = [path for path in there if path.suffix.lower() in PICTURES and not _is_flow(path)]
    shown = [path for path in images if not ANNOTATION.search(_folded(path.stem))]
    if len(shown) >= 2:
        left_out += [path for path in images if path not in shown]
        images = shown
    images.sort(key=_natural)
    names = {path.name: path for path in there} | {_folded(path.name): path for path in sorted(there, reverse=True)}
    where = place.relative_to(folder).as_posix()
    prefix = "" if where == "." else f"{where}/"

    if place.name.casefold() == "t1" and (place.parent / "t0").is_dir():  # ChairsSDHom: second frames
        return []
    if place.name.casefold() == "t0" and (place.parent / "t1").is_dir():
        others = {path.name: path for path in (place.parent / "t1").iterdir() if _seen(path)}
        return [
            Files(f"{prefix}{path.stem}", path, others[path.name], _flow(names, path, path.stem))
            for path in images
            if path.name in others
        ]

    frames = {_folded(path.stem): path for path in images}
    if {"frame10", "frame11"} <= set(frames):
        truth = _flow(names, frames["frame10"], "flow10")
        if len(images) == 2 or truth:
            name = place.name if where == "." else where
            return [_with_masks(Files(name, frames["frame10"], frames["frame11"], truth))]

    for ends in NAMED:
        named = [path for path in images if _folded(path.stem).endswith(ends)]
        if named and (len(named) == len(images) or ends is NAMED[0]):
            return _named(named, names, place, prefix, *ends)

    sequences = {}
    stems = [_folded(path.stem) for path in images]
    twice = len(set(stems)) < len(stems)  # such as a.png and a.jpg
    for path in images:
        key = _sequence(path.stem), path.suffix.lower() if twice else ""
        sequences.setdefault(key, []).append(path)
    if _alone(stems) or not any(re.search(r"\d", stem) for stem in stems):  # in the order of the alphabet
        sequences = {"": images}
    files = []
    for images in sequences.values():
        for first, second in zip(images[::step], images[step::step], strict=False):
            truth = _flow(names, first, first.stem, f"{first.stem}_flow")
            name = first.name if twice else first.stem
            files.append(_with_masks(Files(f"{prefix}{name}", first, second, truth)))
    return files


def _alone(stems):
    """Whether there are just two pictures that are not frames with the same number from two scenes."""
    if len(stems) != 2:
        return False
    numbers = [re.findall(r"\d+", stem) for stem in stems]
    alike = len({re.sub(r"\d+", "#", stem) for stem in stems}) == 1
    return not (alike and len(numbers[0]) > 1 and numbers[0][-1] == numbers[1][-1])


def _sequence(stem):
    """What the names of the frames of a sequence have in common: everything except the last number."""
    return re.sub(r"\d+(?=\D*$)", "#", _folded(stem))


def _named(images, names, place, prefix, *ends):
    """images: all of them end in one of the two ends"""
    stems = {_folded(path.stem) for path in images}
    key = _folded if len(stems) == len({_composed(path.stem) for path in images}) else _composed
    firsts, seconds = (
        {key(path.stem)[: -len(end)]: path for path in images if _folded(path.stem).endswith(end)} for end in ends
    )
    for name in sorted(firsts.keys() ^ seconds.keys()):
        here, end = (firsts[name], ends[1]) if name in firsts else (seconds[name], ends[0])
        stem = here.stem[: -len(end)]
        raise InvalidInput(
            f"{here} has no partner: {place / stem}{end}{here.suffix} is missing. Add it, or remove {here.name}."
        )
    files = []
    for name in sorted(firsts):
        stem = _composed(firsts[name].stem)[: -len(ends[0])]
        truth = _flow(names, firsts[name], f"{stem}_flow", f"{stem}flow", firsts[name].stem)
        files.append(_with_masks(Files(f"{prefix}{stem or firsts[name].stem}", firsts[name], seconds[name], truth)))
    return files


def _flow(names, image, *stems):
    """The flow of a picture: the first file of one of these names beside it, or where a published set has it; or None.

    names: the files of the folder, by name and by _folded name.  A .png is a flow only if its name says so.
    """
    for stem in stems:
        for ending in FLOWS:
            path = names.get(f"{stem}{ending}") or names.get(_folded(f"{stem}{ending}"))
            if path and (ending != ".png" or _is_flow(path)):
                return path
    return next(_parallel(image, PARALLEL), None)


def _parallel(image, layouts):
    """Files that go with a picture in published layouts: those that exist.  layouts: as PARALLEL."""
    path = image.absolute()
    for above, top in enumerate(path.parents[:6]):
        rest = path.parts[len(path.parts) - 1 - above : -1]
        for pattern in layouts.get(top.name.casefold(), ()):
            relative = pattern.format(
                rest="/".join(rest),
                above="/".join(rest[:-1]),
                last="".join(rest[-1:]),
                side="R" if rest[-1:] == ("right",) else "L",
                stem=path.stem,
                flow=f"flow{path.stem.removeprefix('frame')}",
            )
            found = Path(os.path.normpath(top.parent / relative))
            if found.is_file():
                yield found


MASKS = {
    "invalid": {kind: ("invalid/{rest}/{stem}.png",) for kind in ("clean", "final", "albedo")},
    "occluded": {kind: ("occlusions/{rest}/{stem}.png",) for kind in ("clean", "final", "albedo")},
    "visible": {kind: ("flow_noc/{stem}.png",) for kind in ("image_2", "colored_0", "image_0")},
}


def _with_masks(files):
    """Files with the masks that a published set has for them, as in cvdl.flow.data.pair_lists."""
    if files.flow is None or files.flow.parent == files.image1.parent:
        return files
    found = {field: next(_parallel(files.image1, layouts), None) for field, layouts in MASKS.items()}
    return files._replace(**{field: path for field, path in found.items() if path and path != files.flow})


def _warn_of_unused_flow(folder, files):
    without = [each.name for each in files if each.flow is None]
    used = {each.flow.name for each in files if each.flow} if without else set()
    unused = [
        path
        for path in (sorted(folder.rglob("*")) if without else ())
        if _seen(path) and path.suffix.lower() in (".flo", ".pfm") and path.name not in used and path.is_file()
    ]
    if unused:
        _warn(
            f"{len(without)} of {len(files)} pairs in {folder} are read without ground truth, such as {without[0]}, although "
            f"{len(unused)} flow files there belong to no pair, such as {unused[0].relative_to(folder)}. The flow of a.png "
            "is a.flo or a_flow.flo in the same folder; cvdl.flow.data.folder lists what else is read."
        )


def _warn(text):
    warnings.warn(text, CourseWarning, stacklevel=5)  # the caller of open_pairs


def _is_flow(path):
    stem = _folded(path.stem)
    return stem == "flow10" or stem.endswith("_flow")


def _composed(name):
    """A name in which each accented letter is one character: Macs write two."""
    return unicodedata.normalize("NFC", name)


def _folded(name):
    """A name for comparison, in which case and the encoding of accents do not matter."""
    return _composed(name).casefold()


def _natural(path):
    """A key that sorts frame2 before frame10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", _composed(path.name)))]
