"""`cvdl eval` and `cvdl flow`."""

from pathlib import Path
from typing import Annotated

import typer

from cvdl.cli.base import Device, Numbers, app, end_with
from cvdl.errors import CourseError


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
    from cvdl.cli.bench import choose, machine
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

    from cvdl.cli.bench import machine
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
    from cvdl.cli.bench import choose
    from cvdl.flow.estimate import run

    written, left_out = run(inputs, out or [], network, choose(device), format)
    for line in written:
        typer.echo(line)
    end_with(left_out)
