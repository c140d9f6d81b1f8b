"""One verdict out of a report: every failure counts, wherever it stands, and nothing crashes it."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.assertions import SoftBinding
from provenance.reading import UNTRUSTED, ManifestReading, judge

Json = dict[str, Any]
ID = "urn:c2pa:00000000-0000-4000-8000-000000000000"


def failing(*codes: str) -> Json:
    return {"failure": [{"code": code} for code in codes]}


def report(*ingredients: Json, **manifest: Any) -> Json:
    held = {"ingredients": list(ingredients), **manifest}
    return {"active_manifest": ID, "manifests": {ID: held, "urn:c2pa:other": {}}}


def read(
    state: str = "Trusted", *failures: str, ingredients: tuple[Json, ...] = (), **results: Any
) -> ManifestReading:
    return judge(report(*ingredients), {"activeManifest": failing(*failures)} | results, state)


@pytest.mark.parametrize(
    ("state", "failures", "verdict"),
    [
        ("Trusted", (), "trusted"),
        ("Trusted", (UNTRUSTED,), "intact_untrusted"),
        ("Valid", (UNTRUSTED,), "intact_untrusted"),
        ("Valid", (), "intact_untrusted"),
        ("Valid", (UNTRUSTED, "anything.else"), "invalid"),
        ("Trusted", ("anything.else",), "invalid"),
        ("Invalid", (), "invalid"),
        ("None", (), "invalid"),
        ("", (), "invalid"),
        ("Very Trusted", (), "invalid"),
    ],
)
def test_verdict_of_the_active_manifest(
    state: str, failures: tuple[str, ...], verdict: str
) -> None:
    assert read(state, *failures).verdict == verdict


INGREDIENTS: dict[str, Json] = {
    "own": {"validation_results": {"activeManifest": failing("bad")}},
    "delta of its own": {
        "validation_results": {"ingredientDeltas": [{"validationDeltas": failing("bad")}]}
    },
    "claim version 1": {"validation_status": [{"code": "bad"}]},
}


@pytest.mark.parametrize("place", INGREDIENTS)
def test_failure_in_an_ingredient_is_raised(place: str) -> None:
    ingredient = INGREDIENTS[place] | {"relationship": "componentOf"}
    reading = read("Trusted", ingredients=(ingredient,))
    assert reading.verdict == "ingredient_invalid"
    [found] = reading.ingredient_failures
    assert (found.manifest_id, found.relationship, found.codes) == (ID, "componentOf", ("bad",))


def test_failure_in_an_ingredient_of_another_manifest_is_raised() -> None:
    deep = report()
    deep["manifests"]["urn:c2pa:other"] = {"ingredients": [INGREDIENTS["own"]]}
    reading = judge(deep, {}, "Trusted")
    assert reading.verdict == "ingredient_invalid"
    assert reading.ingredient_failures[0].manifest_id == "urn:c2pa:other"


def test_delta_of_the_active_manifest_is_raised() -> None:
    reading = read("Trusted", ingredientDeltas=[{"validationDeltas": failing("bad")}])
    assert reading.verdict == "ingredient_invalid"


def test_untrusted_ingredient_is_no_failure() -> None:
    ingredient = {"validation_results": {"activeManifest": failing(UNTRUSTED)}}
    assert read("Trusted", ingredients=(ingredient,)).verdict == "trusted"


def test_own_failure_outweighs_that_of_an_ingredient() -> None:
    assert read("Trusted", "bad", ingredients=(INGREDIENTS["own"],)).verdict == "invalid"


def test_signer_is_trusted_only_by_word_and_without_objection() -> None:
    trusted = {"success": [{"code": "signingCredential.trusted"}]}
    assert judge(report(), {"activeManifest": trusted}, "Trusted").signer_trusted
    assert not judge(
        report(), {"activeManifest": trusted | failing(UNTRUSTED)}, "Valid"
    ).signer_trusted
    assert not judge(report(), {}, "Trusted").signer_trusted


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-21T07:51:08+00:00", datetime(2026, 11, 21, 7, 51, 8, tzinfo=UTC)),
        ("yesterday", None),
        (17, None),
        (None, None),
    ],
)
def test_time_is_read_and_counts_only_with_a_trusted_stamp(
    time: object, moment: datetime | None
) -> None:
    told = report(signature_info={"time": time, "issuer": "Test Studio"})
    reading = judge(told, {}, "Trusted")
    assert (reading.signed_at, reading.time_stamped) == (moment, False)
    stamped = {"activeManifest": {"success": [{"code": "timeStamp.trusted"}]}}
    assert judge(told, stamped, "Trusted").time_stamped
    valid_only = {"activeManifest": {"success": [{"code": "timeStamp.validated"}]}}
    assert not judge(told, valid_only, "Trusted").time_stamped


@pytest.mark.parametrize(
    ("results", "signed_at", "state"),
    [
        ({}, None, "missing"),
        ({"success": ["timeStamp.validated", "timeStamp.trusted"]}, "2026-11-21", "trusted"),
        (
            {"success": ["timeStamp.validated"], "failure": ["timeStamp.untrusted"]},
            "2026-11-21",
            "untrusted",
        ),
        ({"failure": ["timeStamp.mismatch"]}, "2026-11-21", "broken"),
        ({"success": ["timeStamp.validated"]}, None, "broken"),
        (
            {"success": ["timeStamp.validated"], "informational": ["timeStamp.outsideValidity"]},
            "2026-11-21",
            "broken",
        ),
    ],
)
def test_time_stamp_stands_as_its_codes_say(
    results: Json, signed_at: str | None, state: str
) -> None:
    active = {kind: [{"code": code} for code in codes] for kind, codes in results.items()}
    told = report(signature_info={"time": signed_at})
    assert judge(told, {"activeManifest": active}, "Valid").time_stamp == state


@pytest.mark.parametrize(
    ("state", "failures", "expired", "intact"),
    [
        ("Invalid", ("signingCredential.expired", UNTRUSTED), True, True),
        ("Invalid", ("signingCredential.expired",), True, True),
        ("Invalid", ("signingCredential.expired", "assertion.dataHash.mismatch"), False, False),
        ("Invalid", ("assertion.dataHash.mismatch",), False, False),
        ("Valid", (UNTRUSTED,), False, True),
        ("Trusted", (), False, True),
        ("Invalid", (), False, False),
    ],
)
def test_expired_signer_is_no_changed_file(
    state: str, failures: tuple[str, ...], expired: bool, intact: bool
) -> None:
    reading = read(state, *failures)
    assert (reading.signer_expired, reading.intact) == (expired, intact)


@pytest.mark.parametrize(
    ("code", "kind", "revocation"),
    [
        ("signingCredential.ocsp.notRevoked", "success", "good"),
        ("signingCredential.ocsp.revoked", "failure", "revoked"),
        ("signingCredential.ocsp.revoked", "informational", "revoked"),
        ("signingCredential.ocsp.skipped", "informational", "unknown"),
        ("signingCredential.ocsp.notRevoked", "failure", "unknown"),
    ],
)
def test_revocation_is_what_the_manifest_brings(code: str, kind: str, revocation: str) -> None:
    results = {"activeManifest": {kind: [{"code": code}]}}
    assert judge(report(), results, "Trusted").revocation == revocation


def test_source_types_are_those_of_the_actions() -> None:
    actions = [{"digitalSourceType": "a"}, {"digitalSourceType": 7}, {}]
    said = {"label": "c2pa.actions.v2", "data": {"actions": actions}}
    assert judge(report(assertions=[said]), {}, "Trusted").source_types == ("a",)


def test_reading_brings_the_tree_and_what_is_missing() -> None:
    reading = judge(report({"relationship": "parentOf"}), {}, "Trusted")
    assert reading.tree is not None
    assert [part.relationship for part in reading.tree.parts] == ["parentOf"]
    assert [notice.code for notice in reading.notices] == ["NO-TIME-STAMP"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = (
    "ingredients",
    "assertions",
    "signature_info",
    "claim_generator_info",
    "validation_status",
)
RESULTS = ("activeManifest", "ingredientDeltas", "success", "failure")


@settings(derandomize=True, max_examples=100, deadline=None)
@given(value=JSON, field=st.sampled_from(FIELDS), result=st.sampled_from(RESULTS))
def test_hostile_report_never_crashes(value: Any, field: str, result: str) -> None:
    hostile = report(**{field: value})
    for told in (hostile, {"active_manifest": value, "manifests": value}, {}):
        for results in ({result: value}, {"activeManifest": {result: value}}, {}):
            assert judge(copy.deepcopy(told), results, "Invalid").verdict == "invalid"


# ------------------------------------------------------------------------------ soft bindings

MARK, OTHER = (SoftBinding(f"org.facewarrant.spread.{n}", bytes([n] * 6)) for n in (1, 2))
FOREIGN = SoftBinding("com.example.mark.1", b"12345678")
PRINT, SHORT = (SoftBinding("org.facewarrant.pdq.1", b"\x0f" * size) for size in (32, 31))


@pytest.mark.parametrize(
    ("bindings", "mark", "bits"),
    [
        ((), None, None),
        ((MARK,), "01" * 6, None),
        ((PRINT,), None, "0f" * 32),
        ((PRINT, MARK), "01" * 6, "0f" * 32),
        ((MARK, FOREIGN, PRINT), "01" * 6, "0f" * 32),
        ((FOREIGN,), None, None),
        ((MARK, MARK), None, None),
        ((MARK, OTHER, PRINT), None, "0f" * 32),
        ((MARK, PRINT, PRINT), "01" * 6, None),
        ((MARK, SHORT), "01" * 6, None),
    ],
)
def test_mark_and_fingerprint_are_kept_apart(
    bindings: tuple[SoftBinding, ...], mark: str | None, bits: str | None
) -> None:
    found = ManifestReading("trusted", soft_bindings=bindings)
    assert (found.bound_mark, found.bound_print) == (mark, bits)
