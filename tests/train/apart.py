"""`cvdl train tiny` in processes of its own, which may fail or be killed.

A process takes many times longer to import torch and Lightning than to train the tiny recipe. On Linux, a server
therefore imports them once, and every process is forked from it; the server itself never trains. On other systems each
process imports them itself.
"""

import multiprocessing
import os
import signal
import socket
import sys

import torch

from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.flow.data.pool import Mixture
from cvdl.train import loop, processes
from cvdl.train.recipes import RECIPES
from cvdl.train.runs import Log
from tests import RUNAWAY
from tests.train import FEW, tiny

if sys.platform == "linux":
    CONTEXT = multiprocessing.get_context("forkserver")
    CONTEXT.set_forkserver_preload(["tests.train.server"])
else:
    CONTEXT = multiprocessing.get_context("spawn")


def run(folder, *options, fault=None, count=1):
    """`cvdl train tiny` in `count` processes -> their exit codes, and all that they print.

    fault: a function that they call first.
    """
    printed = folder / "printed.txt"
    printed.write_text("")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    command = ["train", "tiny", "--profile", "quick", "--device", "cpu", "--devices", count, *options]
    environments = [shared | {"LOCAL_RANK": str(rank)} for rank in range(count)] if count > 1 else [{}]
    command = list(map(str, command))
    started = [
        CONTEXT.Process(target=child, args=(command, each, printed, fault), daemon=True) for each in environments
    ]
    for process in started:
        process.start()
    try:
        for process in started:
            process.join(RUNAWAY)
    finally:
        for process in started:
            process.kill()
    return [process.exitcode for process in started], printed.read_text()


def child(command, environment, printed, fault):
    with printed.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    torch.set_num_threads(1)
    RECIPES["tiny"] = tiny()
    vars(loop).update(FEW)
    loop.SAVE_EVERY, processes.GRACE = 0, RUNAWAY
    if fault:
        fault()
    app.app(command)


# What is changed first: the length of a row, or a fault.


def three_rows():
    """Three rows in each log, so that a run may be stopped in the middle of one."""
    loop.ROWS = 3


def lost_data():
    """The second process cannot read its data."""

    def pairs(self, indices, pairs=Mixture.pairs):
        if os.environ["LOCAL_RANK"] == "1" and min(indices) >= 4:
            raise CourseError("The data of this process are lost. Fetch them again.")
        return pairs(self, indices)

    Mixture.pairs = pairs


def full_disk():
    """Only the first process writes checkpoints."""

    def save(*_):
        raise OSError(28, "No space left on device")

    torch.save = save


def terminated():
    """The second process is asked to end."""

    def train_step(self, step=loop.StageRun.train_step):
        if self.done == 4 and os.environ["LOCAL_RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self)

    loop.StageRun.train_step = train_step


def killed_in_a_step():
    def train_step(self, step=loop.StageRun.train_step):
        if self.done == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self)

    loop.StageRun.train_step = train_step


def killed_in_a_row():
    def add(self, add=Log.add, **row):
        if row["step"] == 6:
            with self.path.open("a") as file:
                file.write("6,1.2,0.0")
            os.kill(os.getpid(), signal.SIGKILL)
        add(self, **row)

    Log.add = add


def killed_in_a_checkpoint():
    def save(state, path, save=torch.save):
        save(state, path)
        if state["done"] == 6:
            os.truncate(path, 1000)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save
