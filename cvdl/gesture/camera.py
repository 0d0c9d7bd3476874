"""What a camera on the head shows: a backdrop that moves with the head, and the camera's own faults."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from cvdl.data.textures import photo_bank

LEVEL = 1  # photographs are taken at half their size
# From light to dark.
SKIN = [(0.96, 0.80, 0.70), (0.88, 0.67, 0.54), (0.78, 0.57, 0.42), (0.62, 0.43, 0.30), (0.45, 0.30, 0.21), (0.30, 0.20, 0.14)]  # fmt: skip


@functools.cache
def photographs(split):
    """(N, 288, 384, 3) uint8.  Every seventh photograph for training is kept for "val"."""
    bank = photo_bank("test" if split == "test" else "train")
    begin, height, width = bank.table[LEVEL].tolist()
    pictures = bank.texels[begin : begin + bank.count * height * width].view(bank.count, height, width, 4)[..., :3]
    kept = (torch.arange(bank.count) % 7 == 3) == (split == "val")
    return pictures if split == "test" else pictures[kept]


def blobs(rng, channels, size, cells):
    """Smooth noise of unit variance at its nodes, about `cells` of them across.  (channels, *size)"""
    rough = torch.from_numpy(rng.standard_normal((1, channels, cells * 3 // 4 + 2, cells + 2), np.float32))
    return F.interpolate(rough, size, mode="bilinear")[0]


def between(rng, low, high):
    """Evenly spread in its logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def backdrop(rng, photos, size):
    """A still picture behind the hand, larger than the frame by a fifth on each side: (3, H', W') in [0, 1]."""
    height, width = (int(1.4 * side) for side in size)
    photo = photos[rng.integers(len(photos))].permute(2, 0, 1)
    h, w = photo.shape[1:]
    share = between(rng, 0.3, 1)
    top, left = int(rng.random() * (1 - share) * h), int(rng.random() * (1 - share) * w)
    cut = photo[None, :, top : top + int(share * h), left : left + int(share * w)].float() / 255
    photo = F.interpolate(cut, (height, width), mode="bilinear", antialias=True)[0]
    photo = photo.flip(2) if rng.random() < 0.5 else photo
    if rng.random() < 0.4:
        return photo
    # A room: a wall, things with straight edges, and perhaps a breath of the photograph as their texture.
    first, second = paint(rng), paint(rng)
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    angle = rng.uniform(0, 2 * math.pi)
    fall = (0.5 + 0.4 * (math.cos(angle) * x + math.sin(angle) * y)) * between(rng, 0.1, 1)
    room = torch.lerp(first, second, fall)
    for _ in range(rng.choice([0, 1, 3, 6, 10])):
        room = furnish(rng, room)
    if rng.random() < 0.5:
        room = room + rng.uniform(0.1, 0.7) * (photo - photo.mean((1, 2), keepdim=True))
    return room.clamp(0, 1)


def furnish(rng, room):
    """Put a box into a room: a desk, a screen, a row of books, a curtain with a pattern."""
    height, width = room.shape[1:]
    top, left = int(rng.uniform(-0.2, 0.9) * height), int(rng.uniform(-0.2, 0.9) * width)
    bottom, right = top + int(between(rng, 0.08, 1) * height), left + int(between(rng, 0.08, 1.2) * width)
    if rng.random() < 0.25:  # from side to side, down to the ground: a table
        left, right, bottom = 0, width, height
    top, left = max(top, 0), max(left, 0)
    part = room[:, top:bottom, left:right]
    if part.numel():
        y, x = torch.arange(part.shape[1])[:, None], torch.arange(part.shape[2])
        colour, other = paint(rng), paint(rng)
        kind, period = rng.integers(4), between(rng, 3, 30)
        if kind == 0:  # books
            spines = torch.cat([paint(rng) for _ in range(20)], 2)
            colour = spines[:, :, ((x / period).long() + (x / (1.7 * period)).long()) % 20]
        elif kind == 1:  # a pattern
            waves = torch.sin(x * (2 * math.pi / period)) * torch.sin(y * (2 * math.pi / between(rng, 3, 30)))
            colour = torch.lerp(colour, other, (waves * 3).clamp(0, 1))
        room[:, top:bottom, left:right] = torch.lerp(part, colour.expand_as(part), rng.uniform(0.4, 1))
    return room


def paint(rng):
    """A colour (3, 1, 1): mostly near grey, sometimes like skin or wood, sometimes any."""
    kind = rng.random()
    if kind < 0.6:
        colour = rng.uniform(0.03, 1) + rng.normal(0, 0.06, 3)
    elif kind < 0.8:
        colour = np.array(SKIN[rng.integers(len(SKIN))]) * between(rng, 0.6, 1.2)
    else:
        colour = rng.random(3)
    return torch.tensor(colour.clip(0, 1), dtype=torch.float32)[:, None, None]


