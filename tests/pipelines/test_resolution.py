"""The resolution API keeps its own OpenAPI document, its caps and its refusals."""

from __future__ import annotations

import base64
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from pipelines.resolution import (
    MAX_JSON_BYTES,
    Service,
    Unauthorised,
    make_resolution_app,
)
from policies.errors import StoreUnavailable
from provenance.bindings import Bindings
from provenance.budget import CompareTooLong
from provenance.exchange import Coded, DecodeCrashed, DecodeTimeout, DecodeUnavailable
from provenance.fingerprints import ALG
from provenance.media import DEFAULT_LIMITS, decode, encode
from provenance.pixels import Pixels

MARK = "org.facewarrant.spread.2"


@pytest.fixture
def bindings(gallery: Any) -> Bindings:
    studio = gallery[0]
    return Bindings(
        studio.registry,
        studio.store,
        studio.watermark,
        dataclasses.replace(DEFAULT_LIMITS, file_bytes=2_000_000),
    )


@pytest.fixture
def row(gallery: Any) -> Any:
    studio, released = gallery
    return studio.registry.by_mark(released["image/png"].mark_id)


@pytest.fixture
def app(bindings: Bindings) -> FastAPI:
    return make_resolution_app(bindings, authorise=None)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def copy(gallery: Any) -> bytes:
    """A released picture without its metadata."""
    return encode(decode(gallery[1]["image/png"].data).frame, "image/jpeg")


def app_with_loader(bindings: Bindings, error: Exception) -> FastAPI:
    """The service with a decoder that fails in this way."""

    def fail(_: Coded) -> Pixels:
        raise error

    return make_resolution_app(dataclasses.replace(bindings, load=fail), authorise=None)


def b64(value: str) -> str:
    return base64.b64encode(bytes.fromhex(value)).decode()


def found(answer: Any) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    matches: list[Any] = answer.json()["matches"]
    return matches


def refused(answer: Any, status: int, code: str) -> Any:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"code", "message", "mend"}
    assert body["code"] == code
    return body


# --- by binding ---------------------------------------------------------------------------------


def test_a_mark_and_a_fingerprint_lead_to_the_manifest(client: TestClient, row: Any) -> None:
    named = {"manifestId": row.manifest_id}
    for alg, value, expected in (
        (MARK, row.mark_id, [named]),
        (ALG, row.fingerprint, [named | {"similarityScore": 100}]),
    ):
        asked = {"alg": alg, "value": b64(value)}
        assert found(client.get("/matches/byBinding", params=asked)) == expected
        assert found(client.post("/matches/byBinding", json=asked)) == expected
        assert found(client.post("/matches/byBinding?maxResults=1", json=asked)) == expected


def test_what_nobody_knows_is_an_empty_answer(client: TestClient) -> None:
    for alg, value in ((MARK, "00" * 6), (ALG, "00" * 32)):
        assert (
            found(client.get("/matches/byBinding", params={"alg": alg, "value": b64(value)})) == []
        )


def test_no_more_matches_than_asked_for(gallery: Any, client: TestClient, row: Any) -> None:
    studio = gallery[0]
    asked = {"alg": ALG, "value": b64(row.fingerprint)}
    for wanted in (1, 2, 10**30):
        answer = client.get("/matches/byBinding", params={**asked, "maxResults": wanted})
        assert 1 <= len(found(answer)) <= wanted
    assert studio.registry.by_manifest(row.manifest_id) == row


@pytest.mark.parametrize(
    "asked",
    [
        {"alg": MARK},
        {"value": "AAAA"},
        {"alg": "com.else.1", "value": "AAAA"},
        {"alg": MARK, "value": "no base64!"},
        {"alg": ALG, "value": "AAAA"},
        {"alg": MARK, "value": "AAAA", "maxResults": "0"},
        {"alg": MARK, "value": "AAAA", "maxResults": "many"},
    ],
)
def test_malformed_queries_are_refused(client: TestClient, asked: dict[str, str]) -> None:
    refused(client.get("/matches/byBinding", params=asked), 400, "MALFORMED")


