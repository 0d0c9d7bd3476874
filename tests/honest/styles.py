"""Notebooks as honest students write them, in odd styles: {name: cells}.

Each ran in its author's kernel, cell after cell; `check` said there what its answers are worth.
"""

SETUP = "import math\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\nimport cvdl\nfrom cvdl import check, exercise, hint, progress, show, use_library"
CHECK = 'check("rnn.step")'
DEF = '@exercise("rnn.step", points=15)\ndef rnn_step(x, h, V, W, b_h):\n'
SUM = "x @ V.T + h @ W.T + b_h"
RIGHT = DEF + f"    return torch.tanh({SUM})"
WRONG = DEF + f"    return torch.sigmoid({SUM})"
STUB = DEF + '    """One step."""\n    ...'
ACT = "def act(z):\n    return torch.tanh(z)"
UNROLL = '@exercise("rnn.unroll", points=15)\ndef rnn_unroll(xs, h0, V, W, b_h):\n    hs = []\n    for x in xs:\n        h0 = rnn_step(x, h0, V, W, b_h)\n        hs.append(h0)\n    return torch.stack(hs)'
LOSS = '@exercise("rnn.loss", points=15)\ndef sequence_loss(logits, targets, mask):\n    return F.cross_entropy(logits[mask], targets[mask])'
UNIT = '@exercise("start.to_unit", points=100)\ndef to_unit(image):\n'


def step(act):
    """An answer that applies `act` to the weighted sum."""
    return DEF + f"    return {act}({SUM})"


def using(*cells, act="act"):
    """These cells, then an answer that needs them, and its check."""
    return [*cells, step(act), CHECK]


ADD_TO = (
    "def add_to_class(Class):\n    def add(f):\n        setattr(Class, f.__name__, f)\n        return f\n    return add"
)
CELL = "class Cell:\n    def __init__(self, scale=1):\n        self.scale = scale"
FORWARD = "def forward(self, z):\n    return torch.tanh(self.scale * z)"

