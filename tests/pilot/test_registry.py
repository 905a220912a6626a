from __future__ import annotations

from devmesh.snapshot.proxy import Target
from tests.pilot.meshes import INGRESS, Mesh, deployment, istio, mesh, service

CLIENT = service("client")


def outbound(made: Mesh, client: str = "client-0"):  # type: ignore[no-untyped-def]
    return made.compile().snapshot.proxies[client].outbound


def address(made: Mesh, host: str) -> str:
    return made.compile().snapshot.names[f"{host}.default.svc.cluster.local"][0]


def test_requests_go_to_the_target_port_by_number_or_name() -> None:
    made = mesh(CLIENT, service("b", "http:80:8080", "http-x:81:admin"))
    assert made.get("client", "b:80").address == ("10.0.0.2", 8080)
    assert made.get("client", "b:81").flags == "UH"
    made.change("b-0", ports={"admin": 9999})
    assert made.get("client", "b:81").address == ("10.0.0.2", 9999)


def test_what_is_not_ready_gets_nothing() -> None:
    made = mesh(CLIENT, service("b"))
    made.change("b-0", ready=False)
    assert made.get("client", "b").flags == "UH"
    snapshot = made.compile().snapshot
    assert snapshot.backends[address(made, "b"), 80] == ()
    assert 80 in snapshot.proxies["b-0"].inbound.ports  # it accepts all the same
    made.apply(service("b", spec="publishNotReadyAddresses: true").partition("---")[0])
    assert made.get("client", "b").workload == "b"


def test_a_service_without_a_selector_has_the_endpoints_written_for_it() -> None:
    made = mesh(
        CLIENT,
        """
apiVersion: v1
kind: Service
metadata: {name: manual}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual}
subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{name: http, port: 8888}]}]
""",
    )
    outcome = made.get("client", "manual")
    assert outcome.address == ("192.0.2.1", 8888)
    assert outcome.endpoint
    assert outcome.endpoint.instance is None
    assert not outcome.mtls


SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: manual{more}}}}}
addressType: {type}
ports: [{{name: http, port: 8888}}]
endpoints: [{{addresses: [{address}], conditions: {{{conditions}}}}}]
"""


def slice_of(
    address: str, name: str = "one", more: str = "", family: str = "IPv4", conditions: str = ""
) -> str:
    return SLICE.format(name=name, more=more, type=family, address=address, conditions=conditions)


def test_a_service_without_a_selector_has_the_slices_written_for_it() -> None:
    manual = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: manual}\nspec: {ports: [{name: http, port: 80}]}"
    )
    ours = ", endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io"
    made = mesh(
        CLIENT,
        manual
        + slice_of("192.0.2.1")
        + slice_of("192.0.2.2", "two", conditions="ready: false")
        + slice_of("192.0.2.3", "three", conditions="ready: true")
        + slice_of("192.0.2.4", "four", more=ours)
        + slice_of("b.example", "five", family="FQDN"),
    )
    found = outbound(made).clusters["outbound|80||manual.default.svc.cluster.local"].endpoints
    assert [e.key for e in found] == [("192.0.2.1", 8888), ("192.0.2.3", 8888)]


def test_a_tcp_port_listens_on_the_virtual_address() -> None:
    made = mesh(CLIENT, service("db", "tcp:5432"))
    target = outbound(made).by_address[address(made, "db"), 5432]
    assert target.protocol.value == "tcp"
    assert made.connect("client", "db:5432").cluster == "outbound|5432||db.default.svc.cluster.local"
    assert 5432 not in outbound(made).by_port
    assert made.connect("client", "10.9.9.9:5432").cluster == "PassthroughCluster"


def test_a_port_without_a_protocol_is_sniffed_at_the_virtual_address() -> None:
    made = mesh(CLIENT, service("any", "web:7000"))
    target: Target = outbound(made).by_address[address(made, "any"), 7000]
    assert target.protocol.value == "auto"
    assert made.get("client", "any:7000", host="whatever.example").workload == "any"
    assert made.connect("client", "any:7000").workload == "any"


def test_http_services_share_the_port_whatever_address_is_dialled() -> None:
    made = mesh(CLIENT, service("b"))
    assert made.get("client", "203.0.113.9", host="b").workload == "b"
    assert (address(made, "b"), 80) not in outbound(made).by_address


HEADLESS = service("db", "tcp:5432", "http:80", spec="clusterIP: None").replace("Deployment", "StatefulSet")


def test_a_headless_service_is_its_pods() -> None:
    made = mesh(CLIENT, HEADLESS.replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector"))
    snapshot = made.compile().snapshot
    host = "db.default.svc.cluster.local"
    assert snapshot.names[host] == ("10.0.0.2", "10.0.0.3")
    assert snapshot.names[f"db-1.{host}"] == ("10.0.0.3",)
    one = made.connect("client", "db-1.db:5432")
    assert (one.cluster, one.address, one.mtls) == (f"outbound|5432||{host}", ("10.0.0.3", 5432), True)
    assert one.endpoint
    assert one.endpoint.instance == "db-1"
    http = made.get("client", "db-1.db:80", host="db-1.db")
    assert (http.cluster, http.address) == (f"outbound|80||{host}", ("10.0.0.3", 80))
    made.change("db-1", ready=False)
    assert made.compile().snapshot.names[host] == ("10.0.0.2",)


def test_names_of_pods_have_one_family() -> None:
    """A captured connection is accepted whatever the program listens on: clients would not fall back."""
    made = mesh(CLIENT, HEADLESS)
    made.change("db-0", addresses=("10.0.0.2", "fd00::2"))
    names = made.compile().snapshot.names
    assert (
        names["db.default.svc.cluster.local"] == names["db-0.db.default.svc.cluster.local"] == ("10.0.0.2",)
    )


def test_a_gateway_chooses_among_the_pods_of_a_headless_service() -> None:
    made = mesh(
        INGRESS,
        HEADLESS,
        istio(
            "Gateway",
            "gw",
            "selector: {istio: ingressgateway}\n"
            "servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]",
        ),
        istio(
            "VirtualService",
            "db",
            "hosts: ['*']\ngateways: [gw]\nhttp: [{route: [{destination: {host: db, port: {number: 80}}}]}]",
        ),
    )
    assert made.get("istio-ingressgateway", "x:80/").workload == "db"


def test_an_external_name_is_an_alias() -> None:
    made = mesh(
        CLIENT,
        service("b"),
        """
