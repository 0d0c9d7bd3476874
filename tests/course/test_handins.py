"""Hand-ins are found under whatever names learning platforms and people give them."""

import io
import os
import stat
import unicodedata
import zipfile
from datetime import UTC, datetime

import pytest

from cvdl.course import handins
from cvdl.course.handins import find
from cvdl.errors import CourseError
from tests.course.test_cut import STEP, notebook

RNN = notebook(STEP)
BPTT = notebook('@exercise("bptt.do")\ndef f(): ...')


def put(folder, *names, data=RNN):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def zipped(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
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
    assert found.problem == "no notebook: report.pdf" and found.notebook == "unknown"


def test_links_are_not_followed(tmp_path):
    secret = put(tmp_path / "other", "x.ipynb") / "x.ipynb"
    top = put(tmp_path / "top", "anna/x.ipynb")
    (top / "bo").mkdir()
    (top / "bo/x.ipynb").symlink_to(secret)
    (top / "cleo").symlink_to(tmp_path / "other")
    os.mkfifo(top / "dan.ipynb")
    assert [(h.student, bool(h.problem)) for h in find(top)] == [("anna", False), ("bo", True), ("dan", True)]


def test_links_and_ways_out_of_a_zip(tmp_path):
    link = zipfile.ZipInfo("bo/x.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("anna/x.ipynb", RNN)
        archive.writestr("../../cleo/x.ipynb", RNN)
    problems = {h.student: h.problem for h in find(tmp_path / "a.zip")}
    assert problems["anna"] is None and "link" in problems["bo"] and "points outside" in problems["cleo"]


def test_bombs(tmp_path, monkeypatch):
    put(tmp_path, "anna/x.ipynb")
    put(tmp_path, "bo/x.zip", data=zipped({"x.ipynb": bytes(8 << 20)}))
    put(tmp_path, "cleo/x.zip", data=zipped({f"{i}.ipynb": b"" for i in range(30)}))
    put(tmp_path, "dan/x.zip", data=b"PK\x03\x04 and no more")
    with open(tmp_path / "eva.ipynb", "wb") as file:
        file.truncate(1 << 30)  # a gigabyte that is not there
    monkeypatch.setattr(handins, "MEMBERS", 20)
    problems = {h.student: h.problem for h in find(tmp_path)}
    assert problems.pop("anna") is None
    for student, word in {"bo": "grows", "cleo": "30 files", "dan": "unzipped", "eva": "1024 MB"}.items():
        assert word in problems[student], problems


def test_a_lying_zip_is_read_up_to_a_size_only(tmp_path, monkeypatch):
    monkeypatch.setattr(handins, "LARGEST", 1000)
    path = put(tmp_path, "a.zip", data=zipped({"bo/x.ipynb": os.urandom(5000)})) / "a.zip"
    lying = handins.Found(path, ("bo/x.ipynb",), size=10)
    with pytest.raises(CourseError, match="larger"):
        lying.read()


def test_nothing_there(tmp_path):
    with pytest.raises(CourseError, match="There is no"):
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
