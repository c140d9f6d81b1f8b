"""What Dagster may keep between assets: JSON tables of digests and reasons, never media."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.settings import read_settings
from policies.errors import Malformed
from provenance.store import write_whole

_ONLY_ROWS = "only tables of JSON rows pass between assets"


class TableIOManager(dg.ConfigurableIOManager):
    """Tables as JSON files, one per asset and batch, in `folder` (default: in the home folder)."""

    folder: str = ""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write a table; raise Malformed for anything that is not JSON rows."""
        try:
            data = json.dumps(obj, sort_keys=True, indent=1, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise Malformed(_ONLY_ROWS) from error
        if not isinstance(obj, list) or not all(isinstance(row, dict) for row in obj):
            raise Malformed(_ONLY_ROWS)
        path = self._path(context.asset_key, context.asset_partition_key)
        write_whole(path, data)
        context.add_output_metadata({"bytes": len(data), "path": dg.MetadataValue.path(str(path))})

    def load_input(self, context: dg.InputContext) -> list[dict[str, Any]]:
        """Read the table an upstream asset wrote for the same batch."""
        # The key comes from the input side: for checks, the output side says "not partitioned".
        rows: list[dict[str, Any]] = json.loads(
            self._path(context.asset_key, context.asset_partition_key).read_bytes()
        )
        return rows

    def _path(self, key: dg.AssetKey, partition: str) -> Path:
        folder = Path(self.folder) if self.folder else read_settings().home / "tables"
        return folder / key.to_user_string() / f"{partition}.json"
