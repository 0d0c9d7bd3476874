"""The variants do what their formula says; all can learn, and all can be cut into chunks."""

import pytest
import torch
from torch import nn

from cvdl.sequence import bptt, remedies, rnn

every = pytest.mark.parametrize("name", remedies.NETWORKS)


def net_of(name, inputs=3, hidden=6, outputs=2):
    torch.manual_seed(0)
    return remedies.NETWORKS[name](inputs, hidden, outputs).double()


def inputs(T=25, B=4, D=3):
    return torch.randn(T, B, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@every
def test_chunks_give_the_same_values_and_cut_the_gradient(name):
    net, xs = net_of(name), inputs().requires_grad_()
    whole, _ = net(xs)
    parts = list(remedies.truncated(net, xs, 10))
    assert [first for first, _ in parts] == [0, 10, 20]
    assert torch.allclose(torch.cat([p for _, p in parts]), whole, atol=1e-12)
    (reach,) = torch.autograd.grad(parts[2][1].sum(), xs)
    assert not reach[:20].any() and reach[20:].any()


@every
def test_a_gradient_reaches_every_weight_and_the_first_input(name):
    net, xs = net_of(name), inputs().requires_grad_()
    net(xs)[0][-1].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    assert xs.grad[0].any()


@every
def test_it_learns_a_short_sequence(name):
    torch.manual_seed(0)
    net, xs = remedies.NETWORKS[name](2, 16, 1), torch.rand(3, 64, 2, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(net.parameters(), 3e-2)
    for _ in range(60):
        loss = (net(xs)[0][-1, :, 0] - xs[-1, :, 0]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.03 < 1 / 12


def test_tanh_rnn_is_the_network_of_notebook_1():
    net, xs = net_of("tanh RNN"), inputs()
    hs = rnn.unroll(xs, xs.new_zeros(4, 6), net.V.weight, net.W.weight, net.V.bias)
    assert torch.allclose(net(xs)[0], net.U(hs))


def test_lstm_against_torch():
    net, xs = net_of("LSTM"), inputs()
    theirs = nn.LSTM(3, 6, dtype=torch.float64)
    nn.init.zeros_(theirs.bias_hh_l0)
    theirs.load_state_dict(
        theirs.state_dict() | {"weight_ih_l0": net.V.weight, "weight_hh_l0": net.W.weight, "bias_ih_l0": net.V.bias}
    )
    hs, (h, c) = theirs(xs)
    logits, memory = net(xs)
    assert torch.allclose(logits, net.U(hs), atol=1e-12)
    assert torch.allclose(memory[0], h[0], atol=1e-12) and torch.allclose(memory[1], c[0], atol=1e-12)
    assert (net.V.bias[6:12] == 1).all()


def reach(net, T=25):
    """Norm of dh_T/dx_1, by way of the output."""
    xs = inputs(T).requires_grad_()
    net(xs)[0][-1].sum().backward()
    return xs.grad[0].norm()


def test_skips_and_removed_connections_shorten_the_way():
    plain, skip, removed = net_of("tanh RNN"), net_of("skip connections"), net_of("no length-1")
    for net in (plain, skip, removed):
        with torch.no_grad():
            net.W.weight.mul_(0.1)
    assert min(reach(skip, 21), reach(removed, 21)) > 1e3 * reach(plain, 21)


def test_skip_is_ten_steps_long():
    net = net_of("skip connections")
    nn.init.zeros_(net.W.weight)
    xs = inputs(25).requires_grad_()
    net(xs)[0][-1].sum().backward()
    assert xs.grad.abs().sum((1, 2)).nonzero().flatten().tolist() == [4, 14, 24]


def test_half_of_the_units_have_no_connection_of_length_1():
    net, a = net_of("no length-1"), torch.zeros(1, 6, dtype=torch.float64)
    last, tenth = (torch.full((1, 6), v, dtype=torch.float64, requires_grad=True) for v in (0.3, 0.5))
    (h, *_) = net.step(a, (last, *[torch.zeros_like(a)] * 8, tenth))
    slow = torch.autograd.grad(h[0, 3:].sum(), (last, tenth), retain_graph=True)
    fast = torch.autograd.grad(h[0, :3].sum(), (last, tenth))
    assert not slow[0].any() and slow[1].all() and fast[0].all() and not fast[1].any()


def test_leaky_units_fade_by_alpha():
    net = net_of("leaky units")
    nn.init.zeros_(net.W.weight)
    (h,) = net.step(torch.zeros(1, 6, dtype=torch.float64), (torch.ones(1, 6, dtype=torch.float64),))
    assert torch.allclose(h, torch.full_like(h, net.alpha))


def test_gates_are_leaks_that_the_network_sets():
    net = net_of("gated units")
    nn.init.zeros_(net.W.weight)
    a = torch.tensor([[0.0] * 6 + [0.7] * 6], dtype=torch.float64)  # α = 1/2, new = tanh(0.7)
    (h,) = net.step(a, (torch.ones(1, 6, dtype=torch.float64),))
    assert torch.allclose(h, 0.5 + 0.5 * torch.tanh(a[:, 6:]))


def test_identity_keeps_a_positive_state():
    net = net_of("identity start")
    kept = torch.rand(1, 6, dtype=torch.float64)
    (h,) = net.step(torch.zeros(1, 6, dtype=torch.float64), (kept,))
    assert torch.allclose(h, kept)


def test_clipping_is_what_torch_does_on_a_network():
    net = net_of("tanh RNN")
    (50 * net(inputs())[0].sum()).backward()
    ours = bptt.clip_by_norm([p.grad for p in net.parameters()], 1.0)
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    assert all(torch.allclose(a, p.grad, atol=1e-6) for a, p in zip(ours, net.parameters(), strict=True))
