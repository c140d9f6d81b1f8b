"""What else a picture file holds: bytes after its end, and other formats hidden in it.

Decides nothing about the picture; it names what a viewer would not see and another program might
run. Such bytes are never carried on, because an output is encoded anew. Signatures are looked for
where their format's readers look, so that coded picture data does not match by chance.
"""

from __future__ import annotations

from typing import Final

_AT_START: Final = (
    (b"PK\x03\x04", "ZIP"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"%PDF-", "PDF"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n", "PNG"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
)
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 65_557  # 22 bytes and a comment of at most 65,535 (APPNOTE.TXT, 4.3.16)
_PDF_HEAD_BYTES: Final = 1_024  # ISO 32000-1, annex H, note 13: readers accept the header so late
_SCRIPT_HEAD_BYTES: Final = 1_445  # WHATWG MIME Sniffing, section 5: what a browser sniffs
_SCRIPTS: Final = ((b"<html", "HTML"), (b"<script", "HTML"), (b"<?php", "PHP"))


def name_tail(data: bytes, end: int) -> str:
    """Return what the bytes from `end` on are by their first bytes, "unknown" for anything else."""
    if data[end + 4 : end + 8] == b"ftyp":
        return "a video"
    tail = data[end : end + 16]
    return next((name for magic, name in _AT_START if tail.startswith(magic)), "unknown")


def find_formats(data: bytes) -> tuple[str, ...]:
    """Return the other formats as which the same file can be opened, in alphabetical order."""
    found = set()
    if _ZIP_END in data[-_ZIP_END_BYTES:]:
        found.add("ZIP")
    if b"%PDF-" in data[:_PDF_HEAD_BYTES]:
        found.add("PDF")
    head = data[:_SCRIPT_HEAD_BYTES].lower()
    found.update(name for sign, name in _SCRIPTS if sign in head)
    return tuple(sorted(found))
