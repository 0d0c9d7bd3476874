"""First-person clips of a finger that draws a gesture, as many as one wants.

    gestures = Gestures(split="train", seed=0)
    clip = gestures.clip(0)  # clip i is always the same, and its class is i modulo 11
    clip.frames.shape, clip.track.shape  # (T, 120, 160, 3), (T, 2)
    gestures.track(0)  # the same clip without frames: much faster

A clip is one hand (a sprite of data/hands/, lit and coloured anew) that follows a `Motion`, before a backdrop that
moves with the wearer's head, through a camera with its faults.  Nothing is meant to be beautiful: everything that
must not matter for the class is thrown by dice, in ranges wider than those of real clips, so that a net that learns
from these clips alone may meet real ones (domain randomisation; Tobin et al., IROS 2017).
"""

import csv
import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.io import decode_jpeg, encode_jpeg

from cvdl.errors import CourseError
from cvdl.flow.data.textures import photo_bank, read
from cvdl.gesture.clip import CLASSES, NONE, GestureClip
from cvdl.gesture.strokes import motion
from cvdl.settings import data_path

SPLITS = ("train", "val", "test")
REACH = 95  # pixels from the wrist to the finger tip in a sprite that points across the line of sight
WRIST = 116  # row of the wrist in every sprite
BLUR = [np.linspace(0, 7, count + 2)[1:-1].round().astype(int) for count in range(7)]  # of 8 moments of an exposure
LEVEL = 1  # photographs are taken at half their size
# From light to dark.
SKIN = [(0.96, 0.80, 0.70), (0.88, 0.67, 0.54), (0.78, 0.57, 0.42), (0.62, 0.43, 0.30), (0.45, 0.30, 0.21), (0.30, 0.20, 0.14)]  # fmt: skip


class Gestures:
    """Clips of `size` (height, width).

    split: "train", "val" or "test"; no photograph of one is in another.  seed: another seed gives other clips.
    fps: lowest and highest rate, in frames a second.  left_hands: their share; the class is what the finger draws, with
    either hand.  Raises CourseError for what cannot be rendered.
    """

    def __init__(self, split="train", seed=0, size=(120, 160), fps=(10, 30), left_hands=0.2):
        if split not in SPLITS:
            raise CourseError(f'split is {split!r}; it has to be "train", "val" or "test".')
        if len(size) != 2 or min(size) < 32:
            raise CourseError(f"size is {tuple(size)}; it has to be (height, width), each 32 pixels or more.")
        if len(fps) != 2 or not 1 <= fps[0] <= fps[1]:
            raise CourseError(f"fps is {tuple(fps)}; it has to be (lowest, highest), 1 or more and in this order.")
        if not 0 <= left_hands <= 1:
            raise CourseError(f"left_hands is {left_hands}; it is a share and has to be from 0 to 1.")
        self.split, self.seed, self.size, self.fps, self.left_hands = split, seed, tuple(size), tuple(fps), left_hands

    def clip(self, i):
        """Clip number i -> GestureClip"""
        way, fps, times, known = self._motion(i)
        rng = self._dice(i, 1)
        frames = film(rng, way, fps, times, self.size, backdrop(rng, photographs(self.split), self.size))
        return GestureClip(frames, **known)

    def track(self, i):
        """Clip number i without frames -> GestureClip"""
        return GestureClip(None, **self._motion(i)[3])

    def batch(self, start, count):
        """Clips number start … start + count - 1, as a list: they differ in length."""
        return [self.clip(i) for i in range(start, start + count)]

    def tracks(self, start, count):
        """The same without frames."""
        return [self.track(i) for i in range(start, start + count)]

    def _dice(self, i, what):
        return np.random.default_rng([self.seed, SPLITS.index(self.split), int(i), what])

    def _motion(self, i):
        """What is known of a clip before it is drawn: Motion, fps, times of the frames, parts of the GestureClip."""
        label, rng = i % len(CLASSES), self._dice(i, 0)
        fps = rng.uniform(*self.fps)
        way = motion(rng, label, self.left_hands)
        times = np.arange(int(way.seconds * fps) + 1) / fps
        height, width = self.size
        place = torch.from_numpy(way.at(times) * [width, height] - 0.5).float()
        seen = ((place > -0.5) & (place < torch.tensor([width - 0.5, height - 0.5]))).all(1)
        if way.kind in ("hand", "empty"):  # no finger points
            seen[:] = False
        drawn = torch.from_numpy((times >= way.begin) & (times <= way.end))
        known = dict(
            track=place.where(seen[:, None], torch.nan),
            fps=fps,
            label=label,
            labels=torch.where(drawn, label, NONE),
            who=f"{self.split}-{self.seed}-{i}",
        )
        return way, fps, times, known


