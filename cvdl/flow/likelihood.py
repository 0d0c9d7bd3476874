"""Motion as classification, without ground truth: LikeNet's loss, piece by piece.

Ahmadi, Marras and Patras, *LikeNet: a Siamese motion estimation network trained in an unsupervised way*, BMVC 2018.
The equations are those of the lecture; what they leave open is ours and marked so.

A pixel i has a *candidate* m out of a square of whole-numbered motions M.  A network says how probable each is, and is
charged for probability that it puts on motions between which the two images differ:

    C(I; θ) = Σ_i Σ_{m ∈ M} P(L_i = m | I, θ) D(i, m)
    D(i, m) = JSD(F(x_i + m, t + dt) || F(x_i, t))

No true flow occurs in it.  C is linear in P, so its least value has all probability on the candidate of least D.

Everywhere here: `reach` r gives n² = (2r + 1)² candidates (dx, dy) with dx, dy in -r … r, dy changing slowest; the
middle one is (0, 0).  P and D are (B, n², h, w).  A candidate that leaves the frame of image 2 is not *allowed*: its P
is 0, so it does not count in C.  (Ours: what stands for pixels outside the frame would draw the flow there, or away.)
"""

import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from cvdl.data.pictures import GREY
from cvdl.errors import InvalidInput
from cvdl.flow.warp import in_frame

VIEWS = ("features", "random", "gradients", "values", "difference")
LN2 = math.log(2)


# Candidates.


def candidates(reach, like=None):
    """All (dx, dy) of a square, dy changing slowest: (n², 2), as `like` in type and device."""
    side = torch.arange(-reach, reach + 1)
    dy, dx = torch.meshgrid(side, side, indexing="ij")
    square = torch.stack([dx, dy], -1).flatten(0, 1)
    return square if like is None else square.to(like)


def windows(maps, reach, value=0.0):
    """All shifts of a map as a view: result[:, :, i, j, y, x] = maps[:, :, y + i - reach, x + j - reach].

    maps: (B, C, h, w) -> (B, C, n, n, h, w), which holds no memory but that of the map with a border of `value`.
    """
    h, w = maps.shape[-2:]
    return F.pad(maps, [reach] * 4, value=value).unfold(2, h, 1).unfold(3, w, 1)


def allowed(flow, reach):
    """Which candidates lead to a pixel of frame 2 that is seen, once frame 2 is warped by the flow so far.

    flow: (B, 2, h, w) in pixels of this map -> bool (B, n², h, w).  In the warped frame 2 a pixel is seen if the flow
    fetched it from inside the frame.
    """
    return windows(in_frame(flow).float(), reach).flatten(1, 3) > 0


def probabilities(scores, free):
    """Softmax over the allowed candidates: P (B, n², h, w) in float32, all zero where none is allowed.

    scores, free: (B, n², h, w).  A score that is not allowed counts as -∞; as the lowest finite number, in fact,
    for softmax of nothing but -∞ is NaN, and so is its gradient.
    """
    scores = scores.float().masked_fill(~free, torch.finfo(torch.float32).min)
    return scores.softmax(1) * free


def expected(P):
    """Σ_m P_m m: (B, n², h, w) -> (B, 2, h, w) in pixels of this map."""
    reach = (math.isqrt(P.shape[1]) - 1) // 2
    square = candidates(reach, P)[:, :, None, None]
    return torch.stack([(P * square[:, axis]).sum(1) for axis in (0, 1)], 1)


