"""Figures of notebook 05 are drawn, and what they mark is right."""

import matplotlib.pyplot as plt
import pytest
import torch

from cvdl.flow.plotting import draw_correlation


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_fixed_figures():
    for figure in (draw_correlation.discs(), draw_correlation.networks()):
        figure.canvas.draw()
    assert all(
        f"{name}:" in draw_correlation.DISCS_TOLD or f"{name}," in draw_correlation.DISCS_TOLD for name in "ABCDE"
    )


def test_the_highest_score_within_reach():
    scores = torch.zeros(6, 9)
    scores[1, 8], scores[4, 3] = 2, 1
    assert draw_correlation.highest(scores, (2, 3)) == (8, 1)
    assert draw_correlation.highest(scores, (2, 3), reach=2) == (3, 4)


@pytest.mark.parametrize("here", [(0, 0), (8, 5)])
def test_search(here):
    image, scores = torch.rand(3, 48, 72), torch.rand(6, 9)
    for there, reach in ((None, None), ((40.0, -3.0), 2)):
        draw_correlation.search(image, image, here, there, {"a": scores, "b": scores}, reach=reach).canvas.draw()


def test_versus_tells_who_is_better():
    a, b = torch.zeros(48, 72), torch.zeros(48, 72)
    a[:, :18], b[:, 36:] = 3, 3
    figure = draw_correlation.versus(torch.rand(3, 48, 72), {"one": a, "two": b})
    title = figure.axes[3].get_title()
    assert "one better: 50%" in title and "two better: 25%" in title
    draw_correlation.versus(torch.rand(3, 48, 72), {"one": a, "two": a}).canvas.draw()
