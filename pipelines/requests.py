"""The request pipeline as Dagster assets over micro-batches: admitted -> released -> scanned.

One partition is one batch of jobs in the inbox, never one request: a launched run costs seconds, a
request milliseconds. Only tables of digests and reasons pass between assets; pixels never do.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations themselves.

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from detector.scan import scan
from pipelines.batch import run_batch
from pipelines.jobs import FileUnreadable, JobSpec, load_job, read_file, read_spec
from pipelines.outcome import Outcome, rejected
from pipelines.resources import Facewarrant
from policies.errors import Error, Malformed

Table = list[dict[str, Any]]

batches = dg.DynamicPartitionsDefinition(name="batches")


@dg.asset(partitions_def=batches, group_name="batch")
def admitted(
    context: dg.AssetExecutionContext, facewarrant: dg.ResourceParam[Facewarrant]
) -> dg.Output[Table]:
    """The job files of one batch, parsed strictly; a file that does not parse stops its batch."""
    files = sorted((facewarrant.inbox / context.partition_key).glob("*.json"))
    specs = [_read_file(file) for file in files]
    table = [spec.model_dump(mode="json", by_alias=True) for spec in specs]
    return dg.Output(table, metadata={"requests": len(table)})


def _read_file(file: Path) -> JobSpec:
    try:
        return read_spec(read_file(file))
    except Error as error:
        raise Malformed(
            f"{file.name}: {error.message}",
            mend=f"{error.mend}; then put the corrected batch into a new folder of the inbox",
        ) from error


@dg.asset(
    partitions_def=batches,
    group_name="batch",
    pool="gpu",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=1.0),
    check_specs=[dg.AssetCheckSpec("all_accounted", asset="released", blocking=True)],
)
def released(
    context: dg.AssetExecutionContext, admitted: Table, facewarrant: dg.ResourceParam[Facewarrant]
) -> Iterator[dg.Output[Table] | dg.AssetCheckResult]:
    """One outcome per request; refusals are results, only an unreachable store raises."""
    folder = facewarrant.inbox / context.partition_key
    table = [_run_row(row, folder, facewarrant).as_json() for row in admitted]
    counts = {
        status: sum(row["status"] == status for row in table)
        for status in ("released", "refused", "rejected")
    }
    yield dg.Output(table, metadata={"requests": len(table), **counts})
    # Yielded here, not a check of its own: that would be another step, elsewhere another process.
    yield _check_accounts(admitted, table)


def _run_row(row: dict[str, Any], folder: Path, facewarrant: Facewarrant) -> Outcome:
    try:
        job = load_job(read_spec(json.dumps(row).encode()), folder=folder)
    except (FileUnreadable, Malformed) as error:
        return rejected(row["request_id"], error)
    [outcome] = run_batch([job], deployment=facewarrant.deployment, observe=facewarrant.observe)
    return outcome


def _check_accounts(admitted: Table, table: Table) -> dg.AssetCheckResult:
    """Every request has one outcome, and every release names its manifest."""
    asked = sorted(row["request_id"] for row in admitted)
    answered = sorted(row["request_id"] for row in table)
    unnamed = [r for r in table if r["status"] == "released" and not r["release"]["manifest_id"]]
    return dg.AssetCheckResult(
        check_name="all_accounted", asset_key="released", passed=asked == answered and not unnamed
    )


@dg.asset(partitions_def=batches, group_name="batch")
def scanned(released: Table, facewarrant: dg.ResourceParam[Facewarrant]) -> dg.Output[Table]:
    """What our own scan says about every release; each must be recognised as ours."""
    deployment = facewarrant.deployment
    verdicts = []
    for row in released:
        if row["status"] == "released":
            with TemporaryDirectory(prefix="facewarrant-") as folder:
                copy = Path(folder) / "released"
                deployment.archive.store.get_file(row["release"]["sha256"], copy)
                verdict = scan(copy, verifier=deployment.verifier)
            verdicts.append({"request_id": row["request_id"], **verdict.as_json()})
    return dg.Output(verdicts, metadata={"scanned": len(verdicts)})


per_batch = dg.define_asset_job(
    "per_batch",
    selection=dg.AssetSelection.groups("batch"),
    executor_def=dg.in_process_executor,
)
