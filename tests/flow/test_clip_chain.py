"""A video from consent to release; interrupted, withdrawn, measured frame by frame."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import provenance.pieces
from generator.swapper import Rendering, SwapTask, open_swapper
from generator.templates import pack_template
from pipelines.enrol import Enrolment
from pipelines.jobs import JobSpec
from pipelines.one import run_one, spec_of
from pipelines.outcome import Outcome
from pipelines.people import withdraw
from policies.digest import sha256_hex
from policies.errors import StoreUnavailable
from policies.tables import WARRANT
from policies.warrant import Warrant, read_warrant
from policies.warrants import WarrantDesk
from provenance.clip import frames, open_clip
from provenance.clip_release import ReleasedClip
from provenance.errors import ClipInUse
from provenance.lock import hold_alone

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "docs" / "demo"
FRAMES, PIECE = 4, 2


@pytest.fixture(scope="session")
def scene(film: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few frames of persona 2."""
    path = tmp_path_factory.mktemp("scene") / "scene.mp4"
    path.write_bytes(film(*["persona2_0"] * FRAMES))
    return path


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance.pieces, "PIECE_FRAMES", PIECE)


class Film:
    """One request for the scene in a house, run as the command line runs it."""

    def __init__(
        self, house: Any, scene: Path, out: Path, media: tuple[str, ...] = ("video",)
    ) -> None:
        self.house, self.out = house, out
        consent = {"media": media, "max_uses": 1}
        self.people = [
            (house.enrol("persona1", **consent), "source_identity"),
            (house.enrol("persona2", **consent), "target_body"),
        ]
        self.spec = self.asked(target=str(scene))

    def asked(self, **changes: Any) -> JobSpec:
        fields = {
            "operator": "test",
            "source": str(DEMO / "persona1_0.webp"),
            "purpose": "personal",
            "audience": "internal",
            "territories": ["DE"],
        }
        return spec_of(self.people, **(fields | changes))

    def run(self, observe: Callable[..., None] = lambda *_: None) -> Outcome:
        return run_one(self.spec, out=self.out, at=self.house.at, observe=observe)

    @property
    def work(self) -> list[Path]:
        folder = self.house.at.settings.home / "work"
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def pieces(self) -> list[str]:
        """The notes of pieces that are whole."""
        return [path.name for path in self.work if path.suffix == ".mac"]


@pytest.fixture
def made(house: Any, scene: Path, tmp_path: Path) -> Film:
    return Film(house, scene, tmp_path / "out" / "released.mp4")


class Switch:
    """The swapper geo, which does at its nth frame what a test tells it."""

    def __init__(self, at: int, act: Callable[[], None]) -> None:
        self._geo, self._at, self._act = open_swapper("geo"), at, act
        self.name, self.version, self.models = (
            self._geo.name,
            self._geo.version,
            self._geo.models,
        )
        self.count = 0

    def render(self, task: SwapTask) -> Rendering:
        self.count += 1
        if self.count == self._at:
            self._act()
        return self._geo.render(task)


MEASURE = "measure faces, age, nudity, opt-outs"
MAKE = "swap, mark, join, label, sign, read back, log"


def interrupt() -> None:
    raise KeyboardInterrupt


def use(made: Film, swapper: Switch) -> Switch:
    made.house.at.__dict__["swapper"] = swapper  # the cached property
    return swapper


def interrupted(made: Film) -> Switch:
    """Run the request and stop it in its second piece, as Ctrl-C does."""
    swapper = use(made, Switch(PIECE + 2, interrupt))
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert made.house.states() == ["started"]
    assert made.pieces() == ["0000000.mac"]
    assert made.house.kept() == []
    return swapper


def test_a_video_from_consent_to_release_and_again(made: Film) -> None:
    told: list[str] = []

    def observe(_request: str, step: str, _seconds: float) -> None:
        told.append(step)

    house, outcome = made.house, made.run(observe)
    assert outcome.status == "released", outcome
    assert told == [
        "precheck consents",
        "decode picture and video",
        MEASURE,
        "decide, issue warrant",
        MAKE,
    ]
    assert isinstance(outcome.release, ReleasedClip)
    assert outcome.as_json()["release"]["mime"] == "video/mp4"
    assert sha256_hex(made.out.read_bytes()) == outcome.release.sha256
    assert stat.S_IMODE(made.out.stat().st_mode) == 0o644
    report = house.at.verifier.verify(made.out)
    assert (report.verdict, report.consent) == ("authentic", "current")
    assert (house.states(), house.uses(), made.work) == (["released"], 2, [])
    [warrant] = warrants(house)
    assert (warrant.medium, warrant.blurred) == ("video", ())

    kinds = house.kinds()
    made.out.unlink()
    told.clear()
    assert made.run(observe) == outcome, "the same release, handed out again"
    assert told == ["ask the opt-outs again"], "nothing is made anew"
    assert sha256_hex(made.out.read_bytes()) == outcome.release.sha256
    assert (house.kinds(), made.work) == (kinds, [])


