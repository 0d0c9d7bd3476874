"""Figures of notebook 06 are drawn, and what they mark is right."""

import matplotlib.pyplot as plt
import pytest
import torch

from cvdl.flow.plotting import draw_stack


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_figures_that_are_always_alike():
    for figure, wanted in ((draw_stack.two(), "brightness error · 1"), (draw_stack.final(), "fusion\n11 channels")):
        figure.canvas.draw()
        assert wanted in words(figure)


def test_schedules_fall_in_steps():
    figure = draw_stack.schedules({"S": ([0, 10, 20], [4e-4, 2e-4, 1e-4])}, marks=[10])
    figure.canvas.draw()
    stairs, mark = figure.axes[0].lines
    assert stairs.get_drawstyle() == "steps-post" and list(mark.get_xdata()) == [10, 10]


def test_warped_tells_the_mean_error():
    image = torch.rand(3, 8, 12)
    figure = draw_stack.warped(image, image, torch.full((8, 12), 0.25), " by half")
    figure.canvas.draw()
    assert figure.axes[2].get_title() == "brightness error: mean 0.250"
    assert figure.axes[1].get_title().endswith("by half")


def test_every_seed_is_a_point_and_their_mean_a_bar():
    figure = draw_stack.seeds({"a": [1.0, 3.0], "b": [2.0]}, "px", [("zero flow", 4.0)])
    figure.canvas.draw()
    points, bar = figure.axes[0].lines[:2]
    assert list(points.get_ydata()) == [1.0, 3.0] and set(bar.get_ydata()) == {2.0}


@pytest.mark.parametrize("best", [[], ["a", "c"]])
def test_the_front_is_filled(best):
    figure = draw_stack.front({"a": (1, 3), "b": (2, 4), "c": (9, 1)}, best, "ms", "px")
    figure.canvas.draw()
    filled = [line for line in figure.axes[0].lines if line.get_marker() != "None" and line.get_mfc() != "white"]
    assert len(filled) == len(best) and {"a", "b", "c"} <= set(words(figure))
