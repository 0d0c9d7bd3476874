"""For which other arguments a wrong answer would be right: help with mistakes that were not foreseen.

An answer that forgets a bias is right for a bias of 0; one that reads a matrix the wrong way round is right for the
transposed matrix.  `supposition(cases, function)` tries such changes of one argument, and names the one with which the
right function gives the student's answer in every case, including the cases in which the answer is right.
"""

from copy import deepcopy
from itertools import combinations

import torch

from cvdl.course.exercises.comparison import difference, different, plain

AXES = 2  # the number of axes of an argument along which changes are tried
LARGEST = 100_000  # the largest number of values in an argument that is tried


def supposition(cases, function):
    """A sentence that names the argument that would have to be different, or "".

    Args:
        cases: list of (got, args): the answer as plain data, and the arguments as {name: value}.  At least one is wrong.
        function: gives the right answer for any arguments.
    """
    if sum(_evidence(got) for got, _ in cases) < 3:
        return ""
    cases = sorted(cases, key=lambda case: _size(case[1]))  # the smallest one rules out most changes
    for told, change in _changes(cases[0][1]):
        if all(_fits(got, change(args), function) for got, args in cases):
            return f"Your answer would be right if {told}."
    return ""


def _evidence(got):
    """How unlikely is it that an answer fits by chance?  A small whole number counts less than other numbers."""
    if isinstance(got, tuple | dict):
        return sum(map(_evidence, got.values() if isinstance(got, dict) else got))
    if isinstance(got, torch.Tensor):
        return different(got) if got.numel() else 0
    return 1.5 if isinstance(got, float) or (isinstance(got, int) and abs(got) > 50) else 0.75


def _size(args):
    return sum(a.numel() if isinstance(a, torch.Tensor) else 1 for a in args.values())


def _fits(got, args, function):
    try:
        return args is not None and difference(got, plain(function(*deepcopy(list(args.values()))))) is None
    except Exception:  # no answer for these arguments
        return False


def _changes(args):
    """Pairs: a description of a change, and a function {name: value} -> the same with that change, or None if it fails."""
    for name, value in args.items():
        for told, change in _of_value(value):
            yield f"`{name}` {told}", lambda a, name=name, change=change: _with(a, name, change)
    for one, other in combinations(args, 2):
        if type(args[one]) is type(args[other]):
            yield (
                f"`{one}` and `{other}` were swapped",
                lambda a, one=one, other=other: {**a, one: a[other], other: a[one]},
            )


def _with(args, name, change):
    try:
        return {**args, name: change(args[name])}
    except Exception:  # an argument of another kind in this case
        return None


def _of_value(value):
    if isinstance(value, torch.Tensor):
        if value.numel() > LARGEST:
            return
        if value.dtype == torch.bool:
            yield "were True everywhere", torch.ones_like
            yield "were False everywhere", torch.zeros_like
            yield "were inverted", torch.logical_not
        elif value.is_floating_point():
            yield "were 0", torch.zeros_like
            yield "were 1 everywhere", torch.ones_like
            yield "had the opposite sign", torch.neg
            yield "were twice as large", lambda v: 2 * v
            yield "were half as large", lambda v: v / 2
        else:
            yield "were 1 larger", lambda v: v + 1
            yield "were 1 smaller", lambda v: v - 1
        if value.dim() == 2:
            yield "were transposed", torch.t
        if value.dim() > 2:
            yield "had its first two axes swapped", lambda v: v.transpose(0, 1)
        for k in range(min(value.dim(), AXES)):
            along = f"along axis {k}" if value.dim() > 1 else "along its axis"
            yield f"were in reverse order {along}", lambda v, k=k: v.flip(k)
            yield f"were shifted by one position {along}, towards the end", lambda v, k=k: v.roll(1, k)
            yield f"were shifted by one position {along}, towards the beginning", lambda v, k=k: v.roll(-1, k)
            yield f"contained its first entry everywhere {along}", lambda v, k=k: v.narrow(k, 0, 1).expand_as(v)
            yield f"contained its last entry everywhere {along}", lambda v, k=k: v.narrow(k, -1, 1).expand_as(v)
            if value.is_floating_point():
                yield f"were 0 except in its first entry {along}", lambda v, k=k: _kept(v, k, slice(1, None))
                yield f"were 0 except in its last entry {along}", lambda v, k=k: _kept(v, k, slice(None, -1))
                yield f"were 0 in its first entry {along}", lambda v, k=k: _kept(v, k, slice(None, 1))
                yield f"were 0 in its last entry {along}", lambda v, k=k: _kept(v, k, slice(-1, None))
    elif isinstance(value, bool):
        yield "were the opposite", lambda v: not v
    elif isinstance(value, int | float):
        yield "were 1 larger", lambda v: v + 1
        yield "were 1 smaller", lambda v: v - 1
        yield "were twice as large", lambda v: 2 * v
        yield "were half as large", lambda v: v // 2 if isinstance(v, int) else v / 2
        yield "were 0", lambda v: type(v)(0)
        yield "were 1", lambda v: type(v)(1)
        yield "were squared", lambda v: v * v
        yield "were replaced by its reciprocal", lambda v: 1 / v
        yield "had the opposite sign", lambda v: -v
    elif isinstance(value, list | tuple):
        yield "were in reverse order", lambda v: v[::-1]
        yield "were without its first entry", lambda v: v[1:]
        yield "were without its last entry", lambda v: v[:-1]
        yield "contained only its first entry", lambda v: v[:1]
        yield "contained only its last entry", lambda v: v[-1:]


def _kept(value, k, zeros):
    """A copy with 0 at these places along axis k."""
    kept = value.clone()
    kept.movedim(k, 0)[zeros] = 0
    return kept
