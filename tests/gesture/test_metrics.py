"""Metrics of gestures: their worked examples, and cases counted by hand."""

import doctest
import random

import pytest
import torch
import torch.nn.functional as F

from cvdl.errors import CourseError
from cvdl.gesture import metrics
from cvdl.gesture.metrics import (
    FRACTIONS,
    accuracy,
    accuracy_by_fraction,
    confusion,
    decide,
    edit_distance,
    events,
    false_alarms_per_minute,
    levenshtein_accuracy,
    time_to_decision,
    true_events,
)

NONE = 3


def rows(*classes):
    """Probabilities that name these classes, one after the other, without doubt."""
    return F.one_hot(torch.tensor(classes), NONE + 1).float()


def test_worked_examples():
    found = doctest.testmod(metrics, extraglobs={"torch": torch})
    assert found.attempted == 5 and not found.failed


def test_a_decision_never_looks_ahead():
    for count in (1, 3, 7, 10, 33):
        for fraction in FRACTIONS:
            seen = -(-count * round(10 * fraction) // 10)  # rounded up, in whole numbers
            assert decide(rows(*[0] * seen, *[1] * (count - seen)), fraction) == 0
            assert seen == 1 or decide(rows(*[0] * (seen - 1), *[1] * (count - seen + 1)), fraction) == 1


def test_accuracy():
    clips, labels = [rows(3, 3, 0, 0), rows(1, 1), rows(3, 0, 0, 2, 2)], [0, 1, 2]
    assert accuracy(clips, labels) == 1 and accuracy(clips, labels, 0.5) == pytest.approx(1 / 3)
    assert accuracy_by_fraction(clips, labels, (0.6, 1.0)) == {0.6: pytest.approx(2 / 3), 1.0: 1}
    unsure = [torch.tensor([[0.3, 0.1, 0.1, 0.5]])]
    assert accuracy(unsure, [0]) == 0 and accuracy(unsure, [0], none=False) == 1
    assert confusion([*clips, *clips, rows(0)], [0, 1, 1, 0, 1, 2, 3]).tolist() == [
        [2, 0, 0, 0],
        [0, 2, 1, 0],
        [0, 0, 1, 0],
        [1, 0, 0, 0],
    ]


def test_time_to_decision():
    clip = rows(3, 3, 1, 0, 1, 1, 1, 1)
    assert time_to_decision(clip, 1, fps=10) == 0.4 and time_to_decision(clip, 1, fps=20, begin=2) == 0.1
    assert time_to_decision(clip, 1, fps=10, begin=6) == 0 and time_to_decision(rows(1, 1), 1, 10) == 0
    assert time_to_decision(clip, 0, fps=10) is None


def test_events():
    stream = rows(3, 0, 0, 1, 1, 1, 3, 0, 3, 2, 2, 2)
    assert events(stream, 10) == [(1, 1, 6), (2, 9, 12)]
    assert events(stream, 1) == [(1, 1, 6), (0, 7, 8), (2, 9, 12)]
    assert events(rows(3, 3), 10) == [] and events(stream, 30) == []
    labels = torch.tensor([3, 3, 1, 1, 0, 3, 0])
    assert true_events(labels, NONE) == [(1, 2, 4), (0, 4, 5), (0, 6, 7)]


def test_false_alarms():
    stream = rows(3, 0, 0, 0, 3, 1, 1, 1, 3, 2, 2, 2)  # 1.2 s
    labels = torch.tensor([3, 0, 0, 3, 3, 2, 2, 2, 3, 3, 3, 3])
    assert false_alarms_per_minute(stream, labels, 10) == pytest.approx(2 / (1.2 / 60))
    assert false_alarms_per_minute(stream, torch.full((12,), 3), 10) == pytest.approx(150)
    assert false_alarms_per_minute(rows(*[3] * 12), labels, 10) == 0


def test_levenshtein_accuracy():
    assert levenshtein_accuracy([[1, 2, 3]], [[1, 2, 3]]) == 1
    assert levenshtein_accuracy([[]], [[1, 2]]) == 0 and levenshtein_accuracy([[1] * 6], [[2, 2]]) == -2
    assert levenshtein_accuracy([[1, 2], [2]], [[1], [2, 3, 1]]) == pytest.approx(1 - 3 / 4)


def test_edit_distance_is_a_distance():
    def slow(a, b):  # by its definition
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    dice = random.Random(0)
    for _ in range(40):
        a, b = ([dice.randrange(3) for _ in range(dice.randrange(6))] for _ in range(2))
        assert edit_distance(a, b) == edit_distance(b, a) == slow(a, b)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: decide(torch.zeros(0, 4)),
        lambda: decide(torch.zeros(4)),
        lambda: decide(rows(0), 0),
        lambda: decide(rows(0), 1.1),
        lambda: accuracy([rows(0)], [0, 1]),
        lambda: accuracy([], []),
        lambda: false_alarms_per_minute(rows(0, 0), torch.zeros(3), 10),
        lambda: levenshtein_accuracy([[1]], []),
        lambda: levenshtein_accuracy([[1]], [[]]),
    ],
)
def test_wrong_questions(wrong):
    with pytest.raises(CourseError, match=r"has to|needs|have to"):
        wrong()
