"""Attacks that take a whole class: `cvdl grade` is run as a teacher runs it, in a process of its own.

A `ClassAttack` writes hand-ins, among them honest ones, and says how `cvdl` is called, perhaps several times.  `run`
calls it, and looks at what a teacher sees: exit code, output, tables, pages and results.  `python -m cvdl.course.grading.attacks NAME` runs the
attacks whose names match NAME, and prints what came of them.
"""

import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cvdl.course.grading.attacks.base import RUNAWAY, SEED, answer, notebook, put
from cvdl.course.grading.sandbox import client
from cvdl.settings import ROOT

FULL = 100  # points of notebook 00, which has one exercise
GOOD = notebook(answer())
WRONG = notebook(answer("return image / 256"))
PROGRAM = """
import sys
from cvdl.course.grading.sandbox import client
for name, value in {limits!r}.items():
    setattr(client, name, value)
from cvdl.cli.app import app
app()
"""


@dataclass(frozen=True)
class ClassAttack:
    """Hand-ins of a class, one of them hostile or odd.

    make(folder): writes them, and returns the calls of `cvdl` after the first two words, `cvdl grade`: a list of lists of
    words, in which OUT stands for the folder of results; or what `cvdl grade` is pointed at; or None for the folder.
    through(seen): yields what should not have been, besides what `run` looks for itself: a run that ended or took
    longer than `seconds`, an honest student (`honest`: {name: points}) without exactly these points, and points for
    anybody else who is not in `allowed`.
    meanwhile(folder, over): runs in a thread during the first call, until the event `over` is set.
    environment(folder): variables for the calls; limits: {name in cvdl.course.grading.sandbox.client: number}.
    long: leave it out of the short tests; user: it is of interest for an ordinary user, too.
    """

    name: str
    tries: str
    make: Callable
    through: Callable = lambda seen: ()
    honest: dict = field(default_factory=lambda: {"anna": FULL})
    allowed: tuple = ()
    meanwhile: Callable | None = None
    environment: Callable = lambda folder: {}
    limits: dict = field(default_factory=dict)
    seconds: float = RUNAWAY
    long: bool = True
    user: bool = False


@dataclass
class Seen:
    """What a teacher has in front of them after the calls."""

    folder: Path
    out: Path
    codes: list = field(default_factory=list)
    said: list = field(default_factory=list)
    seconds: float = 0
    cpu: float = 0  # seconds of processor time, of all processes that have ended

    def rows(self, name):
        """A table as a list of dicts, [] where there is none."""
        path = self.out / name
        if not path.exists():
            return []
        with open(path, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def marks(self, assignment="00_start_here"):
        """{student: points as text} of grades.csv."""
        return {r["student_id"]: r["score"] for r in self.rows("grades.csv") if r["assignment"] == assignment}

    def results(self):
        """All results as dicts, those that can be read."""
        found = []
        for path in sorted(self.out.glob("results/*/*.json")):
            with suppress(ValueError):
                found.append(json.loads(path.read_text(encoding="utf-8")))
        return found

    def students(self):
        """The names in the table of exercises, which has everybody."""
        return {row["student"] for row in self.rows("exercises.csv")}

    def of(self, student):
        return [r for r in self.results() if r["student"] == student]

    def pages(self, inside=""):
        """{path: text} of the pages whose path contains this."""
        return {
            str(p.relative_to(self.out)): p.read_text(encoding="utf-8", errors="replace")
            for p in sorted(self.out.glob("pages/*/*.html"))
            if inside in str(p)
        }

    def texts(self):
        """{path: text} of everything that goes out: tables and pages."""
        found = [*self.out.glob("*.csv"), *self.out.glob("*.html"), *self.out.glob("pages/*/*.html")]
        return {str(p.relative_to(self.out)): p.read_text(encoding="utf-8", errors="replace") for p in found}


def run(attack, prefix=(), keep=None, jail="auto"):
    """Carry out an attack -> (list of what should not have been, Seen).

    prefix: beginning of a command line that runs Python as another user; keep: folder to work in; jail: of `cvdl grade`.
    """
    folder = Path(keep or tempfile.mkdtemp(prefix="cvdl-class-"))
    seen = Seen(folder, folder / "marks")
    begin, cpu = time.monotonic(), of_children()
    try:
        (folder / "all").mkdir(parents=True)
        seen.out.mkdir()
        calls = calls_of(attack.make(folder / "all"), folder / "all")
        if prefix:
            for path in (folder, seen.out, folder / "all"):
                path.chmod(0o777)
        for number, words in enumerate(calls):
            left = attack.seconds - (time.monotonic() - begin)
            words += ["--jail", jail] if words[0] == "grade" else []
            call(prefix, words, seen, attack, left, None if number else attack.meanwhile)
            if seen.codes[-1] is None:
                break
        seen.seconds, seen.cpu = time.monotonic() - begin, of_children() - cpu
        return list(judged(attack, seen)), seen
    finally:
        if not keep:  # paths may be longer, and folders more closed, than Python's own function can do with
            subprocess.run(["chmod", "-R", "u+rwX", folder], capture_output=True, check=False)
            subprocess.run(["rm", "-rf", folder], capture_output=True, check=False)


def of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def calls_of(made, folder):
    if isinstance(made, list):
        return made
    return [["grade", str(made or folder), "--out", "OUT", "--seed", SEED]]


class Forked:
    """A call of `cvdl` in a child of this process, which has imported torch already: that saves seconds each time."""

    def __init__(self, words, environment, limits, output):
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            os.chdir("/")
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (output.fileno(), 1), (output.fileno(), 2)):
                os.dup2(source, target)
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False), "utf-8") for n in (1, 2))
            os.environ.clear()
            os.environ.update(environment)
            for name, value in limits.items():
                setattr(client, name, value)
            from cvdl.cli import app

            app.app(words)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else bool(end.code)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.killpg(self.pid, 9)
        os.waitpid(self.pid, 0)
        return None


