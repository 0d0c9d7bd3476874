"""Which files of a published set make a pair.

    files = set_files("sintel-clean", "train")   # a list of Files; nothing is read yet

Where torchvision knows a set, its lists are used.  They match pictures and flows by their place in the list, so that in
a half unpacked set a picture silently gets the flow of another one.  Here every row is checked against the names.
"""

import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torchvision.datasets as tv

from cvdl.errors import CourseError, DataNotFound, InvalidInput
from cvdl.flow.data.catalogue import SETS, find, incomplete, real_folder
from cvdl.flow.data.folder import folder_files
from cvdl.flow.data.sample import Files


class Incomplete(Exception):
    """What is missing, in a sentence."""


def set_files(name, split=None, root=None):
    """The Files of a set's split, in the order of their names.

    Raises CourseError: what is missing or does not fit together, where to get it, and how large it is.
    """
    entry = SETS[name]
    split = split or next(iter(entry.needs))
    if split not in entry.needs:
        raise InvalidInput(f"{name} has no split {split!r}; it has {' and '.join(entry.needs)}.")
    root = find(entry, split, root)
    try:
        files = READERS[name](root, split)
    except Incomplete as what:
        raise incomplete(entry, root, str(what)) from None
    except (CourseError, OSError, IndexError, ValueError) as error:  # torchvision, on lists that do not fit together
        raise incomplete(entry, root, f"Its files do not fit together ({error}).") from None
    if not files:
        raise incomplete(entry, root, f"There are no pairs in {' and '.join(entry.needs[split])}.")
    return sorted(files, key=lambda each: each.name)


def real_files():
    """The Files of the real samples below CVDL_REAL/flow: FlyingChairs, Middlebury and Sintel, clean."""
    root = real_folder()
    if not root:
        raise DataNotFound(
            "There are no real samples here: they may not be passed on. Set CVDL_REAL to the folder that holds them, or "
            "use a set of your own; `cvdl data` lists them."
        )
    files = []
    if (root / "FlyingChairs").is_dir():
        files += [each._replace(name=f"FlyingChairs/{each.name}") for each in folder_files(root / "FlyingChairs")]
    if (root / "Middlebury").is_dir():
        files += folder_files(root / "Middlebury")
    if (root / "Sintel").is_dir():
        files += set_files("sintel-clean", "train", root)
    if not files:
        raise DataNotFound(f"{root} holds none of FlyingChairs, Middlebury and Sintel. Set CVDL_REAL to their folder.")
    return files


# Readers: (root, split) -> list of Files.


def flying_chairs(root, split):
    top = root / "FlyingChairs"

    def image_of(flow):
        return flow.with_name(flow.name.replace("_flow.flo", "_img1.ppm"))

    flows = _whole((top / "data").glob("*.flo"), image_of)
    if not flows:
        return []
    lines = (top / "FlyingChairs_train_val.txt").read_text().split()
    if len(lines) != len(flows):
        raise Incomplete(
            f"FlyingChairs_train_val.txt sorts {len(lines):,} pairs, and {len(flows):,} are there. "
            f"To read these without a split, name the folder: {top / 'data'}."
        )
    return _rows(tv.FlyingChairs(root, split), image_of, lambda image: image.stem.removesuffix("_img1"))


def flying_things(kind):
    def reader(root, split):
        top = root / "FlyingThings3D"

        def image_of(flow):  # …/TRAIN/A/0000/into_future/left/OpticalFlowIntoFuture_0006_L.pfm
            *_, part, letter, scene, _, camera, name = flow.parts
            return top / f"frames_{kind}pass" / part / letter / scene / camera / f"{name.split('_')[1]}.png"

        _whole((top / "optical_flow" / split.upper()).glob("*/*/into_*/left/*.pfm"), image_of, second=False)
        rows = _rows(tv.FlyingThings3D(root, split, kind), image_of, lambda image: "/".join(image.parts[-4:-2]))
        return [each._replace(name=f"{each.name}/{each.image1.stem}_to_{each.image2.stem}") for each in rows]

    return reader


def chairs_sdhom(root, split):
    top = root / "ChairsSDHom" / "data" / split

    def image_of(flow):
        return top / "t0" / f"{flow.stem}.png"

    flows = _whole(sorted((top / "flow").glob("*.pfm")), image_of, second=False)
    images = [(path, _there(top / "t1" / path.name)) for path in sorted((top / "t0").glob("*.png"))]
    return _rows(Lists(images, flows), image_of, lambda image: image.stem, numbered=False)


