"""Training can be stopped, killed and divided between processes, and comes to the same weights."""

import copy
import csv
import os
import signal
import socket
import statistics
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning.fabric
import pytest
import torch
from filelock import FileLock
from lightning.fabric.plugins import MixedPrecision
from safetensors.torch import load_file
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.data import textures
from cvdl.errors import CourseError, InvalidInput, MissingDependency, TrainingDiverged
from cvdl.files import read_json
from cvdl.flow import FlowNetS, SPyNet, epe
from cvdl.flow.data import pool
from cvdl.flow.data.pool import Mixture, Pool
from cvdl.settings import ROOT
from cvdl.train import loop
from cvdl.train.recipes import RECIPES
from cvdl.train.recipes.flow import FlowStage, use_levels
from cvdl.train.recipes.flow_losses import multiscale_loss, pyramid_loss
from cvdl.train.runs import read_log
from cvdl.train.stages import Recipe, lr_factor, settings, unfreeze_all
from cvdl.train.yardstick import Yardstick
from cvdl.zoo import read_weights
from tests import RUNAWAY
from tests.train import FEW, SIZE, apart, full_disk, tiny

FILES = ["card.json", "held_out_end.csv", "held_out_start.csv", "log.csv", "weights.safetensors"]
SMALLER = {"batch": 1, "size": (32, 32)}  # for half precision, which took a CPU 14 times as long as float32


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the processes that are started: with another number, sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def pools(tmp_path_factory):
    """The folder of pools that all runs share, so that they are rendered once, and compared with the renderer once."""
    cvdl_train.pools, checked = tmp_path_factory.mktemp("pools"), set()

    def check_first(path, *arguments, check=pool.check_first):
        if path not in checked:
            check(path, *arguments)
            checked.add(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "check_first", check_first)
        yield cvdl_train.pools


def make_small(patch):
    """The tiny recipe, and few held-out pairs."""
    patch.setitem(RECIPES, "tiny", tiny())
    for name, number in FEW.items():
        patch.setattr(loop, name, number)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


def cvdl_train(out, *options, recipe="tiny"):
    command = ["train", recipe, "--profile", "quick", "--device", "cpu", "--out", out, "--pool", cvdl_train.pools]
    return CliRunner().invoke(app.app, [*map(str, command), *map(str, options)])


def finish(out, *options):
    result = cvdl_train(out, *options)
    assert result.exit_code == 0 and f"{out}: finished" in result.stderr, result.output
    return out


