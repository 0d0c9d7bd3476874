"""The course as students get it: `python -m cvdl.course.authoring.release DEST`, or `make release DEST=…`.

The last commit is exported by `git archive`, which leaves out what .gitattributes marks with export-ignore. A second
release to the same folder is an update: it writes and deletes only what the course has now or had then, and never
touches work/ or .git.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from contextlib import suppress
from typing import Annotated

import typer

from cvdl.course.authoring.build import check_built
from cvdl.course.authoring.leaks import answer_lines
from cvdl.course.authoring.source import read_master
from cvdl.errors import CourseError
from cvdl.files import expanded, replacing
from cvdl.settings import ROOT

MARK = ".git_archival.txt"  # git archive writes the commit into it


def release(dest, root=ROOT):
    """Write the students' version of the course in `root` to the folder `dest` -> (files written, files deleted).

    Raises CourseError, before anything is written, if the course is not fit to be released or if something in `dest`
    would be lost.
    """
    masters = [read_master(p) for p in sorted((root / "solutions").glob("[0-9][0-9]_*.py"))]
    if not masters:
        raise CourseError(f"There are no masters in {root / 'solutions'}: this is the students' version already.")
    dest = expanded(dest).resolve()
    old, new = earlier(dest, root), exported("HEAD", root)
    staged = exported(git(root, "write-tree").decode().strip(), root)
    changed = git(root, "diff", "--name-only", "--relative", "-z", "HEAD").decode().split("\0")
    if changed := [n for n in changed if n in new or n in staged]:
        raise CourseError(f"Not released: commit, or put aside with `git stash`, the changes in {', '.join(changed)}.")
    if problems := check_built(masters, root / "solutions")[0] + leaked(new, masters):
        raise CourseError("Not released:\n" + "\n".join(problems))
    if lost := [n for n in sorted(old | new) if would_lose(dest / n, (old.get(n), new.get(n)))]:
        raise CourseError(
            f"Not released: in {dest} these files are not as the last release left them: {', '.join(lost)}. "
            "Move them away, and release again."
        )
    deleted = [n for n in old if n not in new and (dest / n).exists()]
    for name in deleted:
        (dest / name).unlink()
        with suppress(OSError):  # the folder is not empty
            os.removedirs((dest / name).parent)
    # So that an interrupted release can be repeated, the mark is written first in a new folder, and last in an update.
    written = [n for n in new if not (dest / n).exists() or (dest / n).read_bytes() != new[n]]
    for name in sorted(written, key=lambda n: (n == MARK) == bool(old)):
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(dest / name) as part:
            part.write_bytes(new[name])
            shutil.copymode(root / name, part)
    return written, deleted


def git(root, *arguments):
    """What a git command prints, as bytes."""
    try:
        return subprocess.run(["git", "-C", root, *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise CourseError(
            f"A release is made from the commits of the course, but `git {' '.join(arguments)}` failed in {root}: "
            f"{getattr(error, 'stderr', b'').decode(errors='replace').strip() or error}. "
            "Install git, and release from a complete clone of the course."
        ) from None


def exported(commit, root):
    """What students get of a commit: {name: content}."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", commit))) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def leaked(files, masters):
    """Lines of answers in files {name: content}, except in cvdl/, whose checks must know what is right."""
    lines = {line for m in masters for line in answer_lines(m)}
    secrets = sorted(lines | {line.replace('"', '\\"') for line in lines})  # the latter in a notebook
    searched = [name for name in files if not name.startswith("cvdl/")]
    return [f"{n} shows a line of an answer: {s!r}" for n in searched for s in secrets if s.encode() in files[n]]


def earlier(dest, root):
    """What the last release wrote to `dest`: {} for a new folder.  Raises CourseError for anything but a release."""
    if dest == root or root in dest.parents or dest in root.parents:
        raise CourseError(f"{dest} is not apart from the course in {root}: choose a folder outside it.")
    if dest.exists() and not dest.is_dir():
        raise CourseError(f"{dest} is a file, but DEST must be a folder: choose another.")
    with suppress(FileNotFoundError):
        if commit := re.match(b"node: ([0-9a-f]{40,})", (dest / MARK).read_bytes()):  # none in a clone of the course
            return exported(commit[1].decode(), root)
    if dest.exists() and (others := sorted(p.name for p in dest.iterdir() if p.name != ".git")):
        raise CourseError(
            f"{dest} contains {', '.join(others[:3])}{' …' if len(others) > 3 else ''} and is not an earlier release: "
            "choose a new folder, an empty one, or an earlier release."
        )
    return {}


def would_lose(path, known):
    """Whether writing or deleting this file would lose something: there is anything else than the `known` contents."""
    if path.is_file():
        return path.read_bytes() not in known
    return path.exists() or any(p.is_file() for p in path.parents)  # a file where a folder is needed


def main(dest: Annotated[str, typer.Argument(help="Folder to write to: new, empty, or an earlier release.")] = ""):
    """Write the course as students get it, without answers."""
    try:
        if not dest.strip():
            raise CourseError("Choose a folder for the students' version: make release DEST=../for-students")
        written, deleted = release(dest)
    except (CourseError, OSError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    print(f"{dest}: {len(written)} files written, {len(deleted)} deleted. work/ was left alone.")


if __name__ == "__main__":
    typer.run(main)
