"""What a person may ask for: everything kept about them, and that it is gone."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from generator.errors import NoFace, OtherPerson
from pipelines.demo import RENDERED
from pipelines.deployment import Deployment, Records, controller_key, open_deployment, open_records
from pipelines.enrol import Enrolment
from pipelines.keyfiles import KeyFileRefused
from pipelines.people import Scope, grant, subject_path, withdraw
from pipelines.subjects import erase_again, erase_subject, export_subject
from policies import erasure
from policies.consent import ConsentBroken
from policies.consents import ConsentUnknown
from policies.erasure_receipt import ErasureReceipt, verify_receipt
from policies.errors import Error
from policies.keyprovider import KeyGone
from policies.subjectkeys import KeyUnknown, SubjectKeys

DEMO = Path(__file__).parents[2] / "docs" / "demo"
NOBODY = "ps_" + "a" * 26


def check(receipt: Any, at: Records) -> ErasureReceipt:
    """Verify a receipt as whoever holds it would."""
    return verify_receipt(
        receipt,
        controllers=[controller_key(at.settings).public],
        origin=at.archive.log.origin,
        log_key=at.archive.log.public,
    )


def secrets_of(record_id: str, at: Records) -> dict[str, bytes]:
    """What must be nowhere after an erasure, by name."""
    record = at.consents.read(record_id).record
    template, found = at.consents.template(record), at.consents.keys.find(record.subject.pid)
    assert found.wrapped is not None
    assert found.salt is not None
    pem = subject_path(at.settings, record.subject.pid).read_bytes()
    return {
        "template": template,
        "a part of the template": template[-64:],
        "wrapped data key": found.wrapped,
        "salt": found.salt,
        "the salt, opened": at.consents.keys.salt(record.subject.pid),
        "the person's signing key": pem.splitlines()[1],
    }


def places(secrets: dict[str, bytes], home: Path) -> list[tuple[str, str]]:
    """Where in the home folder each of them stands, raw or in hex."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 10
    return [
        (name, path.name)
        for path in files
        for name, secret in secrets.items()
        if secret in (data := path.read_bytes()) or secret.hex().encode() in data
    ]


# ------------------------------------------------------------------------------ export


def test_an_export_holds_everything_of_one_person_and_nothing_of_another(
    released_home: Any,
) -> None:
    with open_deployment(released_home.settings) as at:
        pid, other = (released_home.pid(r) for r in (released_home.source, released_home.target))
        views = tuple((DEMO / f"persona1_{n}.webp").read_bytes() for n in (1, 2))
        scope = Scope(("bystander",), ("research",), ("FR",))
        second = grant(Enrolment(views), scope, RENDERED, at=at, pid=pid).record_id
        withdraw(second, at=at)
        document = export_subject(pid, at=at)
        theirs = at.consents.read(released_home.target).record
        template = at.consents.template(at.consents.read(released_home.source).record)
    assert (document["schema"], document["pid"]) == ("facewarrant/subject-export/1", pid)
    consents = {consent["record"]["record_id"]: consent for consent in document["consents"]}
    assert set(consents) == {released_home.source, second}
    assert consents[second]["status"] == "withdrawn"
    assert [event["kind"] for event in consents[second]["events"]] == [
        "given",
        "confirmed",
        "withdrawn",
    ]
    assert all(consent["receipt"] for consent in consents.values())
    [released] = document["releases"]
    assert released["consent"] == released_home.source
    kinds = [entry["kind"] for entry in document["log_entries"]]
    assert kinds.count("consent_event") == 5
    assert kinds.count("decision") == 1
    [warrant], [decision] = document["warrants"], document["decisions"]
    assert (warrant["state"], warrant["purpose"]) == ("released", "personal")
    assert warrant["decision_id"] == decision["decision_id"]
    assert decision["allow"] is True
    for named in (warrant, decision):
        [own] = named["people"]
        assert (own["record_id"], own["role"]) == (released_home.source, "source_identity")
    text = json.dumps(document)
    for foreign in (other, released_home.target, theirs.subject.key, theirs.signatures[0].sig):
        assert foreign not in text
    assert template.hex() not in text
    assert consents[released_home.source]["template_kept"] is True
    assert consents[second]["template_kept"] is False, "a withdrawal erased it"


