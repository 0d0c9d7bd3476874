"""Unforeseen wrong answers to the exercises of notebook 04."""

import math

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.gesture import shapes, what_order_does
from tests.unforeseen import Collection

WRONG = Collection()

# --- gesture.resample


@WRONG.add("gesture.resample", "first tick after 1 / rate")
def _(count, fps, rate):
    """The ticks begin at 1 instead of 0."""
    frames, tick = [], 1
    while tick / rate < count / fps:
        frames.append(int(tick * fps / rate))
        tick += 1
    return frames


@WRONG.add("gesture.resample", "no frame twice")
def _(count, fps, rate):
    """A frame that is the newest at two ticks appears once only."""
    ticks = range(math.ceil(count * rate / fps))
    return sorted({int(tick * fps / rate) for tick in ticks})


@WRONG.add("gesture.resample", "floats")
def _(count, fps, rate):
    """The frames are not rounded at all: 2.5 for 2."""
    return [tick * fps / rate for tick in range(math.ceil(count * rate / fps))]


@WRONG.add("gesture.resample", "whole seconds only")
def _(count, fps, rate):
    """The part of the clip after its last whole second is lost."""
    return [int(tick * fps / rate) for tick in range(int(count / fps) * rate)]


@WRONG.add("gesture.resample", "end of the interval")
def _(count, fps, rate):
    """At each tick the frame just before the next tick."""
    ticks = range(math.ceil(count * rate / fps))
    return [min(count - 1, math.ceil((tick + 1) * fps / rate) - 1) for tick in ticks]


# --- gesture.shapes

WRONG.choose(
    "gesture.shapes",
    "no padding",
    "The convolution is counted as if it had no padding.",
    shapes,
    {"first": (128, 16, 58, 78)},
)
WRONG.choose(
    "gesture.shapes",
    "channels last",
    "The channels come last, as in TensorFlow.",
    shapes,
    {"first": (128, 60, 80, 16), "maps": (128, 15, 20, 64)},
)
WRONG.choose(
    "gesture.shapes", "quarter for eighth", "1/4 of the size instead of 1/8.", shapes, {"maps": (128, 64, 30, 40)}
)
WRONG.choose(
    "gesture.shapes", "cells of 8 pixels", "A score for each cell of 8 × 8 pixels.", shapes, {"scores": (128, 301)}
)
WRONG.choose(
    "gesture.shapes",
    "all ticks in one axis",
    "Ticks and clips are not separated for the LSTM.",
    shapes,
    {"features": (128, 5), "logits": (128, 11)},
)

# --- gesture.soft_argmax


@WRONG.add("gesture.soft_argmax", "from 0 to 1")
def _(scores):
    """The coordinates are shares of the map's width and height instead of cells."""
    N, h, w = scores.shape
    p = torch.softmax(scores.flatten(1), dim=1).view(N, h, w)
    x = (p.sum(1) * torch.linspace(0, 1, w)).sum(1)
    y = (p.sum(2) * torch.linspace(0, 1, h)).sum(1)
    return torch.stack([x, y], dim=1)


@WRONG.add("gesture.soft_argmax", "middle of the cells")
def _(scores):
    """Half a cell is added to both coordinates."""
    N, h, w = scores.shape
    p = torch.softmax(scores.flatten(1), dim=1).view(N, h, w)
    x = (p.sum(1) * (torch.arange(w) + 0.5)).sum(1)
    y = (p.sum(2) * (torch.arange(h) + 0.5)).sum(1)
    return torch.stack([x, y], dim=1)


@WRONG.add("gesture.soft_argmax", "scores summed before softmax")
def _(scores):
    """The scores are summed along the other axis first, and softmax is taken of the sums."""
    h, w = scores.shape[1:]
    x = (torch.softmax(scores.sum(1), dim=1) * torch.arange(w)).sum(1)
    y = (torch.softmax(scores.sum(2), dim=1) * torch.arange(h)).sum(1)
    return torch.stack([x, y], dim=1)


@WRONG.add("gesture.soft_argmax", "stacked along the wrong axis")
def _(scores):
    """(2, N) instead of (N, 2)."""
    N, h, w = scores.shape
    p = torch.softmax(scores.flatten(1), dim=1).view(N, h, w)
    x = (p.sum(1) * torch.arange(w)).sum(1)
    y = (p.sum(2) * torch.arange(h)).sum(1)
    return torch.stack([x, y])


@WRONG.add("gesture.soft_argmax", "rounded")
def _(scores):
    """The mean is rounded to a whole cell."""
    N, h, w = scores.shape
    p = torch.softmax(scores.flatten(1), dim=1).view(N, h, w)
    x = (p.sum(1) * torch.arange(w)).sum(1)
    y = (p.sum(2) * torch.arange(h)).sum(1)
    return torch.stack([x, y], dim=1).round()


