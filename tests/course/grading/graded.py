"""Graded hand-ins for the tests of tables and pages: marks, mistakes and hints are the judge's own."""

import inspect
from functools import cache

from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.api import caller

NOTEBOOKS = {"start": "00_start_here", "rnn": "01_rnn_from_scratch"}


@cache
def scored(id, number):
    """The judge's Score of one answer: the library's for number 0, else of the exercise's mistake of that number."""
    spec = chapters.find(id)
    likes = [spec.library, *(m.like for m in spec.mistakes if m.like)]
    function = likes[number % len(likes)]
    return scoring.score(chapters.find(id), caller(id, function)), inspect.getsource(function)


def exercise(id, number):
    """One exercise of a result; number as in `scored`, or "missing" or "not attempted"."""
    spec = chapters.find(id)
    if isinstance(number, str):
        empty = {"earned": 0, "state": number, "mistake": None, "hint": "", "cases": [], "source": ""}
        return {"id": id, "title": spec.title, "points": spec.points, **empty}
    score, source = scored(id, number)
    return {
        "id": id,
        "title": spec.title,
        "points": spec.points,
        "earned": score.earned,
        "state": score.state,
        "mistake": score.mistake and score.mistake.name,
        "hint": score.hint if score.state != "right" else "",
        "cases": [vars(c) for c in score.cases],
        "source": source,
    }


def result(student, numbers=0, chapter="start", **changes):
    """One hand-in; numbers: for all exercises, or {id: number}, with "missing" for what is not there."""
    ids = list(chapters.chapter(chapter))
    numbers = numbers if isinstance(numbers, dict) else dict.fromkeys(ids, numbers)
    return {
        "format": 1,
        "student": student,
        "notebook": NOTEBOOKS[chapter],
        "file": f"{student}/{NOTEBOOKS[chapter]}.ipynb",
        "sha256": "0" * 64,
        "submitted": "2026-11-20T10:00:00+00:00",
        "late": False,
        "judged": True,
        "problem": None,
        "notes": [],
        "seconds": 1.0,
        "exercises": [exercise(id, numbers.get(id, "missing")) for id in ids],
    } | changes


def unjudged(student, problem, chapter="start", **changes):
    return result(student, "missing", chapter, judged=False, problem=problem, **changes)


def nothing(student, chapter="start"):
    """The result of one who handed in nothing."""
    return result(student, "missing", chapter, file="", sha256="", submitted=None, late=None)
