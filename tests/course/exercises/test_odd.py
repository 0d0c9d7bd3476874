"""Whatever a student decorates or returns, `check` and the grader say what is wrong with it: they do not fail."""

import functools
import operator
from collections import Counter, OrderedDict, namedtuple
from dataclasses import replace
from enum import Enum
from fractions import Fraction

import numpy as np
import pytest
import torch

from cvdl.course.exercises import api as course
from cvdl.course.exercises import chapters, comparison, scoring
from cvdl.course.exercises.api import caller, check, exercise
from cvdl.errors import CourseError
from tests.course.exercises.test_answers import EXERCISES


class Raises:
    """An object of which nothing can be asked."""

    def fail(self, *_):
        raise ZeroDivisionError

    __eq__ = __hash__ = __repr__ = __str__ = __len__ = __bool__ = __iter__ = __float__ = __array__ = __getattr__ = fail


class Agrees:
    """An object that says yes to everything, and is called as if it were one of torch's."""

    __class__ = property(lambda self: torch.Tensor)
    __hash__ = None

    def __getattr__(self, name):
        return lambda *_, **__: self

    def __eq__(self, other):
        return True


class Same(type):
    """A class that is equal to every other."""

    __hash__ = type.__hash__

    def __eq__(self, other):
        return True


class Nameless(type):
    __name__ = ""


class Text(str):
    __hash__ = str.__hash__

    def __eq__(self, other):
        return True


