"""Exercises of notebook 04.

The oracles are loops, in double precision or in fractions, and share no code with `cvdl.gesture`.
"""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

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
    shape_cases,
    shape_only,
)
from cvdl.course.exercises.comparison import Misfit, difference, quoted
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.gesture import metrics, sequences

# --- gesture.resample -----------------------------------------------------------------------------------


def _seen_oracle(count, fps, rate):
    fps = Fraction(str(fps))
    return [tick * fps // rate for tick in range(math.ceil(count / fps * rate))]


def _seen_like(newest=lambda x: int(x + 1e-9), number=lambda exact, count: math.ceil(exact - 1e-9)):
    """newest: of the frame's number before rounding; number: of ticks, from their exact number and the frames'."""

    def like(count, fps, rate):
        return [newest(tick * fps / rate) for tick in range(number(count * rate / fps, count))]

    return like


def _seen_args(g):
    fps, rate = _CAMERAS[int(torch.randint(len(_CAMERAS), (), generator=g))]
    return int(torch.randint(2 * fps, 4 * fps, (), generator=g)), fps, rate


# Frames and ticks per second for which no float comes out slightly too small, and rounding to the nearest is not rounding up.
_CAMERAS = [(fps, rate) for fps in (12, 15, 24, 25, 30) for rate in (4, 5, 8, 10) if 2 * fps % rate]


def _whole(number):
    return type(number) is int or (isinstance(number, torch.Tensor) and not number.is_floating_point())


def _frames_test(got, want):
    if isinstance(got, torch.Tensor):
        return Misfit(
            "a list was expected, not a tensor; .tolist() makes one of it", "Return a list: .tolist() behind it."
        )
    wrong = difference(got, want)
    if wrong or all(map(_whole, got)):
        return wrong
    told = f"the number of a frame is an int, and {quoted(next(v for v in got if not _whole(v)))} is none"
    return Misfit(told, "Make each number an int: int(…) converts it, and // gives an int where / gives a float.")


def _some_one_late(got, want):
    """Right, but for a few that are the frame before."""
    if not isinstance(got, tuple) or abs(len(got) - len(want)) > 1:
        return False
    steps = {b - a for a, b in pairwise(want)}
    late = [w - g for g, w in zip(got, want, strict=False) if isinstance(g, int)]
    return len(steps) == 1 and set(late) == {0, 1} and sum(late) <= len(late) / 3  # all exact numbers are whole


def _of_whole_fps(got, want):
    """What int(fps) or round(fps) gives for 60 frames at 29.97 per second and 10 ticks per second."""
    return got in [tuple(_seen_oracle(60, fps, 10)) for fps in (29, 30)]


FUTURE = "You see a frame before it has arrived. When k · fps / rate is 2.5, frame 2 has arrived, but frame 3 has not."

resample = Exercise(
    id="gesture.resample",
    title="frames at the ticks of a clock",
    library=sequences.frames_seen,
    oracle=_seen_oracle,
    cases=(
        Case(
            "by hand: 12 frames, 25 a second, 10 ticks",
            2,
            "12 frames at 25 a second last 0.48 s, so the ticks are at 0, 0.1, 0.2, 0.3 and 0.4 s. Times 25 that is 0, 2.5, 5, 7.5 and 10, rounded down 0, 2, 5, 7, 10: at 7.5, frame 7 has already arrived, but frame 8 has not.",
            make=given(12, 25, 10),
            want=lambda *_: [0, 2, 5, 7, 10],
            test=_frames_test,
        ),
        Case(
            "by hand: 5 frames a second, 10 ticks",
            2,
            "3 frames at 5 a second last 0.6 s: six ticks, and k · 5 / 10 is 0, 0.5, 1, 1.5, 2, 2.5. The camera is slower than the network, which therefore sees each frame twice.",
            make=given(3, 5, 10),
            want=lambda *_: [0, 0, 1, 1, 2, 2],
            test=_frames_test,
        ),
        Case(
            "a clip that ends at a tick",
            1,
            "10 frames at 25 a second last 0.4 s. The tick at 0.4 s is not *before* the end, so there are four ticks, 0 to 3, and no frame after 9. ceil(count · rate / fps) gives the number of ticks.",
            make=given(10, 25, 10),
            test=_frames_test,
        ),
        Case(
            "50 frames a second, 10 ticks",
            2,
            "Every fifth frame, 0, 5, …, 115. If one is 114 and not 115, a float was slightly below a whole number, as 23 / 10 · 50 is: multiply first, then divide once. If even the first few are wrong, look at your step.",
            make=given(120, 50, 10),
            test=_frames_test,
        ),
        Case(
            "24 frames a second, 12 ticks",
            1,
            "Every second frame, 0, 2, …, 58. If one is 13 and not 14, a float was slightly below a whole number, as 7 · (1 / 12) · 24 is: multiply first, then divide once.",
            make=given(60, 24, 12),
            test=_frames_test,
        ),
        Case(
            "29.97 frames a second",
            2,
            "fps is a float here. Leave it as it is, because int(29.97) is 29, and apply int() only to the result: `//` of floats gives floats, which cannot index a list. Tick 10 is at 1 s: frame 29.",
            make=given(60, 29.97, 10),
            test=_frames_test,
        ),
        Case(
            "another camera",
            2,
            "Your answer is right for six cameras but not for this one. Does your code contain a number from one of the six? Frame k is floor(k · fps / rate), for k from 0 up to the last tick before count / fps.",
            _seen_args,
            test=_frames_test,
        ),
    ),
    mistakes=(
        Mistake("to the nearest", FUTURE, like=_seen_like(newest=lambda x: int(x + 0.5))),
        Mistake("to the nearest even", FUTURE, like=_seen_like(newest=round)),
        Mistake("upwards", FUTURE, like=_seen_like(newest=lambda x: math.ceil(x - 1e-9))),
        Mistake(
            "a tick too many",
            "There is one tick too many: at time count / fps the clip is over.",
            like=_seen_like(number=lambda exact, count: int(exact + 1e-9) + 1),
        ),
        Mistake(
            "a tick too few",
            "One tick is missing: ticks start at 0, and the last one before the end counts, too.",
            like=_seen_like(number=lambda exact, count: int(exact + 1e-9)),
        ),
        Mistake(
            "as many ticks as frames",
            "You have a tick for each frame. Their number depends on `rate` and on the length of the clip.",
            like=_seen_like(number=lambda exact, count: count),
        ),
        Mistake(
            "a whole step",
            "You always advance by the same whole number of frames. 25 / 10 is 2.5, so steps of 2 and 3 must alternate.",
            like=lambda count, fps, rate: list(range(0, count, int(fps / rate))),
        ),
        Mistake(
            "a whole step, at least 1",
            "You always advance by the same whole number of frames. The step need not be a whole number, and it may be less than 1.",
            like=lambda count, fps, rate: list(range(0, count, max(1, int(fps / rate)))),
        ),
        Mistake(
            "fps and rate exchanged",
            "fps and rate are swapped: tick k is at k / rate seconds, and each second has fps frames.",
            like=lambda count, fps, rate: [
                int(k * rate / fps + 1e-9) for k in range(math.ceil(count * rate / fps - 1e-9))
            ],
        ),
        Mistake(
            "fps made whole",
            "You make fps a whole number: 29.97 becomes 29 or 30, and the frames drift. Leave fps as it is, and apply int() only to the result.",
            when=_of_whole_fps,
        ),
        Mistake(
            "spread evenly",
            "You spread the ticks evenly from the first frame to the last, as linspace does. Tick k is at k / rate seconds, no matter where the clip ends.",
            like=lambda count, fps, rate: (
                torch.linspace(0, count - 1, math.ceil(count / fps * rate - 1e-9)).long().tolist()
            ),
        ),
        Mistake(
            "a hair below",
            "Some frames are one too early. In floating point, a whole number may come out slightly too small: multiply first, then divide once.",
            when=_some_one_late,
        ),
    ),
    hints=(
        "At which time is tick k? Which frames are there by then?",
        "At k / rate seconds, so it is number k · fps / rate, rounded down. Which k are still before the end, count / fps?",
        "There are ceil(count · rate / fps) ticks; the frame at tick k is int(k * fps / rate).",
    ),
)

# --- gesture.shapes -------------------------------------------------------------------------------------

# GestureNet() reads frames (32, 4, 3, 120, 160): 4 clips of 3.2 s
_SHAPES = {
    "first": (
        (128, 16, 60, 80),
        "The CNN reads frames one by one, so axis 0 counts frames: how many are there in 4 clips of 32? Then 16 channels, then half of 120 rows and half of 160 columns.",
    ),
    "maps": (
        (128, 64, 15, 20),
        "Axis 0 still counts frames. Then 64 channels, 120 / 8 rows, 160 / 8 columns.",
    ),
    "scores": (
        (128, 1201),
        "One row of scores per frame: 120 / 4 · 160 / 4 cells, and one more score for a fingertip that is not in the frame.",
    ),
    "features": (
        (32, 4, 5),
        "The memory reads sequences, so the frames are (T, B, …) again, time first, with five numbers at each step.",
    ),
    "logits": (
        (32, 4, 11),
        "The network outputs a class at every step of every clip: (T, B, …), with one number for each of the ten gestures and one for «none».",
    ),
}


def shapes():
    """The shapes within a GestureNet that reads 4 clips of 3.2 s."""
    return {key: shape for key, (shape, _) in _SHAPES.items()}


shape_questions = Exercise(
    id="gesture.shapes",
    title="shapes on the way",
    kind="answer",
    library=shapes,
    oracle=shapes,
    cases=shape_cases(_SHAPES, (128, 3, 120, 160)),
    mistakes=(
        Mistake(
            "«nowhere» forgotten",
            "You counted the cells. There is one more score, for a fingertip that is in none of them.",
            when=answered("scores", (128, 1200)),
        ),
        Mistake(
            "scores as a map",
            "With the score for «nowhere», it is no longer a map: all scores of a frame are in one row.",
            when=answered("scores", (128, 1, 30, 40), (128, 30, 40), (128, 2, 30, 40)),
        ),
        Mistake(
            "sequences in the CNN",
            "The CNN does not know about time: the frames of all clips go through it as one batch of T · B.",
            when=lambda got, want: any(
                isinstance(got, dict) and isinstance(got.get(key), tuple) and got[key][:2] == (32, 4)
                for key in ("first", "maps", "scores")
            ),
        ),
        Mistake(
            "width first",
            "A tensor's last axes are rows, then columns: the height comes first.",
            when=lambda got, want: (
                answered("first", (128, 16, 80, 60))(got, want) or answered("maps", (128, 64, 20, 15))(got, want)
            ),
        ),
        Mistake(
            "one answer for a clip",
            "The network outputs a class after *every* frame. Which of these answers counts is decided later.",
            when=answered("logits", (4, 11)),
        ),
        Mistake(
            "«none» forgotten",
            "There are ten gestures, and «none of them» is a class as well.",
            when=answered("logits", (32, 4, 10)),
        ),
        Mistake(
            "batch first",
            "In this course time comes first: (T, B, …).",
            when=lambda got, want: (
                answered("features", (4, 32, 5))(got, want) or answered("logits", (4, 32, 11))(got, want)
            ),
        ),
        Mistake(
            "only the place",
            "x and y are only two of the five features: there are also two velocities, and how confident the CNN is.",
            when=answered("features", (32, 4, 2), (32, 4, 3), (32, 4, 4)),
        ),
    ),
    hints=(
        "T = 32, B = 4. Which of the five belong to the CNN, which sees one frame at a time?",
        "The CNN's three begin with T · B, the memory's two with T, B.",
        "120 / 2, 120 / 4 and 120 / 8 rows, and 160 / 2, 160 / 4 and 160 / 8 columns.",
    ),
)

# --- gesture.soft_argmax --------------------------------------------------------------------------------


def _mean_oracle(scores):
    rows = []
    for one in scores.double():
        cells = [(y, x) for y in range(one.shape[0]) for x in range(one.shape[1])]
        chance = torch.stack([one[cell] for cell in cells]) - one.logsumexp((0, 1))
        rows.append(
            torch.stack([sum(p * cell[axis] for p, cell in zip(chance.exp(), cells, strict=True)) for axis in (1, 0)])
        )
    return torch.stack(rows)


def _mean_args(N, h, w, scale=2.0):
    return lambda g: (scale * normal(g, N, h, w),)


def _mean_like(over=(1, 2), first=0, chance=None, columns_first=True, unit=lambda at, n: at):
    """over: the axes of softmax; chance: of the scores, instead of softmax."""

    def like(scores):
        p = chance(scores) if chance else (scores - scores.logsumexp(over, keepdim=True)).exp()
        h, w = scores.shape[1:]
        x = (p.sum(1) * unit(torch.arange(w) + first, w)).sum(1)
        y = (p.sum(2) * unit(torch.arange(h) + first, h)).sum(1)
        return torch.stack([x, y] if columns_first else [y, x], 1)

    return like


def _far_scores(g):
    scores = 1000 + 2 * normal(g, 2, 3, 4)
    scores[:, 0, 0] -= 1000
    return (scores,)


def _argmax(scores):
    best, w = scores.flatten(1).argmax(1), scores.shape[2]
    return torch.stack([best % w, best // w], 1).float()


soft_argmax = Exercise(
    id="gesture.soft_argmax",
    title="soft-argmax",
    library=sequences.soft_argmax,
    oracle=_mean_oracle,
    axes=("map", "coordinate"),
    cases=(
        Case(
            "shape",
            2,
            "x and y of each map: (N, 2). torch.stack of two tensors (N,), along dimension 1.",
            make=_mean_args(4, 3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: six cells",
            3,
            "Softmax must give .1 .2 .1 in row 0 and .2 .3 .1 in row 1: does yours, and is their sum 1? Columns 0, 1, 2 then have .3, .5, .2, so x = .5 + 2 · .2 = 0.9. Rows 0 and 1 have .4 and .6, so y = 0.6.",
            make=given(torch.tensor([[[0.1, 0.2, 0.1], [0.2, 0.3, 0.1]]]).log()),
            want=lambda _: torch.tensor([[0.9, 0.6]]),
        ),
        Case(
            "random, several maps",
            3,
            "Your answer is right for one map but not for several: print p.sum((1, 2)). It must be 1 for each map, over its rows and columns together.",
            make=around(_mean_args, 4, 3, 5),
        ),
        Case(
            "as many rows as columns and maps",
            2,
            "N, h and w are equal here, so swapped axes give no error, only wrong numbers: axis 0 counts maps, axis 1 rows (y), axis 2 columns (x).",
            make=_mean_args(4, 4, 4),
        ),
        Case(
            "scores of 1000",
            2,
            "The scores are around 1000 here, one of them around 0, and exp(1000) is infinite. Is anything nan? The probabilities stay the same if you subtract the map's *largest* score from all scores; torch.softmax does so.",
            make=_far_scores,
        ),
        Case("gradients", 2, GRADIENT, make=_mean_args(3, 3, 4), gradient=True),
    ),
    mistakes=(
        Mistake(
            "y first",
            "Both are right, in the wrong order: x, the column, comes first.",
            like=_mean_like(columns_first=False),
        ),
        Mistake(
            "the likeliest cell",
            "That is the most likely cell: its whole numbers pass on no gradient. Return the *mean* position.",
            like=_argmax,
        ),
        Mistake("counted from 1", "The first column and the first row have the number 0.", like=_mean_like(first=1)),
        Mistake(
            "softmax along rows",
            "Your softmax runs along each row separately, so that the probabilities of every row sum to 1. Those of the whole map must sum to 1.",
            like=_mean_like(over=(2,)),
        ),
        Mistake(
            "softmax along columns",
            "Your softmax runs along each column separately. The probabilities of the whole map must sum to 1.",
            like=_mean_like(over=(1,)),
        ),
        Mistake(
            "softmax over the batch",
            "Your softmax runs over the maps, so that frames compete with each other. It must run over the cells of each map.",
            like=_mean_like(over=(0,)),
        ),
        Mistake(
            "maps mixed",
            "Your softmax runs over all maps together. The probabilities of each map must sum to 1.",
            like=_mean_like(over=(0, 1, 2)),
        ),
        Mistake(
            "softmax forgotten",
            "You weight the positions by the scores themselves. Scores may be negative: softmax turns them into probabilities.",
            like=_mean_like(chance=lambda scores: scores),
        ),
        Mistake(
            "not normalised",
            "exp alone does not give probabilities: divide by the sum over the map.",
            like=_mean_like(chance=torch.exp),
        ),
        Mistake(
            "from -1 to 1",
            "Your unit is half the frame. Here x and y are counted in cells, 0, 1, 2, …",
            like=_mean_like(unit=lambda at, n: 2 * (at + 0.5) / n - 1),
        ),
        Mistake(
            "overflow",
            "exp of a large score is infinite, and infinite over infinite is nan. torch.softmax avoids it. How?",
            when=lambda got, want: isinstance(got, torch.Tensor) and bool(got.isnan().any()),
        ),
    ),
    hints=(
        "Two steps: probabilities of the cells, then the mean of their columns and of their rows.",
        "flatten(1) turns each map into one row for softmax; then reshape back to (N, h, w).",
        "x is the sum of probability times column number: sum over rows first, then multiply by torch.arange(w). Do the same for y.",
    ),
)

# --- gesture.pad ----------------------------------------------------------------------------------------


def _pad_oracle(clips):
    T, D = max(map(len, clips)), clips[0].shape[1]
    rows = [[*clip.tolist(), *[[0.0] * D] * (T - len(clip))] for clip in clips]
    real = [[t < len(clip) for clip in clips] for t in range(T)]
    return torch.tensor(rows).transpose(0, 1), torch.tensor(real)


def _pad_args(*lengths, D=3):
    return lambda g: ([normal(g, T, D) for T in lengths],)


def _with_zeros(g):
    clips = [normal(g, T, 3) for T in (4, 2, 3)]
    clips[0][1] = clips[1][1] = clips[2][0] = 0
    return (clips,)


def _pad_test(got, want):
    wrong = difference(got, want, ("t", "clip"), ("padded", "mask"))
    if wrong or got[1].dtype == torch.bool:
        return wrong
    return Misfit(
        f"mask is {got[1].dtype}; it has to be bool", "Convert the mask with .bool(), or make it by comparing."
    )


def _pad_like(behind=True, batch_first=False, truth=lambda padded, mask: mask, cut=False, filled=0.0):
    def like(sequences):
        lengths = [len(s) for s in sequences]
        T = min(lengths) if cut else max(lengths)
        padded = torch.full((T, len(sequences), sequences[0].shape[1]), filled)
        mask = torch.zeros(padded.shape[:2], dtype=torch.bool)
        for b, s in enumerate(sequences):
            place = slice(0, len(s)) if behind else slice(T - len(s), T)
            padded[place, b], mask[place, b] = s[:T], True
        mask = truth(padded, mask)
        return (padded.transpose(0, 1), mask.T) if batch_first else (padded, mask)

    return like


pad = Exercise(
    id="gesture.pad",
    title="a batch of clips",
    library=sequences.pad,
    oracle=_pad_oracle,
    parts=("padded", "mask"),
    cases=(
        Case(
            "by hand: a clip of 1 and one of 2 steps",
            2,
            "The clips are (5) and (1, 2): padded is [[5, 1], [0, 2]], with time running down, and mask is [[True, True], [False, True]]. Print both: which row differs?",
            make=given([torch.tensor([[5.0]]), torch.tensor([[1.0], [2.0]])]),
            want=lambda _: (
                torch.tensor([[[5.0], [1.0]], [[0.0], [2.0]]]),
                torch.tensor([[True, True], [False, True]]),
            ),
            test=_pad_test,
        ),
        Case(
            "four clips",
            3,
            "Your answer is right for two clips but not for four, with 3, 5, 2 and 4 steps. padded is (5, 4, 3): time, clips, numbers. Clip b fills padded[:len(clip), b], and zeros follow it.",
            make=_pad_args(3, 5, 2, 4),
            test=_pad_test,
        ),
        Case(
            "as many steps as clips and numbers",
            2,
            "T, B and D are all 3 here, so swapped axes give no error, only wrong numbers: the first axis is time, the second the clip.",
            make=_pad_args(2, 3, 1),
            test=_pad_test,
        ),
        Case(
            "a real row of zeros",
            2,
            "One step in each of these clips is all zeros but still real: mask must be True there. Compute the mask from the lengths, not from the values.",
            make=_with_zeros,
            test=_pad_test,
        ),
        Case(
            "one clip alone",
            1,
            "With one clip nothing is padded: padded is (T, 1, D), and mask is (T, 1), all True. Has an axis of length 1 been lost?",
            make=_pad_args(4),
            test=_pad_test,
        ),
    ),
    mistakes=(
        Mistake(
            "zeros in front",
            "You put the zeros in front. An LSTM starts at step 0: each clip must start there, followed by the zeros.",
            like=_pad_like(behind=False),
        ),
        Mistake(
            "batch first",
            "Your clips come first. Here time comes first: (T, B, D), and the mask is (T, B).",
            like=_pad_like(batch_first=True),
        ),
        Mistake(
            "mask from the values",
            "Your mask is False at a real row of zeros. Compute it from the lengths.",
            like=_pad_like(truth=lambda padded, mask: (padded != 0).any(2)),
        ),
        Mistake(
            "mask inverted",
            "Your mask is True at the padding. It must be True at the real steps.",
            like=_pad_like(truth=lambda padded, mask: ~mask),
        ),
        Mistake(
            "a value for each number",
            "Your mask has an entry for each number. It must have one for each step of a clip, (T, B).",
            like=_pad_like(truth=lambda padded, mask: mask[..., None].expand(padded.shape)),
        ),
        Mistake(
            "cut to the shortest",
            "You cut all clips to the length of the shortest. The end of a gesture is needed: pad the others to the longest instead.",
            like=_pad_like(cut=True),
        ),
        Mistake("nan at the padding", "The padding must be 0.", like=_pad_like(filled=math.nan)),
        Mistake(
            "mask not bool",
            "The mask is right, but not bool. `logits[mask]` would treat ones and zeros as row indices.",
            when=lambda got, want: difference(got, want) is None,
        ),
    ),
    hints=(
        "How long is the longest clip? Start with zeros of that size.",
        "padded is torch.zeros(T, B, D) and mask torch.zeros(T, B, dtype=torch.bool). Then go through the clips.",
        "For clip number b: padded[: len(clip), b] = clip, and the same entries of the mask become True.",
    ),
)

# --- gesture.many_to_one --------------------------------------------------------------------------------


def _batch(lengths, K=5, T=None, padding=None, steps=False):
    """Arguments of a loss: logits (T, B, K), mask (T, B), labels, one for each clip or for each step.

    padding: logits at the padding; None: numbers like all others.
    """

    def make(g):
        frames, B = T or max(lengths), len(lengths)
        logits = 2 * normal(g, frames, B, K)
        mask = torch.arange(frames)[:, None] < torch.tensor(lengths)
        if padding is not None:
            logits[~mask] = padding
        return logits, mask, torch.randint(K, (frames, B) if steps else (B,), generator=g)

    return make


def _surprise(row, label):
    return row.double().logsumexp(0) - row[label].double()


def _one_oracle(logits, mask, labels):
    total = 0
    for b, label in enumerate(labels):
        last = max(t for t, real in enumerate(mask[:, b]) if real)
        total = total + _surprise(logits[last, b], label)
    return total / len(labels)


def _one_like(row=None, loss=F.cross_entropy):
    """row: of logits (T, K), of one clip, and their real number."""
    row = row or (lambda clip, real: clip[real - 1])

    def like(logits, mask, labels):
        rows = [row(logits[:, b], int(real)) for b, real in enumerate(mask.sum(0))]
        return loss(torch.stack(rows), labels)

    return like


def _over_steps(logits, mask, labels):
    """Mean over each clip's real steps, then over the clips."""
    losses = [F.cross_entropy(logits[mask[:, b], b], label.expand(mask[:, b].sum())) for b, label in enumerate(labels)]
    return sum(losses) / len(losses)


def _over_real(logits, mask, labels):
    return F.cross_entropy(logits[mask], labels.expand(mask.shape)[mask])


def _over_all(logits, mask, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.expand(mask.shape).flatten())


TWICE = "F.cross_entropy takes logits and applies softmax itself; you apply it twice."
UNMADE = "F.nll_loss expects log-probabilities, but these are logits. F.cross_entropy takes logits."

many_to_one = Exercise(
    id="gesture.many_to_one",
    title="many-to-one: one answer for a clip",
    library=sequences.many_to_one,
    oracle=_one_oracle,
    cases=(
        Case(
            "by hand: two classes, clips of 2 and of 1 step",
            2,
            "The last real step of clip 0 is step 1, where the right class has the probability 3/4, so a loss of ln 4/3 = 0.288. Clip 1 ends at step 0: 1/2, so ln 2 = 0.693. Their mean is 0.490. Print your two losses.",
            make=given(
                torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[math.log(3), 0.0], [5.0, 0.0]]]),
                torch.tensor([[True, True], [True, False]]),
                torch.tensor([0, 1]),
            ),
            want=lambda *_: torch.tensor((math.log(4 / 3) + math.log(2)) / 2),
        ),
        Case(
            "equally long clips",
            2,
            "Without padding every clip ends at step T - 1, so the answer is F.cross_entropy(logits[-1], labels). Compare the two.",
            make=_batch([4, 4, 4]),
        ),
        Case(
            "clips of 3, 6, 1 and 4 steps",
            3,
            "The last real steps are 2, 5, 0 and 3: print yours. Clip b needs the row logits[last[b], b], one row for each clip, and then the mean of the four losses.",
            make=_batch([3, 6, 1, 4]),
        ),
        Case(
            "padding behind all clips",
            2,
            "Here even the longest clip is padded: T is 6, and the clips of 3, 4 and 2 steps end at steps 2, 3 and 1. Does your code use T, or the longest clip?",
            make=_batch([3, 4, 2], T=6),
        ),
        Case(
            "nan in the padding",
            1,
            "The padding contains nan here and must have no effect: select the last rows first, then compute the loss. Multiplying by 0 does not help, because 0 · nan is nan.",
            make=_batch([2, 5, 3], padding=math.nan),
        ),
        Case("gradients", 2, GRADIENT, make=_batch([3, 5, 2], padding=0.0), gradient=True),
    ),
    mistakes=(
        Mistake(
            "the last step of the batch",
            "logits[-1] is padding for all clips except the longest. Each clip has its own last step.",
            like=_one_like(lambda clip, real: clip[-1]),
        ),
        Mistake(
            "one step too late",
            "That is the step *after* the last one: the last of T_b steps has the index T_b - 1.",
            like=_one_like(lambda clip, real: clip[real]),
        ),
        Mistake(
            "the first step",
            "That is each clip's first step, after which little is known.",
            like=_one_like(lambda clip, real: clip[0]),
        ),
        Mistake(
            "mean of the losses over steps",
            "You ask for the class at every step. Many-to-one asks once, at the end.",
            like=_over_steps,
        ),
        Mistake(
            "mean of the losses over all real steps",
            "You ask for the class at every real step of the batch. Many-to-one asks once for each clip, at its end.",
            like=_over_real,
        ),
        Mistake(
            "mean of the losses over padding, too",
            "You ask for the class at every step, padding included. Many-to-one asks once, at each clip's end.",
            like=_over_all,
        ),
        Mistake(
            "mean of the logits",
            "You average the logits over the steps. The LSTM has already summarised the clip: its last step is enough.",
            like=_one_like(lambda clip, real: clip[:real].mean(0)),
        ),
        Mistake(
            "sum over the batch",
            "You sum over the clips. Take the mean, so that the loss does not grow with the batch.",
            like=_one_like(loss=lambda rows, labels: F.cross_entropy(rows, labels, reduction="sum")),
        ),
        Mistake(
            "not reduced",
            "You return a loss for each clip. Return their mean, one number.",
            like=_one_like(loss=lambda rows, labels: F.cross_entropy(rows, labels, reduction="none")),
        ),
        Mistake(
            "softmax twice", TWICE, like=_one_like(loss=lambda rows, labels: F.cross_entropy(rows.softmax(1), labels))
        ),
        Mistake("logits for log-probabilities", UNMADE, like=_one_like(loss=F.nll_loss)),
    ),
    hints=(
        "How many real steps does each clip have? And what is the index of the last one?",
        "mask.sum(0) counts them. For clip b you need the row logits[count - 1, b].",
        "logits[last, torch.arange(B)] takes one row for each clip, (B, K). F.cross_entropy does the rest.",
    ),
)

# --- gesture.many_to_many -------------------------------------------------------------------------------


def _many_oracle(logits, mask, labels):
    T, B = mask.shape
    real = [_surprise(logits[t, b], labels[t, b]) for t in range(T) for b in range(B) if mask[t, b]]
    return sum(real) / len(real)


def _many_like(reduce):
    """reduce(losses (T, B), mask) -> scalar"""

    def like(logits, mask, labels):
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return reduce(losses.view(mask.shape), mask)

    return like


def _ends(mask):
    return mask & ~torch.cat([mask[1:], torch.zeros_like(mask[:1])])


many_to_many = Exercise(
    id="gesture.many_to_many",
    title="many-to-many: an answer at every step",
    library=sequences.many_to_many,
    oracle=_many_oracle,
    cases=(
        Case(
            "by hand: clips of 3 and of 1 step",
            2,
            "Four real steps: three with a loss of ln 4/3 = 0.288, one with ln 2 = 0.693. Their sum is 1.556, and the answer is a quarter of it, 0.389. Print your four losses; if they are right, you divide by something other than the 4 real steps.",
            make=given(
                torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]] + [[[math.log(3), 0.0], [9.0, 0.0]]] * 2),
                torch.tensor([[True, True], [True, False], [True, False]]),
                torch.tensor([[0, 1], [0, 1], [0, 1]]),
            ),
            want=lambda *_: torch.tensor((3 * math.log(4 / 3) + math.log(2)) / 4),
        ),
        Case(
            "equally long clips",
            2,
            "Without padding, the answer is the plain mean over all T · B = 12 losses. F.cross_entropy expects the classes on axis 1: give it rows, (12, K). logits[t, b] belongs to labels[t, b], so transpose both or neither.",
            make=_batch([4, 4, 4], steps=True),
        ),
        Case(
            "clips of 3, 6, 1 and 4 steps",
            3,
            "Count the real steps: 3 + 6 + 1 + 4 = 14, each of which weighs 1/14. Sum their losses and divide by mask.sum() = 14, not by T · B = 24, B = 4 or T = 6. Do not take a mean within each clip or each step first.",
            make=_batch([3, 6, 1, 4], steps=True),
        ),
        Case(
            "nan in the padding",
            2,
            "The padding contains nan here, and 0 times nan is nan. Select the real steps, logits[mask] and labels[mask], instead of multiplying the others by 0.",
            make=_batch([2, 5, 3], padding=math.nan, steps=True),
        ),
        Case("gradients", 1, GRADIENT, make=_batch([3, 5, 2], padding=0.0, steps=True), gradient=True),
    ),
    mistakes=(
        Mistake(
            "padding counted",
            "Your loss includes the padding. Use only the steps at which mask is True.",
            like=_many_like(lambda losses, mask: losses.mean()),
        ),
        Mistake(
            "divided by all steps",
            "The losses of the padding are 0, but it still counts in the divisor. Divide by the number of *real* steps.",
            like=_many_like(lambda losses, mask: (losses * mask).mean()),
        ),
        Mistake(
            "divided by all steps, nan left out",
            "Only real steps are summed, but you divide by T · B. Divide by the number of *real* steps.",
            like=_many_like(lambda losses, mask: losses[mask].sum() / mask.numel()),
        ),
        Mistake(
            "multiplied by the mask",
            "This works until the padding contains nan: 0 · nan is nan. Select the real steps instead.",
            like=_many_like(lambda losses, mask: (losses * mask).sum() / mask.sum()),
        ),
        Mistake(
            "mean of the clips' means",
            "You average within each clip, then over the clips. This gives more weight to a step of a short clip. Here every step has the same weight.",
            like=_many_like(
                lambda losses, mask: torch.stack([losses[mask[:, b], b].mean() for b in range(mask.shape[1])]).mean()
            ),
        ),
        Mistake(
            "mean of the steps' means",
            "You average over the clips at each step, then over the steps. This gives more weight to steps that few clips reach. Here every real step has the same weight.",
            like=_many_like(
                lambda losses, mask: torch.stack(
                    [row[real].mean() for row, real in zip(losses, mask, strict=True) if real.any()]
                ).mean()
            ),
        ),
        Mistake(
            "divided by the number of steps",
            "You divide by T. Divide by the number of *real* steps in all clips, mask.sum().",
            like=_many_like(lambda losses, mask: losses[mask].sum() / len(mask)),
        ),
        Mistake(
            "clips' sums divided by the longest",
            "You divide each clip by T or average over padding. Divide once, by the number of real steps in all clips.",
            like=_many_like(lambda losses, mask: (losses * mask).mean(0).sum()),
        ),
        Mistake(
            "logits of the padding set to zero",
            "You set the logits of the padding to 0 and average over all steps. Logits of 0 mean equal probabilities, and each such step costs ln K. Leave the padding out.",
            like=lambda logits, mask, labels: F.cross_entropy(
                (logits * mask[..., None]).flatten(0, 1), labels.flatten()
            ),
        ),
        Mistake(
            "divided by the batch",
            "You sum over the steps and divide by the number of clips, as notebook 1 did. Here divide by the number of real steps.",
            like=_many_like(lambda losses, mask: losses[mask].sum() / mask.shape[1]),
        ),
        Mistake(
            "summed",
            "You return the sum. Return the mean.",
            like=_many_like(lambda losses, mask: losses[mask].sum()),
        ),
        Mistake(
            "the last steps only",
            "You take each clip's last step. That was many-to-one; now every real step has a label.",
            like=_many_like(lambda losses, mask: losses[_ends(mask)].mean()),
        ),
        Mistake(
            "classes on the wrong axis",
            "F.cross_entropy expects the classes on the *second* axis; here that is the clips. Select the real steps as rows.",
            like=lambda logits, mask, labels: F.cross_entropy(logits, labels),
        ),
        Mistake(
            "mask inverted",
            "You average over the padding. mask is True at the *real* steps.",
            like=_many_like(lambda losses, mask: losses[~mask].mean()),
        ),
        Mistake(
            "softmax twice",
            TWICE,
            like=lambda logits, mask, labels: F.cross_entropy(logits[mask].softmax(1), labels[mask]),
        ),
        Mistake(
            "logits for log-probabilities",
            UNMADE,
            like=lambda logits, mask, labels: F.nll_loss(logits[mask], labels[mask]),
        ),
    ),
    hints=(
        "Which of the T · B steps count? And how many are they?",
        "logits[mask] has a row for each real step, (number, K). What does labels[mask] have?",
        "Apply F.cross_entropy to the two: it takes the mean over the rows that it gets.",
    ),
)

