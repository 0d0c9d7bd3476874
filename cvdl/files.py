"""Paths that a user types, files that are written completely or not at all, and names for them."""

import hashlib
import json
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from cvdl.errors import InvalidInput, WriteFailed

LONGEST = 255  # bytes in a file name, on the usual file systems
MAKE_ROOM = (
    "Is the disk full? What was saved before is whole: make room and repeat the command, a training with --resume."
)


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


@contextmanager
def replacing(path, advice=MAKE_ROOM):
    """A path to write to, moved to `path` when all is written.  A failure becomes a WriteFailed, ending with `advice`."""
    path = Path(path)
    beside = path.with_name(f".{path.name}.part")  # what a kill leaves of it is written over next time
    try:
        yield beside
        beside.replace(path)
    # A full disk reaches us as OSError, out of torch.save as RuntimeError, and out of safetensors as its own.
    except (OSError, RuntimeError, SafetensorError) as error:
        raise WriteFailed(f"{path} could not be written ({error}). {advice}") from error
    finally:
        with suppress(OSError):  # it was moved, or there is not even a folder for it
            beside.unlink()


def write_json(path, content):
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path):
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is damaged: {error}. Fetch it again, or delete it and repeat the stage.") from error


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
