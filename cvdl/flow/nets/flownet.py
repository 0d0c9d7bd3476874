"""FlowNetS and FlowNetC.

Dosovitskiy et al., *FlowNet: Learning Optical Flow with Convolutional Networks*, ICCV 2015, arXiv 1504.06852; the
layers as in the released networks, which have conv6_1 besides the paper's figure.
"""

import torch
from torch import nn

from cvdl.errors import CourseError
from cvdl.flow.correlation import correlation
from cvdl.flow.nets.base import FLOW_SCALE, FlowNet

MEAN = (0.45, 0.432, 0.411)  # about that of photographs, red, green, blue


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

    def __init__(self, c, bias):
        """c: function that scales numbers of channels; bias: of the four layers that enlarge a flow."""
        super().__init__()
        skips, ups = {5: c(512), 4: c(512), 3: c(256), 2: c(128)}, {5: c(512), 4: c(256), 3: c(128), 2: c(64)}
        inside = c(1024)
        self.predict_flow6 = predict_flow(inside)
        for k in (5, 4, 3, 2):
            self.add_module(f"deconv{k}", deconv(inside, ups[k]))
            self.add_module(f"upsampled_flow{k + 1}_to_{k}", nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias))
            inside = skips[k] + ups[k] + 2
            self.add_module(f"predict_flow{k}", predict_flow(inside))

    def forward(self, conv2, conv3, conv4, conv5, conv6):
        """Features at 1/4 … 1/64 -> flows at 1/4 … 1/64, in units of FLOW_SCALE pixels."""
        features, flow = conv6, self.predict_flow6(conv6)
        flows = [flow]
        for k, skip in ((5, conv5), (4, conv4), (3, conv3), (2, conv2)):
            up = self.get_submodule(f"deconv{k}")(features)
            flow = self.get_submodule(f"upsampled_flow{k + 1}_to_{k}")(flow)
            features = torch.cat([skip, up, flow], dim=1)
            flow = self.get_submodule(f"predict_flow{k}")(features)
            flows.append(flow)
        return flows[::-1]


class FlowNetS(FlowNet):
    """ "Simple": both images stacked to six channels, and the rest is left to the network.

    38,676,506 parameters at width 1; `width` scales all numbers of channels.
    """

    multiple = 64

    def __init__(self, width=1.0):
        super().__init__()
        c = channels(self, width)
        self.conv1 = conv(6, c(64), 7, 2)
        self.conv2 = conv(c(64), c(128), 5, 2)
        self.conv3 = conv(c(128), c(256), 5, 2)
        self.conv3_1 = conv(c(256), c(256))
        _add_top(self, c)
        self.refinement = Refinement(c, bias=False)
        start(self)

    def flows(self, image1, image2):
        both = torch.cat([image1 - self.mean, image2 - self.mean], dim=1)
        conv2 = self.conv2(self.conv1(both))  # 1/4
        return _scaled(self.refinement(conv2, *_top(self, self.conv3_1(self.conv3(conv2)))))

    def options(self):
        return {"width": self.width}


class FlowNetC(FlowNet):
    """ "Correlation": each image has features of its own, by the same layers; then they are compared.

    39,175,298 parameters at width 1.  max_displacement and stride are those of the correlation, in points of the
    map at 1/8 of the size: 20 and 2 reach 160 pixels far, in steps of 16.
    """

    multiple = 64

    def __init__(self, width=1.0, max_displacement=20, stride=2):
        super().__init__()
        c = channels(self, width)
        if stride < 1 or max_displacement < 0 or max_displacement % stride:
            raise CourseError(
                f"max_displacement, {max_displacement}, has to be a multiple of stride, {stride}. The paper has 20 and 2."
            )
        self.max_displacement, self.stride = max_displacement, stride
        self.conv1 = conv(3, c(64), 7, 2)
        self.conv2 = conv(c(64), c(128), 5, 2)
        self.conv3 = conv(c(128), c(256), 5, 2)
        self.conv_redir = conv(c(256), c(32), 1)
        self.activation = nn.LeakyReLU(0.1)
        self.conv3_1 = conv((2 * max_displacement // stride + 1) ** 2 + c(32), c(256))
        _add_top(self, c)
        self.refinement = Refinement(c, bias=True)
        start(self)

    def flows(self, image1, image2):
        conv2 = self.conv2(self.conv1(image1 - self.mean))  # the way up goes on from frame 1
        first = self.conv3(conv2)
        second = self.conv3(self.conv2(self.conv1(image2 - self.mean)))
        scores = self.activation(correlation(first, second, self.max_displacement, self.stride))
        conv3_1 = self.conv3_1(torch.cat([self.conv_redir(first), scores], dim=1))  # 1/8
        return _scaled(self.refinement(conv2, *_top(self, conv3_1)))

    def options(self):
        return {"width": self.width, "max_displacement": self.max_displacement, "stride": self.stride}


def channels(net, width):
    """Note width and mean in the network, and give the function that scales a number of channels."""
    if not 0 < width <= 4:
        raise CourseError(f"width is {width}; it is a factor on the numbers of channels above 0, such as 1 or 1/4.")
    net.width = float(width)
    net.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
    return lambda full: max(1, round(full * width))


def start(net):
    """Random weights such that signals keep their size through leaky ReLUs (He et al., ICCV 2015); biases zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, 0.1)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _add_top(net, c):
    net.conv4, net.conv4_1 = conv(c(256), c(512), 3, 2), conv(c(512), c(512))
    net.conv5, net.conv5_1 = conv(c(512), c(512), 3, 2), conv(c(512), c(512))
    net.conv6, net.conv6_1 = conv(c(512), c(1024), 3, 2), conv(c(1024), c(1024))


def _top(net, conv3_1):
    """Features at 1/8 -> those at 1/8, 1/16, 1/32, 1/64."""
    conv4 = net.conv4_1(net.conv4(conv3_1))
    conv5 = net.conv5_1(net.conv5(conv4))
    return conv3_1, conv4, conv5, net.conv6_1(net.conv6(conv5))


def _scaled(flows):
    return [FLOW_SCALE * flow for flow in flows]
