"""The update manifest: what our lint lets through, and every way in which one can be wrong."""

from __future__ import annotations

import copy
import io
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import c2pa
import encypher_c2pa
import pytest

from provenance.assertions import Json
from provenance.c2pa import ManifestReading, read_manifest
from provenance.c2pa_settings import sign_settings
from provenance.chains import TrustAnchors, load_anchors
from provenance.pki import DevelopmentChain, make_development_chain
from provenance.reading import judge
from provenance.recall import update_release
from provenance.release import release
from provenance.signers import LocalKey, as_cose
from provenance.verify import Verifier
from provenance.withdrawal import PARENT, lint_withdrawal, released_below, state_changes

OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": [PARENT]}}
EDITED = {"action": "c2pa.edited.metadata"}
UPDATE, RELEASE = "urn:c2pa:update", "urn:c2pa:release"
GOOD = {"activeManifest": {"success": [{"code": "signingCredential.trusted"}]}}


def log(index: int = 7, origin: str = "log.test/facewarrant") -> Json:
    return {"origin": origin, "index": index, "size": index + 1}


def report() -> Json:
    """What the library reports of a good update on a release, as far as it matters here."""
    consents = [{"commitment": "a" * 64, "role": "source_identity"}]
    warrant = {name: "b" * 64 for name in ("warrant_hash", "decision_hash", "policy_sha256")}
    ended = {"commitment": "a" * 64, "at": 1_795_219_200, "log": log()}
    said = {
        "c2pa.actions.v2": {"allActionsIncluded": True, "actions": [OPENED, EDITED]},
        "org.facewarrant.withdrawal": {"version": 1, "consents": [ended]},
    }
    below = {
        "c2pa.actions.v2": {"allActionsIncluded": True, "actions": [OPENED]},
        "org.facewarrant.warrant": {"version": 1, **warrant, "models": [], "log": log(3)},
        "org.facewarrant.consent": {"version": 1, "consents": consents},
    }
    part = {"relationship": "parentOf", "label": "c2pa.ingredient.v3", "active_manifest": RELEASE}
    return {
        "active_manifest": UPDATE,
        "manifests": {
            UPDATE: manifest(said, ingredients=[part]),
            RELEASE: manifest(below, ingredients=[]),
        },
    }


def manifest(assertions: Json, ingredients: list[Json]) -> Json:
    return {
        "claim_generator_info": [{"name": "FaceWarrant"}],
        "signature_info": {"issuer": "Studio"},
        "assertions": [
            {"label": label, "data": data, "created": True} for label, data in assertions.items()
        ],
        "ingredients": ingredients,
    }


def data_of(found: Json, label: str, of: str = UPDATE) -> Any:
    [entry] = [a for a in found["manifests"][of]["assertions"] if a["label"] == label]
    return entry["data"]


def test_a_good_update_is_read_through_to_the_release() -> None:
    found = report()
    assert lint_withdrawal(found) == ()
    reading = judge(found, GOOD, "Trusted")
    assert (reading.verdict, reading.findings) == ("trusted", ())
    assert (reading.manifest_id, reading.released_id) == (UPDATE, RELEASE)
    assert reading.withdrawal is not None
    assert reading.warrant is not None
    assert reading.consent is not None
    assert reading.actions == ("c2pa.opened",)
    assert reading.redacted == ()


def test_a_manifest_without_a_withdrawal_stands_for_itself() -> None:
    found = report()
    found["active_manifest"] = RELEASE
    reading = judge(found, GOOD, "Trusted")
    assert (reading.released_id, reading.withdrawal) == (RELEASE, None)
    assert lint_withdrawal(found) == lint_withdrawal({}) == lint_withdrawal({"manifests": 3}) == ()


def said(**changes: Any) -> Callable[[Json], None]:
    return lambda found: data_of(found, "org.facewarrant.withdrawal").update(changes)


def ended(**changes: Any) -> Callable[[Json], None]:
    def change(found: Json) -> None:
        data_of(found, "org.facewarrant.withdrawal")["consents"][0].update(changes)

    return change


def part(**changes: Any) -> Callable[[Json], None]:
    return lambda found: found["manifests"][UPDATE]["ingredients"][0].update(changes)


def another_part(found: Json) -> None:
    found["manifests"][UPDATE]["ingredients"].append({"relationship": "componentOf"})


def add(label: str, data: Json, of: str = UPDATE) -> Callable[[Json], None]:
    entry = {"label": label, "data": data, "created": True}
    return lambda found: found["manifests"][of]["assertions"].append(entry)


def actions(*names: Json) -> Callable[[Json], None]:
    return lambda found: data_of(found, "c2pa.actions.v2").update(actions=list(names))


def drop(label: str) -> Callable[[Json], None]:
    def change(found: Json) -> None:
        kept = [a for a in found["manifests"][RELEASE]["assertions"] if a["label"] != label]
        found["manifests"][RELEASE]["assertions"] = kept

    return change


