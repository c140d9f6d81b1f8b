"""What a manifest says, and that each broken rule is found by its own name."""

from __future__ import annotations

import base64
import copy
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from policies.errors import Malformed
from provenance.assertions import (
    read_actions,
    read_consent,
    read_soft_bindings,
    read_warrant,
)
from provenance.fingerprints import ALG
from provenance.manifest import (
    GENERATOR,
    MAX_STORE_BYTES,
    SOURCE_TYPE,
    FindingCode,
    LogPosition,
    SwapClaim,
    build_manifest,
    lint_manifest,
)

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]


def make_claim(**changes: Any) -> SwapClaim:
    fields: Json = {
        "title": "0123456789abcdef",
        "mime": "image/jpeg",
        "mark_id": bytes(range(8)),
        "watermark": "org.facewarrant.wm.v1",
        "fingerprint": "0f" * 32,
        "warrant_hash": "a" * 64,
        "decision_hash": "b" * 64,
        "policy_sha256": "c" * 64,
        "models": {"swapper": "d" * 64, "idnet": "e" * 64},
        "swapper_name": "geo",
        "swapper_version": "1.0",
        "log": LogPosition(origin="log.test/facewarrant", index=4, size=5),
        "consents": (("f" * 64, "source_identity"), ("0" * 64, "target_body")),
    }
    return SwapClaim(**(fields | changes))


def as_read(definition: Json) -> Json:
    """The definition as the library reports it after signing: all created, ingredients added."""
    manifest = copy.deepcopy(definition)
    for assertion in manifest["assertions"]:
        assertion["created"] = True
    manifest["ingredients"] = [
        {"title": "target", "relationship": "parentOf"},
        {"title": "source", "relationship": "componentOf"},
    ]
    return manifest


def data_of(manifest: Json, label: str) -> Json:
    """The data of the one assertion of that label; of soft bindings, the watermark's."""
    found = [a["data"] for a in manifest["assertions"] if a["label"] == label]
    assert len(found) == (2 if label == "c2pa.soft-binding" else 1)
    assert isinstance(found[0], dict)
    return found[0]


def print_of(manifest: Json) -> Json:
    """The data of the fingerprint's soft binding."""
    [found] = [a["data"] for a in manifest["assertions"] if a["data"].get("alg") == ALG]
    assert isinstance(found, dict)
    return found


def test_actions_say_what_was_done() -> None:
    data = data_of(build_manifest(make_claim()), "c2pa.actions.v2")
    assert data["allActionsIncluded"] is True
    opened, placed, edited, marked = data["actions"]
    assert opened == {"action": "c2pa.opened", "parameters": {"ingredientIds": ["target"]}}
    assert placed == {"action": "c2pa.placed", "parameters": {"ingredientIds": ["source"]}}
    assert edited == {
        "action": "c2pa.edited",
        "description": "face swap under warrant",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": "geo", "version": "1.0"},
    }
    assert marked == {"action": "c2pa.watermarked.bound"}


def test_time_of_the_edit_is_utc() -> None:
    moment = datetime(2026, 11, 21, 13, 5, 1, tzinfo=timezone(timedelta(hours=1)))
    data = data_of(build_manifest(make_claim(edited_at=moment)), "c2pa.actions.v2")
    assert data["actions"][2]["when"] == "2026-11-21T12:05:01Z"
    assert moment.astimezone(UTC).hour == 12


def test_soft_binding_is_base64_of_the_raw_id() -> None:
    manifest = build_manifest(make_claim())
    assert data_of(manifest, "c2pa.soft-binding") == {
        "alg": "org.facewarrant.wm.v1",
        "name": "invisible watermark",
        "pad": [],
        "blocks": [{"scope": {}, "value": "AAECAwQFBgc="}],
    }
    binding, _ = read_soft_bindings(manifest)
    assert (binding.alg, binding.value) == ("org.facewarrant.wm.v1", bytes(range(8)))


def test_fingerprint_is_bound_as_base64_of_its_bytes() -> None:
    manifest = build_manifest(make_claim())
    value = "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8="
    assert print_of(manifest) == {
        "alg": "org.facewarrant.pdq.1",
        "name": "perceptual fingerprint",
        "pad": [],
        "blocks": [{"scope": {}, "value": value}],
    }
    _, binding = read_soft_bindings(manifest)
    assert (binding.alg, binding.value) == (ALG, b"\x0f" * 32)


def test_fingerprint_of_a_video_is_bound_to_its_first_frame() -> None:
    manifest = build_manifest(make_claim(mime="video/mp4", shown_ms=42))
    [block] = print_of(manifest)["blocks"]
    assert block["scope"] == {"timespan": {"start": 0, "end": 42}}
    [block] = data_of(manifest, "c2pa.soft-binding")["blocks"]
    assert block["scope"] == {}, "the mark is in every frame"