def test_a_query_that_is_too_long_is_sent_to_post(client: TestClient) -> None:
    asked = {"alg": MARK, "value": "A" * 4000}
    answer = client.get("/matches/byBinding", params=asked)
    assert "POST" in refused(answer, 414, "QUERY-TOO-LONG")["mend"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"alg": 1, "value": "AA=="}', b"\xff", b"null"]
)
def test_malformed_bodies_are_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(
        "/matches/byBinding", content=body, headers={"content-type": "application/json"}
    )
    refused(answer, 400, "MALFORMED")


def test_other_types_and_long_bodies_are_refused(client: TestClient) -> None:
    answer = client.post("/matches/byBinding", content=b"{}", headers={"content-type": "text/json"})
    refused(answer, 415, "ASSET-UNSUPPORTED")
    long = {"alg": MARK, "value": "A" * MAX_JSON_BYTES}
    refused(client.post("/matches/byBinding", json=long), 413, "TOO-LONG")


# --- by content ---------------------------------------------------------------------------------


def send(client: TestClient, data: Any, kind: str = "image/jpeg", **asked: str) -> Any:
    return client.post(
        "/matches/byContent", content=data, params=asked, headers={"content-type": kind}
    )


def test_a_copy_leads_to_the_manifest_of_its_release(
    client: TestClient, row: Any, copy: bytes
) -> None:
    for asked in ({}, {"alg": MARK}, {"alg": ALG}):
        matches = found(send(client, copy, **asked))
        assert [match["manifestId"] for match in matches] == [row.manifest_id]
        assert matches[0]["similarityScore"] >= 95
    hint = {"hintAlg": MARK, "hintValue": b64(row.mark_id)}
    assert found(send(client, copy, "image/jpeg; q=1", **hint))


def test_somebody_elses_picture_matches_nothing(client: TestClient, demo_picture: Any) -> None:
    assert found(send(client, demo_picture("persona1_0"), "image/webp")) == []


@pytest.mark.parametrize("kind", ["audio/mp4", "application/pdf", "text/plain", ""])
def test_other_content_is_refused(client: TestClient, copy: bytes, kind: str) -> None:
    refused(send(client, copy, kind), 415, "ASSET-UNSUPPORTED")


def test_bytes_that_are_no_picture_are_refused(client: TestClient, copy: bytes) -> None:
    refused(send(client, b"<svg/>"), 415, "MEDIA-UNSUPPORTED")
    refused(send(client, b""), 415, "MEDIA-EMPTY")
    refused(send(client, copy[:500]), 415, "MEDIA-TRUNCATED")


def test_malformed_hints_and_algorithms_are_refused(client: TestClient, copy: bytes) -> None:
    refused(send(client, copy, hintAlg=MARK, hintValue="!"), 400, "MALFORMED")
    refused(send(client, copy, alg="com.else.1"), 400, "MALFORMED")


def test_a_body_over_the_cap_is_stopped_while_it_comes(client: TestClient) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield bytes(100_000)

    refused(send(client, endless()), 413, "TOO-LONG")


def test_a_picture_with_too_many_pixels_is_refused(bindings: Bindings, copy: bytes) -> None:
    limits = dataclasses.replace(bindings.limits, pixels=1000)
    app = make_resolution_app(dataclasses.replace(bindings, limits=limits), authorise=None)
    refused(send(TestClient(app), copy), 413, "MEDIA-TOO-LARGE")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DecodeTimeout("it took too long"), "DECODE-TIMEOUT"),
        (DecodeCrashed("the decoder died"), "DECODE-CRASHED"),
    ],
    ids=["hangs", "dies"],
)
def test_a_picture_that_its_decoder_does_not_survive_is_refused(
    bindings: Bindings, copy: bytes, error: Exception, code: str
) -> None:
    client = TestClient(app_with_loader(bindings, error))
    refused(send(client, copy), 415, code)


