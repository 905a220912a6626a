"""devmesh's side of the bench: its whole engine with its real telemetry, over sockets on 127.0.0.1.

There are no namespaces and no rules of the kernel's in it, since the other proxies have none either; who
calls whom, routes, records, mutual TLS are as in a mesh. Run as a program it serves until it is killed.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import trio

from devmesh.model.identity import Identity
from devmesh.model.port import Protocol
from devmesh.model.workload import Instance, Workload
from devmesh.proxy.engine import Engine
from devmesh.proxy.epoll import EpollReactor
from devmesh.security.ca import CertificateAuthority
from devmesh.security.contexts import Certificates
from devmesh.snapshot.cluster import Cluster, Endpoint, ServiceRef, UpstreamTls
from devmesh.snapshot.feed import SnapshotFeed
from devmesh.snapshot.match import Exact, Prefix
from devmesh.snapshot.proxy import Inbound, InboundPort, MtlsMode, Outbound, Proxy, Target, TcpRoute
from devmesh.snapshot.route import Match, Route, RouteTable, VirtualHost, Weighted
from devmesh.snapshot.snapshot import MeshSettings, Snapshot
from devmesh.telemetry.recorder import Recorder
from devmesh.testing.loopback import LoopbackNetwork
from devmesh.traffic.retry import DEFAULT

HOST = "reviews.default.svc.cluster.local"
POD = "10.244.0.2"


def instance(name: str, address: str) -> Instance:
    workload = Workload(name, "default", labels={"app": name, "version": "v1"})
    return Instance(name, f"{name}-0", workload, Identity("cluster.local", "default", name), (address,), True)


def snapshot(port: int, *, hops: int, http2: bool = False) -> Snapshot:
    """Return a mesh of two workloads, with three routes and subsets by weight between them.

    Args:
        http2: It is spoken to the destination.
        hops: 1: the destination has no proxy; 2: it has one, and the hop between is mutual TLS.
    """
    caller, called = instance("productpage", "10.244.0.1"), instance("reviews", POD)
    where = called.id if hops == 2 else None
    endpoint = Endpoint(POD, port, where, called.workload, called.identity, mtls=hops == 2)
    reference = ServiceRef(HOST, "reviews", "default")
    clusters = {}
    for subset in ("", "v1", "v2"):
        name = f"outbound|9080|{subset}|{HOST}"
        tls = UpstreamTls(sni=f"outbound_.9080_.{subset or '_'}_.{HOST}")
        clusters[name] = Cluster(name, reference, 9080, subset, endpoints=(endpoint,), tls=tls, http2=http2)
    split = tuple(Weighted(f"outbound|9080|{subset}|{HOST}", 50) for subset in ("v1", "v2"))
    one = (Weighted(f"outbound|9080|v2|{HOST}"),)
    operation = f"{HOST}:9080/*"
    routes = (
        Route(
            matches=(Match(headers=(("end-user", Exact("jason")),)),),
            destinations=one,
            retry=DEFAULT,
            operation=operation,
        ),
        Route(matches=(Match(path=Prefix("/v2/")),), destinations=one, retry=DEFAULT, operation=operation),
        Route(destinations=split, retry=DEFAULT, operation=operation),
    )
    hosts = VirtualHost(f"{HOST}:9080", (HOST, "reviews", "127.0.0.1"), routes)
    other = VirtualHost("ratings:9080", ("ratings",), routes[-1:])
    table = RouteTable.of("9080", (other, hosts))
    opaque = TcpRoute((Weighted(f"outbound|9080||{HOST}"),))
    targets = {9080: Target(Protocol.HTTP, table), 9000: Target(Protocol.TCP, None, (opaque,))}
    outbound = Outbound({}, targets, clusters)
    inbound = Inbound(
        {port: InboundPort(port, Protocol.AUTO, MtlsMode.PERMISSIVE, reference, f"inbound|{port}||")}
    )
    return Snapshot(
        1,
        {caller.id: Proxy(caller, outbound), called.id: Proxy(called, outbound, inbound)},
        {caller.id: caller, called.id: called},
        {"10.244.0.1": caller.id, POD: called.id},
        mesh=MeshSettings(access_log="", sampling_percent=1.0),
    )


async def serve(port: int, *, hops: int, tcp: bool, http2: bool, state: Path) -> None:
    """Serve; where, and how late a task that sleeps 5 ms is, is written to `state`."""
    network = LoopbackNetwork()
    network.places[POD, port] = ("127.0.0.1", port)
    feed = SnapshotFeed(snapshot(port, hops=hops, http2=http2))
    certificates = Certificates(CertificateAuthority("cluster.local", time.time()))
    reactor = EpollReactor(network, network.original)
    engine = Engine(feed, network, network, certificates, Recorder(feed), reactor=reactor)
    where = network.capture("productpage", outbound_to=("240.240.0.1", 9000 if tcp else 9080))
    network.capture("reviews")
    async with trio.open_nursery() as nursery:
        await nursery.start(reactor.run)
        await nursery.start(engine.run)
        late: list[float] = []
        said = time.monotonic()
        while True:
            began = time.monotonic()
            await trio.sleep(0.005)
            late.append(time.monotonic() - began - 0.005)
            if began - said > 0.5 or len(late) == 1:
                said = began
                recent = sorted(late[-200:])
                found = {"port": where[1], "late_p99": recent[int(len(recent) * 0.99)]}
                await trio.Path(str(state)).write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=int, required=True, help="the application's port")
    parser.add_argument("--hops", type=int, default=1)
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--http2", action="store_true")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--profile", type=Path, help="write a profile there when interrupted")
    asked = parser.parse_args()

    def run() -> None:
        how = {"hops": asked.hops, "tcp": asked.tcp, "http2": asked.http2, "state": asked.state}
        trio.run(partial(serve, asked.to, **how))

    if not asked.profile:
        run()
        return
    import cProfile

    profile = cProfile.Profile()
    try:
        profile.runcall(run)
    except* KeyboardInterrupt:
        profile.dump_stats(asked.profile)


if __name__ == "__main__":
    main()
