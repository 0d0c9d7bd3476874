"""Attacks by system calls that a container forbids, and by what all jails of a machine share."""

import ctypes
import os

from cvdl.course.grading.attacks.base import RNN, Attack, answer, code, notebook, put, together

# Numbers of system calls on x86-64 and on 64-bit ARM.
NUMBERS = {
    "ptrace": (101, 117),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "acct": (163, 89),
    "swapon": (167, 224),
    "reboot": (169, 142),
    "setns": (308, 268),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmdt": (67, 197),
}
HELPERS = f"""
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
numbers = {NUMBERS!r}
def call(name, *args):
    number = numbers[name][platform.machine() == "aarch64"]
    args = [a if isinstance(a, bytes) or a is None or not isinstance(a, int) else ctypes.c_long(a) for a in args]
    result = libc.syscall(ctypes.c_long(number), *args)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""
SESSION, SEARCH, READ, UPDATE, TIMEOUT = -3, 10, 11, 2, 15
SHUT = "shut: |stopped: the process has ended"


def reaches(name, tries, act):
    """An attack that has got through if `act` works the first time, and fails if it raises OSError."""
    body = f"""
import sys
done = vars(sys).setdefault("done", set())
try:
    if {name!r} not in done:
        {act.replace(chr(10), chr(10) + "    ")}
        done.add({name!r})
except OSError as error:
    raise RuntimeError(f"shut: {{error}}")
return "it is open"
"""
    return name, tries, body, HELPERS, SHUT


def planted(folder, trap):
    """A key in the keyring of whoever grades -> its number, or 0 where there are no keyrings."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = [NUMBERS[n][os.uname().machine == "aarch64"] for n in ("add_key", "keyctl")]
    secret = b"as it was"
    key = libc.syscall(
        number[0], b"user", f"cvdl-{trap.marker}".encode(), secret, ctypes.c_long(len(secret)), ctypes.c_long(SESSION)
    )
    if key > 0:
        libc.syscall(number[1], TIMEOUT, ctypes.c_long(key), 1800)
    return max(key, 0)


def keys(*bodies):
    """`make` of a hand-in for the first exercises of notebook 01, with a key planted beforehand."""

    def make(folder, trap):
        known = trap.known | {"key": planted(folder, trap)}
        cells = [f"trap = {known!r}", HELPERS]
        for id, body in zip(IDS, bodies, strict=False):
            cells.append(answer(body, id))
        put(folder / "mallory" / "mine.ipynb", notebook(*cells, stem=RNN))

    return make


IDS = ("rnn.step", "rnn.unroll", "rnn.parameters", "rnn.match")
READS = f"""
room = ctypes.create_string_buffer(100)
try:
    call("keyctl", {READ}, trap["key"] or {SESSION}, room, 100, 0)
except OSError as error:
    try:
        found = call("keyctl", {SEARCH}, {SESSION}, b"user", ("cvdl-" + trap["marker"]).encode(), 0)
    except OSError as error:
        raise RuntimeError(f"shut: {{error}}")
return "it is open"
"""
WRITES = f"""
try:
    call("keyctl", {UPDATE}, trap["key"], b"mine", 4, 0)
except OSError as error:
    raise RuntimeError(f"shut: {{error}}")
return "it is open"
"""
LEAVES = f"""
try:
    call("add_key", b"user", b"cvdl-note", b"mine", 4, {SESSION})
except OSError:
    pass
os._exit(0)
"""
FINDS = f"""
try:
    call("keyctl", {SEARCH}, {SESSION}, b"user", b"cvdl-note", 0)
except OSError as error:
    raise RuntimeError(f"shut: {{error}}")
return "it is open"
"""
KEYS = keys(READS, WRITES, LEAVES, FINDS)


def attack(name, tries, body, seen="", before="", limits=None, **more):
    return Attack(name, tries, code(body, before), seen, limits=limits or {}, **more)


