"""Facts that permit everything, their broken twins, a third statement of the policy, a tamperer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from policies.database import Database
from policies.terms import REQUIRED_MARKS

NOW = 1_795_219_200
DAY = 86_400


def _person(number: int, role: str) -> dict[str, Any]:
    return {
        "record_id": f"00000000-0000-7000-8000-{number:012x}",
        "role": role,
        "status": "confirmed",
        "status_since": NOW - DAY,
        "not_before": NOW - DAY,
        "expires": NOW + DAY,
        "roles": ["source_identity", "target_body", "bystander"],
        "purposes": ["film_vfx", "personal"],
        "media": ["image"],
        "audiences": ["internal", "public"],
        "territories": ["DE", "FR"],
        "opted_in": [],
        "prohibited": ["tobacco"],
        "addenda": ["US-TX-ORIGIN"],
        "counterparties_ok": True,
        "asset_ok": True,
        "notice_known": True,
        "adult": True,
        "age_assured": True,
        "enrolled_live": True,
        "uses_left": 3,
        "max_pixels": 1_000_000,
        "max_seconds": 30,
        "template_model_ok": True,
        "match": "match",
        "age": "clear",
        "registry": "clear",
    }


GOOD = {
    "now": NOW,
    "last_log_time": NOW - 60,
    "purpose": "film_vfx",
    "medium": "image",
    "audience": "internal",
    "territories": ["DE"],
    "categories": [],
    "bystanders": "refuse",
    "purpose_known": True,
    "marks": ["c2pa", "label", "watermark"],
    "required_marks": ["c2pa"],
    "required_addenda": [],
    "inputs_match": True,
    "people_match": True,
    "source_faces": 1,
    "target_faces": 1,
    "target_faces_resolved": 1,
    "target_faces_blurred": 0,
    "unnamed_minor": False,
    "source_nudity": "clear",
    "target_nudity": "clear",
    "pixels": 262_144,
    "seconds": 0,
    "people": [_person(1, "source_identity"), _person(2, "target_body")],
}


FACTS = dict[str, Any]


def _whole(**changes: Any) -> Callable[[FACTS], None]:
    return lambda facts: facts.update(changes)


def _source(**changes: Any) -> Callable[[FACTS], None]:
    return lambda facts: facts["people"][0].update(changes)


def _target(**changes: Any) -> Callable[[FACTS], None]:
    return lambda facts: facts["people"][1].update(changes)


def _opted_in_and_barred(facts: FACTS) -> None:
    """A use that one person opted in to and barred: the bar counts."""
    facts["categories"] = ["tobacco"]
    for person in facts["people"]:
        person["opted_in"] = ["tobacco"]
    facts["people"][1]["prohibited"] = []


def _minors_opted_in(facts: FACTS) -> None:
    """What no signature permits, signed for by everybody."""
    facts["categories"] = ["minors_context"]
    for person in facts["people"]:
        person |= {"opted_in": ["minors_context"], "prohibited": []}


def _two_sources(facts: FACTS) -> None:
    """Two sources and one face in the target: the counts agree, the roles do not."""
    facts["people"].append({**facts["people"][0], "record_id": facts["people"][1]["record_id"]})


def _blurred(faces: int, says: str) -> Callable[[FACTS], None]:
    """One named face, `faces` in all, the others blurred; what the request says about others."""
    return _whole(target_faces=faces, target_faces_blurred=1, bystanders=says)


def _challenged(facts: FACTS) -> None:
    """A young face, and nothing in the record that answers the challenge."""
    facts["people"][0] |= {"age": "challenge", "age_assured": False}


def _enrolled_from_pictures(facts: FACTS) -> None:
    """A public release of somebody who was never there in person."""
    facts["audience"] = "public"
    facts["people"][1]["enrolled_live"] = False


def _bystander_twice(facts: FACTS) -> None:
    """One bystander's consent for two faces: the counts and the roles agree."""
    facts["people"] += [_person(3, "bystander"), _person(3, "bystander")]
    facts |= {"target_faces": 3, "target_faces_resolved": 3}


