"""The receipt's page: one file, nothing fetched, everything escaped, every word of the receipt."""

from __future__ import annotations

import html
from html.parser import HTMLParser
from typing import Any

import pytest

from pipelines.receipt_page import render_receipt
from policies.receipt import make_receipt
from policies.receipt_words import describe

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; complains about tags that do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(office: Any, **changes: Any) -> str:
    record_id = office.enrol(**changes)
    return render_receipt(make_receipt(office.book.read(record_id), office.book.history(record_id)))


def test_every_word_of_the_receipt_is_on_the_page(office: Any) -> None:
    record_id = office.enrol(opted_in=["political"])
    receipt = make_receipt(office.book.read(record_id), office.book.history(record_id))
    read = Reader(render_receipt(receipt))
    assert read.open == ["html"]  # its end tag may be left out, and is
    for section in describe(receipt)[1:]:
        assert section.title in read.text
        for line in section.lines:
            assert line.label in read.text
            assert line.text in read.text


def test_the_page_is_accessible(office: Any) -> None:
    read = Reader(page_of(office))
    names = [tag for tag, _ in read.tags]
    assert read.tags[0] == ("html", {"lang": "en"})
    assert names.count("h1") == names.count("main") == names.count("title") == 1
    assert names.count("h2") == names.count("section") == 11
    ids = {attrs["id"] for tag, attrs in read.tags if tag == "h2"}
    assert {attrs["aria-labelledby"] for tag, attrs in read.tags if tag == "section"} == ids
    assert names.count("dt") == names.count("dd") > 30
    assert all(attrs == {"dir": "auto"} for tag, attrs in read.tags if tag in ("dt", "dd"))
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        read.tags
    )


def test_nothing_is_fetched_or_run(office: Any) -> None:
    page = page_of(office, withdrawal={"url": "https://ctl.invalid/out?a=1&b=2"})
    read = Reader(page)
    names = {tag for tag, _ in read.tags}
    assert not names & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert "url(" not in page
    assert "@import" not in page
    (policy,) = [attrs["content"] for _, attrs in read.tags if "http-equiv" in attrs]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    addresses = [attrs["href"] for _, attrs in read.tags if "href" in attrs]
    assert addresses == ["https://ctl.invalid/out?a=1&b=2"]
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)


@pytest.mark.parametrize(
    "text",
    ["<script>alert(1)</script>", "</dl><h1>x", '" onload="x', "{{ 7 * 7 }}", "{% raw %}", "&amp;"],
)
def test_what_people_wrote_is_only_text(office: Any, text: str) -> None:
    page = page_of(office, controller={"name": text}, authority=text)
    assert html.escape(text, quote=False) in page.replace("&#34;", '"')
    read = Reader(page)
    assert f"{text}, a company" in read.text
    assert "script" not in {tag for tag, _ in read.tags}


def test_a_houses_own_purpose_is_explained(office: Any) -> None:
    record_id = office.enrol(purposes=["acme:museum_guide"])
    receipt = make_receipt(office.book.read(record_id), office.book.history(record_id))
    page = render_receipt(receipt, purposes={"acme:museum_guide": "a guide <here>"})
    assert "a guide &lt;here&gt; (acme:museum_guide)" in page


def test_a_consent_that_ended_looks_ended(office: Any) -> None:
    assert '<dl class="confirmed">' in page_of(office)
    record_id = office.enrol()
    office.withdraw(record_id)
    receipt = make_receipt(office.book.read(record_id), office.book.history(record_id))
    page = render_receipt(receipt)
    assert '<dl class="withdrawn">' in page
    assert "Withdrawn. Nothing is permitted any more." in page
