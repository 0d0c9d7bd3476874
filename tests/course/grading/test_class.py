"""An honest class of 200 in the layouts of all platforms: killed and started again, nothing is lost or judged twice."""

import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cvdl.course.grading import results
from tests.course.grading.test_extraction import STEP, notebook

STUDENTS, KILLS = 200, 10
STEM, DUE = "01_rnn_from_scratch", datetime(2026, 1, 20, 12, tzinfo=UTC)
GIVEN = [
    "Anna",
    "Zoë",
    "Özgür",
    "Íñigo",
    "Łukasz",
    "Đorđe",
    "Nguyễn",
    "Søren",
    "Aşkın",
    "Chloé",
    "Jürgen",
    "Siân",
    "小龍",
    "太郎",
    "하늘",
    "محمد",
    "نور",
    "דוד",
    "Ольга",
    "Юрій",
    "Γιώργος",
    "नेहा",
    "ශ්\u200dරී",
    "பிரியா",
    "ქეთი",
    "Արամ",
    "สมชาย",
    "ፍቅር",
    "می\u200cنا",
    "Ngozi",
    "Keʻala",
    "O'Neil",
    "Jean-Luc",
    "Mary-Jane",
]
FAMILY = [
    "Müller",
    "李",
    "Pérez",
    "García",
    "Nowak",
    "Ivanović",
    "山田",
    "Kim",
    "Haddad",
    "Cohen",
    "Иванова",
    "Παπαδόπουλος",
    "शर्मा",
    "Silva",
    "d'Arc",
    "Smith",
    "Li",
    "Østergård",
]


def class_of(count, draw):
    """Names, some of which two students have, and some of which differ in case or accents alone."""
    names = [f"{draw.choice(GIVEN)} {draw.choice(FAMILY)}" for _ in range(count - 4)]
    return [*names, names[0], names[1].upper(), "Zoe Müller", "Zoë Muller"]


def hand_in(folder, layout, number, name, data, day, late):
    """Write one student's file as a learning platform gives it out."""
    file = "x.ipynb"
    match layout:
        case "moodle":
            path = folder / f"{name}_{1000 + number}_assignsubmission_file_" / file
        case "canvas":
            name = "".join(name.lower().split()).replace("_", "")
            path = folder / f"{name}_{'LATE_' * late}{5000 + number}_{number + 9}_{file}"
        case "nbgrader":
            path = folder / "submitted" / f"id{number}" / "ps1" / file
            put(path.with_name("timestamp.txt"), f"{day:%Y-%m-%d %H:%M:%S} UTC".encode(), day)
        case "folders":
            path = folder / f"{name} {number}" / file
    if number % 7 == 3 and layout != "nbgrader" and data not in BROKEN:  # in a zip, with an older version
        path = path.with_suffix(".zip")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("work/old.ipynb", (2020, 1, 1, 0, 0, 0)), notebook(STEP, "# 0"))
            archive.writestr(zipfile.ZipInfo(f"work/{file}", (2021, 1, 1, 0, 0, 0)), data)
        data = path.read_bytes()
    put(path, data, day)


def put(path, data, day):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (day.timestamp(), day.timestamp()))


BROKEN = (b"", b"{", b"\xff\xfe\x00", b"PK\x03\x04", notebook("1 + 1"))
PROGRAM = """
import hashlib, os, signal, sys
from pathlib import Path
from cvdl.course.grading import grade; from cvdl.course.grading import submissions as handins; from cvdl.course.grading.sandbox import backends as jail; from cvdl.course.grading import results; from cvdl.course.grading import command as run; from cvdl.course.grading import archives as unpack

top, out, log, left = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
there = {r["sha256"] for r in results.read(out) if r["judged"]}

def counted(function):
    def step(*args, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **more)
    return step

def judge_bytes(data, notebook, seed, backend):
    sha256 = hashlib.sha256(data).hexdigest()
    with open(log, "a") as file:
        file.write(f"{sha256} {'again' if sha256 in there else 'new'}\\n")
    points = int(data.split(b"MARK ")[1].split(b"!")[0])
    row = {"id": "rnn.step", "title": "one step", "points": 15, "earned": points, "state": "wrong", "mistake": None, "hint": "", "cases": [], "source": ""}
    return {"judged": True, "problem": None, "notes": [], "seconds": 0.1, "exercises": [row]}

grade.judge_bytes = counted(judge_bytes)
results.save = counted(results.save)
os.replace = counted(os.replace)
Path.replace = counted(Path.replace)
unpack.look = counted(unpack.look)
jail.choose = lambda name, hidden: None
told, complete = run.grade_all(top, out, workers=2, due=sys.argv[5], formats=["moodle", "canvas"])
print(told)
print("COMPLETE", complete)
"""


