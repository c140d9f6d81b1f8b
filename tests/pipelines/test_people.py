from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.enrolment import MorphSuspected
from generator.errors import EnrolmentRefused, ManyFaces, NoFace, OtherPerson
from pipelines.demo import RENDERED
from pipelines.deployment import Deployment, open_deployment, open_records, system_clock
from pipelines.enrol import Enrolment
from pipelines.keyfiles import KeyFileRefused
from pipelines.notice import NOTICE_SHA256, NOTICE_VERSION
from pipelines.people import (
    Assurance,
    BrokenConsent,
    Scope,
    forget_key,
    grant,
    list_consents,
    subject_path,
    withdraw,
    write_receipt,
)
from policies.audit import ClockRollback
from policies.consent import ConsentBroken
from policies.consents import ConsentUnknown
from policies.digest import sha256_hex
from policies.errors import Error, Malformed, StoreUnavailable
from provenance.errors import Unsupported
from provenance.media import decode, encode

DEMO = Path(__file__).parents[2] / "docs" / "demo"
SCOPE = Scope(("bystander",), ("research", "personal"), ("DE", "US-IL"))
DIGEST = sha256_hex(b"a target picture")
ADDENDA: tuple[dict[str, Any], ...] = (
    {
        "form": "US-IL-RELEASE",
        "written_release_sha256": DIGEST,
        "purpose_and_term": "research; 365 days",
        "signed_at": 1_795_219_200,
    },
    {"form": "CN-SEPARATE", "separate_consent_sha256": DIGEST, "signed_at": 1_795_219_200},
    {"form": "US-TX-ORIGIN", "origin": "provided_by_subject"},
)


def views(person: str, *numbers: int) -> Enrolment:
    return Enrolment(
        tuple((DEMO / f"{person}_{view}.webp").read_bytes() for view in numbers or (1, 2))
    )


def key_files(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "subjects").iterdir())


def data_keys(home: Path) -> int:
    with sqlite3.connect(home / "people-keys" / "people.db") as connection:
        [(count,)] = connection.execute("select count(*) from subject_key")
    connection.close()
    return int(count)


def kept(at: Deployment) -> tuple[object, ...]:
    """Everything that a grant adds to."""
    home = at.settings.home
    entries = len(at.archive.log.entries())
    return at.consents.record_ids(), entries, key_files(home), data_keys(home)


# ------------------------------------------------------------------------------ granting


def test_a_grant_is_signed_confirmed_and_says_what_was_agreed(at: Deployment) -> None:
    scope = Scope(("bystander",), ("research",), ("US-IL",), ("public",), days=3, max_uses=2)
    granted = grant(views("persona3"), scope, RENDERED, at=at)
    consent = at.consents.read(granted.record_id)
    record = consent.record
    assert granted.warnings == ()
    assert consent.state.status == "confirmed"
    assert [event.kind for event in at.consents.history(record.record_id)] == ["given", "confirmed"]
    assert (record.roles, record.purposes, record.audiences, record.media) == (
        ("bystander",),
        ("research",),
        ("public",),
        ("image",),
    )
    assert record.validity.expires - record.validity.not_before == 3 * 86_400
    assert record.max_uses == 2
    assert record.subject.age_assurance.method == record.binding.liveness.method == "rendered"
    assert (record.notice.sha256, record.notice.version) == (NOTICE_SHA256, NOTICE_VERSION)
    assert record.opted_in == (), "nobody opts in to a category unasked"
    assert {block.by for block in record.signatures} == {"subject", "controller"}


def test_the_record_says_who_is_responsible_and_where_to_turn(home: Any) -> None:
    said = {
        "organisation": "Studio Nine",
        "address": "9 Film Street, 10115 Berlin",
        "contact": "privacy@studio.invalid",
        "organisation_type": "research",
        "authority": "Berlin commissioner for data protection",
        "withdrawal_url": "https://studio.invalid/withdraw",
        "dpia_ref": "DPIA 2026-3",
    }
    settings = home.settings.model_copy(update=said)
    with open_deployment(settings) as at:
        scope = replace(SCOPE, project="a film", compensation="contract 7")
        record = at.consents.read(grant(views("persona3"), scope, RENDERED, at=at).record_id).record
    party = record.controller
    assert (party.name, party.address, party.contact, party.type) == (
        said["organisation"],
        said["address"],
        said["contact"],
        "research",
    )
    assert (record.authority, record.dpia_ref) == (said["authority"], said["dpia_ref"])
    assert record.withdrawal.url == said["withdrawal_url"]
    assert record.withdrawal.method == f"facewarrant consent withdraw {record.record_id}"
    assert (record.assets.project, record.compensation_ref) == ("a film", "contract 7")


