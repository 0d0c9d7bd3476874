"""cvdl: deep networks for sequences and optical flow, a course in notebooks."""

from importlib import import_module

__version__ = "0.1.0"

# Imported on first use, so that `import cvdl` costs nothing a notebook does not need.
_HOMES = {
    "cvdl.settings": ("budget", "device", "seed", "profile", "data_path"),
    "cvdl.course.exercise": ("exercise", "check", "hint", "use_library", "progress"),
    "cvdl.course.notebook": ("start", "explore", "outcome", "show"),
}
__all__ = [name for names in _HOMES.values() for name in names]


def __getattr__(name):
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'cvdl' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
