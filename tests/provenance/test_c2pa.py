"""The C2PA door: what signs, what reads as what, and that every tampering and every SSRF fails."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import random
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, get_args

import c2pa
import encypher_c2pa
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import provenance.c2pa
import provenance.reading
from policies.keys import SigningKey
from policies.warrant import Warrant, WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.asset import Inputs
from provenance.c2pa import IngredientRefused, Signed, read_manifest, sign_manifest
from provenance.chains import (
    CLAIM_SIGNING,
    Algorithm,
    ChainRefused,
    TrustAnchors,
    load_anchors,
)
from provenance.containers import Mime
from provenance.errors import CertificateRefused, SigningFailed
from provenance.manifest import LintFinding, LogPosition, SwapClaim
from provenance.media import Picture, decode, encode
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.reading import EXPIRED, UNTRUSTED, ManifestReading
from provenance.signers import AlreadySigned, LocalSigner, Signer
from provenance.timestamps import Relay, TsaUnavailable
from provenance.timetokens import make_query

MIMES: tuple[Mime, ...] = ("image/jpeg", "image/png", "image/webp")
SUFFIX = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
NOBODY = TrustAnchors(())
SIDE_PX = 160


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PIXELS_CHANGED = "assertion.dataHash.mismatch"
DESK = SigningKey.from_seed(b"w" * 32).public  # the desk of tests/conftest.py


def now() -> datetime:
    """The library judges certificates by the machine's clock, so these tests must too."""
    return datetime.now(tz=UTC)


@pytest.fixture(scope="module")
def pki() -> DevelopmentChain:
    return make_development_chain(organisation="Test Studio", now=now())


@pytest.fixture(scope="module")
def other_pki() -> DevelopmentChain:
    return make_development_chain(organisation="Someone Else", now=now())


@pytest.fixture
def signer(pki: DevelopmentChain) -> LocalSigner:
    return LocalSigner(key=pki.leaf_key, chain=pki.chain, issuer=DESK, clock=now)


@pytest.fixture
def inputs(demo_picture: Callable[[str], bytes]) -> tuple[Picture, Picture]:
    """Target and source as people hand them in: JPEG files."""
    names = ("persona2_0", "persona1_0")
    frames = [decode(demo_picture(name)).frame[:SIDE_PX, :SIDE_PX] for name in names]
    target, source = (decode(encode(frame, "image/jpeg")) for frame in frames)
    return target, source


def claim_for(document: Warrant, mime: Mime, **changes: Any) -> SwapClaim:
    """A claim that cites the warrant."""
    fields: dict[str, Any] = {
        "title": "0123456789abcdef",
        "mime": mime,
        "mark_id": bytes(range(8)),
        "watermark": "org.facewarrant.wm.v1",
        "fingerprint": "0f" * 32,
        "warrant_hash": document.sha256,
        "decision_hash": document.decision_sha256,
        "policy_sha256": document.policy_sha256,
        "models": dict(document.models),
        "swapper_name": "geo",
        "swapper_version": "1",
        "log": LogPosition(
            origin=document.log_origin, index=document.decision_index, size=document.log_size
        ),
        "consents": tuple((f"{n:064x}", p.role) for n, p in enumerate(document.people)),
    }
    return SwapClaim(**(fields | changes))


@dataclasses.dataclass
class Bench:
    """Everything one signature needs, so that a test changes one thing."""

    target: Picture
    source: Picture
    signer: Signer
    warrant: ActiveWarrant

    def sign(self, mime: Mime = "image/jpeg", **changes: Any) -> Signed:
        claim = changes.pop("claim", None) or claim_for(self.warrant.document, mime)
        given: dict[str, Any] = {
            "inputs": Inputs(
                changes.pop("target", self.target), changes.pop("source", self.source)
            ),
            "signer": self.signer,
            "warrant": self.warrant,
            "stamper": None,
        }
        return sign_manifest(encode(self.target.frame, mime), claim, **(given | changes))


@pytest.fixture
def bench(
    inputs: tuple[Picture, Picture],
    signer: LocalSigner,
    active_warrant: Callable[..., ActiveWarrant],
) -> Bench:
    target, source = inputs
    return Bench(target, source, signer, active_warrant(source.sha256, target.sha256))


def verdict(data: bytes, mime: Mime, anchors: TrustAnchors, **given: Any) -> str:
    return read_manifest(data, mime, anchors=anchors, **given).verdict


