"""Adding a finished run to the zoo: its weights, logs and card, and how well the network performs."""

import hashlib
import math
import re
import shutil
import statistics
import sys
import time
from pathlib import Path

from cvdl import tables
from cvdl.errors import CourseError, InvalidInput
from cvdl.files import read_json, replacing, write_json
from cvdl.flow.data.chairs import FULL
from cvdl.flow.models.base import count
from cvdl.settings import ROOT, data_path
from cvdl.train.runs import commit, hardware
from cvdl.zoo import GESTURE_NETS, card, read_weights, shipped_names

LARGEST = 6_000_000  # bytes of a weight file


def add(run, name, data=ROOT / "data", card_only=False, force=False):
    """Add a finished run to the zoo -> the paths written: its last weights in data/weights; logs, card and new measurements
    in data/runs.

    card_only: leave out the weights, for experiments of which only the numbers are wanted.  Such a network may have seen
    only small frames; it is measured on rendered pairs of the size used in its last stage.
    force: also add a run that is incomplete, or shorter than its recipe.
    """
    stages = sorted((read_json(path) for path in Path(run).glob("*/card.json")), key=lambda stage: stage["number"])
    if not stages:
        raise InvalidInput(f"{run} has no finished stage, so there is nothing to add. Train first: cvdl train --help")
    if not force and (why := incomplete(stages)):
        raise InvalidInput(f"{run} is {why}, so it was not added to the zoo. To add it anyway, use --force.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise InvalidInput(f"{name!r} cannot be a name of weights. Use lower-case letters, digits and hyphens.")
    weights = Path(run) / stages[-1]["stage"] / "weights.safetensors"
    net = read_weights(weights)
    if weights.stat().st_size > LARGEST and not card_only:
        raise InvalidInput(
            f"{weights} has {weights.stat().st_size:,} bytes; the zoo takes files of at most {LARGEST:,}."
        )
    card = {
        "name": name,
        "net": type(net).__name__,
        "options": net.options(),
        "parameters": count(net),
        "size": "GPU" if any("GB" in stage["hardware"] for stage in stages) else "CPU",
        "minutes": round(sum(stage["minutes"] for stage in stages), 1),
        "measured": measured_on_gestures(net)
        if type(net).__name__ in GESTURE_NETS
        else measure(net, stages[-1]["data"]["size"] if card_only else FULL),
        "stages": stages,
    }
    to = Path(data) / "runs" / name
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / "card.json", card)
    paths = [to / "card.json"]
    if not card_only:
        paths.append(Path(data) / "weights" / f"{name}.safetensors")
        paths[1].parent.mkdir(exist_ok=True)
        with replacing(paths[1]) as beside:
            shutil.copyfile(weights, beside)
    for stage in stages:
        paths.append(to / f"{stage['stage']}.csv")
        with replacing(paths[-1]) as beside:
            shutil.copyfile(Path(run) / stage["stage"] / "log.csv", beside)
    return paths


def incomplete(stages):
    """Why a run is not worth adding to the zoo, as text; None if it is.  stages: its cards."""
    from cvdl.train.recipes import RECIPES

    first = stages[0]
    if first["profile"] == "quick":
        return "from the profile quick, which shows that a recipe runs but trains it too briefly"
    if first["scale"] < 1:
        return f"shortened by --scale {first['scale']:g}"
    if first["recipe"] in RECIPES:
        planned = [stage.name for stage in RECIPES[first["recipe"]].stages_of(first["profile"])]
        missing = [name for name in planned if name not in [stage["stage"] for stage in stages]]
        return f"unfinished: {', '.join(missing)} must still be trained" if missing else None
    return None


def row(name):
    """The row of shipped weights in data/README.md."""
    path = data_path("weights", f"{name}.safetensors")
    content, about = path.read_bytes(), card(name)
    recipe = about["stages"][-1]["recipe"]
    return (
        f"| `weights/{name}.safetensors` | {about['net']}, {about['parameters']:,} parameters, half precision | "
        f"`cvdl train {recipe}`, [card](runs/{name}/card.json) | MIT | – | {len(content)} | "
        f"`{hashlib.sha256(content).hexdigest()}` |"
    )


def measured_on_gestures(net):
    """Accuracies of a gesture network, see cvdl.gesture.evaluate, and where they were measured."""
    from cvdl.gesture.evaluate import measure as numbers

    return {"commit": commit(), "date": time.strftime("%Y-%m-%d"), "hardware": hardware("cpu")} | numbers(net)


def measure(net, size=FULL):
    """End-point errors, and those of zero flow, Farneback and DIS, on held-out rendered pairs and on real ones if present.

    size: of the rendered pairs.  Small ones have smaller motions and cost less, so more of them are used.
    """
    from cvdl.flow import evaluate

    methods = evaluate.classical() | evaluate.networks("net", net)
    measured = {"commit": commit(), "date": time.strftime("%Y-%m-%d"), "hardware": hardware("cpu"), "size": list(size)}
    limit = min(64, round(evaluate.COUNT * math.prod(FULL) / math.prod(size)))
    for where in ("chairs", "things", "real"):
        try:
            samples = evaluate.pairs_of(where, None if where == "real" else limit, size)
        except CourseError as missing:
            print(f"not measured on {where}: {missing}", file=sys.stderr)
            continue
        rows = evaluate.evaluate(methods, samples)
        errors = {name: [row["epe"] for row in rows if row["method"] == name] for name in methods}
        measured[where] = {
            "pairs": len(samples),
            "epe": {name: round(statistics.mean(each), 3) for name, each in errors.items()},
            "standard_error": {
                name: round(statistics.stdev(each) / len(each) ** 0.5, 3) if len(each) > 1 else None
                for name, each in errors.items()
            },
        }
        if where == "real":
            names = [row["pair"] for row in rows if row["method"] == "net"]
            measured[where]["each"] = {
                pair: {name: round(errors[name][i], 2) for name in methods} for i, pair in enumerate(names)
            }
    return measured


def table():
    """All shipped weights and how well they perform, as text."""
    if not shipped_names():
        return "The zoo is empty."
    rows = [("name", "network", "parameters", "trained on", "minutes", "measured")]
    for name in shipped_names():
        about = card(name)
        measured = (accuracies if about["net"] in GESTURE_NETS else errors)(about["measured"])
        size = about["net"], f"{about['parameters']:,}", about["size"], f"{about['minutes']:.0f}"
        rows.append((name, *size, measured))
    lines = tables.table(rows, right=(2, 3, 4))
    lines.append(
        "For flow: end-point error in px (in brackets, that of zero flow). For gestures: share of clips named correctly."
    )
    return "\n".join(lines)


def errors(measured):
    places = (where for where in ("chairs", "things", "real") if where in measured)
    epe = ((where, measured[where]["epe"]) for where in places)
    return ", ".join(f"{where} {each['net']:.2f} ({each['zero flow']:.2f})" for where, each in epe)


def accuracies(measured):
    places = (where for where in ("rendered", "real A", "real B C") if where in measured)
    return ", ".join(f"{where} {measured[where]['accuracy_of_gestures']:.0%}" for where in places)
