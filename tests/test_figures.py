"""Every figure of the course is legible, whatever matplotlib style its reader has chosen."""

import importlib.resources
import inspect
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from cvdl import figures
from cvdl.course.notebook import course_map, display
from cvdl.flow.data import gallery
from cvdl.flow.plotting import draw, draw_correlation, draw_likelihood, draw_pyramid, draw_stack
from cvdl.gesture import CLASSES, GestureClip
from cvdl.gesture.plotting import draw as gestures
from cvdl.sequence.plotting import draw as sequences
from cvdl.sequence.plotting import draw_bptt, draw_lstm

# As VS Code sets it for a dark theme, and what other styles change.
DARK = ["dark_background", {"axes.grid": True, "font.size": 15, "xtick.direction": "in", "hatch.color": "white"}]

MODULES = (figures, course_map, draw, draw_correlation, draw_likelihood, draw_pyramid, draw_stack)
MODULES += (gallery, gestures, sequences, draw_bptt, draw_lstm)

IMAGE = torch.linspace(0, 1, 3 * 48 * 72).view(3, 48, 72)
X, Y = torch.meshgrid(torch.linspace(-9, 9, 72), torch.linspace(-6, 6, 48), indexing="xy")
FLOW = torch.stack([X, Y + 2])
KNOWN = X < 6
SCORES = torch.linspace(0, 1, 54).view(6, 9)
LIKELY = {"one": torch.linspace(0, 1, 25), "two": torch.linspace(1, 0, 25)}
CLIP = GestureClip(
    torch.full((12, 120, 160, 3), 90, dtype=torch.uint8),
    torch.stack([torch.linspace(150, 20, 12), torch.full((12,), 50.0)], 1),
    10.0,
    0,
    torch.zeros(12, dtype=torch.long),
    "me",
)
NAMED = {"one": ([1, 2, 3], [1.0, 10.0, 100.0]), "two": ([1, 2, 3], [3.0, 2.0, 1.0])}
RUNS = {"one": [1.0, 3.0], "two": [2.0]}
SEEN = {name: torch.rand(19, 4, generator=torch.Generator().manual_seed(0)) for name in "fioC"}
POINTS = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])

EXAMPLES = {
    figures.curves: lambda f: f(NAMED, "x", "y", [("level", 5.0)], log=True),
    figures.bars: lambda f: f({"one": [1.0, 20.0], "two": [2.0, 3.0]}, ["a", "b"], "y", [("level", 5.0)]),
    course_map.picture: lambda f: f({1, 2, 3}),
    draw.flow: lambda f: f(FLOW, KNOWN, title="flow"),
    draw.magnitude: lambda f: f(FLOW, KNOWN),
    draw.error: lambda f: f(FLOW, FLOW * 0.5, KNOWN, "SPyNet"),
    draw.occlusion: lambda f: f(IMAGE, KNOWN),
    draw.panels: lambda f: f({"frame 1": IMAGE, "flow": FLOW, "occluded": KNOWN}),
    draw_correlation.discs: lambda f: f(),
    draw_correlation.networks: lambda f: f(),
    draw_correlation.search: lambda f: f(IMAGE, IMAGE, (2, 3), (4.0, 2.0), {"a": SCORES}, reach=2),
    draw_correlation.versus: lambda f: f(IMAGE, {"one": FLOW[0].abs(), "two": FLOW[1].abs()}),
    draw_likelihood.squares: lambda f: f((2, 2), (4, 1)),
    draw_likelihood.scene: lambda f: f(IMAGE, {"edge": (20, 20)}, "scene"),
    draw_likelihood.maps: lambda f: f(LIKELY, (1, 1)),
    draw_likelihood.place: lambda f: f(IMAGE, 20, 20, LIKELY, (1, 1)),
    draw_likelihood.lines: lambda f: f(NAMED, 2.0, "x", "y"),
    draw_pyramid.ladder: lambda f: f(),
    draw_pyramid.grid: lambda f: f([[0.1, 0.4], [0.5, 0.9]], ["a", "b"], ["c", "d"], "x", "y", "shares"),
    draw_stack.schedules: lambda f: f(NAMED, [2]),
    draw_stack.two: lambda f: f(),
    draw_stack.final: lambda f: f(),
    draw_stack.warped: lambda f: f(IMAGE, IMAGE, IMAGE[0]),
    draw_stack.seeds: lambda f: f(RUNS, "px", [("zero flow", 4.0)]),
    draw_stack.front: lambda f: f({"a": (1, 3), "b": (20, 1)}, ["b"], "ms", "px"),
    gallery._page: lambda f: gallery.gallery("small", count=1, size=(48, 64))[0],
    gestures.strip: lambda f: f({"left": CLIP, "frames": CLIP.frames}, columns=4),
    gestures.ways: lambda f: f({"left": [CLIP]}),
    gestures.found: lambda f: f(CLIP.frames[:2], torch.zeros(2, 1201), POINTS),
    gestures.scrub: lambda f: f(CLIP.frames, 5, torch.rand(12, len(CLASSES)), 10, CLIP.track, {"input": torch.rand(12)}),
    gestures.confusion: lambda f: f(torch.arange(121).view(11, 11)),
    sequences.folded_and_unrolled: lambda f: f(),
    sequences.unrolled: lambda f: f(list("garcia"), torch.linspace(-1, 1, 56).view(7, 8), 3),
    sequences.five_shapes: lambda f: f(),
    sequences.confusion: lambda f: f([[9, 1, 2], [5, 5, 0], [0, 1, 9]], ["a", "b", "c"]),
    sequences.probabilities: lambda f: f(["a", "b"], [0.2, 0.8], "title"),
    sequences.strip: lambda f: f(torch.ones(16, 8), [0] * 16, [0] * 8 + [1] * 8, "0123456789"),
    sequences.curves: lambda f: f({"a": [1, 2]}, "x", "y", ("b", 0.1)),
    draw_bptt.graph: lambda f: f("dW"),
    draw_bptt.norm_by_lag: lambda f: f({"a": np.geomspace(1, 1e-6, 60).reshape(20, 3)}, "norms"),
    draw_bptt.singular_values: lambda f: f(np.ones((5, 4)) * [0.5, 0.7, 0.9, 1.1], np.geomspace(1, 1e-3, 6), "values"),
    draw_bptt.learning_curves: lambda f: f({str(n): np.ones((3, 5)) * n for n in range(5)}, "y", ("a", 0.2), 100),
    draw_lstm.cell: lambda f: f("update"),
    draw_lstm.backwards: lambda f: f({"a": [1.0, 1e-3, 1e-9]}),
    draw_lstm.gates: lambda f: f("def f(x):\n    pass\n", SEEN, 0),
    draw_lstm.coloured_text: lambda f: f("def f(x):\n    pass\n", SEEN["C"][:, 0] * 2 - 1),
    draw_lstm.alignment: lambda f: f("tea.", ["T", "IY", "end"], torch.tensor([[1, 0, 0, 0], [0, 0.3, 0.3, 0.4], [0.5] * 4])),
}  # fmt: skip


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def luminance(colour):
    """Relative luminance as in WCAG 2: of a colour, RGB in [0, 1]."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def contrast(one, other):
    low, high = sorted(luminance(colour) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def pixels(figure):
    """The figure as it is saved, at half its size and without its margins cut off: (H, W, 3) in [0, 1]."""
    file = io.BytesIO()
    figure.set_dpi(55)
    figure.savefig(file, format="png", dpi=55)
    return np.asarray(Image.open(file).convert("RGB")) / 255


def contrasts(figure):
    """{text: its contrast with what is behind it}, or with its outline, if it has one; and the figure's pixels."""
    drawn = pixels(figure)
    off = {
        text
        for axes in figure.axes
        if not axes.axison
        for axis in (axes.xaxis, axes.yaxis)
        for text in axis.findobj(plt.Text)
    }
    texts = [t for t in figure.findobj(plt.Text) if t not in off and t.get_visible() and t.get_text().strip()]
    outlined = {id(t): [e._gc["foreground"] for e in t.get_path_effects() if "foreground" in e._gc] for t in texts}
    places = [t.get_window_extent() for t in texts]
    for text in texts:
        text.set_alpha(0)
        text.set_path_effects([])
    behind, found = pixels(figure), {}
    for text, place in zip(texts, places, strict=True):
        left, bottom, right, top = (round(v) for v in place.extents)
        rows = slice(max(0, len(behind) - top), max(0, len(behind) - bottom))
        columns = slice(max(0, left), max(0, right))
        if (drawn[rows, columns] == behind[rows, columns]).all():
            continue  # not drawn: a tick outside of the axes
        ground = np.median(behind[rows, columns].reshape(-1, 3), axis=0)
        for colour in outlined[id(text)]:
            ground = to_rgb(colour)
        found[text.get_text()] = min(contrast(to_rgb(text.get_color()), ground), found.get(text.get_text(), 21))
    return found, drawn