def test_training_and_mining_are_not_allowed() -> None:
    entries = data_of(build_manifest(make_claim()), "cawg.training-mining")["entries"]
    assert len(entries) == 4
    assert {value["use"] for value in entries.values()} == {"notAllowed"}


def test_warrant_and_consents_are_read_back() -> None:
    manifest = build_manifest(make_claim())
    warrant, consent = read_warrant(manifest), read_consent(manifest)
    assert warrant is not None
    assert consent is not None
    assert [m.name for m in warrant.models] == ["idnet", "swapper"]
    assert (warrant.log.index, warrant.log.size) == (4, 5)
    assert [(c.commitment[0], c.role) for c in consent.consents] == [
        ("f", "source_identity"),
        ("0", "target_body"),
    ]


def test_our_manifest_passes_our_lint() -> None:
    assert lint_manifest(as_read(build_manifest(make_claim())), store_bytes=MAX_STORE_BYTES) == ()


def test_generator_version_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert GENERATOR["version"] == project["version"]


def texts(value: object) -> list[str]:
    """Every string in a JSON value, keys apart."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_no_personal_data() -> None:
    """Every text is a word of ours, a hash, or an id of this output: nothing names a person."""
    manifest = build_manifest(make_claim())
    fixed = (
        r"c2pa\.[a-z.-]+(v2)?|cawg\.[a-z_-]+|org\.facewarrant\.[a-z0-9.]+|http://cv\.iptc\.org/.+"
    )
    words = "FaceWarrant|notAllowed|face swap under warrant|image/jpeg"
    words += "|invisible watermark|perceptual fingerprint"
    given = "source_identity|target_body|target|source|swapper|idnet|geo|log\\.test/facewarrant"
    ids = r"[0-9a-f]{64}|[0-9a-f]{16}|AAECAwQFBgc=|(Dw8P)+Dw8=|[0-9.]+"
    allowed = re.compile(f"{fixed}|{words}|{given}|{ids}")
    assert [text for text in texts(manifest) if not allowed.fullmatch(text)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Jane Doe.jpg"},
        {"title": "jane@doe.example"},
        {"title": ""},
        {"title": "x" * 81},
        {"mark_id": b""},
        {"mark_id": bytes(33)},
        {"watermark": "com.example.wm"},
        {"watermark": "org.facewarrant"},
        {"watermark": "org.facewarrant..x"},
        {"watermark": ALG},
        {"fingerprint": "A" * 64},
        {"fingerprint": "a" * 63},
        {"fingerprint": ""},
        {"shown_ms": 40},
        {"mime": "video/mp4"},
        {"mime": "video/mp4", "shown_ms": 0},
        {"mime": "video/mp4", "shown_ms": 2**53},
        {"warrant_hash": "A" * 64},
        {"warrant_hash": "a" * 63},
        {"decision_hash": ""},
        {"policy_sha256": "policy"},
        {"models": {"a model with a name": "d" * 64}},
        {"models": {"m": "short"}},
        {"swapper_name": "by Jane Doe"},
        {"swapper_version": "1.0 by Jane"},
        {"log": LogPosition(origin="log.test", index=5, size=5)},
        {"consents": ()},
        {"consents": (("Jane Doe", "source_identity"),)},
        {"consents": (("f" * 64, "friend"),)},
    ],
)
def test_nothing_else_can_be_said(change: Json) -> None:
    with pytest.raises(Malformed) as caught:
        make_claim(**change)
    assert caught.value.code == "MALFORMED"
    assert "Jane" not in caught.value.diagnostics()


@pytest.mark.parametrize("change", [{"origin": "log of Jane"}, {"index": -1}, {"size": 2**53}])
def test_log_position_is_checked(change: Json) -> None:
    with pytest.raises(ValidationError):
        LogPosition(**({"origin": "log.test", "index": 0, "size": 1} | change))


# ------------------------------------------------------------------------------ lint


def _action(index: int, **changes: Any) -> Callable[[Json], None]:
    def change(manifest: Json) -> None:
        data_of(manifest, "c2pa.actions.v2")["actions"][index].update(changes)

    return change


def _without(label: str) -> Callable[[Json], None]:
    def change(manifest: Json) -> None:
        manifest["assertions"] = [a for a in manifest["assertions"] if a["label"] != label]

    return change


def _within(label: str, **changes: Any) -> Callable[[Json], None]:
    def change(manifest: Json) -> None:
        data_of(manifest, label).update(changes)

    return change


def _again(label: str) -> Callable[[Json], None]:
    def change(manifest: Json) -> None:
        twin = {"label": f"{label}__1", "data": data_of(manifest, label), "created": True}
        manifest["assertions"].append(twin)

    return change


def _drop(label: str, key: str) -> Callable[[Json], None]:
    def change(manifest: Json) -> None:
        del data_of(manifest, label)[key]

    return change


def _two_parents(manifest: Json) -> None:
    manifest["ingredients"][1]["relationship"] = "parentOf"


def _gathered(manifest: Json) -> None:
    manifest["assertions"][0]["created"] = False


def _thumbnail(manifest: Json) -> None:
    manifest["ingredients"][0]["thumbnail"] = {"format": "image/jpeg"}


def _no_source_type(manifest: Json) -> None:
    del data_of(manifest, "c2pa.actions.v2")["actions"][2]["digitalSourceType"]


def _named(name: str) -> Callable[[Json], None]:
    def change(manifest: Json) -> None:
        manifest["ingredients"][0]["data"] = {"identifier": name}

    return change


def _bind(*bindings: Json) -> Callable[[Json], None]:
    """These soft bindings instead of the manifest's own."""

    def change(manifest: Json) -> None:
        _without("c2pa.soft-binding")(manifest)
        for data in bindings:
            one = {"label": "c2pa.soft-binding", "data": data, "created": True}
            manifest["assertions"].append(one)

    return change


