"""The only way out: every mark is in every output, and whatever fails keeps everything in."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa

import provenance.press
import provenance.release
from policies.audit import ClockRollback, verify_entry
from policies.database import Database
from policies.decide import Refused
from policies.digest import sha256_hex
from policies.errors import Malformed, StoreUnavailable
from policies.tables import RESERVATION
from policies.warrant import WARRANT_SECONDS, WarrantInvalid
from provenance.c2pa import IngredientRefused, read_manifest
from provenance.chains import TrustAnchors
from provenance.containers import Mime
from provenance.draft import Draft
from provenance.errors import (
    AlreadyMarked,
    CertificateRefused,
    LabelRefused,
    NotMarkable,
    NotReleased,
    SigningFailed,
)
from provenance.fingerprints import fingerprint
from provenance.labels import read_labels, write_xmp
from provenance.manifest import LintFinding
from provenance.media import decode, encode
from provenance.pki import make_development_chain
from provenance.press import Press
from provenance.release import release
from provenance.timestamps import TsaUnavailable
from provenance.timetokens import TimeStampRefused
from provenance.visible_label import place_visible_label
from provenance.watermark import Detection

MIMES: tuple[Mime, ...] = ("image/jpeg", "image/png", "image/webp")
Breaker = Callable[[Any, Draft], tuple[Press, Draft]]


class Around:
    """A part of the press with some of its methods replaced; the rest is the part's own."""

    def __init__(self, part: object, **replaced: object) -> None:
        self._part = part
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def with_parts(press: Press, **parts: Any) -> Press:
    return dataclasses.replace(press, **parts)


def fail(error: BaseException) -> Callable[..., Any]:
    def raising(*_arguments: object, **_named: object) -> Any:
        raise error

    return raising


def uses(studio: Any) -> int:
    with studio.office.database.transaction() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(RESERVATION)) or 0)


def assert_nothing_left(studio: Any, draft: Draft) -> None:
    """No bytes, no row, no release in the log, no use taken, and the warrant has ended."""
    document = draft.warrant.document
    assert studio.kept() == []
    assert studio.registry.by_request(document.request_id) is None
    assert studio.office.desk.state(document.warrant_id) == "aborted"
    assert uses(studio) == 0
    assert studio.kinds()[-1] == "abort"
    assert "release" not in studio.kinds()
    studio.office.log.check()


# ------------------------------------------------------------------------------ success


@pytest.mark.parametrize("mime", MIMES)
def test_release_carries_every_mark(studio: Any, mime: Mime) -> None:
    draft = studio.draft(mime=mime)
    out = release(draft, press=studio.press)
    assert (out.mime, out.sha256) == (mime, sha256_hex(out.data))
    assert out.data not in repr(out).encode()

    picture = decode(out.data)
    assert (picture.mime, picture.frame.shape) == (mime, draft.frame.shape)
    found = studio.watermark.detect(picture.frame)
    assert (found.state, found.mark_id) == ("read", out.mark_id)

    labels = read_labels(out.data, mime)
    assert labels is not None
    assert labels.claims_ai
    assert labels.problems == ()
    assert (labels.provider, labels.output_id) == ("Test Studio", out.mark_id)
    assert labels.created_at is not None
    assert labels.created_at.timestamp() == studio.office.clock()

    reading = read_manifest(out.data, mime, anchors=studio.press.anchors)
    assert (reading.verdict, reading.findings) == ("trusted", ())
    assert reading.manifest_id == out.manifest_id
    assert reading.bound_mark == out.mark_id
    assert reading.bound_print == fingerprint(picture.frame).bits
    assert reading.warrant is not None
    assert reading.warrant["warrant_hash"] == draft.warrant.document.sha256
    assert reading.warrant["decision_hash"] == draft.warrant.document.decision_sha256


@pytest.mark.parametrize("mime", MIMES)
def test_release_shows_its_label_to_people(studio: Any, mime: Mime) -> None:
    draft = studio.draft(mime=mime)
    frame = decode(release(draft, press=studio.press).data).frame
    change = np.abs(frame.astype(int) - draft.frame.astype(int)).max(axis=2)
    # The mark and the codec change no pixel by much; only the words do, and in one place.
    rows = np.nonzero(change > 60)[0]
    assert len(rows) > 100
    assert np.ptp(rows) < frame.shape[0] / 4


