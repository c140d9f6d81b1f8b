"""Runs a method over the pictures, in one process or several, and keeps what it finds.

Each worker opens the method itself after the fork: network sessions do not survive one.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

import cv2

from benchmarks.watermark.attacks import ATTACKS, PEER_ATTACKS, digest_attacks
from benchmarks.watermark.measure import Record, measure_picture
from benchmarks.watermark.methods import Method
from benchmarks.watermark.ours import NAME, OurMark
from benchmarks.watermark.peers import SLOW_PEERS, open_peer
from benchmarks.watermark.pictures import Listed, load
from benchmarks.watermark.results import Results

SLOW_PICTURES: Final = 50
SLOW_ROWS: Final = (*PEER_ATTACKS, "crop71", "rot30", "rot180")

_opened: dict[str, Method] = {}


def open_method(name: str) -> Method:
    """Return ours or a peer; raises `PeerMissing`."""
    return OurMark() if name == NAME else open_peer(name)


def measure_survival(
    name: str,
    pictures: Sequence[Listed],
    *,
    out: Path,
    jobs: int,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> None:
    """Measure the pictures whose records are not in `out` yet, and put them there."""
    version = open_method(name).version
    rows = SLOW_ROWS if name in SLOW_PEERS else tuple(ATTACKS)
    pictures = pictures[:SLOW_PICTURES] if name in SLOW_PEERS else pictures
    head = {"method": name, "version": version, "attacks": digest_attacks(), "rows": list(rows)}
    results = Results(out, name, head)
    todo = [listed for listed in pictures if key_picture(listed) not in results.records]
    started = time.monotonic()
    for done, (listed, record) in enumerate(_run(name, todo, rows, jobs), 1):
        results.add(key_picture(listed), record)
        took = time.monotonic() - started
        left = took / done * (len(todo) - done)
        say(f"{name}: {done}/{len(todo)} pictures, {took:.0f} s, about {left:.0f} s left")


def _run(
    name: str, todo: Sequence[Listed], rows: Sequence[str], jobs: int
) -> Iterator[tuple[Listed, Record]]:
    if jobs == 1:
        for listed in todo:
            yield listed, _measure(name, listed, rows)
        return
    _opened.clear()
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(_measure, name, listed, rows): listed for listed in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _measure(name: str, listed: Listed, rows: Sequence[str]) -> Record:
    cv2.setNumThreads(1)
    if name not in _opened:
        _opened[name] = open_method(name)
    seed = [int(listed.sha256[:8], 16), *listed.box]
    return measure_picture(_opened[name], load(listed), seed=seed, attacks=rows)


def key_picture(listed: Listed) -> str:
    """Return what a picture's record is kept under."""
    return f"{listed.name} {listed.sha256[:16]}"
