"""A house's policy folder: what is read, every refusal, and that nothing of it permits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.cedar import open_gate
from policies.decide import Decision, Refused, decide
from policies.digest import sha256_hex
from policies.errors import Error
from policies.house import House, shipped_house
from policies.house_files import (
    MAX_FILE_BYTES,
    MAX_FILES,
    HouseExposed,
    HouseFileUnknown,
    HouseInvalid,
    HouseUnreadable,
    closed_house,
    load_house,
)
from policies.law import LawInvalid
from policies.warrant import WarrantInvalid

PRODUCT_NOTICE = sha256_hex(b"notice")

PURPOSES = """\
[[purpose]]
id = "acme:loyalty_avatars"
title = "Avatars for members"
explain = "Your face on the avatar that only you see in our shop."
"""

FORBID = """\
@id("HOUSE-NO-ADS")
@about("request")
@law("HOUSE")
@explain("This house makes no paid advertising.")
@mend("Ask for another audience.")
forbid (principal, action == Action::"generate", resource is Depiction)
when { resource.job.audience == "paid_ads" };
"""

RULE = """\
schema = "facewarrant/rules/1"
jurisdiction = "ACME"

[[rule]]
id = "ACME-IL-RELEASE"
title = "Illinois: a written release"
binds = ["controller"]
territories = ["US-IL"]
applies_from = 2008-10-03
applies_until = ""
status = "in-force"
severity = "error"
text_read = "primary"
reviewed_by = "A. Reader"
reviewed_on = 2026-11-20
text_sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
source = "740 ILCS 14/15"
checks = ["written_release_signed"]
requires_marks = []
requires_addenda = ["US-IL-RELEASE"]
evidence = ["digest of the release"]
deadline = ""
deadline_from = ""
unless = []
explain = "A written release comes before the template."
"""

NOTICE = "We keep your face to draw your avatar.\n"

FILES = {
    "purposes.toml": PURPOSES,
    "ads.cedar": FORBID,
    "law/acme.toml": RULE,
    "notices/members-en.txt": NOTICE,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy folder that says something of every kind."""
    write(tmp_path / "policy", **FILES)
    return tmp_path / "policy"


def write(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o644)


def load(folder: Path) -> House:
    return load_house(folder, notices=[PRODUCT_NOTICE])


def judge(house: House, facts: dict[str, Any]) -> Decision:
    return decide(
        facts, request_sha256="0" * 64, decision_id=str(_ID), now=facts["now"], house=house
    )


_ID = "00000000-0000-7000-8000-000000000001"


def refused(kind: type[Error], code: str, folder: Path) -> str:
    with pytest.raises(kind) as error:
        load(folder)
    assert error.value.code == code
    return error.value.diagnostics()


def test_no_folder_is_the_shipped_house(tmp_path: Path) -> None:
    house = load(tmp_path / "policy")
    assert house == shipped_house([PRODUCT_NOTICE])
    assert house.sha256 == shipped_house([PRODUCT_NOTICE]).sha256


def test_an_empty_folder_adds_nothing(tmp_path: Path) -> None:
    for name in ("policy", "policy/law", "policy/notices"):
        (tmp_path / name).mkdir(mode=0o755)
    assert load(tmp_path / "policy").sha256 == shipped_house([PRODUCT_NOTICE]).sha256


def test_everything_of_a_folder_is_read(folder: Path) -> None:
    house = load(folder)
    assert dict(house.purposes) == {
        "acme:loyalty_avatars": "Avatars for members: "
        "Your face on the avatar that only you see in our shop."
    }
    assert (house.knows("acme:loyalty_avatars"), house.knows("acme:other")) == (True, False)
    assert house.notices == {PRODUCT_NOTICE, sha256_hex(NOTICE.encode())}
    assert list(house.gate.house) == ["HOUSE-NO-ADS"]
    assert house.gate.clauses == open_gate().clauses
    assert house.law.find("ACME-IL-RELEASE").can_block
    assert len(house.law.rules) == len(shipped_house([]).law.rules) + 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("purposes.toml", PURPOSES.replace("only you", "you alone")),
        ("ads.cedar", FORBID.replace("another", "some other")),
        ("law/acme.toml", RULE.replace("A. Reader", "B. Reader")),
        ("notices/members-en.txt", NOTICE + " "),
    ],
)
def test_every_word_changes_the_digest_of_the_policy(folder: Path, name: str, content: str) -> None:
    before = load(folder).sha256
    assert load(folder).sha256 == before
    write(folder, **{name: content})
    assert load(folder).sha256 != before
    (folder / name).unlink()
    assert load(folder).sha256 != before