def flip(data: bytes, at: int) -> bytes:
    assert 0 <= at < len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def find(data: bytes, needle: bytes) -> int:
    at = data.find(needle)
    assert at >= 0
    return at


# ------------------------------------------------------------------------------ good files


def test_this_module_does_not_shadow_the_library() -> None:
    assert c2pa.__name__ == "c2pa"
    assert provenance.c2pa.c2pa is c2pa
    assert not hasattr(c2pa, "read_manifest")


@pytest.mark.parametrize("mime", MIMES)
def test_signed_file_is_trusted_under_our_root_only(
    bench: Bench, pki: DevelopmentChain, other_pki: DevelopmentChain, mime: Mime
) -> None:
    signed = bench.sign(mime)
    reading = read_manifest(signed.data, mime, anchors=pki.anchors)
    assert (reading.verdict, reading.state) == ("trusted", "Trusted")
    assert (reading.failures, reading.ingredient_failures, reading.findings) == ((), (), ())
    assert reading.signer_trusted
    for anchors in (NOBODY, other_pki.anchors):
        reading = read_manifest(signed.data, mime, anchors=anchors)
        assert reading.verdict == "intact_untrusted"
        assert reading.failures == (UNTRUSTED,)
        assert not reading.signer_trusted


def test_reading_gives_back_what_was_claimed(bench: Bench, pki: DevelopmentChain) -> None:
    document = bench.warrant.document
    signed = bench.sign("image/png")
    reading = read_manifest(signed.data, "image/png", anchors=pki.anchors)
    assert reading.manifest_id == signed.manifest_id
    assert reading.manifest_id.startswith("urn:c2pa:")
    assert reading.issuer == "Test Studio"
    assert reading.claim_generator == "FaceWarrant"
    assert [(b.alg, b.value) for b in reading.soft_bindings] == [
        ("org.facewarrant.wm.v1", bytes(range(8))),
        ("org.facewarrant.pdq.1", b"\x0f" * 32),
    ]
    assert (reading.bound_mark, reading.bound_print) == (bytes(range(8)).hex(), "0f" * 32)
    assert reading.warrant is not None
    assert reading.warrant["warrant_hash"] == document.sha256
    assert reading.warrant["log"]["index"] == document.decision_index
    assert reading.consent is not None
    assert [c["role"] for c in reading.consent["consents"]] == ["source_identity", "target_body"]
    assert reading.actions == (
        "c2pa.opened",
        "c2pa.placed",
        "c2pa.edited",
        "c2pa.watermarked.bound",
    )
    assert (reading.signed_at, reading.time_stamped) == (None, False)
    assert "signingCredential.ocsp.skipped" in reading.informational


def test_store_is_small(bench: Bench) -> None:
    assert len(bench.sign().store) <= 20_000


@pytest.mark.parametrize("mime", MIMES)
def test_independent_engine_agrees(
    bench: Bench, pki: DevelopmentChain, other_pki: DevelopmentChain, mime: Mime, tmp_path: Path
) -> None:
    signed = bench.sign(mime).data
    path = tmp_path / f"signed{SUFFIX[mime]}"

    def state(data: bytes, anchors: TrustAnchors) -> str:
        path.write_bytes(data)
        found = encypher_c2pa.verify(
            str(path),
            trust_pem=anchors.pem,
            no_default_trust=True,
            telemetry=False,
            online=False,
        )
        return str(found["validation_state"])

    assert state(signed, pki.anchors) == "Trusted"
    assert state(signed, other_pki.anchors) == "Valid"
    for tampered in (
        change_pixel(signed),
        flip(signed, find(signed, b"notAllowed")),
        flip(signed, find(signed, b"composite")),
        flip(signed, find(signed, b"Development Issuing")),
        signed + b"more",
    ):
        assert state(tampered, pki.anchors) == "Invalid"


# ------------------------------------------------------------------------------ time stamps


def states(
    data: bytes, mime: Mime, path: Path, anchors: TrustAnchors
) -> tuple[str, str, str, list[str]]:
    """Verdict and time stamp by our engine, state and failures by the other one."""
    path.write_bytes(data)
    reading = read_manifest(data, mime, anchors=anchors)
    found = encypher_c2pa.verify(
        str(path),
        trust_pem=anchors.pem or None,
        tsa_trust_pem=anchors.time_stamping_pem or None,
        no_default_trust=True,
        telemetry=False,
        online=False,
    )
    codes = [entry["code"] for entry in found["validation_results"]["failure"]]
    return reading.verdict, reading.time_stamp, str(found["validation_state"]), codes


