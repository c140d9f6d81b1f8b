"""The JSON of a verification keeps its published schema, for files that hold and that do not."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import jsonschema_rs
import pytest

from pipelines.report_document import (
    SCHEMA_PAGE,
    EvidenceDocument,
    Verdict,
    describe,
    describe_schema,
)
from provenance.errors import VerificationError
from provenance.media import decode, encode
from provenance.verify import Verifier


def files(gallery: Any) -> dict[str, bytes]:
    walls, released = gallery
    out = released["image/jpeg"].data
    return {
        "authentic": out,
        "recovered": encode(decode(out).frame, "image/png"),
        "tampered": out + b"more",
        "unmarked": walls.picture("persona6_0").data,
    }


@pytest.mark.parametrize("verdict", ["authentic", "recovered", "tampered", "unmarked"])
def test_document_keeps_the_published_schema(gallery: Any, verdict: str) -> None:
    walls, data = gallery[0], files(gallery)[verdict]
    examined = walls.verifier.examine(data)
    told = describe("a file", data, examined, verifier=walls.verifier).as_json()
    assert told["verdict"] == verdict
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA_PAGE.read_text(encoding="utf-8")))
    assert list(validator.iter_errors(json.loads(json.dumps(told)))) == []
    assert EvidenceDocument.model_validate_json(json.dumps(told)).as_json() == told
    refused = isinstance(examined.outcome, VerificationError)
    assert (told["error"] is not None) is refused
    assert (told["consent"] is None) is refused
    assert len(told["evidence"]) == len(examined.evidence)
    assert (told["manifests"] is None) is (verdict in ("recovered", "unmarked"))
    broken = told | {"verdict": "fine"}
    assert list(validator.iter_errors(broken))


def test_schema_page_is_what_the_code_says() -> None:
    assert SCHEMA_PAGE.read_text(encoding="utf-8") == describe_schema(), (
        "run: python -m pipelines.report_document"
    )


def test_every_error_has_a_word_of_its_own() -> None:
    words = {kind.code.lower() for kind in VerificationError.__subclasses__()}
    assert words | {"authentic", "recovered"} == set(get_args(Verdict))


def test_trust_is_printed_by_use(gallery: Any) -> None:
    walls, released = gallery
    anchors = walls.press.anchors
    both = dataclasses.replace(anchors, time_stamping=anchors.certificates)
    verifier = Verifier(both)
    data = released["image/png"].data
    told = describe("x", data, verifier.examine(data), verifier=verifier)
    assert told.trust.roots == told.trust.stamp_roots == anchors.fingerprints
