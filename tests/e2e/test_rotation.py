"""Certificates that live four seconds, under load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.bookinfo import SAMPLE, running
from tests.e2e.test_routing import UNDER_LOAD


@pytest.mark.netns
@pytest.mark.slow
def test_certificates_are_renewed_without_a_failed_request(tmp_path: Path) -> None:
    file = yaml.safe_load((SAMPLE / "devmesh.yaml").read_text())
    spec = file["spec"]
    spec["meshConfig"] = {"defaultConfig": {"proxyMetadata": {"SECRET_TTL": "4s"}}}
    spec["resources"] = [str(SAMPLE / path) for path in spec["resources"]]
    for image in spec["images"]:
        image.pop("build", None)
        image["process"]["workdir"] = str(SAMPLE / image["process"]["workdir"])
    (tmp_path / "devmesh.yaml").write_text(yaml.safe_dump(file))

    with running("rotation", "process", tmp_path, source=tmp_path) as mesh:

        def serial() -> str:
            rows = json.loads(mesh.devmesh("proxy-config", "secret", "details-v1", "-o", "json"))
            return str(next(row for row in rows if row["resource_name"] == "default")["serial_number"])

        before = serial()
        counts = json.loads(mesh.python("productpage-v1", UNDER_LOAD, "6"))
        assert counts.keys() == {"200"}
        assert serial() != before
