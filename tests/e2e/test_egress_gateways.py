"""Two hops on the way out: from the sidecar to the egress gateway, and from there to a site outside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.applications import OUTSIDE, Applications, outside
from tests.e2e.bookinfo import eventually
from tests.security.certificates import authority, issue

CA = authority()
SITE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: site, namespace: default}
spec:
  hosts: [site.example]
  ports:
  - {number: 80, name: http, protocol: HTTP, targetPort: 8080}
  - {number: 443, name: tls, protocol: TLS, targetPort: 8443}
  resolution: STATIC
  endpoints: [{address: ADDRESS}]
"""
RULE = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: default}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: PORT, name: out, protocol: PROTOCOL}, hosts: ["*.example"], tls: TLS}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egress, namespace: default}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets:
  - name: site
    trafficPolicy: {portLevelSettings: [{port: {number: PORT}, tls: CLIENT}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: out, namespace: default}
spec:
  hosts: [site.example]
  gateways: [mesh, egress]
"""
HTTP = """
  http:
  - match: [{gateways: [mesh], port: 80}]
    route:
    - destination:
        {host: istio-egressgateway.istio-system.svc.cluster.local, subset: site, port: {number: PORT}}
  - match: [{gateways: [egress], port: PORT}]
    route: [{destination: {host: site.example, port: {number: TARGET}}}]
"""
TLS = """
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [site.example]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: 443}}}]
  - match: [{gateways: [egress], port: 443, sniHosts: [site.example]}]
    route: [{destination: {host: site.example, port: {number: 443}}}]
"""


def rule(routes: str, port: int, protocol: str, tls: str, client: str, target: int = 80) -> str:
    text = (SITE + RULE).replace("ADDRESS", OUTSIDE) + routes
    text = text.replace("PORT", str(port)).replace("PROTOCOL", protocol).replace("TARGET", str(target))
    return text.replace("tls: TLS", f"tls: {tls}").replace("CLIENT", client)


@pytest.fixture
def site(clean: Applications, tmp_path: Path) -> Iterator[Applications]:
    """A site outside: HTTP on 8080, and HTTPS on 8443."""
    pair = issue(CA, "site.example")
    certificate = tmp_path / "site.pem"
    certificate.write_text(pair.both)
    with outside(OUTSIDE, "http=8080"):
        served = ["openssl", "s_server", "-accept", f"{OUTSIDE}:8443", "-cert", str(certificate), "-www"]
        process = subprocess.Popen(served, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield clean
        finally:
            process.kill()
            process.wait()


def curl(apps: Applications, *args: str) -> str:
    """Ask from the client's own pod."""
    command = ("exec", "deploy/client", "-c", "app", "--", "curl", "-sS", "-i", "--max-time", "5", *args)
    return apps.mesh.kubectl(*command, check=False)


def test_http_goes_by_mutual_tls_to_the_gateway_and_out_in_plain_text(site: Applications) -> None:
    mutual = "{mode: ISTIO_MUTUAL, sni: site.example}"
    site.apply(rule(HTTP, 443, "HTTPS", "{mode: ISTIO_MUTUAL}", mutual))
    answer = eventually(lambda: (found := site.get("http://site.example/out"))["status"] == 200 and found, 10)
    assert isinstance(answer, dict)
    assert answer["got"]["host"] == "site.example"
    line = site.logged("GET /out", deployment="istio-egressgateway", namespace="istio-system")
    assert "outbound|80||site.example" in line
    assert "outbound|443|site|istio-egressgateway.istio-system.svc.cluster.local" in site.logged("GET /out")


def test_tls_passes_the_gateway_by_its_server_name(site: Applications, tmp_path: Path) -> None:
    site.apply(rule(TLS, 443, "TLS", "{mode: PASSTHROUGH}", "{mode: DISABLE}"))
    said = eventually(lambda: "200 ok" in (found := curl(site, "-k", "https://site.example/")) and found, 10)
    assert "s_server" in str(said)
    assert site.logged(
        "outbound|443||site.example", deployment="istio-egressgateway", namespace="istio-system"
    )


def test_the_gateway_begins_tls(site: Applications) -> None:
    origination = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: site, namespace: default}
spec:
  host: site.example
  trafficPolicy:
    portLevelSettings:
    - {port: {number: 443}, tls: {mode: SIMPLE, credentialName: site-ca, sni: site.example}}
"""
    ca = "".join(f"    {line}\n" for line in CA.pem.splitlines())
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: site-ca, namespace: istio-system}\n"
    site.apply(f"{secret}stringData:\n  ca.crt: |\n{ca}")
    site.apply(rule(HTTP, 80, "HTTP", "{httpsRedirect: false}", "{mode: DISABLE}", 443) + origination)
    try:
        said = eventually(lambda: "200 OK" in (found := curl(site, "http://site.example/")) and found, 10)
        assert "s_server" in str(said)
        line = site.logged("GET /", deployment="istio-egressgateway", namespace="istio-system")
        assert "outbound|443||site.example" in line
    finally:
        site.mesh.kubectl("delete", "secret", "-n", "istio-system", "site-ca")
