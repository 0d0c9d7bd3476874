"""The correlation layer against a loop in double precision."""

import random

import pytest
import torch

from cvdl.flow.correlation import Correlation, by_tiles, correlation, correlation_loop


def maps(*shape, dtype=torch.float32, seed=0):
    dice = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=dice, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(2))


def both_ways(f1, f2, D, s, layer=correlation):
    """Output and gradients of the layer and of the loop in double precision."""
    out = layer(f1, f2, D, s)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    d1, d2 = (f.detach().double().requires_grad_() for f in (f1, f2))
    truth = correlation_loop(d1, d2, D, s)
    ours = torch.autograd.grad(out, (f1, f2), weight.to(out.dtype))
    return zip((out, *ours), (truth, *torch.autograd.grad(truth, (d1, d2), weight)), strict=True)


def random_cases(n):
    dice = random.Random(0)
    for _ in range(n):
        s = dice.choice([1, 2, 3, 4])
        r = dice.randint(0, 5)
        yield dice.randint(1, 3), dice.randint(1, 40), dice.randint(1, 45), dice.randint(1, 45), r * s, s


FIXED = [(1, 3, 1, 1, 20, 2), (2, 5, 1, 9, 20, 2), (1, 4, 33, 41, 20, 2), (1, 4, 35, 17, 4, 1), (1, 256, 18, 20, 20, 2)]


@pytest.mark.parametrize("B, C, H, W, D, s", [*FIXED, *random_cases(25)])
def test_output_and_gradients_agree_with_the_loop(B, C, H, W, D, s):
    for ours, truth in both_ways(*maps(B, C, H, W), D, s):
        assert ours.shape == truth.shape
        assert (ours - truth).abs().max() <= 1e-6 * max(1, truth.abs().max())


@pytest.mark.parametrize("tile", [(1, 1), (1, 99), (5, 3), (99, 99)])
def test_the_tile_makes_no_difference(tile):
    for ours, truth in both_ways(*maps(2, 6, 13, 22), 6, 2, lambda *a: by_tiles(*a, tile)):
        assert (ours - truth).abs().max() < 5e-6


def test_by_hand():
    f1, f2 = torch.zeros(2, 1, 2, 9, 9).unbind()
    f1[0, :, 4, 4] = torch.tensor([1.0, 2.0])
    f2[0, :, 4, 6] = torch.tensor([3.0, 5.0])  # two to the right
    out = correlation(f1, f2, 2, 2)[0]
    assert out.shape == (9, 9, 9)
    assert out.nonzero().tolist() == [[5, 4, 4]]  # dy = 0 is the middle row of three, dx = 2 its last
    assert out[5, 4, 4] == (1 * 3 + 2 * 5) / 2  # the mean over the channels


def test_default_is_the_papers():
    f1, f2 = maps(1, 8, 6, 7)
    out = correlation(f1, f2)
    assert out.shape == (1, 441, 6, 7) and out.is_contiguous()
    assert (out[:, 220] - (f1 * f2).mean(1)).abs().max() < 1e-6


