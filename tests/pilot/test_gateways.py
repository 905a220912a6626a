"""Gateways' servers: merged by port, with their TLS, and what stands before them."""

from __future__ import annotations

import base64

import pytest

from devmesh.model.port import Protocol
from devmesh.snapshot.proxy import GatewayListener, TlsRules, Topology
from tests.pilot.meshes import INGRESS, Mesh, istio, mesh, service

ID = "istio-system/istio-ingressgateway-0"
CLIENT = service("client", "http:80")


def server(host: str, port: int = 443, protocol: str = "HTTPS", tls: str = "", name: str = "a") -> str:
    more = f", tls: {{{tls}}}" if tls else ""
    number = f"{{number: {port}, name: {name}, protocol: {protocol}}}"
    return f"- {{port: {number}, hosts: [{host}]{more}}}"


def gateway(name: str, *servers: str, namespace: str = "default", selector: str = "ingressgateway") -> str:
    written = "\n".join(servers)
    return istio("Gateway", name, f"selector: {{istio: {selector}}}\nservers:\n{written}", namespace)


def answers(status: int, host: str = "'*'", gateway: str = "gw", name: str = "") -> str:
    spec = f"hosts: [{host}]\ngateways: [{gateway}]\nhttp: [{{directResponse: {{status: {status}}}}}]"
    return istio("VirtualService", name or f"answers-{status}", spec)


def secret(name: str, namespace: str = "istio-system", **data: str) -> str:
    keys = ", ".join(
        f"{key.replace('_', '.')}: {base64.b64encode(value.encode()).decode()}" for key, value in data.items()
    )
    return f"""
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
data: {{{keys}}}
"""


PAIR = {"tls_crt": "CERT", "tls_key": "KEY"}


def listeners(made: Mesh) -> tuple[GatewayListener, ...]:
    return made.compile().snapshot.proxies[ID].gateway


def listener(made: Mesh) -> GatewayListener:
    (found,) = listeners(made)
    return found


def messages(made: Mesh, code: str) -> list[str]:
    return [f"{f.name} {f.path}: {f.message}" for f in made.compile().findings if f.code == code]


SIMPLE = "mode: SIMPLE, credentialName: one"


def test_of_two_servers_for_one_tls_host_the_older_stays() -> None:
    made = mesh(
        INGRESS,
        secret("one", **PAIR),
        gateway("gw", server("a.example", tls=SIMPLE)),
        gateway("late", server("a.example, b.example", tls=SIMPLE)),
        answers(201, "a.example"),
        answers(202, "b.example", "late"),
    )
    assert [tls.hosts for tls in listener(made).tls] == [("a.example",)]
    assert made.get("istio-ingressgateway", "x:443/", host="a.example").status == 201
    assert made.get("istio-ingressgateway", "x:443/", host="b.example").refused
    assert messages(made, "KIA0301") == [
        "late spec.servers[0].hosts: Gateway default/gw has the host a.example on this port already; this "
        "server is left out"
    ]


def test_a_host_of_one_https_server_is_unknown_on_anothers_connections() -> None:
    made = mesh(
        INGRESS,
        secret("one", **PAIR),
        gateway("gw", server("a.example", tls=SIMPLE), server("b.example", tls=SIMPLE, name="b")),
        answers(201, "a.example"),
    )
    hosts = {
        tls.hosts[0]: [host.domains[0] for host in tls.routes.virtual_hosts] if tls.routes else None
        for tls in listener(made).tls
    }
    assert hosts == {"a.example": ["a.example"], "b.example": []}


