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
        "log_origin",
        "database_url",
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
        ("LOG_ORIGIN", "has a space"),
        ("LOG_ORIGIN", "line\nbreak"),
        ("THREADS", "many"),
        ("THREADS", "0"),
        ("THREADS", "65"),
        ("PACK_MATCH", "0"),
        ("PACK_MATCH", "near"),
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
    for name in ("HOME", "INSIGHTFACE_PACK", "THREADS"):
        monkeypatch.setenv(f"FACEWARRANT_{name}", "")
    settings = read_settings()
    assert settings.home == tmp_path / ".facewarrant", "never the current folder itself"
    assert settings.insightface_pack is None


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().threads = 9  # type: ignore[misc]