def other_signer(found: Json) -> None:
    found["manifests"][UPDATE]["signature_info"]["issuer"] = "Somebody Else"


WRONG: list[tuple[Callable[[Json], None], str]] = [
    (said(version=2), "WITHDRAWAL-SCHEMA"),
    (said(consents=[]), "WITHDRAWAL-SCHEMA"),
    (said(reason="moved away"), "WITHDRAWAL-SCHEMA"),
    (ended(name="Jane"), "WITHDRAWAL-SCHEMA"),
    (ended(commitment="Jane"), "WITHDRAWAL-SCHEMA"),
    (ended(at="yesterday"), "WITHDRAWAL-SCHEMA"),
    (ended(log={"origin": "x"}), "WITHDRAWAL-SCHEMA"),
    (add("org.facewarrant.withdrawal__1", {}), "WITHDRAWAL-SCHEMA"),
    (part(relationship="componentOf"), "WITHDRAWAL-SHAPE"),
    (part(active_manifest=None), "WITHDRAWAL-SHAPE"),
    (part(active_manifest="urn:c2pa:nowhere"), "WITHDRAWAL-SHAPE"),
    (part(active_manifest=UPDATE), "WITHDRAWAL-SHAPE"),
    (another_part, "WITHDRAWAL-SHAPE"),
    (actions(OPENED), "WITHDRAWAL-SHAPE"),
    (actions(OPENED, {"action": "c2pa.edited"}), "WITHDRAWAL-SHAPE"),
    (actions(OPENED, EDITED, EDITED), "WITHDRAWAL-SHAPE"),
    (add("c2pa.soft-binding", {"alg": "org.facewarrant.spread.2"}), "WITHDRAWAL-SHAPE"),
    (add("org.facewarrant.warrant", {}), "WITHDRAWAL-SHAPE"),
    (add("org.facewarrant.consent", {}), "WITHDRAWAL-SHAPE"),
    (ended(commitment="c" * 64), "WITHDRAWAL-FOREIGN"),
    (ended(log=log(origin="log.other/facewarrant")), "WITHDRAWAL-FOREIGN"),
    (drop("org.facewarrant.warrant"), "WITHDRAWAL-FOREIGN"),
    (drop("org.facewarrant.consent"), "WITHDRAWAL-FOREIGN"),
    (other_signer, "WITHDRAWAL-FOREIGN"),
]


@pytest.mark.parametrize(("change", "code"), WRONG)
def test_a_wrong_one_is_found_and_nothing_is_believed_of_it(
    change: Callable[[Json], None], code: str
) -> None:
    found = copy.deepcopy(report())
    change(found)
    reading = judge(found, GOOD, "Trusted")
    assert [f.code for f in reading.findings if f.code.startswith("WITHDRAWAL")] == [code]
    assert all(finding.words for finding in reading.findings)
    assert (reading.withdrawal, reading.released_id) == (None, UPDATE)
    # Nothing of the release below is taken for what this manifest says.
    assert reading.warrant is None or code == "WITHDRAWAL-SHAPE"


@pytest.mark.parametrize(
    "found",
    [{}, {"active_manifest": 3}, {"active_manifest": UPDATE, "manifests": {UPDATE: []}}],
)
def test_a_hostile_report_has_no_release_below(found: Json) -> None:
    assert released_below(found) is None


def test_one_line_for_every_day() -> None:
    consents = [{"at": at} for at in (1_795_219_200, 1_795_219_260, 1_795_132_800)]
    [line] = state_changes({"consents": consents}, ())
    assert (line.subject, line.state) == ("consent", "warns")
    assert line.words.endswith("withdrawn on 2026-11-20, 2026-11-21")
    assert list(state_changes(None, ())) == []


# ------------------------------------------------------------------------------ whole files


@pytest.fixture(scope="module")
def stranger() -> DevelopmentChain:
    return make_development_chain(organisation="Somebody Else", now=datetime.now(UTC))


def update(
    data: bytes,
    pki: DevelopmentChain,
    assertions: Sequence[Json],
    *,
    generator: str = "FaceWarrant",
    changes: Sequence[Json] = (OPENED, EDITED),
    mime: str = "image/png",
    anchors: TrustAnchors | None = None,
    **more: Any,
) -> bytes:
    """A picture with an update manifest that says this; nobody asks whether it may."""
    key = LocalKey(pki.leaf_key)
    settings = sign_settings(anchors)
    settings["builder"]["claim_generator_info"] = {"name": generator}
    said = {"allActionsIncluded": True, "actions": list(changes)}
    definition = {
        "claim_generator_info": [{"name": generator}],
        "assertions": [{"label": "c2pa.actions.v2", "data": said}, *assertions],
        **more,
    }
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(
            lambda claim: as_cose(key.sign(claim), claim, key.public, "ES256"),
            c2pa.C2paSigningAlg.ES256,
            pki.chain.pem,
            None,
        ) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.set_intent(c2pa.C2paBuilderIntent.UPDATE)
        described = {"title": PARENT, "label": PARENT, "relationship": "parentOf"}
        builder.add_ingredient(described, mime, io.BytesIO(data))
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()


