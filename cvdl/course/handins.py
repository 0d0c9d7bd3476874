"""Finding hand-ins: folders, files and zips, as Moodle, Canvas and nbgrader give them out, or as anybody names them.

    Moodle    Name_12345_assignsubmission_file_/any.ipynb
    Canvas    lastnamefirst_123_456_any.ipynb, or lastnamefirst_LATE_123_456_any.ipynb; anonymously, anon_Ab3_456_any.ipynb
              or LATE_anon_Ab3_456_any.ipynb
    Blackboard gradebook_COURSE_ASSIGNMENT_user_attempt_2026-01-31-12-00-00_any.ipynb, each attempt a version
    nbgrader  submitted/STUDENT/ASSIGNMENT/any.ipynb, with timestamp.txt beside it
    others    STUDENT/…/any.ipynb, or STUDENT.ipynb

A notebook may be called .ipynb.json, .ipynb.txt, or whatever browsers turn that into.  A zip is read like a folder, also
one inside a zip, once.  Nothing is unpacked to disk, links are not followed, and which
notebook a file is, its exercises say.
"""

import io
import os
import re
import stat
import unicodedata
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
CALLED = re.compile(rb"[\"'](\w+)\.\w+\\?[\"']")  # any text that may be an exercise's id
MOODLE = re.compile(r"(.+)_(\d+)_assignsubmission_(?:file|onlinetext)(?:_|$)(.*)")
CANVAS = re.compile(r"([^_]+)(_LATE)?_(\d+)_(\d+)_(.+)")
ANONYMOUS = re.compile(r"(LATE_)?(anon_[A-Za-z0-9]+)_(\d+)_(.+)")  # of Canvas, too
BLACKBOARD = re.compile(r"gradebook_(.+)_attempt_(\d{4}(?:-\d\d){5})(?:_.*|\.\w+)?", re.S)
NOTEBOOK = re.compile(r"\.ipynb(?:[._ -]?(?:json|txt|html?|download))?(?: ?\(\d+\))?$", re.I)
PERHAPS = (".json", ".txt", "")  # endings of files that may be notebooks, as their content says
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
            raise CourseError(f"{self.size >> 20} MB, but files may have at most {LARGEST >> 20} MB")
        try:
            with open(self.path, "rb") as file:
                return unzipped(file, self.inside)
        except Exception as error:  # a file may be damaged in many ways, but the others are not affected
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
    number: str = ""  # of the student, as the platform's own name of the hand-in says
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
        raise CourseError(f"There is no {top}: name the folder or the zip that contains the hand-ins.")
    inside = [p for p in map(full, ours) if full(top) in p.parents]
    groups = defaultdict(list)  # (name, number of the platform) -> [(Found, late)]
    files = [(n, f) for n, f in walk(top) if not any(full(f.path).is_relative_to(p) for p in inside)]
    users = blackboard_users(names[0] for names, _ in files)
    for names, file in files:
        if match := BLACKBOARD.fullmatch(names[0]):
            file = replace(file, changed=attempted(match[2]) or file.changed)
            groups[users[match[1]], ""].append((file, False))
            continue
        name, number, late = student_of(names)
        groups[name, number].append((file, late))
    if not groups:
        raise CourseError(f"{top} contains no files: name the folder or the zip that contains the hand-ins.")
    same = Counter(name for name, _ in groups)
    handins = []
    for (name, number), own in groups.items():
        several = of_student(f"{name} ({number})" if same[name] > 1 and number else name, own)
        handins += [replace(h, number=number) for h in several]
    return sorted(handins, key=lambda h: (h.student, h.notebook))