class Refuses(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        raise ZeroDivisionError


class Dispatches(torch.Tensor):
    """A tensor without numbers, which computes in Python."""

    @staticmethod
    def __new__(cls):
        return torch.Tensor._make_wrapper_subclass(cls, (2, 2))

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise ZeroDivisionError


def nested_list(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def itself():
    value = []
    value.append(value)
    return value


def bomb():
    value = [0] * 10
    for _ in range(15):
        value = [value] * 10
    return value


async def later():
    return 0


zeros = functools.partial(torch.zeros, 2, 2)
ODD = {
    "None": lambda: None,
    "dots": lambda: ...,
    "not implemented": lambda: NotImplemented,
    "an object": object,
    "a class": lambda: dict,
    "a function": lambda: print,
    "a module": lambda: torch,
    "an exception": lambda: ValueError("x"),
    "nn.Module": lambda: torch.nn.Linear(1, 1),
    "an object that raises": Raises,
    "an object that agrees": Agrees,
    "an object of a class that is equal to all": lambda: Same("A", (), {"__eq__": lambda *_: True})(),
    "an object of a nameless class": lambda: Nameless("A", (), {})(),
    "text that is equal to all": lambda: Text("x"),
    "a coroutine": later,
    "a generator": lambda: (n for n in range(3)),
    "an endless generator": lambda: iter(int, 1),
    "a range": lambda: range(3),
    "a set": lambda: {1, 2},
    "bytes": lambda: b"x",
    "an enum": lambda: Enum("E", "A").A,
    "a fraction": lambda: Fraction(1, 3),
    "a complex number": lambda: 1j,
    "a huge number": lambda: 10**400,
    "a number too long for text": lambda: 10**5000,
    "infinity": lambda: float("inf"),
    "nan": lambda: float("nan"),
    "empty text": lambda: "",
    "a lone surrogate": lambda: "\ud800",
    "an empty tuple": lambda: (),
    "one value in a tuple": lambda: (0,),
    "a number and None": lambda: (1, None),
    "None and a number": lambda: (None, 1),
    "two times None": lambda: (None, None),
    "pairs of None": lambda: ((None, None), (None, None)),
    "text in a tuple": lambda: ("a", "b"),
    "tensors in a tuple": lambda: (zeros(), zeros()),
    "a ragged list": lambda: [[1.0], [2.0, 3.0], "x"],
    "a list of dicts": lambda: [{"a": 1}, {}],
    "a list 900 deep": lambda: nested_list(900),
    "a list that holds itself": itself,
    "an empty dict": dict,
    "a dict with odd keys": lambda: {None: 1, float("nan"): 2, (1, 2): 3, Raises: 4, "": ...},
    "a dict with a key that raises": lambda: {type("Key", (), {"__str__": Raises.fail})(): 1},
    "a counter": lambda: Counter("aab"),
    "an ordered dict": lambda: OrderedDict(a=1),
    "a named tuple": lambda: namedtuple("Pair", "a b")(1, 2),
    "a numpy array": lambda: np.zeros((2, 2)),
    "an object array": lambda: np.array([{}, None], dtype=object),
    "numpy text": lambda: np.str_("x"),
    "a long double": lambda: np.longdouble(1) / 3,
    "a numpy complex": lambda: np.complex64(1j),
    "an empty tensor": lambda: torch.empty(0),
    "an empty tensor of many axes": lambda: torch.empty(2, 0, 3, 0),
    "a tensor of nan": lambda: torch.full((2, 2), float("nan")),
    "a bool tensor": lambda: zeros(dtype=torch.bool),
    "a complex tensor": lambda: zeros(dtype=torch.complex64),
    "one complex number": lambda: torch.tensor(1j),
    "float8": lambda: zeros().to(torch.float8_e4m3fn),
    "one float8": lambda: torch.tensor(1.0).to(torch.float8_e5m2),
    "uint16": lambda: zeros(dtype=torch.uint16),
    "a sparse tensor": lambda: zeros().to_sparse(),
    "a sparse tensor by rows": lambda: torch.eye(2).to_sparse_csr(),
    "a meta tensor": lambda: zeros(device="meta"),
    "a nested tensor": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "a quantised tensor": lambda: torch.quantize_per_tensor(zeros(), 1.0, 0, torch.qint8),
    "a tensor without torch functions": lambda: zeros().as_subclass(Refuses),
    "a tensor that computes in Python": Dispatches,
    "a parameter": lambda: torch.nn.Parameter(zeros()),
    "a terabyte by stride 0": lambda: torch.zeros(1).expand(10**12),
}

LARGE = {
    "long text": lambda: "x" * 10**6,
    "a deep list": lambda: nested_list(100_000),
    "a list of 10^16": bomb,
}


def assert_all_wrong(spec, odd):
    for name, make in odd.items():
        score = scoring.score(spec, lambda *_, make=make, **__: make())
        assert score.earned == 0 and all(case.message for case in score.cases), name
        assert all(len(case.message) <= scoring.LONGEST for case in score.cases), name


@pytest.mark.filterwarnings("ignore")  # of torch, on kinds of tensors that will go
@pytest.mark.parametrize("spec", EXERCISES, ids=lambda e: e.id)
def test_odd_answers_are_wrong_and_named(spec, monkeypatch):
    """Questions are asked once, and mistakes that are computed are left out: it costs little."""
    trials = {case: scoring._question(spec, case, torch.Generator().manual_seed(0)) for case in spec.cases}
    cheap = {case: trial if case.gradient else replace(trial, args=()) for case, trial in trials.items()}
    monkeypatch.setattr(scoring, "_question", lambda spec, case, generator: cheap[case])
    monkeypatch.setattr(chapters, "find", lambda id: replace(spec, mistakes=tuple(m for m in spec.mistakes if m.when)))
    assert_all_wrong(spec, ODD)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("id, odd", [("rnn.last", ODD), ("rnn.match", LARGE), ("start.to_unit", LARGE)])
def test_large_odd_answers_and_computed_mistakes(id, odd):
    assert_all_wrong(chapters.find(id), odd)


@pytest.mark.filterwarnings("ignore")
def test_odd_tensors_are_named():
    kinds = [name for name in ODD if name.startswith(("a sparse", "a meta", "a nested", "a quantised", "a complex t"))]
    assert len(kinds) == 6
    for name in [*kinds, "one complex number", "a tensor that computes in Python"]:
        with pytest.raises(comparison.CallFailed, match="returned a tensor that is not a plain array of real numbers"):
            comparison.plain([ODD[name]()])


def test_there_are_many_kinds_of_odd_answers():
    assert len(ODD) >= 40


@pytest.mark.filterwarnings("ignore")
def test_the_mistakes_of_an_exercise_look_at_odd_answers(monkeypatch):
    """`when` of a mistake may expect an answer of the right kind."""

    def careless(got, want):
        return got.shape == want.shape and got.sum() > 0

    spec = replace(chapters.find("rnn.step"), mistakes=(scoring.Mistake("careless", "hint", when=careless),))
    monkeypatch.setattr(chapters, "find", lambda id: spec)
    for name, make in ODD.items():
        assert scoring.score(chapters.find("rnn.step"), lambda *_, make=make, **__: make()).mistake is None, name


# --- what is decorated


def body(x, h, V, W, b_h):
    return (x @ V.T + h @ W.T + b_h).tanh()


def scripted(x: torch.Tensor, h: torch.Tensor, V: torch.Tensor, W: torch.Tensor, b_h: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x @ V.t() + h @ W.t() + b_h)


def scripted_wrong(
    x: torch.Tensor, h: torch.Tensor, V: torch.Tensor, W: torch.Tensor, b_h: torch.Tensor
) -> torch.Tensor:
    return x @ V


class Called:
    def __call__(self, x, h, V, W, b_h):
        return body(x, h, V, W, b_h)

    def method(self, x, h, V, W, b_h):
        return body(x, h, V, W, b_h)

    @staticmethod
    def static(x, h, V, W, b_h):
        return body(x, h, V, W, b_h)


class Unruly(Called):
    """Right when called; any other question is an error."""

    def __getattribute__(self, name):
        raise ZeroDivisionError(name)


class Net(torch.nn.Module):
    def forward(self, *args):
        return body(*args)


class Whatever(Called):
    """Has every attribute, of a useless kind."""

    def __getattr__(self, name):
        return 3


def without_source():
    namespace = {"torch": torch}
    exec("def step(x, h, V, W, b_h): return (x @ V.T + h @ W.T + b_h).tanh()", namespace)
    return namespace["step"]


RIGHT = {
    "cached": lambda: functools.cache(body),
    "partial": lambda: functools.partial(body),
    "partial of a partial": lambda: functools.partial(functools.partial(functools.cache(body))),
    "lambda": lambda: lambda x, h, V, W, b_h: body(x, h, V, W, b_h),
    "any arguments": lambda: lambda *args: body(*args),
    "an object": Called,
    "a method": lambda: Called().method,
    "a static method": lambda: Called.static,
    "an unruly object": Unruly,
    "an object with every attribute": Whatever,
    "nn.Module": Net,
    "cached with a limit": lambda: functools.lru_cache(maxsize=None)(body),
    "no source": without_source,
    "wrapped": lambda: functools.wraps(body)(lambda *args: body(*args)),
}


async def coroutine(x, h, V, W, b_h):
    return body(x, h, V, W, b_h)


def generator(x, h, V, W, b_h):
    yield body(x, h, V, W, b_h)


class Evil(Exception):
    def __str__(self):
        raise ZeroDivisionError


def fails(error):
    def step(x, h, V, W, b_h):
        raise error

    return step


class Sly(comparison.CallFailed):
    def __str__(self):
        raise ZeroDivisionError


class Opaque(type):
    def __getattribute__(cls, name):
        if name == "__subclasses__":  # ABCs ask every class for it, also those of other libraries
            return super().__getattribute__(name)
        raise ZeroDivisionError(name)


class Hidden(Exception, metaclass=Opaque):
    pass


class Gone(KeyboardInterrupt):
    pass


def unmade():
    return comparison.CallFailed.__new__(comparison.CallFailed)


def hinting():
    failure = comparison.CallFailed("x")
    failure.hint = Raises()
    return failure


def holding():
    failure = comparison.CallFailed("x")
    failure.args = (Raises(),)
    return failure


def empty():
    failure = comparison.CallFailed("x")
    failure.args = ("",)
    return failure


WRONG = {
    "a coroutine": (coroutine, "Start the function with `def`"),
    "a generator": (generator, "returned a generator"),
    "a built-in": (len, "TypeError"),
    "a built-in without a signature": (torch.tanh, "TypeError"),
    "an operator": (operator.itemgetter(0), "TypeError"),
    "an error under a cache": (functools.cache(fails(ValueError("why"))), "ValueError: why — line"),
    "an error under a partial": (functools.partial(fails(ValueError("why"))), "ValueError: why — line"),
    "an error without text": (fails(Evil()), "Evil: (its message cannot be shown)"),
    "an exit": (fails(SystemExit(3)), "SystemExit: 3"),
    "the judge's own failure": (fails(comparison.CallFailed("")), "there was no answer"),
    "the same, changed": (fails(empty()), "there was no answer"),
    "a failure that raises": (fails(Sly("x")), "Sly: (its message cannot be shown)"),
    "an interrupt that nobody pressed": (fails(KeyboardInterrupt()), "KeyboardInterrupt"),
    "one of a class of its own": (fails(Gone("x")), "Gone: x"),
    "the end of a generator": (fails(GeneratorExit()), "GeneratorExit"),
    "an exception of an opaque class": (fails(Hidden()), "cannot be shown"),
    "the judge's failure, unmade": (fails(unmade()), "there was no answer"),
    "with a hint that raises": (fails(hinting()), "cannot be shown"),
    "with a message that raises": (fails(holding()), "cannot be shown"),
    "recursion": (lambda *args: WRONG["recursion"][0](*args), "RecursionError"),
    "too few arguments": (lambda x: x, "TypeError"),
    "an unruly answer": (lambda *_: Unruly(), "returned an Unruly"),
}


@pytest.fixture
def fresh(monkeypatch):
    for name in ("_attempts", "_scores", "_hints"):
        monkeypatch.setattr(course, name, {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", RIGHT)
def test_what_can_be_called_can_be_right(name, fresh):
    step = exercise("rnn.step")(RIGHT[name]())
    assert repr(check(step)).startswith("✓ rnn.step: right"), check(step)
    assert isinstance(step.__name__, str)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WRONG)
def test_what_can_be_called_and_fails_is_told_on_a_card(name, fresh):
    function, told = WRONG[name]
    step = exercise("rnn.step")(function)
    card = check(step)
    assert card.state == "wrong" and told in repr(card) and "0 of 15" in card.headline


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_script_of_torch_is_judged_as_any_function(fresh):
    step = exercise("rnn.step")(torch.jit.script(scripted))
    assert repr(check(step)).startswith("✓ rnn.step: right"), check(step)
    step = exercise("rnn.step")(torch.jit.script(scripted_wrong))
    assert "RuntimeError" in repr(check(step))


@pytest.mark.parametrize(
    "thing", [3, None, "text", dict, Called, classmethod(body), torch.zeros(2)], ids=lambda thing: type(thing).__name__
)
def test_what_cannot_be_called_is_refused(thing, fresh):
    with pytest.raises(CourseError, match=r"@exercise\(.rnn\.step.\) expects a function below it"):
        exercise("rnn.step")(thing)
    assert "Run the exercise cell first" in repr(check("rnn.step"))


def test_an_unanswered_coroutine_is_not_attempted(fresh):
    @exercise("rnn.step")
    async def step(x, h, V, W, b_h):
        """One step."""
        ...

    assert "not attempted" in repr(check(step))


def test_a_name_that_now_means_something_else(fresh, monkeypatch):
    step = exercise("rnn.step")(body)
    for other in (np.zeros(3), torch.zeros(3), Raises()):
        monkeypatch.setattr(course, "in_namespace", lambda name, other=other: other)
        last = check(step).lines[0]
        assert "was defined again without @exercise" in last and "has not been checked" in last


def test_a_failure_without_a_message_earns_nothing():
    def call(*args, weights=None):
        raise empty()

    assert scoring.score(chapters.find("rnn.step"), call).earned == 0
    assert scoring.score(chapters.find("rnn.step"), caller("rnn.step", fails(empty()))).earned == 0
