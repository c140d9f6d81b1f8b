"""What signing, reading, verifying and recovering cost, beside the bare C2PA library.

    python -m benchmarks.provenance                 # table
    python -m benchmarks.provenance --json          # the same as JSON
    python -m benchmarks.provenance --entries 100000 --repeats 3

Method: one 1080p picture, rendered (a person of docs/demo enlarged, with noise, so that files are
as large as photographs). "Bare" is c2pa-python in the same process on the same bytes with the same
ingredients and key; ours adds the warrant's checks, the lint and the reading back. One warm-up,
then the median of the repeats; the two are timed in turns, so that a busy machine slows both.
Recovery: a register of random fingerprints in SQLite, queries 20 bits away from an entry. Memory is
the process's highest resident size. Single figures on a shared machine move by a third.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import io
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c2pa
import cv2
import numpy as np
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from benchmarks import clips
from policies.database import Database
from policies.digest import sha256_hex
from policies.tables import RELEASE
from provenance import press as steps
from provenance.c2pa import read_manifest
from provenance.containers import Mime
from provenance.fingerprints import Fingerprint
from provenance.media import Picture, decode, encode
from provenance.recovery import recover
from provenance.registry import Registry
from provenance.release import release

ROOT = Path(__file__).parent.parent
SIZE = (1920, 1080)
MIMES: tuple[Mime, ...] = ("image/jpeg", "image/png", "image/webp")
GOALS = {
    "sign_ratio": 1.5,
    "read_ratio": 2.0,
    "manifest_bytes": 20_000,
    "lookup_ms": 20.0,
    "large_mb": clips.MEMORY_GOAL_MB,
}
_BATCH = 50_000


def load_office() -> Any:
    """The tests' office: a deployment in memory, with invented people."""
    spec = importlib.util.spec_from_file_location("office", ROOT / "tests" / "conftest.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/conftest.py is missing")
    module = sys.modules["office"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture_1080p(name: str, mime: Mime) -> Picture:
    """A rendered person at 1920 x 1080, with a little noise, as a file of that type."""
    frame = decode((ROOT / "docs" / "demo" / f"{name}.webp").read_bytes()).frame
    large = cv2.resize(frame, (SIZE[0], SIZE[0]), interpolation=cv2.INTER_CUBIC)[: SIZE[1]]
    noise = np.random.default_rng(4).normal(0, 2, large.shape)
    return decode(encode(np.clip(large + noise, 0, 255).astype(np.uint8), mime))


def in_turns(repeats: int, **calls: Callable[[], object]) -> dict[str, float]:
    """Return the median milliseconds of each call; they take turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first is the warm-up
                found[name].append((time.perf_counter() - start) * 1000)
    return {name: median(times) for name, times in found.items()}


def sign_bare(data: bytes, studio: Any, target: Picture, source: Picture) -> bytes:
    """Sign with the library alone: same key, same ingredients, no checks of ours."""

    def sign(claim: bytes) -> bytes:
        r, s = decode_dss_signature(studio.pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    definition = {
        "claim_generator_info": [{"name": "bare", "version": "1"}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {
                    "actions": [
                        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["target"]}}
                    ]
                },
            }
        ],
    }
    settings = {
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"},
    }
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(
            sign, c2pa.C2paSigningAlg.ES256, studio.pki.chain.pem, None
        ) as signer,
        c2pa.Builder(definition, context=context) as builder,
    ):
        for label, relation, picture in (
            ("target", "parentOf", target),
            ("source", "componentOf", source),
        ):
            described = {"title": label, "label": label, "relationship": relation}
            builder.add_ingredient(described, picture.mime, io.BytesIO(picture.data))
        builder.sign(signer, decode(data).mime, io.BytesIO(data), out)
    return out.getvalue()


def read_bare(data: bytes, mime: str, anchors: str) -> None:
    settings = {
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1", "trust_anchors": anchors},
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader(mime, io.BytesIO(data), context=context) as reader,
    ):
        json.loads(reader.json())


def measure_signing(
    studio: Any, source: Picture, target: Picture, repeats: int
) -> tuple[dict[str, float], float, Any]:
    """Time the signing step inside whole releases, and the library on the same marked bytes."""
    real = steps.sign_manifest
    ours: list[float] = []
    bare: list[float] = []
    whole: list[float] = []
    marked: list[bytes] = []

    def timed(data: bytes, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        signed = real(data, *arguments, **options)
        ours.append((time.perf_counter() - start) * 1000)
        marked.append(data)
        return signed

    steps.sign_manifest = timed
    try:
        for _ in range(repeats + 1):
            draft = studio.draft(source=source, target=target, frame=target.frame)
            start = time.perf_counter()
            out = release(draft, press=studio.press)
            whole.append((time.perf_counter() - start) * 1000)
            start = time.perf_counter()
            sign_bare(marked[-1], studio, target, source)
            bare.append((time.perf_counter() - start) * 1000)
    finally:
        steps.sign_manifest = real
    times = {"bare": median(bare[1:]), "ours": median(ours[1:])}  # the first is the warm-up
    return times, median(whole[1:]), out


def median(times: list[float]) -> float:
    return round(statistics.median(times), 2)


def measure_type(studio: Any, mime: Mime, repeats: int) -> dict[str, Any]:
    source, target = picture_1080p("persona1_0", mime), picture_1080p("persona2_0", mime)
    signing, whole, out = measure_signing(studio, source, target, repeats)
    row = studio.registry.by_mark(out.mark_id)
    reading = in_turns(
        repeats,
        bare=lambda: read_bare(out.data, mime, studio.pki.anchors.pem),
        ours=lambda: read_manifest(out.data, mime, anchors=studio.pki.anchors),
    )
    stripped = encode(decode(out.data).frame, mime)
    small = cv2.resize(decode(out.data).frame, (480, 270), interpolation=cv2.INTER_AREA)
    verifying = in_turns(
        max(1, repeats // 2),
        whole=lambda: studio.verifier.verify(out.data),
        recovered_by_mark=lambda: studio.verifier.verify(stripped),
        recovered_by_fingerprint=lambda: recover(
            small, registry=studio.registry, store=studio.store
        ),
        **second_engine(out.data, mime, studio),
    )
    return {
        "file_bytes": len(out.data),
        "manifest_bytes": len(studio.store.get(row.manifest_sha256)),
        "sign_ms": signing,
        "sign_ratio": round(signing["ours"] / signing["bare"], 2),
        "read_ms": reading,
        "read_ratio": round(reading["ours"] / reading["bare"], 2),
        "release_ms": whole,
        "verify_ms": verifying,
    }


def second_engine(data: bytes, mime: str, studio: Any) -> dict[str, Callable[[], object]]:
    """Verify whole with the second engine beside the first, where it is installed."""
    if importlib.util.find_spec("encypher_c2pa") is None:
        return {}
    from provenance.second_engine import open_second_engine  # noqa: PLC0415 - optional

    verifier = dataclasses.replace(studio.verifier, second=open_second_engine())
    return {"whole_with_second_engine": lambda: verifier.verify(data)}


def fill(database: Database, entries: int) -> bytes:
    """Fill the register with random fingerprints; return them one after the other."""
    values = np.random.default_rng(5).bytes(32 * entries)
    for low in range(0, entries, _BATCH):
        rows = [
            {
                "mark_id": f"{number:012x}",
                "request_id": f"request-{number}",
                "warrant_id": f"{number:036x}",
                "manifest_id": f"urn:c2pa:{number}",
                "manifest_sha256": "0" * 64,
                "output_sha256": sha256_hex(b"%d" % number),
                "mime": "image/jpeg",
                "fingerprint": values[32 * number : 32 * number + 32].hex(),
                "log_index": number,
                "released_at": 1,
            }
            for number in range(low, min(low + _BATCH, entries))
        ]
        with database.transaction() as connection:
            connection.execute(sa.insert(RELEASE), rows)
    return values


def measure_lookup(entries: int, queries: int = 200) -> dict[str, Any]:
    """Time looking fingerprints and marks up in a register of so many releases."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/register.db")
        values = fill(database, entries)
        registry = Registry(database)
        start = time.perf_counter()
        registry.near([], limit=1)
        opening = time.perf_counter() - start
        rng = np.random.default_rng(6)
        near, by_mark, wrong = [], [], 0
        for _ in range(queries):
            number = int(rng.integers(entries))
            value = int.from_bytes(values[32 * number : 32 * number + 32], "big")
            for bit in rng.choice(256, 20, replace=False).tolist():
                value ^= 1 << bit
            start = time.perf_counter()
            found = registry.near([Fingerprint(f"{value:064x}", 100)], limit=10)
            near.append((time.perf_counter() - start) * 1000)
            wrong += [one.row.log_index for one in found] != [number]
            start = time.perf_counter()
            row = registry.by_mark(f"{number:012x}")
            by_mark.append((time.perf_counter() - start) * 1000)
            wrong += row is None or row.log_index != number
        database.close()
    return {
        "entries": entries,
        "queries": queries,
        "wrong": wrong,
        "open_s": round(opening, 2),
        "fingerprint_ms": quantiles(near),
        "mark_ms": quantiles(by_mark),
    }


