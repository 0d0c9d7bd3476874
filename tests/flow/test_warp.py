"""Warping against loops, scipy and finite differences; the real pairs against their truth."""

import math

import pytest
import torch
from scipy.ndimage import map_coordinates

from cvdl.errors import CourseError, InvalidInput, NotFinite
from cvdl.flow import in_frame, warp
from cvdl.flow.warp import occluded
from tests.flow import PAIRS, REAL, pair, real, smooth

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def shifted(image, u, v, padding):
    """The oracle for whole-numbered flow: a loop over pixels."""
    H, W = image.shape[-2:]
    result = torch.zeros_like(image)
    for y in range(H):
        for x in range(W):
            inside = 0 <= x + u < W and 0 <= y + v < H
            if inside or padding == "border":
                result[:, :, y, x] = image[:, :, min(max(y + v, 0), H - 1), min(max(x + u, 0), W - 1)]
    return result


def by_scipy(image, flow, padding):
    H, W = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    mode = {"border": "nearest", "zeros": "grid-constant"}[padding]
    planes = [
        torch.from_numpy(map_coordinates(plane.numpy(), [(y + v).numpy(), (x + u).numpy()], order=1, mode=mode))
        for planes, (u, v) in zip(image.double(), flow.double(), strict=True)
        for plane in planes
    ]
    return torch.stack(planes).view(image.shape)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_zero_flow_changes_nothing_and_a_whole_flow_shifts(padding, dtype, device):
    image = torch.rand(2, 3, 9, 13).to(device, dtype)
    assert torch.equal(warp(image, torch.zeros(2, 2, 9, 13, device=device), padding), image)
    for u, v in ((1, 0), (0, 1), (-3, 2), (12, -8), (13, 9), (-400, 0)):
        flow = torch.tensor([u, v]).view(1, 2, 1, 1).expand(2, 2, 9, 13).to(device, dtype)
        assert torch.equal(warp(image, flow, padding).cpu(), shifted(image.cpu(), u, v, padding)), (u, v)


def test_zero_flow_changes_nothing_at_full_size():
    image = torch.rand(1, 3, 384, 1280)
    assert torch.equal(warp(image, torch.zeros(1, 2, 384, 1280)), image)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize(
    "shape, size", [((1, 3, 1, 1), 1), ((2, 5, 17, 11), 1), ((2, 1, 24, 31), 9), ((1, 3, 16, 16), 1e6)]
)
def test_agrees_with_scipy(shape, size, padding):
    torch.manual_seed(1)
    image, flow = torch.rand(shape), size * torch.randn(shape[0], 2, *shape[2:])
    assert (warp(image, flow, padding) - by_scipy(image, flow, padding)).abs().max() < 2e-5
    exact = warp(image.double(), flow.double(), padding)
    assert (exact - by_scipy(image, flow, padding)).abs().max() < 1e-10 * max(size, 1)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_gradients_reach_image_and_flow(padding):
    torch.manual_seed(0)
    image = torch.rand(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    # Away from whole numbers, where bilinear sampling has a kink.
    flow = torch.randint(-4, 5, (2, 2, 5, 6)).double() + torch.empty(2, 2, 5, 6).double().uniform_(0.1, 0.9)
    assert torch.autograd.gradcheck(lambda i, f: warp(i, f, padding), (image, flow.requires_grad_()))


def test_half_precision_lands_where_float_does():
    image, flow = torch.rand(1, 3, 4, 1500), torch.full((1, 2, 4, 1500), 0.25)
    exact = warp(image.half().float(), flow)
    half = warp(image.half(), flow.half())
    assert half.dtype == torch.float16 and (half - exact).abs().max() < 1e-3
    assert warp(image, flow.bfloat16()).dtype == torch.float32


def test_huge_flow_is_outside():
    image, flow = torch.rand(1, 3, 8, 8), torch.full((1, 2, 8, 8), 1e30)
    assert torch.equal(warp(image, flow), image[..., -1:, -1:].expand_as(image))
    assert not warp(image, flow, "zeros").any() and not in_frame(flow).any()


def test_in_frame_holds_the_edges():
    H, W = 4, 5
    flow = torch.zeros(1, 2, H, W)
    assert in_frame(flow).all() and in_frame(flow).shape == (1, 1, H, W) and in_frame(flow).dtype == torch.bool
    flow[:, 0] = 1.5
    assert in_frame(flow)[0, 0, 0].tolist() == [True, True, True, False, False]
    flow[:, 0], flow[:, 1] = 0, -1
    assert in_frame(flow)[0, 0, :, 0].tolist() == [False, True, True, True]


def test_in_frame_is_where_zeros_and_border_agree():
    flow = 6 * torch.randn(2, 2, 20, 30)
    image = torch.rand(2, 3, 20, 30) + 1
    same = (warp(image, flow) - warp(image, flow, "zeros")).abs().amax(1, keepdim=True) == 0
    assert torch.equal(same, in_frame(flow))


def test_occluded_is_what_a_moving_square_covers():
    """A square moves 4 px to the right over a still ground: it covers the 4 columns before it."""
    forward, backward = torch.zeros(2, 1, 2, 30, 40)
    forward[:, 0, 10:20, 10:20], backward[:, 0, 10:20, 14:24] = 4, -4
    hidden = torch.zeros(1, 1, 30, 40, dtype=torch.bool)
    hidden[..., 10:20, 20:24] = True
    assert torch.equal(occluded(forward, backward), hidden)
    assert not occluded(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)).any()


