"""All recipes that `cvdl train` knows: those of `cvdl.train.flow` and those of `cvdl.train.gestures`."""

from cvdl.errors import CourseError
from cvdl.train.flow import FLOW
from cvdl.train.gestures import GESTURES

RECIPES = FLOW | GESTURES


def find(name):
    """The recipe of this name.  Raises CourseError."""
    if name not in RECIPES:
        raise CourseError(f"There is no recipe {name!r}; there are: {', '.join(RECIPES)}.")
    return RECIPES[name]


def listing():
    """All recipes and their stages, as text."""
    lines = []
    for name, recipe in RECIPES.items():
        lines.append(f"{name:<12}{recipe.title}")
        for profile, stages in recipe.stages.items():
            lines.append(f"{'':12}{profile:<8}" + ", ".join(f"{stage.name} {stage.steps:,}" for stage in stages))
    return "\n".join([*lines, "", "The numbers are steps. Begin with: cvdl train RECIPE"])
