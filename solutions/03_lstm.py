# %% [markdown]
# # 3 · LSTM
#
# **About two and a half hours**, more than half of it exercises. Afterwards you can
#
# - write an LSTM cell equation by equation, forwards and one step backwards,
# - use `nn.LSTM` without guessing: shapes, padding, states, files,
# - say why it remembers longer than a plain RNN, and see it at work on a text,
# - choose between its relatives: bidirectional, stacked, convolutional, with attention, transformer.
#
# You need notebook 1, and from notebook 2 that gradients through many steps explode or vanish.
#
# Stuck? `hint("lstm.step")` helps, again and again. To go on without an exercise: `use_library("lstm.step")`.

# %% tags=["bootstrap"]

# %%
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tqdm import tqdm

from cvdl import (
    budget,
    check,
    exercise,
    explore,
    figures,
    hint,
    outcome,
    progress,
    seed,
    show,
    use_library,
)
from cvdl.sequence import attention, lstm, rnn, tasks
from cvdl.sequence.plotting import draw, draw_lstm

torch.set_num_threads(1)  # products as small as these keep several threads waiting

# %% [markdown]
# ## A belief to lose
#
# An LSTM keeps a memory $C_t$, a row of numbers. At each step it multiplies each of them by a number between 0 and 1, the
# *forget gate*. In a fresh network the gate is about one half.
#
# One half sounds neutral: neither keep nor forget. **Write down a guess:** how much of an input is left in the
# memory after 20 steps? The section *Why it works* has the answer.

# %% [markdown]
# ## The cell
#
# An RNN has one state, and makes it anew at each step. An LSTM has two, $C_t$ and $h_t$:
#
# | symbol | what | shape |
# |---|---|---|
# | $x_t$ | input | $D$ |
# | $C_t$ | cell state, the memory | $H$ |
# | $h_t$ | hidden state, which is also the output | $H$ |
#
# *The* cell is this whole block. Its states have $H$ entries, each with gates of its own: we call one entry a **unit**.
#
# Choose a part, and follow the arrows from left to right.

# %%
explore(
    lambda part: draw_lstm.cell(part),
    "One step of the cell, with the boxes of the {part} framed. C_{{t-1}} runs straight to C_t, past a product "
    "with f_t and a sum with i_t times the candidate. h_t is o_t times tanh of C_t. All four boxes below read "
    "h_{{t-1}} and x_t.",
    part=["forget gate", "input gate and candidate", "update", "output"],
)

# %% [markdown]
# The upper line is the point: from $C_{t-1}$ to $C_t$ there is a product and a sum, and **no matrix**. With $f=1$
# and $i=0$ the state goes through unchanged.

# %% [markdown]
# ## The sigmoid
#
# A gate has to be between 0, shut, and 1, open. That is what $\sigma$ is for:
#
# $$\sigma(x)=\frac{1}{1+e^{-x}}=\frac{e^x}{1+e^x}=1-\sigma(-x)$$
#
# On paper the forms are equal. In a computer $e^{1000}$ is infinite. We try the first two; the third only joins them.

# %%
far = torch.tensor([-1000.0, 0.0, 1000.0], requires_grad=True)
for name, form in {
    "1 / (1 + e^-x)": lambda x: 1 / (1 + torch.exp(-x)),
    "e^x / (1 + e^x)": lambda x: torch.exp(x) / (1 + torch.exp(x)),
}.items():
    y = form(far)
    slope = torch.autograd.grad(y.sum(), far)[0]
    print(f"{name:>16}: values {y.tolist()}, slopes {slope.tolist()}")

# %% [markdown]
# Each form fails at one end: in its value, or only in its slope. One `nan` in a slope is enough to ruin all weights.

# %% [markdown]
# > **Exercise 1 · `lstm.sigmoid`** · medium · 10 minutes · 10 points
# >
# > Write $\sigma$ so that values *and slopes* are right at both ends. (`torch.sigmoid` does it, and passes; here you
# > find out how.)
# >
# > *The value is right and the slope is `nan`?* `torch.where` computes both branches. The slope of the one not taken
# > is multiplied by 0, and $0\cdot\infty$ is `nan`.


# %%
@exercise("lstm.sigmoid", points=10)
def sigmoid(x):
    """σ(x) without overflow.  x: any shape -> the same shape"""
    ### BEGIN SOLUTION
    below = torch.exp(torch.where(x < 0, x, -x))  # never above 1
    return torch.where(x < 0, below / (1 + below), 1 / (1 + below))
    ### END SOLUTION


# %%
check("lstm.sigmoid")

# %% tags=["expect"]
print([f"{v:.4f}" for v in sigmoid(torch.tensor([-1000.0, -2.0, 0.0, 2.0, 1000.0])).tolist()])

# %% [markdown]
# ## One equation after the other
#
# ### Forget gate: how much is kept?
#
# $$f_t=\sigma(W_f\cdot[h_{t-1},x_t]+b_f)$$
#
# $[h_{t-1},x_t]$ means both side by side, so $W_f$ is $H{\times}(H{+}D)$. The gate is named upside down: $f=1$
# *keeps* everything, $f=0$ forgets it.

# %% [markdown]
# > **Exercise 2 · `lstm.forget`** · easy · 5 minutes · 8 points
# >
# > Write the gate for a batch of rows.
# >
# > *Right shape, wrong numbers?* In the brackets the state comes first.


# %%
@exercise("lstm.forget", points=8)
def forget_gate(x, h, W_f, b_f):
    """x: (B, D), h: (B, H), W_f: (H, H + D), b_f: (H,) -> f_t (B, H)"""
    ### BEGIN SOLUTION
    both = torch.cat([h, x], dim=1)
    return sigmoid(both @ W_f.T + b_f)
    ### END SOLUTION


# %%
check("lstm.forget")

# %% tags=["expect"]
x, h = torch.tensor([[1.0]]), torch.tensor([[0.0]])
for bias in (-2.0, 0.0, 2.0):
    f = forget_gate(x, h, torch.tensor([[0.0, 1.0]]), torch.tensor([bias]))
    print(f"bias {bias:+.0f}: {f.item():.3f} of the memory is kept")

# %% [markdown]
# ### Input gate and candidate: what is written, and how much?
#
# $$i_t=\sigma(W_i\cdot[h_{t-1},x_t]+b_i)\qquad \tilde C_t=\tanh(W_C\cdot[h_{t-1},x_t]+b_C)$$

# %% [markdown]
# > **Exercise 3 · `lstm.candidate`** · easy · 10 minutes · 10 points
# >
# > Return both, the gate first.
# >
# > *May a candidate be negative?* Yes. So which function is it?


