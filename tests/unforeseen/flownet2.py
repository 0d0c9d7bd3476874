"""Unforeseen wrong answers to the exercises of notebook 06."""

import math
from itertools import pairwise
from statistics import mean, median, stdev

import torch

from cvdl.course.exercises.chapters.flownet2 import what_is_frozen
from cvdl.flow import in_frame, warp
from tests.unforeseen import Collection

WRONG = Collection()

# --- flownet2.rate


@WRONG.add("flownet2.rate", "scaled the wrong way")
def _(step, steps, start, marks, length):
    """step * steps / length instead of step * length / steps."""
    return start / 2 ** sum(step * steps / length >= mark for mark in marks)


@WRONG.add("flownet2.rate", "half for each mark subtracted")
def _(step, steps, start, marks, length):
    """Each mark takes away half of the first rate, which is 0 after two marks."""
    return start * (1 - 0.5 * sum(step / steps >= mark / length for mark in marks))


@WRONG.add("flownet2.rate", "falling smoothly")
def _(step, steps, start, marks, length):
    """Exponential decay between the marks instead of steps."""
    return start * 0.5 ** (len(marks) * step / steps)


@WRONG.add("flownet2.rate", "halved at the start")
def _(step, steps, start, marks, length):
    """The beginning counts as a mark, so that the rate is halved once too often."""
    return start / 2 ** sum(step / steps >= mark / length for mark in [0, *marks])


@WRONG.add("flownet2.rate", "marks to come counted")
def _(step, steps, start, marks, length):
    """Halved once for each mark that is still to come."""
    return start / 2 ** sum(step / steps < mark / length for mark in marks)


# --- flownet2.spread


@WRONG.add("flownet2.spread", "median for mean")
def _(values):
    """The median instead of the mean."""
    return median(values), stdev(values) / math.sqrt(len(values))


@WRONG.add("flownet2.spread", "95 % interval")
def _(values):
    """1.96 standard errors, half the width of a confidence interval."""
    return mean(values), 1.96 * stdev(values) / math.sqrt(len(values))


@WRONG.add("flownet2.spread", "mean divided by n - 1")
def _(values):
    """The sum is divided by n - 1, in the mean as in the variance."""
    centre = sum(values) / (len(values) - 1)
    variance = sum((v - centre) ** 2 for v in values) / (len(values) - 1)
    return centre, math.sqrt(variance / len(values))


@WRONG.add("flownet2.spread", "mean absolute deviation")
def _(values):
    """Absolute deviations instead of squared ones."""
    centre = mean(values)
    return centre, sum(abs(v - centre) for v in values) / (len(values) - 1) / math.sqrt(len(values))


@WRONG.add("flownet2.spread", "interval returned")
def _(values):
    """The two ends, mean ± error, instead of mean and error."""
    error = stdev(values) / math.sqrt(len(values))
    return mean(values) - error, mean(values) + error


# --- flownet2.input


def _difference(a, b):
    return (a - b).square().sum(1, keepdim=True).sqrt()


@WRONG.add("flownet2.input", "image 2 missing")
def _(image1, image2, flow):
    """Image 2 as it is is left out: 9 channels."""
    warped = warp(image2, flow)
    return torch.cat([image1, warped, flow / 20, _difference(image1, warped)], dim=1)


@WRONG.add("flownet2.input", "warped by flow / 20")
def _(image1, image2, flow):
    """The flow is divided by 20 before warping, too."""
    flow = flow / 20
    warped = warp(image2, flow)
    return torch.cat([image1, image2, warped, flow, _difference(image1, warped)], dim=1)


@WRONG.add("flownet2.input", "image 2 first")
def _(image1, image2, flow):
    """The two images are exchanged."""
    warped = warp(image2, flow)
    return torch.cat([image2, image1, warped, flow / 20, _difference(image1, warped)], dim=1)


@WRONG.add("flownet2.input", "brightness error / 20")
def _(image1, image2, flow):
    """The brightness error is divided by 20, too."""
    warped = warp(image2, flow)
    return torch.cat([image1, image2, warped, flow / 20, _difference(image1, warped) / 20], dim=1)


@WRONG.add("flownet2.input", "components exchanged for warping")
def _(image1, image2, flow):
    """warp gets the flow as (dy, dx)."""
    warped = warp(image2, flow.flip(1))
    return torch.cat([image1, image2, warped, flow / 20, _difference(image1, warped)], dim=1)


@WRONG.add("flownet2.input", "greatest over the colours")
def _(image1, image2, flow):
    """The greatest difference of the three colours instead of the length."""
    warped = warp(image2, flow)
    gap = (image1 - warped).abs().amax(1, keepdim=True)
    return torch.cat([image1, image2, warped, flow / 20, gap], dim=1)


