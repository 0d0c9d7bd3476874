"""Hostile hand-ins, and what must be seen of each: no points, the reason, and a machine that is as it was.

An attack returns the right answer if it got what it wanted, and fails if not: whoever earns points has got through.
Around each, `Trap` has things that an attack must not reach, and looks at them afterwards.  `suite` runs them all, then
a few of them as canaries, without a jail: those must be seen to get through.  Attacks that take several hand-ins are in
`classes`.  `python -m cvdl.course.grading.attacks NAME` runs those whose names match NAME, and shows what was said.
"""

import contextlib
import hashlib
import inspect
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from cvdl.course.exercises import chapters
from cvdl.course.grading import grade, submissions
from cvdl.course.grading.sandbox import backends, client
from cvdl.errors import CourseError
from cvdl.settings import ROOT

NOTEBOOK, ID = "00_start_here", "start.to_unit"
RNN = "01_rnn_from_scratch"  # has exercises enough for several attacks in one hand-in
SEED = "a seed"
RUNAWAY = 2000  # seconds after which an attack has held up the judge, many times longer than any takes

ENVIRONMENT = "CVDL_TRAP"  # a variable of the judge that nobody is to see
RIGHT = "return image / 255"


@dataclass(frozen=True)
class Attack:
    """A hostile hand-in.

    make(folder, trap): writes it, and returns what `cvdl grade` is pointed at, or None for the folder.
    seen: regular expression, has to be found in what is told of it; noted: it may earn points, so long as that is told;
    most: points that it may earn, since a part of it is right.
    contained: the same for podman and docker, which kill by themselves what takes too much.
    limits: {name in cvdl.course.grading.sandbox.client: number}, to make it short; seconds: beyond which it has held up the judge, many
    times what it takes, since machines are slow or busy.
    id: the exercise that is attacked.  Attacks with the same `make` are one hand-in.
    """

    name: str
    tries: str
    make: Callable
    seen: str = ""
    noted: bool = False
    most: int = 0
    contained: str = ""
    limits: dict = field(default_factory=dict)
    seconds: float = RUNAWAY
    id: str = ID


@dataclass(frozen=True)
class Outcome:
    """What came of an attack: `through` lists what should not have been; held if there is nothing."""

    attack: Attack
    through: list[str]
    seconds: float
    canary: bool = False
    told: str = ""

    @property
    def good(self):
        return bool(self.through) == self.canary


def notebook(*cells, stem=NOTEBOOK):
    """The students' notebook with these in place of its exercise cells -> bytes."""
    built = json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    places = [i for i, c in enumerate(built["cells"]) if "@exercise" in "".join(c["source"])]
    for i in reversed(places):
        del built["cells"][i]
    built["cells"][places[0] : places[0]] = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "id": f"mine-{i}", "source": c}
        for i, c in enumerate(cells)
    ]
    return json.dumps(built).encode()


def answer(body=RIGHT, id=ID):
    parameters = ", ".join(inspect.signature(chapters.find(id).library).parameters)
    return f'@exercise("{id}")\ndef {id.replace(".", "_")}({parameters}):\n' + indented(body)


def indented(body):
    return textwrap.indent(textwrap.dedent(body), "    ")


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def code(body, before=""):
    """`make` of an attack by the function's body, with code before it; `trap` is what the attacker knows."""

    def make(folder, trap):
        cells = [f"trap = {trap.known!r}", textwrap.dedent(before), answer(body)]
        put(folder / "mallory" / "mine.ipynb", notebook(*cells))

    return make


def together(*attacks):
    """Attacks by (name, what it tries, body, code before, seen), each on another exercise of one hand-in."""
    ids = list(chapters.chapter("rnn"))[: len(attacks)]

    def make(folder, trap):
        cells = [f"trap = {trap.known!r}"]
        for id, (_, _, body, before, _) in zip(ids, attacks, strict=True):
            cells += [textwrap.dedent(before), answer(body, id)]
        put(folder / "mallory" / "mine.ipynb", notebook(*cells, stem=RNN))

    return [Attack(n, tries, make, seen, id=id) for id, (n, tries, _, _, seen) in zip(ids, attacks, strict=True)]


