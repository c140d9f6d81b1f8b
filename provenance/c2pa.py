"""The only door to the C2PA library: signs and reads manifests in memory.

It never goes on the net; for a time stamp it asks a loopback address of ours (`timestamps`).

Refused: signing without an active warrant for these very inputs, with a claim that cites another
warrant, or on top of an input whose own manifest does not hold; an update without a notice of
withdrawal for this very file; an output that breaks our rules when read back. None of the library's
errors, types or texts leave this module; `reading` judges what the library reports.

Every context is opened with explicit settings (`c2pa_settings`).
"""

from __future__ import annotations

import io
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import unescape

import c2pa  # type: ignore[import-untyped]  # absolute import: the library, not this module

from policies.errors import Error
from policies.warrant import Warrant, WarrantInvalid
from policies.warrants import ActiveWarrant, require_active
from provenance import embedding
from provenance.assertions import Json
from provenance.asset import (
    AssetMime,
    Content,
    Input,
    Inputs,
    digest_of,
    opened,
    require_few_parts,
    sniff_asset,
)
from provenance.c2pa_settings import read_settings, sign_settings
from provenance.chains import TrustAnchors
from provenance.errors import MediaError, SigningFailed
from provenance.manifest import (
    MAX_STORE_BYTES,
    SwapClaim,
    build_manifest,
)
from provenance.notice import NoticeRefused, WithdrawalNotice, require_notice
from provenance.reading import ManifestReading, Verdict, judge
from provenance.signers import Signer
from provenance.timestamps import Relay, TimeStamper, TsaUnavailable, serve_stamps
from provenance.withdrawal import PARENT, build_update

__all__ = [
    "IngredientRefused",
    "ManifestReading",
    "Signed",
    "read_manifest",
    "sign_manifest",
    "sign_update",
]

_REMOTE = "Remote: must fetch remote manifests from url "  # only this text has the address
_RELATIONSHIPS = {"target": "parentOf", "source": "componentOf"}
_ALGORITHMS = {
    "ES256": c2pa.C2paSigningAlg.ES256,
    "ES384": c2pa.C2paSigningAlg.ES384,
    "Ed25519": c2pa.C2paSigningAlg.ED25519,
    "PS256": c2pa.C2paSigningAlg.PS256,
}
_SIGNATURE_BYTES = {"ES256": 64, "ES384": 96}  # r and s; the library would take DER as well
_SOUND: frozenset[Verdict] = frozenset({"trusted", "intact_untrusted", "no_manifest"})


