"""Exercises of notebook 01."""

import math
from itertools import combinations

import torch
from torch import nn
from torch.func import functional_call

from cvdl.course.exercises.case_helpers import answered, around, choice_case, given, normal, shape_only
from cvdl.course.exercises.scoring import Case, Exercise, Mistake
from cvdl.sequence import rnn


def _weights(generator, D, H):
    return 0.6 * normal(generator, H, D), 0.6 * normal(generator, H, H), 0.5 * normal(generator, H)


# --- rnn.step -----------------------------------------------------------------------------------------


def _step_args(B, D, H, scale=1.0):
    return lambda g: (scale * normal(g, B, D), torch.tanh(normal(g, B, H)), *_weights(g, D, H))


def _step_oracle(x, h, V, W, b_h):
    weights = {"weight_ih": V, "weight_hh": W, "bias_ih": b_h, "bias_hh": torch.zeros_like(b_h)}
    return functional_call(nn.RNNCell(x.shape[1], h.shape[1]), weights, (x, h))


_by_hand = torch.tensor
GRADIENT = "The values are right, but their derivatives are not: the message names the argument whose derivative differs. Something cuts or changes the graph there: .detach(), .item(), .data, torch.no_grad() or an in-place operation."

step = Exercise(
    id="rnn.step",
    title="one step",
    library=rnn.step,
    oracle=_step_oracle,
    axes=("sample", "unit"),
    cases=(
        Case(
            "shape: one row per sample",
            2,
            "The new state has the shape of the old one, (B, H). Rows are samples, so V x_t becomes x @ V.T: (B, D) times (D, H). Print the shape of each term in the sum: each must be (B, H), or (H,) for b_h.",
            make=_step_args(4, 3, 5),
            test=shape_only,
        ),
        Case(
            "by hand: one input, one unit",
            3,
            "With V = 2, W = -1, b_h = 0.5, x = 1 and h = 1 the sum is 2 - 1 + 0.5 = 1.5. Is yours? If not, print the three terms: V x = 2, W h = -1, b_h = 0.5. Then take tanh of the sum.",
            make=lambda g: tuple(map(_by_hand, ([[1.0]], [[1.0]], [[2.0]], [[-1.0]], [0.5]))),
            want=lambda *_: torch.tensor([[math.tanh(1.5)]]),
        ),
        Case(
            "random, against torch.nn.RNNCell",
            3,
            "Your answer is right for one unit but not for several, so look at the axes. V x_t is x @ V.T, W h_{t-1} is h @ W.T, and b_h is added to each row. Row b of the answer depends only on row b of x and of h.",
            make=around(_step_args, 4, 3, 5),
        ),
        Case(
            "as many inputs as units and samples",
            3,
            "V and W are both square here, so a swapped or transposed matrix gives no error, only wrong numbers. The products are always x @ V.T and h @ W.T, even when all sizes are equal: are yours?",
            make=_step_args(3, 3, 3),
        ),
        Case(
            "large inputs",
            2,
            "Inputs are around 100 here, and the state must still lie between -1 and 1, without nan. torch.tanh manages that; (e^x - e^-x) / (e^x + e^-x) overflows.",
            make=_step_args(2, 3, 4, scale=100.0),
        ),
        Case("gradients, against torch.nn.RNNCell", 2, GRADIENT, make=_step_args(4, 3, 5), gradient=True),
    ),
    mistakes=(
        Mistake(
            "tanh forgotten",
            "The sum is right, but f_h is missing: the state is tanh of the sum.",
            like=lambda x, h, V, W, b_h: x @ V.T + h @ W.T + b_h,
        ),
        Mistake(
            "sigmoid for tanh",
            "f_h is tanh here. Sigmoid gives states between 0 and 1; you will meet it in the gates of an LSTM.",
            like=lambda x, h, V, W, b_h: torch.sigmoid(x @ V.T + h @ W.T + b_h),
        ),
        Mistake(
            "relu for tanh",
            "f_h is tanh here, not relu.",
            like=lambda x, h, V, W, b_h: torch.relu(x @ V.T + h @ W.T + b_h),
        ),
        Mistake(
            "bias as a column",
            "b_h belongs to the units, the last axis. Because its shape is (H,), it is added to each row automatically.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V.T + h @ W.T + b_h[:, None]),
        ),
        Mistake(
            "bias forgotten",
            "b_h is missing from the sum.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V.T + h @ W.T),
        ),
        Mistake(
            "bias outside tanh",
            "b_h belongs inside the tanh, with the other two terms.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V.T + h @ W.T) + b_h,
        ),
        Mistake(
            "no memory",
            "You do not use the old state: without W h_{t-1} the network has no memory.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V.T + b_h),
        ),
        Mistake(
            "columns for rows",
            "V @ x treats the columns of x as samples. Here the rows are samples: x @ V.T.",
            like=lambda x, h, V, W, b_h: torch.tanh(V @ x + W @ h + b_h),
        ),
        Mistake(
            "V not transposed",
            "V has shape (H, D), and the rows of x are samples: x @ V.T, not x @ V.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V + h @ W.T + b_h),
        ),
        Mistake(
            "W not transposed",
            "The rows of h are samples: h @ W.T, not h @ W. Both have the right shape, so there is no error message.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V.T + h @ W + b_h),
        ),
        Mistake(
            "neither transposed",
            "The rows of x and h are samples: x @ V.T + h @ W.T. Without .T each matrix is used the wrong way round.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ V + h @ W + b_h),
        ),
        Mistake(
            "V and W swapped",
            "V belongs to the input x, W to the state h.",
            like=lambda x, h, V, W, b_h: torch.tanh(x @ W.T + h @ V.T + b_h),
        ),
    ),
    hints=(
        "Write the sum inside tanh first, term by term, and look at the shape of each.",
        "A row of x times V: x is (B, D), V is (H, D). Which of the two needs .T to give (B, H)?",
        "Two matrix products with transposed weights, plus b_h, inside torch.tanh.",
    ),
)

