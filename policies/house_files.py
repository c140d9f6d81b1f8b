"""A deployment's own policy folder: purposes, forbids, rules of law and privacy notices, in files.

`purposes.toml`, `release.toml`, `*.cedar`, `law/*.toml` and `notices/*.txt` are read; a folder that
is not there is the shipped house. Refused: every other name in the folder, since a misspelt file
would be ignored silently; symbolic links and files that others could replace; a purpose that looks
like one of the product's; a forbid that cites no rule; a rule that calls itself the product's
floor. One wrong file refuses the whole folder: a house with a forbid missing would permit more.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, get_args

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from policies.cedar import HERE, HOUSE_PREFIX, Gate, GateInvalid, open_gate
from policies.digest import sha256_hex
from policies.errors import Error, Malformed
from policies.house import House, read_rendered, shipped_house
from policies.law import LAW_FOLDER, LawBook, LawInvalid, load_rules
from policies.terms import Document, KnownPurpose

POLICY_FOLDER = "policy"
"""Where in the home folder of a deployment its own policy lies."""

MAX_FILE_BYTES = 256 * 1024
"""The cap of a rule file (`law.py`) for every file here; a notice is some kilobytes."""

MAX_FILES = 64
"""The most files of one folder, our own choice: a policy that people can still read."""

OWN_RULE = "HOUSE"
"""What a forbid cites that no law asks for: the house itself."""

PRODUCT_HOUSE = "facewarrant"
"""A prefix of purposes that is nobody's, so that none of them looks like the product's."""

_CLOSED = """
@id("HOUSE-CLOSED") @about("request") @law("HOUSE")
@explain("The policy folder of this deployment cannot be read, so nothing is decided by it.")
@mend("Run 'facewarrant policy check' and mend what it names.")
forbid (principal, action == Action::"generate", resource is Depiction)
when { true };
"""

_FOLDERS = {"law": ".toml", "notices": ".txt"}
_CODE = re.compile(rf"{HOUSE_PREFIX}[A-Z0-9][A-Z0-9-]{{0,39}}", re.ASCII)
_MAX_WORDS = 400
# Without O_NONBLOCK a named pipe in a file's place would hang the reader.
_PLAINLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class HouseInvalid(Error):
    """The policy folder does not say what it must; nothing is decided until it does."""

    code: ClassVar[str] = "HOUSE-INVALID"


class HouseFileUnknown(HouseInvalid):
    """The policy folder holds something that would never be read."""

    code = "HOUSE-FILE-UNKNOWN"


class HouseUnreadable(HouseInvalid):
    """A file of the policy folder cannot be read, or is no text of a sensible size."""

    code = "HOUSE-UNREADABLE"


class HouseExposed(HouseInvalid):
    """Somebody else could replace what is in the policy folder, or it lies outside of it."""

    code = "HOUSE-EXPOSED"


def _one_line(text: str) -> str:
    # It reaches terminals, pages and consents: no control character, no line of its own.
    if not text.isprintable() or not text.strip():
        raise ValueError("not one line of text that can be printed")
    return text


class Purpose(Document):
    """One purpose of a house: `house:word`, its name, and what it means, as people read them."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,30}:[a-z][a-z_]{1,40}$")]
    title: Annotated[str, Field(max_length=80), AfterValidator(_one_line)]
    explain: Annotated[str, Field(max_length=_MAX_WORDS), AfterValidator(_one_line)]


class _PurposeFile(Document):
    """The outer shape of purposes.toml; its purposes are read one by one, to name a wrong one."""

    purpose: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MAX_FILES)]


class _ReleaseFile(Document):
    """release.toml: why this house may release without a time stamp, when it cannot have one."""

    unstamped: Annotated[str, Field(max_length=_MAX_WORDS), AfterValidator(_one_line)]


def load_house(folder: Path, *, notices: Iterable[str]) -> House:
    """Return the house of a policy folder; where there is no such folder, the shipped one.

    `notices`: SHA-256 of the notices that the product itself shows. Raises HouseInvalid
    (HOUSE-INVALID, HOUSE-FILE-UNKNOWN, HOUSE-UNREADABLE, HOUSE-EXPOSED), and LawInvalid with the
    codes of `load_rules` for a rule file.
    """
    shipped = shipped_house(notices)
    if not _is_there(folder):
        return shipped
    files = _sort_files(folder)
    purposes = _read_purposes(files["purposes"])
    shown = set(map(_read_notice, files["notices"]))
    law = _read_law(folder, files["law"], shipped.law)
    gate = _read_forbids(files["forbids"], law)
    listed = frozenset[str]().union(*map(_read_rendered, files["rendered"]))
    return House(
        law=law,
        gate=gate,
        notices=shipped.notices | shown,
        rendered=shipped.rendered | listed,
        purposes=purposes,
        unstamped=_read_release(files["release"]),
    )


