from __future__ import annotations

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from pipelines.demo import PICTURES, SOURCE, TARGET, Demo, Step
from pipelines.page import write_page
from policies.errors import StoreUnavailable


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


def rewritten(demo: Demo, folder: Path, **changes: object) -> str:
    (folder / "released.webp").write_bytes((demo.out / "released.webp").read_bytes())
    other = dataclasses.replace(demo, out=folder, **changes)  # type: ignore[arg-type]
    write_page(other, pictures=PICTURES, source=SOURCE, target=TARGET)
    return other.page.read_text(encoding="utf-8")


def test_the_page_embeds_exactly_the_files(demo: Demo) -> None:
    page = Tags(demo.page.read_text(encoding="utf-8"))
    uris = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    embedded = [base64.b64decode(uri.partition("base64,")[2]) for uri in uris]
    assert embedded == [
        (PICTURES / "persona1_0.webp").read_bytes(),
        (PICTURES / "persona2_0.webp").read_bytes(),
        (demo.out / "released.webp").read_bytes(),
    ]
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")


def test_the_page_needs_nothing_from_outside(demo: Demo) -> None:
    html = demo.page.read_text(encoding="utf-8")
    page = Tags(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "form"}
    links = [a.get(n) or "" for _, a in page.tags for n in ("src", "href", "srcset") if n in a]
    assert {link.partition(",")[0] for link in links} == {"data:image/webp;base64"}
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html


def test_every_result_is_on_the_page(demo: Demo) -> None:
    page = Tags(demo.page.read_text(encoding="utf-8"))
    for step in demo.steps:
        assert step.name in page.text
        assert step.result in page.text
    for report in demo.reports.values():
        for line in report.evidence:
            assert line.words in page.text
    assert demo.refusal is not None
    for finding in demo.refusal.findings:
        assert finding.mend in page.text
        assert finding.cites[0] in page.text


def test_hostile_words_stay_words(demo: Demo, tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    html = rewritten(demo, tmp_path, steps=[Step(hostile, hostile, 1.0)])
    page = Tags(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert sum(tag == "img" for tag, _ in page.tags) == 3
    assert hostile in page.text


def test_a_demo_without_its_results_makes_no_page(demo: Demo, tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError):
        rewritten(demo, tmp_path, tampered=None)
    assert not (tmp_path / "index.html").exists()


def test_a_page_that_cannot_be_written_is_a_fault(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()
    with pytest.raises(StoreUnavailable):
        rewritten(demo, tmp_path)
