"""What GitHub reads is valid by its published schemas, and does what the course says it does."""

import check_jsonschema
import pytest
import yaml
from click.testing import CliRunner

from cvdl.settings import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {p.stem: p for p in sorted((GITHUB / "workflows").glob("*.y*ml"))}


def validate(schema, *paths):
    return CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", f"vendor.{schema}", *map(str, paths)])


def test_workflows_are_valid():
    result = validate("github-workflows", *WORKFLOWS.values())
    assert result.exit_code == 0, result.output


def test_issue_templates_are_valid():
    folder = GITHUB / "ISSUE_TEMPLATE"
    forms = [p for p in folder.glob("*.yml") if p.name != "config.yml"]
    for result in (validate("github-issue-forms", *forms), validate("github-issue-config", folder / "config.yml")):
        assert result.exit_code == 0, result.output


def test_broken_workflows_are_noticed(tmp_path):
    text = WORKFLOWS["cpu"].read_text(encoding="utf-8")
    for number, (old, new) in enumerate([("runs-on:", "run-on:"), ("timeout-minutes: 90", "timeout-minutes: soon")]):
        assert old in text
        (tmp_path / f"{number}.yml").write_text(text.replace(old, new), encoding="utf-8")
    result = validate("github-workflows", *tmp_path.iterdir())
    assert result.exit_code == 1 and "0.yml::" in result.output and "1.yml::" in result.output, result.output


@pytest.mark.parametrize("path", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_may_only_read_and_ends(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"} and workflow["concurrency"]["cancel-in-progress"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180 and "permissions" not in job
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(u.startswith("actions/") and u.rpartition("@v")[2].isdigit() for u in used)


def test_they_run_what_one_runs_oneself():
    assert set(WORKFLOWS) == {"cpu", "weekly", "gpu", "colab"}
    text = {name: path.read_text(encoding="utf-8") for name, path in WORKFLOWS.items()}
    assert "run: .ci/run\n" in text["cpu"] and "run: make test-gpu\n" in text["gpu"]
    assert "run: make test-all" in text["weekly"] and "cron:" in text["weekly"]
    assert "vars.GPU_RUNNER" in text["gpu"] and "::notice" in text["gpu"]
    assert "googlecolab/backend-info" in text["colab"] and "python -m tests.notebooks.colab --freeze" in text["colab"]