def refused(result):
    """What an error says: one paragraph, on stderr, after the progress bar."""
    assert result.exit_code == 1 and "Traceback" not in result.output and result.stdout == "", result.output
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_thread, pools):
    """A run that was never stopped."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        return finish(tmp_path_factory.mktemp("whole") / "run")


def same(out, whole, tolerance=0.0, stages=("level0", "level1", "joint")):
    for stage in stages:
        logs = [read_log(folder / stage / "log.csv") for folder in (out, whole)]
        assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
        for row, wanted in zip(*logs, strict=True):
            for column in ("loss", "epe", "lr", "held_out"):
                number = (
                    wanted[column] if wanted[column] is None else pytest.approx(wanted[column], rel=tolerance, abs=0)
                )
                assert row[column] == number, (stage, row, column)
        ours, others = (load_file(folder / stage / "weights.safetensors") for folder in (out, whole))
        for name in others:
            torch.testing.assert_close(ours[name].float(), others[name].float(), rtol=0, atol=10 * tolerance)


# What a run does.


def test_a_run_leaves_logs_weights_and_cards(whole):
    assert sorted(path.name for path in whole.iterdir()) == [".lock", "joint", "level0", "level1", "run.json"]
    for number, name in enumerate(("level0", "level1", "joint")):
        assert sorted(path.name for path in (whole / name).iterdir()) == FILES
        rows = read_log(whole / name / "log.csv")
        assert [row["step"] for row in rows] == list(range(1, 9))
        card = read_json(whole / name / "card.json")
        assert (card["recipe"], card["profile"], card["seed"], card["scale"]) == ("tiny", "quick", 0, 1.0)
        assert (card["stage"], card["number"], card["steps"], card["batch"]) == (name, number, 8, 2)
        assert card["lr"] == 1e-3 and card["overrides"] == card["changes"] == []
        assert card["precision"] == "32-true" and "1 CPU thread" in card["hardware"]
        assert card["minutes"] == pytest.approx(rows[-1]["seconds"] / 60, abs=0.051)  # it is rounded
        assert {"command", "commit", "date", "torch"} <= set(card)
        assert card["data"]["mixture"] == {"chairs": 1.0} and card["data"]["pairs"] == {"chairs": 8}
        assert card["held_out"]["epe"] == pytest.approx(rows[-1]["held_out"], abs=1e-3)
        assert card["held_out"]["pairs"] == 3 and card["held_out"]["standard_error"] > 0
        weights = whole / name / "weights.safetensors"
        assert isinstance(read_weights(weights), SPyNet)
        assert all(value.dtype == torch.float16 for value in load_file(weights).values())


def held_out(folder, when):
    with (folder / f"held_out_{when}.csv").open(newline="") as file:
        return [{k: v if k == "sample" else float(v or "nan") for k, v in row.items()} for row in csv.DictReader(file)]


def test_a_row_for_each_held_out_pair(whole):
    """Before and after each stage; the numbers on the card follow from those after it."""
    for name in ("level0", "level1", "joint"):
        start, end = (held_out(whole / name, when) for when in ("start", "end"))
        assert (
            [row["sample"] for row in start] == [row["sample"] for row in end] == ["chairs/00", "things/00", "even/00"]
        )
        assert [row["zero_flow"] for row in start] == [row["zero_flow"] for row in end]
        assert all(before["epe"] != after["epe"] for before, after in zip(start, end, strict=True))
        errors, card = [row["epe"] for row in end], read_json(whole / name / "card.json")["held_out"]
        assert card["epe"] == pytest.approx(statistics.mean(errors), abs=1e-4)
        assert card["standard_error"] == pytest.approx(statistics.stdev(errors) / 3**0.5, abs=1e-4)
        assert card["zero_flow"] == pytest.approx(statistics.mean(row["zero_flow"] for row in end), abs=1e-4)
        for row in end:
            assert card[row["sample"].partition("/")[0]]["epe"] == pytest.approx(row["epe"], abs=1e-4)
    before, after = held_out(whole / "level1", "end"), held_out(whole / "joint", "start")
    assert [row["epe"] for row in after] == pytest.approx([row["epe"] for row in before], rel=1e-2)  # in half precision


def test_held_out_numbers_are_those_of_the_weights(whole, pools):
    """Measured again, on pairs that training never sees."""
    card, net = read_json(whole / "level1/card.json"), read_weights(whole / "level1/weights.safetensors").eval()
    source, errors, zeros = Yardstick(pools, 3, SIZE), [], []
    for i in range(3):
        pairs = source.pairs([i])
        with torch.no_grad():
            errors.append(epe(net(pairs.image1, pairs.image2), pairs.flow).item())
        zeros.append(pairs.flow.norm(dim=1).mean().item())
    assert card["held_out"]["epe"] == pytest.approx(statistics.mean(errors), rel=1e-3)
    assert card["held_out"]["standard_error"] == pytest.approx(statistics.stdev(errors) / 3**0.5, rel=1e-2)
    assert card["held_out"]["zero_flow"] == pytest.approx(statistics.mean(zeros), abs=1e-4)


def test_a_plain_loop_comes_to_the_same(whole, pools):
    """AdamW, clipping, warm-up and cosine, pairs kept for two steps, and the moving average, written out."""
    stage = tiny().stages_of("quick")[0]
    torch.manual_seed(loop.sample_seed(0, 0, loop.INITIAL))
    net = SPyNet(2)
    average = copy.deepcopy(net.levels[0])
    chairs = Pool.open(pools, "chairs", 8, size=SIZE, varied=False)
    source = Mixture({"chairs": chairs}, {"chairs": 1.0}, loop.sample_seed(0, 0, loop.TRAIN))
    optimizer = torch.optim.AdamW(net.levels[0].parameters(), lr=1.0, weight_decay=0.0)
    losses = []
    for step in range(8):
        first = 2 * (step // 2)
        pairs = stage.augment(source.pairs([first, first + 1]), [2 * step, 2 * step + 1])
        image1, image2, truth = (
            torch.nn.functional.avg_pool2d(each, 2) for each in (pairs.image1, pairs.image2, pairs.flow)
        )
        seen = torch.cat([net.normalise(image1), net.normalise(image2), torch.zeros_like(truth)], 1)
        flow = 2 * net.levels[0](seen)  # in pixels of the full size
        loss = (flow - truth).square().sum(1).sqrt().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.levels[0].parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-3 * lr_factor(stage, 8, step)
        optimizer.step()
        decay = min(0.999, (1 + step) / (10 + step))
        for kept, now in zip(average.parameters(), net.levels[0].parameters(), strict=True):
            kept.data = decay * kept.data + (1 - decay) * now.data
    rows = read_log(whole / "level0/log.csv")
    assert [row["loss"] for row in rows] == pytest.approx(losses, rel=1e-4)
    assert [row["lr"] for row in rows] == pytest.approx([1e-3 * lr_factor(stage, 8, s) for s in range(8)], rel=1e-5)
    for name, value in read_weights(whole / "level0/weights.safetensors").levels[0].state_dict().items():
        # Adam divides gradients by their size, so that rounding in those near 0 becomes a small part of a step of 1e-3.
        torch.testing.assert_close(value, average.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_random_numbers_follow_from_the_step(tmp_path, monkeypatch):
    """Those of torch, too, such as the places of windows: a resumed run draws the same."""
    drawn = []

    def loss(flows, batch):
        drawn.append(torch.rand(()).item())
        return pyramid_loss(flows, batch)

    monkeypatch.setitem(RECIPES, "tiny", tiny(steps=3, loss=loss, held_out=1))
    finish(tmp_path / "straight", "--stage", "level0")
    straight, drawn[:] = list(drawn), []
    while "the time is up" in cvdl_train(tmp_path / "run", "--minutes", 0, "--resume", "--stage", "level0").stderr:
        torch.rand(5)
    assert drawn == straight and len(set(drawn)) == 3
    drawn.clear()
    finish(tmp_path / "other", "--seed", 1, "--stage", "level0")
    assert not set(drawn) & set(straight)


def test_levels_below_stay_and_new_ones_begin_from_them(whole, tmp_path, monkeypatch):
    level0, level1, joint = (load_file(whole / s / "weights.safetensors") for s in ("level0", "level1", "joint"))
    for name in level0:
        assert torch.equal(level0[name], level1[name]) == name.startswith("levels.0."), name
        assert not torch.equal(level1[name], joint[name]), name
    monkeypatch.setitem(RECIPES, "tiny", tiny(steps=1, lr=1e-12))
    finish(tmp_path / "run")
    weights = load_file(tmp_path / "run/level1/weights.safetensors")
    for name in weights:
        torch.testing.assert_close(weights[name], weights[name.replace("levels.1.", "levels.0.")], rtol=0, atol=1e-6)


def test_seed_and_scale(whole, tmp_path):
    out = finish(tmp_path / "run", "--seed", 1, "--scale", 0.5)
    rows, others = (read_log(folder / "level0/log.csv") for folder in (out, whole))
    assert len(rows) == 4 and rows[0]["loss"] != others[0]["loss"]
    assert rows[2]["lr"] == pytest.approx(others[4]["lr"]) == pytest.approx(0.5e-3)


def test_rows_of_a_long_stage(tmp_path, monkeypatch):
    """A row is the mean over its steps; the last one may be shorter."""
    monkeypatch.setattr(loop, "ROWS", 4)
    out = finish(tmp_path / "few", "--stage", "level0")
    monkeypatch.setattr(loop, "ROWS", 8)
    each = [row["loss"] for row in read_log(finish(tmp_path / "all", "--stage", "level0") / "level0/log.csv")]
    rows = read_log(out / "level0/log.csv")
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    assert [row["loss"] for row in rows] == pytest.approx([sum(each[i : i + 2]) / 2 for i in (0, 2, 4, 6)], rel=1e-4)


@pytest.mark.parametrize("steps, wanted", [(5, [2, 4, 5]), (8, [3, 6, 8]), (11, [4, 8, 11])])
def test_no_more_rows_than_ROWS(tmp_path, monkeypatch, steps, wanted):
    """Even where the number of steps is a little more than a multiple of it."""
    monkeypatch.setattr(loop, "ROWS", 3)
    monkeypatch.setitem(RECIPES, "tiny", tiny(steps=steps))
    rows = read_log(finish(tmp_path / "run", "--stage", "level0") / "level0/log.csv")
    assert [row["step"] for row in rows] == wanted


def test_no_more_measurements_than_HELD_OUT(tmp_path, monkeypatch):
    """The last row always has one: it is that of the weights that are kept."""
    monkeypatch.setattr(loop, "HELD_OUT", 3)
    monkeypatch.setitem(RECIPES, "tiny", tiny(steps=5))
    rows = read_log(finish(tmp_path / "run", "--stage", "level0") / "level0/log.csv")
    assert [row["step"] for row in rows if row["held_out"] is not None] == [2, 4, 5] and len(rows) == 5


# Stopped and resumed.


def test_stopped_at_every_step_by_minutes(whole, tmp_path):
    """`--minutes 0` trains one step and stops; pairs that are kept for two steps are rendered again."""
    options, calls = ["--minutes", 0], 0
    while "the time is up" in (result := cvdl_train(tmp_path / "run", *options)).stderr:
        assert result.exit_code == 0 and calls < 30
        options, calls = ["--minutes", 0, "--resume"], calls + 1
    assert result.exit_code == 0 and "finished" in result.stderr, result.output
    assert calls == 3 * 7
    same(tmp_path / "run", whole)
    before = (tmp_path / "run/joint/card.json").read_bytes()
    assert "joint: already finished" in cvdl_train(tmp_path / "run", "--resume").stderr
    assert (tmp_path / "run/joint/card.json").read_bytes() == before


@pytest.fixture(scope="module")
def of_three_rows(tmp_path_factory, whole):
    """The first stage with three rows in its log, which was never stopped."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.setattr(loop, "ROWS", 3)
        return finish(tmp_path_factory.mktemp("rows") / "run", "--stage", "level0")


