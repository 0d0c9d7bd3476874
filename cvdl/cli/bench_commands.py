"""`cvdl bench`."""

from typing import Annotated

import typer

from cvdl.cli.base import Device, Numbers, app
from cvdl.errors import CourseError

bench = typer.Typer(help="Measure how fast the course's layers are on this machine.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("correlation")
def bench_correlation(
    sizes: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH of the feature maps, separated by commas.")
    ] = "24x32,48x64,96x128,192x256",
    repeats: Annotated[int, typer.Option(min=1, help="Number of runs; the median is reported.")] = 7,
    batch: Annotated[int, typer.Option(min=1, help="Samples per run.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU threads. [default: torch's choice]")] = None,
    device: Device = None,
    json: Numbers = None,
):
    """Compare ways to compute FlowNetC's correlation layer: 256 channels, 441 displacements.

    Times are for the forward pass alone, and for forward and backward together. Memory is what both passes need beyond
    the two feature maps: on a CPU, how much a fresh process grows; on CUDA, what torch itself counts.
    """
    from cvdl.cli.bench import bench_correlation, choose, parse_sizes, save, table

    device = choose(device)
    results = bench_correlation(parse_sizes(sizes), repeats, batch, threads, device)
    typer.echo(table(results))
    if json:
        save(results, json, device)


@bench.command("sequence")
def bench_sequence(
    repeats: Annotated[int, typer.Option(min=1, help="Number of runs; the median is reported.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads.")] = 1,
    device: Device = None,
    json: Numbers = None,
):
    """Compare a training step of the course's LSTM layer with torch's: 100 steps, batch 32, 64 inputs, 128 units."""
    from cvdl.cli.bench import bench_sequence, choose, save, sequence_table

    device = choose(device)
    results = bench_sequence(repeats, threads, device)
    typer.echo(sequence_table(results))
    if json:
        save(results, json, device)


@bench.command("data")
def bench_data(
    sizes: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH of the frames, separated by commas.")
    ] = "64x64,128x128,256x256,384x512",
    batch: Annotated[int, typer.Option(min=1, help="Pairs rendered at a time.")] = 8,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds to spend on each measurement.")] = 3.0,
    step: Annotated[
        bool | None,
        typer.Option(
            help="Also compare with a training step of FlowNetS at full width, and time training from a pool of rendered "
            "pairs. [default: only on CUDA]"
        ),
    ] = None,
    device: Device = None,
    json: Numbers = None,
):
    """Measure how fast the course renders training pairs, in pairs per second."""
    from cvdl.cli.bench import bench_data, bench_pool, choose, data_table, parse_sizes, pool_table, save

    device = choose(device)
    sizes = parse_sizes(sizes)
    if min(min(size) for size in sizes) < 64:
        raise CourseError("Frames must be at least 64 pixels high and wide here, because FlowNetS needs that.")
    step = device == "cuda" if step is None else step
    results = bench_data(sizes, batch, seconds, device, step)
    typer.echo(data_table(results))
    if step:
        results += (from_pool := bench_pool(batch, device=device))
        typer.echo("\n" + pool_table(from_pool))
    if json:
        save(results, json, device)
