"""The tables of the main database: consents, decisions, warrants, releases, erasures, the log.

What is declared here is what the newest revision in `migrations/` makes; a test compares the two on
both engines. `guards.py` says which rows may never change. Refused by the tables themselves: states
that do not exist, a second row for what exists once.
"""

from __future__ import annotations

import sqlalchemy as sa


class Blob(sa.types.TypeDecorator[bytes]):
    """Bytes, whatever the row holds: SQLite lets an edit put text or numbers into any column.

    Such a value reads as empty, which no digest and no signature is over. PostgreSQL's driver hands
    a bytea over as a memoryview.
    """

    impl = sa.LargeBinary
    cache_ok = True

    def process_result_value(self, value: object, dialect: sa.Dialect) -> bytes:
        """Return stored bytes; empty for any other type."""
        return bytes(value) if isinstance(value, bytes | memoryview) else b""


LARGE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""64-bit integers: on SQLite an INTEGER key is the row's own number, which saves an index."""

METADATA = sa.MetaData(
    # Later revisions can only change a constraint that has a name.
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

CONSENT = sa.Table(
    "consent",
    METADATA,
    sa.Column("record_id", sa.String(36), primary_key=True),
    sa.Column("pid", sa.String(29), nullable=False, index=True),
    # What logs and manifests name this consent by; made with a salt that erasure destroys.
    sa.Column("commitment", sa.String(64), nullable=False, unique=True),
    sa.Column("document", Blob, nullable=False),
)
CONSENT_EVENT = sa.Table(
    "consent_event",
    METADATA,
    sa.Column("record_id", sa.ForeignKey("consent.record_id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", Blob, nullable=False),
)
DISPOSAL = sa.Table(
    "disposal",
    METADATA,
    # A consent record whose time to be kept is over; only with a row here can it be deleted.
    sa.Column("record_id", sa.String(36), primary_key=True),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
TEMPLATE = sa.Table(
    "template",
    METADATA,
    sa.Column("record_id", sa.ForeignKey("consent.record_id"), primary_key=True),
    # Sealed under the subject's data key, which lies in a database of its own (subjectkeys.py).
    sa.Column("ciphertext", Blob, nullable=False),
)
CHALLENGE = sa.Table(
    "challenge",
    METADATA,
    # A liveness challenge: what was asked of somebody, once, and until when it counts.
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("document", Blob, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("spent_at", sa.BigInteger, nullable=True),
    # The consent that names it; one challenge shows one enrolment.
    sa.Column("record_id", sa.String(36), nullable=True),
)
OPT_OUT = sa.Table(
    "opt_out",
    METADATA,
    # Somebody who asked never to be swapped; the vector is sealed like a template.
    sa.Column("entry_id", sa.String(36), primary_key=True),
    sa.Column("pid", sa.String(29), nullable=False, unique=True),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    sa.Column("ciphertext", Blob, nullable=False),
    sa.Column("added_at", sa.BigInteger, nullable=False),
)
ERASURE = sa.Table(
    "erasure",
    METADATA,
    # An erasure under way or done; `state` lets one that was interrupted go on.
    sa.Column("pid", sa.String(29), primary_key=True),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("requested_at", sa.BigInteger, nullable=False),
    sa.Column("document", Blob, nullable=False),
    sa.CheckConstraint("state in ('requested', 'shredded', 'proved', 'receipted')", name="state"),
)
DECISION = sa.Table(
    "decision",
    METADATA,
    # Why a warrant was issued: the decision and its facts, both canonical; the log has their
    # digests. Refusals are told to whoever asked and not kept.
    sa.Column("decision_id", sa.String(36), primary_key=True),
    sa.Column("document", Blob, nullable=False),
    sa.Column("facts", Blob, nullable=False),
)
WARRANT = sa.Table(
    "warrant",
    METADATA,
    sa.Column("warrant_id", sa.String(36), primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, index=True),
    sa.Column("document", Blob, nullable=False),
    sa.Column("state", sa.String(8), nullable=False, index=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.CheckConstraint("state in ('issued', 'started', 'released', 'aborted')", name="state"),
)
RESERVATION = sa.Table(
    "reservation",
    METADATA,
    sa.Column("record_id", sa.String(36), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("warrant_id", sa.ForeignKey("warrant.warrant_id"), nullable=False, index=True),
)
RELEASE = sa.Table(
    "release",
    METADATA,
    sa.Column("mark_id", sa.String(64), primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False, unique=True),
    sa.Column("warrant_id", sa.String(36), nullable=False, unique=True),
    sa.Column("manifest_id", sa.String(120), nullable=False, unique=True),
    sa.Column("manifest_sha256", sa.String(64), nullable=False),
    sa.Column("output_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("mime", sa.String(16), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("log_index", LARGE, nullable=False, index=True),
    sa.Column("released_at", sa.BigInteger, nullable=False),
)
RELEASE_FRAME = sa.Table(
    "release_frame",
    METADATA,
    # What a released video looks like, second by second; a picture has its one fingerprint above.
    sa.Column("mark_id", sa.String(64), primary_key=True),
    sa.Column("second", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
)
RELEASE_PERSON = sa.Table(
    "release_person",
    METADATA,
    # Who is shown by which release. No foreign keys: it stays when a record is disposed of, and
    # still names a mark whose row was taken away.
    sa.Column("record_id", sa.String(36), primary_key=True),
    sa.Column("mark_id", sa.String(64), primary_key=True, index=True),
)
ENTRY = sa.Table(
    "log_entry",
    METADATA,
    sa.Column("i", LARGE, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    # Whose newest step this is: the commitment of a consent, or the id of an ended warrant.
    sa.Column("about", sa.String(64), nullable=True, index=True),
    sa.Column("data", Blob, nullable=False),
)
NODE = sa.Table(
    "log_node",
    METADATA,
    # level << 56 | index: one integer key keeps a proof to one indexed select (a row-value IN
    # list made SQLite scan the whole table; measured).
    sa.Column("key", LARGE, primary_key=True, autoincrement=False),
    sa.Column("hash", Blob, nullable=False),
)
