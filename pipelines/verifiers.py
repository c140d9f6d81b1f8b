"""A verifier for the command line: all that a home folder gives, or what can be checked without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.deployment import open_records
from pipelines.settings import Settings
from provenance.chains import TrustAnchors, load_anchors
from provenance.verify import Verifier


@contextmanager
def open_verifier(settings: Settings, anchors: Sequence[Path]) -> Iterator[Verifier]:
    """Yield a verifier; `anchors` replace the home's own root.

    Raises CertificateRefused for a bad anchor and KeyFileRefused for an exposed key.
    """
    given = load_anchors(anchors) if anchors else None
    if not (settings.home / "keys").is_dir():
        yield Verifier(given or TrustAnchors(()))
        return
    with open_records(settings) as at:
        yield Verifier(given or at.anchors, at.watermark, at.archive)
