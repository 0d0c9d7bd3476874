"""Cutting exercises out of a notebook, without running it.

An exercise is found by its decorator, @exercise("id"), wherever it stands; cells may be copied, moved or deleted, and
what other cells do does not matter.  With it come the statements that it needs: those that bind the names it reads, or
change the objects behind them, as they were when its `check` was run.
A file of megabytes may be made to crash a parser: strangers' notebooks are cut inside the jail.
"""

import __future__

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field

from cvdl.course.exercises.api import FUNCTIONS, is_stub
from cvdl.course.exercises.chapters import chapters
from cvdl.course.grading.effects import HARMLESS, Effects, effects, root
from cvdl.course.notebook.cells import SOURCE, names_given, notebook_of, parse, sources_of, too_new, version_of

CALL = re.compile(
    r"""^[ \t]*@(?:\w+\.)?exercise\(\s*(?:id\s*=\s*)?["']([\w.]+)["'](?:[^\n]*\n(?:[ \t]*@[^\n]*\n|[ \t]*#[^\n]*\n)*"""
    r"""[ \t]*(?:async[ \t]+)?def[ \t]+(\w+))?""",
    re.M,
)
SETUP = """\
import math
import torch
import torch.nn.functional as F
from torch import nn
import cvdl
from cvdl import exercise"""
# Packages whose functions leave their arguments as they are, even where nothing is done with what they return.
LEAVE_ALONE = {"cvdl", "matplotlib", "seaborn", "IPython", "tqdm", "warnings", "logging", "time"}
STEPS = 200_000  # from call to call and from name to name, the most that are followed in one notebook
SLICES = 3  # ways of cutting one exercise that are tried at most


@dataclass(eq=False)
class Statement:
    """One statement at the top level of a cell: its syntax tree, and the names that it gives, takes and changes."""

    tree: ast.stmt
    cell: int
    gives: set[str]
    takes: set[str]
    ids: list[str]  # exercises that are defined in it
    changes: set[str] = field(default_factory=set)
    checks: list[str] = field(default_factory=list)  # exercises that are checked in it, by id or by the function's name
    place: int = 0  # among the notebook's statements
    flags: int = 0  # of the compiler: what the cells so far have imported from __future__
    effects: Effects | None = None