def closed_house(*, notices: Iterable[str]) -> House:
    """Return the house that permits nothing, for a deployment whose policy folder is unreadable.

    Withdrawing, verifying and erasing go on; no request is permitted until the folder is mended.
    """
    shipped = shipped_house(notices)
    gate = _build_gate(_CLOSED, where="closed")
    return House(law=shipped.law, gate=gate, notices=shipped.notices)


def _is_there(folder: Path) -> bool:
    """Return whether anything has the folder's name; a home that cannot be entered is an error."""
    try:
        folder.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(folder, error) from error
    return True


def _sort_files(folder: Path) -> Mapping[str, Sequence[Path]]:
    """Return the paths of a policy folder by what they hold, each list in the order of names."""
    kinds = ("purposes", "release", "rendered", "forbids", *_FOLDERS)
    found: dict[str, list[Path]] = {kind: [] for kind in kinds}
    for path in _list(folder):
        if path.name in _FOLDERS:
            found[path.name] = _list(path)
        elif path.name in ("purposes.toml", "release.toml", "rendered.txt"):
            found[path.stem].append(path)
        elif path.suffix == ".cedar":
            found["forbids"].append(path)
        else:
            raise _unknown(path)
    for kind, suffix in _FOLDERS.items():
        for path in found[kind]:
            if path.suffix != suffix:
                raise _unknown(path)
    return found


def _unknown(path: Path) -> HouseFileUnknown:
    return HouseFileUnknown(
        f"{f'{path.parent.name}/{path.name}'!r} is none of the files of a policy",
        mend="take it away, or correct its name: purposes.toml, release.toml, rendered.txt, "
        "*.cedar, law/*.toml, notices/*.txt",
    )


def _list(folder: Path) -> list[Path]:
    try:
        found = folder.lstat()
        _refuse_exposed(folder, found)
        if not stat.S_ISDIR(found.st_mode):
            raise HouseUnreadable(f"{folder} is not a folder")
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error
    if len(paths) > MAX_FILES:
        raise HouseInvalid(f"{folder} holds more than {MAX_FILES} files")
    return paths


