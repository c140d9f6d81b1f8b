from __future__ import annotations

import json
from pathlib import Path

import pytest

import pipelines.demo
from pipelines.demo import Demo, run_demo, tamper
from pipelines.deployment import open_records
from pipelines.jobs import FileUnreadable
from pipelines.settings import read_settings
from provenance.c2pa import read_manifest
from provenance.media import decode

STEPS = [
    "make keys, certificates, database",
    "load face models",
    "consent of the source_identity",
    "consent of the target_body",
    "Dagster job: admitted, released, scanned",
    "verify the released picture",
    "strip all metadata, verify the copy",
    "edit the picture, keep its manifest, verify",
    "the source withdraws consent",
    "the same request, and a new one like it",
    "verify the released picture again",
]


def test_every_step_happened_and_was_told(demo: Demo, told: list[str]) -> None:
    assert [step.name for step in demo.steps] == STEPS
    for name in STEPS:
        assert f"{name} ..." in told
    assert any("mark, label, sign, read back, log" in line for line in told)
    assert 0 < sum(step.seconds for step in demo.steps) <= demo.seconds


def test_the_reports_are_what_the_demo_promises(demo: Demo) -> None:
    assert {name: (r.verdict, r.consent) for name, r in demo.reports.items()} == {
        "released": ("authentic", "current"),
        "stripped": ("recovered", "current"),
        "withdrawn": ("authentic", "withdrawn"),
    }
    assert demo.tampered is not None
    assert demo.tampered.code == "TAMPERED"
    assert demo.refusal is not None
    assert (demo.refusal.status, demo.refusal.codes) == ("refused", ("CONSENT-STATUS",))


def test_the_files_are_there(demo: Demo) -> None:
    assert decode((demo.out / "released.webp").read_bytes()).mime == "image/webp"
    assert decode((demo.out / "stripped.jpg").read_bytes()).mime == "image/jpeg"
    assert demo.page.stat().st_mode & 0o777 == 0o644


def test_what_it_tells_as_json_is_json(demo: Demo) -> None:
    told = json.loads(json.dumps(demo.as_json()))
    assert [step["name"] for step in told["steps"]] == STEPS
    assert told["release"]["manifest_id"] == demo.reports["released"].manifest_id


def test_its_people_stay_in_its_own_database(demo: Demo) -> None:
    with open_records(read_settings(home=demo.out / "home")) as at:
        assert len(at.consents.record_ids()) == 2


def test_a_database_of_the_operator_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):
        pass

    def look(settings: object) -> None:
        assert settings.database_url == ""  # type: ignore[attr-defined]
        assert settings.pkcs11_library is settings.key_passphrase is None  # type: ignore[attr-defined]
        raise Seen

    monkeypatch.setenv("FACEWARRANT_DATABASE_URL", f"sqlite:///{tmp_path / 'real.db'}")
    monkeypatch.setenv("FACEWARRANT_PKCS11_LIBRARY", "/a/token/of/the/operator.so")
    monkeypatch.setenv("FACEWARRANT_KEY_PASSPHRASE", "the operator's own words")
    monkeypatch.setattr(pipelines.demo, "create", look)
    with pytest.raises(Seen):
        run_demo(tmp_path / "out", progress=lambda _: None)
    assert not (tmp_path / "real.db").exists()


def test_a_tampered_copy_keeps_its_manifest_and_changes_its_picture(demo: Demo) -> None:
    data = (demo.out / "released.webp").read_bytes()
    forged = tamper(data)
    assert (demo.out / "tampered.webp").read_bytes() == forged
    assert (decode(forged).frame != decode(data).frame).any()
    with open_records(read_settings(home=demo.out / "home")) as at:
        before, after = (read_manifest(d, "image/webp", anchors=at.anchors) for d in (data, forged))
    assert (before.verdict, after.verdict) == ("trusted", "invalid")
    assert after.manifest_id == before.manifest_id


@pytest.mark.parametrize("where", ["file", "file/below", "full", "home"])
def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    # A real deployment that happens to lie where a demo would put its own.
    (tmp_path / "home" / "home" / "keys").mkdir(parents=True)
    (tmp_path / "home" / "home" / "keys" / "controller.pem").write_text("mine")
    with pytest.raises(FileUnreadable) as refused:
        run_demo(tmp_path / where, progress=lambda _: None)
    assert refused.value.code == "FILE-UNREADABLE"
    assert "--out" in refused.value.mend
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    assert (tmp_path / "home" / "home" / "keys" / "controller.pem").read_text() == "mine"


def test_an_earlier_demo_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(_settings: object) -> None:
        raise Stop

    monkeypatch.setattr(pipelines.demo, "create", stop)
    for _ in range(2):
        with pytest.raises(Stop):
            run_demo(tmp_path / "out", progress=lambda _: None)
        assert not (tmp_path / "out" / "old").exists()
        (tmp_path / "out" / "old").write_text("of an earlier demo")


def test_without_the_rendered_people_it_says_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.demo, "PICTURES", tmp_path / "none")
    with pytest.raises(FileUnreadable, match="docs/demo") as refused:
        run_demo(tmp_path / "out", progress=lambda _: None)
    assert "clone" in refused.value.mend
    assert not (tmp_path / "out").exists()
