"""Hand-ins get the marks that `check` gives, hostile ones get no more, and nobody's marks depend on another's."""

import inspect
import json
import os
import re
import stat
import sys
import textwrap
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import torch
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller
from cvdl.course.grading import command, grade, reports, results
from cvdl.course.grading.sandbox import backends
from cvdl.course.grading.sandbox import client as sandbox_client
from cvdl.course.grading.submissions import find
from cvdl.errors import CourseError
from cvdl.sequence import rnn
from cvdl.settings import ROOT
from tests.course.grading.test_extraction import SETUP, STEP, notebook
from tests.course.grading.test_submissions import put

STEM = "01_rnn_from_scratch"
SEED = "a seed"


@pytest.fixture
def same_cases(monkeypatch):
    """The cases of every file are those of `check` with this seed."""
    monkeypatch.setattr(grade, "seed_of", lambda data, secret: secret)


def judged(*cells, backend):
    result = grade.judge_bytes(notebook(SETUP, *cells), STEM, SEED, backend)
    assert result["judged"], result["problem"]
    return {row["id"]: row for row in result["exercises"]}, result["notes"]


def as_check(id, function, row):
    """Is this row what `check` says of the function?"""
    score = scoring.score(chapters.find(id), caller(id, function), SEED)
    told = [(c.name, c.points, c.earned, c.message, c.hint) for c in score.cases]
    assert [tuple(c.values()) for c in row["cases"]] == told
    mistake = score.mistake and score.mistake.name
    assert [row[k] for k in ("state", "earned", "mistake", "hint")] == [score.state, score.earned, mistake, score.hint]


def answer(id, name, body):
    """A function that answers an exercise of the chapter, as text."""
    parameters = ", ".join(inspect.signature(chapters.find(id).library).parameters)
    return f"@exercise({id!r})\ndef {name}({parameters}):\n{textwrap.indent(body, '    ')}"


def defined(cell, name):
    """The function itself, from the text of its cell."""
    import linecache

    linecache.cache[cell] = (len(cell), None, cell.splitlines(keepends=True), cell)
    namespace = {"torch": torch, "rnn_step": rnn.step, "exercise": lambda id: lambda function: function}
    exec(compile(cell, cell, "exec"), namespace)
    return namespace[name]


MARKED = '@exercise("rnn.step", points=15)\ndef rnn_step(x, h, V, W, b_h):\n    return (x @ V.T + h @ W.T + b_h).tanh()'
UNMARKED = '`rnn_step` is defined without @exercise("rnn.step") above it, so it was not judged as rnn.step: look at it'


@pytest.mark.parametrize(
    "cell, told",
    [
        (MARKED.partition("\n")[2], UNMARKED),
        ("@torch.no_grad()\n" + MARKED.partition("\n")[2], UNMARKED),
        ("class Net:\n    def rnn_step(self): pass", ""),
        ("rnn_steps = 3", ""),
    ],
)
def test_a_function_that_lost_its_mark_is_remarked(cell, told, backend):
    rows, notes = judged(cell, backend=backend)
    assert (rows["rnn.step"]["state"], rows["rnn.step"]["hint"]) == ("missing", told)
    assert notes == [told] * bool(told) and rows["rnn.unroll"]["hint"] == ""


def test_marks_and_messages_are_those_of_check(backend, same_cases):
    cells = {
        "rnn.step": ("rnn_step", "return torch.sigmoid(x @ V.T + h @ W.T + b_h)"),  # a known mistake, for itself alone
        "rnn.unroll": ("unroll", "hs = [h0]\nfor x in xs:\n    hs += [rnn_step(x, hs[-1], V, W, b_h)]\nreturn torch.stack(hs[1:])"),
        "rnn.parameters": ("count", "\nreturn D * undefined"),  # an error, with its line
        "rnn.loss": ("loss", "print('.' * 10**6)\nreturn logits.detach().mean()"),
        "rnn.last": ("last", "pass"),
        "rnn.sample": ("sample", "logits *= 2\nreturn logits"),  # changes its argument
        "rnn.teacher": ("teacher", "return targets.numpy()"),
    }  # fmt: skip
    cells = {id: (name, answer(id, name, body)) for id, (name, body) in cells.items()}
    rows, notes = judged(*(text for _, text in cells.values()), backend=backend)
    for id, (name, text) in cells.items():
        as_check(id, defined(text, name), rows[id])
    assert rows["rnn.unroll"]["state"] == "right" and rows["rnn.step"]["mistake"] == "sigmoid for tanh"
    assert "line 4 of your cell: return D * undefined" in rows["rnn.parameters"]["cases"][0]["message"]
    assert rows["rnn.match"]["state"] == "missing" and not notes