# --- rnn.unroll ---------------------------------------------------------------------------------------


def _unroll_args(T, B, D, H):
    return lambda g: (normal(g, T, B, D), torch.tanh(normal(g, B, H)), *_weights(g, D, H))


def _unroll_oracle(xs, h0, V, W, b_h):
    weights = {"weight_ih_l0": V, "weight_hh_l0": W, "bias_ih_l0": b_h, "bias_hh_l0": torch.zeros_like(b_h)}
    return functional_call(nn.RNN(xs.shape[2], h0.shape[1]), weights, (xs, h0[None]))[0]


def _loop(xs, h0, V, W, b_h, steps=None, keep=True):
    h, hs = h0, []
    for t in range(len(xs)) if steps is None else steps:
        new = rnn.step(xs[t], h, V, W, b_h)
        h = new if keep else h
        hs.append(new)
    return hs


unroll = Exercise(
    id="rnn.unroll",
    title="unrolling",
    library=rnn.unroll,
    oracle=_unroll_oracle,
    axes=("t", "sample", "unit"),
    cases=(
        Case(
            "shape: all states, time first",
            2,
            "Return the states of all T steps as one tensor: torch.stack of the list gives (T, B, H). Print len() of your list: it must be T.",
            make=_unroll_args(6, 3, 4, 5),
            test=shape_only,
        ),
        Case(
            "a single step",
            2,
            "With T = 1 the answer is one step from h0: your rnn_step(xs[0], h0, V, W, b_h), with an axis of length 1 in front. Compare the two.",
            make=_unroll_args(1, 2, 3, 4),
        ),
        Case(
            "two steps by hand",
            3,
            "V = 1, W = 2, x = 1 and then 0: h_1 = tanh(1) = 0.7616 and h_2 = tanh(2 · 0.7616) = 0.9096. If your second value is 0, the second step starts from h0; it must start from h_1. If your two values are swapped, append each new state at the end.",
            make=lambda g: tuple(map(_by_hand, ([[[1.0]], [[0.0]]], [[0.0]], [[1.0]], [[2.0]], [0.0]))),
            want=lambda *_: torch.tensor([[[math.tanh(1.0)]], [[math.tanh(2 * math.tanh(1.0))]]]),
        ),
        Case(
            "random, against torch.nn.RNN",
            4,
            "Your answer is right for two steps of a single unit. Here there are several samples and units: step t reads xs[t], which is (B, D), and the state that step t-1 left behind, (B, H).",
            make=around(_unroll_args, 6, 3, 4, 5),
        ),
        Case(
            "as many steps as samples, inputs and units",
            2,
            "All sizes are equal here, so a swapped axis gives no error, only wrong numbers. The loop must run over axis 0 of xs, and the states must be stacked along axis 0.",
            make=_unroll_args(4, 4, 4, 4),
        ),
        Case("gradients, against torch.nn.RNN", 2, GRADIENT, make=_unroll_args(5, 3, 4, 5), gradient=True),
    ),
    mistakes=(
        Mistake(
            "state not carried on",
            "Every step starts from h0 again. Put the new state into h before the next step.",
            like=lambda *a: torch.stack(_loop(*a, keep=False)),
        ),
        Mistake(
            "last state only",
            "You return only the last state. Return all of them: append each to a list and stack the list.",
            like=lambda *a: _loop(*a)[-1],
        ),
        Mistake(
            "cat for stack",
            "torch.cat glues the states into one long batch. torch.stack makes a new axis for time.",
            like=lambda *a: torch.cat(_loop(*a)),
        ),
        Mistake(
            "h0 among the states",
            "There should be no row for h0: the first state in the answer is h_1, after the first input.",
            like=lambda xs, h0, *w: torch.stack([h0, *_loop(xs, h0, *w)]),
        ),
        Mistake(
            "h0 for the last state",
            "The answer is one step late: it begins with h0 and lacks the last state. Append after the step, not before.",
            like=lambda xs, h0, *w: torch.stack([h0, *_loop(xs, h0, *w)[:-1]]),
        ),
        Mistake(
            "zeros for h0",
            "The first step must start from the argument h0, not from zeros.",
            like=lambda xs, h0, *w: torch.stack(_loop(xs, torch.zeros_like(h0), *w)),
        ),
        Mistake(
            "batch first",
            "The answer has the batch first. Stack along dimension 0, so that time comes first.",
            like=lambda *a: torch.stack(_loop(*a), 1),
        ),
        Mistake(
            "loop over samples",
            "The loop runs over the second axis. Time is the first one: xs[t] is the batch at step t.",
            like=lambda xs, h0, *w: torch.stack(_loop(xs.transpose(0, 1), h0, *w)),
        ),
        Mistake(
            "backwards in time",
            "The loop starts at the last input. Read the sequence from its beginning.",
            like=lambda xs, h0, *w: torch.stack(_loop(xs.flip(0), h0, *w)),
        ),
    ),
    hints=(
        "Keep one variable h. It starts as h0 and is replaced at every step.",
        "Loop over xs: its first axis is time, so each x has shape (B, D). Collect the states in a list.",
        "In the loop: h = rnn_step(x, h, V, W, b_h), then append. After it: torch.stack.",
    ),
)

