"""The shim for timm: it is needed exactly where torchvision does not import without it."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

from detector import torchvision_schemas

WITHOUT = "import torchvision"
WITH = """
from detector.torchvision_schemas import declare
print(declare(), declare())
import timm, torchvision
print(torchvision.ops.nms.__name__)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    # A process of its own: operators cannot be taken back once they are declared.
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(torchvision_schemas.__file__).parents[1],
    )


def test_timm_imports_and_the_shim_acts_only_where_it_must() -> None:
    plain, shimmed = run(WITHOUT), run(WITH)
    assert shimmed.returncode == 0, shimmed.stderr
    first, second, name = shimmed.stdout.split()
    assert name == "nms"
    assert second == "False"  # what is declared is not declared again
    needed = plain.returncode != 0
    assert first == str(needed)
    if needed:
        assert "torchvision::nms does not exist" in plain.stderr


@pytest.fixture
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_schemas, "_declared", [])


@pytest.mark.usefixtures("nothing_declared")
def test_torch_for_cuda_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert not torchvision_schemas.declare()
    assert torchvision_schemas._declared == []


@pytest.mark.usefixtures("nothing_declared")
@pytest.mark.parametrize("loads", [True, False])
def test_operators_that_load_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loads: bool
) -> None:
    (tmp_path / "_C.so").write_bytes(b"")
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    defined: list[str] = []

    class Library:
        def __init__(self, namespace: str, kind: str) -> None:
            assert (namespace, kind) == ("torchvision", "DEF")

        def define(self, schema: str) -> None:
            defined.append(schema)

    def load(path: str) -> None:
        assert path == str(tmp_path / "_C.so")
        if not loads:
            raise OSError("built for something else")

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torchvision_schemas.importlib.util, "find_spec", lambda _name: spec)
    monkeypatch.setattr(torch.ops, "load_library", load)
    monkeypatch.setattr(torch.library, "Library", Library)
    assert torchvision_schemas.declare() == (not loads)
    assert [schema.partition("(")[0] for schema in defined] == ([] if loads else ["nms", "qnms"])


@pytest.mark.usefixtures("nothing_declared")
@pytest.mark.parametrize("spec", [None, types.SimpleNamespace(submodule_search_locations=None)])
def test_torchvision_without_operators_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, spec: object
) -> None:
    monkeypatch.setattr(torchvision_schemas.importlib.util, "find_spec", lambda _name: spec)
    assert not torchvision_schemas._operators_load()
