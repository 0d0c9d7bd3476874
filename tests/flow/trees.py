"""Tiny copies of the published sets in their owners' layouts; each file has contents of its own."""

import zlib

import numpy as np
import torch
from PIL import Image

from cvdl.flow import write_flow

H, W = 6, 9


def dice(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return np.random.default_rng(zlib.crc32(str(path).encode()))


def picture(path, grey=False):
    Image.fromarray(dice(path).integers(0, 256, (H, W) if grey else (H, W, 3), np.uint8)).save(path)
    return path


def mask(path):
    Image.fromarray(np.where(dice(path).random((H, W)) < 0.3, 255, 0).astype(np.uint8)).save(path)
    return path


def flow(path):
    """In steps of 1/64 px; a quarter of it is unknown."""
    numbers = dice(path)
    write_flow(path, numbers.integers(-640, 640, (2, H, W)) / 64, torch.from_numpy(numbers.random((H, W)) < 0.75))
    return path


# Each makes a set below `root`; train, test: rows (name, image1, image2, flow) that a reader has to find.


def flying_chairs(root):
    data, rows = root / "FlyingChairs" / "data", []
    for i in range(1, 6):
        images = [picture(data / f"{i:05}_img{k}.ppm") for k in (1, 2)]
        rows.append((f"{i:05}", *images, flow(data / f"{i:05}_flow.flo")))
    (data.parent / "FlyingChairs_train_val.txt").write_text("1\n2\n1\n2\n1\n")
    return {"train": rows[::2], "val": rows[1::2]}


def flying_things(root):
    found = {}
    for kind in ("clean", "final"):
        for split, scenes in (("train", ("A/0000", "A/0001", "C/0007")), ("test", ("B/0002",))):
            rows = found[kind, split] = []
            for scene in scenes:
                top = root / "FlyingThings3D" / f"frames_{kind}pass" / split.upper() / scene
                truth = root / "FlyingThings3D" / "optical_flow" / split.upper() / scene
                images, flows = [], {}
                for n in range(6, 9):
                    picture(top / "right" / f"{n:04}.png")
                    images.append(picture(top / "left" / f"{n:04}.png"))
                    for way in ("Future", "Past"):
                        for side in ("left", "right"):
                            path = (
                                truth
                                / f"into_{way.lower()}"
                                / side
                                / f"OpticalFlowInto{way}_{n:04}_{side[0].upper()}.pfm"
                            )
                            flows[way, side, n] = flow(path)
                for n in (6, 7):
                    there, back = images[n - 6 : n - 4], images[n - 6 : n - 4][::-1]
                    rows.append((f"{scene}/{n:04}_to_{n + 1:04}", *there, flows["Future", "left", n]))
                    rows.append((f"{scene}/{n + 1:04}_to_{n:04}", *back, flows["Past", "left", n + 1]))
    return found


def chairs_sdhom(root):
    def row(split, i):
        top = root / "ChairsSDHom" / "data" / split
        images = [picture(top / t / f"{i:05}.png") for t in ("t0", "t1")]
        return f"{i:05}", *images, flow(top / "flow" / f"{i:05}.pfm")

    return {"train": [row("train", i) for i in (0, 1, 5)], "test": [row("test", i) for i in (0, 1)]}


def sintel(root):
    found = {}
    top = root / "Sintel"
    for kind in ("clean", "final"):
        for split, folder, scenes in (("train", "training", ("bamboo_2", "alley_1")), ("test", "test", ("cave_3",))):
            rows = found[kind, split] = []
            for scene in scenes:
                images = [picture(top / folder / kind / scene / f"frame_{n:04}.png") for n in (1, 2, 3)]
                for n in (1, 2):
                    name, truth = f"{scene}/frame_{n:04}", None
                    if split == "train":
                        truth = flow(top / "training/flow" / f"{name}.flo")
                        for part in ("invalid", "occlusions"):
                            mask(top / "training" / part / f"{name}.png")
                    rows.append((name, *images[n - 1 : n + 1], truth))
    return found


def middlebury(root):
    top = root / "Middlebury"
    scenes = {
        name: [picture(top / "other-data" / name / f"frame{n:02}.png", grey=name == "Venus") for n in frames]
        for name, frames in (("RubberWhale", (9, 10, 11, 12)), ("Venus", (10, 11)), ("Walking", (10, 11)))
    }
    truth = {name: flow(top / "other-gt-flow" / name / "flow10.flo") for name in ("RubberWhale", "Venus")}
    army = [picture(top / "eval-data" / "Army" / f"frame{n:02}.png") for n in (10, 11)]
    rows = [(name, *(p for p in scenes[name] if p.stem in ("frame10", "frame11")), truth[name]) for name in truth]
    return {"train": rows, "test": [("Army", *army, None)]}


def kitti(folder, pictures):
    def make(root):
        found = {}
        for split in ("train", "test"):
            top = root / folder / f"{split}ing"
            rows = found[split] = []
            for i in range(3):
                images = [picture(top / pictures / f"{i:06}_{n}.png") for n in (10, 11)]
                truth = flow(top / "flow_occ" / f"{i:06}_10.png") if split == "train" else None
                if truth:
                    flow(top / "flow_noc" / truth.name)
                rows.append((f"{i:06}_10", *images, truth))
        return found

    return make


def hd1k(root):
    top, rows = root / "hd1k", []
    for scene, count in ((0, 3), (1, 1), (35, 2)):
        names = [f"{scene:06}_{n:04}.png" for n in range(10, 10 + count)]
        images = [picture(top / "hd1k_input/image_2" / name) for name in names]
        flows = [flow(top / "hd1k_flow_gt/flow_occ" / name) for name in names]
        rows += [(images[k].stem, images[k], images[k + 1], flows[k]) for k in range(count - 1)]
    test = [picture(top / "hd1k_challenge/image_2" / f"000000_00{n}.png") for n in (10, 11)]
    return {"train": rows, "test": [("000000_0010", *test, None)]}


def _kind(make, kind):
    return lambda root: {split: rows for (which, split), rows in make(root).items() if which == kind}


TREES = {
    "flyingchairs": flying_chairs,
    "flyingthings3d-clean": _kind(flying_things, "clean"),
    "flyingthings3d-final": _kind(flying_things, "final"),
    "chairssdhom": chairs_sdhom,
    "sintel-clean": _kind(sintel, "clean"),
    "sintel-final": _kind(sintel, "final"),
    "middlebury": middlebury,
    "kitti2012": kitti("KittiFlow2012", "colored_0"),
    "kitti2015": kitti("KittiFlow", "image_2"),
    "hd1k": hd1k,
}
