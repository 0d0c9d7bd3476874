"""What procedural textures are made of: random fields of values, coordinates of a rotated and bent plane, colours.

Each function takes a NumPy random generator first and a size, (height, width), where it returns a value per pixel.
"""

import numpy as np


def fractal(rng, size, slope):
    """Noise whose amplitude falls with frequency f as f^-slope; 0: white, 1: fine, 2: cloudy.  Mean 0, variance 1."""
    height, width = size
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)).astype(np.float32)
    f[0, 0] = np.inf if slope else 1
    spectrum = rng.standard_normal((*f.shape, 2), np.float32).view(np.complex64)[..., 0] * f**-slope
    field = np.fft.irfft2(spectrum, size).astype(np.float32)
    field -= field.mean()
    return field / field.std()


def smooth(rng, size, waves=4):
    """A slowly varying field, a sum of a few cosines.  Its values are about -1 … 1."""
    y, x = (np.cos(np.pi * np.outer((np.arange(n) + 0.5) / n, np.arange(waves))).astype(np.float32) for n in size)
    field = y @ rng.standard_normal((waves, waves), np.float32) @ x.T
    return field / (np.abs(field).max() + 1e-6)


def plane(rng, size, period, bend=0):
    """Coordinates u, v of every pixel, in periods, in a randomly rotated plane; bend: by how many pixels it is warped."""
    y, x = np.arange(size[0], dtype=np.float32)[:, None], np.arange(size[1], dtype=np.float32)
    if bend := float(bend):
        y, x = y + bend * smooth(rng, size, 6), x + bend * smooth(rng, size, 6)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = (np.float32(f(angle) / period) for f in (np.cos, np.sin))
    return c * x + s * y, c * y - s * x


def scatter(column, row):
    """A number in 0 … 255 for every cell of a grid that looks random."""
    mixed = (column * 73856093) ^ (row * 19349663)
    return (mixed ^ (mixed >> 7) ^ (mixed >> 15)) & 255


def palette(rng, count):
    """Random colours (count, 3): of any hue, similar to each other, or one hue from dark to light.

    Most palettes are far from saturated, as surfaces usually are.
    """
    colours = rng.random((count + 1, 3), np.float32)
    colours += (1 - rng.random() ** 0.7) * (colours.mean(1, keepdims=True) - colours)
    base, colours = colours[:1], colours[1:]
    style = rng.random()
    if style < 0.4:
        return colours
    if style < 0.7:
        return base + rng.uniform(0.3, 0.7) * (colours - base)
    return colours[:, :1] * (0.4 + 0.6 * base / base.max())


def ramp(rng, values):
    """Values in 0 … 1 as colours, along a path through two to six random ones."""
    colours = palette(rng, rng.integers(2, 7))
    stops, table = np.linspace(0, 1, len(colours)), np.linspace(0, 1, 1024)
    lookup = np.stack([np.interp(table, stops, channel) for channel in colours.T], -1).astype(np.float32)
    return lookup[np.clip(1023 * values, 0, 1023).astype(np.int32)]


def blend(colours, values, width):
    """Colour number floor(value), cyclic; the last `width` of each step fades to the next colour."""
    step = np.floor(values).astype(np.int32)
    share = np.clip((values - step - 1) / width + 1, 0, 1)
    return mix(colours[step % len(colours)], colours[(step + 1) % len(colours)], share)


def mix(one, other, share):
    """Colours from `one` to `other`; share: a number in 0 … 1, or (height, width) of them"""
    return one + np.float32(share)[..., None] * (other - one)


def log_uniform(rng, least, most):
    return least * (most / least) ** rng.random()
