"""The command `cvdl`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

import cvdl
from cvdl.errors import CourseError
from cvdl.settings import ROOT


class Commands(TyperGroup):
    """Commands whose CourseError is told in one paragraph, without a traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except CourseError as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    help=f"{cvdl.__doc__}  Each command explains itself: cvdl COMMAND --help",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # frames of boxes say nothing to a screen reader or in a log
    pretty_exceptions_enable=False,
)


def version(wanted: bool):
    if wanted:
        typer.echo(f"cvdl {cvdl.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version and stop.")
    ] = False,
):
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a Windows code page has no check mark


@app.command()
def doctor():
    """Say what is missing here, and what to do about it.

    Exit code 0 means that every notebook can run.
    """
    from cvdl.course.doctor import doctor

    card = doctor()
    typer.echo(card)
    raise typer.Exit(card.state == "wrong")


@app.command()
def lab(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on; the next free one, if taken.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    work: Annotated[Path, typer.Option(help="Folder of your own copies of the notebooks.")] = ROOT / "work",
):
    """Open your own copies of the notebooks in JupyterLab.

    Missing ones are copied first. A copy is never written to: where the course brings a newer notebook,
    it comes beside yours as NN_name.new.ipynb.
    """
    from cvdl.course.desk import lab

    lab(work, port, browser)


if __name__ == "__main__":
    app()
