"""What students upload: it holds what they saved, it is checked before, and nothing of theirs is lost."""

import http.server
import json
import os
import threading
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.course.grading import submissions
from cvdl.course.grading.extraction import extract
from cvdl.course.workspace import lab, submit
from cvdl.errors import CourseError
from cvdl.settings import ROOT

STEM = "01_rnn_from_scratch"
NAME = f"{STEM}.ipynb"


@pytest.fixture
def work(tmp_path):
    """A student's folder, as `cvdl lab` makes it."""
    folder = tmp_path / "work"
    lab.deliver(ROOT / "notebooks", folder)
    return folder


def edit(path, answers, without=()):
    """Save a notebook with answers, {exercise id: body}, and without the cells of some exercises."""
    notebook = json.loads(path.read_bytes())
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        ids = [id for id in (*answers, *without) if source.startswith(f'@exercise("{id}"')]
        if ids and ids[0] in without:
            continue
        if ids:
            cell["source"] = source.replace("...", answers[ids[0]])
        if cell["cell_type"] == "code":
            cell |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout", "text": "SAID"}]}
        cells.append(cell)
    path.write_text(json.dumps(notebook | {"cells": cells}), encoding="utf-8")
    return path


@pytest.fixture
def unscored(monkeypatch):
    """Hand in without running anything, where points do not matter."""
    monkeypatch.setattr(submit, "scored", lambda data, specs: {s.id: {"state": "right", "earned": 1} for s in specs})


def test_a_saved_notebook(work):
    answers = {
        "rnn.step": "return (x @ V.T + h @ W.T + b_h).tanh()",
        "rnn.parameters": "print('x' * 100_000)\n    return 0",
        "rnn.loss": "return undefined",
        "rnn.sample": "import os; os._exit(0)",
    }
    path = edit(work / NAME, answers, without=["rnn.last"])
    before = path.read_bytes()
    text = repr(submit.submit("1", work))
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in text.splitlines() if line.startswith("  rnn.")}
    assert rows["rnn.step"] == ["15/15", "right"]
    assert rows["rnn.parameters"][0].startswith("0/") and rows["rnn.loss"] == ["0/15", "wrong"]
    assert rows["rnn.unroll"][1] == rows["rnn.match"][1] == "not attempted" and rows["rnn.last"][1] == "missing"
    assert rows["rnn.sample"][1].startswith("not scored: Python crashed")
    assert text.startswith(f"○ {STEM}: 15 of 100 points")
    assert (
        "Not answered: rnn.unroll, rnn.match\n" in text
        and f"Missing: rnn.last. Was the cell deleted? Copy it from notebooks/{NAME}" in text
    )
    made = work / "handin" / NAME
    assert f"To upload: {made}" in text and path.read_bytes() == before
    # what the grader finds in it is what was saved
    assert b"SAID" in before and b"SAID" not in made.read_bytes()
    first, second = extract(before), extract(made.read_bytes())
    assert second.definitions.keys() == first.definitions.keys() == set(rows) - {"rnn.last"}
    assert all(second.source(id) == first.source(id) for id in first.definitions)
    (found,) = submissions.find(work / "handin")
    assert found.notebook == STEM and found.problem is None


@pytest.mark.long
def test_a_hanging_answer_is_stopped(work, monkeypatch):
    monkeypatch.setattr(submit, "PATIENCE", 1)
    path = edit(work / "00_start_here.ipynb", {"start.to_unit": "import time; time.sleep(600)"})  # one call into C
    assert "0/100  not scored: Python crashed or took too long" in repr(submit.submit("00", work))
    assert (work / "handin" / path.name).exists()


def test_a_notebook_that_was_never_saved(work):
    with pytest.raises(CourseError, match=r"is as it was delivered.*Ctrl-S"):
        submit.submit("01", work)
    assert not (work / "handin").exists()


@pytest.mark.parametrize("name", ["7x", "11", "02_b.ipynb"])
def test_there_is_no_such_notebook(work, name):
    with pytest.raises(CourseError, match=r"There is no .*cvdl submit 01"):
        submit.submit(name, work)


