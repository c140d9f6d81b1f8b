"""Who keeps the keys: file, passphrase or token; rotation loses nothing and is in the log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.deployment import Deployment, create, open_records
from pipelines.keyring import create_subject_keys, destroy, open_subject_keys, rotate
from pipelines.settings import Settings, read_settings
from policies.audit import ClockRollback
from policies.errors import Malformed
from policies.keyprovider import KeyDenied, KeyExposed, KeyGone, KeyUnavailable
from policies.subjectkeys import KeyUnknown

ROOT = Path(__file__).parents[2]
LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of these tests
PID, BOUND = "ps_" + "b" * 26, {"kind": "test"}


def clock() -> int:
    return 1_795_219_200


def said_of(entry: Any) -> tuple[str, str, str]:
    """What one entry of the log says of a key."""
    assert entry["kind"] == "key_event"
    return entry["event"], entry["role"], entry["kid"]


def said(at: Deployment) -> list[str]:
    """Every event of a key that the log holds."""
    return [e["event"] for e in at.archive.log.entries() if e["kind"] == "key_event"]


def test_rotating_wraps_every_key_anew_and_loses_nothing(at: Deployment, home: Any) -> None:
    keys, log = at.consents.keys, at.archive.log
    assert rotate(keys, log) == ("v2", 2)
    assert [said_of(entry) for entry in log.entries()[-2:]] == [
        ("rotating", "kek", "v1"),
        ("rotated", "kek", "v2"),
    ]
    for record_id in (home.source, home.target):
        consent = at.consents.read(record_id)
        assert keys.find(consent.record.subject.pid).kek_version == "v2"
        assert at.consents.template(consent.record)
    destroy(keys, "v1", log)
    assert [said_of(entry) for entry in log.entries()[-2:]] == [
        ("destroying", "kek", "v1"),
        ("destroyed", "kek", "v1"),
    ]
    assert at.consents.template(at.consents.read(home.source).record)
    assert keys.provider.standing("v1").state == "destroyed"
    log.check()
    with open_records(home.settings) as again:
        assert again.consents.template(again.consents.read(home.source).record)


def test_a_backup_wrapped_with_a_destroyed_version_opens_no_more(home: Any, tmp_path: Path) -> None:
    people, pid = home.path / "people-keys" / "people.db", home.pid(home.source)
    shutil.copy2(people, tmp_path / "backup.db")
    with open_records(home.settings) as at:
        rotate(at.consents.keys, at.archive.log)
        destroy(at.consents.keys, "v1", at.archive.log)
    shutil.copy2(tmp_path / "backup.db", people)
    with open_records(home.settings) as at, pytest.raises(KeyGone):
        at.consents.keys.salt(pid)


@pytest.mark.parametrize("version", ["v1", "v2", "v0", "", "../kek", "v99999999999"])
def test_what_is_current_or_unknown_is_not_destroyed(at: Deployment, version: str) -> None:
    with pytest.raises(KeyDenied):
        destroy(at.consents.keys, version, at.archive.log)
    assert "destroyed" not in said(at), "only what happened is logged as done"
    assert at.consents.keys.provider.version == "v1"


@pytest.mark.parametrize("version", ["v0", "", "../kek", "v99999999999", "\x1b[31m"])
def test_a_name_that_is_no_version_is_not_even_said(at: Deployment, version: str) -> None:
    with pytest.raises(KeyDenied):
        destroy(at.consents.keys, version, at.archive.log)
    assert said(at) == []


def test_with_the_clock_behind_no_key_changes(home: Any) -> None:
    """The log comes first: what it cannot hold does not happen."""
    kek, people = (home.path / "people-keys" / name for name in ("kek.json", "people.db"))
    with open_records(home.settings) as at:
        rotate(at.consents.keys, at.archive.log)
    before, pid = kek.read_bytes(), home.pid(home.source)
    assert people.exists()
    with open_records(home.settings, clock=lambda: clock() - 86_400 * 3650) as at:
        keys, log = at.consents.keys, at.archive.log
        for act in (lambda: rotate(keys, log), lambda: destroy(keys, "v1", log)):
            with pytest.raises(ClockRollback) as refused:
                act()
            assert refused.value.code == "CLOCK-ROLLBACK"
        assert keys.provider.version == "v2"
        assert keys.find(pid).kek_version == "v2"
        assert keys.provider.standing("v1").state == "kept"
        assert said(at) == ["rotating", "rotated"]
    assert kek.read_bytes() == before


def test_what_fails_half_way_has_been_said(at: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise KeyUnavailable("the token is away")

    keys, log = at.consents.keys, at.archive.log
    with monkeypatch.context() as broken:
        broken.setattr(type(keys), "rewrap", away)
        for act in (lambda: rotate(keys, log), lambda: destroy(keys, "v1", log)):
            with pytest.raises(KeyUnavailable):
                act()
    assert said(at) == ["rotating", "destroying"]
    rotate(keys, log)
    destroy(keys, "v1", log)
    assert said(at)[2:] == ["rotating", "rotated", "destroying", "destroyed"]


def test_a_home_sealed_by_a_passphrase_opens_with_it_alone(tmp_path: Path) -> None:
    sealed = read_settings(key_passphrase=PASSPHRASE)
    create(sealed)
    with open_records(sealed) as at:
        blob = at.consents.keys.seal(b"a template", pid=PID, bound=BOUND)
        assert rotate(at.consents.keys, at.archive.log) == ("v2", 1)
    with open_records(sealed) as at:
        assert at.consents.keys.open(blob, pid=PID, bound=BOUND) == b"a template"
    kek = (tmp_path / "home" / "people-keys" / "kek.json").read_bytes()
    assert b"kek-sealed" in kek
    assert PASSPHRASE.encode() not in kek
    for wrong in ("another horse battery staple", None):
        with pytest.raises(KeyDenied) as refused:
            open_records(read_settings(key_passphrase=wrong))
        assert refused.value.code == "KEY-DENIED"
        assert "horse" not in refused.value.diagnostics() + refused.value.message


def test_a_passphrase_that_is_too_short_seals_nothing(tmp_path: Path) -> None:
    words = "short"
    with pytest.raises(KeyDenied, match="characters") as refused:
        create_subject_keys(read_settings(key_passphrase=words), clock=clock)
    assert words not in refused.value.message
    assert not (tmp_path / "home" / "people-keys" / "kek.json").exists()


def test_a_passphrase_for_a_plain_file_is_refused(home: Any) -> None:
    with pytest.raises(KeyDenied, match="form"):
        open_records(home.settings.model_copy(update={"key_passphrase": _secret(PASSPHRASE)}))


def _secret(text: str) -> Any:
    return Settings(key_passphrase=text).key_passphrase  # type: ignore[arg-type]


def test_keys_are_made_once(home: Any) -> None:
    before = (home.path / "people-keys" / "kek.json").read_bytes()
    with pytest.raises(KeyDenied, match="there already"):
        create_subject_keys(home.settings, clock=clock)
    assert (home.path / "people-keys" / "kek.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "mode", "error"),
    [
        ("kek.json", 0o644, KeyExposed),
        ("people.db", 0o640, KeyExposed),
        ("kek.json", None, KeyUnavailable),
    ],
)
def test_keys_that_others_can_read_or_that_are_gone_open_nothing(
    home: Any, name: str, mode: int | None, error: type[Exception]
) -> None:
    path = home.path / "people-keys" / name
    path.unlink() if mode is None else path.chmod(mode)
    with pytest.raises(error):
        open_records(home.settings)


def test_an_empty_database_of_keys_opens_nobody(home: Any) -> None:
    """A lost database is not made again in silence: nothing that was sealed opens."""
    (home.path / "people-keys" / "people.db").unlink()
    with open_records(home.settings) as at, pytest.raises(KeyUnknown):
        at.consents.template(at.consents.read(home.source).record)


def test_a_token_needs_its_pin(tmp_path: Path) -> None:
    settings = read_settings(pkcs11_library=LIBRARY)
    for act in (create_subject_keys, open_subject_keys):
        with pytest.raises(Malformed, match="PIN") as refused:
            act(settings, clock=clock)
        assert "FACEWARRANT_PKCS11_PIN" in refused.value.mend


def test_a_token_whose_library_is_none_is_unavailable(tmp_path: Path) -> None:
    pytest.importorskip("pkcs11", reason="needs the extra 'hsm'")
    (tmp_path / "no-library.so").write_text("none")
    settings = read_settings(pkcs11_library=tmp_path / "no-library.so", pkcs11_pin="1234")
    with pytest.raises((KeyUnavailable, KeyDenied)) as refused:
        create_subject_keys(settings, clock=clock)
    assert "1234" not in refused.value.diagnostics()


DRIVER = '''
"""A home whose key-encryption keys lie in a token; says what it saw, in JSON."""
import json, pathlib, sys

from pipelines.demo import RENDERED
from pipelines.deployment import create, open_deployment, open_records
from pipelines.enrol import Enrolment
from pipelines.keyring import destroy, rotate
from pipelines.people import Scope, grant
from pipelines.settings import read_settings
from pipelines.subjects import erase_subject
from policies.errors import Error

seen = {}
settings = read_settings(threads=1)
create(settings)
demo = pathlib.Path(sys.argv[1])
views = Enrolment(tuple((demo / f"persona1_{n}.webp").read_bytes() for n in (1, 2)))
with open_deployment(settings) as at:
    scope = Scope(("bystander",), ("personal",), ("DE",))
    record_id = grant(views, scope, RENDERED, at=at).record_id
    keys, log = at.consents.keys, at.archive.log
    seen["provider"] = type(keys.provider).__name__
    seen["rotated"] = rotate(keys, log)
    destroy(keys, "v1", log)
    seen["opens"] = len(at.consents.template(at.consents.read(record_id).record))
with open_records(settings) as at:  # the same process again: the session before was ended
    record = at.consents.read(record_id).record
    seen["opens again"] = len(at.consents.template(record))
    receipt = erase_subject(record.subject.pid, at=at)
    seen["kek"] = receipt["kek"]["version"]
    seen["kinds"] = [entry["kind"] for entry in at.archive.log.entries()]
for name, wrong in (("pin", {"pkcs11_pin": "9999"}), ("token", {"pkcs11_token": "another"})):
    try:
        open_records(read_settings(**wrong)).close()
    except Error as error:
        seen[name] = [error.code, error.message]
seen["files"] = sorted(path.name for path in (settings.home / "people-keys").iterdir())
print(json.dumps(seen))
'''


@pytest.mark.skipif(not LIBRARY.exists(), reason="SoftHSM is not installed: apt install softhsm2")
def test_a_home_with_a_token_keeps_no_key_in_a_file(tmp_path: Path) -> None:
    """In a process of its own: the library reads its settings once in each."""
    pytest.importorskip("pkcs11", reason="needs the extra 'hsm'")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(
        f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n"
    )
    environment = {
        **os.environ,
        "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "FACEWARRANT_PKCS11_LIBRARY": str(LIBRARY),
        "FACEWARRANT_PKCS11_PIN": "1234",
    }
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "facewarrant",
         "--pin", "1234", "--so-pin", "5678"],
        check=True, capture_output=True, timeout=60, env=environment,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(ROOT / "docs" / "demo")],
        capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["provider"] == "TokenKeys"
    assert seen["rotated"] == ["v2", 1]
    assert seen["opens"] == seen["opens again"] >= 512
    assert seen["kek"] == "v2"
    assert seen["kinds"].count("key_event") == 4, "each is said before and after"
    assert seen["kinds"][-1] == "erasure"
    assert seen["pin"][0] == "KEY-DENIED"
    assert seen["token"][0] == "KEY-UNAVAILABLE"
    assert "9999" not in str(seen["pin"])
    assert seen["files"] == ["people.db"], "no key-encryption key is in a file"
