"""Figures of notebooks 01–03.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt
import numpy as np

from cvdl import figures
from cvdl.figures import arrow, box, ink, styled

# Okabe & Ito's palette (2008), told apart by most colour-blind readers.
INPUT, STATE, OUTPUT, QUIET = "#56B4E9", "#E69F00", "#009E73", "#D9D9D9"


def _canvas(axes, width, height, low=-0.45):
    axes.set(xlim=(-0.6, width), ylim=(low, height), aspect="equal")
    axes.axis("off")


@styled
def folded_and_unrolled(steps=4):
    """The network with its loop, and the same network laid out in time."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[1, 2.6])
    for y, name, colour in ((0, "$x_t$", INPUT), (1, "$h_t$", STATE), (2, r"$\hat{y}_t$", OUTPUT)):
        box(left, 0.5, y, name, colour)
    arrow(left, (0.5, 0.22), (0.5, 0.77), "$V$", offset=(-0.16, 0))
    arrow(left, (0.5, 1.22), (0.5, 1.77), "$U$", offset=(-0.16, 0))
    loop = {"arrowstyle": "->", "lw": 1.2, "connectionstyle": "arc,angleA=0,angleB=0,armA=30,armB=30,rad=12"}
    left.annotate("", xy=(0.84, 0.9), xytext=(0.84, 1.12), arrowprops=loop)
    left.text(1.3, 1.0, "$W$", fontsize=11, ha="center", va="center")
    _canvas(left, 1.8, 2.4)
    left.set_title("folded: a loop", fontsize=10)
    _columns(right, [f"$x_{t}$" for t in range(1, steps + 1)], [rf"$\hat{{y}}_{t}$" for t in range(1, steps + 1)])
    right.set_title("unrolled: one column per time step, the same $V, W, U$ in all", fontsize=10)
    return figure


def _columns(axes, inputs, outputs, now=None):
    """The unrolled network; step `now` (from 1) is framed, later ones are grey."""
    for i, (x, y) in enumerate(zip(inputs, outputs, strict=True), 1):
        later = now is not None and i > now
        box(axes, i, 0, x, QUIET if later else INPUT, bold=i == now)
        box(axes, i, 1, f"$h_{{{i}}}$", QUIET if later else STATE, bold=i == now)
        arrow(axes, (i, 0.22), (i, 0.77), "$V$" if i == 1 else "", offset=(-0.14, 0))
        arrow(axes, (i - 1 + 0.33, 1), (i - 0.34, 1), "$W$" if i == 2 else "", offset=(0, 0.16))
        if y:
            box(axes, i, 2, y, QUIET if later else OUTPUT, bold=i == now)
            arrow(axes, (i, 1.22), (i, 1.77), "$U$" if i == 1 else "", offset=(-0.14, 0))
    box(axes, 0, 1, "$h_0$", "white")
    _canvas(axes, len(inputs) + 0.6, 2.45 if any(outputs) else 1.35)


@styled
def unrolled(inputs, hs, t):
    """The unrolled network up to step t, and below it the state before and after that step.

    inputs: T strings; hs: (T + 1, H), hs[0] = h_0; t in 0 … T.
    """
    hs = np.asarray(hs)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8.5, 4.2), height_ratios=[1.1, 1])
    _columns(top, inputs, [None] * len(inputs), now=t)
    units = np.arange(hs.shape[1])
    if t:
        bottom.bar(units, hs[t - 1], width=0.8, fill=False, edgecolor="black", linestyle=":", label=f"$h_{{{t - 1}}}$")
    bottom.bar(units, hs[t], width=0.5, color=STATE, label=f"$h_{{{t}}}$")
    bottom.axhline(0, color="black", lw=0.7)
    bottom.set(ylim=(-1.05, 1.05), xlabel="unit of the state", ylabel="activation", xticks=units)
    bottom.legend(loc="lower left", bbox_to_anchor=(1, 0), frameon=False)
    word = "".join(inputs[:t])
    bottom.set_title(f"step {t}: has read “{word}”" if t else "step 0: nothing read yet", fontsize=10)
    return figure


