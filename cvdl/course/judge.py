"""Scoring one exercise: the only place where points are given.

`score(id, call, seed)` asks `call` for answers to a row of cases and compares each with an oracle that
shares no code with the course's own implementation.  `check` in a notebook passes the student's function;
a grader passes one that runs it elsewhere.  Only plain data crosses: tensors, numbers, strings, lists,
dicts, None.
"""

import zlib
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch

RTOL, ATOL = 1e-4, 1e-5


class CallFailed(Exception):
    """The student's function gave no answer; the message says why, for the student.

    hint, if given, replaces the case's own.
    """

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


class CallStopped(CallFailed):
    """It was stopped after its time; the remaining cases are not tried."""


@dataclass(frozen=True)
class Case:
    """One thing to get right.

    make(generator) -> tuple of arguments; want(*arguments) -> the right answer, or None to use the
    exercise's oracle; test(got, want) -> None or what is wrong, or None to compare the two.
    """

    name: str
    points: int
    hint: str
    make: Callable = lambda generator: ()
    want: Callable | None = None
    test: Callable | None = None


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that students give, recognised by its output.

    like(*arguments) -> what someone who makes this mistake returns; or when(got, want) -> bool.
    """

    name: str
    hint: str
    like: Callable | None = None
    when: Callable | None = None

    def explains(self, got, want, args):
        try:
            if self.when is not None:
                return bool(self.when(got, want))
            wrong = plain(self.like(*deepcopy(args)))
        except Exception:  # a mistake that cannot be made on these arguments explains nothing
            return False
        return difference(wrong, want) is not None and difference(got, wrong) is None


@dataclass(frozen=True)
class Exercise:
    """What the judge knows of an exercise.

    library: the course's own implementation; oracle: an independent one; axes: names of the answer's
    tensor axes; parts: names of the members when it is a tuple.  Both are used in messages.
    """

    id: str
    title: str
    library: Callable
    oracle: Callable
    cases: tuple[Case, ...]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    kind: str = "code"
    axes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def points(self):
        return sum(case.points for case in self.cases)


@dataclass(frozen=True)
class CaseResult:
    name: str
    points: int
    earned: int
    message: str = ""  # what was observed, if it was wrong
    hint: str = ""


@dataclass(frozen=True)
class Score:
    """The result of all cases; `mistake` is the known one that explains most of the failed ones."""

    id: str
    cases: list[CaseResult]
    mistake: Mistake | None = None

    @property
    def points(self):
        return sum(c.points for c in self.cases)

    @property
    def earned(self):
        return sum(c.earned for c in self.cases)

    @property
    def state(self):
        if self.earned == self.points:
            return "right"
        return "partly right" if self.earned else "wrong"

    @property
    def hint(self):
        """What to try next: about the recognised mistake, else about the first failed case."""
        if self.mistake:
            return self.mistake.hint
        return next((c.hint for c in self.cases if c.earned < c.points), "")


def score(id, call, seed=0):
    """Judge `call` on all cases of exercise `id` -> Score.

    The seed decides the random cases: the same seed, the same arguments.  `call(*arguments)` returns
    the answer or raises CallFailed.  Raises CourseError for an unknown id.
    """
    from cvdl.course.checks import find

    exercise = find(id)
    results, stopped, explained = [], None, Counter()
    for number, case in enumerate(exercise.cases):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{id}/{number}/{seed}".encode()))
        try:
            if stopped:
                raise CallFailed("not tried, since an earlier case had to be stopped", stopped.hint)
            wrong, mistakes = _judge(exercise, case, call, generator)
            explained.update(mistakes)
            results.append(CaseResult(case.name, case.points, 0 if wrong else case.points, wrong, case.hint))
        except CallFailed as failure:
            stopped = failure if isinstance(failure, CallStopped) else stopped
            results.append(CaseResult(case.name, case.points, 0, str(failure), failure.hint or case.hint))
    return Score(id, results, explained.most_common(1)[0][0] if explained else None)


def _judge(exercise, case, call, generator):
    """What is wrong with the answer to one case ("" if nothing), and the mistakes that would explain it."""
    args = case.make(generator)
    want = plain((case.want or exercise.oracle)(*deepcopy(args)))
    got = plain(call(*deepcopy(args)))
    wrong = case.test(got, want) if case.test else difference(got, want, exercise.axes, exercise.parts)
    if wrong is None:
        return "", []
    return wrong, [mistake for mistake in exercise.mistakes if mistake.explains(got, want, args)]


def plain(value):
    """Reduce an answer to plain data; raise CallFailed for anything else."""
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor).cpu()
    if isinstance(value, np.ndarray | np.generic):
        try:
            return torch.as_tensor(value)
        except TypeError:
            raise CallFailed(f"returned a NumPy array of {value.dtype}, which holds no numbers") from None
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return tuple(plain(v) for v in value)
    if type(value) is dict:
        return {str(k): plain(v) for k, v in value.items()}
    if value is ...:
        return None
    raise CallFailed(
        f"returned {_a(type(value).__name__)}; an answer is made of tensors, numbers, text, lists and dicts"
    )


def difference(got, want, axes=(), parts=()):
    """None if `got` answers as well as `want` does, else what is wrong with it, in one line.

    Says where and how, never what was expected.  `axes` names the tensor's axes; `parts` the members
    of a tuple, in the order in which one computes them: the first that differs is named.
    """
    if isinstance(want, torch.Tensor):
        return _tensor_difference(got, want, axes)
    if got is None:
        return "nothing was returned: is there a `return`?"
    if isinstance(want, bool | str):
        got = got.item() if isinstance(got, torch.Tensor) and got.numel() == 1 else got
        return None if got == want else f"got {got!r}"
    if isinstance(want, int | float):
        if isinstance(got, torch.Tensor) and got.numel() == 1:
            got = got.item()
        if isinstance(got, bool) or not isinstance(got, int | float):
            return f"a number was expected, not {_kind(got)}"
        return _tensor_difference(torch.tensor(got), torch.tensor(want), ())
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return f"a dict was expected, not {_kind(got)}"
        missing = [k for k in want if k not in got]
        if missing:
            return f"the key {missing[0]!r} is missing"
        return _first([(k, difference(got[k], want[k], axes)) for k in want])
    if isinstance(want, tuple):
        if not isinstance(got, tuple):
            return f"{len(want)} values were expected ({', '.join(parts)}), not {_kind(got)}"
        if len(got) != len(want):
            return f"{len(want)} values were expected, {len(got)} came"
        names = parts or [f"[{i}]" for i in range(len(want))]
        return _first([(n, difference(g, w, axes)) for n, g, w in zip(names, got, want, strict=True)])
    return None if got == want else f"got {got!r}"


def _first(named):
    """«dU ok · dW off by a factor 2»: the members up to the first that differs."""
    ok = []
    for name, wrong in named:
        if wrong:
            return " · ".join([*ok, f"{name}: {wrong}"])
        ok.append(f"{name} ok")
    return None


def _tensor_difference(got, want, axes):
    if isinstance(got, tuple):
        try:
            got = torch.stack([torch.as_tensor(g) for g in got])
        except (TypeError, ValueError, RuntimeError):
            return f"a tensor of shape {tuple(want.shape)} was expected, not {_kind(got)}"
    if isinstance(got, int | float):
        got = torch.tensor(got)
    if got is None:
        return "nothing was returned: is there a `return`?"
    if not isinstance(got, torch.Tensor):
        return f"a tensor of shape {tuple(want.shape)} was expected, not {_kind(got)}"
    if got.shape != want.shape:
        return f"shape {tuple(got.shape)} where {tuple(want.shape)} was expected"
    got, want = got.double(), want.double()
    close = torch.isclose(got, want, RTOL, ATOL, equal_nan=True)
    if close.all():
        return None
    where = tuple(int(i) for i in (~close).nonzero()[0])
    named = " ".join(f"{a}={i}" for a, i in zip(axes, where, strict=False))
    at = f" at {named}" if named else ""
    nan = got.isnan() & ~want.isnan()
    if nan.any():
        return f"{int(nan.sum())} of {got.numel()} values are nan"
    if got.isinf().any() and not want.isinf().any():
        return f"{int(got.isinf().sum())} of {got.numel()} values are infinite"
    # Within the first time step that differs, is it all off by one factor?
    g, w = (got[where[0]], want[where[0]]) if axes and got.dim() else (got, want)
    big = w.abs() > 1e-6
    if big.any() and torch.allclose(g[~big], w[~big], atol=1e-6):
        ratio = g[big] / w[big]
        if torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-3) and ratio[0].abs() > 1e-6:
            r = float(ratio[0])
            return ("has the wrong sign" if abs(r + 1) < 1e-3 else f"off by a factor {r:.4g}") + at
    wrong = int((~close).sum())
    size = f"{wrong} of {close.numel()} values differ" if close.numel() > 1 else "the value differs"
    return f"{size}{', first' + at if at else ''} (yours: {float(got[where]):.4g})"


def _kind(value):
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return "nothing" if value is None else _a(type(value).__name__)


def _a(word):
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
