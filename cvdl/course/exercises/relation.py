"""How a wrong answer is related to the right one: help with mistakes that were not foreseen.

`remark(trials)` looks for one simple relation that holds in every failed case, such as "the negative", "shifted by one
step" or "right for the first sample only", and states it in one sentence.  It states only what it has verified
on the numbers: for all values of all failed cases, with a relation that few answers would satisfy by chance.  A relation with a
fitted constant needs two cases or three different values.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from math import sqrt

import torch

from cvdl.course.exercises.comparison import RTOL, close, common_factor, different, shown

LARGEST = 1_000_000  # the largest number of values in an answer for which all relations are tried


@dataclass(frozen=True)
class Pair:
    """One failed case: a tensor of the answer, the right one, and the arguments by name."""

    got: torch.Tensor
    want: torch.Tensor
    args: dict

    @property
    def real(self):
        return self.want.is_floating_point()


def remark(failed, axes=(), parts=()):
    """A sentence on how the answers of all failed cases are related to the right ones, or "".

    Args:
        failed: list of (got, want, args): plain data, and the arguments as {name: value}.
        axes: names of the axes of the answer.
        parts: names of the members of the answer, if it has several.
    """
    if not failed:
        return ""
    gots, wants, args = zip(*failed, strict=True)
    if all(isinstance(w, tuple | dict) for w in wants):
        return _of_members(gots, wants, args, axes, parts)
    pairs = _pairs(gots, wants, args)
    return _of_tensors(pairs, axes) if pairs else ""


def by_argument(cases):
    """The argument that decides which cases are right, or "".

    cases: list of (right, args), one for each case.  The argument, a plain value, has one value in at least two cases
    of one kind, and another in each of at least two cases of the other kind.
    """
    for name, first in cases[0][1].items() if cases else ():
        values = [(right, args.get(name)) for right, args in cases]
        if not isinstance(first, bool | int | str | None) or any(type(v) is not type(first) for _, v in values):
            continue
        good, bad = ([v for right, v in values if right is kind] for kind in (True, False))
        if min(len(good), len(bad)) < 2 or set(good) & set(bad):
            continue
        if len(set(good)) == 1:
            return f"Your answer is right where `{name}` is {good[0]!r}, and wrong where it is not."
        if len(set(bad)) == 1:
            return f"Your answer is wrong where `{name}` is {bad[0]!r}, and right where it is not."
    return ""


def _pairs(gots, wants, args):
    pairs = []
    for got, want, given in zip(gots, wants, args, strict=True):
        if any(isinstance(v, bool) or not isinstance(v, torch.Tensor | int | float) for v in (got, want)):
            return []
        got, want = (v if isinstance(v, torch.Tensor) else torch.tensor(v) for v in (got, want))
        if max(got.numel(), want.numel()) > LARGEST or not got.numel() or not got.double().isfinite().all():
            return []
        pairs.append(Pair(got, want, given))
    return pairs


def _of_members(gots, wants, args, axes, parts):
    """The relation of the only member that is wrong, or of the order of all members."""
    if not all(type(g) is type(w) and len(g) == len(w) for g, w in zip(gots, wants, strict=True)):
        return ""
    keys = list(wants[0]) if isinstance(wants[0], dict) else list(range(len(wants[0])))
    if not all(list(w) == keys if isinstance(w, dict) else len(w) == len(keys) for w in wants):
        return ""
    name = {k: parts[k] if parts and isinstance(k, int) else k if isinstance(k, str) else f"[{k}]" for k in keys}
    if len(keys) <= 5:
        for order in list(permutations(keys))[1:]:
            if all(
                _equal(g[i], w[j]) for g, w in zip(gots, wants, strict=True) for i, j in zip(keys, order, strict=True)
            ):
                swapped = ", ".join(f"{name[i]} holds {name[j]}" for i, j in zip(keys, order, strict=True) if i != j)
                return f"All values are right, but in the wrong order: {swapped}."
    first = {next((k for k in keys if not _equal(g[k], w[k])), None) for g, w in zip(gots, wants, strict=True)}
    if len(first) != 1 or None in first:
        return ""
    key = first.pop()
    pairs = _pairs([g[key] for g in gots], [w[key] for w in wants], args)
    told = _of_tensors(pairs, axes) if pairs else ""
    return f"{name[key]}: {told[0].lower()}{told[1:]}" if told else ""


def _equal(got, want):
    if isinstance(got, torch.Tensor) and isinstance(want, torch.Tensor):
        return _same(got, want)
    if any(isinstance(v, torch.Tensor | tuple | dict) for v in (got, want)):
        return False
    if isinstance(got, float) or isinstance(want, float):
        return isinstance(got, int | float) and isinstance(want, int | float) and abs(got - want) <= RTOL * abs(want)
    return got == want


def _same(a, b):
    return a.shape == b.shape and bool(close(a, b).all())


def _of_tensors(pairs, axes):
    if all(p.got.shape == p.want.shape for p in pairs):
        if all(bool(close(p.got.double(), p.want.double()).all()) for p in pairs):
            return "All values are right, but their dtype is wrong."
        looks = (_constant, _argument, _sign, _order, _scale, _function, _places, _sorted)
    else:
        looks = (_shape,)
    for look in looks:
        if told := look(pairs, axes):
            return told
    return ""


def _named(axes, k, dims):
    return f"`{axes[k]}`" if len(axes) == dims else f"axis {k}"


def _enough(tensors, least=3):
    """Are there enough different values that a relation is unlikely to hold by chance?"""
    return sum(different(t) for t in tensors) >= least


def _all(pairs, test):
    return all(test(p) for p in pairs)


# --- one relation each: pairs, axes -> a sentence, or None ----------------------------------------------


def _constant(pairs, axes):
    values = {v.item() for p in pairs for v in p.got.flatten()[:1]}
    if len(values) > 1 or not _all(pairs, lambda p: bool((p.got == p.got.flatten()[0]).all())):
        return None
    if pairs[0].want.dim() == 0:
        return f"Your answer is always {shown(values.pop())}." if len(pairs) > 1 and _differ(pairs) else None
    return f"All your values are {shown(values.pop())}." if _enough([p.want for p in pairs], 2) else None


def _differ(pairs):
    """Do the right answers of these cases differ?"""
    return not all(_same(p.want, pairs[0].want) for p in pairs)


def _argument(pairs, axes):
    """An argument returned unchanged, or left out of a sum or a product."""
    names = [n for n, v in pairs[0].args.items() if isinstance(v, torch.Tensor)]
    for name in names:
        values = [_fitted(p.args.get(name), p.want) for p in pairs]
        if any(v is None for v in values) or not _enough(values):
            continue
        given = list(zip(pairs, values, strict=True))
        if all(_same(p.got.double(), v) for p, v in given):
            return f"Your answer is the argument `{name}`, unchanged."
        if not pairs[0].real or not _enough([p.want for p in pairs], 4):
            continue
        if all(_same(p.got + v, p.want) for p, v in given):
            return f"With `{name}` added, your values would be right."
        if all(_same(p.got - v, p.want) for p, v in given):
            return f"With `{name}` subtracted, your values would be right."
        if all(_same(p.got * v, p.want) for p, v in given):
            return f"Multiplied by `{name}`, your values would be right."
        if all(_same(p.got, p.want * v) for p, v in given):
            return f"Your values are the right ones, multiplied by `{name}`."
    return None


def _fitted(value, want):
    """An argument, broadcast to the shape of the answer; None if it does not fit."""
    if not isinstance(value, torch.Tensor) or value.dim() > want.dim() or not value.numel():
        return None
    try:
        return value.double().expand(want.shape)
    except RuntimeError:
        return None


def _sign(pairs, axes):
    if not _enough([p.want for p in pairs], 2):
        return None
    if _all(pairs, lambda p: p.got.dtype == p.want.dtype == torch.bool and _same(~p.got, p.want)):
        return "Your values are inverted: True instead of False, and False instead of True."
    if _all(pairs, lambda p: _same(-p.got.double(), p.want.double())):
        return "Your values are the negatives of the right ones."
    return None


def _order(pairs, axes):
    """The right values in other places: axes swapped, reversed, rolled, shifted, or one value copied to all."""
    dims = pairs[0].want.dim()
    if not dims or not _all(pairs, lambda p: p.want.dim() == dims) or not _enough([p.want for p in pairs], 4):
        return None
    if told := _exchanged(pairs, axes):
        return told
    for k in range(dims):
        axis = _named(axes, k, dims)
        if dims == 1 and not any(p.want.shape[k] > 2 for p in pairs):
            continue
        if _all(pairs, lambda p, k=k: _same(p.got, p.want.flip(k))):
            return f"Your values are the right ones in reverse order along {axis}."
        for by, told in ((1, "late"), (-1, "early")):
            if _all(pairs, lambda p, k=k, by=by: _shifted(p.got, p.want, k, by)):
                rolled = _all(pairs, lambda p, k=k, by=by: _same(p.got, p.want.roll(by, k)))
                end = "; what leaves at one end comes back at the other" if rolled else ""
                return f"Your values are right, but one position too {told} along {axis}{end}."
        for place, told in ((0, "first"), (-1, "last")):
            if _all(pairs, lambda p, k=k, place=place: _copied(p.got, p.want, k, place)):
                return f"Everywhere along {axis} you have the right values for the {told} position."
        if _all(pairs, lambda p, k=k: _reordered(p.got, p.want, k)):
            return f"The values are right, but their order along {axis} is wrong."
    return None


def _exchanged(pairs, axes):
    """Axes in another order, with any shapes."""
    dims = pairs[0].want.dim()
    if not 2 <= dims <= 4 or not _all(pairs, lambda p: p.got.dim() == p.want.dim() == dims):
        return None
    for order in list(permutations(range(dims)))[1:]:
        if _all(pairs, lambda p, order=order: _same(p.got, p.want.permute(order))):
            *names, last = [_named(axes, k, dims) for k in range(dims) if order[k] != k]
            how = "are swapped" if len(names) == 1 else "are in the wrong order"
            return f"Your values are right, but {', '.join(names)} and {last} {how}."
    return None


def _shifted(got, want, k, by):
    n = want.shape[k]
    if n < 3:
        return False
    start = 1 if by > 0 else 0
    mine, unmoved = (t.narrow(k, start, n - 1) for t in (got, want))
    theirs = want.narrow(k, 1 - start, n - 1)
    return _same(mine, theirs) and not _same(mine, unmoved) and different(theirs) > 1


def _copied(got, want, k, place):
    return want.shape[k] > 1 and _same(got, want.select(k, place).unsqueeze(k).expand_as(want))


def _reordered(got, want, k):
    """Do both consist of the same slices, each once, in a different order?"""
    n = want.shape[k]
    if not 2 < n <= 64 or want.numel() * n > LARGEST:
        return False
    mine, theirs = (t.double().movedim(k, 0).reshape(n, 1, -1) for t in (got, want))
    theirs = theirs.transpose(0, 1)
    equal = torch.isclose(mine, theirs, RTOL, 1e-5).all(2)
    return bool((equal.sum(0) == 1).all() and (equal.sum(1) == 1).all())


def _places(pairs, axes):
    """Right in some places only: at the first or last index of an axis, where a mask is True, away from the edges."""
    right = [close(p.got, p.want) for p in pairs]
    dims = pairs[0].want.dim()
    if not dims or not _all(pairs, lambda p: p.want.dim() == dims):
        return None
    wrong = sum(int((~r).sum()) for r in right)
    if wrong < 2 or sum(int(r.sum()) for r in right) < 2:
        return None
    return _ends(pairs, right, axes) or _masked(pairs, right) or _edges(pairs, right)


def _ends(pairs, right, axes):
    dims = pairs[0].want.dim()
    for k in range(dims):
        if not all(r.shape[k] > 1 for r in right) or sum(r.shape[k] for r in right) < 3:
            continue
        by_place = [r.movedim(k, 0).reshape(r.shape[k], -1).all(1) for r in right]  # is all right there?
        for place, told in ((0, "the first"), (-1, "the last")):
            here = [r.movedim(k, 0)[place] for r in right]
            others = [b[1:] if place == 0 else b[:-1] for b in by_place]
            evidence = _enough([p.want.select(k, place) for p in pairs], 3)
            at = f"at {told} `{axes[k]}`" if len(axes) == dims else f"at {told} index of axis {k}"
            if evidence and all(h.all() for h in here) and not any(o.any() for o in others):
                return f"Your values are right only {at}."
            if not any(h.all() for h in here) and all(o.all() for o in others) and all(len(o) > 1 for o in others):
                return f"Your values are wrong only {at}."
    return None


def _masked(pairs, right):
    """An argument that is True, or positive, exactly where the answer is right, or where it is wrong."""
    for name, value in pairs[0].args.items():
        if not isinstance(value, torch.Tensor):
            continue
        yes, no = ("True", "False") if value.dtype == torch.bool else ("positive", "not positive")
        masks = [_fitted(p.args.get(name), p.want) for p in pairs]
        if any(m is None for m in masks):
            continue
        masks = [m > 0 for m in masks]
        for sense, (good, bad) in ((True, (yes, no)), (False, (no, yes))):
            places = [m == sense for m in masks]
            inside = [r[m] for r, m in zip(right, places, strict=True)]
            outside = [r[~m] for r, m in zip(right, places, strict=True)]
            many = min(sum(map(len, inside)), sum(map(len, outside))) >= (3 if yes == "True" else 8)
            if many and all(i.all() for i in inside) and all((~o).double().mean() >= 0.75 for o in outside if len(o)):
                return f"Your values are right where `{name}` is {good}, and wrong where it is {bad}."
    return None


def _edges(pairs, right):
    if not all(r.dim() >= 2 and min(r.shape[-2:]) >= 5 for r in right):
        return None
    for width in range(1, min(min(r.shape[-2:]) for r in right) // 3 + 1):
        inner = [r[..., width:-width, width:-width] for r in right]
        if all(i.all() for i in inner):
            sides = [r[..., :width, :] for r in right], [r[..., -width:, :] for r in right]
            sides += [r[..., :width] for r in right], [r[..., -width:] for r in right]
            if sum(any(not s.all() for s in side) for side in sides) < 2 or not _enough([p.want for p in pairs], 4):
                return None
            within = "on the outermost pixels" if width == 1 else f"within {width} pixels of the edge"
            return f"Your values are right inside; all the wrong ones are {within}."
    return None


def _scale(pairs, axes):
    """A factor or an offset that all values share, perhaps the size of an argument."""
    got, want = (torch.cat([getattr(p, side).double().flatten() for p in pairs]) for side in ("got", "want"))
    subject = "Every value is" if pairs[0].want.dim() else "Your answer is"
    if (pairs[0].real or pairs[0].want.dim() == 0) and different(want) >= (2 if len(pairs) > 1 else 3):
        if r := common_factor(got, want):
            exact = common_factor(got, want, tolerance=1e-5)  # a factor that is not simple may be an accident
            told = _times(r) or (f"{r:.4g} times" if exact and len(pairs) > (1 if pairs[0].want.dim() else 2) else None)
            return f"{subject} {told} the right one." if told and abs(r - 1) > 2e-3 else None
        if told := _by_size(pairs):
            return f"{subject} {told} the right one."
    if told := _offset(pairs, got, want):
        return f"{subject} {told}."
    return None


def _times(r):
    """A factor in words, if it is a simple one."""
    for n in range(2, 1001):
        if abs(r - n) < 1e-4 * n:
            return {2: "twice"}.get(n, f"{n} times")
        if abs(r * n - 1) < 1e-4:
            return {2: "half of"}.get(n, f"1/{n} of")
        for told, root in ((f"√{n} times", sqrt(n)), (f"1/√{n} of", 1 / sqrt(n))):
            if n < 30 and abs(r - root) < 1e-4 * root:
                return told
    simple = Fraction(r).limit_denominator(4)
    return f"{simple} of" if 0 < simple.numerator < 5 and abs(r - simple) < 1e-4 * abs(r) else None


def _sizes(args):
    """Sizes of the arguments, and arguments that are numbers: {"x.shape[0]": 4, …}."""
    sizes = {}
    for name, value in args.items():
        if isinstance(value, torch.Tensor) and value.dim():
            sizes |= {f"{name}.shape[{k}]": n for k, n in enumerate(value.shape)}
            sizes[f"{name}.numel()"] = value.numel()
            if value.dtype == torch.bool:
                sizes[f"{name}.sum()"] = int(value.sum())
        elif isinstance(value, tuple | list):
            sizes[f"len({name})"] = len(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            sizes[name] = value
    return sizes


def _by_size(pairs):
    """A factor that is the size of the same argument in each case."""
    sizes = [_sizes(p.args) for p in pairs]
    if len(pairs) < 2:
        return None
    factors = [_ratio(p) for p in pairs]
    if any(f is None for f in factors):
        return None
    for name in sizes[0]:
        n = [s.get(name, 0) for s in sizes]
        if min(n) <= 0 or len(set(n)) < 2:
            continue
        for told, f in (
            (f"`{name}` times", lambda n: n),
            (f"1/`{name}` of", lambda n: 1 / n),
            (f"√`{name}` times", sqrt),
            (f"1/√`{name}` of", lambda n: 1 / sqrt(n)),
        ):
            if all(abs(r - f(m)) <= 1e-3 * f(m) for r, m in zip(factors, n, strict=True)):
                return told
    return None


def _ratio(pair):
    got, want = pair.got.double().flatten(), pair.want.double().flatten()
    if len(want) > 1:
        return common_factor(got, want)
    return (got / want).item() if want.abs() > 1e-6 else None


def _offset(pairs, got, want):
    off, several = got - want, len(pairs) > 1
    d = round(off[0].item(), 6)
    if (off - d).abs().max() > 1e-4 * abs(d) + 1e-6 or abs(d) < 1e-3 or different(want) < (2 if several else 3):
        return None
    if not several and d != round(2 * d) / 2:  # seen only once, any other number may be an accident
        return None
    return f"{shown(abs(d))} too {'large' if d > 0 else 'small'}"


FUNCTIONS = {
    "tanh of {}": torch.tanh,
    "the sigmoid of {}": torch.sigmoid,
    "exp of {}": torch.exp,
    "the logarithm of {}": torch.log,
    "the square of {}": torch.square,
    "the square root of {}": torch.sqrt,
    "the absolute value of {}": torch.abs,
    "{}, with negative values set to 0": torch.relu,
    "1 minus {}": lambda x: 1 - x,
    "1 divided by {}": torch.reciprocal,
    "{}, rounded": torch.round,
    "{}, rounded down": torch.floor,
    "{}, rounded towards 0": torch.trunc,
}


def _function(pairs, axes):
    """One of them is a simple function of the other, value by value or along an axis."""
    if not pairs[0].real or not _enough([p.want for p in pairs]):
        return None
    dims = pairs[0].want.dim()
    functions = dict(FUNCTIONS)
    if _all(pairs, lambda p: p.want.dim() == dims):
        for k in range(dims):
            if any(p.want.shape[k] > 1 for p in pairs):
                axis = _named(axes, k, dims)
                functions[f"the softmax of {{}} over {axis}"] = lambda x, k=k: x.softmax(k)
                functions[f"the running sum of {{}} along {axis}"] = lambda x, k=k: x.cumsum(k)
                functions[f"{{}} divided by its sum over {axis}"] = lambda x, k=k: x / x.sum(k, keepdim=True)
    got, want = [p.got.double() for p in pairs], [p.want.double() for p in pairs]
    for told, f in functions.items():
        if _enough([f(w).nan_to_num() for w in want]) and all(map(_same, got, map(f, want))):
            return f"What you return is {told.format('the right value')}."
        if _enough(got) and all(map(_same, map(f, got), want)):
            return f"The right value is {told.format('yours')}."
    return None


def _sorted(pairs, axes):
    """The same values in a different order."""
    if not _enough([p.want for p in pairs], 4):
        return None
    if _all(
        pairs, lambda p: p.want.numel() > 2 and _same(*(t.double().flatten().sort().values for t in (p.got, p.want)))
    ):
        return "The values are right, but they are in the wrong places."
    return None


def _shape(pairs, axes):
    """The right numbers in another shape, or with an axis too many, too few, too long or too short."""
    if not _enough([p.want for p in pairs], 2) or not _enough([p.got for p in pairs], 2):
        return None
    if told := _exchanged(pairs, axes):
        return told
    if _all(pairs, lambda p: p.got.numel() == p.want.numel() and _same(p.got.flatten(), p.want.flatten())):
        return "All numbers are right and in the right order; only the shape is different."
    dims, mine = pairs[0].want.dim(), pairs[0].got.dim()
    if not _all(pairs, lambda p: p.want.dim() == dims and p.got.dim() == mine):
        return None
    if mine == dims + 1:
        for k in range(mine):
            for told, f in _reductions(k):
                if _all(pairs, lambda p, f=f: _same(f(p.got), p.want)):
                    return f"You have one axis too many: {told} axis {k} would be right."
    if mine == dims - 1:
        for k in range(dims):
            for told, f in _reductions(k):
                if _all(pairs, lambda p, f=f: _same(p.got, f(p.want))):
                    return f"You have one axis too few: what you return is {told} {_named(axes, k, dims)}."
    if mine == dims:
        return _length(pairs, axes)
    if dims == 0 and _all(pairs, lambda p: _same(p.got.double().sum(), p.want.double())):
        return "The answer is a single number: the sum of your values is right."
    if dims == 0 and _all(pairs, lambda p: _same(p.got.double().mean(), p.want.double())):
        return "The answer is a single number: the mean of your values is right."
    return None


def _reductions(k):
    return (
        ("the sum over", lambda x: x.double().sum(k)),
        ("the mean over", lambda x: x.double().mean(k)),
        ("the first entry along", lambda x: x.select(k, 0)),
        ("the last entry along", lambda x: x.select(k, -1)),
        ("the maximum over", lambda x: x.amax(k)),
    )


def _length(pairs, axes):
    """The right values along an axis that is too long or too short at one end."""
    dims = pairs[0].want.dim()
    for k in range(dims):
        extra = {p.got.shape[k] - p.want.shape[k] for p in pairs}
        if len(extra) != 1 or extra == {0}:
            continue
        n, axis = extra.pop(), _named(axes, k, dims)
        for end, told in ((0, "end"), (abs(n), "beginning")):

            def cut(long, short, k=k, end=end):
                return long.shape[k] > end and _same(long.narrow(k, end, short.shape[k]), short)

            if n > 0 and _all(pairs, lambda p, cut=cut: cut(p.got, p.want)):
                return f"Along {axis}, you have {n} too many at the {told}; the rest is right."
            if n < 0 and _all(pairs, lambda p, cut=cut: cut(p.want, p.got)):
                return f"Along {axis}, {-n} {'is' if n == -1 else 'are'} missing at the {told}; the rest is right."
    return None
