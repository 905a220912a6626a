"""What a user installs is all that the package imports: the tests' own packages would hide a gap."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _imported() -> Iterator[tuple[str, str]]:
    for file in sorted((ROOT / "devmesh").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                yield name.partition(".")[0], str(file.relative_to(ROOT))


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {_normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in project["dependencies"]}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_imported_package_is_a_declared_dependency() -> None:
    declared, providers = _declared(), packages_distributions()
    missing = {
        f"{file}: {name}"
        for name, file in _imported()
        if name not in sys.stdlib_module_names and name != "devmesh"
        if not declared & {_normal(package) for package in providers.get(name, ())}
    }
    assert missing == set()
