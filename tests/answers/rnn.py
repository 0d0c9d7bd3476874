"""Right and wrong answers to the exercises of notebook 01, as students write them."""

import math

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.rnn import match_shapes

# --- rnn.step


def _step(x, h, V, W, b_h):
    return torch.tanh(x @ V.T + h @ W.T + b_h)


def _step_loops(x, h, V, W, b_h):
    B, H = h.shape
    new = torch.empty(B, H, dtype=torch.float64)
    for b in range(B):
        for i in range(H):
            a = b_h[i]
            for d in range(x.shape[1]):
                a = a + V[i, d] * x[b, d]
            for j in range(H):
                a = a + W[i, j] * h[b, j]
            new[b, i] = torch.tanh(a)
    return new


def _step_concatenated(x, h, V, W, b_h):
    return (torch.cat([V, W], 1) @ torch.cat([x, h], 1).T + b_h[:, None]).tanh().T


def _step_linear(x, h, V, W, b_h):
    return F.linear(x, V) + F.linear(h, W, b_h)


def _step_columns(x, h, V, W, b_h):
    return torch.tanh(V @ x + W @ h + b_h)


def _step_W(x, h, V, W, b_h):
    return torch.tanh(F.linear(x, V) + h @ W + b_h)


def _step_no_bias(x, h, V, W, b_h):
    return torch.tanh(x @ V.T + h @ W.T)


def _step_sigmoid(x, h, V, W, b_h):
    z = x @ V.T + h @ W.T + b_h
    return 1 / (1 + torch.exp(-z))


def _step_products(x, h, V, W, b_h):
    return torch.tanh(x @ V.T * (h @ W.T) + b_h)


def _step_difference(x, h, V, W, b_h):
    return torch.tanh(x @ V.T - h @ W.T + b_h)


# --- rnn.unroll


def _unroll(xs, h0, V, W, b_h):
    h, hs = h0, []
    for x in xs:
        h = _step(x, h, V, W, b_h)
        hs.append(h)
    return torch.stack(hs)


def _unroll_filled(xs, h0, V, W, b_h):
    T, B, _ = xs.shape
    hs = [h0] + [None] * T
    for t in range(T):
        hs[t + 1] = torch.tanh(torch.einsum("bd,hd->bh", xs[t], V) + hs[t] @ W.T + b_h.expand(B, -1))
    return torch.stack(hs[1:])


def _unroll_recursive(xs, h0, *weights):
    h = _step(xs[0], h0, *weights)[None]
    return h if len(xs) == 1 else torch.cat([h, _unroll_recursive(xs[1:], h[0], *weights)])


def _unroll_cat(xs, h0, V, W, b_h):
    return torch.cat(list(_unroll(xs, h0, V, W, b_h)))


def _unroll_no_memory(xs, h0, V, W, b_h):
    return torch.tanh(xs @ V.T + h0 @ W.T + b_h)


def _unroll_last(xs, h0, V, W, b_h):
    for x in xs:
        h0 = _step(x, h0, V, W, b_h)
    return h0


def _unroll_with_h0(xs, h0, V, W, b_h):
    hs = [h0]
    for x in xs:
        hs.append(_step(x, hs[-1], V, W, b_h))
    return torch.stack(hs)


def _unroll_zeros(xs, h0, V, W, b_h):
    h, hs = torch.zeros(xs.shape[1], len(b_h)), []
    for x in xs:
        h = _step(x, h, V, W, b_h)
        hs.append(h)
    return torch.stack(hs)


def _unroll_appended_early(xs, h0, V, W, b_h):
    h, hs = h0, []
    for x in xs:
        hs.append(h)
        h = _step(x, h, V, W, b_h)
    return torch.stack(hs)


# --- rnn.parameters


def _count(D, H, K, T):
    return H * D + H * H + H + K * H + K


def _count_modules(D, H, K, T):
    shapes = [(H, D), (H, H), (H,), (K, H), (K,)]
    return torch.tensor(sum(math.prod(s) for s in shapes))


def _count_no_bias(D, H, K, T):
    return H * (D + H + K)


def _count_per_step(D, H, K, T):
    return T * _count(D, H, K, T)


def _count_T_for_V(D, H, K, T):
    return T * D * H + H * H + H + K * H + K


def _count_T_for_U(D, H, K, T):
    return H * D + H * H + H + T * (K * H + K)


def _count_states(D, H, K, T):
    return H * D + H * H + H + K * H + K + T * H