class Started:
    """A call of `cvdl` in a process of another user."""

    def __init__(self, command, words, environment, limits, output):
        command = [*command, "-c", PROGRAM.format(limits=limits), *words]
        self.process = subprocess.Popen(
            command,
            cwd="/",
            env=environment,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self, timeout):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            return None


def call(command, words, seen, attack, seconds, meanwhile=None):
    """Run `cvdl` with these words; `meanwhile` runs in a thread until it has ended."""
    words = [str(seen.out) if word == "OUT" else str(word) for word in words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment |= {"HOME": "/tmp"} | attack.environment(seen.folder)
    with tempfile.TemporaryFile() as output:
        if command:
            running = Started(command, words, environment, attack.limits, output)
        else:
            running = Forked(words, environment, attack.limits, output)
        over = threading.Event()
        thread = threading.Thread(target=meanwhile or (lambda *_: None), args=(seen.folder / "all", over), daemon=True)
        thread.start()
        seen.codes.append(running.wait(max(seconds, 1)))
        over.set()
        thread.join()
        output.seek(0)
        seen.said.append(output.read().decode(errors="replace"))


def judged(attack, seen):
    """What should not have been."""
    for code, said in zip(seen.codes, seen.said, strict=True):
        if code is None:
            yield f"it had not ended after {attack.seconds:.0f} seconds"
            return
        if "Traceback" in said or code not in (0, 1):
            yield f"the run ended with exit code {code}: {said.strip()[-200:]}"
    marks = seen.marks()
    for name, points in attack.honest.items():
        if marks.get(name) != str(points):
            yield f"{name} has {marks.get(name)!r} for {points} points"
    for result in seen.results():
        earned = sum(e["earned"] for e in result["exercises"])
        if earned and result["student"] not in {*attack.honest, *attack.allowed}:
            yield f"{result['student']!a} has {earned} points"
    try:
        yield from attack.through(seen)
    except Exception as error:
        yield f"it could not be looked at: {type(error).__name__}: {error}"


def short(attacks, *names):
    """Mark these attacks for the short tests."""
    import dataclasses

    return [dataclasses.replace(a, long=False) if a.name in names else a for a in attacks]


def anna(folder, data=GOOD):
    put(folder / "anna" / "mine.ipynb", data)


def grade(folder, *options, out="OUT"):
    """The words of one call."""
    return ["grade", str(folder), "--out", out, "--seed", SEED, *options]