# %%
@exercise("lstm.candidate", points=10)
def input_gate(x, h, W_i, b_i, W_C, b_C):
    """x: (B, D), h: (B, H), weights (H, H + D), biases (H,) -> i_t and C̃_t, each (B, H)"""
    ### BEGIN SOLUTION
    both = torch.cat([h, x], dim=1)
    return sigmoid(both @ W_i.T + b_i), torch.tanh(both @ W_C.T + b_C)
    ### END SOLUTION


# %%
check("lstm.candidate")

# %% tags=["expect"]
i, new = input_gate(
    x,
    h,
    torch.tensor([[0.0, 3.0]]),
    torch.zeros(1),
    torch.tensor([[0.0, -1.0]]),
    torch.zeros(1),
)
print(f"the gate is open to {i.item():.3f}, and {new.item():.3f} would be written")

# %% [markdown]
# ### Update
#
# $$C_t=f_t * C_{t-1}+i_t * \tilde C_t$$
#
# $*$ is element by element. Each unit minds its own memory.

# %% [markdown]
# > **Exercise 4 · `lstm.update`** · easy · 5 minutes · 6 points
# >
# > *The state grows without end?* A gate multiplies; it does not add.


# %%
@exercise("lstm.update", points=6)
def update(c, f, i, new):
    """All (B, H): C_{t-1}, f_t, i_t, C̃_t -> C_t"""
    ### BEGIN SOLUTION
    return f * c + i * new
    ### END SOLUTION


# %%
check("lstm.update")

# %% tags=["expect"]
c = torch.tensor([[2.0, 2.0, 2.0]])
print(
    update(
        c,
        torch.tensor([[1.0, 0.0, 1.0]]),
        torch.tensor([[0.0, 1.0, 1.0]]),
        torch.tensor([[0.5, 0.5, 0.5]]),
    )
)

# %% [markdown]
# Three units: the first kept its 2, the second replaced it, the third added to it.

# %% [markdown]
# ### Output gate and hidden state
#
# $$o_t=\sigma(W_o\cdot[h_{t-1},x_t]+b_o)\qquad h_t=o_t*\tanh(C_t)$$
#
# What a unit knows and what it shows are different things. A unit may hold a memory for a hundred steps with its
# output shut.

# %% [markdown]
# > **Exercise 5 · `lstm.output`** · easy · 5 minutes · 8 points
# >
# > *A hidden state above 1?* Something is missing around $C_t$.


# %%
@exercise("lstm.output", points=8)
def hidden(x, h, c, W_o, b_o):
    """x: (B, D), h: h_{t-1} (B, H), c: C_t (B, H), W_o: (H, H + D), b_o: (H,) -> h_t (B, H)"""
    ### BEGIN SOLUTION
    o = sigmoid(torch.cat([h, x], dim=1) @ W_o.T + b_o)
    return o * torch.tanh(c)
    ### END SOLUTION


# %%
check("lstm.output")

# %% tags=["expect"]
for bias in (-5.0, 5.0):
    shown = hidden(x, h, torch.tensor([[3.0]]), torch.zeros(1, 2), torch.tensor([bias]))
    print(f"the unit holds 3; with the output bias {bias:+.0f} it shows {shown.item():.3f}")

# %% [markdown]
# ### The whole step
#
# The four weights come in one tensor `W`, `(4, H, H + D)`, and the biases in `b`, `(4, H)`. Their order is the
# lecture's: **f, i, C, o**.

# %% [markdown]
# > **Exercise 6 · `lstm.step`** · medium · 10 minutes · 12 points
# >
# > Put the parts together. You may call your four functions.
# >
# > *«keep, and write nothing» passes, «random» does not?* The output reads the new state.


# %%
@exercise("lstm.step", points=12)
def lstm_step(x, h, c, W, b):
    """x: (B, D), h and c: (B, H), W: (4, H, H + D), b: (4, H) -> the new h and c"""
    ### BEGIN SOLUTION
    f = forget_gate(x, h, W[0], b[0])
    i, new = input_gate(x, h, W[1], b[1], W[2], b[2])
    c = update(c, f, i, new)
    return hidden(x, h, c, W[3], b[3]), c
    ### END SOLUTION


# %%
check("lstm.step")

# %% tags=["expect"]
seed(0)
B, D, H = 2, 3, 4
W, b = torch.randn(4, H, H + D), torch.zeros(4, H)
h = c = torch.zeros(B, H)
for t in range(3):
    h, c = lstm_step(torch.ones(B, D), h, c, W, b)
    print(f"step {t + 1}: C = {c[0].numpy().round(2)}, h = {h[0].numpy().round(2)}")

# %% [markdown]
# The states $C$ may leave the range from -1 to 1; the $h$ never do.

# %% [markdown]
# ## The same in PyTorch
#
# `nn.LSTM` keeps the same numbers in another layout. The gates stand in the order **i, f, g, o**, where $g$ is
# $\tilde C$. Weights for inputs and for states are apart. And there are **two** biases, which are added: one
# would do.
#
# | name | shape |
# |---|---|
# | `weight_ih_l0` | $4H\times D$ |
# | `weight_hh_l0` | $4H\times H$ |
# | `bias_ih_l0`, `bias_hh_l0` | $4H$ |

# %% [markdown]
# > **Exercise 7 · `lstm.torch`** · medium · 15 minutes · 12 points
# >
# > Turn `W` and `b` into a dict with the four names above, as `load_state_dict` takes it. How you share `b` between the two
# > biases is free: their sum counts.
# >
# > *All shapes fit, and the results differ?* Look at the order of the gates, then at which columns belong to $h$.


# %%
@exercise("lstm.torch", points=12)
def to_torch(W, b):
    """W: (4, H, H + D), b: (4, H), order f i C o -> dict of the four tensors above, order i f g o"""
    ### BEGIN SOLUTION
    H = W.shape[1]
    rows = torch.cat([W[1], W[0], W[2], W[3]])
    bias = torch.cat([b[1], b[0], b[2], b[3]])
    return {
        "weight_ih_l0": rows[:, H:],
        "weight_hh_l0": rows[:, :H],
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros_like(bias),
    }
    ### END SOLUTION


# %%
check("lstm.torch")

# %% tags=["expect"]
for name, tensor in to_torch(W, b).items():
    print(f"{name:>12} {tuple(tensor.shape)}")

# %% [markdown]
# Now your cell, run over 20 steps, against `nn.LSTM` with the copied weights: results and **all gradients**.

