"""LikeNet's recipe: no ground truth gets into the weights, and a stopped run continues exactly where it was."""

import dataclasses
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from cvdl.files import read_json
from cvdl.flow.data.pool import Pool
from cvdl.flow.models.base import count
from cvdl.flow.models.likenet import LikeNet
from cvdl.train.loop import TrainConfig, train
from cvdl.train.recipes import RECIPES, find
from cvdl.train.runs import read_log
from cvdl.train.stages import Recipe

UNSUPERVISED = ("likenet", "likenet-smooth", "likenet-occlusion")
SMALL = dict(
    warmup=0,
    batch=2,
    pairs=4,
    size=(32, 64),
    yardstick_size=(32, 64),
    held_out=2,
    varied=False,
    mixture={"chairs": 0.5, "even": 0.5},
)


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    return tmp_path_factory.mktemp("pools")


@pytest.fixture
def run(pools, tmp_path):
    """Train a recipe in a folder of this name -> True when finished."""

    def trained(name, profile, folder, **options):
        return train(TrainConfig(recipe=name, profile=profile, out=tmp_path / folder, pools=pools, **options))

    return trained


@pytest.fixture
def quick(monkeypatch):
    """One stage of six steps; the copy inside D follows every fourth."""
    stage = dataclasses.replace(find("likenet").stages_of("quick")[0], steps=6, **SMALL)
    recipe = Recipe("test", lambda: LikeNet(1 / 8, refresh=4), {"quick": [stage]})
    monkeypatch.setitem(RECIPES, "likenet", recipe)
    return stage


def watched(stage, seen):
    """The stage, with every batch noted that its network or its loss gets."""

    def predict(net, batch):
        seen.append((net.training, batch))
        return stage.predict_with(net, batch)

    def loss(output, batch):
        seen.append((True, batch))
        return stage.loss(output, batch)

    return dataclasses.replace(stage, predict_with=predict, loss=loss, steps=1, **SMALL)


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_training_gets_images_only(name, run, monkeypatch):
    """In every profile and stage: what reaches the network and the loss is two images and no more."""
    seen, real = [], find(name)
    for profile in ("quick", "laptop", "gpu"):
        stages = real.stages_of(profile)
        assert not any(stage.ground_truth for stage in stages)
        recipe = Recipe("test", lambda: LikeNet(1 / 16), {profile: [watched(stage, seen) for stage in stages]})
        monkeypatch.setitem(RECIPES, name, recipe)
        assert run(name, profile, profile)
    assert len(seen) == 3 * 3 * 2  # one step of three stages in three profiles, each with a prediction and a loss
    for training, batch in seen:
        assert training and batch.image1.shape == batch.image2.shape and batch.image1.shape[:2] == (2, 3)
        assert batch[2:] == (None, None, None, None, ())


def test_the_supervised_twin_differs_in_the_loss_alone():
    for profile in ("quick", "laptop", "gpu"):
        for ours, twin in zip(*(find(n).stages_of(profile) for n in ("likenet", "likenet-supervised")), strict=True):
            same = dict(loss=ours.loss, predict_with=ours.predict_with, prepare=ours.prepare, ground_truth=False)
            assert twin.ground_truth and dataclasses.replace(twin, **same) == ours
            assert twin.prepare.keywords == ours.prepare.keywords


def test_stages_go_from_coarse_to_fine_and_meet():
    """All of them see crops of one size, of which the coarse ones use reduced images; nothing black enters."""
    for profile in ("quick", "laptop", "gpu"):
        net, scales = LikeNet(1 / 16), []
        stages = find("likenet").stages_of(profile)
        for stage in stages:
            stage.prepare(net)
            scales.append((net.active, net.reduce))
            height, width = (
                s - c - 2 * stage.augment.translation * stage.size[1]
                for s, c in zip(stage.size, stage.augment.crop, strict=True)
            )
            assert (profile == "quick" or min(height, width) >= 0) and stage.augment.scale == (1, 1)
        assert scales == [(2, 8), (3, 4), (5, 1)] and len({stage.size for stage in stages}) == 1


def test_false_truth_gives_the_same_weights(quick, run, tmp_path, monkeypatch):
    assert run("likenet", "quick", "true")
    pairs = Pool.pairs

    def lie(self, indices):
        honest = pairs(self, indices)
        return honest._replace(flow=100 + 0 * honest.flow)

    monkeypatch.setattr(Pool, "pairs", lie)
    assert run("likenet", "quick", "false")
    true, false = (load_file(tmp_path / kind / "coarse" / "weights.safetensors") for kind in ("true", "false"))
    assert all(torch.equal(true[name], false[name]) for name in true)
    first, second = (read_log(tmp_path / kind / "coarse" / "log.csv") for kind in ("true", "false"))
    assert all(row["epe"] is None for row in first + second)  # nor was it read for the log
    assert [row["loss"] for row in first] == [row["loss"] for row in second]
    assert first[-1]["held_out"] != second[-1]["held_out"]
    card = read_json(tmp_path / "true/coarse/card.json")
    assert card["data"]["ground_truth"] is False and card["held_out"]["epe"] > 0


def test_a_run_that_stopped_continues_with_the_same_copy(quick, run, tmp_path):
    assert run("likenet", "quick", "complete")
    stopped = partial(run, "likenet", "quick", "parts", minutes=0)
    assert not stopped()  # stops after a step …
    while not stopped(resume=True):
        pass  # … again and again
    complete, parts = (load_file(tmp_path / kind / "coarse" / "weights.safetensors") for kind in ("complete", "parts"))
    assert all(torch.equal(complete[name], parts[name]) for name in complete)


def test_sizes():
    assert count(find("likenet").build("gpu")) == 697_028
    assert count(find("likenet").build("laptop")) == count(LikeNet(1 / 4))
