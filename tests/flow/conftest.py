"""A whole deployment with real face models, and the rendered people in it."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image, UnidentifiedImageError

import generator.age
import generator.nudity
import pipelines.deployment
from generator.faces import FaceAnalyser, open_analyser
from pipelines.batch import run_batch
from pipelines.deployment import Deployment, create, open_deployment
from pipelines.enrol import Enrolment
from pipelines.mark_keys import create_mark_keys
from pipelines.outcome import Job, Outcome
from pipelines.people import Assurance, Scope, grant
from pipelines.settings import read_settings
from policies.digest import sha256_hex
from policies.request import make_request
from policies.tables import RESERVATION, WARRANT
from provenance.c2pa import read_manifest
from provenance.clip import Form
from provenance.clip_exchange import Colour
from provenance.fingerprints import fingerprint
from provenance.media import decode, encode
from provenance.video_write import encode_segment

DEMO = Path(__file__).parents[2] / "docs" / "demo"
SCOPE = Scope(
    roles=("source_identity", "target_body", "bystander"),
    purposes=("personal",),
    territories=("DE",),
)

# Not "rendered": that counts for the very files of docs/demo, and these tests change pictures.
SHOWN = Assurance(adult=True, age="document", evidence="check 1", in_person=True)


@dataclass
class House:
    """A deployment, the people enrolled in it, and requests for them."""

    at: Deployment
    consents: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def picture(self, name: str) -> bytes:
        return (DEMO / f"{name}.webp").read_bytes()

    def enrol(self, person: str, **changes: Any) -> str:
        """Grant the consent of a rendered person from two other pictures of theirs."""
        views = Enrolment(tuple(self.picture(f"{person}_{n}") for n in (1, 2)))
        granted = grant(views, replace(SCOPE, **changes), SHOWN, at=self.at)
        self.consents[person] = granted.record_id
        return self.consents[person]

    def consent(self, person: str) -> str:
        return self.consents.get(person) or self.enrol(person)

    def job(
        self,
        source: bytes | str = "persona1_0",
        target: bytes | str = "persona2_0",
        *,
        people: tuple[str, ...] = ("persona1", "persona2"),
        **changes: Any,
    ) -> Job:
        """A job for the source's person, the target's and any bystanders, in that order."""
        pictures = [self.picture(p) if isinstance(p, str) else p for p in (source, target)]
        roles = ("source_identity", "target_body", *["bystander"] * (len(people) - 2))
        fields: dict[str, Any] = {
            "request_id": f"flow-{next(self._numbers)}",
            "operator": "test",
            "people": [
                {"record_id": self.consent(person), "role": role}
                for person, role in zip(people, roles, strict=True)
            ],
            "purpose": "personal",
            "medium": "image",
            "audience": "internal",
            "territories": ["DE"],
            "categories": [],
            "source_sha256": sha256_hex(pictures[0]),
            "target_sha256": sha256_hex(pictures[1]),
        }
        return Job(make_request(**(fields | changes)), *pictures)

    def run(self, job: Job, observe: Callable[..., None] = lambda *_: None) -> Outcome:
        [outcome] = run_batch([job], deployment=self.at, observe=observe)
        return outcome

    def states(self, request_id: str = "") -> list[str]:
        """The states of the warrants (of a request), in no order."""
        query = sa.select(WARRANT.c.state)
        if request_id:
            query = query.where(WARRANT.c.request_id == request_id)
        with self.at.desk.database.transaction() as connection:
            return list(connection.execute(query).scalars())

    def uses(self) -> int:
        with self.at.desk.database.transaction() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(RESERVATION)) or 0)

    def kinds(self) -> list[str]:
        return [entry["kind"] for entry in self.at.archive.log.entries()]

    def kept(self) -> list[Path]:
        folder = self.at.settings.home / "store"
        return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="session")
def analyser() -> FaceAnalyser:
    """The shipped face models, loaded once."""
    return open_analyser(threads=1)


@pytest.fixture(scope="module", autouse=True)
def _nets_read_once(looked_at_once: None) -> Iterator[None]:
    """Every deployment opens its own gates; for all of these tests the nets are read once."""
    openers = ((generator.age, "open_age_gate"), (generator.nudity, "open_nudity_gate"))
    with pytest.MonkeyPatch.context() as patch:
        for module, name in openers:
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield


@pytest.fixture(scope="module", autouse=True)
def _one_watermark_key() -> Iterator[None]:
    """All deployments of a file have one, so that what was searched for marks stays known.

    Of a file, not of the run: elsewhere it is asked whether two deployments share a key.
    """
    with pytest.MonkeyPatch.context() as patch:
        create_keys = functools.partial(create_mark_keys, random=lambda count: b"m" * count)
        patch.setattr(pipelines.deployment, "create_mark_keys", create_keys)
        yield


@pytest.fixture(scope="session")
def film() -> Callable[..., bytes]:
    """`film(name, ...)`: an MP4 of eight frames a second, each a picture of docs/demo, moved."""

    def make(*names: str) -> bytes:
        shown = [decode((DEMO / f"{name}.webp").read_bytes()).frame for name in names]
        height, width = shown[0].shape[:2]
        moved = [
            cv2.warpAffine(
                frame,
                np.array([[1, 0, 2 * n], [0, 1, -n]], np.float32),
                (width, height),
                borderMode=cv2.BORDER_REPLICATE,
            )
            for n, frame in enumerate(shown)
        ]
        form = Form(width, height, (1, 800), Colour("tv", 1, 1, 1), 0, (), len(names), 1, 0, 100)
        return encode_segment([(100 * n, frame) for n, frame in enumerate(moved)], form)

    return make


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests reaches a deployment of theirs."""
    for name in [name for name in os.environ if name.startswith("FACEWARRANT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def house(clean_environment: None, analyser: FaceAnalyser, tmp_path: Path) -> Iterator[House]:
    """A fresh deployment in `tmp_path / "home"`; afterwards its log must hold."""
    settings = read_settings(home=tmp_path / "home", threads=1, organisation="Test Studio")
    create(settings)
    with open_deployment(settings) as at:
        at.__dict__["analyser"] = analyser  # the cached property, filled with the shared models
        made = House(at)
        yield made
        at.archive.log.check()


def pictures_under(folder: Path) -> list[Path]:
    """Every file below a folder that any decoder takes for a picture, whatever its name."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            with Image.open(path) as image:
                np.asarray(image.convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError):
            continue
        found.append(path)
    return found


@pytest.fixture
def assert_only_marked() -> Callable[[Path, Deployment], int]:
    """`assert_only_marked(folder, deployment)`: how many pictures are there, all fully marked."""

    def check(folder: Path, at: Deployment) -> int:
        found = pictures_under(folder)
        for path in found:
            picture = decode(path.read_bytes())
            mark = at.watermark.detect(picture.frame)
            assert mark is not None, path
            reading = read_manifest(picture.data, picture.mime, anchors=at.anchors)
            assert reading.verdict == "trusted", path
            assert reading.bound_mark == mark.mark_id, path
            assert reading.bound_print == fingerprint(picture.frame).bits, path
        return len(found)

    return check


def assert_nothing_made(house: Any, outcome: Outcome) -> None:
    """No output anywhere, no use taken, and no warrant that still waits."""
    assert outcome.release is None
    assert house.kept() == []
    assert house.uses() == 0
    assert set(house.states()) <= {"aborted"}
    assert house.at.archive.registry.by_request(outcome.request_id) is None
    assert "release" not in house.kinds()


def check_refusal(house: Any, outcome: Outcome, *codes: str) -> None:
    assert (outcome.status, outcome.codes) == ("refused", codes)
    assert outcome.message
    assert outcome.mend
    assert {finding.code for finding in outcome.findings} == set(codes)
    for finding in outcome.findings:
        assert finding.cites, finding
        assert finding.explain, finding
        assert finding.mend, finding
    assert json.loads(json.dumps(outcome.as_json()))["codes"] == list(codes)
    assert_nothing_made(house, outcome)


def check_rejection(house: Any, outcome: Outcome, code: str) -> None:
    assert (outcome.status, outcome.codes) == ("rejected", (code,))
    assert outcome.message
    assert outcome.findings == ()
    assert_nothing_made(house, outcome)


def side_by_side(house: Any, *names: str) -> bytes:
    frames = [decode(house.picture(name)).frame for name in names]
    return encode(np.hstack(frames), "image/png")


@pytest.fixture(scope="session", name="assert_nothing_made")
def assert_nothing_made_fixture() -> Callable[..., None]:
    """`assert_nothing_made(house, outcome)`: no output, no use taken, no warrant that waits."""
    return assert_nothing_made


@pytest.fixture(scope="session", name="check_refusal")
def check_refusal_fixture() -> Callable[..., None]:
    """`check_refusal(house, outcome, *codes)`: refused for just that, with what would mend it."""
    return check_refusal


@pytest.fixture(scope="session", name="check_rejection")
def check_rejection_fixture() -> Callable[..., None]:
    """`check_rejection(house, outcome, code)`: rejected with that code, and nothing made."""
    return check_rejection


@pytest.fixture(scope="session", name="side_by_side")
def side_by_side_fixture() -> Callable[..., bytes]:
    """`side_by_side(house, *names)`: a PNG of several pictures of docs/demo, left to right."""
    return side_by_side
