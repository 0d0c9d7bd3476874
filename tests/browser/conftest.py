"""JupyterLab in headless Chromium, as a student sees it.

Set CVDL_SCREENSHOTS to a folder to keep pictures of what was seen. When a test fails, its report says what each open
page showed, and where there is a screenshot of it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests import RUNAWAY

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"

TOKEN = "t0ken"
DIALOG = ".jp-Dialog"
SHOWN = pytest.StashKey[tuple]()  # the browser, and a folder for screenshots of failures


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The file with what `make lab` prints."""
    return tmp_path_factory.mktemp("home") / "log"


@pytest.fixture(scope="module")
def address(work, log):
    """JupyterLab as `make lab BROWSER=no` starts it -> its address, token included."""
    home = log.parent
    env = os.environ | {"HOME": str(home), "CVDL_PROFILE": "quick", "OMP_NUM_THREADS": "1", "JUPYTER_TOKEN": TOKEN}
    command = [sys.executable, "-m", "cvdl", "lab", "--no-browser", "--port", "8899", "--work", str(work)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, env=env) as server:
        try:
            yield listening(server, log)
            server.terminate()
            server.wait(RUNAWAY)
        finally:
            server.kill()  # otherwise, leaving `with` would wait for a server that does not stop


def listening(server, log):
    """Wait until the server prints its address, at which it answers at once -> the address."""
    end = time.monotonic() + RUNAWAY
    while time.monotonic() < end:
        assert server.poll() is None, f"JupyterLab stopped:\n{log.read_text()}"
        if found := re.search(r"http://localhost:\d+/lab/tree/\S+", log.read_text()):
            call(found[0], "status")
            return found[0]
        time.sleep(0.05)
    pytest.fail(f"JupyterLab printed no address within {RUNAWAY} seconds:\n{log.read_text()}")


def call(address, path, method="GET"):
    """The server's answer to a request to its API."""
    url = f"{address.split('/lab/')[0]}/api/{path}"
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=RUNAWAY) as response:
        return response.read()


@pytest.fixture(scope="module")
def browser(request, tmp_path_factory):
    if not CHROMIUM:
        pytest.skip("no Chromium: install it (Debian: sudo apt install chromium) to test in a browser")
    playwright = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[dev]"')
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        request.config.stash[SHOWN] = browser, tmp_path_factory.mktemp("failed")
        yield browser
        del request.config.stash[SHOWN]
        browser.close()


@pytest.fixture(scope="module")
def page(browser):
    return new_page(browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed and (shown := item.config.stash.get(SHOWN, None)):
        browser, folder = shown
        folder = Path(os.environ.get("CVDL_SCREENSHOTS") or folder)
        for i, page in enumerate([page for context in browser.contexts for page in context.pages]):
            name = re.sub(r"\W+", "-", item.name).strip("-")
            report.sections.append(("Shown in the browser", describe(page, folder / f"failed-{name}-{i}.png")))
    return report


def describe(page, path):
    """What the page shows, in words; and in a screenshot."""
    lines = [f"address: {page.url}"]
    try:
        for what, selector in ("status bar", "#jp-main-statusbar"), ("dialog", DIALOG):
            lines += [f"{what}: {' '.join(text.split())}" for text in texts(page, selector)]
        page.screenshot(path=path)
        lines.append(f"screenshot: {path}")
    except Exception as error:  # must not hide the failure that is being reported
        lines.append(f"The page does not answer: {error}")
    return "\n".join(lines)


def texts(page, selector):
    """The texts of these elements. Unlike count() and evaluate(), this has a time limit."""
    return evaluate(page, "selector => [...document.querySelectorAll(selector)].map(e => e.innerText)", selector)


def evaluate(page, script, arg=None):
    """The list that a JavaScript function returns; page.evaluate() would wait for a blocked page for ever."""
    return page.wait_for_function(script, arg=arg).json_value()


def new_page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(1000 * RUNAWAY)
    return page


def open_notebook(page, address, stem):
    """Show this notebook in JupyterLab, with an idle kernel.

    Each notebook has a workspace of its own. In the default one, JupyterLab would open the notebooks of earlier pages
    as well, and its status bar would show one of their kernels until this notebook has its own.
    """
    page.goto(address.replace("/lab/tree/00_start_here", f"/lab/workspaces/{stem}/tree/{stem}"))
    idle(page)


def run_all(page, path):
    """Run all cells of the notebook, which is saved at `path` and has a fresh kernel.

    The file shows how far the kernel is; the page holds only the cells near the one in sight.
    """
    menu(page, "Run", "Run All Cells")
    end = time.monotonic() + RUNAWAY
    while time.monotonic() < end:
        save(page)
        code = code_cells(path)
        errors = [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
        assert not errors, f"A cell raised {errors[0]['ename']}: {errors[0]['evalue']}"
        if all(c["execution_count"] for c in code):
            return idle(page)
    todo = "".join(next(c for c in code if not c["execution_count"])["source"])
    pytest.fail(f"The notebook did not finish within {RUNAWAY} seconds. The first cell without a number:\n{todo}")


def code_cells(path):
    """The code cells of a saved notebook that are not empty."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]


def idle(page):
    """Wait for an idle kernel; fail at once if JupyterLab opens a dialog instead."""
    found = page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3.*\| Idle"))
    found.or_(page.locator(DIALOG)).first.wait_for()
    no_dialog(page)


def save(page):
    """Save the notebook; again, if a message from the kernel changes it at that moment."""
    end = time.monotonic() + RUNAWAY
    while time.monotonic() < end:
        menu(page, "File", "Save Notebook")
        page.wait_for_timeout(1000)
        if not texts(page, ".jp-mod-dirty"):
            return
    pytest.fail(f"The notebook could not be saved within {RUNAWAY} seconds.")


def menu(page, name, entry):
    no_dialog(page)  # which would be in the way
    page.locator("li.lm-MenuBar-item", has_text=re.compile(f"^{name}$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{entry}$")).click()


def no_dialog(page):
    assert texts(page, DIALOG) == []


def close(page, address):
    """Close the page and stop all kernels, which JupyterLab would keep."""
    page.close()
    for session in json.loads(call(address, "sessions")):
        call(address, f"sessions/{session['id']}", "DELETE")


def picture(page, name):
    if folder := os.environ.get("CVDL_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
