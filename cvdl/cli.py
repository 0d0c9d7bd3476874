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


bench = typer.Typer(help="Measure how fast the course's layers are on this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("correlation")
def bench_correlation(
    sizes: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH of the feature maps, separated by commas.")
    ] = "24x32,48x64,96x128,192x256",
    repeats: Annotated[int, typer.Option(min=1, help="Runs, of which the median counts.")] = 7,
    batch: Annotated[int, typer.Option(min=1, help="Samples per run.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the processor; torch's choice, if not given.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one, if not given.")] = None,
    json: Annotated[Path | None, typer.Option(help="File to write the numbers to.")] = None,
):
    """Compare ways to compute the correlation layer, as FlowNetC has it: 256 channels, 441 displacements.

    Time is forward, and forward with backward. Memory is what both need beyond the two maps: on a processor by how
    much a fresh process grows, on CUDA by torch's own count.
    """
    from cvdl.bench import bench_correlation, choose, parse_sizes, save, table

    device = choose(device)
    if json and not json.parent.is_dir():
        raise CourseError(f"There is no folder {json.parent} to write {json.name} to. Make it, or name another.")
    results = bench_correlation(parse_sizes(sizes), repeats, batch, threads, device)
    typer.echo(table(results))
    if json:
        save(results, json, device)


if __name__ == "__main__":
    app()