# --- gesture.order --------------------------------------------------------------------------------------

_SAME, _MAY = "same", "may change"
_ORDER = {
    "last, a": (1, _SAME, "This memory looks only at the last frame. In (a), did that frame change?"),
    "last, b": (1, _MAY, "This memory looks only at the last frame. In (b), a different frame may now be the last."),
    "mean, a": (1, _SAME, "Of which frames is the mean taken, and does a sum mind the order?"),
    "mean, b": (1, _SAME, "Of which frames is the mean taken, and does a sum mind the order?"),
    "LSTM, a": (
        2,
        _MAY,
        "The state with which it reads the last frame came from the frames before, one after the other.",
    ),
    "LSTM, b": (2, _MAY, "It reads the frames one after the other, and what it does with one depends on those before."),
}


def what_order_does():
    """Is the answer after the last frame the same after shuffling, for each of three memories?"""
    return {key: answer for key, (_, answer, _) in _ORDER.items()}


def _order_case(key):
    points, _, hint = _ORDER[key]
    case = choice_case(key, hint, "think again", (_SAME, _MAY), 'is neither "same" nor "may change"')
    return replace(case, points=points)


order = Exercise(
    id="gesture.order",
    title="which memories know the order",
    kind="answer",
    library=what_order_does,
    oracle=what_order_does,
    cases=tuple(map(_order_case, _ORDER)),
    mistakes=(
        Mistake(
            "the mean minds the order",
            "a + b = b + a. A mean over the same frames is the same in every order.",
            when=lambda got, want: any(answered(key, _MAY)(got, want) for key in ("mean, a", "mean, b")),
        ),
        Mistake(
            "the last frame remembers",
            "In (a) the last frame stays where it is, and this memory has never looked at any other.",
            when=answered("last, a", _MAY),
        ),
        Mistake(
            "the last frame does not mind",
            "In (b) the last frame need not stay the last. This memory sees whatever frame is there now.",
            when=answered("last, b", _SAME),
        ),
        Mistake(
            "an LSTM sums up",
            "An LSTM is not a sum: what it does with a frame depends on the state left by the frames before.",
            when=lambda got, want: any(answered(key, _SAME)(got, want) for key in ("LSTM, a", "LSTM, b")),
        ),
    ),
    hints=(
        "For each memory: which frames does the answer after the last frame depend on?",
        "Then: does it depend on their positions, too?",
        "One depends on a single frame, one on a set of frames, one on a sequence of frames.",
    ),
)

