"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000), in the lecture's symbols:

    f_t = σ(W_f [h_{t-1}, x_t] + b_f)         W_f, W_i, W_C, W_o: (H, H + D)    b_f, b_i, b_C, b_o: (H,)
    i_t = σ(W_i [h_{t-1}, x_t] + b_i)
    C̃_t = tanh(W_C [h_{t-1}, x_t] + b_C)
    C_t = f_t * C_{t-1} + i_t * C̃_t
    o_t = σ(W_o [h_{t-1}, x_t] + b_o)
    h_t = o_t * tanh(C_t)

`W`: (4, H, H + D) and `b`: (4, H) hold the four in the lecture's order, f i C o.  Time comes first: a batch of
sequences is (T, B, D).  PyTorch keeps the same weights in the order i f g o, where g is C̃; see `to_torch`.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from cvdl.errors import InvalidInput

GATES = ("forget gate", "input gate", "candidate", "output gate")  # the lecture's order
_ORDER = [1, 0, 2, 3]  # f i C o -> i f g o, and back


# --- the equations, one by one ------------------------------------------------------------------------


def sigmoid(x):
    """σ(x) = 1 / (1 + e^-x) without overflow at either end.  x: any shape -> the same"""
    e = torch.exp(torch.where(x < 0, x, -x))  # at most 1; .abs() would lose the slope at 0
    return torch.where(x < 0, e, torch.ones_like(e)) / (1 + e)


def gate(x, h, W, b):
    """σ(W [h, x] + b), one number between 0 and 1 per cell: f_t, i_t or o_t.

    x: (B, D), h: (B, H), W: (H, H + D), b: (H,) -> (B, H)
    """
    return sigmoid(F.linear(torch.cat([h, x], -1), W, b))


def candidate(x, h, W, b):
    """C̃_t = tanh(W_C [h, x] + b_C), what could be written into the cells; shapes as in `gate`."""
    return torch.tanh(F.linear(torch.cat([h, x], -1), W, b))


def update(c, f, i, new):
    """C_t = f * C_{t-1} + i * C̃_t, element by element; all (B, H)."""
    return torch.addcmul(i * new, f, c)


def output(c, o):
    """h_t = o * tanh(C_t); both (B, H)."""
    return o * torch.tanh(c)


def step(x, h, c, W, b):
    """One step of the cell.  x: (B, D), h and c: (B, H), W: (4, H, H + D), b: (4, H) -> new h and c."""
    a = torch.einsum("bn,khn->kbh", torch.cat([h, x], -1), W) + b[:, None]
    c = torch.sigmoid(a[0]) * c + torch.sigmoid(a[1]) * torch.tanh(a[2])
    return torch.sigmoid(a[3]) * torch.tanh(c), c


# --- one step backwards, by hand ----------------------------------------------------------------------


def backward_gates(dh, dc, c_before, c, gates):
    """From the gradients after a step to those at the four sums in it, and at the cell state before it.

    dh, dc: (B, H) are ∂L/∂h_t and ∂L/∂C_t, the latter by all ways that do not lead through h_t;
    c_before, c: (B, H) are C_{t-1} and C_t; gates: (4, B, H) are f, i, C̃, o
    -> da (4, B, H), the gradients by what stands inside σ, σ, tanh, σ, and dc_before (B, H).
    """
    f, i, new, o = gates
    squashed = torch.tanh(c)
    dc = dc + dh * o * (1 - squashed**2)
    d_gates = torch.stack([dc * c_before, dc * new, dc * i, dh * squashed])
    slope = torch.stack([f * (1 - f), i * (1 - i), 1 - new**2, o * (1 - o)])
    return d_gates * slope, dc * f


def backward_step(dh, dc, x, h, c_before, c, gates, W):
    """One step of backpropagation through time.

    dh, dc, c_before, c and gates as in `backward_gates`; x: (B, D), h: (B, H) and W: (4, H, H + D) are what went into
    the step -> gradients dx (B, D), dh_before (B, H), dc_before (B, H), dW (4, H, H + D), db (4, H).
    """
    da, dc_before = backward_gates(dh, dc, c_before, c, gates)
    dh_before, dx = torch.einsum("kbh,khn->bn", da, W).split([h.shape[1], x.shape[1]], -1)
    dW = torch.einsum("kbh,bn->khn", da, torch.cat([h, x], -1))
    return dx, dh_before, dc_before, dW, da.sum(1)


