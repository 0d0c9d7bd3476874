"""The copy of cvdl in the sandbox of one chapter: without the judge's cases and oracles, and without its answers.

Everything in the sandbox can be read there, so whatever must not be read is left out of the copy.  Answers from other
chapters are kept: a notebook may build on an earlier one.
"""

import ast
import atexit
import compileall
import functools
import inspect
import py_compile
import shutil
import tempfile
from pathlib import Path
from types import FunctionType, ModuleType

from cvdl.course.exercises import chapters
from cvdl.settings import ROOT

# Functions that answer an exercise just as well as the function that the exercise names.
ALSO = {
    "flownet": {
        "cvdl.flow.correlation.correlation",
        "cvdl.flow.correlation.by_tiles",
        "cvdl.flow.warp.warp",
        "cvdl.flow.losses.multiscale_epe",
    }
}
# Functions that students are asked to call in exercises about something else.
GIVEN = {"cvdl.flow.warp.warp", "cvdl.flow.warp.in_frame"}
LEFT_OUT = "This function answers an exercise, so the sandbox has no copy of it."


@functools.cache
def package(chapter):
    """The folder `cvdl` of the copy for a chapter.  It is deleted when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="cvdl-lent-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)  # another user reads it
    shutil.copytree(ROOT / "cvdl", folder / "cvdl", ignore=_others)
    for path in (folder / "cvdl/course/exercises/chapters").glob("[!_]*.py"):
        path.unlink()
    for name in answers(chapter):
        module, _, function = name.rpartition(".")
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        path.write_text(without(path.read_text(encoding="utf-8"), function), encoding="utf-8")
    compileall.compile_dir(folder / "cvdl", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return folder / "cvdl"


def _others(folder, names):
    """Files that are not part of the library, in case somebody put them there."""
    return [
        n for n in names if n == "__pycache__" or not (Path(folder, n).is_dir() or n.endswith((".py", ".html", ".css")))
    ]


def without(source, function):
    """The source of a module, with one of its functions replaced by a stub that raises an error."""
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            node.body = ast.parse(f"raise NotImplementedError({LEFT_OUT!r})").body
    return ast.unparse(tree)


def answers(chapter):
    """Names of the library's functions that answer the exercises of a chapter, e.g. {"cvdl.sequence.rnn.step"}."""
    found = set(ALSO.get(chapter, ()))
    for spec in chapters.chapter(chapter).values():
        found |= {f"{f.__module__}.{f.__name__}" for f in _called(spec.library, set())} - GIVEN
    return found


def _called(function, seen):
    """The library's functions that an answer in cvdl.course.exercises.chapters uses directly."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else None
    if not isinstance(function, FunctionType) or function in seen or not function.__module__.startswith("cvdl."):
        return set()
    seen.add(function)
    if not function.__module__.startswith("cvdl.course"):
        return {function}
    found, codes = set(), [function.__code__]
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    known = function.__globals__ | {name: cell.cell_contents for name, cell in cells}
    while codes:
        code = codes.pop()
        codes += [c for c in code.co_consts if hasattr(c, "co_names")]
        values = [known.get(name) for name in (*code.co_names, *code.co_freevars)]
        for value in values:  # grows: attributes of modules come last
            if isinstance(value, ModuleType) and value.__name__.startswith("cvdl."):
                values += [vars(value)[name] for name in code.co_names if name in vars(value)]
            elif callable(value):
                found |= _called(value, seen)
    return found
