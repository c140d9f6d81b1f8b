"""`facewarrant policy`: what this deployment decides by, and what a change of it would change.

Thin commands over `policies.house_files`. A policy is changed by changing the files of the policy
folder; there is no command for it, and none that switches anything off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.text import Text

from pipelines.console import ERR, OUT, make_table, pair_table, plain, print_json
from pipelines.notice import NOTICE_SHA256
from pipelines.options import Json
from pipelines.settings import Settings, read_settings
from policies.cedar import ENGINE, Clause
from policies.errors import Error
from policies.house import House, shipped_house
from policies.house_files import POLICY_FOLDER, load_house
from policies.terms import KnownPurpose

if TYPE_CHECKING:
    from rich.table import Table

policy_app = typer.Typer(
    help="Show the policy that decides requests; check a change of it.",
    no_args_is_help=True,
)

Changes = Mapping[str, Mapping[str, list[str]]]
"""For each part of a policy: what is added, removed and changed, by id."""

_LOSES = "Warrants issued under another policy lose their force: running requests end, ask again."


@policy_app.command("show")
def policy_show(json: Json = False) -> None:
    """Show the policy of this deployment.

    Its digest, purposes, reason codes, notices and rules of law; what comes from the deployment's
    own policy folder is marked as own.
    """
    house = _read_house(_policy_folder(read_settings()))
    if json:
        print_json(_house_json(house))
        return
    OUT.print(pair_table(_summary(house)))
    OUT.print(_purposes_table(house))
    OUT.print(_reasons_table(house))


@policy_app.command("check")
def policy_check(
    folder: Annotated[
        Path | None,
        typer.Argument(
            exists=True,  # a folder that is not there would pass for one that adds nothing
            file_okay=False,
            help="A policy folder; this deployment's own when left out.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check a policy folder before it is used.

    Says what it changes against the policy in force (against the product's own, where the folder is
    the one in force), and whether warrants that were issued lose their force by it.
    """
    settings = read_settings()
    own = _policy_folder(settings)
    house = _read_house(folder or own)
    before = _house_in_force(own) if folder else shipped_house([NOTICE_SHA256])
    decided_by = _last_decided_by(settings) if before else None
    found = {
        "folder": str(folder or own),
        "policy_sha256": house.sha256,
        "against": "the policy in force" if folder else "the product's own policy",
        "against_sha256": before.sha256 if before else None,
        "last_decided_by": decided_by,
        "changes": _compare(before, house) if before else None,
        "warrants_lose_force": decided_by not in (None, house.sha256),
    }
    if json:
        print_json(found)
    else:
        _print_check(found)


def _policy_folder(settings: Settings) -> Path:
    return settings.home / POLICY_FOLDER


def _read_house(folder: Path) -> House:
    return load_house(folder, notices=[NOTICE_SHA256])


def _house_in_force(folder: Path) -> House | None:
    """Return the house of this deployment, or None where it is broken: a mended one replaces it."""
    try:
        return _read_house(folder)
    except Error as error:
        ERR.print(Text(f"the policy in force is refused, {error.code}: {error.message}", "yellow"))
        return None


def _last_decided_by(settings: Settings) -> str | None:
    """Return the digest of the policy of the newest decision in the log, if there is one."""
    if not (settings.home / "keys").is_dir():
        return None
    from pipelines.deployment import open_records

    with open_records(settings) as at:
        newest = at.archive.log.latest(1, kind="decision")
    return str(newest[0][1]["policy"]) if newest else None


def _compare(old: House, new: House) -> Changes:
    """Return what differs between two houses, part by part; parts without change are empty."""
    parts: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "purposes": (old.purposes, new.purposes),
        "forbids": (old.gate.house, new.gate.house),
        "rules": ({r.id: r for r in old.law.rules}, {r.id: r for r in new.law.rules}),
        "notices": (dict.fromkeys(old.notices), dict.fromkeys(new.notices)),
    }
    return {
        name: {
            "added": sorted(after.keys() - before.keys()),
            "removed": sorted(before.keys() - after.keys()),
            "changed": sorted(
                key for key in before.keys() & after.keys() if before[key] != after[key]
            ),
        }
        for name, (before, after) in parts.items()
    }


def _print_check(found: Mapping[str, Any]) -> None:
    rows = {
        "folder": found["folder"],
        "digest": found["policy_sha256"],
        "against": f"{found['against']}, {found['against_sha256'] or 'which is refused'}",
        "last decision": found["last_decided_by"] or "none was made yet",
    }
    OUT.print(pair_table(rows))
    for part, changes in (found["changes"] or {}).items():
        for word, names in changes.items():
            for name in names:
                OUT.print(f"{part} {word}: {plain(name)}")
    if found["last_decided_by"] == found["policy_sha256"]:
        OUT.print("The newest decision was made under this very policy; nothing ends by it.")
    else:
        OUT.print(_LOSES)


def _house_json(house: House) -> dict[str, Any]:
    return {
        "policy_sha256": house.sha256,
        "engine": ENGINE,
        "purposes": {"product": list(get_args(KnownPurpose)), "own": dict(house.purposes)},
        "reasons": [
            {
                "code": clause.code,
                "own": own,
                "about": "request" if clause.whole else "person",
                "cites": list(clause.cites),
                "explain": clause.explain,
                "mend": clause.mend,
            }
            for clause, own in _clauses(house)
        ],
        "notices": sorted(house.notices),
        "law": _law_counts(house),
    }


def _clauses(house: House) -> Iterable[tuple[Clause, bool]]:
    """Yield every forbid of the policy, and whether it is the house's own."""
    yield from ((clause, False) for clause in house.gate.clauses.values())
    yield from ((clause, True) for clause in house.gate.house.values())


def _law_counts(house: House) -> dict[str, Any]:
    shipped = {rule.id for rule in shipped_house(()).law.rules}
    rules = house.law.rules
    return {
        "rules": len(rules),
        "own": sorted(rule.id for rule in rules if rule.id not in shipped),
        "may_deny": sum(rule.can_block for rule in rules),
        "rules_sha256": house.law.sha256,
    }


def _summary(house: House) -> Mapping[str, str]:
    law = _law_counts(house)
    return {
        "policy": house.sha256,
        "engine": ENGINE,
        "law": f"{law['rules']} rules, {len(law['own'])} own, {law['may_deny']} may deny",
        "notices": ", ".join(sorted(house.notices)) or "none",
    }


def _purposes_table(house: House) -> Table:
    table = make_table("purpose", "own", "means")
    for word in get_args(KnownPurpose):
        table.add_row(word, "", "")
    for word, means in house.purposes.items():
        table.add_row(plain(word), "own", plain(means))
    table.columns[0].no_wrap = True
    return table


def _reasons_table(house: House) -> Table:
    table = make_table("reason", "own", "denies because")
    for clause, own in _clauses(house):
        table.add_row(plain(clause.code), "own" if own else "", plain(clause.explain))
    table.columns[0].no_wrap = True
    return table
