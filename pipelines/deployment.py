"""One deployment: a home folder opened into its desk, press, verifier and face models.

`create` makes keys, certificates and database for development; `open_deployment` opens what is
there and refuses exposed keys and an unfit certificate. `open_records` opens it without the power
to release: an expired certificate must stop nobody from withdrawing or from verifying.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self

from generator.faces import FaceAnalyser, IdThresholds, open_analyser
from generator.gates import Gates, open_gates
from generator.swapper import Swapper, open_swapper
from pipelines.keyfiles import KeyFileRefused, read_secret, read_signing_key, write_secret
from pipelines.keyring import close_subject_keys, create_subject_keys, open_subject_keys
from pipelines.mark_keys import create_mark_keys, read_mark_keys
from pipelines.notice import NOTICE_SHA256
from pipelines.settings import Settings
from pipelines.signing import open_signer
from policies.audit import AuditLog
from policies.consents import ConsentBook
from policies.database import Database
from policies.entries import POLICY
from policies.errors import Error, Malformed
from policies.house import House
from policies.house_files import POLICY_FOLDER, closed_house, load_house
from policies.keys import CommitmentKey, SigningKey
from policies.optout import OptOutBook
from policies.retention import require_clocks
from policies.warrants import WarrantDesk
from provenance.chains import TrustAnchors, load_anchors
from provenance.errors import CertificateRefused
from provenance.pki import load_authority, make_development_chain, save_chain
from provenance.press import Press
from provenance.registry import Registry
from provenance.sandbox import DecodePool
from provenance.store import FolderStore
from provenance.timestamps import PatientStamper, RemoteAuthority, TimeStamper
from provenance.trust import TRUST_FOLDER, TrustFolder
from provenance.verify import Archive, Verifier
from provenance.watermark import DEFAULT_WATERMARK, Watermark, open_watermark

SIGNING_KEYS = ("controller", "warrant", "log")
PKI_FILES = ("root.pem", "chain.pem", "key.pem")

Clock = Callable[[], int]


def system_clock() -> int:
    """Unix seconds, UTC, from the operating system."""
    return int(time.time())


def create(settings: Settings, *, clock: Clock = system_clock) -> None:
    """Make keys, a development certificate chain and the database in the home folder.

    Raises KeyFileRefused when the home is already set up, so that no key is ever replaced, and
    when it is a folder with other files that others can open.
    """
    home = settings.home
    require_finished(settings)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)  # consents and templates are in there
        if is_exposed(home) and not any(home.iterdir()):
            home.chmod(0o700)
    except OSError as error:
        raise KeyFileRefused(
            f"cannot make {home}: {error.strerror}",
            mend="set FACEWARRANT_HOME to a folder that can be written",
        ) from error
    if (home / "keys").exists():
        raise KeyFileRefused(
            f"{home} is already set up",
            mend="use it as it is, or set FACEWARRANT_HOME to another folder",
        )
    if is_exposed(home):
        # A folder in use is somebody's: closing it to others is for its owner to decide.
        raise KeyFileRefused(
            f"{home} holds other files and is open to others",
            mend=f"chmod 700 {home}, or set FACEWARRANT_HOME to a new folder",
        )
    for name in SIGNING_KEYS:
        write_secret(home / "keys" / f"{name}.pem", SigningKey.generate().to_pem())
    write_secret(home / "keys" / "commitment.key", os.urandom(32))
    create_mark_keys(settings)
    create_subject_keys(settings, clock=clock)
    now = datetime.fromtimestamp(clock(), UTC)
    chain = make_development_chain(organisation=settings.organisation, now=now)
    try:
        save_chain(chain, home / "pki")
    except OSError as error:
        raise KeyFileRefused(
            f"cannot write {home / 'pki'}: {error.strerror}",
            mend=f"make space, remove {home / 'keys'} (nothing was signed yet) and run init again",
        ) from error
    _open_database(settings).close()


def require_finished(settings: Settings) -> None:
    """Raise KeyFileRefused when an earlier `create` stopped between the keys and certificates."""
    keys, pki = settings.home / "keys", settings.home / "pki"
    needed = [name for name in PKI_FILES if name != "key.pem" or settings.signer == "file"]
    missing = [name for name in needed if not (pki / name).is_file()]
    if keys.is_dir() and missing:
        raise KeyFileRefused(
            f"{settings.home} is set up by half: {', '.join(missing)} missing from {pki}",
            mend=f"if it was never in use, remove {keys} and {pki} and run 'facewarrant init' "
            f"again; if it was, restore {pki} from its backup and keep the keys",
        )


def is_exposed(home: Path) -> bool:
    """Tell whether anyone but its owner may enter or list the home folder."""
    return bool(stat.S_IMODE(home.stat().st_mode) & 0o077)


@dataclass(frozen=True)
class Records:
    """What a home folder knows: consents, log, archive and trust; no signer, no models."""

    settings: Settings
    clock: Clock
    desk: WarrantDesk
    archive: Archive
    watermark: Watermark
    anchors: TrustAnchors

    @property
    def consents(self) -> ConsentBook:
        """The book of consents."""
        return self.desk.consents

    @property
    def optouts(self) -> OptOutBook:
        """The book of people who asked never to be swapped."""
        return OptOutBook(self.desk.database, self.desk.log, self.consents.keys, self.clock)

    @property
    def verifier(self) -> Verifier:
        """A verifier with this deployment's trust, watermark keys and archive.

        Raises CertificateRefused for a trust list that changed on disk.
        """
        lists = TrustFolder(self.settings.home / TRUST_FOLDER).load()
        return Verifier(self.anchors, self.watermark, self.archive, lists, load=self.decoder)

    @cached_property
    def decoder(self) -> DecodePool:
        """Where foreign pictures are decoded: in processes of their own, started on first use."""
        return DecodePool()

    def close(self) -> None:
        """Close the databases, and stop the decoders."""
        if "decoder" in vars(self):
            self.decoder.close()
        self.desk.database.close()
        close_subject_keys(self.consents.keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Deployment(Records):
    """Everything a request needs, opened once. Face models load on first use."""

    press: Press
    signing: ExitStack = field(repr=False)
    """What has to be closed of the signer: a session with a token."""

    def close(self) -> None:
        """Close what the signer holds, the databases and the decoders."""
        with self.signing:
            super().close()

    @cached_property
    def analyser(self) -> FaceAnalyser:
        """The face models the settings name."""
        return open_chosen_analyser(self.settings)

    @cached_property
    def gates(self) -> Gates:
        """Age, nudity and the list of people who must not be swapped; always all three."""
        return open_gates(self.optouts, threads=self.settings.threads)

    @cached_property
    def swapper(self) -> Swapper:
        """The swapper the settings name."""
        return open_swapper(self.settings.swapper)


def open_deployment(settings: Settings, *, clock: Clock = system_clock) -> Deployment:
    """Open the home folder of `settings` for releases.

    Raises what `open_records` raises, and KeyRefused or CertificateRefused for an exposed signing
    key or an unfit chain.
    """
    with ExitStack() as stack:
        records = stack.enter_context(open_records(settings, clock=clock))
        signing, log = stack.enter_context(ExitStack()), records.archive.log
        _log_policy(records)
        press = Press(
            desk=records.desk,
            watermark=records.watermark,
            signer=open_signer(
                settings, issuer=records.desk.key.public, log=log, clock=clock, closing=signing
            ),
            stamper=_open_stamper(settings, records.anchors, clock),
            anchors=records.anchors,
            registry=records.archive.registry,
            store=records.archive.store,
            provider=settings.organisation,
            clock=clock,
            rng=os.urandom,
        )
        stack.pop_all()
    return Deployment(**vars(records), press=press, signing=signing)


def open_records(settings: Settings, *, clock: Clock = system_clock) -> Records:
    """Open the home folder of `settings`.

    Raises KeyFileRefused for missing or exposed keys, CertificateRefused for an anchor that is none
    and StoreUnavailable for a database that does not open.
    """
    home = settings.home
    if not (home / "keys").is_dir():
        raise KeyFileRefused(
            f"{home} is not set up", mend="run 'facewarrant init', or set FACEWARRANT_HOME"
        )
    signing = {name: read_signing_key(home / "keys" / f"{name}.pem") for name in SIGNING_KEYS}
    commitment = read_secret(home / "keys" / "commitment.key", size=32)
    anchors = _load_anchors(home / "pki")
    watermark = open_watermark(DEFAULT_WATERMARK, keys=read_mark_keys(settings))
    database = _open_database(settings)
    log = AuditLog(database, origin=settings.log_origin, key=signing["log"], clock=clock)
    consents = ConsentBook(
        database=database,
        log=log,
        keys=open_subject_keys(settings, clock=clock),
        controllers=(signing["controller"].public,),
        commitment=CommitmentKey(commitment),
        clock=clock,
    )
    house = _open_house(settings)
    desk = WarrantDesk(database, log, consents, signing["warrant"], house, clock)
    archive = Archive(
        Registry(database), FolderStore(home / "store"), log, signing["log"].public, consents
    )
    return Records(settings, clock, desk, archive, watermark, anchors)


def _open_house(settings: Settings) -> House:
    """Return the deployment's policy; one that cannot be read permits nothing.

    Whoever wants to withdraw, verify or erase must not be stopped by a misspelt file.
    """
    try:
        house = load_house(settings.home / POLICY_FOLDER, notices=[NOTICE_SHA256])
        require_clocks(house.law)
        return house
    except Error:
        return closed_house(notices=[NOTICE_SHA256])


def _log_policy(records: Records) -> None:
    """Log the policy that is in force now, unless the log says so already."""
    log, policy = records.archive.log, records.desk.house.sha256
    with records.desk.database.transaction() as connection:
        known = log.newest(POLICY, within=connection)
        if known is None or known["policy"] != policy:
            log.append("policy", {"event": "in_force", "policy": policy}, within=connection)


def controller_key(settings: Settings) -> SigningKey:
    """Return the controller's signing key; raise KeyFileRefused."""
    return read_signing_key(settings.home / "keys" / "controller.pem")