def run_once(tmp_path, top, left=0):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", top, tmp_path / "out", tmp_path / "log", left, DUE.isoformat()]
    environment = os.environ | {"PYTHONPATH": str(Path(results.__file__).parents[2])}
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == (-9 if left else 0), done.stderr[-3000:]
    return done.stdout


LAYOUTS = [(layout, zipped) for layout in ("moodle", "canvas", "nbgrader", "folders") for zipped in (False, True)]


@pytest.mark.parametrize(
    "layout, zipped",
    [pytest.param(*one, marks=pytest.mark.long if one == ("canvas", True) else pytest.mark.tour) for one in LAYOUTS],
)
def test_a_class_of_200_that_is_killed_ten_times(tmp_path, layout, zipped):
    draw = random.Random(f"{layout} {zipped}")
    marks, late, broken = {}, set(), set()
    for number, name in enumerate(class_of(STUDENTS, draw)):
        is_late, is_broken = number % 11 == 5, number % 13 == 6
        day = DUE + timedelta(days=draw.randint(1, 5) * (1 if is_late else -1))
        data = notebook(STEP, f"# MARK {number % 16}! {number}")
        data = draw.choice(BROKEN) if is_broken else data
        hand_in(tmp_path / "in", layout, number, name, data, day, is_late)
        if not is_broken:
            marks[data] = number % 16
            late |= {data} if is_late else set()
        broken |= {number} if is_broken else set()
    top = tmp_path / "in"
    if zipped:
        top = tmp_path / "class.zip"
        with zipfile.ZipFile(top, "w") as archive:
            for path in sorted((tmp_path / "in").rglob("*.*")):
                if path.is_file():
                    when = datetime.fromtimestamp(path.stat().st_mtime).timetuple()[:6]
                    archive.writestr(
                        zipfile.ZipInfo(path.relative_to(tmp_path / "in").as_posix(), when), path.read_bytes()
                    )
    for _ in range(KILLS):  # a whole run has some 1,500 steps: looking, judging, writing results, tables and pages
        run_once(tmp_path, top, draw.randint(1, 900))
    told = run_once(tmp_path, top)
    assert f"{STUDENTS - len(broken)} of {STUDENTS} hand-ins judged" in told and "COMPLETE False" in told
    check(tmp_path, marks, late, broken)
    log = (tmp_path / "log").read_text().split("\n")
    run_once(tmp_path, top)  # and once more: nothing is judged, and nothing changes
    assert (tmp_path / "log").read_text().split("\n") == log
    check(tmp_path, marks, late, broken)


def check(tmp_path, marks, late, broken):
    found = results.read(tmp_path / "out")
    assert len(found) == STUDENTS and len({r["student"] for r in found}) == STUDENTS
    expected = {hashlib.sha256(data).hexdigest(): mark for data, mark in marks.items()}
    lates = {hashlib.sha256(data).hexdigest() for data in late}
    assert {r["sha256"]: r["exercises"][0]["earned"] for r in found if r["judged"]} == expected
    assert {r["sha256"] for r in found if r["judged"] and r["late"]} == lates
    assert sum(not r["judged"] for r in found) == len(broken)
    lines = (tmp_path / "log").read_text().split("\n")[:-1]
    assert not [line for line in lines if line.endswith("again")]
    count = Counter(line.split()[0] for line in lines)
    assert count.keys() == expected.keys()
    assert sum(count.values()) <= len(expected) + 4 * KILLS  # those that a kill came upon, with two workers
    assert json.loads((tmp_path / "out/run.json").read_text())["asked_for"] == [STEM]
    assert not list((tmp_path / "out").rglob("*.html.part"))
