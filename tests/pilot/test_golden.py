"""Golden compiles: golden/*.yaml becomes golden/*.json. GOLDEN=write rewrites them; read the diff."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from devmesh.pilot.compiler import Compiled
from devmesh.snapshot.dump import dump
from tests.pilot.meshes import mesh

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))


def readable(compiled: Compiled) -> dict[str, Any]:
    """Return what matters of a compile; what several proxies share is written once."""
    snapshot = compiled.snapshot
    written: dict[int, str] = {}
    proxies = {}
    for name, proxy in snapshot.proxies.items():
        shown = {"inbound": dump(proxy.inbound), "gateway": dump(proxy.gateway)}
        if id(proxy.outbound) in written:
            shown["outbound"] = f"as {written[id(proxy.outbound)]}"
        else:
            written[id(proxy.outbound)] = name
            shown["outbound"] = dump(proxy.outbound)
        proxies[name] = {key: value for key, value in shown.items() if value}
    return {
        "findings": [str(finding) for finding in compiled.findings],
        "names": dump(snapshot.names),
        "aliases": dump(snapshot.aliases),
        "backends": dump(snapshot.backends),
        "proxies": proxies,
    }


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_compile_gives_what_it_gave(path: Path) -> None:
    text = json.dumps(readable(mesh(path.read_text()).compile()), indent=1, ensure_ascii=False) + "\n"
    expected = path.with_suffix(".json")
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()
