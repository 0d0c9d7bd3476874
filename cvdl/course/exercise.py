"""What a student calls: `exercise`, `check`, `hint`, `use_library`, `progress`.

An exercise never blocks: unanswered, it hands over to the library's implementation and says so.
"""

import ast
import functools
import inspect
import os
import textwrap
import traceback
from contextlib import suppress

import torch

from cvdl.course import checks, judge
from cvdl.course.cards import Card, in_namespace, running_cell, say
from cvdl.course.limit import TimeIsUp, time_limit
from cvdl.errors import CourseError

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SECONDS = 10  # after which one call of a student's function is stopped

_attempts = {}  # id -> Attempt, as the exercise cells were run
_scores = {}  # id -> the last Score
_hints = {}  # id -> how many hints were shown, the answer's code and the number of the cell at that time
_checking = None  # id of the exercise under judgement: all others are the library's meanwhile


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
        self.spec, self.function = spec, function
        self.attempted = not unanswered(function)
        self.use_library = not self.attempted

    def __call__(self, *args, **kwargs):
        if self.use_library or _checking not in (None, self.spec.id):
            return self.spec.library(*args, **kwargs)
        way_out = f'This is your {self.spec.id}; use_library("{self.spec.id}") goes on with cvdl\'s.'
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:
            if not _checking:
                error.add_note(way_out)
            raise
        if result is None and not _checking:
            raise CourseError(f"{self.spec.id} returned nothing: is its last line a `return`? {way_out}")
        return result


def exercise(id, points=None):
    """Mark a function as the answer to exercise `id`.

    While its body is only a docstring and `...`, calls go to cvdl's own implementation.  Raises
    CourseError for an unknown id, or if `points` is not what the exercise counts.
    """
    spec = checks.find(id)
    if points not in (None, spec.points):
        raise CourseError(
            f"{id} counts {spec.points} points, not {points}: write @exercise({id!r}, points={spec.points})."
        )

    def decorate(function):
        attempt = _attempts[id] = Attempt(spec, function)
        _scores.pop(id, None)
        if not attempt.attempted:
            say("open", f"{id}: not attempted yet — the cells below go on with cvdl's own implementation.")
        return attempt

    return decorate


def unanswered(function):
    """Is the body only a docstring and `...`, or a dict whose values are all `...`?"""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except Exception:
        return False  # no source to read: it was written elsewhere, or is not a function
    definition = next((n for n in ast.walk(tree) if isinstance(n, FUNCTIONS)), None)
    return definition is not None and is_stub(definition.body)


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


def check(id):
    """Judge the present answer to exercise `id` on all its cases, and say what is wrong with it.

    Returns an object that shows itself; under nbgrader's autograder, the number of points.
    """
    id = id.spec.id if isinstance(id, Attempt) else id  # check(rnn_step) is as good as check("rnn.step")
    spec = checks.find(id)
    attempt = _attempts.get(id)
    if attempt is None:
        result = Card(
            "open",
            f"{id}: no answer to check yet",
            [f'Run the exercise cell first, the one that starts with @exercise("{id}"), then this one again.'],
        )
    elif not attempt.attempted:
        result = Card(
            "open",
            f"{id}: not attempted yet — 0 of {spec.points} points",
            ["Replace the ... with your answer, run that cell, then this one again."],
        )
    else:
        result = judged(id, attempt.function, own_code=not attempt.use_library)
        present = in_namespace(attempt.__name__)
        if present is not None and present is not attempt:
            result.lines.append(
                f"Note: {attempt.__name__} was defined again without @exercise({id!r}) above it, and that one is not "
                f"what was checked."
            )
    if under_nbgrader():
        return _scores[id].earned if id in _scores else 0
    return result


def under_nbgrader():
    return os.environ.get("NBGRADER_EXECUTION") in ("autograde", "validate")


def judged(id, function, own_code=False):
    """Judge any function as the answer to exercise `id` -> Card with its cases, then one hint.

    own_code: is it this function that later cells call?  Under nbgrader, raises CourseFault where the course itself
    fails, which must not count as 0 points.
    """
    spec = checks.find(id)
    try:
        score = judge.score(id, caller(id, function))
    except judge.CourseFault as fault:
        _scores.pop(id, None)
        if under_nbgrader():
            raise
        return Card(
            "open",
            f"{id}: cannot be judged, because of a fault of the course",
            [str(fault), "You did nothing wrong, and it costs you no points. Continue with the next exercise."],
        )
    if id in _attempts and function is _attempts[id].function:
        _scores[id] = score
    if score.state == "right":
        return Card("right", f"{spec.id}: right — {score.earned} of {score.points} points", rows=_rows(score))
    lines = [f"Hint: {score.hint}", f'More help: hint("{spec.id}").']
    if own_code:
        lines.append(f'The cells below use your version; use_library("{spec.id}") goes on with cvdl\'s.')
    state = "partly" if score.earned else "wrong"
    return Card(state, f"{spec.id}: {score.state} — {score.earned} of {score.points} points", lines, _rows(score))


