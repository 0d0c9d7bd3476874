"""Comparing an answer with the right one: what counts as equal, and how a difference is described."""

import numpy as np
import torch

RTOL, ATOL = 1e-4, 1e-5
ITEMS, DEPTH = 100_000, 20  # of an answer, the most that is read


class CallFailed(Exception):
    """The student's function gave no answer; the message says why, for the student.

    hint, if given, replaces the case's own.
    """

    hint = ""

    def __init__(self, message, hint=""):
        super().__init__(str(message))
        self.hint = str(hint)

    def __str__(self):
        return super().__str__() or "there was no answer"  # an empty message would count as right


class CallStopped(CallFailed):
    """The call was stopped because it took too long; the remaining cases are not tried."""


NOTHING = "nothing was returned"
HALF = {torch.float16: 2e-3, torch.bfloat16: 1e-2}  # the relative error that is a matter of their digits
FROM_NUMPY = (
    "Stay with torch, without .tolist() and .numpy(): np.tanh is torch.tanh, and so on. If you must convert, torch.tensor(…) "
    "makes a tensor of a list of numbers, torch.from_numpy(…) one of a NumPy array."
)
NO_TEXT = 'leave out quotes, str() and f"…"'
PLAIN = "Return plain tensors, numbers, strings, lists, tuples or dicts, as the docstring says."


class Misfit(str):
    """What is wrong with the form of an answer (its type, its container, its spelling) rather than with its contents.

    advice: what to do about that.  It replaces the hint of the case, which is about the contents.
    """

    def __new__(cls, message, advice):
        made = super().__new__(cls, message)
        made.advice = str(advice)
        return made


def in_member(name, wrong):
    """What is wrong with one member of an answer, with the member's name in front; None stays None."""
    if not wrong:
        return None
    told = f"{name}: {wrong}"
    return Misfit(told, wrong.advice) if isinstance(wrong, Misfit) else told


def plain(value):
    """Reduce an answer to plain data: tensors, numbers, strings, None, and tuples and dicts of these.

    Subclasses count as what they are made of: an OrderedDict is a dict, a named tuple is a tuple.  Their own methods
    are never called, so a class written by a student cannot misreport what it holds.

    Raises:
        CallFailed: the answer contains anything else, or too much.
    """
    try:
        return _plain(value, iter(range(ITEMS)), 0)
    except CallFailed:
        raise
    except Exception as error:  # raised by a class that a student wrote, for example
        raise CallFailed(f"returned an answer that cannot be read ({type(error).__name__})", PLAIN) from None


def _plain(value, room, depth):
    kind = type(value)
    if next(room, None) is None:
        raise CallFailed(f"returned more than {ITEMS:,} values in lists or dicts", PLAIN)
    if depth > DEPTH:
        raise CallFailed(f"returned lists or dicts nested more than {DEPTH} deep", PLAIN)
    if value is None or value is ...:
        return None
    if issubclass(kind, torch.Tensor):
        return dense(value)
    if issubclass(kind, np.generic) and value.dtype.kind in "biuf":
        value = {"b": bool, "i": int, "u": int, "f": float}[value.dtype.kind](value)
        kind = type(value)
    if issubclass(kind, np.ndarray):
        return _plain(_list_of(value), room, depth)
    if kind is bool:
        return value
    for base, copy in ((int, int.__int__), (float, float.__float__), (str, str.__str__)):
        if issubclass(kind, base):
            value = copy(value)
            if base is int and abs(value) >= 1 << 63:
                raise CallFailed("returned a whole number with more than 63 binary digits", PLAIN)
            return value
    for base in (list, tuple):
        if issubclass(kind, base):
            return tuple(_plain(v, room, depth + 1) for v in base.__iter__(value))
    if issubclass(kind, dict):
        return {_key(k): _plain(v, room, depth + 1) for k, v in dict.items(value)}
    raise CallFailed(
        f"returned {_a(kind.__name__)}; an answer is made of tensors, numbers, text, lists and dicts", PLAIN
    )


def _list_of(array):
    """The numbers or words of a NumPy array as nested lists, or a single one as it is."""
    if np.ndarray.dtype.__get__(array).kind not in "biufU" or np.ndarray.size.__get__(array) > ITEMS:
        raise CallFailed("returned a NumPy array", FROM_NUMPY)
    return np.ndarray.tolist(array)


def _key(key):
    return str.__str__(key) if issubclass(type(key), str) else str(key)


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
    raise CallFailed("returned a tensor that is not a plain array of real numbers", PLAIN)


