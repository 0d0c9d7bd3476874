"""Unforeseen wrong answers to the exercises of notebook 07."""

from itertools import pairwise

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.spynet import what_is_found
from cvdl.flow import warp
from tests.unforeseen import Collection

WRONG = Collection()

# --- spynet.pyramid


@WRONG.add("spynet.pyramid", "every level from the full image")
def _(image, count):
    """Each level halves the full image, so that all but the last have one size."""
    return [F.avg_pool2d(image, 2) for _ in range(count - 1)] + [image]


@WRONG.add("spynet.pyramid", "3 × 3 pixels")
def _(image, count):
    """The mean of 3 × 3 pixels at every second one, as in a ResNet."""
    images = [image]
    for _ in range(count - 1):
        images.insert(0, F.avg_pool2d(images[0], 3, stride=2, padding=1))
    return images


@WRONG.add("spynet.pyramid", "bicubic")
def _(image, count):
    """Reduced with bicubic interpolation instead of a mean."""
    images = [image]
    for _ in range(count - 1):
        images.insert(0, F.interpolate(images[0], scale_factor=0.5, mode="bicubic"))
    return images


@WRONG.add("spynet.pyramid", "quarters")
def _(image, count):
    """4 × 4 pixels become one at each level."""
    images = [image]
    for _ in range(count - 1):
        images.insert(0, F.avg_pool2d(images[0], 4))
    return images


@WRONG.add("spynet.pyramid", "two of four pixels")
def _(image, count):
    """The mean of the two pixels on a diagonal only."""
    images = [image]
    for _ in range(count - 1):
        i = images[0]
        images.insert(0, (i[..., ::2, ::2] + i[..., 1::2, 1::2]) / 2)
    return images


# --- spynet.reach


