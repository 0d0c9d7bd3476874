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
    """Where `cvdl data NAME` means `cvdl data show NAME`."""

    def resolve_command(self, ctx, args):
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


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
    warnings.showwarning = show_warning


def show_warning(message, category, filename, lineno, file=None, line=None):
    """Our own warnings without the line of code that they come from."""
    if issubclass(category, CourseWarning):
        typer.echo(f"Note: {message}", err=True)
    else:
        typer.echo(warnings.formatwarning(message, category, filename, lineno, line), err=True, nl=False)


def writable(path: Path | None):
    """Raise now, and not after the work, for a path that cannot become a file."""
    if path and not path.parent.is_dir():
        raise CourseError(f"There is no folder {path.parent} to write {path.name} to. Make it, or name another.")
    if path and path.is_dir():
        raise CourseError(f"{path} is a folder; the name of a file to write was expected, such as {path / 'file'}.")
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise CourseError(f"{path} cannot be written to: you lack the permission. Name another file.")
    return path


def folder(path: Path | None):
    """Raise now, and not after the work, where a folder to write into is a file."""
    if path and path.is_file():
        raise CourseError(f"{path} is a file; the name of a folder was expected, which may be new.")
    return path


Numbers = Annotated[Path | None, typer.Option(help="File to write the numbers to.", callback=writable)]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one, if not given.")]


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
    work: Annotated[Path, typer.Option(help="Folder of your own copies of the notebooks.", callback=folder)] = ROOT
    / "work",
):
    """Open your own copies of the notebooks in JupyterLab.

    Missing ones are copied first. Where the course brings a newer notebook, it replaces a copy that you have
    never saved; beside one that you worked in it comes as NN_name.new.ipynb.
    """
    from cvdl.course.desk import lab

    lab(work, port, browser)


@app.command()
def handin(
    notebook: Annotated[str, typer.Argument(help="Number of the notebook, 01, or its file.")],
    work: Annotated[Path, typer.Option(help="Folder of your own copies of the notebooks.", callback=folder)] = ROOT
    / "work",
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="WORK/handin/NAME.ipynb")] = None,
):
    """Check your saved notebook, show its points, and make the file to upload.

    Your answers are called here, on your own machine, as `check` does. Save the notebook first (Ctrl-S).
    """
    from cvdl.course.handin import handin

    typer.echo(handin(notebook, work, out))


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
    device: Device = None,
    json: Numbers = None,
):
    """Compare ways to compute the correlation layer, as FlowNetC has it: 256 channels, 441 displacements.

    Time is forward, and forward with backward. Memory is what both need beyond the two maps: on a processor by how
    much a fresh process grows, on CUDA by torch's own count.
    """
    from cvdl.bench import bench_correlation, choose, parse_sizes, save, table

    device = choose(device)
    results = bench_correlation(parse_sizes(sizes), repeats, batch, threads, device)
    typer.echo(table(results))
    if json:
        save(results, json, device)


@bench.command("sequence")
def bench_sequence(
    repeats: Annotated[int, typer.Option(min=1, help="Runs, of which the median counts.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the processor.")] = 1,
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
    seconds: Annotated[float, typer.Option(min=0, help="Time for each number.")] = 3.0,
    step: Annotated[
        bool | None,
        typer.Option(
            help="Also compare with a training step of FlowNetS at full width, and measure training from a pool of rendered "
            "pairs. [default: on CUDA]"
        ),
    ] = None,
    device: Device = None,
    json: Numbers = None,
):
    """Measure how fast the course renders pairs for training, in pairs a second."""
    from cvdl.bench import bench_data, bench_pool, choose, data_table, parse_sizes, pool_table, save

    device = choose(device)
    sizes = parse_sizes(sizes)
    if min(min(size) for size in sizes) < 64:
        raise CourseError("Frames are 64 pixels or more in both directions here, which is what FlowNetS needs.")
    step = device == "cuda" if step is None else step
    results = bench_data(sizes, batch, seconds, device, step)
    typer.echo(data_table(results))
    if step:
        results += (from_pool := bench_pool(batch, device=device))
        typer.echo("\n" + pool_table(from_pool))
    if json:
        save(results, json, device)


data = typer.Typer(cls=Sets, help="Say which sets of optical flow and of gestures are here, and how to get the others.")
app.add_typer(data, name="data")


