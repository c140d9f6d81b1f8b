"""Which rules reach a place: from an ISO 3166 code to the codes a rule may name for it.

A rule for a union reaches its members, a rule for a country its subdivisions. Never the other way:
a rule for US-IL does not reach US or US-CA. Refused: anything that has not the form of a code, so
that a misspelt place is not a place without rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from policies.errors import Malformed

EU = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()
)
"""The 27 member states of the European Union, ISO 3166-1."""

GROUPS: Mapping[str, frozenset[str]] = MappingProxyType({"EU": EU, "EEA": EU | {"IS", "LI", "NO"}})
"""Unions a rule or a request may name, and their members."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {"EL": "GR", "UK": "GB", "AX": "FI"}
    | dict.fromkeys(("GF", "GP", "MF", "MQ", "RE", "YT"), "FR")
    | dict.fromkeys(("AS", "GU", "MP", "PR", "UM", "VI"), "US")
)
"""Codes of a place whose rules are found under another: customary codes (EL, UK), and parts of a
country that ISO lists on their own (outermost regions of the EU, Aland, territories of the US)."""

SPELT = frozenset({"EL", "UK"})
"""Aliases that are another spelling of the whole country; the others are parts of one."""

_CODE = re.compile(r"EEA|[A-Z]{2}(-[A-Z0-9]{1,3})?", re.ASCII)


def reached_by(territory: str) -> frozenset[str]:
    """Return the codes under which a rule reaches this place; `*` is everywhere.

    A union asked for as a whole is asked for with all its members. Raises Malformed for anything
    that is not written as an ISO 3166 code, EU or EEA; a union has no subdivisions.
    """
    if _CODE.fullmatch(territory) is None or territory.startswith("EU-"):
        raise Malformed(
            f"{territory[:32]!r} is not a territory",
            mend="write an ISO 3166 code such as DE or US-IL, or EU or EEA",
        )
    if territory in GROUPS:
        members = GROUPS[territory]
        return frozenset({territory}).union(*(reached_by(member) for member in members))
    country, dash, part = territory.partition("-")
    if country in ALIASES and country not in SPELT and not dash:
        dash, part = "-", country  # Guadeloupe is GP and FR-GP
    country = ALIASES.get(country, country)
    unions = {name for name, members in GROUPS.items() if country in members}
    return frozenset({"*", country, country + dash + part} | unions)


def whole_countries(territories: Collection[str]) -> frozenset[str]:
    """Return the countries that these places take in as a whole, members of unions included.

    Whoever asks for a whole country asks for each of its subdivisions.
    """
    named = {place for place in territories if "-" not in place}
    members = frozenset[str]().union(*(GROUPS.get(place, frozenset()) for place in named))
    spelt = {ALIASES[place] for place in named & SPELT}
    return frozenset(named - set(ALIASES) - set(GROUPS)) | members | spelt


def covers(consented: Collection[str], asked: str) -> bool:
    """Return whether a consent for these places covers the place that is asked for.

    A country covers its subdivisions and a union its members, never the other way; a union is
    covered by itself or by all of its members. Raises Malformed for a place that is none.
    """
    reached_by(asked)
    if asked in GROUPS and asked not in consented:
        return all(covers(consented, member) for member in GROUPS[asked])
    country = asked.partition("-")[0]
    unions = {name for name, members in GROUPS.items() if country in members}
    return not unions.union({asked, country}).isdisjoint(consented)
