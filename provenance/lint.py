"""Lint of a whole file: what is missing beside a manifest that breaks no rule of its own.

`manifest.lint_manifest` judges one manifest's content; this module looks at what stands around it:
time stamp, the library's word on ingredients, the size of the store in the file. A notice is no
broken rule: it says what the evidence lacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from provenance.assertions import Json, objects
from provenance.manifest import MAX_STORE_BYTES, LintFinding
from provenance.tree import as_object, code_list

_SEGMENT_HEAD = 10  # length, "JP", instance, sequence number
_BOX_HEAD = 8  # length and type
_STAMP_CODES = frozenset({"timeStamp.trusted", "timeStamp.validated", "timeStamp.untrusted"})


def find_notices(manifest: Json, results: Json) -> tuple[LintFinding, ...]:
    """Return what an intact manifest lacks, in a fixed order; nothing for a complete one.

    `manifest`: the active manifest as the C2PA library reports it; `results`: its validation
    results. Never raises.
    """
    return (*_lint_stamp(results), *_lint_deltas(manifest, results))


def lint_store_size(data: bytes) -> tuple[LintFinding, ...]:
    """Return a finding where a JPEG carries more manifest than every engine can read.

    Other formats keep a store in one piece, whatever its size. `data` is a whole file.
    """
    size = _jpeg_store_bytes(data)
    if size <= MAX_STORE_BYTES:
        return ()
    words = f"{size} bytes in several segments; one engine reads only {MAX_STORE_BYTES}"
    return (LintFinding("STORE-TOO-LARGE", words),)


def _lint_stamp(results: Json) -> Iterator[LintFinding]:
    active = as_object(results.get("activeManifest"))
    said = {
        code for kind in ("success", "informational", "failure") for code in code_list(active, kind)
    }
    if not said & _STAMP_CODES:
        yield LintFinding("NO-TIME-STAMP", "no time stamp: the signature ends with its certificate")


def _lint_deltas(manifest: Json, results: Json) -> Iterator[LintFinding]:
    """Say where nothing was checked: an ingredient with a manifest, and no word on it today."""
    uris = [
        str(d.get("ingredientAssertionURI", "")) for d in objects(results.get("ingredientDeltas"))
    ]
    for ingredient in objects(manifest.get("ingredients")):
        if not isinstance(ingredient.get("active_manifest"), str):
            continue
        label = ingredient.get("label")
        if not (isinstance(label, str) and any(uri.endswith(f"/{label}") for uri in uris)):
            yield LintFinding(
                "NO-INGREDIENT-DELTAS", "an ingredient brings a manifest that nobody checked anew"
            )


def _jpeg_store_bytes(data: bytes) -> int:
    """Return the size of the manifest store in a JPEG's APP11 segments; 0 for other formats."""
    at, found = 2, 0
    if data[:2] != b"\xff\xd8":
        return 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xEB and data[at + 4 : at + 6] == b"JP":
            # The head of the box is repeated in every segment, and counts once (ISO 19566-5, D.2).
            found += size - _SEGMENT_HEAD - (_BOX_HEAD if found else 0)
        at += 2 + size
    return found
