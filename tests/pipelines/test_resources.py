from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

import pipelines.deployment
from pipelines.keyfiles import KeyFileRefused
from pipelines.resources import Facewarrant, facewarrant_resource


def test_the_deployment_is_open_for_a_run_and_closed_after_it(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    with dg.build_resources({"facewarrant": facewarrant_resource}) as resources:
        facewarrant = resources.facewarrant
        assert isinstance(facewarrant, Facewarrant)
        assert facewarrant.deployment.settings.home == home.path
        assert home.source in facewarrant.deployment.consents.record_ids()
        facewarrant.observe("r-1", "step", 1.0)
        monkeypatch.setattr(
            pipelines.deployment.Records, "close", lambda _self: closed.append(True)
        )
    assert closed == [True]


def test_a_home_that_is_not_set_up_stops_the_run() -> None:
    with (
        pytest.raises(dg.DagsterResourceFunctionError) as failed,
        dg.build_resources({"facewarrant": facewarrant_resource}),
    ):
        pass
    assert isinstance(failed.value.user_exception, KeyFileRefused)
    assert "facewarrant init" in failed.value.user_exception.mend
