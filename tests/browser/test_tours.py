"""Each notebook in a real browser, as a student finds it: run from top to bottom, and looked at."""

import json

import pytest

from cvdl.settings import ROOT
from tests import RUNAWAY
from tests.browser.conftest import open_notebook, picture, run_all, save

pytestmark = pytest.mark.tour

STEMS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("stem", STEMS)
def test_run_all(stem, browser, address, work):
    page, complaints = browser.new_page(viewport={"width": 1280, "height": 1000}), []
    page.set_default_timeout(1000 * RUNAWAY)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    open_notebook(page, address, stem)
    run_all(page)
    picture(page, stem)
    save(page)
    cells = json.loads((work / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    assert code and all(c["execution_count"] for c in code)
    assert [o for c in code for o in c["outputs"] if o["output_type"] == "error"] == []
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
    assert page.evaluate(broken) == [] and complaints == []
    page.close()
