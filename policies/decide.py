"""The decision: the gate and the rules over all facts, or a denial that says why.

The policy is stated twice: in Cedar, which permits, and in Python, which words the reasons. Both
run, and a request is allowed only if both find nothing against it. Pure. Refused besides: facts
that cannot be read (FACTS), a rule that fails to run (its own code), a gate that gives no answer
(ENGINE-FAILED, PEOPLE-MISSING) and two statements that differ (ENGINE-DISAGREEMENT).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from policies.canonical import canonical, digest
from policies.cedar import ENGINE, Clause, Gate, GateFailed
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.facts import Facts, read_facts
from policies.house import House, LawNote
from policies.rule import Finding, Rule
from policies.rules import RULES
from policies.terms import Digest, Document, UnixTime, Uuid


class Decision(Document):
    """What was decided about one request, why, on which facts and under which rules."""

    schema_: Literal["facewarrant/decision/1"] = "facewarrant/decision/1"
    decision_id: Uuid
    request_sha256: Digest
    allow: bool
    findings: tuple[Finding, ...]
    facts_sha256: Digest
    policy_sha256: Digest
    """Of the whole policy of the house: see `House.sha256`."""
    notes: tuple[LawNote, ...]
    """What law that cannot bind would ask for besides; decides nothing."""
    engine: str
    evaluated_at: UnixTime

    @property
    def codes(self) -> tuple[str, ...]:
        """The distinct reason codes, in rule order."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    @property
    def sha256(self) -> str:
        """The digest of the canonical decision."""
        return digest(self.model_dump(mode="json"))


_NO_NOTES: tuple[LawNote, ...] = ()


class Refused(Error):
    """The request was decided against; `decision` holds every reason."""

    code = "REFUSED"

    def __init__(self, decision: Decision) -> None:
        reasons = "; ".join(_describe(finding) for finding in decision.findings)
        mends = " ".join(dict.fromkeys(finding.mend for finding in decision.findings))
        super().__init__(f"refused: {reasons}", mend=mends)
        self.decision = decision


def decide(
    raw: Mapping[str, Any],
    *,
    request_sha256: str,
    decision_id: str,
    now: int,
    house: House,
    rules: Sequence[Rule] = RULES,
) -> Decision:
    """Decide on raw facts (a JSON-like mapping of `Facts`); never raises for bad facts, denies."""
    try:
        facts = read_facts(raw)
    except Malformed as error:
        findings, notes = [_unreadable(error)], _NO_NOTES
        facts_sha256 = _best_digest(raw)
    else:
        findings, notes = _judge(facts, rules, house.gate), _note(house, facts)
        facts_sha256 = facts.sha256
    return Decision(
        decision_id=decision_id,
        request_sha256=request_sha256,
        allow=not findings,
        findings=tuple(findings),
        facts_sha256=facts_sha256,
        policy_sha256=house.sha256,
        notes=notes,
        engine=ENGINE,
        evaluated_at=now,
    )


def _judge(facts: Facts, rules: Sequence[Rule], gate: Gate) -> list[Finding]:
    """Return the reasons of gate and rules; none only where both found none."""
    findings = [finding for rule in rules for finding in _apply(rule, facts)]
    try:
        reasons = gate.judge(facts)
    except GateFailed as error:
        return [*findings, _floor(error.code, error.message, error.mend)]
    house = sorted(reason for reason in reasons if reason[0] in gate.house)
    findings += [_cite(gate.house[code], subject) for code, subject in house]
    reasons -= set(house)
    worded = {(f.code, f.subject) for f in findings if f.code not in gate.house}
    differing = {code for code, _ in worded ^ reasons}
    differing |= {rule.code for rule in rules} ^ set(gate.clauses)
    if not differing:
        return findings
    unworded = [_cite(gate.clauses[code], subject) for code, subject in sorted(reasons - worded)]
    return [*findings, *unworded, _disagreement(differing)]


def _note(house: House, facts: Facts) -> tuple[LawNote, ...]:
    try:
        return house.note(facts)
    except Error:
        # Places or a day that the table of laws cannot read; the notes decide nothing anyway.
        return _NO_NOTES


def _apply(rule: Rule, facts: Facts) -> list[Finding]:
    try:
        return rule.findings(facts)
    except Exception as error:  # noqa: BLE001 - a rule that cannot run has not held: it denies
        return [
            Finding(
                code=rule.code,
                cites=rule.cites,
                subject="",
                explain=f"The rule could not be evaluated ({type(error).__name__}).",
                mend=rule.mend,
            )
        ]


def _unreadable(error: Malformed) -> Finding:
    return _floor(
        "FACTS",
        f"The facts could not be read: {error.message}",
        "Measure again; a decision needs every fact, in its type.",
    )


def _disagreement(codes: set[str]) -> Finding:
    return _floor(
        "ENGINE-DISAGREEMENT",
        f"The two statements of the policy disagree about {', '.join(sorted(codes))}.",
        "Restore the published policy; nothing is permitted while its two statements differ.",
    )


def _floor(code: str, explain: str, mend: str) -> Finding:
    return Finding(code=code, cites=("FLOOR",), subject="", explain=explain, mend=mend)


def _cite(clause: Clause, subject: str) -> Finding:
    """Return the finding of a clause in the policy's own words."""
    return Finding(
        code=clause.code,
        cites=clause.cites,
        subject=subject,
        explain=clause.explain,
        mend=clause.mend,
    )


def _best_digest(raw: Mapping[str, Any]) -> str:
    try:
        return sha256_hex(canonical(raw))
    except Malformed:
        return sha256_hex(b"unreadable facts")


def _describe(finding: Finding) -> str:
    cites = ", ".join(finding.cites)
    about = f" ({finding.subject})" if finding.subject else ""
    return f"{finding.code}{about}: {finding.explain} [{cites}]"
