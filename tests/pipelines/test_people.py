from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generator.errors import EnrolmentRefused, ManyFaces, NoFace
from pipelines.deployment import Deployment, open_deployment
from pipelines.keyfiles import KeyFileRefused
from pipelines.people import NOTICE, Scope, grant, withdraw
from policies.consent import ConsentBroken
from policies.consents import ConsentUnknown
from policies.digest import sha256_hex
from policies.errors import Malformed
from provenance.errors import Unsupported
from provenance.media import decode, encode

DEMO = Path(__file__).parents[2] / "docs" / "demo"
SCOPE = Scope(("bystander",), ("research", "personal"), ("DE", "US-IL"), rendered=True, adult=True)


@pytest.fixture
def at(home: Any) -> Iterator[Deployment]:
    with open_deployment(home.settings) as deployment:
        yield deployment


def views(person: str) -> list[bytes]:
    return [(DEMO / f"{person}_{view}.webp").read_bytes() for view in (1, 2)]


def test_a_grant_is_signed_confirmed_and_says_what_was_agreed(at: Deployment) -> None:
    scope = Scope(
        ("bystander",),
        ("research",),
        ("US-IL",),
        ("public",),
        days=3,
        max_uses=2,
        rendered=True,
        adult=True,
    )
    record = grant(views("persona3"), scope, at=at)
    consent = at.consents.read(record.record_id)
    assert consent.record == record
    assert consent.state.status == "confirmed"
    assert [event.kind for event in at.consents.history(record.record_id)] == ["given", "confirmed"]
    assert (record.roles, record.purposes, record.audiences) == (
        ("bystander",),
        ("research",),
        ("public",),
    )
    assert record.validity.expires - record.validity.not_before == 3 * 86_400
    assert record.max_uses == 2
    assert record.subject.age_assurance.method == "rendered"
    assert record.notice.sha256 == sha256_hex(NOTICE.encode())
    assert record.opted_in == (), "nobody opts in to a category from the command line"
    assert {block.by for block in record.signatures} == {"subject", "controller"}


def test_the_template_is_kept_sealed_and_opens_for_its_record(at: Deployment) -> None:
    record = grant(views("persona3"), SCOPE, at=at)
    template = at.consents.template(record)
    kept = b"".join(p.read_bytes() for p in at.settings.home.glob("facewarrant.db*"))
    assert len(template) >= 128 * 4
    assert template not in kept
    assert template[-64:] not in kept


def test_the_persons_key_is_theirs_alone(at: Deployment) -> None:
    records = [grant(views(person), SCOPE, at=at) for person in ("persona3", "persona4")]
    assert len({record.subject.key for record in records}) == 2
    assert len({record.subject.pid for record in records}) == 2
    for record in records:
        path = at.settings.home / "subjects" / f"{record.record_id}.pem"
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_real_person_is_not_said_to_be_rendered(at: Deployment) -> None:
    record = grant(
        views("persona3"), Scope(("bystander",), ("personal",), ("DE",), adult=True), at=at
    )
    assert record.subject.age_assurance.method == "self_declared"


def side_by_side() -> bytes:
    frames = [decode(view).frame for view in views("persona3")]
    height = min(frame.shape[0] for frame in frames)
    return encode(np.hstack([frame[:height] for frame in frames]), "image/webp")


def test_pictures_that_cannot_enrol_one_person_are_refused_and_keep_nothing(
    at: Deployment,
) -> None:
    before = at.consents.record_ids()
    size = len(at.archive.log.entries())
    blank = decode(views("persona3")[0]).frame.copy()
    blank[:] = 128
    cases = (
        ([*views("persona3"), *views("persona4")], EnrolmentRefused),
        ([side_by_side()], ManyFaces),
        ([encode(blank, "image/webp")], NoFace),
        ([b"words"], Unsupported),
        ([], NoFace),
    )
    for pictures, error in cases:
        with pytest.raises(error):
            grant(pictures, SCOPE, at=at)
    assert at.consents.record_ids() == before
    assert len(at.archive.log.entries()) == size


