"""The decision: all rules over all facts, or a denial that says why.

Pure. Facts that cannot be read are a denial with the code FACTS; a rule that fails to run is a
denial with its own code. There is no other way to `allow`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from policies.canonical import canonical, digest
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.facts import Facts, read_facts
from policies.rules import POLICY_SHA256, RULES, Finding, Rule
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
    evaluated_at: UnixTime

    @property
    def codes(self) -> tuple[str, ...]:
        """The distinct reason codes, in rule order."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    @property
    def sha256(self) -> str:
        """The digest of the canonical decision."""
        return digest(self.model_dump(mode="json"))


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
    rules: Sequence[Rule] = RULES,
) -> Decision:
    """Decide on raw facts (a JSON-like mapping of `Facts`); never raises for bad facts, denies."""
    try:
        facts = read_facts(raw)
    except Malformed as error:
        findings = [_unreadable(error)]
        facts_sha256 = _best_digest(raw)
    else:
        findings = [finding for rule in rules for finding in _apply(rule, facts)]
        facts_sha256 = facts.sha256
    return Decision(
        decision_id=decision_id,
        request_sha256=request_sha256,
        allow=not findings and bool(rules),
        findings=tuple(findings),
        facts_sha256=facts_sha256,
        policy_sha256=POLICY_SHA256,
        evaluated_at=now,
    )


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
    return Finding(
        code="FACTS",
        cites=("FLOOR",),
        subject="",
        explain=f"The facts could not be read: {error.message}",
        mend="Measure again; a decision needs every fact, in its type.",
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