# --- gesture.pad


def _padded(sequences, value=0.0):
    T, B, D = max(len(s) for s in sequences), len(sequences), sequences[0].shape[1]
    padded, mask = torch.full((T, B, D), value), torch.zeros(T, B, dtype=torch.bool)
    for b, s in enumerate(sequences):
        padded[: len(s), b] = s
        mask[: len(s), b] = True
    return padded, mask


@WRONG.add("gesture.pad", "-1 for padding")
def _(sequences):
    """Padded with -1 instead of 0."""
    return _padded(sequences, -1.0)


@WRONG.add("gesture.pad", "mask first")
def _(sequences):
    """The mask is returned first."""
    padded, mask = _padded(sequences)
    return mask, padded


@WRONG.add("gesture.pad", "last step not marked")
def _(sequences):
    """The mask is one step too short for every clip."""
    padded, mask = _padded(sequences)
    for b, s in enumerate(sequences):
        mask[len(s) - 1, b] = False
    return padded, mask


@WRONG.add("gesture.pad", "last row repeated")
def _(sequences):
    """Padded with the last real row instead of zeros."""
    T = max(map(len, sequences))
    rows = [torch.cat([s, s[-1:].expand(T - len(s), -1)]) for s in sequences]
    return torch.stack(rows, 1), _padded(sequences)[1]


@WRONG.add("gesture.pad", "longest clip first")
def _(sequences):
    """The clips are sorted by length and stay so."""
    return _padded(sorted(sequences, key=len, reverse=True))


@WRONG.add("gesture.pad", "length of the first clip")
def _(sequences):
    """T is the length of the first clip: an error where another one is longer."""
    T, B, D = len(sequences[0]), len(sequences), sequences[0].shape[1]
    padded, mask = torch.zeros(T, B, D), torch.zeros(T, B, dtype=torch.bool)
    for b, s in enumerate(sequences):
        padded[: len(s), b] = s
        mask[: len(s), b] = True
    return padded, mask


# --- gesture.many_to_one


@WRONG.add("gesture.many_to_one", "summed along the wrong axis")
def _(logits, mask, labels):
    """mask.sum(1) counts clips at each step instead of steps of each clip."""
    last = mask.sum(1)[: len(labels)] - 1
    return F.cross_entropy(logits[last, torch.arange(len(labels))], labels)


@WRONG.add("gesture.many_to_one", "greatest over time")
def _(logits, mask, labels):
    """Max pooling over the real steps instead of the last step."""
    pooled = logits.masked_fill(~mask[:, :, None], -torch.inf).amax(0)
    return F.cross_entropy(pooled, labels)


@WRONG.add("gesture.many_to_one", "last step but one")
def _(logits, mask, labels):
    """One step too early; of a clip of one step the first."""
    last = (mask.sum(0) - 2).clamp(min=0)
    return F.cross_entropy(logits[last, torch.arange(len(labels))], labels)


@WRONG.add("gesture.many_to_one", "divided by the steps")
def _(logits, mask, labels):
    """The loss of each clip is divided by its length."""
    last = mask.sum(0) - 1
    each = F.cross_entropy(logits[last, torch.arange(len(labels))], labels, reduction="none")
    return (each / mask.sum(0)).mean()


@WRONG.add("gesture.many_to_one", "shortest length for all")
def _(logits, mask, labels):
    """All clips are read at the last step of the shortest one."""
    return F.cross_entropy(logits[mask.sum(0).min() - 1], labels)


# --- gesture.many_to_many


@WRONG.add("gesture.many_to_many", "padding as class 0")
def _(logits, mask, labels):
    """NaN becomes 0 and padded labels become class 0, which then count like real ones."""
    logits, labels = torch.nan_to_num(logits), labels * mask
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


@WRONG.add("gesture.many_to_many", "labels in another order")
def _(logits, mask, labels):
    """The labels are selected clip by clip, the logits step by step."""
    return F.cross_entropy(logits[mask], labels.T[mask.T])


@WRONG.add("gesture.many_to_many", "mask of the first clip")
def _(logits, mask, labels):
    """Every clip is taken to be as long as the first one."""
    real = int(mask[:, 0].sum())
    return F.cross_entropy(logits[:real].flatten(0, 1), labels[:real].flatten())


@WRONG.add("gesture.many_to_many", "divided by the longest clip")
def _(logits, mask, labels):
    """The sum is divided by T instead of the number of real steps."""
    return F.cross_entropy(logits[mask], labels[mask], reduction="sum") / len(mask)


# --- gesture.order

