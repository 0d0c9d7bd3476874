"""The jail holds, and what comes out of it is read with care."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from cvdl.course.exercises.comparison import CallFailed
from cvdl.course.grading.sandbox import backends, client, protocol, syscalls
from cvdl.course.grading.sandbox.backends import BACKENDS, IMAGE, Container, choose, faults
from cvdl.errors import CourseError
from cvdl.settings import ROOT
from tests import RUNAWAY


def inside(backend, program):
    """Run a program in the jail -> what it printed."""
    command = backend.command(["-c", program], "cvdl-test")
    return subprocess.run(command, capture_output=True, timeout=RUNAWAY, stdin=subprocess.DEVNULL).stdout.decode()


def test_what_can_be_seen(backend):
    program = """
import json, os, pathlib
root = pathlib.Path(os.environ["CVDL_DATA"]).parent
def count(*parts): return sum(len(files) for *_, files in os.walk(root.joinpath(*parts)))
print(json.dumps({p: count(p) for p in ("cvdl", "data", "solutions", "tests", "work", ".git")} | {"uid": os.getuid(),
    "home": os.environ["HOME"], "sockets": [str(p) for p in pathlib.Path("/").glob("*/*.sock")], "var": os.path.exists("/var")}))
"""
    seen = json.loads(inside(backend, program))
    assert seen.pop("cvdl") and seen.pop("data")
    assert seen == {
        "solutions": 0,
        "tests": 0,
        "work": 0,
        ".git": 0,
        "uid": 65534,
        "home": "/tmp",
        "sockets": [],
        "var": False,
    }


@pytest.mark.parametrize("below_tmp", [False, True])
def test_marks_below_the_data_are_not_seen(backend, below_tmp, monkeypatch):
    """Wherever the teacher puts hand-ins and marks, also where the course's data are."""
    with tempfile.TemporaryDirectory(dir="/tmp" if below_tmp else ROOT) as folder:
        data = Path(folder)
        for name in ("open", "marks/seed", "names.txt"):
            (data / name).parent.mkdir(exist_ok=True)
            (data / name).write_text("known")
        for path in (data, *data.rglob("*")):
            path.chmod(0o755)
        monkeypatch.setenv("CVDL_DATA", folder)
        program = f"""
from pathlib import Path
data = Path({folder!r})
def text(path):
    try:
        return path.read_text()
    except OSError:
        return ""
print(sorted(p.name for p in data.rglob("*")), text(data / "names.txt"), text(data / "open"))
"""
        hiding = choose("bubblewrap", [data / "marks", data / "names.txt"])
        assert inside(hiding, program) == "['marks', 'names.txt', 'open']  known\n"
        assert "'seed'" in inside(backend, program)


