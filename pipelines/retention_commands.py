"""`facewarrant retention`: what has to go and when, and the sweep that lets it go.

Thin commands over `policies.sweep`. Run the sweep once a day or more often: a clock that says "at
once" means the next sweep.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.console import ERR, EXIT_EVIDENCE, OUT, plain, print_json, when
from pipelines.options import Json
from pipelines.settings import read_settings

if TYPE_CHECKING:
    from policies.sweep import Due

retention_app = typer.Typer(
    help="Show what has to go and when, and let it go.", no_args_is_help=True
)

DAY_SECONDS = 86_400


@retention_app.command("list")
def retention_list(
    days: Annotated[int, typer.Option(min=0, help="What is due within so many days.")] = 30,
    json: Json = False,
) -> None:
    """List what is due now and soon, the shortest clock first.

    Each with its date, the rule that sets it, and whether anybody here read that rule's text: an
    unread rule may shorten a clock, since to delete early harms nobody.
    """
    from pipelines.deployment import open_records
    from policies.sweep import due_work

    with open_records(read_settings()) as at:
        now = at.clock()
        found = [one for one in due_work(at.desk) if one.due_at <= now + days * DAY_SECONDS]
    if json:
        print_json({"now": now, "due": [_due_json(one, now=now) for one in found]})
        return
    if found:
        _print_due(found, now=now)
    else:
        OUT.print(f"Nothing is due within {days} days.")


@retention_app.command("sweep")
def retention_sweep(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Let go what is due now, and log it.

    Ends with 5 when a consent is broken: it is evidence, and stays.
    """
    from pipelines.deployment import controller_key, open_records
    from pipelines.people import forget_orphans
    from pipelines.work import forget_ended
    from policies.sweep import sweep

    settings = read_settings()
    with open_records(settings) as at:
        swept = sweep(at.desk, controller=controller_key(settings), dry_run=dry_run)
        if not dry_run:
            forget_orphans(at)
            forget_ended(at)
        now = at.clock()
    if json:
        parts = {"done": swept.done, "left": swept.left}
        told = {name: [_due_json(one, now=now) for one in some] for name, some in parts.items()}
        print_json({"dry_run": dry_run, **told})
    else:
        for words, some in (("would go" if dry_run else "gone", swept.done), ("left", swept.left)):
            OUT.print(f"{words}: {len(some)}")
            if some:
                _print_due(some, now=now)
    if any(one.what == "broken" for one in swept.left):
        ERR.print("A consent is broken; see 'facewarrant doctor'.")
        raise typer.Exit(EXIT_EVIDENCE)


def _due_json(one: Due, *, now: int) -> dict[str, Any]:
    from policies.sweep import MEANS

    return {
        "what": one.what,
        "means": MEANS[one.what],
        "item": one.item,
        "due_at": one.due_at,
        "due": one.due_at <= now,
        "rule": one.rule_id,
        "unread": one.unread,
        "clocks": [
            {"due_at": c.due_at, "rule": c.rule_id, "event": c.event, "unread": c.unread}
            for c in one.clocks
        ],
    }


def _rule_words(rule_id: str, unread: bool) -> str:
    return f"{rule_id} (unread)" if unread else rule_id


def _print_line(text: str) -> None:
    OUT.print(plain(text), soft_wrap=True)


def _print_due(found: Iterable[Due], *, now: int) -> None:
    """Print what is due, the clocks that come later below it, and what becomes of each kind."""
    from policies.sweep import MEANS

    kinds: dict[str, str] = {}
    for one in found:
        due = "now" if one.due_at <= now else when(one.due_at)
        # Lines, not a table: an id that is cut cannot be copied.
        _print_line(f"{due}  {one.what}  {one.item}  by {_rule_words(one.rule_id, one.unread)}")
        for clock in one.clocks[1:]:
            rule = _rule_words(clock.rule_id, clock.unread)
            _print_line(f"    another clock: {when(clock.due_at)}  by {rule}")
        kinds[one.what] = MEANS[one.what]
    for what, means in kinds.items():
        OUT.print(f"{what}: {means}")
