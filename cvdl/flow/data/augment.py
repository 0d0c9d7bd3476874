"""Augmentation as for FlowNet: other places, other light, and the flow goes with them.

    augment = Augment()
    pairs = augment(chairs.batch(0, 8), range(8))  # pair i is always changed in the same way

Kinds and ranges are those of Dosovitskiy et al., *FlowNet*, ICCV 2015, section 4.3.  The paper calls the
relative transform between the frames small and gives no number; ours is a Gaussian.  So are the order of the
changes of light and the share of grey pairs ours.

Dice are thrown on the CPU, for each pair by its own generator; pictures are computed where they are.  The noise
comes from the device's own generator, seeded by one of the dice: on a GPU it is another noise than on a CPU.
"""

import math
from dataclasses import dataclass

import torch

from cvdl.flow.data.affine import about, compose, invert, similarity
from cvdl.flow.data.arguments import check_size, check_whole
from cvdl.flow.data.dice import normal, throw

GREY = (0.299, 0.587, 0.114)  # weights of red, green, blue (ITU-R BT.601)
PLACE, LIGHT = 8, 9  # dice for a pair
AUGMENT = 2  # makes these dice others than those of the scenes


@dataclass(frozen=True)
class Augment:
    """Ranges of the random changes.  Called with Pairs and their numbers, it gives other Pairs."""

    size: tuple | None = None  # height and width of what comes out; None: as it comes in
    translation: float = 0.2  # both ways, in widths of the frame
    rotation: float = 17.0  # degrees, both ways
    scale: tuple = (0.9, 2.0)
    relative: float = 0.01  # standard deviation: in widths, in radians, and of log(scale)
    noise: float = 0.04  # greatest standard deviation
    contrast: tuple = (-0.8, 0.4)
    colour: tuple = (0.5, 2.0)  # factor on each channel
    gamma: tuple = (0.7, 1.5)
    brightness: float = 0.2  # standard deviation
    grey: float = 0.1  # share of pairs that lose their colours
    places: bool = True  # False: only the light changes
    seed: int = 0

    def __post_init__(self):
        check_whole(self.seed, "seed")
        if self.size is not None:
            check_size(self.size, least=1)

    def __call__(self, pairs, indices):
        dice = throw((self.seed, AUGMENT), indices, PLACE + LIGHT)
        if self.places:
            pairs = move(pairs, *self.cuts(dice[:, :PLACE], pairs.flow.shape[-2:]), self.size)
        return self.light(pairs, dice[:, PLACE:])

    def cuts(self, dice, size):
        """Where to cut frames 1 and 2 out.

        dice: (B, PLACE) in [0, 1) -> affine maps from the new to the old frame, two of (B, 2, 3) float64.
        """
        x, y, turn, scale, *small = dice.unbind(1)
        width = size[1]
        old, new = (torch.tensor([s[1] - 1, s[0] - 1], dtype=torch.float64) / 2 for s in (size, self.size or size))
        shift = (2 * torch.stack([x, y], -1) - 1) * self.translation * width
        turned = similarity((2 * turn - 1) * math.radians(self.rotation), 1 / between(scale, *self.scale))
        first = about(turned, new.expand(len(dice), 2), old + shift)
        turn, scale, x, y = (self.relative * normal(each) for each in small)
        relative = about(similarity(turn, scale.exp()), old.expand(len(dice), 2), old + width * torch.stack([x, y], -1))
        return first, compose(relative, first)

    def light(self, pairs, dice):
        """Change both frames of a pair alike, then add noise to each.  dice: (B, LIGHT) in [0, 1)"""
        images = torch.stack([pairs.image1, pairs.image2])  # (2, B, 3, H, W)
        device = images.device
        noise = torch.stack([grain(each, images[:, 0], device) for each in dice[:, 0].tolist()], 1)
        each = dice.float()[..., None, None].to(device)  # (B, LIGHT, 1, 1)
        colour = between(each[:, 1:4], *(math.log(c) for c in self.colour)).exp()
        contrast, gamma, sigma = (
            between(each[:, i : i + 1], *ends)
            for i, ends in ((4, self.contrast), (5, self.gamma), (6, (0, self.noise)))
        )
        brightness, grey = self.brightness * normal(each[:, 7:8]), each[:, 8:9] < self.grey

        weights = torch.tensor(GREY, device=device)[:, None, None]
        images = torch.where(grey, (images * weights).sum(2, keepdim=True), images * colour)
        middle = images.mean((0, 2, 3, 4), keepdim=True)
        images = middle + (1 + contrast) * (images - middle) + brightness
        images = images.clamp(0, 1) ** gamma
        images = (images + sigma * torch.where(grey, noise[:, :, :1], noise)).clamp(0, 1)
        return pairs._replace(image1=images[0], image2=images[1])


