"""Honest hand-ins, as students leave them, get through the jail the marks and messages that `check` gives.

`check` is run here in its own way: the cells in a plain namespace, then the judge on the function, in this process.
"""

import inspect
import io
import json
import linecache
import re
import zipfile
from importlib import import_module

import pytest

from cvdl.course.exercises import api, scoring
from cvdl.course.exercises import chapters as checks
from cvdl.course.grading import grade, submissions
from cvdl.course.notebook import chapters
from cvdl.settings import ROOT
from tests.course.exercises.test_answers import RELEASED

SEED = "a seed"
SETUP = "import math\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn\nimport cvdl\nfrom cvdl import check, exercise, hint"
ID = "start.to_unit"
DEF = f'@exercise("{ID}", points=100)\ndef to_unit(image):\n'


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch):
    for name in ("_attempts", "_scores"):
        monkeypatch.setattr(api, name, {})
    monkeypatch.setattr(grade, "seed_of", lambda data, secret: secret)  # the same cases here and there


def students(stem, cells):
    """The students' notebook, with these cells in place of its exercise cells -> dict."""
    built = json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))
    places = [i for i, c in enumerate(built["cells"]) if "@exercise" in "".join(c["source"])]
    for i in reversed(places):
        del built["cells"][i]
    built["cells"][places[0] : places[0]] = [cell(f"mine-{n}", source) for n, source in enumerate(cells)]
    built["cells"].insert(0, cell("setup", SETUP))
    return built


def cell(id, source):
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "id": id, "source": source}


def as_check(cells):
    """What `check` finds in these cells -> {id: Score}."""
    namespace = {"__name__": "__main__"}
    for number, source in enumerate([SETUP, *cells]):
        name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), namespace)
    return {
        id: scoring.score(checks.find(id), api.caller(id, attempt.function), SEED) if attempt.attempted else None
        for id, attempt in api._attempts.items()
    }


def told(score):
    cases = [(c.name, c.points, c.earned, c.message, c.hint) for c in score.cases]
    return [score.state, score.earned, score.mistake and score.mistake.name, score.hint, cases]


def assert_as_check(result, cells):
    """The result of the grader is what `check` says; an exercise whose cell was not run is missing."""
    assert result["judged"], result["problem"]
    expected = as_check(cells)
    for row in result["exercises"]:
        got = [row[k] for k in ("state", "earned", "mistake", "hint")]
        if row["id"] not in expected:
            assert got == ["missing", 0, None, ""]
        elif expected[row["id"]] is None:
            assert got == ["not attempted", 0, None, ""]
        else:
            assert [*got, [tuple(c.values()) for c in row["cases"]]] == told(expected[row["id"]]), row["id"]
    return {row["id"]: row["state"] for row in result["exercises"]}


# --- each exercise of each notebook, right and wrong in the ways that tests/answers knows


def from_answers(chapter, choose):
    """Cells: the module of answers, with its helpers, then a function for each exercise that calls the chosen one."""
    cells = [by_value(inspect.getsource(import_module(f"tests.answers.{chapter}")))]
    for number, spec in enumerate(checks.chapter(chapter).values()):
        chosen = choose(number, spec.id)
        parameters = ", ".join(inspect.signature(spec.library).parameters)
        body = f"return {chosen}({parameters})" if chosen else "..."
        cells.append(f"@exercise({spec.id!r}, points={spec.points})\ndef answer_{number}({parameters}):\n    {body}\n")
    return cells


def by_value(source):
    """The source of a module of answers with what it imports from the checks, which the sandbox does not have."""

    def written(match):
        module, told = import_module(match[1]), []
        for function in (getattr(module, name) for name in match[2].split(", ")):
            if not inspect.signature(function).parameters:
                told.append(f"def {function.__name__}(): return {function()!r}")
                continue
            called = (vars(module).get(name) for name in function.__code__.co_names)
            own = [f for f in called if inspect.isfunction(f) and f.__module__ == match[1]]
            told += map(inspect.getsource, [*own, function])
        return "\n".join(told)

    return re.sub(r"^from (cvdl\.course\.exercises\.chapters\.\w+) import (.*)$", written, source, flags=re.M)


def right(which):
    return lambda number, id: f"RIGHT[{id!r}][{which}]"


