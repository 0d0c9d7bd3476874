"""Exercises of notebook 05.

The course's own implementations come first, in other forms than the exercises ask for.  The oracles share no code with
them.
"""

import math

import torch
import torch.nn.functional as F

from cvdl.course.exercises.case_helpers import (
    GRADIENT,
    answered,
    around,
    choice_case,
    given,
    misordered,
    normal,
    shape_only,
)
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.flow import metrics
from cvdl.flow.correlation import correlation_loop

# --- the library's -------------------------------------------------------------------------------------


def end_point_error(flow, truth, valid):
    """Mean length of flow - truth over the valid pixels.  (B, 2, H, W) twice, bool (B, 1, H, W) -> scalar"""
    return metrics.epe(flow, truth, valid)


def warp_back(image2, flow):
    """Frame 2 on the grid of frame 1, bilinear.  image2: (C, H, W), flow: (2, H, W) -> (C, H, W)"""
    H, W = image2.shape[-2:]
    x = torch.arange(W) + flow[0].double()
    y = torch.arange(H)[:, None] + flow[1].double()
    grid = torch.stack([2 * x / max(W - 1, 1) - 1, 2 * y / max(H - 1, 1) - 1], -1)
    sampled = F.grid_sample(image2[None].double(), grid[None], padding_mode="border", align_corners=True)
    return sampled[0].to(image2.dtype)


def refine(features, flow, skip, up, up_flow):
    """A step of the refinement: [skip, up-convolved features, up-convolved flow], each at twice the size."""
    enlarged = F.leaky_relu(_spread(features, up), 0.1)
    return torch.hstack([skip, enlarged, _spread(flow, up_flow)])


def _spread(x, weight):
    """A 4 × 4 up-convolution by an ordinary one: zeros between the pixels, the kernel turned round."""
    B, C, h, w = x.shape
    wide = x.new_zeros(B, C, 2 * h - 1, 2 * w - 1)
    wide[..., ::2, ::2] = x
    return F.conv2d(wide, weight.flip(2, 3).transpose(0, 1), padding=2)


def multiscale_loss(flows, truth, weights):
    """Σ weight · (sum over the pixels of a level of |flow - truth| / 20, divided by the batch size)."""
    losses = []
    for flow, weight in zip(flows, weights, strict=True):
        gap = (F.adaptive_avg_pool2d(truth, flow.shape[-2:]) - flow) / 20
        losses.append(weight * torch.linalg.vector_norm(gap, dim=1).flatten(1).sum(1).mean())
    return torch.stack(losses).sum()


def patch_score(f1, f2, here, there, k):
    """Σ over offsets up to k of <f1 at here + offset, f2 at there + offset>.  f1, f2: (C, H, W) -> scalar"""
    parts = []
    for f, (x, y) in ((f1, here), (f2, there)):
        wide = F.pad(f, [k] * 4)  # beyond the frame all is zero
        parts.append(wide[:, y : y + 2 * k + 1, x : x + 2 * k + 1])
    return torch.tensordot(parts[0], parts[1], 3)


def correlate(f1, f2, d, stride):
    """Scores of all displacements up to d, every stride-th: (B, C, H, W) twice -> (B, n², H, W)

    By shifts, since the notebook times them against the library's tiles.
    """
    return correlation_loop(f1, f2, d, stride)


def all_scores(f1, f2, d):
    """Mean products of each point of f1 with each point of f2, which gets a border of d zeros.

    (B, C, H, W) twice -> (B, H W, (H + 2d) (W + 2d))
    """
    wide = F.pad(f2, [d] * 4)
    return torch.einsum("bcn,bcm->bnm", f1.flatten(2), wide.flatten(2)) / f1.shape[1]


def layer_size(d, stride, shrink):
    """Channels, reach and step of a correlation layer, the last two in full-size pixels."""
    side = len(range(-d, d + 1, stride))
    return side * side, shrink * d, shrink * stride


# --- flownet.picture ------------------------------------------------------------------------------------

_PICTURE = {
    "goes furthest": (
        "B",
        "Do not look at the size of the five discs: which has the strongest colour and the longest arrows? Compare with the rings of the colour wheel.",
    ),
    "turns": (
        "D",
        "When something rotates, opposite sides move in opposite directions, *along* the rim. In which disc do the arrows follow the rim?",
    ),
    "comes nearer": (
        "E",
        "Something that comes nearer gets larger, so its points move away from its centre. In which disc do the arrows point outwards?",
    ),
    "stands still": ("C", "No motion is white and has no arrows. Which disc is completely white, including its rim?"),
    "sign of dy in A": (
        "negative",
        "Find the direction of A on the colour wheel, or from its arrows. Remember that row numbers grow downwards, and so does y.",
    ),
}
_SIGNS = ("positive", "negative", "zero")


def read_picture():
    """What the flow picture shows."""
    return {question: answer for question, (answer, _) in _PICTURE.items()}


def _picture_case(question):
    choices = _SIGNS if question.startswith("sign") else tuple("ABCDE")
    return choice_case(question, _PICTURE[question][1], "look again", choices, f"is none of {', '.join(choices)}")


picture = Exercise(
    id="flownet.picture",
    title="reading a flow picture",
    kind="answer",
    library=read_picture,
    oracle=read_picture,
    cases=tuple(map(_picture_case, _PICTURE)),
    mistakes=(
        Mistake(
            "turning and growing confused",
            "Where something rotates, arrows run *along* its rim. Where it grows, they point away from its centre. You confused the two.",
            when=lambda got, want: answered("turns", "E")(got, want) or answered("comes nearer", "D")(got, want),
        ),
        Mistake(
            "y upwards",
            "A goes up, and y points *down*, from the first row to the last. So what is dy?",
            when=answered("sign of dy in A", "positive"),
        ),
        Mistake(
            "dx for dy",
            "That is the other component. A goes straight up: its dx is 0. The question asks for dy.",
            when=answered("sign of dy in A", "zero"),
        ),
        Mistake(
            "largest taken for furthest",
            "The *size* of a disc has nothing to do with how far it moves. Look at the strength of the colour, and at the arrows.",
            when=answered("goes furthest", "E"),
        ),
        Mistake(
            "middle of the turning one",
            "The centre of a rotating disc is at rest, but its rim is not. Which disc is completely white?",
            when=answered("stands still", "D", "E"),
        ),
    ),
    hints=(
        "Take one disc at a time. Look at its colour, then find that colour on the wheel: the direction is the answer.",
        "Two discs show all the colours of the wheel. In one of them the arrows go round, in the other they point outwards.",
        "Row numbers grow downwards, and so does y. A step to the row above is a step of -1.",
    ),
)

