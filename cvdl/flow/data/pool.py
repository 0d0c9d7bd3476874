"""A pool of rendered pairs: rendered once to a memory-mapped file, then sampled in random order.

    pool = Pool.open("pools", "chairs", count=2000)      # renders what is missing
    mixture = Mixture({"chairs": pool, "things": other}, {"chairs": 0.6, "things": 0.4}, seed=0)
    pairs = mixture.pairs(range(8))                       # sample i is always the same pair

Rendering a pair takes as long as training on it, so a pool pays as soon as a pair is used twice.  Together with
augmentation, which shows a different part of it under a different light each time, a few thousand pairs are enough.

A pool is a folder with two files: `pairs.bin` holds one record after the other, both images as uint8 and the flow in half
precision (at 80 px it is exact to 0.03 px), and `pool.json` describes them.  A run that was killed continues with the last
complete record.
"""

import bisect
import hashlib
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from cvdl.data.arguments import check_size, check_split, check_whole
from cvdl.errors import InvalidInput, WriteFailed
from cvdl.flow.data.chairs import FULL, FlowBatch
from cvdl.flow.data.random_numbers import draw_uniform
from cvdl.flow.data.rendered import rendered

VERSION = 1  # of the format
CHUNK = 8  # pairs that a worker renders at a time
PIXELS = 2**23  # of frames that a GPU renders at a time; it takes some 4 GB for it
STREAM = 5  # separates the random numbers that choose a pair from those that render it
GOLDEN = (math.sqrt(5) - 1) / 2
# Speeds in px, finer than the bands of `cvdl eval`: most pixels of chairs move by less than 10 px.
BANDS = {"0-1": (0, 1), "1-3": (1, 3), "3-10": (3, 10), "10-40": (10, 40), "40+": (40, math.inf)}


class TimeIsUp(Exception):
    """The deadline has passed, and pairs are still missing.  Complete pairs are kept."""


def passed(deadline):
    """Whether a time of `time.monotonic` has passed; False for None."""
    return deadline is not None and time.monotonic() > deadline


