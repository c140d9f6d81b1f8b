"""`facewarrant signer`: a signing service of one's own, what it must know, and what it did."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import OUT, as_dict, make_table, plain, print_json, when
from pipelines.options import Json
from pipelines.settings import read_settings

signer_app = typer.Typer(
    help="Sign in a process of its own, with its own ledger.", no_args_is_help=True
)


@signer_app.command("export")
def signer_export(
    out: Annotated[Path, typer.Argument(help="New folder for the signing service.")],
    json: Json = False,
) -> None:
    """Write what a signing service must know of this deployment.

    The public keys of warrant desk and log, the digest of the policy in force, and the token that
    both sides share. Put the folder into the service's home as 'signer'.
    """
    from pipelines.deployment import open_records
    from pipelines.keyfiles import write_secret
    from pipelines.signing import SIGNER_FOLDER, read_service_token
    from policies.checkpoint import verifier_key

    with open_records(read_settings()) as at:
        log, own = at.archive.log, at.settings.home / SIGNER_FOLDER
        if not (own / "token").exists():
            write_secret(own / "token", f"{secrets.token_hex(32)}\n".encode())
        lines = {
            "desk.pub": at.desk.key.public.hex,
            "log.pub": verifier_key(log.origin, log.public, "checkpoint"),
            "policies": at.desk.house.sha256,
            "token": read_service_token(own),
        }
    for name, line in lines.items():
        write_secret(out / name, f"{line}\n".encode())
    if json:
        print_json({"folder": str(out), "policy": lines["policies"]})
    else:
        OUT.print(f"{plain(out)} is for the signing service; token in it is a secret.")
        OUT.print(f"It will sign under policy {lines['policies']} and no other.")


@signer_app.command("serve")
def signer_serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8646,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate with its chain, PEM; beyond this machine.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the TLS certificate, PEM.")] = None,
    json: Json = False,
) -> None:
    """Sign claims for one deployment until stopped.

    With the key of this home, which holds no database of the deployment: a warrant and proof that
    the log holds it and its decision are demanded with every claim.
    """
    from pipelines.deployment import system_clock
    from pipelines.signing import SIGNER_FOLDER, read_service_token
    from pipelines.signing_service import make_signing_app, open_desk, serve

    settings = read_settings()
    with open_desk(settings, clock=system_clock) as desk:
        token = read_service_token(settings.home / SIGNER_FOLDER)
        app = make_signing_app(desk, token=token)
        told = {"host": host, "port": port, "policies": sorted(desk.trust.policies)}
        if json:
            print_json(told)
        else:
            OUT.print(f"Signing on {plain(host)}, port {port}, until stopped.")
        serve(app, host=host, port=port, certificate=certificate, key=key)


@signer_app.command("ledger")
def signer_ledger(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Lines at most.")] = 20,
    json: Json = False,
) -> None:
    """Show what the signing service of this home signed and refused, newest first."""
    from pipelines.signing import SIGNER_FOLDER
    from provenance.signing_ledger import SigningLedger

    with SigningLedger(read_settings().home / SIGNER_FOLDER / "ledger.db") as ledger:
        rows = [as_dict(line) for line in ledger.latest(limit)]
    if json:
        print_json(rows)
        return
    table = make_table("at", "answer", "warrant", "SHA-256 of the claim")
    for row in rows:
        table.add_row(when(row["at"]), row["code"], plain(row["warrant_id"]), row["claim_sha256"])
    OUT.print(table)
