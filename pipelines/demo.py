"""The main job on two people who do not exist, from consent to withdrawal, with a page to look at.

Runs the real thing in a home folder of its own: keys and certificates are made, both people are
enrolled and sign, the request goes through the Dagster job, and the released picture is verified,
stripped, tampered with and, after a withdrawal, refused. Nothing is shown that did not happen.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg

from pipelines.batch import run_batch
from pipelines.deployment import Deployment, create, open_deployment
from pipelines.enrol import Enrolment
from pipelines.io import TableIOManager
from pipelines.jobs import FileUnreadable, load_job, read_file, read_spec
from pipelines.one import spec_of
from pipelines.outcome import Outcome
from pipelines.page import write_page
from pipelines.people import Assurance, Scope, grant, withdraw
from pipelines.requests import admitted, batches, per_batch, released, scanned
from pipelines.resources import Facewarrant
from pipelines.settings import read_settings
from policies.canonical import canonical
from policies.errors import Error
from provenance.errors import Tampered
from provenance.evidence import Report
from provenance.media import decode, encode

PICTURES = Path(__file__).parent.parent / "docs" / "demo"
SOURCE, TARGET = "persona1", "persona2"
BATCH = "demo-1"
RENDERED = Assurance(adult=True, age="rendered", evidence="docs/demo/README.md")
"""Nobody can be young who does not exist: the record says that the demo's people were rendered."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the demo: what was done, what came out, how long it took."""

    name: str
    result: str
    seconds: float


@dataclass(slots=True)
class Demo:
    """What the demo did, for the table and the page."""

    out: Path
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0
    outcome: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    tampered: Tampered | None = None
    refusal: Outcome | None = None

    @property
    def page(self) -> Path:
        """The page with pictures and evidence."""
        return self.out / "index.html"

    def as_json(self) -> dict[str, Any]:
        """Return steps, release and page as JSON-ready data."""
        return {
            "page": str(self.page),
            "seconds": round(self.seconds, 2),
            "steps": [
                {"name": s.name, "result": s.result, "seconds": round(s.seconds, 3)}
                for s in self.steps
            ],
            "release": self.outcome["release"],
        }


def run_demo(out: Path, *, progress: Callable[[str], None]) -> Demo:
    """Run the demo into folder `out` (its old demo is replaced) and write its page.

    Raises FileUnreadable without the rendered people of a clone, and DemoFailed when a step does
    not end as it must.
    """
    begun = time.perf_counter()
    out = out.absolute()
    _clear(out)
    # The demo's people belong into no database but the demo's own, their keys into no token.
    settings = read_settings(home=out / "home", database_url="").model_copy(
        update={"pkcs11_library": None, "key_passphrase": None}
    )
    show = _Show(Demo(out), progress)
    show.step("make keys, certificates, database", lambda: create(settings), "home folder ready")
    with open_deployment(settings) as at:
        show.step("load face models", lambda: at.analyser, "digests as on their cards")
        people = _consent(at, show)
        job = _write_job(at, people)
        show.progress("running the Dagster job per_batch (in process, SQLite):")
        show.demo.outcome = show.step(
            "Dagster job: admitted, released, scanned", lambda: _run_job(at, out, progress), ""
        )
        data = _deliver(at, show.demo)
        _examine(at, data, show)
        _withdraw(at, people[0], job, data, show)
    show.demo.seconds = time.perf_counter() - begun
    write_page(show.demo, pictures=PICTURES, source=SOURCE, target=TARGET)
    return show.demo


class DemoFailed(Error):
    """A step of the demo ended otherwise than it must; the chain is broken somewhere."""

    code = "DEMO-FAILED"


@dataclass(frozen=True, slots=True)
class _Show:
    """Runs steps, times them and tells about them."""

    demo: Demo
    progress: Callable[[str], None]

    def step(self, name: str, run: Callable[[], T], result: str | Callable[[T], str]) -> T:
        self.progress(f"{name} ...")
        begun = time.perf_counter()
        value = run()
        words = result if isinstance(result, str) else result(value)
        self.demo.steps.append(Step(name, words, time.perf_counter() - begun))
        return value


def _clear(out: Path) -> None:
    """Remove an earlier demo, and nothing that is not one."""
    if not PICTURES.is_dir():
        raise FileUnreadable(
            "the rendered people of docs/demo are not here", mend="run the demo in a clone"
        )
    mark = out / "home" / "this-is-a-demo"
    try:
        if out.exists() and any(out.iterdir()):
            if not mark.is_file():
                raise FileUnreadable(
                    f"{out} holds other files", mend="choose another folder with --out"
                )
            shutil.rmtree(out)
        mark.parent.mkdir(parents=True, mode=0o700)
        mark.touch()
    except OSError as error:
        raise FileUnreadable(
            f"cannot use {out}: {error.strerror}", mend="choose another folder with --out"
        ) from error


def _consent(at: Deployment, show: _Show) -> tuple[str, str]:
    """Enrol and confirm both people from views that the swap does not use."""
    ids = []
    for person, role in ((SOURCE, "source_identity"), (TARGET, "target_body")):
        views = Enrolment(tuple(read_file(PICTURES / f"{person}_{view}.webp") for view in (1, 2)))
        scope = Scope(roles=(role,), purposes=("personal",), territories=("DE",))
        record = show.step(
            f"consent of the {role}",
            lambda views=views, scope=scope: grant(views, scope, RENDERED, at=at),  # type: ignore[misc]
            "enrolled, signed, confirmed",
        )
        ids.append(record.record_id)
    return ids[0], ids[1]


