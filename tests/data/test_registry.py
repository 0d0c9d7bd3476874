"""`cvdl data`: what is here, missing or broken, and downloads that break off."""

import hashlib
import io
import shutil
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.cli.inventory import look, page, table
from cvdl.data.downloads import fetch
from cvdl.data.registry import SETS, File, find, real_folder, sets_folder
from cvdl.errors import CourseError
from cvdl.flow.data.real import open_pairs
from cvdl.settings import ROOT
from tests.flow.trees import TREES
from tests.train import full_disk

pytest.importorskip("pooch", reason="pooch, of the extra [data], fetches sets")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_SETS", str(tmp_path / "sets"))
    monkeypatch.setenv("CVDL_REAL", "")
    return tmp_path / "sets"


def run(*arguments):
    return CliRunner().invoke(app.app, ["data", *arguments])


# Where sets lie.


def test_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("CVDL_SETS", raising=False)
    assert sets_folder() == ROOT / "sets"
    monkeypatch.setenv("CVDL_SETS", str(tmp_path))
    assert sets_folder() == tmp_path
    for value, wanted in (("", None), (tmp_path / "no", None), (tmp_path, tmp_path / "flow")):
        (tmp_path / "flow").mkdir(exist_ok=True)
        monkeypatch.setenv("CVDL_REAL", str(value))
        assert real_folder() == wanted


def test_a_set_is_found_in_the_first_place_that_has_all_of_it(nowhere, tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_REAL", str(tmp_path / "real"))
    TREES["kitti2015"](tmp_path / "real" / "flow")
    (nowhere / "KittiFlow").mkdir(parents=True)
    entry = SETS["kitti2015"]
    assert find(entry, "train") == tmp_path / "real" / "flow"
    with pytest.raises(CourseError, match="is not whole"):
        find(entry, "train", nowhere)
    TREES["kitti2015"](nowhere)
    assert find(entry, "train") == find(entry, "train", str(nowhere)) == nowhere


def test_every_entry_is_complete():
    for name, entry in SETS.items():
        assert entry.name == name and entry.page.startswith("http") and entry.needs.keys() == entry.pairs.keys()
        assert "train" in entry.needs and all((entry.title, entry.size, entry.terms)) and "{}" in entry.how
        assert all(len(file.sha256 or "0" * 64) == 64 for file in entry.files)


# State.


@pytest.mark.parametrize("name", SETS)
def test_states(nowhere, tmp_path, name):
    entry = SETS[name]
    assert look(entry).name == "missing" and not look(entry).problems and run(name).exit_code == 0
    (nowhere / entry.folder / "unpacked_one_too_deep").mkdir(parents=True)
    assert look(entry).name == "broken" and entry.needs["train"][0] in look(entry).problems[0]
    rows = TREES[name](nowhere)
    found = look(entry)
    assert found.name == "here" and not found.problems
    assert found.pairs == {split: len(rows[split]) for split in entry.needs}
    text = run(name).stdout
    assert f"train {found.pairs['train']}" in text and "missing" not in text.split("\n\n")[1]
    part = nowhere / entry.folder / entry.needs["train"][-1]
    part.rename(tmp_path / "lost")
    found = look(entry)
    assert (
        found.name == "broken"
        and "train" not in found.pairs
        and f"lacks {entry.needs['train'][-1]}" in found.problems[0]
    )
    assert found.problems[0] in run(name).stdout


def test_a_split_that_was_not_fetched_is_no_damage(nowhere):
    TREES["sintel-clean"](nowhere)
    shutil.rmtree(nowhere / "Sintel" / "test")
    assert look(SETS["sintel-clean"]).name == "here" and look(SETS["sintel-clean"]).pairs == {"train": 4}
    text = page("sintel-clean")
    assert "Pairs: train 4 of 1,041\n" in text
    assert [line.split()[:2] for line in text.split("\n\n")[1].splitlines()[1:]] == [
        ["training/clean", "here"],
        ["training/flow", "here"],
        ["test/clean", "missing"],
        ["training/occlusions", "here"],
        ["training/invalid", "here"],
    ]


def test_table(nowhere, tmp_path, monkeypatch):
    TREES["middlebury"](nowhere)
    TREES["hd1k"](nowhere)
    (nowhere / "hd1k/hd1k_input/image_2/000000_0011.png").unlink()
    result = run()
    assert (result.exit_code, result.stdout) == (0, table() + "\n")
    states = dict(line.split()[:2] for line in result.stdout.splitlines() if line)
    wanted = dict.fromkeys(SETS, "missing") | {"middlebury": "here", "hd1k": "broken"}
    assert wanted.items() <= states.items()
    assert "Broken: HD1K" in result.stdout and "000000_0011.png is missing" in result.stdout
    assert "real" not in states and str(nowhere) in result.stdout
    assert all(entry.size in result.stdout and entry.terms in result.stdout for entry in SETS.values())
    monkeypatch.setenv("CVDL_REAL", str(tmp_path / "real"))
    TREES["sintel-clean"](tmp_path / "real" / "flow")
    assert "\nreal " in run().stdout
    shutil.rmtree(tmp_path / "real" / "flow" / "Sintel" / "training" / "flow")
    assert run().exit_code == 0 and "Broken: " in run().stdout


def test_unknown_names(nowhere):
    for arguments in (["sintel"], ["get", "sintel"], ["show", "sintel"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "") and "sintel-clean" in result.stderr
        assert result.stderr.count("\n") == 1
    for arguments in (["get"], ["sintel-clean", "now"], ["--wrong"]):
        assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("name", [name for name, entry in SETS.items() if not entry.files])
def test_what_may_not_be_fetched_is_explained(nowhere, name):
    result = run("get", name)
    assert result.exit_code == 1 and SETS[name].page in result.stderr and SETS[name].size in result.stderr
    assert not nowhere.exists()


# Downloads, from a server on this machine.


class Owner(BaseHTTPRequestHandler):
    """Gives `content`; breaks off `after` so many bytes, if that is set."""

    content, after, asked = b"", None, 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: self.after])

    def log_message(self, *_):
        pass