def test_a_tls_server_ends_tls_before_tcp_beside_an_https_server() -> None:
    made = mesh(
        INGRESS,
        secret("one", **PAIR),
        service("db", "tcp:5432"),
        gateway(
            "gw", server("a.example", tls=SIMPLE), server("db.example", protocol="TLS", tls=SIMPLE, name="b")
        ),
        answers(201, "a.example"),
        istio(
            "VirtualService",
            "db",
            "hosts: [db.example]\ngateways: [gw]\ntcp: [{route: [{destination: {host: db}}]}]",
        ),
    )
    https, tls = listener(made).tls
    assert https.routes
    assert not https.tcp
    assert tls.routes is None
    assert made.connect("istio-ingressgateway", "x:443", sni="db.example").workload == "db"
    assert not listener(made).tcp


def test_passthrough_takes_the_routes_that_its_hosts_cover() -> None:
    rule = """
hosts: [%s]
gateways: [gw]
tls:
- match: [{port: 443, sniHosts: [%s]}]
  route: [{destination: {host: db}}]
"""
    made = mesh(
        INGRESS,
        service("db", "tcp:5432"),
        gateway("gw", server("'*.example'", tls="mode: PASSTHROUGH")),
        istio("VirtualService", "a", rule % ("a.example", "a.example")),
        istio("VirtualService", "b", rule % ("b.test", "b.test")),
        istio("VirtualService", "c", rule % ("a.example", "a.example")),
    )
    assert [route.sni for route in listener(made).tcp] == [("a.example",)]
    assert made.connect("istio-ingressgateway", "x:443", sni="a.example").workload == "db"
    assert made.connect("istio-ingressgateway", "x:443", sni="b.test").refused
    assert messages(made, "KIA1106")[0].startswith("c spec.tls[0].match[0]: a.example is routed already")


def test_at_gateways_callers_and_subnets_of_connections_do_not_count() -> None:
    made = mesh(
        INGRESS,
        service("db", "tcp:5432"),
        gateway("gw", server("'*'", 31400, "TCP")),
        istio(
            "VirtualService",
            "db",
            """
hosts: ['*']
gateways: [gw, mesh]
tcp:
- match: [{gateways: [mesh]}]
  route: [{destination: {host: nobody}}]
- match: [{gateways: [gw], port: 31400, sourceLabels: {app: x}, destinationSubnets: [10.0.0.0/8]}]
  route: [{destination: {host: db}}]
""",
        ),
    )
    assert made.connect("istio-ingressgateway", "x:31400").workload == "db"
    assert listener(made).protocol is Protocol.TCP


def test_auto_passthrough_leads_to_every_cluster_of_its_hosts() -> None:
    made = mesh(
        INGRESS,
        CLIENT,
        service("b", "http:80"),
        service("outside", "http:80", namespace="other"),
        istio("DestinationRule", "b", "host: b\nsubsets: [{name: v1, labels: {version: v1}}]"),
        gateway("gw", server("'*.default.svc.cluster.local'", 15443, "TLS", "mode: AUTO_PASSTHROUGH")),
    )
    assert {route.sni[0] for route in listener(made).tcp} == {
        "outbound_.80_._.client.default.svc.cluster.local",
        "outbound_.80_._.b.default.svc.cluster.local",
        "outbound_.80_.v1_.b.default.svc.cluster.local",
    }
    assert all(route.mesh_only for route in listener(made).tcp)
    name = "outbound_.80_.v1_.b.default.svc.cluster.local"
    assert made.connect("istio-ingressgateway", "x:15443", sni=name).workload == "b"


def test_servers_bound_to_other_addresses_are_other_listeners() -> None:
    bound = server("'*'", 80, "HTTP").replace("- {", "- {bind: 127.0.0.1, ")
    made = mesh(
        INGRESS,
        gateway("gw", server("'*'", 80, "HTTP")),
        gateway("inside", bound),
        gateway("odd", server("'*'", 80, "HTTP").replace("- {", "- {bind: 'unix:///tmp/x', ")),
        answers(201),
    )
    found = [(each.target_port, each.bind, each.local_port) for each in listeners(made)]
    assert found == [(8080, "", 8080), (8080, "127.0.0.1", 0)]
    assert messages(made, "DM0304") == [
        "odd spec.servers[0].bind: unix sockets are not served in devmesh: this server has no effect"
    ]


