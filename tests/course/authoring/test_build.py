"""The build, on a small master in a folder of its own."""

import json
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from cvdl.course.authoring import build, leaks, source
from cvdl.settings import ROOT

MASTER = '''# %% [markdown]
# # Toy
#
# Text.

# %% tags=["bootstrap"]

# %% [markdown]
# ## Pixels

# %%
from cvdl import check, exercise


@exercise("start.to_unit", points=100)
def to_unit(image):
    """Doc."""
    ### BEGIN SOLUTION
    highest_possible_value = 255
    return image / highest_possible_value
    ### END SOLUTION


# %%
check("start.to_unit")

# %% tags=["expect"]
import torch

print(to_unit(torch.tensor([[0, 51, 255]], dtype=torch.uint8)))

# %% [markdown]
# ## End

# %%
import matplotlib.pyplot as plt

from cvdl import show

figure, axes = plt.subplots(figsize=(1, 1))
show(figure, "An empty square.")
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "00_toy.py").write_text(MASTER)
    return tmp_path / "solutions"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Built once: (folder, solution notebook, student notebook)."""
    folder = tmp_path_factory.mktemp("course") / "solutions"
    folder.mkdir()
    (folder / "00_toy.py").write_text(MASTER)
    build.build(source.read_master(folder / "00_toy.py"))
    return (
        folder,
        nbformat.read(folder / "00_toy.ipynb", 4),
        nbformat.read(folder.parent / "notebooks" / "00_toy.ipynb", 4),
    )


def copy(built, tmp_path):
    """A fresh copy of the built folder, to damage."""
    import shutil

    shutil.copytree(built[0].parent, tmp_path / "copy")
    return tmp_path / "copy" / "solutions"


def run(*args):
    import typer

    app = typer.Typer()
    app.command()(build.main)
    return CliRunner().invoke(app, [str(a) for a in args])


def edit(folder, old, new):
    path = folder / "00_toy.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_both_notebooks_are_valid_and_named_alike(built):
    _, solution, student = built
    nbformat.validate(solution)
    nbformat.validate(student)
    assert [c.id for c in solution.cells] == [c.id for c in student.cells if not c.id.endswith("-expected")]
    assert [c.id for c in solution.cells] == [
        "toy-1",
        "toy-2",
        "pixels-1",
        "start-to_unit",
        "start-to_unit-check",
        "pixels-4",
        "end-1",
        "end-2",
    ]


def test_the_student_gets_a_stub_and_what_to_expect_but_no_outputs(built):
    _, solution, student = built
    cells = {c.id: c for c in student.cells}
    assert cells["start-to_unit"].source.endswith('    """Doc."""\n    ...')
    assert "0.2000" in cells["pixels-4-expected"].source
    assert all(not c.get("outputs") and c.get("execution_count") is None for c in student.cells)
    assert any(c.get("outputs") for c in solution.cells)
    assert "BEGIN SOLUTION" in {c.id: c for c in solution.cells}["start-to_unit"].source


def test_nbgrader_metadata(built):
    cells = {c.id: c.metadata.get("nbgrader") for c in built[2].cells}
    assert cells["start-to_unit"] == {
        "schema_version": 3,
        "grade_id": "start-to_unit",
        "task": False,
        "solution": True,
        "grade": False,
        "locked": False,
    }
    check = cells["start-to_unit-check"]
    assert (check["grade"], check["locked"], check["solution"], check["points"]) == (True, True, False, 100)
    assert cells["toy-1"] is None


def test_executed_with_counts_from_one_and_the_list_of_sources(built):
    _, solution, _ = built
    counts = [c.execution_count for c in solution.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert "right — 100 of 100" in json.dumps(solution, ensure_ascii=False)
    sources = solution.metadata.cvdl.sources
    assert (
        "score" in sources["cvdl/course/exercises/scoring.py"]
        and "EXERCISES" in sources["cvdl/course/exercises/chapters/start.py"]
    )
    assert not any("flow" in path for path in sources)


def test_figures_carry_alternative_text(built):
    picture = built[1].cells[-1].outputs[0]
    assert picture.metadata["image/png"]["alt"] == "An empty square."
    assert '<img alt="An empty square."' in picture.data["text/html"]


@pytest.fixture
def executed(monkeypatch):
    """The masters that were executed; instead of executing, the old outputs are taken."""
    stems = []

    def execute(m):
        stems.append(m.stem)
        nb = build.with_outputs(m, nbformat.read(m.solution, 4))
        nb.metadata.cvdl.code = build.digest(m)
        return nb

    monkeypatch.setattr(build, "execute", execute)
    return stems


def test_a_second_build_changes_and_executes_nothing(built, executed, capsys):
    build.build(source.read_master(built[0] / "00_toy.py"))
    assert not executed and "wrote" not in capsys.readouterr().out


def test_changed_text_is_built_without_executing(built, tmp_path, executed):
    folder = copy(built, tmp_path)
    edit(folder, "# Text.", "# Other text.")
    result = run("--check", "--folder", folder)
    assert result.exit_code == 1 and "does not have the cells of 00_toy.py" in result.output
    assert run("00", "--folder", folder).exit_code == 0 and not executed
    solution = nbformat.read(folder / "00_toy.ipynb", 4)
    assert "Other text." in solution.cells[0].source and solution.cells[-1].outputs == built[1].cells[-1].outputs
    assert "Other text." in (folder.parent / "notebooks" / "00_toy.ipynb").read_text()
    assert run("--check", "--folder", folder).exit_code == 0


def test_a_changed_heading_keeps_the_outputs_below_it(built, tmp_path, executed):
    folder = copy(built, tmp_path)
    edit(folder, "# ## End", "# ## The end")  # the ids of the cells below it change
    assert run("00", "--folder", folder).exit_code == 0 and not executed
    solution = nbformat.read(folder / "00_toy.ipynb", 4)
    assert solution.cells[-1].id != built[1].cells[-1].id and solution.cells[-1].outputs == built[1].cells[-1].outputs
    assert run("--check", "--folder", folder).exit_code == 0


def test_changed_code_is_executed_unless_that_is_put_off(built, tmp_path, executed):
    folder = copy(built, tmp_path)
    edit(folder, "figsize=(1, 1)", "figsize=(2, 1)")
    assert run("00", "--folder", folder, "--stale", "no").exit_code == 0 and not executed
    assert "figsize=(2, 1)" in (folder / "00_toy.ipynb").read_text()
    warned = run("--check", "--folder", folder)
    assert warned.exit_code == 0 and "warning:" in warned.output and "other code than 00_toy.py" in warned.output
    assert run("00", "--folder", folder).exit_code == 0 and executed == ["00_toy"]
    assert "warning" not in run("--check", "--folder", folder).output
    assert run("00", "--folder", folder, "--stale", "all").exit_code == 0 and executed == 2 * ["00_toy"]


def test_old_outputs_are_a_warning_and_executed_by_the_next_build(built, tmp_path, executed):
    folder = copy(built, tmp_path)
    nb = nbformat.read(folder / "00_toy.ipynb", 4)
    nb.metadata.cvdl.sources["cvdl/course/exercises/scoring.py"]["score"] = "0" * 12
    (folder / "00_toy.ipynb").write_text(build.written(nb))
    result = run("--check", "--folder", folder)
    assert result.exit_code == 0 and "warning:" in result.output
    assert "is older than score in cvdl/course/exercises/scoring.py" in result.output.replace("\n", " ")
    assert run("00", "--folder", folder).exit_code == 0 and executed == ["00_toy"]


def test_check_passes_then_fails_on_each_drift(built, tmp_path):
    folder = copy(built, tmp_path)
    student, solution = folder.parent / "notebooks" / "00_toy.ipynb", folder / "00_toy.ipynb"
    good = student.read_text()
    assert run("--check", "--folder", folder).exit_code == 0
    student.write_text(good.replace("Text.", "Another text."))
    result = run("--check", "--folder", folder)
    assert result.exit_code == 1 and "is not what its master gives" in result.output
    student.unlink()
    assert "is missing" in run("--check", "--folder", folder).output
    student.write_text(good)
    (student.parent / "09_orphan.ipynb").write_text(good)
    assert "has no master" in run("--check", "--folder", folder).output
    assert run("--check", "00", "--folder", folder).exit_code == 0, "only the notebook that was named"
    solution.unlink()
    result = run("--check", "--folder", folder)
    assert result.exit_code == 1 and "00_toy.ipynb is missing" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    "text, left",
    [
        ("\rRNN: 100%|████| 150/150 [02:32<00:00,  1.02s/it]\n", ""),
        ("a\n\rRNN:   0%|   | 0/150 [00:00<?, ?it/s]\rRNN: 100%|████| 150/150 [02:32<00:00]\nb\n", "a\nb\n"),
        ("RNN: 100%|████| 150/150 [02:32<00:00]\nb 50% [of c]\n", "b 50% [of c]\n"),
        ("100% | of 150/150 |\n", "100% | of 150/150 |\n"),
    ],
)
def test_progress_bars_are_not_saved(text, left):
    output = nbformat.v4.new_output("stream", text=text)
    assert build._without_bars(output) == bool(left) and output.text == left


@pytest.mark.parametrize("where", ["source", "output", "metadata", "attachment", "base64"])
def test_a_leak_is_found_wherever_it_is(built, tmp_path, where):
    import base64

    folder = copy(built, tmp_path)
    path = folder.parent / "notebooks" / "00_toy.ipynb"
    nb, secret = nbformat.read(path, 4), "return image / highest_possible_value"
    if where == "source":
        nb.cells[0].source += f"\nfirst line\n{secret}"
    elif where == "output":
        nb.cells[1].outputs = [nbformat.v4.new_output("stream", text=f"x = 1\n    {secret}\n")]
    elif where == "metadata":
        nb.metadata["note"] = {"deep": [1, {"er": secret}]}
    elif where == "attachment":
        nb.cells[0].attachments = {"a.txt": {"text/plain": secret}}
    else:
        raw = base64.b64encode(bytes(300) + secret.encode()).decode()
        nb.cells[0].attachments = {"a.png": {"image/png": raw}}
    nbformat.write(nb, path)
    assert leaks.leaks(path, leaks.answer_lines(source.read_master(folder / "00_toy.py"))) == [secret]
    assert "shows a line of an answer" in run("--check", "--folder", folder).output


@pytest.mark.parametrize("name", ["solutions/00_toy.ipynb", "notebooks/00_toy.ipynb"])
def test_a_damaged_notebook_is_named(built, tmp_path, name):
    folder = copy(built, tmp_path)
    (folder.parent / name).write_text('{"cells": [{"cell')
    result = run("--check", "--folder", folder)
    assert result.exit_code == 1 and name in result.output and "make build" in result.output


def test_short_lines_comments_and_lines_that_stand_outside_are_no_leaks(folder):
    text = MASTER.replace("    highest_possible_value = 255\n", "    # a comment that is rather long\n    x = 255\n")
    text = text.replace("# Text.", "# Write return image / highest_possible_value.")
    (folder / "00_toy.py").write_text(text)
    assert leaks.answer_lines(source.read_master(folder / "00_toy.py")) == []


def test_answers_are_not_overwritten(built, tmp_path):
    folder = copy(built, tmp_path)
    path = folder.parent / "notebooks" / "00_toy.ipynb"
    path.write_text(path.read_text().replace("    ...", "    return image / 255"))
    before = path.read_text()
    result = run("00", "--folder", folder)
    assert result.exit_code == 1 and "holds an answer" in result.output and path.read_text() == before
    path.write_text(before.replace("return image", "return image("))  # not even Python
    assert run("00", "--folder", folder).exit_code == 1


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("    return image / highest", "    return image / (highest", "cell 4, line 20: SyntaxError"),
        ("    ### END SOLUTION\n", "", "cell 4, line 20: ### BEGIN SOLUTION without its partner"),
        ("    ### BEGIN SOLUTION\n", "", "### END SOLUTION without its partner"),
        (
            '@exercise("start.to_unit", points=100)',
            '@exercise("start.to_unti", points=100)',
            "cell 4, line 15: There is no exercise",
        ),
        ("def to_unit(image):", "def to_unit(picture):", "parameters ['picture'], but the library's are ['image']"),
        ('# %%\ncheck("start.to_unit")\n', "", 'not followed by one check("start.to_unit")'),
        ('# %% tags=["expect"]', "# %%", '0 cells tagged "expect"'),
        ('    """Doc."""\n', '    """Doc."""\n    y = 1\n', "not a stub"),
        ("# %% [markdown]\n# # Toy", "before\n# %% [markdown]\n# # Toy", "text must follow"),
    ],
)
def test_a_broken_master_gives_file_cell_and_line(folder, old, new, says):
    edit(folder, old, new)
    result = run("00", "--folder", folder)
    assert result.exit_code == 1 and says in result.output.replace("\n", " "), result.output
    assert str(folder / "00_toy.py") in result.output.replace("\n", "") and "Traceback" not in result.output


@pytest.mark.parametrize(
    "code, told",
    [
        ("x = 1\n1 / 0", "cell 2, line 6: ZeroDivisionError"),
        ("import os\n\nos._exit(1)", "cell 2, line 5: Kernel died"),
        ("import matplotlib.pyplot as plt\n\nplt.plot([1])\nplt.show()", "alternative text"),
    ],
    ids=["an error", "a dead kernel", "a figure without alternative text"],
)
def test_what_fails_while_executing_is_named_and_nothing_is_written(folder, code, told):
    (folder / "00_toy.py").write_text(f"# %% [markdown]\n# # Toy\n\n# %%\n{code}\n")
    result = run("00", "--folder", folder)
    output = result.output.replace("\n", " ")
    assert result.exit_code == 1 and told in output and "Traceback" not in output, output
    assert not (folder / "00_toy.ipynb").exists()


def test_unknown_notebook(folder):
    result = run("07", "--folder", folder)
    assert result.exit_code == 1 and "No master for '07'" in result.output


def test_kind_answer_becomes_a_form():
    answer = ["    return {", '        "a b": "one-to-many",', '        "c": "x",', "    }"]
    assert source._hole(answer) == ["return {", '    "a b": ...,', '    "c": ...,', "}"]


def test_badge_and_bootstrap_come_from_one_place(monkeypatch):
    assert source.bootstrap().count("\n") < 3 and "torch" not in source.bootstrap()
    monkeypatch.setattr(source, "course_settings", lambda: {"repository": "https://github.com/a/b", "tag": "v1"})
    assert "colab.research.google.com/github/a/b/blob/v1/notebooks/01_x.ipynb" in source.badge("01_x")
    assert source.bootstrap().count("\n") == 2 and "--no-deps" in source.bootstrap()
    compile(source.bootstrap(), "bootstrap", "exec")


def test_the_way_shows_the_notebooks_that_exist():
    from cvdl.course.notebook import course_map

    masters = {int(p.name[:2]) for p in Path(ROOT / "solutions").glob("[0-9][0-9]_*.py")}
    assert not masters or masters - {0, 9} == course_map.READY


@pytest.mark.parametrize("path", sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py")), ids=lambda p: p.stem)
def test_what_the_cards_tell_one_to_call_is_imported(path):
    import ast

    code = "\n".join(c.source for c in source.read_master(path).cells if c.kind == "code")
    imports = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.ImportFrom) and n.module == "cvdl"]
    names = {alias.name for n in imports for alias in n.names}
    assert {"check", "exercise", "hint", "progress", "use_library"} <= names