@dataclass
class Extraction:
    """What was found in a notebook.

    cells: {number: source}, as the lines are counted in errors; definitions: {id: Statement}, the last answered one of
    each, or the last; broken: {id: message} of exercises that stand in a cell with a syntax error only; unread: {id: why}
    of those that only a newer Python can read; notes: remarks for a human; functions: {name: id} of the exercises'
    functions; lost: {name: why} of names that only unreadable cells give, why being "" for a plain syntax error.
    """

    cells: dict[int, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    definitions: dict[str, Statement] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    course: set[str] = field(default_factory=set)  # names imported from cvdl
    version: tuple | None = None  # of Python, as the notebook says
    _touching: dict[str, list[Statement]] = field(default_factory=lambda: defaultdict(list))
    _slices: dict = field(default_factory=dict)

    def needed(self, id, until=None):
        """The statements that this exercise needs, itself among them, in the notebook's order.

        until: place of the statement at which the notebook stood; by default that of its `check`.
        """
        until = self.ends(id)[0] if until is None else until
        if (id, until) not in self._slices:
            self._slices[id, until] = self._needed(self.definitions[id], id, until)
        return self._slices[id, until]

    def _needed(self, definition, id, until):
        wanted, names, needed = [definition], set(), set()
        while wanted:
            statement = wanted.pop()
            if statement in needed or (id in statement.ids and statement is not definition):
                continue
            needed.add(statement)
            for name in (statement.takes | {"*"}) - names:
                names.add(name)
                wanted += self._at(name, until)
        return [pruned(s, names) for s in self.statements if s in needed]

    def _at(self, name, until):
        """The statements that bind or change a name, up to a place; where it is bound only later, the first time."""
        touching = self._touching.get(name, [])
        before = [s for s in touching if s.place <= until]
        if any(name in s.gives for s in before) or not touching:
            return before
        later = [s for s in touching if s.place > until]
        bound = [s for s in later if name in s.gives]
        end = bound[1].place if len(bound) > 1 else len(self.statements)
        return before + [s for s in later if s.place < end]

    def ends(self, id):
        """Places at which the notebook may have stood when the exercise was judged, the likeliest one first.

        Its last `check` before it is defined again, its first, and the end of the notebook; where there is no check, its
        own place and the end.
        """
        begin = self.definitions[id].place
        again = [s.place for s in self.statements if id in s.ids and s.place > begin]
        end = min(again, default=len(self.statements)) - 1
        names = {n for n, i in self.functions.items() if i == id} | {id}
        checks = [s.place for s in self.statements[begin : end + 1] if names & set(s.checks)]
        return list(dict.fromkeys([*checks[-1:], *checks[:1], *([] if checks else [begin]), end]))

    def slices(self, id):
        """Different lists of statements to try, the most likely one first."""
        found = []
        for until in self.ends(id):
            trees = [(s.place, tuple(sorted(s.gives))) for s in self.needed(id, until)]
            if trees not in [t for t, _ in found]:
                found.append((trees, self.needed(id, until)))
        return [s for _, s in found[:SLICES]]

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
        """Does the definition contain more than a docstring and `...`?"""
        return answers(self.definitions[id], id)


def answers(statement, id):
    mine = functions_of(statement, id)
    return not mine or not is_stub(mine[-1].body)


def functions_of(statement, id):
    """The functions in a statement that are decorated as this exercise."""
    functions = [n for n in ast.walk(statement.tree) if isinstance(n, FUNCTIONS)]
    mine = [f for f in functions if id in exercise_ids(*f.decorator_list)]
    if not mine and isinstance(statement.tree, FUNCTIONS) and statement.tree.decorator_list and id in statement.ids:
        return [statement.tree]  # its decorator says it in another way
    return mine


def extract(data):
    """Find the exercises in the bytes of a notebook -> Extraction.  Raises CourseError if they are not a notebook."""
    notebook = notebook_of(data)
    found, all_of, written, flags = Extraction(version=version_of(notebook)), defaultdict(list), {}, 0
    known = {"exercise": "exercise", "check": "check"}
    for number, source in enumerate(sources_of(notebook), 1):
        if len(source) > SOURCE:
            found.notes.append(f"Code cell {number} is too long ({len(source)} characters) and was left out.")
            continue
        try:
            found.cells[number], tree, file = parse(source)
            statements = [read(node, number, known) for node in tree.body]
            if file:
                (node,) = ast.parse(file.source).body
                statements = [Statement(node, number, {about(file.file)}, set(), [])]
                written[file.file] = statements[0]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            unreadable(found, number, source, error)
            continue
        for statement in statements:
            flags |= future(statement.tree)
            statement.flags = flags
            for id in statement.ids:
                all_of[id].append(statement)
        found.statements += statements
    for id, several in all_of.items():
        answered = [s for s in several if answers(s, id)]
        found.definitions[id] = (answered or several)[-1]
        if len(several) > 1:
            last = "the last one counts" if found.definitions[id] is several[-1] else LAST_ANSWERED
            found.notes.append(f"{id} is defined {len(several)} times; {last}.")
    for ids in (found.broken, found.unread):
        for id in [id for id in ids if id in found.definitions]:
            del ids[id]
    given = {"cvdl", "*"} | {name for name, text in known.items() if text == "exercise"}
    if found.definitions and not any(given & s.gives for s in found.statements):
        found.notes.append("The cell that imports torch and cvdl is missing; the usual imports are used instead.")
        found.cells[0] = SETUP
        found.statements[:0] = [read(node, 0, known) for node in ast.parse(SETUP).body]
    connect(found, written)
    return found


LAST_ANSWERED = "the last one is not answered, so the last one with an answer counts"


def unreadable(found, number, source, error):
    """Note which names a cell that cannot be parsed would have defined."""
    line = getattr(error, "lineno", None)
    where = f" — line {line} of your cell: {(error.text or '').strip()}" if line else ""
    message = f"{type(error).__name__}: {getattr(error, 'msg', None) or str(error) or 'too deep'}{where}"
    why = too_new(source, error, found.version) if isinstance(error, SyntaxError) else ""
    for id, name in CALL.findall(source):
        (found.unread if why else found.broken)[id] = why or message
        if name:
            found.functions[name] = id
    found.lost |= dict.fromkeys(names_given(source), why)
    found.notes.append(
        f"Code cell {number} cannot be parsed: {why}." if why else f"Code cell {number} cannot be parsed. {message}"
    )


def future(node):
    """The compiler's flags for an import from __future__."""
    if not isinstance(node, ast.ImportFrom) or node.module != "__future__":
        return 0
    features = [getattr(__future__, a.name, None) for a in node.names]
    return sum(f.compiler_flag for f in features if f is not None)


def about(file):
    """What stands for a file among names."""
    return f"file {file}"


def read(node, cell, known):
    """One statement as it stands, before what it calls is looked at.

    known: {name: text} of names for text so far, such as ID in @exercise(ID), and of names for `exercise` and `check`;
    those that this statement gives are added.
    """
    found = effects(node)
    if isinstance(node, ast.ImportFrom):
        known |= {a.asname: a.name for a in node.names if a.asname and a.name in ("exercise", "check")}
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        value = node.value
        text = value.value if isinstance(value, ast.Constant) else getattr(value, "id", getattr(value, "attr", None))
        if isinstance(text, str):
            known[node.targets[0].id] = text
    ids, checks = (mentioned(function, node, known) for function in ("exercise", "check"))
    return Statement(node, cell, set(found.binds), set(found.reads), ids, checks=checks, effects=found)


def mentioned(function, node, known):
    """Ids, or names, in calls of `exercise` or `check`: written there, in a name, or elsewhere in the same statement."""
    found = []
    for argument in called(function, [node], known):
        if isinstance(argument, ast.Constant):
            found.append(str(argument.value))
            continue
        name = root(argument)
        if function == "check":
            found.append(known.get(name, name))
        elif name in known:
            found.append(known[name])
        else:
            found += [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and is_id(n.value)]
    return found


def is_id(text):
    """Could this be the id of an exercise?"""
    return isinstance(text, str) and text.partition(".")[0] in chapters() and re.fullmatch(r"\w+\.\w+", text)


def connect(found, written):
    """Work out what each statement changes and binds by way of the functions that it calls, and index the names.

    written: {file: statement} of what `%%writefile` makes.
    """
    statements, steps = found.statements, iter(range(STEPS))
    giving = defaultdict(list)
    for place, statement in enumerate(statements):
        statement.place = place
        for name in statement.gives:
            giving[name].append(statement)
        for id in statement.ids:
            found.functions |= dict.fromkeys((f.name for f in functions_of(statement, id)), id)
    packages = {}  # name -> package that it is imported from
    for statement in statements:
        if isinstance(statement.tree, ast.Import | ast.ImportFrom):
            for alias in statement.tree.names:
                package = getattr(statement.tree, "module", None) or alias.name
                packages[alias.asname or alias.name.partition(".")[0]] = package.partition(".")[0]
    found.course = {name for name, package in packages.items() if package == "cvdl"}
    only_imported = {n for n in packages if all(isinstance(s.tree, ast.Import | ast.ImportFrom) for s in giving[n])}

    def changed(doing):
        kept = {n for n in doing.changes if n not in only_imported}
        passed = {
            name
            for by, name in doing.passed
            if name not in only_imported and by not in HARMLESS and packages.get(by) not in LEAVE_ALONE
        }
        return kept | passed | doing.sets

    def acts(names):
        """What calling these may change, and bind by way of `global`."""
        changes, binds, seen, wanted = set(), set(), set(), list(names)
        while wanted and next(steps, None) is not None:
            name = wanted.pop()
            if name in seen or name in only_imported:
                continue
            seen.add(name)
            for statement in giving.get(name, ()):
                if (inside := statement.effects) is None:
                    continue
                changes |= changed(inside.later)
                binds |= inside.later.binds
                wanted += inside.later.calls
                if not isinstance(statement.tree, (*FUNCTIONS, ast.ClassDef)):
                    wanted += inside.now.calls  # an object that a class or a function made
        return changes, binds

    for statement in statements:
        if (inside := statement.effects) is None:
            continue
        changes, binds = acts(inside.now.calls)
        statement.gives |= binds
        wanted, seen = [*(changes | changed(inside.now))], set()
        while wanted and next(steps, None) is not None:  # other names for the same object
            name = wanted.pop()
            if name not in seen and (name not in only_imported or name in inside.now.sets):
                seen.add(name)
                wanted += [n for s in giving.get(name, ()) if s.effects for n in s.effects.aliases]
        statement.changes = {n for n in seen if n in giving}
        for node in ast.walk(statement.tree) if written else ():
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            texts = [node.value] if isinstance(node, ast.Constant) else [m.replace(".", "/") + ".py" for m in modules]
            statement.takes |= {about(text) for text in texts if text in written}
    for statement in statements:
        for name in statement.gives | statement.changes:
            found._touching[name].append(statement)


def exercise_ids(*nodes):
    """Ids in calls of `exercise` or `cvdl.exercise`."""
    return [str(a.value) for a in called("exercise", nodes) if isinstance(a, ast.Constant)]


def called(function, nodes, known=()):
    """The first argument of each call of this function; known: as in `read`."""
    calls = [n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Call)]
    names = {name for name in known if known[name] == function} | {function}
    mine = [c for c in calls if getattr(c.func, "id", getattr(c.func, "attr", None)) in names]
    return [a for c in mine for a in [*c.args[:1], *(k.value for k in c.keywords if k.arg == "id")][:1]]


def pruned(statement, names):
    """An import without the names that are not needed: they may take seconds, or be missing here."""
    tree = statement.tree
    if not isinstance(tree, ast.Import | ast.ImportFrom) or "*" in statement.gives:
        return statement
    kept = [a for a in tree.names if (a.asname or a.name.partition(".")[0]) in names]
    fields = {name: value for name, value in ast.iter_fields(tree) if name != "names"}
    return Statement(
        ast.copy_location(type(tree)(names=kept, **fields), tree),
        *(statement.cell, statement.gives & names, statement.takes, statement.ids),
        place=statement.place,
        flags=statement.flags,
    )
