"""What may be said about a file: every kind of evidence, every contradiction, and no more."""

from __future__ import annotations

import base64
import dataclasses
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from detector.scan import scan
from policies.audit import AuditLog
from policies.errors import Error, StoreUnavailable
from provenance.c2pa import ManifestReading, read_manifest
from provenance.case import Case
from provenance.chains import TrustAnchors
from provenance.containers import Mime
from provenance.errors import (
    MediaError,
    NeverReleased,
    Tampered,
    Unmarked,
    Unreadable,
    Untrusted,
    VerificationError,
)
from provenance.evidence import Evidence, Report
from provenance.exhibit import PictureExhibit
from provenance.fingerprints import fingerprint
from provenance.labels import write_xmp
from provenance.media import decode, encode
from provenance.reading import IngredientFailure
from provenance.release import Released, release
from provenance.verify import Verifier
from provenance.watermark import DEFAULT_WATERMARK, Detection, issue_payload, open_watermark

MIMES: tuple[Mime, ...] = ("image/jpeg", "image/png", "image/webp")
REAL = re.compile(r"\breal(ly)?\b|\bgenuine\b", re.IGNORECASE)
UNREADABLE = Detection(None, None, "present_unreadable", 1e-9, 9.0, 1)


class Around:
    """A part with some of its methods replaced; the rest is the part's own."""

    def __init__(self, part: object, **replaced: object) -> None:
        self._part = part
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


@pytest.fixture
def walls(gallery: tuple[Any, dict[str, Released]]) -> Any:
    return gallery[0]


@pytest.fixture
def released(gallery: tuple[Any, dict[str, Released]]) -> dict[str, Released]:
    return gallery[1]


