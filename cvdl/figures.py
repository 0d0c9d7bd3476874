"""Figures that several notebooks on flow draw: pictures in rows, flows side by side, curves, bars.

Each is a pure function from values to a matplotlib figure.  What belongs to one flow is in `cvdl.flow.draw`.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import FuncFormatter

from cvdl.flow.draw import arrows, flow_to_image, wheel

# Okabe & Ito's palette (2008), told apart by most colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
DPI = 88  # of figures with photographs, which make a notebook large
MARKERS, STYLES, HATCHES = "osD^v*", ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))), ("", "//", "..", "xx", "\\\\")


def row(pictures, width=2.1, same_size=True):
    """Pictures (3, H, W) in a row, {title: picture}; unless same_size, each as large as its number of pixels says."""
    widths = [1 if same_size else p.shape[-1] ** 0.75 for p in pictures.values()]
    H, W = next(iter(pictures.values())).shape[-2:]
    total = width * len(pictures)
    height = total * max(widths) / sum(widths) * H / W + 0.35
    figure, grid = plt.subplots(1, len(pictures), squeeze=False, figsize=(total, height), dpi=DPI, width_ratios=widths)
    for axes, (title, picture) in zip(grid[0], pictures.items(), strict=True):
        picture_of(axes, picture, title)
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
        flow = len(picture) == 2
        picture_of(axes, flow_to_image(picture, longest) if flow else picture, title)
        if flow:
            known = torch.ones(picture.shape[1:], dtype=torch.bool)
            arrows(axes, picture, known, step=max(1, round(picture.shape[-1] / 12)), max_flow=longest)
    wheel(grid.flat[len(pictures)], longest)
    return figure


def curves(named, xlabel, ylabel, levels=(), log=False):
    """{name: (xs, ys)} as lines that differ in colour, style and marker; levels: (name, y) of horizontal lines."""
    figure, axes = plt.subplots(figsize=(6.2, 2.9))
    for n, (name, (xs, ys)) in enumerate(named.items()):
        marker = MARKERS[n % 6] if len(xs) < 30 else None
        axes.plot(xs, ys, label=name, color=COLOURS[n % 6], ls=STYLES[n % 6], marker=marker, ms=4)
    axes.margins(y=0.12)
    for n, (name, y) in enumerate(levels):
        axes.axhline(y, color=("black", "grey")[n % 2], lw=1, ls=(":", "--")[n % 2], label=name)
    _scaled(axes, log)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def bars(groups, names, ylabel, levels=(), log=False):
    """Bars {series: list, one value for each of `names`}, with their numbers; levels: (name, y) of horizontal lines."""
    figure, axes = plt.subplots(figsize=(9.2, 3.3))
    width = 0.86 / len(groups)
    for n, (label, values) in enumerate(groups.items()):
        places = [k + (n - (len(groups) - 1) / 2) * width for k in range(len(values))]
        look = {"color": COLOURS[n % 6], "edgecolor": "black", "hatch": HATCHES[n % 5]}
        drawn = axes.bar(places, values, 0.92 * width, label=label, **look)
        axes.bar_label(drawn, [f"{v:.1f}" if v < 9.95 else f"{v:.0f}" for v in values], fontsize=7)
    for name, y in levels:
        axes.axhline(y, color="black", lw=1, ls="--", label=f"{name}: {y:.1f}")
    _scaled(axes, log)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylabel(ylabel)
    axes.margins(y=0.12)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _scaled(axes, log):
    if log:  # with plain numbers, not powers of ten
        axes.set_yscale("log")
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(axis="y", which="both", labelsize=7)


def picture_of(axes, image, title):
    """An image (3, H, W) in a frame."""
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, linewidth=0.5)
