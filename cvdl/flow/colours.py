"""Flow as colours, without matplotlib."""

import torch

from cvdl.errors import InvalidInput
from cvdl.flow.shapes import check_flow, known_in


def flow_to_image(flow, max_flow=None, valid=None):
    """The usual colours: the hue tells the direction, the saturation the length; no motion is white.

    flow: (…, 2, H, W) in pixels; max_flow: the length in pixels with full saturation, which longer vectors
    have too (default: the greatest of all in `flow`, so a batch shares it) -> (…, 3, H, W) float in [0, 1].
    Unknown pixels, outside `valid` or not finite, are black.  The wheel is Middlebury's (Baker et al., *A
    database and evaluation methodology for optical flow*, IJCV 2011), as drawn by torchvision.
    """
    from torchvision.utils import flow_to_image as colours

    check_flow(flow)
    known = known_in(flow, valid)
    *lead, _, H, W = flow.shape
    flow = flow.detach().float().masked_fill(~known, 0).reshape(-1, 2, H, W)
    length = torch.linalg.vector_norm(flow, dim=1, keepdim=True)
    max_flow = scale_of(length, max_flow)
    flow = flow / length.clamp(min=max_flow)  # at most 1 long
    # torchvision divides by the greatest length it finds: one more column makes that 1.
    one = flow.new_tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(len(flow), 2, H, 1)
    image = colours(torch.cat([flow, one], dim=3))[..., :W].reshape(*lead, 3, H, W) / 255
    return image * known


def scale_of(lengths, given):
    """What full colour stands for: the length given, else the greatest, else (no motion at all) 1 px."""
    if given is not None and not given > 0:
        raise InvalidInput(
            f"The greatest length in a figure must be above 0 px, not {given}. Leave it out to have it measured."
        )
    return float(given or (lengths.max() if lengths.numel() else 0) or 1)
