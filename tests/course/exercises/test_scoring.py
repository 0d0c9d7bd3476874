"""The judge's own rules, on a small exercise made for the purpose."""

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller
from cvdl.course.exercises.case_helpers import answer_case, answered, around, shape_like
from cvdl.course.exercises.comparison import CallFailed, difference, plain
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.errors import CourseError

nan = float("nan")


def gradients(x):
    return 2 * x, 3 * x, torch.stack([x, x])


TOY = Exercise(
    id="toy.gradients",
    title="a derivation",
    library=gradients,
    oracle=gradients,
    parts=("dU", "dW", "dh"),
    axes=("t",),
    cases=(
        Case("by hand", 1, "hint by hand", make=lambda g: (torch.ones(2),)),
        Case("random", 2, "hint random", make=lambda g: (torch.randn(4, generator=g),)),
    ),
    mistakes=(Mistake("all zero", "You returned zeros.", like=lambda x: tuple(0 * v for v in gradients(x))),),
    hints=("one", "two", "three"),
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(chapters, "find", lambda id: TOY)


def test_right():
    score = scoring.score(chapters.find("toy.gradients"), gradients)
    assert (score.earned, score.points, score.state, score.hint) == (3, 3, "right", "")


def test_first_differing_intermediate_is_named_with_its_factor():
    score = scoring.score(chapters.find("toy.gradients"), lambda x: (2 * x, 6 * x, torch.stack([x, -x])))
    assert score.cases[1].message == "dU ok · dW: off by a factor of 2"
    score = scoring.score(chapters.find("toy.gradients"), lambda x: (2 * x, 3 * x, torch.stack([x, -x])))
    assert score.cases[1].message == "dU ok · dW ok · dh: has the wrong sign at t=1"


def test_partly_right_counts_its_cases_and_hints_at_the_failed_one():
    score = scoring.score(chapters.find("toy.gradients"), lambda x: gradients(x.round()))
    assert (score.earned, score.state, score.hint) == (1, "partly right", "hint random")


def test_a_recognised_mistake_comes_before_the_cases_hint():
    score = scoring.score(chapters.find("toy.gradients"), lambda x: (0 * x, 0 * x, torch.zeros(2, len(x))))
    assert score.mistake.name == "all zero" and score.hint == "You returned zeros."


def test_a_mistake_is_named_only_if_it_explains_all_cases(monkeypatch):
    one = Mistake("explains one", "one", like=lambda x: gradients(x) if len(x) == 4 else gradients(-x))
    both = Mistake("explains both", "both", like=lambda x: gradients(-x))
    monkeypatch.setattr(chapters, "find", lambda id: Exercise(**{**vars(TOY), "mistakes": (one, both)}))
    assert scoring.score(chapters.find("toy.gradients"), lambda x: gradients(-x)).mistake is both
    assert (
        scoring.score(chapters.find("toy.gradients"), lambda x: gradients(-x if len(x) == 4 else 2 * x)).mistake is None
    )


def test_a_mistake_that_is_an_error_in_some_cases_is_still_named(monkeypatch):
    def wrong(x):
        if len(x) == 4:
            raise scoring.CallFailed("shapes")
        return gradients(-x)

    one = Mistake("error with four", "one", like=wrong)
    monkeypatch.setattr(chapters, "find", lambda id: Exercise(**{**vars(TOY), "mistakes": (one,)}))
    assert scoring.score(chapters.find("toy.gradients"), wrong).mistake is one
    assert scoring.score(chapters.find("toy.gradients"), lambda x: gradients(-x)).mistake is None


def double(x, W):
    return 2 * x @ W


def test_gradients_are_compared_by_argument_and_changes_in_place_are_refused(monkeypatch):
    make = lambda g: (torch.randn(2, 3, generator=g), torch.randn(3, 3, generator=g))  # noqa: E731
    cases = (Case("gradient", 1, "hint", make=make, gradient=True),)
    exercise = Exercise("toy.double", "", double, double, cases, (), ("", "", ""))
    monkeypatch.setattr(chapters, "find", lambda id: exercise)

    def score(function):
        def call(*args, weights=None):
            return scoring.answer(function, args, weights)

        return scoring.score(chapters.find("toy.double"), call)

    assert score(double).state == "right"
    assert score(lambda x, W: 2 * (x @ W.detach())).cases[0].message == "dx ok · dW: 9 of 9 values differ (yours: 0)"
    assert "no gradient" in score(lambda x, W: double(x, W).detach()).cases[0].message
    assert "no gradient" in score(lambda x, W: double(x, W).tolist()).cases[0].message
    with pytest.raises(CallFailed, match="changed its argument `x`"):
        scoring.answer(lambda x, W: double(x.zero_(), W), make(None))


def test_sizes_are_drawn_from_the_seed_too(monkeypatch):
    seen = set()
    case = Case("random", 1, "hint", make=around(lambda h, w: lambda g: (torch.randn(h, w, generator=g),), 3, 5))
    exercise = Exercise(**{**vars(TOY), "cases": (case,), "mistakes": ()})
    monkeypatch.setattr(chapters, "find", lambda id: exercise)
    for seed in range(30):
        scoring.score(chapters.find("toy.gradients"), lambda x: seen.add(tuple(x.shape)) or gradients(x), seed)
    assert seen == {(3, 5), (4, 6), (5, 7), (6, 8)}


def test_same_seed_same_arguments():
    seen = []
    for seed in (1, 1, 2):
        scoring.score(chapters.find("toy.gradients"), lambda x: seen.append(x) or gradients(x), seed)
    assert torch.equal(seen[1], seen[3]) and not torch.equal(seen[1], seen[5])


def test_the_answer_may_change_its_arguments_without_harm():
    def careless(x):
        answer = gradients(x.clone())
        x.zero_()
        return answer

    assert scoring.score(chapters.find("toy.gradients"), careless).state == "right"


def test_after_a_stop_no_case_is_tried():
    calls = []

    def stopped(x):
        calls.append(x)
        raise scoring.CallStopped("stopped after 1 second", "a loop")

    score = scoring.score(chapters.find("toy.gradients"), stopped)
    assert len(calls) == 1 and score.earned == 0 and score.hint == "a loop"
    assert "not tried" in score.cases[1].message


@pytest.mark.parametrize(
    "got, want, says",
    [
        (torch.zeros(3, 2), torch.zeros(2, 3), "shape (3, 2) where (2, 3) was expected"),
        (None, torch.zeros(2), "nothing was returned"),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]), "nan"),
        (torch.tensor([1.0, float("inf")]), torch.tensor([1.0, 2.0]), "infinite"),
        (torch.tensor([2.0, 4.0]), torch.tensor([1.0, 2.0]), "factor of 2"),
        (torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]), "1 of 2 values differ"),
        ("many", "one", "got 'many'"),
        (True, 3, "a number was expected"),
        ("3", 3, "a number was expected"),
        (4, 3, "the value differs (yours: 4)"),
        (4.0, 3.0, "the value differs (yours: 4)"),
        ({"a": 1}, {"a": 1, "b": 2}, "the key 'b' is missing"),
        (
            (torch.zeros(2), torch.zeros(2)),
            torch.zeros(2, 2),
            "not a list or tuple of length 2 (torch.stack turns them into one tensor)",
        ),
        (torch.tensor([1.0]), torch.tensor([1]), "whole numbers were expected, dtype torch.long"),
        (torch.tensor([1], dtype=torch.int32), torch.tensor([1]), "torch.long, not torch.int32"),
        (torch.tensor([4]), torch.tensor([5]), "the value differs (yours: 4)"),
        (torch.tensor([0.1]).half(), torch.tensor([0.1 + 1e-4]), "rounding error"),
        (torch.tensor([0.5]).half(), torch.tensor([0.7]), "the value differs (yours: 0.5)"),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.001, 2.001]), "nearly right, but off by up to 0.1 %"),
        (3.0, 1.0, "off by a factor of 3"),
        (-3.0, 3.0, "has the wrong sign"),
        (1.0, 2.0, "off by a factor of 0.5"),
        (3.69, 3.0, "the value differs (yours: 3.69)"),
        (22_145, 22_144, "the value differs (yours: 22,145)"),
        (697_024, 697_028, "the value differs (yours: 697,024)"),
        (697_024.0, 697_028, "the value differs (yours: 697,024)"),
        (1234.56, 7.0, "the value differs (yours: 1,234.6)"),
        (torch.tensor(697_024), torch.tensor(697_028), "the value differs (yours: 697,024)"),
        (torch.tensor([1, 2**53 + 1]), torch.tensor([1, 2**53]), "1 of 2 values differ"),
        (nan, 3, "the value is nan"),
        (-float("inf"), 3, "the value is infinite"),
        (nan, 3.0, "the value is nan"),
        (torch.tensor([1.0, 3.0, 2.0]), torch.tensor([1.0, 1.5, 2.0]), "1 of 3 values differ"),
        (torch.tensor([1.0, 3.0, 4.0]), torch.tensor([1.0, 1.5, 2.0]), "2 of 3 values: off by a factor of 2"),
        (torch.tensor([3.7, 3.7]), torch.tensor([1.0, 1.0]), "2 of 2 values differ"),
        (torch.tensor([nan, nan, 1.0]), torch.tensor([nan, 2.0, 1.0]), "1 of 3 values are nan"),
        (torch.zeros(2), True, "True or False was expected, not a tensor of shape (2,)"),
        ((1, 2), "one", "text was expected, not a list or tuple of length 2"),
        ("x", torch.zeros(2), "not text"),
        (3, torch.zeros(2), "not a whole number"),
        (True, torch.tensor(1.0), "not True or False"),
        (3.0, torch.tensor(3), "dtype torch.long, not torch.float64"),
        (
            (torch.zeros(2), torch.zeros(3)),
            torch.zeros(3),
            "not a list or tuple of length 2 (the one at index 1 has that shape",
        ),
        ((torch.zeros(3), torch.zeros(3)), torch.zeros(3), "(several of them have that shape: return only the one"),
        ((torch.zeros(1), torch.zeros(2)), torch.zeros(3), "(torch.cat turns them into one tensor)"),
        (
            (1.0, 2.0),
            torch.zeros(3),
            "not a list, tuple or NumPy array of length 2 (torch.tensor makes a tensor of numbers)",
        ),
        (tuple(range(30)), (*range(29), 30), "[29]: the value differs (yours: 29)"),
        (dict.fromkeys("abcdef", 1), {**dict.fromkeys("abcde", 1), "f": 2}, "f: the value differs (yours: 1)"),
        (torch.zeros(2), (torch.zeros(1), torch.zeros(1)), "2 values were expected"),
        ((torch.zeros(1),), (torch.zeros(1), torch.zeros(1)), "2 values were expected, not 1"),
    ],
)
def test_differences_are_told(got, want, says):
    assert says in difference(got, want)


