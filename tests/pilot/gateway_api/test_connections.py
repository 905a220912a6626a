"""TCPRoutes and TLSRoutes at gateways, and what is made for a Gateway."""

from __future__ import annotations

from typing import Any

from devmesh.config import kinds
from tests.pilot.gateway_api.resources import gateway, http, resource, rule, to
from tests.pilot.meshes import INGRESS, mesh, service

PASSTHROUGH = "{name: tls, port: 443, protocol: TLS, hostname: nginx.example.com, tls: {mode: Passthrough}}"


def test_tcp_traffic_shifting_of_istios_task() -> None:
    spec = "parentRefs: [{name: gw, sectionName: tcp-31400}]\nrules: "
    spec += f"[{rule('', to('v1', 9000, 'weight: 80'), to('v2', 9000, 'weight: 20'))}]"
    made = mesh(
        service("v1", "tcp:9000"),
        service("v2", "tcp:9000"),
        gateway("{name: tcp-31400, port: 31400, protocol: TCP}"),
        resource("TCPRoute", "r", spec),
    ).deploy()
    found = [made.connect("gw-istio", "gw:31400", draw=n / 10).workload for n in range(10)]
    assert found == ["v1"] * 8 + ["v2"] * 2
    assert made.codes() == []


def test_tls_passes_through_by_the_server_name() -> None:
    spec = f"parentRefs: [{{name: gw}}]\nhostnames: ['*.example.com']\nrules: [{rule('', to('nginx', 443))}]"
    made = mesh(service("nginx", "https:443"), gateway(PASSTHROUGH), resource("TLSRoute", "r", spec)).deploy()
    assert made.connect("gw-istio", "gw:443", sni="nginx.example.com").workload == "nginx"
    assert made.connect("gw-istio", "gw:443", sni="other.example.com").refused
    assert made.codes() == []


def test_a_connection_to_no_backend_is_closed() -> None:
    spec = f"parentRefs: [{{name: gw}}]\nrules: [{rule('', to('nobody', 9000))}]"
    made = mesh(gateway("{name: tcp, port: 9000, protocol: TCP}"), resource("TCPRoute", "r", spec)).deploy()
    assert made.connect("gw-istio", "gw:9000").flags == "NC"


def wanted(*texts: str) -> dict[str, dict[str, Any]]:
    return {found.kind.kind: found.raw for found in mesh(*texts).compile().wanted}


def test_a_gateway_gets_a_deployment_a_service_and_an_account() -> None:
    found = wanted(gateway("{name: http, port: 80, protocol: HTTP}", "{name: a.b, port: 90, protocol: TCP}"))
    assert {raw["metadata"]["name"] for raw in found.values()} == {"gw-istio"}
    assert found.keys() == {"ServiceAccount", "Deployment", "Service"}
    service = found["Service"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert [(p["name"], p["port"], p["appProtocol"]) for p in service["spec"]["ports"]] == [
        ("status-port", 15021, "tcp"),
        ("http", 80, "http"),
        ("a-b", 90, "tcp"),
    ]
    assert service["metadata"]["ownerReferences"][0]["kind"] == "Gateway"


def test_an_annotation_makes_the_service_internal() -> None:
    found = wanted(gateway(metadata="annotations: {networking.istio.io/service-type: ClusterIP}"))
    assert found["Service"]["spec"]["type"] == "ClusterIP"


def test_labels_of_the_infrastructure_reach_the_pods() -> None:
    found = wanted(gateway(spec="infrastructure: {labels: {team: edge}}"))
    assert found["Deployment"]["spec"]["template"]["metadata"]["labels"]["team"] == "edge"


def test_a_gateway_may_use_a_gateway_that_runs_already() -> None:
    ingress = """
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
"""
    address = "addresses: [{type: Hostname, value: istio-ingressgateway.istio-system.svc.cluster.local}]"
    listener = "{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}"
    made = mesh(
        INGRESS,
        ingress,
        service("a"),
        gateway(listener, namespace="istio-system", spec=address),
        http("r", f"[{rule('', to('a'))}]", parents="[{name: gw, namespace: istio-system}]"),
    )
    assert made.compile().wanted == ()
    assert made.get("istio-ingressgateway", "x:80/", host="x").workload == "a"
    assert made.store.get(kinds.DEPLOYMENT, "istio-system", "gw-istio") is None


def test_client_certificates_are_asked_for_by_an_option() -> None:
    option = "options: {gateway.istio.io/tls-terminate-mode: MUTUAL}"
    tls = f"tls: {{mode: Terminate, {option}, certificateRefs: [{{name: c}}]}}"
    certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t"
    secret = f"""
apiVersion: v1
kind: Secret
metadata: {{name: c, namespace: default}}
data: {{tls.crt: {certificate}, tls.key: LS0tLS1CRUdJTiBLRVktLS0tLQ==, ca.crt: {certificate}}}
"""
    made = mesh(secret, gateway(f"{{name: https, port: 443, protocol: HTTPS, {tls}}}")).deploy()
    (listener,) = made.compile().snapshot.proxies["gw-istio-0"].gateway
    (served,) = listener.tls
    assert served.mode == "MUTUAL"
    assert served.ca_pem.startswith("-----BEGIN CERTIFICATE")


def test_a_listener_that_an_older_gateway_is_in_the_way_of_is_told_where_it_is_written() -> None:
    ingress = """
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, ports: [{name: http2, port: 80, targetPort: 8080}]}
"""
    address = "addresses: [{type: Hostname, value: istio-ingressgateway.istio-system.svc.cluster.local}]"
    old = gateway(
        "{name: http, port: 80, protocol: HTTP}", name="old", namespace="istio-system", spec=address
    )
    new = gateway("{name: x, port: 80, protocol: TCP}", name="new", namespace="istio-system", spec=address)
    (found,) = (f for f in mesh(INGRESS, ingress, old, new).compile().findings if f.code == "KIA0301")
    assert (found.kind, found.name, found.path) == ("Gateway", "new", "spec.listeners[0].port")


def test_a_tls_route_leads_on_what_a_terminating_listener_has_decrypted() -> None:
    certificate, key = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t", "LS0tLS1CRUdJTiBLRVktLS0tLQ=="
    secret = f"""
apiVersion: v1
kind: Secret
metadata: {{name: c, namespace: default}}
data: {{tls.crt: {certificate}, tls.key: {key}}}
"""
    tls = "tls: {mode: Terminate, certificateRefs: [{name: c}]}"
    spec = f"parentRefs: [{{name: gw}}]\nhostnames: [a.com]\nrules: [{rule('', to('db', 9000))}]"
    listener = f"{{name: tls, port: 443, protocol: TLS, {tls}}}"
    made = mesh(
        secret, service("db", "tcp:9000"), gateway(listener), resource("TLSRoute", "r", spec)
    ).deploy()
    assert made.connect("gw-istio", "gw:443", sni="a.com").workload == "db"
    assert made.codes() == []
