"""A whole deployment in memory, rendered people, and warrants for tests of the doors."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import c2pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from policies.audit import AuditLog
from policies.canonical import canonical
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
from provenance.draft import Draft, Maker
from provenance.media import Picture, decode, encode
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.registry import Registry
from provenance.release import Press, Released, redeliver, release
from provenance.signers import LocalSigner
from provenance.store import FolderStore
from provenance.verify import Archive, Verifier
from provenance.watermark import DEFAULT_WATERMARK, open_watermark

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

    def record(
        self, *, face: bytes = b"", model_sha256: str = MODEL_SHA256, **changes: object
    ) -> tuple[ConsentRecord, SealedTemplate]:
        """A signed record that permits everything sensible, with `changes` on top.

        `face`: the bytes of the template, made by the identity model of that digest.
        """
        number = next(self._numbers)
        record_id = f"00000000-0000-7000-8000-{number:012x}"
        subject = SigningKey.from_seed(sha256_bytes(f"subject {number}"))
        self.subjects[record_id] = subject
        template = self.vault.seal(
            face or f"template {number}".encode(), record_id=record_id, model_sha256=model_sha256
        )
        fields = {
            "schema": "facewarrant/consent/1",
            "record_id": record_id,
            "subject": {
                "pid": f"ps_{number:026b}".translate(LETTERS),
                "key": subject.public.hex,
                "age_assurance": {"method": "document", "adult": True, "checked_at": NOW - DAY},
            },
            "controller": {"id": "ctl", "name": "Test Controller", "contact": "dpo@test.invalid"},
            "notice": {
                "id": "n",
                "version": "1",
                "language": "en",
                "sha256": sha256_hex(b"notice"),
            },
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
                "model_sha256": model_sha256,
                "template_sha256": sha256_hex(template.ciphertext),
            },
            "signatures": [],
        } | changes
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
        record, template = self.record(**changes)  # type: ignore[arg-type]
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

    def swap_request(self, *, face: bytes = b"", **changes: object) -> Request:
        """A request between two freshly enrolled people, who both look like `face`."""
        people: list[tuple[str, PersonRole]] = [
            (self.enrol(face=face), "source_identity"),
            (self.enrol(face=face), "target_body"),
        ]
        return self.request(people, **changes)  # type: ignore[arg-type]


LETTERS = str.maketrans("01", "ab")


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
        **facts: object,
    ) -> ActiveWarrant:
        request = office.swap_request(source_sha256=source_sha256, target_sha256=target_sha256)
        measured = office.measured(request, boxes=boxes, **facts)
        return office.desk.start(office.desk.admit(request, measured))

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The rendered and research pictures beside the repository; skips where they are absent."""
    root = Path(os.environ.get("FACEWARRANT_TEST_SHARED", DEMO.parents[2] / "shared")) / "data"
    if not root.is_dir():
        pytest.skip("needs the pictures of ../shared/data, which users do not have")
    return root


def machine_now() -> datetime:
    """The C2PA library judges certificates by the machine's clock, so signers must too."""
    return datetime.now(tz=UTC)


