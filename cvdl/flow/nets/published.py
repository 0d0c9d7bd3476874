"""Weight files of others, as their owners publish them: read, checked, renamed.  None of them ships with the course."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from cvdl.errors import DataNotFound, InvalidInput

INSIDE = ("state_dict", "params", "model")  # entries under which some keep the tensors, beside notes on training
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
            f"There is no file {path}. Published weights are fetched from their owner; give the path of yours."
        )
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with torch.serialization.safe_globals(NUMBERS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in whatever way its bytes ask for; torch's advice is left out
        raise InvalidInput(
            f"{path} cannot be read as a torch or safetensors file: it is damaged, or holds more than tensors "
            f"({type(error).__name__}). Fetch it again, and compare its size with that at the source."
        ) from error
    notes = {}
    for name in INSIDE:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            notes, content = {key: value for key, value in content.items() if key != name}, content[name]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in content.items()
    ):
        raise InvalidInput(
            f"{path} does not hold tensors by name (a state dict), but a {type(content).__name__} of other things. Take "
            "the file of weights alone; of a network of yours, save net.state_dict()."
        )
    return content, notes


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
