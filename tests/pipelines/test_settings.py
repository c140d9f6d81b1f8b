from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.settings import Settings, read_settings
from policies.errors import Malformed


def test_these_are_all_settings_and_none_switches_a_gate_off() -> None:
    # A new name here needs a reason why it cannot weaken a rule, a mark or a check.
    assert list(Settings.model_fields) == [
        "home",
        "organisation",
        "contact",
        "address",
        "organisation_type",
        "authority",
        "withdrawal_url",
        "dpia_ref",
        "log_origin",
        "database_url",
        "key_passphrase",
        "pkcs11_library",
        "pkcs11_token",
        "pkcs11_pin",
        "signer",
        "tsa_url",
        "threads",
        "swapper",
        "insightface_pack",
        "pack_match",
        "pack_mismatch",
    ]
    kinds = {field.annotation for field in Settings.model_fields.values()}
    assert bool not in kinds, "a switch would be one"


def test_defaults_need_no_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FACEWARRANT_HOME")
    monkeypatch.chdir(tmp_path)
    settings = read_settings()
    assert settings.home == tmp_path / ".facewarrant"
    assert (settings.swapper, settings.threads, settings.database_url) == ("geo", 2, "")


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FACEWARRANT_HOME", "~/there")
    monkeypatch.setenv("FACEWARRANT_THREADS", "5")
    monkeypatch.setenv("FACEWARRANT_PACK_MATCH", "0.9")
    settings = read_settings()
    assert settings.home == tmp_path / "there"
    assert (settings.threads, settings.pack_match) == (5, 0.9)


def test_no_secret_is_shown_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEWARRANT_KEY_PASSPHRASE", "correct horse battery")
    monkeypatch.setenv("FACEWARRANT_PKCS11_PIN", "998877")
    settings = read_settings()
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "horse" not in shown
        assert "998877" not in shown
    assert settings.pkcs11_pin is not None
    assert settings.pkcs11_pin.get_secret_value() == "998877"


def test_overrides_come_before_variables_and_none_is_no_override(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEWARRANT_THREADS", "5")
    settings = read_settings(home=tmp_path / "here", threads=None)
    assert (settings.home, settings.threads) == (tmp_path / "here", 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOME", "~nobody-has-this-name/x"),
        ("ORGANISATION", "x" * 65),
        ("CONTACT", "x" * 201),
        ("ADDRESS", "x" * 201),
        ("ORGANISATION_TYPE", "club"),
        ("AUTHORITY", "x" * 201),
        ("WITHDRAWAL_URL", "x" * 201),
        ("DPIA_REF", "x" * 201),
        ("LOG_ORIGIN", "has a space"),
        ("LOG_ORIGIN", "line\nbreak"),
        ("SIGNER", "none"),
        ("SIGNER", "key.pem"),
        ("SIGNER", "token:"),
        ("SIGNER", "token:" + "x" * 65),
        ("SIGNER", "unix:/run/signer"),
        ("SIGNER", "https://"),
        ("SIGNER", "https://a host"),
        ("THREADS", "many"),
        ("THREADS", "0"),
        ("THREADS", "65"),
        ("PACK_MATCH", "0"),
        ("PACK_MATCH", "near"),
        ("PACK_MATCH", "1.21"),  # there nearly everybody would be everybody
        ("PACK_MATCH", "inf"),
        ("PACK_MISMATCH", "1.36"),
        ("PACK_MISMATCH", "inf"),
        ("PACK_MISMATCH", "-1"),
        ("PACK_MISMATCH", "nan"),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"FACEWARRANT_{name}", value)
    with pytest.raises(Malformed, match=f"^FACEWARRANT_{name}: ") as refused:
        read_settings()
    assert refused.value.code == "MALFORMED"
    assert "README" in refused.value.mend


@pytest.mark.parametrize("name", ["FACEWARRANT_HOEM", "FACEWARRANT_SKIP_CONSENT", "facewarrant_x"])
def test_a_variable_that_is_no_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(Malformed, match=f"^{name} is no setting$") as refused:
        read_settings()
    assert "README" in refused.value.mend


def test_an_override_that_is_no_setting_is_refused() -> None:
    with pytest.raises(Malformed, match="FACEWARRANT_SKIP_WARRANT"):
        read_settings(skip_warrant=True)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "INSIGHTFACE_PACK", "THREADS", "KEY_PASSPHRASE", "PKCS11_LIBRARY"):
        monkeypatch.setenv(f"FACEWARRANT_{name}", "")
    settings = read_settings()
    assert settings.home == tmp_path / ".facewarrant", "never the current folder itself"
    assert settings.insightface_pack is None
    assert settings.key_passphrase is settings.pkcs11_library is None


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().threads = 9  # type: ignore[misc]
