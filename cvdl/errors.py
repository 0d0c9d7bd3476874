"""The one exception with which the course speaks to a reader."""


class CourseError(ValueError):
    """A mistake in the use of the course, told in one paragraph that says what to do.

    In a notebook IPython asks an exception for `_render_traceback_`; ours is the paragraph alone.
    """

    def _render_traceback_(self):
        return [f"{type(self).__name__}: {self}"]
