"""Right and wrong answers to the exercises of notebook 06, as students write them."""

import math
import statistics

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.flownet2 import what_is_frozen
from cvdl.flow import in_frame, warp

# --- flownet2.rate


def _rate(step, steps, start, marks, length):
    reached = sum(step / steps >= mark / length for mark in marks)
    return start / 2**reached


def _rate_loop(step, steps, start, marks, length):
    for mark in marks:
        if step < mark * steps / length:
            break
        start = start * 0.5
    return torch.tensor(start)


def _rate_raw(step, steps, start, marks, length):
    return start / 2 ** sum(step >= mark for mark in marks)


def _rate_once(step, steps, start, marks, length):
    return start / 2 if step / steps >= marks[0] / length else start


def _rate_late(step, steps, start, marks, length):
    return start / 2 ** len([mark for mark in marks if step / steps > mark / length])


def _rate_early(step, steps, start, marks, length):
    return start / 2 ** sum((step + 1) / steps >= mark / length for mark in marks)


def _rate_rounded(step, steps, start, marks, length):
    return start * 0.5 ** sum(step >= int(mark * steps / length) for mark in marks)


def _rate_nearest(step, steps, start, marks, length):
    return start * 0.5 ** sum(step >= round(mark * steps / length) for mark in marks)


def _rate_sum(step, steps, start, marks, length):
    return start / (1 + sum(step * length >= mark * steps for mark in marks))


# --- flownet2.spread


def _spread(values):
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def _spread_torch(values):
    values = torch.tensor(values)
    return values.mean(), values.std() / len(values) ** 0.5


def _spread_deviation(values):
    return statistics.mean(values), torch.tensor(values).std().item()


def _spread_n(values):
    mean = sum(values) / len(values)
    return mean, (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5 / len(values) ** 0.5


def _spread_two(values):
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values) - 1)


def _spread_three(values):
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(3)


def _spread_error_first(values):
    return _spread(values)[::-1]


def _spread_no_root(values):
    return statistics.mean(values), statistics.stdev(values) / len(values)


def _spread_range(values):
    return sum(values) / len(values), 0.5 * (max(values) - min(values))


# --- flownet2.input


def _input(image1, image2, flow):
    warped = warp(image2, flow)
    error = ((image1 - warped) ** 2).sum(1, keepdim=True).sqrt()
    return torch.cat([image1, image2, warped, flow / 20, error], dim=1)


def _input_grid(image1, image2, flow):
    H, W = flow.shape[-2:]
    x, y = torch.arange(W) + flow[:, 0], torch.arange(H)[:, None] + flow[:, 1]
    grid = torch.stack([2 * x / (W - 1) - 1, 2 * y / (H - 1) - 1], -1)
    back = F.grid_sample(image2, grid, padding_mode="border", align_corners=True) if H > 1 else warp(image2, flow)
    return torch.hstack([image1, image2, back, 0.05 * flow, torch.linalg.norm(back - image1, dim=1)[:, None]])


def _input_pixels(image1, image2, flow):
    parts = list(_input(image1, image2, flow).split([3, 3, 3, 2, 1], 1))
    return torch.cat([*parts[:3], flow, parts[4]], 1)


def _input_away(image1, image2, flow):
    return torch.cat(
        [image1, image2, warp(image2, -flow), flow / 20, (image1 - warp(image2, -flow)).norm(dim=1, keepdim=True)], 1
    )


def _input_first(image1, image2, flow):
    warped = warp(image1, flow)
    return torch.cat([image1, image2, warped, flow / 20, (image1 - warped).norm(dim=1, keepdim=True)], 1)


def _input_order(image1, image2, flow):
    parts = _input(image1, image2, flow).split([3, 3, 3, 2, 1], 1)
    return torch.cat([parts[0], parts[1], parts[3], parts[2], parts[4]], 1)


def _input_mean(image1, image2, flow):
    warped = warp(image2, flow)
    return torch.cat([image1, image2, warped, flow / 20, (image1 - warped).abs().mean(1, keepdim=True)], 1)


