"""What the server of `tests.train.apart` imports and loads, so that its processes need not."""

import torch

torch.set_num_threads(1)  # a process that is forked would wait for threads that it does not have

import cvdl.cli.bench  # noqa: E402, F401  `cvdl train` imports it
from cvdl.data.textures import chair_bank, photo_bank  # noqa: E402
from cvdl.flow.data.augment import noise_table  # noqa: E402
from tests.train import apart  # noqa: E402, F401

for split in ("train", "test"):
    photo_bank(split)
    chair_bank(split)
noise_table(torch.device("cpu"))
