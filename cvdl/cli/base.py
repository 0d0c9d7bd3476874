"""What all commands share: how they show errors, and their common options."""

import errno
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

import cvdl
from cvdl.cli.interrupt import STOPPED, say_stopped
from cvdl.errors import CourseError, CourseWarning, is_out_of_memory, library_errors, told


class Commands(TyperGroup):
    """Commands whose errors are shown in one paragraph, with exit code 1.

    That is, a CourseError, and what libraries and the operating system raise for files, sizes and machines
    (`cvdl.errors.library_errors`).  Mistakes in our own code keep their traceback.
    """

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except click.exceptions.Abort:
            raise
        except KeyboardInterrupt:
            say_stopped()
            raise typer.Exit(STOPPED) from None
        except Exception as error:
            ours = isinstance(error, library_errors()) or is_out_of_memory(error)
            if not ours or getattr(error, "errno", None) == errno.EPIPE:  # click ends quietly if a pipe is closed
                raise
            typer.echo(told(error), err=True)
            raise typer.Exit(1) from None


class Sets(TyperGroup):
    """Commands where `cvdl data NAME` means `cvdl data show NAME`."""

    def resolve_command(self, ctx, args):
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


app = typer.Typer(
    cls=Commands,
    help=f"{cvdl.__doc__}  For help with a command: cvdl COMMAND --help",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # box frames mean nothing to a screen reader or in a log
    pretty_exceptions_enable=False,
)


def version(wanted: bool):
    if wanted:
        typer.echo(f"cvdl {cvdl.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version and exit.")
    ] = False,
):
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a Windows code page has no check mark
    warnings.showwarning = show_warning


def show_warning(message, category, filename, lineno, file=None, line=None):
    """Show our own warnings without the line of code that they come from."""
    if issubclass(category, CourseWarning):
        typer.echo(f"Note: {message}", err=True)
    else:
        typer.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, nl=False)


def writable(path: Path | None):
    """Raise before the work starts, rather than after it, if a path cannot become a file."""
    if path and not path.parent.is_dir():
        raise CourseError(f"There is no folder {path.parent} to write {path.name} to. Create it, or name another one.")
    if path and path.is_dir():
        raise CourseError(f"{path} is a folder. Give the name of the file to write, such as {path / 'file'}.")
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CourseError(f"You do not have permission to write to {path}. Name another file.")
    return path


def folder(path: Path | None):
    """Raise now, and not after the work, where a folder to write into is a file."""
    if path and os.path.isfile(path):
        raise CourseError(f"{path} is a file; the name of a folder was expected, which may be new.")
    return path


def end_with(left_out):
    """End with exit code 1 if pairs were left out."""
    if left_out:
        typer.echo(f"{len(left_out)} pairs were left out, as reported above.", err=True)
        raise typer.Exit(1)


Numbers = Annotated[Path | None, typer.Option(help="File to write the numbers to.", callback=writable)]
Device = Annotated[str | None, typer.Option(help="cpu or cuda. [default: cuda if available]")]
