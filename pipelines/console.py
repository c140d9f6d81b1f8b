"""How a terminal is written to: plain text, tables, JSON, exit codes.

Nothing that comes from a file or a message has an effect on the terminal.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

EXIT_FAULT, EXIT_USAGE, EXIT_REFUSED, EXIT_INPUT, EXIT_EVIDENCE, EXIT_ENDED = 1, 2, 3, 4, 5, 6

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)


def print_mend(mend: str) -> None:
    """Print how to mend an error, where there is a way."""
    if mend:
        ERR.print(f"To mend: {plain(mend)}")


def make_table(*names: str) -> Table:
    """Return an empty table that folds what is too long and cuts nothing off."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(names))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def pair_table(rows: Mapping[str, str]) -> Table:
    """Return a table of names and values."""
    table = make_table()
    for name, value in rows.items():
        table.add_row(name, plain(value))
    table.columns[0].no_wrap = True
    table.columns[1].overflow = "fold"
    return table


def as_dict(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def print_json(value: object) -> None:
    """Print one JSON document, keys sorted."""
    print(jsonlib.dumps(value, indent=1, sort_keys=True, default=str))


def plain(text: object) -> str:
    """Return text without effect on a terminal: file names and messages are not ours to style.

    Markup is escaped; control characters, which a file's own labels may hold, become U+FFFD.
    """
    shown = str(text).encode(errors="replace").decode()
    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in shown))


def when(at: int) -> str:
    """Return a unix time in words, UTC, to the minute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
