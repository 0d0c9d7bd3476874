"""Scoring one exercise: the only place where points are given.

`score(id, call, seed)` asks `call` for answers to a row of cases and compares each with an oracle that
shares no code with the course's own implementation.  `check` in a notebook passes the student's function;
a grader passes one that runs it elsewhere.  Only plain data crosses: tensors, numbers, strings, lists,
dicts, None.
"""

import hashlib
import hmac
import inspect
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from types import CoroutineType

import torch

from cvdl.course.exercises.comparison import NOTHING, CallFailed, CallStopped, Misfit, difference, not_a_tensor, plain
from cvdl.course.exercises.relation import by_argument, remark
from cvdl.course.exercises.supposition import supposition
from cvdl.errors import CourseError

LONGEST = 500  # characters of a message: it may quote an answer
RETURN = "End the function with a line `return …`."


class CourseFault(CourseError):
    """An exercise cannot be judged because a part of the course itself failed; no answer is to blame."""


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
        """Would this mistake, and it alone, have given these answers: all the failed ones, and the others?

        Also False where an answer is so odd that comparing it with the mistake fails.
        """
        if self.when is not None:
            failed = [t for t in trials if t.wrong and not t.case.gradient]
            return bool(failed) and all(t.answered and _holds(self.when, t.got, t.want) for t in failed)
        return _holds(self._made, trials)

    def _made(self, trials):
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
    weights: object = None  # of the answer, where its gradient is asked for
    got: object = None
    answered: bool = False
    wrong: str | None = None
    hint: str = ""
    raised: bool = False  # the call failed, so that there was nothing to compare

    def verdict(self, got):
        """None if `got` is right in this case, else what is wrong."""
        if self.case.test:
            return self.case.test(got, self.want)
        if not self.case.gradient:
            return difference(got, self.want, self.exercise.axes, self.exercise.parts, self.sizes)
        parts = [f"d{name}" for name, value in self.named.items() if is_float(value)]
        return difference(got, self.want, (), parts)

    @property
    def named(self):
        """The arguments by name."""
        return dict(zip(_names(self.exercise.library, self.args), self.args, strict=True))

    @property
    def sizes(self):
        """The lengths of the axes of all arguments, and arguments that are whole numbers themselves."""
        sizes = {n for a in self.args if isinstance(a, torch.Tensor) for n in a.shape}
        return sorted(sizes | {a for a in self.args if type(a) is int and 0 < a <= 1000})


@dataclass(frozen=True)
class CaseResult:
    name: str
    points: int
    earned: int
    message: str = ""  # what was observed, if it was wrong
    hint: str = ""


@dataclass(frozen=True)
class Score:
    """The result of all cases.

    mistake: the known one that explains them, if there is one; relation: otherwise a sentence on how the wrong answers
    are related to the right ones, or "".
    """

    id: str
    cases: list[CaseResult]
    mistake: Mistake | None = None
    relation: str = ""

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
        """What to try next: about the recognised mistake, else about the first failed case and all of them."""
        return " ".join(filter(None, self.advice))

    @property
    def advice(self):
        """The two parts of the hint: about the mistake or the first failed case, and the relation."""
        if self.mistake:
            return self.mistake.hint, ""
        return next((c.hint for c in self.cases if c.earned < c.points), ""), self.relation


def score(exercise, call, seed=0):
    """Judge `call` on all cases of an Exercise -> Score.

    The seed decides the random cases: the same seed, the same arguments.  `call(*arguments)` returns
    the answer or raises CallFailed; `call(*arguments, weights=w)` returns what `answer` does.  An answer that
    cannot be compared is wrong in its own case.  Raises CourseFault if a case or an oracle of the exercise fails.
    """
    trials, stopped = [], None
    for number, case in enumerate(exercise.cases):
        generator = torch.Generator().manual_seed(seed_of(seed, exercise.id, number))
        try:
            if stopped:
                raise CallFailed("not tried, because an earlier case had to be stopped", stopped.hint)
            trials.append(_try(exercise, case, call, generator))
        except CallFailed as failure:
            stopped = failure if isinstance(failure, CallStopped) else stopped
            trials.append(Trial(exercise, case, (), None, wrong=str(failure), hint=failure.hint))
    results = [
        CaseResult(
            *(t.case.name, t.case.points, 0 if t.wrong else t.case.points),
            *((t.wrong or "")[:LONGEST], _hint(t, trials)),
        )
        for t in trials
    ]
    known = next((m for m in exercise.mistakes if not stopped and m.explains(trials)), None)
    return Score(exercise.id, results, known, "" if known or stopped else _relation(exercise, trials))