def mixed(number, id):
    """By turns wrong in a known way, right in the last way, not answered."""
    wrong = import_module(f"tests.answers.{id.partition('.')[0]}").WRONG[id]
    name = list(wrong)[number % len(wrong)]
    first = "[0]" if isinstance(wrong[name], list) else ""  # of several functions that make this mistake
    return (f"WRONG[{id!r}][{name!r}]{first}", f"RIGHT[{id!r}][-1]", None)[number % 3]


@pytest.mark.skipif(RELEASED, reason="the answers are kept back from students")
@pytest.mark.parametrize(
    "chapter",
    [c if c in ("rnn", "spynet", "start") else pytest.param(c, marks=pytest.mark.long) for c in checks.chapters()],
)
@pytest.mark.parametrize("choose", [pytest.param(right(0), marks=pytest.mark.long, id="right"), mixed])
def test_every_exercise_crosses_the_jail(chapter, choose, backend):
    cells = from_answers(chapter, choose)
    stem = chapters.stems()[chapter]
    result = grade.judge_bytes(json.dumps(students(stem, cells)).encode(), stem, SEED, backend)
    states = set(assert_as_check(result, cells).values())
    assert choose is mixed or states == {"right"}


# --- what students, their editors and platforms make of a notebook

STYLES = {
    "short": [DEF + "    return image / 255"],
    "float first": [DEF + "    return image.to(torch.float64).div(255.0)"],
    "loops and prints": [DEF + "    out = torch.zeros(image.shape)\n    for i, row in enumerate(image):\n        print(f'{i=}: {row}')\n        for j, p in enumerate(row):\n            out[i, j] = int(p) / 255\n    return out"],
    "hints of types": ["from torch import Tensor", f'@exercise("{ID}", points=100)\ndef to_unit(image: Tensor) -> "Tensor":\n    """Doc."""\n    x: Tensor = image / 255\n    return x'],
    "lambda in another cell": ["scale = lambda x, by: x / by", DEF + "    return scale(image, 255)"],
    "constants in another cell": ["WHITE: int = 255\nBLACK, GREY = 0, WHITE // 2", DEF + "    return (image - BLACK) / WHITE"],
    "a tensor for a constant": ["white = torch.tensor(255.0)", DEF + "    return image / white"],
    "imports in another cell": ["import numpy as np, functools", DEF + "    return torch.from_numpy(functools.reduce(np.divide, [image.numpy(), 255.0]))"],
    "imports inside": [DEF + "    import numpy as np\n    return torch.as_tensor(np.asarray(image) / 255)"],
    "recursion": [DEF + "    if image.dim() == 0:\n        return image / 255\n    return torch.stack([to_unit(part) for part in image])"],
    "a helper after it": [DEF + "    return later(image)", "def later(x):\n    return deeper(x) / 255\n\ndef deeper(x):\n    return x.float()"],
    "a helper defined twice": ["def f(x): return x", DEF + "    return f(image)", "def f(x): return x / 255"],
    "a class": ["class Scale:\n    top = 255\n    def __call__(self, x):\n        return x / self.top", DEF + "    return Scale()(image)"],
    "a layer": ["class Unit(nn.Module):\n    def forward(self, x):\n        return x / 255\nunit = Unit()", DEF + "    return unit(image)"],
    "names beyond ASCII": [DEF + "    größe, ħ = image.shape, 255\n    return (image / ħ).reshape(größe)"],
    "tabs": [DEF + "\tx = image\n\tif True:\n\t\tx = x / 255\n\treturn x"],
    "a default and a star": [f'@exercise("{ID}", points=100)\ndef to_unit(image, white=255, *more, **options):\n    return image / white'],
    "a walrus and a match": [DEF + "    match (n := 255):\n        case 255:\n            return image / n"],
    "try and assert": [DEF + "    try:\n        assert image.dtype == torch.float\n        return image\n    except AssertionError as error:\n        return image / 255"],
    "counts its calls": ["calls = 0", DEF + "    global calls\n    calls += 1\n    return image / 255"],
    "another spelling of the decorator": [f'@cvdl.exercise(id="{ID}")\ndef mine(bild):\n    return bild / 255'],
    "a known mistake": [DEF + "    return image // 255"],
    "another known mistake": [DEF + "    return image / 256"],
    "partly right": [DEF + "    return (image > 127).float()"],
    "no return": [DEF + "    x = image / 255"],
    "an error": [DEF + "    x = image.float()\n\n    return x @ x.undefined"],
    "an error in a helper": ["def helper(x):\n    return x.reshape(7, 7)", DEF + "    # first\n    return helper(image)"],
    "an array of numpy": [DEF + "    return image.numpy() / 255"],
    "changes its argument": [DEF + "    image //= 255\n    return image.float()"],
    "a list": [DEF + "    return [[int(p) / 255 for p in row] for row in image]"],
    "a wrong shape": [DEF + "    return (image / 255).flatten()"],
    "not answered": [DEF + '    """Doc."""\n    ...'],
    "copied, the last one wrong": [DEF + "    return image / 255", DEF + "    return image / 256"],
    "copied, the last one right": [DEF + "    return image / 256", DEF + "    return image / 255"],
    "deleted": ["x = 1"],
}  # fmt: skip


