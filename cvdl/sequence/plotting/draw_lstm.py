"""Figures of notebook 03.  Each is a pure function from values to a matplotlib figure."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogFormatterSciNotation

from cvdl import figures
from cvdl.figures import arrow, box, ink, styled
from cvdl.sequence.plotting.draw import INPUT, OUTPUT, QUIET, STATE

# name: (x, y) of the boxes of one cell, and which of them lead to which
_CELL = {
    "C_{t-1}": (0, 3, STATE),
    "* f": (1.2, 3, "white"),
    "+": (3.6, 3, "white"),
    "C_t": (6.6, 3, STATE),
    "f_t": (1.2, 1, OUTPUT),
    "i_t": (2.4, 1, OUTPUT),
    "\\tilde{C}_t": (3.6, 1, QUIET),
    "o_t": (4.6, 1, OUTPUT),
    "* i": (3.6, 2, "white"),
    "\\tanh": (5.4, 2.2, QUIET),
    "* o": (5.4, 1, "white"),
    "h_t": (6.6, 1, STATE),
    "h_{t-1}": (0, 0.3, STATE),
    "x_t": (0, -0.4, INPUT),
}
_PARTS = {  # what each equation adds, in the lecture's order
    "forget gate": ["f_t", "* f"],
    "input gate and candidate": ["i_t", "\\tilde{C}_t", "* i"],
    "update": ["* f", "+", "C_t"],
    "output": ["o_t", "\\tanh", "* o", "h_t"],
}


@styled
def cell(part=None):
    """One step of an LSTM as a graph.  part: None, or a key of `_PARTS`, of which the boxes are framed."""
    bold = _PARTS.get(part, [])

    def half(name):  # of a box's width
        return 0.2 if name[0] in "*+" else 0.33

    figure, axes = plt.subplots(figsize=(8, 4.4))
    for name, (x, y, colour) in _CELL.items():
        text = "×" if name[0] == "*" else f"${name}$"
        box(axes, x, y, text, colour, width=2 * half(name), bold=name in bold)
    up, down = (0, 0.22), (0, -0.22)

    def lead(a, b, start=None, end=None):
        start, end = start or (half(a) + 0.03, 0), end or (-half(b) - 0.03, 0)
        arrow(axes, *(tuple(np.add(_CELL[n][:2], d)) for n, d in ((a, start), (b, end))))

    for a, b in (("C_{t-1}", "* f"), ("* f", "+"), ("+", "C_t"), ("* o", "h_t")):
        lead(a, b)
    lead("f_t", "* f", up, down)
    lead("\\tilde{C}_t", "* i", up, down)
    lead("i_t", "* i", up, (-0.24, -0.1))
    lead("* i", "+", up, down)
    lead("o_t", "* o")
    lead("\\tanh", "* o", down, up)
    arrow(axes, (5.4, 3.0), (5.4, 2.43))
    for name in ("f_t", "i_t", "\\tilde{C}_t", "o_t"):  # all four read both
        x = _CELL[name][0]
        arrow(axes, (x, 0.0), (x, 0.77))
    axes.plot([0.36, 0.75, 0.75, 4.6], [0.3, 0.3, 0.0, 0.0], color="black", lw=1.2)
    axes.plot([0.36, 0.75, 0.75], [-0.4, -0.4, 0.0], color="black", lw=1.2)
    axes.text(4.8, 0.0, "$[h_{t-1}, x_t]$", va="center", fontsize=10)
    axes.text(3.3, 3.4, "cell state: × and +, no matrix", ha="center", fontsize=9)
    key = "green: gates (σ); grey: tanh; orange: states; blue: input"
    axes.text(3.3, -0.95, key, ha="center", fontsize=9)
    axes.set(xlim=(-0.6, 7.2), ylim=(-1.1, 3.7), aspect="equal")
    axes.axis("off")
    axes.set_title(f"one step of the cell: {part}" if part else "one step of the cell", fontsize=10)
    return figure


@styled
def backwards(named):
    """How much of a gradient arrives, in powers of ten.  named: {name: values after 0, 1, 2, … steps back}"""
    figure = figures.curves(
        {name: (range(len(values)), values) for name, values in named.items()},
        "steps back",
        "gradient, relative",
        log=True,
    )
    figure.axes[0].yaxis.set_major_formatter(LogFormatterSciNotation())
    return figure


@styled
def gates(text, seen, unit):
    """One unit while it reads: its gates as shades above the text, its state as a line below.

    text: T characters; seen: {"f", "i", "o", "C": (T, H)} as `lstm.watch` gives for one sample; unit: which of the H.
    """
    rows = np.stack([np.asarray(seen[name])[:, unit] for name in ("f", "i", "o")])
    state, T = np.asarray(seen["C"])[:, unit], len(text)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(12, 3.2), height_ratios=[1, 1.1], sharex=True)
    image = top.imshow(rows, vmin=0, vmax=1, cmap="cividis", aspect="auto", extent=(-0.5, T - 0.5, 2.5, -0.5))
    top.set_yticks(range(3), ["forget $f$", "input $i$", "output $o$"], fontsize=8)
    top.tick_params(axis="x", length=0)
    top.set_title(f"unit {unit}: bright is open, dark is shut", fontsize=10)
    figure.colorbar(image, ax=(top, bottom), label="gate", pad=0.01, fraction=0.02)
    bottom.plot(range(T), state, color="black", lw=1, drawstyle="steps-mid")
    bottom.axhline(0, color="grey", lw=0.7)
    bottom.set_ylabel("$C_t$")
    shown = ["↵" if c == "\n" else c for c in text]
    bottom.set_xticks(range(T), shown, fontsize=9, family="monospace")
    bottom.tick_params(axis="x", length=0)
    return figure


@styled
def coloured_text(text, values, width=72):
    """The text itself, each character on a shade of its value.  text: T characters; values: (T,), 0 stays white"""
    values = np.asarray(values)
    scale = np.abs(values).max() or 1.0
    places, row, column = [], 0, 0
    for char in text:
        places.append((row, column))
        row, column = (row + 1, 0) if char == "\n" or column == width - 1 else (row, column + 1)
    rows = places[-1][0] + 1
    shade = np.zeros((rows, width))
    figure, axes = plt.subplots(figsize=(10, 0.5 + 0.24 * rows))
    for (y, x), char, value in zip(places, text, values, strict=True):
        shade[y, x] = value / scale
        axes.text(x, y, char if char.isprintable() else "", ha="center", va="center", fontsize=7, family="monospace")
    image = axes.imshow(shade, cmap="PuOr_r", vmin=-1.6, vmax=1.6, aspect="auto")
    image.set_clim(-1.6, 1.6)
    axes.axis("off")
    axes.set_title(f"violet: below 0, orange: above; strongest {scale:.2f}", fontsize=9)
    return figure


@styled
def alignment(letters, sounds, weights):
    """Where the decoder looked for each sound.  letters: T, sounds: S names; weights: (S, T), rows sum to 1"""
    weights = np.asarray(weights)
    figure, axes = plt.subplots(figsize=(1.5 + 0.45 * len(letters), 1.1 + 0.36 * len(sounds)))
    image = axes.imshow(weights, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for y, x in zip(*np.nonzero(weights >= 0.1), strict=True):
        look = {"fontsize": 7, "color": ink(image, weights[y, x])}
        axes.text(x, y, f"{100 * weights[y, x]:.0f}", ha="center", va="center", **look)
    axes.set_xticks(range(len(letters)), letters)
    axes.set_yticks(range(len(sounds)), sounds)
    axes.xaxis.tick_top()
    axes.set_title("attention in %, from 10 on: a row per sound, a column per letter", fontsize=9)
    return figure
