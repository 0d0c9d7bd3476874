"""What a statement of a notebook does to the notebook's names, as its text shows.

A statement binds names (`x = 1`, `def f`, `import torch`), reads names, and changes the objects behind names
(`x.append(1)`, `x["a"] = 1`, `setattr(x, "a", 1)`, a decorator that registers).  Calling a function of the notebook may do
the same: what happens inside it is attributed to the caller.
"""

import ast
import copy
import symtable
from dataclasses import dataclass, field

# Methods that change their object, even if their result is used.
CHANGING = {
    *("append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "popleft", "remove", "discard"),
    *("clear", "sort", "reverse", "rotate", "appendleft", "subtract", "register", "register_buffer", "register_parameter"),
    *("add_module", "register_module", "load_state_dict", "__setitem__", "__setattr__", "__delitem__", "put", "write"),
}  # fmt: skip
# Functions that leave their arguments unchanged, even if their result is not used.
HARMLESS = {"print", "display", "len", "repr", "str", "type", "help", "dir", "id", "isinstance", "tqdm", "input"}
SETTING = {"setattr", "delattr"}  # they change their first argument


@dataclass
class Doing:
    """Names whose objects are changed, names that are called, and names that are bound through `global`."""

    changes: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)  # certainly changed: by an assignment to an attribute or an item
    passed: set[tuple] = field(
        default_factory=set
    )  # (name of a function, name passed to it), if its result is not used
    calls: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)


@dataclass
class Effects:
    """binds, reads: names; now: what running the statement does; later: what calling what it binds may do.

    aliases: names whose objects may be, or contain, what it binds.
    """

    binds: set[str]
    reads: set[str]
    now: Doing
    later: Doing
    aliases: set[str]


def effects(node):
    """The Effects of one statement at the top level.  Raises what symtable raises."""
    try:
        table = symtable.symtable(ast.unparse(node), "cell", "exec")
    except SyntaxError:
        table = symtable.symtable(ast.unparse(AtOnce().visit(copy.deepcopy(node))), "cell", "exec")
    binds = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    reads = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        binds = {"*"}
    inner = table.get_children()
    while inner:
        table = inner.pop()
        reads |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        inner += table.get_children()
    reader = Reader()
    reader.visit(node)
    for doing in (reader.now, reader.later):  # names that are local to a function concern nothing else
        for names in (doing.changes, doing.sets, doing.calls):
            names &= reads | binds
        doing.passed = {(by, name) for by, name in doing.passed if name in reads | binds}
    return Effects(binds, reads, reader.now, reader.later, reader.aliases & reads)


class AtOnce(ast.NodeTransformer):
    """Removes `await` and `async` outside of functions, which IPython allows and Python's own tools do not."""

    def visit_FunctionDef(self, node):
        return node

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_Await(self, node):
        return self.visit(node.value)

    def visit_AsyncFor(self, node):
        self.generic_visit(node)
        return ast.copy_location(ast.For(node.target, node.iter, node.body, node.orelse), node)

    def visit_AsyncWith(self, node):
        self.generic_visit(node)
        return ast.copy_location(ast.With(node.items, node.body), node)


class Reader(ast.NodeVisitor):
    def __init__(self):
        self.now, self.later, self.aliases = Doing(), Doing(), set()
        self.doing = self.now

    # --- functions and classes: their bodies do what they do when they are called

    def visit_FunctionDef(self, node):
        for decorator in node.decorator_list:
            self.decorated(decorator)
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        self.postponed(node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node):
        self.postponed([node.body])

    def postponed(self, body):
        before, self.doing = self.doing, self.later
        for part in body:
            self.visit(part)
        self.doing = before

    def visit_ClassDef(self, node):
        for decorator in node.decorator_list:
            self.decorated(decorator)
        for base in node.bases:  # it may keep a list of its subclasses
            self.touched(base)
            self.visit(base)
        for part in (*node.keywords, *node.body):
            self.visit(part)

    def decorated(self, decorator):
        for touched in (decorator, *arguments(decorator)):
            self.touched(touched)
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        self.doing.calls |= {n for n in [root(function)] if n}
        self.visit(decorator)

    def visit_Global(self, node):
        self.doing.binds |= set(node.names)

    # --- changes

    def visit_Attribute(self, node):
        if not isinstance(node.ctx, ast.Load) and (name := root(node)):
            self.doing.sets.add(name)
        self.generic_visit(node)

    visit_Subscript = visit_Attribute

    def visit_Expr(self, node):
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call) and not (isinstance(call.func, ast.Name) and call.func.id in HARMLESS):
            # Its result is not used: it is called for what it changes.
            if not isinstance(call.func, ast.Name):
                self.touched(call.func)
            self.doing.passed |= {(root(call.func), name) for name in map(root, arguments(call)) if name}
        self.generic_visit(node)

    def visit_Call(self, node):
        name = root(node.func)
        passed = [root(a) for a in arguments(node) if isinstance(a, ast.Name | ast.Attribute)]
        self.doing.calls |= {n for n in (name, *passed) if n}
        if isinstance(node.func, ast.Attribute):
            method = node.func.attr
            if method in CHANGING or (method.endswith("_") and not method.startswith("_")):
                self.touched(node.func)
                for argument in arguments(node):  # nn.init.zeros_(weight)
                    if method.endswith("_"):
                        self.touched(argument)
        elif name in SETTING and node.args:
            self.touched(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "out":
                self.touched(keyword.value)
        self.generic_visit(node)

    def touched(self, node):
        """The object of the name at the root of this expression may be changed."""
        if name := root(node):
            self.doing.changes.add(name)

    # --- other names for the same objects

    def visit_Assign(self, node):
        self.aliases |= same(node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node):
        self.aliases |= same(node.value)
        self.generic_visit(node)

    visit_NamedExpr = visit_Assign

    def visit_For(self, node):
        self.aliases |= same(node.iter)
        self.generic_visit(node)

    visit_AsyncFor = visit_For

    def visit_withitem(self, node):
        self.aliases |= same(node.context_expr)
        self.generic_visit(node)

    def visit_Match(self, node):
        self.aliases |= same(node.subject)
        self.generic_visit(node)


def arguments(node):
    """Arguments of a call; none if the node is not a call."""
    return [*node.args, *(k.value for k in node.keywords)] if isinstance(node, ast.Call) else []


def root(node):
    """The name of the object with which an expression begins, as `x` in `x.a[0].b()`, or None, as for `f(x)`."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Await):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return node.id if isinstance(node, ast.Name) else None


def same(node):
    """Names whose objects the value of this expression may be, or may contain."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return set().union(*map(same, node.elts))
    if isinstance(node, ast.Dict):
        return set().union(*map(same, node.values))
    if isinstance(node, ast.IfExp):
        return same(node.body) | same(node.orelse)
    if isinstance(node, ast.BoolOp):
        return set().union(*map(same, node.values))
    if isinstance(node, ast.NamedExpr):
        return same(node.value)
    if isinstance(node, ast.Call):  # table.setdefault("a", []), table.values(), zip(a, b)
        own = same(node.func) if isinstance(node.func, ast.Attribute) else set()
        return own.union(*map(same, arguments(node)))
    return {n for n in [root(node)] if n}