def test_a_house_may_say_why_it_releases_unstamped(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir(mode=0o755)
    shipped = load(folder)
    assert (shipped.unstamped, "unstamped" in shipped.parts) == ("", False)
    write(folder, **{"release.toml": 'unstamped = "The studio has no line to the outside."'})
    house = load(folder)
    assert house.unstamped == "The studio has no line to the outside."
    assert house.parts["unstamped"] == house.unstamped
    assert house.sha256 != shipped.sha256


@pytest.mark.parametrize(
    "content",
    [
        "",
        "unstamped = true",
        'unstamped = ""',
        'unstamped = " "',
        'unstamped = "a\\nb"',
        "unstamped = " + repr("x" * 401),
        'unstamped = "why"\nlabels = "off"',
        "unstamped",
    ],
)
def test_a_house_that_does_not_say_why_is_refused(tmp_path: Path, content: str) -> None:
    write(tmp_path / "policy", **{"release.toml": content})
    assert "release.toml" in refused(HouseInvalid, "HOUSE-INVALID", tmp_path / "policy")


def test_forbids_of_several_files_count_in_the_order_of_their_names(folder: Path) -> None:
    write(folder, **{"a.cedar": FORBID.replace("NO-ADS", "FIRST")})
    assert list(load(folder).gate.house) == ["HOUSE-FIRST", "HOUSE-NO-ADS"]


def test_an_own_forbid_denies_in_its_own_words(folder: Path, good_facts: dict[str, Any]) -> None:
    house = load(folder)
    assert judge(house, good_facts).allow
    good_facts["audience"] = "paid_ads"
    for person in good_facts["people"]:
        person["audiences"] = ["paid_ads"]
    assert judge(shipped_house([]), good_facts).allow
    [finding] = judge(house, good_facts).findings
    assert (finding.code, finding.cites, finding.subject) == ("HOUSE-NO-ADS", ("HOUSE",), "")
    assert finding.explain == "This house makes no paid advertising."
    assert finding.mend == "Ask for another audience."


def test_an_own_forbid_that_cannot_be_evaluated_denies(
    folder: Path, good_facts: dict[str, Any]
) -> None:
    # Cedar drops a forbid that errors; here the sum is beyond its numbers.
    odd = "resource.job.pixels * 9223372036854775807 > 0"
    write(folder, **{"ads.cedar": changed('resource.job.audience == "paid_ads"', odd)})
    assert judge(load(folder), good_facts).codes == ("ENGINE-FAILED",)


def test_a_rule_that_somebody_read_demands_its_form(folder: Path, good_facts: Any) -> None:
    now = good_facts["now"]
    assert "US-IL-RELEASE" in load(folder).require(["US-IL"], now=now).binding.addenda
    assert "US-IL-RELEASE" not in load(folder).require(["US-CA"], now=now).binding.addenda
    assert not shipped_house([]).require(["US-IL"], now=now).binding.addenda


@pytest.mark.parametrize(
    "name",
    [
        *("purpose.toml", "purposes.toml~", ".purposes.toml.swp", "ads.ceder", ".cedar", "README"),
        *("Ads.CEDAR", "laws/acme.toml", "law/acme.tml", "law/README.md", "law/.toml", ".DS_Store"),
        *("notices/members.md", "notices/.gitkeep", "law/more/acme.toml", "notices/a.txt.bak"),
    ],
)
def test_a_file_that_would_never_be_read_is_refused_by_its_name(folder: Path, name: str) -> None:
    write(folder, **{name: ""})
    told = refused(HouseFileUnknown, "HOUSE-FILE-UNKNOWN", folder)
    stray = name if name.startswith(("law/", "notices/")) else "policy/" + name
    assert told.startswith(repr("/".join(stray.split("/")[:2])) + " is none")
    assert "*.cedar" in told


@pytest.mark.parametrize("name", [*FILES, "law", "notices", "."])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_could_replace_is_refused(folder: Path, name: str, mode: int) -> None:
    path = folder / name
    path.chmod(path.stat().st_mode | mode)
    assert "others can write to" in refused(HouseExposed, "HOUSE-EXPOSED", folder)
    path.chmod(path.stat().st_mode & ~mode)
    load(folder)


def test_what_somebody_else_owns_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if owner == 0:
        os.chown(folder / "ads.cedar", 4242, -1)
    assert "own it" in refused(HouseExposed, "HOUSE-EXPOSED", folder)


@pytest.mark.parametrize("name", [*FILES, "law", "notices", "."])
def test_a_symbolic_link_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    path = folder / name
    moved = path.rename(tmp_path / "elsewhere")
    path = tmp_path / "policy" if name == "." else path
    path.symlink_to(moved)
    assert "is a symbolic link" in refused(HouseExposed, "HOUSE-EXPOSED", folder)
    moved.rename(tmp_path / "gone")
    assert "is a symbolic link" in refused(HouseExposed, "HOUSE-EXPOSED", folder)


def test_what_is_no_plain_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "b.cedar", 0o600)
    assert "not a plain file" in refused(HouseUnreadable, "HOUSE-UNREADABLE", folder)
    (folder / "b.cedar").unlink()
    (folder / "b.cedar").mkdir(0o755)
    assert "not a plain file" in refused(HouseUnreadable, "HOUSE-UNREADABLE", folder)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, policy="")
    assert "is not a folder" in refused(HouseUnreadable, "HOUSE-UNREADABLE", tmp_path / "policy")


