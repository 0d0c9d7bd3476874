"""Real gestures: published sets that a student may have, and the real samples, all as GestureClips.

    clips = open_gestures("egogestar", "val")
    clips[0]  # a GestureClip, read now
    for clip in clips:  # what is damaged is left out …
        ...
    clips.skipped  # … and stands here afterwards: {"left_7_sessionA": "… holds 20 of 31 frames. …"}

Splits are those of subjects or sessions, never of clips: clips of one person in one room are too much alike.
"""

import csv
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cvdl.data.registry import absent, get, incomplete, real_folder, sets_folder
from cvdl.data.video import decode
from cvdl.errors import CourseError, InvalidInput
from cvdl.files import read_text
from cvdl.gesture.clip import CLASSES, GestureClip
from cvdl.gesture.files import SIZE, read_numbers, read_pictures, read_video
from cvdl.gesture.sets import SETS


class Row(NamedTuple):
    """A clip that is not read yet."""

    name: str
    read: Callable  # () -> GestureClip; raises CourseError for what is damaged


class Clips(Sequence):
    """A sequence of GestureClips, each read when it is asked for.

    clips[i] raises CourseError if that clip is damaged.  Iterating leaves damaged ones out, notes why in `skipped`, by
    name, and warns at the end how many there were.
    """

    def __init__(self, rows, classes):
        self.rows, self.classes, self.skipped = list(rows), tuple(classes), {}
        self.names = [row.name for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return Clips(self.rows[i], self.classes) if isinstance(i, slice) else self.rows[i].read()

    def __iter__(self):
        self.skipped = {}
        for row in self.rows:
            try:
                clip = row.read()
            except CourseError as error:
                self.skipped[row.name] = str(error)
            else:
                yield clip
        if self.skipped:
            name, why = next(iter(self.skipped.items()))
            warnings.warn(
                f"{len(self.skipped)} of {len(self)} clips were skipped, first {name}: {why} `skipped` names all of them.",
                stacklevel=2,
            )


def open_gestures(name, split=None, root=None, size=SIZE):
    """The clips of a set's split -> Clips, in the order of their names.

    name: one of SETS.  split: its first one, if not given.  root: folder that holds the set's folder; if not given,
    CVDL_SETS and then the real samples are searched.  size: (height, width) that frames are brought to; None: as they are.
    Raises CourseError where the set is not here or lacks a part.
    """
    if name not in SETS:
        raise InvalidInput(f"There is no set {name!r} of gestures; there are {', '.join(SETS)}.")
    entry = SETS[name]
    split = split or next(iter(entry.needs))
    if split not in entry.needs:
        raise InvalidInput(f"{name} has no split {split!r}; it has {' and '.join(entry.needs)}.")
    root = find_gestures(entry, split, root)
    try:
        rows, classes = READERS[name](root / entry.folder, split, size)
    except (CourseError, OSError, ValueError) as error:  # of lists
        raise incomplete(entry, root, f"Its lists cannot be read: {error}.") from None
    if not rows:
        raise incomplete(entry, root, f"It holds no clip of the split {split}.")
    return Clips(sorted(rows, key=lambda row: _natural(row.name)), classes)


def find_gestures(entry, split, root=None):
    """The folder that holds the set's folder.  Raises CourseError where there is none."""
    samples = None if root else real_folder("gestures")
    for place in filter(None, (Path(root).expanduser() if root else sets_folder(), samples)):
        if not absent(entry, split, place):
            return place
    if samples and entry.name == "egogestar" and (samples / "egogestar").is_dir():
        return samples
    place = Path(root).expanduser() if root else sets_folder()
    lacks = ", ".join(str(path.relative_to(place)) for path in absent(entry, split, place))
    raise InvalidInput(f"{entry.title} is not here: {place} lacks {lacks}. {get(entry, place)}")


# Readers: (folder, split, size) -> list of Rows, classes.

SESSIONS = {10: "A", 15: "B", 17: "C"}  # frames a second, by which those of EgoGestAR's videos that we know differ


def egogestar(folder, split, size):
    """Videos testvideo_left_7.mp4, or of the real samples left_7_sessionA.mp4.  Session A: val; all others: test.

    The set does not name sessions; they differ in their frame rate.
    """
    folder = folder / "testvideo" if folder.is_dir() else folder.with_name("egogestar")
    rows = []
    for path in _there(folder.glob("*.mp4")):
        match = re.fullmatch(r"(?:testvideo_)?([a-z]+)_(\d+)(?:_session(\w+))?", path.stem)
        session = match and (match[3] or _session_of(path))
        if (session == "A") == (split == "val"):
            rows.append(Row(path.stem, partial(_egogestar_clip, path, match, session, size)))
    return rows, CLASSES


def _session_of(path):
    """The session of a video by its rate, or None where it cannot be read."""
    try:
        with closing(decode(path)) as frames:
            rate = next(frames).rate
    except (CourseError, StopIteration):
        return None
    return SESSIONS.get(round(rate), f"of {rate:g} frames a second")


def _egogestar_clip(path, match, session, size):
    kind = "none" if match and match[1] == "unclassified" else match and match[1]
    if kind not in CLASSES:
        raise InvalidInput(
            f"{path} is not named as its set's files are, testvideo_CLASS_NUMBER.mp4. Rename or remove it."
        )
    frames, fps = read_video(path, size)
    return GestureClip(frames, None, fps, CLASSES.index(kind), None, f"session {session}")


TOUCHES = 50.0  # points a second, about: counted in some tracks whose seconds the set tells


def egogestar_tracks(folder, split, size):
    """Tracks train_left_7.txt: a line x y for each point, in a frame of 640 × 480.  The split is its makers'."""
    rows = [
        Row(path.stem, partial(_read_track, path, split, size))
        for path in _there((folder / split).glob(f"{split}_*_*.txt"))
    ]
    return rows, CLASSES


def _read_track(path, split, size):
    kind = path.stem.split("_")[1]
    if kind not in CLASSES:
        raise InvalidInput(
            f"{path} is not named as its set's files are, {split}_CLASS_NUMBER.txt. Rename or remove it."
        )
    points = read_numbers(path, columns=2)
    half = len(points) // 2
    if len(points) > 2 and np.array_equal(points[:half], points[half:]):  # many files hold their stroke twice
        points = points[:half]
    height, width = size or (480, 640)
    track = torch.from_numpy((points + 0.5) * [width / 640, height / 480] - 0.5).float()
    labels = torch.full((len(track),), CLASSES.index(kind))
    return GestureClip(None, track, TOUCHES, CLASSES.index(kind), labels, f"makers' {split}")


SUBJECTS = {
    "val": (1, 7, 12, 13, 24, 29, 33, 34, 35, 37),
    "test": (2, 9, 11, 14, 18, 19, 28, 31, 41, 47),
}
SUBJECTS["train"] = tuple(sorted(set(range(1, 51)) - {n for split in SUBJECTS.values() for n in split}))


def egogesture(folder, split, size):
    """A clip for each line class,start,end of labels-final-revised1/subjectNN/SceneM/GroupK.csv (1-based, inclusive).

    Its frames: images/SubjectNN/SceneM/Color/rgbK/000001.jpg, …
    """
    classes, rows = (*(f"class {n}" for n in range(1, 84)), "none"), []
    for path in _there(folder.glob("labels-final-revised1/*/*/*.csv")):
        numbers = [re.search(r"\d+$", part) for part in (path.parts[-3], path.parts[-2], path.stem)]
        if not all(numbers):
            continue
        subject, scene, group = (int(number[0]) for number in numbers)
        if subject not in SUBJECTS[split]:
            continue
        images = folder / "images" / f"Subject{subject:02}" / f"Scene{scene}" / "Color" / f"rgb{group}"
        for number, line in enumerate(csv.reader(read_text(path).splitlines()), 1):
            if any(cell.strip() for cell in line):
                name = f"subject{subject:02}/scene{scene}/group{group}/{number}"
                rows.append(Row(name, partial(_segment, path, line, images, f"subject {subject}", classes, size)))
    return rows, classes


def _segment(path, line, images, who, classes, size):
    try:
        label, start, end = (int(float(cell)) for cell in line)
    except ValueError:
        raise InvalidInput(
            f"{path} has a line {','.join(line)!r} instead of class,start,end. Fetch it again."
        ) from None
    if not 1 <= label <= 83 or not 1 <= start <= end:
        raise InvalidInput(
            f"{path} has a line {','.join(line)!r}, which is no class of 1 to 83 from one frame to a later."
        )
    frames = read_pictures([images / f"{n:06}.jpg" for n in range(start, end + 1)], size)
    return GestureClip(frames, None, 30.0, label - 1, torch.full((len(frames),), label - 1), who, classes)


def nvgesture(folder, split, size):
    """A clip for each line path:… color:sk_color:start:end label:n: the whole video, with a label from start to end.

    The makers' split, which is by subject; a subject that stands in both lists is refused.
    """
    classes = (*(f"class {n}" for n in range(1, 26)), "none")
    lines = {each: _nv_lines(folder / f"nvgesture_{each}_correct_cvpr2016_v2.lst") for each in ("train", "test")}
    subjects = {each: {row["who"] for row in rows if row} for each, rows in lines.items()}
    if both := subjects["train"] & subjects["test"]:
        raise ValueError(f"{', '.join(sorted(both))} stands in both lists")
    rows = []
    for number, facts in enumerate(lines[split], 1):
        name = facts["path"] if facts else f"line {number}"
        rows.append(Row(name, partial(_nv_clip, folder, split, number, facts, classes, size)))
    return rows, classes


def _nv_lines(path):
    """What each line of a list says, or None where it is not as it should be; no lines where there is no list."""
    rows = []
    for line in read_text(path).splitlines() if path.is_file() else ():
        match = re.search(r"path:(?:\./)?(\S*?(subject\d+)\S*).*\bcolor:(\w+):(\d+):(\d+).*\blabel:(\d+)", line)
        keys = ("path", "who", "file", "start", "end", "label")
        if line.strip():
            rows.append(match and dict(zip(keys, match.groups(), strict=True)))
    return rows


def _nv_clip(folder, split, number, facts, classes, size):
    if not facts:
        raise InvalidInput(
            f"Line {number} of the list of {split} lacks a path, color:FILE:START:END or label. Fetch it again."
        )
    path = folder / facts["path"] / f"{facts['file']}.avi"
    start, end, label = (int(facts[key]) for key in ("start", "end", "label"))
    frames, fps = read_video(path, size)
    if not 0 <= start < end <= len(frames) or not 1 <= label <= 25:
        raise InvalidInput(
            f"{path} has {len(frames)} frames, and its list tells class {label} from {start} to {end}. They do not belong "
            "together, or the video was cut: fetch it again."
        )
    labels = torch.full((len(frames),), len(classes) - 1)
    labels[start:end] = label - 1
    return GestureClip(frames, None, fps, label - 1, labels, facts["who"].replace("subject", "subject "), classes)


def jester(folder, split, size):
    """A clip for each line id;label of jester-v1-train.csv: 20bn-jester-v1/ID/00001.jpg, …, 12 frames a second.

    Who they show is not published; the makers' split is by person.
    """
    classes = tuple(read_text(folder / "jester-v1-labels.csv").splitlines())
    classes = tuple(name.strip() for name in classes if name.strip())
    kind, rows = {"train": "train", "val": "validation"}[split], []
    for line in read_text(folder / f"jester-v1-{kind}.csv").splitlines():
        if line.strip():
            number, _, label = (part.strip() for part in line.partition(";"))
            rows.append(Row(number, partial(_jester_clip, folder, number, label, f"makers' {split}", classes, size)))
    return rows, classes


def _jester_clip(folder, number, label, who, classes, size):
    if label not in classes:
        raise InvalidInput(
            f"Clip {number} has the label {label!r}, which is not in jester-v1-labels.csv. Fetch both again."
        )
    place = folder / "20bn-jester-v1" / number
    last = max((int(path.stem) for path in place.glob("*.jpg") if path.stem.isdigit()), default=0)
    if not last:
        raise InvalidInput(f"{place} holds no frames. Unpack the set again.")
    frames = read_pictures([place / f"{n:05}.jpg" for n in range(1, last + 1)], size)
    return GestureClip(frames, None, 12.0, classes.index(label), None, who, classes)


HISTORY = ("Stop", "Clockwise", "Counter Clockwise", "Move")


def point_history(folder, split, size):
    """A clip for each row class, x1, y1, …, x16, y16: steps from the first point, in widths and heights of the frame.

    Rows were taken from a running window: 19 of 20 repeat the 15 last points of the row before.  So a split by rows would
    test on what was trained on; a session is a run of such rows, and every fifth session is for "test".  The
    rate is that of the camera and not told; we say 30.
    """
    path = folder / "point_history.csv"
    values, sessions = read_numbers(path, columns=33), []
    points = values[:, 1:].reshape(-1, 16, 2)
    steps = np.diff(points, axis=1)
    for i in range(len(values)):
        goes_on = i and values[i, 0] == values[i - 1, 0] and np.allclose(steps[i - 1, 1:], steps[i, :-1], atol=2e-6)
        sessions.append(sessions[-1] + (not goes_on) if i else 0)
    rows = [
        Row(f"row {i}", partial(_history_clip, path, i, int(values[i, 0]), points[i], f"run {sessions[i]}", size))
        for i in range(len(values))
        if (sessions[i] % 5 == 4) == (split == "test")
    ]
    return rows, HISTORY


def _history_clip(path, i, label, points, who, size):
    if label not in range(len(HISTORY)):
        raise InvalidInput(f"{path} has class {label} in row {i}; there are 0 to {len(HISTORY) - 1}. Fetch it again.")
    height, width = size or SIZE
    track = torch.from_numpy((points + 0.5) * [width, height] - 0.5).float()  # from the middle of the frame
    return GestureClip(None, track, 30.0, label, torch.full((16,), label), who, HISTORY)


READERS = {
    "egogestar": egogestar,
    "egogestar-tracks": egogestar_tracks,
    "egogesture": egogesture,
    "nvgesture": nvgesture,
    "jester": jester,
    "point-history": point_history,
}


def _there(paths):
    """Without hidden files, such as Macs' ._left_7.mp4."""
    return (path for path in paths if not path.name.startswith("."))


def _natural(name):
    """A key that sorts left_2 before left_10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))]
