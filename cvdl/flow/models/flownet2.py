"""FlowNet 2.0: networks one after the other, each with the flow so far, and one for small motions beside them.

Ilg et al., *FlowNet 2.0: Evolution of Optical Flow Estimation with Deep Networks*, CVPR 2017, arXiv 1612.01925.

    FlowNetC ─ flow ─ warp ─ FlowNetS ─ flow ─ warp ─ FlowNetS ─ flow ┐
    FlowNet2SD ───────────────────────────────────────────────── flow ┴ Fusion ─ flow at full size

Parts are trained one after the other, the earlier ones frozen: `net.nets[:-1].requires_grad_(False)`.  Then autograd
records nothing of them, as under torch.no_grad(), so that a longer stack trains in the memory of one network.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.errors import InvalidInput
from cvdl.flow.models.base import FLOW_SCALE, resize
from cvdl.flow.models.flownet import Estimator, FlowNetC, FlowNetS, Refinement, add_top, conv, scaled, start, top
from cvdl.flow.warp import warp


def stack_input(image1, image2, flow):
    """What a later network of a stack sees: (B, 12, H, W).

    images: (B, 3, H, W), in a network without their mean; flow: (B, 2, H, W), so far, in pixels ->

        0 … 2   image1                          9 10   flow / 20, so that numbers are about 1
        3 … 5   image2                          11     brightness error, |image1 - warped| over the colours
        6 … 8   warped: image2 by the flow

    Raises what `warp` raises: InvalidInput for shapes that do not fit, NotFinite for a flow that is not finite.
    """
    warped = warp(image2, flow)
    return torch.cat([image1, image2, warped, flow / FLOW_SCALE, size_of(image1 - warped)], dim=1)


def fusion_input(image1, image2, flow, small):
    """What the fusion network sees: (B, 11, H, W).

    images: (B, 3, H, W), in a network without their mean; flow: of the stack, small: of the network for small motions,
    both (B, 2, H, W) in pixels ->

        0 … 2   image1                          7  8   |small|, |flow|, lengths in pixels
        3  4    small                           9 10   brightness error by small, by flow
        5  6    flow

    Flows are in pixels here, and not in units of 20, as the released network takes them.
    """
    errors = [size_of(image1 - warp(image2, each)) for each in (small, flow)]
    return torch.cat([image1, small, flow, size_of(small), size_of(flow), *errors], dim=1)


def size_of(vectors):
    """(B, C, H, W) -> (B, 1, H, W): the length over the channels."""
    return torch.linalg.vector_norm(vectors, dim=1, keepdim=True)


class FlowNetStack(Estimator):
    """`nets` names them in order, "c" a FlowNetC and "s" a FlowNetS: "css" is FlowNet2-CSS.  Only the first can be a C.

    The first sees two images, each later one the 12 channels of stack_input, at full size: flow comes from 1/4 of it by
    bilinear interpolation.  warping=False leaves out what the warping gives, 4 channels; a later net has 8 then.

    In train mode the flows are those of the last net.  `last` says how eval mode brings its flow to full size:
    "bilinear", or "nearest", as NVIDIA's FlowNet2CSS has it.

    before: name in the zoo of the weights that all nets but the last have.  A file of weights holds the last one alone
    then (`cvdl.zoo`).
    """

    def __init__(self, nets="css", width=1.0, warping=True, mean_of="photos", last="bilinear", before=None):
        super().__init__(width, mean_of)
        if not isinstance(nets, str) or nets[:1] not in ("c", "s") or set(nets[1:]) - {"s"}:
            raise InvalidInput(
                f'nets is {nets!r}; it has to be a word of c and s, c at most in front: "css", "ss", "s".'
            )
        if last not in ("bilinear", "nearest"):
            raise InvalidInput(f'last has to be "bilinear" or "nearest", not {last!r}.')
        self.letters, self.warping, self.last, self.before = nets, warping, last, before
        first = FlowNetC(width) if nets[0] == "c" else FlowNetS(width)
        self.nets = nn.ModuleList([first, *(FlowNetS(width, channels=12 if warping else 8) for _ in nets[1:])])

    def begin_with(self, net):
        """All networks but the last become those of `net`, a FlowNetC, a FlowNetS or a shorter stack of this width.

        They keep their options, such as `normalise`, and the stack takes over its `mean_of`.
        """
        first = net.nets if isinstance(net, FlowNetStack) else [net]
        try:
            for ours, theirs in zip(self.nets[:-1], first, strict=True):
                ours.load_state_dict(theirs.state_dict())
        except (ValueError, RuntimeError) as error:
            raise InvalidInput(
                f"A stack {self.letters!r} of width {self.width} cannot begin with this {type(net).__name__}: it has to be the "
                "stack without its last net, of the same width."
            ) from error
        for i, theirs in enumerate(first):
            self.nets[i] = copy.deepcopy(theirs).train(self.training)
        self.mean_of = net.mean_of

    def of_last(self, tensors):
        """Those of the tensors of a state dict that are the last net's."""
        start = f"nets.{len(self.nets) - 1}."
        return {name: tensor for name, tensor in tensors.items() if name.startswith(start)}

    def each(self, x):
        """(B, 6, H, W) -> for each net, one after the other, its flows, finest first, in pixels."""
        image1, image2 = x.chunk(2, dim=1)
        flows = self.nets[0].estimate(x)
        yield flows
        for net in self.nets[1:]:
            flow = resize(flows[0], x.shape[-2:])
            if self.warping:
                flows = net.estimate(stack_input(image1, image2, flow))
            else:
                flows = net.estimate(torch.cat([x, flow / FLOW_SCALE], dim=1))
            yield flows

    def estimate(self, x):
        *_, flows = self.each(x)
        return flows

    def flows(self, image1, image2):
        flows = super().flows(image1, image2)
        if self.last == "nearest" and not self.training:
            flows[0] = F.interpolate(flows[0], image1.shape[-2:], mode="nearest")
        return flows

    def flow_of_each(self, image1, image2):
        """The flow after each net, (B, 2, H, W) at the size of the images, which may be any from 16 × 16."""
        image1, image2 = self.checked(image1, image2)

        def all_of(*images):
            return torch.cat([flows[0] for flows in self.each(self.stacked(*images))], dim=1)

        return self.padded(all_of, image1, image2).chunk(len(self.nets), dim=1)

    def options(self):
        return {"nets": self.letters} | self.changed(warping=True, mean_of="photos", last="bilinear", before=None)


