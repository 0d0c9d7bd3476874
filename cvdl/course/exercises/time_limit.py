"""A time limit on a call, on every platform and in every thread."""

import ctypes
import threading
import time
from contextlib import contextmanager

PATIENCE = 6  # the multiple of the limit after which a call is stopped even if it hardly got any CPU time


class TimeIsUp(BaseException):
    """Not an Exception, so that a student's `except Exception` does not swallow it."""


@contextmanager
def time_limit(seconds):
    """Raise TimeIsUp inside the block once it has used up its time limit.

    The limit is reached once `seconds` have elapsed and the process has used CPU time of at least 0.8 * seconds, so
    that a busy machine does not count against the block.  After PATIENCE * seconds it is reached in any case.  The
    exception is set in the running thread and raised at its next Python instruction; a single call into C is not
    interrupted.  It is set again every second, in case the code catches everything.
    """
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()
    begin, cpu, raised = time.monotonic(), time.process_time(), False

    def is_up():
        late = time.monotonic() - begin
        return late >= PATIENCE * seconds or (late >= seconds and time.process_time() - cpu >= 0.8 * seconds)

    def watch():
        nonlocal raised
        wait = seconds
        while not over.wait(wait):
            wait = min(1, seconds)
            with lock:  # so that nothing is raised once the block has been left
                if not over.is_set() and is_up():
                    raised = True
                    _raise_in(thread, TimeIsUp)

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        watcher.start()
        yield
    finally:
        try:
            with lock:
                over.set()
            for _ in range(100 * raised):  # an exception that is still pending is raised in this loop, not later
                pass
        finally:  # the exception may be raised before the lock is taken
            over.set()


def _raise_in(thread, exception):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(exception))