BLOCK, VALUE, LONG = ({"value": base64.b64encode(bytes(n)).decode()} for n in (8, 32, 33))
MARK: Json = {"alg": "org.facewarrant.wm.v1", "blocks": [BLOCK]}
PRINT: Json = {"alg": ALG, "blocks": [VALUE]}

BROKEN: list[tuple[Callable[[Json], None], FindingCode]] = [
    (_two_parents, "MANY-PARENTS"),
    (_action(0, action="c2pa.created", digitalSourceType="x"), "CREATED-WITH-PARENT"),
    (_within("c2pa.actions.v2", actions=[]), "NO-ACTIONS"),
    (_within("c2pa.actions.v2", actions="none"), "NO-ACTIONS"),
    (_without("c2pa.actions.v2"), "NO-ACTIONS"),
    (_action(2, action=7), "ACTION-MALFORMED"),
    (_action(0, digitalSourceType="x"), "OPENED-SOURCE-TYPE"),
    (_no_source_type, "SOURCE-TYPE-MISSING"),
    (_action(2, digitalSourceType=3), "SOURCE-TYPE-MISSING"),
    (_drop("c2pa.actions.v2", "allActionsIncluded"), "ALL-ACTIONS-UNSTATED"),
    (_without("c2pa.soft-binding"), "BOUND-WITHOUT-SOFT-BINDING"),
    (_bind({"alg": ALG, "blocks": [VALUE]}), "BOUND-WITHOUT-SOFT-BINDING"),
    (_bind(MARK, MARK), "SOFT-BINDING-REPEATED"),
    (_bind(MARK | {"blocks": [BLOCK, BLOCK]}), "SOFT-BINDING-REPEATED"),
    (_bind(MARK, PRINT, PRINT), "SOFT-BINDING-REPEATED"),
    (_bind(MARK, PRINT | {"blocks": [VALUE, VALUE]}), "SOFT-BINDING-REPEATED"),
    (_bind(MARK, PRINT | {"blocks": [BLOCK]}), "FINGERPRINT-MALFORMED"),
    (_bind(MARK, PRINT | {"blocks": [LONG]}), "FINGERPRINT-MALFORMED"),
    (_bind(MARK, PRINT | {"blocks": [{"value": 7}]}), "SOFT-BINDING-MALFORMED"),
    (_within("c2pa.soft-binding", alg="com.example.wm"), "SOFT-BINDING-UNKNOWN"),
    (_drop("c2pa.soft-binding", "alg"), "SOFT-BINDING-UNKNOWN"),
    (_within("c2pa.soft-binding", blocks=[]), "SOFT-BINDING-MALFORMED"),
    (_within("c2pa.soft-binding", blocks=[{"value": "not base64!"}]), "SOFT-BINDING-MALFORMED"),
    (_named("self#jumbf=/c2pa/urn/c2pa.assertions/../../canary.jpg"), "RESOURCE-NAME"),
    (_named("self#jumbf=/c2pa/urn/c2pa.assertions//etc/passwd"), "RESOURCE-NAME"),
    (_named("..\\canary.jpg"), "RESOURCE-NAME"),
    (_named("/etc/passwd"), "RESOURCE-NAME"),
    (_named("file:///etc/passwd"), "RESOURCE-NAME"),
    (_gathered, "GATHERED"),
    (_thumbnail, "THUMBNAIL"),
    (lambda manifest: manifest.update(redactions=["self#jumbf=x"]), "REDACTED"),
    (_within("org.facewarrant.warrant", name="Jane"), "WARRANT-SCHEMA"),
    (_within("org.facewarrant.warrant", version=2), "WARRANT-SCHEMA"),
    (_drop("org.facewarrant.warrant", "log"), "WARRANT-SCHEMA"),
    (_without("org.facewarrant.warrant"), "WARRANT-SCHEMA"),
    (_again("org.facewarrant.warrant"), "WARRANT-SCHEMA"),
    (_within("org.facewarrant.consent", consents=[]), "CONSENT-SCHEMA"),
    (_within("org.facewarrant.consent", scope="film"), "CONSENT-SCHEMA"),
    (_without("org.facewarrant.consent"), "CONSENT-SCHEMA"),
    (_again("org.facewarrant.consent"), "CONSENT-SCHEMA"),
]


