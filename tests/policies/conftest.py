"""Facts that permit everything, and the hand of someone with write access to the database."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from policies.database import Database

NOW = 1_795_219_200
DAY = 86_400


def _person(number: int, role: str) -> dict[str, Any]:
    return {
        "record_id": f"00000000-0000-7000-8000-{number:012x}",
        "role": role,
        "status": "confirmed",
        "status_since": NOW - DAY,
        "not_before": NOW - DAY,
        "expires": NOW + DAY,
        "roles": ["source_identity", "target_body", "bystander"],
        "purposes": ["film_vfx", "personal"],
        "media": ["image"],
        "audiences": ["internal", "public"],
        "territories": ["DE", "FR"],
        "opted_in": [],
        "counterparties_ok": True,
        "asset_ok": True,
        "adult": True,
        "uses_left": 3,
        "template_model_ok": True,
        "match": "match",
    }


GOOD = {
    "now": NOW,
    "last_log_time": NOW - 60,
    "purpose": "film_vfx",
    "medium": "image",
    "audience": "internal",
    "territories": ["DE"],
    "categories": [],
    "marks": ["c2pa", "label", "watermark"],
    "inputs_match": True,
    "people_match": True,
    "source_faces": 1,
    "target_faces": 1,
    "target_faces_resolved": 1,
    "people": [_person(1, "source_identity"), _person(2, "target_body")],
}


@pytest.fixture
def good_facts() -> dict[str, Any]:
    """A fresh copy of facts under which every rule holds."""
    return copy.deepcopy(GOOD)


@pytest.fixture
def tamper() -> Callable[..., None]:
    """`tamper(database, sql, *values)`: drop every trigger, then change rows behind our back."""

    def run(database: Database, sql: str, *values: object) -> None:
        with database.transaction() as connection:
            names = connection.exec_driver_sql(
                "select name from sqlite_master where type = 'trigger'"
            ).scalars()
            for name in list(names):
                connection.exec_driver_sql(f"drop trigger {name}")
            assert connection.exec_driver_sql(sql, values).rowcount != 0

    return run