@styled
def five_shapes():
    """The five ways in which inputs and outputs can be attached to the steps."""
    kinds = [
        ("one-to-one", [1], [1], 1),
        ("one-to-many", [1], [1, 2, 3], 3),
        ("many-to-one", [1, 2, 3], [3], 3),
        ("many-to-many\nin step", [1, 2, 3], [1, 2, 3], 3),
        ("many-to-many\nencoder-decoder", [1, 2], [3, 4, 5], 5),
    ]
    figure, panels = plt.subplots(1, 5, figsize=(10, 2.6), width_ratios=[k[3] + 0.6 for k in kinds])
    for axes, (name, inputs, outputs, steps) in zip(panels, kinds, strict=True):
        for i in range(1, steps + 1):
            box(axes, i, 1, "", STATE)
            if i > 1:
                arrow(axes, (i - 1 + 0.33, 1), (i - 0.34, 1))
            if i in inputs:
                box(axes, i, 0, "x", INPUT)
                arrow(axes, (i, 0.22), (i, 0.77))
            if i in outputs:
                box(axes, i, 2, "y", OUTPUT)
                arrow(axes, (i, 1.22), (i, 1.77))
        axes.set(xlim=(0.4, steps + 0.6), ylim=(-0.4, 2.4), aspect="equal")
        axes.axis("off")
        axes.set_title(name, fontsize=9)
    return figure


@styled
def confusion(matrix, names):
    """Rows: the truth; columns: the answer; each cell in percent of its row, written out.  matrix: (K, K)"""
    share = 100 * np.asarray(matrix, float) / np.maximum(np.asarray(matrix).sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(7.2, 6.4))
    image = axes.imshow(share, cmap="cividis", vmin=0, vmax=100)
    for i, j in zip(*np.nonzero(share >= 3), strict=True):
        axes.text(
            j,
            i,
            f"{share[i, j]:.0f}",
            ha="center",
            va="center",
            fontsize=7,
            color=ink(image, share[i, j]),
        )
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="the network's answer", ylabel="truth")
    figure.colorbar(image, label="% of the names of this language", shrink=0.8)
    return figure


@styled
def probabilities(names, values, title, top=None):
    """Horizontal bars, the greatest first if `top` limits their number.  values: (K,) in [0, 1]"""
    values = np.asarray(values)
    order = np.argsort(-values)[:top] if top else np.arange(len(values))
    figure, axes = plt.subplots(figsize=(6.4, 0.6 + 0.24 * len(order)))
    axes.barh([names[i] for i in order], values[order], color=OUTPUT)
    for row, i in enumerate(order):
        axes.text(values[i] + 0.01, row, f"{100 * values[i]:.0f} %", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.1), xlabel="probability")
    axes.set_title(title, fontsize=10)
    return figure


@styled
def strip(columns, truth, answer, symbols):
    """A strip of handwriting with the true and the answered symbol under each column.

    columns: (T, 8) in [0, 1], truth and answer: (T,) ids.  A wrong answer is boxed.
    """
    columns, T = np.asarray(columns), len(truth)
    figure, axes = plt.subplots(figsize=(min(0.27 * T + 0.8, 11), 2.6))
    axes.imshow(columns.T, cmap="gray_r", extent=(-0.5, T - 0.5, 8, 0), aspect="auto")
    for y, label, ids in ((8.9, "truth", truth), (10.4, "answer", answer)):
        axes.text(-1, y, label, ha="right", va="center", fontsize=9)
        for t, i in enumerate(ids):
            wrong = {"edgecolor": "black", "facecolor": "none", "pad": 1.2} if i != truth[t] else None
            axes.text(t, y, symbols[int(i)], ha="center", va="center", fontsize=9, bbox=wrong)
    for edge in range(0, T + 1, 8):
        axes.axvline(edge - 0.5, color="black", lw=0.6, ymin=0.3)
    axes.set(ylim=(11.2, 0), xlim=(-0.5, T - 0.5))
    axes.axis("off")
    return figure


@styled
def curves(series, xlabel, ylabel, baseline=None, ticks=None):
    """Lines with different marks, from 0 up; series: {name: values}, at x = 1, 2, …; baseline: (name, value)."""
    named = {name: (range(1, len(values) + 1), values) for name, values in series.items()}
    figure = figures.curves(named, xlabel, ylabel, [baseline] if baseline else [])
    figure.axes[0].set(ylim=(0, None), **({"xticks": ticks} if ticks else {}))
    return figure
