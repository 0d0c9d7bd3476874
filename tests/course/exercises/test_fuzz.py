"""5,000 odd answers against the cases of all exercises: scoring never raises, and takes none of them for right."""

import contextlib
import itertools
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from enum import IntEnum

import numpy as np
import pytest
import torch

from cvdl.course.exercises import api as course
from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller
from cvdl.course.exercises.supposition import supposition
from tests.course.exercises.test_answers import EXERCISES
from tests.course.exercises.test_odd import ODD, Agrees, Raises, Refuses

COUNT = 5000
nan, inf = float("nan"), float("inf")
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64),
    *(torch.int64, torch.int32, torch.int8, torch.uint8, torch.uint16, torch.bool),
]
NUMBERS = [0, 1, -1, 2**31, 2**53 + 1, 2**63, 10**400, True, 0.5, -0.0, nan, inf, -inf, 1e300, 1e-300, 1j]
Pair = namedtuple("Pair", "a b")


class Hostile(list):
    """A list whose every method raises, also those that a comparison would call."""

    def fail(self, *_):
        raise RuntimeError("hostile")

    __eq__ = __hash__ = __len__ = __repr__ = __iter__ = __getitem__ = __contains__ = __bool__ = fail


class HostileDict(dict):
    keys = items = values = __iter__ = __getitem__ = __contains__ = __len__ = __eq__ = Hostile.fail
    __hash__ = None


class Exits(str):
    """Text that ends Python when it is compared or shown."""

    def exit(self, *_):
        raise SystemExit

    __eq__ = __hash__ = __repr__ = __str__ = __len__ = exit


class Pretends:
    """Says that it is a float, and converts to one with an error."""

    __class__ = float

    def __float__(self):
        raise OverflowError


class Colour(IntEnum):
    RED = 1


def tensors(r, want, wild):
    """A tensor of an odd type or layout, often of the shape that is expected."""
    shape = tuple(want.shape) if isinstance(want, torch.Tensor) and want.numel() < 10**5 else ()
    shape = r.choice([shape, shape, shape, shape[1:], (*shape, 1), (0,), (2, 2), ()])
    value = torch.full(shape, r.choice([0.0, 1.0, nan, inf, -1.0, 3.7]))
    changes = [
        *(lambda t: t.to(r.choice(DTYPES if wild else DTYPES[:4] + DTYPES[6:])) for _ in range(4)),
        *(lambda t: t + torch.arange(t.numel()).view(t.shape) for _ in range(2)),
        lambda t: torch.nn.Parameter(t),
        lambda t: t.requires_grad_() * 2,
        lambda t: t.expand(3, *t.shape),
        lambda t: t.tolist(),
        lambda t: [*t] if t.dim() else t,
    ]
    if wild:
        changes += [
            lambda t: t.to_sparse(),
            lambda t: t.to("meta"),
            lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
            lambda t: t.as_subclass(Refuses),
            lambda t: torch.nested.nested_tensor([t, t]),
            lambda t: t.numpy(),
        ]
    return r.choice(changes)(value)


