"""Conforming products: whether the product that a signer's certificate names is on C2PA's list.

A claim-signing certificate may name the record of its product (1.3.6.1.4.1.62558.4) and the level
of assurance it was issued at (1.3.6.1.4.1.62558.3; C2PA certificate profiles v0.2). Being on the
list makes no file trusted: anybody can write a record's id into a certificate of their own, so the
line counts only under a signer who is trusted already. Refused: a list with a record twice, or
ill-typed in a field that is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from policies.canonical import parse_object
from policies.digest import sha256_hex
from policies.errors import Malformed
from provenance.evidence import Evidence, State
from provenance.trust_terms import (
    MAX_LIST_BYTES,
    Kind,
    TrustRefused,
    require_day,
    require_size,
)

ASSURANCE: Final = x509.ObjectIdentifier("1.3.6.1.4.1.62558.3")
RECORD: Final = x509.ObjectIdentifier("1.3.6.1.4.1.62558.4")

# DER of the OIDs 1.3.6.1.4.1.62558.3.10 and .3.20.
_LEVELS: Final = {
    bytes.fromhex("060a2b0601040183e85e030a"): 1,
    bytes.fromhex("060a2b0601040183e85e0314"): 2,
}
_UUID_HEAD = b"\x0c\x24"  # DER of a UTF8String of 36 bytes

_Printed = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
_UUID: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_Uuid = Annotated[str, StringConstraints(pattern=_UUID)]


class _Part(BaseModel):
    """A part of a record; what it does not name does not decide here."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, alias_generator=to_camel)


class _Name(_Part):
    cn: Annotated[_Printed, Field(alias="CN")]
    o: Annotated[_Printed, Field(alias="O")]


class _Assurance(_Part):
    max_assurance_level: Annotated[int, Field(ge=1, le=9)]


class _Product(_Part):
    product_type: _Printed
    dn: Annotated[_Name, Field(alias="DN")]
    assurance: _Assurance | None = None


class _Record(_Part):
    record_id: _Uuid
    status: _Printed
    product: _Product


class _Records(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    records: Annotated[list[_Record], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Product:
    """One record: name and maker, `status` in the programme, whether it makes claims, its level."""

    name: str
    maker: str
    status: str
    generates: bool
    level: int


@dataclass(frozen=True, slots=True)
class ProductList:
    """The conforming products, by record id; `dated`: the day its issuer put on it, or empty."""

    name: str
    dated: str
    sha256: str
    products: dict[str, Product]
    use: Kind = "products"

    @property
    def words(self) -> str:
        """The list in words, as every verdict prints it."""
        day = f"issued {self.dated}" if self.dated else "without a date"
        return f"{self.name} ({len(self.products)} products, {day}, SHA-256 {self.sha256})"


@dataclass(frozen=True, slots=True)
class Conformance:
    """What a certificate says of its product: the record's id and the level; 0 for no level."""

    record: str
    level: int


def read_products(content: bytes, *, name: str, dated: str = "") -> ProductList:
    """Read C2PA's list of conforming products, a JSON array of records; raise TrustRefused."""
    require_size(content)
    if dated:
        require_day(dated)
    try:
        # Strict reading is for objects; so the array is read as the one field of one.
        whole = parse_object(b'{"records":' + content + b"}", max_bytes=MAX_LIST_BYTES + 12)
        records = _Records.model_validate(whole).records
    except Malformed as error:
        raise TrustRefused(f"this is no list of products: {error.message}") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise TrustRefused(
            f"this is no list of conforming products: {where} is missing or wrong",
            mend="give conforming-products-list.json as C2PA publishes it",
        ) from error
    products = {one.record_id: _product(one) for one in records}
    if len(products) != len(records):
        raise TrustRefused("the list of products has one record twice")
    return ProductList(name, dated, sha256_hex(content), products)


def read_conformance(leaf: x509.Certificate) -> Conformance | None:
    """Return what a certificate says of its product, None where it names none; raise Malformed."""
    try:
        raw = {one.oid: one.value for one in leaf.extensions}
    except (ValueError, x509.DuplicateExtension) as error:
        raise Malformed("the extensions of the signer's certificate cannot be read") from error
    record, level = (
        one.value if isinstance(one := raw.get(oid), x509.UnrecognizedExtension) else b""
        for oid in (RECORD, ASSURANCE)
    )
    if not record:
        return None
    text = record.removeprefix(_UUID_HEAD).decode("ascii", "replace").lower()
    if not record.startswith(_UUID_HEAD) or not re.fullmatch(_UUID, text):
        raise Malformed("the product record in the signer's certificate is no id")
    return Conformance(text, _LEVELS.get(level, 0))


def state_product(
    leaf: x509.Certificate | None, lists: tuple[ProductList, ...], *, trusted: bool
) -> Evidence:
    """Return the line about the product that signed; `trusted`: whether the signer is.

    `leaf`: the signer's certificate, None where it could not be read. Never raises.
    """
    if not lists:
        return Evidence("product", "unchecked", "no list of conforming products was given")
    if leaf is None:
        return Evidence("product", "unchecked", "the signer's certificate could not be read here")
    try:
        said = read_conformance(leaf)
    except Malformed as error:
        return Evidence("product", "warns", error.message)
    if said is None:
        words = "the signer's certificate names no conforming product"
        return Evidence("product", "absent", words)
    if not trusted:
        words = f"names the product record {said.record}; the signer is not trusted"
        return Evidence("product", "unchecked", words)
    return Evidence("product", *_look_up(said, lists))


def _look_up(said: Conformance, lists: tuple[ProductList, ...]) -> tuple[State, str]:
    found = [one.products[said.record] for one in lists if said.record in one.products]
    if not found:
        return "warns", f"the product record {said.record} is on no list given"
    bad = [problem for product in found for problem in _problems(product, said)]
    if bad:
        return "warns", "; ".join(dict.fromkeys(bad))
    level = f"level {said.level}" if said.level else "without a level"
    return "holds", f"made by {found[0].name} of {found[0].maker}, a conforming product, {level}"


def _problems(product: Product, said: Conformance) -> list[str]:
    who = f"{product.name} of {product.maker}"
    found = []
    if product.status != "conformant":
        found.append(f"{who} is listed as {product.status}")
    if not product.generates:
        found.append(f"{who} is listed as a product that signs no claims")
    if said.level > product.level:
        found.append(f"{who} may have level {product.level}, the certificate says {said.level}")
    return found


def _product(record: _Record) -> Product:
    about = record.product
    return Product(
        name=about.dn.cn,
        maker=about.dn.o,
        status=record.status,
        generates=about.product_type == "generatorProduct",
        level=about.assurance.max_assurance_level if about.assurance else 0,
    )
