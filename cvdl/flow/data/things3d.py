"""Our FlyingThings3D: solids that fly through a room before a moving camera, in true 3D, with their exact flow.

    things = Things(size=(128, 192), split="train", seed=0, device="cuda")
    pairs = things.batch(0, 8)  # pairs 0 … 7; pair i is always the same
    views = things.views(range(8))  # the same, and depth, and what frame 1 hides of frame 2

After Mayer et al., *A large dataset to train convolutional networks for disparity, optical flow, and scene flow
estimation*, CVPR 2016, section 4: many textured things on random ways in space, and a camera that moves as well.
The numbers (scene3d.py) are ours.  Boxes, ellipsoids and cylinders, some at rest and some flying and spinning, are in a
room; photographs are on all of them.  The test split shares no photograph with the training split (data/README.md).

As with FlyingThings3D there are two passes.  *Clean*: textures and soft light.  *Final*: hard light, fog, and
motion blur, over a time about each frame; the flow is the same, from the middle of one exposure to that of the other.

Dice are thrown on the CPU, for each pair by its own generator, and the poses computed there in double precision;
pictures are made on `device`.  World coordinates are those of the camera half-way between the frames: x to the
right, y down, z ahead.  The frames are at times -1/2 and 1/2.
"""

from typing import NamedTuple

import torch

from cvdl.data.arguments import check_counts, check_number, check_whole
from cvdl.data.textures import LEVELS, photo_bank
from cvdl.flow.data import solids
from cvdl.flow.data.chairs import FULL, FlowBatch, seen
from cvdl.flow.data.random_numbers import draw_uniform
from cvdl.flow.data.scene3d import DICE, arrange, columns, follow, look

THINGS = (8, 16)  # fewest and most in a scene
FRAMES = (-0.5, 0.5)  # when they are taken
# The final pass looks five times at each frame: when, in exposure times, and how far beside the pixel's centre.
LOOKS = ((-0.4, -0.4, -0.2), (-0.2, -0.2, 0.4), (0.0, 0.0, 0.0), (0.2, 0.2, -0.4), (0.4, 0.4, 0.2))


class Views(NamedTuple):
    """A batch of B pairs and their depth: `Pairs`, and more."""

    image1: torch.Tensor  # (B, 3, H, W) in [0, 1]
    image2: torch.Tensor  # (B, 3, H, W)
    flow: torch.Tensor  # (B, 2, H, W), from frame 1 to frame 2
    valid: torch.Tensor  # (B, 1, H, W) bool: the flow is known; here everywhere
    occlusion: torch.Tensor  # (B, 1, H, W) bool: the point of frame 1 is covered, turned away or outside in frame 2
    backward: torch.Tensor  # (B, 2, H, W), from frame 2 to frame 1
    occlusion_back: torch.Tensor  # (B, 1, H, W) bool: the point of frame 2 is not to be seen in frame 1
    depth1: torch.Tensor  # (B, 1, H, W), along the optical axis; rooms are 10 to 40 wide
    depth2: torch.Tensor  # (B, 1, H, W)


class Things:
    """Pairs of frames of `size` (height, width).

    split: "train" or "test".  seed: another seed gives other pairs.  things: fewest and most in a scene.
    motion: factor on all motions, for easier or harder pairs; with 0 nothing moves.
    final: with fog, hard light and motion blur.  All that is known of the scene is the same without.
    window: (height, width) of a part of the frame, somewhere else in each pair; only it is drawn.
    varied: surfaces show the photographs and procedural textures, all equally likely.

    Raises InvalidInput, a ValueError, for what cannot be rendered.
    """

    def __init__(
        self,
        size=FULL,
        split="train",
        seed=0,
        device="cpu",
        things=THINGS,
        motion=1.0,
        final=False,
        window=None,
        varied=False,
    ):
        self.size, self.window, self.split = seen(size, split, window)
        self.seed, self.things = check_whole(seed, "seed"), check_counts(things, "things")
        self.motion, self.final, self.device = check_number(motion, "motion"), final, torch.device(device)
        photos = photo_bank(split, varied=True) if varied else photo_bank(split)
        self.photos = photos.to(self.device)

    def batch(self, start, count):
        """Pairs number start … start + count - 1."""
        return self.pairs(range(start, start + count))

    def pairs(self, indices):
        """Pairs of these numbers, in this order."""
        return FlowBatch(*self.views(indices)[:6])

    def views(self, indices):
        """The same with depth, and with occlusion in both directions."""
        return render(self.photos, self.scene(indices), self.window, self.final)

    def scene(self, indices):
        """What is to be seen in pairs of these numbers, by the dice alone."""
        dice = draw_uniform((self.seed, self.split == "test"), indices, 2 + self.things[1], DICE)
        return arrange(dice, self.size, self.photos, self.things, self.motion, self.window)


# Scene -> pictures.


