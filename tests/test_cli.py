"""The command `cvdl`: help for everything, and errors in one paragraph."""

import io
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import cvdl
from cvdl import cli
from cvdl.errors import CourseError

COMMANDS = sorted(typer.main.get_command(cli.app).commands)


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS)], ids=["cvdl", *COMMANDS])
def test_help(command):
    result = CliRunner().invoke(cli.app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert all(name in result.stdout for name in COMMANDS if not command)


def test_commands_explain_themselves():
    for name, command in typer.main.get_command(cli.app).commands.items():
        assert command.help, name
        assert all(option.help for option in command.params), name


def test_version():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"cvdl {cvdl.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["lab", "--port", "many"], ["lab", "--port", "0"], ["doctor", "now"]]
)
def test_misuse(arguments):
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr and "Traceback" not in result.output


def test_course_error_is_one_paragraph(monkeypatch):
    def fail(*_):
        raise CourseError("This went wrong. Do that.")

    monkeypatch.setattr("cvdl.course.desk.lab", fail)
    result = CliRunner().invoke(cli.app, ["lab"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "This went wrong. Do that.\n")


def test_course_error_of_the_real_command(tmp_path):
    code = (
        "import runpy, sys; sys.modules['jupyterlab'] = None; sys.argv = ['cvdl', 'lab'];"
        "runpy.run_module('cvdl.cli', run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1 and "pip install" in result.stderr


def test_doctor_exit_code(monkeypatch):
    monkeypatch.setenv("CVDL_PROFILE", "huge")
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "Problem: CVDL_PROFILE is 'huge'" in result.stdout and "Traceback" not in result.output


def test_a_code_page_without_check_mark(monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setenv("CVDL_PROFILE", "huge")
    with pytest.raises(SystemExit) as end:
        cli.app(["doctor"])
    assert end.value.code == 1
    out, err = (stream.buffer.getvalue().decode("latin-1") for stream in streams if not stream.flush())
    assert out.startswith("? 1 problem") and not err
