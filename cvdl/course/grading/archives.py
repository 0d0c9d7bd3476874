"""Students' files are opened, unpacked and parsed in separate processes, with limits on time, memory and output.

`python -m cvdl.course.grading.archives` is started once and forks a process for each hand-in, which is given open files but never
a path.  Whatever happens in that process affects only that hand-in.
"""

import hashlib
import io
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import unicodedata
import zipfile
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath

from cvdl.course.grading.names import NOTEBOOK, owner, platform
from cvdl.course.notebook.cells import code_cells
from cvdl.course.notebook.chapters import stem_of, stems
from cvdl.errors import CourseError
from cvdl.settings import ROOT

SECONDS, MEMORY = 30, 2 << 30  # for all files of one hand-in
LARGEST = 64 << 20  # bytes of one file
MEMBERS, RATIO, TOTAL = 20_000, 200, 16 << 30  # of a zip: number of files, largest compression ratio, total bytes
OWN = 200  # notebooks in one student's zip
REPLY = 8 << 20  # bytes of a complete reply about a file
PERHAPS = (".json", ".txt", "")  # endings of files that may be notebooks, depending on their content
SKIPPED = re.compile(r"(?:^|/)(?:\.(?!\.)|__MACOSX/|__pycache__/|Thumbs\.db$|desktop\.ini$)")
DIED = f"cannot be read within {SECONDS} seconds and {MEMORY >> 30} GB of memory"


# --- on our side ----------------------------------------------------------------------------------------


class Server:
    """The process that forks the others, started when it is first needed, and restarted if it has ended."""

    program = ("-BP", "-m", "cvdl.course.grading.archives")

    def __init__(self):
        self.line, self.lock = None, threading.Lock()

    def send(self, message, files):
        with self.lock:
            for _ in range(2):
                try:
                    self.line = self.line or self.start()
                    return socket.send_fds(self.line, [message], files)
                except OSError:
                    self.line = None
            raise CourseError("cannot be read: no process could be started for it")

    def start(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen(
                [sys.executable, *self.program],
                stdin=theirs,
                start_new_session=True,  # so that it does not receive Ctrl-C
                env=os.environ | {"PYTHONPATH": str(ROOT)},  # not the working directory, where hand-ins may be
                cwd="/",
            )
        return ours


SERVER = Server()


def ask(file, task, *args, seconds=SECONDS, most=REPLY):
    """Run one of TASKS on an open file -> the bytes of its reply, one line per value, as far as it got.

    Raises CourseError if the reply is too long.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        SERVER.send(json.dumps([task, *args, seconds]).encode(), [file, theirs.fileno()])
        theirs.close()
        ours.settimeout(seconds + 5)  # the process ends on its own after `seconds`
        reply = bytearray()
        with suppress(OSError):
            while part := ours.recv(1 << 20):
                reply += part
                if len(reply) > most:
                    raise CourseError("cannot be read: it contains too much")
    return reply


def members(file):
    """The members of a zip -> list of dicts, as `listed` yields them.  Raises CourseError."""
    return said(ask(file, "list", most=256 << 20))[0]


def look(file, wanted, seconds):
    """The hand-ins in an open file -> for each of `wanted`, a list of dicts, as `looked` yields them.

    wanted: the file's name or, if the file is a zip, the numbers of some of its members.
    """
    found = said(ask(file, "look", wanted, seconds=seconds), 1 if isinstance(wanted, str) else len(wanted))
    return [f if isinstance(f, list) else [f] for f in found]


def read(file, inside, most=LARGEST):
    """The bytes of an open file, or of a member of a zip, which may be nested.  Raises CourseError.

    inside: the numbers of the members, from the outermost zip inwards.
    """
    head, _, data = ask(file, "read", inside, most=most + 1000).partition(b"\n")
    told = json.loads(head) if head else {"fault": DIED}
    if told.get("fault") or len(data) != told["size"]:
        raise CourseError(told.get("fault") or DIED)
    return bytes(data)


def said(reply, count=1):
    """The values on the complete lines of a reply; for any that are missing from `count`, the process hit its limits."""
    lines = reply.split(b"\n")[:-1]
    values = [json.loads(line) for line in lines]
    return values + [{"fault": DIED}] * (count - len(values))


# --- in the process -------------------------------------------------------------------------------------


def serve(line):
    """Fork a process for each request until the other side has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    stems()
    while True:
        message, files, _, _ = socket.recv_fds(line, 1 << 20, 2)
        if not message:
            return
        if os.fork() == 0:
            try:
                answer(message, *files)
            finally:
                os._exit(0)
        for file in files:
            os.close(file)


def answer(message, file, out):
    task, *args, seconds = json.loads(message)
    limit(resource.RLIMIT_CPU, seconds)
    limit(resource.RLIMIT_AS, MEMORY)
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_CORE, 0)
    signal.alarm(seconds)
    with open(file, "rb") as opened, socket.socket(fileno=out) as reply:
        for part in TASKS[task](opened, *args):
            reply.sendall(part if isinstance(part, bytes) else json.dumps(part).encode() + b"\n")


