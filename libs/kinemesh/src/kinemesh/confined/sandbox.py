"""What a confined process gives up before it sees the first unproven byte. Linux only.

It can ask for memory, start threads, read and write what it has open, and end. It cannot open files, make sockets,
start programs, signal or look into other processes, use more memory or processor time than it was given, or outlive its
parent.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_MOST_FILES: Final = 16

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2

# Of seccomp(2), linux/filter.h and linux/audit.h.
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_REFUSE: Final = 0x00050000
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_AUDIT_ARCH_X86_64: Final = 0xC000003E
_X32: Final = 0x40000000
_CLONE: Final = 56
_CLONE3: Final = 435
_CLONE_THREAD: Final = 0x00010000
_FCNTL: Final = 72
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24

_X86_64: Final = {
    **{"read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8},
    **{"mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "madvise": 28},
    **{"rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131, "restart_syscall": 219},
    **{"sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47},
    **{"sched_yield": 24, "sched_getaffinity": 204, "futex": 202, "membarrier": 324, "rseq": 334},
    **{"set_robust_list": 273, "set_tid_address": 218, "getpid": 39, "gettid": 186, "getrusage": 98, "sysinfo": 99},
    **{"nanosleep": 35, "clock_nanosleep": 230, "clock_gettime": 228, "clock_getres": 229, "gettimeofday": 96},
    **{"getrandom": 318, "exit": 60, "exit_group": 231},
}


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def die_with(parent: int) -> None:
    """Be killed when ``parent``, which must be single-threaded, ends; at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def confine(*, memory_bytes: int, cpu_s: int) -> None:
    """Give up everything that decoding does not need. There is no way back.

    :param memory_bytes: what may be allocated beside what the process has mapped already.
    :param cpu_s: processor seconds, after which SIGXCPU ends the process.
    :raises OSError: where the system refuses.
    """
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_bytes, mapped + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, _MOST_FILES))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if has_filter():
        program = _filter(_X86_64.values())
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_Program(len(program) // 8, program)))


def has_filter() -> bool:
    """Whether system calls are filtered on this machine: on x86-64, whose numbers the table holds."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _filter(allowed: Iterable[int]) -> bytes:
    """A BPF program that allows these system calls, and threads but no processes; all others fail with EPERM."""
    numbers = sorted(allowed)
    refuse = _REFUSE | errno.EPERM
    lines = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _AUDIT_ARCH_X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, refuse),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _REFUSE | errno.ENOSYS),  # the C library then calls clone, whose flags can be seen
        (_EQUAL, 0, 4, _CLONE),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, refuse),
        (_EQUAL, 0, 4, _FCNTL),
        (_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
        (_EQUAL, 0, 1, fcntl.F_DUPFD_CLOEXEC),  # mmap wants it; others can make the kernel send signals
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, refuse),
    ]
    for position, number in enumerate(numbers):
        lines.append((_EQUAL, len(numbers) - position, 0, number))
    lines += [(_RETURN, 0, 0, refuse), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _prctl(option: int, *arguments: object) -> None:
    given = [argument if not isinstance(argument, int) else ctypes.c_ulong(argument) for argument in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    if _libc.prctl(option, *given) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_libc = ctypes.CDLL(None, use_errno=True)