def test_stopped_in_the_middle_of_a_row(of_three_rows, tmp_path, monkeypatch):
    """At every step: what was summed up for the row is in the checkpoint."""
    monkeypatch.setattr(loop, "ROWS", 3)
    done = []
    while "the time is up" in cvdl_train(tmp_path / "run", "--stage", "level0", "--minutes", 0, "--resume").stderr:
        state = torch.load(tmp_path / "run/level0/checkpoint.ckpt", weights_only=True)
        done.append((state["done"], state["sums"][2].item()))
    assert done == [(1, 1), (2, 2), (3, 0), (4, 1), (5, 2), (6, 0), (7, 1)]
    assert [row["step"] for row in read_log(tmp_path / "run/level0/log.csv")] == [3, 6, 8]
    same(tmp_path / "run", of_three_rows, stages=["level0"])


def test_two_processes_stopped_in_the_middle_of_a_row(of_three_rows, tmp_path, pools):
    """The sums of both are in the checkpoint, although only one of them writes it."""
    options = ["--out", tmp_path / "run", "--pool", pools, "--stage", "level0", "--resume"]
    for more in (["--minutes", 0], []):
        codes, printed = apart.run(tmp_path, *options, *more, fault=apart.three_rows, count=2)
        assert codes == [0, 0], printed
    same(tmp_path / "run", of_three_rows, tolerance=2e-4, stages=["level0"])


def test_other_rows_after_a_stop(of_three_rows, tmp_path, monkeypatch):
    """A row is the mean over its steps, also where the length of rows has changed within it."""
    monkeypatch.setattr(loop, "ROWS", 3)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    stopped = ["--stage", "level0", "--minutes", 0, "--resume"]
    for _ in range(4):
        cvdl_train(tmp_path / "run", *stopped)
    monkeypatch.setattr(loop, "ROWS", 2)  # four steps each: the one at step 4 is full already
    finish(tmp_path / "run", "--stage", "level0", "--resume")
    first, second = read_log(tmp_path / "run/level0/log.csv")
    assert (first["step"], second["step"]) == (3, 8)
    _, middle, last = read_log(of_three_rows / "level0/log.csv")
    assert second["loss"] == pytest.approx((3 * middle["loss"] + 2 * last["loss"]) / 5, rel=1e-4)


def test_half_precision_continues_with_its_scale(tmp_path, monkeypatch):
    """The factor on the loss halves when gradients overflow; a run that forgets it takes other steps."""
    monkeypatch.setattr(loop, "make_fabric", lambda config: (scaled(), "16-mixed"))
    monkeypatch.setitem(RECIPES, "tiny", tiny(loss=large_loss, **SMALLER))
    options, scales = ["--resume", "--stage", "level0"], []
    straight = finish(tmp_path / "straight", *options)
    while "the time is up" in cvdl_train(tmp_path / "run", *options, "--minutes", 0).stderr:
        state = torch.load(tmp_path / "run/level0/checkpoint.ckpt", weights_only=True)
        scales.append(state["precision"]["scale"])
    assert len(scales) == 7 and scales[-1] < scales[0] and len(set(scales)) < 7  # some steps were left out, others not
    same(tmp_path / "run", straight, stages=["level0"])


def scaled():
    """Fabric in scaled half precision, which it has for GPUs only, on the CPU."""
    half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))
    return lightning.fabric.Fabric(accelerator="cpu", devices=1, plugins=[half])


def large_loss(flows, batch):
    loss, error = pyramid_loss(flows, batch)
    return 10 * loss, error


@pytest.mark.parametrize("fault", [apart.killed_in_a_step, apart.killed_in_a_row, apart.killed_in_a_checkpoint])
def test_killed_in_the_middle_of_a_stage(whole, tmp_path, pools, fault):
    out = tmp_path / "run"
    codes, printed = apart.run(tmp_path, "--stage", "level0", "--out", out, "--pool", pools, fault=fault)
    assert codes == [-signal.SIGKILL], printed
    assert torch.load(out / "level0/checkpoint.ckpt", weights_only=True)["done"] == 5
    assert len(read_log(out / "level0/log.csv")) in (5, 6) and not (out / "level0/card.json").exists()
    same(finish(out, "--stage", "level0", "--resume"), whole, stages=["level0"])
    assert sorted(path.name for path in (out / "level0").iterdir()) == FILES


