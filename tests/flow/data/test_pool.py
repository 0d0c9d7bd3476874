"""A pool holds the pairs that are rendered, whatever happens while it is written."""

import json
import multiprocessing
import os
import signal
from collections import Counter

import numpy as np
import pytest
import torch

from cvdl.errors import InvalidInput, WriteFailed
from cvdl.flow.data import pool as pools
from cvdl.flow.data.pool import BANDS, GOLDEN, Mixture, Pool, record_type
from cvdl.flow.data.rendered import rendered
from tests import RUNAWAY
from tests.train import full_disk

SIZE = (32, 48)
RECORD = record_type(SIZE).itemsize
NAME = "chairs-train-32x48-s0"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(pools, "CHUNK", 2)


def opened(folder, count=5, kind="chairs", **options):
    return Pool.open(folder, kind, count, size=SIZE, **{"workers": 1} | options)


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Folder of a pool with five pairs."""
    folder = tmp_path_factory.mktemp("pools")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "CHUNK", 2)
        opened(folder)
    return folder


@pytest.fixture
def folder(five, tmp_path):
    """A copy of it, which a test may spoil."""
    (tmp_path / NAME).mkdir()
    for name in ("pairs.bin", "pool.json"):
        (tmp_path / NAME / name).write_bytes((five / NAME / name).read_bytes())
    return tmp_path


def content(folder):
    return (folder / NAME / "pairs.bin").read_bytes()


class Counted:
    """Counts which pairs are rendered."""

    def __init__(self, monkeypatch):
        self.rendered = []

        def source(kind, **options):
            made = rendered(kind, **options)
            pairs = made.pairs
            made.pairs = lambda indices: (self.rendered.extend(indices), pairs(indices))[1]
            return made

        monkeypatch.setattr(pools, "rendered", source)


# What a pool holds.


@pytest.mark.parametrize("kind", ["chairs", "things"])
def test_pairs_are_those_that_are_rendered(tmp_path, kind):
    pool = opened(tmp_path, 3, kind)
    chosen = [2, 0, 2]
    pairs, wanted = pool.pairs(chosen), rendered(kind, size=SIZE, varied=True).pairs(chosen)
    for name in ("image1", "image2"):
        torch.testing.assert_close(getattr(pairs, name), getattr(wanted, name), rtol=0, atol=0.5 / 255 + 1e-6)
    torch.testing.assert_close(pairs.flow, wanted.flow, rtol=2**-11, atol=1e-6)  # half precision
    assert pairs.flow.dtype == pairs.image1.dtype == torch.float32
    assert pairs[3:6] == (None, None, None)  # a valid of None means everywhere, as it is of rendered pairs
    assert wanted.valid.all()


def test_splits_seeds_and_kinds_have_pools_of_their_own(tmp_path):
    options = [{}, {"seed": 1}, {"split": "test"}, {"kind": "even"}, {"varied": False}]
    made = [opened(tmp_path, 1, **each) for each in options]
    assert len(list(tmp_path.iterdir())) == len(options)
    flows = [pool.pairs([0]).flow for pool in made[:4]]
    assert all(not torch.equal(a, b) for i, a in enumerate(flows) for b in flows[:i])
    assert [pool.about["split"] for pool in made[:3]] == ["train", "train", "test"]


def test_what_is_read_leaves_the_file_alone(folder):
    before, pool = content(folder), opened(folder)
    pool.pairs([1]).image1.zero_()
    pool.flow[1] = 7
    assert content(folder) == before
    assert opened(folder).pairs([1]).flow.max() != 7


def test_histogram(five):
    pool = opened(five)
    shares = pool.histogram()
    assert list(shares) == list(BANDS) and sum(shares.values()) == pytest.approx(1, abs=0.003)  # rounded
    speed = torch.cat([flow.float().norm(dim=0).flatten()[::16] for flow in pool.flow])
    assert shares["1-3"] == pytest.approx(((speed >= 1) & (speed < 3)).float().mean().item(), abs=0.001)
    mixed = Mixture({"a": pool, "b": pool}, {"a": 1, "b": 2}).histogram()
    assert mixed == pytest.approx(shares, abs=0.002)


# How it grows.


def test_growing_keeps_what_is_there(folder, monkeypatch):
    five, counted = content(folder), Counted(monkeypatch)
    grown = opened(folder, 8)
    assert counted.rendered == [0, 5, 6, 7]  # the first pair is compared
    assert len(grown) == 8 and content(folder)[: len(five)] == five
    fewer = opened(folder, 3)
    assert len(fewer) == 3 and counted.rendered[4:] == [0] and len(content(folder)) == 8 * RECORD


@pytest.mark.parametrize("there", [0, 10, RECORD - 1, 2 * RECORD, 3 * RECORD + RECORD // 2])
def test_a_file_cut_short_is_completed_with_the_same_bytes(folder, there):
    complete = content(folder)
    os.truncate(folder / NAME / "pairs.bin", there)
    opened(folder)
    assert content(folder) == complete


def test_workers_give_the_same_bytes(five, tmp_path):
    opened(tmp_path, workers=2)
    assert content(tmp_path) == content(five)


def killed_after_two_chunks(folder):
    chunks = pools.rendered_chunks

    def two(*arguments):
        for number, chunk in enumerate(chunks(*arguments)):
            if number == 2:
                with (folder / NAME / "pairs.bin").open("ab") as file:
                    file.write(chunk[:100])
                os.kill(os.getpid(), signal.SIGKILL)
            yield chunk

    pools.rendered_chunks = two
    torch.set_num_threads(1)
    opened(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_leaves_complete_records(five, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=killed_after_two_chunks, args=(tmp_path,))
    process.start()
    process.join(RUNAWAY)
    assert process.exitcode == -signal.SIGKILL
    assert content(tmp_path) == content(five)[: 4 * RECORD + 100]
    opened(tmp_path)  # nor does the lock of the killed process matter
    assert content(tmp_path) == content(five)


def test_a_full_disk_keeps_complete_pairs(five, tmp_path, monkeypatch):
    with full_disk(3 * RECORD + 10), pytest.raises(WriteFailed, match=r"disk full.*--pool"):
        opened(tmp_path)
    there = content(tmp_path)
    assert len(there) >= 2 * RECORD and there == content(five)[: len(there)]
    counted = Counted(monkeypatch)
    opened(tmp_path)
    assert content(tmp_path) == content(five) and not {1, 2} & set(counted.rendered)


# What is refused.


def test_a_pool_of_another_version(folder):
    path = folder / NAME / "pool.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 0}))
    with pytest.raises(InvalidInput, match=r"another version of the course.*Delete .*chairs-train.*--pool"):
        opened(folder)


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[]"])
def test_a_damaged_description(folder, text):
    (folder / NAME / "pool.json").write_text(text)
    with pytest.raises(
        InvalidInput, match=r"Delete .*chairs-train.* to render it again, or name another folder with --pool"
    ):
        opened(folder)


def test_a_description_that_is_no_text(folder):
    (folder / NAME / "pool.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"is damaged.*Delete"):
        opened(folder)


@pytest.mark.parametrize("part, change", [("images", 3), ("flow", 1)])
def test_pairs_that_another_renderer_made(folder, part, change):
    path = folder / NAME / "pairs.bin"
    records = np.fromfile(path, record_type(SIZE))
    records[part][0] += change
    records.tofile(path)
    with pytest.raises(InvalidInput, match=r"first pair differs.*Delete .*--pool"):
        opened(folder)
    assert path.stat().st_size == 5 * RECORD


def test_rounding_by_another_device_is_accepted(folder):
    path = folder / NAME / "pairs.bin"
    records = np.fromfile(path, record_type(SIZE))
    records["images"][0, 0, :, ::3] ^= 1
    records["flow"][0] += np.float16(0.01)
    records.tofile(path)
    assert len(opened(folder)) == 5


@pytest.mark.parametrize("options", [{"kind": "tables"}, {"split": "val"}, {"count": 0}])
def test_what_cannot_be_rendered(tmp_path, options):
    with pytest.raises(InvalidInput):
        opened(tmp_path, **options)
    assert not list(tmp_path.iterdir())


# Mixtures.


class Numbered:
    """A pool whose pairs show their index."""

    estimates = ()

    def __init__(self, count, sign):
        value = sign * (1.0 + torch.arange(count)).view(-1, 1, 1, 1)
        self.images, self.flow = torch.zeros(count, 2, 3, 2, 2, dtype=torch.uint8), value.half().expand(-1, 2, 2, 2)

    def __len__(self):
        return len(self.flow)


def seen(mixture, indices):
    return mixture.pairs(indices).flow[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("shares", [{"a": 0.7, "b": 0.3}, {"a": 7, "b": 3}])
def test_shares_hold_among_consecutive_samples(shares):
    mixture = Mixture({"b": Numbered(50, -1), "a": Numbered(30, 1)}, shares)
    kinds = [value > 0 for value in seen(mixture, range(1000))]
    for length in (10, 50):
        counts = [sum(kinds[i : i + length]) for i in range(1000 - length)]
        assert all(abs(count - 0.7 * length) <= 2 for count in counts)


def test_a_kind_without_a_share_is_left_out():
    mixture = Mixture({"a": Numbered(5, 1), "b": Numbered(5, -1)}, {"b": 1.0})
    assert all(value < 0 for value in seen(mixture, range(20))) and list(mixture.pools) == ["b"]


def test_a_sample_is_the_same_in_any_batch():
    mixture = Mixture({"a": Numbered(50, 1), "b": Numbered(30, -1)}, {"a": 0.5, "b": 0.5}, seed=3)
    together = seen(mixture, range(40))
    assert [seen(mixture, [i])[0] for i in range(40)] == together
    assert seen(mixture, [17, 3, 3, 39]) == [together[i] for i in (17, 3, 3, 39)]
    again = Mixture({"a": Numbered(50, 1), "b": Numbered(30, -1)}, {"a": 0.5, "b": 0.5}, seed=3)
    assert seen(again, range(40)) == together
    other = Mixture(mixture.pools, {"a": 0.5, "b": 0.5}, seed=4)
    assert seen(other, range(40)) != together


def test_all_pairs_of_a_kind_are_drawn():
    counts = Counter(seen(Mixture({"a": Numbered(20, 1)}, {"a": 1.0}), range(2000)))
    assert len(counts) == 20 and min(counts.values()) > 50 and max(counts.values()) < 150


def test_a_mixture_of_pools(five):
    """All parts of a pair come from one pool, in the order of the samples."""
    pool = {"chairs": opened(five), "things": opened(five, 2, "things")}
    mixture = Mixture(pool, {"chairs": 0.5, "things": 0.5}, seed=1)
    pairs = mixture.pairs(range(6))
    singles = [mixture.pairs([i]) for i in range(6)]
    for name in ("image1", "image2", "flow"):
        assert torch.equal(getattr(pairs, name), torch.cat([getattr(single, name) for single in singles])), name
    first = ["chairs" if (i * GOLDEN) % 1 < 0.5 else "things" for i in range(6)]
    assert len(set(first)) == 2
    for kind, single in zip(first, singles, strict=True):
        assert any(torch.equal(single.flow, pool[kind].pairs([k]).flow) for k in range(len(pool[kind])))
