"""A proxy's routes as rows, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator

from devmesh.api.console.rows import RouteRow
from devmesh.model.port import Protocol
from devmesh.snapshot.match import Exact, PathPrefix, Prefix, Present, Regex, StringMatch, Suffix
from devmesh.snapshot.origin import Origin
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.route import Match, Route, RouteTable, Weighted


def routes(proxy: Proxy) -> list[RouteRow]:
    """Return the routes of every table that the proxy can reach, table by table."""
    tables: dict[str, RouteTable] = {}
    targets = [*proxy.outbound.by_port.values(), *proxy.outbound.by_address.values()]
    found = [target.routes for target in targets] if not proxy.instance.gateway else []
    found += [server.routes for server in proxy.gateway]
    found += [tls.routes for server in proxy.gateway for tls in server.tls]
    for table in found:
        if table is not None:
            tables.setdefault(table.name, table)
    rows = [row for _, table in sorted(tables.items()) for row in _table_rows(table)]
    rows += [
        RouteRow(
            name=inbound.cluster,
            vhost_name=f"inbound|http|{port}",
            domains=("*",),
            match="/*",
            virtual_service="",
            route="default",
            conditions=(),
            destinations={inbound.cluster: 1},
            actions=(),
            origin=str(inbound.origin) if inbound.origin else "",
        )
        for port, inbound in sorted(proxy.inbound.ports.items())
        if inbound.protocol is Protocol.AUTO or inbound.protocol.is_http
    ]
    return rows


def _table_rows(table: RouteTable) -> Iterator[RouteRow]:
    hosts = [*table.exact.values(), *(host for _, host in table.suffixes)]
    if table.default is not None:
        hosts.append(table.default)
    for host in {host.name: host for host in hosts}.values():
        for route in host.routes:
            for match in route.matches or (Match(),):
                yield RouteRow(
                    name=table.name,
                    vhost_name=host.name,
                    domains=host.domains,
                    match=_path(match.path),
                    virtual_service=resource_of(route.origin, "VirtualService"),
                    route=route.name,
                    conditions=tuple(_conditions(match)),
                    destinations=_weights(route.destinations),
                    actions=tuple(_actions(route)),
                    origin=str(route.origin) if route.origin else "",
                )


def _weights(destinations: tuple[Weighted, ...]) -> dict[str, int]:
    weights: dict[str, int] = {}
    for destination in destinations:
        weights[destination.cluster] = weights.get(destination.cluster, 0) + destination.weight
    return weights


def _path(match: StringMatch | None) -> str:
    return "/*" if match is None else _said(match)


def _said(match: StringMatch) -> str:
    match match:
        case Exact(value=value):
            return value
        case Prefix(value=value):
            return f"{value}*"
        case PathPrefix(value=value):
            return f"{value}/*"
        case Suffix(value=value):
            return f"*{value}"
        case Regex(source=source):
            return f"regex {source}"
        case Present():
            return "*"
    return repr(match)


def _conditions(match: Match) -> Iterator[str]:
    for what, test in (("method", match.method), ("scheme", match.scheme), ("authority", match.authority)):
        if test is not None:
            yield f"{what} {_said(test)}"
    yield from (f"header {name}: {_said(test)}" for name, test in match.headers)
    yield from (f"without header {name}: {_said(test)}" for name, test in match.without)
    yield from (f"query {name}={_said(test)}" for name, test in match.query)


def _actions(route: Route) -> Iterator[str]:
    if fault := route.fault:
        if fault.delay_percent:
            yield f"delay {fault.delay:g} s for {fault.delay_percent:g} %"
        if fault.abort_percent:
            yield f"abort {fault.abort_status} for {fault.abort_percent:g} %"
    if route.redirect:
        yield f"redirect {route.redirect.status}"
    if route.direct:
        yield f"answer {route.direct.status}"
    if route.rewrite:
        yield "rewrite"
    if route.timeout is not None:
        yield f"timeout {route.timeout:g} s"
    if route.retry:
        yield f"retries {route.retry.attempts}"
    for mirror in route.mirrors:
        yield f"mirror {mirror.percent:g} % to {mirror.cluster}"
    if route.cors:
        yield "cors"


def resource_of(origin: Origin | None, kind: str) -> str:
    """Return ``name.namespace`` where the value comes from a resource of `kind`, as istioctl shows it."""
    return f"{origin.name}.{origin.namespace}" if origin and origin.kind == kind else ""
