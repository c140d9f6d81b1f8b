"""What people see of consents in a terminal: notice and questions, scope, standing, erasure."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.padding import Padding

from pipelines.console import (
    ERR,
    EXIT_FAULT,
    OUT,
    as_dict,
    make_table,
    pair_table,
    plain,
    print_json,
    when,
)
from pipelines.one import write_new
from pipelines.people import BrokenConsent

if TYPE_CHECKING:
    from pipelines.people import Scope
    from pipelines.recall import Recalled
    from pipelines.settings import Settings
    from policies.challenge import Challenge
    from policies.consents import Consent
    from provenance.registry import ReleaseRow


def show_terms(notice: str, scope: Scope) -> None:
    """Show the notice and all that would be agreed to.

    On stderr: stdout is for the consent, in text or JSON.
    """
    ERR.print(plain(" ".join(notice.split())))
    ERR.print(Padding(pair_table(_describe_scope(scope)), (1, 0)))


def confirm_twice(scope: Scope) -> None:
    """Ask for adulthood, for each opt-in, then twice for consent to what `show_terms` showed.

    A no ends the command.
    """
    for question in (
        "Do you declare: I am 18 or older?",
        *(f"By itself: do you permit content that is '{word}'?" for word in scope.opted_in),
        "Do you consent to this?",
        "Second confirmation: sign exactly this?",
    ):
        if not typer.confirm(question, err=True):
            ERR.print("Not confirmed: nothing was signed and nothing was kept.")
            raise typer.Exit(EXIT_FAULT)


def _describe_scope(scope: Scope) -> dict[str, str]:
    words = {
        "roles": ", ".join(scope.roles),
        "purposes": ", ".join(scope.purposes),
        "territories": ", ".join(scope.territories),
        "audiences": ", ".join(scope.audiences),
        "media": ", ".join(scope.media),
        "with": ", ".join(scope.counterparties) or "anybody who consented too",
        "in": f"{len(scope.assets)} listed pictures" if scope.assets else "any picture",
        "never": ", ".join(scope.prohibited) or "what is sensitive and not permitted above",
        "for": f"{scope.days} days, at most {scope.max_uses} pictures or videos",
        "size": f"up to {scope.max_pixels} pixels, {scope.max_seconds} seconds",
    }
    besides = {
        "permitted besides": ", ".join(scope.opted_in),
        "project": scope.project,
        "compensation": scope.compensation,
        "forms": ", ".join(form["form"] for form in scope.addenda),
    }
    return words | {name: value for name, value in besides.items() if value}


def show_consent(consent: Consent, *, json: bool) -> None:
    """Print one consent: its scope and what it is worth now."""
    record, state = consent.record, consent.state
    if json:
        print_json(_consent_json(consent))
        return
    rows = {
        "consent": record.record_id,
        "person": record.subject.pid,
        "status": f"{state.status} since {when(state.since)}",
        "roles": ", ".join(record.roles),
        "purposes": ", ".join(record.purposes),
        "territories": ", ".join(record.territories),
        "audiences": ", ".join(record.audiences),
        "never": ", ".join(record.prohibited) or "what is sensitive and not opted in to",
        "opted in": ", ".join(record.opted_in_categories) or "nothing sensitive",
        "valid": f"{when(record.validity.not_before)} to {when(record.validity.expires)}",
        "uses": f"at most {record.limits.max_uses}",
        "age": record.subject.age_assurance.method,
        "liveness": record.binding.liveness.method,
        "addenda": ", ".join(record.addendum_forms) or "none",
        "withdraw": record.withdrawal.method,
    }
    OUT.print(pair_table(rows))


def show_grant(
    consent: Consent, warnings: Sequence[str], settings: Settings, *, json: bool
) -> None:
    """Print a consent just granted, what to look at, and where the person's key is kept."""
    if json:
        print_json({**_consent_json(consent), "warnings": list(warnings)})
    else:
        show_consent(consent, json=False)
        for warning in warnings:
            OUT.print(f"[yellow]To look at:[/] {plain(warning)}")
        OUT.print(f"The person's key is kept in {plain(settings.home / 'subjects')}: fit for")
        OUT.print("development; in production it belongs on the person's own device.")


def show_consents(consents: Sequence[Consent | BrokenConsent], *, json: bool) -> None:
    """Print all consents, one a line; a broken one with what is wrong with it."""
    if json:
        print_json(
            [
                {**as_dict(consent), "status": "broken"}
                if isinstance(consent, BrokenConsent)
                else _consent_json(consent)
                for consent in consents
            ]
        )
        return
    if not consents:
        OUT.print("No consent yet. To add one: facewarrant consent grant --help")
        return
    table = make_table("consent", "status", "scope")
    table.columns[0].no_wrap = True  # an id that is cut cannot be copied
    for consent in consents:
        if isinstance(consent, BrokenConsent):
            table.add_row(plain(consent.record_id), "[red]broken[/]", plain(consent.reason))
            continue
        record = consent.record
        scope = f"{', '.join(record.roles)} for {', '.join(record.purposes)}"
        table.add_row(record.record_id, consent.state.status, scope)
    OUT.print(table)


