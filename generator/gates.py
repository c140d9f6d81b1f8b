"""The three gates on the people in a picture: age, nudity, and who asked never to be swapped.

They are opened together and only by `open_gates`: there is no value, default or setting that
leaves one out, and what merely looks like `Gates` is refused (GatesMissing). A gate that cannot
look answers with the word that denies: "minor" or "unavailable". Answers are words; no score, name
or distance leaves this module, so that nobody can probe who is on the list.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, get_args

import numpy as np

from generator import age, nudity
from generator.age import AgeGate
from generator.donotswap import Registry
from generator.errors import GatesMissing, OptedOut, RegistryUnavailable
from generator.faces import Face, FaceAnalyser, FloatArray, Frame
from generator.nudity import NudityGate
from generator.templates import unpack_template
from generator.weights import load_card
from policies.optout import OptOutBook
from policies.terms import AgeLook, NudityLook, RegistryAnswer

_GRANT = object()
# Only this module can name it, so only open_gates can make Gates.

_Gate = TypeVar("_Gate")


class Gates:
    """The gates of one deployment; made by `open_gates` alone. Nets load on first use."""

    __slots__ = ("_age", "_nudity", "_registry", "models")
    models: Mapping[str, str]
    """Model name -> sha256 (hex) of every weight file that the gates use."""
    _age: _OpenedOnce[AgeGate]
    _nudity: _OpenedOnce[NudityGate]
    _registry: _LiveRegistry

    def __init__(
        self,
        grant: object,
        *,
        age_gate: _OpenedOnce[AgeGate],
        nudity_gate: _OpenedOnce[NudityGate],
        registry: _LiveRegistry,
    ) -> None:
        if grant is not _GRANT:
            raise _missing()
        names = (age.FIRST, age.SECOND, nudity.NUDITY_NET)
        fields = {
            "_age": age_gate,
            "_nudity": nudity_gate,
            "_registry": registry,
            "models": {name: load_card(name).sha256 for name in names},
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def look_age(self, frame: Frame, face: Face) -> AgeLook:
        """Return how old one face of a BGR uint8 frame looks; "minor" where nothing is measured."""
        try:
            state = self._age.get().measure(frame, face).state
        except Exception:  # noqa: BLE001 - whatever went wrong, no age was measured
            return "minor"
        return state if state in get_args(AgeLook) else "minor"

    def look_nudity(self, frame: Frame) -> NudityLook:
        """Return whether a BGR uint8 frame looks like nudity; "unavailable" where not measured."""
        try:
            state = self._nudity.get().measure(frame).state
        except Exception:  # noqa: BLE001 - whatever went wrong, nothing was looked at
            return "unavailable"
        return state if state in get_args(NudityLook) else "unavailable"

    def ask_registry(self, vector: FloatArray, *, analyser: FaceAnalyser) -> RegistryAnswer:
        """Return whether somebody who asked never to be swapped looks like this identity vector.

        `vector`: float32 (d,), made by the identity net of `analyser`, whose thresholds count.
        "unavailable" when the registry cannot be read whole, or was made with another net.
        """
        try:
            registry = self._registry.get(analyser, width=len(vector))
            reading = registry.search(
                vector,
                thresholds=analyser.thresholds,
                model_sha256=analyser.models[analyser.id_model],
            )
        except Exception:  # noqa: BLE001 - whatever went wrong, nobody was cleared
            return "unavailable"
        return reading.state

    def __setattr__(self, name: str, value: object) -> None:
        raise GatesMissing("the gates cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise GatesMissing("the gates cannot be changed")

    def __reduce__(self) -> str:
        raise GatesMissing("the gates cannot leave their process")


def open_gates(optouts: OptOutBook, *, threads: int = 1) -> Gates:
    """Return the shipped gates over a deployment's opt-outs; nets load on first use.

    `threads`: CPUs per net. Raises GatesMissing without a book of opt-outs and WeightRefused when
    the card of a net is not there.
    """
    if type(optouts) is not OptOutBook:
        raise GatesMissing("the gates need the deployment's book of opt-outs")
    return Gates(
        _GRANT,
        age_gate=_OpenedOnce(lambda: age.open_age_gate(threads)),
        nudity_gate=_OpenedOnce(lambda: nudity.open_nudity_gate(threads)),
        registry=_LiveRegistry(optouts),
    )


def require_gates(value: object) -> Gates:
    """Return `value` if it is the Gates that `open_gates` made; raise GatesMissing otherwise."""
    if type(value) is not Gates or not all(hasattr(value, name) for name in Gates.__slots__):
        raise _missing()
    return value


def refuse_opted_out(answers: Iterable[RegistryAnswer]) -> None:
    """Raise OptedOut unless every answer of the registry is "clear".

    Raises RegistryUnavailable where it could not be asked. How near somebody is stays unsaid.
    """
    found = set(answers)
    if "unavailable" in found:
        raise RegistryUnavailable(
            "the list of people who must not be swapped cannot be asked",
            mend="see 'facewarrant doctor'; nothing is swapped until it can be asked",
        )
    if found - {"clear"}:
        raise OptedOut(
            "a face may be of somebody who asked never to be swapped",
            mend="use pictures of somebody else; only who opted out can end it",
        )


class _OpenedOnce(Generic[_Gate]):
    """A gate that is opened on first use and kept; an opening that fails is tried again."""

    def __init__(self, opener: Callable[[], _Gate]) -> None:
        self._opener, self._lock = opener, threading.Lock()
        self._gate: _Gate | None = None

    def get(self) -> _Gate:
        with self._lock:
            if self._gate is None:
                self._gate = self._opener()
            return self._gate


class _LiveRegistry:
    """The registry over a book of opt-outs, read again whenever the book has changed."""

    def __init__(self, optouts: OptOutBook) -> None:
        self._optouts, self._lock = optouts, threading.Lock()
        self._kept: tuple[tuple[str, str, int], Registry] | None = None

    def get(self, analyser: FaceAnalyser, *, width: int) -> Registry:
        """Return the registry as the book stands now, for vectors of that width.

        Raises RegistryUnavailable when an entry was made with another net than the analyser's,
        ShapeError when one is no vector, and what reading the book raises.
        """
        model_sha256 = analyser.models[analyser.id_model]
        with self._lock:
            # The version is read first: an entry added meanwhile is in, and is read once more.
            key = (self._optouts.version(), model_sha256, width)
            if self._kept is None or self._kept[0] != key:
                self._kept = key, self._read(model_sha256, width)
            return self._kept[1]

    def _read(self, model_sha256: str, width: int) -> Registry:
        entries = self._optouts.entries()
        if any(entry.model_sha256 != model_sha256 for entry in entries):
            raise RegistryUnavailable(
                "an opt-out was made with another identity net",
                mend="enrol it again with the net that is in use",
            )
        vectors = [unpack_template(entry.vector) for entry in entries]
        rows = np.stack(vectors) if vectors else np.empty((0, width), np.float32)
        ids = [entry.entry_id for entry in entries]
        return Registry.open(rows, ids, model_sha256=model_sha256)


def _missing() -> GatesMissing:
    return GatesMissing(
        "this needs the gates on age, nudity and opt-outs",
        mend="open them together with generator.gates.open_gates",
    )
