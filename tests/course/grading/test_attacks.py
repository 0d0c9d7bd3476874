"""The jail and the judge hold against cvdl/course/grading/attacks, as root and as an ordinary user; and what holds can fail."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cvdl.cli import app
from cvdl.course.exercises import chapters, scoring
from cvdl.course.exercises.comparison import CallFailed
from cvdl.course.grading import command as runs
from cvdl.course.grading.sandbox import backends, protocol
from cvdl.errors import CourseError
from cvdl.settings import ROOT
from tests.course.exercises.test_answers import EXERCISES

pytestmark = pytest.mark.skipif(
    not (ROOT / "cvdl/course/grading/attacks").exists(), reason="attacks are kept back from students"
)
if (ROOT / "cvdl/course/grading/attacks").exists():
    from cvdl.course.grading.attacks import classes, suite

    CLASSES = suite.class_attacks()
    HAND_INS = suite.hand_ins()[1:]
    KNOWN = [attack for group in HAND_INS for attack in group]
else:
    CLASSES, HAND_INS, KNOWN = [], [], []
# One of each mechanism; the rest takes too long for `make test`.
SHORT = {
    *("equal to everything", "huge whole number", "forged answers", "calls the oracle"),
    *("IPv4", "writes a file", "reads the environment", "fork bomb", "memory bomb", "endless loop"),
    *("zip bomb", "code at the top"),
    *("keyring read", "ptrace of process 1", "io_uring"),
    *("comparison replaced", "derivative replaced", "a circle of two, step", "library of the attempt", "four guesses"),
}
judge_find = chapters.find
BACKENDS = [b if b == "bubblewrap" else pytest.param(b, marks=pytest.mark.tour) for b in backends.BACKENDS]
BECOME = ["setpriv", f"--reuid={backends.NOBODY}", f"--regid={backends.NOBODY}", "--clear-groups", "--"]


@pytest.fixture(scope="module")
def outcome(request):
    """What came of an attack: each hand-in is graded once, when it is first asked for."""
    try:
        backend = backends.choose(request.param)
    except CourseError as error:
        pytest.skip(str(error))
    known = {}

    def of(attack):
        if attack.name not in known:
            (group,) = [g for g in HAND_INS if attack in g]
            known.update({o.attack.name: o for o in suite.run(group, backend)})
        return known[attack.name]

    return of


def short_or_long(group):
    marks = () if group[0].name in SHORT else pytest.mark.tour
    return [pytest.param(attack, marks=marks, id=attack.name) for attack in group]


@pytest.mark.parametrize("outcome", BACKENDS, indirect=True)
@pytest.mark.parametrize("attack", [param for group in HAND_INS for param in short_or_long(group)])
def test_held(attack, outcome):
    assert outcome(attack).through == []


@pytest.mark.parametrize(
    "attack", [pytest.param(a, marks=pytest.mark.tour if a.long else (), id=a.name) for a in CLASSES]
)
def test_a_class_held(attack):
    through, seen = classes.run(attack)
    assert through == [], seen.said


@pytest.mark.tour
@pytest.mark.parametrize("attack", [pytest.param(a, id=a.name) for a in CLASSES if a.user])
def test_a_class_held_for_an_ordinary_user(attack, tmp_path):
    if os.getuid() or not shutil.which("setpriv"):
        pytest.skip("it takes root, and setpriv, to become an ordinary user")
    through, seen = classes.run(attack, become(tmp_path))
    assert through == [], seen.said


def drawn(monkeypatch, seed):
    """The seeds of the generators that the cases of an exercise are made with."""
    spec, seeds = judge_find("rnn.step"), []

    def spied(case):
        def make(generator):
            seeds.append(generator.initial_seed())
            return case.make(generator)

        return replace(case, make=make)

    monkeypatch.setattr(chapters, "find", lambda id: replace(spec, cases=tuple(map(spied, spec.cases))))
    scoring.score(chapters.find("rnn.step"), lambda *_, **__: None, seed)
    return seeds


def test_the_seed_of_one_case_does_not_give_those_of_others(monkeypatch):
    """With a linear code as crc32, the exclusive or of two cases' seeds is the same whatever the secret is."""
    one, two = drawn(monkeypatch, "0" * 32), drawn(monkeypatch, "a" * 32)
    assert len(one) == len(two) > 2
    assert all(a ^ one[0] != b ^ two[0] for a, b in zip(one[1:], two[1:], strict=True))


