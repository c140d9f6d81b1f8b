"""Updated copies: what says 'consent withdrawn' to everybody, made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import encypher_c2pa
import pytest

import provenance.recall
from policies.errors import StoreUnavailable
from provenance.c2pa import read_manifest
from provenance.chains import TrustAnchors
from provenance.containers import Mime, open_container
from provenance.errors import NeverReleased, NotReleased, Tampered, Untrusted
from provenance.notice import NoticeRefused
from provenance.recall import Updated, update_release
from provenance.registry import ReleaseRow
from provenance.release import release
from provenance.timestamps import TsaUnavailable
from provenance.verify import Verifier

MIMES: tuple[Mime, ...] = ("image/jpeg", "image/png", "image/webp")


class Shown:
    """A release of a studio, with the consents of the people it shows."""

    def __init__(self, studio: Any, mime: Mime = "image/png") -> None:
        draft = studio.draft(mime=mime)
        self.studio, self.released = studio, release(draft, press=studio.press)
        self.people = [person.record_id for person in draft.warrant.document.people]

    @property
    def row(self) -> ReleaseRow:
        found: ReleaseRow | None = self.studio.registry.by_manifest(self.released.manifest_id)
        assert found is not None
        return found

    def withdraw(self, number: int = 0) -> None:
        self.studio.office.withdraw(self.people[number])

    def update(self, **press: Any) -> Updated:
        return update_release(self.row, press=replace(self.studio.press, **press))


@pytest.fixture
def shown(studio: Any) -> Shown:
    return Shown(studio)


@pytest.mark.parametrize("mime", MIMES)
def test_anybody_reads_from_the_copy_that_consent_was_withdrawn(studio: Any, mime: Mime) -> None:
    shown = Shown(studio, mime)
    shown.withdraw()
    updated = shown.update()
    report = Verifier(studio.pki.anchors, studio.watermark).verify(updated.data)
    assert (report.verdict, report.origin, report.consent) == (
        "authentic",
        "facewarrant",
        "withdrawn",
    )
    assert report.manifest_id == updated.manifest_id != updated.released_id
    assert report.mark_id == shown.released.mark_id
    said = [line.words for line in report.evidence if line.subject == "consent"]
    assert said[0].startswith("the release's own newest manifest says that consent was withdrawn")
    assert not [line for line in report.evidence if line.state == "fails"]
    assert "consistent" in report.meaning


@pytest.mark.parametrize("mime", MIMES)
def test_the_picture_is_the_same_and_another_engine_agrees(studio: Any, mime: Mime) -> None:
    shown = Shown(studio, mime)
    shown.withdraw()
    updated = shown.update()
    assert open_container(updated.data).picture == open_container(shown.released.data).picture
    pem = studio.pki.anchors.pem
    found = encypher_c2pa.verify(
        updated.data,
        mime_type=mime,
        trust_pem=pem,
        tsa_trust_pem=pem,
        no_default_trust=True,
        telemetry=False,
        online=False,
    )
    assert found["validation_state"] == "Trusted"


def test_nobody_is_named_in_it(shown: Shown) -> None:
    shown.withdraw()
    updated = shown.update()
    reading = read_manifest(updated.data, updated.mime, anchors=shown.studio.pki.anchors)
    assert reading.withdrawal is not None
    [said] = reading.withdrawal["consents"]
    assert set(said) == {"commitment", "at", "log"}
    assert said["commitment"] == shown.studio.office.book.commit(shown.people[0])
    entry = shown.studio.office.log.entries()[said["log"]["index"]]
    assert (entry["kind"], entry["event"], entry["at"]) == (
        "consent_event",
        "withdrawn",
        said["at"],
    )
    book = shown.studio.office.book
    for record_id in shown.people:
        pid = book.read(record_id).record.subject.pid
        assert record_id.encode() not in updated.data
        assert pid.encode() not in updated.data


def test_the_archive_finds_release_and_update(shown: Shown) -> None:
    shown.withdraw(1)
    updated = shown.update()
    report = shown.studio.verifier.verify(updated.data)
    assert (report.verdict, report.consent) == ("authentic", "withdrawn")
    [line] = [line for line in report.evidence if line.subject == "release"]
    assert line.state == "holds"
    assert line.words.endswith(f"; updated, log entry {updated.log_index}")
    entry = shown.studio.office.log.entries()[updated.log_index]
    assert entry["kind"] == "update"
    assert entry["manifest"] == shown.released.manifest_id


def test_asked_again_the_same_copy_comes_back(shown: Shown) -> None:
    shown.withdraw()
    first = shown.update()
    kinds, kept = shown.studio.kinds(), shown.studio.kept()
    assert shown.update() == first
    assert (shown.studio.kinds(), shown.studio.kept()) == (kinds, kept)
    shown.withdraw(1)
    second = shown.update()
    assert second.manifest_id != first.manifest_id
    assert second.released_id == first.released_id
    for updated in (first, second):  # both were given out
        assert shown.studio.verifier.verify(updated.data).consent == "withdrawn"
    assert shown.update() == second


def test_a_consent_that_holds_is_left_alone(shown: Shown) -> None:
    before = shown.studio.kinds()
    with pytest.raises(NoticeRefused, match="no consent behind this output has ended") as caught:
        shown.update()
    assert "withdraw the consent first" in caught.value.mend
    assert shown.studio.kinds() == before


def test_an_update_that_was_never_entered_was_never_released(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes of an update whose log entry could not be written are nobody's release."""
    shown.withdraw()
    log, made = shown.studio.office.log, []
    put = shown.studio.store.put

    def fail(*_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(log), "append", fail)
        patch.setattr(shown.studio.store, "put", lambda data: made.append(data) or put(data))
        before = shown.studio.kept()
        with pytest.raises(StoreUnavailable):
            shown.update()
        assert shown.studio.kept() == before
    with pytest.raises(NeverReleased) as caught:
        shown.studio.verifier.verify(made[1])
    assert "the log has no such update" in " ".join(e.words for e in caught.value.evidence)


