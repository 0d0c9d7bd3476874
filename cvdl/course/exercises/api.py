"""What a student calls: `exercise`, `check`, `hint`, `use_library`, `progress`.

An exercise never blocks: unanswered, it hands over to the library's implementation and says so.
"""

import ast
import builtins
import difflib
import dis
import functools
import getpass
import inspect
import os
import re
import sys
import textwrap
import traceback
from contextlib import contextmanager, suppress

import torch

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.comparison import plain
from cvdl.course.exercises.time_limit import TimeIsUp, time_limit
from cvdl.course.notebook.feedback import Feedback, cells_run, in_namespace, running_cell, say
from cvdl.errors import CourseError

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SIMILAR = 0.8  # from 0 to 1: how much the letters of an id must have in common with those of another that is suggested
SLOW = "Is there a loop that never ends, or a slow one over single numbers?"
SECONDS = 10  # after which one call of a student's function is stopped

_attempts = {}  # id -> Attempt, as the exercise cells were run
_scores = {}  # id -> the last Score
_hints = {}  # id -> how many hints were shown, the answer's code and the number of the cell at that time
_refused = {}  # id -> why @exercise refused the last version of its cell
_checking = None  # id of the exercise under judgement: all others are the library's meanwhile
_stood_in = set()  # ids of the student's answers for which the library stood in during that


class Attempt:
    """The function in the student's namespace: calls theirs, or the library's."""

    def __init__(self, spec, function):
        is_class = issubclass(type(function), type)
        if is_class or not callable(function):
            kind = "class" if is_class else type(function).__name__
            raise CourseError(
                f"@exercise({spec.id!r}) expects a function below it, and found {kind}. Write the line directly above "
                "`def`, and run the cell again."
            )
        with suppress(Exception):  # an object may have attributes of its own making
            functools.update_wrapper(self, function)
        name = vars(self).get("__name__")
        self.__name__ = name if isinstance(name, str) else spec.id.partition(".")[2]
        self.spec, self.function, self.source = spec, function, source_of(function)
        self.cell = len(cells_run())  # how many cells had been run, the one that defines it among them
        self.attempted = not unanswered(function)
        self.use_library = not self.attempted

    def __call__(self, *args, **kwargs):
        if _checking not in (None, self.spec.id):
            may_call(self.spec.id, _checking)
            if not self.use_library:
                _stood_in.add(self.spec.id)
            return self.spec.library(*args, **kwargs)
        if self.use_library:
            return self.spec.library(*args, **kwargs)
        way_out = f'This is your {self.spec.id}; use_library("{self.spec.id}") continues with cvdl\'s.'
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:
            if not _checking:
                error.add_note(way_out)
            raise
        if result is None and not _checking:
            raise CourseError(f"{self.spec.id} returned nothing: is its last line a `return`? {way_out}")
        return result


def may_call(id, checked):
    """Raises CallFailed where the answer to the exercise that is checked calls one that comes after it."""
    if not chapters.comes_before(id, checked):
        raise scoring.CallFailed(
            f"called {id}, which comes after {checked}",
            f"An answer may call the exercises before it, not those that build on it. Write {checked} without {id}.",
        )


def exercise(id=None, points=None):
    """Mark a function as the answer to exercise `id`.

    While its body is only a docstring and `...`, calls go to cvdl's own implementation.  Raises
    CourseError for an unknown id, or if `points` is not the number of points of the exercise.
    """
    if callable(id):
        raise CourseError(
            'The line @exercise needs the id of the exercise in brackets, as in @exercise("rnn.step"). Copy it from the '
            "heading of the exercise, and run the cell again."
        )
    spec = spec_of(id, "@exercise")
    if points not in (None, spec.points):
        _refused[id] = (
            f"{id} is worth {spec.points} points, not {points!r}: write @exercise({id!r}, points={spec.points})."
        )
        raise CourseError(_refused[id])

    def decorate(function):
        attempt = _attempts[id] = Attempt(spec, function)
        for known in (_scores, _refused):
            known.pop(id, None)
        if not attempt.attempted:
            say("open", f"{id}: not attempted yet — the cells below continue with cvdl's own implementation.")
        return attempt

    return decorate


