"""How far a flow is from the truth.

All take flow and truth (…, 2, H, W) in pixels and `valid`, bool (…, 1, H, W) or (…, H, W).  The mean goes
over all valid pixels of the batch together.  Pixels outside the mask are never read: NaN there does no
harm, to the value or to its gradient.  All raise ValueError on other shapes and on an empty mask.
"""

import math

import torch

from cvdl.errors import InvalidInput
from cvdl.flow.shapes import check_same, mask_of

SPEEDS = {"s0-10": (0, 10), "s10-40": (10, 40), "s40+": (40, math.inf)}  # px, MPI-Sintel's bands


def epe(flow, truth, valid=None, reduction="mean"):
    """End-point error |flow - truth| in pixels.

    -> scalar, or with reduction="none" the map (…, 1, H, W), 0 outside the mask.
    """
    flow, truth, valid = _known(flow, truth, valid)
    return _reduce(_length(flow - truth), valid, reduction)


def angular_error(flow, truth, valid=None, reduction="mean"):
    """Angle in degrees between (u, v, 1) of flow and of truth: small flow counts less than its direction says.

    -> scalar, or with reduction="none" the map (…, 1, H, W), 0 outside the mask.  Source: Barron, Fleet,
    Beauchemin, *Performance of optical flow techniques*, IJCV 1994.  It is computed from sine and cosine,
    as arccos has lost half of the digits near 0°.
    """
    flow, truth, valid = _known(flow, truth, valid)
    (u, v), (a, b) = flow.split(1, dim=-3), truth.split(1, dim=-3)
    sine = _length(torch.cat([v - b, a - u, u * b - v * a], dim=-3))  # |(u, v, 1) × (a, b, 1)|
    cosine = u * a + v * b + 1
    return _reduce(torch.atan2(sine, cosine).rad2deg(), valid, reduction)


def fl_all(flow, truth, valid=None):
    """Share of outliers in percent: end-point error above 3 px *and* above 5 % of the true length.

    -> scalar in [0, 100].  Source: KITTI 2015, Menze and Geiger, *Object scene flow*, CVPR 2015.
    """
    flow, truth, valid = _known(flow, truth, valid)
    error = _length(flow - truth)
    return _reduce(100.0 * ((error > 3) & (error > 0.05 * _length(truth))), valid, "mean")


def epe_by_speed(flow, truth, valid=None):
    """End-point error where the true motion is slow, middling or fast, as the MPI-Sintel benchmark tells it.

    -> {"s0-10": px, "s10-40": px, "s40+": px} as floats; NaN where no valid pixel has such a speed.  A
    band holds its lower bound, not its upper one.
    """
    flow, truth, valid = _known(flow, truth, valid)
    error, speed = _length(flow - truth), _length(truth)
    return {name: error[valid & (speed >= low) & (speed < high)].mean().item() for name, (low, high) in SPEEDS.items()}


def _known(flow, truth, valid):
    """Both flows in float32 or better and 0 outside the mask, which keeps NaN there out of all gradients."""
    check_same(flow, truth)
    valid = mask_of(valid, flow)
    if not valid.any():
        raise InvalidInput(
            f"No pixel is valid in a mask {tuple(valid.shape)}, so there is nothing to measure. "
            "Leave this sample out, or look at how the mask was made."
        )
    dtype = torch.promote_types(torch.promote_types(flow.dtype, truth.dtype), torch.float32)
    return flow.to(dtype).masked_fill(~valid, 0), truth.to(dtype).masked_fill(~valid, 0), valid


def _length(vectors):
    """(…, C, H, W) -> (…, 1, H, W).  Its gradient at the zero vector is zero."""
    return torch.linalg.vector_norm(vectors, dim=-3, keepdim=True)


def _reduce(errors, valid, reduction):
    if reduction not in ("mean", "none"):
        raise InvalidInput(f'reduction has to be "mean" or "none", not {reduction!r}.')
    return errors[valid].mean() if reduction == "mean" else errors
