"""The judge's side of the sandbox: starts a process in it, sends calls, and reads the answers without trusting them."""

import json
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from cvdl.course.exercises import api, chapters
from cvdl.course.exercises.comparison import CallFailed, CallStopped
from cvdl.course.grading.loading import LOAD
from cvdl.course.grading.sandbox import protocol, stripped
from cvdl.course.grading.sandbox.backends import MEMORY
from cvdl.course.grading.sandbox.worker import BROKE_OFF, CLOCK
from cvdl.errors import CourseError

PROGRAM = ("-BP", "-m", "cvdl.course.grading.sandbox.worker")
START = 300  # seconds within which a sandbox must start and cut the notebook
CALL = CLOCK + 30  # seconds of wall-clock time after which the sandbox is killed, in case it did not stop the call
ALL = 600  # seconds of wall-clock time for one hand-in
LACKS = 300  # characters kept of the description of something missing in the sandbox


class Notebook:
    """A hand-in in a sandbox, which is restarted when it is lost.

    lacks: list of texts from the last calls about things that the notebook had but the sandbox does not have; lost: was one
    of these calls stopped?  stops: number of calls stopped since the notebook was opened.
    """

    def __init__(self, data, backend, course, chapter):
        """course: from loading.course_of; chapter: of the notebook."""
        self.data, self.backend, self.package = data, backend, stripped.package(chapter)
        self.worker = self.library = None
        self.deadline = time.monotonic() + ALL
        specs = {
            name: [(s.id, s.title, s.points) for s in chapters.chapter(name).values()] for name in chapters.chapters()
        }
        self.known = json.dumps({"course": course, "exercises": specs}).encode()
        self.lacks, self.lost, self.stops = [], False, 0
        self.found = self._start()

    def _start(self):
        """Raises CourseError if the sandbox cannot cut the notebook, which happens before any of its code runs."""
        self.worker, self.loaded = SandboxProcess(self.backend, self.package), set()
        try:
            head = protocol.LENGTHS.pack(len(self.known), len(self.data))
            found = self.worker.ask(head + self.known + self.data, self._within(START))
        except (TimeoutError, MemoryError, EOFError, ValueError) as error:
            self.close()
            raise CourseError(f"the notebook could not be read in the sandbox: {error}") from None
        if "problem" in found:
            self.close()
            raise CourseError(found["problem"])
        return found

    def _within(self, seconds):
        """The given seconds, or those left for this hand-in if fewer.  Raises CourseError if none are left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise CourseError(f"its exercises took more than {ALL // 60} minutes in total, the limit for one hand-in")
        return min(seconds, left)

    def call(self, id, way=0):
        """The function that `judge.score` calls for answers to exercise `id`, loaded in one of the possible ways.

        From then on, `lacks` and `lost` refer to these calls.
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
            if self.worker is None:
                self._start()
            seconds = self._within(CALL if (id, way) in self.loaded else 2 * CALL + 2 * LOAD)
            self.loaded.add((id, way))
            request = protocol.pack({"token": token, "id": id, "way": way, "args": args, "weights": weights})
            try:
                reply = self.worker.ask(request, seconds, lambda question: self._library_for(id, question))
                if lacks := lacks_in(reply):
                    self.lacks.append(lacks)
                return answer_in(reply, token)
            except TimeoutError:
                self.close()
                raise CallStopped(f"stopped after {api.SECONDS} seconds", api.SLOW) from None
            except CourseError:
                raise
            except (MemoryError, EOFError, ValueError) as error:
                self.close()
                raise CallStopped(f"stopped: {error}", BROKE_OFF) from None

        return counted

    def _library_for(self, id, question):
        """The library's answer, for an answer to exercise `id` that calls another one -> the bytes of a message.

        Raises ValueError if the message is not a valid question.
        """
        request = protocol.unpack(question)
        if not isinstance(request, dict) or request.keys() != {"id", "args", "kwargs", "weights"}:
            raise ValueError("not a valid question")
        try:
            api.may_call(str(request["id"]), id)
        except CallFailed as failure:
            return protocol.pack({"failed": str(failure), "hint": failure.hint})
        if self.library is None:
            self.library = SandboxProcess(self.backend, None, "library")
        try:
            return self.library.pass_on(question, self._within(CALL))
        except (TimeoutError, MemoryError, EOFError, ValueError) as error:
            self.library.close()
            self.library = None
            return protocol.pack({"failed": f"{request['id']} did not finish: {error}", "hint": api.SLOW})

    def close(self):
        for process in (self.worker, self.library):
            if process:
                process.close()
        self.worker = self.library = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def lacks_in(reply):
    """Remove from a reply the text about what the jail lacks, and return it; "" if there is none."""
    lacks = reply.pop("lacks", "") if isinstance(reply, dict) else ""
    return lacks[:LACKS] if isinstance(lacks, str) else ""


