"""One verification as a page for people: the verdict in plain words, evidence, manifests.

The page is one file: no script, no font, no picture, nothing that is fetched. Everything shown is
escaped, and words that came out of a file keep their own reading direction.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

from provenance.store import write_whole

if TYPE_CHECKING:
    from pipelines.report_document import EvidenceDocument, Verdict

_TEMPLATES = Path(__file__).parent / "templates"

HEADLINES: Final[dict[Verdict, tuple[str, str, str]]] = {
    "authentic": (
        "holds",
        "The evidence holds",
        "The file is as its signer released it, and nothing that was checked contradicts that.",
    ),
    "recovered": (
        "holds",
        "Recovered: this was released, and its manifest was removed since",
        "The file came without its manifest. The invisible mark led to the release it was, and the "
        "picture agrees with it.",
    ),
    "tampered": (
        "fails",
        "Changed, or put together from parts that do not belong together",
        "The file is not as it was signed, or its evidence contradicts itself. Do not rely on what "
        "it says.",
    ),
    "never-released": (
        "fails",
        "Signed, but never released",
        "The deployment signed this file and broke its release off. It should not be in use.",
    ),
    "untrusted": (
        "warns",
        "Intact, but nobody we were told to trust signed it",
        "The file was not changed since it was signed. Who the signer is remains open.",
    ),
    "unmarked": (
        "absent",
        "Nothing can be said",
        "There is neither a manifest nor a mark. That is no sign of anything, either way.",
    ),
    "unreadable": (
        "warns",
        "There is evidence, but it cannot be read",
        "A manifest or a mark is there and does not open here. That is not the same as none.",
    ),
}
"""State, headline and plain words of each verdict."""

CONSENTS: Final = {
    "current": ("holds", "Everyone shown has a consent that stands today."),
    "withdrawn": ("warns", "Somebody shown has withdrawn their consent: do not use this any more."),
    "ended": ("warns", "The consent of somebody shown has ended: do not use this any more."),
    "broken": ("fails", "The consent of somebody shown cannot be verified any more."),
    "unchecked": ("unchecked", "Whether consents still stand was not checked here."),
}
"""How the consents stand, in plain words."""


RELATIONSHIPS: Final = {
    "": "this file",
    "parentOf": "edited from",
    "componentOf": "with a part of",
    "inputTo": "made with",
}
"""Relationships of ingredients (C2PA 2.2, 10.3), in plain words."""


def render_report(document: EvidenceDocument) -> str:
    """Return the page of one verification; it names the file, not the folder it lies in."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    state, headline, words = HEADLINES[document.verdict]
    return environment.get_template("report.html").render(
        document=document,
        name=Path(document.file).name,
        relationships=RELATIONSHIPS,
        state=state,
        headline=headline,
        words=words,
        consent=CONSENTS[document.consent] if document.consent else None,
    )


def write_report(document: EvidenceDocument, path: Path) -> None:
    """Write the page; raise StoreUnavailable when it cannot be written."""
    write_whole(path, render_report(document).encode())
    path.chmod(0o644)