def test_rows_after_the_checkpoint_are_not_kept_twice(whole, tmp_path):
    """Killed five rows after the checkpoint, half-way through the writing of a row and of the next checkpoint."""
    out = tmp_path / "run"
    cvdl_train(out, "--minutes", 0)
    checkpoint = (out / "level0/checkpoint.ckpt").read_bytes()
    for _ in range(5):
        cvdl_train(out, "--minutes", 0, "--resume")
    (out / "level0/checkpoint.ckpt").write_bytes(checkpoint)
    (out / "level0/.checkpoint.ckpt.part").write_bytes(checkpoint[:1000])
    with (out / "level0/log.csv").open("a") as log:
        log.write("7,1.2,0.0")
    same(finish(out, "--resume", "--stage", "level0"), whole, stages=["level0"])
    assert sorted(path.name for path in (out / "level0").iterdir()) == FILES


def test_two_processes_do_as_one(whole, tmp_path, pools):
    out = tmp_path / "run"
    codes, printed = apart.run(tmp_path, "--out", out, "--pool", pools, count=2)
    assert codes == [0, 0] and "finished" in printed, printed
    same(out, whole, tolerance=2e-4, stages=("level0", "level1"))
    # Adam makes a whole step of a gradient near zero, whose sign is a matter of rounding: a few steps later it shows.
    same(out, whole, tolerance=1e-2, stages=("joint",))
    card = read_json(out / "level1/card.json")
    assert card["hardware"].startswith("2 CPU threads") and card["batch"] == 2

    codes, printed = apart.run(tmp_path, "--out", out, "--pool", pools, count=2)  # without --resume
    assert codes == [1, 1] and "already holds a run" in printed and "Traceback" not in printed, printed


SCRIPT = """
from cvdl.cli.app import app
from cvdl.train import loop
from cvdl.train.recipes import RECIPES
from tests.train import FEW, tiny

RECIPES["tiny"] = tiny()
vars(loop).update(FEW)
app()
"""


def script(folder, out, *options):
    """The command line of a process that trains the first stage."""
    path = folder / "script.py"
    path.write_text(SCRIPT)
    command = [path, "train", "tiny", "--profile", "quick", "--device", "cpu", "--stage", "level0"]
    return [*map(str, command), "--pool", str(cvdl_train.pools), "--out", str(out), *options]


@pytest.mark.long
def test_the_command_starts_the_other_process(whole, tmp_path):
    """Elsewhere the tests start both."""
    out = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *script(tmp_path, out, "--devices", "2")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUNAWAY)
    assert done.returncode == 0 and "finished" in done.stderr, done.stderr
    assert read_json(out / "level0/card.json")["hardware"].startswith("2 CPU threads")
    same(out, whole, tolerance=2e-4, stages=["level0"])


@pytest.mark.long
def test_two_computers(whole, tmp_path):
    """Both are this one; torchrun starts a process on each."""
    out = tmp_path / "run"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--master-addr", "127.0.0.1", "--master-port", port]
    started = []
    try:
        for rank in "01":
            command = [*torchrun, "--node-rank", rank, *script(tmp_path, out, "--nodes", "2")]
            started.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
        printed = [process.communicate(timeout=RUNAWAY)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], printed
    assert all("finished" in each for each in printed), printed
    assert read_json(out / "level0/card.json")["hardware"].startswith("2 CPU threads")
    same(out, whole, tolerance=2e-4, stages=["level0"])