@data.callback(invoke_without_command=True)
def data_table(context: typer.Context):
    """Say which sets of optical flow and of gestures are here, and how to get the others.

    Without a command: a table of all sets, with state (here, missing, broken), size and terms. Sets are looked for in the
    folder that CVDL_SETS names, else in the folder sets beside the course.
    """
    if not context.invoked_subcommand:
        from cvdl.flow.data.inventory import table

        typer.echo(table())


@data.command("show")
def data_show(name: Annotated[str, typer.Argument(help="A set, as the table names it.")]):
    """Show one set: the folders it has to have, what is missing, where to get it. `cvdl data NAME` does the same."""
    from cvdl.flow.data.inventory import page

    typer.echo(page(name))


@data.command("get")
def data_get(name: Annotated[str, typer.Argument(help="A set, as the table names it.")]):
    """Fetch a set whose owner gives it by a plain link; for any other, say how to get it.

    A download that broke off goes on where it stopped. Exit code 0 means that the set is here.
    """
    from cvdl.flow.data.fetch import fetch
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
    out: Annotated[Path, typer.Argument(help="Picture to write: .png, .pdf or .svg.", callback=writable)],
    count: Annotated[int, typer.Option(min=1, max=64, help="Number of pairs.")] = 16,
    first: Annotated[int, typer.Option(min=0, help="Number of the first pair.")] = 0,
    split: Annotated[str, typer.Option(help="train or test.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other pairs.")] = 0,
):
    """Draw rendered pairs with their flow, frame 2 brought back by it, and what is occluded."""
    import matplotlib

    matplotlib.use("Agg")
    from cvdl.flow.data.gallery import gallery

    if out.suffix not in (".png", ".pdf", ".svg"):
        raise CourseError(f"{out} has to end in .png, .pdf or .svg.")
    figure, text = gallery(kind, count, first, split=split, seed=seed)
    figure.savefig(out, dpi=110)
    typer.echo(text)


