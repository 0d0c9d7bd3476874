"""Right and wrong answers to the exercises of notebook 02, as students write them."""

import torch
import torch.nn.functional as F

# --- bptt.forward


def _forward(xs, h0, targets, V, W, b_h, U, b_y):
    hs, ys, losses = [h0], [], []
    for x, target in zip(xs, targets, strict=True):
        hs.append(torch.tanh(x @ V.T + hs[-1] @ W.T + b_h))
        o = hs[-1] @ U.T + b_y
        ys.append(torch.softmax(o, -1))
        losses.append(F.cross_entropy(o, target))
    return torch.stack(hs), torch.stack(ys), torch.stack(losses), sum(losses)


def _forward_filled(xs, h0, targets, V, W, b_h, U, b_y):
    T, B, _ = xs.shape
    hs = torch.zeros(T + 1, B, len(b_h))
    hs[0] = h0
    for t in range(T):
        hs[t + 1] = torch.tanh(F.linear(xs[t], V, b_h) + F.linear(hs[t], W))
    ys = torch.softmax(F.linear(hs[1:], U, b_y), dim=2)
    right = torch.gather(ys, 2, targets[:, :, None])[:, :, 0]
    losses = -right.log().mean(1)
    return [hs, ys, losses, losses.sum()]


def _forward_mean(*args):
    hs, ys, losses, _ = _forward(*args)
    return hs, ys, losses, losses.mean()


def _forward_no_h0(*args):
    hs, *rest = _forward(*args)
    return hs[1:], *rest


def _forward_logits(xs, h0, targets, V, W, b_h, U, b_y):
    hs, _, losses, loss = _forward(xs, h0, targets, V, W, b_h, U, b_y)
    return hs, hs[1:] @ U.T + b_y, losses, loss


# --- bptt.do


def _do(ys, targets):
    _, B, K = ys.shape
    return (ys - F.one_hot(targets, K).float()) / B


def _do_loops(ys, targets):
    do = ys.clone()
    for t in range(ys.shape[0]):
        for b in range(ys.shape[1]):
            do[t, b, targets[t, b]] -= 1
    return do / ys.shape[1]


def _do_batch(ys, targets):
    return ys - F.one_hot(targets, ys.shape[2])


def _do_sign(ys, targets):
    return (F.one_hot(targets, ys.shape[2]) - ys) / ys.shape[1]


def _do_no_target(ys, targets):
    return ys / len(ys[0])


def _do_mean(ys, targets):
    return _do(ys, targets) / len(ys)


# --- bptt.dU, bptt.dW, bptt.dV


def _dU(do, hs):
    return sum(do[t].T @ hs[t + 1] for t in range(len(do)))


def _dU_einsum(do, hs):
    return torch.einsum("tbk,tbh->kh", do, hs[1:])


def _dU_before(do, hs):
    return sum(do[t].T @ hs[t] for t in range(len(do)))


def _dU_mean(do, hs):
    return torch.stack([do[t].T @ hs[t + 1] for t in range(len(do))]).mean(0)


def _dU_transposed(do, hs):
    return sum(hs[t + 1].T @ do[t] for t in range(len(do)))


def _dW(da, hs):
    total = torch.zeros(da.shape[2], hs.shape[2])
    for t in range(da.shape[0]):
        for b in range(da.shape[1]):
            total = total + torch.outer(da[t, b], hs[t, b])
    return total


def _dW_flat(da, hs):
    return da.flatten(0, 1).T @ hs[:-1].flatten(0, 1)


def _dW_now(da, hs):
    return da.flatten(0, 1).T @ hs[1:].flatten(0, 1)


def _dW_from_1(da, hs):
    return sum(da[t].T @ hs[t] for t in range(1, len(da)))


def _dW_last(da, hs):
    return da[-1].T @ hs[-2]


def _dW_mean(da, hs):
    return _dW(da, hs) / len(da)


def _dV(da, xs):
    return sum(a.T @ x for a, x in zip(da, xs, strict=True))


def _dV_matmul(da, xs):
    return (da.transpose(1, 2) @ xs).sum(0)


def _dV_mean(da, xs):
    return (da.transpose(1, 2) @ xs).mean(0)


def _dV_transposed(da, xs):
    return (xs.transpose(1, 2) @ da).sum(0)


