"""A clip of one's own in a notebook: a button to upload a video, and the figure of what a recogniser says of it."""

from cvdl.course.cards import Card
from cvdl.course.notebook import as_picture, in_notebook, show
from cvdl.flow.upload import _read, contents
from cvdl.gesture.files import read_video


def upload(draw, frames, fps, alt):
    """A button for a video above a figure: draw(frames (T, H, W, 3) uint8, fps) -> figure, at first for those given.

    Where there is no notebook or no ipywidgets, the figure alone.  alt: its alternative text.
    """
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print("To upload a clip, install ipywidgets: pip install ipywidgets")
        return show(draw(frames, fps), alt)
    if not in_notebook():
        return show(draw(frames, fps), alt)
    button = ipywidgets.FileUpload(accept="video/*", multiple=False, description="a video of your finger")
    button.layout.width = "16em"
    display(button)
    handle = display(as_picture(draw(frames, fps), alt), display_id=True)

    def redraw(_):
        try:
            for name, content in contents(button.value).items():
                handle.update(as_picture(draw(*_read(name, content, read_video)), f"The same for {name}."))
        except Exception as error:  # Jupyter would hide it in its log
            handle.update(Card("wrong", "That could not be used", [str(error)]))

    button.observe(redraw, "value")
