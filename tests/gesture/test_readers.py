"""Readers of gesture sets: tiny copies are read exactly, splits are by person, and what is damaged is named."""

import os
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.errors import CourseError
from cvdl.gesture.clip import CLASSES, NONE
from cvdl.gesture.files import read_numbers, read_video
from cvdl.gesture.readers import READERS, SUBJECTS, open_gestures
from cvdl.gesture.sets import SETS
from cvdl.settings import ROOT

REAL = Path(os.environ.get("CVDL_REAL", ROOT.parent / "shared" / "real")) / "gestures"
real = pytest.mark.skipif(
    os.environ.get("CVDL_REAL") == "" or not REAL.is_dir(), reason="no real clips here: set CVDL_REAL to their folder"
)
H, W = 24, 32


@pytest.fixture(autouse=True)
def sets(tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_SETS", str(tmp_path / "sets"))
    monkeypatch.setenv("CVDL_REAL", "")
    return tmp_path / "sets"


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (W, H), (value, 2 * value, 255 - value)).save(path, quality=95)


def video(path, count, rate):
    av = pytest.importorskip("av", reason="PyAV, of the extra [data], writes and reads videos")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=rate)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        for k in range(count):
            clip.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((H, W, 3), 20 + 2 * k, np.uint8), format="rgb24"))
            )
        clip.mux(stream.encode())


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# Tiny trees.


def egogestar(root):
    for name, count, rate in (("left_7", 5, 10), ("star_2", 6, 15), ("unclassified_1", 4, 17), ("up_10", 4, 30)):
        video(root / f"EgoGestAR/testvideo/testvideo_{name}.mp4", count, rate)


def egogestar_tracks(root):
    write(root / "EgoGestAR/train/train_left_2.txt", "639 479\n3.195e+02 239.5\n0 0\n" * 2)
    write(root / "EgoGestAR/train/train_star_10.txt", "1 2\n3 4\n5 6\n")
    write(root / "EgoGestAR/test/test_del_1.txt", "1 2\n3 4\n")


def egogesture(root):
    top = root / "EgoGesture"
    for subject, scene, group in ((2, 1, 1), (3, 1, 1), (3, 2, 12), (7, 1, 1)):
        write(top / f"labels-final-revised1/subject{subject:02}/Scene{scene}/Group{group}.csv", "5,2,4\n83,6,7\n")
        for n in range(1, 8):
            picture(top / f"images/Subject{subject:02}/Scene{scene}/Color/rgb{group}/{n:06}.jpg", 10 * n)


def nvgesture(root):
    line = "path:./Video_data/class_{0:02}/subject{1}_r0 depth:sk_depth:1:3 color:sk_color:{2}:{3} duo_left:duo_left:1:4 label:{0}\n"
    for split, rows in (("train", ((1, 3, 1, 4), (25, 13, 0, 5))), ("test", ((2, 4, 2, 5),))):
        write(root / f"nvGesture/nvgesture_{split}_correct_cvpr2016_v2.lst", "".join(line.format(*row) for row in rows))
        for label, subject, _, _ in rows:
            video(root / f"nvGesture/Video_data/class_{label:02}/subject{subject}_r0/sk_color.avi", 5, 30)


def jester(root):
    write(root / "jester/jester-v1-labels.csv", "Swiping Left\nNo gesture\nThumb Up\n")
    write(root / "jester/jester-v1-train.csv", "2;Thumb Up\n10;Swiping Left\n")
    write(root / "jester/jester-v1-validation.csv", "4;No gesture\n")
    for clip, count in ((2, 3), (10, 4), (4, 2)):
        for n in range(1, count + 1):
            picture(root / f"jester/20bn-jester-v1/{clip}/{n:05}.jpg", 10 * n)


def point_history(root):
    """Seven recordings of 18 points, through which a window of 16 runs; each row begins at 0."""
    lines, dice = [], np.random.default_rng(0)
    for recording in range(7):
        way = dice.random((18, 2)).round(3)
        for start in range(3):
            part = way[start : start + 16] - way[start]
            lines.append(",".join([str(recording % 4), *(f"{value:.9f}" for value in part.flatten())]))
    write(root / "point_history/point_history.csv", "\n".join(lines) + "\n")


