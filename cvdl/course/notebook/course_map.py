"""The picture of the way through the course."""

import sys

import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

from cvdl.figures import styled

READY = {1, 2, 3, 4, 5, 6, 7, 8}  # notebooks that exist; a test compares with the folder
ROWS = {
    "sequences": ["1\nRNN\nfrom scratch", "2\nbackpropagation\nthrough time", "3\nLSTM", "4\nfirst-person\ngestures"],
    "optical flow": ["5\nFlowNet and\ncorrelation", "6\nFlowNet 2.0", "7\nSPyNet", "8\nLikeNet"],
}


@styled
def picture(ready=READY):
    """Two rows of boxes; those not in `ready` are grey and dashed."""
    figure, axes = plt.subplots(figsize=(10, 3.2))
    for row, (name, boxes) in enumerate(ROWS.items()):
        y = 1 - row
        axes.text(-0.62, y, name, ha="right", va="center", fontsize=11)
        for i, text in enumerate(boxes):
            done = int(text[0]) in ready
            box = FancyBboxPatch(
                (i - 0.38, y - 0.3),
                0.76,
                0.6,
                boxstyle="round,pad=0.02",
                facecolor=("#F5C46B", "#9BD3F2")[row] if done else "#E6E6E6",
                edgecolor="black" if done else "#999999",
                linestyle="-" if done else "--",
            )
            axes.add_patch(box)
            axes.text(i, y, text, ha="center", va="center", fontsize=8.5, color="black" if done else "#666666")
            if i:
                axes.annotate("", xy=(i - 0.42, y), xytext=(i - 0.58, y), arrowprops={"arrowstyle": "->"})
    axes.annotate("", xy=(0, 0.36), xytext=(0, 0.64), arrowprops={"arrowstyle": "->"})
    axes.set(xlim=(-1.6, 3.5), ylim=(-0.45, 1.45), aspect="auto")
    axes.axis("off")
    return figure


if __name__ == "__main__":  # python -m cvdl.course.notebook.course_map .github/way.png
    picture().savefig(sys.argv[1], dpi=110, bbox_inches="tight")
