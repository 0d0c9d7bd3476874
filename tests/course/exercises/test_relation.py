"""How a wrong answer is related to the right one: what is recognised, and that nothing is claimed by chance."""

import pytest
import torch

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.relation import by_argument, remark
from cvdl.course.exercises.scoring import Case, Exercise

AXES = ("t", "sample", "unit")


def cases(wrong, right=lambda x: x, sizes=((4, 3, 5), (5, 4, 3)), **more):
    """Failed cases of random arguments x: what remark is given."""
    generator = torch.Generator().manual_seed(0)
    args = [{"x": torch.randn(*s, generator=generator), **{k: v(s) for k, v in more.items()}} for s in sizes]
    return [(wrong(**a), right(**a), a) for a in args]


def said(*args, axes=AXES, parts=(), **more):
    return remark(cases(*args, **more), axes, parts)


def answer(x):
    """A right answer that is not its argument."""
    return (x * 1.7).sin() + x.roll(1, 0) / 3


def of(change):
    """The remark on this change of the right answer."""
    return said(lambda x: change(answer(x)), answer)


def mask(shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) > 0.4


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda w: -w, "Your values are the negatives of the right ones."),
        (lambda w: w.transpose(0, 1), "Your values are right, but `t` and `sample` are swapped."),
        (lambda w: w.permute(2, 0, 1), "Your values are right, but `t`, `sample` and `unit` are in the wrong order."),
        (lambda w: w.flip(0), "Your values are the right ones in reverse order along `t`."),
        (lambda w: torch.cat([0 * w[:1], w[:-1]]), "Your values are right, but one position too late along `t`."),
        (lambda w: torch.cat([w[1:], 0 * w[:1]]), "Your values are right, but one position too early along `t`."),
        (lambda w: w.roll(1, 1), "one position too late along `sample`; what leaves at one end comes back at the other."),
        (lambda w: w[:1].expand_as(w), "Everywhere along `t` you have the right values for the first position."),
        (lambda w: 2 * w, "Every value is twice the right one."),
        (lambda w: w / 3, "Every value is 1/3 of the right one."),
        (lambda w: 1.443 * w, "Every value is 1.443 times the right one."),
        (lambda w: 20**0.5 * w, "Every value is √20 times the right one."),
        (lambda w: w / 2**0.5, "Every value is 1/√2 of the right one."),
        (lambda w: 0.75 * w, "Every value is 3/4 of the right one."),
        (lambda w: w + 0.5, "Every value is 0.5 too large."),
        (lambda w: w - 1, "Every value is 1 too small."),
        (lambda w: w.shape[1] * w, "Every value is `x.shape[1]` times the right one."),
        (lambda w: w / w.shape[2] ** 0.5, "Every value is 1/√`x.shape[2]` of the right one."),
        (lambda w: torch.cat([w[:1], w[1:].cos()]), "Your values are right only at the first `t`."),
        (lambda w: torch.cat([w[:, :-1].cos(), w[:, -1:]], 1), "Your values are right only at the last `sample`."),
        (lambda w: torch.cat([w[:1].cos(), w[1:]]), "Your values are wrong only at the first `t`."),
        (lambda w: w.tanh(), "What you return is tanh of the right value."),
        (lambda w: w.square(), "What you return is the square of the right value."),
        (lambda w: w.softmax(2), "What you return is the softmax of the right value over `unit`."),
        (lambda w: w.cumsum(0), "What you return is the running sum of the right value along `t`."),
        (lambda w: w.round(), "What you return is the right value, rounded."),
        (lambda w: w[:, torch.tensor([2, 0, 1, *range(3, w.shape[1])])], "but their order along `sample` is wrong."),
        (lambda w: w.flatten().sort().values.view_as(w), "The values are right, but they are in the wrong places."),
        (lambda w: torch.zeros_like(w), "All your values are 0."),
        (lambda w: w.flatten(), "All numbers are right and in the right order; only the shape is different."),
        (lambda w: w[None], "All numbers are right and in the right order; only the shape is different."),
        (lambda w: w[-1], "You have one axis too few: what you return is the last entry along `t`."),
        (lambda w: w.mean(1), "You have one axis too few: what you return is the mean over `sample`."),
        (lambda w: torch.stack([w / 2, w / 2]), "You have one axis too many: the sum over axis 0 would be right."),
        (lambda w: torch.cat([w[:1] * 0, w]), "Along `t`, you have 1 too many at the beginning; the rest is right."),
        (lambda w: w[:, :, :-1], "Along `unit`, 1 is missing at the end; the rest is right."),
    ],
)  # fmt: skip
def test_a_relation_is_named(change, sentence):
    assert of(change).endswith(sentence)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (lambda x, m: torch.where(m, answer(x), 7.0), "Your values are right where `m` is True, and wrong where it is False."),
        (lambda x, m: torch.where(m, answer(x).cos(), answer(x)), "Your values are right where `m` is False, and wrong where it is True."),
        (lambda x, m: torch.where(x > 0, answer(x), x.cos()), "Your values are right where `x` is positive, and wrong where it is not positive."),
        (lambda x, m: x, "Your answer is the argument `x`, unchanged."),
        (lambda x, m: answer(x) - x, "With `x` added, your values would be right."),
        (lambda x, m: answer(x) + x, "With `x` subtracted, your values would be right."),
        (lambda x, m: answer(x) * x, "Your values are the right ones, multiplied by `x`."),
        (lambda x, m: answer(x) / x, "Multiplied by `x`, your values would be right."),
    ],
)  # fmt: skip
def test_a_relation_to_an_argument_is_named(wrong, sentence):
    assert said(wrong, lambda x, m: answer(x), m=mask) == sentence


