"""The capability to say 'consent withdrawn' on one output that was released, and nothing else.

A warrant ends with its release; what is signed afterwards needs a reason of its own. It exists only
where register and log agree on a release of this very file, the desk's own warrant stands behind
it, and a consent named in it has ended in the book and in the log. Refused: everything else, a
consent that still holds first of all, and a second use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

import sqlalchemy as sa

from policies.audit import verify_entry
from policies.consent import FINAL
from policies.errors import Error
from policies.tables import WARRANT
from policies.warrant import Warrant, read_warrant, verify_issuer
from policies.warrants import WarrantDesk
from provenance.registry import ReleaseRow
from provenance.standing import consent_today, is_logged

_GRANT = object()
# Only this module can name it, so only `give_notice` can make a WithdrawalNotice.


class NoticeRefused(Error):
    """Nothing may be said on this output: it is no release of ours, or its consents hold."""

    code = "NOTICE-REFUSED"


@dataclass(frozen=True, slots=True)
class Ended:
    """A consent that ended: its commitment, when (unix seconds), and which log entry says so."""

    commitment: str
    at: int
    log_index: int


class WithdrawalNotice:
    """Permission for one update manifest on one released file; `give_notice` alone makes it."""

    __slots__ = ("_desk", "_once", "ended", "row", "warrant")
    row: ReleaseRow
    warrant: Warrant
    ended: tuple[Ended, ...]
    _desk: WarrantDesk
    _once: Lock

    def __init__(
        self,
        grant: object,
        row: ReleaseRow,
        warrant: Warrant,
        ended: tuple[Ended, ...],
        desk: WarrantDesk,
    ) -> None:
        if grant is not _GRANT:
            raise NoticeRefused("a notice is given for a consent that ended, not constructed")
        for name, value in (("row", row), ("warrant", warrant), ("ended", ended), ("_desk", desk)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_once", Lock())

    @property
    def log_origin(self) -> str:
        """The log that `ended` points into."""
        return self._desk.log.origin

    def require(self) -> None:
        """Return if everything it rests on still is so; raise NoticeRefused."""
        if _judge(self.row, [one.commitment for one in self.ended], self._desk) != (
            self.warrant,
            self.ended,
        ):
            raise NoticeRefused("what the notice rests on has changed")

    def spend(self) -> None:
        """Use it up; raise NoticeRefused the second time."""
        if not self._once.acquire(blocking=False):
            raise NoticeRefused("this notice was signed already", mend="ask for a new one")

    def __setattr__(self, name: str, value: object) -> None:
        raise NoticeRefused("a notice cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise NoticeRefused("a notice cannot be changed")

    def __reduce__(self) -> str:
        raise NoticeRefused("a notice cannot leave its process")


def give_notice(
    row: ReleaseRow, commitments: Iterable[str], *, desk: WarrantDesk
) -> WithdrawalNotice:
    """Return the permission to say on a release which of its consents ended.

    `commitments`: those that its manifest names; the signer's side holds them against the file. A
    consent that holds is left out. Raises NoticeRefused where none ended or the release is not
    proved, WarrantInvalid for a warrant of another desk, LogTampered and ProofInvalid.
    """
    warrant, ended = _judge(row, sorted(set(commitments)), desk)
    return WithdrawalNotice(_GRANT, row, warrant, ended, desk)


def require_notice(value: object) -> WithdrawalNotice:
    """Return `value` if it is a WithdrawalNotice; raise NoticeRefused for anything else."""
    whole = all(hasattr(value, name) for name in WithdrawalNotice.__slots__)
    if type(value) is not WithdrawalNotice or not whole:
        raise NoticeRefused("this needs a notice that a consent has ended")
    return value


def _judge(
    row: ReleaseRow, commitments: Iterable[str], desk: WarrantDesk
) -> tuple[Warrant, tuple[Ended, ...]]:
    _require_release(row, desk)
    warrant = _find_warrant(row.warrant_id, desk)
    found = [_ended(commitment, desk) for commitment in commitments]
    ended = tuple(one for one in found if one is not None)
    if not ended:
        raise NoticeRefused(
            "no consent behind this output has ended, by the book and by the log",
            mend="withdraw the consent first: a notice only repeats what the log says",
        )
    return warrant, ended


def _require_release(row: ReleaseRow, desk: WarrantDesk) -> None:
    """Raise unless the log proves that these bytes were released under this manifest."""
    log = desk.log
    if is_logged(log, row.log_index, row.manifest_id, key=log.public):
        entry = log.prove(row.log_index).entry
        output = desk.consents.commitment.commit("output", row.output_sha256)
        if (entry.get("warrant"), entry.get("output")) == (row.warrant_id, output):
            return
    raise NoticeRefused("the log does not hold the release that the register names")


def _find_warrant(warrant_id: str, desk: WarrantDesk) -> Warrant:
    with desk.database.transaction() as connection:
        document = connection.scalar(
            sa.select(WARRANT.c.document).where(WARRANT.c.warrant_id == warrant_id)
        )
    if document is None:
        raise NoticeRefused("the warrant behind this output is not there")
    warrant = read_warrant(document)
    verify_issuer(warrant, key=desk.key.public)
    if warrant.warrant_id != warrant_id:
        raise NoticeRefused("another warrant is kept under this output's id")
    return warrant


def _ended(commitment: str, desk: WarrantDesk) -> Ended | None:
    """Return how a consent ended; None unless book and log both say so, and the log proves it."""
    newest = desk.log.latest(1, kind="consent_event", about=commitment)
    if not newest:
        return None
    proof = desk.log.prove(newest[0][0])
    verify_entry(proof, origin=desk.log.origin, key=desk.log.public)
    entry = proof.entry
    today = consent_today(desk.consents, {"commitment": commitment, "role": ""}).consent
    over = today in ("withdrawn", "ended") and entry.get("event") in FINAL
    if not over or entry.get("subject") != commitment:
        return None
    return Ended(commitment, int(entry["at"]), proof.index)
