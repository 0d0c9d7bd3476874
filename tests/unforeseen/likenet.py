"""Unforeseen wrong answers to the exercises of notebook 08."""

import math

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.likenet import count_branches, match_maps
from tests.unforeseen import Collection

WRONG = Collection()
LN2 = math.log(2)

# --- likenet.candidates


def _motions(reach):
    side = range(-reach, reach + 1)
    return torch.tensor([(dx, dy) for dy in side for dx in side])


@WRONG.add("likenet.candidates", "floats")
def _(reach):
    """Floats instead of whole numbers."""
    return _motions(reach).float()


@WRONG.add("likenet.candidates", "a grid of its own axes")
def _(reach):
    """(n, n, 2): rows and columns are not joined into one axis."""
    n = 2 * reach + 1
    return _motions(reach).view(n, n, 2)


@WRONG.add("likenet.candidates", "from the right")
def _(reach):
    """dx falls from `reach` to `-reach`."""
    return _motions(reach) * torch.tensor([-1, 1])


@WRONG.add("likenet.candidates", "transposed")
def _(reach):
    """(2, n²) instead of (n², 2)."""
    return _motions(reach).T


@WRONG.add("likenet.candidates", "a disc")
def _(reach):
    """Only motions no longer than `reach`: a disc instead of a square."""
    return torch.stack([m for m in _motions(reach) if m.float().norm() <= reach])


@WRONG.add("likenet.candidates", "the diagonal")
def _(reach):
    """zip pairs the values instead of combining each with each."""
    side = range(-reach, reach + 1)
    return torch.tensor(list(zip(side, side, strict=True)))


# --- likenet.branches

WRONG.choose(
    "likenet.branches",
    "from 0 to 50",
    "51 values from 0 to 50.",
    count_branches,
    {"50 values in t_x and t_y each": 51 * 51},
)
WRONG.choose(
    "likenet.branches",
    "one 9 counted",
    "The row has two scales with 9 branches; both numbers count.",
    count_branches,
    {"branches in the whole row": 339},
)
WRONG.choose(
    "likenet.branches",
    "all motions at 1/8",
    "All 169 motions, not the values of d_x.",
    count_branches,
    {"different values of d_x at 1/8": 169},
)
WRONG.choose(
    "likenet.branches",
    "coarsest scale only",
    "Only the coarsest scale is counted.",
    count_branches,
    {"reach in full-size pixels": 80},
)
WRONG.choose(
    "likenet.branches",
    "own pixel left out",
    "(2 · 143)²: standing still is forgotten.",
    count_branches,
    {"one scale with that reach": 286**2},
)
WRONG.choose(
    "likenet.branches",
    "both sides for the reach",
    "The reach is counted to both sides, and the last number follows from it.",
    count_branches,
    {"reach in full-size pixels": 286, "one scale with that reach": 573**2},
)

# --- likenet.jsd


def _kl(a, b):
    return (a * (a.clamp(min=1e-30) / b.clamp(min=1e-30)).log()).sum(1)


@WRONG.add("likenet.jsd", "middle in front")
def _(p, q):
    """KL of the middle against p and q instead of the other way round."""
    r = (p + q) / 2
    return (_kl(r, p) + _kl(r, q)) / 2


@WRONG.add("likenet.jsd", "geometric middle")
def _(p, q):
    """The middle is √(p q) instead of (p + q) / 2."""
    r = (p * q).sqrt()
    return (_kl(p, r) + _kl(q, r)) / 2


@WRONG.add("likenet.jsd", "last axis")
def _(p, q):
    """Summed over the last axis instead of axis 1."""
    r = (p + q) / 2
    each = p * (p.clamp(min=1e-30) / r.clamp(min=1e-30)).log() + q * (q.clamp(min=1e-30) / r.clamp(min=1e-30)).log()
    return each.sum(-1) / 2


@WRONG.add("likenet.jsd", "0.01 added")
def _(p, q):
    """0.01 is added everywhere against the zeros, which changes the values."""
    p, q = p + 1e-2, q + 1e-2
    r = (p + q) / 2
    return ((p * (p / r).log()).sum(1) + (q * (q / r).log()).sum(1)) / 2


