"""Keep unfinished runs in the repository, so that another computer can continue them.

    python -m cvdl.train.unfinished save runs/spynet-laptop      # to data/unfinished/spynet-laptop, to be committed
    python -m cvdl.train.unfinished restore runs                 # all of data/unfinished, to runs/

Only what is small is kept: cards, logs, held-out errors, the weights of the last finished stage, and the averaged weights of
the stage that is being trained, in half precision.  Adam's moments are left out.  A restored run therefore continues at the
same step and with the same samples, but its results differ slightly from those of a run that was never moved; its card
records this.
"""

import argparse
import shutil
import sys
from pathlib import Path

import torch

from cvdl.errors import CourseError, InvalidInput
from cvdl.files import read_json, replacing
from cvdl.settings import ROOT

FOLDER = ROOT / "data/unfinished"
WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.ckpt"
NOTE = "step {step}: moved to another computer, from the averaged weights in half precision and without Adam's moments"


def save(run, folder=FOLDER):
    """Keep a run of `cvdl train` -> the folder that it was written to.  Raises InvalidInput if it holds no run."""
    run, to = Path(run), Path(folder) / Path(run).name
    if not (run / "run.json").exists():
        raise InvalidInput(
            f"{run} does not contain a run. Name the folder that `cvdl train` wrote, such as runs/spynet-laptop."
        )
    if to.exists():
        shutil.rmtree(to)
    finished = [read_json(card)["number"] for card in run.glob("*/card.json")]
    for path in (run / "run.json", *run.glob("*/*")):
        copy = to / path.relative_to(run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == CHECKPOINT:
            with replacing(copy) as beside:
                torch.save(slim(torch.load(path, map_location="cpu", weights_only=True)), beside)
        elif path.suffix in (".csv", ".json") or (
            path.name == WEIGHTS and read_json(path.with_name("card.json"))["number"] == max(finished)
        ):
            shutil.copyfile(path, copy)
    return to


def slim(state):
    """A checkpoint without the parts that make it large."""
    average = {name: value.half() if value.is_floating_point() else value for name, value in state["ema"].items()}
    optimizer = {"state": {}, "param_groups": state["optimizer"]["param_groups"]}
    changes = [*state["changes"], NOTE.format(step=state["done"])]
    return state | {"net": average, "ema": average, "optimizer": optimizer, "changes": changes}


def restore(runs, folder=FOLDER):
    """Copy all kept runs to a folder of runs -> their folders.  Runs that are already there are left alone."""
    kept = sorted(path.parent for path in Path(folder).glob("*/run.json"))
    new = [run for run in kept if not (Path(runs) / run.name).exists()]
    return [shutil.copytree(run, Path(runs) / run.name) for run in new]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m cvdl.train.unfinished", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("save", help="keep a run in data/unfinished").add_argument("run", type=Path)
    commands.add_parser("restore", help="copy all kept runs to a folder of runs").add_argument("runs", type=Path)
    options = parser.parse_args(arguments)
    try:
        written = [save(options.run)] if options.command == "save" else restore(options.runs)
    except (CourseError, OSError) as error:
        sys.exit(str(error))
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
