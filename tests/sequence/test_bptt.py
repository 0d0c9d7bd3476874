"""Backpropagation by hand against autograd, central differences, and what is known about long products."""

import math

import pytest
import torch
import torch.nn.functional as F

from cvdl.errors import CourseError
from cvdl.sequence import bptt, tasks

SIZES = [(1, 1, 1, 1, 2), (6, 3, 4, 5, 3), (20, 2, 3, 8, 4), (4, 4, 4, 4, 4)]  # T, B, D, H, K


def case(T, B, D, H, K):
    g = torch.Generator().manual_seed(T)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    weights = 0.6 * normal(H, D), 0.6 * normal(H, H), normal(H), normal(K, H), normal(K)
    return normal(T, B, D), torch.tanh(normal(B, H)), torch.randint(0, K, (T, B), generator=g), weights


def plain_loss(xs, h0, targets, V, W, b_h, U, b_y):
    """L and all inner values, in loops that share nothing with the library."""
    h, total, inner = h0, 0.0, {"do": [], "dh": [], "da": []}
    for x, y in zip(xs, targets, strict=True):
        a = x @ V.T + h @ W.T + b_h
        h = torch.tanh(a)
        o = h @ U.T + b_y
        total = total + F.cross_entropy(o, y)
        for name, value in zip(inner, (o, h, a), strict=True):
            inner[name].append(value)
    return total, inner


def by_hand(xs, h0, targets, weights):
    hs, ys, losses, loss = bptt.forward(xs, h0, targets, *weights)
    return bptt.backward(xs, targets, hs, ys, weights[1], weights[3]), losses, loss


@pytest.mark.parametrize("size", SIZES)
def test_every_gradient_and_intermediate_against_autograd(size):
    xs, h0, targets, weights = case(*size)
    ours, losses, loss = by_hand(xs, h0, targets, weights)
    leaves = [w.requires_grad_() for w in weights]
    total, inner = plain_loss(xs, h0, targets, *leaves)
    assert abs(loss - total) < 1e-12 and abs(losses.sum() - total) < 1e-12
    right = {n: torch.stack(torch.autograd.grad(total, v, retain_graph=True)) for n, v in inner.items()}
    right |= dict(zip(bptt.GRADIENTS, torch.autograd.grad(total, leaves), strict=True))
    assert set(right) == set(ours)
    for name, value in right.items():
        assert bptt.relative_error(ours[name].detach(), value) < 1e-9, name
    assert bptt.first_difference(ours, {name: right[name] for name in ours}) is None


@pytest.mark.parametrize("size", SIZES)
def test_every_gradient_against_central_differences(size):
    xs, h0, targets, weights = case(*size)
    ours, _, _ = by_hand(xs, h0, targets, weights)
    for i, name in enumerate(bptt.GRADIENTS):

        def loss(w, i=i):
            return plain_loss(xs, h0, targets, *weights[:i], w, *weights[i + 1 :])[0]

        assert bptt.relative_error(ours[name], bptt.central_differences(loss, weights[i])) < 1e-6, name


def test_the_first_difference_is_named():
    xs, h0, targets, weights = case(6, 3, 4, 5, 3)
    right, _, _ = by_hand(xs, h0, targets, weights)
    wrong = {**right, "da": right["dh"], "dW": 2 * right["dW"]}
    assert bptt.first_difference(wrong, right) == "da"
    assert bptt.first_difference({**right, "dV": right["dV"].T}, right) == "dV"


def test_central_differences_refuse_float32():
    with pytest.raises(CourseError, match="double"):
        bptt.central_differences(torch.sum, torch.ones(2))


def test_clipping_keeps_the_direction():
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[0.0], [4.0]])]
    clipped = bptt.clip_by_norm(gradients, 1.0)
    assert torch.allclose(clipped[0], torch.tensor([0.6, 0.0])) and math.isclose(clipped[1][1, 0], 0.8, rel_tol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(gradients, bptt.clip_by_norm(gradients, 9.0), strict=True))
    parameters = [torch.zeros_like(g, requires_grad=True) for g in gradients]
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    assert all(torch.allclose(p.grad, c, atol=1e-5) for p, c in zip(parameters, clipped, strict=True))
    assert not any(g.isnan().any() for g in bptt.clip_by_norm([torch.zeros(3)], 1.0))


def test_jacobians_and_products_against_autograd():
    hs, W = bptt.driven_run(1.2, hidden=5, steps=7, batch=2, generator=torch.Generator().manual_seed(0))
    J = bptt.jacobians(hs, W)
    assert J.shape == (7, 2, 5, 5)
    a = torch.atanh(hs[1:]) - hs[:-1] @ W.T  # the inputs of this run

    def rest(h, first, b):
        for t in range(first, 7):
            h = torch.tanh(a[t, b] + W @ h)
        return h

    P = bptt.products(J)
    for b in range(2):
        one = torch.autograd.functional.jacobian(lambda h, b=b: torch.tanh(a[3, b] + W @ h), hs[3, b])
        assert (J[3, b] - one).abs().max() < 1e-12
        for k in range(8):
            whole = torch.autograd.functional.jacobian(lambda h, k=k, b=b: rest(h, 7 - k, b), hs[7 - k, b])
            assert (P[k, b] - whole).abs().max() < 1e-12


