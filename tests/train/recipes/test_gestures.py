"""What gesture networks are trained on: rendered sequences, repeatable, with the right labels."""

from functools import partial

import numpy as np
import pytest
import torch

from cvdl import zoo
from cvdl.errors import CourseError
from cvdl.files import read_json
from cvdl.gesture.clip import NONE
from cvdl.gesture.nets import GestureNet, TrackLSTM, spread
from cvdl.gesture.render import Gestures
from cvdl.settings import PROFILES
from cvdl.train.loop import TrainConfig, train
from cvdl.train.recipes import RECIPES, gestures
from cvdl.train.recipes.gestures import (
    GESTURES,
    GestureStage,
    Rendered,
    detect,
    fingertip_loss,
    follow_clips,
    follow_tracks,
    sequence_loss,
)
from cvdl.train.runs import read_log
from cvdl.train.stages import Recipe

CPU = torch.device("cpu")
STAGES = [
    pytest.param(recipe, profile, stage, id=f"{name}-{profile}-{stage.name}")
    for name, recipe in GESTURES.items()
    for profile, stages in recipe.stages.items()
    for stage in stages
]


@pytest.fixture(scope="module")
def clips():
    """Two sequences of frames; small, short and slow, so that they are rendered fast."""
    source = Rendered(Gestures("train", 0, (32, 48), (10, 10)), frames=True, chain=1, limit=20, device=CPU)
    return source.pairs([0, 1])


def stage(predict_with, **options):
    loss = fingertip_loss if predict_with is detect else sequence_loss
    return GestureStage(**dict(name="stage", steps=4, predict_with=predict_with, loss=loss) | options)


def loss_of(net, predict_with, batch):
    return stage(predict_with).loss(predict_with(net, batch), batch)


def small(memory="lstm"):
    torch.manual_seed(0)
    return GestureNet(memory, width=4)


def test_every_recipe_has_all_sizes():
    assert all(set(recipe.stages) == set(PROFILES) for recipe in GESTURES.values())


@pytest.mark.parametrize("recipe, profile, stage", STAGES)
def test_stages_fit_their_networks(recipe, profile, stage, monkeypatch):
    monkeypatch.setattr(zoo, "names", lambda: ["gesture", "gesture-track"])
    monkeypatch.setattr(zoo, "load", lambda name: TrackLSTM() if name == "gesture-track" else GestureNet())
    net = recipe.build(profile)
    stage.prepare(net)
    assert type(net).__name__ in zoo.NETS and any(p.requires_grad for p in net.parameters())
    assert stage.batch % 2 == 0 and stage.steps >= 4 and stage.warmup <= stage.steps // 2
    assert stage.frames or not stage.pick


def test_sequences(clips):
    N = int(clips.mask.sum())
    assert clips.frames.shape == (N, 3, 32, 48) and clips.frames.dtype == torch.uint8 and clips.points.shape == (N, 3)
    assert clips.labels.shape == clips.mask.shape and (clips.labels[~clips.mask] == -100).all()
    for b, kind in enumerate(clips.kinds):
        labels = clips.labels[clips.mask[:, b], b]
        begun = (labels != NONE).nonzero()
        assert kind == NONE or (labels[begun[0] :] == kind).all()  # held until the end
        assert set(labels.tolist()) <= {int(kind), NONE}


def test_frames_stand_in_the_order_of_the_mask(clips):
    """Each column's frames are those of its own clip, in order."""
    source = Rendered(Gestures("train", 0, (32, 48), (10, 10)), frames=True, chain=1, limit=20, device=CPU)
    for b in (0, 1):
        frames, points, labels, _ = source.sequence(b)
        mine = clips.mask[:, b]
        assert torch.equal(spread(clips.frames, clips.mask)[mine, b], frames.permute(0, 3, 1, 2))
        assert torch.equal(spread(clips.points, clips.mask)[mine, b], points)
        assert torch.equal(clips.labels[mine, b], labels)


def test_sequences_can_be_repeated_and_splits_differ():
    chained = stage(follow_tracks, frames=False, chain=2)
    train, again, other, held_out = (
        chained.dataset(split, seed, CPU, None).pairs([5, 6])
        for split, seed in (("train", 0), ("train", 0), ("train", 1), ("test", 0))
    )
    assert torch.equal(train.points, again.points) and torch.equal(train.labels, again.labels)
    assert not torch.equal(train.points[:20], other.points[:20])
    assert not torch.equal(train.points[:20], held_out.points[:20])


def test_a_chain_is_not_always_in_the_order_of_classes():
    source = stage(follow_tracks, frames=False, chain=2).dataset("train", 0, CPU, None)
    follows = {tuple(int(i) % 11 for i in kinds) for kinds in (pair(source, n) for n in range(30))}
    assert len(follows) > 15


def pair(source, number):
    labels = [label for label in source.sequence(number)[2].unique_consecutive().tolist() if label != NONE]
    return labels[:1] + labels[-1:] if labels else (NONE, NONE)


