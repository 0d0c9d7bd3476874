"""What a recipe is made of: stages and their hyper-parameters.

A kind of stage adds its data, how the network is called, and what is measured: see `cvdl.train.recipes.flow.FlowStage` and
`cvdl.train.recipes.gestures.GestureStage`.
"""

import ast
import bisect
import dataclasses
import math
import statistics
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

from cvdl.errors import InvalidInput

# Where the learning rate is halved, as shares of the number of steps.  FlowNet 2.0 (Ilg et al., CVPR 2017), section 3:
# S_short has 600k steps, S_long 1.2M, and S_fine 500k after S_long.
HALVINGS = {
    "S_short": (300 / 600, 400 / 600, 500 / 600),
    "S_long": (400 / 1200, 600 / 1200, 800 / 1200, 1000 / 1200),
    "S_fine": (200 / 500, 300 / 500, 400 / 500),
    "constant": (),
}
SCHEDULES = (*HALVINGS, "cosine", "one-cycle")
WARMUP_SHARE = 0.05  # of a one-cycle schedule


def unfreeze_all(net):
    net.requires_grad_(True)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of a recipe.  `cvdl train --set FIELD=VALUE` overrides the fields that hold numbers, words or tuples."""

    name: str
    predict_with: Callable  # (net, batch) -> output: how the network is called
    loss: Callable  # (output of predict, batch) -> loss to minimise, error to report
    prepare: Callable = unfreeze_all  # (net): selects the parameters that learn, and may initialise some of them

    steps: int
    batch: int = 8  # samples per step, over all processes
    steps_per_batch: int = 1  # steps for which rendered samples are kept, with a new augmentation each time
    lr: float = 1e-4  # peak learning rate
    schedule: str = "S_short"  # one of SCHEDULES
    warmup: int = 0  # steps in which the learning rate rises linearly from 0
    weight_decay: float = 4e-4  # of AdamW
    max_grad_norm: float | None = 1.0  # gradients are clipped to this global norm; None: they are not
    ema_decay: float = 0.999  # of the exponential moving average of the weights, which is what is kept

    held_out: int = 64  # held-out samples that are measured at the start and the end
    held_out_per_row: int = 64  # of these, how many are measured for the log

    metric = "error"  # what the error is: the name of its column in the log

    def dataset(self, split, seed, device, pools, deadline=None):
        """What gives batches by sample indices: an object with `pairs(indices)`.

        Args:
            split: "train", or "test" for held-out samples.
            seed: int, or a sequence of them.
            pools: the folder for pools of rendered pairs.
            deadline: a time of `time.monotonic` after which no more pairs are rendered; None: there is none.

        Raises TimeIsUp after the deadline, if pairs are missing.
        """
        raise NotImplementedError

    def augment_batch(self, batch, indices):
        """The batch that a step sees."""
        return batch

    def predict(self, net, batch):
        """Call the network on a batch -> the argument of the loss."""
        return self.predict_with(net, batch)

    def evaluate(self, net, dataset, count):
        """Errors on held-out samples 0 … count - 1, one by one -> rows: [{"sample": name, metric: error, …}]."""
        errors = (self.loss(self.predict(net, batch), batch)[1] for batch in (dataset.pairs([i]) for i in range(count)))
        return [{"sample": str(i), self.metric: error.item()} for i, error in enumerate(errors)]

    def format_metric(self, error):
        """The error as text for the progress bar."""
        return f"error {error:.3f}"

    def describe_error(self, rows):
        """The mean error over the rows of `evaluate`, as text."""
        return mean_text(rows, self.metric, "error", "")

    def describe_data(self, dataset):
        """What the card reports about the data: a dict."""
        raise NotImplementedError

    def summarise(self, rows):
        """What the card reports about the rows of `evaluate`: a dict."""
        return mean_and_error([row[self.metric] for row in rows], self.metric)


def mean_and_error(values, name):
    """The mean of the values that are not NaN and its standard error, rounded: {name: …, "standard_error": …}."""
    known = [value for value in values if not math.isnan(value)]
    error = statistics.stdev(known) / len(known) ** 0.5 if len(known) > 1 else None
    mean = round(statistics.mean(known), 4) if known else None
    return {name: mean, "standard_error": None if error is None else round(error, 4)}


def mean_text(rows, column, name, unit):
    """The mean of a column and its standard error as text, such as "EPE 3.21 ± 0.40 px"."""
    summary = mean_and_error([row[column] for row in rows], "mean")
    error = "" if summary["standard_error"] is None else f" ± {summary['standard_error']:.3g}"
    return f"{name} {summary['mean']:.4g}{error}{unit} on {len(rows)} samples"


def settings(stage):
    """A stage as {field: text}: equal for equal stages, in any process."""
    return {field.name: as_text(getattr(stage, field.name)) for field in fields(stage)}


def as_text(value):
    """A value of a recipe as text.  Functions, whose repr contains an address, are named."""
    if isinstance(value, partial):
        arguments = [as_text(each) for each in value.args]
        arguments += [f"{name}={as_text(each)}" for name, each in value.keywords.items()]
        return f"{as_text(value.func)}({', '.join(arguments)})"
    return getattr(value, "__qualname__", None) or repr(value)


def lr_factor(stage, steps, step):
    """The factor on the stage's learning rate at a step: warm-up, then the schedule stretched to the stage's length.

    The warm-up has its own length, but at most half of a stage that was shortened by --scale.
    """
    warmup = min(stage.warmup, steps // 2)
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    done = step / steps
    if stage.schedule == "one-cycle":  # Smith and Topin, 2019: linearly up and down to zero
        return min((done + 1 / steps) / WARMUP_SHARE, (1 - done) / (1 - WARMUP_SHARE), 1.0)
    if stage.schedule == "cosine":
        return rise * (1 + math.cos(math.pi * min(1.0, done))) / 2
    return rise * 0.5 ** bisect.bisect_right(HALVINGS[stage.schedule], done)


@dataclass(frozen=True)
class Recipe:
    """A network and its stages in three sizes."""

    title: str
    net: Callable | dict  # () -> the network; or {profile: such a function}
    stages: dict  # {profile: list of Stage}

    def build(self, profile):
        """The network, newly initialised."""
        return (self.net[profile] if isinstance(self.net, dict) else self.net)()

    def stages_of(self, profile, overrides=()):
        """The stages of a profile, with `overrides` applied: texts such as "lr=3e-4" or "joint.batch=4".

        Raises InvalidInput for a profile that the recipe does not have, and for an override that does not fit.
        """
        if profile not in self.stages:
            raise InvalidInput(f"This recipe has no profile {profile!r}; it has: {', '.join(self.stages)}.")
        stages = self.stages[profile]
        for text in overrides:
            stages = override(stages, text)
        return stages


def override(stages, text):
    """Stages with one field changed.

    text: FIELD=VALUE for all stages, or STAGE.FIELD=VALUE for one.  FIELD may lead into a nested dataclass:
    augment.noise=0.
    """
    path, equals, value = text.partition("=")
    path = path.strip().split(".")
    if not equals or not all(path):
        raise InvalidInput(f"--set takes FIELD=VALUE or STAGE.FIELD=VALUE, such as lr=3e-4; it was given {text!r}.")
    names = [stage.name for stage in stages]
    if len(path) > 1 and path[0] not in {*names, *(field for stage in stages for field in field_types(type(stage)))}:
        raise InvalidInput(f"--set {text}: there is no stage {path[0]!r}; there are {', '.join(names)}.")
    only = path.pop(0) if len(path) > 1 and path[0] in names else None
    return [
        replace_field(stage, path, value.strip(), text) if only in (None, stage.name) else stage for stage in stages
    ]


def replace_field(owner, path, value, text):
    kinds = field_types(type(owner))
    name, *rest = path
    if name not in kinds:
        raise InvalidInput(f"--set {text}: there is no field {name!r}; there are {', '.join(sorted(kinds))}.")
    if rest:
        nested = getattr(owner, name)
        if not dataclasses.is_dataclass(nested):
            raise InvalidInput(f"--set {text}: {name} is {nested!r} and has no fields.")
        return dataclasses.replace(owner, **{name: replace_field(nested, rest, value, text)})
    return dataclasses.replace(owner, **{name: parse(value, name, kinds[name], getattr(owner, name), text)})


def parse(value, name, kinds, before, text):
    """Convert the text for a field into its value.  Raises InvalidInput if it does not fit.

    kinds: the types it may have; before: what the field holds now; text: the argument of --set, for messages.
    """
    try:
        parsed = ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError):
        parsed = value  # a word needs no quotation marks
    if type(parsed) is int and float in kinds:
        parsed = float(parsed)
    if type(parsed) not in kinds:
        wanted = " or ".join(WORDS[kind] for kind in kinds if kind in WORDS)
        if dataclasses.is_dataclass(before):
            example = f"; set its fields one by one, as in {name}.{fields(before)[0].name}=VALUE"
        else:
            example = f", such as {name}={as_text(before)}"
        raise InvalidInput(f"--set {text}: {name} must be {wanted}{example}.")
    if name == "schedule" and parsed not in SCHEDULES:
        raise InvalidInput(f"--set {text}: there is no schedule {parsed!r}; there are {', '.join(SCHEDULES)}.")
    if type(parsed) is int and parsed < (least := 0 if name in MAY_BE_0 else 1):
        raise InvalidInput(f"--set {text}: {name} must be {least} or more.")
    if isinstance(parsed, float) and not (0 <= parsed < math.inf):
        raise InvalidInput(f"--set {text}: {name} must be a finite number, 0 or more.")
    was_numbers = isinstance(parsed, tuple) and before and numbers(before)
    if was_numbers and (len(parsed) != len(before) or not numbers(parsed)):
        raise InvalidInput(f"--set {text}: {name} must be {len(before)} numbers, such as {before}.")
    if isinstance(parsed, dict) and not (parsed and numbers(parsed.values()) and min(parsed.values()) > 0):
        raise InvalidInput(f"--set {text}: {name} must have at least one entry, and numbers above 0 as values.")
    return parsed


# Kinds of values, in the order in which a message names them.
WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "several numbers, as in (256, 320)",
    dict: "shares, as in {'chairs': 0.5, 'things': 0.5}",
    type(None): "None",
}
MAY_BE_0 = ("warmup", "seed")  # other whole numbers are counts of 1 or more


def numbers(values):
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)


def field_types(kind):
    """{field: the types its values may have}, of those fields of a dataclass that text can set or lead into.

    A stage's name is none of them: it is the name of a folder.
    """
    found = {}
    for name, hint in typing.get_type_hints(kind).items():
        if name in {field.name for field in fields(kind)} - {"name"}:
            options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            if all(option in WORDS or dataclasses.is_dataclass(option) for option in options):
                found[name] = options
    return found
