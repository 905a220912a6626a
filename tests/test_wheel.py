"""The wheel's build step, but for the compiling itself, which `python -m bench` does and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hatch_build
from hatch_build import ASKED, LEFT_OUT, MODULES, CompiledCore, compile_core

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
