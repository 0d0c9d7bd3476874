"""Peak memory: what is alive at once counts, and views do not count again."""

import torch

from cvdl.course.notebook.peak_memory import PeakMemory

FLOATS = 4 * 1000


def test_what_is_alive_at_once_counts():
    with PeakMemory() as memory:
        a = torch.zeros(1000)
        b = a + 1
        del b
        c = a * 2
    assert memory.peak == 2 * FLOATS and len(c) == 1000


def test_views_are_free_and_earlier_tensors_do_not_count():
    before = torch.zeros(1000)
    with PeakMemory() as memory:
        copy = before.clone()
        copy.view(10, 100)[2:].transpose(0, 1)
    assert memory.peak == FLOATS
