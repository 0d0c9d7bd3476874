"""Networks and recogniser: causal, constant memory, indifferent to the frame rate, cheap."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cvdl import zoo
from cvdl.errors import CourseError
from cvdl.flow import SPyNet
from cvdl.gesture import CLASSES, Recogniser
from cvdl.gesture.evaluate import of_clips, of_streams
from cvdl.gesture.files import SIZE
from cvdl.gesture.nets import MEMORIES, GestureNet, TrackLSTM, cells, heatmap_loss, places, soft_argmax, ticks
from cvdl.gesture.render import Gestures

nan = float("nan")


def net_of(memory, seed=0):
    torch.manual_seed(seed)
    return GestureNet(memory, width=4)


def film(count, size=SIZE, seed=0):
    return torch.randint(0, 256, (count, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# Time.


@pytest.mark.parametrize(
    "count, fps, wanted",
    [
        (11, 25, [0, 2, 5, 7, 10]),
        (3, 5, [0, 0, 1, 1, 2, 2]),
        (4, 10, [0, 1, 2, 3]),
        (7, 30, [0, 3, 6]),
        (1, 30, [0]),
        (4, 17, [0, 1, 3]),
        (5, 29.97, [0, 2]),
    ],
)
def test_ticks(count, fps, wanted):
    assert ticks(count, fps).tolist() == wanted


@pytest.mark.parametrize("fps", [5, 8.3, 10, 15, 17, 29.97, 60])
def test_recognising_is_running_the_net_on_its_ticks(fps):
    frames, net = film(14), net_of("lstm").eval()
    rows = Recogniser(net).recognise(frames, fps)
    seen = ticks(len(frames), fps)
    with torch.no_grad():
        logits, _ = net(frames[seen].permute(0, 3, 1, 2)[:, None])
    newest = [int((seen <= t).nonzero()[-1]) for t in range(len(frames))]  # the last tick that frame t was there for
    torch.testing.assert_close(rows, logits[newest, 0].softmax(1), atol=1e-5, rtol=1e-4)
    assert rows.shape == (14, len(CLASSES)) and torch.allclose(rows.sum(1), torch.ones(14))


@pytest.mark.parametrize("memory", MEMORIES)
def test_causal(memory):
    recogniser, frames = Recogniser(net_of(memory)), film(8)
    rows = recogniser.recognise(frames, 10)
    changed = torch.cat([frames[:5], film(3, seed=1)])
    torch.testing.assert_close(recogniser.recognise(changed, 10)[:5], rows[:5])
    torch.testing.assert_close(recogniser.recognise(frames[:3], 10), rows[:3])
    assert not torch.equal(recogniser.recognise(changed, 10)[5:], rows[5:])


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_frame_rate_does_not_matter(memory):
    """Every frame shown three times, at thrice the rate."""
    recogniser, frames = Recogniser(net_of(memory)), film(6)
    slow, fast = recogniser.recognise(frames, 10), recogniser.recognise(frames.repeat_interleave(3, 0), 30)
    torch.testing.assert_close(fast[::3], slow)
    assert all(torch.equal(fast[t], fast[3 * (t // 3)]) for t in range(18))


@pytest.mark.parametrize("memory", MEMORIES)
def test_memory_does_not_grow(memory):
    net = net_of(memory).eval()

    def size(state):
        if isinstance(state, torch.Tensor):
            return state.numel()
        return sum(map(size, state)) if isinstance(state, (tuple, list)) else 0

    state, sizes = None, set()
    with torch.no_grad():
        for frame in film(6).permute(0, 3, 1, 2):
            _, state = net(frame[None, None], state)
            sizes.add(size(state))
    assert len(sizes) == 1 and sizes.pop() < 100_000


@pytest.mark.parametrize("memory", MEMORIES)
def test_in_pieces_and_in_batches_the_same(memory):
    net, frames = net_of(memory).eval(), film(6).permute(0, 3, 1, 2).reshape(3, 2, 3, *SIZE)
    with torch.no_grad():
        whole, _ = net(frames)
        first, state = net(frames[:2])
        second, _ = net(frames[2:], state)
        alone, _ = net(frames[:, 1:].float() / 255)
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone, whole[:, 1:], atol=1e-5, rtol=1e-4)


def test_memories_differ_in_what_they_keep():
    """The order of frames: an LSTM minds it, the mean forgets it, and the last frame is all that the last one knows."""
    frames = film(4).permute(0, 3, 1, 2)[:, None]
    swapped = frames[[1, 0, 2, 3]]
    with torch.no_grad():
        ends = {memory: [net_of(memory).eval()(f)[0][-1] for f in (frames, swapped, frames[3:])] for memory in MEMORIES}
    for memory, (end, other, alone) in ends.items():
        assert torch.allclose(end, other, atol=1e-6) == (memory in ("mean", "last")), memory
        assert torch.allclose(end, alone, atol=1e-6) == (memory == "last"), memory


def test_few_operations_for_a_second_of_video():
    """At full size: every tick passes through the network once, however many came before."""

    def operations(seconds):
        with FlopCounterMode(display=False) as counter:
            Recogniser(GestureNet()).recognise(film(30 * seconds), 30)
        return counter.get_total_flops()

    assert operations(2) == 2 * operations(1) < 6e9


# Where the finger tip is.


def test_places():
    track = torch.tensor([[-0.5, -0.5], [159.5, 119.5], [79.5, 59.5], [nan, nan]])
    assert places(track, SIZE).tolist() == [[-1, -1, 1], [1, 1, 1], [0, 0, 1], [0, 0, 0]]


def test_the_eye_is_taught_to_say_what_is_read_off_it():
    """Descending the loss on the scores themselves comes to the true place, and to «nowhere»."""
    points = torch.tensor([[0.3, -0.2, 1], [-0.97, 0.9, 1], [0, 0, 0]])
    scores = torch.zeros(3, 1 + len(cells(SIZE)), requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        heatmap_loss(scores, points, SIZE).backward()
        optimizer.step()
    found = soft_argmax(scores.detach(), SIZE)
    assert (found - points)[:2, :2].abs().max() < 0.03  # half of a cell
    assert (found[:2, 2] > 0.9).all() and found[2, 2] < 0.1


def test_a_second_finger_does_not_draw_the_place_to_the_middle():
    grid = cells(SIZE)
    scores = torch.full((1, 1 + len(grid)), -20.0)
    first, second = ((grid - torch.tensor(at)).norm(dim=1).argmin() for at in ([-0.5, 0.0], [0.5, 0.0]))
    scores[0, 1 + first], scores[0, 1 + second] = 1.0, 0.0
    x, y, sure = soft_argmax(scores, SIZE)[0].tolist()
    assert x == pytest.approx(grid[first, 0].item(), abs=1e-3) and y == pytest.approx(grid[first, 1].item(), abs=1e-3)
    assert sure == pytest.approx(1 / (1 + 2.71828**-1), abs=1e-3)


def test_out_of_sight_is_where_it_was_last():
    way = TrackLSTM().eval()
    seen = torch.tensor([[0.1, 0.2, 1.0], [0.3, 0.2, 1.0], [9.0, 9.0, 0.0]])[:, None]
    other = seen.clone()
    other[2, 0, :2] = -7.0
    with torch.no_grad():
        assert torch.equal(way(seen)[0], way(other)[0])


# What is refused.


def test_gates_are_those_of_the_lstm():
    """Rebuilt from its gates step by step, the LSTM's state is the LSTM's."""
    torch.manual_seed(0)
    net, points = TrackLSTM(hidden=8), torch.rand(6, 2, 3)
    i, f, o = net.gates(points)
    read, _ = net.features(points, points[0, :, :2])
    lstm, h, c = net.lstm, torch.zeros(2, 8), torch.zeros(2, 8)
    for t in range(6):
        sums = read[t] @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
        c = f[t] * c + i[t] * sums[:, 16:24].tanh()
        h = o[t] * c.tanh()
    torch.testing.assert_close(net.write(h), net(points)[0][-1])


def test_wrong_input():
    frames, way = Recogniser(net_of("last")), Recogniser(TrackLSTM())
    for recogniser, wrong, word in (
        (frames, film(3).float(), "float32"),
        (frames, film(3)[0], "frames"),
        (frames, film(0), "at least 1"),
        (frames, film(3).permute(0, 3, 1, 2), "frames"),
        (way, film(3), "track"),
    ):
        with pytest.raises(CourseError, match=word):
            recogniser.recognise(wrong, 10)
    with pytest.raises(CourseError, match="fps is 0"):
        frames.recognise(film(2), 0)
    with pytest.raises(CourseError, match="no memory 'gru'"):
        GestureNet("gru")
    with pytest.raises(CourseError, match="32 × 32"):
        GestureNet()(torch.zeros(2, 3, 120, 160))


def test_loading(tmp_path):
    for net in (net_of("convlstm"), TrackLSTM(hidden=16)):
        zoo.write_weights(tmp_path / "net.safetensors", net)
        again = Recogniser.load(tmp_path / "net.safetensors").net
        assert again.options() == net.options() and not again.training
        for name, value in net.state_dict().items():
            assert torch.equal(again.state_dict()[name], value.half().float())
    zoo.write_weights(tmp_path / "flow.safetensors", SPyNet(1))
    with pytest.raises(CourseError, match="recognises no gestures"):
        Recogniser.load(tmp_path / "flow.safetensors")
    with pytest.raises(CourseError, match="no weights"):
        Recogniser.load("handwaving")


def test_any_size_of_frame():
    recogniser = Recogniser(net_of("lstm"))
    large = film(3, (240, 320))
    assert recogniser.recognise(large, 15).shape == recogniser.recognise(large.numpy(), 15).shape == (3, len(CLASSES))


def test_measuring():
    clips = Gestures("test", seed=7)
    found = of_clips(Recogniser(TrackLSTM()), (clips.track(i) for i in range(11)))
    assert found["clips"] == 11 == sum(map(sum, found["confusion"])) and list(found["by_fraction"])[-1] == "100 %"
    assert 0 <= found["accuracy"] <= 1
    assert of_streams(Recogniser(TrackLSTM()), True, 1)["streams"] == 1


def test_a_network_is_measured_from_the_command_line(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from cvdl.cli.app import app

    monkeypatch.setenv("CVDL_REAL", str(tmp_path))
    zoo.write_weights(tmp_path / "track.safetensors", TrackLSTM(hidden=8))
    command = ["eval", str(tmp_path / "track.safetensors"), "--limit", "11"]
    told = CliRunner().invoke(app, [*command, "--json", str(tmp_path / "numbers.json")])
    assert told.exit_code == 0 and "of the ten gestures" in told.output
    assert json.loads((tmp_path / "numbers.json").read_text())["rendered"]["clips"] == 11
    told = CliRunner().invoke(app, [*command, "--pairs", "chairs"])
    assert told.exit_code == 1 and "optical flow" in told.output
