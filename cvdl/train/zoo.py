"""Shipped weights: `cvdl.zoo.names()`, `cvdl.zoo.load(name)`, `cvdl.zoo.card(name)`.

Weights are in data/weights/NAME.safetensors, in half precision; data/runs/NAME/ records how they were trained and how well
they perform.
"""

import hashlib
import json
import math
import os
import re
import shutil
import statistics
import sys
import time
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cvdl import tables
from cvdl.errors import CourseError, DataNotFound, InvalidInput, nearest
from cvdl.files import expanded, is_file
from cvdl.flow.data.chairs import FULL
from cvdl.flow.models.base import count
from cvdl.flow.models.flownet import FlowNetC, FlowNetS
from cvdl.flow.models.flownet2 import FlowNet2, FlowNet2SD, FlowNetStack
from cvdl.flow.models.likenet import LikeNet
from cvdl.flow.models.ported import published_net
from cvdl.flow.models.spynet import SPyNet
from cvdl.settings import ROOT, data_path
from cvdl.train.runs import commit, hardware, read_json, replacing, write_json

FLOW_NETS = {net.__name__: net for net in (FlowNet2, FlowNet2SD, FlowNetC, FlowNetS, FlowNetStack, LikeNet, SPyNet)}
GESTURE_NETS = (
    "GestureNet",
    "TrackLSTM",
)  # imported on use, so that changing them does not make notebooks on flow out of date
NETS = (*FLOW_NETS, *GESTURE_NETS)
LARGEST = 6_000_000  # bytes of a weight file

WEIGHTS_VARIABLE = (
    "CVDL_WEIGHTS"  # a folder of weights that take precedence over the shipped ones: see `cvdl train all`
)


def names():
    """Names of the weights, sorted; [] where there is no data folder."""
    return sorted({*shipped_names(), *(path.stem for path in own_files())})


def shipped_names():
    """Names of the weights in the data folder, sorted; [] where there is none."""
    return sorted(path.stem for path in shipped_files("weights/*.safetensors"))


def own_files():
    folder = os.environ.get(WEIGHTS_VARIABLE)
    return Path(folder).glob("*.safetensors") if folder else ()


def weights_path(name):
    """The file of weights with one of names()."""
    own = [path for path in own_files() if path.stem == name]
    return own[0] if own else data_path("weights", f"{name}.safetensors")


def shipped_files(pattern):
    """The files in the data folder that match a pattern; none where there is no data folder."""
    try:
        return data_path().glob(pattern)
    except DataNotFound:
        return ()


def listed():
    return ", ".join(names()) or "nothing yet"


def load(name):
    """A network with its trained weights, in eval mode on the CPU.

    Args:
        name: One of names(); or the path of a .safetensors file that `cvdl train` wrote; or that of a published SPyNet
            (`SPyNet.load_published`) or FlowNet (`cvdl.flow.load_published`), a torch or safetensors file with any
            extension (.pytorch, .pth, .pth.tar, .ckpt, .bin …).

    Raises:
        InvalidInput: a ValueError, for an unknown name, and for a file that is damaged or holds another kind of network.
    """
    if str(name) in names():
        return read_weights(weights_path(str(name))).eval()
    path = expanded(name)
    if is_file(path):
        return (read_weights(path) if not is_foreign(path) else published_net(path)).eval()
    data_path()  # if there is no data folder, that is what the message should be about
    raise InvalidInput(
        f"There are no weights and no file {str(name)!r}.{nearest(name, names())} The zoo has: {listed()}. You can also "
        "name a file: a .safetensors file that `cvdl train` wrote, or a published SPyNet or FlowNet, such as a .pytorch, "
        ".pth or .pth.tar file."
    )


def is_foreign(path):
    """Whether a file of weights was written by other code: not safetensors, or without the metadata of `write_weights`."""
    if path.suffix.lower() != ".safetensors":
        return True
    try:
        with safe_open(path, "pt") as file:
            return "net" not in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False  # damaged; `read_weights` says so


def runs(start=""):
    """Names of the recorded runs that begin with `start`, sorted.  Not all of them have weights in data/weights."""
    return sorted(path.parent.name for path in shipped_files(f"runs/{start}*/card.json"))


def card(name):
    """How a recorded run went and how well its network performs: a dict, as in data/runs/NAME/card.json."""
    if name not in runs():
        data_path()
        raise InvalidInput(
            f"There is no recorded run {name!r}.{nearest(name, runs())} The runs are: "
            f"{', '.join(runs()) or 'none yet'}."
        )
    return read_json(data_path("runs", name, "card.json"))


