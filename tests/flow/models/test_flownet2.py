"""FlowNet 2.0: what each network sees, how they are put together, who learns."""

import pytest
import torch

from cvdl import zoo
from cvdl.errors import CourseError
from cvdl.flow import (
    FlowNet2,
    FlowNet2CS,
    FlowNet2CSS,
    FlowNet2SD,
    FlowNet2SS,
    FlowNetC,
    FlowNetS,
    FlowNetStack,
    fusion_input,
    stack_input,
)
from cvdl.flow.losses import multiscale_epe
from cvdl.flow.models.base import count
from cvdl.flow.models.flownet2 import Fusion
from cvdl.flow.models.ported import published_name
from tests.flow import smooth
from tests.flow.models import ports
from tests.flow.models.test_flownet import four_times, images

WIDTH = 1 / 16
NETS = {
    "CS": lambda: FlowNet2CS(WIDTH),
    "SS": lambda: FlowNet2SS(WIDTH),
    "SSS without warping": lambda: FlowNetStack("sss", WIDTH, warping=False),
    "SD": lambda: FlowNet2SD(WIDTH),
    "FlowNet2": lambda: FlowNet2(WIDTH),
}


def build(name):
    torch.manual_seed(1)
    return NETS[name]().double()


@pytest.mark.parametrize(
    "build, parameters",
    [
        (FlowNet2SD, 45_371_666),
        (lambda: Fusion(int), 581_226),
        (FlowNet2CS, 77_870_620),
        (FlowNet2CSS, 116_565_942),
        (FlowNet2, 162_518_834),
        (FlowNet2SS, 10_932_388),
        (lambda: FlowNetStack("ss", warping=False), 38_676_506 + 38_676_506 + 64 * 49 * 2),  # 8 channels instead of 6
        (lambda: FlowNetStack("c"), 39_175_298),
    ],
)
def test_sizes(build, parameters):
    with torch.device("meta"):
        net = build()
    assert count(net) == parameters
    assert all(p.requires_grad for p in net.parameters())


def test_thin_css_is_a_c_and_two_s():
    """The paper's small networks have 3/8 of the channels: 24 48 96 192 192 384."""
    with torch.device("meta"):
        thin, net = FlowNet2CSS(3 / 8), FlowNetC(3 / 8)
    assert count(thin) == count(net) + 2 * 5_469_722
    for part, inside in zip(thin.nets, (3, 12, 12), strict=True):
        layers = [part.conv1, part.conv2, part.conv3, part.conv4, part.conv5, part.conv6]
        assert [layer[0].out_channels for layer in layers] == [24, 48, 96, 192, 192, 384]
        assert layers[0][0].in_channels == inside


# What a network sees.


def test_stack_input_by_hand():
    """A row of four pixels that moves by one to the right, and a flow that says so, but for the last pixel."""
    image1 = torch.tensor([1.0, 2, 3, 4]).expand(1, 3, 1, 4) * torch.tensor([1.0, 10, 100]).view(1, 3, 1, 1)
    image2 = image1.roll(1, -1)  # 4 1 2 3
    flow = torch.zeros(1, 2, 1, 4)
    flow[:, 0, :, :3] = 1
    seen = stack_input(image1, image2, flow)
    assert seen.shape == (1, 12, 1, 4)
    warped = torch.tensor([1.0, 2, 3, 3])
    assert torch.equal(seen[:, :3], image1) and torch.equal(seen[:, 3:6], image2)
    assert torch.equal(seen[0, 6, 0], warped) and torch.equal(seen[0, 8, 0], 100 * warped)
    torch.testing.assert_close(seen[0, 9, 0], torch.tensor([0.05, 0.05, 0.05, 0]))
    assert not seen[0, 10].any()
    torch.testing.assert_close(seen[0, 11, 0], torch.tensor([0, 0, 0, (1 + 10**2 + 100**2) ** 0.5]))


