"""A Sidecar's ingress listeners and connection pools."""

from __future__ import annotations

import json

import pytest

from devmesh.config import kinds
from devmesh.model.port import Protocol
from devmesh.snapshot.proxy import InboundPort, LastHop, MtlsMode
from tests.pilot.meshes import Mesh, istio, mesh, service

ANNOTATIONS = {
    "sidecar.istio.io/userVolume": json.dumps({"tls": {"secret": {"secretName": "server"}}}),
    "sidecar.istio.io/userVolumeMount": json.dumps(
        {"tls": {"mountPath": "/etc/istio/tls/", "readOnly": True}}
    ),
}
TLS = """
ingress:
- port: {number: 9080, protocol: HTTPS, name: external}
  defaultEndpoint: 0.0.0.0:8080
  tls: {mode: MUTUAL, privateKey: /etc/istio/tls/tls.key, serverCertificate: /etc/istio/tls/tls.crt,
        caCertificates: /etc/istio/tls/ca.crt}
"""
STRICT_BUT_9080 = """
selector: {matchLabels: {app: b}}
mtls: {mode: STRICT}
portLevelMtls: {9080: {mode: DISABLE}}
"""


def ports(found: Mesh, instance: str = "b-0") -> dict[int, InboundPort]:
    return dict(found.compile().snapshot.proxies[instance].inbound.ports)


def with_sidecar(spec: str, *more: str) -> Mesh:
    return mesh(service("a"), service("b", "http:80:8080"), istio("Sidecar", "side", spec), *more)


def test_ingress_listeners_replace_the_ports_of_services() -> None:
    found = ports(
        with_sidecar(
            """
workloadSelector: {labels: {app: b}}
ingress: [{port: {number: 9090, protocol: HTTP, name: x}, defaultEndpoint: "127.0.0.1:8080"}]
"""
        )
    )
    assert set(found) == {9090}
    port = found[9090]
    assert (port.protocol, port.cluster) == (Protocol.HTTP, "inbound|9090||")
    assert port.service is not None
    assert port.service.host == "side.default"
    assert port.last_hop == LastHop("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("endpoint", "last"),
    [
        ("127.0.0.1:5000", LastHop("127.0.0.1", 5000)),
        ("0.0.0.0:5000", LastHop("10.0.0.2", 5000)),
        ("'[::1]:5000'", LastHop("::1", 5000)),
        ("'[::]:5000'", LastHop("::1", 5000)),  # it has no IPv6 address
        ("unix:///run/app.sock", LastHop("unix:///run/app.sock", 0)),
        ("''", None),
    ],
)
def test_the_default_endpoint_is_the_last_hop(endpoint: str, last: LastHop | None) -> None:
    spec = f"ingress: [{{port: {{number: 8080, protocol: HTTP, name: x}}, defaultEndpoint: {endpoint}}}]"
    assert ports(with_sidecar(spec))[8080].last_hop == last


def test_a_sidecar_without_ingress_leaves_the_ports_of_services() -> None:
    assert set(ports(with_sidecar("egress: [{hosts: ['./*']}]"))) == {8080}


def test_other_workloads_keep_theirs() -> None:
    spec = """
workloadSelector: {labels: {app: a}}
ingress: [{port: {number: 1, protocol: HTTP, name: x}}]
"""
    assert set(ports(with_sidecar(spec))) == {8080}


def secret(found: Mesh) -> Mesh:
    data = {"tls.crt": "Q0VSVA==", "tls.key": "S0VZ", "ca.crt": "Q0E="}
    found.store.create(
        kinds.SECRET, {"metadata": {"name": "server", "namespace": "default"}, "type": "Opaque", "data": data}
    )
    pod = {"metadata": {"name": "b-0", "namespace": "default", "annotations": ANNOTATIONS}, "spec": {}}
    found.store.create(kinds.POD, {**pod, "spec": {"containers": [{"name": "x", "image": "x"}]}})
    return found


def test_tls_of_a_listener_comes_from_what_the_pod_mounts_into_its_proxy() -> None:
    found = secret(with_sidecar(TLS, istio("PeerAuthentication", "b", STRICT_BUT_9080)))
    port = ports(found)[9080]
    assert port.tls is not None
    assert (port.tls.mode, port.tls.certificate_pem, port.tls.key_pem, port.tls.ca_pem) == (
        "MUTUAL",
        "CERT",
        "KEY",
        "CA",
    )
    assert (port.protocol, port.mtls) == (Protocol.HTTP, MtlsMode.DISABLE)


def test_tls_of_a_listener_needs_mutual_tls_to_be_off() -> None:
    port = ports(secret(with_sidecar(TLS)))[9080]
    assert (port.tls, port.protocol) == (None, Protocol.HTTPS)


def test_files_that_are_not_mounted_are_told() -> None:
    found = with_sidecar(TLS, istio("PeerAuthentication", "b", STRICT_BUT_9080))
    told = [f for f in found.compile().findings if f.code == "DM0301"]
    assert [f.path.rpartition(".")[2] for f in told] == ["caCertificates", "privateKey", "serverCertificate"]
    assert "/etc/istio/tls/ca.crt is not mounted into the proxy of b-0" in told[0].message


POOL = "{{tcp: {{maxConnections: {}}}}}"


@pytest.mark.parametrize(
    ("sidecar", "limit"),
    [
        ("egress: [{hosts: ['*/*']}]", 1),
        (f"inboundConnectionPool: {POOL.format(2)}", 2),
        ("ingress: [{port: {number: 8080, protocol: HTTP, name: x}}]", 1),
        (
            f"inboundConnectionPool: {POOL.format(2)}\n"
            f"ingress: [{{port: {{number: 8080, protocol: HTTP, name: x}}, "
            f"connectionPool: {POOL.format(3)}}}]",
            3,
        ),
    ],
)
def test_the_receiving_side_has_the_nearest_connection_pool(sidecar: str, limit: int) -> None:
    rule = istio("DestinationRule", "b", f"host: b\ntrafficPolicy: {{connectionPool: {POOL.format(1)}}}")
    assert ports(with_sidecar(sidecar, rule))[8080].limits.max_connections == limit
