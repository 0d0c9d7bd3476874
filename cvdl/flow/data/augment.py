"""Augmentation for optical flow: geometric and photometric changes of a batch of pairs, and the flow that results.

    augment = Augment(crop=(256, 320))
    pairs = augment(chairs.batch(0, 8), range(8))  # pair i always gets the same augmentation

The kinds and ranges follow Dosovitskiy et al., *FlowNet*, ICCV 2015, section 4.3.  The paper describes the relative
transform between the frames as small and gives no number; we sample it from a Gaussian.  Flips and blur were added, and the
order of the photometric changes and the share of grey pairs are our choice.

Random numbers are drawn on the CPU with one generator per pair; images are processed on the device where they are.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from cvdl.data.arguments import check_size, check_whole
from cvdl.data.pictures import GREY
from cvdl.errors import InvalidInput
from cvdl.flow.data.affine import about, compose, invert, similarity
from cvdl.flow.data.random_numbers import draw_uniform, normal

GEOMETRIC, PHOTOMETRIC = 10, 12  # random numbers per pair
STREAM = 2  # separates these random numbers from those of the scenes
NOISE = 1 << 22  # length of the table of noise
BLUR = 2  # pixels on each side that the blur looks at


@dataclass(frozen=True)
class Augment:
    """Ranges of the random changes.  Calling it with Pairs and their indices returns the augmented Pairs.

    Ground truth that is absent (None) stays absent.  The background that enters at the border is black and not valid.
    """

    crop: tuple | None = None  # (height, width) of the output; None: that of the input
    translation: float = 0.2  # largest shift of both frames, in image widths
    rotation: float = 17.0  # largest rotation of both frames, in degrees
    scale: tuple = (0.9, 2.0)  # zoom of both frames
    relative: float = 0.01  # standard deviation between the frames: in image widths, in radians, and of log(scale)
    flip: tuple = (0.5, 0.1)  # probability of a horizontal and a vertical flip
    noise: float = 0.04  # largest standard deviation
    contrast: tuple = (-0.8, 0.4)
    colour: tuple = (0.5, 2.0)  # factor on each channel
    gamma: tuple = (0.7, 1.5)
    brightness: float = 0.2  # standard deviation
    grey: float = 0.1  # probability that a pair loses its colours
    blur: float = 0.1  # probability that a pair is blurred, with a standard deviation of up to 1.2 px
    geometric: bool = True  # False: photometric changes only
    photometric: bool = True  # False: geometric changes only
    seed: int = 0

    def __post_init__(self):
        check_whole(self.seed, "seed")
        if self.crop is not None:
            check_size(self.crop, "crop", least=1)
            if not self.geometric:
                raise InvalidInput(
                    "A crop is a geometric change: without these (geometric=False) it must be crop=None."
                )

    def __call__(self, pairs, indices):
        uniform = draw_uniform((self.seed, STREAM), indices, GEOMETRIC + PHOTOMETRIC)
        if self.geometric:
            pairs = transform(pairs, *self.maps(uniform[:, :GEOMETRIC], pairs.flow.shape[-2:]), self.crop)
        elif self.photometric:  # the arguments stay unchanged
            pairs = pairs._replace(image1=pairs.image1.clone(), image2=pairs.image2.clone())
        return self.change_light(pairs, uniform[:, GEOMETRIC:]) if self.photometric else pairs

    def maps(self, uniform, size):
        """Sample the geometric change of each frame.

        Args:
            uniform: (B, GEOMETRIC) in [0, 1).
            size: (height, width) of the input.

        Returns:
            Affine maps from output to input coordinates, for frames 1 and 2, each (B, 2, 3) float64.
        """
        x, y, turn, scale, *small, across, down = uniform.unbind(1)
        width = size[1]
        old, new = (torch.tensor([s[1] - 1, s[0] - 1], dtype=torch.float64) / 2 for s in (size, self.crop or size))
        shift = (2 * torch.stack([x, y], -1) - 1) * self.translation * width
        turned = similarity((2 * turn - 1) * math.radians(self.rotation), 1 / between(scale, *self.scale))
        flips = (torch.where(u < share, -1.0, 1.0) for u, share in zip((across, down), self.flip, strict=True))
        turned = turned * torch.stack(list(flips), -1)[:, None]
        first = about(turned, new.expand(len(uniform), 2), old + shift)
        turn, scale, x, y = (self.relative * normal(each) for each in small)
        relative = about(
            similarity(turn, scale.exp()), old.expand(len(uniform), 2), old + width * torch.stack([x, y], -1)
        )
        return first, compose(relative, first)

    def change_light(self, pairs, uniform):
        """Change both frames of a pair in the same way, then add different noise to each, in place.

        uniform: (B, PHOTOMETRIC) in [0, 1).
        """
        images = pairs.image1, pairs.image2
        sigma = torch.where(uniform[:, 9] < self.blur, 0.4 + 0.8 * uniform[:, 10], 0.0)
        grey = uniform[:, 8] < self.grey
        each = uniform.float().to(images[0].device)[..., None, None, None]  # (B, PHOTOMETRIC, 1, 1, 1)
        colour = between(each[:, 1:4, 0], *(math.log(c) for c in self.colour)).exp()  # (B, 3, 1, 1)
        contrast, gamma, noise = (
            between(each[:, i], *ends) for i, ends in ((4, self.contrast), (5, self.gamma), (6, (0, self.noise)))
        )
        brightness = self.brightness * normal(each[:, 7])
        colour = torch.where(grey.to(colour.device)[:, None, None, None], 1.0, colour)
        weights = colour.new_tensor(GREY)[:, None, None]
        for image in images:
            for i in sigma.nonzero()[:, 0].tolist():
                image[i] = blurred(image[i], sigma[i])
            image.mul_(colour)
            for i in grey.nonzero()[:, 0].tolist():
                image[i] = (image[i] * weights).sum(0, keepdim=True)
        middle = sum(image.mean((1, 2, 3), keepdim=True) for image in images) / 2
        for image in images:
            image.mul_(1 + contrast).add_(brightness - contrast * middle).clamp_(0, 1)
            image.log_().mul_(gamma).exp_()  # to the power of gamma, in half of pow's time
        if self.noise:
            for i, begin in enumerate(uniform[:, 0].tolist()):
                for image, grain in zip(images, grains(images[0][i], begin, bool(grey[i])), strict=True):
                    image[i].addcmul_(grain, noise[i])
            for image in images:
                image.clamp_(0, 1)
        return pairs


def between(uniform, low, high):
    return low + (high - low) * uniform


@functools.cache
def noise_table(device):
    """Standard normal noise, the same on every device; drawing that many numbers for each pair would cost too much."""
    return torch.randn(NOISE, generator=torch.Generator().manual_seed(0)).to(device)


def grains(image, begin, grey):
    """Noise for both frames of a pair, (2, 3, H, W); (2, 1, H, W) for grey ones.

    Args:
        image: a frame (3, H, W), for its size and device.
        begin: in [0, 1), where in the table the noise is read.
    """
    table, shape = noise_table(image.device), (2, 1 if grey else 3, *image.shape[-2:])
    count = math.prod(shape)
    first = int(begin * NOISE)
    if first + count <= NOISE:
        return table[first : first + count].view(shape)
    return table[(first + torch.arange(count, device=table.device)) % NOISE].view(shape)


def blurred(image, sigma):
    """A frame (3, H, W) after a Gaussian blur with standard deviation sigma."""
    x = torch.arange(-BLUR, BLUR + 1)
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    for axis, pad in ((-1, (BLUR, BLUR, 0, 0)), (-2, (0, 0, BLUR, BLUR))):
        padded, side = F.pad(image[None], pad, mode="replicate")[0], image.shape[axis]
        image = sum(w * padded.narrow(axis, k, side) for k, w in enumerate(weights))
    return image


def transform(pairs, first, second, size=None):
    """Show each frame under its own affine map, with the flow that results.

    With p the input position of an output pixel x, the point that moves to p + flow(p) in the input's frame 2 is at
    second⁻¹(p + flow(p)) in the output.  What comes from outside the input is black and not valid; `backward` is zero
    there.

    Args:
        pairs: Pairs with a flow; `backward` and `occlusion` may be None, and `valid` too: everything is valid then.
        first, second: (B, 2, 3) affine maps from output to input coordinates, for frames 1 and 2.
        size: (height, width) of the output.
    """
    size = size or pairs.flow.shape[-2:]
    x1, y1 = positions(first, size, pairs.flow)
    x2, y2 = positions(second, size, pairs.flow)
    known1, known2 = inside(x1, y1, pairs.flow), inside(x2, y2, pairs.flow)
    grid1, grid2 = (sampling_grid(x, y, pairs.flow) for x, y in ((x1, y1), (x2, y2)))
    flow, x, y = transform_flow(pairs.flow, x1, y1, grid1, second)
    valid = known1 if pairs.valid is None else nearest(pairs.valid, x1, y1) & known1
    occlusion = backward = None
    if pairs.occlusion is not None:  # also hidden: what leaves the new frame 2, or arrives where that is black
        arrives = inside(x, y, flow) & nearest(known2, x, y)
        occlusion = nearest(pairs.occlusion, x1, y1) | ~arrives
    if pairs.backward is not None:
        backward = transform_flow(pairs.backward, x2, y2, grid2, first)[0] * known2
    return pairs._replace(
        image1=sample(pairs.image1, grid1).mul_(known1),
        image2=sample(pairs.image2, grid2).mul_(known2),
        flow=flow.mul_(known1),
        valid=valid,
        occlusion=occlusion,
        backward=backward,
        estimates=tuple(transform_flow(each, x1, y1, grid1, second)[0] * known1 for each in pairs.estimates),
    )


def positions(affine, size, like):
    """Where the pixels of a frame of this size are in the input: x, y, each (B, 1, H, W); device and dtype of `like`."""
    (a, b, c), (d, e, f) = (row.unbind(1) for row in affine.to(like)[..., None, None, None].unbind(1))
    x = torch.arange(size[1], device=like.device, dtype=like.dtype)
    y = torch.arange(size[0], device=like.device, dtype=like.dtype)[:, None]
    return a * x + (b * y + c), d * x + (e * y + f)


def transform_flow(flow, x, y, grid, target):
    """The flow at input positions (x, y), whose sampling grid is `grid`, when `target` maps from the output to the input of the other frame.

    Between pixels of one object the flow is interpolated; at motion boundaries, where neighbours differ by more than
    half a pixel, the nearest one counts.

    Returns:
        The flow in the output's pixels, and the positions x, y in the output to which it points.
    """
    exact, smooth = sample(flow, grid, "nearest"), sample(flow, grid)
    old = torch.where((exact - smooth).abs().amax(1, keepdim=True) > 0.5, exact, smooth)
    (a, b, c), (d, e, f) = (row.unbind(1) for row in invert(target).to(flow)[..., None, None, None].unbind(1))
    x, y = x + old[:, :1], y + old[:, 1:]
    x, y = a * x + b * y + c, d * x + e * y + f
    column = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
    row = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)[:, None]
    return torch.cat([x - column, y - row], 1), x, y


def inside(x, y, frame):
    """Whether a position is in the frame, up to a hundredth of a pixel of rounding: bool, shaped like x."""
    height, width = frame.shape[-2:]
    return (x > -0.01) & (x < width - 0.99) & (y > -0.01) & (y < height - 0.99)


def nearest(image, x, y):
    """image: (B, C, H, W) of any type, x, y: (B, 1, h, w) -> its nearest pixels (B, C, h, w)."""
    height, width = image.shape[-2:]
    index = y.round().long().clamp(0, height - 1) * width + x.round().long().clamp(0, width - 1)
    return image.flatten(2).gather(2, index.flatten(2).expand(-1, image.shape[1], -1)).unflatten(2, x.shape[-2:])


def sampling_grid(x, y, frame):
    """Positions (B, 1, h, w) in a frame as `sample` takes them: (B, h, w, 2), from -1 to 1 between the outermost pixels."""
    height, width = frame.shape[-2:]
    return torch.cat([x * (2 / max(1, width - 1)) - 1, y * (2 / max(1, height - 1)) - 1], 1).permute(0, 2, 3, 1)


def sample(image, grid, mode="bilinear"):
    """image: (B, C, H, W), grid: (B, h, w, 2) -> pixels (B, C, h, w); outside, the border is repeated."""
    return F.grid_sample(image, grid, mode, "border", align_corners=True)