def FlowNet2CS(width=1.0, **options):
    """77,870,620 parameters at width 1."""
    return FlowNetStack("cs", width, **options)


def FlowNet2CSS(width=1.0, **options):
    """116,565,942 parameters at width 1; width=3/8 is the paper's thin -css."""
    return FlowNetStack("css", width, **options)


def FlowNet2SS(width=3 / 8, **options):
    """The paper's thin -ss: 10,932,388 parameters at width 3/8."""
    return FlowNetStack("ss", width, **options)


class FlowNet2SD(Estimator):
    """ "Small displacements": a FlowNetS that begins at full size, with kernels of 3 × 3.

    45,371,666 parameters at width 1.  unit: pixels that a 1 of the last layer means; 20 as everywhere.  In NVIDIA's code
    the one *inside* FlowNet2 is divided by 20 and not multiplied, unit = 1/20, so that it counts in twentieths of a pixel;
    the one alone is multiplied (its issue 37: to do as the Caffe networks do).  Their weights are not exchangeable.
    """

    def __init__(self, width=1.0, mean_of="photos", unit=FLOW_SCALE):
        super().__init__(width, mean_of)
        c = self.c
        self.unit = unit
        self.conv0 = conv(6, c(64))
        self.conv1, self.conv1_1 = conv(c(64), c(64), 3, 2), conv(c(64), c(128))
        self.conv2, self.conv2_1 = conv(c(128), c(128), 3, 2), conv(c(128), c(128))
        self.conv3, self.conv3_1 = conv(c(128), c(256), 3, 2), conv(c(256), c(256))
        add_top(self)
        self.refinement = Refinement(c, bias=True, inter=True)
        start(self)

    def estimate(self, x):
        conv1_1 = self.conv1_1(self.conv1(self.conv0(x)))  # 1/2
        conv2_1 = self.conv2_1(self.conv2(conv1_1))  # 1/4
        return scaled(self.refinement(conv2_1, *top(self, self.conv3_1(self.conv3(conv2_1)))), self.unit)

    def options(self):
        return self.changed(mean_of="photos", unit=FLOW_SCALE)


