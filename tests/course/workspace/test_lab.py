"""Notebooks reach the student's folder, and nothing of the student's is ever written to."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cvdl.cli.app import app
from cvdl.course.workspace import lab
from cvdl.errors import CourseError, WriteFailed
from cvdl.settings import ROOT

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
    return lab.deliver(course / "notebooks", course / "work")


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
    assert {p.name for p in (course / "work").iterdir()} == {NAME, lab.RECORD}


def test_unchanged(course):
    edit(course)
    assert deliver(course) == []
    assert work(course) == {NAME: "mine"}


def test_one_more_notebook(course):
    (course / "notebooks/02_b.ipynb").write_text("b")
    deliver(course)
    assert work(course) == {NAME: "one", "02_b.ipynb": "b"}


def test_changed(course):
    edit(course)
    update(course, "two")
    (said,) = deliver(course)
    assert "01_a.new.ipynb" in said
    assert deliver(course) == []
    assert work(course) == {NAME: "mine", "01_a.new.ipynb": "two"}


def test_a_copy_nobody_touched_is_updated_in_place(course):
    for text in ("two", "three"):
        update(course, text)
        assert deliver(course) == [f"Updated: {course / 'work' / NAME}"]
        assert deliver(course) == []
    assert work(course) == {NAME: "three"}
    edit(course)
    update(course, "four")
    deliver(course)
    assert work(course) == {NAME: "mine", "01_a.new.ipynb": "four"}


def test_a_copy_set_back_to_what_was_delivered_is_updated_in_place(course):
    edit(course)
    edit(course, text="one")
    update(course, "two")
    deliver(course)
    assert work(course) == {NAME: "two"}


def test_changed_twice_replaces_a_new_one_nobody_touched(course):
    edit(course)
    for text in ("two", "three"):
        update(course, text)
        deliver(course)
    assert work(course) == {NAME: "mine", "01_a.new.ipynb": "three"}


def test_a_new_one_worked_in_is_kept(course):
    edit(course)
    for n, text in enumerate(("two", "three", "four")):
        update(course, text)
        deliver(course)
        edit(course, f"01_a.new{'' if n == 0 else f'.{n + 1}'}.ipynb", f"mine {n}")
    assert work(course) == {
        NAME: "mine",
        "01_a.new.ipynb": "mine 0",
        "01_a.new.2.ipynb": "mine 1",
        "01_a.new.3.ipynb": "mine 2",
    }


def test_a_new_one_thrown_away_does_not_come_back(course):
    edit(course)
    update(course, "two")
    deliver(course)
    (course / "work/01_a.new.ipynb").unlink()
    assert deliver(course) == []
    assert work(course) == {NAME: "mine"}


def test_own_copy_thrown_away_gets_the_newest(course):
    edit(course)
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
    edit(course)
    update(course, "two")
    deliver(course)
    harm(course / "work" / lab.RECORD)
    assert deliver(course) == []  # the newest is there already
    harm(course / "work" / lab.RECORD)
    update(course, "three")
    deliver(course)
    assert work(course) == {NAME: "mine", "01_a.new.ipynb": "two", "01_a.new.2.ipynb": "three"}
    assert deliver(course) == []


@pytest.mark.parametrize("harm", RECORDS.values(), ids=RECORDS)
def test_without_record_an_edited_notebook_is_kept(course, harm):
    edit(course)
    harm(course / "work" / lab.RECORD)
    deliver(course)
    assert work(course) == {NAME: "mine", "01_a.new.ipynb": "one"}


class Server:
    """What `lab` uses of a server of Jupyter: its callbacks run one after the other once it has started."""

    def __init__(self, port, ip="localhost", base_url="/", certfile="", token="abc"):
        self.port, self.ip, self.base_url, self.certfile = port, ip, base_url, certfile
        self.identity_provider = SimpleNamespace(token=token)
        self.web_app = SimpleNamespace(settings={})
        self.io_loop, self.callbacks = self, []

    def add_callback(self, function, *args):
        self.callbacks.append((function, args))

    def start(self):
        print("listening")
        for function, args in self.callbacks:
            function(*args)


@pytest.fixture
def jupyter(monkeypatch, course):
    """Stands in for JupyterLab; the list of arguments it was called with."""
    from jupyterlab.labapp import LabApp

    calls = []

    def initialize_server(argv):
        calls.append(argv)
        port = next(a for a in argv if a.startswith("--port=")).removeprefix("--port=")
        return Server(int(port))

    monkeypatch.setattr(LabApp, "initialize_server", initialize_server)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(lab, "ROOT", course)
    monkeypatch.setenv("JUPYTER_TOKEN", "abc")
    return calls


def test_lab_opens_the_first_own_copy(jupyter, course, capsys):
    lab.lab(course / "work", lab.free_port(9400), browser=False)
    (arguments,) = jupyter
    assert arguments[0] == str(course / "work" / NAME) and "--no-browser" in arguments
    port = next(a for a in arguments if a.startswith("--port=")).removeprefix("--port=")
    _, listening, address = capsys.readouterr().out.partition("listening")  # nobody calls before
    assert listening and f"JupyterLab is at http://localhost:{port}/lab/tree/{NAME}?token=abc\n" in address


@pytest.mark.parametrize(
    "settings, address",
    [
        ({"token": ""}, "http://localhost:8888/lab/tree/01_a.ipynb"),  # there is a password
        ({"ip": "0.0.0.0"}, "http://localhost:8888/lab/tree/01_a.ipynb?token=abc"),
        ({"ip": "10.0.0.7", "certfile": "mine.pem"}, "https://10.0.0.7:8888/lab/tree/01_a.ipynb?token=abc"),
    ],
)
def test_the_address_is_that_of_the_server(settings, address, capsys):
    lab.announce(Server(8888, **settings), NAME)
    assert f"JupyterLab is at {address}\n" in capsys.readouterr().out


def test_the_users_own_settings_do_not_move_the_course(course, tmp_path):
    """JupyterLab itself, as far as it comes without listening, with settings that name another folder."""
    (tmp_path / "jupyter_server_config.py").write_text(
        "for part in (c.ServerApp, c.FileContentsManager):\n"
        "    part.root_dir = part.preferred_dir = '/'\n"
        "c.ServerApp.base_url, c.ServerApp.default_url, c.ServerApp.file_to_run = '/me/', '/me', 'mine.ipynb'\n"
    )
    code = (
        "import pathlib, sys; from cvdl.course.workspace import lab as desk; from jupyter_server.serverapp import ServerApp\n"
        "desk.ROOT, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]) / 'work'\n"
        "def start(server):\n"
        "    manager = server.contents_manager\n"
        "    print(server.root_dir, server.preferred_dir, manager.root_dir, server.file_to_run, sep='\\n')\n"
        "    print([server.base_url, manager.preferred_dir, server.web_app.settings['page_config_hook'](None, {})])\n"
        "    server._resolve_file_to_run_and_root_dir()\n"
        "ServerApp.start = start\n"
        "desk.lab(folder, desk.free_port(9500), browser=False)\n"
    )
    env = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, course], env=env, capture_output=True, text=True)
    work = str(course / "work")
    assert done.stdout.splitlines() == [
        *(work, work, work, f"{work}/{NAME}"),
        str(["/", "", {"disabledExtensions": ["@jupyterlab/apputils-extension:announcements"]}]),
    ], done.stderr
    assert "Warn" not in done.stderr and "[W" not in done.stderr


FOLDERS = {
    "a file": lambda path: path / "notebooks" / NAME,
    "below a file": lambda path: path / "notebooks" / NAME / "work",
    "too long a name": lambda path: path / ("a" * 300),
}
if Path("/proc").is_dir():
    FOLDERS["in the folder of processes"] = lambda path: Path("/proc/work")


@pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_cannot_be_written_to(jupyter, course, folder):
    done = CliRunner().invoke(app, ["lab", "--work", str(folder(course))])
    assert done.exit_code == 1 and not jupyter
    assert len(done.stderr.splitlines()) == 1 and "cvdl lab --work FOLDER" in done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(jupyter, course):
    course.chmod(0o500)
    with pytest.raises(WriteFailed, match="cvdl lab --work FOLDER"):
        lab.lab(course / "other")
    course.chmod(0o700)


def test_lab_says_which_port_it_takes(jupyter, course, capsys):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        lab.lab(course / "work", port)
    assert f"Port {port} is taken" in capsys.readouterr().out
    assert f"--port={port}" not in jupyter[0] and "--no-browser" not in jupyter[0]


@pytest.mark.parametrize("user, expected", [(0, True), (1000, False)])
def test_root_is_allowed_only_to_root(jupyter, course, monkeypatch, user, expected):
    monkeypatch.setattr("os.geteuid", lambda: user, raising=False)
    lab.lab(course / "work")
    assert ("--allow-root" in jupyter[0]) == expected


def test_lab_without_jupyterlab(jupyter, course, monkeypatch):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r'pip install -e "\.\[notebook,lab\]"'):
        lab.lab(course / "work")
    assert not jupyter


def test_lab_without_notebooks(jupyter, monkeypatch, tmp_path):
    monkeypatch.setattr(lab, "ROOT", tmp_path / "elsewhere")
    with pytest.raises(CourseError, match="clone it"):
        lab.lab(tmp_path / "work")


def test_a_folder_that_cannot_be_made_is_named(jupyter, course):
    (course / "file").write_text("")
    for work in (course / "file", course / "file" / "work", course / ("x" * 300)):
        with pytest.raises(CourseError, match=r"cannot be created.*--work FOLDER"):
            lab.lab(work)
    assert not jupyter
