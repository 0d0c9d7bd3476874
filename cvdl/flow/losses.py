"""What flow networks are trained with.  All take flows in pixels of the full-size input and divide by FLOW_SCALE."""

import torch
import torch.nn.functional as F

from cvdl.errors import InvalidInput
from cvdl.flow.models.base import FLOW_SCALE
from cvdl.flow.shapes import check_flow, check_same, mask_of

WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)  # of FlowNet's levels, finest first: flow2 … flow6


def multiscale_epe(flows, truth, valid=None, weights=WEIGHTS, robust=None):
    """FlowNet's training loss: end-point errors at every level, *summed over pixels* and divided by the batch size.

    flows: finest first, each (B, 2, h, w); truth: (B, 2, H, W); valid: bool (B, 1, H, W) -> scalar.

    The sum matters.  A level has a quarter of the pixels of the next finer one, so the weights .005 .01 .02 .08 .32
    of the levels 2 … 6 make them count 4 : 2 : 1 : 1 : 1.  With means instead of sums they would count 1 : 2 : 4 :
    16 : 64, and one would train blur.  (NVIDIA's code takes means, and weights .32 / 2^s from the *finest*: 16 : 8 :
    4 : 2 : 1.)

    A worked number: truth (20, 0) px on 64 × 64, all flows zero.  The error is 1 (in units of 20 px) at each of
    16² + 8² + 4² + 2² + 1² pixels: .005·256 + .01·64 + .02·16 + .08·4 + .32·1 = 1.28 + .64 + .32 + .32 + .32 = 2.88.

    robust=(q, eps) takes (error + eps)^q instead of the error, in units of 20 px: with q < 1, large errors count less
    than in proportion.  PWC-Net (Sun et al., CVPR 2018) is fine-tuned with q = .4, eps = .01, and |u| + |v| for the error
    where here is its length.  The example above becomes 2.88 · 1.01^.4 = 2.8915; were the truth (320, 0), 16 times as
    far, it would be 2.88 · 16.01^.4 = 8.733, three times as much.

    Source: Dosovitskiy et al., ICCV 2015, and its released training prototxt.
    Raises ValueError where shapes do not fit, and for a robust that is not two numbers above 0.
    """
    if robust is not None and not (len(robust) == 2 and min(robust) > 0):
        raise InvalidInput(f"robust has to be two numbers above 0, (q, eps), such as (.4, .01); it is {robust!r}.")
    if len(flows) != len(weights):
        raise InvalidInput(f"There are {len(flows)} flows and {len(weights)} weights; give one weight for each.")
    loss = 0
    for flow, weight in zip(flows, weights, strict=True):
        check_flow(flow, batch=True)
        target, known = average_down(truth, valid, flow.shape[-2:])
        check_same(flow, target)
        error = torch.linalg.vector_norm((flow.float() - target) / FLOW_SCALE, dim=1, keepdim=True)
        if robust:
            q, eps = robust
            error = (error + eps) ** q
        loss = loss + weight * error.where(known, 0).sum() / len(flow)
    return loss


def average_down(truth, valid, size):
    """The truth at a lower resolution: means over the known pixels that fall into one.  Values stay.

    truth: (B, 2, H, W), valid: bool (B, 1, H, W) or None -> (B, 2, h, w), and bool (B, 1, h, w): any was known.
    H and W have to be multiples of h and w.
    """
    check_flow(truth, "truth", batch=True)
    known = mask_of(valid, truth)
    (H, W), (h, w) = truth.shape[-2:], size
    if H % h or W % w:
        raise InvalidInput(
            f"A truth of {H} × {W} cannot be averaged down to {h} × {w}: that does not divide it. Cut it to multiples of 64."
        )
    cell = H // h, W // w
    share = F.avg_pool2d(known.float(), cell)
    mean = F.avg_pool2d(truth.float().masked_fill(~known, 0), cell) / share.clamp(min=1e-6)
    return mean, share > 0
