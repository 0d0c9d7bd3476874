"""Figures of notebook 07, beside those of `cvdl.flow.draw`.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import FancyBboxPatch

from cvdl.flow.draw import arrows, flow_to_image, wheel

# Okabe & Ito's palette (2008), told apart by most colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
DPI = 88  # of figures with photographs, which make a notebook large
MARKERS, STYLES = "osD^v*", ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))


def ladder():
    """Three levels of SPyNet: what goes into each, and how the flow climbs."""
    figure, axes = plt.subplots(figsize=(9, 3.9))
    for k in range(3):
        x, size = 3.9 * k, 0.3 + 0.12 * k
        left, right = x - 0.1 - size, x + 0.1 + size
        _box(axes, left, 3.4, size, f"$I^1_{k}$", COLOURS[4])
        _box(axes, right, 3.4, size, f"$I^2_{k}$", COLOURS[4])
        _box(axes, right, 2.2, 0.28, "$w$", "white")
        _box(axes, x, 1.1, 0.42, f"$G_{k}$", COLOURS[1])
        _box(axes, x, 0, 0.2, "+", "white")
        _arrow(axes, (left, 3.38 - size), (x - 0.2, 1.56))
        _arrow(axes, (right, 3.38 - size), (right, 2.54))
        _arrow(axes, (right - 0.1, 1.88), (x + 0.2, 1.56))
        _arrow(axes, (x, 0.66), (x, 0.24), f"$v_{k}$", (0.24, 0))
        _arrow(axes, (x + 0.24, 0), (x + 1.5, 0), f"$V_{k}$", (0, -0.28))
        axes.text(x, 4.2, f"level {k}", ha="center", fontsize=10)
        if k:
            up = x - 2.05
            _box(axes, up, 0, 0.28, "$u$", "white")
            _arrow(axes, (up + 0.32, 0), (x - 0.24, 0))
            _arrow(axes, (up + 0.3, 0.2), (x - 0.46, 1.0))
            _arrow(axes, (up, 0.32), (right - 0.33, 2.2), bend="angle,angleA=90,angleB=0")
    axes.text(-1.9, 0, "$V_{-1} = 0$", ha="center", va="center", fontsize=10)
    _arrow(axes, (-1.4, 0), (-0.24, 0))
    axes.set(xlim=(-2.5, 9.6), ylim=(-0.6, 4.5), aspect="equal")
    axes.axis("off")
    return figure


def _box(axes, x, y, half, text, colour):
    box = FancyBboxPatch((x - half, y - half), 2 * half, 2 * half, boxstyle="round,pad=0.02", facecolor=colour)
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=10)


def _arrow(axes, start, end, label="", offset=(0, 0), bend="arc3"):
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "lw": 1.1, "connectionstyle": bend})
    if label:
        axes.text(
            (start[0] + end[0]) / 2 + offset[0], (start[1] + end[1]) / 2 + offset[1], label, ha="center", va="center"
        )


def row(pictures, width=2.1, same_size=True):
    """Pictures (3, H, W) in a row, {title: picture}; unless same_size, each as large as its number of pixels says."""
    widths = [1 if same_size else p.shape[-1] ** 0.75 for p in pictures.values()]
    H, W = next(iter(pictures.values())).shape[-2:]
    total = width * len(pictures)
    height = total * max(widths) / sum(widths) * H / W + 0.35
    figure, grid = plt.subplots(1, len(pictures), squeeze=False, figsize=(total, height), dpi=DPI, width_ratios=widths)
    for axes, (title, picture) in zip(grid[0], pictures.items(), strict=True):
        axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=8)
    return figure


def flows(pictures, max_flow=None, columns=4, width=2.3):
    """Flows (2, H, W) and images (3, H, W) in rows, {title: picture}; flows share colours, arrows and one wheel."""
    longest = max((p.norm(dim=0).max().item() for p in pictures.values() if len(p) == 2), default=0)
    longest = max_flow or longest or 1.0
    count = len(pictures) + 1
    columns = min(columns, count)
    rows = -(-count // columns)
    H, W = next(iter(pictures.values())).shape[-2:]
    size = (width * columns, (width * H / W + 0.3) * rows)
    figure, grid = plt.subplots(rows, columns, squeeze=False, figsize=size, dpi=DPI)
    for axes in grid.flat[count - 1 :]:
        axes.axis("off")
    for axes, (title, picture) in zip(grid.flat, pictures.items(), strict=False):
        image = flow_to_image(picture, longest) if len(picture) == 2 else picture
        axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
        if len(picture) == 2:
            known = torch.ones(picture.shape[1:], dtype=torch.bool)
            arrows(axes, picture, known, step=max(1, round(picture.shape[-1] / 12)), max_flow=longest)
        axes.set_title(title, fontsize=8)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, linewidth=0.5)
    wheel(grid.flat[len(pictures)], longest)
    return figure


def levels_and_reach(quantiles, reach, names):
    """Displacements per level against what a level can see.

    quantiles: {label: list of pixels, one per level}; reach: pixels; names: of the levels.
    """
    figure, axes = plt.subplots(figsize=(6.4, 3))
    for n, (label, values) in enumerate(quantiles.items()):
        places = [k + (n - (len(quantiles) - 1) / 2) * 0.25 for k in range(len(values))]
        bars = axes.bar(
            places, values, 0.23, color=COLOURS[n], edgecolor="black", hatch=("", "//", "..")[n], label=label
        )
        axes.bar_label(bars, [f"{v:.1f}" if v < 9.95 else f"{v:.0f}" for v in values], fontsize=7)
    axes.axhline(reach, color="black", ls="--", lw=1)
    axes.text(-0.5, reach * 1.05, f"reach: {reach} px", ha="left", va="bottom", fontsize=8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylabel("pixels of the level")
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.legend(fontsize=8, loc="upper left")
    return figure


def curves(lines, xlabel, ylabel, level=None, marks=True):
    """{name: (xs, ys)} as lines that differ in colour, style and marker; level: (name, y) of a horizontal line."""
    figure, axes = plt.subplots(figsize=(6.2, 2.9))
    for n, (name, (xs, ys)) in enumerate(lines.items()):
        look = {"color": COLOURS[n % 6], "ls": STYLES[n % 6], "marker": MARKERS[n % 6] if marks else None, "ms": 4}
        axes.plot(xs, ys, label=name, **look)
    if level:
        axes.axhline(level[1], color="black", lw=0.8, ls=":")
        axes.text(axes.get_xlim()[1], level[1], level[0], ha="right", va="bottom", fontsize=8)
        axes.margins(y=0.12)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def grid(values, rows, columns, xlabel, ylabel, title):
    """A table of shares in [0, 1] as cividis with the numbers written in: values[i][j] belongs to rows[i], columns[j]."""
    figure, axes = plt.subplots(figsize=(0.75 * len(columns) + 1.6, 0.42 * len(rows) + 1))
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i in range(len(rows)):
        for j in range(len(columns)):
            value = float(values[i][j])
            axes.text(
                j, i, f"{value:.0%}", ha="center", va="center", fontsize=8, color="white" if value < 0.45 else "black"
            )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, fontsize=9)
    axes.spines[:].set_visible(False)
    return figure


def bands(errors, bands):
    """End-point error by speed: errors {method: list, one for each of `bands`}."""
    figure, axes = plt.subplots(figsize=(6.2, 2.9))
    width = 0.8 / len(errors)
    for n, (name, values) in enumerate(errors.items()):
        places = [b + (n - (len(errors) - 1) / 2) * width for b in range(len(bands))]
        hatch = ("", "//", "..", "xx", "\\\\")[n % 5]
        bars = axes.bar(places, values, 0.92 * width, color=COLOURS[n], edgecolor="black", hatch=hatch, label=name)
        axes.bar_label(bars, [f"{v:.1f}" for v in values], fontsize=7)
    axes.set_xticks(range(len(bands)), bands)
    axes.set(xlabel="true speed in px", ylabel="end-point error in px", yscale="log")
    axes.legend(fontsize=8)
    return figure