# --- flownet2.frozen

WRONG.choose(
    "flownet2.frozen",
    "short words",
    "Words of one's own instead of the three texts.",
    what_is_frozen,
    {"A": "learns", "E": "learns"},
)
WRONG.choose(
    "flownet2.frozen",
    "does it learn?",
    "True and False instead of the texts.",
    what_is_frozen,
    {"A": True, "C": False, "D": False},
)
WRONG.choose(
    "flownet2.frozen", "D and E left open", "Two lines have no answer yet.", what_is_frozen, {"D": ..., "E": ...}
)

# --- flownet2.count


@WRONG.add("flownet2.count", "one network too few")
def _(layers, nets, channels):
    """range(1, nets): the last network is not counted."""
    total = 0
    for net in range(1, nets):
        for n, (inputs, outputs, kernel, bias) in enumerate(layers):
            inputs = channels if net > 1 and n == 0 else inputs
            total += inputs * outputs * kernel**2 + outputs * bias
    return total


@WRONG.add("flownet2.count", "a bias for each input")
def _(layers, nets, channels):
    """The number of biases is that of the inputs, not of the outputs."""
    total = 0
    for net in range(nets):
        for n, (inputs, outputs, kernel, bias) in enumerate(layers):
            inputs = channels if net > 0 and n == 0 else inputs
            total += inputs * outputs * kernel**2 + inputs * bias
    return total


@WRONG.add("flownet2.count", "channels come out of the first layer")
def _(layers, nets, channels):
    """In later networks the outputs of the first layer are replaced instead of its inputs."""
    total = 0
    for net in range(nets):
        for n, (inputs, outputs, kernel, bias) in enumerate(layers):
            outputs = channels if net > 0 and n == 0 else outputs
            total += inputs * outputs * kernel**2 + outputs * bias
    return total


@WRONG.add("flownet2.count", "one bias for each layer")
def _(layers, nets, channels):
    """A bias counts as one number."""
    total = 0
    for net in range(nets):
        for n, (inputs, outputs, kernel, bias) in enumerate(layers):
            inputs = channels if net > 0 and n == 0 else inputs
            total += inputs * outputs * kernel**2 + bias
    return total


@WRONG.add("flownet2.count", "channels added")
def _(layers, nets, channels):
    """`channels` come on top of the first layer's inputs instead of replacing them."""
    total = 0
    for net in range(nets):
        for n, (inputs, outputs, kernel, bias) in enumerate(layers):
            inputs = inputs + channels if net > 0 and n == 0 else inputs
            total += inputs * outputs * kernel**2 + outputs * bias
    return total


# --- flownet2.fusion


def _length(flow):
    return flow.norm(dim=1, keepdim=True)


@WRONG.add("flownet2.fusion", "lengths exchanged")
def _(image1, image2, flow, small):
    """The length of `flow` comes before that of `small`."""
    gaps = [_difference(image1, warp(image2, each)) for each in (small, flow)]
    return torch.cat([image1, small, flow, _length(flow), _length(small), *gaps], dim=1)


@WRONG.add("flownet2.fusion", "brightness errors exchanged")
def _(image1, image2, flow, small):
    """The brightness error of `flow` comes before that of `small`."""
    gaps = [_difference(image1, warp(image2, each)) for each in (flow, small)]
    return torch.cat([image1, small, flow, _length(small), _length(flow), *gaps], dim=1)


@WRONG.add("flownet2.fusion", "one brightness error twice")
def _(image1, image2, flow, small):
    """Both brightness errors come from `small`."""
    gap = _difference(image1, warp(image2, small))
    return torch.cat([image1, small, flow, _length(small), _length(flow), gap, gap], dim=1)


@WRONG.add("flownet2.fusion", "brightness errors before lengths")
def _(image1, image2, flow, small):
    """The last two pairs of channels are exchanged."""
    gaps = [_difference(image1, warp(image2, each)) for each in (small, flow)]
    return torch.cat([image1, small, flow, *gaps, _length(small), _length(flow)], dim=1)


@WRONG.add("flownet2.fusion", "image 1 warped")
def _(image1, image2, flow, small):
    """Image 1 is warped and compared with image 2."""
    gaps = [_difference(image2, warp(image1, each)) for each in (small, flow)]
    return torch.cat([image1, small, flow, _length(small), _length(flow), *gaps], dim=1)


# --- flownet2.bands


def _by_speed(flow, truth, edges, pick):
    errors, speed = (flow - truth).norm(dim=1), truth.norm(dim=1)
    return [pick(errors, (speed >= low) & (speed < high)) for low, high in pairwise([0, *edges, math.inf])]


