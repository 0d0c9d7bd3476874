"""Two frames of one's own in a notebook: a button to upload pictures or a clip, and what turns the files into a pair."""

import tempfile
from pathlib import Path

import torch.nn.functional as F

from cvdl.course.cards import Card
from cvdl.course.notebook import as_picture, in_notebook, show
from cvdl.errors import CourseError
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
        images = [_read(name, files[name], read_image) for name in names]
    elif len(names) == 1 and kinds[0] not in PICTURES:
        images = _read(names[0], files[names[0]], lambda path: Video(path, step, 1)[0][1:3])
    else:
        came = ", ".join(names) or "nothing"
        raise CourseError(
            f"Two pictures or one short clip are wanted; what came is {came}. Choose both pictures at once."
        )
    if images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[2]} × {image.shape[1]}" for image in images)
        raise CourseError(f"Both pictures have to be of one size; they are {sizes} pixels. Take them with one camera.")
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

    Where there is no notebook or no ipywidgets, the figure alone.  alt: its alternative text.
    """
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print("To upload pictures, install ipywidgets: pip install ipywidgets")
        return show(draw(image1, image2), alt)
    if not in_notebook():
        return show(draw(image1, image2), alt)
    button = ipywidgets.FileUpload(accept="image/*,video/*", multiple=True, description="two pictures or a clip")
    button.layout.width = "16em"
    display(button)
    handle = display(as_picture(draw(image1, image2), alt), display_id=True)

    def redraw(_):
        try:
            files = contents(button.value)
            if files:
                handle.update(as_picture(draw(*pair_of(files)), f"The same for {', '.join(sorted(files))}."))
        except Exception as error:  # Jupyter would hide it in its log
            handle.update(Card("wrong", "That could not be used", [str(error)]))

    button.observe(redraw, "value")


def contents(value):
    """What FileUpload holds -> {name: bytes}, for ipywidgets 7 (a dict) and 8 (a tuple)."""
    if isinstance(value, dict):
        return {name: bytes(file["content"]) for name, file in value.items()}
    return {file["name"]: bytes(file["content"]) for file in value}


def _read(name, content, reader):
    """reader(path) of these bytes, as a file with the same ending; messages name the file, not its temporary copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix.lower()}"
        path.write_bytes(content)
        try:
            return reader(path)
        except CourseError as error:
            raise CourseError(str(error).replace(str(path), name)) from None
