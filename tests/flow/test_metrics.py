"""Metrics against loops over pixels, and against known numbers of real pairs."""

import math

import pytest
import torch

from cvdl.errors import CourseError
from cvdl.flow import angular_error, epe, fl_all
from cvdl.flow.metrics import epe_by_speed
from tests.flow import pair, real

METRICS = [epe, angular_error, fl_all]


def sample(B=2, H=6, W=7, size=8.0):
    torch.manual_seed(3)
    flow, truth = size * torch.randn(2, B, 2, H, W)
    return flow, truth, torch.rand(B, 1, H, W) > 0.4


def by_loop(flow, truth, valid):
    """The definitions, one pixel after the other -> lists of EPE, degrees, outliers, speeds."""
    rows = []
    for b, _, y, x in valid.nonzero().tolist():
        (u, v), (p, q) = flow[b, :, y, x].tolist(), truth[b, :, y, x].tolist()
        error, speed = math.hypot(u - p, v - q), math.hypot(p, q)
        cosine = (u * p + v * q + 1) / math.sqrt((u * u + v * v + 1) * (p * p + q * q + 1))
        rows.append((error, math.degrees(math.acos(min(1, cosine))), error > 3 and error > 0.05 * speed, speed))
    return list(zip(*rows, strict=True))


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize("size", [0.5, 8.0, 80.0])
def test_all_against_a_loop(size):
    flow, truth, valid = sample(size=size)
    errors, degrees, outliers, speeds = by_loop(flow.double(), truth.double(), valid)
    assert epe(flow, truth, valid).item() == pytest.approx(mean(errors), rel=1e-5)
    assert angular_error(flow, truth, valid).item() == pytest.approx(mean(degrees), rel=1e-4)
    assert fl_all(flow, truth, valid).item() == pytest.approx(100 * mean(outliers), rel=1e-5)
    for (name, value), (low, high) in zip(
        epe_by_speed(flow, truth, valid).items(), ((0, 10), (10, 40), (40, 1e9)), strict=True
    ):
        band = [e for e, s in zip(errors, speeds, strict=True) if low <= s < high]
        assert value == pytest.approx(mean(band), rel=1e-5) if band else math.isnan(value), name


def test_by_hand():
    zero, truth = torch.zeros(2, 1, 2), torch.tensor([[[3.0, 0.0]], [[4.0, 1.0]]])
    assert epe(zero, truth).item() == 3.0
    assert epe(zero, truth, reduction="none").tolist() == [[[5.0, 1.0]]]
    assert angular_error(zero, truth, reduction="none")[0, 0, 1].item() == pytest.approx(45)
    assert fl_all(zero, truth).item() == 50
    # 4 px off is no outlier where the truth is 100 px long, and exactly 3 px off never is.
    assert fl_all(torch.tensor([104.0, 3.0]).view(2, 1, 1), torch.tensor([100.0, 3.0]).view(2, 1, 1)).item() == 0
    assert fl_all(torch.full((2, 1, 1), 0.0), torch.tensor([3.0, 0.0]).view(2, 1, 1)).item() == 0


def test_angles_keep_their_digits_near_zero():
    truth = torch.zeros(2, 1, 1)
    assert angular_error(truth + torch.tensor([1e-4, 0]).view(2, 1, 1), truth).item() == pytest.approx(
        math.degrees(1e-4)
    )
    assert angular_error(truth, truth).item() == 0


@pytest.mark.parametrize("metric", METRICS)
def test_nan_outside_the_mask_does_no_harm(metric):
    flow, truth, valid = sample()
    expected = metric(flow, truth, valid)
    broken = truth.masked_fill(~valid, math.nan)
    assert torch.equal(metric(flow.masked_fill(~valid, math.inf), broken, valid), expected)
    if metric is not fl_all:
        flow.requires_grad_()
        for values in (metric(flow, broken, valid), metric(flow, broken, valid, "none").sum()):
            gradient = torch.autograd.grad(values, flow)[0]
            assert gradient.isfinite().all() and not gradient.masked_fill(valid, 0).any()
    assert metric(flow, broken).isnan() or metric is fl_all  # without a mask it is told


@pytest.mark.parametrize("metric", [epe, angular_error])
def test_gradient_is_zero_at_the_truth(metric):
    truth = torch.randn(1, 2, 3, 3)
    flow = truth.clone().requires_grad_()
    assert not torch.autograd.grad(metric(flow, truth), flow)[0].any()


@pytest.mark.parametrize("metric", METRICS)
def test_masks_and_leading_dimensions(metric):
    flow, truth, valid = sample()
    same = metric(flow, truth, valid)
    assert torch.equal(metric(flow, truth, valid[:, 0]), same) and same.ndim == 0
    assert torch.equal(metric(flow[None], truth[None], valid[None]), same)
    assert torch.equal(metric(flow[0], truth[0], valid[0, 0]), metric(flow[:1], truth[:1], valid[:1]))
    assert torch.equal(metric(flow, truth), metric(flow, truth, torch.ones_like(valid)))


def test_the_map_has_the_shape_of_the_mask_and_zeros_outside():
    flow, truth, valid = sample()
    errors = epe(flow, truth, valid, "none")
    assert errors.shape == valid.shape and not errors[~valid].any()
    assert torch.equal(errors[valid].mean(), epe(flow, truth, valid))
    assert torch.allclose(errors[valid], epe(flow, truth, reduction="none")[valid])


def test_half_precision_is_measured_in_float():
    flow, truth = torch.full((2, 100, 100), 300.0).half(), torch.zeros(2, 100, 100).half()
    assert epe(flow, truth).dtype == torch.float32 and epe(flow, truth).item() == pytest.approx(300 * 2**0.5)


@pytest.mark.parametrize("metric", [*METRICS, epe_by_speed])
def test_bad_input_is_told(metric):
    flow, truth, valid = sample()
    for arguments, word in (
        ((flow, truth, torch.zeros_like(valid)), "No pixel"),
        ((flow, truth[..., :-1]), "(2, 2, 6, 6)"),
        ((flow, truth, valid.float()), "bool"),
        ((flow, truth, valid[..., :-1]), "(2, 1, 6, 6)"),
        ((flow, truth, valid.expand(2, 2, 6, 7)), "(2, 1, 6, 7)"),
        ((flow.permute(0, 2, 3, 1), truth), "permute"),
        ((flow, truth.numpy()), "ndarray"),
        ((flow[..., :0], truth[..., :0]), "No pixel"),
    ):
        with pytest.raises(CourseError) as error:
            metric(*arguments)
        assert word in str(error.value)
    with pytest.raises(CourseError, match="sum"):
        epe(flow, truth, reduction="sum")


ZERO = {"RubberWhale": 1.26, "Grove2": 3.09, "Venus": 3.80, "alley_1": 2.98, "00001": 4.31, "00003": 2.99}


@real
@pytest.mark.parametrize("name, number", ZERO.items())
def test_zero_flow_on_real_pairs(name, number):
    _, _, truth, valid = pair(name)
    assert round(epe(torch.zeros_like(truth), truth, valid).item(), 2) == number
