"""Right and wrong answers to the exercises of notebook 08, as students write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.course.exercises.chapters.likenet import count_branches, match_maps

LN2 = math.log(2)

# --- likenet.candidates


def _candidates(reach):
    return torch.tensor([[dx, dy] for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)])


def _candidates_product(reach):
    side = torch.arange(-reach, reach + 1)
    return torch.cartesian_prod(side, side)[:, [1, 0]]


def _candidates_meshgrid(reach):
    side = torch.arange(-reach, reach + 1)
    dx, dy = torch.meshgrid(side, side, indexing="xy")
    return torch.stack([dx.flatten(), dy.flatten()], dim=1)


def _candidates_swapped(reach):
    side = torch.arange(-reach, reach + 1)
    return torch.cartesian_prod(side, side)


def _candidates_short(reach):
    side = torch.arange(-reach, reach)
    return torch.cartesian_prod(side, side)[:, [1, 0]].reshape(-1, 2)


def _candidates_positive(reach):
    side = torch.arange(reach + 1)
    return torch.cartesian_prod(side, side)[:, [1, 0]]


def _candidates_upward(reach):
    return torch.tensor([[dx, dy] for dy in range(reach, -reach - 1, -1) for dx in range(-reach, reach + 1)])


def _candidates_moving(reach):
    every = _candidates(reach)
    return every[every.abs().sum(1) > 0]


# --- likenet.jsd


def _jsd(p, q):
    m = (p + q) / 2
    left = torch.where(p > 0, p * torch.log(p / m), torch.zeros_like(p)).sum(dim=1)
    right = torch.where(q > 0, q * torch.log(q / m), torch.zeros_like(q)).sum(dim=1)
    return 0.5 * left + 0.5 * right


def _jsd_xlogy(p, q):
    m = (p + q) / 2
    return (torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)).sum(1) / 2


def _jsd_entropies(p, q):
    def H(d):
        d = d.double()
        return -(d * (d + 1e-300).log()).sum(1)

    return H((p + q) / 2) - H(p) / 2 - H(q) / 2


def _jsd_kl_div(p, q):
    m = ((p + q) / 2).clamp(min=1e-38).log()
    return sum(F.kl_div(m, d, reduction="none").sum(1) for d in (p, q)) / 2


def _jsd_four_axes(p, q):
    B, C, h, w = p.shape
    m = (p + q) / 2
    return ((torch.xlogy(p, p) + torch.xlogy(q, q)) / 2 - torch.xlogy(m, m)).reshape(B, C, h, w).sum(1)


def _jsd_third_from_last(p, q):
    m = (p + q) / 2
    return ((torch.xlogy(p, p) + torch.xlogy(q, q)) / 2 - torch.xlogy(m, m)).sum(-3)


def _jsd_nan(p, q):
    m = (p + q) / 2
    return ((p * (p / m).log()).sum(1) + (q * (q / m).log()).sum(1)) / 2


def _jsd_root(p, q):
    return _jsd(p, q).clamp(min=0) ** 0.5


def _jsd_double(p, q):
    m = (p + q) / 2
    return (torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(m, m)).sum(1)


def _jsd_kl(p, q):
    m = (p + q) / 2
    return (torch.xlogy(p, p) - torch.xlogy(p, m)).sum(1)


def _jsd_bits(p, q):
    p, q = p.clamp(min=1e-30), q.clamp(min=1e-30)
    m = (p + q) / 2
    return (p * torch.log2(p / m) + q * torch.log2(q / m)).sum(1) / 2


def _jsd_sum_middle(p, q):
    s = p + q
    return (torch.xlogy(p, p) - torch.xlogy(p, s) + torch.xlogy(q, q) - torch.xlogy(q, s)).sum(1) / 2


# --- likenet.distance


def _distance(p, q, reach):
    B, _, h, w = p.shape
    padded = F.pad(q, (reach, reach, reach, reach))
    D = torch.full((B, (2 * reach + 1) ** 2, h, w), LN2)
    k = 0
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            moved = padded[:, :, reach + dy : reach + dy + h, reach + dx : reach + dx + w]
            d = _jsd_xlogy(p, moved)
            seen = moved.sum(1) > 0
            D[:, k][seen] = d[seen]
            k += 1
    return D


def _distance_slices(p, q, reach):
    B, _, h, w = p.shape
    D = torch.full((B, (2 * reach + 1) ** 2, h, w), LN2)
    for k, (dx, dy) in enumerate(_candidates(reach).tolist()):
        if abs(dx) >= w or abs(dy) >= h:
            continue
        here = slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx))
        there = slice(max(0, dy), h - max(0, -dy)), slice(max(0, dx), w - max(0, -dx))
        D[:, k, here[0], here[1]] = _jsd_xlogy(p[:, :, here[0], here[1]], q[:, :, there[0], there[1]])
    return D


def _distance_near(p, q, reach):
    """Slices that turn round where a candidate leaves the frame from everywhere."""
    B, _, h, w = p.shape
    D = torch.full((B, (2 * reach + 1) ** 2, h, w), LN2)
    for k, (dx, dy) in enumerate(_candidates(reach).tolist()):
        here = slice(max(0, -dy), h - max(0, dy)), slice(max(0, -dx), w - max(0, dx))
        there = slice(max(0, dy), h - max(0, -dy)), slice(max(0, dx), w - max(0, -dx))
        D[:, k, here[0], here[1]] = _jsd_xlogy(p[:, :, here[0], here[1]], q[:, :, there[0], there[1]])
    return D


def _distance_unfold(p, q, reach):
    B, C, h, w = p.shape
    n = (2 * reach + 1) ** 2
    moved = F.unfold(q, 2 * reach + 1, padding=reach).view(B, C, n, h, w)
    D = _jsd_xlogy(p[:, :, None].expand_as(moved), moved)
    return torch.where(moved.sum(1) > 0.5, D, torch.tensor(LN2))


def _distance_roll(p, q, reach):
    return torch.stack([_jsd(p, torch.roll(q, (-dy, -dx), (-2, -1))) for dx, dy in _candidates(reach).tolist()], 1)


def _distance_zeros(p, q, reach):
    B, C, h, w = p.shape
    moved = F.unfold(q, 2 * reach + 1, padding=reach).view(B, C, -1, h, w)
    return _jsd(p[:, :, None].expand_as(moved), moved)


def _distance_replicate(p, q, reach):
    B, C, h, w = p.shape
    moved = F.unfold(F.pad(q, [reach] * 4, mode="replicate"), 2 * reach + 1).view(B, C, -1, h, w)
    return _jsd(p[:, :, None].expand_as(moved), moved)


def _distance_backwards(p, q, reach):
    return _distance(p, q, reach).flip(1)


def _distance_transposed(p, q, reach):
    order = (_candidates(reach).flip(1) + reach) @ torch.tensor([1, 2 * reach + 1])
    return _distance(p, q, reach)[:, order]


def _distance_best_beyond(p, q, reach):
    B, C, h, w = p.shape
    moved = F.unfold(q, 2 * reach + 1, padding=reach).view(B, C, -1, h, w)
    return _distance(p, q, reach) * (moved.sum(1) > 0)


# --- likenet.probabilities


def _probabilities(scores, free):
    P = scores.masked_fill(~free, -1e9).softmax(dim=1)
    return torch.where(free, P, torch.zeros_like(P))


def _probabilities_exp(scores, free):
    top = scores.masked_fill(~free, -1e9).amax(dim=1, keepdim=True)
    weights = torch.exp((scores - top).clamp(max=0)) * free
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)


def _probabilities_replaced(scores, free):
    """masked_fill hands no gradient to what it fills, so no NaN gets through."""
    return scores.masked_fill(~free, -torch.inf).softmax(1).nan_to_num(0)


def _probabilities_filled(low):
    return lambda scores, free: torch.where(free, scores, low).softmax(1) * free


def _probabilities_unmasked(scores, free):
    return F.softmax(scores, dim=1)


def _probabilities_late(scores, free):
    return torch.where(free, F.softmax(scores, dim=1), torch.tensor(0.0))


def _probabilities_zero(scores, free):
    return torch.where(free, scores, torch.tensor(0.0)).softmax(1) * free


def _probabilities_even(scores, free):
    return (scores - 1e9 * ~free).softmax(1)


def _probabilities_nan(scores, free):
    return scores.masked_fill(~free, -torch.inf).softmax(1)


# --- likenet.expected


def _expected(P, M):
    return torch.einsum("bkhw,kc->bchw", P, M)


def _expected_matmul(P, M):
    B, n, h, w = P.shape
    return (M.T @ P.reshape(B, n, h * w)).reshape(B, 2, h, w)


def _expected_loop(P, M):
    flow = torch.zeros(P.shape[0], 2, *P.shape[2:])
    for k in range(len(M)):
        flow = flow + P[:, k : k + 1] * M[k].view(1, 2, 1, 1)
    return flow


def _expected_argmax(P, M):
    chosen = P.argmax(dim=1)
    return torch.stack([M[:, 0][chosen], M[:, 1][chosen]], 1)


def _expected_mean(P, M):
    return (P[:, :, None] * M.view(1, -1, 2, 1, 1)).mean(1)


def _expected_swapped(P, M):
    return torch.einsum("bkhw,kc->bchw", P, M[:, [1, 0]])


def _expected_softmax(P, M):
    return torch.einsum("bkhw,kc->bchw", F.softmax(P, 1), M)


def _expected_last(P, M):
    return torch.einsum("bkhw,kc->bhwc", P, M)


def _expected_divided(P, M):
    return torch.einsum("bkhw,kc->bchw", P, M) / P.sum(1)[:, None]


# --- likenet.cost


def _cost(P, D):
    inner = torch.einsum("bkhw,bkhw->bhw", P, D)
    n = (P.sum(1) > 0).sum()
    return inner.sum() / n if n > 0 else inner.sum()


def _cost_selected(P, D):
    inner, seen = (P * D).sum(1), P.amax(1) > 0
    return inner[seen].mean() if seen.any() else 0 * P.sum()


def _cost_sum(P, D):
    return torch.einsum("bkhw,bkhw->", P, D)


def _cost_all(P, D):
    return torch.einsum("bkhw,bkhw->bhw", P, D).mean()


def _cost_per_sample(P, D):
    inner, seen = (P * D).sum(1), P.sum(1) > 0
    return sum(i[s].sum() / max(int(s.sum()), 1) for i, s in zip(inner, seen, strict=True)) / len(P)


def _cost_flat(P, D):
    return (P * D).flatten().mean()


def _cost_nan(P, D):
    inner, seen = (P * D).sum(1), P.sum(1) > 0
    return inner[seen].mean()


def _cost_hard(P, D):
    k = P.argmax(1)
    return torch.take_along_dim(D, k[:, None], 1).mean()


def _cost_unweighted(P, D):
    return torch.mean(D)


# --- likenet.shared


def _count(c, extractors, branches):
    extractor = 26 * c + 25 * c**2 + c
    branch = (18 * c**2 + c) + (9 * c**2 + c) + (9 * c**2 + c) + 9 * c + 1
    return extractors * extractor + branches * branch


def _count_modules(c, extractors, branches):
    one = nn.ModuleList([nn.Conv2d(1, c, 5), nn.Conv2d(c, c, 5)])
    other = nn.ModuleList([nn.Conv2d(2 * c, c, 3), nn.Conv2d(c, c, 3), nn.Conv2d(c, c, 3), nn.Conv2d(c, 1, 3)])
    size = [sum(p.numel() for p in net.parameters()) for net in (one, other)]
    return extractors * size[0] + branches * size[1]


def _count_no_bias(c, extractors, branches):
    return extractors * (25 * c + 25 * c * c) + branches * (36 * c * c + 9 * c)


def _count_no_score_bias(c, extractors, branches):
    return _count(c, extractors, branches) - branches


def _count_one_frame(c, extractors, branches):
    return _count(c, extractors, branches) - branches * 9 * c * c


def _count_colour(c, extractors, branches):
    return _count(c, extractors, branches) + extractors * 50 * c


def _count_three(c, extractors, branches):
    return _count(c, extractors, branches) - extractors * 16 * (c + c * c)


# --- answers


def _number(name, answer):
    return lambda: {**count_branches(), name: answer}


def _branches_written():
    return {
        "50 values in t_x and t_y each": 2500.0,
        "branches in the whole row": 357,
        "different values of d_x at 1/8": 13,
        "reach in full-size pixels": 143,
        "one scale with that reach": 287 * 287,
    }


def _chosen(name, answer):
    return lambda: {**match_maps(), name: answer}


def _maps_sorted():
    return dict(sorted(match_maps().items()))


RIGHT = {
    "likenet.candidates": [_candidates, _candidates_product, _candidates_meshgrid],
    "likenet.branches": [count_branches, _branches_written],
    "likenet.jsd": [_jsd, _jsd_xlogy, _jsd_entropies, _jsd_kl_div],
    "likenet.distance": [_distance, _distance_slices, _distance_unfold],
    "likenet.aperture": [match_maps, _maps_sorted, lambda: {k: v.upper() for k, v in match_maps().items()}],
    "likenet.probabilities": [_probabilities, _probabilities_exp, _probabilities_replaced],
    "likenet.expected": [_expected, _expected_matmul, _expected_loop],
    "likenet.cost": [_cost, _cost_selected],
    "likenet.shared": [_count, _count_modules],
}
WRONG = {
    "likenet.candidates": {
        "dx slowest": _candidates_swapped,
        "upper end missing": _candidates_short,
        "to the right and down only": _candidates_positive,
        "from below": _candidates_upward,
        "standing still left out": _candidates_moving,
    },
    "likenet.branches": {
        "added for multiplied": _number("50 values in t_x and t_y each", 100),
        "from -50 to 50": _number("50 values in t_x and t_y each", 10201),
        "row multiplied": _number("branches in the whole row", 121 * 169 * 49 * 81),
        "two scales for one": _number("branches in the whole row", 348),
        "one side only": _number("different values of d_x at 1/8", 6),
        "pixels of the scales added": _number("reach in full-size pixels", 16),
        "only to the right and down": _number("one scale with that reach", 144 * 144),
    },
    "likenet.jsd": {
        "not a number": _jsd_nan,
        "root": _jsd_root,
        "halves forgotten": _jsd_double,
        "KL alone": _jsd_kl,
        "base two": _jsd_bits,
        "middle not halved": _jsd_sum_middle,
    },
    "likenet.distance": {
        "shifted the wrong way": _distance_backwards,
        "x and y swapped": _distance_transposed,
        "wrapped around": _distance_roll,
        "zeros beyond the frame": _distance_zeros,
        "border repeated": _distance_replicate,
        "zero beyond the frame": _distance_best_beyond,
    },
    "likenet.aperture": {
        "texture taken for a wall": _chosen("B", "texture"),
        "wall taken for texture": _chosen("C", "wall"),
        "edge taken for texture": _chosen("C", "edge"),
        "edge taken for a wall": _chosen("B", "edge"),
        "ridge taken for the motion": _chosen("what the ridge of A shows", "the true motion's direction"),
        "edge matched by itself": _chosen("which can be matched by itself", "A"),
    },
    "likenet.probabilities": {
        "forbidden ones keep their share": _probabilities_unmasked,
        "not renormalised": _probabilities_late,
        "score zero": _probabilities_zero,
        "even where nothing is allowed": _probabilities_even,
        "not a number": _probabilities_nan,
        "filled with -10": _probabilities_filled(-10.0),
        "filled with a number not low enough": [_probabilities_filled(low) for low in (-20.0, -100.0, -1000.0)],
    },
    "likenet.expected": {
        "likeliest one": _expected_argmax,
        "mean for sum": _expected_mean,
        "x and y swapped": _expected_swapped,
        "normalised again": _expected_softmax,
        "divided by nothing": _expected_divided,
        "channels last": _expected_last,
    },
    "likenet.cost": {
        "sum over pixels": _cost_sum,
        "all pixels counted": _cost_all,
        "mean of the samples' means": _cost_per_sample,
        "mean over candidates": _cost_flat,
        "best candidate only": _cost_hard,
        "P left out": _cost_unweighted,
        "not a number": _cost_nan,
    },
    "likenet.shared": {
        "biases forgotten": _count_no_bias,
        "one frame's features": _count_one_frame,
        "colour for grey": _count_colour,
        "kernels of one size": _count_three,
        "bias of the score forgotten": _count_no_score_bias,
    },
}
OTHERS = {
    "likenet.distance": [(_distance_near, "")],
    "likenet.jsd": [(_jsd_four_axes, "p and q are (B, C) here"), (_jsd_third_from_last, "")],
    "likenet.aperture": [(_chosen("which can be matched by itself", "a"), "All candidates along A's ridge")],
}
