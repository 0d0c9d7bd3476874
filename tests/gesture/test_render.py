"""A rendered clip is what its labels say, and clip i is clip i."""

import numpy as np
import pytest
import torch

from cvdl.errors import CourseError
from cvdl.gesture import render
from cvdl.gesture.camera import compressed, photographs
from cvdl.gesture.clip import CLASSES, NONE, GestureClip
from cvdl.gesture.render import Gestures
from cvdl.gesture.strokes import motion

SMALL = dict(size=(48, 64), fps=(10, 12))
MANY = range(40)


@pytest.fixture(scope="module")
def clips():
    return Gestures(split="test", **SMALL).batch(0, 22)


def test_shapes_types_and_ranges(clips):
    for i, clip in enumerate(clips):
        T = len(clip)
        assert clip.frames.shape == (T, 48, 64, 3) and clip.frames.dtype == torch.uint8
        assert clip.track.shape == (T, 2) and clip.track.dtype == torch.float32
        assert clip.labels.shape == (T,) and set(clip.labels.tolist()) <= {clip.label, NONE}
        assert clip.label == i % len(CLASSES) and 10 <= clip.fps <= 12 and 5 < T < 12 * 25
        seen = clip.track[~clip.track.isnan().any(1)]
        assert (seen > -0.5).all() and (seen < torch.tensor([63.5, 47.5])).all()
        assert (clip.labels == clip.label).float().mean() > 0.3
    light = torch.stack([clip.frames.float().mean() for clip in clips])
    assert 40 < light.mean() < 190 and light.std() > 15
    assert min(clip.frames.float().std() for clip in clips) > 3  # never all black or all white
    assert len({clip.who for clip in clips}) == len(clips)


def test_a_clip_is_the_same_in_any_batch(clips):
    gestures = Gestures(split="test", **SMALL)
    for again in (gestures.clip(5), gestures.batch(4, 2)[1]):
        assert torch.equal(again.frames, clips[5].frames) and again.fps == clips[5].fps
        torch.testing.assert_close(again.track, clips[5].track, rtol=0, atol=0, equal_nan=True)


def test_stills_are_frames_of_the_clip(clips):
    gestures = Gestures(split="test", **SMALL)
    assert torch.equal(gestures.stills(7, [0, 4, 2]), clips[7].frames[[0, 4, 2]])


def test_fixed_parts_are_alike_in_all_clips():
    """With all fixed, two hands at the same place before the same scene give the same picture."""
    fixed = Gestures(split="test", left_hands=0, fixed=render.PARTS, **SMALL)
    free = Gestures(split="test", left_hands=0, **SMALL)
    pointing = [i for i in MANY if fixed.track(i).label != NONE]
    first, *others = (fixed.stills(i, [0])[0].float() for i in pointing[:8])
    top = [(other - first)[:, :6].abs().median() for other in others]  # few hands reach up there
    assert sorted(top)[3] < 8
    varied = [free.stills(i, [0])[0].float() for i in pointing[:8]]
    assert sorted((other - varied[0])[:, :6].abs().median() for other in varied[1:])[3] > 20
    for i in pointing[:3]:  # the way of the finger is not touched
        torch.testing.assert_close(fixed.track(i).track, free.track(i).track, equal_nan=True)


def test_a_track_is_the_clip_without_frames(clips):
    for track, clip in zip(Gestures(split="test", **SMALL).tracks(0, 22), clips, strict=True):
        assert track.frames is None and torch.equal(track.labels, clip.labels) and track.who == clip.who
        torch.testing.assert_close(track.track, clip.track, rtol=0, atol=0, equal_nan=True)


def test_other_seeds_and_splits_give_other_clips(clips):
    for other in (Gestures(split="test", seed=1, **SMALL), Gestures(split="val", **SMALL)):
        track = other.track(0)
        assert track.who != clips[0].who
        assert len(track) != len(clips[0]) or not torch.equal(track.track, clips[0].track)


def test_splits_share_no_photograph():
    train, val, test = ({bytes(p.contiguous().numpy()) for p in photographs(split)} for split in render.SPLITS)
    assert len(train) >= 25 and len(val) >= 5 and len(test) >= 9
    assert not train & val and not train & test and not val & test


# What the finger draws.


def strokes(name, count=40, left_hands=0.2):
    """Where the stroke goes: (n, 2) in widths and heights, from its beginning to its end, of several clips"""
    for i in range(count):
        way = motion(np.random.default_rng(i), CLASSES.index(name), left_hands)
        yield way.at(np.linspace(way.begin, way.end, 200)), way


