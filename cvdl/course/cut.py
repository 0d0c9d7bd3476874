"""Cutting exercises out of a notebook, without running it.

An exercise is found by its decorator, @exercise("id"), wherever it stands; cells may be copied, moved or deleted, and
what other cells do does not matter.  With it come the imports, helper functions and constants whose names it needs.
A file of megabytes may be made to crash a parser: strangers' notebooks are cut inside the jail.
"""

import ast
import json
import re
import symtable
from collections import Counter
from dataclasses import dataclass, field

from cvdl.course.exercise import FUNCTIONS, is_stub
from cvdl.errors import CourseError

SOURCE = 200_000  # characters, the most that are read of one cell
CALL = re.compile(r"""^[ \t]*@(?:\w+\.)?exercise\(\s*(?:id\s*=\s*)?["']([\w.]+)["']""", re.M)
TIMERS = ("%%time", "%%timeit", "%%capture", "%%prun")  # cell magics under which stands Python
SETUP = """\
import math
import torch
import torch.nn.functional as F
from torch import nn
import cvdl
from cvdl import exercise"""
KEPT = (
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.Try),
)


@dataclass(eq=False)
class Statement:
    """One statement at the top level of a cell: its syntax tree, and the names that it gives and takes."""

    tree: ast.stmt
    cell: int
    gives: set[str]
    takes: set[str]
    ids: list[str]  # exercises that are defined in it


@dataclass
class Cut:
    """What was found in a notebook.

    cells: {number: source}, as the lines are counted in errors; definitions: {id: Statement}, the last one of each;
    broken: {id: message} of exercises that stand in a cell with a syntax error only; notes: remarks for a human.
    """

    cells: dict[int, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    definitions: dict[str, Statement] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def needed(self, id):
        """The statements that this exercise needs, itself among them, in the notebook's order."""
        wanted, names, needed = [self.definitions[id]], set(), set()
        while wanted:
            statement = wanted.pop()
            if statement not in needed:
                needed.add(statement)
                names |= statement.takes
                wanted += [
                    s for s in self.statements if s.gives & (statement.takes | {"*"}) and isinstance(s.tree, KEPT)
                ]
        return [pruned(s, names) for s in self.statements if s in needed]

    def source(self, id):
        """The exercise and its helpers, normalised: no comments, no layout."""
        parts = [
            s.tree
            for s in self.needed(id)
            if s is self.definitions[id] or not (s.ids or isinstance(s.tree, ast.Import | ast.ImportFrom))
        ]
        return "\n\n".join(map(ast.unparse, parts))

    def imports(self, id):
        """The imports that these need, a line each."""
        trees = [s.tree for s in self.needed(id)]
        return "\n".join(ast.unparse(t) for t in trees if isinstance(t, ast.Import | ast.ImportFrom))

    def answered(self, id):
        """Is there more in the definition than a docstring and `...`?"""
        functions = [n for n in ast.walk(self.definitions[id].tree) if isinstance(n, FUNCTIONS)]
        mine = [f for f in functions if id in exercise_ids(*f.decorator_list)]
        return not mine or not is_stub(mine[-1].body)


def cut(data):
    """Find the exercises in the bytes of a notebook -> Cut.  Raises CourseError if they are no notebook."""
    found, seen = Cut(), Counter()
    for number, source in enumerate(code_cells(data), 1):
        if len(source) > SOURCE:
            found.notes.append(f"Code cell {number} is too long ({len(source)} characters) and was left out.")
            continue
        try:
            found.cells[number], tree = parse(source)
            statements = [read(node, number) for node in tree.body]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f" — line {line} of your cell: {(error.text or '').strip()}" if line else ""
            message = f"{type(error).__name__}: {getattr(error, 'msg', 'too deep')}{where}"
            found.broken |= dict.fromkeys(CALL.findall(source), message)
            found.notes.append(f"Code cell {number} cannot be read. {message}")
            continue
        found.statements += statements
        for statement in statements:
            found.definitions |= dict.fromkeys(statement.ids, statement)
            seen.update(statement.ids)
    found.notes += [f"{id} is defined {n} times; the last one counts." for id, n in seen.items() if n > 1]
    found.broken = {id: message for id, message in found.broken.items() if id not in found.definitions}
    if found.definitions and not any({"exercise", "cvdl", "*"} & s.gives for s in found.statements):
        found.notes.append("The cell that imports torch and cvdl is missing; the usual imports stand in for it.")
        found.cells[0] = SETUP
        found.statements[:0] = [read(node, 0) for node in ast.parse(SETUP).body]
    return found


def code_cells(data):
    """Sources of the code cells, in order, of any version of the format."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        sources = [c.get("source", c.get("input", "")) for c in cells if c.get("cell_type") == "code"]
        return ["".join(s) for s in sources]
    except RecursionError:
        raise CourseError("no notebook: it is nested too deep") from None
    except UnicodeDecodeError:
        raise CourseError("no notebook: it is not in UTF-8") from None
    except ValueError as error:
        raise CourseError(f"no notebook: {str(error)[:200]}") from None
    except (KeyError, IndexError, TypeError, AttributeError):
        raise CourseError("no notebook: it has no list of cells") from None


def parse(source):
    """A cell's lines as Python counts them, and its syntax tree.  Raises SyntaxError and its kin.

    As IPython does, empty lines at the beginning do not count, and magics are made Python.
    """
    source = re.sub(r"\A(?:[ \t]*\n)+", "", source)
    try:
        return source, ast.parse(source)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        if source.startswith(TIMERS):
            source = source.partition("\n")[2]
        elif source.startswith("%%"):
            return "", ast.parse("")  # another language
        source = TransformerManager().transform_cell(source)
        return source, ast.parse(source)


def read(node, cell):
    source = ast.unparse(node)
    table = symtable.symtable(source, "cell", "exec")
    gives = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    takes = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        gives = {"*"}
    inner = table.get_children()
    while inner:
        table = inner.pop()
        takes |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        inner += table.get_children()
    return Statement(node, cell, gives, takes, exercise_ids(node))


def exercise_ids(*nodes):
    """Ids in calls of `exercise` or `cvdl.exercise`."""
    calls = [n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Call)]
    ids = []
    for call in calls:
        name = getattr(call.func, "id", getattr(call.func, "attr", None))
        given = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "id")]
        if name == "exercise" and given and isinstance(given[0], ast.Constant):
            ids.append(str(given[0].value))
    return ids


def pruned(statement, names):
    """An import without the names that nobody needs: they may take seconds, or not be here."""
    tree = statement.tree
    if not isinstance(tree, ast.Import | ast.ImportFrom) or "*" in statement.gives:
        return statement
    kept = [a for a in tree.names if (a.asname or a.name.partition(".")[0]) in names]
    fields = {name: value for name, value in ast.iter_fields(tree) if name != "names"}
    return Statement(
        ast.copy_location(type(tree)(names=kept, **fields), tree),
        *(statement.cell, statement.gives & names, statement.takes, statement.ids),
    )
