"""The pairs that the course renders itself, by name: "chairs", "things", "things-final", "even", "small" (small
motions), or a mixture such as "chairs+things"."""

from functools import partial

import torch

from cvdl.errors import InvalidInput
from cvdl.flow.data.chairs import Chairs, FlowBatch
from cvdl.flow.data.things3d import Things

RENDERED = {
    "chairs": Chairs,
    "things": Things,
    "things-final": partial(Things, final=True),
    "even": partial(
        Chairs, chairs=(2, 5), even=80.0
    ),  # few chairs; motions of all lengths up to 80 px, equally frequent
    "small": partial(Chairs, motion=0.2),  # most pixels move by less than 1 px, median 0.8 px (384 × 512)
}


def rendered(kind, **options):
    """What renders pairs of a kind: has `pairs(indices)` and `batch(start, count)`.

    options: those of Chairs and Things alike: size, split, seed, device, motion, window, varied.
    Raises CourseError for another kind.
    """
    parts = kind.split("+")
    for part in parts:
        if part not in RENDERED:
            raise InvalidInput(f"There is no kind {part!r} of rendered pairs; there are {', '.join(RENDERED)}.")
    sources = [RENDERED[part](**options) for part in parts]
    return sources[0] if len(sources) == 1 else Mixed(sources)


class Mixed:
    """Several sources in turn: pair i comes from source i modulo their number."""

    def __init__(self, sources):
        self.sources = sources

    def batch(self, start, count):
        return self.pairs(range(start, start + count))

    def pairs(self, indices):
        indices = torch.as_tensor(list(indices))
        order, drawn = [], []
        for turn, source in enumerate(self.sources):
            places = (indices % len(self.sources) == turn).nonzero()[:, 0]
            if len(places):
                order.append(places)
                drawn.append(source.pairs(indices[places].tolist()))
        back = torch.cat(order).argsort().to(drawn[0].flow.device)
        return FlowBatch(*(torch.cat(parts)[back] for parts in list(zip(*drawn, strict=True))[:6]))
