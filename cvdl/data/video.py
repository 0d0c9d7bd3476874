"""Frames of a video, decoded one after the other with PyAV; the complete clip is never in memory."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from cvdl.data.pictures import animation, read_frames
from cvdl.errors import InvalidInput, MissingDependency


class Frame(NamedTuple):
    """A decoded frame, which becomes an array only when it is needed."""

    rate: float  # of the clip: frames per second, from its codec; 0: not known
    told: int  # the number of frames stated in the file; 0: not stated
    rgb: Callable  # () -> (H, W, 3) uint8, upright


def decode(path):
    """The Frames of a video, or of an animated GIF, WebP or APNG, decoded one by one.

    A clip from a phone is rotated upright according to its display matrix.  A stream that was cut begins with frames that
    depend on lost ones and would look grey or smeared: they are skipped until the first keyframe.

    Raises MissingDependency if PyAV is missing (WebP and APNG do not need it), and InvalidInput for a file that contains
    no video, or is damaged.
    """
    if about := animation(path):
        told, rate = about
        for pixels in read_frames(path):
            yield Frame(rate, told, partial(np.asarray, pixels))
        return
    try:
        import av
    except ImportError:
        raise MissingDependency(
            'PyAV, which reads videos, is not installed. Install it with `pip install -e ".[data]"`, or turn the '
            "video into a folder of pictures."
        ) from None
    for wait in (True, False):  # once more from the start, if no frame is marked as a keyframe
        for key, frame in _frames(path, av):
            wait = wait and not key
            if not wait:
                yield frame
        if not wait:
            return


def _frames(path, av):
    """(whether it is a keyframe, Frame) of all frames that PyAV decodes."""
    number, broken = 0, None
    try:
        with _opened(path, av) as clip:
            if not clip.streams.video:
                raise InvalidInput(f"{path} contains no video. Name a video file, or a folder of pictures.")
            stream = clip.streams.video[0]
            for packet in clip.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError as error:
                    if number:
                        raise
                    broken = error  # a stream that was cut may begin with useless packets
                    continue
                for frame in frames:
                    rate, told = float(stream.guessed_rate or 0), stream.frames
                    yield frame.key_frame, Frame(rate, told, partial(_upright, frame, path, number))
                    number += 1
            if broken and not number:
                raise broken
    except av.FFmpegError as error:
        raise InvalidInput(
            f"{path} cannot be read as a video after {number} frames ({error.strerror}). Record or fetch it "
            + ("again, or read what is whole with `limit`." if number else "again, or name a folder of pictures.")
        ) from None


def _opened(path, av):
    try:
        return av.open(str(path))
    except UnicodeDecodeError:  # a title, say, that is not UTF-8, which PyAV before 19 refuses
        return av.open(str(path), metadata_errors="replace")


def _upright(frame, path, number):
    """PyAV's frame -> (H, W, 3) uint8, rotated according to the display matrix."""
    try:
        pixels = frame.to_ndarray(format="rgb24")
    except (ValueError, OSError, MemoryError) as error:  # PyAV's own errors are ValueErrors or OSErrors, too
        raise InvalidInput(
            f"Frame {number} of {path} cannot be turned into RGB: {error}. Convert the video first."
        ) from None
    quarters = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels
