"""The teachers' overview of the class, on a phone and on a large screen."""

import json

import pytest

from cvdl.course.exercises import chapters
from cvdl.course.grading import publish
from tests.course.grading.graded import nothing, result, unjudged

pytestmark = pytest.mark.long

NAMES = (
    "Li Wei",
    "Anna-Maria von Hohenstein-Oberndorf",
    "student.name.with.dots@uji.es",
    "García-Villaplana, José Antonio",
)


@pytest.fixture(scope="module")
def overview(tmp_path_factory):
    """The file of a class with long names, long remarks and a missing hand-in."""
    out = tmp_path_factory.mktemp("out")
    numbers = dict(zip(chapters.chapter("rnn"), (0, 2, 3, "missing", "not attempted", 0, 2, 3), strict=True))
    results = [result(name, numbers, "rnn", late=name == NAMES[0]) for name in NAMES]
    results += [unjudged("broken", "the file is not a notebook: Unterminated string starting at line 1", "rnn")]
    results += [nothing("nobody", "rnn")]
    (out / "run.json").write_text(json.dumps({"format": 1, "seed_sha256": "5eed" * 16}))
    publish.publish(results, out)
    return out / "overview.html"


@pytest.fixture(params=[390, 1200])
def page(request, browser, overview):
    page = browser.new_page(viewport={"width": request.param, "height": 844})
    page.goto(overview.as_uri())
    yield page
    page.close()


def test_everything_is_in_sight(page):
    outside = page.evaluate("""() => [document.documentElement, ...document.querySelectorAll('.scroll')]
        .filter(e => e.scrollWidth > e.clientWidth).map(e => e.getAttribute('aria-label') || 'the page')""")
    assert outside == []


def test_no_row_is_tall_and_empty(page):
    """Every line of a row shows some of its text, in sight."""
    empty = page.evaluate("""() => [...document.querySelectorAll('tr')].filter(row => {
        const line = parseFloat(getComputedStyle(row).lineHeight), range = document.createRange();
        range.selectNodeContents(row);
        const boxes = [...range.getClientRects()].filter(box => box.width > 0 && box.left < innerWidth);
        const lines = new Set(boxes.map(box => Math.round(box.top / line)));
        return row.getBoundingClientRect().height > (lines.size + 1.5) * line;
    }).map(row => row.innerText)""")
    assert empty == []


def test_each_number_has_a_label(page):
    """On a phone, beside it; the column headings cannot be seen there."""
    labels = page.evaluate("""() => [...document.querySelectorAll('.stacked')].flatMap(table => {
        const headings = [...table.querySelectorAll('th')].map(th => th.innerText);
        return [...table.querySelectorAll('td.number')].map(td => [headings[td.cellIndex], td.dataset.label]);
    })""")
    assert labels and all(heading == label for heading, label in labels)


def test_names_do_not_break(page):
    """On a phone, only those that are wider than its screen."""
    lines = page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('.name')]
        .map(e => [e.innerText, Math.round(e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight))]))""")
    assert set(NAMES) < set(lines) and max(lines.values()) <= (2 if page.viewport_size["width"] < 400 else 1), lines
    assert [lines[NAMES[i]] for i in (0, 2, 3)] == [1, 1, 1]