def between(uniform, low, high):
    return low + (high - low) * uniform


def grain(die, images, device):
    """Standard normal noise for both frames of a pair, (2, 3, H, W), by a die in [0, 1)."""
    generator = torch.Generator(device).manual_seed(int(die * 2**53))
    return torch.randn(images.shape, device=device, generator=generator)


def move(pairs, first, second, size=None):
    """See each frame through its own affine map, and the flow as it is then.

    first, second: (B, 2, 3), from the new to the old frame 1 and 2.  size: (height, width) of the new frames.
    With p the old place of a new pixel x, what goes to p + flow(p) in the old frame 2 goes to
    second⁻¹(p + flow(p)) in the new one.  What comes from outside the old frame is black, and not valid;
    `backward` is zero there.
    """
    size = size or pairs.flow.shape[-2:]
    x1, y1 = places(first, size, pairs.flow)
    x2, y2 = places(second, size, pairs.flow)
    known1, known2 = inside(x1, y1, pairs.flow), inside(x2, y2, pairs.flow)
    flow, x, y = carry(pairs.flow, x1, y1, second)
    backward, _, _ = carry(pairs.backward, x2, y2, first)
    # A point is not to be seen if it leaves the new frame 2, or lands where that is black.
    seen = inside(x, y, flow) & nearest(known2, x, y)
    return pairs._replace(
        image1=bilinear(pairs.image1, x1, y1) * known1,
        image2=bilinear(pairs.image2, x2, y2) * known2,
        flow=flow * known1,
        valid=nearest(pairs.valid, x1, y1) & known1,
        occlusion=nearest(pairs.occlusion, x1, y1) | ~seen,
        backward=backward * known2,
    )


def places(affine, size, like):
    """Where the pixels of a frame of this size go: x, y, each (B, 1, H, W), as `like` in device and precision."""
    (a, b, c), (d, e, f) = (row.unbind(1) for row in affine.to(like)[..., None, None, None].unbind(1))
    x = torch.arange(size[1], device=like.device, dtype=like.dtype)
    y = torch.arange(size[0], device=like.device, dtype=like.dtype)[:, None]
    return a * x + b * y + c, d * x + e * y + f


def carry(flow, x, y, target):
    """The flow at old places (x, y), as it is when `target` leads from the new to the old target frame.

    -> the new flow, and the new places x, y to which it leads.  Between pixels of one layer it is interpolated;
    where layers meet (the neighbours disagree) the nearest pixel's counts.
    """
    exact, smooth = nearest(flow, x, y), bilinear(flow, x, y)
    old = torch.where((exact - smooth).abs().amax(1, keepdim=True) > 0.5, exact, smooth)
    (a, b, c), (d, e, f) = (row.unbind(1) for row in invert(target).to(flow)[..., None, None, None].unbind(1))
    x, y = x + old[:, :1], y + old[:, 1:]
    x, y = a * x + b * y + c, d * x + e * y + f
    column = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
    row = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)[:, None]
    return torch.cat([x - column, y - row], 1), x, y


def inside(x, y, frame):
    """Is a place in the frame?  bool, shaped as x; to a hundredth of a pixel, for rounding."""
    height, width = frame.shape[-2:]
    return (x > -0.01) & (x < width - 0.99) & (y > -0.01) & (y < height - 0.99)


def nearest(image, x, y):
    """image: (B, C, H, W), x, y: (B, 1, h, w) -> its nearest pixels (B, C, h, w)."""
    height, width = image.shape[-2:]
    index = y.round().long().clamp(0, height - 1) * width + x.round().long().clamp(0, width - 1)
    return image.flatten(2).gather(2, index.flatten(2).expand(-1, image.shape[1], -1)).unflatten(2, x.shape[-2:])


def bilinear(image, x, y):
    """As `nearest`, between four pixels.  (`warp` does the same for a flow of the image's own size.)"""
    left, top = x.floor(), y.floor()
    right_share, lower_share = x - left, y - top
    upper, lower = (
        torch.lerp(nearest(image, left, row), nearest(image, left + 1, row), right_share) for row in (top, top + 1)
    )
    return torch.lerp(upper, lower, lower_share)