def _dV_late(da, xs):
    return sum(da[t].T @ xs[t - 1] for t in range(1, len(xs)))


# --- bptt.db_y, bptt.db_h


def _bias(d):
    return d.sum(dim=(0, 1))


def _bias_loops(d):
    total = torch.zeros(d.shape[-1])
    for step in d:
        for row in step:
            total = total + row
    return total


def _bias_mean(d):
    return d.sum(dim=1).mean(dim=0)


def _bias_batch(d):
    return d.sum(dim=0)


def _bias_last(d):
    return d[-1].sum(0)


# --- bptt.dh


def _dh(do, hs, W, U):
    later, dh = torch.zeros_like(hs[0]), [None] * len(do)
    for t in range(len(do) - 1, -1, -1):
        dh[t] = do[t] @ U + later
        later = (dh[t] * (1 - hs[t + 1] ** 2)) @ W
    return torch.stack(dh)


def _dh_columns(do, hs, W, U):
    T, B, _ = do.shape
    dh = torch.zeros(T, B, len(W))
    for b in range(B):
        g = U.T @ do[-1, b]
        dh[-1, b] = g
        for t in range(T - 2, -1, -1):
            g = U.T @ do[t, b] + W.T @ (torch.diag(1 - hs[t + 2, b].square()) @ g)
            dh[t, b] = g
    return dh


def _dh_own(do, hs, W, U):
    return torch.stack([d @ U for d in do])


def _dh_near(do, hs, W, U):
    dh = do @ U
    back = (dh[1:] * (1 - hs[2:] ** 2)) @ W
    return torch.cat([dh[:-1] + back, dh[-1:]])


def _dh_W(do, hs, W, U):
    return _dh(do, hs, W.T, U)


def _dh_twice(do, hs, W, U):
    return _dh(do, torch.tanh(hs), W, U)


def _dh_linear(do, hs, W, U):
    return _dh(do, torch.zeros_like(hs), W, U)


def _dh_square(do, hs, W, U):
    later, dh = torch.zeros_like(hs[0]), [None] * len(do)
    for t in reversed(range(len(do))):
        dh[t] = do[t] @ U + later
        later = (dh[t] * (1 - hs[t + 1])) @ W
    return torch.stack(dh)


def _dh_late(step):
    def dh(do, hs, W, U):
        later, dh = torch.zeros_like(hs[0]), [None] * len(do)
        for t in reversed(range(len(do))):
            dh[t] = do[t] @ U + later
            later = (dh[t] @ W) * (1 - hs[t + step] ** 2)
        return torch.stack(dh)

    return dh


def _dh_one_minus(do, hs, W, U):
    later, dh = torch.zeros_like(hs[0]), [None] * len(do)
    for t in reversed(range(len(do))):
        dh[t] = do[t] @ U + later
        later = (dh[t] * (1 - hs[t + 1]) ** 2) @ W
    return torch.stack(dh)


# --- bptt.da


def _da(dh, hs):
    return dh * (1 - hs[1:] ** 2)


def _da_loop(dh, hs):
    return torch.stack([dh[t] - dh[t] * hs[t + 1] * hs[t + 1] for t in range(len(dh))])


def _da_twice(dh, hs):
    return dh * (1 - torch.tanh(hs[1:]) ** 2)


def _da_before(dh, hs):
    return dh * (1 - hs[:-1] ** 2)


def _da_square(dh, hs):
    return dh * (1 - hs[1:])


def _da_difference(dh, hs):
    return dh * (1 - hs[1:]).square()


def _da_brackets(dh, hs):
    return dh * 1 - hs[1:] ** 2


def _da_turned(dh, hs):
    return -dh * (1 - hs[1:] ** 2)


# --- bptt.jacobian


def _jacobian(h, W):
    return torch.diag(1 - h**2) @ W


def _jacobian_rows(h, W):
    return torch.stack([(1 - h[i] ** 2) * W[i] for i in range(len(h))])


def _jacobian_columns(h, W):
    return W @ torch.diag(1 - h**2)


def _jacobian_linear(h, W):
    return W


def _jacobian_twice(h, W):
    return (1 - torch.tanh(h) ** 2)[:, None] * W


def _jacobian_transposed(h, W):
    return W.T @ torch.diag(1 - h**2)


