"""How the command ends on Ctrl-C: with one line and exit code 130."""

import os
import signal
import sys
from contextlib import suppress

STOPPED = 130  # the exit code of what Ctrl-C has stopped


def say_stopped():
    leave_at_once()
    print("\nStopped.", file=sys.stderr)


def leave_at_once():
    """From here on nothing is left to do: Ctrl-C ends the process without a word, instead of a traceback from atexit."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a closed pipe
            stream.flush()
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
