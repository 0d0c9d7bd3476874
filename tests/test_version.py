"""The version is told in three places besides the tag in git."""

import re

import cvdl
from cvdl.course.authoring.source import course_settings
from cvdl.settings import ROOT


def test_colab_fetches_this_version():
    assert course_settings()["tag"] == f"v{cvdl.__version__}"


def test_the_changelog_begins_with_this_version_or_with_what_comes_after_it():
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert cvdl.__version__ == versions[versions[0] == "Unreleased"]
