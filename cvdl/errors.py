"""The one exception with which the course speaks to a reader."""

import re

# Two marks at the end of a sentence, as where "…: {error}." quotes an error that ends with one of its own.
TWO_ENDS = re.compile(r"(?<=[\w)\]'\"])([.!?])\.(?=\s|$)")


class CourseError(ValueError):
    """A mistake in the use of the course, told in one paragraph that says what to do.

    In a notebook IPython asks an exception for `_render_traceback_`; ours is the paragraph alone.
    """

    def __init__(self, message=""):
        super().__init__(TWO_ENDS.sub(r"\1", str(message)))

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]
