"""A whole deployment in memory, rendered people, and warrants for tests of the doors."""

from __future__ import annotations

import os

# Before numpy and torch: tests run beside each other, one thread for each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import importlib
import io
import itertools
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import c2pa
import cv2
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from policies.audit import AuditLog
from policies.canonical import canonical
from policies.consent import sign, sign_opt_in
from policies.consents import ConsentBook
from policies.database import Database
from policies.digest import sha256_hex
from policies.facts import Measured, MeasuredPerson
from policies.house import shipped_house
from policies.keyprovider import KeyDenied, Standing, Wrapped
from policies.keys import CommitmentKey, SigningKey
from policies.record import ConsentRecord, Signer, read_record
from policies.record import encode as encode_document
from policies.request import Request, make_request
from policies.subjectkeys import SubjectKeys
from policies.terms import AgeMethod, Category, PersonRole
from policies.warrants import ActiveWarrant, WarrantDesk
from provenance.draft import Draft, Maker
from provenance.media import Picture, decode, encode
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.press import Press
from provenance.registry import Registry
from provenance.release import Released, redeliver, release
from provenance.signers import LocalSigner
from provenance.store import FolderStore
from provenance.verify import Archive, Verifier
from provenance.watermark import DEFAULT_WATERMARK, open_watermark

NOW = 1_795_219_200  # 2026-11-21 00:00:00 UTC
DAY = 86_400
MODEL_SHA256 = sha256_hex(b"identity model")
DEMO = Path(__file__).parent.parent / "docs" / "demo"
WHOLE = (-100_000, -100_000, 100_000, 100_000)

cv2.setNumThreads(1)


@contextmanager
def keep_scheduler() -> Iterator[None]:
    """Put back how the kernel schedules this thread.

    As root, the AV1 encoder libsvtav1 makes the thread that calls it real-time, for good: every
    other process of the machine would wait for the rest of the tests.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


@pytest.fixture(autouse=True)
def scheduler_kept() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """No test changes the scheduling of those after it; gives `keep_scheduler`."""
    with keep_scheduler():
        yield keep_scheduler


@dataclass
class Clock:
    """Unix seconds that move only when a test says so."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Office:
    """Controller, subjects' keys, consents, log and warrant desk, all in memory."""

    clock: Clock = field(default_factory=Clock)
    database: Database = field(default_factory=lambda: Database("sqlite://"))

    def __post_init__(self) -> None:
        self.controller = SigningKey.from_seed(b"c" * 32)
        self.desk_key = SigningKey.from_seed(b"w" * 32)
        self.log_key = SigningKey.from_seed(b"l" * 32)
        self.subject_keys = SubjectKeys("sqlite://", TestKeys(), clock=self.clock)
        self.log = AuditLog(
            self.database, origin="log.test/facewarrant", key=self.log_key, clock=self.clock
        )
        self.book = ConsentBook(
            database=self.database,
            log=self.log,
            keys=self.subject_keys,
            controllers=(self.controller.public,),
            commitment=CommitmentKey(b"p" * 32),
            clock=self.clock,
        )
        self.house = shipped_house([sha256_hex(b"notice")])
        self.desk = WarrantDesk(
            self.database, self.log, self.book, self.desk_key, self.house, self.clock
        )
        self.subjects: dict[str, SigningKey] = {}
        self.people: dict[str, SigningKey] = {}
        self._numbers = itertools.count(1)

    def record(
        self,
        *,
        face: bytes | None = None,
        model_sha256: str = MODEL_SHA256,
        age: AgeMethod = "document",
        opted_in: Sequence[Category] = (),
        **changes: Any,
    ) -> tuple[ConsentRecord, bytes]:
        """A signed record that permits everything sensible, and its sealed template.

        `face`: the bytes of the template, made by the identity model of that digest. `changes` go
        on top, part by part: `validity={"expires": 1}` leaves `not_before` as it is, `max_uses=1`
        stands for `limits={"max_uses": 1}`.
        """
        number = next(self._numbers)
        record_id = f"00000000-0000-7000-8000-{number:012x}"
        pid = changes.get("subject", {}).get("pid", "")
        # One person has one key, in all their records.
        own = SigningKey.from_seed(sha256_bytes(f"subject {number}"))
        subject = self.people.setdefault(pid, own) if pid else own
        self.subjects[record_id] = subject
        if "max_uses" in changes:
            changes = {"limits": {"max_uses": changes.pop("max_uses")}, **changes}
        fields = consent_fields(record_id, number, subject, age=age)
        for category in opted_in:
            signed = sign_opt_in(record_id, category, key=subject, at=self.clock())
            fields["opted_in"].append(signed.model_dump(mode="json"))
        template = f"template {number}".encode() if face is None else face
        pid = pid or fields["subject"]["pid"]
        self.people[pid] = subject
        sealed = self.book.seal(template, pid=pid, record_id=record_id, model_sha256=model_sha256)
        fields["binding"] |= {"model_sha256": model_sha256, "template_sha256": sha256_hex(sealed)}
        return self.signed(read_record(canonical(overlay(fields, changes)))), sealed

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

    def enrol(self, **changes: Any) -> str:
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
                age="clear",
                registry="clear",
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
            "blurred": (),
            "unnamed_minor": False,
            "source_nudity": "clear",
            "target_nudity": "clear",
            "pixels": 512 * 512,
            "seconds": 0,
            "people": people,
            "models": {"idnet": MODEL_SHA256},
            "identity_model_sha256": MODEL_SHA256,
        } | changes
        return Measured.model_validate(fields)

    def swap_request(self, *, face: bytes | None = None, **changes: object) -> Request:
        """A request between two freshly enrolled people, who both look like `face`."""
        people: list[tuple[str, PersonRole]] = [
            (self.enrol(face=face), "source_identity"),
            (self.enrol(face=face), "target_body"),
        ]
        return self.request(people, **changes)  # type: ignore[arg-type]


