"""A clip of one's own in a notebook."""

from cvdl.course.upload import offer, read_as
from cvdl.gesture.files import read_video


def upload(draw, frames, fps, alt):
    """A button for a video above a figure: draw(frames (T, H, W, 3) uint8, fps) -> figure, at first for those given.

    alt: the figure's alternative text.
    """

    def clip(files):
        (file,) = files.items()
        return read_as(read_video, *file)

    offer(clip, draw, (frames, fps), alt, accept="video/*", multiple=False, description="a video of your finger")
