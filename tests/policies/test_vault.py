from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.vault import SealedTemplate, TemplateUnreadable, Vault

VAULT = Vault(b"k" * 32)
BINDING = {"record_id": "r1", "model_sha256": "m1"}
SEALED = VAULT.seal(b"template", **BINDING)


def refuse(sealed: SealedTemplate, vault: Vault = VAULT, **binding: str) -> None:
    with pytest.raises(TemplateUnreadable) as caught:
        vault.open(sealed, **(BINDING | binding))
    assert caught.value.code == "TEMPLATE-UNREADABLE"


def test_round_trip() -> None:
    assert VAULT.open(SEALED, **BINDING) == b"template"


def test_the_template_is_not_in_what_is_stored() -> None:
    assert b"template" not in SEALED.ciphertext + SEALED.wrapped_key
    assert SEALED != VAULT.seal(b"template", **BINDING)


def test_moved_to_another_record_or_model() -> None:
    refuse(SEALED, record_id="r2")
    refuse(SEALED, model_sha256="m2")


def test_another_vault_key_or_data_key() -> None:
    refuse(SEALED, Vault(b"x" * 32))
    refuse(replace(SEALED, wrapped_key=VAULT.seal(b"other", **BINDING).wrapped_key))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.sampled_from(["wrapped_key", "ciphertext"]), st.integers(0, 35), st.integers(1, 255))
def test_any_changed_byte(name: str, at: int, mask: int) -> None:
    spoiled = bytearray(getattr(SEALED, name))
    spoiled[at] ^= mask
    refuse(replace(SEALED, **{name: bytes(spoiled)}))


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_cut_bytes(length: int) -> None:
    refuse(replace(SEALED, ciphertext=SEALED.ciphertext[:length]))
    refuse(replace(SEALED, wrapped_key=SEALED.wrapped_key[:length]))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_vault_key_has_32_bytes(length: int) -> None:
    with pytest.raises(TemplateUnreadable):
        Vault(b"k" * length)


def test_the_key_is_not_printed() -> None:
    assert "kkk" not in repr(VAULT)


def test_randomness_is_a_parameter() -> None:
    fixed = Vault(b"k" * 32, lambda count: b"\x01" * count)
    assert fixed.seal(b"a", **BINDING) == fixed.seal(b"a", **BINDING)
