"""Damaged files and odd paths: whatever they hold, readers give a result or a CourseError that names the file.

Damages are drawn with a fixed seed, so that each run tries the same ones.
"""

import os
import string
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cvdl import zoo
from cvdl.cli import app
from cvdl.data import pictures
from cvdl.errors import CourseError
from cvdl.flow import SPyNet, read_flow, write_flow
from cvdl.flow.data.real import open_pairs
from cvdl.flow.data.sample import read_image
from cvdl.gesture.files import read_pictures, read_video

H, W = 9, 12


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Damaged headers that promise many pixels cost no time: their pixels would only be zero."""
    monkeypatch.setattr(pictures, "LARGEST", 100_000)


@pytest.fixture(params=[300, pytest.param(3_000, marks=pytest.mark.long)])
def damages(request):
    """How many of a file of each kind."""
    return request.param


def damaged(content, random):
    """A file's bytes with a few of them changed, removed, repeated or added, more often near its start."""
    content = bytearray(content)
    for _ in range(random.integers(1, 5)):
        size = len(content)
        at = int(min(random.random(), random.random()) * min(size, random.choice([64, size])))
        kind = random.integers(7)
        if kind <= 1 and size:
            content[at] ^= 1 << random.integers(8)
        elif kind == 2 and size:
            content[at] = random.choice([0, 1, 127, 128, 255])
        elif kind == 3:
            del content[at : at + random.integers(1, 9)]
        elif kind == 4:
            content[at:at] = random.bytes(random.integers(1, 9))
        elif kind == 5:
            content[at:at] = content[at : at + random.integers(1, 33)]
        elif random.random() < 0.3:
            del content[at:]
    return bytes(content)