# For each reason: what breaks it alone. A broken record also has no standing, so that one twin
# breaks two rules on purpose: each of them must be enough.
_BROKEN = ("CONSENT-BROKEN", "CONSENT-STATUS")
TWINS: list[tuple[tuple[str, ...], Callable[[FACTS], None]]] = [
    (("CLOCK-ROLLBACK",), _whole(last_log_time=NOW + 1)),
    (("INPUTS-MISMATCH",), _whole(inputs_match=False)),
    (("PEOPLE-MISMATCH",), _whole(people_match=False)),
    (("PEOPLE-MISMATCH",), _two_sources),
    (("PEOPLE-MISMATCH",), _bystander_twice),
    (("SOURCE-FACES",), _whole(source_faces=0)),
    (("SOURCE-FACES",), _whole(source_faces=2)),
    (("BYSTANDER",), _whole(target_faces=2)),
    (("BYSTANDER",), _whole(target_faces=2, target_faces_resolved=2)),
    (("BYSTANDER",), _whole(target_faces=0, target_faces_resolved=0)),
    (("BYSTANDER",), _whole(target_faces_resolved=2)),
    (("BYSTANDER",), _blurred(2, "refuse")),
    (("BYSTANDER",), _blurred(3, "blur")),
    (("BYSTANDER",), _blurred(1, "blur")),
    (("BYSTANDER",), _blurred(3, "persona")),
    (("BYSTANDER-MINOR",), _whole(unnamed_minor=True)),
    *((("NUDITY",), _whole(source_nudity=s)) for s in ("review", "found", "unavailable")),
    *((("NUDITY",), _whole(target_nudity=s)) for s in ("review", "found", "unavailable")),
    (("PURPOSE-UNKNOWN",), _whole(purpose_known=False)),
    (_BROKEN, _source(status="broken")),
    (_BROKEN, _target(status="unknown")),
    *((("CONSENT-STATUS",), _source(status=s)) for s in ("requested", "withdrawn")),
    (("CONSENT-STATUS", "SECOND-CONFIRMATION"), _source(status="given")),
    (("NOTICE-UNKNOWN",), _target(notice_known=False)),
    (("PROHIBITED-USE",), _opted_in_and_barred),
    (("PROHIBITED-USE",), _minors_opted_in),
    (("ADDENDUM-MISSING",), _whole(required_addenda=["CN-SEPARATE"])),
    (("LIMIT-SIZE",), _source(max_pixels=262_143)),
    (("LIMIT-SIZE",), _whole(seconds=31)),
    (("AGE-MINOR",), _target(age="minor")),
    (("AGE-CHALLENGE",), _challenged),
    (("LIVENESS",), _enrolled_from_pictures),
    *((("DO-NOT-SWAP",), _source(registry=s)) for s in ("hit", "ambiguous", "unavailable")),
    *((("CONSENT-STATUS",), _target(status=s)) for s in ("revoked", "refused", "invalidated")),
    (("CONSENT-STATUS",), _target(status="expired")),
    (("CONSENT-WINDOW",), _source(expires=NOW)),
    (("CONSENT-WINDOW",), _target(not_before=NOW + 1)),
    (("ROLE-SCOPE",), _source(roles=["target_body"])),
    (("ROLE-SCOPE",), _target(roles=["source_identity"])),
    (("PURPOSE-SCOPE",), _source(purposes=["personal"])),
    (("MEDIA-SCOPE",), _target(media=["video"])),
    (("AUDIENCE-SCOPE",), _source(audiences=["public"])),
    (("TERRITORY-SCOPE",), _target(territories=["FR"])),
    (("TERRITORY-SCOPE",), _whole(territories=[])),
    (("SENSITIVE-CATEGORY",), _whole(categories=["political"])),
    (("COUNTERPARTY-SCOPE",), _source(counterparties_ok=False)),
    (("ASSET-SCOPE",), _target(asset_ok=False)),
    (("LIMIT-EXHAUSTED",), _source(uses_left=0)),
    (("ADULT-ONLY",), _target(adult=False)),
    (("TEMPLATE-MODEL",), _source(template_model_ok=False)),
    (("FACE-MISMATCH",), _source(match="mismatch")),
    (("FACE-MISMATCH",), _target(match="ambiguous")),
    *(
        (("OUTPUT-MARKED",), _whole(marks=sorted(REQUIRED_MARKS - {m})))
        for m in sorted(REQUIRED_MARKS)
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `codes` and `breach` once for every twin."""
    if {"codes", "breach"} <= set(metafunc.fixturenames):
        ids = [f"{'+'.join(codes)}-{number}" for number, (codes, _) in enumerate(TWINS)]
        metafunc.parametrize(("codes", "breach"), TWINS, ids=ids)


@pytest.fixture(scope="session")
def good() -> FACTS:
    """The good facts themselves, for tests that run many times: copy them before an edit."""
    return GOOD


@pytest.fixture(scope="session")
def twins() -> list[tuple[tuple[str, ...], FACTS]]:
    """Every twin as whole facts, with the codes that it must be denied for."""
    found = []
    for codes, breach in TWINS:
        facts = copy.deepcopy(GOOD)
        breach(facts)
        found.append((codes, facts))
    return found


def _object_to(f: FACTS) -> set[tuple[str, str]]:
    roles = [p["role"] for p in f["people"]]
    shown = [r for r in roles if r in ("target_body", "bystander")]
    named = sorted(f"{p['role']} {p['record_id']}" for p in f["people"])
    wrong = {
        ("CLOCK-ROLLBACK", ""): f["last_log_time"] > f["now"],
        ("INPUTS-MISMATCH", ""): not f["inputs_match"],
        ("PEOPLE-MISMATCH", ""): not f["people_match"] or sorted(set(roles) - {"bystander"}) != [
            "source_identity", "target_body"] or len(shown) != len(roles) - 1
            or shown.count("target_body") != 1 or sorted(set(named)) != named,
        ("SOURCE-FACES", ""): f["source_faces"] != 1,
        ("PURPOSE-UNKNOWN", ""): not f["purpose_known"],
        ("BYSTANDER", ""): f["target_faces_resolved"] != len(shown) or not shown
            or f["target_faces"] - f["target_faces_blurred"] != len(shown)
            or (f["target_faces_blurred"] > 0 and f["bystanders"] == "refuse"),
        ("BYSTANDER-MINOR", ""): f["unnamed_minor"],
        ("NUDITY", ""): [f["source_nudity"], f["target_nudity"]] != ["clear"] * 2,
        ("OUTPUT-MARKED", ""): sorted(set(f["marks"])) != ["c2pa", "label", "watermark"]
            or any(m not in f["marks"] for m in f["required_marks"]),
    }  # fmt: skip
    for p in f["people"]:
        checks = {
            "CONSENT-BROKEN": p["status"] in ("broken", "unknown"),
            "CONSENT-STATUS": p["status"] != "confirmed",
            "SECOND-CONFIRMATION": p["status"] == "given",
            "NOTICE-UNKNOWN": not p["notice_known"],
            "PROHIBITED-USE": "minors_context" in f["categories"]
            or any(c in p["prohibited"] for c in f["categories"]),
            "ADDENDUM-MISSING": any(a not in p["addenda"] for a in f["required_addenda"]),
            "LIMIT-SIZE": f["pixels"] > p["max_pixels"] or f["seconds"] > p["max_seconds"],
            "AGE-MINOR": p["age"] not in ("clear", "challenge"),
            "AGE-CHALLENGE": p["age"] in ("challenge", "minor") and not p["age_assured"],
            "LIVENESS": f["audience"] in ("public", "paid_ads") and not p["enrolled_live"],
            "DO-NOT-SWAP": p["registry"] in ("hit", "ambiguous", "unavailable"),
            "CONSENT-WINDOW": f["now"] < p["not_before"] or f["now"] > p["expires"] - 1,
            "ROLE-SCOPE": p["roles"].count(p["role"]) == 0,
            "PURPOSE-SCOPE": p["purposes"].count(f["purpose"]) == 0,
            "MEDIA-SCOPE": p["media"].count(f["medium"]) == 0,
            "AUDIENCE-SCOPE": p["audiences"].count(f["audience"]) == 0,
            "TERRITORY-SCOPE": not f["territories"]
            or any(t not in p["territories"] for t in f["territories"]),
            "SENSITIVE-CATEGORY": any(c not in p["opted_in"] for c in f["categories"]),
            "COUNTERPARTY-SCOPE": not p["counterparties_ok"],
            "ASSET-SCOPE": not p["asset_ok"],
            "LIMIT-EXHAUSTED": p["uses_left"] < 1,
            "ADULT-ONLY": not p["adult"],
            "TEMPLATE-MODEL": not p["template_model_ok"],
            "FACE-MISMATCH": p["match"] != "match",
        }
        who = f"{p['role']} {p['record_id']}"
        wrong |= {(code, who): True for code, broken in checks.items() if broken}
    return {reason for reason, broken in wrong.items() if broken}


@pytest.fixture(scope="session")
def object_to() -> Callable[[FACTS], set[tuple[str, str]]]:
    """The policy a third time, over plain dictionaries: (code, subject) of what is wrong.

    Written without looking at the rules or the gate.
    """
    return _object_to


@pytest.fixture
def good_facts() -> dict[str, Any]:
    """A fresh copy of facts under which every rule holds."""
    return copy.deepcopy(GOOD)


@pytest.fixture
def tamper() -> Callable[..., None]:
    """`tamper(database, sql, *values)`: drop every trigger, then change rows behind our back."""

    def run(database: Database, sql: str, *values: object) -> None:
        with database.transaction() as connection:
            names = connection.exec_driver_sql(
                "select name from sqlite_master where type = 'trigger'"
            ).scalars()
            for name in list(names):
                connection.exec_driver_sql(f"drop trigger {name}")
            assert connection.exec_driver_sql(sql, values).rowcount != 0

    return run
