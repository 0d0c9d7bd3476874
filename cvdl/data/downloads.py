"""Fetch a set whose owner gives it by a plain link: `cvdl data get NAME`.

A broken download goes on where it stopped.  pooch compares checksums.  Where the owner publishes none, that of the
first download is written down beside it, and later ones are compared with it.
"""

import shutil
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from zipfile import BadZipFile

from tqdm import tqdm

from cvdl.data.registry import get, sets_folder
from cvdl.errors import CourseError, MissingDependency, WriteFailed

BLOCK = 1 << 16
PATIENCE = 30  # seconds without a byte


def fetch(entry, root=None):
    """Download a set's archives and unpack them into `root`/folder; return that folder.

    Raises CourseError where the owner does not allow it, a package is missing, the net fails, or a file is damaged.
    """
    root = Path(root) if root else sets_folder()
    if not entry.files:
        raise CourseError(
            f"The course does not fetch {entry.title} by itself: its owner wants you to read the terms, or to register. "
            f"{get(entry, root)}"
        )
    try:
        import pooch
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
            pooch.retrieve(file.url, wanted, name, archive.parent, downloader=download)
        except CourseError:
            raise
        except ValueError:
            trust = f"If you trust it, remove {record} and repeat." if record.is_file() else f"Look at {entry.page}."
            raise CourseError(
                f"{file.url} is not the file that was expected: its SHA-256 is not {wanted}. Its owner replaced it, or it "
                f"was altered on its way. {trust}"
            ) from None
        except OSError as error:
            raise WriteFailed(
                f"{archive.parent} cannot be written to: {error}. Set CVDL_SETS to a folder that can."
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


def download(url, output_file, _pooch):
    """Fetch url into output_file, with a bar; go on with what an earlier try has left.  A downloader for pooch.

    What came so far is NAME.part beside output_file, and NAME.part.tag names the version it belongs to: if the owner has
    replaced the file since then, it begins anew.
    """
    part = Path(output_file).with_name(f"{url.rsplit('/', 1)[1]}.part")
    tag = part.with_name(f"{part.name}.tag")
    done = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"Range": f"bytes={done}-", "If-Range": tag.read_text(encoding="utf-8")} if done else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
            if answer.status != 206:
                done = 0  # the whole file comes
            version = answer.headers["ETag"] or answer.headers["Last-Modified"]
            length = answer.headers["Content-Length"]
            total = done + int(length) if length else None
            if version and not version.startswith("W/"):  # a weak tag does not promise the same bytes
                tag.write_text(version, encoding="utf-8")
            else:
                tag.unlink(missing_ok=True)
            with (
                part.open("ab" if done else "wb") as file,
                tqdm(desc=part.stem, initial=done, total=total, unit="B", unit_scale=True) as bar,
            ):
                while block := answer.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
    except (OSError, HTTPException) as error:  # URLError and time-outs are OSErrors
        if isinstance(error, HTTPError) and error.code == 416:  # nothing is left to come; the last try ended badly
            part.unlink(missing_ok=True)
        raise CourseError(_broken(url, part, error)) from None
    came = part.stat().st_size
    if total is not None and came != total:
        raise CourseError(_broken(url, part, f"{came:,} of {total:,} bytes came"))
    part.replace(output_file)
    tag.unlink(missing_ok=True)


def _broken(url, part, why):
    if isinstance(why, URLError) and not isinstance(why, HTTPError):
        why = why.reason
    again = "Repeat the command" + (
        " and it goes on from there" if part.with_name(f"{part.name}.tag").is_file() else ""
    )
    return f"Fetching {url} failed: {why}. {again}. Or fetch it with a browser and put it into {part.parent}."
