"""Write every vector of this folder anew: `python tests/vectors/outputs/regenerate.py`.

`released.jpg` and `released.webp` leave through the door of the product, out of the studio of
`tests/conftest.py`. Each twin is `released.jpg` with one thing wrong: `damaged` changes bytes and
needs no key, so a test makes those again and compares; `signed_anew` signs lies with the keys of
one run, which are then forgotten, so those files differ every time. The people are rendered.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import c2pa
import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from provenance.assertions import LogPosition
from provenance.c2pa import read_manifest
from provenance.chains import CLAIM_SIGNING, TrustAnchors
from provenance.fingerprints import fingerprint
from provenance.manifest import CREATED_LABELS, SOURCE_TYPE, SwapClaim, build_manifest
from provenance.media import Frame, decode, encode
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.release import release
from provenance.timestamps import serve_stamps

HERE = Path(__file__).parent
DEMO = HERE.parent.parent.parent / "docs" / "demo"
CONFTEST = HERE.parent.parent / "conftest.py"
WATERMARK_KEY = b"m" * 32
"""The key of every studio of `tests/conftest.py`: public, never to be used elsewhere."""
MARK_ALG = "org.facewarrant.wm.v1"
SIDE_PX = 256  # the smallest side that carries a mark
PORT = b"00009"
"""Where the bait sends a reader: a test puts the port it listens on here, in five digits."""
PLAIN = b"c2pa.thumbnail.ingredient"
TRAVERSAL = b"../../../../../canary.jpg"
_HEAD = 8  # length of a JUMBF box and its type; a description has 16 bytes of type and 1 of toggles
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\x00"
CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def now() -> datetime:
    return datetime.now(UTC)


# --- JPEG, RIFF and JUMBF by hand -----------------------------------------------------------------


def segments(jpeg: bytes) -> list[bytes]:
    """The segments in front of the scan, markers included, and then the rest as the last part."""
    at, found = 2, [jpeg[:2]]
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        found.append(jpeg[at:end])
        at = end
    return [*found, jpeg[at:]]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def is_manifest(part: bytes) -> bool:
    return part[:2] == b"\xff\xeb"


def is_xmp(part: bytes) -> bool:
    return part[4:].startswith(XMP_HEAD)


def strip(jpeg: bytes) -> bytes:
    """The JPEG without its manifest; labels and mark stay."""
    return b"".join(part for part in segments(jpeg) if not is_manifest(part))


def store_of(webp: bytes) -> bytes:
    """The manifest store of a WebP file, from its chunk C2PA."""
    at = webp.index(b"C2PA") + 4
    return webp[at + 4 : at + 4 + int.from_bytes(webp[at : at + 4], "little")]


def with_manifest(jpeg: bytes, store: bytes) -> bytes:
    """The JPEG with a store in one APP11 segment (ISO 19566-5, D.2), in front of all else."""
    return jpeg[:2] + segment(0xEB, b"JP" + b"\x00\x01" + b"\x00\x00\x00\x01" + store) + jpeg[2:]


def with_xmp(jpeg: bytes, packet: bytes) -> bytes:
    """The JPEG with this XMP packet and no other."""
    head, *rest = (part for part in segments(jpeg) if not is_xmp(part))
    return head + segment(0xE1, XMP_HEAD + packet) + b"".join(rest)


def xmp_of(jpeg: bytes) -> bytes:
    [found] = [part[4 + len(XMP_HEAD) :] for part in segments(jpeg) if is_xmp(part)]
    return found


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# --- twins that need no key -----------------------------------------------------------------------


def damaged(jpeg: bytes, webp: bytes) -> dict[str, bytes]:
    """The twins that anybody can make out of the two released files."""
    claim = jpeg.index(b"claim_generator_info", jpeg.index(b"c2pa.claim"))
    return {
        "bit_flipped_pixels.jpg": flip(jpeg, len(jpeg) * 9 // 10),
        "bit_flipped_claim.jpg": flip(jpeg, jpeg.index(b"FaceWarrant", claim)),
        "bit_flipped_assertion.jpg": flip(jpeg, jpeg.index(b"notAllowed")),
        "truncated_jumbf.jpg": truncate(jpeg),
        "swapped_media.jpg": swap_media(jpeg),
        "manifest_of_another.jpg": with_manifest(strip(jpeg), store_of(webp)),
        "remote_bait.jpg": with_xmp(strip(jpeg), bait(PORT)),
    }


def truncate(jpeg: bytes) -> bytes:
    """Six tenths of the store, in a segment whose length says so: the picture still decodes."""
    parts = [
        segment(0xEB, part[4 : len(part) * 6 // 10]) if is_manifest(part) else part
        for part in segments(jpeg)
    ]
    return b"".join(parts)


def swap_media(jpeg: bytes) -> bytes:
    """The manifest and labels of the release over a picture that nobody released."""
    kept = [part for part in segments(jpeg) if is_manifest(part) or is_xmp(part)]
    other = encode(portrait("persona6_0"), "image/jpeg")
    return other[:2] + b"".join(kept) + other[2:]


def bait(port: bytes) -> bytes:
    """XMP that sends a reader to a server on this machine for the manifest."""
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:dcterms="http://purl.org/dc/terms/" '
        b'dcterms:provenance="http://127.0.0.1:' + port + b'/manifest.c2pa"/></rdf:RDF></x:xmpmeta>'
    )


# --- twins that somebody with a key makes ---------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Ingredient:
    """A file as an ingredient: its label in the manifest, and what else is said of it."""

    label: str
    data: bytes
    relationship: str = "parentOf"
    more: Mapping[str, object] = dataclasses.field(default_factory=dict)


def sign(
    pki: DevelopmentChain,
    picture: bytes,
    definition: Mapping[str, object],
    *ingredients: Ingredient,
    resources: Mapping[str, bytes] | None = None,
    heard: list[bytes] | None = None,
    stamped: bool = True,
) -> bytes:
    """The JPEG with whatever manifest, signed and mostly time-stamped under that root.

    `heard` gets what was signed and the signature.
    """

    def answer(structure: bytes) -> bytes:
        raw = raw_signature(pki.leaf_key, structure)
        if heard is not None:
            heard[:] = [structure, raw]
        return raw

    settings = {
        "builder": {
            "thumbnail": {"enabled": False},
            "created_assertion_labels": list(CREATED_LABELS),
        },
        "trust": {"trust_config": CLAIM_SIGNING.dotted_string},
    }
    out = io.BytesIO()
    with (
        serve_stamps(pki.authority(now)) as relay,
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(
            answer, c2pa.C2paSigningAlg.ES256, pki.chain.pem, relay.url if stamped else None
        ) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        for one in ingredients:
            described = {"title": one.label, "label": one.label, "relationship": one.relationship}
            builder.add_ingredient(described | one.more, "image/jpeg", io.BytesIO(one.data))
        for identifier, data in (resources or {}).items():
            builder.add_resource(identifier, io.BytesIO(data))
        builder.sign(signer, "image/jpeg", io.BytesIO(picture), out)
    return out.getvalue()


def raw_signature(key: Any, structure: bytes) -> bytes:
    """An ES256 signature as COSE writes it: r and s, 32 bytes each."""
    r, s = decode_dss_signature(key.sign(structure, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def claim_of(jpeg: bytes, **changes: Any) -> SwapClaim:
    """The claim of a released file, as its manifest says it."""
    reading = read_manifest(jpeg, "image/jpeg", anchors=TrustAnchors(()))
    assert reading.warrant is not None
    assert reading.consent is not None
    assert reading.bound_mark is not None
    said = reading.warrant
    fields: dict[str, Any] = {
        "title": reading.bound_mark,
        "mime": "image/jpeg",
        "mark_id": bytes.fromhex(reading.bound_mark),
        "watermark": MARK_ALG,
        "fingerprint": print_of(jpeg),
        "warrant_hash": said["warrant_hash"],
        "decision_hash": said["decision_hash"],
        "policy_sha256": said["policy_sha256"],
        "models": {model["name"]: model["sha256"] for model in said["models"]},
        "swapper_name": "geo",
        "swapper_version": "1",
        "log": LogPosition(**said["log"]),
        "consents": tuple((c["commitment"], c["role"]) for c in reading.consent["consents"]),
    }
    return SwapClaim(**fields | changes)


def print_of(data: bytes) -> str:
    """The fingerprint of a file's pixels."""
    return fingerprint(decode(data).frame).bits


