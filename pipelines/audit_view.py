"""What people see of the audit log: what a check shows, and, as plainly, what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pipelines.console import ERR, OUT, make_table, pair_table, plain, print_json, when

if TYPE_CHECKING:
    from policies.audit import InclusionProof
    from policies.bundle import BundleReport
    from policies.checkpoint import Checkpoint
    from policies.proofs import ConsistencyProof


@dataclass(frozen=True, slots=True)
class Checked:
    """What a log was checked against: sizes of kept checkpoints, witnesses that cosigned them.

    `own_key`: the key that was trusted came with what it was to prove.
    """

    head: Checkpoint
    kept: Sequence[int] = ()
    witnesses: Mapping[str, int] | None = None
    own_key: bool = False


def findings(checked: Checked) -> tuple[list[str], list[str]]:
    """Return in words what such a check shows and what it does not show."""
    head = checked.head
    shows = [
        f"the {head.size} entries lead to the root {head.root.hex()}, and no time goes back",
    ]
    hidden = ["that an entry is true", "that everything that happened was logged"]
    if checked.kept:
        shows.append(
            f"nothing in the first {max(checked.kept)} entries was changed, cut or put in since "
            "the checkpoints were kept"
        )
        hidden.append(f"how entries after {max(checked.kept)} came to be there")
    else:
        hidden.append(
            "that the log was not cut, put back from an old copy or rewritten as a whole: that "
            "takes a checkpoint kept elsewhere (--kept)"
        )
    if checked.witnesses:
        names = ", ".join(sorted(checked.witnesses))
        shows.append(f"what the cosigned checkpoints say is what was seen by {names}")
    else:
        hidden.append("that nobody else is shown another log: that takes witnesses (--witness)")
    if checked.own_key:
        hidden.append("whose log it is: the key came with the bundle (--origin and --key)")
    return shows, hidden


def show_check(checked: Checked, *, more: Mapping[str, Any] | None = None, json: bool) -> None:
    """Print what a check of the whole log showed, and what it did not."""
    head = checked.head
    shows, hidden = findings(checked)
    if json:
        found = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
        against = {"kept": list(checked.kept), "witnesses": dict(checked.witnesses or {})}
        print_json({**found, **against, "shows": shows, "does_not_show": hidden, **(more or {})})
        return
    OUT.print(f"[green bold]holds[/] {plain(head.origin)}: {head.size} entries", soft_wrap=True)
    for name, value in (more or {}).items():
        OUT.print(f"  {name.replace('_', ' ')}: {plain(value)}", soft_wrap=True)
    for title, lines in (("shown", shows), ("not shown", hidden)):
        OUT.print(Text(f"{title}:", style="bold"))
        for line in lines:
            OUT.print(f"  {plain(line)}", soft_wrap=True)


def counts(report: BundleReport) -> dict[str, Any]:
    """Return what is in a bundle besides its head."""
    return {
        "kinds": dict(report.kinds),
        "first_at": report.first_at,
        "last_at": report.last_at,
        "decisions_under_other_policy": report.foreign_policy,
    }


def show_entry(proof: InclusionProof, head: Checkpoint, out: Path | None, *, json: bool) -> None:
    """Print an entry that a proof was made for or checked."""
    if json:
        place = {"index": proof.index, "size": head.size, "origin": head.origin}
        print_json({**place, "entry": dict(proof.entry), "out": str(out) if out else None})
        return
    words = f"entry {proof.index} of {head.size} in {plain(head.origin)}"
    OUT.print(f"[green bold]included[/] {words}", soft_wrap=True)
    OUT.print(pair_table({name: str(value) for name, value in sorted(proof.entry.items())}))
    if out:
        OUT.print(f"Proof written to {plain(out)}", soft_wrap=True)


def show_consistency(
    proof: ConsistencyProof, new: int, text: str, out: Path | None, *, json: bool
) -> None:
    """Print a consistency proof, or where it was written."""
    if json:
        path = [value.hex() for value in proof.path]
        where = {"out": str(out) if out else None, "checkpoint": proof.checkpoint}
        print_json({"old": proof.old, "new": new, "path": path, **where})
    elif out:
        words = f"{new} entries extend {proof.old}; proof written to {plain(out)}"
        OUT.print(f"[green bold]consistent[/] {words}", soft_wrap=True)
    else:
        print(text, end="")


def show_note(
    note: str, head: Checkpoint, verifier: str, outs: Sequence[Path], *, json: bool
) -> None:
    """Print a checkpoint, or where it was written; `verifier` is the signer's public key."""
    if json:
        found = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
        where = [str(out) for out in outs]
        print_json({**found, "checkpoint": note, "verifier": verifier, "out": where})
    elif outs:
        for out in outs:
            OUT.print(f"checkpoint of {head.size} written to {plain(out)}", soft_wrap=True)
        OUT.print(f"verified with {plain(verifier)}", soft_wrap=True)
    else:
        print(note, end="")


def warn_single_place(outs: Sequence[Path]) -> None:
    """Warn when a checkpoint is kept in fewer than two places: one can be lost with the log."""
    if len(outs) < 2:
        ERR.print(
            "Keep every checkpoint in at least two places outside this machine (--out twice): "
            "only a copy out of reach shows that a log was cut or rewritten.",
            style="yellow",
        )


def show_export(head: Checkpoint, folder: Path, *, json: bool) -> None:
    """Say what was written where."""
    if json:
        print_json({"folder": str(folder), "origin": head.origin, "size": head.size})
        return
    OUT.print(f"{head.size} entries written to {plain(folder)}", soft_wrap=True)
    OUT.print(f"Check: facewarrant audit verify --bundle {plain(folder)}", soft_wrap=True)


def show_log(entries: Sequence[tuple[int, Mapping[str, Any]]], *, json: bool) -> None:
    """Print entries of the log, newest first."""
    if json:
        print_json([{"index": index, **entry} for index, entry in entries])
        return
    table = make_table("entry", "at", "kind", "says")
    table.columns[1].no_wrap = True
    for index, entry in entries:
        rest = {k: v for k, v in entry.items() if k not in ("v", "at", "kind")}
        says = ", ".join(f"{name} {_short(value)}" for name, value in rest.items())
        table.add_row(str(index), when(entry["at"]), plain(entry["kind"]), plain(says))
    OUT.print(table)


def _short(value: object) -> str:
    """Return a value, digests cut to twelve digits; --json has them whole."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