def _count_h0(D, H, K, T):
    return _count(D, H, K, T) + H


def _count_two_biases(D, H, K, T):
    cell = torch.nn.RNNCell(D, H)
    return sum(p.numel() for p in cell.parameters()) + K * H + K


# --- rnn.loss


def _loss(logits, targets, mask):
    T, B, K = logits.shape
    each = F.cross_entropy(logits.reshape(T * B, K), targets.reshape(T * B), reduction="none").reshape(T, B)
    return (each * mask).sum(0).mean()


def _loss_steps(logits, targets, mask):
    total = 0.0
    for l, y, m in zip(logits, targets, mask, strict=True):
        p = F.log_softmax(l.double(), dim=1)
        total = total - (p[torch.arange(len(y)), y] * m).sum() / len(y)
    return total


def _loss_selected(logits, targets, mask):
    return F.cross_entropy(logits[mask], targets[mask], reduction="sum") / mask.shape[1]


def _loss_mean(logits, targets, mask):
    return F.cross_entropy(logits[mask], targets[mask])


def _loss_sum(logits, targets, mask):
    return F.cross_entropy(logits[mask], targets[mask], reduction="sum")


def _loss_unmasked(logits, targets, mask):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / logits.shape[1]


def _loss_batch_axis(logits, targets, mask):
    p = torch.log_softmax(logits, dim=1)
    return -(p.gather(2, targets[:, :, None])[:, :, 0] * mask).sum() / logits.shape[1]


def _loss_softmax_twice(logits, targets, mask):
    p = torch.softmax(logits, -1)
    return F.cross_entropy(p[mask], targets[mask], reduction="sum") / mask.shape[1]


# --- rnn.match


def _matched(**changes):
    def answer():
        return {**match_shapes(), **{k.replace("_", " "): v for k, v in changes.items()}}

    return answer


def _capitals():
    return {problem: shape.capitalize() for problem, shape in match_shapes().items()}


def _pairs():
    return dict(zip(match_shapes().keys(), match_shapes().values(), strict=True))


# --- rnn.last


def _last(hs, lengths):
    return hs[lengths - 1, torch.arange(hs.shape[1])]


def _last_list(hs, lengths):
    return torch.stack([hs[int(n) - 1, b] for b, n in enumerate(lengths)])


def _last_padding(hs, lengths):
    return hs[-1]


def _last_late(hs, lengths):
    return torch.stack([hs[min(int(n), len(hs) - 1), b] for b, n in enumerate(lengths)])


def _last_mean(hs, lengths):
    return hs.sum(0) / len(hs)


def _last_crossed(hs, lengths):
    return hs[lengths - 1]


# --- rnn.sample


def _sample(logits, temperature, u):
    p = torch.softmax(logits / temperature, dim=1)
    return (p.cumsum(1) <= u[:, None]).sum(1).clamp(max=logits.shape[1] - 1)


def _sample_closed(logits, temperature, u):
    """The last mark is 1 whatever the rounding."""
    marks = torch.softmax(logits / temperature, dim=1).cumsum(1)
    marks[:, -1] = 1
    return (marks > u[:, None]).int().argmax(1)


def _sample_K(logits, temperature, u):
    p = torch.softmax(logits / temperature, dim=1)
    return (p.cumsum(1) <= u[:, None]).sum(1)


def _sample_searched(logits, temperature, u):
    marks = torch.softmax(logits / temperature, dim=1).cumsum(1)
    return torch.searchsorted(marks, u[:, None], right=True).squeeze(1)


def _sample_0(logits, temperature, u):
    marks = torch.softmax(logits / temperature, dim=1).cumsum(1)
    return (marks > u[:, None]).int().argmax(1)


def _sample_inverted_K(logits, temperature, u):
    return _sample_K(logits, 1 / temperature, u)


def _sample_no_temperature_K(logits, temperature, u):
    return _sample_K(logits, 1.0, u)


def _sample_loops(logits, temperature, u):
    answers = []
    for row, limit in zip(logits, u, strict=True):
        p, total = torch.softmax(row.double() / temperature, dim=0), 0.0
        for k in range(len(p)):
            total += p[k].item()
            if total > limit:
                break
        answers.append(k)
    return torch.tensor(answers)


def _sample_argmax(logits, temperature, u):
    return torch.argmax(logits / temperature, dim=1)


def _sample_inverted(logits, temperature, u):
    return _sample(logits, 1 / temperature, u)


def _sample_no_temperature(logits, temperature, u):
    return _sample(logits, 1.0, u)