@pytest.mark.parametrize("called", ["os.open", "Path.lstat", "Path.iterdir"])
def test_what_cannot_be_read_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, called: str
) -> None:
    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(f"policies.house_files.{called}", denied)
    assert "Permission denied" in refused(HouseUnreadable, "HOUSE-UNREADABLE", folder)


def test_a_home_that_cannot_be_entered_is_no_home_without_a_policy(tmp_path: Path) -> None:
    # Taken for absent, it would lose every forbid of the house.
    write(tmp_path, home="")
    told = refused(HouseUnreadable, "HOUSE-UNREADABLE", tmp_path / "home" / "policy")
    assert "Not a directory" in told


@pytest.mark.parametrize("name", FILES)
def test_too_large_or_no_text_is_refused(folder: Path, name: str) -> None:
    write(folder, **{name: b"#" * (MAX_FILE_BYTES + 1)})
    assert f"more than {MAX_FILE_BYTES}" in refused(HouseUnreadable, "HOUSE-UNREADABLE", folder)
    write(folder, **{name: b"\xff\xfe"})
    assert "is not UTF-8" in refused(HouseUnreadable, "HOUSE-UNREADABLE", folder)


def test_a_notice_counts_by_its_exact_bytes(folder: Path) -> None:
    exact = b"Wir zeigen Ihr Gesicht.\r\n" * 3
    write(folder, **{"notices/de.txt": exact})
    assert sha256_hex(exact) in load(folder).notices
    largest = b"x" * MAX_FILE_BYTES
    write(folder, **{"notices/de.txt": largest})
    assert sha256_hex(largest) in load(folder).notices


def test_a_notice_that_says_nothing_is_refused(folder: Path) -> None:
    write(folder, **{"notices/de.txt": " \n"})
    assert "de.txt is empty" in refused(HouseInvalid, "HOUSE-INVALID", folder)


def test_too_many_files_are_refused(folder: Path) -> None:
    more = {f"notices/{number}.txt": "x" for number in range(MAX_FILES - 1)}
    write(folder, **more)
    load(folder)
    write(folder, **{"notices/z.txt": "x"})
    assert f"more than {MAX_FILES} files" in refused(HouseInvalid, "HOUSE-INVALID", folder)


