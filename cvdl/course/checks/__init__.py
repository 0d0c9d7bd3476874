"""What the judge knows of each notebook's exercises: one module each, named like its exercises' prefix."""

import difflib
import pkgutil
from functools import cache
from importlib import import_module

from cvdl.errors import CourseError


def chapters():
    """Names of the modules, e.g. ["rnn", "start"]."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


@cache
def chapter(name):
    """The exercises of one notebook, in its order: {id: Exercise}."""
    return {e.id: e for e in import_module(f"{__name__}.{name}").EXERCISES}


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