# --- flownet.epe ----------------------------------------------------------------------------------------


def _epe_oracle(flow, truth, valid):
    B, _, H, W = flow.shape
    errors = [
        math.hypot(*(flow[b, :, y, x].double() - truth[b, :, y, x].double()).tolist())
        for b in range(B)
        for y in range(H)
        for x in range(W)
        if valid[b, 0, y, x]
    ]
    return sum(errors) / len(errors)


def _epe_args(H, W, known=None, nan=False):
    """known: the number of pixels with known ground truth in each of two pairs; all of them if None."""

    def make(g):
        flow, truth = 3 * normal(g, 2, 2, H, W), 3 * normal(g, 2, 2, H, W)
        rank = torch.rand(2, H * W, generator=g).argsort().argsort().view(2, 1, H, W)
        valid = rank < torch.tensor(known or (H * W, H * W)).view(2, 1, 1, 1)
        truth = truth.masked_fill(~valid, math.nan if nan else 0.0)
        return flow, truth, valid

    return make


def _lengths(flow, truth):
    return (flow - truth).square().sum(1, keepdim=True).sqrt()


error = Exercise(
    id="flownet.epe",
    title="the end-point error",
    library=end_point_error,
    oracle=_epe_oracle,
    cases=(
        Case(
            "by hand: 3 and 4",
            2,
            "One vector, wrong by 3 px in x and 4 px in y: its length is √(9 + 16) = 5. If you get 7, you computed |x| + |y|; 25 lacks the root; 3.5 is a mean of |x| and |y|. Sum the squares over axis 1, which holds the two components.",
            make=given(
                torch.tensor([3.0, 4.0]).view(1, 2, 1, 1),
                torch.zeros(1, 2, 1, 1),
                torch.ones(1, 1, 1, 1, dtype=torch.bool),
            ),
            want=lambda *_: 5.0,
        ),
        Case(
            "all pixels known",
            3,
            "Your answer is right for one pixel but not for many. First make a map of lengths, (B, 1, H, W): the root of the sum over axis 1 of the squared difference. Only then take one mean over all pixels of all pairs.",
            make=_epe_args(3, 5),
        ),
        Case(
            "some are unknown",
            3,
            "Your answer is right where the whole ground truth is known. Of 16 pixels, 12 are known in the first pair and 5 in the second: errors[valid] must have 17 entries, and the answer is their mean, one mean over both pairs together.",
            make=_epe_args(4, 4, (12, 5)),
        ),
        Case(
            "NaN where nothing is known",
            2,
            "The ground truth is NaN where it is unknown. If your answer is NaN, remember that NaN times 0 is NaN: select the valid errors, errors[valid], instead of multiplying by the mask.",
            make=_epe_args(4, 6, (7, 16), nan=True),
        ),
    ),
    mistakes=(
        Mistake(
            "divided by all",
            "Unknown pixels count in your mean, as if they were perfect. Divide by the number of *valid* pixels.",
            like=lambda f, t, v: torch.where(v, _lengths(f, t), 0.0).mean(),
        ),
        Mistake(
            "mask forgotten",
            "Unknown pixels count in your mean, although their ground truth is not known. Leave them out.",
            like=lambda f, t, v: _lengths(f, t).mean(),
        ),
        Mistake(
            "sum of both components",
            "You add |x| and |y|, so 3 and 4 make 7. Use the length of the vector, by Pythagoras.",
            like=lambda f, t, v: (f - t).abs().sum(1, keepdim=True)[v].mean(),
        ),
        Mistake(
            "mean of both components",
            "You take a mean over x and y. They are two sides of a right-angled triangle: the length is the root of the *sum* of squares.",
            like=lambda f, t, v: (f - t).abs().mean(1, keepdim=True)[v].mean(),
        ),
        Mistake(
            "root forgotten",
            "That is in square pixels: 3 and 4 make 25. The root is missing.",
            like=lambda f, t, v: _lengths(f, t).square()[v].mean(),
        ),
        Mistake(
            "root at the end",
            "You take the root of the mean. Take the root at each pixel first, and the mean afterwards.",
            like=lambda f, t, v: _lengths(f, t).square()[v].mean().sqrt(),
        ),
        Mistake(
            "difference of lengths",
            "You compare the *lengths* of the two. A flow in the wrong direction would then be perfect. Subtract first.",
            like=lambda f, t, v: (f.norm(dim=1, keepdim=True) - t.norm(dim=1, keepdim=True)).abs()[v].mean(),
        ),
        Mistake(
            "sum for mean",
            "You summed over the pixels. Take the mean, so that large and small images can be compared.",
            like=lambda f, t, v: _lengths(f, t)[v].sum(),
        ),
        Mistake(
            "mean of the pairs' means",
            "You take a mean for each pair, then the mean of the two. This gives more weight to a pixel in a pair with few known pixels. Take errors[valid] of all pairs together, and one mean.",
            like=lambda f, t, v: torch.stack(
                [each[known].mean() for each, known in zip(_lengths(f, t), v, strict=True)]
            ).mean(),
        ),
        Mistake(
            "mask inverted",
            "You average where the ground truth is *un*known. valid is True where it is known: errors[valid].",
            like=lambda f, t, v: _lengths(f, t)[~v].mean(),
        ),
        Mistake(
            "multiplied by the mask",
            "NaN · 0 is NaN, so unknown pixels still count. Select instead: errors[valid] leaves them out.",
            like=lambda f, t, v: (_lengths(f, t) * v).sum() / v.sum(),
        ),
        Mistake(
            "multiplied by the mask, divided by all",
            "Change two things: divide by the number of *valid* pixels, and select them instead of multiplying by the mask, because NaN · 0 is NaN.",
            like=lambda f, t, v: (_lengths(f, t) * v).mean(),
        ),
    ),
    hints=(
        "First the difference, (B, 2, H, W). Then its length at each pixel: which axis disappears?",
        "The length: square, sum over axis 1, root. keepdim=True keeps (B, 1, H, W), which fits `valid`.",
        "errors[valid] is a list of the errors that count. Its mean is the answer.",
    ),
)


