"""Our FlyingChairs: chairs that fly over photographs, as many pairs as one wants, and their exact flow.

    chairs = Chairs(size=(128, 192), split="train", seed=0, device="cuda")
    pairs = chairs.batch(0, 8)  # pairs 0 … 7; pair i is always the same
    pairs.image1.shape, pairs.flow.shape  # (8, 3, 128, 192), (8, 2, 128, 192)

After Dosovitskiy et al., *FlowNet*, ICCV 2015, section 4: a photograph as background, rendered chairs before
it, and a random affine motion for each; a chair moves with the background and besides by itself.  Translations
are powers of a Gaussian: most are small, a few are large.  The numbers below are ours, of that kind.
Photographs and chairs are other ones than theirs, and free (data/README.md); the test split shares none with
the training split.

Dice are thrown on the CPU, for each pair by its own generator; pictures are made on `device`.  A scene is a
stack of *layers*.  Each knows an affine map from frame 1 to its texture and one from frame 1 to frame 2, and a
frame is drawn from back to front by looking up, for each pixel, where it lies in the texture.
"""

import math
from typing import NamedTuple

import torch

from cvdl.data.arguments import check_counts, check_number, check_size, check_split, check_whole
from cvdl.data.textures import LEVELS, chair_bank, photo_bank
from cvdl.flow.data.affine import about, compose, invert, similarity
from cvdl.flow.data.random_numbers import draw_uniform, heavy, normal

FULL = (384, 512)  # FlyingChairs' height and width; lengths are given for it and shrink with the frame
CHAIRS = (8, 16)  # fewest and most in a scene
SIZE = dict(mean=220.0, spread=140.0, least=60.0, most=420.0)  # of a chair's picture, in pixels
DICE = 20  # for each layer


class FlowBatch(NamedTuple):
    """A batch of B pairs.  Flows are in pixels: x to the right, y down."""

    image1: torch.Tensor  # (B, 3, H, W) in [0, 1]
    image2: torch.Tensor  # (B, 3, H, W)
    flow: torch.Tensor  # (B, 2, H, W), from frame 1 to frame 2
    valid: torch.Tensor  # (B, 1, H, W) bool: the flow is known; here everywhere
    occlusion: torch.Tensor  # (B, 1, H, W) bool: the point of frame 1 is covered or outside in frame 2
    backward: torch.Tensor  # (B, 2, H, W), from frame 2 to frame 1
    estimates: tuple = ()  # flows (B, 2, H, W) that networks predicted, for networks that refine them

    def images_only(self):
        """The same pairs without ground truth: None in its place."""
        return FlowBatch(self.image1, self.image2, None, None, None, None)


class Scene(NamedTuple):
    """Layers of B pairs, back to front, the photograph first: L = 1 + most chairs."""

    present: torch.Tensor  # (B, L) bool: there are not equally many chairs in each
    texture: torch.Tensor  # (B, L) long
    level: torch.Tensor  # (B, L) long: the texture's size, such that about one texel falls on a pixel
    tint: torch.Tensor  # (B, L, 3), factors on red, green, blue
    pose: torch.Tensor  # (B, L, 2, 3) float64: affine map from frame 1 to the full-size texture
    motion: torch.Tensor  # (B, L, 2, 3) float64: affine map from frame 1 to frame 2
    corner: torch.Tensor  # (B, 2) long: x, y of the window's first pixel


class Chairs:
    """Pairs of frames of `size` (height, width).

    split: "train" or "test".  seed: another seed gives other pairs.  chairs: fewest and most in a scene.
    motion: factor on all motions, for easier or harder pairs; with 0 nothing moves.
    even: instead of the paper's many small motions and few large ones, the photograph and the chairs each move in any
    direction by any length up to `even` pixels (times `motion`), all equally frequent; with 0 they only turn and stretch.
    window: (height, width) of a part of the frame, somewhere else in each pair; only it is drawn.  So one trains on
    small pictures with the motions and chairs of the large frame.
    varied: the background is one of the photographs or a procedural texture, all equally likely.

    Raises InvalidInput, a ValueError, for what cannot be rendered.
    """

    def __init__(
        self,
        size=FULL,
        split="train",
        seed=0,
        device="cpu",
        chairs=CHAIRS,
        motion=1.0,
        window=None,
        even=None,
        varied=False,
    ):
        self.size, self.window, self.split = seen(size, split, window)
        self.seed, self.chairs = check_whole(seed, "seed"), check_counts(chairs, "chairs")
        self.motion = check_number(motion, "motion")
        self.even = None if even is None else check_number(even, "even")
        self.device = torch.device(device)
        photos = photo_bank(split, varied=True) if varied else photo_bank(split)
        self.photos, self.sprites = photos.to(self.device), chair_bank(split).to(self.device)

    def batch(self, start, count):
        """Pairs number start … start + count - 1."""
        return self.pairs(range(start, start + count))

    def pairs(self, indices):
        """Pairs of these numbers, in this order."""
        return render(self.photos, self.sprites, self.scene(indices), self.window)

    def scene(self, indices):
        """What is to be seen in pairs of these numbers, by the dice alone."""
        dice = draw_uniform((self.seed, self.split == "test"), indices, 1 + self.chairs[1], DICE)
        return arrange(dice, self.size, self.photos, self.sprites, self.chairs, self.motion, self.window, self.even)


