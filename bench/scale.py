"""``python -m bench.scale``: what a large configuration costs (500 workloads, 1,000 services, 2,000 routes).

The time of a compile, of an edit, the memory of all that, and how long finding a route takes as services and
routes grow.
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

from devmesh.config import kinds
from devmesh.config.kinds import Kinds
from devmesh.config.store import Store
from devmesh.model.identity import Identity
from devmesh.model.workload import Instance, Workload
from devmesh.pilot.compiler import compile_mesh
from devmesh.snapshot.match import Exact, Prefix
from devmesh.snapshot.route import Match, Route, RouteTable, VirtualHost
from devmesh.traffic.routing import RequestHead, find_route, find_virtual_host

WORKLOADS, SERVICES, ROUTES = 500, 1000, 2000
GOALS = {"compile s": 1.0, "edit ms": 150.0, "memory MB": 300.0}
_NETWORKING = "networking.istio.io/v1"


def document(api: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def service(number: int) -> dict[str, Any]:
    """Return a Service; two select each workload."""
    ports = [{"name": "http", "port": 9080}]
    spec = {"selector": {"app": f"w{number % WORKLOADS}"}, "ports": ports}
    return document("v1", "Service", f"s{number}", spec)


def virtual_service(number: int, path: str = "/v2") -> dict[str, Any]:
    """Return the routes of one service: two, so that all have `ROUTES`."""
    to = [{"destination": {"host": f"s{number}"}}]
    routes = [{"match": [{"uri": {"prefix": path}}], "route": to}, {"route": to}]
    return document(_NETWORKING, "VirtualService", f"s{number}", {"hosts": [f"s{number}"], "http": routes})


def instances() -> list[Instance]:
    made = []
    for number in range(WORKLOADS):
        name, address = f"w{number}", f"10.244.{number // 250}.{number % 250 + 1}"
        workload = Workload(name, "default", "Deployment", {"app": name, "version": "v1"})
        identity = Identity("cluster.local", "default", name)
        made.append(Instance(f"{name}-0", f"{name}-0", workload, identity, (address,), True))
    return made


def compiles() -> dict[str, float]:
    """Return seconds of the first compile, milliseconds of an edit's, and MB of the process after both."""
    ticks = itertools.count(1_800_000_000.0)
    store = Store(Kinds(kinds.BUILT_IN), clock=lambda: next(ticks))
    store.create(kinds.NAMESPACE, {"metadata": {"name": "default"}})
    everything = [*map(service, range(SERVICES)), *map(virtual_service, range(ROUTES // 2))]
    for each in everything:
        kind = store.kinds.named(each["apiVersion"], each["kind"])
        assert kind is not None
        store.create(kind, each)
    running = instances()
    began = time.perf_counter()
    compiled = compile_mesh(store, running, version=1)
    first = time.perf_counter() - began
    edits = []
    kind = store.kinds.named(_NETWORKING, "VirtualService")
    assert kind is not None
    for number in range(5):
        store.update(kind, virtual_service(number, "/v3"))
        began = time.perf_counter()
        compiled = compile_mesh(store, running, version=2 + number, previous=compiled)
        edits.append(time.perf_counter() - began)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"compile s": first, "edit ms": sorted(edits)[2] * 1000, "memory MB": resident}


def lookups(services: int, routes: int, match: Callable[[str], Any]) -> float:
    """Return µs to find the last of the `routes` of one service among `services`."""
    many = tuple(Route(matches=(Match(path=match(f"/r{number:04}")),)) for number in range(routes))
    hosts = tuple(VirtualHost(f"s{n}:9080", (f"s{n}",), many) for n in range(services))
    table = RouteTable.of("9080", hosts)
    head = RequestHead("GET", f"/r{routes - 1:04}", f"s{services - 1}", "http", {})

    def find() -> None:
        host = find_virtual_host(table, head.authority)
        assert host is not None
        assert find_route(host, head) is not None

    return min(timeit.repeat(find, number=100, repeat=5)) / 100 * 1e6


def main() -> int:
    found = compiles()
    for name, value in found.items():
        verdict = "met" if value <= GOALS[name] else "missed"
        print(f"Goal {name}: at most {GOALS[name]:g}: {value:.2f}, {verdict}.")
    for services in (10, 1000):
        print(f"find a route, {services} services of 2 routes: {lookups(services, 2, Exact):.2f} µs")
    for name, match in (("exact", Exact), ("prefix", Prefix)):
        told = ", ".join(f"{routes}: {lookups(1, routes, match):.1f} µs" for routes in (20, 200, 2000))
        print(f"find the last of so many routes of one service, {name}: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
