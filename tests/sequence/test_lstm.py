"""The library's LSTM against torch's, and against autograd."""

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from cvdl.errors import CourseError
from cvdl.sequence import lstm

PRECISION = [(torch.float32, 1e-6), (torch.float64, 1e-12)]


def apart(ours, theirs):
    """Greatest difference, in parts of the greatest value where that exceeds 1."""
    return max((a - b).abs().max().item() / max(1.0, b.abs().max().item()) for a, b in zip(ours, theirs, strict=True))


def twins(D, H, layers, bidirectional, dtype, batch_first=False):
    theirs = nn.LSTM(D, H, layers, batch_first=batch_first, bidirectional=bidirectional, dtype=dtype)
    ours = lstm.LSTM(D, H, layers, batch_first=batch_first, bidirectional=bidirectional).to(dtype)
    ours.load_state_dict(theirs.state_dict())  # the same names and shapes
    return ours, theirs


def results(net, xs, state):
    """Outputs, states, and the gradients of a random mixture of them by parameters, inputs and first states."""
    hs, (h, c) = net(xs, state)
    inputs, hs = (data.data if isinstance(data, PackedSequence) else data for data in (xs, hs))
    dice = torch.Generator().manual_seed(1)
    loss = sum((out * torch.randn(out.shape, generator=dice, dtype=out.dtype)).sum() for out in (hs, h, c))
    wanted = [*net.parameters(), inputs, *state]
    return [hs, h, c], torch.autograd.grad(loss, wanted)


@pytest.mark.parametrize("dtype, tolerance", PRECISION)
@pytest.mark.parametrize("seed", range(12))
def test_layer_agrees_with_torch_in_all_results_and_gradients(seed, dtype, tolerance):
    torch.manual_seed(seed)
    layers, bidirectional, packed, batch_first = 1 + seed % 3, seed % 2 == 1, seed % 4 >= 2, seed % 8 >= 4
    T, B, D, H = (int(n) for n in torch.randint(1, 13, (4,)))
    ours, theirs = twins(D, H, layers, bidirectional, dtype, batch_first)
    xs = torch.randn(*((B, T) if batch_first else (T, B)), D, dtype=dtype).requires_grad_()
    state = [torch.randn(layers * (1 + bidirectional), B, H, dtype=dtype).requires_grad_() for _ in range(2)]
    if packed:
        lengths = torch.randint(1, T + 1, (B,))
        xs = pack_padded_sequence(xs.detach(), lengths, batch_first, enforce_sorted=False)
        xs.data.requires_grad_()
    (values, gradients), (true_values, true_gradients) = (results(net, xs, state) for net in (ours, theirs))
    assert apart(values, true_values) < tolerance
    assert apart(gradients, true_gradients) < tolerance


def test_packing_stays_as_it_was():
    ours, theirs = twins(2, 3, 1, True, torch.float32)
    xs = torch.randn(5, 4, 2)
    for lengths, is_sorted in (([5, 3, 3, 1], True), ([2, 5, 1, 5], False)):
        packed = pack_padded_sequence(xs, torch.tensor(lengths), enforce_sorted=is_sorted)
        for a, b in zip(ours(packed)[0], theirs(packed)[0], strict=True):
            assert (a is None and b is None) or torch.allclose(a, b, atol=1e-6)


def test_states_go_in_and_out():
    net, xs = lstm.LSTM(3, 4, 2), torch.randn(7, 2, 3)
    whole, state = net(xs)
    first, middle = net(xs[:4])
    second, end = net(xs[4:], middle)
    assert torch.allclose(torch.cat([first, second]), whole, atol=1e-6) and apart(end, state) < 1e-6


def test_wrong_shapes_are_told():
    net = lstm.LSTM(3, 4)
    for wrong in (torch.zeros(5, 3), torch.zeros(5, 2, 4), torch.zeros(0, 2, 3)):
        with pytest.raises(CourseError, match=r"\(T, B, D\) with D = 3"):
            net(wrong)
    with pytest.raises(CourseError, match=r"each \(1, 2, 4\).*\(2, 4\)"):
        net(torch.zeros(5, 2, 3), (torch.zeros(2, 4), torch.zeros(2, 4)))


