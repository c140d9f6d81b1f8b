"""The first revision: every table, index and trigger of the main database.

The statements are written out, not taken from `policies.tables`: a revision says what was true when
it was made. There is no way back: evidence is not migrated away.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
create table consent (
    record_id varchar(36) not null,
    pid varchar(29) not null,
    commitment varchar(64) not null,
    document {blob} not null,
    constraint pk_consent primary key (record_id),
    constraint uq_consent_commitment unique (commitment)
);
create index ix_consent_pid on consent (pid);
create table consent_event (
    record_id varchar(36) not null,
    seq integer not null,
    document {blob} not null,
    constraint pk_consent_event primary key (record_id, seq),
    constraint fk_consent_event_record_id foreign key (record_id) references consent (record_id)
);
create table disposal (
    record_id varchar(36) not null,
    due_at bigint not null,
    at bigint not null,
    constraint pk_disposal primary key (record_id)
);
create table template (
    record_id varchar(36) not null,
    ciphertext {blob} not null,
    constraint pk_template primary key (record_id),
    constraint fk_template_record_id foreign key (record_id) references consent (record_id)
);
create table challenge (
    nonce varchar(64) not null,
    document {blob} not null,
    expires_at bigint not null,
    spent_at bigint,
    record_id varchar(36),
    constraint pk_challenge primary key (nonce)
);
create table opt_out (
    entry_id varchar(36) not null,
    pid varchar(29) not null,
    model_sha256 varchar(64) not null,
    ciphertext {blob} not null,
    added_at bigint not null,
    constraint pk_opt_out primary key (entry_id),
    constraint uq_opt_out_pid unique (pid)
);
create table erasure (
    pid varchar(29) not null,
    state varchar(12) not null,
    requested_at bigint not null,
    document {blob} not null,
    constraint pk_erasure primary key (pid),
    constraint ck_erasure_state check (state in ('requested', 'shredded', 'proved', 'receipted'))
);
create table warrant (
    warrant_id varchar(36) not null,
    request_id varchar(64) not null,
    document {blob} not null,
    state varchar(8) not null,
    expires_at bigint not null,
    changed_at bigint not null,
    constraint pk_warrant primary key (warrant_id),
    constraint ck_warrant_state check (state in ('issued', 'started', 'released', 'aborted'))
);
create index ix_warrant_request_id on warrant (request_id);
create index ix_warrant_state on warrant (state);
create table reservation (
    record_id varchar(36) not null,
    seq integer not null,
    warrant_id varchar(36) not null,
    constraint pk_reservation primary key (record_id, seq),
    constraint fk_reservation_warrant_id foreign key (warrant_id) references warrant (warrant_id)
);
create index ix_reservation_warrant_id on reservation (warrant_id);
create table release (
    mark_id varchar(64) not null,
    request_id varchar(64) not null,
    warrant_id varchar(36) not null,
    manifest_id varchar(120) not null,
    manifest_sha256 varchar(64) not null,
    output_sha256 varchar(64) not null,
    mime varchar(16) not null,
    fingerprint varchar(64) not null,
    log_index {large} not null,
    released_at bigint not null,
    constraint pk_release primary key (mark_id),
    constraint uq_release_request_id unique (request_id),
    constraint uq_release_warrant_id unique (warrant_id),
    constraint uq_release_manifest_id unique (manifest_id)
);
create index ix_release_output_sha256 on release (output_sha256);
create table release_person (
    record_id varchar(36) not null,
    mark_id varchar(64) not null,
    constraint pk_release_person primary key (record_id, mark_id)
);
create index ix_release_person_mark_id on release_person (mark_id);
create table log_entry (
    i {large} not null,
    at bigint not null,
    about varchar(64),
    data {blob} not null,
    constraint pk_log_entry primary key (i)
);
create index ix_log_entry_about on log_entry (about);
create table log_node (
    key {large} not null,
    hash {blob} not null,
    constraint pk_log_node primary key (key)
)
"""

# Table, what may not be updated, who may be deleted, what may not be replaced (SQLite).
_FROZEN = (
    ("log_entry", "update", "nobody", "i = new.i"),
    ("log_node", "update", "nobody", "key = new.key"),
    ("consent", "update", "disposed", "record_id = new.record_id or commitment = new.commitment"),
    ("consent_event", "update", "disposed", "record_id = new.record_id and seq = new.seq"),
    ("disposal", "update", "nobody", "record_id = new.record_id"),
    ("erasure", "", "nobody", "pid = new.pid"),
    (
        "warrant",
        "update of warrant_id, request_id, document, expires_at",
        "nobody",
        "warrant_id = new.warrant_id",
    ),
    (
        "release",
        "update",
        "nobody",
        "mark_id = new.mark_id or request_id = new.request_id "
        "or warrant_id = new.warrant_id or manifest_id = new.manifest_id",
    ),
    ("release_person", "update", "nobody", "record_id = new.record_id and mark_id = new.mark_id"),
)

_REFUSED = "begin select raise(abort, 'append-only'); end"

# The schema is named in full: a temporary table `disposal` of the caller would be found first.
_FUNCTIONS = """
create function facewarrant_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'append-only' using errcode = 'integrity_constraint_violation';
end $$;
create function facewarrant_disposed_only() returns trigger language plpgsql as $$
declare
    disposed boolean;
begin
    execute format(
        'select exists (select 1 from %I.disposal where record_id = $1)', tg_table_schema
    ) into disposed using old.record_id;
    if not disposed then
        raise exception 'append-only' using errcode = 'integrity_constraint_violation';
    end if;
    return old;
end $$
"""


def upgrade() -> None:
    """Make everything; the caller's transaction holds the database alone."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    types = ("blob", "integer") if sqlite else ("bytea", "bigint")
    for statement in _TABLES.format(blob=types[0], large=types[1]).split(";"):
        op.execute(statement)
    if sqlite:
        _guard_sqlite()
    else:
        _guard_postgresql()


def _guard_sqlite() -> None:
    for table, change, deletable, same in _FROZEN:
        if change:
            op.execute(f"create trigger {table}_update before {change} on {table} {_REFUSED}")
        unless = (
            " when not exists (select 1 from disposal where record_id = old.record_id)"
            if deletable == "disposed"
            else ""
        )
        op.execute(f"create trigger {table}_delete before delete on {table}{unless} {_REFUSED}")
        taken = f"select 1 from {table} where {same}"  # noqa: S608 - our own names
        when = f"when exists ({taken})"
        op.execute(f"create trigger {table}_insert before insert on {table} {when} {_REFUSED}")


def _guard_postgresql() -> None:
    # A new row cannot replace an old one here, so inserts need no guard; TRUNCATE does.
    op.execute(_FUNCTIONS)
    for table, change, deletable, _ in _FROZEN:
        refuse = "for each row execute function facewarrant_append_only()"
        if change:
            op.execute(f"create trigger {table}_update before {change} on {table} {refuse}")
        if deletable == "disposed":
            refuse = "for each row execute function facewarrant_disposed_only()"
        op.execute(f"create trigger {table}_delete before delete on {table} {refuse}")
        op.execute(
            f"create trigger {table}_truncate before truncate on {table} "
            "for each statement execute function facewarrant_append_only()"
        )