# --- rnn.parameters -----------------------------------------------------------------------------------


def _count_oracle(D, H, K, T):
    layer, out = nn.RNN(D, H), nn.Linear(H, K)
    return sum(p.numel() for p in [*layer.parameters(), *out.parameters()]) - H  # nn.RNN has two biases


_ASKED = (1, 1, 2, 3), (27, 128, 17, 10), (27, 128, 17, 1000)  # D, H, K, T: more than one step everywhere


def _grows_with_T(got, want):
    """Are some of the five parts, or the states, there T times?"""
    for D, H, K, T in _ASKED:
        parts = (H * D, H * H, H, K * H, K)
        if sum(parts) == want:
            several = {sum(some) for n in range(1, 5) for some in combinations(parts, n)}
            if got - want in {T * H, *((T - 1) * size for size in several)}:
                return True
    return False


parameters = Exercise(
    id="rnn.parameters",
    title="counting parameters",
    library=rnn.count_parameters,
    oracle=_count_oracle,
    cases=(
        Case(
            "one input, one unit, two outputs",
            2,
            "With D = 1, H = 1, K = 2: V, W and b_h have one number each, U and b_y have two, 7 together, although there are T = 3 steps. Which of the five is different in yours?",
            make=given(*_ASKED[0]),
        ),
        Case(
            "ten letters",
            4,
            "With D = H = 1 and three steps your count is right, so look at which sizes you multiply: V (H, D) has 128 · 27 numbers, W (H, H) 128 · 128, b_h (H,) 128, U (K, H) 17 · 128, b_y (K,) 17.",
            make=given(*_ASKED[1]),
        ),
        Case(
            "a thousand letters",
            4,
            "Your count is right for 10 steps but not for 1000. Which of V, W, b_h, U, b_y has T in its shape? None: the same weights work at every step.",
            make=given(*_ASKED[2]),
        ),
    ),
    mistakes=(
        Mistake(
            "once per step",
            "You counted the weights once per step. Every step uses the same V, W, b_h, U and b_y.",
            when=lambda got, want: isinstance(got, int) and got > want and got % want == 0,
        ),
        Mistake(
            "hidden weights once per step",
            "You counted V, W and b_h once per step. Every step uses the same ones.",
            like=lambda D, H, K, T: T * H * (D + H + 1) + K * (H + 1),
        ),
        Mistake(
            "a term grows with T",
            "Your count grows with T, the number of steps. No weight depends on T: every step uses the same V, W, b_h, U and b_y, and the states h_t are computed, not learned.",
            when=_grows_with_T,
        ),
        Mistake(
            "biases forgotten",
            "You counted the matrices, but not the biases b_h (H numbers) and b_y (K numbers).",
            like=lambda D, H, K, T: H * D + H * H + K * H,
        ),
        Mistake(
            "W forgotten",
            "W is missing: H rows and H columns, from every unit to every unit.",
            like=lambda D, H, K, T: H * D + H + K * H + K,
        ),
        Mistake(
            "read-out forgotten",
            "You counted V, W and b_h. The read-out has parameters, too: U and b_y.",
            like=lambda D, H, K, T: H * (D + H + 1),
        ),
        Mistake(
            "two hidden biases",
            "Your count has H numbers too many. They may be a second bias, which torch.nn.RNN has, or h_0, which is not learned. Our formula has one bias for the hidden units, b_h.",
            like=lambda D, H, K, T: H * (D + H + 2) + K * (H + 1),
        ),
        Mistake(
            "one bias per weight",
            "A bias belongs to a unit, not to a weight: b_h has H numbers, b_y has K.",
            like=lambda D, H, K, T: 2 * (H * D + H * H + K * H),
        ),
    ),
    hints=(
        "Write down the shapes of V, W, b_h, U and b_y.",
        "A matrix of shape (a, b) holds a * b numbers.",
        "Add five terms. Ask yourself whether T is in any of them.",
    ),
)

