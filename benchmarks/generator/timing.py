"""How long a swap takes, stage by stage and end to end, at 720p and 1080p; and how much memory.

One face that fills a third of the height, as in a portrait video; the measured path is that of a
request: analyse the target, lay out, network, finishing steps, paste. Medians of repeats, on the
device that is named; the first run of each is not counted.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from generator.detail import open_detail
from generator.eyes import EyeReflections
from generator.faces import Frame, open_analyser
from generator.laying import lay_out, paste
from generator.ledger_pair import LedgerPair
from generator.mixing import WEIGHTS, repaint
from generator.runtime import Device, open_network
from provenance.data_ledger import DataLedger, rendered_row
from provenance.media import encode

SIZES = {"720p": (720, 1280), "1080p": (1080, 1920)}
FACE_SHARE = 0.45
"""Height of the pasted portrait over the frame's; its face fills about three quarters of it."""


def time_sizes(
    portrait: Frame, source: Frame, *, device: Device, threads: int, repeats: int, now: Any
) -> dict[str, Any]:
    """Return milliseconds (median) of every stage at every size, frames per second, memory."""
    analyser = open_analyser(threads=threads)
    network = open_network(WEIGHTS, device=device, threads=threads)
    detail, eyes = open_detail(threads=threads), EyeReflections()
    out: dict[str, Any] = {"device": device, "threads": threads, "repeats": repeats}
    for name, shape in SIZES.items():
        frame = place(portrait, shape)
        permit = admit_pair(source, frame, analyser, now)
        layers = lay_out(permit, 1.0)
        faces = permit.source_face, permit.target_face
        picture = repaint(network, layers, faces).picture
        stages: dict[str, Callable[[], object]] = {
            "analyse": lambda frame=frame: analyser.analyse(frame),  # type: ignore[misc]
            "lay out": lambda permit=permit: lay_out(permit, 1.0),  # type: ignore[misc]
            "network": lambda layers=layers, faces=faces: repaint(network, layers, faces),  # type: ignore[misc]
            "mdrn": lambda layers=layers, picture=picture: detail.apply(picture, layers),  # type: ignore[misc]
            "errs": lambda layers=layers, picture=picture: eyes.apply(picture, layers),  # type: ignore[misc]
            "paste": lambda layers=layers, picture=picture, frame=frame: paste(  # type: ignore[misc]
                picture, layers.mask, layers, frame
            ),
        }
        times = {stage: _median_ms(run, repeats) for stage, run in stages.items()}
        out[name] = {**times, "all": sum(times.values()), "fps": 1000 / sum(times.values())}
        out[name]["face_px"] = float(np.ptp(permit.target_face.mesh[:, 1]))
    out["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return out


def place(portrait: Frame, shape: tuple[int, int]) -> Frame:
    """Return a grey frame of `shape` with the portrait in its middle."""
    height, width = shape
    side = round(height * FACE_SHARE / 0.6)
    scaled = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_CUBIC)
    frame = np.full((height, width, 3), 96, np.uint8)
    y, x = (height - side) // 2, (width - side) // 2
    frame[y : y + side, x : x + side] = scaled
    return frame


def admit_pair(source: Frame, target: Frame, analyser: Any, now: Any) -> LedgerPair:
    """Return the permit of two rendered frames."""
    contents = [encode(frame, "image/png") for frame in (source, target)]
    rows = [
        rendered_row(c, f"demo/{i}.png", set_name="demo", person=f"persona:demo-{i}")
        for i, c in enumerate(contents)
    ]
    ledger = DataLedger(rows)
    pictures = [ledger.admit(c, "frame", purpose="evaluation", now=now) for c in contents]
    faces = [analyser.analyse(picture.frame)[0] for picture in pictures]
    return LedgerPair(*pictures, *faces)


def _median_ms(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times))
