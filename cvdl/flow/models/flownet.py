"""FlowNetS and FlowNetC.

Dosovitskiy et al., *FlowNet: Learning Optical Flow with Convolutional Networks*, ICCV 2015, arXiv 1504.06852; the
layers as in the released networks, which have conv6_1 besides the paper's figure.  Weights of others come in by
`load_published` (cvdl.flow.models.ported), which says how the codes differ.
"""

import torch
from torch import nn

from cvdl.errors import InvalidInput
from cvdl.flow.correlation import correlation
from cvdl.flow.models.base import FLOW_SCALE, FlowModel

MEAN = (0.45, 0.432, 0.411)  # about that of photographs, red, green, blue
LEVELS = ((5, 512, 512), (4, 512, 256), (3, 256, 128), (2, 128, 64))  # of the decoder: k, channels of skip and deconv


def conv(inside, outside, kernel=3, stride=1):
    """Convolution and leaky ReLU; at stride 2 the output is half as high and wide."""
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, kernel // 2), nn.LeakyReLU(0.1))


def deconv(inside, outside):
    """Up-convolution to twice the size, and leaky ReLU."""
    return nn.Sequential(nn.ConvTranspose2d(inside, outside, 4, 2, 1), nn.LeakyReLU(0.1))


def predict_flow(inside):
    return nn.Conv2d(inside, 2, 3, padding=1)


class Refinement(nn.Module):
    """The decoder: from 1/64 to 1/4 of the size, each flow predicted from [encoder, up-convolution, coarser flow]."""

    def __init__(self, c, bias, inter=False, top=1024, levels=LEVELS):
        """c: function that scales numbers of channels; bias: of the layers that enlarge a flow; inter: a linear
        convolution before each prediction, which smooths it (FlowNet 2.0's networks for small motions)."""
        super().__init__()
        self.levels, self.inter = [k for k, _, _ in levels], inter
        inside = c(top)
        self.add_module(f"predict_flow{self.levels[0] + 1}", predict_flow(inside))
        for k, skip, up in levels:
            self.add_module(f"deconv{k}", deconv(inside, c(up)))
            self.add_module(f"upsampled_flow{k + 1}_to_{k}", nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias))
            inside = c(skip) + c(up) + 2
            if inter:
                self.add_module(f"inter_conv{k}", nn.Conv2d(inside, c(up), 3, padding=1))
            self.add_module(f"predict_flow{k}", predict_flow(c(up) if inter else inside))

    def forward(self, *maps):
        """Features, finest first, such as those at 1/4 … 1/64 -> flows of these sizes, in the units of the weights."""
        layer = self.get_submodule
        *skips, features = maps
        flows = [layer(f"predict_flow{self.levels[0] + 1}")(features)]
        for k, skip in zip(self.levels, reversed(skips), strict=True):
            up, flow = layer(f"deconv{k}")(features), layer(f"upsampled_flow{k + 1}_to_{k}")(flows[-1])
            features = torch.cat([skip, up, flow], dim=1)
            smooth = layer(f"inter_conv{k}")(features) if self.inter else features
            flows.append(layer(f"predict_flow{k}")(smooth))
        return flows[::-1]


class LectureRefinement(nn.Module):
    """A decoder with exactly the weights that the lecture's table counts: 17,457,928.

    Up-convolutions 5 × 5 of [features, coarser flow] without bias, predictions 1 × 1 with bias, and no skips.  The
    coarsest flow, at 1/64, is zero; so there are four predictions, at 1/32 … 1/4, and a loss takes WEIGHTS[:4].  The
    table (SPyNet's paper has it, too) gives sums only: that this is the network behind them is our reading.
    """

    def __init__(self, c):
        super().__init__()
        inside = c(1024)
        for k, _, up in LEVELS:
            up_conv = nn.ConvTranspose2d(inside + 2, c(up), 5, 2, 2, output_padding=1, bias=False)
            self.add_module(f"deconv{k}", nn.Sequential(up_conv, nn.LeakyReLU(0.1)))
            self.add_module(f"predict_flow{k}", nn.Conv2d(c(up), 2, 1))
            inside = c(up)

    def forward(self, *maps):
        """Features, of which only the coarsest, 1/64, are looked at -> flows at 1/4 … 1/32, finest first."""
        features, flows = maps[-1], [torch.zeros_like(maps[-1][:, :1]).expand(-1, 2, -1, -1)]
        for k, _, _ in LEVELS:
            features = self.get_submodule(f"deconv{k}")(torch.cat([features, flows[-1]], dim=1))
            flows.append(self.get_submodule(f"predict_flow{k}")(features))
        return flows[:0:-1]