def test_release_is_entered_logged_and_kept(studio: Any) -> None:
    draft = studio.draft()
    document = draft.warrant.document
    out = release(draft, press=studio.press)
    assert studio.office.desk.state(document.warrant_id) == "released"
    assert uses(studio) == 2

    row = studio.registry.by_request(document.request_id)
    assert row is not None
    assert (row.mark_id, row.manifest_id, row.output_sha256, row.mime, row.log_index) == (
        out.mark_id,
        out.manifest_id,
        out.sha256,
        out.mime,
        out.log_index,
    )
    assert row.warrant_id == document.warrant_id
    assert row.fingerprint == fingerprint(decode(out.data).frame).bits
    assert studio.store.get(row.output_sha256) == out.data
    kept = read_manifest(
        out.data,
        out.mime,
        anchors=studio.press.anchors,
        store=studio.store.get(row.manifest_sha256),
    )
    assert kept.manifest_id == out.manifest_id
    assert len(studio.kept()) == 2

    proof = studio.office.log.prove(out.log_index)
    verify_entry(proof, origin=studio.office.log.origin, key=studio.office.log_key.public)
    assert proof.entry["kind"] == "release"
    assert proof.entry["warrant"] == document.warrant_id
    assert proof.entry["manifest"] == out.manifest_id
    # The log may be published: it holds a commitment, not the digest of the output itself.
    commitment = studio.office.book.commitment.commit("output", out.sha256)
    assert proof.entry["output"] == commitment != out.sha256


def test_mark_ids_of_releases_differ(studio: Any) -> None:
    outs = [studio.release(name) for name in ("persona2_0", "persona2_0", "persona3_0")]
    assert len({out.mark_id for out in outs}) == len({out.sha256 for out in outs}) == 3


def test_output_says_nothing_of_its_inputs(studio: Any) -> None:
    draft = studio.draft()
    data = release(draft, press=studio.press).data
    document = draft.warrant.document
    for person in document.people:
        assert person.record_id.encode() not in data
    for secret in (document.source_sha256, document.request_id, document.warrant_id):
        assert secret.encode() not in data


def test_second_release_of_a_draft_is_refused(studio: Any) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    with pytest.raises(NotReleased, match="WARRANT-SPENT") as caught:
        release(draft, press=studio.press)
    assert caught.value.code == "NOT-RELEASED"
    assert isinstance(caught.value.__cause__, WarrantInvalid)
    # The first one stands.
    assert studio.office.desk.state(draft.warrant.document.warrant_id) == "released"
    assert studio.kinds().count("release") == 1
    assert studio.kinds().count("abort") == 0
    assert studio.store.get(out.sha256) == out.data
    assert studio.verifier.verify(out.data).verdict == "authentic"


# ------------------------------------------------------------------------------ every step fails


