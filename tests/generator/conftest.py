"""Gates that say what a test tells them, over an opt-out book that is real."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from generator.gates import Gates, open_gates
from policies.optout import OptOutBook


@pytest.fixture
def optouts(office: Any) -> OptOutBook:
    return OptOutBook(office.database, office.log, office.subject_keys, office.clock)


@pytest.fixture
def told_gates(monkeypatch: pytest.MonkeyPatch, optouts: OptOutBook) -> Callable[..., Gates]:
    """`told_gates(age=..., nudity=...)`: the product's own Gates over nets that are told.

    Either is a word, an error to raise, or a function of what is looked at that gives one.
    """

    def net(answer: object) -> SimpleNamespace:
        def measure(*seen: object) -> SimpleNamespace:
            said = answer(*seen) if callable(answer) else answer
            if isinstance(said, Exception):
                raise said
            return SimpleNamespace(state=said)

        return SimpleNamespace(measure=measure)

    def make(*, age: object = "clear", nudity: object = "clear") -> Gates:
        # Bound now: gates made later in the test must not change what these say.
        age_net, nudity_net = net(age), net(nudity)
        monkeypatch.setattr("generator.age.open_age_gate", lambda threads: age_net)
        monkeypatch.setattr("generator.nudity.open_nudity_gate", lambda threads: nudity_net)
        gates = open_gates(optouts)
        # Opened here for the same reason.
        gates._age.get()
        gates._nudity.get()
        return gates

    return make
