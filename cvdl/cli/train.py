"""`cvdl train`."""

from pathlib import Path
from typing import Annotated

import typer

from cvdl.cli.base import STOPPED, Device, app, folder
from cvdl.errors import CourseError


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
    from cvdl.cli.bench import choose
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
