"""What a student meets: states, messages, fallback. The functions here stand for notebook cells."""

import contextlib
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from cvdl.course import exercise as course
from cvdl.course.checks import find
from cvdl.course.exercise import check, exercise, hint, progress, use_library
from cvdl.errors import CourseError
from cvdl.sequence import rnn

ARGS = (torch.randn(2, 3), torch.randn(2, 4), torch.randn(4, 3), torch.randn(4, 4), torch.randn(4))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    for name in ("_attempts", "_scores", "_hints"):
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
        "rnn.step: not attempted yet — the cells below go on with cvdl's own implementation." in capsys.readouterr().out
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
        "import sys, torch; from cvdl.course import exercise; from cvdl.sequence import rnn; exercise.first_gradient();"
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


def test_wrong_points():
    with pytest.raises(CourseError, match="counts 15 points, not 4"):
        exercise("rnn.step", points=4)


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
    monkeypatch.setattr(course.checks, "find", lambda id: replace(find(id), oracle=broken))
    card = check("rnn.step")
    assert card.state == "open" and "because of a fault of the course" in card.headline
    assert "ZeroDivisionError: why" in card.lines[0] and "report" in card.lines[0]
    assert "You did nothing wrong" in card.lines[1]
    assert "answered, not checked" in repr(progress())
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(CourseError, match="fault of the course"):  # 0 points would be the student's loss
        check("rnn.step")
