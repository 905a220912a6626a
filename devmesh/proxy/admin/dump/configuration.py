"""``/config_dump``: the whole, or the part that is asked for."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from devmesh.proxy.admin.dump.clusters import cluster, load_assignment
from devmesh.proxy.admin.dump.listeners import listeners
from devmesh.proxy.admin.dump.routes import route_configurations
from devmesh.proxy.admin.dump.values import Json, typed
from devmesh.proxy.admin.http import Asked, Reply, as_json
from devmesh.proxy.admin.information import instant, node
from devmesh.proxy.admin.view import View
from devmesh.snapshot.cluster import ClusterKind

_REDACTED = base64.b64encode(b"[redacted]").decode()
_DUMP = "envoy.admin.v3"


def config_dump(view: View, asked: Asked) -> Reply:
    """Answer ``/config_dump``; see Envoy's for its parameters."""
    if view.proxy is None:
        return as_json({"configs": []})
    query = asked.query
    resource = query.get("resource", "")
    wanted, error = _named(query.get("name_regex", ""))
    if error is not None:
        return error
    endpoints = "include_eds" in query or resource.endswith("endpoint_configs")
    configs = list(_configs(view, wanted, endpoints=endpoints))
    if resource:
        holder = next((each for each in configs if resource in each), None)
        if holder is None:
            known = ("static_clusters", "dynamic_active_clusters", "static_listeners", "dynamic_listeners",
                     "static_route_configs", "dynamic_route_configs", "dynamic_active_secrets", "bootstrap",
                     "dynamic_endpoint_configs", "static_endpoint_configs")  # fmt: skip
            if resource not in known:
                return Reply(f"{resource} not found in config dump", 404)
            configs = []
        else:
            found = holder[resource]
            kind = f"{holder['@type']}.{_ITEMS.get(resource, 'Item')}"
            items = found if isinstance(found, list) else [found]
            configs = [{"@type": kind, **item} for item in items]
    if mask := query.get("mask", ""):
        paths = [path.split(".") for path in mask.split(",")]
        configs = [_masked(each, paths) for each in configs]
    return as_json({"configs": configs})


_ITEMS = {
    "dynamic_active_clusters": "DynamicCluster",
    "dynamic_listeners": "DynamicListener",
    "dynamic_route_configs": "DynamicRouteConfig",
    "dynamic_active_secrets": "DynamicSecret",
    "dynamic_endpoint_configs": "DynamicEndpointConfig",
}


def _named(source: str) -> tuple[Callable[[str], bool], Reply | None]:
    if not source:
        return (lambda name: True), None
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        match = re2.compile(source, options).fullmatch
    except re2.error as error:
        return (lambda name: True), Reply(f"Error while parsing name_regex from {source}: {error}\n", 400)
    return (lambda name: match(name) is not None), None


def _configs(view: View, wanted: Callable[[str], bool], *, endpoints: bool) -> Iterator[Json]:
    proxy, version = view.proxy, str(view.snapshot.version)
    assert proxy is not None
    updated = instant(view.now)
    stamp = {"version_info": version, "last_updated": updated}
    yield typed(f"{_DUMP}.BootstrapConfigDump", bootstrap=bootstrap(view), last_updated=updated)
    clusters = [(found, state) for found, state in view.clusters() if wanted(found.name)]
    yield typed(
        f"{_DUMP}.ClustersConfigDump",
        version_info=version,
        dynamic_active_clusters=[{**stamp, "cluster": cluster(found)} for found, _ in clusters],
    )
    if endpoints:
        yield typed(
            f"{_DUMP}.EndpointsConfigDump",
            dynamic_endpoint_configs=[
                {**stamp, "endpoint_config": load_assignment(found, state)}
                for found, state in clusters
                if found.kind is not ClusterKind.ORIGINAL_DST or found.name.startswith("inbound|")
            ],
        )
    yield typed(
        f"{_DUMP}.ListenersConfigDump",
        version_info=version,
        dynamic_listeners=[
            {"name": listener["name"], "active_state": {**stamp, "listener": listener}}
            for listener in listeners(proxy)
            if wanted(listener["name"])
        ],
    )
    yield typed(f"{_DUMP}.ScopedRoutesConfigDump")
    yield typed(
        f"{_DUMP}.RoutesConfigDump",
        dynamic_route_configs=[
            {**stamp, "route_config": table} for table in route_configurations(proxy) if wanted(table["name"])
        ],
    )
    yield typed(
        f"{_DUMP}.SecretsConfigDump",
        dynamic_active_secrets=[secret for secret in secrets(view) if wanted(secret["name"])],
    )


def bootstrap(view: View) -> Json:
    """Return what Istio's agent would have started Envoy with."""
    assert view.proxy is not None
    return {
        "node": node(view.proxy),
        "static_resources": {},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15000}}},
        "stats_config": {
            "stats_tags": [
                {
                    "tag_name": "cluster_name",
                    "regex": "^cluster\\.((.+?(\\..+?\\.svc\\.cluster\\.local)?)\\.)",
                },
                {"tag_name": "response_code", "regex": "_rq(_(\\d{3}))$"},
                {"tag_name": "response_code_class", "regex": "_rq(_(\\dxx))$"},
            ],
            "use_all_default_tags": False,
        },
    }


def secrets(view: View) -> Iterator[Json]:
    """Yield the workload's certificate, without its key, and the roots that it trusts."""
    info = view.secret
    if info is None:
        return

    def made(name: str, begins: float, **content: Any) -> Json:
        secret = typed("envoy.extensions.transport_sockets.tls.v3.Secret", name=name, **content)
        updated = instant(begins)
        return {"name": name, "version_info": updated, "last_updated": updated, "secret": secret}

    def inline(text: str) -> Json:
        return {"inline_bytes": base64.b64encode(text.encode()).decode()}

    yield made(
        "default",
        info.not_before,
        tls_certificate={
            "certificate_chain": inline(info.certificate_pem),
            "private_key": {"inline_bytes": _REDACTED},
        },
    )
    yield made("ROOTCA", info.root_not_before, validation_context={"trusted_ca": inline(info.roots_pem)})


def _masked(message: Json, paths: list[list[str]]) -> Json:
    """Return what a field mask leaves of a message."""
    kept: Json = {"@type": message["@type"]} if "@type" in message else {}
    for name in {path[0] for path in paths}:
        if name not in message:
            continue
        deeper = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        value = message[name]
        whole = any(path == [name] for path in paths)
        if whole or not deeper:
            kept[name] = value
        elif isinstance(value, list):
            kept[name] = [_masked(each, deeper) if isinstance(each, dict) else each for each in value]
        elif isinstance(value, dict):
            kept[name] = _masked(value, deeper)
    return kept