LETTERS = str.maketrans("01", "ab")


def consent_fields(
    record_id: str, number: int, subject: SigningKey, *, age: AgeMethod
) -> dict[str, Any]:
    """The fields of a record that permits everything sensible; person `number` of the office."""
    is_rendered = age == "rendered"
    liveness = {
        "method": "rendered" if is_rendered else "in_person",
        "nonce_sha256": "",
        "score_milli": 0,
        "at": NOW - DAY,
    }
    return {
        "schema": "facewarrant/consent/1",
        "record_id": record_id,
        "subject": {
            "pid": f"ps_{number:026b}".translate(LETTERS),
            "key": subject.public.hex,
            "age_assurance": {
                "method": age,
                "adult": True,
                "checked_at": NOW - DAY,
                "evidence": "" if age == "self_declared" else f"check {number}",
            },
        },
        "controller": {
            "id": "ctl",
            "name": "Test Controller",
            "address": "1 Test Street, Testville",
            "contact": "dpo@test.invalid",
            "type": "company",
        },
        "notice": {"id": "n", "version": "1", "language": "en", "sha256": sha256_hex(b"notice")},
        "purposes": ["film_vfx", "personal"],
        "roles": ["source_identity", "target_body", "bystander"],
        "media": ["image"],
        "audiences": ["internal", "public"],
        "territories": ["DE", "FR"],
        "counterparties": {"mode": "any_consented", "pids": []},
        "assets": {"mode": "any", "sha256": [], "project": ""},
        "prohibited": [],
        "opted_in": [],
        "limits": {"max_uses": 100, "max_pixels": 100_000_000, "max_seconds": 600},
        "validity": {"not_before": NOW - DAY, "expires": NOW + 30 * DAY},
        "personal_data": [{"type": "pd:FacialPrint", "special": True, "required": True}],
        "storage": {"locations": ["Testville, DE"], "retention": "P1Y"},
        "recipients": ["nobody outside Test Controller"],
        "rights": "access, rectification, erasure, portability, complaint",
        "withdrawal": {"method": "facewarrant consent withdraw", "url": ""},
        "authority": "Testville data protection authority",
        "dpia_ref": "DPIA-1",
        "compensation_ref": "",
        "binding": {"model": "idnet", "liveness": liveness},
        "addenda": [],
        "signatures": [],
    }


