import matplotlib.pyplot as plt
import pytest
import torch

from cvdl.sequence import bptt
from cvdl.sequence.plotting import draw_bptt


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def thick(figure):
    arrows = [text.arrow_patch for text in figure.axes[0].texts if getattr(text, "arrow_patch", None)]
    return [arrow for arrow in arrows if arrow.get_linewidth() == 3]


@pytest.mark.parametrize("step", draw_bptt.STEPS)
def test_graph(step):
    figure = draw_bptt.graph(step)
    figure.canvas.draw()
    assert len(thick(figure)) == len(draw_bptt.STEPS[step][2])


def test_the_state_hears_from_above_and_from_the_next_step():
    into = {end for _, end in draw_bptt.STEPS["dh"][2]}
    assert into == {("h", 1)} and {start for start, _ in draw_bptt.STEPS["dh"][2]} == {("o", 1), ("a", 2)}


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_norms_and_singular_values(gain):
    hs, W = bptt.driven_run(gain, hidden=16, steps=20, batch=3)
    norms = bptt.norm_by_lag(hs, W, torch.ones(3, 16, dtype=torch.float64))
    axes = draw_bptt.norm_by_lag({f"gain {gain}": norms}).axes[0]
    assert axes.get_yscale() == "log"
    assert axes.lines[0].get_ydata().tolist() == pytest.approx(norms.median(1).values.tolist())
    J = bptt.jacobians(hs, W)[:, 0]
    figure = draw_bptt.singular_values(
        torch.linalg.svdvals(J), torch.linalg.matrix_norm(bptt.products(J), 2), f"gain {gain}"
    )
    assert len(figure.axes[1].lines[0].get_xdata()) == 21
    figure.canvas.draw()


def test_learning_curves():
    figure = draw_bptt.learning_curves(
        {str(n): torch.rand(3, 5) for n in range(7)}, "error", ("says 1", 0.17), every=100
    )
    figure.canvas.draw()
    assert figure.axes[0].lines[0].get_xdata().tolist() == [100, 200, 300, 400, 500]
    assert [axes.axison for axes in figure.axes] == [True] * 7 + [False]
