"""Running what an exercise needs of its notebook, so that its function can be called: inside the jail, or by its author.

There are several ways.  The first ones run the statements that `extract` found, and no others.  If the answer is not right
then, the notebook's own cells are run up to the exercise's `check`, as the student ran them: without the calls of the
course (checks, figures, training) and within a time limit.  Whatever the notebook had, and this place lacks, is named.
"""

import ast
import asyncio
import builtins
import hashlib
import inspect
import linecache
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from cvdl.course.exercises import api
from cvdl.course.exercises.comparison import CallFailed, CallStopped
from cvdl.course.exercises.time_limit import TimeIsUp
from cvdl.course.grading.effects import root
from cvdl.course.grading.extraction import extract
from cvdl.course.notebook.chapters import stems
from cvdl.settings import ROOT

LOAD = 30  # seconds of processor time for the imports and helpers of one exercise, and again for running its notebook
STATEMENT = 5  # of them, for one statement of a notebook that is run
ONCE_MORE = (ast.For, ast.While, ast.With, ast.AugAssign, ast.Expr)  # not to be repeated where they may have begun
DEFINING = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@cache
def course_of(stem):
    """What the course itself delivered in a notebook -> {functions: {name: exercise}, delivered: digests of statements}."""
    if stem not in stems().values():
        return {"functions": {}, "delivered": []}
    own = extract((ROOT / "notebooks" / f"{stem}.ipynb").read_bytes())
    return {"functions": own.functions, "delivered": sorted({digest(s) for s in own.statements})}


def digest(statement):
    return hashlib.sha256(ast.unparse(statement.tree).encode()).hexdigest()[:16]


@dataclass
class Loaded:
    """function: what to call, or None with a `failure`; lacks: what the notebook had and is missing here."""

    function: object = None
    failure: CallFailed | None = None
    lacks: str = ""


class Loader:
    """Loads the exercises of one notebook."""

    def __init__(self, found, course=None):
        """found: an Extraction; course: of course_of."""
        self.found, self.course = found, course or {"functions": {}, "delivered": []}
        self.functions = self.course["functions"] | found.functions
        self.names = {name for s in found.statements for name in s.gives} | set(self.functions)
        self.replay = None
        for number, source in found.cells.items():
            linecache.cache[name_of(number)] = (
                len(source),
                None,
                source.splitlines(keepends=True),
                name_of(number),
            )

    def ways(self, id):
        """The number of ways in which the exercise can be loaded."""
        return len(self.found.slices(id)) + 1

    def load(self, id, way=0):
        """Run what the exercise needs, in one of its ways -> Loaded."""
        slices = self.found.slices(id)
        if way < len(slices):
            return self._cut_out(id, slices[way])
        return self._run_up_to_check(id)

    def _cut_out(self, id, statements):
        namespace = Namespace()
        namespace.stand_in(self.functions, id)
        api._attempts.pop(id, None)
        try:
            with api.time_limit(LOAD):
                failed = [(s, e) for s in statements if (e := run(s, namespace))]  # cells may have been moved
                again = [s for s, e in failed if isinstance(e, NameError) or not isinstance(s.tree, ONCE_MORE)]
                failed = [(s, e) for s, e in failed if s not in again]
                failed += [(s, e) for s in again if (e := run(s, namespace))]
        except TimeIsUp:
            return Loaded(failure=out_of_time(), lacks=self.lacking(TimeIsUp()))
        return self._loaded(id, api._attempts.get(id), failed)

    def _run_up_to_check(self, id):
        until = self.found.ends(id)[0]
        needed = {s.place for s in self.found.needed(id, until)}
        if self.replay is None or self.replay.place > until or id in self.replay.asked:
            self.replay = Replay(self.found, set(self.course["delivered"]))
        self.replay.asked.add(id)
        self.replay.namespace.stand_in(self.functions, id)
        self.replay.go_on(until, needed)
        failed = [(s, e) for s, e in self.replay.failed if s.place in needed]
        return self._loaded(id, self.replay.attempts.get(id), failed)

    def _loaded(self, id, attempt, failed):
        own = next((e for s, e in failed if id in s.ids), None)
        lacks = next((text for s, e in failed if (text := self.lacking(e))), "")
        if attempt is None:
            why = f"{type(own).__name__}: {own}"[:300] if own else "the exercise is not defined when its cell is run"
            return Loaded(failure=CallFailed(why, "The cell itself fails."), lacks=self.lacking(own) if own else lacks)
        return Loaded(attempt.function, lacks=lacks)

    def lacking(self, error):
        """What the notebook had and is missing here, if that caused the error; else "".

        The error is the student's own exception, or the CallFailed that it became.
        """
        if isinstance(error, CallStopped):
            return ""  # the call itself took too long: that is the answer's own fault
        if isinstance(error, CallFailed):
            error = error.__context__
        return self._lacking(error)[:200]

    def _lacking(self, error):
        if isinstance(error, ImportError):
            return f"the package {error.name}" if error.name else f"a package ({error})"
        if isinstance(error, FileNotFoundError):
            return f"the file {error.filename}"
        if isinstance(error, OSError):
            return f"a file, a device or the network ({type(error).__name__}: {error})"
        if isinstance(error, TimeIsUp):
            return f"more than {LOAD} seconds for the cells above it"
        if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
            name = getattr(error, "name", None)
            if name in self.found.lost:
                return (
                    f"the name {name}, from a cell that Python cannot parse ({self.found.lost[name] or 'SyntaxError'})"
                )
            return f"the name {name}, which another cell defines" if name in self.names else ""
        if isinstance(error, RuntimeError | AssertionError) and any(w in text_of(error) for w in ("CUDA", "NVIDIA")):
            return "a GPU"
        newer = self.found.version and self.found.version > sys.version_info[:2]
        if newer and isinstance(error, AttributeError) and isinstance(getattr(error, "obj", None), ModuleType):
            return f"perhaps a newer Python ({'.'.join(map(str, self.found.version))}): {error}"
        return ""