def _read(path: Path) -> str:
    """Return the text of one plain file that nobody else can replace."""
    try:
        handle = os.open(path, _PLAINLY)
        try:
            found = os.fstat(handle)
            _refuse_exposed(path, found)
            if not stat.S_ISREG(found.st_mode):
                raise HouseUnreadable(f"{path} is not a plain file")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > MAX_FILE_BYTES:
        raise HouseUnreadable(f"{path} has more than {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HouseUnreadable(f"{path} is not UTF-8 text") from error


def _refuse_exposed(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _link(path)
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
        raise HouseExposed(
            f"others can write to {path}", mend=f"chmod go-w {path}, own it, and read it again"
        )


def _link(path: Path) -> HouseExposed:
    return HouseExposed(f"{path} is a symbolic link", mend="put the file itself there")


def _unreadable(path: Path, error: OSError) -> HouseInvalid:
    if error.errno == errno.ELOOP:
        return _link(path)
    return HouseUnreadable(
        f"cannot read {path}: {error.strerror}", mend="check the path and its permissions"
    )


def _read_notice(path: Path) -> str:
    """Return the SHA-256 of a notice's exact bytes; refuse one that says nothing."""
    text = _read(path)
    if not text.strip():
        raise HouseInvalid(f"the notice {path} is empty", mend="write what people are shown")
    return sha256_hex(text.encode())


def _read_rendered(path: Path) -> frozenset[str]:
    try:
        return read_rendered(_read(path))
    except Malformed as error:
        raise HouseInvalid(
            f"{path.name}: {error.message}", mend="write what sha256sum prints"
        ) from error


def _read_purposes(paths: Sequence[Path]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        for number, entry in enumerate(_parse_purposes(path).purpose, start=1):
            try:
                purpose = Purpose.model_validate(entry)
            except ValidationError as error:
                raise _wrong(f"purposes.toml, purpose {number}", error) from error
            _refuse_shadow(purpose.id)
            if purpose.id in found:
                raise HouseInvalid(f"purposes.toml states {purpose.id} twice")
            found[purpose.id] = f"{purpose.title}: {purpose.explain}"
    return MappingProxyType(found)


def _parse_purposes(path: Path) -> _PurposeFile:
    try:
        return _PurposeFile.model_validate(tomllib.loads(_read(path)))
    except ValidationError as error:
        raise _wrong("purposes.toml", error) from error
    except (ValueError, RecursionError) as error:
        raise HouseInvalid(f"purposes.toml is not TOML: {error}") from error


def _read_release(paths: Sequence[Path]) -> str:
    """Return why the house may release unstamped; empty without the file."""
    for path in paths:
        try:
            return _ReleaseFile.model_validate(tomllib.loads(_read(path))).unstamped
        except ValidationError as error:
            raise _wrong("release.toml", error) from error
        except (ValueError, RecursionError) as error:
            raise HouseInvalid(f"release.toml is not TOML: {error}") from error
    return ""


def _refuse_shadow(purpose: str) -> None:
    house, _, word = purpose.partition(":")
    if house == PRODUCT_HOUSE or word in get_args(KnownPurpose):
        raise HouseInvalid(
            f"the purpose {purpose} looks like one of the product's",
            mend="give it a word of its own: two purposes of one name would be taken for each "
            "other by who consents",
        )


def _wrong(where: str, error: ValidationError) -> HouseInvalid:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return HouseInvalid(
        f"{where}: {field}: {first['msg']}",
        mend='write [[purpose]] with id = "house:word", title and explain, and nothing else',
    )


def _read_law(folder: Path, paths: Sequence[Path], shipped: LawBook) -> LawBook:
    if not paths:
        return shipped
    for path in paths:
        _read(path)  # bounded, plain and ours; what it says is read by the book itself
    try:
        law = load_rules(LAW_FOLDER, folder / "law")
    except LawInvalid as error:
        raise LawInvalid(
            f"{POLICY_FOLDER}/law: {error.message}", code=error.code, mend=error.mend
        ) from error
    own = {rule.id for rule in law.rules if rule.is_floor} - {rule.id for rule in shipped.rules}
    if own:
        raise HouseInvalid(
            f"{', '.join(sorted(own))} would be a floor of the product",
            mend="a rule that binds without a law is a forbid of the house: write it in *.cedar",
        )
    return law


def _read_forbids(paths: Sequence[Path], law: LawBook) -> Gate:
    """Return the product's gate with the forbids of these files, joined in the order of names."""
    if not paths:
        return open_gate()
    texts = []
    for path in paths:
        texts.append(_read(path))
        # One by one first, so that the file at fault is named and no statement spans two files.
        gate = _build_gate(texts[-1], where=path.name)
        if not gate.house:
            raise HouseInvalid(f"{path.name} holds no statement")
        _refuse_words(gate, law, where=path.name)
    return gate if len(texts) == 1 else _build_gate("\n".join(texts), where="*.cedar")


def _build_gate(forbids: str, *, where: str) -> Gate:
    policy, schema = (
        (HERE / f"gate.{kind}").read_text("utf-8") for kind in ("cedar", "cedarschema")
    )
    try:
        return Gate(policy, schema, house=forbids)
    except GateInvalid as error:
        raise HouseInvalid(
            f"{where}: {error.message}",
            mend="write forbids only, each with @id, @about, @law, @explain and @mend; "
            "docs/policy.md has one that works",
        ) from error


def _refuse_words(gate: Gate, law: LawBook, *, where: str) -> None:
    known = {OWN_RULE, *(rule.id for rule in law.rules)}
    for clause in gate.house.values():
        said = (clause.explain, clause.mend)
        if any(not text.isprintable() or len(text) > _MAX_WORDS for text in said):
            raise HouseInvalid(
                f"{where}: {clause.code[:60]!r} is not explained in one line of at most "
                f"{_MAX_WORDS} characters"
            )
        if _CODE.fullmatch(clause.code) is None:
            raise HouseInvalid(
                f"{where}: {clause.code[:60]!r} is no reason code",
                mend=f"write it as {HOUSE_PREFIX}WORD: capital letters, digits and hyphens",
            )
        if missing := sorted(set(clause.cites) - known):
            raise HouseInvalid(
                f"{where}: {clause.code} cites {', '.join(missing)[:120]}, and there is no such "
                "rule",
                mend=f"cite a rule of 'facewarrant law list', or {OWN_RULE} for the house's own",
            )
