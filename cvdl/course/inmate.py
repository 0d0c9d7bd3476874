"""What runs inside the jail: cuts the notebook that comes first, then answers for its exercises, call after call.

Requests hold arguments only: what the judge expects is never sent.  The course's own code, its oracles among it, can be
read in here, and called; `grade.remarks` tells of it.
"""

import ast
import linecache
import os
import signal
import sys
from contextlib import contextmanager

import torch

from cvdl.course import checks, exercise, wire
from cvdl.course.compare import CallFailed, CallStopped, plain
from cvdl.course.cut import cut
from cvdl.course.limit import TimeIsUp
from cvdl.errors import CourseError
from cvdl.settings import seed

LOAD = 30  # seconds of processor time for the imports and helpers of one exercise


def main():
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    mute()
    torch.set_num_threads(1)
    seed()
    exercise.time_limit = processor_time
    exercise.first_gradient()

    def receive():
        head = requests.read(wire.LENGTHS.size)
        if not head:
            sys.exit()
        return [requests.read(n) for n in wire.LENGTHS.unpack(head)]

    def send(message):
        replies.write(message if isinstance(message, bytes) else wire.pack(message))
        replies.flush()

    try:
        found = cut(receive()[1])
        for chapter in {id.partition(".")[0] for id in found.definitions} & set(checks.chapters()):
            checks.chapter(chapter)
    except CourseError as error:
        send({"problem": str(error)})
        return
    send(
        {
            "answered": {id: found.answered(id) for id in found.definitions},
            "sources": {id: found.source(id)[:100_000] for id in found.definitions},
            "imports": {id: found.imports(id)[:10_000] for id in found.definitions},
            "broken": found.broken,
            "notes": found.notes,
        }
    )
    calls = {}
    while True:
        request = wire.unpack(*receive(), strides=True)
        try:
            id = request["id"]
            if id not in calls:
                calls[id] = exercise.caller(id, load(found, id))
            answer = plain(calls[id](*request["args"], weights=request["weights"]))
            reply = wire.pack({"token": request["token"], "answer": answer})
        except CallFailed as failure:
            reply = failed(request, str(failure), failure.hint, isinstance(failure, CallStopped))
        except BaseException as error:  # SystemExit among them
            reply = failed(request, f"{type(error).__name__}: {error}")
        send(reply)


def mute():
    """Send to nowhere what a student's code prints, and give it nothing to read."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def failed(request, why, hint="", stopped=False):
    return {"token": request["token"], "failed": why[:1000], "hint": hint, "stopped": stopped}


def load(found, id):
    """Run what exercise `id` needs, and nothing else -> the student's function.  Raises CallFailed."""
    namespace = {"__name__": "__main__"}
    for number, source in found.cells.items():
        linecache.cache[name(number)] = (len(source), None, source.splitlines(keepends=True), name(number))
    try:
        with processor_time(LOAD):
            early = [s for s in found.needed(id) if not run(s, namespace)]  # cells may have been moved
            for statement in early:
                run(statement, namespace, id)
    except TimeIsUp:
        raise CallStopped(
            f"stopped after {LOAD} seconds, before it was called",
            "The definitions that it needs take too long. Let them only define.",
        ) from None
    return exercise._attempts[id].function


def run(statement, namespace, id=None):
    """Run it -> did it run?  With `id`, for the last time: raises CallFailed if that exercise is not defined by it."""
    try:
        exec(compile(ast.Module([statement.tree], []), name(statement.cell), "exec"), namespace)
    except TimeIsUp:
        raise
    except BaseException as error:
        if id is None:
            return False
        if id in statement.ids:
            raise CallFailed(f"{type(error).__name__}: {error}"[:300], "The cell itself fails.") from None
    return True


@contextmanager
def processor_time(seconds):
    """As limit.time_limit, but a machine that is busy with other things takes no time from a student."""

    def stop(*_):
        raise TimeIsUp

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def name(cell):
    return f"code cell {cell}"


if __name__ == "__main__":
    main()