def test_a_long_list_of_members_is_not_told():
    assert difference(tuple(range(30)), (*range(29), 30)) == "[29]: the value differs (yours: 29)"
    assert difference((1, 2), (1, 3), (), ("dU", "dW")) == "dU ok · dW: the value differs (yours: 2)"


def test_a_single_number_shows_a_factor_only_if_it_is_simple_or_a_size():
    assert difference(7.0, 1.0) == "the value differs (yours: 7)"
    assert difference(7.0, 1.0, sizes=(3, 7)) == "off by a factor of 7"
    assert difference(1.0, 7.0, sizes=(3, 7, 0)) == "off by a factor of 1/7"
    assert difference(torch.tensor([7.0]), torch.tensor([1.0])) == "the value differs (yours: 7)"


class Number(int):
    def __int__(self):
        return 4


class Word(str):
    def __str__(self):
        return "y"


@pytest.mark.parametrize(
    "got, want",
    [
        (torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0])),
        (torch.tensor(3.0), 3),
        (torch.tensor([3]), 3.0),
        (np.int64(3), 3),
        (torch.tensor([1, 2]), torch.tensor([1.0, 2.0])),
        (torch.zeros(2, requires_grad=True), torch.zeros(2)),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")])),
        ({"a": torch.tensor(1)}, {"a": 1}),
        (3.0, torch.tensor(3.0)),
        (3, torch.tensor(3.0)),
        (3, torch.tensor(3)),
        (True, torch.tensor(True)),
        (np.float64(3), torch.tensor(3.0)),
        (3.0, 3),
        (0.1 * 30, 3),
        ([torch.zeros(2), 1.5], (torch.zeros(2), torch.tensor(1.5))),
        (torch.zeros(2, 3), (torch.zeros(3), torch.zeros(3))),
        (torch.tensor([1.0, 2.0]), (1.0, 2.0)),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, {"a": 1}), {"a": 1}),
        (torch.nn.Linear(1, 1, bias=False).state_dict(), {"weight": None}),
        (namedtuple("Pair", "a b")(1, torch.zeros(2)), (1, torch.zeros(2))),
        (np.array([1.0, 2.0]), (1.0, 2.0)),
        (np.array([1, 2], dtype=np.uint8), (1, 2)),
        ([np.array([1.0]), np.array(2)], ((1.0,), 2)),
        (np.array(3.0), 3),
        (np.array(["a", "b"]), ("a", "b")),
        (Number(3), 3),
        (Word("x"), "x"),
    ],
)
def test_other_types_of_the_same_answer_pass(got, want):
    if want == {"weight": None}:
        want = {"weight": got["weight"].detach()}
    assert difference(plain(got), want) is None


