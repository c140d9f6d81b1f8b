"""Whoever verifies or marks with the default mark loads no model runtime."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOOK = """
import sys
import {module}
print(sorted({{"torch", "onnxruntime", "safetensors"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("provenance.watermark", "[]"),
        ("provenance.verify", "[]"),
        ("provenance.watermark.learned", "[]"),
        ("provenance.watermark.learned.message", "[]"),
        ("provenance.watermark.learned.onnx_mark", "['onnxruntime']"),
    ],
)
def test_what_an_import_loads(module: str, loaded: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == loaded
