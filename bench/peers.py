"""Configurations of the other proxies: the same routes, keep-alive on both sides, no access log."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from bench.mesh import HOST
from devmesh.model.identity import Identity
from devmesh.security.ca import CertificateAuthority

_TYPES = "type.googleapis.com/envoy.extensions"
_HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
_HTTP = f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"
BODY = '{"id":"0","podname":"reviews-v1","reviews":"' + "x" * 960 + '"}'  # about 1 KB of JSON


MESSAGE = "\\0\\0\\0\\0d" + "x" * 100  # one of gRPC, as nginx's configuration has it


def backend(port: int, http2: int, folder: Path) -> str:
    """Return nginx's configuration as the application: a short JSON document, without end; by HTTP/2, too,
    and there a call of gRPC below /grpc."""
    return f"""
worker_processes 1; daemon off; master_process off;
pid {folder}/backend.pid; error_log {folder}/backend.err;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{BODY}'; }} }}
  server {{
    listen 127.0.0.1:{http2} http2;
    location / {{ default_type application/json; return 200 '{BODY}'; }}
    location /grpc {{
      types {{ }} default_type application/grpc; add_trailer grpc-status 0; return 200 '{MESSAGE}';
    }}
  }}
}}
"""


def nginx(listen: int, to: int, folder: Path) -> str:
    return f"""
worker_processes 1; daemon off; master_process off;
pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  proxy_temp_path {folder}; client_body_temp_path {folder};
  upstream b {{ server 127.0.0.1:{to}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{listen};
    location / {{ proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def haproxy(listen: int, to: int, folder: Path, *, hops: int) -> str:
    common = (
        "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n"
        "  timeout client 1h\n  timeout server 1h\n  option http-keep-alive\n  http-reuse always\n"
        f"backend app\n  server s 127.0.0.1:{to}\n"
    )
    if hops == 1:
        return common + f"frontend out\n  bind 127.0.0.1:{listen}\n  default_backend app\n"
    certificates(folder)
    inner, verify = listen + 1, f"ca-file {folder}/ca.pem verify required"
    return common + (
        f"frontend out\n  bind 127.0.0.1:{listen}\n  default_backend hop\n"
        f"backend hop\n  server s 127.0.0.1:{inner} ssl crt {folder}/client.pem {verify}\n"
        f"frontend in\n  bind 127.0.0.1:{inner} ssl crt {folder}/server.pem {verify}\n  default_backend app\n"
    )


def haproxy_tcp(listen: int, to: int) -> str:
    return (
        "global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n"
        "  timeout server 1h\n  option splice-auto\n"
        f"frontend f\n  bind 127.0.0.1:{listen}\n  default_backend b\nbackend b\n  server s 127.0.0.1:{to}\n"
    )


def envoy(listen: int, to: int, folder: Path, *, hops: int, http2: bool = False) -> str:
    """Return Envoy's configuration: one listener, or two with mutual TLS between them."""
    inner = listen + 1
    clusters = [_cluster("app", to)]
    listeners = [_listener(listen, _manager("out", "app" if hops == 1 else "hop", routed=True))]
    if hops == 2:
        certificates(folder)
        clusters.append(_cluster("hop", inner) | {"transport_socket": _tls(folder, server=False)})
        inside = _listener(inner, _manager("in", "app", routed=False))
        inside["filter_chains"][0]["transport_socket"] = _tls(folder, server=True)
        listeners.append(inside)
    if http2:
        for cluster in clusters:
            cluster["typed_extension_protocol_options"] = _HTTP2
    return json.dumps({"static_resources": {"listeners": listeners, "clusters": clusters}})


def envoy_tcp(listen: int, to: int) -> str:
    proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": f"{_TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": "app",
        },
    }
    return json.dumps(
        {"static_resources": {"listeners": [_listener(listen, proxy)], "clusters": [_cluster("app", to)]}}
    )


def _manager(prefix: str, cluster: str, *, routed: bool) -> dict[str, Any]:
    to: dict[str, Any] = {"cluster": cluster, "timeout": "0s"}
    if routed:
        to |= {"retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2}}
    jason = {
        "prefix": "/",
        "headers": [{"name": "end-user", "string_match": {"exact": "jason"}}],
    }
    routes: list[dict[str, Any]] = [{"match": {"prefix": "/"}, "route": to}]
    if routed:
        routes = [{"match": jason, "route": to}, {"match": {"prefix": "/v2/"}, "route": to}, *routes]
    hosts: list[dict[str, Any]] = [{"name": "other", "domains": ["ratings"], "routes": routes[-1:]}]
    hosts.append({"name": "reviews", "domains": [HOST, "reviews", "*"], "routes": routes})
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": _HTTP,
            "stat_prefix": prefix,
            "route_config": {"name": prefix, "virtual_hosts": hosts},
            "http_filters": [
                {
                    "name": "envoy.filters.http.fault",
                    "typed_config": {"@type": f"{_TYPES}.filters.http.fault.v3.HTTPFault"},
                },
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
                },
            ],
        },
    }


def _listener(port: int, network_filter: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": str(port),
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [network_filter]}],
    }


def _cluster(name: str, port: int) -> dict[str, Any]:
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    unlimited = {"max_connections": 10**6, "max_pending_requests": 10**6, "max_requests": 10**6}
    return {
        "name": name,
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [unlimited]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
    }


def _tls(folder: Path, *, server: bool) -> dict[str, Any]:
    own = "server" if server else "client"
    kind = "DownstreamTlsContext" if server else "UpstreamTlsContext"
    common: dict[str, Any] = {
        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": f"{folder}/{own}.crt"},
                "private_key": {"filename": f"{folder}/{own}.key"},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": f"{folder}/ca.pem"}},
    }
    context: dict[str, Any] = {
        "@type": f"{_TYPES}.transport_sockets.tls.v3.{kind}",
        "common_tls_context": common,
    }
    if server:
        context["require_client_certificate"] = True
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def certificates(folder: Path) -> None:
    """Write the certificates of a mesh: ca.pem, and .crt, .key and both as .pem of client and server."""
    authority = CertificateAuthority("cluster.local", time.time())
    (folder / "ca.pem").write_text(authority.roots_pem)
    for name in ("client", "server"):
        pair = authority.issue(Identity("cluster.local", "default", name), time.time())
        (folder / f"{name}.crt").write_text(pair.certificate_pem)
        (folder / f"{name}.key").write_text(pair.key_pem)
        (folder / f"{name}.pem").write_text(pair.certificate_pem + pair.key_pem)