WRONG.choose(
    "gesture.order",
    "true and false",
    "True and False instead of the two texts.",
    what_order_does,
    {key: value == "same" for key, value in what_order_does().items()},
)
WRONG.choose(
    "gesture.order",
    "another word",
    '"changes" is not one of the two answers.',
    what_order_does,
    {"last, b": "changes", "LSTM, a": "changes", "LSTM, b": "changes"},
)
WRONG.choose(
    "gesture.order",
    "LSTM left open",
    "The two lines on the LSTM have no answer yet.",
    what_order_does,
    {"LSTM, a": ..., "LSTM, b": ...},
)

# --- gesture.observed


def _observed(probabilities, labels, fraction, named):
    right = 0
    for rows, label in zip(probabilities, labels, strict=True):
        seen = max(1, math.ceil(fraction * len(rows) - 1e-6))
        right += int(named(rows, seen)) == label
    return right / len(labels)


@WRONG.add("gesture.observed", "greatest so far")
def _(probabilities, labels, fraction):
    """The class with the greatest probability at any step seen so far."""
    return _observed(probabilities, labels, fraction, lambda rows, seen: rows[:seen].amax(0).argmax())


@WRONG.add("gesture.observed", "index in the flattened rows")
def _(probabilities, labels, fraction):
    """argmax without a dimension counts through all rows seen."""
    return _observed(probabilities, labels, fraction, lambda rows, seen: rows[:seen].argmax())


@WRONG.add("gesture.observed", "none left out")
def _(probabilities, labels, fraction):
    """The last class can never be the answer."""
    return _observed(probabilities, labels, fraction, lambda rows, seen: rows[seen - 1, :-1].argmax())


@WRONG.add("gesture.observed", "in percent")
def _(probabilities, labels, fraction):
    """From 0 to 100 instead of from 0 to 1."""
    return 100 * _observed(probabilities, labels, fraction, lambda rows, seen: rows[seen - 1].argmax())


@WRONG.add("gesture.observed", "majority of the rows")
def _(probabilities, labels, fraction):
    """The class that leads at most of the steps seen."""
    return _observed(probabilities, labels, fraction, lambda rows, seen: rows[:seen].argmax(1).mode().values)


@WRONG.add("gesture.observed", "counted from the end")
def _(probabilities, labels, fraction):
    """The row is counted from the end of the clip."""
    return _observed(probabilities, labels, fraction, lambda rows, seen: rows[-seen].argmax())


# --- gesture.decide


def _decided(probabilities, threshold, hold):
    T, K = probabilities.shape
    before, count = None, 0
    for t in range(T):
        kind = int(probabilities[t].argmax())
        if kind == K - 1 or probabilities[t, kind] < threshold:
            before, count = None, 0
            continue
        count = count + 1 if kind == before else 1
        before = kind
        if count == hold:
            return kind, t
    return None


@WRONG.add("gesture.decide", "nothing returned at the end")
def _(probabilities, threshold, hold):
    """If no class is ever sure, nothing is returned."""
    return _decided(probabilities, threshold, hold)


@WRONG.add("gesture.decide", "last step for never")
def _(probabilities, threshold, hold):
    """If no class is ever sure: T - 1 instead of T."""
    T, K = probabilities.shape
    return _decided(probabilities, threshold, hold) or (K - 1, T - 1)


@WRONG.add("gesture.decide", "-1 for never")
def _(probabilities, threshold, hold):
    """If no class is ever sure: (-1, -1)."""
    return _decided(probabilities, threshold, hold) or (-1, -1)


@WRONG.add("gesture.decide", "K for none")
def _(probabilities, threshold, hold):
    """If no class is ever sure: class K, which does not exist, instead of K - 1."""
    T, K = probabilities.shape
    return _decided(probabilities, threshold, hold) or (K, T)


@WRONG.add("gesture.decide", "mean over the window")
def _(probabilities, threshold, hold):
    """The mean of the last `hold` steps must reach the threshold, not each of them."""
    T, K = probabilities.shape
    for t in range(hold - 1, T):
        mean = probabilities[t - hold + 1 : t + 1].mean(0)
        kind = int(mean.argmax())
        if kind != K - 1 and mean[kind] >= threshold:
            return kind, t
    return K - 1, T


@WRONG.add("gesture.decide", "restart counted as nothing")
def _(probabilities, threshold, hold):
    """When another sure class comes, its first step is not counted."""
    T, K = probabilities.shape
    before, count = None, 0
    for t in range(T):
        kind = int(probabilities[t].argmax())
        sure = kind != K - 1 and probabilities[t, kind] >= threshold
        count = count + 1 if sure and before in (None, kind) else 0
        before = kind if sure else None
        if count == hold:
            return kind, t
    return K - 1, T
