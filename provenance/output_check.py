"""Checks a bundle of one output; needs Python 3.9 or later and nothing else, no network.

    python3 check.py

Reads the files of the folder it is run in. Checks everything that is a hash: proofs of the log,
warrant, decision, facts, policy, consents, manifest and picture. What is a signature it writes into
the folder `signed`, message and signature apart, for the openssl commands in README.txt. Ends with
1 at the first thing that does not hold. Read it before you run it: that is why it is so short.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def require(holds: object, words: str) -> None:
    """End with an error unless something holds."""
    if not holds:
        raise SystemExit(f"DOES NOT HOLD: {words}")
    print(f"holds: {words}")


def sha256(data: bytes) -> str:
    """Return the digest as hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: object) -> bytes:
    """Return canonical JSON (RFC 8785; here all names are ASCII and all numbers whole)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def root_of_path(leaf: bytes, index: int, size: int, path: list[str]) -> bytes:
    """Return the root that a proof leads to (RFC 9162, section 2.1.3.2)."""
    value, last = leaf, size - 1
    for step in map(bytes.fromhex, path):
        if index & 1 or index == last:
            value = hashlib.sha256(b"\x01" + step + value).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\x01" + value + step).digest()
        index, last = index >> 1, last >> 1
    return value if last == 0 else b""


def check_proofs(folder: Path, root: bytes, size: int) -> dict[str, Any]:
    """Check every proof against the checkpoint's root; return the entries by file name."""
    entries = {}
    for file in sorted(folder.glob("proof-*.json")):
        proof = json.loads(file.read_bytes())
        leaf = hashlib.sha256(b"\x00" + canonical(proof["entry"])).digest()
        found = root_of_path(leaf, proof["index"], size, proof["path"])
        require(found == root, f"{file.name}: entry {proof['index']} is in the log")
        entries[file.stem] = {**proof["entry"], "index": proof["index"]}
    return entries


def read_cbor(data: bytes, at: int) -> tuple[Any, int]:
    """Return the CBOR value (RFC 8949, definite lengths) at a place, and the place after it."""
    kind, short = data[at] >> 5, data[at] & 31
    width = {24: 1, 25: 2, 26: 4, 27: 8}.get(short, 0)
    number = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else short
    at += 1 + width
    if kind in (2, 3):
        raw = data[at : at + number]
        return (raw if kind == 2 else raw.decode()), at + number
    if kind in (4, 5):
        items = []
        for _ in range(number * (kind - 3)):
            item, at = read_cbor(data, at)
            items.append(item)
        return (dict(zip(items[::2], items[1::2])) if kind == 5 else items), at  # noqa: B905
    if kind == 6:
        return read_cbor(data, at)
    plain = {20: False, 21: True, 22: None}.get(short, number)
    return (number if kind == 0 else -1 - number if kind == 1 else plain), at


def write_cbor(kind: int, data: bytes) -> bytes:
    """Return bytes (kind 2) or text (kind 3) as CBOR."""
    size = len(data)
    for short, width in ((24, 1), (25, 2), (26, 4)):
        if size >= 24 and size < 256**width:
            return bytes([kind << 5 | short]) + size.to_bytes(width, "big") + data
    return bytes([kind << 5 | size]) + data


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return type and content of the JUMBF boxes in `data`."""
    found, at = [], 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if not 8 <= length <= len(data) - at:
            raise SystemExit("DOES NOT HOLD: the manifest's boxes are whole")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + length]))
        at += length
    return found


def by_label(superbox: bytes) -> dict[str, bytes]:
    """Return the superboxes in a superbox by the labels of their descriptions, in their order."""
    found = {}
    for kind, content in boxes(superbox):
        if kind == b"jumb":
            description = boxes(content)[0][1]
            found[description[17:].split(b"\x00")[0].decode()] = content
    return found


def value_of(superbox: bytes) -> Any:
    """Return the CBOR or JSON value in a superbox."""
    kind, content = boxes(superbox)[1]
    return json.loads(content) if kind == b"json" else read_cbor(content, 0)[0]


def check_manifest(folder: Path, output: bytes) -> tuple[str, dict[str, Any]]:
    """Check the manifest against the output; return its name and our assertions in it."""
    store = by_label(boxes((folder / "manifest.c2pa").read_bytes())[0][1])
    name, manifest = list(store.items())[-1]
    parts = by_label(manifest)
    assertions = by_label(parts["c2pa.assertions"])
    claim_box = next(box for label, box in parts.items() if label.startswith("c2pa.claim"))
    claim = value_of(claim_box)
    named = claim.get("created_assertions", []) + claim.get("gathered_assertions", [])
    for reference in named or claim["assertions"]:
        label = reference["url"].rpartition("/")[2]
        same = hashlib.sha256(assertions.get(label, b"")).digest() == reference["hash"]
        require(same, f"the signed claim names this {label}")
    require(hash_output(assertions, output), "the manifest is about this output")
    write_claim(folder / "signed", parts["c2pa.signature"], boxes(claim_box)[1][1])
    ours = [label for label in assertions if label.startswith("org.facewarrant.")]
    return name, {label: value_of(assertions[label]) for label in ours}


def hash_output(assertions: dict[str, bytes], output: bytes) -> bool:
    """Tell whether the output has the hash that the manifest binds (C2PA 2.2, 9.2 and A.5)."""
    bound = [label for label in assertions if label.startswith("c2pa.hash.")]
    require(len(bound) == 1, "the manifest binds one hash of an output")
    hashed = value_of(assertions[bound[0]])
    require(hashed.get("alg", "sha256") == "sha256", "the output's hash is SHA-256")
    if bound[0] == "c2pa.hash.data":
        found = hashlib.sha256(without_gaps(output, hashed["exclusions"])).digest()
        return bool(found == hashed["hash"])
    require(bound[0] in ("c2pa.hash.bmff.v2", "c2pa.hash.bmff.v3"), "its kind is known here")
    return bool(hash_boxes(output, hashed["exclusions"]) == hashed["hash"])


def without_gaps(output: bytes, gaps: list[dict[str, Any]]) -> bytes:
    """Return a picture's file without the ranges that the hash leaves out."""
    at, rest = 0, b""
    for gap in sorted(gaps, key=lambda one: int(one["start"])):
        rest, at = rest + output[at : gap["start"]], gap["start"] + gap["length"]
    return rest + output[at:]


