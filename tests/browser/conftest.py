"""JupyterLab in headless Chromium, as a student sees it.

Set CVDL_SCREENSHOTS to a folder to keep pictures of what was seen.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import RUNAWAY

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"


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
        for _ in range(2 * RUNAWAY):
            if found := re.search(r"http://localhost:\d+/lab/tree/\S+", log.read_text()):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        else:
            pytest.fail(log.read_text())
        yield found[0]
        server.terminate()
        server.wait(RUNAWAY)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium: install it (Debian: sudo apt install chromium) to test in a browser")
    playwright = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[dev]"')
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(1000 * RUNAWAY)
    return page


def open_notebook(page, address, stem):
    """Show this notebook in JupyterLab, with an idle kernel.

    Each notebook has a workspace of its own. In the default one, JupyterLab would open the notebooks of earlier pages
    as well, and its status bar would show one of their kernels until this notebook has its own.
    """
    for _ in range(RUNAWAY):  # the address is printed before the server listens
        try:
            page.goto(address.replace("/lab/tree/00_start_here", f"/lab/workspaces/{stem}/tree/{stem}"))
            break
        except Exception:
            time.sleep(1)
    idle(page)


def run_all(page):
    """Run all cells, until the last one has its number."""
    page.locator("li.lm-MenuBar-item", has_text=re.compile("^Run$")).click()
    page.locator("li.lm-Menu-item", has_text=re.compile("^Run All Cells$")).click()
    last = page.locator(".jp-CodeCell").last
    last.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).first.wait_for(state="attached")
    idle(page)


def idle(page):
    page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3.*\| Idle")).wait_for()


def save(page):
    page.keyboard.press("Control+S")
    page.locator(".jp-mod-dirty").first.wait_for(state="detached")


def picture(page, name):
    if folder := os.environ.get("CVDL_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")
