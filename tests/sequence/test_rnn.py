"""The library's recurrent network against torch's."""

import math

import pytest
import torch
from torch import nn

from cvdl.sequence import rnn
from cvdl.sequence.plotting import draw


def torch_layer(D, H, dtype=torch.float32):
    layer = nn.RNN(D, H, dtype=dtype)
    nn.init.zeros_(layer.bias_hh_l0)
    return layer, (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("T, B, D, H", [(1, 1, 1, 1), (7, 3, 4, 5), (40, 2, 9, 16), (3, 5, 2, 2)])
def test_unroll_and_all_gradients_agree_with_torch(T, B, D, H, dtype, tolerance):
    torch.manual_seed(T)
    layer, weights = torch_layer(D, H, dtype)
    xs, h0 = torch.randn(T, B, D, dtype=dtype), torch.randn(B, H, dtype=dtype)
    weight = torch.randn(T, B, H, dtype=dtype)
    ours = rnn.unroll(xs, h0, *weights)
    theirs = layer(xs, h0[None])[0]
    assert (ours - theirs).abs().max() < tolerance
    for a, b in zip(
        torch.autograd.grad((ours * weight).mean(), weights),
        torch.autograd.grad((theirs * weight).mean(), weights),
        strict=True,
    ):
        assert (a - b).abs().max() < tolerance


def test_step_is_one_unroll():
    _, weights = torch_layer(3, 4)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    assert torch.allclose(rnn.step(x, h, *weights), rnn.unroll(x[None], h, *weights)[0])


def test_module():
    net = rnn.RNN(5, 7, 3)
    logits, hs = net(torch.randn(6, 2, 5))
    assert logits.shape == (6, 2, 3) and hs.shape == (6, 2, 7)
    assert sum(p.numel() for p in net.parameters()) == rnn.count_parameters(5, 7, 3, 99)
    assert max(p.abs().max() for p in net.parameters()) <= 7**-0.5


def test_loss_ignores_what_stands_in_the_padding():
    logits, targets = torch.randn(5, 3, 4), torch.randint(0, 4, (5, 3))
    mask = torch.arange(5)[:, None] < torch.tensor([5, 2, 1])
    loss = rnn.sequence_loss(logits, targets, mask)
    logits = torch.where(mask[..., None], logits, torch.full_like(logits, float("inf")))
    assert torch.equal(loss, rnn.sequence_loss(logits, targets.masked_fill(~mask, -1), mask))


def test_loss_of_an_undecided_net():
    T, K = 3, 10
    loss = rnn.sequence_loss(
        torch.zeros(T, 2, K), torch.zeros(T, 2, dtype=torch.long), torch.ones(T, 2, dtype=torch.bool)
    )
    assert math.isclose(loss, T * math.log(K), rel_tol=1e-6)


def test_samples_follow_the_distribution():
    logits, n = torch.tensor([1.0, 0.0, -1.0]), 200_000
    u = torch.rand(n, generator=torch.Generator().manual_seed(0))
    for temperature in (0.5, 1.0, 2.0):
        share = torch.bincount(rnn.sample(logits.expand(n, 3), temperature, u), minlength=3) / n
        assert torch.allclose(share, torch.softmax(logits / temperature, 0), atol=0.005)


def test_samples_stay_in_range_at_both_ends():
    logits = torch.tensor([[-1e9, 0.0, -1e9]]).expand(2, 3)
    assert rnn.sample(logits, 1.0, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 1]


def test_no_impossible_class_is_sampled_where_rounding_leaves_the_last_sum_below_1():
    logits = torch.randn(1000, 27, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    logits[:, -1] = -torch.inf
    u = torch.full((1000,), 1 - 2**-53, dtype=torch.double)
    assert (logits.softmax(-1).cumsum(-1)[:, -1] <= u).any()
    assert logits.softmax(-1).gather(1, rnn.sample(logits, 1.0, u)[:, None]).min() > 0


@pytest.mark.parametrize("t", [0, 1, 6])
def test_figures_draw_at_both_ends(t):
    import matplotlib.pyplot as plt

    draw.unrolled(list("garcia"), torch.zeros(7, 8), t)
    draw.folded_and_unrolled()
    draw.five_shapes()
    draw.confusion(torch.eye(3), ["a", "b", "c"])
    draw.strip(torch.rand(16, 8), [0] * 16, [1] * 16, "0123456789")
    draw.curves({"a": [1, 2]}, "x", "y", ("b", 0.1))
    draw.probabilities(["a", "b"], [0.2, 0.8], "title", top=1)
    plt.close("all")
