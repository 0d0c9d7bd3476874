"""pytest plugin for the run of the notebooks: how long each took and how much memory, against a budget.

    pytest -p tests.notebooks.plugin --nbval-lax notebooks solutions

A notebook fails as a whole if it ran no code, ran in no time, or went over the budget of its profile.
On a slow machine: PYTEST_ADDOPTS="-o notebook_seconds=200".

With -o notebook_record=FILE.json what was measured is written down, and with -o notebook_save=FOLDER the executed
notebooks are; tests.notebooks.measure uses both.
"""

import json
import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from queue import Empty

import nbformat
import psutil
import pytest

SECONDS = {"quick": 90, "laptop": 600, "gpu": 600}
GB = {"quick": 2, "laptop": 8, "gpu": 12}
PEAK, GPU_PEAK = "kernel's peak GB", "GPU's peak GB"
PROFILE = os.environ.get("CVDL_PROFILE") or "laptop"


def pytest_addoption(parser):
    for name, budgets in (("notebook_seconds", SECONDS), ("notebook_gb", GB)):
        parser.addini(name, "what a notebook may take", default=str(budgets.get(PROFILE, budgets["laptop"])))
    parser.addini("notebook_record", "JSON file to write what was measured to", default="")
    parser.addini("notebook_save", "folder to write the executed notebooks to", default="")


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # xdist's workers measure, and report to the one process that counts
        config.pluginmanager.register(Budget(config), "notebook-budget")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    kernel = getattr(item.parent, "kernel", None)
    pid = kernel and kernel.km.provisioner.pid  # asked for before the cell, which may end the kernel
    try:
        return (yield)
    finally:
        if pid:
            item.user_properties.append((PEAK, peak_memory(pid) / 1e9))
            if PROFILE == "gpu":
                item.user_properties.append((GPU_PEAK, peak_gpu_memory(kernel) / 1e9))
            item.cell.outputs = item.test_outputs or []
            item.cell.execution_count = item.cell_num + 1


def pytest_runtest_teardown(item, nextitem):
    folder, nb = item.config.getini("notebook_save"), getattr(item.parent, "nb", None)
    if folder and nb and (nextitem is None or nextitem.parent is not item.parent):
        path = Path(folder) / item.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, path)


def peak_memory(pid):
    """The most bytes the process has held; on macOS, which keeps no such number, those it holds now."""
    try:
        memory = psutil.Process(pid).memory_info()
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())  # a dead process has none
            return int(peak[1]) * 1024 if peak else 0
        return getattr(memory, "peak_wset", memory.rss)
    except (psutil.Error, OSError):  # the kernel has died, and its cell says so
        return 0


def peak_gpu_memory(kernel):
    """The most bytes that torch, in this kernel, has taken from the card: 0 if none.

    Its cache counts, so that this is what a card has to have, and not what a computation needs at least.
    """
    peak = "__import__('torch').cuda.max_memory_reserved() if 'torch' in __import__('sys').modules else 0"
    if not kernel.is_alive():
        return 0
    try:
        asked = kernel.kc.execute("", silent=True, store_history=False, user_expressions={"peak": peak})
        while (reply := kernel.get_message("shell", timeout=30))["parent_header"].get("msg_id") != asked:
            pass
        return int(reply["content"]["user_expressions"]["peak"]["data"]["text/plain"])
    except (Empty, KeyError):  # still busy with a cell whose time was up, or about to die: the cell says so
        return 0


def machine():
    """The processor's cores, and the GPU if there is one."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores{gpu}"


@dataclass
class Run:
    cells: int = 0
    seconds: float = 0
    gb: float = 0
    gpu_gb: float = 0
    passed: bool = True


class Budget:
    """Adds up the cells of each notebook and judges at the end."""

    def __init__(self, config):
        self.config, self.runs = config, {}
        self.seconds, self.gb = (float(config.getini(name)) for name in ("notebook_seconds", "notebook_gb"))

    def pytest_sessionstart(self):
        # from the disk, since a notebook without code cells is never reported
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
        run.gb = max(run.gb, properties.get(PEAK, 0))
        run.gpu_gb = max(run.gpu_gb, properties.get(GPU_PEAK, 0))

    def verdict(self, run):
        """What is wrong with a run, or None."""
        if not run.cells:
            return "ran no code cell: it is empty, or all of it is skipped"
        if run.seconds < 0.05:
            return f"ran its {run.cells} cells in {run.seconds:.3f} s: it does nothing"
        if run.seconds > self.seconds:
            return f"took {run.seconds:.1f} s, and may take {self.seconds:g}: do less in the profile of this run"
        if run.gb > self.gb:
            return f"held {run.gb:.1f} GB, and may hold {self.gb:g}: use smaller batches, or free what is done with"
        return None

    def pytest_sessionfinish(self, session, exitstatus):
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            return
        failed = self.config.pluginmanager.get_plugin("terminalreporter").stats.setdefault("failed", [])
        for name, run in self.runs.items():
            if why := self.verdict(run):
                place = (name, None, "budget")
                failed.append(pytest.TestReport(f"{name}::budget", place, {}, "failed", f"{name} {why}", "call"))
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
                run.passed = False
        if record := self.config.getini("notebook_record"):
            Path(record).write_text(json.dumps(self.measured(), indent=1) + "\n", encoding="utf-8")

    def measured(self):
        """One dict per notebook that ran."""
        where = {"profile": PROFILE, "date": date.today().isoformat(), "machine": machine()}
        return [
            {"notebook": Path(name).stem, **where, "seconds": round(r.seconds, 1), "gb": round(r.gb, 2)}
            | {"gpu_gb": round(r.gpu_gb, 2), "passed": r.passed}
            for name, r in self.runs.items()
            if r.cells
        ]

    def pytest_terminal_summary(self, terminalreporter):
        if not self.runs:
            return
        width = max(map(len, self.runs))
        terminalreporter.section("notebooks")
        terminalreporter.write_line(f"{'notebook':{width}}  cells  seconds  budget  peak GB  budget")
        for name, r in self.runs.items():
            terminalreporter.write_line(
                f"{name:{width}}  {r.cells:5}  {r.seconds:7.1f}  {self.seconds:6g}  {r.gb:7.2f}  {self.gb:6g}",
                red=bool(self.verdict(r)),
            )
