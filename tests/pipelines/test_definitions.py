from __future__ import annotations

import dagster as dg

from pipelines.definitions import defs
from pipelines.io import TableIOManager
from pipelines.requests import batches


def test_the_graph_is_admitted_released_scanned() -> None:
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): sorted(p.to_user_string() for p in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
    }
    assert found == {"admitted": [], "released": ["admitted"], "scanned": ["released"]}


def test_a_batch_is_checked_before_anything_follows() -> None:
    [check] = defs.resolve_asset_graph().asset_check_keys
    assert (check.asset_key.to_user_string(), check.name) == ("released", "all_accounted")
    [spec] = [s for a in defs.assets or () for s in getattr(a, "check_specs", ())]
    assert spec.blocking


def test_one_partition_is_one_batch() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).partitions_def == batches
    assert batches.name == "batches"


def test_the_location_loads_with_its_job_sensor_and_tables() -> None:
    job = defs.resolve_job_def("per_batch")
    assert job.executor_def.name == "in_process", "a process per step would load the models anew"
    assert [sensor.name for sensor in defs.sensors or ()] == ["inbox"]
    assert isinstance((defs.resources or {})["io_manager"], TableIOManager)
    dg.Definitions.validate_loadable(defs)
