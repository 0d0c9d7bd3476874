"""Unforeseen wrong answers to the exercises of notebook 01."""

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.rnn import match_shapes
from tests.unforeseen import Collection

WRONG = Collection()


def _one_step(x, h, V, W, b_h):
    return torch.tanh(x @ V.T + h @ W.T + b_h)


# --- rnn.step


@WRONG.add("rnn.step", "tanh of each term")
def _(x, h, V, W, b_h):
    """tanh is applied to each of the two products, and the results are added."""
    return torch.tanh(x @ V.T) + torch.tanh(h @ W.T) + b_h


@WRONG.add("rnn.step", "bias subtracted")
def _(x, h, V, W, b_h):
    """The bias has the wrong sign, as a threshold."""
    return torch.tanh(x @ V.T + h @ W.T - b_h)


@WRONG.add("rnn.step", "bias in both terms")
def _(x, h, V, W, b_h):
    """b_h is added twice, once with each product, as PyTorch does with its two biases."""
    return torch.tanh(F.linear(x, V, b_h) + F.linear(h, W, b_h))


@WRONG.add("rnn.step", "bracket in the wrong place")
def _(x, h, V, W, b_h):
    """The input is added to the state before W is applied, so that it goes through W, too."""
    return torch.tanh((x @ V.T + h) @ W.T + b_h)


@WRONG.add("rnn.step", "state of the first sample for all")
def _(x, h, V, W, b_h):
    """All samples read the state of sample 0: right for a batch of one only."""
    return torch.tanh(x @ V.T + h[0] @ W.T + b_h)


# --- rnn.unroll


@WRONG.add("rnn.unroll", "states returned in reverse")
def _(xs, h0, V, W, b_h):
    """Each new state is put in front of the list, so that the last one comes first."""
    states, h = [], h0
    for x in xs:
        h = _one_step(x, h, V, W, b_h)
        states.insert(0, h)
    return torch.stack(states)


@WRONG.add("rnn.unroll", "loop from 1")
def _(xs, h0, V, W, b_h):
    """The loop begins at 1, so that the first input is never read."""
    h, states = h0, []
    for t in range(1, len(xs)):
        h = _one_step(xs[t], h, V, W, b_h)
        states.append(h)
    return torch.stack(states)


@WRONG.add("rnn.unroll", "input of the step before")
def _(xs, h0, V, W, b_h):
    """Step t reads xs[t - 1]; the first step reads the last input."""
    h, states = h0, []
    for t in range(len(xs)):
        h = _one_step(xs[t - 1], h, V, W, b_h)
        states.append(h)
    return torch.stack(states)


@WRONG.add("rnn.unroll", "squeezed")
def _(xs, h0, V, W, b_h):
    """squeeze() drops every axis of length 1, also that of a batch of one."""
    h, states = h0, []
    for x in xs:
        h = _one_step(x, h, V, W, b_h)
        states.append(h)
    return torch.stack(states).squeeze()


@WRONG.add("rnn.unroll", "new state added to the old one")
def _(xs, h0, V, W, b_h):
    """A residual connection: h += step(…) instead of h = step(…)."""
    h, states = h0, []
    for x in xs:
        h = h + _one_step(x, h, V, W, b_h)
        states.append(h)
    return torch.stack(states)


# --- rnn.parameters


@WRONG.add("rnn.parameters", "H biases at the output")
def _(D, H, K, T):
    """b_y is counted with H numbers instead of K."""
    return H * D + H * H + H + K * H + H


@WRONG.add("rnn.parameters", "U reads the input")
def _(D, H, K, T):
    """U is counted as K × D instead of K × H."""
    return H * D + H * H + H + K * D + K


@WRONG.add("rnn.parameters", "four gates")
def _(D, H, K, T):
    """The formula of an LSTM, which has four times as many weights."""
    return 4 * (H * D + H * H + H) + K * H + K


@WRONG.add("rnn.parameters", "W with one number for each unit")
def _(D, H, K, T):
    """W is counted as H numbers instead of H × H."""
    return H * D + H + H + K * H + K


# --- rnn.match

WRONG.choose(
    "rnn.match",
    "one and many exchanged",
    "What goes in and what comes out are exchanged in two problems.",
    match_shapes,
    {"image captioning": "many-to-one", "sentiment analysis": "one-to-many"},
)
WRONG.choose(
    "rnn.match",
    "two left open",
    "Two problems still have no answer.",
    match_shapes,
    {"image captioning": ..., "machine translation": ...},
)
WRONG.choose(
    "rnn.match",
    "one label for the clip",
    "A label for each frame is asked for, not one for the whole video.",
    match_shapes,
    {"frame-wise video classification": "many-to-one"},
)
WRONG.choose(
    "rnn.match",
    "without hyphens",
    "The names are written without hyphens.",
    match_shapes,
    {"image classification": "one to one", "sentiment analysis": "many to one"},
)


# --- rnn.loss


@WRONG.add("rnn.loss", "mean over each sequence's steps")
def _(logits, targets, mask):
    """The losses of each sequence are averaged over its own steps instead of summed."""
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return ((each * mask).sum(0) / mask.sum(0)).mean()


@WRONG.add("rnn.loss", "divided by the steps")
def _(logits, targets, mask):
    """The total is divided by T instead of B."""
    T, B, K = logits.shape
    each = F.cross_entropy(logits.reshape(T * B, K), targets.reshape(T * B), reduction="none")
    return (each.reshape(T, B) * mask).sum() / T


