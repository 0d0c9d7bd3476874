"""pytest plugin for runs of the notebooks: a table of the time and memory of each, and of where it exceeds its budget.

    pytest -p tests.notebooks.plugin --nbval-lax notebooks solutions

Time and memory never fail a run: machines differ in speed and load. Apart from its cells, a notebook fails as a whole
only if it ran no code or showed nothing. A cell that never ends is stopped after tests.RUNAWAY seconds.

With -o notebook_record=FILE.json the measurements are written to a file, and with -o notebook_save=FOLDER the
executed notebooks are saved; tests.notebooks.measure uses both.
"""

import json
import os
import re
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from queue import Empty

import nbformat
import psutil
import pytest

from tests import RUNAWAY

# The budget of a notebook in each profile, on two ordinary cores. Seconds are CPU time in `quick`, else elapsed time.
SECONDS = {"quick": 45, "laptop": 600, "gpu": 600}
GB = {"quick": 2, "laptop": 8, "gpu": 12}
CPU, PEAK, GPU_PEAK = "kernel's CPU seconds", "kernel's peak GB", "GPU's peak GB"
PROFILE = os.environ.get("CVDL_PROFILE") or "laptop"


def pytest_addoption(parser):
    parser.addini("notebook_record", "JSON file to write the measurements to", default="")
    parser.addini("notebook_save", "folder to write the executed notebooks to", default="")


def pytest_configure(config):
    config.option.nbval_kernel_startup_timeout = RUNAWAY
    if not hasattr(config, "workerinput"):  # xdist's workers measure; the main process collects
        config.pluginmanager.register(Budget(config), "notebook-budget")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    kernel = getattr(item.parent, "kernel", None)
    if kernel:
        item.output_timeout = RUNAWAY  # for messages that arrive after a cell has ended
        notice_death(kernel)
    pid = kernel and kernel.km.provisioner.pid  # read before the cell runs, since the cell may end the kernel
    try:
        return (yield)
    finally:
        if pid:
            item.user_properties.append((PEAK, peak_memory(pid) / 1e9))
            item.user_properties.append((CPU, cpu_seconds(pid)))
            item.user_properties.append(("outputs", len(item.test_outputs or [])))
            if PROFILE == "gpu":
                item.user_properties.append((GPU_PEAK, peak_gpu_memory(kernel) / 1e9))
            item.cell.outputs = item.test_outputs or []
            item.cell.execution_count = item.cell_num + 1


def notice_death(kernel):
    """Make nbval notice at once that a kernel has died, rather than wait until the time limit of the cell."""
    if "get_message" in vars(kernel):
        return
    wait = kernel.get_message

    def get_message(stream, timeout=None):
        end = time.monotonic() + (RUNAWAY if timeout is None else timeout)
        while True:
            try:
                return wait(stream, timeout=min(1, max(0, end - time.monotonic())))
            except Empty:
                if time.monotonic() >= end or not kernel.is_alive():
                    raise

    kernel.get_message = get_message


def pytest_runtest_teardown(item, nextitem):
    folder, nb = item.config.getini("notebook_save"), getattr(item.parent, "nb", None)
    if folder and nb and (nextitem is None or nextitem.parent is not item.parent):
        path = Path(folder) / item.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, path)


def peak_memory(pid):
    """The process's peak memory in bytes; on macOS, which does not record it, the current memory."""
    try:
        memory = psutil.Process(pid).memory_info()
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())  # a dead process has none
            return int(peak[1]) * 1024 if peak else 0
        return getattr(memory, "peak_wset", memory.rss)
    except (psutil.Error, OSError):  # the kernel has died, which its cell reports
        return 0


def cpu_seconds(pid):
    """Seconds of CPU time that the process has used so far; 0 if it has died."""
    try:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    except psutil.Error:
        return 0.0


def peak_gpu_memory(kernel):
    """The most GPU memory, in bytes, that torch has reserved in this kernel; 0 if none.

    This includes torch's cache, so a computation may get by with less.
    """
    peak = "__import__('torch').cuda.max_memory_reserved() if 'torch' in __import__('sys').modules else 0"
    if not kernel.is_alive():
        return 0
    try:
        asked = kernel.kc.execute("", silent=True, store_history=False, user_expressions={"peak": peak})
        while (reply := kernel.get_message("shell", timeout=RUNAWAY))["parent_header"].get("msg_id") != asked:
            pass
        return int(reply["content"]["user_expressions"]["peak"]["data"]["text/plain"])
    except (Empty, KeyError):  # busy with a timed-out cell, or dying: the cell reports it
        return 0


