"""Commands that only tell: the server, its listeners, its certificates."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from devmesh.proxy.admin.http import Asked, Reply, as_json
from devmesh.proxy.admin.view import View
from devmesh.snapshot.proxy import Proxy
from devmesh.telemetry.process import process_metrics


def state_of(view: View) -> str:
    """Return Envoy's word for what the proxy is about."""
    if view.proxy is None:
        return "INITIALIZING"
    return "DRAINING" if view.state.failing else "LIVE"


def ready(view: View, asked: Asked) -> Reply:
    state = state_of(view)
    return Reply(f"{state}\n", 200 if state == "LIVE" else 503)


def server_info(view: View, asked: Asked) -> Reply:
    uptime = f"{int(view.plane.reactor.now() - view.state.began)}s"
    mesh = view.snapshot.mesh
    return as_json(
        {
            "version": f"devmesh/{version('devmesh')}/Clean/RELEASE/OpenSSL",
            "state": state_of(view),
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "hot_restart_version": "disabled",
            "command_line_options": {
                "concurrency": 1,
                "service_cluster": node(view.proxy)["cluster"] if view.proxy else "",
                "service_node": node(view.proxy)["id"] if view.proxy else "",
                "mode": "Serve",
                "drain_time": f"{mesh.drain_duration:g}s",
                "drain_strategy": "Immediate",
            },
            "node": node(view.proxy) if view.proxy else {},
        }
    )


def node(proxy: Proxy) -> dict[str, Any]:
    """Return what Istio's bootstrap says of a proxy (``type~ip~pod.namespace~domain``)."""
    instance, workload = proxy.instance, proxy.instance.workload
    kind = "router" if instance.gateway else "sidecar"
    address = instance.addresses[0] if instance.addresses else "127.0.0.1"
    namespace = workload.namespace
    return {
        "id": f"{kind}~{address}~{instance.pod}.{namespace}~{namespace}.svc.cluster.local",
        "cluster": f"{workload.canonical_service}.{namespace}",
        "metadata": {
            "NAME": instance.pod,
            "NAMESPACE": namespace,
            "WORKLOAD_NAME": workload.name,
            "OWNER": f"kubernetes://apis/apps/v1/namespaces/{namespace}/{workload.kind.lower()}s/{workload.name}",
            "SERVICE_ACCOUNT": instance.identity.service_account,
            "CLUSTER_ID": "Kubernetes",
            "MESH_ID": instance.identity.trust_domain,
            "LABELS": dict(workload.labels),
            "INSTANCE_IPS": ",".join(instance.addresses),
            "ISTIO_VERSION": f"devmesh-{version('devmesh')}",
            "INTERCEPTION_MODE": "REDIRECT",
        },
        "locality": {
            name: value
            for name, value in zip(("region", "zone", "sub_zone"), instance.locality.split("/"), strict=False)
            if value
        },
        "user_agent_name": "devmesh",
    }


def listeners(view: View, asked: Asked) -> Reply:
    found = sorted(view.controls.listening(view.instance))
    if asked.query.get("format") != "json":
        return Reply("".join(f"{name}::{address}:{port}\n" for name, address, port in found))
    return as_json(
        {
            "listener_statuses": [
                {
                    "name": name,
                    "local_address": {"socket_address": {"address": address, "port_value": port}},
                }
                for name, address, port in found
            ]
        }
    )


def certs(view: View, asked: Asked) -> Reply:
    info = view.secret
    if info is None:
        return as_json({"certificates": []})

    def one(serial: str, begins: float, ends: float, uri: str) -> dict[str, Any]:
        return {
            "path": "<inline>",
            "serial_number": serial,
            "subject_alt_names": [{"uri": uri}],
            "days_until_expiration": str(max(0, int((ends - view.now) // 86400))),
            "valid_from": instant(begins),
            "expiration_time": instant(ends),
        }

    domain = info.identity.split("/")[2] if info.identity.startswith("spiffe://") else ""
    root = one(info.root_serial, info.root_not_before, info.root_not_after, f"spiffe://{domain}")
    chain = one(info.serial, info.not_before, info.not_after, info.identity)
    return as_json({"certificates": [{"ca_cert": [root], "cert_chain": [chain]}]})


def memory(view: View, asked: Asked) -> Reply:
    """Tell the size of the process, which all proxies share."""
    resident = next((own[3] for own in process_metrics() if own[0] == "process_resident_memory_bytes"), 0)
    size = str(int(resident))
    return as_json(
        {
            "allocated": size,
            "heap_size": size,
            "pageheap_unmapped": "0",
            "pageheap_free": "0",
            "total_thread_cache": "0",
            "total_physical_bytes": size,
        }
    )


def runtime(view: View, asked: Asked) -> Reply:
    return as_json({"entries": {}, "layers": []})


def no_restart(view: View, asked: Asked) -> Reply:
    return Reply("disabled")


def instant(epoch: float) -> str:
    """Return seconds since the epoch as JSON has times."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
