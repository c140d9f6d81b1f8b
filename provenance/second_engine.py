"""A second, independent reader of C2PA manifests, and what it means where the two differ.

The only door to encypher-c2pa, which has its own core. It runs offline, without telemetry, and with
the caller's roots alone; a file of more parts than files have in practice is not shown to it. It
never changes a verdict: two engines that disagree are a finding for a person, so every difference
becomes evidence. Refused, as EngineMissing: to pretend that it ran.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from policies.errors import Error
from provenance.asset import Content, require_few_parts
from provenance.chains import TrustAnchors
from provenance.evidence import Evidence
from provenance.reading import ManifestReading
from provenance.tree import as_object, code_list
from provenance.trust import TrustLists

EngineState = Literal["Trusted", "Valid", "Invalid", "absent", "unreadable"]

_OURS: Mapping[str, tuple[EngineState, ...]] = {
    "trusted": ("Trusted",),
    "intact_untrusted": ("Valid",),
    "invalid": ("Invalid", "unreadable"),
    "ingredient_invalid": ("Invalid",),
    "no_manifest": ("absent",),
    "remote_manifest_not_fetched": ("absent", "Invalid"),
    "unreadable": ("unreadable", "Invalid", "absent"),
}
_STATES: Mapping[str, EngineState] = {
    "Trusted": "Trusted",
    "Valid": "Valid",
    "Invalid": "Invalid",
}
_Verify = Callable[..., Mapping[str, Any]]


class EngineMissing(Error):
    """The second engine is not installed; nothing is said in its name."""

    code = "ENGINE-MISSING"


@dataclass(frozen=True, slots=True)
class SecondReading:
    """What the second engine says: its state, and its failure codes in its order."""

    state: EngineState
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SecondEngine:
    """The second engine, opened; `open_second_engine` makes one."""

    verify: _Verify

    def read(
        self,
        content: Content,
        mime: str,
        *,
        anchors: TrustAnchors,
        lists: TrustLists,
        store: bytes | None = None,
    ) -> SecondReading:
        """Read a whole file of type `mime`, with these roots and no others; never raises for it.

        `store`: a manifest store that the file does not carry itself.
        """
        both = anchors.certificates
        try:
            require_few_parts(content, mime)
            found = self.verify(
                content if isinstance(content, bytes) else str(content),
                mime_type=mime,
                manifest_store=store,
                trust_pem=_pem((*both, *lists.roots("signers"))) or None,
                tsa_trust_pem=_pem((*both, *anchors.time_stamping, *lists.roots("time-stamps")))
                or None,
                no_default_trust=True,
                telemetry=False,
                online=False,
            )
        except Exception:  # noqa: BLE001 - native code on a hostile file: it cannot read it
            return SecondReading("unreadable", ())
        if found.get("present") is False:
            return SecondReading("absent", ())
        failures = code_list(as_object(found.get("validation_results")))
        return SecondReading(
            _STATES.get(str(found.get("validation_state")), "unreadable"), failures
        )


def open_second_engine() -> SecondEngine:
    """Return the second engine; raise EngineMissing where its package is not installed."""
    try:
        import encypher_c2pa  # noqa: PLC0415 - optional
    except ImportError as error:
        raise EngineMissing(
            "the second engine is not installed",
            mend="install facewarrant[second-engine], or verify without --second-engine",
        ) from error
    return SecondEngine(encypher_c2pa.verify)


def compare(first: ManifestReading, second: SecondReading) -> Evidence:
    """Return one line: both engines agree, or each one's word where they differ."""
    codes = f" ({', '.join(second.failures)})" if second.failures else ""
    said = f"encypher-c2pa says {second.state}{codes}"
    if second.state in _OURS[first.verdict]:
        return Evidence("second engine", "holds", f"{said}; both engines agree")
    codes = f" ({', '.join(first.failures)})" if first.failures else ""
    ours = f"here it reads as {first.verdict}{codes}"
    return Evidence("second engine", "warns", f"the engines differ: {said}; {ours}")


def _pem(certificates: tuple[x509.Certificate, ...]) -> str:
    return "".join(c.public_bytes(Encoding.PEM).decode("ascii") for c in certificates)
