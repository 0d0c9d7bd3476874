"""A flow in words: for alternative texts, and for those who see no picture."""

import math

from cvdl.errors import InvalidInput
from cvdl.flow.shapes import check_flow, known_in

# Clockwise from the right, as y points down.
DIRECTIONS = ("to the right", "down and to the right", "down", "down and to the left")
DIRECTIONS += ("to the left", "up and to the left", "up", "up and to the right")


def describe(flow, valid=None):
    """A flow in words, from its numbers: size, mean and greatest displacement, main direction."""
    flow, known = flow_and_mask(flow, valid)
    if not known.any():
        return f"Flow of {flow.shape[2]} × {flow.shape[1]} pixels: all unknown."
    vectors = flow[:, known]
    lengths = vectors.norm(dim=0)
    mean = vectors.mean(1)
    # Vectors that agree have a mean as long as they are; those of a rotation cancel.
    main = f"mainly {direction_of(mean)}" if mean.norm() > 0.5 * lengths.mean() else "in no main direction"
    text = f"mean displacement {lengths.mean():.1f} px, greatest {lengths.max():.1f} px, {main}"
    if lengths.max() < 0.05:
        text = "no motion"
    unknown = 1 - known.float().mean().item()
    text += f"; {100 * unknown:.0f} % of the pixels are unknown." if unknown else "."
    return f"Flow of {flow.shape[2]} × {flow.shape[1]} pixels: {text}"


def flow_and_mask(flow, valid=None):
    """-> (2, H, W) float on the CPU with 0 at unknown pixels, and the mask (H, W)"""
    check_flow(flow)
    known = known_in(flow, valid).cpu()
    flow = flow.detach().cpu().float().masked_fill(~known, 0)
    return single(flow, 2, "flow"), single(known, 1, "mask")[0]


def direction_of(vector):
    return DIRECTIONS[round(math.atan2(vector[1].item(), vector[0].item()) / (math.pi / 4)) % 8]


def single(picture, channels, name):
    *lead, C, H, W = picture.shape if picture.ndim > 2 else (0, *picture.shape)
    if channels != C or math.prod(lead) != 1:
        raise InvalidInput(
            f"A figure shows one {name}, ({channels}, H, W) or (1, {channels}, H, W); this is {tuple(picture.shape)}. "
            "Take one of the batch, e.g. x[0]."
        )
    return picture.reshape(C, H, W)