def _input_red(image1, image2, flow):
    warped = warp(image2, flow)
    return torch.cat([image1, image2, warped, flow / 20, (image1 - warped)[:, :1].abs()], 1)


def _input_unwarped(image1, image2, flow):
    gap = (image1 - image2).norm(dim=1, keepdim=True)
    return torch.cat([image1, image2, warp(image2, flow), flow / 20, gap], 1)


def _input_three(image1, image2, flow):
    warped = warp(image2, flow)
    return torch.cat([image1, image2, warped, flow / 20, (image1 - warped).abs()], 1)


# --- flownet2.frozen


def _frozen(**changed):
    return lambda: what_is_frozen() | changed


def _frozen_written():
    return {"E": "it learns", "D": "nothing", "C": "nothing", "B": "gradients in vain", "A": "it learns"}


# --- flownet2.count


def _count(layers, nets, channels):
    total = 0
    for net in range(nets):
        for n, (inputs, outputs, kernel, bias) in enumerate(layers):
            if n == 0 and net > 0:
                inputs = channels
            total += inputs * outputs * kernel * kernel
            if bias:
                total += outputs
    return total


def _count_tensors(layers, nets, channels):
    def one(seen):
        first, *rest = layers
        shapes = [(first[1], seen, first[2], first[2]), *((o, i, k, k) for i, o, k, _ in rest)]
        return sum(math.prod(shape) for shape in shapes) + sum(o for _, o, _, bias in layers if bias)

    return one(layers[0][0]) + (nets - 1) * one(channels)


def _count_no_bias(layers, nets, channels):
    return _count([(i, o, k, False) for i, o, k, _ in layers], nets, channels)


def _count_all_bias(layers, nets, channels):
    return _count([(i, o, k, True) for i, o, k, _ in layers], nets, channels)


def _count_alike(layers, nets, channels):
    return nets * _count(layers, 1, channels)


def _count_one(layers, nets, channels):
    return _count(layers, 1, channels)


def _count_wide(layers, nets, channels):
    (_, *first), *rest = layers
    return nets * _count([(channels, *first), *rest], 1, channels)


# --- flownet2.fusion


def _fusion(image1, image2, flow, small):
    def length(v):
        return (v**2).sum(1, keepdim=True).sqrt()

    error_small, error_flow = length(image1 - warp(image2, small)), length(image1 - warp(image2, flow))
    return torch.cat([image1, small, flow, length(small), length(flow), error_small, error_flow], dim=1)


def _fusion_norm(image1, image2, flow, small):
    flows = [small, flow]
    lengths = [f.norm(dim=1)[:, None] for f in flows]
    errors = [(warp(image2, f) - image1).norm(dim=1)[:, None] for f in flows]
    return torch.hstack([image1, *flows, *lengths, *errors])


def _fusion_turned(image1, image2, flow, small):
    return _fusion(image1, image2, small, flow)


def _fusion_units(image1, image2, flow, small):
    out = _fusion(image1, image2, flow, small).clone()
    out[:, 3:9] /= 20
    return out


def _fusion_squares(image1, image2, flow, small):
    parts = _fusion(image1, image2, flow, small).split([7, 2, 2], 1)
    return torch.cat([parts[0], parts[1] ** 2, parts[2]], 1)


def _fusion_unwarped(image1, image2, flow, small):
    gap = (image1 - image2).norm(dim=1, keepdim=True)
    return torch.cat([_fusion(image1, image2, flow, small)[:, :9], gap, gap], 1)


def _fusion_grouped(image1, image2, flow, small):
    def about(v):
        return [v, v.norm(dim=1, keepdim=True), (image1 - warp(image2, v)).norm(dim=1, keepdim=True)]

    return torch.cat([image1, *about(small), *about(flow)], 1)


# --- flownet2.bands