# --- flownet.warp ---------------------------------------------------------------------------------------


def _hats(place, n):
    """Weights of bilinear interpolation at these places between n points: (…, n)"""
    return (1 - (place.double().clamp(0, n - 1)[..., None] - torch.arange(n)).abs()).clamp(min=0)


def _target(flow):
    H, W = flow.shape[-2:]
    return torch.arange(W) + flow[0], torch.arange(H)[:, None] + flow[1]


def _warp_at(image, x, y):
    H, W = image.shape[-2:]
    return torch.einsum("chw,yxh,yxw->cyx", image.double(), _hats(y, H), _hats(x, W))


def _warp_oracle(image2, flow):
    return _warp_at(image2, *_target(flow)).to(image2.dtype)


def _warp_args(H, W, far):
    return lambda g: (torch.rand(3, H, W, generator=g), far * (2 * torch.rand(2, H, W, generator=g) - 1))


def _inner_args(H, W):
    """Flows that stay inside, and no whole numbers."""

    def make(g):
        flow = 2 * torch.rand(2, H, W, generator=g) - 1
        x, y = _target(flow)
        return torch.rand(2, H, W, generator=g), torch.stack(
            [x.clamp(0.1, W - 1.1) - torch.arange(W), y.clamp(0.1, H - 1.1) - torch.arange(H)[:, None]]
        )

    return make


def _zeros_beyond(image, flow):
    x, y = _target(flow)
    wide = F.pad(image, [1] * 4)
    return _warp_at(wide, x + 1, y + 1)


def _forward(image, flow):
    """Each pixel is put where its flow leads, rounded."""
    H, W = image.shape[-2:]
    out = torch.zeros_like(image)
    x, y = _target(flow)
    for row in range(H):
        for column in range(W):
            j, i = round(x[row, column].item()), round(y[row, column].item())
            if 0 <= j < W and 0 <= i < H:
                out[:, i, j] = image[:, row, column]
    return out


