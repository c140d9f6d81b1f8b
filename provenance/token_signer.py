"""A signer's key in a PKCS#11 token: a smart card, a hardware module, or SoftHSM.

The private key never leaves the token; it is found by its label and signs what the token can hash
or what was hashed here. Beside `policies.hsm` the only module that touches `pkcs11`, which comes
with the extra `hsm`. Refused: no such key or two of them, a key that could leave the token, and a
token that does not answer.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from policies.hsm import TokenAddress
from provenance.chains import LeafKey
from provenance.errors import SigningFailed
from provenance.signers import KeyRefused


class TokenUnavailable(SigningFailed):
    """The token is not there or does not answer; that says nothing about its keys."""

    code = "TOKEN-UNAVAILABLE"


class TokenKey:
    """A `ClaimKey` in a token; `address.name` is the label of the private key.

    `public` is the key of the certificate; `KeySigner` verifies every signature with it, so a label
    of another key is found out before anything leaves. Safe between threads. Ed25519 is not
    offered: tokens differ in how they name it.
    """

    def __init__(self, address: TokenAddress, *, public: LeafKey) -> None:
        """Log in and find the key; raises KeyRefused and TokenUnavailable."""
        self._pkcs11 = _load_pkcs11()
        self._public, self._lock = public, threading.Lock()
        if not isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise KeyRefused(
                "a key in a token is EC or RSA", mend="use EC P-256, which every token knows"
            )
        with self._translated("open the token"):
            token = self._pkcs11.lib(address.library).get_token(token_label=address.token)
            self._session = self._open(token, address.pin)
            self._key = self._find(address.name)

    @property
    def public(self) -> LeafKey:
        """The public half, as the certificate has it."""
        return self._public

    def sign(self, claim: bytes) -> bytes:
        """Sign bytes in the token; ECDSA as r then s. Raises TokenUnavailable."""
        p11, public = self._pkcs11, self._public
        with self._lock, self._translated("sign"):
            if isinstance(public, ec.EllipticCurvePublicKey):
                method = hashlib.sha384 if public.curve.key_size == 384 else hashlib.sha256
                signature = self._key.sign(method(claim).digest(), mechanism=p11.Mechanism.ECDSA)
            else:
                salt = (p11.Mechanism.SHA256, p11.MGF.SHA256, 32)  # RFC 8230, 2
                signature = self._key.sign(
                    claim, mechanism=p11.Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=salt
                )
        return bytes(signature)

    def close(self) -> None:
        """End the session."""
        with self._lock, self._translated("close the session"):
            self._session.close()

    def _open(self, token: Any, pin: str) -> Any:
        try:
            return token.open(rw=False, user_pin=pin)
        except self._pkcs11.exceptions.UserAlreadyLoggedIn:
            # A login is of the whole process: the key-encryption keys may be in the same token.
            return token.open(rw=False)

    def _find(self, label: str) -> Any:
        attribute = self._pkcs11.Attribute
        wanted = {
            attribute.CLASS: self._pkcs11.ObjectClass.PRIVATE_KEY,
            attribute.LABEL: label,
            attribute.TOKEN: True,
        }
        found = list(self._session.get_objects(wanted))
        if len(found) != 1:
            raise KeyRefused(f"the token has {len(found)} private keys named {label}, not one")
        [key] = found
        if not (key[attribute.SENSITIVE] and key[attribute.NEVER_EXTRACTABLE]):
            raise KeyRefused(
                f"the key {label} is not one that was always locked in the token",
                mend="generate a new one inside the token, and ask for a certificate for it",
            )
        return key

    @contextmanager
    def _translated(self, act: str) -> Iterator[None]:
        try:
            yield
        except self._pkcs11.PKCS11Error as error:
            raise TokenUnavailable(
                f"the token did not {act}: {type(error).__name__}",
                mend="check token, PIN and library; a PIN tried too often locks the token",
            ) from error


def _load_pkcs11() -> ModuleType:
    try:
        import pkcs11  # noqa: PLC0415 - an extra, which only deployments with a token install
    except ImportError as error:
        raise TokenUnavailable(
            "PKCS#11 support is not installed", mend="pip install 'facewarrant[hsm]'"
        ) from error
    return pkcs11
