"""Figures of notebooks 05–09.  Each is a pure function from tensors to a matplotlib figure.

Colour is never the only channel: flow comes with arrows and a wheel in pixels, amounts come in cividis,
which colour-blind readers see as everybody does, with numbered contours, and areas are hatched.
`describe` puts a flow into words, for the figure's alternative text.

Here an image is (3, H, W) or (1, 3, H, W), a flow (2, H, W) or (1, 2, H, W), a mask bool, (H, W) with or
without leading ones.
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib import patheffects
from matplotlib.patches import Patch

from cvdl.errors import InvalidInput
from cvdl.figures import styled
from cvdl.flow import metrics
from cvdl.flow.colours import flow_to_image, scale_of
from cvdl.flow.description import flow_and_mask, single
from cvdl.flow.shapes import check_same

DPI = 88  # of figures with photographs, which make a notebook large
HALO = [patheffects.withStroke(linewidth=2.5, foreground="white")]


@styled
def flow(flow, valid=None, max_flow=None, title="", step=None):
    """Colours, arrows, and the wheel with its scale in pixels; unknown pixels are black."""
    flow, known = flow_and_mask(flow, valid)
    max_flow = scale_of(flow.norm(dim=0), max_flow)
    figure, (left, right) = plt.subplots(1, 2, figsize=_size(flow, extra=2.3), width_ratios=[2.6, 1])
    image_in(left, flow_to_image(flow, max_flow, known), title)
    arrows(left, flow, known, step)
    wheel(right, max_flow)
    return figure


@styled
def magnitude(flow, valid=None, title="", step=None):
    """The same without hues: length in cividis with numbered contours, direction by arrows; unknown hatched."""
    flow, known = flow_and_mask(flow, valid)
    figure, axes = plt.subplots(figsize=_size(flow, extra=1.1))
    _amount(axes, flow.norm(dim=0), known, "displacement (px)", None)
    arrows(axes, flow, known, step, colour="white")
    axes.set_title(title or "length of the flow", fontsize=10)
    return figure


@styled
def error(flow, truth, valid=None, title="", max_error=None):
    """End-point error in cividis with numbered contours; outliers as KITTI counts them are outlined in white."""
    check_same(flow, truth)
    (flow, known), (truth, true) = flow_and_mask(flow, valid), flow_and_mask(truth, valid)
    known = known & true
    errors = metrics.epe(flow, truth, known, "none")[0]
    outlier = (errors > 3) & (errors > 0.05 * truth.norm(dim=0))
    mean, share = metrics.epe(flow, truth, known), metrics.fl_all(flow, truth, known)
    figure, axes = plt.subplots(figsize=_size(flow, extra=1.1))
    _amount(axes, errors, known, "end-point error (px)", max_error)
    _outline(axes, outlier, "white", 1.4)
    numbers = f"EPE {mean:.2f} px, Fl-all {share:.1f} % (white outline)"
    axes.set_title(f"{title}: {numbers}" if title else numbers, fontsize=10)
    return figure


@styled
def occlusion(image, mask, title=""):
    """The image in grey; what is occluded is orange, hatched and outlined, and its share is in the title."""
    image, mask = _image(image), _mask(mask)
    if image.shape[1:] != mask.shape:
        raise InvalidInput(f"Image and mask have to be of one size; they are {(*image.shape,)} and {(*mask.shape,)}.")
    figure, axes = plt.subplots(figsize=_size(image))
    image_in(axes, image.mean(0).expand(3, -1, -1) * 0.7 + 0.3, "")
    _hatch(axes, mask, "#D55E00", alpha=0.35)
    numbers = f"{100 * mask.float().mean():.1f} % occluded (hatched)"
    axes.set_title(f"{title}: {numbers}" if title else numbers, fontsize=10)
    return figure


@styled
def panels(pictures, columns=3, max_flow=None, width=3.4):
    """Images, flows and masks (True is black) side by side: {title: tensor}, each `width` inches wide.

    All flows share one scale, `max_flow` or the greatest length among them, and one wheel.
    """
    if not pictures:
        raise InvalidInput("There is nothing to draw: give {title: image, flow or mask} with one entry at least.")
    kinds = {title: _kind(p, title) for title, p in pictures.items()}
    flows = {title: flow_and_mask(p) for title, p in pictures.items() if kinds[title] == "flow"}
    if flows:
        max_flow = max(scale_of(f.norm(dim=0), max_flow) for f, _ in flows.values())
    count = len(pictures) + bool(flows)
    columns = min(columns, count)
    rows = -(-count // columns)
    H, W = next(iter(pictures.values())).shape[-2:]
    size = 10 if width > 3 else 8
    figure, grid = plt.subplots(
        rows, columns, squeeze=False, figsize=(width * columns, (width * H / W + 0.35) * rows), dpi=DPI
    )
    for axes in grid.flat[count:]:
        axes.axis("off")
    for axes, (title, picture) in zip(grid.flat, pictures.items(), strict=False):
        if title in flows:
            flow, known = flows[title]
            image_in(axes, flow_to_image(flow, max_flow, known), title, size)
            arrows(axes, flow, known, step=max(1, round(max(flow.shape) / (6 * width))), max_flow=max_flow)
        elif kinds[title] == "mask":
            image_in(axes, (~_mask(picture)).float().expand(3, -1, -1), title, size)
        else:
            image_in(axes, _image(picture), title, size)
    if flows:
        wheel(grid.flat[len(pictures)], max_flow)
    return figure


def blink(first, second, seconds=0.6, loops=20):
    """Two images in turn, e.g. frame 1 and frame 2 warped back -> bytes of an animated GIF.

    What the flow explains stands still, the rest jumps.  Show it by `IPython.display.Image(data=…, alt=…)`.
    It stops after `loops` turns, on the second image.  Raises ValueError below 0.34 s for an image: more
    than three flashes in a second can trigger seizures (WCAG 2.3.1).
    """
    from PIL import Image

    if seconds < 0.34:
        raise InvalidInput(f"{seconds} s for an image flashes too fast for some readers. Use 0.34 or more.")
    pair = [_image(i) for i in (first, second)]
    if pair[0].shape != pair[1].shape:
        raise InvalidInput(f"Both images have to be of one size; they are {(*first.shape,)} and {(*second.shape,)}.")
    # One palette for both, or their colours would flicker by themselves.
    palette = Image.fromarray(_bytes(torch.cat(pair, dim=1))).quantize(255)
    frames = [Image.fromarray(_bytes(i)).quantize(palette=palette, dither=Image.Dither.NONE) for i in pair]
    file = io.BytesIO()
    timing = {"duration": int(1000 * seconds), "loop": loops}
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], optimize=False, **timing)
    return file.getvalue()


def wheel(axes, max_flow, radius=80):
    """The legend: which colour means which displacement, with rings in pixels."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 2 * radius + 1)] * 2, indexing="ij")
    image = flow_to_image(torch.stack([x, y]), 1.0)
    image[:, x.square() + y.square() > 1] = 1
    axes.imshow(image.permute(1, 2, 0).numpy(), extent=(-1, 1, 1, -1))
    angle = np.linspace(0, 2 * np.pi, 100)
    for part, style in ((0.5, ":"), (1, "-")):
        axes.plot(part * np.cos(angle), part * np.sin(angle), color="black", lw=0.7, ls=style)
        label = f"{part * max_flow:.{0 if max_flow >= 10 else 1}f} px"
        axes.text(0.72 * part, 0.72 * part, label, va="top", fontsize=8, path_effects=HALO)
    for x, y, word in ((1, 0, "right"), (0, 1, "down"), (-1, 0, "left"), (0, -1, "up")):
        axes.annotate("", xy=(0.92 * x, 0.92 * y), xytext=(0, 0), arrowprops={"arrowstyle": "->", "lw": 0.8})
        sideways, upright = ("left", "center", "right")[1 - x], ("top", "center", "bottom")[1 - y]
        axes.text(1.06 * x, 1.06 * y, word, ha=sideways, va=upright, fontsize=8)
    axes.set(xlim=(-1.6, 1.6), ylim=(1.4, -1.4))
    axes.axis("off")