def _bands(flow, truth, edges):
    errors = ((flow - truth) ** 2).sum(1).sqrt()
    speed = (truth**2).sum(1).sqrt()
    means = []
    for low, high in zip([0, *edges], [*edges, float("inf")], strict=True):
        means.append(errors[(speed >= low) & (speed < high)].mean().item())
    return means


def _bands_numbers(flow, truth, edges):
    errors, speed = (flow - truth).norm(dim=1).flatten(), truth.norm(dim=1).flatten()
    number = sum((speed >= edge).long() for edge in edges)
    return [errors[number == n].mean().item() for n in range(len(edges) + 1)]


def _bands_estimate(flow, truth, edges):
    errors, speed = (flow - truth).norm(dim=1), flow.norm(dim=1)
    return [
        errors[(speed >= low) & (speed < high)].mean().item()
        for low, high in zip([0, *edges], [*edges, math.inf], strict=True)
    ]


def _bands_upper(flow, truth, edges):
    errors, speed = (flow - truth).norm(dim=1), truth.norm(dim=1)
    bounds = [-1, *edges, math.inf]
    return [errors[(speed > bounds[n]) & (speed <= bounds[n + 1])].mean().item() for n in range(len(edges) + 1)]


def _bands_zero(flow, truth, edges):
    return [0.0 if math.isnan(each) else each for each in _bands(flow, truth, edges)]


def _bands_share(flow, truth, edges):
    errors, speed = (flow - truth).norm(dim=1), truth.norm(dim=1)
    masks = [(speed >= low) & (speed < high) for low, high in zip([0, *edges], [*edges, math.inf], strict=True)]
    return [(errors * m).mean().item() if m.any() else math.nan for m in masks]


# --- flownet2.front


def _front(methods):
    names = []
    for name, (time, error) in methods.items():
        others = [v for other, v in methods.items() if other != name]
        if not any(t <= time and e <= error and (t, e) != (time, error) for t, e in others):
            names.append(name)
    return sorted(names, key=lambda name: methods[name])


def _front_sweep(methods):
    best, kept = float("inf"), []
    for name in sorted(methods, key=methods.get):
        if methods[name][1] < best:
            best = methods[name][1]
            kept.append(name)
    return tuple(kept)


def _front_sorted(methods):
    """In the order of the names where times are equal, from the last one on."""
    names = sorted(_front(methods), reverse=True)
    return sorted(names, key=lambda name: methods[name][0])


def _front_no_equal(methods):
    kept = [
        n
        for n, (t, e) in methods.items()
        if not any(a <= t and b <= e for other, (a, b) in methods.items() if other != n)
    ]
    return sorted(kept, key=lambda n: methods[n][0])


def _front_strict(methods):
    kept = [n for n, (t, e) in methods.items() if not any(a < t and b < e for a, b in methods.values())]
    return sorted(kept, key=lambda n: methods[n][0])


def _front_slowest(methods):
    return _front(methods)[::-1]


def _front_by_error(methods):
    return sorted(_front(methods), key=lambda name: methods[name][1])


def _front_beaten(methods):
    return sorted(set(methods) - set(_front(methods)), key=lambda n: methods[n][0])


def _front_ends(methods):
    fastest = min(methods, key=lambda n: methods[n][0])
    best = min(methods, key=lambda n: methods[n][1])
    return [fastest, best]


# --- flownet2.warping


def _clip(frames, flows):
    back = warp(frames[1:], flows)
    gap = 255 * (back - frames[:-1]).abs().mean(1)
    stays = in_frame(flows)[:, 0]
    return torch.stack([gap[t][stays[t]].mean() for t in range(len(flows))])


def _clip_one_by_one(frames, flows):
    errors = []
    for t in range(len(flows)):
        back = warp(frames[t + 1][None], flows[t][None])
        stays = in_frame(flows[t][None]).expand(1, 3, -1, -1)
        errors.append((back - frames[t][None]).abs()[stays].mean().item() * 255)
    return torch.tensor(errors)


def _clip_everywhere(frames, flows):
    return 255 * (warp(frames[1:], flows) - frames[:-1]).abs().mean((1, 2, 3))


