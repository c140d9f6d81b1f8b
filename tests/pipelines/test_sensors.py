from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.sensors import inbox


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def put(tmp_path: Path, *names: str, ready: bool = True) -> None:
    for name in names:
        folder = tmp_path / "home" / "inbox" / name
        folder.mkdir(parents=True)
        if ready:
            (folder / "READY").touch()


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> object:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return inbox(context)


def test_without_a_complete_batch_nothing_starts(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert isinstance(look(instance), dg.SkipReason)
    put(tmp_path, "2026-01", ready=False)
    assert isinstance(look(instance), dg.SkipReason)


def test_complete_batches_start_in_order_and_move_the_cursor(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    put(tmp_path, "2026-02", "2026-01")
    put(tmp_path, "2026-03", ready=False)
    result = look(instance)
    assert isinstance(result, dg.SensorResult)
    runs = result.run_requests or []
    assert [(run.partition_key, run.run_key) for run in runs] == [
        ("2026-01", "2026-01"),
        ("2026-02", "2026-02"),
    ]
    assert result.cursor == "2026-02"
    [added] = result.dynamic_partitions_requests or []
    assert (added.partitions_def_name, list(added.partition_keys)) == (
        "batches",
        ["2026-01", "2026-02"],
    )


def test_what_was_started_is_not_listed_again(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put(tmp_path, "2026-01", "2026-02")
    result = look(instance, cursor="2026-01")
    assert isinstance(result, dg.SensorResult)
    assert [run.partition_key for run in result.run_requests or []] == ["2026-02"]
    assert isinstance(look(instance, cursor="2026-02"), dg.SkipReason)


def test_a_file_in_the_inbox_is_no_batch(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "home" / "inbox").mkdir(parents=True)
    (tmp_path / "home" / "inbox" / "READY").touch()
    assert isinstance(look(instance), dg.SkipReason)
