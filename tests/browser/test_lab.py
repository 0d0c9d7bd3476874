"""A student's session in a real browser: JupyterLab in headless Chromium, on notebook 01.

Set CVDL_SCREENSHOTS to a folder to keep pictures of what was seen.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if not CHROMIUM:
    pytest.skip(
        "no Chromium: install it (Debian: sudo apt install chromium) to test in a browser", allow_module_level=True
    )
playwright = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[dev]"')

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
STEM = "01_rnn_from_scratch"
ANSWER = '''@exercise("rnn.step", points=15)
def rnn_step(x, h, V, W, b_h):
    """One step."""
    {}
'''


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def address(work, tmp_path_factory):
    """JupyterLab as `make lab BROWSER=no` starts it -> its address, token included."""
    home = tmp_path_factory.mktemp("home")
    log = home / "log"
    env = os.environ | {"HOME": str(home), "CVDL_PROFILE": "quick", "OMP_NUM_THREADS": "1", "JUPYTER_TOKEN": "t0ken"}
    command = [sys.executable, "-m", "cvdl.cli", "lab", "--no-browser", "--port", "8899", "--work", str(work)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=env) as server:
        for _ in range(120):
            if found := re.search(r"http://localhost:\d+/lab/tree/\S+", log.read_text()):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        else:
            pytest.fail(log.read_text())
        yield found[0]
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def page(address):
    """Notebook 01, all cells run."""
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(60_000)
        for _ in range(60):  # the address is printed before the server listens
            try:
                page.goto(address.replace("00_start_here", STEM))
                break
            except playwright.Error:
                time.sleep(1)
        idle(page)
        page.locator("li.lm-MenuBar-item", has_text=re.compile("^Run$")).click()
        page.locator("li.lm-Menu-item", has_text=re.compile("^Run All Cells$")).click()
        # The kernel is idle for a moment between cells, so wait for what the last one prints.
        last = page.locator(".jp-CodeCell", has_text="progress()").last
        last.locator(".jp-OutputArea-output", has_text="of 100 points").wait_for(state="attached", timeout=240_000)
        yield page
        browser.close()


def idle(page, timeout=60_000):
    page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3.*\| Idle")).wait_for(timeout=timeout)


def picture(page, name):
    if folder := os.environ.get("CVDL_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


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
    page.keyboard.press("Control+S")
    page.locator(".jp-mod-dirty").first.wait_for(state="detached")
    cells = [c for c in json.loads((work / f"{STEM}.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 30 and all(c["execution_count"] for c in cells)
    assert [o for c in cells for o in c["outputs"] if o["output_type"] == "error"] == []
    assert "not attempted" in json.dumps(cells)


def test_a_slider_redraws_the_figure_and_a_still_picture_stays(page):
    box = cell(page, "draw.unrolled")
    image = box.locator(".jp-OutputArea img")
    before = image.get_attribute("src")
    assert "drawn up to step 2" in image.get_attribute("alt")
    box.locator(".noUi-handle").press("ArrowRight")
    box.locator('img[alt*="drawn up to step 3"]').wait_for()
    assert image.count() == 1 and image.get_attribute("src") != before
    picture(page, "slider")


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
