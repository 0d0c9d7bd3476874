"""The students' notebooks as they run on Colab, as far as that can be tried elsewhere: `python -m tests.notebooks.colab`.

In an environment with nothing but what Colab has and the course needs, in Colab's versions, and a folder with nothing
but the notebooks. Each fetches the course by its first cell, from a git repository of what is committed here.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import nbformat
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cvdl.course.authoring import source
from cvdl.errors import CourseError
from cvdl.settings import ROOT

KNOWN = Path(__file__).with_name("colab-freeze.txt")
KERNEL = ("ipykernel", "ipython")
OWN = ("PYTHONPATH", "PIP_CONSTRAINT", "CVDL_DATA", "CVDL_SEED")  # of this machine, not for Colab


def versions(freeze):
    """Text of `pip freeze` -> {name: version}, without +cu128 and the like, and without what has no version."""
    found = {}
    for line in freeze.splitlines():
        name, _, rest = line.partition("==") if "==" in line else line.partition(" @ ")
        # torch @ https://download.pytorch.org/whl/cu118/torch-2.1.0%2Bcu118-cp310-cp310-linux_x86_64.whl
        match = re.match(r"[\d.]+\w*", rest) or re.search(r"/[\w.]+-(\d[\w.]*)[^/]*\.whl", unquote(rest))
        if match and not line.startswith("#"):
            found[canonicalize_name(name.strip())] = match[match.lastindex or 0]
    return found


def unfit(requirements, found):
    """What the course needs and Colab does not have, one line each."""
    needed = {canonicalize_name(r.name): r for r in map(Requirement, requirements)}
    return [
        f"The course needs {r}, and Colab has {found.get(name, 'none')}."
        for name, r in needed.items()
        if name not in found or not r.specifier.contains(found[name], prereleases=True)
    ]


def for_pip(freeze):
    """Text of `pip freeze` -> (constraints: all of Colab's versions, names of what the course and a kernel need).

    Raises CourseError where Colab lacks one of these, or has it in a version that the course does not allow.
    """
    found = versions(freeze)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["notebook"]]
    if problems := unfit([*needed, *KERNEL], found):
        raise CourseError("\n".join(problems))
    return "".join(f"{n}=={v}\n" for n, v in found.items()), [*(Requirement(r).name for r in needed), *KERNEL]


def surroundings(**more):
    """This process's environment variables, less those that are not for Colab."""
    return {k: v for k, v in os.environ.items() if k not in OWN} | more


def call(*command):
    """Run a command -> what it printed.  Raises CourseError where it fails."""
    command = list(map(str, command))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=surroundings())
    if done.returncode:
        raise CourseError(f"{' '.join(command[:6])} … failed:\n{done.stdout[-3000:]}")
    return done.stdout


def environment(folder, python, freeze):
    """Make a virtual environment as on Colab in `folder`, or take the one that is there -> its Python."""
    constraints, names = for_pip(freeze)
    pins, own = folder / "pins.txt", folder / "bin/python"
    if not pins.exists() or pins.read_text(encoding="utf-8") != constraints:
        call(python, "-m", "venv", "--clear", folder)
        wanted = folder.with_name("pins.txt")
        wanted.write_text(constraints, encoding="utf-8")
        call(own, "-m", "pip", "install", "--quiet", "--constraint", wanted, *names)
        # by its full path: the kernel that pip brings is started with whatever Python asks for it
        call(own, "-m", "ipykernel", "install", "--prefix", folder)
        wanted.replace(pins)  # last, so that half an environment is never taken for a whole one
    call(own, "-m", "pip", "uninstall", "--quiet", "--yes", "cvdl")
    return own


def publish(folder, tag, root=ROOT):
    """A bare git repository of what is committed in `root`."""
    call("git", "clone", "--quiet", "--bare", "--depth", 1, root.as_uri(), folder)
    call("git", "-C", folder, "update-ref", f"refs/heads/{tag}", "HEAD")


def copy_notebook(path, folder, course):
    """The student's notebook with the first cell that it would have if the course lay at that address."""
    nb = nbformat.read(path, 4)
    (first,) = (c for c in nb.cells if "bootstrap" in c.metadata.get("tags", ()))
    first.source = source.bootstrap(course)
    nbformat.write(nb, folder / path.name)


def try_without_network(python, content, cell, env):
    """Before the repository is there the first cell has to say what to do."""
    command = [python, "-m", "IPython", "-c", cell]
    done = subprocess.run(command, cwd=content, env=env, capture_output=True, text=True)
    if "Is the network there? Run this cell again" not in done.stdout or "No module named 'cvdl'" not in done.stdout:
        raise CourseError(f"Without network the first cell does not say what to do:\n{done.stdout}{done.stderr}")


def main(
    notebooks: Annotated[list[Path] | None, typer.Argument(help="Students' notebooks; all, if none.")] = None,
    freeze: Annotated[Path, typer.Option(help="Colab's pip-freeze.txt.")] = KNOWN,
    python: Annotated[str, typer.Option(help="Of Colab's version, if there is one.")] = sys.executable,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = ROOT / "build" / "colab",
):
    """Run the students' notebooks as on Colab, one after the other, in the profile quick."""
    out = out.resolve()
    content, bare, results = out / "content", out / "course.git", out / "results"
    for folder in (content, bare, results):
        shutil.rmtree(folder, ignore_errors=True)
    content.mkdir(parents=True)
    try:
        own = environment(out / "env", python, freeze.read_text(encoding="utf-8"))
        env = surroundings(PATH=f"{own.parent}{os.pathsep}{os.environ['PATH']}", CVDL_TRY_SLIDERS="1")
        env["JUPYTER_PATH"] = str(own.parents[1] / "share/jupyter")
        packages = call(own, "-m", "pip", "freeze", "--all")
        course = {"repository": bare.as_uri(), "tag": "course"}
        try_without_network(own, content, source.bootstrap(course), env)
        publish(bare, course["tag"])
        for path in notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
            copy_notebook(path, content, course)
        command = [sys.executable, "-m", "tests.notebooks.measure", "run", "quick", *sorted(content.glob("*.ipynb"))]
        command += ["--out", results, "--kernel", "python3"]
        code = subprocess.run(command, cwd=ROOT, env=env).returncode
        after = call(own, "-m", "pip", "freeze", "--all", "--exclude", "cvdl")
        if after != packages:
            raise CourseError(f"The first cell has changed more than it should:\n{packages}\n->\n{after}")
    except (CourseError, OSError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
