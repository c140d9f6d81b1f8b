"""A video is a copy only with all its frames; another maker's film may quote a release."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from random import Random
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from provenance.budget import CompareTooLong
from provenance.c2pa_settings import sign_settings
from provenance.chains import TrustAnchors
from provenance.errors import Tampered, Unmarked, Untrusted, VerificationError
from provenance.exhibit import UNFORESEEN, PictureExhibit, open_exhibit
from provenance.media import decode
from provenance.pixels import load
from provenance.verify import Verifier

CREATED = {
    "action": "c2pa.created",
    "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/compositeCapture",
}


class Keeps(Random):
    """Keeps the first frame of every second, as somebody who cheats would hope."""

    def randrange(self, *_: Any) -> int:
        return 1


@pytest.fixture
def verifier(premiere: Any) -> Verifier:
    made: Verifier = premiere[0].verifier
    return dataclasses.replace(made, rng=Keeps())


@pytest.fixture
def film(premiere: Any, films: Any) -> list[Any]:
    """The frames of the premiere."""
    return list(films.project(premiere[1]))


@pytest.fixture
def foreign(films: Any, demo_picture: Any) -> list[Any]:
    """Frames of somebody who was never released here."""
    return list(films.shoot(demo_picture("persona6_0"), 9))


@pytest.fixture
def releases(premiere: Any, sequel: Any) -> tuple[Any, Any]:
    """Two released videos."""
    return premiere, sequel


def newsroom(video: Path, to: Path, authority: Any) -> Path:
    """The video, signed by another maker."""

    def sign(claim: bytes) -> bytes:
        r, s = decode_dss_signature(authority.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    pems = [one.public_bytes(Encoding.PEM) for one in (authority.leaf, authority.root)]
    chain = b"".join(pems).decode()
    draft = {
        "claim_generator_info": [{"name": "News Editor", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [CREATED]}}],
    }
    with (
        c2pa.Context.from_dict(sign_settings(None)) as context,
        c2pa.Signer.from_callback(sign, c2pa.C2paSigningAlg.ES256, chain, None) as signer,
        c2pa.Builder(draft, context=context) as builder,
        video.open("rb") as source,
        to.open("w+b") as out,
    ):
        builder.sign(signer, "video/mp4", source, out)
    return to


@pytest.fixture
def reader(verifier: Verifier, authority: Any) -> Verifier:
    """A verifier that trusts the newsroom's signer too."""
    roots = (*verifier.anchors.certificates, authority.root)
    return dataclasses.replace(verifier, anchors=TrustAnchors(roots))


# ------------------------------------------------------------------------------ every frame


@pytest.mark.parametrize("marked", [True, False])
def test_frames_between_the_looks_count(
    verifier: Verifier,
    film: list[Any],
    foreign: list[Any],
    films: Any,
    tmp_path: Path,
    marked: bool,
) -> None:
    """Two of three frames are foreign; those that are looked at are not."""
    mixed = [frame for n in (0, 3) for frame in (film[n], foreign[0], foreign[1])]
    copy = films.develop(tmp_path / "a.mp4", mixed, options={"crf": "10"})
    one = verifier if marked else dataclasses.replace(verifier, watermark=None)
    with pytest.raises(VerificationError) as caught:
        one.verify(copy)
    assert type(caught.value) is (Tampered if marked else Unmarked)
    [line] = [line for line in caught.value.evidence if line.subject == "likeness"]
    assert line.state == "warns"
    assert "2 of 2 looks, in 2 seconds; 2 of 6 frames as a whole" in line.words


def test_what_was_not_compared_is_said(
    verifier: Verifier, film: list[Any], films: Any, tmp_path: Path
) -> None:
    backwards = films.develop(tmp_path / "a.mp4", film[::-1])
    report = verifier.verify(backwards)
    assert report.verdict == "recovered"
    words = {line.subject: line.words for line in report.evidence}
    assert "6 of 6 frames" in words["fingerprint"]
    assert words["fingerprint"].endswith("order, length and sound were not compared")


def test_looks_are_unforeseen_unless_told_otherwise() -> None:
    assert Verifier.__dataclass_fields__["rng"].default is UNFORESEEN
    assert inspect.signature(open_exhibit).parameters["rng"].default is UNFORESEEN
    with pytest.raises(NotImplementedError):
        UNFORESEEN.getstate()