# %%
# NBVAL_CHECK_OUTPUT (a mark for the automatic tests: this output is compared)
seed(0)
D, H, T = 5, 7, 20
W = (0.4 * torch.randn(4, H, H + D)).requires_grad_()
b = (0.4 * torch.randn(4, H)).requires_grad_()
xs = torch.randn(T, 3, D, requires_grad=True)
weight = torch.randn(T, 3, H)  # the loss is a weighted mean of all states
h = c = torch.zeros(3, H)
states = []
for x in xs:
    h, c = lstm_step(x, h, c, W, b)
    states.append(h)
states = torch.stack(states)
dW, db, dxs = torch.autograd.grad((states * weight).mean(), [W, b, xs])

theirs = nn.LSTM(D, H)
theirs.load_state_dict({name: w.detach() for name, w in to_torch(W, b).items()})
their_states, _ = theirs(xs)
(their_states * weight).mean().backward(inputs=[*theirs.parameters(), xs])
their_dW, their_db = lstm.to_lecture({name: p.grad for name, p in theirs.named_parameters()})
their_db = their_db / 2  # to_lecture adds the two biases, and each has the whole gradient

for name, ours, other in (
    ("states", states, their_states),
    ("gradient of W", dW, their_dW),
    ("gradient of b", db, their_db),
    ("gradient of the inputs", dxs, xs.grad),
):
    print(f"{name}, apart by less than 1e-6:", (ours - other).abs().max().item() < 1e-6)

# %% [markdown]
# (If one of them says `False`, see the checks of `lstm.step` and `lstm.torch`.)

# %% [markdown]
# ## One step backwards
#
# Two gradients come from the step after: $dh=\partial L/\partial h_t$, and $dc$, what reaches $C_t$ *without* going
# through $h_t$.
#
# **1. All that reaches $C_t$:**
#
# $$\delta C_t = dc + dh * o_t * \big(1-\tanh^2(C_t)\big)$$
#
# **2. A product** hands each factor the gradient times the other. From $f_t * C_{t-1}$, the gate $f_t$ gets
# $\delta C_t * C_{t-1}$, and $C_{t-1}$ gets $\delta C_t * f_t$. Likewise $i_t * \tilde C_t$, and $o_t * \tanh(C_t)$
# with $dh$.
#
# **3. From a gate to the sum inside it:** call the four sums $a_f, a_i, a_C, a_o$. Each gets the gradient of its gate
# times the slope. The slope is written with the value itself, since `gates` holds values after $\sigma$ and $\tanh$:
# $f(1-f)$, and $1-\tilde C^2$.
#
# So two things go on to the step before: through $h_{t-1}$, with matrices, as in an RNN; and along $C$,
# $\delta C_t * f_t$: **no matrix**. Keep the second in mind.

# %% [markdown]
# > **Exercise 8 · `lstm.backward`** · hard · 20 minutes · 14 points
# >
# > `gates` holds $f_t, i_t, \tilde C_t, o_t$. Return the gradients $da_f, da_i, da_C, da_o$ of the four sums, and the
# > gradient at $C_{t-1}$.
# >
# > *«only dc comes in» passes, «only dh comes in» does not?* Two ways lead to $\delta C_t$.


# %%
@exercise("lstm.backward", points=14)
def step_back(dh, dc, c_before, c, gates):
    """dh, dc, c_before, c: (B, H), gates: (4, B, H) -> five tensors (B, H)"""
    ### BEGIN SOLUTION
    f, i, new, o = gates
    shown = torch.tanh(c)
    at_c = dc + dh * o * (1 - shown**2)
    da_f = at_c * c_before * f * (1 - f)
    da_i = at_c * new * i * (1 - i)
    da_C = at_c * i * (1 - new**2)
    da_o = dh * shown * o * (1 - o)
    return da_f, da_i, da_C, da_o, at_c * f
    ### END SOLUTION


# %%
check("lstm.backward")

# %% tags=["expect"]
half, one = torch.full((1, 1), 0.5), torch.ones(1, 1)
answer = step_back(dh=0 * one, dc=one, c_before=one, c=one, gates=torch.stack([half] * 4))
print([f"{a.item():.4f}" for a in answer])

# %% [markdown]
# From these four $da$, the gradients of the weights follow by one product, as in notebook 2. Another one leads to
# $h_{t-1}$. Here is a whole backward pass with your step, over all 20 steps, against autograd. All gates are one function
# of other weights, so `forget_gate` also computes $o$.

# %%
# NBVAL_CHECK_OUTPUT
with torch.no_grad():
    h = c = torch.zeros(3, H)
    steps = []
    for x in xs:  # forwards, keeping what the way back needs
        f = forget_gate(x, h, W[0], b[0])
        i, new = input_gate(x, h, W[1], b[1], W[2], b[2])
        o = forget_gate(x, h, W[3], b[3])
        c_before, h_before = c, h
        h, c = lstm_step(x, h, c, W, b)
        steps.append((x, h_before, c_before, c, torch.stack([f, i, new, o])))

    dh = dc = torch.zeros(3, H)
    by_hand = torch.zeros_like(W)
    for t in reversed(range(T)):
        x, h, c_before, c, gates = steps[t]
        dh = dh + weight[t] / weight.numel()  # the loss looks at each h_t
        *da, dc = step_back(dh, dc, c_before, c, gates)
        da = torch.stack(da)  # (4, B, H)
        by_hand += torch.einsum("kbh,bn->khn", da, torch.cat([h, x], 1))  # for all four weights
        dh = torch.einsum("kbh,khn->bn", da, W)[:, :H]  # the first H columns belong to h
print("by hand against autograd, below 1e-6:", (by_hand - dW).abs().max().item() < 1e-6)

# %% [markdown]
# ## `nn.LSTM` without guessing
#
# `nn.LSTM(input_dim, hidden_dim, n_layers)` runs the cell over a whole sequence.

# %%
layer = nn.LSTM(5, 7, num_layers=2, bidirectional=True)
hs, (h, c) = layer(torch.randn(11, 3, 5))  # 11 steps, batch of 3, 5 inputs

# %% [markdown]
# > **Exercise 9 · `lstm.shapes`** · medium · 10 minutes · 10 points
# >
# > Without printing them: which shapes do these have? `weight_ih_l1` is the input weight of the second layer.
# >
# > *`h` and `c` are wrong?* They have a row for each layer and each direction.


# %%
@exercise("lstm.shapes", points=10)
def shapes():
    """Write a tuple, such as (11, 3, 5), in place of each `...`."""
    ### BEGIN SOLUTION
    return {
        "hs": (11, 3, 14),
        "h": (4, 3, 7),
        "c": (4, 3, 7),
        "weight_hh_l0": (28, 7),
        "weight_ih_l1": (28, 14),
    }
    ### END SOLUTION


# %%
check("lstm.shapes")

