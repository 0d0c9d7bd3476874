"""Paths that users type, and names of files that are written."""

import doctest

import pytest

from cvdl import errors, files
from cvdl.errors import CourseError, nearest


def test_examples():
    for module in (files, errors):
        assert doctest.testmod(module).failed == 0 and doctest.testmod(module).attempted > 0


def test_every_name_gets_a_file_of_its_own():
    names = files.Names(".flo")
    asked = [
        "x/y_a",
        "x_y/a",
        "X_Y_A",
        "a:b",
        "a?b",
        "",
        "/",
        "ä" * 300,
        "ä" * 301,
        "a\0b",
        "\udce4",
        "/abs/x",
        "n" * 251,
    ]
    given = [names.of(name) for name in asked]
    assert len({name.casefold() for name in given}) == len(asked) and given == [names.of(name) for name in asked]
    for name in given:
        assert (
            name.endswith(".flo")
            and len(name.encode("utf-8", "replace")) <= 255
            and not set(name) & set('/\\:*?"<>|\0')
        )
    assert names.of("n" * 251) == "n" * 251 + ".flo"


def test_suggestions():
    assert nearest("sintel", ["kitti", "sintel-clean", "sintel-final"]) == " Did you mean sintel-clean or sintel-final?"
    assert nearest("kiti2015", ["kitti2015", "hd1k"]) == " Did you mean kitti2015?"
    assert nearest("", ["a"]) == nearest("xyz", ["kitti2015"]) == ""


def test_text_with_a_mark_or_of_another_encoding(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone")
    assert files.read_text(path) == "one"
    path.write_bytes(b"one\xa0two")
    with pytest.raises(CourseError, match=r"a\.txt is not a text file in UTF-8: byte 3 is 0xa0"):
        files.read_text(path)
