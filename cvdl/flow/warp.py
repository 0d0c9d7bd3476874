"""Backward warping, and what one learns from it: which pixels leave the frame, which are occluded."""

import torch

from cvdl.errors import InvalidInput, NotFinite
from cvdl.flow.shapes import check_flow, check_same


def warp(image2, flow, padding="border"):
    """Bring frame 2 back to frame 1: result(x, y) = image2(x + flow_x(x, y), y + flow_y(x, y)), bilinear.

    image2: (B, C, H, W) float, an image or features; flow: (B, 2, H, W) in pixels -> (B, C, H, W), in
    image2's dtype.  Beyond the frame stands its nearest pixel (padding="border") or zero ("zeros").
    Differentiable in both.  Where a pixel lands is computed in float32 at least: half precision would
    round x = 1000 to whole pixels.

    It is written with floor, gather and weights: `grid_sample` scales coordinates to [-1, 1] and back, and
    so changes the image at zero flow.

    Raises InvalidInput, a ValueError, on other shapes or another padding, and NotFinite, also a ValueError, where the
    flow is NaN or infinite (which is not checked while a network is exported or traced).
    """
    _check(image2, flow, padding)
    H, W = image2.shape[-2:]
    x, y = _target(flow)
    beyond = 0 if padding == "border" else 1  # one pixel outside, all four neighbours are zero or weightless
    x, y = x.clamp(-beyond, W - 1 + beyond), y.clamp(-beyond, H - 1 + beyond)
    left, top = x.detach().floor(), y.detach().floor()
    right_share, lower_share = x - left, y - top  # (B, 1, H, W) in [0, 1)
    result = 0
    for row, share_y in ((top, 1 - lower_share), (top + 1, lower_share)):
        for column, share_x in ((left, 1 - right_share), (left + 1, right_share)):
            weight = share_x * share_y
            if padding == "zeros":
                weight = weight.where(_inside(column, row, H, W), 0)
            result = result + weight * _pixels(image2, column, row)
    return result.to(image2.dtype)


def in_frame(flow):
    """Where p + flow(p) is a point of the frame, edges included.  (B, 2, H, W) -> bool (B, 1, H, W)"""
    check_flow(flow, batch=True)
    return _inside(*_target(flow), *flow.shape[-2:])


def occluded(forward, backward, share=0.01, slack=0.5):
    """Which points of frame 1 cannot be seen in frame 2: there and back again does not lead home.

    forward: flow from frame 1 to 2, backward: from frame 2 to 1, both (B, 2, H, W) in pixels
    -> bool (B, 1, H, W).  With b = backward at the place to which forward leads, a point is occluded if

        |forward + b|² > share (|forward|² + |b|²) + slack        slack in pixels²

    or if forward leaves the frame.  Test and thresholds: Sundaram, Brox, Keutzer, *Dense point trajectories
    by GPU-accelerated large displacement optical flow*, ECCV 2010, eq. 5; the same in UnFlow (Meister, Hur,
    Roth, AAAI 2018), whose code also leaves out what leaves the frame.
    """
    check_same(forward, backward, ("forward", "backward"))
    back = warp(backward, forward)
    forward, back = (f.to(torch.promote_types(f.dtype, torch.float32)) for f in (forward, back))
    gap = (forward + back).square().sum(1, keepdim=True)
    allowed = share * (forward.square() + back.square()).sum(1, keepdim=True) + slack
    return (gap > allowed) | ~in_frame(forward)


def _target(flow):
    """Where each pixel lands: x and y, each (B, 1, H, W), float32 or better."""
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))
    H, W = flow.shape[-2:]
    x = torch.arange(W, dtype=flow.dtype, device=flow.device)
    y = torch.arange(H, dtype=flow.dtype, device=flow.device)[:, None]
    return flow[:, :1] + x, flow[:, 1:] + y


def _inside(x, y, H, W):
    return (x >= 0) & (x <= W - 1) & (y >= 0) & (y <= H - 1)


def _pixels(image, column, row):
    """image at whole-numbered places (B, 1, H, W), which are first moved into the frame."""
    B, C, H, W = image.shape
    index = row.clamp(0, H - 1).long() * W + column.clamp(0, W - 1).long()
    return image.flatten(2).gather(2, index.flatten(2).expand(B, C, H * W)).view(B, C, H, W)


def _check(image2, flow, padding):
    check_flow(flow, batch=True)
    if not isinstance(image2, torch.Tensor) or image2.ndim != 4 or not image2.is_floating_point():
        came = f"{tuple(image2.shape)} {image2.dtype}" if isinstance(image2, torch.Tensor) else type(image2).__name__
        raise InvalidInput(
            f"image2 has to be a float tensor (B, C, H, W); it is {came}. A single image becomes a batch by "
            "image2[None], and bytes become floats by image2.float() / 255."
        )
    if image2.shape[0] != flow.shape[0] or image2.shape[-2:] != flow.shape[-2:]:
        raise InvalidInput(
            f"image2 and flow have to agree in B, H and W; they are {tuple(image2.shape)} and {tuple(flow.shape)}. "
            "Resize one of them; a resized flow also has its values multiplied by the same factor."
        )
    if padding not in ("border", "zeros"):
        raise InvalidInput(f'padding has to be "border" or "zeros", not {padding!r}.')
    # While a network is exported or traced, values are not known, and a graph cannot depend on them.
    unknown = flow.is_meta or torch.compiler.is_exporting() or torch.jit.is_tracing()
    if not unknown and not flow.isfinite().all():
        raise NotFinite(
            f"{(~flow.isfinite()).sum()} values of the flow are NaN or infinite, and so lead nowhere. Set unknown flow "
            "to 0 and keep a mask; if a net gave it, lower the learning rate or clip gradients."
        )
