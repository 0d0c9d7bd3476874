"""Procedural textures, so that networks do not memorise the few photographs: noise, marble, stripes, checks, cells,
bricks, shapes, gradients, and some surfaces with almost no texture.

    textures("train", 8, (576, 768)).shape  # (8, 576, 768, 4): RGBA, uint8

A texture depends only on its split and its number, and the two splits use different random numbers.  A third of the
textures have low contrast, as many real surfaces do.
"""

import numpy as np

from cvdl.data.fields import blend, fractal, log_uniform, mix, palette, plane, ramp, scatter, smooth

COUNT = {"train": 100, "test": 30}  # of textures in the banks of varied pairs
SEED = 2026


def textures(split, count, size):
    """The first `count` textures of a split, opaque.  size: (height, width) -> (count, height, width, 4) uint8"""
    return np.stack([texture(split, index, size) for index in range(count)])


def texture(split, index, size):
    """Texture number `index` of a split -> (height, width, 4) uint8, opaque.  Kinds take turns."""
    rng = np.random.default_rng([SEED, split == "test", index])
    kind = KINDS[index % len(KINDS)]
    colours = kind(rng, size)
    if kind is not plain:
        contrast = (0.4, 1.0, 1.0)[index // len(KINDS) % 3]
        lamp = 1 + 0.25 * rng.random() * smooth(rng, size)
        grain = 0.04 * rng.random() ** 2 * fractal(rng, size, rng.uniform(0, 1))
        colours = mix(colours[::8, ::8].mean((0, 1)), colours, contrast) * lamp[..., None] + grain[..., None]
    opaque = np.full((*size, 4), 255, np.uint8)
    opaque[..., :3] = np.clip(255 * colours + 0.5, 0, 255)
    return opaque


# Kinds: a random generator and a size -> colours (height, width, 3), mostly in [0, 1].


def noise(rng, size):
    """Fractal noise as a map into a few colours: clouds, rust, rock."""
    return ramp(rng, 0.5 + 0.25 * fractal(rng, size, rng.uniform(0.8, 1.5)))


def plasma(rng, size):
    """Three fractal noises mixed to red, green and blue."""
    fields = np.stack([fractal(rng, size, rng.uniform(0.9, 1.5)) for _ in range(3)], -1)
    return palette(rng, 1) + 0.4 * fields @ (palette(rng, 3) - 0.5)


def marble(rng, size):
    """Veins: a wave along one direction that fractal noise distorts."""
    u, _ = plane(rng, size, period=rng.uniform(40, 300))
    return ramp(rng, 0.5 + 0.5 * np.sin(2 * np.pi * (u + rng.uniform(0.1, 0.7) * fractal(rng, size, 1.6))))


def stripes(rng, size):
    """Stripes of a few colours, sharp or blurred, straight or bent."""
    colours = palette(rng, rng.integers(2, 7))
    u, _ = plane(rng, size, period=log_uniform(rng, 8, 60) * len(colours), bend=rng.choice([0, 0, 30, 80]))
    return blend(colours, u * len(colours), rng.choice([0.1, 0.3, 1]))


def checks(rng, size):
    """A chequered pattern of two colours, or a patchwork of many."""
    u, v = plane(rng, size, period=log_uniform(rng, 10, 100), bend=rng.choice([0, 0, 20, 60]))
    column, row = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    if rng.random() < 0.5:
        return palette(rng, 2)[(column + row) % 2]
    return palette(rng, 64)[scatter(column, row) % rng.choice([3, 64])]


def cells(rng, size):
    """Voronoi cells of random colours, with or without a gap between them."""
    u, v = plane(rng, size, period=log_uniform(rng, 20, 120), bend=rng.choice([0, 40]))
    column, row = np.floor(u), np.floor(v)
    u, v, column, row = u - column, v - row, column.astype(np.int32), row.astype(np.int32)
    jitter = rng.random((2, 256), np.float32)
    nearest, second = np.full((2, *size), 9, np.float32)
    owner = np.zeros(size, np.int32)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            number = scatter(column + i, row + j)
            distance = (u - i - jitter[0][number]) ** 2 + (v - j - jitter[1][number]) ** 2
            second = np.minimum(second, np.maximum(distance, nearest))
            owner = np.where(distance < nearest, number, owner)
            nearest = np.minimum(nearest, distance)
    nearest, second = np.sqrt(nearest), np.sqrt(second)
    gap = np.clip((second - nearest) / rng.uniform(0.03, 0.25), 0, 1) if rng.random() < 0.6 else np.ones(size)
    shaded = palette(rng, 256)[owner] * (1 - rng.choice([0, 0.6]).astype(np.float32) * nearest)[..., None]
    return mix(palette(rng, 1), shaded, gap)


def bricks(rng, size):
    """Bricks or tiles, each of a slightly different colour, with mortar between them."""
    u, v = plane(rng, size, period=log_uniform(rng, 24, 120), bend=rng.choice([0, 0, 10]))
    v = v * rng.choice([1, 2, 3])
    row = np.floor(v).astype(np.int32)
    u = u + row * rng.choice([0, 0.5, 0.5, 0.3])
    column = np.floor(u).astype(np.int32)
    to_edge = np.minimum(0.5 - np.abs(u - column - 0.5), 0.5 - np.abs(v - row - 0.5))
    width = rng.uniform(0.02, 0.1)
    stone, mortar = palette(rng, 2)
    shades = stone + rng.uniform(0.02, 0.15) * rng.standard_normal((256, 3), np.float32)
    return mix(mortar, shades[scatter(column, row)], np.clip((to_edge - width) / 0.03, 0, 1))


def shapes(rng, size):
    """Overlapping discs and polygons on a plain ground."""
    height, width = size
    canvas = np.empty((*size, 3), np.float32)
    colours = palette(rng, rng.integers(40, 250))
    canvas[:], largest = colours[0], rng.uniform(25, 140)
    for colour in colours[1:]:
        radius = rng.uniform(6, largest)
        centre_x, centre_y = rng.uniform(0, width), rng.uniform(0, height)
        left, top = (max(0, int(c - radius)) for c in (centre_x, centre_y))
        box = canvas[top : int(centre_y + radius) + 1, left : int(centre_x + radius) + 1]
        x, y = np.arange(box.shape[1]) + left - centre_x, (np.arange(box.shape[0]) + top - centre_y)[:, None]
        corners = rng.choice([0, 3, 4, 5, 6])
        angles = rng.uniform(0, 2 * np.pi) + 2 * np.pi / max(corners, 1) * np.arange(corners)
        inner = radius * np.cos(np.pi / max(corners, 1))  # from the centre to a side
        sides = [np.cos(a) * x + np.sin(a) * y - inner for a in angles]
        outside = np.max(sides, axis=0) if corners else np.hypot(x, y) - radius
        box[:] = mix(box, colour, np.clip(0.5 - outside, 0, 1))
    return canvas


def gradient(rng, size):
    """A smooth change of colour under fine grain."""
    colours = ramp(rng, 0.5 + 0.3 * smooth(rng, size))
    return colours + rng.uniform(0.01, 0.12) * fractal(rng, size, rng.uniform(0, 0.7))[..., None]


def plain(rng, size):
    """A painted wall: one colour, hardly any texture."""
    faint = rng.uniform(0.004, 0.015) * fractal(rng, size, rng.uniform(0, 1.5)) + 0.02 * smooth(rng, size)
    return palette(rng, 1) + faint[..., None]


# One in twenty is plain.
KINDS = (noise, stripes, cells, shapes, bricks, plasma, checks, marble, shapes, gradient) * 2
KINDS = (*KINDS[:-1], plain)
