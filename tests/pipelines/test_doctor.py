from __future__ import annotations

import importlib
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import generator.weights
from generator.errors import WeightRefused
from pipelines import doctor
from pipelines.deployment import create, open_records
from pipelines.doctor import Finding, examine
from pipelines.mark_keys import name_mark_key
from pipelines.settings import read_settings
from policies.law import LawBook
from policies.tables import ENTRY

PURPOSES = """\
[[purpose]]
id = "acme:loyalty_avatars"
title = "Avatars for members"
explain = "Your face on the avatar that only you see in our shop."
"""


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def about(words: str, found: list[Finding] | None = None) -> Finding:
    """The one finding that speaks of `words`."""
    [finding] = [f for f in found or examine(read_settings()) if words in f.words]
    return finding


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """`quick("_home")`: run only one of the checks."""

    def only(name: str, **settings: object) -> list[Finding]:
        return doctor._guard(getattr(doctor, name), read_settings(**settings))

    return only


def test_without_a_home_everything_else_is_still_checked(tmp_path: Path) -> None:
    found = examine(read_settings())
    assert {f.state for f in found} == {"holds", "warns"}
    [warning] = [f for f in found if f.state == "warns"]
    assert (warning.words, warning.mend) == (
        f"{tmp_path / 'home'} is not set up yet",
        "run 'facewarrant init'",
    )
    for name in ("cv2", "numpy", "onnxruntime", "insightface", "c2pa", "torch", "timm"):
        assert any(f.words.startswith(name) for f in found), name
    models = [f for f in found if f.words.startswith("model ")]
    assert len(models) == len(generator.weights.weight_names()) >= 4
    assert all("as on its card" in f.words for f in models)
    assert not (tmp_path / "home").exists(), "looking makes nothing"


def test_a_home_that_is_whole_holds(home: Any, quick: Callable[..., list[Finding]]) -> None:
    found = quick("_home", dpia_ref="DPIA 2026-3")
    assert [f.state for f in found] == ["holds"] * 6
    assert "keys private" in found[0].words
    assert "5 entries lead to its root" in found[1].words, "two consents in two steps; the policy"
    assert found[2].words.endswith(" writes, 1 of 4 are read")
    assert "2 of 2 consents verified" in found[3].words
    assert "0 purposes and forbids of the house" in found[4].words
    assert found[5].words == "0 people asked never to be swapped; the list can be read"


def test_a_full_ring_of_watermark_keys_is_a_warning(
    home: Any, quick: Callable[..., list[Finding]]
) -> None:
    path = home.path / "keys" / "watermark.key"
    path.write_bytes(path.read_bytes() + b"1" * 32 + b"2" * 32 + b"3" * 32)
    [found] = [f for f in quick("_home", dpia_ref="DPIA 2026-3") if f.state != "holds"]
    assert (found.state, "4 of 4 are read" in found.words) == ("warns", True)
    assert f"destroy-watermark {name_mark_key(b'3' * 32)}" in found.mend


def test_the_local_authority_is_a_warning_and_one_outside_is_none(
    home: Any, quick: Callable[..., list[Finding]]
) -> None:
    found = quick("_certificates")
    assert [f.state for f in found] == ["warns", "holds", "holds"]
    assert "FACEWARRANT_TSA_URL" in found[0].mend
    assert "signing certificate is good for" in found[1].words
    assert "time-stamping authority is good for" in found[2].words
    found = quick("_certificates", tsa_url="https://tsa.test/")
    assert [f.state for f in found] == ["holds", "holds"]
    assert "https://tsa.test/" in found[0].words


def test_without_a_home_there_is_no_certificate_to_look_at(
    quick: Callable[..., list[Finding]],
) -> None:
    assert quick("_certificates") == []


def test_without_an_impact_assessment_it_warns(
    home: Any, quick: Callable[..., list[Finding]]
) -> None:
    [warning] = [f for f in quick("_home") if f.state == "warns"]
    assert "GDPR Art. 35" in warning.words
    assert "FACEWARRANT_DPIA_REF" in warning.mend


