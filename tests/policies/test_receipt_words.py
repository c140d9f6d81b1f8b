"""The receipt in plain words: everything the person has to know, from the record alone."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from policies import receipt_words
from policies.consent import EventKind, Status
from policies.receipt import Receipt, make_receipt
from policies.receipt_words import as_text, describe, span
from policies.record import AgeAssurance, Controller, Liveness, PersonalData, TexasOrigin
from policies.terms import Audience, Category, KnownPurpose, Medium, PersonRole

NOW = 1_795_219_200
DAY = 86_400
FORMS = [
    {"form": "US-IL-RELEASE", "written_release_sha256": "5" * 64,
     "purpose_and_term": "one film, two years", "signed_at": NOW - DAY},
    {"form": "CN-SEPARATE", "separate_consent_sha256": "6" * 64, "signed_at": NOW - DAY},
    {"form": "US-TX-ORIGIN", "origin": "provided_by_subject"},
]  # fmt: skip


def receipt_of(office: Any, record_id: str) -> Receipt:
    return make_receipt(office.book.read(record_id), office.book.history(record_id))


def said(office: Any, **changes: Any) -> dict[str, dict[str, str]]:
    """What the receipt of a confirmed consent says: title, label, words."""
    sections = describe(receipt_of(office, office.enrol(**changes)))
    return {s.title: {line.label: line.text for line in s.lines} for s in sections}


def values(model: Any, field: str) -> set[str]:
    return set(get_args(model.model_fields[field].annotation))


def test_there_are_words_for_everything_a_record_can_say() -> None:
    words = receipt_words
    for known, keys in (
        (words._STATES, set(get_args(Status))),
        (words._ROLES, set(get_args(PersonRole))),
        (words._PURPOSES, set(get_args(KnownPurpose))),
        (words._AUDIENCES, set(get_args(Audience))),
        (words._MEDIA, set(get_args(Medium))),
        (words._CATEGORIES, set(get_args(Category))),
        (words._EVENTS, set(get_args(EventKind))),
        (words._DATA, values(PersonalData, "type")),
        (words._AGE, values(AgeAssurance, "method")),
        (words._LIVENESS, values(Liveness, "method")),
        (words._TYPES, values(Controller, "type")),
        (words._ORIGINS, values(TexasOrigin, "origin")),
    ):
        assert set(known) == keys


def test_who_what_where_until_when_with_whom(office: Any) -> None:
    found = said(
        office,
        purposes=["film_vfx", "acme:museum_guide"],
        counterparties={"mode": "listed", "pids": ["ps_" + "b" * 26]},
        assets={"mode": "listed", "sha256": ["7" * 64], "project": "A short film"},
    )
    assert found["Your consent"]["State"] == "In force."
    assert found["Who is responsible"]["Controller"] == "Test Controller, a company (ctl)"
    agreed = found["What you agreed to"]
    assert agreed["For"] == "effects in films and series; acme:museum_guide"
    assert agreed["Your part"].startswith("your face may be put onto somebody else's body; ")
    bounds = found["Where and until when"]
    assert bounds["Territories"] == "DE, FR"
    assert (bounds["From"], bounds["Until"]) == ("2026-11-20 00:00 UTC", "2026-12-21 00:00 UTC")
    assert bounds["At most"].startswith("100 uses; 100,000,000 pixels a picture; 600 seconds")
    company = found["With whom and in what"]
    assert company["With"] == "ps_" + "b" * 26
    assert company["Pictures"] == f"1, named by SHA-256: {'7' * 64}"
    assert company["Project"] == "A short film"


def test_a_houses_own_purpose_is_explained_and_named(office: Any) -> None:
    receipt = receipt_of(office, office.enrol(purposes=["acme:museum_guide", "acme:other"]))
    words = {"acme:museum_guide": "a guide through our museum", "film_vfx": "anything at all"}
    agreed = describe(receipt, purposes=words)[2]
    (line,) = [line for line in agreed.lines if line.label == "For"]
    assert line.text == "a guide through our museum (acme:museum_guide); acme:other"
    receipt = receipt_of(office, office.enrol(purposes=["film_vfx"]))
    assert "anything at all" not in as_text(describe(receipt, purposes=words))


def test_a_list_of_nobody_says_so(office: Any) -> None:
    found = said(office, counterparties={"mode": "listed"}, assets={"mode": "listed"})
    company = found["With whom and in what"]
    assert (company["With"], company["Pictures"]) == ("nobody", "0, named by SHA-256: none")
    company = said(office)["With whom and in what"]
    assert company["With"] == "anybody who consented too"
    assert "Project" not in company


def test_what_is_never_done(office: Any) -> None:
    never = said(office, opted_in=["political"], prohibited=["alcohol", "minors_context"])
    lines = never["What is never done"]
    assert lines["Nobody can permit"] == "content with or about minors"
    assert lines["You barred"] == "alcohol"
    silent = lines["Refused, as you did not sign for it"]
    assert "nudity" in silent
    assert "tobacco" in silent
    assert "political" not in silent
    assert "alcohol" not in silent
    agreed = never["What you agreed to"]
    assert agreed["Signed for separately"] == "political content, on 2026-11-21 00:00 UTC"
    rest = [c for c in get_args(Category) if c not in ("political", "minors_context")]
    lines = said(office, opted_in=["political"], prohibited=rest)["What is never done"]
    assert "Refused, as you did not sign for it" not in lines
    assert "You barred" not in said(office)["What is never done"]


def test_what_is_kept_and_how_to_withdraw(office: Any) -> None:
    kinds = [
        {"type": "pd:FacialPrint", "special": True, "required": True},
        {"type": "pd:Picture", "special": True, "required": False},
    ]
    found = said(office, personal_data=kinds, withdrawal={"url": "https://ctl.invalid/out"})
    kept = found["What is kept about you, and for how long"]
    assert kept["Needed"].startswith("a template of your face")
    assert kept["If you like"] == "pictures of your face"
    assert kept["Where"] == "Testville, DE"
    assert kept["The record"] == "1 year after the end"
    rights = found["How to withdraw, and your other rights"]
    assert rights["Withdraw"] == "facewarrant consent withdraw"
    assert rights["If you lost your key"] == "write to dpo@test.invalid"
    assert rights["Complain to"] == "Testville data protection authority"
    receipt = receipt_of(office, office.enrol(withdrawal={"url": "https://ctl.invalid/out"}))
    assert "(https://ctl.invalid/out)" in as_text(describe(receipt))


@pytest.mark.parametrize(
    ("age", "adult", "present"),
    [
        ("document", "a document was checked", "somebody was there with you"),
        ("self_declared", "your own word", "somebody was there with you"),
        ("rendered", "no check: this person is rendered", "no check: this person is rendered"),
    ],
)
def test_how_somebody_was_recognised(office: Any, age: str, adult: str, present: str) -> None:
    checks = said(office, age=age)["How you were recognised"]
    assert checks["Adult"].startswith(adult)
    assert checks["Present"].startswith(present)
    assert ("(reference check" in checks["Adult"]) is (age != "self_declared")


def test_forms_references_and_signatures(office: Any) -> None:
    record_id = office.enrol(addenda=FORMS, compensation_ref="contract 7")
    sections = describe(receipt_of(office, record_id))
    found = {s.title: {line.label: line.text for line in s.lines} for s in sections}
    forms = found["Forms that a law asks for"]
    assert forms["Illinois, written release"].startswith(
        "one film, two years; signed on 2026-11-20"
    )
    assert forms["China, separate consent"].endswith("6" * 64)
    assert forms["Texas, origin of the pictures"] == "you handed them over for this"
    assert found["References"]["Payment"] == "contract 7"
    assert found["References"]["Impact assessment"] == "DPIA-1"
    signatures = found["Signatures"]
    assert office.controller.public.kid in signatures["The controller"]
    assert office.subjects[record_id].public.kid in signatures["You"]
    plain = said(office, dpia_ref="")
    assert "Forms that a law asks for" not in plain
    assert set(plain["References"]) == {"Notice you were shown"}


def test_what_happened_so_far(office: Any) -> None:
    record_id = office.enrol()
    office.clock.now += 60
    keys = office.keys(record_id, "controller")
    office.book.append(record_id, "withdrawn", keys=keys, reason="lost key, seen in person")
    (section,) = [
        s for s in describe(receipt_of(office, record_id)) if s.title == "What happened so far"
    ]
    assert [(line.label[-9:], line.text) for line in section.lines] == [
        ("00:00 UTC", "the record was signed"),
        ("00:00 UTC", "given, signed by you and the controller"),
        ("00:00 UTC", "confirmed, in a second, separate step, signed by you"),
        ("00:01 UTC", "withdrawn, signed by the controller; reason: lost key, seen in person"),
    ]
    assert describe(receipt_of(office, record_id))[0].lines[0].text.startswith("Withdrawn.")


@pytest.mark.parametrize(
    ("retention", "words"),
    [
        ("PT0H", "0 hours"), ("PT1H", "1 hour"), ("PT36H", "36 hours"), ("PT48H", "2 days"),
        ("P1D", "1 day"), ("P30D", "30 days"), ("P1M", "1 month"), ("P18M", "18 months"),
        ("P12M", "1 year"), ("P3Y", "3 years"),
    ],
)  # fmt: skip
def test_durations_in_words(retention: str, words: str) -> None:
    assert span(retention) == words


def test_text_stays_within_its_width(office: Any) -> None:
    name = " ".join(["Müller"] * 50)
    record_id = office.enrol(controller={"name": name}, addenda=FORMS)
    text = as_text(describe(receipt_of(office, record_id)))
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    for line in text.splitlines():
        assert len(line) <= 79 or " " not in line.strip()
    for section in describe(receipt_of(office, record_id)):
        assert section.lines
        assert f"{section.title}\n{'=' * len(section.title)}\n" in text