def difference(got, want, axes=(), parts=(), sizes=()):
    """Compare an answer with the right one.

    Args:
        got: the answer, as plain data.
        want: the right answer.  Where it is an int, `got` must equal it exactly.
        axes: names of the axes of the tensor, to say where it differs.
        parts: names of the members of a tuple, in the order in which they are computed; the first that differs is named.
        sizes: whole numbers that a single value may be wrong by as a factor, besides 2, 3 and 1/2.

    Returns:
        None if `got` is right, else one line that says where and how it differs, never what was expected.
    """
    if isinstance(want, torch.Tensor):
        return _tensor_difference(got, want, axes, sizes)
    if got is None:
        return None if want is None else NOTHING
    if isinstance(want, bool | str):
        return _choice_difference(got, want)
    if isinstance(want, int | float):
        return _number_difference(got, want, sizes)
    if isinstance(want, dict):
        if wrong := no_dict_with(got, want):
            return wrong
        return _first([(k, difference(got[k], want[k], axes, (), sizes)) for k in want])
    if isinstance(want, tuple):
        got = _unpacked(got, want)
        if not isinstance(got, tuple):
            named = f" ({', '.join(parts)})" if parts else ""
            return Misfit(f"{len(want)} values were expected{named}, not {kind_of(got)}", _several(got, parts))
        if len(got) != len(want):
            told = f"{len(want)} values were expected, not {len(got)}"
            return Misfit(told, _several(got, parts)) if parts else told
        names = parts or [f"[{i}]" for i in range(len(want))]
        named = [(n, difference(g, w, axes, (), sizes)) for n, g, w in zip(names, got, want, strict=True)]
        return _first(named, FEW if parts else 0)
    return f"got {quoted(got)}"


def no_dict_with(got, keys, known=None):
    """What is wrong with an answer that should be a dict with these keys, but for its values; else None.

    known: all keys that the exercise has, of which the first are shown.
    """
    if got is None:
        return NOTHING
    known = list(keys if known is None else known)
    form = f"{{{', '.join(f'{key!r}: …' for key in known[:2])}{', …' if len(known) > 2 else ''}}}"
    if not isinstance(got, dict):
        return Misfit(
            f"a dict was expected, not {kind_of(got)}",
            f"Return a dict, which gives each value the name that it has in the exercise: {form}",
        )
    missing = next((key for key in keys if key not in got), None)
    if missing is None:
        return None
    return Misfit(
        f"the key {missing!r} is missing", f"Leave the keys of the dict as they are written in the exercise: {form}"
    )


def _several(got, parts):
    """How to return several values where another thing came."""
    if parts:
        return f"Return {len(parts)} values, separated by commas and in this order: {', '.join(parts)}."
    if isinstance(got, torch.Tensor):
        return "Return a list: .tolist() makes one of a tensor of numbers, list(…) one of its rows."
    return "Return a list of the values that are asked for."


FEW = 4  # members of an answer that are listed as right before the first that differs


def _first(named, few=FEW):
    """ "dU ok · dW: off by a factor of 2": the members up to the first that differs; only that one if there are many."""
    for number, (name, wrong) in enumerate(named):
        if wrong:
            right = [f"{n} ok" for n, _ in named[:number]] if number <= few else []
            return in_member(" · ".join([*right, name]), wrong)
    return None


def _unpacked(got, want):
    """A tensor where several values were expected is taken apart along its first axis, as Python would unpack it."""
    if isinstance(got, torch.Tensor) and got.dim() and len(got) == len(want):
        shapes = {w.shape if isinstance(w, torch.Tensor) else torch.Size() for w in want}
        return tuple(got) if shapes == {got.shape[1:]} else got
    return got


def _choice_difference(got, want):
    if isinstance(got, torch.Tensor) and got.numel() == 1:
        got = got.item()
    if isinstance(got, str) != isinstance(want, str) or not isinstance(got, bool | str | int | float):
        if isinstance(want, str):
            return Misfit(f"text was expected, not {kind_of(got)}", "Return text, in quotes.")
        return Misfit(f"True or False was expected, not {kind_of(got)}", "Return True or False, as == and < give it.")
    return None if got == want else f"got {quoted(got)}"


def _number_difference(got, want, sizes):
    if isinstance(got, torch.Tensor) and got.numel() == 1:
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, int | float):
        told = f"a number was expected, not {kind_of(got)}"
        return told if isinstance(got, torch.Tensor) else Misfit(told, _one_number(got))
    if isinstance(want, float):
        return _tensor_difference(*(torch.tensor(float(v), dtype=torch.double) for v in (got, want)), (), sizes)
    if got == want or (isinstance(got, float) and abs(got - want) < 1e-6 * min(abs(want) + 1, 1000)):
        return None  # 3.0000000001 is 3 after rounding; 697,028 is not 697,024
    if got - got != 0:
        return "the value is nan" if got != got else "the value is infinite"
    return f"the value differs (yours: {shown(got)})"


