"""Unforeseen wrong answers to the exercises of notebook 03."""

import torch

from cvdl.course.exercises.chapters.lstm import shapes
from tests.unforeseen import Collection

WRONG = Collection()


def _sum(x, h, W, b):
    return torch.cat([h, x], dim=1) @ W.T + b


# --- lstm.sigmoid


@WRONG.add("lstm.sigmoid", "piecewise linear")
def _(x):
    """The hard sigmoid of mobile networks: straight between -3 and 3."""
    return (x / 6 + 0.5).clamp(0, 1)


@WRONG.add("lstm.sigmoid", "tanh without the half")
def _(x):
    """σ(x) = (1 + tanh(x / 2)) / 2; the half inside tanh is missing."""
    return (1 + torch.tanh(x)) / 2


@WRONG.add("lstm.sigmoid", "absolute value")
def _(x):
    """exp(-|x|) does not overflow, but then negative x are treated like positive ones."""
    return 1 / (1 + torch.exp(-x.abs()))


@WRONG.add("lstm.sigmoid", "nan replaced by 1")
def _(x):
    """The NaN of inf / inf is replaced by 1 afterwards: right values, NaN in the gradient."""
    return torch.nan_to_num(torch.exp(x) / (1 + torch.exp(x)), nan=1.0)


@WRONG.add("lstm.sigmoid", "nan replaced by 0")
def _(x):
    """The NaN of inf / inf is replaced by 0, so that 1000 gives 0."""
    return torch.nan_to_num(torch.exp(x) / (1 + torch.exp(x)))


# --- lstm.forget


@WRONG.add("lstm.forget", "1 added to the bias")
def _(x, h, W_f, b_f):
    """A forget bias of 1 is added, as older TensorFlow code does."""
    return torch.sigmoid(_sum(x, h, W_f, b_f + 1.0))


@WRONG.add("lstm.forget", "state already multiplied")
def _(x, h, W_f, b_f):
    """The gate is multiplied by the hidden state."""
    return torch.sigmoid(_sum(x, h, W_f, b_f)) * h


@WRONG.add("lstm.forget", "sigmoid of each term")
def _(x, h, W_f, b_f):
    """sigmoid of the state's part and of the input's part, added."""
    H = h.shape[1]
    return torch.sigmoid(h @ W_f[:, :H].T) + torch.sigmoid(x @ W_f[:, H:].T + b_f)


@WRONG.add("lstm.forget", "joined along the batch")
def _(x, h, W_f, b_f):
    """torch.cat without a dimension puts state and input below each other."""
    return torch.sigmoid(torch.cat([h, x]) @ W_f.T + b_f)


@WRONG.add("lstm.forget", "softmax for sigmoid")
def _(x, h, W_f, b_f):
    """softmax over the units: the gates of a sample share 1 between them."""
    return torch.softmax(_sum(x, h, W_f, b_f), dim=1)


# --- lstm.candidate


@WRONG.add("lstm.candidate", "candidate already multiplied")
def _(x, h, W_i, b_i, W_C, b_C):
    """The second value is the gate times the candidate."""
    i = torch.sigmoid(_sum(x, h, W_i, b_i))
    return i, i * torch.tanh(_sum(x, h, W_C, b_C))


@WRONG.add("lstm.candidate", "one bias for both")
def _(x, h, W_i, b_i, W_C, b_C):
    """b_i is used in the candidate, too."""
    return torch.sigmoid(_sum(x, h, W_i, b_i)), torch.tanh(_sum(x, h, W_C, b_i))


@WRONG.add("lstm.candidate", "relu for the candidate")
def _(x, h, W_i, b_i, W_C, b_C):
    """relu instead of tanh: the candidate cannot be negative, and has no upper bound."""
    return torch.sigmoid(_sum(x, h, W_i, b_i)), torch.relu(_sum(x, h, W_C, b_C))


@WRONG.add("lstm.candidate", "candidate from the input only")
def _(x, h, W_i, b_i, W_C, b_C):
    """The candidate does not read the state."""
    H = h.shape[1]
    return torch.sigmoid(_sum(x, h, W_i, b_i)), torch.tanh(x @ W_C[:, H:].T + b_C)


# --- lstm.update


@WRONG.add("lstm.update", "forget gate inverted")
def _(c, f, i, new):
    """f is taken for the share that is forgotten."""
    return (1 - f) * c + i * new


@WRONG.add("lstm.update", "bracket around the sum")
def _(c, f, i, new):
    """The forget gate multiplies what is written, too."""
    return f * (c + i * new)


@WRONG.add("lstm.update", "input gate forgotten")
def _(c, f, i, new):
    """The candidate is written in full."""
    return f * c + new


@WRONG.add("lstm.update", "candidate forgotten")
def _(c, f, i, new):
    """The input gate multiplies the old state instead of the candidate."""
    return f * c + i * c


