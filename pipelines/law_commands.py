"""`facewarrant law`: which rules speak to a place, a role and a day, and what each may do.

Thin commands over `policies.law`; the rules are those that ship with the product and those of the
deployment's own policy folder. What is printed is not legal advice, and says how far each rule was
read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

import typer
from rich.table import Table
from rich.text import Text

from pipelines.console import ERR, OUT, make_table, print_json
from pipelines.law_page import details, duration_words
from pipelines.options import Json
from pipelines.settings import read_settings
from policies.errors import Malformed
from policies.house_files import POLICY_FOLDER, load_house
from policies.law import LawBook, LawRule, Role, requirements, select
from policies.territories import reached_by

law_app = typer.Typer(
    help="Show the rules of law as data.",
    no_args_is_help=True,
)

_STYLE = {"error": "red", "warn": "yellow", "info": "dim"}
_NOT_ADVICE = "Not legal advice; only the floor, or an official text that was read, may deny."


def _each_place(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        try:
            reached_by(value)
        except Malformed as error:
            raise typer.BadParameter(error.diagnostics()) from error
    return values


def _each_role(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        if value not in get_args(Role):
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(get_args(Role))}.")
    return values


def _option(check: Callable[..., Any], metavar: str, words: str) -> Any:
    return typer.Option(metavar=metavar, callback=check, help=words)


_PLACE = _option(_each_place, "<code>", "ISO 3166 code such as DE or US-IL; EU or EEA for all.")
_ROLE = _option(_each_role, "<word>", f"What the operator is: {', '.join(get_args(Role))}.")
On = Annotated[
    datetime | None,
    typer.Option("--on", formats=["%Y-%m-%d"], metavar="<day>", help="A day (UTC) as 2026-11-21."),
]


@law_app.command("list")
def law_list(
    territory: Annotated[list[str] | None, _PLACE] = None,
    role: Annotated[list[str] | None, _ROLE] = None,
    on: On = None,
    json: Json = False,
) -> None:
    """List the rules; every option narrows the list.

    Without --on, the rules of every day are listed.
    """
    book = _book()
    rules = [rule for rule in book.rules if on is None or rule.applies_on(on.date())]
    if territory:
        codes = frozenset[str]().union(*map(reached_by, territory))
        rules = [rule for rule in rules if not codes.isdisjoint(rule.territories)]
    if role:
        rules = [rule for rule in rules if not set(role).isdisjoint(rule.binds)]
    if json:
        print_json({"rules": [_rule_json(rule) for rule in rules], "rules_sha256": book.sha256})
        return
    OUT.print(_rules_table(rules))
    _print_sum(book, rules)


@law_app.command("explain")
def law_explain(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="A rule, such as EU-AIA-50-2.")],
    json: Json = False,
) -> None:
    """Explain one rule.

    What it says, whom it binds, how far it was read, and what checks it.
    """
    rule = _book().find(rule_id)
    if json:
        print_json(_rule_json(rule))
        return
    OUT.print(Text(f"{rule.id}  {rule.title}", style="bold"))
    OUT.print(Text(rule.explain))
    table = _table("", "")
    table.show_header = False
    for name, words in details(rule):
        table.add_row(name, Text(words))
    OUT.print(table)
    OUT.print(_NOT_ADVICE)


@law_app.command("check")
def law_check(
    territory: Annotated[list[str], _PLACE],
    role: Annotated[list[str] | None, _ROLE] = None,
    on: On = None,
    json: Json = False,
) -> None:
    """Say what speaks to a release in some places.

    For each place: the rules that bind, the rules that advise, and the addenda that a consent for
    it should hold. Without --role every role is meant, as a decision means it; without --on, today.
    Whether an exemption of a rule holds is not looked at.
    """
    book = _book()
    day = on.date() if on else datetime.now(UTC).date()
    roles = role or list(get_args(Role))
    rules = select(book, territories=territory, roles=roles, on=day)
    places = {
        place: select(book, territories=[place], roles=roles, on=day)
        for place in dict.fromkeys(territory)
    }
    stale = [rule.id for rule in book.stale(on=day)]
    if json:
        asked: dict[str, Any] = {"on": str(day), "territories": territory, "roles": roles}
        found = _check_json(book, rules) | {"stale": stale}
        print_json(asked | found | {"places": {p: _place_json(r) for p, r in places.items()}})
        return
    OUT.print(_rules_table(rules))
    for place, of_place in places.items():
        OUT.print(Text(f"\n{place} on {day}", style="bold"))
        for name, words in _place_rows(of_place):
            OUT.print(Text(f"  {name}: {words or 'nothing'}"))
    _print_sum(book, rules)
    OUT.print(_unread_words(rules))
    if stale:
        ERR.print(Text(f"not looked at for too long on {day}: {', '.join(stale)}", "yellow"))


def _book() -> LawBook:
    """Return the rules of this deployment: the product's, and its own where it has some."""
    return load_house(read_settings().home / POLICY_FOLDER, notices=()).law