@WRONG.add("rnn.loss", "flattened in two orders")
def _(logits, targets, mask):
    """The logits are flattened sample by sample, the targets and the mask step by step."""
    B, K = logits.shape[1:]
    each = F.cross_entropy(logits.transpose(0, 1).reshape(-1, K), targets.reshape(-1), reduction="none")
    return (each * mask.reshape(-1)).sum() / B


@WRONG.add("rnn.loss", "logits multiplied by the mask")
def _(logits, targets, mask):
    """The mask is applied to the logits: each padded step still costs ln K."""
    masked = logits * mask[:, :, None]
    return F.cross_entropy(masked.flatten(0, 1), targets.flatten(), reduction="sum") / logits.shape[1]


@WRONG.add("rnn.loss", "last step only")
def _(logits, targets, mask):
    """The loss is overwritten in the loop instead of added up."""
    for step, target, real in zip(logits, targets, mask, strict=True):
        loss = (F.cross_entropy(step, target, reduction="none") * real).mean()
    return loss


@WRONG.add("rnn.loss", "no gradient")
def _(logits, targets, mask):
    """The losses are added up as Python numbers, so no gradient remains."""
    total = 0.0
    for t in range(len(logits)):
        each = F.cross_entropy(logits[t], targets[t], reduction="none")
        total += (each * mask[t]).sum().item()
    return torch.tensor(total / logits.shape[1])


# --- rnn.last


@WRONG.add("rnn.last", "one step too early")
def _(hs, lengths):
    """lengths - 2 for lengths - 1; at length 1 the last state of all."""
    return hs[lengths - 2, torch.arange(hs.shape[1])]


@WRONG.add("rnn.last", "longest length for all")
def _(hs, lengths):
    """All sequences are read at the last step of the longest one."""
    return hs[lengths.max() - 1]


@WRONG.add("rnn.last", "counted from the end")
def _(hs, lengths):
    """hs[-length] counts from the end: right only where the length is (T + 1) / 2."""
    return hs[-lengths, torch.arange(len(lengths))]


@WRONG.add("rnn.last", "mean over the real steps")
def _(hs, lengths):
    """Mean pooling over each sequence's own steps."""
    real = torch.arange(len(hs))[:, None] < lengths
    return (hs * real[:, :, None]).sum(0) / lengths[:, None]


@WRONG.add("rnn.last", "sorted by length")
def _(hs, lengths):
    """The sequences are sorted by length, as for pack_padded_sequence, and never sorted back."""
    lengths, order = lengths.sort(descending=True)
    return hs[lengths - 1, order]


@WRONG.add("rnn.last", "gather without expanding the index")
def _(hs, lengths):
    """gather with an index of length 1 along the units takes the first unit only."""
    return hs.gather(0, (lengths - 1)[None, :, None])[0]


# --- rnn.sample


@WRONG.add("rnn.sample", "logits ignored")
def _(logits, temperature, u):
    """u times the number of classes: all classes equally likely."""
    return (u * logits.shape[1]).long()


@WRONG.add("rnn.sample", "probabilities divided by the temperature")
def _(logits, temperature, u):
    """The temperature divides the probabilities, which then do not add up to 1."""
    p = torch.softmax(logits, dim=1) / temperature
    return (p.cumsum(1) <= u[:, None]).sum(1).clamp(max=logits.shape[1] - 1)


@WRONG.add("rnn.sample", "no running sum")
def _(logits, temperature, u):
    """u is compared with the probabilities themselves instead of their running sum."""
    p = torch.softmax(logits / temperature, dim=1)
    return (p <= u[:, None]).sum(1).clamp(max=logits.shape[1] - 1)


@WRONG.add("rnn.sample", "summed from the last class")
def _(logits, temperature, u):
    """The running sum begins at the last class."""
    p = torch.softmax(logits / temperature, dim=1)
    return logits.shape[1] - 1 - (p.flip(1).cumsum(1) <= u[:, None]).sum(1).clamp(max=logits.shape[1] - 1)


@WRONG.add("rnn.sample", "its own random numbers")
def _(logits, temperature, u):
    """torch.multinomial draws its own random numbers and ignores u."""
    return torch.multinomial(torch.softmax(logits / temperature, dim=1), 1)[:, 0]


@WRONG.add("rnn.sample", "floats returned")
def _(logits, temperature, u):
    """The classes are floats instead of whole numbers."""
    marks = torch.softmax(logits / temperature, dim=1).cumsum(1)
    return (marks <= u[:, None]).float().sum(1).clamp(max=logits.shape[1] - 1)


# --- rnn.teacher


@WRONG.add("rnn.teacher", "start copied all the way down")
def _(targets, start):
    """Each row is copied from the row above after that one was overwritten: `start` everywhere."""
    inputs = targets.clone()
    inputs[0] = start
    for t in range(1, len(inputs)):
        inputs[t] = inputs[t - 1]
    return inputs


@WRONG.add("rnn.teacher", "start for the first sample only")
def _(targets, start):
    """Only the first sample gets the start symbol."""
    inputs = targets.roll(1, dims=0)
    inputs[0, 0] = start
    return inputs


@WRONG.add("rnn.teacher", "two steps late")
def _(targets, start):
    """The targets come two steps late."""
    first = torch.full_like(targets[:2], start)
    return torch.cat([first, targets[:-2]])


@WRONG.add("rnn.teacher", "a start symbol for one sample")
def _(targets, start):
    """The first row has one column, whatever the batch: an error for more than one sample."""
    return torch.cat([torch.tensor([[start]]), targets[:-1]])


@WRONG.add("rnn.teacher", "floats returned")
def _(targets, start):
    """torch.ones makes floats, so that the ids become floats."""
    return torch.cat([torch.ones(1, targets.shape[1]) * start, targets[:-1]])
