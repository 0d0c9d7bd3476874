"""Pairs of successive frames of a video."""

from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from cvdl.data.video import decode
from cvdl.errors import InvalidInput
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