@dataclass
class Studio:
    """An office that also releases and verifies; its drafts need no face models."""

    pki: DevelopmentChain
    folder: Path
    office: Office = field(default_factory=Office)

    def __post_init__(self) -> None:
        office = self.office
        self._marks = itertools.count(1)
        self._requests = itertools.count(1)
        self.asked: dict[str, Request] = {}
        self.registry = Registry(office.database)
        self.store = FolderStore(self.folder)
        self.watermark = open_watermark(DEFAULT_WATERMARK, key=b"m" * 32)
        self.press = Press(
            desk=office.desk,
            watermark=self.watermark,
            signer=LocalSigner(
                key=self.pki.leaf_key,
                chain=self.pki.chain,
                issuer=office.desk_key.public,
                clock=machine_now,
            ),
            anchors=self.pki.anchors,
            registry=self.registry,
            store=self.store,
            provider="Test Studio",
            clock=office.clock,
            rng=lambda n: sha256_bytes(f"mark {next(self._marks)}")[:n],
        )
        self.archive = Archive(
            self.registry, self.store, office.log, office.log_key.public, office.book
        )
        self.verifier = Verifier(self.pki.anchors, self.watermark, self.archive)

    def picture(self, name: str, mime: str = "image/webp") -> Picture:
        """A rendered person as a picture of that type."""
        picture = decode((DEMO / f"{name}.webp").read_bytes())
        return picture if mime == picture.mime else decode(encode(picture.frame, mime))  # type: ignore[arg-type]

    def warrant(self, source: Picture, target: Picture, **changes: object) -> ActiveWarrant:
        """A started warrant for two freshly enrolled people in these pictures."""
        number = next(self._requests)
        fields = {"request_id": f"studio-{number}"} | changes
        request = self.office.swap_request(
            source_sha256=source.sha256, target_sha256=target.sha256, **fields
        )
        desk = self.office.desk
        active = desk.start(desk.admit(request, self.office.measured(request)))
        self.asked[active.document.request_id] = request
        return active

    def draft(self, name: str = "persona2_0", mime: str = "image/webp", **changes: object) -> Draft:
        """A draft whose pixels are the target's own, under a warrant of its own."""
        source, target = self.picture("persona1_0"), self.picture(name, mime)
        fields: dict[str, object] = {
            "frame": target.frame,
            "source": source,
            "target": target,
            "faces": (),
            "maker": Maker("geo", "1", {"idnet": MODEL_SHA256}),
        }
        fields |= changes
        if "warrant" not in fields:
            fields["warrant"] = self.warrant(fields["source"], fields["target"])  # type: ignore[arg-type]
        return Draft(**fields)  # type: ignore[arg-type]

    def release(self, name: str = "persona2_0", mime: str = "image/webp") -> Released:
        """A released picture."""
        return release(self.draft(name, mime), press=self.press)

    def redeliver(self, draft: Draft) -> Released:
        """What asking again for a released draft gives."""
        request = self.asked[draft.warrant.document.request_id]
        row = self.registry.by_request(request.request_id)
        assert row is not None
        return redeliver(row, request, press=self.press, identity=MODEL_SHA256)

    def kept(self) -> list[Path]:
        """Every file of the store, whatever it is called."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def kinds(self) -> list[str]:
        """The kinds of the log's entries, oldest first."""
        return [entry["kind"] for entry in self.office.log.entries()]


@pytest.fixture(scope="session")
def pki() -> DevelopmentChain:
    """A development chain that is valid now."""
    return make_development_chain(organisation="Test Studio", now=machine_now())


@pytest.fixture(scope="session")
def other_pki() -> DevelopmentChain:
    """The chain of a stranger, valid now."""
    return make_development_chain(organisation="Someone Else", now=machine_now())


@pytest.fixture
def studio(pki: DevelopmentChain, tmp_path: Path) -> Studio:
    """A studio of this test's own."""
    return Studio(pki, tmp_path / "store")


@pytest.fixture(scope="session")
def gallery(
    pki: DevelopmentChain, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Studio, dict[str, Released]]:
    """A studio and what it released, by type; shared by tests that only look at it."""
    studio = Studio(pki, tmp_path_factory.mktemp("gallery"))
    people = {"image/jpeg": "persona2_0", "image/png": "persona3_0", "image/webp": "persona4_0"}
    return studio, {mime: studio.release(name, mime) for mime, name in people.items()}


def sign_elsewhere(
    pki: DevelopmentChain,
    picture: bytes,
    *,
    parent: bytes = b"",
    assertions: Sequence[dict[str, object]] = (),
) -> bytes:
    """The picture with the manifest of another maker's tool, on top of a parent's where given."""

    def sign_claim(claim: bytes) -> bytes:
        return pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256()))

    first: dict[str, object] = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
    }
    if parent:
        first = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}}
    actions = {"actions": [first], "allActionsIncluded": True}
    definition = {
        "claim_generator_info": [{"name": "Other Editor", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions}, *assertions],
    }
    settings = {
        "builder": {
            "thumbnail": {"enabled": False},
            "created_assertion_labels": ["c2pa.actions", "c2pa.soft-binding"],
        },
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"},
    }
    out, mime = io.BytesIO(), decode(picture).mime
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(
            sign_claim, c2pa.C2paSigningAlg.ES256, pki.chain.pem, None
        ) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        if parent:
            described = {"title": "parent", "relationship": "parentOf", "label": "parent"}
            builder.add_ingredient(described, decode(parent).mime, io.BytesIO(parent))
        builder.sign(signer, mime, io.BytesIO(picture), out)
    return out.getvalue()


@pytest.fixture(name="sign_elsewhere")
def sign_elsewhere_fixture() -> Callable[..., bytes]:
    """`sign_elsewhere(pki, picture, parent=...)`: what another maker's tool would release."""
    return sign_elsewhere
