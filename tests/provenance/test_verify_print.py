"""A manifest names the fingerprint of its own pixels; one that fits and names another lies."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c2pa
import pytest

import provenance.press
import provenance.release
from provenance.c2pa import read_manifest
from provenance.chains import TrustAnchors
from provenance.clip import frames, open_clip
from provenance.errors import NotReleased, Tampered, Untrusted
from provenance.evidence import Evidence
from provenance.fingerprints import ALG, fingerprint
from provenance.manifest import build_manifest
from provenance.media import MIMES, encode
from provenance.press import Looks
from provenance.release import release
from provenance.verify import Verifier

Json = dict[str, Any]
FAR = "0123456789abcdef" * 4


def naming(bits: str, times: int = 1) -> list[Json]:
    """Soft bindings of another maker's tool that say this fingerprint."""
    block = {"scope": {}, "value": base64.b64encode(bytes.fromhex(bits)).decode()}
    return [{"label": "c2pa.soft-binding", "data": {"alg": ALG, "blocks": [block]}}] * times


def lines(evidence: tuple[Evidence, ...], subject: str = "fingerprint") -> list[tuple[str, str]]:
    return [(line.state, line.words) for line in evidence if line.subject == subject]


def other(_bits: str) -> str:
    return FAR


def one_bit_off(bits: str) -> str:
    return f"{int(bits, 16) ^ 1:064x}"


def lie(monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str] = other) -> None:
    """Manifests of releases name another fingerprint from now on."""

    def sign(*given: Any, looks: Looks, **named: Any) -> Any:
        return provenance.press.sign_release(
            *given, looks=dataclasses.replace(looks, bits=change(looks.bits)), **named
        )

    for place in ("release", "clip_release"):
        monkeypatch.setattr(f"provenance.{place}.sign_release", sign)