apiVersion: v1
kind: Service
metadata: {name: other-name}
spec: {type: ExternalName, externalName: b.default.svc.cluster.local}
""",
    )
    assert made.compile().snapshot.aliases == {
        "other-name.default.svc.cluster.local": "b.default.svc.cluster.local"
    }
    assert made.get("client", "other-name", host="other-name").workload == "b"


def test_an_external_name_of_the_world_is_looked_up() -> None:
    made = mesh(
        CLIENT,
        """
apiVersion: v1
kind: Service
metadata: {name: far}
spec: {type: ExternalName, externalName: api.example.com, ports: [{name: http, port: 80}]}
""",
    )
    snapshot = made.compile().snapshot
    assert snapshot.aliases == {"far.default.svc.cluster.local": "api.example.com"}
    cluster = next(iter(snapshot.proxies.values())).outbound.clusters[
        "outbound|80||far.default.svc.cluster.local"
    ]
    assert [endpoint.key for endpoint in cluster.endpoints] == [("api.example.com", 80)]


def entry(spec: str, name: str = "entry", namespace: str = "default") -> str:
    return istio("ServiceEntry", name, spec, namespace)


def test_static_endpoints_have_ports_weights_and_labels() -> None:
    made = mesh(
        CLIENT,
        entry("""
hosts: [static.example]
addresses: [240.240.9.9]
ports: [{number: 80, name: http, protocol: HTTP}]
resolution: STATIC
endpoints:
- {address: 192.0.2.1, ports: {http: 8080}, weight: 3, labels: {version: v1}}
- {address: 192.0.2.2, labels: {version: v2}}
"""),
        istio(
            "DestinationRule",
            "static",
            "host: static.example\nsubsets: [{name: v2, labels: {version: v2}}]",
        ),
    )
    clusters = outbound(made).clusters
    whole = clusters["outbound|80||static.example"]
    assert [(*e.key, e.weight) for e in whole.endpoints] == [("192.0.2.1", 8080, 3), ("192.0.2.2", 80, 1)]
    assert whole.weighted
    assert [e.key for e in clusters["outbound|80|v2|static.example"].endpoints] == [("192.0.2.2", 80)]
    assert made.compile().snapshot.names["static.example"] == ("240.240.9.9",)


def test_an_endpoint_that_is_a_workload_is_one() -> None:
    made = mesh(
        CLIENT,
        service("b"),
        entry("""