def pixels(seed=0, size=(H, W)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def is_told(error, path):
    text = str(error)
    return path.name in text and "\n" not in text


def try_all(path, content, read, seed, count):
    """Read the file with each damage; -> how many could still be read."""
    random, whole = np.random.default_rng(seed), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(count):
            broken = damaged(content, random)
            path.write_bytes(broken)
            try:
                read(path)
                whole += 1
            except CourseError as error:
                assert is_told(error, path), str(error)
            except Exception as error:
                raise AssertionError(f"damage {number} of {path.name}: {broken[:2000]!r}") from error
    return whole


SAVED = {
    ".png": {},
    ".ppm": {},
    ".jpg": {"exif": True},
    ".bmp": {},
    ".tif": {"exif": True},
    ".webp": {"exif": True},
}


@pytest.mark.parametrize("ending", SAVED)
def test_pictures(tmp_path, damages, ending):
    path, options = tmp_path / f"fuzz{ending}", {}
    if SAVED[ending].get("exif"):
        options["exif"] = Image.Exif()
        options["exif"][0x112] = 6
    Image.fromarray(pixels()).save(path, **options)

    def read(path):
        image = read_image(path)
        assert image.ndim == 3 and len(image) == 3 and image.min() >= 0 and image.max() <= 1

    whole = try_all(path, path.read_bytes(), read, 1, damages)
    assert 0 < whole < damages
    try_all(path, path.read_bytes(), lambda path: read_pictures([path]), 2, damages // 10)


@pytest.mark.parametrize(
    "mode, ending", [("I;16", ".png"), ("F", ".tif"), ("I", ".tif"), ("LA", ".png"), ("P", ".png")]
)
def test_pictures_of_other_modes(tmp_path, damages, mode, ending):
    path = tmp_path / f"fuzz{ending}"
    Image.fromarray(pixels()).convert("L").convert(mode).save(path)

    def read(path):
        image = read_image(path)
        assert image.min() >= 0 and image.max() <= 1

    try_all(path, path.read_bytes(), read, 3, damages // 3)


@pytest.mark.parametrize("ending", [".flo", ".pfm", ".png"])
def test_flow(tmp_path, damages, ending):
    path = tmp_path / f"fuzz{ending}"
    write_flow(path, torch.randn(2, H, W, generator=torch.Generator().manual_seed(0)))

    def read(path):
        flow, valid = read_flow(path)
        assert flow.shape[1:] == valid.shape and flow.isfinite().all()

    whole = try_all(path, path.read_bytes(), read, 4, damages)
    assert whole < damages


def clip(path):
    av = pytest.importorskip("av", reason="PyAV, of the extra [data], writes and reads videos")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg" if path.suffix == ".avi" else "mpeg4", rate=10)
        stream.height, stream.width = 16, 32
        stream.pix_fmt = "yuvj420p" if path.suffix == ".avi" else "yuv420p"
        for seed in range(3):
            frame = av.VideoFrame.from_ndarray(pixels(seed, (16, 32)), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path.read_bytes()


def read_clip(path):
    read_video(path)
    for sample in open_pairs(path):
        assert sample.image1.min() >= 0 and sample.image1.max() <= 1


@pytest.mark.parametrize("ending", [".mp4", ".avi"])
def test_videos(tmp_path, damages, ending):
    path = tmp_path / f"fuzz{ending}"
    try_all(path, clip(path), read_clip, 5, damages if damages > 300 else 30)


@pytest.mark.parametrize("ending", [".webp", ".png", ".gif"])
def test_animations(tmp_path, damages, ending):
    path = tmp_path / f"fuzz{ending}"
    frames = [Image.fromarray(pixels(seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    try_all(path, path.read_bytes(), lambda path: list(open_pairs(path)), 7, damages // 10)


# The command line.

ENDINGS = (".png", ".flo", ".mp4", ".gif", ".webp", ".safetensors", ".pth", ".ckpt", ".txt", "", ".png.part")


def odd_paths(folder, random):
    """Paths of what there is and is not: noise with all endings, loops, pipes, folders without pictures."""
    (folder / "empty").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
    noise = folder / "noise"
    noise.mkdir()
    for number, ending in enumerate(ENDINGS):
        (noise / f"{number}_1{ending}").write_bytes(random.bytes(int(random.integers(0, 400))))
        (noise / f"{number}_2{ending}").write_bytes(b"")
    fixed = [
        *folder.iterdir(),
        *noise.iterdir(),
        "",
        "~",
        "~nobody/x",
        "a\0b",
        "x" * 300,
        "d/" * 2500,
        "\udcff.png",
        "-",
        "[*",
    ]
    letters = [*string.printable, "ä", "\u0308", "\U0001f600", "\u202e", "\ud800"]
    made_up = ["".join(random.choice(letters, random.integers(1, 30))) for _ in range(25)]
    return [str(path) for path in fixed] + [text for text in made_up if not text.startswith(("/", "-", "."))]


def test_paths_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_SETS", str(tmp_path / "sets"))
    monkeypatch.setenv("CVDL_REAL", "")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    net = tmp_path / "net.safetensors"
    zoo.write_weights(net, SPyNet(1))
    random = np.random.default_rng(8)
    for path in odd_paths(tmp_path / "there", random):
        for command in (
            ["eval", path, "--no-compare", "--pairs", "there"],
            ["eval", str(net), "--no-compare", "--pairs", path],
            ["eval", str(net), "--no-compare", "--pairs", "nothing", "--save", path],
            ["eval", str(net), "--no-compare", "--pairs", "nothing", "--json", path],
            ["flow", path, "--out", "out", "--network", str(net)],
            ["flow", path, path, "--out", "out.flo", "--network", str(net)],
            ["flow", path, "noise", "--out", path, "--network", str(net)],
            ["data", "show", path],
            ["zoo", "show", path],
            ["zoo", "add", path, path],
        ):
            result = CliRunner().invoke(app.app, command)
            assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
            assert result.exit_code in (0, 1, 2) and "Traceback" not in result.output, command