# %% [markdown]
# `hs` holds **all steps of the last layer**. `h` and `c` hold **the last step of all layers**. Their rows are: layer 1
# forwards, layer 1 backwards, layer 2 forwards, layer 2 backwards. The last step of a backward direction is the *first*
# step of the sequence.

# %%
print("forwards:  hs[-1] holds the last state:", torch.equal(hs[-1, :, :7], h[-2]))
print("backwards: hs[0] holds it:", torch.equal(hs[0, :, 7:], h[-1]))

# %% [markdown]
# With `batch_first=True`, inputs and `hs` become `(B, T, …)`. `h` and `c` do not.

# %%
layer = nn.LSTM(5, 7, num_layers=2, batch_first=True)
hs, (h, c) = layer(torch.randn(3, 11, 5))
print("hs", tuple(hs.shape), "h", tuple(h.shape), "c", tuple(c.shape))
print("the last step of hs is the h of the last layer:", torch.equal(hs[:, -1], h[-1]))

# %% [markdown]
# ### What about the sequence length?
#
# It is nowhere among the arguments: the cell does not know it. But in a batch of real names, the lengths differ.

# %%
alphabet, people = tasks.Alphabet(), tasks.names()
ids, lengths = tasks.pad([alphabet.encode(name) for name in ("li", "nieminen", "mcdonnell")])
letters = tasks.one_hot(ids, len(alphabet))
print("letters", tuple(letters.shape), "lengths", lengths.tolist())

seed(0)
layer = nn.LSTM(len(alphabet), 6, bidirectional=True)
_, (alone, _) = layer(letters[:3, :1])  # "li" and its end symbol
padded_hs, (padded, _) = layer(letters)
packed = pack_padded_sequence(letters, lengths, enforce_sorted=False)
hs, (right, _) = layer(packed)
print("the last state of “li”, read alone, against read in the batch:")
picked = padded_hs[lengths[0] - 1, 0, :6]  # of the forward direction, at its own last step
print(f"  padded: apart by {(padded[:, 0] - alone[:, 0]).abs().max().item():.3f}")
print(f"  forwards, picked at its own end: {(picked - alone[0, 0]).abs().max().item():.3f}")
print(f"  backwards: {(padded[1, 0] - alone[1, 0]).abs().max().item():.3f}")
print(f"  packed: apart by {(right[:, 0] - alone[:, 0]).abs().max().item():.3f}")
outcome("padding changes the state", (padded[:, 0] - alone[:, 0]).abs().max() > 0.01)
outcome("packing does not", (right[:, 0] - alone[:, 0]).abs().max() < 1e-6)

# %% [markdown]
# Padding (here a row of zeros) is read like any other input. **Packing** tells the layer where each sequence ends.
#
# For a *forward* layer one may also pad, and pick each sequence's own last state (exercise 6 of notebook 1). A *backward*
# layer begins in the padding: for it, pack.
#
# `pad_packed_sequence` leads back, and a mask keeps the padding out of the loss.

# %%
hs, again = pad_packed_sequence(hs)
mask = tasks.valid(again)
print(tuple(hs.shape), again.tolist(), "steps that count:", int(mask.sum()))

# %% [markdown]
# ### A state that goes on
#
# A long text is read in chunks. The state of one chunk is the start of the next. Forget to hand it over, and each chunk
# begins with an empty memory.

# %%
seed(0)
layer, long = nn.LSTM(4, 6), torch.randn(90, 1, 4)
whole, _ = layer(long)
state, chunks, fresh = None, [], []
for chunk in long.split(30):
    out, state = layer(chunk, state)
    chunks.append(out)
    fresh.append(layer(chunk)[0])
print(f"handed over: apart by {(torch.cat(chunks) - whole).abs().max().item():.0e}")
print(f"forgotten:   apart by {(torch.cat(fresh) - whole).abs().max().item():.2f}")

# %% [markdown]
# In training one detaches the state between chunks: `state = tuple(s.detach() for s in state)`. That is truncated
# backpropagation through time, from notebook 2. The memory goes on; the gradient stops.

# %% [markdown]
# ### Saving and loading
#
# Save the parameters, not the object, and in a format that holds nothing but numbers. A saved object is a pickle, and
# loading one may run code.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "lstm.safetensors"
    save_file(layer.state_dict(), path)
    copy = nn.LSTM(4, 6)
    copy.load_state_dict(load_file(path))
    print(f"{path.stat().st_size} bytes; same results: {torch.equal(copy(long)[0], whole)}")

# %% [markdown]
# ## Why it works
#
# What is kept of $C$ over 20 steps is the product of 20 forget gates. The gradient along $C$ is multiplied by the same 20
# numbers, so we measure that.
#
# The loss is a weighted sum of the last $h$ with random weights. We look at its gradient by the state of each step before:
# by $h$ of an RNN, by $C$ of an LSTM. Both are fresh, as PyTorch initialises them (but for the forget bias, which we
# set).

# %%
T, H = 100, 64


def arriving(forget_bias=None):
    """Norm of the gradient 0 … T steps back; without a bias, of an RNN."""
    dice = seed(0)
    xs, zero = torch.randn(T, 8, 16).double(), torch.zeros(8, H).double()
    if forget_bias is None:
        net = rnn.RNN(16, H, 1).double()
        norms = lstm.back_in_time(
            lambda x, h: rnn.step(x, h, net.V, net.W, net.b_h), xs, zero, generator=dice
        )
    else:
        layer = lstm.forget_bias_(nn.LSTM(16, H), forget_bias).double()
        W, b = lstm.to_lecture({name: p.detach() for name, p in layer.named_parameters()})
        norms = lstm.back_in_time(
            lambda x, h, c: lstm.step(x, h, c, W, b), xs, zero, zero, generator=dice
        )
    return (norms / norms[0]).tolist()


# %% [markdown]
# An RNN, and three LSTMs that differ in the bias of the forget gate.

# %%
fresh = {
    "RNN": arriving(),
    "LSTM, bias 0": arriving(0.0),
    "LSTM, bias 1": arriving(1.0),
    "LSTM, bias 4": arriving(4.0),
}
show(
    draw_lstm.backwards(fresh),
    "Gradient against the number of steps back, logarithmic. "
    + "; ".join(f"{name}: {values[20]:.0e} after 20 steps" for name, values in fresh.items())
    + ".",
)
for name, values in fresh.items():
    print(f"{name:>12}: {values[20]:.1e} after 20 steps, {values[-1]:.1e} after {T}")
