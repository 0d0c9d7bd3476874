"""Unforeseen wrong answers to the exercises of notebook 05."""

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.flownet import read_picture
from tests.unforeseen import Collection

WRONG = Collection()

# --- flownet.picture

WRONG.choose(
    "flownet.picture", "wrong disc at rest", "A moves upwards; it is not at rest.", read_picture, {"stands still": "A"}
)
WRONG.choose("flownet.picture", "minus sign", "A sign instead of the word.", read_picture, {"sign of dy in A": "-"})
WRONG.choose(
    "flownet.picture",
    "discs A and B exchanged",
    "The disc that moves furthest is B.",
    read_picture,
    {"goes furthest": "A", "turns": "B"},
)
WRONG.choose(
    "flownet.picture",
    "direction for sign",
    "The direction instead of the sign.",
    read_picture,
    {"sign of dy in A": "up"},
)

# --- flownet.epe


@WRONG.add("flownet.epe", "mean under the root")
def _(flow, truth, valid):
    """The squares of both components are averaged instead of added: too small by √2."""
    return (flow - truth).square().mean(1, keepdim=True).sqrt()[valid].mean()


@WRONG.add("flownet.epe", "median")
def _(flow, truth, valid):
    """The median of the errors instead of the mean."""
    return (flow - truth).norm(dim=1, keepdim=True)[valid].median()


@WRONG.add("flownet.epe", "x only")
def _(flow, truth, valid):
    """The vertical component is forgotten."""
    return (flow - truth)[:, :1].abs()[valid].mean()


@WRONG.add("flownet.epe", "length over the wrong axes")
def _(flow, truth, valid):
    """The norm is taken over the whole image instead of over the two components."""
    difference = torch.where(valid, flow - truth, 0.0)
    return difference.norm(dim=(2, 3)).mean()


# --- flownet.warp


def _corners(image2, x, y):
    _, H, W = image2.shape
    left, top = x.floor().long(), y.floor().long()
    return left, (left + 1).clamp(max=W - 1), top, (top + 1).clamp(max=H - 1)


@WRONG.add("flownet.warp", "interpolated along x only")
def _(image2, flow):
    """Bilinear along x; along y rounded down."""
    _, H, W = image2.shape
    x = (torch.arange(W) + flow[0]).clamp(0, W - 1)
    y = (torch.arange(H)[:, None] + flow[1]).clamp(0, H - 1)
    left, right, top, _ = _corners(image2, x, y)
    return image2[:, top, left] * (1 - x + left) + image2[:, top, right] * (x - left)


@WRONG.add("flownet.warp", "height and width exchanged in the clamp")
def _(image2, flow):
    """x is clamped to H - 1 and y to W - 1."""
    _, H, W = image2.shape
    x = (torch.arange(W) + flow[0]).clamp(0, H - 1)
    y = (torch.arange(H)[:, None] + flow[1]).clamp(0, W - 1)
    left, right, top, bottom = _corners(image2, x, y)
    upper = image2[:, top, left] * (1 - x + left) + image2[:, top, right] * (x - left)
    lower = image2[:, bottom, left] * (1 - x + left) + image2[:, bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


@WRONG.add("flownet.warp", "grid_sample with align_corners=False")
def _(image2, flow):
    """The grid is scaled for align_corners=True, and the sampler uses False."""
    _, H, W = image2.shape
    x = 2 * (torch.arange(W) + flow[0]) / (W - 1) - 1
    y = 2 * (torch.arange(H)[:, None] + flow[1]) / (H - 1) - 1
    grid = torch.stack([x, y], -1)[None]
    return F.grid_sample(image2[None], grid, padding_mode="border", align_corners=False)[0]


@WRONG.add("flownet.warp", "weights before the clamp")
def _(image2, flow):
    """The weights come from the places before clamping, so beyond the frame they leave 0 … 1."""
    _, H, W = image2.shape
    x, y = torch.arange(W) + flow[0], torch.arange(H)[:, None] + flow[1]
    left, right, top, bottom = _corners(image2, x.clamp(0, W - 1), y.clamp(0, H - 1))
    upper = image2[:, top, left] * (1 - x + left) + image2[:, top, right] * (x - left)
    lower = image2[:, bottom, left] * (1 - x + left) + image2[:, bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


@WRONG.add("flownet.warp", "flow without the grid")
def _(image2, flow):
    """The flow itself is taken for the place; the pixel's own coordinates are not added."""
    _, H, W = image2.shape
    return image2[:, flow[1].round().clamp(0, H - 1).long(), flow[0].round().clamp(0, W - 1).long()]


# --- flownet.refine


@WRONG.add("flownet.refine", "activated before")
def _(features, flow, skip, up, up_flow):
    """The leaky ReLU comes before the up-convolution instead of after it."""
    enlarged = F.conv_transpose2d(F.leaky_relu(features, 0.1), up, stride=2, padding=1)
    flow = F.conv_transpose2d(flow, up_flow, stride=2, padding=1)
    return torch.cat([skip, enlarged, flow], dim=1)


@WRONG.add("flownet.refine", "skip activated")
def _(features, flow, skip, up, up_flow):
    """The leaky ReLU is applied to the skip connection, too."""
    enlarged = F.conv_transpose2d(features, up, stride=2, padding=1)
    flow = F.conv_transpose2d(flow, up_flow, stride=2, padding=1)
    return torch.cat([F.leaky_relu(torch.cat([skip, enlarged], dim=1), 0.1), flow], dim=1)


@WRONG.add("flownet.refine", "padding forgotten")
def _(features, flow, skip, up, up_flow):
    """Without padding each map is two larger; the rest is cut off at the right and below."""
    h, w = skip.shape[-2:]
    enlarged = F.leaky_relu(F.conv_transpose2d(features, up, stride=2), 0.1)[..., :h, :w]
    flow = F.conv_transpose2d(flow, up_flow, stride=2)[..., :h, :w]
    return torch.cat([skip, enlarged, flow], dim=1)


@WRONG.add("flownet.refine", "kernels mirrored")
def _(features, flow, skip, up, up_flow):
    """The kernels are turned by 180° first, which conv_transpose2d does not need."""
    enlarged = F.leaky_relu(F.conv_transpose2d(features, up.flip(2, 3), stride=2, padding=1), 0.1)
    flow = F.conv_transpose2d(flow, up_flow.flip(2, 3), stride=2, padding=1)
    return torch.cat([skip, enlarged, flow], dim=1)


@WRONG.add("flownet.refine", "flow left out")
def _(features, flow, skip, up, up_flow):
    """Only two of the three parts are joined."""
    enlarged = F.leaky_relu(F.conv_transpose2d(features, up, stride=2, padding=1), 0.1)
    return torch.cat([skip, enlarged], dim=1)


# --- flownet.loss


@WRONG.add("flownet.loss", "sum of both components")
def _(flows, truth, weights):
    """|dx| + |dy| instead of the length."""
    loss = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1])
        loss = loss + weight * ((flow - target) / 20).abs().sum() / len(flow)
    return loss