# --- rnn.loss -----------------------------------------------------------------------------------------


def _loss_args(T, B, K, padded=False, scale=1.0):
    def make(g):
        lengths = torch.randint(1, T, (B,), generator=g) if padded else torch.full((B,), T)
        mask = torch.arange(T)[:, None] < lengths
        return scale * normal(g, T, B, K), torch.randint(0, K, (T, B), generator=g) * mask, mask

    return make


def _loss_oracle(logits, targets, mask):
    total = torch.zeros((), dtype=torch.double)
    for t, b in mask.nonzero().tolist():
        row = logits[t, b].double()
        total = total + torch.logsumexp(row, 0) - row[targets[t, b]]
    return total / logits.shape[1]


def _each(logits, targets, axis=-1):
    return -logits.log_softmax(axis).gather(-1, targets[..., None])[..., 0]  # (T, B)


loss = Exercise(
    id="rnn.loss",
    title="the loss of a sequence",
    library=rnn.sequence_loss,
    oracle=_loss_oracle,
    cases=(
        Case(
            "by hand: three steps, nothing known",
            3,
            "One sequence of three steps, two classes, equal logits: each step costs ln 2 = 0.6931, and L is the *sum*, 2.0794. Print your three losses: is each 0.6931? If so, look at how you add them.",
            make=lambda g: (
                torch.zeros(3, 1, 2),
                torch.zeros(3, 1, dtype=torch.long),
                torch.ones(3, 1, dtype=torch.bool),
            ),
            want=lambda *_: torch.tensor(3 * math.log(2)),
        ),
        Case(
            "random, no padding",
            3,
            "Your loss is right for one sequence but not for several. Sum over time, then take the mean over the batch: the sum of all T · B losses, divided by B. logits[t, b] belongs to targets[t, b], and log_softmax runs over the last axis.",
            make=around(_loss_args, 5, 4, 3),
        ),
        Case(
            "random, with padding",
            4,
            "Your loss is right without padding. Where mask is False, a step must add nothing to the sum. The divisor is still B, the number of sequences, not the number of steps.",
            make=around(lambda T, B, K: _loss_args(T, B, K, padded=True), 6, 4, 3),
        ),
        Case(
            "large logits",
            3,
            "The logits are around 1000 here, and exp(1000) is infinite. log_softmax and cross_entropy subtract the largest logit first; torch.log(torch.softmax(…)) computes log 0.",
            make=_loss_args(3, 2, 4, scale=1000.0),
        ),
        Case("gradients", 2, GRADIENT, make=_loss_args(4, 3, 5, padded=True), gradient=True),
    ),
    mistakes=(
        Mistake(
            "mean over time",
            "You averaged over time. L is the *sum* over t, so a long sequence counts more than a short one.",
            like=lambda l, y, m: (_each(l, y) * m).sum() / m.sum(),
        ),
        Mistake(
            "mean over all steps, padding too",
            "You averaged over time, padding included. L is the sum over the steps that count; only the batch is averaged.",
            like=lambda l, y, m: (_each(l, y) * m).mean(),
        ),
        Mistake(
            "mean over all steps, padding paid for",
            "You averaged over time and included padding. Sum over the steps in the mask, then divide by the batch size.",
            like=lambda l, y, m: _each(l, y).mean(),
        ),
        Mistake(
            "sum over the batch",
            "The sum runs over the batch as well. Divide by the number of sequences, B.",
            like=lambda l, y, m: (_each(l, y) * m).sum(),
        ),
        Mistake(
            "mask ignored",
            "Padding adds to your loss. Set the loss to 0 where mask is False before you sum.",
            like=lambda l, y, m: _each(l, y).sum() / l.shape[1],
        ),
        Mistake(
            "wrong sign",
            "The sign is wrong: the loss is *minus* the log of the probability.",
            like=lambda l, y, m: -(_each(l, y) * m).sum() / l.shape[1],
        ),
        Mistake(
            "softmax twice",
            "You applied softmax, and F.cross_entropy applies it again. Give it the logits.",
            like=lambda l, y, m: (_each(l.softmax(-1), y) * m).sum() / l.shape[1],
        ),
        Mistake(
            "log of softmax",
            "softmax rounds small probabilities to 0, and the log of 0 is minus infinity. log_softmax does both steps safely.",
            like=lambda l, y, m: -(l.softmax(-1).log().gather(-1, y[..., None])[..., 0] * m).sum() / l.shape[1],
        ),
        Mistake(
            "class 0 ignored",
            "ignore_index=0 drops class 0 everywhere, even where it is the target. Use the mask.",
            like=lambda l, y, m: (_each(l, y) * (y != 0)).sum() / l.shape[1],
        ),
        Mistake(
            "one loss per sequence",
            "That is the loss of each sequence, (B,). Now take the mean over the batch.",
            like=lambda l, y, m: (_each(l, y) * m).sum(0),
        ),
        Mistake(
            "softmax over the batch",
            "Your softmax runs over the samples of the batch. It must run over the classes, the last axis.",
            like=lambda l, y, m: (_each(l, y, 1) * m).sum() / l.shape[1],
        ),
        Mistake(
            "softmax over time",
            "Your softmax runs over time. It must run over the classes, the last axis.",
            like=lambda l, y, m: (_each(l, y, 0) * m).sum() / l.shape[1],
        ),
        Mistake(
            "logarithm to base 2",
            "Your loss is in bits. Use the natural logarithm, as PyTorch does.",
            like=lambda l, y, m: (_each(l, y) * m).sum() / l.shape[1] / math.log(2),
        ),
        Mistake(
            "logarithm forgotten",
            "You use the probability of the right class, but not its logarithm.",
            like=lambda l, y, m: -((-_each(l, y)).exp() * m).sum() / l.shape[1],
        ),
    ),
    hints=(
        "First get one number per step and sample, a tensor (T, B). Only then sum.",
        "torch.nn.functional.cross_entropy(..., reduction='none') expects the classes in the second dimension: flatten (T, B).",
        "Set what is outside the mask to 0, sum everything, divide by B.",
    ),
)