outcome(
    "an RNN, and a forget gate of one half, forget within 20 steps",
    max(fresh["RNN"][20], fresh["LSTM, bias 0"][20]) < 1e-3,
)
outcome(
    "bias 1 lets 100 times more through after 20 steps than bias 0",
    fresh["LSTM, bias 1"][20] > 100 * fresh["LSTM, bias 0"][20],
)

# %% [markdown]
# There is your answer: $\tfrac12^{20}$ is a millionth. One half, 20 times, is next to nothing. (What arrives is
# more than that, since there are ways through $h$, too. It is still next to nothing.)
#
# So a fresh LSTM is not made to remember: with forget gates of one half, it forgets within 20 steps, as the RNN does. What
# makes the difference is that it **can** remember. The factor per step along $C$ is $f_t$, in a fresh network about
# $\sigma(b_f)$: the network may learn it, and you may set it. On the adding problem of notebook 2 the trained LSTM got far
# below the baseline, and the tanh RNN did not.

# %% [markdown]
# ### The forget gate's bias
#
# Drag the bias from -1 to 5. Dashed is the simplest prediction: $\sigma(b_f)$ to the power of the steps.


# %%
def by_bias(bias):
    kept = torch.sigmoid(torch.tensor(bias)).item()
    predicted = [kept**t for t in range(T + 1)]
    figure = draw_lstm.backwards({"measured": arriving(bias), "σ(bias)^steps": predicted})
    figure.axes[0].set_ylim(1e-13, 1e3)
    figure.axes[0].set_title(f"bias {bias:.1f}: {kept:.3f} is kept per step", fontsize=10)
    return figure


explore(
    by_bias,
    "Gradient of the cell state against steps back, for a forget bias of {bias:.1f}: measured, and predicted from "
    "σ(bias) alone.",
    bias=(-1.0, 5.0, 1.0, 0.5),
)

# %% [markdown]
# The prediction tells which bias lets more through, and not how much: at bias 1, after 100 steps, it is too small by a
# factor of about a million. The ways through $h$ carry the rest. From bias 3 on they even make the gradient *grow*.
#
# Still, the bias moves the line more than anything else here: compare bias 0 with bias 4 after 100 steps. This is why one
# starts LSTMs with a forget bias of 1 or more (Gers and others 2000; Jozefowicz and others 2015). PyTorch starts near 0:
# to change it is up to you.

# %% [markdown]
# ## LSTM, RNN, GRU: which is best?
#
# The names of notebook 1 again: letters in, language out. The **GRU** (Cho and others 2014) is a smaller relative, with
# two gates and no separate cell state.
#
# All three get equally many parameters, one learning rate, and three seeds each. They start with PyTorch's defaults, so
# the LSTM is without the bias that you have just met: try it.
#
# **A belief.** The LSTM remembers longest, so it should win clearly. Guess by how much.

# %%
language_of = {language: i for i, language in enumerate(people.symbols)}


def encode(rows):
    ids, lengths = tasks.pad([alphabet.encode(name) for name, _ in rows])
    return ids, lengths, torch.tensor([language_of[language] for _, language in rows])


train, test = encode(people.train), encode(people.test)


class Reader(nn.Module):
    """The last state says the language."""

    def __init__(self, kind, hidden):
        super().__init__()
        self.layer = kind(len(alphabet), hidden)
        self.out = nn.Linear(hidden, len(people.symbols))

    def forward(self, ids, lengths):
        xs = tasks.one_hot(ids[: lengths.max()], len(alphabet))
        return self.out(rnn.last_state(self.layer(xs)[0], lengths))


def count(net):
    return sum(p.numel() for p in net.parameters())


def sized(make, target, step=1):
    """make(n) with the n whose number of parameters is nearest to `target`."""
    return make(min(range(4, 200, step), key=lambda n: abs(count(make(n)) - target)))


# %%
def fit(name, net, loss_of, samples, steps, batch=64, lr=1e-2):
    """Minimise loss_of(net, indices of a batch), as in notebook 1."""
    optimiser = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    choose = tasks.batches(samples, batch, steps, torch.default_generator)
    bar = tqdm(choose, total=steps, desc=name, file=sys.stdout, ncols=90, mininterval=1)
    losses = []
    for index in bar:
        loss = loss_of(net, index)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix_str(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}", refresh=False)


def language_loss(net, index):
    ids, lengths, language = (d[..., index] for d in train)
    return F.cross_entropy(net(ids, lengths), language)


kinds = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
epochs = budget(quick=0.1, laptop=8, gpu=12)
per_epoch = len(people.train) // 64
right, seconds, example = {}, {}, {}
for kind, layer in kinds.items():
    right[kind], seconds[kind] = [], []
    for n in range(3):
        seed(n)
        net = sized(lambda hidden, layer=layer: Reader(layer, hidden), 25_000)
        steps = round(epochs * per_epoch)
        started = time.process_time()  # what else the machine does is not counted
        fit(f"{kind} {n}", net, language_loss, len(people.train), steps)
        seconds[kind].append((time.process_time() - started) / epochs)
        with torch.no_grad():
            right[kind].append((net(*test[:2]).argmax(-1) == test[2]).float().mean().item())
    example[kind] = net

# %%
for kind, values in right.items():
    units = example[kind].out.in_features
    print(
        f"{kind:>5}: {units:>3} units, {count(example[kind]):,} parameters, {min(seconds[kind]):.1f} s an epoch, right on "
        + ", ".join(f"{v:.1%}" for v in values)
    )
mean = {kind: sum(values) / 3 for kind, values in right.items()}
spread = max(max(values) - min(values) for values in right.values())
print(f"greatest difference between two seeds of one network: {spread:.1%}")
print(
    f"between the means of the best and the worst network: {max(mean.values()) - min(mean.values()):.1%}"
)

# %% [markdown]
# Compare the last two lines. Only a difference well above that between seeds says anything about the networks.
#
# A name is about seven letters long, so there is little to remember for long: no task on which an LSTM has to shine.
#
# After one epoch the plain RNN was even ahead in our runs, by more than the seeds differ. Still this speaks only of the
# first epoch: it learns faster at first, and the order changes later. After eight epochs, LSTM and GRU were a little ahead,
# by two or three points in a hundred. (The size for a first look trains for a tenth of an epoch only, which is too short
# to compare them.)
#
# Did you expect more?

# %% [markdown]
# ## A gate viewer
#
# Does a trained network use its gates? We train one to predict the next character of a real text: the source code of
# Python's own library. Everybody who reads this notebook has it, and it has structure to remember: words, brackets,
# quotation marks, indentation.

