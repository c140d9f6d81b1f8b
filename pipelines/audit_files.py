"""Checkpoints and public keys that are handed to `facewarrant audit` as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from policies.checkpoint import (
    KeyUse,
    WitnessKey,
    cosignatures,
    open_checkpoint,
    read_verifier_key,
)
from policies.errors import Malformed
from policies.keys import PublicKey


def read_text(path: Path) -> str:
    """Read a file of text; raise FileUnreadable, or Malformed when it is not UTF-8."""
    from pipelines.jobs import read_file  # noqa: PLC0415 - loads OpenCV, which --help must not need

    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"{path} is not text") from error


def read_public_key(path: Path, name: str, use: KeyUse) -> PublicKey:
    """Read a public key: 64 hex digits, or name+id+base64 that carries this very name.

    Raises FileUnreadable, Malformed and BadSignature.
    """
    line = read_text(path).strip()
    if "+" not in line:
        return PublicKey.from_hex(line)
    named, key = read_verifier_key(line, use)
    if named != name:
        raise Malformed(f"{path} is the key of {named}, not of {name}")
    return key


def read_witness(words: str) -> WitnessKey:
    """Read a witness written as NAME=FILE; raise BadParameter and what `read_public_key` raises."""
    name, separator, file = words.partition("=")
    if not separator:
        raise typer.BadParameter(f"{words!r} is not NAME=FILE.")
    return WitnessKey(name, read_public_key(Path(file), name, "cosignature"))


def kept_sizes(notes: Sequence[str], origin: str, key: PublicKey) -> list[int]:
    """Return the sizes of checkpoints, smallest first; raise as `open_checkpoint` does."""
    return sorted(open_checkpoint(note, origin=origin, key=key).size for note in notes)


def seen_by(notes: Sequence[str], witnesses: Sequence[WitnessKey]) -> dict[str, int]:
    """Return the newest time (unix seconds) at which each witness cosigned one of the checkpoints.

    Raises BadSignature for a line of a known witness that does not verify.
    """
    found: dict[str, int] = {}
    for note in notes:
        for witness, at in cosignatures(note, witnesses=witnesses).items():
            found[witness.name] = max(at, found.get(witness.name, 0))
    return found
