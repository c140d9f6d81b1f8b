"""How long one search may compare a file with kept outputs.

Whoever asks chooses what has to be compared, so the work has an end in seconds. Refused is the
answer, never a verdict: what was not compared to the end was neither found nor not found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from policies.errors import Error


class CompareTooLong(Error):
    """Comparing takes longer than one search may; nothing is said about the file."""

    code = "COMPARE-TOO-LONG"


@dataclass(slots=True)
class Budget:
    """Seconds that run from the first `spend`; `stopwatch` gives seconds that never run back."""

    seconds: float
    stopwatch: Callable[[], float]
    _end: float | None = field(default=None, init=False)

    def spend(self) -> None:
        """Raise CompareTooLong once the seconds have passed."""
        now = self.stopwatch()
        if self._end is None:
            self._end = now + self.seconds
        if now > self._end:
            raise CompareTooLong(
                f"comparing with kept outputs takes more than {self.seconds:g} seconds",
                mend="ask with a shorter piece of the video",
            )
