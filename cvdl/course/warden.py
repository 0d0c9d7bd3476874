"""The judge's side of the jail: starts a process in it, sends calls, and reads the answers with care."""

import json
import re
import secrets
import select
import socket
import subprocess
import time
from pathlib import Path

from cvdl.course import wire
from cvdl.course.compare import CallFailed, CallStopped
from cvdl.course.exercise import SECONDS
from cvdl.course.jail import MEMORY
from cvdl.course.loading import LOAD
from cvdl.errors import CourseError

PROGRAM = ("-BP", "-m", "cvdl.course.inmate")
START = 300  # seconds in which a jail has to start and a notebook to be cut
CALL = 6 * SECONDS  # seconds by the clock after which a call is stopped from outside; inside, the processor's count
LACKS = 300  # the largest number of characters kept of what a jail lacks
SLOW = "Is there a loop that never ends, or a slow one over single numbers?"
BROKE_OFF = "It ended Python, took too much memory, or sent what is no answer."


class Notebook:
    """A hand-in in a jail, which is started again if it is lost.

    lacks: for the last calls, what the notebook had and the jail has not, one text each; lost: was one of them stopped
    from outside?  stops: the number of calls stopped since the jail was opened.
    """

    def __init__(self, data, backend, course=None):
        """course: from loading.course_of."""
        self.data, self.backend, self.inmate = data, backend, None
        self.course = json.dumps(course).encode()
        self.lacks, self.lost, self.stops = [], False, 0
        self.found = self._start()

    def _start(self):
        """Raises CourseError where the jail does not cut the notebook: before any of its code has run."""
        self.inmate, self.loaded = Inmate(self.backend), set()
        try:
            head = wire.LENGTHS.pack(len(self.course), len(self.data))
            found = self.inmate.ask(head + self.course + self.data, START)
        except (CourseError, TimeoutError, MemoryError, EOFError, ValueError) as error:
            self.close()
            raise CourseError(f"it could not be read in the jail: {error}") from None
        if "problem" in found:
            self.close()
            raise CourseError(found["problem"])
        return found

    def call(self, id, way=0):
        """The function that `judge.score` calls for answers to exercise `id`, loaded in one of its ways.

        From then on, `lacks` and `lost` are about these calls.
        """
        self.lacks, self.lost = [], False

        def counted(*args, weights=None):
            try:
                return call(*args, weights=weights)
            except CallStopped:
                self.stops += 1
                raise

        def call(*args, weights=None):
            token = secrets.token_hex(16)
            if self.inmate is None:
                self._start()
            seconds = CALL if (id, way) in self.loaded else CALL + LOAD
            self.loaded.add((id, way))
            request = wire.pack({"token": token, "id": id, "way": way, "args": args, "weights": weights})
            try:
                reply = self.inmate.ask(request, seconds)
                if lacks := lacks_in(reply):
                    self.lacks.append(lacks)
                return answer_in(reply, token)
            except TimeoutError:
                self.close()
                self.lost = True
                raise CallStopped(f"stopped after {SECONDS} seconds", SLOW) from None
            except CourseError:
                raise
            except (MemoryError, EOFError, ValueError) as error:
                self.close()
                self.lost = True
                raise CallStopped(f"stopped: {error}", BROKE_OFF) from None

        return counted

    def close(self):
        if self.inmate:
            self.inmate.close()
        self.inmate = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def lacks_in(reply):
    """Remove from a reply what the jail lacks, and return it; "" if there is nothing."""
    lacks = reply.pop("lacks", "") if isinstance(reply, dict) else ""
    return lacks[:LACKS] if isinstance(lacks, str) else ""


def answer_in(reply, token):
    """The answer in a reply.  Raises CallFailed for a failure, ValueError if it is no reply to this request."""
    if not isinstance(reply, dict) or reply.pop("token", None) != token:
        raise ValueError("no answer to what was asked")
    if reply.keys() == {"answer"}:
        return reply["answer"]
    if [type(reply.get(k)) for k in ("failed", "hint", "stopped")] != [str, str, bool]:
        raise ValueError("no answer")
    raise (CallStopped if reply["stopped"] else CallFailed)(reply["failed"][:1000], reply["hint"][:1000])


class Inmate:
    """A jailed process that answers messages, one after the other.

    Whatever it sends was perhaps written by a student: it is read up to a size and up to a time, and taken apart with
    care.  Not to be used after `ask` has raised.
    """

    def __init__(self, backend):
        self.backend, self.name = backend, f"cvdl-{secrets.token_hex(8)}"
        self.line, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                backend.command(PROGRAM, self.name),
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def ask(self, message, seconds):
        """Send bytes, and wait for the answer -> what it holds.

        Raises TimeoutError after `seconds`, MemoryError or CourseError over MEMORY, EOFError if the process has ended, ValueError for
        what is no message.
        """
        deadline, self.shared = time.monotonic() + seconds, shared()
        try:
            self.line.settimeout(seconds)
            self.line.sendall(message)
            parts = [self._read(n, deadline) for n in wire.lengths(self._read(wire.LENGTHS.size, deadline))]
        except ConnectionError:
            raise EOFError("the process has ended") from None
        return wire.unpack(*parts)

    def _read(self, size, deadline):
        parts = bytearray()
        while len(parts) < size:
            if time.monotonic() > deadline:
                raise TimeoutError("no answer")
            if resident(self.process.pid) > MEMORY:
                raise MemoryError("too much memory")
            if shared() - self.shared > MEMORY:  # nobody can say whose it is
                raise CourseError(
                    "not judged: shared memory of this machine was filled meanwhile. Grade again with --workers 1; "
                    "if it is told again, it is this hand-in that does it."
                )
            if select.select([self.line], [], [], 0.1)[0]:
                part = self.line.recv(min(size - len(parts), 1 << 20))
                if not part:
                    raise EOFError("the process has ended")
                parts += part
        return bytes(parts)

    def close(self):
        """End the process and all that it started."""
        self.process.kill()
        self.process.wait()
        self.backend.stop(self.name)
        self.line.close()


def shared():
    """Bytes of shared memory in use on this machine, also where no process shows it: /tmp of jails is in it, too."""
    return meminfo("Shmem")


def meminfo(name):
    """Bytes in a line of /proc/meminfo; 0 where there is none."""
    try:
        return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) << 10
    except (OSError, TypeError):
        return 0


def resident(pid):
    """Bytes of memory that a process and its descendants hold, as far as they can be seen."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) << 10
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(map(resident, (task / "children").read_text().split()))
    except OSError:
        pass  # it ended meanwhile, or there is no /proc: the limit of each process is left
    return total
