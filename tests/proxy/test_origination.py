"""TLS that DestinationRules ask for, the PROXY protocol, keep-alive: how connections begin."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from devmesh.proxy.origination import Origination
from devmesh.proxy.proxy_protocol import header
from devmesh.proxy.pruning import prune
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.tls import TlsConnection
from devmesh.security.pem import server_context
from devmesh.snapshot.cluster import Cluster, Keepalive, Limits, TlsFiles, TlsMode, UpstreamTls
from devmesh.snapshot.proxy import ServerTls
from devmesh.snapshot.route import Route, Weighted
from devmesh.testing.reactor import MemoryConnection
from devmesh.traffic.retry import DEFAULT
from tests.proxy.certificates import Authority
from tests.proxy.meshes import CLUSTER, GET, App, Mesh, cluster, endpoint, snapshot, status_of

AUTHORITY = Authority()
SERVER = AUTHORITY.issue("x.example", "*.wild.example")
CLIENT = AUTHORITY.issue("client.example")
PLACE = (None, "10.1.0.2", 8080)


@dataclass
class Served:
    """A server that speaks TLS; keeps the names that it was asked for.

    Attributes:
        asks: Whether clients need a certificate.
    """

    app: App = field(default_factory=App)
    asks: bool = False
    names: list[str | None] = field(default_factory=list)
    sessions: list[TlsConnection] = field(default_factory=list)

    def __call__(self, connection: Connection) -> None:
        mode = "MUTUAL" if self.asks else "SIMPLE"
        context = server_context(ServerTls(mode, ("x",), *SERVER, AUTHORITY.pem if self.asks else ""))
        context.sni_callback = lambda session, name, _: self.names.append(name)
        made = TlsConnection(connection, Owner(), context, server=True)  # the app takes it over at once
        self.app(made)
        self.sessions.append(made)
        made.start()


def mesh_of(tls: UpstreamTls, served: Served | None = None, **more: object) -> Mesh:
    made: Cluster = replace(cluster(endpoint()), tls=tls, **more)  # type: ignore[arg-type]
    mesh = Mesh(snapshot(clusters=(made,)))
    mesh.reactor.serve(*PLACE, served or Served())
    return mesh


def simple(**more: object) -> UpstreamTls:
    given = {"mode": TlsMode.SIMPLE, "ca_pem": AUTHORITY.pem}
    return UpstreamTls(**given | more)  # type: ignore[arg-type]


def get(host: str) -> bytes:
    return GET.replace(b"host: b", b"host: " + host.encode())


def call(mesh: Mesh, host: str = "b") -> int:
    return status_of(mesh.call(get(host)))


def why(mesh: Mesh) -> str:
    return mesh.sink.requests[-1].transport_failure


def test_the_requests_host_is_the_name_that_is_asked_for() -> None:
    served = Served()
    mesh = mesh_of(simple(sans=("x.example",)), served)
    assert call(mesh, "b.default.svc.cluster.local:80") == 200
    assert served.names == ["b.default.svc.cluster.local"]


def test_hosts_do_not_share_connections() -> None:
    served = Served()
    mesh = mesh_of(simple(sans=("x.example",)), served)
    for host in ("b", "b.default.svc.cluster.local", "b"):
        call(mesh, host)
    assert served.names == ["b", "b.default.svc.cluster.local"]


def test_without_names_the_certificate_has_to_be_the_hosts() -> None:
    mesh = mesh_of(simple())
    assert call(mesh) == 503
    assert "mismatch" in why(mesh) or "not valid" in why(mesh)


def test_a_name_that_is_given_is_asked_for_and_not_checked() -> None:
    served = Served()
    assert call(mesh_of(simple(sni="other.example"), served)) == 200
    assert served.names == ["other.example"]


def test_names_that_are_given_are_checked() -> None:
    assert call(mesh_of(simple(sni="x.example", sans=("x.example",)))) == 200
    mesh = mesh_of(simple(sni="x.example", sans=("y.example",)))
    assert call(mesh) == 503
    assert "verify SAN list" in why(mesh)


def test_somebody_elses_authority_is_not_trusted_unless_all_are() -> None:
    other = Authority().pem
    assert call(mesh_of(simple(sni="x.example", ca_pem=other))) == 503
    assert call(mesh_of(simple(sni="x.example", ca_pem=other, insecure=True, sans=("y",)))) == 200


def test_mutual_tls_shows_the_clients_certificate() -> None:
    served = Served(asks=True)
    mutual = simple(mode=TlsMode.MUTUAL, sni="x.example", certificate_pem=CLIENT[0], key_pem=CLIENT[1])
    assert call(mesh_of(mutual, served)) == 200
    assert call(mesh_of(simple(sni="x.example"), Served(asks=True))) == 503


def test_a_secret_that_is_missing_is_told_in_envoys_words() -> None:
    mesh = mesh_of(simple(error="TLS_error:_Secret_is_not_supplied_by_SDS"))
    assert call(mesh) == 503
    (record,) = mesh.sink.requests
    assert record.flags == "UF"
    assert record.transport_failure == "TLS_error:_Secret_is_not_supplied_by_SDS"
    assert not mesh.reactor.dialled


def test_connections_that_fail_at_once_are_not_tried_for_ever() -> None:
    made = replace(cluster(endpoint()), tls=simple(error="TLS_error:_Secret_is_not_supplied_by_SDS"))
    mesh = Mesh(snapshot(Route(destinations=(Weighted(CLUSTER),), retry=DEFAULT), clusters=(made,)))
    client = mesh.client()
    client.connection.send(GET)
    mesh.reactor.advance(2)
    assert status_of(client.data) == 503
    (record,) = mesh.sink.requests
    assert (record.flags, record.attempts) == ("UF,URX", 3)


def test_what_cannot_be_used_is_told() -> None:
    mesh = mesh_of(simple(ca_pem="nonsense", sni="x.example"))
    assert call(mesh) == 503
    assert "the CA cannot be used" in why(mesh)


def test_tcp_goes_inside_tls_too() -> None:
    served = Served(App(b"pong"))
    mesh = mesh_of(simple(sni="x.example", sans=("x.example",)), served)
    client = mesh.client(9000)
    client.connection.send(b"ping")
    mesh.reactor.settle()
    assert (served.app.heard, client.data) == (b"ping", b"pong")
    assert served.sessions[0].session.selected_alpn_protocol() is None


# -- files in pods --


@dataclass
class Files:
    """Files of the instance `a`, in memory."""

    held: dict[str, str]
    reads: int = 0

    def reader(self, instance: str) -> Callable[[str], bytes]:
        if instance != "a":
            raise OSError(0, f"pod {instance} is gone")

        def read(path: str) -> bytes:
            self.reads += 1
            if path not in self.held:
                raise FileNotFoundError(f"no process of the pod has the file {path}")
            return self.held[path].encode()

        return read


def by_files(files: TlsFiles, held: dict[str, str], served: Served) -> tuple[Mesh, Files]:
    mesh = mesh_of(UpstreamTls(TlsMode.MUTUAL, "x.example", files=files), served)
    there = Files(held)
    mesh.plane.origination = Origination(mesh.reactor, there)
    return mesh, there


ALL = TlsFiles("/certs/cert.pem", "/certs/key.pem", "/certs/ca.pem")
HELD = {"/certs/cert.pem": CLIENT[0], "/certs/key.pem": CLIENT[1], "/certs/ca.pem": AUTHORITY.pem}


def test_files_in_the_pod_are_read_before_the_first_connection() -> None:
    mesh, files = by_files(ALL, dict(HELD), Served(asks=True))
    assert [call(mesh), call(mesh)] == [200, 200]
    assert files.reads == 3
    client = mesh.client(9000)
    client.connection.send(b"ping")
    mesh.reactor.settle()
    assert client.data


def test_files_that_change_are_read_again() -> None:
    mesh, files = by_files(ALL, dict(HELD), Served(asks=True))
    call(mesh)
    files.held["/certs/ca.pem"] = Authority().pem
    mesh.plane.state("a").close_idle()
    mesh.reactor.advance(6)
    assert call(mesh) == 200  # by what was read last, while it is read again
    mesh.plane.state("a").close_idle()
    mesh.reactor.settle()
    assert call(mesh) == 503


def test_a_file_that_is_missing_is_told() -> None:
    mesh, _ = by_files(ALL, {}, Served(asks=True))
    assert call(mesh) == 503
    assert why(mesh) == "TLS_error:no process of the pod has the file /certs/cert.pem"


def test_where_no_files_are_known_that_is_told() -> None:
    mesh = mesh_of(UpstreamTls(TlsMode.SIMPLE, files=TlsFiles(ca="/ca.pem")))
    assert call(mesh) == 503
    assert "/ca.pem cannot be read" in why(mesh)


def test_who_is_revoked_is_not_spoken_to() -> None:
    files = TlsFiles(ca="/ca", crl="/crl")
    for revoked, status in ((("client.example",), 200), (("x.example",), 503)):
        served = Served()
        mesh = mesh_of(UpstreamTls(TlsMode.SIMPLE, "x.example", files=files), served)
        held = {"/ca": AUTHORITY.pem, "/crl": AUTHORITY.revoked(*revoked)}
        mesh.plane.origination = Origination(mesh.reactor, Files(held))
        assert call(mesh) == status
    assert "revoked" in why(mesh)


# -- the PROXY protocol --

PLAIN = UpstreamTls(TlsMode.DISABLE)


def test_the_header_comes_first_and_tells_the_client() -> None:
    mesh = mesh_of(PLAIN, proxy_protocol="V1")
    mesh.reactor.serve(*PLACE, mesh.app)
    assert call(mesh) == 200
    assert mesh.app.heard.startswith(b"PROXY TCP4 10.9.9.9 240.240.0.1 5555 80\r\nGET /x ")


def test_clients_do_not_share_connections_that_tell_of_them() -> None:
    mesh = mesh_of(PLAIN, proxy_protocol="V1")
    mesh.reactor.serve(*PLACE, mesh.app)
    for port in (1111, 2222, 1111):
        client = mesh.reactor.connect(mesh.outbound, original=("240.240.0.1", 80), remote=("10.9.9.9", port))
        client.send(GET)
        mesh.reactor.settle()
    assert len(mesh.app.ends) == 2


def test_connections_that_tell_of_a_client_are_not_kept_for_long() -> None:
    mesh = mesh_of(PLAIN, proxy_protocol="V1")
    mesh.reactor.serve(*PLACE, mesh.app)
    call(mesh)
    for _ in range(3):
        list(prune(mesh.plane, mesh.feed.current))
        mesh.reactor.advance(50)
    assert mesh.app.ends[0].ended
    list(prune(mesh.plane, mesh.feed.current))
    assert not mesh.plane.state("a").cluster(CLUSTER).pools


def test_tcp_has_a_header_too() -> None:
    mesh = mesh_of(PLAIN, proxy_protocol="V2")
    mesh.reactor.serve(*PLACE, mesh.app)
    mesh.client(9000).connection.send(b"ping")
    mesh.reactor.settle()
    assert mesh.app.heard == header("V2", ("10.9.9.9", 5555), ("240.240.0.1", 9000)) + b"ping"


@pytest.mark.parametrize(
    ("version", "source", "target", "expected"),
    [
        ("V1", "10.0.0.1", "10.0.0.2", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"),
        ("V1", "fd00::1", "fd00::2", b"PROXY TCP6 fd00::1 fd00::2 1 2\r\n"),
        (
            "V2",
            "10.0.0.1",
            "10.0.0.2",
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x01\x00\x02",
        ),
    ],
)
def test_headers(version: str, source: str, target: str, expected: bytes) -> None:
    assert header(version, (source, 1), (target, 2)) == expected


def test_addresses_of_two_kinds_are_told_as_the_wider() -> None:
    assert header("V1", ("10.0.0.1", 1), ("fd00::2", 2)) == b"PROXY TCP6 ::ffff:10.0.0.1 fd00::2 1 2\r\n"
    told = header("V2", ("10.0.0.1", 1), ("fd00::2", 2))
    assert told[13:16] == b"\x21\x00\x24"
    assert len(told) == 52


def test_silent_peers_are_probed_as_the_rule_says(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = mesh_of(PLAIN, limits=Limits(keepalive=Keepalive(3, 60, 10)))
    mesh.reactor.serve(*PLACE, mesh.app)
    made: list[MemoryConnection] = []
    dial = mesh.reactor.dial
    monkeypatch.setattr(mesh.reactor, "dial", lambda *a, **k: made.append(dial(*a, **k)) or made[-1])
    call(mesh)
    assert [connection.kept_alive for connection in made] == [(3, 60, 10)]


def test_a_context_is_made_once() -> None:
    mesh = mesh_of(simple(sni="x.example"))
    first = mesh.plane.origination.context(simple(sni="x.example"), protocols=("http/1.1",), named=True)
    second = mesh.plane.origination.context(simple(sni="x.example"), protocols=("http/1.1",), named=True)
    assert isinstance(first, ssl.SSLContext)
    assert first is second
    assert mesh.plane.state("a").cluster(CLUSTER) is not None