def test_the_template_is_kept_sealed_and_opens_for_its_record(at: Deployment) -> None:
    granted = grant(views("persona3"), SCOPE, RENDERED, at=at)
    template = at.consents.template(at.consents.read(granted.record_id).record)
    everything = b"".join(p.read_bytes() for p in at.settings.home.rglob("*") if p.is_file())
    assert len(template) >= 128 * 4
    assert template not in everything
    assert template[-64:] not in everything


def test_the_persons_key_is_theirs_alone(at: Deployment) -> None:
    ids = [grant(views(p), SCOPE, RENDERED, at=at).record_id for p in ("persona3", "persona4")]
    people = [at.consents.read(record_id).record.subject for record_id in ids]
    assert len({person.key for person in people}) == len({person.pid for person in people}) == 2
    for person in people:
        path = subject_path(at.settings, person.pid)
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("assurance", "age", "liveness"),
    [
        (Assurance(adult=True), "self_declared", "none"),
        (Assurance(adult=True, in_person=True), "self_declared", "in_person"),
        (Assurance(adult=True, age="document", evidence="check 9"), "document", "none"),
        (RENDERED, "rendered", "rendered"),
        (replace(RENDERED, in_person=True), "rendered", "rendered"),
    ],
)
def test_how_age_and_presence_were_shown_is_what_is_written(
    at: Deployment, assurance: Assurance, age: str, liveness: str
) -> None:
    granted = grant(views("persona3"), SCOPE, assurance, at=at)
    record = at.consents.read(granted.record_id).record
    assert record.subject.age_assurance.method == age
    assert record.subject.age_assurance.evidence == assurance.evidence
    assert (record.binding.liveness.method, record.binding.liveness.score_milli) == (liveness, 0)


def side_by_side() -> bytes:
    frames = [decode(view).frame for view in views("persona3").media]
    height = min(frame.shape[0] for frame in frames)
    return encode(np.hstack([frame[:height] for frame in frames]), "image/webp")


def test_pictures_that_cannot_enrol_one_person_are_refused_and_keep_nothing(
    at: Deployment,
) -> None:
    before = kept(at)
    blank = decode(views("persona3").media[0]).frame.copy()
    blank[:] = 128
    cases: tuple[tuple[tuple[bytes, ...], type[Exception]], ...] = (
        ((*views("persona3").media, *views("persona4").media), EnrolmentRefused),
        ((side_by_side(),), ManyFaces),
        ((encode(blank, "image/webp"),), NoFace),
        ((b"words",), Unsupported),
        ((), NoFace),
    )
    for pictures, error in cases:
        with pytest.raises(error):
            grant(Enrolment(pictures), SCOPE, RENDERED, at=at)
    assert kept(at) == before


NO_SCOPES: tuple[dict[str, Any], ...] = (
    {"roles": ("king",)},
    {"roles": ()},
    {"roles": ("bystander", "bystander")},
    {"purposes": ()},
    {"territories": ("Germany",)},
    {"audiences": ("everyone",)},
    {"media": ("sound",)},
    {"days": 0},
    {"days": 40_000},
    {"max_uses": 0},
    {"max_pixels": 0},
    {"max_seconds": -1},
    {"prohibited": ("dull",)},
    {"opted_in": ("dull",)},
    {"opted_in": ("minors_context",)},
    {"opted_in": ("alcohol",), "prohibited": ("alcohol",)},
    {"counterparties": ("somebody",)},
    {"assets": ("a-picture.jpg",)},
    {"project": "\x1b[31m"},
    {"compensation": "x" * 401},
    {"addenda": ({"form": "DE-FORM"},)},
    {"addenda": (ADDENDA[2], ADDENDA[2])},
)


class Ready(Enrolment):
    """Somebody who was enrolled before: what is refused after it needs no picture read twice."""

    enrolled: Any = None

    def run(self, at: Deployment) -> Any:
        return self.enrolled


def test_a_scope_that_is_none_keeps_nothing(at: Deployment) -> None:
    """No key file, no data key, no row and no log entry: the record is checked before all of it."""
    before, ready = kept(at), Ready(())
    Ready.enrolled = views("persona3").run(at)
    for changes in NO_SCOPES:
        with pytest.raises(Malformed, match=r"not a (consent record|opt-in)|opt in") as refused:
            grant(ready, replace(SCOPE, **changes), RENDERED, at=at)
        assert refused.value.code == "MALFORMED"
        assert kept(at) == before, changes
    assert grant(ready, SCOPE, RENDERED, at=at), "the scope itself is one"