@pytest.fixture
def owner(nowhere, tmp_path, monkeypatch):
    """A server that has Middlebury as one archive; a class whose attributes say how it behaves."""
    TREES["middlebury"](tmp_path / "original")
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in sorted((tmp_path / "original" / "Middlebury").rglob("*.*")):
                archive.write(path, path.relative_to(tmp_path / "original" / "Middlebury"))
        content = buffer.getvalue()
    handler = type("ThisOwner", (Owner,), {"content": content})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler.url = f"http://127.0.0.1:{server.server_port}/all.zip"
    offer(monkeypatch, handler)
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def offer(monkeypatch, owner, sha256=None, url=None):
    monkeypatch.setitem(SETS, "middlebury", SETS["middlebury"]._replace(files=(File(url or owner.url, sha256),)))


def test_fetch(owner, nowhere, capsys):
    result = run("get", "middlebury")
    assert result.exit_code == 0 and "Middlebury: here" in result.stdout and "all:" not in result.stdout
    assert "100%" in result.stderr and "all.zip.sha256" in result.stderr  # a bar, and where the checksum is
    assert [sample.name for sample in open_pairs("middlebury")] == ["RubberWhale", "Venus"]
    record = (nowhere / "downloads" / "all.zip.sha256").read_text().split()
    assert record == [hashlib.sha256(owner.content).hexdigest(), "all.zip"]
    assert [path.name for path in (nowhere / "downloads").iterdir()] == ["all.zip.sha256"]
    assert run("get", "middlebury").exit_code == 0 and owner.asked == 1  # it is here, and not fetched again