def _rows(score):
    rows, message = [], ""
    for case in score.cases:
        mark = "✓" if case.earned == case.points else "✗"
        same = rows and case.message and case.message == message
        message = case.message
        rows.append((f"{mark} {case.name}", f"{case.earned}/{case.points}", "the same" if same else message))
    return rows


def caller(id, function):
    """A student's function as the judge may call it: timed, and its mistakes told in their terms."""

    def call(*args, weights=None):
        global _checking
        first_gradient()
        before, _checking = _checking, id
        try:
            with time_limit(SECONDS):
                return judge.answer(function, args, weights)
        except TimeIsUp:
            raise judge.CallStopped(
                f"stopped after {SECONDS} seconds",
                "Is there a loop that never ends, or a slow one over single numbers?",
            ) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit among them
            if type(error) in (judge.CallFailed, judge.CallStopped):
                raise
            text = _text(error)
            raise judge.CallFailed(_explain(error, text, function), _advice(error, text)) from None
        finally:
            _checking = before

    return call


@functools.cache
def first_gradient():
    """What torch imports at its first gradient may take longer than a student has."""
    judge.answer(lambda x: x.sin(), (torch.ones(1),), torch.ones(1))


def _advice(error, text):
    if isinstance(error, NameError):
        return (
            "Python does not know that name. If it is meant as text, put it in quotes; if it is a package, import it."
        )
    if "inplace" in text:
        return "Writing into a tensor breaks backpropagation. Collect the parts in a list, then torch.stack."
    if "shape" in text or "size" in text:
        return "Print the shapes just before that line and compare them with the docstring."
    return "Mend the line that is named above first; the cases come after."


def _text(error):
    """What an exception says, which may be an exception again."""
    try:
        return str(error)
    except Exception:
        return "(its message cannot be shown)"


def _explain(error, text, function):
    """«RuntimeError: … — line 4 of your cell: h = V @ x»"""
    text = f"{type(error).__name__}: {textwrap.shorten(text, 200, placeholder=' …')}"
    file = _file(function)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{text} — line {frames[-1].lineno} of your cell: {frames[-1].line}" if frames else text


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


def hint(id):
    """Show a hint for exercise `id`: the next of three if the answer has changed since, or if only this was run again.

    Running the complete notebook again therefore shows the same hint.  (The one on a known mistake is on the card of
    `check`.)
    """
    steps = checks.find(id).hints
    shown, code, cell = _hints.get(id, (0, None, None))
    present = getattr(getattr(_attempts.get(id), "function", None), "__code__", None)
    now = running_cell()
    if not shown or now is None or now <= cell + 1 or present != code:
        shown = shown % len(steps) + 1
    _hints[id] = shown, present, now
    last = " That was the last one; the next call begins again."
    more = " For the next one, call it again." if shown < len(steps) else last
    return Card("open", f"{id}: hint {shown} of {len(steps)}", [steps[shown - 1] + more])


def use_library(id):
    """From here on, calls of exercise `id` go to cvdl's implementation; run its cell again to undo it."""
    spec = checks.find(id)
    if id not in _attempts:
        raise CourseError(f'Run the exercise cell first, the one that starts with @exercise("{id}").')
    _attempts[id].use_library = True
    say(
        "open",
        f"{id}: the cells below go on with cvdl's own implementation. Points, up to {spec.points}, are still given for yours.",
    )


def progress():
    """A table of all exercises of the notebook(s) now at work, with state and points."""
    begun = {id.partition(".")[0] for id in _attempts}
    if not begun:
        return Card("open", "No exercise was run yet", ["Run an exercise cell, then progress() again."])
    rows, earned, total = [], 0, 0
    for name in sorted(begun, key=list(checks.chapters()).index):
        for spec in checks.chapter(name).values():
            points = _scores[spec.id].earned if spec.id in _scores else 0
            rows.append((spec.id, f"{points}/{spec.points}", _state(spec.id)))
            earned, total = earned + points, total + spec.points
    return Card("right" if earned == total else "open", f"{earned} of {total} points", rows=rows)


def _state(id):
    if id in _scores:
        return _scores[id].state
    attempt = _attempts.get(id)
    if attempt is None:
        return "cell not run yet"
    return "answered, not checked" if attempt.attempted else "not attempted"
