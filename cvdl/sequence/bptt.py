"""Backpropagation through time, by hand (Werbos 1990; Goodfellow, Bengio, Courville 2016, section 10.2.2).

The network of `cvdl.sequence.rnn` with softmax and cross-entropy, its inner values named:

    a_t = V x_t + W h_{t-1} + b_h     h_t = tanh(a_t)
    o_t = U h_t + b_y                 y_t = softmax(o_t)     L_t = -log y_t[target]     L = sum_t L_t

Time comes first, rows are samples.  Each L_t is a mean over the batch; L is a sum over time.  `hs` holds
h_0 … h_T, so hs[t] is the lecture's h_t, hs[:-1] all h_{t-1}, and hs[1:] all h_t.
"""

import torch
import torch.nn.functional as F

from cvdl.errors import InvalidInput
from cvdl.sequence import rnn

GRADIENTS = ("dV", "dW", "db_h", "dU", "db_y")  # in the order in which functions here take the weights


def forward(xs, h0, targets, V, W, b_h, U, b_y):
    """All that the backward pass needs.

    xs: (T, B, D), h0: (B, H), targets: (T, B) long -> states hs (T + 1, B, H) from h_0 on,
    probabilities ys (T, B, K), losses L_t (T,), their sum L
    """
    hs = torch.cat([h0[None], rnn.unroll(xs, h0, V, W, b_h)])
    log_y = F.log_softmax(F.linear(hs[1:], U, b_y), -1)
    losses = -log_y.gather(-1, targets[..., None]).mean((1, 2))
    return hs, log_y.exp(), losses, losses.sum()


def output_gradient(ys, targets):
    """dL/do_t = (y_t - one-hot target) / B.  ys: (T, B, K), targets: (T, B) long -> (T, B, K)"""
    return (ys - F.one_hot(targets, ys.shape[-1])) / ys.shape[1]


def state_gradient(do, hs, W, U):
    """dL/dh_t: what comes down from o_t, and what comes back from h_{t+1} through its Jacobian.

    do: (T, B, K), hs: (T + 1, B, H) -> dh (T, B, H)
    """
    dh = list(do @ U)  # rows: U^T do_t is do_t @ U
    for t, J in reversed(list(enumerate(jacobians(hs, W)))[1:]):  # J leads from the state at t to the next
        dh[t - 1] = dh[t - 1] + torch.einsum("bi,bij->bj", dh[t], J)
    return torch.stack(dh)


def preactivation_gradient(dh, hs):
    """dL/da_t = dL/dh_t * tanh'(a_t), and tanh'(a_t) = 1 - h_t^2.  dh: (T, B, H), hs: (T + 1, B, H)"""
    return dh * (1 - hs[1:] ** 2)


def weight_gradient(d_out, inputs):
    """Gradient of M in `out_t = M in_t`, summed over time and batch.  (T, B, N), (T, B, M) -> (N, M)"""
    return torch.einsum("tbn,tbm->nm", d_out, inputs)


def bias_gradient(d_out):
    """Gradient of a bias that is added at every step.  (T, B, N) -> (N,)"""
    return d_out.sum((0, 1))


def backward(xs, targets, hs, ys, W, U):
    """All gradients in the order in which one computes them, as a dict.

    do, dU, db_y, then dh, da, then dW, dV, db_h; xs, targets as in `forward`, hs and ys from there.
    """
    do = output_gradient(ys, targets)
    dh = state_gradient(do, hs, W, U)
    da = preactivation_gradient(dh, hs)
    return {
        "do": do,
        "dU": weight_gradient(do, hs[1:]),
        "db_y": bias_gradient(do),
        "dh": dh,
        "da": da,
        "dW": weight_gradient(da, hs[:-1]),  # W met the state before
        "dV": weight_gradient(da, xs),
        "db_h": bias_gradient(da),
    }


def central_differences(f, x, step=1e-5):
    """df/dx by (f(x + step) - f(x - step)) / (2 step), one number of x after the other.

    f: tensor -> scalar; x: float64 of any shape -> the same shape.  Raises CourseError for other dtypes:
    in float32 the difference of two nearly equal losses has hardly a digit left.
    """
    if x.dtype != torch.float64:
        raise InvalidInput(f"Central differences need float64, and x is {x.dtype}: call x.double() first.")
    gradient = torch.zeros_like(x)
    for i in range(x.numel()):
        nudge = torch.zeros_like(x)
        nudge.view(-1)[i] = step
        gradient.view(-1)[i] = (f(x + nudge) - f(x - nudge)) / (2 * step)
    return gradient


def relative_error(ours, theirs):
    """|ours - theirs| / |theirs|, Euclidean norms over all numbers -> float"""
    return ((ours - theirs).norm() / theirs.norm()).item()


def first_difference(ours, right, tolerance=1e-6):
    """Name of the first entry that differs, or None.  Two dicts of tensors; the order is that of `right`."""
    for name, value in right.items():
        if ours[name].shape != value.shape or not relative_error(ours[name], value) < tolerance:
            return name
    return None


def clip_by_norm(gradients, limit):
    """Shrink all gradients by one factor, so that their common norm is at most `limit` (Pascanu et al. 2013).

    gradients: list of tensors -> new list; their direction stays.
    """
    norm = torch.stack([g.norm() for g in gradients]).norm()
    return [g * (limit / norm).clamp(max=1) for g in gradients]


# --- how far a gradient gets --------------------------------------------------------------------------


def jacobians(hs, W):
    """dh_i/dh_{i-1} = diag(1 - h_i^2) W along a run.  hs: (T + 1, …, H) -> (T, …, H, H)"""
    return (1 - hs[1:] ** 2)[..., None] * W


def products(jacobians):
    """dh_T/dh_{T-k} for k = 0 … T: the product J_T … J_{T-k+1}.  (T, …, H, H) -> (T + 1, …, H, H)"""
    H = jacobians.shape[-1]
    P = [torch.eye(H, dtype=jacobians.dtype).expand(jacobians.shape[1:])]
    for J in jacobians.flip(0):
        P.append(P[-1] @ J)
    return torch.stack(P)


def norm_by_lag(hs, W, gradient):
    """|dL_T/dh_{T-k}| for k = 0 … T, for each sample.

    hs: (T + 1, B, H); gradient: dL_T/dh_T (B, H) -> (T + 1, B)
    """
    norms, g = [gradient.norm(dim=-1)], gradient
    for h in hs[1:].flip(0):
        g = (g * (1 - h**2)) @ W
        norms.append(g.norm(dim=-1))
    return torch.stack(norms)


def orthogonal(size, gain=1.0, generator=None):
    """A random rotation times `gain`: all its singular values are `gain` (Saxe et al. 2014).  -> (size, size)"""
    Q, R = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    return gain * (Q * R.diagonal().sign())  # with this sign all rotations are equally likely


def driven_run(gain, hidden=128, steps=100, drive=0.1, batch=8, generator=None):
    """A tanh network with W = orthogonal(gain), fed with noise -> states hs (steps + 1, batch, hidden), W.

    drive: standard deviation of V x_t + b_h.  float64, h_0 = 0.
    """
    W = orthogonal(hidden, gain, generator)
    inputs = drive * torch.randn(steps, batch, hidden, generator=generator, dtype=torch.float64)
    eye, zero = torch.eye(hidden, dtype=torch.float64), torch.zeros(batch, hidden, dtype=torch.float64)
    return torch.cat([zero[None], rnn.unroll(inputs, zero, eye, W, zero[0])]), W
