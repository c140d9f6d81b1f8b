"""Labels for machines: what a file says about its own making, and what we make it say.

Decides which statements a file makes, wherever they stand: IPTC digital source type, the seven-key
AIGC label of GB 45438-2025, and provider, system, time and id for California's latent disclosure.
Statements that disagree are reported with both values and both places; hostile or malformed ones
are named, never believed and never fatal. A label proves nothing: anyone can write or remove one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from provenance.aigc import AigcLabel, looks_like_aigc, produced_by, read_aigc, write_aigc
from provenance.containers import MAX_PACKET_BYTES, Mime, open_container
from provenance.errors import LabelRefused, Unsupported
from provenance.label_carriers import Part, embed_alternative, find_parts
from provenance.label_exif import USER_COMMENT, XMP_PACKET, decode_comment, read_tags
from provenance.label_mp4 import find_mp4_parts, insert_mp4_parts
from provenance.label_xmp import (
    FACE_SWAP_SOURCE_TYPE,
    PROPERTIES,
    SOURCE_TYPES,
    Name,
    Statement,
    read_packet,
    require_text,
    write_xmp,
)

__all__ = [
    "FACE_SWAP_SOURCE_TYPE",
    "AigcLabel",
    "Labels",
    "Statement",
    "read_labels",
    "read_video_labels",
    "write_alternative_label",
    "write_video_labels",
    "write_xmp",
]

_AI_CODES = frozenset(
    (
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
        "algorithmicallyEnhanced",
    )
)
_AI_SOURCE_TYPES = frozenset(SOURCE_TYPES + code for code in _AI_CODES)
_DISCLOSED: Final[dict[Name, str]] = {
    "provider": "(A) provider",
    "system": "(B) system",
    "version": "(B) version",
    "created": "(C) time and date",
    "output_id": "(D) unique id",
}
"""California SB 942, 22757.3(b), as the law table of this repository has it (docs/law.md)."""
_YEAR_OR_MONTH = re.compile(r"[0-9]{4}(-[0-9]{2})?")
_QUOTED_CHARS = 60
_QUOTED_VALUES = 4


@dataclass(frozen=True, slots=True)
class Labels:
    """What a file's labels say; None where they do not say it, the first where they say several.

    `problems` names labels that are malformed or contradict each other, in words that are safe to
    print; `said` has every statement, unchecked, with its place.
    """

    source_type: str | None = None
    provider: str | None = None
    system: str | None = None
    version: str | None = None
    created_at: datetime | None = None
    output_id: str | None = None
    aigc: AigcLabel | None = None
    problems: tuple[str, ...] = ()
    said: tuple[Statement, ...] = ()

    @property
    def claims_ai(self) -> bool:
        """True where any label says AI had a part, even a malformed AIGC one (T23).

        Such a mark must be carried on; a claim of no AI beside it takes nothing back.
        """
        types = {_source_type(s.text) for s in self.said if s.name == "source_type"}
        if not _AI_SOURCE_TYPES.isdisjoint({self.source_type, *types}):
            return True
        return self.aigc is not None or any(s.name == "aigc" for s in self.said)

    @property
    def undisclosed(self) -> tuple[str, ...]:
        """The fields of California's latent disclosure that the file does not give."""
        given = {statement.name for statement in self.said}
        return tuple(words for name, words in _DISCLOSED.items() if name not in given)


def read_labels(data: bytes, mime: Mime) -> Labels | None:
    """Return what the labels in a JPEG, PNG or WebP file say, None where it has none.

    Reads every XMP packet and extended packet, every EXIF block and every PNG text AIGC. Raises
    `Unsupported` where the content is not `mime`; `Truncated` or `Undecodable`.
    """
    container = open_container(data)
    if container.mime != mime:
        raise Unsupported(f"the content is {container.mime}, not {mime}")
    problems: list[str] = []
    return _combine(_state(find_parts(data, mime, problems), problems), problems)


