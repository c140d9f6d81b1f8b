"""Labels for machines and for people: the XMP packet in the file and the words on the picture.

Decides how an output says that it is AI-made: IPTC digital source type, the seven-key AIGC label
of GB 45438-2025, and provider, system, time and id for California's latent disclosure. Reads the
same back from any file, reports labels that disagree, and refuses hostile packets. A label proves
nothing: anyone can write or remove one.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal
from xml.sax.saxutils import escape

from pydantic import BaseModel, ConfigDict, ValidationError

from provenance.containers import MAX_PACKET_BYTES, Container, Mime, open_container, read_exif_tag
from provenance.errors import LabelRefused, Unsupported
from provenance.visible_label import draw_visible_label

__all__ = ["AigcLabel", "Labels", "draw_visible_label", "read_labels", "write_xmp"]

SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FACE_SWAP_SOURCE_TYPE: Final = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
"""IPTC NewsCodes: a picture mixing captured and AI-generated parts (law.md, EU-LABEL)."""

_AI_SOURCE_TYPES = frozenset(
    SOURCE_TYPES + name
    for name in (
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
        "compositeSynthetic",
        "algorithmicallyEnhanced",
    )
)
_SPACES: Final = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PROPERTIES: Final = {
    "source_type": ("Iptc4xmpExt", "DigitalSourceType"),
    "system": ("Iptc4xmpExt", "AISystemUsed"),
    "version": ("Iptc4xmpExt", "AISystemVersionUsed"),
    "provider": ("photoshop", "Credit"),
    "output_id": ("dc", "identifier"),
    "created": ("xmp", "CreateDate"),
    "aigc": ("TC260", "AIGC"),
}
_MAX_TEXT = 200
_EXIF_USER_COMMENT = 0x9286


class AigcLabel(BaseModel):
    """The seven keys of GB 45438-2025, Annex E; all strings, no others, `Label` "1" = AI-made."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    Label: Literal["1", "2", "3"]
    ContentProducer: str
    ProduceID: str
    ReservedCode1: str
    ContentPropagator: str
    PropagateID: str
    ReservedCode2: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What a file's labels say; None where they do not say it.

    `problems` names labels that are malformed or contradict each other, in words.
    """

    source_type: str | None = None
    provider: str | None = None
    system: str | None = None
    version: str | None = None
    created_at: datetime | None = None
    output_id: str | None = None
    aigc: AigcLabel | None = None
    problems: tuple[str, ...] = ()

    @property
    def claims_ai(self) -> bool:
        """True where any label says AI had a part; such a mark must be carried on (T23)."""
        return self.source_type in _AI_SOURCE_TYPES or self.aigc is not None


def write_xmp(
    *, provider: str, system: str, version: str, created_at: datetime, output_id: str
) -> bytes:
    """Return the XMP packet of one output, UTF-8.

    `created_at` has a time zone and is written in UTC to the second; `output_id` is the mark id,
    known before signing. Raises `LabelRefused` for empty or long (> 200) texts, control characters
    and a time without zone.
    """
    if created_at.tzinfo is None:
        raise LabelRefused("the time of creation needs a time zone")
    for text in (provider, system, version, output_id):
        if not text or len(text) > _MAX_TEXT or not text.isprintable():
            raise LabelRefused(f"a label text is empty, too long or not printable: {text!r:.40}")
    aigc = AigcLabel(
        Label="1",
        ContentProducer=provider,
        ProduceID=output_id,
        ReservedCode1="",
        ContentPropagator="",
        PropagateID="",
        ReservedCode2="",
    )
    texts = {
        "source_type": FACE_SWAP_SOURCE_TYPE,
        "system": system,
        "version": version,
        "provider": provider,
        "output_id": output_id,
        "created": created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aigc": json.dumps(aigc.model_dump(), ensure_ascii=False, separators=(",", ":")),
    }
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _SPACES.items())
    lines = [_element(*_PROPERTIES[key], text) for key, text in texts.items()]
    lines.append(_element("xmp", "CreatorTool", f"{system} {version}"))
    return "\n".join(
        [
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
            f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">',
            f'<rdf:Description rdf:about=""{spaces}>',
            *lines,
            "</rdf:Description></rdf:RDF></x:xmpmeta>",
            '<?xpacket end="r"?>',
        ]
    ).encode()


def read_labels(data: bytes, mime: Mime) -> Labels | None:
    """Return what the labels in a JPEG, PNG or WebP file say, None where it has none.

    Reads every XMP packet, the PNG text AIGC and the EXIF comment AIGC; extended XMP of JPEG is not
    read. Raises `LabelRefused` for a packet with a DTD or entity, one that is not UTF-8 XML or
    exceeds 1 MB; `Unsupported` where the content is not `mime`; `Truncated` or `Undecodable`.
    """
    container = open_container(data)
    if container.mime != mime:
        raise Unsupported(f"the content is {container.mime}, not {mime}")
    found: dict[str, list[str]] = {key: [] for key in _PROPERTIES}
    for packet in container.xmp:
        for key, text in _read_packet(packet):
            found[key].append(text)
    loose = [json_text for json_text in map(_unwrap, _loose_aigc(container)) if json_text]
    if not loose and not any(found.values()):
        return None
    found["aigc"] += loose
    return _combine(found)


def _element(prefix: str, name: str, text: str) -> str:
    return f"<{prefix}:{name}>{escape(text)}</{prefix}:{name}>"


def _read_packet(packet: bytes) -> Iterator[tuple[str, str]]:
    """Yield (our name, text) for each property we know, written as element or as attribute."""
    if len(packet) > MAX_PACKET_BYTES:
        raise LabelRefused(f"an XMP packet has {len(packet)} bytes, the cap is {MAX_PACKET_BYTES}")
    try:
        text = packet.decode("utf-8").rstrip("\x00 \r\n\t")
    except UnicodeDecodeError as error:
        raise LabelRefused("an XMP packet is not UTF-8") from error
    # Checked before parsing: entity expansion needs a DTD, and XMP (ISO 16684-1, 7.3) has none.
    if any(word in text.upper() for word in ("<!DOCTYPE", "<!ENTITY")):
        raise LabelRefused("an XMP packet declares a DTD or entities")
    try:
        root = ET.fromstring(text)  # noqa: S314 - see above: no DTD gets here
    except (ET.ParseError, ValueError) as error:
        raise LabelRefused("an XMP packet is not well-formed XML") from error
    names = {f"{{{_SPACES[prefix]}}}{name}": key for key, (prefix, name) in _PROPERTIES.items()}
    for description in root.iter(f"{{{_RDF}}}Description"):
        for tag, value in description.attrib.items():
            if tag in names:
                yield names[tag], value
        for child in description:
            if child.tag in names:
                resource = child.get(f"{{{_RDF}}}resource")
                yield names[child.tag], resource or "".join(child.itertext()).strip()


def _loose_aigc(container: Container) -> Iterator[str]:
    comment = read_exif_tag(container.exif, _EXIF_USER_COMMENT) or b""
    if comment.startswith(b"ASCII\x00\x00\x00"):
        yield comment[8:].decode("utf-8", "replace").rstrip("\x00")
    yield from (text.decode("utf-8", "replace") for text in container.aigc)


def _unwrap(text: str) -> str | None:
    """Return the inner JSON of {"AIGC": {...}}, None for a text that is not such a label."""
    try:
        outer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    inner = outer.get("AIGC") if isinstance(outer, dict) else None
    return None if inner is None else json.dumps(inner, ensure_ascii=False)


def _combine(found: dict[str, list[str]]) -> Labels:
    problems = [
        f"the file says {_PROPERTIES[key][1]} {len(set(texts))} ways"
        for key, texts in found.items()
        if key != "aigc" and len(set(texts)) > 1
    ]
    labels = [label for label in map(partial(_parse_aigc, problems), found["aigc"]) if label]
    if any(label != labels[0] for label in labels[1:]):
        problems.append("the AIGC labels of the file disagree")
    first = {key: texts[0] if texts else None for key, texts in found.items()}
    aigc = labels[0] if labels else None
    if aigc and first["output_id"] and aigc.ProduceID != first["output_id"]:
        problems.append("the AIGC ProduceID is not the output's identifier")
    return Labels(
        source_type=first["source_type"],
        provider=first["provider"],
        system=first["system"],
        version=first["version"],
        created_at=_parse_time(problems, first["created"]),
        output_id=first["output_id"],
        aigc=aigc,
        problems=tuple(problems),
    )


def _parse_aigc(problems: list[str], text: str) -> AigcLabel | None:
    try:
        return AigcLabel.model_validate(json.loads(text, object_pairs_hook=_refuse_twice))
    except (ValidationError, ValueError, RecursionError):
        problems.append("an AIGC label is not the seven-key form")
        return None


def _refuse_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key appears twice")
    return dict(pairs)


def _parse_time(problems: list[str], text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        problems.append("CreateDate is not a time")
        return None
    # XMP allows local times without a zone; they are not a point in time, so they read as None.
    return moment if moment is not None and moment.tzinfo else None