warping = Exercise(
    id="flownet.warp",
    title="backward warping",
    library=warp_back,
    oracle=_warp_oracle,
    axes=("channel", "y", "x"),
    cases=(
        Case(
            "shape",
            1,
            "The answer has the same size and channels as image2: image2[:, top, left] with two maps (H, W) gives (C, H, W).",
            make=_inner_args(3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: one pixel to the right",
            3,
            "Frame 2 is 0 1 2 3, and all pixels move by (1, 0), except the last, which does not move. At x we see what frame 2 shows at x + 1, so the answer is 1 2 3 3; 0 0 1 3 is the opposite direction. The last index is size - 1: if there is an IndexError, clamp the right and the lower neighbour to W - 1 and H - 1.",
            make=given(torch.tensor([[[0.0, 1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 1.0, 1.0, 0.0]], [[0.0] * 4]])),
            want=lambda *_: torch.tensor([[[1.0, 2.0, 3.0, 3.0]]]),
        ),
        Case(
            "by hand: half a pixel",
            2,
            "The image is 0 4 / 8 12. Half a pixel to the right *and* down from the first pixel is the mean of all four, 6; half a pixel down from the second is the mean of 4 and 12, 8. F.grid_sample needs align_corners=True for that. The lower row moves only to the right: 10, and its last pixel stays 12. Which of these is different in yours?",
            make=given(
                torch.tensor([[[0.0, 4.0], [8.0, 12.0]]]),
                torch.full((2, 2, 2), 0.5) * torch.tensor([[[1, 0], [1, 0]], [[1, 1], [0, 0]]]),
            ),
            want=lambda *_: torch.tensor([[[6.0, 8.0], [10.0, 12.0]]]),
        ),
        Case(
            "random, inside the frame",
            4,
            "Your answer is right for half pixels but not for other fractions. With a = x - left and b = y - top, the weights of the four neighbours are (1 - a)(1 - b), a (1 - b), (1 - a) b and a b, for top left, top right, bottom left and bottom right. All positions are inside the frame here.",
            make=around(_inner_args, 5, 7),
        ),
        Case(
            "square",
            2,
            "H and W are equal here, so swapped axes give no error. flow[0] goes along x, the last axis: torch.arange(W) + flow[0], and torch.arange(H)[:, None] + flow[1]. Some positions are outside the frame: clamp them first.",
            make=_warp_args(6, 6, 1.0),
        ),
        Case(
            "beyond the frame",
            3,
            "Some positions are up to 9 px outside the frame: move each to the nearest one inside, x to 0 … W - 1 and y to 0 … H - 1, *before* you take floor and the fractions. An IndexError means that left, right, top or bottom is not clamped to size - 1.",
            make=_warp_args(4, 6, 9.0),
        ),
    ),
    mistakes=(
        Mistake(
            "wrong direction",
            "You look at x - flow. A point that moves by flow is found at x + flow in frame 2.",
            like=lambda i, f: _warp_oracle(i, -f),
        ),
        Mistake(
            "forward",
            "You move pixels to where they go. Some positions then get no pixel and others get two. Do the reverse: for each pixel of the result, *look up* its value in frame 2.",
            like=_forward,
        ),
        Mistake(
            "x and y swapped",
            "flow[0] goes along x, the columns (last axis); flow[1] along y, the rows.",
            like=lambda i, f: _warp_oracle(i, f.flip(0)),
        ),
        Mistake(
            "nearest pixel",
            "You round to the nearest pixel. Weight the four neighbours by how near they are.",
            like=lambda i, f: _warp_at(i, *(p.round() for p in _target(f))),
        ),
        Mistake(
            "rounded down",
            "You take only the upper left neighbour. There are four, each with its own weight.",
            like=lambda i, f: _warp_at(i, *(p.floor() for p in _target(f))),
        ),
        Mistake(
            "weights swapped",
            "The nearer neighbour must have the larger weight. If x is 0.9 to the right of the left one, the *right* one gets 0.9.",
            like=lambda i, f: _warp_at(
                i,
                *(
                    2 * p.clamp(0, n - 1).floor() + 1 - p.clamp(0, n - 1)
                    for p, n in zip(_target(f), (i.shape[2], i.shape[1]), strict=True)
                ),
            ),
        ),
        Mistake(
            "zeros beyond the frame",
            "Outside the frame you take zeros. Use the nearest pixel inside: clamp x and y before anything else.",
            like=_zeros_beyond,
        ),
        Mistake(
            "wrapped around",
            "Beyond the right edge you start again at the left one. Clamp x and y first.",
            like=lambda i, f: _wrapped(i, f),
        ),
    ),
    hints=(
        "Make two maps first: x + flow[0] and y + flow[1], where each pixel of frame 1 is found in frame 2. Clamp them.",
        "left = floor(x) and right = left + 1, but at most W - 1. The weight of the right one is x - left. Do the same vertically.",
        'image2[:, top, left] with maps of whole numbers (long) looks up all pixels at once. Add four such maps, each times its two weights. (F.grid_sample does all of this, with align_corners=True and padding_mode="border"; its positions go from -1 to 1.)',
    ),
)


def _wrapped(image, flow):
    H, W = image.shape[-2:]
    x, y = _target(flow)
    left, top = x.floor(), y.floor()
    a, b = x - left, y - top
    out = 0
    for i, share_y in ((top, 1 - b), (top + 1, b)):
        for j, share_x in ((left, 1 - a), (left + 1, a)):
            out = out + share_x * share_y * image[:, i.long() % H, j.long() % W]
    return out


# --- flownet.refine -------------------------------------------------------------------------------------


def _refine_oracle(features, flow, skip, up, up_flow):
    def up_convolution(x, weight):
        B, _, h, w = x.shape
        out = x.new_zeros(B, weight.shape[1], 2 * h + 2, 2 * w + 2, dtype=torch.double)
        for i in range(h):
            for j in range(w):
                out[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += torch.einsum(
                    "bc,cdkl->bdkl", x[:, :, i, j].double(), weight.double()
                )
        return out[:, :, 1:-1, 1:-1]

    enlarged = up_convolution(features, up)
    return torch.cat([skip.double(), torch.maximum(enlarged, 0.1 * enlarged), up_convolution(flow, up_flow)], 1)


def _refine_args(h, w, C=3, D=4, S=2, B=2):
    return lambda g: (
        normal(g, B, C, h, w),
        normal(g, B, 2, h, w),
        normal(g, B, S, 2 * h, 2 * w),
        normal(g, C, D, 4, 4),
        normal(g, 2, 2, 4, 4),
    )


def _refine_like(order=(0, 1, 2), slope=0.1, slope_flow=1.0, interpolate=False, scale=1.0):
    def like(features, flow, skip, up, up_flow):
        enlarged = F.leaky_relu(F.conv_transpose2d(features, up, stride=2, padding=1), slope)
        if interpolate:
            larger = F.interpolate(flow, scale_factor=2, mode="bilinear")
        else:
            larger = F.leaky_relu(F.conv_transpose2d(flow, up_flow, stride=2, padding=1), slope_flow)
        parts = (skip, enlarged, scale * larger)
        return torch.cat([parts[n] for n in order], 1)

    return like


step = Exercise(
    id="flownet.refine",
    title="a step of the refinement",
    library=refine,
    oracle=_refine_oracle,
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "shape",
            2,
            "All three parts are (B, …, 2h, 2w), and their channels add up: S + D + 2, along axis 1. F.conv_transpose2d with stride=2 and padding=1 doubles the size exactly.",
            make=_refine_args(2, 3),
            test=shape_only,
        ),
        Case(
            "random",
            4,
            "The first S channels are skip unchanged, the next D are leaky_relu(conv_transpose2d(features)) with slope 0.1, in this order, and the last 2 are conv_transpose2d(flow) without leaky_relu; both with stride=2, padding=1, and nothing cropped. The channel named above shows which of the three differs.",
            make=around(_refine_args, 2, 3),
        ),
        Case(
            "numbers of channels are alike",
            3,
            "All parts have two channels here, so swapped weights or a wrong order give no error: channels 0–1 skip, 2–3 features (by `up`), 4–5 flow (by `up_flow`).",
            make=_refine_args(3, 3, C=2, D=2, S=2),
        ),
        Case("gradients", 1, GRADIENT, make=_refine_args(2, 2, B=1), gradient=True),
    ),
    mistakes=(
        Mistake(
            "order: features first",
            "The order is skip, features, flow. Trained weights depend on it.",
            like=_refine_like((1, 0, 2)),
        ),
        Mistake(
            "order: flow first",
            "The order is skip, features, flow. Yours begins with the flow.",
            like=_refine_like((2, 0, 1)),
        ),
        Mistake(
            "order: flow before features",
            "The order is skip, features, flow. Yours has the flow before the features.",
            like=_refine_like((0, 2, 1)),
        ),
        Mistake(
            "ReLU on the flow",
            "You apply the leaky ReLU to the flow, too. Motions to the left and up then become ten times shorter.",
            like=_refine_like(slope_flow=0.1),
        ),
        Mistake(
            "no ReLU",
            "The transposed convolution of the features must be followed by a leaky ReLU with slope 0.1.",
            like=_refine_like(slope=1.0),
        ),
        Mistake(
            "hard ReLU",
            "A plain ReLU sets negative values to 0. The leaky one keeps a tenth of them.",
            like=_refine_like(slope=0.0),
        ),
        Mistake(
            "other slope",
            "The default slope of PyTorch's leaky ReLU is 0.01. FlowNet's is 0.1.",
            like=_refine_like(slope=0.01),
        ),
        Mistake(
            "flow interpolated",
            "You enlarge the flow by interpolation. FlowNet uses a separate transposed convolution, with the weights `up_flow`.",
            like=_refine_like(interpolate=True),
        ),
        Mistake(
            "flow doubled",
            "You double the flow. FlowNet's flows are in pixels of the full size at every level, so a larger grid does not change their values.",
            like=_refine_like(scale=2.0),
        ),
    ),
    hints=(
        "There are three parts, each (B, something, 2h, 2w). Compute them one by one, and join them with torch.cat along axis 1.",
        "F.conv_transpose2d(x, weight, stride=2, padding=1) is a 4 × 4 transposed convolution that exactly doubles the size.",
        "F.leaky_relu(x, 0.1) keeps a tenth of negative values. Which of the three parts goes through it, and what is their order? See the list above.",
    ),
)