@pytest.mark.parametrize(
    "fault, rank, told",
    [
        (apart.lost_data, 1, "The data of this process are lost. Fetch them again."),
        (apart.full_disk, 0, "checkpoint.ckpt could not be written ([Errno 28] No space left on device)"),
    ],
)
def test_one_of_two_processes_fails(tmp_path, pools, fault, rank, told):
    """Both end, and both say why."""
    options = ["--out", tmp_path / "run", "--pool", pools, "--stage", "level0"]
    codes, said = apart.run(tmp_path, *options, fault=fault, count=2)
    assert codes == [1, 1], said
    assert said.count(told) >= 2 and f"Process {1 - rank} stops, because process {rank} failed: " in said, said
    assert "Traceback" not in said, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_the_step(whole, tmp_path, monkeypatch, number):
    """With a checkpoint of that very step, so that nothing is lost; and the run says where it goes on."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 1000)

    def train_step(self, step=loop.StageRun.train_step):
        if self.done == 4:
            signal.raise_signal(number)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.StageRun, "train_step", train_step)
        handler = signal.getsignal(number)
        stopped = cvdl_train(tmp_path / "run")
        assert signal.getsignal(number) is handler
    assert stopped.exit_code == 128 + number and "level0: stopped at step 5 of 8 and saved" in stopped.stderr
    resumed = cvdl_train(tmp_path / "run", "--resume")
    assert "level0: continues from its checkpoint at step 5 of 8" in resumed.stderr, resumed.stderr
    same(tmp_path / "run", whole)


def test_a_signal_for_one_of_two_processes_ends_both(tmp_path, pools):
    options = ["--out", tmp_path / "run", "--pool", pools, "--stage", "level0"]
    codes, said = apart.run(tmp_path, *options, fault=apart.terminated, count=2)
    assert codes == [128 + signal.SIGTERM] * 2 and "level0: stopped at step 5 of 8" in said, said
    assert torch.load(tmp_path / "run/level0/checkpoint.ckpt", weights_only=True)["done"] == 5


def test_ctrl_c_while_pairs_are_rendered(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "rendered_chunks", interrupted)
    stopped = cvdl_train(tmp_path / "run", "--pool", tmp_path / "pools")
    assert stopped.exit_code == 130 and "stopped. Rendered pairs and checkpoints are kept" in stopped.stderr


def test_minutes_cover_rendering(tmp_path, monkeypatch):
    """Pairs are rendered chunk by chunk until the time is up, and are kept."""
    pools, chunks = tmp_path / "pools", []

    def passed(deadline):
        return deadline is not None and len(chunks) >= 2

    def rendered_chunks(*arguments, render=pool.rendered_chunks):
        for content in render(*arguments):
            chunks.append(len(content))
            yield content

    monkeypatch.setattr(pool, "CHUNK", 2)
    monkeypatch.setattr(pool, "passed", passed)
    monkeypatch.setattr(pool, "rendered_chunks", rendered_chunks)
    stopped = cvdl_train(tmp_path / "run", "--pool", pools, "--minutes", 5)
    assert stopped.exit_code == 0 and "the time is up" in stopped.stderr
    (path,) = pools.glob("chairs-train-*/pairs.bin")
    assert path.stat().st_size == sum(chunks) and len(chunks) == 2


def test_two_processes_in_one_folder(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with FileLock(out / ".lock"):
        assert "Another process is training in" in refused(cvdl_train(out))
    finish(out, "--stage", "level0")


# What may go wrong.


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["spinet"], "no recipe 'spinet'. Did you mean spynet"),
        (["tiny", "--stage", "level7"], "no stage 'level7'; it has: level0, level1, joint"),
        (["tiny", "--profile", "huge"], "no profile 'huge'"),
        (["tiny", "--profile", "laptop"], "no profile 'laptop'; it has: quick"),
        (["tiny", "--device", "abacus"], "no device 'abacus'"),
        (["tiny", "--precision", "8-bit"], "no precision '8-bit'; there are 32-true"),
        (["tiny", "--precision", "16-mixed"], "bf16-mixed or 32-true on a CPU"),
        (["tiny", "--nodes", "2"], "Training on 2 computers is started by torchrun"),
        (["tiny", "--nice"], "are for `cvdl train all`"),
        (["", "--stage", "level0"], "Name the recipe that these options are for"),
        (["all", "--set", "lr=1e-3"], "--set, --stage, --devices and --nodes are for a single recipe"),
        (["tiny", "--stage", "level1"], "level0/weights.safetensors, which does not exist. Train that stage first"),
    ],
)
def test_misuse(tmp_path, arguments, told):
    recipe, *options = arguments
    assert told in refused(cvdl_train(tmp_path / "run", *options, recipe=recipe))
    assert not list(tmp_path.glob("run/*/*"))


def test_a_run_that_is_refused_leaves_nothing(tmp_path):
    options = ["--stage", "level1"]
    refused(cvdl_train(tmp_path / "new" / "run", *options))
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/mine.txt").write_text("kept")
    refused(cvdl_train(tmp_path / "old", *options))
    assert (tmp_path / "old/mine.txt").read_text() == "kept"
    cvdl_train(tmp_path / "begun", "--minutes", 0)
    kept = sorted((tmp_path / "begun").rglob("*"))
    refused(cvdl_train(tmp_path / "begun", "--resume", *options))
    assert sorted((tmp_path / "begun").rglob("*")) == kept


@pytest.mark.parametrize("option", ["--out", "--pool"])
def test_a_file_where_a_folder_is_written_is_named(tmp_path, option):
    path = tmp_path / "a.png"
    path.write_bytes(b"a picture")
    told = refused(cvdl_train(tmp_path / "run", option, path))
    assert told == f"{path} is a file; the name of a folder was expected, which may be new."
    assert path.read_bytes() == b"a picture" and not (tmp_path / "run").exists()
    with (
        pytest.raises(InvalidInput, match=r"a\.png is a file, and a run is written to a folder"),
        loop.run_dir(path, {}, True),
    ):
        pass


def test_without_a_recipe_all_are_listed():
    result = CliRunner().invoke(app.app, ["train"])
    assert result.exit_code == 0 and all(name in result.stdout for name in RECIPES)


def test_a_run_is_not_written_over(tmp_path):
    out = tmp_path / "run"
    cvdl_train(out, "--minutes", 0)
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "already holds a run. Continue it with --resume" in refused(cvdl_train(out))
    for other in (["--seed", 1], ["--scale", 2], ["--precision", "bf16-mixed"]):
        told = refused(cvdl_train(out, "--resume", *other))
        assert "holds another run, with " in told and f"{other[0][2:]} " in told and "--out" in told
    (tmp_path / "file").write_text("")
    assert "cannot be created" in refused(cvdl_train(tmp_path / "file" / "run"))
    (out / "run.json").write_text("{")
    assert "run.json is damaged" in refused(cvdl_train(out, "--resume"))
    del kept[out / "run.json"]
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_missing_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_DATA", str(tmp_path))
    for bank in ("photo_bank", "chair_bank"):  # those in memory are not asked for
        monkeypatch.setattr(f"cvdl.flow.data.chairs.{bank}", getattr(textures, bank).__wrapped__)
    told = refused(cvdl_train(tmp_path / "run"))
    assert f"photos/SOURCES.tsv is not in {tmp_path}" in told and "CVDL_DATA" in told


def test_a_full_disk_of_pools(tmp_path):
    """The pairs that were complete are kept, and the same command continues."""
    pools = tmp_path / "pools"
    with full_disk(30_000):
        told = refused(cvdl_train(tmp_path / "run", "--pool", pools, "--stage", "level0"))
    assert "disk full" in told and "--pool" in told, told
    finish(tmp_path / "run", "--pool", pools, "--stage", "level0", "--resume")


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_checkpoint(tmp_path, damage):
    out = tmp_path / "run"
    cvdl_train(out, "--minutes", 0)
    path = out / "level0/checkpoint.ckpt"
    path.write_bytes(path.read_bytes()[:-5000] if damage is None else damage)
    assert "checkpoint.ckpt is damaged" in (told := refused(cvdl_train(out, "--resume"))) and "Delete it" in told
    path.unlink()
    finish(out, "--resume", "--stage", "level0")


class WideNet(SPyNet):
    """SPyNet with parameters of the same names and other shapes."""

    def __init__(self):
        super().__init__(2)
        self.levels[0][0] = torch.nn.Conv2d(8, 8, 7, padding=3)
        self.levels[0][2] = torch.nn.Conv2d(8, 64, 7, padding=3)


@pytest.mark.parametrize(
    "other, told",
    [
        (lambda recipe: replace(recipe, net=WideNet), "size mismatch for levels.0.0.weight"),
        (lambda recipe: replace(recipe, net=partial(SPyNet, 3)), 'Missing key(s) in state_dict: "levels.2.0.weight"'),
        (lambda recipe: with_stage(recipe, prepare=unfreeze_all), "other parameters are trained"),
        (
            lambda recipe: with_stage(recipe, prepare=partial(use_levels, count=2, first=1)),
            "other parameters are trained",
        ),
    ],
)
def test_a_checkpoint_of_another_recipe(tmp_path, monkeypatch, other, told):
    """It is not damaged, and nobody is told to delete it."""
    out = tmp_path / "run"
    cvdl_train(out, "--minutes", 0)
    kept = (out / "level0/checkpoint.ckpt").read_bytes()
    monkeypatch.setitem(RECIPES, "tiny", other(tiny()))
    said = refused(cvdl_train(out, "--resume"))
    assert "checkpoint.ckpt is intact, but belongs to another version of this recipe" in said and told in said, said
    assert "--out" in said and "damaged" not in said and "elete" not in said, said
    assert (out / "level0/checkpoint.ckpt").read_bytes() == kept
    monkeypatch.setitem(RECIPES, "tiny", tiny())
    finish(out, "--resume", "--stage", "level0")


def with_stage(recipe, number=0, **changes):
    stages = list(recipe.stages["quick"])
    stages[number] = replace(stages[number], **changes)
    return replace(recipe, stages={"quick": stages})


def test_weights_of_the_stage_before_of_another_recipe(tmp_path, monkeypatch):
    out = tmp_path / "run"
    finish(out, "--stage", "level0")
    monkeypatch.setitem(RECIPES, "tiny", replace(tiny(), net=partial(SPyNet, 3)))
    said = refused(cvdl_train(out, "--resume"))
    assert "level0/weights.safetensors is intact, but belongs to another version" in said and "--out" in said, said


def test_settings_that_have_changed_are_named(whole, tmp_path, monkeypatch):
    """As after divergence, when the learning rate is lowered: training goes on."""
    out, options = tmp_path / "run", ["--stage", "level0", "--resume"]
    cvdl_train(out, "--minutes", 0)
    monkeypatch.setitem(RECIPES, "tiny", with_stage(tiny(), lr=5e-4, warmup=4))
    result = cvdl_train(out, *options)
    assert result.exit_code == 0, result.output
    assert "lr was 0.001 and is 0.0005; warmup was 2 and is 4" in result.stderr
    assert read_log(out / "level0/log.csv")[-1]["loss"] != read_log(whole / "level0/log.csv")[-1]["loss"]

    monkeypatch.setitem(RECIPES, "tiny", tiny())
    unchanged = cvdl_train(tmp_path / "same", "--minutes", 0), cvdl_train(tmp_path / "same", *options)
    assert not any("the recipe has changed" in result.stderr for result in unchanged)


def test_a_recipe_in_words_is_the_same_in_any_process():
    """A function is named: its address would differ."""
    for recipe in RECIPES.values():
        for stage in (stage for stages in recipe.stages.values() for stage in stages):
            assert settings(stage) == settings(copy.deepcopy(stage))
            assert not any(" at 0x" in words for words in settings(stage).values()), settings(stage)


def test_damaged_weights_of_the_stage_before(whole, tmp_path):
    out = tmp_path / "run"
    finish(out, "--stage", "level0")
    path = out / "level0/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-5000])
    told = refused(cvdl_train(out, "--resume"))
    assert "weights.safetensors is damaged" in told and "folder of their stage" in told
    for each in (out / "level0").iterdir():
        each.unlink()
    same(finish(out, "--resume"), whole)


def test_a_wrong_size_is_not_divergence(tmp_path, monkeypatch, pools):
    """A CourseError of a step keeps its own message."""
    options = dict(mixture={"chairs": 1.0}, pairs=8, size=SIZE, yardstick_size=SIZE, held_out=3, varied=False)
    stage = FlowStage(name="chairs", steps=2, loss=multiscale_loss, batch=2, augment=None, **options)
    monkeypatch.setitem(
        RECIPES, "tiny", Recipe("of a size that the network refuses", partial(FlowNetS, 1 / 16), {"quick": [stage]})
    )
    said = refused(cvdl_train(tmp_path / "run"))
    assert said.startswith("In train mode, FlowNetS needs sides divisible by 64; these are 32 × 48."), said
    with pytest.raises(InvalidInput):
        loop.train(loop.TrainConfig(recipe="tiny", profile="quick", out=tmp_path / "again", pools=pools))


TOO_FAST = dict(lr=1e30, max_grad_norm=1e30, warmup=0)


def test_divergence_has_a_type_of_its_own(tmp_path, monkeypatch, pools):
    monkeypatch.setitem(RECIPES, "tiny", tiny(**TOO_FAST))
    with pytest.raises(TrainingDiverged):
        loop.train(loop.TrainConfig(recipe="tiny", profile="quick", out=tmp_path / "run", only="level0", pools=pools))


def nan_loss(flows, batch):
    loss, error = pyramid_loss(flows, batch)
    nan_loss.calls += 1
    return (loss * float("nan") if nan_loss.calls == nan_loss.at else loss), error


def nan_gradient(flows, batch):
    """The loss is finite in the step after which the weights are not."""
    loss, error = nan_loss(flows, batch)
    total = flows[0].sum()
    return ((total - total).sqrt() + error if loss.isnan() else loss), error


def infinite_loss(flows, batch):
    """Its gradient is finite, and so are the weights."""
    loss, error = nan_loss(flows, batch)
    return error + (flows[0] * 0).sum() + float("inf") if loss.isnan() else loss, error


@pytest.fixture(scope="module")
def level0(whole, tmp_path_factory):
    """Runs of the first stage that were never stopped, by precision."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.setitem(RECIPES, "tiny", tiny(**SMALLER))
        half = finish(tmp_path_factory.mktemp("half") / "run", "--stage", "level0", "--precision", "bf16-mixed")
        return {"32-true": whole, "bf16-mixed": half}


