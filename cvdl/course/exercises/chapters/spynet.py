"""Exercises of notebook 07.

The course's own implementations come first.  They are written in other forms than the exercises ask for, and in other
ones than `cvdl.flow.models.spynet`, so that neither gives an answer away.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.course.exercises.case_helpers import (
    GRADIENT,
    answered,
    around,
    choice_case,
    given,
    normal,
    of_shape,
    shape_only,
)
from cvdl.course.exercises.comparison import NOTHING, Misfit, difference, in_member
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.flow.warp import warp

# --- the library's -------------------------------------------------------------------------------------


def image_pyramid(image, count):
    """Means of 2 × 2 again and again, `count` pictures, the coarsest first.  image: (B, C, H, W)"""
    return [F.avg_pool2d(image, 2**k) if k else image for k in reversed(range(count))]


def reach(kernels, factor):
    """How many full-size pixels a stack of convolutions looks to one side, where a pixel is `factor` of them wide."""
    return factor * (sum(kernels) - len(kernels)) // 2


def upsample_flow(flow):
    """A flow on a grid of twice the size: (B, 2, h, w) -> (B, 2, 2h, 2w), values doubled, bilinear."""
    for axis in (2, 3):
        n = flow.shape[axis]
        before = torch.cat([flow.narrow(axis, 0, 1), flow.narrow(axis, 0, n - 1)], axis)
        after = torch.cat([flow.narrow(axis, 1, n - 1), flow.narrow(axis, n - 1, 1)], axis)
        pair = torch.stack([0.75 * flow + 0.25 * before, 0.75 * flow + 0.25 * after], axis + 1)
        flow = pair.flatten(axis, axis + 1)
    return flow + flow


def residual_target(truth, coarser):
    """What level k has to add.  truth: (B, 2, H, W) in full-size pixels, coarser: V_{k-1} (B, 2, h/2, w/2)"""
    up = upsample_flow(coarser)
    share = up.shape[-1] / truth.shape[-1]
    return share * F.adaptive_avg_pool2d(truth, up.shape[-2:]) - up


def level_input(image1, image2, coarser):
    """The eight channels that level k sees.  image1, image2: (B, 3, h, w), coarser: V_{k-1} (B, 2, h/2, w/2)"""
    up = upsample_flow(coarser)
    return torch.hstack([image1, warp(image2, up), up])


def level_forward(image1, image2, coarser, weights):
    """V_k.  Images (B, 3, h, w), coarser: V_{k-1} (B, 2, h/2, w/2), weights: list of (weight, bias)"""
    x = level_input(image1, image2, coarser)
    *hidden, last = [(weight, bias, 1, weight.shape[-1] // 2) for weight, bias in weights]
    for layer in hidden:
        x = torch.conv2d(x, *layer).clamp(min=0)
    return torch.conv2d(x, *last).add(upsample_flow(coarser))


def count_parameters(sides, kernel, levels, other):
    """Learned numbers of `levels` equal networks of convolutions with `sides` channels: inputs, …, outputs; and by how
    many percent they are fewer than `other`."""
    count = levels * sum(outputs * (inputs * kernel**2 + 1) for inputs, outputs in pairwise(sides))
    return count, 100 - 100 * count / other


# --- helpers --------------------------------------------------------------------------------------------


def _matrix(n):
    """(2n, n): linear interpolation to twice as many points, from the places of pixel centres."""
    place = ((torch.arange(2 * n, dtype=torch.double) + 0.5) / 2 - 0.5).clamp(0, n - 1)
    return (1 - (place[:, None] - torch.arange(n)).abs()).clamp(min=0)


def _up(flow, factor=2.0):
    flow = flow.double()
    return factor * (_matrix(flow.shape[2]) @ flow @ _matrix(flow.shape[3]).T)


def _blocks(image, n):
    return image.unfold(2, n, n).unfold(3, n, n)


def _sampled(image, flow):
    """Backward warping by grid_sample, in double precision, where it is exact enough."""
    H, W = image.shape[-2:]
    x = torch.arange(W, dtype=torch.double) + flow[:, 0]
    y = torch.arange(H, dtype=torch.double)[:, None] + flow[:, 1]
    grid = torch.stack([2 * x / (W - 1) - 1, 2 * y / (H - 1) - 1], -1)
    return F.grid_sample(image.double(), grid, padding_mode="border", align_corners=True)


def _interpolated(flow, mode="bilinear", **options):
    return F.interpolate(flow, scale_factor=2, mode=mode, **options)


def _plain_up(flow):
    return _interpolated(flow, align_corners=False)


# --- spynet.pyramid -------------------------------------------------------------------------------------


NAMES = {torch.Tensor: "one tensor", dict: "a dict"}
_FOUR = torch.tensor([[[[1.0, 2.0, 8.0, 0.0], [3.0, 6.0, 0.0, 8.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]])


def _pyramid_args(H, W, count):
    return lambda g: (torch.rand(2, 3, H, W, generator=g), count)


def _pictures(got, want):
    if got is not None and not isinstance(got, tuple):
        told = f"a list of {len(want)} pictures was expected, not {NAMES.get(type(got), type(got).__name__)}"
        return Misfit(told, "Return a list of tensors, one for each picture.")
    return difference(got, want, axes=("image", "channel", "y", "x"))


def _picture_shapes(got, want):
    return of_shape(_pictures(got, want))


def _mixed_up(i):
    B, C, H, W = i.shape
    return i.reshape(B, C, 2, H // 2, 2, W // 2).mean(dim=(2, 4))


def _chain(shrink):
    def like(image, count):
        images = [image]
        for _ in range(count - 1):
            images.insert(0, shrink(images[0]))
        return images

    return like


pyramid = Exercise(
    id="spynet.pyramid",
    title="the image pyramid",
    library=image_pyramid,
    oracle=lambda image, count: [_blocks(image, 2 ** (count - 1 - k)).mean((-1, -2)) for k in range(count)],
    axes=("image", "channel", "y", "x"),
    cases=(
        Case(
            "shapes: coarsest first",
            2,
            "Return `count` images in a list: for 8 × 16 and count 3 they are 2 × 4, 4 × 8 and 8 × 16. The first is the smallest, the last is the image itself. Print the shapes of yours.",
            make=_pyramid_args(8, 16, 3),
            test=_picture_shapes,
        ),
        Case(
            "a pyramid of one",
            1,
            "With count 1 the list contains only the image itself: shrink it count - 1 times, that is, not at all.",
            make=_pyramid_args(4, 6, 1),
            test=_pictures,
        ),
        Case(
            "by hand: four pixels become one",
            2,
            "The top left block holds 1, 2, 3 and 6: their mean is 3. The other three blocks give 4, 1 and 0. If you get 12, you took the sum; 1 is a single pixel, and 6 the largest.",
            make=lambda g: (_FOUR.clone(), 2),
            want=lambda *_: (torch.tensor([[[[3.0, 4.0], [1.0, 0.0]]]]), _FOUR),
            test=_pictures,
        ),
        Case(
            "random",
            3,
            "Your answer is right for one step but not for two: each image is made from the next *finer* one of your list, by the mean of each block of 2 × 2, and put in front of it.",
            make=around(lambda h, w: _pyramid_args(8 * h, 8 * w, 3), 1, 3),
            test=_pictures,
        ),
        Case(
            "square",
            2,
            "H and W are equal here, so swapped axes give no error, and count is 4: does your code contain a fixed 3? reshape to (B, C, H // 2, 2, W // 2, 2) averages over the axes 3 and 5.",
            make=_pyramid_args(16, 16, 4),
            test=_pictures,
        ),
    ),
    mistakes=(
        Mistake(
            "sum for mean",
            "You added up the four pixels, so each level is four times as bright as the next finer one. Take their mean.",
            like=_chain(lambda i: 4 * F.avg_pool2d(i, 2)),
        ),
        Mistake(
            "divided by two",
            "There are four pixels in a block of 2 × 2, and you divide their sum by two.",
            like=_chain(lambda i: 2 * F.avg_pool2d(i, 2)),
        ),
        Mistake(
            "not neighbours",
            "You average pixels that are half an image apart. Reshape to (B, C, H/2, 2, W/2, 2): the 2 comes *after* each half.",
            like=_chain(_mixed_up),
        ),
        Mistake(
            "one axis only",
            "Your images get narrower, but not lower. Average over both axes.",
            like=_chain(lambda i: (i[..., ::2] + i[..., 1::2]) / 2),
        ),
        Mistake(
            "every second pixel",
            "You kept every second pixel and discarded three out of four, which turns fine texture into false patterns (aliasing). Average the pixels.",
            like=_chain(lambda i: i[..., ::2, ::2]),
        ),
        Mistake(
            "greatest for mean",
            "Max pooling keeps the brightest of four pixels, so the image gets brighter from level to level. Average them.",
            like=_chain(lambda i: F.max_pool2d(i, 2)),
        ),
        Mistake(
            "finest first",
            "The order is reversed: the smallest image comes first, the image itself last.",
            like=lambda image, count: image_pyramid(image, count)[::-1],
        ),
        Mistake(
            "image itself missing",
            "The image itself belongs to the pyramid, as its last level. You shrink it once too often.",
            like=lambda image, count: image_pyramid(image, count + 1)[:-1],
        ),
        Mistake(
            "one too many",
            "There is one image too many. `count` includes the image itself.",
            like=lambda image, count: image_pyramid(image, count + 1),
        ),
        Mistake(
            "coarsest only",
            "You return only the coarsest image. Return all of them: collect them in a list.",
            like=lambda image, count: image_pyramid(image, count)[0],
        ),
    ),
    hints=(
        "Start with a list that contains the image. How do you get from one image to the next smaller one?",
        "reshape to (B, C, H/2, 2, W/2, 2): two of the axes run within a 2 × 2 block.",
        "Average over those two axes, put the result in front of the list, and do it count - 1 times.",
    ),
)

# --- spynet.reach ---------------------------------------------------------------------------------------


def _reach_oracle(kernels, factor):
    """By trial: which inputs change the output in the middle?"""
    middle = sum(kernels)
    x = torch.zeros(1, 1, 2 * middle + 1, dtype=torch.double, requires_grad=True)
    y = x
    for k in kernels:
        y = F.conv1d(y, torch.full((1, 1, k), 1 / k, dtype=torch.double), padding=k // 2)
    y[0, 0, middle].backward()
    return int((x.grad[0, 0, middle + 1 :] != 0).sum()) * factor


look = Exercise(
    id="spynet.reach",
    title="how far a level looks",
    library=reach,
    oracle=_reach_oracle,
    cases=(
        Case(
            "one layer",
            2,
            "A kernel of 7 has one pixel in the middle and 7 // 2 = 3 to *one* side: the reach is 3. 7 is the whole kernel, 6 is both sides, and 3.5 is half the kernel.",
            make=given([7], 1),
        ),
        Case(
            "two layers",
            2,
            "With kernels of 3 and 5, the first reaches 1 pixel to one side and the second 2, and the second reads the results of the first: 1 + 2 = 3.",
            make=given([3, 5], 1),
        ),
        Case(
            "SPyNet at full size",
            3,
            "Five kernels of 7 each add a reach of 3 to one side: 5 · 3 = 15. Does your code contain a number from the examples? The level at full size has factor 1: multiply by the factor, do not add it.",
            make=given([7] * 5, 1),
        ),
        Case(
            "SPyNet at the top",
            3,
            "The reach is 15 pixels of the level, and each of them is factor = 16 full-size pixels wide. Multiply: 15 · 16 = 240.",
            make=given([7] * 5, 16),
        ),
    ),
    mistakes=(
        Mistake(
            "width of the field",
            "That is the whole receptive field, from left to right. The question is how far it reaches to *one* side of the pixel.",
            like=lambda kernels, factor: (sum(k - 1 for k in kernels) + 1) * factor,
        ),
        Mistake(
            "both sides",
            "You counted both sides. A kernel of 7 reaches 3 pixels to the left and 3 to the right, so it adds 3, not 6.",
            like=lambda kernels, factor: sum(k - 1 for k in kernels) * factor,
        ),
        Mistake(
            "own pixel counted",
            "You counted the pixel in the middle as a step. From there, a kernel of 7 reaches 3 further to one side.",
            like=lambda kernels, factor: sum(k // 2 + 1 for k in kernels) * factor,
        ),
        Mistake(
            "always seven",
            "You use 3 for each layer. That holds only for kernels of 7; here they may differ.",
            like=lambda kernels, factor: 3 * len(kernels) * factor,
        ),
        Mistake(
            "half of the field",
            "Half of the whole field includes half of the pixel in the middle. Add up how far each layer reaches to one side.",
            like=lambda kernels, factor: (sum(k - 1 for k in kernels) + 1) * factor // 2,
        ),
        Mistake(
            "factor forgotten",
            "That is the reach in pixels of the level. Each of them is `factor` pixels of the full size wide.",
            like=lambda kernels, factor: sum(k // 2 for k in kernels),
        ),
        Mistake(
            "divided by the factor",
            "A coarse pixel is wider than a fine one, so the reach in full-size pixels grows with the factor: multiply.",
            like=lambda kernels, factor: sum(k // 2 for k in kernels) / factor,
        ),
        Mistake(
            "one layer only",
            "That is one layer. Each additional layer reaches further.",
            like=lambda kernels, factor: kernels[0] // 2 * factor,
        ),
        Mistake(
            "layers multiplied",
            "Reaches add up; they do not multiply. At stride 1 each layer adds the same again.",
            like=lambda kernels, factor: math.prod(k // 2 for k in kernels) * factor,
        ),
        Mistake(
            "kernels multiplied",
            "Kernels do not multiply at stride 1: two layers of 3 see 5 pixels, not 9.",
            like=lambda kernels, factor: math.prod(kernels) // 2 * factor,
        ),
        Mistake(
            "whole kernels",
            "You added whole kernels. A kernel of 7 reaches 3 pixels to one side.",
            like=lambda kernels, factor: sum(kernels) * factor,
        ),
        Mistake(
            "half kernels",
            "Half of 7 is 3.5, but the pixel in the middle is not a step to the side: use 7 // 2.",
            like=lambda kernels, factor: sum(kernels) / 2 * factor,
        ),
    ),
    hints=(
        "Draw a row of pixels, and under it the three that a kernel of 3 looks at. Then the same for two layers.",
        "A kernel of k pixels reaches k // 2 further to one side. The layers add up.",
        "Sum over the kernels, times factor.",
    ),
)

# --- spynet.upsample ------------------------------------------------------------------------------------


def _flow_args(h, w):
    return lambda g: (3 * normal(g, 2, 2, h, w),)


upsample = Exercise(
    id="spynet.upsample",
    title="upsampling a flow",
    library=upsample_flow,
    oracle=_up,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape",
            2,
            "The result is twice as high and twice as wide, and still has two channels: (B, 2, 2h, 2w). Use F.interpolate with scale_factor=2.",
            make=_flow_args(3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: everything moves 3 px and 1 px",
            4,
            "All move by (3, 1). On a grid of twice the size the same motion is (6, 2) pixels, everywhere: channel 0 is 6, channel 1 is 2. If you get (3, 1), the motion was not scaled; (1.5, 0.5) was halved; in (2, 6), x and y are swapped.",
            make=lambda g: (torch.tensor([3.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 3).clone(),),
            want=lambda *_: torch.tensor([6.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 4, 6),
        ),
        Case(
            "random",
            4,
            'Your answer is right for a constant flow, so the factor is right. It is wrong for a varying flow, so look at the interpolation: mode="bilinear", align_corners=False. Between two pixels with values a and b there are ¾ a + ¼ b and ¼ a + ¾ b, times 2.',
            make=around(_flow_args, 3, 5),
        ),
        Case(
            "square",
            3,
            "h and w are equal here, so swapped axes or channels give no error: channel 0 is still the motion along x.",
            make=_flow_args(4, 4),
        ),
        Case("gradients", 2, GRADIENT, make=_flow_args(3, 4), gradient=True),
    ),
    mistakes=(
        Mistake(
            "factor forgotten",
            "You enlarged the flow map, but not its values. On the finer grid a pixel is half as wide, so the same motion is "
            "twice as many pixels.",
            like=_plain_up,
        ),
        Mistake(
            "halved",
            "You halved the values. Finer pixels are smaller, so the same motion takes *more* of them: multiply by 2.",
            like=lambda flow: _plain_up(flow) / 2,
        ),
        Mistake(
            "times four",
            "The area grows by 4, but a displacement is a length: it grows by 2.",
            like=lambda flow: 4 * _plain_up(flow),
        ),
        Mistake(
            "nearest",
            'The factor is right, but the flow comes in blocks of 2 × 2: that is mode="nearest". Interpolate bilinearly.',
            like=lambda flow: 2 * _interpolated(flow, "nearest"),
        ),
        Mistake(
            "nearest, factor forgotten",
            'Change two things: your flow comes in blocks (mode="nearest", which is the default), and its values are not doubled.',
            like=lambda flow: _interpolated(flow, "nearest"),
        ),
        Mistake(
            "corners aligned",
            "align_corners=True aligns the centres of the corner pixels of both grids. Here each pixel is split in two, so use False.",
            like=lambda flow: 2 * _interpolated(flow, align_corners=True),
        ),
        Mistake(
            "corners aligned, factor forgotten",
            "Change two things: align_corners must be False, and the values must be doubled, too.",
            like=lambda flow: _interpolated(flow, align_corners=True),
        ),
        Mistake(
            "bicubic",
            'Bicubic interpolation shoots over at edges. "bilinear" is asked for.',
            like=lambda flow: 2 * _interpolated(flow, "bicubic", align_corners=False),
        ),
        Mistake(
            "only the horizontal part",
            "You doubled only channel 0. The vertical motion, channel 1, is also twice as many pixels.",
            like=lambda flow: _plain_up(flow) * torch.tensor([2.0, 1.0])[:, None, None],
        ),
        Mistake(
            "x and y exchanged",
            "The two channels are swapped. Channel 0 is x and must stay first.",
            like=lambda flow: 2 * _plain_up(flow).flip(1),
        ),
        Mistake(
            "values only",
            "You doubled the values, but not the grid. Interpolate to twice the height and width.",
            like=lambda flow: 2 * flow,
        ),
    ),
    hints=(
        "Two things happen: the grid gets finer, and the unit of its values, the pixel, gets smaller.",
        'torch.nn.functional.interpolate with scale_factor=2, mode="bilinear", align_corners=False makes the grid finer.',
        "What was 3 coarse pixels long is how many fine ones? Multiply by that.",
    ),
)

# --- spynet.residual ------------------------------------------------------------------------------------


def _residual_args(h, w, factor):
    return lambda g: (5 * normal(g, 2, 2, h * factor, w * factor), normal(g, 2, 2, h // 2, w // 2))


def _moving(dx, dy, h, w):
    return torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(1, 2, h, w).clone()


def _factor(truth, coarser):
    return truth.shape[-1] // (2 * coarser.shape[-1])


def _residual_oracle(truth, coarser):
    n = _factor(truth, coarser)
    return _blocks(truth.double(), n).mean((-1, -2)) / n - _up(coarser)


def _small(truth, coarser, divide=1, shrink=F.avg_pool2d):
    """The truth at the size of the level; its values divided by the factor to some power."""
    n = _factor(truth, coarser)
    return shrink(truth, n) / n**divide


residual = Exercise(
    id="spynet.residual",
    title="the residual target",
    library=residual_target,
    oracle=_residual_oracle,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape",
            1,
            "The target has the size of the level, (B, 2, h, w), which is twice that of V_{k-1}. The ground truth is larger, by a factor of truth.shape[-1] // (2 * coarser.shape[-1]).",
            make=_residual_args(4, 6, 2),
            test=shape_only,
        ),
        Case(
            "by hand: all moves 8 px and 4 px",
            4,
            "All pixels move by (8, 4) full-size pixels. The level has a quarter of the size, so the motion there is (2, 1). The coarser level found (0.5, 0.25), which is (1, 0.5) here. The target is the difference, (1, 0.5). Print the ground truth and the coarser flow before you subtract.",
            make=lambda g: (_moving(8.0, 4.0, 8, 16), _moving(0.5, 0.25, 1, 2)),
            want=lambda *_: _moving(1.0, 0.5, 2, 4),
        ),
        Case(
            "at the top there is no coarser level",
            3,
            "V_{-1} is 0, so the target is the ground truth alone: averaged over blocks of 8 × 8, because the level is 8 times smaller here, and divided by 8. The factor follows from the shapes; it is not always 4.",
            make=lambda g: (5 * normal(g, 2, 2, 32, 64), torch.zeros(2, 2, 2, 4)),
        ),
        Case(
            "the finest level",
            3,
            "The ground truth already has the size of the level: the factor is 1, and the target is truth - upsample_flow(coarser).",
            make=_residual_args(6, 4, 1),
        ),
        Case(
            "random",
            4,
            "The level has half of the full size here: average the ground truth over blocks of 2 × 2, divide it by 2, and subtract upsample_flow(coarser). Each part alone is right; compare the two before you subtract.",
            make=around(lambda h, w: _residual_args(2 * h, 2 * w, 2), 2, 3),
        ),
    ),
    mistakes=(
        Mistake(
            "wrong way round",
            "You subtract the ground truth from the coarser flow. The level must *add* what is missing: ground truth minus coarser flow.",
            like=lambda truth, coarser: _plain_up(coarser) * 2 - _small(truth, coarser),
        ),
        Mistake(
            "truth still in full-size pixels",
            "You shrank the ground truth, but not its values: in pixels of the level they are `factor` times smaller.",
            like=lambda truth, coarser: _small(truth, coarser, 0) - 2 * _plain_up(coarser),
        ),
        Mistake(
            "truth multiplied",
            "Your ground truth is too large by the square of the factor: you multiplied by the factor instead of dividing, or summed over each block instead of averaging. Average each block, and divide by the factor: pixels of the level are larger, so a motion covers fewer of them.",
            like=lambda truth, coarser: _small(truth, coarser, -1) - 2 * _plain_up(coarser),
        ),
        Mistake(
            "truth divided twice",
            "You divide the ground truth by the factor twice. Its *area* shrinks by the square, but a displacement only by the factor.",
            like=lambda truth, coarser: _small(truth, coarser, 2) - 2 * _plain_up(coarser),
        ),
        Mistake(
            "truth divided by 4",
            "You divide the ground truth by 4, as in the example. Divide it by the factor by which it was shrunk, which follows from the shapes.",
            like=lambda truth, coarser: _small(truth, coarser, 0) / 4 - 2 * _plain_up(coarser),
        ),
        Mistake(
            "truth divided by 2",
            "You halve the ground truth. From full size to level k can be more than one step: divide by the factor by which it was shrunk.",
            like=lambda truth, coarser: _small(truth, coarser) * _factor(truth, coarser) / 2 - 2 * _plain_up(coarser),
        ),
        Mistake(
            "coarser flow doubled twice",
            "upsample_flow already doubles the values. You do it again.",
            like=lambda truth, coarser: _small(truth, coarser) - 4 * _plain_up(coarser),
        ),
        Mistake(
            "values as they were",
            "Both now have the right size, but their values are still in pixels of the old size: values must change with the grid.",
            like=lambda truth, coarser: _small(truth, coarser, 0) - _plain_up(coarser),
        ),
        Mistake(
            "greatest for mean",
            "F.max_pool2d takes the largest value of a block, but a flow also has negative values. Average: F.avg_pool2d.",
            like=lambda truth, coarser: _small(truth, coarser, 1, F.max_pool2d) - 2 * _plain_up(coarser),
        ),
        Mistake(
            "truth interpolated",
            "F.interpolate looks at only four pixels, however large the block is. Average over all of it: F.avg_pool2d.",
            like=lambda truth, coarser: (
                _small(
                    truth,
                    coarser,
                    1,
                    lambda t, n: F.interpolate(t, scale_factor=1 / n, mode="bilinear", align_corners=False),
                )
                - 2 * _plain_up(coarser)
            ),
        ),
        Mistake(
            "coarser flow not doubled",
            "V_{k-1} is in pixels of its own level. On this level its values double: upsample_flow enlarges and doubles.",
            like=lambda truth, coarser: _small(truth, coarser) - _plain_up(coarser),
        ),
        Mistake(
            "nothing subtracted",
            "That is the whole motion. The coarser level's flow is known already: subtract it.",
            like=lambda truth, coarser: _small(truth, coarser),
        ),
        Mistake(
            "added",
            "You added the two. What is missing is the difference.",
            like=lambda truth, coarser: _small(truth, coarser) + 2 * _plain_up(coarser),
        ),
        Mistake(
            "truth subsampled",
            "You picked single pixels of the ground truth. Average it over each block, as the pyramid averages the images.",
            like=lambda truth, coarser: (
                _small(truth, coarser, 1, lambda t, n: t[..., ::n, ::n]) - 2 * _plain_up(coarser)
            ),
        ),
        Mistake(
            "everything at full size",
            "Your target has the full size. It must have the size of the level, twice that of V_{k-1}.",
            like=lambda truth, coarser: (
                truth
                - F.interpolate(coarser, size=truth.shape[-2:], mode="bilinear", align_corners=False)
                * 2
                * _factor(truth, coarser)
            ),
        ),
    ),
    hints=(
        "First bring both to the size of the level and into its pixels. Only then subtract.",
        "upsample_flow(coarser) has the right size. The ground truth is truth.shape[-1] // up.shape[-1] times as wide.",
        "F.avg_pool2d(truth, factor) is the ground truth at that size; its values are still in full-size pixels.",
    ),
)

# --- spynet.input ---------------------------------------------------------------------------------------


def _input_args(h, w, strength=0.7):
    def make(g):
        return (
            torch.rand(2, 3, h, w, generator=g),
            torch.rand(2, 3, h, w, generator=g),
            strength * normal(g, 2, 2, h // 2, w // 2),
        )

    return make


def _input_oracle(image1, image2, coarser):
    up = _up(coarser)
    return torch.cat([image1.double(), _sampled(image2, up), up], 1)


def _one_to_the_right(g):
    image1, image2, _ = _input_args(4, 6)(g)
    return image1, image2, torch.tensor([0.5, 0.0])[None, :, None, None].expand(2, 2, 2, 3).clone()


def _shifted(image1, image2, coarser):
    warped = torch.cat([image2[..., 1:], image2[..., -1:]], -1)
    flow = torch.zeros(2, 2, 4, 6)
    flow[:, 0] = 1
    return torch.cat([image1, warped, flow], 1)


def _parts(image1, image2, coarser):
    up = 2 * _plain_up(coarser)
    return image1, image2, up


def _from_parts(build):
    return lambda image1, image2, coarser: torch.cat(build(*_parts(image1, image2, coarser)), 1)


inputs = Exercise(
    id="spynet.input",
    title="the eight channels",
    library=level_input,
    oracle=_input_oracle,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape: eight channels",
            2,
            "There are 3 + 3 + 2 channels, joined along dimension 1: image1, image2 warped, the upsampled flow (B, 2, h, w). Print the three shapes.",
            make=_input_args(4, 6),
            test=shape_only,
        ),
        Case(
            "no coarser level",
            3,
            "V_{k-1} is 0, so nothing moves: channels 0–2 are image1, 3–5 image2 exactly, 6–7 zeros. The channel named above shows which part differs.",
            make=lambda g: (*_input_args(4, 6)(g)[:2], torch.zeros(2, 2, 2, 3)),
        ),
        Case(
            "by hand: half a pixel to the right",
            4,
            "The coarser flow is (0.5, 0) everywhere, which is (1, 0) here: channel 6 must be 1, channel 7 must be 0, and channels 3–5 must be image2 read at x + 1, that is, image2[..., 1:] with the last column repeated. Channels 0–2 are still image1.",
            make=_one_to_the_right,
            want=_shifted,
        ),
        Case(
            "random",
            4,
            "Your answer is right for a uniform flow but not for a varying one: up = upsample_flow(coarser), bilinear; then image1, warp(image2, up), up. x and y both move here. The channel named above shows which part differs.",
            make=around(lambda h, w: _input_args(2 * h, 2 * w), 3, 4),
        ),
        Case(
            "square",
            2,
            "h and w are equal here, so swapped axes give no error: torch.cat joins along dimension 1.",
            make=_input_args(6, 6),
        ),
    ),
    mistakes=(
        Mistake(
            "frame 1 warped",
            "You warped frame 1. The flow gives the positions of its points in frame *2*, so warp frame 2 to frame 1.",
            like=_from_parts(lambda a, b, up: [warp(a, up), b, up]),
        ),
        Mistake(
            "both warped",
            "You warp both frames. Frame 1 must stay as it is; warp only frame 2.",
            like=_from_parts(lambda a, b, up: [warp(a, up), warp(b, up), up]),
        ),
        Mistake(
            "nothing warped",
            "You do not warp frame 2. The level then sees the whole motion, not just what is left of it.",
            like=_from_parts(lambda a, b, up: [a, b, up]),
        ),
        Mistake(
            "factor forgotten",
            "You enlarged the coarser flow, but did not double its values. Use upsample_flow.",
            like=lambda a, b, coarser: torch.cat([a, warp(b, _plain_up(coarser)), _plain_up(coarser)], 1),
        ),
        Mistake(
            "flow channels not doubled",
            "Frame 2 is right. The last two channels are enlarged but not doubled: they must be the flow that you warped by.",
            like=_from_parts(lambda a, b, up: [a, warp(b, up), up / 2]),
        ),
        Mistake(
            "warped half as far",
            "The flow is right, but frame 2 is warped only half as far. Warp by the same upsampled flow.",
            like=_from_parts(lambda a, b, up: [a, warp(b, up / 2), up]),
        ),
        Mistake(
            "warped by the wrong sign",
            "You warp by minus the flow. warp already looks up image2 at x + flow.",
            like=_from_parts(lambda a, b, up: [a, warp(b, -up), up]),
        ),
        Mistake(
            "x and y swapped",
            "Channels 0 and 1 of the flow are swapped before warping. Channel 0 is x, to the right.",
            like=_from_parts(lambda a, b, up: [a, warp(b, up.flip(1)), up]),
        ),
        Mistake(
            "flow first",
            "The parts are right, their order is not: frame 1, frame 2 warped, flow.",
            like=_from_parts(lambda a, b, up: [up, a, warp(b, up)]),
        ),
        Mistake(
            "frame 2 first",
            "The parts are right, their order is not: frame 1 comes before frame 2.",
            like=_from_parts(lambda a, b, up: [warp(b, up), a, up]),
        ),
        Mistake(
            "flow in the middle",
            "The parts are right, their order is not: the flow comes last.",
            like=_from_parts(lambda a, b, up: [a, up, warp(b, up)]),
        ),
        Mistake(
            "flow missing",
            "You have six channels: the flow itself is missing. The level must know what the coarser levels found.",
            like=_from_parts(lambda a, b, up: [a, warp(b, up)]),
        ),
        Mistake(
            "frame 2 twice",
            "You have eleven channels: the unwarped frame 2 is included, too. (FlowNet 2.0 does that; SPyNet does not.)",
            like=_from_parts(lambda a, b, up: [a, b, warp(b, up), up]),
        ),
        Mistake(
            "black beyond the frame",
            'Outside the frame you put zeros. Keep the default, padding="border": it repeats the nearest pixel.',
            like=_from_parts(lambda a, b, up: [a, warp(b, up, padding="zeros"), up]),
        ),
        Mistake(
            "nearest",
            "The flow comes in blocks of 2 × 2. Use upsample_flow, which interpolates bilinearly.",
            like=lambda a, b, coarser: torch.cat(
                [a, warp(b, 2 * _interpolated(coarser, "nearest")), 2 * _interpolated(coarser, "nearest")], 1
            ),
        ),
    ),
    hints=(
        "First enlarge V_{k-1} to the size of this level. You already have a function for that.",
        "warp(image2, up) warps frame 2 to frame 1.",
        "torch.cat of three tensors along the channels, in the order frame 1, warped frame 2, flow.",
    ),
)

# --- spynet.level ---------------------------------------------------------------------------------------


def _level_args(h, w, sides=(8, 5, 4, 2), kernel=7):
    def make(g):
        weights = [
            (normal(g, o, i, kernel, kernel) * (2 / (i * kernel**2)) ** 0.5, 0.5 * normal(g, o))
            for i, o in pairwise(sides)
        ]
        image1, image2, coarser = _input_args(h, w)(g)
        return image1, image2, coarser, weights

    return make


def _zeroed(g):
    image1, image2, coarser, weights = _level_args(6, 8)(g)
    return image1, image2, coarser, [(torch.zeros_like(w), torch.zeros_like(b)) for w, b in weights]


def _level_oracle(image1, image2, coarser, weights):
    """Convolution as a product of matrices, in double precision."""
    x = _input_oracle(image1, image2, coarser)
    for n, (weight, bias) in enumerate(weights):
        B, _, h, w = x.shape
        k = weight.shape[-1]
        patches = F.unfold(x, k, padding=k // 2)
        x = (weight.double().flatten(1) @ patches + bias.double()[:, None]).view(B, -1, h, w)
        if n + 1 < len(weights):
            x = x.where(x > 0, 0.0)
    return x + _up(coarser)


def _stack(x, weights, between=torch.relu, after=lambda x: x, biased=True):
    for n, (weight, bias) in enumerate(weights):
        x = F.conv2d(x, weight, bias if biased else None, padding=weight.shape[-1] // 2)
        x = between(x) if n + 1 < len(weights) else after(x)
    return x


def _added(**options):
    return lambda a, b, coarser, weights: (
        _stack(level_input(a, b, coarser), weights, **options) + 2 * _plain_up(coarser)
    )


def _of_input(build):
    def like(a, b, coarser, weights):
        up = 2 * _plain_up(coarser)
        return _stack(torch.cat(build(a, b, up), 1), weights) + up

    return like


forward = Exercise(
    id="spynet.level",
    title="one level, forward",
    library=level_forward,
    oracle=_level_oracle,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape",
            1,
            "V_k has two channels and the size of the images, (B, 2, h, w): a kernel of 7 needs padding 3, and V_{k-1} must be upsampled. Print the shape after each layer.",
            make=_level_args(6, 8),
            test=shape_only,
        ),
        Case(
            "a network that answers zero",
            4,
            "All weights and biases are 0, so the network adds nothing and V_k must be upsample_flow(coarser). Print both: is yours 0, half as long, or twice as long?",
            make=_zeroed,
        ),
        Case(
            "random",
            4,
            "The upsampled flow is right, so look at the network: F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2) for each layer, torch.relu between them, none after the last, and level_input(image1, image2, coarser) as the input.",
            make=around(lambda h, w: _level_args(2 * h, 2 * w), 3, 4),
        ),
        Case(
            "kernels of 3, two layers",
            2,
            "Your answer is right for three layers with kernels of 7; here there are two with kernels of 3. The padding follows the kernel, weight.shape[-1] // 2, which is 1 here, and the number of layers follows from len(weights).",
            make=_level_args(6, 6, (8, 6, 2), 3),
        ),
        Case(
            "no coarser level",
            2,
            "V_{-1} is 0 at the top, so V_0 is the output of the network alone. Its input is image1, image2 unwarped and two channels of zeros.",
            make=lambda g: (*_input_args(6, 8, 0.0)(g), _level_args(6, 8)(g)[3]),
        ),
        Case("gradients", 2, GRADIENT, make=_level_args(6, 8), gradient=True),
    ),
    mistakes=(
        Mistake(
            "increment only",
            "That is v_k, what the network adds. V_k is that *plus* the upsampled flow of the coarser level.",
            like=lambda a, b, coarser, weights: _stack(level_input(a, b, coarser), weights),
        ),
        Mistake(
            "added without the factor",
            "You enlarge the coarser flow without doubling its values. Use upsample_flow.",
            like=lambda a, b, coarser, weights: _stack(level_input(a, b, coarser), weights) + _plain_up(coarser),
        ),
        Mistake(
            "added twice as long",
            "upsample_flow already doubles the values. You do it again before you add.",
            like=lambda a, b, coarser, weights: _stack(level_input(a, b, coarser), weights) + 4 * _plain_up(coarser),
        ),
        Mistake(
            "subtracted",
            "The signs are wrong: V_k = u(V_{k-1}) + v_k.",
            like=lambda a, b, coarser, weights: 2 * _plain_up(coarser) - _stack(level_input(a, b, coarser), weights),
        ),
        Mistake(
            "ReLU at the end",
            "ReLU after the last layer cuts off negative values, so that every motion goes right and down. Do not use it there.",
            like=_added(after=torch.relu),
        ),
        Mistake(
            "ReLU over the sum",
            "ReLU on the sum cuts off negative motions. Use it only between the layers.",
            like=lambda *args: _added()(*args).relu(),
        ),
        Mistake(
            "no ReLU",
            "Without ReLU between them, the layers are just one linear filter.",
            like=_added(between=lambda x: x),
        ),
        Mistake(
            "leaky ReLU",
            "FlowNet's ReLU leaks, SPyNet's does not: torch.relu.",
            like=_added(between=lambda x: F.leaky_relu(x, 0.1)),
        ),
        Mistake("tanh for ReLU", "Use ReLU between the layers, not tanh.", like=_added(between=torch.tanh)),
        Mistake(
            "biases forgotten",
            "You do not use the biases. F.conv2d takes them as its third argument.",
            like=_added(biased=False),
        ),
        Mistake(
            "frame 2 not warped",
            "You pass in the unwarped frame 2. level_input makes the right eight channels.",
            like=_of_input(lambda a, b, up: [a, b, up]),
        ),
        Mistake(
            "frames swapped",
            "You put frame 2 before frame 1. level_input makes the right eight channels.",
            like=_of_input(lambda a, b, up: [warp(b, up), a, up]),
        ),
        Mistake(
            "frame 1 warped",
            "You warp frame 1 instead of frame 2. level_input makes the right eight channels.",
            like=_of_input(lambda a, b, up: [warp(a, up), b, up]),
        ),
    ),
    hints=(
        "Three steps: make the eight channels, run them through the layers, add the upsampled flow.",
        "F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2) keeps the size.",
        "Apply torch.relu after every layer except the last. You may call level_input and upsample_flow.",
    ),
)

# --- spynet.parameters ----------------------------------------------------------------------------------


def _count_oracle(sides, kernel, levels, other):
    nets = [nn.Conv2d(i, o, kernel, device="meta") for _ in range(levels) for i, o in pairwise(sides)]
    count = sum(p.numel() for net in nets for p in net.parameters())
    return count, 100 * (other - count) / other


def _weights_only(sides, kernel):
    return sum(i * o * kernel**2 for i, o in pairwise(sides))


def _counted(count):
    """What one returns who counts wrong, and then goes on rightly."""

    def like(sides, kernel, levels, other):
        wrong = count(sides, kernel, levels)
        return wrong, 100 * (1 - wrong / other)

    return like


def _compared(percent):
    """What one returns who counts rightly, and then compares wrong."""

    def like(sides, kernel, levels, other):
        count, _ = count_parameters(sides, kernel, levels, other)
        return count, percent(count, other)

    return like


def _single(value):
    return isinstance(value, int | float) or (isinstance(value, torch.Tensor) and value.numel() == 1)


def _of_two(member, name):
    """Compares one of the two values that are asked for."""

    def test(got, want):
        if got is None:
            return NOTHING
        if not isinstance(got, tuple) or len(got) != 2:
            told = "two values were expected: the count, and the percentage"
            return Misfit(told, "Return both, separated by a comma: `return count, percentage`.")
        wrong = difference(got[member], want[member])
        if wrong and "expected" not in wrong and got[member] is not None:
            wrong = f"{float(got[member]):,.10g} is not right" if _single(got[member]) else "one number was expected"
        return in_member(name, wrong)

    return test


SPYNET, FLOWNET = (8, 32, 64, 32, 16, 2), 32_070_472  # FlowNetS in the lecture's table

parameters = Exercise(
    id="spynet.parameters",
    title="counting parameters",
    library=count_parameters,
    oracle=_count_oracle,
    cases=(
        Case(
            "one layer, kernel 1",
            2,
            "A 1 × 1 layer from 3 channels to 2 has 3 · 2 = 6 weights and 2 biases, 8 together. Return the count first, then the percentage.",
            make=given((3, 2), 1, 1, 10),
            test=_of_two(0, "the count"),
        ),
        Case(
            "one layer, kernel 7",
            2,
            "A 7 × 7 layer from 8 channels to 32 has 8 · 32 · 49 = 12,544 weights and 32 biases. Your answer is right for a kernel of 1, so check how you use the kernel size: it must be squared.",
            make=given((8, 32), 7, 1, 100_000),
            test=_of_two(0, "the count"),
        ),
        Case(
            "one level of SPyNet",
            2,
            "Your answer is right for one layer but not for five: 8→32, 32→64, 64→32, 32→16 and 16→2, each with i · o · 49 weights and o biases. Print them one by one, and add them up.",
            make=given(SPYNET, 7, 1, FLOWNET),
            test=_of_two(0, "the count"),
        ),
        Case(
            "all five levels",
            2,
            "Your answer is right for one level. Each of the five has its own weights and biases: multiply the whole count by `levels`.",
            make=given(SPYNET, 7, 5, FLOWNET),
            test=_of_two(0, "the count"),
        ),
        Case(
            "percent fewer than FlowNetS",
            2,
            "The count is right. The saving is other - count; as a percentage of `other` that is 100 * (other - count) / other, about 96, not rounded. 0.96 is a fraction, and 4 is the percentage that is left.",
            make=given(SPYNET, 7, 5, FLOWNET),
            test=_of_two(1, "the percentage"),
        ),
    ),
    mistakes=(
        Mistake(
            "biases forgotten",
            "You counted the kernels, but not the biases: there is one for each output channel of each layer.",
            like=_counted(lambda sides, kernel, levels: levels * _weights_only(sides, kernel)),
        ),
        Mistake(
            "one level only",
            "You counted one level. Unlike the steps of a recurrent network, the levels of SPyNet do not share weights.",
            like=_counted(lambda sides, kernel, levels: count_parameters(sides, kernel, 1, 1)[0]),
        ),
        Mistake(
            "kernel not squared",
            "A kernel has a height and a width: kernel × kernel weights, not kernel.",
            like=_counted(lambda sides, kernel, levels: levels * sum(o * (i * kernel + 1) for i, o in pairwise(sides))),
        ),
        Mistake(
            "bias for each input",
            "A bias belongs to an output channel, not to an input channel.",
            like=_counted(lambda sides, kernel, levels: levels * (_weights_only(sides, kernel) + sum(sides[:-1]))),
        ),
        Mistake(
            "bias for all channels",
            "You counted a bias for the eight input channels, too. Only the outputs of layers have one.",
            like=_counted(lambda sides, kernel, levels: levels * (_weights_only(sides, kernel) + sum(sides))),
        ),
        Mistake(
            "one bias per layer",
            "One bias per layer is too few: each output channel has its own.",
            like=_counted(lambda sides, kernel, levels: levels * (_weights_only(sides, kernel) + len(sides) - 1)),
        ),
        Mistake(
            "biases of one level",
            "You counted the biases once. Each level has its own biases, just as it has its own kernels.",
            like=_counted(lambda sides, kernel, levels: levels * _weights_only(sides, kernel) + sum(sides[1:])),
        ),
        Mistake(
            "input channels forgotten",
            "Each output channel has a kernel for *every* input channel: multiply by their number, too.",
            like=_counted(lambda sides, kernel, levels: levels * sum(o * (kernel**2 + 1) for o in sides[1:])),
        ),
        Mistake(
            "share for percent",
            "The count is right. The other number must be in percent: 40, not 0.4.",
            like=_compared(lambda count, other: 1 - count / other),
        ),
        Mistake(
            "percent that is left",
            "The count is right. But that is what is left, in percent of `other`. The question is what has been saved.",
            like=_compared(lambda count, other: 100 * count / other),
        ),
        Mistake(
            "share that is left",
            "The count is right. But that is the fraction that is left. The question is what has been saved, in percent.",
            like=_compared(lambda count, other: count / other),
        ),
        Mistake(
            "percent of the count",
            "The count is right. 'Fewer than `other`' means in percent of `other`: divide by `other`.",
            like=_compared(lambda count, other: 100 * (other - count) / count),
        ),
        Mistake(
            "wrong way round",
            "The count is right. The percentage comes out negative: subtract the count from `other`, not the reverse.",
            like=_compared(lambda count, other: 100 * (count - other) / other),
        ),
        Mistake(
            "percentage first",
            "Both values are right. The count comes first, then the percentage.",
            like=lambda sides, kernel, levels, other: count_parameters(sides, kernel, levels, other)[::-1],
        ),
        Mistake(
            "rounded",
            "You rounded the percentage. Return the exact value; you can round it when you print it.",
            when=lambda got, want: (
                isinstance(got, tuple)
                and len(got) == 2
                and _single(got[0])
                and got[0] == want[0]
                and _single(got[1])
                and abs(got[1] - want[1]) < 0.51
            ),
        ),
        Mistake(
            "count only",
            "The answer has two values: return the count and the percentage, with a comma between them.",
            when=lambda got, want: not isinstance(got, tuple | dict) or len(got) == 1,
        ),
    ),
    hints=(
        "Count one layer first: from i channels to o channels with a kernel of k × k.",
        "It has i · o · k² weights and o biases. Sum over neighbours in `sides`, times levels.",
        "The saving is other - count. To get it in percent of `other`, multiply by 100 and divide by `other`.",
    ),
)

# --- spynet.vanish --------------------------------------------------------------------------------------

_SCENES = {
    "a ball 128 px wide moves 16 px": (
        "found",
        "A motion of 16 px is 2 px at level 1, which is 8 times smaller. How wide is the ball of 128 px there, and can it still be seen?",
    ),
    "a ball 64 px wide moves 4 px": (
        "found",
        "A motion of 4 px is 1 px at level 2, which is 4 times smaller. How wide is the ball of 64 px there, and can it still be seen?",
    ),
    "a ball 32 px wide moves 64 px": (
        "lost",
        "A motion of 64 px is 4 px at level 0 and 8 px at level 1, so it is small only at level 0. How wide is the ball of 32 px there, and does it move further than that?",
    ),
    "a ball 8 px wide moves 16 px": (
        "lost",
        "A motion of 16 px is 1 px at level 0. How wide is the ball of 8 px there, in pixels of that level?",
    ),
    "the whole picture moves 48 px": (
        "found",
        "A motion of 48 px is 3 px at level 0. How wide is what moves there: is anything left of the complete image?",
    ),
}


def what_is_found():
    """Each scene, and whether SPyNet finds the motion."""
    return {scene: answer for scene, (answer, _) in _SCENES.items()}


def _scene_case(scene):
    return choice_case(scene, _SCENES[scene][1], "think again", ("found", "lost"), "is neither 'found' nor 'lost'")


vanish = Exercise(
    id="spynet.vanish",
    title="what is found",
    kind="answer",
    library=what_is_found,
    oracle=what_is_found,
    cases=tuple(map(_scene_case, _SCENES)),
    mistakes=(
        Mistake(
            "whole picture lost",
            "However far the whole image moves, at the top it is still a whole image, and moves a sixteenth as far.",
            when=answered("the whole picture moves 48 px", "lost"),
        ),
        Mistake(
            "tiny ball found",
            "Sixteen full-size pixels become one at the top. A ball of 8 px is a quarter of such a pixel's area, averaged away.",
            when=answered("a ball 8 px wide moves 16 px", "found"),
        ),
        Mistake(
            "small ball found",
            "Where the motion is 4 or 8 pixels, this ball is 2 or 4 pixels wide and moves twice its own width. How could "
            "it be recognised?",
            when=answered("a ball 32 px wide moves 64 px", "found"),
        ),
        Mistake(
            "large ball lost",
            "A ball of 128 px is 8 px wide even at the top, and moves 1 px there.",
            when=answered("a ball 128 px wide moves 16 px", "lost"),
        ),
        Mistake(
            "slow ball lost",
            "A motion of 4 px is one pixel at level 2, where the ball is 16 px wide.",
            when=answered("a ball 64 px wide moves 4 px", "lost"),
        ),
    ),
    hints=(
        "Ask for each level, from the top: how wide is the ball here, and how far does it move?",
        "The motion must be found at a level where it is small, and the ball must still be visible there.",
        "Compare the motion with the width of what moves. Which of the five moves further than it is wide?",
    ),
)

EXERCISES = [pyramid, look, upsample, inputs, residual, forward, parameters, vanish]
