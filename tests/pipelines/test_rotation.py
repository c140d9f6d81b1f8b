"""What stays verifiable when a key is replaced: the sentences of docs/signing.md, run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.keys import SigningKey

Cli = Callable[..., Any]


def replace(home: Path, name: str) -> None:
    (home / "keys" / f"{name}.pem").write_bytes(SigningKey.generate().to_pem())


def test_a_new_desk_key_ends_old_warrants_and_no_old_file(
    cli: Cli, released_home: Any, tmp_path: Path
) -> None:
    assert cli("audit", "bundle", "first", tmp_path / "before").code == 0
    replace(released_home.path, "warrant")
    assert cli("verify", released_home.released).code == 0
    ended = cli("audit", "bundle", "first", tmp_path / "after", "--json")
    assert "WARRANT-FORGED" in ended.out + ended.err
    again = cli(*released_home.run_words(tmp_path / "again.webp", request_id="first"))
    assert again.code != 0
    assert "WARRANT-FORGED" in again.out + again.err
    assert cli(*released_home.run_words(tmp_path / "new.webp")).code == 0


def test_a_new_log_key_keeps_the_log_and_ends_what_was_kept_elsewhere(
    cli: Cli, released_home: Any, tmp_path: Path
) -> None:
    kept, proof, key = tmp_path / "kept", tmp_path / "proof.json", tmp_path / "log.pub"
    assert cli("audit", "checkpoint", "--out", kept).code == 0
    assert cli("audit", "prove", "0", "--out", proof).code == 0
    assert cli("signer", "export", tmp_path / "old").code == 0
    key.write_text((tmp_path / "old" / "log.pub").read_text())
    replace(released_home.path, "log")
    assert cli("verify", released_home.released).code == 0
    assert cli("audit", "verify").code == 0
    assert cli("audit", "verify", "--kept", kept).code == 5
    origin = key.read_text().partition("+")[0]
    check = ("audit", "check-proof", proof, "--origin", origin, "--key")
    assert cli(*check, key).code == 0
    assert cli("signer", "export", tmp_path / "new").code == 0
    assert cli(*check, tmp_path / "new" / "log.pub").code == 5