RIGHT = "return D * H + H * H + H + H * K + K"
HOSTILE = {
    "rnn.step": "import os; os._exit(0)",
    "rnn.unroll": "import os\nwhile True:\n    for d in range(64):\n        try:\n            os.write(d, b'0' * 65536)\n        except OSError:\n            pass",
    "rnn.loss": "import os\nfor d in range(3, 64):\n    try:\n        os.write(d, FORGED)\n    except OSError:\n        pass\nreturn 0.0",
    "rnn.last": "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
    "rnn.sample": "x = [bytearray(1 << 26) for _ in range(1000)]",
    "rnn.teacher": "import sys; sys.exit('no')",
}  # fmt: skip


@pytest.mark.long
def test_whoever_breaks_the_jail_loses_that_exercise_alone(backend, monkeypatch):
    monkeypatch.setattr(sandbox_client, "CALL", 8)
    monkeypatch.setattr(sandbox_client, "LOAD", 0)
    forged = (
        "from cvdl.course.grading.sandbox import protocol as wire\nFORGED = wire.pack({'token': '', 'answer': 0.0})"
    )
    cells = [answer(id, f"f{n}", body) for n, (id, body) in enumerate(HOSTILE.items())]
    rows, _ = judged(forged, *cells, answer("rnn.parameters", "count", RIGHT), backend=backend)
    assert rows["rnn.parameters"]["state"] == "right"
    assert [rows[id]["earned"] for id in HOSTILE] == [0] * len(HOSTILE)
    said = {id: rows[id]["cases"][0]["message"] for id in HOSTILE}
    assert said["rnn.step"] == "stopped: the process has ended"
    assert said["rnn.unroll"].startswith("stopped: ") and said["rnn.loss"].startswith("stopped")
    assert said["rnn.last"] == "stopped after 10 seconds"
    assert "Memory" in said["rnn.sample"] or "memory" in said["rnn.sample"]
    assert said["rnn.teacher"].startswith("SystemExit: no — line ")
    assert rows["rnn.last"]["cases"][1]["message"] == "not tried, because an earlier case had to be stopped"


def test_broken_stubs_and_strange_ids(backend):
    rows, notes = judged(
        STEP.replace("):", ")"),
        '@exercise("rnn.unroll")\ndef f(xs): ...',
        '@exercise("rnn.hack")\ndef g(): pass',
        '@exercise("rnn.last", points=1000)\ndef k(): pass',
        backend=backend,
    )
    assert rows["rnn.step"]["state"] == "wrong" and rows["rnn.unroll"]["state"] == "not attempted"
    assert rows["rnn.step"]["cases"][0]["message"].startswith("SyntaxError: expected ':' — line 2 of your cell")
    assert "is worth 10 points" in rows["rnn.last"]["cases"][0]["message"]
    assert any("rnn.hack" in note for note in notes)


def test_the_course_gets_full_marks_and_a_new_notebook_none(backend):
    for folder, points in (("notebooks", 0), ("solutions", 100)):
        path = ROOT / folder / f"{STEM}.ipynb"
        if path.exists():  # students have no solutions
            result = grade.judge_bytes(path.read_bytes(), STEM, SEED, backend)
            assert sum(row["earned"] for row in result["exercises"]) == points and not result["notes"]


def test_not_a_notebook(backend):
    result = grade.judge_bytes(b'{"cells": [exercise("rnn.step")', STEM, SEED, backend)
    assert not result["judged"] and "no notebook" in result["problem"]
    assert {row["earned"] for row in result["exercises"]} == {0} and len(result["exercises"]) == 8


def graded_state(*cells, backend, metadata=None):
    """(judged, problem, {id: state}) of a notebook."""
    data = json.loads(notebook(SETUP, *cells)) | {"metadata": metadata or {}}
    result = grade.judge_bytes(json.dumps(data).encode(), STEM, SEED, backend)
    return result["judged"], result["problem"], {r["id"]: (r["state"], r["earned"]) for r in result["exercises"]}


def test_what_the_notebook_had_and_the_jail_lacks_is_not_judged_instead_of_0(backend):
    act, check = STEP.replace("torch.tanh", "act"), 'check("rnn.step")'
    unroll = answer("rnn.unroll", "unroll", "import no_such_package_here\nreturn xs")
    loss = answer("rnn.loss", "loss", "return open('/content/drive/mine.csv').read()")
    honest = answer("rnn.parameters", "count", "return undefined")
    judged, problem, states = graded_state(
        "def act(z:\n    return z", act, check, unroll, loss, honest, backend=backend
    )
    assert not judged and states["rnn.parameters"] == ("wrong", 0)
    assert {id: states[id] for id in ("rnn.step", "rnn.unroll", "rnn.loss")} == dict.fromkeys(
        ("rnn.step", "rnn.unroll", "rnn.loss"), ("not judged", 0)
    )
    for word in ("the name act, from a cell that Python cannot parse", "the package no_such_package_here", "mine.csv"):
        assert word in problem, problem
    assert problem.count(results.LOOK) == 3


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python can read them")
def test_a_notebook_of_a_newer_python_is_not_judged(backend):
    new = "def squash[T](z: T) -> T:\n    return z"
    colab = {"language_info": {"name": "python", "version": "3.12.11"}}
    for metadata, word in (
        (colab, "was written for a newer Python (3.12)"),
        (None, "may have been written for a newer Python"),
    ):
        cells = [STEP + "\n\n" + new, answer("rnn.last", "last", "d = {'k': 1}\nprint(f'{d['k']}')\nreturn hs[0]")]
        judged, problem, states = graded_state(*cells, backend=backend, metadata=metadata)
        assert not judged and states["rnn.step"] == states["rnn.last"] == ("not judged", 0)
        assert word in problem and "grade with 3.12" in problem
    own = {"language_info": {"name": "python", "version": "3.11.4"}}
    judged, _, states = graded_state(STEP + "\n\n" + new, backend=backend, metadata=own)
    assert judged and states["rnn.step"] == ("wrong", 0)  # it could not run there either