def _write_job(at: Deployment, people: tuple[str, str]) -> Path:
    """Put the request into the inbox, as a platform would."""
    folder = at.settings.home / "inbox" / BATCH
    folder.mkdir(parents=True)
    spec = spec_of(
        [(people[0], "source_identity"), (people[1], "target_body")],
        request_id="demo-swap",
        operator="demo",
        source=str(PICTURES / f"{SOURCE}_0.webp"),
        target=str(PICTURES / f"{TARGET}_0.webp"),
        purpose="personal",
        audience="internal",
        territories=["DE"],
    )
    path = folder / "demo-swap.json"
    path.write_bytes(canonical(spec.model_dump(mode="json", by_alias=True)))
    return path


def _run_job(at: Deployment, out: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run the batch through Dagster and return its one outcome row."""

    def observe(_request_id: str, step: str, seconds: float) -> None:
        progress(f"    {step:<42}{seconds:6.2f} s")

    definitions = dg.Definitions(
        assets=[admitted, released, scanned],
        jobs=[per_batch],
        resources={
            "facewarrant": Facewarrant(at, observe),
            "io_manager": TableIOManager(folder=str(out / "home" / "tables")),
        },
    )
    quiet = {"python_logs": {"python_log_level": "ERROR"}, "telemetry": {"enabled": False}}
    (out / "home" / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(out / "home" / "dagster"), overrides=quiet) as instance:
        instance.add_dynamic_partitions(batches.name or "", [BATCH])
        result = definitions.resolve_job_def("per_batch").execute_in_process(
            instance=instance,
            partition_key=BATCH,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    [row] = result.output_for_node("released")
    [verdict] = result.output_for_node("scanned")
    if row["status"] != "released" or verdict["outcome"] != "declared_synthetic":
        raise DemoFailed(f"the request was {row['status']}: {row['message']}", mend=row["mend"])
    return dict(row)


def _deliver(at: Deployment, demo: Demo) -> bytes:
    """Write the released picture to the demo's folder."""
    data = at.archive.store.get(demo.outcome["release"]["sha256"])
    (demo.out / "released.webp").write_bytes(data)
    last = demo.steps[-1]
    manifest = demo.outcome["release"]["manifest_id"]
    demo.steps[-1] = Step(last.name, f"released as {manifest}", last.seconds)
    return data


def _examine(at: Deployment, data: bytes, show: _Show) -> None:
    """Verify the release, a stripped copy and an edited copy."""
    reports = show.demo.reports
    reports["released"] = show.step(
        "verify the released picture", lambda: at.verifier.verify(data), _verdict
    )
    stripped = encode(decode(data).frame, "image/jpeg")
    (show.demo.out / "stripped.jpg").write_bytes(stripped)
    reports["stripped"] = show.step(
        "strip all metadata, verify the copy", lambda: at.verifier.verify(stripped), _verdict
    )
    tampered = tamper(data)
    (show.demo.out / "tampered.webp").write_bytes(tampered)
    show.demo.tampered = show.step(
        "edit the picture, keep its manifest, verify",
        lambda: _refused_by(at, tampered),
        lambda error: f"refused: {error.message}",
    )


def _withdraw(at: Deployment, record_id: str, job: Path, data: bytes, show: _Show) -> None:
    """Withdraw the source's consent; ask again, and verify the old release again."""
    show.step(
        "the source withdraws consent",
        lambda: withdraw(record_id, at=at),
        lambda done: f"consent {done.state.status}, {len(done.released)} released before",
    )
    spec = read_spec(job.read_bytes())
    again = json.loads(job.read_bytes()) | {"request_id": "demo-swap-again"}
    jobs = [load_job(spec), load_job(read_spec(canonical(again)))]
    outcomes = show.step(
        "the same request, and a new one like it",
        lambda: run_batch(jobs, deployment=at),
        lambda found: f"refused: {_reasons(found[1])}",
    )
    if any(outcome.status != "refused" for outcome in outcomes):
        raise DemoFailed("a request was not refused after the consent was withdrawn")
    show.demo.refusal = outcomes[1]
    show.demo.reports["withdrawn"] = show.step(
        "verify the released picture again", lambda: at.verifier.verify(data), _verdict
    )
    if show.demo.reports["withdrawn"].consent != "withdrawn":
        raise DemoFailed("verification does not say that consent was withdrawn")


def tamper(data: bytes) -> bytes:
    """Return a released WebP with its picture edited and its manifest and labels left in place.

    What a forger would do: paint over a patch (here the lower left corner is darkened), encode, and
    put the new picture between the old file's other chunks (RIFF, WebP container specification).
    """
    frame = decode(data).frame.copy()
    height, width = frame.shape[:2]
    frame[height * 3 // 4 :, : width // 4] //= 2
    forged = dict(_chunks(encode(frame, "image/webp")))
    body = b"WEBP" + b"".join(
        _chunk(name, forged.get(name, payload) if name == b"VP8 " else payload)
        for name, payload in _chunks(data)
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position < len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        yield data[position : position + 4], data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _chunk(name: bytes, payload: bytes) -> bytes:
    return name + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2)


def _refused_by(at: Deployment, data: bytes) -> Tampered:
    try:
        at.verifier.verify(data)
    except Tampered as error:
        return error
    raise DemoFailed("a tampered copy was not refused")


def _reasons(outcome: Outcome) -> str:
    cites = sorted({cite for finding in outcome.findings for cite in finding.cites})
    return f"{', '.join(outcome.codes)} [{', '.join(cites)}]"


def _verdict(report: Report) -> str:
    return f"{report.verdict}, consent {report.consent}"
