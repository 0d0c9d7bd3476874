"""FlowNetS and FlowNetC are wired as in the paper, whatever the width."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cvdl import zoo
from cvdl.errors import CourseError
from cvdl.flow import FlowNetC, FlowNetS
from cvdl.flow.models.base import count
from tests.flow import smooth

WIDTH = 1 / 16
NETS = {"FlowNetS": lambda: FlowNetS(WIDTH), "FlowNetC": lambda: FlowNetC(WIDTH, max_displacement=4, stride=2)}


def images(height, width, batch=2, dtype=torch.float64):
    return (smooth(2 * batch, 3, height, width, size=0.3, dtype=dtype) + 0.5).clamp(0, 1).chunk(2)


def build(name):
    torch.manual_seed(3)
    net = NETS[name]().double()
    for p in net.parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p, std=0.1)  # biases that one would miss
    return net


# Both networks written out, with the released layers' names, kernels and strides.


def plain_flownet(net, image1, image2):
    """-> flows at 1/4 … 1/64, in full-size pixels"""
    w = net.state_dict()
    mean = torch.tensor([0.45, 0.432, 0.411]).double().view(3, 1, 1)  # rounded as in the net

    def conv(name, x, stride):
        weight = w[f"{name}.0.weight"]
        return leaky(F.conv2d(x, weight, w[f"{name}.0.bias"], stride, (weight.shape[2] - 1) // 2))

    def leaky(x):
        return torch.maximum(x, 0.1 * x)

    def decode(name, x):
        return F.conv_transpose2d(x, w[f"refinement.{name}.weight"], w.get(f"refinement.{name}.bias"), 2, 1)

    def predict(k, x):
        return F.conv2d(x, w[f"refinement.predict_flow{k}.weight"], w[f"refinement.predict_flow{k}.bias"], 1, 1)

    def up(k, x):
        return leaky(
            F.conv_transpose2d(x, w[f"refinement.deconv{k}.0.weight"], w[f"refinement.deconv{k}.0.bias"], 2, 1)
        )

    if isinstance(net, FlowNetS):
        conv1 = conv("conv1", torch.cat([image1 - mean, image2 - mean], 1), 2)
        conv2 = conv("conv2", conv1, 2)
        conv3_1 = conv("conv3_1", conv("conv3", conv2, 2), 1)
    else:
        conv2, conv2b = (conv("conv2", conv("conv1", image - mean, 2), 2) for image in (image1, image2))
        conv3a, conv3b = conv("conv3", conv2, 2), conv("conv3", conv2b, 2)
        scores = leaky(plain_correlation(conv3a, conv3b, net.max_displacement, net.stride))
        conv3_1 = conv("conv3_1", torch.cat([conv("conv_redir", conv3a, 1), scores], 1), 1)
    conv4 = conv("conv4_1", conv("conv4", conv3_1, 2), 1)
    conv5 = conv("conv5_1", conv("conv5", conv4, 2), 1)
    conv6 = conv("conv6_1", conv("conv6", conv5, 2), 1)

    flow6 = predict(6, conv6)
    concat5 = torch.cat([conv5, up(5, conv6), decode("upsampled_flow6_to_5", flow6)], 1)
    flow5 = predict(5, concat5)
    concat4 = torch.cat([conv4, up(4, concat5), decode("upsampled_flow5_to_4", flow5)], 1)
    flow4 = predict(4, concat4)
    concat3 = torch.cat([conv3_1, up(3, concat4), decode("upsampled_flow4_to_3", flow4)], 1)
    flow3 = predict(3, concat3)
    concat2 = torch.cat([conv2, up(2, concat3), decode("upsampled_flow3_to_2", flow3)], 1)
    return [20 * flow for flow in (predict(2, concat2), flow3, flow4, flow5, flow6)]


def plain_correlation(f1, f2, reach, stride):
    _, _, H, W = f1.shape
    maps = []
    for dy in range(-reach, reach + 1, stride):
        for dx in range(-reach, reach + 1, stride):
            score = torch.zeros_like(f1[:, 0])
            for y in range(max(0, -dy), min(H, H - dy)):
                for x in range(max(0, -dx), min(W, W - dx)):
                    score[:, y, x] = (f1[:, :, y, x] * f2[:, :, y + dy, x + dx]).mean(1)
            maps.append(score)
    return torch.stack(maps, 1)


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_train_mode_agrees_with_a_plain_one(name):
    net, (image1, image2) = build(name), images(64, 128)
    flows = net(image1, image2)
    assert [tuple(flow.shape[2:]) for flow in flows] == [(16, 32), (8, 16), (4, 8), (2, 4), (1, 2)]
    assert all(flow.std() > 0.1 for flow in flows)
    for flow, wanted in zip(flows, plain_flownet(net, image1, image2), strict=True):
        torch.testing.assert_close(flow, wanted, rtol=1e-9, atol=1e-9)
    other = net(image2, image1)
    assert (other[0] - flows[0]).abs().max() > 0.01  # the order of the frames counts


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("height, width", [(16, 16), (37, 53), (64, 70)])
def test_eval_mode_at_any_size(name, height, width):
    net, (image1, image2) = build(name).eval(), images(height, width)
    flow = net(image1, image2)
    assert flow.shape == (2, 2, height, width)
    H, W = height + -height % 64, width + -width % 64
    padded = (np.pad(image, [(0, 0)] * 2 + [(0, H - height), (0, W - width)], "edge") for image in (image1, image2))
    coarse = plain_flownet(net, *map(torch.from_numpy, padded))[0]
    wanted = four_times(four_times(coarse, 2), 3)[..., :height, :width]
    torch.testing.assert_close(flow, wanted, rtol=1e-9, atol=1e-9)


def four_times(x, axis):
    """Linear interpolation to four times as many points, values as they are."""
    n = x.shape[axis]
    old, new = np.arange(n), (np.arange(4 * n) + 0.5) / 4 - 0.5
    return torch.from_numpy(np.apply_along_axis(lambda line: np.interp(new, old, line), axis, x.numpy()))


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_single_precision_is_near(name):
    net, (image1, image2) = build(name).eval(), images(64, 64)
    wanted = net(image1, image2)
    flow = net.float()(image1.float(), image2.float())
    assert flow.dtype == torch.float32
    torch.testing.assert_close(flow, wanted.float(), rtol=1e-5, atol=1e-5 * wanted.abs().max().item())


@pytest.mark.parametrize("net, parameters", [(FlowNetS, 38_676_506), (FlowNetC, 39_175_298)])
def test_sizes(net, parameters):
    with torch.device("meta"):
        full = net()
    assert count(full) == parameters
    assert all(p.requires_grad for p in full.parameters())
    layers = dict(full.named_children())
    names = ["conv1", "conv2", "conv3", "conv3_1", "conv4", "conv4_1", "conv5", "conv5_1", "conv6", "conv6_1"]
    assert set(names) <= set(layers) and ("conv_redir" in layers) == (net is FlowNetC)
    assert layers["conv3_1"][0].in_channels == (256 if net is FlowNetS else 21**2 + 32)
    inside = [full.get_submodule(f"refinement.predict_flow{k}").in_channels for k in (6, 5, 4, 3, 2)]
    assert inside == [1024, 1026, 770, 386, 194]


@pytest.mark.parametrize(
    "build, parameters",
    [
        (lambda: FlowNetS(channels=12), 38_695_322),
        (lambda: FlowNetS(3 / 8), 5_462_666),
        (lambda: FlowNetS(3 / 8, channels=12), 5_469_722),
        (lambda: FlowNetS(variant="lecture"), 32_070_472),
        (lambda: FlowNetC(variant="lecture"), 32_561_032 + 8_224),  # the table leaves conv_redir out
    ],
)
def test_sizes_of_variants(build, parameters):
    with torch.device("meta"):
        net = build()
    assert count(net) == parameters and all(p.requires_grad for p in net.parameters())
    if isinstance(net, FlowNetC):
        assert count(net.conv_redir) == 8_224


def plain_lecture(net, image1, image2):
    """The lecture's variant, written out: -> flows at 1/4 … 1/32, in full-size pixels."""
    w, mean = net.state_dict(), torch.tensor([0.45, 0.432, 0.411]).double().view(3, 1, 1)
    names = ["conv1", "conv2", "conv3", "conv3_1", "conv4", "conv4_1", "conv5", "conv5_1", "conv6"]
    x = torch.cat([image1 - mean, image2 - mean], 1)
    for name, stride in zip(names, (2, 2, 2, 1, 2, 1, 2, 1, 2), strict=True):
        weight = w.pop(f"{name}.0.weight")
        x = F.conv2d(x, weight, w.pop(f"{name}.0.bias"), stride, (weight.shape[2] - 1) // 2)
        x = torch.maximum(x, 0.1 * x)
    flows = [torch.zeros_like(x[:, :2])]
    for k in (5, 4, 3, 2):
        # A transposed convolution, by hand: zeros between the points, and the kernel turned round.
        x = torch.cat([x, flows[0]], 1)
        spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
        spread[..., ::2, ::2] = x
        x = F.conv2d(spread, w.pop(f"refinement.deconv{k}.0.weight").flip(2, 3).transpose(0, 1), padding=2)
        x = torch.maximum(x, 0.1 * x)
        weight, bias = w.pop(f"refinement.predict_flow{k}.weight"), w.pop(f"refinement.predict_flow{k}.bias")
        flows.insert(0, torch.einsum("oi,bihw->bohw", weight[..., 0, 0], x) + bias[:, None, None])
    assert not w  # nothing else is learned
    return [20 * flow for flow in flows[:4]]


@torch.no_grad()
def test_lecture_agrees_with_a_plain_one():
    torch.manual_seed(3)
    net, (image1, image2) = FlowNetS(WIDTH, variant="lecture").double(), images(64, 128)
    for p in net.parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p, std=0.1)
    flows = net(image1, image2)
    assert [tuple(flow.shape[2:]) for flow in flows] == [(16, 32), (8, 16), (4, 8), (2, 4)]
    for flow, wanted in zip(flows, plain_lecture(net, image1, image2), strict=True):
        assert wanted.std() > 0.1
        torch.testing.assert_close(flow, wanted, rtol=1e-9, atol=1e-9)


