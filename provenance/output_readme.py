"""The README of an output's bundle: what is in it, every command to run, and what it cannot show.

Plain text, since it has to be read where nothing of ours is installed. Lines that begin with "$ "
are commands; a test runs exactly these.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from policies.warrant import Warrant
from provenance.registry import ReleaseRow

_FILES: Final = {
    "README.txt": "this text",
    "SHA256SUMS": "digests of all other files",
    "check.py": "checks every hash; Python 3.9 or later, standard library only, 270 lines",
    "checkpoint": "size and root of the log, signed (C2SP tlog-checkpoint, signed-note)",
    "decision.json": "the decision to allow, with its notes",
    "facts.json": "what was decided on; people are named by the id of their consent record",
    "gate.cedar": "the policy that decided (Cedar)",
    "gate.cedarschema": "its schema",
    "house.cedar": "what this deployment forbids besides; may be empty",
    "key-controller.pem": "public key of the controller, who countersigns consents (Ed25519)",
    "key-log.pem": "public key of the log (Ed25519)",
    "key-log.txt": "the same as transparency tools take it",
    "key-warrant.pem": "public key of the desk that issues warrants (Ed25519)",
    "manifest.c2pa": "the C2PA manifest store as it was signed, with the signer's certificates",
    "policy.json": "the parts of the policy, whose digest the warrant names",
    "root.pem": "root certificates that the deployment's signer leads to",
    "warrant.json": "the warrant: what was permitted, to whom, for ten minutes",
}

_TEXT: Final = """\
Evidence for one output
=======================

Manifest   {manifest}
Request    {request}
Warrant    {warrant}
Released   {released}
Log        {origin}, entry {index}

You need none of the software that made this: openssl 3, sha256sum and Python 3.9 are enough, and
no network. Run the commands in this folder, in this order.

What is in it
-------------
{files}

What is not in it
-----------------
{missing}

1. Nothing was changed since this folder was written
----------------------------------------------------
$ sha256sum -c SHA256SUMS

2. Every hash holds
-------------------
$ python3 check.py

It checks the path of every log entry to the root in the checkpoint (RFC 6962), that warrant,
decision, facts and policy are the ones the log names, that the manifest is about the output, byte
by byte, and that manifest, warrant and log name each other and the same consents. It writes what
was signed, and each signature, into the folder signed/.

3. The signatures hold
----------------------
The log signed its root:
$ openssl pkeyutl -verify -pubin -inkey key-log.pem -rawin -in signed/checkpoint.msg \
-sigfile signed/checkpoint.sig

The desk signed the warrant:
$ openssl pkeyutl -verify -pubin -inkey key-warrant.pem -rawin -in signed/warrant.msg \
-sigfile signed/warrant.sig

The signer signed the manifest's claim (COSE algorithm -7, ES256):
$ openssl x509 -in signed/signer.pem -pubkey -noout -out signed/signer.key
$ openssl dgst -sha256 -verify signed/signer.key -signature signed/claim.sig signed/claim.msg

Where check.py names another algorithm: -35 (ES384) the same with -sha384; -37 (PS256) the same
with -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32; -8 (Ed25519) as for the warrant, with
-inkey signed/signer.key.

The signer's certificate leads to the root, at the time of the release:
$ openssl verify -purpose any -attime {attime} -CAfile root.pem -untrusted signed/chain.pem \
signed/signer.pem

4. Whom the keys belong to
--------------------------
Whoever could forge this folder could put other keys into it. Compare what these commands print
with what you were told by somebody you trust, not by whoever gave you the folder:
$ openssl pkey -pubin -in key-log.pem -noout -text
$ openssl pkey -pubin -in key-warrant.pem -noout -text
$ openssl x509 -in root.pem -noout -subject -fingerprint -sha256

Ask the log's witnesses, or anybody who kept a checkpoint, whether they know this log: a log that
was written anew as a whole has a root that nobody else has seen.

What this shows
---------------
The output is, byte by byte, what the signer signed. It was made under this warrant, which this
policy permitted on these facts. Decision, warrant and release are in the log, in this order, under
the signed root. The consents that the manifest names were confirmed before the decision; the files
proof-consent-*.json have every later step too, so that a withdrawal shows.

With facts.json, gate.cedar, house.cedar and any Cedar engine you can decide again.

What this does not show
-----------------------
That what was measured in the pictures is true: the facts are the deployment's own word. Who is
behind a commitment: it is a keyed hash, and its key is not given away; ask the deployment to show
you the consent record. That the "output" field of the log's release is this file: it is such a hash
too; the manifest's name and its hash of the file bind the two instead. That a time stamp is in the
manifest: any C2PA tool shows it. That everything which happened was logged.
"""


def write_readme(
    row: ReleaseRow, warrant: Warrant, names: Sequence[str], missing: Sequence[str]
) -> bytes:
    """Return the README for files of these names; `missing` are sentences on what is not there."""
    shown = [*names, "README.txt", "SHA256SUMS"]
    return _TEXT.format(
        manifest=row.manifest_id,
        request=row.request_id,
        warrant=warrant.warrant_id,
        released=datetime.fromtimestamp(row.released_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        origin=warrant.log_origin,
        index=row.log_index,
        files="\n".join(f"  {name:<26}{_describe(name)}" for name in sorted(shown)),
        missing="\n".join(f"  {line}" for line in missing) or "  Nothing is missing.",
        attime=row.released_at,
    ).encode()


def _describe(name: str) -> str:
    if name.startswith("output."):
        return "the output, as it was released"
    if name.startswith("proof-consent-"):
        return "a step of a consent, with its proof: person by person, step by step"
    if name.startswith("proof-"):
        return f"the log's entry of the {name[6:-5]}, with its proof"
    return _FILES[name]
