"""Videos, pictures and tables of numbers, read whole or refused with the name of the file."""

import numpy as np
import torch
from torchvision.transforms.functional import resize

from cvdl.data.pictures import read_rgb
from cvdl.data.video import decode
from cvdl.errors import DataNotFound, InvalidInput
from cvdl.files import read_text

SIZE = (120, 160)  # height and width at which the course's networks see


def read_video(path, size=SIZE):
    """-> frames (T, H, W, 3) uint8, upright, and the frames per second.  size: (height, width), or None to keep the size.

    The rate is the codec's: EgoGestAR's files have a damaged clock, by which all frames come at once.

    Raises InvalidInput for a damaged file, for one that contains fewer frames than it states, and, without a `size`, for
    one whose frames are not all of the same size.
    """
    frames, told, rate = [], 0, 0.0
    for frame in decode(path):
        frames.append(resized(torch.from_numpy(frame.rgb()), size))
        told, rate = frame.told, frame.rate
        _same_size(frames, f"Frame {len(frames) - 1} of {path}", "frame 0")
    if not frames or len(frames) < told:
        raise InvalidInput(f"{path} contains only {len(frames)} of {told if frames else 'its'} frames. Fetch it again.")
    return torch.stack(frames), rate


def read_pictures(paths, size=SIZE):
    """Pictures of one size -> (T, H, W, 3) uint8, upright.  Raises CourseError for those that are missing or damaged."""
    if missing := [path for path in paths if not path.is_file()]:
        raise DataNotFound(
            f"{missing[0]} is missing: {len(missing)} of {len(paths)} frames are missing. Unpack the dataset again."
        )
    frames = []
    for path in paths:
        pixels = read_rgb(path)
        if pixels.dtype != np.uint8:
            pixels = (255 * pixels).round().astype(np.uint8)
        frames.append(resized(torch.from_numpy(pixels), size))
        _same_size(frames, path, paths[0])
    return torch.stack(frames)


def _same_size(frames, last, first):
    if frames[-1].shape != frames[0].shape:
        (h, w), (H, W) = frames[-1].shape[:2], frames[0].shape[:2]
        raise InvalidInput(
            f"{last} and {first} have different sizes: {w} × {h} and {W} × {H} pixels. Fetch both again, or pass a "
            "`size`, to which all frames are resized."
        )


def resized(frame, size):
    """A frame (h, w, 3) uint8 -> (H, W, 3), smoothed where it shrinks.  size: (H, W), or None: as it is."""
    if size is None or frame.shape[:2] == tuple(size):
        return frame
    return resize(frame.permute(2, 0, 1), list(size), antialias=True).permute(1, 2, 0).contiguous()


def read_numbers(path, columns):
    """A text file of numbers -> (N, columns) float64.  Raises InvalidInput, also for other counts and NaN.

    Numbers are separated by commas or spaces.  Empty lines are skipped, and so is everything after a #.
    """
    lines = (line.partition("#")[0] for line in read_text(path).splitlines())
    try:
        rows = [[float(cell) for cell in line.replace(",", " ").split()] for line in lines if line.strip()]
    except ValueError as error:
        raise InvalidInput(f"{path} contains something that is not a number: {error}. Fetch it again.") from None
    wrong = [i for i, row in enumerate(rows, 1) if len(row) != columns or not np.isfinite(row).all()]
    if wrong or not rows:
        raise InvalidInput(
            f"{path} has {len(rows)} rows, of which {len(wrong)} are not {columns} finite numbers"
            + (f", first row {wrong[0]}" if wrong else "")
            + ". Fetch it again."
        )
    return np.array(rows)
