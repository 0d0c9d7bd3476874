"""A page of rendered pairs, to look at before anything is trained on them: `cvdl data gallery`."""

import matplotlib.pyplot as plt

from cvdl.figures import styled
from cvdl.flow.data.rendered import rendered
from cvdl.flow.description import describe
from cvdl.flow.plotting.draw import flow_to_image
from cvdl.flow.warp import warp

PICTURES = 5  # of each pair


def gallery(kind, count=16, first=0, size=(192, 256), split="train", seed=0):
    """A row for each pair: both frames, flow, frame 2 brought back by it, what is occluded -> figure, text for it.

    Where the flow is right, frame 2 brought back looks like frame 1, but for what is occluded.
    kind: as for `rendered`.
    """
    pairs = rendered(kind, size=size, split=split, seed=seed).batch(first, count)
    back, colours = warp(pairs.image2, pairs.flow), [flow_to_image(flow) for flow in pairs.flow]
    figure = _page(pairs, colours, back, first)
    text = "; ".join(f"pair {first + i}: {describe(flow)}" for i, flow in enumerate(pairs.flow))
    return figure, f"{count} rendered pairs of {kind}. {text}"


@styled
def _page(pairs, colours, back, first):
    count = len(pairs.flow)
    columns = 2 if count > 1 else 1  # pairs side by side
    rows = -(-count // columns)
    shape = {"squeeze": False, "figsize": (2.1 * PICTURES * columns, 1.75 * rows)}
    figure, grid = plt.subplots(rows, PICTURES * columns, **shape)
    for axes in grid.flat:
        axes.axis("off")
    for i in range(count):
        pictures = (pairs.image1[i], pairs.image2[i], colours[i], back[i], pairs.occlusion[i].expand(3, -1, -1).float())
        longest = pairs.flow[i].norm(dim=0).max()
        titles = (
            f"pair {first + i}: frame 1",
            "frame 2",
            f"flow, up to {longest:.0f} px",
            "frame 2 brought back",
            "occluded",
        )
        for axes, picture, title in zip(grid.flat[PICTURES * i :], pictures, titles, strict=False):
            axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).cpu().numpy())
            axes.set_title(title, fontsize=8)
    return figure