@pytest.mark.parametrize(
    "assurance",
    [
        Assurance(adult=True, age="document"),
        Assurance(adult=True, evidence="a word needs none"),
        Assurance(adult=True, age="oracle", evidence="x"),  # type: ignore[arg-type]
    ],
)
def test_an_age_check_without_its_reference_is_none(at: Deployment, assurance: Assurance) -> None:
    before = kept(at)
    with pytest.raises(Malformed, match="age_assurance"):
        grant(views("persona3"), SCOPE, assurance, at=at)
    assert kept(at) == before


def test_a_purpose_that_this_house_does_not_know_is_refused_before_any_picture_is_read(
    at: Deployment,
) -> None:
    before = kept(at)
    for word in ("fun", "studio:crowd", "FILM"):
        with pytest.raises(Malformed, match=repr(word)) as refused:
            grant(Enrolment((b"words",)), replace(SCOPE, purposes=(word,)), RENDERED, at=at)
        assert "facewarrant policy show" in refused.value.mend
    assert kept(at) == before


def test_a_person_who_does_not_declare_to_be_adult_is_not_enrolled(at: Deployment) -> None:
    before = kept(at)
    with pytest.raises(Malformed, match="18 or older") as refused:
        grant(views("persona3"), SCOPE, replace(RENDERED, adult=False), at=at)
    assert "--adult" in refused.value.mend
    assert kept(at) == before
    assert not Assurance().adult, "nobody is adult unasked"


def test_a_sensitive_category_is_signed_for_by_itself(at: Deployment) -> None:
    scope = replace(SCOPE, opted_in=("alcohol", "political"), prohibited=("tobacco",))
    record = at.consents.read(grant(views("persona3"), scope, RENDERED, at=at).record_id).record
    assert record.opted_in_categories == ("alcohol", "political")
    assert record.prohibited == ("tobacco",)
    signatures = [opt_in.signed for opt_in in record.opted_in]
    assert {block.by for block in signatures} == {"subject"}
    assert len({block.sig for block in signatures}) == 2, "each category has its own"
    assert not {block.sig for block in signatures} & {block.sig for block in record.signatures}


def test_addenda_and_limits_to_people_and_pictures_are_part_of_what_is_signed(
    at: Deployment, home: Any
) -> None:
    scope = replace(
        SCOPE, counterparties=(home.pid(home.source),), assets=(DIGEST,), addenda=ADDENDA
    )
    record = at.consents.read(grant(views("persona3"), scope, RENDERED, at=at).record_id).record
    assert record.addendum_forms == ("US-IL-RELEASE", "CN-SEPARATE", "US-TX-ORIGIN")
    assert record.addenda[0].written_release_sha256 == DIGEST  # type: ignore[union-attr]
    assert (record.counterparties.mode, record.counterparties.pids) == (
        "listed",
        (home.pid(home.source),),
    )
    assert (record.assets.mode, record.assets.sha256) == ("listed", (DIGEST,))


# ------------------------------------------------------------------------------ somebody known


def test_a_second_consent_of_a_known_person_is_signed_with_the_same_key(
    at: Deployment, home: Any
) -> None:
    pid, files, keys = home.pid(home.source), key_files(home.path), data_keys(home.path)
    granted = grant(views("persona1", 0, 2), SCOPE, RENDERED, at=at, pid=pid)
    assert granted.warnings == (), "being near oneself is no reason to look"
    first, second = (at.consents.read(r).record for r in (home.source, granted.record_id))
    assert first.subject.pid == second.subject.pid
    assert first.subject.key == second.subject.key
    assert (key_files(home.path), data_keys(home.path)) == (files, keys)
    assert set(at.consents.records_of(pid)) == {home.source, granted.record_id}


def test_the_key_goes_with_the_last_consent_and_not_before(at: Deployment, home: Any) -> None:
    pid = home.pid(home.source)
    second = grant(views("persona1"), SCOPE, RENDERED, at=at, pid=pid).record_id
    path = subject_path(at.settings, pid)
    withdraw(home.source, at=at)
    assert path.exists(), "the other consent needs it"
    assert at.consents.read(second).state.status == "confirmed"
    withdraw(second, at=at)
    assert not path.exists()
    assert subject_path(at.settings, home.pid(home.target)).exists()