def purpose(name: str = "acme:x", title: str = "A", explain: str = "B", more: str = "") -> str:
    return f'[[purpose]]\nid = "{name}"\ntitle = "{title}"\nexplain = "{explain}"\n{more}'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "purpose: Field required"),
        ("purpose = []", "purpose: List should have at least 1"),
        ("purpose = 3", "purpose: Input should be a valid list"),
        (purpose() + "[more]\n", "more: Extra inputs"),
        (purpose(more="role = 1"), "purpose 1: role: Extra inputs"),
        (purpose() + '[[purpose]]\nid = "acme:yy"\n', "purpose 2: title: Field required"),
        ("[[purpose]]\nid = 7", "purpose 1: id: Input should be a valid string"),
        ("[[purpose", "purposes.toml is not TOML"),
        (purpose() + 'id = "a:b"', "purposes.toml is not TOML"),
        ("a = " + "[" * 9000, "purposes.toml is not TOML"),
        *((purpose(name), "purpose 1: id: String should match") for name in (
            *("loyalty", "acme:", ":word", "Acme:word", "acme:Word", "acme:two:words", "a:word"),
            *("acme:w", "acme:word ", "acme:wörd", "acme:" + "w" * 42, "a" * 32 + ":word"),
        )),
        (purpose(title="a\\nb"), "purpose 1: title: Value error, not one line"),
        (purpose(title=" "), "purpose 1: title: Value error, not one line"),
        (purpose(explain="a\\u202eb"), "purpose 1: explain: Value error, not one line"),
        (purpose(explain=""), "purpose 1: explain: Value error, not one line"),
        (purpose(title="x" * 81), "purpose 1: title: String should have at most 80"),
        (purpose(explain="x" * 401), "purpose 1: explain: String should have at most 400"),
        (purpose("acme:twice") * 2, "purposes.toml states acme:twice twice"),
        (purpose("acme:film_vfx"), "acme:film_vfx looks like one of the product's"),
        (purpose("facewarrant:avatars"), "facewarrant:avatars looks like one of the product's"),
    ],
)  # fmt: skip
def test_what_is_no_purpose_is_refused(folder: Path, text: str, told: str) -> None:
    write(folder, **{"purposes.toml": text.replace("acme:x", "acme:word")})
    assert told in refused(HouseInvalid, "HOUSE-INVALID", folder)


def changed(old: str, new: str) -> str:
    assert old in FORBID
    return FORBID.replace(old, new)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "ads.cedar holds no statement"),
        ("// nothing yet\n", "ads.cedar holds no statement"),
        ("forbid (", "ads.cedar: the gate is not Cedar"),
        (changed("forbid", "permit"), "HOUSE-NO-ADS is a permit: a house forbids"),
        (changed("HOUSE-NO-ADS", "NO-ADS"), "NO-ADS of the house does not begin with HOUSE-"),
        (changed("HOUSE-NO-ADS", "ADULT-ONLY"), "ADULT-ONLY of the house does not begin"),
        (changed("HOUSE-NO-ADS", "HOUSE-no ads"), "'HOUSE-no ads' is no reason code"),
        (changed("HOUSE-NO-ADS", "HOUSE-"), "'HOUSE-' is no reason code"),
        (changed('@law("HOUSE")', '@law("HOUSE GDPR-99")'), "cites GDPR-99, and there is no such"),
        (changed('@law("HOUSE")', ""), "HOUSE-NO-ADS has no @law"),
        (changed('@mend("Ask for another audience.")', ""), "HOUSE-NO-ADS has no @mend"),
        (changed('@about("request")', '@about("job")'), "about neither a person nor the request"),
        (changed("job.audience", "job.audiense"), "does not fit its schema"),
        (changed("resource is Depiction", "resource"), "does not"),
        (changed("This house makes", "This house\\nmakes"), "not explained in one line"),
        (changed("Ask for another", "Ask " * 100), "not explained in one line"),
        (FORBID + FORBID, "two statements of the policy have the same @id"),
    ],
)
def test_what_is_no_forbid_of_a_house_is_refused(folder: Path, text: str, told: str) -> None:
    (folder / "law" / "acme.toml").unlink()
    write(folder, **{"ads.cedar": text})
    assert told in refused(HouseInvalid, "HOUSE-INVALID", folder)


