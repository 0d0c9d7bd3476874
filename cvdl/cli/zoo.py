"""`cvdl zoo`."""

from pathlib import Path
from typing import Annotated

import typer

from cvdl.cli.base import app

zoo = typer.Typer(help="List the trained weights that come with the course, and how well they perform.")
app.add_typer(zoo, name="zoo")


@zoo.callback(invoke_without_command=True)
def zoo_table(context: typer.Context):
    """List the trained weights that come with the course, and how well they perform. Without a command, print a table."""
    if not context.invoked_subcommand:
        from cvdl.train.publish import table

        typer.echo(table())


@zoo.command("show")
def zoo_show(name: Annotated[str, typer.Argument(help="Weights, as named in the table.")]):
    """Print the card of these weights, with all stages and numbers."""
    import json

    from cvdl.zoo import card

    typer.echo(json.dumps(card(name), indent=1, ensure_ascii=False))


@zoo.command("add")
def zoo_add(
    run: Annotated[Path, typer.Argument(help="Folder of a run that `cvdl train` wrote.")],
    name: Annotated[str, typer.Argument(help="Name for the weights.")],
    card_only: Annotated[bool, typer.Option("--card-only", help="Add logs and card without the weights.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Add the run even if it is quick, shortened or unfinished.")
    ] = False,
):
    """Add a run to the zoo: measure its last weights, and copy weights, logs and card into data/.

    The weights are measured on held-out rendered pairs, and on the real samples if you have them. For real pairs, only
    numbers are kept, not images.
    """
    from cvdl.train.publish import add, row

    for path in add(run, name, card_only=card_only, force=force):
        typer.echo(path)
    if not card_only:
        typer.echo("\nAdd this row to data/README.md, then update data/runs/QUEUE.md with python -m cvdl.train.queue:")
        typer.echo(row(name))
