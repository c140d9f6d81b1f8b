"""What may be said about a video as it was released, changed, or never one of ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from provenance.errors import (
    MediaError,
    Tampered,
    Untrusted,
    VerificationError,
)
from provenance.second_engine import open_second_engine
from provenance.verify import Verifier

# ------------------------------------------------------------------------------ what holds


@pytest.mark.parametrize("on_disk", [True, False], ids=["path", "bytes"])
def test_a_released_video_is_authentic(
    verifier: Verifier, file: Path, premiere: Any, on_disk: bool, states: Any
) -> None:
    report = verifier.verify(file if on_disk else file.read_bytes())
    out = premiere[2]
    assert (report.verdict, report.origin, report.consent) == (
        "authentic",
        "facewarrant",
        "current",
    )
    assert (report.manifest_id, report.mark_id) == (out.manifest_id, out.mark_id)
    assert (report.meaning, report.label_meaning) == ("consistent", "labels agree")
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


def test_without_a_key_and_an_archive_a_release_is_authentic_and_little_is_checked(
    verifier: Verifier, file: Path, states: Any
) -> None:
    report = Verifier(verifier.anchors).verify(file)
    assert (report.verdict, report.consent, report.meaning) == (
        "authentic",
        "unchecked",
        "unchecked",
    )
    found = states(report.evidence)
    assert found["watermark"] == found["log"] == found["consent"] == {"unchecked"}


def test_the_second_engine_reads_the_same_of_a_video(verifier: Verifier, file: Path) -> None:
    pytest.importorskip("encypher_c2pa")
    both = dataclasses.replace(verifier, second=open_second_engine())
    for content in (file, file.read_bytes()):
        [line] = [x for x in both.verify(content).evidence if x.subject == "second engine"]
        assert (line.state, line.words) == (
            "holds",
            "encypher-c2pa says Trusted; both engines agree",
        )


def test_an_unknown_signer_is_untrusted(
    verifier: Verifier, file: Path, other_pki: Any, refused: Any
) -> None:
    stranger = dataclasses.replace(verifier, anchors=other_pki.anchors)
    found = refused(stranger, file, Untrusted, "none of the given anchors")
    assert (found["signature"], found["trust"]) == ({"holds"}, {"fails"})


# ------------------------------------------------------------------------------ what was changed


def test_a_changed_byte_beside_the_pixels_is_tampering(
    verifier: Verifier, file: Path, refused: Any
) -> None:
    data = bytearray(file.read_bytes())
    data[data.index(b"x264 - core")] ^= 1
    found = refused(verifier, bytes(data), Tampered, "changed after signing")
    assert found["signature"] == {"fails"}
    assert found["watermark"] == {"holds"}


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_changed_byte_of_the_pixels_is_tampering_or_no_video(
    verifier: Verifier, file: Path, place: float
) -> None:
    data = bytearray(file.read_bytes())
    start = data.index(b"mdat")
    size = int.from_bytes(data[start - 4 : start], "big")
    data[start + int(size * place)] ^= 0x10
    with pytest.raises((Tampered, MediaError)):
        verifier.verify(bytes(data))


def test_a_label_taken_away_breaks_the_manifest(
    verifier: Verifier, file: Path, refused: Any
) -> None:
    data = file.read_bytes()
    start, end = data.index(b"<x:xmpmeta"), data.index(b"</x:xmpmeta>")
    changes = (data[:start] + b" " * (end - start) + data[end:], data.replace(b"AIGC", b"XXXX"))
    for changed in changes:
        assert len(changed) == len(data) != 0
        found = refused(verifier, changed, Tampered, "changed after signing")
        assert found["signature"] == {"fails"}


def test_a_file_that_breaks_off_is_no_video(verifier: Verifier, file: Path) -> None:
    data = file.read_bytes()
    for share in (0.01, 0.3, 0.7, 0.99):
        with pytest.raises((VerificationError, MediaError)):
            verifier.verify(data[: int(len(data) * share)])


# ------------------------------------------------------------------------------ what is no video


@pytest.mark.parametrize(
    "data",
    [b"\x00\x00\x00\x18ftypisom" + bytes(40), b"\x00\x00\x00\x18ftypqt  " + bytes(2_000)],
    ids=["isom", "quicktime"],
)
def test_what_only_says_that_it_is_a_video_is_a_media_error(
    verifier: Verifier, data: bytes
) -> None:
    with pytest.raises(MediaError) as caught:
        verifier.verify(data)
    assert caught.value.mend


def test_other_containers_are_refused_with_what_to_do(
    verifier: Verifier, film: list[Any], films: Any, tmp_path: Path
) -> None:
    webm = films.develop(tmp_path / "a.webm", film[:2], codec="libvpx-vp9", options={"crf": "40"})
    with pytest.raises(MediaError, match="WebM") as caught:
        verifier.verify(webm)
    assert "MP4" in caught.value.mend


def test_a_missing_file_is_our_error(verifier: Verifier, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        verifier.verify(tmp_path / "none.mp4")
