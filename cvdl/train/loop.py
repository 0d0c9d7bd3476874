"""The training loop: `cvdl train`.

It runs on Lightning Fabric, so the same recipe runs on a CPU, a GPU, or several of either.  Everything that is random in
a step follows from the seed, the stage and the step's number.  On the CPU, a run that was killed and resumed from its last
checkpoint therefore gives exactly the numbers of one that was not.  On CUDA it sees the same samples in the same order,
but the numbers agree only up to rounding: cuDNN picks the algorithms that are fastest at the time, and some gradients are
summed in no fixed order.  In a network that learns, such differences grow.
"""

import copy
import math
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from cvdl.errors import DataNotFound, InvalidInput, MissingDependency, NotFinite, TrainingDiverged, WriteFailed
from cvdl.train.processes import all_or_none
from cvdl.train.recipes import find
from cvdl.train.runs import Log, command, commit, hardware, read_json, replacing, write_json
from cvdl.train.stages import rate_factor, settings
from cvdl.train.zoo import read_weights, write_weights

ROWS = 400  # at most, in a stage's log
HELD_OUT = 10  # at most, of these rows with a measurement on held-out pairs …
SAMPLES = 64  # … of this number
SAVE_EVERY = 60  # seconds
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # Fabric's names


def train(
    name,
    profile,
    out,
    *,
    resume=False,
    minutes=None,
    seed=0,
    scale=1.0,
    only=None,
    device="cpu",
    devices=1,
    precision=None,
):
    """Train the stages of a recipe, one after the other, in the folder `out`; -> True when all are done.

    resume: go on with what is in `out`; without it, `out` must not hold a run.  minutes: stop after that time, to be
    resumed.  scale: factor on the number of steps of every stage.  only: the name of one stage; the one before it has
    to be finished.  devices: processes, between which batches are divided.  precision: one of PRECISIONS; None is the
    fastest that the device is good at.

    Raises InvalidInput for an unknown recipe or stage, a folder that holds another run, weights or a checkpoint of another
    recipe, or a damaged file; TrainingDiverged for a loss that is not finite; WriteFailed for a full disk;
    MissingDependency without Lightning.  Checkpoints that were written before stay.  If one of several processes fails,
    all of them end.
    """
    stages = find(name).stages_of(profile)
    if only is not None and only not in [stage.name for stage in stages]:
        raise InvalidInput(f"{name} has no stage {only!r}; it has: {', '.join(stage.name for stage in stages)}.")
    out = Path(out)
    fabric, precision = launch(device, devices, precision)
    identity = {"recipe": name, "profile": profile, "seed": seed, "scale": scale, "precision": precision}
    with all_or_none(fabric):
        if fabric.is_global_zero:
            claim(out, identity, resume)
        fabric.barrier()
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        for number, stage in enumerate(stages):
            folder = out / stage.name
            if (folder / "card.json").exists():
                fabric.print(f"{stage.name}: finished before", file=sys.stderr)
            elif only is None or only == stage.name:
                before = out / stages[number - 1].name / "weights.safetensors" if number else None
                run = Run(fabric, find(name), stage, number, folder, before, identity)
                if not run.go(deadline):
                    return False
        return True


def launch(device, devices, precision):
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.utilities.exceptions import MisconfigurationException
    except ImportError:
        raise MissingDependency(
            'Training needs Lightning Fabric. Run `pip install -e ".[train]"`, or `make lab`, which installs it.'
        ) from None
    cuda = torch.device(device).type == "cuda"
    if precision is None:
        half = "bf16-mixed" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        precision = half if cuda else "32-true"
    if precision not in PRECISIONS:
        raise InvalidInput(f"There is no precision {precision!r}; there are {', '.join(PRECISIONS)}.")
    if precision == "16-mixed" and not cuda:  # Fabric would take bf16-mixed, and the card would say 16-mixed
        raise InvalidInput("16-mixed is for graphics cards. Choose --precision bf16-mixed or 32-true on a processor.")
    torch.backends.cudnn.benchmark = cuda  # faster, at the price that the module's docstring names
    strategy = "ddp" if devices > 1 else "auto"
    try:
        fabric = Fabric(accelerator="cuda" if cuda else "cpu", devices=devices, precision=precision, strategy=strategy)
    except MisconfigurationException as error:  # more devices than there are
        raise InvalidInput(f"Training cannot run on {devices} × {device} here: {error}") from error
    fabric.launch()
    return fabric, precision


