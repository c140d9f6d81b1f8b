"""What may be said about a video: as of a picture, and only of the frames that were looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import provenance.exhibit
from policies.errors import StoreUnavailable
from provenance.errors import (
    MediaError,
    Tampered,
    Unmarked,
    Unreadable,
    Untrusted,
    VerificationError,
)
from provenance.evidence import Evidence
from provenance.media import decode, encode
from provenance.second_engine import open_second_engine
from provenance.verify import Verifier
from provenance.video import VideoLimits, VideoTooLarge
from provenance.watermark import Detection

UNREADABLE = Detection(None, None, "present_unreadable", 1e-9, 9.0, 1)


class Around:
    """A part with some of its methods replaced; the rest is the part's own."""

    def __init__(self, part: object, **replaced: object) -> None:
        self._part = part
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def states(evidence: Sequence[Evidence]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in evidence:
        assert line.words
        found.setdefault(line.subject, set()).add(line.state)
    return found


def refused(verifier: Verifier, content: Any, kind: type[VerificationError], words: str) -> Any:
    """The states of the evidence with which a file is refused in these words."""
    with pytest.raises(VerificationError, match=words) as caught:
        verifier.verify(content)
    assert type(caught.value) is kind, (caught.value.code, caught.value.message)
    assert caught.value.mend or kind is Tampered
    return states(caught.value.evidence)


@pytest.fixture
def verifier(premiere: Any) -> Verifier:
    # The first frame of every second: the same looks again.
    rng = Around(provenance.exhibit.UNFORESEEN, randrange=lambda _count: 1)
    made: Verifier = dataclasses.replace(premiere[0].verifier, rng=rng)
    return made


@pytest.fixture
def mark_id(premiere: Any) -> str:
    return str(premiere[2].mark_id)


@pytest.fixture
def file(premiere: Any) -> Path:
    """The premiere as it was released."""
    path: Path = premiere[1]
    return path


@pytest.fixture
def film(file: Path, films: Any) -> list[Any]:
    """Its frames."""
    return list(films.project(file))


@pytest.fixture
def worn(film: list[Any], films: Any, tmp_path: Path) -> list[Any]:
    """Its frames, coded so strongly that the mark is gone."""
    return list(films.project(films.develop(tmp_path / "w.mp4", film, options={"crf": "36"})))


# ------------------------------------------------------------------------------ what holds


@pytest.mark.parametrize("on_disk", [True, False], ids=["path", "bytes"])
def test_a_released_video_is_authentic(
    verifier: Verifier, file: Path, premiere: Any, on_disk: bool
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
    verifier: Verifier, file: Path
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


def test_an_unknown_signer_is_untrusted(verifier: Verifier, file: Path, other_pki: Any) -> None:
    stranger = dataclasses.replace(verifier, anchors=other_pki.anchors)
    found = refused(stranger, file, Untrusted, "none of the given anchors")
    assert (found["signature"], found["trust"]) == ({"holds"}, {"fails"})


# ------------------------------------------------------------------------------ what was changed


def test_a_changed_byte_beside_the_pixels_is_tampering(verifier: Verifier, file: Path) -> None:
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


def test_a_label_taken_away_breaks_the_manifest(verifier: Verifier, file: Path) -> None:
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


# ------------------------------------------------------------------------------ what was stripped


COPIES: dict[str, Callable[[Any, Path, list[Any]], Path]] = {
    "coded anew": lambda films, to, film: films.develop(to / "a.mp4", film, options={"crf": "20"}),
    "cut": lambda films, to, film: films.develop(to / "a.mp4", film[2:], options={"crf": "20"}),
    "HEVC": lambda films, to, film: films.develop(
        to / "a.mp4", film, codec="libx265", options={"crf": "20", "x265-params": "log-level=none"}
    ),
    "QuickTime": lambda films, to, film: films.develop(to / "a.mov", film),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_recovered_by_its_mark(
    verifier: Verifier, film: list[Any], films: Any, premiere: Any, how: str, tmp_path: Path
) -> None:
    copy = COPIES[how](films, tmp_path, film)
    report = verifier.verify(copy)
    out = premiere[2]
    assert (report.verdict, report.origin, report.consent) == (
        "recovered",
        "facewarrant",
        "current",
    )
    assert (report.manifest_id, report.mark_id) == (out.manifest_id, out.mark_id)
    assert report.meaning == "recoverable"
    found = states(report.evidence)
    assert found["signature"] == found["labels"] == {"absent"}
    for subject in ("watermark", "fingerprint", "likeness", "trust", "consent", "log", "release"):
        assert found[subject] == {"holds"}
    assert verifier.verify(copy.read_bytes()) == report
    assert sorted(tmp_path.iterdir()) == [copy], "nothing is written beside a file"


def test_a_copy_without_its_mark_is_recovered_by_its_looks(
    verifier: Verifier, worn: list[Any], films: Any, mark_id: str, tmp_path: Path
) -> None:
    report = verifier.verify(films.develop(tmp_path / "a.mp4", worn))
    assert (report.verdict, report.mark_id, report.meaning) == (
        "recovered",
        mark_id,
        "nothing found",
    )
    found = states(report.evidence)
    assert found["watermark"] == {"absent"}
    assert found["fingerprint"] == found["likeness"] == {"holds"}


def test_without_a_watermark_key_a_copy_is_recovered_by_its_looks(
    verifier: Verifier, film: list[Any], films: Any, mark_id: str, tmp_path: Path
) -> None:
    keyless = dataclasses.replace(verifier, watermark=None)
    report = keyless.verify(films.develop(tmp_path / "a.mp4", film))
    assert (report.verdict, report.mark_id) == ("recovered", mark_id)
    assert states(report.evidence)["watermark"] == {"unchecked"}


@pytest.mark.parametrize("marked", [True, False])
def test_a_still_of_a_video_is_recovered(
    verifier: Verifier, film: list[Any], worn: list[Any], mark_id: str, marked: bool
) -> None:
    still = encode((film if marked else worn)[3], "image/jpeg")
    report = verifier.verify(still)
    assert (report.verdict, report.mark_id) == ("recovered", mark_id)
    [line] = [line for line in report.evidence if line.subject == "likeness"]
    assert "1 of 1 looks, in 1 seconds" in line.words


def test_a_slideshow_of_a_released_picture_is_recovered(
    verifier: Verifier, gallery: Any, films: Any, tmp_path: Path
) -> None:
    out = gallery[1]["image/png"]
    show = films.develop(tmp_path / "a.mp4", [decode(out.data).frame] * 4, rate=2)
    report = verifier.verify(show)
    assert (report.verdict, report.mark_id) == ("recovered", out.mark_id)


# ---------------------------------------------------------------------------- what was put together


def test_two_releases_cut_together_are_tampering(
    verifier: Verifier, film: list[Any], sequel: Any, films: Any, mark_id: str, tmp_path: Path
) -> None:
    both = films.develop(tmp_path / "a.mp4", film[:3] + films.project(sequel[0])[3:])
    found = refused(verifier, both, Tampered, "parts of several releases were cut together")
    assert found["watermark"] == {"warns", "fails"}
    with pytest.raises(Tampered) as caught:
        verifier.verify(both)
    [line] = [x for x in caught.value.evidence if x.subject == "watermark" and x.state == "fails"]
    assert line.words == f"marks of {', '.join(sorted((mark_id, sequel[1].mark_id)))}"


@pytest.mark.parametrize("marked", [True, False])
def test_a_release_with_a_second_of_something_else_is_not_recovered(
    verifier: Verifier,
    film: list[Any],
    worn: list[Any],
    films: Any,
    demo_picture: Any,
    marked: bool,
    tmp_path: Path,
) -> None:
    foreign = films.shoot(demo_picture("persona6_0"), 3)
    mixed = films.develop(tmp_path / "a.mp4", (film if marked else worn)[:3] + foreign)
    if marked:
        found = refused(verifier, mixed, Tampered, "not every frame is from it")
        assert found["watermark"] == {"holds"}
    else:
        found = refused(verifier, mixed, Unmarked, "nothing can be said")
        assert found["watermark"] == {"absent"}
    assert found["likeness"] == {"warns"}
    assert "fingerprint" not in found


@pytest.mark.parametrize("onto", ["video", "picture"])
def test_a_mark_copied_onto_something_else_is_tampering(
    verifier: Verifier, films: Any, demo_picture: Any, mark_id: str, onto: str, tmp_path: Path
) -> None:
    copied = Detection(mark_id, 1, "read", 1e-30, 20.0, 1)
    watermark = Around(verifier.watermark, detect=lambda _frame, **_how: copied)
    fooled = dataclasses.replace(verifier, watermark=watermark)
    other = demo_picture("persona6_0")
    content = other if onto == "picture" else films.develop(tmp_path / "a.mp4", films.shoot(other))
    found = refused(fooled, content, Tampered, "not every frame is from it")
    assert found["likeness"] == {"warns"}


# ------------------------------------------------------------------------------ what leads nowhere


def test_a_video_that_was_never_released_is_unmarked(
    verifier: Verifier, premiere: Any, tmp_path: Path
) -> None:
    found = refused(verifier, premiere[0].clip.path, Unmarked, "no manifest and no readable mark")
    # The target of the premiere is like it, but for the label and the mark.
    assert found.pop("likeness", {"warns"}) == {"warns"}
    assert found == {
        name: {"absent"}
        for name in ("signature", "trust lists", "labels", "watermark", "agreement")
    }


def test_without_an_archive_a_mark_leads_nowhere(
    verifier: Verifier, film: list[Any], worn: list[Any], films: Any, tmp_path: Path
) -> None:
    alone = dataclasses.replace(verifier, archive=None)
    marked = films.develop(tmp_path / "a.mp4", film)
    found = refused(alone, marked, Unreadable, "does not lead to a release here")
    assert found["watermark"] == {"holds"}
    unmarked = films.develop(tmp_path / "b.mp4", worn)
    refused(alone, unmarked, Unmarked, "no manifest and no readable mark")


def test_a_mark_that_cannot_be_read_is_not_absent(
    verifier: Verifier, file: Path, film: list[Any], films: Any, tmp_path: Path
) -> None:
    found = {"detect": lambda *_, **_how: UNREADABLE, "detect_clip": lambda _: UNREADABLE}
    watermark = Around(verifier.watermark, **found)
    blurred = dataclasses.replace(verifier, watermark=watermark)
    copy = films.develop(tmp_path / "a.mp4", film)
    assert refused(blurred, copy, Unreadable, "a mark is present")["watermark"] == {"warns"}
    report = blurred.verify(file)
    assert (report.verdict, report.meaning) == ("authentic", "mark unreadable")


def test_a_mark_of_no_release_is_tampering(
    verifier: Verifier, film: list[Any], films: Any, tmp_path: Path
) -> None:
    archive = dataclasses.replace(
        verifier.archive,  # type: ignore[type-var]
        registry=Around(verifier.archive.registry, by_mark=lambda _id: None),  # type: ignore[union-attr]
    )
    copy = films.develop(tmp_path / "a.mp4", film)
    forgetful = dataclasses.replace(verifier, archive=archive)
    refused(forgetful, copy, Tampered, "a release that never happened")


@pytest.mark.parametrize("marked", [True, False])
def test_a_lost_output_is_said_and_not_taken_for_nothing_found(
    verifier: Verifier,
    film: list[Any],
    worn: list[Any],
    films: Any,
    marked: bool,
    tmp_path: Path,
) -> None:
    def gone(sha256: str, _to: Path) -> None:
        raise StoreUnavailable(f"the store does not give {sha256}")

    archive = verifier.archive
    assert archive is not None
    lost = dataclasses.replace(archive, store=Around(archive.store, get_file=gone))
    copy = films.develop(tmp_path / "a.mp4", film if marked else worn)
    with pytest.raises(StoreUnavailable, match="does not give"):
        dataclasses.replace(verifier, archive=lost).verify(copy)


def test_a_kept_manifest_that_is_not_trusted_recovers_nothing(
    verifier: Verifier, film: list[Any], films: Any, other_pki: Any, tmp_path: Path
) -> None:
    stranger = dataclasses.replace(verifier, anchors=other_pki.anchors)
    copy = films.develop(tmp_path / "a.mp4", film)
    found = refused(stranger, copy, Tampered, "the kept manifest does not verify")
    assert found["trust"] == {"fails"}


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


def test_a_video_of_another_codec_is_held_in_memory_up_to_a_size(
    verifier: Verifier,
    film: list[Any],
    films: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    copy = COPIES["HEVC"](films, tmp_path, film)
    for size, fits in ((copy.stat().st_size, True), (copy.stat().st_size - 1, False)):
        limits = VideoLimits(file_bytes=size, min_seconds=0.0)
        monkeypatch.setattr(provenance.exhibit, "SCAN_LIMITS", limits)
        if fits:
            assert verifier.verify(copy).verdict == "recovered"
        else:
            with pytest.raises(VideoTooLarge):
                verifier.verify(copy)