# --- bptt.clip


def _clip(gradients, limit):
    norm = sum((g**2).sum() for g in gradients) ** 0.5
    return [g * limit / norm for g in gradients] if norm > limit else list(gradients)


def _clip_cat(gradients, limit):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    factor = min(1.0, limit / (norm.item() + 1e-12))
    return [factor * g for g in gradients]


def _clip_each(gradients, limit):
    return [g * limit / g.norm() if g.norm() > limit else g for g in gradients]


def _clip_value(gradients, limit):
    return [torch.clamp(g, min=-limit, max=limit) for g in gradients]


def _clip_always(gradients, limit):
    norm = torch.sqrt(sum((g**2).sum() for g in gradients)) + 1e-9
    return [g / norm * limit for g in gradients]


def _clip_two(gradients, limit):
    a, b = gradients
    norm = (a.square().sum() + b.square().sum()).sqrt()
    return [a * limit / norm, b * limit / norm] if norm > limit else [a, b]


def _clip_above_1(gradients, limit):
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    return [g * limit / norm for g in gradients] if norm > 1 else gradients


def _clip_squares(gradients, limit):
    square = sum((g**2).sum() for g in gradients)
    return [g * limit / square for g in gradients] if square > limit else gradients


RIGHT = {
    "bptt.forward": [_forward, _forward_filled],
    "bptt.do": [_do, _do_loops],
    "bptt.dU": [_dU, _dU_einsum],
    "bptt.db_y": [_bias, _bias_loops],
    "bptt.dh": [_dh, _dh_columns],
    "bptt.da": [_da, _da_loop],
    "bptt.dW": [_dW, _dW_flat],
    "bptt.dV": [_dV, _dV_matmul],
    "bptt.db_h": [_bias, _bias_loops],
    "bptt.jacobian": [_jacobian, _jacobian_rows],
    "bptt.clip": [_clip, _clip_cat],
}
_BIAS = {"mean over time": _bias_mean, "batch kept": _bias_batch, "last step only": _bias_last}
WRONG = {
    "bptt.forward": {
        "mean over time": _forward_mean,
        "h0 left out": _forward_no_h0,
        "no softmax": _forward_logits,
    },
    "bptt.do": {
        "batch forgotten": _do_batch,
        "wrong sign": _do_sign,
        "target forgotten": _do_no_target,
        "mean over time": _do_mean,
    },
    "bptt.dU": {"state before": _dU_before, "mean over time": _dU_mean, "transposed": _dU_transposed},
    "bptt.db_y": _BIAS,
    "bptt.dh": {
        "nothing from t+1": _dh_own,
        "one step back only": _dh_near,
        "W not transposed": _dh_W,
        "tanh' at the pre-activation": _dh_twice,
        "tanh' forgotten": _dh_linear,
        "square forgotten": _dh_square,
        "tanh' after W": _dh_late(1),
        "tanh' after W, one step early": _dh_late(0),
    },
    "bptt.da": {
        "tanh' at the pre-activation": _da_twice,
        "state before": _da_before,
        "square forgotten": _da_square,
        "square of the difference": _da_difference,
        "brackets forgotten": _da_brackets,
        "sign of the slope": _da_turned,
    },
    "bptt.dW": {
        "h_t for h_{t-1}": _dW_now,
        "h_0 left out": _dW_from_1,
        "last step only": _dW_last,
        "mean over time": _dW_mean,
    },
    "bptt.dV": {"mean over time": _dV_mean, "transposed": _dV_transposed, "inputs one step late": _dV_late},
    "bptt.db_h": _BIAS,
    "bptt.jacobian": {
        "slope on the columns": _jacobian_columns,
        "tanh' forgotten": _jacobian_linear,
        "tanh' at the pre-activation": _jacobian_twice,
        "transposed": _jacobian_transposed,
    },
    "bptt.clip": {
        "each by its own norm": _clip_each,
        "clipped by value": _clip_value,
        "small ones enlarged": _clip_always,
        "squares compared": _clip_squares,
    },
}
OTHERS = {
    "bptt.dh": [(_dh_one_minus, "da_2 = (0.75, 1)")],
    "bptt.clip": [(_clip_two, "a list of any length"), (_clip_above_1, "below the limit")],
}
