"""Decoding of untrusted pictures in processes of their own.

Decides how a worker is started, how long it may take and when it is thrown away. The code of the
codecs is large and written in C; a crafted file may take it over. So it runs where there is nothing
to take: no key, no setting, no file, no network, limited memory and time. A worker that dies, hangs
or answers nonsense costs the file it was given, never this process, and is replaced.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from types import TracebackType
from typing import Self

from provenance.exchange import ANSWER_BYTES, Coded, Shield, pack_request, read_answer
from provenance.pixels import Pixels
from provenance.process import DEFAULT_CONFINEMENT, Confinement, Deadline, Worker

__all__ = ["DEFAULT_CONFINEMENT", "Confinement", "DecodePool"]


class DecodePool:
    """Decodes in up to `workers` processes, started when first needed; give it to `decode`.

    May be called from several threads. Close it, or use it in a `with` statement; what is left at
    the end of this process is stopped then. A copy in a forked process starts its own workers.
    """

    def __init__(
        self,
        *,
        confinement: Confinement = DEFAULT_CONFINEMENT,
        workers: int = 2,
        python: str = sys.executable,
    ) -> None:
        self._confinement, self._workers, self._python = confinement, workers, python
        self._settle()

    def __call__(self, coded: Coded) -> Pixels:
        """Decode one picture elsewhere.

        Raises Truncated, Undecodable and Transparent as `pixels.load` does, DecodeMemory,
        DecodeTimeout, DecodeCrashed, and DecodeUnavailable where no worker can be started.
        """
        if self._owner != os.getpid():
            _stop_all(self._idle)
            self._settle()
        with self._room:
            worker = self._take()
            try:
                return _decode(worker, coded, self._confinement.wall_seconds)
            finally:
                self._give_back(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers that wait; a later call starts new ones."""
        _stop_all(self._idle)

    def shields(self) -> frozenset[Shield]:
        """Return what the workers could shut off here; starts one where none waits."""
        with self._room:
            worker = self._take()
            self._give_back(worker)
        return worker.shields

    def worker_ids(self) -> tuple[int, ...]:
        """Return the process ids of the workers that wait."""
        return tuple(worker.process.pid for worker in self._idle)

    def _settle(self) -> None:
        self._owner = os.getpid()
        self._room = threading.BoundedSemaphore(self._workers)
        self._idle: list[Worker] = []
        self._end = weakref.finalize(self, _stop_all, self._idle)

    def _take(self) -> Worker:
        while (worker := self._waiting()) is not None:
            if worker.process.poll() is None:
                return worker
            worker.stop()
        return Worker("decode_worker", self._confinement, self._python)

    def _waiting(self) -> Worker | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give_back(self, worker: Worker) -> None:
        if worker.spoilt or worker.files >= self._confinement.files:
            worker.stop()
        else:
            self._idle.append(worker)


def _decode(worker: Worker, coded: Coded, seconds: float) -> Pixels:
    """Send one request and read its answer; a worker that does not answer well is spoilt."""
    worker.files += 1
    worker.spoilt = True
    with Deadline(worker.process, seconds) as deadline:
        try:
            worker.write(pack_request(coded), coded.picture, coded.icc)
            form = read_answer(worker.read(ANSWER_BYTES), coded)
            frame = worker.array(form.height, form.width, 3)
            alpha = worker.array(form.height, form.width) if form.alpha else None
        except (OSError, EOFError) as error:
            raise deadline.blame() from error
    worker.spoilt = deadline.expired
    return Pixels(frame, alpha, form)


def _stop_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().stop()
