"""`facewarrant keys`: shows no key, asks before it destroys, says what it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Cli = Callable[..., Any]


def test_keys_are_shown_by_version_and_never_themselves(cli: Cli, home: Any) -> None:
    shown = cli("keys", "show", "--json")
    assert (shown.code, set(shown.json)) == (0, {"version", "provider", "watermark"})
    assert (shown.json["version"], shown.json["provider"]) == ("v1", "FileKeys")
    [name] = shown.json["watermark"]
    told = cli("keys", "show").out
    assert "FileKeys" in told
    assert name in told
    assert (home.path / "keys" / "watermark.key").read_bytes().hex() not in shown.out
    kek = (home.path / "people-keys" / "kek.json").read_text()
    assert kek.split('"v1":"')[1][:64] not in shown.out


def test_a_version_is_rotated_then_destroyed_and_both_are_logged(cli: Cli, home: Any) -> None:
    assert cli("keys", "rotate", "--json").json == {"version": "v2", "wrapped": 2}
    assert "Version v3 is current; 2 keys" in cli("keys", "rotate").out
    assert cli("keys", "destroy", "v1", "--yes", "--json").json == {"destroyed": "v1"}
    told = cli("keys", "destroy", "v2", answers="y\n")
    assert (told.code, "Version v2 is destroyed." in told.out) == (0, True)
    assert "Nothing brings it back" in told.err
    assert cli("consent", "show").code == 0
    assert cli("consent", "withdraw", home.source).code == 0


def test_without_a_yes_nothing_is_destroyed(cli: Cli, home: Any) -> None:
    cli("keys", "rotate")
    size = home.log_size()
    for answers in ("n\n", ""):
        assert cli("keys", "destroy", "v1", answers=answers).code == 1
    assert home.log_size() == size


def test_the_current_version_and_one_that_never_was_are_refused(cli: Cli, home: Any) -> None:
    kek = (home.path / "people-keys" / "kek.json").read_bytes()
    for version, said in (("v1", 2), ("v7", 2), ("\x1b[31m", 0)):
        size = home.log_size()
        ended = cli("keys", "destroy", version, "--yes", "--json")
        assert (ended.code, ended.json["error"]["code"]) == (4, "KEY-DENIED")
        assert "\x1b" not in cli("keys", "destroy", version, "--yes").err
        assert home.log_size() == size + said, "a version's try is said, and that it was not done"
    assert (home.path / "people-keys" / "kek.json").read_bytes() == kek


def test_watermark_keys_are_rotated_then_destroyed_and_both_are_logged(cli: Cli, home: Any) -> None:
    [first] = cli("keys", "show", "--json").json["watermark"]
    rotated = cli("keys", "rotate-watermark", "--json").json["watermark"]
    assert (len(rotated), rotated[1]) == (2, first)
    told = cli("keys", "rotate-watermark")
    assert (told.code, "writes; keys that are read: 3." in told.out) == (0, True)
    gone = cli("keys", "destroy-watermark", first, "--yes", "--json").json
    assert gone["destroyed"] == first
    assert gone["watermark"] == cli("keys", "show", "--json").json["watermark"]
    told = cli("keys", "destroy-watermark", rotated[0], answers="y\n")
    assert (told.code, "is destroyed; keys that are read: 1." in told.out) == (0, True)
    assert "Its marks cannot be read afterwards" in told.err
    events = [e for e in cli("audit", "log", "--json").json if e["kind"] == "key_event"]
    assert len(events) == 8, "each is said before and after"


def test_without_a_yes_no_watermark_key_is_destroyed(cli: Cli, home: Any) -> None:
    [first, *_] = cli("keys", "show", "--json").json["watermark"]
    cli("keys", "rotate-watermark")
    size = home.log_size()
    for answers in ("n\n", ""):
        assert cli("keys", "destroy-watermark", first, answers=answers).code == 1
    assert home.log_size() == size


def test_a_fifth_watermark_key_and_the_end_of_the_newest_are_refused(cli: Cli, home: Any) -> None:
    for _ in range(3):
        assert cli("keys", "rotate-watermark").code == 0
    [newest, *_, oldest] = cli("keys", "show", "--json").json["watermark"]
    for arguments in (("rotate-watermark",), ("destroy-watermark", newest, "--yes")):
        size = home.log_size()
        ended = cli("keys", *arguments, "--json")
        assert (ended.code, ended.json["error"]["code"]) == (4, "KEY-FILE-REFUSED")
        assert home.log_size() == size
    assert oldest in cli("keys", "rotate-watermark").err.replace("\n", "")
