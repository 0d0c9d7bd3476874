"""The course's exception as a reader sees it."""

import pickle

import pytest

from cvdl.course.grading.sandbox import backends
from cvdl.errors import CourseError


@pytest.mark.parametrize(
    "message, shown",
    [
        ("It cannot be read: no such file.. Fetch it.", "It cannot be read: no such file. Fetch it."),
        ("Is podman whole?.\n  It takes podman", "Is podman whole?\n  It takes podman"),
        ("The end ('x')..", "The end ('x')."),
        ("Go on ... or cd ../x, and then cd .. again …", "Go on ... or cd ../x, and then cd .. again …"),
        ("Wait... then a.b..c", "Wait... then a.b..c"),
    ],
)
def test_a_quoted_error_that_ends_with_a_full_stop_does_not_end_with_two(message, shown):
    assert str(CourseError(message)) == shown
    assert str(pickle.loads(pickle.dumps(CourseError(message)))) == shown


def test_a_back_end_that_explains_itself_in_sentences(monkeypatch):
    monkeypatch.setattr(backends, "faults", lambda backend: ["It is broken. Is it whole?"])
    with pytest.raises(CourseError) as error:
        backends.choose("docker")
    assert "Is it whole?\n" in str(error.value)