def snow(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    """Pure black and white at random, which hides any mark."""
    dots = np.random.default_rng(1).integers(0, 2, (*draft.frame.shape[:2], 1), np.uint8)
    return studio.press, remade(draft, np.repeat(dots * 255, 3, axis=2))


def marked_already(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    embed = studio.watermark.embed
    payload = provenance.release.issue_payload(draft.warrant, rng=bytes)
    return studio.press, remade(draft, embed(draft.frame, payload))


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "unreadable"])
def test_a_marked_picture_is_found_at_any_size_and_not_released_again(
    studio: Any, is_read: bool
) -> None:
    """Embedding looks at scale 1 alone, so what was made is searched before."""
    draft = studio.draft()
    payload = provenance.release.issue_payload(draft.warrant, rng=bytes)
    height, width = draft.frame.shape[:2]
    large = cv2.resize(draft.frame, (width * 4 // 3, height * 4 // 3))
    marked = studio.watermark.embed(large, payload)
    small = cv2.resize(marked, (width, height), interpolation=cv2.INTER_AREA)
    studio.watermark.embed(small, payload)  # would mark it a second time
    press = studio.press
    if not is_read:
        press = with_parts(press, watermark=Around(press.watermark, detect=lambda _: UNREADABLE))
    with pytest.raises(NotReleased, match="ALREADY-MARKED") as caught:
        release(remade(draft, small), press=press)
    cause = caught.value.__cause__
    assert isinstance(cause, AlreadyMarked)
    said = f"the mark {payload.mark_id}" if is_read else "a mark whose id is damaged"
    assert said in cause.message
    assert "before they were released" in cause.mend
    assert_nothing_left(studio, draft)


def remade(draft: Draft, frame: Any) -> Draft:
    return Draft(
        frame,
        warrant=draft.warrant,
        source=draft.source,
        target=draft.target,
        faces=(),
        maker=draft.maker,
    )


def signer_raises(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    sign = fail(RuntimeError("the key service is down"))
    return with_parts(studio.press, signer=Around(studio.press.signer, sign=sign)), draft


def signer_answers_junk(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    def sign(*_arguments: object, **_named: object) -> bytes:
        return bytes(64)

    return with_parts(studio.press, signer=Around(studio.press.signer, sign=sign)), draft


def chain_unfit(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    check = fail(CertificateRefused("expired"))
    return with_parts(studio.press, signer=Around(studio.press.signer, check=check)), draft


def nobody_trusted(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    return with_parts(studio.press, anchors=TrustAnchors(())), draft


class Stamper:
    """An authority that answers as a test says."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.stamp = answer


def authority_down(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    stamp = fail(TsaUnavailable("no time stamp could be had"))
    return with_parts(studio.press, stamper=Stamper(stamp)), draft


def authority_faults(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    return with_parts(studio.press, stamper=Stamper(fail(RuntimeError("bug")))), draft


def authority_answers_junk(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    return with_parts(studio.press, stamper=Stamper(lambda _query: b"junk")), draft


def authority_untrusted(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    stranger = make_development_chain(organisation="Stranger", now=datetime.now(UTC))
    stamper = stranger.authority(lambda: datetime.now(UTC))
    return with_parts(studio.press, stamper=stamper), draft


def read_back_as(found: Detection | None) -> Breaker:
    def breaker(studio: Any, draft: Draft) -> tuple[Press, Draft]:
        def detect(_image: Any, *, thorough: bool = True) -> Detection | None:
            return None if thorough else found  # what was made is searched first, thoroughly

        watermark = Around(studio.watermark, detect=detect)
        return with_parts(studio.press, watermark=watermark), draft

    return breaker


def never_marked(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    watermark = Around(studio.watermark, embed=lambda image, _payload: image)
    return with_parts(studio.press, watermark=watermark), draft


def provider_unprintable(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    return with_parts(studio.press, provider="Test\nStudio"), draft


def randomness_short(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    return with_parts(studio.press, rng=lambda n: bytes(n - 1)), draft


def randomness_broken(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    return with_parts(studio.press, rng=fail(OSError("no entropy"))), draft


def store_full_at(call: int) -> Breaker:
    def breaker(studio: Any, draft: Draft) -> tuple[Press, Draft]:
        calls: list[bytes] = []

        def put(data: bytes) -> str:
            calls.append(data)
            if len(calls) == call:
                raise StoreUnavailable("the disk is full")
            return str(studio.store.put(data))

        return with_parts(studio.press, store=Around(studio.store, put=put)), draft

    return breaker


def folder_in_the_way(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    blocked = studio.folder.parent / "blocked"
    blocked.write_bytes(b"")
    return with_parts(studio.press, store=type(studio.store)(blocked)), draft


def registry_raises(error: BaseException) -> Breaker:
    def breaker(studio: Any, draft: Draft) -> tuple[Press, Draft]:
        registry = Around(studio.registry, add=fail(error))
        return with_parts(studio.press, registry=registry), draft

    return breaker


def database_refuses_the_row(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    with studio.office.database.transaction() as connection:
        connection.exec_driver_sql(
            "create trigger full before insert on release begin select raise(abort, 'full'); end"
        )
    return studio.press, draft


def database_refuses_the_entry(studio: Any, draft: Draft) -> tuple[Press, Draft]:
    with studio.office.database.transaction() as connection:
        connection.exec_driver_sql(
            "create trigger full before insert on log_entry "
            "when instr(new.data, '\"release\"') begin select raise(abort, 'full'); end"
        )
    return studio.press, draft


UNREADABLE = Detection(None, None, "present_unreadable", 1e-9, 9.0, 1)
OTHER_ID = Detection("0" * 12, 1, "read", 1e-9, 9.0, 1)

FAILURES: dict[str, tuple[Breaker, type[Exception] | None, str]] = {
    "picture is snow": (snow, NotMarkable, "NOT-MARKABLE"),
    "picture is marked already": (marked_already, AlreadyMarked, "ALREADY-MARKED"),
    "signer raises": (signer_raises, SigningFailed, "SIGNING-FAILED"),
    "signer answers junk": (signer_answers_junk, SigningFailed, "SIGNING-FAILED"),
    "chain unfit": (chain_unfit, CertificateRefused, "CERTIFICATE-REFUSED"),
    "authority down": (authority_down, TsaUnavailable, "TSA-UNAVAILABLE"),
    "authority faults": (authority_faults, SigningFailed, "SIGNING-FAILED"),
    "authority answers junk": (authority_answers_junk, SigningFailed, "SIGNING-FAILED"),
    "authority untrusted": (authority_untrusted, None, "time stamp reads back as 'untrusted'"),
    "signer untrusted": (nobody_trusted, None, "intact_untrusted"),
    "mark reads back as none": (read_back_as(None), None, "cannot be read back"),
    "mark reads back unreadable": (read_back_as(UNREADABLE), None, "cannot be read back"),
    "mark reads back as another": (read_back_as(OTHER_ID), None, "cannot be read back"),
    "watermark embeds nothing": (never_marked, None, "cannot be read back"),
    "provider is no label text": (provider_unprintable, LabelRefused, "LABEL-REFUSED"),
    "randomness short": (randomness_short, Malformed, "MALFORMED"),
    "randomness broken": (randomness_broken, OSError, "FAULT"),
    "store full at once": (store_full_at(1), StoreUnavailable, "STORE-UNAVAILABLE"),
    "store full half way": (store_full_at(2), StoreUnavailable, "STORE-UNAVAILABLE"),
    "store folder in the way": (folder_in_the_way, StoreUnavailable, "STORE-UNAVAILABLE"),
    "registry faults": (registry_raises(RuntimeError("bug")), RuntimeError, "FAULT"),
    "registry unavailable": (
        registry_raises(StoreUnavailable("gone")),
        StoreUnavailable,
        "STORE-UNAVAILABLE",
    ),
    "database refuses the row": (
        database_refuses_the_row,
        StoreUnavailable,
        "STORE-UNAVAILABLE",
    ),
    "database refuses the entry": (
        database_refuses_the_entry,
        StoreUnavailable,
        "STORE-UNAVAILABLE",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failing_step_keeps_everything_in(studio: Any, name: str) -> None:
    breaker, cause, words = FAILURES[name]
    press, draft = breaker(studio, studio.draft())
    with pytest.raises(NotReleased, match=words) as caught:
        release(draft, press=press)
    assert caught.value.code == "NOT-RELEASED"
    if cause is None:
        assert caught.value.__cause__ is None
    else:
        assert isinstance(caught.value.__cause__, cause)
    assert_nothing_left(studio, draft)


@pytest.mark.parametrize("mime", MIMES)
@pytest.mark.parametrize(
    "name", ["signer raises", "watermark embeds nothing", "registry faults", "store full half way"]
)
def test_failing_step_keeps_everything_in_whatever_the_format(
    studio: Any, name: str, mime: Mime
) -> None:
    press, draft = FAILURES[name][0](studio, studio.draft(mime=mime))
    with pytest.raises(NotReleased):
        release(draft, press=press)
    assert_nothing_left(studio, draft)


@pytest.mark.parametrize("mime", MIMES)
@pytest.mark.parametrize(
    ("loses", "words"),
    [("packet", "labels cannot be read back"), ("id", "name another output")],
)
def test_label_that_does_not_read_back_keeps_everything_in(
    studio: Any, monkeypatch: pytest.MonkeyPatch, loses: str, words: str, mime: Mime
) -> None:
    def without_packet(frame: Any, mime: Mime, **_xmp: object) -> bytes:
        return encode(frame, mime)

    def with_another_id(**said: Any) -> bytes:
        return write_xmp(**(said | {"output_id": "0" * 12}))

    if loses == "packet":
        monkeypatch.setattr(provenance.release, "encode", without_packet)
    else:
        monkeypatch.setattr(provenance.press, "write_xmp", with_another_id)
    draft = studio.draft(mime=mime)
    with pytest.raises(NotReleased, match=words):
        release(draft, press=studio.press)
    assert_nothing_left(studio, draft)


def test_visible_label_is_what_the_places_ask_for(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def place(size: tuple[int, int], *, demand: Any, **named: Any) -> Any:
        asked.append(demand.text)
        return place_visible_label(size, demand=demand, **named)

    monkeypatch.setattr(provenance.release, "place_visible_label", place)
    pictures = studio.picture("persona1_0"), studio.picture("persona2_0")
    china = {"territories": ["CN"]}
    warrant = studio.warrant_under(*pictures, china, **china)
    release(studio.draft(warrant=warrant), press=studio.press)
    release(studio.draft("persona3_0"), press=studio.press)
    assert asked == ["AI-generated face swap AI生成", "AI-generated face swap"]


@pytest.mark.parametrize(
    "changes",
    [
        {"source_type": None, "aigc": None, "said": ()},
        {"said": ()},
        {"problems": ("two",)},
    ],
)
def test_label_that_says_too_little_or_too_much_keeps_everything_in(
    studio: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    def read(data: bytes, mime: Mime) -> Any:
        labels = read_labels(data, mime)
        assert labels is not None
        return dataclasses.replace(labels, **changes)

    monkeypatch.setattr(provenance.release, "read_labels", read)
    draft = studio.draft()
    with pytest.raises(NotReleased, match="labels cannot be read back"):
        release(draft, press=studio.press)
    assert_nothing_left(studio, draft)


def test_output_with_a_finding_keeps_everything_in(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*given: Any, **named: Any) -> Any:
        finding = LintFinding("THUMBNAIL", "a thumbnail")
        return dataclasses.replace(read_manifest(*given, **named), findings=(finding,))

    monkeypatch.setattr(provenance.press, "read_manifest", read)
    draft = studio.draft()
    with pytest.raises(NotReleased, match="reads back as 'trusted'"):
        release(draft, press=studio.press)
    assert_nothing_left(studio, draft)


def test_taken_mark_id_keeps_the_second_in_and_the_first_stands(studio: Any) -> None:
    press = with_parts(studio.press, rng=lambda n: b"\x07" * n)
    first = release(studio.draft("persona2_0"), press=press)
    draft = studio.draft("persona3_0")
    with pytest.raises(NotReleased, match="STORE-UNAVAILABLE"):
        release(draft, press=press)
    assert studio.office.desk.state(draft.warrant.document.warrant_id) == "aborted"
    assert studio.kinds().count("release") == 1
    assert len(studio.kept()) == 2
    assert studio.verifier.verify(first.data).verdict == "authentic"


def test_broken_input_is_not_built_upon(studio: Any) -> None:
    """A target that was released here and tampered with since cannot become a parent."""
    data = studio.release("persona3_0", "image/jpeg").data
    broken = decode(data + b"trailing")
    draft = studio.draft(target=broken, frame=studio.picture("persona2_0").frame)
    with pytest.raises(NotReleased, match="INGREDIENT-REFUSED") as caught:
        release(draft, press=studio.press)
    assert isinstance(caught.value.__cause__, IngredientRefused)
    assert studio.office.desk.state(draft.warrant.document.warrant_id) == "aborted"
    assert len(studio.kept()) == 2


# ------------------------------------------------------------------------------ consent and time


def between(studio: Any, draft: Draft, point: str, happen: Callable[[], object]) -> Press:
    """A press in which something happens at one point of the release."""
    press, once = studio.press, [happen]

    def now() -> None:
        while once:
            once.pop()()

    def around(method: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if not after:
                now()
            result = method(*given, **named)
            if after:
                now()
            return result

        return call

    def read_back(image: Any, *, thorough: bool = True) -> Any:
        if not thorough:
            now()
        return press.watermark.detect(image, thorough=thorough)

    embed, sign = press.watermark.embed, press.signer.sign
    parts: dict[str, dict[str, Any]] = {
        "before the mark": {"rng": around(press.rng)},
        "while marking": {"watermark": Around(press.watermark, embed=around(embed))},
        "after the mark": {"watermark": Around(press.watermark, embed=around(embed, after=True))},
        "before signing": {"signer": Around(press.signer, check=around(press.signer.check))},
        "while signing": {"signer": Around(press.signer, sign=around(sign))},
        "after signing": {"signer": Around(press.signer, sign=around(sign, after=True))},
        "while searching": {
            "watermark": Around(press.watermark, detect=around(press.watermark.detect))
        },
        "while reading back": {"watermark": Around(press.watermark, detect=read_back)},
        "after keeping": {"store": Around(press.store, put=around(press.store.put, after=True))},
    }
    return with_parts(press, **parts[point])


POINTS = (
    "before the mark",
    "while searching",
    "while marking",
    "after the mark",
    "before signing",
    "while signing",
    "after signing",
    "while reading back",
    "after keeping",
)


@pytest.mark.parametrize("person", [0, 1], ids=["source", "target"])
@pytest.mark.parametrize("point", POINTS)
def test_withdrawal_at_any_point_keeps_everything_in(studio: Any, point: str, person: int) -> None:
    draft = studio.draft()
    record_id = draft.warrant.document.people[person].record_id
    press = between(studio, draft, point, lambda: studio.office.withdraw(record_id))
    with pytest.raises(NotReleased, match="CONSENT-CHANGED") as caught:
        release(draft, press=press)
    assert isinstance(caught.value.__cause__, WarrantInvalid)
    assert caught.value.__cause__.code == "CONSENT-CHANGED"
    assert_nothing_left(studio, draft)


@pytest.mark.parametrize("point", POINTS)
def test_expiry_at_any_point_keeps_everything_in(studio: Any, point: str) -> None:
    draft = studio.draft()

    def wait() -> None:
        studio.office.clock.now += WARRANT_SECONDS

    with pytest.raises(NotReleased, match="WARRANT-EXPIRED"):
        release(draft, press=between(studio, draft, point, wait))
    assert_nothing_left(studio, draft)


def test_withdrawal_while_the_release_is_entered_waits_for_it(
    studio: Any, pki: Any, tmp_path: Path
) -> None:
    """Either order is fine, a mixture is not: here the release was first, and says so since."""
    office = type(studio.office)(database=Database(f"sqlite:///{tmp_path / 'file.db'}"))
    studio = type(studio)(pki, tmp_path / "store", office)
    draft = studio.draft()
    record_id = draft.warrant.document.people[0].record_id
    threads: list[threading.Thread] = []

    def add(row: Any, **options: Any) -> None:
        studio.registry.add(row, **options)
        threads.append(threading.Thread(target=studio.office.withdraw, args=(record_id,)))
        threads[0].start()

    press = with_parts(studio.press, registry=Around(studio.registry, add=add))
    out = release(draft, press=press)
    threads[0].join()
    assert studio.kinds()[-2:] == ["release", "consent_event"]
    report = studio.verifier.verify(out.data)
    assert (report.verdict, report.consent) == ("authentic", "withdrawn")


def test_refusal_of_the_last_step_undoes_the_transaction(studio: Any) -> None:
    draft = studio.draft()

    def add(row: Any, **options: Any) -> None:
        studio.registry.add(row, **options)
        raise NotReleased("stopped after everything was written")

    press = with_parts(studio.press, registry=Around(studio.registry, add=add))
    with pytest.raises(NotReleased, match="stopped after") as caught:
        release(draft, press=press)
    assert caught.value.__cause__ is None
    assert_nothing_left(studio, draft)


def test_clock_set_back_keeps_everything_in_and_says_so(studio: Any) -> None:
    """Not even the abort can be dated then; the warrant is ended when the request runs again."""
    draft, clock = studio.draft(), studio.office.clock
    document = draft.warrant.document

    def put_and_set_back(data: bytes) -> str:
        clock.now = document.not_before - 60
        return str(studio.store.put(data))

    press = with_parts(studio.press, store=Around(studio.store, put=put_and_set_back))
    with pytest.raises(ClockRollback) as caught:
        release(draft, press=press)
    assert caught.value.code == "CLOCK-ROLLBACK"
    assert studio.kept() == []
    assert studio.registry.by_request(document.request_id) is None
    assert "release" not in studio.kinds()
    assert studio.office.desk.abandoned(document.request_id) == [document]


# ------------------------------------------------------------------------------ who may not try


def test_draft_of_another_desk_never_reaches_our_signer(
    studio: Any, pki: Any, tmp_path: Path
) -> None:
    foreign = type(studio)(pki, tmp_path / "foreign", make_foreign_office(studio))
    draft = foreign.draft()
    used: list[str] = []
    press = with_parts(
        studio.press,
        signer=Around(studio.press.signer, sign=lambda *_a, **_k: used.append("signer")),
        watermark=Around(studio.watermark, embed=lambda *_a: used.append("watermark")),
    )
    with pytest.raises(WarrantInvalid) as caught:
        release(draft, press=press)
    assert caught.value.code == "WARRANT-FORGED"
    assert used == []
    assert studio.kept() == []
    assert foreign.office.desk.state(draft.warrant.document.warrant_id) == "started"


def make_foreign_office(studio: Any) -> Any:
    """Another deployment: same code, other keys."""
    office = type(studio.office)()
    key = type(office.desk_key).from_seed(b"x" * 32)
    office.desk = dataclasses.replace(office.desk, key=key)
    return office


@pytest.mark.parametrize("value", [None, b"pixels", object()])
def test_only_drafts_are_released(studio: Any, value: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        release(value, press=studio.press)
    assert caught.value.code == "WARRANT-REQUIRED"


# ------------------------------------------------------------------------------ stops and outages


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_stop_between_keeping_and_logging_leaves_nothing(
    studio: Any, stop: type[BaseException]
) -> None:
    draft = studio.draft()
    press = with_parts(studio.press, registry=Around(studio.registry, add=fail(stop())))
    with pytest.raises(stop):
        release(draft, press=press)
    assert_nothing_left(studio, draft)


def test_database_gone_for_good_is_said_and_loses_nothing(studio: Any) -> None:
    draft = studio.draft()
    database = studio.office.database

    def put_and_cut(data: bytes) -> str:
        sha256 = str(studio.store.put(data))
        database.transaction = fail(StoreUnavailable("the database is gone"))
        return sha256

    press = with_parts(studio.press, store=Around(studio.store, put=put_and_cut))
    with pytest.raises(StoreUnavailable) as caught:
        release(draft, press=press)
    assert caught.value.code == "STORE-UNAVAILABLE"
    del database.transaction
    # Nobody could say whether it had been entered, so the bytes stay; they carry every mark.
    [kept] = [data for path in studio.kept() if (data := path.read_bytes())[:4] == b"RIFF"]
    assert read_manifest(kept, "image/webp", anchors=studio.press.anchors).verdict == "trusted"
    assert studio.watermark.detect(decode(kept).frame).state == "read"
    assert studio.office.desk.state(draft.warrant.document.warrant_id) == "started"
    assert len(studio.office.desk.abandoned(draft.warrant.document.request_id)) == 1


def test_fault_after_the_commit_loses_nothing(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = studio.draft()
    monkeypatch.setattr(provenance.release, "_as_released", fail(MemoryError()))
    with pytest.raises(NotReleased, match="FAULT"):
        release(draft, press=studio.press)
    monkeypatch.undo()
    document = draft.warrant.document
    assert studio.office.desk.state(document.warrant_id) == "released"
    assert studio.verifier.verify(studio.redeliver(draft).data).verdict == "authentic"


def test_release_is_delivered_again_as_it_was(studio: Any) -> None:
    draft = studio.draft()
    out = release(draft, press=studio.press)
    assert studio.redeliver(draft) == out


def edit_row(studio: Any, column: str, value: object) -> None:
    with studio.office.database.transaction() as connection:
        connection.exec_driver_sql("drop trigger if exists release_update")
        connection.exec_driver_sql(f"update release set {column} = ?", (value,))  # noqa: S608


def test_edited_register_hands_out_nothing_unmarked(studio: Any) -> None:
    """The row is a pointer; an insider who turns it to raw pixels gets no delivery."""
    draft = studio.draft()
    release(draft, press=studio.press)
    raw = studio.store.put(studio.picture("persona3_0").data)
    edit_row(studio, "output_sha256", raw)
    with pytest.raises(NotReleased) as caught:
        studio.redeliver(draft)
    assert "log" in caught.value.message


def test_edited_mark_in_the_register_is_not_delivered(studio: Any) -> None:
    draft = studio.draft()
    release(draft, press=studio.press)
    edit_row(studio, "mark_id", "0" * 12)
    with pytest.raises(NotReleased):
        studio.redeliver(draft)


def test_broken_off_release_is_not_delivered_by_a_forged_row(studio: Any) -> None:
    draft, other = studio.draft(), studio.draft("persona3_0")
    release(other, press=studio.press)
    edit_row(studio, "request_id", draft.warrant.document.request_id)
    edit_row(studio, "warrant_id", draft.warrant.document.warrant_id)
    with pytest.raises(WarrantInvalid) as caught:
        studio.redeliver(draft)
    assert caught.value.code == "WARRANT-SPENT"


def test_withdrawn_release_is_not_delivered_again(studio: Any) -> None:
    draft = studio.draft()
    release(draft, press=studio.press)
    studio.office.withdraw(draft.warrant.document.people[0].record_id)
    with pytest.raises(Refused) as caught:
        studio.redeliver(draft)
    assert caught.value.decision.codes == ("CONSENT-STATUS",)


# ------------------------------------------------------------------------------ time stamps


def with_policy(studio: Any, unstamped: str) -> None:
    desk = studio.office.desk
    house = dataclasses.replace(desk.house, unstamped=unstamped)
    studio.office.desk = dataclasses.replace(desk, house=house)
    studio.press = with_parts(studio.press, desk=studio.office.desk)


def last_release(studio: Any) -> dict[str, Any]:
    [*_, entry] = [e for e in studio.office.log.entries() if e["kind"] == "release"]
    return dict(entry)


def test_a_release_is_stamped(studio: Any) -> None:
    released = studio.release()
    reading = read_manifest(released.data, released.mime, anchors=studio.press.anchors)
    assert (reading.time_stamp, reading.time_stamped) == ("trusted", True)
    assert "time_stamp" not in last_release(studio)


def test_a_house_that_allows_it_still_stamps_when_it_can(studio: Any) -> None:
    with_policy(studio, "the studio has no line to the outside")
    released = studio.release()
    reading = read_manifest(released.data, released.mime, anchors=studio.press.anchors)
    assert reading.time_stamped
    assert "time_stamp" not in last_release(studio)


@pytest.mark.parametrize(
    "error", [TsaUnavailable("gone"), TimeStampRefused("clock", "an hour off")]
)
def test_only_a_house_that_says_why_releases_unstamped_and_it_is_logged(
    studio: Any, error: Exception
) -> None:
    with_policy(studio, "the studio has no line to the outside")
    draft = studio.draft()
    press = with_parts(studio.press, stamper=Stamper(fail(error)))
    released = release(draft, press=press)
    reading = read_manifest(released.data, released.mime, anchors=studio.press.anchors)
    assert (reading.verdict, reading.time_stamp) == ("trusted", "missing")
    assert last_release(studio)["time_stamp"] == "none"
    assert reading.warrant is not None
    assert reading.warrant["policy_sha256"] == studio.office.desk.house.sha256
    assert studio.redeliver(draft).data == released.data
