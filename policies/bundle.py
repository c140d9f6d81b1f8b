"""The log as a folder that can be checked without us: no database, no network, no secret.

Holds every entry, the signed checkpoint, an inclusion proof of each entry, public keys by role, the
texts of the policy, and how to check it all. The same log gives the same bytes. Refused on writing:
a folder that is not empty, a log that does not lead to its own checkpoint. Refused on reading: a
file too many or too few, one that is no plain file or was changed, entries out of order, and
whatever does not lead to the signed root.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from policies import merkle
from policies.audit import LogTampered, Snapshot
from policies.canonical import canonical, digest, parse
from policies.checkpoint import (
    Checkpoint,
    WitnessKey,
    cosignatures,
    open_checkpoint,
    verifier_key,
)
from policies.digest import sha256_hex
from policies.entries import read_entry
from policies.errors import Error, Malformed, StoreUnavailable
from policies.files import replace_file, sync_folder
from policies.keys import PublicKey, Role
from policies.terms import Digest, Document, KeyHex, KeyId

_T = TypeVar("_T", bound=Document)

SUMS = "SHA256SUMS"
FILES = (
    "README.txt",
    "checkpoint",
    "entries.jsonl",
    "gate.cedar",
    "gate.cedarschema",
    "house.cedar",
    "keys.json",
    "policy.json",
    "proofs.jsonl",
)


class BundleBroken(Error):
    """A folder is not a whole and unchanged bundle."""

    code = "BUNDLE-BROKEN"


class BundleExists(Error):
    """A bundle is not written over something else."""

    code = "BUNDLE-EXISTS"


@dataclass(frozen=True, slots=True)
class PolicyTexts:
    """What was decided by: the Cedar texts by name, and the parts whose digest decisions name.

    `texts` has `policy`, `schema` and `house` (`Gate.texts`); `parts` is `House.parts`.
    """

    texts: Mapping[str, str]
    parts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle was found to hold.

    `kinds` counts the entries; `foreign_policy` counts decisions made under another policy than the
    one in the bundle; `cosigned` has the witnesses with the time (unix seconds) of each.
    """

    head: Checkpoint
    kinds: Mapping[str, int]
    first_at: int
    last_at: int
    foreign_policy: int
    cosigned: Mapping[WitnessKey, int]


class _Key(Document):
    role: Role
    kid: KeyId
    public: KeyHex


class _Keys(Document):
    schema_: Literal["facewarrant/log-keys/1"] = Field(alias="schema")
    origin: str
    log: KeyHex
    verifier: str
    keys: list[_Key]


class _Policy(Document):
    schema_: Literal["facewarrant/log-policy/1"] = Field(alias="schema")
    policy_sha256: Digest
    parts: dict[str, Any]


class _Path(Document):
    index: Annotated[int, Field(ge=0)]
    path: list[Digest]


def write_bundle(
    folder: Path,
    snapshot: Snapshot,
    *,
    origin: str,
    keys: Mapping[Role, PublicKey],
    policy: PolicyTexts,
) -> Checkpoint:
    """Write a log as a bundle; `keys` has at least the log's. Returns the head of the checkpoint.

    The folder is there whole or not at all. Raises BundleExists, LogTampered when the entries do
    not lead to the checkpoint, BadSignature, Malformed and StoreUnavailable.
    """
    log = keys["log"]
    head = open_checkpoint(snapshot.checkpoint, origin=origin, key=log)
    tree = merkle.build_tree([merkle.leaf_hash(entry) for entry in snapshot.entries])
    size = len(snapshot.entries)
    if (head.size, head.root) != (size, merkle.root_of(tree, 0, size)):
        raise LogTampered("the log's entries do not lead to its checkpoint")
    files = {
        "README.txt": README.encode(),
        "checkpoint": snapshot.checkpoint.encode(),
        "entries.jsonl": b"".join(entry + b"\n" for entry in snapshot.entries),
        "gate.cedar": policy.texts["policy"].encode(),
        "gate.cedarschema": policy.texts["schema"].encode(),
        "house.cedar": policy.texts["house"].encode(),
        "keys.json": _keys_document(origin, keys),
        "policy.json": _policy_document(policy),
        "proofs.jsonl": b"".join(_proof_line(tree, index, size) for index in range(size)),
    }
    write_folder(folder, files | {SUMS: list_sums(files)})
    return head