def _place_rows(rules: Sequence[LawRule]) -> Iterable[tuple[str, str]]:
    """Yield what binds and what advises in one place, what they ask for, and every clock."""
    asked = requirements(rules)
    yield "binds", ", ".join(rule.id for rule in rules if rule.can_block)
    yield (
        "advises",
        ", ".join(f"{rule.id} ({rule.reading})" for rule in rules if not rule.can_block),
    )
    for word, demands in (("must", asked.binding), ("should", asked.advised)):
        yield f"a release {word} carry", _demand_words(demands.marks)
        yield f"a consent {word} hold", _demand_words(demands.addenda)
    yield (
        "clocks",
        "; ".join(
            f"{duration_words(rule.deadline)} after {rule.deadline_from} ({rule.id})"
            for rule in rules
            if rule.deadline
        ),
    )


def _demand_words(demands: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{name} ({', '.join(ids)})" for name, ids in demands.items())


def _unread_words(rules: Iterable[LawRule]) -> str:
    unread = [rule for rule in rules if rule.is_unread]
    return (
        f"The official text of {len(unread)} of these rules was not read here. Such a rule neither "
        "blocks nor clears: no request is denied by it, and none is permitted by it."
    )


def _check_json(book: LawBook, rules: Sequence[LawRule]) -> dict[str, Any]:
    every = {"rules": [_rule_json(r) for r in rules], "rules_sha256": book.sha256}
    return every | _demands_json(rules)


def _place_json(rules: Sequence[LawRule]) -> dict[str, Any]:
    """Return what speaks to one place: ids of rules, and what they ask for."""
    ids = {
        "binds": [rule.id for rule in rules if rule.can_block],
        "advises": [rule.id for rule in rules if not rule.can_block],
        "unread": [rule.id for rule in rules if rule.is_unread],
    }
    return ids | _demands_json(rules)


def _demands_json(rules: Sequence[LawRule]) -> dict[str, Any]:
    asked = requirements(rules)
    return {
        word: {"marks": dict(found.marks), "addenda": dict(found.addenda)}
        for word, found in (("binding", asked.binding), ("advised", asked.advised))
    }


def _rule_json(rule: LawRule) -> dict[str, Any]:
    return rule.model_dump(mode="json") | {"can_block": rule.can_block, "reading": rule.reading}


def _rules_table(rules: Iterable[LawRule]) -> Table:
    table = _table("rule", "may", "read", "says")
    for rule in rules:
        may = Text("deny" if rule.can_block else rule.severity, style=_STYLE[rule.severity])
        table.add_row(rule.id, may, rule.reading, Text(rule.title))
    return table


def _table(*names: str) -> Table:
    table = make_table(*names)
    table.columns[0].no_wrap = True  # an id that is cut cannot be copied
    return table


def _print_sum(book: LawBook, rules: Iterable[LawRule]) -> None:
    every = tuple(rules)
    blocking = sum(rule.can_block for rule in every)
    OUT.print(f"{len(every)} of {len(book.rules)} rules, {blocking} may deny. {_NOT_ADVICE}")
