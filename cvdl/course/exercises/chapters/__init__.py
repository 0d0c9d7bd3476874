"""What the judge knows of each notebook's exercises: one module each, named like its exercises' prefix."""

import difflib
import pkgutil
from functools import cache
from importlib import import_module

from cvdl.errors import CourseError

known = None  # {chapter: {id: Exercise}}, in place of the modules, in a sandbox that does not have them


def chapters():
    """Names of the modules, e.g. ["rnn", "start"]."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__)) if known is None else sorted(known)


def chapter(name):
    """The exercises of one notebook, in its order: {id: Exercise}."""
    return _chapter(name) if known is None else known[name]


@cache
def _chapter(name):
    return {e.id: e for e in import_module(f"{__name__}.{name}").EXERCISES}


def comes_before(id, other):
    """Does exercise `id` come before exercise `other` in the same notebook, so that an answer to the other may call it?"""
    order = list(chapter(other.partition(".")[0]))
    return id in order and order.index(id) < order.index(other)


def find(id):
    """The Exercise with this id.  Raises CourseError, with the nearest names, if there is none."""
    prefix = str(id).partition(".")[0]
    if prefix in chapters() and id in chapter(prefix):
        return chapter(prefix)[id]
    known = [i for name in chapters() for i in chapter(name)]
    near = difflib.get_close_matches(str(id), known, n=3, cutoff=0.4) or known
    raise CourseError(
        f"There is no exercise {id!r}. Did you mean {' or '.join(near)}? Copy the id from the exercise's heading."
    )