def of_student(student, files):
    """The hand-ins among a student's files: one of each notebook, the newest."""
    times = [
        t for f, _ in files if f.inside[-1:] == ("timestamp.txt",) or f.path.name == "timestamp.txt" for t in stamp(f)
    ]
    notebooks, faulty = defaultdict(list), []
    for file, late in files:
        name = PurePosixPath(file.inside[-1]).name if file.inside else file.path.name
        if not (file.fault or is_notebook(name, file)):
            continue
        try:
            data = file.read()
            stem = stem_of(data)
            if not stem and len(data) < PARSED:
                code_cells(data)  # says so where it is no notebook at all
        except CourseError as error:
            faulty.append(HandIn(student, named(name), file, file.changed, late, str(error)))
            continue
        problem = None if stem else "contains no exercise of this course"
        handin = HandIn(student, stem or named(name), file, max(times, default=file.changed), late, problem)
        (notebooks[stem] if stem else faulty).append(handin)
    chosen = []
    for several in notebooks.values():
        several.sort(key=lambda h: (h.file.changed.timestamp() if h.file.changed else 0, str(h.file)))
        others = [f"Also handed in, but not graded because it is older: {h.file}" for h in several[:-1]]
        chosen.append(replace(several[-1], notes=others))
    for handin in faulty:
        taken = {h.notebook for h in chosen}
        if handin.notebook not in taken and not (chosen and handin.notebook == "unknown"):
            chosen.append(handin)
            continue
        said = f"Also handed in, but not graded: {handin.file} ({handin.problem})"
        beside = handin.notebook if handin.notebook in taken else chosen[0].notebook
        chosen = [replace(h, notes=[*h.notes, said]) if h.notebook == beside else h for h in chosen]
    if not chosen:
        names = ", ".join(sorted({str(f).rpartition("/")[2] for f, _ in files}))[:200]
        chosen = [HandIn(student, "unknown", files[0][0], files[0][0].changed, False, f"no notebook: {names}")]
    return chosen


def is_notebook(name, file):
    """Is this file a notebook, by its name or by its content?"""
    if NOTEBOOK.search(name):
        return True
    if PurePosixPath(name).suffix.lower() not in PERHAPS or file.size > LARGEST:
        return False
    try:
        data = file.read()
    except CourseError:
        return False
    return data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"cells"' in data and bool(stem_of(data))


def student_of(names):
    """The student whom the names of folders and file, from the top, speak of -> (name, number or "", late?)."""
    first = names[0]
    if match := MOODLE.fullmatch(first):
        return composed(match[1]), match[2], False
    if len(names) == 1:
        if match := ANONYMOUS.fullmatch(first):
            return match[2], "", bool(match[1])
        if match := CANVAS.fullmatch(first):
            return composed(match[1]), match[3], bool(match[2])
        stem = re.sub(r"\.zip$", "", NOTEBOOK.sub("", first), flags=re.I)
        for notebook in stems().values():
            stem = stem.replace(notebook, "")
        return composed(stem.strip(" _-.()") or first), "", False
    return composed(first), "", False


def composed(name):
    """The name with accents as parts of their letters: Macs write them as characters of their own."""
    return unicodedata.normalize("NFC", name)


def blackboard_users(names):
    """{COURSE_ASSIGNMENT_user: user} for the names of Blackboard's files, which do not show where the user begins.

    The user is what follows the last _.  If that would be the same for two, it is everything that is not common to all names.
    """
    middles = {m[1] for m in map(BLACKBOARD.fullmatch, names) if m}
    common = os.path.commonprefix(sorted(middles)).rpartition("_")[0]  # noqa: RUF071 (they are no paths)
    last = Counter(m.rpartition("_")[2] for m in middles)
    users = {m: m.rpartition("_")[2] for m in middles}
    return {m: composed(u if last[u] == 1 else m[len(common) :].strip("_") or m) for m, u in users.items()}


def attempted(text):
    """The time of an attempt in Blackboard, "2026-01-31-12-00-00", in this machine's zone, or None."""
    try:
        return datetime(*map(int, text.split("-"))).astimezone()
    except (ValueError, OverflowError):
        return None


def platform(names):
    """Does a learning platform name hand-ins like this one?"""
    patterns = (MOODLE, BLACKBOARD) if len(names) > 1 else (MOODLE, BLACKBOARD, CANVAS, ANONYMOUS)
    return any(p.fullmatch(names[0]) for p in patterns)


def walk(top):
    """Files below a path -> (names of folders and file, Found)."""
    if top.is_file():
        yield from opened((top.name,), on_disk(top), zipped=True)
        return
    base, closed = top / "submitted" if (top / "submitted").is_dir() else top, []
    for folder, folders, files in os.walk(base, onerror=closed.append):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            names = path.relative_to(base).parts
            if SKIPPED.search("/".join(names)):
                continue
            file = on_disk(path)
            if file.fault:
                yield names, file
            else:
                yield from opened(names, file, zipped=False)
        while closed:
            error = closed.pop()
            yield unread(base, error)
    for error in closed:
        yield unread(base, error)


