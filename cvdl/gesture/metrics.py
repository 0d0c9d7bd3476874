"""How good a recogniser of gestures is, on clips of one gesture and on streams of several.

A recogniser gives probabilities (T, K), one row after each of T frames, the last class being «none».  A clip is judged by the
row after its last frame, or the last frame that was observed.  All functions raise CourseError for what does not fit.
"""

import math
from itertools import groupby

import torch

from cvdl.errors import InvalidInput
from cvdl.sequence.tasks import edit_distance

FRACTIONS = tuple(k / 10 for k in range(1, 11))
SHORTEST = 0.3  # seconds that a gesture in a stream lasts at least


def decide(probabilities, fraction=1.0, none=True):
    """The class of a clip, after the first `fraction` of its frames -> int

    none: whether «none», the last class, may be the answer; False where it is known that there is a gesture.

    Worked example: of 8 frames a fraction of .3 is 2.4 frames, so it decides after the third:

        >>> rows = torch.tensor([[0.2, 0.1, 0.7], [0.5, 0.1, 0.4], [0.6, 0.4, 0.0], *[[0.1, 0.8, 0.1]] * 5])
        >>> decide(rows, 0.3), decide(rows), decide(rows, 0.1), decide(rows, 0.1, none=False)
        (0, 1, 2, 0)
    """
    _check(probabilities)
    if not 0 < fraction <= 1:
        raise InvalidInput(f"fraction is {fraction}; it has to be above 0 and at most 1.")
    seen = max(1, math.ceil(len(probabilities) * fraction - 1e-6))  # 10 · .7 may be a little more than 7
    return int(probabilities[seen - 1, : None if none else -1].argmax())


def accuracy(clips, labels, fraction=1.0, none=True):
    """Share of clips that are named rightly after `fraction` of their frames.

    clips: list of probabilities (T, K), each of its own length; labels: their classes.  `none` as in `decide`.
    """
    named = [decide(each, fraction, none) for each in _same(clips, labels)]
    return sum(a == b for a, b in zip(named, labels, strict=True)) / len(named)


def accuracy_by_fraction(clips, labels, fractions=FRACTIONS, none=True):
    """How early is it right?  -> {fraction of the clip observed: accuracy}"""
    return {fraction: accuracy(clips, labels, fraction, none) for fraction in fractions}


def confusion(clips, labels, none=True):
    """Confusion matrix (K, K) of whole clips: row = true class, column = named class; counts, long."""
    K = _same(clips, labels)[0].shape[1]
    table = torch.zeros(K, K, dtype=torch.long)
    for each, label in zip(clips, labels, strict=True):
        table[label, decide(each, none=none)] += 1
    return table


def time_to_decision(probabilities, label, fps, begin=0):
    """Seconds from frame `begin`, where the gesture begins, until the right class leads for good; None: it does not.

    Worked example: at 10 frames a second the right class, 0, leads in frame 1, loses in 2, and leads from 3 on: .3 s.

        >>> time_to_decision(torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.9, 0.1]]), 0, fps=10)
        0.3
    """
    _check(probabilities)
    wrong = (probabilities.argmax(1) != label).nonzero()
    first = int(wrong[-1]) + 1 if len(wrong) else 0
    return None if first == len(probabilities) else max(0, first - begin) / fps


def events(probabilities, fps, shortest=SHORTEST):
    """The gestures that a recogniser finds in a stream -> list of (class, first frame, last frame + 1)

    A gesture is a run of rows in which some class other than «none», the last one, leads.  Its class may change while it
    is drawn, as a square begins like a line to the right; it is the class of the run's last row that counts.  Runs shorter
    than `shortest` seconds are dropped.

    Worked example, classes 0, 1 and none, 10 frames a second:  none 0 0 1 1 1 none 0 none  ->  (1, 1, 6); the other is short.
    """
    _check(probabilities)
    leads, none, found = probabilities.argmax(1).tolist(), probabilities.shape[1] - 1, []
    start = None
    for t, lead in enumerate([*leads, none]):
        if lead != none and start is None:
            start = t
        elif lead == none and start is not None:
            if t - start >= shortest * fps - 1e-6:
                found.append((leads[t - 1], start, t))
            start = None
    return found


def false_alarms_per_minute(probabilities, labels, fps, shortest=SHORTEST):
    """Gestures found where none is, in a stream, for each minute of it.

    labels: (T,) the true class of each frame.  An event is a false alarm if its class stands nowhere in its frames' labels.

    Worked example: 20 s, in which two events were found, one of them while its gesture was drawn: 3 a minute.
    """
    if len(labels) != len(probabilities):
        raise InvalidInput(f"There are {len(labels)} labels for {len(probabilities)} rows; each frame needs its label.")
    found = events(probabilities, fps, shortest)
    false = sum(not (labels[start:end] == kind).any() for kind, start, end in found)
    return false / (len(probabilities) / fps / 60)


def levenshtein_accuracy(found, true):
    """1 - edit distance / true length, over all streams together; below 0 if much too much was found.

    found, true: list of streams, each a list of classes.  Known from EgoGesture (Zhang et al., IEEE TMM 2018) and the
    IPN Hand set (Benitez-Garcia et al., ICPR 2020).

    Worked example: of four gestures one is missed, and one more is found: 1 - 2/4.

        >>> levenshtein_accuracy([[3, 1, 7], [5, 5]], [[3, 1, 7, 2], [5]])
        0.6
    """
    if len(found) != len(true) or not any(true):
        raise InvalidInput(
            f"There are {len(found)} streams found and {len(true)} true ones; there have to be equally many, with a gesture."
        )
    distance = sum(edit_distance(a, b) for a, b in zip(found, true, strict=True))
    return 1 - distance / sum(map(len, true))


def true_events(labels, none):
    """The gestures in a stream's true labels (T,) -> list of (class, first frame, last frame + 1)

    Worked example: of classes 0 to 2 and none, 3, two are drawn, one right after the other.

        >>> true_events(torch.tensor([3, 1, 1, 0, 3]), none=3)
        [(1, 1, 3), (0, 3, 4)]
    """
    found, start = [], 0
    for label, run in groupby(labels.tolist()):
        end = start + len(list(run))
        if label != none:
            found.append((label, start, end))
        start = end
    return found


def _check(probabilities):
    if probabilities.ndim != 2 or not len(probabilities):
        raise InvalidInput(
            f"probabilities has the shape {tuple(probabilities.shape)}; it has to be (T, K), a row for each frame, with one at "
            "least."
        )


def _same(clips, labels):
    if not clips or len(clips) != len(labels):
        raise InvalidInput(
            f"There are {len(clips)} clips and {len(labels)} labels; each clip needs one, and there has to be a clip."
        )
    return clips