def test_an_export_names_what_is_broken_and_leaves_the_others_commitments_out(
    released_home: Any,
) -> None:
    with open_records(released_home.settings) as at:
        pid = released_home.pid(released_home.source)
        own, other = (at.consents.commit(r) for r in (released_home.source, released_home.target))
        about_both = [
            e for e in at.archive.log.entries() if {own, other} <= {*e.get("subjects", ())}
        ]
        assert about_both, "the log has entries about both"
        text = json.dumps(document := export_subject(pid, at=at))
        assert (own in text, other in text) == (True, False)
        assert [e["subjects"] for e in document["log_entries"] if "subjects" in e] == [[own]] * len(
            about_both
        )
        drop_event(released_home.path, released_home.source)
        broken = export_subject(pid, at=at)
    [consent] = broken["consents"]
    assert set(consent) == {"record_id", "status", "why"}
    assert (consent["record_id"], consent["status"]) == (released_home.source, "broken")
    assert consent["why"]
    assert broken["releases"] == document["releases"], "what was released is still told"
    assert broken["log_entries"] == document["log_entries"]


def test_an_export_names_a_warrant_and_a_decision_that_are_broken(released_home: Any) -> None:
    mine = released_home.source
    connection = sqlite3.connect(released_home.path / "facewarrant.db")
    broken = f"no document, but it names {mine}".encode()
    connection.executescript("drop trigger warrant_update; drop trigger decision_update")
    connection.execute("update warrant set document = ?", (broken,))
    connection.execute("update decision set facts = ?", (broken,))
    connection.commit()
    connection.close()
    with open_records(released_home.settings) as at:
        document = export_subject(released_home.pid(mine), at=at)
    for kind, name in (("warrants", "warrant_id"), ("decisions", "decision_id")):
        [found] = document[kind]
        assert found[name]
        assert (found["status"], "people" in found) == ("broken", False)
        assert found["why"]


def test_an_export_says_when_no_template_is_left(at: Deployment, home: Any) -> None:
    pid = home.pid(home.source)
    [before] = export_subject(pid, at=at)["consents"]
    at.consents.keys.destroy(pid)
    [after] = export_subject(pid, at=at)["consents"]
    assert (before["template_kept"], after["template_kept"]) == (True, False)


def drop_event(home: Path, record_id: str) -> None:
    """Take an event away, as somebody with the database could: the chain no longer holds."""
    connection = sqlite3.connect(home / "facewarrant.db")
    connection.execute("drop trigger consent_event_delete")
    connection.execute("delete from consent_event where seq = 1 and record_id = ?", (record_id,))
    connection.commit()
    connection.close()


def test_nobody_can_be_exported(at: Deployment) -> None:
    for pid in (NOBODY, "", "' or 1=1"):
        with pytest.raises(ConsentUnknown) as refused:
            export_subject(pid, at=at)
        assert refused.value.mend


# ------------------------------------------------------------------------------ erasure


def test_an_erased_person_is_nowhere_and_the_receipt_proves_it(released_home: Any) -> None:
    pid, other = (released_home.pid(r) for r in (released_home.source, released_home.target))
    with open_records(released_home.settings) as at:
        secrets = secrets_of(released_home.source, at)
    before = {name for name, _ in places(secrets, released_home.path)}
    assert {"wrapped data key", "salt", "the person's signing key"} <= before, "the search finds"
    with open_records(released_home.settings) as at:
        receipt = erase_subject(pid, at=at)
        found = check(receipt, at)
        assert found.method == "crypto-shred"
        assert (found.checks.decrypt_fails, found.checks.copies_found) == (True, 0)
        assert found.checks.files_searched >= 2
        [released] = found.derivatives
        [row] = at.archive.registry.by_consent(released_home.source)
        assert (released.output, released.state) == (row.manifest_id, "released")
        assert pid not in json.dumps(receipt), "it names nobody"
        assert at.consents.read(released_home.source).state.status == "withdrawn"
        with pytest.raises(KeyGone):
            at.consents.keys.salt(pid)
        report = at.verifier.verify(released_home.released.read_bytes())
        assert (report.verdict, report.consent) == ("authentic", "withdrawn")
        assert at.archive.log.entries()[-1]["kind"] == "erasure"
        at.archive.log.check()
    assert places(secrets, released_home.path) == []
    with open_records(released_home.settings) as at:
        left = at.consents.read(released_home.target)
        assert left.state.status == "confirmed"
        assert at.consents.template(left.record), "nobody else is erased"
        assert subject_path(at.settings, other).exists()


