"""Policies decide over facts: loading them pulls in no pixels, networks or orchestration."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import policies

FOREIGN = (
    "numpy cv2 PIL scipy torch torchvision timm onnx onnxruntime insightface c2pa dagster ray "
    "typer rich requests httpx provenance generator detector pipelines"
).split()


def test_importing_every_module_loads_nothing_foreign() -> None:
    names = [f"policies.{module.name}" for module in pkgutil.iter_modules(policies.__path__)]
    assert len(names) >= 18
    code = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert loaded & set(FOREIGN) == set()
    assert {"policies", "pydantic", "cryptography", "sqlalchemy", "rfc8785"} <= loaded
