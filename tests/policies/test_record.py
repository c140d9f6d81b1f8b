"""A record says one thing in one way: every field is there, bounded, and of its type."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.canonical import MAX_DOCUMENT_BYTES, canonical, parse
from policies.consent import make_event, read_event, sign_opt_in
from policies.errors import Malformed
from policies.keys import SigningKey
from policies.record import (
    MAX_VALIDITY_SECONDS,
    ConsentRecord,
    Withdrawal,
    encode,
    read_document,
    read_record,
)
from policies.terms import Document

NOW = 1_795_219_200
DAY = 86_400
KEY = SigningKey.from_seed(b"s" * 32)


@pytest.fixture
def fields(office: Any) -> dict[str, Any]:
    """The fields of a good record, in which every list has something."""
    listed = {"mode": "listed", "pids": ["ps_" + "b" * 26]}
    record, _ = office.record(
        opted_in=["political"],
        prohibited=["alcohol"],
        counterparties=listed,
        assets={"mode": "listed", "sha256": ["7" * 64], "project": "a film"},
        addenda=[RELEASE, SEPARATE, ORIGIN],
        withdrawal={"url": "https://ctl.invalid/withdraw"},
        binding={"liveness": VIDEO},
    )
    return parse(encode(record))


VIDEO = {"method": "video_challenge", "nonce_sha256": "8" * 64, "score_milli": 900}
RELEASE = {
    "form": "US-IL-RELEASE", "written_release_sha256": "5" * 64, "purpose_and_term": "a film",
    "signed_at": NOW,
}  # fmt: skip
SEPARATE = {"form": "CN-SEPARATE", "separate_consent_sha256": "6" * 64, "signed_at": NOW}
ORIGIN = {"form": "US-TX-ORIGIN", "origin": "published_by_subject"}


def put(fields: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of the fields with another value at `a.b.0.c`."""
    edited = copy.deepcopy(fields)
    *parents, last = path.split(".")
    spot: Any = edited
    for part in parents:
        spot = spot[int(part)] if isinstance(spot, list) else spot[part]
    spot[int(last) if isinstance(spot, list) else last] = value
    return edited


def refuse(fields: dict[str, Any], match: str = "not a consent record|not read back") -> None:
    with pytest.raises(Malformed, match=match) as caught:
        read_record(canonical(fields))
    assert caught.value.code == "MALFORMED"


def test_a_good_record_reads_as_it_was_written(fields: dict[str, Any]) -> None:
    record = read_record(canonical(fields))
    assert encode(record) == canonical(fields)
    assert record.opted_in_categories == ("political",)
    assert record.addendum_forms == ("US-IL-RELEASE", "CN-SEPARATE", "US-TX-ORIGIN")
    assert record.max_uses == record.limits.max_uses == 100


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, containers included."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [path, *(found for key, item in items for found in paths(item, (*path, key)))]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


EVENT = make_event(
    record_id="00000000-0000-7000-8000-000000000001", seq=0, prev="0" * 64, kind="given", at=NOW,
    reason="x",
)  # fmt: skip


@pytest.mark.parametrize("read", [read_record, read_event])
def test_no_field_may_be_missing_unknown_or_of_another_type(
    fields: dict[str, Any], read: Callable[[bytes], object]
) -> None:
    document = fields if read is read_record else parse(encode(EVENT))
    for path in paths(document)[1:]:
        wrong: list[Any] = [None, 1.5, True, 10**15, [None], {"a": 1}, [["a"]]]
        for value in wrong:
            found = at(document, path)
            if found is value or (isinstance(found, int) and value == 10**15):
                continue  # some numbers may be large; the bounds have a test of their own
            edited = copy.deepcopy(document)
            at(edited, path[:-1])[path[-1]] = value
            with pytest.raises(Malformed):
                read(canonical(edited))
        if isinstance(path[-1], str):
            edited = copy.deepcopy(document)
            del at(edited, path[:-1])[path[-1]]
            with pytest.raises(Malformed):
                read(canonical(edited))
        if isinstance(at(document, path), dict):
            edited = copy.deepcopy(document)
            at(edited, path)["surprise"] = 1
            with pytest.raises(Malformed):
                read(canonical(edited))
    with pytest.raises(Malformed):
        read(canonical(document | {"surprise": 1}))


