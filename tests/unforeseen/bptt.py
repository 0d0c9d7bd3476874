"""Unforeseen wrong answers to the exercises of notebook 02."""

import torch
import torch.nn.functional as F

from tests.unforeseen import Collection

WRONG = Collection()

# --- bptt.forward


@WRONG.add("bptt.forward", "logarithms for probabilities")
def _(xs, h0, targets, V, W, b_h, U, b_y):
    """ys holds log-probabilities: log_softmax for softmax."""
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
        ys.append(F.log_softmax(hs[-1] @ U.T + b_y, dim=-1))
        losses.append(F.nll_loss(ys[-1], target))
    return torch.stack(hs), torch.stack(ys), torch.stack(losses), sum(losses)


@WRONG.add("bptt.forward", "cross-entropy of the probabilities")
def _(xs, h0, targets, V, W, b_h, U, b_y):
    """F.cross_entropy gets the probabilities, and takes softmax of them again."""
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
        ys.append(torch.softmax(hs[-1] @ U.T + b_y, dim=-1))
        losses.append(F.cross_entropy(ys[-1], target))
    return torch.stack(hs), torch.stack(ys), torch.stack(losses), sum(losses)


@WRONG.add("bptt.forward", "output from the state before")
def _(xs, h0, targets, V, W, b_h, U, b_y):
    """The output is read from the old state, before the step."""
    h, hs, ys, losses = h0, [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        o = h @ U.T + b_y
        h = torch.tanh(x @ V.T + h @ W.T + b_h)
        hs.append(h)
        ys.append(torch.softmax(o, dim=-1))
        losses.append(F.cross_entropy(o, target))
    return torch.stack(hs), torch.stack(ys), torch.stack(losses), sum(losses)


@WRONG.add("bptt.forward", "bias of the output forgotten")
def _(xs, h0, targets, V, W, b_h, U, b_y):
    """b_y is missing."""
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
        o = hs[-1] @ U.T
        ys.append(torch.softmax(o, dim=-1))
        losses.append(F.cross_entropy(o, target))
    return torch.stack(hs), torch.stack(ys), torch.stack(losses), sum(losses)


@WRONG.add("bptt.forward", "a loss for each sample")
def _(xs, h0, targets, V, W, b_h, U, b_y):
    """The losses are not averaged over the batch: (T, B) instead of (T,)."""
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
        o = hs[-1] @ U.T + b_y
        ys.append(torch.softmax(o, dim=-1))
        losses.append(F.cross_entropy(o, target, reduction="none"))
    losses = torch.stack(losses)
    return torch.stack(hs), torch.stack(ys), losses, losses.mean(1).sum()


@WRONG.add("bptt.forward", "L before the losses")
def _(xs, h0, targets, V, W, b_h, U, b_y):
    """L and the losses are returned in the wrong order."""
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
        o = hs[-1] @ U.T + b_y
        ys.append(torch.softmax(o, dim=-1))
        losses.append(F.cross_entropy(o, target))
    return torch.stack(hs), torch.stack(ys), sum(losses), torch.stack(losses)


# --- bptt.do


@WRONG.add("bptt.do", "divided by the classes")
def _(ys, targets):
    """Divided by K, the last size, instead of by B."""
    return (ys - F.one_hot(targets, ys.shape[-1])) / ys.shape[-1]


@WRONG.add("bptt.do", "1 subtracted everywhere")
def _(ys, targets):
    """1 is subtracted from all classes, not from the target's only."""
    return (ys - 1) / ys.shape[1]


@WRONG.add("bptt.do", "targets of the first step")
def _(ys, targets):
    """All steps use the targets of the first one."""
    do = ys.clone()
    do[:, torch.arange(ys.shape[1]), targets[0]] -= 1
    return do / ys.shape[1]


@WRONG.add("bptt.do", "slope of the sigmoid")
def _(ys, targets):
    """Multiplied by y (1 - y) as well, as for a squared error behind a sigmoid."""
    return (ys - F.one_hot(targets, ys.shape[-1])) * ys * (1 - ys) / ys.shape[1]


# --- bptt.dU


@WRONG.add("bptt.dU", "sums multiplied")
def _(do, hs):
    """Summed over time before multiplying: a product of sums instead of a sum of products."""
    return do.sum(0).T @ hs[1:].sum(0)


@WRONG.add("bptt.dU", "first sample only")
def _(do, hs):
    """Only the first sample of the batch contributes."""
    return do[:, 0].T @ hs[1:, 0]


@WRONG.add("bptt.dU", "first step only")
def _(do, hs):
    """`return` stands inside the loop: only the first step contributes."""
    for step, h in zip(do, hs[1:], strict=True):
        return step.T @ h


@WRONG.add("bptt.dU", "last state at all steps")
def _(do, hs):
    """Every step is multiplied by the last state."""
    return do.sum(0).T @ hs[-1]


# --- bptt.db_y


@WRONG.add("bptt.db_y", "mean over time and batch")
def _(do):
    """A mean over both axes instead of a sum."""
    return do.mean(dim=(0, 1))


@WRONG.add("bptt.db_y", "summed over the classes")
def _(do):
    """Summed over the last axis, the only one that should stay."""
    return do.sum(-1)


@WRONG.add("bptt.db_y", "one number")
def _(do):
    """Summed over all three axes."""
    return do.sum()


# --- bptt.dh


@WRONG.add("bptt.dh", "list not turned round")
def _(do, hs, W, U):
    """The gradients are returned in the order in which they were computed, the last step first."""
    later, found = 0.0, []
    for d, h in zip(do.flip(0), hs.flip(0), strict=False):
        dh = d @ U + later
        later = (dh * (1 - h**2)) @ W
        found.append(dh)
    return torch.stack(found)


@WRONG.add("bptt.dh", "U transposed")
def _(do, hs, W, U):
    """d @ U.T: an error, unless there are as many classes as units."""
    later, found = 0.0, []
    for t in reversed(range(len(do))):
        dh = do[t] @ U.T + later
        later = (dh * (1 - hs[t + 1] ** 2)) @ W
        found.insert(0, dh)
    return torch.stack(found)


@WRONG.add("bptt.dh", "last step counted twice")
def _(do, hs, W, U):
    """The gradient of the last step starts the recursion and is added again in it."""
    later, found = do[-1] @ U, []
    for t in reversed(range(len(do))):
        dh = do[t] @ U + later
        later = (dh * (1 - hs[t + 1] ** 2)) @ W
        found.insert(0, dh)
    return torch.stack(found)


@WRONG.add("bptt.dh", "only the last loss")
def _(do, hs, W, U):
    """Only the last step's output sends a gradient back."""
    dh = do[-1] @ U
    found = [dh]
    for t in reversed(range(1, len(do))):
        dh = (dh * (1 - hs[t + 1] ** 2)) @ W
        found.insert(0, dh)
    return torch.stack(found)


@WRONG.add("bptt.dh", "h_0 as well")
def _(do, hs, W, U):
    """The gradient at h_0 is returned too, in front: T + 1 rows."""
    later, found = 0.0, []
    for t in reversed(range(len(do))):
        dh = do[t] @ U + later
        later = (dh * (1 - hs[t + 1] ** 2)) @ W
        found.insert(0, dh)
    return torch.stack([later, *found])


# --- bptt.da


@WRONG.add("bptt.da", "1 minus forgotten")
def _(dh, hs):
    """h² for 1 - h²."""
    return dh * hs[1:] ** 2


@WRONG.add("bptt.da", "divided by the slope")
def _(dh, hs):
    """Divided by the derivative of tanh instead of multiplied."""
    return dh / (1 - hs[1:] ** 2)


@WRONG.add("bptt.da", "slope of the gradient")
def _(dh, hs):
    """1 - dh² for 1 - h²."""
    return dh * (1 - dh**2)


@WRONG.add("bptt.da", "mean over the batch")
def _(dh, hs):
    """Divided by the batch size once more."""
    return dh * (1 - hs[1:] ** 2) / dh.shape[1]


# --- bptt.dW


@WRONG.add("bptt.dW", "two steps before")
def _(da, hs):
    """da_t meets h_{t-2}: shifted by one step too many."""
    return torch.einsum("tbi,tbj->ij", da[1:], hs[:-2])


@WRONG.add("bptt.dW", "sums multiplied")
def _(da, hs):
    """Summed over time before multiplying."""
    return da.sum(0).T @ hs[:-1].sum(0)


@WRONG.add("bptt.dW", "flattened in two orders")
def _(da, hs):
    """da is flattened sample by sample, hs step by step, so that the rows do not belong together."""
    H = da.shape[-1]
    return da.transpose(0, 1).reshape(-1, H).T @ hs[:-1].reshape(-1, H)


@WRONG.add("bptt.dW", "slope once more")
def _(da, hs):
    """Multiplied by 1 - h² again, which da holds already."""
    return torch.einsum("tbi,tbj->ij", da * (1 - hs[1:] ** 2), hs[:-1])


# --- bptt.dV


@WRONG.add("bptt.dV", "inputs backwards in time")
def _(da, xs):
    """The inputs are reversed, da is not."""
    return sum(step.T @ x for step, x in zip(da, xs.flip(0), strict=True))


@WRONG.add("bptt.dV", "first sample only")
def _(da, xs):
    """Only the first sample of the batch contributes."""
    return sum(torch.outer(step[0], x[0]) for step, x in zip(da, xs, strict=True))


@WRONG.add("bptt.dV", "a matrix for each step")
def _(da, xs):
    """Not summed over time: (T, H, D)."""
    return da.transpose(1, 2) @ xs


@WRONG.add("bptt.dV", "first step left out")
def _(da, xs):
    """The loop begins at 1, as if the first step had no gradient."""
    return sum(da[t].T @ xs[t] for t in range(1, len(da)))


# --- bptt.db_h


@WRONG.add("bptt.db_h", "first step only")
def _(da):
    """Only the first step contributes."""
    return da[0].sum(0)


@WRONG.add("bptt.db_h", "last sample only")
def _(da):
    """Only the last sample contributes."""
    return da.sum(0)[-1]


@WRONG.add("bptt.db_h", "axes kept")
def _(da):
    """keepdim leaves two axes of length 1: (1, 1, H)."""
    return da.sum(dim=(0, 1), keepdim=True)


# --- bptt.jacobian


@WRONG.add("bptt.jacobian", "square of the bracket")
def _(h, W):
    """(1 - h)² for 1 - h²."""
    return torch.diag((1 - h) ** 2) @ W


@WRONG.add("bptt.jacobian", "elementwise product")
def _(h, W):
    """diag(…) * W keeps only the diagonal of W."""
    return torch.diag(1 - h**2) * W


@WRONG.add("bptt.jacobian", "W transposed inside")
def _(h, W):
    """diag(1 - h²) times the transposed W."""
    return (1 - h**2)[:, None] * W.T


@WRONG.add("bptt.jacobian", "vector for matrix")
def _(h, W):
    """(1 - h²) @ W: the rows are added up."""
    return (1 - h**2) @ W


# --- bptt.clip


@WRONG.add("bptt.clip", "root mean square")
def _(gradients, limit):
    """The root of the mean square instead of that of the sum of squares."""
    norm = torch.cat([g.flatten() for g in gradients]).pow(2).mean().sqrt()
    return [g * min(1.0, limit / norm.clamp(min=1e-12)) for g in gradients]


@WRONG.add("bptt.clip", "root forgotten")
def _(gradients, limit):
    """The sum of squares is compared with the limit, without the root."""
    norm = sum((g**2).sum() for g in gradients)
    return [g * limit / norm if norm > limit else g for g in gradients]


@WRONG.add("bptt.clip", "factor upside down")
def _(gradients, limit):
    """norm / limit for limit / norm: long gradients become longer."""
    norm = sum((g**2).sum() for g in gradients).sqrt()
    return [g * norm / limit if norm > limit else g for g in gradients]


@WRONG.add("bptt.clip", "return only where it clips")
def _(gradients, limit):
    """`return` stands inside the `if`: gradients below the limit give None."""
    norm = sum((g**2).sum() for g in gradients).sqrt()
    if norm > limit:
        return [g * limit / norm for g in gradients]


@WRONG.add("bptt.clip", "length 1 for length limit")
def _(gradients, limit):
    """Divided by the norm only: clipped to length 1 whatever the limit is."""
    norm = sum((g**2).sum() for g in gradients).sqrt()
    return [g / norm if norm > limit else g for g in gradients]
