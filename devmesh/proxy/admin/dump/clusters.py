"""Clusters and endpoints as Envoy has them."""

from __future__ import annotations

from devmesh.proxy.admin.clusters import hosts_of, is_ejected, limits_of, locality_of
from devmesh.proxy.admin.dump.values import ADS, Json, address, duration, given, istio_metadata, typed
from devmesh.proxy.pools import ClusterState
from devmesh.snapshot.balancing import Hashing
from devmesh.snapshot.cluster import Balancing, Cluster, ClusterKind, OutlierDetection, TlsMode

_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_POLICIES = {
    Balancing.PASSTHROUGH: "CLUSTER_PROVIDED",
    Balancing.RING_HASH: "RING_HASH",
    Balancing.MAGLEV: "MAGLEV",
}
_SPECIAL = ("BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster")


def cluster(found: Cluster) -> Json:
    """Return an ``envoy.config.cluster.v3.Cluster``."""
    original = found.kind is ClusterKind.ORIGINAL_DST
    black_hole = found.name == "BlackHoleCluster"
    kind = ClusterKind.STATIC if black_hole else found.kind
    limits = found.limits
    return typed(
        "envoy.config.cluster.v3.Cluster",
        name=found.name,
        type=kind.value,
        eds_cluster_config={"eds_config": ADS, "service_name": found.name}
        if kind is ClusterKind.EDS
        else None,
        load_assignment=_assignment(found)
        if kind not in (ClusterKind.EDS, ClusterKind.ORIGINAL_DST)
        else None,
        connect_timeout=duration(limits.connect_timeout),
        lb_policy="CLUSTER_PROVIDED" if original else _POLICIES.get(found.balancing, found.balancing.value),
        ring_hash_lb_config=_ring(found.hashing),
        circuit_breakers={"thresholds": [{**limits_of(found), "track_remaining": True}]},
        outlier_detection=_outliers(found.outlier),
        common_lb_config=_common(found),
        typed_extension_protocol_options=_protocol(found),
        transport_socket=_transport(found),
        transport_socket_matches=_matches(found),
        metadata=istio_metadata(
            found.origin,
            default_original_port=found.port or None,
            subset=found.subset or None,
            services=[
                given(host=found.service.host, name=found.service.name, namespace=found.service.namespace)
            ]
            if found.service.host and found.name not in _SPECIAL
            else None,
        ),
    )


def _ring(hashing: Hashing | None) -> Json | None:
    if hashing is None or hashing.maglev:
        return None
    return {"minimum_ring_size": str(hashing.size)}


def _outliers(outlier: OutlierDetection | None) -> Json | None:
    if outlier is None:
        return None
    return given(
        consecutive_5xx=outlier.consecutive_5xx,
        interval=duration(outlier.interval),
        base_ejection_time=duration(outlier.base_ejection_time),
        max_ejection_percent=outlier.max_ejection_percent,
        enforcing_consecutive_5xx=100 if outlier.consecutive_5xx else 0,
        consecutive_gateway_failure=outlier.consecutive_gateway or None,
        enforcing_consecutive_gateway_failure=100 if outlier.consecutive_gateway else None,
        enforcing_success_rate=0,
        split_external_local_origin_errors=outlier.split_local_origin or None,
        consecutive_local_origin_failure=outlier.consecutive_local if outlier.split_local_origin else None,
    )


def _common(found: Cluster) -> Json | None:
    made: Json = {}
    if found.outlier is not None and found.outlier.min_health_percent:
        made["healthy_panic_threshold"] = {"value": found.outlier.min_health_percent}
    if found.by_locality:
        made["locality_weighted_lb_config"] = {}
    return made or None


def _protocol(found: Cluster) -> Json | None:
    limits = found.limits
    common = given(
        idle_timeout=duration(limits.idle_timeout) if limits.idle_timeout != 3600.0 else None,
        max_requests_per_connection=limits.max_requests_per_connection or None,
    )
    if not (found.http2 or common):
        return None
    config: Json = {"http2_protocol_options": {}} if found.http2 else {"http_protocol_options": {}}
    return {
        _HTTP: typed(_HTTP, explicit_http_config=config, common_http_protocol_options=common),
    }