@pytest.mark.parametrize("text", ["", "{", '{"cells": 3}', "\x00" * 9, '{"cells": []}'])
def test_what_is_no_notebook(work, text):
    (work / NAME).write_text(text)
    with pytest.raises(CourseError, match=r"no notebook|no exercise of this course"):
        submit.submit("01", work)
    assert (work / NAME).read_text() == text


def test_a_function_that_lost_its_mark_is_named(work):
    path = edit(work / NAME, {"rnn.step": "return (x @ V.T + h @ W.T + b_h).tanh()"}, without=["rnn.last"])
    path.write_text(
        path.read_text(encoding="utf-8").replace('@exercise(\\"rnn.step\\", points=15)', "# mine"), encoding="utf-8"
    )
    text = repr(submit.submit("1", work))
    assert 'Why rnn.step is missing: `rnn_step` is defined without @exercise("rnn.step") above it' in text
    assert "Missing: rnn.last. Was the cell deleted?" in text


def test_ctrl_c_ends_the_process_that_scores(monkeypatch):
    processes = []

    def stopped(process, patience):
        processes.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(submit, "line_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        submit.scored(b"", [])
    assert processes[0].wait(10) != 0


def test_a_timer_does_not_outlive_ctrl_c():
    class Process:
        kill = None

        class stdout:
            def readline():
                raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        submit.line_of(Process, 600)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
    assert threading.active_count() == before


def test_nothing_else_is_written_over(work, unscored):
    path = edit(work / NAME, {"rnn.parameters": "return 0"})
    before = path.read_bytes()
    with pytest.raises(CourseError, match="is not an earlier hand-in"):
        submit.submit("01", work, out=path)
    with pytest.raises(CourseError, match="must end in"):
        submit.submit("01", work, out=work / "a.zip")
    assert path.read_bytes() == before
    for _ in range(2):  # an earlier hand-in may be
        submit.submit("01", work, out=work / "new" / "mine.ipynb")
    assert {p.name for p in (work / "new").iterdir()} == {"mine.ipynb"}


def test_a_newer_notebook_beside_it_is_named_and_can_be_handed_in(work, unscored):
    path = edit(work / NAME, {"rnn.parameters": "return 0"})
    newer = path.with_name(f"{STEM}.new.ipynb")
    newer.write_bytes(path.read_bytes())
    assert f"There is also {newer.name}; to hand that in: cvdl submit {newer}" in repr(submit.submit("01", work))
    assert f"To upload: {work / 'handin' / NAME}" in repr(submit.submit(str(newer), work))


@pytest.mark.parametrize("folder", submit.TRACKED)
def test_nothing_is_written_into_the_courses_own_folders(tmp_path, monkeypatch, unscored, folder):
    monkeypatch.setattr(submit, "ROOT", tmp_path)
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / NAME
    path.write_bytes((ROOT / "notebooks" / NAME).read_bytes())
    submit.submit(str(path), tmp_path / "work")
    assert [p.name for p in path.parent.iterdir()] == [NAME] and (tmp_path / "work/handin" / NAME).is_file()
    other = tmp_path / "elsewhere" / NAME
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    submit.submit(str(other), tmp_path / "work")
    assert (other.parent / "handin" / NAME).is_file()


def test_strange_text_is_kept(work):
    cells = [{"cell_type": "code", "source": "s = '\ud800 é 李'", "outputs": [1], "metadata": {}}, {"cell_type": "raw"}]
    data = json.dumps({"cells": cells, "metadata": {"widgets": {}, "a": 1}}).encode()
    made = json.loads(submit.stripped(data))
    assert made["cells"][0]["source"] == cells[0]["source"] and made["cells"][1] == cells[1]
    assert made["cells"][0]["outputs"] == [] and made["metadata"] == {"a": 1, submit.MARK: 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: {
            "worksheets": [{"cells": [{**c, "input": c.get("source", "")} for c in nb["cells"]]}],
            "metadata": {},
        },
        lambda nb: nb | {"metadata": ["no", "dict"]},
        lambda nb: {"cells": nb["cells"]},
    ],
)
def test_notebooks_of_other_formats(work, unscored, change):
    path = edit(work / NAME, {"rnn.parameters": "return 0"})
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))), encoding="utf-8")
    submit.submit("01", work)
    made = (work / "handin" / NAME).read_bytes()
    assert b"SAID" not in made and extract(made).definitions.keys() == extract(path.read_bytes()).definitions.keys()
    submit.submit("01", work)  # it may be written over


