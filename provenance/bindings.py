"""Soft bindings: from a watermark's id, a fingerprint or a whole picture to kept manifests.

What the resolution API answers with. By value, the register's word is passed on: whoever asks has
to verify the manifest and compare the picture. By content, only releases count whose kept output
agrees with the picture (`recovery.py`); an id that was read from it is not enough. Refused: an
algorithm that is not ours, a value that is not of its form, a search that takes too long.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from policies.errors import Malformed
from provenance import pixels
from provenance.asset import VIDEO
from provenance.budget import Budget
from provenance.clip_recovery import RecoveredClip, compare_clip, recover_clip
from provenance.exhibit import Exhibit, PictureExhibit, open_exhibit
from provenance.fingerprints import ALG, Fingerprint
from provenance.media import DEFAULT_LIMITS, Limits, Loader
from provenance.recovery import MAX_COMPARED, Recovered, compare, recover
from provenance.registry import Registry, ReleaseRow
from provenance.store import Store
from provenance.watermark import Watermark

COMPARE_SECONDS: Final = 60.0
"""How long one search by content may compare: strangers ask, and choose how much there is to do."""


@dataclass(frozen=True, slots=True)
class Match:
    """A manifest that belongs to what was asked; `score` 0..100 where likeness was measured."""

    manifest_id: str
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """A soft binding as C2PA writes it: the algorithm's name and its value."""

    alg: str
    value: bytes


def read_binding(alg: str, value: str) -> Binding:
    """Return a binding whose value is given in base64; raise Malformed for any other text."""
    try:
        return Binding(alg, base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError) as error:
        raise Malformed("the value of a soft binding is written in base64") from error


@dataclass(frozen=True, slots=True)
class Bindings:
    """Looks manifests up in one deployment's register and store.

    Without `watermark`, marks are neither read nor looked up. `load` decodes the pictures that are
    asked about; a `DecodePool` does it in a process of its own, which a service for others needs.
    """

    registry: Registry
    store: Store
    watermark: Watermark | None = None
    limits: Limits = DEFAULT_LIMITS
    load: Loader = pixels.load
    seconds: float = COMPARE_SECONDS
    stopwatch: Callable[[], float] = time.monotonic

    @property
    def watermarks(self) -> tuple[str, ...]:
        """Names of the watermark algorithms that can be asked for."""
        return (self.watermark.alg,) if self.watermark else ()

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Names of the fingerprint algorithms that can be asked for."""
        return (ALG,)

    def require(self, alg: str) -> None:
        """Raise Malformed for an algorithm that nothing can be looked up by."""
        if alg not in (*self.watermarks, *self.fingerprints):
            raise Malformed(
                "nothing is looked up by this algorithm here",
                mend=f"use one of {', '.join((*self.watermarks, *self.fingerprints))}",
            )

    def by_binding(self, binding: Binding, *, limit: int) -> tuple[Match, ...]:
        """Return the manifests registered under a mark's id, or near a fingerprint.

        Raises Malformed and StoreUnavailable.
        """
        self.require(binding.alg)
        if binding.alg != ALG:
            row = self.registry.by_mark(binding.value.hex())
            return () if row is None else (Match(row.manifest_id),)
        near = self.registry.near([_fingerprint(binding.value)], limit=limit)
        return tuple(Match(one.row.manifest_id, 100 * (256 - one.bits) // 256) for one in near)

    def by_content(
        self, data: bytes, *, limit: int, alg: str = "", hint: Binding | None = None
    ) -> tuple[Match, ...]:
        """Return the manifests of the releases that a picture or video is a copy of, nearest first.

        `alg` restricts to one algorithm; `hint` names a release to compare with besides. Raises
        Malformed, MediaError for what is neither and where `load` fails, StoreUnavailable,
        CompareTooLong after `seconds` by the `stopwatch`.
        """
        if alg:
            self.require(alg)
        hinted = self._hinted(hint)
        with open_exhibit(
            data, watermark=self.watermark, load=self.load, limits=self.limits
        ) as exhibit:
            marked = self._marked(exhibit) if alg != ALG else ()
            # Each once, and no more together than one search may compare.
            named = tuple(dict.fromkeys((*hinted, *marked)))[:MAX_COMPARED]
            budget = Budget(self.seconds, self.stopwatch)
            found = [self._compare(row, exhibit, budget) for row in named]
            if alg in ("", ALG) and len(named) < MAX_COMPARED:
                found += self._alike(exhibit, budget, limit=MAX_COMPARED - len(named))
        found.sort(key=lambda one: one.levels)
        scores = {one.row.manifest_id: one.score for one in found if one.agrees}
        return tuple(Match(name, score) for name, score in scores.items())[:limit]

    def manifest(self, manifest_id: str) -> bytes | None:
        """Return the kept manifest store of a release, None for a manifest that is not ours.

        Raises StoreUnavailable.
        """
        row = self.registry.by_manifest(manifest_id)
        return None if row is None else self.store.get(row.manifest_sha256)

    def _hinted(self, hint: Binding | None) -> tuple[ReleaseRow, ...]:
        if hint is None:
            return ()
        self.require(hint.alg)
        if hint.alg == ALG:
            near = self.registry.near([_fingerprint(hint.value)], limit=1)
            return tuple(one.row for one in near)
        row = self.registry.by_mark(hint.value.hex())
        return () if row is None else (row,)

    def _marked(self, exhibit: Exhibit) -> tuple[ReleaseRow, ...]:
        rows = [self.registry.by_mark(mark_id) for mark_id in exhibit.ids]
        return tuple(row for row in rows if row is not None)

    def _compare(
        self, row: ReleaseRow, exhibit: Exhibit, budget: Budget
    ) -> Recovered | RecoveredClip:
        if isinstance(exhibit, PictureExhibit) and row.mime != VIDEO:
            lies = exhibit.mark.geometry if exhibit.mark else None
            return compare(row, exhibit.picture.frame, store=self.store, geometry=lies)
        return compare_clip(row, exhibit.sight, store=self.store, budget=budget)

    def _alike(
        self, exhibit: Exhibit, budget: Budget, *, limit: int
    ) -> list[Recovered | RecoveredClip]:
        """Return the releases that look like it, whatever mark it carries."""
        found: list[Recovered | RecoveredClip] = []
        still = isinstance(exhibit, PictureExhibit)
        if isinstance(exhibit, PictureExhibit):
            found += recover(exhibit.picture.frame, registry=self.registry, store=self.store)
        found += recover_clip(
            exhibit.sight,
            registry=self.registry,
            store=self.store,
            budget=budget,
            stills=not still,
            limit=limit,
        )
        return found


def _fingerprint(value: bytes) -> Fingerprint:
    if len(value) != 32:
        raise Malformed(f"a value of {ALG} has 32 bytes, this one {len(value)}")
    return Fingerprint(value.hex(), 100)
