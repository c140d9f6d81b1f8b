"""Results on disk, one JSON line for each picture, so that a run that was killed goes on.

A file belongs to one version of one method and one set of attacks: its first line says which.
Lines of another version, or the torn last line of a killed run, are dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.watermark.measure import Record


@dataclass(frozen=True, slots=True)
class KeptRecords:
    """One method's file: its head, and its records by picture key."""

    head: dict[str, Any]
    records: dict[str, Record]


@dataclass(frozen=True, slots=True)
class KeptPart:
    """A part's file: its head, and what was found."""

    head: dict[str, Any]
    found: Any


def read_results(folder: Path, name: str) -> KeptRecords | None:
    """Return what is kept of a method, whatever its version; None where nothing is."""
    path = folder / f"{name}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    parsed = [_parse(line) for line in lines]
    if not parsed or parsed[0] is None:
        return None
    rows = [row for row in parsed[1:] if row is not None]
    return KeptRecords(parsed[0], {row["picture"]: row["record"] for row in rows})


class Results:
    """The records of one method by picture key, in `folder`/`name`.jsonl."""

    def __init__(self, folder: Path, name: str, head: dict[str, Any]) -> None:
        self._path, self._head = folder / f"{name}.jsonl", head
        self._clean = False
        kept = read_results(folder, name)
        self.records = kept.records if kept is not None and kept.head == head else {}

    def add(self, picture: str, record: Record) -> None:
        """Keep one picture's record, on disk before this returns."""
        self.records[picture] = record
        if not self._clean:
            self._rewrite()
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"picture": picture, "record": record}) + "\n")

    def _rewrite(self) -> None:
        """Put this version's lines, and no others, into the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = [self._head, *({"picture": p, "record": r} for p, r in self.records.items())]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in whole), encoding="utf-8")
        partial.replace(self._path)
        self._clean = True


def read_part(folder: Path, name: str) -> KeptPart | None:
    """Return what `write_part` kept under `name`, whatever its head."""
    path = folder / f"{name}.json"
    kept = _parse(path.read_text(encoding="utf-8")) if path.exists() else None
    return KeptPart(kept["head"], kept["found"]) if kept is not None else None


def write_part(folder: Path, name: str, head: dict[str, Any], found: Any) -> None:
    """Keep a part that is measured in one go (timing, claims, video)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"head": head, "found": found}, indent=1), encoding="utf-8")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        parsed: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return parsed
