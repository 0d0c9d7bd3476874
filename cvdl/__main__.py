"""The command `cvdl`, where Ctrl-C ends it with one line, also during the first imports and at its end."""

import sys

from cvdl.cli.interrupt import STOPPED, leave_at_once, say_stopped


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


if __name__ == "__main__":
    main()
