"""The inbox: a folder that is complete becomes a batch.

A batch is complete when its folder holds a file `READY`. The cursor is the newest name seen, so the
sensor never lists what it has started; names must sort by time (see docs/jobs.md).
"""

import dagster as dg

from pipelines.requests import batches, per_batch
from pipelines.settings import read_settings


@dg.sensor(job=per_batch, minimum_interval_seconds=5)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Start one run per complete batch folder beyond the cursor."""
    folder = read_settings().home / "inbox"
    seen = context.cursor or ""
    ready = sorted(p.parent.name for p in folder.glob("*/READY") if p.parent.name > seen)
    if not ready:
        return dg.SkipReason("no complete batch in the inbox")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=name, partition_key=name) for name in ready],
        dynamic_partitions_requests=[batches.build_add_request(ready)],
        cursor=ready[-1],
    )
