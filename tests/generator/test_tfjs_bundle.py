"""Models shipped as JavaScript: literals are read, nothing is executed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from generator.errors import WeightRefused
from generator.tfjs_bundle import read_literal, unpack_bundle

AROUND = "!function(t){t()}(function(){{var u=a[d]={exports:{}};return u.exports}({1:[%s]})});"
GRAPH = (
    '{format:"graph-model",modelTopology:{node:[{name:"a\\"b",flag:!0,other:!1}]},'
    'weightsManifest:[{paths:["one","two"],weights:[{min:-.5,scale:1e-3,shape:[2,3],top:1.5}]}]}'
)


def bundle(path: Path, literal: str) -> Path:
    path.write_text(AROUND % f"function(t,e,a){{e.exports={literal}}},{{}}")
    return path


def test_a_bundle_becomes_plain_files(tmp_path: Path) -> None:
    bundle(tmp_path / "model.min.js", GRAPH)
    for name, content in (("one", b"\x00\x01"), ("two", b"\xff")):
        bundle(tmp_path / f"{name}.min.js", json.dumps(base64.b64encode(content).decode()))
    (tmp_path / "out").mkdir()
    path = unpack_bundle(tmp_path / "model.min.js", tmp_path / "out")
    model = json.loads(path.read_text())
    assert model["modelTopology"]["node"] == [{"name": 'a"b', "flag": True, "other": False}]
    weights = model["weightsManifest"][0]["weights"]
    assert weights == [{"min": -0.5, "scale": 0.001, "shape": [2, 3], "top": 1.5}]
    assert (tmp_path / "out" / "one").read_bytes() == b"\x00\x01"
    assert (tmp_path / "out" / "two").read_bytes() == b"\xff"


@pytest.mark.parametrize(
    "literal",
    ["{a:b}", "{a:f()}", "{a:1+2}", "{a:'x'}", "{a:`x`}", "[1,2", "{a:[1}]", "{a:NaN}", '{a:"x}'],
)
def test_anything_but_literals_is_refused(tmp_path: Path, literal: str) -> None:
    with pytest.raises(WeightRefused) as caught:
        read_literal(bundle(tmp_path / "model.min.js", literal))
    assert caught.value.code == "WEIGHT-REFUSED"


@pytest.mark.parametrize("text", ["", "alert(1)", 'e.exports={a:1};e.exports="x"'])
def test_one_literal_is_expected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.min.js"
    path.write_text(text)
    with pytest.raises(WeightRefused, match="one is expected"):
        read_literal(path)


@pytest.mark.parametrize("shard", ['"not base64!"', "{a:1}"])
def test_shards_are_base64(tmp_path: Path, shard: str) -> None:
    bundle(tmp_path / "model.min.js", '{weightsManifest:[{paths:["one"],weights:[]}]}')
    bundle(tmp_path / "one.min.js", shard)
    with pytest.raises(WeightRefused, match="not base64"):
        unpack_bundle(tmp_path / "model.min.js", tmp_path)


@pytest.mark.parametrize("literal", ['"text"', "{format:1}"])
def test_a_bundle_without_a_graph_is_refused(tmp_path: Path, literal: str) -> None:
    with pytest.raises(WeightRefused, match="no tfjs graph"):
        unpack_bundle(bundle(tmp_path / "model.min.js", literal), tmp_path)


def test_shard_names_do_not_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    graph = bundle(
        tmp_path / "in" / "model.min.js", '{weightsManifest:[{paths:["../x"],weights:[]}]}'
    )
    bundle(tmp_path / "in" / "x.min.js", '"AAAA"')
    unpack_bundle(graph, tmp_path / "out")
    assert (tmp_path / "out" / "x").read_bytes() == bytes(3)
    assert not (tmp_path / "x").exists()
