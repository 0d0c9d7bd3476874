"""What the outputs of an executed notebook depend on, so that a build executes only notebooks that could change.

In the kernel, `Recorder` notes every function of cvdl that runs and every file below data/ that is opened. From the
sources, `digests` then works out which pieces of code were used: the functions that ran, and the module-level constants
and class bodies whose names they use, directly or indirectly. A piece is hashed without comments, docstrings and blank
lines, so changing a docstring, or a function that a notebook never called, does not put the notebook out of date.

Names are not resolved to the module they come from: if a name is used, the constants of that name in all loaded modules
count as used. A build may therefore execute a notebook unnecessarily, but does not miss a change to code that it used.
"""

import ast
import hashlib
import inspect
import io
import sys
import threading
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cvdl.settings import ROOT

CODE, DATA = ROOT / "cvdl", ROOT / "data"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
REST = "<rest of the module>"  # statements at module level that define no name: loops, calls


class Recorder:
    """Notes which functions of cvdl run in this process, in all threads, and which data files are opened."""

    def __init__(self):
        self.codes, self.opened = {}, set()  # {id: code object}, since hashing a code object is slow
        sys.addaudithook(self._opening)
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            monitoring.use_tool_id(monitoring.PROFILER_ID, "cvdl")
            monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.PY_START, self._starting)
            monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.PY_START)
        else:
            threading.settrace(self._calling)
            sys.settrace(self._calling)

    def _starting(self, code, offset):
        self.codes[id(code)] = code
        return sys.monitoring.DISABLE  # one call of each function is enough

    def _calling(self, frame, event, arg):
        self.codes[id(frame.f_code)] = frame.f_code  # returns None, so that lines are not traced

    def _opening(self, event, arguments):
        if event == "open" and isinstance(arguments[0], str):
            self.opened.add(arguments[0])

    def report(self):
        """What was noted, as plain data: {"functions": [[file, first line]], "modules": [file], "data": [file]}."""
        own = [
            c for c in self.codes.copy().values() if c.co_flags & inspect.CO_OPTIMIZED and _below(c.co_filename, CODE)
        ]
        modules = [getattr(m, "__file__", None) for n, m in sys.modules.items() if n.split(".")[0] == CODE.name]
        return {
            "functions": sorted({(c.co_filename, c.co_firstlineno) for c in own}),
            "modules": sorted(m for m in modules if m),
            "data": sorted(p for p in self.opened.copy() if _below(p, DATA)),
        }


def _below(path, folder):
    return Path(path).is_relative_to(folder)


class Piece(NamedTuple):
    """A function, a method, a class without its methods, or a statement at module level."""

    first: int  # line
    last: int
    text: str  # without comments, docstrings and blank lines
    names: frozenset[str]  # the identifiers in it
    called: bool  # whether it counts only if it ran, rather than if its name is used


@cache
def pieces(source):
    """The pieces of a module -> {name: Piece}; methods are called `Class.method`."""
    tree = ast.parse(source)
    lines, found = _significant_lines(source, tree), {}

    def add(name, *nodes, called=False, without=()):
        left_out = {n for w in without for n in range(_first(w), w.end_lineno + 1)}
        numbers = [n for node in nodes for n in range(_first(node), node.end_lineno + 1) if n not in left_out]
        text = "\n".join(lines[n] for n in numbers if lines[n])
        skipped = {id(inner) for w in without for inner in ast.walk(w)}
        inner = [i for node in nodes for i in ast.walk(node) if id(i) not in skipped]
        if old := found.get(name):  # defined twice: both count
            text = f"{old.text}\n{text}"
        names = frozenset(_names(inner)) | (old.names if old else frozenset())
        found[name] = Piece(_first(nodes[0]), nodes[-1].end_lineno, text, names, called)

    rest = []
    for node in tree.body:
        if isinstance(node, FUNCTIONS):
            add(node.name, node, called=True)
        elif isinstance(node, ast.ClassDef):
            methods = [n for n in node.body if isinstance(n, FUNCTIONS)]
            add(node.name, node, without=methods)
            for method in methods:
                add(f"{node.name}.{method.name}", method, called=True)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}:
                add(name, node)
        elif not isinstance(node, ast.Import | ast.ImportFrom) and not _is_docstring(node):
            rest.append(node)
    if rest:
        add(REST, *rest)
    return found


def _first(node):
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _names(nodes):
    for node in nodes:
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2]


def _significant_lines(source, tree):
    """The lines without comments, docstrings and trailing spaces, counted from 1; line 0 is empty."""
    lines = ["", *source.splitlines()]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            number, column = token.start
            lines[number] = lines[number][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | FUNCTIONS) and node.body and _is_docstring(node.body[0]):
            for number in range(node.body[0].lineno, node.body[0].end_lineno + 1):
                lines[number] = ""
    return [line.rstrip() for line in lines]


def snapshot():
    """The sources of cvdl as they are now -> {file: text}."""
    return {path: path.read_text(encoding="utf-8") for path in CODE.rglob("*.py")}


def digests(report, cells, sources):
    """The recorder's report -> {file within the repository: {piece: digest}, or a digest for a data file}.

    cells: the sources of the notebook's code cells, whose names count, too.  sources: a snapshot from before they ran.
    """
    loaded = {Path(m).resolve() for m in report["modules"]}
    modules = {path: pieces(text) for path, text in sources.items() if path in loaded}
    ran = [(Path(path).resolve(), line) for path, line in report["functions"]]
    used = {(path, name) for path, line in ran for name in _at(modules, path, line)}
    active = {path for path, _ in used}
    names = set(_names(n for cell in cells for n in ast.walk(_parsed(cell))))
    names |= {name for path, piece in used for name in modules[path][piece].names}
    while new := _referred_to(modules, names, active) - used:
        used |= new
        names |= {name for path, piece in new for name in modules[path][piece].names}
    out = {}
    for path, name in sorted(used):
        out.setdefault(path.relative_to(ROOT).as_posix(), {})[name] = digest(modules[path][name].text.encode())
    for path in map(Path, report["data"]):
        if path.is_file():
            out[path.resolve().relative_to(ROOT).as_posix()] = digest(path.read_bytes())
    return out


def _referred_to(modules, names, active):
    """The pieces that count because one of these names is used, or because a function of their module ran."""
    return {
        (path, name)
        for path, found in modules.items()
        for name, piece in found.items()
        if (path in active if name == REST else name in names and not piece.called)
    }


def _at(modules, path, line):
    """The names of the piece at this line, and of the class that it belongs to."""
    found = modules.get(path, {})
    at = [name for name, piece in found.items() if piece.first <= line <= piece.last and name != REST]
    return at or ([REST] if REST in found else [])


def _parsed(cell):
    try:
        return ast.parse(cell)
    except SyntaxError:  # an IPython magic
        return ast.Module([], [])


def digest(data):
    return hashlib.sha256(data).hexdigest()[:12]


def changed(recorded):
    """What has changed since it was recorded, one string each: "warp in cvdl/flow/warp.py", "data/photos.npz"."""
    for file, was in recorded.items():
        path = ROOT / file
        if not path.is_file():
            yield file
        elif isinstance(was, str):
            if digest(path.read_bytes()) != was:
                yield file
        else:
            now = pieces(path.read_text(encoding="utf-8"))
            yield from (
                f"{name} in {file}"
                for name, before in was.items()
                if name not in now or digest(now[name].text.encode()) != before
            )
