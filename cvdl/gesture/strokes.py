"""How a finger tip moves: ten shapes, and the ways in which people draw them.

The shapes, with their direction and the point where they begin, are those of EgoGestAR's clips.  How much speed, size,
place and slant vary is our guess, wide enough to hold what we measured in them.
"""

import math
from typing import NamedTuple

import numpy as np

from cvdl.gesture.clip import CLASSES

RATE = 120  # positions a second, in which a motion is worked out
# Corners in a unit square, x to the right and y down.
CORNERS = {
    "left": [(1, 0.5), (0, 0.5)],
    "right": [(0, 0.5), (1, 0.5)],
    "up": [(0.5, 1), (0.5, 0)],
    "down": [(0.5, 0), (0.5, 1)],
    "square": [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)],
    "tick": [(0, 0.3), (0.4, 1), (1, 0)],
    "carret": [(0, 1), (0.5, 0), (1, 1)],
    "del": [(0, 0), (1, 1), (0, 1), (1, 0)],
    "star": [(0.12, 1), (0.5, 0), (0.88, 1), (0, 0.38), (1, 0.38), (0.12, 1)],
}
LINES = ("left", "right", "up", "down")
NOTHING = ("still", "wander", "scribble", "reverse", "slope", "hand", "empty")  # ways to make no gesture


class Motion(NamedTuple):
    """A finger tip's way through a clip.  Lengths are in widths and heights of the frame."""

    place: np.ndarray  # (N, 2) x, y at 0, 1 / RATE, 2 / RATE, … seconds
    begin: float  # seconds: the stroke lasts from here
    end: float  # to here
    left: bool  # it is a left hand
    kind: str  # the class, or for "none" one of NOTHING

    @property
    def seconds(self):
        return (len(self.place) - 1) / RATE

    def at(self, times):
        """Place at times in seconds, (…) -> (…, 2)"""
        grid = np.arange(len(self.place)) / RATE
        return np.stack([np.interp(times, grid, column) for column in self.place.T], -1)


def motion(rng, label, left_hands):
    """A random Motion of a class.  rng: np.random.Generator"""
    kind, left = CLASSES[label], rng.random() < left_hands
    if kind == "none":
        kind = str(rng.choice(NOTHING, p=[0.12, 0.2, 0.24, 0.16, 0.1, 0.12, 0.06]))
    way = settle(rng, shape(rng, kind), kind)
    before, after = (rest(rng, way[end], left) for end in (0, -1))
    place = np.concatenate([before[:-1], way, after[::-1][1:]])
    place = place + tremble(rng, len(place))
    return Motion(place, (len(before) - 1) / RATE, (len(before) + len(way) - 2) / RATE, left, kind)


def shape(rng, kind):
    """The positions of a stroke in the unit square, evenly timed (n, 2), as by a careful and quick hand in turn."""
    if kind == "circlecc":
        return arc(rng, +1)
    if kind == "reverse":
        kind = str(rng.choice(["square", "tick", "carret", "del", "star", "circle"]))
        return arc(rng, -1) if kind == "circle" else timed(rng, CORNERS[kind][::-1])
    if kind in ("still", "empty"):
        return np.full((int(RATE * rng.uniform(0.8, 4)), 2), 0.5)
    if kind == "slope":  # neither across nor up
        x, y = rng.choice([-1, 1], 2) * (0.5 + rng.uniform(-0.12, 0.12, 2))
        return timed(rng, [(0.5 - x, 0.5 - y), (0.5 + x, 0.5 + y)])
    if kind in ("wander", "hand"):
        n = int(RATE * rng.uniform(1.5, 5))
        t = np.arange(n)[:, None] / RATE
        waves = [rng.uniform(0.1, 0.3, 2) * np.sin(2 * np.pi * (f * t + rng.random(2))) for f in (0.15, 0.4, 0.7)]
        return 0.5 + sum(waves)
    if kind == "scribble":
        corners = [rng.random(2)]
        while len(corners) < 2 + rng.integers(2, 5):
            step = rng.random(2)
            if np.linalg.norm(step - corners[-1]) > 0.4:
                corners.append(step)
        return timed(rng, corners)
    corners = np.array(CORNERS[kind], float)
    corners = corners + rng.normal(0, 0.04, corners.shape)
    if kind == "tick":  # short or as long as the other half
        corners[0] += [0, rng.uniform(-0.35, 0.3)]
        corners[1] += [rng.uniform(-0.15, 0.1), 0]
    return timed(rng, corners)