# --- rnn.match ----------------------------------------------------------------------------------------

SHAPES = ("one-to-one", "one-to-many", "many-to-one", "many-to-many in step", "many-to-many encoder-decoder")
_MATCH = {
    "frame-wise video classification": "many-to-many in step",
    "image captioning": "one-to-many",
    "image classification": "one-to-one",
    "sentiment analysis": "many-to-one",
    "machine translation": "many-to-many encoder-decoder",
}
_MATCH_HINTS = {
    "frame-wise video classification": "Every frame gets its own label as soon as it is seen. So are there several inputs? Several outputs? And must the first output wait for the last input?",
    "image captioning": "One image goes in, and a sentence comes out. Is a sentence one output or several?",
    "image classification": "Count: how many images go in, and how many labels come out?",
    "sentiment analysis": "Many words go in. How many verdicts come out, and after which word?",
    "machine translation": "A sentence may need more or fewer words in the other language, and its first word may depend on the last one read.",
}


def match_shapes():
    """Each problem of the lecture with its input/output shape."""
    return dict(_MATCH)


def _match_case(problem):
    return choice_case(
        problem, _MATCH_HINTS[problem], "another shape fits better", SHAPES, "is not one of the five shapes"
    )


match = Exercise(
    id="rnn.match",
    title="match problems to models",
    kind="answer",
    library=match_shapes,
    oracle=match_shapes,
    cases=tuple(map(_match_case, _MATCH)),
    mistakes=(
        Mistake(
            "translation in step",
            "A translation in step would have to output its first word before it has read the second one, and would have as many words as the input.",
            when=answered("machine translation", "many-to-many in step"),
        ),
        Mistake(
            "frames through encoder-decoder",
            "An encoder-decoder reads the whole video before it outputs anything. Frame-wise labels are output frame by frame.",
            when=answered("frame-wise video classification", "many-to-many encoder-decoder"),
        ),
        Mistake(
            "caption as one output",
            "A caption is a sentence: several words come out.",
            when=answered("image captioning", "one-to-one"),
        ),
        Mistake(
            "image as a sequence",
            "One image is one input here, however many pixels it has.",
            when=answered("image classification", "many-to-one"),
        ),
        Mistake(
            "sentiment per word",
            "Sentiment analysis gives one verdict on a whole text, not one per word.",
            when=answered("sentiment analysis", "many-to-many in step"),
        ),
    ),
    hints=(
        "Ask two questions about each problem: is the input a sequence? Is the output a sequence?",
        "If both are sequences: can the first output be given before the whole input has been read?",
        "Each of the five shapes is used exactly once.",
    ),
)

