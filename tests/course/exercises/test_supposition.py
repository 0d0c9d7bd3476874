"""For which other arguments a wrong answer would be right."""

import pytest
import torch

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller
from cvdl.course.exercises.scoring import Exercise
from cvdl.course.exercises.supposition import supposition
from cvdl.sequence import rnn


def layer(x, W, b, keep, scale):
    return (x @ W.T + b).cumsum(0) * keep * (1 + scale)


def cases(wrong, function=layer, count=2):
    generator = torch.Generator().manual_seed(0)
    made = []
    for n in range(count):
        args = {
            "x": torch.randn(4, 3 + n, generator=generator),
            "W": torch.randn(3 + n, 3 + n, generator=generator),
            "b": torch.randn(3 + n, generator=generator),
            "keep": torch.rand(4, 1, generator=generator) > 0.4,
            "scale": 2 + n,
        }
        made.append((wrong(*args.values()), args))
    return made


@pytest.mark.parametrize(
    "wrong, told",
    [
        (lambda x, W, b, k, s: layer(x, W, 0 * b, k, s), "if `b` were 0."),
        (lambda x, W, b, k, s: layer(x, W, -b, k, s), "if `b` had the opposite sign."),
        (lambda x, W, b, k, s: layer(x, W, 2 * b, k, s), "if `b` were twice as large."),
        (lambda x, W, b, k, s: layer(x, W, b[:1], k, s), "if `b` contained its first entry everywhere along its axis."),
        (lambda x, W, b, k, s: layer(x, W.T, b, k, s), "if `W` were transposed."),
        (lambda x, W, b, k, s: layer(x.flip(0), W, b, k, s), "if `x` were in reverse order along axis 0."),
        (lambda x, W, b, k, s: layer(x.roll(1, 0), W, b, k, s), "`x` were shifted by one position along axis 0, towards the end."),
        (lambda x, W, b, k, s: layer(torch.cat([0 * x[:1], x[1:]]), W, b, k, s), "`x` were 0 in its first entry along axis 0."),
        (lambda x, W, b, k, s: layer(torch.cat([x[:1], 0 * x[1:]]), W, b, k, s), "`x` were 0 except in its first entry along axis 0."),
        (lambda x, W, b, k, s: layer(x, W, b, k | True, s), "if `keep` were True everywhere."),
        (lambda x, W, b, k, s: layer(x, W, b, ~k, s), "if `keep` were inverted."),
        (lambda x, W, b, k, s: (x @ W.T + b).cumsum(0) * k * (2 + s), "if `scale` were 1 larger."),
    ],
)  # fmt: skip
def test_the_argument_is_named(wrong, told):
    assert supposition(cases(wrong), layer).endswith(told)
    assert supposition([*cases(wrong), *cases(layer)[:1]], layer) == ""  # one that is right, and does not fit


def test_exchanged_arguments():
    x, y = torch.randn(3), torch.randn(3)
    assert (
        supposition([(y - x, {"x": x, "y": y})], lambda x, y: x - y)
        == "Your answer would be right if `x` and `y` were swapped."
    )


def test_lists():
    args = {"kernels": [3, 5, 7.5], "n": 1}
    assert supposition([(7.5, args), (115.5, {"kernels": [1, 115.5], "n": 2})], lambda kernels, n: sum(kernels)) == (
        "Your answer would be right if `kernels` contained only its last entry."
    )


def test_small_numbers_may_fit_by_chance():
    function = lambda n: n + 2  # noqa: E731
    few = [(n + 3, {"n": n}) for n in (1, 2, 3)]
    assert supposition(few, function) == ""
    many = [(n + 3, {"n": n}) for n in (1, 2, 3, 5)]
    assert supposition(many, function) == "Your answer would be right if `n` were 1 larger."
    assert supposition([], function) == supposition([(None, {})], function) == ""


def test_a_function_that_fails_for_changed_arguments_or_mixed_kinds():
    def function(x, n):
        if n != 2:
            raise ValueError
        return x * n

    x = torch.randn(4)
    made = [(x.cos(), {"x": x, "n": 2}), (x.sin(), {"x": [1, 2], "n": "two"})]
    assert supposition(made, function) == ""


@pytest.mark.parametrize(
    "id, wrong, told",
    [
        ("rnn.step", lambda x, h, V, W, b_h: (x @ V.T + h @ W.T - b_h).tanh(), "`b_h` had the opposite sign"),
        ("rnn.unroll", lambda xs, *a: rnn.unroll(xs.transpose(0, 1), *a), "`xs` had its first two axes swapped"),
        (
            "rnn.last",
            lambda hs, lengths: hs[lengths - 2, range(len(lengths))],
            "`hs` were shifted by one position along axis 0",
        ),
    ],
)
def test_on_exercises_of_the_course(id, wrong, told, monkeypatch):
    spec = chapters.find(id)
    monkeypatch.setattr(chapters, "find", lambda id: Exercise(**{**vars(spec), "mistakes": ()}))
    assert told in scoring.score(chapters.find(id), caller(id, wrong)).relation
