"""The loss of FlowNet counts its levels 1 : 1 : 1 : 2 : 4, and reads nothing outside the mask."""

import math

import numpy as np
import pytest
import torch

from cvdl.flow.losses import WEIGHTS, average_down, multiscale_epe
from tests.flow import smooth

SIZES = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]


def still(size=64, batch=1):
    return [torch.zeros(batch, 2, size // 2**k, size // 2**k) for k in range(2, 7)]


def to_the_right(pixels, batch=1):
    return torch.tensor([pixels, 0.0]).view(1, 2, 1, 1).expand(batch, 2, 64, 64).contiguous()


def by_loops(flows, truth, valid):
    """The same loss, pixel by pixel in Python."""
    B, _, H, W = truth.shape
    total = 0.0
    for flow, weight in zip(flows, (0.005, 0.01, 0.02, 0.08, 0.32), strict=True):
        h, w = flow.shape[-2:]
        for b, y, x in np.ndindex(B, h, w):
            cell = np.s_[b, :, y * H // h : (y + 1) * H // h, x * W // w : (x + 1) * W // w]
            known = valid[cell][0]
            if known.any():
                u, v = (truth[cell][c][known].mean() for c in (0, 1))
                total += weight * math.hypot(flow[b, 0, y, x] - u, flow[b, 1, y, x] - v) / 20 / B
    return total


def test_the_worked_number():
    loss = multiscale_epe(still(), to_the_right(20.0))
    assert loss.shape == () and loss.item() == pytest.approx(2.88, abs=1e-6)
    assert multiscale_epe(still(batch=3), to_the_right(20.0, batch=3)).item() == pytest.approx(2.88, abs=1e-6)
    assert multiscale_epe(still(), to_the_right(5.0)).item() == pytest.approx(2.88 / 4, abs=1e-6)


def test_levels_count_1_1_1_2_4_from_coarse_to_fine():
    each = []
    for wrong in range(5):
        flows = [torch.full_like(flow, 12.0 * (k == wrong)) for k, flow in enumerate(still())]
        each.append(multiscale_epe(flows, torch.zeros(1, 2, 64, 64)).item())
    assert [loss / each[4] for loss in reversed(each)] == pytest.approx([1, 1, 1, 2, 4])


@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_loops(masked):
    truth = smooth(2, 2, 64, 128, size=15.0, seed=1)
    flows = [smooth(2, 2, 64 // 2**k, 128 // 2**k, size=10.0, seed=k) for k in range(2, 7)]
    valid = torch.rand(2, 1, 64, 128, generator=torch.Generator().manual_seed(2)) > 0.7
    valid[0, :, :16, :32] = False  # whole points of the finer levels are unknown
    valid = valid if masked else torch.ones_like(valid)
    loss = multiscale_epe(flows, truth, valid if masked else None)
    numbers = ([flow.double().numpy() for flow in flows], truth.double().numpy(), valid.numpy())
    assert loss.item() == pytest.approx(by_loops(*numbers), rel=1e-5)


def test_nothing_is_read_outside_the_mask():
    truth, flows = smooth(1, 2, 64, 64, size=15.0), [flow.requires_grad_() for flow in still()]
    valid = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    valid[..., 8:40, 4:] = True
    clean = multiscale_epe(flows, truth.where(valid, 0), valid)
    wanted = torch.autograd.grad(clean, flows)
    dirty = multiscale_epe(flows, truth.where(valid, math.nan), valid)
    assert dirty.item() == clean.item() > 0
    for gradient, same in zip(torch.autograd.grad(dirty, flows), wanted, strict=True):
        assert gradient.isfinite().all() and torch.equal(gradient, same)
    assert not wanted[0][..., :2, :].any() and wanted[0][..., 2:10, 1:].any()


def test_the_gradient_of_a_right_flow_is_zero():
    flows = [torch.full_like(flow, 3.0).requires_grad_() for flow in still()]
    loss = multiscale_epe(flows, torch.full((1, 2, 64, 64), 3.0))
    assert loss.item() == 0 and not any(g.any() for g in torch.autograd.grad(loss, flows))


def test_the_truth_at_a_lower_resolution():
    truth = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)
    valid = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    valid[..., :2, :2], valid[..., 0, 2] = False, False
    mean, known = average_down(truth, valid, (2, 2))
    assert torch.equal(known[0, 0], torch.tensor([[False, True], [True, True]]))
    right = torch.tensor([(3 + 6 + 7) / 3, 10.5, 12.5])  # the values stay, as they are in full-size pixels
    torch.testing.assert_close(mean.masked_select(known.expand_as(mean)), torch.cat([right, right + 16]))
    assert torch.equal(average_down(truth, None, (4, 4))[0], truth)


def test_robust_by_hand():
    """One error of 1 at every point, and one 16 times as large, which counts three times and not 16 times."""
    one, far = (multiscale_epe(still(), to_the_right(20.0 * n), robust=(0.4, 0.01)).item() for n in (1, 16))
    assert one == pytest.approx(2.88 * 1.01**0.4, rel=1e-6) and one == pytest.approx(2.8915, abs=1e-4)
    assert far == pytest.approx(2.88 * 16.01**0.4, rel=1e-6) and far == pytest.approx(8.733, abs=1e-3)
    assert multiscale_epe(still(), to_the_right(7.0), robust=(1, 1e-9)).item() == pytest.approx(2.88 * 7 / 20)


def test_robust_reads_nothing_outside_the_mask_and_has_a_gradient_at_zero():
    valid = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    valid[..., :32] = True  # half of the frame; at 1/64 the one point counts whole
    flows = [flow.requires_grad_() for flow in still()]
    truth = to_the_right(20.0).where(valid, math.nan)
    loss = multiscale_epe(flows, truth, valid, robust=(0.5, 0.25))
    assert loss.item() == pytest.approx((2.88 / 2 + 0.16) * 1.25**0.5)
    right = multiscale_epe(flows, torch.zeros(1, 2, 64, 64), robust=(0.5, 0.25))
    assert right.item() == pytest.approx(2.88 * 0.5)
    assert all(g.isfinite().all() and not g.any() for g in torch.autograd.grad(right, flows))


def test_half_precision_is_summed_in_single():
    truth = to_the_right(20.0)
    loss = multiscale_epe([flow.bfloat16() for flow in still()], truth)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(2.88, abs=1e-6)


@pytest.mark.parametrize(
    "flows, truth, told",
    [
        (still()[:4], to_the_right(1.0), f"4 flows and {len(WEIGHTS)} weights"),
        (still(), to_the_right(1.0)[..., :60], r"64 × 60 cannot be averaged down to 16 × 16"),
        (still(), to_the_right(1.0, batch=2), r"one shape.*\(1, 2, 16, 16\).*\(2, 2, 16, 16\)"),
        (still(), to_the_right(1.0)[0], r"truth has to be \(B, 2, H, W\)"),
        ([flow[:, :1] for flow in still()], to_the_right(1.0), r"\(B, 2, H, W\)"),
    ],
)
def test_bad_input_says_what_to_do(flows, truth, told):
    with pytest.raises(ValueError, match=told):
        multiscale_epe(flows, truth)
    for robust in ((0.4, 0), (0.4,), (-1, 0.01)):
        with pytest.raises(ValueError, match="robust has to be two numbers above 0"):
            multiscale_epe(still(), to_the_right(1.0), robust=robust)
    with pytest.raises(ValueError, match="tensor of bool"):
        multiscale_epe(still(), to_the_right(1.0), torch.ones(1, 1, 64, 64))
