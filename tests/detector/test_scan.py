"""The scan: the decision table row by row, no exception for any bytes, and no invented score."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.scan import ACTIONS, NO_MODEL, Outcome, Verdict, scan
from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from provenance.chains import TrustAnchors
from provenance.media import decode, encode
from provenance.release import Released, release
from provenance.verify import Verifier
from provenance.watermark import Detection

REAL = re.compile(r"\breal(ly)?\b|\bgenuine\b|\bnot (a )?fake\b", re.IGNORECASE)
UNREADABLE = Detection(None, None, "present_unreadable", 1e-9, 9.0, 1)


@dataclasses.dataclass
class Uploads:
    """Files that people upload, by what they are, and who looks at them.

    `out` is a release of persona3 as PNG.
    """

    walls: Any
    out: Released
    jpeg: Released
    others: Any
    sign_elsewhere: Any

    @property
    def verifier(self) -> Verifier:
        """Trusts our root and one other maker's."""
        anchors = (
            *self.walls.press.anchors.certificates,
            *self.others.anchors.certificates,
        )
        verifier: Verifier = dataclasses.replace(self.walls.verifier, anchors=TrustAnchors(anchors))
        return verifier

    def frame(self) -> Any:
        return decode(self.out.data).frame

    def stripped(self) -> bytes:
        return encode(self.frame(), "image/jpeg")

    def copied(self) -> bytes:
        residual = self.frame().astype(int) - self.walls.picture("persona3_0").frame
        receiver = self.walls.picture("persona7_0").frame
        return encode(np.clip(receiver + residual, 0, 255).astype(np.uint8), "image/png")

    def tampered(self) -> bytes:
        return self.jpeg.data + b"appended"

    def plain(self) -> bytes:
        return bytes(self.walls.picture("persona6_0", "image/jpeg").data)

    def foreign(self) -> bytes:
        return bytes(self.sign_elsewhere(self.others, self.plain()))


@pytest.fixture
def uploads(gallery: Any, other_pki: Any, sign_elsewhere: Any) -> Uploads:
    walls, released = gallery
    return Uploads(walls, released["image/png"], released["image/jpeg"], other_pki, sign_elsewhere)


def check_form(verdict: Verdict, data: bytes) -> None:
    """What holds for every answer."""
    assert verdict.sha256 == sha256_hex(data)
    assert verdict.action == ACTIONS[verdict.outcome]
    assert verdict.score == NO_MODEL
    assert verdict.score.status == "not_available"
    assert verdict.reason
    said = json.dumps(verdict.as_json())
    assert not REAL.search(said)
    # No number is made up in place of a score.
    assert set(json.loads(said)["score"]) == {"status", "reason"}


ROWS: dict[str, tuple[str, Outcome, str]] = {
    "our release": ("released", "declared_synthetic", "known from its manifest"),
    "our release, stripped": ("stripped", "declared_synthetic", "known from its watermark"),
    "another maker's manifest": ("foreign", "declared_provenance", "Someone Else"),
    "bytes changed after signing": ("tampered", "provenance_conflict", "TAMPERED"),
    "a mark copied from elsewhere": ("copied", "provenance_conflict", "TAMPERED"),
    "nothing": ("plain", "no_evidence_found", "UNMARKED"),
    "no picture": ("text", "not_applicable", "MEDIA-UNSUPPORTED"),
    "empty": ("empty", "not_applicable", "MEDIA-EMPTY"),
}


@pytest.mark.parametrize("row", ROWS)
def test_decision_table(uploads: Uploads, row: str) -> None:
    kind, outcome, words = ROWS[row]
    fixed = {"released": uploads.out.data, "text": b"a letter, not a picture", "empty": b""}
    data = fixed[kind] if kind in fixed else getattr(uploads, kind)()
    verdict = scan(data, verifier=uploads.verifier)
    check_form(verdict, data)
    assert verdict.outcome == outcome, verdict
    assert words in verdict.reason
    assert bool(verdict.evidence) == (outcome != "not_applicable")


def test_untrusted_signer_is_no_evidence(uploads: Uploads) -> None:
    data = uploads.foreign()
    verdict = scan(data, verifier=uploads.walls.verifier)
    check_form(verdict, data)
    assert verdict.outcome == "no_evidence_found"
    assert "UNTRUSTED" in verdict.reason
    assert "says nothing about authenticity" in verdict.reason


