"""Augmentation as for FlowNet: other places, other light, and the flow goes with them.

    augment = Augment()
    pairs = augment(chairs.batch(step * 8, 8), torch.Generator().manual_seed(step))

Kinds and ranges are those of Dosovitskiy et al., *FlowNet*, ICCV 2015, section 4.3.  The paper calls the
relative transform between the frames small and gives no number; ours is a Gaussian.  So are the order of the
changes of light and the share of grey pairs ours.

Numbers are drawn from the generator given, on the CPU; pictures are computed where they are.  The noise comes
from the device's own generator, seeded by a number of the other: on a GPU it is another noise than on a CPU.
"""

import math
from dataclasses import dataclass

import torch

from cvdl.flow.data.affine import about, compose, invert, similarity

GREY = (0.299, 0.587, 0.114)  # weights of red, green, blue (ITU-R BT.601)


@dataclass(frozen=True)
class Augment:
    """Ranges of the random changes.  Called with Pairs and a CPU generator, it gives other Pairs."""

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

    def __call__(self, pairs, generator):
        first, second = self.cuts(len(pairs.flow), pairs.flow.shape[-2:], generator)
        return self.light(move(pairs, first, second, self.size), generator)

    def cuts(self, count, size, generator):
        """Where to cut frames 1 and 2 out: affine maps from the new to the old frame, two of (B, 2, 3) float64."""

        def uniform(low, high):
            return low + (high - low) * torch.rand(count, dtype=torch.float64, generator=generator)

        def gauss(*shape):
            return self.relative * torch.randn(*shape, dtype=torch.float64, generator=generator)

        width = size[1]
        old, new = (torch.tensor([s[1] - 1, s[0] - 1], dtype=torch.float64) / 2 for s in (size, self.size or size))
        shift = torch.stack([uniform(-1, 1), uniform(-1, 1)], -1) * self.translation * width
        turn = similarity(uniform(-1, 1) * math.radians(self.rotation), 1 / uniform(*self.scale))
        first = about(turn, new.expand(count, 2), old + shift)
        between = about(
            similarity(gauss(count), gauss(count).exp()), old.expand(count, 2), old + width * gauss(count, 2)
        )
        return first, compose(between, first)

    def light(self, pairs, generator):
        """Change both frames of a pair alike, then add noise to each."""
        images = torch.stack([pairs.image1, pairs.image2])  # (2, B, 3, H, W)
        count, device = images.shape[1], images.device

        def uniform(low, high, channels=1):
            drawn = low + (high - low) * torch.rand(count, channels, 1, 1, generator=generator)
            return drawn.to(device)

        colour = uniform(*(math.log(c) for c in self.colour), channels=3).exp()
        contrast, gamma, sigma = uniform(*self.contrast), uniform(*self.gamma), uniform(0, self.noise)
        brightness = (self.brightness * torch.randn(count, 1, 1, 1, generator=generator)).to(device)
        grey = uniform(0, 1) < self.grey
        seed = int(torch.randint(2**31, (), generator=generator))
        noise = torch.randn(images.shape, device=device, generator=torch.Generator(device).manual_seed(seed))

        weights = torch.tensor(GREY, device=device)[:, None, None]
        images = torch.where(grey, (images * weights).sum(2, keepdim=True), images * colour)
        middle = images.mean((0, 2, 3, 4), keepdim=True)
        images = middle + (1 + contrast) * (images - middle) + brightness
        images = images.clamp(0, 1) ** gamma
        grain = torch.where(grey, noise[:, :, :1], noise)
        images = (images + sigma * grain).clamp(0, 1)
        return pairs._replace(image1=images[0], image2=images[1])


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
