"""Right and wrong answers to the exercises of notebook 03, as students write them."""

import torch
import torch.nn.functional as F

from cvdl.course.exercises.chapters.lstm import shapes

# --- lstm.sigmoid


def _sigmoid(x):
    e = torch.exp(torch.minimum(x, -x))
    return torch.where(x < 0, e / (1 + e), 1 / (1 + e))


def _sigmoid_pieces(x):
    left, right = x.clamp(max=0), x.clamp(min=0)
    e = left.exp()
    return torch.where(x <= 0, e / (1 + e), 1 - (-right).exp() / (1 + (-right).exp()))


def _sigmoid_tanh(x):
    return 0.5 * (1 + torch.tanh(x / 2))


def _sigmoid_overflow(x):
    return torch.exp(x) / (1 + torch.exp(x))


def _sigmoid_sign(x):
    return 1 / (1 + torch.exp(x))


def _sigmoid_clamped(x):
    return 1 / (1 + torch.exp(-x.clamp(-5, 5)))


# --- lstm.forget


def _forget(x, h, W, b):
    return torch.sigmoid(torch.cat([h, x], dim=1) @ W.T + b)


def _forget_columns(x, h, W, b):
    return torch.sigmoid(W @ torch.cat([h.T, x.T]) + b[:, None]).T


def _forget_input_first(x, h, W, b):
    return torch.sigmoid(torch.cat([x, h], dim=1) @ W.T + b)


def _forget_sum(x, h, W, b):
    return F.linear(torch.cat([h, x], 1), W, b)


def _forget_tanh(x, h, W, b):
    return torch.tanh(F.linear(torch.cat([h, x], 1), W, b))


# --- lstm.candidate


def _candidate(x, h, W_i, b_i, W_C, b_C):
    both = torch.cat([h, x], 1)
    return torch.sigmoid(both @ W_i.T + b_i), torch.tanh(both @ W_C.T + b_C)


def _candidate_list(x, h, W_i, b_i, W_C, b_C):
    H = h.shape[1]
    i = _sigmoid(x @ W_i[:, H:].T + h @ W_i[:, :H].T + b_i)
    a = x @ W_C[:, H:].T + h @ W_C[:, :H].T + b_C
    return [i, 2 * torch.sigmoid(2 * a) - 1]


def _candidate_sigmoid(x, h, W_i, b_i, W_C, b_C):
    return _forget(x, h, W_i, b_i), _forget(x, h, W_C, b_C)


def _candidate_exchanged(x, h, W_i, b_i, W_C, b_C):
    return _forget_tanh(x, h, W_i, b_i), _forget(x, h, W_C, b_C)


def _candidate_backwards(x, h, W_i, b_i, W_C, b_C):
    return _forget_tanh(x, h, W_C, b_C), _forget(x, h, W_i, b_i)


# --- lstm.update


def _update(c, f, i, new):
    return f * c + i * new


def _update_lerp(c, f, i, new):
    return c + (f - 1) * c + new.mul(i)


def _update_plus(c, f, i, new):
    return f * c + (i + new)


def _update_product(c, f, i, new):
    return (f * c) * (i * new)


def _update_exchanged(c, f, i, new):
    return c * i + new * f


def _update_plus_everywhere(c, f, i, new):
    return c + f + i + new


# --- lstm.output


def _output(x, h, c, W_o, b_o):
    return torch.sigmoid(torch.cat([h, x], 1) @ W_o.T + b_o) * torch.tanh(c)


def _output_linear(x, h, c, W_o, b_o):
    o = _sigmoid(F.linear(torch.hstack((h, x)), W_o, b_o))
    return c.tanh().mul(o)


def _output_no_tanh(x, h, c, W_o, b_o):
    return _forget(x, h, W_o, b_o) * c


def _output_tanh_outside(x, h, c, W_o, b_o):
    return torch.tanh(_forget(x, h, W_o, b_o) * c)


def _output_no_gate(x, h, c, W_o, b_o):
    return torch.tanh(c)


def _output_cell_in_gate(x, h, c, W_o, b_o):
    return _forget(x, c, W_o, b_o) * torch.tanh(c)


# --- lstm.step


def _step(x, h, c, W, b):
    f = _forget(x, h, W[0], b[0])
    i, new = _candidate(x, h, W[1], b[1], W[2], b[2])
    c = f * c + i * new
    return _forget(x, h, W[3], b[3]) * torch.tanh(c), c


def _step_at_once(x, h, c, W, b):
    f, i, new, o = (torch.cat([h, x], 1) @ W.flatten(0, 1).T + b.flatten()).chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * new.tanh()
    return [o.sigmoid() * c.tanh(), c]