SHORT = {
    "a helper after it",
    "a layer",
    "a known mistake",
    "an error in a helper",
    "changes its argument",
    "not answered",
}


@pytest.mark.parametrize("style", [s if s in SHORT else pytest.param(s, marks=pytest.mark.long) for s in STYLES])
def test_styles(style, backend):
    cells = STYLES[style]
    data = json.dumps(students("00_start_here", cells)).encode()
    assert_as_check(grade.judge_bytes(data, "00_start_here", SEED, backend), cells)


PARTLY = DEF + "    top = 255\n    return (image > top // 2).float()"  # 50 points: neither none nor all


def colab(told):
    told["metadata"] = {"colab": {"provenance": [], "toc_visible": True}, "kernelspec": {"name": "python3"}, "accelerator": "GPU"}  # fmt: skip
    for c in told["cells"]:
        c["metadata"] = {"id": "Xy1", "colab": {"base_uri": "https://localhost:8080/"}, "executionInfo": {"elapsed": 3}}
    told["cells"].insert(0, cell("a", "!pip install -q torch\n%matplotlib inline\nimport os"))
    told["cells"].insert(1, cell("b", "from google.colab import drive\ndrive.mount('/content/drive')"))
    told["cells"].append(cell("c", "%%bash\nls"))


def vscode(told):
    told["metadata"] = {"language_info": {"name": "python", "version": "3.12.1"}, "vscode": {"interpreter": {"hash": "0"}}}  # fmt: skip
    for c in told["cells"]:
        c.pop("id", None)
        c["metadata"] = {"vscode": {"languageId": "python"}}


def old(told):
    told["nbformat_minor"] = 0
    for c in told["cells"]:
        c.pop("id", None)


def third(told):
    cells = told.pop("cells")
    for c in cells:
        if c["cell_type"] == "code":
            c["input"] = c.pop("source")
    told |= {"nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells, "metadata": {}}]}


def lines(told):
    for c in told["cells"]:
        c["source"] = "".join(c["source"]).splitlines(keepends=True)


def windows(told):
    for c in told["cells"]:
        c["source"] = "".join(c["source"]).replace("\n", "\r\n")


def reversed_cells(told):
    told["cells"].reverse()


def timed(told):
    for c in told["cells"]:
        if "@exercise" in c["source"]:
            c["source"] = "%%time\n" + c["source"] + "\n!echo done"


def broken_elsewhere(told):
    told["cells"].insert(0, cell("broken", "for x in range(3)\n    print(x"))
    told["cells"].append(cell("shell", "ls -la\ncd .."))


def without_the_rest(told):
    told["cells"] = [c for c in told["cells"] if "@exercise" in c["source"]]  # torch and cvdl are imported for them


def with_outputs(told):
    for c in told["cells"]:
        if c["cell_type"] == "code":
            c["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ['exercise("rnn.step")\n'] * 9}]


CHANGES = [colab, vscode, old, third, lines, windows, reversed_cells, timed, broken_elsewhere, without_the_rest, with_outputs]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_editors_and_platforms(change, backend, tmp_path):
    told = students("00_start_here", [PARTLY])
    change(told)
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "Untitled12 (3).ipynb").write_bytes(json.dumps(told).encode())
    assert_graded_as_partly(tmp_path, backend)


def assert_graded_as_partly(folder, backend):
    (handin,) = submissions.find(folder)
    assert (handin.student, handin.notebook) == ("anna", "00_start_here")
    result = grade.judge_bytes(handin.read(), handin.notebook, SEED, backend)
    assert assert_as_check(result, [PARTLY]) == {ID: "partly right"}


def test_zipped_with_a_mark_of_byte_order(backend, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "work/Übung 0.ipynb", b"\xef\xbb\xbf" + json.dumps(students("00_start_here", [PARTLY])).encode()
        )
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "hand-in.zip").write_bytes(file.getvalue())
    assert_graded_as_partly(tmp_path, backend)
