"""`cvdl bench`: the table is complete, and every variant computes the same."""

import json
import sys
from itertools import accumulate, count
from types import SimpleNamespace

import pytest
import torch
import typer
from typer.testing import CliRunner

from cvdl.cli import app, bench
from cvdl.errors import CourseError
from cvdl.flow.correlation import correlation_loop
from cvdl.flow.models.flownet import FlowNetS


@pytest.mark.parametrize("name", bench.CORRELATIONS)
def test_variants_agree(name):
    torch.manual_seed(0)
    f1, f2 = torch.randn(2, 1, 8, 9, 14).unbind()
    assert (bench.CORRELATIONS[name](f1, f2) - correlation_loop(f1, f2)).abs().max() < 1e-6


@pytest.fixture
def clock(monkeypatch):
    """A clock of our own, read three times a run: forward takes k s in the k-th run, and backward 2 k s."""
    ticks = accumulate(taken for k in count(1) for taken in (1, k, 2 * k))
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))


def test_table_and_file(tmp_path, monkeypatch, clock):
    monkeypatch.setattr(bench, "_memory", bench._growth)  # in this process: to start one for each variant takes long
    path = tmp_path / "bench.json"
    arguments = ["bench", "correlation", "--sizes", "3x4", "--repeats", "1", "--device", "cpu", "--json", str(path)]
    result = CliRunner().invoke(app.app, [*arguments, "--threads", str(torch.get_num_threads())])
    assert result.exit_code == 0, result.output
    assert all(result.stdout.count(name) >= 2 for name in bench.CORRELATIONS)  # in the table and under growth
    assert "run 1 of" in result.stderr
    saved = json.loads(path.read_text())
    assert saved["machine"]["threads"] == torch.get_num_threads()
    assert [row["variant"] for row in saved["results"]] == list(bench.CORRELATIONS)
    loop = saved["results"][0]["forward_ms"]
    for number, row in enumerate(saved["results"]):  # each variant runs twice, and the second run counts
        assert (row["forward_ms"], row["both_ms"]) == (loop + 2000 * number, 3 * row["forward_ms"])
        assert row["forward_ratio"] == row["both_ratio"] == loop / row["forward_ms"]
        assert row["extra_mb"] is None or row["extra_mb"] >= 0


def test_memory_is_that_of_a_fresh_process():
    """All windows take 115 MB, and their gradient as much. A process that has used more before does not grow."""
    torch.ones(2**27)
    grown = bench._memory("F.unfold", 1, 16, 16, 1, "cpu")
    assert grown > 200 if sys.platform == "linux" else grown is None


def test_sequence(tmp_path, clock):
    path, threads = tmp_path / "bench.json", str(torch.get_num_threads())
    arguments = ["bench", "sequence", "--repeats", "1", "--device", "cpu", "--threads", threads, "--json", str(path)]
    result = CliRunner().invoke(app.app, arguments)
    assert result.exit_code == 0, result.output
    torchs, ours = json.loads(path.read_text())["results"]
    assert [torchs["ms"], ours["ms"]] == [9000, 12000]  # runs 3 and 4: each layer has run once before
    assert torchs["ratio"] == 1 and ours["ratio"] == 12 / 9
    assert f"{ours['ratio']:.2f}" in result.stdout and ours["layer"] in result.stdout


@pytest.fixture
def counted(monkeypatch):
    """A clock that is read twice a run: the k-th run takes k ms."""
    ticks = accumulate(taken for k in count(1) for taken in (0, k / 1000))
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))


def test_training_from_a_pool(counted, monkeypatch):
    monkeypatch.setattr(bench, "FlowNetS", lambda width=1.0: FlowNetS(width / 8))
    rows = bench.bench_pool(2, repeats=1, size=(64, 96), crop=(64, 64))
    assert [row["ms"] for row in rows] == pytest.approx([7, 8, 9, 10, 11, 12])  # each has run once before
    load, augment, *_, complete, windows = rows
    assert load["step_share_percent"] == pytest.approx(700 / 9)
    assert augment["full_width_share_percent"] == pytest.approx(800 / 10)
    assert complete["pixels_per_second"] == pytest.approx(2 * 64 * 96 / 0.011) and complete["ratio"] == 1
    assert windows["ratio"] == pytest.approx(4 * 11 / 12)  # four windows, here as large as the frame
    text = bench.pool_table(rows)
    assert len(text.splitlines()) == 1 + len(rows) and "of a FlowNetS step" in text
    assert "77.8 %" in text and "80.0 %" in text and "(ratio 3.67)" in text


def test_data_command(tmp_path, monkeypatch):
    """Only with --step is training measured, too."""
    step_ms, calls = {"part": "augment it", "batch": 8, "ms": 5.0}, []
    monkeypatch.setattr(bench, "bench_pool", lambda *arguments, **options: calls.append(arguments) or [step_ms])
    monkeypatch.setattr(bench, "_step_ms", lambda *_: 100.0)
    monkeypatch.setattr(bench, "_pairs_per_second", lambda *_: 50.0)
    path = tmp_path / "bench.json"
    command = ["bench", "data", "--sizes", "64x64", "--device", "cpu", "--json", str(path)]
    plain = CliRunner().invoke(app.app, command)
    assert plain.exit_code == 0 and not calls and "augment it" not in plain.stdout, plain.output
    done = CliRunner().invoke(app.app, [*command, "--step", "--batch", "4"])
    assert done.exit_code == 0 and calls == [(4,)] and "augment it" in done.stdout, done.output
    *rendered, last = json.loads(path.read_text())["results"]
    assert last == step_ms and all(row["share_percent"] == pytest.approx(80) for row in rendered)


def test_what_does_not_fit_or_fails_is_left_out(monkeypatch):
    def fail(f1, f2):
        raise ImportError("No module named 'localcorr'")

    monkeypatch.setattr(
        bench, "CORRELATIONS", {name: bench.CORRELATIONS[name] for name in ("loop of shifts", "F.unfold")}
    )
    monkeypatch.setattr(bench, "ROOM", 1e6)
    monkeypatch.setitem(bench.CORRELATIONS, "broken", fail)
    monkeypatch.setattr(bench, "_memory", bench._growth)  # in this process, where the replacement is known
    results = bench.bench_correlation([(4, 4)], repeats=1)
    assert [row.get("skipped") for row in results] == [None, "needs 0.0 GB", "ImportError: No module named 'localcorr'"]
    assert "left out: ImportError" in bench.table(results)


def test_sizes():
    assert bench.parse_sizes("24x32,1x1,8×9") == [(24, 32), (1, 1), (8, 9)]
    for wrong in ("", "24", "24x", "0x4", "24x32,", "-1x3", "24 x 32"):
        with pytest.raises(CourseError, match="24x32,48x64"):
            bench.parse_sizes(wrong)


@pytest.mark.parametrize(
    "wrong", [["--sizes", "3"], ["--device", "abacus"], ["--json", "no/such/folder/x.json"], ["--repeats", "0"]]
)
def test_misuse(wrong):
    result = CliRunner().invoke(app.app, ["bench", "correlation", *wrong])
    assert result.exit_code in (1, 2) and "Traceback" not in result.output and result.stdout == ""


def test_commands_explain_themselves():
    for name, command in typer.main.get_command(app.app).commands["bench"].commands.items():
        assert command.help, name
        assert all(option.help for option in command.params), name