# --- lstm.output


@WRONG.add("lstm.output", "bias forgotten")
def _(x, h, c, W_o, b_o):
    """b_o is missing."""
    return torch.sigmoid(_sum(x, h, W_o, 0)) * torch.tanh(c)


@WRONG.add("lstm.output", "gate inverted")
def _(x, h, c, W_o, b_o):
    """1 - o for o."""
    return (1 - torch.sigmoid(_sum(x, h, W_o, b_o))) * torch.tanh(c)


@WRONG.add("lstm.output", "old hidden state shown")
def _(x, h, c, W_o, b_o):
    """tanh of h instead of c."""
    return torch.sigmoid(_sum(x, h, W_o, b_o)) * torch.tanh(h)


@WRONG.add("lstm.output", "added")
def _(x, h, c, W_o, b_o):
    """The gate is added instead of multiplied."""
    return torch.sigmoid(_sum(x, h, W_o, b_o)) + torch.tanh(c)


# --- lstm.step


def _gates(x, h, W, b):
    f, i, new, o = (_sum(x, h, w, bias) for w, bias in zip(W, b, strict=True))
    return torch.sigmoid(f), torch.sigmoid(i), torch.tanh(new), torch.sigmoid(o)


@WRONG.add("lstm.step", "old cell state returned")
def _(x, h, c, W, b):
    """The new cell state has another name, and the old one is returned."""
    f, i, new, o = _gates(x, h, W, b)
    c_new = f * c + i * new
    return o * torch.tanh(c_new), c


@WRONG.add("lstm.step", "coupled gates")
def _(x, h, c, W, b):
    """1 - f for the input gate, as in a GRU."""
    f, _, new, o = _gates(x, h, W, b)
    c = f * c + (1 - f) * new
    return o * torch.tanh(c), c


@WRONG.add("lstm.step", "updated twice")
def _(x, h, c, W, b):
    """c is updated, and updated again on the way to h."""
    f, i, new, o = _gates(x, h, W, b)
    c = f * c + i * new
    return o * torch.tanh(f * c + i * new), c


@WRONG.add("lstm.step", "one bias for all")
def _(x, h, c, W, b):
    """b[0] is used for all four gates."""
    f, i, new, o = _gates(x, h, W, b[:1].expand(4, -1))
    c = f * c + i * new
    return o * torch.tanh(c), c


@WRONG.add("lstm.step", "new hidden state not gated")
def _(x, h, c, W, b):
    """h is tanh of c, without the output gate."""
    f, i, new, _ = _gates(x, h, W, b)
    c = f * c + i * new
    return torch.tanh(c), c


# --- lstm.torch


def _renamed(rows, bias, H):
    return {
        "weight_ih_l0": rows[:, H:],
        "weight_hh_l0": rows[:, :H],
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros_like(bias),
    }


@WRONG.add("lstm.torch", "rows of the gates interleaved")
def _(W, b):
    """The rows alternate between the gates instead of gate by gate."""
    H, order = W.shape[1], [1, 0, 2, 3]
    return _renamed(W[order].transpose(0, 1).reshape(4 * H, -1), b[order].T.reshape(-1), H)


@WRONG.add("lstm.torch", "order of ONNX")
def _(W, b):
    """The order i o f c, as ONNX has it."""
    H, order = W.shape[1], [1, 3, 0, 2]
    return _renamed(W[order].flatten(0, 1), b[order].flatten(), H)


@WRONG.add("lstm.torch", "half of the bias lost")
def _(W, b):
    """Half of the bias is in one of the two, and the other half nowhere."""
    H, order = W.shape[1], [1, 0, 2, 3]
    return _renamed(W[order].flatten(0, 1), b[order].flatten() / 2, H)


@WRONG.add("lstm.torch", "matrices transposed")
def _(W, b):
    """The weights are stored as (inputs, 4 H), as Keras has them."""
    H, order = W.shape[1], [1, 0, 2, 3]
    state = _renamed(W[order].flatten(0, 1), b[order].flatten(), H)
    return {name: value.T if value.ndim == 2 else value for name, value in state.items()}


@WRONG.add("lstm.torch", "last columns for the state")
def _(W, b):
    """The last H columns are taken for the state, though they come first; the inputs are right."""
    H, order = W.shape[1], [1, 0, 2, 3]
    rows = W[order].flatten(0, 1)
    return _renamed(rows, b[order].flatten(), H) | {"weight_hh_l0": rows[:, -H:]}


# --- lstm.backward


@WRONG.add("lstm.backward", "gradient of c at the output gate")
def _(dh, dc, c_before, c, gates):
    """da_o is computed from the gradient at C_t instead of from dh."""
    f, i, new, o = gates
    at_c = dc + dh * o * (1 - torch.tanh(c) ** 2)
    da_o = at_c * torch.tanh(c) * o * (1 - o)
    return at_c * c_before * f * (1 - f), at_c * new * i * (1 - i), at_c * i * (1 - new**2), da_o, at_c * f