def answer_in(reply, token):
    """The answer in a reply.  Raises CallFailed for a failure, ValueError if it does not reply to this request."""
    if not isinstance(reply, dict) or reply.pop("token", None) != token:
        raise ValueError("the reply does not match the request")
    if reply.keys() == {"answer"}:
        return reply["answer"]
    if [type(reply.get(k)) for k in ("failed", "hint", "stopped")] != [str, str, bool]:
        raise ValueError("not a valid answer")
    raise (CallStopped if reply["stopped"] else CallFailed)(reply["failed"][:1000], reply["hint"][:1000])


class SandboxProcess:
    """A process in a sandbox that answers messages, one after the other.

    Anything it sends may have been written by a student: it is read only up to limits of size and time, and parsed with
    care.  Must not be used after `ask` or `pass_on` has raised an exception.
    """

    def __init__(self, backend, package=None, *task):
        """package: the folder to use as the library `cvdl`, by default the library itself; task: arguments of the program."""
        self.backend, self.name = backend, f"cvdl-{secrets.token_hex(8)}"
        ours, theirs = socket.socketpair()
        self.line = protocol.Connection(ours.detach())
        with theirs:
            self.process = subprocess.Popen(
                backend.command((*PROGRAM, *task), self.name, package),
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd=tempfile.gettempdir(),  # where podman leaves a file `oom` if memory runs out
            )

    def ask(self, message, seconds, answer=None):
        """Send the bytes of a message, and wait for the answer -> its content.

        answer: function from the bytes of a question to those of its answer.  Raises TimeoutError after `seconds`,
        MemoryError above MEMORY, EOFError if the process has ended, ValueError for an invalid message.
        """
        return protocol.unpack(self.pass_on(message, seconds, answer))

    def pass_on(self, message, seconds, answer=None):
        """Like `ask`, but returns the bytes of the answer."""
        deadline = time.monotonic() + seconds

        def wait():
            if time.monotonic() > deadline:
                raise TimeoutError("no answer")
            if resident(self.process.pid) > MEMORY:
                raise MemoryError("too much memory")

        kind = protocol.CALL
        while True:
            self.line.send(kind, message, max(deadline - time.monotonic(), 0.1))
            kind, message = self.line.receive(wait)
            if kind == protocol.ANSWER:
                return message
            if kind != protocol.QUESTION or answer is None:
                raise ValueError("the reply does not match the request")
            message = answer(message)

    def close(self):
        """End the process and everything it started."""
        self.process.kill()
        self.process.wait()
        self.backend.stop(self.name)
        self.line.close()


def resident(pid):
    """Bytes of memory used by a process and its descendants, as far as they are visible."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssShmem:", "VmPTE:")):
                total += int(line.split()[1]) << 10
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(map(resident, (task / "children").read_text().split()))
    except OSError:
        pass  # it has ended, or there is no /proc: the limit of each process still applies
    return total
