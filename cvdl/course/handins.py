"""Finding hand-ins: folders, files and zips, as Moodle, Canvas and nbgrader give them out, or as anybody names them.

    Moodle    Name_12345_assignsubmission_file_/any.ipynb
    Canvas    lastnamefirst_123_456_any.ipynb, or lastnamefirst_LATE_123_456_any.ipynb
    nbgrader  submitted/STUDENT/ASSIGNMENT/any.ipynb, with timestamp.txt beside it
    others    STUDENT/…/any.ipynb, or STUDENT.ipynb

A zip is read like a folder, also one inside a zip, once.  Nothing is unpacked to disk, links are not followed, and which
notebook a file is, its exercises say.
"""

import io
import os
import re
import stat
import zipfile
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

from cvdl.course.cells import code_cells
from cvdl.errors import CourseError
from cvdl.settings import ROOT

LARGEST = 64 << 20  # bytes of one hand-in
MEMBERS, RATIO, TOTAL = 20_000, 200, 16 << 30  # of a zip: files, times that one may grow, bytes of all
OWN = 200  # notebooks in one student's zip
PARSED = 4 << 20  # bytes, the most of a stranger's JSON that is taken apart outside of a jail
ID = re.compile(rb"exercise\(\s*+(?:id\s*+=\s*+)?\\?[\"'](\w+)\.\w+")
MOODLE = re.compile(r"(.+)_(\d+)_assignsubmission_(?:file|onlinetext)(?:_|$)(.*)")
CANVAS = re.compile(r"([^_]+)(_LATE)?_(\d+)_(\d+)_(.+)")
SKIPPED = re.compile(r"(?:^|/)(?:\.(?!\.)|__MACOSX/|__pycache__/|Thumbs\.db$|desktop\.ini$)")


@dataclass(frozen=True)
class Found:
    """A file among the hand-ins, perhaps inside of zips."""

    path: Path  # on disk
    inside: tuple[str, ...] = ()  # names in the zips
    size: int = 0
    changed: datetime | None = None
    fault: str | None = None  # why it is not to be read

    def read(self):
        """Its bytes.  Raises CourseError where it is too large or cannot be read."""
        if self.fault:
            raise CourseError(self.fault)
        if self.size > LARGEST:
            raise CourseError(f"{self.size >> 20} MB, and {LARGEST >> 20} MB is the most that is read")
        try:
            with open(self.path, "rb") as file:
                return unzipped(file, self.inside)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise CourseError(f"cannot be read: {error}") from None

    def __str__(self):
        return "!".join([str(self.path), *self.inside])


@dataclass(frozen=True)
class HandIn:
    """What one student handed in for one notebook.

    notebook: stem, or "unknown"; late: True where the learning platform says so; problem: None, or why no notebook can
    be read.
    """

    student: str
    notebook: str
    file: Found
    submitted: datetime | None = None
    late: bool = False
    problem: str | None = None
    notes: list[str] = field(default_factory=list)

    def read(self):
        if self.problem:
            raise CourseError(self.problem)
        return self.file.read()


def find(submissions, ours=()):
    """All hand-ins in a folder, a zip or a file -> list of HandIn, by student and notebook.

    ours: what is no hand-in, should it lie in that folder.  Raises CourseError if there is none.
    """
    top = Path(submissions).expanduser()
    if not top.exists():
        raise CourseError(f"There is no {top}: name the folder or the zip that holds the hand-ins.")
    inside = [p for p in map(full, ours) if full(top) in p.parents]
    groups = defaultdict(list)  # (name, number of the platform) -> [(Found, late)]
    for names, file in walk(top):
        if any(full(file.path).is_relative_to(p) for p in inside):
            continue
        name, number, late = student_of(names)
        groups[name, number].append((file, late))
    if not groups:
        raise CourseError(f"{top} holds no files: name the folder or the zip that holds the hand-ins.")
    same = Counter(name for name, _ in groups)
    handins = []
    for (name, number), files in groups.items():
        handins += of_student(f"{name} ({number})" if same[name] > 1 and number else name, files)
    return sorted(handins, key=lambda h: (h.student, h.notebook))


def of_student(student, files):
    """The hand-ins among a student's files: one of each notebook, the newest."""
    times = [
        t for f, _ in files if f.inside[-1:] == ("timestamp.txt",) or f.path.name == "timestamp.txt" for t in stamp(f)
    ]
    notebooks, unread = defaultdict(list), []
    for file, late in files:
        name = PurePosixPath(file.inside[-1]).name if file.inside else file.path.name
        if not (name.lower().endswith(".ipynb") or file.fault):
            continue
        try:
            data = file.read()
            stem = stem_of(data)
            if not stem and len(data) < PARSED:
                code_cells(data)  # says so where it is no notebook at all
        except CourseError as error:
            unread.append(HandIn(student, named(name), file, file.changed, late, str(error)))
            continue
        problem = None if stem else "holds no exercise of this course"
        handin = HandIn(student, stem or named(name), file, max(times, default=file.changed), late, problem)
        (notebooks[stem] if stem else unread).append(handin)
    chosen = []
    for several in notebooks.values():
        several.sort(key=lambda h: (h.file.changed.timestamp() if h.file.changed else 0, str(h.file)))
        others = [f"Handed in, too, and not graded, being older: {h.file}" for h in several[:-1]]
        chosen.append(replace(several[-1], notes=others))
    for handin in unread:
        taken = {h.notebook for h in chosen}
        if handin.notebook not in taken and not (chosen and handin.notebook == "unknown"):
            chosen.append(handin)
            continue
        said = f"Handed in, too, and not graded: {handin.file} ({handin.problem})"
        beside = handin.notebook if handin.notebook in taken else chosen[0].notebook
        chosen = [replace(h, notes=[*h.notes, said]) if h.notebook == beside else h for h in chosen]
    if not chosen:
        names = ", ".join(sorted({str(f).rpartition("/")[2] for f, _ in files}))[:200]
        chosen = [HandIn(student, "unknown", files[0][0], files[0][0].changed, False, f"no notebook: {names}")]
    return chosen