def test_a_consent_that_is_broken_keeps_the_key_for_the_day_it_is_restored(
    at: Deployment, home: Any
) -> None:
    pid = home.pid(home.source)
    second = grant(views("persona1"), SCOPE, RENDERED, at=at, pid=pid).record_id
    break_consent(home.path, home.source)
    assert withdraw(second, at=at).state.status == "withdrawn"
    assert subject_path(at.settings, pid).exists()


def test_another_face_is_not_enrolled_under_a_known_pseudonym(at: Deployment, home: Any) -> None:
    before = kept(at)
    with pytest.raises(OtherPerson, match="this pseudonym") as refused:
        grant(views("persona3"), SCOPE, RENDERED, at=at, pid=home.pid(home.source))
    assert refused.value.code == "OTHER-PERSON"
    assert kept(at) == before


@pytest.mark.parametrize(
    ("pid", "error"),
    [
        ("ps_" + "a" * 26, KeyFileRefused),
        ("persona1", Malformed),
        ("../../keys/controller", Malformed),
        ("ps_" + "A" * 26, Malformed),
    ],
)
def test_a_pseudonym_that_nobody_has_is_refused(
    at: Deployment, pid: str, error: type[Exception]
) -> None:
    before = kept(at)
    with pytest.raises(error):
        grant(Enrolment((b"never read",)), SCOPE, RENDERED, at=at, pid=pid)
    assert kept(at) == before


def test_a_face_near_somebody_enrolled_already_is_enrolled_with_a_warning(
    at: Deployment, home: Any
) -> None:
    granted = grant(views("persona1"), SCOPE, RENDERED, at=at)
    assert granted.warnings == ("the face looks like somebody who is enrolled already",)
    assert at.consents.read(granted.record_id).state.status == "confirmed"


def test_a_face_that_matches_two_people_is_refused(at: Deployment) -> None:
    """As a picture blended of both would; here one person is enrolled twice as two."""
    grant(views("persona1"), SCOPE, RENDERED, at=at)
    before = kept(at)
    with pytest.raises(MorphSuspected) as refused:
        grant(views("persona1", 0), SCOPE, RENDERED, at=at)
    assert refused.value.code == "MORPH-SUSPECTED"
    assert kept(at) == before
    told = f"{refused.value.message} {refused.value.mend}"
    assert "ps_" not in told, "whom it matches is nobody's to learn"
    assert "0." not in told, "how near neither"


# ------------------------------------------------------------------------------ withdrawing


def test_a_clock_that_is_behind_judges_no_consent_and_stops_no_withdrawal(home: Any) -> None:
    """Not broken: it cannot be told. Ending it harms nobody, whatever the time."""
    pid = home.pid(home.source)
    with open_records(home.settings, clock=lambda: system_clock() - 86_400) as at:
        with pytest.raises(ClockRollback):
            list_consents(at)
        assert withdraw(home.source, at=at).state.status == "withdrawn"
        assert not subject_path(at.settings, pid).exists()
    with open_records(home.settings) as at:
        assert at.consents.read(home.source).state.status == "withdrawn"
        assert at.consents.read(home.target).state.status == "confirmed"
        at.archive.log.check()


def test_withdrawing_ends_a_consent_once(at: Deployment, home: Any) -> None:
    pids = home.pid(home.source), home.pid(home.target)
    first = withdraw(home.source, at=at, reason="no reason needed")
    assert (first.state.status, first.released) == ("withdrawn", ())
    events = at.consents.history(home.source)
    assert (events[-1].kind, events[-1].reason) == ("withdrawn", "no reason needed")
    assert {block.by for block in events[-1].signatures} == {"subject"}
    assert [subject_path(at.settings, pid).exists() for pid in pids] == [False, True]
    assert withdraw(home.source, at=at) == first
    assert at.consents.history(home.source) == events


def test_withdrawing_needs_the_persons_key(at: Deployment, home: Any) -> None:
    subject_path(at.settings, home.pid(home.source)).unlink()
    with pytest.raises(KeyFileRefused, match="cannot read"):
        withdraw(home.source, at=at)
    assert at.consents.read(home.source).state.status == "confirmed"


def test_for_a_lost_key_the_controller_signs_and_says_why(at: Deployment, home: Any) -> None:
    subject_path(at.settings, home.pid(home.source)).unlink()
    with pytest.raises(ConsentBroken, match="reason"):
        withdraw(home.source, at=at, lost_key=True)
    assert at.consents.read(home.source).state.status == "confirmed"
    ended = withdraw(home.source, at=at, lost_key=True, reason="the phone was lost")
    assert ended.state.status == "withdrawn"
    event = at.consents.history(home.source)[-1]
    assert [block.by for block in event.signatures] == ["controller"]
    assert event.reason == "the phone was lost"