def signed_anew(
    pki: DevelopmentChain, stranger: DevelopmentChain, jpeg: bytes, webp: bytes
) -> dict[str, bytes]:
    """The twins whose lie is signed: all but two with the key that signed the release."""
    definition = build_manifest(claim_of(jpeg))
    bare, small = strip(jpeg), encode(portrait("persona2_0")[:64, :64], "image/jpeg")
    target, source = Ingredient("target", small), Ingredient("source", small, "componentOf")
    second = Ingredient("second", small)
    spoilt = Ingredient("target", spoil(sign(pki, small, photograph())))
    other = encode(decode(webp).frame, "image/jpeg", xmp=xmp_of(jpeg))
    marked = build_manifest(claim_of(jpeg, fingerprint=print_of(other)))
    denying = with_xmp(bare, deny_ai(xmp_of(jpeg)))
    return {
        "wrong_key.jpg": sign_with_wrong_key(pki, stranger, bare, definition, target, source),
        "unknown_root.jpg": sign(stranger, bare, definition, target, source),
        "two_parents.jpg": sign(pki, bare, definition, target, source, second),
        "tampered_parent.jpg": sign(pki, bare, definition, spoilt, source),
        "label_denies_ai.jpg": sign(pki, denying, definition, target, source),
        "watermark_of_another.jpg": sign(pki, other, marked, target, source),
        "path_traversal.jpg": sign_path_traversal(pki, bare, definition, target, source),
    }


