"""Training in several processes: if one of them fails, all of them stop.

A process that raises leaves the others waiting for it in a collective operation, such as summing the gradients, where
no exception can reach them.  Each process therefore has a thread that watches a store shared by all of them.
"""

import os
import sys
import threading
import time
from contextlib import contextmanager, suppress

from torch.distributed import TCPStore

POLL = 0.5  # seconds between two checks of the store
GRACE = 20  # the most seconds that a failed process waits for the others to read why


@contextmanager
def all_or_none(fabric):
    """Run a block in all processes.  If it raises in one of them, the others print why and exit with code 1."""
    if fabric.world_size == 1:
        yield
        return
    store, over = shared_store(fabric), threading.Event()
    watcher = threading.Thread(target=watch, args=(store, fabric.global_rank, over), daemon=True)
    watcher.start()
    try:
        yield
        fabric.barrier()
    except BaseException as error:  # KeyboardInterrupt and SystemExit, too, would leave the others waiting
        over.set()
        report(store, fabric, error)
        raise
    over.set()
    watcher.join()
    fabric.barrier()  # the first process holds the store, so it must not end while others still watch it


def shared_store(fabric):
    """A key-value store, served by the first process."""
    host = fabric.strategy.cluster_environment.main_address
    store = TCPStore(host, 0, is_master=True, wait_for_workers=False) if fabric.is_global_zero else None
    port = fabric.broadcast(store.port if store else None)
    return store or TCPStore(host, port, is_master=False, wait_for_workers=False)


def report(store, fabric, error):
    """Record an error in the store, and wait until all others have read it or have failed themselves."""
    with suppress(RuntimeError):  # the first process has ended, and the store with it
        store.set("failed", f"{fabric.global_rank} failed: {error or type(error).__name__}")
        ended = store.add("ended", 1)
        end = time.monotonic() + GRACE
        while ended < fabric.world_size and time.monotonic() < end:
            time.sleep(0.1)
            ended = store.add("ended", 0)


def watch(store, rank, over):
    """End this process when another one has failed."""
    while not over.wait(POLL):
        try:
            if not store.check(["failed"]):
                continue
            why = store.get("failed").decode()
            store.add("ended", 1)
        except RuntimeError:
            why = "0 ended without a message."
        if not over.is_set():
            print(f"Process {rank} stops, because process {why}", file=sys.stderr, flush=True)
            os._exit(1)  # the main thread may be waiting where no exception can reach it
