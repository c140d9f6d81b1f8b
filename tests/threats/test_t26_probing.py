"""T26: what a refusal says of the list of people who asked never to be swapped.

It says that the answer is no. Which entry, how near, and whether it was a hit or a doubt stay
unsaid, in the error, in the decision and in the log. That somebody is refused at all can be tried
again and again: rates are not limited here.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.decide import Refused


def refuse(office: Any, answer: str) -> Refused:
    """The refusal of a request in which the source's face gets this answer from the list."""
    request = office.swap_request()
    measured = office.measured(request)
    source, *others = measured.people
    found = source.model_copy(update={"registry": answer})
    with pytest.raises(Refused) as caught:
        office.desk.admit(request, measured.model_copy(update={"people": (found, *others)}))
    return caught.value


def told(office: Any, answer: str) -> tuple[Any, ...]:
    """Everything that the refusal says, without whom it concerns."""
    error = refuse(office, answer)
    [finding] = error.decision.findings
    entry = office.log.entries()[-1]
    return finding.code, finding.explain, finding.mend, finding.cites, entry["reasons"]


def test_a_hit_and_a_doubt_are_told_in_the_same_words(office: Any) -> None:
    assert told(office, "hit") == told(office, "ambiguous")


def test_a_refusal_names_no_entry_and_no_distance(office: Any) -> None:
    error = refuse(office, "hit")
    [finding] = error.decision.findings
    # The words and the mend: ids and digests of the decision hold any three digits by chance.
    said = json.dumps(finding.model_dump(mode="json", exclude={"subject"})) + str(error.mend)
    assert "300" not in said, "the distance that was measured"
    assert finding.explain == "The face may be of somebody who asked never to be swapped."