# --- gesture.observed -----------------------------------------------------------------------------------


def _accuracy_at(probabilities, labels, fraction):
    return metrics.accuracy(probabilities, labels, fraction)


def _at_oracle(probabilities, labels, fraction):
    right = 0
    for rows, label in zip(probabilities, labels, strict=True):
        need = Fraction(str(fraction)) * len(rows)
        seen = next(n for n in range(1, len(rows) + 1) if n >= need)
        row = rows[seen - 1].tolist()
        right += row.index(max(row)) == label
    return right / len(labels)


def _led(leaders, K=3):
    """Probabilities (T, K) whose greatest is that of these classes, step by step."""
    return 0.1 + (1 - 0.1 * K) * F.one_hot(torch.tensor(leaders), K)


def _at_args(lengths, fraction, clips=40, K=4):
    """Many clips, most of them labelled with the class that leads at the right step, the others with its neighbour."""

    def make(g):
        some = [int(torch.randint(*lengths, (), generator=g)) for _ in range(clips)]
        rows = [(2 * normal(g, T, K)).softmax(1) for T in some]
        at = [math.ceil(Fraction(str(fraction)) * T) - 1 for T in some]
        wrong = (torch.rand(clips, generator=g) < 0.3).tolist()
        labels = [(int(each[t].argmax()) + w) % K for each, t, w in zip(rows, at, wrong, strict=True)]
        return rows, labels, fraction

    return make