TREES = {
    "egogestar": egogestar,
    "egogestar-tracks": egogestar_tracks,
    "egogesture": egogesture,
    "nvgesture": nvgesture,
    "jester": jester,
    "point-history": point_history,
}
CASES = [(name, split) for name, entry in SETS.items() for split in entry.needs]


def test_every_set_has_a_reader_and_a_tree():
    assert list(TREES) == list(SETS) == list(READERS)


@pytest.mark.parametrize("name", SETS)
def test_nobody_is_in_two_splits(name, sets):
    TREES[name](sets)
    seen = {}
    for split in SETS[name].needs:
        for clip in open_gestures(name, split):
            assert clip.frames is None or clip.frames.shape[1:] == (120, 160, 3)
            assert seen.setdefault(clip.who, split) == split
    assert set(seen.values()) == set(SETS[name].needs)


@pytest.mark.parametrize("name, split", CASES)
def test_a_missing_set_says_where_to_get_it(name, split, sets):
    with pytest.raises(CourseError) as error:
        open_gestures(name, split)
    assert SETS[name].page in str(error.value) and "{}" not in str(error.value) and "is not here" in str(error.value)
    for part in SETS[name].needs[split]:
        path = sets / SETS[name].folder / part
        write(path, "") if path.suffix else path.mkdir(parents=True)
    with pytest.raises(CourseError, match="is not whole"):
        open_gestures(name, split)


def test_egogestar_is_split_by_session(sets):
    egogestar(sets)
    (clip,) = open_gestures("egogestar", "val", size=None)
    assert (clip.who, clip.fps, clip.label, clip.labels) == ("session A", 10, CLASSES.index("left"), None)
    assert clip.frames.shape == (5, H, W, 3)
    assert (clip.frames.float().mean((1, 2, 3)) - torch.arange(20, 30, 2)).abs().max() < 3
    others = list(open_gestures("egogestar", "test"))
    assert [(c.who[8:], c.fps, CLASSES[c.label]) for c in others] == [
        ("B", 15, "star"),
        ("C", 17, "none"),
        ("of 30 frames a second", 30, "up"),
    ]


def test_egogestar_tracks(sets):
    egogestar_tracks(sets)
    left, star = open_gestures("egogestar-tracks", "train", size=(480, 640))
    assert left.track.tolist() == [[639, 479], [319.5, 239.5], [0, 0]] and left.labels.tolist() == [0, 0, 0]
    assert len(star) == 3 and star.label == CLASSES.index("star")
    half = open_gestures("egogestar-tracks", "train", size=(240, 320))[0]
    assert half.track.tolist() == [[319.25, 239.25], [159.5, 119.5], [-0.25, -0.25]]  # middles of pixels


def test_egogesture(sets):
    egogesture(sets)
    clips = open_gestures("egogesture", "train", size=None)
    assert clips.names == [f"subject03/{part}/{k}" for part in ("scene1/group1", "scene2/group12") for k in (1, 2)]
    assert [(len(c), c.classes[c.label], c.who) for c in clips] == [
        (3, "class 5", "subject 3"),
        (2, "class 83", "subject 3"),
    ] * 2
    assert clips[0].frames[:, 0, 0, 0].tolist() == pytest.approx([20, 30, 40], abs=3) and clips[0].fps == 30
    assert [open_gestures("egogesture", split)[0].who for split in ("val", "test")] == ["subject 7", "subject 2"]
    assert sorted(sum(SUBJECTS.values(), ())) == list(range(1, 51))


def test_nvgesture(sets):
    nvgesture(sets)
    first, second = open_gestures("nvgesture", "train")
    assert first.labels.tolist() == [25, 0, 0, 0, 25] and first.classes[25] == "none" and first.who == "subject 3"
    assert second.labels.tolist() == [24] * 5 and second.fps == 30 and len(second.frames) == 5
    path = sets / "nvGesture/nvgesture_test_correct_cvpr2016_v2.lst"
    path.write_text(path.read_text().replace("subject4", "subject13"))
    with pytest.raises(CourseError, match="subject13 stands in both lists"):
        open_gestures("nvgesture", "train")