def spec_of(id, call):
    """The Exercise that a student means: by its id, or by the function under its @exercise.

    call: what was called with it, as it is written.  Raises CourseError, with what to write instead.
    """
    if isinstance(id, Attempt):  # check(rnn_step) is as good as check("rnn.step")
        return id.spec
    if id is None:
        last = next(reversed(_attempts), "rnn.step")
        raise CourseError(
            f'{call} needs the id of the exercise in brackets, as in {call}("{last}"). Copy it from the heading of the '
            "exercise."
        )
    if callable(id):
        name = getattr(id, "__name__", "That function")
        raise CourseError(
            f'{name} has no line @exercise(…) above its `def`. Give the id of the exercise, as in {call}("rnn.step").'
        )
    try:
        return chapters.find(id)
    except CourseError:
        known = {i.casefold(): i for name in chapters.chapters() for i in chapters.chapter(name)}
        similar = difflib.get_close_matches(str(id)[:100].casefold(), known, n=3, cutoff=SIMILAR)
        near = [known[i] for i in similar]
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise CourseError(
            f"There is no exercise {id!r}.{meant} Copy the id from the heading of the exercise."
        ) from None


def unanswered(function):
    """Is the body only a docstring and `...`, or a dict whose values are all `...`?"""
    try:
        tree = ast.parse(textwrap.dedent(source_of(function)))
    except Exception:
        return False  # no source to read: it was written elsewhere, or is not a function
    definition = next((n for n in ast.walk(tree) if isinstance(n, FUNCTIONS)), None)
    return definition is not None and is_stub(definition.body)


def source_of(function):
    """The source of a function, or None: it was written elsewhere, or is not a function."""
    try:
        return inspect.getsource(function)
    except Exception:
        return None


def is_stub(body):
    def hole(node):
        return isinstance(node, ast.Constant) and node.value is ...

    def empty(statement):
        if isinstance(statement, ast.Return):
            value = statement.value
            return hole(value) or (isinstance(value, ast.Dict) and all(hole(v) for v in value.values))
        return isinstance(statement, ast.Expr) and (
            hole(statement.value)
            or (isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str))
        )

    return all(map(empty, body))


def check(id=None):
    """Judge the current answer to exercise `id` on all its cases, and say what is wrong with it.

    Returns an object that displays itself; under nbgrader's autograder, the number of points.
    """
    spec = spec_of(id, "check")
    id = spec.id
    attempt = _attempts.get(id)
    if attempt is None:
        result = Feedback(
            "open",
            f"{id}: no answer to check yet",
            [f'Run the exercise cell first, the one that starts with @exercise("{id}"), then this one again.'],
        )
    elif not attempt.attempted:
        result = Feedback(
            "open",
            f"{id}: not attempted yet — 0 of {spec.points} points",
            ["Replace the ... with your answer, run that cell, then this one again."],
        )
    else:
        result = judged(id, attempt.function, own_code=not attempt.use_library)
    if why := outdated(id, attempt):
        result.lines.insert(0, why)
        if id in _scores:
            result.headline += ", but for an older version"
            result.state = "open" if result.state == "right" else result.state
    if under_nbgrader():
        return _scores[id].earned if id in _scores else 0
    return result


def outdated(id, attempt):
    """Why the answer that can be checked is not the latest one, in a sentence or two, or None."""
    again = "Fix that, run the cell, then check again."
    if id in _refused:
        return f"Your last version of the cell was refused and has not been checked: {_refused[id]} {again}"
    name = attempt.__name__ if attempt else None
    marked = re.compile(rf"""^[ \t]*@(?:\w+\.)?exercise\(\s*(?:id\s*=\s*)?["']{re.escape(id)}["']""", re.M)
    defined = re.compile(rf"^[ \t]*(?:async )?def {re.escape(name)}\b", re.M) if name else marked
    for source in reversed(cells_run()[attempt.cell if attempt else 0 :]):
        has_mark = marked.search(source)
        if not has_mark and not defined.search(source):
            continue
        if error := syntax_error(source):
            return f"Python could not parse your last version of the cell, so it has not been checked: {error}. {again}"
        if has_mark:  # if it had run to its end, it would be the one that is checked
            return f"Your last version of the cell stopped with an error, so it has not been checked. {again}"
    present = in_namespace(name) if name else None
    if present is not None and present is not attempt:
        return (
            f"{name} was defined again without @exercise({id!r}) above it, and the new version has not been checked. Write "
            "that line above its `def`, run the cell, then check again."
        )
    return None


