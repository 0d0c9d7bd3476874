"""Right and wrong answers to the exercises of notebook 05, as students write them."""

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.flownet import read_picture

# --- flownet.picture


def _picture(**changed):
    names = {"furthest": "goes furthest", "turns": "turns", "nearer": "comes nearer", "still": "stands still"}
    names["dy"] = "sign of dy in A"
    return lambda: read_picture() | {names[k]: v for k, v in changed.items()}


def _picture_written():
    return {
        "sign of dy in A": "negative",
        "stands still": "C",
        "comes nearer": "E",
        "turns": "D",
        "goes furthest": "B",
    }


# --- flownet.epe


def _epe(flow, truth, valid):
    errors = (flow - truth).square().sum(1, keepdim=True).sqrt()
    return errors[valid].mean()


def _epe_norm(flow, truth, valid):
    where = valid[:, 0]
    x, y = flow[:, 0][where] - truth[:, 0][where], flow[:, 1][where] - truth[:, 1][where]
    return torch.hypot(x, y).mean().item()


def _epe_where(flow, truth, valid):
    error = torch.where(valid, (flow - truth).norm(dim=1, keepdim=True), 0.0)
    return error.sum() / valid.sum()


def _epe_times(flow, truth, valid):
    return ((flow - truth).norm(dim=1, keepdim=True) * valid).sum() / valid.sum()


def _epe_per_pair(flow, truth, valid):
    errors = (flow - truth).norm(dim=1, keepdim=True)
    return sum(errors[b][valid[b]].mean() for b in range(len(flow))) / len(flow)


def _epe_inverted(flow, truth, valid):
    return (flow - truth).norm(dim=1, keepdim=True)[~valid].mean()


def _epe_times_mean(flow, truth, valid):
    return torch.mean((flow - truth).norm(dim=1, keepdim=True) * valid)


def _epe_axis(flow, truth, valid):
    """Lengths along the wrong axis."""
    return ((flow - truth).square().sum(3, keepdim=True).sqrt() * valid).sum() / valid.sum()


def _epe_all(flow, truth, valid):
    return (flow - truth).norm(dim=1, keepdim=True).masked_fill(~valid, 0).mean()


def _epe_no_mask(flow, truth, valid):
    return ((flow - truth) ** 2).sum(1).sqrt().nan_to_num().mean()


def _epe_l1(flow, truth, valid):
    return (flow - truth).abs().sum(1)[valid[:, 0]].mean()


def _epe_squared(flow, truth, valid):
    return ((flow - truth) ** 2).sum(1)[valid[:, 0]].mean()


def _epe_rms(flow, truth, valid):
    return _epe_squared(flow, truth, valid).sqrt()


# --- flownet.warp


def _warp(image2, flow):
    _, H, W = image2.shape
    x = (torch.arange(W) + flow[0]).clamp(0, W - 1)
    y = (torch.arange(H)[:, None] + flow[1]).clamp(0, H - 1)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=W - 1), (top + 1).clamp(max=H - 1)
    a, b = x - left, y - top
    above = (1 - a) * image2[:, top, left] + a * image2[:, top, right]
    below = (1 - a) * image2[:, bottom, left] + a * image2[:, bottom, right]
    return (1 - b) * above + b * below


