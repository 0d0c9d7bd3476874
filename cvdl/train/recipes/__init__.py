"""All recipes that `cvdl train` knows: those of `cvdl.train.recipes.flow` and those of `cvdl.train.recipes.gestures`."""

from cvdl import tables
from cvdl.errors import InvalidInput, nearest
from cvdl.train.recipes.flow import FLOW
from cvdl.train.recipes.gestures import GESTURES

RECIPES = FLOW | GESTURES


def find(name):
    """The recipe of this name.  Raises InvalidInput if there is none."""
    if name not in RECIPES:
        raise InvalidInput(
            f"There is no recipe {name!r}.{nearest(name, RECIPES)} The recipes are: {', '.join(RECIPES)}."
        )
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
    return "\n".join([*tables.table(rows), "", "The numbers are steps. To start: cvdl train RECIPE"])
