"""Make these files again: `python tests/vectors/expired/regenerate.py`, which waits a little.

The C2PA library judges certificates by the machine's clock alone, so an expired one can only be
waited for. The leaf ends 5 seconds after it was made, so both files are of an expired signer.
"""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import c2pa
import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from provenance.media import encode
from provenance.pki import make_development_chain
from provenance.timestamps import serve_stamps

HERE = Path(__file__).parent
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCreation"
LIFE_S = 5


def clock() -> datetime:
    return datetime.now(UTC)


def sign(made: object, picture: bytes, url: str | None) -> bytes:
    created = {"action": "c2pa.created", "digitalSourceType": SOURCE}
    definition = {
        "claim_generator_info": [{"name": "Other Editor", "version": "1"}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [created], "allActionsIncluded": True},
            }
        ],
    }
    settings = {
        "builder": {
            "thumbnail": {"enabled": False},
            "created_assertion_labels": ["c2pa.actions"],
        },
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"},
    }
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(
            lambda claim: made.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256())),
            c2pa.C2paSigningAlg.ES256,
            made.chain.pem,
            url,
        ) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        builder.sign(signer, "image/jpeg", io.BytesIO(picture), out)
    return out.getvalue()


def main() -> None:
    # A development leaf lives 365 days from five minutes before "now".
    start = clock() - timedelta(days=365) + timedelta(minutes=5, seconds=LIFE_S)
    made = make_development_chain(organisation="Expired Studio", now=start)
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    picture = encode(np.stack([np.tile(ramp, (96, 1))] * 3, axis=2), "image/jpeg")
    with serve_stamps(made.authority(clock)) as relay:
        (HERE / "stamped.jpg").write_bytes(sign(made, picture, relay.url))
    (HERE / "unstamped.jpg").write_bytes(sign(made, picture, None))
    (HERE / "root.pem").write_text(made.anchors.pem)
    time.sleep(LIFE_S + 1)


if __name__ == "__main__":
    main()
