"""The course as students get it: `python -m cvdl.course.authoring.release DEST`, or `make release DEST=…`.

What git tracks is copied, less the answers. A second release onto the same folder is an update: it writes and
deletes only what an earlier release brought there, and never touches work/ or .git.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import nbformat
import typer

from cvdl.course.authoring.build import check_built
from cvdl.course.authoring.leaks import answer_lines, leaks
from cvdl.course.authoring.source import read_master
from cvdl.course.workspace.lab import digest
from cvdl.errors import CourseError
from cvdl.settings import ROOT

TEACHERS = (
    "solutions/",
    "tests/answers/",
    "cvdl/course/grading/attacks/",
    "tests/honest/",
    "tests/unforeseen/",
    "data/unfinished/",
)
STUDENTS = ("work/", ".git/")  # theirs alone, in the released tree
RECORD = ".release.json"  # in DEST: {file: sha256 of what was written}
PART = ".release.part"


def release(dest, root=ROOT):
    """Write the students' tree of the course in `root` to the folder `dest` -> (files written, files deleted).

    Raises CourseError, before anything is written, where the course is not fit to be released or `dest` holds
    something that would be lost.
    """
    dest = Path(dest).expanduser().resolve()
    old = read_record(dest, root)
    masters = [read_master(p) for p in sorted((root / "solutions").glob("[0-9][0-9]_*.py"))]
    if not masters:
        raise CourseError(f"There are no masters in {root / 'solutions'}: this is a students' tree already.")
    new = {name: root / name for name in files(root)}
    for path in [*root.glob("solutions/*.ipynb"), *(p for n, p in new.items() if n.endswith(".ipynb"))]:
        readable(path)
    if problems := check_built(masters, root / "solutions")[0] + leaked(new, masters):
        raise CourseError("Not released:\n" + "\n".join(problems))
    digests = {name: digest(path) for name, path in new.items()}
    if lost := [n for n in digests | old if not expendable(dest, n, {digests.get(n), old.get(n)})]:
        raise CourseError(
            f"Not released: in {dest} these files are not as the last release left them: {', '.join(sorted(lost))}. "
            "Move them away, and release again."
        )
    dest.mkdir(parents=True, exist_ok=True)
    if not old:
        write_record(dest, {})  # whatever happens from here on, the folder is known as a release
    written = [n for n in digests if not (dest / n).exists() or digest(dest / n) != digests[n]]
    for name in written:
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(new[name], dest / PART)  # whole or not at all
        (dest / PART).replace(dest / name)
    deleted = [n for n in old if n not in digests and (dest / n).exists()]
    for name in deleted:
        (dest / name).unlink()
        remove_empty((dest / name).parent, dest)
    write_record(dest, digests)
    return written, deleted


def files(root):
    """Names of the files that students get: those that git tracks and that are there, less the teachers'."""
    git = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        listed = subprocess.run(git, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or error
        raise CourseError(f"A release is what git tracks, and git does not list it in {root}: {why}") from None
    names = [n for n in listed.split("\0") if n and not n.startswith(TEACHERS + STUDENTS)]
    return [n for n in names if (root / n).is_file()]


def readable(path):
    try:
        nbformat.read(path, 4)
    except Exception as error:  # nbformat's are of many kinds
        raise CourseError(f"Not released: {path} is no notebook ({str(error)[:80]}). Run `make build`.") from None


def leaked(paths, masters):
    """Lines of answers in the files {name: path}, told one a line.

    cvdl/ is not searched: its checks and functions have to know what is right.
    """
    secrets = [s for m in masters for s in answer_lines(m)]
    found = []
    for name, path in paths.items():
        if name.startswith("cvdl/"):
            continue
        raw = path.read_bytes()
        lines = leaks(path, secrets) if path.suffix == ".ipynb" else [s for s in secrets if s.encode() in raw]
        found += [f"{name} shows a line of an answer: {s!r}" for s in lines]
    return found


def expendable(dest, name, known):
    """May this file be written or deleted?  Yes if it is missing, or one of the `known` digests."""
    path = dest / name
    if not path.exists():
        return not any(p.is_file() for p in path.parents if p != dest)  # a file where a folder has to be
    return path.is_file() and digest(path) in known


def read_record(dest, root):
    """What the last release wrote to `dest`: {} for a new folder.  Raises CourseError where it is no release."""
    if dest == root or root in dest.parents or dest in root.parents:
        raise CourseError(f"{dest} is not apart from the course in {root}: choose a folder outside of it.")
    if not dest.exists():
        return {}
    if not dest.is_dir():
        raise CourseError(f"{dest} is a file, and DEST has to be a folder: name another.")
    if (dest / RECORD).exists():
        try:
            return dict(json.loads((dest / RECORD).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise CourseError(
                f"{dest / RECORD} cannot be read, so it is not known what in there is whose. Release to a new folder."
            ) from None
    if others := sorted(p.name for p in dest.iterdir() if p.name != ".git"):
        raise CourseError(
            f"{dest} holds {', '.join(others[:3])}{' …' if len(others) > 3 else ''} and is no earlier release: "
            "name a new folder, an empty one, or an earlier release."
        )
    return {}


def write_record(dest, digests):
    (dest / PART).write_text(json.dumps(digests, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    (dest / PART).replace(dest / RECORD)


def remove_empty(folder, top):
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def main(dest: Annotated[str, typer.Argument(help="Folder to write to: new, empty, or an earlier release.")] = ""):
    """Write the course as students get it, without answers."""
    try:
        if not dest.strip():
            raise CourseError("Say where to write the students' tree: make release DEST=../course-for-students")
        written, deleted = release(dest)
    except (CourseError, OSError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{dest}: {len(written)} files written, {len(deleted)} deleted. work/ was left alone.")


if __name__ == "__main__":
    typer.run(main)
