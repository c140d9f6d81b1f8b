"""Makes timm importable where torchvision was built for CUDA and torch was not.

The default torchvision wheel cannot load its compiled operators beside a CPU torch; the failure is
silent, and importing it then dies with "operator torchvision::nms does not exist" (measured with
torch 2.13.0, torchvision 0.28.0). Declaring the two operators that its Python code registers
against is enough. A matching build is left alone.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # definitions live as long as they are referenced


def declare() -> bool:
    """Declare the missing operators before torchvision is imported; True when that was needed."""
    if _declared or torch.version.cuda is not None or _operators_load():
        return False
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)
    _declared.append(library)
    return True


def _operators_load() -> bool:
    """Try what torchvision itself tries, without importing it."""
    spec = importlib.util.find_spec("torchvision")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for path in sorted(p for folder in folders for p in Path(folder).glob("_C*.so")):
        try:
            torch.ops.load_library(str(path))
        except OSError:
            return False
        return True
    return False
