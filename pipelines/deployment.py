"""One deployment: a home folder opened into its desk, press, verifier and face models.

`create` makes keys, certificates and database for development; `open_deployment` opens what is
there and refuses exposed keys, an unfit certificate or a clock behind the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self

from generator.faces import FaceAnalyser, IdThresholds, open_analyser
from generator.swapper import Swapper, open_swapper
from pipelines.keyfiles import KeyFileRefused, read_secret, write_secret
from pipelines.settings import Settings
from policies.audit import AuditLog
from policies.consents import ConsentBook
from policies.database import Database
from policies.errors import Malformed
from policies.keys import CommitmentKey, SigningKey
from policies.vault import Vault
from policies.warrants import WarrantDesk
from provenance.chains import TrustAnchors, load_anchors
from provenance.pki import make_development_chain, save_chain
from provenance.registry import Registry
from provenance.release import Press
from provenance.signers import LocalSigner
from provenance.store import FolderStore
from provenance.verify import Archive, Verifier
from provenance.watermark import DEFAULT_WATERMARK, Watermark, open_watermark

SIGNING_KEYS = ("controller", "warrant", "log")
SYMMETRIC_KEYS = ("commitment", "vault", "watermark")

Clock = Callable[[], int]


def system_clock() -> int:
    """Unix seconds, UTC, from the operating system."""
    return int(time.time())


def create(settings: Settings, *, clock: Clock = system_clock) -> None:
    """Make keys, a development certificate chain and the database in the home folder.

    Raises KeyFileRefused when the home is already set up, so that no key is ever replaced.
    """
    home = settings.home
    if (home / "keys").exists():
        raise KeyFileRefused(
            f"{home} is already set up",
            mend="use it as it is, or set FACEWARRANT_HOME to another folder",
        )
    for name in SIGNING_KEYS:
        write_secret(home / "keys" / f"{name}.pem", SigningKey.generate().to_pem())
    for name in SYMMETRIC_KEYS:
        write_secret(home / "keys" / f"{name}.key", os.urandom(32))
    now = datetime.fromtimestamp(clock(), UTC)
    save_chain(make_development_chain(organisation=settings.organisation, now=now), home / "pki")
    _open_database(settings).close()


@dataclass(frozen=True)
class Deployment:
    """Everything a request needs, opened once. Face models load on first use."""

    settings: Settings
    clock: Clock
    desk: WarrantDesk
    press: Press
    archive: Archive
    watermark: Watermark
    anchors: TrustAnchors

    @property
    def consents(self) -> ConsentBook:
        """The book of consents."""
        return self.desk.consents

    @property
    def verifier(self) -> Verifier:
        """A verifier with this deployment's trust, watermark key and archive."""
        return Verifier(self.anchors, self.watermark, self.archive)

    @cached_property
    def analyser(self) -> FaceAnalyser:
        """The face models the settings name."""
        return _open_analyser(self.settings)

    @cached_property
    def swapper(self) -> Swapper:
        """The swapper the settings name."""
        return open_swapper(self.settings.swapper)

    def close(self) -> None:
        """Close the database."""
        self.desk.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_deployment(settings: Settings, *, clock: Clock = system_clock) -> Deployment:
    """Open the home folder of `settings`.

    Raises KeyFileRefused for missing or exposed keys, CertificateRefused for an unfit chain and
    StoreUnavailable for a database that does not open.
    """
    home = settings.home
    if not (home / "keys").is_dir():
        raise KeyFileRefused(
            f"{home} is not set up", mend="run 'facewarrant init', or set FACEWARRANT_HOME"
        )
    signing = {
        name: SigningKey.from_pem(read_secret(home / "keys" / f"{name}.pem"))
        for name in SIGNING_KEYS
    }
    secret = {name: read_secret(home / "keys" / f"{name}.key", size=32) for name in SYMMETRIC_KEYS}
    database = _open_database(settings)
    log = AuditLog(database, origin=settings.log_origin, key=signing["log"], clock=clock)
    consents = ConsentBook(
        database=database,
        log=log,
        vault=Vault(secret["vault"]),
        controllers=(signing["controller"].public,),
        commitment=CommitmentKey(secret["commitment"]),
        clock=clock,
    )
    desk = WarrantDesk(database, log, consents, signing["warrant"], clock)
    anchors = load_anchors([home / "pki" / "root.pem"])
    watermark = open_watermark(DEFAULT_WATERMARK, key=secret["watermark"])
    archive = Archive(
        Registry(database), FolderStore(home / "store"), log, signing["log"].public, consents
    )
    press = Press(
        desk=desk,
        watermark=watermark,
        signer=_open_signer(home, clock),
        anchors=anchors,
        registry=archive.registry,
        store=archive.store,
        provider=settings.organisation,
        clock=clock,
        rng=os.urandom,
    )
    return Deployment(settings, clock, desk, press, archive, watermark, anchors)


def controller_key(settings: Settings) -> SigningKey:
    """Return the controller's signing key; raise KeyFileRefused."""
    return SigningKey.from_pem(read_secret(settings.home / "keys" / "controller.pem"))


def _open_signer(home: Path, clock: Clock) -> LocalSigner:
    return LocalSigner.load(
        key_path=home / "pki" / "key.pem",
        chain_path=home / "pki" / "chain.pem",
        clock=lambda: datetime.fromtimestamp(clock(), UTC),
    )


def _open_database(settings: Settings) -> Database:
    return Database(settings.database_url or f"sqlite:///{settings.home / 'facewarrant.db'}")


def _open_analyser(settings: Settings) -> FaceAnalyser:
    if settings.insightface_pack is None:
        return open_analyser(threads=settings.threads)
    if settings.pack_match is None or settings.pack_mismatch is None:
        raise Malformed(
            "an InsightFace pack needs its own identity thresholds",
            mend="set FACEWARRANT_PACK_MATCH and FACEWARRANT_PACK_MISMATCH, measured on your data",
        )
    from generator.insight import InsightFacePack  # noqa: PLC0415 - loads insightface

    return InsightFacePack(
        settings.insightface_pack,
        thresholds=IdThresholds(settings.pack_match, settings.pack_mismatch),
        threads=settings.threads,
    )
