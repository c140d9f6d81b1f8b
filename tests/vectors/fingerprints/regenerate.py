"""Write both vectors and their root anew: `python tests/vectors/fingerprints/regenerate.py`.

The release leaves through the door of the product; its twin is signed with the same key, which is
then forgotten. What makes them is that of `../outputs/regenerate.py`. The people are rendered.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from provenance.manifest import build_manifest
from provenance.media import encode
from provenance.pki import make_development_chain

HERE = Path(__file__).parent
OUTPUTS = HERE.parent / "outputs" / "regenerate.py"


def load_outputs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("outputs_regenerate", OUTPUTS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def main() -> None:
    made = load_outputs()
    pki = make_development_chain(organisation="Vector Studio", now=made.now())
    with tempfile.TemporaryDirectory() as folder:
        jpeg, webp = made.released(made.load_conftest().Studio(pki, Path(folder)))
    lie = build_manifest(made.claim_of(jpeg, fingerprint=made.print_of(webp)))
    small = encode(made.portrait("persona2_0")[:64, :64], "image/jpeg")
    parts = [made.Ingredient("target", small), made.Ingredient("source", small, "componentOf")]
    (HERE / "released.jpg").write_bytes(jpeg)
    (HERE / "print_of_another.jpg").write_bytes(made.sign(pki, made.strip(jpeg), lie, *parts))
    (HERE / "root.pem").write_text(pki.anchors.pem)


if __name__ == "__main__":
    main()