def test_jester(sets):
    jester(sets)
    clips = open_gestures("jester", "train")
    assert clips.names == ["2", "10"] and [len(c) for c in clips] == [3, 4]
    assert [c.classes[c.label] for c in clips] == ["Thumb Up", "Swiping Left"] and clips[0].fps == 12


def test_windows_of_one_recording_stay_together(sets):
    point_history(sets)
    train, test = (open_gestures("point-history", split, size=(100, 100)) for split in ("train", "test"))
    assert Counter(c.who for c in test) == {"run 4": 3} and len(train) == 18
    clip = train[1]
    assert clip.track.shape == (16, 2) and clip.track[0].tolist() == [49.5, 49.5] and clip.classes[clip.label] == "Stop"
    assert torch.allclose(clip.track[1:-1] - clip.track[:-2], train[0].track[2:] - train[0].track[1:-1], atol=1e-3)


def test_cvdl_data_tells_of_them(sets):
    def data(*arguments):
        return CliRunner().invoke(app.app, ["data", *arguments])

    jester(sets)
    states = dict(line.split()[:2] for line in data().stdout.splitlines() if line)
    assert states.items() >= (dict.fromkeys(SETS, "missing") | {"jester": "here"}).items()
    text = data("jester").stdout
    assert "Jester: here" in text and "Clips: train 2 of 118,562, val 1 of 14,787" in text and "missing" not in text
    (sets / "jester/jester-v1-train.csv").unlink()
    assert "broken" in data("jester").stdout and "jester-v1-train.csv" in data("jester").stdout
    refused = data("get", "egogesture")
    assert refused.exit_code == 1 and SETS["egogesture"].page in refused.stderr


# What is damaged.


@pytest.mark.parametrize(
    "name, split, file, change, word",
    [
        ("egogestar", "test", "EgoGestAR/testvideo/testvideo_star_2.mp4", "cut", "testvideo_star_2.mp4"),
        ("egogestar", "test", "EgoGestAR/testvideo/testvideo_star_2.mp4", "empty", "testvideo_star_2.mp4"),
        ("egogestar", "test", "EgoGestAR/testvideo/testvideo_wave_2.mp4", "empty", "is not named"),
        ("egogestar-tracks", "train", "EgoGestAR/train/train_star_10.txt", "1 2\n3\n", "1 are not 2 finite numbers"),
        ("egogestar-tracks", "train", "EgoGestAR/train/train_star_10.txt", "1 2\nnan 3\n", "first row 2"),
        ("egogestar-tracks", "train", "EgoGestAR/train/train_star_10.txt", "1 two\n", "not a number"),
        ("egogestar-tracks", "train", "EgoGestAR/train/train_star_10.txt", "empty", "0 rows"),
        ("egogesture", "test", "EgoGesture/images/Subject02/Scene1/Color/rgb1/000003.jpg", "remove", "1 of 3 frames"),
        ("egogesture", "test", "EgoGesture/images/Subject02/Scene1/Color/rgb1/000003.jpg", "cut", "000003.jpg"),
        (
            "egogesture",
            "test",
            "EgoGesture/labels-final-revised1/subject02/Scene1/Group1.csv",
            "5,4,2\n83,6,7\n",
            "5,4,2",
        ),
        (
            "egogesture",
            "test",
            "EgoGesture/labels-final-revised1/subject02/Scene1/Group1.csv",
            "84,1,2\n83,6,7\n",
            "84,1,2",
        ),
        (
            "egogesture",
            "test",
            "EgoGesture/labels-final-revised1/subject02/Scene1/Group1.csv",
            "5,,2\n83,6,7\n",
            "5,,2",
        ),
        ("nvgesture", "train", "nvGesture/Video_data/class_01/subject3_r0/sk_color.avi", "remove", "sk_color.avi"),
        ("nvgesture", "train", "nvGesture/Video_data/class_01/subject3_r0/sk_color.avi", "cut", "sk_color.avi"),
        ("jester", "train", "jester/20bn-jester-v1/10/00002.jpg", "remove", "1 of 4 frames"),
        ("jester", "train", "jester/jester-v1-train.csv", "2;Thumb Up\n10;Thumb\n", "'Thumb'"),
        ("jester", "train", "jester/jester-v1-train.csv", "2;Thumb Up\n11;Thumb Up\n", "holds no frames"),
    ],
)
def test_what_is_damaged_is_named_and_counted(name, split, file, change, word, sets):
    TREES[name](sets)
    path = sets / file
    if change == "remove":
        path.unlink()
    elif change == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        path.write_text("" if change == "empty" else change)
    clips = open_gestures(name, split)
    with pytest.warns(UserWarning, match=f"1 of {len(clips)} clips were skipped"):
        good = list(clips)
    assert len(good) == len(clips) - 1
    ((broken, why),) = clips.skipped.items()
    assert word in why and "\n" not in why
    with pytest.raises(CourseError):
        clips[clips.names.index(broken)]


