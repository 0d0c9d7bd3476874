"""The pictures that scenes are made of, held on the device: photographs and chairs, each at several sizes."""

import csv
import functools
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from cvdl.data import procedural
from cvdl.errors import InvalidInput
from cvdl.settings import data_path

LEVELS = 5  # of a texture: full size, 1/2, … 1/16


class Bank(NamedTuple):
    """Textures of equal size (h, w), each at LEVELS sizes, colours multiplied by alpha."""

    texels: torch.Tensor  # (N, 4) uint8: all textures at level 0, all at level 1, …
    table: torch.Tensor  # (LEVELS, 3) long: where a level begins, its height, its width
    count: int
    size: tuple

    def to(self, device):
        return self._replace(texels=self.texels.to(device), table=self.table.to(device))

    def sample(self, texture, level, x, y):
        """Bilinear.  texture, level: (n,) long, x, y: (n,) in texels of the full size -> RGBA (n, 4) in [0, 1].

        Beyond its border a texture goes on as in a mirror.
        """
        below, h, w = self.table[level].unbind(1)
        x, y = (mirror(c, side) * (now / side) - 0.5 for c, side, now in ((x, self.size[1], w), (y, self.size[0], h)))
        x, y = torch.minimum(x, w - 1).clamp(min=0), torch.minimum(y, h - 1).clamp(min=0)
        left, top = x.floor(), y.floor()
        right_share, lower_share = (x - left)[:, None], (y - top)[:, None]
        left, top = left.long(), top.long()
        right, step = torch.minimum(left + 1, w - 1) - left, torch.where(top + 1 < h, w, 0)
        corner = below + (texture * h + top) * w + left
        a, b, c, d = (self.at(i) for i in (corner, corner + right, corner + step, corner + step + right))
        upper, lower = torch.lerp(a, b, right_share), torch.lerp(c, d, right_share)
        return torch.lerp(upper, lower, lower_share) / 255

    def at(self, index):
        """Texels by number: (n,) long -> (n, 4) float, 0 … 255.  Fetched as one integer of four bytes: faster."""
        packed = self.texels.view(torch.int32)[:, 0].index_select(0, index)
        return packed[:, None].view(torch.uint8).float()


def mirror(x, side):
    """Coordinate of a pixel (centres at whole numbers) -> distance from the border, folded into [0, side]."""
    return side - (torch.remainder(x + 0.5, 2 * side) - side).abs()


def stack(pictures):
    """(N, h, w, 4) uint8 -> Bank."""
    levels, table, begin = [], [], 0
    for k in range(LEVELS):
        pictures = np.concatenate([half(p) if k else multiply_alpha(p) for p in pictures])
        count, height, width, _ = pictures.shape
        levels.append(torch.from_numpy(pictures).view(-1, 4))
        table.append((begin, height, width))
        begin += count * height * width
    return Bank(torch.cat(levels), torch.tensor(table), count, table[0][1:])


def multiply_alpha(picture):
    """Colours times alpha, so that what is mixed with a transparent texel does not turn dark.  -> (1, h, w, 4)"""
    colour, alpha = picture[..., :3], picture[..., 3:]
    if alpha.min() == 255:
        return picture[None]
    return np.concatenate([np.uint8((np.uint16(colour) * alpha + 127) // 255), alpha], -1)[None]


def half(picture):
    """Mean of 2 × 2.  (h, w, 4) -> (1, h/2, w/2, 4)"""
    sums = sum(picture[i::2, j::2].astype(np.uint16) for i in (0, 1) for j in (0, 1))
    return np.uint8((sums + 2) // 4)[None]


def rows(kind, split):
    """The rows of data/`kind`/SOURCES.tsv that belong to a split, as dicts."""
    with open(data_path(kind, "SOURCES.tsv"), encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row for row in table if row["split"] == split]


def read(*parts):
    path = data_path(*parts)
    try:
        return np.asarray(Image.open(path).convert("RGBA"))
    except OSError as broken:
        raise InvalidInput(f"{path} cannot be read: it is damaged. Restore it with `git checkout -- data`.") from broken


@functools.cache
def photo_bank(split, varied=False):
    """The photographs of a split; if varied, followed by more photographs, then by `procedural.COUNT[split]` textures.

    Write photo_bank(split), without varied=False, for the plain bank: the cache would hold it twice.
    """
    listed = rows("photos", split) + (rows("photos", f"{split}-extra") if varied else [])
    photos = np.stack([read("photos", row["file"]) for row in listed])
    if varied:
        textures = procedural.textures(split, procedural.COUNT[split], photos.shape[1:3])
        photos = np.concatenate([photos, textures])
    return stack(photos)


@functools.cache
def chair_bank(split):
    """The chairs of a split; all views of the first come first."""
    atlas, count = read("chairs", f"{split}.webp"), len(rows("chairs", split))
    side = len(atlas) // count
    tiles = atlas.reshape(count, side, -1, side, 4).swapaxes(1, 2)
    return stack(tiles.reshape(-1, side, side, 4))
