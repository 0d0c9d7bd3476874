"""Exercises of notebook 08.

Where the exercise has the signature of a function of `cvdl.flow.likelihood`, that one is the fallback: it works on all
candidates at once, where the exercise goes from one to the next.  The oracles share no code with either.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F

from cvdl.course.exercises.case_helpers import (
    GRADIENT,
    answer_case,
    answered,
    around,
    choice_case,
    given,
    of_shape,
    shape_only,
)
from cvdl.course.exercises.comparison import difference
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.flow import likelihood

LN2 = math.log(2)

# --- the library's -------------------------------------------------------------------------------------


def candidates(reach):
    """All motions (dx, dy) with dx, dy in -reach … reach, dy changing slowest: (n², 2) whole numbers."""
    return likelihood.candidates(reach)


def jsd(p, q):
    """Jensen-Shannon divergence over axis 1: (B, C, …) twice -> (B, …), between 0 and ln 2."""
    return likelihood.jsd(p, q)


def distances(p, q, reach):
    """D of all candidates, (B, C, h, w) twice -> (B, n², h, w); ln 2 where a candidate leaves the frame."""
    still = torch.zeros_like(p[:, :1]).expand(-1, 2, -1, -1)
    return likelihood.distances(p, q, reach).where(likelihood.allowed(still, reach), LN2)


def probabilities(scores, free):
    """Softmax over the allowed candidates, scores and free (B, n², h, w); all zero where none is allowed."""
    return likelihood.probabilities(scores, free)


def expected(P, M):
    """Σ_m P_m m: (B, n², h, w) and (n², 2) -> (B, 2, h, w)"""
    return torch.stack([(P * M[:, axis, None, None]).sum(1) for axis in (0, 1)], 1)


def cost(P, D):
    """C: mean of Σ_m P D over the pixels that have an allowed candidate; 0 if there is none."""
    return likelihood.expected_distance(P, D)


def count_parameters(c, extractors, branches):
    """Learned numbers of so many extractors of features and so many branches, with c channels each."""

    def layers(kernel, *sides):
        return sum(o + i * o * kernel**2 for i, o in pairwise(sides))

    return layers(5, 1, c, c) * extractors + layers(3, 2 * c, c, c, c, 1) * branches


# --- helpers --------------------------------------------------------------------------------------------


def _is_nan(got, want):
    return isinstance(got, torch.Tensor) and got.is_floating_point() and bool(got.isnan().any())


def _distribution(g, *shape, sharp=2.0):
    return (sharp * torch.randn(*shape, generator=g)).softmax(1)


# --- likenet.candidates ---------------------------------------------------------------------------------


def _square(rows, columns=None):
    return torch.tensor([[dx, dy] for dy in rows for dx in (rows if columns is None else columns)]).reshape(-1, 2)


def _candidates_oracle(reach):
    n = 2 * reach + 1
    return torch.tensor([[k % n - reach, k // n - reach] for k in range(n * n)])


square = Exercise(
    id="likenet.candidates",
    title="the set M of candidates",
    library=candidates,
    oracle=_candidates_oracle,
    axes=("candidate", "axis"),
    cases=(
        Case(
            "how many",
            2,
            "With reach 3, dx is -3 … 3, which is 2 · reach + 1 = 7 values, and so is dy. Every pair of them is a row: (49, 2), whole numbers (torch.long). How many rows do you have?",
            make=given(3),
            test=shape_only,
        ),
        Case(
            "only standing still",
            1,
            "With reach 0 there is one candidate, (0, 0), in a tensor of shape (1, 2), which still has two axes.",
            make=given(0),
        ),
        Case(
            "by hand: reach 1",
            4,
            "The nine are (-1, -1), (0, -1), (1, -1), then dy = 0 with the same three dx, then dy = 1. dx comes first in each pair and runs fastest. Which of yours is the first that differs?",
            make=given(1),
        ),
        Case(
            "reach 4",
            3,
            "Your answer is right for reach 1 but not for 4: does your code contain a fixed 1 or 3? There are 81 candidates, and row k is (k % 9 - 4, k // 9 - 4).",
            make=given(4),
        ),
    ),
    mistakes=(
        Mistake(
            "dx slowest",
            "All pairs are there, but x and y are swapped: dx must change fastest and dy slowest, and dx comes first in each pair.",
            like=lambda reach: _candidates_oracle(reach).flip(1),
        ),
        Mistake(
            "upper end missing",
            "range(-r, r) ends before r. Candidates reach as far to the right as to the left.",
            like=lambda reach: _square(range(-reach, reach)),
        ),
        Mistake(
            "to the right and down only",
            "Motions to the left and up are missing: dx and dy begin at -reach.",
            like=lambda reach: _square(range(reach + 1)),
        ),
        Mistake(
            "from below",
            "y points down: the first row is dy = -reach, which is up.",
            like=lambda reach: _square(range(reach, -reach - 1, -1), range(-reach, reach + 1)),
        ),
        Mistake(
            "a row and a column",
            "These are only motions along x or along y. Diagonal ones are missing: combine every dx with every dy.",
            like=lambda reach: torch.tensor(
                [[d, 0] for d in range(-reach, reach + 1)] + [[0, d] for d in range(-reach, reach + 1)]
            ),
        ),
        Mistake(
            "standing still left out",
            "No motion is a candidate, too, and the most common one.",
            like=lambda reach: torch.tensor(
                [m for m in _candidates_oracle(reach).tolist() if m != [0, 0]], dtype=torch.long
            ).reshape(-1, 2),
        ),
    ),
    hints=(
        "Write two nested loops. Which one is the outer loop if dy changes slowest?",
        "Collect [dx, dy] in a list, and turn it into a tensor at the end.",
        "for dy in range(-reach, reach + 1): for dx in range(-reach, reach + 1): …",
    ),
)

# --- likenet.branches -----------------------------------------------------------------------------------

_NUMBERS = {
    "50 values in t_x and t_y each": (2500, "A branch stands for a *pair* of t_x and t_y. How many pairs are there?"),
    "branches in the whole row": (
        357,
        "Each scale has its own branches, and all of them count: add the five numbers in the row, where 9 occurs twice.",
    ),
    "different values of d_x at 1/8": (13, "169 branches are pairs of as many values of d_x as of d_y."),
    "reach in full-size pixels": (
        143,
        "Add over the scales: steps to one side, times the full-size pixels of such a step. At 1/16: 5 · 16.",
    ),
    "one scale with that reach": (
        82_369,
        "At full size t_x runs from -143 to 143. How many values is that, including 0? t_y has just as many, so how many pairs are there?",
    ),
}


def count_branches():
    """The numbers that are asked for."""
    return {name: number for name, (number, _) in _NUMBERS.items()}


def _no_number(answer):
    return of_shape(difference(answer, 0))


def _number_case(name):
    return answer_case(name, _NUMBERS[name][1], "count again", _no_number)


branch_numbers = Exercise(
    id="likenet.branches",
    title="how many branches",
    kind="answer",
    library=count_branches,
    oracle=count_branches,
    cases=tuple(map(_number_case, _NUMBERS)),
    mistakes=(
        Mistake(
            "added for multiplied",
            "50 + 50 branches would know 50 horizontal motions and 50 vertical ones. A pixel does both at once: every t_x with every t_y.",
            when=answered("50 values in t_x and t_y each", 100),
        ),
        Mistake(
            "from -50 to 50",
            "There are 50 values in all, not 50 to each side.",
            when=answered("50 values in t_x and t_y each", 101**2),
        ),
        Mistake(
            "row multiplied",
            "The scales are not combined with each other; each decides by itself, one after the other. Their branches add up.",
            when=answered("branches in the whole row", 121 * 169 * 49 * 9 * 9),
        ),
        Mistake(
            "two scales for one",
            "9 occurs twice in the row. The two scales may share weights, but each has its own candidates.",
            when=answered("branches in the whole row", 348),
        ),
        Mistake(
            "one side only",
            "6 is how far it goes to one side. Count the values from -6 to 6.",
            when=answered("different values of d_x at 1/8", 6),
        ),
        Mistake(
            "pixels of the scales added",
            "You added steps of different length: one at 1/16 is 16 full-size pixels long.",
            when=answered("reach in full-size pixels", 16),
        ),
        Mistake(
            "only to the right and down",
            "From 0 to 143 are the motions to one side. Those to the other side are candidates, too.",
            when=answered("one scale with that reach", 143**2, 144**2),
        ),
    ),
    hints=(
        "A branch evaluates one candidate, a pair (t_x, t_y). With n values of each there are n² pairs.",
        "The square roots of 121, 169, 49, 9, 9 are 11, 13, 7, 3, 3 values; half of it, rounded down, are steps to one side.",
        "Reach: 5 · 16 + 6 · 8 + 3 · 4 + 1 · 2 + 1 · 1. One scale that reaches so far has (2 · reach + 1)² candidates.",
    ),
)

# --- likenet.jsd ----------------------------------------------------------------------------------------


def _jsd_oracle(p, q):
    p, q = p.double(), q.double()

    def entropy(d):
        return torch.special.entr(d).sum(1)

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def _kl(p, q):
    return torch.where(p > 0, p * (p.clamp(min=1e-45).log() - q.clamp(min=1e-45).log()), 0.0).sum(1)


def _jsd(p, q):
    middle = (p + q) / 2
    return (_kl(p, middle) + _kl(q, middle)) / 2


def _two(g, *shape):
    return _distribution(g, *shape), _distribution(g, *shape)


def _with_zeros(g):
    p, q = _two(g, 2, 6, 3, 4)
    p[:, :2], q[:, 1:3] = 0, 0  # zeros of p, of both, of q
    return p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)


divergence = Exercise(
    id="likenet.jsd",
    title="Jensen-Shannon divergence",
    library=jsd,
    oracle=_jsd_oracle,
    axes=("sample", "y", "x"),
    cases=(
        Case(
            "shape",
            1,
            "Sum over the channels, axis 1: (B, C, h, w) becomes (B, h, w). You need one .sum(1), or .sum(dim=1), and no other sum.",
            make=lambda g: _two(g, 2, 5, 3, 4),
            test=shape_only,
        ),
        Case(
            "equal ones",
            2,
            "p and q are both (¼, ¼, ¼, ¼), so m is the same, every log(p / m) is log 1 = 0, and the answer is 0. Print your m: is each entry ¼?",
            make=lambda g: (torch.full((1, 4, 1, 1), 0.25),) * 2,
            want=lambda *_: torch.zeros(1, 1, 1),
        ),
        Case(
            "nothing in common",
            3,
            "p = (1, 0), q = (0, 1), so m = (½, ½). KL(p ‖ m) = 1 · log(1 / ½) + 0 = 0.693, where 0 · log 0 counts as 0, and KL(q ‖ m) is the same. Half of each makes ln 2 = 0.693. Print both KL terms.",
            make=given(torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[1.0]]]])),
            want=lambda *_: torch.full((1, 1, 1), LN2),
        ),
        Case(
            "random",
            3,
            "Your answer is right for the extremes but not between them. Compare with ½ Σ p log(p / m) + ½ Σ q log(q / m), where m = (p + q) / 2, natural logarithm, sums over axis 1.",
            make=around(lambda *shape: lambda g: _two(g, *shape), 2, 6, 3, 4),
        ),
        Case(
            "square",
            2,
            "All axes have the same length here, so a sum over the wrong one gives no error. The distribution is along axis 1.",
            make=lambda g: _two(g, 4, 4, 4, 4),
        ),
        Case(
            "two axes",
            1,
            "p and q are (B, C) here, and the answer is (B,). The docstring says (B, C, …): the axes after axis 1 may be missing. Sum over axis 1; do not unpack p.shape into four names or count axes from the end.",
            make=lambda g: _two(g, 3, 5),
        ),
        Case(
            "zeros here and there",
            3,
            "Some channels are 0 in p, in q, or in both. Where p is 0, its term must be 0, not NaN, and likewise for q. Check what you pass to log there, and look for 0 / 0.",
            make=_with_zeros,
        ),
    ),
    mistakes=(
        Mistake(
            "not a number",
            "Somewhere 0 is multiplied by log 0, which gives NaN. Clamp what goes into the logarithm, or use torch.where or torch.xlogy.",
            when=_is_nan,
        ),
        Mistake(
            "root",
            "You took the square root, which gives the Jensen-Shannon *distance* that SciPy returns. Return the divergence.",
            like=lambda p, q: _jsd(p, q).clamp(min=0).sqrt(),
        ),
        Mistake("halves forgotten", "Each of the two KL terms counts one half.", like=lambda p, q: 2 * _jsd(p, q)),
        Mistake(
            "base two",
            "That is in bits: the logarithm to base 2. Take the natural one, torch.log; then ln 2 is the largest value.",
            like=lambda p, q: _jsd(p, q) / LN2,
        ),
        Mistake(
            "KL alone",
            "That is only KL(p ‖ m), which is not symmetric. Add KL(q ‖ m) and halve the sum.",
            like=lambda p, q: _kl(p, (p + q) / 2),
        ),
        Mistake(
            "no middle",
            "You compare p with q directly. That is infinite as soon as only one of them is 0. Compare each with their mean m.",
            like=lambda p, q: (_kl(p, q) + _kl(q, p)) / 2,
        ),
        Mistake(
            "middle not halved",
            "The mean is (p + q) / 2. Your m sums to 2, so it is not a distribution.",
            like=lambda p, q: (_kl(p, p + q) + _kl(q, p + q)) / 2,
        ),
        Mistake(
            "mean over channels",
            "KL is a sum over the channels, not a mean.",
            like=lambda p, q: _jsd(p, q) / p.shape[1],
        ),
        Mistake(
            "wrong way round",
            "The sign is wrong: KL contains log(p / m), with p in the numerator.",
            like=lambda p, q: -_jsd(p, q),
        ),
    ),
    hints=(
        "Compute the mean first: m = (p + q) / 2. Then two sums over axis 1.",
        "KL(p ‖ m) = Σ p log(p / m). To get 0 · log 0 = 0, clamp the argument of the logarithm to a tiny number, such as 1e-30.",
        "Half of Σ p (log p - log m), plus half of Σ q (log q - log m).",
    ),
)

# --- likenet.distance -----------------------------------------------------------------------------------


def _distance_oracle(p, q, reach):
    B, _, h, w = p.shape
    p, q = p.double(), q.double()
    D = torch.full((B, (2 * reach + 1) ** 2, h, w), LN2, dtype=torch.double)
    for k, (dx, dy) in enumerate(_candidates_oracle(reach).tolist()):
        for y in range(max(0, -dy), min(h, h - dy)):
            for x in range(max(0, -dx), min(w, w - dx)):
                a, b = p[:, :, y, x], q[:, :, y + dy, x + dx]
                m = (a + b) / 2
                D[:, k, y, x] = ((torch.xlogy(a, a) + torch.xlogy(b, b)) / 2 - torch.xlogy(m, m)).sum(1)
    return D


def _each(p, q, reach, fetch, order=None):
    """JSD(p, fetch(q, dx, dy)) for all candidates."""
    return torch.stack([_jsd(p, fetch(q, dx, dy)) for dx, dy in (order or _candidates_oracle(reach)).tolist()], 1)


def _fetch(q, dx, dy, reach, **options):
    h, w = q.shape[-2:]
    padded = F.pad(q, [reach] * 4, **options)
    return padded[..., reach + dy : reach + dy + h, reach + dx : reach + dx + w]


def _masked(D, p, reach, turned=False):
    inside = torch.ones_like(p[:, :1])
    sign = -1 if turned else 1
    free = [_fetch(inside, sign * dx, sign * dy, reach)[:, 0] for dx, dy in _candidates_oracle(reach).tolist()]
    return D.where(torch.stack(free, 1) > 0, LN2)


def _maps_args(h, w, reach, B=2, C=4):
    return lambda g: (*_two(g, B, C, h, w), reach)


def _moved_args(g):
    """Every pixel moves by (2, -1); what comes in is something else."""
    wide = _distribution(g, 1, 5, 12, 14, sharp=4.0)
    return wide[..., 3:9, 3:11], wide[..., 4:10, 1:9], 2


def _moved_case(got, want):
    wrong = shape_only(got, want)
    if wrong:
        return wrong
    k = 1 * 5 + 4  # dy -1, dx 2
    inner = got[:, :, 1:, :-2].double()
    if inner.isnan().any():
        return "nan at some places"
    return None if (inner.argmin(1) == k).all() and inner[:, k].abs().max() < 1e-5 else "D is not 0 at that motion"


distance = Exercise(
    id="likenet.distance",
    title="the distance of every candidate",
    library=distances,
    oracle=_distance_oracle,
    axes=("sample", "candidate", "y", "x"),
    cases=(
        Case(
            "shape",
            2,
            "One map (h, w) for each candidate: with reach 1 there are nine, (B, 9, h, w). Stack them along axis 1.",
            make=_maps_args(4, 6, 1),
            test=shape_only,
        ),
        Case(
            "everything moves by (2, -1)",
            4,
            "p at (x, y) is q at (x + 2, y - 1), so D must be 0 for the candidate (2, -1), which is number 1 · 5 + 4 = 9 of 25. Print D[0, :, 3, 3].argmin(): 15 means that you look at x - m, 21 that dx and dy are swapped.",
            make=_moved_args,
            test=_moved_case,
        ),
        Case(
            "random",
            4,
            "The best candidate is right, but the values are not: each map is jsd(p, q shifted) where the candidate stays inside the frame, and ln 2 = 0.693 where it leaves the frame. Are your values wrong inside, or only at the edge?",
            make=around(lambda h, w: _maps_args(h, w, 2), 4, 6),
        ),
        Case(
            "square",
            3,
            "h and w are equal here, so swapped axes give no error: dx is a step along the last axis, dy along the one before it.",
            make=_maps_args(6, 6, 2),
        ),
        Case(
            "at the frame's edge",
            2,
            "The map is 2 × 3 and the reach 3, so most candidates leave the frame, some of them from every pixel: these have nothing to be compared with, and their D is ln 2. From the first pixel only dx = 0, 1, 2 with dy = 0, 1 stay inside.",
            make=_maps_args(2, 3, 3, B=1),
        ),
    ),
    mistakes=(
        Mistake(
            "shifted the wrong way",
            "You look at x - m. A pixel that moves by m is found at x + m in frame 2.",
            like=lambda p, q, r: _masked(_each(p, q, r, lambda q, dx, dy: _fetch(q, -dx, -dy, r)), p, r, turned=True),
        ),
        Mistake(
            "x and y swapped",
            "dx is a step along the last axis (the columns), dy along the one before (the rows).",
            like=lambda p, q, r: torch.stack(
                [
                    torch.where(
                        _fetch(torch.ones_like(p[:, :1]), dy, dx, r)[:, 0] > 0, _jsd(p, _fetch(q, dy, dx, r)), LN2
                    )
                    for dx, dy in _candidates_oracle(r).tolist()
                ],
                1,
            ),
        ),
        Mistake(
            "wrapped around",
            "torch.roll moves what leaves on one side to the other side. Pixels there have no match: set their D to ln 2.",
            like=lambda p, q, r: _each(p, q, r, lambda q, dx, dy: q.roll((-dy, -dx), (2, 3))),
        ),
        Mistake(
            "zeros beyond the frame",
            "Outside the frame you compare with zeros, which are not a distribution. Set D to ln 2 there.",
            like=lambda p, q, r: _each(p, q, r, lambda q, dx, dy: _fetch(q, dx, dy, r)),
        ),
        Mistake(
            "border repeated",
            "Outside the frame you compare with the nearest pixel inside, which looks as if there were a match. Set D to ln 2 there.",
            like=lambda p, q, r: _each(p, q, r, lambda q, dx, dy: _fetch(q, dx, dy, r, mode="replicate")),
        ),
        Mistake(
            "zero beyond the frame",
            "D is 0 where a candidate leaves the frame, as if it fitted perfectly. It must be ln 2, the largest value.",
            like=lambda p, q, r: distances(p, q, r).where(distances(p, q, r) < LN2 - 1e-6, 0.0),
        ),
        Mistake(
            "candidates last",
            "The candidates are the second axis: torch.stack(…, dim=1).",
            like=lambda p, q, r: distances(p, q, r).permute(0, 2, 3, 1),
        ),
    ),
    hints=(
        "For one candidate: shift q so that the value at x is the one that was at x + m, then take jsd(p, shifted).",
        "Pad q by `reach` on each side, F.pad(q, [reach] * 4), and cut out the window that begins at (reach + dy, reach + dx).",
        "Do the same with a map of ones: where it is 0, the candidate has left the frame. Put ln 2 there with torch.where.",
    ),
)

# --- likenet.aperture -----------------------------------------------------------------------------------

_PLACES = {
    "A": (
        "edge",
        "The map of A is a ridge: D changes across the ridge, but not along it. Which kind of place looks the same when you slide along it in one direction only?",
    ),
    "B": ("wall", "The map of B is flat: all motions fit about equally well. Where does every place look the same?"),
    "C": ("texture", "The map of C has one peak: only one motion fits. Which kind of place looks like no other?"),
    "what the ridge of A shows": ("the edge's direction", "Along which direction does a motion change nothing?"),
    "which can be matched by itself": ("C", "Whose map has one peak?"),
}
_CHOICES = {
    "what the ridge of A shows": ("the edge's direction", "the true motion's direction"),
    "which can be matched by itself": ("A", "B", "C"),
}


def match_maps():
    """Each likelihood map and the place it belongs to."""
    return {name: answer for name, (answer, _) in _PLACES.items()}


def _place_case(name):
    choices = _CHOICES.get(name, ("texture", "edge", "wall"))
    return choice_case(name, _PLACES[name][1], "look again", choices, f"is none of {', '.join(choices)}")


aperture = Exercise(
    id="likenet.aperture",
    title="three likelihood maps",
    kind="answer",
    library=match_maps,
    oracle=match_maps,
    cases=tuple(map(_place_case, _PLACES)),
    mistakes=(
        Mistake(
            "texture taken for a wall",
            "A texture is full of detail, so few other places look like this one: its map has one peak, and is not flat.",
            when=answered("B", "texture"),
        ),
        Mistake(
            "wall taken for texture",
            "On a wall all places look alike. Nothing shows which motion it was, so no candidate can stand out.",
            when=answered("C", "wall"),
        ),
        Mistake(
            "edge taken for texture",
            "An edge looks the same everywhere along it. So a whole row of candidates fits, not just one.",
            when=answered("C", "edge"),
        ),
        Mistake(
            "edge taken for a wall",
            "Across an edge the image changes strongly. So candidates across it do not fit, and the map is not flat.",
            when=answered("B", "edge"),
        ),
        Mistake(
            "ridge taken for the motion",
            "The true motion is one point of the ridge. The ridge itself would have the same direction for any motion.",
            when=answered("what the ridge of A shows", "the true motion's direction"),
        ),
        Mistake(
            "edge matched by itself",
            "All candidates along A's ridge fit equally well. Nothing at this place shows which of them it was.",
            when=answered("which can be matched by itself", "A"),
        ),
    ),
    hints=(
        "Look at the place through a small hole while the image moves. Can you see the motion?",
        "On a wall you see no motion. At an edge you see only the component across it. On a texture you see all of it.",
        "Flat, ridge, peak: wall, edge, texture.",
    ),
)

# --- likenet.probabilities ------------------------------------------------------------------------------


def _probabilities_oracle(scores, free):
    """As logits with the greatest allowed one taken off; double precision, and derivatives that stay finite."""
    scores = scores.double()
    top = scores.detach().where(free, -torch.inf).amax(1, keepdim=True)
    weights = (scores - top.where(top.isfinite(), 0.0)).where(free, -1e4).exp()
    total = weights.sum(1, keepdim=True)
    return weights / total.where(total > 0, 1.0)


def _scores_args(h, w, n=9, scale=2.0, none=False):
    def make(g):
        free = torch.rand(2, n, h, w, generator=g) > 0.4
        free[:, n // 2] = True
        free[:, 0, 0, 0] = False
        if none:
            free[0, :, 0, 0] = free[1, :, -1, -1] = False
        return scale * torch.randn(2, n, h, w, generator=g), free

    return make


def _far_scores(g):
    scores, free = _scores_args(3, 4, scale=300.0)(g)
    scores[0, 4] = 100 + scores[0, 4].abs()  # allowed everywhere: in this sample no pixel has low scores only
    scores[1] -= 3000
    return scores, free


def _no_mask(scores, free):
    return scores.softmax(1)


LOW = (
    "The score that you fill in for a forbidden candidate is not low enough: where all real scores are even lower, it "
    "takes probability from them. Fill in a very low finite number, such as -1e9."
)

chances = Exercise(
    id="likenet.probabilities",
    title="softmax over what is allowed",
    library=probabilities,
    oracle=_probabilities_oracle,
    axes=("sample", "candidate", "y", "x"),
    cases=(
        Case(
            "by hand: one of three is forbidden",
            2,
            "Equal scores, the first and third candidate allowed: (½, 0, ½). If all three are ⅓, the mask is not used; (⅓, 0, ⅓) means that it is applied after the softmax, (0, 1, 0) that it is inverted. The probabilities at a pixel add up to 1.",
            make=given(torch.zeros(1, 3, 1, 1), torch.tensor([True, False, True]).view(1, 3, 1, 1)),
            want=lambda *_: torch.tensor([0.5, 0.0, 0.5]).view(1, 3, 1, 1),
        ),
        Case(
            "random",
            2,
            "Your answer is right for equal scores but not for others. Print P.sum(1): it must be 1 at each pixel. If it is, compare the *scores* that go into the softmax: unchanged where free is True, very low where not.",
            make=around(_scores_args, 3, 5),
        ),
        Case(
            "square",
            2,
            "h, w and the number of candidates are all 9 here, so a softmax over the wrong axis gives no error: candidates are axis 1.",
            make=_scores_args(9, 9),
        ),
        Case(
            "large scores",
            1,
            "The scores are a few hundred here, and below -1000 in one sample. In float32, exp of 300 is infinite: leave it to softmax, which subtracts the largest score first. And what you fill in for a forbidden candidate must be much lower than any score: -1e9, not -10 or -100.",
            make=_far_scores,
        ),
        Case(
            "nothing is allowed",
            2,
            "At two pixels no candidate is allowed: there all of P must be 0, and nothing may be NaN. If the low number is finite, equal probabilities remain; multiply by `free` at the end.",
            make=_scores_args(3, 4, none=True),
        ),
        Case(
            "gradients, with nothing allowed somewhere",
            1,
            "The value is right, but its derivative with respect to the scores is NaN or missing. A NaN that is replaced afterwards may still spoil the gradient, so prevent it from occurring at all. Do not use .detach(), .item() or NumPy.",
            make=_scores_args(3, 4, none=True),
            gradient=True,
        ),
    ),
    mistakes=(
        Mistake(
            "forbidden ones keep their share",
            "Candidates that are not allowed still get probability. Their score must count as -∞ before the softmax.",
            like=_no_mask,
        ),
        Mistake(
            "not renormalised",
            "You set forbidden candidates to 0 after the softmax. Then the others no longer sum to 1. Mask the scores first.",
            like=lambda s, f: s.softmax(1) * f,
        ),
        Mistake(
            "score zero",
            "A score of 0 is not forbidden: exp(0) is 1. Use a very low number for it.",
            like=lambda s, f: (s * f).softmax(1) * f,
        ),
        Mistake(
            "even where nothing is allowed",
            "Where nothing is allowed, your P is spread over forbidden candidates. It must be 0 there: multiply by `free` at the end.",
            like=lambda s, f: s.masked_fill(~f, -1e30).softmax(1),
        ),
        Mistake("filled with -10", LOW, like=lambda s, f: s.masked_fill(~f, -10).softmax(1) * f),
        Mistake("filled with a number not low enough", LOW, like=lambda s, f: s.masked_fill(~f, -1000).softmax(1) * f),
        Mistake(
            "softmax over all samples",
            "Probabilities sum to 1 over the candidates of a pixel: softmax over axis 1.",
            like=lambda s, f: s.masked_fill(~f, -1e30).softmax(0) * f,
        ),
        Mistake(
            "over the pixels",
            "You took the softmax over the last axis, x. Take it over the candidates, axis 1.",
            like=lambda s, f: s.masked_fill(~f, -1e30).softmax(-1) * f,
        ),
        Mistake(
            "free turned round",
            "`free` is True where a candidate *is* allowed. You kept the others.",
            like=lambda s, f: s.masked_fill(f, -1e30).softmax(1) * ~f,
        ),
        Mistake(
            "not a number",
            "Softmax over nothing but -∞ is 0 / 0. Fill in a very low finite number instead of -∞, and multiply by `free` afterwards.",
            when=_is_nan,
        ),
    ),
    hints=(
        "What must a score be for its exp to be 0? And what if all of them are?",
        "masked_fill(~free, a very low finite number), softmax over axis 1.",
        "Where nothing is allowed, that gives equal probabilities. Multiplying by `free` sets them to 0.",
    ),
)

# --- likenet.expected -----------------------------------------------------------------------------------


def _expected_args(h, w, reach):
    return lambda g: (
        _distribution(g, 2, (2 * reach + 1) ** 2, h, w),
        _candidates_oracle(reach).float(),
    )


def _top(P, M):
    return M[P.argmax(1)].permute(0, 3, 1, 2)


expectation = Exercise(
    id="likenet.expected",
    title="the expected motion",
    library=expected,
    oracle=lambda P, M: torch.einsum("bkyx,ka->bayx", P.double(), M.double()),
    axes=("sample", "channel", "y", "x"),
    cases=(
        Case(
            "by hand: half and half",
            3,
            "Probability ½ on (1, 0) and ½ on (2, 0): ½ · (1, 0) + ½ · (2, 0) = (1.5, 0), in the shape (1, 2, 1, 1). If you get (0.5, 0), you took a mean over the three candidates; (2, 0) or (1, 0) is the most likely candidate; in (0, 1.5), x and y are swapped.",
            make=given(
                torch.tensor([0.0, 0.5, 0.5]).view(1, 3, 1, 1), torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
            ),
            want=lambda *_: torch.tensor([1.5, 0.0]).view(1, 2, 1, 1),
        ),
        Case(
            "nothing is allowed",
            1,
            "All of P is 0 here, so the sum is 0, not NaN. Do you divide by P.sum(1), which is 0? P needs no division.",
            make=lambda g: (torch.zeros(1, 9, 2, 3), _candidates_oracle(1).float()),
        ),
        Case(
            "random",
            4,
            "Your answer is right for one pixel but not for many: channel 0 is (P * M[:, 0].view(1, -1, 1, 1)).sum(1), channel 1 the same with M[:, 1]. Sum over the candidates, axis 1 of P.",
            make=around(lambda h, w: _expected_args(h, w, 1), 3, 5),
        ),
        Case(
            "square",
            2,
            "h and w are equal here, and there are 25 candidates. Channel 0 is dx, channel 1 dy; rows and columns of P must stay where they are.",
            make=_expected_args(4, 4, 2),
        ),
    ),
    mistakes=(
        Mistake(
            "likeliest one",
            "That is the most likely candidate, argmax. It can only be a whole number of pixels. Take the mean, weighted by P.",
            like=_top,
        ),
        Mistake(
            "mean for sum",
            "P already sums to 1: a plain mean over the candidates divides once more.",
            like=lambda P, M: expected(P, M) / P.shape[1],
        ),
        Mistake(
            "x and y swapped",
            "Channel 0 is the motion along x, the first column of M.",
            like=lambda P, M: expected(P, M).flip(1),
        ),
        Mistake(
            "normalised again",
            "You normalise P once more, with a second softmax. It is a probability already.",
            like=lambda P, M: expected(P.softmax(1), M),
        ),
        Mistake(
            "divided by nothing",
            "Where P is all 0, you divide 0 by 0. Do not divide: P sums to 1, or to 0 where no candidate is allowed.",
            like=lambda P, M: expected(P, M) / P.sum(1, keepdim=True),
        ),
        Mistake(
            "channels last",
            "The two components are axis 1 of a flow: (B, 2, h, w).",
            like=lambda P, M: expected(P, M).permute(0, 2, 3, 1),
        ),
    ),
    hints=(
        "For one pixel it is P[0] · M[0] + P[1] · M[1] + …, with M[k] = (dx, dy).",
        "Compute dx and dy one after the other: multiply P by M[:, 0].view(-1, 1, 1).",
        'torch.einsum("bkyx,ka->bayx", P, M) does the same in one line.',
    ),
)

# --- likenet.cost ---------------------------------------------------------------------------------------


def _cost_oracle(P, D):
    total, count = 0, 0
    for b in range(P.shape[0]):
        for y in range(P.shape[2]):
            for x in range(P.shape[3]):
                if P[b, :, y, x].sum() > 0:
                    total = total + P[b, :, y, x].double() @ D[b, :, y, x].double()
                    count += 1
    return total / max(count, 1) + 0 * P.double().sum()


def _cost_args(h, w, counted=None, n=9):
    """counted: the number of pixels that count in each of two samples; all of them if None."""

    def make(g):
        P = _distribution(g, 2, n, h, w)
        if counted:  # as at the frame's edge: some candidates have no share where others have
            P[torch.rand(2, n, h, w, generator=g) < 0.3] = 0
            P[:, n // 2] += 0.1
            P = P / P.sum(1, keepdim=True)
        rank = torch.rand(2, h * w, generator=g).argsort().argsort().view(2, 1, h, w)
        P = P * (rank < torch.tensor(counted or (h * w, h * w)).view(2, 1, 1, 1))
        return P, LN2 * torch.rand(2, n, h, w, generator=g)

    return make


def _summed(P, D):
    return (P * D).sum()


charge = Exercise(
    id="likenet.cost",
    title="the cost C",
    library=cost,
    oracle=_cost_oracle,
    cases=(
        Case(
            "by hand: one pixel",
            2,
            "¼ · 0.4 + ¾ · 0 = 0.1, at one pixel. If you get 0.05, you took a mean over the two candidates; 0.2 is the plain mean of D, and 0 is the D of the most likely candidate.",
            make=given(torch.tensor([0.25, 0.75]).view(1, 2, 1, 1), torch.tensor([0.4, 0.0]).view(1, 2, 1, 1)),
            want=lambda *_: torch.tensor(0.1),
        ),
        Case(
            "all pixels count",
            2,
            "Your answer is right for one pixel but not for many: (P * D).sum(1) is one number for each pixel, (B, h, w); the answer is its mean over all pixels of all samples.",
            make=_cost_args(3, 5),
        ),
        Case(
            "some do not count",
            3,
            "Where P is all 0, no candidate was allowed, and the pixel does not count. 7 pixels of the first sample and 18 of the second do count: take one sum over all of them and divide it by 25, not by 48, and do not take a mean for each sample. A pixel counts if *any* of its candidates has a probability above 0, P.sum(1) > 0, not only if all have.",
            make=_cost_args(4, 6, (7, 18)),
        ),
        Case(
            "none counts",
            1,
            "No pixel counts here: the sum is 0 and the number of pixels is 0, and 0 / 0 is NaN. C must be 0, so divide by at least 1.",
            make=lambda g: (torch.zeros(1, 4, 2, 2), torch.rand(1, 4, 2, 2, generator=g)),
        ),
        Case("gradients", 2, GRADIENT, make=_cost_args(3, 4), gradient=True),
    ),
    mistakes=(
        Mistake(
            "sum over pixels",
            "You summed over the pixels. Larger images would then cost more; take the mean over the pixels that count.",
            like=_summed,
        ),
        Mistake(
            "all pixels counted",
            "Pixels where nothing is allowed count in your mean with a cost of 0, as if they were perfect. Divide by the number of the other pixels.",
            like=lambda P, D: (P * D).sum(1).mean(),
        ),
        Mistake(
            "mean of the samples' means",
            "You take a mean for each sample, then the mean of those. This gives more weight to a pixel in a sample where few pixels count. Take one sum over all pixels that count, divided by their number.",
            like=lambda P, D: torch.stack(
                [(p * d).sum() / (p.sum(0) > 0).sum().clamp(min=1) for p, d in zip(P, D, strict=True)]
            ).mean(),
        ),
        Mistake(
            "mean over candidates",
            "Σ over m is a sum: P already contains the weights. You took a mean over the candidates, too.",
            like=lambda P, D: (P * D).mean(),
        ),
        Mistake(
            "P left out",
            "You averaged D over all candidates. Weight each D by the probability of its candidate.",
            like=lambda P, D: D.mean(),
        ),
        Mistake(
            "best candidate only",
            "That is D of the most likely candidate. argmax has no gradient, so the network could not learn from it. Take the sum of P · D.",
            like=lambda P, D: D.gather(1, P.argmax(1, keepdim=True)).mean(),
        ),
        Mistake(
            "not a number",
            "If no pixel counts, you divide 0 by 0. Divide by at least 1: .clamp(min=1).",
            when=lambda got, want: (
                (isinstance(got, torch.Tensor) and bool(got.isnan().any())) or (isinstance(got, float) and got != got)
            ),
        ),
    ),
    hints=(
        "First compute the inner sum: (P * D), summed over axis 1. This leaves one number per pixel.",
        "A pixel counts if its P is not all zero: P.sum(1) > 0.",
        "Sum of the inner sums, divided by the number of pixels that count, or by 1 if there is none.",
    ),
)

# --- likenet.shared -------------------------------------------------------------------------------------


def _modules(c, extractors, branches):
    with torch.device("meta"):
        conv = torch.nn.Conv2d
        extractor = [conv(1, c, 5), conv(c, c, 5)]
        branch = [conv(2 * c, c, 3), conv(c, c, 3), conv(c, c, 3), conv(c, 1, 3)]
    return sum(
        n * sum(p.numel() for layer in layers for p in layer.parameters())
        for n, layers in ((extractors, extractor), (branches, branch))
    )


def _counted(c, e, b, bias=1, first=2, grey=1, kernel=25):
    extractor = kernel * (grey * c + c * c) + bias * 2 * c
    branch = 9 * (first * c * c + 2 * c * c + c) + bias * (3 * c + 1)
    return e * extractor + b * branch


sharing = Exercise(
    id="likenet.shared",
    title="what sharing saves",
    library=count_parameters,
    oracle=_modules,
    cases=(
        Case(
            "one extractor",
            2,
            "c = 8, one extractor, no branch: the 5 × 5 layer from 1 channel to c has 25 · 8 + 8 = 208 parameters, the 5 × 5 layer from c to c has 25 · 64 + 8 = 1608. Which of the two do you get?",
            make=given(8, 1, 0),
        ),
        Case(
            "one branch",
            3,
            "c = 8, one branch, no extractor. Four layers of 3 × 3: 16 → 8 has 1160 parameters, 8 → 8 has 584, twice, 8 → 1 has 73, one of them a bias. Print yours layer by layer.",
            make=given(8, 0, 1),
        ),
        Case(
            "LikeNet, 64 channels",
            3,
            "Your answer is right for one branch of 8 channels, but not for four branches of 64. Does your code contain a fixed 8, or count a branch only once? One extractor, and four times one branch.",
            make=given(64, 1, 4),
        ),
        Case(
            "nothing shared",
            2,
            "Two extractors and 357 branches: multiply the number of one by `extractors`, that of the other by `branches`, and add.",
            make=given(16, 2, 357),
        ),
    ),
    mistakes=(
        Mistake(
            "biases forgotten",
            "Each output channel has a bias, too.",
            like=lambda c, e, b: _counted(c, e, b, bias=0),
        ),
        Mistake(
            "bias of the score forgotten",
            "The last layer of a branch, from c channels to the score, has a bias, too: one for its single output.",
            like=lambda c, e, b: _counted(c, e, b) - b,
        ),
        Mistake(
            "one frame's features",
            "The first layer of a branch sees the features of *both* frames: 2c channels.",
            like=lambda c, e, b: _counted(c, e, b, first=1),
        ),
        Mistake(
            "colour for grey",
            "The extractor sees a grey image: one channel in, not three.",
            like=lambda c, e, b: _counted(c, e, b, grey=3),
        ),
        Mistake(
            "kernels of one size",
            "The extractor's kernels are 5 × 5, those of the branches 3 × 3.",
            like=lambda c, e, b: _counted(c, e, b, kernel=9),
        ),
        Mistake(
            "extractors counted once",
            "If the network is not Siamese, each frame has its own extractor: multiply by `extractors`.",
            like=lambda c, e, b: _counted(c, min(e, 1), b),
        ),
        Mistake(
            "branches counted once",
            "Multiply the numbers of one branch by `branches`.",
            like=lambda c, e, b: _counted(c, e, min(b, 1)),
        ),
    ),
    hints=(
        "A k × k convolution from i to o channels has k · k · i · o weights and o biases.",
        "Extractor: 25 (c + c²) + 2c. Now do the same for the four layers of a branch.",
        "Add the two up: the first multiplied by `extractors`, the second by `branches`.",
    ),
)

EXERCISES = (square, branch_numbers, divergence, distance, aperture, chances, expectation, charge, sharing)
