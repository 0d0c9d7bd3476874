"""Hand-ins are found under whatever names learning platforms and people give them."""

import io
import os
import random
import stat
import unicodedata
import zipfile
from datetime import UTC, datetime

import pytest

from cvdl.course.grading import archives, names
from cvdl.course.grading.submissions import find
from cvdl.errors import CourseError
from tests.course.grading.test_extraction import STEP, notebook

RNN = notebook(STEP)
BPTT = notebook('@exercise("bptt.do")\ndef f(): ...')


def put(folder, *names, data=RNN):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(members, how=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def who(path):
    return [(h.student, h.notebook) for h in find(path)]


MOODLE = ("Anna Ärmel_123_assignsubmission_file_/mine (2).ipynb", "Bo_77_assignsubmission_file_/a/b/c.ipynb")
CANVAS = ("armelanna_123_4567_x.ipynb", "bo_LATE_77_4568_01_rnn_from_scratch-1.ipynb")


def test_moodle(tmp_path):
    assert [s for s, _ in who(put(tmp_path, *MOODLE))] == ["Anna Ärmel", "Bo"]


def test_canvas(tmp_path):
    found = find(put(tmp_path, *CANVAS))
    assert [(h.student, h.late) for h in found] == [("armelanna", False), ("bo", True)]


def test_nbgrader(tmp_path):
    put(tmp_path, "submitted/anna/rnn/x.ipynb")
    put(tmp_path, "submitted/anna/rnn/timestamp.txt", data=b"2026-01-31 12:00:00.123 UTC")
    (found,) = find(tmp_path)
    assert (found.student, found.notebook) == ("anna", "01_rnn_from_scratch")
    assert found.submitted == datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
    assert who(tmp_path / "submitted") == [("anna", "01_rnn_from_scratch")]


def test_files_and_folders_of_any_name(tmp_path):
    put(tmp_path, "anna.ipynb", "bo_01_rnn_from_scratch.ipynb", "Cleo Ünal/deep/in/01.ipynb", "=cmd()/<b>.ipynb")
    assert [s for s, _ in who(tmp_path)] == ["=cmd()", "Cleo Ünal", "anna", "bo"]
    assert who(tmp_path / "anna.ipynb") == [("anna", "01_rnn_from_scratch")]


def test_a_zip_is_read_like_a_folder_and_so_is_one_inside(tmp_path):
    inner = zipped({"work/01.ipynb": RNN, "__MACOSX/._01.ipynb": b"", "work/02.ipynb": BPTT})
    names = dict.fromkeys(MOODLE, RNN) | {"Cleo_9_assignsubmission_file_/all.zip": inner}
    path = put(tmp_path, "all.zip", data=zipped(names)) / "all.zip"
    expected = [("Anna Ärmel", 1), ("Bo", 1), ("Cleo", 1), ("Cleo", 2)]
    assert [(s, int(n[:2])) for s, n in who(path)] == expected
    assert find(path)[2].read() == RNN and find(path)[3].read() == BPTT
    assert str(find(path)[2].file).endswith("all.zip!Cleo_9_assignsubmission_file_/all.zip!work/01.ipynb")


def test_the_zip_of_a_class_in_a_folder_is_not_one_students(tmp_path):
    canvas = ("amal_1_2_x.ipynb", "bo_LATE_3_4_x.ipynb")
    for name, members in {
        "moodle.zip": MOODLE,
        "canvas.zip": canvas,
        "cleo.zip": ("a/x.ipynb", "b_1_2_x.ipynb"),
    }.items():
        put(tmp_path, name, data=zipped(dict.fromkeys(members, RNN)))
    found = {h.student: h.problem for h in find(tmp_path)}
    told = "contains the hand-ins of a class: grade this zip separately"
    assert found == {"moodle": told, "canvas": told, "cleo": None}
    assert len(find(tmp_path / "moodle.zip")) == len(find(tmp_path / "canvas.zip")) == 2


def test_two_students_of_one_name(tmp_path):
    put(tmp_path, "Bo_1_assignsubmission_file_/x.ipynb", "Bo_2_assignsubmission_file_/x.ipynb")
    assert [s for s, _ in who(tmp_path)] == ["Bo (1)", "Bo (2)"]


def test_the_newest_of_several_is_graded(tmp_path):
    put(tmp_path, "bo/a.ipynb", "bo/b.ipynb")
    put(tmp_path, "bo/scratch.ipynb", data=notebook("1 + 1"))
    os.utime(tmp_path / "bo/b.ipynb", (1, 1))
    (found,) = find(tmp_path)
    assert found.file.path.name == "a.ipynb"
    assert "b.ipynb" in found.notes[0] and "scratch.ipynb" in found.notes[1]


def test_the_exercises_say_which_notebook_it_is(tmp_path):
    put(tmp_path, "bo/01_rnn_from_scratch.ipynb", data=BPTT)
    assert who(tmp_path) == [("bo", "02_bptt")]


@pytest.mark.parametrize(
    "data, problem",
    [
        (b"{", "no notebook"),
        (b"\xff\xfe\x00", "UTF-8"),
        (notebook("1 + 1"), "contains no exercise"),
    ],
)
def test_no_notebook_is_a_problem_of_this_student_alone(tmp_path, data, problem):
    put(put(tmp_path, "anna.ipynb"), "bo/02_bptt.ipynb", data=data)
    anna, bo = find(tmp_path)
    assert anna.problem is None and problem in bo.problem and bo.notebook == "02_bptt"


def test_another_kind_of_file(tmp_path):
    (found,) = find(put(tmp_path, "bo/report.pdf"))
    assert found.problem == "no notebook" and found.notebook == "unknown"


def test_links_are_not_followed(tmp_path):
    secret = put(tmp_path / "other", "x.ipynb") / "x.ipynb"
    top = put(tmp_path / "top", "anna/x.ipynb")
    (top / "bo").mkdir()
    (top / "bo/x.ipynb").symlink_to(secret)
    (top / "cleo").symlink_to(tmp_path / "other")
    os.mkfifo(top / "dan.ipynb")
    found = {h.student: h.problem for h in find(top)}
    assert found.pop("anna") is None and found.keys() == {"bo", "cleo", "dan"}
    assert all("not an ordinary file" in problem for problem in found.values())


def test_links_and_ways_out_of_a_zip(tmp_path):
    link = zipfile.ZipInfo("bo/x.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("anna/x.ipynb", RNN)
        archive.writestr("../../cleo/x.ipynb", RNN)
    problems = {h.student: h.problem for h in find(tmp_path / "a.zip")}
    assert problems["anna"] is None and "link" in problems["bo"] and "points outside" in problems["cleo"]


def test_bombs(tmp_path):
    put(tmp_path, "anna/x.ipynb")
    put(tmp_path, "bo/x.zip", data=zipped({"x.ipynb": bytes(8 << 20)}))
    put(tmp_path, "cleo/x.zip", data=zipped({f"{i}.txt": b"" for i in range(archives.MEMBERS + 1)}))
    put(tmp_path, "dan/x.zip", data=b"PK\x03\x04 and no more")
    with open(tmp_path / "eva.ipynb", "wb") as file:
        file.truncate(1 << 30)  # a gigabyte that is not there
    problems = {h.student: h.problem for h in find(tmp_path)}
    assert problems.pop("anna") is None
    for student, word in {"bo": "grows", "cleo": "20001 files", "dan": "unzipped", "eva": "1024 MB"}.items():
        assert word in problems[student], problems


def test_a_lying_zip_is_read_up_to_a_size_only(tmp_path):
    size = archives.LARGEST + 1000
    lying = zipped({"x.ipynb": bytes(size)}, zipfile.ZIP_STORED).replace(size.to_bytes(4, "little"), b"\x0a\0\0\0")
    path = put(tmp_path, "class.zip", data=lying) / "class.zip"
    (found,) = find(path)
    assert found.problem and len(found.problem) < 300


def test_nothing_there(tmp_path):
    with pytest.raises(CourseError, match="does not exist"):
        find(tmp_path / "none")
    with pytest.raises(CourseError, match="contains no files"):
        find(tmp_path)


def test_canvas_anonymously(tmp_path):
    put(tmp_path, "LATE_anon_k3Xp2_67893_01_rnn_from_scratch-2.ipynb", "anon_12345_67894_x.ipynb")
    put(tmp_path, "LATE_anon_k3Xp2_67999_02_bptt.ipynb", data=BPTT)
    found = [(h.student, h.notebook[:2], h.late, h.number) for h in find(tmp_path)]
    assert found == [("anon_12345", "01", False, ""), ("anon_k3Xp2", "01", True, ""), ("anon_k3Xp2", "02", True, "")]


def test_attempts_in_blackboard_are_versions_of_one_student(tmp_path):
    names = [
        "gradebook_2026.DL_Homework2001_anna_attempt_2026-01-30-12-00-00_mine.ipynb",
        "gradebook_2026.DL_Homework2001_anna_attempt_2026-01-31-09-30-00_other name_2.ipynb",
        "gradebook_2026.DL_Homework2001_anna_attempt_2026-01-31-09-30-00.txt",
        "gradebook_2026.DL_Homework2001_bo_attempt_2026-01-29-08-00-00_x.ipynb",
    ]
    put(tmp_path / "in", *names)
    put(tmp_path, "in.zip", data=zipped(dict.fromkeys(names, RNN)))
    put(tmp_path / "one", "class.zip", data=zipped(dict.fromkeys(names, RNN)))
    for top in (tmp_path / "in", tmp_path / "in.zip"):
        anna, bo = find(top)
        assert (anna.student, bo.student) == ("anna", "bo")
        assert str(anna.file).endswith(names[1]) and names[0] in anna.notes[0]
        assert anna.submitted.strftime("%Y-%m-%d %H:%M") == "2026-01-31 09:30"
    assert "of a class" in find(tmp_path / "one")[0].problem


def test_users_of_blackboard_are_never_made_one(tmp_path):
    put(
        tmp_path,
        *(f"gradebook_C_HW_{user}_attempt_2026-01-30-12-00-00_x.ipynb" for user in ("a_smith", "b_smith", "c")),
    )
    assert [s for s, _ in who(tmp_path)] == ["a_smith", "b_smith", "c"]


def test_notebooks_under_the_names_that_browsers_give(tmp_path):
    odd = [
        "01_rnn_from_scratch.ipynb.json",
        "x.ipynb.txt",
        "y.IPYNB",
        "z.json",
        "notes.txt",
        "w.ipynb (1)",
        "no ending",
    ]
    for n, name in enumerate(odd):
        put(tmp_path, f"s{n}/{name}")
    put(tmp_path, "anna.ipynb.txt")
    put(tmp_path, "s9/settings.json", data=b'{"cells": 3}')
    put(tmp_path, "s9/x.ipynb")
    found = find(tmp_path)
    assert [(h.student, h.problem) for h in found] == [
        ("anna", None),
        *((f"s{n}", None) for n in range(7)),
        ("s9", None),
    ]
    assert not found[-1].notes


@pytest.mark.parametrize("code", ["utf-8", "cp437", "cp850"])
@pytest.mark.parametrize("name", ["Müller Anna", "Özgür Can", "Ávila Íñigo", "Mu\u0308ller Anna", "Zoë"])
def test_names_in_zips_that_do_not_say_how_they_are_written(tmp_path, code, name):
    try:
        raw = f"{name}/x.ipynb".encode(code)
    except UnicodeEncodeError:
        return  # this code page has no such letters
    placeholder = "?" * len(raw)
    data = zipped({placeholder: RNN}).replace(placeholder.encode(), raw)
    path = put(tmp_path, "class.zip", data=data) / "class.zip"
    (found,) = find(path)
    assert found.student == unicodedata.normalize("NFC", name) and found.read() == RNN


def test_one_name_in_two_ways_of_writing_is_one_student(tmp_path):
    put(tmp_path, "Zoe\u0308/a.ipynb")
    put(tmp_path, "Zo\u00eb/b.ipynb", data=BPTT)
    assert who(tmp_path) == [("Zoë", "01_rnn_from_scratch"), ("Zoë", "02_bptt")]


def test_a_damaged_file_is_a_problem_of_this_student_alone(tmp_path):
    damaged = bytearray(zipped({"bo/x.ipynb": RNN * 50}))
    damaged[60:90] = bytes(range(200, 230))
    put(tmp_path, "anna/x.ipynb")
    put(tmp_path, "bo/x.zip", data=bytes(damaged))
    put(tmp_path, "cleo/x.ipynb")
    put(tmp_path, "cleo/timestamp.txt", data=b"99999-01-31 12:00:00 UTC")
    put(tmp_path, "dan/x.ipynb")
    os.utime(tmp_path / "dan/x.ipynb", (9e11, 9e11))
    problems = {h.student: h.problem for h in find(tmp_path)}
    assert problems.pop("bo") and set(problems.values()) == {None}


def test_a_notebook_in_which_exercise_goes_by_another_name(tmp_path):
    put(tmp_path, "anna.ipynb", data=notebook("from cvdl import exercise as ex", STEP.replace("@exercise", "@ex")))
    assert who(tmp_path) == [("anna", "01_rnn_from_scratch")]


# --- one hand-in's fault is its own


def test_whatever_bytes_of_a_zip_are_changed_the_others_are_found(tmp_path):
    good, draw = zipped({"work/x.ipynb": RNN * 20, "work/y.ipynb": BPTT}), random.Random(5)
    for n in range(60):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        put(tmp_path, f"s{n}/x.zip", data=bytes(bad))
    put(tmp_path, "anna/x.ipynb")
    found = find(tmp_path)
    assert {h.student for h in found} == {f"s{n}" for n in range(60)} | {"anna"}
    assert [h.problem for h in found if h.student == "anna"] == [None]


@pytest.mark.parametrize(
    "body",
    ["os.abort()", "bytearray(1 << 40)", "while True: pass", "raise KeyboardInterrupt", "[0] * 10**9 * 10**9"],
)
def test_a_process_that_fails_in_any_way_is_one_hand_ins_fault(tmp_path, monkeypatch, body):
    """The reading itself is replaced by something hostile, for the one who asks for it."""
    program = tmp_path / "hostile.py"
    program.write_text(
        "import os, socket\n"
        "from cvdl.course.grading import archives as unpack\n"
        "honest = unpack.notebook_in\n"
        "def hostile(data, name):\n"
        "    if b'HOSTILE' in data:\n"
        f"        {body}\n"
        "    return honest(data, name)\n"
        "unpack.notebook_in = hostile\n"
        "unpack.serve(socket.socket(fileno=0))\n"
    )
    server = archives.Server()
    monkeypatch.setattr(server, "program", ["-BP", str(program)])
    monkeypatch.setattr(archives, "SERVER", server)
    monkeypatch.setattr(archives, "SECONDS", 2)
    put(tmp_path / "in", "anna/x.ipynb", "zoe/x.ipynb")
    put(tmp_path / "in", "bo/x.ipynb", data=notebook(STEP, "# HOSTILE"))
    put(tmp_path / "in", "cleo/x.zip", data=zipped({"x.ipynb": notebook(STEP, "# HOSTILE")}))
    problems = {h.student: h.problem for h in find(tmp_path / "in")}
    assert problems.pop("anna") is problems.pop("zoe") is None
    assert problems.keys() == {"bo", "cleo"} and all("cannot be read" in p for p in problems.values())


def test_the_process_is_started_again(tmp_path):
    put(tmp_path, "anna/x.ipynb")
    assert find(tmp_path)[0].problem is None
    archives.SERVER.line.close()
    assert find(tmp_path)[0].problem is None


def test_a_file_that_lies_beside_is_not_run_as_a_module(tmp_path, monkeypatch):
    put(tmp_path, "zipfile.py", "json.py", data=b"raise SystemExit")
    put(tmp_path, "anna/x.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(archives, "SERVER", archives.Server())
    assert [h.problem for h in find(tmp_path) if h.student == "anna"] == [None]


def test_folders_that_cannot_be_read_and_long_paths_are_named(tmp_path, monkeypatch):
    put(tmp_path, "anna/x.ipynb", "bo/x.ipynb")
    deep = os.open(tmp_path, os.O_RDONLY)
    for name in ["cleo", *["d" * 200] * 22]:  # 4,400 characters
        os.mkdir(name, dir_fd=deep)
        deep = os.open(name, os.O_RDONLY, dir_fd=deep)
    file = os.open("x.ipynb", os.O_WRONLY | os.O_CREAT, dir_fd=deep)
    os.write(file, RNN)
    honest = os.open

    def refusing(path, *args, **more):
        if path == "bo":
            raise PermissionError(13, "Permission denied", path)
        return honest(path, *args, **more)

    monkeypatch.setattr(os, "open", refusing)
    found = {h.student: h.problem for h in find(tmp_path)}
    assert found == {"anna": None, "bo": "cannot be read (Permission denied)", "cleo": None}
    for name in ["e", *"abcdefghij" * 10]:
        os.mkdir(name, dir_fd=deep)
        deep = honest(name, os.O_RDONLY, dir_fd=deep)
    assert {h.student: h.problem for h in find(tmp_path)}["anna"] is None


# --- whose it is


def test_names_in_a_students_zip_say_nothing(tmp_path):
    inner = zipped({"annaalpha_111_1_x.ipynb": RNN, "Anna_9_assignsubmission_file_/x.txt": b""})
    put(tmp_path / "canvas", "mallorymia_222_9_my.zip", data=inner)
    put(tmp_path / "moodle", "Mallory Mia_222_assignsubmission_file_/Anna_111_assignsubmission_file_/x.ipynb")
    flat = "Mallory Mia_222_assignsubmission_file_x_111_assignsubmission_file_y.ipynb"
    attempt = "attempt_2026-01-31-12-00-00"
    put(tmp_path / "flat", flat)
    put(tmp_path / "bb", f"gradebook_C_HW_mallory_{attempt}_C_HW_anna_{attempt.replace('31', '01')}_x.ipynb")
    put(tmp_path / "bb", f"gradebook_C_HW_anna_{attempt}_x.ipynb")
    for top in ("canvas", "moodle", "flat"):
        (found,) = find(tmp_path / top)
        assert (found.student.replace(" ", "").lower(), found.platform) == ("mallorymia", top.replace("flat", "moodle"))
        assert found.number == "222"
    anna, mallory = find(tmp_path / "bb")
    assert (anna.student, mallory.student, mallory.submitted.day) == ("anna", "mallory", 31)


def test_a_students_folder_called_submitted(tmp_path):
    put(tmp_path, "submitted/anna/x.ipynb", "bo/x.ipynb", "cleo/x.ipynb")
    assert [s for s, _ in who(tmp_path)] == ["bo", "cleo", "submitted"]
    for beside in ("nbgrader_config.py", "gradebook.db", "source/01/x.ipynb", "release/01/x.ipynb"):
        top = tmp_path / beside.replace("/", "-")
        put(top, "submitted/anna/01/x.ipynb", "autograded/bo/01/x.ipynb", beside)
        assert [s for s, _ in who(top)] == ["anna"]


def test_only_nbgraders_own_timestamp_counts(tmp_path):
    early, stamp = datetime(2026, 1, 1, tzinfo=UTC), b"2026-01-01 00:00:00 UTC"
    put(tmp_path / "in", "nb/01/timestamp.txt", "deep/01/a/timestamp.txt", "flat/timestamp.txt", data=stamp)
    put(tmp_path / "in", "M_1_assignsubmission_file_/01/timestamp.txt", "other/02/timestamp.txt", data=stamp)
    names = (
        "nb/01/x.ipynb",
        "deep/01/a/x.ipynb",
        "flat/x.ipynb",
        "M_1_assignsubmission_file_/01/x.ipynb",
        "other/01/x.ipynb",
    )
    put(tmp_path / "in", *names)
    put(
        tmp_path / "in",
        "zip/01/x.zip",
        data=zipped({"timestamp.txt": stamp, "zip/01/timestamp.txt": stamp, "x.ipynb": RNN}),
    )
    assert {h.student for h in find(tmp_path / "in") if h.submitted == early} == {"nb"}
    data = zipped({p.relative_to(tmp_path / "in").as_posix(): p.read_bytes() for p in (tmp_path / "in").rglob("*.*")})
    put(tmp_path, "in.zip", data=data)
    assert {h.student for h in find(tmp_path / "in.zip") if h.submitted == early} == {"nb"}


def test_times_in_a_students_zip_order_versions_and_decide_nothing_else(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for year, name in ((2001, "old"), (2002, "new")):
            archive.writestr(zipfile.ZipInfo(f"{name}.ipynb", (year, 1, 1, 0, 0, 0)), RNN)
    put(tmp_path, "anna/x.zip", data=file.getvalue())
    os.utime(tmp_path / "anna/x.zip", (1e9, 1e9))
    (anna,) = find(tmp_path)
    assert anna.file.inside == ("new.ipynb",) and anna.submitted.timestamp() == 1e9
    put(tmp_path, "anna/later.ipynb")
    assert find(tmp_path)[0].file.called == "anna/later.ipynb"


def zip_of(tmp_path, *names, data=RNN):
    return put(tmp_path, "class.zip", data=zipped(dict.fromkeys(names, data))) / "class.zip"


@pytest.mark.parametrize(
    "names",
    [
        ("hand-ins/anna/x.ipynb", "hand-ins/bo/y.ipynb", "hand-ins/cleo/y.ipynb"),
        ("a/hand-ins/anna/x.ipynb", "a/hand-ins/bo/y.ipynb", "a/hand-ins/cleo/y.ipynb"),
        tuple(f"hand-ins/{n}_1{i}_assignsubmission_file_/x.ipynb" for i, n in enumerate(("anna", "bo", "cleo"))),
        tuple(f"hand-ins/{n}_1{i}_123_x.ipynb" for i, n in enumerate(("anna", "bo", "cleo"))),
        ("c/submitted/anna/1/x.ipynb", "c/submitted/bo/1/x.ipynb", "c/submitted/cleo/1/x.ipynb", "c/source/1/x.ipynb"),
    ],
)
def test_the_single_folder_of_a_class_is_opened(tmp_path, names):
    told = []
    assert [h.student for h in find(zip_of(tmp_path, *names), told=told)] == ["anna", "bo", "cleo"]
    assert "treated as one student's" in told[0]
    with zipfile.ZipFile(tmp_path / "class.zip") as archive:
        archive.extractall(tmp_path / "out")
    assert [s for s, _ in who(tmp_path / "out")] == ["anna", "bo", "cleo"]


def test_a_single_folder_that_may_be_a_student(tmp_path):
    put(tmp_path, "all.zip", data=zipped({"x/anna/a.ipynb": RNN, "x/bo/b.ipynb": BPTT}))
    put(tmp_path, "files.zip", data=zipped({"x/anna.ipynb": RNN, "x/bo.ipynb": RNN}))
    for name in ("all.zip", "files.zip"):
        with pytest.raises(CourseError, match="Are these students, or is x one"):
            find(tmp_path / name)
    put(
        tmp_path, "one.zip", data=zipped({"anna/01/a.ipynb": RNN, "anna/02_bptt/b.ipynb": BPTT, "anna/readme.txt": b""})
    )
    assert who(tmp_path / "one.zip") == [("anna", "01_rnn_from_scratch"), ("anna", "02_bptt")]
    assert [s for s, _ in who(zip_of(tmp_path, "Anna B_1_assignsubmission_file_/a/x.ipynb"))] == ["Anna B"]
    assert [
        s
        for s, _ in who(
            zip_of(tmp_path, "Bo_1_assignsubmission_file_/a/x.ipynb", "Bo_1_assignsubmission_file_/b/x.ipynb")
        )
    ] == ["Bo"]


def test_two_members_of_one_name_are_two_files(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for data in (RNN, BPTT):
                archive.writestr("anna/x.ipynb", data)
    found = find(put(tmp_path, "a.zip", data=file.getvalue()) / "a.zip")
    assert [(h.notebook[:2], h.read()) for h in found] == [("01", RNN), ("02", BPTT)]


def test_names_that_look_the_same_are_shown_to_the_teacher(tmp_path):
    names = ["Anna", "anna", "An\u200bna", "Ａnna", "\u202eAnna", "bo", "=b"]
    put(tmp_path, *(f"{name}/x.ipynb" for name in names))
    told = []
    assert {h.student for h in find(tmp_path, told=told)} == set(names)
    assert len(told) == 1 and all(repr(name) in told[0] for name in names[:5]) and "'bo'" not in told[0]


@pytest.mark.parametrize(
    "name",
    ["李小龍", "محمد علي", "می\u200cخواهم", "ශ්\u200dරී", "葛\U000e0100城", "Zoë", "山田\u3000太郎", "O'Neil-Å", "😀"],
)
def test_names_of_any_script_are_shown_as_they_are(name):
    assert names.shown(name) == name


@pytest.mark.parametrize("c", ["\x00", "\n", "\x1b", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u3164", "\ud800", "\U000e0041", "\u034f"])  # fmt: skip
def test_what_is_not_seen_is_shown(c):
    assert (names.shown(f"a{c}b") == f"a\\u{{{ord(c):x}}}b" and names.key(f"a{c}B") == "ab") or c == "\n"


def test_very_long_names_are_bounded_and_apart(tmp_path):
    long = "x" * 30_000
    found = find(zip_of(tmp_path, f"{long}a/x.ipynb", f"{long}b/x.ipynb"))
    assert len({h.student for h in found}) == 2 and all(len(h.student) <= names.LONGEST for h in found)