def _consent_json(consent: Consent) -> dict[str, Any]:
    record = consent.record.model_dump(mode="json", by_alias=True)
    return {"record": record, "status": consent.state.status, "since": consent.state.since}


def show_withdrawal(consent: Consent, released: Sequence[ReleaseRow], *, json: bool) -> None:
    """Print a consent that was withdrawn, and every output that had been released under it."""
    outputs = [
        {"manifest": row.manifest_id, "sha256": row.output_sha256, "released_at": row.released_at}
        for row in released
    ]
    if json:
        print_json({**_consent_json(consent), "released": outputs})
        return
    show_consent(consent, json=False)
    if not released:
        OUT.print("Nothing was released under it.")
        return
    OUT.print(f"{len(released)} released before; each says 'withdrawn' when it is verified:")
    table = make_table("released", "manifest", "sha256")
    for row in released:
        table.add_row(when(row.released_at), row.manifest_id, row.output_sha256)
    OUT.print(table)
    OUT.print("Copies that say so themselves: facewarrant consent recall ID --out FOLDER")


def show_recalled(found: Sequence[Recalled], *, json: bool) -> None:
    """Print every output that shows a person, with its updated copy or why there is none."""
    if json:
        print_json({"recalled": [_recalled_json(one) for one in found]})
        return
    if not found:
        OUT.print("Nothing was released under it.")
        return
    for one in found:
        if one.error is not None:
            told = f"{one.released_id}: {one.error.code}: {one.error.message}"
            OUT.print(f"[red]not updated[/]  {plain(told)}", soft_wrap=True)
        else:
            OUT.print(f"updated      {plain(f'{one.released_id}: {one.file}')}", soft_wrap=True)


def _recalled_json(one: Recalled) -> dict[str, Any]:
    error = one.error
    return {
        "released": one.released_id,
        "update": one.updated.manifest_id if one.updated else None,
        "log_index": one.updated.log_index if one.updated else None,
        "file": str(one.file) if one.file else None,
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def show_challenge(challenge: Challenge, *, json: bool) -> None:
    """Print what a person has to do in front of the camera, and until when."""
    if json:
        print_json(challenge.model_dump(mode="json", by_alias=True))
        return
    OUT.print("Film the person, face to the camera, in one go:")
    for number, said in enumerate(challenge.said, start=1):
        OUT.print(f"  {number}. {said}")
    OUT.print(f"Then, before {when(challenge.expires_at)}:")
    OUT.print(
        f"  facewarrant consent grant VIDEO --challenge {challenge.nonce} ...", soft_wrap=True
    )


def show_text(text: str, out: Path | None) -> None:
    """Print a text, or write it to a file that is not there yet; raise StoreUnavailable."""
    if out is None:
        print(text)
        return
    write_new(out, text.encode())
    OUT.print(f"Written: {plain(out)}", soft_wrap=True)


def show_export(document: Mapping[str, Any], out: Path, *, json: bool) -> None:
    """Write everything kept about a person, and say how much it is."""
    write_new(out, jsonlib.dumps(document, indent=1, sort_keys=True).encode())
    counts = {name: len(part) for name, part in document.items() if isinstance(part, list)}
    if json:
        print_json({"out": str(out), "counts": counts})
        return
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    OUT.print(f"Written: {plain(out)} ({told})", soft_wrap=True)


def show_erasure(receipt: Mapping[str, Any], out: Path, *, json: bool) -> None:
    """Write the signed receipt of an erasure, and say what it shows."""
    write_new(out, jsonlib.dumps(receipt, indent=1, sort_keys=True).encode())
    if json:
        print_json({"out": str(out), "receipt": receipt})
        return
    OUT.print(f"Erased. The signed receipt: {plain(out)}", soft_wrap=True)
    if broken := receipt.get("not_ended"):
        OUT.print(f"[yellow]{len(broken)} broken consents could not be ended; they stay closed.[/]")
    OUT.print(pair_table({"method": str(receipt["method"]), "checks": str(receipt["checks"])}))


def show_erased_again(count: int, *, json: bool) -> None:
    """Print how many keys had come back and are destroyed again."""
    if json:
        print_json({"destroyed": count})
        return
    OUT.print(f"{count} keys had come back and are destroyed again.")
