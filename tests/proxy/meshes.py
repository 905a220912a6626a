"""Two workloads, `a` that calls and `b` that is called, on the reactor in memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from devmesh.model.identity import Identity
from devmesh.model.port import Protocol
from devmesh.model.workload import Instance, Workload
from devmesh.proxy.arriving import OutboundArrival
from devmesh.proxy.arriving_inbound import InboundArrival
from devmesh.proxy.plane import Plane
from devmesh.proxy.reactor import Connection, Owner
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.cluster import Cluster, Endpoint, ServiceRef, UpstreamTls
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.proxy import Inbound, InboundPort, MtlsMode, Outbound, Proxy, Target, TcpRoute
from devmesh.snapshot.route import Route, RouteTable, VirtualHost, Weighted
from devmesh.snapshot.snapshot import MeshSettings, Snapshot
from devmesh.telemetry.record import Record, RecordSink
from devmesh.testing.reactor import EPOCH, MemoryConnection, MemoryReactor

B_REF = ServiceRef("b.default.svc.cluster.local", "b", "default")
CLUSTER = "outbound|80||b.default.svc.cluster.local"
APP = ("10.1.0.2", 8080)


def instance(name: str, address: str) -> Instance:
    workload = Workload(name, "default", labels={"app": name, "version": "v1"})
    return Instance(
        name, f"{name}-pod", workload, Identity("cluster.local", "default", name), (address,), True
    )


A, B = instance("a", "10.1.0.1"), instance("b", "10.1.0.2")
TO_B = Route(destinations=(Weighted(CLUSTER),), operation="b.default.svc.cluster.local:80/*")


def endpoint(*, mtls: bool = False, hop: bool = False, address: str = APP[0]) -> Endpoint:
    where = "b" if hop or mtls else None
    return Endpoint(address, APP[1], where, B.workload, B.identity, mtls)


def cluster(*endpoints: Endpoint, name: str = CLUSTER) -> Cluster:
    tls = UpstreamTls(sni="outbound_.80_._.b.default.svc.cluster.local")
    return Cluster(name, B_REF, 80, endpoints=endpoints, tls=tls)


def snapshot(
    *routes: Route,
    clusters: tuple[Cluster, ...] = (cluster(endpoint()),),
    inbound: Protocol = Protocol.HTTP,
    mode: MtlsMode = MtlsMode.PERMISSIVE,
    targets: Mapping[int, Target] | None = None,
    version: int = 1,
) -> Snapshot:
    hosts = ("b", B_REF.host)
    table = RouteTable.of("80", (VirtualHost(f"{B_REF.host}:80", hosts, routes or (TO_B,)),))
    tcp = TcpRoute((Weighted(CLUSTER),))
    by_port = {
        80: Target(Protocol.HTTP, table),
        9000: Target(Protocol.TCP, None, (tcp,)),
        7000: Target(Protocol.AUTO, table, (tcp,)),
        **(targets or {}),
    }
    outbound = Outbound({}, by_port, {each.name: each for each in clusters})
    port = InboundPort(APP[1], inbound, mode, B_REF, f"inbound|{APP[1]}||")
    proxies = {"a": Proxy(A, outbound), "b": Proxy(B, outbound, Inbound({APP[1]: port}, mode))}
    addresses = {"10.1.0.1": "a", "10.1.0.2": "b"}
    return Snapshot(version, proxies, {"a": A, "b": B}, addresses, mesh=MeshSettings(sampling_percent=0.0))


@dataclass
class Kept(RecordSink):
    """A sink that keeps everything."""

    requests: list[Record] = field(default_factory=list)
    opens: list[Record] = field(default_factory=list)
    moved: list[tuple[int, int]] = field(default_factory=list)
    closes: list[Record] = field(default_factory=list)

    def request(self, record: Record) -> None:
        self.requests.append(record)

    def opened(self, record: Record) -> None:
        self.opens.append(record)

    def progress(self, record: Record, received: int, sent: int) -> None:
        self.moved.append((received, sent))

    def closed(self, record: Record) -> None:
        self.closes.append(record)


class End(Owner):
    """One end of a connection in a test's hands: keeps what arrives."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.data = b""
        self.ended = False
        self.reset = ""
        self.on_data: Callable[[End], None] = lambda end: None
        connection.owner = self

    def readable(self) -> None:
        data = self.connection.recv()
        if data is None:
            return
        if not data:
            self.ended, self.reset = True, self.connection.error
            self.connection.pause()
        self.data += data
        self.on_data(self)

    def lost(self, reason: str) -> None:
        self.ended, self.reset = True, reason


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class App:
    """The application behind `b`: answers each arrival of bytes, and keeps what it got.

    Attributes:
        answer: Bytes to send for whatever arrives; a function of the connection's bytes so far, or None to
            say nothing.
        closes: Whether it closes when its client has.
    """

    def __init__(
        self, answer: bytes | Callable[[bytes], bytes | None] | None = OK, *, closes: bool = True
    ) -> None:
        self.answer = answer
        self.closes = closes
        self.ends: list[End] = []

    def __call__(self, connection: Connection) -> None:
        end = End(connection)
        end.on_data = self._heard
        self.ends.append(end)

    @property
    def heard(self) -> bytes:
        return b"".join(end.data for end in self.ends)

    def _heard(self, end: End) -> None:
        answer = self.answer(end.data) if callable(self.answer) else self.answer
        if answer is not None and not end.ended:
            end.connection.send(answer)
        if end.ended and self.closes:
            end.connection.close()


_AUTHORITY = CertificateAuthority("cluster.local", EPOCH)


class Mesh:
    """The data plane over memory: connections of `a` come out at `b`'s application."""

    def __init__(self, first: Snapshot | None = None, app: App | None = None, window: int = 1 << 18) -> None:
        self.reactor = MemoryReactor(window)
        self.feed = SnapshotFeed(first or snapshot())
        self.sink = Kept()
        self.app = app or App()
        certificates = Certificates(_AUTHORITY, self.reactor.time)
        self.certificates = certificates
        chance = random.Random(7)
        self.plane = Plane(
            self.reactor, self.feed, certificates, self.sink, chance.random, chance.getrandbits
        )
        for where in (None, "b"):
            self.reactor.serve(where, *APP, self.app)
        self.reactor.take_over("b", self.inbound)

    def outbound(self, connection: Connection) -> None:
        original = connection.original()
        assert original is not None
        OutboundArrival(self.plane, self.feed.current.proxies["a"], connection, original).start()

    def inbound(self, connection: Connection) -> None:
        original = connection.original()
        assert original is not None
        InboundArrival(self.plane, self.feed.current.proxies["b"], connection, original).start()

    def client(self, port: int = 80) -> End:
        """Connect as `a`'s application does."""
        return End(self.reactor.connect(self.outbound, original=("240.240.0.1", port)))

    def stranger(self, port: int = APP[1]) -> End:
        """Connect to `b` as somebody outside the mesh does."""
        connection: MemoryConnection = self.reactor.connect(self.inbound, original=(APP[0], port))
        return End(connection)

    def call(self, data: bytes, port: int = 80) -> bytes:
        """Send `data` by a connection of its own; return what comes back without time passing."""
        client = self.client(port)
        client.connection.send(data)
        self.reactor.settle()
        return client.data

    def publish(self, new: Snapshot) -> None:
        self.feed.publish(replace(new, version=self.feed.current.version + 1))


GET = b"GET /x HTTP/1.1\r\nhost: b\r\n\r\n"


def post(body: bytes, path: str = "/x") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: b\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def head_of(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
