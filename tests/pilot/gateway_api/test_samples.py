"""The files of samples/bookinfo/gateway-api."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pilot.meshes import BOOKINFO, bookinfo

FILES = sorted((BOOKINFO / "gateway-api").glob("*.yaml"))
VERSIONS = (BOOKINFO / "gateway-api" / "bookinfo-versions.yaml").read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_compiles_without_a_complaint(file: Path) -> None:
    made = bookinfo().apply(VERSIONS).apply(file.read_text())
    made.deploy()
    assert made.codes() == []
