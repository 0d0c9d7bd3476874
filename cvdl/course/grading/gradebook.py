"""The marks of a class: who handed in what, with how many points."""

import re
import unicodedata

from cvdl.course.grading.names import first_edition
from cvdl.course.grading.results import UNJUDGED

TEAM = re.compile(
    r"\d|\b(?:team|group|default group|gruppe|groupe|équipe|equipe|equipo|grupo|gruppo|squadra|skupina|tutorium"
    r"|zespół|groep|ryhmä|grupp)\b",
    re.I,
)


class Gradebook:
    """The hand-ins of a class, by student and notebook.

    results: list of dicts as cvdl.course.grading.results reads them; run: the content of OUT/run.json.  These of its items are used
    if present: `dues`, {notebook: time}; `notebooks`, {notebook: {exercise: points}}; `asked_for`, the notebooks for which
    students can count as missing; and `names`, a list.
    """

    def __init__(self, results, run=None):
        run = run or {}
        results = [r if "platform" in r else r | first_edition(r["file"]) for r in results]
        self.dues = run.get("dues", {})
        self.names = set(run.get("names", ()))  # on the list of students, folded
        self.by = {(r["student"], r["notebook"]): r for r in results}
        self.students = sorted({r["student"] for r in results}, key=str.casefold)
        self.points = {}
        for r in sorted(results, key=lambda r: r["notebook"]):
            self.points.setdefault(r["notebook"], {}).update({e["id"]: e["points"] for e in r["exercises"]})
        self.points = {name: run.get("notebooks", {}).get(name, own) for name, own in self.points.items() if own}
        self.notebooks = list(self.points)
        self.asked_for = set(run.get("asked_for", self.notebooks))

    def __iter__(self):
        """(student, notebook, result or None) for every student and notebook, then results that belong to no notebook."""
        for student in self.students:
            for notebook in self.notebooks:
                if notebook in self.asked_for or (student, notebook) in self.by:
                    yield student, notebook, self.by.get((student, notebook))
        yield from ((s, n, r) for (s, n), r in self.by.items() if n not in self.points)

    def of(self, student):
        """All results of a student."""
        return [r for (s, _), r in self.by.items() if s == student]

    def is_person(self, student, number):
        """Is this the name of one person, as Moodle writes it, rather than that of a team?

        Decided by the list of students, if there is one; otherwise a person's name has at least two words, no digits, and
        no word for a team.
        """
        student = student.removesuffix(f" ({number})")  # which distinguishes two students with the same name
        if self.names:
            return folded(student) in self.names
        return student == f"Participant {number}" or (len(student.split()) > 1 and not TEAM.search(student))

    def judged(self, notebook):
        """The judged hand-ins of one notebook."""
        return [r for (_, n), r in self.by.items() if n == notebook and status(r) in ("handed in", "late")]

    def maximum(self, notebook):
        return sum(self.points.get(notebook, {}).values())


def folded(name):
    """The name for comparison: the same letters may be encoded differently, as in zips from macOS."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def earned(result):
    """Points of a hand-in, or "" if it was not judged."""
    return sum(e["earned"] for e in result["exercises"]) if result["judged"] else ""


def status(result):
    """The status of a hand-in: "missing", "not judged", "late", or "handed in"."""
    if result is None or not result["file"]:
        return "missing"
    if not result["judged"]:
        return "not judged"
    return "late" if result["late"] else "handed in"


def mark(exercise):
    """A cell: the points, or the state that explains why there are none."""
    return exercise["state"] if exercise["state"] in ("missing", "not attempted", UNJUDGED) else exercise["earned"]


def in_part(result):
    """Was a hand-in judged except for some exercises, which a person must look at?"""
    return any(e["state"] == UNJUDGED for e in result["exercises"])


def remarks(result):
    told = [*([result["problem"]] if result["problem"] else []), *result["notes"]]
    return "; ".join([text.removesuffix(".") for text in told[:-1]] + told[-1:])
