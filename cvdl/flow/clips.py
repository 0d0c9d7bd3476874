"""Clips that are written frame by frame: .gif with Pillow, the others with PyAV."""

from fractions import Fraction

import numpy as np
import torch
from PIL import Image

from cvdl.errors import InvalidInput, MissingDependency

CLIPS = (".mp4", ".mov", ".mkv", ".gif")
COVER = 0.85  # opacity of the colour where the motion is largest


def overlay(image, flow, max_flow):
    """An image with the colours of its flow drawn over it, more opaque where it is faster: (H, W, 3) uint8.

    image: (3, H, W) in [0, 1], flow: (2, H, W) in pixels, max_flow: the length in pixels that gets full colour.
    """
    from cvdl.flow.colours import flow_to_image

    weight = COVER * (flow.norm(dim=0) / max_flow).clamp(0, 1).sqrt()
    mixed = torch.lerp(image, flow_to_image(flow, max_flow), weight)
    return (255 * mixed).round().byte().permute(1, 2, 0).contiguous().numpy()


class Clip:
    """A clip of frames of one size (height, width), at `rate` frames per second.

    It is written next to its path and moved into place by `close`; `abort` removes a clip that is not closed.

    Raises MissingDependency if PyAV is needed and missing.  `add` raises InvalidInput for a frame of another size.
    """

    def __init__(self, path, size, rate):
        self.path, self.size, self.rate, self.count = path, tuple(size), rate, 0
        self.part = path.with_name(f".{path.stem[:100]}.part{path.suffix}")
        self.frames, self.file = [], None
        if path.suffix.lower() != ".gif":
            self._open()

    def _open(self):
        try:
            import av
        except ImportError:
            raise MissingDependency(
                'PyAV, which writes videos, is not installed. Add it with `pip install -e ".[data]"`, or write a .gif.'
            ) from None
        self.file = av.open(str(self.part), "w")
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self.stream = self.file.add_stream(codec, rate=Fraction(self.rate).limit_denominator(1001))
        self.stream.height, self.stream.width = (side + side % 2 for side in self.size)  # yuv420p needs even sides
        self.stream.pix_fmt = "yuv420p"
        self.frame_of = av.VideoFrame.from_ndarray

    def add(self, pixels):
        """Append a frame (H, W, 3) uint8."""
        H, W, _ = pixels.shape
        if pixels.shape[:2] != self.size:
            raise InvalidInput(
                f"It has {W} × {H} pixels, but the clip has {self.size[1]} × {self.size[0]}, the size of its first frame. Write "
                "to a folder instead."
            )
        if self.file is None:  # one byte for each pixel
            self.frames.append(Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE))
        else:
            pixels = np.pad(pixels, ((0, H % 2), (0, W % 2), (0, 0)), mode="edge")
            self.file.mux(self.stream.encode(self.frame_of(pixels, format="rgb24")))
        self.count += 1

    def close(self):
        """Finish the clip and put it in its place."""
        if self.file is None:
            first, *others = self.frames
            duration = max(20, round(1000 / self.rate))  # viewers slow down faster clips
            first.save(self.part, "GIF", save_all=True, append_images=others, duration=duration, loop=0)
            self.frames = []
        else:
            self.file.mux(self.stream.encode())
            self.file.close()
            self.file = None
        self.part.replace(self.path)

    def abort(self):
        """Remove what was written so far; nothing after `close`."""
        if self.file is not None:
            self.file.close()
            self.file = None
        self.part.unlink(missing_ok=True)
