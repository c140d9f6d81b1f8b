"""The demo's page: pictures, evidence and reasons in one self-contained HTML file.

Everything shown is escaped; pictures are embedded, so that the page can be mailed as one file. The
released picture on it is the released file, manifest and mark included.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from provenance.store import write_whole

if TYPE_CHECKING:
    from pipelines.demo import Demo

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(demo: Demo, *, pictures: Path, source: str, target: str) -> None:
    """Write the demo's page beside its pictures; raise StoreUnavailable when that fails."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("demo.html").render(
        demo=demo,
        figures=[
            (
                "Source",
                "the identity; consented as source_identity",
                _uri(pictures / f"{source}_0.webp"),
            ),
            ("Target", "the body; consented as target_body", _uri(pictures / f"{target}_0.webp")),
            ("Released", "watermarked, labelled, signed, logged", _uri(demo.out / "released.webp")),
        ],
        reports=[
            ("The released picture", demo.reports["released"]),
            ("A copy stripped of all metadata", demo.reports["stripped"]),
            ("The released picture, after the source withdrew", demo.reports["withdrawn"]),
        ],
    )
    write_whole(demo.page, html.encode())
    demo.page.chmod(0o644)


def _uri(path: Path) -> str:
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
