"""`facewarrant consent recall`: copies that say it themselves, one for every output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pipelines.recall
from policies.consents import ConsentBook, ConsentUnknown
from policies.errors import StoreUnavailable

Cli = Callable[..., Any]


def test_a_withdrawn_person_gets_a_copy_of_every_output(
    cli: Cli, released_home: Any, tmp_path: Path
) -> None:
    out = tmp_path / "copies"
    told = cli("consent", "withdraw", released_home.source)
    assert "facewarrant consent recall" in told.out
    ended = cli("consent", "recall", released_home.source, "--out", out, "--json")
    assert ended.code == 0
    [one] = ended.json["recalled"]
    [copy] = out.iterdir()
    assert (one["file"], one["error"]) == (str(copy), None)
    found = cli("verify", copy, "--json")
    assert (found.code, found.json["verdict"], found.json["consent"]) == (
        6,
        "authentic",
        "withdrawn",
    )
    assert found.json["manifest_id"] == one["update"] != one["released"]
    before = copy.read_bytes()
    again = cli("consent", "recall", released_home.source, "--out", out)
    assert (again.code, copy.read_bytes()) == (0, before)
    assert again.out.split()[0] == "updated"
    elsewhere = cli("consent", "recall", released_home.source, "--out", tmp_path / "b", "--json")
    assert elsewhere.json["recalled"][0]["update"] == one["update"]


def test_a_consent_that_holds_is_refused(cli: Cli, released_home: Any, tmp_path: Path) -> None:
    refused = cli("consent", "recall", released_home.target, "--out", tmp_path / "copies")
    assert refused.code == 4
    assert "CONSENT-HOLDS" in refused.err
    assert f"consent withdraw {released_home.target}" in refused.err
    assert not (tmp_path / "copies").exists()


def test_nothing_to_recall_is_said(cli: Cli, home: Any, tmp_path: Path) -> None:
    unknown = "01900000-0000-7000-8000-000000000000"
    assert "CONSENT-UNKNOWN" in cli("consent", "recall", unknown, "--out", tmp_path).err
    cli("consent", "withdraw", home.source)
    told = cli("consent", "recall", home.source, "--out", tmp_path / "copies")
    assert (told.code, told.out) == (0, "Nothing was released under it.\n")


def test_one_that_cannot_be_updated_says_why(
    cli: Cli, released_home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("the store does not give it")

    cli("consent", "withdraw", released_home.source)
    monkeypatch.setattr(pipelines.recall, "update_release", gone)
    told = cli("consent", "recall", released_home.source, "--out", tmp_path / "copies")
    assert told.code == 1
    assert "not updated" in told.out
    assert "STORE-UNAVAILABLE: the store does not give it" in told.out
    document = cli("consent", "recall", released_home.source, "--out", tmp_path, "--json").json
    assert document["recalled"][0]["error"]["code"] == "STORE-UNAVAILABLE"
    assert document["recalled"][0]["file"] is None


def test_a_file_that_is_something_else_is_never_replaced(
    cli: Cli, released_home: Any, tmp_path: Path
) -> None:
    cli("consent", "withdraw", released_home.source)
    cli("consent", "recall", released_home.source, "--out", tmp_path)
    [copy] = tmp_path.glob("*.webp")
    copy.write_bytes(b"mine")
    told = cli("consent", "recall", released_home.source, "--out", tmp_path)
    assert told.code != 0
    assert copy.read_bytes() == b"mine"


def test_a_record_that_is_no_longer_kept_does_not_hide_its_outputs(
    cli: Cli, released_home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disposed(_book: object, _record_id: str) -> None:
        raise ConsentUnknown("there is no consent record of that id")

    cli("consent", "withdraw", released_home.source)
    monkeypatch.setattr(ConsentBook, "read_to_end", disposed)
    told = cli("consent", "recall", released_home.source, "--out", tmp_path / "copies", "--json")
    assert (told.code, told.json["recalled"][0]["error"]) == (0, None)