def _step_torch_order(x, h, c, W, b):
    i, f, g, o = F.linear(torch.cat([h, x], 1), W.flatten(0, 1), b.flatten()).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _step_sigmoid(x, h, c, W, b):
    f, i, new, o = (_forget(x, h, w, v) for w, v in zip(W, b, strict=True))
    c = f * c + i * new
    return o * torch.tanh(c), c


def _step_plus(x, h, c, W, b):
    f = _forget(x, h, W[0], b[0])
    i, new = _candidate(x, h, W[1], b[1], W[2], b[2])
    c = f * c + i + new
    return _forget(x, h, W[3], b[3]) * torch.tanh(c), c


def _step_no_tanh(x, h, c, W, b):
    _, c = _step(x, h, c, W, b)
    return _forget(x, h, W[3], b[3]) * c, c


def _step_old_state(x, h, c, W, b):
    return _output(x, h, c, W[3], b[3]), _step(x, h, c, W, b)[1]


def _step_no_bias(x, h, c, W, b):
    return _step(x, h, c, W, torch.zeros_like(b))


def _step_cell_in_gates(x, h, c, W, b):
    f, i, o = (_forget(x, c, W[k], b[k]) for k in (0, 1, 3))
    c = f * c + i * _forget_tanh(x, c, W[2], b[2])
    return o * torch.tanh(c), c


def _step_new_cell_in_output(x, h, c, W, b):
    _, c = _step(x, h, c, W, b)
    return _forget(x, c, W[3], b[3]) * c.tanh(), c


def _step_new_output(x, h, c, W, b):
    """Shows the state twice."""
    h, c = _step(x, h, c, W, b)
    return _forget(x, h, W[3], b[3]) * c.tanh(), c


def _step_exchanged(x, h, c, W, b):
    return _step(x, h, c, W, b)[::-1]


# --- lstm.torch


def _torch(W, b):
    H = W.shape[1]
    W, b = W[[1, 0, 2, 3]], b[[1, 0, 2, 3]]
    return {
        "weight_ih_l0": W[:, :, H:].reshape(4 * H, -1),
        "weight_hh_l0": W[:, :, :H].reshape(4 * H, H),
        "bias_ih_l0": b.reshape(-1),
        "bias_hh_l0": torch.zeros(4 * H),
    }


def _torch_halves(W, b):
    H = W.shape[1]
    rows = torch.cat([W[1], W[0], W[2], W[3]])
    bias = torch.cat([b[1], b[0], b[2], b[3]]) / 2
    names = ["weight_hh_l0", "weight_ih_l0", "bias_hh_l0", "bias_ih_l0"]
    return dict(zip(names, [rows[:, :H], rows[:, H:], bias, bias], strict=True))


def _torch_lecture(W, b):
    H = W.shape[1]
    rows, bias = W.flatten(0, 1), b.flatten()
    return {
        "weight_ih_l0": rows[:, H:],
        "weight_hh_l0": rows[:, :H],
        "bias_ih_l0": bias,
        "bias_hh_l0": 0 * bias,
    }


def _torch_exchanged(W, b):
    D = W.shape[2] - W.shape[1]
    answer = _torch(W, b)
    rows = torch.cat([W[1], W[0], W[2], W[3]])
    return answer | {"weight_ih_l0": rows[:, :D], "weight_hh_l0": rows[:, D:]}


def _torch_twice(W, b):
    answer = _torch(W, b)
    return answer | {"bias_hh_l0": answer["bias_ih_l0"]}


def _torch_bias_in_order(W, b):
    return _torch(W, b) | {"bias_ih_l0": b.flatten()}


def _torch_missing(W, b):
    answer = _torch(W, b)
    del answer["bias_hh_l0"]
    return answer


def _torch_more(W, b):
    return _torch(W, b) | {"bias": b.flatten()}


def _torch_zeros(W, b):
    """One number per gate in the second bias, and the rows in the lecture's order."""
    return _torch_lecture(W, b) | {"bias_hh_l0": torch.zeros(4)}


def _torch_none(W, b):
    return _torch_lecture(W, b) | {"bias_hh_l0": None}


# --- lstm.backward


def _backward(dh, dc, c_before, c, gates):
    f, i, new, o = gates
    t = torch.tanh(c)
    dc = dc + dh * o * (1 - t * t)
    return (
        dc * c_before * f * (1 - f),
        dc * new * i * (1 - i),
        dc * i * (1 - new * new),
        dh * t * o * (1 - o),
        dc * f,
    )


