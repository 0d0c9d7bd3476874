"""Files of one's own in a notebook: a button above a figure that is drawn from them."""

import tempfile
from pathlib import Path

from cvdl.course.cards import Card
from cvdl.course.notebook import as_picture, in_notebook, show
from cvdl.errors import CourseError


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
    handle = display(as_picture(draw(*example), alt), display_id=True)

    def redraw(_):
        try:
            if files := contents(button.value):
                handle.update(as_picture(draw(*read(files)), f"The same for {', '.join(sorted(files))}."))
        except Exception as error:  # Jupyter would hide it in its log
            handle.update(Card("wrong", "That could not be used", [str(error)]))

    button.observe(redraw, "value")


def contents(value):
    """What FileUpload holds -> {name: bytes}, for ipywidgets 7 (a dict) and 8 (a tuple)."""
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
