"""A time limit on a call, on every platform and in every thread."""

import ctypes
import threading
from contextlib import contextmanager


class TimeIsUp(BaseException):
    """Not an Exception, so that a student's `except Exception` does not swallow it."""


@contextmanager
def time_limit(seconds):
    """Raise TimeIsUp inside the block once `seconds` have passed.

    The exception is set in the running thread and rises at its next Python instruction; a single call
    into C is not interrupted.  It is set again each second, for code that catches everything.
    """
    thread, over, lock = threading.get_ident(), threading.Event(), threading.Lock()

    def watch():
        wait = seconds
        while not over.wait(wait):
            wait = 1
            with lock:  # so that nothing is raised once the block has been left
                if not over.is_set():
                    _raise_in(thread, TimeIsUp)

    watcher = threading.Thread(target=watch, daemon=True)
    try:
        watcher.start()
        yield
    finally:
        try:
            with lock:
                over.set()
                _raise_in(thread, None)
        finally:  # the exception may rise right here
            over.set()


def _raise_in(thread, exception):
    target = ctypes.py_object(exception) if exception else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), target)
