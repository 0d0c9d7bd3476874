"""Right and wrong answers to the exercises of notebook 07, as students write them."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.course.exercises.chapters.spynet import level_input, what_is_found
from cvdl.flow import warp

# --- spynet.pyramid


def _pyramid(image, count):
    images = [image]
    while len(images) < count:
        B, C, H, W = images[0].shape
        images.insert(0, images[0].reshape(B, C, H // 2, 2, W // 2, 2).mean(dim=(3, 5)))
    return images


def _pyramid_pooled(image, count):
    out = []
    for _ in range(count):
        out.append(image)
        image = F.avg_pool2d(image, 2)
    return tuple(reversed(out))


def _pyramid_slices(image, count):
    if count == 1:
        return [image]
    top, bottom = image[..., 0::2, :], image[..., 1::2, :]
    half = (top[..., 0::2] + top[..., 1::2] + bottom[..., 0::2] + bottom[..., 1::2]) / 4
    return [*_pyramid_slices(half, count - 1), image]


def _pyramid_interpolated(image, count):
    return [F.interpolate(image.double(), scale_factor=0.5**k, mode="area") for k in range(count - 1, -1, -1)]


def _pyramid_sum(image, count):
    images = [image]
    while len(images) < count:
        i = images[0]
        images.insert(0, i[..., ::2, ::2] + i[..., 1::2, ::2] + i[..., ::2, 1::2] + i[..., 1::2, 1::2])
    return images


def _pyramid_nearest(image, count):
    return [F.interpolate(image, scale_factor=0.5**k, mode="nearest") for k in reversed(range(count))]


def _pyramid_reversed(image, count):
    images = [image]
    for _ in range(count - 1):
        images.append(F.avg_pool2d(images[-1], 2))
    return images


def _pyramid_max(image, count):
    return [F.max_pool2d(image, 2**k) if k else image for k in reversed(range(count))]


def _pyramid_longer(image, count):
    images = [image]
    for _ in range(count):
        images.append(F.avg_pool2d(images[-1], 2))
    return images[::-1]


def _pyramid_mixed(image, count):
    images = [image]
    while len(images) < count:
        B, C, H, W = images[0].shape
        images.insert(0, images[0].view(B, C, 2, H // 2, 2, W // 2).mean(dim=(2, 4)))
    return images


def _pyramid_narrow(image, count):
    images = [image]
    while len(images) < count:
        images.insert(0, F.avg_pool2d(images[0], (1, 2)))
    return images


def _pyramid_halved(image, count):
    images = [image]
    while len(images) < count:
        i = images[0]
        images.insert(0, (i[..., ::2, ::2] + i[..., 1::2, ::2] + i[..., ::2, 1::2] + i[..., 1::2, 1::2]) / 2)
    return images


# --- spynet.reach


def _reach(kernels, factor):
    far = 0
    for kernel in kernels:
        far += kernel // 2
    return far * factor


def _reach_field(kernels, factor):
    field = 1
    for kernel in kernels:
        field = field + kernel - 1
    return torch.tensor((field - 1) / 2 * factor)


def _reach_width(kernels, factor):
    field = 1
    for kernel in kernels:
        field += kernel - 1
    return field * factor


def _reach_both(kernels, factor):
    return 2 * _reach(kernels, factor)


def _reach_level(kernels, factor):
    return _reach(kernels, 1)


def _reach_divided(kernels, factor):
    return _reach(kernels, 1) / factor


def _reach_halves(kernels, factor):
    return sum(k / 2 for k in kernels) * factor


def _reach_own(kernels, factor):
    return sum((k + 1) // 2 for k in kernels) * factor


def _reach_seven(kernels, factor):
    return len(kernels) * 3 * factor


def _reach_half_field(kernels, factor):
    return _reach_width(kernels, factor) // 2


# --- spynet.upsample


def _upsample(flow):
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)


def _upsample_module(flow):
    _, _, h, w = flow.shape
    return nn.Upsample(size=(2 * h, 2 * w), mode="bilinear")(2.0 * flow)


def _upsample_loops(flow):
    B, C, h, w = flow.shape
    out = torch.zeros(B, C, 2 * h, 2 * w)
    rows = []
    for i in range(2 * h):
        y = min(max((i + 0.5) / 2 - 0.5, 0), h - 1)
        y0 = int(y)
        y1, fy = min(y0 + 1, h - 1), y - y0
        row = []
        for j in range(2 * w):
            x = min(max((j + 0.5) / 2 - 0.5, 0), w - 1)
            x0 = int(x)
            x1, fx = min(x0 + 1, w - 1), x - x0
            top = (1 - fx) * flow[:, :, y0, x0] + fx * flow[:, :, y0, x1]
            bottom = (1 - fx) * flow[:, :, y1, x0] + fx * flow[:, :, y1, x1]
            row.append(2 * ((1 - fy) * top + fy * bottom))
        rows.append(torch.stack(row, -1))
    return out + torch.stack(rows, -2)


def _upsample_forgotten(flow):
    return F.interpolate(flow, scale_factor=2, mode="bilinear")


def _upsample_nearest(flow):
    return 2 * flow.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _upsample_default(flow):
    return F.interpolate(flow, scale_factor=2)


def _upsample_divided(flow):
    return F.interpolate(flow, scale_factor=2, mode="bilinear") / 2


def _upsample_corners(flow):
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)


def _upsample_exchanged(flow):
    return _upsample(flow[:, [1, 0]])


# --- spynet.residual


def _residual(truth, coarser):
    up = _upsample(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    return F.avg_pool2d(truth, factor) / factor - up


def _residual_halving(truth, coarser):
    while truth.shape[-1] > 2 * coarser.shape[-1]:
        truth = F.avg_pool2d(truth, 2) / 2
    return truth - _upsample(coarser)


def _residual_area(truth, coarser):
    H, h = truth.shape[2], 2 * coarser.shape[2]
    return F.interpolate(truth.double(), size=(h, 2 * coarser.shape[3]), mode="area") * (h / H) - _upsample_module(
        coarser
    )


def _residual_turned(truth, coarser):
    return -_residual(truth, coarser)


def _residual_undivided(truth, coarser):
    up = _upsample(coarser)
    return F.adaptive_avg_pool2d(truth, up.shape[2:]) - up


def _residual_no_factor(truth, coarser):
    up = _upsample_forgotten(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    return F.avg_pool2d(truth, factor) / factor - up


def _residual_whole(truth, coarser):
    factor = truth.shape[-1] // (2 * coarser.shape[-1])
    return F.avg_pool2d(truth, factor) / factor


def _residual_picked(truth, coarser):
    up = _upsample(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    return F.interpolate(truth, size=up.shape[2:], mode="nearest") / factor - up


def _residual_quarter(truth, coarser):
    up = _upsample(coarser)
    return F.adaptive_avg_pool2d(truth, up.shape[2:]) / 4 - up


def _residual_sums(truth, coarser):
    up = _upsample(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    B, _, H, W = truth.shape
    return truth.reshape(B, 2, H // factor, factor, W // factor, factor).sum((3, 5)) / factor - up


def _residual_multiplied(truth, coarser):
    up = _upsample(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    return F.avg_pool2d(truth, factor) * factor - up


def _residual_exchanged(truth, coarser):
    return _residual(truth, coarser).flip(1)


def _residual_halved(truth, coarser):
    up = _upsample(coarser)
    return F.adaptive_avg_pool2d(truth, up.shape[2:]) / 2 - up


def _residual_twice(truth, coarser):
    return _residual(truth, coarser) - _upsample(coarser)


def _residual_unscaled(truth, coarser):
    up = _upsample_forgotten(coarser)
    return F.adaptive_avg_pool2d(truth, up.shape[2:]) - up


def _residual_max(truth, coarser):
    up = _upsample(coarser)
    factor = truth.shape[-1] // up.shape[-1]
    return F.max_pool2d(truth, factor) / factor - up


def _residual_bilinear(truth, coarser):
    up = _upsample(coarser)
    return F.interpolate(truth, size=up.shape[2:], mode="bilinear") * up.shape[2] / truth.shape[2] - up


# --- spynet.input


def _input(image1, image2, coarser):
    up = _upsample(coarser)
    return torch.cat([image1, warp(image2, up), up], dim=1)


def _input_filled(image1, image2, coarser):
    B, _, h, w = image1.shape
    x = torch.empty(B, 8, h, w)
    x[:, 6:] = _upsample_loops(coarser)
    x[:, :3] = image1
    x[:, 3:6] = warp(image2, x[:, 6:])
    return x


def _input_frame1(image1, image2, coarser):
    up = _upsample(coarser)
    return torch.cat([warp(image1, up), image2, up], dim=1)


def _input_unwarped(image1, image2, coarser):
    return torch.cat([image1, image2, _upsample(coarser)], dim=1)


def _input_flow_first(image1, image2, coarser):
    up = _upsample(coarser)
    return torch.cat([up, image1, warp(image2, up)], dim=1)


def _input_no_factor(image1, image2, coarser):
    up = _upsample_forgotten(coarser)
    return torch.cat([image1, warp(image2, up), up], dim=1)


def _input_flow_short(image1, image2, coarser):
    return torch.cat([image1, warp(image2, _upsample(coarser)), _upsample_forgotten(coarser)], dim=1)


def _input_warp_short(image1, image2, coarser):
    return torch.cat([image1, warp(image2, _upsample_forgotten(coarser)), _upsample(coarser)], dim=1)


def _input_zeros(image1, image2, coarser):
    up = _upsample(coarser)
    return torch.cat([image1, warp(image2, up, "zeros"), up], dim=1)


def _input_six(image1, image2, coarser):
    return torch.cat([image1, warp(image2, _upsample(coarser))], dim=1)


# --- spynet.level


def _level(image1, image2, coarser, weights):
    x = _input(image1, image2, coarser)
    for weight, bias in weights[:-1]:
        x = torch.relu(F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))
    weight, bias = weights[-1]
    return _upsample(coarser) + F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _level_modules(image1, image2, coarser, weights):
    x = level_input(image1, image2, coarser)
    first = True
    for weight, bias in weights:
        x = x if first else nn.functional.relu(x)
        first = False
        x = F.conv2d(x, weight, padding="same") + bias[:, None, None]
    return x + x.new_tensor(2.0) * F.interpolate(coarser, size=x.shape[2:], mode="bilinear")


def _level_increment(image1, image2, coarser, weights):
    return _level(image1, image2, coarser, weights) - _upsample(coarser)


def _level_all_relu(image1, image2, coarser, weights):
    x = level_input(image1, image2, coarser)
    for weight, bias in weights:
        x = F.relu(F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))
    return _upsample(coarser) + x


def _level_no_relu(image1, image2, coarser, weights):
    x = level_input(image1, image2, coarser)
    for weight, bias in weights:
        x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    return _upsample(coarser) + x


def _level_no_factor(image1, image2, coarser, weights):
    return _level(image1, image2, coarser, weights) - _upsample_forgotten(coarser)


def _level_long(image1, image2, coarser, weights):
    return _level(image1, image2, coarser, weights) + _upsample(coarser)


def _level_no_bias(image1, image2, coarser, weights):
    return _level(image1, image2, coarser, [(w, torch.zeros_like(b)) for w, b in weights])


def _level_padding_3(image1, image2, coarser, weights):
    x = level_input(image1, image2, coarser)
    for n, (weight, bias) in enumerate(weights):
        x = F.conv2d(x if n == 0 else x.relu(), weight, bias, padding=3)
    return x + _upsample(coarser)


# --- spynet.parameters


def _count(sides, kernel, levels, other):
    total = 0
    for n in range(len(sides) - 1):
        i, o = sides[n], sides[n + 1]
        total += kernel * kernel * i * o + o
    total = levels * total
    return total, 100 * (1 - total / other)


def _count_modules(sides, kernel, levels, other):
    layers = [nn.Conv2d(sides[n], sides[n + 1], kernel) for n in range(len(sides) - 1)]
    count = torch.tensor(sum(p.numel() for layer in layers for p in layer.parameters())) * levels
    return [count, (other - count) / other * 100]


def _count_no_bias(sides, kernel, levels, other):
    count = levels * kernel**2 * sum(a * b for a, b in pairwise(sides))
    return count, (other - count) / other * 100


def _count_once(sides, kernel, levels, other):
    return _count(sides, kernel, 1, other)


def _count_line(sides, kernel, levels, other):
    count = levels * sum(kernel * a * b + b for a, b in pairwise(sides))
    return count, (other - count) / other * 100


def _count_share(sides, kernel, levels, other):
    count, percent = _count(sides, kernel, levels, other)
    return count, percent / 100


def _count_left(sides, kernel, levels, other):
    count, _ = _count(sides, kernel, levels, other)
    return count, 100 * count / other


def _count_swapped(sides, kernel, levels, other):
    count, percent = _count(sides, kernel, levels, other)
    return percent, count


def _count_rounded(sides, kernel, levels, other):
    count, percent = _count(sides, kernel, levels, other)
    return count, round(percent, 1)


def _count_alone(sides, kernel, levels, other):
    return _count(sides, kernel, levels, other)[0]


def _count_per_layer(sides, kernel, levels, other):
    s = torch.tensor(sides)
    n = levels * (kernel**2 * s[:-1] * s[1:] + s[1:])
    return n, 100 * (other - n) / other


def _count_open(sides, kernel, levels, other):
    return _count(sides, kernel, levels, other)[0], ...


# --- spynet.vanish


def _changed(scene, answer):
    return lambda: {**what_is_found(), scene: answer}


def _listed():
    return {scene: answer.capitalize() for scene, answer in what_is_found().items()}


RIGHT = {
    "spynet.pyramid": [_pyramid, _pyramid_pooled, _pyramid_slices, _pyramid_interpolated],
    "spynet.reach": [_reach, _reach_field],
    "spynet.upsample": [_upsample, _upsample_module, _upsample_loops],
    "spynet.residual": [_residual, _residual_halving, _residual_area],
    "spynet.input": [_input, _input_filled],
    "spynet.level": [_level, _level_modules],
    "spynet.parameters": [_count, _count_modules],
    "spynet.vanish": [what_is_found, _listed],
}
WRONG = {
    "spynet.pyramid": {
        "sum for mean": _pyramid_sum,
        "every second pixel": _pyramid_nearest,
        "finest first": _pyramid_reversed,
        "greatest for mean": _pyramid_max,
        "one too many": _pyramid_longer,
        "not neighbours": _pyramid_mixed,
        "one axis only": _pyramid_narrow,
        "divided by two": _pyramid_halved,
    },
    "spynet.reach": {
        "width of the field": _reach_width,
        "both sides": _reach_both,
        "factor forgotten": _reach_level,
        "divided by the factor": _reach_divided,
        "half kernels": _reach_halves,
        "own pixel counted": _reach_own,
        "always seven": _reach_seven,
        "half of the field": _reach_half_field,
    },
    "spynet.upsample": {
        "factor forgotten": _upsample_forgotten,
        "nearest": _upsample_nearest,
        "nearest, factor forgotten": _upsample_default,
        "halved": _upsample_divided,
        "corners aligned": _upsample_corners,
        "x and y exchanged": _upsample_exchanged,
    },
    "spynet.residual": {
        "wrong way round": _residual_turned,
        "truth still in full-size pixels": _residual_undivided,
        "coarser flow not doubled": _residual_no_factor,
        "nothing subtracted": _residual_whole,
        "truth subsampled": _residual_picked,
        "truth divided by 2": _residual_halved,
        "truth divided by 4": _residual_quarter,
        "truth multiplied": [_residual_multiplied, _residual_sums],
        "coarser flow doubled twice": _residual_twice,
        "values as they were": _residual_unscaled,
        "greatest for mean": _residual_max,
        "truth interpolated": _residual_bilinear,
    },
    "spynet.input": {
        "frame 1 warped": _input_frame1,
        "nothing warped": _input_unwarped,
        "flow first": _input_flow_first,
        "factor forgotten": _input_no_factor,
        "black beyond the frame": _input_zeros,
        "flow missing": _input_six,
        "flow channels not doubled": _input_flow_short,
        "warped half as far": _input_warp_short,
    },
    "spynet.level": {
        "increment only": _level_increment,
        "ReLU at the end": _level_all_relu,
        "no ReLU": _level_no_relu,
        "added without the factor": _level_no_factor,
        "added twice as long": _level_long,
        "biases forgotten": _level_no_bias,
    },
    "spynet.parameters": {
        "biases forgotten": _count_no_bias,
        "one level only": _count_once,
        "kernel not squared": _count_line,
        "share for percent": _count_share,
        "percent that is left": _count_left,
        "rounded": _count_rounded,
        "percentage first": _count_swapped,
        "count only": _count_alone,
    },
    "spynet.vanish": {
        "whole picture lost": _changed("the whole picture moves 48 px", "lost"),
        "tiny ball found": _changed("a ball 8 px wide moves 16 px", "found"),
        "small ball found": _changed("a ball 32 px wide moves 64 px", "found"),
        "large ball lost": [_changed("a ball 128 px wide moves 16 px", word) for word in ("lost", "Lost ")],
        "slow ball lost": _changed("a ball 64 px wide moves 4 px", "lost"),
    },
}

OTHERS = {
    "spynet.residual": [(_residual_exchanged, "The target is the difference")],
    "spynet.level": [(_level_padding_3, "The padding follows the kernel")],
    "spynet.parameters": [(_count_per_layer, ""), (_count_open, "count is right")],
}