def write_weights(path, net):
    """Weights in half precision, with the network's name and options, from which `read_weights` rebuilds it.

    For a stack that builds on other weights of the zoo, only its last network is written.
    """
    tensors = net.of_last(net.state_dict()) if getattr(net, "before", None) else net.state_dict()
    tensors = {key: value.detach().cpu().half().contiguous() for key, value in tensors.items()}
    bad = [key for key, value in tensors.items() if not value.isfinite().all()]
    if bad:
        raise InvalidInput(f"Weights are NaN or too large for half precision, {bad[0]} first, so they are not written.")
    described = {"net": type(net).__name__, "options": json.dumps(net.options())}
    with replacing(path) as beside:
        save_file(tensors, beside, metadata=described)


def class_of(name):
    """The class of this name, one of NETS."""
    if name in GESTURE_NETS:
        from cvdl.gesture import nets

        return getattr(nets, name)
    return FLOW_NETS[name]


def read_weights(path):
    """The network in a file, in single precision and train mode.  Raises CourseError for a damaged or foreign file."""
    try:
        with safe_open(path, "pt") as file:
            described = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        if described.get("net") not in NETS:
            raise ValueError(f"its network is {described.get('net')}")
        net = class_of(described["net"])(**json.loads(described["options"]))
        if getattr(net, "before", None):
            begin(net)
            tensors |= {
                key: value for key, value in net.state_dict().items() if key not in net.of_last(net.state_dict())
            }
    except CourseError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(
            f"{path} is damaged, or was not written by this course ({reason if len(reason) < 200 else reason[:200] + ' …'}). "
            "Restore shipped weights with `git checkout -- data`. For those of a run, delete the folder of their stage "
            "and train it again with --resume."
        ) from error
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InvalidInput(
            f"{path} is intact, but its tensors do not fit the {described['net']} of this version of the course "
            f"({reason if len(reason) < 200 else reason[:200] + ' …'}). Keep it for the version that wrote it, and train the "
            "network again in another folder, named with --out."
        ) from error
    return net


def begin(net):
    """Give a stack the weights of the zoo that it builds on.  Raises CourseError if there are none."""
    before = (net.before,) if isinstance(net.before, str) else net.before
    for name in before:
        if name not in names():
            raise InvalidInput(
                f"This {type(net).__name__} builds on the weights {name!r}, which the zoo does not have. It has: {listed()}. Train "
                f"and add them first: cvdl train {name}, then cvdl zoo add."
            )
    net.begin_with(*(read_weights(weights_path(name)) for name in before))


def add(run, name, data=ROOT / "data", card_only=False, force=False):
    """Add a finished run to the zoo -> the paths written: its last weights in data/weights; logs, card and new measurements
    in data/runs.

    card_only: leave out the weights, for experiments of which only the numbers are wanted.  Such a network may have seen
    only small frames; it is measured on rendered pairs of the size used in its last stage.
    force: also add a run that is incomplete, or shorter than its recipe.
    """
    stages = sorted((read_json(path) for path in Path(run).glob("*/card.json")), key=lambda stage: stage["number"])
    if not stages:
        raise InvalidInput(f"{run} has no finished stage, so there is nothing to add. Train first: cvdl train --help")
    if not force and (why := incomplete(stages)):
        raise InvalidInput(f"{run} is {why}, so it was not added to the zoo. To add it anyway, use --force.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise InvalidInput(f"{name!r} cannot be a name of weights. Use lower-case letters, digits and hyphens.")
    weights = Path(run) / stages[-1]["stage"] / "weights.safetensors"
    net = read_weights(weights)
    if weights.stat().st_size > LARGEST and not card_only:
        raise InvalidInput(
            f"{weights} has {weights.stat().st_size:,} bytes; the zoo takes files of at most {LARGEST:,}."
        )
    card = {
        "name": name,
        "net": type(net).__name__,
        "options": net.options(),
        "parameters": count(net),
        "size": "GPU" if any("GB" in stage["hardware"] for stage in stages) else "CPU",
        "minutes": round(sum(stage["minutes"] for stage in stages), 1),
        "measured": measured_on_gestures(net)
        if type(net).__name__ in GESTURE_NETS
        else measure(net, stages[-1]["data"]["size"] if card_only else FULL),
        "stages": stages,
    }
    to = Path(data) / "runs" / name
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / "card.json", card)
    paths = [to / "card.json"]
    if not card_only:
        paths.append(Path(data) / "weights" / f"{name}.safetensors")
        paths[1].parent.mkdir(exist_ok=True)
        with replacing(paths[1]) as beside:
            shutil.copyfile(weights, beside)
    for stage in stages:
        paths.append(to / f"{stage['stage']}.csv")
        with replacing(paths[-1]) as beside:
            shutil.copyfile(Path(run) / stage["stage"] / "log.csv", beside)
    return paths


