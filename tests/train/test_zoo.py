"""Weights that ship: written, read, refused, added, listed."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from cvdl import zoo
from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.flow import FlowNetC, FlowNetS, FlowNetStack, SPyNet
from cvdl.flow.models.base import count
from cvdl.train import publish


@pytest.fixture
def run(tmp_path):
    """A finished run of two stages."""
    folder = tmp_path / "run"
    for number, stage in enumerate(("level0", "level1")):
        (folder / stage).mkdir(parents=True)
        (folder / stage / "log.csv").write_text(f"step,seconds\n{number},0\n")
        zoo.write_weights(folder / stage / "weights.safetensors", SPyNet(number + 1))
        card = {"recipe": "tiny", "profile": "laptop", "scale": 1.0, "stage": stage, "number": number, "minutes": 1.5}
        card["hardware"] = "2 CPU threads"
        card["data"] = {"size": [48, 64]}
        (folder / stage / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty folder data/, which the library takes for its own."""
    (tmp_path / "data/weights").mkdir(parents=True)
    monkeypatch.setenv("CVDL_DATA", str(tmp_path / "data"))
    epe = {"net": 1.0, "zero flow": 4.0}
    monkeypatch.setattr(publish, "measure", lambda net, size: {"size": size, "chairs": {"pairs": 16, "epe": epe}})
    return tmp_path / "data"


@pytest.mark.parametrize("net", [SPyNet(2), FlowNetS(1 / 16), FlowNetC(1 / 16, max_displacement=4, stride=1)])
def test_round_trip_in_half_precision(tmp_path, net):
    path = tmp_path / "net.safetensors"
    zoo.write_weights(path, net)
    again = zoo.read_weights(path)
    assert type(again) is type(net) and again.options() == net.options() and again.training
    for (name, value), (_, kept) in zip(net.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(kept, value.half().float()), name
    assert path.stat().st_size < 2 * count(net) + 10_000
    assert not zoo.load(path).training and not zoo.load(str(path)).training


def test_intact_weights_that_do_not_fit_are_not_called_damaged(tmp_path):
    """As those of an earlier version of a network: nobody is told to delete them."""
    path = tmp_path / "net.safetensors"
    tensors = {name: value.contiguous() for name, value in SPyNet(1).state_dict().items()}
    renamed = {name.replace("levels.0.0", "levels.0.first"): value for name, value in tensors.items()}
    save_file(renamed, path, metadata={"net": "SPyNet", "options": json.dumps(SPyNet(1).options())})
    with pytest.raises(CourseError, match=r"is intact, but its tensors do not fit the SPyNet .*levels\.0\.0") as error:
        zoo.read_weights(path)
    assert "damaged" not in str(error.value) and "delet" not in str(error.value)


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    net = SPyNet(1)
    net.levels[0][0].weight.data[0, 0, 0, 0] = 1e6  # too large for half precision
    with pytest.raises(CourseError, match=r"levels\.0\.0\.weight"):
        zoo.write_weights(tmp_path / "net.safetensors", net)
    assert not list(tmp_path.iterdir())


def test_foreign_and_damaged_files(tmp_path):
    path = tmp_path / "net.safetensors"
    zoo.write_weights(path, SPyNet(1))
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[:-100]):
        path.write_bytes(damaged)
        with pytest.raises(CourseError, match="damaged, or was not written by this course"):
            zoo.load(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CourseError, match="contains no known network"):
        zoo.load(path)
    save_file({"weight": torch.zeros(1)}, path, metadata={"net": "SPyNet", "options": '{"levels": 1}'})
    with pytest.raises(CourseError, match="do not fit the SPyNet of this version"):
        zoo.load(path)


def test_a_run_is_shipped(run, data):
    paths = publish.add(run, "small", data)
    assert all(path.exists() for path in paths)
    assert zoo.names() == ["small"] and len(zoo.load("small").levels) == 2
    card = zoo.card("small")
    assert card["parameters"] == 2 * 240_050 and card["size"] == "CPU" and card["minutes"] == 3
    assert [stage["stage"] for stage in card["stages"]] == ["level0", "level1"]
    assert (data / "runs/small/level1.csv").read_text().endswith("1,0\n")
    assert "small" in publish.table() and "chairs 1.00 (4.00)" in publish.table()
    assert publish.row("small").startswith("| `weights/small.safetensors` | SPyNet, 480,100 parameters")


def test_a_stack_ships_its_last_net_alone(data):
    torch.manual_seed(0)
    first = FlowNetC(1 / 16)
    zoo.write_weights(data / "weights/flownet-c.safetensors", first)
    first = zoo.load("flownet-c")
    stack = FlowNetStack("cs", 1 / 16, before="flownet-c")
    zoo.begin(stack)
    zoo.write_weights(data / "weights/flownet-cs.safetensors", stack)
    both = zoo.load("flownet-cs")
    for name, value in both.nets[0].state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name
    for name, value in both.nets[1].state_dict().items():
        assert torch.equal(value, stack.nets[1].state_dict()[name].half().float()), name
    with safe_open(data / "weights/flownet-cs.safetensors", "pt") as file:
        assert {name[:7] for name in file.keys()} == {"nets.1."}  # noqa: SIM118

    longer = FlowNetStack("css", 1 / 16, before="flownet-cs")
    zoo.begin(longer)
    assert torch.equal(longer.nets[1].conv1[0].weight, both.nets[1].conv1[0].weight)
    for wrong in (FlowNetStack("css", 1 / 16, before="flownet-c"), FlowNetStack("cs", 1 / 8, before="flownet-c")):
        with pytest.raises(CourseError, match="without its last net, of the same width"):
            zoo.begin(wrong)
    (data / "weights/flownet-c.safetensors").unlink()
    with pytest.raises(CourseError, match=r"builds on the weights 'flownet-c', which the zoo does not have"):
        zoo.load("flownet-cs")