def _at_like(seen=None, named=lambda rows, seen: rows[seen - 1].argmax(), total=len):
    """seen(T, fraction) -> number of frames; named(rows, seen) -> class."""
    seen = seen or (lambda T, fraction: math.ceil(T * fraction - 1e-9))

    def like(probabilities, labels, fraction):
        named_so = [int(named(rows, seen(len(rows), fraction))) for rows in probabilities]
        return sum(a == b for a, b in zip(named_so, labels, strict=True)) / total(labels)

    return like


def _one_length(length):
    def like(probabilities, labels, fraction):
        seen = math.ceil(length(list(map(len, probabilities))) * fraction - 1e-9)
        return sum(int(rows[seen - 1].argmax()) == k for rows, k in zip(probabilities, labels, strict=True)) / len(
            labels
        )

    return like


DOWN = "You round down: half of 3 frames, 1.5, is seen only after the second. If nothing is left, row -1 is the *last* one."
NEAREST = "You round to the nearest whole number. The frames seen must be at least that fraction of the clip: round up."

observed = Exercise(
    id="gesture.observed",
    title="how early is it right?",
    library=_accuracy_at,
    oracle=_at_oracle,
    cases=(
        Case(
            "by hand: half of 3 and of 5 frames",
            2,
            "Half of 3 frames is 1.5, so two are seen and row 1 counts: class 1, which is right. Half of 5 is 2.5, so three are seen and row 2 counts: class 1, which is wrong. One right out of two is 0.5. Print your row numbers: are they 1 and 2?",
            make=given([_led([0, 1, 2]), _led([2, 0, 1, 0, 0])], [1, 0], 0.5),
            want=lambda *_: 0.5,
        ),
        Case(
            "the whole clips",
            1,
            "With fraction 1, all T frames of a clip are seen, and the last row, T - 1, counts. T is each clip's own length, and the class is the argmax of that single row over all K classes, including the last one. There is no maximum, mean or vote over several rows.",
            make=_at_args((3, 15), 1.0),
        ),
        Case(
            "about a third",
            2,
            "The fraction is 0.35: for 10 frames that is 3.5, so four are seen and row 3 counts; for 3 frames it is 1.05, so two are seen and row 1 counts. Always round up, and use each clip's own length. The answer is the fraction of clips that are right.",
            make=_at_args((3, 15), 0.35),
        ),
        Case(
            "a tenth of short clips",
            2,
            "A tenth of 3 frames is 0.3, so one frame is seen and row 0 counts. If yours is row -1, that is the *last* one.",
            make=_at_args((1, 5), 0.1),
        ),
        Case(
            "28 % of 25 frames",
            3,
            "28 % of 25 is exactly 7, so row 6 counts in each clip; but Python's 0.28 * 25 is slightly more than 7, and ceil rounds it up to 8. Subtract 1e-6 before you round up.",
            make=_at_args((25, 26), 0.28),
        ),
    ),
    mistakes=(
        Mistake(
            "a hair above",
            "28 % of 25 frames is 7, but 0.28 * 25 is 7.000000000000001, which ceil rounds up to 8. Subtract 1e-6 first.",
            like=_at_like(lambda T, fraction: max(1, math.ceil(T * fraction))),
        ),
        Mistake("down", DOWN, like=_at_like(lambda T, fraction: int(T * fraction + 1e-9))),
        Mistake("down, at least one", DOWN, like=_at_like(lambda T, fraction: max(1, int(T * fraction + 1e-9)))),
        Mistake("to the nearest", NEAREST, like=_at_like(lambda T, fraction: round(T * fraction))),
        Mistake(
            "to the nearest, at least one", NEAREST, like=_at_like(lambda T, fraction: max(1, round(T * fraction)))
        ),
        Mistake(
            "one row too late",
            "After n frames, the newest row has the index n - 1.",
            like=_at_like(named=lambda rows, seen: rows[seen].argmax()),
        ),
        Mistake(
            "the length of the first clip",
            "You use the first clip's length for all. Each clip has its own.",
            like=_one_length(lambda lengths: lengths[0]),
        ),
        Mistake(
            "the mean of the rows",
            "You average the predictions so far. Only the newest row counts, because the network has its own memory.",
            like=_at_like(named=lambda rows, seen: rows[:seen].mean(0).argmax()),
        ),
        Mistake(
            "always the last row",
            "You take the last row, whatever `fraction` is: that is after the whole clip.",
            like=_at_like(named=lambda rows, seen: rows[-1].argmax()),
        ),
        Mistake(
            "counted, not divided",
            "You count the clips that are right. Return their fraction of all clips.",
            like=_at_like(total=lambda labels: 1),
        ),
    ),
    hints=(
        "How many frames of *this* clip have been seen? Then: which row came after the last of them?",
        "math.ceil(fraction * T - 1e-6) frames, and at least one. The index of the row is that number minus 1.",
        "Compare that row's argmax with the label; the answer is the fraction of clips where they agree.",
    ),
)

