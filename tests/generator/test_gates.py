"""The gates: always all three, and whatever goes wrong is the answer that denies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator import age, nudity
from generator.errors import (
    GatesMissing,
    MeasurementFailed,
    OptedOut,
    RegistryUnavailable,
    WeightRefused,
)
from generator.faces import IdThresholds, only_face, open_analyser
from generator.gates import Gates, open_gates, refuse_opted_out, require_gates
from generator.templates import pack_template
from generator.weights import load_card
from policies.digest import sha256_hex
from policies.errors import Error, StoreUnavailable
from policies.optout import OptOutBook
from provenance.media import decode

MODEL = sha256_hex(b"identity model")
GREY = np.full((64, 64, 3), 127, np.uint8)
ANNA, BERT = ("ps_" + letter * 26 for letter in "ab")


class Eyes:
    """An analyser as far as the registry looks at one."""

    id_model = "idnet"
    thresholds = IdThresholds(match=0.4, mismatch=0.6)

    def __init__(self, model_sha256: str = MODEL) -> None:
        self.models = {"idnet": model_sha256}


def vector(*values: float, width: int = 8) -> Any:
    made = np.zeros(width, np.float32)
    made[: len(values)] = values
    return made


@pytest.fixture
def gates(optouts: OptOutBook) -> Gates:
    return open_gates(optouts)


@pytest.fixture
def opt_out(optouts: OptOutBook) -> Callable[..., str]:
    def add(who: Any, pid: str = ANNA, model_sha256: str = MODEL) -> str:
        data = who if isinstance(who, bytes) else pack_template(who)
        return optouts.add(data, model_sha256=model_sha256, pid=pid)

    return add


def ask(gates: Gates, who: Any, eyes: Eyes | None = None) -> str:
    return gates.ask_registry(who, analyser=eyes or Eyes())  # type: ignore[arg-type]


# ---------------------------------------------------------------------------- no way around them


@pytest.mark.parametrize("nothing", [None, True, "open", [], SimpleNamespace(entries=tuple)])
def test_without_a_book_there_are_no_gates(nothing: Any) -> None:
    with pytest.raises(GatesMissing) as caught:
        open_gates(nothing)
    assert caught.value.code == "GATES-REQUIRED"


def test_gates_are_opened_not_constructed(gates: Gates) -> None:
    parts = {"age_gate": gates._age, "nudity_gate": gates._nudity, "registry": gates._registry}
    with pytest.raises(GatesMissing):
        Gates(None, **parts)


def test_what_looks_like_gates_is_none(gates: Gates) -> None:
    class Lookalike(Gates):
        """Has every method, and says clear."""

        def look_nudity(self, frame: Any) -> Any:
            return "clear"

    always = SimpleNamespace(
        look_age=lambda *_: "clear",
        look_nudity=lambda *_: "clear",
        ask_registry=lambda *_, **__: "clear",
        models={},
    )
    for value in (None, True, always, object.__new__(Gates), object.__new__(Lookalike)):
        with pytest.raises(GatesMissing):
            require_gates(value)
    assert require_gates(gates) is gates


@pytest.mark.parametrize("name", ["_age", "_nudity", "_registry", "models", "look_age", "other"])
def test_gates_cannot_be_changed(gates: Gates, name: str) -> None:
    with pytest.raises(GatesMissing):
        setattr(gates, name, lambda *_: "clear")
    with pytest.raises(GatesMissing):
        delattr(gates, name)
    assert require_gates(gates)


def test_gates_do_not_leave_their_process(gates: Gates) -> None:
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(GatesMissing):
            leave(gates)


def test_the_gates_name_their_models_before_they_load_one(
    gates: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {age.FIRST, age.SECOND, nudity.NUDITY_NET}
    assert dict(gates.models) == {name: load_card(name).sha256 for name in names}
    assert gates._age._gate is gates._nudity._gate is None


# ------------------------------------------------------------------------------ age and nudity


@pytest.mark.parametrize("state", ["clear", "challenge", "minor"])
def test_the_age_gate_is_asked(told_gates: Any, state: str) -> None:
    assert told_gates(age=state).look_age(GREY, None) == state


@pytest.mark.parametrize("state", ["clear", "review", "found"])
def test_the_nudity_gate_is_asked(told_gates: Any, state: str) -> None:
    assert told_gates(nudity=state).look_nudity(GREY) == state


@pytest.mark.parametrize(
    "broken",
    [
        MeasurementFailed("no numbers"),
        WeightRefused("altered"),
        RuntimeError("out of memory"),
        ValueError(),
        "adult",
        "",
        None,
        7,
    ],
    ids=str,
)
def test_what_is_not_measured_denies(told_gates: Any, broken: object) -> None:
    """T5, T6: an estimator that raises, or says something else, clears nobody."""
    gates = told_gates(age=broken, nudity=broken)
    assert gates.look_age(GREY, None) == "minor"
    assert gates.look_nudity(GREY) == "unavailable"


def test_a_net_that_does_not_open_denies_and_is_tried_again(
    optouts: OptOutBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def failing(threads: int) -> Any:
        tries.append(threads)
        if len(tries) < 2:
            raise WeightRefused("the file differs from its card")
        return SimpleNamespace(measure=lambda frame: SimpleNamespace(state="clear"))

    monkeypatch.setattr("generator.nudity.open_nudity_gate", failing)
    gates = open_gates(optouts, threads=3)
    looks = [gates.look_nudity(GREY) for _ in range(3)]
    assert looks == ["unavailable", "clear", "clear"]
    assert tries == [3, 3]


def test_the_shipped_nets_look_at_a_rendered_person(
    gates: Gates, demo_picture: Callable[[str], bytes]
) -> None:
    frame = decode(demo_picture("persona1_0")).frame
    face = only_face(open_analyser().analyse(frame))
    assert gates.look_age(frame, face) == "challenge"
    assert gates.look_nudity(frame) == "clear"
    assert gates.look_nudity(frame[:8]) == "unavailable"
    assert gates.look_age(frame[:8], face) == "minor"


# ------------------------------------------------------------------------------------- registry


@pytest.mark.parametrize(
    ("distance", "answer"),
    [(0.0, "hit"), (0.39, "hit"), (0.41, "ambiguous"), (0.59, "ambiguous"), (0.61, "clear")],
)
def test_the_registry_answers_by_distance(
    gates: Gates, opt_out: Callable[..., str], distance: float, answer: str
) -> None:
    opt_out(vector(1.0))
    assert ask(gates, vector(1.0, distance)) == answer


def test_nobody_is_on_an_empty_list(gates: Gates) -> None:
    assert ask(gates, vector(1.0)) == "clear"
    assert ask(gates, vector(1.0, width=128)) == "clear"


def test_an_opt_out_counts_from_the_moment_it_is_added(
    gates: Gates, opt_out: Callable[..., str], optouts: OptOutBook
) -> None:
    assert ask(gates, vector(1.0)) == "clear"
    entry_id = opt_out(vector(1.0))
    assert ask(gates, vector(1.0)) == "hit"
    opt_out(vector(0.0, 1.0), BERT)
    assert ask(gates, vector(0.0, 1.0)) == "hit"
    optouts.remove(entry_id)
    assert ask(gates, vector(1.0)) == "clear"
    assert ask(gates, vector(0.0, 1.0)) == "hit"


def test_the_book_is_opened_once_while_it_stays_the_same(
    gates: Gates, opt_out: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    entries = OptOutBook.entries

    def counted(book: OptOutBook) -> Any:
        opened.append(book)
        return entries(book)

    monkeypatch.setattr(OptOutBook, "entries", counted)
    opt_out(vector(1.0))
    for _ in range(3):
        assert ask(gates, vector(1.0)) == "hit"
    assert len(opened) == 1
    opt_out(vector(0.0, 1.0), BERT)
    ask(gates, vector(1.0))
    assert len(opened) == 2


@pytest.mark.parametrize(
    "query",
    [
        vector(1.0, width=7),
        vector(float("nan")),
        np.zeros(8, np.float32),
        np.ones(8),
        None,
        "face",
        [],
    ],
    ids=["width", "nan", "nothing", "double", "none", "text", "list"],
)
def test_a_vector_that_is_none_is_cleared_by_nobody(
    gates: Gates, opt_out: Callable[..., str], query: Any
) -> None:
    opt_out(vector(1.0))
    assert ask(gates, query) == "unavailable"


def test_vectors_of_another_net_make_the_list_unavailable(
    gates: Gates, opt_out: Callable[..., str]
) -> None:
    opt_out(vector(1.0))
    assert ask(gates, vector(1.0), Eyes(sha256_hex(b"a newer net"))) == "unavailable"
    opt_out(vector(0.0, 1.0), BERT, model_sha256=sha256_hex(b"a newer net"))
    assert ask(gates, vector(1.0)) == "unavailable"
    assert ask(gates, vector(1.0), Eyes(sha256_hex(b"a newer net"))) == "unavailable"


@pytest.mark.parametrize("data", [b"abc", b"\x00" * 32, pack_template(vector(1.0, width=7))])
def test_an_entry_that_is_no_vector_makes_the_list_unavailable(
    gates: Gates, opt_out: Callable[..., str], data: bytes
) -> None:
    opt_out(vector(1.0))
    opt_out(data, BERT)
    assert ask(gates, vector(0.0, 0.0, 1.0)) == "unavailable"


@pytest.mark.parametrize("statement", ["delete from opt_out", "drop table opt_out"])
def test_a_list_that_lost_an_entry_clears_nobody(
    gates: Gates, opt_out: Callable[..., str], office: Any, statement: str
) -> None:
    opt_out(vector(1.0))
    assert ask(gates, vector(0.0, 1.0)) == "clear"
    with office.database.transaction() as connection:
        connection.exec_driver_sql(statement)
    assert ask(gates, vector(0.0, 1.0)) == "unavailable"


def test_a_list_that_cannot_be_asked_now_clears_nobody(
    gates: Gates, opt_out: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even with what was read a moment ago."""
    opt_out(vector(1.0))
    assert ask(gates, vector(0.0, 1.0)) == "clear"

    def down(book: OptOutBook) -> str:
        raise StoreUnavailable("the database is locked")

    monkeypatch.setattr(OptOutBook, "version", down)
    assert ask(gates, vector(0.0, 1.0)) == "unavailable"


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["hit"], OptedOut),
        (["clear", "ambiguous"], OptedOut),
        (["something new"], OptedOut),
        (["unavailable"], RegistryUnavailable),
        (["hit", "unavailable"], RegistryUnavailable),
    ],
)
def test_only_clear_answers_let_pass(answers: list[Any], error: type[Error]) -> None:
    refuse_opted_out(["clear", "clear"])
    with pytest.raises(error) as refused:
        refuse_opted_out(iter(answers))
    assert refused.value.mend


def test_the_answers_are_words_alone(gates: Gates, opt_out: Callable[..., str]) -> None:
    """T26: no score, no id, no number of entries."""
    opt_out(vector(1.0))
    assert {ask(gates, vector(1.0, d)) for d in (0.1, 0.5, 0.9)} == {"hit", "ambiguous", "clear"}
