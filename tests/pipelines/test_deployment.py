from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import pipelines.deployment
from generator.errors import PackMissing, ShapeError
from generator.swapper import UnknownSwapper
from pipelines.deployment import (
    SIGNING_KEYS,
    create,
    open_chosen_analyser,
    open_deployment,
    open_records,
    system_clock,
)
from pipelines.keyfiles import KeyFileRefused
from pipelines.settings import read_settings
from policies.errors import Malformed, StoreUnavailable
from provenance.chains import load_chain
from provenance.errors import CertificateRefused
from provenance.signers import KeyRefused

SYMMETRIC_KEYS = ("commitment", "watermark")
YEAR = 365 * 86_400


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A home that was just made."""
    create(read_settings())
    return tmp_path / "home"


def test_what_is_secret_is_for_its_owner_alone(fresh: Path) -> None:
    secret = [f"keys/{name}.pem" for name in SIGNING_KEYS] + [
        f"keys/{name}.key" for name in SYMMETRIC_KEYS
    ]
    for name in [*secret, "pki/key.pem"]:
        assert (fresh / name).stat().st_mode & 0o777 == 0o600, name
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert len({(fresh / name).read_bytes() for name in secret}) == len(secret)
    assert not list(fresh.rglob("*root*key*")), "the root's own key is gone"


def test_two_deployments_share_no_key(fresh: Path, tmp_path: Path) -> None:
    create(read_settings(home=tmp_path / "other"))
    for path in fresh.rglob("keys/*"):
        assert (tmp_path / "other" / "keys" / path.name).read_bytes() != path.read_bytes()


def test_a_home_is_made_once(fresh: Path) -> None:
    before = {path: path.read_bytes() for path in fresh.rglob("*.pem")}
    with pytest.raises(KeyFileRefused, match="already set up") as refused:
        create(read_settings())
    assert "FACEWARRANT_HOME" in refused.value.mend
    assert {path: path.read_bytes() for path in fresh.rglob("*.pem")} == before


@pytest.mark.parametrize("where", ["file", "file/deeper"])
def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileRefused, match="cannot make") as refused:
        create(read_settings(home=tmp_path / where))
    assert refused.value.mend


def test_a_disk_that_fills_up_in_between_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipelines.deployment, "save_chain", full)
    with pytest.raises(KeyFileRefused, match="No space left") as refused:
        create(read_settings())
    assert "run init again" in refused.value.mend


def test_the_organisation_is_in_the_certificate(tmp_path: Path) -> None:
    settings = read_settings(organisation="Studio Nine")
    create(settings)
    leaf = load_chain(tmp_path / "home" / "pki" / "chain.pem").certificates[0]
    assert "Studio Nine" in leaf.subject.rfc4514_string()


def test_a_home_that_is_missing_is_refused(tmp_path: Path) -> None:
    for opener in (open_deployment, open_records):
        with pytest.raises(KeyFileRefused, match="is not set up") as refused:
            opener(read_settings())
        assert "facewarrant init" in refused.value.mend
    assert not (tmp_path / "home").exists(), "opening makes nothing"


@pytest.mark.parametrize(
    "name", [*(f"{n}.pem" for n in SIGNING_KEYS), *(f"{n}.key" for n in SYMMETRIC_KEYS)]
)
@pytest.mark.parametrize("damage", ["missing", "exposed", "cut"])
def test_every_key_is_needed_and_private_and_whole(fresh: Path, name: str, damage: str) -> None:
    path = fresh / "keys" / name
    if damage == "missing":
        path.unlink()
    elif damage == "exposed":
        path.chmod(0o644)
    else:
        path.write_bytes(path.read_bytes()[:-7])
        path.chmod(0o600)
        if path.suffix == ".pem":
            path.write_bytes(path.read_bytes()[:60])
    for opener in (open_deployment, open_records):
        with pytest.raises(KeyFileRefused, match=name) as refused:
            opener(read_settings())
        assert refused.value.code == "KEY-FILE-REFUSED"
        assert refused.value.mend


def test_an_exposed_signing_key_stops_releases(fresh: Path) -> None:
    (fresh / "pki" / "key.pem").chmod(0o644)
    with pytest.raises(KeyRefused, match=r"key\.pem"):
        open_deployment(read_settings())


@pytest.mark.parametrize(("years", "about"), [(1.01, "expired"), (-1, "valid only from")])
def test_a_certificate_outside_its_time_stops_releases_alone(
    fresh: Path, years: float, about: str
) -> None:
    def then() -> int:
        return int(system_clock() + years * YEAR)

    with pytest.raises(CertificateRefused, match=about) as refused:
        open_deployment(read_settings(), clock=then)
    assert refused.value.mend
    with open_records(read_settings(), clock=then) as at:
        assert at.consents.record_ids() == ()


def test_a_refused_signer_leaves_no_database_open(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(pipelines.deployment.Records, "close", lambda _self: closed.append(True))
    with pytest.raises(CertificateRefused):
        open_deployment(read_settings(), clock=lambda: system_clock() + 2 * YEAR)
    assert closed == [True]
    with open_deployment(read_settings()):
        assert closed == [True], "a signer that is fit leaves it open"
    assert closed == [True, True]


def test_an_anchor_that_is_none_is_refused(fresh: Path) -> None:
    (fresh / "pki" / "root.pem").write_text("nonsense")
    with pytest.raises(CertificateRefused):
        open_records(read_settings())


@pytest.mark.parametrize(
    "url",
    ["nonsense", "sqlite:////dev/null/no/such/folder.db", "postgresql://u:hidden@h.invalid/d"],
)
def test_a_database_that_does_not_open_is_a_fault_and_shows_no_password(
    fresh: Path, url: str
) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        open_records(read_settings(database_url=url))
    assert "hidden" not in refused.value.diagnostics()


def test_a_deployment_opens_with_its_parts(fresh: Path) -> None:
    with open_deployment(read_settings()) as at:
        assert at.press.desk is at.desk
        assert at.press.signer.alg == "ES256"
        assert at.consents is at.desk.consents
        assert at.verifier.archive is at.archive
        assert at.swapper.name == "geo"
        assert at.swapper is at.swapper, "opened once"
        at.archive.log.check()
    created = load_chain(fresh / "pki" / "chain.pem").certificates[0].not_valid_before_utc
    assert created <= datetime.now(UTC)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "given", [{}, {"pack_match": 0.9}, {"pack_mismatch": 1.2}], ids=["none", "match", "mismatch"]
)
def test_a_pack_without_measured_thresholds_is_refused(pack: Path, given: dict[str, float]) -> None:
    with pytest.raises(Malformed, match="identity thresholds") as refused:
        open_chosen_analyser(read_settings(insightface_pack=pack, **given))
    assert "FACEWARRANT_PACK_MATCH" in refused.value.mend


def test_a_pack_with_thresholds_that_cross_is_refused(pack: Path) -> None:
    with pytest.raises(ShapeError, match="thresholds"):
        open_chosen_analyser(
            read_settings(insightface_pack=pack, pack_match=1.2, pack_mismatch=0.9)
        )


def test_an_empty_pack_is_refused_and_nothing_is_fetched(pack: Path) -> None:
    settings = read_settings(insightface_pack=pack, pack_match=0.9, pack_mismatch=1.2)
    with pytest.raises(PackMissing) as refused:
        open_chosen_analyser(settings)
    assert refused.value.mend
    assert list(pack.iterdir()) == []


def test_a_swapper_nobody_registered_is_refused(home: Any) -> None:
    with (
        open_deployment(read_settings(home=home.path, swapper="nope")) as at,
        pytest.raises(UnknownSwapper, match="'nope'") as refused,
    ):
        _ = at.swapper
    assert "geo" in refused.value.mend


def test_an_empty_folder_is_closed_and_one_in_use_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "mine.txt").write_text("mine")
    with pytest.raises(KeyFileRefused, match="open to others") as refused:
        create(read_settings())
    assert f"chmod 700 {home}" in refused.value.mend
    assert [path.name for path in home.iterdir()] == ["mine.txt"]
    (home / "mine.txt").unlink()
    create(read_settings())
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_half_finished_home_is_said_with_the_way_out(fresh: Path) -> None:
    (fresh / "pki" / "chain.pem").unlink()
    with pytest.raises(KeyFileRefused, match=r"by half: chain\.pem missing") as refused:
        create(read_settings())
    assert "if it was never in use, remove" in refused.value.mend
