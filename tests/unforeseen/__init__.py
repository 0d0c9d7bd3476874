"""Wrong answers of kinds that the exercises do not list among their known mistakes: one module for each chapter.

They measure what `check` tells a student about a mistake that nobody foresaw. `python -m tests.unforeseen` judges all of
them. An answer that becomes a known mistake of its exercise belongs in `tests/answers`, and another one here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc

from cvdl.course.exercises import chapters as checks


@dataclass(frozen=True)
class Answer:
    """A wrong answer to an exercise; `what` says in one line what is wrong with it."""

    exercise: str
    name: str
    what: str
    function: Callable


class Collection(list):
    """The answers of a chapter, in the order in which `add` and `choose` were called."""

    def add(self, exercise, name):
        """Decorate a function: it is a wrong answer, and its docstring says what is wrong with it."""

        def decorate(function):
            what = cleandoc(function.__doc__)
            function.__doc__ = None  # a student's function has another one
            self.append(Answer(exercise, name, what, function))
            return function

        return decorate

    def choose(self, exercise, name, what, right, changes):
        """A wrong dict of answers: `right()`, with `changes` to some of its entries."""
        assert changes.keys() <= right().keys()
        self.fill(exercise, name, what, right() | changes)

    def fill(self, exercise, name, what, value):
        """A wrong answer that is `value`, whatever it is."""
        self.append(Answer(exercise, name, what, lambda: value))


def answers(chapters=None):
    """All answers of these chapters, of all by default: a list of Answer."""
    return [a for name in chapters or checks.chapters() for a in import_module(f"{__name__}.{name}").WRONG]