class Trap:
    """What an attack must leave alone, in a folder of its own."""

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="cvdl-trap-")))
        put(self.folder / "others" / "anna.ipynb", notebook(answer()))
        put(self.folder / "written", b"as it was")
        self.sockets = {
            "tcp": self.listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": self.listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix": self.listen(socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "socket")),
            "abstract": self.listen(socket.AF_UNIX, socket.SOCK_STREAM, f"\0cvdl-{secrets.token_hex(8)}"),
        }
        with contextlib.suppress(OSError):  # machines without IPv6
            self.sockets["tcp6"] = self.listen(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        self.marker = f"9{secrets.randbelow(10**8):08d}"
        names = {name: s.getsockname() for name, s in self.sockets.items()}
        self.known = {
            "folder": str(self.folder),
            "marker": self.marker,
            "judge": os.getpid(),
            "root": str(ROOT),
            **{k: v.decode("latin") if isinstance(v, bytes) else v for k, v in names.items()},
        }
        self.stack.enter_context(mock.patch.dict(os.environ, {ENVIRONMENT: "secret"}))
        self.before = self.files()
        self.free = self.least = available()
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.watcher.join()
        for s in self.sockets.values():
            s.close()
        self.stack.close()

    def listen(self, family, kind, address):
        s = self.stack.enter_context(socket.socket(family, kind))
        s.bind(address)
        if kind == socket.SOCK_STREAM:
            s.listen()
        s.setblocking(False)
        return s

    def watch(self):
        while not self.over.wait(0.1):
            self.least = min(self.least, available())

    def files(self):
        """Names of all files in the folder, and digests of those that are nobody's hand-in or result."""
        found = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if not re.match(r"submissions(/|$)|out(/results(/[\w-]+(/[\w-]+\.json)?)?)?$", name):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        return found

    def sprung(self):
        """What an attack has reached."""
        for name, s in self.sockets.items():
            with contextlib.suppress(BlockingIOError):
                s.accept() if s.type == socket.SOCK_STREAM else s.recv(1)
                yield f"a packet came by {name}"
        after = self.files()
        for name in sorted(self.before.keys() | after):
            if self.before.get(name, 0) != after.get(name, 0):
                yield f"{name} was written"
        if running(self.marker):
            yield "a process is left"
        if self.free - self.least > backends.MEMORY + (2 << 30):
            yield f"it took {(self.free - self.least) >> 20} MB"


def available():
    """Bytes of memory that are free on this machine."""
    return int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) << 10


def running(marker):
    """Processes that have this among their arguments; a killed one may take a moment to go."""
    found = []
    for _ in range(20):
        found = [p for p in Path("/proc").glob("[0-9]*") if marker.encode() in arguments(p)]
        if not found:
            break
        time.sleep(0.1)
    return found


def arguments(process):
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def run(attacks, backend, canary=False):
    """Grade the hand-in of these attacks, as `cvdl grade` does -> list of Outcome."""
    with contextlib.ExitStack() as stack:
        trap = stack.enter_context(Trap())
        for name, value in attacks[0].limits.items():
            stack.enter_context(mock.patch.object(client, name, value))
        folder = trap.folder / "submissions"
        folder.mkdir()
        where = attacks[0].make(folder, trap) or folder
        begin = time.monotonic()
        try:
            results, refused = list(grade.grade(submissions.find(where), trap.folder / "out", SEED, backend)), ""
        except CourseError as error:
            results, refused = [], str(error)
        seconds = time.monotonic() - begin
        sprung = list(trap.sprung())
        if any(e["earned"] < e["points"] for r in results if r["student"] == "anna" for e in r["exercises"]):
            sprung.append("another student has lost points")
        if seconds > attacks[0].seconds:
            sprung.append(f"it took {seconds:.0f} seconds")
    outcomes = []
    for attack in attacks:
        told = "\n".join([refused, *spoken(results, attack.id)])
        through = [*sprung, *gained(attack, results)]
        seen = attack.seen
        if attack.contained and isinstance(backend, backends.Container):
            seen = f"{seen}|{attack.contained}"
        if not re.search(seen, told, re.M):
            through.append(f"what was told is not {seen!r}: {told[:300]!r}")
        outcomes.append(Outcome(attack, through, seconds / len(attacks), canary, told))
    return outcomes


def gained(attack, results):
    earned = sum(e["earned"] for r in results if r["student"] != "anna" for e in r["exercises"] if e["id"] == attack.id)
    return [f"it earned {earned} points"] if earned > attack.most and not attack.noted else []


def spoken(results, id):
    """What the results tell of this exercise, line by line."""
    for result in results:
        yield f"{result['student']}: {result['problem']}"
        yield from result["notes"]
        for exercise in result["exercises"]:
            if exercise["id"] == id:
                yield exercise["state"]
                yield from (case["message"] for case in exercise["cases"])


class Open:
    """No jail at all, for canaries."""

    name = "none"

    def command(self, python, name, package=None):
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, *python]

    def stop(self, name):
        pass