def test_a_forbid_may_cite_a_rule_of_the_house(folder: Path) -> None:
    write(folder, **{"ads.cedar": changed('@law("HOUSE")', '@law("ACME-IL-RELEASE FLOOR")')})
    assert load(folder).gate.house["HOUSE-NO-ADS"].cites == ("ACME-IL-RELEASE", "FLOOR")


def test_one_code_in_two_files_is_refused(folder: Path) -> None:
    write(folder, **{"more.cedar": FORBID})
    told = refused(HouseInvalid, "HOUSE-INVALID", folder)
    assert "*.cedar: two statements of the policy have the same @id" in told


def test_a_statement_does_not_span_two_files(folder: Path) -> None:
    write(folder, **{"ads.cedar": FORBID[:60], "b.cedar": FORBID[60:]})
    assert "ads.cedar: the gate is not Cedar" in refused(HouseInvalid, "HOUSE-INVALID", folder)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace('reviewed_by = "A. Reader"', 'reviewed_by = ""'),
         "LAW-NO-REVIEWER"),
        (lambda text: text.replace('"primary"', '"secondary"'), "LAW-ERROR-UNREAD"),
        (lambda text: text.replace("ACME-IL-RELEASE", "FLOOR"), "LAW-FLOOR"),
        (lambda text: text.replace("ACME-IL-RELEASE", "GDPR-17"), "LAW-DUPLICATE-ID"),
        (lambda text: text + "more = 1\n", "LAW-UNKNOWN-KEY"),
        (lambda text: text.replace('"ACME"', '"OTHER"'), "LAW-SCHEMA"),
        (lambda text: "[[", "LAW-UNREADABLE"),
    ],
)  # fmt: skip
def test_a_rule_file_is_refused_as_the_products_would_be(
    folder: Path, change: Callable[[str], str], code: str
) -> None:
    write(folder, **{"law/acme.toml": change(RULE)})
    assert refused(LawInvalid, code, folder).startswith("policy/law: ")


def test_nobody_adds_to_the_floor_of_the_product(folder: Path) -> None:
    floor = RULE.replace('"ACME"', '"FLOOR"').replace("ACME-IL", "FLOOR-IL")
    floor = floor.replace('["US-IL"]', '["*"]').replace("2008-10-03", '""')
    floor = floor.replace(
        '["controller"]', '["provider", "deployer", "platform", "controller", "producer"]'
    )
    (folder / "law" / "acme.toml").unlink()
    write(folder, **{"law/floor.toml": floor})
    told = refused(HouseInvalid, "HOUSE-INVALID", folder)
    assert "FLOOR-IL-RELEASE would be a floor of the product" in told


def test_no_file_of_a_house_lifts_a_refusal(
    folder: Path, codes: tuple[str, ...], breach: Callable[[Any], None], good_facts: Any
) -> None:
    breach(good_facts)
    assert set(codes) <= set(judge(load_once(folder), good_facts).codes)


_LOADED: dict[str, House] = {}


def load_once(folder: Path) -> House:
    if not _LOADED:
        _LOADED["house"] = load(folder)
    return _LOADED["house"]


# --- the example of docs/policy.md ---------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
AVATARS = "acme:loyalty_avatars"


@pytest.fixture
def acme(office: Any, tmp_path: Path) -> Any:
    """An office whose policy folder holds the files of the page, as they are printed there."""
    text = PAGE.read_text("utf-8")
    files = dict(re.findall(r"`policy/([^`*]+)`:\n\n```\w+\n(.*?)```\n", text, re.DOTALL))
    assert sorted(files) == [
        "avatars.cedar",
        "law/acme.toml",
        "notices/members-en.txt",
        "purposes.toml",
    ]
    write(tmp_path / "acme", **files)
    office.desk = replace(office.desk, house=load(tmp_path / "acme"))
    office.notice = sha256_hex(files["notices/members-en.txt"].encode())
    return office


def ask(office: Any, consent: dict[str, Any] | None = None, **changes: Any) -> Any:
    """Ask for avatars between two people who consented to them, with changes of their consents."""
    fields: dict[str, Any] = {
        "purposes": [AVATARS],
        "territories": ["DE", "US-IL"],
        "notice": {"sha256": office.notice},
    } | (consent or {})
    people = [(office.enrol(**fields), role) for role in ("source_identity", "target_body")]
    request = office.request(people, **({"purpose": AVATARS} | changes))
    return office.desk.admit(request, office.measured(request))