def test_another_cells_fault_costs_no_points(backend):
    """A cell that cannot be read, or whose decorator has wrong arguments, is one in which the exercise is left out."""
    unroll = answer(
        "rnn.unroll",
        "unroll",
        "hs = [h0]\nfor x in xs:\n    hs += [rnn_step(x, hs[-1], V, W, b_h)]\nreturn torch.stack(hs[1:])",
    )
    for fault in (STEP + ")", STEP.replace("15", "100"), "", STEP.replace("points=15", "point=15")):
        rows, _ = judged(fault, unroll, backend=backend)
        assert rows["rnn.unroll"]["state"] == "right", fault
        assert rows["rnn.step"]["earned"] == 0


# --- from here on without a jail


def test_a_strange_answer_is_wrong_in_its_own_case_alone():
    calls = []

    def call(*args, weights=None):
        calls.append(args)
        right = scoring.answer(rnn.step, args, weights)
        return right.to(torch.float8_e4m3fn) if len(calls) in (2, 4) else right  # with two digits

    score = scoring.score(chapters.find("rnn.step"), call, 0)
    messages = [c.message for c in score.cases if c.message]
    assert len(messages) == 2 and all("differ" in message for message in messages)
    assert [not c.earned for c in score.cases] == [n in (1, 3) for n in range(6)] and len(calls) == 6


