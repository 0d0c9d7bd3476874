"""The code cells of a notebook as Python: magics are taken off or made Python, as IPython does."""

import ast
import json
import re
import shlex
import sys
from dataclasses import dataclass

from cvdl.errors import CourseError

SOURCE = 200_000  # characters, the most that are read of one cell
# Cell magics under which there is something other than Python for this notebook.
FOREIGN = {
    *("bash", "sh", "script", "system", "sx", "!", "cmd", "powershell", "html", "HTML", "svg", "SVG", "latex", "markdown"),
    *("javascript", "js", "perl", "ruby", "pypy", "python", "python2", "python3", "R", "sql", "cython", "julia", "octave"),
}  # fmt: skip
WRITING = ("writefile", "file")
RUNNING = ("time", "prun", "memit", "mprun", "lprun", "snakeviz")  # line magics that run the statement behind them
GIVEN = re.compile(r"^(?:(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|(\w+)[ \t]*(?::[^=\n]+)?=(?!=))", re.M)
NEW_SYNTAX = re.compile(r"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+\w+[ \t]*\[|^[ \t]*type[ \t]+\w+[^=\n]*=", re.M)


@dataclass(frozen=True)
class Written:
    """A file that `%%writefile` makes: its name, and the Python that writes it."""

    file: str
    source: str


def notebook_of(data):
    """The JSON of a notebook.  Raises CourseError if it is none."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise CourseError("no notebook: it is nested too deep") from None
    except UnicodeDecodeError:
        raise CourseError("no notebook: it is not in UTF-8") from None
    except ValueError as error:
        raise CourseError(f"no notebook: the file is damaged or incomplete ({str(error)[:200]})") from None


def code_cells(data):
    """Sources of the code cells, in order, of any version of the format.  Raises CourseError for what is no notebook."""
    return sources_of(notebook_of(data))


def sources_of(notebook):
    """Sources of the code cells of a notebook's JSON; as the browser does, lone surrogates are replaced."""
    try:
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        sources = [c.get("source", c.get("input", "")) for c in cells if c.get("cell_type") == "code"]
        return [re.sub("[\ud800-\udfff]", "\ufffd", "".join(s)) for s in sources]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise CourseError("no notebook: it has no list of cells") from None


def unmarked(data, functions):
    """Why exercises may seem to be missing although their functions are there: {id: a sentence}.

    data: the bytes of a notebook; functions: {name: id} of the course's own notebook.
    """
    try:
        code = "\n".join(code_cells(data))
    except CourseError:
        return {}
    defined = set(re.findall(r"^(?:async[ \t]+)?def[ \t]+(\w+)", code, re.M))
    return {
        id: f'`{name}` is defined without @exercise("{id}") above it, so it was not judged as {id}: look at it'
        for name, id in functions.items()
        if name in defined
    }


def version_of(notebook):
    """The version of Python that a notebook's metadata name, as (3, 12), or None."""
    try:
        found = re.match(r"(\d+)\.(\d+)", notebook["metadata"]["language_info"]["version"])
        return (int(found[1]), int(found[2]))
    except (KeyError, TypeError, ValueError):
        return None


def too_new(source, error, version):
    """Why this Python cannot parse what a newer one could, or "" if the error is the student's own.

    version: of version_of.  Where the notebook names none, new syntax is known by its look.
    """
    here = sys.version_info[:2]
    if version and version > here:
        named = "{}.{}".format(*version)
        return f"it was written for a newer Python ({named}) than this one ({here[0]}.{here[1]}); grade with {named}"
    looks_new = NEW_SYNTAX.search(source) or str(getattr(error, "msg", "")).startswith("f-string")
    if version is None and here < (3, 12) and looks_new and not isinstance(error, IndentationError):
        return (
            f"it may have been written for a newer Python (3.12) than this one ({here[0]}.{here[1]}); grade with 3.12"
        )
    return ""


def parse(source):
    """A cell's lines as Python counts them, its syntax tree, and what it writes -> (text, ast.Module, Written or None).

    As IPython does, empty lines at the beginning do not count.  Raises SyntaxError and its kin.
    """
    source = re.sub(r"\A(?:[ \t]*\n)+", "", source)
    try:
        return source, ast.parse(source), None
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        while source.startswith("%%"):
            line, _, below = source.partition("\n")
            magic, _, options = line[2:].strip().partition(" ")
            if magic in WRITING:
                return "", ast.parse(""), writing(options, below)
            if magic in FOREIGN:
                return "", ast.parse(""), None
            source = re.sub(r"\A(?:[ \t]*\n)+", "", below)
        source = TransformerManager().transform_cell(source)
        return source, ast.fix_missing_locations(Magics().visit(ast.parse(source))), None


def writing(options, text):
    """What `%%writefile [-a] FILE` writes -> Written, or None if no file is named."""
    try:
        words = shlex.split(options)
    except ValueError:
        words = options.split()
    names = [w for w in words if not w.startswith("-")]
    if not names:
        return None
    mode = "a" if {"-a", "--append"} & set(words) else "w"
    return Written(names[0], f"with open({names[0]!r}, {mode!r}, encoding='utf-8') as file:\n    file.write({text!r})")


class Magics(ast.NodeTransformer):
    """Replaces `%time x = f()` by what it runs: `x = f()`."""

    def visit_Expr(self, node):
        if (code := ran(node.value)) is None:
            return self.generic_visit(node)
        try:
            return placed(ast.parse(code).body, node)
        except SyntaxError:
            return node

    def visit_Call(self, node):
        if (code := ran(node)) is None:
            return self.generic_visit(node)
        try:
            return placed([ast.parse(code, mode="eval").body], node)[0]
        except SyntaxError:
            return node


def placed(trees, node):
    """These trees, at the place of `node`."""
    for tree in trees:
        for inner in ast.walk(tree):
            ast.copy_location(inner, node)
    return trees


def ran(node):
    """The code in `get_ipython().run_line_magic("time", code)`, or None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run_line_magic":
        words = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if len(words) == 2 and words[0] in RUNNING:
            return str(words[1])
    return None


def names_given(source):
    """Names that a cell which cannot be parsed seems to define at its top level."""
    return {a or b for a, b in GIVEN.findall(source)}
