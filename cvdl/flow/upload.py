"""Two frames of one's own in a notebook, from pictures or a clip."""

from pathlib import Path

import torch.nn.functional as F

from cvdl.course.upload import offer, read_as
from cvdl.errors import InvalidInput
from cvdl.flow.data.folder import PICTURES
from cvdl.flow.data.sample import read_image
from cvdl.flow.data.video import Video

LONGEST = 512  # pixels; larger frames are reduced, so that a processor is done with them soon


def pair_of(files, step=1):
    """Uploaded files as a pair: image1, image2, each (3, H, W) float in [0, 1], at most LONGEST pixels wide or high.

    files: {name: bytes}, two pictures of one size, the earlier name first, or one video, of which frames 0 and `step`
    are taken.  Raises CourseError for anything else.
    """
    names = sorted(files)
    kinds = [Path(name).suffix.lower() for name in names]
    if len(names) == 2 and all(kind in PICTURES for kind in kinds):
        images = [read_as(read_image, name, files[name]) for name in names]
    elif len(names) == 1 and kinds[0] not in PICTURES:
        images = read_as(lambda path: Video(path, step, 1)[0][1:3], names[0], files[names[0]])
    else:
        came = ", ".join(names) or "nothing"
        raise InvalidInput(
            f"Two pictures or one short clip are wanted; what came is {came}. Choose both pictures at once."
        )
    if images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[2]} × {image.shape[1]}" for image in images)
        raise InvalidInput(f"Both pictures have to be of one size; they are {sizes} pixels. Take them with one camera.")
    return tuple(reduced(image) for image in images)


def reduced(image, longest=LONGEST):
    """An image (3, H, W) with sides of `longest` pixels at most; a smaller one comes back as it is."""
    H, W = image.shape[-2:]
    factor = longest / max(H, W)
    if factor >= 1:
        return image
    size = max(16, round(H * factor)), max(16, round(W * factor))
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def upload(draw, image1, image2, alt):
    """A button for files above a figure: draw(image1, image2) -> figure, at first for the two images given.

    alt: the figure's alternative text.
    """
    button = {"accept": "image/*,video/*", "multiple": True, "description": "two pictures or a clip"}
    offer(pair_of, draw, (image1, image2), alt, **button)