@WRONG.add("spynet.reach", "factor in each layer")
def _(kernels, factor):
    """The factor multiplies once more at every layer, as with strides."""
    return sum(kernel // 2 * factor ** (n + 1) for n, kernel in enumerate(kernels))


@WRONG.add("spynet.reach", "largest kernel only")
def _(kernels, factor):
    """Only the largest kernel counts."""
    return max(kernels) // 2 * factor


@WRONG.add("spynet.reach", "overwritten in the loop")
def _(kernels, factor):
    """`total` is overwritten in the loop instead of added up: the last layer only."""
    for kernel in kernels:
        total = kernel // 2
    return total * factor


@WRONG.add("spynet.reach", "first kernel in full")
def _(kernels, factor):
    """The first kernel counts in full, the others with half."""
    return (kernels[0] + sum(kernel // 2 for kernel in kernels[1:])) * factor


@WRONG.add("spynet.reach", "factor added")
def _(kernels, factor):
    """The factor is added instead of multiplied."""
    return sum(kernel // 2 for kernel in kernels) + factor


# --- spynet.upsample


def _up(flow):
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)


@WRONG.add("spynet.upsample", "2 added")
def _(flow):
    """2 is added to the values instead of multiplied."""
    return F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False) + 2


@WRONG.add("spynet.upsample", "height and width exchanged")
def _(flow):
    """The new size is given as (width, height)."""
    h, w = flow.shape[-2:]
    return 2 * F.interpolate(flow, size=(2 * w, 2 * h), mode="bilinear", align_corners=False)


@WRONG.add("spynet.upsample", "four times as large")
def _(flow):
    """A scale factor of 4 instead of 2."""
    return 2 * F.interpolate(flow, scale_factor=4, mode="bilinear", align_corners=False)


@WRONG.add("spynet.upsample", "zeros in between")
def _(flow):
    """The new pixels are zeros instead of interpolated."""
    B, C, h, w = flow.shape
    finer = flow.new_zeros(B, C, 2 * h, 2 * w)
    finer[..., ::2, ::2] = 2 * flow
    return finer


@WRONG.add("spynet.upsample", "vertical only")
def _(flow):
    """Only dy is doubled."""
    return F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False) * torch.tensor([1.0, 2.0]).view(
        2, 1, 1
    )


@WRONG.add("spynet.upsample", "no gradient")
def _(flow):
    """Detached, as a flow from a frozen level."""
    return _up(flow).detach()


# --- spynet.input


@WRONG.add("spynet.input", "difference for the warped frame")
def _(image1, image2, coarser):
    """Frame 1 minus the warped frame instead of the warped frame."""
    up = _up(coarser)
    return torch.cat([image1, image1 - warp(image2, up), up], dim=1)


@WRONG.add("spynet.input", "nine channels")
def _(image1, image2, coarser):
    """The brightness error is joined as well, as in FlowNet 2.0."""
    up = _up(coarser)
    warped = warp(image2, up)
    return torch.cat([image1, warped, up, (image1 - warped).norm(dim=1, keepdim=True)], dim=1)


@WRONG.add("spynet.input", "joined along the batch")
def _(image1, image2, coarser):
    """torch.cat without a dimension joins along the batch."""
    up = _up(coarser)
    return torch.cat([image1, warp(image2, up), up])


@WRONG.add("spynet.input", "flow / 20")
def _(image1, image2, coarser):
    """The flow channels are divided by 20, as in FlowNet 2.0."""
    up = _up(coarser)
    return torch.cat([image1, warp(image2, up), up / 20], dim=1)


@WRONG.add("spynet.input", "doubled twice")
def _(image1, image2, coarser):
    """upsample_flow doubles already, and the result is doubled again."""
    up = 2 * _up(coarser)
    return torch.cat([image1, warp(image2, up), up], dim=1)


# --- spynet.residual


def _shrunk(truth, factor):
    return F.avg_pool2d(truth, factor) / factor


@WRONG.add("spynet.residual", "at the coarser level")
def _(truth, coarser):
    """Both are compared at the coarser level's size."""
    return _shrunk(truth, truth.shape[-1] // coarser.shape[-1]) - coarser


@WRONG.add("spynet.residual", "divided by the coarser level's factor")
def _(truth, coarser):
    """The size is right, but the values are divided by the factor to the coarser level: by twice too much."""
    up = _up(coarser)
    return F.avg_pool2d(truth, truth.shape[-1] // up.shape[-1]) / (truth.shape[-1] // coarser.shape[-1]) - up


@WRONG.add("spynet.residual", "corner of the truth")
def _(truth, coarser):
    """The truth is cropped to the level's size instead of reduced."""
    up = _up(coarser)
    h, w = up.shape[-2:]
    return truth[..., :h, :w] / (truth.shape[-1] // w) - up


@WRONG.add("spynet.residual", "nearest neighbour for the coarser flow")
def _(truth, coarser):
    """The coarser flow is enlarged by repeating its pixels."""
    up = 2 * F.interpolate(coarser, scale_factor=2)
    return _shrunk(truth, truth.shape[-1] // up.shape[-1]) - up


@WRONG.add("spynet.residual", "difference divided")
def _(truth, coarser):
    """The factor divides the difference, and with it the coarser flow."""
    up = _up(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    return (F.avg_pool2d(truth, factor) - up) / factor


# --- spynet.level


def _stacked(image1, image2, coarser):
    up = _up(coarser)
    return torch.cat([image1, warp(image2, up), up], dim=1), up


@WRONG.add("spynet.level", "ReLU before each layer")
def _(image1, image2, coarser, weights):
    """The ReLU comes before the convolution, also before the first one."""
    x, up = _stacked(image1, image2, coarser)
    for weight, bias in weights:
        x = F.conv2d(torch.relu(x), weight, bias, padding=weight.shape[-1] // 2)
    return up + x


@WRONG.add("spynet.level", "last layer left out")
def _(image1, image2, coarser, weights):
    """The loop ends one layer too early."""
    x, up = _stacked(image1, image2, coarser)
    for weight, bias in weights[:-1]:
        x = torch.relu(F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))
    return up + x


@WRONG.add("spynet.level", "last bias only")
def _(image1, image2, coarser, weights):
    """Only the last layer gets its bias."""
    x, up = _stacked(image1, image2, coarser)
    for weight, _bias in weights[:-1]:
        x = torch.relu(F.conv2d(x, weight, padding=weight.shape[-1] // 2))
    weight, bias = weights[-1]
    return up + F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


@WRONG.add("spynet.level", "padding by repetition")
def _(image1, image2, coarser, weights):
    """The border is padded by repeating its pixels instead of zeros."""
    x, up = _stacked(image1, image2, coarser)
    for n, (weight, bias) in enumerate(weights):
        x = F.conv2d(F.pad(x, [weight.shape[-1] // 2] * 4, mode="replicate"), weight, bias)
        x = torch.relu(x) if n + 1 < len(weights) else x
    return up + x


@WRONG.add("spynet.level", "padding of half a kernel, rounded up")
def _(image1, image2, coarser, weights):
    """(k + 1) // 2 for k // 2: each layer makes the map larger."""
    x, up = _stacked(image1, image2, coarser)
    for n, (weight, bias) in enumerate(weights):
        x = F.conv2d(x, weight, bias, padding=(weight.shape[-1] + 1) // 2)
        x = torch.relu(x) if n + 1 < len(weights) else x
    return up + x


@WRONG.add("spynet.level", "average with the coarser flow")
def _(image1, image2, coarser, weights):
    """The mean of coarser flow and increment instead of their sum."""
    x, up = _stacked(image1, image2, coarser)
    for n, (weight, bias) in enumerate(weights):
        x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        x = torch.relu(x) if n + 1 < len(weights) else x
    return (up + x) / 2


# --- spynet.parameters


def _count(sides, kernel, levels):
    return levels * sum(kernel**2 * a * b + b for a, b in pairwise(sides))


@WRONG.add("spynet.parameters", "last layer missing")
def _(sides, kernel, levels, other):
    """The loop ends one layer too early."""
    count = _count(sides[:-1], kernel, levels)
    return count, 100 * (other - count) / other


@WRONG.add("spynet.parameters", "twice the kernel")
def _(sides, kernel, levels, other):
    """2k numbers for each pair of channels instead of k²."""
    count = levels * sum((kernel + kernel) * a * b + b for a, b in pairwise(sides))
    return count, 100 * (other - count) / other


@WRONG.add("spynet.parameters", "bias multiplied by the kernel")
def _(sides, kernel, levels, other):
    """k² (inputs · outputs + outputs): the bias inside the bracket."""
    count = levels * sum(kernel**2 * (a * b + b) for a, b in pairwise(sides))
    return count, 100 * (other - count) / other


@WRONG.add("spynet.parameters", "percent as text")
def _(sides, kernel, levels, other):
    """The percentage is text with a percent sign."""
    count = _count(sides, kernel, levels)
    return count, f"{100 * (other - count) / other:.1f} %"


@WRONG.add("spynet.parameters", "percent against the mean")
def _(sides, kernel, levels, other):
    """The difference is divided by the mean of the two counts."""
    count = _count(sides, kernel, levels)
    return count, 100 * (other - count) / ((other + count) / 2)


# --- spynet.vanish

WRONG.choose(
    "spynet.vanish",
    "true for found",
    "True and False instead of the two words.",
    what_is_found,
    {key: value == "found" for key, value in what_is_found().items()},
)
WRONG.choose(
    "spynet.vanish",
    "another word",
    '"not found" is not one of the two words.',
    what_is_found,
    {"a ball 32 px wide moves 64 px": "not found", "a ball 8 px wide moves 16 px": "not found"},
)
WRONG.choose(
    "spynet.vanish",
    "last one left open",
    "The last line has no answer yet.",
    what_is_found,
    {"the whole picture moves 48 px": ...},
)