def test_fusion_input_by_hand():
    image1, image2 = (torch.full((1, 3, 2, 5), value) for value in (0.5, 0.5))
    image2[..., 4] = 0.7  # the last column is brighter: whoever looks there is .2 · √3 off
    flow = torch.tensor([4.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 2, 5)
    small = torch.tensor([0.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 5)
    seen = fusion_input(image1, image2, flow, small)
    assert seen.shape == (1, 11, 2, 5)
    assert torch.equal(seen[:, :3], image1) and torch.equal(seen[:, 3:5], small) and torch.equal(seen[:, 5:7], flow)
    assert torch.equal(seen[:, 7:9, 0, 0], torch.tensor([[1.0, 5.0]]))
    off = 0.2 * 3**0.5
    torch.testing.assert_close(seen[0, 9], torch.tensor([0, 0, 0, 0, off]).expand(2, 5))
    torch.testing.assert_close(seen[0, 10], torch.tensor([off] * 5).expand(2, 5))


def test_bad_flows_say_what_to_do():
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match=r"image2 and flow have to agree.*\(1, 2, 4, 4\)"):
        stack_input(image, image, torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        fusion_input(image, image, torch.full((1, 2, 8, 8), torch.inf), torch.zeros(1, 2, 8, 8))


# How they are put together.


def after_one_another(net, image1, image2):
    """A stack, written out -> the finest flow of each of its nets."""
    mean = torch.tensor([0.45, 0.432, 0.411]).double().view(3, 1, 1)
    first, second = image1 - mean, image2 - mean
    x, found = torch.cat([first, second], 1), []
    for k, part in enumerate(net.nets):
        tensors = {name.removeprefix("refinement."): tensor for name, tensor in part.state_dict().items()}
        found.append(20 * ports.compute("C" if isinstance(part, FlowNetC) else "S", tensors, x)[0])
        flow = four_times(four_times(found[k], 2), 3)
        warped = ports.looked_up(second, flow)
        more = [warped, flow / 20, ports.length(first - warped)] if net.warping else [flow / 20]
        x = torch.cat([first, second, *more], 1)
    return found


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in NETS if "S" in name and name != "SD"])
def test_stacks_agree_with_plain_ones(name):
    net, (image1, image2) = build(name), images(64, 128)
    wanted = after_one_another(net, image1, image2)
    assert all(flow.norm(dim=1).median() > 0.5 for flow in wanted)
    flows = net(image1, image2)
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 64 // 2**k, 128 // 2**k) for k in range(2, 7)]
    torch.testing.assert_close(flows[0], wanted[-1], rtol=0, atol=1e-8)
    each = net.eval().flow_of_each(image1, image2)
    assert len(each) == len(net.nets)
    for flow, other in zip(each, wanted, strict=True):
        torch.testing.assert_close(flow, four_times(four_times(other, 2), 3), rtol=0, atol=1e-8)
    torch.testing.assert_close(net(image1, image2), each[-1], rtol=0, atol=1e-12)


@torch.no_grad()
def test_flow_of_each_at_an_odd_size():
    net, pair = build("CS").eval(), images(37, 53)
    first, last = net.flow_of_each(*pair)
    assert first.shape == last.shape == (2, 2, 37, 53)
    torch.testing.assert_close(last, net(*pair), rtol=0, atol=1e-12)
    assert (first - last).abs().max() > 0.1


@torch.no_grad()
def test_fusion_is_of_both_flows():
    net, (image1, image2) = build("FlowNet2"), images(64, 128)
    flow, small = (
        each(image1, image2)[0].repeat_interleave(4, 2).repeat_interleave(4, 3) for each in (net.stack, net.small)
    )
    mean = net.mean
    seen = fusion_input(image1 - mean, image2 - mean, flow, small)
    tensors = {published_name(name): tensor for name, tensor in net.fusion.state_dict().items()}
    flows = net(image1, image2)
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 64 // k, 128 // k) for k in (1, 2, 4)]
    for fused, wanted in zip(flows, ports.compute("fusion", tensors, seen), strict=True):
        torch.testing.assert_close(fused, wanted, rtol=0, atol=1e-8)


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_eval_mode_at_any_size(name):
    """Padded on the right and below, by what stands at the border."""
    net = build(name).eval()
    for height, width in ((16, 16), (37, 53), (64, 70)):
        image1, image2 = images(height, width)
        flow = net(image1, image2)
        assert flow.shape == (2, 2, height, width) and flow.isfinite().all()
        H, W = height + -height % 64, width + -width % 64
        rows, columns = torch.arange(H).clamp(max=height - 1), torch.arange(W).clamp(max=width - 1)
        whole = net(*(image[:, :, rows][..., columns] for image in (image1, image2)))
        torch.testing.assert_close(flow, whole[..., :height, :width], rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="16 × 16 pixels or more"):
        net(image1[..., :8], image2[..., :8])
    with pytest.raises(ValueError, match=f"{type(net).__name__} needs sides divisible by 64"):
        net.train()(image1, image2)