def test_seeds_of_cases_cannot_all_be_tried(monkeypatch):
    """A seed of 32 bits is found in minutes by whoever knows one case's arguments."""
    assert max(drawn(monkeypatch, "0" * 32)).bit_length() > 48


def test_there_are_enough_attacks():
    assert len({a.name for a in KNOWN}) == len(KNOWN) >= 60
    assert all(a.tries and (a.seen or a.noted) for a in KNOWN)
    assert len({a.name for a in CLASSES}) == len(CLASSES)
    assert {a.name for a in KNOWN} >= SHORT


def test_a_canary_gets_through():
    found = list(suite.canaries())
    assert len(found) == len(suite.CANARIES) and all(o.through for o in found)


def become(folder):
    """The beginning of a command line that runs this Python as nobody, who sees it even where it lies in root's home."""
    closed = [p for p in (Path(sys.base_prefix), *Path(sys.base_prefix).parents) if not p.stat().st_mode & 0o001]
    if not closed:
        return [*BECOME, sys.executable]
    lent = 'mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 none "$3" && mkdir -p "$1" && mount --bind "$2" "$1"'
    lend = ["unshare", "--mount", "sh", "-c", f'{lent} || exit 1; shift 3; exec "$@"', "sh"]
    return [*lend, sys.base_prefix, str(folder), str(closed[-1]), *BECOME, sys.executable]


@pytest.mark.long
def test_an_ordinary_user(tmp_path):
    """The attacks on the machine once more; those on the judge are the same, whoever starts it."""
    if os.getuid():
        pytest.skip("this is an ordinary user already")
    if not shutil.which("setpriv"):
        pytest.skip("there is no setpriv")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(program):
        words = [*become(tmp_path), "-c", program, str(ROOT)]
        return subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True)

    tried = run("from cvdl.course.grading.sandbox import backends as jail; jail.choose('bubblewrap')")
    if tried.returncode:
        pytest.skip(f"an ordinary user cannot read this checkout, or has no jail: {tried.stderr[-300:]}")
    done = run(
        "import sys; sys.path.insert(0, sys.argv[1]); from cvdl.course.grading.attacks import suite\n"
        "from cvdl.course.grading.attacks import kernel, machine; suite.class_attacks = lambda: []\n"
        "suite.attacks = lambda: [*machine.ATTACKS, *kernel.ATTACKS]; sys.exit(not suite.table())"
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert f"as user {backends.NOBODY}" in done.stdout


def test_the_command_needs_the_attacks(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    told = CliRunner().invoke(app.app, ["grade", "--self-test"])
    assert told.exit_code == 1 and "teachers' repository" in told.output
    told = CliRunner().invoke(app.app, ["grade"])
    assert told.exit_code == 1 and "cvdl grade SUBMISSIONS --out DIR" in told.output


def crossed(answer):
    """An answer as it comes out of a jail."""
    return protocol.unpack(protocol.pack({"answer": answer}))["answer"]


ODD = [None, True, 2**62, float("nan"), "", (), {"": None}]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
def test_odd_answers_are_no_right_ones(exercise):
    for odd in ODD:
        assert scoring.score(exercise, lambda *args, weights=None, odd=odd: crossed(odd), "a seed").earned == 0, odd


def nan_like(value):
    import torch

    if isinstance(value, torch.Tensor):
        return torch.full(value.shape, float("nan"))
    if isinstance(value, tuple | list):
        return tuple(map(nan_like, value))
    if isinstance(value, dict):
        return {k: nan_like(v) for k, v in value.items()}
    return float("nan")


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
def test_nan_of_the_right_shape_earns_no_more_than_the_shape(exercise):
    def call(*args, weights=None):
        if weights is not None:
            raise CallFailed("no gradient")
        return crossed(nan_like(exercise.oracle(*args)))

    score = scoring.score(exercise, call, "a seed")
    assert score.earned <= score.points / 4, [(c.name, c.earned) for c in score.cases if c.earned]