# -- certificates --


@pytest.mark.parametrize(
    ("secrets", "ca"),
    [
        ([secret("one", **PAIR, ca_crt="CA")], "CA"),
        ([secret("one", cert="CERT", key="KEY", cacert="CA")], "CA"),
        ([secret("one", **PAIR), secret("one-cacert", cacert="CA")], "CA"),
        ([secret("one", **PAIR), secret("one-cacert", ca_crt="CA")], "CA"),
    ],
)
def test_secrets_in_all_of_their_forms(secrets: list[str], ca: str) -> None:
    tls = "mode: MUTUAL, credentialName: one"
    made = mesh(INGRESS, *secrets, gateway("gw", server("a.example", tls=tls)))
    (found,) = listener(made).tls
    assert (found.certificate_pem, found.key_pem, found.ca_pem) == ("CERT", "KEY", ca)
    assert not messages(made, "DM0301")


def test_mutual_without_an_authority_is_told() -> None:
    tls = "mode: MUTUAL, credentialName: one"
    made = mesh(INGRESS, secret("one", **PAIR), gateway("gw", server("a.example", tls=tls)))
    assert "neither the Secret 'one' nor 'one-cacert'" in messages(made, "DM0301")[0]


def test_a_secret_of_another_namespace_than_the_gateways_is_not_seen() -> None:
    made = mesh(INGRESS, secret("one", "default", **PAIR), gateway("gw", server("a.example", tls=SIMPLE)))
    assert listener(made).tls[0].certificate_pem == ""
    assert "in namespace 'istio-system'" in messages(made, "DM0301")[0]


def test_several_credentials_and_an_authority_of_its_own() -> None:
    tls = "mode: MUTUAL, credentialNames: [one, two], caCertCredentialName: roots"
    made = mesh(
        INGRESS,
        secret("one", **PAIR),
        secret("two", tls_crt="CERT2", tls_key="KEY2"),
        secret("roots", ca_crt="ROOTS", ca_crl="GONE"),
        gateway("gw", server("a.example", tls=tls)),
    )
    (found,) = listener(made).tls
    assert (found.certificate_pem, found.more_pems, found.ca_pem) == ("CERT", ("CERT2\nKEY2\n",), "ROOTS")
    assert found.rules.crl_pem == "GONE"


def test_the_rules_of_tls() -> None:
    tls = (
        "mode: MUTUAL, credentialName: one, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLS_AUTO, "
        "cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384, NONSENSE], subjectAltNames: [c.example], "
        "verifyCertificateHash: [AA], verifyCertificateSpki: [BB]"
    )
    made = mesh(INGRESS, secret("one", **PAIR, ca_crt="CA"), gateway("gw", server("a.example", tls=tls)))
    assert listener(made).tls[0].rules == TlsRules(
        "TLSV1_3", "TLSV1_3", ("ECDHE-RSA-AES256-GCM-SHA384",), ("c.example",), ("AA",), ("BB",)
    )
    assert "'NONSENSE' is no cipher suite" in messages(made, "DM0306")[0]


FILES = (
    "mode: MUTUAL, serverCertificate: /etc/istio/ingressgateway-certs/tls.crt, "
    "privateKey: /etc/istio/ingressgateway-certs/tls.key, "
    "caCertificates: /etc/istio/ingressgateway-ca-certs/ca.crt"
)


def test_files_come_from_the_secrets_that_istios_gateways_mount() -> None:
    made = mesh(
        INGRESS,
        secret("istio-ingressgateway-certs", **PAIR),
        secret("istio-ingressgateway-ca-certs", ca_crt="CA"),
        gateway("gw", server("a.example", tls=FILES)),
    )
    (found,) = listener(made).tls
    assert (found.certificate_pem, found.key_pem, found.ca_pem) == ("CERT", "KEY", "CA")


