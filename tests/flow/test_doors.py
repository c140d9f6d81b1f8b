"""No warrant, no swap, no mark, no signature, no release: every door by name, every bad warrant.

A door is a public callable through which pixels are made, marked, signed or let out. The last test
walks `generator` and `provenance` and fails when there is one that this table does not name.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

import generator
import provenance
from generator.clip_swap import swap_clip
from generator.errors import FaceError, SwapRefused
from generator.faces import Face, IdThresholds
from generator.gates import Gates, open_gates
from generator.laying import lay_out
from generator.mixing import StyleMixSwapper
from generator.persona_task import PersonaTask
from generator.personas import open_personas
from generator.stylise import open_stylise
from generator.swap import swap
from generator.swapper import Rendering, SwapperName, SwapTask, open_swapper
from generator.templates import pack_template
from policies.canonical import canonical
from policies.digest import sha256_hex
from policies.errors import Error
from policies.keys import SigningKey
from policies.optout import OptOutBook
from policies.warrant import WARRANT_SECONDS, WarrantInvalid, read_warrant
from policies.warrants import ActiveWarrant, WarrantDesk
from provenance.assertions import LogPosition
from provenance.asset import Inputs
from provenance.c2pa import sign_manifest
from provenance.clip import Clip, frames, open_clip
from provenance.clip_draft import ClipDraft
from provenance.clip_release import release_clip
from provenance.draft import Draft, Maker
from provenance.manifest import SwapClaim
from provenance.media import Picture, encode
from provenance.release import release
from provenance.watermark import Payload, issue_payload, list_watermarks, open_watermark
from provenance.watermark.learned.message import derive_message_key
from provenance.watermark.learned.onnx_mark import LearnedMark

SOURCE_BOX, TARGET_BOX = (100, 100, 300, 300), (50, 60, 250, 260)
STRANGER_BOX = (300, 300, 500, 500)
COSE = b"\x84\x6aSignature1" + bytes(64)


MODEL_SHA256 = sha256_hex(b"identity model")  # as in tests/conftest.py
MEDIA = ["image", "video"]


@dataclass
class Site:
    """A studio with two inputs, a good warrant for them, and a note of what was reached.

    The target of a door for videos is a clip, of all others a picture.
    """

    studio: Any
    source: Picture
    target: Any
    good: ActiveWarrant
    reached: list[str]
    gates: Gates
    folder: Path
    stranger: bool = False
    """Whether the warrants say to replace somebody whom nobody named."""

    @property
    def medium(self) -> str:
        return "video" if isinstance(self.target, Clip) else "image"

    def face(self, box: tuple[int, int, int, int]) -> Face:
        return Face(
            box=box,
            score=0.9,
            mesh=np.random.default_rng(0).uniform(50, 250, (468, 3)).astype(np.float32),
            iris=np.zeros((2, 5, 2), np.float32),
            pose=(0.0, 0.0, 0.0),
            id_vector=np.ones(8, np.float32),
        )

    def warrant(self, source: Any, target: Any, **changes: object) -> ActiveWarrant:
        """A started warrant for these inputs, with faces where this site's are."""
        started = self.admit(source, target, **changes)
        return self.studio.office.desk.start(started)

    def admit(self, source: Any, target: Any, **changes: object) -> Any:
        office = self.studio.office
        name = f"doors-{len(self.reached)}-{source.sha256[:8]}-{target.sha256[:8]}"
        fields: dict[str, Any] = {"medium": self.medium, "request_id": name} | changes
        consent = {"face": pack_template(self.face(SOURCE_BOX).id_vector), "media": MEDIA}
        people = [(office.enrol(**consent), r) for r in ("source_identity", "target_body")]
        seen: dict[str, Any] = {}
        if self.stranger:
            fields |= {"bystanders": "persona"}
            seen = {"blurred": [STRANGER_BOX], "target_faces": 2}
        request = office.request(
            people,
            source_sha256=source.sha256,
            target_sha256=target.sha256,
            **fields,
        )
        boxes = {"source_identity": SOURCE_BOX, "target_body": TARGET_BOX}
        models = {"idnet": MODEL_SHA256, **self.gates.models}
        measured = office.measured(request, boxes=boxes, models=models, **seen)
        return office.desk.admit(request, measured)

    def task(self, warrant: ActiveWarrant) -> SwapTask:
        return SwapTask(
            warrant,
            source=self.source,
            target=self.target,
            source_face=self.face(SOURCE_BOX),
            target_face=self.face(TARGET_BOX),
        )

    def draft(self, warrant: ActiveWarrant) -> Draft | ClipDraft:
        fields: dict[str, Any] = {
            "warrant": warrant,
            "source": self.source,
            "target": self.target,
            "faces": (),
            "maker": Maker("geo", "1", {}),
        }
        if isinstance(self.target, Clip):
            return ClipDraft(self.unchanged, **fields)
        return Draft(self.target.frame, **fields)

    def unchanged(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """The clip's own frames: what a swapper that changes nothing makes."""
        self.reached.append("render")
        return frames(self.target, start=start, stop=stop)

    def note(self, what: str, result: Any = None) -> Callable[..., Any]:
        def reached(*_given: object, **_named: object) -> Any:
            self.reached.append(what)
            return result

        return reached


@pytest.fixture(scope="session")
def clip(film: Callable[..., bytes], tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two frames of persona 2."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "given.mp4").write_bytes(film("persona2_0", "persona2_0"))
    return open_clip(folder / "given.mp4", workspace=folder)


@pytest.fixture
def site(
    studio: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    clip: Clip,
) -> Site:
    """A site whose gates find everything in order, and note that they were asked.

    It is one for videos where the test is about such a door, by the parameter `name`.
    """
    name = getattr(request.node, "callspec", SimpleNamespace(params={})).params.get("name", "")
    office, reached = studio.office, list[str]()

    def net(name: str) -> SimpleNamespace:
        def measure(*_seen: object) -> SimpleNamespace:
            reached.append(name)
            return SimpleNamespace(state="clear")

        return SimpleNamespace(measure=measure)

    monkeypatch.setattr("generator.age.open_age_gate", lambda _threads: net("age"))
    monkeypatch.setattr("generator.nudity.open_nudity_gate", lambda _threads: net("nudity"))
    gates = open_gates(OptOutBook(office.database, office.log, office.subject_keys, office.clock))
    target = clip if name in FOR_CLIPS else studio.picture("persona2_0")
    folder = tmp_path / "work"
    made = Site(studio, studio.picture("persona1_0"), target, None, reached, gates, folder)  # type: ignore[arg-type]
    made.stranger = name in FOR_STRANGERS
    made.good = made.warrant(made.source, made.target)
    return made


# ------------------------------------------------------------------------------ the doors


def door_swap(site: Site, warrant: Any, gates: Any = None) -> object:
    def analyse(frame: Any) -> list[Face]:
        site.reached.append("analyser")
        shown = SOURCE_BOX if frame is site.source.frame else TARGET_BOX
        return [site.face(shown)]

    analyser = SimpleNamespace(
        analyse=analyse,
        locate=lambda frame: [face.box for face in analyse(frame)],
        models={"idnet": MODEL_SHA256},
        id_model="idnet",
        thresholds=IdThresholds(match=0.4, mismatch=0.5),
    )

    def render(task: SwapTask) -> Rendering:
        site.reached.append("swapper")
        return Rendering(task.target.frame, np.zeros((512, 512), np.float32))

    swapper = SimpleNamespace(name="spy", version="1", models={}, render=render)
    return (swap_clip if site.medium == "video" else swap)(
        site.source,
        site.target,
        warrant=warrant,
        analyser=analyser,  # type: ignore[arg-type]
        swapper=swapper,  # type: ignore[arg-type]
        gates=site.gates if gates is None else gates,
    )


def door_task(site: Site, warrant: Any) -> object:
    return site.task(warrant)


def stale_task(site: Site, warrant: Any) -> SwapTask:
    """A task that was lawful once; its warrant was exchanged or has ended since."""
    task: SwapTask = built(
        SwapTask,
        warrant=warrant,
        source=site.source,
        target=site.target,
        source_face=site.face(SOURCE_BOX),
        target_face=site.face(TARGET_BOX),
    )
    return task


def door_persona(site: Site, warrant: Any) -> object:
    return PersonaTask(
        stale_task(site, warrant),
        target_face=site.face(STRANGER_BOX),
        persona=open_personas().people[0],
        persona_face=site.face(SOURCE_BOX),
    )


def door_render(name: str) -> Callable[[Site, Any], object]:
    return lambda site, warrant: open_swapper(name).render(stale_task(site, warrant))


def door_style(method: str, *more: object) -> Callable[[Site, Any], object]:
    return lambda site, warrant: getattr(open_stylise("ink"), method)(
        stale_task(site, warrant), *more
    )


def door_lay_out(site: Site, warrant: Any) -> object:
    return lay_out(stale_task(site, warrant), 0.5)


def door_stylemix(method: str) -> Callable[[Site, Any], object]:
    def open_door(site: Site, warrant: Any) -> object:
        network: Any = SimpleNamespace(
            card=SimpleNamespace(name="stylemix"), models={}, run=site.note("network")
        )
        return getattr(StyleMixSwapper(network), method)(stale_task(site, warrant))

    return open_door


def door_draft(site: Site, warrant: Any) -> object:
    return site.draft(warrant)


def door_issue(site: Site, warrant: Any) -> object:
    return issue_payload(warrant, rng=site.note("randomness", b"123456"))


def door_payload(_site: Site, warrant: Any) -> object:
    return Payload("0" * 12, 1, warrant)


def door_embed(name: str) -> Callable[[Site, Any], object]:
    def open_door(site: Site, warrant: Any) -> object:
        payload = object.__new__(Payload)
        for field, value in {"mark_id": "ab" * 6, "version": 2, "warrant": warrant}.items():
            object.__setattr__(payload, field, value)
        return open_watermark(name, keys=(b"m" * 32,)).embed(site.target.frame, payload)

    return open_door


def door_learned(site: Site, warrant: Any) -> object:
    """No weights ship: networks that answer anything stand in, so that a good warrant gets on."""
    said = {"mark_id": "ab" * 6, "version": 2}
    found = iter([None, SimpleNamespace(**said)])
    mark = built(
        LearnedMark,
        _keys=[derive_message_key(b"m" * 32)],
        _card=SimpleNamespace(input=SimpleNamespace(side_px=64), psnr_db=42.0),
        _encoder=SimpleNamespace(run=lambda *_given: [np.ones((1, 1, 64, 64), np.float32)]),
        detect=lambda _image: next(found),
    )
    return mark.embed(site.target.frame, built(Payload, **said, warrant=warrant))


def door_sign(site: Site, warrant: Any) -> object:
    return site.studio.press.signer.sign(COSE, warrant=warrant)


def door_sign_manifest(site: Site, warrant: Any) -> object:
    document = site.good.document
    claim = SwapClaim(
        title="0123456789ab",
        mime="image/webp",
        mark_id=bytes(6),
        watermark="org.facewarrant.spread.2",
        fingerprint="0f" * 32,
        warrant_hash=document.sha256,
        decision_hash=document.decision_sha256,
        policy_sha256=document.policy_sha256,
        models={},
        swapper_name="geo",
        swapper_version="1",
        log=LogPosition(origin=document.log_origin, index=1, size=2),
        consents=tuple((f"{n:064x}", p.role) for n, p in enumerate(document.people)),
    )
    return sign_manifest(
        encode(site.target.frame, "image/webp"),
        claim,
        inputs=Inputs(site.target, site.source),
        signer=site.studio.press.signer,
        warrant=warrant,
        stamper=site.studio.press.stamper,
    )


def door_release(site: Site, warrant: Any) -> object:
    is_clip = site.medium == "video"
    draft = object.__new__(ClipDraft if is_clip else Draft)
    made = {"render": site.unchanged} if is_clip else {"frame": site.target.frame}
    fields = {
        **made,
        "warrant": warrant,
        "source": site.source,
        "target": site.target,
        "faces": (),
        "maker": Maker("geo", "1", {}),
    }
    for field, value in fields.items():
        object.__setattr__(draft, field, value)
    if is_clip:
        return release_clip(draft, press=site.studio.press, folder=site.folder)
    return release(draft, press=site.studio.press)


def door_finish(site: Site, warrant: Any) -> object:
    return site.studio.office.desk.finish(warrant, {}, record=site.note("record"))


def name_of(value: object, method: str) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}.{method}"


DOORS: dict[str, Callable[[Site, Any], object]] = {
    "generator.swap.swap": door_swap,
    "generator.clip_swap.swap_clip": door_swap,
    "generator.swapper.SwapTask.__init__": door_task,
    "generator.persona_task.PersonaTask.__init__": door_persona,
    "generator.laying.lay_out": door_lay_out,
    **{name_of(open_swapper(n), "render"): door_render(n) for n in get_args(SwapperName)},
    # With a network that notes it was reached, in place of the shipped one.
    "generator.stylise.StyleSwapper.render": door_style("render"),
    "generator.stylise.StyleSwapper.render_after": door_style("render_after", ()),
    "generator.stylise.StyleSwapper.sketch": door_style("sketch"),
    "generator.mixing.StyleMixSwapper.mix": door_stylemix("mix"),
    "generator.mixing.StyleMixSwapper.render": door_stylemix("render"),
    "provenance.draft.Draft.__init__": door_draft,
    "provenance.clip_draft.ClipDraft.__init__": door_draft,
    "provenance.watermark.payload.issue_payload": door_issue,
    "provenance.watermark.payload.Payload.__init__": door_payload,
    **{
        name_of(open_watermark(n, keys=(bytes(32),)), "embed"): door_embed(n)
        for n in list_watermarks()
    },
    "provenance.watermark.learned.onnx_mark.LearnedMark.embed": door_learned,
    "provenance.signers.ClaimSigner.sign": door_sign,
    "provenance.c2pa.sign_manifest": door_sign_manifest,
    "provenance.release.release": door_release,
    "provenance.clip_release.release_clip": door_release,
    "policies.warrants.WarrantDesk.finish": door_finish,
}
FOR_CLIPS = {
    "generator.clip_swap.swap_clip",
    "provenance.clip_draft.ClipDraft.__init__",
    "provenance.clip_release.release_clip",
}
"""Doors whose target is a video."""

FOR_STRANGERS = {"generator.persona_task.PersonaTask.__init__"}
"""Doors that open only for a warrant under which strangers are replaced."""

LAY_OUT = (".render", ".mix", ".lay_out")
"""How the names of those doors end that put one face onto another."""

SEE_MEDIUM = {
    "generator.swap.swap",
    "generator.swapper.SwapTask.__init__",
    *FOR_STRANGERS,
    *(name for name in DOORS if name.endswith(LAY_OUT)),
    "provenance.draft.Draft.__init__",
    "provenance.release.release",
    *FOR_CLIPS,
}
SEE_INPUTS = {*SEE_MEDIUM, "provenance.c2pa.sign_manifest"}
"""Doors that are given both inputs, so that a warrant for others is seen there."""


# ------------------------------------------------------------------------------ the bad warrants


class Louder(ActiveWarrant):
    """A subclass that finds everything in order."""

    __slots__ = ()

    def require(self, **_digests: object) -> None:
        """Return."""


def built(kind: type, **fields: object) -> Any:
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def no_warrant(_site: Site) -> Any:
    return None


def the_document(site: Site) -> Any:
    return site.good.document


def its_bytes(site: Site) -> Any:
    return site.good.document.encode()


def a_stand_in(site: Site) -> Any:
    return SimpleNamespace(document=site.good.document, require=lambda **_digests: None)


def a_subclass(site: Site) -> Any:
    return built(Louder, document=site.good.document, _desk=site.studio.office.desk)


def an_empty_shell(_site: Site) -> Any:
    return object.__new__(ActiveWarrant)


def a_shell_without_desk(site: Site) -> Any:
    return built(ActiveWarrant, document=site.good.document)


def a_shell_with_a_lenient_desk(site: Site) -> Any:
    desk = SimpleNamespace(check=lambda *_given, **_named: None)
    return built(ActiveWarrant, document=site.good.document, _desk=desk)


def a_shell_with_a_lenient_desk_class(site: Site) -> Any:
    class Lenient(WarrantDesk):
        def check(self, *_given: Any, **_named: Any) -> None:
            """Return."""

    desk = built(Lenient)
    return built(ActiveWarrant, document=site.good.document, _desk=desk)


def the_class(_site: Site) -> Any:
    return ActiveWarrant


def issued_not_started(site: Site) -> Any:
    document = site.admit(site.source, site.target)
    return built(ActiveWarrant, document=document, _desk=site.studio.office.desk)


def finished(site: Site) -> Any:
    site.studio.office.desk.finish(site.good, {}, record=lambda *_given: None)
    return site.good


def aborted(site: Site) -> Any:
    site.studio.office.desk.abort(site.good.document, "test")
    return site.good


def expired(site: Site) -> Any:
    site.studio.office.clock.now += WARRANT_SECONDS
    return site.good


def before_its_time(site: Site) -> Any:
    site.studio.office.clock.now -= 1
    return site.good


def source_withdrawn(site: Site) -> Any:
    site.studio.office.withdraw(site.good.document.people[0].record_id)
    return site.good


def target_withdrawn(site: Site) -> Any:
    site.studio.office.withdraw(site.good.document.people[1].record_id)
    return site.good


def made_longer(site: Site) -> Any:
    forged = site.good.document.model_copy(update={"expires_at": 2 * WARRANT_SECONDS})
    return built(ActiveWarrant, document=forged, _desk=site.studio.office.desk)


def signed_by_another_desk(site: Site) -> Any:
    """The very same document, under a key that is not our desk's."""
    key = SigningKey.from_seed(b"x" * 32)
    body = site.good.document.body() | {"kid": key.public.kid}
    forged = read_warrant(canonical(body | {"sig": key.sign("warrant", body)}))
    return built(ActiveWarrant, document=forged, _desk=site.studio.office.desk)


def never_issued(site: Site) -> Any:
    """Signed with our own key, but not in our books: a key that was stolen."""
    key = site.studio.office.desk_key
    body = site.good.document.body() | {"warrant_id": "00000000-0000-4000-8000-00000000dead"}
    forged = read_warrant(canonical(body | {"sig": key.sign("warrant", body)}))
    return built(ActiveWarrant, document=forged, _desk=site.studio.office.desk)


def for_another_source(site: Site) -> Any:
    return site.warrant(site.studio.picture("persona3_0"), site.target)


def for_another_target(site: Site) -> Any:
    return site.warrant(site.source, site.studio.picture("persona3_0"))


def for_another_medium(site: Site) -> Any:
    other = "image" if site.medium == "video" else "video"
    return site.warrant(site.source, site.target, medium=other, request_id="doors-other")


def with_pictures_exchanged(site: Site) -> Any:
    return site.warrant(site.target, site.source)


BAD: dict[Callable[[Site], Any], str] = {
    no_warrant: "WARRANT-REQUIRED",
    the_document: "WARRANT-REQUIRED",
    its_bytes: "WARRANT-REQUIRED",
    a_stand_in: "WARRANT-REQUIRED",
    a_subclass: "WARRANT-REQUIRED",
    an_empty_shell: "WARRANT-REQUIRED",
    a_shell_without_desk: "WARRANT-REQUIRED",
    a_shell_with_a_lenient_desk: "WARRANT-REQUIRED",
    a_shell_with_a_lenient_desk_class: "WARRANT-REQUIRED",
    the_class: "WARRANT-REQUIRED",
    issued_not_started: "WARRANT-SPENT",
    finished: "WARRANT-SPENT",
    aborted: "WARRANT-SPENT",
    expired: "WARRANT-EXPIRED",
    before_its_time: "CLOCK-ROLLBACK",
    source_withdrawn: "CONSENT-CHANGED",
    target_withdrawn: "CONSENT-CHANGED",
    made_longer: "WARRANT-FORGED",
    signed_by_another_desk: "WARRANT-FORGED",
    never_issued: "WARRANT-UNKNOWN",
    for_another_source: "WARRANT-OTHER-INPUT",
    for_another_target: "WARRANT-OTHER-INPUT",
    with_pictures_exchanged: "WARRANT-OTHER-INPUT",
    for_another_medium: "WARRANT-OTHER-MEDIUM",
}
SEEN_BY = {"WARRANT-OTHER-INPUT": SEE_INPUTS, "WARRANT-OTHER-MEDIUM": SEE_MEDIUM}


def codes_of(error: BaseException) -> set[str]:
    """The codes of an error and of what caused it."""
    found: set[str] = set()
    cause: BaseException | None = error
    while cause is not None and len(found) < 10:
        found.add(getattr(cause, "code", ""))
        cause = cause.__cause__
    return found


CASES = [
    pytest.param(name, make, id=f"{name} {make.__name__}")
    for name in DOORS
    for make, code in BAD.items()
    # A door that is given no input cannot compare them; release, behind all of them, does.
    if name in SEEN_BY.get(code, DOORS)
]


@pytest.mark.parametrize(("name", "make"), CASES)
def test_door_stays_shut(site: Site, name: str, make: Callable[[Site], Any]) -> None:
    code = BAD[make]
    bad = make(site)
    kinds = site.studio.kinds()
    with pytest.raises(Error) as caught:
        DOORS[name](site, bad)
    expected = "WARRANT-REQUIRED" if name.endswith("Payload.__init__") else code
    assert expected in codes_of(caught.value), codes_of(caught.value)
    assert (
        isinstance(caught.value, WarrantInvalid)
        or code == "CLOCK-ROLLBACK"
        or (DOORS[name] is door_release and caught.value.code == "NOT-RELEASED")
    )
    # Nothing was looked at, drawn, recorded, kept or logged, an abort apart.
    assert site.reached == []
    assert site.studio.kept() == []
    assert not list(site.folder.rglob("*"))
    assert [kind for kind in site.studio.kinds()[len(kinds) :] if kind != "abort"] == []


@pytest.mark.parametrize("name", DOORS)
def test_door_opens_for_a_good_warrant(site: Site, name: str) -> None:
    """The refusals above are the warrant's doing: with a good one the same calls go through."""
    if name.endswith("Payload.__init__"):
        with pytest.raises(WarrantInvalid):  # nobody builds one by hand, whatever they hold
            DOORS[name](site, site.good)
        return
    if name.startswith("generator.stylise."):
        with pytest.raises(SwapRefused) as caught:  # it names two people, a style takes one
            DOORS[name](site, site.good)
        assert caught.value.code == "STYLE-NOT-ONE-PERSON"
        return
    if name.endswith(LAY_OUT):
        with pytest.raises(FaceError) as caught:  # the faces of this test are no faces
            DOORS[name](site, site.good)
        assert caught.value.code == "SWAP-OUT-OF-RANGE"
        return
    assert DOORS[name](site, site.good) is not None


@pytest.mark.parametrize("name", DOORS)
def test_door_that_was_open_shuts_with_the_withdrawal(site: Site, name: str) -> None:
    """A capability is no memory: it is asked again at every step, also by who passed before."""
    site.draft(site.good)  # the step before
    source_withdrawn(site)
    with pytest.raises(Error) as caught:
        DOORS[name](site, site.good)
    assert codes_of(caught.value) & {"CONSENT-CHANGED", "WARRANT-REQUIRED"}


@pytest.mark.parametrize(
    "gates",
    [True, object(), SimpleNamespace(look_age=None), object.__new__(Gates), Gates],
    ids=["true", "object", "stand-in", "empty shell", "class"],
)
def test_without_the_gates_a_good_warrant_opens_nothing(site: Site, gates: object) -> None:
    with pytest.raises(FaceError) as caught:
        door_swap(site, site.good, gates)
    assert caught.value.code == "GATES-REQUIRED"
    assert site.reached == [], "nothing was even looked at"
    assert site.studio.kept() == []


def test_a_swap_looks_at_what_it_made_and_at_who_opted_out(site: Site) -> None:
    door_swap(site, site.good)
    assert site.reached[-2:] == ["swapper", "nudity"], "the result is looked at last"
    site.studio.office.database.close()
    with pytest.raises(Error):
        door_swap(site, site.good)


# ------------------------------------------------------------------------------ copies, shells


@pytest.mark.parametrize("grant", [None, True, object(), "grant"])
def test_capability_cannot_be_constructed(site: Site, grant: object) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        ActiveWarrant(grant, site.good.document, site.studio.office.desk)
    assert caught.value.code == "WARRANT-REQUIRED"


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("what", ["warrant", "payload", "draft", "task", "persona"])
def test_capability_cannot_be_copied_or_pickled(
    site: Site, what: str, copier: Callable[[object], object]
) -> None:
    value = {
        "warrant": lambda: site.good,
        "payload": lambda: issue_payload(site.good, rng=bytes),
        "draft": lambda: site.draft(site.good),
        "task": lambda: site.task(site.good),
        "persona": lambda: open_personas().people[0],
    }[what]()
    with pytest.raises(Error) as caught:
        copier(value)
    assert caught.value.code in ("WARRANT-REQUIRED", "SWAP-REFUSED")


@pytest.mark.parametrize("changes", [{}, {"mark_id": "0" * 12}, {"version": 2}])
def test_payload_cannot_be_derived_from_another(site: Site, changes: dict[str, Any]) -> None:
    payload = issue_payload(site.good, rng=bytes)
    with pytest.raises((WarrantInvalid, AttributeError, ValueError)):
        dataclasses.replace(payload, **changes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        payload.mark_id = "0" * 12  # type: ignore[misc]


@pytest.mark.parametrize("name", DOORS)
def test_clone_of_a_capability_is_worth_no_more_than_the_original(site: Site, name: str) -> None:
    """Slots can be copied by force; the clone then ends with the original, at the desk."""
    clone = built(
        ActiveWarrant, **{name: getattr(site.good, name) for name in ActiveWarrant.__slots__}
    )
    clone.require()
    site.studio.office.desk.finish(site.good, {}, record=lambda *_given: None)
    with pytest.raises(Error) as caught:
        DOORS[name](site, clone)
    assert codes_of(caught.value) & {"WARRANT-SPENT", "WARRANT-REQUIRED"}


def test_document_of_another_desk_does_not_start_here(site: Site, studio: Any) -> None:
    abroad = type(studio.office)()
    abroad.desk = dataclasses.replace(abroad.desk, key=SigningKey.from_seed(b"x" * 32))
    request = abroad.swap_request()
    document = abroad.desk.admit(request, abroad.measured(request))
    with pytest.raises(WarrantInvalid) as caught:
        studio.office.desk.start(document)
    assert caught.value.code == "WARRANT-FORGED"


@pytest.mark.parametrize(
    "name",
    [
        "policies.warrants.WarrantDesk.finish",
        "provenance.release.release",
        "provenance.clip_release.release_clip",
    ],
)
def test_capability_of_another_desk_gets_nothing_out_here(
    site: Site, studio: Any, pki: Any, tmp_path: Path, name: str
) -> None:
    """A whole foreign desk in this process: its warrants open none of our ways out."""
    abroad = type(studio)(pki, tmp_path / "abroad")
    abroad.office.desk = dataclasses.replace(
        abroad.office.desk, key=SigningKey.from_seed(b"x" * 32)
    )
    foreign = abroad.warrant_under(site.source, site.target, {"media": MEDIA}, medium=site.medium)
    foreign.require()
    with pytest.raises(WarrantInvalid) as caught:
        DOORS[name](site, foreign)
    assert caught.value.code == "WARRANT-FORGED"
    assert (site.reached, studio.kept()) == ([], [])
    assert "release" not in studio.kinds()


# ------------------------------------------------------------------------------ no door untested

GUARDED = re.compile(
    r"\b(ActiveWarrant|Composite|(Clip)?Draft|Layers|Lay|Payload|Permit|PersonaTask|Signed|Released(Clip)?"
    r"|Rendering|SwapTask)\b"
)

NO_DOORS: dict[str, str] = {
    "generator.swap.pick_face": "reads face boxes out of a warrant; makes nothing",
    "provenance.draft.require_models": "compares the digests of models; only raises",
    "generator.swap.require_named": "reads face boxes out of a warrant; only raises",
    "generator.swapper.named_boxes": "reads face boxes out of a warrant",
    "generator.swapper.require_task": "the check of every render; only returns what is permitted",
    "generator.persona_task.require_persona_task": "the check of lay_out; makes nothing",
    "generator.bystanders.protect": "hides faces, or lays personas out through lay_out, a door",
    "generator.bystanders.replace_faces": "the same, with the lay_out that it is given",
    "generator.composite.compose": "lays a pair of the ledger out through lay_out, a door",
    "generator.ledger_pair.keep_composite": "what compose has made; see the last test",
    "generator.ledger_pair.LedgerPair.__init__": "two pictures the ledger admitted; asked again",
    "generator.triplets.cut_square": "cuts a sample out of what lay_out, a door, has laid out",
    "generator.stylise.require_one_person": "reads people out of a warrant; only raises",
    "generator.swapper.FollowingSwapper.render_after": "protocol; StyleSwapper's is a door",
    "generator.laying.paste": "puts a window back that lay_out, a door, has laid out",
    "generator.mixing.repaint": "changes layers that lay_out, a door, has laid out",
    "generator.mixing.Finish.apply": "protocol; changes layers that lay_out has laid out",
    "generator.detail.DetailRestoration.apply": "changes layers that lay_out has laid out",
    "generator.detail.detail_square": "a place in layers; no pixels",
    "generator.eyes.EyeReflections.apply": "changes layers that lay_out has laid out",
    "generator.eyes.light_of": "a direction read out of layers; no pixels",
    "generator.swapper.Swapper.render": "protocol; each registered swapper is a door",
    "provenance.draft.require_draft": "the check of release; only returns what it was given",
    "provenance.watermark.Watermark.embed": "protocol; each registered watermark is a door",
    "provenance.watermark.payload.require_payload": "the check of every embed",
    "provenance.watermark.learned.message.write_message": "bits of a payload that was issued",
    "provenance.signers.Signer.sign": "protocol; ClaimSigner is a door",
    "provenance.clip_draft.require_clip_draft": "the check of release_clip",
    "provenance.clip_release.redeliver_clip": "only bytes that say released, as redeliver",
    "provenance.press.Made.warrant": "protocol; what both drafts hold",
    "provenance.press.enter": "logs and closes a release through WarrantDesk.finish, a door",
    "provenance.press.sign_release": "signs through sign_manifest, a door",
    "provenance.press.write_packet": "metadata of a payload that issue_payload gave; no pixels",
    "provenance.c2pa.sign_update": "a notice of withdrawal opens it; see test_notice.py",
    "provenance.release.redeliver": "only bytes whose warrant, log entry and marks say released",
    "generator.swap.require_untouched": "compares a rendering with its target; only raises",
    "generator.swap.require_person": "compares a face with its consent; only raises",
    "generator.swap.require_apart": "compares the boxes of a warrant; only raises",
}

PIXELS: dict[str, str] = {
    "provenance.sight.Printer.take": "what is verified, made smaller to be compared",
    "provenance.sight.shrink": "what is verified, made smaller to be compared",
    "generator.age.crops_of": "crops that a net looks at; they leave no gate",
    "generator.anonymise.blur_faces": "makes a face unrecognisable; makes no swap",
    "generator.detection.letterbox": "a picture made smaller, for a net to look at",
    "generator.insight.IdNet.align": "a crop that a net looks at",
    "generator.landmarks.warp_square": "a crop that a net looks at",
    "generator.landmarks.shrink_for": "a picture made smaller, for a net to look at",
    "generator.nudity.views_of": "crops that a net looks at; they leave no gate",
    "generator.nudity.average": "a picture made smaller, for a net to look at",
    "generator.casting.refusal": "an error about a frame; it holds no pixels",
    "generator.clip_frames.watch": "what was received, bound to its file",
    "generator.clip_frames.require_clip_frame": "the check of every task; returns what it is given",
    "provenance.clip.frames": "what was received, frame by frame",
    "provenance.clip_reading.read_part": "the same, in the process that decodes it",
    "provenance.video.checked": "what was filmed, held against the caps",
    "provenance.video.timed": "what was filmed, decoded in time",
    "provenance.video.turned": "what was filmed, upright",
    "provenance.video.read_frames": "what was filmed, for an enrolment",
    "provenance.video_sandbox.read_apart": "the same, decoded in another process",
    "provenance.disturbance.disturb": "a picture in another light; who is in it stays",
    "provenance.media.views": "what was received, on black and on white",
    "provenance.fingerprints.turn_back": "what was received, turned or mirrored",
    "provenance.visible_label.VisibleLabel.draw": "draws a label onto what was there",
    "provenance.watermark.Watermark.embed": "protocol; each registered watermark is a door",
    "provenance.watermark.writing.add_at": "adds a plane that the embed, a door, has laid",
    "provenance.watermark.writing.recode_as_jpeg": "a copy, to be read back",
}
"""Callables that return pixels and need no warrant: none of them puts a face anywhere."""


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the imported libraries deprecate is not ours
            yield importlib.import_module(found.name)


def callables(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Public functions and methods that a module defines, constructors included."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(value):
            for method, member in vars(value).items():
                if not method.startswith("_") or method == "__init__":
                    function = inspect.unwrap(getattr(member, "__func__", member))
                    function = getattr(function, "fget", function)
                    yield f"{module.__name__}.{name}.{method}", function
        elif callable(value):
            yield f"{module.__name__}.{name}", value


def annotations(function: Any) -> dict[str, Any]:
    return getattr(function, "__annotations__", None) or {}


def mentions(function: Any) -> bool:
    return any(GUARDED.search(str(annotation)) for annotation in annotations(function).values())


def test_every_callable_that_touches_a_guarded_type_is_a_door_or_says_why_not() -> None:
    found = {
        name
        for package in (generator, provenance)
        for module in modules(package)
        for name, function in callables(module)
        if mentions(function)
    }
    # The walk works: it finds the doors themselves.
    assert {name for name in DOORS if not name.startswith("policies.")} <= found
    assert found - set(DOORS) - set(NO_DOORS) == set(), "a new door: add it to DOORS, with its test"
    assert set(NO_DOORS) - found == set(), "no longer there: strike it from NO_DOORS"
    assert all(NO_DOORS.values())


def test_every_callable_that_returns_pixels_is_a_door_or_says_why_not() -> None:
    found = {
        name
        for package in (generator, provenance)
        for module in modules(package)
        for name, function in callables(module)
        if "Frame" in str(annotations(function).get("return"))
    }
    assert found & set(DOORS), "the walk works"
    assert found - set(DOORS) - set(PIXELS) == set(), "a new maker of pixels: is it a door?"
    assert set(PIXELS) - found == set(), "no longer there: strike it from PIXELS"
    assert all(PIXELS.values())


def callers_of(name: str) -> set[str]:
    return {
        path.name
        for package in ("generator", "detector", "pipelines", "benchmarks")
        for path in (Path(__file__).parents[2] / package).rglob("*.py")
        if re.search(rf"(?<!def )\b{name}\(", path.read_text(encoding="utf-8"))
    }


def test_layers_are_made_in_lay_out_alone() -> None:
    assert callers_of("Layers") == {"laying.py"}


def test_composites_are_kept_by_compose_alone() -> None:
    assert callers_of("keep_composite") == {"composite.py"}
    assert callers_of("Composite") == {"ledger_pair.py"}
