"""Killed at any point: nothing unmarked is left, and running again releases exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.jobs import JobSpec
from pipelines.one import run_one, spec_of

ROOT = Path(__file__).parents[2]

DRIVER = '''
"""One request in a process of its own, which says "here" at one point and then waits."""
import json, os, pathlib, sys, time

from pipelines.deployment import open_deployment
from pipelines.jobs import read_spec
from pipelines.one import run_one
from pipelines.settings import read_settings

home, spec, out, point = sys.argv[1:]


def wait_at(name):
    if name == point:
        print("here", flush=True)
        time.sleep(300)


with open_deployment(read_settings(home=home, threads=1)) as at:
    puts, put, replace = [], at.press.store.put, os.replace

    def put_and_wait(data):
        sha256 = put(data)
        puts.append(sha256)
        wait_at(f"stored {len(puts)}")
        return sha256

    def wait_and_replace(*paths):
        wait_at(f"written {len(puts) + 1}")
        replace(*paths)

    at.press.store.put = put_and_wait
    os.replace = wait_and_replace
    run_one(
        read_spec(pathlib.Path(spec).read_bytes()),
        out=pathlib.Path(out),
        at=at,
        observe=lambda _request, step, _seconds: wait_at(step),
    )
'''

# Point of the kill, how the warrant then stands, and how many pictures lie about.
POINTS = [
    ("measure faces, age, nudity, opt-outs", [], 0),
    ("decide, issue warrant", ["issued"], 0),
    ("swap", ["started"], 0),
    ("written 2", ["started"], 1),
    ("stored 2", ["started"], 1),
    ("mark, label, sign, read back, log", ["released"], 1),
]


def kill_at(point: str, house: Any, spec: JobSpec, tmp_path: Path) -> None:
    """Run the request in another process and kill that without warning at the point."""
    driver, document = tmp_path / "driver.py", tmp_path / "spec.json"
    driver.write_text(DRIVER)
    document.write_text(spec.model_dump_json(by_alias=True))
    process = subprocess.Popen(
        [
            sys.executable,
            str(driver),
            str(house.at.settings.home),
            str(document),
            str(tmp_path / "out" / "result.webp"),
            point,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "here\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        assert process.wait(timeout=30) == -signal.SIGKILL


@pytest.mark.parametrize(("point", "states", "pictures"), POINTS)
def test_killed_request_leaves_nothing_unmarked_and_runs_again(
    house: Any,
    assert_only_marked: Callable[..., int],
    tmp_path: Path,
    point: str,
    states: list[str],
    pictures: int,
) -> None:
    people = [
        (house.enrol("persona1", max_uses=1), "source_identity"),
        (house.enrol("persona2", max_uses=1), "target_body"),
    ]
    demo = ROOT / "docs" / "demo"
    spec = spec_of(
        people,  # type: ignore[arg-type]
        operator="test",
        source=str(demo / "persona1_0.webp"),
        target=str(demo / "persona2_0.webp"),
        purpose="personal",
        audience="internal",
        territories=["DE"],
    )
    kill_at(point, house, spec, tmp_path)
    assert house.states(spec.request_id) == states
    assert assert_only_marked(tmp_path, house.at) == pictures
    assert not (tmp_path / "out").exists()
    assert house.kinds().count("release") == int(states == ["released"])

    out = tmp_path / "out" / "result.webp"
    outcome = run_one(spec, out=out, at=house.at, observe=lambda *_: None)
    assert outcome.status == "released", outcome
    assert out.read_bytes() == outcome.release.data
    assert house.at.verifier.verify(out.read_bytes()).verdict == "authentic"
    # One release, one use each: the interrupted attempt has given its own back.
    assert house.kinds().count("release") == 1
    assert house.states(spec.request_id).count("released") == 1
    assert set(house.states(spec.request_id)) <= {"released", "aborted"}
    assert house.uses() == 2
    assert assert_only_marked(tmp_path, house.at) >= 2
    house.at.archive.log.check()

    # And again: the same bytes, nothing new in the log.
    kinds = house.kinds()
    assert run_one(spec, out=out, at=house.at, observe=lambda *_: None) == outcome
    assert house.kinds() == kinds