@torch.no_grad()
def test_a_stack_keeps_the_options_of_its_first_networks(data):
    """Weights that were trained with `normalise` and another mean mean something with these only."""
    torch.manual_seed(0)
    first = FlowNetC(1 / 16, mean_of="pair", normalise=True)
    zoo.write_weights(data / "weights/flownet-c.safetensors", first)
    stack = FlowNetStack("cs", 1 / 16, before="flownet-c")
    zoo.begin(stack)
    zoo.write_weights(data / "weights/flownet-cs.safetensors", stack)
    longer = FlowNetStack("css", 1 / 16, before="flownet-cs")
    images = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).unbind()
    wanted = zoo.load("flownet-c")(*images)
    for net in (stack, longer):
        if net is longer:
            zoo.begin(net)
        torch.testing.assert_close(net.flow_of_each(*images)[0], wanted)
        assert net.nets[0].normalise and net.options()["mean_of"] == "pair" and net.nets[0].training


def test_a_card_without_weights(run, data, monkeypatch):
    monkeypatch.setattr(publish, "LARGEST", 1000)
    paths = publish.add(run, "small-s0", data, card_only=True)
    assert [path.name for path in paths] == ["card.json", "level0.csv", "level1.csv"]
    assert zoo.names() == [] and zoo.runs() == zoo.runs("small") == ["small-s0"] and zoo.runs("large") == []
    about = zoo.card("small-s0")
    assert about["parameters"] == 2 * 240_050
    assert about["measured"]["size"] == about["stages"][-1]["data"]["size"] == [48, 64]


def test_what_cannot_be_shipped(run, data, tmp_path, monkeypatch):
    with pytest.raises(CourseError, match="no finished stage"):
        publish.add(tmp_path / "nothing", "small", data)
    monkeypatch.setattr(publish, "LARGEST", 1000)
    with pytest.raises(CourseError, match="at most 1,000"):
        publish.add(run, "small", data)
    assert zoo.names() == [] and not (data / "runs").exists()


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"profile": "quick"}, "from the profile quick"),
        ({"scale": 0.5}, "shortened by --scale 0.5"),
        ({"recipe": "spynet"}, "unfinished: coarse, level3, level4, joint must still be trained"),
    ],
)
def test_a_run_that_is_not_worth_it_is_shipped_by_force_alone(run, data, changed, told):
    for path in run.glob("*/card.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    refused = CliRunner().invoke(app.app, ["zoo", "add", str(run), "small"])
    assert refused.exit_code == 1 and told in refused.stderr and "--force" in refused.stderr
    assert zoo.names() == []
    publish.add(run, "small", data, force=True)
    assert zoo.names() == ["small"]


def test_weights_of_ones_own_come_first(run, data, tmp_path, monkeypatch):
    """Those in the folder that CVDL_WEIGHTS names, as in `cvdl train all`: under new names and under shipped ones."""
    publish.add(run, "small", data)
    own = tmp_path / "own"
    monkeypatch.setenv(zoo.WEIGHTS_VARIABLE, str(own))
    assert zoo.names() == ["small"] and len(zoo.load("small").levels) == 2  # there is no such folder yet
    own.mkdir()
    zoo.write_weights(own / "small.safetensors", SPyNet(3))
    torch.manual_seed(0)
    zoo.write_weights(own / "flownet-c.safetensors", FlowNetC(1 / 16))
    assert zoo.names() == ["flownet-c", "small"] and len(zoo.load("small").levels) == 3
    stack = FlowNetStack("cs", 1 / 16, before="flownet-c")
    zoo.begin(stack)
    assert torch.equal(stack.nets[0].conv1[0].weight, zoo.load("flownet-c").conv1[0].weight)
    assert "small" in publish.table() and "flownet-c" not in publish.table()  # the table shows what ships
    monkeypatch.delenv(zoo.WEIGHTS_VARIABLE)
    assert zoo.names() == ["small"] and len(zoo.load("small").levels) == 2


def test_unknown_names(run, data):
    publish.add(run, "small", data)
    for ask in (zoo.load, zoo.card):
        with pytest.raises(ValueError, match=r"(no file|no recorded run) 'large'.*small"):
            ask("large")


def test_commands(run, data):
    def cvdl(*arguments):
        return CliRunner().invoke(app.app, ["zoo", *map(str, arguments)])

    assert "empty" in cvdl().stdout
    publish.add(run, "small", data)
    assert "small" in cvdl().stdout
    assert json.loads(cvdl("show", "small").stdout)["net"] == "SPyNet"
    for wrong in (("show", "large"), ("add", "no/run", "x")):
        failed = cvdl(*wrong)
        assert failed.exit_code == 1 and "Traceback" not in failed.output