class IngredientRefused(SigningFailed):
    """An input brings a manifest that does not hold or cannot be read; we build nothing on it."""

    code = "INGREDIENT-REFUSED"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed file, its manifest store on its own (for recovery), and the manifest's URN.

    `data` is empty where the file was written to disk.
    """

    data: bytes = field(repr=False)
    store: bytes = field(repr=False)
    manifest_id: str
    stamped: bool = False


def sign_manifest(
    content: Content,
    claim: SwapClaim,
    *,
    inputs: Inputs,
    signer: Signer,
    warrant: ActiveWarrant,
    stamper: TimeStamper | None,
    out: Path | None = None,
) -> Signed:
    """Return `content` (a file of type `claim.mime`, marks already in it) with a signed manifest.

    With `out` it is written there instead, for videos, and nothing stays there after an error.
    The target becomes the parent and the source a component; their own manifests are kept inside.
    `stamper` gives the time stamp; None signs without, and the signature ends with its certificate.
    Raises WarrantInvalid unless the warrant is active, names both inputs and is the one `claim`
    cites; CertificateRefused for an unfit chain and IngredientRefused for an input whose own
    manifest does not hold, both before the key is used; TsaUnavailable when there is no time stamp
    that holds; else SigningFailed.
    """
    active = require_active(warrant)
    active.require(source_sha256=inputs.source.sha256, target_sha256=inputs.target.sha256)
    _require_cited(claim, active.document)
    signer.check()
    for label, given in inputs._asdict().items():
        _require_sound(label, given)
    callback = _Callback(signer, lambda structure: signer.sign(structure, warrant=active))
    parts = [
        _Part(label, given.content, given.mime, _RELATIONSHIPS[label], _instance_id(claim, label))
        for label, given in inputs._asdict().items()
    ]
    draft = _Draft(build_manifest(claim), parts)
    return _sign_content(content, draft, callback, stamper, out)


def sign_update(
    content: Content,
    *,
    notice: WithdrawalNotice,
    signer: Signer,
    stamper: TimeStamper,
    anchors: TrustAnchors,
    out: Path | None = None,
) -> Signed:
    """Return a released file with an update manifest that says which consents ended.

    Its pixels and its released manifest stay as they are; that one becomes the parent. In a WebP
    the length of the file is under the hard binding (measured, c2pa-rs 0.91), so there the new
    manifest is a standard one, with a binding of its own to the same picture. `anchors`: who is
    believed about the release's time stamp, where its certificate has ended since; `out` as for
    `sign_manifest`.
    Raises NoticeRefused unless `notice` is for this very file and the consents its manifest names;
    else as `sign_manifest` does.
    """
    given = require_notice(notice)
    given.require()
    row, mime = given.row, sniff_asset(content)
    reading = read_manifest(content, mime, anchors=anchors)
    named = {one["commitment"] for one in (reading.consent or {}).get("consents", ())}
    same = (digest_of(content), reading.manifest_id) == (row.output_sha256, row.manifest_id)
    if not (same and reading.intact and {one.commitment for one in given.ended} <= named):
        raise NoticeRefused("the notice is not about this file and its consents")
    signer.check()
    callback = _Callback(signer, lambda structure: signer.sign_update(structure, notice=given))
    parts = [_Part(PARENT, content, mime, "parentOf", f"xmp:iid:{row.mark_id}")]
    draft = _Draft(build_update(given, mime), parts, mime != "image/webp", anchors)
    return _sign_content(content, draft, callback, stamper, out)


def read_manifest(
    content: Content, mime: AssetMime, *, anchors: TrustAnchors, store: bytes | None = None
) -> ManifestReading:
    """Read and judge the manifest of a file, or `store` (one kept elsewhere) against the file.

    Nothing is fetched and nothing raised for a bad file: the verdict says what it is worth.
    `anchors` alone decide about trust; without any, nothing is trusted.
    """
    if unfit := _why_unfit(content, mime, store):
        return ManifestReading("unreadable", detail=unfit)
    try:
        found = _report(content, mime, anchors, store)
        return ManifestReading("no_manifest") if found is None else judge(*found)
    except c2pa.C2paError as error:
        kind, _, url = str(error).partition(_REMOTE)
        if kind == "" and url:
            return ManifestReading(
                "remote_manifest_not_fetched",
                detail="the manifest is on a server; none is fetched",
                remote_url=unescape(url),  # the library leaves XML's own escapes in
            )
        return ManifestReading("unreadable", detail="the manifest or the file cannot be parsed")
    except (ValueError, RecursionError):
        return ManifestReading("unreadable", detail="the manifest is malformed or nested too deep")


class _Callback:
    """What the library calls to sign; keeps the error, which the library would drop."""

    def __init__(self, signer: Signer, sign: Callable[[bytes], bytes]) -> None:
        self.signer = signer
        self.sign = sign
        self.error: Exception | None = None
        self.signed = False

    def __call__(self, structure: bytes) -> bytes:
        try:
            signature = self.sign(structure)
        except Exception as error:  # noqa: BLE001 - raised again once the library has given up
            self.error = error
            return b""
        expected = _SIGNATURE_BYTES.get(self.signer.alg, len(signature))
        self.signed = len(signature) == expected > 0
        return signature if self.signed else b""


def _serve(stamper: TimeStamper | None) -> AbstractContextManager[Relay | None]:
    return nullcontext() if stamper is None else serve_stamps(stamper)


def _stamp_error(relay: Relay | None, callback: _Callback) -> Exception | None:
    """Return why there is no time stamp, where that is what ended the signing."""
    if relay is None or relay.error is not None or relay.asked or not callback.signed:
        return relay.error if relay else None
    return TsaUnavailable(
        "the signing library did not reach the time stamp on 127.0.0.1",
        mend="where a web proxy is set, put 127.0.0.1 into NO_PROXY",
    )


def _require_cited(claim: SwapClaim, document: Warrant) -> None:
    cited = (claim.warrant_hash, claim.decision_hash, claim.policy_sha256)
    roles = sorted(role for _, role in claim.consents)
    if cited != (document.sha256, document.decision_sha256, document.policy_sha256) or (
        roles != sorted(person.role for person in document.people)
    ):
        raise WarrantInvalid("the claim cites another warrant", code="WARRANT-OTHER-CLAIM")


def _require_sound(label: str, given: Input) -> None:
    reading = read_manifest(given.content, given.mime, anchors=TrustAnchors(()))
    if reading.verdict not in _SOUND:
        codes = {*reading.failures, *(c for i in reading.ingredient_failures for c in i.codes)}
        why = ", ".join(sorted(codes)) or reading.detail
        raise IngredientRefused(
            f"the {label} brings a manifest that does not hold: {reading.verdict} ({why})",
            mend=f"use the {label} as its maker released it, with its manifest inside the file",
        )


@contextmanager
def _writing(out: Path | None) -> Iterator[BinaryIO]:
    """Give a file to write to and read again; one on disk is gone when signing fails."""
    if out is None:
        yield io.BytesIO()
        return
    try:
        with open(out, "x+b", opener=_open_private) as file:
            yield file
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sign_content(
    content: Content,
    draft: _Draft,
    callback: _Callback,
    stamper: TimeStamper | None,
    out: Path | None,
) -> Signed:
    """Sign into memory, or to `out`, and read back what was written."""
    with _serve(stamper) as relay, opened(content) as file, _writing(out) as written:
        store = _sign(file, written, draft, callback, relay)
        data = written.getvalue() if isinstance(written, io.BytesIO) else b""
        written.flush()
        mime = draft.definition["format"]
        return _read_back(out or data, data, store, mime, stamped=stamper is not None)


@dataclass(frozen=True, slots=True)
class _Part:
    """One ingredient of a manifest to be signed."""

    label: str
    content: Content
    mime: AssetMime
    relationship: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """A manifest to be signed; `anchors`: who is believed about its parts."""

    definition: Json
    parts: Sequence[_Part]
    update: bool = False
    anchors: TrustAnchors | None = None


def _sign(
    file: BinaryIO, out: BinaryIO, draft: _Draft, callback: _Callback, relay: Relay | None
) -> bytes:
    """Sign and return the store; raise what the signer or the time stamp raised, else ours."""
    alg, chain_pem = _ALGORITHMS[callback.signer.alg], callback.signer.chain_pem
    stamp_url = relay.url if relay else None
    try:
        with (
            c2pa.Context.from_dict(sign_settings(draft.anchors)) as context,
            c2pa.Signer.from_callback(callback, alg, chain_pem, stamp_url) as signer,
            c2pa.Builder(draft.definition, context=context) as builder,
        ):
            if draft.update:
                builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
            for part in draft.parts:
                described = {
                    "title": part.label,
                    "label": part.label,
                    "relationship": part.relationship,
                    "instance_id": part.instance_id,
                }
                with opened(part.content) as bytes_of:
                    builder.add_ingredient(described, part.mime, bytes_of)
            return bytes(builder.sign(signer, draft.definition["format"], file, out))
    except c2pa.C2paError as error:
        cause = callback.error or _stamp_error(relay, callback) or error
        if isinstance(cause, Error):
            raise cause from None
        raise SigningFailed("no valid signature came back from the signer") from cause


def _why_unfit(content: Content, mime: AssetMime, store: bytes | None) -> str:
    """Say why the library should not even see this.

    It guesses formats from bytes by itself, and many boxes hold it up for minutes.
    """
    if store is not None and not 0 < len(store) <= embedding.MAX_STORE_BYTES:
        return "the manifest store is empty or too large"
    try:
        if sniff_asset(content) != mime:
            return f"the file is not {mime}"
        require_few_parts(content, mime)
    except MediaError as error:
        return error.message
    return ""


def _instance_id(claim: SwapClaim, label: str) -> str:
    """Name an ingredient within this output only.

    Left alone, the library copies the id of the input's XMP, which may say who made it (measured).
    """
    return f"xmp:iid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{claim.warrant_hash}/{label}')}"


def _read_back(
    signed: Content, data: bytes, store: bytes, mime: AssetMime, *, stamped: bool
) -> Signed:
    if mime == "image/jpeg" and len(store) > MAX_STORE_BYTES:
        raise SigningFailed(
            f"the manifest store has {len(store)} bytes, a JPEG carries {MAX_STORE_BYTES}",
            mend="an input brings a large manifest: write the output as PNG or WebP",
        )
    reading = read_manifest(signed, mime, anchors=TrustAnchors(()))
    if reading.verdict != "intact_untrusted" or reading.findings:
        broken = ", ".join(finding.code for finding in reading.findings)
        raise SigningFailed(f"the signed file reads back as {reading.verdict} {broken}".rstrip())
    # No authority is believed here, so a good stamp reads as one of an unknown authority.
    if reading.time_stamp != ("untrusted" if stamped else "missing"):
        raise SigningFailed(f"the time stamp reads back as {reading.time_stamp}")
    return Signed(data, store, reading.manifest_id, stamped)


def _report(
    content: Content, mime: AssetMime, anchors: TrustAnchors, store: bytes | None
) -> tuple[Json, Json, str] | None:
    """Return the manifests, the validation results and the state; None without a manifest."""
    with c2pa.Context.from_dict(read_settings(anchors)) as context, opened(content) as file:
        reader = c2pa.Reader.try_create(mime, file, store, context=context)
        if reader is None:
            return None
        with reader:
            report, results = json.loads(reader.json()), reader.get_validation_results()
            return report, results or {}, str(reader.get_validation_state())