VARIANTS = {
    "lecture S": lambda: FlowNetS(WIDTH, variant="lecture"),
    "lecture C": lambda: FlowNetC(WIDTH, max_displacement=4, variant="lecture"),
    "pair": lambda: FlowNetS(WIDTH, mean_of="pair"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_keep_the_contract(name):
    net, (image1, image2) = VARIANTS[name](), images(37, 53, dtype=torch.float32)
    again = type(net)(**net.options())
    again.load_state_dict(net.state_dict())
    flow = net.eval()(image1, image2)
    assert flow.shape == (2, 2, 37, 53) and torch.equal(again.eval()(image1, image2), flow)
    sum(flow.square().mean() for flow in net.train()(*images(64, 64, dtype=torch.float32))).backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_options_say_no_more_than_they_have_to():
    assert FlowNetS(1 / 4).options() == {"width": 0.25}
    assert FlowNetS(variant="lecture", channels=8).options() == {"width": 1, "variant": "lecture", "channels": 8}


@torch.no_grad()
def test_brightness_does_not_matter_to_the_mean_of_the_pair():
    """What both images have more of is taken off with their mean: of one pair at a time, colour by colour."""
    torch.manual_seed(3)
    image1, image2 = images(64, 64)
    light = torch.tensor([0.2, -0.2, 0.1]).double().view(1, 3, 1, 1) * torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
    for mean_of, same in (("pair", True), ("photos", False)):
        net = FlowNetS(WIDTH, mean_of=mean_of).double().eval()
        difference = (net(image1 + light, image2 + light) - net(image1, image2)).abs().max()
        assert difference < 1e-9 if same else difference > 0.1
        assert (net(image1 + light, image2) - net(image1, image2)).abs().max() > 0.1


def test_shipped_weights_still_fit():
    net = zoo.load("flownet-s")
    assert type(net) is FlowNetS and net.options() == zoo.card("flownet-s")["options"]


@pytest.mark.parametrize("name", NETS)
def test_options_build_it_again(name):
    net = build(name)
    again = type(net)(**net.options()).double()
    again.load_state_dict(net.state_dict())
    image1, image2 = images(64, 64, batch=1)
    assert torch.equal(again.eval()(image1, image2), net.eval()(image1, image2))


@pytest.mark.parametrize("name", NETS)
def test_gradients_reach_every_parameter(name):
    net = build(name)
    sum(flow.square().mean() for flow in net(*images(64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_first_weights_keep_signals_alive():
    """Features of the deepest layer are about as large as those of the first: neither vanish nor explode."""
    torch.manual_seed(0)
    net, seen = FlowNetS(1 / 4), {}
    for name in ("conv1", "conv6_1"):
        net.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: out.std().item()})
        )
    net(*images(128, 128, dtype=torch.float32))
    assert 0.1 < seen["conv6_1"] / seen["conv1"] < 10


@pytest.mark.parametrize("name", NETS)
def test_bad_input_says_what_to_do(name):
    net, good = NETS[name](), torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match=rf"{name} needs sides divisible by 64; these are 64 × 65.*net.eval"):
        net(torch.rand(1, 3, 64, 65), torch.rand(1, 3, 64, 65))
    net.eval()
    for wrong, told in (
        (good[0], "image2.*batch"),
        (good.double().long(), "image2.*int64"),
        (good[..., 1:], "the same shape"),
    ):
        with pytest.raises(ValueError, match=told):
            net(good, wrong)
    with pytest.raises(ValueError, match="16 × 16 pixels or more"):
        net(good[..., :8], good[..., :8])


def test_bad_options_say_what_to_do():
    for width in (0, -1, 5):
        with pytest.raises(CourseError, match="width is"):
            FlowNetS(width)
    with pytest.raises(CourseError, match=r'variant has to be "released" or "lecture", not \'paper\''):
        FlowNetS(WIDTH, variant="paper")
    with pytest.raises(CourseError, match='mean_of has to be "photos" or "pair"'):
        FlowNetC(WIDTH, mean_of="image")
    with pytest.raises(CourseError, match=r"sees 12 channels, and 6 came.*later network of a stack"):
        FlowNetS(WIDTH, channels=12).eval()(*images(64, 64, dtype=torch.float32))
    for reach, stride in ((5, 2), (4, 0), (-2, 2)):
        with pytest.raises(CourseError, match="multiple of stride"):
            FlowNetC(WIDTH, reach, stride)


# Normalised features.


def matching_scores(net, image1, image2):
    seen = []
    hook = net.activation.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    net(image1, image2)
    hook.remove()
    return seen[0]


@torch.no_grad()
@pytest.mark.parametrize("doubled", [1, 2])
def test_scores_of_normalised_features_do_not_follow_the_contrast(doubled):
    """Without biases, as at the start, an image with twice the contrast has features of twice the length."""
    torch.manual_seed(3)
    for normalise, factor in ((True, 1), (False, 2)):
        net = FlowNetC(WIDTH, max_displacement=4, normalise=normalise).double().eval()
        image1, image2 = (0.25 + image / 2 for image in images(64, 64))  # twice the contrast stays near [0, 1]
        before = matching_scores(net, image1, image2)
        mean = net.mean.double()
        more = [mean + 2 * (image - mean) if k == doubled else image for k, image in ((1, image1), (2, image2))]
        torch.testing.assert_close(matching_scores(net, *more), factor * before, rtol=1e-9, atol=1e-9)
        assert before.abs().max() > 1e-3


@torch.no_grad()
def test_normalised_scores_are_cosines():
    torch.manual_seed(3)
    net = FlowNetC(WIDTH, max_displacement=4, stride=2, normalise=True).double().eval()
    image1, _ = images(64, 64)
    scores = matching_scores(net, image1, image1)
    assert scores.shape[1] == 25 and scores.abs().max() <= 1 + 1e-9
    torch.testing.assert_close(scores[:, 12], torch.ones_like(scores[:, 12]), rtol=0, atol=1e-9)  # displacement 0


def test_normalise_is_an_option_that_weights_keep(tmp_path):
    plain, net = (FlowNetC(WIDTH, max_displacement=4, normalise=normalise) for normalise in (False, True))
    assert "normalise" not in plain.options() and net.options()["normalise"] is True
    zoo.write_weights(tmp_path / "net.safetensors", net)
    again = zoo.read_weights(tmp_path / "net.safetensors")
    assert again.normalise and again.options() == net.options()
    pair = images(64, 64, dtype=torch.float32)
    torch.testing.assert_close(again.eval()(*pair), net.eval()(*pair), rtol=0, atol=0.1)  # half precision


@pytest.mark.parametrize("name", [name for name in zoo.names() if zoo.card(name)["net"] == "FlowNetC"])
def test_shipped_options_have_not_changed(name):
    assert zoo.load(name).options() == zoo.card(name)["options"]
