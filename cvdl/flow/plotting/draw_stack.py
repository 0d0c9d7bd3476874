"""Figures of notebook 06, beside those of `cvdl.flow.plotting.draw`.  Each is a pure function from values to a matplotlib figure."""

from functools import partial

import matplotlib.pyplot as plt

from cvdl.figures import COLOURS, MARKERS, STYLES, arrow, box, styled
from cvdl.flow.plotting.draw import DPI, image_in

_box = partial(box, width=1.52, height=0.68, size=8, boxstyle="round,pad=0.02", linewidth=1, alpha=0.75)
_arrow = partial(arrow, lw=1.1)


@styled
def schedules(rates, marks=()):
    """Learning rates {name: (steps, rates)} as staircases on a logarithmic scale; marks: steps with a vertical line."""
    figure, axes = plt.subplots(figsize=(6.2, 2.7))
    for n, (name, (steps, each)) in enumerate(rates.items()):
        axes.step(steps, each, where="post", color=COLOURS[n % 6], ls=STYLES[n % 6], lw=2, label=name)
    for mark in marks:
        axes.axvline(mark, color="grey", lw=1, ls=":")
    axes.set_yscale("log")
    axes.set(xlabel="step", ylabel="learning rate")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


@styled
def two():
    """A second network on a first: what goes into it."""
    figure, axes = plt.subplots(figsize=(9.6, 3.1))
    _images(axes, 0, 1.5)
    _box(axes, 1.9, 1.5, "first network\nfrozen", COLOURS[1])
    _box(axes, 4.0, 1.5, "warp", "white", width=0.9)
    names = ("frame 1", "frame 2", "frame 2, warped", "flow / 20", "brightness error")
    for n, (name, channels) in enumerate(zip(names, (3, 3, 3, 2, 1), strict=True)):
        y = 2.9 - 0.7 * n
        _box(axes, 6.1, y, f"{name} · {channels}", "white", width=1.9, height=0.48)
        _arrow(axes, (7.1, y), (7.75, 1.5 + 0.12 * (2 - n)))
    for start, end in (
        ((0.6, 1.5), (1.12, 1.5)),
        ((0.6, 2.0), (5.1, 2.9)),
        ((0.6, 1.9), (5.1, 2.2)),
        ((0.4, 0.9), (3.8, 1.12)),  # frame 2, to be warped
        ((2.68, 1.5), (3.5, 1.5)),
        ((2.68, 1.25), (5.1, 0.8)),
        ((4.5, 1.5), (5.1, 1.5)),
        ((4.35, 1.12), (5.1, 0.15)),
    ):
        _arrow(axes, start, end)
    axes.text(3.08, 1.62, "flow", ha="center", fontsize=8)
    _box(axes, 8.55, 1.5, "second network\nlearns", COLOURS[2])
    _arrow(axes, (9.33, 1.5), (9.75, 1.5))
    axes.text(9.8, 1.5, "flow", va="center", fontsize=9)
    axes.set(xlim=(-0.7, 10.4), ylim=(-0.2, 3.3))
    axes.axis("off")
    return figure


@styled
def final():
    """FlowNet 2.0: the stack C S S above, the network for small motions below, the fusion behind both."""
    figure, axes = plt.subplots(figsize=(9.6, 2.6))
    _images(axes, 0, 1.2)
    row = (("FlowNetC", 1.9), ("FlowNetS", 4.1), ("FlowNetS", 6.3))
    for n, (name, x) in enumerate(row):
        _box(axes, x, 2, name, COLOURS[1])
        if n:
            _arrow(axes, (x - 1.42, 2), (x - 0.8, 2))
            axes.text(x - 1.11, 2.08, "warp", ha="center", va="bottom", fontsize=8)
    _box(axes, 4.1, 0.4, "FlowNet2-SD\nsmall motions", COLOURS[4])
    _box(axes, 8.6, 1.2, "fusion\n11 channels", COLOURS[2])
    for start, end in (
        ((0.6, 1.35), (1.12, 1.95)),
        ((0.6, 1.05), (3.3, 0.4)),
        ((7.1, 1.95), (7.82, 1.4)),
        ((4.9, 0.4), (7.82, 1.0)),
        ((9.38, 1.2), (9.75, 1.2)),
    ):
        _arrow(axes, start, end)
    axes.text(9.8, 1.2, "flow", va="center", fontsize=9)
    axes.set(xlim=(-0.7, 10.4), ylim=(-0.1, 2.6))
    axes.axis("off")
    return figure


def _images(axes, x, y):
    for shift, text in ((0.32, "frame 1"), (-0.32, "frame 2")):
        _box(axes, x, y + shift, text, COLOURS[4], width=1.1, height=0.48)


@styled
def warped(image1, back, error, title="", top=1.0):
    """Frame 1, frame 2 brought back, and the brightness error (H, W) in cividis up to `top`; images: (3, H, W)."""
    figure, grid = plt.subplots(1, 3, figsize=(9.6, 2.5), dpi=DPI)
    image_in(grid[0], image1, "frame 1", 8)
    image_in(grid[1], back, f"frame 2, brought back{title}", 8)
    drawn = grid[2].imshow(error.numpy(), cmap="cividis", vmin=0, vmax=top)
    grid[2].set(xticks=[], yticks=[])
    grid[2].set_title(f"brightness error: mean {error.mean():.3f}", fontsize=8)
    figure.colorbar(drawn, ax=grid[2], shrink=0.8)
    return figure


@styled
def seeds(runs, ylabel, levels=()):
    """Every run as a point, their mean as a bar: {name: [values]}; levels: (name, y) of horizontal lines."""
    figure, axes = plt.subplots(figsize=(1.2 * len(runs) + 2.4, 2.7))
    for n, values in enumerate(runs.values()):
        colour = COLOURS[n % 6]
        axes.plot([n] * len(values), values, MARKERS[n % 6], color=colour, mec="black", ms=6, alpha=0.8)
        axes.plot([n - 0.25, n + 0.25], 2 * [sum(values) / len(values)], color="black", lw=2)
    for n, (name, y) in enumerate(levels):
        axes.axhline(y, color="grey", lw=1, ls=("--", ":")[n % 2])
        axes.text(len(runs) - 0.45, y, name, fontsize=8, va="center")
    axes.set_xticks(range(len(runs)), runs, fontsize=8)
    axes.set(ylabel=ylabel, xlim=(-0.5, len(runs) - 0.5))
    axes.margins(y=0.15)
    return figure


@styled
def front(methods, best, xlabel, ylabel):
    """Methods {name: (x, y)} as named points, x on a logarithmic scale; a line joins those in `best`, which are filled."""
    figure, axes = plt.subplots(figsize=(6.6, 3.4))
    joined = [methods[name] for name in best]
    if joined:
        axes.step(*zip(*joined, strict=True), where="post", color=COLOURS[2], lw=1.5, ls="--", label="not beaten")
    for n, (name, (x, y)) in enumerate(methods.items()):
        fill = COLOURS[n % 6] if name in best else "white"
        axes.plot(x, y, MARKERS[n % 6], mfc=fill, mec=COLOURS[n % 6], ms=8, mew=1.6)
        axes.annotate(name, (x, y), xytext=(6, 5), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(0.15)
    if joined:
        axes.legend(fontsize=8, frameon=False)
    return figure