def test_sigmoid_at_both_ends():
    x = torch.tensor([-1000.0, -100.0, -80.0, 0.0, 80.0, 1000.0], requires_grad=True)
    y = lstm.sigmoid(x)
    assert torch.allclose(y, torch.sigmoid(x), rtol=1e-6, atol=1e-40) and y[0] == 0 and y[-1] == 1
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert torch.allclose(slope, y * (1 - y)) and slope[3] == 0.25
    x = torch.linspace(-30, 30, 601, dtype=torch.double)
    y = lstm.sigmoid(x)
    assert (y - torch.sigmoid(x)).abs().max() < 1e-15
    assert (y - (1 - lstm.sigmoid(-x))).abs().max() < 1e-15
    assert (y - x.exp() / (1 + x.exp())).abs().max() < 1e-15


def one_step(B, D, H, dtype=torch.float64):
    x, h, c = torch.randn(B, D, dtype=dtype), torch.randn(B, H, dtype=dtype), torch.randn(B, H, dtype=dtype)
    return x, h, c, torch.randn(4, H, H + D, dtype=dtype), torch.randn(4, H, dtype=dtype)


@pytest.mark.parametrize("dtype, tolerance", PRECISION)
@pytest.mark.parametrize("B, D, H", [(1, 1, 1), (3, 2, 5), (4, 4, 4)])
def test_step_and_its_equations_agree_with_torch(B, D, H, dtype, tolerance):
    x, h, c, W, b = one_step(B, D, H, dtype)
    weights = {name.removesuffix("_l0"): w for name, w in lstm.to_torch(W, b).items()}
    wanted = functional_call(nn.LSTMCell(D, H, dtype=dtype), weights, (x, (h, c)))
    assert apart(lstm.step(x, h, c, W, b), wanted) < tolerance
    f, i, o = (lstm.gate(x, h, W[k], b[k]) for k in (0, 1, 3))
    c = lstm.update(c, f, i, lstm.candidate(x, h, W[2], b[2]))
    assert apart((lstm.output(c, o), c), wanted) < tolerance


def test_weights_come_back_from_torch():
    _, _, _, W, b = one_step(1, 3, 5)
    for ours, back in zip((W, b), lstm.to_lecture(lstm.to_torch(W, b)), strict=True):
        assert torch.equal(ours, back)
    net = nn.LSTM(3, 5)
    net.load_state_dict(lstm.to_torch(W, b))


@pytest.mark.parametrize("B, D, H", [(1, 1, 1), (3, 2, 5), (4, 4, 4)])
def test_backward_step_agrees_with_autograd(B, D, H):
    x, h, c_before, W, b = given = [tensor.requires_grad_() for tensor in one_step(B, D, H)]
    h_after, c = lstm.step(*given)
    dh, dc = torch.randn(2, B, H, dtype=torch.float64)
    wanted = torch.autograd.grad((h_after * dh).sum() + (c * dc).sum(), given)
    with torch.no_grad():
        kinds = (lstm.gate, lstm.gate, lstm.candidate, lstm.gate)
        gates = [kind(x, h, W[k], b[k]) for k, kind in enumerate(kinds)]
        assert apart(lstm.backward_step(dh, dc, x, h, c_before, c, gates, W), wanted) < 1e-12


def test_forget_bias_reaches_forget_gates_only():
    for net in (lstm.LSTM(3, 4, 2, bidirectional=True), nn.LSTM(3, 4, 2, bidirectional=True)):
        before = {name: p.clone() for name, p in net.named_parameters()}
        lstm.forget_bias_(net, 2.5)
        for name, p in net.named_parameters():
            i, f, g, o = p.chunk(4)
            kept = zip((i, g, o), (before[name].chunk(4)[k] for k in (0, 2, 3)), strict=True)
            assert all(torch.equal(now, then) for now, then in kept)
            if "bias" in name:
                assert (f == (2.5 if "_ih" in name else 0)).all()


def test_watch_sees_what_the_layer_does():
    net, xs = nn.LSTM(3, 4), torch.randn(6, 2, 3)
    seen = lstm.watch(net, xs)
    hs, (_, c) = net(xs)
    assert (seen["h"] - hs).abs().max() < 1e-6 and (seen["C"][-1] - c[0]).abs().max() < 1e-6
    for name in ("f", "i", "o"):
        assert seen[name].shape == (6, 2, 4) and seen[name].min() >= 0 and seen[name].max() <= 1
    rebuilt = seen["f"][1:] * seen["C"][:-1] + seen["i"][1:] * seen["C̃"][1:]
    assert (rebuilt - seen["C"][1:]).abs().max() < 1e-6


