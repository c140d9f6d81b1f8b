"""The receipt of a consent as one page for the person who gave it.

The words come from `policies.receipt_words`; this module only lays them out. The page is one file:
no script, no font, no picture, nothing that is fetched. Everything shown is escaped, and words that
people wrote keep their own reading direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from policies.receipt_words import describe

if TYPE_CHECKING:
    from policies.receipt import Receipt

_TEMPLATES = Path(__file__).parent / "templates"


def render_receipt(receipt: Receipt, *, purposes: Mapping[str, str] | None = None) -> str:
    """Return the receipt as a self-contained HTML page; `purposes` as `describe` takes them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first, *others = describe(receipt, purposes=purposes or {})
    return environment.get_template("receipt.html").render(
        first=first, others=others, status=receipt.state.status, receipt_id=receipt.receipt_id
    )