def test_edges_of_images():
    def inside(x):
        wrong = answer(x)
        wrong[..., 0, :] = wrong[..., -1, :] = wrong[..., :, 0] = 9
        return wrong

    sizes = ((2, 6, 7), (3, 8, 5))
    told = "Your values are right inside; all the wrong ones are on the outermost pixels."
    assert said(inside, answer, sizes=sizes) == told


def test_single_numbers_need_two_cases():
    args = [{"x": torch.ones(4), "n": 3}, {"x": torch.ones(5), "n": 7}]
    two = [(6.0, 1.5, args[0]), (10.5, 2.4, args[1])]
    assert remark([(6.0, 3.0, args[0]), (10.0, 5.0, args[1])]) == "Your answer is twice the right one."
    assert remark([(6, 3, args[0]), (10, 5, args[1])]) == "Your answer is twice the right one."
    assert remark([(7, 6, args[0]), (20, 19, args[1])]) == "Your answer is 1 too large."
    assert remark([(12.0, 3.0, args[0]), (25.0, 5.0, args[1])]) == "Your answer is `x.shape[0]` times the right one."
    assert remark([(-2.0, 2.0, args[0]), (-5.0, 5.0, args[1])]) == "Your values are the negatives of the right ones."
    assert remark([(4.0, 2.0, args[0]), (4.0, 5.0, args[1])]) == "Your answer is always 4."
    assert remark(two) == ""
    for one in ((6.0, 3.0), (7, 6), (4.0, 2.0), (-2.0, 2.0)):
        assert remark([(*one, args[0])]) == ""


def test_an_argument_that_decides_which_cases_are_right():
    def told(*cases):
        return by_argument([(right, {"x": torch.ones(2), "stride": stride}) for right, stride in cases])

    assert told((True, 1), (False, 2), (True, 1), (False, 3)).startswith("Your answer is right where `stride` is 1,")
    assert told((True, 1), (False, 4), (True, 2), (False, 4)).startswith("Your answer is wrong where `stride` is 4,")
    assert told((True, True), (True, True), (False, False), (False, False)).endswith(
        "is True, and wrong where it is not."
    )
    assert told((True, 1), (False, 2), (True, 1), (False, 1)) == ""
    assert told((True, 1), (False, 2), (True, 3), (False, 4)) == ""
    assert told((True, 1), (False, 2), (True, 1)) == ""  # seen once: it may be chance
    assert told((True, 1), (True, 1)) == told() == ""


def test_values_of_another_type():
    want = torch.tensor([3, 1, 2, 5])
    assert remark([(want.float(), want, {})]) == "All values are right, but their dtype is wrong."


def test_members():
    x = torch.randn(4, 3)
    args = {"x": x}
    both = ("dU", "dW")
    told = remark([((x.sin(), x.cos()), (x.cos(), x.sin()), args)], ("row", "column"), both)
    assert told == "All values are right, but in the wrong order: dU holds dW, dW holds dU."
    assert (
        remark([((x, -x.sin()), (x, x.sin()), args)], (), both)
        == "dW: your values are the negatives of the right ones."
    )
    assert remark([({"a": x, "b": x + 1}, {"a": x, "b": x}, args)]) == "b: every value is 1 too large."
    assert remark([((x, x), (x, x.cos()), args), ((x, x), (x.cos(), x), args)], (), both) == ""


