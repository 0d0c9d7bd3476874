"""What a recipe is made of: stages, whatever is learned in them.

A kind of stage says where its batches come from, what is measured, and what its card tells: see `Stage`.
"""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

from cvdl.errors import InvalidInput

# Steps, and where the rate is halved, as parts of the whole.  FlowNet 2.0 (Ilg et al., CVPR 2017), section 3: S_short
# 600k steps, S_long 1.2M, S_fine 500k after S_long.
HALVINGS = {
    "S_short": (300 / 600, 400 / 600, 500 / 600),
    "S_long": (400 / 1200, 600 / 1200, 800 / 1200, 1000 / 1200),
    "S_fine": (200 / 500, 300 / 500, 400 / 500),
    "constant": (),
}


def all_free(net):
    net.requires_grad_(True)


@dataclass(frozen=True)
class Stage:
    """One piece of a recipe.  What it learns from is told by its kinds, such as FlowStage."""

    name: str
    steps: int
    loss: Callable  # (net, batch) -> loss to minimise, error to show
    prepare: Callable = all_free  # (net): which parameters learn, where they begin
    batch: int = 8  # pairs or clips a step, over all processes
    reuse: int = (
        1  # steps for which rendered ones are kept, augmented anew each time: rendering may cost more than learning
    )
    rate: float = 1e-4
    schedule: str = "S_short"  # or "S_long", "S_fine", "cosine", "constant"
    warmup: int = 0  # steps in which the rate rises from nothing
    decay: float = 4e-4  # weight decay, AdamW's
    clip: float = 1.0  # greatest norm of the gradient
    ema: float = 0.999  # of the weights that are kept: their exponential moving average over the steps

    measure = "error"  # what the error is: the name of its column in the log

    def source(self, split, seed, device):
        """What gives batches by their numbers: has `pairs(numbers)`.  split: "train", or "test" for held-out ones."""
        raise NotImplementedError

    def at_once(self, device):
        """How many samples are made in one go, at the least those of a batch."""
        return 1

    def vary(self, batch, numbers):
        """What a step sees of a batch, which may have been used before.  numbers: those of this time's samples."""
        return batch

    def shown(self, error):
        """The error in words, for the progress bar."""
        return f"error {error:.3f}"

    def data(self):
        """What its card says of the data."""
        raise NotImplementedError

    def summary(self, errors, source):
        """What its card says of held-out samples.  errors: (samples,), of source.pairs(range(samples))."""
        return {
            self.measure: round(errors.mean().item(), 4),
            "standard_error": round((errors.std() / len(errors) ** 0.5).item(), 4),
        }


def settings(stage):
    """What a stage does, as {name of a field: text}: equal for equal stages, in any process."""
    return {field.name: in_words(getattr(stage, field.name)) for field in fields(stage)}


def in_words(value):
    """A value of a recipe as text.  Functions, of which repr shows an address, are named."""
    if isinstance(value, partial):
        arguments = [in_words(each) for each in value.args]
        arguments += [f"{name}={in_words(each)}" for name, each in value.keywords.items()]
        return f"{in_words(value.func)}({', '.join(arguments)})"
    return getattr(value, "__qualname__", None) or repr(value)


def rate_factor(stage, steps, step):
    """What the stage's rate is multiplied with at a step: warm-up, then the schedule scaled to the stage's length.

    Warm-up has its own length, but half of a stage that was made short at most.
    """
    warmup = min(stage.warmup, steps // 2)
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = step / steps
    if stage.schedule == "cosine":
        return rise * (1 + math.cos(math.pi * min(1.0, done))) / 2
    return rise * 0.5 ** bisect.bisect_right(HALVINGS[stage.schedule], done)


@dataclass(frozen=True)
class Recipe:
    """A network and its stages in three sizes."""

    title: str
    net: Callable | dict  # () -> the network; or profile -> such a function
    stages: dict  # profile -> list of Stage

    def build(self, profile):
        """The network, new."""
        return (self.net[profile] if isinstance(self.net, dict) else self.net)()

    def stages_of(self, profile):
        """The list of its stages.  Raises CourseError for a profile it does not have."""
        if profile not in self.stages:
            raise InvalidInput(f"This recipe has no profile {profile!r}; it has: {', '.join(self.stages)}.")
        return self.stages[profile]