hosts: [inside.example]
addresses: [240.240.9.9]
ports: [{number: 80, name: http, protocol: HTTP}]
location: MESH_INTERNAL
resolution: STATIC
endpoints: [{address: 10.0.0.2}]
"""),
    )
    outcome = made.get("client", "inside.example")
    assert (outcome.workload, outcome.mtls) == ("b", True)


def test_what_is_external_is_never_called_by_mutual_tls() -> None:
    made = mesh(
        CLIENT,
        service("b"),
        entry("""
hosts: [outside.example]
addresses: [240.240.9.9]
ports: [{number: 80, name: http, protocol: HTTP}]
resolution: STATIC
endpoints: [{address: 10.0.0.2}]
"""),
    )
    assert not made.get("client", "outside.example").mtls


def test_a_workload_selector_selects_pods() -> None:
    made = mesh(
        CLIENT,
        deployment("vm"),
        entry("""
hosts: [vm.example]
ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
location: MESH_INTERNAL
resolution: STATIC
workloadSelector: {labels: {app: vm}}
"""),
    )
    outcome = made.get("client", "vm.example")
    assert (outcome.workload, outcome.address) == ("vm", ("10.0.0.2", 8080))
    assert made.compile().snapshot.proxies["vm-0"].inbound.ports[8080].service


def test_the_address_that_was_given_out_is_used() -> None:
    made = mesh(
        CLIENT,
        entry("hosts: [db.example]\nports: [{number: 5432, name: tcp, protocol: TCP}]\nresolution: DNS")
        + 'status: {addresses: [{host: db.example, value: "240.240.1.2"}]}',
    )
    assert made.compile().snapshot.names["db.example"] == ("240.240.1.2",)
    outcome = made.connect("client", "db.example:5432")
    assert (outcome.cluster, outcome.address) == ("outbound|5432||db.example", ("db.example", 5432))


def test_without_an_address_tcp_takes_the_whole_port_and_tls_goes_by_its_name() -> None:
    made = mesh(
        CLIENT,
        entry("hosts: [db.example]\nports: [{number: 5432, name: tcp, protocol: TCP}]\nresolution: DNS"),
        entry("hosts: [a.example]\nports: [{number: 443, name: tls, protocol: TLS}]\nresolution: DNS", "a"),
        entry("hosts: ['*.b.example']\nports: [{number: 443, name: tls, protocol: TLS}]", "b"),
    )
    assert made.connect("client", "203.0.113.1:5432").cluster == "outbound|5432||db.example"
    clusters = [
        made.connect("client", "203.0.113.1:443", sni=name).cluster
        for name in ("a.example", "x.b.example", "c.example")
    ]
    assert clusters == ["outbound|443||a.example", "outbound|443||*.b.example", "PassthroughCluster"]


def test_resolution_none_goes_where_the_caller_dialled() -> None:
    made = mesh(CLIENT, entry("hosts: ['*.wild.example']\nports: [{number: 80, name: http, protocol: HTTP}]"))
    outcome = made.get("client", "203.0.113.7", host="x.wild.example")
    assert (outcome.cluster, outcome.address) == ("outbound|80||*.wild.example", ("203.0.113.7", 80))
    assert "*.wild.example" not in made.compile().snapshot.names


def test_entries_of_one_namespace_for_one_host_are_one_service() -> None:
    ports = "ports: [{number: %s, name: http, protocol: HTTP}]\nresolution: STATIC\n"
    made = mesh(
        CLIENT,
        entry("hosts: [a.example]\n" + ports % 80 + "endpoints: [{address: 192.0.2.1}]", "one"),
        entry("hosts: [a.example]\n" + ports % 81 + "endpoints: [{address: 192.0.2.2}]", "two"),
    )
    clusters = outbound(made).clusters
    assert [e.address for e in clusters["outbound|81||a.example"].endpoints] == ["192.0.2.1", "192.0.2.2"]


def test_a_kubernetes_service_comes_before_an_entry_of_its_name() -> None:
    made = mesh(
        CLIENT,
        entry("""
