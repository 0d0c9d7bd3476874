"""Weights of others: whatever ending, prefix and nesting their files have."""

import pytest
import torch
from safetensors.torch import save_file

from cvdl import zoo
from cvdl.errors import CourseError
from cvdl.flow.models import ported
from cvdl.flow.models.published import read_checkpoint
from tests.flow.models import ports
from tests.flow.models.test_spynet_published import published

WIDTH = 1 / 16


@pytest.fixture(scope="module")
def spynet():
    return published()


def same(net, tensors):
    return sum(p.sum() for p in net.parameters()).item() == pytest.approx(sum(t.sum() for t in tensors.values()).item())


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "net.", "_orig_mod.module.", "module.model."])
def test_prefixes(tmp_path, spynet, prefix):
    torch.save({prefix + name: tensor for name, tensor in spynet.items()}, tmp_path / "x.pth")
    assert same(zoo.load(tmp_path / "x.pth"), spynet)


def test_prefix_of_a_flownet(tmp_path, monkeypatch):
    monkeypatch.setattr(ported, "MARKS", [(mark, lambda b=build: b(WIDTH)) for mark, build in ported.MARKS])
    tensors = ports.random_file("S", "nvidia", WIDTH)
    torch.save({"state_dict": {"module." + name: tensor for name, tensor in tensors.items()}}, tmp_path / "x.pth")
    assert type(zoo.load(tmp_path / "x.pth")).__name__ == "FlowNetS"


@pytest.mark.parametrize(
    "nest",
    [
        lambda t: {"state_dict": t, "epoch": 3},
        lambda t: {"model_state_dict": t, "optimizer_state_dict": {"state": {0: {"step": torch.ones(1)}}}},
        lambda t: {"params_ema": t},
        lambda t: {"params": t, "params_ema": {name: 2 * tensor for name, tensor in t.items()}},
        lambda t: {"model": {"state_dict": t}},
        lambda t: {"model": {"state_dict": {"module." + name: tensor for name, tensor in t.items()}}, "step": 7},
        lambda t: t | {"epoch": 3, "arch": "spynet"},  # notes among the tensors
    ],
)
def test_nestings(tmp_path, spynet, nest):
    torch.save(nest(spynet), tmp_path / "x.pth")
    assert same(zoo.load(tmp_path / "x.pth"), spynet)


def test_notes_are_kept(tmp_path):
    torch.save({"model": {"state_dict": {"module.a": torch.ones(1)}, "div_flow": 10}, "epoch": 3}, tmp_path / "x.pth")
    assert read_checkpoint(tmp_path / "x.pth") == ({"a": torch.ones(1)}, {"div_flow": 10, "epoch": 3})


@pytest.mark.parametrize("ending", [".pytorch", ".pth.tar", ".ckpt", ".bin", ".PTH", ".weights"])
def test_endings(tmp_path, spynet, ending):
    torch.save(spynet, tmp_path / f"x{ending}")
    assert same(zoo.load(tmp_path / f"x{ending}"), spynet)


@pytest.mark.parametrize("ending", [".safetensors", ".SAFETENSORS", ".bin"])
def test_published_weights_as_safetensors(tmp_path, spynet, ending):
    save_file(spynet, tmp_path / f"x{ending}")
    assert same(zoo.load(tmp_path / f"x{ending}"), spynet)


def test_another_network_is_not_blamed_on_the_last_reader(tmp_path):
    torch.save({"conv7.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(CourseError, match=r"no known network.*conv7\.weight"):
        zoo.load(tmp_path / "x.pth")
    torch.save({"levels.0.0.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(CourseError, match=r"state dict of this course.*write_weights"):
        zoo.load(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["spynt", "x" * 300, "a\0b", "folder/" * 2000])
def test_names_that_no_file_has(name):
    with pytest.raises(CourseError, match="There are no weights") as error:
        zoo.load(name)
    assert ("Did you mean spynet" in str(error.value)) == (name == "spynt")
