"""What Colab has installed, as pip understands it: `python -m tests.notebooks.colab FREEZE PINS REQUIREMENTS`.

FREEZE is pip-freeze.txt of https://github.com/googlecolab/backend-info. PINS gets Colab's version of every package on
the index, REQUIREMENTS the course's dependencies and what a kernel needs. Fails where Colab lacks a dependency, or
has it in a version that the course does not allow.
"""

import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
KERNEL = ("ipykernel", "ipython")


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


def main(freeze, pins, requirements):
    found = versions(Path(freeze).read_text(encoding="utf-8"))
    needed = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    if problems := unfit([*needed, *KERNEL], found):
        sys.exit("\n".join(problems))
    names = [*(Requirement(r).name for r in needed), *KERNEL]
    Path(requirements).write_text("\n".join(names) + "\n", encoding="utf-8")
    Path(pins).write_text("".join(f"{n}=={v}\n" for n, v in found.items()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