@pytest.mark.parametrize(
    "scope",
    [
        Scope(("king",), ("personal",), ("DE",), adult=True),
        Scope(("bystander",), ("fun",), ("DE",), adult=True),
        Scope(("bystander",), ("personal",), ("Germany",), adult=True),
        Scope(("bystander",), ("personal",), ("DE",), ("everyone",), adult=True),
        Scope(("bystander",), ("personal",), ("DE",), days=0, adult=True),
        Scope(("bystander",), ("personal",), ("DE",), days=40_000, adult=True),
        Scope(("bystander",), ("personal",), ("DE",), max_uses=0, adult=True),
        Scope((), ("personal",), ("DE",), adult=True),
    ],
)
def test_a_scope_that_is_none_keeps_nothing(at: Deployment, scope: Scope) -> None:
    subjects = sorted((at.settings.home / "subjects").iterdir())
    with pytest.raises(Malformed, match="not a consent record"):
        grant(views("persona3"), scope, at=at)
    assert sorted((at.settings.home / "subjects").iterdir()) == subjects


def test_withdrawing_ends_a_consent_once(at: Deployment, home: Any) -> None:
    first = withdraw(home.source, at=at, reason="no reason needed")
    assert first.status == "withdrawn"
    events = at.consents.history(home.source)
    assert (events[-1].kind, events[-1].reason) == ("withdrawn", "no reason needed")
    assert not (home.path / "subjects" / f"{home.source}.pem").exists()
    assert (home.path / "subjects" / f"{home.target}.pem").exists()
    assert withdraw(home.source, at=at) == first
    assert at.consents.history(home.source) == events


def test_withdrawing_needs_the_persons_key(at: Deployment, home: Any) -> None:
    (home.path / "subjects" / f"{home.source}.pem").unlink()
    with pytest.raises(KeyFileRefused, match="cannot read"):
        withdraw(home.source, at=at)
    assert at.consents.read(home.source).state.status == "confirmed"


def test_another_persons_key_withdraws_nothing(at: Deployment, home: Any) -> None:
    subjects = home.path / "subjects"
    (subjects / f"{home.source}.pem").write_bytes((subjects / f"{home.target}.pem").read_bytes())
    with pytest.raises(ConsentBroken, match="unknown key"):
        withdraw(home.source, at=at)
    assert at.consents.read(home.source).state.status == "confirmed"


def test_an_unknown_consent_cannot_be_withdrawn(at: Deployment) -> None:
    with pytest.raises(ConsentUnknown):
        withdraw("../../keys/controller", at=at)


def test_a_person_who_does_not_declare_to_be_adult_is_not_enrolled(at: Deployment) -> None:
    before = at.consents.record_ids()
    with pytest.raises(Malformed, match="18 or older") as refused:
        grant(views("persona3"), replace(SCOPE, adult=False), at=at)
    assert "--adult" in refused.value.mend
    assert at.consents.record_ids() == before
    assert "I am 18 or older" in NOTICE
    assert not Scope(("bystander",), ("personal",), ("DE",)).adult, "nobody is adult unasked"


def test_withdrawing_erases_the_template_and_an_old_release_says_so(released_home: Any) -> None:
    with open_deployment(released_home.settings) as at:
        consent = at.consents.read(released_home.source)
        assert at.consents.template(consent.record)
        withdraw(released_home.source, at=at)
        with pytest.raises(ConsentBroken, match="template"):
            at.consents.template(consent.record)
        report = at.verifier.verify(released_home.released.read_bytes())
    assert (report.verdict, report.consent) == ("authentic", "withdrawn")
    assert consent.record.retention == "template: until withdrawal or expiry; record: 3 years after"


def test_a_key_that_stays_is_told_and_removed_by_the_next_withdrawal(
    at: Deployment, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stay(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as stuck:
        stuck.setattr(Path, "unlink", stay)
        with pytest.raises(KeyFileRefused, match="withdrawn, but"):
            withdraw(home.source, at=at)
    assert withdraw(home.source, at=at).status == "withdrawn"
    assert not (home.path / "subjects" / f"{home.source}.pem").exists()