def syntax_error(source):
    """Python's message about a cell that it cannot parse, or None."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError as error:
        line = f", line {error.lineno}: {error.text.strip()}" if error.lineno and error.text else ""
        return f"{type(error).__name__}: {error.msg}{line}"
    except Exception:  # a null character, say
        return "it contains characters that Python does not allow"
    return None


def under_nbgrader():
    return os.environ.get("NBGRADER_EXECUTION") in ("autograde", "validate")


def judged(id, function, own_code=False):
    """Judge any function as the answer to exercise `id` -> Feedback with its cases, then one hint.

    own_code: is it this function that later cells call?  Under nbgrader, raises CourseFault where the course itself
    fails, which must not count as 0 points.
    """
    spec = chapters.find(id)
    _stood_in.clear()
    try:
        score = scoring.score(chapters.find(id), caller(id, function))
    except scoring.CourseFault as fault:
        _scores.pop(id, None)
        if under_nbgrader():
            raise
        return Feedback(
            "open",
            f"{id}: cannot be judged because of a fault in the course",
            [str(fault), "You did nothing wrong, and it costs you no points. Continue with the next exercise."],
        )
    if id in _attempts and function is _attempts[id].function:
        _scores[id] = score
    helped = with_library()
    if score.state == "right":
        return Feedback("right", f"{spec.id}: right — {score.earned} of {score.points} points", helped, _rows(score))
    hint, relation = score.advice
    lines = [f"Hint: {hint}", *filter(None, [relation]), *helped, f'More help: hint("{spec.id}").']
    if own_code:
        lines.append(f'The cells below use your version; use_library("{spec.id}") continues with cvdl\'s.')
    state = "partly" if score.earned else "wrong"
    return Feedback(state, f"{spec.id}: {score.state} — {score.earned} of {score.points} points", lines, _rows(score))


def with_library():
    """A line on answers of the student that are not right, and were replaced by the course's own; none if there are none."""
    names = [_attempts[id].__name__ for id in sorted(_stood_in) if not _is_right(id)]
    if not names:
        return []
    return [
        f"Judged with the course's {' and '.join(names)}; yours {'is' if len(names) == 1 else 'are'} not right yet."
    ]


def _is_right(id):
    """Is the student's present answer to an exercise right, whether it was checked before or not?"""
    if id not in _attempts:
        return True
    try:
        score = _scores.get(id) or scoring.score(chapters.find(id), caller(id, _attempts[id].function))
    except scoring.CourseFault:  # nobody knows
        return True
    return score.state == "right"


def _rows(score):
    rows, message = [], ""
    for case in score.cases:
        mark = "✓" if case.earned == case.points else "✗"
        same = rows and case.message and case.message == message
        message = case.message
        rows.append((f"{mark} {case.name}", f"{case.earned}/{case.points}", "the same" if same else message))
    return rows


def caller(id, function):
    """A student's function as the judge may call it: with a time limit, and with its errors explained to the student."""

    def call(*args, weights=None):
        global _checking
        first_gradient()
        before, _checking = _checking, id
        try:
            with unattended(), time_limit(SECONDS):
                try:
                    return plain(scoring.answer(function, args, weights))
                except TimeIsUp:
                    raise
                except BaseException as error:  # SystemExit among them
                    if issubclass(type(error), KeyboardInterrupt) and not _raised(error):
                        raise  # the user pressed stop
                    raise _failure(error, function) from None
        except TimeIsUp:
            raise scoring.CallStopped(
                f"stopped after {SECONDS} seconds",
                SLOW,
            ) from None
        finally:
            _checking = before

    return call


@contextmanager
def unattended():
    """Within this block input(), getpass() and breakpoint() fail: they would wait for somebody to type."""

    def ask(*_, **__):
        raise scoring.CallFailed(
            "asked for input from the keyboard",
            "An answer gets everything it needs as arguments. Remove input(), getpass() and breakpoint().",
        )

    places = (builtins, "input"), (getpass, "getpass"), (sys, "breakpointhook")
    before = [getattr(module, name) for module, name in places]
    try:
        for module, name in places:
            setattr(module, name, ask)
        yield
    finally:
        for (module, name), function in zip(places, before, strict=True):
            setattr(module, name, function)


def _raised(error):
    """Did a `raise` statement raise this exception, rather than a signal?"""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


@functools.cache
def first_gradient():
    """Compute a gradient once: what torch imports for the first one may take longer than the time limit."""
    scoring.answer(lambda x: x.sin(), (torch.ones(1),), torch.ones(1))


ADVICE = (  # (pattern of an error message, what to do about it); the first that matches counts
    (
        r"in-?place operation|modified by an inplace",
        "Writing into a tensor breaks backpropagation. Collect the parts in a list, then torch.stack.",
    ),
    (
        r"one element tensors can be converted|only integer tensors of a single element|sequence of tensors",
        "torch.tensor takes numbers. torch.stack turns a list of tensors into one tensor.",
    ),
    (
        r"same dtype|scalar type|data type|dtype of|not implemented for '(Long|Int|Byte|Bool|Char|Short)'|Integral",
        "Two types of numbers are mixed here, or whole numbers are used where floats are needed. Convert one of them with "
        ".float(), or to the type of another tensor x with .to(x.dtype).",
    ),
    (
        r"backward through the graph a second time|does not have a grad_fn|grad can be implicitly created",
        "Do not call .backward() or torch.autograd in your answer, unless the task asks for it: the derivatives are "
        "computed for you.",
    ),
    (
        r"requires grad|__array__|can't convert .* tensor to numpy",
        "Use tensors at every step: no .item(), .detach(), .numpy(), .tolist() or torch.no_grad().",
    ),
    (
        r"Boolean value of Tensor with more than one value",
        "`if`, `and`, `or` and `not` need a single truth value, but this tensor has several. Use torch.where, or &, | "
        "and ~ for each value.",
    ),
    (
        r"out of (range|bounds)",
        "Indices start at 0, so the last one is the size minus 1. Print the index and the shape.",
    ),
    (
        r"positional argument|unexpected keyword argument|multiple values for argument",
        "Leave the line with `def` as it was in the exercise: its arguments are given in that order. If the "
        "error is about a call to another function, look at its arguments.",
    ),
)


