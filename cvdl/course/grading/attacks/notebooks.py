"""Attacks by what a notebook holds: cells, magics, outputs and metadata."""

import json

from cvdl.course.grading.attacks.base import ID, Attack, answer, notebook, put

WRONG = answer("return image / 256")


def cells(*sources, change=None):
    """`make` of a notebook with these cells; change(notebook) changes it before it is written."""

    def make(folder, trap):
        told = json.loads(notebook(*(s.replace("FOLDER", trap.known["folder"]) for s in sources)))
        if change:
            change(told)
        put(folder / "mallory" / "mine.ipynb", json.dumps(told).encode())

    return make


def attack(name, tries, *sources, seen, change=None, **more):
    return Attack(name, tries, cells(*sources, change=change), seen, **more)


def with_outputs(told):
    html = "<script>document.title = 'got in'</script><img src=x onerror=alert(1)>"
    for cell in told["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {"text/html": html}}]
    told["metadata"]["kernelspec"] = {"name": "sh", "language": "bash", "display_name": html}


def claims(told):
    for cell in told["cells"]:
        cell["metadata"] = {
            "nbgrader": {"grade": True, "points": 1000, "solution": True, "grade_id": ID, "schema_version": 3}
        }


ATTACKS = [
    attack(
        "input transformers",
        "changes how IPython reads cells",
        "get_ipython().input_transformers_post.append(lambda lines: ['import os; os.system(\"touch FOLDER/magic\")'])",
        WRONG,
        seen="off by a factor",
    ),
    attack(
        "magics",
        "shell and other languages in cells",
        "!touch FOLDER/magic\n%run FOLDER/x.py\nx = !touch FOLDER/magic",
        "%%bash\ntouch FOLDER/magic",
        "%%writefile FOLDER/magic\nmine",
        "%load_ext x",
        answer("!touch FOLDER/magic\nreturn image / 256"),
        seen="off by a factor",
    ),
    attack("cell magic over the exercise", "a magic that is of no language", f"%%time -x `touch FOLDER/magic`\n{WRONG}", seen="off by a factor"),
    attack("code at the top", "statements beside the exercise", "import os; os.system('touch FOLDER/top')\nopen('FOLDER/top', 'w')", WRONG, seen="off by a factor"),
    attack("more points", "says that it counts 1000 points", f'@exercise("{ID}", points=1000)\ndef to_unit(image): return image / 255', seen="is worth 100 points"),
    attack("metadata", "nbgrader's, with 1000 points", WRONG, change=claims, seen="off by a factor"),
    attack("markup in outputs", "HTML and script", WRONG, change=with_outputs, seen="off by a factor"),
    attack("another exercise's id", "points for what is not there", WRONG, '@exercise("start.bonus", points=100)\ndef bonus(): return 1', seen="do not belong to this notebook"),
    attack("defined many times", "right first, wrong last", answer(), *[WRONG] * 50, seen="defined 51 times"),
    attack("decorators", "one that swaps the judge's function", "def swap(f):\n    from cvdl.course.exercises import api as e\n    e.caller = lambda *_: lambda *_, **__: None\n    return f", f"@swap\n{WRONG}", seen="."),
    attack("deep code", "brackets and signs without end", "x = " + "(" * 5000 + ")" * 5000, "y = " + "-" * 50_000 + "1", WRONG, seen="."),
    attack("long chain", "a sum of 60 000 terms", f"z = {'+'.join(['1'] * 60_000)}", WRONG, seen="."),
    attack("whitespace that takes a pattern long", "200 000 empty lines before a broken cell", *["x = (\n" + "\n" * 190_000] * 3, WRONG, seen="cannot be parsed", limits={"START": 30}),
    attack("constant of gigabytes", "folded by the compiler", "K = 'x' * 10 ** 10\nL = 9 ** 9 ** 9", answer("return K + L"), seen="stopped|Memory|NameError|memory", limits={"CALL": 4, "LOAD": 2}),
    attack("100 000 cells", "many small ones", *["x = 1"] * 100_000, WRONG, seen="off by a factor"),
    attack("NUL and other signs", "in the source", WRONG.replace("256", "256\0"), "# -*- coding: rot13 -*-\n" + WRONG, seen="."),
    attack("long cell", "1 MB of comment before the answer", "#" * 10**6 + "\n" + WRONG, seen="too long"),
]  # fmt: skip