@WRONG.add("likenet.jsd", "softmax first")
def _(p, q):
    """softmax is taken of distributions."""
    p, q = p.softmax(1), q.softmax(1)
    r = (p + q) / 2
    return (_kl(p, r) + _kl(q, r)) / 2


@WRONG.add("likenet.jsd", "total variation")
def _(p, q):
    """Half the sum of the absolute differences, another distance between distributions."""
    return (p - q).abs().sum(1) / 2


# --- likenet.distance


def _jsd(p, q):
    r = (p + q) / 2
    return (_kl(p, r) + _kl(q, r)) / 2


def _each(p, q, reach, compare=_jsd, beyond=LN2):
    h, w = p.shape[-2:]
    wide, inside = F.pad(q, [reach] * 4), F.pad(torch.ones_like(p[:, 0]), [reach] * 4)
    D = []
    for dx, dy in _motions(reach).tolist():
        window = (..., slice(reach + dy, reach + dy + h), slice(reach + dx, reach + dx + w))
        D.append(torch.where(inside[window] > 0, compare(p, wide[window]), beyond))
    return torch.stack(D, dim=1)


@WRONG.add("likenet.distance", "frames exchanged")
def _(p, q, reach):
    """p is shifted instead of q."""
    return _each(q, p, reach)


@WRONG.add("likenet.distance", "absolute differences")
def _(p, q, reach):
    """The sum of absolute differences instead of the divergence."""
    return _each(p, q, reach, lambda a, b: (a - b).abs().sum(1))


@WRONG.add("likenet.distance", "infinite beyond the frame")
def _(p, q, reach):
    """Infinity instead of ln 2 beyond the frame."""
    return _each(p, q, reach, beyond=math.inf)


@WRONG.add("likenet.distance", "1 beyond the frame")
def _(p, q, reach):
    """1, the greatest value to base 2, instead of ln 2."""
    return _each(p, q, reach, beyond=1.0)


@WRONG.add("likenet.distance", "likelihood for distance")
def _(p, q, reach):
    """exp(-D) instead of D."""
    return torch.exp(-_each(p, q, reach))