def test_all_that_draws_is_tried():
    drawing = {
        function
        for module in MODULES
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and "plt.subplot" in inspect.getsource(function)
    }
    assert [f.__qualname__ for f in drawing if not hasattr(f, "__wrapped__")] == []
    assert {f.__qualname__ for f in drawing - set(EXAMPLES)} == set()


def test_no_other_module_draws():
    names = {module.__name__ for module in MODULES}
    package = importlib.resources.files("cvdl")
    found = {
        "cvdl." + ".".join(path.relative_to(package).with_suffix("").parts)
        for path in package.rglob("*.py")
        if "plt.subplot" in path.read_text(encoding="utf-8")
    }
    assert found <= names


@pytest.mark.parametrize("function", EXAMPLES, ids=lambda f: f"{f.__module__.removeprefix('cvdl.')}.{f.__name__}")
def test_any_style_gives_the_same_legible_figure(function):
    torch.manual_seed(0)
    with plt.style.context("default"):
        expected = pixels(EXAMPLES[function](function))
    torch.manual_seed(0)
    with plt.style.context(DARK):
        figure = EXAMPLES[function](function)
        found, drawn = contrasts(figure)
    assert np.array_equal(drawn, expected)
    assert found and min(found.values()) >= 4.5, found


@pytest.mark.parametrize("chosen", ["default", DARK], ids=["default", "dark"])
def test_the_users_own_figures_keep_their_style(chosen):
    with plt.style.context(chosen):
        before = dict(matplotlib.rcParams)
        figures.curves(NAMED, "x", "y").canvas.draw()
        assert dict(matplotlib.rcParams) == before
        figure, axes = plt.subplots()
        axes.plot([1, 2], label="mine")
        axes.set(title="own", xlabel="x")
        picture = Image.open(io.BytesIO(display.as_picture(figure, "A line.").png)).convert("L")
        assert picture.getpixel((0, 0)) == (0 if chosen == DARK else 255)
        assert min(contrasts(figure)[0].values()) >= 4.5


def test_a_figure_without_background_is_saved_on_white():
    with plt.style.context({"figure.facecolor": "none"}):
        figure, _ = plt.subplots()
        picture = Image.open(io.BytesIO(display.as_picture(figure, "Axes.").png)).convert("L")
    assert picture.getpixel((0, 0)) == 255
