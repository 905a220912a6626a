"""Bookinfo as telemetry sees it: workloads, a snapshot of them, and records of calls between them."""

from __future__ import annotations

from typing import Any

from devmesh.model.identity import Identity
from devmesh.model.port import Port, Protocol
from devmesh.model.service import Service
from devmesh.model.workload import Instance, Workload
from devmesh.snapshot.cluster import Cluster, Endpoint, ServiceRef
from devmesh.snapshot.match import Exact, Prefix
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.proxy import Inbound, InboundPort, MtlsMode, Outbound, Proxy, Target, TcpRoute
from devmesh.snapshot.route import Fault, Match, Route, RouteTable, VirtualHost, Weighted
from devmesh.snapshot.snapshot import Snapshot
from devmesh.telemetry.record import Record

NOON = 1_772_366_400.0  # 2026-03-01T12:00:00Z


def workload(app: str, version: str = "v1") -> Workload:
    return Workload(f"{app}-{version}", "default", labels={"app": app, "version": version})


INGRESS = Workload("istio-ingressgateway", "istio-system", labels={"app": "istio-ingressgateway"})
PRODUCTPAGE, DETAILS, RATINGS = workload("productpage"), workload("details"), workload("ratings")
REVIEWS = {version: workload("reviews", version) for version in ("v1", "v2", "v3")}
WORKLOADS = (PRODUCTPAGE, DETAILS, RATINGS, *REVIEWS.values())


def host(app: str) -> str:
    return f"{app}.default.svc.cluster.local"


def service(app: str) -> ServiceRef:
    return ServiceRef(host(app), app, "default")


def identity(of: Workload) -> Identity:
    return Identity("cluster.local", of.namespace, f"bookinfo-{of.app}")


def instance(of: Workload, number: int, **changed: Any) -> Instance:
    given: dict[str, Any] = {
        "id": f"id-{of.name}",
        "pod": f"{of.name}-abcde",
        "workload": of,
        "identity": identity(of),
        "addresses": (f"10.0.0.{number}",),
        "ready": True,
        "gateway": of is INGRESS,
    }
    return Instance(**given | changed)


def snapshot(version: int = 1, *, without: tuple[str, ...] = (), **more: Any) -> Snapshot:
    """Bookinfo, all ready; `without` names workloads that aren't ready."""
    instances = [
        instance(w, n, ready=w.name not in without) for n, w in enumerate((*WORKLOADS, INGRESS), start=1)
    ]
    services = {
        host(app): Service(
            host(app), app, "default", (Port("http", 9080, Protocol.HTTP, 9080),), selector={"app": app}
        )
        for app in ("productpage", "details", "reviews", "ratings")
    }
    return Snapshot(
        version=version,
        instances={i.id: i for i in instances},
        services=services,
        proxies={i.id: proxy(i) for i in instances},
        **more,
    )


def proxy(of: Instance) -> Proxy:
    """A proxy that knows reviews' three versions, a fault of ratings, and a database."""
    rule = Origin("VirtualService", "default", "reviews", "spec.http[0]", "networking/reviews.yaml", 12)
    clusters = [
        Cluster(
            f"outbound|9080|{subset}|{host('reviews')}",
            service("reviews"),
            9080,
            subset=subset,
            endpoints=(Endpoint("10.0.0.4", 9080, workload=REVIEWS[subset], mtls=True),),
            origin=Origin("DestinationRule", "default", "reviews"),
        )
        for subset in ("v1", "v2")
    ]
    clusters.append(Cluster("PassthroughCluster", ServiceRef("", "PassthroughCluster", ""), 0))
    reviews = VirtualHost(
        "reviews:9080",
        (host("reviews"), "reviews"),
        (
            Route(
                "jason",
                matches=(Match(path=Prefix("/reviews"), headers=(("end-user", Exact("jason")),)),),
                destinations=(Weighted(clusters[1].name),),
                fault=Fault(delay=7.0, delay_percent=100.0),
                timeout=0.5,
                origin=rule,
            ),
            Route(destinations=(Weighted(clusters[0].name, 90), Weighted(clusters[1].name, 10)), origin=rule),
        ),
    )
    table = RouteTable.of("9080", (reviews,))
    tcp = Target(Protocol.TCP, tcp=(TcpRoute((Weighted("outbound|3306||mysql"),)),))
    outbound = Outbound(
        by_address={("240.240.0.9", 3306): tcp},
        by_port={9080: Target(Protocol.HTTP, routes=table)},
        clusters={cluster.name: cluster for cluster in clusters},
    )
    inbound = InboundPort(9080, Protocol.HTTP, MtlsMode.STRICT, service(of.workload.app), "inbound|9080||")
    return Proxy(of, outbound, Inbound(ports={9080: inbound}))


def call(
    source: Workload | None, destination: Workload | None, *, at: float = NOON, **changed: Any
) -> Record:
    """A GET by the source's proxy that took 20 ms and went well."""
    app = destination.app if destination else "reviews"
    given: dict[str, Any] = {
        "reporter": "source",
        "instance": f"id-{source.name}" if source else "id-unknown",
        "source": source,
        "destination": destination,
        "service": service(app),
        "started": at,
        "method": "GET",
        "path": f"/{app}/0",
        "authority": f"{app}:9080",
        "status": 200,
        "details": "via_upstream",
        "duration": 0.02,
        "upstream_time": 0.019,
        "bytes_sent": 295,
        "mtls": True,
        "source_principal": str(identity(source)) if source else "",
        "destination_principal": str(identity(destination)) if destination else "",
        "route": "default",
        "upstream_cluster": f"outbound|9080||{host(app)}",
    }
    return Record(**given | changed)


def both(source: Workload, destination: Workload, **changed: Any) -> list[Record]:
    """The two records of one call over the hop."""
    one = call(source, destination, **changed)
    other = call(source, destination, **changed | {"reporter": "destination"})
    other.instance, other.upstream_cluster = f"id-{destination.name}", "inbound|9080||"
    return [one, other]
