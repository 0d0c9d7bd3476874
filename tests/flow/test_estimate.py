"""`cvdl.flow.compute` and `cvdl flow`: any kind of images in, flow, images and clips out."""

import doctest

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import cvdl.flow
from cvdl import zoo
from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.flow import compute, estimate, flow_to_image, read_flow

H, W = 37, 51


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with a network that is small and random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    zoo.write_weights(path, cvdl.flow.SPyNet(2))
    return path


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)


@pytest.fixture
def images(tmp_path):
    for seed, name in enumerate("abcd"):
        Image.fromarray(pixels(seed)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def run(weights):
    def cvdl_flow(*arguments):
        arguments = ["flow", *map(str, arguments), "--network", str(weights), "--device", "cpu"]
        return CliRunner().invoke(app.app, arguments)

    return cvdl_flow


# In Python.


def test_every_kind_of_image(images, weights):
    a, b = pixels(0), pixels(1)
    net = zoo.load(weights)
    with torch.no_grad():
        wanted = net(*(torch.from_numpy(each).permute(2, 0, 1)[None] / 255 for each in (a, b)))[0]
    tensor = torch.from_numpy(a).permute(2, 0, 1)
    for first in (
        images / "a.png",
        str(images / "a.png"),
        Image.fromarray(a),
        a,
        (a / 255).astype(np.float64),
        np.dstack([a, a[..., 0]]),  # transparency is ignored
        a.astype(np.uint16) * 257,
        a[:, ::-1][:, ::-1],  # negative strides
        tensor,
        tensor[None] / 255,
        (tensor / 255).requires_grad_(),
    ):
        flow = compute(first, b, weights)
        assert flow.dtype == torch.float32 and flow.shape == (2, H, W) and not flow.requires_grad
        torch.testing.assert_close(flow, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(compute(a, b, net), wanted)
    grey = compute(a[..., 0], b[..., 0], net)
    assert torch.equal(grey, compute(np.dstack([a[..., 0]] * 3), np.dstack([b[..., 0]] * 3), net))
    assert net.training is False


@pytest.mark.parametrize(
    "first, told",
    [
        (pixels(0).transpose(2, 0, 1), r"image1 is an array \(3, 37, 51\).*transpose\(1, 2, 0\)"),
        (torch.from_numpy(pixels(0)), r"image1 is a tensor \(37, 51, 3\).*permute\(2, 0, 1\)"),
        (torch.zeros(2, 3, H, W), "as a batch"),
        (torch.zeros(3, H, W, dtype=torch.int32), "holds torch.int32"),
        (pixels(0).astype(np.int64), "holds torch.int64"),
        (255 * torch.rand(3, H, W), r"values in \[0, 1\]"),
        (torch.zeros(3, 40, W), "same size; image1 has 51 × 40 pixels and image2 51 × 37"),
        ("nothing.png", "nothing.png does not exist"),
        (7, "image1 is int; a path, a PIL image"),
    ],
)
def test_what_is_no_image(weights, first, told):
    with pytest.raises(CourseError, match=told):
        compute(first, pixels(1), weights)


def test_other_networks():
    with pytest.raises(CourseError, match="recognises gestures"):
        compute(pixels(0), pixels(1), "gesture")
    with pytest.raises(CourseError, match="Did you mean spynet"):
        compute(pixels(0), pixels(1), "spynt")
    with pytest.raises(CourseError, match="16 × 16 pixels or more"):
        compute(pixels(0)[:8, :8], pixels(1)[:8, :8])


def test_example():
    assert doctest.testmod(estimate).failed == 0
    assert cvdl.flow.compute is estimate.compute


# On the command line.


def test_two_images(images, run, weights):
    outs = [images / f"out{ending}" for ending in (".flo", ".pfm", ".png", ".jpg", ".gif")]
    done = run(images / "a.png", images / "b.png", *(part for out in outs for part in ("--out", out)))
    assert done.exit_code == 0, done.output
    assert all(f"{out}: " in done.stdout for out in outs) and "mean displacement" in done.stdout
    flow = compute(images / "a.png", images / "b.png", weights)
    for out in outs[:2]:
        read, valid = read_flow(out)
        assert torch.equal(read, flow) and valid.all()
    shown = torch.from_numpy(np.array(Image.open(outs[2]))).permute(2, 0, 1)
    assert torch.equal(shown, (255 * flow_to_image(flow)).round().byte())
    assert Image.open(outs[3]).size == Image.open(outs[4]).size == (W, H)
    assert not list(images.glob(".*"))  # nothing half written


def test_kittis_format(images, run, weights):
    done = run(images / "a.png", images / "b.png", "--out", images / "k.png", "--format", "kitti")
    assert done.exit_code == 0, done.output
    flow, valid = read_flow(images / "k.png")
    assert valid.all() and (flow - compute(images / "a.png", images / "b.png", weights)).abs().max() <= 1 / 128


@pytest.mark.parametrize("kind, ending", [(None, ".flo"), ("pfm", ".pfm"), ("kitti", ".png"), ("image", ".png")])
def test_a_folder(images, run, tmp_path_factory, kind, ending):
    out = tmp_path_factory.mktemp("out") / "new"
    done = run(images, "--out", out, *(["--format", kind] if kind else []))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == [f"{name}{ending}" for name in "abc"]
    assert f"{out}: 3 flow files" in done.stdout


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_a_clip(images, run, ending):
    pytest.importorskip("av", reason="PyAV, of the extra [data], reads videos")
    done = run(images, "--out", images / f"drawn{ending}")
    assert done.exit_code == 0 and "3 frames" in done.stdout, done.output
    again = run(images / f"drawn{ending}", "--out", images / f"again{ending}", "--out", images / "flows")
    assert again.exit_code == 0, again.output
    assert "2 frames" in again.stdout and len(list((images / "flows").iterdir())) == 2
    from cvdl.flow.data.real import open_pairs

    clip = open_pairs(images / f"drawn{ending}")
    size = (H, W) if ending == ".gif" else (H + 1, W + 1)  # videos have even sides
    assert clip.rate == pytest.approx(10) and clip[0].image1.shape == (3, *size)
    first = torch.from_numpy(pixels(0)).permute(2, 0, 1) / 255
    assert (clip[0].image1[:, :H, :W] - first).abs().mean() < 0.4


def test_an_image_stays_visible_where_nothing_moves():
    from cvdl.flow.clips import overlay

    image, flow = torch.rand(3, H, W), torch.zeros(2, H, W)
    flow[0, :, 25:] = 4
    drawn = torch.from_numpy(overlay(image, flow, 4.0)).permute(2, 0, 1) / 255
    assert (drawn - image)[..., :25].abs().max() < 0.01
    assert (drawn - flow_to_image(flow, 4.0))[..., 25:].abs().max() < 0.2


def test_a_pair_that_cannot_be_read_does_not_lose_the_others(images, run):
    (images / "b.png").write_bytes(b"nonsense")
    done = run(images, "--out", images / "flows")
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert done.stderr.count("b.png cannot be read as a picture") == 2 and "2 pairs were left out" in done.stderr
    assert [path.name for path in (images / "flows").iterdir()] == ["c.flo"]
    (images / "c.png").write_bytes(b"nonsense")
    done = run(images, "--out", images / "flows2")
    assert done.exit_code == 1 and not (images / "flows2").exists() and done.stdout == ""
    assert "None of the 3 pairs in" in done.stderr and "could be used, as reported above." in done.stderr


@pytest.mark.parametrize(
    "content, told",
    [
        (b"", "cannot be read as a picture: it is empty."),
        (b"<html>\n<body>", "cannot be read as a picture: it begins with text, '<html>'."),
        ("wörter und noch ein paar Wörter, lang genug".encode(), "it begins with text, 'wörter"),
        (b"PIEH\x01\x00\x00\x00\x01\x00\x00\x00", "cannot be read as a picture: it is a flow"),
        (b"\x00\x01\x02\xff", "cannot be read as a picture: it is of no kind that Pillow knows."),
        ((1, 1), "Images must have 16 × 16 pixels or more; these have 1 × 1."),
        ((52, 37), "37 and 52 × 37 pixels. Scale or crop one of them to the size of the other."),
    ],
)
def test_what_is_wrong_with_the_only_pair_is_told_once(images, run, content, told):
    for name in ("a.png", "b.png") if content == (1, 1) else ("b.png",):
        if isinstance(content, bytes):
            (images / name).write_bytes(content)
        else:
            Image.new("RGB", content).save(images / name)
    done = run(images / "a.png", images / "b.png", "--out", images / "x.flo")
    assert done.exit_code == 1 and "Traceback" not in done.output and done.stdout == ""
    assert done.stderr.count(told) == 1 and "Left out" not in done.stderr, done.stderr
    assert not (images / "x.flo").exists()


def test_a_clip_of_frames_of_other_sizes(images, run):
    for name in "ef":
        Image.fromarray(pixels(9)[:20, :30]).save(images / f"{name}.png")
    (images / "d.png").unlink()
    done = run(images, "--out", images / "drawn.gif")
    assert done.exit_code == 1 and "2 frames" in done.stdout
    assert "Pair e: It has 30 × 20 pixels, but the clip has 51 × 37" in done.stderr
    assert "c.png and" in done.stderr  # c and e are no pair


@pytest.mark.parametrize(
    "arguments, told",
    [
        (("a.png", "--out", "x.flo"), "a.png is only one image"),
        (("a.png", "b.png"), "Name the output: --out FILE"),
        (("a.png", "b.png", "--out", "x.xyz"), "x.xyz is not one that can be written"),
        (("a.png", "b.png", "--out", "no/x.flo"), "There is no folder"),
        (
            ("a.png", "b.png", "--out", "x.flo", "--format", "pfm"),
            "cannot be written in the format pfm, whose files end in .pfm",
        ),
        (("a.png", "b.png", "--out", "x.png", "--format", "clip"), "There is no format 'clip'"),
        (("a.png", "b.png", "--out", "b.png"), "is also the input"),
        (("a.png", "z.png", "--out", "x.flo"), "There is no file"),
        (
            ("empty/known.flo", "--out", "x.flo"),
            "known.flo is a flow, not an image. Name two",
        ),
        (("a.png", "empty/known.flo", "--out", "x.flo"), "known.flo is a flow"),
        (("a.png", ".", "--out", "x.flo"), "is a folder, but two inputs must both be images"),
        (("a.png", "clip.mp4", "--out", "x.flo"), "is a video, but two inputs must both be images"),
        (("a.png", "b.png", "c.png", "--out", "x.flo"), "There are 3 inputs"),
        ((".", "--out", "x.flo"), "is a single file, but there may be several pairs"),
        (("nowhere", "--out", "x.flo"), "There is no file or folder"),
        (("empty", "--out", "out"), "contains no pair of pictures"),
    ],
)
def test_what_cannot_be_done_is_told_first(images, run, arguments, told):
    (images / "empty").mkdir()
    if "empty/known.flo" in arguments:
        (images / "empty/known.flo").write_bytes(b"PIEH")
    paths = [images / part if not part.startswith("-") and part not in ("pfm", "clip") else part for part in arguments]
    before = sorted(images.rglob("*"))
    done = run(*paths)
    assert done.exit_code == 1 and "Traceback" not in done.output and done.stdout == ""
    assert told in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert sorted(images.rglob("*")) == before


def test_a_full_disk_ends_the_run(images, run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "x.flo")

    monkeypatch.setattr(estimate, "write_flow", full)
    done = run(images, "--out", images / "flows")
    assert done.exit_code == 1 and done.stderr.count("No space left on device") == 1


def test_our_own_mistakes_keep_their_traceback(images, run, monkeypatch):
    def mistake(*_):
        raise TypeError("a mistake")

    monkeypatch.setattr(estimate, "write_flow", mistake)
    assert isinstance(run(images, "--out", images / "flows").exception, TypeError)
