"""Answers that are alike: pairs of hand-ins for a human to look at.

Each answer becomes the sequence of nodes of its syntax tree, without names of its own, docstrings, comments and layout.
Every K nodes in a row are a fingerprint (k-grams, as in Schleimer, Wilkerson and Aiken, «Winnowing», 2003; answers are
so short that all are kept).  What many wrote says little: a fingerprint that df of N answers have weighs
log((N + 1) / df), the inverse document frequency, and nothing if df is over COMMON, as in Moss.  For whole programs,
Dolos and JPlag do more.
"""

import ast
import builtins
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations, groupby
from math import log

from cvdl.course import export, pages
from cvdl.course import results as on_disk
from cvdl.course.checks import find
from cvdl.errors import CourseError

K = 8  # nodes of a fingerprint
COMMON = 10  # answers, the most that may have a fingerprint which counts
ALIKE = 0.6  # likeness from which on two answers count as alike
WEIGHT = 40.0  # of all that two students have alike, to be shown: 15 fingerprints that nobody else of 30 has
SHOWN = 100  # pairs of students in likeness.html; the table has all
SPOKEN = frozenset(dir(builtins)) | {"torch", "F", "nn", "math", "np"}  # names that are not of one's own choice


@dataclass(frozen=True)
class Answer:
    """One answer to one exercise; older: it is not of this class."""

    student: str
    source: str
    state: str
    older: bool = False


@dataclass(frozen=True)
class Pair:
    """Two answers that are alike.

    likeness: weight of the fingerprints that both have / that one of them has, 0 to 1; weight: of those that both have.
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
    """The nodes of a syntax tree in the order of the text, as strings; [] where Python cannot read it."""
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
    """Every K nodes in a row, as a set of tuples; all of them, if there are fewer."""
    found = nodes(source)
    return {tuple(found[i : i + K]) for i in range(max(1, len(found) - K + 1))} if found else set()


def compare(results, older=()):
    """Pairs of students whose answers are alike -> list of Pair, one for each exercise; the weightiest students first, and of two
    the weightiest exercise.

    results, older: lists of dicts as cvdl.course.results reads them, of this class and of earlier ones.  Students of the
    class are compared with one another and with the older ones, in exercises of kind `code`: what one chooses from a list
    is right in one way only.
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
    """Write OUT/likeness.html, with both sources side by side, and OUT/likeness.csv -> [what to tell, a line each]."""
    rows = [["student", "other", "other is older", "exercise", "likeness", "weight", "state", "other's state"]]
    for p in pairs:
        older, numbers = "yes" if p.second.older else "no", [f"{p.likeness:.2f}", f"{p.weight:.1f}"]
        rows.append([p.first.student, p.second.student, older, p.exercise, *numbers, p.first.state, p.second.state])
    groups = [list(group) for _, group in groupby(pairs, key=lambda p: p.students)]
    said = {"groups": groups[:SHOWN], "count": len(groups), "k": K, "common": COMMON, "alike": ALIKE, "weight": WEIGHT}
    on_disk.save(out / "likeness.csv", export.as_csv(rows))
    on_disk.save(out / "likeness.html", pages.render("likeness.html", **said))
    return [f"Students to look at: {len(groups)} pairs, in {out / 'likeness.html'} and {out / 'likeness.csv'}"]
