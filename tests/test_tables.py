"""Columns of a table are never glued together, whatever stands in them."""

import re

import pytest

from cvdl import tables
from cvdl.cli import bench, inventory
from cvdl.flow import evaluate
from cvdl.gesture import evaluate as gestures
from cvdl.settings import ROOT
from cvdl.train import publish, recipes

LONG = "a-name-that-is-longer-than-any-column-was-ever-meant-to-be-in-this-course"


def split(line):
    """The cells of a line: two spaces or more are between them."""
    return re.split(r" {2,}", line.strip())


def test_columns_are_as_wide_as_their_content():
    assert tables.table([("name", "n"), ("a", 1), ("longer", 1000)], right=[1]) == [
        "name       n",
        "a          1",
        "longer  1000",
    ]
    assert tables.table([("a", "", "c"), ("", "long", "")]) == ["a        c", "   long"]
    assert tables.table([]) == []


def numbers(**more):
    return dict.fromkeys(evaluate.COLUMNS, 123456.789) | more


def test_pairs():
    """A short name next to a long one, as `cvdl eval` on a folder shows them."""
    rows = [numbers(pair=pair, method=method) for pair in ("p", LONG) for method in ("zero flow", LONG)]
    head, *lines = evaluate.table(rows).splitlines()
    assert split(head)[:3] == ["pair", "method", "EPE px"] and len(split(head)) == 2 + len(evaluate.COLUMNS)
    shown = [split(line) for line in lines if line]
    names = [["p", "zero flow"], [LONG], [LONG, "zero flow"], [LONG], ["average", "zero flow"], [LONG]]
    assert [cells[:-8] for cells in shown] == names
    assert all(cells[-8:] == ["123456.79"] * 7 + ["123456789.00"] for cells in shown)
    assert [i for i, line in enumerate(lines) if not line] == [2, 5]  # between pairs


def test_recipes(monkeypatch):
    recipe = recipes.RECIPES["likenet-supervised"]
    monkeypatch.setitem(recipes.RECIPES, LONG, recipe)
    lines = [split(line) for line in recipes.listing().splitlines()]
    assert [LONG, recipe.title] in lines and ["likenet-supervised", recipe.title] in lines
    assert ["quick", "coarse 4, middle 4, fine 4"] in lines


def test_weights(monkeypatch):
    card = {"net": LONG, "parameters": 10**15, "size": LONG, "minutes": 1e9, "measured": {}}
    monkeypatch.setattr(publish, "shipped_names", lambda: ["a", LONG])
    monkeypatch.setattr(publish, "card", lambda name: card)
    head, first, second, _ = publish.table().splitlines()
    assert split(head) == ["name", "network", "parameters", "trained on", "minutes", "measured"]
    assert split(second) == [LONG, LONG, "1,000,000,000,000,000", LONG, "1000000000"]
    assert split(first)[1:] == split(second)[1:]


def test_sets(monkeypatch):
    entry = next(iter(inventory.GESTURES.values()))
    monkeypatch.setitem(inventory.GESTURES, LONG, entry._replace(name=LONG, size=LONG))
    lines = [split(line) for line in inventory.table().splitlines()[2 : 3 + len(inventory.SETS)]]
    assert all(len(cells) == 5 for cells in lines) and LONG in [cells[0] for cells in lines]


def test_correlations():
    row = {"variant": LONG, "batch": 1, "height": 1000, "width": 1000}
    done = row | {"extra_mb": 1e9, "forward_ms": 1e9, "both_ms": 1e9, "forward_ratio": 1e9, "both_ratio": 1e9}
    head, first, second, *_, growth, _ = bench.table([done, row | {"variant": "b", "skipped": "why"}]).splitlines()
    assert len(split(head)) == len(split(first)) == 6 and split(first)[:2] == ["1000×1000", LONG]
    assert split(second) == ["1000×1000", "b", "left out: why"]
    assert split(growth) == [LONG, "1,000,000,000"]


def test_sources_of_pairs():
    row = {"source": LONG, "height": 1000, "width": 1000, "batch": 8, "pairs_per_second": 1e-9}
    head, line = bench.data_table([row | {"step_ms": 1e9, "share_percent": 1e9}]).splitlines()
    assert len(split(head)) == len(split(line)) == 6
    assert [len(split(line)) for line in bench.data_table([row]).splitlines()] == [3, 3]


def test_layers():
    row = {"layer": LONG, "steps": 1, "batch": 1, "inputs": 1, "hidden": 1, "ms": 1e9, "ratio": 1e9}
    assert split(bench.sequence_table([row]).splitlines()[1]) == [LONG, "1000000000.0 ms", "1000000000.00"]


def test_gestures():
    each = {"clips": 10**9, "accuracy": 1, "accuracy_of_gestures": 1, "by_fraction": {"50 %": 1}}
    streams = {"streams": 1, "levenshtein_accuracy": 1, "false_alarms_per_minute": 1}
    measured = {LONG: each | {"median_seconds_to_decision": 1e9}, "streams": streams}
    _, line, _ = gestures.table(measured).splitlines()
    assert split(line) == [LONG, "1000000000", "100.0%", "100.0%", "100.0%", "1000000000.0 s"]


def test_attacks(monkeypatch, capsys):
    if not (ROOT / "cvdl/course/grading/attacks").exists():
        pytest.skip("attacks are kept back from students")
    from cvdl.course.grading.attacks import suite

    attack = suite.Attack(LONG, LONG, lambda folder, trap: None)
    monkeypatch.setattr(suite.backends, "choose", lambda name, hidden=(): suite.Open())
    monkeypatch.setattr(suite, "hand_ins", lambda: [[attack]])
    monkeypatch.setattr(suite, "suite", lambda backend: [suite.Outcome(attack, ["x"], 12345.6)])
    suite.table()
    head, line, *_ = capsys.readouterr().out.splitlines()
    assert split(head) == ["attack", "what it tries", "seconds"]
    assert split(line) == [LONG, LONG, "GOT THROUGH", "12345.6"]


@pytest.mark.parametrize("folder", ["cvdl", "cvdl/course/grading/attacks"])
def test_no_column_has_a_fixed_width(folder):
    """`{name:<12}` is too narrow for some name: `tables.table` measures."""
    width = re.compile(r"\{[^{}]*:[<>^]?[1-9]\d*[,.]?\d*[a-z%]?\}")
    found = [
        f"{path.relative_to(ROOT)}: {field}"
        for path in (ROOT / folder).rglob("*.py")
        for field in width.findall(path.read_text(encoding="utf-8"))
    ]
    assert not found
