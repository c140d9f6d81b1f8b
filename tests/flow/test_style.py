"""A style is asked for as every swap is: one consent in both roles is released, two are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from generator.stylise import StyleSwapper, open_stylise
from provenance.media import decode


@pytest.fixture(scope="module")
def swapper() -> StyleSwapper:
    return open_stylise("woodcut", fusion="adain", strength=1.0)


@pytest.fixture
def studio(house: Any, swapper: StyleSwapper) -> Any:
    house.at.__dict__["swapper"] = swapper
    return house


def test_a_person_who_consented_to_both_roles_is_drawn_and_released(studio: Any) -> None:
    job = studio.job("persona1_1", "persona1_0", people=("persona1", "persona1"))
    outcome = studio.run(job)
    assert outcome.status == "released", outcome
    before = decode(job.target).frame.astype(int)
    after = decode(outcome.release.data).frame.astype(int)
    change = np.abs(after - before).mean(axis=2)
    assert change[180:380, 160:350].mean() > 2 * change[180:380, :60].mean()
    report = studio.at.verifier.verify(outcome.release.data)
    assert (report.verdict, report.consent) == ("authentic", "current")
    assert studio.states() == ["released"]


def test_a_style_on_somebody_else_is_rejected_and_nothing_is_made(studio: Any) -> None:
    outcome = studio.run(studio.job())
    assert (outcome.status, outcome.codes) == ("rejected", ("STYLE-NOT-ONE-PERSON",))
    assert outcome.release is None
    assert studio.kept() == []
    assert studio.uses() == 0