def arc(rng, sense):
    """A circle; sense 1: counter-clockwise.  It begins at the upper right, or now and then anywhere."""
    start = rng.uniform(-0.3, 2.2) if rng.random() < 0.8 else rng.uniform(0, 2 * np.pi)
    turn = 2 * np.pi * rng.uniform(0.88, 1.15)
    angle = start + sense * turn * np.linspace(0, 1, 25)
    grow = np.linspace(1, rng.uniform(0.85, 1.15), 25)  # it does not always close
    points = 0.5 + 0.5 * grow[:, None] * np.stack([np.cos(angle), -np.sin(angle)], 1)
    return timed(rng, points, pieces=3.2)


def timed(rng, corners, pieces=None):
    """Corners -> positions at RATE, rounded and with a human speed: slow at corners and at both ends.

    pieces: how many strokes long it takes, for a curve without corners.
    """
    corners = np.asarray(corners, float)
    lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    pace = np.exp(rng.normal(np.log(1.1), 0.45)).clip(0.35, 2.6)  # seconds for a stroke
    if pieces:
        seconds = np.full(len(lengths), pace * pieces / len(lengths))
    else:
        seconds = pace * (lengths / lengths.mean()) ** 0.6 * np.exp(rng.normal(0, 0.15, len(lengths)))
        seconds *= 1.5 if len(lengths) == 1 else 1
    care = rng.uniform(0.3, 1)  # 1: a stop at each corner
    clock = np.concatenate([[0], np.cumsum(seconds)])
    t = np.linspace(0, clock[-1], max(int(RATE * clock[-1]), 8))
    part = np.minimum(np.searchsorted(clock, t, side="right") - 1, len(seconds) - 1)
    u = (t - clock[part]) / seconds[part]
    if pieces:
        way = np.stack([np.interp(ease(t / clock[-1], 0.7 * care) * clock[-1], clock, c) for c in corners.T], 1)
    else:
        way = corners[part] + ease(u, care)[:, None] * (corners[part + 1] - corners[part])
    return smooth(way, rng.uniform(0.02, 0.12) * pace)


def ease(u, care):
    """Part of the time -> part of the way; with care 1 the minimum-jerk profile (Flash and Hogan, 1985)."""
    return (1 - care) * u + care * u**3 * (10 - 15 * u + 6 * u * u)


def smooth(way, seconds):
    """Gaussian mean over time, with both ends kept."""
    reach = max(int(3 * seconds * RATE), 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (seconds * RATE)) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(way, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd") if reach < len(way) else None
    if padded is None:
        return way
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], 1)


def settle(rng, way, kind):
    """Unit square -> frame: size, proportion, slant, place."""
    width = rng.uniform(0.32, 0.72)
    height = rng.uniform(0.32, 0.66)
    if kind in ("square", "circlecc", "star"):  # not too narrow
        height = min(max(height, 0.75 * width), 1.7 * width)
    if kind in ("still", "wander", "hand"):
        width, height = 0.8 * width, 0.8 * height
    slant = math.radians(rng.normal(0, 5.5))
    lean = rng.normal(0, 0.06)
    centred = (way - 0.5) * [width, height]
    c, s = math.cos(slant), math.sin(slant)
    # Angles are meant in a frame of 4 to 3.
    turned = centred @ np.array([[c, s * 4 / 3], [-s * 3 / 4 + lean, c]])
    centre = np.array([rng.normal(0.48, 0.08), rng.normal(0.37, 0.08)])
    return centre + turned


def rest(rng, point, left):
    """Before the stroke, in order of time: (n, 2), ending at `point`.  Often the hand is there at once."""
    hold = np.repeat(point[None], 1 + int(RATE * min(rng.exponential(0.18), 1.2)), 0)
    if rng.random() > 0.3:
        return hold
    side = -1 if left else 1
    away = np.array([point[0] + side * rng.uniform(-0.1, 0.5), rng.uniform(1.1, 1.35)])
    u = np.linspace(0, 1, int(RATE * rng.uniform(0.3, 0.9)))
    return np.concatenate([away + ease(u, 1)[:, None] * (point - away), hold])


def tremble(rng, n):
    """What no hand is without: slow sway, and a little tremor.  (n, 2)"""
    t = np.arange(n)[:, None] / RATE
    sway = [
        rng.normal(0, size, 2) * np.sin(2 * np.pi * (rng.uniform(low, high, 2) * t + rng.random(2)))
        for size, low, high in ((0.008, 0.2, 0.8), (0.005, 0.8, 2.0), (0.0015, 4.0, 9.0))
    ]
    return sum(sway)