def test_occluded_by_the_formula_in_a_loop_and_outside_the_frame():
    forward, backward = smooth(1, 2, 12, 15, size=3), smooth(1, 2, 12, 15, size=3, seed=1)
    back = by_scipy(backward, forward, "border")
    for y in range(12):
        for x in range(15):
            (u, v), (a, b) = forward[0, :, y, x].tolist(), back[0, :, y, x].tolist()
            gap = (u + a) ** 2 + (v + b) ** 2 > 0.01 * (u * u + v * v + a * a + b * b) + 0.5
            leaves = not (0 <= x + u <= 14 and 0 <= y + v <= 11)
            assert occluded(forward, backward)[0, 0, y, x] == (gap or leaves)


@pytest.mark.parametrize(
    "image, flow, padding, word",
    [
        (torch.rand(1, 3, 4, 4), torch.full((1, 2, 4, 4), float("nan")), "border", "NaN"),
        (torch.rand(1, 3, 4, 4), torch.full((1, 2, 4, 4), float("inf")), "border", "NaN or infinite"),
        (torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 5), "border", "(1, 2, 4, 5)"),
        (torch.rand(2, 3, 4, 4), torch.zeros(1, 2, 4, 4), "border", "(2, 3, 4, 4)"),
        (torch.rand(3, 4, 4), torch.zeros(1, 2, 4, 4), "border", "image2[None]"),
        (torch.rand(1, 3, 4, 4), torch.zeros(2, 4, 4), "border", "flow[None]"),
        (torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4, 2), "border", "permute"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, 4, 4), "border", "255"),
        (torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4, dtype=torch.long), "border", "float"),
        (torch.rand(1, 3, 4, 4), [[0]], "border", "list"),
        (torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4), "reflect", "reflect"),
    ],
)
def test_bad_input_is_told(image, flow, padding, word):
    with pytest.raises(CourseError) as error:
        warp(image, flow, padding)
    assert word in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_flow_that_is_not_finite_is_told_from_one_of_another_size(value):
    """By type, so that a training loop knows which of them means divergence."""
    with pytest.raises(NotFinite):
        warp(torch.rand(1, 3, 4, 4), torch.full((1, 2, 4, 4), value))
    with pytest.raises(InvalidInput) as error:
        warp(torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 8))
    assert not isinstance(error.value, NotFinite)


@real
@pytest.mark.parametrize("name", PAIRS)
def test_the_truth_brings_frame_2_back_to_frame_1(name):
    first, second, flow, valid = pair(name)
    seen = valid & in_frame(flow[None])[0, 0]
    before = (second - first).abs().mean(1)[0][seen].mean()
    after = (warp(second, flow[None]) - first).abs().mean(1)[0][seen].mean()
    assert after < 0.6 * before, (before, after)


@real
def test_occluded_finds_what_sintel_marks():
    """Sintel has no backward truth: OpenCV's DIS stands in for it."""
    cv2 = pytest.importorskip("cv2", reason="opencv, of the extra [compare], gives the backward flow")
    first, second, flow, _ = pair("alley_1")
    grey = [(255 * i[0].mean(0)).byte().numpy() for i in (second, first)]
    backward = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)
    found = occluded(flow[None], torch.from_numpy(backward).permute(2, 0, 1)[None])[0, 0]
    marked = torch.from_numpy(cv2.imread(str(REAL / "Sintel/training/occlusions/alley_1/frame_0001.png"), 0) > 0)
    assert found[marked].float().mean() > 0.5 and found[~marked].float().mean() < 0.1
