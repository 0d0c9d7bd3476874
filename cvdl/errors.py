"""The exceptions whose messages the course shows to a reader.

Every message is one paragraph: what was expected, what was found, and what to do.  `except CourseError` catches all of
them; the subclasses distinguish kinds of failure, and each is also the matching built-in exception.
"""

import difflib
import re

# Doubled punctuation at the end of a sentence, as when "…: {error}." quotes an error that already ends with a mark.
TWO_ENDS = re.compile(r"(?<=[\w)\]'\"])([.!?])\.(?=\s|$)")


class CourseError(Exception):
    """Something went wrong that the reader can fix.  The base class of all the others.

    In a notebook IPython calls `_render_traceback_` to show an exception; ours shows the message without a traceback.
    """

    def __init__(self, message=""):
        super().__init__(TWO_ENDS.sub(r"\1", str(message)))

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]


class InvalidInput(CourseError, ValueError):
    """An argument, or the content of a file, is not valid."""


class NotFinite(InvalidInput):
    """Values are NaN or infinite where finite numbers are needed.  During training, this means that it diverged."""


class MissingDependency(CourseError, ImportError):
    """A required package is not installed."""


class DataNotFound(CourseError, FileNotFoundError):
    """A required file or folder does not exist."""


class TrainingDiverged(CourseError, RuntimeError):
    """The loss or the weights became NaN or infinite."""


class WriteFailed(CourseError, OSError):
    """A file could not be written: for example, the disk is full or the folder is read-only."""


class CourseWarning(UserWarning):
    """Something that the reader should know, although it stops nothing.  `cvdl` on the command line prints it."""


def nearest(name, names):
    """A sentence, with a blank in front, that suggests the most similar of the names; empty if none is similar.

    >>> nearest("sintel", ["sintel-clean", "kitti2015"])
    ' Did you mean sintel-clean?'
    """
    name = str(name).casefold()
    similar = [each for each in names if name and each.startswith(name)] or difflib.get_close_matches(
        name, names, 3, 0.6
    )
    return f" Did you mean {' or '.join(similar[:3])}?" if similar else ""
