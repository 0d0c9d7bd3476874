"""Exercises of notebook 03."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from cvdl.course.exercises.case_helpers import (
    GRADIENT,
    answered,
    around,
    given,
    misordered,
    normal,
    shape_cases,
    shape_only,
)
from cvdl.course.exercises.comparison import difference, in_member, quoted
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.sequence import attention, lstm


def _joined(x, h, W, b):
    return torch.cat([h, x], -1) @ W.mT + b


def _swapped(x, h, W, b):
    return torch.cat([x, h], -1) @ W.mT + b


def _sums(B, D, H, gates=None):
    """x, h, and W, b of one gate or of several."""
    many = () if gates is None else (gates,)
    return lambda g: (
        normal(g, B, D),
        torch.tanh(normal(g, B, H)),
        normal(g, *many, H, H + D),
        normal(g, *many, H),
    )


ORDER = "The lecture joins them as [h_{t-1}, x_t], with the state first: the first H columns of each W are multiplied by h. Both orders have the right shape, so there is no error, only wrong numbers."

# --- lstm.sigmoid -------------------------------------------------------------------------------------


def _broken(got, want):
    return isinstance(got, torch.Tensor) and got.is_floating_point() and bool(got.isnan().any())


sigmoid = Exercise(
    id="lstm.sigmoid",
    title="a sigmoid that never overflows",
    library=lstm.sigmoid,
    oracle=lambda x: torch.sigmoid(x),
    axes=("element",),
    cases=(
        Case(
            "by hand: 0 and ln 3",
            2,
            "σ(0) = 1/2, σ(ln 3) = 3 / (1 + 3) = 0.75 and σ(-ln 3) = 0.25. Which of the three differs? If 0.75 and 0.25 are swapped, the sign of x is wrong. The formula is 1 / (1 + exp(-x)), not a piecewise linear function.",
            make=given(torch.tensor([0.0, math.log(3), -math.log(3)])),
            want=lambda x: torch.tensor([0.5, 0.75, 0.25]),
        ),
        Case(
            "random, against torch.sigmoid",
            2,
            "Your answer is right for the three values computed by hand, but not for a random matrix. σ works element by element: compare each of your values with 1 / (1 + e^-x), and keep the shape. No max, sum or `if` over the whole tensor.",
            make=around(lambda *shape: lambda g: (normal(g, *shape),), 4, 5),
        ),
        Case(
            "far out: -1000 and 1000",
            3,
            "Compare yours with 0, 1e-87, 2e-9, 1, 1, 1 for -1000, -200, -20, 20, 200, 1000. On a computer, e^1000 is infinite, and inf / inf is nan: take exp only of numbers below 0.",
            make=given(torch.tensor([-1000.0, -200.0, -20.0, 20.0, 200.0, 1000.0])),
        ),
        Case(
            "the slope, far out too",
            3,
            "The values are right, but the derivative is not: it must be σ (1 - σ), which is 0 for large |x| and never nan. Use torch "
            "for every step. e^1000 must not occur anywhere, not even in the branch that torch.where does not take, because that "
            "branch has a derivative, too. For each element, use the form whose exponent is at most 0.",
            make=given(torch.tensor([-1000.0, -200.0, -3.0, 0.5, 3.0, 200.0, 1000.0])),
            gradient=True,
        ),
    ),
    mistakes=(
        Mistake(
            "overflow",
            "Where x is large, e^x is infinite, and infinity divided by infinity is nan. σ(x) = 1 - σ(-x) avoids this.",
            when=_broken,
        ),
        Mistake(
            "sign turned",
            "Your function falls where σ rises: look at the sign of x in the exponent.",
            like=lambda x: torch.sigmoid(-x),
        ),
        Mistake(
            "tanh", "tanh runs from -1 to 1. A gate is between 0, closed, and 1, open.", like=lambda x: torch.tanh(x)
        ),
        Mistake(
            "clamped",
            "You clipped x, or the result, so σ never comes near 0 or 1. Choose the form by the sign of x instead.",
            like=lambda x: torch.sigmoid(x.clamp(-5, 5)),
        ),
    ),
    hints=(
        "There are two forms, 1 / (1 + e^-x) and e^x / (1 + e^x). At which end does each fail?",
        "Find an exponent that is never above 0: x where x < 0, and -x elsewhere.",
        "With e = exp of that exponent, σ is e / (1 + e) where x < 0, and 1 / (1 + e) elsewhere.",
    ),
)

# --- lstm.forget --------------------------------------------------------------------------------------

_ONE = tuple(map(torch.tensor, ([[1.0]], [[2.0]], [[3.0, -4.0]], [-1.0])))  # 3·2 - 4·1 - 1 = 1


def _forget(x, h, W_f, b_f):
    return lstm.gate(x, h, W_f, b_f)


forget = Exercise(
    id="lstm.forget",
    title="the forget gate",
    library=_forget,
    oracle=lambda x, h, W, b: torch.sigmoid(h @ W[:, : h.shape[1]].T + x @ W[:, h.shape[1] :].T + b),
    axes=("sample", "unit"),
    cases=(
        Case(
            "shape",
            1,
            "One number per sample and unit: (B, H). [h, x] joined along the last axis is (B, H + D), and W.T is (H + D, H).",
            make=_sums(4, 3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: one input, one unit",
            2,
            "With h = 2, x = 1, W_f = [3, -4] and b_f = -1 the sum is 3 · 2 - 4 · 1 - 1 = 1. Is yours? If it is -3, you have put x before h. Then σ(1) = 0.731.",
            make=given(*_ONE),
            want=lambda *_: torch.tensor([[1 / (1 + math.exp(-1))]]),
        ),
        Case(
            "random",
            3,
            "Your answer is right for one input and one unit. Here W_f is (H, H + D) with D ≠ H: compare your sum with h @ W_f[:, :H].T + x @ W_f[:, H:].T + b_f.",
            make=around(_sums, 4, 3, 5),
        ),
        Case("as many inputs as units and samples", 1, ORDER, make=_sums(3, 3, 3)),
        Case("gradients", 1, GRADIENT, make=_sums(4, 3, 5), gradient=True),
    ),
    mistakes=(
        Mistake("input first", ORDER, like=lambda *a: torch.sigmoid(_swapped(*a))),
        Mistake("sigmoid forgotten", "The sum is right. σ turns it into a gate, between 0 and 1.", like=_joined),
        Mistake(
            "tanh for sigmoid",
            "A gate is a σ: 0 is closed, 1 is open. tanh could change signs.",
            like=lambda *a: torch.tanh(_joined(*a)),
        ),
        Mistake(
            "bias forgotten",
            "b_f is missing from the sum.",
            like=lambda x, h, W, b: torch.sigmoid(_joined(x, h, W, 0)),
        ),
        Mistake(
            "bias outside",
            "b_f belongs inside σ, with the product.",
            like=lambda x, h, W, b: torch.sigmoid(_joined(x, h, W, 0)) + b,
        ),
        Mistake(
            "open for shut", "This is 1 - f. f says how much is *kept*.", like=lambda *a: torch.sigmoid(-_joined(*a))
        ),
    ),
    hints=(
        "[h, x] means the two side by side. torch.cat does that; along which axis?",
        "The joined rows are (B, H + D) and W_f is (H, H + D). Which needs .T to give (B, H)?",
        "σ of torch.cat([h, x], 1) @ W.T + b. You may call your sigmoid.",
    ),
)

# --- lstm.candidate -----------------------------------------------------------------------------------


def _two(B, D, H):
    def make(g):
        x, h, W, b = _sums(B, D, H, 2)(g)
        return x, h, W[0], b[0], W[1], b[1]

    return make


def _write(x, h, W_i, b_i, W_C, b_C):
    return lstm.gate(x, h, W_i, b_i), lstm.candidate(x, h, W_C, b_C)


def _write_oracle(x, h, W_i, b_i, W_C, b_C):
    both = (
        h @ torch.cat([W_i, W_C])[:, : h.shape[1]].T
        + x @ torch.cat([W_i, W_C])[:, h.shape[1] :].T
        + torch.cat([b_i, b_C])
    )
    i, new = both.chunk(2, 1)
    return torch.sigmoid(i), torch.tanh(new)


def _write_like(first, second, join=_joined):
    return lambda x, h, W_i, b_i, W_C, b_C: (first(join(x, h, W_i, b_i)), second(join(x, h, W_C, b_C)))


candidate = Exercise(
    id="lstm.candidate",
    title="the input gate and the candidate",
    library=_write,
    oracle=_write_oracle,
    axes=("sample", "unit"),
    parts=("i_t", "C̃_t"),
    cases=(
        Case(
            "shape",
            2,
            "Return two tensors with a comma between them, i and C̃, each (B, H).",
            make=_two(4, 3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: one input, one unit",
            2,
            "With h = 2 and x = 1 the sum for i is 3 · 2 - 4 · 1 - 1 = 1, and the one for C̃ is 1 · 2 - 1 · 1 - 0.5 = 0.5. Are yours? Then i = σ(1) = 0.731 and C̃ = tanh(0.5) = 0.462.",
            make=given(*_ONE, torch.tensor([[1.0, -1.0]]), torch.tensor([-0.5])),
            want=lambda *_: (torch.tensor([[1 / (1 + math.exp(-1))]]), torch.tensor([[math.tanh(0.5)]])),
        ),
        Case(
            "random",
            4,
            "Your answer is right for one unit. The message names the first of the two that differs: is its sum [h, x] @ W.T + b, with its own weights transposed?",
            make=around(_two, 4, 3, 5),
        ),
        Case("as many inputs as units and samples", 2, ORDER, make=_two(3, 3, 3)),
    ),
    mistakes=(
        Mistake(
            "sigmoid for the candidate",
            "C̃ is what is written, and that may be negative: tanh. With σ a unit could only ever count up.",
            like=_write_like(torch.sigmoid, torch.sigmoid),
        ),
        Mistake("tanh for the gate", "i is a gate: σ, between 0 and 1.", like=_write_like(torch.tanh, torch.tanh)),
        Mistake(
            "the two exchanged",
            "σ and tanh are swapped: i uses σ, C̃ uses tanh.",
            like=_write_like(torch.tanh, torch.sigmoid),
        ),
        Mistake(
            "in the wrong order",
            "Both are right, in the wrong order: return i, then C̃.",
            when=misordered,
        ),
        Mistake(
            "weights exchanged",
            "i has its own weights W_i, b_i, and C̃ has W_C, b_C. You swapped them.",
            like=lambda x, h, W_i, b_i, W_C, b_C: _write(x, h, W_C, b_C, W_i, b_i),
        ),
        Mistake("input first", ORDER, like=_write_like(torch.sigmoid, torch.tanh, _swapped)),
    ),
    hints=(
        "The two sums look alike; only the weights differ, and the function applied to each sum.",
        "How much may be written is a gate. What is written is a state, as in an RNN.",
        "σ of the first sum and tanh of the second, returned as a pair.",
    ),
)

# --- lstm.update --------------------------------------------------------------------------------------


def _update_args(B, H):
    return lambda g: (
        normal(g, B, H),
        torch.sigmoid(normal(g, B, H)),
        torch.sigmoid(normal(g, B, H)),
        torch.tanh(normal(g, B, H)),
    )


update = Exercise(
    id="lstm.update",
    title="the cell state",
    library=lstm.update,
    oracle=lambda c, f, i, new: torch.stack([f, i]).mul(torch.stack([c, new])).sum(0),
    axes=("sample", "unit"),
    cases=(
        Case(
            "by hand: keep, and write nothing",
            2,
            "With f = 1 and i = 0, C_t is 1 · C_{t-1} + 0 · C̃ = C_{t-1}: the state (3, -2) must come back unchanged.",
            make=given(*map(torch.tensor, ([[3.0, -2.0]], [[1.0, 1.0]], [[0.0, 0.0]], [[0.9, -0.4]]))),
            want=lambda *_: torch.tensor([[3.0, -2.0]]),
        ),
        Case(
            "by hand: a half and a quarter",
            1,
            "With C = 3, f = 1/2, i = 1/4 and C̃ = 1 the new state is 1/2 · 3 + 1/4 · 1 = 1.75. Print the two products: they must be 1.5 and 0.25.",
            make=given(*map(torch.tensor, ([[3.0]], [[0.5]], [[0.25]], [[1.0]]))),
            want=lambda *_: torch.tensor([[1.75]]),
        ),
        Case(
            "random",
            2,
            "Your answer is right for single numbers but not for matrices: `*` works element by element, `@` does not. It is f * C + i * C̃, without a sum over an axis.",
            make=around(_update_args, 3, 4),
        ),
        Case("gradients", 1, GRADIENT, make=_update_args(3, 4), gradient=True),
    ),
    mistakes=(
        Mistake(
            "+ for *, at the input",
            "You add i and C̃. A gate is *multiplied* by what it controls: i * C̃.",
            like=lambda c, f, i, new: f * c + i + new,
        ),
        Mistake(
            "+ for *, at the memory",
            "You add f and C. A gate is *multiplied* by what it controls: f * C.",
            like=lambda c, f, i, new: f + c + i * new,
        ),
        Mistake(
            "+ for *, everywhere",
            "You add all four. A gate is *multiplied* by what it controls; then the two products are added.",
            like=lambda c, f, i, new: f + c + i + new,
        ),
        Mistake(
            "* for +",
            "You multiply the two parts. What is kept and what is new must be *added*.",
            like=lambda c, f, i, new: f * c * i * new,
        ),
        Mistake(
            "gates exchanged",
            "f controls the old state, i the new one. You have them the other way round.",
            like=lambda c, f, i, new: i * c + f * new,
        ),
        Mistake(
            "1 - f for i",
            "That is a gated unit with one gate, as in a GRU. An LSTM has an input gate of its own.",
            like=lambda c, f, i, new: f * c + (1 - f) * new,
        ),
        Mistake(
            "tanh of the state",
            "There is no tanh here: the state is passed on as it is. tanh is applied only to get h_t.",
            like=lambda c, f, i, new: torch.tanh(f * c + i * new),
        ),
    ),
    hints=(
        "Read the equation aloud: what is kept of the old, plus what is taken of the new.",
        "* is element by element: no matrix, no weights.",
        "Two products, one sum.",
    ),
)

# --- lstm.output --------------------------------------------------------------------------------------


def _hidden(x, h, c, W_o, b_o):
    return lstm.output(c, lstm.gate(x, h, W_o, b_o))


def _hidden_args(B, D, H):
    def make(g):
        x, h, W, b = _sums(B, D, H)(g)
        return x, h, 1.5 * normal(g, B, H), W, b

    return make


def _hidden_oracle(x, h, c, W_o, b_o):
    a = h @ W_o[:, : h.shape[1]].T + x @ W_o[:, h.shape[1] :].T + b_o
    return (1 - torch.exp(-2 * c)) / (1 + torch.exp(-2 * c)) / (1 + torch.exp(-a))


output = Exercise(
    id="lstm.output",
    title="the output gate and the hidden state",
    library=_hidden,
    oracle=_hidden_oracle,
    axes=("sample", "unit"),
    cases=(
        Case(
            "shape",
            1,
            "h_t has the shape of C_t, (B, H). Return h_t alone: C_t is given.",
            make=_hidden_args(4, 3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: one input, one unit",
            2,
            "h is 2, so the sum in the gate is 3 · 2 - 4 · 1 - 1 = 1. Is yours? Then o = σ(1) = 0.731. C_t is -1, and tanh(-1) = -0.762. The product is -0.557.",
            make=given(_ONE[0], _ONE[1], torch.tensor([[-1.0]]), *_ONE[2:]),
            want=lambda *_: torch.tensor([[math.tanh(-1) / (1 + math.exp(-1))]]),
        ),
        Case(
            "random",
            3,
            "Your answer is right for one unit. Compare o with σ(h @ W_o[:, :H].T + x @ W_o[:, H:].T + b_o), and your answer with o * torch.tanh(c), element by element.",
            make=around(_hidden_args, 4, 3, 5),
        ),
        Case("as many inputs as units and samples", 1, ORDER, make=_hidden_args(3, 3, 3)),
        Case("gradients", 1, GRADIENT, make=_hidden_args(4, 3, 5), gradient=True),
    ),
    mistakes=(
        Mistake(
            "tanh forgotten",
            "h_t is made from C_t without tanh. C_t may grow beyond 1; h_t must not.",
            like=lambda x, h, c, W, b: torch.sigmoid(_joined(x, h, W, b)) * c,
        ),
        Mistake(
            "tanh of the product",
            "tanh is applied only to C_t; the gate is outside it.",
            like=lambda x, h, c, W, b: torch.tanh(torch.sigmoid(_joined(x, h, W, b)) * c),
        ),
        Mistake(
            "sigmoid of the state",
            "C_t goes through tanh, not through σ: h_t may be negative.",
            like=lambda x, h, c, W, b: torch.sigmoid(_joined(x, h, W, b)) * torch.sigmoid(c),
        ),
        Mistake(
            "tanh for the gate",
            "o is a gate: σ, between 0 and 1.",
            like=lambda x, h, c, W, b: torch.tanh(_joined(x, h, W, b)) * torch.tanh(c),
        ),
        Mistake(
            "cell state in the gate",
            "The gate reads h_{t-1}, not C_t; only tanh reads C_t.",
            like=lambda x, h, c, W, b: torch.sigmoid(_joined(x, c, W, b)) * torch.tanh(c),
        ),
        Mistake(
            "gate forgotten",
            "tanh(C_t) is right. Multiply it by o, which controls how much of it is shown.",
            like=lambda x, h, c, W, b: torch.tanh(c),
        ),
        Mistake("input first", ORDER, like=lambda x, h, c, W, b: torch.sigmoid(_swapped(x, h, W, b)) * torch.tanh(c)),
    ),
    hints=(
        "Two things are multiplied: a gate, and the state squashed.",
        "The gate is computed as f is, with its own weights.",
        "o * torch.tanh(c), with o from W_o and b_o.",
    ),
)

# --- lstm.step ----------------------------------------------------------------------------------------


def _step_args(B, D, H, bias=None):
    def make(g):
        x, h, W, b = _sums(B, D, H, 4)(g)
        b = b if bias is None else b + torch.tensor(bias)[:, None]
        return x, h, 1.5 * normal(g, B, H), W, b

    return make


def _step_oracle(x, h, c, W, b):
    H = h.shape[1]
    f, i, new, o = range(4)
    rows = torch.cat([W[k] for k in (i, f, new, o)])
    weights = {
        "weight_ih": rows[:, H:],
        "weight_hh": rows[:, :H],
        "bias_ih": torch.cat([b[k] for k in (i, f, new, o)]),
        "bias_hh": torch.zeros(4 * H, dtype=b.dtype),
    }
    return functional_call(nn.LSTMCell(x.shape[1], H, dtype=x.dtype), weights, (x, (h, c)))


def _step_like(order=(0, 1, 2, 3), new_of=torch.tanh, kept=None, shown=torch.tanh, join=_joined, of=None):
    """One step with one thing in it done otherwise."""

    def step(x, h, c, W, b):
        f, i, new, o = (join(x, h, W[k], b[k]) for k in order)
        f, i, new, o = torch.sigmoid(f), torch.sigmoid(i), new_of(new), torch.sigmoid(o)
        after = kept(c, f, i, new) if kept else f * c + i * new
        return o * shown(of(c, after) if of else after), after

    return step


def _peeping(x, h, c, W, b):
    """Right, except that the output gate reads the new cell state."""
    _, after = _step_like()(x, h, c, W, b)
    return torch.sigmoid(_joined(x, after, W[3], b[3])) * torch.tanh(after), after


step = Exercise(
    id="lstm.step",
    title="the whole cell",
    library=lstm.step,
    oracle=_step_oracle,
    axes=("sample", "unit"),
    parts=("h_t", "C_t"),
    cases=(
        Case(
            "shape",
            2,
            "Return two tensors, the new h and the new c, each (B, H). W[0] is the matrix of one gate, (H, H + D).",
            make=_step_args(4, 3, 5),
            test=shape_only,
        ),
        Case(
            "keep, and write nothing",
            2,
            "Here b opens f and closes i, so C_t must be C_{t-1}. Print f and i: are they 1 and 0? If not, is b in your sums, and does each gate use its own W[k] and b[k], in the order f, i, C̃, o? If only h_t differs: o reads [h_{t-1}, x_t], neither the new h nor C, and h_t is o * tanh(C_t).",
            make=_step_args(3, 2, 4, (60.0, -60.0, 0.0, 0.0)),
        ),
        Case(
            "random, against torch.nn.LSTMCell",
            5,
            "Your answer is right with f open and i closed. If C_t differs, compare i, C̃ and f * C_{t-1} + i * C̃; if only h_t differs, compare o, and h_t = o * tanh(C_t). A gate reads [h_{t-1}, x_t], neither C nor the new state.",
            make=around(_step_args, 4, 3, 5),
        ),
        Case("as many inputs as units and samples", 3, ORDER, make=_step_args(4, 4, 4)),
    ),
    mistakes=(
        Mistake(
            "gates in the wrong order",
            "You read W and b in the order i f C o, as in PyTorch. Here the order is the lecture's: f i C o.",
            like=_step_like(order=(1, 0, 2, 3)),
        ),
        Mistake(
            "output gate third",
            "You read W and b in the order f i o C. Here it is f i C o: the output gate comes last.",
            like=_step_like(order=(0, 1, 3, 2)),
        ),
        Mistake(
            "sigmoid for the candidate",
            "C̃ is what is written, and that may be negative: tanh, not σ.",
            like=_step_like(new_of=torch.sigmoid),
        ),
        Mistake(
            "+ for * in the update",
            "A gate is *multiplied* by what it controls: f * C + i * C̃.",
            like=_step_like(kept=lambda c, f, i, new: f * c + i + new),
        ),
        Mistake(
            "biases forgotten",
            "The biases are missing: each gate adds its own b[k] to the sum.",
            like=lambda x, h, c, W, b: _step_like()(x, h, c, W, 0 * b),
        ),
        Mistake(
            "gates read the cell state",
            "Your gates read C_{t-1}. A gate reads only [h_{t-1}, x_t]. C only passes through f, i and tanh.",
            like=lambda x, h, c, W, b: _step_like(join=lambda x, h, w, v: _joined(x, c, w, v))(x, h, c, W, b),
        ),
        Mistake(
            "output gate reads the new state",
            "Your output gate reads C_t. It must read [h_{t-1}, x_t], like the other three gates; only tanh reads C_t.",
            like=lambda x, h, c, W, b: _peeping(x, h, c, W, b),
        ),
        Mistake("output without tanh", "h_t is made from C_t without tanh.", like=_step_like(shown=lambda c: c)),
        Mistake(
            "output from the old state",
            "h_t is made from C_{t-1}. Update the cell first, then show it.",
            like=_step_like(of=lambda c, after: c),
        ),
        Mistake(
            "h and c exchanged",
            "Both are right, in the wrong order: return h, then c.",
            when=misordered,
        ),
        Mistake("input first", ORDER, like=_step_like(join=_swapped)),
    ),
    hints=(
        "You have all the parts: call your functions of the last four exercises.",
        "W[0] and b[0] belong to f, W[1] and b[1] to i, W[2] and b[2] to C̃, W[3] and b[3] to o.",
        "forget, candidate, update, output; the output reads the *new* c. Return h, c.",
    ),
)

# --- lstm.torch ---------------------------------------------------------------------------------------

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def _torch_args(D, H):
    return lambda g: (normal(g, 4, H, H + D), normal(g, 4, H))


def _torch_oracle(W, b):
    f, i, new, o = W
    H = len(f)
    bias = torch.cat([b[1], b[0], b[2], b[3]])
    return dict(
        zip(
            NAMES,
            (torch.vstack([m[:, H:] for m in (i, f, new, o)]), torch.vstack([m[:, :H] for m in (i, f, new, o)])),
            strict=False,
        )
    ) | {"bias_ih_l0": bias, "bias_hh_l0": torch.zeros_like(bias)}


def _torch_names(got, want):
    """What is wrong with the names or shapes, or None."""
    if not isinstance(got, dict):
        return difference(got, want)
    for key in sorted(want.keys() - got.keys()):
        return f"the key {key!r} is missing"
    for key in sorted(got.keys() - want.keys()):
        return f"the key {quoted(key)} is not one of the four names"
    for key in want:
        if got[key] is None:
            return f"{key}: None, where a tensor of shape {tuple(want[key].shape)} was expected"
        if wrong := in_member(key, shape_only(got[key], want[key])):
            return wrong
    return None


def _torch_test(got, want):
    """How the bias is shared between the two vectors is free: they are added."""
    if wrong := _torch_names(got, want):
        return wrong
    names = ("bias_ih_l0", "bias_hh_l0")

    def added(a):
        return {k: v for k, v in a.items() if k not in names} | {"sum of the biases": a[names[0]] + a[names[1]]}

    return difference(added(got), added(want), ("row", "column"))


def _torch_like(order=(1, 0, 2, 3), bias_order=None, exchanged=False, twice=False):
    def change(W, b):
        H, rows, bias = W.shape[1], W[list(order)].flatten(0, 1), b[list(bias_order or order)].flatten()
        D = rows.shape[1] - H
        split = (rows[:, :D], rows[:, D:]) if exchanged else (rows[:, H:], rows[:, :H])
        return dict(zip(NAMES, (*split, bias, bias if twice else torch.zeros_like(bias)), strict=True))

    return change


def _torch_hand(g):
    return torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]], [[7.0, 8.0]]]), torch.tensor(
        [[10.0], [20.0], [30.0], [40.0]]
    )


to_torch = Exercise(
    id="lstm.torch",
    title="weights for torch.nn.LSTM",
    library=lstm.to_torch,
    oracle=_torch_oracle,
    cases=(
        Case(
            "names and shapes",
            2,
            "Four names: weight_ih_l0 (4 H, D), weight_hh_l0 (4 H, H), bias_ih_l0 and bias_hh_l0, both (4 H,) and both tensors. The message names the first that differs.",
            make=_torch_args(3, 5),
            test=_torch_names,
        ),
        Case(
            "by hand: one input, one unit",
            3,
            "W holds [1 2], [3 4], [5 6], [7 8] for f, i, C̃, o, and columns are [h, x]. In PyTorch's order i f g o, where g is C̃, weight_hh_l0 is 3, 1, 5, 7, weight_ih_l0 is 4, 2, 6, 8, and the biases add up to 20, 10, 30, 40.",
            make=_torch_hand,
            test=_torch_test,
        ),
        Case(
            "random",
            4,
            "Your answer is right for one unit. With H units, each gate is a *block* of H rows: reorder whole blocks, not rows. The first H columns, not the first D, belong to weight_hh_l0.",
            make=around(_torch_args, 3, 5),
            test=_torch_test,
        ),
        Case(
            "as many inputs as units",
            3,
            "Both weights are (4 H, H) here, so swapping them gives no error: hh takes the first H columns, ih the rest.",
            make=_torch_args(4, 4),
            test=_torch_test,
        ),
    ),
    mistakes=(
        Mistake(
            "a name is missing",
            "Four names exactly, as in the table. nn.LSTM has two biases, and each has its own.",
            when=lambda got, want: isinstance(got, dict) and not want.keys() <= got.keys(),
        ),
        Mistake(
            "a name too many",
            "Four names exactly, as in the table: load_state_dict refuses any other.",
            when=lambda got, want: isinstance(got, dict) and not got.keys() <= want.keys(),
        ),
        Mistake(
            "gates in the wrong order",
            "The rows are still in the lecture's order, f i C o. PyTorch expects i f g o.",
            like=_torch_like((0, 1, 2, 3)),
        ),
        Mistake(
            "bias in the wrong order",
            "The weights are in the right order, but b is still in f i C o.",
            like=_torch_like(bias_order=(0, 1, 2, 3)),
        ),
        Mistake(
            "output gate third",
            "The rows are in the order i f o g. PyTorch expects i f g o: the output gate comes last.",
            like=_torch_like((1, 0, 3, 2)),
        ),
        Mistake(
            "inputs and states exchanged",
            "ih means input to hidden, hh hidden to hidden. The first H columns of W belong to h.",
            like=_torch_like(exchanged=True),
        ),
        Mistake(
            "bias twice",
            "PyTorch *adds* its two biases, so yours counts twice. Set one of them to zero.",
            like=_torch_like(twice=True),
        ),
    ),
    hints=(
        "First bring the four blocks into PyTorch's order. Then cut off columns.",
        "W[[1, 0, 2, 3]] selects blocks; flatten(0, 1) stacks them on top of each other.",
        "The first H columns go to weight_hh_l0, the others to weight_ih_l0. One bias is yours, the other zeros.",
    ),
)

# --- lstm.backward ------------------------------------------------------------------------------------


def _backward(dh, dc, c_before, c, gates):
    da, dc_before = lstm.backward_gates(dh, dc, c_before, c, gates)
    return (*da, dc_before)


def _backward_args(B, H, h=1.0, c=1.0):
    def make(g):
        dh, dc, before = h * normal(g, B, H), c * normal(g, B, H), normal(g, B, H)
        a = normal(g, 4, B, H)
        gates = torch.stack([torch.sigmoid(a[0]), torch.sigmoid(a[1]), torch.tanh(a[2]), torch.sigmoid(a[3])])
        return dh, dc, before, gates[0] * before + gates[1] * gates[2], gates

    return make


def _backward_oracle(dh, dc, c_before, c, gates):
    f, i, new, o = gates.double()
    a = [x.requires_grad_() for x in (torch.logit(f), torch.logit(i), torch.atanh(new), torch.logit(o))]
    before = c_before.double().requires_grad_()
    after = torch.sigmoid(a[0]) * before + torch.sigmoid(a[1]) * torch.tanh(a[2])
    loss = (dh * torch.sigmoid(a[3]) * torch.tanh(after)).sum() + (dc * after).sum()
    return tuple(g.to(dh.dtype) for g in torch.autograd.grad(loss, [*a, before]))


def _backward_like(
    through_h=True,
    from_next=True,
    slope=True,
    bend="1-t²",
    before=lambda c_before, c: c_before,
    gate_slope=lambda gate: gate * (1 - gate),
    new_slope=lambda new: 1 - new**2,
    exchanged=False,
    squash=True,
    last=lambda total, dc, f: total * f,
):
    """The step backwards with one thing in it done otherwise."""

    def backward(dh, dc, c_before, c, gates):
        f, i, new, o = gates
        t = torch.tanh(c)
        bent = {"1-t²": 1 - t**2, "1-t": 1 - t, "none": torch.ones_like(t), "1-c²": 1 - c**2}[bend]
        total = dc * from_next + dh * o * bent * through_h
        factors = (i, new) if exchanged else (new, i)
        d = [total * before(c_before, c), *(total * factor for factor in factors), dh * (t if squash else c)]
        slopes = [gate_slope(f), gate_slope(i), new_slope(new), gate_slope(o)]
        return (*(a * s if slope else a for a, s in zip(d, slopes, strict=True)), last(total, dc, f))

    return backward


def _sigmoid_again(gate):
    return torch.sigmoid(gate) * (1 - torch.sigmoid(gate))


def _tanh_again(new):
    return 1 - torch.tanh(new) ** 2


backward = Exercise(
    id="lstm.backward",
    title="one step backwards",
    library=_backward,
    oracle=_backward_oracle,
    axes=("sample", "unit"),
    parts=("da_f", "da_i", "da_C", "da_o", "dc_before"),
    cases=(
        Case(
            "shape",
            2,
            "Return five tensors (B, H) in this order: da_f, da_i, da_C, da_o, dc_before. gates[0] is f, one of four (B, H) in gates.",
            make=_backward_args(4, 5),
            test=shape_only,
        ),
        Case(
            "only dc comes in",
            4,
            "With dh = 0 everything comes from C_t = f C_{t-1} + i C̃. Each factor's gradient is dc times the other factor: f gets dc · C_{t-1}, i gets dc · C̃, C̃ gets dc · i, and dc_before is dc · f. Multiply by the derivative of σ or tanh to get da; da_o is 0.",
            make=_backward_args(3, 4, h=0.0),
        ),
        Case(
            "only dh comes in",
            4,
            "Here dc = 0, so only dh counts: h_t = o tanh(C_t), so da_o = dh · tanh(C_t) · o (1 - o), and the gradient at C_t is dh · o · (1 - tanh²(C_t)). The other four follow from that gradient as they did from dc. The message names the first that differs.",
            make=_backward_args(3, 4, c=0.0),
        ),
        Case(
            "both, against autograd",
            4,
            "Your answer is right for dc alone, and for dh alone. Together, the gradient at C_t is a *sum*: dc from the next step, plus what comes through h_t. All except da_o use this sum.",
            make=_backward_args(4, 4),
        ),
    ),
    mistakes=(
        Mistake(
            "in the wrong order",
            "All five are right, but in the wrong order. The order is da_f, da_i, da_C, da_o, dc_before.",
            when=misordered,
        ),
        Mistake(
            "the way through h forgotten",
            "C_t acts on the loss through h_t as well: add dh * o * (1 - tanh²(C_t)) to dc.",
            like=_backward_like(through_h=False),
        ),
        Mistake(
            "the next step forgotten",
            "The dc that comes from step t+1 is not used. The gradient at C_t is the sum over both paths.",
            like=_backward_like(from_next=False),
        ),
        Mistake(
            "slopes of the gates forgotten",
            "These are the gradients at the gates. Continue to the pre-activations inside σ and tanh: multiply by the derivative.",
            like=_backward_like(slope=False),
        ),
        Mistake(
            "slope of tanh(C) forgotten",
            "On the way from h_t to C_t, the derivative of tanh is missing: 1 - tanh²(C_t).",
            like=_backward_like(bend="none"),
        ),
        Mistake(
            "tanh not squared", "The derivative of tanh is 1 - tanh², with the square.", like=_backward_like(bend="1-t")
        ),
        Mistake(
            "slope taken at the wrong place",
            "The derivative of tanh is 1 - tanh²(C), not 1 - C².",
            like=_backward_like(bend="1-c²"),
        ),
        Mistake(
            "slope of sigmoid for the candidate",
            "C̃ comes from tanh, so the derivative is 1 - C̃², not C̃ (1 - C̃).",
            like=_backward_like(new_slope=lambda new: new * (1 - new)),
        ),
        Mistake(
            "slopes of the gates taken again",
            "`gates` contains the values after σ. The derivative is f (1 - f); do not apply σ again.",
            like=_backward_like(gate_slope=_sigmoid_again),
        ),
        Mistake(
            "all slopes taken again",
            "`gates` contains the values after σ and tanh. The derivatives are f (1 - f) and 1 - C̃²; do not apply σ or tanh again.",
            like=_backward_like(gate_slope=_sigmoid_again, new_slope=_tanh_again),
        ),
        Mistake(
            "slope of the candidate taken again",
            "C̃ has already been through tanh: the derivative is 1 - C̃². Do not apply tanh again.",
            like=_backward_like(new_slope=_tanh_again),
        ),
        Mistake(
            "the new state at the forget gate",
            "f multiplies C_{t-1}, not C_t.",
            like=_backward_like(before=lambda c_before, c: c),
        ),
        Mistake(
            "factors exchanged",
            "The gradient of i is multiplied by C̃, and that of C̃ by i.",
            like=_backward_like(exchanged=True),
        ),
        Mistake(
            "o's gradient without tanh",
            "h_t = o * tanh(C_t): the gradient of o is dh times tanh(C_t), not times C_t.",
            like=_backward_like(squash=False),
        ),
        Mistake(
            "forget gate forgotten",
            "C_{t-1} is multiplied by f in the forward pass, so its gradient is multiplied by f in the backward pass.",
            like=_backward_like(last=lambda total, dc, f: total),
        ),
        Mistake(
            "only dc goes on",
            "C_{t-1} gets the complete δC_t times f, not only dc.",
            like=_backward_like(last=lambda total, dc, f: dc * f),
        ),
    ),
    hints=(
        "Start with the gradient at C_t. Two paths lead from it to the loss.",
        "A product passes to each factor the gradient times the other factor. That gives the gradients at f, i, C̃, o and C_{t-1}.",
        "Then multiply by the derivatives, written in terms of the values themselves: f (1 - f), i (1 - i), 1 - C̃², o (1 - o).",
    ),
)

# --- lstm.shapes --------------------------------------------------------------------------------------

# nn.LSTM(5, 7, num_layers=2, bidirectional=True) reads xs of shape (11, 3, 5)
_SHAPES = {
    "hs": (
        (11, 3, 14),
        "hs holds all T steps of the last layer, (T, B, …). Both directions are side by side in the last axis. How many numbers does that make?",
    ),
    "h": (
        (4, 3, 7),
        "h holds the last state of each layer and each direction: one row for each (how many?), then the batch, then the units of one direction.",
    ),
    "c": (
        (4, 3, 7),
        "c has the same shape as h: each unit has one number in each of them.",
    ),
    "weight_hh_l0": (
        (28, 7),
        "Four gates with H rows each; the columns are what each row is multiplied with, here the state of one direction.",
    ),
    "weight_ih_l1": (
        (28, 14),
        "4 H rows again. The columns are what the second layer reads: the output of the first one, in both directions.",
    ),
}


def shapes():
    """The shapes of an nn.LSTM(5, 7, num_layers=2, bidirectional=True) that reads (11, 3, 5)."""
    return {key: shape for key, (shape, _) in _SHAPES.items()}


shape_questions = Exercise(
    id="lstm.shapes",
    title="shapes of nn.LSTM",
    kind="answer",
    library=shapes,
    oracle=shapes,
    cases=shape_cases(_SHAPES, (11, 3, 5)),
    mistakes=(
        Mistake(
            "one direction in hs",
            "Both directions are in hs, side by side: the last axis is twice as wide.",
            when=answered("hs", (11, 3, 7)),
        ),
        Mistake(
            "batch first",
            "Time comes first in hs, because batch_first is not set.",
            when=answered("hs", (3, 11, 14)),
        ),
        Mistake(
            "one row per layer",
            "Each *direction* of each layer has its own last state: 2 · 2 rows.",
            when=answered("h", (2, 3, 7)),
        ),
        Mistake(
            "directions side by side in h",
            "Only in hs are the directions side by side. In h each has its own row.",
            when=answered("h", (2, 3, 14)),
        ),
        Mistake(
            "second layer reads the input",
            "The second layer does not see xs. It reads the output of the first one, in both directions.",
            when=answered("weight_ih_l1", (28, 5)),
        ),
        Mistake(
            "second layer reads one direction",
            "The second layer reads both directions of the first: 2 · 7 numbers.",
            when=answered("weight_ih_l1", (28, 7)),
        ),
    ),
    hints=(
        "T = 11, B = 3, D = 5, H = 7, two layers, two directions.",
        "hs contains all steps of the last layer; h and c contain the last step of all layers.",
        "If in doubt, create such a layer in a new cell and look.",
    ),
)

# --- lstm.attend --------------------------------------------------------------------------------------


def _attend_args(B, T, H, R, padded=False):
    def make(g):
        lengths = torch.randint(1, T, (B,), generator=g) if padded else torch.full((B,), T)
        return (
            normal(g, B, H),
            normal(g, B, T, H),
            normal(g, B, T, R),
            torch.arange(T) < lengths[:, None],
        )

    return make


def _attend_oracle(query, keys, values, mask):
    eye = torch.eye(keys.shape[1], dtype=keys.dtype).expand(len(keys), -1, -1)

    def look(v):
        return F.scaled_dot_product_attention(query[:, None], keys, v, mask[:, None])[:, 0]

    return look(values), look(eye)  # looked up in the unit matrix, the context is the weights


def _attend_like(axis=-1, power=0.5, masked="before", fill=-torch.inf):
    """Attention with one thing in it done otherwise.  power: of H, by which the products are divided."""

    def attend(query, keys, values, mask):
        scores = (keys @ query[:, :, None])[..., 0] / query.shape[1] ** power
        shut = {"before": ~mask, "inverted": mask}.get(masked, torch.zeros_like(mask))
        weights = scores.masked_fill(shut, fill).softmax(axis)
        if masked in ("after", "zero"):
            weights = weights * mask if masked == "after" else (scores * mask).softmax(axis)
        return (weights[..., None] * values).sum(1), weights

    return attend


attend = Exercise(
    id="lstm.attend",
    title="attention",
    library=attention.attend,
    oracle=_attend_oracle,
    axes=("sample",),  # the second is a step or a unit
    parts=("context", "weights"),
    cases=(
        Case(
            "shape",
            2,
            "Return two tensors: the context, (B, R), then the weights, (B, T). keys @ query needs a third axis: query[:, :, None].",
            make=_attend_args(4, 6, 3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: one step fits, the other does not",
            2,
            "The products of query and keys are 2 ln 3 = 2.197 and 0; divided by √4 they are 1.099 and 0; softmax gives 3/4 and 1/4; the context is 3/4 · 8 + 1/4 · 4 = 7. Which is the first that is different in yours?",
            make=given(
                torch.tensor([[2 * math.log(3), 0.0, 0.0, 0.0]]),
                torch.tensor([[[1.0, 5.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0]]]),
                torch.tensor([[[8.0], [4.0]]]),
                torch.ones(1, 2, dtype=torch.bool),
            ),
            want=lambda *_: (torch.tensor([[7.0]]), torch.tensor([[0.75, 0.25]])),
        ),
        Case(
            "random",
            2,
            "Your answer is right for one sample. Each sample b uses its own keys[b] and values[b]; H, not T or R, is under the root, and softmax runs over the steps, axis 1.",
            make=around(_attend_args, 4, 6, 3, 5),
        ),
        Case(
            "as many steps as samples and units",
            1,
            "B, T and H are equal here. Check weights.sum(1): it must be 1 for each sample. If weights.sum(0) is 1 instead, the softmax runs over the batch.",
            make=_attend_args(4, 4, 4, 4),
        ),
        Case(
            "with padding",
            3,
            "Your answer is right without padding. Where mask is False, the weight must be exactly 0, and weights.sum(1) must still be 1: set those *scores* to minus infinity before the softmax.",
            make=_attend_args(4, 6, 3, 5, padded=True),
        ),
    ),
    mistakes=(
        Mistake(
            "softmax over the wrong axis",
            "Your softmax runs over the batch, so that samples compete. It must run over the steps, the last axis.",
            like=_attend_like(axis=0),
        ),
        Mistake(
            "softmax over the wrong axis, -1e9 at the padding",
            "Your softmax runs over the batch, so that samples compete. It must run over the steps, the last axis.",
            like=_attend_like(axis=0, fill=-1e9),
        ),
        Mistake(
            "softmax over the wrong axis, padding ignored",
            "Your softmax runs over the batch. It must run over the steps; then take care of the padding.",
            like=_attend_like(axis=0, masked="not"),
        ),
        Mistake(
            "not divided by the root",
            "Divide the products by √H; otherwise they grow with the number of units.",
            like=_attend_like(power=0),
        ),
        Mistake("divided by H", "You divide by H; divide by √H.", like=_attend_like(power=1)),
        Mistake(
            "in the wrong order",
            "Both are right, in the wrong order: return the context, then the weights.",
            when=misordered,
        ),
        Mistake(
            "padding gets weight",
            "Padded steps get a share of the attention. Set their scores to -inf before softmax.",
            like=_attend_like(masked="not"),
        ),
        Mistake(
            "masked after softmax",
            "You set weights to 0 after softmax, so that the rest no longer sums to 1. Mask the scores before softmax.",
            like=_attend_like(masked="after"),
        ),
        Mistake(
            "score zero for padding",
            "A score of 0 does not mean no attention, because e^0 is 1. Use minus infinity.",
            like=_attend_like(masked="zero"),
        ),
        Mistake(
            "mask inverted",
            "You masked the steps that count. mask is True at real steps.",
            like=_attend_like(masked="inverted"),
        ),
        Mistake(
            "mask inverted, with -1e9",
            "You masked the steps that count. mask is True at real steps.",
            like=_attend_like(masked="inverted", fill=-1e9),
        ),
    ),
    hints=(
        "One score per step: the product of the query with the key of that step.",
        "(keys * query[:, None]).sum(-1) gives scores (B, T). Divide, mask, softmax over dimension 1.",
        "The context is the sum over steps of weight times value.",
    ),
)

EXERCISES = [sigmoid, forget, candidate, update, output, step, to_torch, backward, shape_questions, attend]