def look_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody compares the fingerprints when a release is read back."""
    for place in ("release", "clip_release"):
        monkeypatch.setattr(f"provenance.{place}.require_print", lambda *_: None)


# ------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("mime", MIMES)
def test_a_release_agrees_with_its_manifest_to_the_bit(studio: Any, mime: str) -> None:
    report = studio.verifier.verify(studio.release(mime=mime).data)
    words = "0 of 256 bits differ from the manifest's own fingerprint, 31 may"
    assert (report.verdict, lines(report.evidence)) == ("authentic", [("holds", words)])


def test_a_release_whose_manifest_names_another_picture_is_a_lie(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch)
    look_away(monkeypatch)
    data = studio.release(mime="image/png").data
    reading = read_manifest(data, "image/png", anchors=studio.press.anchors)
    assert (reading.verdict, reading.findings, reading.bound_print) == ("trusted", (), FAR)
    with pytest.raises(Tampered, match="contradicts itself") as caught:
        studio.verifier.verify(data)
    [(state, words)] = lines(caught.value.evidence)
    assert (state, "it was made of another picture" in words) == ("fails", True)
    for subject in ("signature", "trust", "lint", "watermark"):
        assert {state for state, _ in lines(caught.value.evidence, subject)} == {"holds"}
    # Not even who trusts nobody, and has no key, takes it for a file that only lacks a root.
    with pytest.raises(Tampered):
        Verifier(TrustAnchors(())).verify(data)


@pytest.mark.parametrize("change", [other, one_bit_off])
def test_a_release_that_names_another_fingerprint_does_not_leave(
    studio: Any, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str]
) -> None:
    lie(monkeypatch, change)
    with pytest.raises(NotReleased, match="another fingerprint than that of the output"):
        studio.release(mime="image/png")
    assert studio.kept() == []
    assert studio.kinds()[-1] == "abort"


def test_a_release_of_an_older_version_is_valid_and_delivered_again(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(claim: Any) -> Json:
        made = build_manifest(claim)
        made["assertions"] = [a for a in made["assertions"] if a["data"].get("alg") != ALG]
        return made

    look_away(monkeypatch)
    monkeypatch.setattr("provenance.c2pa.build_manifest", build)
    draft = studio.draft(mime="image/png")
    out = release(draft, press=studio.press)
    monkeypatch.undo()
    reading = read_manifest(out.data, "image/png", anchors=studio.press.anchors)
    assert (reading.verdict, reading.findings, reading.bound_print) == ("trusted", (), None)
    report = studio.verifier.verify(out.data)
    assert (report.verdict, lines(report.evidence)) == ("authentic", [])
    assert studio.redeliver(draft).data == out.data


def test_another_makers_fingerprint_is_compared_too(
    studio: Any, other_pki: Any, sign_elsewhere: Callable[..., bytes]
) -> None:
    picture = studio.picture("persona6_0", "image/png")
    own = fingerprint(picture.frame).bits
    verifier = Verifier(other_pki.anchors)
    good = sign_elsewhere(other_pki, picture.data, assertions=naming(own))
    assert lines(verifier.verify(good).evidence)[0][0] == "holds"
    bad = sign_elsewhere(other_pki, picture.data, assertions=naming(FAR))
    with pytest.raises(Tampered):
        verifier.verify(bad)
    # Two of them say nothing that could be compared, and break a rule that is not theirs to keep.
    both = sign_elsewhere(other_pki, picture.data, assertions=naming(own, times=2))
    report = verifier.verify(both)
    assert lines(report.evidence) == []
    [(state, words)] = lines(report.evidence, "lint")
    assert (state, words[:21]) == ("warns", "SOFT-BINDING-REPEATED")


def test_a_fingerprint_of_a_changed_file_is_not_believed(
    studio: Any, other_pki: Any, sign_elsewhere: Callable[..., bytes]
) -> None:
    picture = studio.picture("persona6_0", "image/png").data
    data = sign_elsewhere(other_pki, picture, assertions=naming(FAR)) + b"more"
    with pytest.raises(Tampered) as caught:
        Verifier(other_pki.anchors).verify(data)
    assert lines(caught.value.evidence) == []


def test_a_picture_without_structure_is_not_called_a_lie(
    studio: Any, other_pki: Any, sign_elsewhere: Callable[..., bytes]
) -> None:
    frame = studio.picture("persona6_0").frame.copy()
    frame[:] = 128
    data = sign_elsewhere(other_pki, encode(frame, "image/png"), assertions=naming(FAR))
    report = Verifier(other_pki.anchors).verify(data)
    [(state, words)] = lines(report.evidence)
    assert (state, words.endswith("too little structure to compare")) == ("warns", True)
    with pytest.raises(Untrusted):
        Verifier(studio.press.anchors).verify(data)


# ------------------------------------------------------------------------------ videos


def test_a_release_binds_the_fingerprint_of_its_first_frame(premiere: Any, tmp_path: Path) -> None:
    cinema, file, out = premiere
    reading = read_manifest(file, "video/mp4", anchors=cinema.press.anchors)
    made = open_clip(file, workspace=tmp_path)
    first = next(frame for _, frame in frames(made))
    assert reading.bound_print == fingerprint(first).bits
    row = cinema.studio.registry.by_mark(out.mark_id)
    assert reading.bound_print == row.fingerprint
    with file.open("rb") as video, c2pa.Context.from_dict({}) as context:
        said = json.loads(c2pa.Reader("video/mp4", video, None, context=context).json())
    manifest = said["manifests"][said["active_manifest"]]
    [bound] = [a["data"] for a in manifest["assertions"] if a["data"].get("alg") == ALG]
    shown = (made.times[1] - made.times[0]) * 1000 / made.form.time_base[1]
    assert bound["blocks"][0]["scope"] == {"timespan": {"start": 0, "end": math.ceil(shown)}}


def test_a_video_agrees_with_its_manifest_to_the_bit(premiere: Any) -> None:
    cinema, file, _ = premiere
    report = cinema.studio.verifier.verify(file)
    found = [state for state, words in lines(report.evidence) if "0 of 256 bits" in words]
    assert (report.verdict, found) == ("authentic", ["holds"])


def test_a_video_whose_manifest_names_another_is_a_lie(
    cinema: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie(monkeypatch)
    with pytest.raises(NotReleased, match="another fingerprint than that of the output"):
        cinema.release()
    look_away(monkeypatch)
    draft = cinema.draft()
    out = cinema.release(draft)
    file = tmp_path / "lie.mp4"
    cinema.press.store.get_file(out.sha256, file)
    with pytest.raises(Tampered, match="contradicts itself") as caught:
        cinema.studio.verifier.verify(file)
    assert [state for state, _ in lines(caught.value.evidence)] == ["fails"]