def student_of(names):
    """The student whom the names of folders and file, from the top, speak of -> (name, number or "", late?)."""
    first = names[0]
    if match := MOODLE.fullmatch(first):
        return match[1], match[2], False
    if len(names) == 1:
        if match := CANVAS.fullmatch(first):
            return match[1], match[3], bool(match[2])
        stem = re.sub(r"\.(ipynb|zip)$", "", first, flags=re.I)
        for notebook in stems().values():
            stem = stem.replace(notebook, "")
        return stem.strip(" _-.()") or first, "", False
    return first, "", False


def walk(top):
    """Files below a path -> (names of folders and file, Found)."""
    if top.is_file():
        yield from opened((top.name,), Found(top, (), top.stat().st_size, changed(top)), zipped=True)
        return
    base = top / "submitted" if (top / "submitted").is_dir() else top
    for folder, folders, files in os.walk(base):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            names = path.relative_to(base).parts
            if SKIPPED.search("/".join(names)):
                continue
            if path.is_symlink() or not path.is_file():
                yield names, Found(path, fault="is no ordinary file, but a link or a device; it was not opened")
                continue
            yield from opened(names, Found(path, (), path.stat().st_size, changed(path)), zipped=False)


def opened(names, file, zipped):
    """A file, or what a zip holds.

    zipped: it is the zip of all hand-ins, whose names say whose they are; else it is one student's.
    """
    if not names[-1].lower().endswith(".zip"):
        yield names, file
        return
    try:
        if not zipped:
            members = list(listed(io.BytesIO(file.read())))
        else:
            with open(file.path, "rb") as opened_file:
                members = list(listed(opened_file))
    except CourseError as error:
        yield names, replace(file, fault=str(error))
        return
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        yield names, replace(file, fault=f"cannot be unzipped: {error}")
        return
    if not zipped and sum(m.inside[-1].lower().endswith(".ipynb") for m in members) > OWN:
        yield names, replace(file, fault=f"a zip of more than {OWN} notebooks: it was not opened")
        return
    if not zipped and len({(name, number) for name, number, _ in map(student_of, map(parts, members)) if number}) > 1:
        yield names, replace(file, fault="holds the hand-ins of a class: grade this zip by itself")
        return
    for member in members:
        inner = replace(member, path=file.path, inside=(*file.inside, *member.inside))
        if not zipped:
            yield names, inner
        elif inner.fault is None and parts(member)[-1].lower().endswith(".zip"):
            yield from opened(parts(member), inner, zipped=False)
        else:
            yield parts(member), inner


def parts(member):
    """The names of folders and file by which a zip calls one of its members."""
    return tuple(p for p in re.split(r"[/\\]", member.inside[-1]) if p not in ("", ".", "..")) or ("?",)


def listed(file):
    """Members of a zip -> Found.  Raises CourseError if it is a bomb."""
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not SKIPPED.search(m.filename)]
    if len(members) > MEMBERS or sum(m.file_size for m in members) > TOTAL:
        raise CourseError(f"a zip of {len(members)} files, or of more than can be meant: it was not opened")
    for m in members:
        fault = None
        if stat.S_ISLNK(m.external_attr >> 16):
            fault = "is a link in a zip; it was not followed"
        elif m.flag_bits & 1:
            fault = "is encrypted"
        elif m.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", m.filename):
            fault = "has a name in the zip that leads out of it"
        elif m.file_size > max(RATIO * m.compress_size, 1 << 20):
            fault = f"grows {m.file_size // max(m.compress_size, 1)} times when unzipped; it was not opened"
        try:
            when = datetime(*m.date_time).astimezone()
        except (ValueError, OverflowError):
            when = None
        yield Found(Path(), (m.filename,), m.file_size, when, fault)


def unzipped(file, inside):
    """The bytes of a file, at most LARGEST, or of a member of zips in it."""
    for name in inside:
        with zipfile.ZipFile(file) as archive, archive.open(name) as member:
            file = io.BytesIO(member.read(LARGEST + 1))
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB")
    return data


def full(path):
    """The path from the root; links are not followed."""
    return Path(os.path.abspath(path))


def changed(path):
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone()


def stamp(file):
    """The time in nbgrader's timestamp.txt, «2026-01-31 12:00:00.123456 Europe/Berlin» -> list of one, or none."""
    try:
        day, hour, *zone = file.read().decode().split()
        time = datetime.fromisoformat(f"{day} {hour}")
        return [time.replace(tzinfo=ZoneInfo(zone[0]) if zone else None).astimezone()]
    except (CourseError, ValueError, OSError, KeyError):
        return []


@cache
def stems():
    """{chapter: stem of its notebook}, read off the course's own notebooks."""
    return {
        chapter: path.stem
        for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
        if (chapter := most_common(path.read_bytes()))
    }


def stem_of(data):
    """Which notebook these bytes are, or None: the one whose exercises are defined most."""
    if len(data) < PARSED:
        with suppress(CourseError):
            data = "\n".join(code_cells(data)).encode("utf-8", "replace")  # outputs speak of exercises, too
    return stems().get(most_common(data))


def most_common(data):
    found = Counter(m.decode("ascii", "replace") for m in ID.findall(data))
    return found.most_common(1)[0][0] if found else None


def named(name):
    """The notebook that a file's name speaks of, for one that cannot be read."""
    return next((s for s in stems().values() if s in name), "unknown")
