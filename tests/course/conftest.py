"""What the tests of grading share."""

import pytest

from cvdl.course.grading.sandbox import backends
from cvdl.errors import CourseError


@pytest.fixture(scope="module")
def backend():
    """The jail of this machine; without one the test is skipped, with what to install."""
    try:
        return backends.choose("bubblewrap")
    except CourseError as error:
        pytest.skip(str(error))
