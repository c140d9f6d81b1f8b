"""Pictures of others are decoded in processes of their own; who decodes here is named, and why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("policies", "provenance", "generator", "detector", "pipelines")

DECODED_HERE = {
    "generator/personas.py:open_personas": "a picture of the distribution, named by its digest",
    "pipelines/demo.py:_examine": "the demo's own release, made moments before",
    "pipelines/demo.py:tamper": "the same",
    "provenance/clip_recovery.py:_kept_frames": "a kept output, read from the store by its digest",
    "provenance/data_ledger.py:admit": "a file of the operator's own set, named by its digest",
    "provenance/media.py:_decode_again": "a copied picture, decoded before; no run pickles one",
    "provenance/recovery.py:compare": "a kept output, read from the store by its digest",
    "provenance/release.py:_read_back": "the output that was just encoded here",
    "provenance/release.py:release": "the output that was just encoded here",
    "provenance/release.py:redeliver": "a kept output, which the log names by its commitment",
}
"""Module and function that decode without `load`, and whose bytes those are."""


def names_of_decode(tree: ast.Module) -> set[str]:
    """What `provenance.media.decode` is called in a module."""
    names = {"decode" for node in tree.body if getattr(node, "name", "") == "decode"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for one in node.names:
                if within + one.name == "provenance.media.decode":
                    names.add(one.asname or one.name)
                if within + one.name == "provenance.media":
                    names.add(f"{one.asname or one.name}.decode")
    return names


def decoding_here(source: str) -> list[str]:
    """The functions of a module, once a call, that decode in their own process."""
    tree = ast.parse(source)
    names = names_of_decode(tree)

    def walk(node: ast.AST, function: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call) and ast.unparse(child.func) in names:
                if all(word.arg != "load" for word in child.keywords):
                    yield function
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from walk(child, child.name if is_function else function)

    return list(walk(tree, ""))


def test_whoever_decodes_pictures_of_others_gives_a_loader() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{function}"
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        for function in decoding_here(path.read_text(encoding="utf-8"))
    ]
    assert sorted(found) == sorted(DECODED_HERE)


@pytest.mark.parametrize(
    "source",
    [
        "from provenance.media import decode\ndef f(): decode(data{})",
        "from provenance.media import decode as read\ndef f(): read(data, limits=few{})",
        "from provenance import media\nasync def f(): media.decode(data, keep_alpha=True{})",
        "import provenance.media as m\ndef f(): return m.decode(data{}).frame",
        "import provenance.media\nclass C:\n def f(s): provenance.media.decode(data{})",
        "def f():\n from provenance.media import decode\n return [decode(d{}) for d in data]",
        "def decode(data, load=load): ...\ndef f(): decode(data{})",
    ],
    ids=["plain", "renamed", "by module", "module renamed", "by full name", "inside", "own"],
)
def test_a_call_without_a_loader_is_seen(source: str) -> None:
    assert decoding_here(source.format("")) == ["f"]
    assert decoding_here(source.format(", load=pool")) == []


def test_a_call_outside_of_functions_is_seen_and_other_decoders_are_not_meant() -> None:
    assert decoding_here("from provenance.media import decode\ndecode(data)") == [""]
    assert decoding_here("from base64 import b64decode\nb64decode(x)\nx.decode('ascii')") == []