def seen(size, split, window):
    """-> size; the part of it that is drawn, `window` or all of it; split.  Raises InvalidInput for what cannot be rendered."""
    check_split(split)
    size = check_size(size)
    return size, size if window is None else check_size(window, "window", within=size), split


# Dice -> scene.


def arrange(dice, size, photos, sprites, chairs, motion, window, even=None):
    """dice: (B, L, DICE) float64, uniform in [0, 1) -> Scene.  In double precision, to be the same in any batch."""
    scale = math.sqrt(math.prod(size) / math.prod(FULL))
    (texture, number, x, y, extent, roll, flip, shine, red, green, blue), moves = dice.unbind(-1)[:11], dice[..., 11:]
    height, width = size
    back = torch.arange(dice.shape[1]) == 0

    # Texels per pixel.  The frame shows between a quarter and the whole of the photograph.
    whole = min(photos.size[0] / height, photos.size[1] / width)
    extent_chair = (SIZE["mean"] + SIZE["spread"] * normal(extent)).clamp(SIZE["least"], SIZE["most"]) * scale
    density = torch.where(back, whole * 2 ** (extent - 1), sprites.size[0] / extent_chair)
    # A chair's centre is anywhere in the frame; the photograph's is where the frame does not leave it.
    frame = torch.tensor([width, height], dtype=dice.dtype)
    texture_size = torch.where(back[:, None], torch.tensor(photos.size[::-1]), torch.tensor(sprites.size[::-1]))
    place = torch.stack([x, y], -1)
    centre = torch.where(back[:, None], frame / 2, place * frame) - 0.5
    slack = texture_size - frame * density[..., None]
    anchor = texture_size / 2 + torch.where(back[:, None], (place - 0.5) * slack, 0) - 0.5
    turn = torch.deg2rad(torch.where(back, 10, 20) * (2 * roll - 1))
    linear = similarity(turn, density)
    linear[..., 0, :] *= torch.where(flip < 0.5, -1, 1)[..., None]
    pose = about(linear, centre, anchor)

    own = move(moves, centre, scale, motion, even)
    chair_motion = compose(own[:, :1], own) if even is None else own  # with the background, and by itself
    most = chairs[1] - chairs[0] + 1
    present = torch.arange(dice.shape[1]) <= chairs[0] + (number[:, :1] * most).floor()
    room = torch.tensor([width - window[1], height - window[0]])
    tint = torch.exp((2 * shine - 1) * 0.4)[..., None] * torch.exp((2 * torch.stack([red, green, blue], -1) - 1) * 0.25)
    return Scene(
        present=present,
        texture=(texture * torch.where(back, photos.count, sprites.count)).long(),
        level=torch.ceil(density.log2() - 0.3).clamp(0, LEVELS - 1).long(),
        tint=torch.where(back[:, None], 1, tint).float(),
        pose=pose,
        motion=torch.where(back[:, None, None], own, chair_motion),
        corner=(torch.stack([red, green], -1)[:, 0] * (room + 1)).long(),  # the photograph needs no tint
    )


