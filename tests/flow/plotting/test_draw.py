"""Colours against torchvision's; figures are drawn, and what they say is right."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from cvdl.errors import CourseError
from cvdl.flow import flow_to_image
from cvdl.flow.description import describe
from cvdl.flow.plotting import draw
from tests.flow import smooth

FLOW = smooth(2, 40, 60, size=5)
TRUTH = FLOW + smooth(2, 40, 60, size=1, seed=1)
VALID = torch.ones(40, 60, dtype=torch.bool)
VALID[30:, 50:] = False
IMAGE = torch.rand(3, 40, 60)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    assert np.array(Image.open(file).convert("L")).std() > 5, "the figure is empty"
    return file.getvalue()


def test_colours_are_torchvisions():
    for flow in (FLOW, FLOW[None].repeat(2, 1, 1, 1)):
        ours, theirs = flow_to_image(flow), torchvision.utils.flow_to_image(flow) / 255
        assert ours.shape == theirs.shape and ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 1.5 / 255
    five = FLOW.expand(2, 3, 2, 40, 60)
    assert torch.equal(flow_to_image(five)[1, 2], flow_to_image(FLOW))


def test_one_scale_makes_flows_comparable():
    assert torch.equal(flow_to_image(FLOW, 30.0)[:, :7], flow_to_image(FLOW[:, :7], 30.0))
    assert flow_to_image(FLOW, 1000.0).mean() > flow_to_image(FLOW, 10.0).mean()  # slow is pale
    fast, slow = torch.tensor([50.0, 0.0]).view(2, 1, 1), torch.tensor([5.0, 0.0]).view(2, 1, 1)
    assert (flow_to_image(fast, 5.0) - flow_to_image(slow, 5.0)).abs().max() < 2 / 255  # beyond the scale: as its end


def test_white_black_and_the_four_directions():
    assert (flow_to_image(torch.zeros(2, 3, 3)) == 1).all()
    broken = FLOW.clone()
    broken[0, 3, 4], broken[1, 5, 6] = float("nan"), float("inf")
    image = flow_to_image(broken, valid=VALID)
    for y, x in ((3, 4), (5, 6), (35, 55)):
        assert not image[:, y, x].any()
    assert torch.equal(
        image[:, :30, :50][:, 10:],
        flow_to_image(broken.nan_to_num(0, 0), broken[:, VALID].nan_to_num(0, 0, 0).norm(dim=0).max().item())[
            :, 10:30, :50
        ],
    )
    right, down, left, up = flow_to_image(torch.tensor([[1.0, 0, -1, 0], [0, 1.0, 0, -1]])[:, None])[:, 0].T
    assert right[0] > 0.95 and right[1:].max() < 0.1  # red
    assert down[2] < 0.1 and down[:2].min() > 0.5  # yellow
    assert left[0] < 0.1 and left[1:].min() > 0.5  # cyan
    assert up[2] > 0.95 and up[1] < 0.2  # blue to violet
    assert flow_to_image(FLOW.half()).dtype == torch.float32


@pytest.mark.parametrize(
    "flow, words",
    [
        (torch.tensor([3.0, 0.0]), "mainly to the right."),
        (torch.tensor([3.0, 0.5]), "mainly to the right."),
        (torch.tensor([3.0, 3.0]), "mainly down and to the right."),
        (torch.tensor([0.0, 3.0]), "mainly down."),
        (torch.tensor([-3.0, 3.0]), "mainly down and to the left."),
        (torch.tensor([-3.0, -0.1]), "mainly to the left."),
        (torch.tensor([-3.0, -3.0]), "mainly up and to the left."),
        (torch.tensor([0.0, -3.0]), "mainly up."),
        (torch.tensor([3.0, -3.0]), "mainly up and to the right."),
        (torch.tensor([0.0, 0.0]), "no motion."),
    ],
)
def test_direction_in_words(flow, words):
    assert describe(flow.view(2, 1, 1).expand(2, 6, 8)).endswith(words)


def test_numbers_in_words():
    flow = torch.zeros(2, 4, 5)
    flow[0, 0, 0], flow[1, 0, 0] = 3, 4
    flow[0, 3, 4] = 1e6
    valid = torch.ones(1, 4, 5, dtype=torch.bool)
    valid[0, 3, 4] = False
    text = describe(flow, valid)
    assert text == (
        "Flow of 5 × 4 pixels: mean displacement 0.3 px, greatest 5.0 px, mainly down and to the right; "
        "5 % of the pixels are unknown."
    )
    turning = torch.stack(torch.meshgrid(torch.arange(-5.0, 6), torch.arange(-5.0, 6), indexing="ij"))
    assert "no main direction" in describe(turning)
    assert "all unknown" in describe(flow, torch.zeros_like(valid))


@pytest.mark.parametrize(
    "flow", [FLOW, FLOW[None], FLOW.double(), FLOW * 0, FLOW[:, :1, :1], FLOW[:, :16, :16], FLOW * 1e3]
)
def test_flow_figures_for_any_flow(flow):
    plt.close(draw.magnitude(flow))
    assert len(draw.flow(flow, title="truth").axes) == 2
    figure = draw.error(flow, flow)
    assert "EPE 0.00 px" in figure.axes[0].get_title()
    figure.canvas.draw()


def test_figures_with_masks():
    for figure in (
        draw.flow(FLOW, VALID),
        draw.magnitude(FLOW, VALID[None]),
        draw.error(FLOW, TRUTH, VALID, "SPyNet"),
        draw.flow(FLOW.masked_fill(~VALID, float("nan"))),
        draw.occlusion(IMAGE, ~VALID),
        draw.occlusion(IMAGE[None], torch.zeros(1, 1, 40, 60, dtype=torch.bool)),
    ):
        png(figure)


def test_titles_tell_what_was_measured():
    from cvdl.flow import epe, fl_all

    title = draw.error(FLOW, TRUTH, VALID, "SPyNet").axes[0].get_title()
    assert f"{epe(FLOW, TRUTH, VALID):.2f} px" in title and f"{fl_all(FLOW, TRUTH, VALID):.1f} %" in title
    share = 100 * (~VALID).float().mean()
    assert f"{share:.1f} %" in draw.occlusion(IMAGE, ~VALID).axes[0].get_title()


def test_panels_draw_each_thing_as_what_it_is():
    figure = draw.panels({"frame 1": IMAGE, "truth": TRUTH[None], "guess": FLOW, "occluded": ~VALID})
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["frame 1", "truth", "guess", "occluded"] and len(figure.axes) == 6
    png(figure)
    assert len(draw.panels({"one": IMAGE}).axes) == 1


def test_figures_are_the_same_twice_and_change_nothing():
    flow, valid = FLOW.clone(), VALID.clone()
    assert png(draw.flow(flow, valid)) == png(draw.flow(flow, valid))
    assert torch.equal(flow, FLOW) and torch.equal(valid, VALID)


def test_blink_holds_both_images():
    other = IMAGE.flip(-1)
    gif = Image.open(io.BytesIO(draw.blink(IMAGE, other[None], seconds=0.5)))
    assert gif.n_frames == 2 and gif.info["duration"] == 500 and gif.info["loop"] == 20
    for n, image in enumerate((IMAGE, other)):
        gif.seek(n)
        shown = torch.from_numpy(np.array(gif.convert("RGB"))).permute(2, 0, 1) / 255
        assert (shown - image).abs().mean() < 0.08
    # What stands still does not flicker.
    gif = Image.open(io.BytesIO(draw.blink(IMAGE, torch.cat([IMAGE[:, :20], other[:, 20:]], dim=1))))
    first = np.array(gif.convert("RGB"))
    gif.seek(1)
    assert np.array_equal(first[:20], np.array(gif.convert("RGB"))[:20])


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: draw.flow(FLOW.expand(2, 2, 40, 60)), "x[0]"),
        (lambda: draw.flow(IMAGE), "(…, 2, H, W)"),
        (lambda: draw.flow(FLOW, max_flow=0), "above 0"),
        (lambda: flow_to_image(FLOW, max_flow=float("nan")), "above 0"),
        (lambda: draw.error(FLOW, TRUTH[:, 1:]), "one shape"),
        (lambda: draw.error(FLOW, TRUTH, VALID & False), "No pixel"),
        (lambda: draw.occlusion(IMAGE, FLOW), "mask"),
        (lambda: draw.occlusion(IMAGE[:1], VALID), "image"),
        (lambda: draw.occlusion(IMAGE, VALID.byte()), "bool"),
        (lambda: draw.occlusion(IMAGE, VALID[1:]), "one size"),
        (lambda: draw.panels({}), "nothing"),
        (lambda: draw.panels({"odd": torch.zeros(5, 4, 4)}), "odd"),
        (lambda: draw.blink(IMAGE, IMAGE[:, 1:]), "one size"),
        (lambda: draw.blink(IMAGE, IMAGE, seconds=0.1), "flashes"),
    ],
)
def test_bad_input_is_told(call, word):
    with pytest.raises(CourseError) as error:
        call()
    assert word in str(error.value)