def test_what_was_interrupted_goes_on_under_the_same_warrant(made: Film, tmp_path: Path) -> None:
    house, told = made.house, list[str]()
    interrupted(made)
    # What a killed process leaves beside the pieces.
    left = house.at.settings.home / "work" / "targets" / made.spec.request_id / "left.part"
    left.parent.mkdir()
    left.write_bytes(b"half a copy")
    (left.parent / "again-1" / "deeper").mkdir(parents=True)
    (left.parent / "link").symlink_to(tmp_path)

    swapper = use(made, Switch(0, interrupt))
    outcome = made.run(lambda _request, step, _seconds: told.append(step))
    assert outcome.status == "released", outcome
    assert told == ["decode picture and video", MAKE], "not measured and decided again"
    assert swapper.count == FRAMES - PIECE, "the first piece was kept"
    assert (house.states(), house.uses()) == (["released"], 2)
    assert house.kinds().count("warrant") == house.kinds().count("release") == 1
    assert house.at.verifier.verify(made.out).verdict == "authentic"
    assert made.work == []


DRIVER = '''
"""The request in a process of its own, which says "here" in its second piece and then waits."""
import pathlib, sys, time

import provenance.pieces
from pipelines.deployment import open_deployment
from pipelines.jobs import read_spec
from pipelines.one import run_one
from pipelines.settings import read_settings

provenance.pieces.PIECE_FRAMES = 2
home, spec, out = sys.argv[1:]
with open_deployment(read_settings(home=home, threads=1)) as at:
    geo, tasks = at.swapper, []

    class Waiting:
        name, version, models = geo.name, geo.version, geo.models

        def render(self, task):
            tasks.append(task)
            if len(tasks) == 4:
                print("here", flush=True)
                time.sleep(300)
            return geo.render(task)

    at.__dict__["swapper"] = Waiting()
    spec = read_spec(pathlib.Path(spec).read_bytes())
    run_one(spec, out=pathlib.Path(out), at=at, observe=lambda *_: None)
'''


