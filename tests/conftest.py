"""A whole deployment in memory, rendered people, and warrants for tests of the doors."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from policies.audit import AuditLog
from policies.consent import ConsentRecord, Signer, read_record, sign
from policies.consent import encode as encode_document
from policies.consents import ConsentBook
from policies.database import Database
from policies.digest import sha256_hex
from policies.facts import Measured, MeasuredPerson
from policies.keys import CommitmentKey, SigningKey
from policies.request import Request, make_request
from policies.terms import PersonRole
from policies.vault import SealedTemplate, Vault
from policies.warrants import ActiveWarrant, WarrantDesk

NOW = 1_795_219_200  # 2026-11-21 00:00:00 UTC
DAY = 86_400
MODEL_SHA256 = sha256_hex(b"identity model")
DEMO = Path(__file__).parent.parent / "docs" / "demo"
WHOLE = (-100_000, -100_000, 100_000, 100_000)


@dataclass
class Clock:
    """Unix seconds that move only when a test says so."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Office:
    """Controller, vault, consents, log and warrant desk over one in-memory database."""

    clock: Clock = field(default_factory=Clock)
    database: Database = field(default_factory=lambda: Database("sqlite://"))

    def __post_init__(self) -> None:
        self.controller = SigningKey.from_seed(b"c" * 32)
        self.desk_key = SigningKey.from_seed(b"w" * 32)
        self.log_key = SigningKey.from_seed(b"l" * 32)
        self.vault = Vault(b"k" * 32)
        self.log = AuditLog(
            self.database, origin="log.test/facewarrant", key=self.log_key, clock=self.clock
        )
        self.book = ConsentBook(
            database=self.database,
            log=self.log,
            vault=self.vault,
            controllers=(self.controller.public,),
            commitment=CommitmentKey(b"p" * 32),
            clock=self.clock,
        )
        self.desk = WarrantDesk(self.database, self.log, self.book, self.desk_key, self.clock)
        self.subjects: dict[str, SigningKey] = {}
        self._numbers = itertools.count(1)

    def record(self, **changes: object) -> tuple[ConsentRecord, SealedTemplate]:
        """A signed record that permits everything sensible, with `changes` on top."""
        number = next(self._numbers)
        record_id = f"00000000-0000-7000-8000-{number:012x}"
        subject = SigningKey.from_seed(sha256_bytes(f"subject {number}"))
        self.subjects[record_id] = subject
        template = self.vault.seal(
            f"template {number}".encode(), record_id=record_id, model_sha256=MODEL_SHA256
        )
        fields = {
            "schema": "facewarrant/consent/1",
            "record_id": record_id,
            "subject": {
                "pid": "ps_" + "abcdefghijklmnopqrstuvwxy"[: 26 - 2] + f"{number:02d}".translate(DIGITS),
                "key": subject.public.hex,
                "age_assurance": {"method": "document", "adult": True, "checked_at": NOW - DAY},
            },
            "controller": {"id": "ctl", "name": "Test Controller", "contact": "dpo@test.invalid"},
            "notice": {"id": "n", "version": "1", "language": "en", "sha256": sha256_hex(b"notice")},
            "purposes": ["film_vfx", "personal"],
            "roles": ["source_identity", "target_body", "bystander"],
            "media": ["image"],
            "audiences": ["internal", "public"],
            "territories": ["DE", "FR"],
            "counterparties": {"mode": "any_consented", "pids": []},
            "assets": {"mode": "any", "sha256": []},
            "opted_in": [],
            "max_uses": 100,
            "validity": {"not_before": NOW - DAY, "expires": NOW + 30 * DAY},
            "retention": "P1Y",
            "withdrawal": "facewarrant consent withdraw",
            "binding": {
                "model": "idnet",
                "model_sha256": MODEL_SHA256,
                "template_sha256": sha256_hex(template.ciphertext),
            },
            "signatures": [],
        } | changes
        from policies.canonical import canonical

        return self.signed(read_record(canonical(fields))), template

    def signed(self, record: ConsentRecord) -> ConsentRecord:
        """The record with the signatures of its subject and of the controller."""
        subject = self.subjects[record.record_id]
        for by, key in (("subject", subject), ("controller", self.controller)):
            signed = sign(record, by=by, key=key, at=self.clock())  # type: ignore[arg-type]
            record = read_record(encode_document(signed))
        return record

    def keys(self, record_id: str, *signers: Signer) -> dict[Signer, SigningKey]:
        """The keys with which an event of that record is signed."""
        known: dict[Signer, SigningKey] = {
            "subject": self.subjects[record_id],
            "controller": self.controller,
        }
        return {signer: known[signer] for signer in signers}

    def enrol(self, **changes: object) -> str:
        """Store a record and take it to `confirmed`; returns its id."""
        record, template = self.record(**changes)
        self.book.add(record, template)
        self.book.append(
            record.record_id, "given", keys=self.keys(record.record_id, "subject", "controller")
        )
        self.book.append(record.record_id, "confirmed", keys=self.keys(record.record_id, "subject"))
        return record.record_id

    def withdraw(self, record_id: str) -> None:
        """The subject withdraws, as a person would."""
        self.book.append(record_id, "withdrawn", keys=self.keys(record_id, "subject"))

    def request(
        self,
        people: Sequence[tuple[str, PersonRole]],
        *,
        source_sha256: str = sha256_hex(b"source"),
        target_sha256: str = sha256_hex(b"target"),
        **changes: object,
    ) -> Request:
        """A request for these people and inputs."""
        fields = {
            "request_id": "request-1",
            "operator": "operator",
            "source_sha256": source_sha256,
            "target_sha256": target_sha256,
            "people": [{"record_id": r, "role": role} for r, role in people],
            "purpose": "film_vfx",
            "medium": "image",
            "audience": "internal",
            "territories": ["DE"],
            "categories": [],
        } | changes
        return make_request(**fields)

    def measured(
        self,
        request: Request,
        *,
        boxes: dict[PersonRole, tuple[int, int, int, int]] | None = None,
        **changes: object,
    ) -> Measured:
        """Facts as a perfect measurement of the request would give them."""
        people = tuple(
            MeasuredPerson(
                record_id=p.record_id,
                role=p.role,
                match="match",
                distance_milli=300,
                box=(boxes or {}).get(p.role, WHOLE),
            )
            for p in request.people
        )
        shown = sum(p.role != "source_identity" for p in request.people)
        fields = {
            "source_sha256": request.source_sha256,
            "target_sha256": request.target_sha256,
            "source_faces": 1,
            "target_faces": shown,
            "target_faces_resolved": shown,
            "people": people,
            "models": {"idnet": MODEL_SHA256},
            "identity_model_sha256": MODEL_SHA256,
        } | changes
        return Measured.model_validate(fields)

    def swap_request(self, **changes: object) -> Request:
        """A request between two freshly enrolled people."""
        people: list[tuple[str, PersonRole]] = [
            (self.enrol(), "source_identity"),
            (self.enrol(), "target_body"),
        ]
        return self.request(people, **changes)  # type: ignore[arg-type]