def read_video_labels(file: BinaryIO) -> Labels | None:
    """Return what the labels in an MP4 or QuickTime file say, None where it has none.

    `file` is seekable; only box headers, metadata and XMP are read, never the coded media. Raises
    `Unsupported`, `Truncated` or `Undecodable`.
    """
    problems: list[str] = []
    return _combine(_state(find_mp4_parts(file, problems), problems), problems)


def write_alternative_label(data: bytes, mime: Mime, *, provider: str, output_id: str) -> bytes:
    """Return a file with China's label in the alternative carrier of its format, wrapped.

    For a deployment whose platform reads only that one. The packet must have been written with
    `aigc=False`: one label a file. Raises `LabelRefused` where the file carries a label already,
    for unfit texts, and for a WebP file without XMP; the errors of `read_labels`.
    """
    require_text(provider)
    require_text(output_id)
    _require_no_aigc(read_labels(data, mime))
    text = write_aigc(produced_by(provider, output_id), wrapped=True)
    return embed_alternative(data, mime, text)


def write_video_labels(
    source: BinaryIO, out: BinaryIO, *, xmp: bytes, provider: str, output_id: str
) -> None:
    """Copy an MP4 file with China's label under `moov.udta.meta` and an XMP packet at its end.

    `xmp` comes from `write_xmp(aigc=False)`. Both files are binary, `source` seekable, `out` empty;
    coded media is copied in pieces, only the chunk offsets change. Sign afterwards: a file that is
    signed already is refused. Raises `LabelRefused`, `Unsupported`, `Truncated`, `Undecodable`.
    """
    require_text(provider)
    require_text(output_id)
    _require_no_aigc(read_video_labels(source))
    problems: list[str] = []
    if any(s.name == "aigc" for s in read_packet(xmp, "XMP", problems)) or problems:
        raise LabelRefused("the XMP packet of a video must be sound and leave AIGC to the keys")
    text = write_aigc(produced_by(provider, output_id), wrapped=False)
    insert_mp4_parts(source, out, aigc=text.encode(), xmp=xmp)


def _require_no_aigc(labels: Labels | None) -> None:
    places = [s.where for s in (labels.said if labels else ()) if s.name == "aigc"]
    if places:
        raise LabelRefused(
            f"the file carries an AIGC label already ({', '.join(places)}): one label a file",
            mend="encode the picture anew, which leaves all metadata behind",
        )


def _state(parts: Sequence[Part], problems: list[str]) -> list[Statement]:
    """Return the statements of all blocks, in file order."""
    said: list[Statement] = []
    for part in parts:
        if part.kind == "xmp":
            said += read_packet(part.body, part.where, problems)
        elif part.kind == "exif":
            said += _state_exif(part, problems)
        else:
            text = _text(part.body)
            said.append(Statement("aigc", text, part.where))
    return said


def _state_exif(part: Part, problems: list[str]) -> list[Statement]:
    said: list[Statement] = []
    for tag, value in read_tags(part.body, USER_COMMENT, XMP_PACKET):
        if tag == XMP_PACKET:
            said += read_packet(value, f"{part.where} tag 0x02BC", problems)
            continue
        comment = decode_comment(value, part.body)
        if looks_like_aigc(comment):
            said.append(Statement("aigc", comment, f"{part.where} UserComment"))
    return said


def _text(body: bytes) -> str:
    # PNG texts are Latin-1 by the standard and UTF-8 by habit; UTF-8 that decodes is UTF-8.
    try:
        return body[:MAX_PACKET_BYTES].decode("utf-8").strip("\x00 \r\n\t")
    except UnicodeDecodeError:
        return body[:MAX_PACKET_BYTES].decode("latin-1").strip("\x00 \r\n\t")


