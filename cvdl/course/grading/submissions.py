"""Finding hand-ins: folders, files and zips, as downloaded from learning platforms or named in any other way.

`names` determines whose a hand-in is; the exercises in a file determine which notebook it is.  A zip is read like a
folder, and so is a zip inside it, but no deeper.  Nothing is unpacked to disk, links are not followed, and students'
files are parsed only by `unpack`, in a process with limits.  If a file cannot be read, that is reported for its hand-in,
and the others are still found.
"""

import hashlib
import os
import stat
import time
from collections import Counter, defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

from cvdl.course.grading import archives, names
from cvdl.course.grading.names import BLACKBOARD, NBGRADER, Owner
from cvdl.course.notebook.chapters import named, stems
from cvdl.errors import CourseError

DEEPEST = 40  # levels of nested folders
MANY = 2000  # files that may be notebooks, in one hand-in
NO_FILE = "is not an ordinary file but a link or a device; it was not opened"


@dataclass(frozen=True)
class SubmittedFile:
    """A file among the hand-ins, perhaps inside a zip."""

    base: Path  # the path that the teacher gave
    names: tuple[str, ...] = ()  # of the folders and the file below it
    inside: tuple[str, ...] = ()  # names in the zips
    numbers: tuple[int, ...] = ()  # of these members, in their zips
    changed: datetime | None = None  # according to the disk or the outermost zip
    made: datetime | None = None  # according to the student's own zip
    fault: str | None = None  # why it must not be read
    stem: str | None = None  # of the notebook that it is
    sha256: str = ""
    problem: str | None = None  # why no notebook can be read from it

    @property
    def path(self):
        return self.base.joinpath(*self.names)

    @property
    def called(self):
        """The part of its name that the student may see, without the teacher's folders."""
        return "!".join(["/".join(self.names)] * bool(self.names) + list(self.inside)) or self.base.name

    def read(self):
        """Its bytes, as they were when it was found.  Raises CourseError if that is not possible."""
        if self.fault:
            raise CourseError(self.fault)
        with opened(self.base, self.names) as file:
            data = archives.read(file, self.numbers)
        if self.sha256 and hashlib.sha256(data).hexdigest() != self.sha256:
            raise CourseError("was changed during the run. Run the same command again")
        return data

    def __str__(self):
        return "!".join([str(self.path), *self.inside])


@dataclass(frozen=True)
class Submission:
    """What one student handed in for one notebook.

    notebook: stem, or "unknown"; late: True if the learning platform marks it as late; problem: None, or why no notebook
    can be read; platform, number: of the student, from the name that the platform gave the hand-in.
    """

    student: str
    notebook: str
    file: SubmittedFile
    submitted: datetime | None = None
    late: bool = False
    problem: str | None = None
    platform: str = ""
    number: str = ""
    notes: list[str] = field(default_factory=list)

    def read(self):
        if self.problem:
            raise CourseError(self.problem)
        return self.file.read()


def find(submissions, ours=(), told=None):
    """All hand-ins in a folder, a zip or a file -> list of Submission, by student and notebook.

    ours: paths in that folder that are not hand-ins; told: list to which messages for the teacher are added.  Raises
    CourseError if there are no hand-ins, or if it is unclear whose they are.
    """
    told = [] if told is None else told
    top = Path(submissions).expanduser()
    if not top.exists():
        raise CourseError(f"{top} does not exist: name the folder or the zip that contains the hand-ins.")
    files = of_nbgrader(list(walk(top, {full(p) for p in ours})))
    if not files:
        raise CourseError(f"{top} contains no files: name the folder or the zip that contains the hand-ins.")
    shared = shared_folders([n for n, _ in files])
    groups = defaultdict(list)  # by the outermost name that differs, since only that one identifies a hand-in
    for below, file in files:
        groups[below[len(shared)]].append((below, file))
    files = [found for own in groups.values() for found in looked(own)]
    files = of_nbgrader(unwrapped(top, shared, files, told))
    owners, users = defaultdict(list), names.blackboard_users(n[0] for n, _ in files)
    for below, file in files:
        if match := BLACKBOARD.fullmatch(below[0]):
            file = replace(file, changed=names.attempted(match[2]) or file.changed)
            owner = Owner(users[match[1]])
        else:
            owner = names.owner(below)
        owners[owner._replace(late=False)].append((below, file, owner.late))
    called = names.told_apart(owners)
    told += [f"These names look the same: {', '.join(map(repr, same))}." for same in names.alike(called.values())]
    handins = []
    for owner, own in owners.items():
        try:
            found = of_student(called[owner], own)
        except Exception as error:
            file = replace(own[0][1], fault=f"cannot be read: {error}")
            found = [Submission(called[owner], "unknown", file, problem=file.fault)]
        handins += [replace(h, platform=owner.platform, number=owner.number) for h in found]
    if top.is_file() and not top.name.lower().endswith(".zip") and handins[0].problem:
        raise CourseError(f"{top} is neither a zip nor a notebook of this course ({handins[0].problem}).")
    return sorted(handins, key=lambda h: (h.student, h.notebook))