def seed_of(secret, id, number):
    """The seed of one case: by a keyed hash, so that nobody can tell from one case what the others are."""
    return int.from_bytes(hmac.digest(str(secret).encode(), f"{id}/{number}".encode(), "sha256")[:8], "big")


def _hint(trial, trials):
    """The advice on what was raised or returned, where there is a specific one; else the hint of the case.

    An answer of the wrong form gets advice on its form: what the case says of the contents would miss the point.
    Where no case was answered, the hint of a case would miss the point: the exception is what to look at.
    """
    if trial.hint:
        return trial.hint
    if isinstance(trial.wrong, Misfit):
        return trial.wrong.advice
    if not trial.raised or any(t.answered for t in trials):
        return trial.case.hint
    if "shape" in trial.wrong or "size" in trial.wrong:
        return "Print the shapes just before that line, and compare them with those in the docstring."
    return "Fix the line shown above first; the cases can run after that."


def _relation(exercise, trials):
    """How the wrong answers are related to the right ones, in one sentence; "" if nothing simple was found."""
    compared = [t for t in trials if t.answered and not (t.case.test or t.case.gradient or isinstance(t.wrong, Misfit))]
    failed = [(t.got, t.want, t.named) for t in compared if t.wrong]
    if not failed:
        return ""
    try:
        found = remark(failed, exercise.axes, exercise.parts)
        if found and len(failed) == len(compared):
            return found
        with warnings.catch_warnings(action="ignore"):  # of torch, on arguments that nobody would give
            supposed = supposition([(t.got, t.named) for t in compared], _on_copies(exercise.library))
    except Exception:  # an answer so odd that it cannot be compared
        return ""
    return (
        supposed
        or (found and f"{found} This holds for the cases that failed.")
        or by_argument([(not t.wrong, t.named) for t in compared])
    )


def _try(exercise, case, call, generator):
    trial = _question(exercise, case, generator)
    weights = {"weights": trial.weights} if case.gradient else {}
    try:
        got = plain(call(*deepcopy(trial.args), **weights))
    except CallStopped:
        raise
    except CallFailed as failure:
        return replace(trial, wrong=str(failure), hint=failure.hint, raised=True)
    wrong = _verdict(trial, got)
    hint = RETURN if wrong == NOTHING else ""
    return replace(trial, got=got, answered=got is not None, wrong=wrong, hint=hint)


def _question(exercise, case, generator):
    """The Trial of a case before it is answered: its arguments and the right answer.  Raises CourseFault."""
    with _courses_own(exercise, case):
        args, weights = case.make(generator), None
        oracle = _on_copies(case.want or exercise.oracle)
        if case.gradient:
            weights = torch.randn(oracle(*args).shape, generator=generator)
        return Trial(exercise, case, args, plain(answer(oracle, args, weights)), weights)


def _verdict(trial, got):
    """What is wrong with an answer, or None.  Raises CourseFault if the right answer fares no better."""
    try:
        wrong = trial.verdict(got)
    except Exception as error:
        wrong = f"the answer cannot be compared ({type(error).__name__})"
    if wrong:
        with _courses_own(trial.exercise, trial.case):
            if found := trial.verdict(trial.want):
                raise AssertionError(f"the right answer is refused: {found}")
    return wrong


