"""What the figures of all notebooks share: their style; curves and bars, as pure functions from values to a matplotlib
figure; and the boxes and arrows of diagrams."""

from functools import wraps

import matplotlib.figure
import matplotlib.pyplot as plt
import matplotlib.style
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, NullFormatter

# Okabe & Ito's palette (2008), told apart by most colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARKERS, STYLES, HATCHES = "osD^v*", ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))), ("", "//", "..", "xx", "\\\\")

STYLE = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def style(changes=None):
    """A context in which matplotlib draws in the course's style, whatever style the user has chosen.

    Figures have a white background and colours chosen for it. Under a dark style, such as the one that VS Code sets, text and
    axes would be white, too.

    Args:
        changes: further rcParams, which take precedence.
    """
    return matplotlib.style.context(["default", STYLE | (changes or {})])


class Figure(matplotlib.figure.Figure):
    """A figure that is also rendered in the course's style: matplotlib looks up some colours only then."""

    def draw(self, renderer):
        with style():
            super().draw(renderer)

    def savefig(self, *args, **kwargs):
        with style():
            super().savefig(*args, **kwargs)


def styled(draw):
    """Decorate a function that returns a new figure, so that it draws in the course's style."""

    @wraps(draw)
    def drawn(*args, **kwargs):
        with style():
            figure = draw(*args, **kwargs)
        figure.__class__ = Figure
        return figure

    return drawn


def ink(image, value):
    """Black or white, whichever is easier to read on the colour that an image from `imshow` gives a value."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in image.to_rgba(float(value))[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # as in WCAG 2, contrast ratio
    return "black" if luminance > 0.18 else "white"


@styled
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


@styled
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
    if log:  # with plain numbers, not powers of ten; between these only where there is room
        axes.set_yscale("log")
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())
        axes.tick_params(axis="y", which="both", labelsize=7)


def box(axes, x, y, text, colour, width=0.62, height=0.42, size=10, bold=False, **look):
    """A rounded box with its text, the middle at (x, y); look: other properties of the FancyBboxPatch."""
    look = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "linewidth": 2 if bold else 0.7, **look}
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(FancyBboxPatch(corner, width, height, facecolor=colour, edgecolor="black", **look))
    axes.text(x, y, text, ha="center", va="center", fontsize=size, fontweight="bold" if bold else "normal")


def arrow(axes, start, end, label="", offset=(0.1, 0.0), size=11, **look):
    """An arrow from start to end, (x, y) each, with its label beside the middle; look: other `arrowprops`."""
    axes.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "->", "lw": 1.2, **look})
    if label:
        x, y = (start[0] + end[0]) / 2 + offset[0], (start[1] + end[1]) / 2 + offset[1]
        axes.text(x, y, label, fontsize=size, ha="center", va="center")
