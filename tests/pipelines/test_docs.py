from __future__ import annotations

import pytest

from pipelines.docs import PAGE, describe_commands


def test_the_command_page_is_what_the_commands_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    assert PAGE.read_text(encoding="utf-8") == describe_commands(), "run: make docs"
