"""The common yardstick: its pairs, what is measured on them, and how it is summarised."""

import math

import pytest
import torch

from cvdl.flow.data.rendered import rendered
from cvdl.flow.metrics import SPEEDS, epe
from cvdl.train import yardstick
from cvdl.train.yardstick import Yardstick, summarise

SIZE = (32, 48)


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    return Yardstick(tmp_path_factory.mktemp("pools"), 8, SIZE)


class Constant(torch.nn.Module):
    """A network that predicts one motion everywhere."""

    def forward(self, image1, image2):
        return torch.tensor([1.0, -2.0], dtype=torch.float16).view(1, 2, 1, 1).expand(1, 2, *image1.shape[-2:])


def test_names_and_kinds(eight):
    names = [eight.name(i) for i in range(len(eight))]
    assert names == [
        *("chairs/00", "things/00", "even/00", "chairs/01", "things/01", "even/01", "chairs/02", "things/02")
    ]
    assert {kind: len(pool) for kind, pool in eight.pools.items()} == {"chairs": 3, "things": 3, "even": 2}


def test_all_of_it_is_24_24_and_16_pairs():
    kinds = [yardstick.KINDS[i % len(yardstick.KINDS)] for i in range(yardstick.COUNT)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"chairs": 24, "things": 24, "even": 16}


def test_pairs_are_held_out_and_the_same_for_every_run(eight):
    assert {pool.about["split"] for pool in eight.pools.values()} == {"test"}
    for i, kind, number in ((0, "chairs", 0), (4, "things", 1), (5, "even", 1)):
        wanted = rendered(kind, size=SIZE, split="test", seed=yardstick.SEED, varied=True).pairs([number])
        torch.testing.assert_close(eight.pairs([i]).flow, wanted.flow, rtol=2**-11, atol=1e-6)


def test_errors_are_those_of_the_metrics(eight):
    rows = eight.measure(Constant())
    assert [row["sample"] for row in rows] == [eight.name(i) for i in range(8)]
    for i, row in enumerate(rows):
        flow = eight.pairs([i]).flow
        error = ((flow[:, 0] - 1) ** 2 + (flow[:, 1] + 2) ** 2).sqrt()
        speed = flow.norm(dim=1)
        assert row["epe"] == pytest.approx(error.mean().item(), rel=1e-5)
        assert row["epe"] == pytest.approx(epe(Constant()(flow, flow).float(), flow).item())
        assert row["zero_flow"] == pytest.approx(speed.mean().item(), rel=1e-5)
        for band, (low, high) in SPEEDS.items():
            inside = (speed >= low) & (speed < high)
            wanted = error[inside].mean().item()
            assert row[band] == pytest.approx(wanted, rel=1e-5, nan_ok=True) and math.isnan(row[band]) == (
                not inside.any()
            )
    assert any(math.isnan(row["s40+"]) for row in rows)  # hardly anything moves that far in such small frames


def test_fewer_pairs_are_the_first_ones(eight):
    complete = eight.measure(Constant())
    for count in (1, 3):
        for row, wanted in zip(eight.measure(Constant(), count), complete[:count], strict=True):
            assert row == pytest.approx(wanted, nan_ok=True)
    assert len(eight.measure(Constant(), 100)) == 8


ROWS = [
    {"sample": "chairs/00", "epe": 1.0, "zero_flow": 4.0, "s0-10": 1.0, "s10-40": math.nan, "s40+": math.nan},
    {"sample": "things/00", "epe": 2.0, "zero_flow": 5.0, "s0-10": 2.0, "s10-40": 3.0, "s40+": math.nan},
    {"sample": "chairs/01", "epe": 6.0, "zero_flow": 9.0, "s0-10": 3.0, "s10-40": 7.0, "s40+": math.nan},
]


def test_summary():
    summary = summarise(ROWS)
    assert summary["epe"] == 3 and summary["zero_flow"] == 6 and summary["pairs"] == 3
    assert summary["standard_error"] == round((7 / 3) ** 0.5, 4)  # variance (4 + 1 + 9) / 2 = 7, of three pairs
    assert summary["chairs"] == {"epe": 3.5, "standard_error": 2.5, "zero_flow": 6.5}
    assert summary["things"] == {"epe": 2.0, "standard_error": None, "zero_flow": 5.0}
    assert summary["s0-10"] == 2 and summary["s10-40"] == 5 and summary["s40+"] is None