def hash_boxes(output: bytes, left_out: list[dict[str, Any]]) -> bytes:
    """Return the hash of a video's outermost boxes, each behind its place, but those left out."""
    hasher, at = hashlib.sha256(), 0
    while at < len(output):
        length = int.from_bytes(output[at : at + 4], "big")
        if length == 1:  # the length follows, in eight bytes
            length = int.from_bytes(output[at + 8 : at + 16], "big")
        box = output[at : at + length]
        if not 8 <= length == len(box):
            raise SystemExit("DOES NOT HOLD: the video's boxes are whole")
        if not any(is_left_out(box, rule) for rule in left_out):
            hasher.update(at.to_bytes(8, "big") + box)
        at += length
    return hasher.digest()


def is_left_out(box: bytes, rule: dict[str, Any]) -> bool:
    """Tell whether a rule of the manifest leaves out an outermost box.

    No rule may leave out what is shown or heard; one that is not known here ends the check.
    """
    parts = {name for name, value in rule.items() if value is not None}
    harmless = rule["xpath"] in ("/ftyp", "/mfra", "/free", "/skip") and parts == {"xpath"}
    itself = rule["xpath"] == "/uuid" and rule.get("data") == [{"offset": 8, "value": C2PA_UUID}]
    if not harmless and not (itself and parts == {"xpath", "data"}):
        raise SystemExit("DOES NOT HOLD: the manifest's hash covers everything that is shown")
    return rule["xpath"].encode() == b"/" + box[4:8] and (harmless or box[8:24] == C2PA_UUID)


def write_claim(signed: Path, box: bytes, claim: bytes) -> None:
    """Write what the manifest's signer signed (COSE, RFC 9052), the signature, and the chain."""
    (protected, unprotected, _, signature), _ = read_cbor(boxes(box)[1][1], 0)
    header = read_cbor(protected, 0)[0]
    alg, chain = header[1], header.get(33) or unprotected[33]
    message = b"\x84" + write_cbor(3, b"Signature1") + write_cbor(2, protected) + b"\x40"
    (signed / "claim.msg").write_bytes(message + write_cbor(2, claim))
    if alg in (-7, -35, -36):  # ECDSA: openssl takes the two numbers as DER
        half = len(signature) // 2
        numbers = b"".join(write_integer(signature[i : i + half]) for i in (0, half))
        signature = b"\x30" + (b"\x81" if len(numbers) > 127 else b"")
        signature += bytes([len(numbers)]) + numbers
    (signed / "claim.sig").write_bytes(signature)
    print(f"the claim is signed with COSE algorithm {alg} (README.txt has the command for it)")
    certificates = [chain] if isinstance(chain, bytes) else chain
    pem = [
        "-----BEGIN CERTIFICATE-----\n"
        + base64.encodebytes(one).decode()
        + "-----END CERTIFICATE-----\n"
        for one in certificates
    ]
    (signed / "signer.pem").write_text(pem[0])
    (signed / "chain.pem").write_text("".join(pem))


