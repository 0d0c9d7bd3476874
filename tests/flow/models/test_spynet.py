"""SPyNet is the paper's equations 1 and 2, at any size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates

from cvdl.flow import SPyNet
from cvdl.flow.models.base import count
from tests.flow import smooth

LEVELS = 3


def images(height, width, batch=2, seed=0, dtype=torch.float64):
    pair = smooth(2 * batch, 3, height, width, size=0.3, seed=seed, dtype=dtype) + 0.5
    return pair.clamp(0, 1).chunk(2)


@pytest.fixture
def net():
    """In double precision, untrained, but with flows that are some pixels long."""
    torch.manual_seed(1)
    net = SPyNet(LEVELS).double()
    for level in net.levels:
        level[-1].weight.data *= 50
    return net


# An independent SPyNet: nothing of cvdl, and SciPy looks up pixels.


def plain_spynet(net, image1, image2):
    """-> V_0 … V_{levels-1}, each in pixels of its own level."""
    mean = torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)  # rounded as in the net
    deviation = torch.tensor([0.229, 0.224, 0.225]).double().view(3, 1, 1)
    pyramid = [((image1 - mean) / deviation, (image2 - mean) / deviation)]
    while len(pyramid) < len(net.levels):
        pyramid.append(tuple(sum(i[..., y::2, x::2] for y in (0, 1) for x in (0, 1)) / 4 for i in pyramid[-1]))
    flows = []
    for level, (first, second) in zip(net.levels, reversed(pyramid), strict=True):
        below = 2 * doubled(doubled(flows[-1], -1), -2) if flows else torch.zeros_like(first[:, :2])
        features = torch.cat([first, looked_up(second, below), below], 1)
        for i in (0, 2, 4, 6, 8):
            features = F.conv2d(features, level[i].weight, level[i].bias, padding=3)
            features = features if i == 8 else features.clamp(min=0)
        flows.append(below + features)
    return flows


def doubled(x, axis):
    """Linear interpolation to twice as many points; the new ones lie a quarter beside the old."""
    place = ((torch.arange(2 * x.shape[axis], dtype=x.dtype) + 0.5) / 2 - 0.5).clamp(0, x.shape[axis] - 1)
    low, high = place.floor().long(), place.ceil().long()
    share = (place - low).view(-1, *[1] * (-1 - axis))
    return (1 - share) * x.index_select(axis, low) + share * x.index_select(axis, high)


def looked_up(image, flow):
    y, x = np.mgrid[: image.shape[2], : image.shape[3]]
    result = torch.empty_like(image)
    for b, c in np.ndindex(*image.shape[:2]):
        place = [y + flow[b, 1].numpy(), x + flow[b, 0].numpy()]
        result[b, c] = torch.from_numpy(map_coordinates(image[b, c].numpy(), place, order=1, mode="nearest"))
    return result


@torch.no_grad()
def test_train_mode_agrees_with_a_plain_one(net):
    image1, image2 = images(32, 48)
    wanted = plain_spynet(net, image1, image2)
    flows = net(image1, image2)
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 32, 48), (2, 2, 16, 24), (2, 2, 8, 12)]
    assert flows[1].norm(dim=1).median() > 1  # the finest level had something to warp
    for flow, level, factor in zip(flows, reversed(wanted), (1, 2, 4), strict=True):
        torch.testing.assert_close(flow, factor * level, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("height, width", [(16, 16), (37, 53), (18, 40), (32, 48)])
def test_eval_mode_at_any_size(net, height, width):
    image1, image2 = images(height, width)
    flow = net.eval()(image1, image2)
    assert flow.shape == (2, 2, height, width)
    bottom, right = -height % 4, -width % 4
    padded = (torch.from_numpy(np.pad(i, [(0, 0)] * 2 + [(0, bottom), (0, right)], "edge")) for i in (image1, image2))
    wanted = plain_spynet(net, *padded)[-1][..., :height, :width]
    torch.testing.assert_close(flow, wanted, rtol=0, atol=1e-9)


@torch.no_grad()
def test_single_precision_is_near():
    torch.manual_seed(2)
    net = SPyNet().eval()
    image1, image2 = images(37, 53, dtype=torch.float32)
    flow = net(image1, image2)
    assert flow.shape == (2, 2, 37, 53) and flow.dtype == torch.float32
    torch.testing.assert_close(flow, net.double()(image1.double(), image2.double()).float(), rtol=0, atol=1e-5)


def test_sizes():
    """240,050 = 8·32·49 + 32 + 32·64·49 + 64 + 64·32·49 + 32 + 32·16·49 + 16 + 16·2·49 + 2"""
    net = SPyNet(5)
    assert count(net) == 1_200_250 and [count(level) for level in net.levels] == [240_050] * 5
    assert all(p.requires_grad for p in net.parameters())
    assert count(SPyNet(**net.options())) == count(net) and SPyNet(2).options() == {"levels": 2}


@torch.no_grad()
def test_every_level_adds_a_pixel():
    """Levels that always answer (1, -1) make 1, 3, 7, 15, 31 of their own pixels, which are 16, 24, 28, 30, 31 full ones."""
    net = SPyNet(5)
    for level in net.levels:
        level[-1].weight.zero_()
        level[-1].bias.copy_(torch.tensor([1.0, -1.0]))
    flows = net(*images(64, 96, dtype=torch.float32))
    for flow, pixels in zip(flows, (31, 30, 28, 24, 16), strict=True):
        assert torch.equal(flow, pixels * torch.tensor([1.0, -1.0]).view(2, 1, 1).expand_as(flow))


@torch.no_grad()
def test_what_moves_with_the_frame_does_not_change(net):
    """Far from the border a shift of both frames shifts the flow; by whole pixels of the coarsest level."""
    net.levels, net.active = net.levels[:2], 2
    image1, image2 = images(126, 132, batch=1)
    whole, part = net.eval()(image1, image2), net(image1[..., 6:, 8:], image2[..., 6:, 8:])
    inside = slice(56, 66)  # 15 px are seen at each level, 45 in full pixels, and some more by warping
    assert whole[..., inside, inside].std() > 0.3
    torch.testing.assert_close(part[..., inside, inside], whole[..., 62:72, 64:74], rtol=0, atol=1e-9)


def test_gradients_reach_every_parameter(net):
    image1, image2 = images(32, 48)
    net(image1, image2)[0].square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


GOOD = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "image1, image2, told",
    [
        (GOOD[0], GOOD, r"image1.*\(B, 3, H, W\).*image1\[None\]"),
        (GOOD, GOOD[:, :1], r"image2.*\(1, 1, 16, 16\)"),
        (GOOD, (255 * GOOD).byte(), r"image2.*uint8"),
        (GOOD.numpy(), GOOD, "image1.*ndarray"),
        (GOOD, GOOD[..., :15], r"the same shape.*\(1, 3, 16, 15\)"),
        (GOOD, GOOD.expand(2, -1, -1, -1), "the same shape"),
        (GOOD[..., :15], GOOD[..., :15], "16 × 16 pixels or more"),
    ],
)
def test_bad_input_says_what_to_do(image1, image2, told):
    with pytest.raises(ValueError, match=told):
        SPyNet(2).eval()(image1, image2)


def test_train_mode_wants_sizes_that_divide():
    with pytest.raises(ValueError, match=r"SPyNet needs sides divisible by 16; these are 32 × 40.*net.eval"):
        SPyNet()(*images(32, 40, dtype=torch.float32))
    with pytest.raises(ValueError, match="at least one level"):
        SPyNet(0)


# Fewer levels, on images of full size.


@torch.no_grad()
@pytest.mark.parametrize("active", [1, 2, 3])
def test_coarse_levels_alone(net, active):
    """They see reduced images, and their flows are those of the reduced images, in full-size pixels."""
    image1, image2 = images(64, 96)
    net.active = active
    step = 2 ** (LEVELS - active)
    assert net.reduce == step and net.multiple * net.reduce == 4
    alone = SPyNet(active).double()
    alone.levels = net.levels[:active]
    wanted = alone(F.avg_pool2d(image1, step), F.avg_pool2d(image2, step))
    flows = net(image1, image2)
    assert [tuple(flow.shape[-2:]) for flow in flows] == [
        (64 // step // 2**k, 96 // step // 2**k) for k in range(active)
    ]
    for flow, level in zip(flows, wanted, strict=True):
        torch.testing.assert_close(flow, step * level, rtol=0, atol=1e-9)
    flow = net.eval()(image1, image2)
    assert flow.shape == (2, 2, 64, 96)
    enlarged = F.interpolate(flows[0], (64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(flow, enlarged, rtol=0, atol=1e-9)


@torch.no_grad()
def test_coarse_levels_are_those_of_the_complete_network(net):
    image1, image2 = images(32, 48)
    complete = net(image1, image2)
    net.active = 2
    for flow, level in zip(net(image1, image2), complete[1:], strict=True):
        torch.testing.assert_close(flow, level, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("height, width", [(16, 16), (37, 53)])
def test_coarse_levels_at_any_size(net, height, width):
    net.active = 1
    image1, image2 = images(height, width)
    bottom, right = -height % 4, -width % 4
    padded = (F.pad(image, (0, right, 0, bottom), mode="replicate") for image in (image1, image2))
    flow = net.eval()(image1, image2)
    assert flow.shape == (2, 2, height, width)
    torch.testing.assert_close(flow, net(*padded)[..., :height, :width], rtol=0, atol=1e-9)
    net.train()
    if height % 4:
        with pytest.raises(ValueError, match="SPyNet needs sides divisible by 4"):
            net(image1, image2)
