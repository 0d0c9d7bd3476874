"""An unfinished run can be kept in the repository and continued on another computer."""

import pytest
import torch
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.errors import InvalidInput
from cvdl.files import read_json
from cvdl.train import loop, unfinished
from cvdl.train.recipes import RECIPES
from cvdl.train.runs import read_log
from tests.train import FEW, tiny


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Train the tiny recipe in a folder -> its messages."""
    monkeypatch.setitem(RECIPES, "tiny", tiny())
    for name, number in FEW.items():
        monkeypatch.setattr(loop, name, number)

    def train(out, *options):
        command = ["train", "tiny", "--profile", "quick", "--device", "cpu", "--pool", tmp_path / "pools"]
        result = CliRunner().invoke(app.app, [*map(str, command), "--out", str(out), *options])
        assert result.exit_code == 0, result.output
        return result.stderr

    return train


def test_a_run_is_moved(trained, tmp_path):
    here = tmp_path / "here/tiny-quick"
    trained(here, "--stage", "level0")
    trained(here, "--resume", "--minutes", "0")  # a step of level1
    unfinished.save(here, tmp_path / "kept")
    kept = tmp_path / "kept/tiny-quick"
    assert sum(path.stat().st_size for path in kept.rglob("*")) < 0.3 * sum(p.stat().st_size for p in here.rglob("*"))

    (there,) = unfinished.restore(tmp_path / "there", tmp_path / "kept")
    assert unfinished.restore(tmp_path / "there", tmp_path / "kept") == []  # it is there already
    told = trained(there, "--resume")
    assert "level0: already finished" in told and "level1: continues from its checkpoint at step 1 of 8" in told
    card = read_json(there / "level1/card.json")
    assert card["changes"] == [unfinished.NOTE.format(step=1)]
    assert len(read_log(there / "level1/log.csv")) == 8

    trained(here, "--resume")
    moved, stayed = (torch.tensor([r["loss"] for r in read_log(p / "joint/log.csv")]) for p in (there, here))
    torch.testing.assert_close(moved, stayed, rtol=0.05, atol=0)


def test_weights_of_the_last_finished_stage_alone(trained, tmp_path):
    run = tmp_path / "tiny-quick"
    trained(run)
    kept = unfinished.save(run, tmp_path / "kept")
    assert [path.parent.name for path in kept.glob("*/weights.safetensors")] == ["joint"]


def test_no_run(tmp_path):
    with pytest.raises(InvalidInput, match="does not contain a run"):
        unfinished.save(tmp_path, tmp_path / "kept")
    with pytest.raises(SystemExit, match="does not contain a run"):
        unfinished.main(["save", str(tmp_path)])
