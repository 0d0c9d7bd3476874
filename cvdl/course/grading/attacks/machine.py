"""Attacks on the machine: network, processes, memory, disk, files and time."""

from cvdl.course.grading.attacks.base import Attack, code, together

SHORT = {"CALL": 2, "LOAD": 1}  # seconds


def attack(name, tries, body, seen="", before="", limits=None, **more):
    return Attack(name, tries, code(body, before), seen, limits=limits or {}, **more)


def reaches(name, tries, act):
    """An attack that gives the right number of parameters if `act` works, and fails if it raises OSError."""
    body = f"""
import os, socket
try:
    {act}
except OSError as error:
    raise RuntimeError(f"shut: {{error}}")
return "it is open"
"""
    return name, tries, body, "", "shut: "


DAEMON = """
import os
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv("/usr/bin/sleep", ["sleep", "1000", "0." + trap["marker"]])
        os._exit(0)
    os.wait()
"""

ATTACKS = [
    *together(
        reaches("IPv4", "connects to a server on this machine", 'socket.create_connection(tuple(trap["tcp"]), 3)'),
        reaches("IPv6", "the same by IPv6", 'socket.create_connection(tuple((trap.get("tcp6") or ("::1", 1))[:2]), 3)'),
        reaches(
            "UDP",
            "sends a packet",
            'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", tuple(trap["udp"]))\n    raise OSError("sent, and nobody knows where")',
        ),
        reaches(
            "the internet",
            "connects to 1.1.1.1 and 2606:4700::1111",
            '[socket.create_connection((a, 53), 3) for a in ("1.1.1.1", "2606:4700:4700::1111")]',
        ),
        reaches("DNS", "asks for a name", 'socket.getaddrinfo("example.org", 80)'),
        reaches(
            "unix socket", "connects to a socket in a folder", 'socket.socket(socket.AF_UNIX).connect(trap["unix"])'
        ),
        reaches(
            "abstract unix socket",
            "connects to a socket without a folder",
            'socket.socket(socket.AF_UNIX).connect(trap["abstract"])',
        ),
        reaches("raw socket", "listens to all packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    ),
    *together(
        reaches(
            "writes a file", "overwrites a file of the judge", 'open(trap["folder"] + "/written", "w").write("mine")'
        ),
        reaches(
            "reads other hand-ins",
            "looks into the folder beside its own",
            'open(trap["folder"] + "/others/anna.ipynb").read()',
        ),
        reaches("reads the home", "keys and the like", '[os.listdir(p) for p in ("/home", "/root/.ssh", "/var/mail")]'),
        reaches(
            "reads the solutions",
            "and the tests",
            'os.listdir(trap["root"] + "/solutions"), os.listdir(trap["root"] + "/tests")',
        ),
        reaches("reads passwords", "/etc/shadow, /etc/passwd", 'open("/etc/shadow").read()'),
    ),
    attack(
        "reads the environment",
        "of itself and of all that it sees",
        """
        import os
        if "CVDL_TRAP" in os.environ:
            return image / 255
        raise KeyError("it is bare")
        """,
        "it is bare",
    ),
    attack(
        "stays in the course",
        "writes into cvdl, torch and Python for the hand-ins to come",
        """
        import cvdl, json, os, sys, torch
        done = []
        for path in (cvdl.__file__, torch.__file__, json.__file__, os.path.dirname(torch.__file__) + "/../mine.pth",
                     sys.executable, "/usr/lib/x", "/etc/ld.so.preload", "/var/tmp/x", "/dev/shm/../x", "/x"):
            for mode in ("ab", "r+b"):
                try:
                    open(path, mode).close()
                    done.append(path)
                except OSError:
                    pass
        if done:
            return image / 255
        raise RuntimeError("shut")
        """,
        "shut",
    ),
    attack(
        "leaves something in /tmp",
        "for the hand-in after it, to be found by the next call",
        """
        import os
        found = os.path.exists("/tmp/mine") or os.path.exists("/dev/shm/mine")
        for path in ("/tmp/mine", "/dev/shm/mine"):
            try:
                open(path, "w").close()
            except OSError:
                pass
        if found:
            return image / 255
        os._exit(0)
        """,
        "stopped: the process has ended",
    ),
    attack(
        "breaks out",
        "mounts, namespaces, chroot, other users, devices, kernel settings, the terminal",
        """
        import ctypes, os, socket
        c, tried = ctypes.CDLL(None, use_errno=True), {}
        tried["mount"] = c.mount(b"none", b"/tmp", b"tmpfs", 0, None)
        tried["unshare"] = c.unshare(0x10000000)
        tried["remount"] = c.mount(b"none", b"/", None, 0x1020, None)
        tried["umount"] = c.umount2(b"/tmp", 2)
        for name, act in {
            "chroot": lambda: os.chroot("/tmp"), "setuid": lambda: os.setuid(0), "setgroups": lambda: os.setgroups([0]),
            "device": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(8, 0)), "kernel": lambda: open("/proc/sys/kernel/core_pattern", "w"),
            "sysrq": lambda: open("/proc/sysrq-trigger", "w"), "terminal": lambda: open("/dev/tty"), "kmsg": lambda: open("/dev/kmsg"),
            "mem": lambda: open("/dev/mem"), "disk": lambda: open("/dev/sda"), "hostname": lambda: socket.sethostname("mine"),
            "priority": lambda: os.nice(-5), "sys": lambda: open("/sys/kernel/uevent_helper", "w"), "cgroup": lambda: os.mkdir("/sys/fs/cgroup/mine"),
            "memory": lambda: open("/sys/fs/cgroup/memory/memory.limit_in_bytes", "w"), "max": lambda: open("/sys/fs/cgroup/memory.max", "w"),
        }.items():
            try:
                act()
                tried[name] = 0
            except OSError:
                pass
        if done := [name for name, result in tried.items() if result == 0]:
            raise Exception("got in by " + ", ".join(done))
        raise RuntimeError("shut")
        """,
        "RuntimeError: shut",
    ),
    attack(
        "link out of the jail",
        "a link in /tmp to the judge's files",
        """
        import os
        os.symlink(trap["folder"], "/tmp/link")
        try:
            os.chmod("/tmp", 0o777)
            open("/tmp/link/written", "w").write("mine")
        except OSError:
            raise RuntimeError("shut")
        return image / 255
        """,
        "shut|not judged",
    ),
    attack(
        "fork bomb",
        "processes that make processes",
        """
        import os, time
        mine, count = os.getpid(), 0
        while True:
            try:
                os.fork()
                count += os.getpid() == mine
            except OSError:
                if os.getpid() == mine:
                    if count > 60:
                        return image / 255
                    raise
                time.sleep(1)
        """,
        "BlockingIOError|too much memory",
    ),
    attack(
        "thread bomb",
        "threads without end",
        """
        import threading, time
        for _ in range(200):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        return image / 255
        """,
        "can't start new thread",
    ),
    attack(
        "daemons",
        "processes that outlive it",
        "for _ in range(3): daemon()\nreturn image",
        "off by a factor",
        before=DAEMON,
    ),
    attack(
        "zombies",
        "children that nobody waits for, and a process that ignores all signals",
        """
        import signal
        for _ in range(5):
            if os.fork() == 0:
                os._exit(0)
        if os.fork() == 0:
            for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(s, signal.SIG_IGN)
            os.setsid()
            os.execv("/usr/bin/sleep", ["sleep", "1000", "0." + trap["marker"]])
        os._exit(0)
        """,
        "stopped: the process has ended",
        before=DAEMON,
    ),
    attack(
        "memory bomb",
        "a list that grows",
        "x = []\nwhile True: x.append(bytearray(1 << 26))",
        "MemoryError|too much memory",
    ),
    attack("memory bomb of torch", "a tensor of 1 TB", "return torch.ones(1 << 38)", "memory"),
    attack(
        "memory of many processes",
        "each of them takes 1 GB",
        """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                x = bytearray(b"x") * (1 << 30)
                time.sleep(1000)
        time.sleep(1000)
        """,
        "too much memory|stopped after",
        contained="stopped after",
        limits={"CALL": 10, "LOAD": 5, "MEMORY": 1 << 30},
    ),
    attack(
        "shared memory",
        "fills shared pages and lets go of them, so that no process holds them",
        """
        import mmap, time
        x = mmap.mmap(-1, 4 << 30)
        step = 1 << 26
        for start in range(0, len(x), step):
            x[start : start + step] = b"x" * step
            x.madvise(mmap.MADV_DONTNEED, start, step)
        return image / 255
        """,
        "not judged|stopped after",  # the latter on a machine that needs seconds to fill 1 GB
        contained="the process has ended",
        limits={"MEMORY": 1 << 30},
    ),
    attack(
        "memory in files of no disk",
        "fills memory by memfd",
        """
        import os, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        block, kept = bytes(1 << 20), []
        for child in range(12):
            if child and os.fork():
                continue
            while True:
                try:
                    kept.append(os.memfd_create("x"))
                    while os.write(kept[-1], block) == len(block): pass
                except OSError as error:
                    if error.errno == 24: break
            if child:
                import time
                time.sleep(1000)
        return image / 255
        """,
        "memory|too large|stopped|not judged",
        contained="unavailable",
    ),
    attack(
        "disk bomb",
        "fills /tmp and /dev/shm",
        """
        import errno, os, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        written = 0
        for folder in ("/tmp", "/dev/shm"):
            for name in range(1000):
                try:
                    with open(f"{folder}/{name}", "wb") as file:
                        written += file.write(bytes(1 << 22))
                except OSError as error:
                    last = error
        if written > 200 << 20:
            return image / 255
        raise last
        """,
        "OSError",
    ),
    attack(
        "one large file",
        "a file of 1 GB",
        "open('/tmp/x', 'wb').truncate(1 << 30)\nreturn image / 255",
        "File too large|the process has ended",
    ),
    attack(
        "files without end",
        "millions of empty files, for the kernel's memory",
        """
        import os
        count = 0
        while count < 2 * 10 ** 6:
            os.close(os.open(f"/tmp/{count}", os.O_CREAT))
            count += 1
        return image / 255
        """,
        "No space left|stopped",
        limits=SHORT,
    ),
    attack(
        "open files",
        "a thousand of them",
        "x = [open('/dev/null') for _ in range(1000)]\nreturn image / 255",
        "Too many open files",
    ),
    attack(
        "log bomb",
        "prints without end",
        "import sys\nwhile True: print('x' * 10 ** 6); sys.stderr.write('x' * 10 ** 6)",
        "stopped after",
        limits=SHORT,
    ),
    attack(
        "endless loop",
        "of Python, which catches everything",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "stopped after",
        limits=SHORT,
    ),
    attack(
        "endless loop in C",
        "blocks all signals, then counts",
        "import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\nsignal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\nsum(range(10 ** 15))",
        "stopped after",
        limits=SHORT,
    ),
    attack(
        "endless sleep", "takes no processor time", "import time\ntime.sleep(10 ** 6)", "stopped after", limits=SHORT
    ),
    attack("stops itself", "SIGSTOP", "import os\nos.kill(os.getpid(), 19)", "stopped after", limits=SHORT),
    attack(
        "endless import",
        "a helper that never ends, before any call",
        "return helper(image)",
        "stopped after",
        limits=SHORT,
        before="""
        class Slow:
            import time
            time.sleep(10 ** 6)
        def helper(image): return Slow
        """,
    ),
    attack("os._exit", "ends at once, with success", "import os\nos._exit(0)", "stopped: the process has ended"),
    attack("sys.exit", "the same, politely", "import sys\nsys.exit(0)", "SystemExit"),
    attack("crash", "a null pointer", "import ctypes\nctypes.string_at(0)", "stopped: the process has ended"),
    attack(
        "deep recursion",
        "until the stack ends",
        "import sys\nsys.setrecursionlimit(10 ** 9)\nf = lambda n: f(n + 1) + 1\nf(0)",
        "stopped|Recursion|Memory",
        limits=SHORT,
    ),
    attack(
        "signals to the parent",
        "kills all processes that it sees, its parent and the judge",
        """
        import os, signal
        for p in (os.getppid(), trap["judge"], 1, -1):
            for s in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.kill(p, s)
                except OSError:
                    pass
        os._exit(0)
        """,
        "stopped: the process has ended",
    ),
]
