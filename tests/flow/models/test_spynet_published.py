"""SPyNet from a published file: its names and shapes, and the flow that its own code computes."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from cvdl import zoo
from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.flow import SPyNet, write_flow
from cvdl.train import publish
from tests.flow.models.test_spynet import images

SIDES = (8, 32, 64, 32, 16, 2)
SPELLINGS = {
    "port": lambda k, conv: f"moduleBasic.{k}.moduleBasic.{2 * conv}",
    "port, inside": lambda k, conv: f"netBasic.{k}.netBasic.{2 * conv}",
    "BasicSR": lambda k, conv: f"basic_module.{k}.basic_module.{2 * conv}",
    "mmagic": lambda k, conv: f"basic_module.{k}.basic_module.{conv}.conv",
}


def published(spelling="port", seed=0):
    """The 60 tensors of a file, random, such that every level adds a pixel or two."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for k in range(6):
        for conv in range(5):
            shape = (SIDES[conv + 1], SIDES[conv], 7, 7)
            size = (1.0 if conv == 4 else 1.4) / (49 * SIDES[conv]) ** 0.5
            name = SPELLINGS[spelling](k, conv)
            tensors[f"{name}.weight"] = size * torch.randn(shape, generator=generator)
            tensors[f"{name}.bias"] = 0.3 * torch.randn(shape[0], generator=generator)
    return tensors


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """In torch's older format, as the port's files are."""
    path = tmp_path_factory.mktemp("published") / "network-sintel-final.pytorch"
    torch.save(published(), path, _use_new_zipfile_serialization=False)
    return path


# An independent net, written from a description of the port: nothing of cvdl, and colours come as blue, green, red.


def plain_levels(tensors, bgr1, bgr2, levels):
    """-> V_0 … V_{levels-1}, each in pixels of its own level; images at the size of the last."""
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double().view(2, 3, 1, 1)
    frames = [(bgr.flip(1) - mean) / deviation for bgr in (bgr1, bgr2)]
    flow = None
    for k in range(levels):
        step = 2 ** (levels - 1 - k)
        first, second = (F.avg_pool2d(frame, step) for frame in frames) if step > 1 else frames
        size = first.shape[-2:]
        if flow is None:
            up = first.new_zeros(len(first), 2, *size)
        else:
            up = 2 * F.interpolate(flow, size, mode="bilinear", align_corners=True)
        x = torch.cat([first, sampled(second, up), up], 1)
        for conv in range(5):
            name = f"moduleBasic.{k}.moduleBasic.{2 * conv}"
            x = F.conv2d(x, tensors[f"{name}.weight"].double(), tensors[f"{name}.bias"].double(), padding=3)
            x = x.relu() if conv < 4 else x
        flow = up + x
        yield flow


def sampled(image, flow):
    """Looked up by grid_sample, whose coordinates are -1 and 1 at the centres of the outermost pixels."""
    H, W = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(H).double(), torch.arange(W).double(), indexing="ij")
    place = torch.stack([2 * (x + flow[:, 0]) / (W - 1) - 1, 2 * (y + flow[:, 1]) / (H - 1) - 1], -1)
    return F.grid_sample(image, place, mode="bilinear", padding_mode="border", align_corners=True)


def plain(tensors, bgr1, bgr2, levels):
    """The flow at the images' size: they are resized to multiples of 32, and the flow back."""
    H, W = bgr1.shape[-2:]
    h, w = 32 * ((H + 31) // 32), 32 * ((W + 31) // 32)
    bgr1, bgr2 = (F.interpolate(bgr, (h, w), mode="bilinear", align_corners=False) for bgr in (bgr1, bgr2))
    *_, flow = plain_levels(tensors, bgr1, bgr2, levels)
    flow = F.interpolate(flow, (H, W), mode="bilinear", align_corners=False)
    return torch.stack([flow[:, 0] * W / w, flow[:, 1] * H / h], 1)


# What a file holds.


def spelled(net, spelling):
    """A network's weights under a file's names."""
    return {
        f"{SPELLINGS[spelling](k, conv)}.{part}": getattr(level[2 * conv], part).detach()
        for k, level in enumerate(net.levels)
        for conv in range(5)
        for part in ("weight", "bias")
    }


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_round_trip(tmp_path, spelling):
    tensors = published(spelling)
    assert len(tensors) == 60 and sum(tensor.numel() for tensor in tensors.values()) == 6 * 240_050
    torch.save(tensors, tmp_path / "a.pth")
    torch.save({"params": tensors}, tmp_path / "b.pth")
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    save_file(tensors, tmp_path / "d.safetensors")
    for path in tmp_path.iterdir():
        net = SPyNet.load_published(path)
        again = spelled(net, spelling)
        assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)
        assert not net.training and net.options() == {"levels": 6, "published": True}
        assert all(p.requires_grad and p.dtype == torch.float32 for p in net.parameters())


# What is computed.


