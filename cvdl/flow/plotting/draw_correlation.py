"""Figures of notebook 05, beside those of `cvdl.flow.plotting.draw`.  Each is a pure function from values to a matplotlib figure."""

from functools import partial

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle

from cvdl.figures import COLOURS, arrow, box, styled
from cvdl.flow.plotting import draw
from cvdl.flow.plotting.draw import DPI, HALO, image_in

_box = partial(box, width=1.52, height=0.52, size=8, boxstyle="round,pad=0.03", linewidth=1, alpha=0.75)
_arrow = partial(arrow, lw=1.1)

# Name, centre and radius of a disc on 96 × 144, and its motion: constant (x, y), turn and growth about the centre.
DISCS = (
    ("A", (28, 26), 19, (0.0, -6.0), 0.0, 0.0),
    ("B", (74, 22), 14, (11.0, 0.0), 0.0, 0.0),
    ("C", (118, 28), 20, (0.0, 0.0), 0.0, 0.0),
    ("D", (36, 70), 20, (0.0, 0.0), 0.3, 0.0),
    ("E", (94, 70), 23, (0.0, 0.0), 0.0, 0.26),
)
DISCS_TOLD = (
    "Flow of five discs on a background that moves 4 px to the left. A: arrows of 6 px straight up. B, the smallest: arrows of 11 px "
    "to the right. C: no arrows. D: arrows along the rim, clockwise, none in the middle. E, the largest: arrows from the "
    "middle outwards, up to 6 px at the rim."
)


@styled
def discs():
    """The flow picture of exercise 1, with letters on five discs; DISCS_TOLD says it in words."""
    x, y = torch.arange(144.0).expand(96, -1), torch.arange(96.0)[:, None].expand(-1, 144)
    flow = torch.stack([torch.full_like(x, -4), torch.zeros_like(x)])
    for _, (cx, cy), radius, motion, turn, growth in DISCS:
        across, down = x - cx, y - cy
        own = torch.stack([motion[0] + growth * across - turn * down, motion[1] + growth * down + turn * across])
        flow = torch.where(torch.hypot(across, down) <= radius, own, flow)
    figure = draw.flow(flow, title="where does each pixel go?", step=6)
    for name, (cx, cy), radius, *_ in DISCS:
        place = {"xy": (cx - 0.8 * radius, cy - 0.8 * radius), "ha": "right", "va": "bottom"}
        figure.axes[0].annotate(name, weight="bold", fontsize=13, path_effects=HALO, **place)
    return figure


@styled
def networks():
    """FlowNetS above, FlowNetC below: where the two images meet."""
    figure, axes = plt.subplots(figsize=(9.2, 3.9))
    for y, image in ((3.3, "1"), (2.6, "2")):
        _box(axes, 0, y, f"frame {image}", COLOURS[4], width=1.0)
        _arrow(axes, (0.55, y), (1.42, 2.95))
    row = ("stack\n6 channels", "conv1 … conv3\n1/8", "conv3_1 … conv6\n1/64", "refinement\n1/4")
    _chain(axes, 2.95, (2.0, 3.9, 6.0, 8.2), row, (1, 1, 1, 2))
    for y, image in ((0.95, "1"), (-0.35, "2")):
        _box(axes, 0, y, f"frame {image}", COLOURS[4], width=1.0)
        _box(axes, 2.0, y, "conv1 … conv3\n1/8", COLOURS[1])
        _arrow(axes, (0.55, y), (1.2, y))
        _arrow(axes, (2.8, y), (3.3, 0.42 if image == "1" else 0.18))
    axes.text(2.0, 0.3, "the same weights", ha="center", va="center", fontsize=8, style="italic")
    _chain(
        axes, 0.3, (4.1, 6.0, 8.2), ("correlation\nno weights", "conv3_1 … conv6\n1/64", "refinement\n1/4"), (5, 1, 2)
    )
    axes.text(-0.55, 3.9, "FlowNetS", fontsize=11, weight="bold")
    axes.text(-0.55, 1.5, "FlowNetC", fontsize=11, weight="bold")
    axes.set(xlim=(-0.7, 9.9), ylim=(-0.8, 4.2))
    axes.axis("off")
    return figure


def _chain(axes, y, places, texts, colours):
    for n, (x, text, colour) in enumerate(zip(places, texts, colours, strict=True)):
        _box(axes, x, y, text, COLOURS[colour])
        if n:
            _arrow(axes, (places[n - 1] + 0.8, y), (x - 0.8, y))
    _arrow(axes, (places[-1] + 0.8, y), (places[-1] + 1.2, y))
    axes.text(places[-1] + 1.25, y, "flow", va="center", fontsize=9)


