from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.report_document import EvidenceDocument, Problem, Verdict, describe
from pipelines.report_page import CONSENTS, HEADLINES, render_report, write_report
from policies.errors import StoreUnavailable
from provenance.evidence import Consent

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
REAL = re.compile(r"\breal(ly)?\b|\bgenuine\b|\bfake\b", re.IGNORECASE)


class Tags(HTMLParser):
    """Collects start tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def document(gallery: Any) -> EvidenceDocument:
    walls, released = gallery
    data = released["image/png"].data
    examined = walls.verifier.examine(data)
    return describe("folder/picture.png", data, examined, verifier=walls.verifier)


def test_everything_that_was_found_is_on_the_page(document: EvidenceDocument) -> None:
    page = Tags(render_report(document))
    for line in document.evidence:
        assert line.words in page.text
    assert document.manifests is not None
    for node in (document.manifests, *document.manifests.parts):
        assert node.manifest_id in page.text
    for text in (document.sha256, document.trust.roots[0], "picture.png", "The evidence holds"):
        assert text in page.text
    assert "folder" not in page.text  # a page is passed on; where the file lay is nobody's business


def test_the_page_needs_nothing_from_outside(document: EvidenceDocument) -> None:
    html = render_report(document)
    page = Tags(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "form", "img", "a"}
    assert not [a for _, a in page.tags if set(a) & {"src", "href", "srcset", "style"}]
    assert not re.search(r"url\(|@import|https?:", re.sub(r"<p[^>]*>.*?</p>", "", html))
    assert "default-src 'none'" in html


def test_the_page_can_be_read_without_seeing_it(document: EvidenceDocument) -> None:
    page = Tags(render_report(document))
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)] == ["h1"] + ["h2"] * 4
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    labelled = {a["aria-labelledby"] for tag, a in page.tags if tag == "section"}
    assert labelled == ids
    # Colour says nothing that a word does not say too.
    for line in document.evidence:
        assert line.state in page.text


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_every_verdict_has_plain_words(document: EvidenceDocument, verdict: Verdict) -> None:
    problem = Problem(code="CODE", message="why", mend="what to do")
    refused = verdict not in ("authentic", "recovered")
    changes = {"verdict": verdict, "error": problem if refused else None, "manifests": None}
    changed = document.model_copy(update=changes)
    text = Tags(render_report(changed)).text
    assert HEADLINES[verdict][1] in text
    assert ("what to do" in text) is refused
    assert not REAL.search(text)


def test_every_state_of_consent_has_plain_words(document: EvidenceDocument) -> None:
    assert set(CONSENTS) == set(get_args(Consent))
    for consent, (_, words) in CONSENTS.items():
        changed = document.model_copy(update={"consent": consent})
        assert words in Tags(render_report(changed)).text


def test_hostile_words_stay_words(document: EvidenceDocument) -> None:
    assert document.manifests is not None
    node = document.manifests.model_copy(
        update=dict.fromkeys(("title", "generator", "issuer", "relationship"), HOSTILE)
    )
    line = document.evidence[0].model_copy(update={"words": HOSTILE})
    changed = document.model_copy(
        update={"file": HOSTILE, "issuer": HOSTILE, "manifests": node, "evidence": (line,)}
    )
    page = Tags(render_report(changed))
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert page.text.count(HOSTILE) >= 5


def test_the_page_is_written_whole(document: EvidenceDocument, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(document, path)
    assert path.read_text(encoding="utf-8") == render_report(document)
    assert path.stat().st_mode & 0o777 == 0o644
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnavailable):
        write_report(document, tmp_path / "folder")