@WRONG.add("flownet.loss", "20 outside the square")
def _(flows, truth, weights):
    """The squared error is divided by 20, not the error: off by √20."""
    loss = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1])
        loss = loss + weight * ((flow - target).square() / 20).sum(1).sqrt().sum() / len(flow)
    return loss


@WRONG.add("flownet.loss", "weights turned round")
def _(flows, truth, weights):
    """The weights are read from the coarsest level on."""
    loss = 0
    for flow, weight in zip(flows, weights[::-1], strict=True):
        target = F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1])
        loss = loss + weight * ((flow - target) / 20).norm(dim=1).sum() / len(flow)
    return loss


@WRONG.add("flownet.loss", "flow enlarged")
def _(flows, truth, weights):
    """Each flow is enlarged to full size instead of averaging the truth."""
    loss = 0
    for flow, weight in zip(flows, weights, strict=True):
        full = F.interpolate(flow, size=truth.shape[-2:], mode="bilinear", align_corners=False)
        loss = loss + weight * ((full - truth) / 20).norm(dim=1).sum() / len(flow)
    return loss


@WRONG.add("flownet.loss", "mean over the levels")
def _(flows, truth, weights):
    """The sum is divided by the number of levels."""
    loss = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1])
        loss = loss + weight * ((flow - target) / 20).norm(dim=1).sum() / len(flow)
    return loss / len(flows)


@WRONG.add("flownet.loss", "last level only")
def _(flows, truth, weights):
    """The loss is overwritten at each level instead of added up."""
    for flow, weight in zip(flows, weights, strict=True):
        target = F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1])
        loss = weight * ((flow - target) / 20).norm(dim=1).sum() / len(flow)
    return loss


# --- flownet.score


def _offsets(f1, here, there, radius):
    _, H, W = f1.shape
    for oy in range(-radius, radius + 1):
        for ox in range(-radius, radius + 1):
            x1, y1, x2, y2 = here[0] + ox, here[1] + oy, there[0] + ox, there[1] + oy
            if 0 <= x1 < W and 0 <= x2 < W and 0 <= y1 < H and 0 <= y2 < H:
                yield x1, y1, x2, y2


@WRONG.add("flownet.score", "patch one ring too large")
def _(f1, f2, here, there, k):
    """The offsets run from -k - 1 to k + 1."""
    return sum((f1[:, y1, x1] @ f2[:, y2, x2] for x1, y1, x2, y2 in _offsets(f1, here, there, k + 1)), torch.zeros(()))


@WRONG.add("flownet.score", "squared differences")
def _(f1, f2, here, there, k):
    """The sum of squared differences, another way to compare patches."""
    return sum((f1[:, y1, x1] - f2[:, y2, x2]).square().sum() for x1, y1, x2, y2 in _offsets(f1, here, there, k))


@WRONG.add("flownet.score", "a number for each channel")
def _(f1, f2, here, there, k):
    """Not summed over the channels."""
    return sum(f1[:, y1, x1] * f2[:, y2, x2] for x1, y1, x2, y2 in _offsets(f1, here, there, k))