@torch.no_grad()
def test_half_the_width_in_single_precision():
    """As it runs in training: quick enough, finite, and a loss goes through."""
    net = FlowNet2SS(3 / 16)
    flows = net(*images(64, 64, dtype=torch.float32))
    loss = multiscale_epe(flows, smooth(2, 2, 64, 64, size=5.0))
    assert flows[0].dtype == torch.float32 and loss.isfinite() and loss > 0


@torch.no_grad()
@pytest.mark.parametrize("options", [{"warping": False}, {"last": "nearest"}, {"mean_of": "pair"}])
def test_options_count_and_build_it_again(tmp_path, options):
    torch.manual_seed(0)
    net, pair = FlowNetStack("ss", WIDTH, **options).eval(), images(64, 64, dtype=torch.float32)
    assert net.options() == {"nets": "ss", "width": WIDTH} | options
    again = FlowNetStack(**net.options()).eval()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(*pair), net(*pair))
    zoo.write_weights(tmp_path / "a.safetensors", net)
    assert zoo.load(tmp_path / "a.safetensors").options() == net.options()
    if options != {"warping": False}:  # that one has other weights
        usual = FlowNetStack("ss", WIDTH).eval()
        usual.load_state_dict(net.state_dict())
        assert (usual(*pair) - net(*pair)).abs().max() > 0.01


@pytest.mark.parametrize("net", [FlowNet2(WIDTH, mean_of="pair", small_unit=0.05), FlowNet2SD(WIDTH, unit=0.05)])
def test_the_zoo_builds_them_again(tmp_path, net):
    zoo.write_weights(tmp_path / "a.safetensors", net)
    again = zoo.load(tmp_path / "a.safetensors")
    assert type(again) is type(net) and again.options() == net.options() != type(net)(WIDTH).options()


# Who learns.


@pytest.mark.parametrize("name", NETS)
def test_gradients_reach_every_parameter(name):
    """Through the warping, too, into the earlier networks."""
    net = build(name)
    sum(flow.square().mean() for flow in net(*images(64, 64))).backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_frozen_networks_are_not_recorded():
    """Their flows have no graph behind them, as under no_grad, and get no gradient; the last network has all of its own."""
    net, pair = build("SSS without warping"), images(64, 64)
    net.nets[:-1].requires_grad_(False)
    before = [p.clone() for p in net.nets[:-1].parameters()]
    first, second, last = (flows[0] for flows in net.each(net.stacked(*pair)))
    assert not first.requires_grad and not second.requires_grad and last.requires_grad
    with torch.no_grad():
        wanted = net(*pair)
    flows = net(*pair)
    assert all(torch.equal(a, b) for a, b in zip(flows, wanted, strict=True))
    sum(flow.square().mean() for flow in flows).backward()
    assert all(p.grad is None for p in net.nets[:-1].parameters())
    assert all(p.grad.any() for p in net.nets[-1].parameters())
    torch.optim.Adam(net.parameters(), weight_decay=0.1).step()
    assert all(torch.equal(p, old) for p, old in zip(net.nets[:-1].parameters(), before, strict=True))


def test_frozen_parts_of_flownet2():
    net, pair = build("FlowNet2"), images(64, 64)
    net.stack.requires_grad_(False)
    net.small.requires_grad_(False)
    sum(flow.square().mean() for flow in net(*pair)).backward()
    assert all((p.grad is not None) == name.startswith("fusion") for name, p in net.named_parameters())


def test_weights_of_a_first_network_go_into_a_stack():
    """As training does it: the flow of the first one is that of the network it came from."""
    torch.manual_seed(2)
    alone, net, pair = FlowNetS(WIDTH).double().eval(), build("SS").eval(), images(64, 64)
    net.nets[0].load_state_dict(alone.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(net.flow_of_each(*pair)[0], alone(*pair), rtol=0, atol=1e-12)


def test_bad_options_say_what_to_do():
    for nets in ("", "sc", "x", "cc", None, ["c", "s"]):
        with pytest.raises(CourseError, match="it has to be a word of c and s"):
            FlowNetStack(nets)
    with pytest.raises(CourseError, match='last has to be "bilinear" or "nearest"'):
        FlowNetStack("s", WIDTH, last="cubic")
    with pytest.raises(CourseError, match="width is 5"):
        FlowNet2(5)