def test_rules_of_law_that_nobody_looked_at_for_long_warn(
    home: Any, quick: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LawBook, "stale", lambda _self, *, on: ("GDPR-9", "EU-AIA-50"))
    [warning] = [f for f in quick("_home", dpia_ref="x") if f.state == "warns"]
    assert warning.words.startswith("2 rules of law")
    assert "facewarrant law check" in warning.mend


def test_the_purposes_of_the_house_are_counted_and_a_broken_policy_fails(
    home: Any, quick: Callable[..., list[Finding]]
) -> None:
    (home.path / "policy").mkdir()
    policy = home.path / "policy" / "purposes.toml"
    policy.write_text(PURPOSES)
    assert "1 purposes and forbids of the house" in about("of the house", quick("_home")).words
    policy.write_text("[[[")
    failed = quick("_home")[-1]
    assert (failed.state, "HOUSE-INVALID" in failed.words) == ("fails", True)


def test_a_list_of_opt_outs_that_cannot_be_read_fails(
    home: Any, quick: Callable[..., list[Finding]]
) -> None:
    with open_records(home.settings) as at:
        entry = at.optouts.add(b"vector", model_sha256="0" * 64, pid="ps_" + "a" * 26)
    assert about("1 people asked never", quick("_home")).state == "holds"
    connection = sqlite3.connect(home.path / "facewarrant.db")
    connection.execute("delete from opt_out where entry_id = ?", (entry,))
    connection.commit()
    connection.close()
    failed = quick("_home")[-1]
    assert failed.state == "fails"
    assert "OPT-OUTS-UNREADABLE" in failed.words


@pytest.mark.parametrize("damage", ["missing", "exposed"])
def test_a_key_encryption_key_that_is_not_as_it_must_be_fails(
    home: Any, quick: Callable[..., list[Finding]], damage: str
) -> None:
    path = home.path / "people-keys" / "kek.json"
    path.unlink() if damage == "missing" else path.chmod(0o644)
    failed = quick("_home")[-1]
    assert failed.state == "fails"
    assert ("KEY-UNAVAILABLE" if damage == "missing" else "KEY-EXPOSED") in failed.words


def test_an_exposed_key_fails(home: Any, quick: Callable[..., list[Finding]]) -> None:
    (home.path / "keys" / "log.pem").chmod(0o640)
    [finding] = quick("_home")
    assert finding.state == "fails"
    assert "KEY-FILE-REFUSED" in finding.words
    assert "chmod 600" in finding.mend


def test_a_certificate_soon_to_end_warns_and_an_ended_one_fails(
    tmp_path: Path, quick: Callable[..., list[Finding]]
) -> None:
    for days_ago in (350, 400):
        settings = {"home": tmp_path / str(days_ago)}
        then = int(datetime.now(UTC).timestamp()) - days_ago * 86_400
        create(read_settings(**settings), clock=lambda then=then: then)
        finding = quick("_certificates", **settings)[1]
        assert (finding.state, "renew" in finding.mend) == ("warns", True)
        assert f"ends in {364 - days_ago} days" in finding.words
        failed = [f for f in quick("_home", **settings) if f.state == "fails"]
        assert bool(failed) == (days_ago > 365)


def test_a_changed_log_fails(home: Any, quick: Callable[..., list[Finding]]) -> None:
    connection = sqlite3.connect(home.path / "facewarrant.db")
    connection.execute(f"drop trigger {ENTRY.name}_delete")
    connection.execute(f"delete from {ENTRY.name} where i = 1")  # noqa: S608 - our own name
    connection.commit()
    connection.close()
    found = quick("_home")
    assert found[-1].state == "fails"
    assert "LOG-TAMPERED" in found[-1].words