# Bodies for two exercises, of which the first ends its process: the second runs in a jail of its own.
STAYS_IN_HOME = """
import os, site
for path in (site.getusersitepackages(), "/tmp", "/dev/shm", "/var/tmp"):
    try:
        os.makedirs(path, exist_ok=True)
        for name in ("usercustomize.py", "sitecustomize.py", "mine.pth", "typing_extensions.py"):
            open(path + "/" + name, "w").write("import builtins; builtins.left_behind = True")
    except OSError:
        pass
os.environ["PYTHONSTARTUP"] = "/tmp/usercustomize.py"
os._exit(0)
"""
IN_HOME = """
import builtins, os
if hasattr(builtins, "left_behind") or os.path.exists("/tmp/usercustomize.py"):
    return "it is open"
raise RuntimeError("shut: nothing is left")
"""
SURVIVES = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(s, signal.SIG_IGN)
        os.execv("/usr/bin/sleep", ["sleep", "1000", "0." + trap["marker"]])
    os._exit(0)
os.wait()
os._exit(0)
"""
STILL_THERE = """
import os
for p in os.listdir("/proc"):
    if p.isdigit():
        try:
            if trap["marker"].encode() in open(f"/proc/{p}/cmdline", "rb").read():
                return "it is open"
        except OSError:
            pass
