"""The command `cvdl`, where Ctrl-C ends it with one line, during the first imports and at its end, too."""

import os
import signal
import sys
from contextlib import suppress

STOPPED = 130  # the exit code of what Ctrl-C has stopped


def main():
    """Run the command, and leave Python with its exit code."""
    try:
        from cvdl.cli.app import app

        app()
    except KeyboardInterrupt:  # among the imports; the commands themselves catch it
        say_stopped()
        sys.exit(STOPPED)
    finally:
        leave_at_once()


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


if __name__ == "__main__":
    main()
