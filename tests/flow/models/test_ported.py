"""Published FlowNets: names and shapes of their files, and the flow that their own codes compute."""

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from cvdl import zoo
from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.flow import (
    FlowNet2,
    FlowNet2CS,
    FlowNet2CSS,
    FlowNet2SD,
    FlowNet2SS,
    FlowNetC,
    FlowNetS,
    SPyNet,
    load_published,
    write_flow,
)
from cvdl.flow.models import ported
from cvdl.flow.models.published import read_checkpoint
from tests.flow.models import ports
from tests.flow.models.test_flownet import images

WIDTH = 1 / 16
ALONE = {"S": FlowNetS, "C": FlowNetC, "SD": FlowNet2SD}
STACKS = {"FlowNet2CS": FlowNet2CS, "FlowNet2CSS": FlowNet2CSS, "FlowNet2": FlowNet2}
NETS = ALONE | STACKS
CASES = [("pinard", "S"), ("pinard", "C"), *(("nvidia", kind) for kind in NETS)]


def saved(tmp_path, tensors, name="a.pth.tar", **notes):
    torch.save({"state_dict": tensors, "epoch": 3} | notes, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    "code, kind, parameters",
    [
        ("pinard", "S", 38_675_536),
        ("pinard", "C", 39_174_320),
        ("nvidia", "S", 38_676_506),
        ("nvidia", "C", 39_175_298),
        ("nvidia", "SD", 45_371_666),
        ("nvidia", "FlowNet2CS", 77_870_620),
        ("nvidia", "FlowNet2CSS", 116_565_942),
        ("nvidia", "FlowNet2", 162_518_834),
    ],
)
def test_files_as_their_codes_count_them(code, kind, parameters):
    shapes = ports.shapes(kind, code)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == parameters
    with torch.device("meta"):
        net = NETS[kind]()
    ours = {ported.published_name(name): tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    assert {name: ours[name] for name in shapes} == shapes
    missing = ours.keys() - shapes.keys()
    assert all(name.endswith("bias") and ported.UNBIASED.fullmatch(name) for name in missing)
    assert bool(missing) == (code == "pinard")


@pytest.mark.parametrize("code, kind", CASES)
def test_round_trip(tmp_path, code, kind):
    """Every tensor of the file is in the network, as it was, and what is more there is zero."""
    tensors = ports.random_file(kind, code, WIDTH)
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    for path in (tmp_path / "a.safetensors", tmp_path / "b.pth", saved(tmp_path, tensors)):
        net = load_published(NETS[kind](WIDTH), path)
        assert not net.training and all(p.requires_grad and p.dtype == torch.float32 for p in net.parameters())
        state = {ported.published_name(name): tensor for name, tensor in net.state_dict().items()}
        assert all(torch.equal(state.pop(name), tensor) for name, tensor in tensors.items())
        assert not any(tensor.any() for tensor in state.values())


@torch.no_grad()
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("code, kind", [case for case in CASES if case[1] in ALONE])
def test_every_layer_agrees_with_a_plain_one(tmp_path, code, kind, batch_norm):
    tensors = ports.random_file(kind, code, WIDTH, batch_norm=batch_norm)
    net = load_published(ALONE[kind](WIDTH), saved(tmp_path, tensors)).double().train()
    seen, wanted = {}, {}
    for name, layer in net.named_children():
        if name.startswith("conv"):
            seen[name] = []
            layer.register_forward_hook(lambda _, __, out, name=name: seen[name].append(out))
    image1, image2 = images(64, 128)
    flows = net(image1, image2)
    plain = getattr(ports, code)(kind, tensors, image1, image2, wanted)
    tolerance = {"rtol": 0, "atol": 1e-4 if batch_norm else 1e-9}  # folded weights are rounded to single precision
    assert seen.keys() == wanted.keys() and len(flows) == len(plain) == 5
    for name in seen:
        assert wanted[name].std() > 0.01
        torch.testing.assert_close(seen[name][0], wanted[name], **tolerance)  # of frame 1, where both frames are seen
    for flow, other in zip(flows, plain, strict=True):
        assert other.std() > 0.1
        torch.testing.assert_close(flow, other, rtol=0, atol=10 * tolerance["atol"])


@torch.no_grad()
@pytest.mark.parametrize("kind", STACKS)
def test_stacks_agree_with_plain_ones(tmp_path, kind):
    tensors = ports.random_file(kind, "nvidia", WIDTH)
    net = load_published(STACKS[kind](WIDTH), saved(tmp_path, tensors)).double()
    image1, image2 = images(64, 128)
    wanted = ports.nvidia(kind, tensors, image1, image2)
    assert wanted.shape == (2, 2, 64, 128) and wanted.norm(dim=1).median() > 1
    torch.testing.assert_close(net(image1, image2), wanted, rtol=0, atol=1e-9)


@torch.no_grad()
def test_what_the_codes_do_otherwise_is_told_apart(tmp_path):
    """Each setting that loading makes counts: with ours in its place, the flow is another."""
    image1, image2 = images(64, 64)
    for kind, change in (
        ("S", {"mean_of": "photos"}),
        ("FlowNet2CSS", {"mean_of": "photos"}),
        ("FlowNet2CSS", {"last": "bilinear"}),
        ("FlowNet2", {"mean_of": "photos"}),
        ("FlowNet2", {"small_unit": 20.0}),
    ):
        path = saved(tmp_path, ports.random_file(kind, "nvidia", WIDTH))
        net = load_published(NETS[kind](WIDTH), path).double()
        options = net.options()
        options.pop("nets", None)  # the class says it
        assert options | change != options
        other = NETS[kind](**options | change).double().eval()
        other.load_state_dict(net.state_dict())
        assert (net(image1, image2) - other(image1, image2)).abs().mean() > 0.01, change


@torch.no_grad()
def test_one_set_of_weights_of_either_code(tmp_path):
    """Loading the second file undoes what the first one set."""
    net, (image1, image2) = FlowNetS(WIDTH), images(64, 64)
    for code in ("nvidia", "pinard", "nvidia"):
        tensors = ports.random_file("S", code, WIDTH)
        load_published(net, saved(tmp_path, tensors))
        wanted = getattr(ports, code)("S", tensors, image1, image2)[0]
        torch.testing.assert_close(net.double().train()(image1, image2)[0], wanted, rtol=0, atol=1e-9)
        net.float()


@torch.no_grad()
@pytest.mark.parametrize("div_flow", [1, 20.0, "5"])
def test_another_unit(tmp_path, div_flow):
    tensors = ports.random_file("C", "pinard", WIDTH)
    net = load_published(FlowNetC(WIDTH), saved(tmp_path, tensors, div_flow=div_flow)).double().train()
    image1, image2 = images(64, 64)
    wanted = ports.pinard("C", tensors, image1, image2, div_flow=float(div_flow))
    for flow, other in zip(net(image1, image2), wanted, strict=True):
        torch.testing.assert_close(flow, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["S", "C"])
def test_weights_that_want_blue_first(tmp_path, kind):
    tensors = ports.random_file(kind, "pinard", WIDTH)
    net = load_published(ALONE[kind](WIDTH), saved(tmp_path, tensors), blue_first=True).double().train()
    image1, image2 = images(64, 64)
    wanted = ports.pinard(kind, tensors, image1.flip(1), image2.flip(1), mean=(0.411, 0.432, 0.45))
    torch.testing.assert_close(net(image1, image2)[0], wanted[0], rtol=0, atol=1e-9)
    turned = ports.pinard(kind, tensors, image1, image2)
    assert (turned[0] - wanted[0]).abs().mean() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("kind", NETS)
def test_weights_of_the_course_keep_it(tmp_path, kind):
    net = load_published(NETS[kind](WIDTH), saved(tmp_path, ports.random_file(kind, "nvidia", WIDTH)))
    zoo.write_weights(tmp_path / "a.safetensors", net)
    again = zoo.load(tmp_path / "a.safetensors")
    assert again.options() == net.options() and "mean_of" in net.options() and type(again) is type(net)
    pair = images(40, 72, dtype=torch.float32)
    flow = net(*pair)
    assert (again(*pair) - flow).abs().max() < 0.1 * flow.abs().max()  # weights were rounded to half precision


# Which network a file holds.


@pytest.fixture
def thin(monkeypatch):
    """Networks as files hold them here, a 16th as wide."""
    monkeypatch.setattr(ported, "MARKS", [(mark, partial(build, WIDTH)) for mark, build in ported.MARKS])


@pytest.mark.parametrize("code, kind", CASES)
def test_files_are_recognised(thin, tmp_path, code, kind):
    path = saved(tmp_path, ports.random_file(kind, code, WIDTH), best_EPE=np.float64(1.951), arch="flownets")
    net = zoo.load(path)
    expected = load_published(NETS[kind](WIDTH), path)
    assert type(net) is type(expected) and net.options() == expected.options() and not net.training
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), expected.parameters(), strict=True))


