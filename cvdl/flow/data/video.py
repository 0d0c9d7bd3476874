"""Pairs of frames of a video, decoded one after the other with PyAV; the complete clip is never in memory."""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cvdl.data.pictures import animation, read_frames
from cvdl.errors import InvalidInput, MissingDependency
from cvdl.flow.data.sample import Sample, as_image


class Video(Sequence):
    """Frames 0 and step, step and 2 step, … of the file `path` as Samples without ground truth; at most `limit` pairs.

    Iterating decodes each frame once.  video[i] continues from the last pair accessed, or starts again for a smaller i.
    len(video) decodes the clip, because the length stated in a file is often wrong; it is remembered.  If a file is
    damaged, len(video) counts the pairs before the damage, and iterating raises InvalidInput after them.
    `rate` is the clip's, in frames per second, 0 if unknown.

    Raises MissingDependency if PyAV is missing, and InvalidInput for a file that contains no pair, or is damaged.
    """

    def __init__(self, path, step=1, limit=None):
        self.path, self.step, self.limit = Path(path), step, limit
        self._length, self._at, self._pairs, self.rate = None, -1, iter(()), 0.0
        if next(iter(self._walk()), None) is None:  # a file that is not a video is reported now, too
            raise InvalidInput(
                f"{self.path} contains no pair: it needs {step + 1} frames. Use a longer clip or a smaller step."
            )

    def __iter__(self):
        return map(self._sample, self._walk())

    def __len__(self):
        if self._length is None:
            self._length = 0
            with suppress(InvalidInput):  # raised again when that pair is accessed
                for _ in self._walk():
                    self._length += 1
        return self._length

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if i < 0:
            i += len(self)
        if i < 0 or i >= (self._length if self._length is not None else i + 1):
            raise IndexError(f"{self.path} has no pair {i}")
        if i < self._at or self._at < 0:
            self._at, self._pairs = -1, self._walk()
        while self._at < i:
            self._pair = next(self._pairs, None)
            if self._pair is None:
                self._length, self._at = self._at + 1, -1
                raise IndexError(f"{self.path} has no pair {i}")
            self._at += 1
        return self._sample(self._pair)

    def _walk(self):
        """(number of the first frame, first, second) of all pairs, as Frames."""
        first = None
        with closing(decode(self.path)) as frames:
            for number, frame in enumerate(frames):
                if number % self.step == 0:
                    self.rate = frame.rate
                    if first is not None:
                        yield number - self.step, first, frame
                    if self.limit and number >= self.limit * self.step:
                        return
                    first = frame

    def _sample(self, pair):
        number, *frames = pair
        image1, image2 = (as_image(frame.rgb()) for frame in frames)
        if image1.shape != image2.shape:
            (h, w), (H, W) = image1.shape[-2:], image2.shape[-2:]
            raise InvalidInput(
                f"{self.path}: frames {number} and {number + self.step} must have the same size; they have {w} × {h} and "
                f"{W} × {H} pixels. The size changes within the stream, so there is no flow between these two."
            )
        return Sample(f"frame_{number:05}", image1, image2, None, None, None)


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