def of_student(student, files):
    """The hand-ins among a student's files, (names, SubmittedFile, late) each: the newest one of each notebook."""
    times = {n[:2]: stamp(f) for n, f, _ in files if len(n) == 3 and n[2] == "timestamp.txt" and not names.platform(n)}
    notebooks, faulty = defaultdict(list), []
    for below, file, late in files:
        when = times.get(below[:2]) or file.changed
        name = PurePosixPath(file.inside[-1]).name if file.inside else file.path.name
        handin = Submission(student, file.stem or named(name), file, when, late, file.fault or file.problem)
        if file.stem:
            notebooks[file.stem].append(handin)
        elif handin.problem:
            faulty.append(handin)
    chosen = []
    for several in notebooks.values():
        several.sort(key=age)
        others = [f"Also handed in, but older and therefore not graded: {h.file.called}" for h in several[:-1]]
        chosen.append(replace(several[-1], notes=others))
    for handin in faulty:
        taken = {h.notebook for h in chosen}
        if handin.notebook not in taken and not (chosen and handin.notebook == "unknown"):
            chosen.append(handin)
            continue
        said = f"Also handed in, but not graded: {handin.file.called} ({handin.problem})"
        beside = handin.notebook if handin.notebook in taken else chosen[0].notebook
        chosen = [replace(h, notes=[*h.notes, said]) if h.notebook == beside else h for h in chosen]
    if not chosen:
        _, first, late = files[0]
        others = ", ".join(sorted({f.called.rpartition("/")[2] for _, f, _ in files}))[:200]
        problem = "no notebook" if len(files) == 1 else f"no notebook among {others}"
        chosen = [Submission(student, "unknown", first, first.changed, late, problem)]
    return chosen


def age(handin):
    """Sort key for versions of one notebook: the platform's time first, then that of the student's own zip."""
    times = handin.submitted, handin.file.changed, handin.file.made or handin.file.changed
    return *(t.timestamp() if t else 0 for t in times), str(handin.file)


# --- whose they are -------------------------------------------------------------------------------------


def of_nbgrader(files):
    """The files in nbgrader's `submitted` if this is nbgrader's folder, otherwise all (names, SubmittedFile)."""
    tops = {n[0] for n, _ in files}
    own = [(n[1:], f) for n, f in files if n[0] == "submitted" and len(n) > 1]
    return own if own and (tops & NBGRADER or tops == {"submitted"}) else files


def shared_folders(every):
    """The names of the folders that contain all files."""
    folders = [n[:-1] for n in every]
    return tuple(os.path.commonprefix(folders))  # noqa: RUF071 (it works for tuples, too)


def unwrapped(top, shared, files, told):
    """The (names, SubmittedFile) without a folder around all students' files, as `zip -r hand-ins.zip hand-ins` creates it.

    Raises CourseError if that folder could also belong to a single student.
    """
    own = next((i for i, name in enumerate(shared) if names.platform((name, ""))), None)
    if not shared or own is not None:  # the platform's folder of the only student
        return [(n[own or 0 :], f) for n, f in files]
    inner, outer = [(n[len(shared) :], f) for n, f in files], "/".join(shared)
    by = defaultdict(set)  # notebooks under each name in it
    for below, file in inner:
        by[below[0]] |= {file.stem} - {None}
    several = [name for name, stems in by.items() if stems]
    alike = max(Counter(s for stems in by.values() for s in stems).values(), default=0) > 1
    folders = all(len(n) > 1 for n, f in inner if f.stem)
    of_platform = {names.owner(n)[:3] for n, _ in inner if names.platform(n)}
    if len(of_platform) > 1 or (folders and alike) or {n[0] for n, _ in inner} & NBGRADER:
        told.append(f"All hand-ins are in {outer}: each folder or file in it is treated as one student's.")
        return inner
    assignments = all(is_assignment(name) for name in several)
    if len(several) > 1 and not assignments and top.is_file():
        raise CourseError(
            f"{top} contains a single folder, {outer}, with {', '.join(sorted(several)[:5])} in it. Are these students, or is "
            f"{outer} one? Unpack the zip and pass the folder that contains one folder or file per student: {outer}, or the "
            "folder above it."
        )
    return files


def is_assignment(name):
    """Is this a notebook's name or number, rather than a student's?"""
    name = names.NOTEBOOK.sub("", name)
    return named(name) != "unknown" or any(name in (chapter, s, s[:2]) for chapter, s in stems().items())


# --- files ----------------------------------------------------------------------------------------------