def test_norm_by_lag_is_the_norm_through_the_product():
    hs, W = bptt.driven_run(1.2, hidden=5, steps=7, batch=2, generator=torch.Generator().manual_seed(0))
    g = torch.randn(2, 5, dtype=torch.float64)
    through = torch.einsum("bi,kbij->kbj", g, bptt.products(bptt.jacobians(hs, W))).norm(dim=-1)
    assert torch.allclose(bptt.norm_by_lag(hs, W, g), through, rtol=1e-12)


def test_orthogonal():
    W = bptt.orthogonal(40, 1.5, torch.Generator().manual_seed(0))
    assert torch.allclose(torch.linalg.svdvals(W), torch.full((40,), 1.5, dtype=torch.float64))


def at_lag_100(gain, drive=0.1):
    g = torch.Generator().manual_seed(0)
    hs, W = bptt.driven_run(gain, drive=drive, generator=g)
    start = torch.randn(8, 128, generator=g, dtype=torch.float64)
    return bptt.norm_by_lag(hs, W, start / start.norm(dim=-1, keepdim=True))[-1].median()


@pytest.mark.parametrize(
    "gain, low, high", [(0.5, 0, 1e-29), (0.9, 1e-7, 5e-6), (1.0, 1e-4, 1e-2), (1.1, 1e-2, 1), (1.5, 50, 1e4)]
)
def test_gradient_norm_at_lag_100(gain, low, high):
    assert low < at_lag_100(gain) < high


def test_norms_above_one_with_a_vanishing_product():
    hs, W = bptt.driven_run(1.1, drive=0.5, hidden=64, batch=1, generator=torch.Generator().manual_seed(0))
    J = bptt.jacobians(hs, W)[:, 0]
    assert (torch.linalg.matrix_norm(J, 2) > 1).all()
    assert torch.linalg.matrix_norm(bptt.products(J)[-1], 2) < 1e-6


def test_norms_below_one_vanish_always():
    J = bptt.jacobians(*bptt.driven_run(0.9, hidden=32, batch=1, generator=torch.Generator().manual_seed(0)))[:, 0]
    norms = torch.linalg.matrix_norm(J, 2)
    assert (norms < 1).all() and torch.linalg.matrix_norm(bptt.products(J)[-1], 2) <= norms.prod() <= 0.9**100


@pytest.mark.parametrize("T", [2, 3, 30])
def test_adding_problem_and_its_baseline(T):
    xs, sums = tasks.adding_problem(T, 50_000, torch.Generator().manual_seed(0))
    numbers, marks = xs.unbind(-1)
    assert xs.shape == (T, 50_000, 2) and numbers.min() >= 0 and numbers.max() < 1
    assert (marks[: T // 2].sum(0) == 1).all() and (marks[T // 2 :].sum(0) == 1).all()
    assert torch.allclose((numbers * marks).sum(0), sums)
    assert abs((sums - 1).square().mean() - tasks.ADDING_BASELINE) < 0.005


def test_copy_memory_and_its_baseline():
    lag, symbols, length = 7, 5, 3
    ids, targets = tasks.copy_memory(lag, 20_000, torch.Generator().manual_seed(0), symbols, length)
    blank = torch.full_like(ids, symbols)
    assert ids.shape == targets.shape == (lag + 2 * length, 20_000)
    assert torch.equal(ids[:length], targets[-length:]) and torch.equal(targets[:-length], blank[:-length])
    assert (ids[length + lag - 1] == symbols + 1).all() and (ids == symbols + 1).sum() == 20_000
    share = torch.bincount(ids[:length].flatten(), minlength=symbols) / ids[:length].numel()
    assert (share - 1 / symbols).abs().max() < 0.01
    probabilities = F.one_hot(blank, symbols + 1).float()
    probabilities[-length:] = torch.tensor([1 / symbols] * symbols + [0.0])
    loss = -probabilities.gather(-1, targets[..., None]).log().mean()
    assert math.isclose(loss, tasks.copying_baseline(lag, symbols, length), rel_tol=1e-5)


def test_tasks_are_seeded():
    for make in (tasks.adding_problem, tasks.copy_memory):
        a, b, c = (make(12, 4, torch.Generator().manual_seed(n))[0] for n in (0, 0, 1))
        assert torch.equal(a, b) and not torch.equal(a, c)
