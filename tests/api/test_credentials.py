from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import yaml

from devmesh.api.credentials import kubeconfig, load_credentials, sign_token


def test_a_restart_finds_the_same_secrets(tmp_path: Path) -> None:
    first = load_credentials(tmp_path).with_ports(20001, 20443)
    files = (first.token_file, first.ca_file, first.certificate_file, first.key_file)
    before = [file.read_bytes() for file in files]
    second = load_credentials(tmp_path)
    assert second == first
    assert [file.read_bytes() for file in files] == before


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    load_credentials(tmp_path).with_ports(1, 2)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_what_is_broken_is_made_anew(tmp_path: Path) -> None:
    first = load_credentials(tmp_path)
    first.certificate_file.write_text("nothing")
    first.token_file.write_text("short")
    first.ports_file.write_text("{")
    second = load_credentials(tmp_path)
    assert second.token not in ("short", first.token)
    assert second.server_context().get_ca_certs() == []
    assert (second.port, second.tls_port) == (0, 0)


def test_the_kubeconfig_has_one_context(tmp_path: Path) -> None:
    credentials = load_credentials(tmp_path)
    config = yaml.safe_load(kubeconfig("bookinfo", credentials, 20443))
    assert config["current-context"] == "devmesh-bookinfo"
    cluster = config["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:20443"
    assert base64.b64decode(cluster["certificate-authority-data"]) == credentials.ca_file.read_bytes()
    assert config["users"][0]["user"] == {"token": credentials.token}


def test_tokens_of_service_accounts_are_signed(tmp_path: Path) -> None:
    token = sign_token(load_credentials(tmp_path), {"sub": "system:serviceaccount:default:a"})
    head, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    assert json.loads(head)["alg"] == "ES256"
    assert json.loads(claims) == {"sub": "system:serviceaccount:default:a"}
    assert len(signature) == 64


def test_reading_credentials_imports_nothing_heavy() -> None:
    code = "import devmesh.api.credentials, devmesh.api.server, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"quart", "hypercorn", "cryptography", "yaml", "msgspec"} & set(loaded)