# --- PyTorch's layout ---------------------------------------------------------------------------------


def to_torch(W, b):
    """The lecture's weights as torch.nn.LSTM names and orders them: i f g o, inputs apart from states, two biases.

    W: (4, H, H + D), b: (4, H) -> {"weight_ih_l0": (4 H, D), "weight_hh_l0": (4 H, H), "bias_ih_l0": (4 H,),
    "bias_hh_l0": (4 H,)}, the last one zeros.
    """
    H = W.shape[1]
    rows, b = W[_ORDER].flatten(0, 1), b[_ORDER].flatten()
    return {
        "weight_ih_l0": rows[:, H:].clone(),
        "weight_hh_l0": rows[:, :H].clone(),
        "bias_ih_l0": b,
        "bias_hh_l0": torch.zeros_like(b),
    }


def to_lecture(weights):
    """The way back: a dict as `to_torch` makes it -> W (4, H, H + D), b (4, H); the two biases are added up."""
    rows = torch.cat([weights["weight_hh_l0"], weights["weight_ih_l0"]], 1)
    return rows.unflatten(0, (4, -1))[_ORDER], (weights["bias_ih_l0"] + weights["bias_hh_l0"]).view(4, -1)[_ORDER]


# --- the layer ----------------------------------------------------------------------------------------