def test_a_course_below_tmp_is_found(backend, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = Path(folder)
        (root / "cvdl").mkdir()
        (root / "secret").write_text("")
        (root / "cvdl/__init__.py").write_text("here = True")
        for path in (root, *root.iterdir()):
            path.chmod(0o755)
        monkeypatch.setattr(backends, "ROOT", root)
        program = f"import cvdl, os; print(cvdl.here, os.listdir({folder!r}), os.access('/tmp/new', os.F_OK))"
        assert inside(backend, program) == "True ['cvdl'] False\n"


@pytest.mark.parametrize("end", ["close", "kill"])
def test_nothing_outlives_the_judge(backend, end):
    program = "import os, time\nos.fork()\nos.setsid()\nprint('here', flush=True)\ntime.sleep(1000)"
    starter = f"import subprocess, sys\nsubprocess.run({backend.command(['-c', program], 'cvdl-test')})"
    judge = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    with judge:
        assert judge.stdout.readline() == b"here\n"
        before = descendants(judge.pid)
        assert len(before) >= 4
        # the judge itself, or the process that it started and ends when it is done
        os.kill(judge.pid if end == "kill" else before[1], signal.SIGKILL)
        for _ in range(20 * RUNAWAY):
            judge.poll()
            if not (left := [p for p in before if alive(p)]):
                break
            time.sleep(0.05)
        assert not left


def descendants(pid):
    children = (p.read_text().split() for p in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(d for several in children for child in several for d in descendants(int(child)))]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Leaky(type(BACKENDS["bubblewrap"])):
    """Bubblewrap without some of its options, which the probe has to notice."""

    def __init__(self, *without):
        self.without = without

    def command(self, python, name, *package):
        words = super().command(python, name, *package)
        return [w for w in words if not w.startswith(self.without)]


@pytest.mark.parametrize(
    "option, fault",
    [
        ("--nproc", "processes are not limited"),
        ("--data", "memory is not limited"),
        ("--fsize", "the size of files is not limited"),
        ("--clearenv", "environment variables can be read"),
    ],
)
def test_the_probe_notices_a_hole(backend, option, fault):
    assert faults(Leaky(option)) == [fault]


def test_the_probe_notices_another_process_1(backend):
    assert faults(Leaky("--as-pid-1")) == [
        "environment variables can be read",
        "process 1 is another program, without these limits",
    ]


def test_the_probe_notices_that_there_is_no_filter(backend):
    assert faults(Leaky("--seccomp", "9")) == ["system calls are not filtered"]
    both = {"system calls are not filtered", "namespaces can be created"}
    assert set(faults(Leaky("--seccomp", "9", "--disable-userns"))) == both


def test_the_probe_notices_an_open_door(backend):
    class Shared(Leaky):
        def command(self, python, name, *package):
            return ["--unshare-uts" if w == "--unshare-all" else w for w in super().command(python, name, *package)]

    assert set(faults(Shared("--as-pid-1"))) == {
        "the network can be reached",
        "other programs can be seen",
        "process 1 is another program, without these limits",
    }


def test_without_a_jail_nothing_is_run(monkeypatch):
    monkeypatch.setattr(backends.shutil, "which", lambda program: None)
    with pytest.raises(CourseError, match="Nothing was graded") as refusal:
        choose()
    assert all(word in str(refusal.value) for word in ("apt install bubblewrap", "podman build", "docker build"))
    with pytest.raises(CourseError, match="no jail 'chroot'"):
        choose("chroot")


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_containers_where_there_are_some(name):
    if not shutil.which(name) or subprocess.run([name, "image", "inspect", IMAGE], capture_output=True).returncode:
        pytest.skip(f"no {name} with an image {IMAGE}")
    limits = [
        "--ulimit",
        "nproc=4096:4096",
        "--ulimit",
        "nofile=128:128",
    ]  # what podman may set is not what is tested here
    plain = subprocess.run([name, "run", "--rm", "--network", "none", *limits, IMAGE, "true"], capture_output=True)
    if plain.returncode:
        pytest.skip(f"{name} runs no container on this machine: {plain.stderr.decode(errors='replace')[-200:]}")
    assert faults(BACKENDS[name]) == []


@pytest.fixture
def fake_docker(tmp_path, monkeypatch):
    """A program that writes down its arguments and then sleeps: for `run` in all cases, else if the file `hang` exists."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncd {tmp_path}\n[ "$1" = run ] || {{ echo "$@" >> called; [ -e hang ] || exit 1; }}\nexec sleep 1000\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(backends, "PATIENCE", 0.2)
    return tmp_path


def test_a_probe_that_does_not_end_is_stopped_by_its_name(fake_docker, monkeypatch):
    backend, names = Container("docker"), []
    command = backend.command
    monkeypatch.setattr(backend, "command", lambda python, name: names.append(name) or command(python, name))
    monkeypatch.setattr(backend, "stop", slowly(backend.stop, monkeypatch))
    assert faults(backend) == ["a tiny test program in it did not finish within 0.2 seconds"]
    assert (fake_docker / "called").read_text() == f"kill {names[0]}\n"


def slowly(stop, monkeypatch):
    """`stop` with all the time that a busy machine needs."""

    def stopped(name):
        with monkeypatch.context() as patch:
            patch.setattr(backends, "PATIENCE", 600)
            stop(name)

    return stopped


def test_ctrl_c_during_a_probe_stops_it(fake_docker, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    backend, stopped = Container("docker"), []
    monkeypatch.setattr(backend, "stop", stopped.append)
    monkeypatch.setattr(backends.subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        faults(backend)
    assert len(stopped) == 1 and stopped[0].startswith("cvdl-")


def test_stopping_does_not_wait_for_ever(fake_docker):
    (fake_docker / "hang").touch()
    Container("docker").stop("cvdl-x")  # without its limit of time, this would sleep


def test_a_program_that_cannot_be_started(fake_docker, monkeypatch):
    (fake_docker / "bin/docker").write_text("neither a script nor a program")
    monkeypatch.setenv("PATH", str(fake_docker / "bin"))
    assert "cannot be started" in faults(Container("docker"))[0]


def test_one_list_of_system_calls_for_all():
    rules = json.loads(Path(syscalls.profile().name).read_text())
    assert rules["defaultAction"] == "SCMP_ACT_ERRNO"
    (always,) = [set(r["names"]) for r in rules["syscalls"] if r["action"] == "SCMP_ACT_ALLOW" and "args" not in r]
    (refused,) = [r for r in rules["syscalls"] if r["action"] == "SCMP_ACT_ERRNO"]
    assert {"clone3", "keyctl"} <= set(refused["names"]) and refused["errnoRet"] == errno.ENOSYS
    assert not always & set(refused["names"])
    assert {"read", "execve", "futex"} <= always
    assert not always & {"keyctl", "ptrace", "io_uring_setup", "memfd_create", "unshare", "clone", "socket", "fcntl"}
    assert {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"} in [
        rule["args"][0] for rule in rules["syscalls"] if rule["names"] == ["clone"]
    ]
    assert len(syscalls.forbidden()) > 60


def test_without_libseccomp_no_sandbox_is_trusted(monkeypatch):
    for cached in (syscalls.allowed, syscalls.compiled, syscalls.forbidden):
        cached.cache_clear()
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    assert "libseccomp" in faults(BACKENDS["bubblewrap"])[0]


@pytest.mark.parametrize("name", ["podman", "docker"])
def test_command_line_of_containers(name):
    words = BACKENDS[name].command(["-c", "1"], "cvdl-1")
    line = " ".join(words)
    assert words[:2] == [name, "run"] and line.endswith(" cvdl-jail python -c 1")
    for option in (
        "--rm --interactive --pull never --name cvdl-1 --network none --read-only --user 65534:65534",
        "--cap-drop ALL --security-opt no-new-privileges",
        "--pids-limit 16 --memory 3221225472 --memory-swap 3221225472",
        "--ulimit nofile=128:128 --ulimit fsize=8388608:8388608 --ulimit cpu=600:600 --ulimit core=0:0",
        "--tmpfs /tmp:rw,nosuid,nodev,size=67108864,mode=1777",
        "/cvdl:/course/cvdl:ro",
        "--env=PYTHONPATH=/course",
    ):
        assert option in line, option
    assert line.count("--volume") == 2
    assert "--security-opt seccomp=" in line
    assert ("--read-only-tmpfs=false" in line) is (name == "podman")


class Liar:
    """No jail: a program that says what it likes on the line to the judge."""

    def __init__(self, program):
        self.program = program

    def command(self, python, name, package):
        return [sys.executable, "-ISc", f"import os, time\n{self.program}"]

    def stop(self, name):
        pass


@pytest.mark.parametrize(
    "program, error",
    [
        ("time.sleep(10**6)", TimeoutError),
        ("os.write(1, bytes(8)); time.sleep(10**6)", TimeoutError),  # half a frame
        ("", EOFError),
        ("os.write(1, bytes(8))", EOFError),
        ("os.kill(os.getpid(), 9)", EOFError),
        ("while True: os.write(1, b'\\xff' * 4096)", ValueError),  # a length of 4 GB
        ("os.write(1, b'A' + bytes([0, 0, 0, 1, 0, 0, 0, 0]) + b'{'); time.sleep(10**6)", ValueError),
        ("x = b'x' * (1 << 28); y = bytearray(x)\ntime.sleep(10**6)", MemoryError),
    ],
)
def test_liars(program, error, monkeypatch):
    monkeypatch.setattr(client, "MEMORY", 1 << 28)
    process = client.SandboxProcess(Liar(program))
    try:
        with pytest.raises(error):
            process.ask(protocol.pack({}), 1 if error is TimeoutError else RUNAWAY)
    finally:
        process.close()
    assert process.process.returncode is not None


class Piped:
    """No jail, but two pipes instead of a socket, as podman and docker lay them."""

    def command(self, python, name, package):
        return ["sh", "-c", 'cat | "$@" | cat', "sh", sys.executable, *python]

    def stop(self, name):
        pass


def test_the_program_in_the_sandbox_may_be_at_the_end_of_pipes():
    image = torch.tensor([[0, 255]], dtype=torch.uint8)
    process = client.SandboxProcess(Piped(), None, "library")
    try:
        request = {"id": "start.to_unit", "args": (image,), "kwargs": {}, "weights": None}
        assert process.ask(protocol.pack(request), RUNAWAY)["answer"].tolist() == [[0.0, 1.0]]
    finally:
        process.close()


def message(text, raw):
    return protocol.LENGTHS.pack(len(text), len(raw)) + text + raw


def test_a_message_comes_as_it_was_sent():
    transposed = torch.arange(6.0).reshape(2, 3).T
    sent = {"a": [1, -0.0, float("inf"), True, None, "é\ud800"], "b": (transposed, torch.tensor(True)), "c": {3: ()}}
    got = protocol.unpack(protocol.pack(sent), strides=True)
    assert got["a"] == sent["a"] and got["c"] == sent["c"] and type(got["b"]) is tuple
    assert torch.equal(got["b"][0], transposed) and got["b"][0].stride() == transposed.stride()
    for dtype in (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool):
        tensor = torch.ones(2, 0, 3, dtype=dtype)
        assert torch.equal(protocol.unpack(protocol.pack(tensor)), tensor)


@pytest.mark.parametrize(
    "tensor", [torch.eye(2).to_sparse(), torch.zeros(2, dtype=torch.complex128), torch.zeros(1 << 23)]
)
def test_what_does_not_cross(tensor):
    with pytest.raises(CallFailed, match="returned"):
        protocol.pack(tensor)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[1]", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"9223372036854775808", b'{"dict": 3}', b'{"code": []}',
     b'{"tensor": "0", "strides": []}', b'{"list": [], "tuple": []}', b'{"dict": [[{"list": []}, 1]]}'],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_message(text):
    with pytest.raises(ValueError, match="no message"):
        protocol.unpack(message(text, b""))


def test_a_strange_tensor_is_no_way_in():
    text, raw = protocol.split(protocol.pack(torch.tensor([True, False])))
    assert protocol.unpack(message(text, raw[:-2] + b"\x02\xff")).tolist() == [True, True]
    for broken in (raw[:-1], raw + b"x", b"\xff" * 8, raw.replace(b"[2]", b"[9]"), b"\x80\x04pickle"):
        with pytest.raises(ValueError, match="no message"):
            protocol.unpack(message(text, broken))
    strides = text.replace(b"[1]", b"[1000000000000]")
    assert strides != text and protocol.unpack(message(strides, raw)).tolist() == [
        True,
        False,
    ]  # a stranger's are not followed
