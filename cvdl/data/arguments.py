"""Checks of what all renderers are called with: sizes, counts, numbers, splits.  Each returns the argument, or raises
InvalidInput that names it."""

import math
from numbers import Integral, Real

from cvdl.errors import InvalidInput


def check_split(split, splits=("train", "test")):
    if split not in splits:
        *others, last = (f'"{each}"' for each in splits)
        raise InvalidInput(f"split is {split!r}; it must be {', '.join(others)} or {last}.")
    return split


def check_whole(value, name, least=0):
    """A whole number, `least` or more."""
    if not isinstance(value, Integral) or value < least:
        raise InvalidInput(f"{name} is {value!r}; it must be a whole number, {least} or more.")
    return int(value)


def check_number(value, name, least=0, most=math.inf):
    """A finite number between two bounds, which may be None."""
    if not isinstance(value, Real) or not math.isfinite(value) or not least <= value <= most:
        bounds = f"{least} or more" if most == math.inf else f"from {least} to {most}"
        raise InvalidInput(f"{name} is {value!r}; it must be a finite number, {bounds}.")
    return value


def check_size(size, name="size", least=16, within=None):
    """(height, width) in pixels, as a tuple of two int.  within: a size that it must not exceed."""
    if not is_pair(size, Integral) or min(size) < least:
        raise InvalidInput(
            f"{name} is {shown(size)}; it must be (height, width), two whole numbers of pixels, each {least} or more."
        )
    size = tuple(map(int, size))
    if within and (size[0] > within[0] or size[1] > within[1]):
        raise InvalidInput(f"{name} is {size}; it must be within size {tuple(within)}.")
    return size


def check_counts(counts, name):
    """(fewest, most) of something in a scene, as a tuple of two int."""
    if not is_pair(counts, Integral) or not 0 <= counts[0] <= counts[1]:
        raise InvalidInput(
            f"{name} is {shown(counts)}; it must be (fewest, most), two whole numbers from 0 on and in this order."
        )
    return tuple(map(int, counts))


def is_pair(value, kind):
    """Two numbers of a kind that can be indexed: a tuple, a list, a torch.Size, an array."""
    try:
        return len(value) == 2 and all(isinstance(value[i], kind) for i in (0, 1))
    except (TypeError, KeyError, IndexError):
        return False


def shown(value):
    """A value in a message.  A torch.Size or an array is shown as what it holds."""
    return repr(tuple(value) if hasattr(value, "__iter__") and not isinstance(value, (str, dict)) else value)