def states(evidence: tuple[Evidence, ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in evidence:
        found.setdefault(line.subject, set()).add(line.state)
        assert line.words
        assert not REAL.search(line.words)
    return found


def refused(verifier: Verifier, data: bytes, kind: type[VerificationError]) -> dict[str, set[str]]:
    """The states of the evidence with which a file is refused."""
    with pytest.raises(VerificationError) as caught:
        verifier.verify(data)
    assert type(caught.value) is kind, (caught.value.code, caught.value.message)
    assert not REAL.search(caught.value.message + caught.value.mend)
    assert caught.value.evidence
    return states(caught.value.evidence)


def jpeg(frame: Any, quality: int) -> bytes:
    return bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


# ------------------------------------------------------------------------------ what holds


@pytest.mark.parametrize("mime", MIMES)
def test_release_is_authentic(walls: Any, released: dict[str, Released], mime: Mime) -> None:
    out = released[mime]
    report = walls.verifier.verify(out.data)
    assert (report.verdict, report.origin, report.consent) == (
        "authentic",
        "facewarrant",
        "current",
    )
    assert (report.manifest_id, report.mark_id) == (out.manifest_id, out.mark_id)
    assert report.issuer == "Test Studio"
    assert states(report.evidence) == {
        "signature": {"holds"},
        "trust": {"holds"},
        "time stamp": {"holds"},
        "revocation": {"unchecked"},
        "product": {"unchecked"},
        "ingredients": {"holds"},
        "lint": {"holds"},
        "trust lists": {"absent"},
        "labels": {"holds"},
        "watermark": {"holds"},
        "fingerprint": {"holds"},
        "agreement": {"holds"},
        "consent": {"holds"},
        "log": {"holds"},
        "release": {"holds"},
    }
    assert sum(line.subject == "consent" for line in report.evidence) == 2
    assert (report.meaning, report.label_meaning) == ("consistent", "labels agree")


def shrink(frame: Any) -> bytes:
    half = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    back = cv2.resize(half, frame.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return jpeg(back, 90)


STRIPPERS: dict[str, Callable[[Any], bytes]] = {
    "JPEG 80": lambda frame: jpeg(frame, 80),
    "JPEG 70": lambda frame: jpeg(frame, 70),
    "PNG": lambda frame: encode(frame, "image/png"),
    "WebP 80": lambda frame: bytes(cv2.imencode(".webp", frame, [cv2.IMWRITE_WEBP_QUALITY, 80])[1]),
    "half size and back": shrink,
}


@pytest.mark.parametrize("mime", MIMES)
@pytest.mark.parametrize("how", STRIPPERS)
def test_stripped_release_is_recovered(
    walls: Any, released: dict[str, Released], how: str, mime: Mime
) -> None:
    out = released[mime]
    report = walls.verifier.verify(STRIPPERS[how](decode(out.data).frame))
    assert (report.verdict, report.origin, report.consent) == (
        "recovered",
        "facewarrant",
        "current",
    )
    assert (report.manifest_id, report.mark_id) == (out.manifest_id, out.mark_id)
    found = states(report.evidence)
    assert found["signature"] == found["labels"] == {"absent"}
    for subject in ("watermark", "fingerprint", "trust", "consent", "log"):
        assert found[subject] == {"holds"}


def test_half_size_is_recovered(walls: Any, released: dict[str, Released]) -> None:
    """A lasting change of scale does not hide the mark."""
    frame = decode(released["image/png"].data).frame
    half = jpeg(cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 90)
    report = walls.verifier.verify(half)
    assert report.verdict == "recovered"
    assert {line.state for line in report.evidence if line.subject == "watermark"} == {"holds"}


def test_remote_manifest_is_not_fetched_but_the_mark_is_read(
    walls: Any, released: dict[str, Released]
) -> None:
    stripped = jpeg(decode(released["image/jpeg"].data).frame, 95)
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:dcterms="http://purl.org/dc/terms/" '
        b'dcterms:provenance="http://127.0.0.1:9/m.c2pa"/></rdf:RDF></x:xmpmeta>'
    )
    body = b"http://ns.adobe.com/xap/1.0/\x00" + packet
    app1 = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    report = walls.verifier.verify(stripped[:2] + app1 + stripped[2:])
    assert report.verdict == "recovered"
    assert "nothing is fetched" in report.evidence[0].words


# ------------------------------------------------------------------------------ what is not checked


def test_anchors_alone_say_what_they_did_not_check(
    walls: Any, released: dict[str, Released]
) -> None:
    report = Verifier(walls.press.anchors).verify(released["image/webp"].data)
    assert (report.verdict, report.consent) == ("authentic", "unchecked")
    found = states(report.evidence)
    assert found["watermark"] == found["log"] == found["consent"] == {"unchecked"}


def test_mark_without_archive_leads_nowhere(walls: Any, released: dict[str, Released]) -> None:
    stripped = jpeg(decode(released["image/webp"].data).frame, 90)
    verifier = Verifier(walls.press.anchors, walls.watermark)
    assert refused(verifier, stripped, Unreadable)["watermark"] == {"holds"}


def test_stripped_file_without_watermark_key_is_recovered_by_its_looks(
    walls: Any, released: dict[str, Released]
) -> None:
    stripped = jpeg(decode(released["image/webp"].data).frame, 90)
    report = Verifier(walls.press.anchors, None, walls.archive).verify(stripped)
    assert report.verdict == "recovered"
    assert {line.state for line in report.evidence if line.subject == "watermark"} == {"unchecked"}


def test_damaged_mark_is_unreadable_not_absent(walls: Any, released: dict[str, Released]) -> None:
    watermark = Around(walls.watermark, detect=lambda _frame, **_how: UNREADABLE)
    verifier = dataclasses.replace(walls.verifier, watermark=watermark)
    stripped = jpeg(decode(released["image/webp"].data).frame, 90)
    assert refused(verifier, stripped, Unreadable)["watermark"] == {"warns"}
    # Under a manifest that holds it is a warning: the manifest is the stronger evidence.
    report = verifier.verify(released["image/webp"].data)
    assert states(report.evidence)["watermark"] == {"warns"}


def test_key_of_another_deployment_finds_no_mark(walls: Any, released: dict[str, Released]) -> None:
    other = open_watermark(DEFAULT_WATERMARK, keys=(b"o" * 32,))
    verifier = dataclasses.replace(walls.verifier, watermark=other)
    report = verifier.verify(released["image/webp"].data)
    assert report.verdict == "authentic"
    assert states(report.evidence)["watermark"] == {"warns"}


# ------------------------------------------------------------------------------ nothing there


@pytest.mark.parametrize("mime", MIMES)
def test_unmarked_picture_is_unmarked(walls: Any, mime: Mime) -> None:
    data = walls.picture("persona6_0", mime).data
    found = refused(walls.verifier, data, Unmarked)
    assert found == {
        name: {"absent"}
        for name in ("signature", "trust lists", "labels", "watermark", "agreement")
    }


@pytest.mark.parametrize(
    ("hostile", "words"),
    [
        (lambda xmp: xmp.replace(b"<x:xmpmeta", b"<!DOCTYPE a><x:xmpmeta"), "DTD"),
        (lambda xmp: xmp.replace(b"</dc:identifier>", b"2</dc:identifier>"), "identifier"),
    ],
    ids=["hostile", "disagreeing"],
)
def test_label_that_cannot_be_believed_is_a_warning(
    walls: Any, hostile: Callable[[bytes], bytes], words: str
) -> None:
    xmp = write_xmp(
        provider="Studio", system="S", version="1", created_at=datetime.now(UTC), output_id="ab"
    )
    labelled = encode(walls.draft().frame, "image/png", xmp=hostile(xmp))
    with pytest.raises(Unmarked) as caught:
        walls.verifier.verify(labelled)
    [line] = [line for line in caught.value.evidence if line.subject == "labels"]
    assert line.state == "warns"
    assert words in line.words


def test_label_alone_is_no_evidence(walls: Any) -> None:
    """Anyone can write a label; it is shown and decides nothing."""
    labelled = encode(
        walls.picture("persona6_0").frame,
        "image/png",
        xmp=write_xmp(
            provider="Test Studio",
            system="FaceWarrant",
            version="1",
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
            output_id="0" * 12,
        ),
    )
    assert refused(walls.verifier, labelled, Unmarked)["labels"] == {"holds"}


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_no_picture_is_a_media_error(walls: Any, data: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        walls.verifier.verify(data)
    assert caught.value.code.startswith("MEDIA")


# ------------------------------------------------------------------------------ trust


@pytest.mark.parametrize("mime", MIMES)
def test_untrusted_signer_is_untrusted_with_intact_evidence(
    walls: Any, released: dict[str, Released], other_pki: Any, mime: Mime
) -> None:
    for anchors in (other_pki.anchors, TrustAnchors(())):
        verifier = dataclasses.replace(walls.verifier, anchors=anchors)
        found = refused(verifier, released[mime].data, Untrusted)
        assert (found["signature"], found["trust"]) == ({"holds"}, {"fails"})
        assert found["watermark"] == {"holds"}


def test_stripped_file_of_an_untrusted_signer_is_not_recovered(
    walls: Any, released: dict[str, Released], other_pki: Any
) -> None:
    verifier = dataclasses.replace(walls.verifier, anchors=other_pki.anchors)
    stripped = jpeg(decode(released["image/png"].data).frame, 90)
    assert refused(verifier, stripped, Tampered)["trust"] == {"fails"}


def test_any_of_several_anchors_will_do(
    walls: Any, released: dict[str, Released], other_pki: Any
) -> None:
    both = (*other_pki.anchors.certificates, *walls.press.anchors.certificates)
    verifier = dataclasses.replace(walls.verifier, anchors=TrustAnchors(both))
    assert verifier.verify(released["image/png"].data).verdict == "authentic"


# ------------------------------------------------------------------------------ tampering


@pytest.mark.parametrize("mime", MIMES)
def test_no_flipped_bit_makes_another_picture_authentic(
    walls: Any, released: dict[str, Released], mime: Mime
) -> None:
    """Padding of the store is outside every hash and may differ unseen; no pixel ever is."""
    data = released[mime].data
    pixels = decode(data).frame
    draw = random.Random(20261121)  # noqa: S311  # positions, no secret
    kinds: set[str] = set()
    for _ in range(60):
        at, bit = draw.randrange(len(data)), draw.randrange(8)
        changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        try:
            report = walls.verifier.verify(changed)
        except Error as error:
            kinds.add(error.code)
            continue
        kinds.add(report.verdict)
        assert report.mark_id == released[mime].mark_id
        if report.verdict == "authentic":
            assert np.array_equal(decode(changed).frame, pixels)
    assert kinds & {"TAMPERED", "MEDIA-UNDECODABLE"}
    assert kinds <= {
        "TAMPERED",
        "UNREADABLE",
        "MEDIA-UNDECODABLE",
        "MEDIA-TRUNCATED",
        "MEDIA-UNSUPPORTED",
        "MEDIA-TOO-LARGE",
        "LABEL-REFUSED",
        "recovered",
        "authentic",
    }


@pytest.mark.parametrize("mime", MIMES)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_changed_pixel_data_is_tampered_or_no_picture(
    walls: Any, released: dict[str, Released], place: float, mime: Mime
) -> None:
    data = bytearray(released[mime].data)
    # In JPEG the scan comes last; in WebP and PNG the picture's chunk is the largest one.
    start = {"image/jpeg": b"\xff\xda", "image/png": b"IDAT", "image/webp": b"VP8 "}[mime]
    first = data.rindex(start) if mime == "image/jpeg" else data.index(start)
    size = {
        "image/jpeg": len(data) - first,
        "image/png": int.from_bytes(data[first - 4 : first], "big"),
        "image/webp": int.from_bytes(data[first + 4 : first + 8], "little"),
    }[mime]
    data[first + 16 + int((size - 32) * place)] ^= 0x10
    with pytest.raises((Tampered, MediaError)) as caught:
        walls.verifier.verify(bytes(data))
    if isinstance(caught.value, Tampered):
        assert states(caught.value.evidence)["signature"] == {"fails"}


def test_bytes_after_the_end_are_tampering(walls: Any, released: dict[str, Released]) -> None:
    found = refused(walls.verifier, released["image/jpeg"].data + b"more", Tampered)
    assert found["signature"] == {"fails"}
    assert found["trust"] == {"holds"}


def test_every_cut_is_refused(walls: Any, released: dict[str, Released]) -> None:
    data = released["image/png"].data
    for end in range(0, len(data) - 1, len(data) // 20):
        with pytest.raises(Error):
            walls.verifier.verify(data[:end])


def jpeg_manifest(data: bytes) -> bytes:
    """The APP11 segments of a JPEG, where a manifest lives."""
    at, found = 2, b""
    while data[at + 1] != 0xDA:
        size = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xEB:
            found += data[at : at + size]
        at += size
    return found


def test_manifest_of_another_picture_is_tampering(
    walls: Any, released: dict[str, Released]
) -> None:
    manifest = jpeg_manifest(released["image/jpeg"].data)
    assert manifest
    plain = walls.picture("persona6_0", "image/jpeg").data
    found = refused(walls.verifier, plain[:2] + manifest + plain[2:], Tampered)
    assert found["signature"] == {"fails"}


def test_manifest_of_one_release_on_the_pixels_of_another(
    walls: Any, released: dict[str, Released]
) -> None:
    manifest = jpeg_manifest(released["image/jpeg"].data)
    other = jpeg(decode(released["image/png"].data).frame, 95)
    found = refused(walls.verifier, other[:2] + manifest + other[2:], Tampered)
    assert found["signature"] == {"fails"}
    assert found["watermark"] == {"fails"}


def test_manifest_that_cannot_be_parsed_is_unreadable(
    walls: Any, released: dict[str, Released]
) -> None:
    data = released["image/jpeg"].data
    manifest = jpeg_manifest(data)
    # Header of the segment and of the outer box stay; what is in the box does not.
    garbage = manifest[:60] + bytes(len(manifest) - 60)
    found = refused(walls.verifier, data.replace(manifest, garbage), Unreadable)
    assert found["watermark"] == {"holds"}


def transplant(walls: Any, released: Released, donor: str, receiver: str) -> Any:
    """The receiver's pixels plus everything that the release added to the donor's."""
    marked = decode(released.data).frame.astype(int)
    residual = marked - walls.picture(donor, released.mime).frame
    return np.clip(walls.picture(receiver).frame + residual, 0, 255).astype(np.uint8)


def test_copied_mark_is_tampering(walls: Any, released: dict[str, Released]) -> None:
    forged = transplant(walls, released["image/png"], "persona3_0", "persona7_0")
    found = walls.watermark.detect(forged)
    assert found.mark_id == released["image/png"].mark_id  # the copy reads as well as the mark
    evidence = refused(walls.verifier, encode(forged, "image/png"), Tampered)
    assert evidence["fingerprint"] == {"fails"}
    assert evidence["trust"] == {"holds"}


def test_mark_that_was_never_released_is_tampering(walls: Any) -> None:
    draft = walls.draft("persona5_0")
    payload = issue_payload(draft.warrant, rng=lambda n: b"\xee" * n)
    marked = encode(walls.watermark.embed(draft.frame, payload), "image/png")
    walls.office.desk.abort(draft.warrant.document, "test")
    assert refused(walls.verifier, marked, Tampered)["watermark"] == {"holds"}


def test_manifest_and_mark_that_name_different_ids_are_tampering(studio: Any) -> None:
    """Only our own signer could make it: a picture re-marked between marking and signing."""
    other = issue_payload(studio.draft("persona3_0").warrant, rng=lambda n: b"\xaa" * n)
    expected: list[str] = []

    def embed(frame: Any, payload: Any) -> Any:
        expected.append(payload.mark_id)
        return studio.watermark.embed(frame, other)

    def detect(frame: Any, **how: Any) -> Any:
        found = studio.watermark.detect(frame, **how)
        return found and dataclasses.replace(found, mark_id=expected[0])

    watermark = Around(studio.watermark, embed=embed, detect=detect)
    press = dataclasses.replace(studio.press, watermark=watermark)
    out = release(studio.draft(), press=press)
    found = refused(studio.verifier, out.data, Tampered)
    assert found["signature"] == found["trust"] == {"holds"}
    assert found["watermark"] == {"fails"}


# ------------------------------------------------------------------------------ other makers


def test_manifest_of_another_trusted_maker(walls: Any, other_pki: Any, sign_elsewhere: Any) -> None:
    data = sign_elsewhere(other_pki, walls.picture("persona6_0", "image/jpeg").data)
    both = TrustAnchors((*other_pki.anchors.certificates, *walls.press.anchors.certificates))
    verifier = dataclasses.replace(walls.verifier, anchors=both)
    report = verifier.verify(data)
    assert (report.verdict, report.origin, report.consent, report.mark_id) == (
        "authentic",
        "other",
        "unchecked",
        "",
    )
    assert report.issuer == "Someone Else"
    found = states(report.evidence)
    assert found["log"] == found["consent"] == {"unchecked"}
    assert found["watermark"] == {"absent"}
    assert refused(walls.verifier, data, Untrusted)["trust"] == {"fails"}


def brighten(data: bytes) -> bytes:
    frame = decode(data).frame
    return encode(np.clip(frame.astype(int) + 6, 0, 255).astype(np.uint8), "image/jpeg")


def soft_binding(alg: str, value: bytes) -> dict[str, object]:
    block = {"scope": {}, "value": base64.b64encode(value).decode()}
    return {"label": "c2pa.soft-binding", "data": {"alg": alg, "blocks": [block]}}


@pytest.mark.parametrize("own_mark", [False, True], ids=["no mark", "a mark of theirs"])
def test_release_signed_anew_by_a_stranger_stays_ours(
    walls: Any,
    released: dict[str, Released],
    other_pki: Any,
    sign_elsewhere: Any,
    own_mark: bool,
) -> None:
    original = released["image/jpeg"].data
    marks = [soft_binding("com.example.mark.1", b"12345678")] if own_mark else []
    data = sign_elsewhere(other_pki, brighten(original), parent=original, assertions=marks)
    both = TrustAnchors((*other_pki.anchors.certificates, *walls.press.anchors.certificates))
    for anchors in (both, walls.press.anchors):  # whether the stranger is trusted or not
        verifier = dataclasses.replace(walls.verifier, anchors=anchors)
        report = verifier.verify(data)
        assert (report.verdict, report.origin) == ("recovered", "facewarrant")
        found = states(report.evidence)
        marks = {"warns", "unchecked"} if own_mark else {"warns"}
        assert (found["watermark"], found["likeness"]) == (marks, {"holds"})
        *foreign, line = [line for line in report.evidence if line.subject == "watermark"]
        assert released["image/jpeg"].mark_id in line.words
        # Their mark is told by name; reading it is for its maker.
        assert ["by com.example.mark.1, which" in one.words for one in foreign] == [True] * own_mark
        assert scan(data, verifier=verifier).outcome == "declared_synthetic"
    # Who cannot look the release up still sees that a mark of ours is there.
    alone = dataclasses.replace(walls.verifier, anchors=both, archive=None)
    assert scan(data, verifier=alone).outcome == "provenance_conflict"
    stranger = dataclasses.replace(walls.verifier, anchors=TrustAnchors(()), archive=None)
    assert scan(data, verifier=stranger).outcome == "provenance_conflict"


def paste_face(frame: Any, other: Any) -> Any:
    """The middle of another portrait over this one, in this one's colours."""
    changed, h, w = frame.copy(), *frame.shape[:2]
    part = (slice(h // 3, h * 2 // 3), slice(w // 3, w * 2 // 3))
    there, here = other[part].astype(float), frame[part].astype(float)
    there = (there - there.mean((0, 1))) / there.std((0, 1)) * here.std((0, 1))
    changed[part] = np.clip(there + here.mean((0, 1)), 0, 255).astype(np.uint8)
    return changed


def write_across(frame: Any, _other: Any) -> Any:
    changed = frame.copy()
    where = (frame.shape[1] // 3, frame.shape[0] // 2)
    return cv2.putText(changed, "I DID IT", where, cv2.FONT_HERSHEY_SIMPLEX, 1, (255,) * 3, 2)


@pytest.mark.parametrize("edit", [paste_face, write_across])
def test_edited_part_of_a_stripped_release_is_not_recovered(
    walls: Any, released: dict[str, Released], edit: Callable[[Any, Any], Any]
) -> None:
    """A hash of the whole picture calls these alike; the comparison by blocks does not."""
    frame = decode(released["image/jpeg"].data).frame
    other = walls.picture("persona3_0").frame
    found = refused(walls.verifier, jpeg(edit(frame, other), 85), Tampered)
    assert (found["fingerprint"], found["likeness"]) == ({"holds"}, {"fails"})


def test_register_row_that_the_log_does_not_know_is_no_release(studio: Any) -> None:
    draft, other = studio.draft(), studio.release("persona3_0")
    orphans: list[bytes] = []

    class Keeping:
        def put(self, data: bytes) -> str:
            orphans.append(data)
            return studio.store.put(data)

        drop = studio.store.drop

    class Gone:
        def add(self, *_args: Any, **_options: Any) -> None:
            raise StoreUnavailable("the database is gone")

    press = dataclasses.replace(studio.press, store=Keeping(), registry=Gone())
    with pytest.raises(Error):
        release(draft, press=press)
    mime = decode(orphans[-1]).mime
    forged = read_manifest(orphans[-1], mime, anchors=studio.pki.anchors).manifest_id
    run_sql(studio, "update release set manifest_id = ?", forged)
    assert refused(studio.verifier, orphans[-1], NeverReleased)["release"] == {"fails"}
    # The other one's row is lost by that, its log entry is not.
    assert states(studio.verifier.verify(other.data).evidence)["release"] == {"warns"}


def test_unknown_maker_of_an_input_does_not_make_ours_untrusted(
    studio: Any, other_pki: Any, sign_elsewhere: Any
) -> None:
    """Cameras sign with roots that few verifiers were given; the chain still ends in us."""
    for mime in MIMES:
        target = decode(sign_elsewhere(other_pki, studio.picture("persona3_0", mime).data))
        draft = studio.draft(target=target, frame=target.frame)
        report = studio.verifier.verify(release(draft, press=studio.press).data)
        assert (report.verdict, report.issuer) == ("authentic", "Test Studio")


@pytest.fixture
def abroad(studio: Any, other_pki: Any, tmp_path: Path) -> Any:
    """Another deployment: other keys, other log, other register."""
    office = type(studio.office)()
    office.log = AuditLog(
        office.database, origin="log.abroad/facewarrant", key=office.log_key, clock=office.clock
    )
    office.book = dataclasses.replace(office.book, log=office.log)
    office.desk = dataclasses.replace(office.desk, log=office.log, consents=office.book)
    made = type(studio)(other_pki, tmp_path / "abroad", office)
    made.watermark = open_watermark(DEFAULT_WATERMARK, keys=(b"a" * 32,))
    made.press = dataclasses.replace(
        made.press, watermark=made.watermark, rng=lambda n: b"\xab" * n
    )
    return made


def both_trusted(studio: Any, abroad: Any) -> Verifier:
    anchors = (*studio.pki.anchors.certificates, *abroad.pki.anchors.certificates)
    return dataclasses.replace(studio.verifier, anchors=TrustAnchors(anchors))


def test_release_of_another_deployment_is_not_judged_by_our_log(studio: Any, abroad: Any) -> None:
    studio.release()
    out = abroad.release()
    report = both_trusted(studio, abroad).verify(out.data)
    assert (report.verdict, report.origin, report.consent) == (
        "authentic",
        "facewarrant",
        "unchecked",
    )
    found = states(report.evidence)
    assert found["log"] == found["consent"] == {"unchecked"}


def test_swap_abroad_onto_our_release_is_a_warning(studio: Any, abroad: Any) -> None:
    ours = studio.release("persona3_0", "image/png")
    target = decode(ours.data)
    out = release(abroad.draft(target=target, frame=target.frame), press=abroad.press)
    report = both_trusted(studio, abroad).verify(out.data)
    assert report.verdict == "authentic"
    found = states(report.evidence)
    assert found["watermark"] == {"warns"}


@pytest.mark.parametrize("spoilt", [False, True], ids=["intact", "ingredient fails"])
def test_expired_signer_without_a_time_stamp_is_untrusted_not_tampered(
    studio: Any, spoilt: bool
) -> None:
    """Nobody changed the file; only when it was signed is open."""
    bad = (IngredientFailure("urn:c2pa:1", "parentOf", ("bad",)),) if spoilt else ()
    reading = ManifestReading(
        "invalid",
        failures=("signingCredential.expired", "signingCredential.untrusted"),
        manifest_id="urn:c2pa:1",
        ingredient_failures=bad,
    )
    picture = studio.picture("persona6_0", "image/png")
    case = Case(PictureExhibit(picture, None), reading, studio.verifier)
    with pytest.raises(Tampered if spoilt else Untrusted) as caught:
        case.conclude()
    found = states(caught.value.evidence)
    assert (found["signature"], found["trust"]) == ({"holds"}, {"fails"})
    assert ("time-stamping authority" in caught.value.mend) is not spoilt


# ------------------------------------------------------------------------------ layers together


def warrant_assertion(studio: Any) -> dict[str, object]:
    place = {"origin": studio.office.log.origin, "index": 0, "size": 1}
    data = {
        "version": 1,
        **{name: "0" * 64 for name in ("warrant_hash", "decision_hash", "policy_sha256")},
        "models": [],
        "log": place,
    }
    return {"label": "org.facewarrant.warrant", "data": data}


@pytest.fixture
def marked(studio: Any) -> tuple[bytes, str]:
    """Pixels of a release without any manifest, and the id in them."""
    out = studio.release("persona3_0", "image/png")
    return encode(decode(out.data).frame, "image/png"), out.mark_id


def meanings(verifier: Verifier, data: bytes) -> tuple[str, str]:
    examined = verifier.examine(data)
    agreement = [line for line in examined.evidence if line.subject == "agreement"]
    assert len(agreement) == 2
    return examined.meaning, examined.label_meaning


def test_mark_alone_is_recoverable_or_cannot_be_placed(
    studio: Any, marked: tuple[bytes, str]
) -> None:
    data, _ = marked
    assert meanings(studio.verifier, data) == ("recoverable", "labels missing")
    alone = dataclasses.replace(studio.verifier, archive=None)
    assert meanings(alone, data) == ("mark unplaced", "labels missing")
    blind = dataclasses.replace(studio.verifier, watermark=None)
    assert meanings(blind, data) == ("unchecked", "no labels")


def test_manifest_that_only_names_the_id_is_consistent_and_odd(
    studio: Any, other_pki: Any, sign_elsewhere: Any, marked: tuple[bytes, str]
) -> None:
    data, mark_id = marked
    named = soft_binding("org.facewarrant.spread.2", bytes.fromhex(mark_id))
    signed = sign_elsewhere(other_pki, data, assertions=[named])
    alone = dataclasses.replace(studio.verifier, archive=None)
    assert meanings(alone, signed) == ("consistent, odd", "labels missing")
    other = soft_binding("org.facewarrant.spread.2", b"another id")
    assert meanings(alone, sign_elsewhere(other_pki, data, assertions=[other]))[0] == "clash"


def test_manifest_of_ours_that_names_no_mark(
    studio: Any, sign_elsewhere: Any, marked: tuple[bytes, str]
) -> None:
    ours = [warrant_assertion(studio)]
    signed = sign_elsewhere(studio.pki, marked[0], assertions=ours)
    assert meanings(studio.verifier, signed)[0] == "clash"
    alone = dataclasses.replace(studio.verifier, archive=None)
    with pytest.raises(Tampered, match="names no mark, and the pixels carry one"):
        alone.verify(signed)
    plain = studio.picture("persona6_0", "image/png").data
    found = meanings(studio.verifier, sign_elsewhere(studio.pki, plain, assertions=ours))
    assert found[0] == "manifest only"


def test_unknown_mark_without_a_manifest_names_no_release(studio: Any) -> None:
    payload = issue_payload(studio.draft("persona5_0").warrant, rng=lambda n: b"\xee" * n)
    frame = studio.watermark.embed(studio.picture("persona5_0").frame, payload)
    data = encode(frame, "image/png")
    assert meanings(studio.verifier, data) == ("unknown release", "no labels")


def test_changed_release_still_carries_its_own_mark(
    walls: Any, released: dict[str, Released]
) -> None:
    changed = released["image/jpeg"].data + b"more"
    assert meanings(walls.verifier, changed) == ("changed after release", "labels agree")


def camera_label(data: bytes) -> bytes:
    """The picture with a label that says it came out of a camera."""
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{kind}"/></rdf:RDF></x:xmpmeta>'
    )
    return encode(decode(data).frame, "image/png", xmp=xmp.encode())


def test_label_that_denies_ai_on_a_stripped_release_is_named_false(
    studio: Any, marked: tuple[bytes, str]
) -> None:
    report = studio.verifier.verify(camera_label(marked[0]))
    assert (report.verdict, report.label_meaning) == ("recovered", "labels deny AI")
    lines = [line for line in report.evidence if line.subject == "agreement"]
    assert [line.state for line in lines] == ["holds", "fails"]


def test_labels_under_the_manifest_of_another_maker(
    walls: Any, other_pki: Any, sign_elsewhere: Any
) -> None:
    plain = walls.picture("persona6_0", "image/png").data
    both = TrustAnchors((*other_pki.anchors.certificates, *walls.press.anchors.certificates))
    verifier = dataclasses.replace(walls.verifier, anchors=both)
    signed = sign_elsewhere(other_pki, camera_label(plain))
    assert meanings(verifier, signed) == ("manifest only", "labels agree")
    xmp = write_xmp(
        provider="P", system="S", version="1", created_at=datetime.now(UTC), output_id="ab"
    )
    labelled = encode(decode(plain).frame, "image/png", xmp=xmp)
    assert meanings(verifier, sign_elsewhere(other_pki, labelled))[1] == "labels claim AI"


def test_our_manifest_over_a_label_that_denies_ai_is_tampering(studio: Any) -> None:
    """Only our own signer could make it: a label that was changed between labelling and signing."""
    reading = ManifestReading(
        "trusted",
        manifest_id="urn:c2pa:1",
        claim_generator="FaceWarrant",
        source_types=("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",),
    )
    picture = decode(camera_label(studio.picture("persona6_0", "image/png").data))
    case = Case(PictureExhibit(picture, None), reading, studio.verifier)
    with pytest.raises(Tampered, match="a label says that no AI took part"):
        case.conclude()


# ------------------------------------------------------------------------------ consent, log, rows


def run_sql(studio: Any, sql: str, *values: object) -> None:
    """Change rows behind our back, as somebody with write access to the database could."""
    with studio.office.database.transaction() as connection:
        names = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'")
        for name in list(names.scalars()):
            connection.exec_driver_sql(f"drop trigger {name}")
        assert connection.exec_driver_sql(sql, values).rowcount > 0


@pytest.mark.parametrize("person", [0, 1])
@pytest.mark.parametrize("stripped", [False, True], ids=["whole", "stripped"])
def test_withdrawn_consent_is_said_and_the_file_stays_authentic(
    studio: Any, person: int, stripped: bool
) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    studio.office.withdraw(draft.warrant.document.people[person].record_id)
    data = jpeg(decode(out.data).frame, 85) if stripped else out.data
    report: Report = studio.verifier.verify(data)
    assert report.verdict == ("recovered" if stripped else "authentic")
    assert report.consent == "withdrawn"
    lines = [line for line in report.evidence if line.subject == "consent"]
    assert [line.state for line in lines] == (
        ["warns", "holds"] if person == 0 else ["holds", "warns"]
    )
    assert "no longer consented" in lines[person].words


def test_edited_decision_in_the_log_is_tampering(studio: Any) -> None:
    out = studio.release()
    run_sql(
        studio,
        "update log_entry set data = cast(replace(cast(data as text), '\"purpose', 'x') as blob), "
        "at = at where instr(cast(data as text), '\"allow\":true') and 1",
    )
    assert studio.verifier.verify(out.data).verdict == "authentic"  # nothing was replaced
    run_sql(
        studio,
        "update log_entry set data = "
        "cast(replace(cast(data as text), '\"allow\":true', '\"allow\":false') as blob) "
        "where instr(cast(data as text), '\"allow\":true')",
    )
    assert refused(studio.verifier, out.data, Tampered)["log"] == {"fails"}


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"allow":true}'])
def test_overwritten_log_entry_is_tampering(studio: Any, data: bytes) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    run_sql(
        studio,
        "update log_entry set data = ? where i = ?",
        data,
        draft.warrant.document.decision_index,
    )
    assert refused(studio.verifier, out.data, Tampered)["log"] == {"fails"}


def test_deleted_log_entry_is_tampering(studio: Any) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    run_sql(studio, "delete from log_entry where i = ?", draft.warrant.document.decision_index)
    assert refused(studio.verifier, out.data, Tampered)["log"] == {"fails"}


def test_log_that_cannot_be_read_is_no_tampering(studio: Any) -> None:
    out = studio.release()

    class Gone(AuditLog):
        def prove(self, index: int) -> Any:
            raise StoreUnavailable("the log is gone")

    log = Gone(
        studio.office.database,
        origin=studio.office.log.origin,
        key=studio.office.log_key,
        clock=studio.office.clock,
    )
    archive = dataclasses.replace(studio.archive, log=log)
    with pytest.raises(StoreUnavailable):
        dataclasses.replace(studio.verifier, archive=archive).verify(out.data)


@pytest.mark.parametrize(
    "sql",
    [
        "update consent set document = cast(replace(cast(document as text), "
        "'\"film_vfx\"', '\"political\"') as blob) where record_id = ?",
        "update consent set document = x'00' where record_id = ?",
        "update consent_event set document = x'00' where record_id = ?",
        "delete from consent_event where seq = 1 and record_id = ?",
        "delete from consent where record_id = ?",
    ],
    ids=["widened", "garbage", "event garbage", "event cut off", "record gone"],
)
def test_edited_consent_is_no_consent(studio: Any, sql: str) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    with studio.office.database.transaction() as connection:
        connection.exec_driver_sql("pragma defer_foreign_keys = on")
    if sql.startswith("delete from consent where"):
        record_id = draft.warrant.document.people[0].record_id
        for table in ("template", "consent_event"):
            run_sql(studio, f"delete from {table} where record_id = ?", record_id)  # noqa: S608
    run_sql(studio, sql, draft.warrant.document.people[0].record_id)
    report = studio.verifier.verify(out.data)
    assert (report.verdict, report.consent) == ("authentic", "broken")
    assert [line.state for line in report.evidence if line.subject == "consent"] == [
        "fails",
        "holds",
    ]


def test_withdrawal_cut_off_the_chain_does_not_become_current(studio: Any) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    record_id = draft.warrant.document.people[0].record_id
    studio.office.withdraw(record_id)
    run_sql(studio, "delete from consent_event where seq = 2 and record_id = ?", record_id)
    assert studio.verifier.verify(out.data).consent == "broken"


@pytest.mark.parametrize("column", ["fingerprint", "output_sha256", "manifest_sha256"])
def test_edited_registry_row_vouches_for_nothing(studio: Any, column: str) -> None:
    """The registry is not signed: it may lead to the kept output, no more."""
    first, second = (studio.release(name, "image/png") for name in ("persona3_0", "persona4_0"))
    forged = transplant(studio, first, "persona3_0", "persona7_0")
    value = {
        "fingerprint": fingerprint(forged).bits,
        "output_sha256": second.sha256,
        "manifest_sha256": studio.registry.by_mark(second.mark_id).manifest_sha256,
    }[column]
    edit = f"update release set {column} = ? where mark_id = ?"  # noqa: S608
    run_sql(studio, edit, value, first.mark_id)
    with pytest.raises(Tampered):
        studio.verifier.verify(encode(forged, "image/png"))


def test_mark_led_to_another_release_is_tampering(studio: Any) -> None:
    """A copied mark and an edited row together: the kept manifest names another mark."""
    first, second = (studio.release(name, "image/png") for name in ("persona3_0", "persona4_0"))
    run_sql(studio, "update release set mark_id = 'x' where mark_id = ?", first.mark_id)
    run_sql(
        studio,
        "update release set mark_id = ? where mark_id = ?",
        first.mark_id,
        second.mark_id,
    )
    # Looks like the second release and carries the mark of the first.
    forged = transplant(studio, first, "persona3_0", "persona4_0")
    assert studio.watermark.detect(forged).mark_id == first.mark_id
    found = refused(studio.verifier, encode(forged, "image/png"), Tampered)
    assert found["trust"] == {"holds"}
    assert "fingerprint" not in found


@pytest.mark.parametrize("which", ["output_sha256", "manifest_sha256"])
def test_lost_object_is_said_not_guessed(studio: Any, which: str) -> None:
    out = studio.release()
    row = studio.registry.by_mark(out.mark_id)
    studio.store.drop(getattr(row, which))
    with pytest.raises(StoreUnavailable):
        studio.verifier.verify(jpeg(decode(out.data).frame, 90))
    # The whole file does not need the store.
    assert studio.verifier.verify(out.data).verdict == "authentic"


def test_signed_but_never_released_is_not_authentic(studio: Any) -> None:
    """What a process killed between signing and releasing leaves in the store."""
    draft = studio.draft()
    orphans: list[bytes] = []

    class Keeping:
        def put(self, data: bytes) -> str:
            orphans.append(data)
            return studio.store.put(data)

        drop = studio.store.drop

    def broken(*_args: Any, **_options: Any) -> None:
        raise StoreUnavailable("the database is gone")

    press = dataclasses.replace(studio.press, store=Keeping(), registry=SimpleNamespace(add=broken))
    with pytest.raises(Error):
        release(draft, press=press)
    signed = orphans[-1]
    assert refused(studio.verifier, signed, NeverReleased)["release"] == {"fails"}
    assert scan(signed, verifier=studio.verifier).outcome == "provenance_conflict"


def test_registry_that_was_emptied_is_tampering(studio: Any) -> None:
    out = studio.release()
    run_sql(studio, "delete from release where mark_id = ?", out.mark_id)
    stripped = jpeg(decode(out.data).frame, 90)
    assert refused(studio.verifier, stripped, Tampered)["watermark"] == {"holds"}
    report = studio.verifier.verify(out.data)
    assert (report.verdict, states(report.evidence)["release"]) == ("authentic", {"warns"})