@pytest.mark.parametrize("loss", [nan_loss, nan_gradient])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_loss_that_is_not_finite(level0, tmp_path, monkeypatch, loss, precision):
    out, options = tmp_path / "run", ["--stage", "level0", "--precision", precision]
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setitem(RECIPES, "tiny", tiny(loss=loss, **(SMALLER if precision == "bf16-mixed" else {})))
    nan_loss.calls, nan_loss.at = 0, 5
    told = refused(cvdl_train(out, *options))
    assert "level0: the loss or the weights became NaN or infinite by step 5" in told
    assert str(out / "level0") in told and "--resume" in told and precision in told
    state = torch.load(out / "level0/checkpoint.ckpt", weights_only=True)
    assert state["done"] == 4 and all(value.isfinite().all() for value in state["net"].values())
    assert not (out / "level0/weights.safetensors").exists()
    nan_loss.calls, nan_loss.at = 0, None
    same(finish(out, *options, "--resume"), level0[precision], stages=["level0"])


@pytest.mark.parametrize("loss", [nan_gradient, infinite_loss])
def test_a_loss_that_is_not_finite_in_the_middle_of_a_row(tmp_path, monkeypatch, loss):
    """It is not saved: the run could not be resumed from it."""
    monkeypatch.setattr(loop, "ROWS", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setitem(RECIPES, "tiny", tiny(loss=loss))
    nan_loss.calls, nan_loss.at = 0, 5
    assert "became NaN or infinite by step 5" in refused(cvdl_train(tmp_path / "run", "--stage", "level0"))
    state = torch.load(tmp_path / "run/level0/checkpoint.ckpt", weights_only=True)
    assert state["done"] == 4 and state["sums"].isfinite().all()


def test_a_flow_that_is_not_finite_between_two_rows(tmp_path, monkeypatch):
    """Warping refuses it before the row of the log is full."""
    monkeypatch.setattr(loop, "ROWS", 1)
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setitem(RECIPES, "tiny", tiny(**TOO_FAST))
    told = refused(cvdl_train(tmp_path / "run", "--stage", "level0"))
    assert "NaN or infinite" in told and "Continue with a lower learning rate: --resume --set level0.lr=5e+29" in told
    recipe = tiny(**TOO_FAST)
    recipe.stages["quick"] = recipe.stages["quick"][2:]
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    told = refused(cvdl_train(tmp_path / "joint"))
    assert "joint: " in told and "the loss or the weights became NaN or infinite" in told and "--resume" in told


@pytest.mark.parametrize(
    "size, file", [(1_000_000, "level0/checkpoint.ckpt"), (100, "level0/log.csv"), (10, "run.json")]
)
def test_a_full_disk(whole, tmp_path, monkeypatch, size, file):
    out = tmp_path / "run"
    if file != "run.json":
        cvdl_train(out, "--minutes", 0)
        before = (out / "level0/checkpoint.ckpt").read_bytes()
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    with full_disk(size):
        result = cvdl_train(out, "--resume")
    told = refused(result)
    assert f"{out / file} could not be written" in told and "disk full" in told and "--resume" in told
    assert not list(out.rglob("*.part"))
    if file != "run.json":
        assert (out / "level0/checkpoint.ckpt").read_bytes() == before
    same(finish(out, "--resume", "--stage", "level0"), whole, stages=["level0"])


def test_a_full_disk_at_the_end(whole, tmp_path, monkeypatch):
    """Weights of 1 MB do not fit any more, but all steps are done: nothing is trained again."""
    out = tmp_path / "run"
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    monkeypatch.setattr(loop, "write_weights", on_a_full_disk(loop.write_weights))
    assert "weights.safetensors could not be written" in refused(cvdl_train(out))
    assert torch.load(out / "level0/checkpoint.ckpt", weights_only=True)["done"] == 8
    monkeypatch.undo()
    make_small(monkeypatch)
    same(finish(out, "--resume"), whole)


def on_a_full_disk(write):
    def full(*arguments):
        with full_disk(100_000):
            write(*arguments)

    return full


def test_without_fabric(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    with pytest.raises(MissingDependency):
        loop.train(loop.TrainConfig(recipe="tiny", profile="quick", out=tmp_path / "run"))
    assert 'pip install -e ".[train]"' in refused(cvdl_train(tmp_path / "run"))


def stage_run(fabric, stage):
    config = loop.TrainConfig(recipe="tiny", profile="quick", out=Path())
    return loop.StageRun(fabric, SPyNet(2), stage, 0, None, config.identity("32-true"), config)


def test_a_batch_that_cannot_be_divided():
    fabric = type("Fabric", (), {"world_size": 3, "device": torch.device("cpu")})
    with pytest.raises(CourseError, match="batch of 2 cannot be divided between 3 processes"):
        stage_run(fabric, tiny().stages_of("quick")[0])


def test_short_stages_measure_little(monkeypatch):
    """No more held-out pairs than a stage trains on, and the full number where it is trained in earnest."""
    monkeypatch.setattr(loop, "SAMPLES", 64)
    monkeypatch.setattr(FlowStage, "dataset", lambda *_: None)
    fabric = lightning.fabric.Fabric(accelerator="cpu", devices=1)
    recipe = RECIPES["spynet"]
    first = [replace(recipe.stages_of(profile)[0], held_out=64) for profile in ("quick", "laptop", "gpu")]
    assert [stage_run(fabric, stage).samples for stage in first] == [8, 64, 64]
    assert stage_run(fabric, replace(first[1], held_out=5)).samples == 5


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_true_flow_is_not_rounded(tmp_path, monkeypatch, precision):
    seen = []

    def loss(flows, batch):
        seen.append(batch.flow.dtype)
        return pyramid_loss(flows, batch)

    monkeypatch.setitem(RECIPES, "tiny", tiny(steps=2, loss=loss))
    finish(tmp_path / "run", "--stage", "level0", "--precision", precision)
    assert seen == [torch.float32] * 2


# Hyper-parameters that are overridden.


def test_set(tmp_path):
    """For all stages, for one of them, and in a nested field; the last one counts."""
    overrides = ["lr=5e-4", "level1.batch=4", "augment.noise=0", "steps=2", "level1.steps=3", "schedule=constant"]
    out = finish(tmp_path / "run", *(word for text in overrides for word in ("--set", text)))
    for name, batch, steps in (("level0", 2, 2), ("level1", 4, 3), ("joint", 2, 2)):
        card = read_json(out / name / "card.json")
        assert (card["lr"], card["batch"], card["steps"], card["overrides"]) == (5e-4, batch, steps, overrides)
        assert [row["lr"] for row in read_log(out / name / "log.csv")][1:] == [5e-4] * (steps - 1)
    stages = tiny().stages_of("quick", [*overrides, "lr=1e-5"])
    assert [stage.augment.noise for stage in stages] == [0.0] * 3 and {stage.lr for stage in stages} == {1e-5}
    assert all(stage.augment.blur == tiny().stages_of("quick")[0].augment.blur for stage in stages)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("max_grad_norm=None", None),
        ("max_grad_norm=2", 2.0),
        ("warmup=0", 0),
        ("augment=None", None),
        ("augment.scale=(0.5, 1.0)", (0.5, 1.0)),
        ("augment.geometric=True", True),
        ("ground_truth=False", False),
        ("size=(64, 96)", (64, 96)),
        ("mixture={'things': 2}", {"things": 2}),
        (" schedule = one-cycle ", "one-cycle"),
    ],
)
def test_values_that_can_be_set(text, wanted):
    for stage in tiny().stages_of("quick", [text]):
        found = stage
        for name in text.partition("=")[0].strip().split("."):
            found = getattr(found, name)
        assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize(
    "text, told",
    [
        ("rate=1e-3", "there is no field 'rate'; there are augment, batch, "),
        ("augment.sharpness=1", "there is no field 'sharpness'; there are blur, brightness, "),
        ("level7.lr=1e-3", "there is no stage 'level7'; there are level0, level1, joint."),
        ("lr.peak=1", "lr is 0.001 and has no fields"),
        ("loss=l1", "there is no field 'loss'"),
        ("name=other", "there is no field 'name'"),
        ("batch=3e-4", "batch must be a whole number, such as batch=2"),
        ("batch=-1", "batch must be 1 or more"),
        ("batch=True", "batch must be a whole number, such as batch=2"),
        ("pairs=0", "pairs must be 1 or more"),
        ("held_out=0", "held_out must be 1 or more"),
        ("warmup=-3", "warmup must be 0 or more"),
        ("lr=abc", "lr must be a number, such as lr=0.001"),
        ("lr=nan", "lr must be a number, such as lr=0.001"),
        ("lr=1e999", "lr must be a finite number, 0 or more"),
        ("lr=-1e-3", "lr must be a finite number, 0 or more"),
        ("lr=", "lr must be a number, such as lr=0.001"),
        ("lr={[]: 1}", "lr must be a number, such as lr=0.001"),
        ("max_grad_norm=off", "max_grad_norm must be a number or None, such as max_grad_norm=1.0"),
        ("schedule=S_longer", "there is no schedule 'S_longer'; there are S_short, S_long, S_fine, constant, cosine"),
        ("augment=0", "augment must be None; set its fields one by one, as in augment.crop=VALUE"),
        ("augment.contrast=(0.2,)", "contrast must be 2 numbers, such as (-0.8, 0.4)"),
        ("augment.crop=(0, 5)", "crop is (0, 5); it must be (height, width)"),
        ("size=(32, 'a')", "size must be 2 numbers, such as (32, 48)"),
        ("mixture={}", "mixture must have at least one entry, and numbers above 0 as values"),
        ("mixture={'chairs': 0}", "mixture must have at least one entry, and numbers above 0 as values"),
        ("lr", "--set takes FIELD=VALUE or STAGE.FIELD=VALUE, such as lr=3e-4; it was given 'lr'"),
        ("=3", "--set takes FIELD=VALUE or STAGE.FIELD=VALUE"),
        ("level0.=3", "--set takes FIELD=VALUE or STAGE.FIELD=VALUE"),
    ],
)
def test_values_that_cannot_be_set(tmp_path, text, told):
    said = refused(cvdl_train(tmp_path / "run", "--set", text))
    assert told in said and len(said.splitlines()) == 1, said
    assert not list(tmp_path.iterdir())


