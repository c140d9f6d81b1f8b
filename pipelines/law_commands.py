"""`facewarrant law`: which rules speak to a place, a role and a day, and what each may do.

Thin commands over `policies.law`; the rules come from the files that ship with the product. What is
printed is not legal advice, and says how far each rule was read.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.law_page import details, duration_words
from policies.errors import Malformed
from policies.law import LawBook, LawRule, Requirements, Role, load_rules, requirements, select
from policies.territories import reached_by

law_app = typer.Typer(
    help="Show the rules of law as data.",
    no_args_is_help=True,
)

_STYLE = {"error": "red", "warn": "yellow", "info": "dim"}
_NOT_ADVICE = "Not legal advice; only the floor, or an official text that was read, may deny."

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


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
    book = load_rules()
    rules = [rule for rule in book.rules if on is None or rule.applies_on(on.date())]
    if territory:
        codes = frozenset[str]().union(*map(reached_by, territory))
        rules = [rule for rule in rules if not codes.isdisjoint(rule.territories)]
    if role:
        rules = [rule for rule in rules if not set(role).isdisjoint(rule.binds)]
    if json:
        _print_json({"rules": [_rule_json(rule) for rule in rules], "rules_sha256": book.sha256})
        return
    _out.print(_rules_table(rules))
    _print_sum(book, rules)


@law_app.command("explain")
def law_explain(
    rule_id: Annotated[str, typer.Argument(metavar="ID", help="A rule, such as EU-AIA-50-2.")],
    json: Json = False,
) -> None:
    """Explain one rule.

    What it says, whom it binds, how far it was read, and what checks it.
    """
    rule = load_rules().find(rule_id)
    if json:
        _print_json(_rule_json(rule))
        return
    _out.print(Text(f"{rule.id}  {rule.title}", style="bold"))
    _out.print(Text(rule.explain))
    table = _table()
    for name, words in details(rule):
        table.add_row(name, Text(words))
    _out.print(table)
    _out.print(_NOT_ADVICE)


@law_app.command("check")
def law_check(
    territory: Annotated[list[str], _PLACE],
    role: Annotated[list[str], _ROLE],
    on: On = None,
    json: Json = False,
) -> None:
    """Say what speaks to a role in some places.

    Rules, marks, addenda and clocks. Without --on, today is meant. Whether an exemption of a rule
    holds is not looked at.
    """
    book = load_rules()
    day = on.date() if on else datetime.now(UTC).date()
    rules = select(book, territories=territory, roles=role, on=day)
    asked = requirements(rules)
    stale = [rule.id for rule in book.stale(on=day)]
    if json:
        asked_json: dict[str, Any] = {"on": str(day), "territories": territory, "roles": role}
        _print_json(asked_json | _check_json(book, rules, asked) | {"stale": stale})
        return
    _out.print(_rules_table(rules))
    for name, words in _demand_rows(asked):
        _out.print(Text.assemble((f"{name}: ", "bold"), words))
    for rule in rules:
        if rule.deadline:
            clock = f"{duration_words(rule.deadline)} after {rule.deadline_from}"
            _out.print(Text.assemble(("clock: ", "bold"), f"{clock} ({rule.id})"))
    _print_sum(book, rules)
    if stale:
        _err.print(Text(f"not looked at for too long on {day}: {', '.join(stale)}", "yellow"))


def _demand_rows(asked: Requirements) -> Iterable[tuple[str, str]]:
    """Yield what must and what should be there, with the rules that say so."""
    for word, demands in (("must", asked.binding), ("should", asked.advised)):
        for kind, found in (("mark", demands.marks), ("addendum", demands.addenda)):
            for name, ids in found.items():
                yield f"{word} have the {kind} {name}", ", ".join(ids)


def _check_json(book: LawBook, rules: Iterable[LawRule], asked: Requirements) -> dict[str, Any]:
    demands = {
        word: {"marks": dict(found.marks), "addenda": dict(found.addenda)}
        for word, found in (("binding", asked.binding), ("advised", asked.advised))
    }
    return {"rules": [_rule_json(r) for r in rules], "rules_sha256": book.sha256, **demands}


def _rule_json(rule: LawRule) -> dict[str, Any]:
    return rule.model_dump(mode="json") | {"can_block": rule.can_block, "reading": rule.reading}


def _rules_table(rules: Iterable[LawRule]) -> Table:
    table = _table("rule", "may", "read", "says")
    for rule in rules:
        may = Text("deny" if rule.can_block else rule.severity, style=_STYLE[rule.severity])
        table.add_row(rule.id, may, rule.reading, Text(rule.title))
    return table


def _table(*names: str) -> Table:
    """Return an empty table that folds what is too long and cuts nothing off."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(names))
    for name in names or ("", ""):
        table.add_column(name, overflow="fold")
    table.columns[0].no_wrap = True  # an id that is cut cannot be copied
    return table


def _print_sum(book: LawBook, rules: Iterable[LawRule]) -> None:
    every = tuple(rules)
    blocking = sum(rule.can_block for rule in every)
    _out.print(f"{len(every)} of {len(book.rules)} rules, {blocking} may deny. {_NOT_ADVICE}")


def _print_json(value: object) -> None:
    print(jsonlib.dumps(value, indent=1, sort_keys=True))
