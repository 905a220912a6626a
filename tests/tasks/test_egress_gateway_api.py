"""Egress by the Gateway API: the rows TM17g, TM18g, TM19g and TM21g. A server here is the world."""

from __future__ import annotations

from pathlib import Path

from tests.tasks.mesh import Tasks, eventually
from tests.tasks.test_egress import HTTPBIN_ORG, registry_only, world

__all__ = ["world"]  # a fixture

TIMEOUT = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: httpbin-ext}
spec:
  parentRefs: [{kind: ServiceEntry, group: networking.istio.io, name: httpbin-ext}]
  hostnames: [httpbin.org]
  rules:
  - timeouts: {request: 3s}
    backendRefs: [{kind: Hostname, group: networking.istio.io, name: httpbin.org, port: 80}]
"""


def test_tm17g_accessing_external_services(mesh: Tasks, world: Path) -> None:
    with registry_only(mesh):
        eventually(lambda: mesh.curl("-k", "-I", "https://www.google.com").code == 35)
        mesh.apply(HTTPBIN_ORG)
        eventually(lambda: mesh.curl("http://httpbin.org/headers").status == 200)
        assert mesh.curl("http://httpbin.org/delay/4").status == 200
        mesh.apply(TIMEOUT)
        assert eventually(lambda: mesh.curl("http://httpbin.org/delay/4").status == 504)
        assert mesh.curl("http://httpbin.org/delay/1").status == 200
        path = "jsonpath={.status.parents[0].conditions[*].status}"
        assert mesh.kubectl("get", "httproute", "httpbin-ext", "-o", path) == "True True"


CNN = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: edition-cnn-com}
spec:
  hosts: [edition.cnn.com]
  ports:
  - {number: 80, name: http-port, protocol: HTTP}
  - {number: 443, name: https-port, protocol: HTTPS}
  resolution: DNS
"""
ORIGINATE = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: originate-tls-for-edition-cnn-com}
spec:
  host: edition.cnn.com
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE, insecureSkipVerify: true}
"""
REWRITE_PORT = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: redirect-to-443}
spec:
  parentRefs: [{kind: ServiceEntry, group: networking.istio.io, name: edition-cnn-com, port: 80}]
  rules:
  - backendRefs: [{kind: Hostname, group: networking.istio.io, name: edition.cnn.com, port: 8443}]
"""


def test_tm18g_egress_tls_origination(mesh: Tasks, world: Path) -> None:
    mesh.apply(CNN)
    eventually(lambda: mesh.curl("http://edition.cnn.com/headers").status == 200)
    more = "  - {number: 8443, name: http-tls, protocol: HTTP, targetPort: 443}\n  resolution"
    mesh.apply(CNN.replace("  resolution", more) + ORIGINATE.replace("443", "8443") + REWRITE_PORT)

    def originated() -> bool:
        assert mesh.curl("http://edition.cnn.com/headers?originated").first == "HTTP/1.1 200 OK"
        lines = [line for line in mesh.logs("curl").splitlines() if "?originated" in line]
        return any("outbound|8443||edition.cnn.com" in line for line in lines)

    assert eventually(originated)
    assert mesh.curl("-k", "https://edition.cnn.com/headers").status == 200


GATEWAY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: cnn-egress-gateway
  annotations: {networking.istio.io/service-type: ClusterIP}
spec:
  gatewayClassName: istio
  listeners:
  - name: http
    hostname: edition.cnn.com
    port: 80
    protocol: PROTOCOL
    allowedRoutes: {namespaces: {from: Same}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: direct-cnn-to-egress-gateway}
spec:
  parentRefs: [{kind: ServiceEntry, group: networking.istio.io, name: edition-cnn-com, port: 80}]
  rules:
  - backendRefs: [{name: cnn-egress-gateway-istio, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: forward-cnn-from-egress-gateway}
spec:
  parentRefs: [{name: cnn-egress-gateway}]
  hostnames: [edition.cnn.com]
  rules:
  - backendRefs: [{kind: Hostname, group: networking.istio.io, name: edition.cnn.com, port: PORT}]
"""
TERMINATE = "HTTPS\n    tls: {mode: Terminate, options: {gateway.istio.io/tls-terminate-mode: ISTIO_MUTUAL}}"
TO_GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: egressgateway-for-cnn}
spec:
  host: cnn-egress-gateway-istio.default.svc.cluster.local
  trafficPolicy:
    portLevelSettings:
    - port: {number: 80}
      tls: {mode: ISTIO_MUTUAL, sni: edition.cnn.com}
"""


def egress_log(mesh: Tasks, word: str) -> list[str]:
    return [line for line in mesh.logs("cnn-egress-gateway-istio").splitlines() if word in line]


def programmed(mesh: Tasks) -> None:
    mesh.kubectl("wait", "--for=condition=programmed", "gtw", "cnn-egress-gateway", "--timeout=30s")
    kind = mesh.kubectl("get", "service", "cnn-egress-gateway-istio", "-o", "jsonpath={.spec.type}")
    assert kind == "ClusterIP"


def test_tm19g_egress_gateway_for_http(mesh: Tasks, world: Path) -> None:
    mesh.apply(CNN + GATEWAY.replace("PROTOCOL", "HTTP").replace("PORT", "80"))
    programmed(mesh)

    def through() -> bool:
        assert mesh.curl("http://edition.cnn.com/anything/politics").status == 200
        lines = egress_log(mesh, '"GET /anything/politics HTTP/1.1"')
        return any("outbound|80||edition.cnn.com" in line for line in lines)

    assert eventually(through)


def test_tm21g_egress_gateway_with_tls_origination(mesh: Tasks, world: Path) -> None:
    gateway = GATEWAY.replace("PROTOCOL", TERMINATE).replace("PORT", "443")
    mesh.apply(CNN + gateway + TO_GATEWAY + ORIGINATE)
    programmed(mesh)

    def through() -> bool:
        assert mesh.curl("http://edition.cnn.com/anything/originated").first == "HTTP/1.1 200 OK"
        lines = egress_log(mesh, "/anything/originated")
        return any("outbound|443||edition.cnn.com" in line for line in lines)

    assert eventually(through)
