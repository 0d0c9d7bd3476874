"""Figures of notebook 07, beside those of `cvdl.flow.plotting.draw`.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt

from cvdl.figures import COLOURS, arrow, box, ink, styled


def _square(axes, x, y, half, text, colour):
    box(axes, x, y, text, colour, 2 * half, 2 * half, boxstyle="round,pad=0.02", linewidth=1)


def _arrow(axes, start, end, label="", offset=(0, 0), bend="arc3"):
    arrow(axes, start, end, label, offset, size=10, lw=1.1, connectionstyle=bend)


@styled
def ladder():
    """Three levels of SPyNet: what goes into each, and how the flow climbs."""
    figure, axes = plt.subplots(figsize=(9, 3.9))
    for k in range(3):
        x, size = 3.9 * k, 0.3 + 0.12 * k
        left, right = x - 0.1 - size, x + 0.1 + size
        _square(axes, left, 3.4, size, f"$I^1_{k}$", COLOURS[4])
        _square(axes, right, 3.4, size, f"$I^2_{k}$", COLOURS[4])
        _square(axes, right, 2.2, 0.28, "$w$", "white")
        _square(axes, x, 1.1, 0.42, f"$G_{k}$", COLOURS[1])
        _square(axes, x, 0, 0.2, "+", "white")
        _arrow(axes, (left, 3.38 - size), (x - 0.2, 1.56))
        _arrow(axes, (right, 3.38 - size), (right, 2.54))
        _arrow(axes, (right - 0.1, 1.88), (x + 0.2, 1.56))
        _arrow(axes, (x, 0.66), (x, 0.24), f"$v_{k}$", (0.24, 0))
        _arrow(axes, (x + 0.24, 0), (x + 1.5, 0), f"$V_{k}$", (0, -0.28))
        axes.text(x, 4.2, f"level {k}", ha="center", fontsize=10)
        if k:
            up = x - 2.05
            _square(axes, up, 0, 0.28, "$u$", "white")
            _arrow(axes, (up + 0.32, 0), (x - 0.24, 0))
            _arrow(axes, (up + 0.3, 0.2), (x - 0.46, 1.0))
            _arrow(axes, (up, 0.32), (right - 0.33, 2.2), bend="angle,angleA=90,angleB=0")
    axes.text(-1.9, 0, "$V_{-1} = 0$", ha="center", va="center", fontsize=10)
    _arrow(axes, (-1.4, 0), (-0.24, 0))
    axes.set(xlim=(-2.5, 9.6), ylim=(-0.6, 4.5), aspect="equal")
    axes.axis("off")
    return figure


@styled
def grid(values, rows, columns, xlabel, ylabel, title):
    """A table of shares in [0, 1] as cividis with the numbers written in: values[i][j] belongs to rows[i], columns[j]."""
    figure, axes = plt.subplots(figsize=(0.75 * len(columns) + 1.6, 0.42 * len(rows) + 1))
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i in range(len(rows)):
        for j in range(len(columns)):
            value = float(values[i][j])
            axes.text(j, i, f"{value:.0%}", ha="center", va="center", fontsize=8, color=ink(image, value))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=9)
    axes.spines[:].set_visible(False)
    return figure