# --- rnn.last -----------------------------------------------------------------------------------------


def _last_args(T, B, H, full=False):
    def make(g):
        lengths = (
            torch.full((B,), T) if full else torch.cat([torch.tensor([1]), torch.randint(2, T, (B - 1,), generator=g)])
        )
        return normal(g, T, B, H), lengths

    return make


last = Exercise(
    id="rnn.last",
    title="the read-out for many-to-one",
    library=rnn.last_state,
    oracle=lambda hs, lengths: torch.stack([hs[n - 1, b] for b, n in enumerate(lengths.tolist())]),
    axes=("sample", "unit"),
    cases=(
        Case(
            "shape",
            1,
            "One state per sequence: (B, H). The time axis, the first one, must be gone, and the batch must remain.",
            make=_last_args(6, 4, 5),
            test=shape_only,
        ),
        Case(
            "all of one length",
            2,
            "All lengths are T here, so the answer is hs[T - 1], which is hs[-1]. It is a single step, not a mean. Does your index count from 0?",
            make=_last_args(4, 3, 5, full=True),
        ),
        Case(
            "different lengths",
            3,
            "Your answer is right for equal lengths. Now each sequence b has its own length n and ends at hs[n - 1, b]; one has length 1, so its state is hs[0, b].",
            make=_last_args(7, 5, 4),
        ),
        Case(
            "as many samples as units",
            2,
            "T, B and H are equal here, so a swapped axis gives no error, only wrong numbers. The first index of hs is time, the second the sample.",
            make=_last_args(5, 5, 5),
        ),
        Case("gradients", 2, GRADIENT, make=_last_args(6, 4, 3), gradient=True),
    ),
    mistakes=(
        Mistake(
            "padding included",
            "hs[-1] is the state after the padding of all shorter sequences. Take each at its own last step.",
            like=lambda hs, n: hs[-1],
        ),
        Mistake(
            "one step too late",
            "Counting starts at 0: the last step of a sequence of length n has index n - 1.",
            like=lambda hs, n: hs[n.clamp(max=len(hs) - 1), torch.arange(len(n))],
        ),
        Mistake(
            "mean over time",
            "That is the mean over time. Use only the last state, which has seen the whole sequence.",
            like=lambda hs, n: hs.mean(0),
        ),
        Mistake(
            "first state",
            "hs[0] has seen only one input.",
            like=lambda hs, n: hs[0],
        ),
        Mistake(
            "batch first",
            "hs[:, -1] takes the last sample at all times. Time is the first axis.",
            like=lambda hs, n: hs[:, -1],
        ),
        Mistake(
            "indices swapped",
            "The first index is time, the second the sample: hs[times, samples].",
            like=lambda hs, n: hs[torch.arange(len(n)), n - 1],
        ),
        Mistake(
            "always the first sample",
            "The times are right, but all are taken from sample 0. Each sample needs its own index: torch.arange(B).",
            like=lambda hs, n: hs[n - 1, 0],
        ),
        Mistake(
            "every sample at every length",
            "hs[lengths - 1] takes all samples at each of those times. You need one index per sample as well: torch.arange(B).",
            like=lambda hs, n: hs[n - 1],
        ),
    ),
    hints=(
        "For one sequence b it is hs[lengths[b] - 1, b].",
        "Indexing with two tensors picks pairs: hs[times, samples].",
        "times is lengths - 1, samples is torch.arange(B).",
    ),
)

# --- rnn.sample ---------------------------------------------------------------------------------------


def _sample_args(temperature, B=64, K=6):
    return lambda g: (2 * normal(g, B, K), temperature, torch.rand(B, generator=g))


def _sample_oracle(logits, temperature, u):
    drawn = []
    for row, limit in zip(logits.double().tolist(), u.tolist(), strict=True):
        weights = [math.exp((v - max(row)) / temperature) for v in row]
        total, k = weights[0], 0
        while total <= limit * sum(weights) and k < len(row) - 1:
            k += 1
            total += weights[k]
        drawn.append(k)
    return torch.tensor(drawn)


def _draw(p, u):
    return (u[:, None] >= p.cumsum(-1)).sum(-1).clamp(max=p.shape[-1] - 1)


