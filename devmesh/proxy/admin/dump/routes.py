"""Route tables as Envoy has them."""

from __future__ import annotations

from devmesh.model.port import Protocol
from devmesh.proxy.admin.dump.values import (
    Json,
    duration,
    given,
    header_match,
    headers_added,
    istio_metadata,
    percent,
    string_match,
    typed,
)
from devmesh.snapshot.match import Exact, PathPrefix, Prefix, Regex, StringMatch
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.route import (
    Cors,
    Fault,
    HeaderOps,
    Match,
    Redirect,
    Retry,
    Route,
    RouteTable,
    VirtualHost,
)

_FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"
_CORS = "envoy.extensions.filters.http.cors.v3.CorsPolicy"


def tables(proxy: Proxy) -> list[RouteTable]:
    """Return every table that the proxy uses, each once, by name."""
    found: dict[str, RouteTable] = {}
    targets = [*proxy.outbound.by_port.values(), *proxy.outbound.by_address.values()]
    for table in [target.routes for target in targets] if not proxy.instance.gateway else []:
        if table is not None:
            found.setdefault(table.name, table)
    for listener in proxy.gateway:
        for table in (listener.routes, *(tls.routes for tls in listener.tls)):
            if table is not None:
                found.setdefault(table.name, table)
    return [found[name] for name in sorted(found)]


def route_configurations(proxy: Proxy) -> list[Json]:
    """Return every ``envoy.config.route.v3.RouteConfiguration`` of a proxy, its own ports' too."""
    made = [
        typed(
            "envoy.config.route.v3.RouteConfiguration",
            name=table.name,
            virtual_hosts=[_virtual_host(host) for host in table.virtual_hosts],
            validate_clusters=False,
            ignore_port_in_host_matching=True,
        )
        for table in tables(proxy)
    ]
    return made + [inbound_routes(proxy, port) for port in http_ports(proxy)]


def http_ports(proxy: Proxy) -> list[int]:
    """Return the proxy's own ports that speak HTTP, or may."""
    ports = proxy.inbound.ports
    return [number for number in sorted(ports) if _speaks_http(ports[number].protocol)]


def _speaks_http(protocol: Protocol) -> bool:
    return protocol.is_http or protocol is Protocol.AUTO


def inbound_routes(proxy: Proxy, port: int) -> Json:
    """Return the table of one of the proxy's own ports."""
    found = proxy.inbound.ports[port]
    operation = f"{found.service.host}:{port}/*" if found.service is not None else ""
    route = given(
        name="default",
        match={"prefix": "/"},
        route={"cluster": found.cluster, "timeout": "0s"},
        decorator={"operation": operation} if operation else None,
    )
    host = {"name": f"inbound|http|{port}", "domains": ["*"], "routes": [route]}
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=found.cluster,
        virtual_hosts=[host],
        validate_clusters=False,
    )


def _virtual_host(host: VirtualHost) -> Json:
    routes = [made for route in host.routes for made in _routes(route)]
    return given(
        name=host.name, domains=list(host.domains), routes=routes, include_request_attempt_count=True
    )


def _routes(route: Route) -> list[Json]:
    """Return a route once for each of its alternative matches."""
    return [_route(route, match) for match in route.matches or (Match(),)]


def _route(route: Route, match: Match) -> Json:
    configs = given(
        **{
            "envoy.filters.http.fault": _fault(route.fault) if route.fault else None,
            "envoy.filters.http.cors": _cors(route.cors) if route.cors else None,
        }
    )
    made = given(
        name=route.name,
        match=_match(match),
        metadata=istio_metadata(route.origin),
        decorator={"operation": route.operation} if route.operation else None,
        typed_per_filter_config=configs,
        **_changes(route.request_headers, route.response_headers),
    )
    if route.redirect is not None:
        made["redirect"] = _redirect(route.redirect)
    elif route.direct is not None:
        body = route.direct.body.decode("utf-8", "replace")
        made["direct_response"] = given(
            status=route.direct.status, body={"inline_string": body} if body else None
        )
    else:
        made["route"] = _action(route)
    return made


