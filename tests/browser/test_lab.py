"""A student's session in a real browser: JupyterLab in headless Chromium, on notebook 01."""

import json
import re

import pytest

from tests.browser.conftest import call, new_page, open_notebook, picture, run_all, save, texts

pytestmark = pytest.mark.long

STEM = "01_rnn_from_scratch"
ANSWER = '''@exercise("rnn.step", points=15)
def rnn_step(x, h, V, W, b_h):
    """One step."""
    {}
'''


@pytest.fixture(scope="module", autouse=True)
def all_cells_run(page, address, work):
    open_notebook(page, address, STEM)
    run_all(page, work / f"{STEM}.ipynb")


def cell(page, text):
    """The code cell whose source contains `text`, scrolled into view."""
    found = page.locator(".jp-CodeCell", has=page.locator(".jp-InputArea", has_text=text)).first
    if not found.count():  # older JupyterLabs keep in the page only the cells in sight: scroll through all of them
        notebook = page.locator(".jp-WindowedPanel-outer").first
        notebook.evaluate("e => e.scrollTop = 0")
        for _ in range(200):
            page.wait_for_timeout(100)
            if found.count():
                break
            notebook.evaluate("e => e.scrollTop += e.clientHeight / 2")
    found.scroll_into_view_if_needed()
    return found


def run(page, text, source=None):
    """Run the cell that contains `text`, with a new source if one is given -> the text of its output."""
    box = cell(page, text)
    prompt = box.locator(".jp-InputPrompt").inner_text()
    box.locator(".cm-content").click()
    if source:
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(source)
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "([box, before]) => ![before, '[*]:'].includes(box.querySelector('.jp-InputPrompt').innerText)",
        arg=[box.element_handle(), prompt],
    )
    return box.locator(".jp-OutputArea").inner_text()


def answer(page, body):
    """Write `body` into exercise rnn.step, run it and its check -> the check's text."""
    run(page, '@exercise("rnn.step"', ANSWER.format(body))
    return run(page, 'check("rnn.step")')


def test_run_all_leaves_no_error(page, work):
    picture(page, "run-all")
    save(page)
    cells = [c for c in json.loads((work / f"{STEM}.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 30 and all(c["execution_count"] for c in cells)
    assert [o for c in cells for o in c["outputs"] if o["output_type"] == "error"] == []
    assert "not attempted" in json.dumps(cells)


def test_a_start_without_questions_and_warnings(page, log):
    page.wait_for_timeout(2000)  # JupyterLab asks about news when it has started
    assert texts(page, ".jp-toastContainer") == []
    lines = log.read_text().splitlines()
    assert not [line for line in lines if "encryption" in line or "eavesdropping" in line], lines


def test_a_slider_redraws_the_figure_and_a_still_picture_stays(page):
    box = cell(page, "draw.unrolled")
    image = box.locator(".jp-OutputArea img")
    before = image.get_attribute("src")
    assert "drawn up to step 2" in image.get_attribute("alt")
    box.locator(".noUi-handle").press("ArrowRight")
    box.locator('img[alt*="drawn up to step 3"]').wait_for()
    assert image.count() == 1 and image.get_attribute("src") != before
    picture(page, "slider")


def test_a_slider_is_drawn_where_it_is_released(page):
    box = cell(page, "draw.unrolled")
    handle = box.locator(".noUi-handle").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    alt = box.locator(".jp-OutputArea img").get_attribute("alt")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 300, y, steps=30)
    page.wait_for_timeout(2000)
    assert box.locator(".jp-OutputArea img").get_attribute("alt") == alt
    page.mouse.up()
    box.locator('img[alt*="drawn up to step 6"]').wait_for()


def test_a_wrong_answer_gets_its_own_hint_and_no_traceback(page):
    text = answer(page, "return x @ V.T + h @ W.T + b_h")
    assert "rnn.step: partly right" in text or "rnn.step: wrong" in text
    assert "f_h is missing" in text and "Traceback" not in text
    picture(page, "wrong")


def test_an_error_is_shown_with_the_students_line(page):
    text = answer(page, "return torch.tanh(V @ x + W @ h)")
    assert "of your cell: return torch.tanh(V @ x + W @ h)" in text
    picture(page, "error")


def test_an_endless_loop_is_stopped_and_the_kernel_lives(page):
    assert "stopped after 10 seconds" in answer(page, "while True: pass")


def test_a_right_answer_gets_all_points(page):
    assert "rnn.step: right — 15 of 15 points" in answer(page, "return (x @ V.T + h @ W.T + b_h).tanh()")
    picture(page, "right")


def test_messages_are_readable_in_the_dark_theme(page):
    page.locator("li.lm-MenuBar-item", has_text=re.compile("^Settings$")).click()
    page.locator("li.lm-Menu-item", has_text=re.compile("^Theme$")).hover()
    page.locator("li.lm-Menu-item", has_text=re.compile("^JupyterLab Dark$")).click()
    page.locator('body[data-jp-theme-name="JupyterLab Dark"]').wait_for(state="attached")
    headline = cell(page, 'check("rnn.step")').locator(".jp-OutputArea strong").first
    colours = headline.evaluate("""e => {
        const light = c => { const v = c.match(/[\\d.]+/g).map(Number); return (v[0] + v[1] + v[2]) / 765 };
        let ground = e;
        while (getComputedStyle(ground).backgroundColor.match(/, 0\\)|transparent/)) ground = ground.parentElement;
        return [light(getComputedStyle(e).color), light(getComputedStyle(ground).backgroundColor)];
    }""")
    picture(page, "dark")
    assert colours[0] - colours[1] > 0.5, colours


def test_a_notebook_opened_without_its_kernel_says_how_to_get_the_sliders(page, browser, address):
    note = cell(page, "draw.unrolled").locator(".cvdl-run-again")
    assert note.count() == 1 and not note.is_visible()
    save(page)
    page.close()
    for session in json.loads(call(address, "sessions")):
        call(address, f"sessions/{session['id']}", "DELETE")
    again = new_page(browser)
    open_notebook(again, address, STEM)
    box = cell(again, "draw.unrolled")
    box.get_by_text("model not found").wait_for()
    assert box.locator(".cvdl-run-again").is_visible() and box.locator(".jp-OutputArea img").count() == 1
    picture(again, "again")
