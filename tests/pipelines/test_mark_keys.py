"""The ring of watermark keys: the newest writes, all are read, and every change is in the log."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from pipelines.deployment import create, open_records
from pipelines.keyfiles import KeyFileRefused
from pipelines.mark_keys import (
    create_mark_keys,
    destroy_mark_key,
    name_mark_key,
    read_mark_keys,
    rotate_mark_key,
)
from pipelines.settings import read_settings
from policies.audit import ClockRollback
from policies.errors import StoreUnavailable
from provenance.media import decode
from provenance.watermark import issue_payload

KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ring of a home lies that has nothing else."""
    return tmp_path / "home" / "keys" / "watermark.key"


class Log:
    """Keeps what is said; refuses where it is told to."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.said: list[tuple[str, str, str]] = []
        self._refuses = refuses

    def append(self, kind: str, body: dict[str, str]) -> None:
        assert kind == "key_event"
        if self._refuses:
            raise ClockRollback("the clock is behind the log")
        self.said.append((body["event"], body["role"], body["kid"]))


def ring_of(*first_bytes: int) -> tuple[bytes, ...]:
    return tuple(bytes([first]) * 32 for first in first_bytes)


def test_the_first_key_is_private_and_made_once(path: Path) -> None:
    create_mark_keys(read_settings())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [key] = read_mark_keys(read_settings())
    assert path.read_bytes() == key
    with pytest.raises(KeyFileRefused, match="there already"):
        create_mark_keys(read_settings())
    assert path.read_bytes() == key


def test_a_new_key_writes_and_the_older_ones_stay(path: Path) -> None:
    create_mark_keys(read_settings(), random=lambda _: ring_of(1)[0])
    log: Any = Log()
    for number in (2, 3, 4):
        names = rotate_mark_key(read_settings(), log, random=lambda n, b=number: bytes([b]) * n)
        assert names[0] == name_mark_key(bytes([number]) * 32)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ring = ring_of(4, 3, 2, 1)
    assert read_mark_keys(read_settings()) == ring
    assert names == [name_mark_key(key) for key in ring]
    assert log.said[-2:] == [
        ("rotating", "watermark", name_mark_key(ring[1])),
        ("rotated", "watermark", name_mark_key(ring[0])),
    ]
    assert len(log.said) == 6


def test_a_fifth_key_is_refused_with_what_it_would_cost(path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"".join(ring_of(4, 3, 2, 1)))
    path.chmod(0o600)
    log: Any = Log()
    with pytest.raises(KeyFileRefused, match="full: 4 keys") as refused:
        rotate_mark_key(read_settings(), log)
    oldest = name_mark_key(ring_of(1)[0])
    assert f"destroy-watermark {oldest}" in refused.value.mend
    assert "cannot be read afterwards" in refused.value.mend
    assert (log.said, path.read_bytes()) == ([], b"".join(ring_of(4, 3, 2, 1)))
    assert destroy_mark_key(read_settings(), oldest, log) == [
        name_mark_key(key) for key in ring_of(4, 3, 2)
    ]
    assert log.said == [("destroying", "watermark", oldest), ("destroyed", "watermark", oldest)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(rotate_mark_key(read_settings(), log)) == 4


def test_any_old_key_can_be_destroyed_but_not_the_one_that_writes(path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"".join(ring_of(3, 2, 1)))
    path.chmod(0o600)
    log: Any = Log()
    newest, middle, _ = (name_mark_key(key) for key in ring_of(3, 2, 1))
    with pytest.raises(KeyFileRefused, match="the one that writes") as refused:
        destroy_mark_key(read_settings(), newest, log)
    assert "rotate-watermark" in refused.value.mend
    for name in ("", "0" * 16, newest[:-1], "\x1b[31m"):
        with pytest.raises(KeyFileRefused, match="there is no watermark key") as refused:
            destroy_mark_key(read_settings(), name, log)
        assert "\x1b" not in refused.value.message
    assert log.said == []
    destroy_mark_key(read_settings(), middle, log)
    assert read_mark_keys(read_settings()) == ring_of(3, 1)


@pytest.mark.parametrize(
    "data",
    [b"", KEY[:31], KEY + b"\x00", KEY * 2, b"".join(ring_of(1, 2, 3, 4, 5))],
    ids=["empty", "short", "one byte more", "a key twice", "five keys"],
)
def test_what_is_no_ring_is_refused(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(data)
    path.chmod(0o600)
    log: Any = Log()
    acts = (
        lambda: read_mark_keys(read_settings()),
        lambda: rotate_mark_key(read_settings(), log),
        lambda: destroy_mark_key(read_settings(), "0" * 16, log),
    )
    for act in acts:
        with pytest.raises(KeyFileRefused, match="is no ring") as refused:
            act()
        assert "backup" in refused.value.mend
    assert (log.said, path.read_bytes()) == ([], data)


def test_a_name_gives_nothing_of_the_key_away() -> None:
    name = name_mark_key(KEY)
    assert (len(name), name) == (16, name_mark_key(bytes(KEY)))
    assert name not in KEY.hex()
    assert name != name_mark_key(KEY[::-1])


def test_what_the_log_refuses_does_not_happen(path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_bytes(b"".join(ring_of(2, 1)))
    path.chmod(0o600)
    log: Any = Log(refuses=True)
    with pytest.raises(ClockRollback):
        rotate_mark_key(read_settings(), log)
    with pytest.raises(ClockRollback):
        destroy_mark_key(read_settings(), name_mark_key(ring_of(1)[0]), log)
    assert read_mark_keys(read_settings()) == ring_of(2, 1)


def test_what_fails_half_way_has_been_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_mark_keys(read_settings())
    log: Any = Log()

    def full(*_given: object, **_named: object) -> None:
        raise StoreUnavailable("no space left")

    monkeypatch.setattr("pipelines.mark_keys.replace_file", full)
    with pytest.raises(StoreUnavailable):
        rotate_mark_key(read_settings(), log)
    assert [event for event, *_ in log.said] == ["rotating"]
    assert len(read_mark_keys(read_settings())) == 1


def test_what_was_marked_before_a_rotation_is_read_after_it_until_its_key_goes(
    tmp_path: Path, demo_picture: Any, active_warrant: Any
) -> None:
    settings = read_settings()
    create(settings)
    frame = decode(demo_picture("persona1_0")).frame
    payload = issue_payload(active_warrant(), rng=lambda n: b"\x07" * n)
    with open_records(settings) as at:
        marked = at.watermark.embed(frame, payload)
        names = rotate_mark_key(settings, at.archive.log)
        at.archive.log.check()
    with open_records(settings) as at:
        found = at.watermark.detect(marked, thorough=False)
        assert found is not None
        assert (found.mark_id, found.key_index) == (payload.mark_id, 1)
        assert at.watermark.detect(at.watermark.embed(frame, payload)).key_index == 0
        destroy_mark_key(settings, names[1], at.archive.log)
    with open_records(settings) as at:
        assert at.watermark.detect(marked, thorough=False) is None
        events = [e for e in at.archive.log.entries() if e["kind"] == "key_event"]
        assert [e["role"] for e in events] == ["watermark"] * 4
