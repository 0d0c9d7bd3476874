"""One pair of frames with what is known of its motion, read from files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cvdl.data.pictures import read_rgb
from cvdl.errors import DataNotFound, InvalidInput
from cvdl.flow.io import read_flow


class Sample(NamedTuple):
    """A pair of frames.  Flow is in pixels, x to the right, y down, 0 where it is unknown."""

    name: str  # unique in its set
    image1: torch.Tensor  # (3, H, W) float in [0, 1]; a grey picture has three equal channels
    image2: torch.Tensor  # (3, H, W)
    flow: torch.Tensor | None  # (2, H, W) float32, from frame 1 to frame 2; None: no truth
    valid: torch.Tensor | None  # (H, W) bool: flow is known; None where flow is
    occlusion: torch.Tensor | None  # (H, W) bool: the point is hidden or outside in frame 2; None: not known


class Files(NamedTuple):
    """Where the parts of a pair lie."""

    name: str
    image1: Path
    image2: Path
    flow: Path | None = None
    invalid: Path | None = None  # a picture, not black where the flow must not be used (Sintel)
    occluded: Path | None = None  # a picture, not black where a point is hidden (Sintel)
    visible: Path | None = None  # a second flow, known only where the point stays in view (KITTI)


def read_sample(files):
    """Files -> Sample.  Raises CourseError, with the file's name, for what is missing or damaged or differs in size."""
    image1, image2 = read_image(files.image1), read_image(files.image2)
    own = files.flow is None  # pictures without a flow are not those of a set that could be fetched again
    _same_size(image1, image2, files.image1, files.image2, SCALE if own else FETCH)
    if own:
        return Sample(files.name, image1, image2, None, None, None)
    flow, valid = _read_flow(files.flow)
    _same_size(image1, flow, files.image1, files.flow)
    occlusion = None
    if files.invalid:
        valid = valid & ~_read_mask(files.invalid, flow)
        flow = flow.where(valid, 0)
    if files.occluded:
        occlusion = _read_mask(files.occluded, flow)
    if files.visible:
        visible = _read_flow(files.visible)[1]
        _same_size(flow, visible, files.flow, files.visible)
        occlusion = valid & ~visible
    return Sample(files.name, image1, image2, flow, valid, occlusion)


def read_image(path):
    """A picture of any kind that Pillow reads, turned upright -> (3, H, W) float in [0, 1].

    Raises what `cvdl.data.pictures.read_rgb` raises.
    """
    return as_image(read_rgb(path))


def as_image(pixels):
    """(H, W, 3) uint8, or float32 in [0, 1] -> (3, H, W) float32 in [0, 1]"""
    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return image.float() / 255 if pixels.dtype == np.uint8 else image


def _read_flow(path):
    try:
        return read_flow(path)
    except FileNotFoundError:
        raise DataNotFound(f"{path} is not there. Unpack its set again, or leave the pair out.") from None


def _read_mask(path, flow):
    mask = read_image(path)[0] > 0
    _same_size(flow, mask, "the flow", path)
    return mask


FETCH = "They do not belong together, or one of them was cut or scaled: fetch both again."
SCALE = "Scale or crop one of them to the size of the other."


def _same_size(a, b, path_a, path_b, advice=FETCH):
    if a.shape[-2:] != b.shape[-2:]:
        (h, w), (H, W) = a.shape[-2:], b.shape[-2:]
        raise InvalidInput(
            f"{path_a} and {path_b} have to be of one size; they are {w} × {h} and {W} × {H} pixels. {advice}"
        )