def test_what_training_sees_is_varied_and_repeatable(clips):
    complete = stage(follow_clips)
    first, again, other = (complete.augment_batch(clips, numbers) for numbers in ([0, 1], [0, 1], [2, 3]))
    assert torch.equal(first.offset, again.offset) and not torch.equal(first.offset, other.offset)
    points = spread(clips.points, clips.mask)
    bad = first.disturb(points)
    assert torch.equal(clips.disturb(points), points) and not torch.equal(bad, points)
    assert torch.equal(bad[..., 2] > 0, (points[..., 2] > 0) & (first.keep[..., 0] > 0))

    few = stage(detect, pick=3)
    seen = [few.augment_batch(clips, [2 * step]) for step in range(8)]
    mirrored = [not torch.equal(each.frames, clips.frames) for each in seen]
    assert 0 < sum(mirrored) < 8
    for each, other in zip(seen, mirrored, strict=True):
        assert torch.equal(each.frames, clips.frames.flip(3) if other else clips.frames)
        assert torch.equal(each.points, clips.points * torch.tensor([-1 if other else 1, 1, 1]))


def test_stills_are_frames_of_their_clip():
    source = Rendered(Gestures("train", 0, (32, 48), (10, 10)), frames=True, chain=1, limit=20, device=CPU, pick=3)
    frames, points, labels, kind = source.sequence(0)
    (i,) = (int(i) for i in np.random.default_rng([0, 0, 0]).integers(2**31, size=1))
    clip = source.clips.clip(i)
    places = [int((clip.frames == frame).flatten(1).all(1).nonzero()[0]) for frame in frames]
    assert len(frames) == len(points) == len(labels) == 3 and places == sorted(set(places)) and kind == clip.label


def test_loss_at_every_step(clips):
    right = torch.nn.functional.one_hot(clips.labels.clamp(min=0), 11).float() * 40
    loss, error = sequence_loss(right, clips)
    assert loss < 1e-6 and error == 0
    last = clips.mask.sum(0) - 1
    wrong = right.clone()
    wrong[last[0], 0] = torch.nn.functional.one_hot((clips.kinds[0] + 1) % 11, 11).float() * 40
    loss, error = sequence_loss(wrong, clips)
    assert error == 0.5 and loss.item() == pytest.approx(40 / len(clips.points) + 40 / 2, rel=1e-3)


@pytest.mark.parametrize("memory", ["lstm", "convlstm"])
def test_what_learns(memory, clips):
    for prepare, learns in (
        (gestures.only_cnn, {"cnn"}),
        (gestures.only_memory, {"memory"}),
    ):
        net = small(memory)
        prepare(net)
        loss, error = loss_of(net, detect if prepare is gestures.only_cnn else follow_clips, clips)
        loss.backward()
        assert 0 <= error <= 1
        assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == learns


def test_following_tracks_trains_a_memory_alone_or_within_a_network(clips):
    for net in (TrackLSTM(), small(), small("mean")):
        loss, _ = loss_of(net, follow_tracks, clips)
        loss.backward()
        assert loss.isfinite()


def test_few_steps_lower_the_loss(clips):
    for net, predict_with in ((small(), detect), (small(), follow_clips), (TrackLSTM(hidden=32), follow_tracks)):
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        losses = []
        for _ in range(12):
            loss, _ = loss_of(net, predict_with, clips)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    "prepare, kept, learns",
    [("cnn_of_the_zoo", "cnn", "memory"), ("memory_of_tracks", "memory", "memory"), ("before_memory", "memory", "cnn")],
)
def test_the_others_begin_with_a_part_of_the_zoo(prepare, kept, learns, monkeypatch):
    prepare = getattr(gestures, prepare)
    monkeypatch.setattr(zoo, "names", lambda: [])
    with pytest.raises(CourseError, match="Train them first"):
        prepare(GestureNet())
    shipped, net = GestureNet(), GestureNet()
    monkeypatch.setattr(zoo, "names", lambda: ["gesture", "gesture-track"])
    monkeypatch.setattr(zoo, "load", lambda name: shipped if name == "gesture" else shipped.memory)
    prepare(net)
    pairs = zip(getattr(net, kept).parameters(), getattr(shipped, kept).parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad} == {learns}


def test_a_stage_can_be_trained_and_says_so(tmp_path, monkeypatch):
    """Through the loop of all trainings: log, card, weights."""
    tracks = stage(follow_tracks, name="tracks", steps=3, frames=False, batch=2, held_out=2)
    monkeypatch.setitem(RECIPES, "tiny", Recipe("tiny", partial(TrackLSTM, hidden=8), {"quick": [tracks]}))
    assert train(TrainConfig(recipe="tiny", profile="quick", out=tmp_path / "run"))
    card = read_json(tmp_path / "run/tracks/card.json")
    assert card["data"]["kind"] == "rendered tracks" and card["held_out"]["sequences"] == 2
    assert 0 <= card["held_out"]["error"] <= 1
    rows = read_log(tmp_path / "run/tracks/log.csv")
    assert sorted(path.name for path in (tmp_path / "run/tracks").glob("held_out_*.csv")) == [
        "held_out_end.csv",
        "held_out_start.csv",
    ]
    assert [row["step"] for row in rows] == [1, 2, 3] and all(0 <= row["error"] <= 1 for row in rows)
    assert zoo.load(tmp_path / "run/tracks/weights.safetensors").hidden == 8
