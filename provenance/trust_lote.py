"""Trust lists as JSON, the form C2PA publishes beside the PEM one (a LoTE, ETSI TS 119 602).

The JSON says what PEM cannot: the day of issue, the day it is due for renewal, and which entries
lost the issuer's trust. C2PA's lists name no service type, so one list serves one use, and says
which by its name (measured on the lists of August 2026). Refused: a list whose name or service type
is for the other use, a service type we do not know, a status neither trusted nor untrusted, one
certificate under both, an entry trusted from after the day of issue, a key that comes twice, and
anything ill-typed in a field that decides. What only describes (addresses, names) is not read. The
list is not signed; whoever adds it vouches for where it came from.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_pascal

from policies.canonical import parse_object
from policies.errors import Malformed
from provenance.trust_terms import MAX_LIST_BYTES, TrustRefused, Use, read_moment

MAX_ENTRIES: Final = 2_000
"""Most certificates of one list; the official ones have 30 (August 2026). Our own choice."""

_TRUSTED = "http://c2pa.org/conformance/trust-list/trusted"
_UNTRUSTED = "http://c2pa.org/conformance/trust-list/untrusted"

_SCHEMES: Final[dict[str, Use]] = {
    "C2PA Trust List": "signers",
    "C2PA TSA Trust List": "time-stamps",
}
# Time-stamping services of ETSI TS 119 612, 5.5.1.1; no service type stands for claim signing.
_SERVICES: Final[dict[str, Use]] = {
    "http://uri.etsi.org/TrstSvc/Svctype/TSA": "time-stamps",
    "http://uri.etsi.org/TrstSvc/Svctype/TSA/QTST": "time-stamps",
}

_Long = Annotated[str, StringConstraints(max_length=16_384)]


class _Leaf(BaseModel):
    """A part with lower-case names; what it does not name only describes, and is not read."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _Part(_Leaf):
    """A part whose names are written as in the standard."""

    model_config = ConfigDict(alias_generator=to_pascal)


class _Text(_Leaf):
    value: _Long


class _Certificate(_Leaf):
    val: _Long


class _Identity(_Part):
    certificates: Annotated[list[_Certificate], Field(min_length=1, alias="X509Certificates")]


class _Service(_Part):
    service_digital_identity: _Identity
    service_status: Literal[
        "http://c2pa.org/conformance/trust-list/trusted",
        "http://c2pa.org/conformance/trust-list/untrusted",
    ]
    status_starting_time: _Long
    service_type_identifier: _Long | None = None


class _Entry(_Part):
    service_information: _Service


class _Entity(_Part):
    trusted_entity_services: Annotated[list[_Entry], Field(min_length=1)]


class _Scheme(_Part):
    version: Annotated[Literal[1], Field(alias="LoTEVersionIdentifier")]
    list_issue_date_time: _Long
    next_update: _Long
    scheme_name: list[_Text] = []


class _Body(_Part):
    list_and_scheme_information: _Scheme
    trusted_entities_list: Annotated[list[_Entity], Field(min_length=1)]


class _Lote(_Leaf):
    model_config = ConfigDict(extra="forbid")

    body: Annotated[_Body, Field(alias="LoTE")]


@dataclass(frozen=True, slots=True)
class Lote:
    """What a list says: when it was issued, when it is due for renewal, whom it trusts now."""

    issued: datetime
    next_update: datetime
    certificates: tuple[x509.Certificate, ...]


def read_lote(content: bytes, *, use: Use) -> Lote:
    """Read a JSON trust list for one use; raise TrustRefused.

    The certificates are parsed and not yet judged: that they are CAs is for the caller to check.
    """
    body = _parse(content)
    scheme = body.list_and_scheme_information
    issued = read_moment(scheme.list_issue_date_time, what="date of issue")
    due = read_moment(scheme.next_update, what="date of renewal")
    if due <= issued:
        raise TrustRefused("the list is due for renewal before it was issued")
    for name in scheme.scheme_name:
        _require_meant(_SCHEMES.get(name.value, use), use)
    services = [
        entry.service_information
        for entity in body.trusted_entities_list
        for entry in entity.trusted_entity_services
    ]
    return Lote(issued, due, _believed(services, issued, use))


def _parse(content: bytes) -> _Body:
    try:
        return _Lote.model_validate(parse_object(content, max_bytes=MAX_LIST_BYTES)).body
    except Malformed as error:
        raise TrustRefused(f"this is no JSON trust list: {error.message}") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise TrustRefused(
            f"this is no JSON trust list as C2PA publishes it: {where} is missing or wrong",
            mend="get the list again from its issuer, or give its PEM form",
        ) from error


def _believed(services: list[_Service], issued: datetime, use: Use) -> tuple[x509.Certificate, ...]:
    """Return the certificates with the issuer's trust, each once, in the order of the list."""
    found: dict[bytes, x509.Certificate] = {}
    dropped: set[bytes] = set()
    count = 0
    for service in services:
        _require_service(service, issued, use)
        for certificate in _certificates(service):
            count += 1
            if count > MAX_ENTRIES:
                raise TrustRefused(f"a trust list has at most {MAX_ENTRIES} certificates")
            der = certificate.public_bytes(Encoding.DER)
            if service.service_status == _TRUSTED:
                found[der] = certificate
            else:
                dropped.add(der)
    if dropped & found.keys():
        raise TrustRefused("the list calls one certificate trusted and untrusted")
    if not found:
        raise TrustRefused("the list trusts nobody", mend="remove the list instead")
    return tuple(found.values())


def _require_service(service: _Service, issued: datetime, use: Use) -> None:
    kind = service.service_type_identifier
    if kind is not None and kind not in _SERVICES:
        raise TrustRefused(
            "the list has a service of a type that is not known here",
            mend="give a C2PA trust list; lists of other schemes do not say who may sign claims",
        )
    if kind is not None:
        _require_meant(_SERVICES[kind], use)
    since = read_moment(service.status_starting_time, what="start of a status")
    if service.service_status == _TRUSTED and since > issued:
        raise TrustRefused("the list trusts a certificate only from after its own day of issue")


def _require_meant(meant: Use, use: Use) -> None:
    if meant != use:
        raise TrustRefused(
            f"the list says that it is for {meant}, not for {use}", mend=f"add it --for {meant}"
        )


def _certificates(service: _Service) -> Iterator[x509.Certificate]:
    for one in service.service_digital_identity.certificates:
        try:
            yield x509.load_der_x509_certificate(base64.b64decode(one.val, validate=True))
        except ValueError as error:
            raise TrustRefused("the list holds a certificate that cannot be read") from error
