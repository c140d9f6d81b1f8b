"""The notice of withdrawal: what may be signed after a warrant has ended, and nothing else."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import provenance.notice
from policies.keys import SigningKey
from policies.warrant import WarrantInvalid
from provenance.c2pa import read_manifest, sign_update
from provenance.errors import CertificateRefused, SigningFailed
from provenance.notice import NoticeRefused, WithdrawalNotice, give_notice, require_notice
from provenance.registry import ReleaseRow
from provenance.release import release
from provenance.signers import ClaimSigner, LocalSigner
from tests.conftest import machine_now

COSE = b"\x84\x6aSignature1" + bytes(64)


class Case:
    """A release whose first consent was withdrawn."""

    def __init__(self, studio: Any) -> None:
        draft = studio.draft(mime="image/png")
        self.studio, self.desk = studio, studio.office.desk
        self.released = release(draft, press=studio.press)
        self.people = [person.record_id for person in draft.warrant.document.people]
        self.named = [studio.office.book.commit(record_id) for record_id in self.people]
        studio.office.withdraw(self.people[0])
        row = studio.registry.by_manifest(self.released.manifest_id)
        assert row is not None
        self.row: ReleaseRow = row

    def give(self, **changes: Any) -> WithdrawalNotice:
        return give_notice(replace(self.row, **changes), self.named, desk=self.desk)

    def sign(self, notice: Any, data: bytes | None = None, signer: Any = None) -> Any:
        press = self.studio.press
        return sign_update(
            self.released.data if data is None else data,
            notice=notice,
            signer=signer or press.signer,
            stamper=press.stamper,
            anchors=press.anchors,
        )


@pytest.fixture
def case(studio: Any) -> Case:
    return Case(studio)


# ------------------------------------------------------------------------------ who gets one


def test_it_names_what_ended_and_where_the_log_says_so(case: Case) -> None:
    notice = case.give()
    [ended] = notice.ended
    assert ended.commitment == case.named[0]
    entry = case.studio.office.log.entries()[ended.log_index]
    assert (entry["event"], entry["at"]) == ("withdrawn", ended.at)
    assert notice.log_origin == case.studio.office.log.origin
    notice.require()
    case.studio.office.withdraw(case.people[1])
    assert [one.commitment for one in case.give().ended] == sorted(case.named)


def test_a_consent_that_holds_or_is_unknown_gives_none(studio: Any, case: Case) -> None:
    for commitments in ((), (case.named[1],), ("0" * 64,)):
        with pytest.raises(NoticeRefused, match="no consent behind this output has ended"):
            give_notice(case.row, commitments, desk=case.desk)


@pytest.mark.parametrize(
    "changes",
    [
        {"log_index": 0},
        {"log_index": 10_000},
        {"manifest_id": "urn:c2pa:other"},
        {"output_sha256": "0" * 64},
        {"warrant_id": "01900000-0000-4000-8000-00000000000a"},
    ],
)
def test_the_log_must_hold_the_release_that_the_register_names(
    case: Case, changes: dict[str, Any]
) -> None:
    with pytest.raises(NoticeRefused, match="the log does not hold the release"):
        case.give(**changes)


def rewrite(case: Case, sql: str, *values: object) -> None:
    """Change a row that nobody may change."""
    with case.studio.office.database.transaction() as connection:
        names = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'")
        for name in list(names.scalars()):
            connection.exec_driver_sql(f"drop trigger {name}")
        connection.exec_driver_sql("pragma defer_foreign_keys = on")
        connection.exec_driver_sql(sql, values)


def test_without_its_warrant_there_is_no_notice(case: Case) -> None:
    rewrite(case, "delete from reservation")
    rewrite(case, "delete from warrant")
    with pytest.raises(NoticeRefused, match="warrant behind this output is not there"):
        case.give()


def test_a_warrant_of_another_desk_or_output_counts_for_nothing(case: Case) -> None:
    other = replace(case.desk, key=SigningKey.generate())
    with pytest.raises(WarrantInvalid, match="not signed by the desk"):
        give_notice(case.row, case.named, desk=other)
    foreign = release(case.studio.draft(), press=case.studio.press)
    found = case.studio.registry.by_manifest(foreign.manifest_id)
    assert found is not None
    rewrite(
        case,
        "update warrant set document = (select document from warrant where warrant_id = ?)"
        " where warrant_id = ?",
        found.warrant_id,
        case.row.warrant_id,
    )
    with pytest.raises(NoticeRefused, match="another warrant"):
        case.give()


def test_a_log_entry_about_somebody_else_ends_nothing(case: Case) -> None:
    """The column that says whom an entry is about is only an index."""
    rewrite(
        case,
        "update log_entry set about = ? where about = ?",
        case.named[1],
        case.named[0],
    )
    with pytest.raises(NoticeRefused, match="no consent behind this output has ended"):
        give_notice(case.row, [case.named[1]], desk=case.desk)


# ------------------------------------------------------------------------------ what it is


def test_it_is_given_and_never_made(case: Case) -> None:
    given = case.give()
    with pytest.raises(NoticeRefused, match="not constructed"):
        WithdrawalNotice(object(), case.row, given.warrant, given.ended, case.desk)
    for change in (
        lambda: setattr(given, "row", case.row),
        lambda: delattr(given, "row"),
        lambda: pickle.dumps(given),
        lambda: copy.copy(given),
        lambda: copy.deepcopy(given),
    ):
        with pytest.raises(NoticeRefused):
            change()


class Louder(WithdrawalNotice):
    """A subclass that finds everything in order."""

    __slots__ = ()

    def require(self) -> None:
        """Return."""


def impostors(given: WithdrawalNotice) -> list[Any]:
    louder = object.__new__(Louder)
    for name in WithdrawalNotice.__slots__:
        object.__setattr__(louder, name, getattr(given, name))
    shell = object.__new__(WithdrawalNotice)
    stand_in = SimpleNamespace(row=given.row, ended=given.ended, require=lambda: None)
    return [None, given.row, stand_in, louder, shell]


def test_nothing_else_is_signed_as_an_update(case: Case) -> None:
    given = case.give()
    assert require_notice(given) is given
    warrant = case.studio.warrant(
        case.studio.picture("persona1_0"), case.studio.picture("persona2_0")
    )
    for impostor in (*impostors(given), warrant):
        with pytest.raises(NoticeRefused, match="needs a notice"):
            case.sign(impostor)
        with pytest.raises(NoticeRefused, match="needs a notice"):
            case.studio.press.signer.sign_update(COSE, notice=impostor)


def test_what_it_rests_on_is_looked_at_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    given = case.give()
    case.studio.office.withdraw(case.people[1])
    given.require()  # more may end; what it says stays true
    monkeypatch.setattr(provenance.notice, "_ended", lambda *_: None)
    for call in (given.require, lambda: case.sign(given)):
        with pytest.raises(NoticeRefused, match="has ended"):
            call()
    moved = replace(given.ended[0], at=given.ended[0].at + 1)
    monkeypatch.setattr(provenance.notice, "_ended", lambda *_: moved)
    with pytest.raises(NoticeRefused, match="has changed"):
        case.studio.press.signer.sign_update(COSE, notice=given)


# ------------------------------------------------------------------------------ what it signs


def test_another_file_is_never_signed(case: Case) -> None:
    other = release(case.studio.draft(mime="image/png"), press=case.studio.press)
    bare = case.studio.picture("persona1_0", "image/png").content
    for data in (other.data, bare, case.released.data + b"x"):
        with pytest.raises(NoticeRefused, match="not about this file"):
            case.sign(case.give(), data)


def test_a_consent_the_file_does_not_name_is_never_said(case: Case) -> None:
    stranger = case.studio.office.enrol()
    case.studio.office.withdraw(stranger)
    named = [*case.named, case.studio.office.book.commit(stranger)]
    with pytest.raises(NoticeRefused, match="not about this file and its consents"):
        case.sign(give_notice(case.row, named, desk=case.desk))


def test_one_notice_is_one_signature(case: Case) -> None:
    given = case.give()
    reading = read_manifest(case.sign(given).data, "image/png", anchors=case.studio.pki.anchors)
    assert reading.verdict == "trusted"
    for call in (
        lambda: case.sign(given),
        lambda: case.studio.press.signer.sign_update(COSE, notice=given),
    ):
        with pytest.raises(NoticeRefused, match="signed already"):
            call()


def test_the_key_signs_nothing_but_a_claim_for_its_own_desk(case: Case) -> None:
    signer = case.studio.press.signer
    with pytest.raises(SigningFailed, match="no COSE signature structure"):
        signer.sign_update(b"anything", notice=case.give())
    pki = case.studio.pki
    fields = {"key": pki.leaf_key, "chain": pki.chain, "clock": machine_now}
    other = LocalSigner(**fields, issuer=SigningKey.generate().public)
    with pytest.raises(WarrantInvalid, match="not signed by the desk"):
        case.sign(case.give(), signer=other)


def test_an_unfit_chain_signs_no_update(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_signer: object) -> None:
        raise CertificateRefused("the chain has ended")

    monkeypatch.setattr(ClaimSigner, "check", ended)
    given = case.give()
    with pytest.raises(CertificateRefused):
        case.sign(given)
    with pytest.raises(CertificateRefused):
        case.studio.press.signer.sign_update(COSE, notice=given)
    monkeypatch.undo()
    assert case.sign(given).stamped  # it was not spent


def test_a_signer_that_knows_warrants_alone_refuses(case: Case) -> None:
    class ByWarrant(ClaimSigner):
        __slots__ = ()

        def _use_key(self, claim: bytes, warrant: Any) -> bytes:
            raise AssertionError("no warrant is active")

    pki = case.studio.pki
    signer = ByWarrant(
        public=pki.leaf_key.public_key(),
        chain=pki.chain,
        issuer=case.desk.key.public,
        clock=machine_now,
    )
    with pytest.raises(SigningFailed, match="under a warrant alone") as caught:
        case.sign(case.give(), signer=signer)
    assert "where the key itself is" in caught.value.mend
