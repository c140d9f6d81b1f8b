"""docs/threat-model.md says what is so: each threat once, named tests exist, controls matter."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
MUTATIONS = tomllib.loads((ROOT / "tests" / "mutations.toml").read_text("utf-8"))["mutation"]

THREATS = [f"T{number}" for number in range(1, 36)]
STATUSES = ("held", "partly", "open")

# Consent, decision, warrant, log, keys, erasure and law: the rows that `policies` answers for.
OF_POLICIES = [
    *(f"T{number}" for number in range(1, 16)),
    *("T20", "T22", "T25", "T26", "T27", "T28", "T29", "T30", "T31", "T32"),
]

# Fast ones without models, for every run: a signature, a chain, a log.
IN_EVERY_RUN = ("small-order-key-accepted", "challenge-used-twice", "kept-checkpoint-ignored")

_ROW = re.compile(
    r"^### (?P<threat>T\d+) [^\n:]+: (?P<status>\w+)(?: \(issue (?P<issue>\d)\))?$", re.M
)
_NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


class Row(NamedTuple):
    """One threat of the page."""

    threat: str
    status: str
    issue: str | None
    text: str


def read_rows() -> list[Row]:
    page = PAGE.read_text("utf-8")
    found = list(_ROW.finditer(page))
    ends = [
        min(page.find(mark, row.end()) % (len(page) + 1) for mark in ("\n### ", "\n## "))
        for row in found
    ]
    return [
        Row(row["threat"], row["status"], row["issue"], page[row.end() : end])
        for row, end in zip(found, ends, strict=True)
    ]


ROWS = {row.threat: row for row in read_rows()}


@cache
def collect_names(file: str) -> frozenset[str]:
    """The names of a file's tests, without running it."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def named_tests(text: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in _NODE.finditer(text)]


def test_every_threat_has_one_row() -> None:
    assert sorted(THREATS) == sorted(row.threat for row in read_rows())


def test_headings_are_threats_and_nothing_else() -> None:
    """A heading of another form would be a row that nobody checks."""
    headings = re.findall(r"^### .*$", PAGE.read_text("utf-8"), re.M)
    assert [h for h in headings if not _ROW.fullmatch(h)] == []


@pytest.mark.parametrize("threat", THREATS)
def test_a_row_has_a_status_and_says_what_is_missing(threat: str) -> None:
    row = ROWS[threat]
    assert row.status in STATUSES
    assert (row.issue is not None) == (row.status == "open"), "open names its issue, alone"
    assert ("Missing: " in row.text) == (row.status == "partly")
    assert "\nAttack: " in row.text
    assert row.status == "open" or "\nControl: " in row.text


def test_every_named_test_exists() -> None:
    named = named_tests(PAGE.read_text("utf-8"))
    assert named
    lost = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or name not in collect_names(file)
    ]
    assert lost == []


def test_no_row_names_a_test_twice() -> None:
    for row in ROWS.values():
        named = named_tests(row.text)
        assert len(named) == len(set(named)), row.threat


@pytest.mark.parametrize("threat", OF_POLICIES)
def test_a_row_of_policies_has_tests_unless_it_is_open(threat: str) -> None:
    row = ROWS[threat]
    assert row.status == "open" or named_tests(row.text)


def test_what_is_held_anywhere_has_tests() -> None:
    assert [r.threat for r in ROWS.values() if r.status == "held" and not named_tests(r.text)] == []


def test_tests_by_number_belong_to_their_row() -> None:
    """A file `tests/threats/test_tNN_*.py` is for that row, which names it."""
    for path in (ROOT / "tests" / "threats").glob("test_*.py"):
        match = re.fullmatch(r"test_t(\d\d)_\w+\.py", path.name)
        assert match, path.name
        row = ROWS[f"T{int(match[1])}"]
        assert f"tests/threats/{path.name}" in {file for file, _ in named_tests(row.text)}


def test_issues_that_are_named_are_later_ones() -> None:
    issues = set(re.findall(r"issue (\d+)", PAGE.read_text("utf-8")))
    assert issues <= {"4", "5", "6", "7", "8"}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: str(mutation["name"]))
def test_a_mutation_still_finds_what_it_changes(mutation: dict[str, str]) -> None:
    assert mutation.keys() == {
        *("name", "threat", "what", "file", "source", "replacement", "test"),
    }
    text = (ROOT / mutation["file"]).read_text("utf-8")
    assert text.count(mutation["source"]) == 1
    ast.parse(text.replace(mutation["source"], mutation["replacement"]))
    file, name = mutation["test"].split("::")
    assert name.split("[")[0] in collect_names(file)
    assert mutation["threat"] in THREATS


def test_mutations_are_many_and_of_many_threats() -> None:
    names = [mutation["name"] for mutation in MUTATIONS]
    assert len(set(names)) == len(names) >= 10
    of_policies = {m["threat"] for m in MUTATIONS} & set(OF_POLICIES)
    assert len(of_policies) >= 10
    held = {row.threat for row in ROWS.values() if row.status == "held"}
    assert held & set(OF_POLICIES) <= of_policies, "what is held can be taken away"


def test_a_control_that_is_taken_away_is_missed() -> None:
    """Three of the table; `python tests/mutations.py` tries all."""
    ended = subprocess.run(
        [sys.executable, "tests/mutations.py", *IN_EVERY_RUN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("killed  ") == len(IN_EVERY_RUN)
    assert f"{len(IN_EVERY_RUN)} of {len(IN_EVERY_RUN)} killed" in ended.stdout
