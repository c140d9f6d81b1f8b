"""What may be said about a file: evidence that holds, or an error that says which does not.

Manifest, watermark, labels, registry, log and consent are looked at apart and never averaged; what
they mean together is in `clash`, and where they contradict each other the answer is Tampered. A
manifest that was stripped is found again through the watermark, and counts only when the perceptual
fingerprint agrees, since a mark can be copied. Silence is never "authentic".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final

from provenance import pixels
from provenance.asset import AssetMime, Content
from provenance.c2pa import ManifestReading, read_manifest
from provenance.case import Case
from provenance.chains import TrustAnchors
from provenance.errors import VerificationError
from provenance.evidence import Evidence, LabelMeaning, Meaning, Report
from provenance.exhibit import UNFORESEEN, Exhibit, open_exhibit
from provenance.media import Loader
from provenance.records import Archive
from provenance.remote import RemoteManifests, fetch_store
from provenance.second_engine import SecondEngine
from provenance.tree import ManifestNode
from provenance.trust import NO_LISTS, TrustLists, read_by_use
from provenance.watermark import Watermark

__all__ = ["Archive", "Examination", "Verifier"]

COMPARE_SECONDS: Final = 900.0
"""How long one verification may compare with kept outputs: one release of ten minutes at 1080p
takes about as long as it lasts."""


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything one verification found: `outcome` is a report, or the error that ends it.

    `tree`: the file's own manifests; `manifest_id`, `issuer`: what its manifest says, whatever that
    is worth. `meaning`, `label_meaning`: as in a report.
    """

    outcome: Report | VerificationError
    evidence: tuple[Evidence, ...]
    meaning: Meaning
    label_meaning: LabelMeaning
    manifest_id: str
    issuer: str
    tree: ManifestNode | None

    def result(self) -> Report:
        """Return the report, or raise the error."""
        if isinstance(self.outcome, VerificationError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies with the trust it was given.

    `anchors` and `lists` alone make a manifest trusted; without `watermark` no mark is looked for,
    without `archive` neither recovery, log nor consent are checked, and the report says so. With
    `second` another engine reads the manifest too, and differences are shown. `load` decodes
    pixels; a `DecodePool` does it in a process of its own, which foreign files need. Only
    `remote` fetches anything. `rng` chooses the frames of a video that are looked at; `seconds` by
    the `stopwatch` is how long kept outputs are compared with.
    """

    anchors: TrustAnchors
    watermark: Watermark | None = None
    archive: Archive | None = None
    lists: TrustLists = NO_LISTS
    second: SecondEngine | None = None
    load: Loader = pixels.load
    remote: RemoteManifests | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: Random = UNFORESEEN
    seconds: float = COMPARE_SECONDS
    stopwatch: Callable[[], float] = time.monotonic

    def verify(self, content: Content) -> Report:
        """Return what holds about a file: its bytes, or where it lies, as videos should.

        Raises MediaError when it is no picture we read; Tampered when it was changed or its
        evidence contradicts itself; NeverReleased when it was signed here and not released;
        Untrusted when an intact manifest leads to no anchor; Unreadable when a manifest or mark is
        there but cannot be read; Unmarked when there is nothing. Each carries the evidence found.
        """
        return self.examine(content).result()

    def examine(self, content: Content) -> Examination:
        """Return everything found about a file, also where its evidence does not hold.

        Raises MediaError when it is no picture we read, StoreUnavailable for unreadable records,
        CompareTooLong where nothing can be said in `seconds`.
        """
        with open_exhibit(
            content, watermark=self.watermark, load=self.load, rng=self.rng
        ) as exhibit:
            return self._examine(exhibit)

    def _examine(self, exhibit: Exhibit) -> Examination:
        reading = self.read(exhibit.content, exhibit.mime)
        store, fetched = fetch_store(reading, self.remote)
        if store is not None:
            reading = self.read(exhibit.content, exhibit.mime, store=store)
        case = Case(exhibit, reading, self, store, [*fetched])
        outcome: Report | VerificationError
        try:
            outcome = case.conclude()
        except VerificationError as error:
            outcome = error
        return Examination(
            outcome=outcome,
            evidence=tuple(case.lines),
            meaning=case.meaning,
            label_meaning=case.label_meaning,
            manifest_id=reading.manifest_id,
            issuer=reading.issuer,
            tree=reading.tree,
        )

    def read(
        self, content: Content, mime: AssetMime, *, store: bytes | None = None
    ) -> ManifestReading:
        """Read a file's manifest, or one kept elsewhere, with every root for its own use."""
        return read_by_use(
            lambda anchors: read_manifest(content, mime, anchors=anchors, store=store),
            self.anchors,
            self.lists,
        )
