"""What a style costs and gives: `python -m benchmarks.generator.style [--docs]`.

Rendered people who were not trained on are drawn in the shipped styles: by the network with alpha 1
(`adain`) and with its own (`iast`), at four strengths, and, as the reference, by optimising pixels
(`gram`). Each drawing is compared with the picture it was made of: SSIM and feature distance in the
face's square, identity by both judges (neither judge is at home with drawings), landmarks after the
best similarity; and with the style. `idnet` and the style distance are losses of the network too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.generator.judges import JUDGES, Judged, Judges, distance
from benchmarks.generator.pixels import ssim
from generator.faces import Face, FaceAnalyser, Frame, open_analyser
from generator.gram import GramSettings, optimise
from generator.ledger_pair import LedgerPair
from generator.style_flow import Drawing, Motion, find_motion, flicker, follow
from generator.style_losses import StyleJudge, content_loss, residual
from generator.style_samples import mark_regions
from generator.styles import SIDE_PX, load_card, open_style
from generator.stylise import Fusion, Sketch, StyleSwapper, open_stylise
from generator.train_detail import ROOT, list_files
from provenance.data_ledger import AdmittedPicture, DataLedger
from provenance.data_sets import list_demo

Image = npt.NDArray[np.float32]
FUSIONS: Final[tuple[Fusion, ...]] = ("adain", "iast")
STRENGTHS: Final = (0.25, 0.5, 0.75, 1.0)
PEOPLE, FRAMES = 4, 8
CELL_PX: Final = 120
PAGE: Final = ROOT / "docs" / "benchmarks" / "generator" / "style.md"
COLUMNS: Final = ("ssim", "idnet", "faceres", "features", "style", "landmarks", "ms")


class Bench:
    """The judges, and one pair of the data ledger for each person."""

    def __init__(self, analyser: FaceAnalyser) -> None:
        self.judges, self.style_judge = Judges(analyser), StyleJudge()

    def compare(self, image: Image, sketch: Sketch, before: Judged, style: str) -> dict[str, float]:
        """Return the figures of a square (256, 256, 3), 0..255, that was drawn of a sketch."""
        content = sketch.drawing.content
        drawn, plain = _tensor(image), _tensor(content)
        with torch.no_grad():
            seen, own = self.style_judge.look(drawn), self.style_judge.look(plain)
            wanted = self.style_judge.study(_tensor(open_style(style).picture.astype(np.float32)))
            figures = {
                "ssim": ssim(image, content),
                "features": float(content_loss(seen, own)),
                "style": float(self.style_judge.texture_loss(drawn, wanted)),
            }
        after = self.judges.look(np.clip(np.round(image), 0, 255).astype(np.uint8))
        if after is not None:
            meshes = [torch.from_numpy(j.face.mesh[:, :2].copy()) for j in (after, before)]
            figures["landmarks"] = float(residual(*meshes))
            figures |= {judge: distance(judge, after, before) for judge in JUDGES}
        return figures


def open_people(analyser: FaceAnalyser, now: datetime) -> list[tuple[AdmittedPicture, Face]]:
    """Return test people's pictures with their one face, or validation people's without a set."""
    files = list_files("test")
    ledger, found = DataLedger(row for _, row in files), []
    for path, row in files[:: max(1, len(files) // (3 * PEOPLE))]:
        if "+" in row.person or (row.set == "demo" and row.person[-1] not in "678"):
            continue
        picture = ledger.admit(path.read_bytes(), path.name, purpose="evaluation", now=now)
        faces = analyser.analyse(picture.frame)
        if len(faces) == 1:
            found.append((picture, faces[0]))
        if len(found) == PEOPLE:
            break
    return found


def measure(now: datetime) -> tuple[dict[str, Any], Frame]:
    """Return rows of figures, alpha by place and temporal figures, and the contact sheet."""
    analyser, names = open_analyser(), tuple(load_card().styles)
    bench, rows = Bench(analyser), dict[str, list[dict[str, float]]]()
    alphas: list[dict[str, float]] = []
    sheet: list[Frame] = []
    for number, (picture, face) in enumerate(open_people(analyser, now)):
        pair, cells = LedgerPair(picture, picture, face, face), []
        for place, name in enumerate(names):
            swapper = open_stylise(name, strength=1.0)
            sketch = swapper.sketch(pair)
            square = np.clip(np.round(sketch.drawing.content), 0, 255).astype(np.uint8)
            before = bench.judges.look(square)
            if before is None:
                break
            for row, image, spent in _drawings(name, pair, with_gram=place % 4 == number % 4):
                told = {"ms": 1e3 * spent, **bench.compare(image, sketch, before, name)}
                rows.setdefault(row, []).append(told)
                if row == "iast 1":
                    cells.append(image)
            alphas.append(_alpha(sketch))
        sheet.append(_line([sketch.drawing.content, *cells]))
    means = {row: _means(told) for row, told in rows.items()}
    figures = {"rows": means, "alpha": _means(alphas), "temporal": temporal(analyser, now)}
    return figures, np.vstack(sheet)


def temporal(analyser: FaceAnalyser, now: datetime) -> dict[str, float]:
    """Return the flicker of a rendered clip in grey levels: the clip's own, frames alone, followed.

    Frames of the demo clip where it lies beside the repository; nothing without it.
    """
    files = [(path, row) for path, row in list_demo(ROOT) if "clip" in row.path][:FRAMES]
    ledger = DataLedger(row for _, row in files)
    swapper, sketches = open_stylise("oil", strength=1.0), list[Sketch]()
    for path, _ in files:
        shown = ledger.admit(path.read_bytes(), path.name, purpose="evaluation", now=now)
        faces = analyser.analyse(shown.frame)
        if len(faces) == 1:
            sketches.append(swapper.sketch(LedgerPair(shown, shown, faces[0], faces[0])))
    drawings = [sketch.drawing for sketch in sketches]
    followed = [
        follow(drawings[max(0, n - swapper.looks_back) : n + 1]) for n in range(len(drawings))
    ]
    ways = {
        "own": [d.content for d in drawings],
        "alone": [d.image for d in drawings],
        "followed": [d.image for d in followed],
    }
    whole = np.ones((SIDE_PX, SIDE_PX), np.float32)
    motions: list[Motion] = [find_motion(b.content, a.content) for a, b in pairwise(drawings)]
    return {
        way: float(
            np.mean([flicker(b, a, m, whole) for a, b, m in zip(p, p[1:], motions, strict=False)])
        )
        for way, p in ways.items()
        if motions
    }


def _drawings(
    name: str, pair: LedgerPair, *, with_gram: bool
) -> Iterator[tuple[str, Image, float]]:
    """Yield row, square and seconds of every way to draw one face in one style."""
    for fusion in FUSIONS:
        for strength in STRENGTHS:
            swapper = open_stylise(name, strength=strength, fusion=fusion)
            drawing, spent = _timed(swapper, pair)
            yield f"{fusion} {strength:g}", drawing.image, spent
    if with_gram:
        content, began = _tensor(drawing.content), time.perf_counter()
        style = _tensor(open_style(name).picture.astype(np.float32))
        made = optimise(content, style, StyleJudge(), GramSettings(steps=60))
        image = (made.image[0].permute(1, 2, 0).numpy() + 1) * np.float32(127.5)
        yield "gram", np.ascontiguousarray(image), time.perf_counter() - began


def _timed(swapper: StyleSwapper, pair: LedgerPair) -> tuple[Drawing, float]:
    began = time.perf_counter()
    drawing = swapper.sketch(pair).drawing
    return drawing, time.perf_counter() - began


def _alpha(sketch: Sketch) -> dict[str, float]:
    """Return the mean of alpha on skin, on eyes, lips and brows, and outside of the face."""
    alpha = sketch.drawing.alpha
    mesh = sketch.square.place(sketch.mesh)
    regions = mark_regions(mesh).astype(np.float32) / 255
    features, skin = regions[..., :3].max(-1), regions[..., 3]
    outside = np.clip(1 - features - skin, 0, 1)
    outside[SIDE_PX // 3 :] = 0  # above the brows it is hair, on most of these people
    places = {"skin": skin, "features": features, "above the face": outside}
    return {
        place: float((alpha * where).sum() / max(float(where.sum()), 1.0))
        for place, where in places.items()
    }


def _tensor(picture: Image) -> torch.Tensor:
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32)
    return torch.from_numpy(planes)[None] / 127.5 - 1


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    told = {n: [row[n] for row in rows if n in row] for n in names}
    return {n: round(float(np.mean(v)), 4) for n, v in told.items()} | {"n": len(rows)}


def _line(squares: Sequence[Image]) -> Frame:
    size = CELL_PX, CELL_PX
    small = [cv2.resize(square, size, interpolation=cv2.INTER_AREA) for square in squares]
    return np.clip(np.round(np.hstack(small)), 0, 255).astype(np.uint8)


def write_page(figures: dict[str, Any], path: Path = PAGE) -> None:
    """Write the figures as Markdown."""
    lines = ["# Styles", "", "Made by `python -m benchmarks.generator.style --docs`.", ""]
    lines += ["| row | " + " | ".join(COLUMNS) + " | n |", "|---|" + "---|" * (len(COLUMNS) + 1)]
    for row, told in figures["rows"].items():
        cells = [f"{told[c]:.3g}" if c in told else "-" for c in (*COLUMNS, "n")]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    for what in ("alpha", "temporal"):
        shown = ", ".join(f"{name} {value:.3g}" for name, value in figures[what].items())
        lines += ["", f"{what.capitalize()}: {shown or 'not measured'}."]
    lines += ["", "![Left the picture, then iast at strength 1 in every style](style.webp)"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generator.style")
    parser.add_argument("--docs", action="store_true", help="also write the page and its sheet")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    figures, sheet = measure(datetime.now(UTC))
    print(json.dumps(figures, indent=1))
    if options.docs:
        write_page(figures)
        cv2.imwrite(str(PAGE.with_suffix(".webp")), sheet, [cv2.IMWRITE_WEBP_QUALITY, 82])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