@pytest.mark.parametrize("alg", get_args(Algorithm))
@pytest.mark.parametrize("mime", MIMES)
def test_every_algorithm_reads_trusted_and_stamped_in_both_engines(
    bench: Bench, tmp_path: Path, mime: Mime, alg: Algorithm
) -> None:
    made = make_development_chain(organisation="Test Studio", now=now(), algorithm=alg)
    signer = LocalSigner(key=made.leaf_key, chain=made.chain, issuer=DESK, clock=now)
    before = now()
    signed = bench.sign(mime, signer=signer, stamper=made.authority(now))
    path = tmp_path / f"signed{SUFFIX[mime]}"
    both = states(signed.data, mime, path, made.anchors)
    assert both == ("trusted", "trusted", "Trusted", [])
    reading = read_manifest(signed.data, mime, anchors=made.anchors)
    assert reading.time_stamped
    assert reading.signed_at is not None
    assert abs(reading.signed_at - before) < timedelta(minutes=1)
    assert len(signed.store) <= 20_000


def test_a_stamp_of_an_unknown_authority_says_so(
    bench: Bench, pki: DevelopmentChain, other_pki: DevelopmentChain
) -> None:
    data = bench.sign(stamper=other_pki.authority(now)).data
    alone = read_manifest(data, "image/jpeg", anchors=TrustAnchors((pki.root,)))
    assert (alone.verdict, alone.time_stamp, alone.time_stamped) == ("trusted", "untrusted", False)
    both = TrustAnchors((pki.root, other_pki.root))
    known = read_manifest(data, "image/jpeg", anchors=both)
    assert (known.verdict, known.time_stamp) == ("trusted", "trusted")


def test_without_a_stamper_the_stamp_is_missing(bench: Bench, pki: DevelopmentChain) -> None:
    reading = read_manifest(bench.sign().data, "image/jpeg", anchors=pki.anchors)
    assert (reading.time_stamp, reading.time_stamped, reading.signed_at) == ("missing", False, None)


EXPIRED_FILES = Path(__file__).parents[1] / "vectors" / "expired"


@pytest.mark.parametrize(
    ("file", "known", "ours", "stamp", "theirs"),
    [
        ("stamped", True, "trusted", "trusted", "Trusted"),
        ("stamped", False, "invalid", "untrusted", "Valid"),
        ("unstamped", True, "invalid", "missing", "Valid"),
        ("unstamped", False, "invalid", "missing", "Valid"),
    ],
)
def test_an_expired_signer_is_trusted_by_its_time_stamp_alone(
    tmp_path: Path, file: str, known: bool, ours: str, stamp: str, theirs: str
) -> None:
    """The other engine says "Valid" of an expired signer, but names the code and does not trust."""
    root = [EXPIRED_FILES / "root.pem"]
    anchors = load_anchors(root, time_stamping=root) if known else NOBODY
    data = (EXPIRED_FILES / f"{file}.jpg").read_bytes()
    *found, codes = states(data, "image/jpeg", tmp_path / "x.jpg", anchors)
    assert found == [ours, stamp, theirs]
    reading = read_manifest(data, "image/jpeg", anchors=anchors)
    assert reading.signer_expired == (ours == "invalid")
    assert (EXPIRED in reading.failures) == (ours == "invalid")
    assert ("claimSignature.outsideValidity" in codes) == (ours == "invalid")


def test_an_expired_signer_is_not_said_of_a_tampered_file() -> None:
    data = flip((EXPIRED_FILES / "unstamped.jpg").read_bytes(), 14_500)
    reading = read_manifest(data, "image/jpeg", anchors=NOBODY)
    assert PIXELS_CHANGED in reading.failures
    assert not reading.signer_expired