@app.command()
def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="Recipe to train, or all; without it, all recipes are listed.")] = "",
    profile: Annotated[
        str | None,
        typer.Option(help="Size of the recipe: quick, laptop or gpu. [default: CVDL_PROFILE, or by the machine]"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Override a hyper-parameter, such as lr=3e-4; of one stage, joint.batch=4. May be repeated.",
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Train only this stage; the ones before it must be finished.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; of all runs, for all.", show_default="runs/RECIPE-PROFILE", callback=folder
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder, or begin it.")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this time, rendering included; --resume continues.")
    ] = None,
    scale: Annotated[float, typer.Option(min=1e-6, help="Factor on the steps of every stage and its schedule.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial weights and the samples.")] = 0,
    device: Device = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes, or GPUs, among which batches are divided.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Computers; run the same command on each, under torchrun.")] = 1,
    precision: Annotated[
        str | None, typer.Option(help="32-true, bf16-mixed or 16-mixed. [default: what suits the device]")
    ] = None,
    pool: Annotated[
        Path | None, typer.Option(help="Folder for rendered pairs.", show_default="runs/pools", callback=folder)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="For all: show what would be done.")] = False,
    nice: Annotated[bool, typer.Option("--nice", help="For all: run at the lowest priority.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="For all: recipes at the same time. [default: 1 on a CPU, 6 on a GPU]")
    ] = None,
):
    """Train a network: RECIPE's stages, one after the other; or all recipes, in order of worth.

    Writes a log, checkpoints, weights and a card for each stage. Pairs for optical flow are rendered first, into
    --pool: 2,000 for the profile laptop, which takes 12 minutes or more on two cores. An interrupted run (Ctrl-C will
    do) continues with --resume: on a CPU with exactly the same results, on CUDA with the same up to rounding.
    """
    from cvdl.bench import choose
    from cvdl.settings import PROFILES
    from cvdl.settings import profile as current
    from cvdl.train.recipes import GESTURES, find, listing

    if not recipe:
        if any(context.get_parameter_source(name).name == "COMMANDLINE" for name in context.params):
            raise CourseError(
                "Name the recipe that these options are for: cvdl train RECIPE …; `cvdl train` lists all."
            )
        typer.echo(listing())
        return
    profile, overrides = profile or current(), tuple(set_ or ())
    if profile not in PROFILES:
        raise CourseError(f"There is no profile {profile!r}; there are {', '.join(PROFILES)}.")
    pool, device = pool or Path("runs/pools"), choose(device)
    if recipe == "all":
        if overrides or stage or nodes > 1 or devices > 1:
            raise CourseError("--set, --stage, --devices and --nodes are for one recipe; leave them out, or name it.")
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
    typer.echo(f"{out}: {'finished' if done else 'the time is up; the same command with --resume continues'}", err=True)
    if done:
        last = out / find(recipe).stages_of(profile)[-1].name / "weights.safetensors"
        typer.echo(f"The trained weights are in {last}.", err=True)
        what = "" if recipe in GESTURES else " --pairs chairs --pairs things"
        typer.echo(f"Measure it: cvdl eval {last}{what}\nShip it: cvdl zoo add {out} NAME", err=True)


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
    typer.echo(f"{out}: {'all finished' if done else 'the time is up; the same command continues'}", err=True)


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
            help="A name out of `cvdl zoo`, a .safetensors file that `cvdl train` wrote, or a published SPyNet or "
            "FlowNet: network-*.pytorch, flownet*.pth, FlowNet2*.pth.tar of their common PyTorch ports. Several are measured "
            "side by side.",
        ),
    ],
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            help="What to measure on, may be repeated: chairs or things (held-out pairs of our own), real (the samples below "
            "CVDL_REAL), a set as `cvdl data` names it, a folder of image pairs, a video.",
            show_default="chairs",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many pairs of each; 16 rendered ones, or 110 clips, if not given."),
    ] = None,
    compare: Annotated[bool, typer.Option(help="Zero flow, and OpenCV's Farneback and DIS, besides.")] = True,
    paired: Annotated[
        bool,
        typer.Option(
            "--paired", help="Compare networks, or one with the others, on the same pairs: difference and wins."
        ),
    ] = False,
    json: Numbers = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder to draw every pair and its flows into.", callback=folder)
    ] = None,
    device: Device = None,
):
    """Measure a network: end-point error, angular error, Fl-all and speed bands, for each pair and on average.

    A pair that cannot be read or measured is reported and left out; exit code 0 means that no pair was left out.
    A network for gestures is measured on --limit rendered clips, on streams of them, and on the real clips below CVDL_REAL.
    """
    from cvdl.bench import choose, machine
    from cvdl.flow import evaluate as measures
    from cvdl.train import zoo

    networks = {name: zoo.load(name) for name in nets}
    gestures = [name for name, net in networks.items() if type(net).__name__ in zoo.GESTURE_NETS]
    if gestures:
        if len(nets) > 1:
            raise CourseError(f"{gestures[0]} recognises gestures: measure it alone.")
        return evaluate_gestures(networks[nets[0]], nets[0], pairs or save or device or paired, limit, json)
    device = choose(device)
    methods = measures.classical() if compare else {}
    if compare and len(methods) == 1:
        typer.echo('Farneback and DIS are left out: OpenCV comes with pip install -e ".[compare]"', err=True)
    stems = [Path(name).stem if Path(name).suffix else name for name in networks]
    for name, stem in zip(networks, stems, strict=True):
        methods |= measures.networks(stem if stems.count(stem) == 1 else name, networks[name], device)
    if paired and len(methods) < 2:
        raise CourseError("--paired compares two methods or more: name another network, or leave out --no-compare.")
    look = measures.drawer(save) if save else None
    left_out = []
    rows = measures.evaluate(methods, measures.samples_of(pairs or ["chairs"], limit), look, left_out)
    typer.echo(f"{measures.table(rows)}\n\n{measures.legend(rows)}")
    if save:
        typer.echo(f"Drawn into {save}: one image per pair.")
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
        list[Path], typer.Argument(metavar="INPUT...", help="Two images; or one folder of images, or one video.")
    ],
    out: Annotated[
        list[Path] | None,
        typer.Option(
            help="What to write, may be repeated. A file: .flo or .pfm, the flow itself; .png, .jpg, .webp, the flow in "
            "colours; .mp4, .gif, a clip with the flow drawn over it. A folder: a file for each pair."
        ),
    ] = None,
    network: Annotated[
        str, typer.Option(help="A name out of `cvdl zoo`, or a file of weights, as for `cvdl eval`.")
    ] = "spynet",
    format: Annotated[
        str | None,
        typer.Option(
            help="flo, pfm, kitti (.png with 16 bits) or image: what is written into a folder, and what a .png is.",
            show_default="flo in a folder, image for a .png",
        ),
    ] = None,
    device: Device = None,
):
    """Compute the optical flow of two images, of a folder of images or of a video, and write it.

    A pair that cannot be read is reported and left out; exit code 0 means that no pair was left out.
    """
    from cvdl.bench import choose
    from cvdl.flow.estimate import run

    written, left_out = run(inputs, out or [], network, choose(device), format)
    for line in written:
        typer.echo(line)
    end_with(left_out)