@torch.no_grad()
def test_every_level_agrees_with_a_plain_one(path):
    net = SPyNet.load_published(path).double()
    image1, image2 = images(64, 96, batch=1)
    flows = net.coarse_to_fine(net.normalise(image1), net.normalise(image2), 6)
    wanted = list(plain_levels(published(), image1.flip(1), image2.flip(1), 6))
    assert [tuple(flow.shape[-2:]) for flow in flows] == [(2 * 2**k, 3 * 2**k) for k in range(6)]
    assert all(flow.norm(dim=1).mean() > 1 for flow in wanted[2:])  # there was something to enlarge and to warp by
    for flow, level in zip(flows, wanted, strict=True):
        torch.testing.assert_close(flow, level, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize(
    "height, width, levels",
    [
        (16, 16, 1),
        (32, 33, 2),
        (37, 53, 2),
        (65, 40, 3),
        (64, 130, 4),
        pytest.param(60, 530, 6, marks=pytest.mark.long),
    ],
)
def test_any_size(path, height, width, levels):
    """As many levels as leave 32 pixels or fewer to the coarsest."""
    net = SPyNet.load_published(path).double()
    image1, image2 = images(height, width, batch=1)
    flow = net(image1, image2)
    assert flow.shape == (1, 2, height, width) and flow.norm(dim=1).median() > 0.5
    wanted = plain(published(), image1.flip(1), image2.flip(1), levels)
    torch.testing.assert_close(flow, wanted, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("width, levels", [(512, 5), (513, 6), (1100, 6)])
def test_many_levels_for_large_images(path, width, levels):
    """Up to all six. Here each level notes what it is given, and adds nothing."""
    net, sizes = SPyNet.load_published(path), []

    class Noted(nn.Module):
        def forward(self, x):
            sizes.append(tuple(x.shape[-2:]))
            return torch.zeros_like(x[:, :2])

    net.levels = nn.ModuleList(Noted() for _ in net.levels)
    assert not net(*images(60, width, batch=1, dtype=torch.float32)).any()
    padded = 32 * ((width + 31) // 32)
    assert sizes == [(64 // 2**k, padded // 2**k) for k in reversed(range(levels))]


@torch.no_grad()
def test_single_precision_is_near(path):
    image1, image2 = images(40, 72, batch=1, dtype=torch.float32)
    wanted = plain(published(), image1.flip(1).double(), image2.flip(1).double(), 3)
    torch.testing.assert_close(SPyNet.load_published(path)(image1, image2), wanted.float(), rtol=0, atol=1e-4)


class Padded(SPyNet):
    """Images are padded as for all six levels, also when fewer are in use."""

    multiple = 32


@torch.no_grad()
def test_other_ways_are_told_apart(path):
    """Another order of colours, enlarging edge on edge, padding, or other levels, and the flow is another."""
    net = SPyNet.load_published(path).double()
    image1, image2 = images(40, 50, batch=1)
    wanted = plain(published(), image1.flip(1), image2.flip(1), 2)
    assert (net(image1, image2) - wanted).abs().max() < 1e-9
    assert (net(image1.flip(1), image2.flip(1)) - wanted).abs().mean() > 0.1
    flipped = SPyNet.load_published(path).double()
    for level in flipped.levels:
        level[0].weight.copy_(level[0].weight[:, [2, 1, 0, 5, 4, 3, 6, 7]])
    assert (flipped(image1, image2) - wanted).abs().mean() > 0.1
    ours = Padded(6).double().eval()
    ours.load_state_dict(net.state_dict())
    levels = ours.levels  # the same levels, padded, and enlarged edge on edge
    ours.levels, ours.active = levels[:2], 2
    assert (ours(image1, image2) - wanted).abs().mean() > 0.1
    ours.levels, ours.active = levels[:3], 3
    image1, image2 = images(64, 96, batch=1)  # nothing to pad
    assert (ours(image1, image2) - net(image1, image2)).abs().mean() > 0.1


@torch.no_grad()
@pytest.mark.parametrize("channel, colour", [(0, "red"), (1, "green"), (2, "blue")])
def test_channels_are_red_green_blue(tmp_path, channel, colour):
    """A file that only hands on one channel of frame 1, in all its layers: the flow is that colour, normalised."""
    tensors = {name: torch.zeros_like(tensor) for name, tensor in published().items()}
    for conv in range(5):
        tensors[f"moduleBasic.0.moduleBasic.{2 * conv}.weight"][0, channel if conv == 0 else 0, 3, 3] = 1
    torch.save(tensors, tmp_path / "one.pytorch")
    image = torch.tensor([0.9, 0.8, 0.7]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    flow = SPyNet.load_published(tmp_path / "one.pytorch")(image, torch.zeros_like(image))
    wanted = {"red": (0.9 - 0.485) / 0.229, "green": (0.8 - 0.456) / 0.224, "blue": (0.7 - 0.406) / 0.225}[colour]
    torch.testing.assert_close(flow[0, 0], torch.full((32, 32), wanted))
    assert not flow[0, 1].any()


def test_training_goes_on(path):
    net = SPyNet.load_published(path).train()
    flows = net(*images(64, 96, dtype=torch.float32))
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 64, 96), (2, 2, 32, 48), (2, 2, 16, 24)]
    with pytest.raises(CourseError, match="divisible by 32"):
        net(*images(64, 80, dtype=torch.float32))


# Where it is used.


@torch.no_grad()
def test_weights_of_the_course_keep_it(path, tmp_path):
    net = SPyNet.load_published(path)
    zoo.write_weights(tmp_path / "a.safetensors", net)
    assert (tmp_path / "a.safetensors").stat().st_size < publish.LARGEST
    again = zoo.load(tmp_path / "a.safetensors")
    assert again.options() == net.options()
    pair = images(40, 72, dtype=torch.float32)
    torch.testing.assert_close(again(*pair), net(*pair), rtol=0, atol=0.2)  # weights were rounded to half precision


def test_command(path, tmp_path):
    from PIL import Image

    for name in ("00000_img1.ppm", "00000_img2.ppm"):
        Image.new("RGB", (40, 32), (200, 100, 50)).save(tmp_path / name)
    write_flow(tmp_path / "00000_flow.flo", torch.zeros(2, 32, 40))
    done = CliRunner().invoke(app.app, ["eval", str(path), "--pairs", str(tmp_path), "--no-compare", "--device", "cpu"])
    assert done.exit_code == 0 and done.stdout.count("network-sintel-final") == 2, done.output
    (tmp_path / "bad.pytorch").write_bytes(b"nonsense")
    for wrong, told in (("bad.pytorch", "damaged"), ("none.pytorch", r".pytorch")):
        failed = CliRunner().invoke(app.app, ["eval", str(tmp_path / wrong), "--device", "cpu"])
        assert failed.exit_code == 1 and "Traceback" not in failed.output and told in failed.stderr


# What is no such file.


def test_absent_or_damaged(path, tmp_path):
    for absent in (tmp_path / "none.pytorch", tmp_path):
        with pytest.raises(CourseError, match="There is no file"):
            SPyNet.load_published(absent)
    torch.save(published(), tmp_path / "new.pth")
    save_file(published(), tmp_path / "new.safetensors")
    for whole in (path, tmp_path / "new.pth", tmp_path / "new.safetensors"):
        content = whole.read_bytes()
        for damaged in (b"", b"nonsense", content[:100], content[: len(content) // 2], content[:-100]):
            bad = tmp_path / f"bad{whole.suffix}"
            bad.write_bytes(damaged)
            with pytest.raises(CourseError, match="damaged"):
                SPyNet.load_published(bad)


def test_more_than_tensors(tmp_path):
    torch.save(nn.Linear(1, 1), tmp_path / "net.pth")  # a whole network: to open it would be to run it
    with pytest.raises(CourseError, match=r"more than tensors.*Fetch it again"):
        SPyNet.load_published(tmp_path / "net.pth")
    for content in ([torch.zeros(1)], {"a": 1}, {0: torch.zeros(1)}, torch.zeros(1), {"params": [1]}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(CourseError, match="tensors by name"):
            SPyNet.load_published(tmp_path / "other.pth")


FIRST, LAST = "moduleBasic.0.moduleBasic.0.weight", "moduleBasic.5.moduleBasic.8.bias"


@pytest.mark.parametrize(
    "change, told",
    [
        ({FIRST: None}, rf"60 tensors: {FIRST} is missing\. "),
        ({FIRST: None, "moduleBasic.0.moduleBasic.0.wait": torch.zeros(1)}, "wait is too many; .* is missing"),
        ({LAST: torch.zeros(3)}, rf"{LAST} is \(3,\) and not \(2,\)"),
        ({FIRST: torch.zeros(32, 8, 5, 5)}, r"is \(32, 8, 5, 5\) and not \(32, 8, 7, 7\)"),
        ({LAST: torch.tensor([0, torch.nan])}, f"{LAST} is not finite"),
        ({name: None for name in published() if name.startswith("moduleBasic.5.")}, "moduleBasic.5.*and 7 more"),
    ],
)
def test_incomplete(tmp_path, change, told):
    tensors = {name: tensor for name, tensor in (published() | change).items() if tensor is not None}
    torch.save(tensors, tmp_path / "bad.pytorch")
    with pytest.raises(CourseError, match=told):
        SPyNet.load_published(tmp_path / "bad.pytorch")


def test_other_networks(tmp_path):
    for tensors in (nn.Linear(1, 1).state_dict(), SPyNet(6).state_dict(), {}):
        torch.save(tensors, tmp_path / "other.pth")
        with pytest.raises(
            CourseError, match=rf"no published SPyNet: .*{FIRST}.*here are (weight, bias|levels|nothing)"
        ):
            SPyNet.load_published(tmp_path / "other.pth")
