"""environment.yml, pyproject.toml, CI's pins and the lower bounds' speak of the same packages."""

import copy
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from cvdl.settings import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
EXTRAS = ("notebook", "lab", "train", "data", "compare", "grade", "dev")  # what .venv holds
# pip's name -> conda-forge's, where they differ
NAMES = {
    "torch": "pytorch",
    "opencv-contrib-python-headless": "opencv",
    "playwright": "playwright-python",
}


def ranges(requirements):
    """Lines as pip writes them -> {pip's name: range}"""
    found = map(Requirement, requirements)
    return {canonicalize_name(r.name): r.specifier for r in found}


def wanted_by_pip(project):
    lines = [*project["dependencies"], *(r for e in EXTRAS for r in project["optional-dependencies"][e])]
    return {"python": SpecifierSet(project["requires-python"])} | ranges(lines)


def wanted_by_conda(conda):
    """As wanted_by_pip, from environment.yml, less conda's own need of pip and the course itself."""
    theirs = {name: ours for ours, name in NAMES.items()}
    found = {}
    for entry in conda["dependencies"]:
        if isinstance(entry, dict):
            found |= ranges(line for line in entry["pip"] if line != "-e .")
        elif entry != "pip":
            spec = MatchSpec(entry, strict=True)
            name = spec.name.normalized
            found[theirs.get(name, name)] = SpecifierSet(str(spec.version or ""))
    return found


def differences(project, conda):
    pip, conda = wanted_by_pip(project), wanted_by_conda(conda)
    return {name: (pip.get(name), conda.get(name)) for name in pip | conda if pip.get(name) != conda.get(name)}


def test_pip_and_conda_agree():
    assert differences(PROJECT, CONDA) == {}


def test_conda_installs_the_course():
    (by_pip,) = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    assert "-e ." in by_pip and "pip" in CONDA["dependencies"]
    assert CONDA["channels"][0] == "conda-forge"


def doctored(change):
    conda = copy.deepcopy(CONDA)
    change(conda["dependencies"])
    return differences(PROJECT, conda)


def test_the_comparison_finds_what_is_wrong():
    at = CONDA["dependencies"].index
    assert doctored(lambda d: d.pop(at("tqdm >=4.66"))).keys() == {"tqdm"}
    assert doctored(lambda d: d.append("flask >=3")).keys() == {"flask"}
    assert doctored(lambda d: d.append({"pip": ["-e .", "flask>=3"]})).keys() == {"flask"}
    assert doctored(lambda d: d.__setitem__(at("pytorch >=2.9"), "pytorch >=2.8")).keys() == {"torch"}
    assert doctored(lambda d: d.__setitem__(at("pytorch >=2.9"), "pytorch")).keys() == {"torch"}
    assert doctored(lambda d: d.__setitem__(at("python >=3.11,<3.14"), "python >=3.11")).keys() == {"python"}
    with pytest.raises(InvalidMatchSpecError):
        doctored(lambda d: d.append("flask >=3 <<"))


def pins(name):
    """A file of .ci -> {pip's name: the one version}"""
    lines = (ROOT / ".ci" / name).read_text(encoding="utf-8").splitlines()
    found = ranges(line for line in lines if not line.startswith("#"))
    return {package: only(specifier, "==") for package, specifier in found.items()}


def only(specifier, operator):
    (version,) = [s.version for s in specifier if s.operator == operator]
    return Version(version)


GROUPS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
DIRECT = ranges(r for group in GROUPS for r in group)


def test_pins_are_those_of_the_direct_dependencies():
    found = pins("constraints.txt")
    assert found.keys() == DIRECT.keys()
    for name, version in found.items():
        assert version in DIRECT[name], name


def test_the_oldest_are_the_lower_bounds():
    bounds = {name: only(specifier, ">=") for name, specifier in DIRECT.items()}
    # A bound may name a whole series: OpenCV's 4.9 was published as 4.9.0.80.
    assert pins("oldest.txt").keys() == bounds.keys()
    for name, version in pins("oldest.txt").items():
        assert version in DIRECT[name] and version.release[: len(bounds[name].release)] == bounds[name].release, name