# --- flownet.loss ---------------------------------------------------------------------------------------


def _loss_oracle(flows, truth, weights):
    total = 0.0
    B, _, H, W = truth.shape
    for flow, weight in zip(flows, weights, strict=True):
        h, w = flow.shape[-2:]
        target = truth.double().reshape(B, 2, h, H // h, w, W // w).mean((3, 5))
        gap = (flow.double() - target) / 20
        total = total + weight * (gap[:, 0] ** 2 + gap[:, 1] ** 2).sqrt().sum() / B
    return total


def _loss_args(H, W, shrinks=(4, 8), weights=(0.01, 0.3), B=2):
    def make(g):
        return [20 * normal(g, B, 2, H // s, W // s) for s in shrinks], 20 * normal(g, B, 2, H, W), list(weights)

    return make


def _hand(*_):
    """All flows zero, truth (20, 0): the error is one unit at each pixel."""
    truth = torch.zeros(1, 2, 64, 64)
    truth[:, 0] = 20
    flows = [torch.zeros(1, 2, 64 // s, 64 // s) for s in (4, 8, 16, 32, 64)]
    return flows, truth, [0.005, 0.01, 0.02, 0.08, 0.32]


def _loss_like(scale=20.0, pixels="sum", squared=False, target="mean", ones=False, batch=True, values=1.0):
    def like(flows, truth, weights):
        total = 0
        for flow, weight in zip(flows, weights, strict=True):
            cell = truth.shape[-1] // flow.shape[-1]
            goal = F.avg_pool2d(truth, cell) if target == "mean" else truth[..., ::cell, ::cell]
            gap = (flow - goal / (cell if values != 1 else 1)) / scale
            e = gap.square().sum(1) if squared else gap.norm(dim=1)
            part = e.mean() if pixels == "mean" else e.sum() / (len(flow) if batch else 1)
            total = total + (1.0 if ones else weight) * part
        return total

    return like


losses = Exercise(
    id="flownet.loss",
    title="the multi-scale loss",
    library=multiscale_loss,
    oracle=_loss_oracle,
    cases=(
        Case(
            "by hand: wrong by 20 px everywhere",
            3,
            "The flows are 0 and the ground truth is (20, 0), so the error is 20 px / 20 = 1 at each pixel, and a level adds its weight times its number of pixels: 0.005 · 256 = 1.28 for the finest, then 0.64, 0.32, 0.32, 0.32. Print yours level by level.",
            make=_hand,
        ),
        Case(
            "one level",
            2,
            "Your answer is right for a constant ground truth but not for a varying one. Reduce the ground truth to the level's size by averaging blocks (F.avg_pool2d), subtract, divide by 20; then take the length √(x² + y²) at each pixel, not |x| + |y|; sum over pixels and divide by B.",
            make=_loss_args(16, 16, (4,), (1.0,)),
        ),
        Case(
            "two levels",
            3,
            "Your answer is right for one level with weight 1. Here there are two levels, and H ≠ W: each level has its own size, its own block size for the ground truth and its own weight. Print the two parts before you add them.",
            make=_loss_args(16, 24),
        ),
        Case(
            "twice as many pairs",
            1,
            "Your answer is right for batches of two, but this one has four pairs: divide by the batch size, len(flow), not by 2.",
            make=_loss_args(16, 16, B=4),
        ),
        Case(
            "gradients",
            1,
            GRADIENT,
            make=_loss_args(16, 16, (4,), (1.0,)),
            gradient=True,
        ),
    ),
    mistakes=(
        Mistake(
            "mean over pixels",
            "You take the mean over the pixels of a level. With these weights the coarsest level would then count 64 times as much as the finest. Sum.",
            like=_loss_like(pixels="mean"),
        ),
        Mistake(
            "not divided by the batch",
            "Divide by the number of pairs; otherwise a larger batch makes larger steps.",
            like=_loss_like(batch=False),
        ),
        Mistake(
            "20 forgotten",
            "Errors are counted in units of 20 px: divide the difference by 20.",
            like=_loss_like(scale=1.0),
        ),
        Mistake(
            "squared",
            "That is the squared error. FlowNet's loss is the end-point error itself: the root is missing.",
            like=_loss_like(squared=True),
        ),
        Mistake(
            "every so many-th pixel",
            "You pick single pixels of the ground truth. Average over the block that becomes one pixel of the level.",
            like=_loss_like(target="pick"),
        ),
        Mistake("weights left out", "Each level has its own weight: multiply by it.", like=_loss_like(ones=True)),
        Mistake(
            "truth scaled with its size",
            "You divide the values of the ground truth by the factor by which it shrinks. All of FlowNet's levels use full-size pixels: only the size of the map changes.",
            like=_loss_like(values=0),
        ),
    ),
    hints=(
        "One level first: how many times smaller is it than the ground truth? F.avg_pool2d(truth, that number) has its size.",
        "Divide the difference by 20, take the length over axis 1, sum over everything, and divide by the batch size.",
        "Add this up over the levels, each multiplied by its weight: zip(flows, weights) goes through both lists together.",
    ),
)

# --- flownet.score --------------------------------------------------------------------------------------


def _score_oracle(f1, f2, here, there, k):
    C, H, W = f1.shape
    total = 0.0
    for oy in range(-k, k + 1):
        for ox in range(-k, k + 1):
            x1, y1, x2, y2 = here[0] + ox, here[1] + oy, there[0] + ox, there[1] + oy
            if 0 <= x1 < W and 0 <= x2 < W and 0 <= y1 < H and 0 <= y2 < H:
                total += sum(float(f1[c, y1, x1]) * float(f2[c, y2, x2]) for c in range(C))
    return total


def _score_args(here, there, k, H=7, W=9, C=4):
    return lambda g: (normal(g, C, H, W), normal(g, C, H, W), here, there, k)


def _score_like(
    mean=False, swapped=False, turned=False, centre_only=False, half=False, normalised=False, one_moves=False
):
    def like(f1, f2, here, there, k):
        C, H, W = f1.shape
        total, count, a, b = 0.0, 0, 0.0, 0.0
        offsets = range(-k, k) if half and k else range(-k, k + 1)
        if centre_only:
            offsets = (0,)
        for oy in offsets:
            for ox in offsets:
                sign = -1 if turned else 1
                x1, y1, x2, y2 = here[0] + ox, here[1] + oy, there[0] + sign * ox, there[1] + sign * oy
                if one_moves:
                    x1, y1 = here
                if swapped:
                    x1, y1, x2, y2 = y1, x1, y2, x2
                if 0 <= x1 < W and 0 <= x2 < W and 0 <= y1 < H and 0 <= y2 < H:
                    v, w = f1[:, y1, x1], f2[:, y2, x2]
                    total, count, a, b = total + v @ w, count + 1, a + v @ v, b + w @ w
        if mean:
            return total / (C * count)
        return total / (a * b) ** 0.5 if normalised else total

    return like


score = Exercise(
    id="flownet.score",
    title="the score of two places",
    library=patch_score,
    oracle=_score_oracle,
    cases=(
        Case(
            "by hand: two channels, k = 0",
            1,
            "One point with two channels: (1, 2) · (3, 4) = 1 · 3 + 2 · 4 = 11. It is a sum over channels, not a mean.",
            make=given(
                torch.tensor([1.0, 2.0]).view(2, 1, 1), torch.tensor([3.0, 4.0]).view(2, 1, 1), (0, 0), (0, 0), 0
            ),
            want=lambda *_: 11.0,
        ),
        Case(
            "one point",
            2,
            "With k = 0 there is one offset, (0, 0): the answer is f1[:, 2, 6] @ f2[:, 4, 3] for here = (6, 2) and there = (3, 4). Points are (x, y), maps are indexed [channel, y, x].",
            make=_score_args((6, 2), (3, 4), 0),
        ),
        Case(
            "a patch of 3 × 3",
            3,
            "Your answer is right for one point but not for a patch of 3 × 3. Sum nine products, for offsets -1, 0, 1 in x and in y; each offset is applied to *both* maps. Count how many products you add.",
            make=_score_args((5, 2), (3, 4), 1),
        ),
        Case(
            "square",
            2,
            "H and W are equal here, so swapping x and y gives no error: f[:, y, x], rows first.",
            make=_score_args((4, 2), (3, 5), 1, 8, 8),
        ),
        Case(
            "at the frame's edge",
            2,
            "here = (8, 0) and there = (0, 6) are in corners: part of each patch is outside the frame, in x and in y, and counts as zero. An index of -1 would count from the other end, so check 0 <= x < W *and* 0 <= y < H for both points before each product.",
            make=_score_args((8, 0), (0, 6), 1),
        ),
    ),
    mistakes=(
        Mistake(
            "mean for sum",
            "You took a mean. The lecture's formula is a sum over the offsets and, in the scalar product, over the channels.",
            like=_score_like(mean=True),
        ),
        Mistake(
            "x and y swapped",
            "here and there are (x, y), but a map is indexed [channel, y, x].",
            like=_score_like(swapped=True),
        ),
        Mistake(
            "mirrored",
            "You add the offset in one map and subtract it in the other, as a convolution would. Here it is added in both.",
            like=_score_like(turned=True),
        ),
        Mistake(
            "offset in one map only",
            "The offset o is added in *both* maps, x₁ + o and x₂ + o.",
            like=_score_like(one_moves=True),
        ),
        Mistake(
            "patch left out",
            "You compare only the two points. With k = 1 there are nine offsets.",
            like=_score_like(centre_only=True),
        ),
        Mistake("upper end missing", "range(-k, k) ends before k.", like=_score_like(half=True)),
        Mistake(
            "normalised",
            "You divide by the lengths of the vectors, which gives the cosine. The formula uses the plain scalar product.",
            like=_score_like(normalised=True),
        ),
        Mistake(
            "around the corner",
            "At the frame's edge you get a pixel from the opposite side, because a negative index counts from the end. Outside the frame, everything is zero.",
            like=lambda f1, f2, here, there, k: sum(
                f1[:, (here[1] + i) % f1.shape[1], (here[0] + j) % f1.shape[2]]
                @ f2[:, (there[1] + i) % f1.shape[1], (there[0] + j) % f1.shape[2]]
                for i in range(-k, k + 1)
                for j in range(-k, k + 1)
            ),
        ),
    ),
    hints=(
        "Write two loops over the offsets, each from -k to k. Each iteration adds one scalar product.",
        "The feature vector of f1 at (x, y) is f1[:, y, x]. v @ w is the scalar product of two vectors.",
        "Before each product, check that both points are inside: 0 <= x < W and 0 <= y < H. If not, continue with the next offset.",
    ),
)

# --- flownet.correlation --------------------------------------------------------------------------------


def _correlation_oracle(f1, f2, d, stride):
    B, C, H, W = f1.shape
    steps = list(range(-d, d + 1, stride))
    out = torch.zeros(B, len(steps) ** 2, H, W, dtype=torch.double)
    f1, f2 = f1.double(), f2.double()
    for k, (dy, dx) in enumerate((dy, dx) for dy in steps for dx in steps):
        for y in range(max(0, -dy), min(H, H - dy)):
            for x in range(max(0, -dx), min(W, W - dx)):
                out[:, k, y, x] = (f1[:, :, y, x] * f2[:, :, y + dy, x + dx]).sum(1) / C
    return out


def _correlation_args(H, W, d, stride, C=5, B=2):
    return lambda g: (normal(g, B, C, H, W), normal(g, B, C, H, W), d, stride)


def _correlation_like(sign=1, swap=False, summed=False, roll=False, replicate=False, step=None, last=False):
    def like(f1, f2, d, stride):
        H, W = f1.shape[-2:]
        steps = range(-d, d + 1, step or stride)
        wide = F.pad(f2, [d] * 4, mode="replicate") if replicate else F.pad(f2, [d] * 4)
        maps = []
        for a in steps:
            for b in steps:
                dx, dy = (a, b) if swap else (b, a)
                dx, dy = sign * dx, sign * dy
                moved = wide[..., d + dy : d + dy + H, d + dx : d + dx + W]
                if roll:
                    moved = f2.roll((-dy, -dx), (2, 3))
                product = f1 * moved
                maps.append(product.sum(1) if summed else product.mean(1))
        return torch.stack(maps, -1 if last else 1)

    return like


def _shift_args(g):
    """All moves by (2, -1), and features are of length 1, so that nothing else can be so alike."""
    wide = F.normalize(normal(g, 1, 24, 12, 14), dim=1)
    return wide[..., 3:9, 3:11], wide[..., 4:10, 1:9], 2, 1


def _shift_test(got, want):
    wrong = shape_only(got, want)
    if wrong:
        return wrong
    inner = got[:, :, 1:, :-2].argmax(1)
    return None if (inner == 1 * 5 + 4).all() else "the highest score is not at that displacement"


shifts = Exercise(
    id="flownet.correlation",
    title="the correlation layer",
    library=correlate,
    oracle=_correlation_oracle,
    axes=("sample", "displacement", "y", "x"),
    cases=(
        Case(
            "shape",
            2,
            "One map (H, W) for each displacement: with d = 2 and stride 1 there are 5 values of mx and 5 of my, so (B, 25, H, W). Stack along axis 1.",
            make=_correlation_args(4, 6, 2, 1),
            test=shape_only,
        ),
        Case(
            "all moves by (2, -1)",
            3,
            "f1 at (x, y) is f2 at (x + 2, y - 1), so the highest score must be at mx = 2, my = -1: map 1 · 5 + 4 = 9 of 25, my slowest. Print scores[:, :, 3, 3].argmax(1): 15 is the opposite direction; for 21, mx changes slowest.",
            make=_shift_args,
            test=_shift_test,
        ),
        Case(
            "random, stride 1",
            4,
            "The best displacement is right, but the numbers are not. Each map is (f1 * shifted).mean(1), a mean over channels; where x + m is outside the frame it is 0. The displacement named above is number my · 5 + mx, both counted from 0.",
            make=around(lambda H, W: _correlation_args(H, W, 2, 1), 4, 6),
        ),
        Case(
            "stride 2",
            3,
            "Your answer is right for stride 1. With d = 4 and stride 2, mx and my are -4, -2, 0, 2, 4: 25 maps. f2 still needs a border of d = 4 zeros, and the window moves by 2.",
            make=_correlation_args(5, 7, 4, 2),
        ),
        Case(
            "square",
            2,
            "H and W are equal here, so swapping mx and my gives no error: my changes slowest, and mx is a shift along the last axis.",
            make=_correlation_args(6, 6, 3, 1),
        ),
        Case(
            "d larger than the map",
            1,
            "d = 4 on a map of 3 × 3: some displacements leave the frame everywhere, and their maps are all 0. Pad by d, and let no index become negative.",
            make=_correlation_args(3, 3, 4, 2),
        ),
    ),
    mistakes=(
        Mistake(
            "wrong direction",
            "You look at x - m. The partner of x is at x + m in frame 2.",
            like=_correlation_like(sign=-1),
        ),
        Mistake(
            "mx slowest",
            "All displacements are there, but in the wrong order: my must change slowest, mx fastest.",
            like=_correlation_like(swap=True),
        ),
        Mistake(
            "sum over channels",
            "You sum over the channels. FlowNet's code takes the mean (the formula says sum).",
            like=_correlation_like(summed=True),
        ),
        Mistake(
            "wrapped around",
            "torch.roll moves what leaves on one side to the other side. Outside the frame, everything is zero: pad first.",
            like=_correlation_like(roll=True),
        ),
        Mistake(
            "border repeated",
            "Outside the frame you repeat its edge. There, f2 must be zero.",
            like=_correlation_like(replicate=True),
        ),
        Mistake(
            "stride ignored",
            "You use every displacement. With stride 2, use only every second one.",
            like=_correlation_like(step=1),
        ),
        Mistake(
            "displacements last",
            "The displacements belong on axis 1, where the channels were: torch.stack(…, dim=1).",
            like=_correlation_like(last=True),
        ),
    ),
    hints=(
        "Start with one displacement: shift f2 so that the value at x is the one that was at x + m. Then multiply by f1 and take the mean over axis 1.",
        "F.pad(f2, [d] * 4) adds d zeros on each side. The window that begins at row d + my and column d + mx is f2, shifted by (mx, my).",
        "Write two loops over range(-d, d + 1, stride), with my outside and mx inside. Collect the maps in a list and stack them, dim=1.",
    ),
)

# --- flownet.product ------------------------------------------------------------------------------------


def _product_oracle(f1, f2, d):
    B, C, H, W = f1.shape
    out = torch.zeros(B, H, W, H + 2 * d, W + 2 * d, dtype=torch.double)
    for y in range(H):
        for x in range(W):
            inner = (f1[:, :, y, x, None, None].double() * f2.double()).sum(1) / C
            out[:, y, x, d : d + H, d : d + W] = inner
    return out.flatten(3, 4).flatten(1, 2)


def _product_args(H, W, d, C=5, B=2):
    return lambda g: (normal(g, B, C, H, W), normal(g, B, C, H, W), d)


def _product_like(turned=False, summed=False, padded=True, root=False, pad_first=False):
    def like(f1, f2, d):
        wide = F.pad(f2, [d] * 4) if padded else f2
        if pad_first:
            f1, wide = F.pad(f1, [d] * 4), f2
        P = f1.flatten(2).transpose(1, 2) @ wide.flatten(2)
        C = f1.shape[1]
        P = P if summed else P / (C**0.5 if root else C)
        return P.transpose(1, 2) if turned else P

    return like


product = Exercise(
    id="flownet.product",
    title="all scores by one product of matrices",
    library=all_scores,
    oracle=_product_oracle,
    axes=("sample", "point of f1", "point of f2"),
    cases=(
        Case(
            "shape",
            2,
            "There must be a row for each of the H · W points of f1, and a column for each of the (H + 2d)(W + 2d) points of f2 with its border: d zeros on each of the four sides.",
            make=_product_args(3, 4, 1),
            test=shape_only,
        ),
        Case(
            "without a border",
            3,
            "d is 0 here. Entry (i, j) is the mean over channels of f1 at point i times f2 at point j: compare your entry (0, 0) with (f1[:, :, 0, 0] * f2[:, :, 0, 0]).mean(1).",
            make=_product_args(3, 4, 0),
        ),
        Case(
            "with a border",
            3,
            "Your answer is right without a border. f2 gets d *zeros* on each of the four sides, F.pad(f2, [d] * 4), while its shape is still (B, C, H, W); then flatten it. f1 gets no border.",
            make=_product_args(3, 4, 2),
        ),
        Case(
            "square",
            2,
            "H W = C = 9 here, so a product over the wrong axis has the right shape, too: sum over the channels, with points of f1 as rows.",
            make=_product_args(3, 3, 0, C=9),
        ),
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Rows and columns are swapped: a row belongs to a point of f1, a column to a point of f2.",
            like=_product_like(turned=True),
        ),
        Mistake(
            "sum over channels",
            "A matrix product sums over the channels. The answer is the mean: divide by C.",
            like=_product_like(summed=True),
        ),
        Mistake(
            "root of C",
            "You divide by the root of the number of channels, as attention does. Divide by C.",
            like=_product_like(root=True),
        ),
        Mistake(
            "edge repeated",
            "Your border repeats the edge of f2. Outside the frame f2 is zero: F.pad(f2, [d] * 4), without a mode.",
            like=lambda f1, f2, d: _product_like(padded=False)(f1, F.pad(f2, [d] * 4, mode="replicate"), d),
        ),
        Mistake(
            "no border",
            "f2 must get its border first, d zeros on each of the four sides.",
            like=_product_like(padded=False),
        ),
        Mistake(
            "border around f1",
            "You put the border around f1. It belongs around f2, because that is where you look for matches.",
            like=_product_like(pad_first=True),
        ),
        *(
            Mistake(
                name,
                "You summed over the points and kept the channels, (B, C, C). Transpose the *first* factor: (B, HW, C) times (B, C, HW).",
                like=lambda f1, f2, d, pad=pad: (
                    f1.flatten(2) @ F.pad(f2, [pad * d] * 4).flatten(2).transpose(1, 2) / f1.shape[1]
                ),
            )
            for name, pad in (("channels by channels", 0), ("channels by channels, with a border", 1))
        ),
    ),
    hints=(
        "flatten(2) turns (B, C, H, W) into (B, C, HW): a column for each point.",
        "A matrix product sums over the inner axis: (B, HW, C) @ (B, C, HW) -> (B, HW, HW).",
        "transpose(1, 2) turns columns into rows: apply it to f1. f2 needs its border before it is flattened. And what must you divide a sum by to get the mean?",
    ),
)

# --- flownet.channels -----------------------------------------------------------------------------------


def _layer_oracle(d, stride, shrink):
    seen = {
        (dx, dy) for dx in range(-d, d + 1) for dy in range(-d, d + 1) if (dx + d) % stride == (dy + d) % stride == 0
    }
    return len(seen), max(dx for dx, _ in seen) * shrink, stride * shrink


channels = Exercise(
    id="flownet.channels",
    title="how large is the layer?",
    library=layer_size,
    oracle=_layer_oracle,
    parts=("channels", "reach", "step"),
    cases=(
        Case(
            "by hand: d = 1",
            2,
            "-1, 0 and 1 in x, and each with -1, 0 and 1 in y: 9 channels. It reaches 1 to *one* side, in steps of 1: (9, 1, 1).",
            make=given(1, 1, 1),
        ),
        Case(
            "stride 2",
            3,
            "With d = 4 and stride 2 the values are -4, -2, 0, 2, 4: five, so 25 channels. The largest is 4, the reach; the distance from one to the next is 2, the step. The message names which of the three differs.",
            make=given(4, 2, 1),
        ),
        Case(
            "a map at 1/4",
            2,
            "d = 6, stride 3: -6, -3, 0, 3, 6 in the map, so 25 channels. A point of the map is shrink = 4 full-size pixels: reach 6 · 4, step 3 · 4.",
            make=given(6, 3, 4),
        ),
        Case(
            "at 1/8, stride 1",
            3,
            "d = 10, stride 1: 21 values, so 441 channels. Reach 10 and step 1 are in points of the map; each is shrink = 8 full-size pixels.",
            make=given(10, 1, 8),
        ),
    ),
    mistakes=(
        Mistake(
            "zero left out",
            "You forgot the displacement 0: from -d to d, with 0 in the middle.",
            like=lambda d, s, k: ((2 * d // s) ** 2, d * k, s * k),
        ),
        Mistake(
            "one side only",
            "Displacements go to both sides, from -d to d.",
            like=lambda d, s, k: ((d // s + 1) ** 2, d * k, s * k),
        ),
        Mistake(
            "one direction only",
            "Every mx is combined with every my: square the number of values.",
            like=lambda d, s, k: (2 * d // s + 1, d * k, s * k),
        ),
        Mistake(
            "in the wrong order",
            "All three are right, but in the wrong order. The order is channels, reach, step.",
            when=misordered,
        ),
        Mistake(
            "reach to both sides",
            "You count the reach from the far left to the far right. It is the distance to *one* side: the largest displacement.",
            like=lambda d, s, k: ((2 * d // s + 1) ** 2, 2 * d * k, s * k),
        ),
        Mistake(
            "reach to both sides and the middle",
            "You count the reach from the far left to the far right, with the point in the middle. It is the distance to *one* side.",
            like=lambda d, s, k: ((2 * d // s + 1) ** 2, (2 * d + 1) * k, s * k),
        ),
        Mistake(
            "stride ignored",
            "With stride 2, only every second displacement is compared.",
            like=lambda d, s, k: ((2 * d + 1) ** 2, d * k, s * k),
        ),
        Mistake(
            "reach in points of the map",
            "Your reach and step are in points of the map. In full-size pixels they are `shrink` times as large.",
            like=lambda d, s, k: ((2 * d // s + 1) ** 2, d, s),
        ),
        Mistake(
            "reach multiplied by the stride",
            "d is already the largest displacement, in points of the map. The stride is only the distance between displacements.",
            like=lambda d, s, k: ((2 * d // s + 1) ** 2, d * s * k, s * k),
        ),
        Mistake(
            "step forgotten to stretch",
            "The channels and the reach are right. The step between two displacements is `stride` points of the map, each of which is `shrink` pixels wide.",
            like=lambda d, s, k: ((2 * d // s + 1) ** 2, d * k, s),
        ),
    ),
    hints=(
        "How many values has mx? From -d to d in steps of `stride`: write them down for d = 4, stride 2.",
        "With n values of mx there are n values of my, and n² pairs. Each pair is a channel.",
        "What is the largest displacement, in points of the map? And how many full-size pixels wide is a point?",
    ),
)

EXERCISES = (picture, error, warping, step, losses, score, shifts, product, channels)