def _clip_zeros(frames, flows):
    return 255 * ((warp(frames[1:], flows) - frames[:-1]).abs() * in_frame(flows)).mean((1, 2, 3))


def _clip_swapped(frames, flows):
    return _clip(frames.flip(0), flows.flip(0)).flip(0)


def _clip_small(frames, flows):
    return _clip(frames, flows) / 255


def _clip_mean(frames, flows):
    return _clip(frames, flows).mean()


def _clip_away(frames, flows):
    return _clip(frames, -flows)


RIGHT = {
    "flownet2.rate": [_rate, _rate_loop],
    "flownet2.spread": [_spread, _spread_torch],
    "flownet2.input": [_input, _input_grid],
    "flownet2.frozen": [_frozen(), _frozen_written],
    "flownet2.count": [_count, _count_tensors],
    "flownet2.fusion": [_fusion, _fusion_norm],
    "flownet2.bands": [_bands, _bands_numbers],
    "flownet2.front": [_front, _front_sorted],
    "flownet2.warping": [_clip, _clip_one_by_one],
}

WRONG = {
    "flownet2.rate": {
        "not scaled": _rate_raw,
        "halved once": _rate_once,
        "one step late": _rate_late,
        "divided by their number": _rate_sum,
        "one step early": _rate_early,
        "marks rounded": [_rate_rounded, _rate_nearest],
    },
    "flownet2.spread": {
        "deviation": _spread_deviation,
        "divided by n": _spread_n,
        "root of n missing": _spread_no_root,
        "range": _spread_range,
        "in the wrong order": _spread_error_first,
        "root of n - 1": _spread_two,
    },
    "flownet2.input": {
        "20 forgotten": _input_pixels,
        "wrong direction": _input_away,
        "frame 1 warped": _input_first,
        "flow before the warped image": _input_order,
        "mean of the colours": _input_mean,
        "not warped in the error": _input_unwarped,
        "one for each colour": _input_three,
    },
    "flownet2.frozen": {
        "eval freezes": [_frozen(E="nothing"), _frozen(E="Nothing")],
        "the optimiser saves the work": _frozen(B="nothing"),
        "left out, and yet it learns": _frozen(B="it learns"),
        "requires_grad_ only hides": _frozen(C="gradients in vain"),
        "no_grad only hides": _frozen(D="gradients in vain"),
        "frozen by itself": _frozen(A="nothing"),
    },
    "flownet2.count": {
        "biases forgotten": _count_no_bias,
        "a bias everywhere": _count_all_bias,
        "all alike": _count_alike,
        "one network only": _count_one,
        "the first, too": _count_wide,
    },
    "flownet2.fusion": {
        "flow before small": _fusion_turned,
        "squared lengths": _fusion_squares,
        "not warped": _fusion_unwarped,
        "grouped by flow": _fusion_grouped,
        "in units of 20": _fusion_units,
    },
    "flownet2.bands": {
        "by the estimate's speed": _bands_estimate,
        "upper edge in the band": _bands_upper,
        "empty is zero": _bands_zero,
        "share of the whole": _bands_share,
    },
    "flownet2.front": {
        "equals are kept": _front_strict,
        "one of two twins": _front_sweep,
        "both twins thrown out": _front_no_equal,
        "in the wrong order": [_front_slowest, _front_by_error],
        "the beaten ones": _front_beaten,
        "only the two ends": _front_ends,
    },
    "flownet2.warping": {
        "mask forgotten": _clip_everywhere,
        "divided by all": _clip_zeros,
        "frames swapped": _clip_swapped,
        "255 forgotten": _clip_small,
        "one number for the clip": _clip_mean,
        "wrong direction": _clip_away,
    },
}

OTHERS = {
    "flownet2.spread": [(_spread_three, "contain a fixed 3 or √3")],
    "flownet2.input": [(_input_red, "6–8 image 2 warped, that is, read at x + 1")],
}
