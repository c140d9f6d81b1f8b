"""Law as data: which rules speak to a request, how far each was read, and what each may do.

Rules lie in `law/*.toml`, one file per jurisdiction; no code branches on a country. A rule whose
text nobody read can warn or inform, never block and never clear: `lawrule.py` caps its severity and
`LawRule.can_block` says no whatever the severity. Refused on loading: everything that would blur
that, each with a code of its own, and a folder without the product's floor. Nothing here is legal
advice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, ValidationError

from policies.canonical import digest
from policies.errors import Error
from policies.lawrule import CHECKS, FLOOR, Jurisdiction, LawRule, Role
from policies.terms import Document
from policies.territories import reached_by, whole_countries

__all__ = [
    "CHECKS",
    "FLOOR",
    "LAW_FOLDER",
    "Demands",
    "LawBook",
    "LawInvalid",
    "LawRule",
    "LawStale",
    "LawUnknown",
    "Requirements",
    "Role",
    "load_rules",
    "require_reviewed",
    "requirements",
    "select",
]

LAW_FOLDER = Path(__file__).parent / "law"
"""The rules that ship with the product."""

REVIEW_DAYS = 180
"""How long a look at a rule's source counts: half a year, our own choice."""

MAX_FILE_BYTES = 256 * 1024
"""About ten times the largest file that ships; the cap stops a parser bomb."""

_CODES = {
    ("checks", "literal_error"): "LAW-UNKNOWN-CHECK",
    ("deadline", "value_error"): "LAW-DEADLINE",
}


class LawInvalid(Error):
    """The rule files are not what they must be; `code` says in which way. Nothing is loaded."""

    code: ClassVar[str] = "LAW-INVALID"

    def __init__(self, message: str, *, code: str, mend: str = "") -> None:
        super().__init__(message, mend=mend)
        self.code = code  # type: ignore[misc]  # one class, several stable codes


class LawUnknown(Error):
    """A question names a rule, role or day that there is not."""

    code = "LAW-UNKNOWN"


class LawStale(Error):
    """Rules whose sources nobody looked at for too long, or is said to have in the future."""

    code = "LAW-STALE"


@dataclass(frozen=True)
class LawBook:
    """All rules, sorted by id. Raises LawInvalid for a duplicate id or a missing floor."""

    rules: tuple[LawRule, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(sorted(self.rules, key=lambda rule: rule.id)))
        ids = [rule.id for rule in self.rules]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise LawInvalid(
                f"two rules have the id {', '.join(twice)}",
                code="LAW-DUPLICATE-ID",
                mend="decisions cite rules by id: give each rule its own",
            )
        if FLOOR not in ids:
            raise LawInvalid(
                f"there is no rule {FLOOR}",
                code="LAW-NO-FLOOR",
                mend="load the folder that ships with the product, and your own after it",
            )

    @cached_property
    def sha256(self) -> str:
        """The digest of the canonical content of all rules, however the files are laid out."""
        rules = [rule.model_dump(mode="json") for rule in self.rules]
        return digest({"schema": "facewarrant/rules/1", "rules": rules})

    def find(self, rule_id: str) -> LawRule:
        """Return the rule of this id; raise LawUnknown when there is none."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise LawUnknown(
            f"there is no rule {rule_id[:40]!r}", mend="list the ids: facewarrant law list"
        )

    def stale(self, *, on: date) -> tuple[LawRule, ...]:
        """Return the rules last looked at more than 180 days before `on`, or after it."""
        oldest = on - timedelta(days=REVIEW_DAYS)
        return tuple(rule for rule in self.rules if not oldest <= rule.reviewed_on <= on)


class _LawFile(Document):
    """The outer shape of a file; its rules are read one by one, to name the one that is wrong."""

    schema_: Literal["facewarrant/rules/1"] = Field(alias="schema")
    jurisdiction: Jurisdiction
    rule: Annotated[list[dict[str, Any]], Field(min_length=1)]


def load_rules(folder: Path = LAW_FOLDER, *more: Path) -> LawBook:
    """Read every `*.toml` of the folders; a platform gives its own folder after the product's.

    Raises LawInvalid whose code says what is wrong, with file and rule in the message:
    LAW-UNREADABLE, LAW-SCHEMA, LAW-UNKNOWN-KEY, LAW-UNKNOWN-CHECK, LAW-DUPLICATE-ID, LAW-NO-FLOOR,
    and what the caps of `LawRule` forbid.
    """
    rules: list[LawRule] = []
    for path in (path for place in (folder, *more) for path in _files(place)):
        rules += _read_file(path)
    return LawBook(tuple(rules))


def _files(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise LawInvalid(f"no rule file lies in {folder.name!r}", code="LAW-UNREADABLE")
    return paths


def _read_file(path: Path) -> Iterator[LawRule]:
    try:
        file = _LawFile.model_validate(_read_toml(path))
    except ValidationError as error:
        raise _refusal(path.name, error) from error
    if file.jurisdiction.lower() != path.stem:
        raise LawInvalid(
            f"{path.name} holds the jurisdiction {file.jurisdiction}",
            code="LAW-SCHEMA",
            mend=f"one file per jurisdiction: name it {file.jurisdiction.lower()}.toml",
        )
    for number, entry in enumerate(file.rule, start=1):
        where = f"{path.name}, rule {number} {str(entry.get('id', ''))[:40]!r}"
        if "jurisdiction" in entry:
            raise LawInvalid(f"{where}: jurisdiction is the file's", code="LAW-UNKNOWN-KEY")
        try:
            yield LawRule.model_validate(entry | {"jurisdiction": file.jurisdiction})
        except ValidationError as error:
            raise _refusal(where, error) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
        return tomllib.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LawInvalid(f"{path.name}: {error}", code="LAW-UNREADABLE") from error


def _refusal(where: str, error: ValidationError) -> LawInvalid:
    """Return our error for the first thing pydantic found wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    code = first["type"]
    if code == "extra_forbidden":
        code = "LAW-UNKNOWN-KEY"
    elif not code.startswith("LAW-"):
        code = _CODES.get((field.partition(".")[0], code), "LAW-SCHEMA")
    return LawInvalid(f"{where}: {field and field + ': '}{first['msg']}", code=code)


