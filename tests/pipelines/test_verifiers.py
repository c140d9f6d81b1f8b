from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.deployment import create
from pipelines.keyfiles import KeyFileRefused
from pipelines.settings import read_settings
from pipelines.verifiers import open_verifier
from policies.errors import Malformed
from provenance.errors import CertificateRefused, Untrusted
from provenance.second_engine import EngineMissing


def test_a_home_gives_trust_mark_and_archive(released_home: Any) -> None:
    with open_verifier(released_home.settings, []) as verifier:
        report = verifier.verify(released_home.released.read_bytes())
    assert (report.verdict, report.consent, report.origin) == (
        "authentic",
        "current",
        "facewarrant",
    )
    unchecked = {line.subject for line in report.evidence if line.state == "unchecked"}
    assert unchecked == {"revocation", "product"}, "no OCSP answer is inside, and no list is kept"


def test_without_a_home_nothing_is_trusted(released_home: Any, tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path / "elsewhere")
    with open_verifier(settings, []) as verifier:
        assert (verifier.watermark, verifier.archive) == (None, None)
        with pytest.raises(Untrusted):
            verifier.verify(released_home.released.read_bytes())
    assert not settings.home.exists(), "verifying makes nothing"


def test_given_anchors_replace_the_homes_own(released_home: Any, tmp_path: Path) -> None:
    create(read_settings(home=tmp_path / "other"))
    others = [tmp_path / "other" / "pki" / "root.pem"]
    with open_verifier(released_home.settings, others) as verifier, pytest.raises(Untrusted):
        verifier.verify(released_home.released.read_bytes())
    with open_verifier(
        read_settings(home=tmp_path / "none"), [released_home.path / "pki" / "root.pem"]
    ) as verifier:
        report = verifier.verify(released_home.released.read_bytes())
    assert (report.verdict, report.consent) == ("authentic", "unchecked")


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_an_anchor_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "root.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CertificateRefused), open_verifier(read_settings(), [path]):
        pass


def test_a_signers_own_certificate_is_no_anchor(released_home: Any) -> None:
    chain = released_home.path / "pki" / "chain.pem"
    with pytest.raises(CertificateRefused), open_verifier(released_home.settings, [chain]):
        pass


def test_an_exposed_key_stops_the_verifier_too(released_home: Any) -> None:
    (released_home.path / "keys" / "watermark.key").chmod(0o644)
    with pytest.raises(KeyFileRefused), open_verifier(released_home.settings, []):
        pass


def test_a_second_engine_is_asked_only_where_it_is_wanted(released_home: Any) -> None:
    data = released_home.released.read_bytes()
    for wanted in (False, True):
        with open_verifier(released_home.settings, [], second_engine=wanted) as verifier:
            subjects = {line.subject for line in verifier.verify(data).evidence}
        assert ("second engine" in subjects) is wanted


def test_a_missing_second_engine_is_said(
    released_home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "encypher_c2pa", None)
    with (
        pytest.raises(EngineMissing),
        open_verifier(released_home.settings, [], second_engine=True),
    ):
        pass


def test_nothing_is_fetched_unless_a_host_is_named(released_home: Any, tmp_path: Path) -> None:
    with open_verifier(released_home.settings, []) as verifier:
        assert verifier.remote is None
    for settings in (released_home.settings, read_settings(home=tmp_path)):
        with open_verifier(settings, [], remote_hosts=["a.test"]) as verifier:
            assert verifier.remote is not None
            assert verifier.remote.hosts == ("a.test",)
    with (
        pytest.raises(Malformed, match="no host"),
        open_verifier(released_home.settings, [], remote_hosts=["*"]),
    ):
        pass