def quantiles(times: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(times), 2),
        "p95": round(float(np.quantile(times, 0.95)), 2),
        "max": round(max(times), 2),
    }


def measure(entries: int, repeats: int) -> dict[str, Any]:
    office = load_office()
    pki = office.make_development_chain(organisation="Benchmark", now=office.machine_now())
    with tempfile.TemporaryDirectory() as folder:
        studio = office.Studio(pki, Path(folder))
        types: dict[str, Any] = {mime: measure_type(studio, mime, repeats) for mime in MIMES}
        types["video/mp4"] = clips.measure_clip(studio, Path(folder), repeats, in_turns)
    return {
        "machine": {"python": platform.python_version(), "system": platform.platform()},
        "goals": GOALS,
        "types": types,
        "lookup": measure_lookup(entries),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def show(result: dict[str, Any]) -> None:
    for mime, row in result["types"].items():
        print(f"{mime}: {row['file_bytes']:,} bytes, manifest {row['manifest_bytes']:,}")
        for name in ("sign", "read"):
            times = row[f"{name}_ms"]
            print(f"  {name:6} {times['ours']:8.1f} ms, bare {times['bare']:8.1f}", end="")
            print(f", {row[f'{name}_ratio']:.2f}x (goal {GOALS[f'{name}_ratio']}x)")
        if "large" in row:
            print(f"  verify, whole: {row['examine_ms']:.0f} ms")
            print(f"  500 MB: {row['large']} (goal {clips.MEMORY_GOAL_MB} MB)")
            continue
        print(f"  whole release {row['release_ms']:.0f} ms")
        for name, took in row["verify_ms"].items():
            print(f"  verify, {name}: {took:.1f} ms")
    lookup = result["lookup"]
    print(f"register of {lookup['entries']:,}: opened in {lookup['open_s']} s", end="")
    print(f", wrong answers {lookup['wrong']}")
    for name in ("fingerprint_ms", "mark_ms"):
        print(f"  {name} {lookup[name]} (goal {GOALS['lookup_ms']} ms)")
    print(f"peak memory {result['peak_mb']} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    result = measure(asked.entries, asked.repeats)
    if asked.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
