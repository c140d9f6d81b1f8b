from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from pipelines.io import TableIOManager
from policies.errors import Malformed

KEY = dg.AssetKey(["released"])
ROWS = [{"request_id": "r-1", "codes": ["A"], "release": {"log_index": 7}, "message": None}]


def write(folder: Path, obj: Any) -> None:
    with dg.build_output_context(asset_key=KEY, partition_key="batch-1") as context:
        TableIOManager(folder=str(folder)).handle_output(context, obj)


def read(folder: Path) -> Any:
    with dg.build_input_context(asset_key=KEY, partition_key="batch-1") as context:
        return TableIOManager(folder=str(folder)).load_input(context)


def test_rows_come_back_by_asset_and_batch(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    assert read(tmp_path) == ROWS
    assert json.loads((tmp_path / "released" / "batch-1.json").read_bytes()) == ROWS


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    write(tmp_path, [])
    assert read(tmp_path) == []


def test_without_a_folder_tables_are_in_the_home(tmp_path: Path) -> None:
    with dg.build_output_context(asset_key=KEY, partition_key="batch-1") as context:
        TableIOManager().handle_output(context, ROWS)
    assert (tmp_path / "home" / "tables" / "released" / "batch-1.json").is_file()


@pytest.mark.parametrize(
    "obj",
    [
        None,
        "text",
        {"a": 1},
        [1, 2],
        [["a", 1]],
        b"\xff\xd8\xff",
        [{"pixels": b"\xff\xd8\xff"}],
        [{"pixels": np.zeros((2, 2, 3), np.uint8)}],
        np.zeros((2, 2, 3), np.uint8),
        [{"score": float("nan")}],
        [{"path": Path("x")}],
    ],
    ids=repr,
)
def test_nothing_but_rows_of_json_is_kept(tmp_path: Path, obj: object) -> None:
    with pytest.raises(Malformed, match="JSON rows"):
        write(tmp_path, obj)
    assert list(tmp_path.iterdir()) == []