@WRONG.add("flownet2.bands", "root of the mean square")
def _(flow, truth, edges):
    """The root of the mean square in each band instead of the mean."""
    return _by_speed(flow, truth, edges, lambda errors, band: errors[band].square().mean().sqrt().item())


@WRONG.add("flownet2.bands", "last band missing")
def _(flow, truth, edges):
    """No band from the last edge on."""
    return _by_speed(flow, truth, edges, lambda errors, band: errors[band].mean().item())[:-1]


@WRONG.add("flownet2.bands", "summed")
def _(flow, truth, edges):
    """The sum of the errors in each band."""
    return _by_speed(flow, truth, edges, lambda errors, band: errors[band].sum().item())


@WRONG.add("flownet2.bands", "squared speed")
def _(flow, truth, edges):
    """The squared speed is compared with the edges; the root is forgotten."""
    errors, speed = (flow - truth).norm(dim=1), truth.square().sum(1)
    bounds = [0, *edges, math.inf]
    return [errors[(speed >= low) & (speed < high)].mean().item() for low, high in pairwise(bounds)]


@WRONG.add("flownet2.bands", "share of the pixels")
def _(flow, truth, edges):
    """How many of the pixels are in each band, not how wrong they are."""
    return _by_speed(flow, truth, edges, lambda errors, band: band.float().mean().item())


# --- flownet2.front


@WRONG.add("flownet2.front", "by name")
def _(methods):
    """The front in the order of its names."""
    front = [n for n, (t, e) in methods.items() if not _beaten(methods, t, e)]
    return sorted(front)


def _beaten(methods, t, e):
    return any(a <= t and b <= e and (a, b) != (t, e) for a, b in methods.values())


@WRONG.add("flownet2.front", "with their numbers")
def _(methods):
    """Names with their two numbers instead of names."""
    front = [(n, m) for n, m in methods.items() if not _beaten(methods, *m)]
    return sorted(front, key=lambda member: member[1][0])


@WRONG.add("flownet2.front", "better than the one before")
def _(methods):
    """Each is compared with the next faster one only, on the front or not."""
    names = sorted(methods, key=methods.get)
    return names[:1] + [b for a, b in pairwise(names) if methods[b][1] < methods[a][1]]


@WRONG.add("flownet2.front", "the best product")
def _(methods):
    """The one with the least product of time and error."""
    return [min(methods, key=lambda n: methods[n][0] * methods[n][1])]


@WRONG.add("flownet2.front", "not sorted")
def _(methods):
    """The front in the order of the dict."""
    return [n for n, (t, e) in methods.items() if not _beaten(methods, t, e)]


# --- flownet2.warping


@WRONG.add("flownet2.warping", "summed over the colours")
def _(frames, flows):
    """The three colours are added instead of averaged."""
    gap = 255 * (warp(frames[1:], flows) - frames[:-1]).abs().sum(1)
    stays = in_frame(flows)[:, 0]
    return torch.stack([g[s].mean() for g, s in zip(gap, stays, strict=True)])


@WRONG.add("flownet2.warping", "first pair only")
def _(frames, flows):
    """`return` stands inside the loop."""
    for t in range(len(flows)):
        gap = 255 * (warp(frames[t + 1 : t + 2], flows[t : t + 1]) - frames[t]).abs().mean(1)
        return gap[in_frame(flows[t : t + 1])[:, 0]].mean()[None]


@WRONG.add("flownet2.warping", "length over the colours")
def _(frames, flows):
    """The length of the difference over the colours, as in the brightness error."""
    gap = 255 * (warp(frames[1:], flows) - frames[:-1]).norm(dim=1)
    stays = in_frame(flows)[:, 0]
    return torch.stack([g[s].mean() for g, s in zip(gap, stays, strict=True)])


@WRONG.add("flownet2.warping", "mask inverted")
def _(frames, flows):
    """The pixels whose flow leaves the frame count instead of those that stay."""
    gap = 255 * (warp(frames[1:], flows) - frames[:-1]).abs().mean(1)
    stays = in_frame(flows)[:, 0]
    return torch.stack([g[~s].mean() for g, s in zip(gap, stays, strict=True)])


@WRONG.add("flownet2.warping", "sign kept")
def _(frames, flows):
    """abs is forgotten: brighter and darker cancel."""
    gap = 255 * (warp(frames[1:], flows) - frames[:-1]).mean(1)
    stays = in_frame(flows)[:, 0]
    return torch.stack([g[s].mean() for g, s in zip(gap, stays, strict=True)])


@WRONG.add("flownet2.warping", "mask of the first pair")
def _(frames, flows):
    """All pairs use the mask of the first flow."""
    gap = 255 * (warp(frames[1:], flows) - frames[:-1]).abs().mean(1)
    return gap[:, in_frame(flows)[0, 0]].mean(1)