def unread(base, error):
    """The entry for a folder that cannot be opened -> (names, Found)."""
    path = Path(error.filename or base)
    names = path.relative_to(base).parts or (path.name,)
    return names, Found(path, fault=f"is a folder that cannot be read ({error.strerror})")


def on_disk(path):
    """A file -> Found, with a fault if it cannot be opened."""
    try:
        status = path.lstat()
    except (OSError, ValueError) as error:
        return Found(path, fault=f"cannot be read: {error}")
    if not stat.S_ISREG(status.st_mode):
        return Found(path, fault="is not an ordinary file but a link or a device; it was not opened")
    return Found(path, (), status.st_size, changed(status))


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
    except Exception as error:  # as in Found.read
        yield names, replace(file, fault=f"cannot be unzipped: {error}")
        return
    if not zipped and sum(bool(NOTEBOOK.search(m.inside[-1])) for m in members) > OWN:
        yield names, replace(file, fault=f"a zip with more than {OWN} notebooks: it was not opened")
        return
    if not zipped and len({student_of(p)[:2] for p in map(parts, members) if platform(p)}) > 1:
        yield names, replace(file, fault="contains the hand-ins of a class: grade this zip separately")
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
        raise CourseError(f"a zip with {len(members)} files or an implausible size: it was not opened")
    for m in members:
        fault = None
        if stat.S_ISLNK(m.external_attr >> 16):
            fault = "is a link in a zip; it was not followed"
        elif m.flag_bits & 1:
            fault = "is encrypted"
        elif m.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", m.filename):
            fault = "has a name in the zip that points outside it"
        elif m.file_size > max(RATIO * m.compress_size, 1 << 20):
            fault = f"grows {m.file_size // max(m.compress_size, 1)} times when unzipped; it was not opened"
        try:
            when = datetime(*m.date_time).astimezone()
        except (ValueError, OverflowError):
            when = None
        yield Found(Path(), (member_name(m),), m.file_size, when, fault)


def member_name(member):
    """The name of a member of a zip, in whatever encoding it was written.

    Zips made by Linux and Macs have names in UTF-8 even if they do not say so; those made by Windows use the code page
    of its terminal: 437 in America, 850 in Western Europe.
    """
    name, extra = member.filename, member.extra
    if member.flag_bits & 0x800:
        return name
    while len(extra) > 4:  # Info-ZIP's and 7-Zip's own field for the name in UTF-8
        kind, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == 0x7075 and size > 5:
            with suppress(UnicodeDecodeError):
                return extra[9 : 4 + size].decode()
        extra = extra[4 + size :]
    try:
        raw = name.encode("cp437")
    except UnicodeEncodeError:
        return name
    with suppress(UnicodeDecodeError):
        return raw.decode()
    latin = all(c.isascii() or unicodedata.name(c, "").startswith("LATIN") for c in name)
    return name if latin else raw.decode("cp850")


def unzipped(file, inside):
    """The bytes of a file, at most LARGEST, or of a member of zips in it."""
    for name in inside:
        with zipfile.ZipFile(file) as archive:
            called = {member_name(m): m for m in archive.infolist()}
            with archive.open(called.get(name, name)) as member:
                file = io.BytesIO(member.read(LARGEST + 1))
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB")
    return data


def full(path):
    """The path from the root; links are not followed."""
    return Path(os.path.abspath(path))


def changed(status):
    """When a file was changed, or None if that is not a valid date; status: from os.stat."""
    try:
        return datetime.fromtimestamp(status.st_mtime).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def stamp(file):
    """The time in nbgrader's timestamp.txt, "2026-01-31 12:00:00.123456 Europe/Berlin" -> list of one, or none."""
    try:
        day, hour, *zone = file.read().decode().split()
        time = datetime.fromisoformat(f"{day} {hour}")
        return [time.replace(tzinfo=ZoneInfo(zone[0]) if zone else None).astimezone()]
    except (CourseError, ValueError, OverflowError, OSError, KeyError):
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
    return stems().get(chapter_of(data))


def chapter_of(data):
    """The chapter whose exercises are defined most in these bytes, or None."""
    if len(data) < PARSED:
        with suppress(CourseError):
            data = "\n".join(code_cells(data)).encode("utf-8", "replace")  # outputs speak of exercises, too
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
    """The notebook that a file's name speaks of, for one that cannot be read."""
    return next((s for s in stems().values() if s in name), "unknown")
