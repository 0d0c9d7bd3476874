"""How flow networks are called in training, and what is minimised.

`predict` functions take (net, batch) and return the output; `loss` functions take (output, batch) and return the loss and the
end-point error in pixels, the latter without gradient, for the log.  The pair is chosen by a stage (`cvdl.train.recipes.flow`).
"""

import math

import torch
import torch.nn.functional as F

from cvdl.flow import likelihood
from cvdl.flow.losses import WEIGHTS, average_down, multiscale_epe
from cvdl.flow.metrics import epe
from cvdl.flow.models.flownet2 import fusion_input, stack_input
from cvdl.flow.models.spynet import level_input, pyramid, upsample

WINDOWS = 4  # per frame, on which a fine level of SPyNet is trained …
WINDOW = (96, 128)  # … of this size


def flows(net, batch):
    """The flows at all resolutions, finest first, in full-size pixels."""
    return net(batch.image1, batch.image2)


def multiscale_loss(flows, batch, robust=None):
    """FlowNet's loss (`multiscale_epe`) divided by the number of pixels of its finest flow.

    The division changes nothing about the minimum.  But the gradient's norm then does not depend on the size of the
    crops, and a limit on it (max_grad_norm) catches outliers, where it would otherwise clip every step, and steps with
    large motions most.  Networks with fewer than five flows use the weights of the coarsest levels.
    """
    weights = WEIGHTS[len(WEIGHTS) - len(flows) :]
    loss = multiscale_epe(flows, batch.flow, batch.valid, weights, robust) / math.prod(flows[0].shape[-2:])
    return loss, finest_error(flows[0], batch)


@torch.no_grad()
def finest_error(flow, batch):
    truth, known = average_down(batch.flow, batch.valid, flow.shape[-2:])
    return epe(flow.float(), truth, known)


def pyramid_loss(flows, batch, weights=None):
    """SPyNet's: the mean end-point error at every active level, in full-size pixels.

    weights: of the levels, finest first; None: the finest level alone, as in the paper, section 3.
    """
    if weights is None:
        weights = [1.0]
    loss = 0
    for flow, weight in zip(flows, weights, strict=False):
        truth, known = average_down(batch.flow, batch.valid, flow.shape[-2:])
        loss = loss + weight * epe(flow.float(), truth, known)
    return loss, finest_error(flows[0], batch)


def finest_level_on_windows(net, batch, windows=WINDOWS, size=WINDOW):
    """SPyNet's finest active level on windows, with the flow below computed on the complete frames.

    The level looks 15 px to each side, so it needs no more than a window; but the flow below is that of the complete
    frame, without gradient.  A step costs a third of one on complete frames, so that more frames are seen in the same time;
    per pixel that learns it costs a quarter more (`cvdl bench data --step`).

    Returns:
        The flow (B · windows, 2, h, w) and its ground truth, both in pixels of the level.
    """
    scale, count = net.reduce, net.active
    with torch.no_grad():
        image1, image2 = (
            net.normalise(F.avg_pool2d(image, scale) if scale > 1 else image) for image in (batch.image1, batch.image2)
        )
        below = torch.zeros_like(image1[:, :2])
        if count > 1:
            coarse = net.coarse_to_fine(pyramid(image1, 2)[0], pyramid(image2, 2)[0], count - 1)[-1]
            below = upsample(coarse)
        truth, known = average_down(batch.flow, batch.valid, image1.shape[-2:])
        together = torch.cat([level_input(image1, image2, below), below, truth / scale, known], 1)
        together = torch.cat([cut(together, size) for _ in range(windows)])
    seen, below, truth, known = together.split([8, 2, 2, 1], 1)
    return below + net.levels[count - 1](seen), truth, known > 0.5


def cut(maps, size):
    """One window of each sample, at random: (B, C, H, W) -> (B, C, h, w)"""
    height, width = (min(a, b) for a, b in zip(size, maps.shape[-2:], strict=True))
    corners = [[int(torch.randint(n + 1, ())) for n in (maps.shape[-2] - height, maps.shape[-1] - width)] for _ in maps]
    return torch.stack([m[:, y : y + height, x : x + width] for m, (y, x) in zip(maps, corners, strict=True)])


def window_loss(output, batch):
    flow, truth, known = output
    error = epe(flow.float(), truth, known)
    return error, error.detach()


def last_of_stack(net, batch):
    """The flows of a stack's last network, on the estimate of those before it that comes with the batch."""
    image1, image2 = net.stacked(batch.image1, batch.image2).chunk(2, dim=1)
    return net.nets[-1].estimate(stack_input(image1, image2, batch.estimates[-1]))


def fusion(net, batch):
    """The flows of FlowNet2's fusion, on the estimates of the stack and of FlowNet2SD that come with the batch."""
    image1, image2 = net.stacked(batch.image1, batch.image2).chunk(2, dim=1)
    return net.fusion(fusion_input(image1, image2, *batch.estimates))


def without_ground_truth(net, batch, objective):
    """Train on the images alone.

    objective: (net, image1, image2) -> the loss, and the flow in pixels, such as `cvdl.flow.unsupervised.likelihood_loss`.
    """
    images = (F.avg_pool2d(image, net.reduce) if net.reduce > 1 else image for image in (batch.image1, batch.image2))
    loss, flow = objective(net, *images)
    return loss, net.reduce * flow


def scales(net, batch):
    """LikeNet's scales, coarsest first, as (flow so far, P), all in pixels of the scale; and the finest flow."""
    images = (F.avg_pool2d(image, net.reduce) if net.reduce > 1 else image for image in (batch.image1, batch.image2))
    found, before, each = net.coarse_to_fine(*images), None, []
    for flow, P, _ in found:
        step = batch.image1.shape[-1] // flow.shape[-1]  # full-size pixels to a pixel of this scale
        flow = net.reduce * flow / step
        start = torch.zeros_like(flow) if before is None else F.interpolate(before, flow.shape[-2:], mode="bilinear")
        each.append((start.detach(), P))
        before = 2 * flow  # in pixels of the next scale
    return each, net.reduce * found[-1][0]


def two_hot_loss(output, batch):
    """LikeNet, supervised: cross-entropy with the motion that is left at each scale, spread over four candidates.

    An end-point error of the expected motion would leave P free to be spread over candidates far from each other.
    """
    each, flow = output
    loss = 0
    for start, P in each:
        truth, known = average_down(batch.flow, batch.valid, P.shape[-2:])
        left = truth / (batch.flow.shape[-1] // P.shape[-1]) - start
        target, reached = likelihood.two_hot(left, (math.isqrt(P.shape[1]) - 1) // 2)
        loss = loss + likelihood.cross_entropy(P, target * (P.detach() > 0), known & reached)
    return loss, finest_error(flow, batch)


def given_loss(output, batch):
    """For `without_ground_truth`: in training, batches have no flow, and the error is NaN."""
    loss, flow = output
    return loss, flow.new_tensor(math.nan) if batch.flow is None else finest_error(flow, batch)