@pytest.mark.parametrize(("change", "code"), BROKEN)
def test_each_broken_rule_is_found(change: Callable[[Json], None], code: FindingCode) -> None:
    manifest = as_read(build_manifest(make_claim()))
    change(manifest)
    findings = lint_manifest(manifest)
    assert code in [finding.code for finding in findings]
    assert all(finding.words for finding in findings)


@pytest.mark.parametrize(
    "bindings", [(MARK,), (MARK, PRINT), (PRINT, MARK), (MARK, MARK | {"alg": "org.facewarrant.x"})]
)
def test_bindings_of_other_algorithms_stand_side_by_side(bindings: tuple[Json, ...]) -> None:
    manifest = as_read(build_manifest(make_claim()))
    _bind(*bindings)(manifest)
    assert lint_manifest(manifest) == ()


def test_two_bindings_of_another_maker_are_theirs_to_explain() -> None:
    manifest = as_read(build_manifest(make_claim()))
    theirs = MARK | {"alg": "com.example.wm"}
    _bind(MARK, theirs, theirs)(manifest)
    assert {finding.code for finding in lint_manifest(manifest)} == {"SOFT-BINDING-UNKNOWN"}


def test_store_size_is_a_rule() -> None:
    manifest = as_read(build_manifest(make_claim()))
    [finding] = lint_manifest(manifest, store_bytes=MAX_STORE_BYTES + 1)
    assert finding.code == "STORE-TOO-LARGE"


def test_every_finding_code_has_a_test() -> None:
    # What needs the whole file or its store is looked at in lint.py, and tested there.
    of_lint = {"STORE-TOO-LARGE", "NO-TIME-STAMP", "NO-INGREDIENT-DELTAS"}
    # And what needs the release below an update, in withdrawal.py.
    of_lint |= {"WITHDRAWAL-FOREIGN", "WITHDRAWAL-SCHEMA", "WITHDRAWAL-SHAPE"}
    assert {code for _, code in BROKEN} | of_lint == set(get_args(FindingCode))


def test_rules_for_our_output_do_not_bind_others() -> None:
    foreign = {
        "claim_generator_info": [{"name": "Camera"}],
        "thumbnail": {"format": "image/jpeg"},
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "allActionsIncluded": True,
                    "actions": [{"action": "c2pa.created", "digitalSourceType": "capture"}],
                },
            }
        ],
    }
    assert lint_manifest(foreign, store_bytes=10**6) == ()
    foreign["assertions"].append({"label": "org.facewarrant.fake", "data": {}})  # type: ignore[attr-defined]
    codes = {finding.code for finding in lint_manifest(foreign, store_bytes=10**6)}
    assert codes == {"GATHERED", "THUMBNAIL", "WARRANT-SCHEMA", "CONSENT-SCHEMA", "STORE-TOO-LARGE"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(value=JSON, label=st.sampled_from(["c2pa.actions.v2", "c2pa.soft-binding"]))
def test_hostile_content_never_crashes_the_readers(value: Any, label: str) -> None:
    for own in (label, "org.facewarrant.warrant", "org.facewarrant.consent"):
        for manifest in (
            {"assertions": value, "ingredients": value, "claim_generator_info": value},
            {"assertions": [{"label": own, "data": value}]},
            {"assertions": [{"label": own, "data": {"actions": [value, {"action": value}]}}]},
            {"assertions": [{"label": own, "data": {"alg": value, "blocks": [{"value": value}]}}]},
        ):
            assert lint_manifest(manifest)
            assert read_warrant(manifest) is None
            assert read_consent(manifest) is None
            read_soft_bindings(manifest)
            assert all(isinstance(name, str) for name in read_actions(manifest))
