"""The program inside the sandbox: it first receives and cuts the notebook, then answers calls of its exercises.

Process 1 never runs a student's code.  It cuts the notebook once and starts a separate process for the code of each
exercise, which it stops at its limits.  Requests contain only arguments: the judge's expected answers are never sent, and
the library's functions that answer an exercise are not in the sandbox (`cvdl.course.grading.sandbox.stripped`).  If an answer calls another
exercise, the library's answer to that one is requested from outside.
"""

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

from cvdl.course.exercises import api, chapters, scoring
from cvdl.course.exercises.comparison import CallFailed, CallStopped, plain
from cvdl.course.exercises.time_limit import TimeIsUp
from cvdl.course.grading.extraction import extract
from cvdl.course.grading.loading import LOAD, Loader
from cvdl.course.grading.sandbox import protocol
from cvdl.course.notebook.cells import unmarked
from cvdl.errors import CourseError
from cvdl.settings import seed

QUIET = {  # functions with which a notebook displays something: they do nothing when its cells run to be judged
    "cvdl.course.exercises.api": ("check", "hint", "progress", "use_library"),
    "cvdl.course.notebook.display": ("start", "show", "explore", "outcome"),
}
SPARE = 2  # seconds of CPU time beyond the limit of a call, which first tries to stop it with a Python exception
CLOCK = 5 * api.SECONDS  # seconds of wall-clock time after which a call is stopped, however little CPU time it used
BROKE_OFF = "It ended Python, used too much memory, or sent something that is not an answer."
SHARED = "/tmp", "/dev/shm"  # files that an exercise leaves here are deleted before the next one
UNDUMPABLE = 4, 0  # prctl(PR_SET_DUMPABLE, 0): nobody else may look into this process or write into its memory


def main():
    judges = protocol.Connection(os.dup(0), os.dup(1))  # a socket, or the two pipes of a container
    mute()
    ctypes.CDLL(None).prctl(*UNDUMPABLE)
    torch.set_num_threads(1)
    seed()
    api.time_limit = processor_time
    api.first_gradient()
    with suppress(EOFError):  # the judge has gone
        if sys.argv[1:] == ["library"]:
            answer_for_library(judges)
        else:
            supervise(judges)


def supervise(judges):
    """Cut the notebook, and pass each of the judge's calls on to the process for its exercise."""
    known, data = protocol.split(judges.receive(limited=False)[1])
    known = json.loads(known)
    use(known["exercises"])
    try:
        found = extract(data)
    except CourseError as error:
        judges.send(protocol.ANSWER, protocol.pack({"problem": str(error)}))
        return
    told = {
        "answered": {id: found.answered(id) for id in found.definitions},
        "sources": {id: found.source(id)[:100_000] for id in found.definitions},
        "imports": {id: found.imports(id)[:10_000] for id in found.definitions},
        "broken": found.broken,
        "unread": found.unread,
        "ways": {id: len(found.slices(id)) + 1 for id in found.definitions},
        "notes": found.notes,
        "unmarked": unmarked(data, known["course"]["functions"]),
    }
    judges.send(protocol.ANSWER, protocol.pack(told))
    ward = None
    while True:
        _, message = judges.receive(limited=False)
        request = protocol.unpack(message)
        id, way = request["id"], request["way"]
        key = "notebook" if way == told["ways"][id] - 1 else (id, way)  # running the notebook continues from there
        if ward is None or ward.key != key or ward.stopped:
            if ward:
                ward.stop()
            ward = ExerciseProcess(key, found, known["course"], judges)
        try:
            reply = ward.call(id, way, message)
        except (EOFError, ValueError, TimeoutError) as error:
            ward.stop()
            late = isinstance(error, TimeoutError)
            why, hint = (str(error), api.SLOW) if late else (f"stopped: {error}", BROKE_OFF)
            reply = protocol.pack(failed(request, why, hint, stopped=True))
        judges.send(protocol.ANSWER, reply)


