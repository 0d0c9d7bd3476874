"""Names that are imported on first use, so that a package costs nothing that is not needed."""

from importlib import import_module


def lazily(package, homes, eager=()):
    """The functions __getattr__ and __dir__ of a package (PEP 562), and its __all__.

    package: its __name__; homes: {module: names that live there}; eager: names that the package has already.
    A module that is named itself is given as a whole: {"cvdl.train.zoo": ("zoo",)}.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    everything = sorted([*home_of, *eager])

    def getattr_(name):
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(home_of[name])
        return home if home_of[name].endswith(f".{name}") else getattr(home, name)

    return getattr_, lambda: everything, everything
