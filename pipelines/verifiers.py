"""A verifier for the command line: all that a home folder gives, or what can be checked without."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.deployment import open_records
from pipelines.settings import Settings
from provenance.chains import TrustAnchors, load_anchors
from provenance.remote import RemoteManifests
from provenance.sandbox import DecodePool
from provenance.second_engine import open_second_engine
from provenance.trust import NO_LISTS, TRUST_FOLDER, TrustFolder
from provenance.verify import Verifier


@contextmanager
def open_verifier(
    settings: Settings,
    anchors: Sequence[Path],
    *,
    second_engine: bool = False,
    remote_hosts: Sequence[str] = (),
) -> Iterator[Verifier]:
    """Yield a verifier; `anchors` replace the home's own root and its trust lists.

    A manifest that a file keeps on a server is fetched from `remote_hosts` alone. Raises Malformed
    for what is no host, CertificateRefused for a bad anchor or trust list, KeyFileRefused for an
    exposed key and EngineMissing where a second engine is asked for and not installed.
    """
    given = load_anchors(anchors) if anchors else None
    lists = NO_LISTS if given else TrustFolder(settings.home / TRUST_FOLDER).load()
    second = open_second_engine() if second_engine else None
    remote = RemoteManifests(tuple(remote_hosts), time.monotonic) if remote_hosts else None
    if not (settings.home / "keys").is_dir():
        with DecodePool() as pool:
            yield Verifier(
                given or TrustAnchors(()), lists=lists, second=second, load=pool, remote=remote
            )
        return
    with open_records(settings) as at:
        yield Verifier(
            given or at.anchors, at.watermark, at.archive, lists, second, at.decoder, remote
        )
