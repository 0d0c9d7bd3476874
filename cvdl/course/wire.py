"""The messages between the judge and a jail: plain data as JSON, tensors as safetensors, nothing that runs.

A message is two lengths, then JSON, then tensors.  Lists, tuples, dicts and tensors are marked in the JSON; numbers,
text and None stand for themselves.
"""

import json
import math
import struct

import safetensors.torch
import torch

from cvdl.course.compare import CallFailed, dense

LENGTHS = struct.Struct(">II")
TEXT, TENSORS = 1 << 21, 1 << 24  # bytes, the most that the judge reads of each
TOO_BIG = "returned more than the judge can read"


def pack(message):
    """The bytes of a message.  Raises CallFailed where it holds a tensor that is not a plain array of real numbers."""
    tensors = {}

    def mark(value):
        if isinstance(value, torch.Tensor):
            name = str(len(tensors))
            tensors[name] = _dense(value)
            return {"tensor": name, "strides": value.stride()}
        if isinstance(value, list | tuple):
            return {type(value).__name__: [mark(v) for v in value]}
        if isinstance(value, dict):
            return {"dict": [[mark(k), mark(v)] for k, v in value.items()]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{type(value).__name__} does not cross")

    text = json.dumps(mark(message)).encode()
    try:
        raw = safetensors.torch.save(tensors) if tensors else b""
    except Exception:
        kinds = ", ".join(sorted({str(t.dtype) for t in tensors.values()}))
        raise CallFailed(f"returned a tensor that the judge cannot read, of {kinds}") from None
    return LENGTHS.pack(len(text), len(raw)) + text + raw


def lengths(head):
    """Lengths of the two parts.  Raises ValueError where one is too long to be read."""
    text, raw = LENGTHS.unpack(head)
    if text > TEXT or raw > TENSORS:
        raise ValueError("too long")
    return text, raw


def unpack(text, raw, strides=False):
    """The message in these two parts.  Raises ValueError if it is not in order.

    strides: lay tensors out in memory as the sender had them; not to be asked for on what a stranger sent.
    """
    try:
        tensors = safetensors.torch.load(raw) if raw else {}
        return _unmark(json.loads(text), tensors, strides)
    except Exception as error:  # whatever a stranger's bytes can set off, RecursionError among it
        raise ValueError(f"no message: {type(error).__name__}") from None


def _unmark(value, tensors, strides):
    if isinstance(value, dict):
        if value.keys() == {"tensor", "strides"}:
            return _laid_out(tensors[value["tensor"]], value["strides"] if strides else None)
        ((kind, inner),) = value.items()
        if kind == "dict":
            return {_unmark(k, tensors, strides): _unmark(v, tensors, strides) for k, v in inner}
        return {"list": list, "tuple": tuple}[kind](_unmark(v, tensors, strides) for v in inner)
    if isinstance(value, list) or (isinstance(value, int) and abs(value) >= 1 << 63):
        raise ValueError("bare list, or a whole number that no judge can count to")
    return value


def _laid_out(tensor, strides):
    if tensor.dtype == torch.bool:
        tensor = tensor.view(torch.uint8) != 0  # a byte of 2 would be neither true nor false
    return tensor if strides is None else torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


def _dense(tensor):
    tensor = dense(tensor)
    if math.prod(tensor.shape) * tensor.element_size() > TENSORS - (1 << 16):
        raise CallFailed(TOO_BIG)
    plain = tensor.resolve_conj().resolve_neg()
    return torch.empty(plain.shape, dtype=plain.dtype).copy_(plain)  # a copy: safetensors takes no shared memory
