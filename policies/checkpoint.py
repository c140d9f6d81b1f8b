"""Signed tree heads in the C2SP tlog-checkpoint form, so that any transparency tool can read them.

The text is origin, size and base64 root, one a line; after an empty line come the signatures: em
dash, name, base64 of key id and signature (C2SP signed-note and tlog-checkpoint). A witness adds a
line of its own with a time in it (C2SP tlog-cosignature, "cosignature/v1"). Refused: another
origin, a size with leading zeros, a note that is not of this form, no signature by the log's key, a
signature by the log or a known witness that does not verify, fewer witnesses than demanded. Lines
of unknown keys are ignored, as the note form demands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from policies.errors import BadSignature, Error, Malformed
from policies.keys import PublicKey, SigningKey

MAX_NOTE_CHARACTERS = 64 * 1024
"""Room for hundreds of signature lines; C2SP signed-note asks verifiers to have some limit."""

KeyUse = Literal["checkpoint", "cosignature"]

_DASH = "\N{EM DASH}"
# Signature type bytes: C2SP signed-note (0x01, Ed25519) and tlog-cosignature (0x04).
_TYPE: dict[KeyUse, bytes] = {"checkpoint": b"\x01", "cosignature": b"\x04"}
_MAX_TIME = 2**63 - 1  # C2SP tlog-cosignature


class TooFewWitnesses(Error):
    """Fewer of the trusted witnesses cosigned a checkpoint than are demanded."""

    code = "WITNESS-QUORUM"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: `size` entries under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness that is trusted: the name in its signature lines, and its key."""

    name: str
    key: PublicKey

    def __post_init__(self) -> None:
        refuse_name(self.name)


def sign_checkpoint(checkpoint: Checkpoint, *, key: SigningKey) -> str:
    """Return the signed note of a checkpoint; raise Malformed for an origin that is no name."""
    refuse_name(checkpoint.origin)
    text = _text(checkpoint)
    signature = bytes.fromhex(key.sign_bytes(text.encode()))
    return f"{text}\n{_line(checkpoint.origin, key.public, 'checkpoint', signature)}"


def add_cosignature(note: str, *, name: str, key: SigningKey, at: int) -> str:
    """Return the note with the line of witness `name` at unix time `at` at its end.

    Signs whatever the note says: that it is true is for the caller to check (`witness.py`).
    Raises Malformed for a note, a name or a time that is not of the form.
    """
    refuse_name(name)
    if not 0 <= at <= _MAX_TIME:
        raise Malformed(f"the time of a cosignature is from 0 to 2**63 - 1, not {at}")
    text, _ = _split(note)
    signature = bytes.fromhex(key.sign_bytes(_cosigned(text, at)))
    return note + _line(name, key.public, "cosignature", at.to_bytes(8, "big") + signature)


def open_checkpoint(
    note: str,
    *,
    origin: str,
    key: PublicKey,
    witnesses: Sequence[WitnessKey] = (),
    quorum: int = 0,
) -> Checkpoint:
    """Return the checkpoint of a note signed by `key` and by `quorum` of the witnesses.

    Raises Malformed, BadSignature, and TooFewWitnesses. A quorum that the witnesses given could
    never reach is Malformed: it is a mistake in the policy, not in the note.
    """
    trusted = {witness.key for witness in witnesses}
    if not 0 <= quorum <= len(trusted) or key in trusted:
        raise Malformed(
            f"{len(trusted)} witnesses can never be a quorum of {quorum}",
            mend="name witnesses with keys of their own; the log is no witness of itself",
        )
    text, signatures = _split(note)
    lines = text.split("\n")
    if lines[0] != origin:
        raise Malformed(f"not a checkpoint of {origin}")
    checkpoint = Checkpoint(origin, _read_size(lines[1]), _read_root(lines[2]))
    wanted = key_id(origin, key, "checkpoint")
    signed = [raw[4:] for name, raw in signatures if (name, raw[:4]) == (origin, wanted)]
    if not signed:
        raise BadSignature(f"the checkpoint is not signed by the log key {key.kid}")
    for signature in signed:
        key.verify_bytes(text.encode(), signature.hex())
    found = cosignatures(note, witnesses=witnesses)
    # The signed text does not name the witness: one key under two names is one witness.
    if (count := len({witness.key for witness in found})) < quorum:
        raise TooFewWitnesses(
            f"{count} of the trusted witnesses cosigned this checkpoint; {quorum} must",
            mend="have it cosigned with 'facewarrant audit cosign', or ask why a witness refused",
        )
    return checkpoint