def claim(out, identity, resume):
    """Make the folder of a run, or make sure that it holds the same run."""
    note = out / "run.json"
    if note.exists() and not resume:
        raise InvalidInput(f"{out} holds a run already. Go on with it by --resume, or name another folder by --out.")
    if note.exists() and (there := read_json(note)) != identity:
        raise InvalidInput(
            f"{out} holds another run: {there}, and this one is {identity}. Name another folder by --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteFailed(f"The folder {out} cannot be made: {error}. Name another one by --out.") from error
    write_json(note, identity)


def fit(part, state, path):
    """Load a state from the file `path` into a network or an optimizer.  Raises InvalidInput where it does not fit."""
    try:
        part.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:  # other names, other numbers, other shapes
        raise other_recipe(path, " ".join(str(error).split())[:300]) from error


def other_recipe(path, why):
    return InvalidInput(
        f"{path} is intact, but belongs to another version of this recipe: it does not fit the network that is built now "
        f"({why}). Keep it and name another folder by --out, or go back to the recipe that it was written with."
    )


class Step(nn.Module):
    """The network with its loss around it: what Fabric wraps, so that several processes add their gradients up."""

    def __init__(self, net, loss):
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, pairs):
        """pairs: a function that gives them.  Tensors Fabric would round to half precision, the true flow too."""
        return self.loss(self.net, pairs())


