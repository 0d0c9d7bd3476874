"""Which notebook of the course some bytes are: the one whose exercises are defined most in them."""

import re
from collections import Counter
from contextlib import suppress
from functools import cache

from cvdl.course.notebook.cells import code_cells
from cvdl.errors import CourseError
from cvdl.settings import ROOT

ID = re.compile(rb"exercise\(\s*+(?:id\s*+=\s*+)?\\?[\"'](\w+)\.\w+")
CALLED = re.compile(rb"[\"'](\w+)\.\w+\\?[\"']")  # any text that may be an exercise's id


@cache
def stems():
    """{chapter: stem of its notebook}, read off the course's own notebooks."""
    return {
        chapter: path.stem
        for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
        if (chapter := most_common(path.read_bytes()))
    }


def stem_of(data):
    """Which notebook these bytes are, or None."""
    return stems().get(chapter_of(data))


def chapter_of(data):
    """The chapter whose exercises are defined most in these bytes, or None."""
    with suppress(CourseError):
        data = "\n".join(code_cells(data)).encode("utf-8", "replace")  # outputs may quote exercises, too
    chapter = most_common(data)
    if chapter is None:  # `exercise` goes by another name
        called = Counter(m.decode("ascii", "replace") for m in CALLED.findall(data))
        chapter = max(stems(), key=lambda c: called[c], default=None)
        chapter = chapter if called[chapter] else None
    return chapter


def most_common(data):
    found = Counter(m.decode("ascii", "replace") for m in ID.findall(data))
    return found.most_common(1)[0][0] if found else None


def named(name):
    """The notebook that a file's name mentions, for a file that cannot be read."""
    return next((s for s in stems().values() if s in name), "unknown")