# --- gesture.decide -------------------------------------------------------------------------------------


def _decide_oracle(probabilities, threshold, hold):
    T, none = len(probabilities), probabilities.shape[1] - 1
    for t in range(hold - 1, T):
        for kind in range(none):
            window = probabilities[t - hold + 1 : t + 1].tolist()
            if all(max(row) == row[kind] and row[kind] >= threshold for row in window):
                return kind, t
    return none, T


def _rows(*said, K=4):
    """Probabilities (T, K) from pairs (leader, its probability); the others share what is left."""
    rows = []
    for leader, chance in said:
        row = [(1 - chance) / (K - 1)] * K
        row[leader] = chance
        rows.append(row)
    return torch.tensor(rows)


def _said(leaders, chance=0.75):
    return _rows(*((int(k), chance) for k in leaders))


def _decide_args(g, T=60, K=5):
    """A stream in which classes come in runs, now and then unsure."""
    leaders = torch.randint(K, (T,), generator=g).tolist()
    for t in range(1, T):
        if torch.rand((), generator=g) < 0.6:
            leaders[t] = leaders[t - 1]
    chances = (0.45 + 0.5 * torch.rand(T, generator=g)).tolist()
    return _rows(*zip(leaders, chances, strict=True), K=K), 0.6, 3