def _sample_boundary(logits, temperature, u):
    marks = torch.softmax(logits / temperature, -1).cumsum(-1)
    return torch.searchsorted(marks, u[:, None])[:, 0]


def _sample_one_too_far(logits, temperature, u):
    return torch.clamp(_sample(logits, temperature, u) + 1, max=logits.shape[1] - 1)


# --- rnn.teacher


def _teacher(targets, start):
    inputs = targets.roll(1, dims=0)
    inputs[0] = start
    return inputs


def _teacher_zero(targets, start):
    return F.pad(targets, (0, 0, 1, 0))[:-1]


def _teacher_lists(targets, start):
    rows = targets.tolist()
    return torch.tensor([[start] * len(rows[0]), *rows[:-1]])


def _teacher_same(targets, start):
    return targets.clone()


def _teacher_ahead(targets, start):
    inputs = targets.roll(-1, dims=0)
    inputs[-1] = start
    return inputs


def _teacher_longer(targets, start):
    return F.pad(targets, (0, 0, 1, 0), value=start)


def _teacher_rolled(targets, start):
    return targets.roll(1, dims=0)


RIGHT = {
    "rnn.step": [_step, _step_loops, _step_concatenated],
    "rnn.unroll": [_unroll, _unroll_filled, _unroll_recursive],
    "rnn.parameters": [_count, _count_modules],
    "rnn.match": [match_shapes, _pairs, _capitals],
    "rnn.loss": [_loss, _loss_steps, _loss_selected],
    "rnn.last": [_last, _last_list],
    "rnn.sample": [_sample, _sample_loops, _sample_closed],
    "rnn.teacher": [_teacher, _teacher_lists],
}
WRONG = {
    "rnn.step": {
        "tanh forgotten": _step_linear,
        "columns for rows": _step_columns,
        "W not transposed": _step_W,
        "bias forgotten": _step_no_bias,
        "sigmoid for tanh": _step_sigmoid,
    },
    "rnn.unroll": {
        "state not carried on": _unroll_no_memory,
        "last state only": _unroll_last,
        "cat for stack": _unroll_cat,
        "h0 among the states": _unroll_with_h0,
        "zeros for h0": _unroll_zeros,
        "h0 for the last state": _unroll_appended_early,
    },
    "rnn.parameters": {
        "biases forgotten": _count_no_bias,
        "once per step": _count_per_step,
        "a term grows with T": [_count_T_for_V, _count_T_for_U, _count_states],
        "two hidden biases": [_count_two_biases, _count_h0],
    },
    "rnn.match": {
        "translation in step": [
            _matched(machine_translation="many-to-many in step"),
            _matched(machine_translation=" Many-to-many in step"),
        ],
        "frames through encoder-decoder": lambda: {
            **match_shapes(),
            "frame-wise video classification": "many-to-many encoder-decoder",
        },
        "caption as one output": _matched(image_captioning="one-to-one"),
        "image as a sequence": _matched(image_classification="many-to-one"),
        "sentiment per word": _matched(sentiment_analysis="many-to-many in step"),
    },
    "rnn.loss": {
        "mean over time": _loss_mean,
        "sum over the batch": _loss_sum,
        "mask ignored": _loss_unmasked,
        "softmax twice": _loss_softmax_twice,
        "softmax over the batch": _loss_batch_axis,
    },
    "rnn.last": {
        "padding included": _last_padding,
        "one step too late": _last_late,
        "mean over time": _last_mean,
        "every sample at every length": _last_crossed,
    },
    "rnn.sample": {
        "always the likeliest": _sample_argmax,
        "multiplied by the temperature": _sample_inverted,
        "temperature ignored": _sample_no_temperature,
        "one class too far": _sample_one_too_far,
        "on a mark": _sample_boundary,
        "multiplied by the temperature, no class left": _sample_inverted_K,
        "temperature ignored, no class left": _sample_no_temperature_K,
        "no class left": [_sample_K, _sample_searched],
        "no class left, so the first": _sample_0,
    },
    "rnn.teacher": {
        "zero for start": _teacher_zero,
        "not shifted": _teacher_same,
        "shifted the wrong way": _teacher_ahead,
        "start in front, last one kept": _teacher_longer,
        "rolled round": _teacher_rolled,
    },
}

OTHERS = {
    "rnn.step": [(_step_products, "W h = -1"), (_step_difference, "Is yours?")],
    "rnn.match": [(_matched(machine_translation="many-to-many"), "first word may depend")],
}