IGNORED = "The temperature changes nothing in your answer. Divide the logits by it."
MULTIPLIED = "You multiply by the temperature, which swaps hot and cold. Divide instead."

sample = Exercise(
    id="rnn.sample",
    title="sampling with a temperature",
    library=rnn.sample,
    oracle=_sample_oracle,
    axes=("sample",),
    cases=(
        Case(
            "by hand: four equal classes",
            3,
            "Print your running sums: they must be .25 .5 .75 1 in each row. The first sum *above* u names the class: u = .1 gives class 0, u = .25 class 1 (a sum equal to u is not above it), u = .6 class 2, u = .75 class 3.",
            make=lambda g: (torch.zeros(4, 4), 1.0, torch.tensor([0.1, 0.25, 0.6, 0.75])),
            want=lambda *_: torch.tensor([0, 1, 2, 3]),
        ),
        Case(
            "temperature 1",
            3,
            "Your answer is right for equal classes. Do softmax and the running sum both run along the last axis, and is row b compared only with u[b]? Keep the classes in their original order.",
            make=_sample_args(1.0),
        ),
        Case(
            "cold: temperature 0.3",
            3,
            "Your answer is right at temperature 1. Divide the logits by the temperature before softmax: 0.3 must make the most likely class even more likely. Does it?",
            make=_sample_args(0.3),
        ),
        Case(
            "hot: temperature 3",
            3,
            "A temperature of 3 must make the probabilities more equal: divide the logits, not the probabilities.",
            make=_sample_args(3.0),
        ),
        Case(
            "nearly frozen: temperature 0.01",
            1,
            "At temperature 0.01 the answer is almost always the argmax of each row. Is anything nan? Divide the logits first and let softmax handle the large numbers, whose exp is infinite.",
            make=_sample_args(0.01),
        ),
        Case(
            "u just below 1",
            2,
            "In some rows, rounding leaves the last running sum slightly below u = 1 - 2^-24, so that no sum is above u. The answer must still be the last class, K - 1. Print yours: is it K, or 0?",
            make=lambda g: (normal(g, 64, 27), 1.0, torch.full((64,), 1 - 2**-24)),
        ),
    ),
    mistakes=(
        Mistake(
            "always the likeliest",
            "That is argmax, which gives the same name every time. u must decide.",
            like=lambda l, T, u: l.argmax(-1),
        ),
        Mistake("temperature ignored", IGNORED, like=lambda l, T, u: _draw(l.softmax(-1), u)),
        Mistake(
            "temperature ignored, no class left",
            IGNORED,
            like=lambda l, T, u: (u[:, None] >= l.softmax(-1).cumsum(-1)).sum(-1),
        ),
        Mistake("multiplied by the temperature", MULTIPLIED, like=lambda l, T, u: _draw((l * T).softmax(-1), u)),
        Mistake(
            "multiplied by the temperature, no class left",
            MULTIPLIED,
            like=lambda l, T, u: (u[:, None] >= (l * T).softmax(-1).cumsum(-1)).sum(-1),
        ),
        Mistake(
            "one class too far",
            "The class is the first whose running sum exceeds u; yours is the one after it.",
            like=lambda l, T, u: (_draw((l / T).softmax(-1), u) + 1).clamp(max=l.shape[-1] - 1),
        ),
        Mistake(
            "one class short",
            "The class is the first whose running sum exceeds u; yours is the one before it.",
            like=lambda l, T, u: (_draw((l / T).softmax(-1), u) - 1).clamp(min=0),
        ),
        Mistake(
            "on a mark",
            "Where u is exactly equal to a running sum, the answer is the class after it: the sum must be greater than u, not equal.",
            like=lambda l, T, u: (u[:, None] > (l / T).softmax(-1).cumsum(-1)).sum(-1),
        ),
        Mistake(
            "one column too many",
            "Your answer has shape (B, 1); it must be (B,). Drop the last axis: [:, 0].",
            like=lambda l, T, u: _draw((l / T).softmax(-1), u)[:, None],
        ),
        Mistake(
            "every row meets every u",
            "Compare row b only with u[b]: u[:, None] makes u a column, with one entry for each row.",
            like=lambda l, T, u: ((l / T).softmax(-1).cumsum(-1) <= u).sum(-1),
        ),
        Mistake(
            "sum over the batch",
            "Your running sum runs over the batch. It must run over the classes, the last axis.",
            like=lambda l, T, u: ((l / T).softmax(-1).cumsum(0) <= u[:, None]).sum(-1).clamp(max=l.shape[-1] - 1),
        ),
        Mistake(
            "classes in descending order",
            "You sorted the classes by probability first. Keep them in their own order, or undo the sorting.",
            like=lambda l, T, u: _draw((l / T).softmax(-1).sort(-1, descending=True).values, u),
        ),
        Mistake(
            "no class left",
            "Rounding may leave the last running sum slightly below u, so that no sum is above u. Your answer is then K, which is not a class. It must be the last class: clamp to K - 1.",
            like=lambda l, T, u: (u[:, None] >= (l / T).softmax(-1).cumsum(-1)).sum(-1),
        ),
        Mistake(
            "no class left, so the first",
            "Rounding may leave the last running sum slightly below u, so that no sum is above u. Your answer is then class 0. It must be the last class: count the running sums that are <= u and clamp the count to K - 1, or set the last sum to 1.",
            like=lambda l, T, u: (u[:, None] < (l / T).softmax(-1).cumsum(-1)).int().argmax(-1),
        ),
        Mistake(
            "softmax over the batch",
            "Your softmax runs over the batch. It must run over the classes, the last axis.",
            like=lambda l, T, u: _draw((l / T).softmax(0), u),
        ),
    ),
    hints=(
        "Lay the probabilities end to end on a ruler from 0 to 1. Where does u fall?",
        "torch.softmax, then cumsum over the last axis, gives the marks on the ruler.",
        "Count in each row how many marks are less than or equal to u.",
    ),
)

