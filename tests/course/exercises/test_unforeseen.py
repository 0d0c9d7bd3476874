"""Wrong answers of kinds that nobody foresaw are rejected all the same, with a message and a hint."""

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller, judged
from cvdl.settings import ROOT

if not (ROOT / "tests/unforeseen").exists():
    pytest.skip("the answers are kept back from students", allow_module_level=True)

from tests.unforeseen import answers
from tests.unforeseen.__main__ import app

ANSWERS = {(a.exercise, a.name): a for a in answers()}
# Wrong answers that are accepted, or that end in a traceback, at present: each is a fault of its exercise's cases.
KNOWN = []


@pytest.mark.parametrize("key", [key for key in ANSWERS if key not in KNOWN], ids=" · ".join)
def test_it_is_rejected_with_a_message_and_a_hint(key):
    answer = ANSWERS[key]
    score = scoring.score(chapters.find(answer.exercise), caller(answer.exercise, answer.function))
    assert score.earned < score.points, "accepted"
    assert score.hint
    for case in score.cases:
        assert case.earned == case.points or case.message
        assert "cannot be compared" not in case.message


@pytest.mark.parametrize("key", KNOWN, ids=" · ".join)
def test_a_known_failure_still_fails(key):
    """Remove from KNOWN what is rejected by now."""
    answer = ANSWERS[key]
    assert judged(answer.exercise, answer.function).state in ("right", "open")  # open: it could not be judged


def test_each_exercise_has_two_answers_with_names_of_their_own():
    assert len(ANSWERS) == len(answers())
    count = Counter(exercise for exercise, _ in ANSWERS)
    assert {e for name in chapters.chapters() for e in chapters.chapter(name)} == count.keys()
    assert min(count.values()) >= 2
    assert all(a.what and "\n" not in a.what for a in ANSWERS.values())


def test_the_report_says_what_a_student_reads(tmp_path):
    path = tmp_path / "report.json"
    run = CliRunner().invoke(app, ["--chapter", "start", "--json", str(path)])
    reports = json.loads(path.read_text(encoding="utf-8"))
    assert run.exit_code == 0 and f"{len(reports)} answers" in run.output
    assert [r["name"] for r in reports] == [a.name for a in answers(["start"])]
    for r in reports:
        assert r["hint"] in r["card"] and r["points"] == sum(c["points"] for c in r["cases"]) < r["of"]


def test_an_unknown_chapter_is_refused():
    run = CliRunner().invoke(app, ["--chapter", "strat"])
    assert run.exit_code == 2 and "strat" in run.output
