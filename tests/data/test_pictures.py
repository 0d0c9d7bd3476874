"""Image files: upright, in [0, 1] whatever their mode, and named if they cannot be read."""

import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from cvdl.course.notebook.upload import pair_of
from cvdl.data.pictures import animation
from cvdl.errors import CourseError
from cvdl.flow.data.real import open_pairs
from cvdl.flow.data.sample import read_image
from cvdl.gesture.files import read_pictures

H, W = 24, 32
# What undoes each EXIF orientation: how the stored image is made from the upright one.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)


def save_turned(pixels, path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation](pixels))).save(path, exif=exif)
    return path


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(tmp_path, orientation, ending):
    pixels = noise()
    path = tmp_path / f"a{ending}"
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"lossless": True} if ending == ".webp" else {}
    Image.fromarray(np.ascontiguousarray(STORED[orientation](pixels))).save(path, exif=exif, **options)
    assert torch.equal((255 * read_image(path)).round().byte(), torch.from_numpy(pixels).permute(2, 0, 1))
    assert np.array_equal(read_pictures([path], size=None)[0], pixels)


def test_a_pair_of_which_one_file_is_stored_turned(tmp_path):
    first = save_turned(noise(), tmp_path / "a_1.jpg", 6)
    second = save_turned(noise(), tmp_path / "a_2.jpg", 1)
    sample = open_pairs(tmp_path)[0]
    assert sample.image1.shape == sample.image2.shape == (3, H, W)
    assert pair_of({path.name: path.read_bytes() for path in (first, second)})[0].shape == (3, H, W)


def test_a_damaged_orientation_does_no_harm(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert read_image(tmp_path / "a.jpg").shape == (3, H, W)


@pytest.mark.parametrize(
    "pixels, ending, wanted",
    [
        (np.linspace(0, 1, H * W, dtype=np.float32).reshape(H, W), ".tif", lambda p: p),
        (np.round(np.linspace(0, 255, H * W)).astype(np.float32).reshape(H, W), ".tif", lambda p: p / 255),
        (np.arange(H * W, dtype=np.int32).reshape(H, W) % 256, ".tif", lambda p: p / 255),
        (np.arange(H * W, dtype=np.int32).reshape(H, W) * 85, ".tif", lambda p: p / 65535),
        (np.arange(H * W, dtype=np.uint16).reshape(H, W) * 85, ".png", lambda p: p / 65535),
        (np.arange(H * W, dtype=np.uint16).reshape(H, W) % 256, ".png", lambda p: p / 65535),
        (np.arange(H * W, dtype=np.uint16).reshape(H, W) * 85, ".tif", lambda p: p / 65535),
    ],
)
def test_grey_of_more_than_8_bits(tmp_path, pixels, ending, wanted):
    Image.fromarray(pixels).save(tmp_path / f"a{ending}")
    image = read_image(tmp_path / f"a{ending}")
    grey = torch.from_numpy(wanted(pixels.astype(np.float64))).float()
    torch.testing.assert_close(image, grey.expand(3, H, W), rtol=0, atol=1e-6)
    shown = read_pictures([tmp_path / f"a{ending}"], size=None)[0].permute(2, 0, 1)
    torch.testing.assert_close(shown / 255, image, rtol=0, atol=0.6 / 255)


@pytest.mark.parametrize("low, high", [(-1, 1), (0, 1.5), (0, 1e6), (0, np.nan), (0, np.inf)])
def test_grey_whose_white_is_unknown(tmp_path, low, high):
    pixels = np.linspace(0, 0.5, H * W, dtype=np.float32).reshape(H, W)
    pixels[0, :2] = low, high
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(CourseError, match=r"a\.tif has grey values .*white is not clear"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_all_modes_are_in_the_unit_range(tmp_path, mode):
    picture = Image.fromarray(noise()).convert("L").convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr", "I", "F") else "a.png")
    picture = picture.convert("LA") if mode == "PA" else picture
    picture.save(path)
    image = read_image(path)
    assert image.shape == (3, H, W) and image.min() >= 0 and image.max() <= 1
    assert mode == "I;16" or image.max() > 0.9  # not black


def test_headers_that_promise_too_much(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_image, lambda path: read_pictures([path])):
        with pytest.raises(CourseError, match=r"a\.png is too large"):
            read(tmp_path / "a.png")


# Animations.


def animate(path, count=5):
    frames = [Image.fromarray(noise(seed)) for seed in range(count)]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **options)
    return path


@pytest.mark.parametrize("ending", [".webp", ".png"])
def test_an_animation_is_a_clip(tmp_path, ending):
    path = animate(tmp_path / f"anim{ending}")
    assert animation(path) == (5, 10.0)
    for where in (path, tmp_path):  # a folder that holds one clip is that clip
        pairs = open_pairs(where)
        assert len(pairs) == 4 and pairs.rate == 10
        assert torch.equal(pairs[2].image2, torch.from_numpy(noise(3)).permute(2, 0, 1) / 255)
    uploaded = pair_of({path.name: path.read_bytes()})
    assert torch.equal(uploaded[1], pairs[0].image2)


def test_a_single_picture_is_no_clip(tmp_path):
    for ending in (".webp", ".png"):
        Image.fromarray(noise()).save(tmp_path / f"a{ending}")
        assert animation(tmp_path / f"a{ending}") is None
        with pytest.raises(CourseError, match="single picture"):
            open_pairs(tmp_path / f"a{ending}")
    animate(tmp_path / "pages.tif")
    assert read_image(tmp_path / "pages.tif").shape == (3, H, W)  # the first page
