"""Who is rendered is not young: that holds for listed pictures alone, never for their copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.batch import run_batch
from pipelines.demo import RENDERED
from pipelines.deployment import open_deployment
from pipelines.enrol import Enrolment
from pipelines.jobs import load_job
from pipelines.one import spec_of
from pipelines.outcome import Outcome
from pipelines.people import Scope, grant
from pipelines.settings import Settings
from policies.digest import sha256_hex
from provenance.media import decode, encode

DEMO = Path(__file__).parents[2] / "docs" / "demo"


class Cast:
    """Two people who are rendered by their consents, at a deployment that is opened every time."""

    def __init__(self, home: Path) -> None:
        self.home, self.settings = home, Settings(home=home, threads=1)
        self.people: list[tuple[str, Any]] = []
        with open_deployment(self.settings) as at:
            for person, role in (("persona1", "source_identity"), ("persona2", "target_body")):
                views = tuple((DEMO / f"{person}_{view}.webp").read_bytes() for view in (1, 2))
                scope = Scope((role,), ("personal",), ("DE",))
                granted = grant(Enrolment(views), scope, RENDERED, at=at)
                self.people.append((granted.record_id, role))

    def run(self, source: Path, name: str) -> Outcome:
        spec = spec_of(
            self.people,  # type: ignore[arg-type]  # the words are of PersonRole
            request_id=name,
            operator="test",
            source=str(source),
            target=str(DEMO / "persona2_0.webp"),
            purpose="personal",
            audience="internal",
            territories=["DE"],
        )
        with open_deployment(self.settings) as at:
            [outcome] = run_batch([load_job(spec)], deployment=at)
        return outcome

    def list_as_rendered(self, *digests: str) -> None:
        folder = self.home / "policy"
        folder.mkdir(mode=0o755, exist_ok=True)
        path = folder / "rendered.txt"
        path.write_text("# drawn by us\n" + "".join(f"{d}  a drawing\n" for d in digests))
        path.chmod(0o644)


@pytest.fixture
def cast(empty_home: Path) -> Cast:
    return Cast(empty_home)


def test_a_copy_of_a_rendered_picture_is_young_until_it_is_listed(
    cast: Cast, tmp_path: Path
) -> None:
    original, copy = DEMO / "persona1_0.webp", tmp_path / "copy.png"
    copy.write_bytes(encode(decode(original.read_bytes()).frame, "image/png"))
    assert cast.run(original, "original").status == "released", "docs/demo is listed"
    refused = cast.run(copy, "copy")
    assert (refused.status, refused.codes) == ("refused", ("AGE-CHALLENGE",))
    [finding] = refused.findings
    assert "source_identity" in finding.subject
    assert "rendered" in finding.mend
    cast.list_as_rendered("0" * 64)
    assert cast.run(copy, "copy").codes == ("AGE-CHALLENGE",), "another picture is listed"
    cast.list_as_rendered("0" * 64, sha256_hex(copy.read_bytes()))
    assert cast.run(copy, "copy").status == "released"
    assert cast.run(original, "original").status == "released", "the product's list stays"
    (cast.home / "policy" / "rendered.txt").unlink()
    again = cast.run(copy, "another")
    assert (again.status, again.codes) == ("refused", ("AGE-CHALLENGE",))
