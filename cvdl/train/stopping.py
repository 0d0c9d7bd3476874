"""Ctrl-C, and the system's request to terminate, end a run where that is safe."""

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Notes Ctrl-C or SIGTERM while the block runs: `signal` becomes its number, and the loop can end where that is safe.

    A second signal ends the process at once, as it would without this class.
    """

    def __init__(self):
        self.signal, self.before = 0, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # only there can a signal be handled
            self.before = {number: signal.signal(number, self.note) for number in SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def note(self, number, _frame):
        self.signal = number
        self.__exit__()