def test_what_was_killed_goes_on_too(made: Film, tmp_path: Path) -> None:
    house = made.house
    driver, document = tmp_path / "driver.py", tmp_path / "spec.json"
    driver.write_text(DRIVER)
    document.write_text(made.spec.model_dump_json(by_alias=True))
    process = subprocess.Popen(
        [sys.executable, driver, house.at.settings.home, document, made.out],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "here\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        assert process.wait(timeout=30) == -signal.SIGKILL
    assert (house.states(), made.pieces(), house.kept()) == (["started"], ["0000000.mac"], [])
    assert not made.out.exists()
    # What lies about: the copy of the target, as it was received, and a piece that is marked.
    [target, piece] = [path for path in made.work if path.suffix == ".mp4"][::-1]
    assert target.read_bytes() == Path(made.spec.target).read_bytes()
    clip = open_clip(piece, workspace=tmp_path)
    marks = [house.at.watermark.detect(frame) for _, frame in frames(clip)]
    assert len(marks) == PIECE
    assert all(mark is not None and mark.mark_id for mark in marks)

    swapper = use(made, Switch(0, interrupt))
    outcome = made.run()
    assert outcome.status == "released", outcome
    assert outcome.release is not None
    assert {mark.mark_id for mark in marks if mark} == {outcome.release.mark_id}
    assert swapper.count == FRAMES - PIECE
    assert (house.states(), house.uses(), made.work) == (["released"], 2, [])


def test_a_withdrawal_meanwhile_ends_it(made: Film) -> None:
    house = made.house
    interrupted(made)
    withdraw(made.people[1][0], at=house.at)
    outcome = made.run()
    assert (outcome.status, outcome.codes) == ("refused", ("CONSENT-STATUS",))
    assert (house.states(), house.uses(), made.work) == (["aborted"], 0, [])
    assert house.kept() == []
    assert not made.out.exists()


def test_a_warrant_that_was_never_started_is_not_taken_up(
    made: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WarrantDesk, "start", lambda *_given: interrupt())
    for states in (["issued"], ["aborted", "issued"]):
        with pytest.raises(KeyboardInterrupt):
            made.run()
        assert sorted(made.house.states()) == states
        assert made.house.uses() == 2, "one each"


def test_another_request_under_its_id_takes_nothing_over(made: Film) -> None:
    house = made.house
    interrupted(made)
    made.spec = made.asked(
        target=made.spec.target, request_id=made.spec.request_id, audience="public"
    )
    outcome = made.run()
    assert (outcome.status, outcome.codes) == ("refused", ("AUDIENCE-SCOPE",))
    assert (house.states(), house.uses(), made.work) == (["aborted"], 0, [])


def test_a_refusal_while_it_is_made_ends_it(made: Film) -> None:
    """Somebody opts out while the video is being made: the frame says so, nothing stays."""
    house = made.house

    def opt_out() -> None:
        views = Enrolment(tuple(house.picture(f"persona2_{n}") for n in (1, 2)))
        model = house.at.analyser.models[house.at.analyser.id_model]
        template = pack_template(views.run(house.at).template)
        house.at.optouts.add(template, model_sha256=model, pid="ps_" + "b" * 26)

    use(made, Switch(PIECE + 1, opt_out))
    outcome = made.run()
    assert (outcome.status, outcome.codes) == ("rejected", ("NOT-RELEASED",))
    assert "OPTED-OUT: frame 3, in second 0" in outcome.message
    assert (house.states(), house.uses(), made.work) == (["aborted"], 0, [])
    assert house.kept() == []


@pytest.mark.parametrize(
    ("shown", "codes"),
    [
        (("persona2_0", "persona3_0", "persona2_0"), {"BYSTANDER"}),
        (("persona3_0",), {"BYSTANDER", "FACE-MISMATCH"}),
    ],
    ids=["one frame of a stranger", "nobody who is named"],
)
def test_a_face_that_nobody_named_refuses_the_video(
    made: Film, film: Callable[..., bytes], tmp_path: Path, shown: tuple[str, ...], codes: set[str]
) -> None:
    path = tmp_path / "other.mp4"
    path.write_bytes(film(*shown))
    made.spec = made.asked(target=str(path))
    outcome = made.run()
    assert outcome.status == "refused"
    assert set(outcome.codes) >= codes
    assert "FACE-MISMATCH" not in set(outcome.codes) - codes
    assert (made.house.states(), made.work, made.house.kept()) == ([], [], [])


def test_a_consent_to_pictures_is_none_to_videos(house: Any, scene: Path, tmp_path: Path) -> None:
    told: list[str] = []
    made = Film(house, scene, tmp_path / "released.mp4", media=("image",))
    outcome = made.run(lambda _request, step, _seconds: told.append(step))
    assert (outcome.status, outcome.codes) == ("refused", ("MEDIA-SCOPE",))
    assert told == [], "no frame is decoded without a consent"


@pytest.mark.parametrize("bystanders", ["blur", "persona"])
def test_nobody_is_hidden_in_a_video(made: Film, bystanders: str) -> None:
    made.spec = made.asked(target=made.spec.target, bystanders=bystanders)
    outcome = made.run()
    assert (outcome.status, outcome.codes) == ("rejected", ("BLUR-UNAVAILABLE",))
    assert "name everybody" in outcome.mend


def test_a_video_that_breaks_off_is_rejected(made: Film, scene: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.mp4"
    path.write_bytes(scene.read_bytes()[:-3000])
    made.spec = made.asked(target=str(path))
    outcome = made.run()
    assert outcome.status == "rejected"
    assert outcome.codes[0].startswith(("VIDEO", "CLIP"))
    assert (made.house.states(), made.work) == ([], [])


def test_one_process_makes_a_video(made: Film) -> None:
    folder = made.house.at.settings.home / "work" / "targets" / made.spec.request_id
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(ClipInUse, match="another process"):
            made.run()
    finally:
        os.close(handle)
    assert made.house.states() == []


def test_pieces_that_another_process_has_are_left_to_it(made: Film) -> None:
    """The sweep may hold them for a moment: the warrant goes on, and so does a later run."""
    interrupted(made)
    [warrant] = warrants(made.house)
    pieces = made.house.at.settings.home / "work" / "pieces" / warrant.warrant_id
    with hold_alone(pieces), pytest.raises(ClipInUse, match="another process"):
        made.run()
    assert made.house.states() == ["started"]
    assert made.pieces() == ["0000000.mac"]
    swapper = use(made, Switch(0, interrupt))
    assert made.run().status == "released"
    assert swapper.count == FRAMES - PIECE


def test_a_left_copy_that_cannot_be_deleted_is_a_fault(
    made: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = made.house.at.settings.home / "work" / "targets" / made.spec.request_id
    (work / "again-1").mkdir(parents=True)

    def stuck(*_given: Any, **named: Any) -> None:
        if not named.get("ignore_errors"):
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(shutil, "rmtree", stuck)
    with pytest.raises(StoreUnavailable, match=r"cannot empty .*: Operation not permitted"):
        made.run()
    assert made.house.states() == []


@pytest.mark.parametrize("place", ["work", "work/targets"])
def test_a_work_folder_that_is_none_is_a_fault(made: Film, place: str) -> None:
    path = made.house.at.settings.home / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(StoreUnavailable, match="cannot"):
        made.run()


def warrants(house: Any) -> list[Warrant]:
    with house.at.desk.database.transaction() as connection:
        return [read_warrant(row) for row in connection.scalars(sa.select(WARRANT.c.document))]
