"""Figures of notebook 08, beside those of `cvdl.flow.plotting.draw`.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt

from cvdl.figures import COLOURS, MARKERS, styled
from cvdl.flow.likelihood import candidates
from cvdl.flow.plotting.draw import DPI, HALO, image_in


@styled
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


@styled
def scene(image, places, title=""):
    """An image (3, H, W) with named places {name: (x, y)}."""
    figure, axes = plt.subplots(figsize=(4.6, 4.6 * image.shape[-2] / image.shape[-1] + 0.3), dpi=DPI)
    image_in(axes, image, title, 8)
    for name, (x, y) in places.items():
        axes.plot(x, y, "o", mfc="none", mec="black", ms=11, mew=1.4, path_effects=HALO)
        axes.text(x + 3, y - 3, name, fontsize=9, path_effects=HALO)
    return figure


@styled
def maps(likelihoods, motion=None, width=2.3):
    """Likelihoods of all candidates of a pixel, {title: (n², )}; motion: (dx, dy), marked by a cross, or None."""
    figure, grid = plt.subplots(1, len(likelihoods), squeeze=False, figsize=(width * len(likelihoods), width + 0.4))
    for axes, (title, values) in zip(grid[0], likelihoods.items(), strict=True):
        _map(axes, values, motion, title)
    grid[0, 0].set_ylabel("dy", fontsize=8)
    return figure


@styled
def place(image, x, y, likelihoods, motion, size=24):
    """The surroundings of a pixel of image (3, H, W), and likelihoods of its candidates as in `maps`."""
    figure, grid = plt.subplots(1, 1 + len(likelihoods), figsize=(2.5 * (1 + len(likelihoods)), 2.9), dpi=DPI)
    H, W = image.shape[-2:]
    left, top = (min(max(0, c - size // 2), end - size) for c, end in ((x, W), (y, H)))
    image_in(grid[0], image[:, top : top + size, left : left + size], "frame 1 around the pixel", 8)
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


@styled
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