hosts: [b.default.svc.cluster.local]
ports: [{number: 80, name: http, protocol: HTTP}]
resolution: STATIC
endpoints: [{address: 192.0.2.1}]
"""),
        service("b"),
    )
    assert made.get("client", "b").workload == "b"


def test_tls_routes_go_by_server_name() -> None:
    made = mesh(
        CLIENT,
        service("egress", "tls:443"),
        entry("hosts: [a.example]\nports: [{number: 443, name: tls, protocol: TLS}]\nresolution: DNS"),
        istio(
            "VirtualService",
            "a",
            """
hosts: [a.example]
tls:
- match: [{port: 443, sniHosts: [a.example]}]
  route: [{destination: {host: egress, port: {number: 443}}}]
""",
        ),
    )
    assert made.connect("client", "203.0.113.1:443", sni="a.example").workload == "egress"


def test_a_tls_rule_takes_the_place_of_the_services_own_route() -> None:
    made = mesh(
        CLIENT,
        service("web", "tls:443"),
        service("other", "tls:443"),
        istio(
            "VirtualService",
            "web",
            """
hosts: [web]
tls: [{match: [{sniHosts: [web.example]}], route: [{destination: {host: other}}]}]
""",
        ),
    )
    assert made.connect("client", "web:443", sni="web.example").workload == "other"
    assert made.connect("client", "web:443", sni="web").cluster == "PassthroughCluster"


def test_tcp_rules_of_every_virtual_service_count() -> None:
    rule = "tcp: [{match: [{%s}], route: [{destination: {host: %s}}]}]"
    made = mesh(
        CLIENT,
        service("db", "tcp:5432"),
        service("one", "tcp:1"),
        service("two", "tcp:1"),
        istio("VirtualService", "http-only", "hosts: [db]\nhttp: [{directResponse: {status: 201}}]"),
        istio("VirtualService", "a", "hosts: [db]\n" + rule % ("sourceLabels: {app: nobody}", "one")),
        istio("VirtualService", "b", "hosts: [db]\n" + rule % ("port: 5432", "two")),
    )
    assert made.connect("client", "db:5432").workload == "two"


def test_subnets_are_those_of_the_service() -> None:
    rule = """
hosts: [db]
tcp: [{match: [{destinationSubnets: [%s]}], route: [{destination: {host: one}}]}]
"""
    made = mesh(CLIENT, service("db", "tcp:5432"), service("one", "tcp:1"))
    assert (
        made.apply(istio("VirtualService", "db", rule % "240.240.0.0/16"))
        .connect("client", "db:5432")
        .workload
        == "one"
    )
    assert (
        made.apply(istio("VirtualService", "db", rule % "10.0.0.0/8")).connect("client", "db:5432").workload
        == "db"
    )


def test_a_call_to_oneself_is_a_call() -> None:
    assert mesh(CLIENT).get("client", "client").workload == "client"


def test_the_first_service_has_a_shared_target_port() -> None:
    made = mesh(
        service("b", "http:80:8080"),
        service("c", "tcp:81:8080").partition("---")[0].replace("app: c", "app: b"),
    )
    port = made.compile().snapshot.proxies["b-0"].inbound.ports[8080]
    assert (port.protocol.value, port.service and port.service.name) == ("http", "b")


def test_replicas_share_what_they_accept() -> None:
    made = mesh(service("b").replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector"))
    proxies = made.compile().snapshot.proxies
    assert proxies["b-0"].inbound is proxies["b-1"].inbound


def test_udp_ports_lead_to_where_udp_is_received_whatever_tcp_does() -> None:
    tcp = "{name: tcp-dns, port: 53, targetPort: 5301}"
    udp = "{name: dns, port: 53, targetPort: 5302, protocol: UDP}"
    made = mesh(CLIENT, service("b", spec=f"ports: [{tcp}, {udp}]"))
    snapshot = made.compile().snapshot
    vip = address(made, "b")
    assert snapshot.backends[vip, 53] == (("10.0.0.2", 5301),)
    assert snapshot.datagrams == {(vip, 53): (("10.0.0.2", 5302),)}
    made.change("b-0", ready=False)
    assert made.compile().snapshot.datagrams == {(vip, 53): ()}