def _advice(error, text):
    """What to do about an exception, or "" where nothing specific is known."""
    if isinstance(error, NameError):
        return (
            "Python does not know that name. If it is meant as text, put it in quotes; if it is a package, import it."
        )
    if isinstance(error, RecursionError):
        return "The function calls itself endlessly. When should it stop?"
    return next((advice for words, advice in ADVICE if re.search(words, text)), "")


def _failure(error, function):
    """What a call raised -> the CallFailed that tells the student: "RuntimeError: … — line 4 of your cell: h = V @ x".

    The exception may be of a class that the student wrote, so that asking it anything may raise another.
    """
    try:
        if type(error) in (scoring.CallFailed, scoring.CallStopped):
            return type(error)(str(error), error.hint)
        text = _text(error)
        told = f"{type(error).__name__}: {textwrap.shorten(text, 200, placeholder=' …')}"
        file = _file(function)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        where = f" — line {frames[-1].lineno} of your cell: {frames[-1].line}" if frames else ""
        return scoring.CallFailed(told + where, _advice(error, text))
    except Exception:
        return scoring.CallFailed("raised an exception that cannot be shown")


def _text(error):
    """The message of an exception; asking for it may raise another."""
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _file(function):
    """The file of a function's code, also under functools.cache or partial and of an object with __call__; else None."""
    try:
        function = inspect.unwrap(function)
        while isinstance(function, functools.partial):
            function = inspect.unwrap(function.func)
        if not hasattr(function, "__code__"):  # a bound method has that of its function
            function = type(function).__call__
        return function.__code__.co_filename
    except Exception:
        return None


def hint(id=None):
    """Show a hint for exercise `id`: the next of three if the answer has changed, or if only this cell was run again.

    Running the complete notebook again therefore shows the same hint.  (The hint on a known mistake is on the card of
    `check`.)
    """
    spec = spec_of(id, "hint")
    id, steps = spec.id, spec.hints
    shown, code, cell = _hints.get(id, (0, None, None))
    present = getattr(getattr(_attempts.get(id), "function", None), "__code__", None)
    now = running_cell()
    if not shown or now is None or now <= cell + 1 or present != code:
        shown = shown % len(steps) + 1
    _hints[id] = shown, present, now
    last = " That was the last one; the next call starts again."
    more = " For the next one, call it again." if shown < len(steps) else last
    return Feedback("open", f"{id}: hint {shown} of {len(steps)}", [steps[shown - 1] + more])


def use_library(id=None):
    """From here on, calls of exercise `id` go to cvdl's implementation; run its cell again to undo it."""
    spec = spec_of(id, "use_library")
    id = spec.id
    if id not in _attempts:
        raise CourseError(f'Run the exercise cell first, the one that starts with @exercise("{id}").')
    _attempts[id].use_library = True
    say(
        "open",
        f"{id}: the cells below continue with cvdl's own implementation. Points, up to {spec.points}, are still given for yours.",
    )


def progress():
    """A table of all exercises of the notebook(s) now at work, with state and points."""
    begun = {id.partition(".")[0] for id in _attempts}
    if not begun:
        return Feedback("open", "No exercise was run yet", ["Run an exercise cell, then progress() again."])
    rows, earned, total = [], 0, 0
    for name in sorted(begun, key=list(chapters.chapters()).index):
        for spec in chapters.chapter(name).values():
            points = _scores[spec.id].earned if spec.id in _scores else 0
            rows.append((spec.id, f"{points}/{spec.points}", _state(spec.id)))
            earned, total = earned + points, total + spec.points
    return Feedback("right" if earned == total else "open", f"{earned} of {total} points", rows=rows)


def _state(id):
    if id in _scores:
        return _scores[id].state
    attempt = _attempts.get(id)
    if attempt is None:
        return "cell not run yet"
    return "answered, not checked" if attempt.attempted else "not attempted"
