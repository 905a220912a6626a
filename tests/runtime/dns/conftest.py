"""A small mesh as DNS sees it, and questions as dnslib, another implementation, writes and reads them."""

from __future__ import annotations

from dnslib import DNSRecord

from devmesh.model.identity import Identity
from devmesh.model.port import Port, Protocol
from devmesh.model.service import Resolution, Service
from devmesh.model.workload import Instance, Workload
from devmesh.snapshot.snapshot import Snapshot

REVIEWS = "reviews.default.svc.cluster.local"
DATABASE = "database.data.svc.cluster.local"


def instance(name: str, namespace: str, *addresses: str) -> Instance:
    workload = Workload(name, namespace)
    return Instance(name, name, workload, Identity("cluster.local", namespace, name), addresses, ready=True)


def service(host: str, *ports: Port, addresses: tuple[str, ...] = ()) -> Service:
    name, namespace, *_ = host.split(".")
    resolution = Resolution.CLIENT_SIDE if addresses else Resolution.NONE
    return Service(host, name, namespace, ports, addresses, resolution)


INSTANCES = [
    instance("client", "default", "10.244.0.2"),
    instance("db-0", "data", "10.244.0.3", "fd00:10:244::3"),
]
MESH = Snapshot(
    version=1,
    instances={one.id: one for one in INSTANCES},
    by_address={address: one.id for one in INSTANCES for address in one.addresses},
    services={
        REVIEWS: service(
            REVIEWS,
            Port("http", 9080, Protocol.HTTP, 9080),
            Port("metrics", 9090, Protocol.HTTP, "metrics"),
            addresses=("240.240.0.1",),
        ),
        DATABASE: service(DATABASE, Port("tcp-db", 5432, Protocol.TCP, 15432)),
    },
    names={
        REVIEWS: ("240.240.0.1",),
        "dual.default.svc.cluster.local": ("240.240.0.9", "2001:2::9"),
        DATABASE: ("10.244.0.3", "10.244.0.4"),
        f"db-0.{DATABASE}": ("10.244.0.3",),
        "empty.default.svc.cluster.local": (),
        "api.example.com": ("240.240.0.2",),
        "*.example.org": ("240.240.0.3",),
        "*.deep.example.org": ("240.240.0.4",),
        "*.wikipedia.org": (),
    },
    aliases={
        "outside.default.svc.cluster.local": "www.example.net",
        "inside.default.svc.cluster.local": REVIEWS,
    },
)


def question(name: str, kind: str = "A") -> bytes:
    packet: bytes = DNSRecord.question(name, kind).pack()
    return packet


def read(packet: bytes) -> DNSRecord:
    return DNSRecord.parse(packet)


def texts(packet: bytes) -> list[str]:
    """Return the answers' data as text, in order of the alphabet."""
    return sorted(str(record.rdata) for record in read(packet).rr)
