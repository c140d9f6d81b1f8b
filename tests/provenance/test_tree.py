"""The tree of manifests: what is below what, how each stands, and an end to hostile ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provenance.c2pa import read_manifest
from provenance.tree import MAX_DEPTH, MAX_NODES, UNTRUSTED, ManifestNode, grow_tree

Json = dict[str, Any]


def failing(*codes: str) -> Json:
    return {"activeManifest": {"failure": [{"code": code} for code in codes]}}


def grow(manifests: Json, results: Json | None = None) -> ManifestNode:
    tree = grow_tree({"active_manifest": "a", "manifests": manifests}, results or {})
    assert tree is not None
    return tree


def count(node: ManifestNode) -> int:
    return 1 + sum(map(count, node.parts))


def test_signed_chain_is_shown_from_the_file_down(
    pki: Any, other_pki: Any, studio: Any, sign_elsewhere: Any
) -> None:
    picture = studio.picture("persona3_0", "image/jpeg").data
    parent = sign_elsewhere(other_pki, picture)
    data = sign_elsewhere(pki, picture, parent=parent)
    tree = read_manifest(data, "image/jpeg", anchors=pki.anchors).tree
    assert tree is not None
    assert (tree.relationship, tree.state, tree.issuer) == ("", "holds", "Test Studio")
    assert (tree.generator, tree.actions) == ("Other Editor", ("c2pa.opened",))
    [below] = tree.parts
    assert (below.relationship, below.state, below.issuer) == (
        "parentOf",
        "untrusted",
        "Someone Else",
    )
    assert (below.codes, below.actions, below.parts) == ((UNTRUSTED,), ("c2pa.created",), ())


def test_tampered_parent_fails_where_it_stands(pki: Any, studio: Any, sign_elsewhere: Any) -> None:
    picture = studio.picture("persona3_0", "image/jpeg").data
    parent = bytearray(sign_elsewhere(pki, picture))
    parent[-30] ^= 1
    data = sign_elsewhere(pki, picture, parent=bytes(parent))
    tree = read_manifest(data, "image/jpeg", anchors=pki.anchors).tree
    assert tree is not None
    assert tree.state == "holds"
    assert [part.state for part in tree.parts] == ["fails"]
    assert "assertion.dataHash.mismatch" in tree.parts[0].codes


def test_ingredients_without_a_manifest_are_leaves() -> None:
    old = {"title": "old", "validation_status": [{"code": "bad"}]}
    tree = grow({"a": {"ingredients": [{"relationship": "componentOf"}, old]}})
    assert [(p.relationship, p.state, p.manifest_id) for p in tree.parts] == [
        ("componentOf", "no manifest", ""),
        ("ingredient", "fails", ""),
    ]


def test_what_fails_today_counts_beside_what_failed_then() -> None:
    uri = "self#jumbf=/c2pa/a/c2pa.assertions/i"
    deltas = [
        {"ingredientAssertionURI": uri, "validationDeltas": {"failure": [{"code": code}]}}
        for code in ("new", "old")
    ]
    below = {"label": "i", "active_manifest": "b", "validation_results": failing("old")}
    tree = grow({"a": {"ingredients": [below]}, "b": {}}, {"ingredientDeltas": deltas})
    assert tree.parts[0].codes == ("old", "new")


def test_own_failures_stand_at_the_top() -> None:
    assert grow({"a": {}}, failing("bad")).state == "fails"
    assert grow({"a": {}}, failing(UNTRUSTED)).state == "untrusted"


def test_manifest_below_itself_is_cut_off() -> None:
    tree = grow({"a": {"ingredients": [{"active_manifest": "a"}]}})
    assert [part.state for part in tree.parts] == ["cut off"]


def test_depth_and_width_have_an_end() -> None:
    deep = {str(n): {"ingredients": [{"active_manifest": str(n + 1)}]} for n in range(99)}
    tree = grow_tree({"active_manifest": "0", "manifests": deep}, {})
    assert tree is not None
    assert count(tree) == MAX_DEPTH + 1
    wide = grow({"a": {"ingredients": [{"title": "t"}] * 10 * MAX_NODES}})
    assert count(wide) == MAX_NODES + 1
    assert wide.parts[-1].state == "cut off"
    # Every manifest names all the others: without an end it would be 20 factorial.
    names = [str(n) for n in range(20)]
    everyone = {"ingredients": [{"active_manifest": name} for name in names]}
    crossed = grow({"a": everyone} | {name: everyone for name in names})
    assert count(crossed) <= MAX_NODES + MAX_DEPTH


@pytest.mark.parametrize("active", [None, "", 17, [], {}])
def test_no_manifest_is_no_tree(active: object) -> None:
    assert grow_tree({"active_manifest": active}, {}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = ("ingredients", "signature_info", "claim_generator_info", "title", "assertions")
PARTS = ("active_manifest", "label", "title", "relationship", "validation_results")


@settings(derandomize=True, max_examples=100, deadline=None)
@given(value=JSON, field=st.sampled_from(FIELDS), part=st.sampled_from(PARTS))
def test_hostile_report_never_crashes(value: Any, field: str, part: str) -> None:
    grow({"a": {field: value}}, {"ingredientDeltas": value, "activeManifest": value})
    grow({"a": {"ingredients": [{part: value}]}})
    grow_tree(
        {"active_manifest": "a", "manifests": value}, value if isinstance(value, dict) else {}
    )