STYLES = {
    # what statements do, beyond assigning
    "a method added by assignment": using(CELL, FORWARD, "Cell.forward = forward", act="Cell().forward"),
    "a method added by a decorator": using(ADD_TO, CELL, f"@add_to_class(Cell)\n{FORWARD}", act="Cell().forward"),
    "a method added by setattr": using(CELL, FORWARD, "setattr(Cell, 'forward', forward)", act="Cell().forward"),
    "a method that is a lambda": using(CELL, "Cell.forward = lambda self, z: torch.tanh(z)", act="Cell().forward"),
    "a class of a class over cells": using("class Base: pass", "class Net(Base): pass", FORWARD.replace("self.scale * ", ""), "Base.forward = forward", act="Net().forward"),
    "a table filled in a loop": using("TABLE = {}", "for n in 'ab':\n    TABLE[n] = torch.tanh", act="TABLE['a']"),
    "a list that is appended to": using("ACT = []", "ACT.append(torch.tanh)", act="ACT[0]"),
    "a table that is updated": using("TABLE = dict()", "TABLE.update(a=torch.tanh)", act="TABLE['a']"),
    "an item that is assigned": using("TABLE = {'a': None}", "TABLE['a'] = torch.tanh", act="TABLE['a']"),
    "a table under another name": using("TABLE = {}", "other = TABLE", "other['a'] = torch.tanh", act="TABLE['a']"),
    "a nested table": using("T = {'acts': {}}", "inner = T['acts']\ninner.setdefault('a', torch.tanh)", act="T['acts']['a']"),
    "rows of a list that are changed": using("rows = [[], []]", "for row in rows:\n    row.append(torch.tanh)", act="rows[1][0]"),
    "under no_grad": [*["with torch.no_grad():\n    ONE = torch.ones(1)"], DEF + f"    return torch.tanh({SUM}) * ONE", CHECK],
    "in a while loop": using("n = 3", "while n > 0:\n    act = torch.tanh\n    n -= 1"),
    "in a match": using("kind = 'tanh'", "match kind:\n    case 'tanh':\n        act = torch.tanh\n    case _:\n        act = torch.relu"),
    "in a try": using("try:\n    act = torch.no_such_function\nexcept AttributeError:\n    act = torch.tanh"),
    "in an if": using("if torch.__version__:\n    def act(z): return z.tanh()\nelse:\n    act = None"),
    "a function that sets a global": using("def init():\n    global act\n    act = torch.tanh", "init()"),
    "a function that calls one that sets a global": using("def inner():\n    global act\n    act = torch.tanh\ndef outer():\n    inner()", "outer()"),
    "a function that fills a table": using("TABLE = {}\ndef fill(name, f):\n    TABLE[name] = f", "fill('a', torch.tanh)", act="TABLE['a']"),
    "a function that fills what it is given": using("TABLE = {}\ndef fill(t):\n    t['a'] = torch.tanh", "fill(TABLE)", act="TABLE['a']"),
    "a decorator that registers": using("REG = {}\ndef register(f):\n    REG[f.__name__] = f\n    return f", "@register\ndef squash(z):\n    return torch.tanh(z)", act="REG['squash']"),
    "a decorator with an argument that registers": using("REG = {}\ndef register(name):\n    def add(f):\n        REG[name] = f\n        return f\n    return add", "@register('a')\ndef _(z):\n    return torch.tanh(z)", act="REG['a']"),
    "an object that registers": using("class Registry:\n    def __init__(self): self.d = {}\n    def add(self, f):\n        self.d[f.__name__] = f\n        return f\nreg = Registry()", "@reg.add\ndef squash(z):\n    return torch.tanh(z)", act="reg.d['squash']"),
    "subclasses that register": using("class Act:\n    kinds = {}\n    def __init_subclass__(cls):\n        Act.kinds[cls.__name__] = cls", "class Tanh(Act):\n    def __call__(self, z): return torch.tanh(z)", act="Act.kinds['Tanh']()"),
    "singledispatch": using("import functools\n@functools.singledispatch\ndef act(z): raise TypeError", "@act.register(torch.Tensor)\ndef _(z): return torch.tanh(z)"),
    "an attribute of a function": using("def act(z):\n    return torch.tanh(act.one * z)", "act.one = 1.0"),
    "a comprehension for its effect": using("L = []", "[L.append(f) for f in (torch.tanh, torch.relu)]", act="L[0]"),
    "a map for its effect": using("L = []\ndef put(f): L.append(f)", "list(map(put, [torch.tanh]))", act="L[0]"),
    "augmented": using("L = [torch.relu]", "L += [torch.tanh]", act="L[-1]"),
    "deleted and swapped": using("L = [torch.relu, torch.tanh]", "del L[0]", act="L[0]"),
    "in place on a tensor": ["scale = torch.zeros(1)", "scale.add_(1)", DEF + f"    return torch.tanh({SUM}) * scale", CHECK],
    "weights set in place": ["lin = nn.Linear(1, 1, bias=False)", "with torch.no_grad():\n    nn.init.ones_(lin.weight)", DEF + f"    return torch.tanh({SUM}) * lin.weight.detach()[0, 0]", CHECK],
    "a state dict that is loaded": ["lin = nn.Linear(1, 1)", "lin.load_state_dict({'weight': torch.ones(1, 1), 'bias': torch.zeros(1)})", DEF + f"    return torch.tanh({SUM}) * lin.weight.detach()[0, 0]", CHECK],
    "a dataclass and an enum": using("from dataclasses import dataclass, field\nfrom enum import Enum\nclass Kind(Enum):\n    TANH = 'tanh'\n@dataclass\nclass Act:\n    kind: Kind = Kind.TANH\n    def __call__(self, z): return getattr(torch, self.kind.value)(z)", act="Act()"),
    # only running the notebook helps
    "globals()": using("globals()['act'] = torch.tanh"),
    "exec": using("exec('def act(z):\\n    return torch.tanh(z)')"),
    "by way of sys.modules": using("import sys\nsetattr(sys.modules['__main__'], 'act', torch.tanh)"),
    "a name made of parts": using("for part in ['ac']:\n    vars()[part + 't'] = torch.tanh"),
    "by way of IPython": using("get_ipython().user_ns['act'] = torch.tanh"),
    "a function kept in an object that keeps itself": using("class Box:\n    all = []\n    def __init__(self, f):\n        type(self).all.append(f)", "for f in (torch.tanh,):\n    box = Box(f)", act="Box.all[0]"),
    "a file that another cell writes": using("from pathlib import Path\nPath('n.txt').write_text('tanh')", "act = getattr(torch, open('n.txt').read())"),
    # the state at check
    "a helper that is written again later": [ACT, step("act"), CHECK, "def act(z):\n    return z.softmax(-1)", LOSS, 'check("rnn.loss")'],
    "a helper that is a number later": [ACT, step("act"), CHECK, "act = 5"],
    "a helper mended before the second check": ["def act(z): return z", step("act"), CHECK, ACT, CHECK],
    "a helper mended before it is checked": ["def act(z): return z", ACT, step("act"), CHECK],
    "a table that is emptied later": ["T = {'a': torch.tanh}", step("T['a']"), CHECK, "T.clear()"],
    "two exercises with a helper of one name": ["def helper(z): return torch.tanh(z)", step("helper"), CHECK, "def helper(l, t): return F.cross_entropy(l, t)", '@exercise("rnn.loss", points=15)\ndef sequence_loss(logits, targets, mask):\n    return helper(logits[mask], targets[mask])', 'check("rnn.loss")'],
    "a torch function that is hidden later": [RIGHT, CHECK, "torch_tanh = torch.tanh", "torch = None"],
    # what only a notebook has
    "display and get_ipython": [DEF + f"    display(x)\n    get_ipython().run_line_magic('precision', '3')\n    return torch.tanh({SUM})", CHECK],
    "display that is imported": [DEF + f"    from IPython.display import clear_output, display\n    display(x.shape)\n    return torch.tanh({SUM})", CHECK],
    "print and tqdm": ["from tqdm.auto import tqdm", DEF + f"    for _ in tqdm(range(3), disable=True):\n        print(x)\n    return torch.tanh({SUM})", CHECK],
    "a plot in the answer": ["%matplotlib inline\nimport matplotlib.pyplot as plt", DEF + f"    plt.plot([1, 2])\n    plt.show()\n    plt.close('all')\n    return torch.tanh({SUM})", CHECK],
    "capture over time": ["%%capture\n%%time\n" + RIGHT, CHECK],
    "time over capture": ["%%time\n%%capture out\n" + RIGHT, CHECK],
    "a line magic that assigns": using("%time act = torch.tanh"),
    "a module that a cell writes": using("%%writefile helper_of_mine.py\nimport torch\ndef act(z):\n    return torch.tanh(z)\n", "from helper_of_mine import act"),
    "a module that is imported inside": ["%%writefile other_helper.py\nimport torch\nact = torch.tanh\n", DEF + f"    import other_helper\n    return other_helper.act({SUM})", CHECK],
    "a script that is run": using("%%writefile script_of_mine.py\nimport torch\nact = torch.tanh\n", "%run script_of_mine.py"),
    "shell lines and questions": ["!true\n%config InlineBackend.figure_format = 'retina'\n" + RIGHT, CHECK, "torch.tanh?"],
    "annotations of the future over cells": ["from __future__ import annotations", "class A:\n    def f(self, other: B) -> Later: return torch.tanh(other)\n    x: Undefined = 1", step("A().f"), CHECK],
    "await at the top": using("import asyncio\nasync def make():\n    await asyncio.sleep(0)\n    return torch.tanh", "act = await make()"),
    "star imports": using("from torch import *", act="tanh"),
    "names beyond ASCII and a lone surrogate": ["# \ud83d half of a face\nтанх = torch.tanh", step("танх"), CHECK],
    # other spellings of the course's own words
    "exercise by another name": ["from cvdl import exercise as ex, check as c", RIGHT.replace("@exercise", "@ex"), "c('rnn.step')"],
    "exercise in a variable": ["task = cvdl.exercise", RIGHT.replace("@exercise", "@task"), CHECK],
    "the id in a variable": ["ID = 'rnn.step'", RIGHT.replace('"rnn.step"', "ID"), "check(ID)"],
    "exercises in a loop": ["def one(x, h, V, W, b_h):\n    return torch.tanh(x @ V.T + h @ W.T + b_h)", "for id, f in {'rnn.step': one}.items():\n    exercise(id)(f)\n    check(id)"],
    "a lambda without a name": ["exercise('rnn.step')(lambda x, h, V, W, b_h: torch.tanh(x @ V.T + h @ W.T + b_h))", CHECK],
    # around the answer
    "a fresh stub below": [RIGHT, CHECK, STUB],
    "a stub above": [STUB, CHECK, RIGHT, CHECK],
    "another cell has a syntax error": ["def broken(:", RIGHT, CHECK, UNROLL, 'check("rnn.unroll")'],
    "another exercise is left out": [UNROLL.replace("rnn_step(", "rnn_step("), STUB, 'check("rnn.unroll")'],
    "another exercise raises": [DEF + "    raise ValueError", CHECK, UNROLL, 'check("rnn.unroll")'],
    "another exercise is a plain function": [RIGHT.partition("\n")[2], UNROLL, 'check("rnn.unroll")'],
    "a check by the function": [RIGHT, "check(rnn_step)"],
    "a check in a condition": [RIGHT, "if True:\n    cvdl.check('rnn.step')"],
    "tries of its own": [RIGHT, "rnn_step(torch.ones(1, 2), torch.ones(1, 3), torch.ones(3, 2), torch.ones(3, 3), torch.ones(3))", CHECK, "for _ in range(2):\n    print(rnn_step)"],
    "a training loop of its own": ["net = nn.Linear(2, 2)\nopt = torch.optim.SGD(net.parameters(), 0.1)", "for _ in range(3):\n    opt.zero_grad()\n    loss = net(torch.ones(1, 2)).sum()\n    loss.backward()\n    opt.step()", RIGHT, CHECK],
    "a cell that fails above": ["1 / 0", "undefined_name", ACT, step("act"), CHECK],
    "wrong in a known way": [WRONG, CHECK],
    "wrong with a helper": ["ACTS = []", "ACTS.append(torch.sigmoid)", step("ACTS[0]"), CHECK],
    "wrong by a name that nobody gives": [DEF + "    return torch.tanh(x @ V.T + nobody)", CHECK],
    "wrong by a shape": [DEF + "    return torch.tanh(V @ x + W @ h + b_h)", CHECK],
    "half right": [DEF + "    return torch.tanh(F.linear(x, V) + F.linear(h, W) + b_h[0])", CHECK],
    "not answered": [STUB, CHECK],
}  # fmt: skip
