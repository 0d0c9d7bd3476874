"""All recipes, most useful first: `cvdl train all`, and data/runs/QUEUE.md.

Each recipe runs in a process of its own, so that one that fails does not end the others.  On a CPU they run one after the
other; on a GPU several share the card, since small networks leave most of it idle.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from cvdl import tables, zoo
from cvdl.errors import InvalidInput, TrainingDiverged
from cvdl.files import replacing
from cvdl.train.recipes import RECIPES, find
from cvdl.train.runs import read_log
from cvdl.zoo import WEIGHTS_VARIABLE

ORDER = (
    "spynet",
    "flownet-c",
    "flownet-s",
    "likenet",
    "flownet-cs",
    "flownet-css",
    "flownet2-sd",
    "flownet2",
)  # most useful first; the others come after
# Recipes that start from the weights of others.
NEEDS = {
    "flownet-cs": ("flownet-c", "flownet-s"),
    "flownet-css": ("flownet-cs",),
    "flownet2": ("flownet-css", "flownet2-sd"),
    "gesture": ("gesture-track",),
    "gesture-convlstm": ("gesture",),
    "gesture-meanpool": ("gesture",),
    "gesture-last": ("gesture",),
    **{name: ("gesture-track",) for name in RECIPES if name.startswith("variety-")},
}
JOBS_ON_GPU = 6
POLL = 0.5  # seconds


def queue():
    """All names, most useful first."""
    return [*ORDER, *(name for name in RECIPES if name not in ORDER)]


@dataclass
class Job:
    """A recipe in the queue."""

    name: str
    profile: str
    folder: Path  # of its run
    process: subprocess.Popen | None = field(default=None, repr=False)
    failed: bool = False

    def stages(self):
        return find(self.name).stages_of(self.profile)

    def finished_stages(self):
        return [stage.name for stage in self.stages() if (self.folder / stage.name / "card.json").exists()]

    @property
    def finished(self):
        return len(self.finished_stages()) == len(self.stages())

    def state(self):
        if self.failed:
            return "failed"
        if self.finished:
            return "finished"
        done = self.finished_stages()
        if not (done or self.folder.exists()):
            return "not started"
        stage = next(stage for stage in self.stages() if stage.name not in done)
        log = self.folder / stage.name / "log.csv"
        rows = read_log(log) if log.exists() else []
        step = f"{rows[-1]['step']:,} of {stage.steps:,} steps" if rows else "not started"
        return f"{len(done)} of {len(self.stages())} stages; {stage.name}: {step}"

    def weights(self):
        return self.folder / self.stages()[-1].name / "weights.safetensors"


def jobs_of(names, profile, out):
    """Jobs of these recipes, or of all.  Raises InvalidInput for an unknown name."""
    for name in names:
        find(name)
    return [Job(name, profile, Path(out) / f"{name}-{profile}") for name in queue() if not names or name in names]


def plan(jobs):
    """What would be done, as text."""
    rows = [("recipe", "state", "steps", "needs")]
    for job in jobs:
        steps = ", ".join(f"{stage.name} {stage.steps:,}" for stage in job.stages())
        rows.append((job.name, job.state(), steps, ", ".join(NEEDS.get(job.name, ()))))
    return "\n".join(tables.table(rows))


def train_all(jobs, out, *, device, minutes=None, at_once=None, nice=False, options=()):
    """Train the jobs that are not finished -> True when all are finished, False when the time is up.

    Args:
        jobs: as from `jobs_of`.
        out: folder of all runs; finished weights are collected in its subfolder weights, where later jobs find them.
        device: "cpu" or "cuda".
        minutes: stop after this time, to be resumed.
        at_once: jobs at the same time; None: 1 on a CPU, JOBS_ON_GPU on a GPU.
        nice: run at the lowest priority.
        options: further options of `cvdl train`, such as ["--precision", "32-true"].

    Raises:
        InvalidInput: another `cvdl train all` is running in this folder.
        TrainingDiverged: a job failed.  The others are trained nevertheless, except for those that need it.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(Path(out) / "lock", timeout=0):
            return run_jobs(jobs, Path(out), device, minutes, at_once, nice, options)
    except Timeout:
        raise InvalidInput(
            f"Another `cvdl train all` is running in {out}. Wait for it, or name another folder with --out."
        ) from None