def test_damaged_mark_goes_to_a_person(uploads: Uploads) -> None:
    class Damaged:
        alg = "org.facewarrant.test.1"

        def detect(self, _image: Any) -> Detection:
            return UNREADABLE

        embed = None

    verifier = dataclasses.replace(uploads.verifier, watermark=Damaged())
    data = uploads.plain()
    verdict = scan(data, verifier=verifier)
    check_form(verdict, data)
    assert verdict.outcome == "provenance_conflict"
    assert verdict.action == "human review"
    assert "UNREADABLE" in verdict.reason


def test_stripped_file_without_key_or_archive_is_never_cleared(uploads: Uploads) -> None:
    data = uploads.stripped()
    verdict = scan(data, verifier=Verifier(uploads.walls.press.anchors))
    check_form(verdict, data)
    assert verdict.outcome == "no_evidence_found"
    assert verdict.action == "none from this scan"


@pytest.mark.parametrize("state", ["current", "withdrawn", "unchecked"])
def test_consent_is_told_apart_from_authenticity(studio: Any, state: str) -> None:
    draft = studio.draft()
    data = release(draft, press=studio.press).data
    verifier = studio.verifier
    if state == "withdrawn":
        studio.office.withdraw(draft.warrant.document.people[0].record_id)
    if state == "unchecked":
        verifier = dataclasses.replace(verifier, archive=None)
    verdict = scan(data, verifier=verifier)
    check_form(verdict, data)
    assert verdict.outcome == "declared_synthetic"
    said = {"current": "", "withdrawn": "withdrawn", "unchecked": "could not be checked"}[state]
    assert said in verdict.reason
    assert ("onsent" in verdict.reason) == bool(said)


def test_every_outcome_has_one_action() -> None:
    assert set(ACTIONS) == set(get_args(Outcome))
    assert len(set(ACTIONS.values())) == len(ACTIONS)
    assert not any(REAL.search(word) for pair in ACTIONS.items() for word in pair)


def test_same_bytes_same_verdict(uploads: Uploads) -> None:
    first, second = (scan(uploads.out.data, verifier=uploads.verifier) for _ in range(2))
    assert first == second


def test_registry_that_cannot_be_read_raises(studio: Any) -> None:
    out = studio.release()
    stripped = bytes(cv2.imencode(".jpg", decode(out.data).frame)[1])
    with studio.office.database.transaction() as connection:
        connection.exec_driver_sql("drop table release")
    with pytest.raises(StoreUnavailable):
        scan(stripped, verifier=studio.verifier)


MAGIC = (b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\x00\x00\x00WEBP", b"GIF89a")


@settings(derandomize=True, max_examples=150, deadline=None)
@given(head=st.sampled_from(MAGIC), tail=st.binary(max_size=300))
def test_garbage_never_raises(gallery: Any, head: bytes, tail: bytes) -> None:
    verdict = scan(head + tail, verifier=gallery[0].verifier)
    assert verdict.outcome == "not_applicable"
    check_form(verdict, head + tail)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    mime=st.sampled_from(["image/jpeg", "image/png", "image/webp"]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_truncated_release_never_raises_and_is_never_declared(
    gallery: Any, mime: str, share: float
) -> None:
    walls, released = gallery
    whole = released[mime].data
    data = whole[: int(len(whole) * share)]
    verdict = scan(data, verifier=walls.verifier)
    check_form(verdict, data)
    assert verdict.outcome in ("not_applicable", "provenance_conflict")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    mime=st.sampled_from(["image/jpeg", "image/png", "image/webp"]),
    place=st.floats(0, 1, exclude_max=True),
    splice=st.binary(min_size=1, max_size=8),
)
def test_spliced_release_never_raises(gallery: Any, mime: str, place: float, splice: bytes) -> None:
    walls, released = gallery
    whole = released[mime].data
    at = int(len(whole) * place)
    data = whole[:at] + splice + whole[at + len(splice) :]
    verdict = scan(data, verifier=walls.verifier)
    check_form(verdict, data)
    if verdict.outcome == "declared_synthetic":
        assert np.array_equal(decode(data).frame, decode(whole).frame)
