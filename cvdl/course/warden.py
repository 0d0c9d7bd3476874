"""The judge's side of the sandbox: starts a process in it, sends calls, and reads the answers with care."""

import json
import secrets
import socket
import subprocess
import time
from pathlib import Path

from cvdl.course import checks, exercise, lent, wire
from cvdl.course.compare import CallFailed, CallStopped
from cvdl.course.inmate import BROKE_OFF, CLOCK
from cvdl.course.jail import MEMORY
from cvdl.course.loading import LOAD
from cvdl.errors import CourseError

PROGRAM = ("-BP", "-m", "cvdl.course.inmate")
START = 300  # seconds in which a sandbox has to start and a notebook to be cut
CALL = CLOCK + 30  # seconds by the clock after which the sandbox is ended; it ends calls by itself before that
ALL = 600  # seconds by the clock for one hand-in
LACKS = 300  # characters, the most that are kept of what a sandbox lacks


class Notebook:
    """A hand-in in a sandbox, which is started anew once it is lost.

    lacks: what the last calls said that the notebook had and the sandbox has not, a text each; lost: did one of them have
    to be stopped?  stops: how many were stopped since the notebook was opened.
    """

    def __init__(self, data, backend, course, chapter):
        """course: of loading.course_of; chapter: the one that the notebook is about."""
        self.data, self.backend, self.package = data, backend, lent.package(chapter)
        self.inmate = self.library = None
        self.deadline = time.monotonic() + ALL
        specs = {name: [(s.id, s.title, s.points) for s in checks.chapter(name).values()] for name in checks.chapters()}
        self.known = json.dumps({"course": course, "exercises": specs}).encode()
        self.lacks, self.lost, self.stops = [], False, 0
        self.found = self._start()

    def _start(self):
        """Raises CourseError where the sandbox does not cut the notebook: before any of its code has run."""
        self.inmate, self.loaded = Inmate(self.backend, self.package), set()
        try:
            head = wire.LENGTHS.pack(len(self.known), len(self.data))
            found = self.inmate.ask(head + self.known + self.data, self._within(START))
        except (TimeoutError, MemoryError, EOFError, ValueError) as error:
            self.close()
            raise CourseError(f"it could not be read in the sandbox: {error}") from None
        if "problem" in found:
            self.close()
            raise CourseError(found["problem"])
        return found

    def _within(self, seconds):
        """So many seconds, or those that are left for this hand-in.  Raises CourseError if none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise CourseError(f"it took more than {ALL // 60} minutes, of which each of its exercises may take a few")
        return min(seconds, left)

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
                self.lost = True
                raise

        def call(*args, weights=None):
            token = secrets.token_hex(16)
            if self.inmate is None:
                self._start()
            seconds = self._within(CALL if (id, way) in self.loaded else 2 * CALL + 2 * LOAD)
            self.loaded.add((id, way))
            request = wire.pack({"token": token, "id": id, "way": way, "args": args, "weights": weights})
            try:
                reply = self.inmate.ask(request, seconds, lambda question: self._library_for(id, question))
                if lacks := lacks_in(reply):
                    self.lacks.append(lacks)
                return answer_in(reply, token)
            except TimeoutError:
                self.close()
                raise CallStopped(f"stopped after {exercise.SECONDS} seconds", exercise.SLOW) from None
            except CourseError:
                raise
            except (MemoryError, EOFError, ValueError) as error:
                self.close()
                raise CallStopped(f"stopped: {error}", BROKE_OFF) from None

        return counted

    def _library_for(self, id, question):
        """The library's answer, for an answer to exercise `id` that calls another one -> the bytes of a message.

        Raises ValueError for what is no question.
        """
        request = wire.unpack(question)
        if not isinstance(request, dict) or request.keys() != {"id", "args", "kwargs", "weights"}:
            raise ValueError("no question")
        try:
            exercise.may_call(str(request["id"]), id)
        except CallFailed as failure:
            return wire.pack({"failed": str(failure), "hint": failure.hint})
        if self.library is None:
            self.library = Inmate(self.backend, None, "library")
        try:
            return self.library.pass_on(question, self._within(CALL))
        except (TimeoutError, MemoryError, EOFError, ValueError) as error:
            self.library.close()
            self.library = None
            return wire.pack({"failed": f"{request['id']} came to no end: {error}", "hint": exercise.SLOW})

    def close(self):
        for process in (self.inmate, self.library):
            if process:
                process.close()
        self.inmate = self.library = None

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
    """A process in a sandbox that answers messages, one after the other.

    Whatever it sends was perhaps written by a student: it is read up to a size and up to a time, and taken apart with
    care.  Not to be used after `ask` or `pass_on` has raised.
    """

    def __init__(self, backend, package=None, *task):
        """package: the folder that stands for the library `cvdl`, by default itself; task: what the program is told."""
        self.backend, self.name = backend, f"cvdl-{secrets.token_hex(8)}"
        ours, theirs = socket.socketpair()
        self.line = wire.Line(ours.detach())
        with theirs:
            self.process = subprocess.Popen(
                backend.command((*PROGRAM, *task), self.name, package),
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def ask(self, message, seconds, answer=None):
        """Send the bytes of a message, and wait for the answer -> what it holds.

        answer: the bytes of a question -> those of its answer.  Raises TimeoutError after `seconds`, MemoryError over
        MEMORY, EOFError if the process has ended, ValueError for what is no message.
        """
        return wire.unpack(self.pass_on(message, seconds, answer))

    def pass_on(self, message, seconds, answer=None):
        """As `ask` -> the bytes of the answer."""
        deadline = time.monotonic() + seconds

        def wait():
            if time.monotonic() > deadline:
                raise TimeoutError("no answer")
            if resident(self.process.pid) > MEMORY:
                raise MemoryError("too much memory")

        kind = wire.CALL
        while True:
            self.line.send(kind, message, max(deadline - time.monotonic(), 0.1))
            kind, message = self.line.receive(wait)
            if kind == wire.ANSWER:
                return message
            if kind != wire.QUESTION or answer is None:
                raise ValueError("no answer to what was asked")
            message = answer(message)

    def close(self):
        """End the process and all that it started."""
        self.process.kill()
        self.process.wait()
        self.backend.stop(self.name)
        self.line.close()


def resident(pid):
    """Bytes of memory that a process and its descendants hold, as far as they can be seen."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:", "VmPTE:")):
                total += int(line.split()[1]) << 10
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(map(resident, (task / "children").read_text().split()))
    except OSError:
        pass  # it ended meanwhile, or there is no /proc: the limit of each process is left
    return total
