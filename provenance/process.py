"""One process of its own: started bare, spoken to over pipes, ended in time.

Decides how a worker is started, what it may use and when it is ended. It runs this very code with
a bare environment; what it answers is bytes of a known number. Nothing here knows what is asked.
"""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import PIL

import policies
import provenance
from provenance.exchange import (
    HELLO_BYTES,
    DecodeCrashed,
    DecodeTimeout,
    DecodeUnavailable,
    Shield,
    read_hello,
)

_START: Final = (
    "import sys; sys.path += sys.argv[3:];"
    "from provenance.{} import main;"
    "main(sys.argv[1:3], sys.stdin.buffer, sys.stdout.buffer)"
)
"""With -I and -S the path holds the standard library alone: no working folder, no variable, no .pth
file. Then come the folders of this very code and of its codecs, so the worker runs what we run."""

_ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""All of it: a linear algebra library starts a thread a core when it is loaded, unless it is told;
a worker may start none."""
_CAUSE_BYTES: Final = 65_536  # a whole pipe


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a worker may use; values from the threat model, section 2."""

    memory_bytes: int = 1_500_000_000
    """Address space. Measured: 50 megapixels with alpha and a profile decode in it."""
    cpu_seconds: int = 15
    """Processor time for one picture."""
    wall_seconds: float = 20.0
    """From the request to the last byte of the answer."""
    start_seconds: float = 60.0
    """Loading the codecs takes 0.3 s; a crowded machine takes longer."""
    files: int = 100
    """Then a fresh worker: what a file may have left behind in one does not grow old."""
    shields: frozenset[Shield] = frozenset()
    """Beyond the limits, what has to be shut off; a worker that cannot is not used."""


DEFAULT_CONFINEMENT: Final = Confinement()


class Worker:
    """One process, from its start to its end; used by one thread at a time."""

    def __init__(
        self, module: str, confinement: Confinement, python: str, inherited: tuple[int, ...] = ()
    ) -> None:
        """Start `provenance.<module>`; `inherited`: open files it gets under the same numbers."""
        self.files, self.spoilt, self.owner = 0, False, os.getpid()
        self._confinement = confinement
        self.process = _start(module, confinement, python, inherited)
        pipes = (self.process.stdin, self.process.stdout, self.process.stderr)
        self._pipes = [pipe for pipe in pipes if pipe is not None]
        self._requests, self._answers, self._complaints = (pipe.fileno() for pipe in self._pipes)
        try:
            with Deadline(self.process, confinement.start_seconds):
                self.shields = self._greet()
            if missing := confinement.shields - self.shields:
                raise DecodeUnavailable(
                    f"the decoding worker cannot shut off: {', '.join(sorted(missing))}",
                    mend="run where the kernel allows it, or require fewer shields",
                )
        except BaseException:
            self.stop()
            raise

    def _greet(self) -> frozenset[Shield]:
        try:
            return read_hello(self.read(HELLO_BYTES))
        except EOFError as error:
            self.process.kill()
            # No byte of any file has reached it yet, so its own words can be trusted.
            cause = os.read(self._complaints, _CAUSE_BYTES).decode("ascii", "replace")
            last = (cause.strip().splitlines() or ["it says nothing"])[-1]
            raise DecodeUnavailable(
                f"the decoding worker does not start: {last}",
                mend="give it the memory and the libraries it needs",
            ) from error

    def stop(self) -> None:
        """End the process and forget it; in a forked copy only our ends of its pipes."""
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
        else:
            self.process.returncode = 0  # another process waits for it
        for pipe in self._pipes:
            pipe.close()

    def write(self, *parts: bytes) -> None:
        """Send all parts; raise OSError where the worker does not take them."""
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(self._requests, view) :]

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; raise EOFError where the worker ends before that."""
        read = bytearray(count)
        self._fill(memoryview(read))
        return bytes(read)

    def array(self, *shape: int) -> npt.NDArray[np.uint8]:
        """Return the next bytes as uint8 of that shape; raise EOFError as `read` does."""
        read = np.empty(shape, np.uint8)
        self._fill(read.data.cast("B"))
        return read

    def _fill(self, view: memoryview) -> None:
        """Fill `view`; raise EOFError where the worker ends before that."""
        while view:
            count = os.readv(self._answers, [view])
            if count == 0:
                raise EOFError
            view = view[count:]


class Deadline:
    """Kills a process that takes too long, and says afterwards whether it did."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.expired, self._over, self._lock = False, False, threading.Lock()
        self._process = process
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()

    def blame(self) -> DecodeTimeout | DecodeCrashed:
        """Return why the worker fell silent."""
        if self.expired:
            return DecodeTimeout("the file took too long to decode", mend="a smaller picture")
        return DecodeCrashed(
            "the decoder died on the file",
            mend="open the picture in an editor you trust and save it anew",
        )

    def _expire(self) -> None:
        with self._lock:
            if not self._over:
                self.expired = True
                self._process.kill()


def _start(
    module: str, confinement: Confinement, python: str, inherited: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    limits = (str(confinement.memory_bytes), str(confinement.cpu_seconds))
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and fixed words
            [python, "-I", "-S", "-c", _START.format(module), *limits, *_code_folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=inherited,
        )
    except OSError as error:
        raise DecodeUnavailable("the decoding worker cannot be started") from error


def _code_folders() -> tuple[str, ...]:
    """Return the folders that hold our packages, numpy and Pillow, each once and in this order."""
    files = (package.__file__ or "" for package in (policies, provenance, np, PIL))
    return tuple(dict.fromkeys(str(Path(file).resolve().parents[1]) for file in files))