@WRONG.add("likenet.distance", "a quarter of the square")
def _(p, q, reach):
    """Only displacements from 0 to `reach`, to the right and down."""
    full = _each(p, q, reach)
    n = 2 * reach + 1
    kept = [k for k in range(n * n) if k % n >= reach and k // n >= reach]
    return full[:, kept]


# --- likenet.aperture

WRONG.choose(
    "likenet.aperture",
    "letters for names",
    "The letters instead of what they show.",
    match_maps,
    {"A": "A", "B": "B", "C": "C"},
)
WRONG.choose(
    "likenet.aperture",
    "name for the letter",
    "The name instead of the letter.",
    match_maps,
    {"which can be matched by itself": "texture"},
)
WRONG.choose(
    "likenet.aperture",
    "wall matched by itself",
    "On a wall nothing can be matched.",
    match_maps,
    {"which can be matched by itself": "B"},
)
WRONG.choose(
    "likenet.aperture", "half a text", "The text is cut short.", match_maps, {"what the ridge of A shows": "edge"}
)

# --- likenet.probabilities


@WRONG.add("likenet.probabilities", "lowest score likeliest")
def _(scores, free):
    """softmax of -scores, as if they were costs."""
    return torch.softmax(torch.where(free, -scores, -1e30), dim=1) * free


@WRONG.add("likenet.probabilities", "shares of the scores")
def _(scores, free):
    """Positive scores divided by their sum, without an exponential."""
    positive = scores.clamp(min=0) * free
    return positive / positive.sum(1, keepdim=True).clamp(min=1e-30)


@WRONG.add("likenet.probabilities", "over candidates and pixels")
def _(scores, free):
    """One softmax over the candidates of all pixels together."""
    masked = torch.where(free, scores, -1e30)
    return torch.softmax(masked.flatten(1), dim=1).view_as(scores) * free


@WRONG.add("likenet.probabilities", "each for itself")
def _(scores, free):
    """sigmoid of each score: the probabilities of a pixel do not add up to 1."""
    return torch.sigmoid(scores) * free


@WRONG.add("likenet.probabilities", "constant in the denominator")
def _(scores, free):
    """0.1 is added to the sum, so that nothing is divided by 0; the rest no longer adds up to 1."""
    masked = torch.where(free, scores, -1e30)
    weights = torch.exp(masked - masked.amax(1, keepdim=True)) * free
    return weights / (weights.sum(1, keepdim=True) + 0.1)


@WRONG.add("likenet.probabilities", "logarithms")
def _(scores, free):
    """log_softmax for softmax."""
    return torch.log_softmax(torch.where(free, scores, -1e30), dim=1) * free


# --- likenet.expected


@WRONG.add("likenet.expected", "x for both")
def _(P, M):
    """dx is used in both components."""
    u = (P * M[:, 0][None, :, None, None]).sum(1)
    return torch.stack([u, u], dim=1)


@WRONG.add("likenet.expected", "rounded")
def _(P, M):
    """The mean is rounded to whole pixels."""
    return torch.einsum("bnhw,nc->bchw", P, M).round()


@WRONG.add("likenet.expected", "weights squared")
def _(P, M):
    """P² for P."""
    return torch.einsum("bnhw,nc->bchw", P**2, M)


@WRONG.add("likenet.expected", "opposite direction")
def _(P, M):
    """The sign is turned: from frame 2 to frame 1."""
    return -torch.einsum("bnhw,nc->bchw", P, M)


@WRONG.add("likenet.expected", "mean over the pixels")
def _(P, M):
    """One motion for the whole image, spread over all pixels."""
    mean = torch.einsum("bnhw,nc->bchw", P, M).mean((2, 3), keepdim=True)
    return mean.expand(-1, -1, *P.shape[2:])


# --- likenet.cost


@WRONG.add("likenet.cost", "a cost for each pixel")
def _(P, D):
    """Not averaged over the pixels: (B, h, w)."""
    return (P * D).sum(1)


@WRONG.add("likenet.cost", "divided by the batch")
def _(P, D):
    """The sum over the pixels is divided by the number of images."""
    return (P * D).sum() / len(P)


@WRONG.add("likenet.cost", "no gradient")
def _(P, D):
    """The sum is a Python number, so no gradient remains."""
    counts = P.sum(1) > 0
    return torch.tensor((P * D).sum().item() / max(1, int(counts.sum())))


@WRONG.add("likenet.cost", "weights squared")
def _(P, D):
    """P² D for P D."""
    counts = P.sum(1) > 0
    return (P**2 * D).sum() / counts.sum().clamp(min=1)


@WRONG.add("likenet.cost", "divided by the squares")
def _(P, D):
    """Divided by the sum of P², a mean with the wrong weights."""
    return (P * D).sum() / P.square().sum().clamp(min=1e-12)


@WRONG.add("likenet.cost", "pixels where one candidate is missing")
def _(P, D):
    """A pixel counts only if all of its candidates have a share: all() for any()."""
    counts = (P > 0).all(1)
    return ((P * D).sum(1) * counts).sum() / counts.sum().clamp(min=1)


# --- likenet.shared


def _extractor(c):
    return 25 * c + c + 25 * c * c + c


def _branch(c):
    return 18 * c * c + c + 2 * (9 * c * c + c) + 9 * c + 1


@WRONG.add("likenet.shared", "three convolutions in the middle")
def _(c, extractors, branches):
    """c → c is counted three times instead of twice."""
    return extractors * _extractor(c) + branches * (_branch(c) + 9 * c * c + c)


@WRONG.add("likenet.shared", "branches multiplied by extractors")
def _(c, extractors, branches):
    """Each extractor is taken to have all the branches."""
    return extractors * (_extractor(c) + branches * _branch(c))


@WRONG.add("likenet.shared", "kernels exchanged")
def _(c, extractors, branches):
    """3 × 3 in the extractor, 5 × 5 in the branch."""
    extractor = 9 * c + c + 9 * c * c + c
    return extractors * extractor + branches * (50 * c * c + c + 2 * (25 * c * c + c) + 25 * c + 1)


@WRONG.add("likenet.shared", "c scores")
def _(c, extractors, branches):
    """The last convolution has c outputs instead of 1."""
    return extractors * _extractor(c) + branches * (18 * c * c + c + 3 * (9 * c * c + c))


@WRONG.add("likenet.shared", "second convolution from one channel")
def _(c, extractors, branches):
    """Both convolutions of the extractor are counted with one input channel."""
    return extractors * 2 * (25 * c + c) + branches * _branch(c)
