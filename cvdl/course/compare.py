"""Comparing an answer with the right one: what counts as equal, and how a difference is told."""

import numpy as np
import torch

RTOL, ATOL = 1e-4, 1e-5
ITEMS, DEPTH = 100_000, 20  # of an answer, the most that is read


class CallFailed(Exception):
    """The student's function gave no answer; the message says why, for the student.

    hint, if given, replaces the case's own.
    """

    def __init__(self, message, hint=""):
        super().__init__(str(message))
        self.hint = str(hint)

    def __str__(self):
        return super().__str__() or "no answer came"  # an empty message would count as right


class CallStopped(CallFailed):
    """It was stopped after its time; the remaining cases are not tried."""


NOTHING = "nothing was returned"


def plain(value):
    """Reduce an answer to plain data; raise CallFailed for anything else.

    Only the type of the answer is believed, not what a class written by a student says of itself.
    """
    try:
        return _plain(value, iter(range(ITEMS)), 0)
    except CallFailed:
        raise
    except Exception as error:  # of a class that a student wrote, say
        raise CallFailed(f"the answer cannot be read ({type(error).__name__})") from None


def _plain(value, room, depth):
    kind = type(value)
    if next(room, None) is None:
        raise CallFailed(f"returned more than {ITEMS:,} values in lists or dicts")
    if depth > DEPTH:
        raise CallFailed(f"returned lists or dicts nested more than {DEPTH} deep")
    if issubclass(kind, torch.Tensor):
        return dense(value)
    if issubclass(kind, np.generic) and value.dtype.kind in "bif":
        return {"b": bool, "i": int, "f": float}[value.dtype.kind](value)
    if issubclass(kind, np.ndarray):
        raise CallFailed("returned a NumPy array", "Stay with torch: `np.tanh` is `torch.tanh`, and so on.")
    if kind is int and abs(value) >= 1 << 63:
        raise CallFailed("returned a whole number of more than 63 binary digits")
    if any(kind is k for k in (type(None), bool, int, float, str)):
        return value
    if any(kind is k for k in (list, tuple, torch.Size)):
        return tuple(_plain(v, room, depth + 1) for v in value)
    if kind is dict:
        return {str(k): _plain(v, room, depth + 1) for k, v in value.items()}
    if value is ...:
        return None
    raise CallFailed(f"returned {_a(kind.__name__)}; an answer is made of tensors, numbers, text, lists and dicts")


def dense(tensor):
    """A tensor as a plain torch.Tensor on the CPU, without gradient.

    Raises CallFailed for complex, sparse, nested, quantised and meta tensors, and for classes that compute in Python.
    """
    if type(tensor).__torch_dispatch__ is torch.Tensor.__torch_dispatch__:
        with torch._C.DisableTorchFunctionSubclass():  # a subclass may have its own idea of what follows
            if torch.Tensor.layout.__get__(tensor) == torch.strided:
                tensor = torch.Tensor.as_subclass(tensor, torch.Tensor)
                odd = tensor.is_complex() or tensor.is_quantized or tensor.is_nested or tensor.device.type == "meta"
                if not odd:
                    return tensor.detach().cpu()
    raise CallFailed("returned a tensor that is not a plain array of real numbers")


def difference(got, want, axes=(), parts=()):
    """None if `got` answers as well as `want` does, else what is wrong with it, in one line.

    Says where and how, never what was expected.  `axes` names the tensor's axes; `parts` the members
    of a tuple, in the order in which one computes them: the first that differs is named.
    """
    if isinstance(want, torch.Tensor):
        return _tensor_difference(got, want, axes)
    if got is None:
        return NOTHING
    if isinstance(want, bool | str):
        got = got.item() if isinstance(got, torch.Tensor) and got.numel() == 1 else got
        return None if got == want else f"got {got!r}"
    if isinstance(want, int | float):
        if isinstance(got, torch.Tensor) and got.numel() == 1:
            got = got.item()
        if isinstance(got, bool) or not isinstance(got, int | float):
            return f"a number was expected, not {_kind(got)}"
        return _tensor_difference(torch.tensor(float(got)), torch.tensor(float(want)), (), isinstance(want, int))
    if isinstance(want, dict):
        if not isinstance(got, dict):
            return f"a dict was expected, not {_kind(got)}"
        missing = [k for k in want if k not in got]
        if missing:
            return f"the key {missing[0]!r} is missing"
        return _first([(k, difference(got[k], want[k], axes)) for k in want])
    if isinstance(want, tuple):
        if not isinstance(got, tuple):
            named = f" ({', '.join(parts)})" if parts else ""
            return f"{len(want)} values were expected{named}, not {_kind(got)}"
        if len(got) != len(want):
            return f"{len(want)} values were expected, {len(got)} came"
        names = parts or [f"[{i}]" for i in range(len(want))]
        return _first([(n, difference(g, w, axes)) for n, g, w in zip(names, got, want, strict=True)])
    return None if got == want else f"got {got!r}"


def _first(named):
    """«dU ok · dW off by a factor 2»: the members up to the first that differs."""
    ok = []
    for name, wrong in named:
        if wrong:
            return " · ".join([*ok, f"{name}: {wrong}"])
        ok.append(f"{name} ok")
    return None


def _tensor_difference(got, want, axes, whole=False):
    if got is None:
        return NOTHING
    if not isinstance(got, torch.Tensor):
        return f"a tensor of shape {tuple(want.shape)} was expected, not {_kind(got)}"
    if got.shape != want.shape:
        return f"shape {tuple(got.shape)} where {tuple(want.shape)} was expected"
    whole = whole or not want.is_floating_point()  # of a number of a class, say, a multiple means nothing
    if want.dtype == torch.long and got.dtype != torch.long:
        return f"whole numbers were expected, dtype torch.long, not {got.dtype}"
    close = torch.isclose(got.double(), want.double(), RTOL, ATOL, equal_nan=True)
    if close.all():
        return None
    where = tuple(int(i) for i in (~close).nonzero()[0])
    named = " ".join(f"{a}={i}" for a, i in zip(axes, where, strict=False))
    at = f" at {named}" if named else ""
    if got.isnan().any():
        return f"{int(got.isnan().sum())} of {got.numel()} values are nan"
    if got.isinf().any():
        return f"{int(got.isinf().sum())} of {got.numel()} values are infinite"
    if not whole and (factor := _factor(got, want, where[0] if axes and got.dim() else ...)):
        return factor + at
    wrong = int((~close).sum())
    size = f"{wrong} of {close.numel()} values differ" if close.numel() > 1 else "the value differs"
    return f"{size}{', first' + at if at else ''} (yours: {got[where].item():.4g})"


def _factor(got, want, part):
    """«off by a factor 2», if that is all that is wrong with this part (a time step, or all)."""
    g, w = got.double()[part], want.double()[part]
    big = w.abs() > 1e-6
    if not big.any() or not torch.allclose(g[~big], w[~big], atol=1e-6):
        return None
    ratio = g[big] / w[big]
    r = float(ratio[0])
    if abs(r) < 1e-6 or not torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-3):
        return None
    if abs(r - 1) < 2e-3:
        return "off by a rounding error: too few digits (half precision?)"
    return "has the wrong sign" if abs(r + 1) < 1e-3 else f"off by a factor {r:.4g}"


def _kind(value):
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"a list of {len(value)} (torch.stack makes one tensor of many)"
    return "nothing" if value is None else _a(type(value).__name__)


def _a(word):
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
