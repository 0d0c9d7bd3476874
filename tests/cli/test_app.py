"""The command `cvdl`: help for everything, and errors in one paragraph."""

import errno
import io
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
import typer
from typer.testing import CliRunner

import cvdl
from cvdl.cli import app
from cvdl.errors import CourseError

COMMANDS = sorted(name for name, c in typer.main.get_command(app.app).commands.items() if not c.hidden)


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS)], ids=["cvdl", *COMMANDS])
def test_help(command):
    result = CliRunner().invoke(app.app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert all(name in result.stdout for name in COMMANDS if not command)


def test_commands_explain_themselves():
    for name, command in typer.main.get_command(app.app).commands.items():
        assert command.help, name
        assert all(option.help for option in command.params), name


def test_version():
    result = CliRunner().invoke(app.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"cvdl {cvdl.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["lab", "--port", "many"], ["lab", "--port", "0"], ["doctor", "now"]]
)
def test_misuse(arguments):
    result = CliRunner().invoke(app.app, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr and "Traceback" not in result.output


def test_course_error_is_one_paragraph(monkeypatch):
    def fail(*_):
        raise CourseError("This went wrong. Do that.")

    monkeypatch.setattr("cvdl.course.workspace.lab.lab", fail)
    result = CliRunner().invoke(app.app, ["lab"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "This went wrong. Do that.\n")


def test_course_error_of_the_real_command(tmp_path):
    code = (
        "import runpy, sys; sys.modules['jupyterlab'] = None; sys.argv = ['cvdl', 'lab'];"
        "runpy.run_module('cvdl', run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1 and "pip install" in result.stderr


STOPPED = """
import atexit, importlib.abc, os, signal, sys, time

def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == WHERE:
            ctrl_c()

sys.meta_path.insert(0, Slow())
sys.argv = ["cvdl", "doctor"]
atexit.register(ctrl_c)  # and once more, at the end
from cvdl.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no signal that stands for Ctrl-C")
@pytest.mark.parametrize("where", ["typer", "cvdl.course.workspace.doctor"])
def test_ctrl_c_is_one_line_from_the_first_import_to_the_end(where, tmp_path):
    code = STOPPED.replace("WHERE", repr(where))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr.strip()) == (130, "", "Stopped.")


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["grade", "there", "--out", "here"], ""),  # it says itself how to continue
        (["submit", "01"], "Stopped."),
        (
            ["train", "spynet"],
            "runs/spynet-quick: stopped. Rendered pairs and checkpoints are kept; --resume continues.",
        ),
    ],
)
def test_ctrl_c_within_a_command(monkeypatch, arguments, told):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    for place in (
        "cvdl.course.grading.command.grade_all",
        "cvdl.course.workspace.submit.submit",
        "cvdl.train.loop.train",
    ):
        monkeypatch.setattr(place, stopped)
    monkeypatch.setenv("CVDL_PROFILE", "quick")
    before = signal.getsignal(signal.SIGINT)
    try:
        result = CliRunner().invoke(app.app, arguments)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.exit_code, result.stderr.strip()) == (130, told)


def test_doctor_exit_code(monkeypatch):
    monkeypatch.setenv("CVDL_PROFILE", "huge")
    result = CliRunner().invoke(app.app, ["doctor"])
    assert result.exit_code == 1
    assert "Problem: CVDL_PROFILE is 'huge'" in result.stdout and "Traceback" not in result.output


def test_a_code_page_without_check_mark(monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="latin-1") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    monkeypatch.setenv("CVDL_PROFILE", "huge")
    with pytest.raises(SystemExit) as end:
        app.app(["doctor"])
    assert end.value.code == 1
    out, err = (stream.buffer.getvalue().decode("latin-1") for stream in streams if not stream.flush())
    assert out.startswith("? 1 problem") and not err


def library_failures():
    import torch
    from PIL import Image
    from safetensors import SafetensorError

    yield FileNotFoundError(2, "No such file or directory", "/a/b"), "/a/b cannot be used: No such file or directory"
    yield PermissionError(13, "Permission denied", "/a/b"), "/a/b cannot be used: Permission denied"
    yield OSError(36, "File name too long", "x" * 300), "File name too long"
    yield OSError("something"), "The operating system reported an error: something"
    yield UnicodeDecodeError("utf-8", b"\xa0", 0, 1, "invalid start byte"), "invalid start byte"
    yield Image.DecompressionBombError("400000000 pixels"), "PIL cannot handle this: 400000000 pixels"
    yield Image.UnidentifiedImageError("cannot identify image file"), "PIL cannot handle this: cannot identify"
    if find_spec("cv2"):
        import cv2

        yield cv2.error("height >= 12"), "cv2 cannot handle this: height >= 12"
    if find_spec("av"):
        import av

        yield av.error.InvalidDataError(1, "Invalid data", "clip.mp4"), "clip.mp4"
    yield SafetensorError("header too large"), "header too large"
    yield torch.OutOfMemoryError("CUDA out of memory"), "There is not enough memory"
    yield RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "There is not enough memory"
    yield MemoryError(), "There is not enough memory"


@pytest.mark.parametrize("failure, told", list(library_failures()), ids=lambda value: type(value).__name__)
def test_errors_of_libraries_are_one_paragraph(monkeypatch, failure, told):
    def fail(*_):
        raise failure

    monkeypatch.setattr("cvdl.course.workspace.lab.lab", fail)
    result = CliRunner().invoke(app.app, ["lab"])
    assert result.exit_code == 1 and result.stdout == ""
    assert told in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "mistake",
    [
        *(kind("x") for kind in (TypeError, KeyError, AttributeError, IndexError, AssertionError, ZeroDivisionError)),
        *(kind("x") for kind in (ValueError, NameError, RecursionError)),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_our_own_mistakes_keep_their_traceback(monkeypatch, mistake):
    def fail(*_):
        raise mistake

    monkeypatch.setattr("cvdl.course.workspace.lab.lab", fail)
    assert CliRunner().invoke(app.app, ["lab"]).exception is mistake


def test_a_closed_pipe_ends_quietly(monkeypatch):
    def fail(*_):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("cvdl.course.workspace.lab.lab", fail)
    result = CliRunner().invoke(app.app, ["lab"])
    assert result.exit_code == 1 and "Broken pipe" not in result.output


def test_warnings_of_the_course_are_notes():
    code = (
        "import warnings; from cvdl import errors; from cvdl.cli import base; base.main(False);"
        "warnings.warn('This is so.', errors.CourseWarning); warnings.warn('other')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, *others = result.stderr.splitlines()
    assert first == "Note: This is so." and "UserWarning: other" in others[0]


def test_the_nearest_set_is_suggested():
    for arguments in (["data", "sintel"], ["data", "show", "sintle-clean"]):
        result = CliRunner().invoke(app.app, arguments)
        assert result.exit_code == 1 and "Did you mean sintel-clean" in result.stderr
