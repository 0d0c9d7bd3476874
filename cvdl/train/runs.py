"""The folder of a run: what it writes, and how it is read again.

    runs/spynet-laptop/level0/
        log.csv              a row every few seconds: step, seconds, loss, epe or another error, lr, held_out
        checkpoint.ckpt      all it takes to go on; gone when the stage is finished
        held_out_start.csv   errors on each held-out sample, before the stage; and held_out_end.csv, after it
        weights.safetensors  half precision, the moving average
        card.json            command, commit, seed, data, machine, minutes, numbers

Everything is written beside its place first and then moved there, so that a kill or a full disk leaves the former
file whole.
"""

import csv
import math
import platform
import re
import subprocess
import sys
from pathlib import Path

import torch

from cvdl.errors import WriteFailed
from cvdl.files import replacing
from cvdl.settings import ROOT


class Log:
    """A CSV file that grows.  With `until`, rows after that step are dropped: they will come again.

    metric: the column of the error.
    """

    def __init__(self, path, metric="epe", until=0):
        self.path, self.columns = Path(path), ("step", "seconds", "loss", metric, "lr", "held_out")
        rows = [row for row in read_log(path) if row["step"] <= until] if self.path.exists() else []
        with replacing(self.path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: text(row[name]) for name in self.columns} for row in rows)

    def add(self, **row):
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(
                    {name: text(row.get(name)) for name in self.columns}
                )
        except OSError as error:
            raise WriteFailed(
                f"{self.path} could not be written ({error}). Is the disk full? The last checkpoint is whole: make room "
                "and go on with --resume."
            ) from error


def write_rows(path, rows):
    """Rows, dicts with the same keys, as a CSV file."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: v if isinstance(v, str) else text(v) for k, v in row.items()} for row in rows)


def text(number):
    return "" if number is None or number != number else number if isinstance(number, int) else f"{number:.6g}"


def read_log(path):
    """Rows of a log as dicts of numbers; None where nothing was measured."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = [name for name in reader.fieldnames or () if name]
        rows = [{name: float(row[name]) if row.get(name) else None for name in columns} for row in reader]
    return [{**row, "step": int(row["step"])} for row in rows if row["step"] is not None and row["seconds"] is not None]


def running_mean(values, count=10):
    """Each value averaged with those before it, `count` of them at most."""
    ends = range(1, len(values) + 1)
    return [sum(values[max(0, end - count) : end]) / min(count, end) for end in ends]


def commit():
    """The commit that the library is at, with "+" where files of it were changed since; None outside a repository."""
    try:
        head, changed = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "--", "cvdl")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def git(*arguments):
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def hardware(device, processes=1):
    """The machine in words, as a card says it."""
    if torch.device(device).type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        name = re.sub(r"^NVIDIA |[ -](\d+GB|PCIe|SXM|HBM).*", "", torch.cuda.get_device_name(device))
        count = "one" if processes == 1 else str(processes)
        return f"{count} {name} {2 * math.ceil(memory / 2)} GB"  # a little is reserved: 79.2 of 80, 14.7 of 16
    threads = torch.get_num_threads()
    chip = processor()
    return f"{processes * threads} CPU thread{'s' * (processes * threads > 1)}" + (f" ({chip})" if chip else "")


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def command():
    """What was typed, to be printed on a card; without the folder, which is of one machine."""
    if Path(sys.argv[0]).stem not in ("cvdl", "__main__"):
        return None
    typed, words = iter(sys.argv[1:]), ["cvdl"]
    for word in typed:
        if word == "--out":
            next(typed, None)
        elif not word.startswith("--out="):
            words.append(word)
    return " ".join(words)