def test_gradient_of_the_cell_state_falls_like_the_forget_gate():
    """With h cut off, the cell's gradient after T steps is f^T exactly."""
    W, b = torch.zeros(4, 5, 8, dtype=torch.double), torch.zeros(4, 5, dtype=torch.double)
    b[0] = 1.0
    xs, zero = torch.randn(20, 3, 3, dtype=torch.double), torch.zeros(3, 5, dtype=torch.double)
    norms = lstm.back_in_time(lambda x, h, c: lstm.step(x, h, c, W, b), xs, zero, zero)
    falls = norms[1:] / norms[:-1]
    assert norms.shape == (21,) and (falls - torch.sigmoid(torch.tensor(1.0))).abs().max() < 1e-7


def test_gradient_of_an_rnn_is_the_product_of_its_matrices():
    W = 0.9 * torch.linalg.qr(torch.randn(4, 4))[0]
    norms = lstm.back_in_time(lambda x, h: h @ W.T, torch.randn(10, 2, 4), torch.zeros(2, 4))
    assert (norms[1:] / norms[:-1] - 0.9).abs().max() < 1e-5


@pytest.mark.parametrize("state", [False, True])
def test_conv_lstm_with_one_by_one_kernels_is_an_lstm_per_pixel(state):
    T, B, D, H, height, width = 5, 2, 3, 4, 3, 6
    conv, plain = lstm.ConvLSTM(D, H, kernel=1), nn.LSTM(D, H)
    rows = conv.conv.weight[..., 0, 0].detach()
    weights = (rows[:, :D], rows[:, D:], conv.conv.bias.detach(), torch.zeros(4 * H))
    plain.load_state_dict(dict(zip(dict(plain.named_parameters()), weights, strict=True)))
    xs = torch.randn(T, B, D, height, width)
    given = [torch.randn(B, H, height, width) for _ in range(2)] if state else None
    pixels = xs.movedim(2, -1).reshape(T, -1, D)
    flat = [s.movedim(1, -1).reshape(1, -1, H) for s in given] if state else None
    hs, (h, c) = conv(xs, given)
    true_hs, (true_h, true_c) = plain(pixels, flat)
    assert (hs - true_hs.view(T, B, height, width, H).movedim(-1, 2)).abs().max() < 1e-6
    for ours, theirs in ((h, true_h), (c, true_c)):
        assert (ours - theirs.view(B, height, width, H).movedim(-1, 1)).abs().max() < 1e-6


def test_conv_lstm_keeps_sizes_and_sees_its_surroundings():
    net = lstm.ConvLSTM(1, 2, kernel=(3, 1))
    x = torch.zeros(2, 1, 1, 8, 5)
    changed = x.clone()
    changed[0, 0, 0, 4, 2] = 1.0
    difference = (net(x)[0] - net(changed)[0]).abs().sum((1, 2)) > 0  # (T, height, width)
    assert difference[0].nonzero().tolist() == [[3, 2], [4, 2], [5, 2]]
    assert difference[1, :, 2].nonzero().flatten().tolist() == [2, 3, 4, 5, 6]
    for kernel in (2, (3, 4), 0):
        with pytest.raises(CourseError, match="odd"):
            lstm.ConvLSTMCell(1, 2, kernel)


def test_figures():
    import matplotlib.pyplot as plt

    from cvdl.sequence.plotting import draw_lstm

    for part in (None, *draw_lstm._PARTS):
        draw_lstm.cell(part).canvas.draw()
    text = "def f(x):\n    pass\n"
    seen = {name: values[:, 0] for name, values in lstm.watch(nn.LSTM(3, 4), torch.randn(len(text), 1, 3)).items()}
    for unit in (0, 3):
        draw_lstm.gates(text, seen, unit).canvas.draw()
    draw_lstm.backwards({"a": [1.0, 1e-3, 1e-9]}).canvas.draw()
    draw_lstm.coloured_text(text, seen["C"][:, 0]).canvas.draw()
    draw_lstm.coloured_text("a" * 200, torch.zeros(200)).canvas.draw()
    draw_lstm.alignment("tea.", ["T", "IY", "end"], torch.eye(4)[:3]).canvas.draw()
    plt.close("all")
