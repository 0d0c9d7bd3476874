"""A recipe that trains in seconds, and what the tests of training share."""

from contextlib import contextmanager
from functools import partial

import lightning.fabric  # noqa: F401  its log goes to what is sys.stderr now, not to a test's that is closed later

from cvdl.flow.data.augment import Augment
from cvdl.flow.models.spynet import SPyNet
from cvdl.train.recipes.flow import FlowStage, add_level, use_levels
from cvdl.train.recipes.flow_losses import pyramid_loss
from cvdl.train.stages import Recipe

SIZE = (32, 48)
FEW = {"SAMPLES": 3, "HELD_OUT": 2}  # held-out pairs, and measurements on them: what `cvdl.train.loop` is set to


def tiny(steps=8, loss=pyramid_loss, **options):
    """Two levels of SPyNet one after the other, then both together."""
    common = dict(steps=steps, batch=2, steps_per_batch=2, lr=1e-3, weight_decay=0.0, schedule="cosine", warmup=2)
    common |= dict(mixture={"chairs": 1.0}, pairs=8, size=SIZE, augment=Augment(geometric=False))
    common |= dict(loss=loss, varied=False, yardstick_size=SIZE, held_out=3) | options
    prepare = dict(
        level0=partial(use_levels, count=1), level1=partial(add_level, count=2), joint=partial(use_levels, count=2)
    )
    stages = [FlowStage(name=name, prepare=how, **common) for name, how in prepare.items()]
    return Recipe("tiny", partial(SPyNet, 2), {"quick": stages})


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
