"""A file can cost its own decoding and nothing else: not this process, not the next file."""

from __future__ import annotations

import gc
import io
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from provenance.errors import MediaError
from provenance.exchange import ANSWER_BYTES, SHIELDS, Coded
from provenance.media import Limits, decode
from provenance.process import Deadline
from provenance.sandbox import Confinement, DecodePool

VECTORS = Path(__file__).parent.parent / "vectors" / "media"
NAMES = sorted(p.name for p in VECTORS.iterdir() if p.suffix not in {".md", ".py"} and p.is_file())
CODED = Coded("image/png", 48, 32, b"any picture")
HUGE = Limits(pixels=200_000_000, inflation=100_000)
WAIT_SECONDS = 30.0


def read(name: str) -> bytes:
    return (VECTORS / name).read_bytes()


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool() as made:
        yield made


@pytest.fixture
def own_pool() -> Iterator[DecodePool]:
    """One pool for one test, whose worker already waits."""
    with DecodePool(confinement=Confinement(wall_seconds=WAIT_SECONDS), workers=1) as made:
        made.shields()
        yield made


def outcome(data: bytes, **how: object) -> object:
    try:
        picture = decode(data, keep_alpha=True, **how)  # type: ignore[arg-type]
    except MediaError as error:
        return error.code, error.message, error.mend
    alpha = b"" if picture.alpha is None else picture.alpha.tobytes()
    return picture.mime, picture.frame.shape, picture.frame.tobytes(), alpha, picture.notes


@pytest.mark.parametrize("name", NAMES)
def test_decoding_elsewhere_gives_what_decoding_here_gives(name: str, pool: DecodePool) -> None:
    assert outcome(read(name), load=pool) == outcome(read(name))


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_bytes().decode()


def limits_of(pid: int) -> dict[str, str]:
    lines = proc(pid, "limits").splitlines()[1:]
    return {line[:26].strip(): line[26:47].strip() for line in lines}


def test_a_worker_has_nothing_and_may_do_little(own_pool: DecodePool) -> None:
    (pid,) = own_pool.worker_ids()
    limits = limits_of(pid)
    assert limits["Max address space"] == "1500000000"
    assert limits["Max file size"] == "0"
    assert limits["Max open files"] == "32"
    assert limits["Max core file size"] == "0"
    assert limits["Max processes"] == "0"
    assert set(proc(pid, "environ").strip("\x00").split("\x00")) == {
        "OPENBLAS_NUM_THREADS=1",
        "OMP_NUM_THREADS=1",
    }
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid
    own, other = (os.readlink(f"/proc/{which}/ns/net") for which in ("self", pid))
    assert (own != other) == ("network" in own_pool.shields())
    status = dict(line.split(":\t", 1) for line in proc(pid, "status").splitlines())
    assert (status["Seccomp"] == "2") == ("calls" in own_pool.shields())
    assert len(os.listdir(f"/proc/{pid}/fd")) == 3
    decode(read("plain.jpg"), load=own_pool)
    assert 15 <= int(limits_of(pid)["Max cpu time"]) <= 30