def test_no_field_has_a_default() -> None:
    """A default that may be left out would give one signed document two digests."""
    models: list[type[Document]] = [ConsentRecord]
    for model in models:
        for name, field in model.model_fields.items():
            assert field.is_required(), f"{model.__name__}.{name}"
            models += [part for part in _parts(field.annotation) if issubclass(part, Document)]
    assert len(set(models)) == 19


def _parts(annotation: Any) -> list[type]:
    inner = [part for arg in getattr(annotation, "__args__", ()) for part in _parts(arg)]
    return [annotation, *inner] if isinstance(annotation, type) else inner


WRONG: dict[str, list[Any]] = {
    "schema": ["facewarrant/consent/2", "", "facewarrant/consent-event/1"],
    "record_id": [
        "", "0", "00000000-0000-7000-8000-00000000000\N{CYRILLIC SMALL LETTER A}",
        "00000000-0000-7000-8000-000000000001\n", "00000000-0000-7000-8000-00000000000A",
    ],
    "subject.pid": ["ps_" + "\N{CYRILLIC SMALL LETTER A}" * 26, "someone@example.org", "ps_a"],
    "subject.key": ["", "A" * 64, "0" * 63],
    "subject.age_assurance.adult": [False, "true", 1, None, "yes"],
    "subject.age_assurance.method": ["selfie", ""],
    "subject.age_assurance.evidence": ["", "x" * 401, "a\nb"],
    "subject.age_assurance.checked_at": [-1, 253_402_300_800],
    "controller.type": ["state", ""],
    "controller.name": [
        "", " ", " x", "x" * 401, "a\tb", "a\N{RIGHT-TO-LEFT OVERRIDE}b", "\ufeffx",
    ],
    "controller.address": ["", "a\nb", "a\N{LINE SEPARATOR}b", "a\x00"],
    "notice.language": ["", "EN", "english", "en_GB", "en-gb", "e", "en-GB-x-y"],
    "notice.sha256": ["", "g" * 64, "0" * 65],
    "purposes": [[], ["Anything goes"], ["film_vfx", "film_vfx"], ["film_vfx"] * 33, [""]],
    "roles": [[], ["guardian"], ["bystander", "bystander"]],
    "media": [[], ["sound"], ["image", "image"]],
    "audiences": [[], ["everyone"], ["internal", "internal"]],
    "territories": [
        [], ["eea"], ["EU-DE"], ["de"], ["DE", "DE"], [f"{a}{b}" for a in "ABCDEFGHIJKLM" for b in
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ"],
    ],
    "counterparties.mode": ["any_consented", "all"],
    "counterparties.pids": [["ps_x"], ["ps_" + "a" * 26] * 2],
    "assets.mode": ["any", "all"],
    "assets.sha256": [["x"], ["0" * 64] * 2],
    "assets.project": ["x" * 401, "a\nb", " "],
    "prohibited": [["everything"], ["alcohol", "alcohol"], ["political"]],
    "opted_in.0.category": ["minors_context", "anything", "alcohol"],
    "limits.max_uses": [0, -1, 10_001, 10**15, True],
    "limits.max_pixels": [0, 1_000_000_001],
    "limits.max_seconds": [0, 86_401],
    "validity": [
        {"not_before": NOW, "expires": NOW},
        {"not_before": NOW, "expires": NOW - 1},
        {"not_before": 0, "expires": MAX_VALIDITY_SECONDS + 1},
        {"not_before": -1, "expires": 1},
    ],
    "personal_data": [[], [{"type": "pd:FacialPrint", "special": True, "required": r}
                           for r in (True, False)]],
    "personal_data.0.type": ["pd:Name", "FacialPrint"],
    "personal_data.0.special": [False],
    "storage.locations": [[], [""], ["a", "a"], [f"place {n}" for n in range(21)]],
    "storage.retention": ["", "1 year", "P1W", "P1Y6M", "P0D", "-P1Y", "P1.5Y", "P1Y\n", "x" * 17],
    "recipients": [[], [""], ["a", "a"], [f"party {n}" for n in range(33)]],
    "rights": ["", "x" * 401],
    "withdrawal.method": ["", "a\nb"],
    "withdrawal.url": [
        "http://ctl.invalid", "javascript:alert(1)", "https://", "https://a b.invalid",
        "https://a.invalid/\N{CYRILLIC SMALL LETTER A}", "https://a.invalid/<b>",
        "https://" + "a" * 400, "ctl.invalid", "mailto:",
    ],
    "authority": ["", "x" * 401],
    "dpia_ref": ["x" * 401, "a\nb"],
    "compensation_ref": ["x" * 401, "a\nb"],
    "binding.model": ["", "a b", "x" * 81],
    "binding.liveness.method": ["photo", "in_person", "rendered", "none"],
    "binding.liveness.nonce_sha256": ["", "x"],
    "binding.liveness.score_milli": [-1, 1_001, True],
    "addenda": [[RELEASE, RELEASE], [ORIGIN, ORIGIN], [{"form": "US-CA-FORM"}], [{}],
                [ORIGIN | {"signed_at": NOW}]],
    "addenda.0.purpose_and_term": ["", "x" * 401],
    "addenda.0.form": ["CN-SEPARATE", "US-TX-ORIGIN"],
    "addenda.2.origin": ["", "scraped"],
    "signatures.0.alg": ["none", "ed25519"],
    "signatures.0.by": ["guardian", "witness"],
}  # fmt: skip


@pytest.mark.parametrize("path", WRONG)
def test_what_is_not_a_record(fields: dict[str, Any], path: str) -> None:
    for value in WRONG[path]:
        refuse(put(fields, path, value))


RIGHT: dict[str, list[Any]] = {
    "notice.language": ["de", "pt-BR", "zh-Hant-TW", "es-419", "gsw"],
    "counterparties.pids": [[]],
    "assets.sha256": [[]],
    "controller.name": ["Müller & Söhne", "نمی\N{ZERO WIDTH NON-JOINER}خواهم", "x" * 400],
    "storage.retention": ["PT0H", "P30D", "P3M", "P3Y"],
    "withdrawal.url": ["", "https://a.invalid/x?y=1", "mailto:dpo@a.invalid"],
    "purposes": [["acme:museum_guide"], ["film_vfx", "dubbing"]],
    "limits.max_uses": [1, 10_000],
    "limits.max_pixels": [1, 1_000_000_000],
    "binding.liveness.score_milli": [0, 1_000],
    "validity": [{"not_before": NOW, "expires": NOW + MAX_VALIDITY_SECONDS}],
}


@pytest.mark.parametrize("path", RIGHT)
def test_what_is_a_record(fields: dict[str, Any], path: str) -> None:
    for value in RIGHT[path]:
        edited = put(fields, path, value)
        assert encode(read_record(canonical(edited))) == canonical(edited)


def test_opt_ins_and_bars_exclude_each_other(fields: dict[str, Any]) -> None:
    both = [opt_in(fields, category) for category in ("political", "nudity")]
    assert read_record(canonical(fields | {"opted_in": both})).opted_in[1].category == "nudity"
    refuse(fields | {"opted_in": both, "prohibited": ["nudity"]}, "at once: nudity")
    refuse(fields | {"opted_in": [both[0], both[0]]}, "twice")


def opt_in(fields: dict[str, Any], category: Any) -> dict[str, Any]:
    signed = sign_opt_in(fields["record_id"], category, key=KEY, at=NOW)
    return signed.model_dump(mode="json")


def test_listed_means_listed_and_any_means_any(fields: dict[str, Any]) -> None:
    """A list beside 'any' could be read as a limit that is not one."""
    refuse(put(fields, "counterparties.mode", "any_consented"), "lists nobody")
    refuse(put(fields, "assets.mode", "any"), "lists no picture")


@pytest.mark.parametrize("method", ["document", "wallet", "in_person", "self_declared"])
def test_evidence_of_age_is_named(fields: dict[str, Any], method: str) -> None:
    claimed = put(fields, "subject.age_assurance.method", method)
    silent = put(claimed, "subject.age_assurance.evidence", "")
    good, bad = (silent, claimed) if method == "self_declared" else (claimed, silent)
    read_record(canonical(good))
    refuse(bad, "evidence names the check")


@pytest.mark.parametrize("method", ["in_person", "none"])
def test_only_a_video_answers_a_challenge(fields: dict[str, Any], method: str) -> None:
    other = put(fields, "binding.liveness.method", method)
    refuse(other, "names its nonce")
    without = put(other, "binding.liveness.nonce_sha256", "")
    refuse(without, "has a score")
    read_record(canonical(put(without, "binding.liveness.score_milli", 0)))
    refuse(put(fields, "binding.liveness.nonce_sha256", ""), "names its nonce")


def test_nobody_is_half_rendered(office: Any, fields: dict[str, Any]) -> None:
    """A real person must not pass for a rendered one, whom nobody has to see."""
    refuse(put(fields, "subject.age_assurance.method", "rendered"), "alike")
    rendered = parse(encode(office.record(age="rendered")[0]))
    assert read_record(canonical(rendered)).binding.liveness.method == "rendered"
    refuse(put(rendered, "subject.age_assurance.method", "document"), "alike")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("controller.name", "x" * 1_000_000),
        ("purposes", [f"acme:{'p' * 40}"] * 20_000),
        ("territories", ["DE"] * 20_000),
    ],
)
def test_huge_strings_and_lists_are_not_even_parsed(
    fields: dict[str, Any], path: str, value: object
) -> None:
    refuse(put(fields, path, value), f"at most {MAX_DOCUMENT_BYTES}")


