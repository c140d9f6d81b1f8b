"""The settings that every context of the C2PA library is opened with, in its own form.

Explicit, because the library's defaults fetch remote manifests (measured, c2pa-rs 0.91) and it
silently accepts unknown keys: no thumbnails, no remote manifest, no OCSP, no host allowed.
"""

from __future__ import annotations

from provenance.assertions import Json
from provenance.chains import TrustAnchors
from provenance.manifest import CREATED_LABELS, GENERATOR

# Key usages accepted for signing and reading; the library's own list has e-mail protection alone.
_TRUST_CONFIG = """\
1.3.6.1.5.5.7.3.4
1.3.6.1.5.5.7.3.36
1.3.6.1.5.5.7.3.8
1.3.6.1.5.5.7.3.9
1.3.6.1.4.1.311.76.59.1.9
1.3.6.1.4.1.62558.2.1
"""
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}


def sign_settings(anchors: TrustAnchors | None = None) -> Json:
    """Return the settings for signing; `anchors` judge the ingredients' signers and time stamps."""
    return {
        "builder": {
            "claim_generator_info": dict(GENERATOR),
            "thumbnail": {"enabled": False},
            "created_assertion_labels": list(CREATED_LABELS),
        },
        "trust": _trust(anchors or TrustAnchors(())),
        "verify": {
            # Whoever signs reads the file back by our own rules; twice would only be slower.
            "verify_after_sign": False,
            "verify_trust": anchors is not None,
            **_OFFLINE,
        },
        "core": {"allowed_network_hosts": []},
    }


def read_settings(anchors: TrustAnchors) -> Json:
    """Return the settings for reading; `anchors` alone decide about trust."""
    return {
        "trust": _trust(anchors),
        "verify": {"verify_trust": True, **_OFFLINE},
        "core": {"allowed_network_hosts": []},
    }


def _trust(anchors: TrustAnchors) -> Json:
    trust = {"trust_config": _TRUST_CONFIG}
    if anchors.certificates or anchors.time_stamping:
        # The library has one list for signers and time stamps; `TrustAnchors` keeps them apart.
        trust["trust_anchors"] = anchors.pem + anchors.time_stamping_pem
    return trust
