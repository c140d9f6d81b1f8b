"""The watermark benchmark counts right, on the pictures it lists, and keeps what it counted."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.watermark import pictures
from benchmarks.watermark.measure import measure_picture, psnr, summarise, wilson
from benchmarks.watermark.methods import Bits, Refused, Rgb, draw_payload
from benchmarks.watermark.ours import read_id, state_threshold
from benchmarks.watermark.peers import BITS, PEERS, PeerMissing, open_peer
from benchmarks.watermark.results import Results, read_part, read_results, write_part

HEIGHT, WIDTH = 200, 264


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        # Newcombe 1998, table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_psnr_of_one_level_everywhere_is_48_dB(host: Rgb) -> None:
    assert psnr(host, host + np.uint8(1)) == pytest.approx(48.13, abs=0.01)
    assert psnr(host, host) == 150


class Stub:
    """Hides the payload in the first pixels; reads it, another, or none, as the picture says."""

    name, bits, version = "stub", 12, "1"

    def embed(self, rgb: Rgb, payload: Bits) -> Rgb:
        if rgb[0, 0, 0] == 0:
            raise Refused("a black corner")
        marked = rgb.copy()
        marked[0, : self.bits, 0] = payload + 100
        return marked

    def decode(self, rgb: Rgb) -> Bits | None:
        bits = rgb[0, : self.bits, 0].astype(int) - 100
        if not set(bits.tolist()) <= {0, 1}:
            return None if rgb.shape[:2] != (WIDTH, HEIGHT) else np.ones(self.bits, np.uint8)
        return bits.astype(np.uint8)


def test_exact_wrong_and_not_read_are_counted_apart(host: Rgb) -> None:
    record = measure_picture(Stub(), host, seed=[1], attacks=("none", "rot90", "resize.5"))
    assert record["rows"]["none"]["exact"]
    assert record["rows"]["rot90"]["wrong"]
    assert 0 < record["rows"]["rot90"]["accuracy"] < 1
    silent = record["rows"]["resize.5"]
    assert (silent["exact"], silent["wrong"], silent["accuracy"]) == (False, False, None)
    assert record["unmarked"] == {"n": 2, "claims": 0}


def test_a_refused_picture_counts_as_not_recovered_in_its_own_column(host: Rgb) -> None:
    black = host.copy()
    black[0, 0] = 0
    records = [measure_picture(Stub(), rgb, seed=[1], attacks=("none",)) for rgb in (host, black)]
    found = summarise(records)
    assert (found["pictures"], found["refused"]) == (2, 1)
    assert found["refusals"] == ["a black corner"]
    row = found["attacks"]["none"]
    assert (row["n"], row["exact"], row["exact_of_all"]) == (1, 1.0, 0.5)


def test_a_run_with_every_picture_refused_still_has_a_summary() -> None:
    records = [{"refused": "flat", "unmarked": {"n": 2, "claims": 0}}]
    assert summarise(records)["psnr"] is None


def test_payloads_have_the_length_of_the_method_and_follow_the_seed() -> None:
    drawn = [draw_payload(Stub(), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert len(drawn[0]) == 12


def test_only_a_read_id_is_a_payload() -> None:
    assert read_id(None) is None
    bits = np.unpackbits(np.frombuffer(bytes.fromhex("0123456789ab"), np.uint8))
    assert np.array_equal(read_id(SimpleNamespace(mark_id="0123456789ab")), bits)
    assert read_id(SimpleNamespace(mark_id=None)) is None


def test_the_stated_threshold_is_where_the_bound_reaches_one_in_a_million() -> None:
    assert state_threshold(4 * 8 * 8 * 16384) == pytest.approx(7.63, abs=0.01)
    assert 16384 * np.exp(-(state_threshold(16384) ** 2) / 2) == pytest.approx(1e-6)


def test_the_sets_are_apart_and_large_enough() -> None:
    tuning, benchmark = pictures.list_pictures("tuning"), pictures.list_pictures("benchmark")
    everything = [*tuning, *benchmark]
    assert len(benchmark) >= 100
    assert len({listed.name for listed in everything}) == len(everything)
    assert not {row.sha256 for row in tuning} & {row.sha256 for row in benchmark}
    assert {row.kind for row in benchmark} == set(pictures.CLASSES)

    def people(rows: list[pictures.Listed]) -> set[str]:
        return {row.name.split("_")[0] for row in rows if row.kind == "face photo"}

    assert len(people(tuning)) == 12
    assert not people(tuning) & people(benchmark)


def test_the_first_pictures_are_a_fair_sample() -> None:
    benchmark = pictures.list_pictures("benchmark")
    assert list(pictures.spread(benchmark)) == benchmark
    half = benchmark[: len(benchmark) // 2]
    for kind in pictures.CLASSES:
        whole = sum(row.kind == kind for row in benchmark)
        assert sum(row.kind == kind for row in half) == pytest.approx(whole / 2, abs=1)


IN_REACH = [row for row in pictures.list_pictures() if row.file.startswith(("docs/", "skimage/"))]


@pytest.mark.parametrize("listed", IN_REACH, ids=lambda listed: listed.name)
def test_a_listed_picture_is_the_file_it_names(listed: pictures.Listed) -> None:
    rgb = pictures.load(listed)
    assert rgb.dtype == np.uint8
    assert min(rgb.shape[:2]) >= pictures.MIN_SIDE_PX
    if listed.box:
        assert rgb.shape[:2] == listed.box[2:]


def test_a_changed_file_is_refused() -> None:
    listed = IN_REACH[0]
    changed = pictures.Listed(listed.name, listed.file, "0" * 64, listed.set, listed.kind)
    with pytest.raises(pictures.PictureChanged, match="not the file"):
        pictures.load(changed)


def test_without_the_photographs_of_people_the_choice_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = pictures.find_file
    monkeypatch.setattr(
        pictures,
        "find_file",
        lambda listed: None if listed.file.startswith("shared/") else find(listed),
    )
    chosen, note = pictures.choose("benchmark")
    assert "photographs of people are not here" in note
    assert {row.kind for row in chosen} == set(pictures.CLASSES) - {"face photo"}
    assert pictures.choose("benchmark", 3)[1].startswith("the first 3 of")


@pytest.mark.parametrize("name", PEERS)
def test_a_missing_tool_is_left_out_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(PeerMissing, match=f"{name} is left out: No module named"):
        open_peer(name)


def test_every_tool_has_a_payload_length() -> None:
    assert set(BITS) == set(PEERS)


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    head = {"version": "1"}
    results = Results(tmp_path, "m", head)
    results.add("a", {"psnr": 1})
    results.add("b", {"psnr": 2})
    path = tmp_path / "m.jsonl"
    path.write_text(path.read_text() + '{"picture": "c", "rec')
    again = Results(tmp_path, "m", head)
    assert set(again.records) == {"a", "b"}
    again.add("c", {"psnr": 3})
    kept = read_results(tmp_path, "m")
    assert kept is not None
    assert [kept.records[key]["psnr"] for key in "abc"] == [1, 2, 3]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_results_of_another_version_are_not_mixed_in(tmp_path: Path) -> None:
    Results(tmp_path, "m", {"version": "1"}).add("a", {})
    newer = Results(tmp_path, "m", {"version": "2"})
    assert newer.records == {}
    newer.add("b", {})
    kept = read_results(tmp_path, "m")
    assert kept is not None
    assert (kept.head, set(kept.records)) == ({"version": "2"}, {"b"})


def test_a_part_is_kept_with_its_head(tmp_path: Path) -> None:
    assert read_part(tmp_path, "claims") is None
    write_part(tmp_path, "claims", {"version": "1"}, {"n": 3})
    kept = read_part(tmp_path, "claims")
    assert kept is not None
    assert (kept.head, kept.found) == ({"version": "1"}, {"n": 3})
    (tmp_path / "claims.json").write_text('{"head": {')
    assert read_part(tmp_path, "claims") is None