class NoJail:
    """Stands in for an opened hand-in: the function is called right here."""

    lacks, lost, stops = (), False, 0

    def __init__(self, data, backend, course, chapter):
        ids = [spec.id for spec in grade.exercises_of(STEM)]
        self.found = {"answered": dict.fromkeys(ids, True), "notes": []}
        self.found |= {key: {} for key in ("sources", "imports", "broken", "unread", "ways", "unmarked")}

    def call(self, id, way=0):
        return caller(id, chapters.find(id).library)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_a_fault_of_the_course_is_reported_and_is_not_0_points(monkeypatch, tmp_path):
    def broken(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(grade, "Notebook", NoJail)
    assert sum(row["earned"] for row in grade.judge_bytes(b"", STEM, SEED, None)["exercises"]) == 100
    chapter = chapters.chapter("rnn")
    monkeypatch.setitem(
        chapter, "rnn.loss", replace(chapter["rnn.loss"], oracle=broken, cases=chapter["rnn.loss"].cases)
    )
    result = grade.judge_bytes(b"", STEM, SEED, None)
    assert not result["judged"] and "rnn.loss cannot be judged" in result["problem"]
    assert "fault in the course" in result["problem"] and "ZeroDivisionError" in result["problem"]
    monkeypatch.setattr(backends, "choose", lambda name, hidden: name)
    told, complete = command.grade_all(put(tmp_path / "in", "anna.ipynb"), tmp_path / "out")
    assert not complete and "anna.ipynb: rnn.loss cannot be judged" in told and "0 of 1 hand-ins judged" in told


ROW = {"id": "rnn.step", "title": "one step", "points": 15, "earned": 15, "state": "right", "mistake": None, "hint": "", "cases": [], "source": ""}  # fmt: skip


@pytest.fixture
def judge_of_paper(monkeypatch):
    """Stands in for the judge -> list of what it was asked to judge."""
    asked = []

    def judge_bytes(data, notebook, seed, backend):
        asked.append(data)
        if b"crash" in data:
            raise RuntimeError("crash")
        return {"judged": True, "problem": None, "notes": [], "seconds": 0.1, "exercises": [ROW]}

    monkeypatch.setattr(grade, "judge_bytes", judge_bytes)
    monkeypatch.setattr(backends, "choose", lambda name, hidden: name)
    return asked


def test_an_interrupted_run_goes_on(tmp_path, judge_of_paper):
    top, out = put(tmp_path / "in", *(f"{name}.ipynb" for name in "abcde")), tmp_path / "out"
    running = grade.grade(find(top), out, SEED, None)
    next(running)
    running.close()
    begun = len(judge_of_paper)
    assert 1 <= begun < 5 and 1 <= len(results.read(out)) < 5
    assert len(list(grade.grade(find(top), out, SEED, None))) == 5
    kept = len(judge_of_paper)
    assert len(list(grade.grade(find(top), out, SEED, None))) == 5 and len(judge_of_paper) == kept
    put(top, "c.ipynb", data=notebook(STEP, "1"))
    list(grade.grade(find(top), out, SEED, None))
    assert len(judge_of_paper) == kept + 1


def test_one_crash_touches_nobody_else(tmp_path, judge_of_paper):
    top = put(put(tmp_path / "in", "a.ipynb", "c.ipynb"), "b.ipynb", data=notebook(STEP, "crash"))
    told, complete = command.grade_all(top, tmp_path / "out")
    assert not complete and "b.ipynb: the judge failed: RuntimeError: crash" in told and "2 of 3" in told
    assert [sum(e["earned"] for e in r["exercises"]) for r in results.read(tmp_path / "out")] == [15, 0, 15]
    command.grade_all(top, tmp_path / "out")
    assert len(judge_of_paper) == 4  # what was not judged is tried again


def test_lateness(tmp_path, judge_of_paper):
    put(tmp_path / "in", "anna/1/x.ipynb", "bo_LATE_1_2_x.ipynb")
    put(tmp_path / "in", "anna/1/timestamp.txt", data=b"2026-01-31 12:00:00 UTC")
    due = [None, datetime(2026, 1, 31, 13, tzinfo=UTC), datetime(2026, 1, 31, 11, tzinfo=UTC)]
    late = [[r["late"] for r in grade.grade(find(tmp_path / "in"), tmp_path / "out", SEED, None, d)] for d in due]
    assert late == [[None, True], [False, True], [True, True]]


def test_who_is_missing(tmp_path, judge_of_paper):
    put(put(tmp_path / "in", "anna.ipynb"), "names.txt", data="Anna\n\nBö  Chen\n".encode())
    names = (tmp_path / "in/names.txt").rename(tmp_path / "names.txt")
    told, complete = command.grade_all(tmp_path / "in", tmp_path / "out", students=names)
    assert complete and "Bö  Chen: nothing handed in for 01_rnn_from_scratch" in told
    _, bo = sorted(results.read(tmp_path / "out"), key=lambda r: r["file"], reverse=True)
    assert (bo["file"], {e["state"] for e in bo["exercises"]}, len(bo["exercises"])) == ("", {"missing"}, 8)


def test_names_are_the_same_in_other_bytes(tmp_path, judge_of_paper):
    put(tmp_path / "in", "Zoe\u0308 \u00d3 Briain.ipynb")
    (tmp_path / "names.txt").write_text("zo\u00eb  O\u0301 briain\n", encoding="utf-8")
    told, _ = command.grade_all(tmp_path / "in", tmp_path / "out", students=tmp_path / "names.txt")
    assert "nothing handed in" not in told and len(results.read(tmp_path / "out")) == 1


def test_what_was_handed_in_no_more_is_named_and_stays(tmp_path, judge_of_paper):
    top, out = put(tmp_path / "in", "anna.ipynb", "bo.ipynb"), tmp_path / "out"
    put(top, "cleo/essay.docx", data=b"PK")
    (tmp_path / "names.txt").write_text("anna\nbo\ncleo\nDann\n", encoding="utf-8")
    told, _ = command.grade_all(top, out, students=tmp_path / "names.txt")
    assert "not among" not in told
    (top / "bo.ipynb").unlink()
    (top / "cleo/essay.docx").rename(top / "cleo/essay.txt")
    put(top, "cleo/mine.ipynb")
    told, _ = command.grade_all(top, out)
    assert f"not among these hand-ins: bo ({STEM}). If one was withdrawn," in told
    (tmp_path / "names.txt").write_text("anna\nbo\ncleo\nDan\n", encoding="utf-8")
    told, _ = command.grade_all(top, out, students=tmp_path / "names.txt")
    assert f"not among these hand-ins: Dann ({STEM}), bo ({STEM})." in told
    assert f"bo: nothing handed in for {STEM} this time; the earlier hand-in is kept" in told
    assert results.known(out, "bo", STEM)["exercises"][0]["earned"] == 15
    put(tmp_path / "next", "anna.ipynb", data=notebook('@exercise("bptt.do")\ndef f(): ...'))
    assert "not among" not in command.grade_all(tmp_path / "next", out)[0]  # of another notebook


def test_another_kind_of_file_is_handed_in_and_not_judged(tmp_path, judge_of_paper):
    top, out = put(tmp_path / "in", "Anna A_1_assignsubmission_file_/x.ipynb"), tmp_path / "out"
    put(top, "Bo B_2_assignsubmission_file_/essay.pdf", data=b"%PDF")
    put(top, "Cleo C_3_assignsubmission_onlinetext_/onlinetext.html", data=b"<p>")
    told, complete = command.grade_all(top, out, formats=["moodle"])
    assert not complete and "essay.pdf: no notebook\n" in told and "1 of 3 hand-ins judged" in told
    (table,) = out.glob("moodle-*.csv")
    rows = [line.split(",")[:5] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
    state = "Submitted for grading"
    assert rows == [
        ["Participant 1", "Anna A", "", state, "15"],
        ["Participant 2", "Bo B", "", state, ""],
        ["Participant 3", "Cleo C", "", state, ""],
    ]
    overview = " ".join((out / "overview.html").read_text(encoding="utf-8").split())
    assert "3 students, 1 notebook; 1 handed in, 2 not judged" in overview


def test_a_name_that_is_not_on_the_list_is_reported(tmp_path, judge_of_paper):
    put(tmp_path / "in", "Anna Muller/x.ipynb", "bo/x.ipynb", "Nobody Known/x.ipynb")
    (tmp_path / "names.txt").write_text("Müller Anna\nBo\nXu Qi\n", encoding="utf-8")
    told, _ = command.grade_all(tmp_path / "in", tmp_path / "out", students=tmp_path / "names.txt")
    assert "Anna Muller is not on the list of students. Could this be Müller Anna, who has no hand-in?" in told
    assert "Nobody Known is not on the list of students. Marks are kept" in told and "bo is not" not in told


def test_a_name_that_is_not_on_the_list_is_reported_again_where_its_mark_stays(tmp_path, judge_by_length):
    names, out = tmp_path / "names.txt", tmp_path / "out"
    names.write_text("bo\nBo\n", encoding="utf-8")  # twice the same one
    for day in (10, 25):
        path = put(tmp_path / "in", f"cleo/{STEM}.ipynb", data=worth(day)) / f"cleo/{STEM}.ipynb"
        at(path, day)
        told, _ = command.grade_all(tmp_path / "in", out, due="2026-01-20", students=names)
        assert "cleo is not on the list" in told and told.count("bo: nothing handed in") == 1
    assert "0 of 0 hand-ins judged, 0 late" in told and "; 1 not judged again, because the mark stays" in told


@pytest.mark.parametrize(
    "name, data, told",
    [
        ("all.zip", b"PK\x03\x04 cut off", r"all\.zip cannot be unzipped.*Download it again"),
        ("names.txt", b"Anna\n", r"names\.txt is neither a zip nor a notebook of this course \(no notebook\)"),
    ],
)
def test_a_wrong_file_is_not_a_student(tmp_path, judge_of_paper, name, data, told):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CourseError, match=told):
        command.grade_all(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_due_time_is_given_once(tmp_path, judge_of_paper):
    with pytest.raises(CourseError, match="--due is given twice for 01_rnn_from_scratch"):
        command.grade_all(put(tmp_path / "in", "a/x.ipynb"), tmp_path / "out", due=["01=2026-01-05", "rnn=2026-01-06"])


def test_a_list_that_is_not_in_utf8(tmp_path, judge_of_paper):
    (tmp_path / "names.txt").write_bytes("Jürgen".encode("latin-1"))
    with pytest.raises(CourseError, match=r"names\.txt is not a text file in UTF-8"):
        command.grade_all(put(tmp_path / "in", "a/x.ipynb"), tmp_path / "out", students=tmp_path / "names.txt")


def test_each_notebook_has_its_own_due_time(tmp_path, judge_of_paper):
    put(tmp_path / "one", "anna.ipynb")
    put(tmp_path / "two", "anna.ipynb", data=notebook('@exercise("bptt.do")\ndef f(): ...'))
    command.grade_all(tmp_path / "one", tmp_path / "out", due="2026-01-31T12:00+00:00")
    command.grade_all(tmp_path / "two", tmp_path / "out", due="2026-02-28T12:00+00:00")
    rows = (tmp_path / "out/grades.csv").read_text(encoding="utf-8").splitlines()[1:]
    begin = [datetime.fromisoformat(row.split(",")[1]).astimezone(UTC).month for row in rows]
    assert begin == [1, 2] and [row.split(",")[0] for row in rows] == [STEM, "02_bptt"]
    assert set(json.loads((tmp_path / "out/run.json").read_text())["notebooks"]) == {STEM, "02_bptt"}


def test_a_day_lasts_until_its_end(tmp_path, judge_of_paper):
    put(tmp_path / "in", "anna/1/x.ipynb")
    for hour, late in (("2026-01-31 23:58:00", 0), ("2026-02-01 00:01:00", 1)):
        put(tmp_path / "in", "anna/1/timestamp.txt", data=hour.encode())
        told, _ = command.grade_all(tmp_path / "in", tmp_path / "out", due="2026-01-31")
        assert f"1 of 1 hand-ins judged, {late} late (due 2026-01-31 23:59" in told


def test_what_lies_among_the_hand_ins_and_is_ours(tmp_path, judge_of_paper):
    put(tmp_path, "anna.ipynb")
    (tmp_path / "names.txt").write_text("anna\n", encoding="utf-8")
    for _ in range(2):
        told, complete = command.grade_all(tmp_path, tmp_path / "marks", students=tmp_path / "names.txt")
        assert complete and "1 of 1" in told
    assert command.grade_all(tmp_path / "anna.ipynb", tmp_path)[1]  # hand-ins inside of OUT are hand-ins
    with pytest.raises(CourseError, match="contains the hand-ins"):
        command.grade_all(tmp_path, tmp_path)
    with pytest.raises(CourseError, match=r"anna\.ipynb cannot be written to"):
        command.grade_all(tmp_path, tmp_path / "anna.ipynb")


def test_ctrl_c_says_how_to_go_on(tmp_path, judge_of_paper, monkeypatch, capsys):
    put(tmp_path / "in", "anna.ipynb")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, "judge_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.grade_all(tmp_path / "in", tmp_path / "out")
    assert "run the same command again to continue" in capsys.readouterr().err


def test_the_seed_is_kept_and_kept_secret(tmp_path, judge_of_paper):
    top, out = put(tmp_path / "in", "anna.ipynb"), tmp_path / "out"
    command.grade_all(top, out)
    seed = (out / "seed").read_text()
    assert len(seed) == 32 and stat.S_IMODE((out / "seed").stat().st_mode) == 0o600
    command.grade_all(top, out, seed=seed)
    with pytest.raises(CourseError, match="different seed"):
        command.grade_all(top, out, seed="x")
    assert not [p for p in out.rglob("*.json") if seed in p.read_text()]
    assert json.loads((out / "run.json").read_text())["notebooks"][STEM]["rnn.step"] == 15


def test_the_command(tmp_path, judge_of_paper):
    put(tmp_path / "in", "anna.ipynb")

    def code(*options):
        done = CliRunner().invoke(app.app, ["grade", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *options])
        return done.exit_code, re.sub(r"\s+", " ", done.output)

    assert code()[0] == 0
    for options, word in {
        ("--notebook", "77"): "no notebook '77'",
        ("--notebook", "02"): "no hand-in for notebook 02_bptt",
        ("--due", "soon"): "cannot parse",
    }.items():
        exit_code, output = code(*options)
        assert exit_code == 1 and word in output
    put(tmp_path / "in", "bo.txt", data=b"no notebook")
    exit_code, output = code()
    assert exit_code == 1 and "bo.txt: no notebook " in output and "1 of 2" in output


def test_any_executor_will_do(tmp_path, judge_of_paper):
    class Here:
        """The least that an Executor can do."""

        def submit(self, function, *args):
            future = Future()
            future.set_result(function(*args))
            return future

    top = put(tmp_path / "in", "a.ipynb", "b.ipynb")
    assert len(list(grade.grade(find(top), tmp_path / "out", SEED, None, executor=Here()))) == 2


@pytest.mark.long
def test_on_dask(tmp_path, backend):
    distributed = pytest.importorskip("distributed")
    top = put(tmp_path / "in", "a.ipynb", "b.ipynb", data=notebook(SETUP, STEP))
    with distributed.Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        done = list(grade.grade(find(top), tmp_path / "out", SEED, backend, executor=client.get_executor()))
    assert [r["exercises"][0]["state"] for r in done] == ["right", "right"]


def test_names_of_folders():
    names = [
        *("anna", "Anna", "a/../b", "../x", "", ".", "=cmd()", "<b>", "日本", "\udcff", "x" * 300),
        *("anna-bf4fccd65cf4", f"anna-{'0' * 64}", "0" * 64, "anna\u200b", "anna\u00ad", " anna", "annä", "anna\u0308"),
    ]
    slugs = [results.slug(name) for name in names]
    assert len(set(slugs)) == len(names) and all(re.fullmatch(r"[a-z0-9_-]{1,110}", s) for s in slugs)
    assert all(s == name or len(s.rpartition("-")[2]) == 64 for s, name in zip(slugs, names, strict=True))


# --- what is never written over

BPTT = notebook('@exercise("bptt.do")\ndef f(): ...')
AT = "_assignsubmission_file_/x.ipynb"


@pytest.fixture
def judge_by_length(judge_of_paper, monkeypatch):
    """Stands in for the judge: as many points as a notebook has lines with a #."""

    def judge_bytes(data, notebook, seed, backend):
        judge_of_paper.append(data)
        row = ROW | {"id": "x.y", "points": 100, "earned": data.count(b"#")}
        return {"judged": True, "problem": None, "notes": [], "seconds": 0.1, "exercises": [row]}

    monkeypatch.setattr(grade, "judge_bytes", judge_bytes)
    monkeypatch.setattr(reports, "picture", lambda *_: "")  # figures take most of the time
    return judge_of_paper


def worth(points, of=STEP):
    return notebook(of, "# \n" * points)


def points(out):
    return {
        (r["student"], r["notebook"][:2]): sum(e["earned"] for e in r["exercises"])
        for r in results.read(out)
        if r["file"]
    }


def at(path, day):
    when = datetime(2026, 1, day, 12, tzinfo=UTC).timestamp()
    os.utime(path, (when, when))


def test_one_notebook_of_another_sheet_changes_nothing_there(tmp_path, judge_by_length):
    out, names = tmp_path / "out", tmp_path / "names.txt"
    names.write_text("anna\nbo\ncleo\n", encoding="utf-8")
    for n, name in enumerate(("anna", "bo", "cleo")):
        put(tmp_path / "one", f"{name}/x.ipynb", data=worth(n + 1))
    command.grade_all(tmp_path / "one", out, students=names, due="2026-01-31T12:00+00:00")
    kept = points(out)
    two = BPTT
    put(tmp_path / "two", *(f"{name}/y.ipynb" for name in ("anna", "bo", "cleo", "eve", "fred")), data=two)
    put(tmp_path / "two", "anna/x.ipynb", data=worth(50))  # better, and months late
    put(tmp_path / "two", "dan/x.ipynb", data=worth(7))  # of whom there is no mark yet
    told, _ = command.grade_all(tmp_path / "two", out, students=names, due="2027-12-31")
    assert {k: v for k, v in points(out).items() if k[1] == "01"} == {**kept, ("dan", "01"): 7}
    assert "anna (01_rnn_from_scratch), 1 points: mark kept." in told and "for a different notebook from most" in told
    dues = json.loads((out / "run.json").read_text())["dues"]
    assert dues[STEM].startswith("2026-01-31") and dues["02_bptt"].startswith("2027-12-31")
    assert results.known(out, "dan", STEM)["late"] is True  # by the notebook's own due time
    assert f"nothing handed in for {STEM}" not in told
    told, _ = command.grade_all(tmp_path / "two", out, regrade=True)
    assert points(out)["anna", "01"] == 50 and "replaced by the mark for" in told
    command.grade_all(tmp_path / "one", out, notebook="01", regrade=True)
    assert points(out)["anna", "01"] == 1


def test_an_empty_file_of_another_notebook_makes_nobody_missing(tmp_path, judge_by_length):
    out, names = tmp_path / "out", tmp_path / "names.txt"
    names.write_text("anna\nbo\ncleo\n", encoding="utf-8")
    put(tmp_path / "one", "anna/x.ipynb", "bo/x.ipynb", "cleo/x.ipynb", data=worth(3))
    command.grade_all(tmp_path / "one", out, students=names)
    kept = points(out)
    put(tmp_path / "two", "anna/y.ipynb", "bo/y.ipynb", data=BPTT)
    put(tmp_path / "two", f"cleo/{STEM}.ipynb", data=b"")
    told, complete = command.grade_all(tmp_path / "two", out, students=names)
    assert {k: v for k, v in points(out).items() if k[1] == "01"} == kept
    assert not complete and "cannot be judged" in told


def test_attempts_and_due_times(tmp_path, judge_by_length, capsys):
    top, out = tmp_path / "in", tmp_path / "out"
    path = put(top, f"anna/{STEM}.ipynb", data=worth(1)) / f"anna/{STEM}.ipynb"

    def again(data, day, **options):
        path.write_bytes(data)
        at(path, day)
        return command.grade_all(top, out, due="2026-01-20", **options)

    again(worth(1), 10)
    told, complete = again(worth(2), 12)  # newer, on time
    assert points(out) == {("anna", "01"): 2} and "1 points: replaced by" in told and complete
    assert "1 points: replaced by" in capsys.readouterr().err  # before it is
    told, complete = again(worth(3), 25)  # late
    assert points(out) == {("anna", "01"): 2} and "is late, but the earlier one was not" in told and complete
    told, _ = again(worth(4), 11)  # older than what was judged
    assert points(out) == {("anna", "01"): 2} and "is older than the one that was judged" in told
    told, complete = again(b"{", 15)
    assert points(out) == {("anna", "01"): 2} and "cannot be judged" in told and not complete
    told, _ = again(worth(3), 25, regrade=True)
    assert points(out) == {("anna", "01"): 3} and results.known(out, "anna", STEM)["late"] is True
    told, _ = again(worth(5), 26)  # late after late
    assert points(out) == {("anna", "01"): 5}


def test_due_times_of_several_notebooks(tmp_path, judge_by_length):
    top, out = put(tmp_path / "in", "anna/x.ipynb"), tmp_path / "out"
    put(top, "anna/y.ipynb", data=BPTT)
    command.grade_all(top, out, due=["2026-12-01", "02=2026-01-05T12:00+00:00"])
    dues = json.loads((out / "run.json").read_text())["dues"]
    assert dues[STEM].startswith("2026-12-01") and dues["02_bptt"].startswith("2026-01-05")
    command.grade_all(top, out)  # they are kept
    assert json.loads((out / "run.json").read_text())["dues"] == dues
    with pytest.raises(CourseError, match="no notebook '77'"):
        command.grade_all(top, out, due="77=2026-12-01")


def test_another_student_of_the_same_name(tmp_path, judge_by_length):
    out = tmp_path / "out"
    put(tmp_path / "one", f"Li Wei_101{AT}", data=worth(1))
    put(tmp_path / "two", f"Li Wei_102{AT}", data=worth(2))
    command.grade_all(tmp_path / "one", out)
    told, complete = command.grade_all(tmp_path / "two", out)
    assert points(out) == {("Li Wei", "01"): 1} and not complete
    assert "from number 102, but the mark belongs to number 101" in told


def test_names_that_look_the_same_have_results_of_their_own(tmp_path, judge_by_length):
    names = ["Li Wei_101", "Li Wei_102", "Li Wei (101)_103", "Mia\u200b_104", "Mia_105", "MIA_106"]
    for n, name in enumerate(names):
        put(tmp_path / "in", name + AT, data=worth(n + 1))
    told, _ = command.grade_all(tmp_path / "in", tmp_path / "out", formats=["moodle"])
    found = {r["number"]: r["exercises"][0]["earned"] for r in results.read(tmp_path / "out")}
    assert found == {str(101 + n): n + 1 for n in range(6)}
    assert len({r["student"] for r in results.read(tmp_path / "out")}) == 6 and "6 of 6" in told


def test_results_of_the_first_edition_are_found(tmp_path, judge_by_length):
    top, out = put(tmp_path / "in", "Anna Ä/x.ipynb", data=worth(3)), tmp_path / "out"
    command.grade_all(top, out)
    new = results.place(out, "Anna Ä", STEM)
    old = results.place(out, "Anna Ä", STEM, first_edition=True)
    old.parent.mkdir()
    new.rename(old)
    assert results.read(out) == [results.known(out, "Anna Ä", STEM)]
    command.grade_all(top, out)
    assert len(judge_by_length) == 1 and new.exists() and not old.exists()
    old.write_text(new.read_text().replace('"Anna Ä"', '"Another"'))  # of the same twelve digits
    assert results.known(out, "Anna Ä", STEM)["student"] == "Anna Ä"
    new.unlink()
    assert results.known(out, "Anna Ä", STEM) is None
    command.grade_all(top, out)
    assert {r["student"] for r in results.read(out)} == {"Another", "Anna Ä"}


def test_another_students_result_is_never_written_over(tmp_path, judge_by_length):
    top, out = put(tmp_path / "in", "Anna/x.ipynb", "Bo/x.ipynb", data=worth(3)), tmp_path / "out"
    command.grade_all(top, out)
    place = results.place(out, "Anna", STEM)
    place.write_text(place.read_text().replace('"Anna"', '"Eve"'))
    told, complete = command.grade_all(top, out)
    assert not complete and "is another student's result" in told
    assert {r["student"] for r in results.read(out)} == {"Bo", "Eve"}


def test_a_result_that_cannot_be_written_is_one_hand_ins_fault(tmp_path, judge_by_length):
    top, out = put(tmp_path / "in", "anna/x.ipynb", "bo/x.ipynb", "cleo/x.ipynb", data=worth(3)), tmp_path / "out"
    (out / "results").mkdir(parents=True)
    (out / "results/bo").write_text("in the way")
    told, complete = command.grade_all(top, out)
    assert not complete and "bo/x.ipynb: " in told and "2 of 3" in told
    assert set(points(out)) == {("anna", "01"), ("cleo", "01")}


def test_a_file_that_is_exchanged_while_the_run_goes_on(tmp_path, judge_by_length):
    top = put(tmp_path / "in", "anna/x.ipynb", data=worth(3))
    put(top, "bo/x.ipynb", data=worth(1))
    put(top, "cleo/in/x.ipynb", data=worth(1))
    found = find(top)
    (top / "bo/x.ipynb").unlink()
    (top / "bo/x.ipynb").symlink_to(top / "anna/x.ipynb")
    (top / "cleo/in").rename(top / "cleo/was")
    (top / "cleo/in").symlink_to(top / "anna")
    done = {r["student"]: r for r in grade.grade(found, tmp_path / "out", SEED, None)}
    assert len(judge_by_length) == 1 and done["anna"]["judged"]
    assert not done["bo"]["judged"] and not done["cleo"]["judged"]


def test_remarks_are_bounded_and_stay_with_the_teacher(tmp_path, judge_by_length):
    notes = [f"{n} {'x' * 9000}; {results.LOOK}" for n in range(3)] + [str(n) for n in range(100)]
    put(tmp_path / "in", "anna/x.ipynb")
    (handin,) = find(tmp_path / "in")
    (done,) = grade.grade([replace(handin, notes=notes)], tmp_path / "out", SEED, None)
    assert len(done["notes"]) == grade.NOTES and all(len(n) <= 500 for n in done["notes"])
    assert sum(n.endswith(results.LOOK) for n in done["notes"]) == 4


def test_what_is_told_has_no_codes_in_it(tmp_path, judge_by_length):
    put(tmp_path / "in", "\x1b[2J\u202eanna/essay.pdf", "bo/x.ipynb", data=worth(1))
    told, _ = command.grade_all(tmp_path / "in", tmp_path / "out")
    assert "\\u{1b}[2J\\u{202e}anna" in told and "\x1b" not in told and "\u202e" not in told