def _keys_document(origin: str, keys: Mapping[Role, PublicKey]) -> bytes:
    log = keys["log"]
    return canonical(
        {
            "schema": "facewarrant/log-keys/1",
            "origin": origin,
            "log": log.hex,
            "verifier": verifier_key(origin, log, "checkpoint"),
            "keys": [{"role": r, "kid": k.kid, "public": k.hex} for r, k in sorted(keys.items())],
        }
    )


def _policy_document(policy: PolicyTexts) -> bytes:
    return canonical(
        {
            "schema": "facewarrant/log-policy/1",
            "policy_sha256": digest(policy.parts),
            "parts": dict(policy.parts),
        }
    )


def claimed_log(folder: Path) -> tuple[str, PublicKey]:
    """Return origin and log key that a bundle claims for itself.

    Nothing is proved with them: whoever forged the bundle chose them. Raises BundleBroken and
    BadSignature.
    """
    files = _read_folder(folder)
    claimed = _document(_Keys, files["keys.json"], "keys.json")
    return claimed.origin, PublicKey.from_hex(claimed.log)


def verify_bundle(
    folder: Path,
    *,
    origin: str,
    key: PublicKey,
    kept: Sequence[str] = (),
    witnesses: Sequence[WitnessKey] = (),
    quorum: int = 0,
) -> BundleReport:
    """Check everything in a bundle against the log's `key`, which comes from elsewhere.

    `kept` are older checkpoints from elsewhere that the log must extend; the bundle's and each of
    these must be cosigned by `quorum` of `witnesses`. Raises BundleBroken, LogTampered,
    ProofInvalid, BadSignature, TooFewWitnesses and Malformed.
    """
    files = _read_folder(folder)
    try:
        note = files["checkpoint"].decode()
    except UnicodeDecodeError as error:
        raise BundleBroken("the checkpoint is not text") from error
    head = open_checkpoint(note, origin=origin, key=key, witnesses=witnesses, quorum=quorum)
    claimed = _document(_Keys, files["keys.json"], "keys.json")
    if (claimed.origin, claimed.log) != (origin, key.hex):
        raise BundleBroken("keys.json names another log or another key of it")
    lines = files["entries.jsonl"].split(b"\n")
    if lines.pop() != b"" or len(lines) != head.size:
        raise BundleBroken(f"entries.jsonl does not hold the {head.size} entries of the checkpoint")
    leaves = [merkle.leaf_hash(line) for line in lines]
    tree = merkle.build_tree(leaves)
    if merkle.root_of(tree, 0, head.size) != head.root:
        raise LogTampered("the bundle's entries do not lead to its checkpoint")
    for old in kept:
        seen = open_checkpoint(old, origin=origin, key=key, witnesses=witnesses, quorum=quorum)
        if seen.size > head.size or merkle.root_of(tree, 0, seen.size) != seen.root:
            raise LogTampered(f"the bundle does not extend the kept checkpoint of {seen.size}")
    _verify_proofs(files["proofs.jsonl"], leaves, head)
    policy = _document(_Policy, files["policy.json"], "policy.json")
    _verify_policy(policy, files)
    return _report(head, lines, policy.policy_sha256, cosignatures(note, witnesses=witnesses))


def _report(
    head: Checkpoint, lines: Sequence[bytes], policy: str, cosigned: Mapping[WitnessKey, int]
) -> BundleReport:
    times = [0]
    kinds: Counter[str] = Counter()
    foreign = 0
    for line in lines:
        entry = read_entry(line)
        if entry["at"] < times[-1]:
            raise LogTampered("an entry is dated before the one in front of it")
        times.append(entry["at"])
        kinds[entry["kind"]] += 1
        foreign += entry["kind"] == "decision" and entry.get("policy") != policy
    first = times[1] if lines else 0
    return BundleReport(head, dict(sorted(kinds.items())), first, times[-1], foreign, cosigned)


def _proof_line(tree: Sequence[Sequence[bytes]], index: int, size: int) -> bytes:
    ranges = merkle.inclusion_ranges(index, size)
    path = [merkle.root_of(tree, low, high).hex() for low, high in ranges]
    return canonical({"index": index, "path": path}) + b"\n"


def _verify_proofs(data: bytes, leaves: Sequence[bytes], head: Checkpoint) -> None:
    lines = data.split(b"\n")
    if lines.pop() != b"" or len(lines) != len(leaves):
        raise BundleBroken("proofs.jsonl does not hold one proof for each entry")
    for index, line in enumerate(lines):
        proof = _document(_Path, line, "proofs.jsonl")
        if proof.index != index:
            raise BundleBroken("the proofs are not in the order of the entries")
        path = [bytes.fromhex(value) for value in proof.path]
        merkle.verify_inclusion(
            leaves[index], index=index, size=head.size, path=path, root=head.root
        )


