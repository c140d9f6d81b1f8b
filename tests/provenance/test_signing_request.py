"""What a signing service is shown, and every reason for which it does not sign."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from policies.audit import AuditLog, InclusionProof
from policies.canonical import canonical
from policies.database import Database
from policies.errors import Error, Malformed
from policies.keys import SigningKey
from policies.warrant import Warrant, WarrantInvalid
from provenance.errors import SigningFailed
from provenance.signing_request import (
    MAX_CLAIM_BYTES,
    MAX_REQUEST_BYTES,
    SigningRequest,
    SigningTrust,
    encode_request,
    make_request,
    read_request,
    require_signable,
)

CLAIM = b"\x84\x6aSignature1" + bytes(100)


@dataclass(frozen=True)
class Bench:
    """A good request, and the service that would sign it."""

    request: SigningRequest
    trust: SigningTrust
    now: int
    office: Any

    def code(self, request: SigningRequest | None = None, **trust: Any) -> str:
        """The code of the refusal; "" where there is none."""
        try:
            require_signable(
                request or self.request,
                trust=dataclasses.replace(self.trust, **trust),
                now=self.now,
            )
        except Error as error:
            return error.code
        return ""

    def resigned(self, **changes: Any) -> Warrant:
        """The warrant with changes, signed by the desk all the same."""
        body = self.request.warrant.body() | changes
        return Warrant.model_validate_json(
            canonical(body | {"sig": self.office.desk_key.sign("warrant", body)})
        )


@pytest.fixture
def bench(office: Any, active_warrant: Callable[..., Any]) -> Bench:
    warrant = active_warrant().document
    trust = SigningTrust(
        issuer=office.desk_key.public,
        log_key=office.log_key.public,
        origin=office.log.origin,
        policies=frozenset({warrant.policy_sha256}),
    )
    request = make_request(CLAIM, warrant, log=office.log)
    return Bench(request, trust, office.clock.now, office)


def test_a_good_request_is_signable_also_after_its_way(bench: Bench) -> None:
    assert bench.code() == ""
    read = read_request(encode_request(bench.request))
    assert read == bench.request
    assert bench.code(read) == ""


def test_a_warrant_the_log_never_saw_makes_no_request(bench: Bench) -> None:
    other = bench.resigned(warrant_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(WarrantInvalid) as caught:
        make_request(CLAIM, other, log=bench.office.log)
    assert caught.value.code == "WARRANT-UNLOGGED"


@pytest.mark.parametrize("claim", [b"", b"anything", CLAIM[1:], b"\x84\x69Signature"])
def test_what_is_no_claim_is_not_signed(bench: Bench, claim: bytes) -> None:
    with pytest.raises(SigningFailed, match="no COSE signature structure"):
        require_signable(
            dataclasses.replace(bench.request, claim=claim), trust=bench.trust, now=bench.now
        )


def test_a_warrant_of_another_desk(bench: Bench) -> None:
    assert bench.code(issuer=SigningKey.from_seed(b"x" * 32).public) == "WARRANT-FORGED"


def test_a_warrant_that_was_edited(bench: Bench) -> None:
    edited = bench.request.warrant.model_copy(update={"source_sha256": "0" * 64})
    assert bench.code(dataclasses.replace(bench.request, warrant=edited)) == "WARRANT-FORGED"


@pytest.mark.parametrize(("end", "offset"), [("expires_at", 0), ("not_before", -1)])
def test_a_warrant_outside_its_window(bench: Bench, end: str, offset: int) -> None:
    late = dataclasses.replace(bench, now=getattr(bench.request.warrant, end) + offset)
    assert late.code() == "WARRANT-EXPIRED"


def test_a_policy_that_nobody_approved(bench: Bench) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        require_signable(
            bench.request,
            trust=dataclasses.replace(bench.trust, policies={"0" * 64}),
            now=bench.now,
        )
    assert caught.value.code == "WARRANT-OTHER-POLICY"
    assert bench.request.warrant.policy_sha256 in caught.value.message


@pytest.mark.parametrize("which", ["decision", "issued"])
def test_a_checkpoint_of_another_key_or_log(bench: Bench, which: str) -> None:
    stranger = AuditLog(
        Database("sqlite://"),
        origin=bench.trust.origin,
        key=SigningKey.from_seed(b"x" * 32),
        clock=lambda: bench.now,
    )
    for kind, content in (("policy", {"event": "in_force"}), ("abort", {})):
        stranger.append(kind, content)  # type: ignore[arg-type]
    forged = dataclasses.replace(bench.request, **{which: stranger.prove(1)})
    assert bench.code(forged) == "BAD-SIGNATURE"
    assert bench.code(origin="another.log") == "MALFORMED"


@pytest.mark.parametrize("which", ["decision", "issued"])
@pytest.mark.parametrize("edit", ["entry", "index", "path"])
def test_a_proof_that_does_not_hold(bench: Bench, which: str, edit: str) -> None:
    proof: InclusionProof = getattr(bench.request, which)
    changed = {
        "entry": {"entry": {**proof.entry, "at": 1}},
        "index": {"index": proof.index - 1},
        "path": {"path": proof.path[:-1]},
    }[edit]
    request = dataclasses.replace(bench.request, **{which: dataclasses.replace(proof, **changed)})
    assert bench.code(request) == "PROOF-INVALID"


def test_no_other_entry_passes_for_the_decision_or_the_warrant(bench: Bench) -> None:
    office = bench.office
    for index in range(len(office.log.entries())):
        proof = office.log.prove(index)
        decision = dataclasses.replace(bench.request, decision=proof)
        issued = dataclasses.replace(bench.request, issued=proof)
        assert (bench.code(decision) == "") == (index == bench.request.decision.index)
        assert (bench.code(issued) == "") == (index == bench.request.issued.index)


@pytest.mark.parametrize(
    "changes",
    [
        {"allow": False},
        {"decision": "0" * 64},
        {"request": "0" * 64},
        {"policy": "0" * 64},
        {"kind": "warrant"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_logged_decision_that_is_another_one(bench: Bench, changes: dict[str, Any]) -> None:
    """The log holds it, and the desk even signed a warrant that points there."""
    log = bench.office.log
    entry = {**bench.request.decision.entry, **changes}
    content = {name: value for name, value in entry.items() if name not in ("v", "kind", "at")}
    if changes.get("kind") == "warrant":
        content = {"warrant": "0" * 64, "decision": 0}
    index = log.append(entry["kind"], content).index
    warrant = bench.resigned(decision_index=index)
    log.append("warrant", {"warrant": warrant.sha256, "decision": index})
    request = make_request(CLAIM, warrant, log=log)
    assert bench.code(request) == "WARRANT-UNLOGGED"


def test_a_warrant_entry_that_names_another_decision(bench: Bench) -> None:
    log, warrant = bench.office.log, bench.request.warrant
    index = log.append("warrant", {"warrant": warrant.sha256, "decision": 0}).index
    request = dataclasses.replace(bench.request, issued=log.prove(index))
    assert bench.code(request) == "WARRANT-UNLOGGED"


def broken(bench: Bench, **changes: Any) -> bytes:
    document = json.loads(encode_request(bench.request))
    return canonical({name: v for name, v in (document | changes).items() if v is not None})


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "facewarrant/signing-request/2"},
        {"claim": None},
        {"claim": "no base64!"},
        {"claim": "AAA"},
        {"claim": 1},
        {"claim": base64.b64encode(bytes(MAX_CLAIM_BYTES + 3)).decode()},
        {"warrant": {}},
        {"decision": []},
        {"decision": {}},
        {"issued": {"schema": "facewarrant/log-proof/1"}},
        {"please": True},
    ],
)
def test_what_is_no_request_is_refused(bench: Bench, changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read_request(broken(bench, **changes))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"{", b"\xff", b'{"a":1,"a":1}'])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_request(data)


def test_a_request_has_a_size_and_one_form(bench: Bench) -> None:
    data = encode_request(bench.request)
    with pytest.raises(Malformed, match="canonical"):
        read_request(data + b"\n")
    with pytest.raises(Malformed, match=str(MAX_REQUEST_BYTES)):
        read_request(data + b" " * MAX_REQUEST_BYTES)


def test_the_largest_claim_still_fits(bench: Bench) -> None:
    claim = CLAIM + bytes(MAX_CLAIM_BYTES - len(CLAIM))
    request = dataclasses.replace(bench.request, claim=claim)
    assert read_request(encode_request(request)).claim == claim
