"""What GitHub reads is valid by its published schemas, and does what the course says it does."""

import subprocess
import sys

import pytest
import yaml

from cvdl.settings import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {p.stem: p for p in sorted((GITHUB / "workflows").glob("*.y*ml"))}


def validate(schema, *paths):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_workflows_are_valid():
    result = validate("github-workflows", *WORKFLOWS.values())
    assert result.returncode == 0, result.stdout + result.stderr


def test_issue_templates_are_valid():
    folder = GITHUB / "ISSUE_TEMPLATE"
    forms = [p for p in folder.glob("*.yml") if p.name != "config.yml"]
    for result in (validate("github-issue-forms", *forms), validate("github-issue-config", folder / "config.yml")):
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("old, new", [("runs-on:", "run-on:"), ("timeout-minutes: 90", "timeout-minutes: soon")])
def test_a_broken_workflow_is_noticed(tmp_path, old, new):
    text = WORKFLOWS["cpu"].read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "cpu.yml").write_text(text.replace(old, new), encoding="utf-8")
    assert validate("github-workflows", tmp_path / "cpu.yml").returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_may_only_read_and_ends(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"} and workflow["concurrency"]["cancel-in-progress"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180 and "permissions" not in job
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(u.startswith("actions/") and u.rpartition("@v")[2].isdigit() for u in used)


def test_they_run_what_one_runs_oneself():
    assert set(WORKFLOWS) == {"cpu", "gpu", "colab"}
    text = {name: path.read_text(encoding="utf-8") for name, path in WORKFLOWS.items()}
    assert "run: .ci/run\n" in text["cpu"] and "run: make test-gpu\n" in text["gpu"]
    assert "vars.GPU_RUNNER" in text["gpu"] and "::notice" in text["gpu"]
    assert "googlecolab/backend-info" in text["colab"] and "python -m tests.notebooks.colab --freeze" in text["colab"]
