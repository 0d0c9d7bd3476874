"""Similar answers: copies are found whatever they are called, and what everybody writes is left alone."""

import ast
import csv
import inspect
from importlib import import_module

import pytest

from cvdl.course.exercises import chapters
from cvdl.course.grading import similarity
from cvdl.settings import ROOT

ORIGINAL = '''
def ordered(values, limit):
    """Sort, slowly."""
    done = list(values)
    for i in range(len(done)):
        for j in range(len(done) - 1 - i):
            if done[j] > done[j + 1]:
                done[j], done[j + 1] = done[j + 1], done[j]
    return [min(v, limit) * 0.001 for v in done]
'''
COPY = """
def sort_them(xs: list, biggest: float = ...) -> list:
    # all my own work
    result = list(xs)
    for a in range(len(result)):

        for b in range(len(result) - 1 - a):
            if (result[b] > result[b + 1]):
                (result[b], result[b + 1]) = (result[b + 1], result[b])
    return [min(n, biggest) * 1e-3 for n in result]
"""
OTHER = """
def ordered(values, limit):
    rest, out = list(values), []
    while rest:
        smallest = min(rest)
        rest.remove(smallest)
        out.append(limit if smallest > limit else smallest)
    return [v / 1000 for v in out]
"""
SHORT = "def ordered(values, limit):\n    return [min(v, limit) / 1000 for v in sorted(values)]"


def hand_in(student, *sources, ids=("rnn.step", "rnn.unroll", "rnn.loss"), state="right"):
    rows = [{"id": id, "source": source, "state": state} for id, source in zip(ids, sources, strict=False)]
    return {"student": student, "exercises": rows}


def renamed(source):
    """The same program with other names."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in similarity.SPOKEN:
            node.id = f"my_{node.id}"
        elif isinstance(node, ast.arg | ast.FunctionDef):
            for field in ("arg", "name"):
                if hasattr(node, field):
                    setattr(node, field, f"my_{getattr(node, field)}")
    return ast.unparse(tree)


def names(pairs):
    return {(p.first.student, p.second.student) for p in pairs}


@pytest.fixture
def crowd():
    """Ten who write the same short answer, to each exercise."""
    return [hand_in(f"short {n}", *[renamed(SHORT) if n % 2 else SHORT] * 3) for n in range(10)]


def test_names_docstrings_comments_and_layout_do_not_matter():
    bare = COPY.replace(" = ...", "")
    assert similarity.nodes(ORIGINAL) == similarity.nodes(bare) == similarity.nodes(renamed(ORIGINAL))
    assert similarity.nodes(ORIGINAL) != similarity.nodes(OTHER)


def test_a_renamed_copy_is_found_among_those_who_wrote_alike(crowd):
    pairs = similarity.compare([hand_in("ana", ORIGINAL), hand_in("bob", COPY), hand_in("eve", OTHER), *crowd])
    assert names(pairs) == {("ana", "bob")}
    assert pairs[0].likeness > 0.75 and pairs[0].weight > similarity.WEIGHT


def test_what_everybody_writes_is_not_reported(crowd):
    assert similarity.compare(crowd) == []
    assert similarity.compare([hand_in(f"student {n}", ORIGINAL) for n in range(30)]) == []
    forms = [ORIGINAL, OTHER, SHORT, ORIGINAL + OTHER, OTHER + SHORT]  # each the form of a fifth of a large class
    assert similarity.compare([hand_in(f"student {n}", *[forms[n % 5]] * 3) for n in range(60)]) == []


def test_short_answers_count_only_together(crowd):
    short = "def ordered(values, limit):\n    values.sort()\n    return list(map(lambda v: v / 1000 if v < limit else limit, values))"
    assert similarity.compare([hand_in("ana", short), hand_in("bob", short), *crowd]) == []
    pairs = similarity.compare([hand_in("ana", short, short, short), hand_in("bob", short, short, short), *crowd])
    assert names(pairs) == {("ana", "bob")} and len(pairs) == 3


def test_the_same_student_and_unanswered_exercises_are_left_alone():
    assert similarity.compare([hand_in("ana", ORIGINAL), hand_in("ana", ORIGINAL)]) == []
    empty = [hand_in(n, ORIGINAL, state="not attempted") for n in ("ana", "bob")]
    assert similarity.compare(empty) == []


def test_choices_are_not_compared():
    ids = ("rnn.match",)
    assert chapters.find("rnn.match").kind == "answer"
    assert similarity.compare([hand_in(n, ORIGINAL, ids=ids) for n in ("ana", "bob")]) == []


def test_exercises_that_are_no_more_are_not_compared():
    older = [hand_in("last year's", ORIGINAL, ids=["rnn.gone"])]
    assert similarity.compare([hand_in("ana", ORIGINAL)], older) == []


def test_older_hand_ins_are_compared_with_the_class_only(crowd):
    older = [hand_in("last year's", COPY), hand_in("his friend", COPY)]
    pairs = similarity.compare([hand_in("ana", ORIGINAL), *crowd], older)
    assert names(pairs) == {("ana", "last year's"), ("ana", "his friend")}
    assert all(p.second.older for p in pairs)


def test_what_python_cannot_read_is_passed_over():
    assert similarity.compare([hand_in("ana", "def ("), hand_in("bob", "def (")]) == []
    assert similarity.compare([hand_in("ana", "x\x00"), hand_in("bob", "(" * 500)]) == []


def test_pages_and_table(tmp_path, crowd):
    evil = "def f(x):\n    return '</pre><script>alert(1)</script>'\n" + ORIGINAL
    pairs = similarity.compare([hand_in("=ana", evil), hand_in("<b>bob</b>", evil), *crowd])
    (said,) = similarity.write(pairs, tmp_path)
    assert said.startswith("Similar answers: 1 pair of students")
    html = (tmp_path / "likeness.html").read_text(encoding="utf-8")
    assert "<script" not in html and "<b>" not in html and html.count("&lt;/pre&gt;&lt;script&gt;") == 2
    assert "likeness is not proof" in html and "cannot show" in html
    with open(tmp_path / "likeness.csv", encoding="utf-8", newline="") as file:
        _, row = csv.reader(file)
    assert row[:4] == ["'=ana", "<b>bob</b>", "no", "rnn.step"]


def test_nothing_alike(tmp_path):
    assert "0 pairs" in similarity.write(similarity.compare([]), tmp_path)[0]
    assert "0 pairs" in (tmp_path / "likeness.html").read_text(encoding="utf-8")


@pytest.mark.skipif(not (ROOT / "tests/answers").exists(), reason="the answers are kept back from students")
@pytest.mark.parametrize("chapter", chapters.chapters())
def test_right_answers_of_different_hands_are_not_reported_and_copies_are(chapter):
    """The course's own right answers, one student for each form; then one of them with other names."""
    module = import_module(f"tests.answers.{chapter}")
    ids = list(chapters.chapter(chapter))
    forms = {id: [s for s in map(inspect.getsource, module.RIGHT[id]) if similarity.nodes(s)] for id in ids}
    hands = min(map(len, forms.values()))
    class_ = [hand_in(f"hand {n}", *(forms[id][n] for id in ids), ids=ids) for n in range(hands)]
    assert similarity.compare(class_) == []
    if chapter == "start":
        return  # one exercise of one line
    copy = hand_in("copy", *(renamed(forms[id][0]) for id in ids), ids=ids)
    assert names(similarity.compare([*class_, copy])) == {("hand 0", "copy")}
