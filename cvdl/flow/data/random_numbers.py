"""Random numbers that belong to a pair's number: the same in any batch, in any order, on any device."""

import numpy as np
import torch

from cvdl.errors import InvalidInput


def draw_uniform(key, indices, *shape):
    """Uniform numbers in [0, 1) for each index, by a generator of its own.

    key: whole numbers >= 0, another key gives other dice -> (len(indices), *shape) float64 on the CPU
    Raises InvalidInput for no index or a negative one.
    """
    indices = list(indices)
    if not indices or min(indices) < 0:
        raise InvalidInput(f"The numbers of the samples are {indices}; give one at least, counted from 0.")
    thrown = [np.random.default_rng([*key, int(i)]).random(shape) for i in indices]
    return torch.from_numpy(np.stack(thrown))


def normal(uniform):
    """Uniform numbers made standard normal."""
    return torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))


def heavy(uniform, spread, power, limit):
    """A Gaussian to a power, with its sign, cut off at the limit: mostly small, sometimes large."""
    gauss = spread * normal(uniform)
    return (gauss.sign() * gauss.abs() ** power).clamp(-limit, limit)