def overlay(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The fields with changes on top; where both hold an object, part by part."""
    merged = dict(fields)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = overlay(merged[name], value) if both else value
    return merged


def sha256_bytes(text: str) -> bytes:
    """32 bytes that differ for every text."""
    return bytes.fromhex(sha256_hex(text.encode()))


class TestKeys:
    """A key provider with one key that nobody has to keep."""

    __test__ = False
    version = "v1"

    def wrap(self, key: bytes) -> Wrapped:
        return Wrapped(aes_key_wrap(b"k" * 32, key), self.version)

    def unwrap(self, wrapped: Wrapped) -> bytes:
        return aes_key_unwrap(b"k" * 32, wrapped.blob)

    def rotate(self) -> str:
        raise KeyDenied("this provider has one version")

    def destroy(self, version: str) -> None:
        raise KeyDenied(f"{version} is the current version")

    def standing(self, version: str) -> Standing:
        return Standing("kept")


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


MARK_KEY = b"m" * 32


class Searched:
    """A watermark that searches the same pixels with the same keys once for a run of the tests."""

    known: ClassVar[dict[tuple[Any, ...], Any]] = {}

    def __init__(self, name: str, *, keys: Sequence[bytes]) -> None:
        self._watermark, self._keys = open_watermark(name, keys=keys), (name, *keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watermark, name)

    def detect(self, image: Any, *, thorough: bool = True) -> Any:
        return self._once(
            (thorough, image), lambda: self._watermark.detect(image, thorough=thorough)
        )

    def detect_clip(self, frames: Any) -> Any:
        film = list(frames)
        return self._once(("clip", *film), lambda: self._watermark.detect_clip(film))

    def _once(self, asked: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        how, *frames = asked
        key = (
            self._keys,
            how,
            *((one.shape, one.dtype.str, sha256_hex(one.tobytes())) for one in frames),
        )
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]


_LOOKS: dict[Any, Any] = {}


@pytest.fixture(scope="module")
def looked_at_once() -> Iterator[None]:
    """In deployments, the same pixels are searched for marks once, and shown to each net once."""
    deployment, weights = map(
        importlib.import_module, ("pipelines.deployment", "generator.weights")
    )
    run, known = weights.WeightSession.run, _LOOKS

    def run_once(net: Any, image: Any) -> dict[str, Any]:
        key = (
            # A session with other outputs, or a stand-in for one, is another net.
            (net.card.model_dump_json(), tuple(net._names), type(net._session)),
            image.shape,
            image.dtype.str,
            sha256_hex(image.tobytes()),
        )
        if key not in known:
            known[key] = run(net, image)
        return {name: values.copy() for name, values in known[key].items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deployment, "open_watermark", Searched)
        patch.setattr(weights.WeightSession, "run", run_once)
        yield


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
        self.watermark = Searched(DEFAULT_WATERMARK, keys=(MARK_KEY,))
        self.press = Press(
            desk=office.desk,
            watermark=self.watermark,
            signer=LocalSigner(
                key=self.pki.leaf_key,
                chain=self.pki.chain,
                issuer=office.desk_key.public,
                clock=machine_now,
            ),
            stamper=self.pki.authority(machine_now),
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

    def warrant_under(
        self, source: Any, target: Any, consent: dict[str, Any], **changes: object
    ) -> ActiveWarrant:
        """A started warrant for two people whose consents have these fields."""
        office, roles = self.office, ("source_identity", "target_body")
        people = [(office.enrol(**consent), role) for role in roles]
        request = office.request(
            people,  # type: ignore[arg-type]
            source_sha256=source.sha256,
            target_sha256=target.sha256,
            **{"request_id": f"under-{next(self._requests)}"} | changes,
        )
        self.asked[request.request_id] = request
        return office.desk.start(office.desk.admit(request, office.measured(request)))

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


# --- databases: SQLite and PostgreSQL ------------------------------------------------------------


class PostgresServer:
    """A PostgreSQL server of this test run's own: in a new folder, on a socket, never on a port."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self.folder = programs, folder
        self._numbers = itertools.count(1)
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "-A", "trust", "-U", "facewarrant", "-E", "UTF8", "--locale=C", "-N")
        options = f"-F -h '' -k {folder} -c max_connections=100"
        self._run("pg_ctl", "start", "-w", "-l", str(folder / "log"), "-o", options)
        self._admin = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        Database(self.new()).close()  # the first one: migrated, then copied for every test

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self.folder / "data", *arguments],
            check=True,
            cwd=self.folder,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            stdout=subprocess.DEVNULL,  # a pipe would stay open in the server
            **self._as,
        )

    def url(self, name: str, user: str = "facewarrant") -> str:
        return f"postgresql+psycopg2://{user}@/{name}?host={self.folder}"

    def new(self, template: str = "template1") -> str:
        """Make a database, empty or the copy of another; returns its address."""
        name = f"test{next(self._numbers)}"
        self.execute(f"create database {name} template {template}")
        return self.url(name)

    def new_migrated(self) -> str:
        """Make a database with the newest schema; returns its address."""
        return self.new("test1")

    def drop(self, url: str) -> None:
        self.execute(f"drop database {sa.make_url(url).database} with (force)")

    def execute(self, sql: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(sql)

    def stop(self) -> None:
        self._admin.dispose()
        self._run("pg_ctl", "stop", "-m", "immediate")


def find_postgres() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    return Path(found).resolve().parent if found else folders[-1] if folders else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the whole run; skips only where PostgreSQL is not installed."""
    programs = find_postgres()
    if programs is None:
        message = "PostgreSQL is not installed: no initdb on the PATH or in /usr/lib/postgresql"
        if os.environ.get("FACEWARRANT_TEST_REQUIRE_POSTGRES") == "1":
            pytest.fail(message)
        pytest.skip(message)
    # Not pytest's own folder: that is closed to the user the server runs as.
    with tempfile.TemporaryDirectory(prefix="fw-pg-") as folder:
        server = PostgresServer(programs, Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a PostgreSQL database with the newest schema, this test's own."""
    url = postgres_server.new_migrated()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database in a file, then of one on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def any_database(any_url: str) -> Iterator[Database]:
    """A database in a file, then one on a server."""
    database = Database(any_url)
    yield database
    database.close()
