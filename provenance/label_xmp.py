"""The XMP packet of a label: what we write into one, and what any writer's packet says.

Decides which properties are labels: IPTC digital source type and AI system, credit, identifier,
creation date and China's AIGC. Reads them as elements, attributes and resources, under any prefix,
in UTF-8, UTF-16 or UTF-32, and only where they speak of the file itself. Refuses a DTD or entity,
XML that is not well formed, a packet beyond 1 MB, and nesting or element counts no writer needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape

from provenance.aigc import MAX_AIGC_CHARS, produced_by, write_aigc
from provenance.containers import MAX_PACKET_BYTES
from provenance.errors import LabelRefused

SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FACE_SWAP_SOURCE_TYPE: Final = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
"""IPTC NewsCodes: a picture mixing captured and AI-generated parts (docs/law.md)."""

Name = Literal["source_type", "system", "version", "provider", "output_id", "created", "aigc"]

_SPACES: Final = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PROPERTIES: Final[dict[Name, tuple[str, str]]] = {
    "source_type": ("Iptc4xmpExt", "DigitalSourceType"),
    "system": ("Iptc4xmpExt", "AISystemUsed"),
    "version": ("Iptc4xmpExt", "AISystemVersionUsed"),
    "provider": ("photoshop", "Credit"),
    "output_id": ("dc", "identifier"),
    "created": ("xmp", "CreateDate"),
    "aigc": ("TC260", "AIGC"),
}
"""Our names and the XMP properties that carry them (IPTC Photo Metadata Standard 2025.1)."""
_READ: Final[dict[str, Name]] = {
    f"{_SPACES[prefix]} {local}": name for name, (prefix, local) in PROPERTIES.items()
}
_DESCRIPTION, _ROOT, _LI, _RESOURCE = (
    f"{_RDF} {local}" for local in ("Description", "RDF", "li", "resource")
)
_MAX_TEXT = 200
_MAX_DEPTH = 40
"""Our choice: structures of photo editors (history, regions) nest about a dozen deep."""
_MAX_ELEMENTS = 20_000
_MAX_STATEMENTS = 64
_MARKS = (
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\x00\x00\x00<", "utf-32-be"),
    (b"<\x00\x00\x00", "utf-32-le"),
    (b"\x00<", "utf-16-be"),
    (b"<\x00", "utf-16-le"),
)
"""First bytes of a packet: byte order marks, then `<` without one (ISO 16684-1, 7.3.3)."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing a file says about itself: which, the file's own unchecked words, and where."""

    name: Name
    text: str
    where: str


def write_xmp(
    *,
    provider: str,
    system: str,
    version: str,
    created_at: datetime,
    output_id: str,
    aigc: bool = True,
) -> bytes:
    """Return the XMP packet of one output, UTF-8.

    `created_at` has a time zone and is written in UTC to the second; `output_id` is the mark id,
    known before signing. `aigc` False leaves China's label out, for files that carry it elsewhere:
    one label a file. Raises `LabelRefused` for empty or long (> 200) texts, control characters and
    a time without zone.
    """
    if created_at.tzinfo is None:
        raise LabelRefused("the time of creation needs a time zone")
    for text in (provider, system, version, output_id):
        require_text(text)
    texts: dict[Name, str] = {
        "source_type": FACE_SWAP_SOURCE_TYPE,
        "system": system,
        "version": version,
        "provider": provider,
        "output_id": output_id,
        "created": created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if aigc:
        texts["aigc"] = write_aigc(produced_by(provider, output_id), wrapped=False)
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _SPACES.items())
    lines = [_element(*PROPERTIES[name], text) for name, text in texts.items()]
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


def require_text(text: str) -> None:
    """Raise `LabelRefused` unless `text` is 1 to 200 printable characters."""
    if not text or len(text) > _MAX_TEXT or not text.isprintable():
        raise LabelRefused(f"a label text is empty, too long or not printable: {text!r:.40}")


def read_packet(packet: bytes, where: str, problems: list[str]) -> list[Statement]:
    """Return what a packet says; what is wrong with it is added to `problems`, never raised.

    Statements before the fault are kept: damage behind a label does not hide the label.
    """
    reader = _Reader(where)
    try:
        reader.read(packet)
    except LabelRefused as error:
        problems.append(f"{where}: {error.message}")
    return reader.said


def _element(prefix: str, name: str, text: str) -> str:
    return f"<{prefix}:{name}>{escape(text)}</{prefix}:{name}>"


def _decode(packet: bytes) -> bytes:
    """Return the packet in UTF-8 without mark and padding."""
    codec = next((codec for mark, codec in _MARKS if packet.startswith(mark)), "utf-8")
    try:
        text = packet.decode(codec)
    except UnicodeDecodeError as error:
        raise LabelRefused(f"an XMP packet is not {codec.upper()}") from error
    return text.strip("\ufeff\x00 \r\n\t").encode()


@dataclass(slots=True)
class _Reader:
    """Walks one packet with expat; keeps the path of open elements and the text of a property."""

    where: str
    said: list[Statement] = field(default_factory=list)
    path: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    elements: int = 0

    def read(self, packet: bytes) -> None:
        if len(packet) > MAX_PACKET_BYTES:
            raise LabelRefused(
                f"an XMP packet has {len(packet)} bytes, the cap is {MAX_PACKET_BYTES}"
            )
        # The given encoding outranks a declaration in the text, which _decode has made untrue.
        parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        # Entities need a DTD, and XMP has none (ISO 16684-1, 7.3): refused before any expansion.
        parser.StartDoctypeDeclHandler = _refuse_dtd
        parser.StartElementHandler = self.open
        parser.EndElementHandler = self.close
        parser.CharacterDataHandler = self.add
        try:
            parser.Parse(_decode(packet), True)
        except expat.ExpatError as error:
            raise LabelRefused("an XMP packet is not well-formed XML") from error

    def open(self, tag: str, attributes: dict[str, str]) -> None:
        self.path.append(tag)
        self.elements += 1
        if len(self.path) > _MAX_DEPTH or self.elements > _MAX_ELEMENTS:
            raise LabelRefused("an XMP packet nests too deep or has too many elements")
        if self.path[-2:] == [_ROOT, _DESCRIPTION]:
            for name, value in attributes.items():
                self.say(name, value)
        elif self.is_property():
            self.values = [attributes.get(_RESOURCE, "")]
        elif tag == _LI:
            self.values.append(attributes.get(_RESOURCE, ""))

    def close(self, tag: str) -> None:
        if self.is_property():
            for value in self.values:
                self.say(tag, value)
            self.values = []
        self.path.pop()

    def add(self, text: str) -> None:
        if self.values:
            self.values[-1] += text

    def is_property(self) -> bool:
        """Tell whether the innermost element is a property of the file, not of a part of it."""
        return self.path[-3:-1] == [_ROOT, _DESCRIPTION]

    def say(self, tag: str, value: str) -> None:
        text = value.strip()
        if tag not in _READ or not text:
            return
        if len(text) > MAX_AIGC_CHARS or len(self.said) >= _MAX_STATEMENTS:
            raise LabelRefused("an XMP packet repeats its labels too often or writes too long ones")
        self.said.append(Statement(_READ[tag], text, self.where))


def _refuse_dtd(*_: object) -> NoReturn:
    raise LabelRefused("an XMP packet declares a DTD or entities")
