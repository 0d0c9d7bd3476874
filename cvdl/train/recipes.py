"""All recipes that `cvdl train` knows: those of `cvdl.train.flow` and those of `cvdl.train.gestures`."""

import difflib

from cvdl import tables
from cvdl.errors import InvalidInput
from cvdl.train.flow import FLOW
from cvdl.train.gestures import GESTURES

RECIPES = FLOW | GESTURES


def find(name):
    """The recipe of this name.  Raises InvalidInput if there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InvalidInput(f"There is no recipe {name!r}.{meant} `cvdl train` lists all: {', '.join(RECIPES)}.")
    return RECIPES[name]


def listing():
    """All recipes and their stages, as text."""
    rows = []
    for name, recipe in RECIPES.items():
        rows.append((name, recipe.title))
        steps = [
            (profile, ", ".join(f"{stage.name} {stage.steps:,}" for stage in stages))
            for profile, stages in recipe.stages.items()
        ]
        rows += [("", line) for line in tables.table(steps)]
    return "\n".join([*tables.table(rows), "", "The numbers are steps. Begin with: cvdl train RECIPE"])
