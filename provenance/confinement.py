"""A process that gives up what it does not need; the only place that speaks to the kernel.

Decides what a decoding worker may still do: limits on memory, processor time, files and processes
before a codec is loaded, no network where the kernel lets it leave, and afterwards only the system
calls that reading, computing and answering need. What cannot be taken away is reported, never
passed over: on systems other than Linux on x86-64 or ARM64 the limits alone remain.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
from collections.abc import Callable
from typing import Any, Final

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
_ALLOW, _ERRNO_EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # linux/seccomp.h
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: BPF_LD|W|ABS, JMP|JEQ|K, RET|K

_CALLS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    # linux/audit.h, then arch/x86/entry/syscalls/syscall_64.tbl: read write close fstat poll lseek
    # mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn readv writev sched_yield
    # mremap madvise getpid exit getrlimit getrusage sysinfo sigaltstack setrlimit gettid futex
    # sched_getaffinity restart_syscall clock_gettime clock_nanosleep exit_group tgkill prlimit64
    # getrandom membarrier rseq
    "x86_64": (
        0xC000003E,
        (
            *(0, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 19, 20, 24, 25, 28, 39, 60, 97, 98, 99),
            *(131, 160, 186, 202, 204, 219, 228, 230, 231, 234, 302, 318, 324, 334),
        ),
    ),
    # The same calls by include/uapi/asm-generic/unistd.h; poll is ppoll there.
    "aarch64": (
        0xC00000B7,
        (
            *(63, 64, 57, 80, 73, 62, 222, 226, 215, 214, 134, 135, 139, 65, 66, 124, 216, 233),
            *(172, 93, 163, 165, 179, 132, 164, 178, 98, 123, 128, 113, 115, 94, 131, 261, 278),
            *(283, 293),
        ),
    ),
}
"""Architecture -> (its number in a filter, the calls that stay open)."""

Prctl = Callable[..., int]


def limit_process(
    memory_bytes: int, set_limit: Callable[[int, tuple[int, int]], None] = resource.setrlimit
) -> None:
    """Cap this process for good: address space, no file written, no new process, no core dump.

    32 open files are enough to load the codecs. Raises OSError or ValueError where the system
    refuses a limit.
    """
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        set_limit(kind, (most, most))


def limit_next_job(
    cpu_seconds: int,
    usage: Callable[[int], resource.struct_rusage] = resource.getrusage,
    set_limit: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> None:
    """Let this process compute for `cpu_seconds` more; beyond that the kernel ends it."""
    used = usage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
    set_limit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def leave_network(unshare: Callable[[int], int] | None = None) -> bool:
    """Move this process into an empty network namespace; return whether the kernel let it.

    As root the namespace alone is asked for; other users need a user namespace with it, which some
    distributions forbid.
    """
    call = unshare or _library_call("unshare")
    if call is None:
        return False
    return call(_CLONE_NEWNET) == 0 or call(_CLONE_NEWUSER | _CLONE_NEWNET) == 0


def close_calls(prctl: Prctl | None = None, machine: str | None = None) -> bool:
    """Refuse every system call but a few from here on; return whether the filter is in place.

    No file can be opened, no socket made, no program started and no other process touched: such a
    call fails with EPERM. A call by another architecture's numbers ends the process.
    """
    call, calls = prctl or _library_call("prctl"), _CALLS.get(machine or platform.machine())
    if call is None or calls is None:
        return False
    program = _filter(*calls)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, then where they are.
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    entry = ctypes.create_string_buffer(head, len(head))
    if call(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        return False
    mode = ctypes.c_ulong(_MODE_FILTER)
    return call(_PR_SET_SECCOMP, mode, ctypes.c_void_p(ctypes.addressof(entry))) == 0


def _filter(architecture: int, calls: tuple[int, ...]) -> bytes:
    """Return a classic BPF program over struct seccomp_data (number at 0, architecture at 4)."""
    lines = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        *((_EQUAL, len(calls) - at, 0, number) for at, number in enumerate(calls)),
        (_RETURN, 0, 0, _ERRNO_EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)


def _library_call(name: str) -> Any | None:
    """Return a function of the C library, None where it has none of that name."""
    return getattr(ctypes.CDLL(None, use_errno=True), name, None)
