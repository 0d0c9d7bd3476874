"""Similar answers: pairs of hand-ins for a person to look at.

Each answer becomes the sequence of nodes of its syntax tree, without the student's own names, docstrings, comments and
layout.  Every K consecutive nodes form a fingerprint (k-grams, as in Schleimer, Wilkerson and Aiken, "Winnowing", 2003;
answers are so short that all are kept).  Code that many students wrote is weak evidence: a fingerprint that occurs in df
of N answers has weight log((N + 1) / df), the inverse document frequency, or 0 if df is above COMMON, as in Moss.  For
complete programs, use Dolos or JPlag.
"""

import ast
import builtins
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations, groupby
from math import log

from cvdl.course.exercises.chapters import find
from cvdl.course.grading import reports, tables
from cvdl.course.grading import results as on_disk
from cvdl.errors import CourseError

K = 8  # nodes of a fingerprint
COMMON = 10  # largest number of answers with a fingerprint that still counts
ALIKE = 0.6  # least likeness at which two answers count as similar
WEIGHT = (
    40.0  # least total weight at which two students are shown: 15 fingerprints that nobody else in a class of 30 has
)
SHOWN = 100  # pairs of students in likeness.html; the table contains all
SPOKEN = frozenset(dir(builtins)) | {"torch", "F", "nn", "math", "np"}  # names that students do not choose


@dataclass(frozen=True)
class Answer:
    """One answer to one exercise; older: it is from an earlier class."""

    student: str
    source: str
    state: str
    older: bool = False


@dataclass(frozen=True)
class Pair:
    """Two similar answers.

    likeness: weight of the fingerprints that both have / weight of those that at least one has, 0 to 1; weight: of those
    that both have.
    """

    exercise: str
    first: Answer
    second: Answer
    likeness: float
    weight: float

    @property
    def students(self):
        return self.first.student, self.second.student, self.second.older


def nodes(source):
    """The nodes of a syntax tree in the order of the text, as strings; [] if Python cannot parse it."""
    try:
        return list(_walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _walk(node):
    match node:
        case ast.Expr(ast.Constant(str())) | ast.expr_context():
            return
        case ast.Name(id=name):
            yield name if name in SPOKEN else "name"
        case ast.Attribute(attr=name):
            yield f".{name}"
        case ast.keyword(arg=name):
            yield f"{name}="
        case ast.Constant(value=value):
            yield "text" if isinstance(value, str) else repr(value)
        case _:
            yield type(node).__name__
    for field, value in ast.iter_fields(node):
        if field in ("decorator_list", "annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child)


def fingerprints(source):
    """All runs of K consecutive nodes, as a set of tuples; a single tuple of all nodes if there are fewer."""
    found = nodes(source)
    return {tuple(found[i : i + K]) for i in range(max(1, len(found) - K + 1))} if found else set()


def compare(results, older=()):
    """Pairs of students with similar answers -> list of Pair, one for each exercise, sorted by weight.

    Students with the largest total weight come first, and so do the exercises of a pair of students.  results, older: lists
    of dicts as cvdl.course.grading.results reads them, from this class and from earlier ones.  Students of this class are compared
    with one another and with older ones, only in exercises of kind `code`: all correct choices from a list are the same.
    """
    answers = defaultdict(list)
    for old, group in ((False, results), (True, older)):
        for result in group:
            for e in result["exercises"]:
                if _comparable(e):
                    answers[e["id"]].append(Answer(result["student"], e["source"], e["state"], old))
    pairs = [pair for id, group in answers.items() for pair in _alike(id, group)]
    weight = Counter()
    for pair in pairs:
        weight[pair.students] += pair.weight
    chosen = [p for p in pairs if weight[p.students] >= WEIGHT]
    return sorted(chosen, key=lambda p: (-weight[p.students], *p.students, -p.weight, p.exercise))


def _comparable(e):
    try:
        kind = find(e["id"]).kind
    except CourseError:  # an exercise of an earlier course
        return False
    return kind == "code" and e["state"] not in ("missing", "not attempted")


def _alike(id, answers):
    prints = [fingerprints(a.source) for a in answers]
    holders = defaultdict(list)
    for n, own in enumerate(prints):
        for fingerprint in own:
            holders[fingerprint].append(n)
    weight = {f: log((len(answers) + 1) / len(who)) for f, who in holders.items() if len(who) <= COMMON}
    total = [sum(weight.get(f, 0) for f in own) for own in prints]
    shared = Counter()
    for fingerprint in weight:
        for a, b in combinations(holders[fingerprint], 2):
            shared[a, b] += weight[fingerprint]
    for (a, b), common in shared.items():
        likeness = common / (total[a] + total[b] - common)
        first, second = answers[a], answers[b]
        if likeness >= ALIKE and not first.older and first.student != second.student:
            yield Pair(id, first, second, likeness, common)


def write(pairs, out):
    """Write OUT/likeness.html, with both sources side by side, and OUT/likeness.csv -> list of lines for the teacher."""
    rows = [["student", "other", "other is older", "exercise", "likeness", "weight", "state", "other's state"]]
    for p in pairs:
        older, numbers = "yes" if p.second.older else "no", [f"{p.likeness:.2f}", f"{p.weight:.1f}"]
        rows.append([p.first.student, p.second.student, older, p.exercise, *numbers, p.first.state, p.second.state])
    groups = [list(group) for _, group in groupby(pairs, key=lambda p: p.students)]
    said = {"groups": groups[:SHOWN], "count": len(groups), "k": K, "common": COMMON, "alike": ALIKE, "weight": WEIGHT}
    on_disk.save(out / "likeness.csv", tables.as_csv(rows))
    on_disk.save(out / "likeness.html", reports.render("likeness.html", **said))
    count = reports.counted(groups, "pair")
    return [f"Similar answers: {count} of students to look at, in {out / 'likeness.html'} and {out / 'likeness.csv'}"]