def test_a_comparison_that_takes_too_long_is_no_verdict(
    verifier: Verifier, film: list[Any], films: Any, tmp_path: Path
) -> None:
    copy = films.develop(tmp_path / "a.mp4", film)
    ticks = iter(range(1_000))
    slow = dataclasses.replace(verifier, seconds=1.0, stopwatch=lambda: float(next(ticks)))
    for one in (slow, dataclasses.replace(slow, watermark=None)):
        with pytest.raises(CompareTooLong):
            one.verify(copy)


def test_a_picture_is_looked_at_once(demo_picture: Any) -> None:
    exhibit = PictureExhibit(decode(demo_picture("persona1_0"), load=load), None)
    assert exhibit.sight is exhibit.sight
    assert exhibit.marked == (0, 1)


# ------------------------------------------------------------------------------ quotations


def test_a_trusted_film_that_quotes_a_release_is_its_own_makers(
    reader: Verifier,
    film: list[Any],
    foreign: list[Any],
    films: Any,
    releases: Any,
    authority: Any,
    tmp_path: Path,
) -> None:
    """A second of one release, and then of two."""
    premiere, sequel = releases
    other = films.project(sequel[0])[3:]
    for name, parts, count in (("a", film[:3], 1), ("b", film[:3] + other, 2)):
        plain = films.develop(tmp_path / f"{name}.mp4", parts + foreign[:3])
        signed = newsroom(plain, tmp_path / f"{name}-signed.mp4", authority)
        report = reader.verify(signed)
        assert (report.verdict, report.origin) == ("authentic", "other")
        quoted = [x for x in report.evidence if "it quotes what was released here" in x.words]
        assert [line.state for line in quoted] == ["warns"]
        assert f"{count} of {count + 1} looks carry the mark" in quoted[0].words
        assert premiere[2].mark_id in quoted[0].words
        assert (sequel[1].mark_id in quoted[0].words) == (count == 2)


def test_a_quoting_film_of_an_unknown_signer_is_untrusted(
    verifier: Verifier,
    film: list[Any],
    foreign: list[Any],
    films: Any,
    authority: Any,
    tmp_path: Path,
) -> None:
    plain = films.develop(tmp_path / "a.mp4", film[:3] + foreign[:3])
    signed = newsroom(plain, tmp_path / "b.mp4", authority)
    with pytest.raises(Untrusted) as caught:
        verifier.verify(signed)
    assert any("it quotes" in line.words for line in caught.value.evidence)


def test_a_whole_release_signed_anew_is_still_ours(
    reader: Verifier, film: list[Any], films: Any, premiere: Any, authority: Any, tmp_path: Path
) -> None:
    signed = newsroom(films.develop(tmp_path / "a.mp4", film), tmp_path / "b.mp4", authority)
    report = reader.verify(signed)
    assert (report.verdict, report.origin) == ("recovered", "facewarrant")
    assert report.mark_id == premiere[2].mark_id
    assert not any("it quotes" in line.words for line in report.evidence)


def test_a_changed_film_is_no_quotation(
    reader: Verifier,
    film: list[Any],
    foreign: list[Any],
    films: Any,
    authority: Any,
    tmp_path: Path,
) -> None:
    plain = films.develop(tmp_path / "a.mp4", film[:3] + foreign[:3])
    data = newsroom(plain, tmp_path / "b.mp4", authority).read_bytes()
    changed = data.replace(b"x264 - core", b"x264 - cora")
    assert changed != data
    with pytest.raises(Tampered, match="changed after signing") as caught:
        reader.verify(changed)
    assert not any("it quotes" in line.words for line in caught.value.evidence)


def test_a_film_of_many_seconds_stays_small(films: Any, tmp_path: Path, foreign: Any) -> None:
    """One look a second, and a print of every frame."""
    clip = films.develop(tmp_path / "a.mp4", foreign)
    with open_exhibit(clip, watermark=None, load=load, rng=Keeps()) as exhibit:
        sight = exhibit.sight
    assert (len(sight.looks), sight.seconds, len(sight.prints)) == (3, 3, 9 * 32)
    assert np.array_equal([look.second for look in sight.looks], [0, 1, 2])