def test_without_a_time_stamp_nothing_is_written(shown: Shown) -> None:
    class Down:
        def stamp(self, query: bytes) -> bytes:
            raise TsaUnavailable("no authority answers")

    shown.withdraw()
    before = shown.studio.kept()
    with pytest.raises(TsaUnavailable):
        shown.update(stamper=Down())
    assert shown.studio.kept() == before
    assert shown.update().manifest_id  # the notice of the failed attempt is not in the way


def test_changed_pixels_are_tampered_with(studio: Any) -> None:
    shown = Shown(studio, "image/jpeg")
    shown.withdraw()
    data = bytearray(shown.update().data)
    data[-2000] ^= 1
    with pytest.raises(Tampered):
        Verifier(shown.studio.pki.anchors).verify(bytes(data))


def test_a_stranger_reads_the_notice_too(shown: Shown) -> None:
    shown.withdraw()
    with pytest.raises(Untrusted) as caught:
        Verifier(TrustAnchors(())).verify(shown.update().data)
    assert "consent was withdrawn on" in " ".join(line.words for line in caught.value.evidence)


# ------------------------------------------------------------------------------ read back


def broken(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """What `recall` reads of an update is changed; releases are read as they are."""

    def read(*arguments: Any, **named: Any) -> Any:
        reading = read_manifest(*arguments, **named)
        return change(reading) if reading.withdrawal else reading

    monkeypatch.setattr(provenance.recall, "read_manifest", read)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "intact_untrusted"}, "reads back as 'intact_untrusted'"),
        ({"findings": ("x",)}, "reads back as"),
        ({"time_stamped": False}, "reads back as"),
        ({"released_id": "urn:c2pa:other"}, "says something else"),
        ({"withdrawal": {"version": 1, "consents": []}}, "says something else"),
    ],
)
def test_what_does_not_read_back_stays_in(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    shown.withdraw()
    before = (shown.studio.kinds(), shown.studio.kept())
    broken(monkeypatch, lambda reading: replace(reading, **changes))
    with pytest.raises(NotReleased, match=words):
        shown.update()
    assert (shown.studio.kinds(), shown.studio.kept()) == before


def test_another_picture_stays_in(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    shown.withdraw()

    def take_apart(data: bytes) -> Any:
        found = open_container(data)
        return found if data == shown.released.data else replace(found, picture=b"another")

    monkeypatch.setattr(provenance.recall, "open_container", take_apart)
    with pytest.raises(NotReleased, match="shows something else"):
        shown.update()


def test_a_kept_update_is_read_back_before_it_goes_out_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown.withdraw()
    shown.update()
    broken(monkeypatch, lambda reading: replace(reading, manifest_id="urn:c2pa:other"))
    with pytest.raises(NotReleased, match="another update"):
        shown.update()
