"""Figures and sliders outside a kernel; the browser test drives them inside one."""

import base64
import sys

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from cvdl.course.notebook import display
from cvdl.errors import CourseError


def draw(t, name="a"):
    figure, axes = plt.subplots(figsize=(1, 1))
    axes.plot([t])
    return figure


def test_alternative_text_reaches_html_metadata_and_text():
    data, metadata = display.as_picture(draw(1), 'Five < six & "so"')._repr_mimebundle_()
    assert '<img alt="Five &lt; six &amp; &quot;so&quot;"' in data["text/html"]
    assert base64.b64encode(data["image/png"]).decode() in data["text/html"]
    assert metadata["image/png"]["alt"] == 'Five < six & "so"' and data["text/plain"] == '[figure: Five < six & "so"]'


def test_no_figure_without_alternative_text():
    with pytest.raises(ValueError, match="alternative text"):
        display.show(draw(1), " ")


def test_figures_are_closed(capsys):
    plt.close("all")
    display.show(draw(1), "A line.")
    assert plt.get_fignums() == [] and capsys.readouterr().out == "[figure: A line.]\n"


def test_sliders_start_at_their_first_value(capsys):
    display.explore(draw, "Step {t} of {name}.", t=(0, 9, 3), name=["b", "c"])
    assert capsys.readouterr().out == "[figure: Step 3 of b.]\n"


def test_both_ends_of_every_slider_are_tried(monkeypatch):
    seen = []

    def spy(t, tau, name):
        seen.append((t, tau, name))
        return draw(t)

    monkeypatch.setenv("CVDL_TRY_SLIDERS", "1")
    display.explore(spy, "{t} {tau} {name}", t=(0, 9, 3), tau=(0.1, 2.0, 1.0), name=["a", "b"])
    assert {(t, tau, n) for t in (0, 9) for tau in (0.1, 2.0) for n in "ab"} <= set(seen)
    with pytest.raises(ZeroDivisionError):
        display.explore(lambda t: draw(1 / (9 - t)), "x", t=(0, 9, 3))


def test_without_ipywidgets_a_still_picture_is_left(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    display.explore(draw, "Step {t}.", t=(0, 9, 3))
    out = capsys.readouterr().out
    assert "pip install ipywidgets" in out and "[figure: Step 3.]" in out


def test_an_outcome_that_does_not_hold_raises_with_advice(capsys):
    display.outcome("one is less than two", 1 < 2)
    assert "✓ one is less than two" in capsys.readouterr().out
    with pytest.raises(CourseError, match=r"does not confirm that two is less than one.*use_library"):
        display.outcome("two is less than one", 2 < 1)


@pytest.mark.parametrize("holds", [True, False])
def test_an_outcome_that_needs_a_longer_run_says_so(holds, capsys, monkeypatch):
    monkeypatch.setenv("CVDL_PROFILE", "quick")
    display.outcome("it has learned", holds, needs="laptop")
    told = capsys.readouterr().out
    assert (
        "Not asserted in the profile quick: it has learned" in told
        and "CVDL_PROFILE=laptop" in told
        and "✓" not in told
    )


@pytest.mark.parametrize("profile", ["laptop", "gpu"])
def test_an_outcome_that_needs_laptop_is_asserted_from_laptop_on(profile, capsys, monkeypatch):
    monkeypatch.setenv("CVDL_PROFILE", profile)
    display.outcome("it has learned", True, needs="laptop")
    assert "✓ it has learned" in capsys.readouterr().out
    with pytest.raises(CourseError, match="does not confirm"):
        display.outcome("it has learned", False, needs="laptop")
