"""The time limit on a student's call: what counts as time, and what it leaves behind."""

import contextlib
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from cvdl.course.exercises import time_limit as limit
from cvdl.course.exercises.time_limit import TimeIsUp, time_limit
from tests import RUNAWAY


def test_it_leaves_nothing_behind():
    for _ in range(50):
        with contextlib.suppress(TimeIsUp), time_limit(0.001):
            time.sleep(0.0008)
    time.sleep(0.05)
    with pytest.raises(TimeIsUp), time_limit(0.05):
        while True:
            pass


@pytest.mark.parametrize(
    "late, cpu, stopped",
    [(0.5, 9.0, False), (1.5, 0.1, False), (1.5, 1.4, True), (limit.PATIENCE + 0.5, 0.1, True)],
    ids=["in time, on many cores", "late, but hardly ran", "late", "far too late"],
)
def test_a_busy_machine_takes_no_time_from_a_student(monkeypatch, late, cpu, stopped):
    """By clocks of our own, which jump once the block has begun; both in units of the limit."""
    seconds, now = 0.01, [0.0, 0.0]
    clocks = SimpleNamespace(monotonic=lambda: now[0], process_time=lambda: now[1])
    monkeypatch.setattr(limit, "time", clocks)
    came = False
    try:
        with time_limit(seconds):
            now[:] = late * seconds, cpu * seconds
            for _ in range(20):
                time.sleep(seconds)
    except TimeIsUp:
        came = True
    assert came == stopped


def test_it_ends_under_a_tracer():
    """Debuggers and coverage set one; Python 3.11 then never leaves a block in which an exception was cleared."""
    code = (
        "import sys; from cvdl.course.exercises.time_limit import time_limit\n"
        "sys.settrace(lambda *_: None)\nwith time_limit(100): pass\nprint('left')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=RUNAWAY)
    assert done.stdout == "left\n", done.stderr
