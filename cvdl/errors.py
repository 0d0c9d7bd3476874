"""The exceptions with which the course speaks to a reader.

Every message is one paragraph: what was expected, what came, and what to do.  `CourseError` catches all of them; the
classes below say what kind of failure it is, and each is also the built-in exception of that kind.
"""

import re

# Two marks at the end of a sentence, as where "…: {error}." quotes an error that ends with one of its own.
TWO_ENDS = re.compile(r"(?<=[\w)\]'\"])([.!?])\.(?=\s|$)")


class CourseError(Exception):
    """Something went wrong that the reader can put right.  The base of all others.

    In a notebook IPython asks an exception for `_render_traceback_`; ours is the paragraph alone.
    """

    def __init__(self, message=""):
        super().__init__(TWO_ENDS.sub(r"\1", str(message)))

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


class InvalidInput(CourseError, ValueError):
    """An argument, or the content of a file, is not what it should be."""


class NotFinite(InvalidInput):
    """Values are NaN or infinite where numbers are needed.  While training, this means that the run diverged."""


class MissingDependency(CourseError, ImportError):
    """A package that is needed here is not installed."""


class DataNotFound(CourseError, FileNotFoundError):
    """A file or folder that is needed is not there."""


class TrainingDiverged(CourseError, RuntimeError):
    """The loss or the weights became NaN or infinite."""


class WriteFailed(CourseError, OSError):
    """A file could not be written: the disk is full, or the folder does not allow it."""
