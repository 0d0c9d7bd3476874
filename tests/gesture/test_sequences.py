"""Functions on sequences of frames, against loops and against what the networks do."""

import doctest
import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence, unpad_sequence

from cvdl.course.exercises.chapters.gesture import shapes, what_order_does
from cvdl.gesture import sequences
from cvdl.gesture.clip import CLASSES
from cvdl.gesture.nets import RATE, GestureNet, TrackLSTM, cells, rows_and_columns, ticks
from cvdl.gesture.nets import soft_argmax as near_argmax


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def clips(*lengths, width=4):
    return [torch.randn(length, width) for length in lengths]


def test_worked_examples():
    found = doctest.testmod(sequences, extraglobs={"torch": torch})
    assert found.attempted == 2 and not found.failed


@pytest.mark.parametrize("fps", [5, 10, 12.5, 15, 24, 25, 29.97, 30, 60])
@pytest.mark.parametrize("rate", [1, 4, 10, 12, 15, 30])
def test_frames_are_the_newest_at_each_tick(fps, rate):
    begins = [Fraction(frame) / Fraction(str(fps)) for frame in range(101)]
    for count in (1, 2, 7, 100):
        wanted, tick = [], 0
        while Fraction(tick, rate) < begins[count]:
            wanted.append(max(frame for frame in range(count) if begins[frame] <= Fraction(tick, rate)))
            tick += 1
        assert sequences.frames_seen(count, fps, rate) == wanted


def test_frames_are_those_of_the_networks():
    for fps in (7, 25, 30):
        assert sequences.frames_seen(50, fps, RATE) == ticks(50, fps).tolist()


def test_soft_argmax_of_one_bright_cell_is_this_cell():
    scores = torch.zeros(3, 4, 5)
    for n, (x, y) in enumerate([(0, 0), (4, 1), (2, 3)]):
        scores[n, y, x] = 1e4
        assert torch.allclose(sequences.soft_argmax(scores)[n], torch.tensor([x, y]).float())
    assert torch.autograd.gradcheck(sequences.soft_argmax, torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True))


def test_soft_argmax_is_the_networks_without_its_bounds():
    size = (32, 48)
    rows, columns = rows_and_columns(size)
    scores = torch.randn(3, rows, columns)
    surely = torch.full((3, 1), -1e9)  # the tip is seen
    theirs = near_argmax(torch.cat([surely, scores.flatten(1)], 1), size, reach=99)[:, :2]
    ours = (sequences.soft_argmax(scores) + 0.5) / torch.tensor([columns, rows]) * 2 - 1
    assert torch.allclose(ours, theirs, atol=1e-5) and len(cells(size)) == rows * columns


def test_padding_comes_off_again():
    some = clips(3, 1, 6, 2)
    padded, mask = sequences.pad(some)
    assert torch.equal(padded, pad_sequence(some)) and mask.dtype == torch.bool
    for clip, back in zip(some, unpad_sequence(padded, mask.sum(0)), strict=True):
        assert torch.equal(clip, back)


@pytest.mark.parametrize("lengths", [(4,), (3, 3), (2, 5, 1), (1, 1, 1)])
def test_losses_against_clips_one_by_one(lengths):
    some = clips(*lengths, width=5)
    logits, mask = sequences.pad(some)
    logits[~mask] = math.nan
    labels = torch.randint(5, mask.shape)
    one = [F.cross_entropy(clip[-1], labels[0, b]) for b, clip in enumerate(some)]
    assert torch.allclose(sequences.many_to_one(logits, mask, labels[0]), torch.stack(one).mean())
    many = [F.cross_entropy(clip[t], labels[t, b]) for b, clip in enumerate(some) for t in range(len(clip))]
    assert torch.allclose(sequences.many_to_many(logits, mask, labels), torch.stack(many).mean())


def first_by_loop(probabilities, threshold, hold):
    count, before = 0, None
    for t, row in enumerate(probabilities.tolist()):
        kind = row.index(max(row))
        sure = kind != len(row) - 1 and row[kind] >= threshold
        count = (count + 1 if kind == before else 1) if sure else 0
        before = kind if sure else None
        if count == hold:
            return kind, t
    return len(row) - 1, t + 1


def test_first_decision_against_a_loop():
    found = set()
    for _ in range(300):
        T, hold = (int(torch.randint(1, n, ())) for n in (20, 4))
        probabilities = (3 * torch.randn(T, 3)).softmax(1)
        decision = sequences.first_decision(probabilities, 0.6, hold)
        assert decision == first_by_loop(probabilities, 0.6, hold)
        found.add(decision[0])
    assert found == {0, 1, 2}


def test_shapes_in_the_exercise_are_the_networks():
    seen = {}
    with torch.device("meta"):
        net = GestureNet(classes=len(CLASSES))
        net.cnn.at2.register_forward_hook(lambda _, inputs, output: seen.update(first=output.shape))
        net.memory.read.register_forward_hook(lambda _, inputs, output: seen.update(features=inputs[0].shape))
        frames = torch.zeros(32, 4, 3, 120, 160)
        seen["maps"], seen["scores"] = (each.shape for each in net.detect(frames.flatten(0, 1)))
        points = torch.zeros(32, 4, 3)
        seen["logits"] = net.memory(points)[0].shape
    assert {name: tuple(shape) for name, shape in seen.items()} == shapes()


@pytest.mark.parametrize("memory", ["last", "mean", "lstm"])
def test_order_in_the_exercise_is_as_the_memories_take_it(memory):
    net, points = GestureNet(memory).memory, torch.rand(12, 1, 3)
    for way, order in (("a", [*torch.randperm(11).tolist(), 11]), ("b", torch.randperm(12).flip(0).tolist())):
        assert way == "a" or order[-1] != 11
        with torch.no_grad():
            before, after = net(points)[0][-1], net(points[order])[0][-1]
        name = "LSTM" if isinstance(net, TrackLSTM) else memory
        same = torch.allclose(before, after, atol=1e-5)
        assert what_order_does()[f"{name}, {way}"] == ("same" if same else "may change")
