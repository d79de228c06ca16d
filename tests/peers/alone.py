"""Single modules of peers that cannot be installed beside the others, without the packages around them.

`make test-peers` puts those into a folder beside its environment. Their parent packages become bare modules that only
know their folder, so that no `__init__` runs; what a module imports from its own package and does not need for its
numbers has a stand-in.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["ALONE", "load", "version"]

ALONE = Path(sys.prefix) / "alone"


def load(name: str, **stand_ins: dict[str, Any]) -> ModuleType:
    """The module `name`; each stand-in is a module with these attributes (its dots written `__`).

    What was loaded on the way is forgotten again, so that whoever asks whether the package is there is told no.
    """
    before = set(sys.modules)
    try:
        return _load(name, stand_ins)
    finally:
        for other in set(sys.modules) - before:
            if other.partition(".")[0] == name.partition(".")[0]:
                del sys.modules[other]


def _load(name: str, stand_ins: dict[str, dict[str, Any]]) -> ModuleType:
    parts = name.split(".")
    for k in range(1, len(parts)):
        _bare(".".join(parts[:k]), ALONE.joinpath(*parts[:k]))
    for stand_in, attributes in stand_ins.items():
        module = ModuleType(stand_in.replace("__", "."))
        vars(module).update(attributes)
        sys.modules[module.__name__] = module
    return importlib.import_module(name)


def version(distribution: str) -> str:
    """The version of what lies in the folder."""
    from importlib.metadata import distributions

    return next(d.version for d in distributions(path=[str(ALONE)]) if d.name == distribution)


def _bare(name: str, folder: Path) -> None:
    if name in sys.modules:
        return
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
