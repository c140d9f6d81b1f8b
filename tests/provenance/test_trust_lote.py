"""A JSON trust list is taken in whole or refused, for the use it was made for alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.trust_lote import MAX_ENTRIES, read_lote
from provenance.trust_terms import MAX_LIST_BYTES, TrustRefused, Use

TRUSTED = "http://c2pa.org/conformance/trust-list/trusted"
UNTRUSTED = "http://c2pa.org/conformance/trust-list/untrusted"
TSA = "http://uri.etsi.org/TrstSvc/Svctype/TSA"
SCHEME = {
    "LoTEVersionIdentifier": 1,
    "LoTESequenceNumber": 1,
    "SchemeOperatorName": [{"lang": "en", "value": "Somebody"}],
    "ListIssueDateTime": "2026-08-05T00:11:47Z",
    "NextUpdate": "2027-08-05T00:11:47Z",
}


def service(*certificates: x509.Certificate, **changes: Any) -> dict[str, Any]:
    ders = [base64.b64encode(c.public_bytes(Encoding.DER)).decode() for c in certificates]
    fields = {
        "ServiceName": [{"lang": "en", "value": "A CA"}],
        "ServiceDigitalIdentity": {"X509Certificates": [{"val": der} for der in ders]},
        "ServiceStatus": TRUSTED,
        "StatusStartingTime": "2025-08-27T00:00:00Z",
    }
    return {"ServiceInformation": fields | changes, "ServiceHistory": []}


def lote(*services: dict[str, Any], **scheme: Any) -> dict[str, Any]:
    entity = {"TrustedEntityInformation": {}, "TrustedEntityServices": list(services)}
    body = {"ListAndSchemeInformation": SCHEME | scheme, "TrustedEntitiesList": [entity]}
    return {"LoTE": body}


def named(name: str) -> dict[str, Any]:
    return {"SchemeName": [{"lang": "en", "value": name}]}


def read(document: Any, use: Use = "signers") -> Any:
    return read_lote(json.dumps(document).encode(), use=use)


def test_list_in_the_published_form_is_read(pki: Any, other_pki: Any) -> None:
    document = lote(
        service(pki.root), service(other_pki.root), service(pki.root), **named("C2PA Trust List")
    )
    found = read(document)
    assert found.certificates == (pki.root, other_pki.root)
    assert found.issued == datetime(2026, 8, 5, 0, 11, 47, tzinfo=UTC)
    assert found.next_update == datetime(2027, 8, 5, 0, 11, 47, tzinfo=UTC)


def test_who_lost_the_issuers_trust_is_left_out(pki: Any, other_pki: Any) -> None:
    lost = service(other_pki.root, ServiceStatus=UNTRUSTED, StatusStartingTime=SCHEME["NextUpdate"])
    assert read(lote(service(pki.root), lost)).certificates == (pki.root,)
    with pytest.raises(TrustRefused, match="trusts nobody"):
        read(lote(lost))
    with pytest.raises(TrustRefused, match="trusted and untrusted"):
        read(lote(service(pki.root, other_pki.root), lost))


@pytest.mark.parametrize(
    ("use", "meant", "scheme", "changes"),
    [
        ("signers", "time-stamps", named("C2PA TSA Trust List"), {}),
        ("time-stamps", "signers", named("C2PA Trust List"), {}),
        ("signers", "time-stamps", {}, {"ServiceTypeIdentifier": TSA}),
        ("signers", "time-stamps", {}, {"ServiceTypeIdentifier": TSA + "/QTST"}),
    ],
)
def test_list_for_the_other_use_is_refused(
    pki: Any, use: Use, meant: Use, scheme: dict[str, Any], changes: dict[str, Any]
) -> None:
    document = lote(service(pki.root, **changes), **scheme)
    with pytest.raises(TrustRefused, match=f"is for {meant}, not for {use}") as caught:
        read(document, use)
    assert caught.value.mend == f"add it --for {meant}"
    assert read(document, meant).certificates == (pki.root,)


def put(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = document
    for part in way:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


SCHEME_AT = "LoTE.ListAndSchemeInformation"
SERVICES_AT = "LoTE.TrustedEntitiesList.0.TrustedEntityServices"
SERVICE_AT = f"{SERVICES_AT}.0.ServiceInformation"
CERTIFICATES_AT = f"{SERVICE_AT}.ServiceDigitalIdentity.X509Certificates"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("LoTE", None, "LoTE is missing"),
        ("LoTE", [], "LoTE is missing or wrong"),
        ("more", 1, "more is missing or wrong"),
        (SCHEME_AT, None, "ListAndSchemeInformation is missing"),
        (f"{SCHEME_AT}.LoTEVersionIdentifier", 2, "LoTEVersionIdentifier"),
        (f"{SCHEME_AT}.LoTEVersionIdentifier", None, "LoTEVersionIdentifier"),
        (f"{SCHEME_AT}.ListIssueDateTime", None, "ListIssueDateTime"),
        (f"{SCHEME_AT}.ListIssueDateTime", "2026-08-05", "date of issue is no moment"),
        (f"{SCHEME_AT}.NextUpdate", 20270805, "NextUpdate"),
        (f"{SCHEME_AT}.NextUpdate", "2027-08-05T00:11:47+02:00", "date of renewal is no moment"),
        (f"{SCHEME_AT}.NextUpdate", "2027-02-30T00:00:00Z", "date of renewal is no moment"),
        (f"{SCHEME_AT}.NextUpdate", SCHEME["ListIssueDateTime"], "before it was issued"),
        (f"{SCHEME_AT}.SchemeName", "C2PA Trust List", "SchemeName"),
        ("LoTE.TrustedEntitiesList", [], "TrustedEntitiesList"),
        (SERVICES_AT, [], "TrustedEntityServices"),
        (f"{SERVICE_AT}.ServiceStatus", None, "ServiceStatus"),
        (f"{SERVICE_AT}.ServiceStatus", "granted", "ServiceStatus"),
        (f"{SERVICE_AT}.StatusStartingTime", "soon", "start of a status is no moment"),
        (f"{SERVICE_AT}.StatusStartingTime", "2026-08-05T00:11:48Z", "only from after its own day"),
        (f"{SERVICE_AT}.ServiceTypeIdentifier", "http://example.org/a", "a type that is not known"),
        (f"{SERVICE_AT}.ServiceTypeIdentifier", 1, "ServiceTypeIdentifier"),
        (CERTIFICATES_AT, [], "X509Certificates"),
        (f"{CERTIFICATES_AT}.0.val", "AAAA", "a certificate that cannot be read"),
        (f"{CERTIFICATES_AT}.0.val", "!!!!", "a certificate that cannot be read"),
        (f"{CERTIFICATES_AT}.0.val", "ä", "a certificate that cannot be read"),
        (f"{CERTIFICATES_AT}.0.val", "A" * 20_000, "val is missing or wrong"),
    ],
)
def test_one_wrong_field_refuses_the_whole_list(pki: Any, path: str, value: Any, why: str) -> None:
    with pytest.raises(TrustRefused, match=why) as caught:
        read(put(lote(service(pki.root)), path, value))
    assert caught.value.code == "TRUST-REFUSED"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"LoTE": {}, "LoTE": {}}',
        b'{"LoTE": 1.5}',
        b'{"LoTE": NaN}',
        b"{" * 100_000,
        b'{"LoTE":' * 100_000,
        b"\xff{}",
        b'{"x": "' + b"a" * MAX_LIST_BYTES + b'"}',
    ],
    ids=["empty", "array", "open", "twice", "float", "nan", "braces", "deep", "latin", "huge"],
)
def test_hostile_json_is_refused(content: bytes) -> None:
    with pytest.raises(TrustRefused, match="no JSON trust list"):
        read_lote(content, use="signers")


def test_entries_have_an_end(pki: Any) -> None:
    one = service(pki.root)["ServiceInformation"]["ServiceDigitalIdentity"]["X509Certificates"]
    many = {"X509Certificates": one * (MAX_ENTRIES + 1)}
    with pytest.raises(TrustRefused, match=f"at most {MAX_ENTRIES} certificates"):
        read(lote(service(pki.root, ServiceDigitalIdentity=many)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([TRUSTED]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["LoTE", "ServiceStatus", "X509Certificates", "val", "value"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PLACES = [
    "LoTE",
    SCHEME_AT,
    f"{SCHEME_AT}.NextUpdate",
    f"{SCHEME_AT}.SchemeName",
    "LoTE.TrustedEntitiesList",
    "LoTE.TrustedEntitiesList.0",
    f"{SERVICES_AT}.0",
    SERVICE_AT,
    CERTIFICATES_AT,
    f"{CERTIFICATES_AT}.0",
    f"{CERTIFICATES_AT}.0.val",
]


@settings(derandomize=True, max_examples=300)
@given(place=st.sampled_from(PLACES), value=VALUES)
def test_any_value_anywhere_is_read_or_refused(
    make_document: Callable[[], dict[str, Any]], place: str, value: Any
) -> None:
    try:
        found = read(put(make_document(), place, value))
    except TrustRefused:
        return
    assert found.certificates
    assert place == f"{SCHEME_AT}.SchemeName", "every other place decides"


@pytest.fixture(scope="module")
def make_document(pki: Any) -> Callable[[], dict[str, Any]]:
    return lambda: lote(service(pki.root), **named("C2PA Trust List"))
