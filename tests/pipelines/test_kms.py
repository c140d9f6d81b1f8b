"""The page's signing service with a key in a KMS, run as it is printed, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from starlette.testclient import TestClient

from pipelines.settings import read_settings
from policies.checkpoint import verifier_key
from provenance.chains import load_chain
from provenance.remote_signer import PATH
from provenance.signers import as_cose, leaf_key, load_key
from provenance.signing_desk import read_answer
from provenance.signing_ledger import SigningLedger
from provenance.signing_request import encode_request, make_request

DOCS = Path(__file__).parents[2] / "docs" / "signing.md"
CLAIM = b"\x84\x6aSignature1" + bytes(100)


class FakeKms:
    """Just enough of a client to run the page; no claim about any real KMS."""

    def __init__(self, private: Any) -> None:
        self.private = private

    def sign(self, key_id: str, *, digest: bytes, algorithm: str) -> bytes:
        assert (key_id, algorithm) == ("key-1", "ECDSA_SHA_256")
        if self.private is None:
            raise ConnectionError("secret=998877")
        signature: bytes = self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        return signature


@pytest.fixture
def home(empty_home: Path, office: Any, cli: Callable[..., Any]) -> Path:
    """The home of a service that believes the office of the tests; its key is in a KMS."""
    folder = empty_home / "signer"
    folder.mkdir(mode=0o700)
    for name, line in {
        "desk.pub": office.desk_key.public.hex,
        "log.pub": verifier_key(office.log.origin, office.log_key.public, "checkpoint"),
        "policies": office.house.sha256,
        "token": "t" * 40,
    }.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(f"{line}\n")
    (empty_home / "pki" / "key.pem").rename(empty_home / "in-the-kms.pem")
    return empty_home


@pytest.fixture
def asked(
    home: Path, office: Any, active_warrant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any], Any]:
    """`asked(private)`: what the page's program answers, with that key in the KMS."""
    page: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [each for each in blocks if "kms.sign" in each]
    exec(compile(block, str(DOCS), "exec"), page)  # noqa: S102 - our own page
    now = int(load_chain(home / "pki" / "chain.pem").leaf.not_valid_before_utc.timestamp()) + 600
    office.clock.now = now
    page["system_clock"] = office.clock
    request = encode_request(make_request(CLAIM, active_warrant().document, log=office.log))

    def ask(private: Any) -> Any:
        answers: list[Any] = []

        def listen(app: Any, **options: Any) -> None:
            assert (options["host"], options["port"]) == ("127.0.0.1", 8646)
            headers = {"Authorization": f"Bearer {'t' * 40}"}
            answers.append(TestClient(app).post(PATH, content=request, headers=headers))

        monkeypatch.setattr(uvicorn, "run", listen)
        page["run"](FakeKms(private), "key-1")
        return answers[0]

    return ask


def test_the_page_signs_by_a_kms(asked: Callable[[Any], Any], home: Path) -> None:
    answer = asked(load_key(home / "in-the-kms.pem"))
    assert answer.status_code == 200, answer.text
    public = leaf_key(load_chain(home / "pki" / "chain.pem"))
    signature = read_answer(answer.content)
    assert as_cose(signature, CLAIM, public, "ES256") == signature


@pytest.mark.parametrize("private", [None, ec.generate_private_key(ec.SECP256R1())])
def test_a_kms_that_fails_or_has_another_key_signs_nothing(
    asked: Callable[[Any], Any], home: Path, private: Any
) -> None:
    answer = asked(private)
    assert (answer.status_code, answer.json()["code"]) == (500, "SIGNING-FAILED")
    assert "998877" not in answer.text
    settings = read_settings()
    with SigningLedger(settings.home / "signer" / "ledger.db") as ledger:
        assert {line.code for line in ledger.latest(9)} == {"SIGNED", "SIGNING-FAILED"}