def test_a_second_erasure_gives_the_same_receipt(at: Deployment, home: Any) -> None:
    pid = home.pid(home.source)
    first = erase_subject(pid, at=at)
    entries = len(at.archive.log.entries())
    assert erase_subject(pid, at=at) == first
    assert len(at.archive.log.entries()) == entries
    withdraw(home.target, at=at)
    again = dict(erase_subject(pid, at=at))
    check(again, at)
    assert {k: v for k, v in again.items() if k != "log"} == {
        k: v for k, v in first.items() if k != "log"
    }, "only the proof is of the longer log"


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (SubjectKeys, "destroy"),
        (erasure.Eraser, "_prove"),
        (erasure.Eraser, "_write_receipt"),
    ],
)
def test_an_interrupted_erasure_goes_on(
    at: Deployment, home: Any, monkeypatch: pytest.MonkeyPatch, where: type, name: str
) -> None:
    class Cut(Exception):
        pass

    def cut(*_: object, **__: object) -> None:
        raise Cut

    pid, path = home.pid(home.source), subject_path(at.settings, home.pid(home.source))
    with monkeypatch.context() as broken:
        broken.setattr(where, name, cut)
        with pytest.raises(Cut):
            erase_subject(pid, at=at)
    assert at.archive.log.entries()[-1]["kind"] != "erasure"
    assert at.consents.read(home.source).state.status == "withdrawn", "nothing runs meanwhile"
    check(erase_subject(pid, at=at), at)
    assert not path.exists()
    kinds = [entry["kind"] for entry in at.archive.log.entries()]
    assert kinds.count("erasure") == 1


def test_an_erasure_needs_no_key_of_the_person(at: Deployment, home: Any) -> None:
    pid = home.pid(home.source)
    subject_path(at.settings, pid).unlink()
    check(erase_subject(pid, at=at), at)
    assert at.consents.history(home.source)[-1].signatures[0].by == "controller"


def test_nobody_can_be_erased(at: Deployment) -> None:
    for pid in (NOBODY, "", "../x"):
        with pytest.raises(KeyUnknown) as refused:
            erase_subject(pid, at=at)
        assert refused.value.code == "KEY-UNKNOWN"


def test_who_was_erased_is_never_enrolled_under_that_pseudonym_again(
    at: Deployment, home: Any
) -> None:
    pid = home.pid(home.source)
    key = subject_path(at.settings, pid).read_bytes()
    erase_subject(pid, at=at)
    views = Enrolment(tuple((DEMO / f"persona1_{n}.webp").read_bytes() for n in (1, 2)))
    scope = Scope(("bystander",), ("personal",), ("DE",))
    with pytest.raises(KeyFileRefused):
        grant(views, scope, RENDERED, at=at, pid=pid)
    subject_path(at.settings, pid).write_bytes(key)  # kept by the person, or by a backup
    subject_path(at.settings, pid).chmod(0o600)
    with pytest.raises(OtherPerson):  # no face is left that it could be
        grant(views, scope, RENDERED, at=at, pid=pid)
    with pytest.raises(KeyGone):
        at.consents.keys.seal(b"a template", pid=pid, bound={})
    with pytest.raises(NoFace):
        grant(Enrolment(()), scope, RENDERED, at=at, pid=pid)


def test_a_key_that_a_backup_brings_back_is_destroyed_again(home: Any, tmp_path: Path) -> None:
    pid, keys = home.pid(home.source), home.path / "people-keys" / "people.db"
    shutil.copy2(keys, tmp_path / "backup.db")
    with open_records(home.settings) as at:
        erase_subject(pid, at=at)
        assert erase_again(at) == 0
    shutil.copy2(tmp_path / "backup.db", keys)
    with open_records(home.settings) as at:
        assert at.consents.keys.salt(pid)
        assert erase_again(at) == 1
        assert erase_again(at) == 0
        with pytest.raises(KeyGone):
            at.consents.keys.salt(pid)


def test_no_refusal_shows_what_it_protects(at: Deployment, home: Any) -> None:
    secrets, pid = secrets_of(home.source, at), home.pid(home.source)
    record = at.consents.read(home.source).record
    erase_subject(pid, at=at)
    told = []
    for act in (
        lambda: at.consents.template(record),
        lambda: at.consents.keys.salt(pid),
        lambda: export_subject(NOBODY, at=at),
        lambda: erase_subject(NOBODY, at=at),
        lambda: withdraw(home.source, at=at, reason="\x00"),
    ):
        try:
            act()
        except (Error, ConsentBroken) as error:
            told.append(f"{error.message} {error.mend} {error.diagnostics()}")
    assert len(told) >= 4
    for secret in secrets.values():
        assert secret.hex() not in " ".join(told)
        assert repr(secret)[2:-1] not in " ".join(told)
    assert str(home.path) not in " ".join(told)
