"""Figures of notebook 02.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt
import numpy as np

from cvdl.figures import COLOURS, MARKERS, STYLES, arrow, box, styled
from cvdl.sequence.plotting.draw import INPUT, OUTPUT, QUIET, STATE

LOSS = "#CC79A7"
_ROWS = {"x": 0, "a": 1, "h": 2, "o": 3, "L": 4}
_COLOURS = {"x": INPUT, "a": STATE, "h": STATE, "o": OUTPUT, "L": LOSS}
_SYMBOLS = {"L": r"\mathcal{L}"}
_COLUMNS = ("t-1", "t", "t+1")

# Steps of the derivation: its formula, the boxes it is about, and the edges (row, column) -> (row, column) along
# which the gradient comes.  Columns are 0, 1, 2 for t-1, t, t+1.
STEPS = {
    "forward": (r"$\mathbf{L} = \sum_t \mathcal{L}_t$", [], []),
    "do": (
        r"$\frac{\partial \mathbf{L}}{\partial o_t} = \hat{y}_t - y_t$",
        [("o", 1)],
        [(("L", 1), ("o", 1))],
    ),
    "dU": (
        r"$\frac{\partial \mathbf{L}}{\partial U} = \sum_t \frac{\partial \mathbf{L}}{\partial o_t} h_t^\top$",
        [("h", 0), ("h", 1), ("h", 2), ("o", 0), ("o", 1), ("o", 2)],
        [(("L", c), ("o", c)) for c in range(3)],
    ),
    "dh": (
        r"$\frac{\partial \mathbf{L}}{\partial h_t} = U^\top \frac{\partial \mathbf{L}}{\partial o_t}"
        r" + W^\top \frac{\partial \mathbf{L}}{\partial a_{t+1}}$",
        [("h", 1)],
        [(("o", 1), ("h", 1)), (("a", 2), ("h", 1))],
    ),
    "dW": (
        r"$\frac{\partial \mathbf{L}}{\partial W} = \sum_t \frac{\partial \mathbf{L}}{\partial a_t} h_{t-1}^\top$",
        [("h", 0), ("a", 1), ("h", 1), ("a", 2)],
        [(("h", c), ("a", c)) for c in (1, 2)],
    ),
}


@styled
def graph(step="forward"):
    """The computation graph of three time steps; one of STEPS is lit, its gradient runs along the thick arrows."""
    formula, boxes, edges = STEPS[step]
    figure, axes = plt.subplots(figsize=(7.2, 4.4))
    places = {(row, c): (1.7 * c, y) for row, y in _ROWS.items() for c in range(3)}
    for (row, c), (x, y) in places.items():
        lit = step == "forward" or (row, c) in boxes
        label = f"${_SYMBOLS.get(row, row)}_{{{_COLUMNS[c]}}}$"
        box(axes, x, y, label, _COLOURS[row] if lit else QUIET, width=0.8, bold=(row, c) in boxes)
    box(axes, 1.7, 5, r"$\mathbf{L}$", LOSS if step == "forward" else QUIET, width=0.8)
    for c in range(3):
        for low, high, weight in (("x", "a", "$V$"), ("a", "h", ""), ("h", "o", "$U$"), ("o", "L", "")):
            (x, y), (_, top) = places[low, c], places[high, c]
            arrow(axes, (x, y + 0.23), (x, top - 0.23), weight, offset=(-0.16, 0))
        arrow(axes, (1.7 * c, 4.23), (1.7 + 0.3 * (c - 1), 4.77))
    for c in range(2):
        arrow(axes, (1.7 * c + 0.42, 1.95), (1.7 * (c + 1) - 0.42, 1.05), "$W$", offset=(-0.12, -0.12))
    thick = {"arrowstyle": "-|>", "lw": 3, "color": COLOURS[5], "shrinkA": 0, "shrinkB": 0}
    for start, end in edges:
        (x0, y0), (x1, y1) = places[start], places[end]
        if x0 == x1:
            ends = (x0 + 0.2, y0 - 0.24), (x1 + 0.2, y1 + 0.24)
        else:
            ends = (x0 - 0.42, y0 + 0.2), (x1 + 0.42, y1 + 0.1)
        axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=thick)
    axes.text(4.4, 2.6, formula, fontsize=14, va="center")
    axes.text(
        4.4, 1.8, "thin: forward\nthick: the gradient, backward" if edges else "thin: forward", fontsize=9, va="top"
    )
    axes.set(xlim=(-0.6, 7.6), ylim=(-0.4, 5.4))
    axes.axis("off")
    return figure


@styled
def norm_by_lag(named, title=""):
    """Gradient norm against lag on a log axis: the median of the samples, and a band from least to greatest.

    named: {name: norms (T + 1, B)}, all > 0
    """
    figure, axes = plt.subplots(figsize=(6.2, 3.2))
    for n, (name, norms) in enumerate(named.items()):
        norms, colour = np.asarray(norms), COLOURS[n % 6]
        lags = np.arange(len(norms))
        axes.fill_between(lags, norms.min(1), norms.max(1), color=colour, alpha=0.2, lw=0)
        look = {"color": colour, "ls": STYLES[n % 6], "marker": MARKERS[n % 6], "ms": 4, "markevery": 10}
        axes.plot(lags, np.median(norms, 1), label=name, **look)
    axes.axhline(1, color="black", lw=0.7)
    axes.set_yscale("log")
    axes.set(xlabel="lag: steps back from the loss", ylabel="norm of the gradient")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


@styled
def singular_values(values, product_norms, title=""):
    """Left: the singular values of dh_i/dh_{i-1} along a run.  Right: the norm of their product against lag.

    values: (T, H), product_norms: (T + 1,), > 0
    """
    values = np.sort(np.asarray(values), 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.1))
    steps = np.arange(1, len(values) + 1)
    left.fill_between(steps, values[:, 0], values[:, -1], color=COLOURS[4], alpha=0.35, lw=0)
    for n, (name, place) in enumerate((("greatest", -1), ("median", values.shape[1] // 2), ("smallest", 0))):
        left.plot(steps, values[:, place], label=name, color=COLOURS[n], ls=STYLES[n])
    left.axhline(1, color="black", lw=0.7)
    left.set(ylim=(0, None), xlabel="time step i")
    left.set_title(r"singular values of $\partial h_i/\partial h_{i-1}$", fontsize=10)
    left.legend(fontsize=8)
    right.plot(np.arange(len(product_norms)), product_norms, color=COLOURS[0])
    right.axhline(1, color="black", lw=0.7)
    right.set_yscale("log")
    right.set(xlabel="lag k")
    right.set_title(r"$\|\partial h_T/\partial h_{T-k}\|_2$, the product", fontsize=10)
    figure.suptitle(title, fontsize=10)
    return figure


@styled
def learning_curves(named, ylabel, baseline, every, log=False):
    """One panel per network: the mean over seeds, a band from the lowest to the highest, and the baseline.

    named: {name: losses (seeds, points)}; baseline: (name, value); every: training steps between points
    """
    columns = min(4, len(named))
    rows = -(-len(named) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(9.2, 2.2 * rows), sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(named) :]:
        axes.axis("off")
    for n, (axes, (name, losses)) in enumerate(zip(panels.flat, named.items(), strict=False)):
        losses = np.asarray(losses)
        steps = every * np.arange(1, losses.shape[1] + 1)
        axes.fill_between(steps, losses.min(0), losses.max(0), color=COLOURS[0], alpha=0.25, lw=0)
        axes.plot(steps, losses.mean(0), color=COLOURS[0])
        axes.axhline(baseline[1], color="black", lw=1, ls=":", label=baseline[0] if n == 0 else None)
        if log:
            axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
    panels[0, 0].legend(fontsize=7, loc="lower left")
    figure.supxlabel("training steps", fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    return figure
