"""The system calls that a program in the sandbox may make: what libseccomp knows, but for those that containers forbid, too.

Every other call, also one that only a newer kernel knows, fails as if the kernel did not have it (ENOSYS).  One list serves
bubblewrap (as a compiled filter) and podman and docker (as a profile in JSON).
"""

import errno
import functools
import json
import tempfile
from contextlib import suppress

from cvdl.errors import CourseError

FORBIDDEN = """
    add_key keyctl request_key
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
    io_uring_setup io_uring_enter io_uring_register userfaultfd bpf perf_event_open
    unshare setns clone3
    mount umount umount2 mount_setattr pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree
    open_tree_attr statmount listmount
    memfd_create memfd_secret shmget shmat shmctl shmdt msgget msgsnd msgrcv msgctl semget semop semctl semtimedop
    mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
    kexec_load kexec_file_load init_module finit_module delete_module create_module query_module get_kernel_syms reboot
    swapon swapoff syslog acct quotactl quotactl_fd lookup_dcookie nfsservctl _sysctl sysfs ustat uselib
    iopl ioperm vm86 vm86old modify_ldt personality vhangup sethostname setdomainname
    settimeofday stime clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex
    name_to_handle_at open_by_handle_at fanotify_init fanotify_mark
    mbind set_mempolicy set_mempolicy_home_node get_mempolicy migrate_pages move_pages
    flock lsm_set_self_attr sync syncfs
"""
NAMESPACES = 0x7E020000  # the flags of clone that make namespaces
FAMILIES = (1, 2, 10)  # of sockets: Unix, IPv4, IPv6; so not those to a virtual machine's host, or to kernel modules
SHARED, ANONYMOUS = 0x01, 0x20  # flags of mmap; memory that is both may be kept where no process shows it
LEASES = (1024, 1026)  # fcntl's F_SETLEASE to F_NOTIFY: with a lease on a shared file others wait
# Calls that are allowed with some arguments only -> [(index of the argument, comparison, value, second value)]
CONDITIONS = {
    "clone": [(0, "MASKED_EQ", NAMESPACES, 0)],
    "socket": [(0, "EQ", family, 0) for family in FAMILIES],
    "socketpair": [(0, "EQ", 1, 0)],
    "prlimit64": [(0, "EQ", 0, 0)],  # of oneself
    "mmap": [(3, "MASKED_EQ", SHARED | ANONYMOUS, flags) for flags in (0, SHARED, ANONYMOUS)],
    "fcntl": [(1, "LT", LEASES[0], 0), (1, "GT", LEASES[1], 0)],
}
HIGHEST = 1024  # above the number of every call that there is


def library():
    """Raises CourseError, with what to install, where libseccomp or its Python module is missing."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise CourseError(
            f"the sandbox's filter of system calls needs libseccomp ({error}): sudo apt install libseccomp2, and "
            "pip install 'cvdl[grade]'"
        ) from None
    return pyseccomp


@functools.cache
def allowed():
    """Names of the calls of this processor that are allowed, those with conditions among them."""
    seccomp = library()
    names = set()
    for number in range(HIGHEST):
        with suppress(OSError, ValueError):
            name = seccomp.resolve_syscall(seccomp.system_arch(), number)
            names.add(name.decode() if isinstance(name, bytes) else name)
    return sorted(names - set(FORBIDDEN.split()))


@functools.cache
def forbidden():
    """Numbers of this processor's calls that are refused whatever their arguments are."""
    seccomp = library()
    numbers = []
    for name in FORBIDDEN.split():
        with suppress(OSError, ValueError):  # a name that libseccomp does not know is refused anyway
            numbers.append(seccomp.resolve_syscall(seccomp.system_arch(), name))
    return sorted(n for n in numbers if n >= 0)


@functools.cache
def compiled():
    """A file with the filter as a BPF program, as `bwrap --seccomp` reads it.  It lives as long as this process."""
    seccomp = library()
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    for name in allowed():
        for condition in CONDITIONS.get(name, [None]):
            arguments = []
            if condition:
                index, comparison, value, second = condition
                arguments = [seccomp.Arg(index, getattr(seccomp, comparison), value, second)]
            rules.add_rule(seccomp.ALLOW, name, *arguments)
    file = tempfile.NamedTemporaryFile(prefix="cvdl-seccomp-", suffix=".bpf")  # noqa: SIM115
    rules.export_bpf(file)
    file.flush()
    return file


@functools.cache
def profile():
    """A file with the filter in JSON, as podman and docker read it.  It lives as long as this process."""
    rules = [{"names": [n for n in allowed() if n not in CONDITIONS], "action": "SCMP_ACT_ALLOW"}]
    for name, conditions in CONDITIONS.items():
        for index, comparison, value, second in conditions:
            argument = {"index": index, "value": value, "valueTwo": second, "op": f"SCMP_CMP_{comparison}"}
            rules.append({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]})
    # Docker before version 23 ignores defaultErrnoRet, and would answer EPERM, after which libc makes no thread.
    missing = {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
    rules.append({"names": FORBIDDEN.split()} | missing)
    told = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.ENOSYS, "syscalls": rules}
    file = tempfile.NamedTemporaryFile("w", prefix="cvdl-seccomp-", suffix=".json", encoding="utf-8")  # noqa: SIM115
    json.dump(told, file)
    file.flush()
    return file
