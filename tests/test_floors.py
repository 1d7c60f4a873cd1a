"""The floors of the package: what each part may import, so that arrows point down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import factorbox

PACKAGE = Path(factorbox.__path__[0])

GROUND = {"absent", "errors", "options", "threads", "writing", "kernels", "__init__"}
"""What stands on nothing of the package but one another."""

FLOORS: list[set[str]] = [
    {"contract"},
    {"data"},
    {"models"},
    {"recommend"},
    {"evaluation"},
    {"tensor_files", "model_files", "manifest", "mean_user", "training_record", "artifact", "arguments", "frames"},
    {"recommender", "loading", "repacking"},
    {"report"},
    {"training", "serving"},
    {"commands", "precompile"},
    {"__main__"},
]
"""From the ground up; a part may import its own floor and those below."""

HEIGHT = {part: height for height, floor in enumerate([GROUND, *FLOORS]) for part in floor}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(name: str) -> str:
    """Return the part that a module of the package, or a name in its `__init__`, belongs to."""
    part = (*name.split("."), "")[1]
    return part if part and ((PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()) else "__init__"


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a module imports when it is imported itself."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "factorbox" else {node.module}
            )
    return {name for name in found if name.partition(".")[0] == "factorbox"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_its_own_floor_and_those_below(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported(path):
        assert HEIGHT[part_of(name)] <= HEIGHT[part], f"{path} imports {name}"


def test_only_the_top_knows_the_contract() -> None:
    for path in MODULES:
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        knows = any(part_of(name) == "contract" for name in imported(path))
        assert not knows or part in {"contract", "training", "serving", "commands", "precompile", "__main__"}, path


def test_the_contract_knows_only_errors_and_options() -> None:
    for path in MODULES:
        if path.relative_to(PACKAGE).parts[0] == "contract":
            assert {part_of(name) for name in imported(path)} <= {"contract", "errors", "options"}, path