@pytest.mark.parametrize("error", [ImportError("libGL.so.1"), OSError("no"), RuntimeError("nms")])
def test_a_library_that_does_not_load_is_named_with_its_mend(
    monkeypatch: pytest.MonkeyPatch, quick: Callable[..., list[Finding]], error: Exception
) -> None:
    real = importlib.import_module

    def broken(name: str, *rest: Any) -> Any:
        if name in ("cv2", "timm", "c2pa"):
            raise error
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", broken)
    found = quick("_libraries")
    failed = {f.words.split()[0]: f for f in found if f.state == "fails"}
    assert set(failed) == {"cv2", "timm", "c2pa"}
    assert str(error) in failed["cv2"].words
    assert "libgl1" in failed["cv2"].mend
    assert "constraints.txt" in failed["timm"].mend
    assert "make setup" in failed["c2pa"].mend
    assert any(f.words.startswith("numpy") and f.state == "holds" for f in found)


def test_a_changed_weight_file_fails(
    monkeypatch: pytest.MonkeyPatch, quick: Callable[..., list[Finding]], tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(generator.weights.MODELS_FOLDER, folder)
    real = generator.weights.read_weight
    monkeypatch.setattr(generator.weights, "read_weight", lambda name: real(name, folder))
    assert {f.state for f in quick("_models")} == {"holds"}
    file = folder / generator.weights.load_card("idnet", folder).file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    finding = quick("_models")[-1]
    assert finding.state == "fails"
    assert "WEIGHT-REFUSED" in finding.words
    with pytest.raises(WeightRefused):
        real("idnet", folder)


def test_the_chosen_swapper_and_pack_are_checked(
    quick: Callable[..., list[Finding]], tmp_path: Path
) -> None:
    assert [f.words for f in quick("_choices")] == ["swapper geo"]
    [unknown] = quick("_choices", swapper="nope")
    assert (unknown.state, "UNKNOWN-SWAPPER" in unknown.words) == ("fails", True)
    no_thresholds = quick("_choices", insightface_pack=tmp_path)[-1]
    assert no_thresholds.state == "fails"
    assert "FACEWARRANT_PACK_MATCH" in no_thresholds.mend


def test_a_full_disk_warns(
    monkeypatch: pytest.MonkeyPatch, quick: Callable[..., list[Finding]]
) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Usage:
        asked.append(folder)
        return Usage(10**10, 10**10, 10**8)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    [finding] = quick("_disk")
    assert (finding.state, finding.mend) == ("warns", "free some space")
    assert asked[0].is_dir(), "a home that is not there yet is looked for further up"


def test_a_check_that_breaks_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, quick: Callable[..., list[Finding]]
) -> None:
    def broken(_folder: Path) -> Usage:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr(shutil, "disk_usage", broken)
    [finding] = quick("_disk")
    assert finding.state == "fails"
    assert finding.words == "the check of disk failed: ZeroDivisionError: unforeseen"


def test_the_accelerator_is_described(quick: Callable[..., list[Finding]]) -> None:
    [finding] = quick("_accelerator")
    assert finding.state == "holds"
    assert "CPU" in finding.words
    assert about("CPU", [finding]) is finding


def break_consent(home: Any) -> None:
    """Cut the last event of the source's consent off."""
    connection = sqlite3.connect(home.path / "facewarrant.db")
    connection.execute("drop trigger consent_event_delete")
    connection.execute("delete from consent_event where seq = 1 and record_id = ?", (home.source,))
    connection.commit()
    connection.close()


def test_a_broken_consent_fails_by_its_id(home: Any, quick: Callable[..., list[Finding]]) -> None:
    break_consent(home)
    [failed] = [f for f in quick("_home") if f.state == "fails"]
    assert home.source in failed.words
    assert failed.mend


def test_a_home_open_to_others_fails(home: Any, quick: Callable[..., list[Finding]]) -> None:
    home.path.chmod(0o750)
    [failed] = [f for f in quick("_home") if f.state == "fails"]
    assert failed.mend == f"chmod 700 {home.path}"


def test_a_half_finished_home_is_said(home: Any, quick: Callable[..., list[Finding]]) -> None:
    shutil.rmtree(home.path / "pki")
    [failed] = quick("_home")
    assert (failed.state, "set up by half" in failed.words) == ("fails", True)