def photograph() -> dict[str, object]:
    """A manifest as a camera writes it."""
    created = {"action": "c2pa.created", "digitalSourceType": CAPTURE}
    actions = {"actions": [created], "allActionsIncluded": True}
    return {
        "claim_generator_info": [{"name": "Camera", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions}],
    }


def deny_ai(packet: bytes) -> bytes:
    """The labels of a camera picture: another source type, and no AIGC."""
    said = re.sub(rb"<TC260:AIGC>.*?</TC260:AIGC>", b"", packet)
    return said.replace(SOURCE_TYPE.encode(), CAPTURE.encode())


def spoil(jpeg: bytes) -> bytes:
    """A photograph of yesterday's camera that was changed since."""
    return flip(jpeg, jpeg.index(b"digitalCapture"))


def sign_with_wrong_key(
    pki: DevelopmentChain,
    stranger: DevelopmentChain,
    picture: bytes,
    definition: Mapping[str, object],
    *ingredients: Ingredient,
) -> bytes:
    """A manifest with our certificates, and a signature of a key that is not theirs."""
    heard: list[bytes] = []
    data = sign(pki, picture, definition, *ingredients, heard=heard)
    structure, signature = heard
    return replaced(data, signature, raw_signature(stranger.leaf_key, structure))


def sign_path_traversal(
    pki: DevelopmentChain,
    picture: bytes,
    definition: Mapping[str, object],
    target: Ingredient,
    *others: Ingredient,
) -> bytes:
    """A manifest whose ingredient has a thumbnail that is called like a file outside.

    The library writes no such name, so it is put into the finished file: box, links, hashes of
    boxes, and a signature over the claim that says all this. No time stamp fits that signature.
    """
    heard: list[bytes] = []
    thumbnail = {"thumbnail": {"format": "image/jpeg", "identifier": "thumbnail.jpg"}}
    data = sign(
        pki,
        picture,
        definition,
        dataclasses.replace(target, more=thumbnail),
        *others,
        resources={"thumbnail.jpg": target.data},
        heard=heard,
        stamped=False,
    )
    structure, signature = heard
    swaps = [(PLAIN, TRAVERSAL)]
    for box in sorted(assertion_boxes(data), key=nesting):
        swaps.append((digest(box), digest(swapped(box, swaps))))
    new = raw_signature(pki.leaf_key, swapped(structure, swaps))
    return replaced(swapped(data, swaps), signature, new)


