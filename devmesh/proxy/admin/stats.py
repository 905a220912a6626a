"""All that a proxy counts, under Envoy's names, for ``/stats``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple

from devmesh.proxy.admin.http import Asked, Reply, as_json
from devmesh.proxy.admin.view import View
from devmesh.proxy.cluster_stats import values
from devmesh.telemetry.process import process_metrics

STARTING, LIVE, DRAINING = 3, 0, 1  # Envoy: server.state
_GAUGES = ("_active", "_open", ".remaining_cx", ".remaining_rq", ".remaining_pending", ".remaining_retries")
_CLUSTER_GAUGES = ("membership_healthy", "membership_total", "membership_degraded", "membership_excluded")


class Stat(NamedTuple):
    """One value. Its name is ``scope.of.name``; `of` is the cluster, say, that it is of."""

    scope: str
    of: str
    name: str
    value: int
    gauge: bool

    @property
    def full_name(self) -> str:
        return ".".join(part.replace(":", "_") for part in (self.scope, self.of, self.name) if part)


def gather(view: View) -> list[Stat]:
    """Return everything, by name."""
    found = [*_clusters(view), *_http(view), *_listeners(view), *_own(view)]
    return sorted(found, key=lambda stat: stat.full_name)


def _clusters(view: View) -> Iterator[Stat]:
    for cluster, state in view.clusters():
        for name, value in values(state, cluster).items():
            gauge = name.endswith(_GAUGES) or name in _CLUSTER_GAUGES
            yield Stat("cluster", cluster.name, name, value, gauge)


def _http(view: View) -> Iterator[Stat]:
    for prefix, stats in list(view.state.http.items()):
        for name, value in stats.values().items():
            yield Stat("http", prefix, name, value, name.endswith("_active"))
    for prefix, limited in list(view.state.limited.items()):
        for name, value in limited.items():
            yield Stat("", prefix, name, value, False)


def _listeners(view: View) -> Iterator[Stat]:
    for name, count in list(view.state.accepted.items()):
        yield Stat("listener", name, "downstream_cx_total", count, False)


def _own(view: View) -> Iterator[Stat]:
    proxy, state, reactor = view.proxy, view.state, view.plane.reactor
    listening = len(view.controls.listening(view.instance))
    resident = next((own[3] for own in process_metrics() if own[0] == "process_resident_memory_bytes"), 0)
    days = int((view.secret.not_after - view.now) // 86400) if view.secret is not None else 2**32 - 1
    numbers = {
        "cluster_manager.active_clusters": sum(1 for _ in view.clusters()),
        "cluster_manager.warming_clusters": 0,
        "listener_manager.total_listeners_active": listening,
        "listener_manager.total_listeners_draining": 0,
        "listener_manager.total_listeners_warming": 0,
        "server.concurrency": 1,
        "server.days_until_first_cert_expiring": max(0, days),
        "server.live": int(not state.draining),
        "server.memory_allocated": int(resident),
        "server.memory_heap_size": int(resident),
        "server.memory_physical_size": int(resident),
        "server.state": STARTING if proxy is None else DRAINING if state.draining else LIVE,
        "server.total_connections": sum(stats.cx_active for stats in list(state.http.values())),
        "server.uptime": int(reactor.now() - state.began),
        "server.version": sum(ord(c) << (8 * i) for i, c in enumerate(reversed(version("devmesh")[:3]))),
    }
    for name, value in numbers.items():
        scope, _, rest = name.partition(".")
        yield Stat(scope, "", rest, value, True)


def stats(view: View, asked: Asked) -> Reply:
    """Answer ``/stats``: text, or JSON with ``format=json``."""
    wanted, error = filter_of(asked)
    if error is not None:
        return error
    kind = asked.query.get("type", "All")
    found = [
        stat
        for stat in gather(view)
        if wanted(stat.full_name)
        and (stat.value or "usedonly" not in asked.query)
        and (kind == "All" or (kind == "Gauges") == stat.gauge)
        and kind not in ("Histograms", "TextReadouts")
    ]
    shape = asked.query.get("format", "text")
    if shape == "json":
        return as_json_line({"stats": [{"name": s.full_name, "value": s.value} for s in found]})
    if shape == "prometheus":
        from devmesh.proxy.admin.prometheus import prometheus

        return prometheus(view, asked)
    if shape not in ("text", ""):
        return Reply(f"format {shape!r} is none of: text, json, prometheus\n", 400)
    return Reply("".join(f"{stat.full_name}: {stat.value}\n" for stat in found))


def as_json_line(value: Any) -> Reply:
    import json

    return Reply(json.dumps(value, separators=(",", ":")), content_type=as_json(None).content_type)


def filter_of(asked: Asked) -> tuple[Callable[[str], bool], Reply | None]:
    """Return what tells whether a name is wanted, or the refusal of an expression that is none (RE2)."""
    source = asked.query.get("filter", "")
    if not source:
        return (lambda name: True), None
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(source, options).search
    except re2.error as error:
        return (lambda name: True), Reply(f"Invalid re2 regex: {error}\n", 400)
    inverted = "invert_filter" in asked.query
    return (lambda name: (search(name) is not None) is not inverted), None