def _backward_by_autograd(dh, dc, c_before, c, gates):
    values = [*gates, c_before]
    values = [v.detach().double().requires_grad_() for v in values]
    f, i, new, o, before = values
    after = f * before + i * new
    loss = (o * torch.tanh(after) * dh).sum() + (after * dc).sum()
    df, di, dnew, do, dbefore = torch.autograd.grad(loss, values)
    return [df * (f - f**2), di * (i - i**2), dnew * (1 + new) * (1 - new), do * (o - o**2), dbefore]


def _backward_no_h(dh, dc, c_before, c, gates):
    f, i, new, o = gates
    return (
        dc * c_before * f * (1 - f),
        dc * new * i * (1 - i),
        dc * i * (1 - new**2),
        dh * torch.tanh(c) * o * (1 - o),
        dc * f,
    )


def _backward_no_next(dh, dc, c_before, c, gates):
    return _backward(dh, torch.zeros_like(dc), c_before, c, gates)


def _backward_no_slopes(dh, dc, c_before, c, gates):
    f, i, new, o = gates
    dc = dc + dh * o * (1 - torch.tanh(c) ** 2)
    return dc * c_before, dc * new, dc * i, dh * torch.tanh(c), dc * f


def _backward_at_c(dh, dc, c_before, c, gates):
    f, i, new, o = gates
    dc = dc + dh * o * (1 - c**2)
    return (
        dc * c_before * f * (1 - f),
        dc * new * i * (1 - i),
        dc * i * (1 - new**2),
        dh * torch.tanh(c) * o * (1 - o),
        dc * f,
    )


def _backward_new_state(dh, dc, c_before, c, gates):
    da_f, *others = _backward(dh, dc, c_before, c, gates)
    return da_f / c_before * c, *others


def _backward_sigmoid_again(dh, dc, c_before, c, gates):
    f, i, new, o = gates
    dC = dc + dh * o * (1 - torch.tanh(c) ** 2)
    s = torch.sigmoid
    return (
        dC * c_before * s(f) * (1 - s(f)),
        dC * new * s(i) * (1 - s(i)),
        dC * i * (1 - new**2),
        dh * torch.tanh(c) * s(o) * (1 - s(o)),
        dC * f,
    )


def _backward_tanh_again(dh, dc, c_before, c, gates):
    new = gates[2]
    *da, before = _backward(dh, dc, c_before, c, gates)
    da[2] = da[2] / (1 - new**2) * (1 - torch.tanh(new) ** 2)
    return [*da, before]


def _backward_factors(dh, dc, c_before, c, gates):
    i, new = gates[1:3]
    *da, before = _backward(dh, dc, c_before, c, gates)
    da[1], da[2] = da[1] / new * i, da[2] / i * new
    return [*da, before]


def _backward_only_dc(dh, dc, c_before, c, gates):
    return *_backward(dh, dc, c_before, c, gates)[:4], dc * gates[0]


def _backward_order(*order):
    return lambda *args: [_backward(*args)[k] for k in order]


# --- lstm.shapes


def _shapes(**changes):
    return lambda: {**shapes(), **changes}


def _shapes_lists():
    return {name: list(shape) for name, shape in shapes().items()}


# --- lstm.attend


def _attend(query, keys, values, mask):
    scores = (keys * query[:, None]).sum(-1) / query.shape[-1] ** 0.5
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=1)
    return (weights[:, :, None] * values).sum(1), weights


def _attend_matrices(query, keys, values, mask):
    scores = torch.bmm(keys, query[..., None]) / keys.shape[-1] ** 0.5
    scores = torch.where(mask[..., None], scores, torch.tensor(-1e9))
    weights = scores.exp() / scores.exp().sum(1, keepdim=True)
    return [torch.bmm(weights.mT, values).squeeze(1), weights.squeeze(2)]


def _attend_axis(query, keys, values, mask):
    scores = torch.einsum("bh,bth->bt", query, keys) / query.shape[1] ** 0.5
    weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), 0)
    return torch.einsum("bt,btr->br", weights, values), weights


def _attend_unmasked(query, keys, values, mask):
    return _attend(query, keys, values, torch.ones_like(mask))


def _attend_unscaled(query, keys, values, mask):
    return _attend(query * query.shape[1] ** 0.5, keys, values, mask)


def _attend_late(query, keys, values, mask):
    weights = _attend(query, keys, values, torch.ones_like(mask))[1] * mask
    return (weights[:, :, None] * values).sum(1), weights


def _attend_filled(axis=1, invert=False):
    """With the usual -1e9 at the padding."""

    def attend(query, keys, values, mask):
        scores = (keys @ query.unsqueeze(2)).squeeze(2) / query.shape[1] ** 0.5
        scores[mask if invert else ~mask] = -1e9
        weights = scores.softmax(axis)
        return (weights.unsqueeze(1) @ values).squeeze(1), weights

    return attend


