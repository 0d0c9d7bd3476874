"""Each notebook in a real browser, as a student finds it: run from top to bottom, and looked at."""

import pytest

from cvdl.settings import ROOT
from tests.browser.conftest import close, code_cells, evaluate, new_page, open_notebook, picture, run_all, save

pytestmark = pytest.mark.tour

STEMS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def page(browser, address):
    page = new_page(browser)
    yield page
    close(page, address)


@pytest.mark.parametrize("stem", STEMS)
def test_run_all(stem, page, address, work):
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    open_notebook(page, address, stem)
    run_all(page, work / f"{stem}.ipynb")
    picture(page, stem)
    save(page)
    code = code_cells(work / f"{stem}.ipynb")
    assert code and all(c["execution_count"] for c in code)
    assert [o for c in code for o in c["outputs"] if o["output_type"] == "error"] == []
    broken = "() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt)"
    assert evaluate(page, broken) == [] and complaints == []
