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
from numbers import Real

import numpy as np
import torch
import torch.nn.functional as F

from cvdl.data.arguments import check_number, check_size, check_split, check_whole, is_pair, shown
from cvdl.data.textures import read
from cvdl.errors import InvalidInput
from cvdl.gesture.camera import SKIN, Camera, backdrop, between, blobs, head_motion, photographs
from cvdl.gesture.clip import CLASSES, NONE, GestureClip
from cvdl.gesture.strokes import motion
from cvdl.settings import data_path

SPLITS = ("train", "val", "test")
PARTS = ("hand", "arm", "backdrop", "camera")  # of a clip, besides the way of its finger
FIXED = 3  # dice of those that do not vary: a bare arm before a plain wall, in good light
REACH = 95  # pixels from the wrist to the tip of a finger that points across the line of sight
WRIST = (79.5, 116)  # x, y of the wrist in every sprite
BLUR = [np.linspace(0, 7, count + 2)[1:-1].round().astype(int) for count in range(7)]  # of 8 moments of an exposure


class Gestures:
    """Clips of `size` (height, width).

    split: "train", "val" or "test"; no photograph of one is in another.  seed: another seed gives other clips.
    fps: lowest and highest rate, in frames a second.  left_hands: their share; the class is what the finger draws, with
    either hand.  fixed: which of PARTS are alike in all clips, to see what their variety is worth.  Raises InvalidInput for
    what cannot be rendered.
    """

    def __init__(self, split="train", seed=0, size=(120, 160), fps=(10, 30), left_hands=0.2, fixed=()):
        self.split, self.seed = check_split(split, SPLITS), check_whole(seed, "seed")
        self.size = check_size(size, least=32)
        if not is_pair(fps, Real) or not 1 <= fps[0] <= fps[1] < np.inf:
            raise InvalidInput(
                f"fps is {shown(fps)}; it must be (lowest, highest), two numbers from 1 on in this order."
            )
        self.fps, self.left_hands = tuple(fps), check_number(left_hands, "left_hands, a share,", 0, 1)
        if isinstance(fixed, str) or not set(fixed) <= set(PARTS):
            raise InvalidInput(f"fixed is {fixed!r}; it must be a tuple of parts of a clip, out of {', '.join(PARTS)}.")
        self.fixed = tuple(fixed)

    def clip(self, i):
        """Clip number i -> GestureClip"""
        way, fps, times, known = self._motion(i)
        return GestureClip(self._film(i, way, fps, times, range(len(times))), **known)

    def stills(self, i, chosen):
        """Frames of clip number i -> (n, H, W, 3) uint8.  chosen: their n numbers; only they are rendered."""
        way, fps, times, _ = self._motion(i)
        if not all(0 <= t < len(times) for t in chosen):
            raise InvalidInput(f"chosen is {chosen}; clip {i} has the frames 0 to {len(times) - 1}.")
        return self._film(i, way, fps, times, chosen)

    def track(self, i):
        """Clip number i without frames -> GestureClip"""
        return GestureClip(None, **self._motion(i)[3])

    def batch(self, start, count):
        """Clips number start … start + count - 1, as a list: they differ in length."""
        return [self.clip(i) for i in range(start, start + count)]

    def tracks(self, start, count):
        """The same without frames."""
        return [self.track(i) for i in range(start, start + count)]

    def _film(self, i, way, fps, times, chosen):
        every = self._dice(i, 1)
        dice = {part: np.random.default_rng(FIXED) if part in self.fixed else every for part in PARTS}
        scene = backdrop(dice["backdrop"], photographs(self.split), self.size)
        return film(dice, way, fps, times, self.size, scene, chosen)

    def _dice(self, i, what):
        return np.random.default_rng([self.seed, SPLITS.index(self.split), int(i), what])

    def _motion(self, i):
        """What is known of a clip before it is drawn: Motion, fps, times of the frames, parts of the GestureClip."""
        label, rng = check_whole(i, "The number of a clip") % len(CLASSES), self._dice(i, 0)
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


