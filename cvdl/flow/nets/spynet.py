"""SPyNet: a small network at each level of an image pyramid.

Ranjan and Black, *Optical Flow Estimation using a Spatial Pyramid Network*, CVPR 2017, arXiv 1611.00850.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.errors import CourseError
from cvdl.flow.nets.base import FlowNet
from cvdl.flow.warp import warp

# Of ImageNet, with which the paper normalises: red, green, blue.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SPyNet(FlowNet):
    """`levels` networks G_0 … G_4 of 240,050 parameters each, the coarsest first.

    Level k sees images reduced by 2^(levels - 1 - k), so 24 × 32 … 384 × 512 for the paper's frames.  The paper's
    equations 1 and 2, all in pixels of the level:

        V_k = u(V_{k-1}) + G_k(I1_k, w(I2_k, u(V_{k-1})), u(V_{k-1})),    V_{-1} = 0

    with u the upsampling to twice the size *and twice the values*, and w the backward warping.
    """

    def __init__(self, levels=5):
        super().__init__()
        if levels < 1:
            raise CourseError(f"SPyNet has at least one level, not {levels}. The paper has 5.")
        self.levels = nn.ModuleList(level() for _ in range(levels))
        self.multiple = 2 ** (levels - 1)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def options(self):
        return {"levels": len(self.levels)}

    def flows(self, image1, image2):
        flows = self.climb(self.normalise(image1), self.normalise(image2), len(self.levels))
        return [flow * 2**k for k, flow in enumerate(reversed(flows))]

    def climb(self, image1, image2, count):
        """The first `count` levels, on normalised images of the size of the last of them -> V_0 … V_{count-1}."""
        flows = []
        for net, first, second in zip(self.levels, pyramid(image1, count), pyramid(image2, count), strict=False):
            below = upsample(flows[-1]) if flows else torch.zeros_like(first[:, :2])
            flows.append(below + net(torch.cat([first, warp(second, below), below], dim=1)))
        return flows

    @torch.no_grad()
    def task(self, image1, image2, k):
        """What level k sees: both images at its size (B, 3, h, w), the second warped, and the flow from below.

        image1, image2: at the size of level k, too.  The level learns to add what is missing to that flow.
        """
        first, second = self.normalise(image1), self.normalise(image2)
        below = torch.zeros_like(first[:, :2])
        if k:
            below = upsample(self.climb(F.avg_pool2d(first, 2), F.avg_pool2d(second, 2), k)[-1])
        return first, warp(second, below), below

    def normalise(self, image):
        return (image - self.mean) / self.deviation


def pyramid(image, count):
    """Means of 2 × 2 again and again; coarsest first, the image itself last."""
    images = [image]
    for _ in range(count - 1):
        images.append(F.avg_pool2d(images[-1], 2))
    return images[::-1]


def level():
    """One G_k: (B, 8, h, w) -> (B, 2, h, w).  Each of its five layers looks 3 pixels further: 15 in all."""
    sides = (8, 32, 64, 32, 16, 2)
    layers = [nn.Conv2d(i, o, 7, padding=3) for i, o in pairwise(sides)]
    return nn.Sequential(*(part for layer in layers[:-1] for part in (layer, nn.ReLU())), layers[-1])


def upsample(flow):
    """To twice the size: a motion of 1 px is one of 2 px there.  (B, 2, h, w) -> (B, 2, 2h, 2w)"""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)