def require_reviewed(book: LawBook, *, on: date) -> None:
    """Raise LawStale naming the rules whose review does not count on that day.

    For a release; at start-up `LawBook.stale` is enough for a warning.
    """
    stale = book.stale(on=on)
    if stale:
        raise LawStale(
            f"last looked at more than {REVIEW_DAYS} days ago, or in the future: "
            + ", ".join(rule.id for rule in stale),
            mend="look at each rule's source again and write the day into reviewed_on",
        )


def select(
    book: LawBook, *, territories: Collection[str], roles: Collection[str], on: date
) -> tuple[LawRule, ...]:
    """Return the rules that bind these roles in any of these places on that day, sorted by id.

    Whoever asks for a whole country asks for its subdivisions too, and whether a rule's `unless`
    holds is not looked at: the answer is rather too long than too short.
    Raises Malformed for a place that is none and LawUnknown for a role or day that is none; no
    place or no role at all is refused too, since it would look like freedom from every rule.
    """
    known = set(get_args(Role))
    if not roles or not known.issuperset(roles):
        raise LawUnknown(f"the roles are not of {', '.join(sorted(known))}", mend="name the role")
    if type(on) is not date:
        raise LawUnknown("the day is not a date", mend="give the day of the request in UTC")
    if not territories:
        raise LawUnknown("no territory is named", mend="name every place of the request")
    codes = frozenset[str]().union(*map(reached_by, territories))
    wholes = whole_countries(territories)
    return tuple(
        rule
        for rule in book.rules
        if any(place in codes or place.partition("-")[0] in wholes for place in rule.territories)
        and not set(roles).isdisjoint(rule.binds)
        and rule.applies_on(on)
    )


@dataclass(frozen=True, slots=True)
class Demands:
    """What rules ask for: each mark and addendum with the ids of the rules that want it."""

    marks: Mapping[str, tuple[str, ...]]
    addenda: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the release must carry, and what unread law would like it to.

    Only `binding` may feed a denial; `advised` is for warnings, whatever it says.
    """

    binding: Demands
    advised: Demands


def requirements(rules: Iterable[LawRule]) -> Requirements:
    """Return the marks and addenda these rules demand, kept apart by whether they can block."""
    every = tuple(rules)
    return Requirements(
        binding=_demands(rule for rule in every if rule.can_block),
        advised=_demands(rule for rule in every if not rule.can_block),
    )


def _demands(rules: Iterable[LawRule]) -> Demands:
    marks: dict[str, tuple[str, ...]] = {}
    addenda: dict[str, tuple[str, ...]] = {}
    for rule in sorted(rules, key=lambda rule: rule.id):
        for found, names in ((marks, rule.requires_marks), (addenda, rule.requires_addenda)):
            for name in names:
                found[name] = (*found.get(name, ()), rule.id)
    return Demands(MappingProxyType(marks), MappingProxyType(addenda))
