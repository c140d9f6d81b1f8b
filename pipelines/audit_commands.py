"""`facewarrant audit`: check the log, prove from it, keep its checkpoints, have them witnessed.

Thin commands over `policies.audit`, `policies.proofs`, `policies.witness` and `policies.bundle`.
`check-proof`, `cosign` and `verify --bundle` are for others: they need no home folder, no database
and no secret of this deployment. Evidence that does not hold ends with 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import audit_view, terminal
from pipelines.audit_files import kept_sizes, read_public_key, read_text, read_witness, seen_by
from pipelines.bundle_commands import audit_bundle
from pipelines.console import EXIT_EVIDENCE
from pipelines.options import Json, one_of
from pipelines.settings import read_settings
from policies.entries import EntryKind
from policies.errors import Error, StoreUnavailable

if TYPE_CHECKING:
    from policies.audit import AuditLog
    from policies.checkpoint import WitnessKey
    from policies.keys import PublicKey
    from policies.proofs import ConsistencyProof

audit_app = typer.Typer(
    help="Check the audit log, prove entries, witness checkpoints.", no_args_is_help=True
)

audit_app.command("bundle")(audit_bundle)

_NOT_HOLDING = (
    *("BAD-SIGNATURE", "LOG-TAMPERED", "PROOF-INVALID", "BUNDLE-BROKEN"),
    *("WITNESS-QUORUM", "WITNESS-ROLLBACK", "WITNESS-SPLIT-VIEW", "WITNESS-FORK"),
)

_KEY_FORM = "64 hex digits, or the one line name+id+base64 of transparency tools"
Kept = Annotated[
    list[Path] | None, typer.Option(help="Checkpoint kept elsewhere that the log must extend.")
]
Witnesses = Annotated[
    list[str] | None,
    typer.Option("--witness", metavar="NAME=FILE", help=f"Witness and its key: {_KEY_FORM}."),
]
Quorum = Annotated[
    int, typer.Option(min=0, help="So many of the witnesses must have cosigned every checkpoint.")
]
Origin = Annotated[str, typer.Option(help="Name of the log.")]
LogKey = Annotated[Path, typer.Option("--key", help=f"File with the log's key: {_KEY_FORM}.")]


@audit_app.command("verify")
def audit_verify(
    kept: Kept = None,
    witness: Witnesses = None,
    quorum: Quorum = 0,
    bundle: Annotated[
        Path | None, typer.Option(help="Check this exported folder instead of our own log.")
    ] = None,
    origin: Annotated[str, typer.Option(help="With --bundle: name of the log.")] = "",
    key: Annotated[
        Path | None, typer.Option(help=f"With --bundle: the log's key: {_KEY_FORM}.")
    ] = None,
    json: Json = False,
) -> None:
    """Recompute the whole log and hold it against checkpoints that were kept elsewhere.

    Says what that shows and what it does not. With --bundle, offline and for anyone: origin and key
    should come from somebody you trust.
    """
    trusted = [read_witness(words) for words in witness or ()]
    notes = [read_text(path) for path in kept or ()]
    if bundle is not None:
        if bool(origin) != (key is not None):
            raise typer.BadParameter("--origin and --key belong together.")
        log_key = read_public_key(key, origin, "checkpoint") if key else None
        with _evidence(json=json):
            _verify_bundle(bundle, origin, log_key, notes, trusted, quorum, json=json)
        return
    if origin or key:
        raise typer.BadParameter("--origin and --key are for --bundle; our own are known.")
    if trusted and not notes:
        raise typer.BadParameter("Witnesses sign checkpoints: give the cosigned ones with --kept.")
    from pipelines.deployment import open_records

    with open_records(read_settings()) as at, _evidence(json=json):
        log = at.archive.log
        head = log.check(*notes, witnesses=trusted, quorum=quorum)
        checked = audit_view.Checked(
            head, kept_sizes(notes, log.origin, log.public), seen_by(notes, trusted)
        )
    audit_view.show_check(checked, json=json)


@audit_app.command("prove")
def audit_prove(
    index: Annotated[int, typer.Argument(min=0, help="Number of the entry, from 0.")],
    out: Annotated[Path | None, typer.Option(help="Write the proof to this file.")] = None,
    json: Json = False,
) -> None:
    """Prove that an entry is in the log, in one file that stands for itself.

    Without --out the proof itself is printed.
    """
    from pipelines.deployment import open_records
    from policies.audit import verify_entry
    from policies.files import replace_file
    from policies.proofs import encode_inclusion

    with open_records(read_settings()) as at, _evidence(json=json):
        log = at.archive.log
        proof = log.prove(index)
        head = verify_entry(proof, origin=log.origin, key=log.public)
    document = encode_inclusion(proof)
    if out is None:
        print(document.decode())
        return
    replace_file(out, document + b"\n")
    audit_view.show_entry(proof, head, out, json=json)


@audit_app.command("check-proof")
def audit_check_proof(
    file: Annotated[Path, typer.Argument(help="A proof made by 'audit prove'.")],
    origin: Origin,
    key: LogKey,
    witness: Witnesses = None,
    quorum: Quorum = 0,
    json: Json = False,
) -> None:
    """Check a proof of an entry, offline: no home folder, no database.

    Origin and key should come from somebody you trust, not from whoever made the proof.
    """
    from policies.audit import verify_entry
    from policies.proofs import read_inclusion

    log_key = read_public_key(key, origin, "checkpoint")
    trusted = [read_witness(words) for words in witness or ()]
    proof = read_inclusion(read_text(file).encode())
    with _evidence(json=json):
        head = verify_entry(proof, origin=origin, key=log_key, witnesses=trusted, quorum=quorum)
    audit_view.show_entry(proof, head, None, json=json)


@audit_app.command("consistency")
def audit_consistency(
    old: Annotated[Path, typer.Argument(help="The checkpoint to start from.")],
    to: Annotated[
        Path | None, typer.Option(help="The checkpoint to lead to; a new one when left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the proof to this file.")] = None,
    json: Json = False,
) -> None:
    """Prove that the log only grew since a checkpoint: what a witness asks for.

    The file has the form that C2SP witnesses take (add-checkpoint of tlog-witness).
    """
    from pipelines.deployment import open_records
    from policies.files import replace_file
    from policies.proofs import encode_consistency

    seen, target = read_text(old), read_text(to) if to else None
    with open_records(read_settings()) as at, _evidence(json=json):
        proof, new = _extend(at.archive.log, seen, target)
    text = encode_consistency(proof)
    if out is not None:
        replace_file(out, text.encode())
    audit_view.show_consistency(proof, new, text, out, json=json)


@audit_app.command("checkpoint")
def audit_checkpoint(
    out: Annotated[
        list[Path] | None, typer.Option(help="Write it to this file; give two or more.")
    ] = None,
    json: Json = False,
) -> None:
    """Sign the state of the log, to be kept where this machine cannot reach it.

    Without --out the checkpoint is printed. Every place is tried; one that fails ends with 1.
    """
    from pipelines.deployment import open_records
    from policies.checkpoint import open_checkpoint, verifier_key

    with open_records(read_settings()) as at, _evidence(json=json):
        log = at.archive.log
        note = log.checkpoint()
        head = open_checkpoint(note, origin=log.origin, key=log.public)
        verifier = verifier_key(log.origin, log.public, "checkpoint")
    places = out or []
    _write_each(places, note.encode())
    audit_view.show_note(note, head, verifier, places, json=json)
    audit_view.warn_single_place(places)


@audit_app.command("cosign")
def audit_cosign(
    checkpoint: Annotated[Path, typer.Argument(help="The log's checkpoint to cosign.")],
    state: Annotated[Path, typer.Option(help="File that this witness keeps for this log.")],
    key: Annotated[Path, typer.Option(help="This witness's own private key (PEM, Ed25519).")],
    name: Annotated[str, typer.Option(help="This witness's name, such as w.example.org/1.")],
    origin: Origin,
    log_key: Annotated[Path, typer.Option(help=f"File with the log's key: {_KEY_FORM}.")],
    proof: Annotated[
        Path | None, typer.Option(help="Proof made by 'audit consistency' from the last one.")
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="The log is new to this witness: take it on trust.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the cosigned checkpoint here.")] = None,
    json: Json = False,
) -> None:
    """Cosign a checkpoint of somebody's log as a witness that it only grew.

    Refuses a log that was cut, rewritten or shown in two versions; needs no home folder.
    """
    from pipelines.deployment import system_clock
    from pipelines.keyfiles import read_signing_key
    from policies.checkpoint import open_checkpoint, verifier_key
    from policies.files import replace_file
    from policies.proofs import read_consistency
    from policies.witness import Witness

    if first == (proof is not None):
        raise typer.BadParameter("Give either --proof, or --first for a log that is new.")
    log = read_public_key(log_key, origin, "checkpoint")
    witness = Witness(name, read_signing_key(key), state, system_clock)
    note = read_text(checkpoint)
    extension = read_consistency(read_text(proof)) if proof else None
    with _evidence(json=json):
        cosigned = (
            witness.cosign(note, extension, origin=origin, log_key=log)
            if extension
            else witness.adopt(note, origin=origin, log_key=log)
        )
        head = open_checkpoint(cosigned, origin=origin, key=log)
    if out is not None:
        replace_file(out, cosigned.encode())
    verifier = verifier_key(name, witness.key.public, "cosignature")
    audit_view.show_note(cosigned, head, verifier, [out] if out else [], json=json)


@audit_app.command("export")
def audit_export(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    json: Json = False,
) -> None:
    """Write the whole log as a folder that anyone can check without us.

    Entries, checkpoint, proofs, public keys, the policy's texts and how to check them.
    """
    from pipelines.deployment import open_records
    from policies import bundle

    with open_records(read_settings()) as at, _evidence(json=json):
        log = at.archive.log
        head = bundle.write_bundle(
            folder,
            log.snapshot(),
            origin=log.origin,
            keys={
                "log": log.public,
                "warrant": at.desk.key.public,
                "controller": at.consents.controllers[0],
            },
            policy=bundle.PolicyTexts(at.desk.house.gate.texts, at.desk.house.parts),
        )
    audit_view.show_export(head, folder, json=json)


@audit_app.command("log")
def audit_log(
    kind: Annotated[
        EntryKind | None,
        typer.Option(metavar="<word>", help=f"Only this kind: {one_of(EntryKind)}."),
    ] = None,
    about: Annotated[
        str | None, typer.Option(help="Only steps of this consent (commitment) or warrant.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """List the newest entries of the log, newest first."""
    from pipelines.deployment import open_records

    with open_records(read_settings()) as at:
        found = at.archive.log.latest(limit, kind=kind, about=about)
    audit_view.show_log(found, json=json)


@contextmanager
def _evidence(*, json: bool) -> Iterator[None]:
    """End with 5 when what was to be shown does not hold; every other error goes on."""
    try:
        yield
    except Error as error:
        if error.code not in _NOT_HOLDING:
            raise
        terminal.show_error(error, json=json)
        raise typer.Exit(EXIT_EVIDENCE) from error


def _verify_bundle(
    folder: Path,
    origin: str,
    key: PublicKey | None,
    kept: Sequence[str],
    witnesses: Sequence[WitnessKey],
    quorum: int,
    *,
    json: bool,
) -> None:
    from policies.bundle import claimed_log, verify_bundle

    own = key is None
    if key is None:
        origin, key = claimed_log(folder)
    report = verify_bundle(
        folder, origin=origin, key=key, kept=kept, witnesses=witnesses, quorum=quorum
    )
    cosigned = {witness.name: at for witness, at in report.cosigned.items()}
    checked = audit_view.Checked(report.head, kept_sizes(kept, origin, key), cosigned, own)
    audit_view.show_check(checked, more=audit_view.counts(report), json=json)


def _extend(log: AuditLog, seen: str, target: str | None) -> tuple[ConsistencyProof, int]:
    """Return the proof from one checkpoint of ours to another, after checking it ourselves."""
    from policies import merkle
    from policies.checkpoint import open_checkpoint
    from policies.proofs import ConsistencyProof

    note = log.checkpoint() if target is None else target
    old = open_checkpoint(seen, origin=log.origin, key=log.public)
    new = open_checkpoint(note, origin=log.origin, key=log.public)
    if old.size == 0:  # every log extends the empty one; there is no proof
        return ConsistencyProof(0, (), note), new.size
    path = log.prove_consistency(old.size, new.size)
    merkle.verify_consistency(
        old=old.size, new=new.size, old_root=old.root, new_root=new.root, path=path
    )
    return ConsistencyProof(old.size, path, note), new.size


def _write_each(places: Sequence[Path], data: bytes) -> None:
    """Write to every place, then raise the first failure: one full disk stops no other."""
    from policies.files import replace_file

    failed: list[StoreUnavailable] = []
    for place in places:
        try:
            replace_file(place, data)
        except StoreUnavailable as error:
            failed.append(error)
    if failed:
        raise failed[0]
