"""T15: an entry taken out of the log, with a tree that fits what is left."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from policies import merkle
from policies.audit import LogTampered
from policies.tables import ENTRY, NODE


def test_a_gap_is_found_although_the_tree_fits_what_is_left(office: Any) -> None:
    """The tree is built over the entries that are there; only their numbers show the gap."""
    for _ in range(3):
        office.log.append("decision", {"allow": False})
    with office.database.transaction() as connection:
        for name in ("log_entry_delete", "log_node_delete", "log_node_insert"):
            connection.exec_driver_sql(f"drop trigger {name}")
        connection.execute(sa.delete(ENTRY).where(ENTRY.c.i == 1))
        connection.execute(sa.delete(NODE))
        left = connection.execute(sa.select(ENTRY.c.data).order_by(ENTRY.c.i)).scalars().all()
        tree = merkle.build_tree([merkle.leaf_hash(data) for data in left])
        rows = [
            {"key": level << 56 | index, "hash": value}
            for level, row in enumerate(tree)
            for index, value in enumerate(row)
        ]
        connection.execute(sa.insert(NODE), rows)
    with pytest.raises(LogTampered, match="missing") as caught:
        office.log.check()
    assert caught.value.code == "LOG-TAMPERED"
