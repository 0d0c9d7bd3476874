"""Pairs of frames of a video, decoded one after the other with PyAV; the clip is never in memory as a whole."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch

from cvdl.errors import InvalidInput, MissingDependency
from cvdl.flow.data.sample import Sample


class Video(Sequence):
    """Frames 0 and step, step and 2 step, … of the file `path` as Samples without truth; at most `limit` pairs.

    Iterating decodes each frame once.  video[i] goes on from the pair asked for last, or begins anew for a smaller i.
    len(video) decodes the clip, for what a file says of its length is often wrong; it is remembered.
    Raises CourseError where PyAV is missing, and for a file that holds no video, or is damaged.
    """

    def __init__(self, path, step=1, limit=None):
        self.path, self.step, self.limit = Path(path), step, limit
        self._length, self._at, self._pairs = None, -1, iter(())
        if next(iter(self._walk()), None) is None:  # a file that is no video, too, is told now
            raise InvalidInput(
                f"{self.path} holds no pair: it needs {step + 1} frames. Take a longer clip or a smaller step."
            )

    def __iter__(self):
        return map(self._sample, self._walk())

    def __len__(self):
        if self._length is None:
            self._length = sum(1 for _ in self._walk())
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
        """(number of the first frame, first, second) of all pairs, as PyAV's frames."""
        first = None
        with closing(decode(self.path)) as frames:
            for number, (_, frame) in enumerate(frames):
                if number % self.step == 0:
                    if first is not None:
                        yield number - self.step, first, frame
                    if self.limit and number >= self.limit * self.step:
                        return
                    first = frame

    def _sample(self, pair):
        number, *frames = pair
        images = (torch.from_numpy(each.to_ndarray(format="rgb24")).permute(2, 0, 1).contiguous() for each in frames)
        image1, image2 = (each.float() / 255 for each in images)
        return Sample(f"frame_{number:05}", image1, image2, None, None, None)


def decode(path):
    """(stream, frame) of PyAV for all frames of a video, decoded one by one.

    Raises CourseError where PyAV is missing, and for a file that holds no video, or is damaged.
    """
    try:
        import av
    except ImportError:
        raise MissingDependency(
            'PyAV, which reads videos, is not installed. Add it with `pip install -e ".[data]"`, or turn the video '
            "into a folder of pictures."
        ) from None
    number = 0
    try:
        with av.open(str(path)) as clip:
            if not clip.streams.video:
                raise InvalidInput(f"{path} holds no video. Name a video file, or a folder of pictures.")
            for number, frame in enumerate(clip.decode(video=0), 1):  # noqa: B007
                yield clip.streams.video[0], frame
    except av.FFmpegError as error:
        raise InvalidInput(
            f"{path} cannot be read as a video after {number} frames ({error.strerror}). Record or fetch it "
            + ("again, or read what is whole with `limit`." if number else "again, or name a folder of pictures.")
        ) from None
