"""The command `cvdl`."""

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
from cvdl.__main__ import STOPPED, say_stopped
from cvdl.errors import CourseError, CourseWarning, is_out_of_memory, library_errors, told
from cvdl.settings import ROOT


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


Numbers = Annotated[Path | None, typer.Option(help="File to write the numbers to.", callback=writable)]
Device = Annotated[str | None, typer.Option(help="cpu or cuda. [default: cuda if available]")]


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


@app.command()
def handin(
    notebook: Annotated[str, typer.Argument(help="Number of the notebook, such as 01, or its file.")],
    work: Annotated[Path, typer.Option(help="Folder with your own copies of the notebooks.", callback=folder)] = ROOT
    / "work",
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="WORK/handin/NAME.ipynb")] = None,
):
    """Check your saved notebook, show its points, and write the file to upload.

    Your answers run on your own machine, just as they do in `check`. Save the notebook first (Ctrl-S).
    """
    from cvdl.course.workspace.submit import handin

    typer.echo(handin(notebook, work, out))


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
    from cvdl.bench import bench_correlation, choose, parse_sizes, save, table

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
    from cvdl.bench import bench_sequence, choose, save, sequence_table

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
    from cvdl.bench import bench_data, bench_pool, choose, data_table, parse_sizes, pool_table, save

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
        from cvdl.flow.data.inventory import table

        typer.echo(table())


@data.command("show")
def data_show(name: Annotated[str, typer.Argument(help="A dataset, as named in the table.")]):
    """Show one dataset: which folders it must have, what is missing, where to get it. `cvdl data NAME` does the same."""
    from cvdl.flow.data.inventory import page

    typer.echo(page(name))


@data.command("get")
def data_get(name: Annotated[str, typer.Argument(help="A dataset, as named in the table.")]):
    """Download a dataset if its owner offers a direct link; for any other, explain how to get it.

    An interrupted download continues where it stopped. Exit code 0 means that the dataset is complete.
    """
    from cvdl.data.downloads import fetch
    from cvdl.flow.data.inventory import entry_of, look, page

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


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="Recipe to train, or all. If it is left out, the recipes are listed.")
    ] = "",
    profile: Annotated[
        str | None,
        typer.Option(
            help="Size of the recipe: quick, laptop or gpu. [default: CVDL_PROFILE, or chosen for the machine]"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Override a hyper-parameter in all stages, as in lr=3e-4, or in one, as in joint.batch=4. May be repeated.",
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Train only this stage; the ones before it must be finished.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; for all, the folder that holds all runs.",
            show_default="runs/RECIPE-PROFILE",
            callback=folder,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder, or start one.")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time, which includes rendering; --resume continues.")
    ] = None,
    scale: Annotated[
        float, typer.Option(min=1e-6, help="Multiply the steps of every stage, and its schedule, by this factor.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed for the initial weights and the samples.")] = 0,
    device: Device = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of processes or GPUs to divide batches among.")] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Number of computers; run the same command on each, under torchrun.")
    ] = 1,
    precision: Annotated[
        str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed. [default: the fastest that suits the device]")
    ] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Folder for rendered pairs.", show_default="runs/pools", callback=folder)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="For all: only show the plan.")] = False,
    nice: Annotated[bool, typer.Option("--nice", help="For all: run at the lowest priority.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="For all: number of recipes to train at a time. [default: 1 on a CPU, 6 on a GPU]"),
    ] = None,
):
    """Train a network: the stages of RECIPE one after the other; or all recipes, most useful first.

    Writes a log, checkpoints, weights and a card for each stage. Pairs for optical flow are rendered first, into
    --pool: 2,000 for the profile laptop, which takes 12 minutes or more on two cores. A run that was interrupted, for
    example with Ctrl-C, continues with --resume. On a CPU the results are exactly the same as without the interruption;
    on CUDA they are the same up to rounding.
    """
    from cvdl.bench import choose
    from cvdl.settings import PROFILES
    from cvdl.settings import profile as current
    from cvdl.train.recipes import GESTURES, find, listing

    if not recipe:
        if any(context.get_parameter_source(name).name == "COMMANDLINE" for name in context.params):
            raise CourseError(
                "Name the recipe that these options are for: cvdl train RECIPE … (`cvdl train` lists all recipes)."
            )
        typer.echo(listing())
        return
    profile, overrides = profile or current(), tuple(set_ or ())
    if profile not in PROFILES:
        raise CourseError(f"There is no profile {profile!r}; there are {', '.join(PROFILES)}.")
    pool, device = pool or Path("runs/pools"), choose(device)
    if recipe == "all":
        if overrides or stage or nodes > 1 or devices > 1:
            raise CourseError(
                "--set, --stage, --devices and --nodes are for a single recipe. Leave them out, or name one recipe."
            )
        return train_everything(
            profile, out or Path("runs"), device, minutes, jobs, nice, dry_run, pool, scale, seed, precision
        )
    if dry_run or nice or jobs:
        raise CourseError("--dry-run, --nice and --jobs are for `cvdl train all`.")
    from cvdl.train.loop import TrainConfig
    from cvdl.train.loop import train as run

    out = out or Path("runs") / f"{recipe}-{profile}"
    config = TrainConfig(
        recipe=recipe,
        profile=profile,
        out=out,
        overrides=overrides,
        seed=seed,
        scale=scale,
        only=stage,
        resume=resume,
        minutes=minutes,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
        pools=pool,
    )
    try:
        done = run(config)
    except KeyboardInterrupt:  # before or between the stages' steps
        typer.echo(f"\n{out}: stopped. Rendered pairs and checkpoints are kept; --resume continues.", err=True)
        raise typer.Exit(STOPPED) from None
    typer.echo(
        f"{out}: {'finished' if done else 'the time is up; run the same command with --resume to continue'}", err=True
    )
    if done:
        last = out / find(recipe).stages_of(profile)[-1].name / "weights.safetensors"
        typer.echo(f"The trained weights are in {last}.", err=True)
        what = "" if recipe in GESTURES else " --pairs chairs --pairs things"
        typer.echo(f"Evaluate them: cvdl eval {last}{what}\nAdd them to the zoo: cvdl zoo add {out} NAME", err=True)