def _warp_loops(image2, flow, sign=1, clamp=True, nearest=False):
    _, H, W = image2.shape
    out = torch.zeros_like(image2)
    for i in range(H):
        for j in range(W):
            x, y = j + sign * flow[0, i, j].item(), i + sign * flow[1, i, j].item()
            if clamp:
                x, y = min(max(x, 0), W - 1), min(max(y, 0), H - 1)
            if nearest:
                x, y = round(x), round(y)
            x0, y0 = int(x // 1), int(y // 1)
            for yy, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
                for xx, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
                    if 0 <= xx < W and 0 <= yy < H:
                        out[:, i, j] += wx * wy * image2[:, yy, xx]
    return out


def _warp_back(image2, flow):
    return _warp_loops(image2, flow, sign=-1)


def _warp_zeros(image2, flow):
    return _warp_loops(image2, flow, clamp=False)


def _warp_nearest(image2, flow):
    return _warp_loops(image2, flow, nearest=True)


def _warp_open(image2, flow):
    """The right neighbour is not clamped."""
    _, H, W = image2.shape
    x = (torch.arange(W) + flow[0]).clamp(0, W - 1)
    y = (torch.arange(H)[:, None] + flow[1]).clamp(0, H - 1)
    left, top = x.floor().long(), y.floor().long()
    bottom = (top + 1).clamp(max=H - 1)
    a, b = x - left, y - top
    above = (1 - a) * image2[:, top, left] + a * image2[:, top, left + 1]
    below = (1 - a) * image2[:, bottom, left] + a * image2[:, bottom, left + 1]
    return (1 - b) * above + b * below


def _warp_swapped(image2, flow):
    return _warp(image2, torch.stack([flow[1], flow[0]]))


def _warp_grid(image2, flow):
    H, W = image2.shape[-2:]
    x = (torch.arange(W) + flow[0]).double()
    y = (torch.arange(H).view(-1, 1) + flow[1]).double()
    grid = torch.stack([x / max(W - 1, 1) * 2 - 1, y / max(H - 1, 1) * 2 - 1], dim=-1)[None]
    return F.grid_sample(image2.double()[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]


def _warp_weights(image2, flow):
    _, H, W = image2.shape
    x = (torch.arange(W) + flow[0]).clamp(0, W - 1)
    y = (torch.arange(H)[:, None] + flow[1]).clamp(0, H - 1)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=W - 1), (top + 1).clamp(max=H - 1)
    a, b = x - left, y - top
    above = a * image2[:, top, left] + (1 - a) * image2[:, top, right]
    below = a * image2[:, bottom, left] + (1 - a) * image2[:, bottom, right]
    return b * above + (1 - b) * below


# --- flownet.refine


def _refine(features, flow, skip, up, up_flow):
    larger = F.leaky_relu(F.conv_transpose2d(features, up, stride=2, padding=1), 0.1)
    flow = F.conv_transpose2d(flow, up_flow, stride=2, padding=1)
    return torch.cat([skip, larger, flow], dim=1)


def _refine_module(features, flow, skip, up, up_flow):
    out = []
    for x, w in ((features, up), (flow, up_flow)):
        layer = torch.nn.ConvTranspose2d(w.shape[0], w.shape[1], 4, 2, 1, bias=False).to(w.dtype)
        out.append(torch.func.functional_call(layer, {"weight": w}, (x,)))
    return torch.concat((skip, torch.where(out[0] > 0, out[0], 0.1 * out[0]), out[1]), 1)


def _refine_order(features, flow, skip, up, up_flow):
    parts = _refine(features, flow, skip, up, up_flow).split([skip.shape[1], up.shape[1], 2], 1)
    return torch.cat([parts[1], parts[0], parts[2]], 1)


def _refine_flow_second(features, flow, skip, up, up_flow):
    parts = _refine(features, flow, skip, up, up_flow).split([skip.shape[1], up.shape[1], 2], 1)
    return torch.cat([parts[0], parts[2], parts[1]], 1)


def _refine_default_slope(features, flow, skip, up, up_flow):
    larger = F.leaky_relu(F.conv_transpose2d(features, up, stride=2, padding=1))
    return torch.cat([skip, larger, F.conv_transpose2d(flow, up_flow, stride=2, padding=1)], dim=1)


def _refine_linear(features, flow, skip, up, up_flow):
    larger = F.conv_transpose2d(features, up, stride=2, padding=1)
    return torch.cat([skip, larger, F.conv_transpose2d(flow, up_flow, stride=2, padding=1)], dim=1)


def _refine_bilinear(features, flow, skip, up, up_flow):
    larger = F.leaky_relu(F.conv_transpose2d(features, up, stride=2, padding=1), 0.1)
    return torch.cat([skip, larger, F.interpolate(flow, scale_factor=2, mode="bilinear")], dim=1)


# --- flownet.loss


def _loss(flows, truth, weights):
    total = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.avg_pool2d(truth, truth.shape[-1] // flow.shape[-1])
        total = total + weight * ((flow - target) / 20).norm(dim=1).sum() / len(flow)
    return total


def _loss_pairs(flows, truth, weights):
    total = torch.zeros(())
    for b in range(len(truth)):
        for flow, weight in zip(flows, weights, strict=True):
            target = F.interpolate(truth[b : b + 1], size=flow.shape[-2:], mode="area")[0]
            gap = flow[b] / 20 - target / 20
            total = total + weight * (gap**2).sum(0).sqrt().sum()
    return total / len(truth)


def _loss_mean(flows, truth, weights):
    total = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.adaptive_avg_pool2d(truth, flow.shape[-2:])
        total = total + weight * ((flow - target) / 20).norm(dim=1).mean()
    return total


def _loss_unscaled(flows, truth, weights):
    return 20 * _loss(flows, truth, weights)


def _loss_batch(flows, truth, weights):
    return len(truth) * _loss(flows, truth, weights)


def _loss_nearest(flows, truth, weights):
    total = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.interpolate(truth, size=flow.shape[-2:], mode="nearest")
        total = total + weight * ((flow - target) / 20).norm(dim=1).sum() / len(flow)
    return total


def _loss_squared(flows, truth, weights):
    total = 0
    for flow, weight in zip(flows, weights, strict=True):
        target = F.adaptive_avg_pool2d(truth, flow.shape[-2:])
        total = total + weight * (((flow - target) / 20) ** 2).sum() / len(flow)
    return total


def _loss_shrunk(flows, truth, weights):
    total = 0
    for flow, weight in zip(flows, weights, strict=True):
        cell = truth.shape[-1] // flow.shape[-1]
        total = total + weight * ((flow - F.avg_pool2d(truth, cell) / cell) / 20).norm(dim=1).sum() / len(flow)
    return total


# --- flownet.score


def _score(f1, f2, here, there, k):
    _, H, W = f1.shape
    total = 0.0
    for oy in range(-k, k + 1):
        for ox in range(-k, k + 1):
            x1, y1, x2, y2 = here[0] + ox, here[1] + oy, there[0] + ox, there[1] + oy
            if min(x1, x2, y1, y2) >= 0 and max(x1, x2) < W and max(y1, y2) < H:
                total = total + f1[:, y1, x1] @ f2[:, y2, x2]
    return total


def _score_padded(f1, f2, here, there, k):
    f1, f2 = F.pad(f1, (k, k, k, k)), F.pad(f2, (k, k, k, k))
    (x1, y1), (x2, y2), n = here, there, 2 * k + 1
    return (f1[:, y1 : y1 + n, x1 : x1 + n] * f2[:, y2 : y2 + n, x2 : x2 + n]).sum().item()


def _score_point(f1, f2, here, there, k):
    return f1[:, here[1], here[0]] @ f2[:, there[1], there[0]]


def _score_open(f1, f2, here, there, k):
    return sum(
        (
            _score_point(f1, f2, (here[0] + ox, here[1] + oy), (there[0] + ox, there[1] + oy), 0)
            for ox in range(-k, k or 1)
            for oy in range(-k, k or 1)
            if min(here[0] + ox, here[1] + oy, there[0] + ox, there[1] + oy) >= 0
            and max(here[0] + ox, there[0] + ox) < f1.shape[2]
        ),
        torch.zeros(()),
    )


def _score_mean(f1, f2, here, there, k):
    n = sum(
        0 <= here[0] + ox < f1.shape[2]
        and 0 <= there[0] + ox < f1.shape[2]
        and 0 <= here[1] + oy < f1.shape[1]
        and 0 <= there[1] + oy < f1.shape[1]
        for ox in range(-k, k + 1)
        for oy in range(-k, k + 1)
    )
    return _score(f1, f2, here, there, k) / (n * f1.shape[0])


def _score_swapped(f1, f2, here, there, k):
    return _score(f1.transpose(1, 2), f2.transpose(1, 2), here, there, k)


def _score_x_alone(f1, f2, here, there, k):
    W = f1.shape[2]
    total = 0.0
    for oy in range(-k, k + 1):
        for ox in range(-k, k + 1):
            x1, y1, x2, y2 = here[0] + ox, here[1] + oy, there[0] + ox, there[1] + oy
            if 0 <= x1 < W and 0 <= x2 < W:
                total = total + f1[:, y1, x1] @ f2[:, y2, x2]
    return total


def _score_upper_alone(f1, f2, here, there, k):
    _, H, W = f1.shape
    offsets = [(ox, oy) for oy in range(-k, k + 1) for ox in range(-k, k + 1)]
    return sum(
        f1[:, here[1] + oy, here[0] + ox] @ f2[:, there[1] + oy, there[0] + ox]
        for ox, oy in offsets
        if max(here[0], there[0]) + ox < W and max(here[1], there[1]) + oy < H
    )


def _score_wrapped(f1, f2, here, there, k):
    f1 = f1.roll((k - here[1], k - here[0]), (1, 2))[:, : 2 * k + 1, : 2 * k + 1]
    f2 = f2.roll((k - there[1], k - there[0]), (1, 2))[:, : 2 * k + 1, : 2 * k + 1]
    return (f1 * f2).sum()


# --- flownet.correlation


def _correlation(f1, f2, d, stride):
    H, W = f1.shape[-2:]
    wide = F.pad(f2, [d] * 4)
    maps = []
    for dy in range(-d, d + 1, stride):
        for dx in range(-d, d + 1, stride):
            moved = wide[..., d + dy : d + dy + H, d + dx : d + dx + W]
            maps.append((f1 * moved).mean(1))
    return torch.stack(maps, dim=1)


def _correlation_unfold(f1, f2, d, stride):
    B, C, H, W = f1.shape
    windows = F.unfold(F.pad(f2, [d] * 4), (2 * d + 1, 2 * d + 1)).view(B, C, 2 * d + 1, 2 * d + 1, H, W)
    scores = torch.einsum("bchw,bcijhw->bijhw", f1, windows[:, :, ::stride, ::stride]) / C
    return scores.flatten(1, 2)


def _correlation_summed(f1, f2, d, stride):
    return f1.shape[1] * _correlation(f1, f2, d, stride)


def _correlation_roll(f1, f2, d, stride):
    steps = range(-d, d + 1, stride)
    return torch.cat([(f1 * f2.roll((-dy, -dx), (2, 3))).mean(1, True) for dy in steps for dx in steps], 1)


def _correlation_dx(f1, f2, d, stride):
    steps = range(-d, d + 1, stride)
    wide, (H, W) = F.pad(f2, [d] * 4), f1.shape[-2:]
    return torch.stack(
        [(f1 * wide[..., d + dy : d + dy + H, d + dx : d + dx + W]).mean(1) for dx in steps for dy in steps], 1
    )


def _correlation_away(f1, f2, d, stride):
    steps = range(-d, d + 1, stride)
    wide, (H, W) = F.pad(f2, [d] * 4), f1.shape[-2:]
    return torch.stack(
        [(f1 * wide[..., d - dy : d - dy + H, d - dx : d - dx + W]).mean(1) for dy in steps for dx in steps], 1
    )


def _correlation_dense(f1, f2, d, stride):
    return _correlation(f1, f2, d, 1)


# --- flownet.product


def _product(f1, f2, d):
    wide = F.pad(f2, [d] * 4)
    return f1.flatten(2).transpose(1, 2) @ wide.flatten(2) / f1.shape[1]


def _product_bmm(f1, f2, d):
    B, C, H, W = f1.shape
    wide = torch.zeros(B, C, H + 2 * d, W + 2 * d, dtype=f2.dtype)
    wide[:, :, d : d + H, d : d + W] = f2
    return torch.bmm(f1.reshape(B, C, -1).permute(0, 2, 1) / C, wide.reshape(B, C, -1))


def _product_turned(f1, f2, d):
    return _product(f1, f2, d).transpose(1, 2)


def _product_sum(f1, f2, d):
    return f1.flatten(2).transpose(1, 2) @ F.pad(f2, [d] * 4).flatten(2)


def _product_narrow(f1, f2, d):
    return f1.flatten(2).transpose(1, 2) @ f2.flatten(2) / f1.shape[1]


def _product_channels(f1, f2, d):
    return f1.flatten(2) @ f2.flatten(2).transpose(1, 2) / f1.shape[1]


def _product_replicate(f1, f2, d):
    wide = F.pad(f2, [d] * 4, mode="replicate")
    return f1.flatten(2).transpose(1, 2) @ wide.flatten(2) / f1.shape[1]


def _product_half_border(f1, f2, d):
    wide = F.pad(f2, [d, d])
    return f1.flatten(2).transpose(1, 2) @ wide.flatten(2) / f1.shape[1]


# --- flownet.channels


def _channels(d, stride, shrink):
    n = 2 * d // stride + 1
    return n * n, d * shrink, stride * shrink


def _channels_listed(d, stride, shrink):
    pairs = [(x, y) for x in range(-d, d + stride, stride) for y in range(-d, d + stride, stride)]
    return [len(pairs), max(pairs)[0] * shrink, (pairs[1][1] - pairs[0][1]) * shrink]


def _channels_even(d, stride, shrink):
    return (2 * d // stride) ** 2, d * shrink, stride * shrink


def _channels_row(d, stride, shrink):
    return len(range(-d, d + 1, stride)), d * shrink, stride * shrink


def _channels_map(d, stride, shrink):
    return len(range(-d, d + 1, stride)) ** 2, d, stride


def _channels_order(*order):
    return lambda *args: [_channels(*args)[n] for n in order]


def _channels_both_sides(more):
    return lambda d, stride, shrink: (len(range(-d, d + 1, stride)) ** 2, (2 * d + more) * shrink, stride * shrink)


def _channels_all(d, stride, shrink):
    return (2 * d + 1) ** 2, d * shrink, stride * shrink


RIGHT = {
    "flownet.picture": [_picture(), _picture_written, _picture(turns="d", dy="Negative")],
    "flownet.epe": [_epe, _epe_norm, _epe_where],
    "flownet.warp": [_warp, _warp_loops, _warp_grid],
    "flownet.refine": [_refine, _refine_module],
    "flownet.loss": [_loss, _loss_pairs],
    "flownet.score": [_score, _score_padded],
    "flownet.correlation": [_correlation, _correlation_unfold],
    "flownet.product": [_product, _product_bmm],
    "flownet.channels": [_channels, _channels_listed],
}

WRONG = {
    "flownet.picture": {
        "turning and growing confused": _picture(turns="E", nearer="D"),
        "y upwards": _picture(dy="positive"),
        "dx for dy": _picture(dy="zero"),
        "largest taken for furthest": _picture(furthest="E"),
        "middle of the turning one": _picture(still="D"),
    },
    "flownet.epe": {
        "multiplied by the mask": [_epe_times],
        "multiplied by the mask, divided by all": _epe_times_mean,
        "mean of the pairs' means": _epe_per_pair,
        "mask inverted": _epe_inverted,
        "divided by all": _epe_all,
        "sum of both components": _epe_l1,
        "root forgotten": _epe_squared,
        "root at the end": _epe_rms,
    },
    "flownet.warp": {
        "wrong direction": _warp_back,
        "zeros beyond the frame": _warp_zeros,
        "nearest pixel": _warp_nearest,
        "x and y swapped": _warp_swapped,
        "weights swapped": _warp_weights,
    },
    "flownet.refine": {
        "order: features first": _refine_order,
        "order: flow before features": _refine_flow_second,
        "other slope": _refine_default_slope,
        "no ReLU": _refine_linear,
        "flow interpolated": _refine_bilinear,
    },
    "flownet.loss": {
        "mean over pixels": _loss_mean,
        "20 forgotten": _loss_unscaled,
        "not divided by the batch": _loss_batch,
        "truth scaled with its size": _loss_shrunk,
    },
    "flownet.score": {
        "patch left out": _score_point,
        "mean for sum": _score_mean,
        "x and y swapped": _score_swapped,
        "around the corner": _score_wrapped,
    },
    "flownet.correlation": {
        "sum over channels": _correlation_summed,
        "wrapped around": _correlation_roll,
        "mx slowest": _correlation_dx,
        "wrong direction": _correlation_away,
        "stride ignored": _correlation_dense,
    },
    "flownet.product": {
        "transposed": _product_turned,
        "sum over channels": _product_sum,
        "no border": _product_narrow,
        "channels by channels": _product_channels,
        "edge repeated": _product_replicate,
    },
    "flownet.channels": {
        "zero left out": _channels_even,
        "one direction only": _channels_row,
        "reach in points of the map": _channels_map,
        "stride ignored": _channels_all,
        "in the wrong order": [_channels_order(0, 2, 1), _channels_order(1, 2, 0)],
        "reach to both sides": _channels_both_sides(0),
        "reach to both sides and the middle": _channels_both_sides(1),
    },
}
OTHERS = {
    "flownet.picture": [(_picture(furthest="e"), "The *size* of a disc")],
    "flownet.epe": [(_epe_axis, "")],
    "flownet.warp": [(_warp_open, "the size minus 1")],
    "flownet.score": [(_score_x_alone, ""), (_score_upper_alone, "An index of -1")],
    "flownet.product": [(_product_half_border, "each of the four sides")],
}
