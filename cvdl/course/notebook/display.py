"""What notebooks use beside exercises: the first cell, figures with alternative text, sliders."""

import base64
import io
import itertools
import os
import platform
from html import escape

from cvdl.course.notebook.feedback import Feedback, in_notebook, say
from cvdl.errors import CourseError
from cvdl.settings import PROFILES, device, profile

# Where a saved notebook is opened without its kernel, JupyterLab shows "Error displaying widget: model not found" instead
# of the controls, and GitHub shows nothing. This note says what to do. It is hidden as long as the controls are there;
# Colab has a page for each output.
CONTROLS = ":has(.widget-hbox, .widget-upload)"
RUN_AGAIN = {
    "text/plain": "To use the controls, run the notebook up to this cell.",
    "text/html": '<p class="cvdl-run-again">To use the controls, run the notebook up to this cell.</p>'
    f"<style>.jp-OutputArea{CONTROLS} .cvdl-run-again, body:not(:has(.jp-OutputArea)){CONTROLS} .cvdl-run-again "
    "{ display: none }</style>",
}


def start():
    """The bootstrap cell: say with what the notebook runs, and set the look of figures."""
    import matplotlib
    import torch

    import cvdl
    from cvdl.figures import STYLE

    matplotlib.rcParams.update(STYLE)  # for the student's own figures, which keep their colours
    where = torch.cuda.get_device_name() if device().type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"cvdl {cvdl.__version__} · Python {platform.python_version()} · torch {torch.__version__} · {where} · "
        f"profile {profile()}"
    )


def show(figure, alt):
    """Display a matplotlib figure once, with alternative text for those who cannot see it.

    Raises ValueError if `alt` is empty.
    """
    _display(figure, alt)


def outcome(claim, holds, needs=None):
    """Assert that a claim made in the text holds in this run; raise CourseError if it does not.

    Args:
        claim: what the text says, as a sentence without a full stop.
        holds: whether the run shows it.
        needs: "laptop" for a claim that takes more training than `quick` does.  In `quick` such a claim is not
            asserted, and the output says so.

    Raises:
        CourseError: the claim was asserted and does not hold.
    """
    if needs and PROFILES.index(profile()) < PROFILES.index(needs):
        say(
            "open",
            f"Not asserted in the profile {profile()}: {claim}",
            f"It takes longer training: run the notebook with CVDL_PROFILE={needs}.",
        )
        return
    if not holds:
        raise CourseError(
            f"This run does not confirm that {claim}. Is an exercise above still wrong? Check with progress(); "
            "call use_library(its id) and run again from there. If all of them are right, please report it."
        )
    say("right", claim)


def explore(draw, alt, **sliders):
    """Sliders above a figure: `explore(draw, "Step {t}", t=(0, 9, 3))`.

    draw(**values) -> figure, a pure function; alt: its alternative text, with the values' names in
    braces; each slider: (lowest, highest, at first) of ints, (lowest, highest, at first, step) of floats,
    or a list of choices, the first one at first.  The figure is an ordinary output that the sliders replace, so that a still picture
    stays in the saved notebook.
    """
    values = {name: s[0] if isinstance(s, list) else s[2] for name, s in sliders.items()}
    if os.environ.get("CVDL_TRY_SLIDERS"):
        _try_ends(draw, alt, sliders)
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print("To move the sliders, install ipywidgets: pip install ipywidgets")
        return _display(draw(**values), alt.format(**values))
    if not in_notebook():
        return _display(draw(**values), alt.format(**values))

    def widget(name, s):
        look = {"description": name, "style": {"description_width": "initial"}}
        if isinstance(s, list):
            return ipywidgets.Dropdown(options=s, value=s[0], **look)
        kind = ipywidgets.IntSlider if all(isinstance(v, int) for v in s) else ipywidgets.FloatSlider
        step = s[3] if len(s) > 3 else 1
        # The figure follows when the slider is released: drawn for every position in between, it would lag behind.
        return kind(s[2], min=s[0], max=s[1], step=step, continuous_update=False, **look)

    widgets = {name: widget(name, s) for name, s in sliders.items()}
    display(ipywidgets.HBox(list(widgets.values()), layout={"flex_flow": "row wrap"}))
    display(RUN_AGAIN, raw=True)
    handle = _display(draw(**values), alt.format(**values), display_id=True)

    def redraw(_):
        values = {name: w.value for name, w in widgets.items()}
        try:
            handle.update(as_picture(draw(**values), alt.format(**values)))
        except Exception as error:  # Jupyter would hide it in its log
            what = f"{type(error).__name__}: {error}"
            handle.update(Feedback("wrong", "The figure could not be drawn", [what, "Run this cell again."]))

    for w in widgets.values():
        w.observe(redraw, "value")


def _try_ends(draw, alt, sliders):
    """Draw at every corner of the sliders: an error there is an error of the notebook."""
    ends = {name: s if isinstance(s, list) else s[:2] for name, s in sliders.items()}
    for corner in itertools.product(*ends.values()):
        values = dict(zip(ends, corner, strict=True))
        _rendered(draw(**values), alt.format(**values))


def _display(figure, alt, **kwargs):
    picture = as_picture(figure, alt)
    if not in_notebook():
        return print(f"[figure: {alt}]")
    from IPython.display import display

    return display(picture, **kwargs)


def as_picture(figure, alt):
    """The figure as a Picture, closed.  Raises ValueError if `alt` is empty."""
    from PIL import Image

    png = io.BytesIO()
    # A palette of 256 colours makes the file three times smaller: notebooks are kept in git.
    Image.open(_rendered(figure, alt)).convert("RGB").quantize(256).save(png, format="png", optimize=True)
    return Picture(png.getvalue(), alt)


def _rendered(figure, alt):
    """The figure as a PNG file in memory, closed."""
    if not alt.strip():
        raise ValueError("A figure needs alternative text: say in a sentence what it shows.")
    import matplotlib.pyplot as plt

    full, background = io.BytesIO(), figure.get_facecolor()  # which its text and axes suit
    background = background if background[3] else "white"
    figure.savefig(full, format="png", bbox_inches="tight", facecolor=background)
    plt.close(figure)
    return full


class Picture:
    """A PNG whose alternative text reaches every reader.

    JupyterLab takes it from HTML only, nbconvert from the metadata, a terminal from the text.
    """

    def __init__(self, png, alt):
        self.png, self.alt = png, alt

    def _repr_mimebundle_(self, include=None, exclude=None):
        source = base64.b64encode(self.png).decode()
        html = f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{source}" style="max-width:100%">'
        data = {"text/html": html, "image/png": self.png, "text/plain": f"[figure: {self.alt}]"}
        return data, {"image/png": {"alt": self.alt}}
