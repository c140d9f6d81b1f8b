"""The job over batches; three runs of Dagster here, and one in the demo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import pipelines.requests
from pipelines.deployment import Deployment, open_deployment
from pipelines.io import TableIOManager
from pipelines.jobs import JobSpec
from pipelines.one import spec_of
from pipelines.outcome import Outcome
from pipelines.requests import admitted, batches, per_batch, released, scanned
from pipelines.resources import Facewarrant
from policies.errors import Malformed
from provenance.errors import MediaError
from provenance.media import decode

DEMO = Path(__file__).parents[2] / "docs" / "demo"


def spec(home: Any, request_id: str, **changes: str) -> JobSpec:
    options = {
        "operator": "test",
        "source": str(DEMO / "persona1_0.webp"),
        "target": str(DEMO / "persona2_0.webp"),
        "purpose": "personal",
        "audience": "internal",
    } | changes
    people = [(home.source, "source_identity"), (home.target, "target_body")]
    return spec_of(people, request_id=request_id, territories=["DE"], **options)


def put(home: Any, batch: str, *jobs: JobSpec | bytes) -> None:
    folder = home.path / "inbox" / batch
    folder.mkdir(parents=True)
    for number, job in enumerate(jobs):
        data = job if isinstance(job, bytes) else job.model_dump_json(by_alias=True).encode()
        (folder / f"{number}.json").write_bytes(data)


def execute(home: Any, batch: str) -> Any:
    """Run one batch in this process, on an instance that forgets."""
    with open_deployment(home.settings) as at, dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(batches.name or "", [batch])
        definitions = dg.Definitions(
            assets=[admitted, released, scanned],
            jobs=[per_batch],
            resources={
                "facewarrant": Facewarrant(at),
                "io_manager": TableIOManager(folder=str(home.path / "tables")),
            },
        )
        return definitions.resolve_job_def("per_batch").execute_in_process(
            instance=instance,
            partition_key=batch,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


@dataclass(frozen=True)
class Ran:
    home: Any
    result: Any

    def table(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.result.output_for_node(name)
        return rows


@pytest.fixture(scope="module")
def ran(_enrolled: Any, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One batch: a request that can be released, one without a source picture, one for a video."""
    path = tmp_path_factory.mktemp("batch") / "home"
    shutil.copytree(_enrolled.path, path)
    home = type(_enrolled)(path, _enrolled.source, _enrolled.target)
    film = tmp_path_factory.mktemp("film") / "film.mp4"
    film.write_bytes(b"\0\0\0\x18ftypisom")
    jobs = (
        spec(home, "good"),
        spec(home, "bad", source="words.webp"),
        spec(home, "film", target=str(film)),
    )
    put(home, "batch-1", *jobs)
    (path / "inbox" / "batch-1" / "words.webp").write_text("words")
    return Ran(home, execute(home, "batch-1"))


def test_a_batch_gives_one_outcome_per_request(ran: Ran) -> None:
    assert ran.result.success
    rows = {row["request_id"]: row for row in ran.table("released")}
    assert {name: row["status"] for name, row in rows.items()} == {
        "good": "released",
        "bad": "rejected",
        "film": "refused",
    }
    assert rows["film"]["codes"] == ["MEDIA-SCOPE"], "nobody agreed to a video"
    assert rows["bad"]["codes"] == ["MEDIA-UNSUPPORTED"]
    assert rows["bad"]["mend"]
    assert rows["good"]["release"]["manifest_id"].startswith("urn:c2pa:")


def test_every_request_is_accounted_for(ran: Ran) -> None:
    [check] = ran.result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("all_accounted", True)


def test_every_release_is_recognised_as_ours(ran: Ran) -> None:
    [verdict] = ran.table("scanned")
    assert (verdict["request_id"], verdict["outcome"]) == ("good", "declared_synthetic")


def test_dagster_keeps_tables_and_no_pixels(ran: Ran) -> None:
    kept = [p for p in (ran.home.path / "tables").rglob("*") if p.is_file()]
    assert sorted(str(p.relative_to(ran.home.path / "tables")) for p in kept) == [
        "admitted/batch-1.json",
        "released/batch-1.json",
        "scanned/batch-1.json",
    ]
    for path in kept:
        json.loads(path.read_bytes())
        assert path.stat().st_size < 20_000
        with pytest.raises(MediaError):
            decode(path.read_bytes())


def test_a_job_file_that_does_not_parse_stops_its_batch_by_name(home: Any) -> None:
    before = home.log_size()
    put(home, "batch-2", spec(home, "good"), b'{"schema": "facewarrant/job/1", "x": 1}')
    result = execute(home, "batch-2")
    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure]
    assert failure.step_key == "admitted"
    cause = failure.step_failure_data.error.cause
    assert cause.cls_name == "Malformed"
    assert "1.json: job: " in cause.message
    assert home.log_size() == before, "no request of the batch was begun"
    assert not (home.path / "tables").exists()


def test_a_missing_outcome_stops_the_batch(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(row: dict[str, Any], *_: object) -> Outcome:
        return Outcome("another", "rejected")

    monkeypatch.setattr(pipelines.requests, "_run_row", forget)
    put(home, "batch-3", spec(home, "good"))
    result = execute(home, "batch-3")
    assert not result.success
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("all_accounted", False)
    assert not (home.path / "tables" / "scanned").exists(), "nothing follows"


def check(table: list[dict[str, Any]]) -> bool:
    rows = [{"request_id": "a"}, {"request_id": "b"}]
    return bool(pipelines.requests._check_accounts(rows, table).passed)


def test_the_check_wants_every_outcome_once_and_every_manifest_named() -> None:
    a, b = ({"request_id": name, "status": "refused"} for name in "ab")
    assert check([a, b])
    assert not check([a])
    assert not check([])
    assert not check([a, a, b])
    made = {"request_id": "b", "status": "released", "release": {"manifest_id": "urn:c2pa:1"}}
    assert check([a, made])
    assert not check([a, made | {"release": {"manifest_id": ""}}])


@pytest.fixture
def facewarrant(home: Any) -> Iterator[Facewarrant]:
    with open_deployment(home.settings) as at:
        yield Facewarrant(at)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda row: row | {"source": "missing.webp"}, "FILE-UNREADABLE"),
        (lambda row: row | {"source": "zero\x00byte"}, "FILE-UNREADABLE"),
        (lambda row: row | {"people": row["people"][:1]}, "MALFORMED"),
    ],
)
def test_one_request_that_cannot_be_read_does_not_stop_the_others(
    home: Any, facewarrant: Facewarrant, change: Callable[..., Any], code: str
) -> None:
    row = change(spec(home, "r-1").model_dump(mode="json", by_alias=True))
    outcome = pipelines.requests._run_row(row, home.path, facewarrant)
    assert (outcome.request_id, outcome.status, outcome.codes) == ("r-1", "rejected", (code,))


def test_the_inbox_is_in_the_home(home: Any, facewarrant: Facewarrant) -> None:
    assert facewarrant.inbox == home.path / "inbox"
    assert isinstance(facewarrant.deployment, Deployment)


def test_a_job_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.json").mkdir()
    with pytest.raises(Malformed, match=r"0\.json: cannot read"):
        pipelines.requests._read_file(tmp_path / "0.json")