def _never_test(got, want):
    if got is None:
        return "nothing was returned, where no class held long enough"
    return difference(got, want, (), ("class", "step"))


def _decide_like(
    none_counts=False,
    any_class=False,
    enough=lambda p, threshold: p >= threshold,
    needed=lambda hold: hold,
    unsure="resets",
    per_class=False,
    last=False,
    answer=lambda kind, t, hold: (kind, t),
    skipped=False,
):
    """A loop with one thing in it done otherwise.

    unsure: "resets" the count, or "keeps" it.  per_class: a count for each class, never reset.  skipped: «none» is
    passed over as if it were not there.
    """

    def like(probabilities, threshold, hold):
        T, none = len(probabilities), probabilities.shape[1] - 1
        count, before, counts, found = 0, None, [0] * (none + 1), (none, T)
        for t, row in enumerate(probabilities):
            kind = int(row.argmax())
            if skipped and kind == none:
                continue
            if (kind == none and not none_counts) or not enough(row[kind], threshold):
                count, before = (count, before) if unsure == "keeps" else (0, None)
                continue
            count = count + 1 if kind == before or (any_class and count) else 1
            counts[kind] += 1
            before = kind
            if (counts[kind] if per_class else count) >= needed(hold):
                found = answer(kind, t, hold)
                if not last:
                    return found
        return found

    return like


