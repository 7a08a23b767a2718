"""The Linux calls behind the walls, through ctypes: Landlock, seccomp, namespaces and capabilities."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CLONE_THREAD = 0x00010000

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9

_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_FS_EXECUTE, _FS_READ_FILE, _FS_READ_DIR = 1 << 0, 1 << 2, 1 << 3
_FS_WRITE_FILE, _FS_TRUNCATE, _FS_IOCTL_DEVICE = 1 << 1, 1 << 14, 1 << 15
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights each version knows; later ones know 16
_NET_BIND_AND_CONNECT, _SCOPE_SOCKETS_AND_SIGNALS = 0b11, 0b11

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def unshare(flags: int) -> None:
    """Leave the namespaces that ``flags`` name for empty ones of one's own. Raises ``OSError``."""
    _checked(_libc.unshare(flags))


def die_with_parent() -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))


def no_new_privileges() -> None:
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def drop_capabilities() -> None:
    """Give up every capability, those that root has of itself included."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header = struct.pack("Ii", 0x20080522, 0)
    _checked(_libc.capset(header, bytes(24)))


def landlock(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Let this process read only below ``readable`` and write only below ``writable``; no TCP, no foreign signals.

    Returns Landlock's version. Raises ``OSError`` where the kernel has none. Paths that do not exist are left out.
    """
    version = _syscall(_LANDLOCK_CREATE_RULESET, None, 0, 1)
    rights = (1 << _FS_RIGHTS.get(version, 16)) - 1
    handled = [rights]
    if version >= 4:
        handled.append(_NET_BIND_AND_CONNECT)
    if version >= 6:
        handled.append(_SCOPE_SOCKETS_AND_SIGNALS)
    attributes = struct.pack(f"{len(handled)}Q", *handled)
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        read = _FS_EXECUTE | _FS_READ_FILE | _FS_READ_DIR
        for path in readable:
            _allow(ruleset, path, read)
        for path in writable:
            _allow(ruleset, path, rights & ~(_FS_EXECUTE | _FS_IOCTL_DEVICE))
        _syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FS_EXECUTE | _FS_READ_FILE | _FS_WRITE_FILE | _FS_TRUNCATE
        _syscall(_LANDLOCK_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


def _syscall(number: int, *arguments: bytes | int | None) -> int:
    # Variadic: every integer must be as wide as a register.
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *wide)))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


# x86-64 numbers of what reading, converting and running a network never needs.
_DENIED = (
    *(41, 42, 43, 44, 46, 49, 50, 53, 288, 307),  # socket, connect, accept, sendto, sendmsg, bind, listen …
    *(425, 426, 427),  # io_uring, which would open sockets past this filter
    *(57, 58, 59, 322),  # fork, vfork, execve, execveat
    *(101, 310, 311, 434, 438),  # ptrace, process_vm_readv and _writev, pidfd_open and _getfd
    *(200, 129, 297, 424),  # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal
    *(90, 91, 268, 452, 92, 93, 94, 260),  # chmod and chown, which Landlock lets pass
    *(188, 189, 190, 197, 198, 199, 463, 466),  # extended attributes
    *(155, 161, 165, 166, 272, 308, 428, 429, 430, 432, 442),  # mounts, roots, namespaces
    *(175, 313, 246, 320, 321, 298, 323, 248, 249, 250, 304),  # modules, kexec, bpf, perf, userfaultfd, keys, handles
    *(29, 64, 68, 240),  # shared memory, semaphores and queues of System V and POSIX
)
_CLONE, _CLONE3, _KILL, _TGKILL, _PRLIMIT = 56, 435, 62, 234, 302
_AUDIT_ARCH_X86_64 = 0xC000003E
_X32 = 0x40000000
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def forbid_calls() -> None:
    """Install a seccomp filter: no sockets, no other processes, no signals to them, no changes of rights or mounts.

    It goes by the numbers of x86-64; raises ``OSError`` elsewhere and where the kernel refuses.
    """
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOSYS, "the filter knows x86-64 only")
    program = _filter(os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    description = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, description, 0, 0))


def _filter(process: int) -> bytes:
    """The filter as Berkeley packet filter code: (operation, jump if true, jump if false, operand)."""
    load, equal, above, all_set, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    refuse, missing = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    lines = [
        (load, 0, 0, _ARCHITECTURE),
        (equal, 1, 0, _AUDIT_ARCH_X86_64),
        (answer, 0, 0, _KILL_PROCESS),
        (load, 0, 0, _NUMBER),
        (above, 0, 1, _X32),
        (answer, 0, 0, _KILL_PROCESS),
    ]
    for number in _DENIED:
        lines += [(equal, 0, 1, number), (answer, 0, 0, refuse)]
    # Its flags lie in memory, where no filter sees them: the C library then falls back to clone.
    lines += [(equal, 0, 1, _CLONE3), (answer, 0, 0, missing)]
    lines += [
        (equal, 0, 4, _CLONE),
        (load, 0, 0, _FIRST_ARGUMENT),
        (all_set, 0, 1, _CLONE_THREAD),
        (answer, 0, 0, _ALLOW),
        (answer, 0, 0, refuse),
    ]
    for number in (_KILL, _TGKILL, _PRLIMIT):
        lines += [
            (equal, 0, 5, number),
            (load, 0, 0, _FIRST_ARGUMENT),
            (equal, 1, 0, process),
            (equal, 0, 1, 0 if number == _PRLIMIT else process),
            (answer, 0, 0, _ALLOW),
            (answer, 0, 0, refuse),
        ]
    lines.append((answer, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)
