"""Who is served how: PeerAuthentication at each level, and what DestinationRules ask of clients."""

from __future__ import annotations

import time

import pytest

from tests.e2e.applications import Applications
from tests.e2e.test_traffic import destination_rule

RESET = "ConnectionResetError"


def policy(mode: str, namespace: str = "istio-system", more: str = "", name: str = "default") -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{mtls: {{mode: {mode}}}{more}}}
---"""


ECHO_ALONE = ", selector: {matchLabels: {app: echo}}"


def plain(apps: Applications, port: int = 80) -> str:
    """How a client without a proxy fares."""
    answer = apps.get(f"http://echo.default:{port}/", "outsider")
    return str(answer["status"] or answer["error"])


def meshed(apps: Applications, port: int = 80, **headers: str) -> str:
    """How a client in the mesh fares, and by what: ``mtls`` or ``plain``."""
    answer = apps.get(f"http://echo:{port}/", headers=headers)
    if answer["status"] != 200:
        return str(answer["status"])
    return "mtls" if "x-forwarded-client-cert" in answer["got"] else "plain"


def apply(apps: Applications, *documents: str) -> None:
    apps.clean()
    apps.apply("\n".join(documents))
    time.sleep(0.15)


def test_permissive_takes_both(clean: Applications) -> None:
    assert (plain(clean), meshed(clean)) == ("200", "mtls")


def test_strict_refuses_plain_text_by_a_reset(clean: Applications) -> None:
    apply(clean, policy("STRICT"))
    assert (plain(clean), meshed(clean)) == (RESET, "mtls")
    outsider = clean.agent("outsider")
    assert outsider("raw", host="echo.default", port=9000, data="hello")["error"] == RESET
    assert (
        clean.agent("client")("raw", host="echo", port=9000, data="hello", end=True)["data"]
        == "hello\n5 bytes"
    )
    said = clean.mesh.kubectl(
        "exec", "-n", "old", "deploy/outsider", "--", "curl", "-s", "-w", "%{http_code}", "http://echo.default/",
        check=False,
    )  # fmt: skip
    assert said.startswith("000")
    assert "exit code 56" in said


def test_strict_ends_what_had_begun_before(clean: Applications) -> None:
    outsider = clean.agent("outsider")
    outsider("keep", host="echo.default", port=80)
    assert outsider("again")["status"] == 200
    apply(clean, policy("STRICT"))
    assert outsider("again")["error"] == RESET


def test_the_more_specific_policy_wins(clean: Applications) -> None:
    apply(clean, policy("STRICT"), policy("PERMISSIVE", "default"))
    assert (plain(clean), meshed(clean)) == ("200", "mtls")
    assert clean.get("http://remote.away/", "outsider")["error"] == RESET
    apply(
        clean, policy("STRICT"), policy("STRICT", "default"), policy("DISABLE", "default", ECHO_ALONE, "echo")
    )
    assert (plain(clean), meshed(clean)) == ("200", "plain")
    assert clean.get("http://client.default/", "outsider")["error"] == RESET
    apply(clean, policy("STRICT"), policy("UNSET", "default", ECHO_ALONE, "echo"))
    assert (plain(clean), meshed(clean)) == (RESET, "mtls")


def test_ports_have_modes_of_their_own(clean: Applications) -> None:
    ports = ", portLevelMtls: {8080: {mode: DISABLE}, 9001: {mode: PERMISSIVE}}"
    apply(clean, policy("STRICT", "default", ECHO_ALONE + ports, "echo"))
    assert (plain(clean), meshed(clean)) == ("200", "plain")
    outsider = clean.agent("outsider")
    assert outsider("raw", host="echo.default", port=9000, data="hello")["error"] == RESET
    assert outsider("talk", host="echo.default", port=9001, lines=["a"])["said"] == ["250 a"]


@pytest.mark.parametrize(
    ("server", "client", "fares"),
    [
        ("PERMISSIVE", "DISABLE", "plain"),
        ("PERMISSIVE", "ISTIO_MUTUAL", "mtls"),
        ("STRICT", "DISABLE", "503"),
        ("STRICT", "ISTIO_MUTUAL", "mtls"),
        ("DISABLE", "ISTIO_MUTUAL", "503"),
        ("DISABLE", "DISABLE", "plain"),
    ],
)
def test_a_destination_rule_says_how_clients_speak(
    clean: Applications, server: str, client: str, fares: str
) -> None:
    apply(clean, policy(server), destination_rule(f"trafficPolicy: {{tls: {{mode: {client}}}}}"))
    assert meshed(clean) == fares


def test_mutual_tls_to_who_has_none_fails(clean: Applications) -> None:
    assert clean.get("http://legacy.old/")["status"] == 200
    apply(
        clean, destination_rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}", "legacy.old.svc.cluster.local")
    )
    answer = clean.get("http://legacy.old/tls")
    assert answer["status"] == 503
    assert "remote connection failure" in answer["body"]
    assert "503 UF,URX" in clean.logged('"GET /tls HTTP/1.1"')


def test_the_clients_identity_arrives_and_a_forged_one_does_not(clean: Applications) -> None:
    forged = {"x-forwarded-client-cert": "By=spiffe://x;URI=spiffe://cluster.local/ns/istio-system/sa/admin"}
    said = clean.get("http://echo/", headers=forged)["got"]["x-forwarded-client-cert"]
    assert said.startswith("By=spiffe://cluster.local/ns/default/sa/echo;Hash=")
    assert said.endswith(';Subject="";URI=spiffe://cluster.local/ns/default/sa/client')
    assert (
        "x-forwarded-client-cert" not in clean.get("http://echo.default/", "outsider", headers=forged)["got"]
    )
    apply(clean, policy("DISABLE"))
    assert "x-forwarded-client-cert" not in clean.get("http://echo/", headers=forged)["got"]
