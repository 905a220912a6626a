"""A gateway's listener over memory: TLS by name, what the world is told, and what those behind are."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from devmesh.model.port import Protocol
from devmesh.proxy.arriving_gateway import GatewayArrival, listener_of
from devmesh.proxy.client_hello import HTTP2_PREFACE
from devmesh.proxy.pruning import prune
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.tls import TlsConnection
from devmesh.security.contexts import ALPN_HTTP2, load_chain
from devmesh.snapshot.match import Exact
from devmesh.snapshot.proxy import GatewayListener, Proxy, ServerTls, TcpRoute, TlsRules, Topology
from devmesh.snapshot.route import Match, Redirect, Route, RouteTable, VirtualHost, Weighted
from devmesh.testing.reactor import MemoryConnection
from tests.proxy.meshes import (
    CLUSTER,
    TO_B,
    End,
    Mesh,
    body_of,
    cluster,
    endpoint,
    head_of,
    instance,
    snapshot,
    status_of,
)
from tests.security.certificates import Made, authority, issue

GATEWAY = instance("gateway", "10.1.0.9")
CA = authority()
ONE, TWO = issue(CA, "one.example"), issue(CA, "two.example")
CLIENT = issue(CA, "client.example")
PLAIN = Topology()
EDGE = ("203.0.113.9", 5555)


def table(host: str, *routes: Route) -> RouteTable:
    return RouteTable.of(f"https.443.{host}", (VirtualHost(f"{host}:443", (host,), routes or (TO_B,)),))


def ended(pair: Made, host: str, mode: str = "SIMPLE", **more: object) -> ServerTls:
    given: dict[str, object] = {"routes": table(host)} | more
    return ServerTls(mode, (host,), pair.pem, pair.key_pem, CA.pem, **given)  # type: ignore[arg-type]


class Edge(Mesh):
    """The mesh with a gateway before `b`."""

    def __init__(self, listener: GatewayListener, topology: Topology = PLAIN, **changed: object) -> None:
        clusters = (cluster(endpoint(**changed)),)  # type: ignore[arg-type]
        super().__init__(snapshot(clusters=clusters))
        self.set(listener, topology)

    def set(self, listener: GatewayListener, topology: Topology = PLAIN) -> None:
        base = self.feed.current
        proxy = Proxy(GATEWAY, base.proxies["a"].outbound, gateway=(listener,), topology=topology)
        self.publish(replace(base, proxies={**base.proxies, "gateway": proxy}))

    def arrive(self, remote: tuple[str, int] = EDGE) -> MemoryConnection:
        def accepted(connection: Connection) -> None:
            proxy = self.feed.current.proxies["gateway"]
            GatewayArrival(self.plane, proxy, proxy.gateway[0], connection).start()

        return self.reactor.connect(accepted, remote=remote)

    def ask(self, data: bytes, remote: tuple[str, int] = EDGE) -> bytes:
        end = End(self.arrive(remote))
        end.connection.send(data)
        self.reactor.settle()
        return end.data

    def by_tls(
        self,
        name: str,
        data: bytes = b"",
        certificate: Made | None = None,
        context: ssl.SSLContext | None = None,
    ) -> Secure:
        found = Secure(self.arrive(), context or trusting(certificate), name)
        self.reactor.settle()
        if data:
            found.end.connection.send(data)
            self.reactor.settle()
        return found


class Secure(Owner):
    """A client that speaks TLS."""

    def __init__(self, raw: MemoryConnection, context: ssl.SSLContext, name: str) -> None:
        self.failure = ""
        self.up = False
        self.connection = TlsConnection(raw, self, context, server=False, server_name=name)
        self.end = End(self.connection)
        self.end.connection.owner = self
        if raw.established:
            self.connection.start()

    def connected(self) -> None:
        self.up = True
        self.connection.owner = self.end

    def lost(self, reason: str) -> None:
        self.failure = reason

    @property
    def certificate(self) -> str:
        """The common name of what the gateway showed."""
        shown: dict[str, Any] = self.connection.session.getpeercert() or {}
        return str(dict(pair for part in shown["subject"] for pair in part)["commonName"])


def trusting(certificate: Made | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=CA.pem)
    if certificate is not None:
        load_chain(context, certificate.both)
    return context


def get(host: str, *lines: str, path: str = "/x") -> bytes:
    more = "".join(f"{line}\r\n" for line in lines)
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n".encode()


def https(*servers: ServerTls, tcp: tuple[TcpRoute, ...] = ()) -> GatewayListener:
    return GatewayListener(443, 8443, Protocol.HTTPS, None, tcp, servers)


def http(*routes: Route) -> GatewayListener:
    hosts = (VirtualHost("*:80", ("*",), routes or (TO_B,)),)
    return GatewayListener(80, 8080, Protocol.HTTP, RouteTable.of("http.8080", hosts))


TWO_SITES = https(ended(ONE, "one.example"), ended(TWO, "two.example"))


@pytest.mark.parametrize("site", ["one.example", "two.example"])
def test_each_host_on_one_port_has_its_certificate(site: str) -> None:
    client = Edge(TWO_SITES).by_tls(site, get(site))
    assert client.certificate == site
    assert (status_of(client.end.data), body_of(client.end.data)) == (200, b"hello")
    assert head_of(client.end.data)["server"] == "istio-envoy"


def test_another_servers_host_is_unknown_on_a_connection() -> None:
    client = Edge(TWO_SITES).by_tls("one.example", get("two.example"))
    assert (status_of(client.end.data), body_of(client.end.data)) == (404, b"")


@pytest.mark.parametrize("name", ["three.example", ""])
def test_a_name_without_a_server_is_reset(name: str) -> None:
    client = Edge(TWO_SITES).by_tls(name)
    assert client.failure
    assert not client.up


def test_plain_text_on_a_tls_port_is_reset() -> None:
    mesh = Edge(TWO_SITES)
    end = End(mesh.arrive())
    end.connection.send(get("one.example"))
    mesh.reactor.settle()
    assert (end.data, end.ended) == (b"", True)
    assert end.reset


def test_without_its_secret_a_server_resets_and_the_others_go_on() -> None:
    broken = ServerTls("SIMPLE", ("one.example",), routes=table("one.example"))
    mesh = Edge(https(broken, ended(TWO, "two.example")))
    assert mesh.by_tls("one.example").failure
    assert status_of(mesh.by_tls("two.example", get("two.example")).end.data) == 200


def test_a_new_certificate_is_shown_at_once_and_open_connections_go_on() -> None:
    mesh = Edge(https(ended(ONE, "one.example")))
    client = mesh.by_tls("one.example", get("one.example"))
    mesh.set(https(ended(TWO, "one.example")))
    assert mesh.by_tls("one.example").certificate == "two.example"
    client.end.data = b""
    client.end.connection.send(get("one.example"))
    mesh.reactor.settle()
    assert status_of(client.end.data) == 200


def test_contexts_of_certificates_that_were_replaced_are_let_go() -> None:
    mesh = Edge(https(ended(ONE, "one.example")))
    mesh.by_tls("one.example")
    mesh.set(https(ended(TWO, "one.example")))
    mesh.by_tls("one.example")
    assert len(mesh.plane.contexts) == 2
    for _ in prune(mesh.plane, mesh.feed.current):
        pass
    assert len(mesh.plane.contexts) == 1


def test_mutual_tells_those_behind_who_the_client_is() -> None:
    mesh = Edge(https(ended(ONE, "one.example", "MUTUAL")))
    forged = "x-forwarded-client-cert: Hash=forged"
    assert status_of(mesh.by_tls("one.example", get("one.example", forged), CLIENT).end.data) == 200
    told = head_of(mesh.app.heard)["x-forwarded-client-cert"]
    element = dict(part.split("=", 1) for part in told.split(";"))
    assert list(element) == ["Hash", "Cert", "Subject", "DNS"]
    assert element["DNS"] == "client.example"
    assert element["Subject"] == r'"CN=client.example,O=example\, Inc."'
    assert unquote(element["Cert"].strip('"')).strip() == CLIENT.pem.strip()


def test_mutual_without_a_certificate_fails_and_optional_goes_on() -> None:
    mesh = Edge(https(ended(ONE, "one.example", "MUTUAL"), ended(TWO, "two.example", "OPTIONAL_MUTUAL")))
    refused = mesh.by_tls("one.example", get("one.example"))
    assert refused.end.data == b""
    assert refused.end.ended or refused.failure
    assert status_of(mesh.by_tls("two.example", get("two.example")).end.data) == 200
    assert "x-forwarded-client-cert" not in head_of(mesh.app.heard)


def test_a_client_of_another_name_is_reset() -> None:
    rules = TlsRules(sans=("somebody.example",))
    mesh = Edge(https(ended(ONE, "one.example", "MUTUAL", rules=rules)))
    client = mesh.by_tls("one.example", get("one.example"), CLIENT)
    assert client.end.data == b""
    assert client.end.reset or client.failure
    assert not mesh.app.heard


def test_istio_mutual_lets_in_the_mesh_alone() -> None:
    mesh = Edge(https(ServerTls("ISTIO_MUTUAL", ("one.example",), routes=table("one.example"))))
    inside = mesh.certificates.client(instance("a", "10.1.0.1").identity)
    assert status_of(mesh.by_tls("one.example", get("one.example"), context=inside).end.data) == 200
    told = head_of(mesh.app.heard)["x-forwarded-client-cert"]
    assert told.startswith("By=spiffe://cluster.local/ns/default/sa/gateway;Hash=")
    assert "URI=spiffe://cluster.local/ns/default/sa/a" in told
    assert mesh.by_tls("one.example", get("one.example")).end.data == b""


def test_tls_that_ends_here_carries_bytes_too() -> None:
    tcp = (TcpRoute((Weighted(CLUSTER),)),)
    mesh = Edge(https(ended(ONE, "one.example", routes=None, tcp=tcp), ended(TWO, "two.example")))
    client = mesh.by_tls("one.example", b"anything")
    assert client.end.data.endswith(b"hello")
    assert mesh.app.heard == b"anything"
    assert status_of(mesh.by_tls("two.example", get("two.example")).end.data) == 200


def test_passing_on_beside_ending_takes_the_more_specific_name() -> None:
    passed = (TcpRoute((Weighted(CLUSTER),), ("one.example",)),)
    mesh = Edge(https(ended(TWO, "*.example", routes=table("*")), tcp=passed))
    client = mesh.by_tls("one.example")
    assert not client.up
    assert mesh.app.heard[:3] == b"\x16\x03\x01"  # its hello, as it was
    assert mesh.by_tls("two.example").certificate == "two.example"


SNI = "outbound_.80_._.b.default.svc.cluster.local"


def test_auto_passthrough_leads_the_mesh_by_its_server_names() -> None:
    route = TcpRoute((Weighted(CLUSTER),), (SNI,), mesh_only=True)
    mesh = Edge(GatewayListener(15443, 15443, Protocol.TLS, None, (route,)), mtls=True)
    inside = mesh.certificates.client(instance("a", "10.1.0.1").identity)
    client = mesh.by_tls(SNI, get("b"), context=inside)
    assert status_of(client.end.data) == 200
    assert "By=spiffe://cluster.local/ns/default/sa/b" in head_of(mesh.app.heard)["x-forwarded-client-cert"]
    assert mesh.by_tls(SNI).failure  # without the mesh's own ALPN


# -- who the client is --


def seen(topology: Topology, *lines: str, remote: tuple[str, int] = EDGE) -> dict[str, str]:
    mesh = Edge(http(), topology)
    assert status_of(mesh.ask(get("b", *lines), remote)) == 200
    return head_of(mesh.app.heard)


def test_a_stranger_is_told_by_its_own_address() -> None:
    got = seen(Topology(), "x-forwarded-proto: https", "x-envoy-external-address: 1.1.1.1")
    assert got["x-forwarded-for"] == got["x-envoy-external-address"] == EDGE[0]
    assert got["x-forwarded-proto"] == "http"
    assert "x-envoy-internal" not in got


def test_what_an_untrusted_client_says_is_kept_and_not_believed() -> None:
    got = seen(Topology(), "x-forwarded-for: 1.2.3.4")
    assert got["x-forwarded-for"] == f"1.2.3.4,{EDGE[0]}"
    assert got["x-envoy-external-address"] == EDGE[0]


def test_trusted_proxies_tell_the_client() -> None:
    told = "x-forwarded-for: 56.5.6.7, 72.9.5.6, 98.1.2.3"
    got = seen(Topology(trusted_hops=2), told, "x-forwarded-proto: https")
    assert got["x-envoy-external-address"] == "72.9.5.6"
    assert got["x-forwarded-for"] == f"56.5.6.7, 72.9.5.6, 98.1.2.3,{EDGE[0]}"
    assert got["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("told", ["x-forwarded-for: 1.2.3.4", "x-forwarded-for: nonsense, 2.2.2.2", "x: y"])
def test_trusted_proxies_that_tell_too_little_are_the_client(told: str) -> None:
    assert seen(Topology(trusted_hops=2), told)["x-envoy-external-address"] == EDGE[0]


def test_a_private_address_is_internal() -> None:
    got = seen(Topology(), remote=("10.9.9.9", 1))
    assert got["x-envoy-internal"] == "true"
    assert "x-envoy-external-address" not in got


@pytest.mark.parametrize(
    ("details", "by_tls", "got"),
    [
        ("SANITIZE_SET", False, []),
        ("SANITIZE_SET", True, ["own"]),
        ("SANITIZE", True, []),
        ("FORWARD_ONLY", False, []),
        ("FORWARD_ONLY", True, ["given"]),
        ("APPEND_FORWARD", False, []),
        ("APPEND_FORWARD", True, ["given", "own"]),
        ("ALWAYS_FORWARD_ONLY", False, ["given"]),
    ],
)
def test_what_becomes_of_the_certificates_that_were_told(details: str, by_tls: bool, got: list[str]) -> None:
    listener = https(ended(ONE, "one.example", "OPTIONAL_MUTUAL"))
    mesh = Edge(listener, Topology(client_cert=details))
    client = mesh.by_tls(
        "one.example",
        get("one.example", "x-forwarded-client-cert: Hash=given"),
        CLIENT if by_tls else None,
    )
    assert status_of(client.end.data) == 200
    told = head_of(mesh.app.heard).get("x-forwarded-client-cert", "")
    parts = [name for name, sign in (("given", "given"), ("own", "DNS=client.example")) if sign in told]
    assert parts == got


REDIRECT = Route(matches=(Match(scheme=Exact("http")),), redirect=Redirect(scheme="https"))


def test_https_redirect_lets_through_what_a_trusted_proxy_got_by_https() -> None:
    mesh = Edge(http(REDIRECT, TO_B), Topology(trusted_hops=1))
    answer = mesh.ask(get("site.example:8080", path="/a?b=c"))
    assert status_of(answer) == 301
    assert head_of(answer)["location"] == "https://site.example:8080/a?b=c"
    assert status_of(mesh.ask(get("b", "x-forwarded-proto: https"))) == 200
    mesh.set(http(REDIRECT, TO_B))
    assert status_of(mesh.ask(get("b", "x-forwarded-proto: https"))) == 301


def test_repeated_headers_match_one_by_one_whatever_the_client_spoke() -> None:
    jason = Route(matches=(Match(headers=(("x-user", Exact("jason")),)),), redirect=Redirect(path="/his"))
    mesh = Edge(http(jason, TO_B), Topology(trusted_hops=1))
    names = ("x-user: other", "x-user: jason")
    assert status_of(mesh.ask(get("b", *names))) == 301
    assert status_of(mesh.ask(get("b", "x-forwarded-proto: https", *names))) == 301


def test_a_proxy_header_tells_the_client() -> None:
    mesh = Edge(http(), Topology(proxy_protocol=True))
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 80\r\n"
    assert status_of(mesh.ask(header + get("b"), remote=("10.9.9.9", 1))) == 200
    assert head_of(mesh.app.heard)["x-envoy-external-address"] == "192.0.2.7"


def test_a_connection_without_the_proxy_header_is_closed() -> None:
    assert Edge(http(), Topology(proxy_protocol=True)).ask(get("b")) == b""


def test_a_proxy_header_stands_before_tls() -> None:
    mesh = Edge(TWO_SITES, Topology(proxy_protocol=True))
    raw = mesh.arrive()
    raw.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 443\r\n")
    mesh.reactor.settle()
    client = Secure(raw, trusting(), "one.example")
    mesh.reactor.settle()
    client.end.connection.send(get("one.example"))
    mesh.reactor.settle()
    assert status_of(client.end.data) == 200
    assert head_of(mesh.app.heard)["x-forwarded-for"] == "192.0.2.7"


def test_mesh_tls_upstream_is_the_gateways_own() -> None:
    mesh = Edge(http(), mtls=True)
    assert status_of(mesh.ask(get("b"))) == 200
    assert (
        "URI=spiffe://cluster.local/ns/default/sa/gateway"
        in head_of(mesh.app.heard)["x-forwarded-client-cert"]
    )


def test_listeners_of_one_port_are_told_apart_by_their_address() -> None:
    first, second = http(), replace(http(), bind="127.0.0.1")
    proxy = Proxy(GATEWAY, Edge(http()).feed.current.proxies["a"].outbound, gateway=(first, second))
    assert listener_of(proxy, 8080) is first
    assert listener_of(proxy, 8080, "127.0.0.1") is second


def test_the_log_tells_the_client_that_trusted_proxies_tell() -> None:
    mesh = Edge(http(), Topology(trusted_hops=1))
    mesh.ask(get("b", "x-forwarded-for: 72.9.5.6"))
    (record,) = mesh.sink.requests
    assert record.downstream_remote == "72.9.5.6:0"
    assert record.forwarded_for == f"72.9.5.6,{EDGE[0]}"


def test_the_mesh_speaks_http2_to_a_gateway() -> None:
    mesh = Edge(https(ServerTls("ISTIO_MUTUAL", ("one.example",), routes=table("one.example"))))
    identity = instance("a", "10.1.0.1").identity
    client = mesh.by_tls("one.example", context=mesh.certificates.client(identity, ALPN_HTTP2))
    assert client.connection.session.selected_alpn_protocol() == "istio-h2"
    client.end.connection.send(HTTP2_PREFACE + b"\0\0\0\4\0\0\0\0\0")
    mesh.reactor.settle()
    assert client.end.data[3] == 4  # a SETTINGS frame, and no answer in HTTP/1.1
