"""A proxy's configuration as rows with istioctl's columns."""

from __future__ import annotations

import dataclasses

import pytest

from devmesh.api.console import proxy_config
from devmesh.api.console.proxy_routes import routes
from devmesh.model.port import Protocol
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.cluster import TlsMode, UpstreamTls
from devmesh.snapshot.match import Exact, Present, Regex, StringMatch, Suffix
from devmesh.snapshot.proxy import GatewayListener, Inbound, InboundPort, MtlsMode, Proxy, ServerTls, TcpRoute
from devmesh.snapshot.route import (
    Cors,
    DirectResponse,
    Fault,
    Match,
    Mirror,
    Redirect,
    Retry,
    Rewrite,
    Route,
    RouteTable,
    VirtualHost,
    Weighted,
)
from tests.telemetry.bookinfo import DETAILS, INGRESS, NOON, host, identity, instance, proxy


@pytest.fixture
def sidecar() -> Proxy:
    return proxy(instance(DETAILS, 2))


def with_route(of: Proxy, route: Route) -> Proxy:
    table = RouteTable.of("80", (VirtualHost("any", ("*",), (route,)),))
    return dataclasses.replace(
        of, gateway=(GatewayListener(80, 8080, Protocol.HTTP, routes=table),), inbound=Inbound()
    )


def test_clusters(sidecar: Proxy) -> None:
    rows = [
        (row.service_fqdn, row.port, row.subset, row.direction, row.type, row.destination_rule)
        for row in proxy_config.clusters(sidecar)
    ]
    assert rows == [
        ("", "9080", "-", "inbound", "ORIGINAL_DST", ""),
        ("PassthroughCluster", "-", "-", "-", "EDS", ""),
        (host("reviews"), "9080", "v1", "outbound", "EDS", "reviews.default"),
        (host("reviews"), "9080", "v2", "outbound", "EDS", "reviews.default"),
    ]


def test_endpoints(sidecar: Proxy) -> None:
    rows = [(row.endpoint, row.cluster, row.workload, row.mtls) for row in proxy_config.endpoints(sidecar)]
    assert rows == [
        ("10.0.0.4:9080", f"outbound|9080|v1|{host('reviews')}", "default/reviews-v1", True),
        ("10.0.0.4:9080", f"outbound|9080|v2|{host('reviews')}", "default/reviews-v2", True),
        ("127.0.0.1:9080", "inbound|9080||", "default/details-v1", False),
    ]


def test_listeners_of_a_sidecar(sidecar: Proxy) -> None:
    rows = [(row.addresses, row.port, row.match, row.destination) for row in proxy_config.listeners(sidecar)]
    assert rows == [
        ("240.240.0.9", 3306, "ALL", "Cluster: outbound|3306||mysql"),
        ("0.0.0.0", 9080, "Trans: raw_buffer; App: http/1.1,h2c", "Route: 9080"),
        ("0.0.0.0", 15001, "ALL", "PassthroughCluster"),
        ("0.0.0.0", 15006, "Trans: tls; App: istio; Addr: *:9080", "Cluster: inbound|9080||"),
        ("0.0.0.0", 15006, "Trans: tls; App: istio; Addr: *", "InboundPassthroughCluster"),
        ("0.0.0.0", 15006, "Trans: raw_buffer; Addr: *", "InboundPassthroughCluster"),
    ]


@pytest.mark.parametrize(
    ("mode", "matches"),
    [
        (MtlsMode.STRICT, ["Trans: tls; App: istio; Addr: *"]),
        (MtlsMode.DISABLE, ["Trans: raw_buffer; Addr: *"]),
        (MtlsMode.PERMISSIVE, ["Trans: tls; App: istio; Addr: *", "Trans: raw_buffer; Addr: *"]),
    ],
)
def test_what_comes_in_depends_on_the_mode(sidecar: Proxy, mode: MtlsMode, matches: list[str]) -> None:
    changed = dataclasses.replace(sidecar, inbound=Inbound(mtls=mode))
    assert [row.match for row in proxy_config.listeners(changed) if row.port == 15006] == matches


def test_listeners_of_a_gateway(sidecar: Proxy) -> None:
    table = RouteTable.of("https.443", ())
    tls = ServerTls("SIMPLE", ("bookinfo.com", "*.org"), routes=table)
    passed = TcpRoute((Weighted("outbound|443||db"),), ("db.com",))
    gateway = Proxy(
        instance(INGRESS, 7),
        sidecar.outbound,
        gateway=(
            GatewayListener(80, 8080, Protocol.HTTP, routes=RouteTable.of("http.8080", ())),
            GatewayListener(443, 8443, Protocol.HTTPS, routes=table, tcp=(passed,), tls=(tls,)),
        ),
    )
    assert [(row.port, row.match, row.destination) for row in proxy_config.listeners(gateway)] == [
        (8080, "Trans: raw_buffer; App: http/1.1,h2c", "Route: http.8080"),
        (8443, "SNI: bookinfo.com,*.org", "Route: https.443"),
        (8443, "SNI: db.com", "Cluster: outbound|443||db"),
    ]


