"""Options that several commands share: words that are checked before any work is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import TypeAdapter, ValidationError

from policies.terms import Audience, KnownPurpose, Territory


def one_of(choices: object) -> str:
    """Return the words of a Literal, for a help text."""
    return ", ".join(get_args(choices))


def check_each(kind: Any) -> Callable[[list[str] | None], list[str] | None]:
    """Return a check that every value of an option is one of `kind`, before any work is done."""
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    words = get_origin(kind) is Literal
    expected = f"one of {one_of(kind)}" if words else "an ISO 3166 code such as DE or US-IL"

    def check(values: list[str] | None) -> list[str] | None:
        for value in values or ():
            try:
                adapter.validate_python(value)
            except ValidationError as error:
                raise typer.BadParameter(f"{value!r} is not {expected}.") from error
        return values

    return check


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Territories = Annotated[
    list[str],
    typer.Option(
        metavar="<code>",
        callback=check_each(Territory),
        help="Where it may be shown: ISO 3166 code, e.g. DE or US-IL; EU or EEA for all of it.",
    ),
]
Audiences = Annotated[
    list[str] | None,
    typer.Option(
        metavar="<word>",
        callback=check_each(Audience),
        help=f"Who may see it: {one_of(Audience)}.",
    ),
]
PURPOSES = f"{one_of(KnownPurpose)}, or one of this deployment's own as house:word"
Files = Annotated[list[Path], typer.Argument(help="Picture files (JPEG, PNG or WebP).")]
