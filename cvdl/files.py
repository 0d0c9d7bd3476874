"""Paths that a user types, and names for files that are written."""

import hashlib
from pathlib import Path

from cvdl.errors import InvalidInput

LONGEST = 255  # bytes in a file name, on the usual file systems


def expanded(path):
    """A path with ~ replaced by the home folder; unchanged if there is no such folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def is_file(path):
    """Whether there is such a file.  False, and not an error, for a path that no file can have: too long, or with NUL."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path):
    """Whether there is such a folder.  False, and not an error, for a path that no folder can have."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def read_text(path):
    """The text of a list or table: UTF-8, with or without a byte order mark.  Raises InvalidInput for other bytes."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path} is not a text file in UTF-8: byte {error.start} is {error.object[error.start]:#04x}. Download it "
            "again, or save it as UTF-8."
        ) from None


class Names:
    """File names for named things, such as pairs: each name gets its own file.

    >>> names = Names(".png")
    >>> names.of("x/y_a"), names.of("x_y/a"), names.of("x/y_a")
    ('x_y_a.png', 'x_y_a-2.png', 'x_y_a.png')

    Slashes become underscores; a name that is too long for a file is truncated and ends in part of its hash.
    """

    def __init__(self, ending):
        self.ending, self.files = ending, {}

    def of(self, name):
        """The file for a name: the same one if asked again."""
        if name not in self.files:
            taken = {file.casefold() for file in self.files.values()}
            number, file = 1, self._fit(name)
            while file.casefold() in taken:
                number += 1
                file = self._fit(name, f"-{number}")
            self.files[name] = file
        return self.files[name]

    def _fit(self, name, suffix=""):
        stem = "".join("_" if c in '/\\:*?"<>|' or ord(c) < 32 else c for c in name.lstrip("/")) or "_"
        suffix += self.ending
        data = stem.encode("utf-8", "replace")
        if len(data) + len(suffix) > LONGEST:
            suffix = f"-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:12]}{suffix}"
            stem = data[: LONGEST - len(suffix)].decode("utf-8", "ignore")
        return stem + suffix