def test_numbers_of_numpy_stand_beside_the_weights(tmp_path):
    """As NumPy 1 and 2 write them; anything that could run is still refused."""
    torch.save(
        {"state_dict": {"a": torch.ones(2)}, "best_EPE": np.float64(1.951)},
        tmp_path / "2.pth",
        _use_new_zipfile_serialization=False,
    )
    content = (tmp_path / "2.pth").read_bytes()
    assert b"numpy._core.multiarray" in content or b"numpy.core.multiarray" in content
    for core, other in ((b"_core", b"core"), (b"core", b"_core")):
        renamed = content.replace(b"cnumpy." + core + b".multiarray", b"cnumpy." + other + b".multiarray")
        (tmp_path / "1.pth").write_bytes(renamed)
        tensors, notes = read_checkpoint(tmp_path / "1.pth")
        assert list(tensors) == ["a"] and notes == {"best_EPE": 1.951}
    (tmp_path / "1.pth").write_bytes(content.replace(b"multiarray\nscalar", b"multiarray\nfromfile"))
    with pytest.raises(CourseError, match="more than tensors"):
        read_checkpoint(tmp_path / "1.pth")


def test_command(thin, tmp_path):
    from PIL import Image

    path = saved(tmp_path, ports.random_file("S", "pinard", WIDTH), "flownets.pth")
    for name in ("00000_img1.ppm", "00000_img2.ppm"):
        Image.new("RGB", (40, 32), (200, 100, 50)).save(tmp_path / name)
    write_flow(tmp_path / "00000_flow.flo", torch.zeros(2, 32, 40))
    done = CliRunner().invoke(app.app, ["eval", str(path), "--pairs", str(tmp_path), "--no-compare", "--device", "cpu"])
    assert done.exit_code == 0 and done.stdout.count("flownets") == 2, done.output
    path.write_bytes(path.read_bytes()[:1000])
    failed = CliRunner().invoke(app.app, ["eval", str(path), "--device", "cpu"])
    assert failed.exit_code == 1 and "Traceback" not in failed.output and "damaged" in failed.stderr