def _one_number(got):
    """What to do where a number was expected, and this came."""
    if isinstance(got, str):
        return f"Return a number, not text: {NO_TEXT}."
    if isinstance(got, tuple | dict):
        return f"Return a number by itself, not in {_a('dict' if isinstance(got, dict) else 'list or tuple')}."
    return "Return a number, not True or False."


def _tensor_difference(got, want, axes, sizes=()):
    if got is None:
        return NOTHING
    if want.dim() == 0 and isinstance(got, int | float) and isinstance(got, bool) == (want.dtype == torch.bool):
        got = torch.tensor(got, dtype=torch.double if isinstance(got, float) else None)
    if not isinstance(got, torch.Tensor):
        return not_a_tensor(got, want.shape)
    if got.shape != want.shape:
        return f"shape {tuple(got.shape)} where {tuple(want.shape)} was expected"
    if got.is_complex() != want.is_complex():
        return f"{'real' if got.is_complex() else 'complex'} numbers were expected, not {got.dtype}"
    if want.dtype == torch.long and got.dtype != torch.long:
        told = f"whole numbers were expected, dtype torch.long, not {got.dtype}"
        whole = not got.is_floating_point() or bool((got == got.round()).all())
        advice = (
            "The numbers are whole, but not their type: .long() behind a tensor converts it, int(…) a single number."
        )
        return Misfit(told, advice) if whole else told
    wrong = ~close(got, want)
    if not wrong.any():
        return None
    for kind, values in (("nan", got.double().isnan()), ("infinite", got.double().isinf())):
        if count := int((values & wrong).sum()):
            return f"{count} of {got.numel()} values are {kind}" if got.numel() > 1 else f"the value is {kind}"
    first = wrong.nonzero()[0].tolist()
    if want.is_floating_point():
        if nearly := _nearly(got, want):
            return nearly
        if factor := _factor(got, want, wrong, axes, sizes):
            return factor
    count = int(wrong.sum())
    at = _at(axes, first)
    size = f"{count:,} of {got.numel():,} values differ" if got.numel() > 1 else "the value differs"
    return f"{size}{', first' + at if at else ''} (yours: {shown(got[tuple(first)].item())})"


def close(got, want):
    """Where two tensors of the same shape are equal: exactly for whole numbers, else up to rounding errors."""
    if want.is_floating_point():
        return torch.isclose(got.double(), want.double(), RTOL, ATOL, equal_nan=True)
    if got.is_floating_point():
        return torch.isclose(got.double(), want.double(), 0, 1e-6)
    return got.long() == want.long()


def _at(axes, where):
    named = " ".join(f"{a}={i}" for a, i in zip(axes, where, strict=False))
    return f" at {named}" if named else ""


def _nearly(got, want):
    """Are all values right to 0.2 %?  Then say so, and why, if the type of the numbers shows it."""
    got, kind, want = got.double(), got.dtype, want.double()
    off = (got - want).abs()
    if not (off <= HALF.get(kind, 2e-3) * want.abs() + 1e-6).all():
        return None
    if kind in HALF:
        return Misfit(
            f"off by a rounding error: {kind} has too few digits",
            "Compute with torch.float32, the usual type: leave out .half(), .bfloat16() and dtypes of 16 bits.",
        )
    part = (off / want.abs().clamp(min=1e-6)).max().item()
    return f"nearly right, but off by {'up to ' if want.numel() > 1 else ''}{100 * part:.2g} %"


def _factor(got, want, wrong, axes, sizes):
    """ "off by a factor of 2", if that is all that is wrong: with all values, with one row, or with the wrong ones."""
    got, want = got.double(), want.double()
    first = wrong.nonzero()[0].tolist()
    if r := common_factor(got, want, sizes):
        return _by_factor(r)
    if got.dim() > 1 and (r := common_factor(got[first[0]], want[first[0]])):
        return _by_factor(r) + _at(axes, first[:1])
    if r := common_factor(got[wrong], want[wrong]):
        where = _at(axes, first)
        return f"{int(wrong.sum()):,} of {got.numel():,} values: {_by_factor(r)}{', first' + where if where else ''}"
    return None