class LSTM(nn.Module):
    """torch.nn.LSTM in readable form: same arguments, parameters and results; without dropout, projections and `bias=False`.

    net(xs, (h, c)) -> hs, (h, c) with xs (T, B, D) or a PackedSequence, hs (T, B, R * H) or packed, and h, c
    (layers * R, B, H), where R is 2 if bidirectional, else 1.  With batch_first xs and hs are (B, T, …); h and c are
    not.  Without states, both begin as zeros.  Raises CourseError for other shapes.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, *, batch_first=False, bidirectional=False):
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.bidirectional = batch_first, bidirectional
        for layer in range(num_layers):
            inputs = hidden_size * (1 + bidirectional) if layer else input_size
            for end in self._ends(layer):
                for name, *shape in (("weight_ih", inputs), ("weight_hh", hidden_size), ("bias_ih",), ("bias_hh",)):
                    value = torch.empty(4 * hidden_size, *shape).uniform_(-(hidden_size**-0.5), hidden_size**-0.5)
                    setattr(self, name + end, nn.Parameter(value))

    def _ends(self, layer):
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def forward(self, xs, state=None):
        if packed := isinstance(xs, PackedSequence):
            packing = xs
            xs, lengths = pad_packed_sequence(packing)
            mask = (torch.arange(len(xs))[:, None] < lengths)[..., None].to(xs.device)  # (T, B, 1)
        else:
            xs, mask = xs.transpose(0, 1) if self.batch_first else xs, None
        h0, c0 = self._states(xs, state)
        hs, cs = [], []
        for layer in range(self.num_layers):
            both = []
            for end in self._ends(layer):
                out, h, c = self._run(xs, h0[len(hs)], c0[len(cs)], mask, end)
                both.append(out)
                hs.append(h)
                cs.append(c)
            xs = torch.cat(both, -1)
        state = torch.stack(hs), torch.stack(cs)
        if packed:  # its rows are the steps that count, longest sequence first
            order = slice(None) if packing.sorted_indices is None else packing.sorted_indices
            return packing._replace(data=xs[:, order][mask[:, order, 0]]), state
        return xs.transpose(0, 1) if self.batch_first else xs, state

    def _run(self, xs, h, c, mask, end):
        """One layer in one direction -> states (T, B, H), and the last h and c.  Outside the mask both stand still."""
        W_x, W_h, b_x, b_h = (getattr(self, name + end) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        sums = F.linear(xs, W_x, b_x + b_h).unbind()  # the inputs' part: one product for all steps
        W_h, hs = W_h.T, [h] * len(xs)
        for t in reversed(range(len(xs))) if "reverse" in end else range(len(xs)):
            before = h, c
            i, f, g, o = torch.addmm(sums[t], h, W_h).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            if mask is not None:
                h, c = (torch.where(mask[t], new, old) for new, old in zip((h, c), before, strict=True))
            hs[t] = h
        return torch.stack(hs), h, c

    def _states(self, xs, state):
        if xs.dim() != 3 or xs.shape[2] != self.input_size or not len(xs):
            wanted = "(B, T, D)" if self.batch_first else "(T, B, D)"
            raise InvalidInput(
                f"An LSTM reads a batch of sequences {wanted} with D = {self.input_size} and at least one step; here "
                f"came {tuple(xs.transpose(0, 1).shape if self.batch_first else xs.shape)}. A single sequence needs an "
                "axis for the batch, too."
            )
        shape = (self.num_layers * (1 + self.bidirectional), xs.shape[1], self.hidden_size)
        if state is None:
            return xs.new_zeros(shape), xs.new_zeros(shape)
        if len(state) != 2 or any(s.shape != shape for s in state):
            came = ", ".join(str(tuple(s.shape)) for s in state)
            raise InvalidInput(f"The state is a pair (h, c), each {shape}: layers, batch, units. Here came {came}.")
        return state


def forget_bias_(net, value):
    """Set the biases of all forget gates of an nn.LSTM, ours or torch's, to `value`, in place.

    There are two of each, which are added up: the second becomes 0 (Gers et al. 2000; Jozefowicz et al. 2015).
    """
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.startswith(("bias_ih", "bias_hh")):
                p.chunk(4)[1].fill_(value if "_ih" in name else 0.0)
    return net


@torch.no_grad()
def watch(net, xs):
    """What the first layer of an nn.LSTM, ours or torch's, does at each step, from zero states.

    xs: (T, B, D) -> {"f", "i", "C̃", "o", "C", "h"}, each (T, B, H)
    """
    W, b = to_lecture(dict(net.named_parameters()))
    h = c = xs.new_zeros(xs.shape[1], W.shape[1])
    seen = {name: [] for name in ("f", "i", "C̃", "o", "C", "h")}
    for x in xs:
        f, i, new, o = (kind(x, h, *w) for kind, *w in zip((gate, gate, candidate, gate), W, b, strict=True))
        c = update(c, f, i, new)
        h = output(c, o)
        for name, value in zip(seen, (f, i, new, o, c, h), strict=True):
            seen[name].append(value)
    return {name: torch.stack(values) for name, values in seen.items()}


def back_in_time(step, xs, *state, generator=None):
    """How much of a gradient arrives, the further one goes back.

    step(x, *state) -> the next state, h first: one of an RNN, h, or a tuple, h and c.  xs: (T, B, D).  The loss is a
    random projection of the last h -> norms (T + 1,) of its gradient by the last member of the state (h of an RNN, c of
    an LSTM), averaged over the batch, at the end and 1, 2, … T steps before.
    """
    state = tuple(s.detach().requires_grad_() for s in state)
    watched = [state[-1]]
    for x in xs:
        state = step(x, *state)
        state = state if isinstance(state, tuple) else (state,)
        watched.append(state[-1])
    weights = torch.randn(state[0].shape, generator=generator).to(state[0])
    gradients = torch.autograd.grad((state[0] * weights).sum(), watched)
    return torch.stack([g.norm(dim=-1).mean() for g in reversed(gradients)])


# --- states that are maps -----------------------------------------------------------------------------


class ConvLSTMCell(nn.Module):
    """An LSTM whose states are maps and whose products are convolutions (Shi et al. 2015, eq. 3, without peepholes).

    cell(x, (h, c)) -> h, c with x (B, D, height, width) and h, c (B, H, height, width).  `kernel` is odd, or a pair of
    odd numbers, and the maps keep their size.  Rows of the weight: i f g o, as in nn.LSTM.
    """

    def __init__(self, inputs, hidden, kernel=3):
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        if min(sides) < 1 or any(side % 2 == 0 for side in sides):
            raise InvalidInput(f"The kernel has to be odd, so that maps keep their size; it is {kernel}. Take 3 or 5.")
        self.hidden = hidden
        self.conv = nn.Conv2d(inputs + hidden, 4 * hidden, sides, padding=[side // 2 for side in sides])

    def forward(self, x, state=None):
        h, c = state or [x.new_zeros(len(x), self.hidden, *x.shape[2:])] * 2
        i, f, g, o = self.conv(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class ConvLSTM(ConvLSTMCell):
    """The cell, run over a sequence: net(xs, (h, c)) -> hs, (h, c) with xs (T, B, D, height, width)."""

    def forward(self, xs, state=None):
        hs = []
        for x in xs:
            state = super().forward(x, state)
            hs.append(state[0])
        return torch.stack(hs), state
