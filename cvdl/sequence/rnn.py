"""A recurrent network from tensors up (Elman 1990), in the lecture's symbols:

    h_t = f_h(V x_t + W h_{t-1} + b_h)        V: (H, D)   W: (H, H)   b_h: (H,)
    y_t = f_y(U h_t + b_y)                    U: (K, H)   b_y: (K,)

Time comes first: a batch of sequences is (T, B, D).  f_h is tanh; f_y is left to the loss, so y_t
are *logits*.
"""

import torch
import torch.nn.functional as F
from torch import nn


def step(x, h, V, W, b_h):
    """One step of an Elman RNN on a batch; rows are samples.  x: (B, D), h: (B, H) -> (B, H)"""
    return torch.tanh(F.linear(x, V, b_h) + F.linear(h, W))


def unroll(xs, h0, V, W, b_h):
    """Run one set of weights over a whole sequence.  xs: (T, B, D), h0: (B, H) -> (T, B, H)"""
    # V x_t needs no earlier state, so all time steps share one matrix product.
    inputs = F.linear(xs, V, b_h)  # (T, B, H)
    hs, h = [], h0
    for a in inputs:
        h = torch.tanh(torch.addmm(a, h, W.T))
        hs.append(h)
    return torch.stack(hs) if hs else inputs


def count_parameters(D, H, K, T):
    """Learned numbers in V, W, b_h, U and b_y for T time steps: T makes no difference."""
    return H * (D + H + 1) + K * (H + 1)


def sequence_loss(logits, targets, mask):
    """L = sum_t L_t: cross-entropy summed over the steps that count, averaged over the batch.

    logits: (T, B, K), targets: (T, B) long, mask: (T, B) bool -> scalar.  Steps outside the mask
    are padding; their target may be any number.
    """
    each = F.cross_entropy(logits.flatten(0, 1), targets.masked_fill(~mask, 0).flatten(), reduction="none")
    return torch.where(mask.flatten(), each, each.new_zeros(())).sum() / logits.shape[1]


def last_state(hs, lengths):
    """The state after each sequence's own last step.  hs: (T, B, H), lengths: (B,) -> (B, H)"""
    index = (lengths - 1).view(1, -1, 1).expand(1, -1, hs.shape[-1])
    return hs.gather(0, index).squeeze(0)


def sample(logits, temperature, u):
    """Draw a class from softmax(logits / temperature) by inverting its cumulative distribution.

    logits: (B, K), temperature > 0, u: (B,) uniform in [0, 1) -> (B,) long: in each row the smallest k
    with p_0 + … + p_k > u.
    """
    cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]  # rounding may leave the last sum a hair below 1
    return torch.searchsorted(cumulative, u.double().unsqueeze(-1), right=True).squeeze(-1)


def teacher_inputs(targets, start):
    """What the decoder reads while it learns: the right answer, one step late.

    targets: (T, B) long, start: int -> (T, B): `start`, then targets[0] … targets[T-2].
    """
    return torch.cat([torch.full_like(targets[:1], start), targets[:-1]])


class RNN(nn.Module):
    """V, W, b_h, U, b_y as parameters; `net(xs, h0)` -> logits (T, B, K) and states (T, B, H).

    Initialised like `torch.nn.RNN`: uniform in ±1/sqrt(hidden).
    """

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.V = nn.Parameter(torch.empty(hidden, inputs))
        self.W = nn.Parameter(torch.empty(hidden, hidden))
        self.b_h = nn.Parameter(torch.empty(hidden))
        self.U = nn.Parameter(torch.empty(outputs, hidden))
        self.b_y = nn.Parameter(torch.empty(outputs))
        for p in self.parameters():
            nn.init.uniform_(p, -(hidden**-0.5), hidden**-0.5)

    def forward(self, xs, h0=None):
        h0 = xs.new_zeros(xs.shape[1], self.W.shape[0]) if h0 is None else h0
        hs = unroll(xs, h0, self.V, self.W, self.b_h)
        return F.linear(hs, self.U, self.b_y), hs
