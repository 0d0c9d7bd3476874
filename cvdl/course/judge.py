"""Scoring one exercise: the only place where points are given.

`score(id, call, seed)` asks `call` for answers to a row of cases and compares each with an oracle that
shares no code with the course's own implementation.  `check` in a notebook passes the student's function;
a grader passes one that runs it elsewhere.  Only plain data crosses: tensors, numbers, strings, lists,
dicts, None.
"""

import inspect
import zlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import torch

from cvdl.course.compare import NOTHING, CallFailed, CallStopped, difference, plain


@dataclass(frozen=True)
class Case:
    """One thing to get right.

    make(generator) -> tuple of arguments; want(*arguments) -> the right answer, or None to use the
    exercise's oracle; test(got, want) -> None or what is wrong, or None to compare the two.  With
    gradient=True not the answer is compared but its derivative by each argument.
    """

    name: str
    points: int
    hint: str
    make: Callable = lambda generator: ()
    want: Callable | None = None
    test: Callable | None = None
    gradient: bool = False


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that students give, recognised by its output.

    like(*arguments) -> what someone who makes this mistake returns; or when(got, want) -> bool.
    """

    name: str
    hint: str
    like: Callable | None = None
    when: Callable | None = None

    def explains(self, trials):
        """Would this mistake, and it alone, have given these answers: the failed ones and the others?"""
        failed = [t for t in trials if t.wrong and not t.case.gradient]
        if self.when is not None:
            return any(t.answered and self.when(t.got, t.want) for t in failed)
        hits = 0
        for trial in trials:
            if trial.case.gradient:
                continue
            try:
                wrong = plain(self.like(*deepcopy(trial.args)))
            except Exception:  # made on these arguments, the mistake is an error; then so was the answer
                if trial.answered:
                    return False
                continue
            same = trial.answered and difference(trial.got, wrong) is None
            if not same and (trial.wrong or trial.verdict(wrong)):
                return False
            hits += bool(same and trial.wrong)
        return hits > 0


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
class Trial:
    """What came of one case; `got` counts only if `answered`."""

    exercise: Exercise
    case: Case
    args: tuple
    want: object
    got: object = None
    answered: bool = False
    wrong: str | None = None
    hint: str = ""

    def verdict(self, got):
        """None if `got` is right in this case, else what is wrong."""
        if self.case.test:
            return self.case.test(got, self.want)
        if not self.case.gradient:
            return difference(got, self.want, self.exercise.axes, self.exercise.parts)
        names = inspect.signature(self.exercise.library).parameters
        parts = [f"d{name}" for name, value in zip(names, self.args, strict=True) if _differentiable(value)]
        return difference(got, self.want, (), parts)


@dataclass(frozen=True)
class CaseResult:
    name: str
    points: int
    earned: int
    message: str = ""  # what was observed, if it was wrong
    hint: str = ""


@dataclass(frozen=True)
class Score:
    """The result of all cases; `mistake` is the known one that explains them, if there is one."""

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
    the answer or raises CallFailed; `call(*arguments, weights=w)` returns what `answer` does.  Raises
    CourseError for an unknown id.
    """
    from cvdl.course.checks import find

    exercise = find(id)
    trials, stopped = [], None
    for number, case in enumerate(exercise.cases):
        generator = torch.Generator().manual_seed(zlib.crc32(f"{id}/{number}/{seed}".encode()))
        try:
            if stopped:
                raise CallFailed("not tried, since an earlier case had to be stopped", stopped.hint)
            trials.append(_try(exercise, case, call, generator))
        except CallFailed as failure:
            stopped = failure if isinstance(failure, CallStopped) else stopped
            trials.append(Trial(exercise, case, (), None, wrong=str(failure), hint=failure.hint))
    results = [
        CaseResult(t.case.name, t.case.points, 0 if t.wrong else t.case.points, t.wrong or "", t.hint or t.case.hint)
        for t in trials
    ]
    known = (m for m in exercise.mistakes if not stopped and m.explains(trials))
    return Score(id, results, next(known, None))


def _try(exercise, case, call, generator):
    args = case.make(generator)
    oracle = case.want or exercise.oracle
    weights = None
    if case.gradient:
        weights = torch.randn(oracle(*deepcopy(args)).shape, generator=generator)
    want = plain(answer(oracle, args, weights))
    trial = Trial(exercise, case, args, want)
    try:
        got = plain(call(*deepcopy(args), **({"weights": weights} if case.gradient else {})))
    except CallStopped:
        raise
    except CallFailed as failure:
        return replace(trial, wrong=str(failure), hint=failure.hint)
    wrong = trial.verdict(got)
    hint = "End the function with a line `return …`." if wrong == NOTHING else ""
    return replace(trial, got=got, answered=got is not None, wrong=wrong, hint=hint)


def answer(function, args, weights=None):
    """Call `function` on copies of `args` -> its answer.

    With `weights`, a tensor of the answer's shape: the gradient of sum(weights * answer) with respect to each
    floating-point tensor in `args`, as a tuple.  Raises CallFailed if the function changes an argument or if
    the answer has no gradient.
    """
    args, before = deepcopy(args), deepcopy(args)
    wanted = [a.requires_grad_() for a in args if _differentiable(a)] if weights is not None else []
    result = function(*args)
    for name, now, then in zip(inspect.signature(function).parameters, args, before, strict=False):
        if isinstance(then, torch.Tensor) and not _same(now.detach(), then):
            raise CallFailed(f"changed its argument `{name}`", f"Work on a copy: begin with {name} = {name}.clone().")
    if weights is None:
        return result
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        raise CallFailed(
            "the answer has no gradient, so nothing can learn through it",
            "Stay with tensors all the way: no .item(), .detach(), .numpy(), .tolist() or torch.no_grad().",
        )
    gradients = torch.autograd.grad(result, wanted, weights.to(result.dtype), allow_unused=True)
    return tuple(torch.zeros_like(a) if g is None else g for a, g in zip(wanted, gradients, strict=True))


def _same(a, b):
    """Equal in shape and in every value, NaN counting as equal to NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _differentiable(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()
