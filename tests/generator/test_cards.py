"""Cards of our own networks read back as they were written, whatever stands in them."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from generator.cards import (
    LICENCE,
    RENDERED,
    describe_training,
    inherit,
    own_origin,
    render_card,
    write_card,
)
from generator.errors import WeightRefused
from generator.weights import (
    MODELS_FOLDER,
    OWN,
    Measurement,
    OutputContract,
    TensorContract,
    Thresholds,
    Training,
    WeightCard,
    load_card,
    weight_names,
)
from policies.digest import sha256_hex
from provenance.data_ledger import LedgerRow, rendered_row

ODD = 'anything "hard"\n\t\\ größer, or € and # [x]'

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def card(**changes: object) -> WeightCard:
    return WeightCard(
        name="own",
        task="swap",
        file="own.onnx",
        sha256=sha256_hex(b"x"),
        bytes=1,
        origin=own_origin("generator/own.py", b"rows", "abc"),
        licence=LICENCE,
        training=RENDERED,
        tensors={"mask": TensorContract(shape=(1, 8, 8), meaning=ODD)},
        outputs={"image": OutputContract(source="image", meaning="it")},
        known_failures=(ODD, "b"),
        allowed_use="tests",
    ).model_copy(update=changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"numbers": {"a.b c": 0.1, "größe": 2.0, "plain-key_1": -1e-7}},
        {"levels": ((16, 2), (32, 6))},
        {"alignment": ((33, 0.25, 0.5),)},
        {"thresholds": Thresholds(match=0.4, mismatch=0.6, basis=ODD)},
        {
            "measured": tuple(
                Measurement(what=f"w{n}", value=ODD, n=n, protocol="p", date="2026-11-21")
                for n in (1, 2)
            )
        },
        {"known_failures": ()},
    ],
    ids=["plain", "odd keys", "levels", "alignment", "thresholds", "measured", "no failures"],
)
def test_a_card_reads_back_as_it_was_written(tmp_path: Path, changes: dict[str, object]) -> None:
    written = card(**changes)
    write_card(written, tmp_path)
    assert load_card("own", tmp_path) == written
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("name", weight_names())
def test_every_shipped_card_can_be_written_again(name: str) -> None:
    shipped = load_card(name)
    text = render_card(shipped)
    assert tomllib.loads(text)["sha256"] == shipped.sha256
    assert text == render_card(shipped)


def test_a_card_that_would_be_refused_is_not_written(tmp_path: Path) -> None:
    for broken in (card(numbers={"a": float("nan")}), card(known_failures=("\x7f",))):
        with pytest.raises(WeightRefused, match="own"):
            write_card(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_origin_names_the_ledger_by_digest() -> None:
    origin = own_origin("generator/own.py", b"rows", "abc")
    assert (origin.package, origin.version, origin.graph) == (OWN, "abc", "generator/own.py")
    assert origin.files == {"ledger.jsonl": sha256_hex(b"rows")}


def test_our_licence_lies_beside_the_weights() -> None:
    assert (MODELS_FOLDER / LICENCE.text_file).is_file()


def test_data_of_real_people_name_their_consents() -> None:
    row = rendered_row(b"a", "a.webp", set_name="demo", person="persona:1")
    assert describe_training([row], now=NOW) is RENDERED
    facts = {"consent_scope": "training-of-released-models", "consent_id": "c1"}
    who = {"person": "subject:17", "set": "studio", "sha256": "7" * 64}
    person = row.model_copy(update=who | facts)
    second = {"set": "album", "consent_id": "c2", "sha256": "8" * 64}
    other = LedgerRow.model_validate(person.model_dump() | second)
    said = describe_training([row, person, other], now=NOW)
    assert said.data == "2 photographs of 1 people (album, studio) and 1 rendered pictures"
    assert said.consent_basis.startswith("2 consents that cover this training")


@pytest.mark.parametrize(
    ("lack", "why"),
    [
        ({"training_of_released_models": False}, "weights that are released"),
        ({"consent_id": ""}, "names no consent"),
        ({"consent_scope": "research"}, "did not agree"),
        ({"set": "london"}, "evaluation only"),
        ({"expires": datetime(2026, 1, 1, tzinfo=UTC)}, "ended"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_people_who_did_not_agree_are_in_no_released_weights(
    lack: dict[str, Any], why: str
) -> None:
    row = rendered_row(b"a", "a.webp", set_name="demo", person="persona:1")
    facts = {"consent_scope": "training-of-released-models", "consent_id": "c1"}
    who = {"person": "subject:17", "set": "studio", "sha256": "7" * 64}
    person = row.model_copy(update=who | facts)
    describe_training([row, person], now=NOW)
    with pytest.raises(WeightRefused, match=why):
        describe_training([row, person.model_copy(update=lack)], now=NOW)


def test_a_record_tells_what_its_parents_saw() -> None:
    assert inherit(RENDERED, [RENDERED, RENDERED]) == RENDERED
    other = Training(data="2 photographs", consent_basis="2 consents")
    told = inherit(RENDERED, [RENDERED, other])
    assert told.data.startswith(RENDERED.data)
    assert told.data.endswith("through weights it was made from: 2 photographs")
    assert told.consent_basis.endswith("through weights it was made from: 2 consents")


@pytest.mark.parametrize("name", ["stylemix", "stylemix-mobile", "mdrn", "stylise"])
def test_what_is_shipped_here_saw_rendered_people_alone(name: str) -> None:
    assert load_card(name).training == RENDERED
