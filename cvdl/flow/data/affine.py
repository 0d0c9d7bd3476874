"""Affine maps of the plane, x -> A x + t, as tensors (…, 2, 3) that hold [A | t]."""

import torch


def similarity(turn, scale):
    c, s = scale * turn.cos(), scale * turn.sin()
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def about(linear, source, target):
    """The map with this linear part that takes the point `source` to `target`."""
    return torch.cat([linear, (target - (linear @ source[..., None])[..., 0])[..., None]], -1)


def compose(outer, inner):
    """x -> outer(inner(x))"""
    linear = outer[..., :2] @ inner[..., :2]
    shift = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return torch.cat([linear, shift], -1)


def invert(affine):
    (a, b), (c, d) = (row.unbind(-1) for row in affine[..., :2].unbind(-2))
    linear = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2) / (a * d - b * c)[..., None, None]
    return torch.cat([linear, -linear @ affine[..., 2:]], -1)
