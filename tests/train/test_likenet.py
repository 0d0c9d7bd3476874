"""LikeNet's recipe: no ground truth gets into the weights, and a run goes on exactly where it was."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from cvdl.flow.data.chairs import Chairs
from cvdl.flow.nets.base import count
from cvdl.flow.nets.likenet import LikeNet
from cvdl.train import loop
from cvdl.train.recipes import RECIPES, find
from cvdl.train.runs import read_log
from cvdl.train.stages import Recipe
from tests.train import rendered_once

UNSUPERVISED = ("likenet", "likenet-smooth", "likenet-occlusion", "likenet-census")


@pytest.fixture(autouse=True, scope="module")
def once():
    with rendered_once():
        yield


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Held-out pairs: two."""
    monkeypatch.setattr(loop, "SAMPLES", 2)


@pytest.fixture
def quick(monkeypatch):
    """One stage of six steps; the copy inside D follows every fourth."""
    stage = dataclasses.replace(find("likenet").stages_of("quick")[0], steps=6, warmup=0, size=(16, 24))
    recipe = Recipe("test", lambda: LikeNet(1 / 8, refresh=4), {"quick": [stage]})
    monkeypatch.setitem(RECIPES, "likenet", recipe)
    return stage


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_training_gets_images_only(name, tmp_path, monkeypatch):
    """In every profile and stage: what reaches the loss, while the weights learn, is two images and no more."""
    seen, real = [], find(name)
    for profile in ("quick", "laptop", "gpu"):
        short = []
        for stage in real.stages_of(profile):
            assert not stage.truth

            def watched(net, pairs, loss=stage.loss):
                seen.append((torch.is_grad_enabled(), pairs))
                return loss(net, pairs)

            short.append(dataclasses.replace(stage, loss=watched, steps=1, warmup=0, batch=2, size=(16, 32)))
        monkeypatch.setitem(RECIPES, name, Recipe("test", lambda: LikeNet(1 / 16), {profile: short}))
        loop.train(name, profile, tmp_path / profile)
    learning = [pairs for learns, pairs in seen if learns]
    assert len(learning) == 3 * 3
    for pairs in learning:
        assert pairs.image1.shape == pairs.image2.shape == (2, 3, 16, 32)
        assert pairs[2:] == (None, None, None, None)
    assert all(pairs.flow is not None for learns, pairs in seen if not learns)  # held out, to measure with


def test_the_supervised_twin_differs_in_the_loss_alone():
    for profile in ("quick", "laptop", "gpu"):
        for ours, twin in zip(*(find(n).stages_of(profile) for n in ("likenet", "likenet-supervised")), strict=True):
            assert twin.truth and dataclasses.replace(twin, loss=ours.loss, prepare=ours.prepare, truth=False) == (ours)
            assert twin.prepare.keywords == ours.prepare.keywords


def test_stages_go_from_coarse_to_fine_and_meet():
    """The last scale in use has the size of the images, and scales are those of the whole frame."""
    for profile in ("quick", "laptop", "gpu"):
        sizes = []
        for stage in find("likenet").stages_of(profile):
            net = LikeNet(1 / 16)
            stage.prepare(net)
            sizes.append((net.active, stage.size[0] * 2 ** (5 - net.active)))
        assert [active for active, _ in sizes] == [2, 3, 5] and len({height for _, height in sizes}) == 1


def test_false_truth_gives_the_same_weights(quick, tmp_path, monkeypatch):
    loop.train("likenet", "quick", tmp_path / "true")
    pairs = Chairs.pairs

    def lie(self, indices):
        honest = pairs(self, indices)
        return honest._replace(flow=100 + 0 * honest.flow, backward=0 * honest.flow, occlusion=~honest.occlusion)

    monkeypatch.setattr(Chairs, "pairs", lie)
    loop.train("likenet", "quick", tmp_path / "false")
    true, false = (load_file(tmp_path / kind / "coarse" / "weights.safetensors") for kind in ("true", "false"))
    assert all(torch.equal(true[name], false[name]) for name in true)
    first, second = (read_log(tmp_path / kind / "coarse" / "log.csv") for kind in ("true", "false"))
    assert all(row["epe"] is None for row in first + second)  # nor was it read for the log
    assert first[-1]["held_out"] != second[-1]["held_out"]


def test_a_run_that_stopped_goes_on_with_the_same_copy(quick, tmp_path, monkeypatch):
    loop.train("likenet", "quick", tmp_path / "whole")
    assert not loop.train("likenet", "quick", tmp_path / "parts", minutes=0)  # stops after a step …
    while not loop.train("likenet", "quick", tmp_path / "parts", minutes=0, resume=True):
        pass  # … again and again
    whole, parts = (load_file(tmp_path / kind / "coarse" / "weights.safetensors") for kind in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_sizes():
    assert count(find("likenet").build("gpu")) == 697_028
    assert count(find("likenet").build("laptop")) == count(LikeNet(1 / 4))
