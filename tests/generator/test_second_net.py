"""The second opinion: one person's views lie near each other, different people's far apart."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generator.errors import MeasurementFailed, WeightRefused
from generator.second_net import SECOND_NET, SecondNet, open_second_net, second_models
from generator.weights import load_card


def test_it_tells_people_apart_and_knows_them_again(people: Any) -> None:
    net = open_second_net()
    vectors = {
        name: net.embed(people.picture(name).frame, people.face(name))
        for name in ("persona1_0", "persona1_1", "persona2_0")
    }
    for vector in vectors.values():
        assert vector.shape == (1024,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    own, same, other = vectors.values()
    assert np.linalg.norm(own - other) > net.thresholds.match
    assert np.linalg.norm(own - same) < np.linalg.norm(own - other)
    again = net.embed(people.picture("persona1_0").frame, people.face("persona1_0"))
    assert np.array_equal(own, again)


def test_it_is_the_net_of_the_age_gate_opened_once() -> None:
    assert second_models() == {SECOND_NET: load_card("faceres").sha256}
    assert open_second_net() is open_second_net()
    limits = open_second_net().thresholds
    assert 0 < limits.match < limits.mismatch < np.sqrt(2)


@pytest.mark.parametrize("missing", ["thresholds", "outputs"])
def test_a_card_without_thresholds_or_embedding_is_refused(missing: str) -> None:
    card = load_card("faceres").model_copy(
        update={missing: None if missing == "thresholds" else {}}
    )
    with pytest.raises(WeightRefused):
        SecondNet(SimpleNamespace(card=card))  # type: ignore[arg-type]


def test_a_face_without_extent_is_not_measured(people: Any) -> None:
    face = replace(people.face("persona1_0"), mesh=np.zeros((468, 3), np.float32))
    with pytest.raises(MeasurementFailed):
        open_second_net().embed(people.picture("persona1_0").frame, face)
