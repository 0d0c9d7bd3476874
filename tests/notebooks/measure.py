"""Time and memory of the notebooks: measured one after the other, and reported in README.md.

    python -m tests.notebooks.measure run gpu                  (make test-gpu)
    python -m tests.notebooks.measure readme build/gpu/measured.json

`run` writes the executed notebooks, measured.json and table.md to a folder; `readme` adds measured.json to times.json
and writes README's table anew.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from cvdl.errors import CourseError
from cvdl.settings import PROFILES, ROOT

TIMES = Path(__file__).with_name("times.json")
T4 = 16  # GB, of the card that Colab lends
MARKED = re.compile(r"(?<=<!-- times -->\n).*?(?=<!-- end of times -->)", re.S)

app = typer.Typer(help="Measure the notebooks, and tell the results.", no_args_is_help=True, add_completion=False)


@app.command()
def run(
    profile: Annotated[str, typer.Argument(help="quick, laptop or gpu")],
    notebooks: Annotated[list[Path] | None, typer.Argument(help="Notebooks or folders; all, if none.")] = None,
    device: Annotated[str, typer.Option(help="cpu, to try the profile gpu without one.")] = "cuda",
    out: Annotated[Path | None, typer.Option(help="Folder to write to; build/PROFILE, if not given.")] = None,
    kernel: Annotated[str, typer.Option(help="One that Jupyter knows; this environment's, if not given.")] = "",
):
    """Execute notebooks under nbval, one after the other, and write what they took.

    Exit code 0 means that all of them ran without an error. What they took never fails the run.
    """
    if profile not in PROFILES:
        raise fail(f"{profile!r} is no profile; there are {', '.join(PROFILES)}.")
    if device == "cpu" or profile != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not gpu():
        raise fail("There is no CUDA GPU here. Run this on a machine with one; `--device cpu` tries it without.")
    if missing := [str(n) for n in notebooks or () if not n.exists()]:
        raise fail(f"There is no {', '.join(missing)}.")
    os.environ |= {"CVDL_PROFILE": profile, "CVDL_REAL": ""}
    out = (out or ROOT / "build" / profile).resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = [str(n.resolve()) for n in notebooks or [the_folder()]]
    root = os.path.commonpath([ROOT, *chosen])
    command = ["-p", "tests.notebooks.plugin", "-p", "no:cacheprovider", f"--rootdir={root}", *chosen]
    command += ["--nbval-lax", f"--nbval-kernel-name={kernel}" if kernel else "--nbval-current-env"]
    command += ["-q"]
    command += ["-o", f"notebook_record={out / 'measured.json'}", "-o", f"notebook_save={out}"]
    (out / "measured.json").unlink(missing_ok=True)
    code = pytest.main(command)
    if (out / "measured.json").exists():
        text = table(json.loads((out / "measured.json").read_text(encoding="utf-8")))
        (out / "table.md").write_text(text, encoding="utf-8")
        print(text)
    raise typer.Exit(int(code))


def gpu():
    import torch

    return torch.cuda.is_available()


def the_folder():
    """With the answers, if there are any: a student's fresh notebook computes with the library alone."""
    return next(ROOT / f for f in ("solutions", "notebooks") if list((ROOT / f).glob("*.ipynb")))


def fail(text):
    print(text, file=sys.stderr)
    return typer.Exit(1)


def table(measured):
    """What one run measured, as Markdown."""
    if not measured:
        return "Nothing was measured.\n"
    first = measured[0]
    lines = [f"Profile `{first['profile']}`, {first['date']}, {first['machine']}.", ""]
    lines += [
        f"| notebook | time | CPU time | memory | GPU memory | of a T4's {T4} GB | |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in measured:
        card = f"{m['gpu_gb']:.1f} GB | {100 * m['gpu_gb'] / T4:.0f} %" if m["gpu_gb"] else "– | –"
        state = "passed" if m["passed"] else "**failed**"
        time = f"{duration(m['seconds'])} | {duration(m['cpu'])}"
        lines.append(f"| {m['notebook']} | {time} | {m['gb']:.1f} GB | {card} | {state} |")
    return "\n".join(lines) + "\n"


def duration(seconds):
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@app.command()
def readme(
    measured: Annotated[list[Path] | None, typer.Argument(help="measured.json of runs, to be added.")] = None,
):
    """Write README's table of times anew."""
    try:
        times = json.loads(TIMES.read_text(encoding="utf-8"))
        for path in measured or ():
            times = merged(times, json.loads(path.read_text(encoding="utf-8")))
        path = ROOT / "README.md"
        text = rewritten(path.read_text(encoding="utf-8"), times)
    except (OSError, ValueError, KeyError) as error:
        raise fail(f"README.md was left as it is: {error!r}") from None
    TIMES.write_text(json.dumps(times, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.write_text(text, encoding="utf-8")


def merged(times, new):
    """The newer number of each notebook and profile; of runs that passed only."""
    both = {(m["notebook"], m["profile"]): m for m in [*times, *(m for m in new if m["passed"])]}
    return [both[key] for key in sorted(both)]


def rewritten(text, times):
    """README's text with its numbers from `times`; number, title and "your time" are kept as they stand."""
    found = MARKED.search(text)
    if not found:
        raise CourseError("README.md lacks the marks <!-- times --> and <!-- end of times -->.")
    rows = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \|", found[0], re.M)
    known = {(int(m["notebook"][:2]), m["profile"]): m for m in times}
    lines = ["", f"| | notebook | your time | {' | '.join(f'`{p}`' for p in PROFILES)} |", "|---" * 6 + "|"]
    for number, *words in rows:
        cells = [cell(known.get((int(number), p))) for p in PROFILES]
        lines.append(f"| {' | '.join([number, *words, *cells])} |")
    return MARKED.sub(lambda _: "\n".join([*lines, "", sources(times), "", ""]), text)


def cell(m):
    if m is None:
        return "–"
    parts = [duration(m["seconds"]), m["gb"] and f"{m['gb']:.1f} GB", m["gpu_gb"] and f"GPU {m['gpu_gb']:.1f} GB"]
    return ", ".join(p for p in parts if p)


def sources(times):
    """Where and when: a line for each profile and run."""
    runs = {}
    for m in times:
        run = (PROFILES.index(m["profile"]), m["date"], m["machine"])
        runs.setdefault(run, []).append(str(int(m["notebook"][:2])))
    said = [f"`{PROFILES[p]}` on {machine}, {date} ({', '.join(n)})" for (p, date, machine), n in sorted(runs.items())]
    return "\n".join(["Measured:", *(f"- {s}" for s in said)])


if __name__ == "__main__":
    app()