def write_integer(raw: bytes) -> bytes:
    """Return a positive number as a DER integer."""
    number = int.from_bytes(raw, "big")
    body = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes([2, len(body)]) + body


def write_checkpoint(folder: Path) -> tuple[bytes, int]:
    """Write the checkpoint's message and signature; return root and size of the log."""
    text, _, lines = (folder / "checkpoint").read_text().partition("\n\n")
    origin, size, root = text.split("\n")[:3]
    first = next(line for line in lines.split("\n") if line.split(" ")[1] == origin)
    (folder / "signed" / "checkpoint.msg").write_text(text + "\n")
    signature = base64.b64decode(first.split(" ")[2])[4:]  # four bytes name the key
    (folder / "signed" / "checkpoint.sig").write_bytes(signature)
    return base64.b64decode(root), int(size)


def read_warrant(folder: Path) -> dict[str, Any]:
    """Write the warrant's message and signature; return the warrant."""
    data = (folder / "warrant.json").read_bytes()
    warrant: dict[str, Any] = json.loads(data)
    require(canonical(warrant) == data, "the warrant is in canonical form")
    body = {name: value for name, value in warrant.items() if name != "sig"}
    (folder / "signed" / "warrant.msg").write_bytes(b"facewarrant/warrant/1\x00" + canonical(body))
    (folder / "signed" / "warrant.sig").write_bytes(bytes.fromhex(warrant["sig"]))
    return warrant


def check_decision(folder: Path, warrant: dict[str, Any], entry: dict[str, Any]) -> None:
    """Check the decision, its facts and the policy as far as they are in the bundle."""
    require(entry["index"] == warrant["decision_index"], "the warrant names this decision's entry")
    require(entry["allow"] is True, "the decision was to allow")
    pairs = {"decision": "decision_sha256", "request": "request_sha256", "policy": "policy_sha256"}
    for name, field in pairs.items():
        require(entry[name] == warrant[field], f"log and warrant name the same {name}")
    for name in ("decision", "facts"):
        file = folder / f"{name}.json"
        if file.exists():
            require(sha256(file.read_bytes()) == entry[name], f"the log names this {file.name}")
        else:
            print(f"NOT CHECKED: {file.name} is not in the bundle")
    if not (folder / "policy.json").exists():
        print("NOT CHECKED: the policy is not in the bundle")
        return
    parts = json.loads((folder / "policy.json").read_bytes())["parts"]
    require(sha256(canonical(parts)) == warrant["policy_sha256"], "the warrant names this policy")
    names = {"policy": "gate.cedar", "schema": "gate.cedarschema", "house": "house.cedar"}
    texts = {part: sha256((folder / name).read_bytes()) for part, name in names.items()}
    require(sha256(canonical(texts)) == parts["gate"], "the policy has these texts")


def check_consents(
    warrant: dict[str, Any], entries: dict[str, Any], assertion: dict[str, Any]
) -> None:
    """Check that the consents of warrant, log and manifest are the same ones."""
    shown = sorted(one["commitment"] for one in assertion["consents"])
    decided = sorted(entries["proof-decision"]["subjects"])
    require(shown == decided, "manifest and decision name the same consents")
    steps = {
        entry["head"]: entry
        for name, entry in entries.items()
        if name.startswith("proof-consent-") and entry["subject"] in shown
    }
    for person in warrant["people"]:
        step = steps.get(person["consent_head"], {})
        given = step.get("event") == "confirmed" and step["index"] < warrant["decision_index"]
        require(given, f"the consent of the {person['role']} was confirmed before the decision")


def main(folder: Path) -> None:
    """Check everything in the folder that is a hash."""
    (folder / "signed").mkdir(exist_ok=True)
    root, size = write_checkpoint(folder)
    entries = check_proofs(folder, root, size)
    warrant = read_warrant(folder)
    digest = sha256((folder / "warrant.json").read_bytes())
    require(entries["proof-warrant"]["warrant"] == digest, "the log names this warrant")
    check_decision(folder, warrant, entries["proof-decision"])
    output = next(folder.glob("output.*")).read_bytes()
    name, ours = check_manifest(folder, output)
    says = ours["org.facewarrant.warrant"]
    release = entries["proof-release"]
    require(release["manifest"] == name, "the log names this manifest as released")
    require(release["warrant"] == warrant["warrant_id"], "it was released under this warrant")
    require(says["warrant_hash"] == digest, "the manifest names this warrant")
    named = says["log"]["index"] == warrant["decision_index"]
    require(named, "the manifest names the decision's entry in the log")
    require(says["decision_hash"] == warrant["decision_sha256"], "the manifest names this decision")
    check_consents(warrant, entries, ours["org.facewarrant.consent"])
    print("Every hash holds. Now run the openssl commands of README.txt.")


if __name__ == "__main__":
    main(Path.cwd())
