"""What a student meets: states, messages, fallback. The functions here stand for notebook cells."""

import builtins
import contextlib
import getpass
import signal
import subprocess
import sys
from dataclasses import replace

import nbclient
import nbformat
import pytest
import torch

from cvdl.course.exercises import api as course
from cvdl.course.exercises.api import check, exercise, hint, progress, use_library
from cvdl.course.exercises.chapters import find
from cvdl.errors import CourseError
from cvdl.sequence import rnn

ARGS = (torch.randn(2, 3), torch.randn(2, 4), torch.randn(4, 3), torch.randn(4, 4), torch.randn(4))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    for name in ("_attempts", "_scores", "_hints", "_refused"):
        monkeypatch.setattr(course, name, {})
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


def unanswered():
    @exercise("rnn.step", points=15)
    def rnn_step(x, h, V, W, b_h):
        """One step."""
        ...

    return rnn_step


def wrong():
    @exercise("rnn.step", points=15)
    def rnn_step(x, h, V, W, b_h):
        return x @ V.T + h @ W.T + b_h

    return rnn_step


def right():
    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        """One step."""
        return (x @ V.T + h @ W.T + b_h).tanh()

    return rnn_step


def test_unanswered_goes_on_with_the_library(capsys):
    step = unanswered()
    assert (
        "rnn.step: not attempted yet — the cells below continue with cvdl's own implementation."
        in capsys.readouterr().out
    )
    assert torch.allclose(step(*ARGS), rnn.step(*ARGS))
    assert "not attempted yet — 0 of 15 points" in repr(check("rnn.step"))


def test_wrong_is_used_below_until_use_library():
    step = wrong()
    text = repr(check("rnn.step"))
    assert "rnn.step: " in text and "f_h is missing" in text and 'use_library("rnn.step")' in text
    assert torch.allclose(step(*ARGS), ARGS[0] @ ARGS[2].T + ARGS[1] @ ARGS[3].T + ARGS[4])
    use_library("rnn.step")
    assert torch.allclose(step(*ARGS), rnn.step(*ARGS))
    assert "f_h is missing" in repr(check("rnn.step")), "points are still for the student's own"
    assert torch.allclose(wrong()(*ARGS), ARGS[0] @ ARGS[2].T + ARGS[1] @ ARGS[3].T + ARGS[4]), (
        "running the cell undoes it"
    )


def test_right():
    right()
    assert repr(check("rnn.step")).startswith("✓ rnn.step: right — 15 of 15 points")


def test_other_exercises_are_the_librarys_while_one_is_checked():
    step = wrong()

    @exercise("rnn.unroll")
    def rnn_unroll(xs, h0, V, W, b_h):
        states, h = [], h0
        for x in xs:
            h = step(x, h, V, W, b_h)
            states.append(h)
        return torch.stack(states, 0)

    assert "15 of 15" in repr(check("rnn.unroll"))
    assert "15 of 15" not in repr(check("rnn.step"))


STOOD_IN = "Judged with the course's rnn_step; yours is not right yet."


def unrolled(step, last=-1):
    @exercise("rnn.unroll")
    def rnn_unroll(xs, h0, V, W, b_h):
        states = [h0]
        for x in xs:
            states.append(step(x, states[last], V, W, b_h))
        return torch.stack(states[1:])


@pytest.mark.parametrize("checked", [True, False])
def test_the_card_says_that_the_courses_function_stood_in_for_one_that_is_not_right(checked):
    step = wrong()
    if checked:
        check("rnn.step")
    unrolled(step)
    assert STOOD_IN in check("rnn.unroll").lines and check("rnn.unroll").state == "right"
    unrolled(step, last=0)
    assert STOOD_IN in check("rnn.unroll").lines and check("rnn.unroll").state != "right"
    use_library("rnn.step")
    assert STOOD_IN not in repr(check("rnn.unroll"))


