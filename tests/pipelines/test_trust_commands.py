from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.deployment import create, open_records
from pipelines.settings import read_settings
from policies.digest import sha256_hex

Cli = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of another deployment, as a list its issuer might publish."""
    create(read_settings(home=tmp_path / "other", organisation="Other Studio"))
    path = tmp_path / "C2PA-LIST.pem"
    path.write_bytes((tmp_path / "other" / "pki" / "root.pem").read_bytes())
    return path


def test_list_is_added_shown_and_removed(cli: Cli, root: Path) -> None:
    assert "No trust list" in cli("trust", "list").out
    added = cli("trust", "add", root, "--for", "signers", "--dated", "2026-08-05")
    digest = sha256_hex(root.read_bytes())
    assert added.code == 0
    assert f"C2PA-LIST (1 root for signers, issued 2026-08-05, SHA-256 {digest})" in (
        added.out.replace("\n", "")
    )
    listed = cli("trust", "list", "--json").json
    assert [(one["name"], one["use"], one["dated"], one["sha256"]) for one in listed] == [
        ("C2PA-LIST", "signers", "2026-08-05", digest)
    ]
    assert "Other Studio" in listed[0]["roots"][0]
    shown = cli("trust", "list").out
    assert "C2PA-LIST" in shown
    assert digest in "".join(shown.split())
    second = cli("trust", "add", root, "--for", "time-stamps", "--name", "tsa", "--json").json
    assert (second["name"], second["use"], second["dated"]) == ("tsa", "time-stamps", "")
    assert cli("trust", "remove", "C2PA-LIST").code == 0
    assert cli("trust", "remove", "tsa", "--json").json == {"removed": "tsa"}
    assert cli("trust", "list", "--json").json == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--for", "everything"], 2),
        (["--for", "signers", "--dated", "yesterday"], 2),
        (["--for", "signers", "--name", "../up"], 4),
        ([], 2),
    ],
)
def test_wrong_use_is_refused(cli: Cli, root: Path, words: list[str], code: int) -> None:
    assert cli("trust", "add", root, *words).code == code
    assert cli("trust", "list", "--json").json == []


def test_signer_is_no_root(cli: Cli, root: Path, tmp_path: Path) -> None:
    ended = cli("trust", "add", tmp_path / "other" / "pki" / "chain.pem", "--for", "signers")
    assert (ended.code, ended.err.partition(":")[0]) == (4, "TRUST-REFUSED")
    assert cli("trust", "add", tmp_path / "missing.pem", "--for", "signers").code == 4
    assert cli("trust", "remove", "nothing").code == 4


def test_home_made_by_a_list_can_still_be_set_up(cli: Cli, root: Path) -> None:
    assert cli("trust", "add", root, "--for", "signers").code == 0
    assert cli("init").code == 0


def test_list_makes_a_foreign_release_authentic_for_its_use_alone(
    cli: Cli, released_home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path / "auditor"))
    own = released_home.path / "pki" / "root.pem"
    assert cli("verify", released_home.released).code == 5
    cli("trust", "add", own, "--for", "time-stamps", "--name", "tsa")
    refused = cli("verify", released_home.released)
    assert refused.code == 5
    assert "given for time stamps alone" in " ".join(refused.err.split())
    cli("trust", "add", own, "--for", "signers", "--name", "studio", "--dated", "2026-08-05")
    verified = cli("verify", released_home.released, "--json")
    assert (verified.code, verified.json["verdict"]) == (0, "authentic")
    lists = verified.json["trust"]["lists"]
    assert [(one["name"], one["dated"]) for one in lists] == [("studio", "2026-08-05"), ("tsa", "")]
    # Roots given by hand replace the lists.
    other = cli("verify", released_home.released, "--anchors", own, "--json").json
    assert other["trust"]["lists"] == []


def test_changed_list_stops_every_verification(cli: Cli, released_home: Any, root: Path) -> None:
    cli("trust", "add", root, "--for", "signers", "--name", "x")
    path = released_home.path / "trust" / "x.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(kept | {"sha256": "0" * 64}), encoding="utf-8")
    ended = cli("verify", released_home.released, "--json")
    assert (ended.code, ended.json["error"]["code"]) == (4, "TRUST-REFUSED")


def entries(home: Path) -> list[tuple[str, str, str]]:
    with open_records(read_settings(home=home)) as at:
        found = [one for one in at.archive.log.entries() if one["kind"] == "trust"]
    return [(one["event"], one["name"], one["sha256"]) for one in found]


def test_every_step_with_a_list_is_logged(
    cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "other"  # set up by `root`
    monkeypatch.setenv("FACEWARRANT_HOME", str(home))
    digest = sha256_hex(root.read_bytes())
    assert cli("trust", "add", root, "--for", "signers", "--name", "x").code == 0
    assert entries(home) == [("added", "x", digest)]
    assert cli("trust", "add", root, "--for", "signers", "--name", "x").code == 4
    assert cli("trust", "remove", "y").code == 4
    assert len(entries(home)) == 1, "what was refused changed nothing"
    assert cli("trust", "remove", "x").code == 0
    assert entries(home)[1:] == [("removed", "x", digest)]


def test_list_that_cannot_be_logged_is_not_believed(
    cli: Cli, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "other"
    monkeypatch.setenv("FACEWARRANT_HOME", str(home))
    (home / "keys" / "log.pem").unlink()
    assert cli("trust", "add", root, "--for", "signers").code != 0
    assert cli("trust", "list", "--json").json == []


def test_json_list_and_products_are_taken_in(cli: Cli, root: Path, tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(root.read_bytes())
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    service = {
        "ServiceDigitalIdentity": {"X509Certificates": [{"val": der}]},
        "ServiceStatus": "http://c2pa.org/conformance/trust-list/trusted",
        "StatusStartingTime": "2025-08-27T00:00:00Z",
    }
    about = {
        "LoTEVersionIdentifier": 1,
        "ListIssueDateTime": "2026-08-05T00:11:47Z",
        "NextUpdate": "2027-08-05T00:11:47Z",
    }
    entity = {"TrustedEntityServices": [{"ServiceInformation": service}]}
    body = {"ListAndSchemeInformation": about, "TrustedEntitiesList": [entity]}
    record = {
        "recordId": "0197aa34-665b-7811-9bbc-317cfd988d0a",
        "status": "conformant",
        "product": {"productType": "generatorProduct", "DN": {"CN": "A", "O": "B"}},
    }
    for name, content, kind in (("lote", {"LoTE": body}, "signers"), ("cpl", [record], "products")):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        assert cli("trust", "add", path, "--for", kind).code == 0
    key = ec.generate_private_key(ec.SECP256R1())
    start = certificate.not_valid_before_utc
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(start)
        .next_update(start + timedelta(days=7))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.crl").write_bytes(crl.public_bytes(serialization.Encoding.DER))
    assert cli("trust", "add", tmp_path / "ca.crl", "--for", "revoked").code == 0
    listed = {one["name"]: one for one in cli("trust", "list", "--json").json}
    assert [(one["use"], one["entries"]) for one in listed.values()] == [
        ("signers", 1),
        ("products", 1),
        ("revoked", 0),
    ]
    assert listed["lote"]["dated"] == "2026-08-05"
    assert listed["lote"]["next_update"] == "2027-08-05T00:11:47+00:00"
    assert "roots" not in listed["cpl"]
    assert "products" in cli("trust", "list").out
