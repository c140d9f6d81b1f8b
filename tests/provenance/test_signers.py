"""The local signer: which key files it takes, which warrants it signs for, and how often."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from policies.keys import SigningKey
from policies.warrant import WarrantInvalid
from policies.warrants import ActiveWarrant
from provenance.chains import ChainRefused
from provenance.errors import SigningFailed
from provenance.pki import DevelopmentChain, make_development_chain, save_chain
from provenance.signers import (
    AlreadySigned,
    CallbackKey,
    KeyRefused,
    KeySigner,
    LocalKey,
    LocalSigner,
    load_key,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CLAIM = b"\x84\x6aSignature1" + bytes(100)
DESK = SigningKey.from_seed(b"w" * 32).public  # the desk of tests/conftest.py


@pytest.fixture(scope="module")
def made() -> DevelopmentChain:
    return make_development_chain(organisation="Test Studio", now=NOW)


@pytest.fixture
def folder(made: DevelopmentChain, tmp_path: Path) -> Path:
    save_chain(made, tmp_path)
    return tmp_path


def load(folder: Path, clock: Callable[[], datetime] = lambda: NOW) -> LocalSigner:
    return LocalSigner.load(
        key_path=folder / "key.pem", chain_path=folder / "chain.pem", issuer=DESK, clock=clock
    )


def test_signature_is_raw_and_verifies(
    folder: Path, made: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    signer = load(folder)
    signature = signer.sign(CLAIM, warrant=active_warrant())
    assert (signer.alg, len(signature), signer.chain_pem) == ("ES256", 64, made.chain.pem)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    made.leaf_key.public_key().verify(encode_dss_signature(r, s), CLAIM, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("impostor", [None, "warrant", object(), 1])
def test_no_signature_without_a_warrant(folder: Path, impostor: Any) -> None:
    with pytest.raises(WarrantInvalid) as caught:
        load(folder).sign(CLAIM, warrant=impostor)
    assert caught.value.code == "WARRANT-REQUIRED"


def test_no_signature_with_a_spent_warrant(
    folder: Path, active_warrant: Callable[..., ActiveWarrant], office: Any
) -> None:
    warrant = active_warrant()
    office.desk.abort(warrant.document, "test")
    with pytest.raises(WarrantInvalid) as caught:
        load(folder).sign(CLAIM, warrant=warrant)
    assert caught.value.code == "WARRANT-SPENT"


def test_no_signature_with_an_expired_warrant(
    folder: Path, active_warrant: Callable[..., ActiveWarrant], office: Any
) -> None:
    warrant = active_warrant()
    office.clock.now = warrant.document.expires_at
    with pytest.raises(WarrantInvalid) as caught:
        load(folder).sign(CLAIM, warrant=warrant)
    assert caught.value.code == "WARRANT-EXPIRED"


def test_one_signature_per_warrant(
    folder: Path, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    signer, first, second = load(folder), active_warrant(), active_warrant()
    signer.sign(CLAIM, warrant=first)
    with pytest.raises(AlreadySigned) as caught:
        signer.sign(CLAIM + b"other", warrant=first)
    assert caught.value.code == "ALREADY-SIGNED"
    assert len(signer.sign(CLAIM, warrant=second)) == 64


def test_threads_share_one_signature(
    folder: Path, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    signer, warrant = load(folder), active_warrant()

    def attempt(_: int) -> str:
        try:
            signer._spend(warrant.document.warrant_id)
        except AlreadySigned as error:
            return error.code
        return "signed"

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(attempt, range(40)))
    assert answers.count("signed") == 1


@pytest.mark.parametrize("claim", [b"", b"anything", CLAIM[1:], b"\x84\x69Signature"])
def test_key_signs_nothing_but_claims(
    folder: Path, active_warrant: Callable[..., ActiveWarrant], claim: bytes
) -> None:
    signer, warrant = load(folder), active_warrant()
    with pytest.raises(SigningFailed) as caught:
        signer.sign(claim, warrant=warrant)
    assert caught.value.code == "SIGNING-FAILED"
    signer.sign(CLAIM, warrant=warrant)  # a refused claim does not spend the warrant


def test_chain_that_expires_stops_the_signer(
    folder: Path, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    moments = [NOW]
    signer = load(folder, clock=lambda: moments[0])
    moments[0] = NOW + timedelta(days=366)
    for act in (signer.check, lambda: signer.sign(CLAIM, warrant=active_warrant())):
        with pytest.raises(ChainRefused) as caught:
            act()
        assert caught.value.reason == "expired"


def test_expired_chain_does_not_load(folder: Path) -> None:
    with pytest.raises(ChainRefused) as caught:
        load(folder, clock=lambda: NOW + timedelta(days=366))
    assert caught.value.reason == "expired"


def test_chain_of_another_key_does_not_load(folder: Path) -> None:
    other = make_development_chain(organisation="Other", now=NOW)
    (folder / "chain.pem").write_text(other.chain.pem)
    with pytest.raises(ChainRefused) as caught:
        load(folder)
    assert caught.value.reason == "key-mismatch"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o777])
def test_exposed_key_file_is_refused(folder: Path, mode: int) -> None:
    (folder / "key.pem").chmod(mode)
    with pytest.raises(KeyRefused) as caught:
        load(folder)
    assert caught.value.code == "KEY-REFUSED"
    assert "chmod 600" in caught.value.mend


def test_link_to_an_exposed_key_file_is_refused(folder: Path) -> None:
    (folder / "key.pem").rename(folder / "real.pem")
    (folder / "real.pem").chmod(0o644)
    (folder / "key.pem").symlink_to(folder / "real.pem")
    with pytest.raises(KeyRefused):
        load_key(folder / "key.pem")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key",
        ed448.Ed448PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ),
    ],
    ids=["empty", "text", "Ed448", "encrypted"],
)
def test_other_key_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.pem"
    path.touch(mode=0o600)
    path.write_bytes(data)
    with pytest.raises(KeyRefused) as caught:
        load_key(path)
    assert caught.value.code == "KEY-REFUSED"
    assert "secret" not in caught.value.diagnostics()


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pem", tmp_path):
        with pytest.raises(KeyRefused):
            load_key(path)


def test_key_is_not_in_the_repr(folder: Path) -> None:
    assert repr(load(folder)).startswith("<provenance.signers.LocalSigner object")


def test_a_warrant_of_another_desk_is_worth_nothing(
    folder: Path, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    stranger = SigningKey.from_seed(b"s" * 32).public
    signer = LocalSigner.load(
        key_path=folder / "key.pem",
        chain_path=folder / "chain.pem",
        issuer=stranger,
        clock=lambda: NOW,
    )
    with pytest.raises(WarrantInvalid) as caught:
        signer.sign(CLAIM, warrant=active_warrant())
    assert caught.value.code == "WARRANT-FORGED"


# ------------------------------------------------------------------------------ other keys


ALGORITHMS = {"ES256": 64, "ES384": 96, "Ed25519": 64, "PS256": 384}


@pytest.fixture(scope="module")
def chains() -> dict[str, DevelopmentChain]:
    return {
        alg: make_development_chain(organisation="Test Studio", now=NOW, algorithm=alg)  # type: ignore[arg-type]
        for alg in ALGORITHMS
    }


def service(made: DevelopmentChain, call: Callable[[bytes], Any]) -> KeySigner:
    key = CallbackKey(made.leaf_key.public_key(), call)
    return KeySigner(key=key, chain=made.chain, issuer=DESK, clock=lambda: NOW)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_every_algorithm_signs_from_a_file_and_from_a_service(
    alg: str,
    chains: dict[str, DevelopmentChain],
    tmp_path: Path,
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    made = chains[alg]
    save_chain(made, tmp_path)
    for signer in (load(tmp_path), service(made, LocalKey(made.leaf_key).sign)):
        signature = signer.sign(CLAIM, warrant=active_warrant())
        assert (signer.alg, len(signature)) == (alg, ALGORITHMS[alg])


@pytest.mark.parametrize("alg", ["ES256", "ES384"])
def test_a_service_may_answer_in_either_form(
    alg: str, chains: dict[str, DevelopmentChain], active_warrant: Callable[..., ActiveWarrant]
) -> None:
    made, half = chains[alg], ALGORITHMS[alg] // 2

    def raw(claim: bytes) -> bytes:
        r, s = decode_dss_signature(LocalKey(made.leaf_key).sign(claim))
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")

    assert len(service(made, raw).sign(CLAIM, warrant=active_warrant())) == 2 * half


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("answer", [b"", b"junk", bytes(64), bytes(96), b"\xff" * 64, None, "text"])
def test_a_signature_that_does_not_verify_never_leaves(
    alg: str,
    answer: Any,
    chains: dict[str, DevelopmentChain],
    active_warrant: Callable[..., ActiveWarrant],
) -> None:
    with pytest.raises(SigningFailed, match="does not verify") as caught:
        service(chains[alg], lambda _claim: answer).sign(CLAIM, warrant=active_warrant())
    assert caught.value.code == "SIGNING-FAILED"


def test_a_service_that_is_down_says_nothing_secret(
    made: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    down = ConnectionError("token=hunter2")

    def call(_claim: bytes) -> bytes:
        raise down

    with pytest.raises(SigningFailed) as caught:
        service(made, call).sign(CLAIM, warrant=active_warrant())
    assert "hunter2" not in caught.value.message
    assert caught.value.__cause__ is down


def test_an_error_of_ours_passes_through_a_service(
    made: DevelopmentChain, active_warrant: Callable[..., ActiveWarrant]
) -> None:
    def call(_claim: bytes) -> bytes:
        raise KeyRefused("the key is not in the token")

    with pytest.raises(KeyRefused):
        service(made, call).sign(CLAIM, warrant=active_warrant())


def test_a_service_gets_no_claim_without_a_warrant(made: DevelopmentChain) -> None:
    asked: list[bytes] = []
    with pytest.raises(WarrantInvalid):
        service(made, lambda claim: asked.append(claim) or b"").sign(CLAIM, warrant=None)  # type: ignore[arg-type]
    assert asked == []


def test_a_service_with_another_key_is_refused(
    made: DevelopmentChain, chains: dict[str, DevelopmentChain]
) -> None:
    key = CallbackKey(chains["ES384"].leaf_key.public_key(), bytes)
    with pytest.raises(ChainRefused) as caught:
        KeySigner(key=key, chain=made.chain, issuer=DESK, clock=lambda: NOW)
    assert caught.value.reason == "key-mismatch"