def sintel(kind):
    def reader(root, split):
        top = root / "Sintel" / "training"

        def at(part):
            return lambda path: top / part / path.parent.name / f"{path.stem}.png"

        if split == "train":
            _whole((top / "flow").glob("*/*.flo"), at(kind))
        rows = _rows(
            tv.Sintel(root, split, kind),
            split == "train" and at(kind),
            lambda image: f"{image.parent.name}/{image.stem}",
        )
        return _with(
            _with(rows, "invalid", top / "invalid", at("invalid")), "occluded", top / "occlusions", at("occlusions")
        )

    return reader


def middlebury(root, split):
    top = root / "Middlebury"

    def image_of(flow):
        return top / "other-data" / flow.parent.name / "frame10.png"

    flows, images = [], sorted((top / "eval-data").glob("*/frame10.png"))
    if split == "train":  # four scenes of other-data have no truth
        flows = _whole(sorted((top / "other-gt-flow").glob("*/flow10.flo")), image_of)
        images = [image_of(flow) for flow in flows]
    lists = Lists([(path, _there(neighbour(path))) for path in images], flows)
    return _rows(lists, split == "train" and image_of, lambda image: image.parent.name)


def kitti2012(root, split):
    top = root / "KittiFlow2012" / f"{split}ing"
    images = [(path, _there(neighbour(path))) for path in sorted((top / "colored_0").glob("*_10.png"))]
    return _kitti(top, top / "colored_0", split, Lists(images, sorted((top / "flow_occ").glob("*_10.png"))))


def kitti2015(root, split):
    top = root / "KittiFlow" / f"{split}ing"
    return _kitti(top, top / "image_2", split, tv.KittiFlow(root, split))


def _kitti(top, pictures, split, lists):
    def image_of(flow):
        return pictures / flow.name

    _whole((top / "flow_occ").glob("*_10.png"), image_of)
    rows = _rows(lists, split == "train" and image_of, lambda image: image.stem)
    return _with(rows, "visible", top / "flow_noc", lambda image: top / "flow_noc" / image.name)


def hd1k(root, split):
    pictures, truth = (root / "hd1k" / part for part in ("hd1k_input/image_2", "hd1k_flow_gt/flow_occ"))

    def image_of(flow):
        return pictures / flow.name

    if split == "train":
        _whole(truth.glob("*.png"), image_of, second=False)
    return _rows(tv.HD1K(root, split), split == "train" and image_of, lambda image: image.stem)


READERS = {
    "flyingchairs": flying_chairs,
    "flyingthings3d-clean": flying_things("clean"),
    "flyingthings3d-final": flying_things("final"),
    "chairssdhom": chairs_sdhom,
    "sintel-clean": sintel("clean"),
    "sintel-final": sintel("final"),
    "middlebury": middlebury,
    "kitti2012": kitti2012,
    "kitti2015": kitti2015,
    "hd1k": hd1k,
}


# Checks.


@dataclass
class Lists:
    """The two lists that torchvision's flow sets have, for a set that it does not know."""

    _image_list: list
    _flow_list: list


def neighbour(path, step=1):
    """The path with the last number of its name greater by `step`: frame_0001.png -> frame_0002.png"""
    match = re.search(r"\d+$", path.stem)
    if not match:
        return path
    return path.with_stem(f"{path.stem[: match.start()]}{int(match[0]) + step:0{len(match[0])}}")


def _there(path):
    if not path.is_file():
        raise Incomplete(f"{path} is missing.")
    return path


def _whole(flows, image_of, second=True):
    """The flows, each of which has its pictures.  second=False: the last flow of a scene has but one."""
    flows = list(flows)
    for flow in flows:
        image = _there(image_of(flow))
        if second:
            _there(neighbour(image))
    return flows


def _rows(lists, image_of, name_of, numbered=True):
    """torchvision's lists -> list of Files.

    image_of(flow): where the flow's first picture lies; false for a split without truth.
    numbered: the second picture has the next number, or the one before.
    """
    files = []
    flows = lists._flow_list if image_of else [None] * len(lists._image_list)
    for images, flow in zip_longest(lists._image_list, flows):
        if not images:
            raise Incomplete(f"There are no pictures for {flow}.")
        image1, image2 = map(Path, images)
        flow = flow and Path(flow)
        if image_of and (not flow or image_of(flow) != image1):
            raise Incomplete(f"There is no flow for {image1}.")
        if numbered and image2 not in (neighbour(image1), neighbour(image1, -1)):
            raise Incomplete(f"{neighbour(image1)} is missing.")
        files.append(Files(name_of(image1), image1, image2, flow))
    return files


def _with(rows, field, folder, at):
    """Rows with the path of a mask.  Its owner may pack masks apart, so a whole folder may be missing, but no file."""
    if not folder.is_dir() or not all(row.flow for row in rows):
        return rows
    return [row._replace(**{field: _there(at(row.image1))}) for row in rows]