class Pool:
    """Rendered pairs of one kind.  Index i is always the same pair.

    Attributes:
        about: what the pairs are, as in pool.json.
        images: (N, 2, 3, H, W) uint8; mapped from the file, or on `device`.
        flow: (N, 2, H, W) float16.
    """

    def __init__(self, about, images, flow, device="cpu", folder=None):
        self.about, self.device = about, torch.device(device)
        self.images, self.flow, self.estimates = images.to(self.device), flow.to(self.device), []
        self.folder = folder

    def __len__(self):
        return len(self.images)

    @classmethod
    def open(
        cls,
        folder,
        kind,
        count,
        *,
        size=FULL,
        split="train",
        seed=0,
        varied=True,
        device="cpu",
        workers=None,
        deadline=None,
    ):
        """The first `count` pairs of a pool; missing ones are rendered and added.

        Args:
            folder: where pools are; each has a subfolder.
            kind: a kind of `rendered`.
            size, split, seed, varied: as for `rendered`.
            device: where the pairs are rendered and kept.  On a GPU all of them are copied to its memory.
            workers: processes that render on a CPU; None: as many as torch uses threads.
            deadline: a time of `time.monotonic` after which no more pairs are rendered; None: there is none.

        Raises:
            TimeIsUp: the deadline has passed, and pairs are missing.
            InvalidInput: the pool was rendered by another version of the course, or pool.json is damaged.
            WriteFailed: the disk is full.  Complete pairs are kept.
        """
        check_whole(count, "count", least=1)
        size = check_size(size)
        about = {"version": VERSION, "kind": kind, "size": list(size), "split": check_split(split), "seed": seed}
        about["varied"] = bool(varied)
        name = f"{kind}-{split}-{size[0]}x{size[1]}-s{seed}" + ("" if varied else "-photos")
        folder, record = Path(folder) / name, record_type(size)
        path = folder / "pairs.bin"
        source = rendered(kind, size=size, split=split, seed=seed, varied=varied, device=device)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):
                check_about(folder, about)
                there = path.stat().st_size // record.itemsize if path.exists() else 0
                if there:
                    check_first(path, record, source)
                if there < count:
                    render(path, record, source, there, count, workers, deadline)
        except OSError as error:
            raise WriteFailed(
                f"The pool {folder} could not be written ({error}). Is the disk full? It needs "
                f"{count * record.itemsize / 2**30:.1f} GB; complete pairs are kept. Free some space, or name another "
                "folder with --pool."
            ) from error
        records = np.memmap(path, record, "c", shape=(count,))  # copy on write: torch has no read-only tensors
        return cls(
            about | {"count": count}, *(torch.from_numpy(records[part]) for part in ("images", "flow")), device, folder
        )

    def pairs(self, indices):
        """Pairs with images and flow; `valid` is None, which means everywhere, and so is what the pool does not keep."""
        return collate([(self, i) for i in indices])

    def add_estimates(self, name, net, deadline=None):
        """Add the flows that a network predicts on all pairs, as `estimates` of the pairs.

        They are computed once on complete frames, and kept in a file beside the pairs.  A network that refines them
        (FlowNet 2.0's stack) then trains without running those before it.

        Args:
            name: of the network, for the file.
            net: in eval mode.  Its weights are part of the file's name, so that other weights get another file.
            deadline: as for `open`.
        """
        digest = hashlib.sha256(b"".join(w.detach().cpu().numpy().tobytes() for w in net.state_dict().values()))
        path = self.folder / f"flow-of-{name}-{digest.hexdigest()[:12]}.bin"
        shape, net = tuple(self.flow.shape[1:]), net.to(self.device)
        record = np.dtype((np.float16, shape))
        with FileLock(self.folder / "lock"), path.open("ab") as file, torch.no_grad():
            there = path.stat().st_size // record.itemsize  # more than needed, if the pool was opened larger before
            file.truncate(there * record.itemsize)
            progress = dict(desc=f"flow of {name} on {self.folder.name}", unit="pair", disable=there >= len(self))
            for i in tqdm(range(there, len(self)), **progress):
                if passed(deadline):
                    raise TimeIsUp
                images = self.images[i][None].float().div_(255)
                file.write(net(images[:, 0], images[:, 1])[0].half().cpu().numpy().tobytes())
        flows = np.memmap(path, np.float16, "c", shape=(len(self), *shape))
        self.estimates.append(torch.from_numpy(flows).to(self.device))

    def histogram(self, count=200):
        """Shares of pixels per speed band, {band: share}, over at most `count` pairs."""
        speed = torch.cat([self.flow[i].float().norm(dim=0).flatten()[::16] for i in range(min(count, len(self)))])
        bands = {name: ((speed >= low) & (speed < high)).float().mean().item() for name, (low, high) in BANDS.items()}
        return {name: round(share, 3) for name, share in bands.items()}


def collate(chosen):
    """Pairs of [(pool, index)], in this order.  Frames are copied as bytes, and converted to numbers all at once."""
    images = torch.stack([pool.images[i] for pool, i in chosen])
    image1, image2 = (images[:, frame].float().div_(255) for frame in (0, 1))
    flow = torch.stack([pool.flow[i] for pool, i in chosen]).float()
    estimates = zip(*([each[i] for each in pool.estimates] for pool, i in chosen), strict=True)
    return FlowBatch(image1, image2, flow, None, None, None, tuple(torch.stack(each).float() for each in estimates))


def record_type(size):
    return np.dtype([("images", np.uint8, (2, 3, *size)), ("flow", np.float16, (2, *size))])


def check_about(folder, about):
    """Write pool.json, or check that it describes the same pairs."""
    path = folder / "pool.json"
    if not path.exists():
        path.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is damaged: {error}. {REMEDY.format(folder=folder)}") from error
    if there != about:
        raise InvalidInput(
            f"{folder} contains a pool of another kind or from another version of the course: {there} instead of {about}. "
            + REMEDY.format(folder=folder)
        )


