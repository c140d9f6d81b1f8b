"""What a process gave up is really gone, and what it could not give up is said."""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provenance import confinement
from provenance.confinement import close_calls, leave_network, limit_next_job, limit_process

ROOT = Path(__file__).parents[2]
TRIES = """
import sys; sys.path.insert(0, sys.argv[1])
import os, socket, errno
from provenance.confinement import close_calls
closed = close_calls()
def tried(name, act):
    try:
        act()
    except OSError as error:
        print(name, errno.errorcode[error.errno])
    else:
        print(name, "done")
print("closed", closed)
tried("read a file", lambda: open("/etc/passwd", "rb"))
tried("write a file", lambda: open("/tmp/facewarrant_never", "wb"))
tried("socket", lambda: socket.socket(socket.AF_INET))
tried("fork", os.fork)
tried("program", lambda: os.execv("/bin/true", ["true"]))
tried("kill", lambda: os.kill(os.getppid(), 0))
tried("remove", lambda: os.unlink("/tmp/facewarrant_never"))
print("computing", sum(range(1000)), len(bytearray(50_000_000)))
"""


def test_the_limits_are_taken_for_good() -> None:
    taken: list[tuple[int, tuple[int, int]]] = []
    limit_process(12345678, lambda kind, limits: taken.append((kind, limits)))
    assert dict(taken) == {
        resource.RLIMIT_AS: (12345678, 12345678),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (32, 32),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NPROC: (0, 0),
    }


def test_every_job_gets_its_own_processor_time() -> None:
    taken: list[tuple[int, tuple[int, int]]] = []
    used: Any = SimpleNamespace(ru_utime=100.7, ru_stime=20.6)
    limit_next_job(15, lambda _: used, lambda kind, limits: taken.append((kind, limits)))
    ((kind, (soft, hard)),) = taken
    assert (kind, soft) == (resource.RLIMIT_CPU, 121 + 1 + 15)
    assert hard == resource.getrlimit(resource.RLIMIT_CPU)[1]


@pytest.mark.parametrize(
    ("answers", "left", "asked"),
    [
        ([0], True, [0x40000000]),
        ([-1, 0], True, [0x40000000, 0x50000000]),
        ([-1, -1], False, [0x40000000, 0x50000000]),
    ],
)
def test_the_network_is_left_as_the_kernel_allows(
    answers: list[int], left: bool, asked: list[int]
) -> None:
    calls: list[int] = []
    rest = iter(answers)
    assert leave_network(lambda flags: (calls.append(flags), next(rest))[1]) is left
    assert calls == asked


def test_a_system_without_the_calls_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert not leave_network()
    assert not close_calls()


@pytest.mark.parametrize(("answers", "closed"), [([0, 0], True), ([-1], False), ([0, -1], False)])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_counts_only_when_it_is_in_place(
    answers: list[int], closed: bool, machine: str
) -> None:
    asked: list[int] = []
    rest = iter(answers)

    def prctl(option: int, *_: Any) -> int:
        asked.append(option)
        return next(rest)

    assert close_calls(prctl, machine) is closed
    assert asked == [38, 22][: len(answers)]


def test_a_machine_whose_numbers_are_unknown_gets_no_filter() -> None:
    assert not close_calls(lambda *_: 0, "riscv64")


def decide(program: bytes, architecture: int, number: int) -> int:
    """Run a filter as the kernel does: load, compare, jump, return."""
    lines = [
        confinement.struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)
    ]
    at, value = 0, 0
    while True:
        code, yes, no, k = lines[at]
        at += 1
        if code == 0x06:
            return int(k)
        if code == 0x20:
            value = {0: number, 4: architecture}[k]
        else:
            at += yes if value == k else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_lets_its_list_through_and_nothing_else(machine: str) -> None:
    architecture, calls = confinement._CALLS[machine]
    program = confinement._filter(architecture, calls)
    allowed = {n for n in range(600) if decide(program, architecture, n) == 0x7FFF0000}
    assert allowed == set(calls)
    assert decide(program, architecture, 0x40000000 + calls[0]) == 0x00050001
    assert decide(program, 0x40000003, calls[0]) == 0x80000000


def test_a_process_behind_the_filter_can_compute_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIES, str(ROOT)], capture_output=True, text=True, check=True
    )
    said = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines()[:-1])
    if said.pop("closed") == "False":
        pytest.skip("this kernel takes no filter; the worker says so in `shields`")
    assert said == dict.fromkeys(
        ["read a file", "write a file", "socket", "fork", "program", "kill", "remove"], "EPERM"
    )
    assert done.stdout.splitlines()[-1] == "computing 499500 50000000"