class Estimator(FlowModel):
    """What FlowNetS, FlowNetC and the networks of FlowNet 2.0 share: images lose their mean, and are stacked.

    width scales all numbers of channels.  mean_of says which mean is taken off: that of "photos", always the same, or
    that of the "pair" at hand (padded, where eval mode pads it), colour by colour, as NVIDIA's code does it: then light
    that both images have more of does not matter.
    """

    multiple = 64

    def __init__(self, width, mean_of):
        super().__init__()
        if not 0 < width <= 4:
            raise InvalidInput(
                f"width is {width}; it is a factor on the numbers of channels above 0, such as 1 or 1/4."
            )
        if mean_of not in ("photos", "pair"):
            raise InvalidInput(f'mean_of has to be "photos" or "pair", not {mean_of!r}.')
        self.width, self.mean_of = float(width), mean_of
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)

    def c(self, full):
        """A number of channels, scaled by the width."""
        return max(1, round(full * self.width))

    def flows(self, image1, image2):
        return self.estimate(self.stacked(image1, image2))

    def stacked(self, image1, image2):
        """Both images without their mean, (B, 6, H, W)."""
        mean = self.mean
        if self.mean_of == "pair":
            mean = (image1.mean((2, 3), keepdim=True) + image2.mean((2, 3), keepdim=True)) / 2
        return torch.cat([image1 - mean, image2 - mean], dim=1)

    def estimate(self, x):
        """Images without their mean, (B, 6, H, W), sides divisible by 64 -> flows, finest first, in pixels."""
        raise NotImplementedError

    def changed(self, **usual):
        """width, and those options that are not as usual: files of weights say no more than they have to."""
        return {"width": self.width} | {k: getattr(self, k) for k, v in usual.items() if getattr(self, k) != v}


class FlowNetS(Estimator):
    """ "Simple": both images stacked to six channels, and the rest is left to the network.

    38,676,506 parameters at width 1; `width` scales all numbers of channels.  variant="lecture" builds the one with the
    32,070,472 of the lecture's table: no conv6_1, and LectureRefinement.

    channels: what it sees, 6 for two images.  With 12 (38,695,322 parameters) or 8 it is a later network of a stack
    (cvdl.flow.models.flownet2), and has no flow for two images alone: call estimate(stack_input(…)).
    """

    def __init__(self, width=1.0, variant="released", channels=6, mean_of="photos"):
        super().__init__(width, mean_of)
        c = self.c
        self.variant, self.channels = variant, channels
        self.conv1 = conv(channels, c(64), 7, 2)
        self.conv2 = conv(c(64), c(128), 5, 2)
        self.conv3 = conv(c(128), c(256), 5, 2)
        self.conv3_1 = conv(c(256), c(256))
        add_top(self, variant)
        self.refinement = Refinement(c, bias=False) if variant == "released" else LectureRefinement(c)
        start(self)

    def estimate(self, x):
        """(B, channels, H, W) -> flows."""
        if x.shape[1] != self.channels:
            raise InvalidInput(
                f"This FlowNetS sees {self.channels} channels, and {x.shape[1]} came. Two images make 6; one with 12 is a "
                "later network of a stack, such as FlowNet2CS: call that, or net.estimate(stack_input(…))."
            )
        conv2 = self.conv2(self.conv1(x))  # 1/4
        return scaled(self.refinement(conv2, *top(self, self.conv3_1(self.conv3(conv2)))))

    def options(self):
        return self.changed(variant="released", channels=6, mean_of="photos")