def common_factor(got, want, sizes=None, tolerance=1e-3):
    """The factor between all values of two tensors, or None.

    At least two different values must share it.  With `sizes`, a single one is enough for a simple factor: -1, 2, 3,
    one of the sizes, or the inverse of these.  tolerance: relative, between the values.
    """
    large = want.abs() > 1e-6
    if not large.any() or not torch.allclose(got[~large], want[~large], atol=1e-6):
        return None
    want, ratio = want[large], got[large] / want[large]
    r = ratio[0].item()
    if abs(r) < 1e-6 or not bool((ratio - r).abs().max() <= tolerance * abs(r)):
        return None
    if different(want) > 1:
        return r
    if sizes is None:
        return None
    simple = {-1.0, 2.0, 3.0, 0.5, 1 / 3, *(float(n) for n in sizes), *(1 / n for n in sizes if n)}
    return next((s for s in simple if abs(r - s) <= 1e-4 * abs(s)), None)


def different(values):
    """How many of these numbers are different, in their first three digits?"""
    values = values.double().flatten()
    return len((values / values.abs().max().clamp(min=1e-300)).mul(1000).round().unique()) if len(values) else 0


def _by_factor(r):
    if abs(r + 1) < 1e-3:
        return "has the wrong sign"
    return (
        f"off by a factor of 1/{round(1 / r)}"
        if round(1 / r) > 2 and abs(r * round(1 / r) - 1) < 1e-6
        else f"off by a factor of {r:.4g}"
    )


def shown(value):
    """A number as it is shown to a student: 22,144 and 0.6159."""
    if isinstance(value, bool):
        return str(value)
    if abs(value) < 1e15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def quoted(value):
    """An answer as a message shows it: a word, a number or a short row of them as it is, of anything else its kind.

    The text of a stranger's tensor may take minutes to write.
    """
    if isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(v, int | float) for v in value):
        return repr(value)
    if value is None or isinstance(value, str | int | float):
        text = repr(value[:100] if isinstance(value, str) else value)
        return f"{text}…" if isinstance(value, str) and len(value) > 100 else text
    return kind_of(value)


def not_a_tensor(value, shape):
    """What is said of an answer that should be a tensor of this shape."""
    remedy, advice = _remedy(value, tuple(shape))
    kind = kind_of(value).replace(
        "list or tuple", "list, tuple or NumPy array" if remedy == OF_NUMBERS else "list or tuple"
    )
    told = f"{f'a tensor of shape {tuple(shape)}' if shape else 'a number'} was expected, not {kind}"
    return Misfit(f"{told} ({remedy})" if remedy else told, advice)


def _remedy(value, shape):
    """How to turn an answer into the expected tensor: in brackets after the message, or "", and as advice."""
    if not isinstance(value, tuple):
        if not shape:
            return "", _one_number(value)
        if isinstance(value, str):
            return "", f"Return the tensor itself, not text: {NO_TEXT}."
        if isinstance(value, dict):
            return "", "Return the tensor alone, not a dict."
        return "", "Return a tensor of that shape, not a single value: is there an .item(), or a sum or mean too many?"
    shapes = [tuple(v.shape) if isinstance(v, torch.Tensor) else None for v in value]
    if value and shape[:1] == (len(value),) and set(shapes) == {shape[1:]}:
        return "torch.stack turns them into one tensor", STACK
    if value and all(shapes) and shape[:1] == (sum(s[0] for s in shapes),) and {s[1:] for s in shapes} == {shape[1:]}:
        return "torch.cat turns them into one tensor", "Return torch.cat(parts), where parts is your list or tuple."
    fitting = [i for i, s in enumerate(shapes) if s == shape]
    if len(fitting) == 1:
        return (
            f"the one at index {fitting[0]} has that shape: return only that one",
            "Return that tensor and nothing else.",
        )
    if fitting:
        return "several of them have that shape: return only the one that was asked for", "Return one tensor only."
    inner = value
    while isinstance(inner, tuple) and inner:
        inner = inner[0]
    if isinstance(inner, torch.Tensor):
        nested = isinstance(value[0], tuple)
        return "", STACK + (" Where lists hold lists, begin with the inner ones." if nested else "")
    if not shape:
        return "", _one_number(value)
    if isinstance(inner, bool | int | float):
        return OF_NUMBERS, f"Return a tensor. {FROM_NUMPY}"
    return "", "Return one tensor, not a list or tuple."


OF_NUMBERS = "torch.tensor makes a tensor of numbers"
STACK = (
    "Return torch.stack(parts), where parts is your list or tuple: it makes one tensor of several of the same shape."
)
KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}


def kind_of(value):
    """What an answer is, in words."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"a list or tuple of length {len(value)}"
    return KINDS.get(type(value)) or _a(type(value).__name__)


def _a(word):
    return f"an {word}" if word[:1].lower() in tuple("aeiou") else f"a {word}"