class ExerciseProcess:
    """A process for the code of one exercise, loaded in one way.

    key: identifies the exercise and the way; stopped: it can no longer be used.
    """

    def __init__(self, key, found, course, judges):
        self.key, self.judges, self.loaded = key, judges, set()
        self.stopped = self.ended = False
        ours, theirs = socket.socketpair()
        questions, asked = socket.socketpair()
        self.process = os.fork()
        if not self.process:
            for line in (ours, questions, judges):
                line.close()
            os.setsid()
            serve(protocol.Connection(theirs.detach()), protocol.Connection(asked.detach()), found, course)
        theirs.close()
        asked.close()
        self.line, self.questions = protocol.Connection(ours.detach()), protocol.Connection(questions.detach())

    def call(self, id, way, message):
        """The bytes of the answer to a call.

        Raises TimeoutError beyond the limits, EOFError if the process has ended, ValueError for an invalid message.
        """
        if (id, way) not in self.loaded:
            self.loaded.add((id, way))
            self._ask(protocol.pack({"id": id, "way": way}), 2 * LOAD + SPARE, CLOCK + 2 * LOAD)
        return self._ask(message, api.SECONDS + SPARE, CLOCK)

    def _ask(self, message, seconds, by_the_clock):
        began, used = time.monotonic(), self._used()

        def wait():
            if self._used() - used > seconds or time.monotonic() - began > by_the_clock:
                raise TimeoutError(f"stopped after {api.SECONDS} seconds")
            if self.ended:  # although one of its children may keep the line open
                raise EOFError("the process has ended")

        self.line.send(protocol.CALL, message, by_the_clock)
        while True:
            wait()
            ready, _, _ = select.select([self.line, self.questions], [], [], protocol.PAUSE)
            if self.questions in ready:
                self.judges.send(protocol.QUESTION, self.questions.receive(wait)[1])
                self.questions.send(protocol.ANSWER, self.judges.receive(limited=False)[1], by_the_clock)
            elif self.line in ready:
                _, reply = self.line.receive(wait)
                wait()  # an answer that comes too late does not count
                return reply

    def stop(self):
        """End the process and, in a sandbox, everything it started."""
        with suppress(ProcessLookupError):
            os.kill(-1 if os.getpid() == 1 else self.process, signal.SIGKILL)
        for line in (self.line, self.questions):
            line.close()
        self.stopped = True
        with suppress(ChildProcessError):
            while os.waitpid(-1, 0):
                pass
        for path in [p for folder in SHARED for p in Path(folder).iterdir()] if os.getpid() == 1 else ():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _used(self):
        """Seconds of CPU time used by all processes except this one; outside a sandbox, only by the exercise's."""
        with suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:  # orphaned processes count as children of this one
                self.ended |= pid == self.process
        others = [p.name for p in Path("/proc").iterdir() if p.name.isdigit()] if os.getpid() == 1 else [self.process]
        ticks = 0
        for pid in others:
            with suppress(OSError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15])) if int(pid) != os.getpid() else 0
        ended = os.times()
        return ticks / os.sysconf("SC_CLK_TCK") + ended.children_user + ended.children_system


def serve(line, questions, found, course):
    """Answer calls, in a process of its own.  Never returns."""
    quiet()
    sys.path.append(os.getcwd())  # last, so that it hides nothing; for modules that a cell of the notebook writes
    for spec in [spec for name in chapters.chapters() for spec in chapters.chapter(name).values()]:
        spec.library.line = questions
    loader, calls = Loader(found, course), {}
    try:
        while True:
            request = protocol.unpack(line.receive(limited=False)[1], strides=True)
            id, way = request["id"], request["way"]
            if "token" not in request:
                calls.clear()  # objects may be shared with what was loaded in another way
                calls[id, way] = loader.load(id, way)
                line.send(protocol.ANSWER, protocol.pack({}))
                continue
            line.send(protocol.ANSWER, answer(request, loader, calls[id, way]))
    finally:
        os._exit(1)


def answer(request, loader, loaded):
    """The bytes of the answer to a call of the loaded function."""
    lacks = loaded.lacks
    try:
        if loaded.failure:
            raise loaded.failure
        call = api.caller(request["id"], loaded.function)
        found = plain(call(*request["args"], weights=request["weights"]))
        return protocol.pack({"token": request["token"], "lacks": lacks, "answer": found})
    except CallFailed as failure:
        lacks = lacks or loader.lacking(failure)
        reply = failed(request, str(failure), failure.hint, isinstance(failure, CallStopped), lacks)
    except BaseException as error:  # SystemExit among them
        reply = failed(request, f"{type(error).__name__}: {error}", lacks=lacks)
    return protocol.pack(reply)


