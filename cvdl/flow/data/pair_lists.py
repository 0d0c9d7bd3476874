"""Which files of a published set make a pair.

    files = set_files("sintel-clean", "train")   # a list of Files; nothing is read yet

torchvision's lists of these sets match pictures and flows by their place in the list, so that in a half unpacked set a
picture silently gets the flow of another one, and they find nothing below a folder with brackets in its name.  Here
every row is made from the names.
"""

import re
from itertools import pairwise

from cvdl.data.registry import SETS, find, incomplete, real_folder
from cvdl.errors import CourseError, DataNotFound, InvalidInput
from cvdl.files import read_text
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
    except CourseError as error:
        raise incomplete(entry, root, f"Its list cannot be read ({error}).") from None
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

    flows = _whole(top / "data", "*_flow.flo", image_of)
    if not flows:
        return []
    lines = read_text(top / "FlyingChairs_train_val.txt").splitlines()
    kinds = [kind for line in lines for kind in line.partition("#")[0].split()]
    if len(kinds) != len(flows):
        raise Incomplete(
            f"FlyingChairs_train_val.txt sorts {len(kinds):,} pairs, and {len(flows):,} are there. "
            f"To read these without a split, name the folder: {top / 'data'}."
        )
    if set(kinds) - {"1", "2"}:
        raise Incomplete(f"FlyingChairs_train_val.txt holds {min(set(kinds) - {'1', '2'})!r}; each line is 1 or 2.")
    wanted = {"train": "1", "val": "2"}[split]
    chosen = [(image_of(flow), flow) for flow, kind in zip(flows, kinds, strict=True) if kind == wanted]
    return [_row(image.stem.removesuffix("_img1"), image, neighbour(image), flow) for image, flow in chosen]


def flying_things(kind):
    def reader(root, split):
        top, part = root / "FlyingThings3D", split.upper()

        def image_of(flow):  # …/TRAIN/A/0000/into_future/left/OpticalFlowIntoFuture_0006_L.pfm
            *_, part, letter, scene, _, camera, name = flow.parts
            return top / f"frames_{kind}pass" / part / letter / scene / camera / f"{name.split('_')[1]}.png"

        _whole(top / "optical_flow" / part, "*/*/into_*/left/*.pfm", image_of, second=False)
        files = []
        for scene in _there_are(top / f"frames_{kind}pass" / part, "*/*"):
            truth = top / "optical_flow" / part / scene.parent.name / scene.name
            for way, step in (("Future", 1), ("Past", -1)):
                for a, b in pairwise(_there_are(scene / "left", "*.png")[::step]):
                    flow = truth / f"into_{way.lower()}" / "left" / f"OpticalFlowInto{way}_{a.stem}_L.pfm"
                    name = f"{scene.parent.name}/{scene.name}/{a.stem}_to_{b.stem}"
                    files.append(_row(name, a, b, flow, step))
        return files

    return reader


def chairs_sdhom(root, split):
    top = root / "ChairsSDHom" / "data" / split
    _whole(top / "flow", "*.pfm", lambda flow: top / "t0" / f"{flow.stem}.png", second=False)
    return [
        _row(path.stem, path, _there(top / "t1" / path.name), top / "flow" / f"{path.stem}.pfm", step=None)
        for path in _there_are(top / "t0", "*.png")
    ]


def sintel(kind):
    def reader(root, split):
        top = root / "Sintel" / ("training" if split == "train" else "test")

        def at(part, ending=".png"):
            return lambda path: top / part / path.parent.name / f"{path.stem}{ending}"

        if split == "train":
            _whole(top / "flow", "*/*.flo", at(kind))
        rows = [
            _row(f"{a.parent.name}/{a.stem}", a, b, at("flow", ".flo")(a) if split == "train" else None)
            for scene in _there_are(top / kind, "*")
            for a, b in pairwise(_there_are(scene, "*.png"))
        ]
        return _with(
            _with(rows, "invalid", top / "invalid", at("invalid")), "occluded", top / "occlusions", at("occlusions")
        )

    return reader


def middlebury(root, split):
    top = root / "Middlebury"
    if split == "test":
        images = _there_are(top / "eval-data", "*/frame10.png")
        return [_row(image.parent.name, image, neighbour(image), None) for image in images]
    # Four scenes of other-data have no truth.
    flows = _whole(
        top / "other-gt-flow", "*/flow10.flo", lambda flow: top / "other-data" / flow.parent.name / "frame10.png"
    )
    images = [(top / "other-data" / flow.parent.name / "frame10.png", flow) for flow in flows]
    return [_row(image.parent.name, image, neighbour(image), flow) for image, flow in images]


def kitti(folder, pictures):
    def reader(root, split):
        top = root / folder / f"{split}ing"
        _whole(top / "flow_occ", "*_10.png", lambda flow: top / pictures / flow.name)
        rows = [
            _row(image.stem, image, neighbour(image), top / "flow_occ" / image.name if split == "train" else None)
            for image in _there_are(top / pictures, "*_10.png")
        ]
        return _with(rows, "visible", top / "flow_noc", lambda image: top / "flow_noc" / image.name)

    return reader


def hd1k(root, split):
    if split == "test":
        images = _there_are(root / "hd1k/hd1k_challenge/image_2", "*10.png")
        return [_row(image.stem, image, neighbour(image), None) for image in images]
    pictures, truth = (root / "hd1k" / part for part in ("hd1k_input/image_2", "hd1k_flow_gt/flow_occ"))
    _whole(truth, "*.png", lambda flow: pictures / flow.name, second=False)
    return [  # the frames of 36 scenes are in one folder
        _row(a.stem, a, b, truth / a.name)
        for a, b in pairwise(_there_are(pictures, "*.png"))
        if a.stem.partition("_")[0] == b.stem.partition("_")[0]
    ]


READERS = {
    "flyingchairs": flying_chairs,
    "flyingthings3d-clean": flying_things("clean"),
    "flyingthings3d-final": flying_things("final"),
    "chairssdhom": chairs_sdhom,
    "sintel-clean": sintel("clean"),
    "sintel-final": sintel("final"),
    "middlebury": middlebury,
    "kitti2012": kitti("KittiFlow2012", "colored_0"),
    "kitti2015": kitti("KittiFlow", "image_2"),
    "hd1k": hd1k,
}


# Checks.


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


def _there_are(folder, pattern):
    """The paths below a folder that match, sorted.  Its own path may hold what a pattern would take for one: [2024]."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))  # as Macs' ._0001.png


def _whole(folder, pattern, image_of, second=True):
    """The flows below a folder, each of which has its pictures.  second=False: the last flow of a scene has but one."""
    flows = _there_are(folder, pattern)
    for flow in flows:
        image = _there(image_of(flow))
        if second:
            _there(neighbour(image))
    return flows


def _row(name, image1, image2, flow, step=1):
    """Files, of which all parts are there.  step: from the number of the first to that of the second; None: the same."""
    if step and image2 != neighbour(image1, step):
        raise Incomplete(f"{neighbour(image1, step)} is missing.")
    if flow and not flow.is_file():
        raise Incomplete(f"There is no flow for {image1}.")
    return Files(name, _there(image1), _there(image2), flow)


def _with(rows, field, folder, at):
    """Rows with the path of a mask.  Its owner may pack masks apart, so a whole folder may be missing, but no file."""
    if not folder.is_dir() or not all(row.flow for row in rows):
        return rows
    return [row._replace(**{field: _there(at(row.image1))}) for row in rows]