def move(dice, centre, scale, strength, even=None):
    """An affine motion about `centre`: (…, 9) dice, (…, 2) -> (…, 2, 3)."""
    x, y, turns, turn, zooms, zoom, squeezes, squeeze, along = dice.unbind(-1)
    if even is not None:
        direction = torch.stack([torch.cos(2 * math.pi * y), torch.sin(2 * math.pi * y)], -1)
        shift = strength * even * x[..., None] * direction
    else:
        shift = torch.stack([heavy(x, 1.0, 4, 40), heavy(y, 1.0, 4, 40)], -1) * scale * strength
    turn = torch.where(turns < 0.3, torch.deg2rad(heavy(turn, 1.0, 2, 10) * strength), 0)
    zoom = torch.where(zooms < 0.3, torch.exp((0.03 * normal(zoom)).clamp(-0.07, 0.07) * strength), 1)
    squeeze = torch.where(squeezes < 0.3, torch.exp((0.01 * normal(squeeze)).clamp(-0.03, 0.03) * strength), 1)
    # Longer by `squeeze` along one direction, shorter by it across.
    mean, half = (squeeze + 1 / squeeze) / 2, (squeeze - 1 / squeeze) / 2
    c, s = half * torch.cos(2 * math.pi * along), half * torch.sin(2 * math.pi * along)
    stretch = torch.stack([torch.stack([mean + c, s], -1), torch.stack([s, mean - c], -1)], -2)
    return about(similarity(turn, zoom) @ stretch, centre, centre + shift)


# Scene -> pictures.


def render(photos, sprites, scene, size):
    """Draw the window of this size in both frames of all pairs, layer by layer -> Pairs on the textures' device."""
    device, (height, width) = photos.texels.device, size
    B, L = scene.texture.shape
    back_home = invert(scene.motion)
    poses = torch.cat([scene.pose, compose(scene.pose, back_home)]).float().to(device)  # (2B, L, 2, 3)
    texture, level, tint = (torch.cat([part, part]).to(device) for part in scene[1:4])
    present = torch.cat([scene.present, scene.present]).to(device)
    x, y = pixels(scene.corner.repeat(2, 1).to(device), size)

    canvas = torch.zeros(2 * B * height * width, 3, device=device)
    owner = torch.zeros(2 * B * height * width, dtype=torch.long, device=device)
    for layer in range(L):
        p = poses[:, layer, :, :, None, None]  # (2B, 2, 3, 1, 1)
        u, v = (p[:, i, 0] * x + (p[:, i, 1] * y + p[:, i, 2]) for i in (0, 1))  # (2B, H, W) in texels
        bank = sprites if layer else photos
        inside = present[:, layer, None, None].expand_as(u)
        if layer:
            h, w = bank.size
            inside = inside & (u >= 0) & (u <= w - 1) & (v >= 0) & (v <= h - 1)
        pixel = inside.flatten().nonzero()[:, 0]
        picture = pixel // (height * width)  # 0 … 2B - 1
        rgba = bank.sample(texture[picture, layer], level[picture, layer], u.flatten()[pixel], v.flatten()[pixel])
        alpha = rgba[:, 3:]
        colour = torch.minimum(rgba[:, :3] * tint[picture, layer], alpha)
        canvas[pixel] = colour + (1 - alpha) * canvas[pixel]
        owner[pixel[alpha[:, 0] > 0.5]] = layer

    image1, image2 = canvas.view(2, B, height, width, 3).permute(0, 1, 4, 2, 3)
    owner1, owner2 = owner.view(2, B, height, width)
    x, y = x[:B], y[:B]
    flow, backward = (flow_of(m.to(device), o, x, y) for m, o in ((scene.motion, owner1), (back_home, owner2)))
    occlusion = hidden(flow, owner1, owner2)
    return FlowBatch(image1.contiguous(), image2.contiguous(), flow, torch.ones_like(occlusion), occlusion, backward)


def pixels(corner, size):
    """Coordinates in the frame of a window's pixels: (B, 2) -> x (B, 1, W), y (B, H, 1) float32"""
    y, x = (torch.arange(n, device=corner.device, dtype=torch.float32) for n in size)
    return x + corner[:, :1, None], y[:, None] + corner[:, 1:, None]


def flow_of(motion, owner, x, y):
    """Each pixel moves with its layer.  motion: (B, L, 2, 3), owner: (B, H, W) -> (B, 2, H, W) float32"""
    rest = torch.eye(2, 3, dtype=motion.dtype, device=motion.device)
    change = (motion - rest).float()[torch.arange(len(owner), device=owner.device)[:, None, None], owner]
    change = change.movedim(-1, 0)  # (3, B, H, W, 2)
    return (change[0] * x[..., None] + change[1] * y[..., None] + change[2]).permute(0, 3, 1, 2).contiguous()


def hidden(flow, owner1, owner2):
    """Where frame 2 shows another layer, or nothing, at the place to which a pixel goes.  bool (B, 1, H, W)"""
    _, height, width = owner1.shape
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    column, row = x.round().long().clamp(0, width - 1), y.round().long().clamp(0, height - 1)
    seen = owner2.flatten(1).gather(1, (row * width + column).flatten(1)).view_as(owner1)
    return (outside | (seen != owner1))[:, None]