@pytest.fixture
def shown(studio: Any) -> tuple[bytes, bytes]:
    """A released PNG and its updated copy."""
    draft = studio.draft(mime="image/png")
    out = release(draft, press=studio.press)
    studio.office.withdraw(draft.warrant.document.people[0].record_id)
    row = studio.registry.by_manifest(out.manifest_id)
    return out.data, update_release(row, press=studio.press).data


def read(data: bytes, *chains: DevelopmentChain) -> ManifestReading:
    roots = tuple(root for pki in chains for root in pki.anchors.certificates)
    return read_manifest(data, "image/png", anchors=TrustAnchors(roots))


def test_a_trusted_stranger_withdraws_nothing(
    studio: Any, shown: tuple[bytes, bytes], stranger: DevelopmentChain
) -> None:
    released, updated = shown
    mine = read(updated, studio.pki).withdrawal
    forged = update(
        released, stranger, [{"label": "org.facewarrant.withdrawal", "data": dict(mine or {})}]
    )
    reading = read(forged, studio.pki, stranger)
    assert reading.verdict == "trusted"
    assert reading.withdrawal is None
    assert [finding.code for finding in reading.findings] == ["WITHDRAWAL-FOREIGN"]


def test_an_update_with_a_binding_of_its_own_is_none(
    studio: Any, shown: tuple[bytes, bytes]
) -> None:
    """Which kind a manifest is stands in its box alone; changed, nothing of it holds."""
    updated = bytearray(shown[1])
    kinds = {b"c2ma": updated.rfind(b"c2ma"), b"c2um": updated.rfind(b"c2um")}
    assert kinds[b"c2um"] > kinds[b"c2ma"] > 0  # the update is the last one, on a standard one
    flip = {b"c2um": b"c2ma", b"c2ma": b"c2um"}
    for kind, at in kinds.items():
        changed = bytes(updated[:at]) + flip[kind] + bytes(updated[at + 4 :])
        changed = with_png_checks(changed)
        assert read(changed, studio.pki).verdict in ("invalid", "unreadable", "ingredient_invalid")


def with_png_checks(data: bytes) -> bytes:
    """The PNG with every chunk's checksum made right again."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        out += data[at:end] + zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


REDACTED = "cawg.training-mining"


def redact(data: bytes, pki: DevelopmentChain, generator: str) -> bytes:
    released_id = read_manifest(data, "image/png", anchors=pki.anchors).manifest_id
    uri = f"self#jumbf=/c2pa/{released_id}/c2pa.assertions/{REDACTED}"
    action = {
        "action": "c2pa.redacted",
        "reason": "c2pa.PII.present",
        "parameters": {"redacted": uri},
    }
    return update(data, pki, [], generator=generator, changes=(OPENED, action), redactions=[uri])


def test_a_redaction_of_somebody_else_is_told_and_named(
    studio: Any, shown: tuple[bytes, bytes], stranger: DevelopmentChain
) -> None:
    redacted = redact(shown[0], stranger, "Other Editor")
    reading = read(redacted, studio.pki, stranger)
    assert (reading.verdict, reading.redacted) == ("trusted", (REDACTED,))
    examined = Verifier(stranger.anchors).examine(redacted)
    [line] = [e for e in examined.evidence if "redacted" in e.words]
    assert (line.subject, line.state) == ("ingredients", "warns")
    assert line.words == f"assertions of a part were redacted: {REDACTED}"


def test_our_own_output_redacts_nothing(studio: Any, shown: tuple[bytes, bytes]) -> None:
    """Two of three engines call a redacted file invalid; ours has nothing that would need one."""
    redacted = redact(shown[0], studio.pki, "FaceWarrant")
    assert "REDACTED" in [finding.code for finding in read(redacted, studio.pki).findings]
    pem = studio.pki.anchors.pem
    second = encypher_c2pa.verify(
        redacted,
        mime_type="image/png",
        trust_pem=pem,
        tsa_trust_pem=pem,
        no_default_trust=True,
        telemetry=False,
        online=False,
    )
    assert second["validation_state"] == "Invalid"


def test_a_release_whose_certificate_has_ended_is_judged_by_its_time_stamp(
    stranger: DevelopmentChain,
) -> None:
    """Consents end long after the leaf that signed the release; so an update is given the roots."""
    expired = Path(__file__).parents[1] / "vectors" / "expired"
    old, data = load_anchors([expired / "root.pem"]), (expired / "stamped.jpg").read_bytes()
    both = TrustAnchors((*old.certificates, *stranger.anchors.certificates))
    verdicts = [
        read_manifest(
            update(data, stranger, [], mime="image/jpeg", anchors=given), "image/jpeg", anchors=both
        ).verdict
        for given in (both, None)
    ]
    assert verdicts == ["trusted", "ingredient_invalid"]
