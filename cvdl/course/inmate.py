"""What runs inside the jail: cuts the notebook that comes first, then answers for its exercises, call after call.

Requests hold arguments only: what the judge expects is never sent.  The course's own code, its oracles among it, can be
read in here, and called; `grade.remarks` tells of it.
"""

import json
import os
import signal
import sys
from contextlib import contextmanager
from importlib import import_module

import torch

from cvdl.course import checks, exercise, wire
from cvdl.course.compare import CallFailed, CallStopped, plain
from cvdl.course.cut import cut
from cvdl.course.limit import TimeIsUp
from cvdl.course.loading import Loader
from cvdl.errors import CourseError
from cvdl.settings import seed

QUIET = {  # calls by which a notebook shows something: they do nothing when its cells are run to be judged
    "cvdl.course.exercise": ("check", "hint", "progress", "use_library"),
    "cvdl.course.notebook": ("start", "show", "explore", "outcome"),
}


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

    quiet()
    sys.path.append(os.getcwd())  # last, so that it hides nothing: for modules that a cell of the notebook writes
    try:
        course, data = receive()
        found = cut(data)
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
            "unread": found.unread,
            "ways": {id: len(found.slices(id)) + 1 for id in found.definitions},
            "notes": found.notes,
        }
    )
    loader, calls = Loader(found, json.loads(course)), {}
    while True:
        request = wire.unpack(*receive(), strides=True)
        id, way, lacks = request["id"], request["way"], ""
        try:
            if (id, way) not in calls:
                calls.clear()  # results of loading in another way may share objects
                calls[id, way] = loader.load(id, way)
            loaded = calls[id, way]
            lacks = loaded.lacks
            if loaded.failure:
                raise loaded.failure
            answer = plain(exercise.caller(id, loaded.function)(*request["args"], weights=request["weights"]))
            reply = wire.pack({"token": request["token"], "lacks": lacks, "answer": answer})
        except CallFailed as failure:
            lacks = lacks or loader.lacking(failure)
            reply = failed(request, str(failure), failure.hint, isinstance(failure, CallStopped), lacks)
        except BaseException as error:  # SystemExit among them
            reply = failed(request, f"{type(error).__name__}: {error}", lacks=lacks)
        send(reply)


def mute():
    """Send to nowhere what a student's code prints, and give it nothing to read."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def quiet():
    """Disable the calls by which a notebook shows something, or judges itself."""
    import cvdl

    for module, names in QUIET.items():
        for name in names:
            setattr(import_module(module), name, nothing)
            setattr(cvdl, name, nothing)


def nothing(*_, **__):
    pass


def failed(request, why, hint="", stopped=False, lacks=""):
    """The reply to a call that failed; lacks: what the notebook had and is missing here."""
    return {"token": request["token"], "failed": why[:1000], "hint": hint, "stopped": stopped, "lacks": lacks}


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


if __name__ == "__main__":
    main()