@WRONG.add("lstm.backward", "output gate missing on the way to c")
def _(dh, dc, c_before, c, gates):
    """dh reaches C_t without the factor o."""
    f, i, new, o = gates
    at_c = dc + dh * (1 - torch.tanh(c) ** 2)
    da_o = dh * torch.tanh(c) * o * (1 - o)
    return at_c * c_before * f * (1 - f), at_c * new * i * (1 - i), at_c * i * (1 - new**2), da_o, at_c * f


@WRONG.add("lstm.backward", "both paths multiplied")
def _(dh, dc, c_before, c, gates):
    """The two paths to C_t are multiplied instead of added."""
    f, i, new, o = gates
    at_c = dc * dh * o * (1 - torch.tanh(c) ** 2)
    da_o = dh * torch.tanh(c) * o * (1 - o)
    return at_c * c_before * f * (1 - f), at_c * new * i * (1 - i), at_c * i * (1 - new**2), da_o, at_c * f


@WRONG.add("lstm.backward", "input gate on the way back")
def _(dh, dc, c_before, c, gates):
    """The gradient at C_{t-1} is multiplied by i instead of f."""
    f, i, new, o = gates
    at_c = dc + dh * o * (1 - torch.tanh(c) ** 2)
    da_o = dh * torch.tanh(c) * o * (1 - o)
    return at_c * c_before * f * (1 - f), at_c * new * i * (1 - i), at_c * i * (1 - new**2), da_o, at_c * i


@WRONG.add("lstm.backward", "four returned")
def _(dh, dc, c_before, c, gates):
    """The gradient at C_{t-1} is not returned."""
    f, i, new, o = gates
    at_c = dc + dh * o * (1 - torch.tanh(c) ** 2)
    da_o = dh * torch.tanh(c) * o * (1 - o)
    return at_c * c_before * f * (1 - f), at_c * new * i * (1 - i), at_c * i * (1 - new**2), da_o


# --- lstm.shapes

WRONG.choose(
    "lstm.shapes",
    "layers side by side in hs",
    "hs is counted with the units of both layers and both directions.",
    shapes,
    {"hs": (11, 3, 28)},
)
WRONG.choose("lstm.shapes", "transposed", "The matrix is transposed.", shapes, {"weight_hh_l0": (7, 28)})
WRONG.choose(
    "lstm.shapes",
    "one gate",
    "The four gates are forgotten.",
    shapes,
    {"weight_hh_l0": (7, 7), "weight_ih_l1": (7, 14)},
)
WRONG.choose("lstm.shapes", "three gates", "A GRU has three gates, an LSTM four.", shapes, {"weight_hh_l0": (21, 7)})
WRONG.choose(
    "lstm.shapes", "batch and units exchanged", "Batch and units are exchanged in c.", shapes, {"c": (4, 7, 3)}
)


# --- lstm.attend


def _attended(scores, values, mask):
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)
    return (weights[:, :, None] * values).sum(1), weights


@WRONG.add("lstm.attend", "divided by the root of T")
def _(query, keys, values, mask):
    """The scores are divided by the root of the number of steps instead of the size of the query."""
    return _attended((keys @ query[:, :, None])[:, :, 0] / keys.shape[1] ** 0.5, values, mask)


@WRONG.add("lstm.attend", "cosine")
def _(query, keys, values, mask):
    """Cosine similarity instead of a scaled product."""
    return _attended(torch.cosine_similarity(keys, query[:, None], dim=2), values, mask)


@WRONG.add("lstm.attend", "keys for values")
def _(query, keys, values, mask):
    """The keys are averaged instead of the values."""
    scores = (keys @ query[:, :, None])[:, :, 0] / query.shape[1] ** 0.5
    return _attended(scores, keys, mask)


@WRONG.add("lstm.attend", "mean instead of sum")
def _(query, keys, values, mask):
    """The weighted values are averaged over the steps: the sum is divided by T."""
    scores = (keys @ query[:, :, None])[:, :, 0] / query.shape[1] ** 0.5
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)
    return (weights[:, :, None] * values).mean(1), weights


@WRONG.add("lstm.attend", "1 subtracted at the padding")
def _(query, keys, values, mask):
    """Padding loses 1 of its score, which is far too little."""
    scores = (keys @ query[:, :, None])[:, :, 0] / query.shape[1] ** 0.5 - (~mask).float()
    weights = torch.softmax(scores, dim=1)
    return (weights[:, :, None] * values).sum(1), weights


@WRONG.add("lstm.attend", "query of the first sample")
def _(query, keys, values, mask):
    """All samples ask the query of sample 0: right for a batch of one."""
    return _attended(keys @ query[0] / query.shape[1] ** 0.5, values, mask)
