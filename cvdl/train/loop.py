"""The training loop: `cvdl train`.

It runs on Lightning Fabric, so the same recipe runs on a CPU, a GPU, or several of either, on one computer or on several.
All random numbers of a step follow from the seed, the stage and the index of the step.  On the CPU, a run that was killed
and resumed from its last checkpoint therefore gives exactly the same numbers as an uninterrupted one.  On CUDA it sees the same
samples in the same order, but the numbers agree only up to rounding: cuDNN picks the algorithms that are fastest at the
time, and some gradients are summed in no fixed order.  During training, such differences grow.
"""

import copy
import math
import signal
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from cvdl.errors import (
    CourseError,
    DataNotFound,
    InvalidInput,
    MissingDependency,
    NotFinite,
    TrainingDiverged,
    WriteFailed,
)
from cvdl.files import read_json, replacing, write_json
from cvdl.flow.data.pool import TimeIsUp, passed
from cvdl.train.processes import all_or_none
from cvdl.train.recipes import find
from cvdl.train.runs import Log, command, commit, hardware, write_rows
from cvdl.train.stages import lr_factor, settings
from cvdl.train.stopping import StopRequest
from cvdl.zoo import read_weights, write_weights

ROWS = 400  # at most, in a stage's log
HELD_OUT = 10  # at most, of these rows with a measurement on held-out samples …
SAMPLES = 64  # … of this number at most
SAVE_EVERY = 60  # seconds
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # Fabric's names


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a recipe is run.  Its hyper-parameters are those of its stages (`cvdl.train.stages.Stage`)."""

    recipe: str  # name of the recipe
    profile: str = "laptop"  # its size: quick, laptop or gpu
    out: Path  # folder of the run
    overrides: tuple = ()  # fields of its stages that are changed, such as "lr=3e-4" or "joint.batch=4"
    seed: int = 0  # of initial weights and samples
    scale: float = 1.0  # factor on the number of steps of every stage
    only: str | None = None  # the one stage to train; the one before it must be finished
    resume: bool = False  # continue with what is in `out`; without it, `out` must not hold a run
    minutes: float | None = None  # stop after this time, rendering included
    device: str = "cpu"  # or cuda
    devices: int = 1  # processes per computer, among which batches are divided
    nodes: int = 1  # computers; each runs the same command, under torchrun
    precision: str | None = None  # one of PRECISIONS; None: the fastest that suits the device
    pools: Path = Path("runs/pools")  # folder for pools of rendered pairs

    def identity(self, precision):
        """What identifies a run: run.json.  Overrides may change when a run is resumed; the card records this."""
        names = ("recipe", "profile", "seed", "scale")
        return {name: getattr(self, name) for name in names} | {"precision": precision}


def train(config):
    """Train the stages of a recipe, one after the other -> True when all are finished, False when the time is up.

    Raises:
        InvalidInput: an unknown recipe, stage or field; a folder that holds another run, or in which another process is
            training; weights or a checkpoint of another recipe; a damaged file.
        TrainingDiverged: the loss is not finite.
        WriteFailed: the disk is full.
        MissingDependency: Lightning is not installed.

    Earlier checkpoints are kept.  If one of several processes fails, all of them end.  Ctrl-C and SIGTERM end
    the process after the step that is running, with a checkpoint.
    """
    recipe = find(config.recipe)
    stages = recipe.stages_of(config.profile, config.overrides)
    if config.only is not None and config.only not in [stage.name for stage in stages]:
        names = ", ".join(stage.name for stage in stages)
        raise InvalidInput(f"{config.recipe} has no stage {config.only!r}; it has: {names}.")
    fabric, precision = make_fabric(config)
    identity = config.identity(precision)
    with all_or_none(fabric), run_dir(config.out, identity, config.resume) if fabric.is_global_zero else nullcontext():
        fabric.barrier()
        return train_stages(fabric, recipe, stages, identity, config)


def train_stages(fabric, recipe, stages, identity, config):
    """Train what is not finished -> True when all stages are, False when the time is up."""
    deadline = None if config.minutes is None else time.monotonic() + 60 * config.minutes
    weights, too_late, trained = None, False, False
    for number, stage in enumerate(stages):
        folder = Path(config.out) / stage.name
        if (folder / "card.json").exists():
            other = unlike(folder, config)
            too_late |= bool(other and config.overrides)
            fabric.print(f"{stage.name}: already finished{other}", file=sys.stderr)
        elif config.only in (None, stage.name):
            net = build_net(recipe, config, stage, number, weights)
            run = StageRun(fabric, net, stage, number, folder, identity, config)
            if not (run.prepare_data(deadline) and run.fit(deadline)):
                return False
            trained = True
        weights = folder / "weights.safetensors"
    if too_late and not trained:
        raise InvalidInput(f"{config.out}: nothing was left to train, so --set changed nothing, as reported above.")
    return True


def unlike(folder, config):
    """Text to add about a finished stage that was trained with overrides other than the present ones."""
    then, now = read_json(folder / "card.json").get("overrides", []), list(config.overrides)
    if then == now:
        return ""
    return (
        f" {options_of(then)}, and is not trained again {options_of(now)}. To train it again, delete {folder} and the "
        "folders of later stages, or name another folder with --out"
    )


def options_of(overrides):
    """Overrides as in "with --set lr=3e-4"."""
    return "with " + " ".join(f"--set {text}" for text in overrides) if overrides else "without --set"


def make_fabric(config):
    """-> Fabric, launched; and the precision."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.utilities.exceptions import MisconfigurationException
    except ImportError:
        raise MissingDependency(
            'Training needs Lightning Fabric. Run `pip install -e ".[train]"`, or `make lab`, which installs it.'
        ) from None
    cuda = torch.device(config.device).type == "cuda"
    precision = config.precision or default_precision(cuda)
    if precision not in PRECISIONS:
        raise InvalidInput(f"There is no precision {precision!r}; there are {', '.join(PRECISIONS)}.")
    if precision == "16-mixed" and not cuda:  # Fabric would take bf16-mixed, and the card would report 16-mixed
        raise InvalidInput("16-mixed is for GPUs. Choose --precision bf16-mixed or 32-true on a CPU.")
    torch.backends.cudnn.benchmark = cuda  # faster, at the price that the module's docstring names
    strategy = "ddp" if config.devices * config.nodes > 1 else "auto"
    options = dict(devices=config.devices, num_nodes=config.nodes, precision=precision, strategy=strategy)
    try:
        fabric = Fabric(accelerator="cuda" if cuda else "cpu", **options)
    except MisconfigurationException as error:  # more devices than there are
        raise InvalidInput(f"Training cannot run on {config.devices} × {config.device} here: {error}") from error
    if config.nodes > 1 and not fabric.strategy.cluster_environment.creates_processes_externally:
        raise InvalidInput(  # it would wait for the others forever
            f"Training on {config.nodes} computers is started by torchrun: run torchrun --nnodes {config.nodes} --node-rank RANK "
            f"--nproc-per-node {config.devices} --master-addr ADDRESS -m cvdl train … on each of them."
        )
    fabric.launch()
    return fabric, precision