def _open_stamper(settings: Settings, anchors: TrustAnchors, clock: Clock) -> TimeStamper:
    """Return who stamps the time: the authorities the settings name, else the local one."""

    def at() -> datetime:
        return datetime.fromtimestamp(clock(), UTC)

    pki = settings.home / "pki"
    authorities: list[TimeStamper] = [
        RemoteAuthority(url, time.monotonic) for url in settings.tsa_url.split()
    ]
    if not authorities:
        if not (pki / "tsa.pem").exists():
            raise CertificateRefused(
                "there is no time-stamping authority: neither a local one nor an address",
                mend="set FACEWARRANT_TSA_URL, or run 'facewarrant certificates renew'",
            )
        authorities = [load_authority(pki, clock=at)]
    return PatientStamper(authorities, anchors.time_stamping, at, time.monotonic, time.sleep)


def _load_anchors(pki: Path) -> TrustAnchors:
    """Return the roots of signers, and of time stamps: a file of their own, else the same."""
    root, stamps = pki / "root.pem", pki / "tsa-root.pem"
    return load_anchors([root], time_stamping=[stamps if stamps.exists() else root])


def _open_database(settings: Settings) -> Database:
    return Database(settings.database_address)


def open_chosen_analyser(settings: Settings) -> FaceAnalyser:
    """Load the face models the settings name.

    Raises Malformed for a pack without thresholds, PackMissing and WeightRefused.
    """
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