def test_another_persons_key_withdraws_nothing(at: Deployment, home: Any) -> None:
    own, other = (subject_path(at.settings, home.pid(r)) for r in (home.source, home.target))
    own.write_bytes(other.read_bytes())
    with pytest.raises(ConsentBroken, match="unknown key"):
        withdraw(home.source, at=at)
    assert at.consents.read(home.source).state.status == "confirmed"


def test_an_unknown_consent_cannot_be_withdrawn(at: Deployment) -> None:
    with pytest.raises(ConsentUnknown):
        withdraw("../../keys/controller", at=at)


def test_withdrawing_erases_the_template_and_an_old_release_says_so(released_home: Any) -> None:
    with open_deployment(released_home.settings) as at:
        consent = at.consents.read(released_home.source)
        assert at.consents.template(consent.record)
        [row] = withdraw(released_home.source, at=at).released
        with pytest.raises(ConsentBroken, match="template"):
            at.consents.template(consent.record)
        report = at.verifier.verify(released_home.released.read_bytes())
    assert (report.verdict, report.consent) == ("authentic", "withdrawn")
    assert row.manifest_id == report.manifest_id


def test_a_key_that_stays_is_told_and_removed_by_the_next_withdrawal(
    at: Deployment, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stay(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    path = subject_path(at.settings, home.pid(home.source))
    with monkeypatch.context() as stuck:
        stuck.setattr(Path, "unlink", stay)
        with pytest.raises(KeyFileRefused, match="withdrawn, but"):
            withdraw(home.source, at=at)
    assert at.consents.read(home.source).state.status == "withdrawn"
    assert withdraw(home.source, at=at).state.status == "withdrawn"
    assert not path.exists()
    forget_key(at.settings, home.pid(home.source))  # and a key that is gone is no error


# ------------------------------------------------------------------------------ listing, receipts


def break_consent(home: Path, record_id: str) -> None:
    """Cut the last event of a consent off."""
    connection = sqlite3.connect(home / "facewarrant.db")
    connection.execute("drop trigger consent_event_delete")
    connection.execute("delete from consent_event where seq = 1 and record_id = ?", (record_id,))
    connection.commit()
    connection.close()


def test_every_consent_is_listed_and_a_broken_one_with_what_is_wrong(
    at: Deployment, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_consent(home.path, home.source)
    listed = list_consents(at)
    [broken] = [consent for consent in listed if isinstance(consent, BrokenConsent)]
    assert (broken.record_id, bool(broken.reason), len(listed)) == (home.source, True, 2)

    def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(type(at.consents), "read", away)
    with pytest.raises(StoreUnavailable):
        list_consents(at)


def test_a_receipt_is_for_reading_and_for_machines(at: Deployment, home: Any) -> None:
    text = write_receipt(home.source, at=at, form="text")
    page = write_receipt(home.source, at=at, form="html")
    document = json.loads(write_receipt(home.source, at=at, form="json"))
    for shown in (text, page, json.dumps(document)):
        assert home.source in shown
        assert home.pid(home.source) in shown
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "State: In force." in text
    withdraw(home.source, at=at)
    assert write_receipt(home.source, at=at, form="text") != text
    with pytest.raises(ConsentUnknown):
        write_receipt("nobody's", at=at, form="text")
    break_consent(home.path, home.target)
    with pytest.raises(ConsentBroken):
        write_receipt(home.target, at=at, form="json")


def test_no_refusal_of_a_person_shows_a_key_or_a_template(at: Deployment, home: Any) -> None:
    path = subject_path(at.settings, home.pid(home.source))
    secret = path.read_text().splitlines()[1]
    template = at.consents.template(at.consents.read(home.source).record)
    shutil.copy(subject_path(at.settings, home.pid(home.target)), path)
    path.chmod(0o600)
    refusals = []
    for act in (
        lambda: withdraw(home.source, at=at),
        lambda: grant(views("persona3"), SCOPE, RENDERED, at=at, pid=home.pid(home.source)),
        lambda: grant(Enrolment((side_by_side(),)), SCOPE, RENDERED, at=at),
        lambda: grant(views("persona3"), replace(SCOPE, days=0), RENDERED, at=at),
    ):
        with pytest.raises(Error) as caught:
            act()
        refusals.append(caught.value.diagnostics() + caught.value.message + caught.value.mend)
    told = " ".join(refusals)
    assert secret not in told
    assert template.hex() not in told
    assert str(np.frombuffer(template[-512:], np.float32)[0]) not in told
    assert str(path) not in told
