"""Figures of notebook 08, beside those of `cvdl.flow.draw`.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import FuncFormatter

from cvdl.flow.draw import HALO, arrows, flow_to_image, wheel
from cvdl.flow.likelihood import candidates

# Okabe & Ito's palette (2008), told apart by most colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
DPI = 88  # of figures with photographs, which make a notebook large
MARKERS, STYLES, HATCHES = "osD^v*", ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))), ("", "//", "..", "xx", "\\\\")


def squares(reaches, steps):
    """The candidates of each scale as dots, in full-size pixels: on the left all, on the right the middle, enlarged."""
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.9), width_ratios=[1, 1])
    for axes, limit in zip(panels, (90, 19), strict=True):
        for n, (reach, step) in enumerate(zip(reaches, steps, strict=True)):
            dx, dy = (candidates(reach) * step).T
            seen = (dx.abs() < limit) & (dy.abs() < limit)
            look = {"marker": MARKERS[n], "s": (34, 22, 20, 14, 6)[n], "linewidths": 0.7}
            axes.scatter(
                dx[seen], dy[seen], facecolor="none", edgecolor=COLOURS[n], label=f"1/{step}: {len(dx)}", **look
            )
        axes.set(xlim=(-limit, limit), ylim=(limit, -limit), aspect="equal", xlabel="dx in full-size pixels")
    panels[0].set_ylabel("dy in full-size pixels")
    panels[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, title="scale: branches")
    return figure


def scene(image, places, title=""):
    """An image (3, H, W) with named places {name: (x, y)}."""
    figure, axes = plt.subplots(figsize=(4.6, 4.6 * image.shape[-2] / image.shape[-1] + 0.3), dpi=DPI)
    _picture(axes, image, title)
    for name, (x, y) in places.items():
        axes.plot(x, y, "o", mfc="none", mec="black", ms=11, mew=1.4, path_effects=HALO)
        axes.text(x + 3, y - 3, name, fontsize=9, path_effects=HALO)
    return figure


def row(pictures, width=2.1):
    """Pictures (3, H, W) of one size in a row, {title: picture}."""
    H, W = next(iter(pictures.values())).shape[-2:]
    size = (width * len(pictures), width * H / W + 0.3)
    figure, grid = plt.subplots(1, len(pictures), squeeze=False, figsize=size, dpi=DPI)
    for axes, (title, picture) in zip(grid[0], pictures.items(), strict=True):
        _picture(axes, picture, title)
    return figure


def maps(likelihoods, motion=None, width=2.3):
    """Likelihoods of all candidates of a pixel, {title: (n², )}; motion: (dx, dy), marked by a cross, or None."""
    figure, grid = plt.subplots(1, len(likelihoods), squeeze=False, figsize=(width * len(likelihoods), width + 0.4))
    for axes, (title, values) in zip(grid[0], likelihoods.items(), strict=True):
        _map(axes, values, motion, title)
    grid[0, 0].set_ylabel("dy", fontsize=8)
    return figure


def place(image, x, y, likelihoods, motion, size=24):
    """The surroundings of a pixel of image (3, H, W), and likelihoods of its candidates as in `maps`."""
    figure, grid = plt.subplots(1, 1 + len(likelihoods), figsize=(2.5 * (1 + len(likelihoods)), 2.9), dpi=DPI)
    H, W = image.shape[-2:]
    left, top = (min(max(0, c - size // 2), end - size) for c, end in ((x, W), (y, H)))
    _picture(grid[0], image[:, top : top + size, left : left + size], "frame 1 around the pixel")
    grid[0].plot(x - left, y - top, "s", mfc="none", mec="#D55E00", ms=8, mew=2, path_effects=HALO)
    for axes, (title, values) in zip(grid[1:], likelihoods.items(), strict=True):
        _map(axes, values, motion, title)
    return figure


def _map(axes, values, motion, title):
    n = round(len(values) ** 0.5)
    reach = n // 2
    edge = reach + 0.5
    axes.imshow(values.view(n, n).numpy(), cmap="cividis", vmin=0, extent=(-edge, edge, edge, -edge))
    if motion is not None:
        axes.plot(
            *(max(-edge, min(edge, float(m))) for m in motion), "x", color="#D55E00", ms=9, mew=2.4, path_effects=HALO
        )
    axes.set_title(title, fontsize=8)
    axes.set_xlabel("dx", fontsize=8)
    axes.tick_params(labelsize=7)


def lines(curves, truth, xlabel, ylabel):
    """Curves {title: (xs, ys)}, each in its own panel, with a line where the true motion is."""
    figure, grid = plt.subplots(1, len(curves), squeeze=False, figsize=(2.9 * len(curves), 2.5))
    for n, (axes, (title, (xs, ys))) in enumerate(zip(grid[0], curves.items(), strict=True)):
        axes.plot(xs, ys, color=COLOURS[n], marker=MARKERS[n], ms=3, lw=1)
        axes.axvline(truth, color="black", ls=":", lw=1)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel(xlabel, fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0, 0].set_ylabel(ylabel, fontsize=8)
    return figure


def curves(named, xlabel, ylabel, levels=(), log=False):
    """{name: (xs, ys)} as lines that differ in colour, style and marker; levels: (name, y) of horizontal lines."""
    figure, axes = plt.subplots(figsize=(6.2, 2.9))
    for n, (name, (xs, ys)) in enumerate(named.items()):
        marker = MARKERS[n % 6] if len(xs) < 30 else None
        axes.plot(xs, ys, label=name, color=COLOURS[n % 6], ls=STYLES[n % 6], marker=marker, ms=4)
    axes.margins(y=0.12)
    for name, y in levels:
        axes.axhline(y, color="black", lw=0.8, ls=":")
        axes.text(axes.get_xlim()[1], y, name, ha="right", va="bottom", fontsize=8)
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
        _picture(axes, flow_to_image(picture, longest) if flow else picture, title)
        if flow:
            known = torch.ones(picture.shape[1:], dtype=torch.bool)
            arrows(axes, picture, known, step=max(1, round(picture.shape[-1] / 12)), max_flow=longest)
    wheel(grid.flat[len(pictures)], longest)
    return figure


def _picture(axes, image, title):
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, linewidth=0.5)
