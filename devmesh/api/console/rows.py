"""The rows of ``devmesh proxy-config``: istioctl's columns, and a little more for JSON."""

from __future__ import annotations

import msgspec


class ClusterRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config clusters``; `name` is the whole name, `endpoints` how many it has."""

    service_fqdn: str
    port: str
    subset: str
    direction: str
    type: str
    destination_rule: str
    name: str
    endpoints: int
    balancing: str


class ListenerRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config listeners``."""

    addresses: str
    port: int
    match: str
    destination: str


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config routes``: one row a route, in the order in which they are tried.

    `conditions` are what else than the path has to hold; `actions` tell what happens to the request.
    """

    name: str
    vhost_name: str
    domains: tuple[str, ...]
    match: str
    virtual_service: str
    route: str
    conditions: tuple[str, ...]
    destinations: dict[str, int]
    actions: tuple[str, ...]
    origin: str


class ProxyRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-status``; `snapshot` is the version of the configuration in force."""

    name: str
    cluster: str
    cds: str
    lds: str
    eds: str
    rds: str
    ecds: str
    istiod: str
    version: str
    snapshot: int


class EndpointRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config endpoints``."""

    endpoint: str
    status: str
    outlier_check: str
    cluster: str
    workload: str
    identity: str
    mtls: bool


class SecretRow(msgspec.Struct, frozen=True, kw_only=True):
    """``istioctl proxy-config secret``; `pem` is the chain, never a key."""

    resource_name: str
    type: str
    status: str
    valid_cert: bool
    serial_number: str
    not_after: str
    not_before: str
    identity: str
    pem: str