def truncated(P, radius):
    """P without the candidates that are more than `radius` from the most probable one, in x or y, renormalised.

    The expected motion then is a sub-pixel position near the best match, where that of all of P may lie between two
    matches, at neither.  (Truncated soft-argmax, Yang and Ramanan, *VCN*, NeurIPS 2019, section 3.)
    """
    square = candidates((math.isqrt(P.shape[1]) - 1) // 2, P)
    chosen = square[P.argmax(1)]  # (B, h, w, 2)
    near = (square - chosen[..., None, :]).abs().amax(-1) <= radius
    P = P * near.movedim(-1, 1)
    return P / P.sum(1, keepdim=True).clamp(min=torch.finfo(P.dtype).tiny)


def best(D, free):
    """All probability on the allowed candidate of least D, which minimises C; of several, on the shortest motion.

    D, free: (B, n², h, w) -> P of the same shape: one-hot, or all zero where none is allowed.
    """
    D = D.masked_fill(~free, torch.inf)
    length = candidates((math.isqrt(D.shape[1]) - 1) // 2, D).square().sum(1)[:, None, None]
    chosen = length.where(D.amin(1, keepdim=True) >= D, torch.inf).argmin(1, keepdim=True)
    return torch.zeros_like(D).scatter_(1, chosen, 1) * free


# What D compares.


def grey(image):
    """(B, 3, H, W) -> (B, 1, H, W), by the weights of ITU-R BT.601."""
    return (image * torch.tensor(GREY).to(image)[:, None, None]).sum(1, keepdim=True)


def patches(image):
    """*Values*: the 3 × 3 greys around each pixel, (B, 1, H, W) -> (B, 9, H, W); the border is repeated."""
    return windows(F.pad(image, [1] * 4, mode="replicate"), 1)[..., 1:-1, 1:-1].flatten(1, 3)


def gradients(image):
    """Features nobody trained: slopes to the right, left, down, up, and their absence.  (B, 1, H, W) -> (B, 5, H, W)"""
    image = F.pad(image, [1] * 4, mode="replicate")
    x = (image[..., 1:-1, 2:] - image[..., 1:-1, :-2]) / 2
    y = (image[..., 2:, 1:-1] - image[..., :-2, 1:-1]) / 2
    return torch.cat([x, -x, y, -y, torch.zeros_like(x)], 1)


def contrast(image, radius=3, floor=0.005):
    """Local contrast normalisation: minus the mean of the surroundings, divided by their standard deviation.

    image: (B, 1, H, W) in [0, 1] -> the same shape, of deviation about 1 wherever there is texture.  floor: a deviation
    that counts as noise.  Without it D, which grows with the square of the contrast, is all but zero on faint texture,
    and nothing is learned there.  (Ours.)
    """

    def mean(maps):
        return box(F.pad(maps, [radius] * 4, mode="replicate"), radius)[..., radius:-radius, radius:-radius]

    centred = image - mean(image)
    return centred / (mean(centred.square()).sqrt() + floor)


def distributions(maps, temperature):
    """Softmax over channels: features become a distribution, of which JSD can speak.  (B, C, H, W), same shape out.

    temperature τ: a small one sharpens differences between channels until only the largest counts.
    """
    if temperature <= 0:
        raise InvalidInput(
            f"temperature is {temperature}; it divides the features, so it has to be above 0, such as 0.3."
        )
    return (maps.float() / temperature).softmax(1)


# How D compares.


def jsd(p, q, dim=1):
    """Jensen-Shannon divergence of two distributions along `dim`: between 0 (equal) and ln 2 (they share nothing).

        JSD(p || q) = ½ KL(p || m) + ½ KL(q || m),    m = ½ (p + q)

    It is symmetric, and finite where p or q is zero, with finite gradients there.  (SciPy's `jensenshannon` gives its
    square root.)  Shapes broadcast.
    """
    tiny = torch.finfo(p.dtype).tiny
    middle = ((p + q) / 2).clamp(min=tiny).log()
    each = p * (p.clamp(min=tiny).log() - middle) + q * (q.clamp(min=tiny).log() - middle)
    return (each.sum(dim) / 2).clamp(0, LN2)


def difference(a, b, dim=1):
    """|a - b|, mean over `dim`: the second baseline, with grey values."""
    return (a - b).abs().mean(dim)


def distances(first, second, reach, compare=jsd):
    """D(i, m) for all candidates: (B, C, h, w) twice -> (B, n², h, w).  Row after row of candidates, to save memory.

    Candidates beyond the map are compared with zeros, and mean nothing: see `allowed`.
    """
    shifted = windows(second, reach)  # (B, C, n, n, h, w)
    rows = [compare(first[:, :, None], shifted[:, :, i]) for i in range(2 * reach + 1)]
    return torch.stack(rows, 1).flatten(1, 2)


def supported(D, free, support, beyond):
    """D averaged, for each candidate, over a square of (2 · support + 1)² pixels; `beyond` where it is not allowed.

    A single pixel is often as like to something far away as to its own image, all the more where features are few.
    Neighbours mostly move alike, so their mean decides better; at the rims of things it blurs.  (Ours, as in block
    matching.  support = 0 is the lecture's equation.)
    """
    if support:
        known = free.to(D.dtype)
        D = box(D * known, support) / box(known, support).clamp(min=1e-6)
    return D.masked_fill(~free, beyond)


def box(maps, radius):
    """Mean over a square of pixels, zeros outside; first of rows, then of columns, which is less work."""
    side = 2 * radius + 1
    return F.avg_pool2d(F.avg_pool2d(maps, (1, side), 1, (0, radius)), (side, 1), 1, (radius, 0))


# The loss.


def expected_distance(P, D, visible=None):
    """C at one scale: the mean over pixels of Σ_m P D.  Only pixels count that have an allowed candidate.

    visible: bool (B, 1, h, w), pixels that count; None: all.  -> scalar, 0 if none counts.
    """
    if P.shape != D.shape:
        raise InvalidInput(
            f"P and D have to be of one shape (B, n², h, w); they are {tuple(P.shape)} and {tuple(D.shape)}."
        )
    counts = P.sum(1, keepdim=True) > 0
    if visible is not None:
        counts = counts & visible
    cost = (P * D).sum(1, keepdim=True)
    return cost.where(counts, 0).sum() / counts.sum().clamp(min=1)


def cost(scales, visible=None):
    """C: the sum over all scales of the mean over pixels, each scale with weight 1 (our choice).

    scales: list of (flow, P, D), as `LikeNet.scales` gives; visible: a mask for each, or None.
    """
    visible = visible or [None] * len(scales)
    return sum(expected_distance(P, D, seen) for (_, P, D), seen in zip(scales, visible, strict=True))


def soft_target(D, free, temperature):
    """softmax(-D / T) over the allowed candidates: a distribution that is as uncertain as D is.  Shapes as D."""
    return probabilities(-D / temperature, free)


def two_hot(flow, reach):
    """A motion between four candidates as a distribution over them: bilinear weights.

    Its expectation is the motion exactly, unlike that of the nearest candidate alone.

    Args:
        flow: (B, 2, h, w) in pixels of this map.
        reach: of the candidates.

    Returns:
        The distribution (B, n², h, w), and bool (B, 1, h, w): the motion is within reach.
    """
    square = candidates(reach, flow)[:, :, None, None]
    weights = (1 - (flow[:, None] - square).abs()).clamp(min=0)  # (B, n², 2, h, w)
    return weights.prod(2), (flow.abs() <= reach).all(1, keepdim=True)


def cross_entropy(P, target, counts=None):
    """The mean over pixels of -Σ_m target_m ln P_m.

    counts: bool (B, 1, h, w), pixels that count; None: all.  Pixels whose target is all zero never do.
    """
    known = target.sum(1, keepdim=True) > 0
    counts = known if counts is None else known & counts
    each = -(target * P.clamp(min=1e-8).log()).sum(1, keepdim=True)
    return each.where(counts, 0).sum() / counts.sum().clamp(min=1)


@contextmanager
def full_precision(device):
    """No autocast: differences between nearly equal distributions drown in bfloat16."""
    with torch.autocast(torch.device(device).type, enabled=False):
        yield