def default_precision(cuda):
    if not cuda:
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


@contextmanager
def run_dir(out, identity, resume):
    """Create the folder of a run, or check that it holds the same run; lock it against other processes for the block."""
    note = Path(out) / "run.json"
    if Path(out).is_file():
        raise InvalidInput(f"{out} is a file, and a run is written to a folder. Name a folder with --out.")
    begun = note.exists()
    if begun and not resume:
        raise InvalidInput(f"{out} already holds a run. Continue it with --resume, or name another folder with --out.")
    if begun and (there := read_json(note)) != identity:
        others = [f"{name} {there.get(name)}, not {now}" for name, now in identity.items() if there.get(name) != now]
        raise InvalidInput(
            f"{out} holds another run, with {'; '.join(others)}. Name another folder with --out, or use the options of that run."
        )
    made = [folder for folder in (note.parent, *note.parent.parents) if not folder.exists()]
    lock = note.with_name(".lock")
    with refusal_leaves_nothing([] if begun else [note, lock], made), ExitStack() as stack:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(lock, timeout=0))
        except Timeout:
            raise InvalidInput(
                f"Another process is training in {out}. Wait for it, stop it, or name another folder with --out."
            ) from None
        except OSError as error:
            raise WriteFailed(f"The folder {out} cannot be created: {error}. Name another one with --out.") from error
        write_json(note, identity)
        yield


@contextmanager
def refusal_leaves_nothing(files, folders):
    """If the block fails before anything else is written beside these files, remove them, and these folders if empty."""
    try:
        yield
    except CourseError:
        with suppress(OSError):
            if files and {path.name for path in files[0].parent.iterdir()} == {path.name for path in files}:
                for path in files:
                    path.unlink()
            for folder in folders:
                folder.rmdir()
        raise