def _among_gestures(probabilities, threshold, hold):
    T, none = len(probabilities), probabilities.shape[1] - 1
    count, before = 0, None
    for t, row in enumerate(probabilities[:, :none]):
        chance, kind = row.max().item(), int(row.argmax())
        count = 0 if chance < threshold else count + 1 if kind == before else 1
        before = kind if count else None
        if count == hold:
            return kind, t
    return none, T


RESET = "Your count continues after a step at which the class does not lead, or leads with too low a probability. *In a row* means that the count must start again."

decide = Exercise(
    id="gesture.decide",
    title="when to decide",
    library=sequences.first_decision,
    oracle=_decide_oracle,
    parts=("class", "step"),
    cases=(
        Case(
            "by hand: three steps in a row",
            2,
            "The leaders are 0 2 1 1 1 0 0 0 0 0, all with 0.75. Class 1 leads at the steps 2, 3, 4, so the count is 3 at step 4: (1, 4). Steps are counted from 0, and later steps do not matter.",
            make=given(_said("0211100000"), 0.5, 3),
            want=lambda *_: (1, 4),
        ),
        Case(
            "«none» in front",
            2,
            "The leaders are 3 3 3 3 3 0 1 2 0 0 0, and the last class, 3, means that there is no gesture. It is never chosen, however long it leads. From step 8 on, class 0 leads three times: (0, 10).",
            make=given(_said("33333012000"), 0.5, 3),
        ),
        Case(
            "interrupted",
            2,
            "Class 0 leads at the steps 0 and 1, at step 2 with only 0.5, again at 3; then «none» at step 4, then 0 at 5 and 6; class 2 leads at 7, 8, 9. «None» and an unsure step both set the count back to 0, so class 0 never reaches 3: (2, 9).",
            make=given(
                _rows(*[(0, 0.75)] * 2, (0, 0.5), (0, 0.75), (3, 0.75), *[(0, 0.75)] * 2, *[(2, 0.75)] * 3),
                0.625,
                3,
            ),
        ),
        Case(
            "exactly the threshold",
            2,
            "Class 0 leads at the steps 0, 1, 2 with exactly 0.75, and the threshold is 0.75. *At least* the threshold is enough, so step 2 decides: (0, 2). The earliest possible decision is at step hold - 1.",
            make=given(_said("0003111"), 0.75, 3),
        ),
        Case(
            "never",
            1,
            "The leaders are 0 0 1 2 2 1 1 3 3 1: no class holds for three steps. After the loop, return the class «none», K - 1 = 3, and T = 10.",
            make=given(_said("0012211331"), 0.5, 3),
            want=lambda *_: (3, 10),
            test=_never_test,
        ),
        Case(
            "«none» leads, another is above the threshold",
            2,
            "The threshold is 0.3 and the rows are 0.35, 0.10, 0.55, so class 0 is above it; but «none», here class 2, leads. Both are needed: the class must have the highest probability of *all*, «none» included, and it must be at least `threshold`. So the answer is (2, 2), «none» and T. Take the number of classes from the shape.",
            make=given(torch.tensor([[0.35, 0.10, 0.55]] * 2), 0.3, 2),
            want=lambda *_: (2, 2),
        ),
        Case(
            "at the first step",
            1,
            "With hold = 1, the first step that reaches the threshold decides. Step 0 has 0.5, below the threshold of 0.625; step 1 is the first: (0, 1).",
            make=given(_rows((1, 0.5), (0, 0.75), (2, 0.75)), 0.625, 1),
        ),
        Case(
            "random",
            2,
            "This is a long stream of five classes. Print t, the leader, its probability and your count at each step. The count is 0 after «none» or a step below the threshold, 1 where the leader is new, and one more where it is the same. The first step at which it reaches `hold` decides.",
            make=_decide_args,
        ),
    ),
    mistakes=(
        Mistake(
            "«none» counts",
            "You decide on «none», the last class. It only means that nothing is being drawn.",
            like=_decide_like(none_counts=True),
        ),
        Mistake(
            "different classes in a row",
            "You count steps above the threshold, whichever class leads. It must be the same class each time.",
            like=_decide_like(any_class=True),
        ),
        Mistake(
            "more than the threshold",
            "*At least* the threshold means >=, not >.",
            like=_decide_like(enough=lambda p, threshold: p > threshold),
        ),
        Mistake(
            "the threshold forgotten",
            "You count steps at which a class leads, however low its probability. It must also reach `threshold`.",
            like=_decide_like(enough=lambda p, threshold: True),
        ),
        Mistake(
            "where the run began",
            "You return the step at which the run begins. At that time it is not known that the run will last.",
            like=_decide_like(answer=lambda kind, t, hold: (kind, t - hold + 1)),
        ),
        Mistake(
            "counted from 1",
            "You return how many steps were seen. Steps are counted from 0, so subtract 1.",
            like=_decide_like(answer=lambda kind, t, hold: (kind, t + 1)),
        ),
        Mistake(
            "the step first",
            "Both are right, in the wrong order: the class, then the step.",
            when=misordered,
        ),
        Mistake(
            "the leader among the gestures",
            "You do not ask whether «none» leads: you take the highest probability among the gestures, or any class that is above the threshold. A class must have the highest probability of *all*, «none» included; with a threshold below 1/2, being above the threshold is not enough.",
            like=_among_gestures,
        ),
        Mistake(
            "«none» does not interrupt",
            "Your count continues after a step at which «none» leads. *In a row* means that the count must start again.",
            like=_decide_like(skipped=True),
        ),
        Mistake("an unsure step keeps the count", RESET, like=_decide_like(unsure="keeps")),
        Mistake("counts never reset", RESET, like=_decide_like(per_class=True)),
        Mistake(
            "one step too many",
            "You wait one step too long. The current step counts as well: it is the last of the `hold` steps.",
            like=_decide_like(needed=lambda hold: hold + 1),
        ),
        Mistake(
            "one step too few",
            "You decide one step too early. The first step of a run makes the count 1.",
            like=_decide_like(needed=lambda hold: hold - 1),
        ),
        Mistake(
            "the last decision",
            "You continue after the first decision and return the last one. A decision is final: return at once.",
            like=_decide_like(last=True),
        ),
    ),
    hints=(
        "Go through the steps, and keep two things: which class led before, and for how many steps in a row.",
        "At each step: does the leader reach the threshold, and is it not «none»? If it is the same class as before, add 1 to the count; otherwise the count is 1, or 0.",
        "When the count reaches hold, return the class and this step's number; after the loop, return K - 1, T.",
    ),
)

EXERCISES = (
    resample,
    shape_questions,
    soft_argmax,
    pad,
    many_to_one,
    many_to_many,
    order,
    observed,
    decide,
)