def machine():
    """The number of CPU cores, and the GPU if there is one."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores{gpu}"


@dataclass
class Run:
    cells: int = 0
    outputs: int = 0
    seconds: float = 0
    cpu: float = 0
    gb: float = 0
    gpu_gb: float = 0
    passed: bool = True


class Budget:
    """Adds up the cells of each notebook, and reports them at the end."""

    def __init__(self, config):
        self.config, self.runs = config, {}
        self.seconds, self.gb = (budgets.get(PROFILE, budgets["laptop"]) for budgets in (SECONDS, GB))

    def pytest_sessionstart(self):
        # read from disk, since pytest never reports a notebook without code cells
        for argument in map(Path, self.config.args):
            for path in sorted(argument.rglob("*.ipynb")) if argument.is_dir() else [argument]:
                if path.suffix == ".ipynb" and ".ipynb_checkpoints" not in path.parts:
                    self.runs[path.resolve().relative_to(self.config.rootpath).as_posix()] = Run()

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.partition("::")[0]
        if report.when != "call" or report.skipped or not name.endswith(".ipynb"):
            return
        run = self.runs.setdefault(name, Run())
        run.cells += 1
        run.seconds += report.duration
        run.passed &= not report.failed
        properties = dict(report.user_properties)
        run.outputs += properties.get("outputs", 0)
        run.cpu = max(run.cpu, properties.get(CPU, 0))
        run.gb = max(run.gb, properties.get(PEAK, 0))
        run.gpu_gb = max(run.gpu_gb, properties.get(GPU_PEAK, 0))

    def problem(self, run):
        """Why a notebook did not run at all, or None."""
        if not run.cells:
            return "ran no code cell: it is empty, or all of its cells are skipped"
        if not run.outputs:
            return f"ran its {run.cells} cells and showed nothing"
        return None

    def over(self, run):
        """Which budgets a run exceeded, as text."""
        cost = run.cpu if PROFILE == "quick" else run.seconds
        return " ".join(word for word, much in (("time", cost > self.seconds), ("memory", run.gb > self.gb)) if much)

    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            return
        failed = self.config.pluginmanager.get_plugin("terminalreporter").stats.setdefault("failed", [])
        for name, run in self.runs.items():
            if why := self.problem(run):
                place = (name, None, "notebook")
                failed.append(pytest.TestReport(f"{name}::notebook", place, {}, "failed", f"{name} {why}", "call"))
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                run.passed = False
        if record := self.config.getini("notebook_record"):
            Path(record).write_text(json.dumps(self.measured(), indent=1) + "\n", encoding="utf-8")

    def measured(self):
        """One dict per notebook that ran."""
        where = {"profile": PROFILE, "date": date.today().isoformat(), "machine": machine()}
        return [
            {"notebook": Path(name).stem, **where, "seconds": round(r.seconds, 1), "cpu": round(r.cpu, 1)}
            | {"gb": round(r.gb, 2), "gpu_gb": round(r.gpu_gb, 2), "passed": r.passed}
            for name, r in self.runs.items()
            if r.cells
        ]

    def pytest_terminal_summary(self, terminalreporter):
        if not self.runs:
            return
        width = max(map(len, self.runs))
        terminalreporter.section("notebooks")
        what = "CPU seconds" if PROFILE == "quick" else "seconds"
        terminalreporter.write_line(f"Budget in the profile {PROFILE}: {self.seconds} {what} and {self.gb} GB.")
        terminalreporter.write_line(f"{'notebook':{width}}  cells  seconds  CPU seconds  peak GB  over budget")
        for name, r in self.runs.items():
            row = f"{name:{width}}  {r.cells:5}  {r.seconds:7.1f}  {r.cpu:11.1f}  {r.gb:7.2f}  {self.over(r)}".rstrip()
            terminalreporter.write_line(row, red=bool(self.problem(r)), yellow=bool(self.over(r)))
