"""SPyNet: a small network at each level of an image pyramid.

Ranjan and Black, *Optical Flow Estimation using a Spatial Pyramid Network*, CVPR 2017, arXiv 1611.00850.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.errors import InvalidInput
from cvdl.flow.models.base import FlowModel, resize
from cvdl.flow.models.published import load_renamed, read_tensors
from cvdl.flow.warp import warp

# Of ImageNet, with which the paper normalises: red, green, blue.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# How published files name layer i of level k, 0 2 4 6 8 of 0 … 8; j counts convolutions only, 0 … 4.
LAYOUTS = (
    "moduleBasic.{k}.moduleBasic.{i}",  # github.com/sniklaus/pytorch-spynet, in its files
    "netBasic.{k}.netBasic.{i}",  # the same, in its network
    "basic_module.{k}.basic_module.{i}",  # github.com/XPixelGroup/BasicSR
    "basic_module.{k}.basic_module.{j}.conv",  # github.com/open-mmlab/mmagic, once mmediting
)


class SPyNet(FlowModel):
    """`levels` networks G_0 … G_4 of 240,050 parameters each, the coarsest first.

    Level k sees images reduced by 2^(levels - 1 - k), so 24 × 32 … 384 × 512 for the paper's frames.  The paper's
    equations 1 and 2, all in pixels of the level:

        V_k = u(V_{k-1}) + G_k(I1_k, w(I2_k, u(V_{k-1})), u(V_{k-1})),    V_{-1} = 0

    with u the upsampling to twice the size *and twice the values*, and w the backward warping.

    published=True computes as the authors' code does (github.com/anuragranj/spynet: spynet.lua, extras/), for weights
    that were trained with it:
    - u puts corner on corner, where ours puts edge on edge: centres of pixels and not their borders;
    - level 0 sees images of at most 32 pixels, so the finest levels rest unless a side is over 2^(levels - 2) · 32;
    - in eval mode images are not padded but resized to sides divisible by 2^(levels - 1), and the flow back.

    `active` is the number of levels in use, the coarsest first: all of them, but training begins with fewer.
    """

    def __init__(self, levels=5, published=False):
        super().__init__()
        if levels < 1:
            raise InvalidInput(f"SPyNet has at least one level, not {levels}. The paper has 5.")
        self.levels = nn.ModuleList(basic_module() for _ in range(levels))
        self.published = published
        self.active = levels
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def options(self):
        return {"levels": len(self.levels)} | ({"published": True} if self.published else {})

    @classmethod
    def load_published(cls, path):
        """The authors' weights out of a file of the common PyTorch port, or of BasicSR or mmagic: six levels, eval mode.

        path: a torch or safetensors file, such as network-sintel-final.pytorch of github.com/sniklaus/pytorch-spynet.
        Its licence is the authors': for research that is not commercial.  All of these networks see red, green, blue
        (the port reads blue, green, red, and turns them round inside), normalised as here: weights stay as they are.

        What is computed is the authors' flow, as by the port up to its revision e3b6b3c.  From 066636a on it looks up
        flow · W / (W - 1), flow · H / (H - 1).  BasicSR and mmagic have all six levels at work at every size.

        Raises CourseError for a file that is absent, damaged, or another network's.
        """
        tensors, net = read_tensors(path), cls(6, published=True)
        names = max(
            (published_names(layout, 6) for layout in LAYOUTS), key=lambda names: len(names.keys() & tensors.keys())
        )
        if not names.keys() & tensors.keys():
            came = ", ".join(list(tensors)[:3]) or "nothing"
            raise InvalidInput(
                f"{path} holds no published SPyNet: its 60 tensors are called {next(iter(names))} and so on, or as "
                f"BasicSR's or mmagic's are; here are {came}. Of the common PyTorch port, it is network-*.pytorch."
            )
        return load_renamed(net, tensors, names, path).eval()

    def forward(self, image1, image2):
        if self.training or not self.published:
            return super().forward(image1, image2)
        image1, image2 = self.checked(image1, image2)
        H, W = image1.shape[-2:]
        h, w = H + -H % self.multiple, W + -W % self.multiple
        flow = super().forward(resize(image1, (h, w)), resize(image2, (h, w)))
        return resize(flow, (H, W)) * flow.new_tensor([W / w, H / h])[:, None, None]

    def flows(self, image1, image2):
        flows = self.coarse_to_fine(
            self.normalise(image1), self.normalise(image2), self.levels_in_use(*image1.shape[-2:])
        )
        return [flow * 2**k for k, flow in enumerate(reversed(flows))]

    def levels_in_use(self, H, W):
        """How many levels work on images of that size, counted from the coarsest."""
        halvings = ((int(max(H, W)) - 1) // 32).bit_length()  # until both sides are 32 or less
        return min(len(self.levels), 1 + halvings) if self.published else self.active

    @property
    def multiple(self):
        return 2 ** (self.active - 1)

    @property
    def reduce(self):
        return 2 ** (len(self.levels) - self.active)

    def coarse_to_fine(self, image1, image2, count):
        """The first `count` levels, on normalised images of the size of the last of them -> V_0 … V_{count-1}."""
        flows = []
        for net, first, second in zip(self.levels[:count], pyramid(image1, count), pyramid(image2, count), strict=True):
            below = upsample(flows[-1], self.published) if flows else torch.zeros_like(first[:, :2])
            flows.append(below + net(level_input(first, second, below)))
        return flows

    def normalise(self, image):
        return (image - self.mean) / self.deviation


def level_input(image1, image2, flow):
    """What a level sees: image 1, image 2 warped by the flow so far, and that flow.  -> (B, 8, h, w)"""
    return torch.cat([image1, warp(image2, flow), flow], dim=1)


def pyramid(image, count):
    """Means of 2 × 2 again and again; coarsest first, the image itself last."""
    images = [image]
    for _ in range(count - 1):
        images.append(F.avg_pool2d(images[-1], 2))
    return images[::-1]


def basic_module():
    """One G_k: (B, 8, h, w) -> (B, 2, h, w).  Each of its five layers looks 3 pixels further: 15 in all."""
    sides = (8, 32, 64, 32, 16, 2)
    layers = [nn.Conv2d(i, o, 7, padding=3) for i, o in pairwise(sides)]
    return nn.Sequential(*(part for layer in layers[:-1] for part in (layer, nn.ReLU())), layers[-1])


def upsample(flow, align_corners=False):
    """To twice the size: a motion of 1 px is one of 2 px there.  (B, 2, h, w) -> (B, 2, 2h, 2w)"""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=align_corners)


def published_names(layout, levels):
    """{name in the file: name here} of all weights and biases."""
    return {
        f"{layout.format(k=k, i=i, j=i // 2)}.{part}": f"levels.{k}.{i}.{part}"
        for k in range(levels)
        for i in (0, 2, 4, 6, 8)
        for part in ("weight", "bias")
    }
