"""Students get the course without answers, and an update of it never costs them anything."""

import json
import subprocess
from unittest.mock import Mock

import nbformat
import pytest
import typer
from typer.testing import CliRunner

from cvdl.course.authoring import release
from cvdl.course.authoring.build import check_built
from cvdl.course.authoring.source import read_master
from cvdl.course.workspace import lab
from cvdl.settings import ROOT
from tests.course.authoring import test_build

ANSWER = 'return image / highest["possible value"]'
MASTER = test_build.MASTER.replace("return image / highest_possible_value", ANSWER)
STUDENT = "notebooks/00_toy.ipynb"
KEPT_BACK = ("solutions/", "tests/answers/", "tests/honest/", "tests/unforeseen/", "data/unfinished/", "work/")
KEPT_BACK += ("cvdl/course/grading/attacks/",)


def notebook(text):
    return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="a")]))


def write(folder, /, **files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


def commit(folder, **files):
    write(folder, **files)
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a", "--allow-empty")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one notebook, in git, with some files that git does not know."""
    files = {
        "solutions/00_toy.py": MASTER,
        "solutions/00_toy.ipynb": notebook(ANSWER),
        STUDENT: notebook("one"),
        "cvdl/core.py": ANSWER,  # the library may know what is right
        "data/old/a.bin": "bytes",
        "tests/test_a.py": "a",
        "README.md": "words",
        ".gitignore": "work/\nuntracked.txt\n",
        **{folder + "deep/a.txt": ANSWER for folder in KEPT_BACK},
        ".gitattributes": (ROOT / ".gitattributes").read_text(encoding="utf-8"),
        release.MARK: "node: $Format:%H$\n",
    }
    root = tmp_path / "course"
    root.mkdir()
    git(root, "init", "-q")
    commit(root, **files)
    write(root, **{"work/00_toy.ipynb": "the teacher's own", "untracked.txt": ANSWER})
    # a notebook is executed when it is built, and that is tested in test_build.py
    monkeypatch.setattr(release, "check_built", lambda masters, folder: ([], []))
    return root


@pytest.fixture
def run(course, monkeypatch):
    """release(DEST) as the command: -> (exit code, output)"""
    monkeypatch.setattr(release.release, "__defaults__", (course,))
    app = typer.Typer()
    app.command()(release.main)

    def run(out):
        result = CliRunner().invoke(app, [str(out)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8", errors="replace")
        for p in folder.rglob("*")
        if p.is_file()
    }


RELEASED = {STUDENT, "tests/test_a.py", "cvdl/core.py", "data/old/a.bin", "README.md", ".gitignore"}
RELEASED |= {".gitattributes", release.MARK}


def test_what_students_get(course, run, out):
    (course / "tests/test_a.py").chmod(0o755)
    commit(course)
    code, output = run(out)
    assert code == 0 and "8 files written, 0 deleted" in output
    assert tree(out).keys() == RELEASED and not any((out / folder).exists() for folder in KEPT_BACK)
    assert (out / "tests/test_a.py").stat().st_mode & 0o100 and not (out / "README.md").stat().st_mode & 0o100


def test_a_second_release_writes_what_changed_and_deletes_what_is_gone(course, run, out):
    run(out)
    theirs = {"theirs.txt", "data/theirs.txt", "work/a.txt", "work/deep/a.txt"}
    write(out, **dict.fromkeys(theirs, "x"))
    assert "0 files written, 0 deleted" in run(out)[1]
    (course / "data/old/a.bin").unlink()
    commit(course, **{"README.md": "other words", "new.txt": "new"})
    code, output = run(out)
    assert code == 0 and "3 files written, 1 deleted" in output  # with the mark
    assert tree(out).keys() == RELEASED - {"data/old/a.bin"} | {"new.txt"} | theirs
    assert all((out / name).read_text() == "x" for name in theirs)
    assert (out / "README.md").read_text() == "other words" and not (out / "data/old").exists()


def test_the_way_through_a_repository_of_releases(course, run, out, tmp_path):
    """The teacher releases into a repository or a clone of it, and students pull from it."""
    mine, clone = tmp_path / "mine", tmp_path / "clone"
    out.mkdir()
    git(out, "init", "-q", "-b", "main")
    before = {n: t for n, t in tree(out).items() if n.startswith(".git/")}
    assert run(out)[0] == 0
    assert {n: t for n, t in tree(out).items() if n.startswith(".git/")} == before
    commit(out)
    for folder in (mine, clone):
        git(tmp_path, "clone", "-q", "out", folder)
    lab.deliver(mine / "notebooks", mine / "work")
    answers = {"work/00_toy.ipynb": "my answers", "work/notes/a.txt": "my notes"}
    write(mine, **answers)
    write(clone, **answers)
    commit(course, **{STUDENT: notebook("two")})
    assert run(clone)[0] == 0
    commit(clone)
    git(mine, "pull", "-q", clone, "HEAD")
    lab.deliver(mine / "notebooks", mine / "work")
    for folder in (mine, clone):
        assert {name: text for name, text in tree(folder).items() if name in answers} == answers
    assert (mine / "work/00_toy.new.ipynb").read_text() == notebook("two")


def refused(run, out, *says):
    before = tree(out) if out.is_dir() else out.exists()
    code, output = run(out)
    assert code == 1 and all(s in output for s in says), output
    assert "Traceback" not in output and (tree(out) if out.is_dir() else out.exists()) == before


@pytest.mark.parametrize("where", [".", "out", "work/out", ".."])
def test_not_into_the_course_nor_around_it(course, run, where):
    refused(run, course / where, "choose a folder outside")


def test_not_onto_other_things(course, run, tmp_path):
    write(tmp_path, **{"thesis/text.txt": "years of work", "file": "x"})
    refused(run, tmp_path / "thesis", "contains text.txt", "not an earlier release")
    refused(run, tmp_path / "file", "is a file")
    git(tmp_path, "clone", "-q", "course", "clone")
    refused(run, tmp_path / "clone", "not an earlier release")
    write(tmp_path / "thesis", **{release.MARK: f"node: {40 * 'a'}\n"})
    refused(run, tmp_path / "thesis", 40 * "a", "complete clone")
    code, output = run("")
    assert code == 1 and "DEST=" in output


@pytest.mark.parametrize(
    "harm",
    [
        lambda out: write(out, **{"README.md": "changed by hand"}),
        lambda out: write(out, **{"data/old/a.bin": "changed by hand"}),
        lambda out: write(out, **{"later.txt": "mine"}),
        lambda out: (out / "later.txt").mkdir(),
        lambda out: write(out, **{"folder": "mine"}),
    ],
    ids=["changed", "changed, to be deleted", "in the place of a new file", "a folder there", "a file for a folder"],
)
def test_what_was_changed_by_hand_is_not_lost(course, run, out, harm):
    run(out)
    harm(out)
    (course / "data/old/a.bin").unlink()
    commit(course, **{"README.md": "other words", "later.txt": "ours", "folder/b.txt": "ours"})
    refused(run, out, "not as the last release left them", "Move them away")


def test_a_release_that_was_stopped_is_finished_by_the_next(course, run, out, monkeypatch):
    changed = ("README.md", "tests/test_a.py", "cvdl/core.py")
    for words in ("words", "other words"):
        commit(course, **dict.fromkeys(changed, words))
        with monkeypatch.context() as patch:
            patch.setattr(release.shutil, "copymode", Mock(side_effect=[None, None, OSError("disk full")]))
            code, output = run(out)
        assert code == 1 and "disk full" in output and release.MARK in tree(out)
        assert run(out)[0] == 0 and tree(out).keys() == RELEASED
        assert all((out / name).read_text() == words for name in changed)


def test_uncommitted_changes_are_not_released(course, run, out):
    write(course, **{"solutions/deep/a.txt": "changed", "tests/answers/new.py": "new", "unknown.txt": "not in git"})
    git(course, "add", "tests/answers")
    assert run(out)[0] == 0 and tree(out).keys() == RELEASED  # students get none of these
    write(course, **{"README.md": "other words", "new.txt": "new"})
    (course / "cvdl/core.py").unlink()
    git(course, "add", "new.txt")
    refused(run, out, "commit, or", "git stash", "README.md, cvdl/core.py, new.txt")


@pytest.mark.parametrize("name", [STUDENT, "tests/test_a.py", "README.md"])
def test_a_line_of_an_answer_is_not_released(course, run, out, name):
    commit(course, **{name: notebook(f"first\n  {ANSWER}") if name == STUDENT else f"first\n  {ANSWER}\n"})
    refused(run, out, f"{name} shows a line of an answer:", "highest")


def test_notebooks_that_are_not_what_their_masters_give_are_not_released(course, run, out, monkeypatch):
    monkeypatch.setattr(release, "check_built", check_built)
    refused(run, out, "00_toy.ipynb", "make build")
    commit(course, **{"solutions/00_toy.ipynb": '{"cells": [{"cell'})
    refused(run, out, "solutions/00_toy.ipynb is not a notebook", "make build")


def test_a_course_without_masters_or_git(course, run, out, tmp_path, monkeypatch):
    (course / ".git").rename(tmp_path / "git")
    refused(run, out, "not a git repository", "clone of the course")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        refused(run, out, "Install git")
    (course / "solutions/00_toy.py").unlink()
    refused(run, out, "the students' version already")


@pytest.mark.skipif(not (ROOT / "solutions").exists(), reason="this is a released tree")
def test_nothing_of_an_answer_is_in_what_this_course_releases():
    files = release.exported("HEAD", ROOT)
    assert {"README.md", "Makefile", "notebooks/00_start_here.ipynb", "tests/course/authoring/test_release.py"} <= set(
        files
    )
    assert not [name for name in files if name.startswith(KEPT_BACK)]
    assert files[release.MARK].split()[1] == release.git(ROOT, "rev-parse", "HEAD").strip()
    masters = [read_master(p) for p in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))]
    assert release.leaked(files, masters) == []
    for name, content in files.items():
        if name.endswith(".ipynb"):
            assert not any(c.get("outputs") or c.get("execution_count") for c in json.loads(content)["cells"]), name