def ready(path: Path, words: str) -> str:
    """A program that is started in place of the interpreter."""
    path.write_text("#!/bin/sh\n" + words + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def answered(words: str) -> str:
    return f"printf 'FWW1\\000'; head -c 32 >/dev/null; printf '{words}'; exec sleep 60"


def test_a_killed_worker_is_named_and_replaced(own_pool: DecodePool) -> None:
    (pid,) = own_pool.worker_ids()
    with held(own_pool, pid) as result:
        os.kill(pid, signal.SIGKILL)
    assert result() == "DECODE-CRASHED"
    assert decode(read("plain.jpg"), load=own_pool).frame.shape == (32, 48, 3)
    assert pid not in own_pool.worker_ids()


class held:
    """Within the block a worker is stopped in the middle of a picture; then its outcome."""

    def __init__(self, pool: DecodePool, pid: int) -> None:
        self._pool, self._pid, self._codes = pool, pid, list[str]()
        self._thread = threading.Thread(target=self._decode)

    def _decode(self) -> None:
        try:
            decode(read("plain.jpg"), load=self._pool)
            self._codes.append("decoded")
        except MediaError as error:
            self._codes.append(error.code)

    def __enter__(self) -> Callable[[], str]:
        os.kill(self._pid, signal.SIGSTOP)
        self._thread.start()
        until = time.monotonic() + WAIT_SECONDS
        while self._pool.worker_ids() and time.monotonic() < until:
            threading.Event().wait(0.001)
        return lambda: self._codes[0]

    def __exit__(self, *_: object) -> None:
        self._thread.join(WAIT_SECONDS)


def test_a_worker_that_hangs_is_ended_in_time() -> None:
    with DecodePool(confinement=Confinement(wall_seconds=0.2), workers=1) as pool:
        pool.shields()
        (pid,) = pool.worker_ids()
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(MediaError) as caught:
            decode(read("plain.jpg"), load=pool)
        assert caught.value.code == "DECODE-TIMEOUT"
        assert not Path(f"/proc/{pid}").exists()
        assert pool.worker_ids() == ()


def test_a_worker_that_died_waiting_costs_no_file(own_pool: DecodePool) -> None:
    (pid,) = own_pool.worker_ids()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert decode(read("plain.jpg"), load=own_pool).mime == "image/jpeg"
    assert own_pool.worker_ids() not in {(), (pid,)}


def test_a_picture_beyond_the_memory_is_refused_by_name() -> None:
    with DecodePool(confinement=Confinement(memory_bytes=400_000_000), workers=1) as pool:
        with pytest.raises(MediaError) as caught:
            decode(read("huge.png"), limits=HUGE, load=pool)
        assert caught.value.code == "DECODE-MEMORY"
        assert decode(read("plain.png"), load=pool).frame.shape == (32, 48, 3)


def test_a_picture_beyond_the_processor_time_ends_its_worker() -> None:
    out = io.BytesIO()
    Image.new("L", (4000, 4000)).save(out, "PNG", compress_level=1)
    # One second for the whole life of the worker: the kernel takes whole seconds.
    with DecodePool(confinement=Confinement(cpu_seconds=-1), workers=1) as pool:
        tries: Iterator[Any] = (outcome(out.getvalue(), load=pool) for _ in range(40))
        refused = next(answer[0] for answer in tries if answer[0] != "image/png")
    assert refused == "DECODE-CRASHED"


def test_any_error_and_any_hundredth_file_bring_a_fresh_worker() -> None:
    with DecodePool(confinement=Confinement(files=2), workers=1) as pool:
        seen = []
        for name in ("plain.jpg", "plain.png", "plain.webp", "bad_crc.png", "grey.png"):
            outcome(read(name), load=pool)
            seen.append(pool.worker_ids())
        assert len(seen[0]) == len(seen[2]) == len(seen[4]) == 1
        assert len({*seen[0], *seen[2], *seen[4]}) == 3
        assert seen[1] == seen[3] == ()


def test_threads_share_no_more_workers_than_there_may_be() -> None:
    with DecodePool(workers=2) as pool, ThreadPoolExecutor(4) as threads:
        names = ["plain.jpg", "grey.png", "plain.webp", "palette.png"] * 4
        frames = list(threads.map(lambda name: decode(read(name), load=pool).frame, names))
        assert 1 <= len(pool.worker_ids()) <= 2
        for name, frame in zip(names, frames, strict=True):
            assert np.array_equal(frame, decode(read(name)).frame)


def test_closing_ends_the_workers_and_a_later_file_starts_one(own_pool: DecodePool) -> None:
    (pid,) = own_pool.worker_ids()
    own_pool.close()
    assert not Path(f"/proc/{pid}").exists()
    assert decode(read("plain.jpg"), load=own_pool).mime == "image/jpeg"


def test_a_forgotten_pool_leaves_no_worker() -> None:
    pool = DecodePool(workers=1)
    pool.shields()
    (pid,) = pool.worker_ids()
    del pool
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


def test_a_forked_copy_starts_its_own_and_ends_none_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = DecodePool(workers=1)
    pool.shields()
    (pid,) = pool.worker_ids()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 1)
        assert decode(read("plain.jpg"), load=pool).mime == "image/jpeg"
        assert pid not in pool.worker_ids()
        pool.close()
    assert os.waitpid(pid, 0)[1] == 0  # it was not killed: it saw the end of its input


def test_a_deadline_that_is_over_ends_nobody() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        with Deadline(process, WAIT_SECONDS) as deadline:
            pass
        deadline._expire()
        assert not deadline.expired
        assert deadline.blame().code == "DECODE-CRASHED"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("exit 3", "it says nothing"),
        ("echo nonsense; exec sleep 60", "no decoding worker"),
        ("echo first >&2; echo no such library >&2", "no such library"),
    ],
)
def test_what_does_not_start_is_unavailable(words: str, part: str, tmp_path: Path) -> None:
    pool = DecodePool(python=ready(tmp_path / "python", words))
    with pytest.raises(MediaError) as caught:
        pool(CODED)
    assert caught.value.code == "DECODE-UNAVAILABLE"
    assert part in caught.value.message


def test_no_interpreter_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        DecodePool(python=str(tmp_path / "none"))(CODED)
    assert caught.value.code == "DECODE-UNAVAILABLE"


def test_a_worker_that_never_gets_ready_is_unavailable(tmp_path: Path) -> None:
    python = ready(tmp_path / "python", "exec sleep 60")
    with pytest.raises(MediaError) as caught:
        DecodePool(confinement=Confinement(start_seconds=0.2), python=python)(CODED)
    assert caught.value.code == "DECODE-UNAVAILABLE"


def test_shields_that_are_required_and_missing_are_unavailable(tmp_path: Path) -> None:
    python = ready(tmp_path / "python", answered(""))
    strict = Confinement(shields=frozenset(SHIELDS))
    with pytest.raises(MediaError) as caught:
        DecodePool(confinement=strict, python=python)(CODED)
    assert caught.value.code == "DECODE-UNAVAILABLE"
    assert "calls, network" in caught.value.message
    assert DecodePool(python=python).shields() == frozenset()


@pytest.mark.parametrize(
    "words",
    [
        "short",
        "x" * ANSWER_BYTES,
        "FWA1" + "\\377" * (ANSWER_BYTES - 4),
        "FWA1\\000\\000\\000\\000\\061\\000\\000\\000\\040\\000\\010\\000\\000\\000\\000",
    ],
)
def test_a_worker_that_lies_is_ended(words: str, tmp_path: Path) -> None:
    lies = answered(words).replace("exec sleep 60", "exit")
    pool = DecodePool(python=ready(tmp_path / "python", lies))
    with pytest.raises(MediaError) as caught:
        pool(CODED)
    assert caught.value.code == "DECODE-CRASHED"
    assert pool.worker_ids() == ()
