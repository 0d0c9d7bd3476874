"""All attacks, one after the other, and a table of what came of them."""

import itertools
import os
import re
import time

from cvdl import tables
from cvdl.course.grading.attacks import (
    classes,
    files,
    identity,
    interruptions,
    judge,
    kernel,
    machine,
    notebooks,
    output,
    points,
)
from cvdl.course.grading.attacks.base import RIGHT, Attack, Open, Outcome, code, run
from cvdl.course.grading.sandbox import backends


def attacks():
    """All of them, by what they attack."""
    parts = judge, points, machine, kernel, files, notebooks
    return [attack for part in parts for attack in part.ATTACKS]


def class_attacks():
    """All attacks on a class."""
    return [*interruptions.ATTACKS, *identity.ATTACKS, *output.ATTACKS]


CANARIES = ("writes a file", "reads the environment")  # by the first of a hand-in


HONEST = Attack(
    "an honest hand-in", "the right answer, which has to get its points", code(RIGHT), "^right$", noted=True
)


def hand_ins():
    """The attacks, those of one hand-in together, between two honest ones -> list of lists."""
    return [[HONEST], *(list(group) for _, group in itertools.groupby(attacks(), lambda a: a.make)), [HONEST]]


def suite(backend):
    """Run all attacks, those on a whole class, then the canaries -> Outcomes, as they come."""
    for group in hand_ins():
        yield from run(group, backend)
    for attack in class_attacks():
        through, seen = classes.run(attack, jail=backend.name)
        yield Outcome(attack, through, seen.seconds)
    yield from canaries()


def canaries():
    for group in hand_ins():
        if group[0].name in CANARIES:
            yield run(group, Open(), canary=True)[0]


def table(name="auto"):
    """Run the suite in a jail of this machine, and print what came of it, line by line -> did all hold?

    Raises CourseError if no jail works.
    """
    backend, begin, outcomes = backends.choose(name), time.monotonic(), []
    head, known = ("attack", "what it tries", "", "seconds"), [(a.name, a.tries) for group in hand_ins() for a in group]
    known += [(a.name, a.tries) for a in class_attacks()]
    known += [(f"canary: {name}", "") for name in CANARIES]
    widths = [*tables.widths_of([head[:2], *known]), len("GOT THROUGH"), len("seconds")]
    print(tables.line(head, widths, right=[3]))
    for outcome in suite(backend):
        outcomes.append(outcome)
        what = "held" if not outcome.through else "GOT THROUGH"
        name = f"canary: {outcome.attack.name}" if outcome.canary else outcome.attack.name
        cells = name, outcome.attack.tries, what, f"{outcome.seconds:.1f}"
        print(tables.line(cells, widths, right=[3]), flush=True)
        if not outcome.good or outcome.canary:
            print(*(f"    {line}" for line in outcome.through[:3] or ["this was expected to get through"]), sep="\n")
    through = [o for o in outcomes if not o.canary and o.through]
    caught = [o for o in outcomes if o.canary and o.through]
    print(
        f"{len(outcomes) - len(CANARIES)} hand-ins in {backend.name}, as user {os.getuid()}: {len(through)} got through. "
        f"Canaries, the same attacks without a jail: {len(caught)} of {len(CANARIES)} were seen to get through. "
        f"{time.monotonic() - begin:.0f} seconds."
    )
    return not through and len(caught) == len(CANARIES)


def alone(wanted, backend="auto"):
    """Run the attacks of single hand-ins whose names match this pattern, and print all about them -> how many got through."""
    count = 0
    for group in hand_ins():
        if any(re.search(wanted, a.name) for a in group):
            for outcome in run(group, backends.choose(backend)):
                if re.search(wanted, outcome.attack.name):
                    count += bool(outcome.through)
                    print(
                        f"{'THROUGH' if outcome.through else 'held   '} {outcome.attack.name}: {outcome.attack.tries}"
                    )
                    print(
                        *(f"    {line}" for line in [*outcome.through, "It was told:", *outcome.told.splitlines()]),
                        sep="\n",
                    )
    return count


def classes_alone(wanted):
    """Run the attacks on a class whose names match this pattern, and print what came of them -> how many got through."""
    count = 0
    for attack in class_attacks():
        if not re.search(wanted, attack.name):
            continue
        found, seen = classes.run(attack)
        count += bool(found)
        print(f"{'THROUGH' if found else 'held   '} {attack.name}: {attack.tries} ({seen.seconds:.0f} s)", flush=True)
        for line in found:
            print(f"    {line}", flush=True)
    return count
