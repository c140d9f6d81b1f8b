"""The Dagster code location: `dagster dev -m pipelines.definitions`."""

from __future__ import annotations

import dagster as dg

from pipelines.io import TableIOManager
from pipelines.requests import admitted, per_batch, released, scanned
from pipelines.resources import facewarrant_resource
from pipelines.sensors import inbox

defs = dg.Definitions(
    assets=[admitted, released, scanned],
    jobs=[per_batch],
    sensors=[inbox],
    resources={"facewarrant": facewarrant_resource, "io_manager": TableIOManager()},
)
