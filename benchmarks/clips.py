"""What a video's manifest costs beside the bare C2PA library, and what memory a large one takes.

Part of `python -m benchmarks.provenance`. Method: ten seconds of 1080p at 25 frames a second, coded
as a release is (`video_write`), from a rendered person that drifts. The large file is that video
with a second `mdat` of random bytes behind it, which is hashed like the first; it is signed and
read, and looked at as `verify` does, in processes of their own, whose most memory is reported. The
library is also timed with the same local time stamp, which is part of what we write.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import c2pa
import cv2
import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from provenance import pixels
from provenance import press as steps
from provenance.asset import VIDEO, opened
from provenance.c2pa import read_manifest
from provenance.chains import load_anchors
from provenance.clip import Form, open_clip
from provenance.clip_draft import ClipDraft
from provenance.clip_exchange import Colour
from provenance.draft import Maker
from provenance.exhibit import open_exhibit
from provenance.media import decode
from provenance.timestamps import serve_stamps
from provenance.video_write import encode_segment
from provenance.watermark import issue_payload

ROOT = Path(__file__).parent.parent
SECONDS, FPS, SIZE = 10, 25, (1920, 1080)
LOOKS = steps.Looks("0f" * 32, 1000 // FPS)
"""A stand-in fingerprint: signing costs the same, whatever picture it is of."""
LARGE_BYTES = 500_000_000
MEMORY_GOAL_MB = 300


def make_clip(path: Path) -> None:
    """Write the video: a person enlarged to 1080p who drifts a little, with fixed noise."""
    width, height = SIZE
    frame = decode((ROOT / "docs" / "demo" / "persona2_0.webp").read_bytes()).frame
    large = cv2.resize(frame, (width, width), interpolation=cv2.INTER_CUBIC)[:height]
    noise = np.random.default_rng(4).normal(0, 2, large.shape)
    still = np.clip(large + noise, 0, 255).astype(np.uint8)

    def frames() -> Iterator[tuple[int, Any]]:
        for number in range(SECONDS * FPS):
            shift = np.float32([[1, 0, 20 * np.sin(number / 20)], [0, 1, 0]])  # type: ignore[arg-type]
            yield number, cv2.warpAffine(still, shift, SIZE, borderMode=cv2.BORDER_REPLICATE)

    colour = Colour("tv", 1, 1, 1)
    form = Form(width, height, (1, FPS), colour, 0, (), SECONDS * FPS, SECONDS, 0, 1)
    path.write_bytes(encode_segment(frames(), form))


def enlarge(path: Path, out: Path) -> None:
    """Copy a video with another `mdat` behind it (ISO/IEC 14496-12, 8.1.1), to LARGE_BYTES."""
    room = LARGE_BYTES - path.stat().st_size
    with out.open("wb") as file:
        file.write(path.read_bytes())
        file.write(room.to_bytes(4, "big") + b"mdat")
        left = room - 8
        while left:
            piece = os.urandom(min(left, 1 << 20))
            file.write(piece)
            left -= len(piece)


def sign_bare(video: Path, out: Path, draft: ClipDraft, pki: Any, stamp_url: str | None) -> None:
    """Sign with the library alone: same key, same ingredients, no checks of ours."""

    def sign(claim: bytes) -> bytes:
        r, s = decode_dss_signature(pki.leaf_key.sign(claim, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    first = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["target"]}}
    definition = {
        "claim_generator_info": [{"name": "bare", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [first]}}],
    }
    settings = {
        "builder": {"thumbnail": {"enabled": False}},
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1"},
    }
    alg = c2pa.C2paSigningAlg.ES256
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Signer.from_callback(sign, alg, pki.chain.pem, stamp_url) as signer,
        c2pa.Builder(definition, context=context) as builder,
        video.open("rb") as source,
        out.open("w+b") as signed,
    ):
        for label, relation, given in (
            ("target", "parentOf", draft.target.path),
            ("source", "componentOf", draft.source),
        ):
            described = {"title": label, "label": label, "relationship": relation}
            mime = VIDEO if isinstance(given, Path) else given.mime
            with opened(given if isinstance(given, Path) else given.content) as content:
                builder.add_ingredient(described, mime, content)
        builder.sign(signer, VIDEO, source, signed)


def measure_clip(
    studio: Any, folder: Path, repeats: int, in_turns: Callable[..., dict[str, float]]
) -> dict[str, Any]:
    """Time signing and reading of the video against the library, and looking at it."""
    path = folder / "clip.mp4"
    make_clip(path)
    clip = open_clip(path, workspace=folder)
    source = studio.picture("persona1_0", "image/jpeg")
    signed = folder / "signed.mp4"
    draft: list[ClipDraft] = []
    signing: list[float] = []
    bare: dict[str, list[float]] = {"bare": [], "bare_and_stamped": []}
    store = b""
    for _ in range(repeats + 1):
        draft.append(_draft(studio, source, clip))
        payload = issue_payload(draft[-1].warrant, rng=studio.press.rng)
        signed.unlink(missing_ok=True)
        start = time.perf_counter()
        store = steps.sign_release(
            draft[-1], path, payload, studio.press, looks=LOOKS, out=signed
        ).store
        signing.append((time.perf_counter() - start) * 1000)
        with serve_stamps(studio.press.stamper) as relay:
            for name, url in (("bare", None), ("bare_and_stamped", relay.url)):
                start = time.perf_counter()
                sign_bare(path, folder / "bare.mp4", draft[-1], studio.pki, url)
                bare[name].append((time.perf_counter() - start) * 1000)
    times = {"ours": _median(signing[1:])} | {k: _median(v[1:]) for k, v in bare.items()}
    reading = in_turns(
        repeats,
        bare=lambda: _read_bare(signed, studio.pki.anchors.pem),
        ours=lambda: read_manifest(signed, VIDEO, anchors=studio.pki.anchors),
    )
    looking = in_turns(1, looked_at=lambda: studio.verifier.examine(signed))
    return {
        "file_bytes": signed.stat().st_size,
        "manifest_bytes": len(store),
        "sign_ms": times,
        "sign_ratio": round(times["ours"] / times["bare"], 2),
        "sign_ratio_stamped": round(times["ours"] / times["bare_and_stamped"], 2),
        "read_ms": reading,
        "read_ratio": round(reading["ours"] / reading["bare"], 2),
        "examine_ms": looking["looked_at"],
        "large": measure_memory(studio, draft[-1], path, folder),
    }


def measure_memory(studio: Any, draft: ClipDraft, path: Path, folder: Path) -> dict[str, Any]:
    """Sign a large file here, then read and look at it in processes of their own."""
    large, signed = folder / "large.mp4", folder / "large_signed.mp4"
    enlarge(path, large)
    before = _peak_mb()
    made = _draft(studio, draft.source, draft.target)
    payload = issue_payload(made.warrant, rng=studio.press.rng)
    start = time.perf_counter()
    steps.sign_release(made, large, payload, studio.press, looks=LOOKS, out=signed)
    took = time.perf_counter() - start
    roots = folder / "root.pem"
    roots.write_text(studio.pki.anchors.pem)
    found = {
        "bytes": signed.stat().st_size,
        "sign_s": round(took, 2),
        "sign_grew_mb": _peak_mb() - before,
    }
    for what in ("nothing", "read", "look"):
        asked = [sys.executable, "-m", "benchmarks.clips", what, str(signed), str(roots)]
        told = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
        found[what] = json.loads(told.stdout)
    return found


def _draft(studio: Any, source: Any, clip: Any) -> ClipDraft:
    warrant = studio.warrant_under(source, clip, {"media": ["video"]}, medium="video")
    maker = Maker("geo", "1", dict(warrant.document.models))
    return ClipDraft(
        lambda *_: iter(()), warrant=warrant, source=source, target=clip, faces=(), maker=maker
    )


def _read_bare(path: Path, anchors: str) -> None:
    settings = {
        "trust": {"trust_config": "1.3.6.1.4.1.62558.2.1", "trust_anchors": anchors},
        "verify": {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    with (
        c2pa.Context.from_dict(settings) as context,
        path.open("rb") as file,
        c2pa.Reader(VIDEO, file, context=context) as reader,
    ):
        json.loads(reader.json())


def _median(times: list[float]) -> float:
    return round(float(np.median(times)), 2)


def _peak_mb() -> int:
    """The most memory this program had; the kernel's other counter starts with its parent's."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def _probe(what: str, path: Path, roots: Path) -> None:
    """Do one thing with a file in this process, and say the most memory it and its workers had."""
    start = time.perf_counter()
    anchors = load_anchors([roots])
    if what == "read":
        assert read_manifest(path, VIDEO, anchors=anchors).verdict == "trusted"
    if what == "look":
        with open_exhibit(path, watermark=None, load=pixels.load) as exhibit:
            assert exhibit.sight.seconds == SECONDS
            assert read_manifest(exhibit.content, VIDEO, anchors=anchors).verdict == "trusted"
    workers = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    peak = {"self_mb": _peak_mb(), "workers_mb": workers}
    print(json.dumps(peak | {"s": round(time.perf_counter() - start, 2)}))


if __name__ == "__main__":
    _probe(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