def _match(match: Match) -> Json:
    headers = [header_match(name, test) for name, test in match.headers]
    for name, test in ((":method", match.method), (":scheme", match.scheme), (":authority", match.authority)):
        if test is not None:
            headers.append(header_match(name, test))
    headers += [header_match(name, test, inverted=True) for name, test in match.without]
    query = [{"name": name, "string_match": string_match(test)} for name, test in match.query]
    ignores_case = isinstance(match.path, Exact | Prefix) and match.path.ignore_case
    return {
        **_path(match.path),
        **given(case_sensitive=False if ignores_case else None, headers=headers, query_parameters=query),
    }


def _path(match: StringMatch | None) -> Json:
    match match:
        case Exact(value=value):
            return {"path": value}
        case Prefix(value=value):
            return {"prefix": value}
        case PathPrefix(value=value):
            return {"path_separated_prefix": value} if value else {"prefix": "/"}
        case Regex(source=source):
            return {"safe_regex": {"regex": source}}
    return {"prefix": "/"}


def _changes(request: HeaderOps, response: HeaderOps) -> Json:
    return given(
        request_headers_to_add=headers_added(request),
        request_headers_to_remove=list(request.remove),
        response_headers_to_add=headers_added(response),
        response_headers_to_remove=list(response.remove),
    )


def _action(route: Route) -> Json:
    rewrite = route.rewrite
    made: Json = {}
    if len(route.destinations) == 1:
        made["cluster"] = route.destinations[0].cluster
    else:
        made["weighted_clusters"] = {
            "clusters": [
                given(
                    name=each.cluster,
                    weight=each.weight,
                    **_changes(each.request_headers, each.response_headers),
                )
                for each in route.destinations
            ]
        }
    made["timeout"] = duration(route.timeout or 0.0)
    made |= given(
        retry_policy=_retry(route.retry) if route.retry is not None else None,
        prefix_rewrite=rewrite.path if rewrite is not None and rewrite.regex is None else None,
        regex_rewrite={"pattern": {"regex": str(rewrite.regex.pattern)}, "substitution": rewrite.substitution}
        if rewrite is not None and rewrite.regex is not None
        else None,
        host_rewrite_literal=rewrite.authority if rewrite is not None else None,
        request_mirror_policies=[
            {"cluster": mirror.cluster, "runtime_fraction": {"default_value": percent(mirror.percent)}}
            for mirror in route.mirrors
        ],
        cluster_not_found_response_code="INTERNAL_SERVER_ERROR" if route.not_found == 500 else None,
    )
    return made


def _retry(retry: Retry) -> Json:
    return given(
        retry_on=",".join(sorted(retry.on)),
        num_retries=retry.attempts,
        per_try_timeout=duration(retry.per_try_timeout) if retry.per_try_timeout else None,
        retriable_status_codes=sorted(retry.codes),
        retry_host_predicate=[
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ]
        if retry.other_hosts
        else None,
        host_selection_retry_max_attempts="5" if retry.other_hosts else None,
    )


def _redirect(redirect: Redirect) -> Json:
    codes = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT",
             308: "PERMANENT_REDIRECT"}  # fmt: skip
    return given(
        host_redirect=redirect.authority,
        path_redirect=redirect.path,
        prefix_rewrite=redirect.prefix,
        scheme_redirect=redirect.scheme,
        port_redirect=redirect.port,
        response_code=codes.get(redirect.status, "MOVED_PERMANENTLY"),
    )


def _fault(fault: Fault) -> Json:
    delay = abort = None
    if fault.delay_percent:
        delay = {"fixed_delay": duration(fault.delay), "percentage": percent(fault.delay_percent)}
    if fault.abort_percent:
        status = (
            {"grpc_status": fault.abort_grpc_status}
            if fault.abort_grpc_status is not None
            else {"http_status": fault.abort_status}
        )
        abort = {**status, "percentage": percent(fault.abort_percent)}
    return typed(_FAULT, delay=delay, abort=abort)


def _cors(cors: Cors) -> Json:
    return typed(
        _CORS,
        allow_origin_string_match=[string_match(origin) for origin in cors.origins],
        allow_methods=cors.methods,
        allow_headers=cors.headers,
        expose_headers=cors.expose,
        max_age=cors.max_age,
        allow_credentials=cors.credentials,
        forward_not_matching_preflights=cors.forward_unmatched,
    )
