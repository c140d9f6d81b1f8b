"""Make the swap: faces, swappers and the warranted door; nothing heavy is loaded on import.

The public names load their module on first use (PEP 562), so that `import generator` costs
nothing and a part that only needs `Face` does not load a swapper. The door is exported as
`swap_faces`: its module is `generator.swap`, and Python sets a submodule as an attribute of its
package on import, so a lazy function of the same name would be shadowed depending on who
imported what first.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generator.faces import Face, open_analyser
    from generator.swap import swap as swap_faces
    from generator.swapper import open_swapper

__all__ = ["Face", "open_analyser", "open_swapper", "swap_faces"]

_HOMES = {
    "Face": ("generator.faces", "Face"),
    "open_analyser": ("generator.faces", "open_analyser"),
    "open_swapper": ("generator.swapper", "open_swapper"),
    "swap_faces": ("generator.swap", "swap"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'generator' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
