"""Certificates that live four seconds, under load."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from cryptography.x509 import load_pem_x509_certificate

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
            found = json.loads(mesh.devmesh("proxy-config", "secret", "details-v1", "-o", "json"))
            own = next(each for each in found["dynamicActiveSecrets"] if each["name"] == "default")
            chain = base64.b64decode(own["secret"]["tlsCertificate"]["certificateChain"]["inlineBytes"])
            return str(load_pem_x509_certificate(chain).serial_number)

        before = serial()
        counts = json.loads(mesh.python("productpage-v1", UNDER_LOAD, "6"))
        assert counts.keys() == {"200"}
        assert serial() != before