class Run:
    """One stage of a recipe, from its last checkpoint to its card."""

    def __init__(self, fabric, recipe, stage, number, folder, before, identity):
        self.fabric, self.stage, self.number, self.folder, self.identity = fabric, stage, number, folder, identity
        self.steps = max(1, round(stage.steps * identity["scale"]))
        self.every = math.ceil(self.steps / ROWS)  # steps to a row of the log
        self.rows_to_measure = math.ceil(math.ceil(self.steps / self.every) / HELD_OUT)
        self.samples = max(2, min(SAMPLES, self.steps * stage.batch))  # no more held-out pairs than it trains on
        if stage.batch % fabric.world_size:
            raise InvalidInput(f"A batch of {stage.batch} cannot be divided between {fabric.world_size} processes.")
        self.share = stage.batch // fabric.world_size
        torch.manual_seed(1000 * identity["seed"] + number)
        net = recipe.build(identity["profile"])
        if before is not None:
            if not before.exists():
                raise DataNotFound(f"{stage.name} starts from {before}, which is not there. Train that stage first.")
            fit(net, read_weights(before).state_dict(), before)
        stage.prepare(net)
        self.net = net.to(fabric.device, memory_format=torch.channels_last)  # what convolutions are fastest in
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        learned = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        self.learned, self.settings = list(learned), settings(stage)
        optimizer = torch.optim.AdamW(learned.values(), lr=stage.rate, weight_decay=stage.decay)
        self.step, self.optimizer = fabric.setup(Step(self.net, stage.loss), optimizer)
        dice = 100 * identity["seed"] + number
        self.training, self.held_out = (stage.source(split, dice, fabric.device) for split in ("train", "test"))
        self.at_once = stage.at_once(fabric.device)
        self.done, self.seconds, self.first, self.made = 0, 0.0, None, None

    def go(self, deadline=None):
        """-> True when the stage is finished, False when the time is up."""
        fabric, stage = self.fabric, self.stage
        self.folder.mkdir(parents=True, exist_ok=True)
        self.load()
        log = Log(self.folder / "log.csv", stage.measure, until=self.done) if fabric.is_global_zero else None
        sums, summed, saved = torch.zeros(2, device=fabric.device), 0, time.monotonic()
        start = time.monotonic() - self.seconds
        bar = tqdm(total=self.steps, initial=self.done, desc=stage.name, unit="step", disable=not fabric.is_global_zero)
        with bar:
            while self.done < self.steps:
                loss, error = self.one_step()
                sums += torch.stack([loss, error])
                summed += 1
                self.done += 1
                bar.update()
                if self.done % self.every and self.done < self.steps:
                    continue
                loss, error = (fabric.all_reduce(sums / summed)).tolist()
                if not math.isfinite(loss) or not self.finite():
                    raise self.diverged()
                self.seconds = time.monotonic() - start
                sums, summed = sums.zero_(), 0
                measured = None
                if self.done == self.steps or (self.done // self.every) % self.rows_to_measure == 0:
                    measured = self.measure(self.average).mean().item()
                if log:
                    rate = self.optimizer.param_groups[0]["lr"]
                    row = dict(step=self.done, seconds=self.seconds, loss=loss, rate=rate, held_out=measured)
                    log.add(**row, **{stage.measure: error})
                speed = stage.batch * bar.format_dict["rate"] if bar.format_dict["rate"] else 0
                bar.set_postfix_str(f"loss {loss:.3g}, {stage.shown(error)}, {speed:.1f} a second", refresh=False)
                late = self.agree(deadline is not None and time.monotonic() > deadline)
                if late or self.agree(time.monotonic() - saved > SAVE_EVERY):
                    self.save()
                    saved = time.monotonic()
                if late and self.done < self.steps:
                    return False
        self.finish()
        return True

    def finite(self):
        """Whether all weights are.  They may not be although the loss was: a gradient can be NaN by itself."""
        return all(bool(weight.isfinite().all()) for weight in self.average.parameters())

    @contextmanager
    def not_finite_is_divergence(self):
        """For calls of the network: warping refuses the flow that it predicts if that is not finite."""
        try:
            yield
        except NotFinite as refusal:
            raise self.diverged(f"{refusal} So") from refusal

    def diverged(self, why=""):
        return TrainingDiverged(
            f"{self.stage.name}: {why}{' ' * bool(why)}the loss or the weights became NaN or infinite by step {self.done}. What was saved before "
            f"is kept in {self.folder}. Lower the rate of the stage ({self.stage.rate}) and go on with --resume; or, if "
            f"it was in half precision ({self.identity['precision']}), begin again with --precision 32-true."
        )

    def one_step(self):
        """-> loss and error, both without gradient."""
        stage, fabric = self.stage, self.fabric
        self.step.train()
        pairs = stage.vary(self.batch(self.done // stage.reuse), self.numbers(self.done))
        for group in self.optimizer.param_groups:
            group["lr"] = stage.rate * rate_factor(stage, self.steps, self.done)
        with self.not_finite_is_divergence():
            loss, error = self.step(lambda: pairs)
        self.optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(self.step, self.optimizer, max_norm=stage.clip, error_if_nonfinite=False)
        self.optimizer.step()
        decay = min(stage.ema, (1 + self.done) / (10 + self.done))  # at first, the start is soon forgotten
        with torch.no_grad():
            for kept, now in zip(self.average.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        return loss.detach(), error.detach()

    def batch(self, number):
        """The batch of this number.  Several are made at once, if the stage says so."""
        batches = max(1, self.at_once // self.share)
        first = number - number % batches
        if first != self.first:
            numbers = [n for batch in range(first, first + batches) for n in self.numbers(batch)]
            self.first, self.made = first, self.training.pairs(numbers)
        return self.cut(self.made, (number - first) * self.share, self.share)

    def cut(self, made, start, count):
        """Some of the samples that were made at once, a NamedTuple of tensors; else all, whatever they are."""
        return made if self.at_once == 1 else type(made)(*(part[start : start + count] for part in made))

    def numbers(self, batch):
        """The numbers of this process's pairs in a batch."""
        first = batch * self.stage.batch + self.fabric.global_rank * self.share
        return range(first, first + self.share)

    @torch.no_grad()
    def measure(self, net):
        """Errors of the stage's own task on held-out samples: (samples,)."""
        errors = []
        for first in range(0, self.samples, self.at_once):
            numbers = range(first, min(first + self.at_once, self.samples))
            made = self.held_out.pairs(numbers)
            with self.not_finite_is_divergence():
                errors += [self.stage.loss(net, self.cut(made, i, 1))[1] for i in range(len(numbers))]
        return torch.stack(errors)

    def agree(self, condition):
        """True in all processes if it is in the first: their clocks differ."""
        return self.fabric.broadcast(condition) if self.fabric.world_size > 1 else condition

    def parts(self):
        parts = {"net": self.net, "average": self.average, "optimizer": self.optimizer}
        if self.identity["precision"] == "16-mixed":
            parts["precision"] = self.fabric.strategy.precision  # the scale of the loss, which follows the gradients
        return parts

    def save(self):
        if self.fabric.is_global_zero:
            state = {name: part.state_dict() for name, part in self.parts().items()}
            state |= {"done": self.done, "seconds": self.seconds, "learned": self.learned, "settings": self.settings}
            with replacing(self.folder / "checkpoint.ckpt") as beside:
                torch.save(state, beside)

    def load(self):
        path = self.folder / "checkpoint.ckpt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
            states = {name: state[name] for name in self.parts()}
            self.done, self.seconds = state["done"], state["seconds"]
        except Exception as error:  # whatever a damaged file makes torch raise
            reason = str(error).strip().split("\n")[0]
            raise InvalidInput(f"{path} is damaged ({reason}). Delete it, and the stage begins again.") from error
        for name, part in self.parts().items():
            if (
                name == "optimizer" and state.get("learned", self.learned) != self.learned
            ):  # it knows them by order alone
                raise other_recipe(path, "other parameters are trained now")
            fit(part, states[name], path)
        changed = [
            f"{name} was {before} and is {self.settings.get(name)}"
            for name, before in state.get("settings", {}).items()
            if before != self.settings.get(name)
        ]
        if changed:
            self.fabric.print(
                f"{self.stage.name}: the recipe has changed since {path} was written: {'; '.join(changed)}. The stage goes on "
                "with the new settings, so its results differ from those of either recipe.",
                file=sys.stderr,
            )

    def finish(self):
        """Weights and card; the checkpoint has served."""
        errors = self.measure(self.average)
        held_out = self.stage.summary(errors, self.held_out)
        if self.fabric.is_global_zero:
            write_weights(self.folder / "weights.safetensors", self.average)
            write_json(self.folder / "card.json", self.card(held_out))
            for served in self.folder.glob("*checkpoint.ckpt*"):  # and what a kill left of one
                served.unlink()
        self.fabric.barrier()

    def card(self, held_out):
        stage = self.stage
        return {
            **self.identity,
            "stage": stage.name,
            "number": self.number,
            "command": command(),
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d"),
            "hardware": hardware(self.fabric.device, self.fabric.world_size),
            "torch": torch.__version__,
            "minutes": round(self.seconds / 60, 1),
            "steps": self.steps,
            "batch": stage.batch,
            "data": stage.data(),
            "held_out": held_out,
        }
