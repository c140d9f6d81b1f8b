from __future__ import annotations

from typing import Any

import pytest

from policies.canonical import canonical, digest, parse
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.house import shipped_house
from policies.keys import SigningKey
from policies.warrant import (
    WARRANT_SECONDS,
    Warrant,
    WarrantInvalid,
    read_warrant,
    verify_issuer,
    verify_warrant,
)

NOW = 1_795_219_200
DESK = SigningKey.from_seed(b"w" * 32)
POLICY = shipped_house([sha256_hex(b"notice")]).sha256


@pytest.fixture
def warrant(office: Any) -> Warrant:
    request = office.swap_request()
    issued: Warrant = office.desk.admit(request, office.measured(request))
    return issued


def resigned(warrant: Warrant, key: SigningKey = DESK, **changes: Any) -> Warrant:
    body = warrant.body() | changes
    return read_warrant(canonical(body | {"sig": key.sign("warrant", body)}))


def refuse(warrant: Warrant, code: str, *, now: int = NOW) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        verify_warrant(warrant, key=DESK.public, policy_sha256=POLICY, now=now)
    assert caught.value.code == code
    assert caught.value.mend


def test_round_trip(warrant: Warrant) -> None:
    assert read_warrant(warrant.encode()) == warrant
    assert warrant.sha256 == digest(parse(warrant.encode()))
    assert "sig" not in warrant.body()
    verify_warrant(warrant, key=DESK.public, policy_sha256=POLICY, now=NOW)


def test_the_window_is_ten_minutes(warrant: Warrant) -> None:
    verify_warrant(warrant, key=DESK.public, policy_sha256=POLICY, now=NOW + WARRANT_SECONDS - 1)
    refuse(warrant, "WARRANT-EXPIRED", now=NOW + WARRANT_SECONDS)
    refuse(warrant, "WARRANT-EXPIRED", now=NOW - 1)
    for now, words in ((NOW + WARRANT_SECONDS, "has expired"), (NOW - 1, "does not hold yet")):
        with pytest.raises(WarrantInvalid, match=words):
            verify_warrant(warrant, key=DESK.public, policy_sha256=POLICY, now=now)


def test_other_rules(warrant: Warrant) -> None:
    assert warrant.policy_sha256 == POLICY
    refuse(resigned(warrant, policy_sha256="0" * 64), "WARRANT-OTHER-POLICY")


def test_another_key_or_kind_of_signature(warrant: Warrant, office: Any) -> None:
    refuse(resigned(warrant, SigningKey.from_seed(b"x" * 32)), "WARRANT-FORGED")
    refuse(resigned(warrant, office.log_key), "WARRANT-FORGED")
    body = warrant.body()
    for kind in ("consent", "consent-event", "warrant "):
        moved = warrant.model_copy(update={"sig": DESK.sign(kind, body)})
        refuse(moved, "WARRANT-FORGED")


@pytest.mark.parametrize(
    "changes",
    [
        {"source_sha256": "0" * 64},
        {"target_sha256": "0" * 64},
        {"expires_at": NOW + 10**6},
        {"warrant_id": "00000000-0000-4000-8000-000000000000"},
        {"people": ()},
        {"models": {"other": "0" * 64}},
        {"kid": "0" * 16},
        {"log_size": 10**6},
    ],
    ids=repr,
)
def test_an_edited_warrant_is_forged(warrant: Warrant, changes: dict[str, Any]) -> None:
    refuse(warrant.model_copy(update=changes), "WARRANT-FORGED")


def test_the_model_list_cannot_be_changed_in_place(warrant: Warrant) -> None:
    dict.__setitem__(warrant.models, "other", "0" * 64)  # type: ignore[index, arg-type]
    refuse(warrant, "WARRANT-FORGED")


def test_every_byte_counts(warrant: Warrant) -> None:
    data = warrant.encode()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 7
        with pytest.raises(Error) as caught:
            verify_warrant(
                read_warrant(bytes(flipped)), key=DESK.public, policy_sha256=POLICY, now=NOW
            )
        assert caught.value.code in ("MALFORMED", "WARRANT-FORGED")


def test_a_lookalike_is_not_a_warrant(warrant: Warrant) -> None:
    class Lookalike(Warrant):
        def body(self) -> dict[str, Any]:
            return warrant.body()

    forged = Lookalike.model_validate(
        warrant.model_dump(by_alias=True) | {"source_sha256": "0" * 64}, strict=False
    )
    with pytest.raises(WarrantInvalid) as caught:
        verify_issuer(forged, key=DESK.public)
    assert caught.value.code == "WARRANT-FORGED"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "facewarrant/warrant/2"},
        {"people": []},
        {"expires_at": None},
        {"expires_at": 1.5},
        {"surprise": True},
        {"sig": "00"},
        {"log_size": 0},
        {"decision_index": -1},
    ],
    ids=repr,
)
def test_what_is_not_a_warrant(warrant: Warrant, changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed) as caught:
        read_warrant(canonical(warrant.body() | {"sig": warrant.sig} | changes)
                     if changes.get("expires_at") != 1.5 else b'{"expires_at":1.5}')  # fmt: skip
    assert caught.value.code == "MALFORMED"


def test_a_code_of_its_own_or_the_family_code() -> None:
    assert WarrantInvalid("x").code == "WARRANT-INVALID"
    assert WarrantInvalid("x", code="WARRANT-SPENT").code == "WARRANT-SPENT"
    assert WarrantInvalid.code == "WARRANT-INVALID"
