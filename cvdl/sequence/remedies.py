"""What helps against vanishing gradients: variants of one small network, that differ in one step.

Each is `net = NETWORKS[name](inputs, hidden, outputs)`, and `logits, memory = net(xs, memory)`: xs (T, B, D)
-> (T, B, K), and what it hands on to the next step, a tuple of tensors (B, H) that begins with h_t.  Without a
memory it starts from zeros.
"""

import torch
from torch import nn


class TanhRNN(nn.Module):
    """h_t = tanh(V x_t + W h_{t-1} + b_h).  All other networks here change `step`.

    Initialised like `torch.nn.RNN`: uniform in ±1/sqrt(hidden).
    """

    kept = 1  # tensors in the memory
    blocks = 1  # matrices stacked in V and W: an LSTM has four

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.hidden = hidden
        self.V = nn.Linear(inputs, self.blocks * hidden)  # its bias is b_h
        self.W = nn.Linear(hidden, self.blocks * hidden, bias=False)
        self.U = nn.Linear(hidden, outputs)
        for p in self.parameters():
            nn.init.uniform_(p, -(hidden**-0.5), hidden**-0.5)

    def step(self, a, memory):
        """a: V x_t + b_h -> the next memory."""
        (h,) = memory
        return (torch.tanh(a + self.W(h)),)

    def forward(self, xs, memory=None):
        memory = memory or (xs.new_zeros(xs.shape[1], self.hidden),) * self.kept
        hs = []
        for a in self.V(xs):  # V needs no earlier state: one product for all steps
            memory = self.step(a, memory)
            hs.append(memory[0])
        return self.U(torch.stack(hs)), memory


class SkipConnections(TanhRNN):
    """A second connection from h_{t-10}, past all steps between (Lin et al. 1996): every tenth step is enough.

    The memory holds the last ten states.
    """

    kept = delay = 10

    def __init__(self, inputs, hidden, outputs):
        super().__init__(inputs, hidden, outputs)
        self.S = nn.Linear(hidden, hidden, bias=False)
        nn.init.uniform_(self.S.weight, -(hidden**-0.5), hidden**-0.5)

    def step(self, a, memory):
        h = torch.tanh(a + self.W(memory[0]) + self.S(memory[-1]))
        return (h, *memory[:-1])


class NoLength1(TanhRNN):
    """Half of the units see h_{t-10} in place of h_{t-1}: they *must* live on a longer time scale.

    (Goodfellow et al. 2016, section 10.9.3.)  The same number of weights as the tanh RNN.
    """

    kept = delay = 10

    def step(self, a, memory):
        fast = self.hidden // 2
        near, far = self.W.weight[:fast], self.W.weight[fast:]
        h = torch.tanh(a + torch.cat([memory[0] @ near.T, memory[-1] @ far.T], -1))
        return (h, *memory[:-1])


class LeakyUnits(TanhRNN):
    """h_t = α h_{t-1} + (1 - α) tanh(…): what is there fades by α per step (Mozer 1992)."""

    alpha = 0.9

    def step(self, a, memory):
        (h,) = memory
        return (self.alpha * h + (1 - self.alpha) * torch.tanh(a + self.W(h)),)


class GatedUnits(TanhRNN):
    """α is no constant: the network sets it anew at each step, for each unit, from input and state.

    α_t = sigmoid(V_α x_t + W_α h_{t-1} + b_α): a GRU without its reset gate (Zhou et al. 2016).
    """

    blocks = 2

    def step(self, a, memory):
        (h,) = memory
        alpha, new = (a + self.W(h)).chunk(2, -1)
        alpha = torch.sigmoid(alpha)
        return (alpha * h + (1 - alpha) * torch.tanh(new),)


class IdentityStart(TanhRNN):
    """ReLU for tanh, and W starts as the identity: at first nothing fades (Le, Jaitly, Hinton 2015)."""

    def __init__(self, inputs, hidden, outputs):
        super().__init__(inputs, hidden, outputs)
        nn.init.eye_(self.W.weight)
        nn.init.zeros_(self.V.bias)

    def step(self, a, memory):
        (h,) = memory
        return (torch.relu(a + self.W(h)),)


class LSTM(TanhRNN):
    """The subject of notebook 03 (Hochreiter & Schmidhuber 1997).  Memory: h_t and the cell state c_t.

    Gates in torch's order i, f, g, o.  The forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    """

    kept, blocks = 2, 4

    def __init__(self, inputs, hidden, outputs):
        super().__init__(inputs, hidden, outputs)
        nn.init.ones_(self.V.bias[hidden : 2 * hidden])

    def step(self, a, memory):
        h, c = memory
        i, f, g, o = (a + self.W(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


NETWORKS = {
    "tanh RNN": TanhRNN,
    "skip connections": SkipConnections,
    "no length-1": NoLength1,
    "leaky units": LeakyUnits,
    "gated units": GatedUnits,
    "identity start": IdentityStart,
    "LSTM": LSTM,
}


def truncated(net, xs, size):
    """Truncated backpropagation through time (Williams & Peng 1990): go through xs in chunks of `size` steps.

    Yields (first, logits) per chunk; `first` is its first step.  Call backward() on each chunk's loss before the
    next is drawn.  The memory is carried on, but *detached*: its value counts, and its history is forgotten.
    Otherwise the second backward() would run into the first chunk's graph, which is gone.
    """
    memory = None
    for first in range(0, len(xs), size):
        logits, memory = net(xs[first : first + size], memory)
        yield first, logits
        memory = tuple(m.detach() for m in memory)