class FlowNetC(Estimator):
    """ "Correlation": each image has features of its own, by the same layers; then they are compared.

    39,175,298 parameters at width 1.  max_displacement and stride are those of the correlation, in points of the
    map at 1/8 of the size: 20 and 2 reach 160 pixels far, in steps of 16.

    variant="lecture" has 32,569,256 parameters.  The lecture's table has 32,561,032: it leaves out the 8,224 of
    conv_redir.

    normalise=True divides each feature vector by its length before the correlation, times the square root of the number of
    channels, so that scores do not grow with the square of the contrast (as in UFlow, Jonschkowski et al., ECCV 2020,
    where it is the cost volume's input that is normalised).  The paper's network, and published weights, are without.
    """

    def __init__(self, width=1.0, max_displacement=20, stride=2, variant="released", mean_of="photos", normalise=False):
        super().__init__(width, mean_of)
        c = self.c
        if stride < 1 or max_displacement < 0 or max_displacement % stride:
            raise InvalidInput(
                f"max_displacement, {max_displacement}, has to be a multiple of stride, {stride}. The paper has 20 and 2."
            )
        self.max_displacement, self.stride, self.variant, self.normalise = max_displacement, stride, variant, normalise
        self.conv1 = conv(3, c(64), 7, 2)
        self.conv2 = conv(c(64), c(128), 5, 2)
        self.conv3 = conv(c(128), c(256), 5, 2)
        self.conv_redir = conv(c(256), c(32), 1)
        self.activation = nn.LeakyReLU(0.1)
        self.conv3_1 = conv((2 * max_displacement // stride + 1) ** 2 + c(32), c(256))
        add_top(self, variant)
        self.refinement = Refinement(c, bias=True) if variant == "released" else LectureRefinement(c)
        start(self)

    def estimate(self, x):
        """(B, 6, H, W) -> flows."""
        conv2 = self.conv2(self.conv1(x[:, :3]))  # the way up goes on from frame 1
        first = self.conv3(conv2)
        second = self.conv3(self.conv2(self.conv1(x[:, 3:])))
        matched = (unit_length(first), unit_length(second)) if self.normalise else (first, second)
        scores = self.activation(correlation(*matched, self.max_displacement, self.stride))
        conv3_1 = self.conv3_1(torch.cat([self.conv_redir(first), scores], dim=1))  # 1/8
        return scaled(self.refinement(conv2, *top(self, conv3_1)))

    def options(self):
        correlation = {"max_displacement": self.max_displacement, "stride": self.stride}
        return self.changed(variant="released", mean_of="photos", normalise=False) | correlation


def unit_length(features):
    """Feature vectors (B, C, H, W) of length √C, so that the mean of their products over channels is a cosine."""
    return features.shape[1] ** 0.5 * nn.functional.normalize(features, dim=1)


def start(net):
    """Random weights such that signals keep their size through leaky ReLUs (He et al., ICCV 2015); biases zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, 0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def add_top(net, variant="released"):
    """The layers conv4 … conv6_1, which all of these networks have; the lecture's count is without the last."""
    if variant not in ("released", "lecture"):
        raise InvalidInput(f'variant has to be "released" or "lecture", not {variant!r}.')
    c = net.c
    net.conv4, net.conv4_1 = conv(c(256), c(512), 3, 2), conv(c(512), c(512))
    net.conv5, net.conv5_1 = conv(c(512), c(512), 3, 2), conv(c(512), c(512))
    net.conv6 = conv(c(512), c(1024), 3, 2)
    net.conv6_1 = conv(c(1024), c(1024)) if variant == "released" else nn.Identity()


def top(net, conv3_1):
    """Features at 1/8 -> those at 1/8, 1/16, 1/32, 1/64."""
    conv4 = net.conv4_1(net.conv4(conv3_1))
    conv5 = net.conv5_1(net.conv5(conv4))
    return conv3_1, conv4, conv5, net.conv6_1(net.conv6(conv5))


def scaled(flows, unit=FLOW_SCALE):
    return [unit * flow for flow in flows]