@pytest.mark.parametrize("odd", [object(), lambda: 1, np.array([object()]), {1, 2}, torch.nn.Linear(1, 1)])
def test_only_plain_data_is_an_answer(odd):
    score = scoring.score(chapters.find("toy.gradients"), lambda x: odd)
    assert score.earned == 0 and "returned" in score.cases[0].message


def test_unknown_id_names_the_nearest(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(CourseError, match=r"Did you mean rnn\.step"):
        scoring.score(chapters.find("rnn.stepp"), gradients)


def test_an_argument_with_nan_counts_as_unchanged():
    assert torch.equal(
        scoring.answer(lambda x: x.nan_to_num(), (torch.tensor([1.0, float("nan")]),)), torch.tensor([1.0, 0.0])
    )
    with pytest.raises(CallFailed, match="changed its argument `x`"):
        scoring.answer(lambda x: x.nan_to_num_(), (torch.tensor([1.0, float("nan")]),))


# --- faults of the course, and arguments that are changed


def swapped(monkeypatch, **changes):
    """The toy exercise with some of its parts changed -> how `score` judges a function."""
    exercise = Exercise(**{**vars(TOY), **changes})
    monkeypatch.setattr(chapters, "find", lambda id: exercise)

    def score(function):
        def call(*args, weights=None):
            return scoring.answer(function, args, weights)

        return scoring.score(exercise, call)

    return score


def test_an_oracle_may_work_in_place(monkeypatch):
    def in_place(x):
        x.mul_(2)
        return x / 2 * 2

    cases = (*TOY.cases[1:], Case("gradient", 1, "hint", make=TOY.cases[1].make, gradient=True))
    score = swapped(monkeypatch, library=lambda x: 2 * x, oracle=in_place, parts=(), cases=cases, mistakes=())
    assert score(lambda x: 2 * x).state == "right"
    assert score(lambda x: 3 * x).earned == 0

    def of_a_list(xs):
        xs[0].mul_(2)
        return xs.pop(0)

    cases = (Case("list", 1, "hint", make=lambda g: ([torch.ones(2)],)),)
    score = swapped(monkeypatch, library=of_a_list, oracle=of_a_list, parts=(), cases=cases, mistakes=())
    assert score(lambda xs: 2 * xs[0]).state == "right"


def fail(*args):
    raise ZeroDivisionError("why")


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(
    "broken",
    [
        {"make": fail},
        {"want": fail},
        {"want": lambda x: object()},
        {"test": fail},
        {"test": lambda got, want: "never right"},
    ],
    ids=["make", "want fails", "want is no answer", "test fails", "test refuses all"],
)
def test_a_fault_of_a_case_is_an_error_of_the_course(monkeypatch, broken, gradient):
    broken = {"make": TOY.cases[1].make, **broken, "gradient": gradient}
    case = Case("broken", 1, "hint", **broken)
    score = swapped(monkeypatch, oracle=lambda x: x, cases=(TOY.cases[0], case))
    with pytest.raises(scoring.CourseFault, match=r'toy\.gradients cannot be judged: its case "broken" fails'):
        score(lambda x: x)


def test_a_fault_of_an_oracle_is_an_error_of_the_course(monkeypatch):
    with pytest.raises(scoring.CourseFault, match=r"ZeroDivisionError: why.*fault in the course.*report"):
        swapped(monkeypatch, oracle=fail)(gradients)


def test_a_fault_of_a_mistake_costs_nothing_and_explains_nothing(monkeypatch):
    mistakes = (Mistake("when", "1", when=fail), Mistake("like", "2", like=fail), *TOY.mistakes)
    score = swapped(monkeypatch, mistakes=mistakes)
    assert score(gradients).state == "right"
    assert score(lambda x: (0 * x, 0 * x, torch.zeros(2, len(x)))).mistake is TOY.mistakes[0]


def test_a_test_that_an_odd_answer_confuses_is_no_fault_of_the_course(monkeypatch):
    def careful(got, want):
        return difference(got[0].tanh(), want[0].tanh())

    case = Case("odd", 1, "hint", make=TOY.cases[1].make, test=careful)
    score = swapped(monkeypatch, cases=(TOY.cases[0], case))
    assert score(gradients).state == "right"
    assert score(lambda x: 3).cases[1].message == "the answer cannot be compared (TypeError)"


@pytest.mark.parametrize(
    "change",
    [
        lambda ws, d, t, n: ws[0].add_(1),
        lambda ws, d, t, n: ws.append(ws[0]),
        lambda ws, d, t, n: ws.pop(),
        lambda ws, d, t, n: ws.reverse(),
        lambda ws, d, t, n: ws.__setitem__(0, None),
        lambda ws, d, t, n: ws.__setitem__(0, ws[0].clone() + 1),
        lambda ws, d, t, n: d.update(new=1),
        lambda ws, d, t, n: d.update(a=4),
        lambda ws, d, t, n: d.pop("a"),
        lambda ws, d, t, n: d["b"][1].zero_(),
        lambda ws, d, t, n: d["c"].append(3),
        lambda ws, d, t, n: d.update(nan=0.0),
        lambda ws, d, t, n: d.update(a=nan),
        lambda ws, d, t, n: t[0].zero_(),
        lambda ws, d, t, n: t[1].append(3),
    ],
)
def test_a_change_anywhere_in_an_argument_is_noticed(change):
    args = (
        [torch.ones(2), torch.zeros(3)],
        {"a": 3, "b": (1, torch.ones(2)), "c": [], "nan": nan},
        (torch.ones(2), []),
        4,
    )
    names = ("`ws`", "`d`", "`t`")

    def function(ws, d, t, n):
        change(ws, d, t, n)
        return n

    with pytest.raises(CallFailed, match="changed its argument") as failure:
        scoring.answer(function, args)
    assert any(name in str(failure.value) for name in names) and "copy.deepcopy(" in failure.value.hint
    assert scoring.answer(lambda ws, d, t, n: (list(ws), dict(d), n), args)[2] == 4


def test_a_changed_argument_without_a_name():
    with pytest.raises(CallFailed, match=r"changed its argument `args\[1\]`"):
        scoring.answer(lambda *args: args[1].zero_(), (torch.ones(2), torch.ones(2)))


def test_gradients_of_a_library_function_with_a_default(monkeypatch):
    def scaled(x, W, factor=2.0, *more, **options):
        return factor * x @ W

    make = lambda g: (torch.randn(2, 3, generator=g), torch.randn(3, 3, generator=g))  # noqa: E731
    cases = (Case("gradient", 1, "hint", make=make, gradient=True),)
    score = swapped(monkeypatch, library=scaled, oracle=scaled, cases=cases, mistakes=(), parts=())
    assert score(scaled).state == "right"
    assert score(lambda x, W: 2 * x @ W.detach()).cases[0].message == "dx ok · dW: 9 of 9 values differ (yours: 0)"
    score = swapped(monkeypatch, library=lambda *a: scaled(*a), oracle=scaled, cases=cases, mistakes=(), parts=())
    assert score(lambda x, W: 2 * x @ W.detach()).cases[0].message.startswith("dargs[0] ok · dargs[1]: ")


def test_a_message_that_quotes_an_answer_is_short():
    case = Case("text", 1, "hint", make=lambda g: ())
    trial = scoring.Trial(TOY, case, (), "want")
    assert trial.verdict("x" * 10_000) == f"got '{'x' * 100}'…"
    assert trial.verdict(torch.zeros((6,) * 9, dtype=torch.uint8)).endswith(f"a tensor of shape {(6,) * 9}")


@pytest.mark.parametrize("shape", [(11, 3, 5), torch.Size([11, 3, 5]), torch.zeros(11, 3, 5).shape, [11, 3, 5]])
def test_a_shape_may_be_any_kind_of_tuple(shape):
    got = plain({"hs": shape})
    assert shape_like((1, 2))(got["hs"]) is None
    assert answer_case("hs", "hint", "not this shape", shape_like((1, 2))).test(got, {"hs": (11, 3, 5)}) is None
    assert difference(plain(shape), (11, 3, 5)) is None
    assert answered("hs", (11, 3, 5))(got, None)


# --- which mistake, and which hint


def toy_of(monkeypatch, cases, mistakes=(), oracle=lambda x: x.sin()):
    return swapped(monkeypatch, library=oracle, oracle=oracle, parts=(), axes=(), cases=cases, mistakes=mistakes)


def test_when_must_fit_all_failed_cases(monkeypatch):
    cases = [Case(f"case {n}", 1, f"hint {n}", make=lambda g, n=n: (torch.randn(n, generator=g),)) for n in (3, 4)]
    for when in (lambda got, want: bool(got.isnan().any()), lambda got, want: len(got) == 3):
        score = toy_of(monkeypatch, cases, (Mistake("when", "mistaken", when=when),))
        assert score(lambda x: x.cos() if len(x) == 4 else x * nan).hint.startswith("hint 3")
        assert score(lambda x: x.sin() if len(x) == 4 else x * nan).hint == "mistaken"  # it is the only one that failed

    def raises(x):
        if len(x) == 4:
            raise CallFailed("shapes")
        return x * nan

    assert score(raises).mistake is None


def test_an_exception_in_one_case_leaves_the_cases_hint(monkeypatch):
    cases = [Case(f"case {n}", 1, f"hint {n}", make=lambda g, n=n: (torch.randn(n, generator=g),)) for n in (3, 4)]
    score = toy_of(monkeypatch, cases)

    def judged(function):
        return scoring.score(chapters.find("toy.gradients"), caller("rnn.step", function))

    score(torch.sin)

    def of_four(x):
        return x.sin() if len(x) == 4 else x[7]

    assert judged(lambda x: x.sin() if len(x) == 4 else x.undefined).hint == "hint 3"
    assert judged(lambda x: x.undefined).hint == "Fix the line shown above first; the cases can run after that."
    assert judged(lambda x: x @ torch.ones(9)).hint.startswith("Print the shapes just before that line")
    assert judged(of_four).hint.startswith("Indices start at 0")  # specific advice is better than the case's
    assert judged(lambda x: x.sin() if len(x) == 4 else x @ torch.ones(9)).hint == "hint 3"
    assert [c.hint for c in judged(lambda x: x @ x.undefined).cases] == [
        "Fix the line shown above first; the cases can run after that."
    ] * 2


def test_a_list_or_another_shape_where_a_gradient_is_asked(monkeypatch):
    case = Case("gradient", 1, "hint", make=lambda g: (torch.randn(4, 3, generator=g),), gradient=True)
    score = toy_of(monkeypatch, [case])

    def message(function):
        return score(function).cases[0].message

    stacked = "a tensor of shape (4, 3) was expected, not a list or tuple of length 4 (torch.stack turns them into one tensor)"
    assert message(lambda x: [*x.sin()]) == stacked
    assert message(lambda x: (x.sin(), x[0])).endswith("(the one at index 0 has that shape: return only that one)")
    assert message(lambda x: x.sin()[0]) == "shape (3,) where (4, 3) was expected"
    assert message(lambda x: x.sin().sum().item()).startswith("the answer has no gradient")
    assert message(lambda x: None) == "nothing was returned"


# --- the form of an answer: its type, its container, its spelling


@pytest.mark.parametrize(
    "got, want, advice",
    [
        ("7", 7, "Return a number, not text"),
        ("x", torch.tensor(7.0), "Return a number, not text"),
        ((7,), 7, "Return a number by itself, not in a list or tuple."),
        (True, 7, "Return a number, not True or False."),
        (1, "one", "Return text, in quotes."),
        ((1,), True, "Return True or False"),
        ((1, 2), {"a": 1, "b": 2, "c": 3}, "{'a': …, 'b': …, …}"),
        ({"A": 1}, {"a": 1}, "Leave the keys of the dict as they are written in the exercise: {'a': …}"),
        (1, (1, 2), "Return a list of the values"),
        (torch.tensor([1.0, 2.0, 3.0]), (1.0, 2.0), ".tolist()"),
        (torch.tensor([3.0]), torch.tensor([3]), ".long()"),
        (torch.tensor([0.1]).half(), torch.tensor([0.1 + 1e-4]), "leave out .half()"),
        (torch.tensor([0.3]).bfloat16(), torch.tensor([0.3]), "leave out .half(), .bfloat16()"),
        ((torch.zeros(2), torch.zeros(2)), torch.zeros(2, 2), "torch.stack(parts)"),
        ((torch.zeros(2), torch.zeros(2)), torch.zeros(3, 2), "torch.stack(parts)"),
        (((torch.zeros(()),) * 2,) * 2, torch.zeros(2, 2), "begin with the inner ones"),
        ((torch.zeros(1), torch.zeros(2)), torch.zeros(3), "torch.cat(parts)"),
        ((torch.zeros(3), "done"), torch.zeros(3), "Return that tensor and nothing else."),
        ((torch.zeros(3), torch.zeros(3)), torch.zeros(3), "Return one tensor only."),
        ((1.0, 2.0), torch.zeros(2), "torch.from_numpy(…) one of a NumPy array"),
        (np.zeros(2), torch.zeros(2), "torch.from_numpy(…) one of a NumPy array"),
        (1.5, torch.zeros(2), ".item()"),
        ("x", torch.zeros(2), "Return the tensor itself, not text"),
        ({"x": 1}, torch.zeros(2), "Return the tensor alone, not a dict."),
        ((1, ("x", 2)), (1, (1, 2)), "Return a number, not text"),  # deep within
    ],
)
def test_an_answer_of_the_wrong_form_gets_advice_on_its_form_only(monkeypatch, got, want, advice):
    case = Case("form", 1, "look at the contents", make=lambda g: (torch.ones(2),))
    score = toy_of(monkeypatch, [case, replace(case, name="again")], oracle=lambda x: want)(lambda x: got)
    assert score.earned == 0 and advice in score.cases[0].hint
    assert score.hint == score.cases[0].hint  # and nothing about the values behind it


def test_several_named_values_are_named_in_the_advice():
    score = scoring.score(chapters.find("toy.gradients"), lambda x: 2 * x)
    assert score.hint == "Return 3 values, separated by commas and in this order: dU, dW, dh."
    score = scoring.score(chapters.find("toy.gradients"), lambda x: (2 * x, 3 * x))
    assert score.hint == "Return 3 values, separated by commas and in this order: dU, dW, dh."


@pytest.mark.parametrize(
    "got, want",
    [
        (torch.zeros(3), torch.zeros(2)),
        (torch.zeros(2), 7),
        (torch.tensor([0.3]), torch.tensor([1])),
        ("two", "one"),
        ((1, 2, 3), (1, 2)),
        ({"a": 2}, {"a": 1}),
        ((None, 1), (1, 1)),
    ],
)
def test_an_answer_with_other_contents_gets_the_hint_of_the_case(monkeypatch, got, want):
    case = Case("contents", 1, "look at the contents", make=lambda g: (torch.ones(2),))
    score = toy_of(monkeypatch, [case], oracle=lambda x: want)(lambda x: got)
    assert score.cases[0].hint == "look at the contents"


def test_a_case_that_is_wrong_in_form_says_nothing_of_how_values_are_related(monkeypatch):
    cases = [Case(f"case {n}", 1, f"hint {n}", make=lambda g, n=n: (torch.randn(n, generator=g),)) for n in (3, 4)]
    score = toy_of(monkeypatch, cases)(lambda x: x.sin() if len(x) == 4 else x.sin().tolist())
    assert score.relation == "" and score.hint.startswith("Return a tensor.")


def test_a_large_numpy_array_or_one_of_objects_is_refused():
    for odd in (np.zeros(200_000), np.array([{}, None], dtype=object)):
        with pytest.raises(CallFailed, match="returned a NumPy array") as failure:
            plain(odd)
        assert "torch.from_numpy" in failure.value.hint
