"""Figures of gestures show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from cvdl.gesture import CLASSES, NONE, GestureClip
from cvdl.gesture.nets import FingertipCNN, soft_argmax
from cvdl.gesture.plotting import draw

nan = float("nan")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def clip(T=12, label=0):
    track = torch.stack([torch.linspace(150, 20, T), torch.full((T,), 50.0)], 1)
    labels = torch.full((T,), label)
    labels[0] = NONE
    return GestureClip(torch.randint(0, 255, (T, 120, 160, 3), dtype=torch.uint8), track, 10.0, label, labels, "me")


def crosses(ax):
    return sum(line.get_marker() == "+" for line in ax.lines) // 2


def test_strip_shows_first_and_last_frame_with_their_tips():
    one = clip()
    one.track[-1] = nan
    figure = draw.strip({"left": one, "frames alone": one.frames}, columns=4)
    above, below = figure.axes[:4], figure.axes[4:]
    assert (above[0].images[0].get_array() == one.frames[0].numpy()).all()
    assert (above[3].images[0].get_array() == one.frames[11].numpy()).all()
    assert [crosses(ax) for ax in above] == [1, 1, 1, 0] and not any(map(crosses, below))
    assert above[0].get_ylabel() == "left"


def test_ways_are_those_of_the_stroke():
    figure = draw.ways({"left": [clip(), clip(9)], "none": [clip(5, NONE)]})
    assert len(figure.axes[0].lines[0].get_xdata()) == 11  # the first frame is before the stroke
    assert len(figure.axes[1].lines[0].get_xdata()) == 5
    assert sum(ax.get_title() != "" for ax in figure.axes) == 2


def test_found_marks_tips_that_are_there():
    torch.manual_seed(0)
    frames = torch.randint(0, 255, (3, 120, 160, 3), dtype=torch.uint8)
    scores = FingertipCNN(4)(frames.permute(0, 3, 1, 2) / 255)[1].detach()
    scores[0, 0], scores[1:, 5] = 50, 50
    figure = draw.found(frames, scores, soft_argmax(scores, (120, 160)))
    assert [crosses(ax) for ax in figure.axes[:3]] == [0, 1, 1]
    assert figure.axes[3].get_title() == "nowhere: 100%"


@pytest.mark.parametrize("t", [0, 11])
@pytest.mark.parametrize("gates", [None, {"input": torch.rand(12), "forget": torch.rand(12)}])
def test_scrub_hides_what_has_not_been_seen_yet(t, gates):
    one, rows = clip(), torch.rand(12, len(CLASSES))
    figure = draw.scrub(one.frames, t, rows, 10, one.track, gates)
    picture, thought = figure.axes[:2]
    assert crosses(picture) == 1 and CLASSES[int(rows[t].argmax())] in picture.get_title()
    assert int(np.isfinite(thought.images[0].get_array().filled(nan)).all(0).sum()) == t + 1
    assert len(figure.axes) == (3 if gates else 2)


def test_confusion_writes_its_counts():
    table = torch.eye(11, dtype=torch.long) * 3
    table[0, 1] = 2
    assert sorted(text.get_text() for text in draw.confusion(table).axes[0].texts) == ["2"] + 11 * ["3"]
