"""The messages between the judge and a jail: plain data as JSON, tensors as safetensors, nothing that runs.

A message is two lengths, then JSON, then tensors.  Lists, tuples, dicts and tensors are marked in the JSON; numbers,
text and None stand for themselves.  On a Line, one byte before it says what it is for.
"""

import json
import math
import os
import select
import struct
import time

import safetensors.torch
import torch

from cvdl.course.exercises.comparison import CallFailed, dense

LENGTHS = struct.Struct(">II")
TEXT, TENSORS = 1 << 21, 1 << 24  # bytes, the most that the judge reads of each
TOO_BIG = "returned more than the judge can read"
# What a message is for: to the sandbox; from it; from it, for the library's answer to another exercise.
CALL, ANSWER, QUESTION = b"C", b"A", b"Q"
PAUSE = 0.05  # seconds between two looks at whether to go on waiting


class Connection:
    """One end of a connection that carries messages: a descriptor to read from, and one to write to, which may be the same.

    `receive` raises EOFError if the other end is closed, ValueError for what is no message.
    """

    def __init__(self, source, sink=None):
        self.source, self.sink = source, source if sink is None else sink
        self.open = {self.source, self.sink}
        os.set_blocking(self.sink, False)  # else a write would wait until all of it has been read

    def fileno(self):
        return self.source

    def close(self):
        while self.open:
            os.close(self.open.pop())

    def send(self, kind, message, seconds=None):
        """Send the bytes of a message.  Raises TimeoutError if the other end does not read them, EOFError if it is closed."""
        left, end = memoryview(kind + message), None if seconds is None else time.monotonic() + seconds
        while left:
            if not select.select([], [self.sink], [], end and max(end - time.monotonic(), 0))[1]:
                raise TimeoutError("the process does not read what it is sent")
            try:
                left = left[os.write(self.sink, left) :]
            except BlockingIOError:
                continue
            except ConnectionError:
                raise EOFError("the process has ended") from None

    def receive(self, wait=lambda: None, limited=True):
        """The kind and the bytes of the next message.

        wait: called now and then; it raises an exception to give up.  limited: as long as the judge reads, at most.
        """
        head = self._read(1 + LENGTHS.size, wait)
        both = lengths(head[1:]) if limited else LENGTHS.unpack(head[1:])
        return head[:1], head[1:] + self._read(sum(both), wait)

    def _read(self, size, wait):
        parts = bytearray()
        while len(parts) < size:
            wait()
            if select.select([self.source], [], [], PAUSE)[0]:
                try:
                    part = os.read(self.source, min(size - len(parts), 1 << 20))
                except BlockingIOError:
                    continue
                except ConnectionError:
                    part = b""
                if not part:
                    raise EOFError("the process has ended")
                parts += part
        return bytes(parts)


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


def split(message):
    """The two parts of a message."""
    end = LENGTHS.size + LENGTHS.unpack(message[: LENGTHS.size])[0]
    return message[LENGTHS.size : end], message[end:]


def unpack(message, strides=False):
    """What is in the bytes of a message.  Raises ValueError if it is not in order.

    strides: lay tensors out in memory as the sender had them; not to be asked for on what a stranger sent.
    """
    try:
        text, raw = split(message)
        tensors = safetensors.torch.load(raw) if raw else {}
        return _unmark(json.loads(text), tensors, strides)
    except Exception as error:  # whatever a stranger's bytes can set off, RecursionError among it
        raise ValueError(f"no message: {type(error).__name__}") from None


def _unmark(value, tensors, strides):
    if isinstance(value, dict):
        if value.keys() == {"tensor", "strides"}:
            return _laid_out(tensors.pop(value["tensor"]), value["strides"] if strides else None)
        ((kind, inner),) = value.items()
        if kind == "dict":
            return {_unmark(k, {}, False): _unmark(v, tensors, strides) for k, v in inner}  # no tensor is a key
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
