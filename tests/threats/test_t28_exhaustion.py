"""T28: a request that no picture could save costs no decoding and no model.

The parts that would be used are replaced by ones that count: a refusal must leave them at nought.
What a refusal costs is then a database and a signature; how often somebody may ask is not limited
here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import batch
from pipelines.outcome import Job
from policies.errors import Malformed

MODEL = "identity"


class Counted:
    """Something that is not to be used; counts who tries."""

    def __init__(self, **known: Any) -> None:
        self.uses: list[str] = []
        self.known = known

    def __getattr__(self, name: str) -> Any:
        if name in self.known:
            return self.known[name]
        self.uses.append(name)
        raise Malformed(f"{name} was used")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Whatever is decoded."""
    seen: list[bytes] = []

    def decode(data: bytes, **_options: Any) -> None:
        seen.append(data)
        raise Malformed("something was decoded")

    monkeypatch.setattr(batch, "decode", decode)
    return seen


def run(office: Any, request: Any) -> tuple[Any, tuple[Counted, ...]]:
    """The outcome of a request, and the parts that cost time."""
    model = office.book.read(request.people[0].record_id).record.binding.model_sha256
    parts = (
        Counted(models={MODEL: model}, id_model=MODEL),
        Counted(),
        Counted(models={}),
    )
    deployment: Any = SimpleNamespace(
        desk=office.desk,
        consents=office.book,
        decoder=lambda _coded: None,
        analyser=parts[0],
        gates=parts[1],
        swapper=parts[2],
        archive=SimpleNamespace(registry=SimpleNamespace(by_request=lambda _: None)),
    )
    [outcome] = batch.run_batch([Job(request, b"source", b"target")], deployment=deployment)
    return outcome, parts


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"purpose": "advertising"}, "PURPOSE-SCOPE"),
        ({"territories": ["US-IL"]}, "TERRITORY-SCOPE"),
        ({"categories": ["minors_context"]}, "PROHIBITED-USE"),
    ],
)
def test_a_denial_decodes_nothing_and_asks_no_model(
    office: Any, decoded: list[bytes], changes: dict[str, Any], code: str
) -> None:
    outcome, parts = run(office, office.swap_request(**changes))
    assert outcome.status == "refused"
    assert code in outcome.codes
    assert decoded == []
    assert [part.uses for part in parts] == [[], [], []]


def test_a_withdrawn_consent_decodes_nothing(office: Any, decoded: list[bytes]) -> None:
    request = office.swap_request()
    office.withdraw(request.people[0].record_id)
    outcome, parts = run(office, request)
    assert outcome.codes == ("CONSENT-STATUS",)
    assert decoded == []
    assert [part.uses for part in parts] == [[], [], []]


def test_only_what_may_be_permitted_is_decoded(office: Any, decoded: list[bytes]) -> None:
    """Else the tests above would hold of a pipeline that never decodes."""
    outcome, _ = run(office, office.swap_request())
    assert outcome.status == "rejected"
    assert decoded == [b"source"]
