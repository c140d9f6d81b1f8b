"""Unpack a TensorFlow.js model that a package ships as JavaScript; used by `generator.convert`.

Decides nothing at run time. Such a bundle (browserify, minified) assigns one literal: the graph as
an object, each weight shard as base64 text. The literal is read by a small tokeniser that knows
strings, numbers, `!0`, `!1`, keys and brackets; nothing is executed, and anything else is refused
(WeightRefused).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from pathlib import Path

from generator.errors import WeightRefused

BUNDLE_SUFFIX = ".min.js"

# The bundler's own loader assigns `.exports={exports:...` in an index, never after `.exports=`.
_EXPORT = re.compile(r'\.exports=(?=[{"])')
_TOKEN = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)'
    r"|(?P<flag>![01])|(?P<key>[A-Za-z_]\w*(?=:))|(?P<mark>[{}\[\]:,])"
)


def unpack_bundle(graph: Path, folder: Path) -> Path:
    """Write the graph and its shards as plain tfjs files into a folder; return the graph's path.

    `graph`: `model.min.js`, its shards beside it as `<shard name>.min.js`. Raises WeightRefused
    for a bundle that holds anything but literals.
    """
    model = read_literal(graph)
    if not isinstance(model, dict) or "weightsManifest" not in model:
        raise WeightRefused(f"{graph.name} holds no tfjs graph model")
    for group in model["weightsManifest"]:
        for shard in group["paths"]:
            content = read_literal(graph.parent / f"{Path(shard).name}{BUNDLE_SUFFIX}")
            (folder / Path(shard).name).write_bytes(_decode_base64(content, shard))
    path = folder / "model.json"
    path.write_text(json.dumps(model))
    return path


def read_literal(path: Path) -> object:
    """Return the one literal that a bundle exports, as JSON-like values; else WeightRefused."""
    text = path.read_text(encoding="utf-8")
    starts = [found.end() for found in _EXPORT.finditer(text)]
    if len(starts) != 1:
        raise WeightRefused(f"{path.name} exports {len(starts)} literals, one is expected")
    try:
        return json.loads(_as_json(text, starts[0]))
    except ValueError as error:
        raise WeightRefused(f"{path.name} holds no plain literal: {error}") from error


def _as_json(text: str, start: int) -> str:
    """Return the JSON text of the JavaScript literal that starts at a position."""
    parts: list[str] = []
    depth, position = 0, start
    while not parts or depth:
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"unexpected {text[position : position + 20]!r}")
        position = token.end()
        word = token.group()
        depth += (word in ("{", "[")) - (word in ("}", "]"))
        parts.append(_json_word(token.lastgroup, word))
    return "".join(parts)


def _json_word(kind: str | None, word: str) -> str:
    if kind == "key":
        return json.dumps(word)
    if kind == "flag":
        return "true" if word == "!0" else "false"
    if kind == "number" and not word.lstrip("-").isdigit():
        return repr(float(word))
    return word


def _decode_base64(content: object, name: str) -> bytes:
    if not isinstance(content, str):
        raise WeightRefused(f"weight shard {name} is not base64 text")
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise WeightRefused(f"weight shard {name} is not base64 text") from error