def test_a_decoder_that_does_not_start_says_nothing_of_this_machine(
    bindings: Bindings, copy: bytes
) -> None:
    error = DecodeUnavailable("no such file: /srv/secret/python", mend="give it /srv/secret")
    client = TestClient(app_with_loader(bindings, error))
    body = refused(send(client, copy), 500, DecodeUnavailable.code)
    assert (body["message"], body["mend"]) == ("the service failed", "")


def test_more_pictures_at_once_than_allowed_are_sent_away(
    bindings: Bindings, copy: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(self: Bindings, *_: Any, **__: Any) -> Any:
        entered.set()
        assert leave.wait(10)
        return ()

    monkeypatch.setattr(Bindings, "by_content", slow)
    with TestClient(make_resolution_app(bindings, authorise=None, at_once=1)) as client:
        first = threading.Thread(target=lambda: send(client, copy))
        first.start()
        assert entered.wait(10)
        answer = send(client, copy)
        leave.set()
        first.join()
        refused(answer, 503, "BUSY")
        assert answer.headers["retry-after"] == "5"
        assert found(send(client, copy)) == [], "the place is free again"


def test_a_search_that_takes_too_long_is_ended(
    bindings: Bindings, copy: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any, **__: Any) -> tuple[()]:
        raise CompareTooLong("comparing takes too long", mend="ask with a shorter piece")

    monkeypatch.setattr(Bindings, "by_content", slow)
    with TestClient(make_resolution_app(bindings, authorise=None)) as client:
        answer = send(client, copy)
    refused(answer, 503, "COMPARE-TOO-LONG")


def test_nothing_is_fetched_for_others(client: TestClient) -> None:
    answer = client.post("/matches/byReference", json={"referenceUrl": "http://127.0.0.1/"})
    assert "byContent" in refused(answer, 403, "REFERENCE-REFUSED")["mend"]


# --- manifests ----------------------------------------------------------------------------------


def test_a_manifest_is_handed_out_whole_or_alone(
    gallery: Any, client: TestClient, row: Any
) -> None:
    whole = client.get(f"/manifests/{row.manifest_id}")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "application/c2pa")
    assert whole.content == gallery[0].store.get(row.manifest_sha256)
    alone = client.get(f"/manifests/{row.manifest_id}", params={"returnActiveManifest": "true"})
    assert 0 < len(alone.content) <= len(whole.content)
    assert row.manifest_id.encode() in alone.content


def test_unknown_and_malformed_ids_are_refused(client: TestClient) -> None:
    refused(client.get("/manifests/urn:c2pa:none"), 404, "MANIFEST-UNKNOWN")
    for name in ("%20", "..%5c..%5cetc", "x" * 121, "-a"):
        refused(client.get(f"/manifests/{name}"), 400, "MALFORMED")
    answer = client.get("/manifests/urn:c2pa:none", params={"returnActiveManifest": "perhaps"})
    refused(answer, 400, "MALFORMED")


def test_the_algorithms_are_listed(client: TestClient) -> None:
    expected = {"watermarks": [{"alg": MARK}], "fingerprints": [{"alg": ALG}]}
    assert client.get("/services/supportedAlgorithms").json() == expected


def test_a_failure_inside_tells_strangers_nothing(
    client: TestClient, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Bindings, _: str) -> bytes:
        raise StoreUnavailable("the store does not give /home/someone", mend="look there")

    monkeypatch.setattr(Bindings, "manifest", fail)
    answer = client.get(f"/manifests/{row.manifest_id}")
    body = refused(answer, 500, "STORE-UNAVAILABLE")
    assert "someone" not in answer.text
    assert body["mend"] == ""


# --- who may ask --------------------------------------------------------------------------------


