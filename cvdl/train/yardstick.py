"""The common yardstick: the same held-out pairs for every stage of every flow recipe.

64 pairs of 384 × 512 pixels that no recipe trains on: 24 of chairs, 24 of things, and 16 with motions of all lengths up to
80 px.  Each stage is measured on them at its start and its end, so that one can see what it learned, and what it forgot.
Errors are kept pair by pair, so that two networks can be compared on the same pairs.
"""

import torch

from cvdl.flow.data.chairs import FULL
from cvdl.flow.data.pool import Pool
from cvdl.flow.metrics import SPEEDS, epe, epe_by_speed
from cvdl.train.stages import mean_and_error

KINDS = ("chairs", "things", "even", "chairs", "things", "even", "chairs", "things")  # over and over
COUNT = 64
SEED = 11


class Yardstick:
    """Held-out pairs, numbered 0 … count - 1; those of all kinds are mixed, so that a few of them are representative."""

    def __init__(self, folder, count=COUNT, size=FULL, device="cpu", varied=True, deadline=None):
        self.kinds = [KINDS[i % len(KINDS)] for i in range(count)]
        self.places = [self.kinds[:i].count(kind) for i, kind in enumerate(self.kinds)]
        options = dict(size=size, split="test", seed=SEED, varied=varied, device=device, deadline=deadline)
        self.pools = {k: Pool.open(folder, k, self.kinds.count(k), **options) for k in dict.fromkeys(self.kinds)}

    def __len__(self):
        return len(self.kinds)

    def pairs(self, indices):
        """The pair of one index: Pairs with B = 1."""
        (i,) = indices
        return self.pools[self.kinds[i]].pairs([self.places[i]])

    def name(self, i):
        return f"{self.kinds[i]}/{self.places[i]:02}"

    @torch.no_grad()
    def measure(self, net, count=None):
        """Errors of a network in eval mode on the first `count` pairs.

        Returns:
            A row for each pair: sample (its name), epe, zero_flow (the error of predicting no motion), and the end-point
            error in each speed band, NaN where no pixel is in the band.
        """
        rows = []
        for i in range(min(count or len(self), len(self))):
            pairs = self.pairs([i])
            flow = net(pairs.image1, pairs.image2).float()
            zero = pairs.flow.norm(dim=1).mean().item()
            row = {"sample": self.name(i), "epe": epe(flow, pairs.flow).item(), "zero_flow": zero}
            rows.append(row | epe_by_speed(flow[0], pairs.flow[0], torch.ones_like(pairs.flow[0, 0], dtype=torch.bool)))
        return rows


def summarise(rows):
    """Means over all pairs, per kind, and per speed band, with standard errors of the first two."""
    summary = means(rows) | {"pairs": len(rows)}
    for kind in dict.fromkeys(row["sample"].partition("/")[0] for row in rows):
        summary[kind] = means([row for row in rows if row["sample"].startswith(f"{kind}/")])
    return summary | {band: mean(rows, band) for band in SPEEDS}


def means(rows):
    return mean_and_error([row["epe"] for row in rows], "epe") | {"zero_flow": mean(rows, "zero_flow")}


def mean(rows, column):
    return mean_and_error([row[column] for row in rows], column)[column]
