"""LikeNet's recipe: no ground truth gets into the weights, and a run goes on exactly where it was."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from cvdl.flow.data.chairs import Chairs
from cvdl.flow.nets.base import count
from cvdl.flow.nets.likenet import LikeNet
from cvdl.train import loop
from cvdl.train.recipes import RECIPES, Recipe, find


class Forbidden:
    """Stands where the truth would be, and cannot be used for anything."""

    def __getattr__(self, name):
        raise AssertionError(f"the loss asked for the truth's {name}")

    def __torch_function__(self, *rest, **more):
        raise AssertionError("the loss computed with the truth")


@pytest.fixture
def quick(monkeypatch):
    """One stage of six steps; the copy inside D follows every fourth."""
    stage = dataclasses.replace(find("likenet").stages_of("quick")[0], steps=6, warmup=0)
    recipe = Recipe("test", lambda: LikeNet(1 / 8, refresh=4), {"quick": [stage]})
    monkeypatch.setitem(RECIPES, "likenet", recipe)
    return stage


def test_the_loss_never_touches_the_truth(monkeypatch):
    for profile in ("quick", "laptop", "gpu"):
        for stage in find("likenet").stages_of(profile):
            pairs = Chairs((16, 32)).batch(0, 2)._replace(flow=Forbidden(), valid=Forbidden(), occlusion=Forbidden())
            pairs = stage.augment(pairs._replace(backward=Forbidden()), range(2))
            monkeypatch.setattr("cvdl.train.recipes.epe", lambda flow, truth, valid: flow.new_zeros(()))
            net = LikeNet(1 / 8)
            loss, _ = stage.loss(net, pairs)
            loss.backward()
            assert loss > 0 and net.features[0].weight.grad.any()


def test_false_truth_gives_the_same_weights(quick, tmp_path, monkeypatch):
    loop.train("likenet", "quick", tmp_path / "true")
    pairs = Chairs.pairs

    def lie(self, indices):
        honest = pairs(self, indices)
        return honest._replace(flow=100 + 0 * honest.flow, backward=0 * honest.flow, occlusion=~honest.occlusion)

    monkeypatch.setattr(Chairs, "pairs", lie)
    loop.train("likenet", "quick", tmp_path / "false")
    true, false = (load_file(tmp_path / kind / "chairs" / "weights.safetensors") for kind in ("true", "false"))
    assert all(torch.equal(true[name], false[name]) for name in true)
    first, second = ((tmp_path / kind / "chairs" / "log.csv").read_text() for kind in ("true", "false"))
    assert first != second  # it was read for the log


def test_a_run_that_stopped_goes_on_with_the_same_copy(quick, tmp_path, monkeypatch):
    loop.train("likenet", "quick", tmp_path / "whole")
    assert not loop.train("likenet", "quick", tmp_path / "parts", minutes=0)  # stops after a step …
    while not loop.train("likenet", "quick", tmp_path / "parts", minutes=0, resume=True):
        pass  # … again and again
    whole, parts = (load_file(tmp_path / kind / "chairs" / "weights.safetensors") for kind in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_sizes():
    assert count(find("likenet").build("gpu")) == 697_028
    assert count(find("likenet").build("laptop")) == count(LikeNet(1 / 4))