def guard(token: str) -> None:
    if token != "let-me-in":  # noqa: S105 - of this test
        raise Unauthorised("a token with the scope fetch:manifests is needed")


def test_with_a_guard_only_the_list_of_algorithms_is_open(
    bindings: Bindings, copy: bytes, row: Any
) -> None:
    client = TestClient(make_resolution_app(bindings, authorise=guard))
    asked = {"alg": MARK, "value": b64(row.mark_id)}
    calls = (
        lambda **h: client.get("/matches/byBinding", params=asked, **h),
        lambda **h: client.post("/matches/byBinding", json=asked, **h),
        lambda **h: client.get(f"/manifests/{row.manifest_id}", **h),
    )
    for call in calls:
        for header in ({}, {"authorization": "let-me-in"}, {"authorization": "Bearer no"}):
            answer = call(headers=header)
            refused(answer, 401, "UNAUTHORISED")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert call(headers={"authorization": "bearer let-me-in"}).status_code == 200
    refused(client.post("/matches/byReference"), 401, "UNAUTHORISED")
    refused(send(client, copy), 401, "UNAUTHORISED")
    assert client.get("/services/supportedAlgorithms").status_code == 200


# --- the document -------------------------------------------------------------------------------

PUBLISHED = {
    ("/matches/byBinding", "get"): {"alg", "value", "maxResults"},
    ("/matches/byBinding", "post"): {"maxResults"},
    ("/matches/byContent", "post"): {"alg", "maxResults", "hintAlg", "hintValue"},
    ("/matches/byReference", "post"): set(),
    ("/manifests/{manifestId}", "get"): {"manifestId", "returnActiveManifest"},
    ("/services/supportedAlgorithms", "get"): set(),
}


@pytest.mark.parametrize("guarded", [False, True])
def test_the_document_has_the_published_shape(bindings: Bindings, guarded: bool) -> None:
    app = make_resolution_app(bindings, authorise=guard if guarded else None)
    document = TestClient(app).get("/openapi.json").json()
    found = {
        (path, method): {one["name"] for one in operation.get("parameters", ())}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert found == PUBLISHED
    for path, method in PUBLISHED:
        operation = document["paths"][path][method]
        assert "422" not in operation["responses"]
        assert ("401" in operation["responses"]) == (guarded and path[1:9] != "services")
        assert ("security" in operation) == (guarded and path[1:9] != "services")
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "maxResults":
                assert parameter["schema"]["minimum"] == 1
                assert parameter["schema"]["default"] == 10
    matches = document["components"]["schemas"]["QueryResult"]
    assert matches["title"] == "c2pa.softBindingQueryResult"
    assert ("securitySchemes" in document["components"]) == guarded
    store = document["paths"]["/manifests/{manifestId}"]["get"]["responses"]["200"]["content"]
    assert list(store) == ["application/c2pa"]


def test_services_do_not_share_their_slots(bindings: Bindings) -> None:
    assert Service(bindings)._slots is not Service(bindings)._slots


# --- schemathesis -------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "method"), PUBLISHED)
@pytest.mark.parametrize("guarded", [False, True])
def test_answers_are_as_the_document_says(
    bindings: Bindings, path: str, method: str, guarded: bool
) -> None:
    # Not by its pytest plugin, which reaches into parts of pytest that have moved.
    app = make_resolution_app(bindings, authorise=guard if guarded else None)
    operation = schemathesis.openapi.from_asgi("/openapi.json", app)[path][method.upper()]
    # A text that is no algorithm or no base64 is of the published type and still refused.
    loose = [positive_data_acceptance]
    token = {"Authorization": "Bearer let-me-in"} if guarded else {}
    tried = 0

    @settings(
        max_examples=15, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        nonlocal tried
        tried += 1
        case.call_and_validate(excluded_checks=loose, headers=token)

    check()
    assert tried >= 1
