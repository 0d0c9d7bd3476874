"""Exercises are cut out of notebooks as students leave them."""

import ast
import json

import pytest

from cvdl.course.grading.extraction import extract
from cvdl.errors import CourseError

STEP = (
    '@exercise("rnn.step", points=15)\ndef rnn_step(x, h, V, W, b_h):\n    return torch.tanh(b_h + x @ V.T + h @ W.T)'
)
SETUP = "import torch\nimport cvdl, sys\nfrom cvdl import check, exercise, zoo"


def notebook(*cells):
    return json.dumps({"cells": [{"cell_type": "code", "source": c} for c in cells]}).encode()


def kept(found, id="rnn.step"):

    return [ast.unparse(s.tree).splitlines()[0] for s in found.needed(id)]


def test_an_exercise_comes_with_what_it_needs_and_no_more():
    found = extract(
        notebook(
            SETUP,
            "H = 32\nunused = train()\nscale = lambda f: lambda x: f(x) * H",
            "for i in range(10**9):\n    print(i)",
            STEP.replace("torch.tanh", "scale(act)"),
            "def act(x):\n    return torch.tanh(x) * K",
            "K, L = 1, 2",
            'check("rnn.step")',
        )
    )
    assert kept(found) == [
        "import torch",
        "from cvdl import exercise",
        "H = 32",
        "scale = lambda f: lambda x: f(x) * H",
        "@exercise('rnn.step', points=15)",
        "def act(x):",
        "K, L = (1, 2)",
    ]
    assert not found.notes and not found.broken and found.answered("rnn.step")
    assert "import" not in found.source("rnn.step") and "def act" in found.source("rnn.step")


def test_names_that_a_function_makes_itself_are_not_taken_from_the_notebook():
    found = extract(notebook(SETUP, "h = slow()", STEP))
    assert "h = slow()" not in kept(found)


def test_the_last_definition_counts_and_it_is_said():
    found = extract(notebook(SETUP, STEP, "def rnn_step(): pass", STEP.replace("tanh", "relu")))
    assert "relu" in found.source("rnn.step") and "tanh" not in found.source("rnn.step")
    assert found.notes == ["rnn.step is defined 2 times; the last one counts."]


def test_a_fresh_stub_below_does_not_undo_an_answer():
    stub = '@exercise("rnn.step")\ndef rnn_step(x):\n    ...'
    found = extract(notebook(SETUP, STEP, stub))
    assert found.answered("rnn.step") and "tanh" in found.source("rnn.step")
    assert found.notes == [
        "rnn.step is defined 2 times; the last one is not answered, so the last one with an answer counts."
    ]


def test_helpers_are_those_at_the_check():
    act = STEP.replace("torch.tanh", "act")
    cells = ["def act(z): return z.tanh()", act, 'check("rnn.step")', "def act(z): return z.softmax(0)"]
    assert "softmax" not in extract(notebook(SETUP, *cells)).source("rnn.step")
    assert "softmax" in extract(notebook(SETUP, *cells[1:])).source("rnn.step")  # there is no other
    assert "softmax" not in extract(notebook(SETUP, cells[0], cells[1], cells[3])).source("rnn.step")  # never checked


def test_loops_that_only_use_a_helper_are_left_out():
    cells = [
        "T = {}",
        "T['a'] = torch.tanh",
        "for i in range(10**9):\n    print(T['a'](i))",
        STEP.replace("torch.tanh", "T['a']"),
    ]
    assert kept(extract(notebook(SETUP, *cells)))[2:] == [
        "T = {}",
        "T['a'] = torch.tanh",
        "@exercise('rnn.step', points=15)",
    ]


@pytest.mark.parametrize("body", ["...", "return ...", '"""Doc."""\n    ...', 'return {"a": ..., "b": ...}'])
def test_unanswered(body):
    assert not extract(notebook(SETUP, f'@exercise("rnn.step")\ndef f(x):\n    {body}')).answered("rnn.step")


def test_magics_and_broken_cells_break_nothing_else():
    found = extract(
        notebook(
            "%matplotlib inline\n!pip install x\n" + SETUP,
            "%%bash\nrm -rf /",
            "def broken(:",
            '@exercise("rnn.unroll")\ndef f(x)\n    return x',
            "%%time\n" + STEP,
            "what?",
        )
    )
    assert found.definitions.keys() == {"rnn.step"}
    assert found.broken["rnn.unroll"] == "SyntaxError: expected ':' — line 2 of your cell: def f(x)"
    assert [note[:11] for note in found.notes] == ["Code cell 3", "Code cell 4"]
    assert kept(found)[0] == "import torch"


def test_a_broken_cell_does_not_undo_an_earlier_answer():
    found = extract(notebook(SETUP, STEP, STEP + ")"))
    assert found.definitions.keys() == {"rnn.step"} and not found.broken


def test_lines_are_counted_as_in_the_notebook():
    found = extract(notebook(SETUP, "\n\n# mine\n" + STEP))
    assert found.definitions["rnn.step"].tree.lineno == 3  # IPython drops empty lines at the beginning
    assert found.cells[2].splitlines()[2].startswith("def rnn_step")


def test_without_its_first_cell():
    found = extract(notebook(STEP))
    assert kept(found)[:2] == ["import torch", "from cvdl import exercise"] and found.notes


def test_written_another_way():
    ways = [
        'import cvdl\n@cvdl.exercise(id="rnn.step")\ndef f(x): return x',
        'from cvdl import exercise\nif True:\n    @exercise("rnn.step")\n    def f(x): return x',
        'from cvdl import *\nf = exercise("rnn.step")(lambda x: x)',
        'from cvdl import exercise\nexercise("rnn.step")(print)',
    ]
    for way in ways:
        assert len(kept(extract(notebook(way)))) >= 2, way


def test_old_and_odd_formats():
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": [SETUP + "\n", STEP]}]}]}
    assert extract(json.dumps(old).encode()).definitions
    assert extract(b"\xef\xbb\xbf" + notebook(SETUP, STEP)).definitions  # with a byte order mark
    assert not extract(b'{"cells": [{"cell_type": "markdown"}]}').definitions


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"cells": 7}', b'{"cells": [7]}', b"\xff\xfe", b"[" * 100_000, b'{"cells": [{"cell_type": "code", "source": 7}]}'],
    ids=range(9),
)  # fmt: skip
def test_no_notebook(data):
    with pytest.raises(CourseError, match="no notebook"):
        extract(data)


@pytest.mark.parametrize(
    "source", ["(" * 5000, "-" * 50_000 + "1", "x = " + "[" * 150 + "]" * 150, "a" * 300_000, "\0", "x" + ".a" * 5000]
)
def test_code_made_to_break_a_parser(source):
    assert extract(notebook(SETUP, STEP, source)).answered("rnn.step")