raise RuntimeError("shut: nobody is left")
"""


def pairs(*bodies):
    def make(folder, trap):
        cells = [f"trap = {trap.known!r}"] + [answer(b, i) for i, b in zip(IDS, bodies, strict=False)]
        put(folder / "mallory" / "mine.ipynb", notebook(*cells, stem=RNN))

    return make


LEFT = pairs(STAYS_IN_HOME, IN_HOME, SURVIVES, STILL_THERE)

ATTACKS = [
    Attack("keyring read", "reads a key of whoever grades", KEYS, SHUT, id="rnn.step"),
    Attack("keyring write", "writes over that key", KEYS, SHUT, id="rnn.unroll"),
    Attack("keyring note", "leaves a key, and ends its process", KEYS, "stopped: the process has ended", id="rnn.parameters"),
    Attack("keyring note found", "looks for the key that the exercise before it left", KEYS, SHUT, id="rnn.match"),
    *together(
        reaches("ptrace of process 1", "takes hold of the jail's first process", 'call("ptrace", 0x4206, 1, 0, 0)'),
        reaches("memory of process 1", "writes into its memory by process_vm_writev", """
    begin = int(next(l for l in open("/proc/1/maps") if " rw-p " in l).split("-")[0], 16)
    room = ctypes.create_string_buffer(8)
    mine, theirs = (ctypes.c_ulong * 2)(ctypes.addressof(room), 8), (ctypes.c_ulong * 2)(begin, 8)
    call("process_vm_readv", 1, mine, 1, theirs, 1, 0), call("process_vm_writev", 1, mine, 1, theirs, 1, 0)"""),
        reaches("/proc/1/mem", "opens the memory of process 1 to write", 'open("/proc/1/mem", "r+b")'),
        reaches("descriptors of process 1", "takes them by pidfd_getfd", 'p = call("pidfd_open", 1, 0); [call("pidfd_getfd", p, n, 0) for n in (0, 1)]'),
        reaches("namespaces of process 1", "joins them by setns", '[call("setns", os.open("/proc/1/ns/" + n, os.O_RDONLY), 0) for n in ("user", "mnt")]'),
    ),
    *together(
        reaches("io_uring", "asks for a ring", 'call("io_uring_setup", 4, ctypes.create_string_buffer(120))'),
        reaches("userfaultfd", "asks to handle its own page faults", 'call("userfaultfd", 1)'),
        reaches("bpf", "loads a program into the kernel", 'call("bpf", 0, (ctypes.c_uint * 30)(1, 4, 4, 1), 120)'),
        reaches("perf_event_open", "counts events of the processor", 'call("perf_event_open", (ctypes.c_uint * 32)(1, 128), 0, -1, -1, 0)'),
        reaches("clone3 with namespaces", "a child in a user namespace of its own", """
    child = call("clone3", (ctypes.c_ulong * 11)(0x10000000, 0, 0, 0, 17), 88)
    if child == 0: os._exit(0)
    os.waitpid(child, 0)"""),
        reaches("new calls to mount", "fsopen, open_tree and mount_setattr", 'call("open_tree", -100, b"/", 1)'),
        reaches("file handles", "opens a file by its number", 'h = (ctypes.c_uint * 34)(128); m = ctypes.c_int(); call("name_to_handle_at", -100, b"/usr", h, ctypes.byref(m), 0); call("open_by_handle_at", -100, h, 0)'),
        reaches("the kernel's log", "reads it by syslog", 'r = libc.klogctl(3, ctypes.create_string_buffer(4096), 4096)\n    if r < 0: raise OSError("refused")'),
    ),
    *together(
        reaches("fanotify", "watches files that others open", 'call("fanotify_init", 0x200, 0)'),
        reaches("AF_VSOCK", "a socket to the host of a virtual machine", "import socket; socket.socket(40, socket.SOCK_STREAM).bind((0xFFFFFFFF, 0xFFFFFFFF))"),
        reaches("AF_ALG", "a socket to the kernel's ciphers", 'import socket; socket.socket(38, socket.SOCK_SEQPACKET).bind(("hash", "sha256"))'),
        reaches("calls of an administrator", "modules, swap, accounts, kernels, quotas", """
    for name, args in (("acct", (None,)), ("swapon", (b"/tmp/x", 0)), ("init_module", (b"", 0, b"")), ("kexec_load", (0, 0, None, 0)), ("reboot", (0xFEE1DEAD, 672274793, 0, None))):
        try:
            call(name, *args)
            break
        except OSError:
            continue
    else:
        raise OSError("all are refused")"""),
        reaches("leases on the course", "takes leases on files that all jails share", """
    import fcntl, glob, cvdl, torch
    taken = []
    for path in [torch.__file__, cvdl.__file__, *glob.glob(os.path.dirname(cvdl.__file__) + "/course/*.py"), *glob.glob(os.environ["CVDL_DATA"] + "/*.*")]:
        with open(path, "rb") as file:
            try:
                fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                taken.append(path)
            except OSError:
                pass
    if not taken: raise OSError("none was given")"""),
        reaches("hidden mounts", "opens the folder of a file descriptor of its own start", '[os.listdir(f"/proc/self/fd/{d}/..") for d in os.listdir("/proc/self/fd") if os.path.isdir(f"/proc/self/fd/{d}")] or open("/nowhere")'),
    ),
    Attack("customised Python", "leaves start-up files for the next Python, and ends its process", LEFT, "stopped: the process has ended", id="rnn.step"),
    Attack("customised Python found", "looks for the start-up files that were left", LEFT, SHUT, id="rnn.unroll"),
    Attack("process of an earlier exercise", "leaves a process that ignores signals", LEFT, "stopped: the process has ended", id="rnn.parameters"),
    Attack("process of an earlier exercise found", "looks for the process that was left", LEFT, SHUT, id="rnn.match"),
    attack(
        "memory of System V",
        "fills segments of shared memory, and lets go of them",
        """
        for _ in range(40):
            n = call("shmget", 0, 64 << 20, 0o1600)
            at = call("shmat", n, 0, 0)
            ctypes.memset(at, 1, 64 << 20)
            call("shmdt", at)
        return image / 255
        """,
        "not judged: shared memory|stopped|shut|Error",
        before=HELPERS,
        limits={"MEMORY": 1 << 30},
    ),
    attack(
        "page tables",
        "eight processes touch an address in every 2 MB: only the kernel's tables grow",
        """
        import mmap, time
        me, children = os.getpid(), []
        def fill():
            m = mmap.mmap(-1, 56 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)
            for at in range(0, len(m), 1 << 21): m[at]
            return m
        for _ in range(8):
            if (child := os.fork()) == 0:
                kept = fill()
                open(f"/tmp/{os.getpid()}", "w").close()
                time.sleep(100)
                os._exit(0)
            children.append(child)
        for _ in range(200):
            if all(os.path.exists(f"/tmp/{c}") for c in children): break
            time.sleep(0.1)
        total = sum(int(l.split()[1]) for c in children for l in open(f"/proc/{c}/status") if l.startswith("VmPTE"))
        if total > 600 << 10: return image / 255
        raise RuntimeError(f"shut: {total >> 10} MB")
        """,
        "shut: |memory|stopped|Error",
        before=HELPERS,
        limits={"MEMORY": 512 << 20},
    ),
]  # fmt: skip