@pytest.mark.parametrize("left_hands", [0, 1])
@pytest.mark.parametrize("name, x, y", [("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1)])
def test_lines_lead_where_they_are_called(name, x, y, left_hands):
    """With either hand: a left hand is the mirror image of a right one, and what it draws is not."""
    for way, of in strokes(name, left_hands=left_hands):
        step = way[-1] - way[0]
        assert of.left == bool(left_hands)
        assert step @ [x, y] > 0.25 and abs(step @ [y, x]) < 0.6 * (step @ [x, y])


def test_the_circle_is_counter_clockwise():
    for way, _ in strokes("circlecc"):
        around = way - (way.max(0) + way.min(0)) / 2
        turn = np.diff(np.unwrap(np.arctan2(-around[:, 1], around[:, 0])))  # y up, as one measures angles
        assert 0.75 < turn.sum() / (2 * np.pi) < 1.3


# From corner to corner, x to the right and y down, as seen in real clips.
SHAPES = {
    "square": [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)],
    "tick": [(0, 0.3), (0.4, 1), (1, 0)],
    "carret": [(0, 1), (0.5, 0), (1, 1)],
    "del": [(0, 0), (1, 1), (0, 1), (1, 0)],
    "star": [(0.1, 1), (0.5, 0), (0.9, 1), (0, 0.4), (1, 0.4), (0.1, 1)],
}


def evenly(way, n=64):
    """n points at equal distances along a way, in a unit square about it"""
    way = (way - way.min(0)) / np.ptp(way, 0)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    return np.stack([np.interp(np.linspace(0, along[-1], n), along, c) for c in way.T], 1)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_drawn_in_their_order(name):
    whole = {key: evenly(np.array(corners, float)) for key, corners in SHAPES.items()}
    whole |= {f"{key} backwards": way[::-1] for key, way in whole.items() if key != name} | {"back": whole[name][::-1]}
    for way, _ in strokes(name):
        far = {key: np.abs(evenly(way) - other).mean() for key, other in whole.items()}
        assert min(far, key=far.get) == name and far[name] < 0.2


def test_no_gesture_is_many_things():
    kinds = {motion(np.random.default_rng(i), NONE, 0.2).kind for i in range(100)}
    assert len(kinds) >= 6


def test_frames_are_labelled_while_the_stroke_is_drawn():
    gestures = Gestures(size=(480, 640), fps=(30, 30))
    early, late = 0, 0
    for i in MANY:
        clip = gestures.track(i * len(CLASSES))  # all of them draw to the left
        drawn = (clip.labels == clip.label).nonzero()[:, 0]
        assert len(drawn) == drawn[-1] - drawn[0] + 1
        x = clip.track[drawn, 0]
        x = x[~x.isnan()]
        assert x[0] > x.max() - 25 and x[-1] < x.min() + 25  # pixels: the stroke is 200 to 460 wide
        early, late = early + drawn[0].item(), late + len(clip) - 1 - drawn[-1].item()
    assert early > 100 and late > 100  # there are frames before and after


def test_people_differ():
    ways = list(strokes("square", 60))
    spans = np.array([np.ptp(way, 0) for way, _ in ways])
    seconds = np.array([of.end - of.begin for _, of in ways])
    begin = np.array([way[0] for way, _ in ways])
    assert spans.std(0).min() > 0.05 and seconds.std() / seconds.mean() > 0.25 and begin.std(0).min() > 0.05
    assert seconds.min() > 1 and seconds.max() < 20


# The hand that draws it.


class Plain:
    """A camera without faults."""

    def __init__(self, *_):
        pass

    def take(self, frame, t):
        return (frame * 255).clamp(0, 255).byte()


def test_the_finger_tip_is_where_the_track_says(monkeypatch):
    """Only a disc about the tip is left of the sprite, white before black."""

    def disc(rng, pose, left):
        sprite, (x, y) = render.sprites()[pose][3]
        x = sprite.shape[2] - 1 - x if left else x
        rows, columns = torch.meshgrid(*(torch.arange(n) for n in sprite.shape[1:]), indexing="ij")
        return ((columns - x) ** 2 + (rows - y) ** 2 < 8**2).float().expand(4, -1, -1).clone(), (x, y)

    monkeypatch.setattr(render, "dressed_hand", disc)
    monkeypatch.setattr(render, "backdrop", lambda rng, photos, size: torch.zeros(3, 168, 224))
    monkeypatch.setattr(render, "Camera", Plain)
    y, x = torch.arange(120.0)[:, None], torch.arange(160.0)
    gestures = Gestures(fps=(30, 30), left_hands=0.5)
    for i in range(len(CLASSES) - 1):
        clip = gestures.clip(i)
        inside = ((clip.track > 8) & (clip.track < torch.tensor([151.0, 111.0]))).all(1)
        for frame, tip in list(zip(clip.frames[inside], clip.track[inside], strict=True))[::7]:
            weight = frame[..., 0].float()
            found = torch.stack([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
            assert (found - tip).norm() < 1, (i, found, tip)


def cover(seed, left):
    """Share of each pixel that a hand covers whose tip rests at (0.5, 0.3)."""
    rng = np.random.default_rng(seed)
    hand, tip = render.dressed_hand(rng, "point", left)
    way = motion(rng, NONE, 0)._replace(place=np.full((9, 2), [0.5, 0.3]), left=left)
    maps = render.postures(rng, way, np.zeros((1, 1)), tip, (120, 160))[0]
    y, x = torch.arange(120.0), torch.arange(160.0)
    return render.lookup(hand, render.aim(maps, hand), y, x)[0, 3]


def test_finger_begins_at_the_tip_and_forearm_leaves_the_picture():
    for seed in MANY:
        alpha = cover(seed, left=seed % 2 == 1)
        tip = alpha[33:39, 77:83]
        assert tip.max() > 0.5  # the finger is there
        edge = torch.cat([alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert edge.max() == 1 and not alpha[0].any()
        assert 0.02 < alpha.mean() < 0.6


def test_left_hands_come_from_the_left():
    x = torch.arange(160.0)
    for left in (False, True):
        low = torch.stack([cover(seed, left)[80:].sum(0) for seed in MANY])
        beside = (low * (x - 79.5)).sum(1) / low.sum(1)  # pixels to the right of the tip
        assert beside.mean() * (-1 if left else 1) > 5


def test_a_left_hand_is_the_mirror_image():
    right, left = (render.dressed_hand(np.random.default_rng(3), "point", side) for side in (False, True))
    assert torch.equal(right[0][3], left[0][3].flip(1)) and right[1][0] == 159 - left[1][0]


def test_a_codec_rounds_frequencies():
    frame = 255 * torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(compressed(frame, torch.full((8, 8), 1e-3)), frame, rtol=0, atol=0.02)
    rough = compressed(frame, torch.full((8, 8), 1e4))
    assert not rough.any()  # all of them rounded to nothing
    error = (compressed(frame, torch.full((8, 8), 30.0)) - frame)[:, :16, :24]
    assert 0.8 < error.square().mean() / (30**2 / 12) < 1.2  # as of numbers rounded to steps of 30
    grey = compressed(torch.full((3, 16, 16), 100.0), torch.full((8, 8), 16.0))
    torch.testing.assert_close(grey, torch.full_like(grey, 100.0))  # 8 · 100 is a multiple of 16


# Bad input.


@pytest.mark.parametrize(
    "options, word",
    [
        (dict(split="all"), "split"),
        (dict(size=(8, 8)), "size"),
        (dict(size=120), "size"),
        (dict(fps=(30, 10)), "fps"),
        (dict(fps=(0, 10)), "fps"),
        (dict(left_hands=2), "left_hands"),
        (dict(fixed=("sky",)), "sky"),
        (dict(fixed="hand"), "fixed is 'hand'; it must be a tuple"),
        (dict(size=(120.5, 160)), "size is .* whole numbers"),
        (dict(fps=10), "fps is 10"),
        (dict(fps=("10", "30")), "fps is "),
        (dict(left_hands=None), "left_hands"),
        (dict(seed=-1), "seed is -1"),
    ],
)
def test_what_cannot_be_rendered(options, word):
    with pytest.raises(CourseError, match=word):
        Gestures(**options)


def test_numbers_of_clips_and_frames_that_are_not_there():
    with pytest.raises(CourseError, match="number of a clip is -1"):
        Gestures().track(-1)
    with pytest.raises(CourseError, match="clip 0 has the frames 0 to"):
        Gestures().stills(0, [10**6])


FRAMES, TRACK, LABELS = torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)


@pytest.mark.parametrize(
    "parts, word",
    [
        ((None, None, 10, 0, LABELS, "a"), "neither"),
        ((FRAMES, TRACK[:3], 10, 0, LABELS, "a"), "equally many"),
        ((FRAMES.float(), TRACK, 10, 0, LABELS, "a"), "uint8"),
        ((FRAMES[..., 0], TRACK, 10, 0, LABELS, "a"), "uint8"),
        ((FRAMES, TRACK, 10, 11, LABELS, "a"), "label is 11"),
        ((FRAMES, TRACK, 0, 0, LABELS, "a"), "fps"),
    ],
)
def test_parts_of_a_clip_have_to_fit(parts, word):
    with pytest.raises(CourseError, match=word):
        GestureClip(*parts)
    assert len(GestureClip(FRAMES, None, 10, 0, None, "a")) == len(GestureClip(None, TRACK, 10, 0, LABELS, "a")) == 4