@pytest.mark.parametrize("dtype", [torch.bool, torch.long])
def test_whole_numbers_have_no_factor(dtype):
    right = torch.tensor([1, 0, 1, 1, 0, 3]).to(dtype)
    args = {"x": torch.randn(6)}
    told = remark([(right.long() * 2, right, args)])
    assert "twice" not in told
    if dtype == torch.bool:
        assert (
            remark([(~right, right, args)])
            == "Your values are inverted: True instead of False, and False instead of True."
        )


def test_it_does_not_claim_what_may_be_chance():
    x = torch.ones(3, 3)
    args = {"x": torch.zeros(2)}
    assert remark([(3.7 * x, x, args)]) == "All your values are 3.7." or remark([(3.7 * x, x, args)]) == ""
    assert remark([(torch.tensor([3.7, 1.0]), torch.tensor([1.0, 1.0]), args)]) == ""
    assert remark([(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 2.0]), args)]) == ""  # flipped, or anything else
    assert remark([(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), args)]) == ""
    assert remark([(1.049 * torch.rand(9), torch.rand(9), args)]) == ""
    w = torch.rand(9)
    assert remark([(1.049 * w, w, args)]) == ""  # in one case only, and not a simple number


def test_one_case_that_does_not_fit_is_enough():
    generator = torch.Generator().manual_seed(0)
    right = [torch.randn(4, 4, generator=generator) for _ in range(3)]
    args = {"x": torch.zeros(1)}
    for change in (
        lambda w: -w,
        lambda w: w.T,
        lambda w: 2 * w,
        lambda w: w + 1,
        lambda w: w.flip(0),
        lambda w: w.tanh(),
    ):
        fit = [(change(w), w, args) for w in right[:2]]
        assert remark(fit) and remark([*fit, (right[2].square() - 0.3, right[2], args)]) == ""


def test_random_answers_have_no_relation():
    generator = torch.Generator().manual_seed(0)
    for shape in ((), (1,), (2,), (3,), (4,), (2, 2), (3, 3), (2, 6, 6)):
        for _ in range(30):
            failed = []
            for _ in range(2):
                got, want, x, m = (torch.randn(shape, generator=generator) for _ in range(4))
                failed.append((got, want, {"x": x, "m": m > 0, "n": 3}))
            assert remark(failed) == "", shape


@pytest.mark.parametrize("odd", [torch.full((2,), float("nan")), "text", None, (), {}, True])
def test_odd_answers_have_no_relation(odd):
    for want in (torch.randn(2), 3, 0.5, "text", (1, 2), {"a": 1}):
        assert remark([(odd, want, {})] * 2) == ""


def test_huge_answers_are_left_alone():
    huge = torch.zeros(1).expand(10**12)
    assert remark([(huge, torch.randn(3), {}), (huge, torch.randn(4), {})]) == ""


def test_it_is_part_of_the_hint_unless_a_mistake_is_recognised(monkeypatch):
    def right(x):
        return x.abs()

    def make(g):
        return (torch.randn(4, generator=g),)

    cases = (Case("one", 1, "hint one", make=make), Case("two", 1, "hint two", make=make))
    known = scoring.Mistake("negative", "You lost the sign.", like=lambda x: -x.abs())
    for mistakes, hint in (((), "hint one Your values are the negatives of the right ones."), ((known,), known.hint)):
        exercise = Exercise("toy", "", right, right, cases, mistakes, ("", "", ""))
        monkeypatch.setattr(chapters, "find", lambda id, exercise=exercise: exercise)
        assert scoring.score(chapters.find("toy"), lambda x: -x.abs()).hint == hint
    zero = Case("zero", 1, "hint zero", make=lambda g: (torch.zeros(4),))
    exercise = Exercise("toy", "", right, right, (zero, *cases), (), ("", "", ""))
    monkeypatch.setattr(chapters, "find", lambda id: exercise)
    score = scoring.score(chapters.find("toy"), lambda x: -x.abs())
    assert score.advice == (
        "hint one",
        "Your values are the negatives of the right ones. This holds for the cases that failed.",
    )


@pytest.mark.parametrize(
    "id, change, sentence",
    [
        ("rnn.unroll", lambda hs: torch.cat([hs[:1], hs[1:] * 0]), "right only at the first `t`"),
        ("rnn.last", lambda h: h.T, "`sample` and `unit` are swapped"),
        ("bptt.dW", lambda d: d / 2, "Every value is half of the right one."),
    ],
)
def test_on_exercises_of_the_course(id, change, sentence, monkeypatch):
    spec = chapters.find(id)
    bare = Exercise(**{**vars(spec), "mistakes": ()})
    monkeypatch.setattr(chapters, "find", lambda id: bare)
    assert sentence in scoring.score(chapters.find(id), lambda *args, weights=None: change(spec.library(*args))).hint
