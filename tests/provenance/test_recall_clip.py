"""Updated copies of videos: the same media under a manifest more, written to disk."""

from __future__ import annotations

from typing import Any

import pytest

import provenance.recall
from provenance.asset import VIDEO, digest_of
from provenance.c2pa import read_manifest
from provenance.clip_release import ReleasedClip
from provenance.errors import NotReleased
from provenance.label_mp4 import digest_media
from provenance.recall import Updated, update_release
from provenance.second_engine import open_second_engine
from provenance.trust import NO_LISTS


@pytest.fixture
def shown(cinema: Any) -> tuple[Any, ReleasedClip]:
    """A released video, and one of its people withdrew."""
    draft = cinema.draft()
    out = cinema.release(draft)
    cinema.studio.office.withdraw(draft.warrant.document.people[0].record_id)
    return cinema, out


def update(cinema: Any, out: ReleasedClip) -> Updated:
    row = cinema.studio.registry.by_manifest(out.manifest_id)
    return update_release(row, press=cinema.press)


def test_anybody_reads_from_the_video_that_consent_was_withdrawn(shown: Any) -> None:
    cinema, out = shown
    updated = update(cinema, out)
    assert (updated.mime, updated.data, updated.released_id) == (VIDEO, b"", out.manifest_id)
    copy = cinema.folder / "copy.mp4"
    cinema.studio.store.get_file(updated.sha256, copy)
    report = cinema.verifier.verify(copy)
    assert (report.verdict, report.consent) == ("authentic", "withdrawn")
    assert not [line for line in report.evidence if line.state == "fails"]
    with copy.open("rb") as one, cinema.kept(out).open("rb") as other:
        assert digest_media(one) == digest_media(other)
    second = open_second_engine().read(
        copy, VIDEO, anchors=cinema.studio.pki.anchors, lists=NO_LISTS
    )
    assert (second.state, second.failures) == ("Trusted", ())


def test_asking_again_gives_the_same_video(shown: Any) -> None:
    cinema, out = shown
    first = update(cinema, out)
    before = (cinema.studio.kinds(), cinema.studio.kept())
    assert update(cinema, out) == first
    assert (cinema.studio.kinds(), cinema.studio.kept()) == before


def test_another_video_stays_in(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cinema, out = shown
    before = (cinema.studio.kinds(), cinema.studio.kept())
    digests = iter(["one", "another"])
    monkeypatch.setattr(provenance.recall, "digest_media", lambda _: next(digests))
    with pytest.raises(NotReleased, match="shows something else"):
        update(cinema, out)
    assert (cinema.studio.kinds(), cinema.studio.kept()) == before


def test_the_digest_of_media_is_that_of_nothing_else(shown: Any) -> None:
    cinema, out = shown
    data = bytearray(cinema.kept(out).read_bytes())
    clean, changed = cinema.folder / "clean.mp4", cinema.folder / "changed.mp4"
    clean.write_bytes(data + b"\x00\x00\x00\x0cfreefree")
    place = data.index(b"mdat") + 40
    data[place] ^= 1
    changed.write_bytes(data)
    found = []
    for path in (cinema.kept(out), clean, changed):
        with path.open("rb") as file:
            found.append(digest_media(file))
    assert found[0] == found[1] != found[2]
    assert digest_of(clean) != digest_of(cinema.kept(out))
    assert read_manifest(changed, VIDEO, anchors=cinema.studio.pki.anchors).verdict == "invalid"