zoo = typer.Typer(help="Shipped weights: what there is, and what it was measured to do.")
app.add_typer(zoo, name="zoo")


@zoo.callback(invoke_without_command=True)
def zoo_table(context: typer.Context):
    """Shipped weights: what there is, and what it was measured to do. Without a command: a table."""
    if not context.invoked_subcommand:
        from cvdl.train.zoo import table

        typer.echo(table())


@zoo.command("show")
def zoo_show(name: Annotated[str, typer.Argument(help="Weights, as the table names them.")]):
    """Print the card of shipped weights, with all its stages and numbers."""
    import json

    from cvdl.train.zoo import card

    typer.echo(json.dumps(card(name), indent=1, ensure_ascii=False))


@zoo.command("add")
def zoo_add(
    run: Annotated[Path, typer.Argument(help="Folder of a run, as `cvdl train` wrote it.")],
    name: Annotated[str, typer.Argument(help="Name to ship it under.")],
    card_only: Annotated[bool, typer.Option("--card-only", help="Logs and card without the weights.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Ship a quick, shortened or unfinished run all the same.")
    ] = False,
):
    """Ship a run: measure its last weights, and copy weights, logs and card into data/.

    It is measured on held-out rendered pairs, and on the real samples where they are. Of real pairs, numbers are kept and no
    pictures.
    """
    from cvdl.train.zoo import add, row

    for path in add(run, name, card_only=card_only, force=force):
        typer.echo(path)
    if not card_only:
        typer.echo("\nIts row for data/README.md is below. Write data/runs/QUEUE.md again: python -m cvdl.train.queue")
        typer.echo(row(name))


@app.command()
def grade(
    submissions: Annotated[
        Path | None,
        typer.Argument(
            help="Folder, zip or file of hand-ins, as Moodle, Canvas or nbgrader give them out: STUDENT/….ipynb will do."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; an interrupted run goes on there.", callback=folder)
    ] = None,
    notebook: Annotated[str, typer.Option(help="Grade this notebook alone: 01; all, if not given.")] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Hand-ins judged at a time; as many as processors, if not given.")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(help="Text that the cases are drawn from; a fresh secret, kept in OUT/seed, if not given."),
    ] = None,
    due: Annotated[
        str | None,
        typer.Option(
            help="When it was due: 2026-01-31T23:59, or the day alone for its end; with +01:00 for another zone than this "
            "machine's."
        ),
    ] = None,
    jail: Annotated[str, typer.Option(help="auto, bubblewrap, podman or docker.")] = "auto",
    students: Annotated[
        Path | None,
        typer.Option(
            help="File with one name a line, as in the names of the hand-ins, to show who is missing.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    format: Annotated[
        list[str] | None, typer.Option(help="moodle or canvas: also a table of marks to upload there; may be repeated.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Look for answers that are alike, in the class and in the OUT folder of an earlier one; OUT itself for the "
            "class alone. May be repeated."
        ),
    ] = None,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Grade nothing, but attack the jail of this machine, and print what held."),
    ] = False,
):
    """Grade hand-ins: their exercises are cut out and called in a jail, and judged outside of it.

    Students' code never runs but in the jail, without a network; where no jail works, nothing is graded. Results are
    written below OUT, one for each hand-in. Exit code 0 means that every hand-in was judged.
    """
    from cvdl.course.run import grade_all
    from cvdl.course.run import self_test as attack

    if self_test:
        raise typer.Exit(not attack(jail))
    if not (submissions and out):
        raise CourseError("Say what to grade, and where to write: cvdl grade SUBMISSIONS --out DIR")

    try:
        told, complete = grade_all(
            submissions, out, notebook, workers, seed, due, jail, students, format or (), against or ()
        )
    except KeyboardInterrupt:  # it has said how to continue
        raise typer.Exit(STOPPED) from None
    typer.echo(told)
    raise typer.Exit(not complete)


if __name__ == "__main__":
    from cvdl.__main__ import main as run

    run()
