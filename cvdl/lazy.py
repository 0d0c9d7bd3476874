"""Names that are imported on first use, so that a package costs nothing that is not needed."""

from importlib import import_module


def lazily(package, homes, eager=()):
    """The functions __getattr__ and __dir__ of a package (PEP 562), and its __all__.

    package: its __name__; homes: {module: names in it}, with the package itself for modules in it; eager: names that the
    package has already.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    everything = sorted([*home_of, *eager])

    def find(name):
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if home_of[name] == package:  # a module in it
            return import_module(f"{package}.{name}")
        return getattr(import_module(home_of[name]), name)

    return find, lambda: everything, everything
