"""`cvdl data`."""

from pathlib import Path
from typing import Annotated

import typer

from cvdl.cli.base import Sets, app, writable
from cvdl.errors import CourseError

data = typer.Typer(
    cls=Sets, help="Show which datasets of optical flow and gestures you have, and how to get the others."
)
app.add_typer(data, name="data")


@data.callback(invoke_without_command=True)
def data_table(context: typer.Context):
    """Show which datasets of optical flow and gestures you have, and how to get the others.

    Without a command, it prints a table of all datasets with state (here, missing, broken), size and terms. Datasets are
    looked for in the folder that CVDL_SETS names, or else in the folder `sets` next to the course.
    """
    if not context.invoked_subcommand:
        from cvdl.cli.inventory import table

        typer.echo(table())


@data.command("show")
def data_show(name: Annotated[str, typer.Argument(help="A dataset, as named in the table.")]):
    """Show one dataset: which folders it must have, what is missing, where to get it. `cvdl data NAME` does the same."""
    from cvdl.cli.inventory import page

    typer.echo(page(name))


@data.command("get")
def data_get(name: Annotated[str, typer.Argument(help="A dataset, as named in the table.")]):
    """Download a dataset if its owner offers a direct link; for any other, explain how to get it.

    Exit code 0 means that the dataset is complete.
    """
    from cvdl.cli.inventory import entry_of, look, page
    from cvdl.data.downloads import fetch

    if look(entry_of(name)).name != "here":
        fetch(entry_of(name))
    typer.echo(page(name))
    raise typer.Exit(look(entry_of(name)).name != "here")


@data.command("gallery")
def data_gallery(
    kind: Annotated[
        str, typer.Argument(help="chairs, things, things-final, even, small, or a mixture such as chairs+things.")
    ],
    out: Annotated[Path, typer.Argument(help="Image file to write: .png, .pdf or .svg.", callback=writable)],
    count: Annotated[int, typer.Option(min=1, max=64, help="Number of pairs.")] = 16,
    first: Annotated[int, typer.Option(min=0, help="Index of the first pair.")] = 0,
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="A different seed gives different pairs.")] = 0,
):
    """Draw rendered pairs with their flow, frame 2 warped by it, and the occluded pixels."""
    import matplotlib

    matplotlib.use("Agg")
    from cvdl.flow.data.gallery import gallery

    if out.suffix not in (".png", ".pdf", ".svg"):
        raise CourseError(f"{out} must end in .png, .pdf or .svg.")
    figure, text = gallery(kind, count, first, split=split, seed=seed)
    figure.savefig(out, dpi=110)
    typer.echo(text)
