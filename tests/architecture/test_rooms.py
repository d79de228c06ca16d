"""The house rules that no linter knows: names, sizes, and what an import may cost."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrkit

PACKAGE = Path(lrkit.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists())
TORCH_FREE = [
    "errors",
    "duration",
    "files",
    "schedule",
    "control",
    "records",
    "spec",
    "plan",
    "convert",
    "plot",
    "cli",
]


def in_a_fresh_interpreter(code: str) -> dict[str, bool]:
    """Run `code`, then tell which heavy modules are loaded."""
    heavy = ["numpy", "torch", "matplotlib", "tomlkit", "rich", "sqlite3"]
    report = f"\nimport json, sys; print(json.dumps({{m: m in sys.modules for m in {heavy!r}}}))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_lrkit_loads_neither_numpy_nor_torch():
    loaded = in_a_fresh_interpreter("import lrkit; dir(lrkit)")
    assert not any(loaded.values()), loaded


@pytest.mark.parametrize("room", TORCH_FREE)
def test_rooms_above_the_line_do_not_load_torch(room):
    assert not in_a_fresh_interpreter(f"import lrkit.{room}")["torch"]


@pytest.mark.parametrize("room", ["schedule", "control", "duration", "spec"])
def test_schedules_need_numpy_alone(room):
    loaded = in_a_fresh_interpreter(f"import lrkit.{room}")
    assert not any(loaded[name] for name in loaded if name != "numpy"), loaded


def test_every_public_name_of_the_top_level_can_be_fetched():
    for name in lrkit.__all__:
        assert getattr(lrkit, name) is not None


def test_the_stub_for_type_checkers_lists_the_same_names():
    import ast

    tree = ast.parse((PACKAGE / "__init__.pyi").read_text())
    names = {a.asname for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert names - {"annotations", None} == set(lrkit.__all__) - {"__version__"}


def test_no_public_function_has_the_name_of_a_module_beside_it():
    for room in ["lrkit", *(f"lrkit.{name}" for name in ROOMS)]:
        module = importlib.import_module(room)
        siblings = {info.name for info in pkgutil.iter_modules(module.__path__)}
        exported = {name for name in module.__all__ if not inspect.ismodule(getattr(module, name))}
        assert not siblings & exported, room


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_exports_is_sorted_unique_and_there(room):
    module = importlib.import_module(f"lrkit.{room}")
    names = module.__all__
    assert sorted(set(names)) == sorted(names)
    assert all(hasattr(module, name) for name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_short_and_says_what_it_holds(path):
    text = path.read_text()
    assert text.startswith(('"""', 'r"""')), "a module begins with its docstring"
    assert text.count("\n") <= 400, "one idea each"


def test_no_room_is_a_lumber_room():
    vague = {"utils", "util", "helpers", "common", "misc", "manager", "handler", "base"}
    assert not [p for p in MODULES if p.stem.strip("_") in vague]


def test_nothing_is_evaluated_or_unpickled():
    for path in MODULES:
        text = path.read_text()
        for forbidden in ["eval(", "exec(", "pickle.load", "weights_only=False"]:
            hits = [
                line
                for line in text.splitlines()
                if forbidden in line.replace(".eval(", "").replace("_eval(", "")
            ]
            assert not hits, f"{path}: {hits}"
