"""`facewarrant policy`: what is shown, what a change would change, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipelines.deployment import create, open_records
from pipelines.house_commands import policy_app
from pipelines.notice import NOTICE_SHA256
from pipelines.settings import Settings
from policies.digest import sha256_hex
from policies.house import shipped_house
from policies.house_files import HouseFileUnknown, HouseInvalid
from policies.rules import RULES

SHIPPED = shipped_house([NOTICE_SHA256]).sha256

PURPOSES = """\
[[purpose]]
id = "acme:avatars"
title = "Avatars"
explain = "Your face on [bold]your[/] avatar."
"""

FORBID = """\
@id("HOUSE-NO-ADS") @about("request") @law("HOUSE")
@explain("No ads.") @mend("Ask for another audience.")
forbid (principal, action == Action::"generate", resource is Depiction)
when { resource.job.audience == "paid_ads" };
"""

NOTICE = "Acme keeps a template of your face.\n"


def policy(*words: object) -> Result:
    result = CliRunner().invoke(policy_app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def policy_json(*words: object) -> Any:
    result = policy(*words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def flat(text: str) -> str:
    return " ".join(text.split())


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_text(text)
        path.chmod(0o644)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The policy folder of the home that the tests of this folder have, with something in it."""
    files = {"purposes.toml": PURPOSES, "ads.cedar": FORBID, "notices/en.txt": NOTICE}
    return write(tmp_path / "home" / "policy", **files)


def test_the_shipped_policy_is_shown_without_a_home() -> None:
    found = policy_json("show")
    assert found["policy_sha256"] == SHIPPED
    assert found["purposes"]["own"] == {}
    assert "satire_labelled" in found["purposes"]["product"]
    assert [reason["code"] for reason in found["reasons"]] == [rule.code for rule in RULES]
    assert not any(reason["own"] for reason in found["reasons"])
    assert found["notices"] == [NOTICE_SHA256]
    assert (found["law"]["rules"], found["law"]["own"], found["law"]["may_deny"]) == (46, [], 4)


def test_what_is_the_houses_own_is_marked(own: Path) -> None:
    found = policy_json("show")
    assert found["policy_sha256"] != SHIPPED
    assert found["purposes"]["own"] == {
        "acme:avatars": "Avatars: Your face on [bold]your[/] avatar."
    }
    [reason] = [reason for reason in found["reasons"] if reason["own"]]
    assert reason == {
        "code": "HOUSE-NO-ADS",
        "own": True,
        "about": "request",
        "cites": ["HOUSE"],
        "explain": "No ads.",
        "mend": "Ask for another audience.",
    }
    assert sorted(found["notices"]) == sorted([NOTICE_SHA256, sha256_hex(NOTICE.encode())])


def test_showing_in_words(own: Path) -> None:
    result = policy("show")
    told = flat(result.stdout)
    assert policy_json("show")["policy_sha256"] in result.stdout
    assert "46 rules, 0 own, 4 may deny" in told
    assert "acme:avatars own Avatars: Your face on [bold]your[/] avatar." in told
    assert "HOUSE-NO-ADS own No ads." in told
    assert "\nNUDITY " in result.stdout


def test_checking_the_folder_in_force_says_what_it_adds_to_the_product(own: Path) -> None:
    found = policy_json("check")
    assert (found["against"], found["against_sha256"]) == ("the product's own policy", SHIPPED)
    none: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    assert found["changes"] == {
        "purposes": none | {"added": ["acme:avatars"]},
        "forbids": none | {"added": ["HOUSE-NO-ADS"]},
        "rules": none,
        "notices": none | {"added": [sha256_hex(NOTICE.encode())]},
    }
    assert (found["last_decided_by"], found["warrants_lose_force"]) == (None, False)


def test_checking_another_folder_says_what_it_changes(own: Path, tmp_path: Path) -> None:
    new = write(
        tmp_path / "new",
        **{
            "purposes.toml": PURPOSES.replace("acme:avatars", "acme:stickers"),
            "ads.cedar": FORBID.replace("No ads.", "No advertising."),
        },
    )
    found = policy_json("check", new)
    assert found["against_sha256"] == policy_json("show")["policy_sha256"]
    assert found["changes"]["purposes"] == {
        "added": ["acme:stickers"],
        "removed": ["acme:avatars"],
        "changed": [],
    }
    assert found["changes"]["forbids"]["changed"] == ["HOUSE-NO-ADS"]
    assert found["changes"]["notices"]["removed"] == [sha256_hex(NOTICE.encode())]
    told = flat(policy("check", new).stdout)
    assert "purposes added: acme:stickers purposes removed: acme:avatars" in told
    assert "forbids changed: HOUSE-NO-ADS" in told
    assert "Warrants issued under another policy lose their force" in told
    assert "last decision none was made yet" in told


def test_a_broken_policy_can_be_checked_against_its_replacement(own: Path, tmp_path: Path) -> None:
    write(own, **{"ads.ceder": FORBID})
    new = write(tmp_path / "new", **{"ads.cedar": FORBID})
    result = policy("check", new, "--json")
    found = json.loads(result.stdout)
    assert "HOUSE-FILE-UNKNOWN" in result.stderr
    assert (found["against_sha256"], found["changes"]) == (None, None)
    assert "which is refused" in flat(policy("check", new).stdout)


def test_what_is_wrong_is_refused_by_every_command(own: Path) -> None:
    write(own, **{"ads.cedar": FORBID.replace("forbid", "permit")})
    for words in (["show"], ["check"], ["check", own]):
        with pytest.raises(HouseInvalid, match="a house forbids, it never permits"):
            policy(*words)
    write(own, **{"ads.cedar": FORBID, "readme.md": ""})
    with pytest.raises(HouseFileUnknown):
        policy("check", own)


def test_a_folder_that_is_not_there_does_not_pass_for_one_that_adds_nothing(tmp_path: Path) -> None:
    assert policy("check", tmp_path / "nowhere").exit_code == 2
    write(tmp_path, file="x")
    assert policy("check", tmp_path / "file").exit_code == 2


def test_the_policy_of_the_newest_decision_tells_what_loses_its_force(
    own: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home")
    own.rename(tmp_path / "kept")
    create(settings)
    (tmp_path / "kept").rename(own)
    assert policy_json("check")["last_decided_by"] is None
    here = policy_json("show")["policy_sha256"]
    for decided_by, loses in ((SHIPPED, True), (here, False)):
        with open_records(settings) as at, at.desk.database.transaction() as connection:
            entry = {"policy": decided_by, "allow": False, "reasons": ["NUDITY"]}
            at.archive.log.append("decision", entry, within=connection)
        found = policy_json("check")
        assert (found["last_decided_by"], found["warrants_lose_force"]) == (decided_by, loses)
    told = flat(policy("check").stdout)
    assert "The newest decision was made under this very policy; nothing ends by it." in told