def head_motion(rng, times, size):
    """Maps (T, 2, 3) from the frame to a backdrop that is larger by a fifth on each side."""
    height, width = size
    reach = min(between(rng, 0.002, 0.12), 0.1) * width
    t = times[:, None]
    waves = [rng.normal(0, 0.5, 2) * np.sin(2 * np.pi * (f * t + rng.random(2))) for f in rng.uniform(0.05, 1.2, 3)]
    shift = (reach * sum(waves)).clip(-0.16 * width, 0.16 * width) + 0.2 * np.array([width, height])
    turn = rng.normal(0, 0.04) + rng.normal(0, 0.01) * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * times)
    centre = np.array([width, height]) / 2
    linear = np.stack([np.stack([np.cos(turn), -np.sin(turn)], -1), np.stack([np.sin(turn), np.cos(turn)], -1)], -2)
    return np.concatenate([linear, (shift + centre - linear @ centre)[..., None]], -1)


class Camera:
    """Exposure, lamp, colour cast, blur, noise and compression: thrown once for a clip, applied frame by frame."""

    def __init__(self, rng, times, size, brightness):
        height, width = size
        gain = np.full(len(times), np.clip(between(rng, 0.24, 0.75) / (brightness + 0.05), 0.4, 3))
        if rng.random() < 0.3:  # the exposure finds its value while the clip runs
            gain *= 1 + (between(rng, 0.4, 3) - 1) * np.exp(-times / between(rng, 0.2, 2))
        gain *= 1 + 0.04 * rng.random() * np.sin(2 * np.pi * (rng.uniform(0.1, 2) * times + rng.random()))
        self.gain = gain.tolist()
        y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        away = (x - rng.normal(0, 0.3)) ** 2 + (y - rng.normal(0, 0.3)) ** 2
        self.lamp = 1 + rng.uniform(-0.3, 0.8) * torch.exp(-away * between(rng, 0.4, 6)) - rng.uniform(0, 0.25) * away
        grey, life = torch.tensor([0.299, 0.587, 0.114]), rng.uniform(0.4, 1.3)
        cast = torch.tensor(np.exp(rng.normal(0, 0.1, 3)), dtype=torch.float32)
        self.colours = 255 * (life * torch.eye(3) + (1 - life) * grey) * cast[:, None]
        self.blur = rng.uniform(0, 0.33) * (rng.random() < 0.6)
        level = 255 * between(rng, 0.003, 0.05)
        self.noise = level * torch.from_numpy(rng.standard_normal((3, 2 * height, 2 * width), np.float32))
        if rng.random() < 0.5:  # coarse, as a codec leaves it
            self.noise = F.avg_pool2d(self.noise, 3, 1, 1) * 2
        curve = torch.linspace(0, 1, 256) ** between(rng, 0.65, 1.5)
        self.curve = (
            (255 * (curve + rng.uniform(0, 0.25) * (curve * curve * (3 - 2 * curve) - curve))).round().byte().numpy()
        )
        steps = between(rng, 3, 25) * (1 + 0.7 * torch.arange(8.0))  # of JPEG at a quality of 85 to 30, more or less
        self.steps = torch.maximum(steps[:, None], steps) if rng.random() < 0.35 else None
        self.corners = rng.integers(0, [height, width], (len(times), 2)).tolist()

    def take(self, frame, t):
        """(3, H, W), in [0, 1] or brighter -> (3, H, W) uint8.  Changes the frame in place."""
        height, width = frame.shape[1:]
        frame *= self.lamp
        frame = torch.mm(self.colours * self.gain[t], frame.view(3, -1)).view_as(frame)
        for axis in (1, 2) if self.blur else ():  # (blur, 1 - 2 blur, blur) along columns, along rows
            reach = frame.shape[axis] - 1
            step = self.blur * frame.diff(dim=axis)
            frame.narrow(axis, 0, reach).add_(step)
            frame.narrow(axis, 1, reach).sub_(step)
        top, left = self.corners[t]
        frame += self.noise[:, top : top + height, left : left + width]
        if self.steps is not None:
            frame = compressed(frame, self.steps)
        return torch.from_numpy(self.curve[frame.clamp_(0, 255).byte().numpy()])


# The discrete cosine transform of 8 × 8 values, in a row.
WAVES = torch.cos(math.pi / 8 * torch.arange(8.0)[:, None] * (torch.arange(8) + 0.5)) / 2
WAVES[0] /= math.sqrt(2)
DCT = torch.kron(WAVES, WAVES)


def compressed(frame, steps):
    """What a codec leaves of a frame (3, H, W): blocks of 8 × 8, whose frequencies are rounded to steps (8, 8)."""
    height, width = frame.shape[1:]
    whole = F.pad(frame[None], (0, -width % 8, 0, -height % 8), mode="replicate")[0]
    blocks = whole.unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).transpose(2, 3)  # (3, H / 8, W / 8, 8, 8)
    steps = steps.flatten()
    frequencies = (blocks.reshape(-1, 64) @ DCT.T).div_(steps).round_().mul_(steps)
    rounded = (frequencies @ DCT).view(blocks.shape).transpose(2, 3)
    return rounded.reshape(whole.shape)[:, :height, :width]
