"""What a gesture network can do, in numbers: on held-out rendered clips, on streams of them, and on the real clips."""

import torch
from tqdm import tqdm

from cvdl import tables
from cvdl.data.registry import real_folder
from cvdl.gesture.clip import NONE
from cvdl.gesture.metrics import (
    accuracy,
    accuracy_by_fraction,
    confusion,
    events,
    false_alarms_per_minute,
    levenshtein_accuracy,
    time_to_decision,
    true_events,
)
from cvdl.gesture.nets import TrackLSTM
from cvdl.gesture.readers import open_gestures
from cvdl.gesture.recogniser import Recogniser
from cvdl.gesture.render import Gestures

RATE = 15  # frames a second of the streams
LENGTH = 5  # clips in a stream
CLIPS = 110  # rendered ones, as many of each class


def measure(net, clips=CLIPS, streams=12):
    """net: a GestureNet, or a TrackLSTM, which is measured on tracks and not on real clips -> dict of dicts of numbers

    clips: rendered ones, as many of each class.  Real clips: session A, to choose by, apart from B and C, to report; where
    they are.  Of both, those with a gesture are named without «none», so that chance is one in ten.
    """
    recogniser, tracks = Recogniser(net), isinstance(net, TrackLSTM)
    rendered = Gestures("test", seed=7)
    clip = rendered.track if tracks else rendered.clip
    measured = {"rendered": of_clips(recogniser, (clip(i) for i in tqdm(range(clips), "rendered", unit="clip")))}
    measured["streams"] = of_streams(recogniser, tracks, streams)
    if real_folder("gestures") and not tracks:
        for split, name in (("val", "real A"), ("test", "real B C")):
            opened = open_gestures("egogestar", split)
            real = (each for each in tqdm(opened, name, unit="clip") if each.label != NONE)
            measured[name] = of_clips(recogniser, real)
    return measured


def table(measured):
    """What `measure` found, as text."""
    places = {name: each for name, each in measured.items() if "accuracy" in each}
    rows = [("", "clips", "accuracy", "of the ten gestures", "at half of the clip", "decided after")]
    for name, each in places.items():
        shares = each["accuracy"], each["accuracy_of_gestures"], each["by_fraction"]["50 %"]
        seconds = each.get("median_seconds_to_decision")
        decided = "–" if seconds is None else f"{seconds:.1f} s"
        rows.append((name, each["clips"], *(f"{share:.1%}" for share in shares), decided))
    lines = tables.table(rows, right=range(1, 6))
    streams = measured["streams"]
    lines.append(
        f"{streams['streams']} streams: Levenshtein accuracy {streams['levenshtein_accuracy']:.1%}, "
        f"{streams['false_alarms_per_minute']:.1f} false alarms a minute"
    )
    return "\n".join(lines)


def of_clips(recogniser, clips):
    """Accuracy, how early, and confusion, on GestureClips."""
    rows, labels, seconds = [], [], []
    for clip in clips:
        rows.append(recogniser.recognise(clip.track if clip.frames is None else clip.frames, clip.fps))
        labels.append(clip.label)
        if clip.labels is not None and clip.label != NONE:
            begin = int((clip.labels != NONE).nonzero()[0])
            seconds.append(time_to_decision(rows[-1], clip.label, clip.fps, begin))
    gestures = [i for i, label in enumerate(labels) if label != NONE]
    only = [rows[i] for i in gestures], [labels[i] for i in gestures]
    decided = [each for each in seconds if each is not None]
    found = {
        "clips": len(rows),
        "accuracy": accuracy(rows, labels),
        "accuracy_of_gestures": accuracy(*only, none=False),
        "by_fraction": {f"{100 * part:.0f} %": each for part, each in accuracy_by_fraction(*only, none=False).items()},
        "confusion": confusion(rows, labels).tolist(),
    }
    if decided:
        found["median_seconds_to_decision"] = torch.tensor(decided).median().item()
    return rounded(found)


def of_streams(recogniser, tracks, count):
    """False alarms and Levenshtein accuracy, on LENGTH rendered clips after one another."""
    source = Gestures("test", seed=8, fps=(RATE, RATE))
    found, true, alarms = [], [], []
    order = torch.randperm(count * LENGTH, generator=torch.Generator().manual_seed(0)).view(count, LENGTH)
    for stream in tqdm(order.tolist(), "streams", unit="stream"):
        clips = [source.track(i) if tracks else source.clip(i) for i in stream]
        rows = recogniser.recognise(torch.cat([c.track if tracks else c.frames for c in clips]), RATE)
        labels = torch.cat([clip.labels for clip in clips])
        found.append([kind for kind, _, _ in events(rows, RATE)])
        true.append([kind for kind, _, _ in true_events(labels, NONE)])
        alarms.append(false_alarms_per_minute(rows, labels, RATE))
    return rounded(
        {
            "streams": count,
            "levenshtein_accuracy": levenshtein_accuracy(found, true),
            "false_alarms_per_minute": sum(alarms) / count,
        }
    )


def rounded(found):
    if isinstance(found, dict):
        return {name: rounded(each) for name, each in found.items()}
    return round(found, 4) if isinstance(found, float) else found
