"""Losses that see two images and no flow.  Each takes (net, image1, image2) and gives (loss, flow at full size).

`likelihood_loss` is LikeNet's.  `census_loss` is what most others do, to compare with: frame 2, warped back by the flow,
should look like frame 1.  It is smooth in the flow but sees a pixel's surroundings only, where LikeNet's asks about
every candidate; and it serves every network of this course.
"""

import torch
import torch.nn.functional as F

from cvdl.errors import InvalidInput
from cvdl.flow import likelihood
from cvdl.flow.shapes import check_flow
from cvdl.flow.warp import occluded, warp


def likelihood_loss(net, image1, image2, occlusion=False, smoothness=0.0):
    """LikeNet's C of two images (B, 3, H, W), a scalar; and the finest flow (B, 2, H, W) in pixels.

    occlusion: leave out what cannot be seen in frame 2, by flow forward and backward.  smoothness: weight of
    `edge_aware`, added at each scale.  Neither is known of the paper.
    """
    if torch.is_grad_enabled():
        net.tick()
    scales = net.scales(image1, image2)
    flows = [flow for flow, _, _ in scales]
    loss = likelihood.cost(scales, visible(net, image1, image2, flows) if occlusion else None)
    if smoothness:
        loss = loss + smoothness * sum(edge_aware(flow, image) for flow, image in at_scales(flows, image1))
    return loss, flows[0]


def soft_likelihood_loss(net, image1, image2, temperature=0.02, occlusion=True, smoothness=0.02):
    """A variant of LikeNet's loss that keeps uncertainty: cross-entropy of softmax(-D / T) and P, at each scale.

    C is linear in P, so its minimum puts all probability on the candidate of least D, however little D prefers it.  The
    minimum of the cross-entropy is softmax(-D / T) itself: where D cannot decide, as along an edge, P stays spread.

    temperature: T, in units of D.  occlusion, smoothness: as in `likelihood_loss`, here from the start.
    """
    if torch.is_grad_enabled():
        net.tick()
    scales = net.scales(image1, image2)
    flows = [flow for flow, _, _ in scales]
    seen = visible(net, image1, image2, flows) if occlusion else [None] * len(scales)
    loss = 0
    for (_, P, D), mask in zip(scales, seen, strict=True):
        allowed = P.detach() > 0
        loss = loss + likelihood.cross_entropy(P, likelihood.soft_target(D, allowed, temperature), mask)
    if smoothness:
        loss = loss + smoothness * sum(edge_aware(flow, image) for flow, image in at_scales(flows, image1))
    return loss, flows[0]


def census_loss(net, image1, image2, occlusion=True, smoothness=0.1):
    """Census distance of frame 1 and the warped frame 2, mean over the visible pixels, and smoothness: at each scale.

    Its scales count alike.  -> loss, and the finest flow at full size.
    """
    flows = net.flows(image1, image2)
    seen = visible(net, image1, image2, flows) if occlusion else [None] * len(flows)
    loss = 0
    for (flow, first), (_, second), mask in zip(at_scales(flows, image1), at_scales(flows, image2), seen, strict=True):
        loss = loss + census(first, warp(second, flow), mask) + smoothness * edge_aware(flow, first)
    finest = F.interpolate(flows[0], image1.shape[-2:], mode="bilinear", align_corners=False)
    return loss, finest


def at_scales(flows, image):
    """Each flow in pixels of its own scale, and the image at that scale.  Flows are in full-size pixels."""
    for flow in flows:
        step = image.shape[-1] // flow.shape[-1]
        yield flow / step, F.avg_pool2d(image, step)


@torch.no_grad()
def visible(net, image1, image2, flows):
    """Masks, bool (B, 1, h, w), of what can be seen in frame 2, at each scale: there and back again leads home."""
    backward = net.flows(image2, image1)
    pairs = zip(at_scales(flows, image1), at_scales(backward, image1), strict=True)
    return [~occluded(there, back) for (there, _), (back, _) in pairs]


def census(image1, image2, mask=None, radius=1):
    """How differently two images are *ordered* around each pixel: differences to the neighbours, made soft signs.

    Light that changes slowly over the picture cancels.  image1, image2: (B, 3, h, w); mask: bool (B, 1, h, w), pixels
    that count; those without all neighbours never do -> scalar, 0 if none counts.

    Source: Meister, Hur, Roth, *UnFlow*, AAAI 2018, and its code: 0.81 in the soft sign, 0.1 in the soft Hamming
    distance, which is summed over the neighbours, then (x² + 0.001²)^0.45.
    """
    signs = []
    for image in (image1, image2):
        value = 255 * likelihood.grey(image.float())
        change = likelihood.windows(value, radius).flatten(1, 3) - value
        signs.append(change / (0.81 + change.square()).sqrt())
    gap = (signs[0] - signs[1]).square()
    hamming = (gap / (0.1 + gap)).sum(1, keepdim=True)
    robust = (hamming.square() + 1e-6) ** 0.45
    counts = torch.zeros_like(robust, dtype=torch.bool)
    counts[..., radius : counts.shape[-2] - radius, radius : counts.shape[-1] - radius] = True
    if mask is not None:
        counts = counts & mask
    return robust.where(counts, 0).sum() / counts.sum().clamp(min=1)


def edge_aware(flow, image, edge=10.0):
    """How much the flow changes from pixel to pixel, less where the image does, too: mean of |∂ flow| exp(-edge |∂ I|).

    flow: (B, 2, h, w) in its own pixels, image: (B, 3, h, w) in [0, 1] -> scalar.
    """
    check_flow(flow, batch=True)
    if flow.shape[-2:] != image.shape[-2:]:
        raise InvalidInput(
            f"flow and image have to be of one size; they are {tuple(flow.shape)} and {tuple(image.shape)}. Bring the "
            "image to the flow's size: torch.nn.functional.avg_pool2d."
        )
    total = 0
    for axis in (-1, -2):
        if flow.shape[axis] > 1:  # at 1/16 of a small image there may be one pixel
            slope, step = flow.diff(dim=axis).abs(), image.diff(dim=axis).abs().mean(1, keepdim=True)
            total = total + (slope * torch.exp(-edge * step)).mean()
    return total if isinstance(total, torch.Tensor) else flow.sum() * 0
