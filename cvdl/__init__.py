"""cvdl: deep networks for sequences and optical flow, a course in notebooks."""

from cvdl.lazy import lazily

__version__ = "1.0.0rc1"

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "cvdl.settings": ("budget", "device", "seed", "profile", "data_path"),
        "cvdl.course.exercises.api": ("exercise", "check", "hint", "use_library", "progress"),
        "cvdl.course.notebook.display": ("start", "explore", "outcome", "show"),
        "cvdl": ("zoo",),
    },
)
