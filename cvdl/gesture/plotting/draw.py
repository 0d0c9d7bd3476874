"""Figures of notebook 04.  Each is a pure function from values to a matplotlib figure."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from cvdl.figures import COLOURS, ink, styled
from cvdl.gesture.clip import CLASSES
from cvdl.gesture.nets import rows_and_columns

TIP = (
    dict(marker="+", color="white", markersize=9, markeredgewidth=3),
    dict(marker="+", color="crimson", markersize=7, markeredgewidth=1.3),
)


@styled
def strip(rows, columns=8):
    """Rows of frames, evenly spread over the time.  rows: {title: frames (T, H, W, 3) uint8, or a GestureClip}"""
    figure, grid = plt.subplots(len(rows), columns, figsize=(0.96 * columns, 0.75 * len(rows)), squeeze=False)
    for axes, (title, clip) in zip(grid, rows.items(), strict=True):
        frames, track = (clip, None) if isinstance(clip, torch.Tensor) else (clip.frames, clip.track)
        for ax, t in zip(axes, np.linspace(0, len(frames) - 1, columns).round().astype(int), strict=True):
            picture(ax, frames[t], None if track is None else track[t])
        axes[0].set_ylabel(title, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def picture(ax, frame, tip=None):
    """A frame (H, W, 3), with a cross at the tip (2,) in pixels unless it is NaN."""
    ax.imshow(frame.numpy())
    if tip is not None and not bool(tip.isnan().any()):
        for look in TIP:
            ax.plot(*tip.tolist(), **look)
    ax.set(xticks=[], yticks=[], xlim=(-0.5, frame.shape[1] - 0.5), ylim=(frame.shape[0] - 0.5, -0.5))
    ax.spines[:].set_visible(False)


@styled
def ways(clips, columns=5):
    """Ways of the finger, one panel for each title: {title: list of GestureClips}.  Dot: beginning; arrow: end."""
    rows = math.ceil(len(clips) / columns)
    figure, grid = plt.subplots(rows, columns, figsize=(1.75 * columns, 1.45 * rows), squeeze=False)
    for ax in grid.flat[len(clips) :]:
        ax.axis("off")
    for ax, (title, each) in zip(grid.flat, clips.items(), strict=False):
        for n, clip in enumerate(each):
            drawn = clip.track[clip.labels == clip.label] if clip.label != len(CLASSES) - 1 else clip.track
            x, y = drawn[~drawn.isnan().any(1)].T.tolist()
            ax.plot(x, y, color=COLOURS[n], lw=1.2)
            if len(x) > 3:
                ax.plot(x[0], y[0], "o", color=COLOURS[n], ms=4)
                look = {"arrowstyle": "-|>", "color": COLOURS[n], "lw": 1.2}
                ax.annotate("", xy=(x[-1], y[-1]), xytext=(x[-3], y[-3]), arrowprops=look)
        ax.set(xticks=[], yticks=[], xlim=(0, 160), ylim=(120, 0), aspect="equal")
        ax.spines[:].set_visible(True)
        ax.set_title(title, fontsize=9)
    return figure


@styled
def found(frames, scores, points):
    """What the CNN makes of frames (N, H, W, 3): above, the frame and the tip that it finds; below, its map.

    scores: (N, 1 + cells); points: (N, 3), as `soft_argmax` gives them.
    """
    N, (height, width) = len(frames), frames.shape[1:3]
    figure, grid = plt.subplots(2, N, figsize=(1.6 * N, 2.7), squeeze=False)
    maps = scores.softmax(1)[:, 1:].view(N, *rows_and_columns((height, width)))
    for above, below, frame, chances, point in zip(*grid, frames, maps, points, strict=True):
        tip = (point[:2] + 1) / 2 * torch.tensor([width, height]) - 0.5
        picture(above, frame, tip if point[2] > 0.5 else None)
        below.imshow(chances.sqrt().numpy(), cmap="magma", vmin=0)
        below.set(xticks=[], yticks=[])
        below.set_title(f"nowhere: {1 - chances.sum():.0%}", fontsize=8)
    return figure


@styled
def scrub(frames, t, rows, fps, tips=None, gates=None, classes=CLASSES):
    """A clip at frame t: the frame; what was thought until then; how open the gates were.

    rows: (T, K) probabilities; tips: (T, 2) pixels, NaN where none is found; gates: {name: (T,) from 0 to 1}.
    """
    figure, axes = plt.subplot_mosaic(
        "AB;AC" if gates else "AB", figsize=(9.4, 3.5 if gates else 3.0), width_ratios=(1, 1.5), height_ratios=(1.7, 1) if gates else None
    )  # fmt: skip
    picture(axes["A"], frames[t], None if tips is None else tips[t])
    axes["A"].set_title(f"{t / fps:.1f} s: {classes[int(rows[t].argmax())]} {rows[t].max():.0%}", fontsize=10)
    seen = rows.clone().T
    seen[:, t + 1 :] = torch.nan
    axes["B"].imshow(seen.numpy(), aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="none")
    axes["B"].set_yticks(range(len(classes)), classes, fontsize=7)
    axes["B"].set_title("probability of each class: dark 0, bright 1", fontsize=9)
    for name, values in (gates or {}).items():
        axes["C"].plot(values[: t + 1], label=name)
    marks = np.linspace(0, len(rows) - 1, 5).round()
    for key in "BC" if gates else "B":
        axes[key].axvline(t, color="crimson", lw=1)
        axes[key].set(xlim=(-0.5, len(rows) - 0.5))
        axes[key].set_xticks(marks, [f"{mark / fps:.1f}" for mark in marks], fontsize=7)
    axes["C" if gates else "B"].set_xlabel("seconds", fontsize=8)
    if gates:
        axes["C"].set(ylim=(0, 1))
        axes["C"].set_ylabel("gates, mean", fontsize=8)
        axes["C"].legend(fontsize=7, loc="lower left", ncols=3, frameon=False)
    return figure


@styled
def confusion(table, classes=CLASSES):
    """Counts (K, K), row = true class."""
    figure, ax = plt.subplots(figsize=(4.6, 4))
    image = ax.imshow(torch.as_tensor(table).float().sqrt().numpy(), cmap="Blues")
    for i, row in enumerate(table):
        for j, count in enumerate(row):
            if count:
                ax.text(j, i, int(count), ha="center", va="center", fontsize=7, color=ink(image, float(count) ** 0.5))
    ax.set_xticks(range(len(classes)), classes, rotation=60, fontsize=7)
    ax.set_yticks(range(len(classes)), classes, fontsize=7)
    ax.set(xlabel="named", ylabel="true")
    ax.spines[:].set_visible(True)
    return figure
