"""Image files of any kind that Pillow reads, as arrays that are upright and in RGB."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from cvdl.errors import CourseError, DataNotFound, InvalidInput

GREY = (0.299, 0.587, 0.114)  # weights of red, green, blue (ITU-R BT.601)

SIXTEEN_BITS = 65535
LARGEST = 100_000_000  # pixels, as of a flow file; a larger size is a damaged header, or more than memory holds


def read_rgb(path):
    """The pixels of an image file: (H, W, 3), uint8, or float32 in [0, 1] where the file has more than 8 bits of grey.

    The image is turned as its EXIF orientation asks, as viewers show it.  Of an animation or several pages, the first
    is read.  Transparency is ignored.

    Raises DataNotFound if there is no such file, and InvalidInput, with its name, if it cannot be read.
    """
    with opened(path) as picture:
        kind, picture = picture.format, upright(picture)
        pixels = decoded(picture)
    return pixels if pixels.ndim == 3 else in_unit_range(pixels, picture.mode, kind, path)


def read_picture(picture, name):
    """The pixels of an image of Pillow, as `read_rgb` gives those of a file.  name: used in error messages."""
    with named(name):
        kind, picture = picture.format, upright(picture)
        pixels = decoded(picture)
    return pixels if pixels.ndim == 3 else in_unit_range(pixels, picture.mode, kind, name)


def decoded(picture):
    """(H, W, 3) uint8, or (H, W) float32 where there are more than 8 bits of grey, which convert("RGB") would cut off."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        return np.array(picture, dtype=np.float32)
    return np.array(picture.convert("RGB"))


def read_frames(path):
    """Yield the frames of an animated GIF, WebP or APNG, each (H, W, 3) uint8.  Raises what `read_rgb` raises."""
    with opened(path) as picture:
        for frame in ImageSequence.Iterator(picture):
            yield np.array(frame.convert("RGB"))


def animation(path):
    """The number of frames of an animated WebP or APNG, and of frames per second; None for any other file."""
    if Path(path).suffix.lower() not in (".webp", ".png", ".apng"):
        return None
    try:
        with opened(path) as picture:
            count = getattr(picture, "n_frames", 1)
            if count < 2:
                return None
            picture.load()  # only then is a WebP's duration known
            duration = picture.info.get("duration") or 0  # milliseconds
            return count, 1000 / duration if duration > 0 else 0.0
    except Exception:  # a damaged file is not an animation; reading it reports what is wrong
        return None


@contextmanager
def opened(path):
    """An open Pillow image.  Anything that Pillow raises in the block becomes an error that names the file."""
    with named(path), Image.open(path) as picture:
        if picture.width * picture.height > LARGEST:
            raise InvalidInput(
                f"{path} is too large, or its header is damaged: {picture.width} × {picture.height} pixels; at most "
                f"{LARGEST:,} in all are possible. Reduce it, or fetch it again."
            )
        yield picture


@contextmanager
def named(path):
    try:
        yield
    except CourseError:
        raise
    except FileNotFoundError:
        raise DataNotFound(f"{path} does not exist. Unpack its dataset again, or leave the pair out.") from None
    except Image.DecompressionBombError as error:
        raise InvalidInput(
            f"{path} is too large, or its header is damaged: {error}. Reduce it, or fetch it again."
        ) from None
    except UnidentifiedImageError:
        raise InvalidInput(f"{path} cannot be read as a picture: {what_it_is(path)}") from None
    except Exception as error:  # the bytes of a damaged file decide in which way Pillow fails
        raise InvalidInput(
            f"{path} cannot be read as a picture: {error or type(error).__name__}. Fetch it again."
        ) from None


def what_it_is(path):
    """What a file holds that Pillow does not know, and what to do, in a sentence or two."""
    try:
        with open(path, "rb") as file:
            begin = file.read(40)
    except OSError:
        begin = b"?"
    if begin.startswith(b"PIEH"):
        return "it is a flow, as in .flo files. Name an image."
    if not begin:
        return "it is empty. Save or fetch it again."
    text = begin.decode("utf-8", "ignore").strip()  # the last letter may be cut off
    if len(text.encode()) > len(begin.strip()) - 4 and text and all(c.isprintable() or c.isspace() for c in text):
        return f"it begins with text, {text.splitlines()[0]!r}. Name an image, or fetch it again."
    return "it is of no kind that Pillow knows. Convert it to PNG, or fetch it again."


def upright(picture):
    picture.load()  # first, so that damaged pixels are not mistaken for a damaged tag
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # a damaged tag does not tell how to rotate it; the pixels are intact
        return picture


def in_unit_range(grey, mode, kind, path):
    """Grey values of more than 8 bits, (H, W) float32 -> (H, W, 3) float32 in [0, 1].

    16 bits (mode I;16, or I where a PNG or PGM has them) are divided by 65535.  Floats (mode F) in [0, 1] are
    unchanged.  In TIFF, modes I and F may also contain what had 8 or 16 bits: whole numbers up to 255 or 65535, which are
    divided by these.
    """
    low, high = float(grey.min(initial=np.inf)), float(grey.max(initial=-np.inf))  # NaN if one value is
    whole = mode != "F" or bool((grey == np.round(grey)).all())
    if mode.startswith("I;16") or (mode == "I" and kind in ("PNG", "PPM")):
        largest = SIXTEEN_BITS
    elif mode == "F" and high <= 1:
        largest = 1
    else:
        largest = 255 if high <= 255 else SIXTEEN_BITS
        if not whole:
            largest = 0
    if not (low >= 0 and high <= largest):
        raise InvalidInput(
            f"{path} has grey values from {low:.4g} to {high:.4g}, from which the value of white is not clear. Expected are "
            "8 or 16 bits, or floats in [0, 1]. Save it with 8 or 16 bits."
        )
    return np.repeat((grey / np.float32(largest))[..., None], 3, axis=2)
