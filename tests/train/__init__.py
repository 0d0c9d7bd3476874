"""A recipe that trains in seconds, and what the tests of training share."""

from contextlib import contextmanager
from functools import partial

import lightning.fabric  # noqa: F401  its log goes to what is sys.stderr now, not to a test's that is closed later
import pytest

from cvdl.flow.data.augment import Augment
from cvdl.flow.data.chairs import Chairs
from cvdl.flow.nets.spynet import SPyNet
from cvdl.train.flow import FlowStage, free_new_level, up_to_level
from cvdl.train.stages import Recipe

SIZE = (16, 24)  # of level 0
FEW = {"SAMPLES": 3, "HELD_OUT": 2}  # held-out pairs, and measurements on them: what `cvdl.train.loop` is set to


def tiny(steps=8, loss=up_to_level, **options):
    """Two levels of SPyNet, then both together.  loss: of the levels."""
    common = dict(batch=2, rate=1e-3, decay=0.0, schedule="cosine", warmup=2, reuse=2)
    common |= dict(augment=Augment(places=False), window=SIZE) | options
    levels = [
        FlowStage(
            f"level{k}",
            steps,
            partial(loss, k=k),
            partial(free_new_level, k=k),
            size=(SIZE[0] * 2**k, SIZE[1] * 2**k),
            motion=3.0,
            **common,
        )
        for k in range(2)
    ]
    joint = FlowStage("joint", steps, partial(up_to_level, k=1), size=(32, 48), **common)
    return Recipe("tiny", partial(SPyNet, 2), {"quick": [*levels, joint]})


@contextmanager
def rendered_once():
    """Runs that see the same few pairs share them: what a pair shows depends on its number and the renderer alone."""
    made = {}

    def pairs(self, numbers, render=Chairs.pairs):
        key = self.split, self.seed, self.size, self.window, self.motion, tuple(numbers)
        if key not in made:
            made[key] = render(self, numbers)
        return type(made[key])(*(part.clone() for part in made[key]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chairs, "pairs", pairs)
        yield


@contextmanager
def full_disk(size):
    """As if no file could become longer than `size` bytes: writing more fails, in whatever library."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