class Replay:
    """A notebook that is run from the top, statement by statement, as far as needed."""

    def __init__(self, found, delivered):
        self.found, self.delivered, self.namespace = found, delivered, Namespace()
        self.place, self.failed, self.attempts, self.asked = -1, [], {}, set()

    def go_on(self, until, needed):
        """Run the next statements, up to the one at the place `until`; needed: places that must not be left out."""
        self.namespace.enter()
        left = LOAD
        before = os.environ.get("CVDL_PROFILE")
        os.environ["CVDL_PROFILE"] = "quick"
        try:
            for statement in self.found.statements[self.place + 1 : until + 1]:
                self.place = statement.place
                if statement.place not in needed and self.left_out(statement):
                    continue
                begin, error = time.process_time(), TimeIsUp()
                if left > 0:
                    try:
                        with api.time_limit(min(STATEMENT, left)):
                            error = run(statement, self.namespace)
                    except TimeIsUp:
                        pass
                left -= time.process_time() - begin
                if error is not None:
                    self.failed.append((statement, error))
                for id in api._attempts if error is None else ():
                    if id in statement.ids or id not in self.found.definitions:
                        self.attempts[id] = api._attempts[id]
        finally:
            os.environ.pop("CVDL_PROFILE")
            if before is not None:
                os.environ["CVDL_PROFILE"] = before

    def left_out(self, statement):
        """Is it only a call of the course, or something that the course's own notebook computes and shows?"""
        tree = statement.tree
        if (
            isinstance(tree, ast.Expr)
            and isinstance(tree.value, ast.Call)
            and root(tree.value.func) in self.found.course
        ):
            return True
        return not isinstance(tree, DEFINING) and digest(statement) in self.delivered


class Namespace:
    """The student's namespace, a module called __main__ as in a notebook, with what IPython adds to Python."""

    def __init__(self):
        self.module = ModuleType("__main__")
        self.builtins = vars(builtins) | {
            "display": lambda *_, **__: None,
            "input": lambda *_: "",
            "get_ipython": lambda: Shell(self),
        }
        self.own = dict(self.builtins)
        vars(self.module)["__builtins__"] = self.builtins

    def enter(self):
        sys.modules["__main__"] = self.module

    def stand_in(self, functions, id):
        """Offer the course's implementation of all exercises but this one, if the notebook does not define it.

        functions: {name: id}.
        """
        self.enter()
        self.builtins.clear()
        self.builtins.update(self.own)
        for name, other in functions.items():
            if other != id and name not in self.own and (spec := known(other)):
                self.builtins[name] = spec.library


class Shell:
    """Replaces IPython's shell: it does nothing except `%run`."""

    kernel = None

    def __init__(self, namespace):
        self._namespace = namespace

    @property
    def user_ns(self):
        return vars(self._namespace.module)

    def run_line_magic(self, name, line="", *_, **__):
        if name == "run":
            with open(line.split()[0], encoding="utf-8") as file:
                exec(compile(file.read(), line.split()[0], "exec"), self.user_ns)

    magic = run_line_magic

    def getoutput(self, *_, **__):
        return []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None


def known(id):
    """The Exercise with this id, or None."""
    from cvdl.course.exercises import chapters

    chapter = id.partition(".")[0]
    return chapters.chapter(chapter).get(id) if chapter in chapters.chapters() else None


def run(statement, namespace):
    """Run one statement -> the error that it ended with, or None.  Raises TimeIsUp."""
    flags = statement.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        module = ast.Module([statement.tree], [])
        code = compile(module, name_of(statement.cell), "exec", flags, dont_inherit=True)
        result = eval(code, vars(namespace.module))
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except TimeIsUp:
        raise
    except BaseException as error:  # SystemExit among them
        return error
    return None


def out_of_time():
    return CallStopped(
        f"stopped after {LOAD} seconds, before it was called",
        "The cells that it needs take too long. Let them only define functions.",
    )


def text_of(error):
    try:
        return str(error)
    except Exception:
        return ""


def name_of(cell):
    return f"code cell {cell}"