def denied(office: Any, consent: dict[str, Any] | None = None, **changes: Any) -> list[Any]:
    with pytest.raises(Refused) as refusal:
        ask(office, consent, **changes)
    return list(refusal.value.decision.findings)


def test_the_example_allows_its_own_purpose_where_a_consent_names_it(acme: Any) -> None:
    warrant = ask(acme)
    assert acme.desk.start(warrant).document.policy_sha256 == acme.desk.house.sha256


def test_the_example_denies_its_purpose_where_no_consent_names_it(acme: Any) -> None:
    findings = denied(acme, {"purposes": ["personal"]})
    assert [finding.code for finding in findings] == ["PURPOSE-SCOPE"] * 2


def test_the_forbid_of_the_example_denies_in_its_own_words(acme: Any) -> None:
    [finding] = denied(acme, audience="public")
    assert finding.code == "HOUSE-AVATARS-STAY-INSIDE"
    assert finding.explain == "Acme shows the avatars of its members to nobody outside."
    assert finding.mend == "Ask for the audience 'internal', or for another purpose."
    ask(acme, {"purposes": ["personal"]}, audience="public", purpose="personal", request_id="two")


def test_the_rule_of_the_example_asks_for_the_release(acme: Any) -> None:
    findings = denied(acme, territories=["US-IL"])
    assert [finding.code for finding in findings] == ["ADDENDUM-MISSING"] * 2
    release = {
        "form": "US-IL-RELEASE",
        "written_release_sha256": "0" * 64,
        "purpose_and_term": "avatars, one year",
        "signed_at": acme.clock.now,
    }
    ask(acme, {"addenda": [release]}, territories=["US-IL"], request_id="two")


def test_the_notice_of_the_example_is_one_that_counts(acme: Any) -> None:
    findings = denied(acme, {"notice": {"sha256": "0" * 64}})
    assert [finding.code for finding in findings] == ["NOTICE-UNKNOWN"] * 2


def test_without_the_folder_the_purpose_of_the_example_is_unknown(acme: Any) -> None:
    acme.desk = replace(acme.desk, house=shipped_house([acme.notice]))
    assert [finding.code for finding in denied(acme)] == ["PURPOSE-UNKNOWN"]


def test_a_change_of_the_policy_takes_the_force_of_warrants(acme: Any, tmp_path: Path) -> None:
    issued, started = ask(acme), acme.desk.start(ask(acme, request_id="two"))
    changed_desk = replace(acme.desk, house=shipped_house([acme.notice]))
    with pytest.raises(WarrantInvalid) as refusal:
        changed_desk.start(issued)
    assert refusal.value.code == "WARRANT-OTHER-POLICY"
    with pytest.raises(WarrantInvalid) as refusal:
        changed_desk.check(started.document, state="started")
    assert refusal.value.code == "WARRANT-OTHER-POLICY"


def test_a_closed_house_permits_nothing_and_says_how_to_mend_it(office: Any) -> None:
    office.desk = replace(office.desk, house=closed_house(notices=[PRODUCT_NOTICE]))
    request = office.swap_request()
    with pytest.raises(Refused) as refused:
        office.desk.admit(request, office.measured(request))
    assert refused.value.decision.codes == ("HOUSE-CLOSED",)
    assert "policy check" in refused.value.mend
    assert closed_house(notices=[PRODUCT_NOTICE]).sha256 != shipped_house([PRODUCT_NOTICE]).sha256


def test_a_house_lists_its_own_rendered_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir(mode=0o700)
    (folder / "rendered.txt").write_text(f"{'a' * 64}  hero.webp\n")
    house = load_house(folder, notices=[PRODUCT_NOTICE])
    assert house.rendered == shipped_house([PRODUCT_NOTICE]).rendered | {"a" * 64}
    assert house.sha256 != shipped_house([PRODUCT_NOTICE]).sha256
    (folder / "rendered.txt").write_text("hero.webp\n")
    with pytest.raises(HouseInvalid, match=r"rendered\.txt"):
        load_house(folder, notices=[PRODUCT_NOTICE])
