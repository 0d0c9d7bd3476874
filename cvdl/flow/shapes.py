"""The checks with which every function of `cvdl.flow` begins."""

import torch

from cvdl.errors import InvalidInput


def check_flow(flow, name="flow", batch=False):
    """Raise unless `flow` is a float tensor (…, 2, H, W), or (B, 2, H, W) if `batch` is asked for."""
    wanted = "(B, 2, H, W)" if batch else "(…, 2, H, W)"
    if not isinstance(flow, torch.Tensor):
        raise InvalidInput(f"{name} has to be a tensor {wanted}, not {type(flow).__name__}. Use torch.as_tensor.")
    if flow.ndim < 3 or (batch and flow.ndim != 4) or flow.shape[-3] != 2:
        raise InvalidInput(
            f"{name} has to be {wanted}, channel 0 to the right, channel 1 down; it is {tuple(flow.shape)}. "
            "A single flow (2, H, W) becomes a batch by flow[None], and (H, W, 2) becomes (2, H, W) by flow.permute(2, 0, 1)."
        )
    if not flow.is_floating_point():
        raise InvalidInput(f"{name} has to be float, in pixels; it is {flow.dtype}. Use {name}.float().")


def check_same(flow, truth, names=("flow", "truth")):
    """Raise unless both are flows of one shape."""
    for each, name in zip((flow, truth), names, strict=True):
        check_flow(each, name)
    if flow.shape != truth.shape:
        raise InvalidInput(
            f"{names[0]} and {names[1]} have to be of one shape; they are {tuple(flow.shape)} and {tuple(truth.shape)}. "
            "If one is smaller, bring it to the other's size and multiply its values by the same factor."
        )


def mask_of(valid, flow):
    """`valid` as bool (…, 1, H, W) on flow's device; all True for None.

    valid: bool, shaped as flow with one channel or with none.  Raises ValueError for anything else.
    """
    *lead, _, H, W = flow.shape
    if valid is None:
        valid = torch.ones(*lead, 1, H, W, dtype=torch.bool, device=flow.device)
    if not isinstance(valid, torch.Tensor) or valid.dtype != torch.bool:
        kind = valid.dtype if isinstance(valid, torch.Tensor) else type(valid).__name__
        raise InvalidInput(f"valid has to be a tensor of bool, not {kind}. Say which pixels count, e.g. valid > 0.")
    if valid.shape not in ((*lead, 1, H, W), (*lead, H, W)):
        raise InvalidInput(
            f"valid has to be {(*lead, 1, H, W)} for a flow {tuple(flow.shape)}; it is {tuple(valid.shape)}. "
            "Cut or reshape it as you did the flow."
        )
    return valid.reshape(*lead, 1, H, W).to(flow.device)


def known_in(flow, valid):
    """Where a flow is known: valid, as `mask_of` has it, and finite -> bool (…, 1, H, W)."""
    return mask_of(valid, flow) & flow.isfinite().all(-3, keepdim=True)