def arrows(axes, flow, known, step=None, colour="black", max_flow=None):
    """An arrow every `step` pixels (default: 20 in the longer side); the longest reaches to the next one."""
    _, H, W = flow.shape
    step = step or max(1, round(max(H, W) / 20))
    longest = scale_of(flow.norm(dim=0), max_flow)
    rows, columns = torch.meshgrid(torch.arange(step // 2, H, step), torch.arange(step // 2, W, step), indexing="ij")
    seen = (known & (flow.norm(dim=0) > 0.02 * longest))[rows, columns]
    rows, columns = rows[seen], columns[seen]
    x, y, (u, v) = columns.numpy(), rows.numpy(), flow[:, rows, columns].numpy()
    outline = {"edgecolor": "black", "linewidth": 0.3} if colour == "white" else {}
    style = {"color": colour, "width": 0.003, "headwidth": 4, **outline}
    axes.quiver(x, y, u, v, angles="xy", scale_units="xy", scale=longest / (1.3 * step), **style)


def _amount(axes, values, known, label, greatest):
    """An amount (H, W) in cividis with a scale and numbered contours; unknown pixels are hatched."""
    values = values.masked_fill(~known, 0)
    top = scale_of(values, greatest)
    image = axes.imshow(values.numpy(), cmap="cividis", vmin=0, vmax=top)
    levels = [level for level in plt.MaxNLocator(4).tick_values(0, top) if 0 < level < values.max()]
    if levels and min(values.shape) > 1:
        seen = np.ma.array(values.numpy(), mask=~known.numpy())
        lines = axes.contour(seen, levels=levels, colors="black", linewidths=0.6)
        for text in axes.clabel(lines, fontsize=7, fmt="%g"):
            text.set_path_effects(HALO)
    if not known.all():
        _hatch(axes, ~known, "white", alpha=1)
        patch = Patch(facecolor="white", edgecolor="black", hatch="////")
        axes.legend([patch], ["unknown"], loc="lower right", fontsize=7)
    _frame(axes)
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.85, extend="max" if values.max() > top else "neither")


def _hatch(axes, mask, colour, alpha):
    if mask.any() and min(mask.shape) > 1:
        axes.contourf(mask.numpy(), levels=[0.5, 1.5], colors=[colour], alpha=alpha)
        axes.contourf(mask.numpy(), levels=[0.5, 1.5], colors="none", hatches=["////"])
        _outline(axes, mask, "black", 0.7)


def _outline(axes, mask, colour, width):
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axes.contour(mask.numpy(), levels=[0.5], colors=colour, linewidths=width)


def image_in(axes, image, title, size=10):
    """An image (3, H, W) in a frame, its title in letters of so many points."""
    axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
    _frame(axes)
    axes.set_title(title, fontsize=size)


def _frame(axes):
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, linewidth=0.5)


def _size(picture, extra=0.0):
    H, W = picture.shape[-2:]
    return 5.6 + extra, min(max(5.6 * H / W, 1.6), 9) + 0.5


def _image(image):
    return single(image.detach().cpu().float(), 3, "image")


def _mask(mask):
    if mask.dtype != torch.bool:
        raise InvalidInput(f"A mask has to be bool, not {mask.dtype}. Say which pixels are meant, e.g. mask > 0.")
    return single(mask.detach().cpu().reshape(mask.shape if mask.ndim > 2 else (1, *mask.shape)), 1, "mask")[0]


def _kind(picture, title):
    if picture.dtype == torch.bool:
        return "mask"
    kind = {2: "flow", 3: "image"}.get(picture.shape[-3] if picture.ndim > 2 else None)
    if kind is None:
        raise InvalidInput(f"{title!r} is no image (3, H, W), flow (2, H, W) or bool mask, but {tuple(picture.shape)}.")
    return kind


def _bytes(image):
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