@styled
def search(image1, image2, here, there, scores, shrink=8, reach=None):
    """A point of frame 1, its true partner in frame 2, and score maps over frame 2.

    images: (3, H, W); here, there: (x, y) in points of the map, there may be None; scores: {title: (h, w)}, one point for
    shrink × shrink pixels; reach: in points of the map, drawn as a frame, or None.  In each map a circle is around the
    highest score within reach, and a cross at the true partner.
    """
    figure, grid = plt.subplots(1, 2 + len(scores), figsize=(2.6 * (2 + len(scores)), 2.5), dpi=DPI)
    pixel = [(c + 0.5) * shrink - 0.5 for c in here]
    image_in(grid[0], image1, "frame 1", 8)
    grid[0].plot(*pixel, "s", mfc="none", mec="#D55E00", ms=9, mew=2, path_effects=HALO)
    image_in(grid[1], image2, "frame 2: where it went", 8)
    if there is not None:
        grid[1].plot(*[(c + 0.5) * shrink - 0.5 for c in there], "x", color="#D55E00", ms=9, mew=2.4, path_effects=HALO)
    for axes, (title, values) in zip(grid[2:], scores.items(), strict=True):
        axes.imshow(values.numpy(), cmap="cividis")
        x, y = highest(values, here, reach)
        axes.plot(x, y, "o", mfc="none", mec="black", ms=10, mew=1.6, path_effects=HALO)
        if there is not None:
            axes.plot(*there, "x", color="#D55E00", ms=9, mew=2.4, path_effects=HALO)
        if reach is not None:
            edge = {"fill": False, "ec": "white", "ls": "--"}
            axes.add_patch(Rectangle([c - reach - 0.5 for c in here], 2 * reach + 1, 2 * reach + 1, **edge))
        axes.set(xticks=[], yticks=[], xlim=(-0.5, values.shape[1] - 0.5), ylim=(values.shape[0] - 0.5, -0.5))
        axes.set_title(title, fontsize=8)
    return figure


def highest(scores, here, reach=None):
    """(x, y) of the highest of scores (h, w), within `reach` points of here = (x, y), or anywhere."""
    h, w = scores.shape
    x, y = torch.arange(w), torch.arange(h)[:, None]
    if reach is not None:
        near = ((x - here[0]).abs() <= reach) & ((y - here[1]).abs() <= reach)
        scores = scores.masked_fill(~near, -torch.inf)
    best = int(scores.argmax())
    return best % w, best // w


@styled
def versus(image, errors, margin=1.0):
    """Frame 1, the end-point errors (H, W) of two methods {name: errors}, and where each is better by `margin` pixels.

    Errors are in cividis up to the 95 % mark of both.  In the last picture the first method's pixels are orange and hatched
    by strokes, the second's blue and hatched by dots.
    """
    (first, a), (second, b) = errors.items()
    top = max(float(torch.cat([a.flatten(), b.flatten()]).quantile(0.95)), 0.1)
    figure, grid = plt.subplots(1, 4, figsize=(11.6, 2.5), dpi=DPI)
    image_in(grid[0], image, "frame 1", 8)
    for axes, (name, each) in zip(grid[1:3], errors.items(), strict=True):
        drawn = axes.imshow(each.numpy(), cmap="cividis", vmin=0, vmax=top)
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{name}: EPE {each.mean():.1f} px", fontsize=8)
    figure.colorbar(drawn, ax=list(grid[1:3]), shrink=0.8, extend="max").set_label("error in px", fontsize=7)
    image_in(grid[3], image.mean(0).expand(3, -1, -1) * 0.5 + 0.5, "", 8)
    shares = []
    for better, colour, hatch in ((b - a > margin, COLOURS[1], "////"), (a - b > margin, COLOURS[0], "....")):
        shares.append(better.float().mean().item())
        if better.any():
            grid[3].contourf(better.numpy(), levels=[0.5, 1.5], colors=[colour], alpha=0.45)
            grid[3].contourf(better.numpy(), levels=[0.5, 1.5], colors="none", hatches=[hatch])
    grid[3].set_title(f"//// {first} better: {shares[0]:.0%}\n.... {second} better: {shares[1]:.0%}", fontsize=8)
    return figure