def check_first(path, record, source):
    """Compare the first pair with the one that this version of the course renders."""
    there = np.fromfile(path, record, 1)[0]
    here = to_records(source.pairs([0]), record)[0]
    gap = np.abs(there["images"].astype(np.int16) - here["images"]).mean()
    if gap > 1 or np.abs(there["flow"].astype(np.float32) - here["flow"]).mean() > 0.1:  # a GPU rounds differently
        raise InvalidInput(
            f"{path.parent} was rendered by another version of the course: its first pair differs from the one that is "
            "rendered now. " + REMEDY.format(folder=path.parent)
        )


REMEDY = "Delete {folder} to render it again, or name another folder with --pool."


def render(path, record, source, there, count, workers=None, deadline=None):
    """Add pairs number `there` to `count` to a file that holds `there` complete records and perhaps a part of one."""
    if passed(deadline):
        raise TimeIsUp
    label = f"rendering {path.parent.name}"
    with path.open("ab") as file, tqdm(total=count, initial=there, desc=label, unit="pair") as bar:
        file.truncate(there * record.itemsize)
        for content in rendered_chunks(source, range(there, count), record, workers):
            file.write(content)
            file.flush()
            bar.update(len(content) // record.itemsize)
            if passed(deadline) and bar.n < count:
                raise TimeIsUp


def rendered_chunks(source, numbers, record, workers=None):
    """Records of these pairs, in order."""
    on_cpu = source.device.type == "cpu"
    chunks = Chunks(source, numbers, CHUNK if on_cpu else max(1, PIXELS // math.prod(source.size)), record)
    workers = min(workers or torch.get_num_threads(), len(chunks)) if on_cpu else 1
    for content in DataLoader(chunks, batch_size=None, num_workers=workers if workers > 1 else 0):
        yield content.numpy().tobytes()


class Chunks(Dataset):
    """Rendered pairs, several at a time, as bytes of the file."""

    def __init__(self, source, numbers, size, record):
        self.source, self.record = source, record
        self.numbers = [numbers[i : i + size] for i in range(0, len(numbers), size)]

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, i):
        records = to_records(self.source.pairs(self.numbers[i]), self.record)
        return torch.from_numpy(np.frombuffer(records.tobytes(), np.uint8).copy())


def to_records(pairs, record):
    if not bool(pairs.valid.all()):
        raise InvalidInput("A pool keeps pairs whose flow is known everywhere; these are not.")
    records = np.empty(len(pairs.image1), record)
    images = torch.stack([pairs.image1, pairs.image2], 1)
    records["images"] = images.mul(255).round_().byte().cpu().numpy()
    records["flow"] = pairs.flow.half().cpu().numpy()
    return records


class Mixture:
    """Samples from several pools in given shares.  Sample i is always the same pair.

    pools: {kind: Pool}; shares: {kind: share}, which are divided by their sum.  Among any consecutive samples the kinds
    appear in these shares, as nearly as possible; within a kind, pairs are chosen at random.
    """

    def __init__(self, pools, shares, seed=0):
        self.pools, self.seed = {kind: pools[kind] for kind in shares}, seed
        total = sum(shares.values())
        self.shares = [share / total for share in shares.values()]
        self.bounds = list(itertools.accumulate(self.shares))

    def histogram(self):
        """Shares of pixels per speed band, {band: share}, before augmentation."""
        each = [pool.histogram() for pool in self.pools.values()]
        return {band: round(sum(s * h[band] for s, h in zip(self.shares, each, strict=True)), 3) for band in BANDS}

    def pairs(self, indices):
        indices = list(indices)
        chosen = draw_uniform((self.seed, STREAM), indices)
        kinds = [min(bisect.bisect(self.bounds, (i * GOLDEN) % 1), len(self.bounds) - 1) for i in indices]
        pools = [list(self.pools.values())[kind] for kind in kinds]
        return collate([(pool, int(part * len(pool))) for pool, part in zip(pools, chosen.tolist(), strict=True)])
