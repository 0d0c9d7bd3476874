"""Videos, pictures and tables of numbers, read whole or refused with the name of the file."""

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import resize

from cvdl.errors import DataNotFound, InvalidInput
from cvdl.flow.data.video import decode

SIZE = (120, 160)  # height and width at which the course's networks see


def read_video(path, size=SIZE):
    """-> frames (T, H, W, 3) uint8, and how many a second.  size: (height, width), or None: as it is.

    The rate is the codec's: EgoGestAR's files have a damaged clock, by which all frames come at once.
    Raises CourseError for a damaged file, and for one that holds fewer frames than it says.
    """
    frames, stream = [], None
    for stream, frame in decode(path):
        frames.append(resized(torch.from_numpy(frame.to_ndarray(format="rgb24")), size))
        told, rate = stream.frames, float(stream.guessed_rate or 0)
    if not frames or len(frames) < told:
        raise InvalidInput(f"{path} holds {len(frames)} of {told if frames else 'its'} frames. Fetch it again.")
    return torch.stack(frames), rate


def read_pictures(paths, size=SIZE):
    """Pictures of one size -> (T, H, W, 3) uint8.  Raises CourseError for those that are missing or damaged."""
    if missing := [path for path in paths if not path.is_file()]:
        raise DataNotFound(f"{missing[0]} is missing: {len(missing)} of {len(paths)} frames are. Unpack the set again.")
    frames = []
    for path in paths:
        try:
            with Image.open(path) as picture:
                frames.append(resized(torch.from_numpy(np.array(picture.convert("RGB"))), size))
        except (OSError, SyntaxError, ValueError) as error:
            raise InvalidInput(f"{path} cannot be read as a picture: {error}. Fetch it again.") from None
        if frames[-1].shape != frames[0].shape:
            raise InvalidInput(f"{path} is of another size than {paths[0]}. Fetch both again, or read with a `size`.")
    return torch.stack(frames)


def resized(frame, size):
    """A frame (h, w, 3) uint8 -> (H, W, 3), smoothed where it shrinks.  size: (H, W), or None: as it is."""
    if size is None or frame.shape[:2] == tuple(size):
        return frame
    return resize(frame.permute(2, 0, 1), list(size), antialias=True).permute(1, 2, 0).contiguous()


def read_numbers(path, columns):
    """A text file of numbers -> (N, columns) float64.  Raises CourseError, also for other counts and NaN."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        rows = [[float(cell) for cell in line.replace(",", " ").split()] for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise InvalidInput(f"{path} holds what is no number: {error}. Fetch it again.") from None
    wrong = [i for i, row in enumerate(rows, 1) if len(row) != columns or not np.isfinite(row).all()]
    if wrong or not rows:
        raise InvalidInput(
            f"{path} has {len(rows)} rows, of which {len(wrong)} are not {columns} finite numbers"
            + (f", first row {wrong[0]}" if wrong else "")
            + ". Fetch it again."
        )
    return np.array(rows)