def _attend_by_width(query, keys, values, mask):
    return _attend(query / query.shape[1] ** 0.5, keys, values, mask)


def _attend_weights_first(query, keys, values, mask):
    context, weights = _attend(query, keys, values, mask)
    return weights, context


RIGHT = {
    "lstm.sigmoid": [_sigmoid, _sigmoid_pieces, _sigmoid_tanh],
    "lstm.forget": [_forget, _forget_columns],
    "lstm.candidate": [_candidate, _candidate_list],
    "lstm.update": [_update, _update_lerp],
    "lstm.output": [_output, _output_linear],
    "lstm.step": [_step, _step_at_once],
    "lstm.torch": [_torch, _torch_halves],
    "lstm.backward": [_backward, _backward_by_autograd],
    "lstm.shapes": [shapes, _shapes_lists],
    "lstm.attend": [_attend, _attend_matrices, _attend_filled()],
}
WRONG = {
    "lstm.sigmoid": {"overflow": _sigmoid_overflow, "sign turned": _sigmoid_sign, "clamped": _sigmoid_clamped},
    "lstm.forget": {
        "input first": _forget_input_first,
        "sigmoid forgotten": _forget_sum,
        "tanh for sigmoid": _forget_tanh,
    },
    "lstm.candidate": {
        "sigmoid for the candidate": _candidate_sigmoid,
        "the two exchanged": _candidate_exchanged,
        "in the wrong order": [_candidate_backwards],
    },
    "lstm.update": {
        "+ for *, at the input": _update_plus,
        "+ for *, everywhere": _update_plus_everywhere,
        "* for +": _update_product,
        "gates exchanged": _update_exchanged,
    },
    "lstm.output": {
        "tanh forgotten": _output_no_tanh,
        "tanh of the product": _output_tanh_outside,
        "cell state in the gate": _output_cell_in_gate,
        "gate forgotten": _output_no_gate,
    },
    "lstm.step": {
        "gates in the wrong order": _step_torch_order,
        "sigmoid for the candidate": _step_sigmoid,
        "+ for * in the update": _step_plus,
        "output without tanh": _step_no_tanh,
        "output from the old state": _step_old_state,
        "biases forgotten": _step_no_bias,
        "gates read the cell state": _step_cell_in_gates,
        "output gate reads the new state": _step_new_cell_in_output,
        "h and c exchanged": _step_exchanged,
    },
    "lstm.torch": {
        "a name is missing": _torch_missing,
        "a name too many": _torch_more,
        "gates in the wrong order": _torch_lecture,
        "inputs and states exchanged": _torch_exchanged,
        "bias in the wrong order": _torch_bias_in_order,
        "bias twice": _torch_twice,
    },
    "lstm.backward": {
        "in the wrong order": [
            _backward_order(1, 0, 2, 3, 4),
            _backward_order(4, 0, 1, 2, 3),
            _backward_order(0, 1, 3, 2, 4),
        ],
        "the way through h forgotten": _backward_no_h,
        "the next step forgotten": _backward_no_next,
        "slopes of the gates forgotten": _backward_no_slopes,
        "slope taken at the wrong place": _backward_at_c,
        "slopes of the gates taken again": _backward_sigmoid_again,
        "slope of the candidate taken again": _backward_tanh_again,
        "the new state at the forget gate": _backward_new_state,
        "factors exchanged": _backward_factors,
        "only dc goes on": _backward_only_dc,
    },
    "lstm.shapes": {
        "one direction in hs": _shapes(hs=(11, 3, 7)),
        "batch first": _shapes(hs=(3, 11, 14)),
        "one row per layer": _shapes(h=(2, 3, 7)),
        "directions side by side in h": _shapes(h=(2, 3, 14)),
        "second layer reads the input": _shapes(weight_ih_l1=(28, 5)),
        "second layer reads one direction": _shapes(weight_ih_l1=(28, 7)),
    },
    "lstm.attend": {
        "softmax over the wrong axis": _attend_axis,
        "padding gets weight": _attend_unmasked,
        "not divided by the root": _attend_unscaled,
        "masked after softmax": _attend_late,
        "softmax over the wrong axis, -1e9 at the padding": _attend_filled(axis=0),
        "mask inverted, with -1e9": _attend_filled(invert=True),
        "divided by H": _attend_by_width,
        "in the wrong order": _attend_weights_first,
    },
}

OTHERS = {
    "lstm.step": [(_step_new_output, "neither the new h nor C")],
    "lstm.torch": [(_torch_zeros, "both (4 H,)"), (_torch_none, "both tensors")],
}