# %%
modules = ("argparse", "configparser", "inspect", "optparse", "typing", "zipfile")
files = [Path(find_spec(name).origin) for name in modules]
text = "\n".join(path.read_text(encoding="utf-8") for path in files)
text = "".join(c for c in text if c == "\n" or " " <= c <= "~")
symbols = sorted(set(text))
place = {c: i for i, c in enumerate(symbols)}
data = torch.tensor([place[c] for c in text])
cut = len(data) * 9 // 10
print(f"{len(files)} files, {len(text):,} characters, {len(symbols)} different ones")
print(text[cut + 200 : cut + 500])


# %%
class Writer(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.layer = lstm.forget_bias_(nn.LSTM(len(symbols), hidden), 1.0)
        self.out = nn.Linear(hidden, len(symbols))

    def forward(self, ids, state=None):
        hs, state = self.layer(tasks.one_hot(ids, len(symbols)), state)
        return self.out(hs), state


# %% [markdown]
# It is trained by truncated backpropagation through time, as above.


# %%
def train_writer(net, steps, T=64, B=32, lr=5e-3):
    """B streams are read side by side, T characters at a time; the state goes on, the gradient does not."""
    streams = data[: cut // B * B].view(B, -1).T  # (time, B)
    optimiser = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    state, losses = None, []
    bar = tqdm(range(steps), desc="Python", file=sys.stdout, ncols=90, mininterval=1)
    for step in bar:
        at = step * T % (len(streams) - T - 1)
        chunk = streams[at : at + T + 1]
        logits, state = net(chunk[:-1], state)
        state = tuple(s.detach() for s in state)
        loss = F.cross_entropy(logits.flatten(0, 1), chunk[1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix_str(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}", refresh=False)


seed(0)
writer = Writer(128)
untrained = Writer(128)
train_writer(writer, budget(quick=30, laptop=2000, gpu=3000))

# %% [markdown]
# How well does it do on text that is new to it? For comparison, one who knows only how frequent each character is.


# %%
def in_pieces(sequence):
    """The new text is cut into 40 pieces, which stand side by side: (time, 40)"""
    return sequence[: len(sequence) // 40 * 40].view(40, -1).T


held_out = in_pieces(data[cut:])
with torch.no_grad():
    logits, _ = writer(held_out[:-1])
loss = F.cross_entropy(logits.flatten(0, 1), held_out[1:].flatten()).item()
share = torch.bincount(data[:cut], minlength=len(symbols)).float() + 1
share = share / share.sum()  # how frequent each character is
chance = -share[held_out[1:]].log().mean().item()
print(f"on new text: {loss:.2f} per character; knowing only frequencies: {chance:.2f}")
outcome("it has learned more than frequencies", loss < chance - 0.2, needs="laptop")

# %% [markdown]
# ### Which unit opens when?
#
# The network has 128 units. For each kind of character, here is the one whose input gate opens most beyond its usual. The
# text is new to the network: the end of the module `zipfile`, whose beginning it was trained on.

# %%
watched = lstm.watch(writer.layer, tasks.one_hot(held_out, len(symbols)))  # all pieces
opens = {}
for kind, characters in {
    "line end": "\n",
    "space": " ",
    "open bracket": "(",
    "quotation mark": "\"'",
    "full stop": ".",
    "capital letter": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
}.items():
    here = torch.isin(held_out, torch.tensor([place[c] for c in characters]))
    there, elsewhere = watched["i"][here].mean(0), watched["i"][~here].mean(0)
    unit = opens[kind] = (there - elsewhere).argmax().item()
    print(
        f"{kind:>14}: input gate of unit {unit:>3} open to {there[unit]:.2f}, elsewhere {elsewhere[unit]:.2f}"
    )

# %% [markdown]
# In the size for a first look the differences are small, and one unit may serve for two kinds: hardly more than chance. In
# the full size, look for one that is far more open there than elsewhere: in our run, unit 30 was open to 0.84 at `(`, and
# elsewhere to 0.16.
#
# Choose a unit. The rows show its gates, the line below its state. The slider begins at the unit for line ends.

# %%
texts = ["".join(symbols[i] for i in column) for column in held_out.T]  # the pieces
piece = next(n for n in range(20, 40) if "\n    def " in texts[n][100:-110])
read = texts[piece]
start = read.index("\n    def ", 100)  # the first 100 characters fill an empty memory
seen = {name: values[start : start + 110, piece] for name, values in watched.items()}

explore(
    lambda unit: draw_lstm.gates(read[start : start + 110], seen, unit),
    "Gates of unit {unit} over 110 characters of Python: three rows of shades, forget, input and output gate, and a "
    "line for the unit's state.",
    unit=(0, 127, opens["line end"]),
)

# %% [markdown]
# ### Is there a unit for brackets?
#
# One can look for a unit with one's eyes, and find what one wants to find. Better: say *what* it should know, and measure.
#
# Let $z_t=1$ inside round brackets, 0 outside. Which unit's state goes with $z$ best? We choose the unit on one half of the
# new text, and measure on the other half. The sign does not matter. For comparison, the same with an untrained network.


# %%
def in_brackets(text):
    depth, inside = 0, []
    for before, char in zip("\n" + text, text, strict=False):
        depth = max(0, depth + (char == "(") - (char == ")"))
        if before == char == "\n":  # an empty line: an open bracket was in a comment
            depth = 0
        inside.append(float(depth > 0))
    return torch.tensor(inside)


def best_unit(states):
    """The unit that goes with brackets best on the first 20 pieces, and the size of its correlation on the others."""

    def correlation(half):
        own, truth = states[:, half], brackets[:, half, None]
        own, truth = own - own.mean((0, 1)), truth - truth.mean()
        return (own * truth).mean((0, 1)) / (own.std((0, 1)) * truth.std() + 1e-9)

    unit = correlation(slice(0, 20)).abs().argmax().item()
    return unit, correlation(slice(20, 40))[unit].abs().item()


brackets = in_pieces(in_brackets(text[cut:]))
unit, trained_r = best_unit(watched["C"])
_, untrained_r = best_unit(
    lstm.watch(untrained.layer, tasks.one_hot(held_out, len(symbols)))["C"]
)
print(f"{brackets.mean():.0%} of the characters are inside brackets")
print(f"trained: unit {unit}, correlation {trained_r:.2f}; untrained: {untrained_r:.2f}")

# %%
at = max(read.find("(", 160) - 60, 0)
show(
    draw_lstm.coloured_text(read[at : at + 400], watched["C"][at : at + 400, piece, unit]),
    f"400 characters of Python, each on a shade of the state of unit {unit}.",
)

# %% [markdown]
# If the shade does not change at `(` and `)`, there is no such unit here.
#
# Nobody told the network about brackets. It was to predict the next character, and whether a bracket is open helps with
# that. Karpathy, Johnson and Fei-Fei found units for quotations, line length and depth of nesting in 2015, in larger
# networks. (They say *cell* for what we call a unit.)
#
# Compare the two correlations before you say that a network has such a unit. In the size for a first look the trained
# network was not ahead in our runs: the training is too short. In the full size it was, but how far differed much from
# seed to seed. And most units mean nothing that one could name.

# %% [markdown]
# ## Further possibilities
#
# Five relatives. Four of them read one task, beside the plain LSTM: the strip of handwriting of notebook 1, **one
# column of 8 pixels per step**. At each step the network says which digit it is looking at. Attention gets another task,
# the spelling of notebook 1.
#
# On the strip, all have about 10,000 parameters.


# %%
class Tagger(nn.Module):
    """A layer, and an answer at each step."""

    def __init__(self, layer, width):
        super().__init__()
        self.layer, self.out = layer, nn.Linear(width, 10)

    def forward(self, xs, mask):
        lengths = mask.sum(0)
        packed = pack_padded_sequence(xs, lengths, enforce_sorted=False)
        return self.out(pad_packed_sequence(self.layer(packed)[0])[0])


# %% [markdown]
# The data: strips of 2 to 5 digits, drawn anew for each batch. 400 strips of digits that are new to the network are for the
# test.

# %%
pictures = tasks.digits()
images, labels = pictures.train
strips = seed(0)
columns, column_labels, _ = tasks.digit_strips(*pictures.test, 400, (2, 5), strips)


def strip_loss(net, index):
    x, y, lengths = tasks.digit_strips(images, labels, 32, (2, 5), strips)
    return rnn.sequence_loss(
        net(x, tasks.valid(lengths)), y.clamp(min=0), y != tasks.PAD
    ) / len(x)


# %% [markdown]
# One function trains, another compares. The plain LSTM comes first.

# %%
strip_steps = budget(quick=10, laptop=500, gpu=1200)
taggers, by_column = {}, {}


def train_tagger(name, make, steps, width_step=2):
    """Train it, and note its share of right answers at each of the 8 columns of a digit."""
    seed(0)
    net = taggers[name] = sized(make, 10_000, width_step)
    fit(name, net, strip_loss, len(images), steps)
    real = column_labels != tasks.PAD
    with torch.no_grad():
        hits = (net(columns, real).argmax(-1) == column_labels).float()
    at = torch.arange(len(columns)) % 8
    by_column[name] = [hits[at == k][real[at == k]].mean().item() for k in range(8)]


def compare():
    """The table and the curves of all that are trained so far."""
    for name, values in by_column.items():
        print(
            f"{name:>13}: {count(taggers[name]):,} parameters, right: first column {values[0]:.0%}, "
            f"last {values[-1]:.0%}, all {sum(values) / 8:.0%}"
        )
    show(
        draw.curves(
            by_column, "column of the digit", "right answers", ("guessing", 0.1), range(1, 9)
        ),
        "Share of right answers against the column, 1 to 8. "
        + "; ".join(f"{name} from {v[0]:.0%} to {v[-1]:.0%}" for name, v in by_column.items())
        + ".",
    )


train_tagger("LSTM", lambda n: Tagger(nn.LSTM(8, n), n), strip_steps)

# %% [markdown]
# ### Bidirectional
#
# Two LSTMs, one of which reads backwards. Their states stand side by side. The second knows what is still to come, so it
# needs the whole sequence first.

# %%
train_tagger(
    "bidirectional", lambda n: Tagger(nn.LSTM(8, n, bidirectional=True), 2 * n), strip_steps
)

# %% [markdown]
# ### Stacked
#
# The states of one layer are the inputs of the next.

# %%
train_tagger("stacked", lambda n: Tagger(nn.LSTM(8, n, num_layers=2), n), strip_steps)

# %% [markdown]
# ### ConvLSTM
#
# States are maps, and products with matrices are convolutions (Shi and others 2015). Here the map is the column of 8
# pixels. Notebook 4 will take frames of a film.


# %%
class ConvTagger(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer = lstm.ConvLSTM(1, channels, kernel=(3, 1))
        self.out = nn.Linear(8 * channels, 10)

    def forward(self, xs, mask):
        hs, _ = self.layer(xs[:, :, None, :, None])  # (T, B, 1, 8, 1) -> (T, B, channels, 8, 1)
        return self.out(hs.flatten(2))


train_tagger("ConvLSTM", ConvTagger, strip_steps)

# %%
compare()
outcome(
    "reading backwards helps at the first column",
    by_column["bidirectional"][0] > by_column["LSTM"][0] + 0.1,
    needs="laptop",
)

# %% [markdown]
# At the first column of a digit, those who read forwards can only guess. Who also reads backwards has seen it.
#
# At the last column the bidirectional one was behind the plain LSTM in our runs: only its forward half has seen the digit,
# and that half is smaller.
#
# This is one seed and one size: it says what each *can see*, and not which is best in general.

# %% [markdown]
# ### Attention
#
# In notebook 1 the decoder had to speak a whole word out of **one** state. Now it may look back at all states of the
# encoder, at each step.
#
# - A *query*, the decoder's own state, is compared with a *key* for each letter: a product.
# - Softmax makes weights of the products, which sum to 1.
# - With these weights, the *values* $v_t$, one for each letter, are averaged.
#
# $$\alpha=\mathrm{softmax}\Big(\frac{K q}{\sqrt H}\Big)\qquad \text{context}=\sum_t \alpha_t v_t$$
#
# $K$ holds the keys in its rows.

# %% [markdown]
# > **Exercise 10 · `lstm.attend`** · medium · 15 minutes · 10 points
# >
# > Write it for one query per sample. Padded steps get no weight. This is the core of `nn.MultiheadAttention`, which the
# > network below uses.
# >
# > *The weights of a sample do not sum to 1?* Over which axis does softmax run?


# %%
@exercise("lstm.attend", points=10)
def attend(query, keys, values, mask):
    """query: (B, H), keys: (B, T, H), values: (B, T, R), mask: (B, T) bool -> context (B, R), weights (B, T)"""
    ### BEGIN SOLUTION
    scores = (keys * query[:, None]).sum(dim=2) / query.shape[1] ** 0.5
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)
    return (weights[:, :, None] * values).sum(dim=1), weights
    ### END SOLUTION


# %%
check("lstm.attend")

# %% tags=["expect"]
keys, mask = torch.eye(3)[None] * 1.5, torch.tensor([[True, True, False]])
_, weights = attend(keys[:, 1], keys, keys, mask)
print(weights.numpy().round(3), "(the third is padding)")
query, keys, mask = torch.randn(1, 8), torch.randn(1, 6, 8), torch.arange(6)[None] < 4
theirs = F.scaled_dot_product_attention(query[:, None], keys, keys, mask[:, None])[:, 0]
print("as PyTorch's:", torch.allclose(attend(query, keys, keys, mask)[0], theirs, atol=1e-6))

# %% [markdown]
# The network below uses PyTorch's `nn.MultiheadAttention`, with one head. (It learns in addition a matrix each for query, key
# and value.) Its encoder is bidirectional.
#
# First the data.

# %%
speech = tasks.spellings()
phonemes = tasks.Alphabet(speech.symbols)


def encode_words(rows):
    letters, letter_count = tasks.pad([alphabet.encode(word) for word, _ in rows])
    sounds, sound_count = tasks.pad([phonemes.encode(said) for _, said in rows])
    return letters, letter_count, sounds, sound_count


words, new_words = encode_words(speech.train), encode_words(speech.test)


def spelling_loss(net, index):
    letters, letter_count, sounds, sound_count = (d[..., index] for d in words)
    letters, sounds = letters[: letter_count.max()], sounds[: sound_count.max()]
    logits, _ = net(letters, letter_count, sounds)
    return rnn.sequence_loss(logits, sounds.clamp(min=0), sounds != tasks.PAD)


# %% [markdown]
# Two networks of one size: one decoder has only the last state, the other looks back. *Letter by letter* says each
# letter's most frequent sound.

# %%
spelling_steps = budget(quick=20, laptop=1000, gpu=1500)
truth = [list(said) for _, said in speech.test]
error, spellers = {}, {}
for name, looks in (("one state", False), ("attention", True)):
    seed(0)
    net = spellers[name] = sized(
        lambda n, looks=looks: attention.Speller(len(alphabet), len(phonemes), n, looks),
        110_000,
        step=2,
    )
    fit(name, net, spelling_loss, len(speech.train), spelling_steps, lr=5e-3)
    said = [phonemes.decode(row) for row in net.say(*new_words[:2])[0].T]
    error[name] = tasks.phoneme_error_rate(said, truth)
error["letter by letter"] = tasks.phoneme_error_rate(tasks.letter_by_letter(speech), truth)
for name, rate in error.items():
    size = f"{count(spellers[name]):,} parameters" if name in spellers else "no network"
    print(f"{name:>16}: {rate:.1%} of the sounds wrong ({size})")
outcome(
    "attention beats one state",
    error["attention"] < error["one state"] - 0.02,
    needs="laptop",
)

# %% [markdown]
# In the size for a first look both networks are still behind *letter by letter*. After 1,000 steps, in our run, 21 % of the
# sounds were wrong with one state, and 14 % with attention.
#
# The weights can be looked at: a row for each sound, a column for each letter.


# %%
def looked_at(word):
    letters, letter_count = tasks.pad([alphabet.encode(word)])
    said, weights = spellers["attention"].say(letters, letter_count)
    sounds = [*phonemes.decode(said[:, 0]), "end"][: len(said)]  # or it never came to an end
    return draw_lstm.alignment([*word, "."], sounds, weights[0, : len(sounds)])


explore(
    looked_at,
    "Table of attention for the word {word}: rows are the sounds that the network says, columns its letters.",
    word=["knight", "phone", "nation", "queen", "thought"],
)

# %% [markdown]
# For *knight*: if the network says a `K`, that is wrong, since k is silent here. The table shows where it looked when it
# erred.
#
# Read down the rows: the brightest field moves to the right. Nobody told the network which letter makes which sound.
#
# But take care: the encoder's state at a letter also knows its neighbours. A bright field is where it *looked*, and not a
# proof of what it used.

# %% [markdown]
# ### A transformer encoder
#
# If attention finds what it needs, why step through time at all? A transformer (Vaswani and others 2017) has no recurrence.
# At each step, a query goes to **all** steps of the sequence, before and after.
#
# Attention has no order of its own: it does not know which step is which. So each step is given its position, as sines and
# cosines. The layers are PyTorch's, and the task is the strip of digits again.

# %%
train_tagger(
    "transformer",
    lambda n: attention.Transformer(8, 10, width=n, heads=4),
    strip_steps,
    width_step=4,  # a whole number per head
)
compare()
outcome(
    "a transformer, too, sees what comes after",
    by_column["transformer"][0] > by_column["LSTM"][0] + 0.1,
    needs="laptop",
)

# %% [markdown]
# Its line is nearly flat: at each column of a digit, the first as well as the last, it sees the whole digit. In the size
# for a first look it has hardly begun to learn.

# %% [markdown]
# ## Questions from the lecture
#
# <details><summary>Why has an LSTM two states?</summary>
#
# $C_t$ keeps, $h_t$ shows. What is needed in fifty steps must not be in the way now.
# </details>
#
# <details><summary>What about the sequence length?</summary>
#
# The layer does not have it: the same cell is used at each step. It matters in a batch (packing, masking), in memory
# (training keeps all steps), and for the gradient.
# </details>
#
# <details><summary>Does an LSTM never forget? Does its gradient never explode?</summary>
#
# Neither is true. Along $C$ the factor per step is $f_t\le1$: what goes along $C$ alone cannot explode, and it vanishes
# wherever $f_t$ is small. The ways through $h$ have matrices as in an RNN, and can explode: so one clips, with LSTMs too.
# </details>

# %% [markdown]
# ## Your points

# %%
progress()

# %% [markdown]
# ## What to take away
#
# - The cell state goes from step to step through a product and a sum, without a matrix.
# - What is kept per step is $f_t$. One half is not neutral: start the forget gate's bias at 1 or more.
# - PyTorch's order is i f g o, with two biases.
# - Pack what a backward layer reads; hand on states, detached; save parameters.
# - Compare networks with several seeds. On short sequences an LSTM need not win.
# - Attention lets a decoder look at all states instead of one.
#
# ## Further reading
#
# - S. Hochreiter, J. Schmidhuber, *Long short-term memory*, Neural Computation 9 (1997).
# - F. Gers, J. Schmidhuber, F. Cummins, *Learning to forget*, Neural Computation 12 (2000): the forget gate.
# - R. Jozefowicz, W. Zaremba, I. Sutskever, *An empirical exploration of recurrent network architectures*, ICML 2015: its bias.
# - X. Shi and others, *Convolutional LSTM network*, NeurIPS 2015.
# - D. Bahdanau, K. Cho, Y. Bengio, *Neural machine translation by jointly learning to align and translate*, ICLR 2015.
# - A. Karpathy, J. Johnson, L. Fei-Fei, *Visualizing and understanding recurrent networks*, 2015: cells that mean something.
# - A. Vaswani and others, *Attention is all you need*, NeurIPS 2017.
