"""What the invisible mark survives, what it costs, and how often it claims too much.

    python -m benchmarks.watermark                     # table, the people of docs/demo
    python -m benchmarks.watermark --json              # the same as JSON
    python -m benchmarks.watermark --marked DIR --unmarked DIR   # more pictures

Method: each picture of `--marked` gets a mark with its own random id under a real (synthetic)
warrant; every attack is applied to the marked pixels and read once. An id that is read but not the
one embedded is counted as wrong, apart from not read. Claims are counted on pictures that never had
a mark (synthetic, scikit-image's, and `--unmarked`, also cut up and as JPEG 70), and on marked
pictures read with other keys. Seeds are fixed, one thread, median of repeated timings.
0 claims in n bounds the rate only at 3 / n; the stated 1e-6 rests on the bound, not on n.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data as pictures
from skimage.metrics import structural_similarity

from policies.warrants import ActiveWarrant
from provenance.errors import MarkError
from provenance.media import decode
from provenance.pixels import Frame
from provenance.watermark.payload import issue_payload
from provenance.watermark.spread import MAX_FALSE_PRESENCE, TILE_PX, SpreadMark

ROOT = Path(__file__).parent.parent
KEY = bytes(range(32))
WRONG_KEYS = 50


def recode(frame: Frame, kind: str, **options: Any) -> Frame:
    out = io.BytesIO()
    Image.fromarray(frame[..., ::-1]).save(out, kind, **options)
    with Image.open(io.BytesIO(out.getvalue())) as image:
        return np.asarray(image.convert("RGB"))[..., ::-1].copy()


def jpeg(frame: Frame, quality: int) -> Frame:
    return recode(frame, "JPEG", quality=quality, subsampling=2)


def resize_and_back(frame: Frame, share: float) -> Frame:
    h, w = frame.shape[:2]
    small = Image.fromarray(frame).resize((round(w * share), round(h * share)), Image.LANCZOS)
    return np.asarray(small.resize((w, h), Image.BICUBIC))


def crop(frame: Frame, share: float) -> Frame:
    y, x = (int(n * (1 - share) / 2) for n in frame.shape[:2])
    return np.ascontiguousarray(frame[y : frame.shape[0] - y, x : frame.shape[1] - x])


def noise(frame: Frame, sigma: float) -> Frame:
    added = frame + np.random.default_rng(1).normal(0, sigma, frame.shape)
    return np.clip(added, 0, 255).astype(np.uint8)


# The first five rows are promised; the others show where it ends.
ATTACKS: dict[str, Callable[[Frame], Frame]] = {
    "none": lambda f: f,
    "jpeg70": lambda f: jpeg(f, 70),
    "webp80": lambda f: recode(f, "WEBP", quality=80),
    "resize.5back": lambda f: resize_and_back(f, 0.5),
    "crop80": lambda f: crop(f, 0.8),
    "jpeg50": lambda f: jpeg(f, 50),
    "jpeg30": lambda f: jpeg(f, 30),
    "webp50": lambda f: recode(f, "WEBP", quality=50),
    "resize.25back": lambda f: resize_and_back(f, 0.25),
    "crop50": lambda f: crop(f, 0.5),
    "noise10": lambda f: noise(f, 10),
    "blur2": lambda f: cv2.GaussianBlur(f, (0, 0), 2.0),
    "bright+20": lambda f: np.clip(f * 1.2, 0, 255).astype(np.uint8),
    "jpg50+rs.5+crop90": lambda f: crop(jpeg(resize_and_back(f, 0.5), 50), 0.9),
    "resize.5 (not restored)": lambda f: cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=3),
    "rot2": lambda f: np.asarray(Image.fromarray(f).rotate(2, Image.BICUBIC)),
    "hflip": lambda f: np.ascontiguousarray(f[:, ::-1]),
}


def open_warrant() -> ActiveWarrant:
    """A warrant between two invented people, from the office the tests use."""
    spec = importlib.util.spec_from_file_location("office", ROOT / "tests" / "conftest.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/conftest.py is missing")
    module = sys.modules["office"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    office = module.Office()
    request = office.swap_request()
    warrant: ActiveWarrant = office.desk.start(office.desk.admit(request, office.measured(request)))
    return warrant


def load(folder: Path) -> list[Frame]:
    names = sorted(p for p in folder.iterdir() if p.suffix in {".webp", ".png", ".jpg"})
    return [decode(path.read_bytes()).frame for path in names]


def psnr(a: Frame, b: Frame) -> float:
    return 10 * math.log10(255**2 / float(np.mean((a.astype(float) - b) ** 2)))


def wilson(hits: int, n: int) -> list[float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z2 = 1.96**2
    middle = (hits + z2 / 2) / (n + z2)
    half = 1.96 * math.sqrt(hits * (n - hits) / n + z2 / 4) / (n + z2)
    return [round(middle - half, 4), round(middle + half, 4)]


def measure_survival(
    mark: SpreadMark, frames: Sequence[Frame]
) -> tuple[dict[str, Any], list[Frame]]:
    rng, warrant = np.random.default_rng(7), open_warrant()
    rows: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in ATTACKS}
    quality: list[tuple[float, float]] = []
    marked, refused = [], 0
    for frame in frames:
        payload = issue_payload(warrant, rng=rng.bytes)
        try:
            marked.append(mark.embed(frame, payload))
        except MarkError:
            refused += 1
            continue
        similarity = structural_similarity(frame, marked[-1], channel_axis=2)
        quality.append((psnr(marked[-1], frame), float(similarity)))
        for name, attack in ATTACKS.items():
            copy = attack(marked[-1])
            found = mark.detect(copy)
            exact = found is not None and found.mark_id == payload.mark_id
            wrong = found is not None and found.mark_id not in {None, payload.mark_id}
            rows[name].append((exact, wrong, mark.measure_presence(copy)))
    n, found_psnr, found_ssim = len(marked), *zip(*quality, strict=True)
    attacks = {
        name: {
            "exact": sum(exact for exact, _, _ in row) / n,
            "interval": wilson(sum(exact for exact, _, _ in row), n),
            "wrong_ids": sum(wrong for _, wrong, _ in row),
            "statistic_min": round(min(z for _, _, z in row), 2),
        }
        for name, row in rows.items()
    }
    return {
        "pictures": n,
        "refused": refused,
        "psnr_db": {"mean": round(float(np.mean(found_psnr)), 3), "min": round(min(found_psnr), 3)},
        "ssim": {"mean": round(float(np.mean(found_ssim)), 4), "min": round(min(found_ssim), 4)},
        "attacks": attacks,
    }, marked


def synthetic() -> Iterator[Frame]:
    """Hosts that a periodic reader might mistake: flats, ramps, waves, checks, noise, text."""
    rng = np.random.default_rng(6)
    y, x = np.mgrid[0:384, 0:384]
    planes: list[np.ndarray] = [np.full((384, 384), v) for v in (0, 1, 77, 128, 254, 255)]
    planes += [(x * a + y * b) * 255 / (383 * (a + b)) for a, b in ((1, 0), (0, 1), (1, 1), (1, 3))]
    for period in (2, 3, 4, 5, 7, 8, 11, 16, 24, 32, 64, 128):
        planes += [127 + 120 * np.sin(2 * np.pi * (x + k * y) / period) for k in (0, 0.4, 1)]
        planes.append((x // period + y // period) % 2 * 255)
    planes += [rng.normal(128, sigma, (384, 384)) for sigma in (2, 10, 40, 100) for _ in range(10)]
    planes += [np.tile(rng.integers(0, 256, (t, t)), (6, 6)) for t in (64, 96, 128, 256)]
    planes += [np.tile(rng.normal(128, 30, (TILE_PX, TILE_PX)), (4, 4)) for _ in range(40)]
    for plane in planes:
        grey = np.clip(plane, 0, 255).astype(np.uint8)
        yield np.repeat(grey[..., None], 3, axis=2)


def unmarked(folders: Sequence[Path]) -> Iterator[Frame]:
    yield from synthetic()
    names = "astronaut brick camera cell chelsea clock coffee coins grass gravel hubble_deep_field"
    for name in [*names.split(), "moon", "page", "retina", "rocket", "text"]:
        plane = np.asarray(getattr(pictures, name)())
        frame = np.repeat(plane[..., None], 3, axis=2) if plane.ndim == 2 else plane[..., 2::-1]
        yield np.ascontiguousarray(frame)
        for y in range(0, frame.shape[0] - 255, 256):
            for x in range(0, frame.shape[1] - 255, 256):
                yield np.ascontiguousarray(frame[y : y + 256, x : x + 256])
    for folder in folders:
        yield from load(folder)


def measure_claims(
    mark: SpreadMark, folders: Sequence[Path], marked: list[Frame]
) -> dict[str, Any]:
    claims, statistics = 0, []
    for frame in unmarked(folders):
        for view in (frame, jpeg(frame, 70)):
            statistics.append(mark.measure_presence(view))
            claims += mark.detect(view) is not None
    keys = [SpreadMark(key=bytes([i]) * 32) for i in range(1, WRONG_KEYS + 1)]
    wrong = [key.measure_presence(frame) for frame in marked for key in keys]
    threshold = math.sqrt(2 * math.log(TILE_PX**2 / MAX_FALSE_PRESENCE))
    return {
        "threshold": round(threshold, 3),
        "searched": TILE_PX**2,
        "unmarked": {"n": len(statistics), "claims": claims, "max": round(max(statistics), 3)},
        "wrong_keys": {
            "n": len(wrong),
            "claims": sum(z >= threshold for z in wrong),
            "max": round(max(wrong), 3),
        },
    }


def measure_time(mark: SpreadMark, repeats: int = 9) -> dict[str, Any]:
    payload = issue_payload(open_warrant(), rng=np.random.default_rng(9).bytes)
    retina = np.ascontiguousarray(pictures.retina()[..., ::-1])
    hosts = {"512x512": pictures.astronaut()[..., ::-1].copy()}
    hosts["1920x1080"] = cv2.resize(retina, (1920, 1080), interpolation=cv2.INTER_AREA)
    found: dict[str, Any] = {}
    for size, host in hosts.items():
        marked = mark.embed(host, payload)
        steps = {
            "embed": lambda h=host: mark.embed(h, payload),
            "detect": lambda m=marked: mark.detect(m),
        }
        for step, call in steps.items():
            taken = []
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                taken.append(1000 * (time.perf_counter() - start))
            low, middle, high = np.percentile(taken, [25, 50, 75])
            found[f"{step} {size} ms"] = {"median": round(middle, 1), "iqr": round(high - low, 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--marked", type=Path, default=ROOT / "docs" / "demo")
    parser.add_argument("--unmarked", type=Path, action="append", default=[])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    mark = SpreadMark(key=KEY)
    survival, marked = measure_survival(mark, load(options.marked))
    result = {
        "survival": survival,
        "claims": measure_claims(mark, [options.marked, *options.unmarked], marked),
        "time": measure_time(mark),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), "numpy": np.__version__}
        | {"opencv": cv2.__version__, "pillow": Image.__version__},
    }
    print(json.dumps(result, indent=1) if options.json else render_table(result))


def render_table(result: dict[str, Any]) -> str:
    survival = result["survival"]
    lines = ["| attack | exact | wrong ids | lowest z |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['exact']:.1%} | {row['wrong_ids']} | {row['statistic_min']} |"
        for name, row in survival["attacks"].items()
    ]
    rest = {key: survival[key] for key in ("pictures", "refused", "psnr_db", "ssim")}
    return "\n".join(
        [*lines, json.dumps(rest), json.dumps(result["claims"]), json.dumps(result["time"])]
    )


if __name__ == "__main__":
    main()