def render(photos, scene, size, final=False):
    """Draw the window of this size in both frames of all pairs -> Views on the device of the photographs."""
    device, (height, width), (B, L) = photos.texels.device, size, scene.present.shape
    view, light = join([look(scene, when, size) for when in FRAMES], device)
    depth, body = solids.see(view, size)
    index, x, y = pixels(body, L, size)
    origin, ray = solids.aim(view, index, x, y)
    surface = solids.touch(solids.kind(body), origin, ray, depth)

    moves = torch.cat([follow(scene, *FRAMES), follow(scene, *FRAMES[::-1])], 1).to(device)
    flow, depth_there = displacement(moves.index_select(1, index), depth, x, y)
    occlusion = solids.hidden(view, body, surface, x + flow[0], y + flow[1], depth_there, size)

    paints = Paints(photos, scene)
    if final:
        colours = expose(paints, scene, size)
    else:
        colours = paints.colour(index, surface, ray, depth, light, final)
        solids.soften(colours, view, body, surface, size)
    image1, image2 = colours.view(2, B, height, width, 3).permute(0, 1, 4, 2, 3).contiguous()
    flow, backward = flow.view(2, 2, B, height, width).permute(1, 2, 0, 3, 4).contiguous()
    (occlusion, back), (depth1, depth2) = (part.view(2, B, 1, height, width) for part in (occlusion, depth))
    return Views(image1, image2, flow, torch.ones_like(occlusion), occlusion, backward, back, depth1, depth2)


def expose(paints, scene, size):
    """The mean of several looks at each frame while its exposure lasts, at other places within the pixels."""
    total = 0
    for moment, *beside in LOOKS:
        looks = [look(scene, frame + moment * scene.exposure[:, None, None], size, beside) for frame in FRAMES]
        view, light = join(looks, paints.table.device)
        depth, body = solids.see(view, size)
        index, x, y = pixels(body, scene.present.shape[1], size)
        origin, ray = solids.aim(view, index, x, y)
        surface = solids.touch(solids.kind(body), origin, ray, depth)
        total = total + paints.colour(index, surface, ray, depth, light, final=True) / len(LOOKS)
    return total


def join(looks, device):
    """Frames 1 of all pairs, then frames 2."""
    views, lights = zip(*looks, strict=True)
    origin, rays = (torch.cat(part, 1).to(device) for part in list(zip(*views, strict=True))[:2])
    return solids.View(origin, rays, torch.cat([view.boxes for view in views])), torch.cat(lights, 1).to(device)


def pixels(body, bodies, size):
    """For each pixel of all pictures, flattened: the column of its body in tables, x, and y."""
    height, width = size
    x, y = (torch.arange(n, device=body.device) for n in (width, height))
    first = torch.arange(0, len(body) // (height * width) * bodies, bodies, device=body.device)
    shape = (len(first), height, width)
    index = (first[:, None, None] + body.view(shape)).flatten()
    return index, x.float().expand(shape).flatten(), y.float()[:, None].expand(shape).flatten()


def displacement(moves, depth, x, y):
    """How pixels move.  moves: (12, n), columns of `follow` -> (2, n) in pixels, and the depth (n,) where they go"""
    a, b, c, d, e, f, g, h, i, right, down, ahead = moves
    farther = depth * (g * x + h * y + i) + ahead
    u = depth * (a * x + b * y + c) + right - x * farther
    v = depth * (d * x + e * y + f) + down - y * farther
    return torch.stack([u, v]) / (depth + farther), depth + farther


class Paints:
    """What bodies are made of, twice: for frames 1 and frames 2."""

    def __init__(self, photos, scene):
        density = scene.density[..., None]
        parts = [1 / scene.half, scene.half * density, scene.offset, scene.tint, scene.paint]
        parts += [density / scene.focal[:, None, None], scene.fog[:, None].expand(-1, density.shape[1], -1)]
        self.photos, device = photos, photos.texels.device
        self.table = columns(torch.cat(parts, -1)).repeat(1, 2).to(device)
        self.texture = scene.texture.flatten().repeat(2).to(device)

    def colour(self, index, surface, ray, depth, light, final):
        """Colours of n pixels whose bodies have these columns in tables.  -> (n, 3)"""
        inverse, scale, offset, tint, paint, (grain, *fog) = self.table.index_select(1, index).split([3] * 5 + [5])
        # Normals of the unit shape, made those of the stretched one.
        normal = surface.normal * inverse
        length = solids.dot(normal, normal).sqrt()
        # A pixel sees the more texels the farther away and the more oblique a surface is.
        slant = solids.dot(surface.normal, ray).abs() / length
        texels = grain * depth / slant.clamp(min=0.05).sqrt()
        level = sum((texels > 1.25 * 2**k).long() for k in range(LEVELS - 1))
        x, y, z = surface.place * scale + offset
        u, v = z.where(surface.side, x), z.where(surface.top, y)
        side = torch.where(surface.side, 0, torch.where(surface.top, 1, 2))
        rgb = self.photos.sample(self.texture[3 * index + side], level, u, v)[:, :3]

        cosine = solids.dot(normal, light.index_select(1, index)) / length
        dim, sun = (0.6, 0.65 * cosine.clamp(min=0)) if final else (0.95, 0.2 * cosine)
        rgb = ((rgb * tint.T + paint.T) * (dim + sun)[:, None]).clamp(max=1)
        if final:
            thick, *mist = fog
            rgb = torch.lerp(torch.stack(mist, 1), rgb, torch.exp(-thick * depth)[:, None])
        return rgb
