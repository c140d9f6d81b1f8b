"""FACEWARRANT_SIGNER=token:LABEL, with SoftHSM 2 in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pipelines.signing as module

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")

SCRIPT = """
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
import pkcs11
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pipelines.settings import read_settings
from pipelines.signing import open_claim_key
from provenance import pki
from provenance.chains import Chain, lint_chain
from provenance.errors import SigningFailed
from provenance.signers import as_cose

now = datetime.now(tz=UTC)
settings = read_settings()
attribute = pkcs11.Attribute
token = pkcs11.lib(str(settings.pkcs11_library)).get_token(token_label="facewarrant")
session = token.open(rw=True, user_pin="1234")
publics = []
for label in ("claims", "other"):
    parameters = session.create_domain_parameters(
        pkcs11.KeyType.EC,
        {attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
        local=True,
    )
    locked = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False}
    pair = parameters.generate_keypair(store=True, label=label, private_template=locked)
    publics.append(serialization.load_der_public_key(encode_ec_public_key(pair[0])))
session.close()

class Half:  # what a CA has of the key in the token
    def public_key(self):
        return publics[0]

made = pki.make_development_chain(organisation="Test", now=now)
issuing_key = ec.generate_private_key(ec.SECP256R1())
root = made.root.subject
issuing = pki._authority(root, root, issuing_key, now, days=9, path_length=0)
issuing = pki._sign(issuing, issuing_key)
leaf = pki._with(pki._base(made.leaf.subject, root, Half(), now, days=9), pki._leaf_profile())
chain = Chain((pki._sign(leaf, issuing_key), issuing))
Path(settings.home / "pki").mkdir(parents=True)
Path(settings.home / "pki" / "chain.pem").write_text(chain.pem)
with ExitStack() as closing:
    key = open_claim_key(settings, closing=closing)
    lint_chain(chain, now=datetime.now(tz=UTC), key=key.public)
    assert len(as_cose(key.sign(b"claim"), b"claim", key.public, "ES256")) == 64
with ExitStack() as closing:
    other = open_claim_key(read_settings(signer="token:other"), closing=closing)
    try:
        as_cose(other.sign(b"claim"), b"claim", other.public, "ES256")
    except SigningFailed:
        print("done")
"""


@pytest.mark.skipif(not LIBRARY.exists(), reason="SoftHSM is not installed")
def test_a_key_in_a_token_signs_and_one_of_another_certificate_does_not(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(
        f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n"
    )
    own = {
        "SOFTHSM2_CONF": str(settings),
        "PYTHONPATH": str(Path(module.__file__).parents[1]),
        "FACEWARRANT_HOME": str(tmp_path / "home"),
        "FACEWARRANT_SIGNER": "token:claims",
        "FACEWARRANT_PKCS11_LIBRARY": str(LIBRARY),
        "FACEWARRANT_PKCS11_PIN": "1234",
    }
    given: dict[str, Any] = {"env": {**os.environ, **own}, "capture_output": True, "timeout": 60}
    subprocess.run(
        [
            *("softhsm2-util", "--init-token", "--free", "--label", "facewarrant"),
            *("--pin", "1234", "--so-pin", "5678"),
        ],
        check=True,
        **given,
    )
    found = subprocess.run([sys.executable, "-c", SCRIPT], check=False, **given)
    assert (found.returncode, found.stdout) == (0, b"done\n"), found.stderr