def _combine(said: Sequence[Statement], problems: list[str]) -> Labels | None:
    if not said and not problems:
        return None
    values = {name: _settle(name, said, problems) for name in PROPERTIES}
    aigc, output_id, created = values["aigc"], values["output_id"], values["created"]
    if isinstance(aigc, AigcLabel) and output_id and aigc.ProduceID != output_id:
        problems.append(
            f"the AIGC ProduceID {_quote(aigc.ProduceID)} is not the identifier {_quote(output_id)}"
        )
    source_type = _as_text(values["source_type"])
    if aigc is not None and source_type is not None and source_type not in _AI_SOURCE_TYPES:
        problems.append(f"AIGC says AI-made, DigitalSourceType {_quote(source_type)}")
    return Labels(
        source_type=source_type,
        provider=_as_text(values["provider"]),
        system=_as_text(values["system"]),
        version=_as_text(values["version"]),
        created_at=created if isinstance(created, datetime) else None,
        output_id=_as_text(output_id),
        aigc=aigc if isinstance(aigc, AigcLabel) else None,
        problems=tuple(problems),
        said=tuple(said),
    )


def _settle(
    name: Name, said: Sequence[Statement], problems: list[str]
) -> str | datetime | AigcLabel | None:
    """Return the first believable value of a field; report several, and those that are none."""
    read: list[tuple[str | datetime | AigcLabel, Statement]] = []
    for statement in said:
        if statement.name == name:
            value = _value(statement, problems)
            if value is not None:
                read.append((value, statement))
    distinct = {value: statement for value, statement in reversed(read)}
    if len(distinct) > 1:
        shown = [f"{_quote(v)} ({s.where})" for v, s in reversed(distinct.items())]
        more = f" and {len(shown) - _QUOTED_VALUES} more" if len(shown) > _QUOTED_VALUES else ""
        values = ", ".join(shown[:_QUOTED_VALUES])
        problems.append(f"{PROPERTIES[name][1]} disagrees: {values}{more}")
    elif name == "aigc" and len(read) > 1:
        places = ", ".join(statement.where for _, statement in read[:_QUOTED_VALUES])
        problems.append(f"AIGC stands {len(read)} times ({places}), one label a file is allowed")
    return read[0][0] if read else None


def _value(statement: Statement, problems: list[str]) -> str | datetime | AigcLabel | None:
    """Return a statement's value, None (with a problem, if it is one) where it has none."""
    if statement.name == "aigc":
        try:
            return read_aigc(statement.text)
        except LabelRefused as error:
            problems.append(f"the AIGC label ({statement.where}) is malformed: {error.message}")
            return None
    if statement.name == "created":
        return _read_time(statement, problems)
    return _source_type(statement.text) if statement.name == "source_type" else statement.text


def _read_time(statement: Statement, problems: list[str]) -> datetime | None:
    """Return a point in time; XMP also allows a year, a month and a local time, which are none."""
    if _YEAR_OR_MONTH.fullmatch(statement.text):
        return None
    try:
        moment = datetime.fromisoformat(statement.text)
    except ValueError:
        words = f"CreateDate ({statement.where}) is not a time: {_quote(statement.text)}"
        problems.append(words)
        return None
    return moment if moment.tzinfo else None


def _source_type(text: str) -> str:
    """Return a source type in the IPTC form; writers use https, a slash at the end, a bare code."""
    uri = text.rstrip("/").replace("https://", "http://", 1)
    code = uri.removeprefix(SOURCE_TYPES)
    return SOURCE_TYPES + code if code != uri or code in _AI_CODES else text


def _quote(value: str | datetime | AigcLabel) -> str:
    """Return a file's own words, cut and without anything that could steer a terminal or page."""
    if isinstance(value, AigcLabel):
        text = f"Label {value.Label} of {value.ContentProducer}, ProduceID {value.ProduceID}"
    else:
        text = (
            value.isoformat() if isinstance(value, datetime) else value.removeprefix(SOURCE_TYPES)
        )
    safe = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return f'"{safe[:_QUOTED_CHARS]}{"…" if len(safe) > _QUOTED_CHARS else ""}"'


def _as_text(value: str | datetime | AigcLabel | None) -> str | None:
    return value if isinstance(value, str) else None
