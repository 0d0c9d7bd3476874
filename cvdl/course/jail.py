"""Running a student's program in a jail, and communicating with it.

Inside the jail there is no network, no home folder and no other hand-in, and only a small /tmp can be written to; the
system, Python, cvdl and its data can be read.  The user is 65534, "nobody", even if root starts it.  Time, processes,
memory, and the number and size of files are limited.  `choose` tests a back-end with a tiny program before using it, and
refuses if none holds.

Bubblewrap is tested with the course; podman 4.3 and docker 20.10 were tried by `cvdl grade --self-test`.
"""

import copy
import json
import os
import secrets
import shutil
import site
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from cvdl.course import syscalls
from cvdl.errors import CourseError
from cvdl.settings import ROOT, data_path

NOBODY = 65534
ETC = "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"
PROCESSES, FILES = 16, 128
MEMORY, FILE, TMP, ADDRESSES = 3 << 30, 8 << 20, 64 << 20, 16 << 30  # bytes; all processes, one file, /tmp, one process
SECONDS = 600  # of CPU time, for one process
LONGEST = 3600  # seconds of wall-clock time, for all processes, if root starts bubblewrap
PATIENCE = 60  # seconds of wall-clock time for a tiny program in a jail, and for podman's or docker's own commands
IMAGE = "cvdl-jail"
FILTER = 9  # the file descriptor from which bwrap reads the system call filter
LIMITS = {"nproc": PROCESSES, "nofile": FILES, "fsize": FILE, "cpu": SECONDS, "core": 0, "data": MEMORY}
SETTINGS = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/tmp",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


class Bubblewrap:
    """bwrap, 0.8 or newer: user namespaces, as an ordinary user.

    If root starts it, a first bwrap becomes nobody and starts a second one, since neither the process limit nor the
    system's own protections apply to root.
    """

    name, program = "bubblewrap", "bwrap"
    hidden = ()  # paths that must not be visible although they are in a shared folder
    install = "sudo apt install bubblewrap (also in dnf, pacman and zypper; version 0.8 or newer)"

    def command(self, python, name, package=None):
        """The command line that runs this Python's `python` arguments in the sandbox; package: the folder to use as cvdl."""
        package = package or ROOT / "cvdl"
        # The program is process 1, with its limits and filter; bwrap as process 1 would have neither.
        jailed = [
            *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
            *("--as-pid-1", "--seccomp", str(FILTER)),
            *("--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "jail", "--proc", "/proc", "--dev", "/dev"),
            *private_tmp(package if os.getuid() else ROOT / "cvdl"),  # where the first bwrap put it
            *(word for path in covered(self.hidden) for word in cover(path)),
            *("--size", str(FILE), "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/"),
            *("--chdir", "/tmp", "--clearenv"),
            *(word for pair in (SETTINGS | paths(ROOT, data_path())).items() for word in ("--setenv", *pair)),
            *(
                "prlimit",
                f"--as={ADDRESSES}",
                *(f"--{k}={v}" for k, v in LIMITS.items()),
                "--",
                sys.executable,
                *python,
            ),
        ]
        filtered = ["sh", "-c", f'exec "$@" {FILTER}<"$0"', syscalls.compiled().name]
        if os.getuid():
            return [*filtered, "bwrap", *readable(package), *jailed]
        # Between root and nobody there is a process that may kill: without it, the jail would outlive its parent.
        become = ["timeout", "--signal=KILL", str(LONGEST)]
        become += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        kept = (word for name in ("SETUID", "SETGID", "KILL") for word in ("--cap-add", f"CAP_{name}"))
        return [
            *(*filtered, "bwrap", *readable(package), "--bind", "/proc", "/proc", "--dev", "/dev", "--die-with-parent"),
            *(*private_tmp(package), "--cap-drop", "ALL", *kept),
            *(*become, "bwrap", "--ro-bind", "/", "/", *jailed),
        ]

    def stop(self, name):
        """Nothing to do: the jail dies with the process that was started."""


def cover(path):
    return ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]


