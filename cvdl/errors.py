"""The exceptions whose messages the course shows to a reader.

Every message is one paragraph: what was expected, what was found, and what to do.  `except CourseError` catches all of
them; the subclasses distinguish kinds of failure, and each is also the matching built-in exception.
"""

import difflib
import re
import sys

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
    """Something that the reader should know, although nothing stops.  `cvdl` on the command line prints it."""


# Errors of libraries that mean that a file, a size or a machine is unsuitable, not that our code is wrong: by module,
# which is not imported for this.  RuntimeError is not among them: it may be our own mistake in handling tensors.
LIBRARY_ERRORS = {
    "PIL.Image": ("DecompressionBombError",),
    "cv2": ("error",),
    "av.error": ("FFmpegError",),
    "torch": ("OutOfMemoryError", "AcceleratorError"),
    "safetensors": ("SafetensorError",),
    "zipfile": ("BadZipFile",),
    "zlib": ("error",),
}
OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
)  # from torch; on a CPU this is a RuntimeError


def library_errors():
    """The types of errors that are shown in one paragraph: those of LIBRARY_ERRORS whose module is loaded, the operating
    system's, a lack of memory, text that is not UTF-8, and CourseError itself."""
    kinds = [CourseError, OSError, MemoryError, UnicodeError]
    for module, names in LIBRARY_ERRORS.items():
        if module in sys.modules:
            kinds += [getattr(sys.modules[module], name) for name in names if hasattr(sys.modules[module], name)]
    return tuple(kinds)


def is_out_of_memory(error):
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def told(error):
    """An error as one paragraph: where it comes from, its message, and the file concerned, if known."""
    if isinstance(error, CourseError):
        return str(error)
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.filename is not None:
        files = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{files} cannot be used: {error.strerror or words}. Check the path and its permissions."
    if isinstance(error, MemoryError) or is_out_of_memory(error) or type(error).__name__ == "OutOfMemoryError":
        return f"There is not enough memory: {words[:300]}. Use smaller images, fewer at a time, or another machine."
    if isinstance(error, OSError) and type(error).__module__ == "builtins":
        return f"The operating system reported an error: {words[:300]}."
    library = type(error).__module__.partition(".")[0]
    return f"{'Python' if library == 'builtins' else library} cannot handle this: {words[:300]}."


def nearest(name, names):
    """A sentence, with a leading space, that suggests the most similar of the names; empty if none is similar.

    >>> nearest("sintel", ["sintel-clean", "kitti2015"])
    ' Did you mean sintel-clean?'
    """
    name = str(name).casefold()
    similar = [each for each in names if name and each.startswith(name)] or difflib.get_close_matches(
        name, names, 3, 0.6
    )
    return f" Did you mean {' or '.join(similar[:3])}?" if similar else ""