# What pictures are made of.


@functools.cache
def photographs(split):
    """(N, 288, 384, 3) uint8.  Every seventh photograph for training is kept for "val"."""
    bank = photo_bank("test" if split == "test" else "train")
    begin, height, width = bank.table[LEVEL].tolist()
    pictures = bank.texels[begin : begin + bank.count * height * width].view(bank.count, height, width, 4)[..., :3]
    kept = (torch.arange(bank.count) % 7 == 3) == (split == "val")
    return pictures if split == "test" else pictures[kept]


@functools.cache
def sprites():
    """Pose -> list of (sprite (4, h, w) float: normal's x and y, light, cover; finger tip's x and y in pixels)."""
    with open(data_path("hands", "sprites.tsv"), encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    sheet = torch.from_numpy(read("hands", "sprites.webp").copy()).float()
    sheet = sheet.view(len(rows), -1, *sheet.shape[1:]).permute(0, 3, 1, 2) / 255
    sheet[:, :2] = 1 - 2 * sheet[:, :2]
    sheet[:, 0] *= -1  # x to the right; y, up in the file, is down here
    sheet[:, 2] *= 255 / 200
    found = {}
    for row, sprite in zip(rows, sheet, strict=True):
        found.setdefault(row["pose"], []).append((sprite.contiguous(), (float(row["x"]), float(row["y"]))))
    return found


def blobs(rng, channels, size, cells):
    """Smooth noise of unit variance at its nodes, about `cells` of them across.  (channels, *size)"""
    rough = torch.from_numpy(rng.standard_normal((1, channels, cells * 3 // 4 + 2, cells + 2), np.float32))
    return F.interpolate(rough, size, mode="bilinear")[0]


def between(rng, low, high):
    """Evenly spread in its logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


# The hand.


def dressed_hand(rng, pose, left):
    """A sprite with skin, sleeve and light -> RGBA (4, h, w), colours multiplied by alpha; the finger tip in it."""
    choice = sprites()[pose]
    sprite, tip = choice[rng.integers(len(choice))]
    height, width = sprite.shape[1:]
    if left:
        sprite, tip = sprite.flip(2), (width - 1 - tip[0], tip[1])
    x, y, reached, cover = sprite
    x = -x if left else x
    z = (1 - x * x - y * y).clamp(min=0).sqrt()

    tone = rng.uniform(0, len(SKIN) - 1.001)
    skin = np.array(SKIN)[int(tone)] * (1 - tone % 1) + np.array(SKIN)[int(tone) + 1] * (tone % 1)
    skin = torch.tensor(skin * np.exp(rng.normal(0, 0.07, 3)), dtype=torch.float32)[:, None, None]
    mottled = 1 + rng.uniform(0, 0.08) * blobs(rng, 1, (height, width), 14) + rng.uniform(0, 0.07) * blobs(rng, 1, (height, width), 70)  # fmt: skip
    red = torch.tensor([1.0, 0.9, 0.88])[:, None, None]
    albedo = skin * mottled * torch.lerp(torch.ones(3, 1, 1), red, blobs(rng, 1, (height, width), 6).clamp(0, 1))
    row = torch.arange(height)[:, None] - 10 * (1 - z)  # a cuff is round
    if rng.random() < 0.4:
        start, cloth = WRIST + rng.uniform(2, 80), torch.tensor(rng.uniform(0.04, 0.95, 3), dtype=torch.float32)
        weave = 1 + 0.25 * rng.random() * torch.sin(row * rng.uniform(0.3, 2) + 3 * rng.random())
        sleeve = ((row - start) / 1.5).clamp(0, 1)
        hem = 1 - 0.6 * rng.random() * (1 - ((row - start) / 3 - 1).abs()).clamp(min=0)
        albedo = torch.lerp(albedo, cloth[:, None, None] * weave * hem, sleeve)
    elif rng.random() < 0.25:  # a watch, a bracelet
        start, wide = WRIST + rng.uniform(0, 30), between(rng, 2, 12)
        band = (1 - ((row - start).abs() - wide / 2)).clamp(0, 1)
        albedo = torch.lerp(albedo, torch.tensor(rng.random(3), dtype=torch.float32)[:, None, None], band)

    side, above = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.3)
    lamp = np.array([side, above, rng.uniform(0.35, 1.2)])
    lamp /= np.linalg.norm(lamp)
    cosine = (x * lamp[0] + y * lamp[1] + z * lamp[2]).clamp(min=0)
    ambient, sun = between(rng, 0.2, 0.8), between(rng, 0.25, 1.0)
    light = (ambient + sun * cosine) * torch.lerp(torch.ones_like(reached), reached, rng.uniform(0.5, 1.2))
    gloss = rng.uniform(0, 0.25) * cosine**12 * (torch.arange(height)[:, None] < WRIST + 2)
    rgb = (albedo * light + gloss) * between(rng, 0.55, 1.7)
    return torch.cat([rgb.clamp(0, 1.6) * cover, cover[None]]), tip


def postures(rng, way, times, tip, size):
    """Maps from the frame to the sprite, (…, 2, 3), for times (…) in seconds.

    The tip follows the way; the forearm comes from an elbow beyond the frame, more or less.
    """
    height, width = size
    side = -1 if way.left else 1
    place = way.at(times) * [width, height] - 0.5
    elbow = np.array([0.5 + side * rng.uniform(0.15, 0.9), rng.uniform(1.3, 2.3)]) * [width, height]
    lean = side * np.radians(np.clip(rng.normal(30, 20), -15, 80))
    swing = np.arctan2(*(elbow - place).T) - np.arctan2(*(elbow - np.array([0.5, 0.4]) * [width, height]))
    sway = rng.uniform(0.2, 1.0) * np.clip(swing.T, -0.7, 0.7)
    sway = sway + np.radians(rng.normal(0, 2.5)) * np.sin(2 * np.pi * (rng.uniform(0.1, 0.7) * times + rng.random()))
    turn = -(lean + sway)
    scale = between(rng, 0.2, 0.56) * width / REACH
    # Higher up the arm is stretched out: farther away, and seen more along its length.
    rise = place[..., 1] / height - 0.4
    scale = scale * (1 + rng.normal(0, 0.12) * rise)
    length = scale * between(rng, 0.85, 1.2) * (1 + rng.normal(0, 0.2) * rise)
    c, s = np.cos(turn), np.sin(turn)
    linear = np.stack([np.stack([c / scale, s / scale], -1), np.stack([-s / length, c / length], -1)], -2)
    shift = np.array(tip) - (linear * place[..., None, :]).sum(-1)
    return np.concatenate([linear, shift[..., None]], -1)


def aim(maps, picture):
    """Maps (…, 2, 3) from the frame's pixels to those of a picture (C, h, w) -> (…, 3, 2) as `lookup` wants them"""
    half = np.array(picture.shape[:0:-1]) / 2  # grid_sample counts from -1 at one border to 1 at the other
    middle = np.stack([[0, 0], [0, 0], half - 0.5], 1)
    return torch.from_numpy(((maps - middle) / half[:, None]).swapaxes(-1, -2)).float().contiguous()


def lookup(picture, aims, rows, columns):
    """Sample a picture (C, h, w) -> (n, C, rows, columns).  aims: (n, 3, 2); rows, columns: coordinates in the frame

    Below its last row a sprite goes on as it is there: the forearm.
    """
    x, y, at = aims[:, :, None, None].unbind(1)  # (n, 1, 1, 2) each
    grid = torch.addcmul(y * rows[:, None, None] + at, x, columns[:, None])
    return F.grid_sample(picture.expand(len(aims), -1, -1, -1), grid, padding_mode="border", align_corners=False)


def windows(maps, box, size):
    """Where in each frame a sprite can be seen: (T, n, 2, 3) -> (T, 4) first and last + 1 row, first and last + 1 column

    box: left, right and top of what it covers.
    """
    left, right, top = box
    corners = np.array([[left, top], [right, top], [left, 999], [right, 999]]).T
    corners = np.linalg.inv(maps[..., :2]) @ (corners - maps[..., 2:])  # (T, n, 2, 4)
    low, high = corners.min((1, 3)) - 1, corners.max((1, 3)) + 2
    limits = np.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]], 1)
    return limits.clip(0, np.repeat(size, 2)).astype(int)


# The backdrop.


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
    first, second = (torch.tensor(rng.uniform(0.05, 1) + rng.normal(0, 0.1, 3), dtype=torch.float32) for _ in range(2))
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    angle = rng.uniform(0, 2 * math.pi)
    fall = (0.5 + 0.4 * (math.cos(angle) * x + math.sin(angle) * y)) * between(rng, 0.1, 1)
    room = torch.lerp(first[:, None, None], second[:, None, None], fall)
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
        colour, other = (torch.tensor(rng.random(3), dtype=torch.float32)[:, None, None] for _ in range(2))
        if rng.random() < 0.3:  # as skin is
            colour = torch.tensor(SKIN[rng.integers(len(SKIN))])[:, None, None]
        kind, period = rng.integers(4), between(rng, 3, 30)
        if kind == 0:  # books
            spines = torch.from_numpy(rng.random((3, 1, 64), np.float32))
            colour = spines[:, :, ((x / period).long() + (x / (1.7 * period)).long()) % 64]
        elif kind == 1:  # a pattern
            waves = torch.sin(x * (2 * math.pi / period)) * torch.sin(y * (2 * math.pi / between(rng, 3, 30)))
            colour = torch.lerp(colour, other, (waves * 3).clamp(0, 1))
        room[:, top:bottom, left:right] = torch.lerp(part, colour.expand_as(part), rng.uniform(0.4, 1))
    return room


# The camera.


def film(rng, way, fps, times, size, scene):
    """All frames of a clip -> (T, H, W, 3) uint8"""
    height, width = size
    pose = {"hand": str(rng.choice(["open", "fist"]))}.get(way.kind, "point")
    hand, tip = dressed_hand(rng, pose, way.left)
    covered = hand[3] > 0.02
    box = (*(covered.any(0).nonzero()[[0, -1], 0] + torch.tensor([-1, 1])).tolist(), covered.any(1).nonzero()[0, 0].item() - 1)
    small, exposure = F.avg_pool2d(hand[None], 4)[0, 3:], rng.uniform(0.15, 1.0) / fps
    moments = times[:, None] + np.linspace(-0.5, 0.5, 8) * exposure
    poses = postures(rng, way, moments.clip(0, way.seconds), tip, size)
    travel = np.linalg.norm(np.diff(way.at(moments[:, [0, -1]]), axis=1)[:, 0] * [width, height], axis=1)
    if poses[0, 0, 0, :2] @ poses[0, 0, 0, :2] > 1.6**2:  # several texels fall on a pixel
        hand = F.avg_pool2d(hand[None], 2)[0]
        poses, box = poses / 2, tuple(side / 2 for side in box)
        poses[..., 2] -= 0.25
    head = aim(head_motion(rng, times, size)[:, None], scene)
    shadow = rng.choice([0, 1]) * rng.uniform(0.1, 0.6)
    cast = np.array([rng.uniform(-0.15, 0.15) * width, rng.uniform(-0.05, 0.2) * height])
    below = poses[:, 4:5].copy()
    below[..., 2] -= below[..., :2] @ cast
    camera = Camera(rng, times, size)
    seen = windows(poses, box, size).tolist()
    looks, below = (aim(part, hand) for part in (poses, below))
    y, x = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    frames = torch.empty(len(times), height, width, 3, dtype=torch.uint8)
    for t, (top, bottom, left, right) in enumerate(seen):
        frame = lookup(scene, head[t], y, x)[0]
        if shadow and way.kind != "empty":
            rough = lookup(small, below[t], y[::4] + 1.5, x[::4] + 1.5)
            frame *= 1 - shadow * F.interpolate(rough, size, mode="bilinear")[0]
        if top < bottom and left < right and way.kind != "empty":
            count = int(min(max(travel[t] / 1.8, 1), 6))  # sub-frames, where the tip moves far in one exposure
            chosen = looks[t, BLUR[count]]
            layer = lookup(hand, chosen, y[top:bottom], x[left:right]).mean(0)
            frame[:, top:bottom, left:right].mul_(1 - layer[3]).add_(layer[:3])
        frames[t] = camera.take(frame, t).permute(1, 2, 0)
    return frames


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

    def __init__(self, rng, times, size):
        height, width = size
        gain = between(rng, 0.55, 1.5) * np.ones(len(times))
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
        self.corners = rng.integers(0, [height, width], (len(times), 2)).tolist()
        curve = torch.linspace(0, 1, 256) ** between(rng, 0.65, 1.5)
        self.curve = (255 * (curve + rng.uniform(0, 0.25) * (curve * curve * (3 - 2 * curve) - curve))).round().byte().numpy()
        self.quality = int(rng.uniform(25, 85)) if rng.random() < 0.3 else None

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
        levels = frame.clamp_(0, 255).byte()
        levels = torch.from_numpy(self.curve[levels.numpy()])
        return decode_jpeg(encode_jpeg(levels, self.quality)) if self.quality else levels