@pytest.mark.parametrize("cell", [7, None, "x", []])
def test_a_cell_that_is_none(work, unscored, cell):
    notebook = json.loads(edit(work / NAME, {"rnn.parameters": "return 0"}).read_bytes())
    (work / NAME).write_text(json.dumps(notebook | {"cells": [*notebook["cells"], cell]}))
    with pytest.raises(CourseError, match="no list of cells"):
        submit.submit("01", work)


@pytest.fixture
def jupyter(work, monkeypatch):
    """A server as Jupyter's, with one kernel that was last at work when `times` says."""
    serverapp = pytest.importorskip("jupyter_server.serverapp")
    times, seen = ["2026-01-01T00:00:00.5Z"], []

    class Sessions(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            session = {"path": NAME, "kernel": {"last_activity": times[0]}}
            self.wfile.write(json.dumps([session, {"path": "other.ipynb", "kernel": {"last_activity": "9"}}]).encode())

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Sessions)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known = {"url": f"http://127.0.0.1:{server.server_port}/", "token": "abc", "root_dir": str(work)}
    monkeypatch.setattr(serverapp, "list_running_servers", lambda: iter([known, {"url": "http://127.0.0.1:9/"}]))
    yield times, seen
    server.shutdown()


def test_cells_that_were_run_after_saving_are_noticed(work, unscored, jupyter):
    times, seen = jupyter
    path = edit(work / NAME, {"rnn.parameters": "return 0"})
    saved = datetime(2026, 1, 1, 12, 0, tzinfo=UTC).timestamp()
    os.utime(path, (saved, saved))
    assert "Careful" not in repr(submit.submit("01", work))
    times[0] = "2026-01-01T12:00:02Z"  # autosave comes a little after
    assert "Careful" not in repr(submit.submit("01", work))
    times[0] = "2026-01-01T12:07:00.25Z"
    text = repr(submit.submit("01", work))
    assert "Careful: its kernel was at work at" in text and "Save first (Ctrl-S in JupyterLab)" in text
    assert seen[0] == ("/api/sessions", "token abc")


def test_the_command(work, unscored):
    runner = CliRunner()
    result = runner.invoke(app.app, ["handin", "01", "--work", str(work)])
    assert result.exit_code == 1 and "Ctrl-S" in result.stderr and "Traceback" not in result.output
    edit(work / NAME, {"rnn.parameters": "return 0"})
    result = runner.invoke(app.app, ["handin", "01", "--work", str(work), "--out", str(work / "b.ipynb")])
    assert result.exit_code == 0 and f"To upload: {work / 'b.ipynb'}" in result.stdout and (work / "b.ipynb").is_file()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("some.png", "some.png is not a notebook, whose name ends in .ipynb. Give the number"),
        (".", "is a folder. Give the number of a notebook"),
        ("07", "There is no notebook '07' in work; there is none at all. Give the number"),
        ("there.ipynb", "There is no file there.ipynb. Give the number"),
    ],
)
def test_what_is_no_notebook_is_told(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.png").write_bytes(b"a picture")
    result = CliRunner().invoke(app.app, ["handin", name, "--work", "work"])
    assert result.exit_code == 1 and told in result.stderr and result.stderr.count("\n") == 1


def test_the_notebooks_that_are_there_are_named(work):
    with pytest.raises(CourseError, match=rf"no notebook '99' in .*; there (is|are) .*{NAME}"):
        submit.chosen("99", work)
