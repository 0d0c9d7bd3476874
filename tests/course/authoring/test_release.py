"""Students get the course without answers, and an update of it never costs them anything."""

import json
import subprocess

import nbformat
import pytest
import typer
from typer.testing import CliRunner

from cvdl.course.authoring import release
from cvdl.course.authoring.build import check_built
from cvdl.course.authoring.source import read_master
from cvdl.course.workspace import lab
from cvdl.settings import ROOT

ANSWER = "return image / highest_possible_value"
MASTER = f'''# %% [markdown]
# # Toy

# %%
@exercise("start.to_unit", points=100)
def to_unit(image):
    """Doc."""
    ### BEGIN SOLUTION
    highest_possible_value = 255
    {ANSWER}
    ### END SOLUTION

# %%
check("start.to_unit")

# %% tags=["expect"]
print(1)
'''
STUDENT = "notebooks/00_toy.ipynb"


def notebook(text):
    return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text, id="a")]))


def write(folder, /, **files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one notebook, in git, and beside it some files that git does not know."""
    root = tmp_path / "course"
    files = {
        "solutions/00_toy.py": MASTER,
        "solutions/00_toy.ipynb": notebook(ANSWER),
        STUDENT: notebook("one"),
        "tests/answers/start.py": ANSWER,
        "cvdl/course/grading/attacks/loop.py": "while True: ...",
        "tests/test_a.py": "a",
        "cvdl/core.py": ANSWER,  # the library may know what is right
        "data/old/a.bin": "bytes",
        "README.md": "words",
        ".gitignore": "work/\n",
    }
    write(root, **files)
    git(root, "init", "-q")
    git(root, "add", ".")
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

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_text(encoding="utf-8", errors="replace")
        for p in folder.rglob("*")
        if p.is_file()
    }


RELEASED = {STUDENT, "tests/test_a.py", "cvdl/core.py", "data/old/a.bin", "README.md", ".gitignore", release.RECORD}


def test_what_students_get(course, run, tmp_path):
    code, output = run(tmp_path / "out")
    assert code == 0 and "6 files written, 0 deleted" in output
    assert tree(tmp_path / "out").keys() == RELEASED


def test_a_second_release_writes_what_changed_and_deletes_what_is_gone(course, run, tmp_path):
    out = tmp_path / "out"
    run(out)
    assert "0 files written, 0 deleted" in run(out)[1]
    write(course, **{"README.md": "other words", "new.txt": "new"})
    (course / "data/old/a.bin").unlink()
    git(course, "add", "new.txt")
    code, output = run(out)
    assert code == 0 and "2 files written, 1 deleted" in output
    assert tree(out).keys() == RELEASED - {"data/old/a.bin"} | {"new.txt"}
    assert (out / "README.md").read_text() == "other words" and not (out / "data").exists()


def test_a_released_folder_may_be_a_repository(course, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    git(out, "init", "-q")
    before = tree(out)
    for words in ("words", "other words"):
        write(course, **{"README.md": words})
        assert run(out)[0] == 0
    assert {n: t for n, t in tree(out).items() if n.startswith(".git/")} == before


def test_the_whole_way_of_a_student(course, run, tmp_path):
    """Release, copy, edit, release again, copy: what the student wrote stays, byte for byte."""
    out = tmp_path / "out"
    work = out / "work"

    def update(text):
        write(course, **{STUDENT: notebook(text)})
        assert run(out)[0] == 0
        return lab.deliver(out / "notebooks", work)

    assert update("one") == [f"New: {work / '00_toy.ipynb'}"]
    mine = {"00_toy.ipynb": "half a noteb", "00_toy.new.ipynb": "my own", "00_toy.part": "mine", "notes/a.txt": "too"}
    write(work, **mine)
    (work / "00_toy.new.2.ipynb").mkdir()  # even a folder
    update("two")
    update("three")
    theirs = tree(work)
    assert {n: theirs.pop(n) for n in mine} == mine
    assert theirs.keys() == {"00_toy.new.3.ipynb", lab.RECORD}
    assert theirs["00_toy.new.3.ipynb"] == notebook("three")
    assert update("three") == []


def test_the_way_through_a_repository_of_releases(course, run, tmp_path):
    """The teacher releases into a repository, and students pull from it."""
    out, mine = tmp_path / "out", tmp_path / "mine"
    out.mkdir()
    git(out, "init", "-q", "-b", "main")

    def publish(text):
        write(course, **{STUDENT: notebook(text)})
        assert run(out)[0] == 0
        git(out, "add", ".")
        git(out, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", text)

    publish("one")
    git(tmp_path, "clone", "-q", "out", "mine")
    lab.deliver(mine / "notebooks", mine / "work")
    write(mine, **{"work/00_toy.ipynb": "my answers"})
    publish("two")
    git(mine, "pull", "-q")
    lab.deliver(mine / "notebooks", mine / "work")
    assert (mine / "work/00_toy.ipynb").read_text() == "my answers"
    assert (mine / "work/00_toy.new.ipynb").read_text() == notebook("two")


@pytest.mark.parametrize("name", ["work/a.txt", "work/00_toy.ipynb"])
def test_a_tracked_work_is_not_released(course, run, tmp_path, name):
    write(course, **{name: "the teacher's"})
    git(course, "add", "-f", name)
    write(tmp_path / "out", **{"x": ""})
    (tmp_path / "out/x").unlink()
    assert run(tmp_path / "out")[0] == 0
    write(tmp_path / "out", **{name: "the student's"})
    run(tmp_path / "out")
    assert tree(tmp_path / "out").keys() == RELEASED | {name}
    assert (tmp_path / "out" / name).read_text() == "the student's"


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
    refused(run, tmp_path / "thesis", "holds text.txt", "no earlier release")
    refused(run, tmp_path / "file", "is a file")
    write(tmp_path / "thesis", **{release.RECORD: "[1]"})
    refused(run, tmp_path / "thesis", "cannot be read")
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
def test_what_was_changed_by_hand_is_not_lost(course, run, tmp_path, harm):
    out = tmp_path / "out"
    run(out)
    harm(out)
    write(course, **{"README.md": "other words", "later.txt": "ours", "folder/b.txt": "ours"})
    git(course, "add", ".")
    (course / "untracked.txt").unlink()
    (course / "data/old/a.bin").unlink()
    refused(run, out, "not as the last release left them", "Move them away")


def test_a_release_that_was_stopped_is_finished_by_the_next(course, run, tmp_path, monkeypatch):
    out, copied = tmp_path / "out", []

    def copy(source, target, copy=release.shutil.copy):
        if len(copied) == 3:
            raise OSError("disk full")
        copied.append(copy(source, target))

    monkeypatch.setattr(release.shutil, "copy", copy)
    code, output = run(out)
    assert code == 1 and "disk full" in output and release.RECORD in tree(out)
    monkeypatch.undo()
    monkeypatch.setattr(release.release, "__defaults__", (course,))
    monkeypatch.setattr(release, "check_built", lambda masters, folder: ([], []))
    assert run(out)[0] == 0 and tree(out).keys() == RELEASED


@pytest.mark.parametrize("name", [STUDENT, "tests/test_a.py", "README.md"])
def test_a_line_of_an_answer_is_not_released(course, run, tmp_path, name):
    write(course, **{name: notebook(f"first\n  {ANSWER}") if name == STUDENT else f"first\n  {ANSWER}\n"})
    refused(run, tmp_path / "out", f"{name} shows a line of an answer: {ANSWER!r}")


def test_notebooks_that_are_not_what_their_masters_give_are_not_released(course, run, tmp_path, monkeypatch):
    monkeypatch.setattr(release, "check_built", check_built)
    refused(run, tmp_path / "out", "00_toy.ipynb", "make build")


@pytest.mark.parametrize("name", [STUDENT, "solutions/00_toy.ipynb"])
def test_a_broken_notebook_is_named(course, run, tmp_path, name):
    write(course, **{name: '{"cells": [{"cell'})
    refused(run, tmp_path / "out", f"{name} is no notebook", "make build")


def test_a_course_without_masters_or_git(course, run, tmp_path):
    (course / ".git").rename(tmp_path / "git")
    refused(run, tmp_path / "out", "git does not list it")
    (course / "solutions/00_toy.py").unlink()
    refused(run, tmp_path / "out", "a students' tree already")


@pytest.mark.skipif(not (ROOT / "solutions").exists(), reason="this is a released tree")
def test_nothing_of_an_answer_is_in_what_this_course_releases():
    names = release.files(ROOT)
    assert {"README.md", "Makefile", "notebooks/00_start_here.ipynb", "tests/course/authoring/test_release.py"} <= set(
        names
    )
    kept = (
        "solutions/",
        "tests/answers/",
        "tests/honest/",
        "tests/unforeseen/",
        "cvdl/course/grading/attacks/",
        "work/",
    )
    assert not [n for n in names if n.startswith(kept)]
    masters = [read_master(p) for p in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))]
    assert release.leaked({n: ROOT / n for n in names}, masters) == []
    for name in names:
        if name.endswith(".ipynb"):
            cells = json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"]
            assert not any(c.get("outputs") or c.get("execution_count") for c in cells), name