@WRONG.add("flownet.score", "sums multiplied")
def _(f1, f2, here, there, k):
    """The patches are summed first, and the sums multiplied."""
    places = list(_offsets(f1, here, there, k))
    return sum(f1[:, y, x] for x, y, _, _ in places) @ sum(f2[:, y, x] for _, _, x, y in places)


@WRONG.add("flownet.score", "first map twice")
def _(f1, f2, here, there, k):
    """Both places are read in f1."""
    return sum((f1[:, y1, x1] @ f1[:, y2, x2] for x1, y1, x2, y2 in _offsets(f1, here, there, k)), torch.zeros(()))


# --- flownet.correlation


def _correlated(f1, f2, d, stride, score=lambda a, b: (a * b).mean(1)):
    H, W = f1.shape[-2:]
    wide, steps = F.pad(f2, [d] * 4), range(-d, d + 1, stride)
    return torch.stack(
        [score(f1, wide[:, :, d + my : d + my + H, d + mx : d + mx + W]) for my in steps for mx in steps], 1
    )


@WRONG.add("flownet.correlation", "maps exchanged")
def _(f1, f2, d, stride):
    """f1 is shifted instead of f2."""
    return _correlated(f2, f1, d, stride)


@WRONG.add("flownet.correlation", "unit length first")
def _(f1, f2, d, stride):
    """The features are normalised to unit length (cosine similarity)."""
    return _correlated(F.normalize(f1, dim=1), F.normalize(f2, dim=1), d, stride)


@WRONG.add("flownet.correlation", "range without its end")
def _(f1, f2, d, stride):
    """range(-d, d, stride) leaves out the displacement d."""
    H, W = f1.shape[-2:]
    wide, steps = F.pad(f2, [d] * 4), range(-d, d, stride)
    return torch.stack(
        [(f1 * wide[:, :, d + my : d + my + H, d + mx : d + mx + W]).mean(1) for my in steps for mx in steps], 1
    )


@WRONG.add("flownet.correlation", "two axes of displacements")
def _(f1, f2, d, stride):
    """(B, n, n, H, W): my and mx are not joined into one axis."""
    return _correlated(f1, f2, d, stride).unflatten(1, (2 * (d // stride) + 1, -1))


@WRONG.add("flownet.correlation", "negative scores cut off")
def _(f1, f2, d, stride):
    """A ReLU over the scores."""
    return _correlated(f1, f2, d, stride).relu()


@WRONG.add("flownet.correlation", "first sample's second map")
def _(f1, f2, d, stride):
    """All samples are compared with the second map of sample 0: right for a batch of one."""
    return _correlated(f1, f2[:1], d, stride)


# --- flownet.product


@WRONG.add("flownet.product", "columns before rows")
def _(f1, f2, d):
    """f1 is flattened column by column."""
    return f1.transpose(2, 3).flatten(2).mT @ F.pad(f2, [d] * 4).flatten(2) / f1.shape[1]


@WRONG.add("flownet.product", "border twice as wide")
def _(f1, f2, d):
    """2d zeros on each side instead of d."""
    return f1.flatten(2).mT @ F.pad(f2, [2 * d] * 4).flatten(2) / f1.shape[1]


@WRONG.add("flownet.product", "divided by the points")
def _(f1, f2, d):
    """Divided by the number of points instead of the number of channels."""
    columns1 = f1.flatten(2)
    return columns1.mT @ F.pad(f2, [d] * 4).flatten(2) / columns1.shape[-1]


@WRONG.add("flownet.product", "softmax")
def _(f1, f2, d):
    """softmax over the second map's points, as in attention."""
    return torch.softmax(f1.flatten(2).mT @ F.pad(f2, [d] * 4).flatten(2) / f1.shape[1], dim=-1)


@WRONG.add("flownet.product", "flattened from the channels on")
def _(f1, f2, d):
    """flatten(1) instead of flatten(2): the channels are in the same axis as the points."""
    return f1.flatten(1)[:, :, None] * F.pad(f2, [d] * 4).flatten(1)[:, None] / f1.shape[1]


# --- flownet.channels


@WRONG.add("flownet.channels", "divided by the shrinking")
def _(d, stride, shrink):
    """Full-size pixels are divided by the shrinking instead of multiplied."""
    return (2 * (d // stride) + 1) ** 2, d // shrink, stride // shrink


@WRONG.add("flownet.channels", "step of the map")
def _(d, stride, shrink):
    """The step is counted as one point of the map, whatever the stride."""
    return (2 * (d // stride) + 1) ** 2, d * shrink, shrink


@WRONG.add("flownet.channels", "number of displacements for the reach")
def _(d, stride, shrink):
    """The reach is the number of displacements to one side times the shrinking."""
    return (2 * (d // stride) + 1) ** 2, d // stride * shrink, stride * shrink


@WRONG.add("flownet.channels", "whole width divided by the stride")
def _(d, stride, shrink):
    """(2d + 1) is divided by the stride and rounded down: one value too few for an even stride."""
    return ((2 * d + 1) // stride) ** 2, d * shrink, stride * shrink