# The hand.


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


def dressed_hand(rng, pose, left):
    """A sprite with skin, sleeve and light -> RGBA (4, h, w), colours multiplied by alpha; the finger tip in it."""
    choice = sprites()[pose]
    # People stretch the finger: the more of it a sprite shows, the more often it is taken.
    share = np.array([max(WRIST[1] - y, 20) for _, (_, y) in choice]) ** 2.0
    sprite, tip = choice[rng.choice(len(choice), p=share / share.sum())]
    height, width = sprite.shape[1:]
    if left:
        sprite, tip = sprite.flip(2), (width - 1 - tip[0], tip[1])
    x, y, reached, cover = sprite
    x = -x if left else x
    z = (1 - x * x - y * y).clamp(min=0).sqrt()

    tone = rng.uniform(0, len(SKIN) - 1.001)
    skin = np.array(SKIN)[int(tone)] * (1 - tone % 1) + np.array(SKIN)[int(tone) + 1] * (tone % 1)
    skin = torch.tensor(skin * np.exp(rng.normal(0, 0.07, 3)), dtype=torch.float32)[:, None, None]
    coarse, middling, fine = (blobs(rng, 1, (height, width), cells) for cells in (6, 14, 70))
    mottled = 1 + rng.uniform(0, 0.08) * middling + rng.uniform(0, 0.07) * fine
    redder = 1 - coarse.clamp(0, 1) * torch.tensor([0.0, 0.1, 0.12])[:, None, None]
    albedo = skin * mottled * redder
    row = torch.arange(height)[:, None] - 10 * (1 - z)  # a cuff is round
    if rng.random() < 0.4:
        start, cloth = WRIST[1] + rng.uniform(2, 80), torch.tensor(rng.uniform(0.04, 0.95, 3), dtype=torch.float32)
        weave = 1 + 0.25 * rng.random() * torch.sin(row * rng.uniform(0.3, 2) + 3 * rng.random())
        sleeve = ((row - start) / 1.5).clamp(0, 1)
        hem = 1 - 0.6 * rng.random() * (1 - ((row - start) / 3 - 1).abs()).clamp(min=0)
        albedo = torch.lerp(albedo, cloth[:, None, None] * weave * hem, sleeve)
    elif rng.random() < 0.25:  # a watch, a bracelet
        start, wide = WRIST[1] + rng.uniform(0, 30), between(rng, 2, 12)
        band = (1 - ((row - start).abs() - wide / 2)).clamp(0, 1)
        albedo = torch.lerp(albedo, torch.tensor(rng.random(3), dtype=torch.float32)[:, None, None], band)

    side, above = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.3)
    lamp = np.array([side, above, rng.uniform(0.35, 1.2)])
    lamp /= np.linalg.norm(lamp)
    cosine = (x * lamp[0] + y * lamp[1] + z * lamp[2]).clamp(min=0)
    ambient, sun = between(rng, 0.2, 0.8), between(rng, 0.25, 1.0)
    light = (ambient + sun * cosine) * torch.lerp(torch.ones_like(reached), reached, rng.uniform(0.5, 1.2))
    gloss = rng.uniform(0, 0.25) * cosine**12 * (torch.arange(height)[:, None] < WRIST[1] + 2)
    rgb = (albedo * light + gloss) * between(rng, 0.6, 2.3)
    return torch.cat([rgb.clamp(0, 1.6) * cover, cover[None]]), tip


