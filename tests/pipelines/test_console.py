from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.console import (
    EXIT_ENDED,
    EXIT_EVIDENCE,
    EXIT_FAULT,
    EXIT_INPUT,
    EXIT_REFUSED,
    EXIT_USAGE,
    OUT,
    as_dict,
    make_table,
    pair_table,
    plain,
    print_json,
    print_mend,
    when,
)


def test_every_exit_code_is_its_own_and_stays_what_is_documented() -> None:
    codes = (EXIT_FAULT, EXIT_USAGE, EXIT_REFUSED, EXIT_INPUT, EXIT_EVIDENCE, EXIT_ENDED)
    assert codes == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x07", "\x9b2J", "\N{RIGHT-TO-LEFT OVERRIDE}", "\r"])
def test_control_characters_have_no_effect(odd: str) -> None:
    assert plain(f"a{odd}b").isprintable()
    assert "\ufffd" in plain(odd)
    assert plain("two\nlines") == "two\nlines"


def test_markup_of_others_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    OUT.print(plain("[bold]x[/] [link=file:///etc]y[/link]"))
    assert capsys.readouterr().out == "[bold]x[/] [link=file:///etc]y[/link]\n"


def test_file_names_that_are_no_text_are_shown() -> None:
    assert plain(Path("odd\udcff")) == "odd?"


def test_a_table_cuts_nothing_off(capsys: pytest.CaptureFixture[str]) -> None:
    table = make_table("id", "words")
    table.add_row("0" * 36, "go on " * 40)
    OUT.print(table)
    OUT.print(pair_table({"name": "v" * 200}))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    assert told.count("go on") == 40
    assert told.count("v") >= 200
    assert "\N{HORIZONTAL ELLIPSIS}" not in told


def test_json_is_one_sorted_document_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"b": Path("x"), "a": "\N{RIGHT-TO-LEFT OVERRIDE}\x1b"})
    told = capsys.readouterr().out
    assert told.isascii()
    assert "\x1b" not in told
    assert list(json.loads(told)) == ["a", "b"]


def test_a_mend_is_printed_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_mend("")
    print_mend("do [this]")
    assert capsys.readouterr().err == "To mend: do [this]\n"


def test_times_are_utc_and_dataclasses_are_dicts() -> None:
    @dataclass(frozen=True, slots=True)
    class Thing:
        name: str
        count: int

    assert when(0) == "1970-01-01 00:00 UTC"
    assert as_dict(Thing("a", 1)) == {"name": "a", "count": 1}
