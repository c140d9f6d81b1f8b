"""Certificates of a home: what is shown, and that a renewal breaks nothing that was trusted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from typer.testing import CliRunner, Result

from pipelines.certificate_commands import certificates_app
from pipelines.certificates import list_certificates, renew
from pipelines.deployment import create, open_deployment, open_records, system_clock
from pipelines.settings import read_settings
from provenance.chains import TrustAnchors, load_anchors, load_chain
from provenance.errors import CertificateRefused
from provenance.pki import load_authority, make_development_chain
from provenance.timestamps import PatientStamper, RemoteAuthority, TsaUnavailable
from provenance.timetokens import make_query, verify_reply

DAY = 86_400
QUERY = make_query(bytes(32), nonce=1)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificates of a home that was just made."""
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACEWARRANT_TSA_URL", raising=False)
    create(read_settings())
    return tmp_path / "home" / "pki"


def certificates(*words: str) -> Result:
    result = CliRunner().invoke(certificates_app, words, prog_name="facewarrant certificates")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_what_is_there_is_shown_with_its_days(fresh: Path) -> None:
    found = json.loads(certificates("show", "--json").stdout)
    assert [row["use"] for row in found] == ["signer", "time stamps", "anchor"]
    assert [row["days_left"] for row in found] == [364, 1824, 3649]
    shown = certificates("show").stdout
    assert "Signer" in shown
    assert "364" in shown


def test_days_are_of_the_clock_that_is_given(fresh: Path) -> None:
    signer, *_ = list_certificates(read_settings(), clock=lambda: system_clock() + 340 * DAY)
    assert signer.days_left == 24
    (fresh / "tsa.pem").unlink()
    found = list_certificates(read_settings(), clock=system_clock)
    assert [held.use for held in found] == ["signer", "anchor"]


def test_a_renewal_keeps_the_old_root_and_is_logged(fresh: Path) -> None:
    old = load_chain(fresh / "chain.pem")
    found = json.loads(certificates("renew", "--json").stdout)
    assert [row["use"] for row in found] == ["signer", "time stamps", "anchor", "anchor"]
    new = load_chain(fresh / "chain.pem")
    assert new.leaf != old.leaf
    with open_deployment(read_settings()) as at:
        [event] = [e for e in at.archive.log.entries() if e["kind"] == "key_event"]
        assert (event["event"], event["role"], event["kid"]) == (
            "rotated",
            "signer",
            found[0]["sha256"],
        )
        at.press.stamper.stamp(QUERY)


def test_a_renewal_may_change_the_algorithm(fresh: Path) -> None:
    assert certificates("renew", "--algorithm", "Ed25519").exit_code == 0
    key = load_chain(fresh / "chain.pem").leaf.public_key()
    assert isinstance(key, ed25519.Ed25519PublicKey)
    with open_deployment(read_settings()) as at:
        assert at.press.signer.alg == "Ed25519"
    assert certificates("renew", "--algorithm", "ES1").exit_code == 2


def test_an_expired_chain_is_renewed(fresh: Path) -> None:
    late = system_clock() + 400 * DAY
    with pytest.raises(CertificateRefused):
        open_deployment(read_settings(), clock=lambda: late)
    with open_records(read_settings(), clock=lambda: late) as at:
        renew(at.settings, at.archive.log, clock=lambda: late)
    with open_deployment(read_settings(), clock=lambda: late) as at:
        at.press.stamper.stamp(QUERY)


def test_the_chain_of_a_real_ca_is_not_replaced(fresh: Path) -> None:
    made = make_development_chain(organisation="Real CA", now=datetime.now(UTC))
    (fresh / "root.pem").write_text(TrustAnchors((made.issuing,)).pem)
    before = {path: path.read_bytes() for path in fresh.iterdir()}
    with pytest.raises(CertificateRefused, match="only that CA") as refused:
        certificates("renew")
    assert str(fresh) in refused.value.mend
    assert {path: path.read_bytes() for path in fresh.iterdir()} == before


# ------------------------------------------------------------------------------ the stamper


def test_a_new_home_stamps_by_itself(fresh: Path) -> None:
    with open_deployment(read_settings()) as at:
        reply = at.press.stamper.stamp(QUERY)
        now = datetime.now(UTC)
        verify_reply(reply, query=QUERY, authorities=at.anchors.time_stamping, now=now)


def test_addresses_of_the_settings_are_asked_in_turn(fresh: Path) -> None:
    urls = ["http://tsa.test/one", "https://tsa.test/two"]
    with open_deployment(read_settings(tsa_url=" ".join(urls))) as at:
        stamper: Any = at.press.stamper
    assert isinstance(stamper, PatientStamper)
    assert [a.url for a in stamper.authorities if isinstance(a, RemoteAuthority)] == urls


def test_an_address_that_is_none_stops_releases(fresh: Path) -> None:
    with pytest.raises(Exception, match="time-stamping authority") as refused:
        open_deployment(read_settings(tsa_url="tsa.test"))
    assert getattr(refused.value, "code", "") == "MALFORMED"


def test_a_home_without_an_authority_says_what_to_do(fresh: Path) -> None:
    (fresh / "tsa.pem").unlink()
    with pytest.raises(CertificateRefused, match="no time-stamping authority") as refused:
        open_deployment(read_settings())
    assert "FACEWARRANT_TSA_URL" in refused.value.mend
    with open_deployment(read_settings(tsa_url="https://tsa.test/")):
        pass


def test_a_time_stamp_of_the_wrong_root_is_none(fresh: Path) -> None:
    """A file of their own says which authorities are believed; the root of signers is not then."""
    other = make_development_chain(organisation="Other", now=datetime.now(UTC))
    (fresh / "tsa-root.pem").write_text(TrustAnchors((other.root,)).pem)
    with pytest.raises(CertificateRefused, match="vouches for more"):
        open_deployment(read_settings())
    (fresh / "root.pem").write_text((fresh / "root.pem").read_text() + other.anchors.pem)
    with open_deployment(read_settings()) as at:
        assert at.anchors.time_stamping == (other.root,)
        stamper: Any = at.press.stamper
        impatient = PatientStamper(
            stamper.authorities, stamper.trusted, stamper.clock, stamper.timer, lambda _s: None
        )
        with pytest.raises(TsaUnavailable, match="leads to none"):
            impatient.stamp(QUERY)


def test_the_authority_s_own_files_are_needed_together(fresh: Path) -> None:
    made = load_authority(fresh, clock=lambda: datetime.now(UTC))
    assert load_anchors([fresh / "root.pem"]).certificates[0].subject == made.certificate.issuer
    (fresh / "tsa-key.pem").chmod(0o644)
    with pytest.raises(Exception, match=r"tsa-key\.pem"):
        open_deployment(read_settings())


@pytest.mark.parametrize("signer", ["token:claims", "https://signer.example"])
def test_a_key_that_lies_elsewhere_gets_no_chain_here(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, signer: str
) -> None:
    before = {path.name: path.read_bytes() for path in fresh.iterdir()}
    monkeypatch.setenv("FACEWARRANT_SIGNER", signer)
    result = CliRunner().invoke(certificates_app, ["renew"])
    assert isinstance(result.exception, CertificateRefused)
    assert "not in this home" in result.exception.message
    assert {path.name: path.read_bytes() for path in fresh.iterdir()} == before