def test_where_nothing_of_the_students_was_replaced_nothing_is_said():
    for step in (unanswered(), right(), rnn.step):
        unrolled(step)
        assert "Judged with" not in repr(check("rnn.unroll"))
    wrong()  # not called by the one that is checked
    assert "Judged with" not in repr(check("rnn.unroll")) and "Judged with" not in repr(check("rnn.step"))


@pytest.mark.parametrize("kind", ["autograde", "validate"])
def test_under_nbgrader_check_is_a_plain_number(monkeypatch, kind):
    monkeypatch.setenv("NBGRADER_EXECUTION", kind)
    assert check("rnn.step") == 0
    unanswered()
    assert check("rnn.step") == 0
    right()
    assert check("rnn.step") == 15 and type(check("rnn.step")) is int


def test_points_of_an_earlier_answer_do_not_stay(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    right()
    assert check("rnn.step") == 15
    unanswered()
    assert check("rnn.step") == 0


def test_an_error_is_told_with_the_students_line():
    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        y = x @ V
        return torch.tanh(y)

    text = repr(check("rnn.step"))
    assert "RuntimeError" in text and "of your cell: y = x @ V" in text and "Traceback" not in text


def test_nothing_returned_is_told_at_once_and_with_the_way_out():
    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        torch.tanh(x @ V.T + h @ W.T + b_h)

    text = repr(check("rnn.step"))
    assert "nothing was returned" in text and "End the function with a line `return …`" in text and "the same" in text
    with pytest.raises(CourseError, match="use_library"):
        rnn_step(*ARGS)
    assert check(rnn_step).headline == check("rnn.step").headline


def test_an_error_below_names_the_way_out():
    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        return np.tanh(x)  # noqa: F821

    assert "Python does not know that name" in repr(check("rnn.step"))
    with pytest.raises(NameError) as error:
        rnn_step(*ARGS)
    assert 'use_library("rnn.step")' in error.value.__notes__[0]


def test_filling_a_tensor_in_place_is_told():
    @exercise("rnn.unroll")
    def rnn_unroll(xs, h0, V, W, b_h):
        hs = torch.zeros(len(xs) + 1, *h0.shape)
        hs[0] = h0
        for t, x in enumerate(xs):
            hs[t + 1] = torch.tanh(x @ V.T + hs[t] @ W.T + b_h)
        return hs[1:]

    text = repr(check("rnn.unroll"))
    assert "partly right — 13 of 15" in text and "Collect the parts in a list" in text


def test_returned_dots_are_no_attempt():
    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        return ...

    assert not rnn_step.attempted


def test_what_torch_imports_late_takes_no_time_from_a_student(monkeypatch):
    order = []

    @contextlib.contextmanager
    def clock(seconds):
        order.append("clock")
        yield

    monkeypatch.setattr(course, "first_gradient", lambda: order.append("gradient"))
    monkeypatch.setattr(course, "time_limit", clock)
    right()
    check("rnn.step")
    assert order[:2] == ["gradient", "clock"]


def test_a_first_gradient_imports_what_later_ones_need():
    code = (
        "import sys, torch; from cvdl.course.exercises import api as exercise; from cvdl.sequence import rnn; exercise.first_gradient();"
        "before = set(sys.modules); args = [torch.randn(s, requires_grad=True) for s in ((2, 3), (2, 4), (4, 3), (4, 4), 4)];"
        "rnn.step(*args).sum().backward(); torch.nn.functional.conv2d(torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3,"
        " requires_grad=True)).sum().backward(); print(len(set(sys.modules) - before))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


def test_an_endless_loop_is_stopped(monkeypatch):
    monkeypatch.setattr(course, "SECONDS", 0.3)

    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        while True:
            try:
                h = h + 0
            except Exception:
                pass

    text = repr(check("rnn.step"))
    assert "stopped after 0.3 seconds" in text and "loop that never ends" in text
    assert sum(range(10**6)) > 0, "the interpreter lives on"


def test_checking_before_the_exercise_cell_says_what_to_do():
    assert 'Run the exercise cell first, the one that starts with @exercise("rnn.step")' in repr(check("rnn.step"))
    with pytest.raises(CourseError, match="Run the exercise cell first"):
        use_library("rnn.step")


@pytest.mark.parametrize("call", [check, hint, use_library, exercise])
def test_unknown_id(call):
    with pytest.raises(CourseError, match="Did you mean"):
        call("rnn.setp")


@pytest.mark.parametrize("call", [check, hint, use_library, exercise])
def test_a_call_without_an_id_says_what_to_write(call):
    name = "@exercise" if call is exercise else call.__name__
    with pytest.raises(CourseError, match="needs the id of the exercise in brackets") as error:
        call()
    assert f'as in {name}("rnn.step")' in str(error.value)


@pytest.mark.parametrize("call", [check, hint, use_library])
def test_the_function_itself_may_be_named(call):
    step = right()
    assert "rnn.step" in repr(call(step)) or call is use_library
    with pytest.raises(CourseError, match=r"wrong has no line @exercise\(…\) above its `def`"):
        call(wrong)


@pytest.mark.parametrize(
    ("id", "near"),
    [("start.tounit", " Did you mean start.to_unit?"), ("RNN.step", " Did you mean rnn.step?"), ("xyz", ""), (3, "")],
)
def test_only_ids_that_are_similar_are_suggested(id, near):
    for call in (check, hint, use_library, exercise):
        with pytest.raises(CourseError) as error:
            call(id)
        assert str(error.value) == f"There is no exercise {id!r}.{near} Copy the id from the heading of the exercise."


def test_wrong_points():
    with pytest.raises(CourseError, match="is worth 15 points, not 4"):
        exercise("rnn.step", points=4)
    with pytest.raises(CourseError, match="is worth 15 points, not '15'"):
        exercise("rnn.step", points="15")


def test_exercise_without_an_id():
    with pytest.raises(CourseError, match="needs the id of the exercise in brackets"):

        @exercise
        def rnn_step(x, h, V, W, b_h):
            return x


# --- the version that is checked is not the last one


OLDER = "rnn.step: right — 15 of 15 points, but for an older version"


def refused():
    with pytest.raises(CourseError, match="points=15"):
        exercise("rnn.step", points=100)


def test_a_refused_version_is_not_what_is_checked():
    refused()
    assert "was refused and has not been checked: rnn.step is worth 15 points" in repr(check("rnn.step"))
    right()
    assert repr(check("rnn.step")).startswith("✓ rnn.step: right — 15 of 15 points\n")
    refused()
    card = check("rnn.step")
    assert card.state == "open" and card.headline == OLDER
    assert "was refused and has not been checked: rnn.step is worth 15 points, not 100" in card.lines[0]
    wrong()
    refused()
    card = check("rnn.step")
    assert card.state != "right" and card.headline.endswith("but for an older version") and "refused" in card.lines[0]
    right()
    assert check("rnn.step").state == "right"


MARK = '@exercise("rnn.step", points=15)\n'


@pytest.mark.parametrize(
    "source, told",
    [
        (MARK + "def rnn_step(x, h, V, W, b_h):\n    return (x", "'(' was never closed, line 3: return (x. Fix that"),
        ("%%time\n" + MARK + "def rnn_step(x:\n    return x", "stopped with an error"),
        ('@exercise("rnn.step, points=15)\ndef rnn_step(x):\n    return x', "SyntaxError: unterminated string"),
        ("@cvdl.exercise(id='rnn.step')\ndef rnn_step(x)\n    return x", "SyntaxError: expected ':', line 2"),
        (MARK + "def rnn_step(x, h=undefined):\n    return x", "stopped with an error, so it has not been checked"),
        (MARK + "def rnn_step(x):\n    return '\0'", "so it has not been checked"),
    ],
)
def test_a_cell_that_failed_later_is_named(source, told, monkeypatch):
    cells = ["", "import cvdl"]
    monkeypatch.setattr(course, "cells_run", lambda: list(cells))
    cells.append(MARK + "...")
    right()
    cells.append('check("rnn.step")')
    assert check("rnn.step").state == "right"
    cells += ["rnn_step(1, 2)", source, "x = 1", 'check("rnn.step")']
    card = check("rnn.step")
    assert card.state == "open" and card.headline == OLDER and told in card.lines[0]
    right()
    assert check("rnn.step").state == "right"
    course._attempts.clear()
    if "@" in source.splitlines()[0] and "rnn.step, " not in source:
        assert "has not been checked" in repr(check("rnn.step"))


@pytest.mark.parametrize(
    "source",
    [
        "rnn_step(x, h",
        '# @exercise("rnn.step")\nx = (',
        'check("rnn.step"',
        '@exercise("rnn.step_other")\ndef other(x',
        "def rnn_steps(x",
        "def helper(x):\n    def rnn_step(y): return y\n    return x",
    ],
)
def test_other_cells_do_not_matter(source, monkeypatch):
    cells = ["", MARK + "..."]
    monkeypatch.setattr(course, "cells_run", lambda: list(cells))
    step = right()
    monkeypatch.setattr(course, "in_namespace", lambda name: step)
    cells.append(source)
    assert check("rnn.step").state == "right"


def test_a_version_without_its_mark_is_not_what_is_checked(monkeypatch):
    right()
    monkeypatch.setattr(course, "in_namespace", lambda name: rnn.step)
    card = check("rnn.step")
    assert card.state == "open" and card.headline == OLDER
    assert "rnn_step was defined again without @exercise('rnn.step') above it" in card.lines[0]


def test_an_older_version_is_noticed_in_a_kernel():
    right_cell = MARK + "def rnn_step(x, h, V, W, b_h):\n    return (x @ V.T + h @ W.T + b_h).tanh()"
    checking = 'print(check("rnn.step"))'
    sources = [
        "from cvdl import check, exercise",
        *(right_cell, checking),
        *(right_cell[:-1], checking),
        *(right_cell, checking),
        *(right_cell.replace("15", "100"), checking),
        *(right_cell, checking),
        *(right_cell.partition("\n")[2], checking),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    nbclient.NotebookClient(notebook, allow_errors=True, timeout=None).execute()
    printed = ["".join(o.text for o in c.outputs if o.get("name") == "stdout") for c in notebook.cells]
    heads = [text.splitlines()[0] for c, text in zip(notebook.cells, printed, strict=True) if c.source == checking]
    good, old = "✓ rnn.step: right — 15 of 15 points", f"○ {OLDER}"
    assert heads == [good, old, good, old, good, old]


# --- what would wait for somebody


def test_input_does_not_wait(monkeypatch):
    def ask(*_):
        raise AssertionError("somebody is asked")

    monkeypatch.setattr(builtins, "input", ask)
    for wait in (lambda: input("x? "), breakpoint, lambda: getpass.getpass()):

        @exercise("rnn.step")
        def rnn_step(x, h, V, W, b_h, wait=wait):
            wait()
            return x

        text = repr(check("rnn.step"))
        assert "asked for input from the keyboard" in text and "Remove input()" in text
    assert builtins.input is ask


def test_stop_is_not_an_answer():
    def rnn_step(x, h, V, W, b_h):
        signal.raise_signal(signal.SIGINT)
        return x

    exercise("rnn.step")(rnn_step)
    with pytest.raises(KeyboardInterrupt):
        check("rnn.step")
    assert "answered, not checked" in repr(progress())


# --- advice on what torch and Python say


def of_unroll(body):
    return lambda xs, h0, V, W, b_h: body(xs, h0, V)


@pytest.mark.parametrize(
    "body, advice",
    [
        (lambda xs, h, V: h.requires_grad_().add_(1), "Writing into a tensor breaks backpropagation"),
        (lambda xs, h, V: torch.tensor([h, h]), "torch.stack turns a list of tensors into one tensor"),
        (lambda xs, h, V: xs.double() @ V.T, "Two types of numbers are mixed here"),
        (lambda xs, h, V: xs.long().mean(), "Two types of numbers are mixed here"),
        (lambda xs, h, V: twice(h), "Do not call .backward()"),
        (lambda xs, h, V: h.sum().backward(), "Do not call .backward()"),
        (lambda xs, h, V: h.clone().requires_grad_().numpy(), "Use tensors at every step"),
        (lambda xs, h, V: h if h > 0 else -h, "need a single truth value"),
        (lambda xs, h, V: xs[len(xs)], "Indices start at 0"),
        (lambda xs, h, V: [1][3], "Indices start at 0"),
        (lambda xs, h, V: torch.tanh(h, h, h), "arguments"),
        (lambda xs, h, V: xs @ V, "Print the shapes"),
        (lambda xs, h, V: 1 / 0, "Fix the line shown above first"),
    ],
)  # fmt: skip
def test_advice_on_an_error(body, advice):
    exercise("rnn.unroll")(of_unroll(body))
    assert advice in repr(check("rnn.unroll"))


def twice(h):
    loss = h.clone().requires_grad_().square().sum()
    loss.backward()
    loss.backward()


def test_hints_come_one_by_one_and_begin_again():
    unanswered()
    texts = [repr(hint("rnn.step")) for _ in range(4)]
    assert [t.split(":")[1].split("\n")[0] for t in texts] == [f" hint {i} of 3" for i in (1, 2, 3, 1)]


def test_running_all_cells_again_shows_the_same_hint(monkeypatch):
    cells = iter((5, 18, 19, 32, 45, 58, 58))
    monkeypatch.setattr(course, "running_cell", lambda: next(cells))

    def shown():
        return int(repr(hint("rnn.step")).split("hint ")[1][0])

    unanswered()
    assert shown() == 1
    unanswered()
    assert shown() == 1  # cell 18: others ran in between
    assert shown() == 2  # the cell after it: only this one was run again
    unanswered()
    assert shown() == 2
    wrong()
    assert shown() == 3  # the answer has changed
    wrong()
    assert shown() == 3
    assert shown() == 1  # twice in a cell


def test_the_hint_on_a_known_mistake_is_on_the_card():
    unanswered()
    wrong()
    assert "f_h is missing" in repr(check("rnn.step"))


def test_progress():
    assert "No exercise was run yet" in repr(progress())
    right()
    check("rnn.step")

    @exercise("rnn.last")
    def last_state(hs, lengths):
        return hs[-1]

    text = repr(progress())
    assert "15 of 100 points" in text
    assert "rnn.last        0/10   answered, not checked" in text and "cell not run yet" in text


def test_answers_of_kind_answer_are_unanswered_while_all_values_are_dots():
    @exercise("rnn.match")
    def match_shapes():
        """Choose."""
        return {"image classification": ..., "image captioning": ...}

    assert not match_shapes.attempted

    known = find("rnn.match").library()["image classification"]

    @exercise("rnn.match")
    def match_shapes():
        return {"image classification": known, "image captioning": ...}

    assert match_shapes.attempted
    assert "partly right — 2 of 10" in repr(check("rnn.match"))


def test_html_is_escaped_and_readable_on_any_background():
    @exercise("rnn.step")
    def rnn_step(x, h, V, W, b_h):
        raise ValueError("<script>alert(1)</script>")

    html = check("rnn.step")._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "background:#" not in html and "color:inherit" in html


def test_docstring_and_name_of_the_students_function_stay():
    step = right()
    assert step.__name__ == "rnn_step" and step.__doc__ == "One step."


def test_a_fault_of_the_course_is_told_on_a_card_and_is_not_the_students(monkeypatch):
    def broken(*args):
        raise ZeroDivisionError("why")

    right()
    check("rnn.step")
    monkeypatch.setattr(course.chapters, "find", lambda id: replace(find(id), oracle=broken))
    card = check("rnn.step")
    assert card.state == "open" and "because of a fault in the course" in card.headline
    assert "ZeroDivisionError: why" in card.lines[0] and "report" in card.lines[0]
    assert "You did nothing wrong" in card.lines[1]
    assert "answered, not checked" in repr(progress())
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(CourseError, match="fault in the course"):  # 0 points would be the student's loss
        check("rnn.step")