def limit(what, most):
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def guarded(task):
    """The task, which yields a fault instead of raising an exception."""

    def run(*args):
        try:
            yield from task(*args)
        except MemoryError:
            yield {"fault": DIED}
        except CourseError as error:
            yield {"fault": str(error)}
        except Exception as error:  # a damaged file can raise almost anything
            verb = "unzipped" if isinstance(error, zipfile.BadZipFile) else "read"
            yield {"fault": f"cannot be {verb}: {str(error)[:200] or type(error).__name__}"}

    return run


@guarded
def list_task(file):
    yield list(listed(zipfile.ZipFile(file)))


def look_task(file, wanted):
    if isinstance(wanted, str):
        yield from looked(wanted, whole, file)
        return
    archive = zipfile.ZipFile(file)
    for number in wanted:
        yield from looked(member_name(archive.infolist()[number]), content, archive, number)


@guarded
def looked(name, get, *args):
    """The notebooks in the file whose bytes are get(*args) -> one list of dicts.

    Each has the items that `listed` yields, if it is in a zip, and those that `notebook_in` returns, if it could be read.
    """
    data = get(*args)
    if not name.lower().endswith(".zip"):
        found = notebook_in(data, name)
        yield [found] if found else []
        return
    archive = zipfile.ZipFile(io.BytesIO(data))
    there = list(listed(archive))
    if sum(bool(NOTEBOOK.search(m["name"])) for m in there) > OWN:
        raise CourseError(f"is a zip with more than {OWN} notebooks; it was not opened")
    if len({owner(parts(m["name"])) for m in there if platform(parts(m["name"]))}) > 1:
        raise CourseError("contains the hand-ins of a class: grade this zip separately")
    found = []
    for m in there:
        if not m["fault"] and may_be_notebook(m["name"]):
            for about in guarded(lambda m=m: [notebook_in(content(archive, m["number"]), m["name"])])():
                if about:
                    found.append(m | about)
        elif m["fault"]:
            found.append(m)
    yield found or [{"name": m["name"]} for m in there[:20]]


@guarded
def read_task(file, inside):
    for number in inside:
        file = io.BytesIO(content(zipfile.ZipFile(file), number))
    data = whole(file)
    yield {"size": len(data)}
    yield data


TASKS = {"list": list_task, "look": look_task, "read": read_task}


def whole(file):
    """All bytes of a file.  Raises CourseError if there are more than LARGEST."""
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise CourseError(f"is larger than the limit of {LARGEST >> 20} MB")
    return data


def content(archive, number):
    """The bytes of a member of a zip."""
    with archive.open(archive.infolist()[number]) as member:
        return whole(member)


def may_be_notebook(name):
    """May a file of this name be a notebook?"""
    return bool(NOTEBOOK.search(name)) or PurePosixPath(name).suffix.lower() in PERHAPS


def notebook_in(data, name):
    """What these bytes are -> {size, sha256, stem, problem}, or None if neither name nor content suggests a notebook."""
    stem = stem_of(data)
    if not NOTEBOOK.search(name):
        begins = data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        if not (begins and b'"cells"' in data and stem):
            return None
    problem = None
    if not stem:
        try:
            code_cells(data)  # raises if it is not a notebook at all
            problem = "contains no exercise of this course"
        except CourseError as error:
            problem = str(error)
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "stem": stem, "problem": problem}


def listed(archive):
    """Members of a zip -> {name, number, made, fault} each, without files added by operating systems.

    Raises CourseError if it is a zip bomb.
    """
    there = [(i, m) for i, m in enumerate(archive.infolist()) if not m.is_dir() and not SKIPPED.search(m.filename)]
    if len(there) > MEMBERS or sum(m.file_size for _, m in there) > TOTAL:
        size = f"{len(there)} files, {sum(m.file_size for _, m in there) >> 20} MB"
        raise CourseError(f"is a zip with too much in it ({size}); it was not opened")
    for number, m in there:
        name, fault = member_name(m), None
        if stat.S_ISLNK(m.external_attr >> 16):
            fault = "is a link in a zip; it was not followed"
        elif m.flag_bits & 1:
            fault = "is encrypted"
        elif name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            fault = "has a name that points outside the zip"
        elif m.file_size > LARGEST:
            fault = f"is {m.file_size >> 20} MB in size; the limit is {LARGEST >> 20} MB"
        elif m.file_size > max(RATIO * m.compress_size, 1 << 20):
            fault = f"grows by a factor of {m.file_size // max(m.compress_size, 1)} when unzipped; it was not opened"
        made = None
        with suppress(ValueError, OverflowError):
            made = datetime(*m.date_time).astimezone().isoformat()
        yield {"name": name, "number": number, "made": made, "fault": fault}


def parts(name):
    """The names of the folders and the file in the name of a zip's member."""
    return tuple(p for p in re.split(r"[/\\]", name) if p not in ("", ".", "..")) or ("?",)


def member_name(member):
    """The name of a member of a zip, in whatever encoding it was written.

    Zips from Linux and macOS have names in UTF-8 even if they are not marked as such; those from Windows use the code
    page of its terminal: 437 in America, 850 in Western Europe.
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


if __name__ == "__main__":
    serve(socket.socket(fileno=0))