def train_everything(profile, out, device, minutes, at_once, nice, dry_run, pool, scale, seed, precision):
    from cvdl.train import queue

    jobs = queue.jobs_of((), profile, out)
    if dry_run:
        typer.echo(queue.plan(jobs))
        return
    options = ["--pool", str(pool), "--scale", str(scale), "--seed", str(seed)]
    options += ["--precision", precision] if precision else []
    common = dict(device=device, minutes=minutes, at_once=at_once, nice=nice, options=options)
    done = queue.train_all(jobs, out, **common)
    typer.echo(
        f"{out}: {'all finished' if done else 'the time is up; run the same command again to continue'}", err=True
    )


def end_with(left_out):
    """End with exit code 1 if pairs were left out."""
    if left_out:
        typer.echo(f"{len(left_out)} pairs were left out, as reported above.", err=True)
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    nets: Annotated[
        list[str],
        typer.Argument(
            metavar="NET...",
            help="A name from `cvdl zoo`, a .safetensors file that `cvdl train` wrote, or a published SPyNet or "
            "FlowNet: network-*.pytorch, flownet*.pth, FlowNet2*.pth.tar from the common PyTorch ports. Several networks are "
            "measured side by side.",
        ),
    ],
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            help="What to measure on: chairs or things (our own held-out pairs), real (the samples in the folder CVDL_REAL), a "
            "dataset as named by `cvdl data`, a folder of image pairs, or a video. May be repeated.",
            show_default="chairs",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Largest number of pairs from each source. [default: 16 rendered pairs, or 110 clips]"
        ),
    ] = None,
    compare: Annotated[bool, typer.Option(help="Also measure zero flow, and OpenCV's Farneback and DIS.")] = True,
    paired: Annotated[
        bool,
        typer.Option(
            "--paired", help="Compare networks, or a network and the other methods, pair by pair: difference and wins."
        ),
    ] = False,
    json: Numbers = None,
    save: Annotated[Path | None, typer.Option(help="Folder to write an image of each pair and its flows to.")] = None,
    device: Device = None,
):
    """Measure a network: end-point error, angular error, Fl-all and error by speed, for each pair and on average.

    A pair that cannot be read or measured is reported and left out. Exit code 0 means that no pair was left out.
    A gesture network is measured on --limit rendered clips, on streams of them, and on the real clips in the folder
    CVDL_REAL.
    """
    from cvdl import zoo
    from cvdl.bench import choose, machine
    from cvdl.flow import evaluate as measures

    networks = {name: zoo.load(name) for name in nets}
    gestures = [name for name, net in networks.items() if type(net).__name__ in zoo.GESTURE_NETS]
    if gestures:
        if len(nets) > 1:
            raise CourseError(f"{gestures[0]} recognises gestures and must be measured alone.")
        return evaluate_gestures(networks[nets[0]], nets[0], pairs or save or device or paired, limit, json)
    device = choose(device)
    methods = measures.classical() if compare else {}
    if compare and len(methods) == 1:
        typer.echo(
            'Farneback and DIS are left out because OpenCV is not installed: pip install -e ".[compare]"', err=True
        )
    stems = [Path(name).stem if Path(name).suffix else name for name in networks]
    for name, stem in zip(networks, stems, strict=True):
        methods |= measures.networks(stem if stems.count(stem) == 1 else name, networks[name], device)
    if paired and len(methods) < 2:
        raise CourseError("--paired needs at least two methods: name another network, or leave out --no-compare.")
    look = measures.drawer(save) if save else None
    left_out = []
    rows = measures.evaluate(methods, measures.samples_of(pairs or ["chairs"], limit), look, left_out)
    typer.echo(f"{measures.table(rows)}\n\n{measures.legend(rows)}")
    if save:
        typer.echo(f"Images of the pairs written to {save}.")
    if json:
        about = dict(net=nets[0] if len(nets) == 1 else nets, pairs=pairs or ["chairs"], machine=machine(device))
        if left_out:
            about["left_out"] = [str(error) for error in left_out]
        json.write_text(measures.as_json(rows, **about), encoding="utf-8")
        typer.echo(f"Numbers written to {json}.")
    if paired:
        typer.echo("\n" + measures.paired_table(rows))
    end_with(left_out)


