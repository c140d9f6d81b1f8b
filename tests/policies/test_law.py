"""Law as data: every refusal of the loader, every boundary day, and what a selection may leave out.

The files that ship are the test matrix: a rule that is added is tested on its own days.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import Malformed
from policies.law import (
    LAW_FOLDER,
    MAX_FILE_BYTES,
    LawBook,
    LawInvalid,
    LawRule,
    LawStale,
    LawUnknown,
    Role,
    load_rules,
    require_reviewed,
    requirements,
    select,
)
from policies.rules import RULES
from policies.terms import REQUIRED_MARKS
from policies.territories import EU

BOOK = load_rules()
ROLES = get_args(Role)
TODAY = date(2026, 11, 21)
ONE_DAY = timedelta(days=1)
Edit = Callable[[dict[str, Any]], object]

GOOD: dict[str, Any] = {
    "id": "ACME-1",
    "title": "A rule of the house",
    "binds": ["deployer"],
    "territories": ["DE"],
    "applies_from": date(2026, 1, 2),
    "applies_until": date(2026, 3, 4),
    "status": "contract",
    "severity": "error",
    "text_read": "primary",
    "reviewed_by": "A. Reader",
    "reviewed_on": date(2026, 1, 1),
    "text_sha256": "ab" * 32,
    "source": "The contract",
    "checks": ["consent_given"],
    "requires_marks": ["label"],
    "requires_addenda": ["US-TX-ORIGIN"],
    "evidence": ["the contract"],
    "deadline": "P7D",
    "deadline_from": "erasure_request",
    "unless": [],
    "explain": "Says so.",
}
FLOOR_RULE = {
    key: value for key, value in BOOK.find("FLOOR").model_dump().items() if key != "jurisdiction"
}


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"{key} = {toml(item)}\n" for key, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return str(value) if isinstance(value, date) else json.dumps(value)


def write(folder: Path, *rules: dict[str, Any], head: str = "", name: str = "acme") -> Path:
    """Write a file of rules into a folder of its own, and return that folder."""
    lines = head or f'schema = "facewarrant/rules/1"\njurisdiction = "{name.upper()}"\n'
    folder.mkdir(exist_ok=True)
    text = lines + "".join(f"[[rule]]\n{toml(rule)}" for rule in rules)
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


def put(**changes: Any) -> Edit:
    return lambda rule: rule.update(changes)


def drop(key: str) -> Edit:
    return lambda rule: rule.pop(key)


# --- the files that ship --------------------------------------------------------------------------


def test_every_law_that_a_condition_cites_exists() -> None:
    cited = {rule_id for rule in RULES for rule_id in rule.cites}
    assert "FLOOR" in cited
    assert cited <= {rule.id for rule in BOOK.rules}


def test_every_row_of_the_study_is_there_once() -> None:
    ids = [rule.id for rule in BOOK.rules]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    study = """EU-AIA-50-2 EU-COP-1.1.1 EU-COP-1.1.2 EU-COP-1.1.3 EU-COP-1.2 EU-COP-DETECT
    EU-AIA-50-4-5 EU-AIA-5-NCII EU-AIA-PLATFORM GDPR-6-7-9 GDPR-13-14 GDPR-17 GDPR-30-35
    US-IL-BIPA-15 US-TX-CUBI US-TIDA US-CA-942 US-NOFAKES US-SAG-AFTRA UK-DUAA-138 UK-OSA-HASH
    DK-LIKENESS IN-IT-2026 KR-AI-31 CN-PIPL-29 CN-DS CN-LABEL CN-FRT FLOOR"""
    assert set(study.split()) <= set(ids)
    unread = "CN-GB-45438 CN-DS-14 EU-AIA-50-GUIDELINES DK-LIKENESS UK-OSA-COMMENCEMENT"
    for rule_id in [*unread.split(), "GDPR-OMNIBUS"]:
        assert BOOK.find(rule_id).text_read == "none"
        assert "To do: " in BOOK.find(rule_id).explain


def test_nothing_but_the_floor_is_an_error() -> None:
    for rule in BOOK.rules:
        assert (rule.severity == "error") is (rule.id.split("-")[0] == "FLOOR"), rule.id


def test_nobody_is_said_to_have_read_an_official_text() -> None:
    assert {rule.text_read for rule in BOOK.rules} == {"secondary", "none"}
    assert {rule.reviewed_by for rule in BOOK.rules} == {""}


def test_what_was_not_read_informs_and_only_the_danish_doubt_warns() -> None:
    warning = [r.id for r in BOOK.rules if r.reading == "none" and r.severity != "info"]
    assert warning == ["DK-LIKENESS"]
    for rule in BOOK.rules:
        assert (rule.reading == "none") is (not rule.source), rule.id


def test_the_floor_demands_what_every_release_carries() -> None:
    assert set(BOOK.find("FLOOR").requires_marks) == REQUIRED_MARKS


@pytest.mark.parametrize("rule", BOOK.rules, ids=lambda rule: rule.id)
def test_every_rule_the_day_before_on_and_after_each_boundary(rule: LawRule) -> None:
    places = {"*": "JP", "EU": "DE", "EEA": "NO"}
    place = places.get(rule.territories[0], rule.territories[0])

    def found(day: date) -> bool:
        return rule in select(BOOK, territories=[place], roles=[rule.binds[0]], on=day)

    start, end = rule.applies_from, rule.applies_until
    if start:
        assert [found(start + n * ONE_DAY) for n in (-1, 0, 1)] == [False, True, end != start]
    if end:
        assert [found(end + n * ONE_DAY) for n in (-1, 0, 1)] == [end != start, True, False]
    assert found(start or TODAY)


@pytest.mark.parametrize(
    ("day", "bound"), [(date(2026, 8, 1), ()), (date(2026, 8, 2), ("EU-AIA-50-2",))]
)
def test_a_new_system_is_bound_since_august(day: date, bound: tuple[str, ...]) -> None:
    rules = select(BOOK, territories=["DE"], roles=["provider"], on=day)
    assert tuple(r.id for r in rules if r.id.startswith("EU-AIA-50-2")) == bound


def test_the_transition_and_the_prohibition_start_on_the_same_day() -> None:
    later = [
        {r.id for r in select(BOOK, territories=["FR"], roles=["provider"], on=day)}
        for day in (date(2026, 12, 1), date(2026, 12, 2))
    ]
    assert later[1] - later[0] == {"EU-AIA-50-2-LEGACY", "EU-AIA-5-NCII"}


# --- selection ------------------------------------------------------------------------------------


def ids(places: list[str], roles: list[str], on: date = TODAY, book: LawBook = BOOK) -> list[str]:
    return [rule.id for rule in select(book, territories=places, roles=roles, on=on)]


def test_a_member_state_is_reached_by_the_unions_rules() -> None:
    assert set(ids(["DE"], ["controller"])) > {"GDPR-17", "GDPR-6-7-9", "FLOOR"}
    assert ids(["DE"], ["provider"]) == ids(["DE-BY"], ["provider"])
    assert "EU-AIA-50-2" not in ids(["NO"], ["provider"])
    assert "GDPR-17" in ids(["NO"], ["controller"])
    assert not any(name.startswith(("EU", "GDPR")) for name in ids(["CH", "GB"], list(ROLES)))


def test_a_states_rule_reaches_its_whole_country_and_no_other_state() -> None:
    """Whoever asks for the whole country asks for the state too."""
    assert "US-IL-BIPA-15" in ids(["US-IL"], ["controller"])
    assert "US-IL-BIPA-15" in ids(["US"], ["controller"])
    for place in ("US-CA", "US-TX", "PR"):
        assert "US-IL-BIPA-15" not in ids([place], ["controller"])
    assert "US-TIDA" in ids(["US-IL"], ["platform"])
    assert "US-TIDA" in ids(["PR"], ["platform"])


def test_the_union_as_a_whole_is_all_its_members() -> None:
    assert "DK-LIKENESS" in ids(["EU"], ["platform"])
    assert ids(["EU"], list(ROLES)) == ids(sorted(EU), list(ROLES))


def test_a_chinese_producer() -> None:
    found = [name for name in ids(["CN"], ["producer"]) if not name.startswith("FLOOR")]
    assert found == ["CN-GB-45438", "CN-LABEL"]


def test_a_place_without_a_rule_has_the_floor() -> None:
    floor = ["FLOOR", "FLOOR-ENROLMENT", "FLOOR-SOURCE-MEDIA", "FLOOR-TEMPLATE"]
    for role in ROLES:
        assert ids(["JP"], [role], date(1999, 1, 1)) == floor


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"territories": []}, LawUnknown),
        ({"territories": ["Germany"]}, Malformed),
        ({"territories": "DE"}, Malformed),
        ({"roles": []}, LawUnknown),
        ({"roles": ["boss"]}, LawUnknown),
        ({"roles": ["provider", "boss"]}, LawUnknown),
        ({"on": datetime(2026, 1, 1)}, LawUnknown),  # noqa: DTZ001 - the wrong type on purpose
        ({"on": "2026-01-01"}, LawUnknown),
        ({"on": None}, LawUnknown),
    ],
)
def test_a_question_that_asks_nothing_is_refused(
    question: dict[str, Any], error: type[LawUnknown]
) -> None:
    asked: dict[str, Any] = {"territories": ["DE"], "roles": ["provider"], "on": TODAY}
    with pytest.raises(error) as refused:
        select(BOOK, **(asked | question))
    assert refused.value.code == ("LAW-UNKNOWN" if error is LawUnknown else "MALFORMED")


PLACES = st.lists(st.sampled_from("DE FR NO GB US US-IL US-CA CN IN KR JP EU".split()), min_size=1)
SOME_ROLES = st.lists(st.sampled_from(ROLES), min_size=1)
DAYS = st.dates(date(2022, 1, 1), date(2029, 1, 1))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(PLACES, SOME_ROLES, PLACES, SOME_ROLES, DAYS)
def test_more_places_and_roles_never_mean_fewer_rules(
    places: list[str], roles: list[str], more_places: list[str], more_roles: list[str], day: date
) -> None:
    few, many = ids(places, roles, day), ids(places + more_places, roles + more_roles, day)
    assert set(few) <= set(many)
    assert few == sorted(few) == ids(places[::-1], roles[::-1], day)
    assert "FLOOR" in few


# --- what is asked for ----------------------------------------------------------------------------


def test_only_the_floor_binds_and_unread_law_advises() -> None:
    rules = select(BOOK, territories=["CN", "US-IL", "US-TX"], roles=list(ROLES), on=TODAY)
    asked = requirements(reversed(rules))
    assert asked.binding.marks == dict.fromkeys(sorted(REQUIRED_MARKS), ("FLOOR",))
    assert asked.binding.addenda == {}
    assert asked.advised.marks == {"watermark": ("CN-DS",), "label": ("CN-DS", "CN-LABEL")}
    assert set(asked.advised.addenda) == {"CN-SEPARATE", "US-IL-RELEASE", "US-TX-ORIGIN"}
    assert asked.advised.addenda["US-TX-ORIGIN"] == ("US-TX-CUBI", "US-TX-CUBI-B1")


def test_a_text_that_was_read_binds(tmp_path: Path) -> None:
    book = load_rules(LAW_FOLDER, write(tmp_path / "own", GOOD))
    rules = select(book, territories=["DE"], roles=["deployer"], on=date(2026, 2, 1))
    asked = requirements(rules)
    assert asked.binding.addenda == {"US-TX-ORIGIN": ("ACME-1",)}
    assert asked.binding.marks["label"] == ("ACME-1", "FLOOR")


def test_what_is_asked_for_cannot_be_edited() -> None:
    asked = requirements(BOOK.rules)
    with pytest.raises(TypeError):
        asked.advised.marks["none"] = ()  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        asked.binding = asked.advised  # type: ignore[misc]


# --- the loader -----------------------------------------------------------------------------------


def test_a_platform_adds_its_own_folder(tmp_path: Path) -> None:
    book = load_rules(LAW_FOLDER, write(tmp_path / "own", GOOD))
    assert len(book.rules) == len(BOOK.rules) + 1
    rule = book.find("ACME-1")
    assert rule.can_block
    assert (rule.jurisdiction, rule.reading) == ("ACME", "primary")
    days = [rule.applies_from, rule.applies_until]
    assert days == [date(2026, 1, 2), date(2026, 3, 4)]
    for day, found in zip(days, [(False, True, True), (True, True, False)], strict=True):
        assert isinstance(day, date)
        near = [ids(["DE"], ["deployer"], day + n * ONE_DAY, book) for n in (-1, 0, 1)]
        assert tuple("ACME-1" in names for names in near) == found


UNREAD = put(text_read="none", severity="info", text_sha256="", reviewed_by="", source="")
REFUSALS: list[tuple[str, str, Edit]] = [
    ("LAW-UNKNOWN-KEY", "surprise", put(surprise=1)),
    ("LAW-UNKNOWN-KEY", "jurisdiction is the file's", put(jurisdiction="FLOOR")),
    ("LAW-UNKNOWN-CHECK", "checks.0", put(checks=["looks_fine"])),
    ("LAW-UNKNOWN-CHECK", "checks.1", put(checks=["consent_given", 1])),
    ("LAW-ERROR-UNREAD", "primary", put(text_read="secondary")),
    ("LAW-ERROR-UNREAD", "primary", put(text_read="none")),
    ("LAW-NO-TEXT-HASH", "text_sha256", put(text_sha256="")),
    ("LAW-NO-REVIEWER", "reviewed_by", put(reviewed_by="")),
    ("LAW-NO-SOURCE", "source", put(source="")),
    ("LAW-NO-SOURCE", "source", put(source="", text_read="secondary", severity="warn")),
    ("LAW-STATUS-CAP", "bill is at most info", put(status="bill", severity="warn")),
    ("LAW-STATUS-CAP", "draft is at most info", put(status="draft", severity="warn")),
    ("LAW-STATUS-CAP", "draft is at most info", put(status="draft")),
    ("LAW-STATUS-CAP", "unverified is at most warn", put(status="unverified")),
    ("LAW-UNREAD-CAP", "at most info", put(text_read="none", severity="warn")),
    ("LAW-DATES", "lies before", put(applies_until=date(2026, 1, 1))),
    ("LAW-DEADLINE", "go together", put(deadline="")),
    ("LAW-DEADLINE", "go together", put(deadline_from="")),
    ("LAW-DEADLINE", "'P2W' is not read", put(deadline="P2W")),
    ("LAW-SCHEMA", "deadline", put(deadline=48)),
    ("LAW-SCHEMA", "checks", put(checks="consent_given")),
    ("LAW-FLOOR", "belong to the floor", put(id="FLOOR")),
    ("LAW-FLOOR", "belong to the floor", put(id="FLOOR-2")),
    ("LAW-SCHEMA", "deadline_from", put(deadline_from="whenever")),
    ("LAW-SCHEMA", "id", put(id="acme 1")),
    ("LAW-SCHEMA", "id", put(id=1)),
    ("LAW-SCHEMA", "binds", put(binds=[])),
    ("LAW-SCHEMA", "binds.0", put(binds=["boss"])),
    ("LAW-SCHEMA", "territories", put(territories=[])),
    ("LAW-SCHEMA", "territories.0", put(territories=["Germany"])),
    ("LAW-SCHEMA", "GB, not UK", put(territories=["UK"])),
    ("LAW-SCHEMA", "applies_from", put(applies_from="2026-01-01")),
    ("LAW-SCHEMA", "applies_from", put(applies_from=datetime(2026, 1, 1))),  # noqa: DTZ001
    ("LAW-SCHEMA", "reviewed_on", put(reviewed_on="")),
    ("LAW-SCHEMA", "status", put(status="in force")),
    ("LAW-SCHEMA", "severity", put(severity="fatal")),
    ("LAW-SCHEMA", "text_read", put(text_read="skimmed")),
    ("LAW-SCHEMA", "text_sha256", put(text_sha256="AB" * 32)),
    ("LAW-SCHEMA", "requires_marks.0", put(requires_marks=["stamp"])),
    ("LAW-SCHEMA", "requires_addenda.0", put(requires_addenda=["FR"])),
    ("LAW-SCHEMA", "unless.0", put(unless=["it_is_inconvenient"])),
    ("LAW-SCHEMA", "title", put(title="")),
    ("LAW-SCHEMA", "cannot be printed", put(explain="a\x1b[31mb")),
    ("LAW-SCHEMA", "cannot be printed", put(source="two\nlines")),
    ("LAW-SCHEMA", "evidence.0", put(evidence=["x" * 601])),
    *(("LAW-SCHEMA", f"{key}: Field required", drop(key)) for key in GOOD),
]


@pytest.mark.parametrize(("code", "words", "edit"), REFUSALS)
def test_the_loader_refuses(tmp_path: Path, code: str, words: str, edit: Edit) -> None:
    rule = GOOD | {}
    edit(rule)
    with pytest.raises(LawInvalid) as refused:
        load_rules(LAW_FOLDER, write(tmp_path / "own", rule))
    assert refused.value.code == code
    assert words in refused.value.message
    assert refused.value.message.startswith("acme.toml, rule 1 ")


@pytest.mark.parametrize(
    "edit",
    [
        UNREAD,
        put(status="unverified", severity="warn", text_read="none", source=""),
        put(status="unverified", severity="warn"),
        put(status="bill", severity="info"),
        put(text_read="secondary", severity="warn", text_sha256="", reviewed_by=""),
        put(severity="warn"),
        put(deadline="", deadline_from=""),
        put(applies_from="", applies_until=""),
        put(applies_until=date(2026, 1, 2)),
    ],
)
def test_the_loader_takes_what_the_caps_permit(tmp_path: Path, edit: Edit) -> None:
    rule = GOOD | {}
    edit(rule)
    book = load_rules(LAW_FOLDER, write(tmp_path / "own", rule))
    assert book.find("ACME-1").can_block is (book.find("ACME-1").severity == "error")


@pytest.mark.parametrize(
    "edit",
    [
        put(severity="warn"),
        put(status="unverified"),
        put(territories=["DE"]),
        put(binds=["provider"]),
        put(unless=["not_a_signatory"]),
        put(applies_from=date(2026, 1, 1)),
        put(applies_until=date(2026, 1, 1)),
        put(requires_marks=["c2pa", "label"]),
        put(deadline="P1D"),
        put(id="OTHER"),
    ],
)
def test_the_floor_cannot_be_lowered(tmp_path: Path, edit: Edit) -> None:
    rule = FLOOR_RULE | {}
    edit(rule)
    with pytest.raises(LawInvalid) as refused:
        load_rules(write(tmp_path / "own", rule, name="floor"))
    assert refused.value.code == "LAW-FLOOR"


def test_a_book_without_the_floor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LawInvalid, match="no rule FLOOR") as refused:
        load_rules(write(tmp_path / "own", GOOD))
    assert refused.value.code == "LAW-NO-FLOOR"
    assert len(load_rules(write(tmp_path / "floor", FLOOR_RULE, name="floor")).rules) == 1


def test_an_id_twice_is_refused_within_and_across_files(tmp_path: Path) -> None:
    for folders in (
        [write(tmp_path / "one", GOOD, GOOD)],
        [write(tmp_path / "a", GOOD), write(tmp_path / "b", GOOD, name="other")],
        [write(tmp_path / "c", FLOOR_RULE, name="floor")],
    ):
        with pytest.raises(LawInvalid, match=r"the id (ACME-1|FLOOR)$") as refused:
            load_rules(LAW_FOLDER, *folders)
        assert refused.value.code == "LAW-DUPLICATE-ID"


HEAD = 'schema = "facewarrant/rules/1"\njurisdiction = "ACME"\n'


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (HEAD.replace("rules/1", "rules/2"), "LAW-SCHEMA"),
        (HEAD.replace("ACME", "acme"), "LAW-SCHEMA"),
        (HEAD.replace("ACME", "FLOOR"), "LAW-SCHEMA"),
        (HEAD.splitlines()[0] + "\n", "LAW-SCHEMA"),
        (HEAD + "surprise = 1\n", "LAW-UNKNOWN-KEY"),
        (HEAD + HEAD, "LAW-UNREADABLE"),
        (HEAD + "rule = 1\n", "LAW-UNREADABLE"),
        (HEAD + f"# {'x' * MAX_FILE_BYTES}\n", "LAW-UNREADABLE"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, head: str, code: str) -> None:
    with pytest.raises(LawInvalid) as refused:
        load_rules(LAW_FOLDER, write(tmp_path / "own", GOOD, head=head))
    assert refused.value.code == code
    assert "acme.toml" in refused.value.message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEAD.encode(), "LAW-SCHEMA"),
        (HEAD.encode() + b"rule = []\n", "LAW-SCHEMA"),
        (HEAD.encode() + b"rule = [1]\n", "LAW-SCHEMA"),
        (HEAD.encode() + b"[[rule]]\n", "LAW-SCHEMA"),
        (HEAD.encode() + b"[[rule]]\nid = 'A'\nid = 'B'\n", "LAW-UNREADABLE"),
        (b"\xff", "LAW-UNREADABLE"),
        (b"", "LAW-SCHEMA"),
        (b"a = " + b"[" * 20_000, "LAW-UNREADABLE"),
    ],
)
def test_hostile_bytes_are_refused(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "acme.toml").write_bytes(data)
    with pytest.raises(LawInvalid) as refused:
        load_rules(LAW_FOLDER, tmp_path)
    assert refused.value.code == code


def test_a_folder_without_rules_and_a_file_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(LawInvalid, match="no rule file lies in") as refused:
            load_rules(folder)
        assert refused.value.code == "LAW-UNREADABLE"
    (tmp_path / "acme.toml").mkdir()
    with pytest.raises(LawInvalid, match=r"acme\.toml") as refused:
        load_rules(tmp_path)
    assert refused.value.code == "LAW-UNREADABLE"


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
def test_damaged_files_load_or_are_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    data = (LAW_FOLDER / "floor.toml").read_bytes()
    at %= len(data)
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "floor.toml").write_bytes(data[:at] + noise + data[at + len(noise) :])
    try:
        book = load_rules(folder)
    except LawInvalid as refused:
        assert refused.code.startswith("LAW-")  # noqa: PT017 - both ends are fine, no third is
    else:
        assert all(rule.can_block and rule.severity == "error" for rule in book.rules)


# --- the book -------------------------------------------------------------------------------------


def test_the_digest_is_of_the_content_not_of_the_files(tmp_path: Path) -> None:
    assert load_rules().sha256 == BOOK.sha256
    assert LawBook(BOOK.rules[::-1]).sha256 == BOOK.sha256
    shutil.copytree(LAW_FOLDER, tmp_path / "law")
    file = tmp_path / "law" / "kr.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"# another comment\n\n{text}", encoding="utf-8")
    assert load_rules(tmp_path / "law").sha256 == BOOK.sha256
    file.write_text(text.replace("2026-01-22", "2026-01-23"), encoding="utf-8")
    assert load_rules(tmp_path / "law").sha256 != BOOK.sha256


@pytest.mark.parametrize("key", ["reviewed_by", "source", "explain", "text_sha256", "unless"])
def test_the_digest_changes_with_every_field(key: str) -> None:
    value = {"text_sha256": "0" * 64, "unless": ("not_a_signatory",)}.get(key, "changed")
    [first, *rest] = BOOK.rules
    assert LawBook((first.model_copy(update={key: value}), *rest)).sha256 != BOOK.sha256


def test_a_rule_is_found_by_its_id() -> None:
    assert BOOK.find("FLOOR").id == "FLOOR"
    with pytest.raises(LawUnknown, match="'floor'") as unknown:
        BOOK.find("floor")
    assert unknown.value.code == "LAW-UNKNOWN"


def test_a_review_counts_for_180_days_and_not_before_it_was_made() -> None:
    looked = date(2026, 11, 21)
    assert {rule.reviewed_on for rule in BOOK.rules} == {looked}
    last = looked + timedelta(days=180)
    for day in (looked, last):
        assert BOOK.stale(on=day) == ()
        require_reviewed(BOOK, on=day)
    for day in (looked - ONE_DAY, last + ONE_DAY):
        assert BOOK.stale(on=day) == BOOK.rules
        with pytest.raises(LawStale, match="CN-DS, CN-DS-14, ") as stale:
            require_reviewed(BOOK, on=day)
        assert stale.value.code == "LAW-STALE"
        assert "reviewed_on" in stale.value.mend


def test_only_the_stale_rules_are_named() -> None:
    [first, *rest] = BOOK.rules
    old = first.model_copy(update={"reviewed_on": date(2020, 1, 1)})
    with pytest.raises(LawStale, match=f": {first.id}$"):
        require_reviewed(LawBook((old, *rest)), on=TODAY)


@pytest.mark.parametrize(
    ("place", "asked"),
    [
        ("DE-BY", "EU"),
        ("DE-BY", "EEA"),
        ("DE-BY", "DE"),
        ("GB-ENG", "UK"),
        ("FR-GP", "GP"),
        ("US-PR", "PR"),
        ("FR-IDF", "EU"),
        ("GR-A", "EL"),
    ],
)
def test_no_coarser_or_other_name_of_a_place_avoids_its_rule(place: str, asked: str) -> None:
    rule = load_rules().find("US-IL-BIPA-15").model_copy(update={"territories": (place,)})
    book = LawBook((load_rules().find("FLOOR"), rule))
    found = select(book, territories=[asked], roles=["controller"], on=TODAY)
    assert rule in found
    elsewhere = select(book, territories=["JP"], roles=["controller"], on=TODAY)
    assert rule not in elsewhere