def _transport(found: Cluster) -> Json | None:
    tls = found.tls
    if tls.mode not in (TlsMode.SIMPLE, TlsMode.MUTUAL, TlsMode.ISTIO_MUTUAL):
        return None
    if tls.mode is TlsMode.ISTIO_MUTUAL:
        return _mesh_tls(found)
    common = given(validation_context=_validation(found))
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(_TLS, common_tls_context=common, sni=tls.sni),
    }


def _validation(found: Cluster) -> Json:
    authority = found.tls.ca_pem
    return given(
        trusted_ca={"inline_string": authority} if authority else None,
        match_typed_subject_alt_names=[
            {"san_type": kind, "matcher": {"exact": san}} for san in found.tls.sans for kind in ("DNS", "URI")
        ],
    )


def _matches(found: Cluster) -> list[Json] | None:
    """Istio: whether mutual TLS is spoken is the endpoint's affair."""
    if found.tls.mode is not TlsMode.AUTO or not any(endpoint.mtls for endpoint in found.endpoints):
        return None
    return [
        {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": _mesh_tls(found)},
        {
            "name": "tlsMode-disabled",
            "match": {},
            "transport_socket": {
                "name": "envoy.transport_sockets.raw_buffer",
                "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
            },
        },
    ]


def _mesh_tls(found: Cluster) -> Json:
    sans = found.tls.sans or sorted({str(e.identity) for e in found.endpoints if e.identity is not None})
    context = {
        "alpn_protocols": ["istio-peer-exchange", "istio"],
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": ADS}],
        "combined_validation_context": {
            "default_validation_context": given(
                match_typed_subject_alt_names=[{"san_type": "URI", "matcher": {"exact": san}} for san in sans]
            ),
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": ADS},
        },
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": typed(_TLS, common_tls_context=context, sni=found.tls.sni),
    }


def _assignment(found: Cluster) -> Json | None:
    endpoints = [
        {
            "endpoint": {"address": address(endpoint.address, endpoint.port)},
            "load_balancing_weight": endpoint.weight,
        }
        for endpoint in found.endpoints
    ]
    return {"cluster_name": found.name, "endpoints": [{"lb_endpoints": endpoints}] if endpoints else []}


def load_assignment(found: Cluster, state: ClusterState) -> Json:
    """Return an ``envoy.config.endpoint.v3.ClusterLoadAssignment`` as it is now."""
    groups: dict[tuple[tuple[str, str, str], int], list[Json]] = {}
    for endpoint, priority in hosts_of(found, state):
        health = "UNHEALTHY" if is_ejected(endpoint, state) else "HEALTHY"
        workload = endpoint.workload
        one = {
            "endpoint": {"address": address(endpoint.address, endpoint.port), "health_check_config": {}},
            "health_status": health,
            "metadata": {
                "filter_metadata": {
                    **({"envoy.transport_socket_match": {"tlsMode": "istio"}} if endpoint.mtls else {}),
                    **(
                        {"istio": {"workload": f"{workload.name};{workload.namespace};;;Kubernetes"}}
                        if workload is not None
                        else {}
                    ),
                }
            },
            "load_balancing_weight": endpoint.weight,
        }
        groups.setdefault((locality_of(endpoint), priority), []).append(one)
    made = []
    for (locality, priority), endpoints in groups.items():
        places = zip(("region", "zone", "sub_zone"), locality, strict=True)
        made.append(
            given(
                locality={name: value for name, value in places if value},
                lb_endpoints=endpoints,
                load_balancing_weight=sum(each["load_balancing_weight"] for each in endpoints),
                priority=priority or None,
            )
        )
    return typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=found.name,
        endpoints=made,
        policy={"overprovisioning_factor": 140},
    )