def evaluate_gestures(network, name, unfit, limit, json):
    from json import dumps

    from cvdl.bench import machine
    from cvdl.gesture.evaluate import CLIPS, measure, table

    if unfit:
        raise CourseError(
            f"{name} recognises gestures: --pairs, --save, --paired and --device are for optical flow. Leave them out."
        )
    measured = measure(network, limit or CLIPS)
    typer.echo(table(measured))
    if json:
        json.write_text(dumps({"net": name, "machine": machine("cpu"), **measured}, indent=1), encoding="utf-8")
        typer.echo(f"Numbers written to {json}.")


@app.command("flow")
def compute_flow(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Two images, one folder of images, or one video.")
    ],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where to write, required. The extension decides what is written: .flo or .pfm, the flow itself; .png, .jpg or "
            ".webp, a colour image of the flow; .mp4 or .gif, a clip with the flow drawn over it. A folder gets a file for "
            "each pair. May be repeated."
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(help="A name from `cvdl zoo`, or a file of weights, as for `cvdl eval`.")
    ] = "spynet",
    format: Annotated[
        str | None,
        typer.Option(
            help="What to write to a folder or a .png file: flo, pfm, kitti (the flow as a 16-bit .png) or image (colours).",
            show_default="flo in a folder, image for a .png",
        ),
    ] = None,
    device: Device = None,
):
    """Compute the optical flow for two images, a folder of images or a video, and write it.

    A pair that cannot be read is reported and left out. Exit code 0 means that no pair was left out.
    """
    from cvdl.bench import choose
    from cvdl.flow.estimate import run

    written, left_out = run(inputs, out or [], network, choose(device), format)
    for line in written:
        typer.echo(line)
    end_with(left_out)


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


if __name__ == "__main__":
    from cvdl.__main__ import main as run

    run()