def postures(rng, way, times, tip, size):
    """Maps from the frame to the sprite, (…, 2, 3), for times (…) in seconds.

    The tip follows the way; the forearm comes from an elbow beyond the frame, more or less.
    """
    height, width = size
    side = -1 if way.left else 1
    place = way.at(times) * [width, height] - 0.5
    elbow = np.array([0.5 + side * rng.uniform(0.15, 0.9), rng.uniform(1.3, 2.3)]) * [width, height]
    # The finger points up or, with a right hand, to the left; the hand turns about the wrist against the forearm.
    bend = np.arctan2(tip[0] - WRIST[0], WRIST[1] - tip[1])
    lean = side * np.radians(np.clip(rng.normal(18, 18), -20, 65)) + bend
    swing = np.arctan2(*(elbow - place).T) - np.arctan2(*(elbow - np.array([0.5, 0.4]) * [width, height]))
    sway = rng.uniform(0.2, 1.0) * np.clip(swing.T, -0.7, 0.7)
    sway = sway + np.radians(rng.normal(0, 2.5)) * np.sin(2 * np.pi * (rng.uniform(0.1, 0.7) * times + rng.random()))
    turn = -(lean + sway)
    scale = between(rng, 0.24, 0.58) * width / (REACH + max(WRIST[1] - tip[1], 40)) * 2
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


# The film.


def film(dice, way, fps, times, size, scene, chosen):
    """Frames of a clip -> (n, H, W, 3) uint8.  dice: part -> rng; chosen: their numbers among the times."""
    height, width = size
    pose = {"hand": str(dice["hand"].choice(["open", "fist"]))}.get(way.kind, "point")
    hand, tip = dressed_hand(dice["hand"], pose, way.left)
    covered = hand[3] > 0.02
    columns, rows = (covered.any(axis).nonzero()[:, 0].tolist() for axis in (0, 1))
    box = columns[0] - 1, columns[-1] + 1, rows[0] - 1
    small, exposure = F.avg_pool2d(hand[None], 4)[0, 3:], dice["camera"].uniform(0.15, 1.0) / fps
    moments = times[:, None] + np.linspace(-0.5, 0.5, 8) * exposure
    poses = postures(dice["arm"], way, moments.clip(0, way.seconds), tip, size)
    travel = np.linalg.norm(np.diff(way.at(moments[:, [0, -1]]), axis=1)[:, 0] * [width, height], axis=1)
    if poses[0, 0, 0, :2] @ poses[0, 0, 0, :2] > 1.6**2:  # several texels fall on a pixel
        hand = F.avg_pool2d(hand[None], 2)[0]
        poses, box = poses / 2, tuple(side / 2 for side in box)
        poses[..., 2] -= 0.25
    head = aim(head_motion(dice["backdrop"], times, size)[:, None], scene)
    rng = dice["hand"]
    shadow = rng.choice([0, 1]) * rng.uniform(0.1, 0.6)
    cast = np.array([rng.uniform(-0.15, 0.15) * width, rng.uniform(-0.05, 0.2) * height])
    below = poses[:, 4:5].copy()
    below[..., 2] -= below[..., :2] @ cast
    camera = Camera(dice["camera"], times, size, scene.mean().item())
    seen = windows(poses, box, size).tolist()
    looks, below = (aim(part, hand) for part in (poses, below))
    y, x = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    frames = torch.empty(len(chosen), height, width, 3, dtype=torch.uint8)
    for taken, t in zip(frames, map(int, chosen), strict=True):
        top, bottom, left, right = seen[t]
        frame = lookup(scene, head[t], y, x)[0]
        if shadow and way.kind != "empty":
            rough = lookup(small, below[t], y[::4] + 1.5, x[::4] + 1.5)
            frame *= 1 - shadow * F.interpolate(rough, size, mode="bilinear")[0]
        if top < bottom and left < right and way.kind != "empty":
            count = int(min(max(travel[t] / 1.8, 1), 6))  # sub-frames, where the tip moves far in one exposure
            chosen = looks[t, BLUR[count]]
            layer = lookup(hand, chosen, y[top:bottom], x[left:right]).mean(0)
            frame[:, top:bottom, left:right].mul_(1 - layer[3]).add_(layer[:3])
        taken[:] = camera.take(frame, t).permute(1, 2, 0)
    return frames
