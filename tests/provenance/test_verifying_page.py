"""The page for auditors names every error, subject and state that a verification can say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from provenance.errors import VerificationError
from provenance.evidence import State, Subject
from provenance.verify import Verifier

PAGE = Path(__file__).parents[2] / "docs" / "verifying.md"
HEADING = "\n## What each verdict means\n"


def section() -> str:
    text = PAGE.read_text(encoding="utf-8")
    assert Verifier.__module__ == "provenance.verify", "every error of a verification is loaded"
    assert text.count(HEADING) == 1
    return text.partition(HEADING)[2].partition("\n## ")[0]


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose first column has this head."""
    table = section().partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def family(kind: type[VerificationError]) -> list[type[VerificationError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in family(below))]


def test_every_error_has_its_row() -> None:
    named = [cells[0] for cells in rows("code")]
    assert len(named) == len(set(named))
    # Tests of other modules may have made errors of their own.
    ours = [one for one in family(VerificationError) if one.__module__.startswith("provenance.")]
    assert set(named) == {f"`{one.code}`" for one in ours}
    for code, means, mends in rows("code"):
        assert means
        assert mends or code == "`VERIFICATION`"


def test_every_subject_has_its_row_and_every_state_is_one() -> None:
    found = rows("subject")
    named = [cells[0] for cells in found]
    assert len(named) == len(set(named))
    assert set(named) == {f"`{subject}`" for subject in get_args(Subject)}
    states = [re.findall(r"`([a-z]+)`", cells[1]) for cells in found]
    assert all(states)
    assert {state for some in states for state in some} == set(get_args(State))
    assert all(re.fullmatch(r"`[a-z]+`(, `[a-z]+`)*", cells[1]) for cells in found)


def test_every_state_is_explained() -> None:
    lines = PAGE.read_text(encoding="utf-8").partition("\n## Lines of evidence\n")[2]
    words = lines.partition("\n| subject |")[0]
    assert set(re.findall(r"`([a-z]+)`:", words)) == set(get_args(State))