class Stamper:
    """A stamper that answers as a test says."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.stamp = answer


def raising(error: Exception) -> Callable[[bytes], bytes]:
    def answer(_query: bytes) -> bytes:
        raise error

    return answer


def test_without_a_time_stamp_nothing_is_signed(bench: Bench) -> None:
    down = TsaUnavailable("tsa.test does not answer")
    with pytest.raises(TsaUnavailable) as caught:
        bench.sign(stamper=Stamper(raising(down)))
    assert caught.value is down
    assert caught.value.code == "TSA-UNAVAILABLE"


def test_a_stamper_that_breaks_is_the_cause(bench: Bench) -> None:
    broken = ZeroDivisionError()
    with pytest.raises(SigningFailed) as caught:
        bench.sign(stamper=Stamper(raising(broken)))
    assert caught.value.__cause__ is broken


@pytest.mark.parametrize("wrong", ["junk", "nonce", "digest"])
def test_the_library_takes_no_wrong_stamp_either(
    bench: Bench, pki: DevelopmentChain, wrong: str
) -> None:
    """The patient stamper refuses these before; this is what stands behind it."""
    local = pki.authority(now)
    answers: dict[str, Callable[[bytes], bytes]] = {
        "junk": lambda _query: b"junk",
        "nonce": lambda query: local.stamp(query[:-4] + bytes([query[-4] ^ 1]) + query[-3:]),
        "digest": lambda _query: local.stamp(make_query(bytes(32), nonce=1)),
    }
    with pytest.raises(SigningFailed):
        bench.sign(stamper=Stamper(answers[wrong]))


def test_a_library_that_cannot_reach_the_relay_is_told(
    bench: Bench, pki: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def nowhere(_stamper: object) -> Iterator[Relay]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        yield Relay(f"http://127.0.0.1:{port}/")

    monkeypatch.setattr(provenance.c2pa, "serve_stamps", nowhere)
    with pytest.raises(TsaUnavailable) as caught:
        bench.sign(stamper=pki.authority(now))
    assert "NO_PROXY" in caught.value.mend


def test_a_signer_that_fails_is_not_taken_for_a_missing_stamp(
    bench: Bench, pki: DevelopmentChain
) -> None:
    with pytest.raises(SigningFailed) as caught:
        bench.sign(signer=FailingSigner(pki.chain.pem, b""), stamper=pki.authority(now))
    assert caught.value.code == "SIGNING-FAILED"


def test_a_stamp_that_does_not_read_back_is_not_returned(
    bench: Bench, pki: DevelopmentChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def forgetful(_stamper: object) -> Iterator[None]:
        yield None

    monkeypatch.setattr(provenance.c2pa, "serve_stamps", forgetful)
    with pytest.raises(SigningFailed, match="reads back as missing"):
        bench.sign(stamper=pki.authority(now))


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "missing"),
        ({"signed_at": NOON}, "broken"),
        ({"successes": ("timeStamp.validated",)}, "broken"),
        ({"signed_at": NOON, "successes": ("timeStamp.validated",)}, "untrusted"),
        ({"failures": ("timeStamp.mismatch",)}, "broken"),
        ({"informational": ("timeStamp.malformed",)}, "broken"),
        (
            {
                "signed_at": NOON,
                "successes": ("timeStamp.validated", "timeStamp.trusted"),
                "time_stamped": True,
            },
            "trusted",
        ),
        (
            {
                "signed_at": NOON,
                "successes": ("timeStamp.validated",),
                "informational": ("timeStamp.untrusted",),
            },
            "untrusted",
        ),
        (
            {
                "signed_at": NOON,
                "successes": ("timeStamp.validated", "timeStamp.trusted"),
                "failures": ("timeStamp.outsideValidity",),
                "time_stamped": True,
            },
            "broken",
        ),
    ],
)
def test_the_state_of_a_stamp_is_by_its_codes(fields: dict[str, Any], state: str) -> None:
    assert ManifestReading("trusted", **fields).time_stamp == state


# ------------------------------------------------------------------------------ tampering


def change_pixel(data: bytes) -> bytes:
    """Change coded picture data; a WebP keeps its manifest at the end, the others before it."""
    at = find(data, b"VP8 ") + 500 if data[:4] == b"RIFF" else len(data) - 30
    return flip(data, at)


TAMPERINGS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "pixel": (change_pixel, PIXELS_CHANGED),
    "assertion": (lambda d: flip(d, find(d, b"notAllowed")), "assertion.hashedURI.mismatch"),
    "source type": (lambda d: flip(d, find(d, b"composite")), "assertion.hashedURI.mismatch"),
    "warrant": (lambda d: flip(d, find(d, b"warrant_hash") + 20), "assertion.hashedURI.mismatch"),
    "claim": (lambda d: flip(d, find(d, b"FaceWarrantgversion")), "claimSignature.mismatch"),
    "certificate": (lambda d: flip(d, find(d, b"Development Issuing")), "claimSignature.mismatch"),
    "append": (lambda d: d + b"more", PIXELS_CHANGED),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
@pytest.mark.parametrize("mime", MIMES)
def test_tampered_file_is_invalid(
    bench: Bench, pki: DevelopmentChain, mime: Mime, kind: str
) -> None:
    change, code = TAMPERINGS[kind]
    reading = read_manifest(change(bench.sign(mime).data), mime, anchors=pki.anchors)
    assert reading.verdict == "invalid", reading
    assert code in reading.failures


@pytest.mark.parametrize(
    ("mime", "verdicts"),
    [("image/jpeg", "invalid"), ("image/png", "unreadable"), ("image/webp", "unreadable")],
)
def test_truncated_file_is_refused(
    bench: Bench, pki: DevelopmentChain, mime: Mime, verdicts: str
) -> None:
    assert verdict(bench.sign(mime).data[:-40], mime, pki.anchors) == verdicts


@pytest.mark.parametrize("mime", MIMES)
def test_stripped_file_has_no_manifest(bench: Bench, pki: DevelopmentChain, mime: Mime) -> None:
    stripped = encode(decode(bench.sign(mime).data).frame, mime)
    assert read_manifest(stripped, mime, anchors=pki.anchors) == ManifestReading("no_manifest")


@pytest.mark.parametrize("mime", MIMES)
def test_recovered_store_still_proves_its_signer(
    bench: Bench, pki: DevelopmentChain, mime: Mime
) -> None:
    signed = bench.sign(mime)
    stripped = encode(decode(signed.data).frame, mime)
    reading = read_manifest(stripped, mime, anchors=pki.anchors, store=signed.store)
    assert reading.verdict == "invalid"
    assert reading.failures == (PIXELS_CHANGED,)
    assert reading.signer_trusted
    assert reading.manifest_id == signed.manifest_id
    edited = flip(signed.store, find(signed.store, b"notAllowed"))
    reading = read_manifest(stripped, mime, anchors=pki.anchors, store=edited)
    assert reading.verdict == "invalid"


def test_tampered_parent_is_raised_to_the_verdict(bench: Bench, pki: DevelopmentChain) -> None:
    tampered = decode(change_pixel(bench.sign().data))
    data = sign_foreign(pki, actions(OPENED), tampered, "a")
    reading = read_manifest(data, "image/jpeg", anchors=pki.anchors)
    assert reading.state == "Trusted"  # the library's own answer
    assert reading.verdict == "ingredient_invalid"
    [bad] = reading.ingredient_failures
    assert (bad.relationship, bad.codes) == ("parentOf", (PIXELS_CHANGED,))


def test_nothing_is_signed_on_top_of_a_tampered_input(
    bench: Bench, pki: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    direct = decode(change_pixel(bench.sign().data))
    nested = decode(sign_foreign(pki, actions(OPENED), direct, "a"))
    for tampered in (direct, nested):
        warrant = active_warrant(tampered.sha256, tampered.sha256)
        both = dataclasses.replace(bench, target=tampered, source=tampered, warrant=warrant)
        with pytest.raises(IngredientRefused) as caught:
            both.sign()
        assert caught.value.code == "INGREDIENT-REFUSED"
        assert PIXELS_CHANGED in caught.value.message
        bench.signer.sign(b"\x84\x6aSignature1", warrant=warrant)  # the key was not used


def test_good_parent_with_a_manifest_stays_trusted(
    bench: Bench, pki: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    parent = decode(bench.sign().data)
    warrant = active_warrant(bench.source.sha256, parent.sha256)
    signed = dataclasses.replace(bench, target=parent, warrant=warrant).sign()
    assert verdict(signed.data, "image/jpeg", pki.anchors) == "trusted"


# ------------------------------------------------------------------------------ the signing door


@pytest.mark.parametrize("impostor", [None, "warrant", object(), True])
def test_no_signature_without_a_warrant(bench: Bench, impostor: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign(warrant=impostor, claim=claim_for(bench.warrant.document, "image/jpeg"))
    assert caught.value.code == "WARRANT-REQUIRED"


def test_no_signature_with_a_warrant_document(bench: Bench) -> None:
    document = bench.warrant.document
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign(warrant=document, claim=claim_for(document, "image/jpeg"))
    assert caught.value.code == "WARRANT-REQUIRED"


def test_no_signature_with_a_spent_warrant(bench: Bench, office: Any) -> None:
    office.desk.abort(bench.warrant.document, "test")
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign()
    assert caught.value.code == "WARRANT-SPENT"


def test_no_signature_with_a_forged_warrant(bench: Bench) -> None:
    forged = bench.warrant.document.model_copy(update={"source_sha256": "0" * 64})
    object.__setattr__(bench.warrant, "document", forged)  # as code in our own process could
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign()
    assert caught.value.code == "WARRANT-FORGED"


def test_no_signature_after_consent_was_withdrawn(bench: Bench, office: Any) -> None:
    office.withdraw(bench.warrant.document.people[0].record_id)
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign()
    assert caught.value.code == "CONSENT-CHANGED"


@pytest.mark.parametrize("which", ["target", "source"])
def test_no_signature_for_other_inputs(
    bench: Bench, which: str, demo_picture: Callable[[str], bytes]
) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign(**{which: decode(demo_picture("persona3_0"))})
    assert caught.value.code == "WARRANT-OTHER-INPUT"


@pytest.mark.parametrize(
    "change",
    [
        {"warrant_hash": "0" * 64},
        {"decision_hash": "0" * 64},
        {"policy_sha256": "0" * 64},
        {"consents": (("0" * 64, "source_identity"),)},
    ],
)
def test_no_signature_for_a_claim_that_cites_another_warrant(
    bench: Bench, change: dict[str, Any]
) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        bench.sign(claim=claim_for(bench.warrant.document, "image/jpeg", **change))
    assert caught.value.code == "WARRANT-OTHER-CLAIM"


def test_second_signature_for_a_warrant_is_refused(bench: Bench) -> None:
    bench.sign()
    with pytest.raises(AlreadySigned) as caught:
        bench.sign("image/png")
    assert caught.value.code == "ALREADY-SIGNED"


def test_signature_in_another_encoding_is_refused(bench: Bench, pki: DevelopmentChain) -> None:
    class DerSigner(FailingSigner):
        def sign(self, claim: bytes, *, warrant: ActiveWarrant) -> bytes:
            return pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256()))

    with pytest.raises(SigningFailed):  # the library alone would take it
        bench.sign(signer=DerSigner(pki.chain.pem, b""))


class FailingSigner:
    """A key service that is down, or answers nonsense."""

    alg = "ES256"

    def __init__(self, chain_pem: str, answer: bytes | Exception) -> None:
        self.chain_pem = chain_pem
        self.answer = answer

    def check(self) -> None:
        """Always ready."""

    def sign(self, claim: bytes, *, warrant: ActiveWarrant) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_error_of_the_key_service_is_the_cause(bench: Bench, pki: DevelopmentChain) -> None:
    down = ConnectionError("the key service is down")
    with pytest.raises(SigningFailed) as caught:
        bench.sign(signer=FailingSigner(pki.chain.pem, down))
    assert caught.value.code == "SIGNING-FAILED"
    assert caught.value.__cause__ is down


@pytest.mark.parametrize("answer", [b"", b"\x00" * 64, b"\x01" * 63, b"\x01" * 70])
def test_signature_that_does_not_verify_is_refused(
    bench: Bench, pki: DevelopmentChain, answer: bytes
) -> None:
    with pytest.raises(SigningFailed) as caught:
        bench.sign(signer=FailingSigner(pki.chain.pem, answer))
    assert caught.value.code == "SIGNING-FAILED"


def test_signer_of_another_key_is_refused(bench: Bench, pki: DevelopmentChain) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(CertificateRefused) as caught:
        LocalSigner(key=key, chain=pki.chain, issuer=DESK, clock=now)
    assert caught.value.code == "CERTIFICATE-REFUSED"


def test_expired_chain_is_refused_before_signing(bench: Bench) -> None:
    old = make_development_chain(organisation="Test Studio", now=now() - timedelta(days=400))
    moments = iter([now() - timedelta(days=300), now()])
    expired = LocalSigner(
        key=old.leaf_key, chain=old.chain, issuer=DESK, clock=lambda: next(moments)
    )
    with pytest.raises(ChainRefused) as caught:
        bench.sign(signer=expired)
    assert caught.value.reason == "expired"


def test_unreadable_chain_does_not_leak_a_library_error(bench: Bench) -> None:
    with pytest.raises(SigningFailed) as caught:
        bench.sign(signer=FailingSigner("no certificate", b""))
    assert "COSE" not in caught.value.message


def test_output_that_is_no_picture_is_refused(bench: Bench) -> None:
    claim = claim_for(bench.warrant.document, "image/jpeg")
    given = {
        "inputs": Inputs(bench.target, bench.source),
        "signer": bench.signer,
        "stamper": None,
    }
    with pytest.raises(SigningFailed):
        sign_manifest(b"text", claim, warrant=bench.warrant, **given)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ hostile files


def sign_foreign(
    pki: DevelopmentChain, definition: dict[str, Any], picture: Picture, *parents: str
) -> bytes:
    """Sign anything with a good certificate, as an attacker with one could."""

    def sign(claim: bytes) -> bytes:
        return pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256()))

    settings = {
        "builder": {
            "thumbnail": {"enabled": False},
            "created_assertion_labels": ["c2pa.actions", "org.facewarrant.warrant"],
        },
        "trust": {"trust_config": CLAIM_SIGNING.dotted_string},
    }
    out, es256 = io.BytesIO(), c2pa.C2paSigningAlg.ES256
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(sign, es256, pki.chain.pem, None) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        for label in parents:
            described = {"title": label, "relationship": "parentOf", "label": label}
            builder.add_ingredient(described, picture.mime, io.BytesIO(picture.data))
        builder.sign(signer, picture.mime, io.BytesIO(picture.data), out)
    return out.getvalue()


def actions(*listed: dict[str, Any]) -> dict[str, Any]:
    data = {"actions": list(listed), "allActionsIncluded": True}
    return {"assertions": [{"label": "c2pa.actions.v2", "data": data}]}


CREATED = {
    "action": "c2pa.created",
    "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
}
OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["a"]}}


@pytest.mark.parametrize(
    ("definition", "parents", "code"),
    [
        (actions(OPENED), ("a", "b"), "MANY-PARENTS"),
        (actions(CREATED), ("a",), "CREATED-WITH-PARENT"),
        (actions(CREATED, {"action": "c2pa.edited"}), (), "SOURCE-TYPE-MISSING"),
    ],
)
def test_lint_finds_what_the_library_calls_trusted(
    pki: DevelopmentChain,
    inputs: tuple[Picture, Picture],
    definition: dict[str, Any],
    parents: tuple[str, ...],
    code: str,
) -> None:
    data = sign_foreign(pki, definition, inputs[0], *parents)
    reading = read_manifest(data, "image/jpeg", anchors=pki.anchors)
    assert reading.verdict == "trusted"
    assert code in [finding.code for finding in reading.findings]


def test_hostile_warrant_assertion_is_not_believed(
    pki: DevelopmentChain, inputs: tuple[Picture, Picture]
) -> None:
    definition = actions(CREATED)
    hostile = {"version": 1, "warrant_hash": {"deep": [1, 2]}, "name": "someone"}
    definition["assertions"].append({"label": "org.facewarrant.warrant", "data": hostile})
    reading = read_manifest(
        sign_foreign(pki, definition, inputs[0]), "image/jpeg", anchors=pki.anchors
    )
    assert reading.warrant is None
    assert "WARRANT-SCHEMA" in [finding.code for finding in reading.findings]


def test_input_metadata_does_not_reach_our_manifest(
    bench: Bench, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    target = decode(with_xmp(bench.target.data, None, "Jane Doe"))
    warrant = active_warrant(bench.source.sha256, target.sha256)
    store = dataclasses.replace(bench, target=target, warrant=warrant).sign().store
    assert b"Jane Doe" not in store


def test_no_identity_of_people_or_requests_is_in_the_file(bench: Bench, office: Any) -> None:
    document = bench.warrant.document
    records = [office.book.read(person.record_id).record for person in document.people]
    secrets = [document.warrant_id, document.request_id, document.sig, document.kid]
    secrets += [text for r in records for text in (r.record_id, r.subject.pid, r.subject.key)]
    secrets += [bench.source.sha256, bench.target.sha256, "persona", "Test Controller"]
    signed = bench.sign("image/png")
    for secret in secrets:
        assert secret.encode() not in signed.data
        assert secret.encode() not in signed.store


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is text",
        b"\xff\xd8\xff",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ",
        b"\x89PNG\r\n\x1a\n",
    ],
)
@pytest.mark.parametrize("mime", MIMES)
def test_damaged_file_is_unreadable_or_without_manifest(data: bytes, mime: Mime) -> None:
    assert verdict(data, mime, NOBODY) in ("unreadable", "no_manifest")


def test_file_of_another_type_is_not_handed_to_the_library(bench: Bench) -> None:
    reading = read_manifest(bench.sign().data, "image/png", anchors=NOBODY)
    assert (reading.verdict, reading.detail) == ("unreadable", "the file is not image/png")


def test_large_manifest_of_an_input_is_refused_in_jpeg_only(
    bench: Bench, pki: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    definition = actions(CREATED)
    note = {"label": "org.example.note", "data": {"text": "x" * 70_000}}
    definition["assertions"].append(note)
    target = decode(sign_foreign(pki, definition, bench.target))

    def sign(mime: Mime) -> Signed:
        warrant = active_warrant(bench.source.sha256, target.sha256)
        return dataclasses.replace(bench, target=target, warrant=warrant).sign(mime)

    with pytest.raises(SigningFailed) as caught:
        sign("image/jpeg")
    assert "PNG or WebP" in caught.value.mend
    assert verdict(sign("image/png").data, "image/png", pki.anchors) == "trusted"


def test_output_that_breaks_our_rules_is_not_returned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (LintFinding("THUMBNAIL", "a thumbnail"),)
    monkeypatch.setattr(provenance.reading, "lint_manifest", lambda manifest: broken)
    with pytest.raises(SigningFailed) as caught:
        bench.sign()
    assert "THUMBNAIL" in caught.value.message


@pytest.mark.parametrize("error", [RecursionError("deep"), ValueError("no JSON")])
def test_report_that_cannot_be_parsed_is_unreadable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(text: str) -> None:
        raise error

    data = bench.sign().data
    monkeypatch.setattr(provenance.c2pa.json, "loads", fail)
    assert verdict(data, "image/jpeg", NOBODY) == "unreadable"


@pytest.mark.parametrize("store", [b"", b"garbage", b"\x00" * 9_000_000])
def test_unreadable_store(bench: Bench, store: bytes) -> None:
    assert verdict(bench.target.data, "image/jpeg", NOBODY, store=store) == "unreadable"


@pytest.mark.parametrize("mime", MIMES)
def test_no_flipped_bit_changes_what_a_trusted_file_says(
    bench: Bench, pki: DevelopmentChain, mime: Mime
) -> None:
    """Padding and box names of the store are outside every hash (C2PA): they may differ unseen."""
    data = bench.sign(mime).data
    good = read_manifest(data, mime, anchors=pki.anchors)
    draw = random.Random(20261121)  # noqa: S311  # positions, no secret
    for _ in range(200):
        at, bit = draw.randrange(len(data)), draw.randrange(8)
        changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        reading = read_manifest(changed, mime, anchors=pki.anchors)
        assert reading == good or reading.verdict in ("invalid", "unreadable", "no_manifest")


def test_every_cut_of_a_signed_file_is_refused(bench: Bench, pki: DevelopmentChain) -> None:
    data = bench.sign().data
    for end in range(2, len(data), 997):
        assert verdict(data[:end], "image/jpeg", pki.anchors) in (
            "invalid",
            "unreadable",
            "no_manifest",
        )


# ------------------------------------------------------------------------------ network


class _Counter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.hits += 1  # type: ignore[attr-defined]
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def loopback() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), _Counter)
    server.hits = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def with_xmp(jpeg: bytes, url: str | None, instance: str = "x") -> bytes:
    """The JPEG with an XMP packet; with a `url` it sends a reader there for the manifest."""
    remote = f'dcterms:provenance="{url}"' if url else ""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:dcterms="http://purl.org/dc/terms/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" '
        f'xmpMM:InstanceID="{instance}" {remote}/></rdf:RDF></x:xmpmeta>'
    ).encode()
    body = b"http://ns.adobe.com/xap/1.0/\x00" + packet
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def test_remote_manifest_is_never_fetched(
    bench: Bench, loopback: HTTPServer, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    url = f"http://127.0.0.1:{loopback.server_port}/manifest.c2pa"
    bait = decode(with_xmp(bench.target.data, url))
    assert verdict(bait.data, "image/jpeg", NOBODY) == "remote_manifest_not_fetched"
    baited = dataclasses.replace(
        bench, target=bait, warrant=active_warrant(bench.source.sha256, bait.sha256)
    )
    with pytest.raises(IngredientRefused):
        baited.sign()
    assert loopback.hits == 0  # type: ignore[attr-defined]
    # The bait works: with its default settings the library does call.
    with c2pa.Context.from_dict({}) as context, pytest.raises(c2pa.C2paError):
        c2pa.Reader("image/jpeg", io.BytesIO(bait.data), None, context=context)
    assert loopback.hits > 0  # type: ignore[attr-defined]


def test_nothing_a_key_service_says_is_logged(
    bench: Bench, pki: DevelopmentChain, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(SigningFailed):
            bench.sign(signer=FailingSigner(pki.chain.pem, ValueError("secret detail")))
        read_manifest(bench.sign().data, "image/jpeg", anchors=pki.anchors)
    assert "secret detail" not in caplog.text
