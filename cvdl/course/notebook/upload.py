"""Your own files in a notebook: a button above a figure that is drawn from two frames or from a clip."""

import tempfile
from pathlib import Path

import torch.nn.functional as F

from cvdl.course.notebook.display import RUN_AGAIN, as_picture, in_notebook, show
from cvdl.course.notebook.feedback import Feedback
from cvdl.data.pictures import animation
from cvdl.errors import CourseError, InvalidInput
from cvdl.flow.data.folder import PICTURES
from cvdl.flow.data.sample import read_image
from cvdl.flow.data.video import Video
from cvdl.gesture.files import read_video

LONGEST = 512  # pixels; larger frames are reduced, so that a processor is done with them soon


def upload_pair(draw, image1, image2, alt):
    """A button for files above a figure: draw(image1, image2) -> figure, at first for the two images given.

    alt: the figure's alternative text.
    """
    button = {"accept": "image/*,video/*", "multiple": True, "description": "two images or a clip"}
    offer(pair_of, draw, (image1, image2), alt, **button)


def upload_clip(draw, frames, fps, alt):
    """A button for a video above a figure: draw(frames (T, H, W, 3) uint8, fps) -> figure, at first for those given.

    alt: the figure's alternative text.
    """
    button = {"accept": "video/*", "multiple": False, "description": "a video of your finger"}
    offer(clip_of, draw, (frames, fps), alt, **button)


def clip_of(files):
    """One uploaded video as frames (T, H, W, 3) uint8 and their rate.  Raises CourseError for what is not a video."""
    (file,) = files.items()
    return read_as(read_video, *file)


def pair_of(files, step=1):
    """Uploaded files as a pair: image1, image2, each (3, H, W) float in [0, 1], at most LONGEST pixels wide or high.

    files: {name: bytes}, two pictures of one size, the earlier name first, or one video, of which frames 0 and `step`
    are taken.  Raises CourseError for anything else.
    """
    names = sorted(files)
    kinds = [Path(name).suffix.lower() for name in names]
    if len(names) == 2 and all(kind in PICTURES for kind in kinds):
        images = [read_as(read_image, name, files[name]) for name in names]
    elif len(names) == 1 and (kinds[0] not in PICTURES or read_as(animation, names[0], files[names[0]])):
        images = read_as(lambda path: Video(path, step, 1)[0][1:3], names[0], files[names[0]])
    else:
        came = ", ".join(names) or "nothing"
        raise InvalidInput(f"Choose two images at once, or one short clip; you chose {came}.")
    if images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[2]} × {image.shape[1]}" for image in images)
        raise InvalidInput(
            f"Both images must have the same size; they have {sizes} pixels. Take them with the same camera."
        )
    return tuple(reduced(image) for image in images)


def reduced(image, longest=LONGEST):
    """An image (3, H, W) with sides of at most `longest` pixels; a smaller one is returned unchanged."""
    H, W = image.shape[-2:]
    factor = longest / max(H, W)
    if factor >= 1:
        return image
    size = max(16, round(H * factor)), max(16, round(W * factor))
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def offer(read, draw, example, alt, **button):
    """A button for files above a figure: draw(*example) at first, draw(*read({name: bytes})) once some came.

    Where there is no notebook or no ipywidgets, the figure alone.  alt: its alternative text; button: arguments of
    ipywidgets.FileUpload.
    """
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print("To use files of your own, install ipywidgets: pip install ipywidgets")
        return show(draw(*example), alt)
    if not in_notebook():
        return show(draw(*example), alt)
    button = ipywidgets.FileUpload(**button, layout={"width": "16em"})
    display(button)
    display(RUN_AGAIN, raw=True)
    handle = display(as_picture(draw(*example), alt), display_id=True)

    def redraw(_):
        try:
            if files := contents(button.value):
                handle.update(as_picture(draw(*read(files)), f"The same for {', '.join(sorted(files))}."))
        except Exception as error:  # Jupyter would hide it in its log
            handle.update(Feedback("wrong", "That could not be used", [str(error)]))

    button.observe(redraw, "value")


def contents(value):
    """What FileUpload contains -> {name: bytes}, for ipywidgets 7 (a dict) and 8 (a tuple)."""
    if isinstance(value, dict):
        return {name: bytes(file["content"]) for name, file in value.items()}
    return {file["name"]: bytes(file["content"]) for file in value}


def read_as(reader, name, content):
    """reader(path) of these bytes, as a file with the same ending; messages name the file, not its temporary copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix.lower()}"
        path.write_bytes(content)
        try:
            return reader(path)
        except CourseError as error:
            raise CourseError(str(error).replace(str(path), name)) from None