def test_symmetry():
    """x sees in x + d what x + d sees at -d."""
    f1, f2 = maps(2, 4, 12, 14)
    there = correlation(f1, f2, 4, 2).unflatten(1, (5, 5))
    back = correlation(f2, f1, 4, 2).unflatten(1, (5, 5)).flip(1, 2)
    for i in range(5):
        for j in range(5):
            dy, dx = 2 * i - 4, 2 * j - 4
            ours = there[:, i, j, max(0, -dy) : 12 - max(0, dy), max(0, -dx) : 14 - max(0, dx)]
            theirs = back[:, i, j, max(0, dy) : 12 - max(0, -dy), max(0, dx) : 14 - max(0, -dx)]
            assert (ours - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("D, s", [(4, 2), (1, 1), (4, 4), (0, 2)])
def test_gradcheck_once_and_twice(D, s):
    check_gradients(lambda f1, f2: correlation(f1, f2, D, s))


def test_gradcheck_across_tiles():
    check_gradients(lambda f1, f2: Correlation.apply(f1, f2, 1, (2, 3)))


def check_gradients(layer):
    f = tuple(maps(1, 2, 3, 4, dtype=torch.float64))
    assert torch.autograd.gradcheck(layer, f) and torch.autograd.gradgradcheck(layer, f)


@pytest.mark.parametrize("which", [0, 1])
def test_a_gradient_for_one_map_only(which):
    f = list(maps(2, 3, 9, 8))
    both = torch.autograd.grad(correlation(*f, 4, 2).square().sum(), f)
    f[1 - which].requires_grad_(False)
    assert torch.equal(torch.autograd.grad(correlation(*f, 4, 2).square().sum(), f[which])[0], both[which])
    f[which].requires_grad_(False)
    assert not correlation(*f, 4, 2).requires_grad


def test_a_map_with_itself():
    (f, _) = maps(1, 3, 6, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: correlation(f, f, 4, 2), (f,))


def test_memory_formats_and_views():
    f1, f2 = maps(2, 8, 10, 12)
    plain = correlation(f1, f2, 4, 2)
    last = correlation(f1.to(memory_format=torch.channels_last), f2.to(memory_format=torch.channels_last), 4, 2)
    view = correlation(f1.mT.contiguous().mT, f2.repeat_interleave(2, 1)[:, ::2], 4, 2)
    assert torch.equal(plain, last) and torch.equal(plain, view)
    expanded = f1[:1].expand(2, -1, -1, -1)
    assert torch.equal(correlation(expanded, f2, 4, 2)[0], plain[0])


def test_inputs_stay_as_they_were():
    f1, f2 = maps(1, 4, 8, 8)
    copies = f1.clone(), f2.clone()
    correlation(f1, f2, 4, 2).sum().backward()
    assert torch.equal(f1, copies[0]) and torch.equal(f2, copies[1])


def test_an_empty_batch():
    f1, f2 = maps(0, 4, 8, 9)
    out = correlation(f1, f2)
    assert out.shape == (0, 441, 8, 9)
    assert [g.shape for g in torch.autograd.grad(out.sum(), (f1, f2))] == [f1.shape, f2.shape]


@pytest.mark.parametrize("dtype, tolerance", [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_rounds_once(dtype, tolerance):
    f1, f2 = maps(1, 64, 20, 34, dtype=dtype)
    for k, (ours, truth) in enumerate(both_ways(f1, f2, 8, 2)):
        assert ours.dtype == dtype
        # Gradients also see the rounded gradient of the output, and add up over tiles.
        assert (ours - truth).abs().max() <= (1 if k == 0 else 4) * tolerance * truth.abs().max()


def test_float16_does_not_overflow():
    f = torch.full((1, 256, 4, 4), 100.0, dtype=torch.float16)  # summed before the mean: 2.56 million
    assert correlation(f, f, 0, 1).eq(10_000).all()


def test_autocast():
    f1, f2 = maps(1, 16, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        out = correlation(f1, f2.bfloat16(), 4, 2)  # types may differ here, as in any product
        double = correlation(f1.double(), f2.double(), 4, 2)
    assert (out.dtype, double.dtype) == (torch.bfloat16, torch.float64)
    assert (out - correlation(f1, f2, 4, 2)).abs().max() < 2e-2
    assert [g.dtype for g in torch.autograd.grad(out.sum(), (f1, f2))] == [torch.float32] * 2


@pytest.mark.parametrize("layer", [correlation, correlation_loop])
@pytest.mark.parametrize(
    "f1, f2, D, s, says",
    [
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), 5, 2, "5 and 2"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), 4, 0, "4 and 0"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), -2, 2, "-2 and 2"),
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4), 4, 2, "f1[None]"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5), 4, 2, "(1, 2, 4, 5)"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(2, 2, 4, 4), 4, 2, "(2, 2, 4, 4)"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4).double(), 4, 2, "torch.float64"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4).int(), 4, 2, "torch.int32"),
        (torch.zeros(1, 0, 4, 4), torch.zeros(1, 0, 4, 4), 4, 2, "(1, 0, 4, 4)"),
        ([[1.0]], torch.zeros(1, 2, 4, 4), 4, 2, "list"),
    ],
)
def test_errors(layer, f1, f2, D, s, says):
    with pytest.raises(ValueError) as error:
        layer(f1, f2, D, s)
    assert says in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_on_cuda(dtype, tolerance, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    f1, f2 = maps(2, 64, 33, 41, dtype=dtype)
    c1, c2 = (f.detach().cuda().requires_grad_() for f in (f1, f2))
    out, truth = correlation(c1, c2), correlation_loop(f1.double(), f2.double())
    assert (out.cpu() - truth).abs().max() < tolerance * truth.abs().max()
    ours = torch.autograd.grad(out, (c1, c2), torch.ones_like(out))
    theirs = torch.autograd.grad(truth, (f1, f2), torch.ones_like(truth))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.cpu() - b).abs().max() < 4 * tolerance * b.abs().max()
