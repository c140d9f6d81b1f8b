"""Writes docs/commands.md from the command line itself; a test fails when the page is stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.testing import CliRunner

from pipelines.cli import app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"

_WIDTH = 96


def describe_commands() -> str:
    """Return the page: the help text of every command, as a terminal of 96 columns shows it."""
    parts = [
        "# Commands\n\nMade by `make docs`; a test compares this page with the command line.\n"
    ]
    runner = CliRunner()
    for words in _commands():
        result = runner.invoke(
            app, [*words, "--help"], prog_name="facewarrant", terminal_width=_WIDTH
        )
        title = " ".join(["facewarrant", *words])
        parts.append(f"## {title}\n\n```text\n{result.output.strip()}\n```\n")
    return "\n".join(parts)


def _commands() -> Iterator[list[str]]:
    yield []
    root = typer.main.get_command(app)
    for name, command in sorted(getattr(root, "commands", {}).items()):
        yield [name]
        for inner in sorted(getattr(command, "commands", {})):
            yield [name, inner]


if __name__ == "__main__":
    PAGE.write_text(describe_commands(), encoding="utf-8")