def walk(top, ours):
    """Files below a path -> (names of folders and file, SubmittedFile)."""
    if top.is_dir():
        folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield from below(folder, full(top), (), ours)
        finally:
            os.close(folder)
    elif top.name.lower().endswith(".zip"):
        with opened(top, ()) as file:
            there = archives.members(file)
        if isinstance(there, dict):
            raise CourseError(f"{top} {there['fault']}. Download it again.")
        for m in there:
            made = datetime.fromisoformat(m["made"]) if m["made"] else None
            yield (
                archives.parts(m["name"]),
                SubmittedFile(top, (), (m["name"],), (m["number"],), made, fault=m["fault"]),
            )
    else:
        yield (top.name,), SubmittedFile(top, changed=changed(top.stat()))


def below(folder, base, names, ours):
    """The same for an open folder; names: those that lead from `base` to it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield (
            names or (base.name,),
            SubmittedFile(base, names, fault=f"is a folder that cannot be read ({error.strerror})"),
        )
        return
    for entry in entries:
        own = (*names, entry.name)
        if archives.SKIPPED.search("/".join(own)) or base.joinpath(*own) in ours:
            continue
        try:
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                fault = None if stat.S_ISREG(status.st_mode) else NO_FILE
                if status.st_size > archives.LARGEST:
                    fault = f"is {status.st_size >> 20} MB in size; the limit is {archives.LARGEST >> 20} MB"
                yield own, SubmittedFile(base, own, changed=changed(status), fault=fault)
                continue
            if len(own) > DEEPEST:
                yield own, SubmittedFile(base, own, fault=f"is nested more than {DEEPEST} folders deep")
                continue
            inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        except OSError as error:
            yield own, SubmittedFile(base, own, fault=f"cannot be read ({error.strerror})")
            continue
        try:
            yield from below(inner, base, own, ours)
        finally:
            os.close(inner)


@contextmanager
def opened(base, names):
    """Open an ordinary file -> its descriptor; below `base`, no links are followed.  Raises CourseError."""
    flags, file = os.O_RDONLY | os.O_CLOEXEC, None
    try:
        file = os.open(base, flags | (os.O_DIRECTORY if names else os.O_NONBLOCK))
        for name in names:
            outer, more = file, os.O_NONBLOCK if name is names[-1] else os.O_DIRECTORY
            try:
                file = os.open(name, flags | os.O_NOFOLLOW | more, dir_fd=outer)
            finally:
                os.close(outer)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise CourseError(NO_FILE)
        yield file
    except OSError as error:
        file = None
        raise CourseError(f"cannot be read ({error.strerror})") from None
    finally:
        if file is not None:
            os.close(file)


def looked(files):
    """The files of one hand-in, (names, SubmittedFile) each, as read in a separate process.

    A student's zip is replaced by the notebooks in it.
    """
    end = time.monotonic() + archives.SECONDS
    reading = [(n, f) for n, f in files if not f.fault and worth_reading(n[-1])]
    late = [
        (n, replace(f, fault=f"was not read: this hand-in has more than {MANY} files that may be notebooks"))
        for n, f in reading[MANY:]
    ]
    chosen = {id(f) for _, f in reading}
    yield from [*late, *((n, f) for n, f in files if id(f) not in chosen)]
    reading = reading[:MANY]
    in_zip = [(n, f) for n, f in reading if f.numbers]
    on_disk = [[found] for found in reading if not found[1].numbers]
    for several in [in_zip] * bool(in_zip) + on_disk:
        file = several[0][1]
        wanted = [f.numbers[0] for _, f in several] if file.numbers else several[0][0][-1]
        try:
            seconds = int(end - time.monotonic())
            if seconds < 1:
                raise CourseError(archives.DIED)
            with opened(file.base, file.names) as descriptor:
                answers = archives.look(descriptor, wanted, seconds)
        except Exception as error:
            answers = [[{"fault": str(error)}]] * len(several)
        for (name, outer), answer in zip(several, answers, strict=True):
            yield from ((name, seen(outer, told)) for told in answer)
            if not answer:
                yield name, outer


def seen(file, told):
    """The file, or the member of a student's zip, with what the process reported about it."""
    if "name" in told:
        inside, numbers = (*file.inside, told["name"]), (*file.numbers, *([told["number"]] if "number" in told else []))
        made = datetime.fromisoformat(told["made"]) if told.get("made") else None
        file = replace(file, inside=inside, numbers=numbers, made=made)
    return replace(file, **{k: told[k] for k in ("fault", "stem", "problem", "sha256") if k in told})


def worth_reading(name):
    return name.lower().endswith(".zip") or archives.may_be_notebook(name)


def full(path):
    """The absolute path; links are not followed."""
    return Path(os.path.abspath(path))


def changed(status):
    """When a file was changed, or None if that is not a valid date; status: from os.stat."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(status.st_mtime).astimezone()


def stamp(file):
    """The time in nbgrader's timestamp.txt, "2026-01-31 12:00:00.123456 Europe/Berlin", or None."""
    with suppress(CourseError, ValueError, OverflowError, OSError, KeyError):
        day, hour, *zone = file.read().decode().split()
        time = datetime.fromisoformat(f"{day} {hour}")
        return time.replace(tzinfo=ZoneInfo(zone[0]) if zone else None).astimezone()