def odd(r, want, wild, depth=0):
    """An odd object, often of nearly the kind that is expected; if not wild, one that may be compared at all."""
    if isinstance(want, dict) and r.random() < 0.6:
        keys = list(want)
        if r.random() < 0.3:
            r.shuffle(keys)
            keys = [*keys[1:], "more"]
        members = [(k, want.get(k) if r.random() < 0.5 else odd(r, want.get(k), wild, depth + 1)) for k in keys]
        return r.choice([dict, OrderedDict, HostileDict])(members)
    if isinstance(want, tuple) and r.random() < 0.6:
        members = [w if r.random() < 0.3 else odd(r, w, wild, depth + 1) for w in want]
        members = r.choice([members, members, members[:-1], members[::-1], [*members, None]])
        return r.choice([tuple, list, Hostile, deque if wild else list])(members)
    leaf = [
        lambda: tensors(r, want, wild),
        lambda: tensors(r, want, wild),
        lambda: r.choice(NUMBERS if wild else NUMBERS[:5] + NUMBERS[7:15]),
        lambda: torch.tensor(r.choice(NUMBERS[:4] + NUMBERS[7:15])),
        lambda: r.choice([np.float64, np.int64, np.float16, np.bool_])(r.choice([0, 1])),
        lambda: r.choice(["", "x", "b", "B", "\0", "\ud800", "many-to-one", "x" * 5000, None, ...]),
    ]
    nest = [
        lambda: [odd(r, want, wild, depth + 1) for _ in range(r.randrange(4))],
        lambda: (odd(r, want, wild, depth + 1), want),
        lambda: Pair(odd(r, want, wild, depth + 1), odd(r, None, wild, depth + 1)),
        lambda: {r.choice(["a", 1, None, (1, 2)]): odd(r, want, wild, depth + 1)},
        lambda: defaultdict(list, a=odd(r, want, wild, depth + 1)),
        lambda: Counter("aab"),
    ]
    if wild:
        leaf += [
            lambda: r.choice(list(ODD.values()))(),
            lambda: r.choice([Raises, Agrees, Pretends, Hostile, HostileDict, object])(),
            lambda: r.choice([Exits("x"), Colour.RED, Decimal("0.1"), slice(3), memoryview(b"x"), b"x", print]),
            lambda: itertools.count(),
        ]
    return r.choice(leaf if depth > 3 else leaf + nest)()


@pytest.mark.filterwarnings("ignore")  # of torch, on kinds of tensors that will go
def test_scoring_never_raises(monkeypatch):
    """Each case is asked once, and each known mistake made once, so that it takes seconds."""
    specs = {spec.id: remembering(spec) for spec in EXERCISES}
    asked = {(s.id, c.name): scoring._question(s, c, generator()) for s in specs.values() for c in s.cases}
    monkeypatch.setattr(chapters, "find", specs.get)
    monkeypatch.setattr(scoring, "deepcopy", lambda args: args)  # so that arguments are known by their identity
    monkeypatch.setattr(course, "time_limit", contextlib.nullcontext)
    monkeypatch.setattr(scoring, "_question", lambda spec, case, _: asked[spec.id, case.name])
    r, earned = random.Random(0), 0
    answers = 0
    while answers < COUNT:
        for spec in specs.values():
            monkeypatch.setattr(
                scoring, "supposition", supposition if r.random() < 0.05 else lambda *_: ""
            )  # it takes long
            wants = [asked[spec.id, case.name].want for case in spec.cases]
            given = iter([odd(r, want, wild=r.random() < 0.4) for want in wants])
            score = scoring.score(spec, caller_of(given, spec.id))
            answers += len(wants)
            earned += score.earned
            for case in score.cases:
                assert case.earned == case.points or (case.message and case.hint), spec.id
            assert isinstance(score.hint, str)
    points = sum(spec.points for spec in EXERCISES) * answers / sum(len(spec.cases) for spec in EXERCISES)
    assert earned < points / 20  # some are right by accident: a shape, or an answer of zeros


def generator():
    return torch.Generator().manual_seed(0)


def caller_of(given, id):
    """The next odd answer at each call, through the guard that `check` and the jail share."""
    return caller(id, lambda *_: next(given))


def remembering(spec):
    """The exercise, with mistakes that are computed once for the same arguments."""

    def once(like):
        known = {}

        def remembered(*args):
            key = tuple(map(id, args))
            if key not in known:
                known[key] = attempt(like, args)
            if isinstance(known[key], Exception):
                raise known[key]
            return known[key]

        return remembered

    mistakes = tuple(replace(m, like=once(m.like)) if m.like else m for m in spec.mistakes)
    return replace(spec, mistakes=mistakes)


def attempt(like, args):
    try:
        return like(*deepcopy(args))
    except Exception as error:
        return error
