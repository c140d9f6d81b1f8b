"""The manifests of a file as a tree: what each one says, who signed it, and whether it holds.

For people who want to see where the parts of a picture come from. Content comes from hostile files:
a tree that names itself as its own part, or is deeper or wider than any honest one, is cut off, and
says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from provenance.assertions import Json, objects, read_actions

MAX_DEPTH: Final = 12
"""Deepest chain of edits shown; our own choice."""
MAX_NODES: Final = 100
"""Most manifests and ingredients shown; our own choice."""
UNTRUSTED: Final = "signingCredential.untrusted"
"""The one failure that says nothing against integrity: the signer leads to none of our anchors."""

NodeState = Literal["holds", "untrusted", "fails", "no manifest", "cut off"]


@dataclass(frozen=True, slots=True)
class ManifestNode:
    """One manifest or ingredient; `relationship` is empty for the file's own manifest.

    `state`: its manifest holds and its signer is trusted; holds under an unknown signer; fails, for
    the status codes in `codes`; it has none; or the tree was cut off here. Texts are the maker's.
    """

    manifest_id: str
    relationship: str
    title: str
    generator: str
    issuer: str
    signed_at: str
    actions: tuple[str, ...]
    state: NodeState
    codes: tuple[str, ...]
    parts: tuple[ManifestNode, ...] = ()


def grow_tree(report: Json, results: Json) -> ManifestNode | None:
    """Return the tree of the library's report and validation results; None without a manifest."""
    active = report.get("active_manifest")
    if not isinstance(active, str) or not active:
        return None
    grower = _Grower(as_object(report.get("manifests")), delta_codes_by_uri(results))
    return grower.grow(active, "", "", code_list(as_object(results.get("activeManifest"))))


def as_object(value: object) -> Json:
    """Return a JSON object; anything else in a hostile file counts as an empty one."""
    return value if isinstance(value, dict) else {}


def code_list(results: Json, kind: str = "failure") -> tuple[str, ...]:
    """Return the status codes of one kind, each once."""
    codes = (str(entry.get("code", "unknown")) for entry in objects(results.get(kind)))
    return tuple(dict.fromkeys(codes))  # the library reports some twice


def delta_codes_by_uri(results: Json) -> dict[str, tuple[str, ...]]:
    """Return what fails today in each ingredient, by the URI of the assertion that names it."""
    found: dict[str, tuple[str, ...]] = {}
    for delta in objects(results.get("ingredientDeltas")):
        uri = str(delta.get("ingredientAssertionURI", ""))
        codes = code_list(as_object(delta.get("validationDeltas")))
        found[uri] = tuple(dict.fromkeys(found.get(uri, ()) + codes))
    return found


@dataclass(slots=True)
class _Grower:
    manifests: Json
    deltas: dict[str, tuple[str, ...]]
    left: int = MAX_NODES
    above: list[str] = field(default_factory=list)

    def grow(
        self, manifest_id: str, relationship: str, title: str, codes: tuple[str, ...]
    ) -> ManifestNode:
        """Return the node of one manifest with everything below it."""
        self.left -= 1
        if manifest_id in self.above or len(self.above) >= MAX_DEPTH:
            return _cut_off(manifest_id, relationship)
        manifest = as_object(self.manifests.get(manifest_id))
        signature = as_object(manifest.get("signature_info"))
        tools = objects(manifest.get("claim_generator_info"))
        self.above.append(manifest_id)
        parts = tuple(self._parts(manifest_id, objects(manifest.get("ingredients"))))
        self.above.pop()
        return ManifestNode(
            manifest_id=manifest_id,
            relationship=relationship,
            title=_text(manifest.get("title")) or title,
            generator=" ".join(_text(tool.get("name")) for tool in tools[:1]),
            issuer=_text(signature.get("issuer")),
            signed_at=_text(signature.get("time")),
            actions=read_actions(manifest),
            state=_state(codes),
            codes=codes,
            parts=parts,
        )

    def _parts(self, manifest_id: str, ingredients: list[Json]) -> Iterable[ManifestNode]:
        for ingredient in ingredients:
            if self.left <= 0:
                yield _cut_off("", "ingredient")
                return
            relationship = _text(ingredient.get("relationship")) or "ingredient"
            own = as_object(ingredient.get("validation_results"))
            label = _text(ingredient.get("label"))
            uri = f"self#jumbf=/c2pa/{manifest_id}/c2pa.assertions/{label}"
            codes = code_list(as_object(own.get("activeManifest")))
            # Claims of version 1 keep a flat list instead.
            codes += code_list(ingredient, "validation_status") + self.deltas.get(uri, ())
            codes = tuple(dict.fromkeys(codes))
            title, below = _text(ingredient.get("title")), ingredient.get("active_manifest")
            if isinstance(below, str) and below in self.manifests:
                yield self.grow(below, relationship, title, codes)
                continue
            self.left -= 1
            state = _state(codes) if set(codes) - {UNTRUSTED} else "no manifest"
            yield ManifestNode("", relationship, title, "", "", "", (), state, codes)


def _cut_off(manifest_id: str, relationship: str) -> ManifestNode:
    return ManifestNode(manifest_id, relationship, "", "", "", "", (), "cut off", ())


def _state(codes: tuple[str, ...]) -> NodeState:
    if set(codes) - {UNTRUSTED}:
        return "fails"
    return "untrusted" if codes else "holds"


def _text(value: object) -> str:
    return value[:200] if isinstance(value, str) else ""
