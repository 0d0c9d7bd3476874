"""Weight files of others, as their owners publish them: read, checked, renamed.  None of them ships with the course."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from cvdl.errors import DataNotFound, InvalidInput

# Entries that may contain the tensors, next to notes on training; if there are several, the first in this order counts.
INSIDE = (
    "state_dict",
    "model_state_dict",
    "params",
    "params_ema",
    "model",
    "network",
    "net",
    "weights",
    "ema",
    "module",
)
# Prefixes that wrappers and training loops add to all names: DataParallel, torch.compile, Lightning, custom loops.
PREFIXES = ("module", "_orig_mod", "model", "network", "net", "net_g", "generator", "flownet", "flow_net", "spynet")
# Numbers of NumPy stand in some notes, the best error say.  They are harmless.  NumPy 1 and 2 name their maker otherwise.
MAKER = np.float64(0).__reduce__()[0]
NUMBERS = [np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]
NUMBERS += [(MAKER, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]


def read_tensors(path):
    """All tensors of a torch or safetensors file, by name, on the CPU.  No code that a file may hold is run.

    Raises CourseError where there is no file, or no dict of tensors in it.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path):
    """read_tensors, and what stands beside them, such as {"epoch": 3, "div_flow": 20}.  -> two dicts"""
    path = Path(path)
    if not path.is_file():
        raise DataNotFound(
            f"There is no file {path}. Download published weights from their owner, and give the path of your file."
        )
    try:
        if is_safetensors(path):
            content = load_file(path)
        else:
            with torch.serialization.safe_globals(NUMBERS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in whatever way its bytes ask for; torch's advice is left out
        raise InvalidInput(
            f"{path} cannot be read as a torch or safetensors file: it is damaged, or contains more than tensors "
            f"({type(error).__name__}). Fetch it again, and compare its size with that at the source."
        ) from error
    notes = {}
    while (inner := nested(content)) is not None:
        notes |= {key: value for key, value in content.items() if value is not inner}
        content = inner
    if isinstance(content, dict) and any(map(is_named_tensor, content.items())):  # notes among the tensors
        notes |= dict(item for item in content.items() if not is_named_tensor(item))
        content = dict(filter(is_named_tensor, content.items()))
    if not isinstance(content, dict) or not all(map(is_named_tensor, content.items())):
        raise InvalidInput(
            f"{path} does not contain tensors by name (a state dict), but a {type(content).__name__} of other things. Use "
            "a file with only the weights; for your own network, save net.state_dict()."
        )
    return without_prefix(content), notes


def is_safetensors(path):
    """Whether a file has safetensors' extension, or starts like one: 8 bytes of length, then a brace."""
    with path.open("rb") as file:
        return path.suffix.lower() == ".safetensors" or file.read(9)[8:] == b"{"


def is_named_tensor(item):
    name, value = item
    return isinstance(name, str) and isinstance(value, torch.Tensor)


def nested(content):
    """The nested dict that contains the tensors; None if there is none, or the tensors are not nested."""
    if not isinstance(content, dict) or any(map(is_named_tensor, content.items())):
        return None
    return next((content[name] for name in INSIDE if isinstance(content.get(name), dict)), None)


def without_prefix(tensors):
    """Tensors without the prefixes that wrappers added to the names of all of them."""
    while tensors:
        first = {name.partition(".")[0] for name in tensors}
        if len(first) > 1 or not first <= set(PREFIXES) or first <= set(tensors):
            break
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    return tensors


def load_renamed(net, tensors, names, path):
    """Fill the network with a file's tensors.  names: {name in the file: name in the network}, for all of the network.

    Raises CourseError for tensors that are missing, too many, of another shape, or not finite; net is unchanged then.
    """
    wanted = {theirs: net.state_dict()[ours] for theirs, ours in names.items()}
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [f"{name} is too many" for name in tensors if name not in wanted]
    for name in wanted.keys() & tensors.keys():
        came, shape = tensors[name], tuple(wanted[name].shape)
        if tuple(came.shape) != shape:
            faults.append(f"{name} is {tuple(came.shape)} and not {shape}")
        elif not came.isfinite().all():
            faults.append(f"{name} is not finite")
    if faults:
        raise InvalidInput(
            f"{path} is no complete {type(net).__name__} of {len(wanted)} tensors: {'; '.join(sorted(faults)[:3])}"
            f"{f'; and {len(faults) - 3} more' if len(faults) > 3 else ''}. Fetch it again, or take the file that goes with "
            "this network."
        )
    net.load_state_dict({ours: tensors[theirs] for theirs, ours in names.items()})
    return net