DIGITS = str.maketrans("0123456789", "abcdefghij")


def sha256_bytes(text: str) -> bytes:
    """32 bytes that differ for every text."""
    return bytes.fromhex(sha256_hex(text.encode()))


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def demo_picture() -> Callable[[str], bytes]:
    """Bytes of a rendered person, by name: `persona1_0` ... (people who do not exist)."""
    return lambda name: (DEMO / f"{name}.webp").read_bytes()


@pytest.fixture
def active_warrant(office: Office) -> Callable[..., ActiveWarrant]:
    """`active_warrant(source_sha256, target_sha256, boxes={role: box})`: a started warrant."""

    def make(
        source_sha256: str = sha256_hex(b"source"),
        target_sha256: str = sha256_hex(b"target"),
        boxes: dict[PersonRole, tuple[int, int, int, int]] | None = None,
    ) -> ActiveWarrant:
        request = office.swap_request(source_sha256=source_sha256, target_sha256=target_sha256)
        return office.desk.start(office.desk.admit(request, office.measured(request, boxes=boxes)))

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The rendered and research pictures beside the repository; skips where they are absent."""
    root = Path(os.environ.get("FACEWARRANT_TEST_SHARED", DEMO.parents[2] / "shared")) / "data"
    if not root.is_dir():
        pytest.skip("needs the pictures of ../shared/data, which users do not have")
    return root
