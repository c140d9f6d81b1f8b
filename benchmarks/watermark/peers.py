"""Other tools' marks behind the benchmark's vocabulary; `pip install -e ".[peers]"` brings them.

A tool that is not installed is left out by name, with the reason. Each is used with the settings it
ships with. Where a tool refuses to read a picture (too small for it), that counts as not read; none
of them except ours can say "no mark", so they return bits for every picture.
"""

from __future__ import annotations

import importlib
import io
import os
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.watermark.methods import Bits, Method, Refused, Rgb

MIN_AREA_PX: Final = 256 * 256
"""invisible-watermark reads and writes nothing smaller."""
MIN_SIDE_PX: Final = 256
"""clawid writes nothing smaller; it reads down to its capacity."""


BITS: Final = MappingProxyType(
    {"dwtDct": 64, "dwtDctSvd": 64, "clawid_qim": 64, "clawid_fm": 64}
    | {"blind_watermark": 64, "rivaGan": 32}
)
"""Payload lengths."""


class PeerMissing(Exception):
    """The tool, or something it needs, is not installed here."""


class _InvisibleWatermark:
    def __init__(self, name: str) -> None:
        self._tool = importlib.import_module("imwatermark")
        self.name, self.bits = name, BITS[name]
        self.version = f"invisible-watermark {version('invisible-watermark')}"

    def embed(self, rgb: Rgb, payload: Bits) -> Rgb:
        if rgb.shape[0] * rgb.shape[1] < MIN_AREA_PX:
            raise Refused("smaller than 256 x 256 px")
        encoder = self._tool.WatermarkEncoder()
        encoder.set_watermark("bits", payload.tolist())
        return _swap(np.asarray(encoder.encode(_swap(rgb), self.name), np.uint8))

    def decode(self, rgb: Rgb) -> Bits | None:
        if rgb.shape[0] * rgb.shape[1] < MIN_AREA_PX:
            return None
        decoder = self._tool.WatermarkDecoder("bits", self.bits)
        return np.asarray(decoder.decode(_swap(rgb), self.name)).astype(np.uint8)


class _RivaGan(_InvisibleWatermark):
    """The networks come in the package; they run on one thread here, as everything else does."""

    def __init__(self) -> None:
        super().__init__("rivaGan")
        runtime: Any = importlib.import_module("onnxruntime")
        importlib.import_module("torch").set_num_threads(1)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        module = importlib.import_module("imwatermark.rivaGan")
        folder = Path(str(module.__file__)).parent
        for part in ("encoder", "decoder"):
            session = runtime.InferenceSession(
                str(folder / f"rivagan_{part}.onnx"), options, providers=["CPUExecutionProvider"]
            )
            setattr(module.RivaWatermark, part, session)


class _BlindWatermark:
    name, bits = "blind_watermark", BITS["blind_watermark"]

    def __init__(self) -> None:
        tool = importlib.import_module("blind_watermark")
        tool.bw_notes.close()
        self._tool: Any = tool
        self.version = f"blind-watermark {version('blind-watermark')}"

    def embed(self, rgb: Rgb, payload: Bits) -> Rgb:
        mark = self._tool.WaterMark(password_wm=1, password_img=1)
        mark.read_img(img=_swap(rgb))
        mark.read_wm(payload.astype(bool), mode="bit")
        return _swap(np.rint(mark.embed()).astype(np.uint8))

    def decode(self, rgb: Rgb) -> Bits | None:
        if (rgb.shape[0] // 8) * (rgb.shape[1] // 8) <= self.bits:
            return None
        mark = self._tool.WaterMark(password_wm=1, password_img=1)
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            # A flat picture gives its clustering one empty class.
            warnings.simplefilter("ignore", RuntimeWarning)
            found = mark.extract(embed_img=_swap(rgb), wm_shape=self.bits, mode="bit")
        return (np.asarray(found) >= 0.5).astype(np.uint8)


class _Clawid:
    def __init__(self, name: str, delta: float) -> None:
        self._tool: Any = importlib.import_module("clawid.algorithms.dwt_qim")
        self.name, self.bits = name, BITS[name]
        self._strength = {"delta": delta, "repeat": 3}
        self.version = f"clawid {version('clawid')}"

    def embed(self, rgb: Rgb, payload: Bits) -> Rgb:
        if min(rgb.shape[:2]) < MIN_SIDE_PX:
            raise Refused("a side is under 256 px")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            marked = self._tool.embed_bits(Image.fromarray(rgb), payload.tolist(), **self._strength)
        return np.array(marked)

    def decode(self, rgb: Rgb) -> Bits | None:
        try:
            found = self._tool.extract_bits(Image.fromarray(rgb), self.bits, **self._strength)
        except ValueError:  # too few coefficients
            return None
        return np.array(found, np.uint8)


_MAKERS: Final[MappingProxyType[str, Callable[[], Method]]] = MappingProxyType(
    {
        "dwtDct": lambda: _InvisibleWatermark("dwtDct"),
        "dwtDctSvd": lambda: _InvisibleWatermark("dwtDctSvd"),
        "clawid_qim": lambda: _Clawid("clawid_qim", 32.0),
        "clawid_fm": lambda: _Clawid("clawid_fm", 192.0),
        "blind_watermark": _BlindWatermark,
        "rivaGan": _RivaGan,
    }
)
PEERS: Final = tuple(_MAKERS)
"""Quickest first."""
SLOW_PEERS: Final = frozenset({"rivaGan", "blind_watermark"})
"""About a second for a picture and more: measured on fewer pictures."""


def open_peer(name: str) -> Method:
    """Return the tool called `name`; raises `PeerMissing` with what is not there."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        with redirect_stdout(io.StringIO()):
            return _MAKERS[name]()
    except (ImportError, PackageNotFoundError) as missing:
        raise PeerMissing(f"{name} is left out: {missing}") from missing


def _swap(rgb: Rgb) -> Rgb:
    return np.ascontiguousarray(rgb[..., ::-1])