def test_routes_in_the_order_in_which_they_are_tried(sidecar: Proxy) -> None:
    jason, rest, inbound = routes(sidecar)
    assert (jason.name, jason.vhost_name, jason.match) == ("9080", "reviews:9080", "/reviews*")
    assert jason.virtual_service == rest.virtual_service == "reviews.default"
    assert jason.conditions == ("header end-user: jason",)
    assert jason.actions == ("delay 7 s for 100 %", "timeout 0.5 s")
    assert jason.origin == "VirtualService default/reviews spec.http[0] (networking/reviews.yaml:12)"
    assert rest.match == "/*"
    assert rest.destinations == {
        f"outbound|9080|v1|{host('reviews')}": 90,
        f"outbound|9080|v2|{host('reviews')}": 10,
    }
    assert (inbound.name, inbound.vhost_name, inbound.domains) == (
        "inbound|9080||",
        "inbound|http|9080",
        ("*",),
    )


@pytest.mark.parametrize(
    ("route", "actions"),
    [
        (Route(redirect=Redirect(302)), ("redirect 302",)),
        (Route(direct=DirectResponse(418)), ("answer 418",)),
        (Route(fault=Fault(abort_status=500, abort_percent=10)), ("abort 500 for 10 %",)),
        (
            Route(rewrite=Rewrite("/"), retry=Retry(3), mirrors=(Mirror("m", 5),), cors=Cors()),
            ("rewrite", "retries 3", "mirror 5 % to m", "cors"),
        ),
    ],
)
def test_what_a_route_does(sidecar: Proxy, route: Route, actions: tuple[str, ...]) -> None:
    row = next(row for row in routes(with_route(sidecar, route)) if row.name == "80")
    assert row.actions == actions


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "/*"),
        (Exact("/login"), "/login"),
        (Suffix(".js"), "*.js"),
        (Regex("/a.*", None), "regex /a.*"),  # type: ignore[arg-type]
        (Present(), "*"),
    ],
)
def test_how_a_path_is_matched(sidecar: Proxy, path: StringMatch | None, said: str) -> None:
    changed = with_route(sidecar, Route(matches=(Match(path=path),)))
    assert next(row for row in routes(changed) if row.name == "80").match == said


def test_what_else_has_to_hold(sidecar: Proxy) -> None:
    match = Match(
        method=Exact("GET"),
        headers=(("x", Present()),),
        without=(("y", Exact("1")),),
        query=(("q", Exact("2")),),
    )
    changed = with_route(sidecar, Route(matches=(match,)))
    row = next(row for row in routes(changed) if row.name == "80")
    assert row.conditions == ("method GET", "header x: *", "without header y: 1", "query q=2")


def test_a_tcp_port_has_no_inbound_route(sidecar: Proxy) -> None:
    tcp = InboundPort(3306, Protocol.TCP, MtlsMode.PERMISSIVE, None, "inbound|3306||")
    changed = dataclasses.replace(sidecar, inbound=Inbound(ports={3306: tcp}))
    assert all(not row.name.startswith("inbound") for row in routes(changed))


@pytest.mark.parametrize(("now", "valid"), [(NOON, True), (NOON + 86_401, False), (NOON - 200, False)])
def test_a_certificate_is_valid_in_its_time(now: float, valid: bool) -> None:
    certificates = Certificates(CertificateAuthority("cluster.local", NOON), lambda: NOON)
    chain, root = proxy_config.secrets(certificates.describe(identity(DETAILS)), now)
    assert (chain.type, chain.valid_cert) == ("Cert Chain", valid)
    assert (root.type, root.status) == ("CA", "ACTIVE")
    assert chain.serial_number != root.serial_number


def test_secrets_of_users_are_shown_by_their_names(sidecar: Proxy) -> None:
    pem = Certificates(CertificateAuthority("cluster.local", NOON), lambda: NOON).describe(identity(DETAILS))
    name, cluster = next(iter(sidecar.outbound.clusters.items()))
    tls = UpstreamTls(
        TlsMode.MUTUAL, ca_pem=pem.roots_pem, certificate_pem=pem.certificate_pem, credential="client"
    )
    outbound = dataclasses.replace(sidecar.outbound, clusters={name: dataclasses.replace(cluster, tls=tls)})
    chain, authority = proxy_config.credentials(dataclasses.replace(sidecar, outbound=outbound), NOON)
    assert (chain.resource_name, chain.type, chain.status) == ("kubernetes://client", "Cert Chain", "ACTIVE")
    assert (chain.serial_number, chain.valid_cert) == (pem.serial, True)
    assert (authority.resource_name, authority.type) == ("kubernetes://client-cacert", "CA")
    assert proxy_config.credentials(sidecar, NOON) == []
