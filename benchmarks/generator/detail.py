"""What MDRN gives back: `python -m benchmarks.generator.detail`.

Sharp rendered pictures of people who were not trained on are spoilt as a swap would spoil them,
always in the same way, and restored: left alone (`none`), by unsharp masking (of 12 settings the
most coherent, chosen with the answers in view, which flatters it) and by `mdrn`. Each is compared
with the sharp picture on skin, and within 20 px of the corners of eyes, nose and mouth. Prints
means, and for coherence the gain over the two rivals with 95 % intervals: people are drawn again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.generator.bands import Detail, compare_detail, sharpen, skin_mask
from generator.detail import LEVEL, WEIGHTS
from generator.detail_samples import FAVOURED, KINDS, Batch, Kind, Sample, SampleSet, build_samples
from generator.faces import open_analyser
from generator.runtime import Network, open_network
from generator.topology import draw_outlines
from generator.train_detail import list_files
from provenance.data_sets import Split

AMOUNTS, RADII_PX = (0.3, 0.7, 1.2, 2.0), (0.8, 1.2, 2.0)
UNSHARP: Final = tuple(f"unsharp {a:g} at {r:g} px" for a in AMOUNTS for r in RADII_PX)
CORNER_PX: Final = 20
DRAWS: Final = 2000

Image = npt.NDArray[np.float32]


class Result(NamedTuple):
    """One sample: who it shows, and row -> place -> figures; places are `skin` and `corners`."""

    person: str
    rows: Mapping[str, Mapping[str, Detail]]


def restore_all(samples: SampleSet, kind: Kind, network: Network) -> list[Result]:
    """Return the results of every sample of a kind."""
    pairs = zip(samples.of(kind), samples.whole(kind, 1), strict=True)
    return [_restore(sample, batch, network) for sample, batch in pairs]


def summarise(results: Sequence[Result], place: str) -> dict[str, Any]:
    """Return row -> means per level, and the gains of `mdrn` in coherence with their intervals."""
    coherence = {row: _figures(results, row, place, "coherence") for row in results[0].rows}
    best = max(UNSHARP, key=lambda row: float(np.nanmean(coherence[row])))
    out: dict[str, Any] = {"samples": len(results), "people": len({r.person for r in results})}
    for row in ("none", best, "mdrn"):
        out[row] = {
            name: np.nanmean(_figures(results, row, place, name), 0).round(3).tolist()
            for name in ("coherence", "octaves", "ratio")
        }
    people = [result.person for result in results]
    for rival in ("none", best):
        gain = coherence["mdrn"] - coherence[rival]
        out[f"gain over {rival}"] = [_interval(gain[:, level], people) for level in range(3)]
    return out


def _restore(sample: Sample, batch: Batch, network: Network) -> Result:
    shown, guide, mask = (value.numpy() for value in (batch.picture, batch.guide, batch.mask))
    made = network.run(picture=shown, target=guide, mask=mask)["image"]
    before, after, label = (_pixels(value) for value in (shown, made, batch.label.numpy()))
    pictures = {"none": before, "mdrn": after}
    settings = [(amount, radius) for amount in AMOUNTS for radius in RADII_PX]
    for name, (amount, radius) in zip(UNSHARP, settings, strict=True):
        pictures[name] = sharpen(before, mask[0, 0], amount, radius)
    lines = draw_outlines(sample.points)
    skin = skin_mask(mask[0, 0], [*lines.sockets, lines.lips, lines.nose])
    y, x = np.indices(skin.shape)
    near = [np.hypot(x - px, y - py) < CORNER_PX for px, py in sample.points[list(FAVOURED)]]
    places = {"skin": skin, "corners": skin_mask(mask[0, 0]) & np.logical_or.reduce(near)}
    return Result(
        sample.person,
        {
            row: {name: compare_detail(picture, label, where) for name, where in places.items()}
            for row, picture in pictures.items()
        },
    )


def _pixels(value: Image) -> Image:
    return np.asarray((value[0].transpose(1, 2, 0) + 1) * LEVEL, np.float32)


def _figures(results: Sequence[Result], row: str, place: str, name: str) -> npt.NDArray[np.float64]:
    """Return a figure of every sample, (n, 3), finest level first."""
    return np.array([getattr(result.rows[row][place], name) for result in results])


def _interval(values: npt.NDArray[np.float64], people: Sequence[str]) -> dict[str, float]:
    known = np.isfinite(values)
    values, people = values[known], [p for p, k in zip(people, known, strict=True) if k]
    if not len(values):
        return {"n": 0}
    rng, names = np.random.default_rng(0), sorted(set(people))
    groups = [values[[p == name for p in people]] for name in names]
    means = [
        np.concatenate([groups[k] for k in rng.integers(0, len(names), len(names))]).mean()
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    mean, low, high = (round(float(value), 4) for value in (values.mean(), low, high))
    return {"mean": mean, "low": low, "high": high, "n": len(values)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the shipped weights on validation and test people; print JSON, one line a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator.detail")
    parser.parse_args(arguments)
    network, analyser = open_network(WEIGHTS), open_analyser()
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        files = [
            (path, row)
            for path, row in list_files(split)
            if split == "validation" or row.set == "personas"
        ]
        now = datetime.now(UTC)
        samples = build_samples(files, split, analyser, purpose="evaluation", now=now, seed=0)
        for kind in KINDS:
            if results := restore_all(samples, kind, network):
                for place in ("skin", "corners"):
                    table = summarise(results, place)
                    print(json.dumps({"split": split, "kind": kind, "place": place, **table}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