def run_jobs(jobs, out, device, minutes, at_once, nice, options):
    at_once = at_once or (1 if device == "cpu" else JOBS_ON_GPU)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    collect(jobs, out)
    waiting, running = [job for job in jobs if not job.finished], []
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        while waiting or running:
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                job.failed = job.process.returncode != 0
                if job.failed:
                    print(f"{job.name} failed; the others continue.", file=sys.stderr)
                collect([job], out)
            time_is_up = deadline is not None and time.monotonic() > deadline
            ready = [] if time_is_up else [job for job in waiting if not missing(job, jobs)]
            for job in ready[: at_once - len(running)]:
                left = None if deadline is None else (deadline - time.monotonic()) / 60
                job.process = start(job, out, device, left, nice, options)
                running.append(job)
                waiting.remove(job)
            if not running and not ready:
                break
            time.sleep(POLL)
    finally:
        for job in running:
            job.process.terminate()
        for job in running:
            job.process.wait()
        signal.signal(signal.SIGTERM, before)
    if failed := [job.name for job in jobs if job.failed]:
        raise TrainingDiverged(
            f"Failed: {', '.join(failed)}. The messages are above; run the same command again to retry what is unfinished."
        )
    return all(job.finished for job in jobs)


def missing(job, jobs):
    """Names of the jobs that this one needs and that are still to be trained, or have failed."""
    needed = NEEDS.get(job.name, ())
    return [other.name for other in jobs if other.name in needed and not other.finished]


def collect(jobs, out):
    """Copy the weights of finished jobs to where others look for them."""
    for job in jobs:
        if job.finished:
            path = out / "weights" / f"{job.name}.safetensors"
            path.parent.mkdir(exist_ok=True)
            with replacing(path) as beside:
                beside.write_bytes(job.weights().read_bytes())


def start(job, out, device, minutes, nice, options):
    command = [sys.executable, "-m", "cvdl", "train", job.name, "--profile", job.profile, "--device", device]
    command += ["--out", str(job.folder), "--resume", *options]
    if minutes is not None:
        command += ["--minutes", f"{max(0, minutes):.3f}"]
    # In a session of its own, the process has a scheduling group of its own, whose priority counts on Linux.
    process = subprocess.Popen(
        command, env=os.environ | {WEIGHTS_VARIABLE: str(out / "weights")}, start_new_session=True
    )
    if nice:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        with suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text("19")
    return process


# data/runs/QUEUE.md


def markdown():
    """data/runs/QUEUE.md."""
    rows = "\n".join(
        f"| `{name}` | {shipped_state(name)} | `cvdl train {name} --profile gpu --resume` "
        f"| `cvdl train {name} --profile laptop --resume` |"
        for name in queue()
    )
    return f"""# Recipes, most useful first

`cvdl train all` works through this list: it resumes what is unfinished, and stops after `--minutes`. `--dry-run` shows what
it would do, and `--nice` gives all other programs precedence. On a GPU, several recipes are trained at a time:

    cvdl train all --profile gpu --minutes 25

To move a run to another computer, save it to data/unfinished with `python -m cvdl.train.unfinished save runs/spynet-laptop`,
and restore it there with `python -m cvdl.train.unfinished restore runs`.

The column "state" describes the recorded run in this folder: `none`, `CPU` or `GPU`, and `older recipe` if the stages of the
recipe have changed since. To add a finished run to the zoo, use `cvdl zoo add runs/spynet-laptop spynet`, then update this
file: `python -m cvdl.train.queue`.

| name | state | GPU command | CPU command |
|---|---|---|---|
{rows}
"""


def shipped_state(name):
    """How the recorded run of a recipe was trained; those of several seeds count as one."""
    cards = [zoo.card(run) for run in zoo.runs() if run == name or (run.startswith(f"{name}-s") and run[-1].isdigit())]
    if not cards:
        return "none"
    stages = {tuple(stage["stage"] for stage in card["stages"]) for card in cards}
    profile = "gpu" if cards[0]["size"] == "GPU" else "laptop"
    today = tuple(stage.name for stage in find(name).stages_of(profile))
    return "/".join(sorted({card["size"] for card in cards})) + ("" if stages == {today} else ", older recipe")


if __name__ == "__main__":
    from cvdl.settings import ROOT

    (ROOT / "data/runs/QUEUE.md").write_text(markdown(), encoding="utf-8")
