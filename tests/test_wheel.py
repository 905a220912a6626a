"""The wheel's build step, but for the compiling itself, which `python -m bench` does and tests."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import hatch_build
from hatch_build import ASKED, LEFT_OUT, MODULES, CompiledCore, compile_core, compiled_modules

ROOT = Path(__file__).parents[1]


class App:
    def __init__(self) -> None:
        self.said: list[str] = []

    def display_warning(self, text: str) -> None:
        self.said.append(text)


def build(version: str) -> tuple[dict[str, Any], App]:
    data: dict[str, Any] = {"force_include": {}}
    app = App()
    hook = CompiledCore(str(ROOT), {}, None, None, str(ROOT), "wheel", app)  # type: ignore[arg-type]
    hook.initialize(version, data)
    hook.finalize(version, data, "")
    return data, app


def test_every_module_that_is_to_be_compiled_is_there() -> None:
    assert all(list(ROOT.glob(name)) for name in (*MODULES, *LEFT_OUT))


def test_nothing_is_compiled_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert compile_core(ROOT, tmp_path) == []
    monkeypatch.setenv(ASKED, "1")
    data, app = build("standard")
    assert data == {"force_include": {}}
    assert "pure Python" in app.said[0]


@pytest.mark.parametrize(("asked", "version"), [("0", "standard"), ("", "standard"), ("1", "editable")])
def test_nobody_compiles_unasked(asked: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ASKED, asked)
    monkeypatch.setattr(hatch_build, "compile_core", lambda *_: pytest.fail("compiled"))
    assert build(version)[0] == {"force_include": {}}


def test_what_is_compiled_goes_into_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ASKED, "1")
    monkeypatch.setattr(hatch_build, "compile_core", lambda _, folder: [folder / "devmesh/proxy/exchange.so"])
    data, _ = build("standard")
    assert list(data["force_include"].values()) == ["devmesh/proxy/exchange.so"]
    assert (data["pure_python"], data["infer_tag"]) == (False, True)


def test_no_class_gives_a_default_that_mypyc_forgets() -> None:
    """``x: A | B | None = None`` in a class's body, and ``x: P | None = None`` of a Protocol, are undefined
    there where they are compiled: they have to be set by ``__init__``."""
    trees = {name: ast.parse((ROOT / name).read_text()) for name in compiled_modules(ROOT)}
    classes = [
        (name, node)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not node.decorator_list
    ]
    protocols = {node.name for _, node in classes if "Protocol" in map(ast.unparse, node.bases)}
    forgotten = [
        f"{name}: {node.name}.{ast.unparse(each)}"
        for name, node in classes
        for each in node.body
        if isinstance(each, ast.AnnAssign) and each.value is not None and ast.unparse(each.value) == "None"
        for types in [set(ast.unparse(each.annotation).split(" | ")) - {"None"}]
        if len(types) > 1 or types & protocols
    ]
    assert forgotten == []