def failed(request, why, hint="", stopped=False, lacks=""):
    """The reply to a call that failed; lacks: what the notebook had but the sandbox does not."""
    return {"token": request["token"], "failed": why[:1000], "hint": hint, "stopped": stopped, "lacks": lacks}


# --- exercises without their answers ----------------------------------------------------------------------


@dataclass
class Spec:
    """All that the sandbox knows about an exercise."""

    id: str
    title: str
    points: int

    def __post_init__(self):
        self.library = Library(self.id)


def use(exercises):
    """Make `cvdl.course.exercises.chapters` know only these exercises: {chapter: [(id, title, points)]}."""
    chapters.known = {name: {row[0]: Spec(*row) for row in rows} for name, rows in exercises.items()}


class Library:
    """The library's answer to an exercise, as a function whose body is outside the sandbox."""

    line = None

    def __init__(self, id):
        self.id = id

    def __call__(self, *args, **kwargs):
        inputs = [v for v in (*args, *kwargs.values()) if scoring.is_float(v)]
        if torch.is_grad_enabled() and any(v.requires_grad for v in inputs):
            found = Answered.apply(self, args, kwargs, *inputs)
            return found if self.many else found[0]
        return self.ask(args, kwargs)

    def ask(self, args, kwargs, weights=None):
        request = {"id": self.id, "args": plain(args), "kwargs": plain(kwargs), "weights": weights}
        self.line.send(protocol.QUESTION, protocol.pack(request))
        reply = protocol.unpack(self.line.receive(limited=False)[1])
        if "failed" in reply:
            raise CallFailed(reply["failed"], reply["hint"])
        return reply["answer"]


class Answered(torch.autograd.Function):
    """The library's answer, one tensor or several, with its gradient."""

    @staticmethod
    def forward(context, library, args, kwargs, *inputs):
        context.library, context.args, context.kwargs = library, args, kwargs
        found = library.ask(args, kwargs)
        library.many = isinstance(found, tuple | list)
        return tuple(found) if library.many else (found,)

    @staticmethod
    def backward(context, *weights):
        gradients = context.library.ask(context.args, context.kwargs, weights)
        return None, None, None, *gradients


def answer_for_library(judges):
    """Answer for the library, in a separate sandbox that contains it."""
    while True:
        request = protocol.unpack(judges.receive(limited=False)[1])
        try:
            with processor_time(api.SECONDS):
                library = chapters.find(request["id"]).library
                found = evaluated(library, request["args"], request["kwargs"], request["weights"])
            reply = {"answer": plain(found)}
        except (Exception, TimeIsUp) as error:
            reply = {"failed": f"{type(error).__name__}: {error}"[:300], "hint": getattr(error, "hint", "")}
        judges.send(protocol.ANSWER, protocol.pack(reply))


def evaluated(function, args, kwargs, weights=None):
    """A function's return value or, given a weight for each tensor that it returns, gradients as in `scoring.answer`.

    The gradients are those of the sum of weight times output with respect to the floating-point tensors among the arguments.
    """
    if weights is None:
        return function(*args, **kwargs)
    inputs = [v.requires_grad_() for v in (*args, *kwargs.values()) if scoring.is_float(v)]
    found = function(*args, **kwargs)
    found = found if isinstance(found, tuple | list) else [found]
    learnt = [(o, w) for o, w in zip(found, weights, strict=True) if scoring.is_float(o) and o.requires_grad]
    outputs, weights = zip(*learnt, strict=True)
    gradients = torch.autograd.grad(outputs, inputs, weights, allow_unused=True)
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, gradients, strict=True)]


# --- around a student's code --------------------------------------------------------------------------------


def mute():
    """Discard what a student's code prints, and give it nothing to read."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def quiet():
    """Disable the functions with which a notebook displays something or checks itself."""
    import cvdl

    for module, names in QUIET.items():
        for name in names:
            setattr(import_module(module), name, nothing)
            setattr(cvdl, name, nothing)


def nothing(*_, **__):
    pass


@contextmanager
def processor_time(seconds):
    """Like time_limit.time_limit, but for CPU time, so that a busy machine does not cost students any time."""

    def stop(*_):
        raise TimeIsUp

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
