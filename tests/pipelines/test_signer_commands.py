"""`facewarrant signer`: what a service is handed, that it starts, and what its ledger says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipelines.signing_service
from pipelines.deployment import open_records
from pipelines.settings import read_settings
from provenance.signing_ledger import SigningLedger

Cli = Callable[..., Any]


def test_export_writes_what_a_service_must_know(cli: Cli, empty_home: Path, tmp_path: Path) -> None:
    shown = cli("signer", "export", tmp_path / "a", "--json")
    with open_records(read_settings()) as at:
        policy, desk = at.desk.house.sha256, at.desk.key.public.hex
        log = f"{at.archive.log.origin}+"
    assert shown.json == {"folder": str(tmp_path / "a"), "policy": policy}
    files = {path.name: path.read_text() for path in (tmp_path / "a").iterdir()}
    assert files.keys() == {"desk.pub", "log.pub", "policies", "token"}
    assert (files["desk.pub"], files["policies"]) == (f"{desk}\n", f"{policy}\n")
    assert files["log.pub"].startswith(log)
    assert files["token"] == (empty_home / "signer" / "token").read_text()
    assert len(files["token"].strip()) == 64
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {0o600}
    assert files["token"].strip() not in shown.out


def test_a_second_export_has_the_same_token_and_overwrites_nothing(
    cli: Cli, empty_home: Path, tmp_path: Path
) -> None:
    assert "is a secret" in cli("signer", "export", tmp_path / "a").out
    assert cli("signer", "export", tmp_path / "b").code == 0
    assert (tmp_path / "a" / "token").read_bytes() == (tmp_path / "b" / "token").read_bytes()
    assert cli("signer", "export", tmp_path / "a").code == 4


def test_serve_opens_the_desk_and_listens(
    cli: Cli, empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(
        pipelines.signing_service, "serve", lambda _app, **options: given.append(options)
    )
    assert cli("signer", "serve").code == 4, "nothing was exported for it yet"
    assert given == []
    cli("signer", "export", empty_home / "signer")
    (empty_home / "signer" / "token").unlink(missing_ok=True)
    cli("signer", "export", empty_home / "other")
    for name in ("desk.pub", "log.pub", "policies"):
        (empty_home / "other" / name).replace(empty_home / "signer" / name)
    assert "port 8646" in cli("signer", "serve").out
    shown = cli("signer", "serve", "--port", "7", "--json")
    assert (shown.json["host"], shown.json["port"]) == ("127.0.0.1", 7)
    assert len(shown.json["policies"]) == 1
    assert [options["port"] for options in given] == [8646, 7]


def test_the_ledger_is_shown_newest_first(cli: Cli, empty_home: Path) -> None:
    (empty_home / "signer").mkdir(mode=0o700)
    with SigningLedger(empty_home / "signer" / "ledger.db") as ledger:
        ledger.enter_signature("w-1", warrant_sha256="a" * 64, claim_sha256="b" * 64, at=1)
        ledger.enter_refusal("WARRANT-FORGED", warrant_id="w-2", at=2)
    rows = cli("signer", "ledger", "--json").json
    assert [row["code"] for row in rows] == ["WARRANT-FORGED", "SIGNED"]
    assert len(cli("signer", "ledger", "--limit", "1", "--json").json) == 1
    text = cli("signer", "ledger").out
    assert "SIGNED" in text
    assert "w-2" in text
    assert "b" * 20 in text