def _document(model: type[_T], data: bytes, name: str) -> _T:
    try:
        parse(data)
        return model.model_validate_json(data)
    except (ValidationError, Malformed) as error:
        raise BundleBroken(f"{name} is not of the form of a bundle") from error


def list_sums(files: Mapping[str, bytes]) -> bytes:
    """Return the text of a SHA256SUMS file for these names and contents."""
    return "".join(f"{sha256_hex(data)}  {name}\n" for name, data in sorted(files.items())).encode()


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a new or empty folder, which is there whole or not at all.

    Raises BundleExists and StoreUnavailable.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BundleExists(
                f"{folder} is there already and is not an empty folder",
                mend="name a new folder",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
        try:
            for name, data in files.items():
                replace_file(partial / name, data)
            partial.chmod(0o755)
            os.rename(partial, folder)  # also onto an empty folder
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot write {folder}: {error.strerror}",
            mend="name a folder that can be written and has space left",
        ) from error


def _read_folder(folder: Path) -> dict[str, bytes]:
    try:
        found = sorted(path.name for path in folder.iterdir())
        if found != sorted((*FILES, SUMS)):
            odd = sorted(set(found) ^ {*FILES, SUMS})
            raise BundleBroken(f"the bundle misses files or has too many: {', '.join(odd)}")
        for name in found:
            if not stat.S_ISREG((folder / name).lstat().st_mode):
                raise BundleBroken(f"{name} is not a plain file")
        files = {name: (folder / name).read_bytes() for name in FILES}
        sums = (folder / SUMS).read_bytes()
    except OSError as error:
        raise BundleBroken(f"cannot read the bundle {folder}: {error.strerror}") from error
    if sums != list_sums(files):
        raise BundleBroken("a file of the bundle was changed: SHA256SUMS says otherwise")
    return files


def _verify_policy(policy: _Policy, files: Mapping[str, bytes]) -> None:
    """Raise BundleBroken unless texts, parts and the digest that decisions name agree."""
    names = {"policy": "gate.cedar", "schema": "gate.cedarschema", "house": "house.cedar"}
    texts = {part: sha256_hex(files[name]) for part, name in names.items()}
    if policy.parts.get("gate") != digest(texts) or digest(policy.parts) != policy.policy_sha256:
        raise BundleBroken("policy.json is not about the policy texts of this bundle")


README = """\
FaceWarrant audit bundle
========================

What is in it
  entries.jsonl     every entry of the log, oldest first, one canonical JSON document (RFC 8785)
                    a line; no personal data, only commitments, digests and rule ids
  checkpoint        size and root of the log, signed (C2SP tlog-checkpoint, signed-note)
  proofs.jsonl      the inclusion proof of every entry, as hex hashes from leaf to root
  keys.json         the public keys by role, and the log's key as transparency tools take it
  gate.cedar        the policy that decides (Cedar)
  gate.cedarschema  its schema
  house.cedar       what this deployment forbids besides; may be empty
  policy.json       the parts of the policy, whose digest every decision names
  SHA256SUMS        digests of the files above

How to check it, offline
  sha256sum -c SHA256SUMS
  facewarrant audit verify --bundle . --origin ORIGIN --key KEYFILE

  Take ORIGIN and KEYFILE from somebody you trust, not from keys.json: whoever could forge the
  bundle could write that file too. Add --kept FILE for every older checkpoint that you or others
  kept, and --witness NAME=KEYFILE with --quorum for the witnesses that you trust.

How to check it by hand
  The hash of an entry is SHA-256 over a zero byte and its line without the newline. The hash of
  two neighbours is SHA-256 over a byte of value one, the left hash and the right hash (RFC 6962,
  section 2.1). The root of all is the third line of the checkpoint, in base64. The signature is
  Ed25519 over the first three lines, each with its newline.

What this shows
  These entries, in this order, are what the holder of the log key signed. With a kept checkpoint:
  nothing up to its size was changed, cut or put in since it was kept. With witnesses: what you see
  is what they saw.

What this does not show
  That an entry is true. That everything which happened was logged: this deployment's own warrant
  desk lets no release through whose decision has no entry, but whoever holds its keys could sign
  without asking it. Without kept checkpoints and witnesses: that nobody else is shown another log.
"""