@contextmanager
def _courses_own(exercise, case):
    """Within this block the course's own code runs: whatever fails is its fault."""
    try:
        yield
    except Exception as error:
        raise CourseFault(
            f'{exercise.id} cannot be judged: its case "{case.name}" fails for every answer '
            f"({type(error).__name__}: {error}). This is a fault in the course. Please report it, with this message, to "
            "your teacher or to the maintainers of the course."
        ) from error


def _holds(test, *args):
    """Is test(*args) true?  Not if it fails."""
    try:
        return bool(test(*args))
    except Exception:
        return False


def _digest(value, sha256=hashlib.sha256):
    """What tells a value from what it was before: of a tensor a hash, so that there is no copy to be found and changed."""
    kind = type(value)
    if isinstance(value, torch.Tensor):
        numbers = value.detach().contiguous().view(-1).view(torch.uint8).numpy()
        return kind, value.dtype, value.shape, sha256(numbers).digest()
    if isinstance(value, dict):
        return kind, [(key, _digest(inner)) for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return kind, [_digest(inner) for inner in value]
    return kind, repr(value) if isinstance(value, bool | int | float | str) else None


def answer(function, args, weights=None, *, gradient_of=torch.autograd.grad, digest=_digest):
    """Call `function` on copies of `args` -> its answer.

    With `weights`, a tensor of the answer's shape: the gradient of sum(weights * answer) with respect to each
    floating-point tensor in `args`, as a tuple.  Raises CallFailed if the function changes an argument, or anything
    in an argument that is a list, tuple or dict, or if the answer has no gradient.  gradient_of, digest: not to be given;
    they are as they were before any of the student's code ran.
    """
    args = deepcopy(args)
    before = [digest(a) for a in args]
    wanted = [a.requires_grad_() for a in args if is_float(a)] if weights is not None else []
    result = function(*args)
    if type(result) is CoroutineType:
        result.close()  # or Python warns that nobody awaited it
        raise CallFailed("returned a coroutine", "Start the function with `def`, not `async def`.")
    for number, (now, then) in enumerate(zip(args, before, strict=True)):
        if digest(now) != then:
            name = _names(function, args)[number]
            copy = f"{name}.clone()" if isinstance(now, torch.Tensor) else f"copy.deepcopy({name})"
            raise CallFailed(f"changed its argument `{name}`", f"Work on a copy: start with {name} = {copy}.")
    if weights is None:
        return result
    if result is None:
        raise CallFailed(NOTHING, RETURN)
    if not isinstance(result, torch.Tensor):
        result = plain(result)
        if isinstance(result, tuple) and any(isinstance(r, torch.Tensor) for r in result):
            wrong = not_a_tensor(result, weights.shape)
            raise CallFailed(wrong, wrong.advice)
    elif result.shape != weights.shape:
        raise CallFailed(f"shape {tuple(result.shape)} where {tuple(weights.shape)} was expected")
    if isinstance(result, torch.Tensor) and result.is_complex():
        raise CallFailed(f"real numbers were expected, not {result.dtype}", "Return its real part: .real")
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        raise CallFailed(
            "the answer has no gradient, so nothing can learn through it",
            "Use tensors at every step: no .item(), .detach(), .numpy(), .tolist() or torch.no_grad().",
        )
    gradients = gradient_of(result, wanted, weights.to(result.dtype), allow_unused=True)
    return tuple(torch.zeros_like(a) if g is None else g for a, g in zip(wanted, gradients, strict=True))


def _on_copies(function):
    """`function`, called on copies of its arguments: it may work in place.  Gradients pass through the copies."""
    return lambda *args: function(*(a.clone() if isinstance(a, torch.Tensor) else deepcopy(a) for a in args))


def _names(function, args):
    """What a function calls these arguments; args[0], args[1], … where it gives no names."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except Exception:  # a built-in function, or an object with attributes of its own making
        parameters = ()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*names, *(f"args[{n}]" for n in range(len(names), len(args)))][: len(args)]


def is_float(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point()
