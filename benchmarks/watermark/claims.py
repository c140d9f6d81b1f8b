"""How often the reader claims a mark that is not there, against the bound it states.

Every host gets the full blind search. No claim in n bounds the rate only at 3 / n; the stated 1e-6
rests on the derivation in `docs/watermark.md`, and the largest statistic beside the threshold shows
how far hosts stay from it.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from hashlib import sha256
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import cv2
import numpy as np

from benchmarks.watermark.attacks import jpeg, rotate
from benchmarks.watermark.hosts import HOSTS
from benchmarks.watermark.methods import Refused, Rgb, draw_payload
from benchmarks.watermark.ours import KEY, OurMark, state_threshold
from benchmarks.watermark.pictures import choose, load

Keys: TypeAlias = tuple[bytes, ...]
Remember: TypeAlias = Callable[[str, Callable[[], Any]], Any]
"""`remember(name, measure)`: what was kept under the name, else what `measure()` returns."""

MAX_KEYS: Final = 4
SEARCHED_RINGS: Final = 3
"""Wrong rings of four keys that get the whole search, which takes seconds for each key."""
QUICK_RINGS: Final = 50
"""Wrong rings that read at scale 1, where the other key's mark lies."""
WRONG_KEY_PICTURES: Final = 12


def measure_claims(remember: Remember, *, quick: bool, jobs: int) -> dict[str, Any]:
    """Return claims and largest statistics by kind of host, and those of reads with wrong keys.

    `remember` keeps each kind's row, so that a run that was stopped goes on with the next kind.
    """
    kinds: dict[str, Any] = {}
    for kind, hosts in HOSTS.items():
        kinds[kind] = remember(f"claims, {kind}", partial(_read_hosts, hosts, quick, jobs))
        print(f"{kind}: {kinds[kind]}", file=sys.stderr, flush=True)
    count = 1 if quick else WRONG_KEY_PICTURES
    wrong_keys = {
        kind: remember(f"claims, {kind}", partial(measure, count, jobs))
        for kind, measure in WRONG_KEYS.items()
    }
    searched = _count_searched(OurMark())
    return {
        "searched": searched,
        "threshold": state_threshold(searched),
        "n": sum(row["n"] for row in kinds.values()),
        "claims": sum(row["claims"] for row in kinds.values()),
        "max": max(row["max"] for row in kinds.values() if row["n"]),
        "kinds": kinds,
        "wrong_keys": wrong_keys,
    }


def _read_hosts(hosts: Callable[[], Iterator[Rgb]], quick: bool, jobs: int) -> dict[str, Any]:
    return _read_all([(KEY,)], islice(hosts(), 2 if quick else None), jobs)


def _read_all(rings: Sequence[Keys], hosts: Iterable[Rgb], jobs: int) -> dict[str, Any]:
    """Search every host with every ring of keys; return how many, claims and the largest z."""
    reads = ((ring, rgb) for rgb in hosts for ring in rings)
    if jobs == 1:
        found = [_read(read) for read in reads]
    else:
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            found = list(pool.imap(_read, reads))
    statistics = [statistic for statistic, _ in found]
    top = round(max(statistics), 3) if statistics else None
    return {"n": len(found), "claims": sum(claim for _, claim in found), "max": top}


def _read(read: tuple[Keys, Rgb]) -> tuple[float, bool]:
    ring, rgb = read
    cv2.setNumThreads(1)
    return _open(ring).survey(rgb)


@cache
def _open(ring: Keys) -> OurMark:
    return OurMark(*ring)


def _count_searched(mark: OurMark) -> int:
    payload = draw_payload(mark, np.random.default_rng(13))
    for listed in choose("tuning")[0]:
        try:
            return mark.count_searched(rotate(mark.embed(load(listed), payload), 5))
        except Refused:
            continue
    raise SystemExit("every picture of the tuning set was refused")


def _search_with_wrong_keys(count: int, jobs: int) -> dict[str, Any]:
    """Read marked pictures and their JPEG 50 copies with keys that are not theirs, four at once."""
    rings = [_draw_keys(ring) for ring in range(SEARCHED_RINGS)]
    return _read_all(rings, _mark_pictures(count), jobs)


def _glance_with_wrong_keys(count: int, jobs: int) -> dict[str, Any]:
    """The same at scale 1 alone, with many more keys; in one process: it is quick."""
    marks = [OurMark(*_draw_keys(ring)) for ring in range(QUICK_RINGS)]
    claims = [mark.glance(rgb) is not None for rgb in _mark_pictures(count) for mark in marks]
    return {"n": len(claims), "claims": sum(claims), "max": None}


def _mark_pictures(count: int) -> Iterator[Rgb]:
    mark, rng = OurMark(), np.random.default_rng(11)
    for listed in choose("benchmark", count)[0]:
        try:
            marked = mark.embed(load(listed), draw_payload(mark, rng))
        except Refused:
            continue
        yield marked
        yield jpeg(marked, 50)


def _draw_keys(ring: int) -> Keys:
    return tuple(
        sha256(f"wrong key {ring} {number}".encode()).digest() for number in range(MAX_KEYS)
    )


WRONG_KEYS: Final = MappingProxyType(
    {
        "our mark, wrong keys, four in each read": _search_with_wrong_keys,
        "our mark, wrong keys, four in each read, scale 1": _glance_with_wrong_keys,
    }
)