def incomplete(stages):
    """Why a run is not worth adding to the zoo, as text; None if it is.  stages: its cards."""
    from cvdl.train.recipes import RECIPES

    first = stages[0]
    if first["profile"] == "quick":
        return "from the profile quick, which shows that a recipe runs but trains it too briefly"
    if first["scale"] < 1:
        return f"shortened by --scale {first['scale']:g}"
    if first["recipe"] in RECIPES:
        planned = [stage.name for stage in RECIPES[first["recipe"]].stages_of(first["profile"])]
        missing = [name for name in planned if name not in [stage["stage"] for stage in stages]]
        return f"unfinished: {', '.join(missing)} must still be trained" if missing else None
    return None


def row(name):
    """The row of shipped weights in data/README.md."""
    path = data_path("weights", f"{name}.safetensors")
    content, about = path.read_bytes(), card(name)
    recipe = about["stages"][-1]["recipe"]
    return (
        f"| `weights/{name}.safetensors` | {about['net']}, {about['parameters']:,} parameters, half precision | "
        f"`cvdl train {recipe}`, [card](runs/{name}/card.json) | MIT | – | {len(content)} | "
        f"`{hashlib.sha256(content).hexdigest()}` |"
    )


def measured_on_gestures(net):
    """Accuracies of a gesture network, see cvdl.gesture.evaluate, and where they were measured."""
    from cvdl.gesture.evaluate import measure as numbers

    return {"commit": commit(), "date": time.strftime("%Y-%m-%d"), "hardware": hardware("cpu")} | numbers(net)


def measure(net, size=FULL):
    """End-point errors, and those of zero flow, Farneback and DIS, on held-out rendered pairs and on real ones if present.

    size: of the rendered pairs.  Small ones have smaller motions and cost less, so more of them are used.
    """
    from cvdl.flow import evaluate

    methods = evaluate.classical() | evaluate.networks("net", net)
    measured = {"commit": commit(), "date": time.strftime("%Y-%m-%d"), "hardware": hardware("cpu"), "size": list(size)}
    limit = min(64, round(evaluate.COUNT * math.prod(FULL) / math.prod(size)))
    for where in ("chairs", "things", "real"):
        try:
            samples = evaluate.pairs_of(where, None if where == "real" else limit, size)
        except CourseError as missing:
            print(f"not measured on {where}: {missing}", file=sys.stderr)
            continue
        rows = evaluate.evaluate(methods, samples)
        errors = {name: [row["epe"] for row in rows if row["method"] == name] for name in methods}
        measured[where] = {
            "pairs": len(samples),
            "epe": {name: round(statistics.mean(each), 3) for name, each in errors.items()},
            "standard_error": {
                name: round(statistics.stdev(each) / len(each) ** 0.5, 3) if len(each) > 1 else None
                for name, each in errors.items()
            },
        }
        if where == "real":
            names = [row["pair"] for row in rows if row["method"] == "net"]
            measured[where]["each"] = {
                pair: {name: round(errors[name][i], 2) for name in methods} for i, pair in enumerate(names)
            }
    return measured


def table():
    """All shipped weights and how well they perform, as text."""
    if not shipped_names():
        return "The zoo is empty."
    rows = [("name", "network", "parameters", "trained on", "minutes", "measured")]
    for name in shipped_names():
        about = card(name)
        measured = (accuracies if about["net"] in GESTURE_NETS else errors)(about["measured"])
        size = about["net"], f"{about['parameters']:,}", about["size"], f"{about['minutes']:.0f}"
        rows.append((name, *size, measured))
    lines = tables.table(rows, right=(2, 3, 4))
    lines.append(
        "For flow: end-point error in px (in brackets, that of zero flow). For gestures: share of clips named correctly."
    )
    return "\n".join(lines)


def errors(measured):
    places = (where for where in ("chairs", "things", "real") if where in measured)
    epe = ((where, measured[where]["epe"]) for where in places)
    return ", ".join(f"{where} {each['net']:.2f} ({each['zero flow']:.2f})" for where, each in epe)


def accuracies(measured):
    places = (where for where in ("rendered", "real A", "real B C") if where in measured)
    return ", ".join(f"{where} {measured[where]['accuracy_of_gestures']:.0%}" for where in places)
