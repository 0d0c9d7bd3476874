"""Where the tests find real pairs, which are no part of the repository."""

import os
from pathlib import Path

import pytest
import torch

from cvdl.settings import ROOT

REAL = Path(os.environ.get("CVDL_REAL", ROOT.parent / "shared" / "real")) / "flow"
real = pytest.mark.skipif(
    os.environ.get("CVDL_REAL") == "" or not REAL.is_dir(), reason="no real pairs here: set CVDL_REAL to their folder"
)
PAIRS = {
    "RubberWhale": ("Middlebury/RubberWhale/frame10.png", "Middlebury/RubberWhale/frame11.png", "Middlebury/RubberWhale/flow10.flo"),
    "Grove2": ("Middlebury/Grove2/frame10.png", "Middlebury/Grove2/frame11.png", "Middlebury/Grove2/flow10.flo"),
    "Venus": ("Middlebury/Venus/frame10.png", "Middlebury/Venus/frame11.png", "Middlebury/Venus/flow10.flo"),
    "alley_1": (
        "Sintel/training/clean/alley_1/frame_0001.png",
        "Sintel/training/clean/alley_1/frame_0002.png",
        "Sintel/training/flow/alley_1/frame_0001.flo",
    ),
    "00001": tuple(f"FlyingChairs/00001_{end}" for end in ("img1.ppm", "img2.ppm", "flow.flo")),
    "00003": tuple(f"FlyingChairs/00003_{end}" for end in ("img1.ppm", "img2.ppm", "flow.flo")),
}  # fmt: skip


def pair(name):
    """image1, image2 (1, 3, H, W), flow (2, H, W), valid (H, W); from the real samples."""
    import numpy as np
    from PIL import Image

    from cvdl.flow import read_flow

    first, second, flow = (REAL / path for path in PAIRS[name])
    images = [
        torch.from_numpy(np.array(Image.open(p).convert("RGB"))).permute(2, 0, 1)[None] / 255 for p in (first, second)
    ]
    return *images, *read_flow(flow)


def smooth(*shape, size=2.0, seed=0, dtype=torch.float32):
    """A smooth random field (…, H, W) of about `size`."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(*shape[:-2], 4, 4, generator=generator).flatten(0, -3)[None]
    return size * torch.nn.functional.interpolate(coarse, shape[-2:], mode="bicubic")[0].view(shape).to(dtype)