def cosignatures(note: str, *, witnesses: Sequence[WitnessKey]) -> dict[WitnessKey, int]:
    """Return the time (unix seconds) of the newest cosignature of each witness that cosigned.

    Raises BadSignature for a line of a known witness that does not verify: such a note is forged,
    whatever else it carries.
    """
    text, signatures = _split(note)
    known = {(w.name, key_id(w.name, w.key, "cosignature")): w for w in witnesses}
    found: dict[WitnessKey, int] = {}
    for name, raw in signatures:
        if witness := known.get((name, raw[:4])):
            at = int.from_bytes(raw[4:12], "big")
            if at > _MAX_TIME:
                raise BadSignature(f"the cosignature of {name} has a time that cannot be")
            witness.key.verify_bytes(_cosigned(text, at), raw[12:].hex())
            found[witness] = max(at, found.get(witness, 0))
    return found


def key_id(name: str, key: PublicKey, use: KeyUse) -> bytes:
    """Return the four bytes by which a signature line names its key (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + _TYPE[use] + key.raw).digest()[:4]


def verifier_key(name: str, key: PublicKey, use: KeyUse) -> str:
    """Return the one-line form in which transparency tools take a key (C2SP signed-note)."""
    blob = base64.b64encode(_TYPE[use] + key.raw).decode()
    return f"{name}+{key_id(name, key, use).hex()}+{blob}"


def read_verifier_key(line: str, use: KeyUse) -> tuple[str, PublicKey]:
    """Return name and key of the one-line form.

    Raises Malformed for another form or another use, BadSignature for a key that is never accepted.
    """
    name, _, rest = line.partition("+")
    blob = _decode(rest.partition("+")[2])
    if blob[:1] != _TYPE[use] or len(blob) != 33:
        raise Malformed(f"not the verifier key of a {use}: name+id+base64 is expected")
    key = PublicKey(blob[1:])
    refuse_name(name)
    if verifier_key(name, key, use) != line:
        raise Malformed("the verifier key's id is not the one of its name and key")
    return name, key


def refuse_name(name: str) -> None:
    """Raise Malformed for a name that no signature line can carry (C2SP signed-note)."""
    if not name or "+" in name or not name.isprintable() or any(map(str.isspace, name)):
        raise Malformed(f"{name!r} cannot name a key: no spaces, no '+', not empty")


def _line(name: str, key: PublicKey, use: KeyUse, signature: bytes) -> str:
    blob = base64.b64encode(key_id(name, key, use) + signature).decode()
    return f"{_DASH} {name} {blob}\n"


def _text(checkpoint: Checkpoint) -> str:
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return the signed text with its last newline, and name and bytes of every signature line."""
    if len(note) > MAX_NOTE_CHARACTERS:
        raise Malformed(f"the checkpoint is longer than {MAX_NOTE_CHARACTERS} characters")
    text, separator, rest = note.partition("\n\n")
    if not separator or text.count("\n") < 2 or (rest and not rest.endswith("\n")):
        raise Malformed("not a checkpoint: origin, size, root, an empty line and signatures")
    if any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in note):
        raise Malformed("the checkpoint holds characters that a note cannot have")
    signatures = []
    for line in rest.split("\n")[:-1]:
        words = line.split(" ")
        if len(words) != 3 or words[0] != _DASH:
            raise Malformed("a line of the checkpoint is not a signature line")
        signatures.append((words[1], _decode(words[2])))
    return f"{text}\n", signatures


def _read_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and str(int(text)) == text):
        raise Malformed("the checkpoint's size is not a plain decimal number")
    return int(text)


def _read_root(text: str) -> bytes:
    root = _decode(text)
    if len(root) != 32:
        raise Malformed("the checkpoint's root does not have 32 bytes")
    return root


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("the checkpoint holds text that is not base64") from error
    if base64.b64encode(data).decode() != text:  # the last digit has bits that nobody reads
        raise Malformed("the checkpoint holds base64 that is not in canonical form")
    return data