def test_a_download_that_breaks_off_leaves_nothing_and_can_be_repeated(owner, nowhere):
    owner.after = 1000
    result = run("get", "middlebury")
    assert result.exit_code == 1 and "failed: IncompleteRead(1000 bytes read" in result.stderr.split("\n")[-2]
    assert "\nFetching " in result.stderr  # on its own line, below the bar
    assert "Repeat the command" in result.stderr and "Traceback" not in result.output
    assert not list((nowhere / "downloads").iterdir()) and not (nowhere / "Middlebury").exists()
    owner.after = None
    assert run("get", "middlebury").exit_code == 0 and len(open_pairs("middlebury")) == 2


def test_a_full_disk_leaves_nothing(owner, nowhere):
    with full_disk(1000):
        result = run("get", "middlebury")
    assert (
        result.exit_code == 1 and "/downloads cannot be written to: " in result.stderr and "CVDL_SETS" in result.stderr
    )
    assert not list((nowhere / "downloads").iterdir()) and not (nowhere / "Middlebury").exists()


def test_checksums(owner, nowhere, monkeypatch):
    offer(monkeypatch, owner, sha256="0" * 64)
    with pytest.raises(CourseError, match="SHA-256 is not 0000"):
        fetch(SETS["middlebury"])
    assert not (nowhere / "Middlebury").exists() and not list((nowhere / "downloads").iterdir())
    offer(monkeypatch, owner, sha256=hashlib.sha256(owner.content).hexdigest())
    assert fetch(SETS["middlebury"]) == nowhere / "Middlebury"
    assert not list((nowhere / "downloads").iterdir())  # a known checksum needs no record


def test_a_recorded_checksum_counts_the_next_time(owner, nowhere):
    fetch(SETS["middlebury"])
    shutil.rmtree(nowhere / "Middlebury")
    fetch(SETS["middlebury"])
    shutil.rmtree(nowhere / "Middlebury")
    owner.content = owner.content[:-1] + b"!"
    with pytest.raises(CourseError, match=r"all\.zip\.sha256"):
        fetch(SETS["middlebury"])
    (nowhere / "downloads" / "all.zip.sha256").unlink()
    owner.content = owner.content[:500]
    with pytest.raises(CourseError, match="cannot be unpacked"):
        fetch(SETS["middlebury"])
    assert not (nowhere / "downloads" / "all.zip.sha256").exists()


def test_an_archive_without_the_set_is_no_success(owner, nowhere):
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("readme.txt", "nothing else")
            archive.writestr("../outside.txt", "a file that must not be written")
        owner.content = buffer.getvalue()
    result = run("get", "middlebury")
    assert result.exit_code == 1 and "Middlebury: broken" in result.stdout and "Traceback" not in result.output
    assert not (nowhere / "outside.txt").exists()


def test_an_archive_fetched_by_hand_is_used(owner, nowhere):
    (nowhere / "downloads").mkdir(parents=True)
    (nowhere / "downloads" / "all.zip").write_bytes(owner.content)
    fetch(SETS["middlebury"])
    assert not owner.asked and len(open_pairs("middlebury")) == 2


def test_no_net_no_file_no_pooch(owner, nowhere, monkeypatch):
    offer(monkeypatch, owner, url="http://127.0.0.1:9/all.zip")
    result = run("get", "middlebury")
    assert result.exit_code == 1 and "Connection refused" in result.stderr and result.stderr.count("\n") == 1
    owner.do_GET = lambda self: self.send_error(404)
    offer(monkeypatch, owner)
    assert "404 Client Error: Not Found" in run("get", "middlebury").stderr
    nowhere.mkdir(exist_ok=True)
    shutil.rmtree(nowhere / "downloads", ignore_errors=True)
    (nowhere / "downloads").write_text("a file where the folder should be")
    assert "CVDL_SETS" in run("get", "middlebury").stderr
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert 'pip install -e ".[data]"' in run("get", "middlebury").stderr
