"""Notebooks reach the student's folder, and nothing of the student's is ever written to."""

import socket

import pytest

from cvdl.course import desk
from cvdl.errors import CourseError

NAME = "01_a.ipynb"


@pytest.fixture
def course(tmp_path):
    """A course of one notebook, delivered once."""
    (tmp_path / "notebooks").mkdir()
    update(tmp_path, "one")
    assert deliver(tmp_path) == [f"New: {tmp_path / 'work' / NAME}"]
    return tmp_path


def update(course, text):
    (course / "notebooks" / NAME).write_text(text)


def deliver(course):
    return desk.deliver(course / "notebooks", course / "work")


def work(course):
    return {p.name: p.read_text() for p in (course / "work").glob("*.ipynb")}


def edit(course, name=NAME, text="mine"):
    (course / "work" / name).write_text(text)


def test_missing(course):
    assert work(course) == {NAME: "one"}
    (course / "work" / NAME).unlink()
    deliver(course)
    assert work(course) == {NAME: "one"}


def test_nothing_else_is_left_behind(course):
    assert {p.name for p in (course / "work").iterdir()} == {NAME, desk.RECORD}


def test_unchanged(course):
    edit(course)
    assert deliver(course) == []
    assert work(course) == {NAME: "mine"}


def test_one_more_notebook(course):
    (course / "notebooks/02_b.ipynb").write_text("b")
    deliver(course)
    assert work(course) == {NAME: "one", "02_b.ipynb": "b"}


@pytest.mark.parametrize("mine", ["one", "mine"], ids=["not edited", "edited"])
def test_changed(course, mine):
    edit(course, text=mine)
    update(course, "two")
    (said,) = deliver(course)
    assert "01_a.new.ipynb" in said
    assert deliver(course) == []
    assert work(course) == {NAME: mine, "01_a.new.ipynb": "two"}


def test_changed_twice_replaces_a_new_one_nobody_touched(course):
    for text in ("two", "three"):
        update(course, text)
        deliver(course)
    assert work(course) == {NAME: "one", "01_a.new.ipynb": "three"}


def test_a_new_one_worked_in_is_kept(course):
    for n, text in enumerate(("two", "three", "four")):
        update(course, text)
        deliver(course)
        edit(course, f"01_a.new{'' if n == 0 else f'.{n + 1}'}.ipynb", f"mine {n}")
    assert work(course) == {
        NAME: "one",
        "01_a.new.ipynb": "mine 0",
        "01_a.new.2.ipynb": "mine 1",
        "01_a.new.3.ipynb": "mine 2",
    }


def test_a_new_one_thrown_away_does_not_come_back(course):
    update(course, "two")
    deliver(course)
    (course / "work/01_a.new.ipynb").unlink()
    assert deliver(course) == []
    assert work(course) == {NAME: "one"}


def test_own_copy_thrown_away_gets_the_newest(course):
    update(course, "two")
    deliver(course)
    (course / "work" / NAME).unlink()
    deliver(course)
    assert work(course) == {NAME: "two", "01_a.new.ipynb": "two"}


RECORDS = {
    "deleted": lambda path: path.unlink(),
    "cut off": lambda path: path.write_text(path.read_text()[:9]),
    "binary": lambda path: path.write_bytes(b"\xff\x00"),
    "a list": lambda path: path.write_text("[1]"),
    "of numbers": lambda path: path.write_text(f'{{"{NAME}": 1}}'),
}


@pytest.mark.parametrize("harm", RECORDS.values(), ids=RECORDS)
def test_without_record_everything_counts_as_worked_in(course, harm):
    update(course, "two")
    deliver(course)
    harm(course / "work" / desk.RECORD)
    assert deliver(course) == []  # the newest is there already
    harm(course / "work" / desk.RECORD)
    update(course, "three")
    deliver(course)
    assert work(course) == {NAME: "one", "01_a.new.ipynb": "two", "01_a.new.2.ipynb": "three"}
    assert deliver(course) == []


@pytest.mark.parametrize("harm", RECORDS.values(), ids=RECORDS)
def test_without_record_an_edited_notebook_is_kept(course, harm):
    edit(course)
    harm(course / "work" / desk.RECORD)
    deliver(course)
    assert work(course) == {NAME: "mine", "01_a.new.ipynb": "one"}


@pytest.fixture
def jupyter(monkeypatch, course):
    """Stands in for JupyterLab; the list of arguments it was called with."""
    from jupyterlab import labapp

    calls = []
    monkeypatch.setattr(labapp, "main", calls.append)
    monkeypatch.setattr(desk, "ROOT", course)
    monkeypatch.setenv("JUPYTER_TOKEN", "abc")
    return calls


def test_lab_opens_the_first_own_copy(jupyter, course, capsys):
    desk.lab(course / "work", desk.free_port(9400), browser=False)
    (arguments,) = jupyter
    assert arguments[0] == str(course / "work" / NAME) and "--no-browser" in arguments
    port = next(a for a in arguments if a.startswith("--port=")).removeprefix("--port=")
    assert f"http://localhost:{port}/lab/tree/{NAME}?token=abc" in capsys.readouterr().out


def test_lab_says_which_port_it_takes(jupyter, course, capsys):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        desk.lab(course / "work", port)
    assert f"Port {port} is taken" in capsys.readouterr().out
    assert f"--port={port}" not in jupyter[0] and "--no-browser" not in jupyter[0]


@pytest.mark.parametrize("user, expected", [(0, True), (1000, False)])
def test_root_is_allowed_only_to_root(jupyter, course, monkeypatch, user, expected):
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    desk.lab(course / "work")
    assert ("--allow-root" in jupyter[0]) == expected


def test_lab_without_jupyterlab(jupyter, course, monkeypatch):
    monkeypatch.setattr(desk.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r'pip install -e "\.\[lab\]"'):
        desk.lab(course / "work")
    assert not jupyter


def test_lab_without_notebooks(jupyter, monkeypatch, tmp_path):
    monkeypatch.setattr(desk, "ROOT", tmp_path / "elsewhere")
    with pytest.raises(CourseError, match="clone it"):
        desk.lab(tmp_path / "work")


def test_lab_passes_what_its_address_relies_on(jupyter, course):
    """A user's own Jupyter configuration may name another folder or base URL."""
    desk.lab(course / "work")
    (arguments,) = jupyter
    work = course / "work"
    for setting in (f"root_dir={work}", f"preferred_dir={work}", "base_url=/"):
        assert f"--ServerApp.{setting}" in arguments


def test_a_folder_that_cannot_be_made_is_named(jupyter, course):
    (course / "file").write_text("")
    for work in (course / "file", course / "file" / "work", course / ("x" * 300)):
        with pytest.raises(CourseError, match=r"cannot be made.*--work FOLDER"):
            desk.lab(work)
    assert not jupyter
