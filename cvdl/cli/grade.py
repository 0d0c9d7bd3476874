"""`cvdl grade`."""

from pathlib import Path
from typing import Annotated

import typer

from cvdl.cli.base import STOPPED, app, folder
from cvdl.errors import CourseError


@app.command()
def grade(
    submissions: Annotated[
        Path | None,
        typer.Argument(
            help="Folder, zip or file of hand-ins, as from Moodle, Canvas, Blackboard or nbgrader; STUDENT/….ipynb is enough."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; an interrupted run continues there.", callback=folder)
    ] = None,
    notebook: Annotated[str, typer.Option(help="Grade only this notebook, such as 01. [default: all]")] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of hand-ins to judge at a time. [default: the number of CPUs]")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(help="Text that seeds the cases. [default: a new secret, kept in OUT/seed]"),
    ] = None,
    due: Annotated[
        list[str] | None,
        typer.Option(
            help="When it was due: 2026-01-31T23:59, or the day alone for its end; with +01:00 for another zone than this "
            "machine's. For one of several notebooks: 05=2026-01-31. May be repeated."
        ),
    ] = None,
    jail: Annotated[str, typer.Option(help="auto, bubblewrap, podman or docker.")] = "auto",
    students: Annotated[
        Path | None,
        typer.Option(
            help="File with one name per line, written as in the names of the hand-ins, to show who is missing.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(help="moodle or canvas: also write a table of marks to upload there. May be repeated."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Look for similar answers, within the class and in the OUT folder of an earlier class. Name OUT itself to look "
            "only within the class. May be repeated."
        ),
    ] = None,
    regrade: Annotated[
        bool,
        typer.Option(
            "--regrade",
            help="Let hand-ins replace marks that would stay: late ones, older ones, and those of other notebooks than most.",
        ),
    ] = False,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Grade nothing; attack this machine's jail instead, and print what held."),
    ] = False,
):
    """Grade hand-ins: their exercises are cut out and called in a jail, and judged outside of it.

    Students' code runs only in the jail, without a network; if no jail works, nothing is graded. One result for each
    hand-in is written to OUT. Exit code 0 means that every exercise of every hand-in was judged.
    """
    from cvdl.course.grading.command import grade_all
    from cvdl.course.grading.command import self_test as attack

    if self_test:
        raise typer.Exit(not attack(jail))
    if not (submissions and out):
        raise CourseError("Name what to grade and where to write: cvdl grade SUBMISSIONS --out DIR")

    try:
        told, complete = grade_all(
            submissions, out, notebook, workers, seed, due or (), jail, students, format or (), against or (), regrade
        )
    except KeyboardInterrupt:  # it has said how to continue
        raise typer.Exit(STOPPED) from None
    typer.echo(told)
    raise typer.Exit(not complete)