def test_other_overrides_in_a_resumed_run(tmp_path):
    """The card lists those of the end, and when they changed."""
    out = tmp_path / "run"
    cvdl_train(out, "--minutes", 0)
    cvdl_train(out, "--minutes", 0, "--resume", "--set", "lr=5e-4")
    finish(out, "--resume", "--stage", "level0", "--set", "lr=2e-4", "--set", "level0.max_grad_norm=None")
    card = read_json(out / "level0/card.json")
    assert card["overrides"] == ["lr=2e-4", "level0.max_grad_norm=None"] and card["lr"] == 2e-4
    assert card["changes"] == [
        "step 1: lr was 0.001 and is 0.0005",
        "step 2: lr was 0.0005 and is 0.0002",
        "step 2: max_grad_norm was 1.0 and is None",
    ]
    stage = tiny().stages_of("quick")[0]
    rates = [row["lr"] / lr_factor(stage, 8, row["step"] - 1) for row in read_log(out / "level0/log.csv")]
    assert rates == pytest.approx([1e-3, 5e-4, *[2e-4] * 6], rel=1e-4)


def test_overrides_come_too_late_for_a_finished_stage(tmp_path):
    out = finish(tmp_path / "run", "--stage", "level0", "--set", "lr=2e-3")
    same_again = cvdl_train(out, "--stage", "level0", "--resume", "--set", "lr=2e-3")
    assert "level0: already finished\n" in same_again.stderr
    other = cvdl_train(out, "--stage", "level0", "--resume", "--set", "lr=1e-3")
    told = "already finished with --set lr=2e-3, and is not trained again with --set lr=1e-3. To train it again, delete"
    assert told in other.stderr
    assert "nothing was left to train, so --set changed nothing, as reported above." in refused(other)
    assert cvdl_train(out, "--stage", "level0", "--resume").exit_code == 0  # without --set nothing was asked for
    finish(out, "--stage", "level1", "--resume", "--set", "lr=1e-3")  # what is left is trained with it


def test_gradients_are_clipped_unless_max_grad_norm_is_None(tmp_path, monkeypatch):
    norms = []

    def clip(self, *arguments, clip=lightning.fabric.Fabric.clip_gradients, **options):
        norms.append(options["max_norm"])
        return clip(self, *arguments, **options)

    monkeypatch.setattr(lightning.fabric.Fabric, "clip_gradients", clip)
    finish(tmp_path / "run", "--set", "steps=2", "--set", "max_grad_norm=0.5", "--set", "level1.max_grad_norm=None")
    assert norms == [0.5] * 4
