"""A clip can cost its own reading and nothing else; a worker's answers have caps."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from provenance.clip import open_clip
from provenance.clip_exchange import (
    ANSWER,
    COUNTED,
    END,
    FRAME,
    MAX_FORM_BYTES,
    PACKET,
    REASONS,
    REFUSED,
    SURVEYED,
    Request,
)
from provenance.clip_sandbox import DEFAULT_SANDBOX, MAX_PACKET_BYTES, Sandbox, ask
from provenance.errors import MediaError
from provenance.process import Confinement, Worker
from provenance.video import RELEASE_LIMITS

SURVEY = Request("survey", 0)


def told(path: Path, python: str, **more: Any) -> list[Any]:
    return list(ask(path, SURVEY, RELEASE_LIMITS, Sandbox(python=python, **more)))


def code_of(path: Path, python: str, **more: Any) -> str:
    with pytest.raises(MediaError) as caught:
        told(path, python, **more)
    return getattr(caught.value, "reason", caught.value.code)


def words(status: int, first: int = 0, second: int = 0, *, magic: bytes = b"FWC1") -> bytes:
    return ANSWER.pack(magic, status, 7, 8, first, second)


class Stage:
    """Stands in for the interpreter: greets as a worker does, then does what it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clip = folder / "clip"
        self.clip.write_bytes(b"a clip")

    def saying(self, answer: bytes, then: str = "cat >/dev/null") -> str:
        (self._folder / "answer").write_bytes(answer)
        file = self._folder / "python"
        lines = ["#!/bin/sh", "printf 'FWW1\\000'", f"cat '{self._folder}/answer'", then, ""]
        file.write_text("\n".join(lines))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return str(file)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_answers_are_passed_on_until_the_end(stage: Stage) -> None:
    said = words(COUNTED, 1) + words(PACKET, 3, 20) + b"abc" + words(SURVEYED, 2) + b"de"
    got = told(stage.clip, stage.saying(said + words(FRAME, 16, 20) + bytes(960) + words(END)))
    assert [answer[:4] for answer in got] == [
        (COUNTED, 7, 8, 1),
        (PACKET, 7, 8, 20),
        (SURVEYED, 7, 8, 0),
        (FRAME, 7, 8, 0),
    ]
    assert [answer.content for answer in got[:3]] == [b"", b"abc", b"de"]
    assert got[3].content.shape == (16, 20, 3)


@pytest.mark.parametrize(
    "lie",
    [
        words(COUNTED, magic=b"FWC2"),
        words(REFUSED + 5),
        words(REFUSED, len(REASONS) + 1),
        words(FRAME, 15, 1_000),
        words(FRAME, 2**31, 2**31),
        words(PACKET, MAX_PACKET_BYTES + 1),
        words(SURVEYED, MAX_FORM_BYTES + 1),
    ],
)
def test_answers_that_cannot_be_true_end_the_reading(lie: bytes, stage: Stage) -> None:
    assert code_of(stage.clip, stage.saying(lie)) == "DECODE-CRASHED"


@pytest.mark.parametrize("said", [b"", words(PACKET, 10) + b"short"])
def test_a_worker_that_falls_silent_has_crashed(said: bytes, stage: Stage) -> None:
    assert code_of(stage.clip, stage.saying(said, "head -c 80 >/dev/null")) == "DECODE-CRASHED"


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [
        (REFUSED, 0, "VIDEO-UNSUPPORTED"),
        (REFUSED, 1, "codec"),
        (REFUSED, len(REASONS), "many_sounds"),
        (REFUSED + 4, 0, "VIDEO-DAMAGED"),
    ],
)
def test_a_refusal_keeps_its_name(status: int, reason: int, code: str, stage: Stage) -> None:
    assert code_of(stage.clip, stage.saying(words(status, reason))) == code


def test_a_worker_that_is_slow_in_all_is_ended(stage: Stage) -> None:
    python, ticks = stage.saying(words(COUNTED) * 3), count(0, 1_000)
    slow = Sandbox(python=python, stopwatch=lambda: float(next(ticks)))
    answers = ask(stage.clip, SURVEY, RELEASE_LIMITS, slow)
    assert next(answers).status == COUNTED
    with pytest.raises(MediaError) as caught:
        next(answers)
    assert caught.value.code == "VIDEO-TOO-LARGE"


def test_a_worker_that_hangs_is_ended(stage: Stage) -> None:
    python = stage.saying(words(COUNTED), "exec sleep 60")
    brief = Confinement(wall_seconds=0.3)
    assert code_of(stage.clip, python, confinement=brief) == "DECODE-TIMEOUT"


def test_a_worker_killed_before_its_clip_is_a_crash(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Worker.__init__

    def killed(self: Worker, *given: Any) -> None:
        begin(self, *given)
        os.kill(self.process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr(Worker, "__init__", killed)
    assert code_of(stage.clip, DEFAULT_SANDBOX.python) == "DECODE-CRASHED"


def test_leaving_early_ends_the_worker_and_closes_the_clip(
    films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    begin = Worker.__init__

    def noting(self: Worker, *given: Any) -> None:
        begin(self, *given)
        started.append(self.process.pid)

    monkeypatch.setattr(Worker, "__init__", noting)
    before = len(os.listdir("/proc/self/fd"))
    answers = ask(films.film(), SURVEY, RELEASE_LIMITS, DEFAULT_SANDBOX)
    next(answers)
    assert Path(f"/proc/{started[0]}").exists()
    answers.close()
    assert not Path(f"/proc/{started[0]}").exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_too_little_memory_costs_the_clip_and_nothing_else(films: Any, workspace: Path) -> None:
    tight = replace(DEFAULT_SANDBOX, confinement=Confinement(memory_bytes=60_000_000))
    with pytest.raises(MediaError) as caught:
        open_clip(films.film(), workspace=workspace, sandbox=tight)
    assert caught.value.code == "DECODE-UNAVAILABLE"
    assert list(workspace.iterdir()) == []


def test_the_worker_has_the_clip_open_for_reading_and_no_other_file(
    films: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    write = Worker.write

    def looking(self: Worker, *parts: bytes) -> None:
        folder = Path(f"/proc/{self.process.pid}/fd")
        seen.append({name: os.readlink(folder / name) for name in os.listdir(folder)})
        write(self, *parts)

    monkeypatch.setattr(Worker, "write", looking)
    path = films.film()
    with (path.parent / "secret").open("wb"):
        assert list(ask(path, SURVEY, RELEASE_LIMITS, DEFAULT_SANDBOX))
    files = [target for target in seen[0].values() if target.startswith(str(path.parent))]
    assert files == [str(path)]
