"""A deployment made by `init` with the real face models, two rendered people, the command line."""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import generator.age
import generator.nudity
import pipelines.deployment
from pipelines.cli import main
from pipelines.demo import Demo, run_demo
from pipelines.deployment import Deployment, create, open_deployment, open_records
from pipelines.enrol import Enrolment
from pipelines.one import run_one, spec_of
from pipelines.people import Assurance, Scope, grant
from pipelines.settings import Settings, read_settings

DEMO = Path(__file__).parents[2] / "docs" / "demo"
# Not "rendered": that counts for the very files of docs/demo, and some tests change pictures.
SHOWN = Assurance(adult=True, age="document", evidence="check 1")


@dataclass(frozen=True)
class Home:
    """A home folder in which two people have consented; `released` where one swap was made."""

    path: Path
    source: str
    target: str

    @property
    def settings(self) -> Settings:
        return read_settings(home=self.path)

    @property
    def released(self) -> Path:
        return self.path / "released.webp"

    def pid(self, record_id: str) -> str:
        """The pseudonym of a consent's person."""
        with open_records(self.settings) as at:
            return at.consents.read(record_id).record.subject.pid

    def log_size(self) -> int:
        with open_records(self.settings) as at:
            return len(at.archive.log.entries())

    def run_words(self, out: Path, **changes: str) -> list[str]:
        """The words of a `run` that is permitted, with `changes` of single options."""
        options = {
            "source": str(DEMO / "persona1_0.webp"),
            "target": str(DEMO / "persona2_0.webp"),
            "source-consent": self.source,
            "target-consent": self.target,
            "purpose": "personal",
            "territory": "DE",
            "out": str(out),
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        return ["run", *(word for name, value in options.items() for word in (f"--{name}", value))]


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module", autouse=True)
def _nets_read_once(looked_at_once: None) -> Iterator[None]:
    """Every deployment opens its own nets; for all of these tests their files are read once."""
    openers = (
        (pipelines.deployment, "open_analyser"),
        (generator.age, "open_age_gate"),
        (generator.nudity, "open_nudity_gate"),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module, name in openers:
            patch.setattr(module, name, functools.cache(getattr(module, name)))
        yield


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test; the terminal has 80 columns."""
    for name in list(os.environ):
        if name.startswith("FACEWARRANT_") and not name.startswith("FACEWARRANT_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FACEWARRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """`cli(*words, answers="")`: run the command as a shell would."""

    def call(*words: object, answers: str = "") -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["facewarrant", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Ended(int(ended.value.code or 0), told.out, told.err)

    return call


@pytest.fixture(scope="session")
def _enrolled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = tmp_path_factory.mktemp("enrolled") / "home"
    settings = Settings(home=home, threads=1)
    create(settings)
    ids = []
    with open_deployment(settings) as at:
        for person, role in (("persona1", "source_identity"), ("persona2", "target_body")):
            views = [(DEMO / f"{person}_{view}.webp").read_bytes() for view in (1, 2)]
            scope = Scope((role,), ("personal",), ("DE",))
            ids.append(grant(Enrolment(tuple(views)), scope, SHOWN, at=at).record_id)
    return Home(home, *ids)


@pytest.fixture(scope="session")
def _after_release(_enrolled: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("released") / "home", _enrolled.source, _enrolled.target)
    shutil.copytree(_enrolled.path, home.path)
    spec = spec_of(
        [(home.source, "source_identity"), (home.target, "target_body")],
        request_id="first",
        operator="test",
        source=str(DEMO / "persona1_0.webp"),
        target=str(DEMO / "persona2_0.webp"),
        purpose="personal",
        audience="internal",
        territories=["DE"],
    )
    with open_deployment(Settings(home=home.path, threads=1)) as at:
        run_one(spec, out=home.released, at=at, observe=lambda *_: None)
    return home


@pytest.fixture
def home(_enrolled: Home, tmp_path: Path) -> Home:
    """A home of this test's own, with two people enrolled; FACEWARRANT_HOME names it."""
    return _copy(_enrolled, tmp_path)


@pytest.fixture
def released_home(_after_release: Home, tmp_path: Path) -> Home:
    """The same with one release in it."""
    return _copy(_after_release, tmp_path)


@pytest.fixture
def at(home: Home) -> Iterator[Deployment]:
    """The deployment of `home`, opened."""
    with open_deployment(home.settings) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("empty") / "home"
    create(Settings(home=home, threads=1))
    return home


@pytest.fixture
def empty_home(_empty: Path, tmp_path: Path) -> Path:
    """A home of this test's own in which nobody is enrolled; FACEWARRANT_HOME names it."""
    return Path(shutil.copytree(_empty, tmp_path / "home"))


def _copy(home: Home, folder: Path) -> Home:
    shutil.copytree(home.path, folder / "home")
    return Home(folder / "home", home.source, home.target)


@pytest.fixture(scope="session")
def told() -> list[str]:
    """What the demo said while it ran."""
    return []


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Demo:
    """The demo, run once."""
    return run_demo(tmp_path_factory.mktemp("demo") / "out", progress=told.append)
