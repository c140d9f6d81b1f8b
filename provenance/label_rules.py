"""How large a visible label is and what it says, by the places a release is for.

Decides from `label_rules.toml`; no place is named in code. The largest share of all rules that
reach the places wins, and every wording they ask for is shown. The product's own rule always
counts. Refuses a table with unknown keys, a share beyond a half, or without the product's rule.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from policies.errors import Malformed
from policies.terms import Document
from policies.territories import reached_by

EVERYWHERE = "*"


class VisibleRule(Document):
    """One place's rule: letters of at least this share of the shortest side, and its words."""

    id: str
    territories: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    text_height_share: Annotated[float, Field(ge=0, le=0.5, strict=False)]
    words: str
    text_read: Literal["primary", "secondary", "none"]
    source: str


class _Table(Document):
    schema_: Annotated[Literal["facewarrant/visible-label/1"], Field(alias="schema")]
    rule: Annotated[tuple[VisibleRule, ...], Field(min_length=1, strict=False)]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a visible label must be: share of the shortest side (0..0.5), its wordings, and why."""

    share: float
    wordings: tuple[str, ...]
    rule_ids: tuple[str, ...]

    @property
    def text(self) -> str:
        """All wordings, the product's first."""
        return " ".join(self.wordings)


def label_demand(territories: Collection[str] = ()) -> Demand:
    """Return what all rules ask together that reach these places; none means the product's own.

    Raises Malformed for a place that is not written as an ISO 3166 code, EU or EEA.
    """
    return combine_rules(_shipped(), territories)


def combine_rules(rules: Sequence[VisibleRule], territories: Collection[str]) -> Demand:
    """Return the strictest of the rules that reach these places; see `label_demand`."""
    reached = {EVERYWHERE}.union(*(reached_by(place) for place in territories))
    apply = [rule for rule in rules if not reached.isdisjoint(rule.territories)]
    wordings = tuple(dict.fromkeys(rule.words for rule in apply if rule.words))
    share = max(rule.text_height_share for rule in apply)
    return Demand(share, wordings, tuple(rule.id for rule in apply))


def read_rules(text: str) -> tuple[VisibleRule, ...]:
    """Parse a table of rules, the product's own first; raise Malformed for anything else."""
    try:
        rules = _Table.model_validate(tomllib.loads(text)).rule
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise Malformed("not a table of rules for visible labels") from error
    own = rules[0]
    if EVERYWHERE not in own.territories or not own.words or not own.text_height_share:
        raise Malformed(
            "the first rule for visible labels must hold everywhere, with size and words"
        )
    return rules


@lru_cache(maxsize=1)
def _shipped() -> tuple[VisibleRule, ...]:
    table = files("provenance").joinpath("label_rules.toml")
    return read_rules(table.read_text(encoding="utf-8"))
