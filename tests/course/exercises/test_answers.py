"""Tests of the tests: every exercise accepts what is right and names what is wrong."""

from importlib import import_module

import pytest

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller
from cvdl.settings import ROOT

EXERCISES = [e for name in chapters.chapters() for e in chapters.chapter(name).values()]
RELEASED = not (ROOT / "tests/answers").exists()  # students have the course without these answers
not_for_students = pytest.mark.skipif(RELEASED, reason="the answers are kept back from students")


def answers(kind, exercise):
    if RELEASED:
        return {}
    module = import_module(f"tests.answers.{exercise.id.partition('.')[0]}")
    return getattr(module, kind, {}).get(exercise.id, {})


def spellings(answer):
    """The answers that show one mistake, which may be a single function or a list of them."""
    return answer if isinstance(answer, list) else [answer]


by_id = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
by_seed = pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2))])


@not_for_students
@by_id
def test_enough_answers(exercise):
    assert len(answers("RIGHT", exercise)) >= 2
    assert len(answers("WRONG", exercise)) >= 3


@by_seed
@by_id
def test_right_answers_pass(exercise, seed):
    for function in [exercise.library, exercise.oracle, *answers("RIGHT", exercise)]:
        score = scoring.score(exercise, caller(exercise.id, function), seed)
        assert score.state == "right", (function, [c for c in score.cases if c.message])


def named(exercise, function, mistake, seed):
    score = scoring.score(exercise, caller(exercise.id, function), seed)
    assert score.earned < score.points, f"{mistake.name}: not noticed with seed {seed}"
    assert score.mistake is mistake, f"{mistake.name}: taken for {score.mistake} with seed {seed}"
    assert score.hint == mistake.hint
    for case in score.cases:  # a number that was expected must not appear in what a wrong answer is told
        assert "want" not in case.message and "should be" not in case.message


@not_for_students
@by_seed
@by_id
def test_wrong_answers_fail_with_their_own_hint(exercise, seed):
    known = {m.name: m for m in exercise.mistakes}
    for name, functions in answers("WRONG", exercise).items():
        # with seed 0, a single answer to a mistake that has a definition is tried by that definition, below
        if seed or not known[name].like or isinstance(functions, list):
            for function in spellings(functions):
                named(exercise, function, known[name], seed)


@not_for_students
@by_id
def test_other_wrong_answers_lose_points_with_every_seed(exercise):
    """Answers that are no known mistake: they must not pass by chance, and the hint must be of use to them."""
    for seed in range(3):
        for function, words in answers("OTHERS", exercise):
            score = scoring.score(exercise, caller(exercise.id, function), seed)
            assert score.earned < score.points, f"{function.__name__}: not noticed with seed {seed}"
            assert words in score.hint, f"{function.__name__}: {score.mistake}, {score.hint!r}"


@by_seed
@by_id
def test_known_mistakes_are_recognised(exercise, seed):
    """Each mistake in the check file, made by its own definition."""
    for mistake in exercise.mistakes:
        assert RELEASED or mistake.like or mistake.name in answers("WRONG", exercise), f"{mistake.name} is never tried"
        if mistake.like:
            named(exercise, mistake.like, mistake, seed)


@by_id
def test_names_are_unique_and_there_are_three_hints(exercise):
    names = [m.name for m in exercise.mistakes]
    assert len(names) == len(set(names))
    assert len(exercise.hints) == 3 and len(exercise.cases) >= 2
    assert all(c.hint and c.points > 0 for c in exercise.cases)


@pytest.mark.parametrize("name", chapters.chapters())
def test_a_notebook_has_100_points(name):
    assert sum(e.points for e in chapters.chapter(name).values()) == 100