class Container:
    """podman or docker, with an image that contains Python and the course's packages; cvdl is mounted from outside."""

    hidden = ()

    def __init__(self, name, options=()):
        """options: additional options that this program needs."""
        self.name, self.program, self.options = name, name, options
        self.install = (
            f"install {name}, and build an image {IMAGE} with this Python and the course's packages: "
            f"printf 'FROM docker.io/library/python:{sys.version_info[0]}.{sys.version_info[1]}-slim\\nRUN pip install torch torchvision "
            "matplotlib ipywidgets tqdm safetensors scikit-image typer --extra-index-url "
            f"https://download.pytorch.org/whl/cpu\\n' | {name} build -t {IMAGE} -"
        )

    def command(self, python, name, package=None):
        ulimits = {k: v for k, v in LIMITS.items() if k != "nproc"}  # --pids-limit counts only this jail's processes
        return [
            *(self.program, "run", "--rm", "--interactive", "--pull", "never", "--name", name),
            *("--network", "none", "--read-only", "--user", f"{NOBODY}:{NOBODY}", "--hostname", "jail"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", *self.options),
            *("--security-opt", f"seccomp={syscalls.profile().name}"),
            *("--pids-limit", str(PROCESSES)),
            *("--memory", str(MEMORY), "--memory-swap", str(MEMORY), "--shm-size", str(FILE), "--log-driver", "none"),
            *(word for k, v in ulimits.items() for word in ("--ulimit", f"{k}={v}:{v}")),
            *("--tmpfs", f"/tmp:rw,nosuid,nodev,size={TMP},mode=1777", "--workdir", "/tmp"),
            *("--volume", f"{package or ROOT / 'cvdl'}:/course/cvdl:ro", "--volume", f"{data_path()}:/course/data:ro"),
            *(word for path in covered(self.hidden) for word in self._cover(path)),
            *(f"--env={k}={v}" for k, v in (SETTINGS | paths("/course", "/course/data")).items() if k != "PATH"),
            *(IMAGE, "python", *python),
        ]

    def _cover(self, path):
        if not path.is_relative_to(data := data_path().resolve()):
            return []
        inside = f"/course/data/{path.relative_to(data)}"
        return ["--tmpfs", inside] if path.is_dir() else ["--volume", f"/dev/null:{inside}:ro"]

    def stop(self, name):
        """Kill the container, since killing the client leaves it alive."""
        with suppress(subprocess.TimeoutExpired):
            subprocess.run([self.program, "kill", name], capture_output=True, check=False, timeout=PATIENCE)


# Without these options, podman leaves /run, /var/tmp and (with control groups of version 1) /sys/fs/cgroup writable, and
# requests a process limit above its own, which not every root user may set.  --pids-limit limits the processes of a jail.
PODMAN = ["--read-only-tmpfs=false", "--tmpfs=/sys/fs/cgroup:ro,size=4k,mode=555", "--ulimit=nproc=4096:4096"]
BACKENDS = {b.name: b for b in (Container("podman", PODMAN), Container("docker"), Bubblewrap())}


def choose(name="auto", hidden=()):
    """The back-end of this name, or the first that holds.

    hidden: folders and files that must not be visible inside, wherever they are.  Raises CourseError, with instructions for
    installing one, if none holds.
    """
    if name not in ("auto", *BACKENDS):
        raise CourseError(f"There is no jail {name!r}; choose from auto, {', '.join(BACKENDS)}.")
    told = []
    for backend in BACKENDS.values() if name == "auto" else [BACKENDS[name]]:
        wrong = faults(backend)
        if not wrong:
            backend = copy.copy(backend)
            backend.hidden = tuple(Path(os.path.realpath(path)) for path in hidden)
            return backend
        told.append(f"{backend.name}: {'; '.join(wrong)}.\n  To use it: {backend.install}")
    raise CourseError(
        "Nothing was graded: students' code runs only in a jail, and no jail works on this machine.\n" + "\n".join(told)
    )


def faults(backend):
    """Why this back-end cannot be trusted here, tested with a tiny program in it -> list, empty if it holds."""
    if not shutil.which(backend.program):
        return [f"the program {backend.program} was not found"]
    try:
        done = probed(backend)
        seen = json.loads(done.stdout)
    except CourseError as error:
        return [str(error)]
    except subprocess.TimeoutExpired:
        return [f"a tiny test program in it did not finish within {PATIENCE} seconds"]
    except OSError as error:
        return [f"{backend.program} cannot be started ({error})"]
    except ValueError:
        return [f"a tiny test program did not run in it ({done.stderr.decode(errors='replace').strip()[-300:]})"]
    return [wrong for wrong in EXPECTED if seen.get(wrong) is not True]


def probed(backend):
    """Run PROBE in a jail -> the finished process.  Raises TimeoutExpired, OSError or CourseError; nothing is left running."""
    name = f"cvdl-{secrets.token_hex(8)}"
    command = backend.command(["-c", PROBE.replace("FORBIDDEN", str(syscalls.forbidden()))], name)
    environment = os.environ | {"CVDL_CANARY": "sings"}
    try:
        return subprocess.run(command, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, env=environment)
    except BaseException:  # out of time, or Ctrl-C
        backend.stop(name)
        raise


# A fault for each item that PROBE reports as true only if the jail holds.
EXPECTED = (
    "the user is not 65534",
    "it has privileges",
    "the network can be reached",
    "processes are not limited",
    "memory is not limited",
    "the size of files is not limited",
    "folders other than /tmp can be written to",
    "other programs can be seen",
    "namespaces can be created",
    "environment variables can be read",
    "process 1 is another program, without these limits",
    "system calls are not filtered",
)
PROBE = rf"""
import ctypes, errno, fcntl, json, mmap, os, socket
def refused(act):
    try:
        act()
    except (OSError, MemoryError, ValueError):
        return True
def fork():
    children = []
    try:
        for _ in range({2 * PROCESSES}):
            if not (child := os.fork()):
                os.close(hold); os.read(gate, 1); os._exit(0)
            children.append(child)
    finally:
        os.close(hold)
        for child in children: os.waitpid(child, 0)
def write(path, size=1):
    with open(path, "wb") as file: file.write(bytes(size))
def read(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""
def namespace():
    if ctypes.CDLL(None).unshare(0x10000000): raise OSError
def filtered():
    libc, F_SETLEASE = ctypes.CDLL(None, use_errno=True), 1024
    def missing(number):
        ctypes.set_errno(0)
        return libc.syscall(number, 0, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == errno.ENOSYS
    with open("/tmp/lease", "w") as file:
        leased = refused(lambda: fcntl.fcntl(file, F_SETLEASE, fcntl.F_WRLCK))
    vsock = refused(lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
    return status["Seccomp"].strip() == "2" and all(map(missing, FORBIDDEN)) and leased and vsock
status = dict(line.split(":\t", 1) for line in open("/proc/self/status"))
gate, hold = os.pipe()
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
found = [
    set(os.getresuid() + os.getresgid()) == {{{NOBODY}}},
    int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"].strip() == "1",
    {{line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line}} <= {{"lo"}} and refused(lambda: socket.create_connection(("1.1.1.1", 53), 2)),
    refused(fork),
    refused(lambda: mmap.mmap(-1, {MEMORY + (1 << 20)}, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)),
    refused(lambda: write("/tmp/large", {FILE + 1})),
    all(refused(lambda: write(folder + "/x")) for folder in ("/", "/usr", "/dev", "/home", "/run", "/var/tmp", "/sys/fs/cgroup", os.path.dirname(os.__file__))),
    len([p for p in os.listdir("/proc") if p.isdigit()]) <= 4,
    refused(namespace),
    "CVDL_CANARY" not in os.environ and b"CVDL_CANARY" not in read("/proc/1/environ"),
    os.getpid() == 1,
    filtered(),
]
print(json.dumps(dict(zip({EXPECTED!r}, found))))
"""


def readable(package):
    """Options of bwrap for the folders that can be read inside."""
    shown = ["--perms", "0755", "--dir", "/tmp"]
    for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(folder):
            shown += ["--symlink", os.readlink(folder), folder]
        else:
            shown += ["--ro-bind-try", folder, folder]
    return shown + lent(False, package)


def private_tmp(package):
    """Options for an empty /tmp, with those shared folders that are below the real one."""
    return ["--size", str(TMP), "--perms", "1777", "--tmpfs", "/tmp", *lent(True, package)]


def lent(below_tmp, package):
    """Options for Python, its packages, cvdl and its data: either those below /tmp or all others."""
    shown, made, bound = [], {"/", "/usr", "/tmp"}, [Path("/usr")]
    for path in (*ETC, *folders()):
        if any(Path(path).is_relative_to(b) for b in bound) or not os.path.exists(path):
            continue
        if Path(path).is_relative_to("/tmp") != below_tmp:
            continue
        bound.append(Path(path))
        for parent in reversed(Path(path).parents):  # bwrap would create them for root only
            if str(parent) not in made:
                made.add(str(parent))
                shown += ["--perms", "0755", "--dir", str(parent)]
        shown += ["--ro-bind-try", path, path]
    if (ROOT / "cvdl").is_relative_to("/tmp") == below_tmp:  # last, so that it covers a copy in the others
        for parent in reversed((ROOT / "cvdl").parents):
            if str(parent) not in made and not any(parent.is_relative_to(b) for b in bound):
                shown += ["--perms", "0755", "--dir", str(parent)]
        shown += ["--ro-bind", str(package), str(ROOT / "cvdl")]
    return shown


def folders():
    """The folders of Python, its packages and the course's data, each before its subfolders."""
    own = [sys.base_prefix, sys.prefix, *site.getsitepackages(), *user_site(), str(data_path())]
    return sorted({os.path.realpath(path) for path in own})


def covered(hidden):
    """Those of the hidden paths that would be visible inside."""
    return [path for path in hidden if any(path.is_relative_to(folder) for folder in ("/usr", *folders()))]


def user_site():
    return [site.getusersitepackages()] if site.ENABLE_USER_SITE else []


def paths(cvdl, data):
    """Environment variables with which Python finds cvdl, installed or not, and cvdl finds its data."""
    return {"PYTHONPATH": os.pathsep.join([str(cvdl), *user_site()]), "CVDL_DATA": str(data)}
