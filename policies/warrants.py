"""The warrant: a signed, scoped, expiring permission for one swap, used once.

`WarrantDesk.admit` is the only way to one: it decides, logs the decision, reserves a use of every
consent and signs. `WarrantDesk.start` turns a warrant into an `ActiveWarrant`, the capability that
every door (generator, watermark, signer, release) demands and re-checks. States move once:
issued -> started -> released | aborted. Refused: a warrant that is forged, expired, spent, for
other inputs, or whose people's consents have changed since.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from policies.audit import AuditLog, Receipt
from policies.consents import ConsentBook
from policies.database import Database
from policies.decide import Decision, Refused, decide
from policies.facts import Measured, assume_best
from policies.gather import gather_facts
from policies.holding import require_consent, require_decision, require_uses
from policies.house import House
from policies.issue import (
    LogPlace,
    describe_decision,
    give_back,
    keep_decision,
    keep_warrant,
    sign_warrant,
)
from policies.keys import SigningKey
from policies.request import Request
from policies.tables import WARRANT
from policies.terms import Medium
from policies.warrant import (
    State,
    Warrant,
    WarrantInvalid,
    read_warrant,
    verify_issuer,
    verify_warrant,
)

_GRANT = object()
# Only this module can name it, so only WarrantDesk.start can make an ActiveWarrant.


class ActiveWarrant:
    """A started warrant: what a door demands, and asks again at every step.

    It cannot be constructed, copied into another process or pickled; `WarrantDesk.start` makes it.
    """

    __slots__ = ("_desk", "document")
    document: Warrant
    _desk: WarrantDesk

    def __init__(self, grant: object, document: Warrant, desk: WarrantDesk) -> None:
        if grant is not _GRANT:
            raise WarrantInvalid(
                "a warrant is started at the warrant desk, not constructed", code="WARRANT-REQUIRED"
            )
        object.__setattr__(self, "document", document)
        object.__setattr__(self, "_desk", desk)

    @property
    def consents(self) -> ConsentBook:
        """The book of the consents it names, for asking again who is shown."""
        return self._desk.consents

    def require(
        self,
        *,
        source_sha256: str | None = None,
        target_sha256: str | None = None,
        medium: Medium | None = None,
    ) -> None:
        """Return if the warrant holds now, for what is given of it; else raise WarrantInvalid.

        Checks signature, window, policy, state `started`, every consent's newest step, and digests.
        """
        self._desk.check(self.document, state="started")
        for name, given, named in (
            ("source", source_sha256, self.document.source_sha256),
            ("target", target_sha256, self.document.target_sha256),
        ):
            if given is not None and given != named:
                raise WarrantInvalid(
                    f"the warrant names another {name} picture", code="WARRANT-OTHER-INPUT"
                )
        if medium not in (None, self.document.medium):
            raise WarrantInvalid(
                f"the warrant is for one {self.document.medium}, not for this {medium}",
                code="WARRANT-OTHER-MEDIUM",
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise WarrantInvalid("an active warrant cannot be changed", code="WARRANT-REQUIRED")

    def __delattr__(self, name: str) -> None:
        raise WarrantInvalid("an active warrant cannot be changed", code="WARRANT-REQUIRED")

    def __reduce__(self) -> str:
        raise WarrantInvalid("an active warrant cannot leave its process", code="WARRANT-REQUIRED")


def require_active(value: object) -> ActiveWarrant:
    """Return `value` if it is an ActiveWarrant; raise WarrantInvalid for anything else.

    A shell made without the constructor counts as nothing, also with a desk that only looks like
    one.
    """
    whole = hasattr(value, "document") and type(getattr(value, "_desk", None)) is WarrantDesk
    if type(value) is not ActiveWarrant or not whole:
        raise WarrantInvalid(
            "this needs an active warrant",
            code="WARRANT-REQUIRED",
            mend="hand in the request at the warrant desk and start the warrant it issues",
        )
    return value


@dataclass(frozen=True, slots=True)
class WarrantDesk:
    """Decides, issues, starts and ends warrants over one database."""

    database: Database
    log: AuditLog
    consents: ConsentBook
    key: SigningKey
    house: House
    clock: Callable[[], int]
    new_id: Callable[[], str] = lambda: str(uuid.uuid4())

    def admit(self, request: Request, measured: Measured) -> Warrant:
        """Decide on a request, log the decision, and issue its warrant.

        One transaction: facts, decision, log entry, one use of every consent, warrant.
        Raises Refused with every reason (the refusal is logged too), StoreUnavailable, and
        ClockRollback when not even a refusal can be dated.
        """
        with self.database.transaction() as connection:
            decision, facts = self._evaluate(request, measured, connection)
            receipt = self._log(request, decision, connection)
            if decision.allow:
                keep_decision(decision, facts, within=connection)
                return self._issue(request, measured, decision, receipt, connection)
        raise Refused(decision)

    def precheck(
        self, request: Request, *, identity_model_sha256: str, released_under: str = ""
    ) -> None:
        """Refuse what no picture could save, before a single byte of it is decoded.

        Decides with measurements at their best; passing promises nothing. A use that the warrant
        `released_under` took does not count. Raises Refused (logged).
        """
        best = assume_best(request, identity_model_sha256=identity_model_sha256)
        with self.database.transaction() as connection:
            decision, _ = self._evaluate(request, best, connection, released_under=released_under)
            if not decision.allow:
                self._log(request, decision, connection)
        if not decision.allow:
            raise Refused(decision)

    def start(self, warrant: Warrant) -> ActiveWarrant:
        """Spend an issued warrant and return the capability; raise WarrantInvalid if it is not."""
        with self.database.transaction() as connection:
            self.check(warrant, state="issued", within=connection)
            self._move(warrant.warrant_id, "issued", "started", within=connection)
        return ActiveWarrant(_GRANT, warrant, self)

    def resume(self, warrant: Warrant) -> ActiveWarrant:
        """Return the capability of a started warrant for a video again: its process was killed.

        What it is used for still ends once, at `finish`. Raises WarrantInvalid when the warrant no
        longer holds, and for a picture, which is quickly made anew under a new warrant.
        """
        self.check(warrant, state="started")
        active = ActiveWarrant(_GRANT, warrant, self)
        active.require(medium="video")
        return active

    def finish(
        self,
        warrant: ActiveWarrant,
        release: Mapping[str, Any],
        *,
        record: Callable[[sa.Connection, Receipt], None],
    ) -> Receipt:
        """Log the release, `record` it and close the warrant, after a last check.

        One transaction: all of it or nothing. Raises WarrantInvalid when the warrant no longer
        holds: nothing has been released then.
        """
        document = require_active(warrant).document
        with self.database.transaction() as connection:
            self.check(document, state="started", within=connection)
            require_uses(document, self.consents, now=self.clock(), within=connection)
            self._move(document.warrant_id, "started", "released", within=connection)
            content = {**release, "warrant": document.warrant_id}
            receipt = self.log.append("release", content, within=connection)
            record(connection, receipt)
            return receipt

    def abort(self, warrant: Warrant, reason: str) -> None:
        """Close an issued or started warrant without a release and give its uses back.

        Idempotent: a warrant that already ended stays as it is.
        """
        with self.database.transaction() as connection:
            state = self._state(warrant.warrant_id, connection)
            if state in ("issued", "started"):
                self._abort(warrant.warrant_id, state, reason, connection)

    def sweep(self) -> list[str]:
        """End every warrant that expired without an end, give its uses back; return their ids."""
        now = self.clock()
        with self.database.transaction() as connection:
            self.log.refuse_rollback(now, within=connection)
            rows = connection.execute(
                sa.select(WARRANT.c.warrant_id, WARRANT.c.state)
                .where(WARRANT.c.state.in_(("issued", "started")), WARRANT.c.expires_at <= now)
                .order_by(WARRANT.c.warrant_id)
            ).all()
            for row in rows:
                self._abort(row.warrant_id, row.state, "expired", connection)
            return [row.warrant_id for row in rows]

    def _abort(self, warrant_id: str, state: State, reason: str, connection: sa.Connection) -> None:
        self._move(warrant_id, state, "aborted", within=connection)
        give_back(warrant_id, within=connection)
        # A file name that is not text must not keep a warrant from being closed.
        told = reason[:200].encode(errors="backslashreplace").decode()
        self.log.append("abort", {"warrant": warrant_id, "reason": told}, within=connection)

    def recheck(
        self, warrant_id: str, request: Request, *, identity_model_sha256: str
    ) -> Mapping[str, Any]:
        """Return the log's entry of a release that may be handed out again.

        It must be the same request, released, and allowed now as `precheck` decides, its own use
        apart. Raises WarrantInvalid (REQUEST-ID-REUSED, WARRANT-UNKNOWN, WARRANT-FORGED,
        WARRANT-SPENT) and Refused.
        """
        with self.database.transaction() as connection:
            document = connection.scalar(
                sa.select(WARRANT.c.document).where(WARRANT.c.warrant_id == warrant_id)
            )
            entry = self.log.newest(warrant_id, within=connection)
        if document is None:
            raise WarrantInvalid("the desk never issued this warrant", code="WARRANT-UNKNOWN")
        warrant = read_warrant(document)
        verify_issuer(warrant, key=self.key.public)
        if warrant.warrant_id != warrant_id or warrant.request_sha256 != request.sha256:
            raise WarrantInvalid(
                "another request was released under this id",
                code="REQUEST-ID-REUSED",
                mend="give every request an id of its own",
            )
        if entry is None or entry["kind"] != "release":
            raise WarrantInvalid("the log has no release under it", code="WARRANT-SPENT")
        self.precheck(
            request, identity_model_sha256=identity_model_sha256, released_under=warrant_id
        )
        return entry

    def abandoned(self, request_id: str) -> list[Warrant]:
        """Return the warrants of a request that never ended: their process was killed."""
        with self.database.transaction() as connection:
            rows = connection.execute(
                sa.select(WARRANT.c.document).where(
                    WARRANT.c.request_id == request_id,
                    WARRANT.c.state.in_(("issued", "started")),
                )
            ).scalars()
            return [read_warrant(row) for row in rows]

    def running(self) -> list[Warrant]:
        """Return every started warrant that has not ended; whether one still holds is `check`'s."""
        with self.database.transaction() as connection:
            rows = connection.execute(
                sa.select(WARRANT.c.document)
                .where(WARRANT.c.state == "started")
                .order_by(WARRANT.c.warrant_id)
            ).scalars()
            return [read_warrant(row) for row in rows]

    def state(self, warrant_id: str) -> State:
        """Return where a warrant stands; raise WarrantInvalid for an unknown one."""
        with self.database.transaction() as connection:
            return self._state(warrant_id, connection)

    def check(self, warrant: Warrant, *, state: State, within: sa.Connection | None = None) -> None:
        """Return if the warrant is ours, in `state`, in time, and its consents are unchanged.

        Raises WarrantInvalid with a code for the first condition that fails, and ClockRollback.
        """
        if within is None:
            with self.database.transaction() as connection:
                return self.check(warrant, state=state, within=connection)
        now = self.clock()
        self.log.refuse_rollback(now, within=within)
        verify_warrant(warrant, key=self.key.public, policy_sha256=self.house.sha256, now=now)
        if (found := self._state(warrant.warrant_id, within)) != state:
            raise WarrantInvalid(f"the warrant is {found}, not {state}", code="WARRANT-SPENT")
        # The state column is not signed; the log also knows which warrants have ended.
        if self.log.newest(warrant.warrant_id, within=within) is not None:
            raise WarrantInvalid("the log says the warrant has ended", code="WARRANT-SPENT")
        require_decision(warrant, self.log, within)
        for person in warrant.people:
            require_consent(person, self.consents, within)
        return None

    def _evaluate(
        self,
        request: Request,
        measured: Measured,
        connection: sa.Connection,
        *,
        released_under: str = "",
    ) -> tuple[Decision, Mapping[str, Any]]:
        now = self.clock()
        facts = gather_facts(
            request,
            measured,
            book=self.consents,
            house=self.house,
            now=now,
            within=connection,
            released_under=released_under,
        )
        decision = decide(
            facts,
            request_sha256=request.sha256,
            decision_id=self.new_id(),
            now=now,
            house=self.house,
        )
        return decision, facts

    def _log(self, request: Request, decision: Decision, connection: sa.Connection) -> Receipt:
        named = {p.record_id for p in request.people}
        subjects = [self.consents.name_in_log(name, within=connection) for name in named]
        entry = describe_decision(decision, subjects)
        return self.log.append("decision", entry, within=connection)

    def _issue(
        self,
        request: Request,
        measured: Measured,
        decision: Decision,
        receipt: Receipt,
        connection: sa.Connection,
    ) -> Warrant:
        heads = {
            p.record_id: self.consents.read(p.record_id, within=connection).state.head
            for p in request.people
        }
        warrant = sign_warrant(
            request,
            measured,
            decision,
            heads=heads,
            place=LogPlace(self.log.origin, receipt.index, receipt.size),
            warrant_id=self.new_id(),
            key=self.key,
        )
        keep_warrant(warrant, within=connection)
        content = {"warrant": warrant.sha256, "decision": receipt.index}
        self.log.append("warrant", content, within=connection)
        return warrant

    def _move(self, warrant_id: str, old: State, new: State, *, within: sa.Connection) -> None:
        moved = within.execute(
            sa.update(WARRANT)
            .where(WARRANT.c.warrant_id == warrant_id, WARRANT.c.state == old)
            .values(state=new, changed_at=self.clock())
        )
        if moved.rowcount != 1:
            raise WarrantInvalid(f"the warrant is no longer {old}", code="WARRANT-SPENT")

    def _state(self, warrant_id: str, connection: sa.Connection) -> State:
        found: State | None = connection.scalar(
            sa.select(WARRANT.c.state).where(WARRANT.c.warrant_id == warrant_id)
        )
        if found is None:
            raise WarrantInvalid("the desk never issued this warrant", code="WARRANT-UNKNOWN")
        return found