def build_net(recipe, config, stage, number, weights):
    """The network at the start of a stage: newly initialised, or with the weights of the previous stage."""
    torch.manual_seed(sample_seed(config.seed, number, INITIAL))
    net = recipe.build(config.profile)
    if weights is not None:
        if not weights.exists():
            raise DataNotFound(f"{stage.name} starts from {weights}, which does not exist. Train that stage first.")
        load_state(net, read_weights(weights).state_dict(), weights)
    stage.prepare(net)
    return net


INITIAL, TRAIN, TEST, STEP = range(4)  # what random numbers are for


def sample_seed(seed, number, purpose, *index):
    """A seed for each purpose in each stage."""
    return int(np.random.SeedSequence([seed, number, purpose, *index]).generate_state(1)[0])


def load_state(part, state, path):
    """Load a state from the file `path` into a network or an optimizer.  Raises InvalidInput if it does not fit."""
    try:
        part.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:  # other names, other numbers, other shapes
        raise other_recipe(path, " ".join(str(error).split())[:300]) from error


def other_recipe(path, why):
    return InvalidInput(
        f"{path} is intact, but belongs to another version of this recipe: it does not fit the network that is built now "
        f"({why}). Keep it and name another folder with --out, or go back to the recipe that it was written with."
    )


class StageRun:
    """One stage of a recipe, from its last checkpoint to its card."""

    def __init__(self, fabric, net, stage, number, folder, identity, config):
        self.fabric, self.stage, self.number, self.folder = fabric, stage, number, folder
        self.identity, self.config, self.changes = identity, config, []
        if stage.batch % fabric.world_size:
            raise InvalidInput(f"A batch of {stage.batch} cannot be divided between {fabric.world_size} processes.")
        self.share = stage.batch // fabric.world_size  # samples per step of this process
        self.steps = max(1, round(stage.steps * identity["scale"]))
        self.steps_per_row = math.ceil(self.steps / ROWS)
        self.rows_per_measurement = math.ceil(math.ceil(self.steps / self.steps_per_row) / HELD_OUT)
        self.samples = max(2, min(SAMPLES, stage.held_out, self.steps * stage.batch))  # at most as many as it trains on

        self.net = net.to(fabric.device, memory_format=torch.channels_last)  # the layout convolutions are fastest in
        self.ema = copy.deepcopy(self.net).requires_grad_(False)
        learned = {name: weight for name, weight in self.net.named_parameters() if weight.requires_grad}
        self.learned, self.settings = list(learned), settings(stage)
        optimizer = torch.optim.AdamW(learned.values(), lr=stage.lr, weight_decay=stage.weight_decay)
        self.optimizer = fabric.setup_optimizers(optimizer)
        self.training = self.held_out = None  # see prepare_data
        self.index = self.rendered = None  # of the last batch, and the batch
        self.done, self.seconds = 0, 0.0
        # Since the last row of the log: sums of loss and error in this process, and the number of steps.
        self.sums = torch.zeros(3, device=fabric.device)

    def prepare_data(self, deadline=None):
        """Open the training and held-out data; missing pairs are rendered first -> False when the time is up."""
        seed, time_is_up = self.identity["seed"], False
        try:
            self.training, self.held_out = (
                self.stage.dataset(
                    split, sample_seed(seed, self.number, purpose), self.fabric.device, self.config.pools, deadline
                )
                for split, purpose in (("train", TRAIN), ("test", TEST))
            )
        except TimeIsUp:
            time_is_up = True
        return not any(self.anywhere(time_is_up))

    # One step.

    def train_step(self):
        """-> loss and error, both without gradient."""
        stage, fabric = self.stage, self.fabric
        torch.manual_seed(sample_seed(self.identity["seed"], self.number, STEP, self.done, fabric.global_rank))
        batch = stage.augment_batch(self.batch(self.done // stage.steps_per_batch), self.sample_indices(self.done))
        for group in self.optimizer.param_groups:
            group["lr"] = stage.lr * lr_factor(stage, self.steps, self.done)
        with fabric.autocast(), self.not_finite_is_divergence():
            output = stage.predict(self.net, batch)  # for flow: net(batch.image1, batch.image2)
            loss, error = stage.loss(output, batch)
        self.optimizer.zero_grad()
        fabric.backward(loss)
        self.average_gradients()
        if stage.max_grad_norm is not None:
            options = dict(max_norm=stage.max_grad_norm, error_if_nonfinite=False)
            fabric.clip_gradients(self.net, self.optimizer, **options)
        self.optimizer.step()
        self.update_ema()
        return loss.detach(), error.detach()

    def average_gradients(self):
        """Average the gradients over all processes: what DistributedDataParallel does.

        Done here, the loop can call any method of the network, and only what learns is exchanged.
        """
        if self.fabric.world_size > 1:
            weights = [weight for weight in self.net.parameters() if weight.requires_grad]
            flat = torch.cat([(w.new_zeros(w.shape) if w.grad is None else w.grad).flatten() for w in weights])
            flat = self.fabric.all_reduce(flat)
            for weight, part in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
                weight.grad = part.view_as(weight)

    @torch.no_grad()
    def update_ema(self):
        decay = min(self.stage.ema_decay, (1 + self.done) / (10 + self.done))  # the start is soon forgotten
        for kept, now in zip(self.ema.parameters(), self.net.parameters(), strict=True):
            kept.lerp_(now, 1 - decay)

    def batch(self, index):
        """The batch of this index, kept until another one is asked for."""
        if index != self.index:
            self.index, self.rendered = index, self.training.pairs(self.sample_indices(index))
        return self.rendered

    def sample_indices(self, batch):
        """The indices of this process's samples in a batch."""
        first = batch * self.stage.batch + self.fabric.global_rank * self.share
        return range(first, first + self.share)

    # The stage.

    def fit(self, deadline=None):
        """Train until the stage is finished -> True, or until the time is up -> False."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.load()
        if self.done:
            self.say(f"continues from its checkpoint at step {self.done:,} of {self.steps:,}")
        else:
            self.measure("start")
        first = self.fabric.is_global_zero
        log = Log(self.folder / "log.csv", self.stage.metric, until=self.done) if first else None
        saved, begin, self.came = time.monotonic(), time.monotonic() - self.seconds, (self.done, self.seconds)
        bar = tqdm(total=self.steps, initial=self.done, desc=self.stage.name, unit="step", disable=not first)
        with bar, StopRequest() as stop:
            while self.done < self.steps:
                self.sums += torch.stack([*self.train_step(), torch.ones_like(self.sums[0])])
                self.done += 1
                self.seconds = time.monotonic() - begin
                bar.update()
                if self.done % self.steps_per_row == 0 or self.done == self.steps:
                    self.log_row(log, bar)
                is_due = time.monotonic() - saved > SAVE_EVERY
                stopped, time_is_up, is_due = self.anywhere(stop.signal, passed(deadline), is_due)
                if stopped or time_is_up or is_due:
                    self.save()
                    saved = time.monotonic()
                if (stopped or time_is_up) and self.done < self.steps:
                    break
        if self.done == self.steps:
            self.finish()
        elif stopped:
            self.say(
                f"stopped at step {self.done:,} of {self.steps:,} and saved a checkpoint; --resume continues from there"
            )
            raise SystemExit(128 + (stop.signal or signal.SIGTERM))
        return self.done == self.steps

    def say(self, text):
        self.fabric.print(f"{self.stage.name}: {text}", file=sys.stderr)

    def log_row(self, log, bar):
        """Write the mean loss and error of the steps since the last row."""
        loss, error, count = self.mean_sums().tolist()
        loss, error = loss / count, error / count
        self.sums.zero_()
        self.check_finite(loss)
        held_out = self.measure_row()
        steps, seconds = (now - before for now, before in zip((self.done, self.seconds), self.came, strict=True))
        speed = self.stage.batch * steps / seconds
        text = f"loss {loss:.3g}, {self.stage.format_metric(error)}, {speed:.1f} samples/s"
        bar.set_postfix_str(text, refresh=False)
        if log:
            lr = self.optimizer.param_groups[0]["lr"]
            row = dict(step=self.done, seconds=self.seconds, loss=loss, lr=lr, held_out=held_out)
            log.add(**row, **{self.stage.metric: error})

    def mean_sums(self):
        """`sums`, averaged over all processes."""
        return self.fabric.all_reduce(self.sums.clone())

    def check_finite(self, loss=0.0):
        """Raise TrainingDiverged if the loss or a weight is not finite.  A gradient can be NaN although the loss is not."""
        if not math.isfinite(loss) or not all(bool(weight.isfinite().all()) for weight in self.ema.parameters()):
            raise self.diverged()

    def measure_row(self):
        """The mean error on held-out samples, where this row has one; else None."""
        row = math.ceil(self.done / self.steps_per_row)
        if self.done < self.steps and row % self.rows_per_measurement:
            return None
        rows = self.evaluate(min(self.samples, self.stage.held_out_per_row))
        return sum(row[self.stage.metric] for row in rows) / len(rows)

    def evaluate(self, count):
        with torch.no_grad(), self.not_finite_is_divergence():
            return self.stage.evaluate(self.ema, self.held_out, count)

    def measure(self, when):
        """Errors on all held-out samples, written to held_out_start.csv or held_out_end.csv -> rows."""
        rows = self.evaluate(self.samples)
        if self.fabric.is_global_zero:
            write_rows(self.folder / f"held_out_{when}.csv", rows)
        return rows

    @contextmanager
    def not_finite_is_divergence(self):
        """For calls of the network: warping refuses a predicted flow that is not finite."""
        try:
            yield
        except NotFinite as refusal:
            raise self.diverged(f"{refusal} So ") from refusal

    def diverged(self, why=""):
        return TrainingDiverged(
            f"{self.stage.name}: {why}the loss or the weights became NaN or infinite by step {self.done}. Earlier checkpoints "
            f"are kept in {self.folder}. Continue with a lower learning rate: --resume --set "
            f"{self.stage.name}.lr={self.stage.lr / 2:g}; or, if the precision was reduced "
            f"({self.identity['precision']}), start again in another folder with --precision 32-true."
        )

    def anywhere(self, *conditions):
        """Which conditions hold in any process: clocks differ, and a signal may reach only one -> [bool]"""
        if self.fabric.world_size == 1:
            return [bool(condition) for condition in conditions]
        counts = torch.tensor(conditions, dtype=torch.float, device=self.fabric.device)
        return [count > 0 for count in self.fabric.all_reduce(counts, reduce_op="sum").tolist()]

    # Files.

    def state_parts(self):
        parts = {"net": self.net, "ema": self.ema, "optimizer": self.optimizer}
        if self.identity["precision"] == "16-mixed":
            parts["precision"] = self.fabric.strategy.precision  # the scale of the loss, which follows the gradients
        return parts

    def save(self):
        sums = self.mean_sums()
        self.check_finite(sums[0].item())
        if self.fabric.is_global_zero:
            state = {name: part.state_dict() for name, part in self.state_parts().items()}
            state |= {"done": self.done, "seconds": self.seconds, "learned": self.learned}
            state |= {"sums": sums, "settings": self.settings, "changes": self.changes}
            with replacing(self.folder / "checkpoint.ckpt") as beside:
                torch.save(state, beside)

    def load(self):
        path = self.folder / "checkpoint.ckpt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.fabric.device, weights_only=True)
            states = {name: state[name] for name in self.state_parts()}
            self.done, self.seconds, self.sums = state["done"], state["seconds"], state["sums"]
        except Exception as error:  # whatever a damaged file makes torch raise
            reason = str(error).strip().split("\n")[0]
            raise InvalidInput(f"{path} is damaged ({reason}). Delete it to start the stage again.") from error
        for name, part in self.state_parts().items():
            if name == "optimizer" and state.get("learned", self.learned) != self.learned:  # it knows only their order
                raise other_recipe(path, "other parameters are trained now")
            load_state(part, states[name], path)
        changes = [
            f"{name} was {before} and is {self.settings.get(name)}"
            for name, before in state.get("settings", {}).items()
            if before != self.settings.get(name)
        ]
        self.changes = state.get("changes", []) + [f"step {self.done}: {change}" for change in changes]
        if changes:
            self.say(
                f"the recipe has changed since {path} was written: {'; '.join(changes)}. The stage continues with the new "
                "settings, and its card records the change."
            )

    def finish(self):
        """Write weights and card; the checkpoint is no longer needed."""
        rows = self.measure("end")
        if self.fabric.is_global_zero:
            write_weights(self.folder / "weights.safetensors", self.ema)
            write_json(self.folder / "card.json", self.card(rows))
            for served in self.folder.glob("*checkpoint.ckpt*"):  # and what remains of one if the process was killed
                served.unlink()
        self.fabric.barrier()
        self.say(f"finished. Held-out {self.stage.describe_error(rows)}. {self.folder / 'weights.safetensors'}")

    def card(self, rows):
        stage = self.stage
        return {
            **self.identity,
            "overrides": list(self.config.overrides),
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
            "lr": stage.lr,
            "changes": self.changes,
            "data": stage.describe_data(self.training),
            "held_out": stage.summarise(rows),
        }
