"""The product that signed: on the list or not, and never a reason to trust."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.digest import sha256_hex
from policies.errors import Malformed
from provenance.products import Conformance, ProductList, read_conformance, read_products
from provenance.products import state_product as state
from provenance.trust_terms import MAX_LIST_BYTES, TrustRefused

RECORD = "0197aa34-665b-7811-9bbc-317cfd988d0a"
NAMED = b"\x0c\x24" + RECORD.encode()
LEVEL_1, LEVEL_2 = (bytes.fromhex("060a2b0601040183e85e03" + end) for end in ("0a", "14"))


def record(**changes: Any) -> dict[str, Any]:
    product = {
        "productType": "generatorProduct",
        "DN": {"CN": "Some Camera", "O": "Some Maker", "OU": "", "C": "US"},
        "minVersion": "1",
        "assurance": {"maxAssuranceLevel": 1, "attestationMethods": []},
    }
    fields = {"recordId": RECORD, "applicant": "Some Maker", "status": "conformant"}
    return fields | {"product": product | changes.pop("product", {})} | changes


def listed(*records: dict[str, Any]) -> ProductList:
    return read_products(json.dumps(records or [record()]).encode(), name="cpl")


def test_list_in_the_published_form_is_read() -> None:
    content = json.dumps([record()]).encode()
    found = read_products(content, name="cpl", dated="2026-08-05")
    one = found.products[RECORD]
    assert (one.name, one.maker, one.status) == ("Some Camera", "Some Maker", "conformant")
    assert (one.generates, one.level, found.use) == (True, 1, "products")
    digest = sha256_hex(content)
    assert found.words == f"cpl (1 products, issued 2026-08-05, SHA-256 {digest})"
    assert "without a date" in listed().words
    viewer = {"productType": "validatorProduct", "assurance": None}
    assert listed(record(product=viewer)).products[RECORD].level == 0


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], "records is missing or wrong"),
        ([record(), record()], "one record twice"),
        ([record(recordId="1")], "records.0.recordId"),
        ([record(recordId=RECORD.upper())], "records.0.recordId"),
        ([record(status=1)], "records.0.status"),
        ([record(product={"productType": "a\nb"})], "records.0.product.productType"),
        ([record(product={"DN": {"CN": "", "O": "x"}})], "records.0.product.DN.CN"),
        ([record(product={"DN": {"CN": "x"}})], "records.0.product.DN.O"),
        ([record(product={"assurance": {"maxAssuranceLevel": "1"}})], "maxAssuranceLevel"),
        ([record(product={"assurance": {"maxAssuranceLevel": 0}})], "maxAssuranceLevel"),
    ],
)
def test_one_wrong_field_refuses_the_whole_list(records: list[Any], why: str) -> None:
    with pytest.raises(TrustRefused, match=why):
        read_products(json.dumps(records).encode(), name="cpl")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'[], "more": []',
        b'[], "records": []',
        b"[" * 100_000,
        b"[1.5]",
        b"\xff",
        b" " * (MAX_LIST_BYTES + 1),
    ],
    ids=["empty", "object", "more", "twice", "deep", "float", "binary", "huge"],
)
def test_hostile_json_is_refused(content: bytes) -> None:
    with pytest.raises(TrustRefused):
        read_products(content, name="cpl")


def test_day_that_is_none_is_refused() -> None:
    with pytest.raises(TrustRefused, match="is no day"):
        read_products(json.dumps([record()]).encode(), name="cpl", dated="soon")


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_products(text.encode(), name="cpl")
    except TrustRefused:
        return
    pytest.fail("nothing this short is a list")


@pytest.mark.parametrize(
    ("raw", "level", "found"),
    [
        (NAMED, LEVEL_1, Conformance(RECORD, 1)),
        (NAMED, LEVEL_2, Conformance(RECORD, 2)),
        (NAMED, b"\x06\x01\x00", Conformance(RECORD, 0)),
        (NAMED, None, Conformance(RECORD, 0)),
        (None, LEVEL_1, None),
    ],
    ids=["level 1", "level 2", "other level", "no level", "no product"],
)
def test_certificate_names_its_product(
    authority: Any, raw: bytes | None, level: bytes | None, found: Conformance | None
) -> None:
    assert read_conformance(authority.product_leaf(raw, level)) == found


@pytest.mark.parametrize(
    "raw",
    [NAMED[:-1], NAMED + b"x", NAMED[:-1] + b"\n", b"\x13" + NAMED[1:], b"\x0c\x24" + b"\xff" * 36],
    ids=["short", "long", "newline", "other type", "binary"],
)
def test_broken_record_is_refused_and_warns(authority: Any, raw: bytes) -> None:
    leaf = authority.product_leaf(raw, None)
    with pytest.raises(Malformed, match="is no id"):
        read_conformance(leaf)
    line = state(leaf, (listed(),), trusted=True)
    assert (line.state, line.words) == (
        "warns",
        "the product record in the signer's certificate is no id",
    )


class Broken:
    """A certificate whose extensions do not parse, as the parser says when asked for them."""

    @property
    def extensions(self) -> None:
        raise ValueError("duplicate")


def test_id_in_capitals_is_the_same_record(authority: Any) -> None:
    leaf = authority.product_leaf(b"\x0c\x24" + RECORD.upper().encode(), LEVEL_1)
    assert state(leaf, (listed(),), trusted=True).state == "holds"


def test_certificate_with_broken_extensions_warns() -> None:
    line = state(Broken(), (listed(),), trusted=True)  # type: ignore[arg-type]
    assert (line.state, "cannot be read" in line.words) == ("warns", True)


@pytest.mark.parametrize(
    ("records", "level", "kind", "words"),
    [
        ([record()], LEVEL_1, "holds", "made by Some Camera of Some Maker"),
        ([record()], LEVEL_1, "holds", "a conforming product, level 1"),
        ([record()], None, "holds", "a conforming product, without a level"),
        ([record()], LEVEL_2, "warns", "may have level 1, the certificate says 2"),
        ([record(recordId=RECORD[:-1] + "b")], LEVEL_1, "warns", f"{RECORD} is on no list given"),
        ([record(status="revoked_vulnerability")], LEVEL_1, "warns", "as revoked_vulnerability"),
        (
            [record(product={"productType": "validatorProduct"})],
            LEVEL_1,
            "warns",
            "signs no claims",
        ),
    ],
    ids=["listed", "at level 1", "no level", "level 2", "not listed", "revoked", "validator"],
)
def test_line_about_the_product(
    authority: Any, records: list[Any], level: bytes | None, kind: str, words: str
) -> None:
    leaf = authority.product_leaf(NAMED, level)
    line = state(leaf, (listed(*records),), trusted=True)
    assert (line.subject, line.state) == ("product", kind)
    assert words in line.words


def test_product_proves_nothing_under_a_stranger(authority: Any) -> None:
    line = state(authority.product_leaf(NAMED, LEVEL_1), (listed(),), trusted=False)
    assert (line.state, "is not trusted" in line.words) == ("unchecked", True)


def test_what_was_not_given_is_unchecked(authority: Any) -> None:
    leaf = authority.product_leaf(None, None)
    assert state(leaf, (), trusted=True).state == "unchecked"
    assert state(None, (listed(),), trusted=True).state == "unchecked"
    assert state(leaf, (listed(),), trusted=True).state == "absent"


def test_one_list_of_two_may_know_the_product(authority: Any) -> None:
    other = listed(record(recordId=RECORD[:-1] + "b"))
    revoked = listed(record(status="revoked"))
    leaf = authority.product_leaf(NAMED, LEVEL_1)
    assert state(leaf, (other, listed()), trusted=True).state == "holds"
    assert state(leaf, (listed(), revoked), trusted=True).state == "warns"
