"""What all flow networks share: how they are called, how images are prepared, and how the flow is returned."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from cvdl.errors import InvalidInput, NotFinite

FLOW_SCALE = 20.0  # networks and losses count in units of 20 px, so that numbers are about 1


class FlowModel(nn.Module):
    """Two images in, flow out.  A network adds `flows`; because of its strides, sides must be divisible by `multiple`.

    In eval mode net(image1, image2), both (B, 3, H, W) RGB in [0, 1], is the flow (B, 2, H, W) in pixels, for any
    size from 16 × 16: images are padded to the multiple by repeating their border, and the flow is cropped to their size.

    In train mode it is the list of flows at all resolutions, finest first, each in pixels of the *full-size* input.
    Sides must then be divisible by the multiple, so that losses know which pixel belongs to which.

    Images may have a different floating-point type from the weights: they are converted, and the flow has the weights'
    type (LikeNet's is always float32).  An empty batch gives an empty flow.

    Raises InvalidInput, a ValueError, for other shapes, types, sizes and devices and for values that are far from
    [0, 1], such as 0 … 255; and NotFinite, also a ValueError, for NaN and infinity.  While a network is exported,
    traced or compiled, values are unknown and are not checked.  Every network can be exported (`torch.export`) or traced
    in eval mode, but only for the batch and image size of the example.
    """

    multiple = 1
    reduce = 1  # factor by which images are reduced first, when only the coarse scales of a network are trained

    def flows(self, image1, image2):
        raise NotImplementedError

    def forward(self, image1, image2):
        image1, image2 = self.checked(image1, image2)
        H, W = image1.shape[-2:]
        if self.training:
            multiple = self.multiple * self.reduce
            if H % multiple or W % multiple:
                raise InvalidInput(
                    f"In train mode, {type(self).__name__} needs sides divisible by {multiple}; these are {H} × {W}. "
                    "Crop the images or render other sizes, or call net.eval() first: then any size will do."
                )
            return self.reduced_flows(image1, image2)
        return self.padded(lambda *images: self.reduced_flows(*images)[0], image1, image2)

    def checked(self, image1, image2):
        """Both images in the type of the weights.  Raises the errors listed for the class."""
        check_images(image1, image2)
        weights = next(self.parameters(), image1)
        for image, name in ((image1, "image1"), (image2, "image2")):
            if image.device != weights.device:
                raise InvalidInput(
                    f"{name} is on {image.device}, but the network is on {weights.device}. Move one of them: "
                    f"{name}.to({str(weights.device)!r}), or net.to({str(image.device)!r})."
                )
        unknown = image1.is_meta or torch.jit.is_tracing() or torch.compiler.is_compiling()
        if len(image1) and not unknown:
            check_values(image1, image2)
        return image1.to(weights.dtype), image2.to(weights.dtype)

    def reduced_flows(self, image1, image2):
        """The flows of images reduced by `reduce`, in pixels of the original images."""
        if self.reduce == 1:
            return self.flows(image1, image2)
        images = (F.avg_pool2d(image, self.reduce) for image in (image1, image2))
        return [self.reduce * flow for flow in self.flows(*images)]

    def padded(self, flow_of, image1, image2):
        """flow_of(image1, image2), given images padded to the multiple: its flow, cropped to their size."""
        H, W = image1.shape[-2:]
        multiple = self.multiple * self.reduce
        bottom, right = -H % multiple, -W % multiple
        images = (F.pad(image, [0, right, 0, bottom], mode="replicate") for image in (image1, image2))
        return resize(flow_of(*images), (H + bottom, W + right))[..., :H, :W]

    def options(self):
        """The arguments that rebuild this network, as stored in a weight file."""
        return {}


def resize(flow, size):
    """Bilinear, with pixel centres at integers in both grids.  Values are unchanged: they are already in full-size pixels."""
    if flow.shape[-2:] == torch.Size(size):
        return flow
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=False)


LOWEST, HIGHEST = -0.5, 1.5  # allowed values: noise and interpolation can go slightly beyond [0, 1]


def check_images(image1, image2):
    """Raise unless both are batches of RGB images of the same size, 16 × 16 or more."""
    for image, name in ((image1, "image1"), (image2, "image2")):
        if (
            not isinstance(image, torch.Tensor)
            or image.ndim != 4
            or image.shape[1] != 3
            or not image.is_floating_point()
        ):
            came = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, torch.Tensor) else type(image).__name__
            raise InvalidInput(
                f"{name} must be a batch of RGB images, float (B, 3, H, W) in [0, 1]; it is {came}. {name}[None] turns one "
                f"image into a batch, {name}.float() / 255 turns bytes into floats; to turn grey into RGB, repeat the channel."
            )
    if image1.shape != image2.shape or min(image1.shape[-2:]) < 16:
        raise InvalidInput(
            f"image1 and image2 must have the same shape, 16 × 16 pixels or more; they are {tuple(image1.shape)} and "
            f"{tuple(image2.shape)}. Resize or crop one of them."
        )


def check_values(image1, image2):
    """Raise unless all values of both images are finite and roughly in [0, 1]."""
    with torch.no_grad():
        ends = torch.stack([end.double().to(image1.device) for image in (image1, image2) for end in image.aminmax()])
    low1, high1, low2, high2 = ends.tolist()  # one transfer from the GPU
    for name, low, high in (("image1", low1, high1), ("image2", low2, high2)):
        if not (math.isfinite(low) and math.isfinite(high)):
            raise NotFinite(
                f"{name} contains NaN or infinite values; an image has values in [0, 1]. Check where they come from, or "
                f"replace them: {name}.nan_to_num(0, 1, 0)."
            )
        if low < LOWEST or high > HIGHEST:
            if low >= 0:
                advice = f"{name}.float() / 255 turns bytes into floats in [0, 1]; divide 16-bit values by 65535."
            else:
                advice = "Undo the normalisation: the network subtracts the mean and divides by the scale itself."
            raise InvalidInput(f"{name} must have values in [0, 1]; they range from {low:.4g} to {high:.4g}. {advice}")


def count(net):
    """Number of learned parameters."""
    return sum(p.numel() for p in net.parameters())