# What is no such file.


@pytest.mark.parametrize(
    "code, change, told",
    [
        ("pinard", {"conv1.0.weight": None}, r"conv1\.0\.weight is missing"),
        ("nvidia", {"predict_flow5.bias": None}, r"predict_flow5\.bias is missing"),
        ("pinard", {"predict_flow5.bias": torch.zeros(2)}, r"deconv2\.0\.bias is missing"),
        ("nvidia", {"conv7.0.weight": torch.zeros(1)}, r"conv7\.0\.weight is too many"),
        ("nvidia", {"conv1.0.weight": torch.zeros(4, 12, 7, 7)}, r"is \(4, 12, 7, 7\) and not \(4, 6, 7, 7\)"),
        ("pinard", {"conv2.0.bias": torch.full((8,), torch.nan)}, r"conv2\.0\.bias is not finite"),
        ("pinard", {"conv2.1.running_mean": torch.zeros(8)}, r"conv2\.1\.running_mean is too many"),
    ],
)
def test_incomplete(tmp_path, code, change, told):
    tensors = ports.random_file("S", code, WIDTH) | change
    path = saved(tmp_path, {name: tensor for name, tensor in tensors.items() if tensor is not None})
    net = FlowNetS(WIDTH, mean_of="pair").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(CourseError, match=told):
        load_published(net, path)
    assert net.training and net.mean_of == "pair"
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_incomplete_batch_norm(tmp_path):
    for name, tensor in (("conv3.1.running_var", None), ("conv3.1.weight", torch.ones(3))):
        tensors = ports.random_file("S", "pinard", WIDTH, batch_norm=True) | {name: tensor}
        path = saved(tmp_path, {name: tensor for name, tensor in tensors.items() if tensor is not None})
        with pytest.raises(CourseError, match=r"conv3\.0\.bias is missing; conv3\.1\.bias is too many"):
            load_published(FlowNetS(WIDTH), path)
    tensors = ports.random_file("S", "pinard", WIDTH, batch_norm=True) | {"conv3.1.running_var": -torch.ones(16)}
    with pytest.raises(CourseError, match=r"conv3\.0\.bias is not finite"):
        load_published(FlowNetS(WIDTH), saved(tmp_path, tensors))


def test_another_networks_file(tmp_path):
    path = saved(tmp_path, ports.random_file("C", "nvidia", WIDTH))
    with pytest.raises(CourseError, match=r"no complete FlowNetS.*conv_redir\.0\.bias is too many"):
        load_published(FlowNetS(WIDTH), path)
    with pytest.raises(
        CourseError, match=r"no published FlowNet2: .* flownetc\.conv1\.0\.weight and so on; here are conv1"
    ):
        load_published(FlowNet2(WIDTH), path)
    path = saved(tmp_path, ports.random_file("FlowNet2CSS", "nvidia", WIDTH))
    with pytest.raises(CourseError, match=r"flownets_2\.conv1\.0\.bias is too many"):
        load_published(FlowNet2CS(WIDTH), path)
    with pytest.raises(CourseError, match=r"weight is .*12, 7, 7.* and not .*8, 7, 7"):
        load_published(FlowNet2CSS(WIDTH, warping=False), path)


def test_networks_that_nobody_published(tmp_path):
    path = saved(tmp_path, ports.random_file("S", "nvidia", WIDTH))
    for net in (FlowNet2SS(WIDTH), SPyNet(2), nn.Linear(1, 1)):
        with pytest.raises(CourseError, match=rf"no published weights for {type(net).__name__}"):
            load_published(net, path)
    with pytest.raises(CourseError, match="blue_first is for"):
        load_published(FlowNet2SD(WIDTH), path, blue_first=True)
    path = saved(tmp_path, ports.random_file("S", "pinard", WIDTH), div_flow="many")
    with pytest.raises(CourseError, match="div_flow of 'many'"):
        load_published(FlowNetS(WIDTH), path)
    with pytest.raises(CourseError, match="There is no file"):
        load_published(FlowNetS(WIDTH), tmp_path / "none.pth")