class Fusion(nn.Module):
    """Chooses, and smooths: the 11 channels of fusion_input -> flows at full size, 1/2 and 1/4, in pixels.

    c: function that scales numbers of channels.  581,226 parameters without scaling.
    """

    def __init__(self, c):
        super().__init__()
        self.conv0 = conv(11, c(64))
        self.conv1, self.conv1_1 = conv(c(64), c(64), 3, 2), conv(c(64), c(128))
        self.conv2, self.conv2_1 = conv(c(128), c(128), 3, 2), conv(c(128), c(128))
        self.refinement = Refinement(c, bias=True, inter=True, top=128, levels=((1, 128, 32), (0, 64, 16)))
        start(self)

    def forward(self, x):
        conv0 = self.conv0(x)
        conv1_1 = self.conv1_1(self.conv1(conv0))
        return self.refinement(conv0, conv1_1, self.conv2_1(self.conv2(conv1_1)))


class FlowNet2(Estimator):
    """All of it: the stack "css", FlowNet2SD beside it, and the fusion of both flows.  162,518,834 parameters at width 1.

    In train mode the flows are the fusion's three, at full size, 1/2 and 1/4.  Both flows are brought to full size by
    repeating pixels, as in the sources.  Frozen parts: net.stack.requires_grad_(False), net.small.requires_grad_(False).

    small_unit: FlowNet2SD's unit, see there; 1/20 for NVIDIA's weights.

    before: names in the zoo of the weights of the stack and of FlowNet2SD.  A file of weights holds the fusion alone then.
    """

    def __init__(self, width=1.0, mean_of="photos", small_unit=FLOW_SCALE, before=None):
        super().__init__(width, mean_of)
        self.before = tuple(before) if before else None
        self.stack = FlowNet2CSS(width)
        self.small = FlowNet2SD(width, unit=small_unit)
        self.fusion = Fusion(self.c)

    @property
    def small_unit(self):
        return self.small.unit

    def estimate(self, x):
        flow, small = (
            F.interpolate(net.estimate(x)[0], x.shape[-2:], mode="nearest") for net in (self.stack, self.small)
        )
        return self.fusion(fusion_input(*x.chunk(2, dim=1), flow, small))

    def begin_with(self, stack, small):
        """Give the stack and FlowNet2SD the weights of these networks, of the same width; the rest as in FlowNetStack."""
        try:
            self.stack.load_state_dict(stack.state_dict())
            self.small.load_state_dict(small.state_dict())
            self.stack.nets[0].normalise, self.mean_of = stack.nets[0].normalise, stack.mean_of
        except RuntimeError as error:
            raise InvalidInput(
                f"A FlowNet2 of width {self.width} cannot begin with this {type(stack).__name__} and "
                f"{type(small).__name__}: they must be a FlowNet2-CSS and a FlowNet2-SD of the same width."
            ) from error

    def of_last(self, tensors):
        """Those of the tensors of a state dict that belong to the fusion."""
        return {name: tensor for name, tensor in tensors.items() if name.startswith("fusion.")}

    def options(self):
        return self.changed(mean_of="photos", small_unit=FLOW_SCALE, before=None)
