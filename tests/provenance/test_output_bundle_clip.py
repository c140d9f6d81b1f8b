"""The bundle of a video: an auditor's script checks every byte that is shown or heard."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from policies.bundle import PolicyTexts
from provenance import output_check
from provenance.output_bundle import Sources, write_output_bundle

ITSELF = {"xpath": "/uuid", "data": [{"offset": 8, "value": output_check.C2PA_UUID}]}


@pytest.fixture(scope="session")
def bundled(premiere: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a released video."""
    cinema, _, out = premiere
    office = cinema.studio.office
    policy = PolicyTexts(office.house.gate.texts, office.house.parts)
    anchors, desk = cinema.studio.pki.anchors, office.desk_key.public
    folder = tmp_path_factory.mktemp("bundles") / "mp4"
    sources = Sources(cinema.studio.archive, anchors, desk, policy)
    write_output_bundle(folder, out.manifest_id, sources=sources)
    return folder


@pytest.fixture
def bundle(bundled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled, tmp_path / "bundle"))


def test_everything_holds(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output_check.main(bundle)
    told = capsys.readouterr().out
    assert "holds: the manifest is about this output" in told
    assert "NOT CHECKED" not in told


@pytest.mark.parametrize("kind", [b"moov", b"mdat"])
def test_one_bit_of_the_film_is_missed(bundle: Path, kind: bytes) -> None:
    output = bundle / "output.mp4"
    data = bytearray(output.read_bytes())
    data[data.index(kind) + 60] ^= 1
    output.write_bytes(data)
    with pytest.raises(SystemExit, match="the manifest is about this output"):
        output_check.main(bundle)


def box(kind: bytes, body: bytes, *, large: bool = False) -> bytes:
    if large:
        return (1).to_bytes(4, "big") + kind + (16 + len(body)).to_bytes(8, "big") + body
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def test_boxes_are_hashed_behind_their_places_but_those_left_out() -> None:
    film, seen = box(b"mdat", b"film", large=True), box(b"uuid", b"another one's   ")
    output = box(b"ftyp", b"isom") + film + box(b"uuid", output_check.C2PA_UUID + b"x") + seen
    expected = hashlib.sha256()
    for part in (film, seen):
        expected.update(output.index(part).to_bytes(8, "big") + part)
    rules = [ITSELF, {"xpath": "/ftyp", "data": None}]
    assert output_check.hash_boxes(output, rules) == expected.digest()


@pytest.mark.parametrize(
    "rule",
    [
        {"xpath": "/mdat"},
        {"xpath": "/moov"},
        {"xpath": "/uuid"},
        {"xpath": "/moov/udta"},
        {"xpath": "/free", "length": 4},
        {"xpath": "/uuid", "data": [{"offset": 8, "value": b"another one's id"}]},
        {"xpath": "/uuid", "data": [{"offset": 0, "value": output_check.C2PA_UUID}]},
        ITSELF | {"subset": [{"offset": 0, "length": 9}]},
    ],
)
def test_no_rule_leaves_out_what_is_shown(rule: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="covers everything that is shown"):
        output_check.hash_boxes(box(b"mdat", b"film"), [rule])


@pytest.mark.parametrize("length", [0, 7, 13, 2**31])
def test_a_file_that_breaks_off_is_refused(length: int) -> None:
    output = length.to_bytes(4, "big") + b"mdat" + b"film"
    with pytest.raises(SystemExit, match="boxes are whole"):
        output_check.hash_boxes(output, [])


def bound(bundle: Path, monkeypatch: pytest.MonkeyPatch, **assertions: Any) -> None:
    """Check the output with these hash assertions instead of its own."""
    monkeypatch.setattr(output_check, "value_of", lambda value: value)
    output_check.hash_output(assertions, (bundle / "output.mp4").read_bytes())


def test_one_known_hash_is_bound(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"exclusions": [], "hash": b"", "alg": "sha256"}
    for assertions, words in (
        ({}, "binds one hash"),
        ({"c2pa.hash.data": known, "c2pa.hash.bmff.v3": known}, "binds one hash"),
        ({"c2pa.hash.boxes": known}, "its kind is known here"),
        ({"c2pa.hash.bmff": known}, "its kind is known here"),
        ({"c2pa.hash.bmff.v3": known | {"alg": "sha512"}}, "hash is SHA-256"),
    ):
        with pytest.raises(SystemExit, match=words):
            bound(bundle, monkeypatch, **assertions)