def nesting(box: bytes) -> int:
    """How many links of hashes lead from an assertion to the thumbnail: its hash changes after."""
    if box.startswith(PLAIN, _HEAD + 17):
        return 0
    return 1 if PLAIN in box else 2


def assertion_boxes(jpeg: bytes) -> list[bytes]:
    """The assertions of the active manifest as they are hashed: without the head of the box."""
    store = next(children(jpeg[jpeg.index(b"jumb") - 4 :]))
    *_, manifest = children(store)
    assertions = next(box for box in children(manifest) if b"c2pa.assertions\x00" in box[:64])
    return list(children(assertions))[1:]


def claim_box(jpeg: bytes) -> bytes:
    """The claim of the active manifest as it is signed: the CBOR alone."""
    store = next(children(jpeg[jpeg.index(b"jumb") - 4 :]))
    *_, manifest = children(store)
    claim = next(box for box in children(manifest) if b"c2pa.claim.v2\x00" in box[:64])
    return list(children(claim))[1]


def children(box: bytes) -> Iterator[bytes]:
    """The boxes inside, each without its head; of whole data, its first box."""
    at = 0
    while at < len(box):
        size = int.from_bytes(box[at : at + 4], "big")
        yield box[at + _HEAD : at + size]
        at += size


def swapped(data: bytes, swaps: Sequence[tuple[bytes, bytes]]) -> bytes:
    for old, new in swaps:
        data = data.replace(old, new)
    return data


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """The file with one part replaced by another of its length."""
    assert (data.count(old), len(new)) == (1, len(old))
    return data.replace(old, new)


# --- the released files ---------------------------------------------------------------------------


def portrait(name: str) -> Frame:
    """A quiet part of a rendered person, which makes a small file."""
    frame = decode((DEMO / f"{name}.webp").read_bytes()).frame
    return np.ascontiguousarray(frame[224 : 224 + SIDE_PX, -SIDE_PX:])


def load_conftest() -> ModuleType:
    """The whole deployment in memory of the tests."""
    spec = importlib.util.spec_from_file_location("studio_conftest", CONFTEST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def released(studio: Any) -> tuple[bytes, bytes]:
    """A JPEG and a WebP file of two people, out of the door."""
    source = decode(encode(portrait("persona1_0"), "image/jpeg"))
    out = []
    for name, mime in (("persona3_0", "image/jpeg"), ("persona4_1", "image/webp")):
        target = decode(encode(portrait(name), mime))
        draft = studio.draft(source=source, target=target, frame=target.frame)
        out.append(release(draft, press=studio.press).data)
    return out[0], out[1]


def main() -> None:
    conftest = load_conftest()
    ours, other = (
        make_development_chain(organisation=name, now=now())
        for name in ("Vector Studio", "Someone Else")
    )
    with tempfile.TemporaryDirectory() as folder:
        jpeg, webp = released(conftest.Studio(ours, Path(folder)))
    files = {"released.jpg": jpeg, "released.webp": webp}
    files |= damaged(jpeg, webp) | signed_anew(ours, other, jpeg, webp)
    for name, data in files.items():
        (HERE / name).write_bytes(data)
    (HERE / "root.pem").write_text(ours.anchors.pem)


if __name__ == "__main__":
    main()
