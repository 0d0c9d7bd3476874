"""Fetch a dataset that its owner offers through a plain link: `cvdl data get NAME`.

pooch downloads it and compares checksums.  If the owner publishes none, that of the first download is recorded next
to it, and later ones are compared with it.
"""

import shutil
import sys
from pathlib import Path
from traceback import clear_frames
from zipfile import BadZipFile

from cvdl.data.registry import get, sets_folder
from cvdl.errors import CourseError, MissingDependency, WriteFailed


def fetch(entry, root=None):
    """Download a set's archives and unpack them into `root`/folder; return that folder.

    Raises CourseError where the owner does not allow it, a package is missing, the network fails, or a file is damaged.
    """
    root = Path(root) if root else sets_folder()
    if not entry.files:
        raise CourseError(
            f"The course does not fetch {entry.title} by itself: its owner wants you to read the terms, or to register. "
            f"{get(entry, root)}"
        )
    try:
        import pooch
        from requests import RequestException
    except ImportError:
        raise MissingDependency(
            f'pooch, which fetches sets, is not installed. Add it with `pip install -e ".[data]"`. {get(entry, root)}'
        ) from None
    pooch.get_logger().setLevel("WARNING")
    for file in entry.files:
        name = file.url.rsplit("/", 1)[1]
        archive = root / "downloads" / name
        record = archive.with_name(f"{name}.sha256")
        wanted = file.sha256 or (record.read_text(encoding="utf-8").split()[0] if record.is_file() else None)
        try:
            pooch.retrieve(file.url, wanted, name, archive.parent, progressbar=True)
        except OSError as error:  # which the errors of requests are, too
            clear_frames(error.__traceback__)  # closes the progress bar, so that the message begins a line
            if isinstance(error, RequestException):
                raise CourseError(
                    f"Fetching {file.url} failed: {_reason(error)}. Repeat the command. Or fetch it with a browser and put "
                    f"it into {archive.parent}."
                ) from None
            raise WriteFailed(
                f"{archive.parent} cannot be written to: {error}. Set CVDL_SETS to a folder that can."
            ) from None
        except ValueError:
            trust = f"If you trust it, remove {record} and repeat." if record.is_file() else f"Look at {entry.page}."
            raise CourseError(
                f"{file.url} is not the file that was expected: its SHA-256 is not {wanted}. Its owner replaced it, or it "
                f"was altered on its way. {trust}"
            ) from None
        try:
            shutil.unpack_archive(archive, root / entry.folder)
        except (shutil.ReadError, OSError, ValueError, EOFError, BadZipFile) as error:
            raise CourseError(
                f"{archive} cannot be unpacked into {root / entry.folder}: {error}. Remove it and repeat."
            ) from None
        if not wanted:  # only now: what cannot be unpacked may be a log-in page of the network
            record.write_text(f"{pooch.file_hash(str(archive))}  {name}\n", encoding="utf-8")
            print(
                f"Its owner publishes no checksum of {name}; written down for the next time: {record}", file=sys.stderr
            )
        archive.unlink()
    return root / entry.folder


def _reason(error):
    """What went wrong first: requests wraps, for example, a ConnectionRefusedError several times."""
    while error.__context__:
        error = error.__context__
    return error
