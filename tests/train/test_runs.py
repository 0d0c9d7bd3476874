"""What a run writes is whole, whatever comes between."""

import errno
import math
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from cvdl.errors import CourseError
from cvdl.files import read_json, replacing, write_json
from cvdl.train import runs
from cvdl.train.runs import Log, read_log, write_rows
from tests.train import full_disk

ROW = dict(seconds=1.5, loss=0.123456789, epe=2.0, lr=1e-4, held_out=None)


def save_tensors(path):
    save_file({"a": torch.zeros(100_000)}, path)


def save_checkpoint(path):
    torch.save({"a": torch.zeros(100_000)}, path)


def write_text(path):
    path.write_text("x" * 400_000)


@pytest.mark.parametrize("write", [save_tensors, save_checkpoint, write_text])
def test_a_full_disk_leaves_the_former_file(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("former")
    told = pytest.raises(CourseError, match=r"file could not be written .*disk full.*--resume")
    with full_disk(100_000), told, replacing(path) as beside:
        write(beside)
    assert path.read_text() == "former" and [p.name for p in tmp_path.iterdir()] == ["file"]
    with replacing(path) as beside:
        write(beside)
    assert path.stat().st_size >= 400_000 and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_nothing_is_moved_when_writing_is_broken_off(tmp_path):
    (tmp_path / "file").write_text("former")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "former" and len(list(tmp_path.iterdir())) == 1


def test_what_a_kill_left_is_written_over(tmp_path):
    with replacing(tmp_path / "file") as left:
        left.write_text("1")
    left.write_text("of a process that was killed, and longer")
    write_json(tmp_path / "file", {"a": 1})
    assert read_json(tmp_path / "file") == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_json(tmp_path):
    write_json(tmp_path / "card.json", {"ä": [1, None]})
    assert "ä" in (tmp_path / "card.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "card.json") == {"ä": [1, None]}
    (tmp_path / "card.json").write_text('{"ä": [1, nu')
    with pytest.raises(CourseError, match=r"card.json is damaged: .*repeat the stage"):
        read_json(tmp_path / "card.json")


# The log.


def test_a_log_grows_and_is_read(tmp_path):
    log = Log(tmp_path / "log.csv")
    log.add(step=1, **ROW)
    log.add(step=2, **ROW | {"held_out": 3.25})
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "step,seconds,loss,epe,lr,held_out",
        "1,1.5,0.123457,2,0.0001,",
        "2,1.5,0.123457,2,0.0001,3.25",
    ]
    first, second = read_log(tmp_path / "log.csv")
    assert first == {**ROW, "step": 1, "loss": 0.123457} and second["held_out"] == 3.25


def test_another_metric(tmp_path):
    """Gestures have no end-point error; and NaN, the error without ground truth, is an empty field."""
    row = {name: value for name, value in ROW.items() if name != "epe"}
    Log(tmp_path / "log.csv", "error").add(step=1, error=math.nan, **row)
    assert (tmp_path / "log.csv").read_text() == "step,seconds,loss,error,lr,held_out\n1,1.5,0.123457,,0.0001,\n"
    assert read_log(tmp_path / "log.csv") == [{"step": 1, "error": None, **row, "loss": 0.123457}]


def test_rows_after_the_checkpoint_come_again(tmp_path):
    log = Log(tmp_path / "log.csv")
    for step in range(1, 6):
        log.add(step=step, **ROW)
    before = (tmp_path / "log.csv").read_text()
    log = Log(tmp_path / "log.csv", until=3)
    assert [row["step"] for row in read_log(tmp_path / "log.csv")] == [1, 2, 3]
    for step in (4, 5):
        log.add(step=step, **ROW)
    assert (tmp_path / "log.csv").read_text() == before
    Log(tmp_path / "log.csv")
    assert read_log(tmp_path / "log.csv") == []


@pytest.mark.parametrize("torn", ["3", "3,1", "3,1.5,0.12", ",,,,,", "", "\n\n"])
def test_a_row_that_was_cut_off_is_no_row_of_the_past(tmp_path, torn):
    """A kill while a row is written: it is after the last checkpoint, and must not keep the log from being read."""
    log = Log(tmp_path / "log.csv")
    log.add(step=1, **ROW)
    log.add(step=2, **ROW)
    whole = (tmp_path / "log.csv").read_text()
    (tmp_path / "log.csv").write_text(whole + torn)
    Log(tmp_path / "log.csv", until=2)
    assert (tmp_path / "log.csv").read_text() == whole


def test_a_full_disk_while_logging(tmp_path, monkeypatch):
    log = Log(tmp_path / "log.csv")
    log.add(step=1, **ROW)
    with full_disk(60), pytest.raises(CourseError, match=r"log.csv could not be written .*--resume"):
        log.add(step=2, **ROW)
    Log(tmp_path / "log.csv", until=1).add(step=2, **ROW)
    assert [row["step"] for row in read_log(tmp_path / "log.csv")] == [1, 2]


def test_rows_of_a_table(tmp_path):
    """As of held-out samples.  A full disk leaves the former table."""
    path = tmp_path / "held_out.csv"
    rows = [{"sample": "chairs/00", "epe": 0.123456789}, {"sample": "a, b", "epe": math.nan}]
    write_rows(path, rows)
    assert path.read_text() == 'sample,epe\nchairs/00,0.123457\n"a, b",\n'
    with full_disk(20), pytest.raises(CourseError, match=r"held_out\.csv could not be written"):
        write_rows(path, rows[:1] * 2)
    assert path.read_text().endswith('"a, b",\n') and len(list(tmp_path.iterdir())) == 1


def test_no_space_left(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(CourseError, match="No space left on device"):
        write_json(tmp_path / "card.json", {})


# What a card says.


def test_commit_is_that_of_the_repository(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path)]
    name = ["-c", "user.name=x", "-c", "user.email=x@x"]
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert runs.commit() is None
    (tmp_path / "cvdl").mkdir()
    (tmp_path / "cvdl/a.py").write_text("1")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, *name, "commit", "-qm", "x"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert runs.commit() == head[:12]
    (tmp_path / "other").write_text("not of the library")
    assert runs.commit() == head[:12]
    (tmp_path / "cvdl/a.py").write_text("2")
    assert runs.commit() == head[:12] + "+"
    monkeypatch.setenv("PATH", "")
    assert runs.commit() is None


def test_hardware(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(runs, "processor", lambda: "Chip")
    assert runs.hardware("cpu") == "2 CPU threads (Chip)" and runs.hardware("cpu", 3) == "6 CPU threads (Chip)"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(runs, "processor", lambda: "")
    assert runs.hardware("cpu") == "1 CPU thread"
    for name, memory, wanted in (
        ("NVIDIA H100 80GB HBM3", 85_017_755_648, "H100 80 GB"),
        ("NVIDIA A100-SXM4-40GB", 42_405_855_232, "A100 40 GB"),
        ("Tesla T4", 15_843_721_216, "Tesla T4 16 GB"),
        ("NVIDIA GeForce RTX 3060", 12_628_656_128, "GeForce RTX 3060 12 GB"),
    ):
        properties = type("Properties", (), {"total_memory": memory})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, p=properties: p)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, n=name: n)
        assert runs.hardware("cuda") == f"one {wanted}" and runs.hardware("cuda", 4) == f"4 {wanted}"


@pytest.mark.parametrize(
    "called, told",
    [
        ("/x/.venv/bin/cvdl", "cvdl train spynet"),
        ("/x/cvdl/__main__.py", "cvdl train spynet"),
        ("/home/client/bin/pytest", None),
        ("-c", None),
    ],
)
def test_command(monkeypatch, called, told):
    monkeypatch.setattr(sys, "argv", [called, "train", "spynet"])
    assert runs.command() == told


@pytest.mark.parametrize("out", [["--out", "/home/me/my runs"], ["--out=/home/me/my runs"]])
def test_a_command_does_not_name_the_folder(monkeypatch, out):
    monkeypatch.setattr(sys, "argv", ["cvdl", "train", "spynet", *out, "--resume"])
    assert runs.command() == "cvdl train spynet --resume"


def test_running_mean():
    assert runs.running_mean([3.0, 5.0, 7.0, 1.0], 2) == [3, 4, 6, 4] and runs.running_mean([2.0, 4.0]) == [2, 3]
    assert runs.running_mean([]) == []
