"""`cvdl doctor`, `cvdl lab` and `cvdl submit`: what students use."""

from pathlib import Path
from typing import Annotated

import typer

from cvdl.cli.base import app, folder
from cvdl.settings import ROOT


@app.command()
def doctor():
    """Report what is missing on this machine, and how to fix it.

    Exit code 0 means that every notebook can run.
    """
    from cvdl.course.workspace.doctor import doctor

    card = doctor()
    typer.echo(card)
    raise typer.Exit(card.state == "wrong")


@app.command()
def lab(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to serve on; if it is taken, the next free one.")
    ] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    work: Annotated[Path, typer.Option(help="Folder with your own copies of the notebooks.")] = ROOT / "work",
):
    """Open your own copies of the notebooks in JupyterLab.

    Missing copies are made first. When the course has a newer version of a notebook, it replaces your copy if you
    have never saved it; otherwise the new version is put next to yours as NN_name.new.ipynb.
    """
    from cvdl.course.workspace.lab import lab

    lab(work, port, browser)


@app.command("handin", hidden=True)  # its name in the first edition
@app.command()
def submit(
    notebook: Annotated[str, typer.Argument(help="Number of the notebook, such as 01, or its file.")],
    work: Annotated[Path, typer.Option(help="Folder with your own copies of the notebooks.", callback=folder)] = ROOT
    / "work",
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="WORK/handin/NAME.ipynb")] = None,
):
    """Check your saved notebook, show its points, and write the file to upload.

    Your answers run on your own machine, just as they do in `check`. Save the notebook first (Ctrl-S).
    """
    from cvdl.course.workspace.submit import submit as write_submission

    typer.echo(write_submission(notebook, work, out))