def test_files_come_from_the_volumes_of_the_pod() -> None:
    tls = FILES.replace("/etc/istio/ingressgateway-certs", "/certs")
    made = mesh(
        INGRESS,
        secret("mine", **PAIR),
        secret("istio-ingressgateway-ca-certs", ca_crt="CA"),
        """
apiVersion: v1
kind: Pod
metadata:
  name: istio-ingressgateway-0
  namespace: istio-system
  annotations:
    sidecar.istio.io/userVolume: '[{"name": "mine", "secret": {"secretName": "mine"}}]'
    sidecar.istio.io/userVolumeMount: '[{"name": "mine", "mountPath": "/certs", "readOnly": true}]'
spec: {containers: [{name: istio-proxy, image: auto}]}
""",
        gateway("gw", server("a.example", tls=tls)),
    )
    (found,) = listener(made).tls
    assert (found.certificate_pem, found.key_pem, found.ca_pem) == ("CERT", "KEY", "CA")


def test_a_file_that_is_not_there_is_told() -> None:
    made = mesh(
        INGRESS, gateway("gw", server("a.example", tls=FILES.replace("certs/tls.crt", "certs/x.crt")))
    )
    (found,) = (text for text in messages(made, "DM0301") if "serverCertificate" in text)
    assert "/etc/istio/ingressgateway-certs/x.crt is not mounted into the proxy of istio-ingr" in found


# -- what stands before --


def config(text: str) -> str:
    body = "\n".join(f"    {line}" for line in text.splitlines())
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
{body}
"""


TOPOLOGY = "defaultConfig: {gatewayTopology: {numTrustedProxies: 2, forwardClientCertDetails: SANITIZE}}"


def test_the_mesh_tells_what_stands_before_its_gateways() -> None:
    made = mesh(INGRESS, config(TOPOLOGY))
    assert made.compile().snapshot.proxies[ID].topology == Topology(2, "SANITIZE")
    assert mesh(INGRESS).compile().snapshot.proxies[ID].topology == Topology()


def test_a_pods_annotation_goes_before_the_mesh() -> None:
    made = mesh(INGRESS, config(TOPOLOGY))
    made.change(ID, proxy_config="gatewayTopology: {numTrustedProxies: 1, proxyProtocol: {}}")
    assert made.compile().snapshot.proxies[ID].topology == Topology(1, "SANITIZE", True)


def test_an_annotation_that_cannot_be_read_is_told() -> None:
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: istio-ingressgateway-0, namespace: istio-system}
spec: {containers: []}
"""
    made = mesh(INGRESS, config(TOPOLOGY), pod)
    made.change(ID, proxy_config="gatewayTopology: {numTrustedProxies: many}")
    assert made.compile().snapshot.proxies[ID].topology == Topology(2, "SANITIZE")
    assert "numTrustedProxies" in messages(made, "DM0302")[0]


# -- one VirtualService for both hops --


def test_a_rule_for_the_mesh_and_the_gateway_has_a_match_for_each() -> None:
    rule = """
hosts: [site.example]
gateways: [mesh, istio-egressgateway]
http:
- match: [{gateways: [mesh], port: 80}]
  route: [{destination: {host: client, port: {number: 80}}}]
- match: [{gateways: [istio-egressgateway], port: 80}]
  route: [{destination: {host: b, port: {number: 80}}}]
"""
    made = mesh(
        INGRESS,
        CLIENT,
        service("b", "http:80"),
        gateway("istio-egressgateway", server("site.example", 80, "HTTP")),
        istio(
            "ServiceEntry",
            "site",
            "hosts: [site.example]\nports: [{number: 80, name: http, protocol: HTTP}]\nresolution: DNS",
        ),
        istio("VirtualService", "both", rule),
    )
    assert made.get("client", "site.example:80/").workload == "client"
    assert made.get("istio-ingressgateway", "x:80/", host="site.example").workload == "b"