# --- rnn.teacher --------------------------------------------------------------------------------------


def _teacher_args(T, B):
    return lambda g: (torch.randint(1, 9, (T, B), generator=g), 9)


teacher = Exercise(
    id="rnn.teacher",
    title="teacher forcing",
    library=rnn.teacher_inputs,
    oracle=lambda y, start: torch.tensor([[start] * y.shape[1], *y.tolist()[:-1]]),
    axes=("t", "sample"),
    cases=(
        Case(
            "shape",
            2,
            "The input has as many steps as the output, (T, B): the start symbol is added in front, so the last target must be dropped.",
            make=_teacher_args(5, 3),
            test=shape_only,
        ),
        Case(
            "by hand",
            3,
            "For the targets 7 8 9 and start 5 the decoder reads 5 7 8: first `start`, then every target except the last, one step later.",
            make=lambda g: (torch.tensor([[7], [8], [9]]), 5),
            want=lambda *_: torch.tensor([[5], [7], [8]]),
        ),
        Case(
            "random",
            3,
            "Your answer is right for one sequence but not for several. Row t of the answer must be row t - 1 of the targets, and row 0 must be `start` in every column.",
            make=around(_teacher_args, 6, 4),
        ),
        Case(
            "as many steps as samples",
            2,
            "T and B are equal here. Time is the first axis: `start` must fill the first row, not the first column.",
            make=_teacher_args(4, 4),
        ),
    ),
    mistakes=(
        Mistake(
            "not shifted",
            "The decoder reads the very symbol that it should predict. It would only learn to copy.",
            like=lambda y, s: y,
        ),
        Mistake(
            "shifted the wrong way",
            "The decoder reads the *next* target. It may only see the ones before.",
            like=lambda y, s: torch.cat([y[1:], torch.full_like(y[:1], s)]),
        ),
        Mistake(
            "start in front, last one kept",
            "There is one step too many: the last target is predicted but never read.",
            like=lambda y, s: torch.cat([torch.full_like(y[:1], s), y]),
        ),
        Mistake(
            "shifted along the batch",
            "You shifted along the batch, so that a word is given to its neighbour. Time is the first axis.",
            like=lambda y, s: torch.cat([torch.full_like(y[:, :1], s), y[:, :-1]], 1),
        ),
        Mistake(
            "zero for start",
            "The first row contains zeros. It must contain `start`, whatever id that is.",
            like=lambda y, s: torch.cat([torch.zeros_like(y[:1]), y[:-1]]),
        ),
        Mistake(
            "rolled as one long row",
            "torch.roll without a dimension rolls the flattened tensor. Use dims=0, and take care of the first row.",
            like=lambda y, s: y.roll(1),
        ),
        Mistake(
            "rolled round",
            "torch.roll moves the last target to the front, where the start symbol must be.",
            like=lambda y, s: y.roll(1, 0),
        ),
        Mistake(
            "first answer overwritten",
            "You replaced the first target with the start symbol. It must move down one step, like all the others.",
            like=lambda y, s: torch.cat([torch.full_like(y[:1], s), y[1:]]),
        ),
    ),
    hints=(
        "Write the targets of one sequence in a row, and below it what the decoder has seen just before each.",
        "The last target is never read; something else has to be read first.",
        "torch.cat of a row full of start and targets[:-1].",
    ),
)

EXERCISES = [step, unroll, parameters, match, loss, last, sample, teacher]
