"""Every kind of list in one folder: announced before it counts, and read again as it was."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from provenance.trust import NO_LISTS, TrustFolder, read_any, read_list
from provenance.trust_terms import Kind, TrustRefused


def pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def folder(tmp_path: Path) -> TrustFolder:
    return TrustFolder(tmp_path / "trust")


def lote(certificate: x509.Certificate, **scheme: object) -> bytes:
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    information = {
        "ServiceDigitalIdentity": {"X509Certificates": [{"val": der}]},
        "ServiceStatus": "http://c2pa.org/conformance/trust-list/trusted",
        "StatusStartingTime": "2025-08-27T00:00:00Z",
    }
    services = {"TrustedEntityServices": [{"ServiceInformation": information}]}
    about = {
        "LoTEVersionIdentifier": 1,
        "ListIssueDateTime": "2026-08-05T00:11:47Z",
        "NextUpdate": "2027-08-05T00:11:47Z",
    }
    body = {"ListAndSchemeInformation": about | scheme, "TrustedEntitiesList": [services]}
    return b"\n " + json.dumps({"LoTE": body}).encode()


def test_json_list_brings_its_own_dates(pki: Any) -> None:
    content = lote(pki.root)
    for dated in ("", "2026-08-05"):
        found = read_list(content, name="x", use="signers", dated=dated)
        assert found.certificates == (pki.root,)
        assert found.next_update == datetime(2027, 8, 5, 0, 11, 47, tzinfo=UTC)
        assert "issued 2026-08-05, due for renewal 2027-08-05, SHA-256" in found.words
    with pytest.raises(TrustRefused, match="issued on 2026-08-05, not on 2026-08-06"):
        read_list(content, name="x", use="signers", dated="2026-08-06")


def test_json_list_is_judged_as_any_other(pki: Any) -> None:
    with pytest.raises(TrustRefused, match="not a CA"):
        read_list(lote(pki.leaf), name="x", use="signers")


def test_every_kind_is_kept_and_read_again(folder: TrustFolder, authority: Any, pki: Any) -> None:
    record = {
        "recordId": "0197aa34-665b-7811-9bbc-317cfd988d0a",
        "status": "conformant",
        "product": {"productType": "generatorProduct", "DN": {"CN": "A", "O": "B"}},
    }
    contents: list[tuple[Kind, bytes]] = [
        ("signers", lote(pki.root)),
        ("products", json.dumps([record]).encode()),
        ("revoked", authority.crl(authority.leaf)),
    ]
    added = [folder.add(content, name=kind, kind=kind) for kind, content in contents]
    loaded = folder.load()
    assert [one.sha256 for one in loaded.every] == [sha256_hex(each) for _, each in contents]
    assert [one.words for one in loaded.every] == [one.words for one in added]
    assert (len(loaded.lists), len(loaded.products), len(loaded.revoked)) == (1, 1, 1)
    assert loaded.roots("signers") == (pki.root,)


def test_revocation_list_says_its_own_day(authority: Any) -> None:
    crl = authority.crl()
    day = (authority.now - timedelta(days=1)).date().isoformat()
    assert read_any(crl, name="x", kind="revoked", dated=day).dated == day
    with pytest.raises(TrustRefused, match="not on 2020-01-01"):
        read_any(crl, name="x", kind="revoked", dated="2020-01-01")


def test_list_that_cannot_be_announced_does_not_count(folder: TrustFolder, pki: Any) -> None:
    told: list[str] = []

    def fail(sha256: str) -> None:
        told.append(sha256)
        raise StoreUnavailable("the log is gone")

    with pytest.raises(StoreUnavailable):
        folder.add(pem_of(pki.root), name="x", kind="signers", announce=fail)
    assert folder.load() == NO_LISTS
    folder.add(pem_of(pki.root), name="x", kind="signers")
    with pytest.raises(StoreUnavailable):
        folder.remove("x", announce=fail)
    assert folder.load().roots("signers") == (pki.root,)
    assert told == [sha256_hex(pem_of(pki.root))] * 2
    # What is refused is not announced.
    with pytest.raises(TrustRefused):
        folder.add(pem_of(pki.leaf), name="y", kind="signers", announce=fail)
    with pytest.raises(TrustRefused):
        folder.remove("y", announce=fail)
    assert len(told) == 2


def test_list_that_no_longer_loads_can_be_removed(
    folder: TrustFolder, tmp_path: Path, pki: Any
) -> None:
    folder.add(pem_of(pki.root), name="x", kind="signers")
    path = tmp_path / "trust" / "x.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace(sha256_hex(pem_of(pki.root)), "0" * 64)
    )
    told: list[str] = []
    folder.remove("x", announce=told.append)
    assert (told, folder.load()) == ([""], NO_LISTS)