UNSEEN = (
    "\x00\t\n\r\x1b\x7f\x85\xad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2066\u2067\u2068\u2069\u206f\ufeff\ufff9\ufffb\U000e0001\U000e0041\U000e007f"
)


@pytest.mark.parametrize("sign", UNSEEN, ids=lambda c: f"U+{ord(c):04X}")
def test_nothing_unseen_is_in_a_text(fields: dict[str, Any], sign: str) -> None:
    for path in ("controller.name", "dpia_ref"):
        for text in (f"a{sign}b", f"{sign}a", f"a{sign}", sign):
            refuse(put(fields, path, text))


@settings(max_examples=60, derandomize=True, deadline=None)
@given(text=st.text(max_size=40))
def test_text_is_one_visible_line_or_refused(text: str) -> None:
    """Whatever is accepted has no control and no direction character, and starts visibly."""
    words = {"method": text, "url": ""}
    try:
        read_document(Withdrawal, canonical(words), what="withdrawal")
    except Malformed:
        return
    assert text == text.lstrip() != ""
    assert all(ch.isprintable() or ch.isspace() or ord(ch) > 0xA0 for ch in text)
    assert not set(text) & set(UNSEEN)


def test_a_left_out_default_is_not_a_second_spelling() -> None:
    class Loose(Document):
        word: str = "default"

    assert read_document(Loose, b'{"word":"x"}', what="loose").word == "x"
    with pytest.raises(Malformed, match="not read back"):
        read_document(Loose, b"{}", what="loose")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not valid JSON"),
        (b"[]", "JSON object"),
        (b'{"schema":"facewarrant/consent/1","schema":"facewarrant/consent/1"}', "twice"),
        (b'{ "schema":"facewarrant/consent/1"}', "canonical form"),
        (b"\xff", "not valid JSON"),
        (b"[" * 60_000, "not valid JSON"),
    ],
)
def test_bytes_that_are_no_document(data: bytes, match: str) -> None:
    with pytest.raises(Malformed, match=match):
        read_record(data)