def test_whole_sets_warn_of_nothing(sets):
    jester(sets)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(open_gestures("jester"))) == 2 and not open_gestures("jester").skipped


def test_wrong_questions(sets):
    jester(sets)
    for arguments, word in ((("hands",), "egogesture"), (("jester", "test"), "train and val")):
        with pytest.raises(CourseError, match=word):
            open_gestures(*arguments)


# The real samples.


@real
def test_real_clips(monkeypatch):
    monkeypatch.undo()
    pytest.importorskip("av", reason="PyAV, of the extra [data], reads videos")
    val, test = (open_gestures("egogestar", split) for split in ("val", "test"))
    assert (len(val), len(test)) == (20, 38)
    clip, other = val[0], test[0]
    assert (
        (clip.who, clip.fps) == ("session A", 10) and other.who in ("session B", "session C") and other.fps in (15, 17)
    )
    assert clip.frames.shape[1:] == (120, 160, 3) and val.names[0] == "carret_7_sessionA" and len(clip) == 34
    assert CLASSES[clip.label] == "carret" and clip.labels is None and clip.label != NONE


@real
def test_real_tracks(monkeypatch):
    monkeypatch.undo()
    train, test = (open_gestures("point-history", split) for split in ("train", "test"))
    assert len(train) + len(test) == 5296
    assert not {clip.who for clip in train[::50]} & {clip.who for clip in test[::10]}


def test_a_video_with_fewer_frames_than_it_says(tmp_path, monkeypatch):
    video(tmp_path / "a.mp4", 6, 10)
    from cvdl.gesture import files

    whole = files.decode
    monkeypatch.setattr(files, "decode", lambda path: islice(whole(path), 4))
    with pytest.raises(CourseError, match="4 of 6 frames"):
        read_video(tmp_path / "a.mp4")


# What is whole, but unusual.


@pytest.mark.parametrize("name", SETS)
def test_marks_blanks_and_files_of_macs(name, tmp_path, monkeypatch):
    """A byte order mark, other ends of lines, empty lines, `._` files, and brackets in the path of the sets."""
    split = next(iter(SETS[name].needs))
    found = []
    for root in (tmp_path / "sets", tmp_path / "sets [2024]"):
        TREES[name](root)
        if "[" in root.name:
            for path in [path for path in root.rglob("*") if path.is_file()]:
                if path.suffix in (".csv", ".txt", ".lst"):
                    text = path.read_text(encoding="utf-8").replace("\n", " \r\n") + "\n  \n"
                    path.write_text(text, encoding="utf-8-sig", newline="")
                path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
        monkeypatch.setenv("CVDL_SETS", str(root))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            clips = open_gestures(name, split)
            found.append([(row, clip.label, clip.who) for row, clip in zip(clips.names, clips, strict=True)])
    assert found[0] == found[1] and found[0]


def test_another_encoding_loses_one_clip_alone(sets):
    egogestar_tracks(sets)
    path = sets / "EgoGestAR/train/train_star_10.txt"
    path.write_bytes(path.read_bytes().replace(b" ", b"\xa0", 1))
    clips = open_gestures("egogestar-tracks")
    with pytest.warns(UserWarning, match="1 of 2 clips were skipped"):
        assert len(list(clips)) == 1
    assert "not a text file in UTF-8" in clips.skipped["train_star_10"]


def test_comments_in_numbers(tmp_path):
    (tmp_path / "a.txt").write_text("# x y\n1, 2 # first\n\n3 4\n")
    assert read_numbers(tmp_path / "a.txt", 2).tolist() == [[1, 2], [3, 4]]
