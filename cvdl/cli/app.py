"""The command `cvdl`: its subcommands, in the order in which `cvdl --help` lists them."""

from cvdl.cli import lab, bench_commands, data, train, evaluate, zoo, grade  # noqa: F401, I001 (each adds its own)
from cvdl.cli.base import app

__all__ = ["app"]
