"""Shipped weights: `cvdl.zoo.names()`, `cvdl.zoo.load(name)`, `cvdl.zoo.card(name)`.

Weights lie in data/weights/NAME.safetensors, in half precision; how they came to be, and what they were measured to do,
in data/runs/NAME/.
"""

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cvdl.errors import CourseError
from cvdl.flow.nets.flownet import FlowNetC, FlowNetS
from cvdl.flow.nets.spynet import SPyNet
from cvdl.settings import ROOT, data_path
from cvdl.train.runs import read_json, replacing

NETS = {net.__name__: net for net in (FlowNetC, FlowNetS, SPyNet)}
LARGEST = 6_000_000  # bytes of a weight file


def names():
    """What there is, sorted."""
    return sorted(path.stem for path in Path(data_path("weights")).glob("*.safetensors"))


def load(name):
    """A network with its trained weights, in eval mode on the CPU.

    name: one of names(), or the path of a .safetensors file that `cvdl train` wrote.
    Raises CourseError, a ValueError, for another name or a damaged file.
    """
    if str(name) in names():
        return read_weights(data_path("weights", f"{name}.safetensors")).eval()
    if Path(name).suffix == ".safetensors" and Path(name).exists():
        return read_weights(name).eval()
    raise CourseError(
        f"There are no weights {str(name)!r}. The zoo has: {', '.join(names())}. A file of your own has to exist and to "
        "end in .safetensors."
    )


def card(name):
    """How the weights came to be and what they were measured to do: a dict, as in data/runs/NAME/card.json."""
    if name not in names():
        raise CourseError(f"There are no weights {name!r}. The zoo has: {', '.join(names())}.")
    return read_json(data_path("runs", name, "card.json"))


def write_weights(path, net):
    """Weights in half precision, with the network's name and options, by which `read_weights` builds it again."""
    tensors = {key: value.detach().cpu().half().contiguous() for key, value in net.state_dict().items()}
    bad = [key for key, value in tensors.items() if not value.isfinite().all()]
    if bad:
        raise CourseError(f"Weights are NaN or too large for half precision, {bad[0]} first, so they are not written.")
    described = {"net": type(net).__name__, "options": json.dumps(net.options())}
    with replacing(path) as beside:
        save_file(tensors, beside, metadata=described)


def read_weights(path):
    """The network in a file, in single precision and train mode.  Raises CourseError for a damaged or foreign file."""
    try:
        with safe_open(path, "pt") as file:
            described = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        net = NETS[described["net"]](**json.loads(described["options"]))
        net.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CourseError(
            f"{path} is damaged, or not written by this course: {str(error).strip().splitlines()[0]} "
            "Shipped weights come back with `git checkout -- data`."
        ) from error
    return net


def add(run, name, data=ROOT / "data"):
    """Ship a finished run: its last weights to data/weights, its cards and logs to data/runs.  -> paths"""
    stages = sorted((read_json(path) | {"folder": path.parent} for path in Path(run).glob("*/card.json")), key=_order)
    if not stages:
        raise CourseError(f"{run} holds no finished stage, so there is nothing to ship. Train first: cvdl train --help")
    weights = stages[-1]["folder"] / "weights.safetensors"
    read_weights(weights)
    if weights.stat().st_size > LARGEST:
        raise CourseError(f"{weights} has {weights.stat().st_size:,} bytes; a shipped file has {LARGEST:,} at most.")
    to = Path(data) / "runs" / name
    to.mkdir(parents=True, exist_ok=True)
    paths = [Path(data) / "weights" / f"{name}.safetensors", to / "card.json"]
    paths[0].parent.mkdir(exist_ok=True)
    shutil.copyfile(weights, paths[0])
    folders = [stage.pop("folder") for stage in stages]
    from cvdl.train.runs import write_json

    write_json(paths[1], {"name": name, **stages[-1], "stages": stages})
    for folder in folders:
        paths.append(to / f"{folder.name}.csv")
        shutil.copyfile(folder / "log.csv", paths[-1])
    return paths


def _order(stage):
    return stage["number"]
