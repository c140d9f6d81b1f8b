"""`facewarrant audit bundle`: the evidence for one output, for an auditor without our software."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines import console
from pipelines.console import EXIT_EVIDENCE
from pipelines.options import Json
from pipelines.settings import read_settings
from policies.errors import Error

_NOT_HOLDING = ("BAD-SIGNATURE", "LOG-TAMPERED", "PROOF-INVALID", "WARRANT-FORGED")


def audit_bundle(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Manifest id (urn:c2pa:...), request id or the output's SHA-256."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    json: Json = False,
) -> None:
    """Write everything about one output into a folder that openssl and sha256sum can check.

    Output, manifest, warrant, decision and facts, policy, log proofs, keys, and a README with every
    command. Hand it to the auditor alone: facts and warrant name people by their record's id.
    """
    from pipelines import terminal
    from pipelines.deployment import open_records
    from policies.bundle import PolicyTexts
    from provenance.output_bundle import Sources, write_output_bundle

    with open_records(read_settings()) as at:
        sources = Sources(
            at.archive,
            at.anchors,
            at.desk.key.public,
            PolicyTexts(at.desk.house.gate.texts, at.desk.house.parts),
        )
        try:
            done = write_output_bundle(folder, name, sources=sources)
        except Error as error:
            if error.code not in _NOT_HOLDING:
                raise
            terminal.show_error(error, json=json)
            raise typer.Exit(EXIT_EVIDENCE) from error
    if json:
        told = {"folder": str(folder), "manifest": done.row.manifest_id}
        console.print_json(told | {"entries": dict(done.entries), "missing": list(done.missing)})
        return
    console.OUT.print(f"Wrote the evidence for {console.plain(done.row.manifest_id)}")
    console.OUT.print(f"into {console.plain(folder)}; README.txt there has every command.")
    for line in done.missing:
        console.OUT.print(f"Not in it: {console.plain(line)}")
