"""Shipped weights: `cvdl.zoo.names()`, `cvdl.zoo.load(name)`, `cvdl.zoo.card(name)`.

Weights are in data/weights/NAME.safetensors, in half precision; data/runs/NAME/ records how they were trained and how well
they perform.  `cvdl.train.publish` adds them.
"""

import json
import os
from importlib import import_module
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cvdl.errors import CourseError, DataNotFound, InvalidInput, nearest
from cvdl.files import expanded, is_file, read_json, replacing
from cvdl.settings import data_path

# The module of each network.  It is imported when a network is loaded: gestures need no networks of flow, nor flow those of
# gestures.
FLOW_NETS = {
    "FlowNet2": "cvdl.flow.models.flownet2",
    "FlowNet2SD": "cvdl.flow.models.flownet2",
    "FlowNetC": "cvdl.flow.models.flownet",
    "FlowNetS": "cvdl.flow.models.flownet",
    "FlowNetStack": "cvdl.flow.models.flownet2",
    "LikeNet": "cvdl.flow.models.likenet",
    "SPyNet": "cvdl.flow.models.spynet",
}
GESTURE_NETS = {"GestureNet": "cvdl.gesture.nets", "TrackLSTM": "cvdl.gesture.nets"}
NETS = FLOW_NETS | GESTURE_NETS
WEIGHTS_VARIABLE = "CVDL_WEIGHTS"  # a folder of weights that take precedence over shipped ones: see `cvdl train all`


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
        if is_foreign(path):
            return import_module("cvdl.flow.models.ported").published_net(path).eval()
        return read_weights(path).eval()
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
    return getattr(import_module(NETS[name]), name)


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
