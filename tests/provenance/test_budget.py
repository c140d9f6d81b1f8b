"""A search ends: with an answer, or with a refusal once its seconds have passed."""

from __future__ import annotations

import pytest

from provenance.budget import Budget, CompareTooLong


def test_the_seconds_run_from_the_first_use_and_end() -> None:
    times = iter([100.0, 101.0, 105.0, 105.1])
    budget = Budget(5.0, lambda: next(times))
    for _ in range(3):
        budget.spend()
    with pytest.raises(CompareTooLong, match="more than 5 seconds") as caught:
        budget.spend()
    assert caught.value.code == "COMPARE-TOO-LONG"
    assert caught.value.mend
